//! Events of the channels that the rules read, in words.

use super::advice::{
    FIX_ENCRYPTION, FIX_SPN, NOTHING_TO_DO, REACH_DC, REPAIR_SECURE_CHANNEL, SET_CLOCKS,
    USE_KERBEROS,
};

/// One event of the channels that the rules read.
pub(super) struct EventInfo {
    /// More than one where they differ in little.
    pub(super) ids: &'static [u32],
    pub(super) source: &'static str,
    /// The log it is found in, without `Microsoft-Windows-`.
    pub(super) channel: &'static str,
    pub(super) lines: &'static [&'static str],
    pub(super) action: &'static str,
}

impl EventInfo {
    /// `event 6167`, `LsaSrv 6167`, `System 6167`,
    /// `Microsoft-Windows-SMBServer 551`.
    pub(super) fn is_called(&self, label: &str) -> bool {
        let (source, channel) = (folded(self.source), folded(self.channel));
        matches!(label, "event" | "eventid" | "id")
            || label.ends_with(&source)
            || (label.starts_with("microsoftwindows") && label.contains(&source))
            || label.ends_with(&channel)
            || match self.source {
                "KDC" => label.ends_with("keydistributioncenter"),
                "LsaSrv" => label.ends_with("lsa"),
                _ => false,
            }
    }
}

/// A row an event: ids, source and log, then what it means and who writes it,
/// then what to do.
macro_rules! events {
    ($([$($id:literal)+] $source:literal $channel:literal $($line:literal)+, $action:expr;)+) => {
        &[$(EventInfo {
            ids: &[$($id),+],
            source: $source,
            channel: $channel,
            lines: &[$($line),+],
            action: $action,
        }),+]
    };
}

/// In the order of their ids.
pub(super) static EVENTS: &[EventInfo] = events! {
    [3] "Kerberos" "System"
        "A Kerberos request of this machine was answered with an error; the field ErrorCode says \
         which."
        "Written by the client, and only while Kerberos logging is switched on; 0x19 and 0x34 \
         are normal there.",
        "Explain the ErrorCode; switch the logging off (LogLevel 0) when the search is over.";
    [4] "Kerberos" "System"
        "A server could not read the ticket that this machine sent it (KRB_AP_ERR_MODIFIED)."
        "Written by the client; it names the server and the SPN.",
        FIX_SPN;
    [5] "Kerberos" "System"
        "A server answered that the ticket does not fit its clock."
        "Written by the client; it names the server and the domain.",
        SET_CLOCKS;
    [7] "Kerberos" "System"
        "The domain controller did not confirm the group list (PAC) in a ticket."
        "Written by the server that received the ticket.",
        REPAIR_SECURE_CHANNEL;
    [11] "KDC" "System"
        "Two accounts carry the same SPN or name, so no ticket can be issued for it."
        "Written by a domain controller; it names the SPN.",
        FIX_SPN;
    [14] "KDC" "System"
        "The account has no key of an encryption type that the client asked for."
        "Written by a domain controller at a logon; it names the account and both lists of \
         types.",
        FIX_ENCRYPTION;
    [16] "KDC" "System"
        "The service has no key of an encryption type that the client asked for."
        "Written by a domain controller when a ticket for a service is asked for; it names the \
         account and both lists of types.",
        FIX_ENCRYPTION;
    [26] "KDC" "System"
        "The client and the account have no encryption type in common that is allowed."
        "Written by a domain controller at a logon; it names the account and both lists of \
         types.",
        FIX_ENCRYPTION;
    [27] "KDC" "System"
        "The client and the service have no encryption type in common that is allowed."
        "Written by a domain controller when a ticket for a service is asked for; it names the \
         account and both lists of types.",
        FIX_ENCRYPTION;
    [131] "RdpCoreTS" "RdpCoreTS/Operational"
        "A remote desktop connection came in."
        "Written by the remote desktop server; it names the client's address.",
        NOTHING_TO_DO;
    [140] "RdpCoreTS" "RdpCoreTS/Operational"
        "A remote desktop connection was refused for its credentials."
        "Written by the remote desktop server; it names the client's address even where event \
         4625 does not.",
        "Read the 4625 of the same second for the code, and look for LsaSrv 6167 beside it.";
    [201 202] "KDC" "System"
        "A ticket needed RC4 and would be refused under the stricter rules (audit only)."
        "Written by a domain controller with the updates of 2026; in the KDC Operational channel \
         the same id means something else.",
        FIX_ENCRYPTION;
    [203 204] "KDC" "System"
        "A ticket was refused because it needed RC4."
        "Written by a domain controller with the updates of 2026; in the KDC Operational channel \
         the same id means something else.",
        FIX_ENCRYPTION;
    [205] "KDC" "System"
        "This domain controller is set to allow encryption types that are no longer safe."
        "Written by a domain controller with the updates of 2026.",
        FIX_ENCRYPTION;
    [208] "KDC" "System"
        "A ticket was refused because it needed RC4."
        "Written by a domain controller with the updates of 2026.",
        FIX_ENCRYPTION;
    [551] "SMBServer" "SMBServer/Security"
        "The file server refused a session because the authentication failed."
        "Written by the machine that holds the share; it names the user, the client and its \
         address.",
        "Explain the Status, and look for LsaSrv 6167 in the System log of this machine: a twin \
         is refused with the same code as a wrong password.";
    [1149] "RemoteConnectionManager" "RemoteConnectionManager/Operational"
        "A remote desktop client passed network level authentication."
        "Written by the remote desktop server; it names the user and the client's address.",
        NOTHING_TO_DO;
    [3210] "NETLOGON" "System"
        "This machine could not authenticate to a domain controller with its computer account."
        "Written by the domain member; it names the domain controller and the domain.",
        REPAIR_SECURE_CHANNEL;
    [4001] "NTLM" "NTLM/Operational"
        "An outgoing NTLM logon was blocked by policy."
        "Written by the client; it names the target, the user and the program.",
        USE_KERBEROS;
    [4002] "NTLM" "NTLM/Operational"
        "An incoming NTLM logon was blocked by policy."
        "Written by the server.",
        USE_KERBEROS;
    [4003] "NTLM" "NTLM/Operational"
        "An incoming NTLM logon with a domain account was blocked by policy."
        "Written by the server; it names the user and the workstation.",
        USE_KERBEROS;
    [4004 4005 4006] "NTLM" "NTLM/Operational"
        "A domain controller refused to check an NTLM logon because of the domain's policy."
        "Written by the domain controller; it names the user, the workstation and the server \
         that asked.",
        USE_KERBEROS;
    [4013] "NTLM" "NTLM/Operational"
        "An outgoing logon was refused because it would have used NTLMv1 or a key derived from \
         it."
        "Written by the client; it names the target and the user.",
        USE_KERBEROS;
    [4020 4021] "NTLM" "NTLM/Operational"
        "This machine logged on somewhere with NTLM; 4021 warns of a weak form such as NTLMv1."
        "Written by the client since Windows 11 24H2; it names the target, the user and why \
         Kerberos was not used.",
        "Use it to see which programs still need NTLM.";
    [4022 4023] "NTLM" "NTLM/Operational"
        "Somebody tried to log on to this machine with NTLM, and Status says whether it worked; \
         4023 warns of a weak form such as NTLMv1."
        "Written by the server since Windows 11 24H2; it names the client, its address and the \
         user.",
        "Explain the Status, and look for LsaSrv 6167 beside a failure.";
    [4025] "NTLM" "NTLM/Operational"
        "An outgoing logon was refused because it would have used NTLMv1 or a key derived from \
         it."
        "Written by the client; it names the target and the user.",
        USE_KERBEROS;
    [4030 4031 4032 4033] "NTLM" "NTLM/Operational"
        "A domain controller checked an NTLM logon for a server (4030 and 4031: passed on by \
         another one), and Status says whether it worked."
        "Written by the domain controller; it names the client machine, the server and the user.",
        "Compare with the server: if this says yes and the server says no, look there for LsaSrv \
         6167.";
    [4624] "Security" "Security"
        "Somebody logged on to this machine."
        "Written by the machine that was logged on to; it names the account with its SID, the \
         client and the kind of logon.",
        NOTHING_TO_DO;
    [4625] "Security" "Security"
        "A logon to this machine failed; SubStatus says why, or Status where SubStatus is 0x0."
        "Written by the machine that refused; it names the account (mostly without SID) and, \
         where known, the client.",
        "Explain the code; Status 0xC000006D with SubStatus 0x0 and reason %%2304 fits a machine \
         id mismatch, so look for LsaSrv 6167 in the same second.";
    [4648] "Security" "Security"
        "A program used other credentials than those of the user who runs it."
        "Written by the machine where the program runs; it names the caller, the other account \
         and the target.",
        "Use it to find which program and which machine a failed logon came from.";
    [4649] "Security" "Security"
        "The same Kerberos authenticator arrived twice."
        "Written by the machine that received it.",
        "Find out whether one machine sent both; if not, treat it as an attack or as machines \
         that are copies of each other.";
    [4740] "Security" "Security"
        "An account was locked after too many wrong passwords."
        "Written by a domain controller (or by the machine, for a local account); it names the \
         calling computer in the field TargetDomainName.",
        "Find the saved wrong password on that computer, then unlock the account.";
    [4768] "Security" "Security"
        "A user or machine asked for a ticket-granting ticket; Status 0x0 means that it was \
         issued."
        "Written by a domain controller; it names the account and the client's address.",
        "Explain the Status if it is not 0x0.";
    [4769] "Security" "Security"
        "A user or machine asked for a ticket for a service; Status 0x0 means that it was issued."
        "Written by a domain controller; it names the account, the service and the client's \
         address.",
        "Explain the Status; if it is 0x0 and the service refuses all the same, look there for \
         LsaSrv 6167.";
    [4770] "Security" "Security"
        "A ticket was renewed."
        "Written by a domain controller.",
        NOTHING_TO_DO;
    [4771] "Security" "Security"
        "Kerberos pre-authentication failed: 0x18 is a wrong password, 0x12 a disabled, expired \
         or locked account, 0x25 a wrong clock."
        "Written by a domain controller; it names the account with its SID and the client's \
         address.",
        "Explain the Status and start at the client's address.";
    [4772] "Security" "Security"
        "A request for a ticket-granting ticket failed; Windows defines this event but writes \
         4768 in its place."
        "It would be written by a domain controller.",
        "Look for 4768 and 4771.";
    [4773] "Security" "Security"
        "A request for a service ticket failed; Windows defines this event but writes 4769 in \
         its place."
        "It would be written by a domain controller.",
        "Look for 4769.";
    [4776] "Security" "Security"
        "Name and password of an NTLM logon were checked; Status 0x0 means that they were right."
        "Written by the domain controller for domain accounts and by the machine itself for \
         local ones; it names the account and the workstation only.",
        "Explain the Status; if it is 0x0 and the server refuses in the same second, look there \
         for LsaSrv 6167.";
    [4777] "Security" "Security"
        "A domain controller could not check an NTLM logon; Windows defines this event but \
         writes 4776 in its place."
        "It would be written by a domain controller.",
        "Look for 4776.";
    [5719] "NETLOGON" "System"
        "No secure channel to a domain controller could be set up."
        "Written by a domain member, often at start-up before the network is ready.",
        REACH_DC;
    [5722] "NETLOGON" "System"
        "A machine could not authenticate to this domain controller with its computer account."
        "Written by a domain controller; it names the machine, its account and the error.",
        REPAIR_SECURE_CHANNEL;
    [5723] "NETLOGON" "System"
        "A machine tried to connect although the domain has no account for it."
        "Written by a domain controller; it names the machine and the account that it looked \
         for.",
        "Join the machine again, or find out why its account was deleted.";
    [5805] "NETLOGON" "System"
        "A machine could not authenticate to this domain controller, mostly with access denied."
        "Written by a domain controller; it names the machine, and 5722 beside it names the \
         account.",
        REPAIR_SECURE_CHANNEL;
    [6036] "LsaSrv" "System"
        "A program used NTLM without naming its target."
        "Written by the machine where the program runs.",
        "Find the program by its process id and update it.";
    [6037] "LsaSrv" "System"
        "A program could not authenticate to its own machine under the target name that it used \
         (loopback check)."
        "Written by the machine where the program runs; it names the program and the target.",
        "Use the machine's own name, or register the other name for it \
         (BackConnectionHostNames).";
    [6038] "LsaSrv" "System"
        "NTLM is in use between clients and this server."
        "Written by the server once per start.",
        "Use it as a reminder only; the NTLM/Operational channel tells who uses it.";
    [6167] "LsaSrv" "System"
        "This machine refused a logon because the machine id in it half matches its own: the \
         lasting part is equal, the part that is made anew at each start is not."
        "It is logged on the machine that refuses and names nobody: no account, no computer, no \
         address (some newer builds may add a SID, which is the account's)."
        "Since the updates of August and September 2025 for Windows 11 24H2 and Windows Server \
         2025, two machines with the same machine SID refuse each other in this way, by Kerberos \
         and NTLM."
        "It is consistent with a duplicate machine SID, as on machines cloned without Sysprep, \
         but does not prove one; a forged or stale ticket gives the same event."
        "Microsoft support gives out a workaround that switches the check off; it ends at the \
         end of 2027.",
        "Find the twin with twinsid replay, then rebuild one of the two from an image \
         generalised with Sysprep; leaving the domain and running Sysprep on a live member is not \
         enough.";
    [6168] "LsaSrv" "System"
        "On Windows 11 26H1 this is most likely the machine id mismatch that older builds report \
         as 6167; 6167 there means something else."
        "Written by the machine that refuses; it names nobody. Inferred from the shape of the \
         events, not documented.",
        "Check the build of the machine, then treat it as LsaSrv 6167: find the twin with \
         twinsid replay.";
    [8001 8002 8003 8004 8005 8006] "NTLM" "NTLM/Operational"
        "NTLM was used where a policy could block it (audit only): 8001 outgoing, 8002 and 8003 \
         incoming, 8004 to 8006 at a domain controller."
        "Written by the machine that audits NTLM.",
        "Use it to see which programs still need NTLM.";
    [31001] "SMBClient" "SmbClient/Security"
        "This machine could not open a session on a file server; Status says why."
        "Written by the client; it names the server and the user.",
        "Explain the Status, and look for LsaSrv 6167 in the System log of the server: a twin is \
         refused with the same code as a wrong password.";
    [40960] "LsaSrv" "System"
        "This machine failed to authenticate to a server; the event holds the protocol and the \
         error."
        "Written by the client; it names the server.",
        "Explain the error, and look for LsaSrv 6167 in the System log of the server.";
    [40961] "LsaSrv" "System"
        "This machine could not set up a secured connection to a server because no protocol was \
         left to try."
        "Written by the client; it names the server.",
        REACH_DC;
};

// Sentences that several codes share.

/// Letters and digits in lower case: `Logon Type` and `LogonType` are one.
pub(super) fn folded(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).map(|c| c.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::table::tests::check_sentence;
    use super::*;

    #[test]
    fn events_are_in_the_order_of_their_ids() {
        assert!(EVENTS.iter().flat_map(|event| event.ids).is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn every_sentence_is_plain_ascii_with_a_full_stop() {
        for event in EVENTS {
            event.lines.iter().for_each(|line| check_sentence(line));
            check_sentence(event.action);
            assert!((2..=5).contains(&event.lines.len()), "{:?}", event.ids);
        }
    }
}

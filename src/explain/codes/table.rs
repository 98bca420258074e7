//! Every status code in words.

use super::advice::{
    ACCESS_REFUSED, ALIGN_BINDING, ALLOW_TO_AUTHENTICATE, CHANGE_PASSWORD, CHECK_CERTIFICATE,
    CHECK_COMPUTER_ACCOUNT, CHECK_DC_ANSWER, CHECK_DELEGATION, CHECK_HOURS, CHECK_LOAD, CHECK_NAME,
    CHECK_PACKAGE, CHECK_PASSWORD_POLICY, CHECK_RESTRICTIONS, CHECK_REVOCATION_LIST,
    CHECK_SHARE_NAME, CHECK_TRUST, CHECK_WORKSTATIONS, COMPARE_POLICIES, DOWNGRADED,
    ENABLE_ACCOUNT, EXTEND_ACCOUNT, FIX_ENCRYPTION, FIX_SPN, GRANT_LOGON_RIGHT, LOG_ON_BY_NAME,
    LOGON_REFUSED, LOOK_FOR_6167, NORMAL_STEP, NOTHING_TO_DO, REACH_DC, REACH_KDC, REACH_SERVER,
    READ_SERVER_LOG, RECONNECT, REPAIR_SECURE_CHANNEL, REPORT_PROGRAM, RETYPE_PASSWORD,
    RUN_UNDER_OWN_SPN, SET_CLOCKS, START_NETLOGON, STOP_COMPUTER_ACCOUNT, STOP_DC_ACCOUNT,
    STOP_TRUST_ACCOUNT, UNLOCK_ACCOUNT, UPDATE_PEER, USE_KERBEROS, USE_SMART_CARD,
};
use crate::status::{Category, CodeFamily, StatusCode};

/// One code in plain words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CodeInfo {
    pub code: StatusCode,
    /// The official name, `STATUS_LOGON_FAILURE`.
    pub name: &'static str,
    /// One sentence: what it means for the person who reads it.
    pub text: &'static str,
    pub category: Category,
    /// One sentence: what to do next.
    pub action: &'static str,
}

/// What the table holds beside a code; name and category stand in [`status`].
///
/// [`status`]: crate::status
#[derive(Debug)]
struct CodeWords {
    code: StatusCode,
    text: &'static str,
    action: &'static str,
}

/// `None` when the code is not one of authentication events.
pub(crate) fn lookup(code: StatusCode) -> Option<CodeInfo> {
    let known = code.known()?;
    let at = WORDS.binary_search_by_key(&code, |words| words.code).ok()?;
    let CodeWords { text, action, .. } = WORDS[at];
    Some(CodeInfo { code, name: known.name, text, category: known.category, action })
}

/// A row a code: its value, what it means and what to do.
macro_rules! words {
    ($($family:ident {
        $($value:literal $text:expr, $action:expr;)+
    })+) => {
        &[$($(CodeWords {
            code: StatusCode { family: CodeFamily::$family, value: $value },
            text: $text,
            action: $action,
        },)+)+]
    };
}

/// Every known code, in the order of [`StatusCode`].
static WORDS: &[CodeWords] = words! {
    Ntstatus {
        0x0000_0000
            "The authentication was accepted.",
            CHECK_DC_ANSWER;
        0xC000_0001
            "Something failed that no other code describes.",
            READ_SERVER_LOG;
        0xC000_000D
            "A request held a value that the other side does not accept.",
            UPDATE_PEER;
        0xC000_0016
            "The exchange needs another message, as usual halfway through a logon.",
            NORMAL_STEP;
        0xC000_0017
            "The machine that should check the logon was out of memory.",
            CHECK_LOAD;
        0xC000_0022
            ACCESS_REFUSED,
            LOOK_FOR_6167;
        0xC000_005E
            "No domain controller could be reached to check the logon.",
            REACH_DC;
        0xC000_005F
            "The logon session that the request belongs to has ended.",
            RECONNECT;
        0xC000_0064
            "No account of that name exists where it was looked for.",
            CHECK_NAME;
        0xC000_006A
            "The account exists, but the password was wrong.",
            RETYPE_PASSWORD;
        0xC000_006B
            "The new password holds characters that are not allowed.",
            CHECK_PASSWORD_POLICY;
        0xC000_006C
            "The new password does not meet the password policy.",
            CHECK_PASSWORD_POLICY;
        0xC000_006D
            LOGON_REFUSED,
            LOOK_FOR_6167;
        0xC000_006E
            "Name and password were right, but a rule on the account forbids this logon, such as \
             a blank password over the network or an authentication policy.",
            CHECK_RESTRICTIONS;
        0xC000_006F
            "The account may not log on at this hour or on this day.",
            CHECK_HOURS;
        0xC000_0070
            "The account may not log on from this computer.",
            CHECK_WORKSTATIONS;
        0xC000_0071
            "The password was right but has expired.",
            CHANGE_PASSWORD;
        0xC000_0072
            "The account is disabled.",
            ENABLE_ACCOUNT;
        0xC000_0073
            "The name could not be translated into a SID.",
            CHECK_NAME;
        0xC000_009A
            "The machine that should check the logon was overloaded.",
            CHECK_LOAD;
        0xC000_00B5
            "The other machine did not answer in time.",
            REACH_SERVER;
        0xC000_00BB
            "The other side does not support what was asked for, often an authentication method \
             that a policy has switched off.",
            COMPARE_POLICIES;
        0xC000_00BE
            "The server could not be found on the network.",
            REACH_SERVER;
        0xC000_00CC
            "The server answered, but has no share of that name.",
            CHECK_SHARE_NAME;
        0xC000_00DC
            "The account database of the machine was not in a state to check the logon.",
            READ_SERVER_LOG;
        0xC000_00DD
            "The domain was not in a state to do what was asked.",
            READ_SERVER_LOG;
        0xC000_00DE
            "Only a domain controller in another role can do what was asked.",
            "Send the request to a writable domain controller or the one with the right role.";
        0xC000_00DF
            "The domain does not exist or could not be reached.",
            REACH_DC;
        0xC000_00E5
            "An internal error stopped the logon.",
            READ_SERVER_LOG;
        0xC000_00FE
            "The authentication package that was asked for is not installed.",
            CHECK_PACKAGE;
        0xC000_010B
            "The program asked for a kind of logon that does not exist.",
            REPORT_PROGRAM;
        0xC000_0133
            "The clocks of this machine and the domain controller differ too much.",
            SET_CLOCKS;
        0xC000_0155
            "The machine did not allow this logon.",
            GRANT_LOGON_RIGHT;
        0xC000_015B
            "The account lacks the right for this kind of logon on the machine, such as over the \
             network, by remote desktop or as a service.",
            GRANT_LOGON_RIGHT;
        0xC000_018A
            "The machine has no password of its own for the domain.",
            REPAIR_SECURE_CHANNEL;
        0xC000_018B
            "The domain has no usable account for this machine.",
            CHECK_COMPUTER_ACCOUNT;
        0xC000_018C
            "The trust between this domain and the account's domain does not work.",
            CHECK_TRUST;
        0xC000_018D
            "The trust between this machine and its domain does not work, mostly because the \
             machine's password differs from the domain's record.",
            REPAIR_SECURE_CHANNEL;
        0xC000_0190
            "The trust that this logon has to pass through does not work.",
            REPAIR_SECURE_CHANNEL;
        0xC000_0192
            "The Netlogon service was not running, so nobody could ask a domain controller.",
            START_NETLOGON;
        0xC000_0193
            "The account has passed its expiry date.",
            EXTEND_ACCOUNT;
        0xC000_0198
            "Somebody tried to log on with the account of a trust between domains.",
            STOP_TRUST_ACCOUNT;
        0xC000_0199
            "A computer account was used where only a user account may log on.",
            STOP_COMPUTER_ACCOUNT;
        0xC000_019A
            "The account of a domain controller was used where only a user account may log on.",
            STOP_DC_ACCOUNT;
        0xC000_019B
            "The name or SID of the trusted domain does not match what the trust says.",
            CHECK_TRUST;
        0xC000_0203
            "The server has already closed the session that the client still uses.",
            RECONNECT;
        0xC000_0224
            "The password must be changed before the first logon.",
            CHANGE_PASSWORD;
        0xC000_0225
            "Something that the logon needs was not found; the code alone does not say what.",
            READ_SERVER_LOG;
        0xC000_0233
            "No domain controller of the domain was found.",
            REACH_DC;
        0xC000_0234
            "The account is locked after too many wrong passwords.",
            UNLOCK_ACCOUNT;
        0xC000_02EE
            "The exchange was broken off before the logon was finished.",
            RECONNECT;
        0xC000_02F9
            "The name in the certificate does not belong to the account.",
            CHECK_CERTIFICATE;
        0xC000_02FA
            "The account may log on with a smart card only, and a password was used.",
            USE_SMART_CARD;
        0xC000_02FB
            "The domain controller could not make sense of the Kerberos request.",
            UPDATE_PEER;
        0xC000_02FC
            "The domain controller could not point the client to the right domain.",
            CHECK_TRUST;
        0xC000_02FD
            "Client and domain controller have no Kerberos encryption type in common.",
            FIX_ENCRYPTION;
        0xC000_0320
            "The logon with a certificate failed on this machine.",
            CHECK_CERTIFICATE;
        0xC000_0322
            "The machine has no Kerberos key to read the ticket with.",
            REPAIR_SECURE_CHANNEL;
        0xC000_035B
            "The logon was not made for the TLS connection it came through.",
            ALIGN_BINDING;
        0xC000_035C
            "The client's ticket ran out and the session has to be set up again.",
            RECONNECT;
        0xC000_0371
            "The account has no secret on this domain controller, as on a read-only one.",
            "Check that a writable domain controller can be reached from the read-only one.";
        0xC000_0380
            "The PIN of the smart card was wrong.",
            "Enter the PIN again, with care: a few more errors block the card.";
        0xC000_0381
            "The smart card is blocked after too many wrong PINs.",
            "Have the card unblocked or replaced.";
        0xC000_0388
            DOWNGRADED,
            REACH_KDC;
        0xC000_0389
            "The certificate on the smart card has been revoked.",
            CHECK_CERTIFICATE;
        0xC000_038A
            "The issuer of the smart card's certificate is not trusted.",
            CHECK_CERTIFICATE;
        0xC000_038B
            "Nobody could tell whether the smart card's certificate was revoked, as its list was \
             out of reach.",
            CHECK_REVOCATION_LIST;
        0xC000_038C
            "The logon with a certificate failed on the client.",
            CHECK_CERTIFICATE;
        0xC000_038D
            "The certificate on the smart card has expired.",
            CHECK_CERTIFICATE;
        0xC000_0408
            "The service runs under a user's own session and takes only user-to-user tickets.",
            RUN_UNDER_OWN_SPN;
        0xC000_0413
            "The trust allows selected accounts only, and this one may not authenticate to the \
             server.",
            ALLOW_TO_AUTHENTICATE;
        0xC000_0418
            "NTLM is switched off by policy, so the logon was refused before the password \
             counted.",
            USE_KERBEROS;
        0xC002_0017
            "The domain controller or server did not answer on RPC.",
            REACH_DC;
        0xC002_0050
            "The call to the domain controller was given up, mostly because it took too long.",
            CHECK_LOAD;
        0xC05D_0002
            "The server offered a guest session, and this client does not accept guests.",
            LOG_ON_BY_NAME;
    }
    Sspi {
        0x8009_0300
            "There was not enough memory for the authentication.",
            CHECK_LOAD;
        0x8009_0301
            "A program used an authentication that had ended or never begun.",
            REPORT_PROGRAM;
        0x8009_0302
            "The security package cannot do what was asked, or a policy forbids it.",
            COMPARE_POLICIES;
        0x8009_0303
            "The domain knows no service under the name that the client used.",
            FIX_SPN;
        0x8009_0304
            "The local security authority could not be reached or failed inside.",
            READ_SERVER_LOG;
        0x8009_0305
            "The security package that was asked for does not exist here.",
            CHECK_PACKAGE;
        0x8009_0308
            "A message of the authentication was not understood, often just because client and \
             server tried different protocols.",
            "If the next attempt worked, ignore it; otherwise look for a proxy or an old client \
             in between.";
        0x8009_030B
            "The service could not act in the user's name.",
            CHECK_DELEGATION;
        0x8009_030C
            LOGON_REFUSED,
            LOOK_FOR_6167;
        0x8009_030D
            "The security package did not recognise the credentials that it was given.",
            "Remove saved credentials for this target and enter them again.";
        0x8009_030E
            "The security package had no credentials it could use; the code alone does not tell \
             whether the password was wrong, because a machine that finds its own id in the \
             caller answers like this too.",
            LOOK_FOR_6167;
        0x8009_030F
            "A signed message arrived changed.",
            "Look for a device that changes traffic between the two machines.";
        0x8009_0310
            "A signed message arrived out of order.",
            RECONNECT;
        0x8009_0311
            "No domain controller could be reached to check the logon.",
            REACH_DC;
        0x8009_0317
            "The authentication had expired and has to be made again.",
            RECONNECT;
        0x8009_0318
            "A message of the authentication arrived in part only.",
            RECONNECT;
        0x8009_0320
            "The server asked for credentials that the client did not send, such as a \
             certificate.",
            CHECK_CERTIFICATE;
        0x8009_0322
            "The service that answered runs under another account than the one the ticket was \
             made for.",
            FIX_SPN;
        0x8009_0324
            "The clocks of client and server differ too much.",
            SET_CLOCKS;
        0x8009_0325
            "The certificate comes from an issuer that this machine does not trust.",
            CHECK_CERTIFICATE;
        0x8009_0326
            "A message came that does not belong at this point of the exchange.",
            UPDATE_PEER;
        0x8009_0327
            "The certificate could not be processed.",
            CHECK_CERTIFICATE;
        0x8009_0328
            "The certificate has expired.",
            CHECK_CERTIFICATE;
        0x8009_0330
            "A message could not be decrypted.",
            RECONNECT;
        0x8009_0331
            "Client and server have no algorithm in common.",
            "Compare the TLS and Kerberos algorithms that both machines allow.";
        0x8009_0333
            "The exchange was broken off before the logon was finished.",
            RECONNECT;
        0x8009_033D
            "The name in the certificate does not belong to the account.",
            CHECK_CERTIFICATE;
        0x8009_033E
            "The account may log on with a smart card only, and a password was used.",
            USE_SMART_CARD;
        0x8009_0340
            "The domain controller could not make sense of the Kerberos request.",
            UPDATE_PEER;
        0x8009_0341
            "The domain controller could not point the client to the right domain.",
            CHECK_TRUST;
        0x8009_0342
            "Client and domain controller have no Kerberos encryption type in common.",
            FIX_ENCRYPTION;
        0x8009_0343
            "The domain controller does not take the kind of pre-authentication that the client \
             offered.",
            "Check the certificate of the domain controller if smart cards are used, and the \
             domain functional level.";
        0x8009_0345
            "The service needs the right to act in the user's name further on, and does not have \
             it.",
            CHECK_DELEGATION;
        0x8009_0346
            "The logon was not made for the TLS connection it came through.",
            ALIGN_BINDING;
        0x8009_0347
            "The name belongs to more than one account.",
            FIX_SPN;
        0x8009_0348
            "The machine has no Kerberos key to read the ticket with.",
            REPAIR_SECURE_CHANNEL;
        0x8009_0350
            DOWNGRADED,
            REACH_KDC;
        0x8009_0351
            "The certificate on the smart card has been revoked.",
            CHECK_CERTIFICATE;
        0x8009_0352
            "The issuer of the certificate is not trusted.",
            CHECK_CERTIFICATE;
        0x8009_0354
            "The logon with a certificate failed on the client.",
            CHECK_CERTIFICATE;
        0x8009_0355
            "The certificate on the smart card has expired.",
            CHECK_CERTIFICATE;
        0x8009_0363
            "The server could not prove to the client that it is the one that was asked for.",
            FIX_SPN;
    }
    Kerberos {
        0x00
            "The domain controller issued the ticket.",
            CHECK_DC_ANSWER;
        0x01
            "The account that asked has expired.",
            EXTEND_ACCOUNT;
        0x02
            "The account of the service has expired.",
            "Move the expiry date of the service account.";
        0x03
            "The client speaks another version of Kerberos.",
            UPDATE_PEER;
        0x04
            "The key of the account that asked is locked with an old master key.",
            UPDATE_PEER;
        0x05
            "The key of the service is locked with an old master key.",
            UPDATE_PEER;
        0x06
            "The domain knows no account of that name.",
            CHECK_NAME;
        0x07
            "The domain knows no service under the name that the client used, so the client goes \
             on with NTLM or fails.",
            FIX_SPN;
        0x08
            "Two accounts carry the same name or SPN.",
            FIX_SPN;
        0x09
            "The account or the service has no key, as before its first password.",
            "Set the password of the account anew.";
        0x0A
            "The client asked for a ticket that starts later, which is not allowed.",
            UPDATE_PEER;
        0x0B
            "The client asked for a ticket that ends before it starts.",
            SET_CLOCKS;
        0x0C
            "A rule of the domain forbids it, such as logon hours, permitted computers, a \
             required smart card or an authentication policy.",
            CHECK_RESTRICTIONS;
        0x0D
            "The domain controller could not grant an option of the request, often delegation or \
             the renewal of a ticket that is too old.",
            CHECK_DELEGATION;
        0x0E
            "The domain controller found no encryption type that client, account and policy all \
             allow.",
            FIX_ENCRYPTION;
        0x0F
            "The domain controller does not know the kind of checksum that the client used.",
            FIX_ENCRYPTION;
        0x10
            "The domain controller does not take this kind of pre-authentication, mostly because \
             it has no certificate for smart card logons.",
            "Check that the domain controller has a valid certificate for Kerberos \
             authentication.";
        0x11
            "The domain controller cannot read the list of domains that the ticket passed \
             through.",
            CHECK_TRUST;
        0x12
            "The account is disabled, expired or locked; Kerberos has one code for all three.",
            "Look at the account to see which of the three it is; if it is locked, event 4740 on \
             a domain controller names the calling computer.";
        0x13
            "The account of the service is disabled, expired or locked.",
            "Enable or unlock the account that runs the service.";
        0x14
            "The ticket-granting ticket is no longer accepted.",
            "Log off and on again, or empty the ticket cache with klist purge.";
        0x15
            "The account that asked is not valid yet.",
            SET_CLOCKS;
        0x16
            "The account of the service is not valid yet.",
            SET_CLOCKS;
        0x17
            "The password has expired or must be changed.",
            CHANGE_PASSWORD;
        0x18
            "The account exists, but the password was wrong; for a name that ends in $ the \
             machine and the domain hold different machine passwords.",
            "For a user, type the password again and look for saved old ones; for a machine, \
             reset its secure channel and look for a second machine with the same account.";
        0x19
            "The domain controller asks for proof of the password first, as it does in every \
             logon.",
            NORMAL_STEP;
        0x1A
            "The ticket belongs to another service than the one that was asked for.",
            FIX_SPN;
        0x1B
            "The service runs under a user's own session and takes only user-to-user tickets.",
            "Give the SPN to an account of the service's own.";
        0x1C
            "The ticket came through domains that the domain controller does not accept.",
            CHECK_TRUST;
        0x1D
            "A service that the domain controller depends on did not answer.",
            REACH_DC;
        0x1F
            "The ticket could not be decrypted: it was made for another key than the service \
             has.",
            FIX_SPN;
        0x20
            "The ticket has run out, which is how every ticket ends, and the client fetches a \
             new one.",
            NORMAL_STEP;
        0x21
            "The ticket starts in the future, so the clocks disagree.",
            SET_CLOCKS;
        0x22
            "The same request arrived twice: resent by the network, two machines alike, or an \
             attacker.",
            "Find out whether one machine sent both; if not, look at what stands between them.";
        0x23
            "The ticket is for another server than the one that received it.",
            FIX_SPN;
        0x24
            "Ticket and sender name different accounts.",
            "Empty the ticket cache with klist purge and look for tickets of another user.";
        0x25
            "The clocks of client and domain controller or server differ too much.",
            SET_CLOCKS;
        0x26
            "The ticket came from another address than it was made for.",
            "Look for address translation or a changed address between the two machines.";
        0x27
            "The two sides speak different versions of Kerberos.",
            UPDATE_PEER;
        0x28
            "A message of the wrong kind arrived.",
            UPDATE_PEER;
        0x29
            "The server could not read the ticket with its key: mostly the SPN stands on the \
             wrong account, or the name leads to another machine.",
            FIX_SPN;
        0x2A
            "Messages arrived out of order.",
            RECONNECT;
        0x2C
            "The ticket was made with a version of the key that the service does not have, as \
             after a password change that has not replicated.",
            "Wait for replication or export the keytab of the service again.";
        0x2D
            "The service has no key to read the ticket with.",
            "Check the password or the keytab of the account that runs the service.";
        0x2E
            "The server could not prove to the client that it is the one that was asked for.",
            FIX_SPN;
        0x2F
            "A message came back to the side that had sent it.",
            UPDATE_PEER;
        0x30
            "Another way of authenticating is needed.",
            UPDATE_PEER;
        0x31
            "A message carries the wrong sequence number.",
            RECONNECT;
        0x32
            "A message carries a kind of checksum that is not accepted here.",
            FIX_ENCRYPTION;
        0x33
            "The ticket came through domains that the server does not accept.",
            CHECK_TRUST;
        0x34
            "The answer does not fit a UDP packet, so the client asks again by TCP.",
            NORMAL_STEP;
        0x3C
            "Kerberos failed for a reason that it does not name; the code alone does not tell \
             whether the password was wrong.",
            LOOK_FOR_6167;
        0x3D
            "A message was longer than the other side accepts.",
            "Look at the number of groups of the user, which makes tickets grow.";
        0x3E
            "The domain controller does not trust the client's certificate.",
            CHECK_CERTIFICATE;
        0x3F
            "The client does not trust the domain controller's certificate.",
            "Check the certificate of the domain controller and whether the client knows its \
             issuer.";
        0x40
            "The signature made with the certificate is not valid.",
            CHECK_CERTIFICATE;
        0x41
            "The key that was offered is too weak for the policy.",
            "Use a certificate with a longer key.";
        0x42
            "The service takes only user-to-user tickets (older lists read this number as a \
             certificate mismatch).",
            RUN_UNDER_OWN_SPN;
        0x43
            "The user-to-user exchange lacked the ticket of the service.",
            "Restart the service so that it logs on anew.";
        0x44
            "The request went to a domain controller of the wrong domain, which points the \
             client to the right one.",
            "If logons fail, use the full name user@domain and check the trust.";
        0x45
            "The service takes only user-to-user tickets.",
            RUN_UNDER_OWN_SPN;
        0x46
            "The chain of the client's certificate could not be verified.",
            CHECK_CERTIFICATE;
        0x47
            "A certificate of the chain is not valid.",
            CHECK_CERTIFICATE;
        0x48
            "The client's certificate has been revoked.",
            CHECK_CERTIFICATE;
        0x49
            "Nobody could tell whether the certificate was revoked.",
            CHECK_REVOCATION_LIST;
        0x4B
            "The certificate is not mapped to the account that it was used for.",
            "Check the mapping of the certificate to the account, which domain controllers now \
             require to be strong.";
    }
    Win32 {
        0
            "There was no error.",
            NOTHING_TO_DO;
        5
            ACCESS_REFUSED,
            LOOK_FOR_6167;
        53
            "The server could not be found on the network.",
            REACH_SERVER;
        59
            "The network connection failed in an unexpected way.",
            RECONNECT;
        64
            "The other side closed the connection.",
            RECONNECT;
        67
            "The server answered, but has no share of that name.",
            CHECK_SHARE_NAME;
        71
            "The server takes no more connections at the moment.",
            "Close unused connections or raise the limit of the share.";
        86
            "The password was wrong.",
            RETYPE_PASSWORD;
        121
            "The other machine did not answer in time.",
            REACH_SERVER;
        1219
            "The client is already connected to this server under another user name.",
            "Close the older connection with net use /delete, then connect again.";
        1231
            "There is no route to the other machine.",
            REACH_SERVER;
        1240
            "The account may not log on from this computer.",
            CHECK_WORKSTATIONS;
        1244
            "The request was sent before any logon.",
            RECONNECT;
        1265
            DOWNGRADED,
            REACH_KDC;
        1272
            "The server offered a guest session, and this client does not accept guests.",
            LOG_ON_BY_NAME;
        1311
            "No domain controller could be reached to check the logon.",
            REACH_DC;
        1312
            "The logon session that the request belongs to has ended or holds no credentials.",
            "Log off and on again, or enter the credentials by hand.";
        1314
            "The account lacks a privilege that the action needs.",
            "Start the program as an administrator or grant the privilege.";
        1317
            "No account of that name exists.",
            CHECK_NAME;
        1323
            "The old password was wrong when it was to be changed.",
            RETYPE_PASSWORD;
        1325
            "The new password does not meet the password policy.",
            CHECK_PASSWORD_POLICY;
        1326
            LOGON_REFUSED,
            LOOK_FOR_6167;
        1327
            "Name and password were right, but a rule on the account forbids this logon, such as \
             a blank password over the network or an authentication policy.",
            CHECK_RESTRICTIONS;
        1328
            "The account may not log on at this hour or on this day.",
            CHECK_HOURS;
        1329
            "The account may not log on from this computer.",
            CHECK_WORKSTATIONS;
        1330
            "The password was right but has expired.",
            CHANGE_PASSWORD;
        1331
            "The account is disabled.",
            ENABLE_ACCOUNT;
        1332
            "The name could not be translated into a SID, or the SID into a name.",
            CHECK_NAME;
        1351
            "The domain could not be asked, mostly because no domain controller answered.",
            REACH_DC;
        1355
            "The domain does not exist or could not be reached.",
            REACH_DC;
        1380
            "The machine did not allow this logon.",
            GRANT_LOGON_RIGHT;
        1385
            "The account lacks the right for this kind of logon on the machine, such as over the \
             network, by remote desktop or as a service.",
            GRANT_LOGON_RIGHT;
        1396
            "The service that answered runs under another account than the one the ticket was \
             made for.",
            FIX_SPN;
        1397
            "The server could not prove to the client that it is the one that was asked for.",
            FIX_SPN;
        1398
            "The clocks of client and server differ too much.",
            SET_CLOCKS;
        1722
            "The domain controller or server did not answer on RPC.",
            REACH_DC;
        1786
            "The machine has no password of its own for the domain.",
            REPAIR_SECURE_CHANNEL;
        1787
            "The domain has no usable account for this machine.",
            CHECK_COMPUTER_ACCOUNT;
        1788
            "The trust between this domain and the account's domain does not work.",
            CHECK_TRUST;
        1789
            "The trust between this machine and its domain does not work, mostly because the \
             machine's password differs from the domain's record.",
            REPAIR_SECURE_CHANNEL;
        1790
            "The trust that this logon has to pass through does not work.",
            REPAIR_SECURE_CHANNEL;
        1792
            "The Netlogon service was not running, so nobody could ask a domain controller.",
            START_NETLOGON;
        1793
            "The account has passed its expiry date.",
            EXTEND_ACCOUNT;
        1807
            "Somebody tried to log on with the account of a trust between domains.",
            STOP_TRUST_ACCOUNT;
        1808
            "A computer account was used where only a user account may log on.",
            STOP_COMPUTER_ACCOUNT;
        1809
            "The account of a domain controller was used where only a user account may log on.",
            STOP_DC_ACCOUNT;
        1810
            "The name or SID of the trusted domain does not match what the trust says.",
            CHECK_TRUST;
        1907
            "The password must be changed before the first logon.",
            CHANGE_PASSWORD;
        1908
            "No domain controller of the domain was found.",
            REACH_DC;
        1909
            "The account is locked after too many wrong passwords.",
            UNLOCK_ACCOUNT;
        1935
            "The trust allows selected accounts only, and this one may not authenticate to the \
             server.",
            ALLOW_TO_AUTHENTICATE;
        1937
            "NTLM is switched off by policy, so the logon was refused before the password \
             counted.",
            USE_KERBEROS;
        2242
            "The password has expired.",
            CHANGE_PASSWORD;
        2457
            "The clocks of this machine and the domain controller differ too much.",
            SET_CLOCKS;
    }
};

#[cfg(test)]
pub(crate) mod tests {
    use super::super::query::without_prefix;
    use super::*;
    use crate::status::KNOWN_CODES;

    const SUCCESS: u32 = 0;

    const NTSTATUS: [u32; 38] = [
        SUCCESS,
        0xC000_006D,
        0xC000_0022,
        0xC000_0388,
        0xC000_006A,
        0xC000_0064,
        0xC000_006E,
        0xC000_006F,
        0xC000_0070,
        0xC000_0071,
        0xC000_0072,
        0xC000_0193,
        0xC000_0224,
        0xC000_0234,
        0xC000_005E,
        0xC000_0133,
        0xC000_015B,
        0xC000_018A,
        0xC000_018B,
        0xC000_018C,
        0xC000_018D,
        0xC000_0190,
        0xC000_0192,
        0xC000_0198,
        0xC000_0199,
        0xC000_019A,
        0xC000_00DC,
        0xC000_0225,
        0xC000_02EE,
        0xC000_0371,
        0xC000_035B,
        0xC000_0413,
        0xC000_0418,
        0xC000_005F,
        0xC000_0155,
        0xC000_02FD,
        0xC000_0322,
        0xC000_0408,
    ];

    const SSPI: [u32; 13] = [
        0x8009_030E,
        0x8009_030C,
        0x8009_0350,
        0x8009_0346,
        0x8009_0302,
        0x8009_0303,
        0x8009_0304,
        0x8009_0308,
        0x8009_0311,
        0x8009_0322,
        0x8009_0324,
        0x8009_0325,
        0x8009_0342,
    ];

    /// No list gives these numbers a name.
    const KERBEROS_GAPS: [u32; 9] = [0x1E, 0x2B, 0x35, 0x36, 0x37, 0x38, 0x39, 0x3A, 0x3B];

    fn info(family: CodeFamily, value: u32) -> CodeInfo {
        lookup(StatusCode { family, value }).unwrap_or_else(|| panic!("{family:?} 0x{value:X}"))
    }

    pub(in crate::explain::codes) fn check_sentence(text: &str) {
        assert!(text.is_ascii(), "{text}");
        assert!(text.ends_with('.') && !text.ends_with(".."), "{text}");
        assert!(text.starts_with(|c: char| c.is_ascii_uppercase()), "{text}");
        assert!(!text.contains("  ") && !text.contains('\n'), "{text}");
        assert!((12..=400).contains(&text.len()), "{text}");
    }

    fn rows() -> impl Iterator<Item = CodeInfo> {
        KNOWN_CODES.iter().filter_map(|known| lookup(known.code))
    }

    #[test]
    fn every_known_code_has_words_and_no_other_has() {
        let with_words: Vec<StatusCode> = WORDS.iter().map(|words| words.code).collect();
        let known: Vec<StatusCode> = KNOWN_CODES.iter().map(|known| known.code).collect();
        assert_eq!(with_words, known);
    }

    #[test]
    fn every_code_of_authentication_events_is_known() {
        for value in NTSTATUS {
            info(CodeFamily::Ntstatus, value);
        }
        for value in SSPI {
            info(CodeFamily::Sspi, value);
        }
        for value in (0..=0x44).filter(|value| !KERBEROS_GAPS.contains(value)) {
            info(CodeFamily::Kerberos, value);
        }
        assert!(
            KNOWN_CODES.iter().filter(|row| row.code.family == CodeFamily::Win32).count() >= 25
        );
    }

    #[test]
    fn every_sentence_is_plain_ascii_with_a_full_stop() {
        for row in rows() {
            check_sentence(row.text);
            check_sentence(row.action);
            assert!(!row.name.is_empty());
        }
    }

    #[test]
    fn counterparts_in_other_families_share_their_category() {
        let comparable = || rows().filter(|row| row.code.family != CodeFamily::Kerberos);
        for a in comparable() {
            for b in comparable() {
                if without_prefix(a.name) == without_prefix(b.name) {
                    assert_eq!(a.category, b.category, "{} {}", a.name, b.name);
                }
            }
        }
    }

    #[test]
    fn a_code_that_a_twin_leaves_behind_points_to_6167() {
        for row in rows().filter(|row| row.category == Category::Refused) {
            assert!(row.text.contains("code alone does not tell"), "{}", row.name);
            assert!(row.action.contains("6167"), "{}", row.name);
        }
        use CodeFamily::{Kerberos, Ntstatus, Sspi, Win32};
        for (family, value) in [
            (Ntstatus, 0xC000_006D),
            (Ntstatus, 0xC000_0022),
            (Sspi, 0x8009_030E),
            (Sspi, 0x8009_030C),
            (Kerberos, 0x3C),
            (Win32, 1326),
            (Win32, 5),
        ] {
            assert_eq!(info(family, value).category, Category::Refused);
        }
    }
}

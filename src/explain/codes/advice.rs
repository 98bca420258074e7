//! Sentences that several codes or events share: most say what to do next.

pub(super) const ACCESS_REFUSED: &str = "\
    Access was refused; the code alone does not tell whether the password, a permission, the \
    secure channel or the machine's identity is at fault.";
pub(super) const ALIGN_BINDING: &str = "\
    Look for a proxy or load balancer that ends TLS between client and server, and align the \
    channel binding settings of both.";
pub(super) const ALLOW_TO_AUTHENTICATE: &str =
    "Give the account the permission Allowed to Authenticate on the computer object of the server.";
pub(super) const CHANGE_PASSWORD: &str =
    "Change the password, for example at the logon screen of a domain member, and log on again.";
pub(super) const CHECK_CERTIFICATE: &str = "\
    Check the certificate: validity, issuer, revocation list, and how it is mapped to the \
    account.";
pub(super) const CHECK_COMPUTER_ACCOUNT: &str = "\
    Check that the computer account exists and is enabled, then join the machine again if it is \
    missing.";
pub(super) const CHECK_DC_ANSWER: &str = "\
    If the target machine refuses in the same second, it is the target that objects and not the \
    domain controller: look there for LsaSrv 6167.";
pub(super) const CHECK_DELEGATION: &str = "\
    Check the delegation settings of the service account and whether the user is marked as not to \
    be delegated.";
pub(super) const CHECK_HOURS: &str =
    "Look at the logon hours of the account, and at the clocks of both machines.";
pub(super) const CHECK_LOAD: &str = "\
    Look at load and memory of the domain controller or server, and at MaxConcurrentApi when many \
    NTLM logons pass through it.";
pub(super) const CHECK_NAME: &str =
    "Check how the user name and the domain are spelt, and whether the account still exists.";
pub(super) const CHECK_PACKAGE: &str =
    "Check whether the security package is installed and loaded on this machine.";
pub(super) const CHECK_PASSWORD_POLICY: &str =
    "Choose a password that fits the password policy of the domain.";
pub(super) const CHECK_RESTRICTIONS: &str = "\
    Look at the account's properties (logon hours, permitted computers, blank password, smart \
    card) and at the authentication policy that applies to it.";
pub(super) const CHECK_REVOCATION_LIST: &str = "\
    Check that the revocation list of the issuer can be downloaded from the machine that verifies \
    the certificate.";
pub(super) const CHECK_SHARE_NAME: &str =
    "Check how the share name is spelt and whether the share still exists.";
pub(super) const CHECK_TRUST: &str = "\
    Check the trust between the two domains with netdom trust /verify or in Active Directory \
    Domains and Trusts, and reset it if needed.";
pub(super) const CHECK_WORKSTATIONS: &str =
    "Look at the list of permitted computers (Log On To) of the account.";
pub(super) const COMPARE_POLICIES: &str =
    "Compare the authentication policies of both machines (NTLM, Kerberos, signing).";
pub(super) const DOWNGRADED: &str = "\
    A logon fell back to something weaker than expected, mostly because no domain controller \
    answered or NTLM was used instead of Kerberos.";
pub(super) const ENABLE_ACCOUNT: &str =
    "Enable the account if it is still needed, otherwise find out who still uses it.";
pub(super) const EXTEND_ACCOUNT: &str =
    "Move the expiry date of the account if it is still needed.";
pub(super) const FIX_ENCRYPTION: &str = "\
    Compare the encryption types that client, account (msDS-SupportedEncryptionTypes) and domain \
    controller allow; an old account gets AES keys by a change of its password.";
pub(super) const FIX_SPN: &str = "\
    Ask who holds the SPN with setspn -Q, look for duplicates with setspn -X, and give the SPN to \
    the account that runs the service and to no other.";
pub(super) const GRANT_LOGON_RIGHT: &str = "\
    Grant the right for this kind of logon in the user rights assignment of the refusing machine, \
    and look at its deny entries too.";
pub(super) const LOGON_REFUSED: &str = "\
    The logon was refused; the code alone does not tell whether name or password was wrong, \
    because machines with the same machine id refuse each other with it too.";
pub(super) const LOG_ON_BY_NAME: &str = "Log on to the server with a real account.";
pub(super) const LOOK_FOR_6167: &str = "\
    Look for LsaSrv 6167 at the same moment in the System log of the machine that refused (for \
    4625 and 551 the machine that wrote them): with it, find the twin with twinsid replay; without \
    it, check name and password.";
pub(super) const NORMAL_STEP: &str =
    "Nothing to do: it is a normal step, and the client carries on by itself.";
pub(super) const NOTHING_TO_DO: &str = "Nothing to do.";
pub(super) const REACH_DC: &str = "\
    Check name resolution, network and firewall between this machine and its domain controllers, \
    for example with nltest /dsgetdc.";
pub(super) const REACH_KDC: &str = "\
    Check that the machine reaches a domain controller by Kerberos (port 88), and look for a \
    machine in between.";
pub(super) const REACH_SERVER: &str =
    "Check name resolution, network and firewall between the two machines.";
pub(super) const READ_SERVER_LOG: &str =
    "Read the System log of the server or domain controller at the same moment.";
pub(super) const RECONNECT: &str = "Connect again; look further only if it happens often.";
pub(super) const REPAIR_SECURE_CHANNEL: &str = "\
    Reset the secure channel with Test-ComputerSecureChannel -Repair; if the fault comes back, \
    look for a second machine that uses the same computer account.";
pub(super) const REPORT_PROGRAM: &str =
    "Report it to the maker of the program that tried to log on.";
pub(super) const RETYPE_PASSWORD: &str = "\
    Type the password again, and look for services, tasks and saved credentials that still hold an \
    old one.";
pub(super) const RUN_UNDER_OWN_SPN: &str = "Run the service under an account with its own SPN.";
pub(super) const SET_CLOCKS: &str = "\
    Compare the clocks of client, server and domain controller (w32tm /query /status); on a \
    virtual machine look at the host's time too.";
pub(super) const START_NETLOGON: &str =
    "Start the Netlogon service on the machine and see in its System log why it was not running.";
pub(super) const STOP_COMPUTER_ACCOUNT: &str = "\
    Use an ordinary account; if the machine did it by itself, check its computer account and \
    secure channel.";
pub(super) const STOP_DC_ACCOUNT: &str = "\
    Use an ordinary account, and check that no member server uses the name of a domain \
    controller.";
pub(super) const STOP_TRUST_ACCOUNT: &str =
    "Use an ordinary account, and find out which program uses the trust's account.";
pub(super) const UNLOCK_ACCOUNT: &str = "\
    Find what keeps sending a wrong password (event 4740 on a domain controller names the calling \
    computer), then unlock the account.";
pub(super) const UPDATE_PEER: &str = "\
    Rare between Windows machines: find the program or device that sent it and update it; a \
    network capture shows the message.";
pub(super) const USE_KERBEROS: &str = "\
    Find out why Kerberos was not used (an IP address instead of a name, a missing SPN), or add an \
    exception to the NTLM policy.";
pub(super) const USE_SMART_CARD: &str =
    "Log on with the smart card, or take the smart card requirement off the account.";

//! Every code of Windows authentication events in plain words.
//!
//! In: a [`StatusCode`] of an event, or what a person typed after
//! `twinsid explain`. Out: the official name, one sentence on what it means,
//! one on what to do, and the [`Category`] that detection counts it under.
//!
//! Names and values follow [MS-ERREF] 2.2 and 2.3 (Win32, NTSTATUS), the SSPI
//! status codes, RFC 4120 7.5.9 and RFC 4556 (Kerberos). Where Windows names
//! Kerberos 0x42 unlike the RFCs, Windows wins: its events are what is read.
//!
//! The tables are complete for authentication events and no more: a code that
//! is missing here is unknown to the callers too, and counts as
//! [`Category::Other`].

use crate::status::{Category, CodeFamily, StatusCode};

/// One code in plain words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeInfo {
    pub code: StatusCode,
    /// The official name, `STATUS_LOGON_FAILURE`.
    pub name: &'static str,
    /// One sentence: what it means for the person who reads it.
    pub text: &'static str,
    pub category: Category,
    /// One sentence: what to do next.
    pub action: &'static str,
}

/// One meaning of what was asked, for `twinsid explain`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    pub title: String,
    pub lines: Vec<String>,
}

/// `None` when the code is not one of authentication events.
pub fn lookup(code: StatusCode) -> Option<&'static CodeInfo> {
    let at = CODES.binary_search_by_key(&code, |info| info.code).ok()?;
    CODES.get(at)
}

/// [`Category::Other`] for an unknown code too.
pub fn category(code: StatusCode) -> Category {
    lookup(code).map_or(Category::Other, |info| info.category)
}

/// `%%2304` to `%%2315`, the field FailureReason of Security 4625.
pub fn failure_reason(number: u32) -> Option<(&'static str, Category)> {
    Some(match number {
        2304 => (
            "the logon failed without a reason that Windows names; a machine id mismatch looks \
             like this too",
            Category::Refused,
        ),
        2305 => ("the account has expired", Category::AccountExpired),
        2306 => ("the Netlogon service was not running", Category::Other),
        2307 => ("the account is locked", Category::AccountLocked),
        2308 => ("the account lacks the right for this kind of logon here", Category::LogonRight),
        2309 => ("the password has expired", Category::PasswordExpired),
        2310 => ("the account is disabled", Category::AccountDisabled),
        2311 => ("the account may not log on at this hour", Category::AccountRestriction),
        2312 => ("the account may not log on at this computer", Category::AccountRestriction),
        2313 => ("unknown user name or wrong password", Category::BadPassword),
        2314 => ("the SID of the domain does not match", Category::TrustBroken),
        2315 => ("the account needs a smart card, and none was used", Category::AccountRestriction),
        _ => return None,
    })
}

/// The field LogonType of Security 4624, 4625 and 4634.
pub fn logon_type(number: u32) -> Option<&'static str> {
    Some(match number {
        0 => "system start-up",
        2 => "interactive (at the keyboard or a console of a virtual machine)",
        3 => "network (share, WinRM, RDP with NLA)",
        4 => "batch (scheduled task)",
        5 => "service",
        7 => "unlock of a locked screen",
        8 => "network with the password in clear text (IIS basic authentication)",
        9 => "new credentials for other machines only (runas /netonly)",
        10 => "remote interactive (RDP; its failures under NLA are type 3)",
        11 => "interactive with cached credentials (no domain controller asked)",
        12 => "remote interactive with cached credentials",
        13 => "unlock with cached credentials",
        _ => return None,
    })
}

/// The fields TicketEncryptionType, SessionKeyEncryptionType and
/// PreAuthEncryptionType of the ticket events.
pub fn encryption_type(number: u32) -> Option<&'static str> {
    Some(match number {
        0x1 => "DES-CBC-CRC (broken, must not be used)",
        0x3 => "DES-CBC-MD5 (broken, must not be used)",
        0x11 => "AES128-CTS-HMAC-SHA1-96",
        0x12 => "AES256-CTS-HMAC-SHA1-96",
        0x13 => "AES128-CTS-HMAC-SHA256-128",
        0x14 => "AES256-CTS-HMAC-SHA384-192",
        0x17 => "RC4-HMAC (weak, on its way out)",
        0x18 => "RC4-HMAC-EXP (weak, must not be used)",
        0xFFFF_FFFF => "none, because the request failed",
        _ => return None,
    })
}

/// The field PreAuthType of Security 4768 and 4771.
pub fn preauth_type(number: u32) -> Option<&'static str> {
    Some(match number {
        0 => "none: the account may log on without pre-authentication",
        2 => "password (encrypted timestamp)",
        11 => "list of encryption types, older form",
        15 => "certificate or smart card (PKINIT, older form)",
        16 => "certificate or smart card (PKINIT request)",
        17 => "certificate or smart card (PKINIT answer)",
        19 => "list of encryption types",
        20 => "referral to another domain",
        138 => "password inside an armoured request (FAST encrypted challenge)",
        _ => return None,
    })
}

/// `%%1832` and its like: values that Security 4624 refers to by message
/// number.
pub fn message_code(number: u32) -> Option<&'static str> {
    Some(match number {
        1832 => "identification (the service may see who the user is)",
        1833 => "impersonation (the service may act for the user on this machine)",
        1840 => "delegation (the service may act for the user on other machines too)",
        1842 => "yes",
        1843 => "no",
        _ => return None,
    })
}

/// What `text` can mean, most likely first; empty when it means nothing here.
///
/// | form | read as |
/// |---|---|
/// | `0xC000006D`, `c000006d`, `3221225581`, `-1073741715` | NTSTATUS, SSPI |
/// | `0x18`, `18` | whichever lists hold the number, all of them |
/// | `1326`, `0x52E`, `0x8007052E` | Win32 |
/// | `%%2313` | FailureReason or another message number |
/// | `6167`, `LsaSrv 6167`, `event 4625` | event id |
/// | `logon type 3`, `etype 0x17`, `kerberos 7`, `win32 5` | that list only |
/// | `STATUS_LOGON_FAILURE`, `logon failure` | name, with or without prefix |
///
/// Digits without `0x` are decimal, except that eight of them are tried as
/// hexadecimal first. Upper and lower case are the same.
pub fn explain(text: &str) -> Vec<Explanation> {
    let text = text.trim();
    let (label, number) = match text.rsplit_once(|c: char| c.is_whitespace() || ":=".contains(c)) {
        Some((label, number)) => (letters(label), number),
        None => (String::new(), text),
    };
    let mut found: Vec<Explanation> = Vec::new();
    for (value, notation) in readings(number) {
        for kind in kinds(&label, notation) {
            found.extend(explain_as(kind, value, &label));
        }
    }
    if found.is_empty() {
        found.extend(named(text).map(explain_code));
    }
    found
}

/// How a number was written, which tells what it can be.
#[derive(Clone, Copy)]
enum Notation {
    Hex,
    Decimal,
    /// `%%2313`
    Message,
}

/// A list in which a number has a meaning.
#[derive(Clone, Copy)]
enum Kind {
    Code(CodeFamily),
    LogonType,
    EncryptionType,
    PreauthType,
    FailureReason,
    MessageCode,
    Event,
}

impl Kind {
    /// The order in which meanings are given.
    const ALL: [Kind; 10] = [
        Kind::Code(CodeFamily::Ntstatus),
        Kind::Code(CodeFamily::Sspi),
        Kind::Code(CodeFamily::Win32),
        Kind::Code(CodeFamily::Kerberos),
        Kind::LogonType,
        Kind::EncryptionType,
        Kind::PreauthType,
        Kind::FailureReason,
        Kind::MessageCode,
        Kind::Event,
    ];

    /// Kerberos first: Windows prints its codes in hexadecimal and those of
    /// Win32 mostly in decimal.
    const HEX: [Kind; 6] = [
        Kind::Code(CodeFamily::Ntstatus),
        Kind::Code(CodeFamily::Sspi),
        Kind::Code(CodeFamily::Kerberos),
        Kind::Code(CodeFamily::Win32),
        Kind::EncryptionType,
        Kind::PreauthType,
    ];

    const MESSAGE: [Kind; 2] = [Kind::FailureReason, Kind::MessageCode];

    /// `label` is what stands before the number, by [`letters`].
    fn is_called(self, label: &str) -> bool {
        let names: &[&str] = match self {
            Kind::Code(CodeFamily::Ntstatus) => &["ntstatus"],
            Kind::Code(CodeFamily::Sspi) => &["sspi"],
            Kind::Code(CodeFamily::Kerberos) => &["kerberos", "krb", "krb5", "kdc"],
            Kind::Code(CodeFamily::Win32) => {
                &["win32", "win32error", "windowserror", "systemerror"]
            }
            Kind::LogonType => &["type", "logontype"],
            Kind::EncryptionType => &[
                "etype",
                "encryptiontype",
                "ticketencryptiontype",
                "sessionkeyencryptiontype",
                "preauthencryptiontype",
            ],
            Kind::PreauthType => &["preauth", "preauthtype", "preauthenticationtype"],
            Kind::FailureReason => &["reason", "failurereason"],
            Kind::MessageCode => &["message"],
            Kind::Event => return EVENTS.iter().any(|event| event.is_called(label)),
        };
        names.contains(&label)
    }
}

/// One event of the channels that the rules read.
struct EventInfo {
    /// More than one where they differ in little.
    ids: &'static [u32],
    source: &'static str,
    /// The log it is found in, without `Microsoft-Windows-`.
    channel: &'static str,
    lines: &'static [&'static str],
    action: &'static str,
}

impl EventInfo {
    /// `event 6167`, `LsaSrv 6167`, `System 6167`,
    /// `Microsoft-Windows-SMBServer 551`.
    fn is_called(&self, label: &str) -> bool {
        let (source, channel) = (letters(self.source), letters(self.channel));
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

/// The kinds that fit both what stands before the number and how the number
/// is written.
fn kinds(label: &str, notation: Notation) -> Vec<Kind> {
    // Words that events and messages put before codes of any list.
    let says_nothing = matches!(
        label,
        "" | "status" | "substatus" | "code" | "error" | "errorcode" | "failurecode" | "resultcode"
    );
    match notation {
        Notation::Message => Kind::MESSAGE.to_vec(),
        Notation::Hex if says_nothing => Kind::HEX.to_vec(),
        Notation::Decimal if says_nothing => Kind::ALL.to_vec(),
        Notation::Hex | Notation::Decimal => {
            Kind::ALL.into_iter().filter(|kind| kind.is_called(label)).collect()
        }
    }
}

/// The numbers that `text` can stand for, likely ones first.
fn readings(text: &str) -> Vec<(u32, Notation)> {
    let hex = |digits: &str| {
        let is_hex = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let value = u32::from_str_radix(digits, 16).ok().filter(|_| is_hex);
        value.map(|value| (value, Notation::Hex))
    };
    if let Some(digits) = text.strip_prefix("%%") {
        return digits.parse().ok().map(|value| (value, Notation::Message)).into_iter().collect();
    }
    if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return hex(digits).into_iter().collect();
    }
    let decimal = match text.strip_prefix('-') {
        // The signed form of a code with its highest bit set.
        Some(_) => text.parse::<i32>().ok().map(|value| value as u32),
        None => text.parse().ok().filter(|_| !text.starts_with('+')),
    };
    let decimal = decimal.map(|value| (value, Notation::Decimal));
    let bare_hex = hex(text).filter(|_| decimal.is_none() || text.len() == 8);
    bare_hex.into_iter().chain(decimal).collect()
}

fn explain_as(kind: Kind, value: u32, label: &str) -> Vec<Explanation> {
    let one = |title: String, text: &str| vec![Explanation { title, lines: vec![sentence(text)] }];
    match kind {
        Kind::Code(family) => {
            // An HRESULT of facility 7 holds a Win32 code in its lower half.
            let value = match family {
                CodeFamily::Win32 if value >> 16 == 0x8007 => value & 0xFFFF,
                CodeFamily::Ntstatus
                | CodeFamily::Sspi
                | CodeFamily::Kerberos
                | CodeFamily::Win32 => value,
            };
            lookup(StatusCode { family, value }).map(explain_code).into_iter().collect()
        }
        Kind::LogonType => {
            logon_type(value).map_or_else(Vec::new, |text| one(format!("Logon type {value}"), text))
        }
        Kind::EncryptionType => encryption_type(value)
            .map_or_else(Vec::new, |text| one(format!("Encryption type 0x{value:X}"), text)),
        Kind::PreauthType => preauth_type(value)
            .map_or_else(Vec::new, |text| one(format!("Pre-authentication type {value}"), text)),
        Kind::FailureReason => failure_reason(value).map_or_else(Vec::new, |(text, category)| {
            let lines = vec![sentence(text), category_line(category)];
            vec![Explanation { title: format!("%%{value} (failure reason of event 4625)"), lines }]
        }),
        Kind::MessageCode => {
            message_code(value).map_or_else(Vec::new, |text| one(format!("%%{value}"), text))
        }
        Kind::Event => EVENTS
            .iter()
            .filter(|event| event.ids.contains(&value))
            .filter(|event| label.is_empty() || event.is_called(label))
            .map(|event| explain_event(event, value))
            .collect(),
    }
}

fn explain_code(info: &CodeInfo) -> Explanation {
    let CodeInfo { code, name, text, category, action } = info;
    let title = match code.family {
        CodeFamily::Ntstatus => format!("{code} {name} (NTSTATUS)"),
        CodeFamily::Sspi => format!("{code} {name} (SSPI)"),
        CodeFamily::Kerberos => format!("Kerberos {code} {name}"),
        CodeFamily::Win32 => format!("Windows error {code} (0x{:X}) {name}", code.value),
    };
    let lines = vec![(*text).to_string(), category_line(*category), action_line(action)];
    Explanation { title, lines }
}

fn explain_event(event: &EventInfo, id: u32) -> Explanation {
    let title = format!("Event {id} of {} ({} log)", event.source, event.channel);
    let mut lines: Vec<String> = event.lines.iter().map(|line| (*line).to_string()).collect();
    lines.push(action_line(event.action));
    Explanation { title, lines }
}

fn category_line(category: Category) -> String {
    format!("Category: {}.", category.name())
}

fn action_line(action: &str) -> String {
    format!("What to do: {action}")
}

/// A phrase as a sentence: first letter upper case, full stop.
fn sentence(phrase: &str) -> String {
    let mut chars = phrase.chars();
    let first = chars.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(chars).chain(['.']).collect()
}

/// The codes with this name. A full name is taken as it stands; a part of one
/// may belong to several lists (`logon_failure`).
fn named(text: &str) -> impl Iterator<Item = &'static CodeInfo> {
    let name: String = text
        .chars()
        .map(|c| if c == ' ' || c == '-' { '_' } else { c.to_ascii_uppercase() })
        .collect();
    let full = CODES.iter().any(|info| info.name.eq_ignore_ascii_case(&name));
    CODES.iter().filter(move |info| {
        let known = info.name.to_ascii_uppercase();
        if full { known == name } else { without_prefix(&known) == without_prefix(&name) }
    })
}

/// `STATUS_LOGON_FAILURE` -> `LOGON_FAILURE`; also for the prefixes that
/// other Kerberos libraries use. A name that is only a prefix stays whole.
fn without_prefix(name: &str) -> &str {
    const PREFIXES: [&str; 14] = [
        "STATUS_",
        "SEC_E_",
        "KDC_ERR_",
        "KDC_ERROR_",
        "KRB_AP_ERR_",
        "KRB_AP_",
        "KRB_ERR_",
        "KRB5KDC_ERR_",
        "KRB5KRB_AP_ERR_",
        "KRB5KRB_ERR_",
        "ERROR_",
        "NERR_",
        "RPC_NT_",
        "RPC_S_",
    ];
    PREFIXES
        .iter()
        .find_map(|prefix| name.strip_prefix(prefix).filter(|rest| !rest.is_empty()))
        .unwrap_or(name)
}

/// Letters and digits in lower case: `Logon Type` and `LogonType` are one.
fn letters(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).map(|c| c.to_ascii_lowercase()).collect()
}

/// A row a code: value, name and category, then what it means and what to do.
macro_rules! codes {
    ($($family:ident {
        $($value:literal $name:ident $category:ident $text:expr, $action:expr;)+
    })+) => {
        &[$($(CodeInfo {
            code: StatusCode { family: CodeFamily::$family, value: $value },
            name: stringify!($name),
            text: $text,
            category: Category::$category,
            action: $action,
        },)+)+]
    };
}

/// Every code, in the order of [`StatusCode`].
static CODES: &[CodeInfo] = codes! {
    Ntstatus {
        0x0000_0000 STATUS_SUCCESS Other
            "The authentication was accepted.",
            CHECK_DC_ANSWER;
        0xC000_0001 STATUS_UNSUCCESSFUL Other
            "Something failed that no other code describes.",
            READ_SERVER_LOG;
        0xC000_000D STATUS_INVALID_PARAMETER Other
            "A request held a value that the other side does not accept.",
            UPDATE_PEER;
        0xC000_0016 STATUS_MORE_PROCESSING_REQUIRED Other
            "The exchange needs another message, as usual halfway through a logon.",
            NORMAL_STEP;
        0xC000_0017 STATUS_NO_MEMORY Other
            "The machine that should check the logon was out of memory.",
            CHECK_LOAD;
        0xC000_0022 STATUS_ACCESS_DENIED Refused
            ACCESS_REFUSED,
            LOOK_FOR_6167;
        0xC000_005E STATUS_NO_LOGON_SERVERS NoLogonServers
            "No domain controller could be reached to check the logon.",
            REACH_DC;
        0xC000_005F STATUS_NO_SUCH_LOGON_SESSION Other
            "The logon session that the request belongs to has ended.",
            RECONNECT;
        0xC000_0064 STATUS_NO_SUCH_USER UnknownAccount
            "No account of that name exists where it was looked for.",
            CHECK_NAME;
        0xC000_006A STATUS_WRONG_PASSWORD BadPassword
            "The account exists, but the password was wrong.",
            RETYPE_PASSWORD;
        0xC000_006B STATUS_ILL_FORMED_PASSWORD Other
            "The new password holds characters that are not allowed.",
            CHECK_PASSWORD_POLICY;
        0xC000_006C STATUS_PASSWORD_RESTRICTION Other
            "The new password does not meet the password policy.",
            CHECK_PASSWORD_POLICY;
        0xC000_006D STATUS_LOGON_FAILURE Refused
            LOGON_REFUSED,
            LOOK_FOR_6167;
        0xC000_006E STATUS_ACCOUNT_RESTRICTION AccountRestriction
            "Name and password were right, but a rule on the account forbids this logon, such as \
             a blank password over the network or an authentication policy.",
            CHECK_RESTRICTIONS;
        0xC000_006F STATUS_INVALID_LOGON_HOURS AccountRestriction
            "The account may not log on at this hour or on this day.",
            CHECK_HOURS;
        0xC000_0070 STATUS_INVALID_WORKSTATION AccountRestriction
            "The account may not log on from this computer.",
            CHECK_WORKSTATIONS;
        0xC000_0071 STATUS_PASSWORD_EXPIRED PasswordExpired
            "The password was right but has expired.",
            CHANGE_PASSWORD;
        0xC000_0072 STATUS_ACCOUNT_DISABLED AccountDisabled
            "The account is disabled.",
            ENABLE_ACCOUNT;
        0xC000_0073 STATUS_NONE_MAPPED Other
            "The name could not be translated into a SID.",
            CHECK_NAME;
        0xC000_009A STATUS_INSUFFICIENT_RESOURCES Other
            "The machine that should check the logon was overloaded.",
            CHECK_LOAD;
        0xC000_00B5 STATUS_IO_TIMEOUT Other
            "The other machine did not answer in time.",
            REACH_SERVER;
        0xC000_00BB STATUS_NOT_SUPPORTED Other
            "The other side does not support what was asked for, often an authentication method \
             that a policy has switched off.",
            COMPARE_POLICIES;
        0xC000_00BE STATUS_BAD_NETWORK_PATH Other
            "The server could not be found on the network.",
            REACH_SERVER;
        0xC000_00CC STATUS_BAD_NETWORK_NAME Other
            "The server answered, but has no share of that name.",
            CHECK_SHARE_NAME;
        0xC000_00DC STATUS_INVALID_SERVER_STATE Other
            "The account database of the machine was not in a state to check the logon.",
            READ_SERVER_LOG;
        0xC000_00DD STATUS_INVALID_DOMAIN_STATE Other
            "The domain was not in a state to do what was asked.",
            READ_SERVER_LOG;
        0xC000_00DE STATUS_INVALID_DOMAIN_ROLE Other
            "Only a domain controller in another role can do what was asked.",
            "Send the request to a writable domain controller or the one with the right role.";
        0xC000_00DF STATUS_NO_SUCH_DOMAIN NoLogonServers
            "The domain does not exist or could not be reached.",
            REACH_DC;
        0xC000_00E5 STATUS_INTERNAL_ERROR Other
            "An internal error stopped the logon.",
            READ_SERVER_LOG;
        0xC000_00FE STATUS_NO_SUCH_PACKAGE Other
            "The authentication package that was asked for is not installed.",
            CHECK_PACKAGE;
        0xC000_010B STATUS_INVALID_LOGON_TYPE Other
            "The program asked for a kind of logon that does not exist.",
            REPORT_PROGRAM;
        0xC000_0133 STATUS_TIME_DIFFERENCE_AT_DC ClockSkew
            "The clocks of this machine and the domain controller differ too much.",
            SET_CLOCKS;
        0xC000_0155 STATUS_LOGON_NOT_GRANTED LogonRight
            "The machine did not allow this logon.",
            GRANT_LOGON_RIGHT;
        0xC000_015B STATUS_LOGON_TYPE_NOT_GRANTED LogonRight
            "The account lacks the right for this kind of logon on the machine, such as over the \
             network, by remote desktop or as a service.",
            GRANT_LOGON_RIGHT;
        0xC000_018A STATUS_NO_TRUST_LSA_SECRET TrustBroken
            "The machine has no password of its own for the domain.",
            REPAIR_SECURE_CHANNEL;
        0xC000_018B STATUS_NO_TRUST_SAM_ACCOUNT TrustBroken
            "The domain has no usable account for this machine.",
            CHECK_COMPUTER_ACCOUNT;
        0xC000_018C STATUS_TRUSTED_DOMAIN_FAILURE TrustBroken
            "The trust between this domain and the account's domain does not work.",
            CHECK_TRUST;
        0xC000_018D STATUS_TRUSTED_RELATIONSHIP_FAILURE TrustBroken
            "The trust between this machine and its domain does not work, mostly because the \
             machine's password differs from the domain's record.",
            REPAIR_SECURE_CHANNEL;
        0xC000_0190 STATUS_TRUST_FAILURE TrustBroken
            "The trust that this logon has to pass through does not work.",
            REPAIR_SECURE_CHANNEL;
        0xC000_0192 STATUS_NETLOGON_NOT_STARTED Other
            "The Netlogon service was not running, so nobody could ask a domain controller.",
            START_NETLOGON;
        0xC000_0193 STATUS_ACCOUNT_EXPIRED AccountExpired
            "The account has passed its expiry date.",
            EXTEND_ACCOUNT;
        0xC000_0198 STATUS_NOLOGON_INTERDOMAIN_TRUST_ACCOUNT TrustBroken
            "Somebody tried to log on with the account of a trust between domains.",
            STOP_TRUST_ACCOUNT;
        0xC000_0199 STATUS_NOLOGON_WORKSTATION_TRUST_ACCOUNT TrustBroken
            "A computer account was used where only a user account may log on.",
            STOP_COMPUTER_ACCOUNT;
        0xC000_019A STATUS_NOLOGON_SERVER_TRUST_ACCOUNT TrustBroken
            "The account of a domain controller was used where only a user account may log on.",
            STOP_DC_ACCOUNT;
        0xC000_019B STATUS_DOMAIN_TRUST_INCONSISTENT TrustBroken
            "The name or SID of the trusted domain does not match what the trust says.",
            CHECK_TRUST;
        0xC000_0203 STATUS_USER_SESSION_DELETED Other
            "The server has already closed the session that the client still uses.",
            RECONNECT;
        0xC000_0224 STATUS_PASSWORD_MUST_CHANGE PasswordExpired
            "The password must be changed before the first logon.",
            CHANGE_PASSWORD;
        0xC000_0225 STATUS_NOT_FOUND Other
            "Something that the logon needs was not found; the code alone does not say what.",
            READ_SERVER_LOG;
        0xC000_0233 STATUS_DOMAIN_CONTROLLER_NOT_FOUND NoLogonServers
            "No domain controller of the domain was found.",
            REACH_DC;
        0xC000_0234 STATUS_ACCOUNT_LOCKED_OUT AccountLocked
            "The account is locked after too many wrong passwords.",
            UNLOCK_ACCOUNT;
        0xC000_02EE STATUS_UNFINISHED_CONTEXT_DELETED Other
            "The exchange was broken off before the logon was finished.",
            RECONNECT;
        0xC000_02F9 STATUS_PKINIT_NAME_MISMATCH Other
            "The name in the certificate does not belong to the account.",
            CHECK_CERTIFICATE;
        0xC000_02FA STATUS_SMARTCARD_LOGON_REQUIRED AccountRestriction
            "The account may log on with a smart card only, and a password was used.",
            USE_SMART_CARD;
        0xC000_02FB STATUS_KDC_INVALID_REQUEST Other
            "The domain controller could not make sense of the Kerberos request.",
            UPDATE_PEER;
        0xC000_02FC STATUS_KDC_UNABLE_TO_REFER Other
            "The domain controller could not point the client to the right domain.",
            CHECK_TRUST;
        0xC000_02FD STATUS_KDC_UNKNOWN_ETYPE EncryptionType
            "Client and domain controller have no Kerberos encryption type in common.",
            FIX_ENCRYPTION;
        0xC000_0320 STATUS_PKINIT_FAILURE Other
            "The logon with a certificate failed on this machine.",
            CHECK_CERTIFICATE;
        0xC000_0322 STATUS_NO_KERB_KEY SpnOrKey
            "The machine has no Kerberos key to read the ticket with.",
            REPAIR_SECURE_CHANNEL;
        0xC000_035B STATUS_BAD_BINDINGS ChannelBinding
            "The logon was not made for the TLS connection it came through.",
            ALIGN_BINDING;
        0xC000_035C STATUS_NETWORK_SESSION_EXPIRED Other
            "The client's ticket ran out and the session has to be set up again.",
            RECONNECT;
        0xC000_0371 STATUS_NO_SECRETS Other
            "The account has no secret on this domain controller, as on a read-only one.",
            "Check that a writable domain controller can be reached from the read-only one.";
        0xC000_0380 STATUS_SMARTCARD_WRONG_PIN BadPassword
            "The PIN of the smart card was wrong.",
            "Enter the PIN again, with care: a few more errors block the card.";
        0xC000_0381 STATUS_SMARTCARD_CARD_BLOCKED Other
            "The smart card is blocked after too many wrong PINs.",
            "Have the card unblocked or replaced.";
        0xC000_0388 STATUS_DOWNGRADE_DETECTED Other
            DOWNGRADED,
            REACH_KDC;
        0xC000_0389 STATUS_SMARTCARD_CERT_REVOKED Other
            "The certificate on the smart card has been revoked.",
            CHECK_CERTIFICATE;
        0xC000_038A STATUS_ISSUING_CA_UNTRUSTED Other
            "The issuer of the smart card's certificate is not trusted.",
            CHECK_CERTIFICATE;
        0xC000_038B STATUS_REVOCATION_OFFLINE_C Other
            "Nobody could tell whether the smart card's certificate was revoked, as its list was \
             out of reach.",
            CHECK_REVOCATION_LIST;
        0xC000_038C STATUS_PKINIT_CLIENT_FAILURE Other
            "The logon with a certificate failed on the client.",
            CHECK_CERTIFICATE;
        0xC000_038D STATUS_SMARTCARD_CERT_EXPIRED Other
            "The certificate on the smart card has expired.",
            CHECK_CERTIFICATE;
        0xC000_0408 STATUS_USER2USER_REQUIRED SpnOrKey
            "The service runs under a user's own session and takes only user-to-user tickets.",
            RUN_UNDER_OWN_SPN;
        0xC000_0413 STATUS_AUTHENTICATION_FIREWALL_FAILED LogonRight
            "The trust allows selected accounts only, and this one may not authenticate to the \
             server.",
            ALLOW_TO_AUTHENTICATE;
        0xC000_0418 STATUS_NTLM_BLOCKED NtlmBlocked
            "NTLM is switched off by policy, so the logon was refused before the password \
             counted.",
            USE_KERBEROS;
        0xC002_0017 RPC_NT_SERVER_UNAVAILABLE NoLogonServers
            "The domain controller or server did not answer on RPC.",
            REACH_DC;
        0xC002_0050 RPC_NT_CALL_CANCELLED Other
            "The call to the domain controller was given up, mostly because it took too long.",
            CHECK_LOAD;
        0xC05D_0002 STATUS_SMB_GUEST_LOGON_BLOCKED Other
            "The server offered a guest session, and this client does not accept guests.",
            LOG_ON_BY_NAME;
    }
    Sspi {
        0x8009_0300 SEC_E_INSUFFICIENT_MEMORY Other
            "There was not enough memory for the authentication.",
            CHECK_LOAD;
        0x8009_0301 SEC_E_INVALID_HANDLE Other
            "A program used an authentication that had ended or never begun.",
            REPORT_PROGRAM;
        0x8009_0302 SEC_E_UNSUPPORTED_FUNCTION Other
            "The security package cannot do what was asked, or a policy forbids it.",
            COMPARE_POLICIES;
        0x8009_0303 SEC_E_TARGET_UNKNOWN SpnOrKey
            "The domain knows no service under the name that the client used.",
            FIX_SPN;
        0x8009_0304 SEC_E_INTERNAL_ERROR Other
            "The local security authority could not be reached or failed inside.",
            READ_SERVER_LOG;
        0x8009_0305 SEC_E_SECPKG_NOT_FOUND Other
            "The security package that was asked for does not exist here.",
            CHECK_PACKAGE;
        0x8009_0308 SEC_E_INVALID_TOKEN Other
            "A message of the authentication was not understood, often just because client and \
             server tried different protocols.",
            "If the next attempt worked, ignore it; otherwise look for a proxy or an old client \
             in between.";
        0x8009_030B SEC_E_NO_IMPERSONATION Other
            "The service could not act in the user's name.",
            CHECK_DELEGATION;
        0x8009_030C SEC_E_LOGON_DENIED Refused
            LOGON_REFUSED,
            LOOK_FOR_6167;
        0x8009_030D SEC_E_UNKNOWN_CREDENTIALS Other
            "The security package did not recognise the credentials that it was given.",
            "Remove saved credentials for this target and enter them again.";
        0x8009_030E SEC_E_NO_CREDENTIALS Refused
            "The security package had no credentials it could use; the code alone does not tell \
             whether the password was wrong, because a machine that finds its own id in the \
             caller answers like this too.",
            LOOK_FOR_6167;
        0x8009_030F SEC_E_MESSAGE_ALTERED Other
            "A signed message arrived changed.",
            "Look for a device that changes traffic between the two machines.";
        0x8009_0310 SEC_E_OUT_OF_SEQUENCE Other
            "A signed message arrived out of order.",
            RECONNECT;
        0x8009_0311 SEC_E_NO_AUTHENTICATING_AUTHORITY NoLogonServers
            "No domain controller could be reached to check the logon.",
            REACH_DC;
        0x8009_0317 SEC_E_CONTEXT_EXPIRED Other
            "The authentication had expired and has to be made again.",
            RECONNECT;
        0x8009_0318 SEC_E_INCOMPLETE_MESSAGE Other
            "A message of the authentication arrived in part only.",
            RECONNECT;
        0x8009_0320 SEC_E_INCOMPLETE_CREDENTIALS Other
            "The server asked for credentials that the client did not send, such as a \
             certificate.",
            CHECK_CERTIFICATE;
        0x8009_0322 SEC_E_WRONG_PRINCIPAL SpnOrKey
            "The service that answered runs under another account than the one the ticket was \
             made for.",
            FIX_SPN;
        0x8009_0324 SEC_E_TIME_SKEW ClockSkew
            "The clocks of client and server differ too much.",
            SET_CLOCKS;
        0x8009_0325 SEC_E_UNTRUSTED_ROOT Other
            "The certificate comes from an issuer that this machine does not trust.",
            CHECK_CERTIFICATE;
        0x8009_0326 SEC_E_ILLEGAL_MESSAGE Other
            "A message came that does not belong at this point of the exchange.",
            UPDATE_PEER;
        0x8009_0327 SEC_E_CERT_UNKNOWN Other
            "The certificate could not be processed.",
            CHECK_CERTIFICATE;
        0x8009_0328 SEC_E_CERT_EXPIRED Other
            "The certificate has expired.",
            CHECK_CERTIFICATE;
        0x8009_0330 SEC_E_DECRYPT_FAILURE Other
            "A message could not be decrypted.",
            RECONNECT;
        0x8009_0331 SEC_E_ALGORITHM_MISMATCH EncryptionType
            "Client and server have no algorithm in common.",
            "Compare the TLS and Kerberos algorithms that both machines allow.";
        0x8009_0333 SEC_E_UNFINISHED_CONTEXT_DELETED Other
            "The exchange was broken off before the logon was finished.",
            RECONNECT;
        0x8009_033D SEC_E_PKINIT_NAME_MISMATCH Other
            "The name in the certificate does not belong to the account.",
            CHECK_CERTIFICATE;
        0x8009_033E SEC_E_SMARTCARD_LOGON_REQUIRED AccountRestriction
            "The account may log on with a smart card only, and a password was used.",
            USE_SMART_CARD;
        0x8009_0340 SEC_E_KDC_INVALID_REQUEST Other
            "The domain controller could not make sense of the Kerberos request.",
            UPDATE_PEER;
        0x8009_0341 SEC_E_KDC_UNABLE_TO_REFER Other
            "The domain controller could not point the client to the right domain.",
            CHECK_TRUST;
        0x8009_0342 SEC_E_KDC_UNKNOWN_ETYPE EncryptionType
            "Client and domain controller have no Kerberos encryption type in common.",
            FIX_ENCRYPTION;
        0x8009_0343 SEC_E_UNSUPPORTED_PREAUTH Other
            "The domain controller does not take the kind of pre-authentication that the client \
             offered.",
            "Check the certificate of the domain controller if smart cards are used, and the \
             domain functional level.";
        0x8009_0345 SEC_E_DELEGATION_REQUIRED Other
            "The service needs the right to act in the user's name further on, and does not have \
             it.",
            CHECK_DELEGATION;
        0x8009_0346 SEC_E_BAD_BINDINGS ChannelBinding
            "The logon was not made for the TLS connection it came through.",
            ALIGN_BINDING;
        0x8009_0347 SEC_E_MULTIPLE_ACCOUNTS SpnOrKey
            "The name belongs to more than one account.",
            FIX_SPN;
        0x8009_0348 SEC_E_NO_KERB_KEY SpnOrKey
            "The machine has no Kerberos key to read the ticket with.",
            REPAIR_SECURE_CHANNEL;
        0x8009_0350 SEC_E_DOWNGRADE_DETECTED Other
            DOWNGRADED,
            REACH_KDC;
        0x8009_0351 SEC_E_SMARTCARD_CERT_REVOKED Other
            "The certificate on the smart card has been revoked.",
            CHECK_CERTIFICATE;
        0x8009_0352 SEC_E_ISSUING_CA_UNTRUSTED Other
            "The issuer of the certificate is not trusted.",
            CHECK_CERTIFICATE;
        0x8009_0354 SEC_E_PKINIT_CLIENT_FAILURE Other
            "The logon with a certificate failed on the client.",
            CHECK_CERTIFICATE;
        0x8009_0355 SEC_E_SMARTCARD_CERT_EXPIRED Other
            "The certificate on the smart card has expired.",
            CHECK_CERTIFICATE;
        0x8009_0363 SEC_E_MUTUAL_AUTH_FAILED SpnOrKey
            "The server could not prove to the client that it is the one that was asked for.",
            FIX_SPN;
    }
    Kerberos {
        0x00 KDC_ERR_NONE Other
            "The domain controller issued the ticket.",
            CHECK_DC_ANSWER;
        0x01 KDC_ERR_NAME_EXP AccountExpired
            "The account that asked has expired.",
            EXTEND_ACCOUNT;
        0x02 KDC_ERR_SERVICE_EXP Other
            "The account of the service has expired.",
            "Move the expiry date of the service account.";
        0x03 KDC_ERR_BAD_PVNO Other
            "The client speaks another version of Kerberos.",
            UPDATE_PEER;
        0x04 KDC_ERR_C_OLD_MAST_KVNO Other
            "The key of the account that asked is locked with an old master key.",
            UPDATE_PEER;
        0x05 KDC_ERR_S_OLD_MAST_KVNO Other
            "The key of the service is locked with an old master key.",
            UPDATE_PEER;
        0x06 KDC_ERR_C_PRINCIPAL_UNKNOWN UnknownAccount
            "The domain knows no account of that name.",
            CHECK_NAME;
        0x07 KDC_ERR_S_PRINCIPAL_UNKNOWN SpnOrKey
            "The domain knows no service under the name that the client used, so the client goes \
             on with NTLM or fails.",
            FIX_SPN;
        0x08 KDC_ERR_PRINCIPAL_NOT_UNIQUE SpnOrKey
            "Two accounts carry the same name or SPN.",
            FIX_SPN;
        0x09 KDC_ERR_NULL_KEY SpnOrKey
            "The account or the service has no key, as before its first password.",
            "Set the password of the account anew.";
        0x0A KDC_ERR_CANNOT_POSTDATE Other
            "The client asked for a ticket that starts later, which is not allowed.",
            UPDATE_PEER;
        0x0B KDC_ERR_NEVER_VALID ClockSkew
            "The client asked for a ticket that ends before it starts.",
            SET_CLOCKS;
        0x0C KDC_ERR_POLICY AccountRestriction
            "A rule of the domain forbids it, such as logon hours, permitted computers, a \
             required smart card or an authentication policy.",
            CHECK_RESTRICTIONS;
        0x0D KDC_ERR_BADOPTION Other
            "The domain controller could not grant an option of the request, often delegation or \
             the renewal of a ticket that is too old.",
            CHECK_DELEGATION;
        0x0E KDC_ERR_ETYPE_NOSUPP EncryptionType
            "The domain controller found no encryption type that client, account and policy all \
             allow.",
            FIX_ENCRYPTION;
        0x0F KDC_ERR_SUMTYPE_NOSUPP EncryptionType
            "The domain controller does not know the kind of checksum that the client used.",
            FIX_ENCRYPTION;
        0x10 KDC_ERR_PADATA_TYPE_NOSUPP Other
            "The domain controller does not take this kind of pre-authentication, mostly because \
             it has no certificate for smart card logons.",
            "Check that the domain controller has a valid certificate for Kerberos \
             authentication.";
        0x11 KDC_ERR_TRTYPE_NOSUPP Other
            "The domain controller cannot read the list of domains that the ticket passed \
             through.",
            CHECK_TRUST;
        0x12 KDC_ERR_CLIENT_REVOKED AccountDisabled
            "The account is disabled, expired or locked; Kerberos has one code for all three.",
            "Look at the account to see which of the three it is; if it is locked, event 4740 on \
             a domain controller names the calling computer.";
        0x13 KDC_ERR_SERVICE_REVOKED Other
            "The account of the service is disabled, expired or locked.",
            "Enable or unlock the account that runs the service.";
        0x14 KDC_ERR_TGT_REVOKED Other
            "The ticket-granting ticket is no longer accepted.",
            "Log off and on again, or empty the ticket cache with klist purge.";
        0x15 KDC_ERR_CLIENT_NOTYET Other
            "The account that asked is not valid yet.",
            SET_CLOCKS;
        0x16 KDC_ERR_SERVICE_NOTYET Other
            "The account of the service is not valid yet.",
            SET_CLOCKS;
        0x17 KDC_ERR_KEY_EXPIRED PasswordExpired
            "The password has expired or must be changed.",
            CHANGE_PASSWORD;
        0x18 KDC_ERR_PREAUTH_FAILED BadPassword
            "The account exists, but the password was wrong; for a name that ends in $ the \
             machine and the domain hold different machine passwords.",
            "For a user, type the password again and look for saved old ones; for a machine, \
             reset its secure channel and look for a second machine with the same account.";
        0x19 KDC_ERR_PREAUTH_REQUIRED Other
            "The domain controller asks for proof of the password first, as it does in every \
             logon.",
            NORMAL_STEP;
        0x1A KDC_ERR_SERVER_NOMATCH SpnOrKey
            "The ticket belongs to another service than the one that was asked for.",
            FIX_SPN;
        0x1B KDC_ERR_MUST_USE_USER2USER SpnOrKey
            "The service runs under a user's own session and takes only user-to-user tickets.",
            "Give the SPN to an account of the service's own.";
        0x1C KDC_ERR_PATH_NOT_ACCEPTED TrustBroken
            "The ticket came through domains that the domain controller does not accept.",
            CHECK_TRUST;
        0x1D KDC_ERR_SVC_UNAVAILABLE NoLogonServers
            "A service that the domain controller depends on did not answer.",
            REACH_DC;
        0x1F KRB_AP_ERR_BAD_INTEGRITY SpnOrKey
            "The ticket could not be decrypted: it was made for another key than the service \
             has.",
            FIX_SPN;
        0x20 KRB_AP_ERR_TKT_EXPIRED Other
            "The ticket has run out, which is how every ticket ends, and the client fetches a \
             new one.",
            NORMAL_STEP;
        0x21 KRB_AP_ERR_TKT_NYV ClockSkew
            "The ticket starts in the future, so the clocks disagree.",
            SET_CLOCKS;
        0x22 KRB_AP_ERR_REPEAT Other
            "The same request arrived twice: resent by the network, two machines alike, or an \
             attacker.",
            "Find out whether one machine sent both; if not, look at what stands between them.";
        0x23 KRB_AP_ERR_NOT_US SpnOrKey
            "The ticket is for another server than the one that received it.",
            FIX_SPN;
        0x24 KRB_AP_ERR_BADMATCH SpnOrKey
            "Ticket and sender name different accounts.",
            "Empty the ticket cache with klist purge and look for tickets of another user.";
        0x25 KRB_AP_ERR_SKEW ClockSkew
            "The clocks of client and domain controller or server differ too much.",
            SET_CLOCKS;
        0x26 KRB_AP_ERR_BADADDR Other
            "The ticket came from another address than it was made for.",
            "Look for address translation or a changed address between the two machines.";
        0x27 KRB_AP_ERR_BADVERSION Other
            "The two sides speak different versions of Kerberos.",
            UPDATE_PEER;
        0x28 KRB_AP_ERR_MSG_TYPE Other
            "A message of the wrong kind arrived.",
            UPDATE_PEER;
        0x29 KRB_AP_ERR_MODIFIED SpnOrKey
            "The server could not read the ticket with its key: mostly the SPN stands on the \
             wrong account, or the name leads to another machine.",
            FIX_SPN;
        0x2A KRB_AP_ERR_BADORDER Other
            "Messages arrived out of order.",
            RECONNECT;
        0x2C KRB_AP_ERR_BADKEYVER SpnOrKey
            "The ticket was made with a version of the key that the service does not have, as \
             after a password change that has not replicated.",
            "Wait for replication or export the keytab of the service again.";
        0x2D KRB_AP_ERR_NOKEY SpnOrKey
            "The service has no key to read the ticket with.",
            "Check the password or the keytab of the account that runs the service.";
        0x2E KRB_AP_ERR_MUT_FAIL SpnOrKey
            "The server could not prove to the client that it is the one that was asked for.",
            FIX_SPN;
        0x2F KRB_AP_ERR_BADDIRECTION Other
            "A message came back to the side that had sent it.",
            UPDATE_PEER;
        0x30 KRB_AP_ERR_METHOD Other
            "Another way of authenticating is needed.",
            UPDATE_PEER;
        0x31 KRB_AP_ERR_BADSEQ Other
            "A message carries the wrong sequence number.",
            RECONNECT;
        0x32 KRB_AP_ERR_INAPP_CKSUM EncryptionType
            "A message carries a kind of checksum that is not accepted here.",
            FIX_ENCRYPTION;
        0x33 KRB_AP_PATH_NOT_ACCEPTED TrustBroken
            "The ticket came through domains that the server does not accept.",
            CHECK_TRUST;
        0x34 KRB_ERR_RESPONSE_TOO_BIG Other
            "The answer does not fit a UDP packet, so the client asks again by TCP.",
            NORMAL_STEP;
        0x3C KRB_ERR_GENERIC Refused
            "Kerberos failed for a reason that it does not name; the code alone does not tell \
             whether the password was wrong.",
            LOOK_FOR_6167;
        0x3D KRB_ERR_FIELD_TOOLONG Other
            "A message was longer than the other side accepts.",
            "Look at the number of groups of the user, which makes tickets grow.";
        0x3E KDC_ERR_CLIENT_NOT_TRUSTED Other
            "The domain controller does not trust the client's certificate.",
            CHECK_CERTIFICATE;
        0x3F KDC_ERR_KDC_NOT_TRUSTED Other
            "The client does not trust the domain controller's certificate.",
            "Check the certificate of the domain controller and whether the client knows its \
             issuer.";
        0x40 KDC_ERR_INVALID_SIG Other
            "The signature made with the certificate is not valid.",
            CHECK_CERTIFICATE;
        0x41 KDC_ERR_KEY_TOO_WEAK EncryptionType
            "The key that was offered is too weak for the policy.",
            "Use a certificate with a longer key.";
        0x42 KRB_AP_ERR_USER_TO_USER_REQUIRED SpnOrKey
            "The service takes only user-to-user tickets (older lists read this number as a \
             certificate mismatch).",
            RUN_UNDER_OWN_SPN;
        0x43 KRB_AP_ERR_NO_TGT Other
            "The user-to-user exchange lacked the ticket of the service.",
            "Restart the service so that it logs on anew.";
        0x44 KDC_ERR_WRONG_REALM Other
            "The request went to a domain controller of the wrong domain, which points the \
             client to the right one.",
            "If logons fail, use the full name user@domain and check the trust.";
        0x45 KRB_AP_ERR_USER_TO_USER_REQUIRED SpnOrKey
            "The service takes only user-to-user tickets.",
            RUN_UNDER_OWN_SPN;
        0x46 KDC_ERR_CANT_VERIFY_CERTIFICATE Other
            "The chain of the client's certificate could not be verified.",
            CHECK_CERTIFICATE;
        0x47 KDC_ERR_INVALID_CERTIFICATE Other
            "A certificate of the chain is not valid.",
            CHECK_CERTIFICATE;
        0x48 KDC_ERR_REVOKED_CERTIFICATE Other
            "The client's certificate has been revoked.",
            CHECK_CERTIFICATE;
        0x49 KDC_ERR_REVOCATION_STATUS_UNKNOWN Other
            "Nobody could tell whether the certificate was revoked.",
            CHECK_REVOCATION_LIST;
        0x4B KDC_ERR_CLIENT_NAME_MISMATCH Other
            "The certificate is not mapped to the account that it was used for.",
            "Check the mapping of the certificate to the account, which domain controllers now \
             require to be strong.";
    }
    Win32 {
        0 ERROR_SUCCESS Other
            "There was no error.",
            NOTHING_TO_DO;
        5 ERROR_ACCESS_DENIED Refused
            ACCESS_REFUSED,
            LOOK_FOR_6167;
        53 ERROR_BAD_NETPATH Other
            "The server could not be found on the network.",
            REACH_SERVER;
        59 ERROR_UNEXP_NET_ERR Other
            "The network connection failed in an unexpected way.",
            RECONNECT;
        64 ERROR_NETNAME_DELETED Other
            "The other side closed the connection.",
            RECONNECT;
        67 ERROR_BAD_NET_NAME Other
            "The server answered, but has no share of that name.",
            CHECK_SHARE_NAME;
        71 ERROR_REQ_NOT_ACCEP Other
            "The server takes no more connections at the moment.",
            "Close unused connections or raise the limit of the share.";
        86 ERROR_INVALID_PASSWORD BadPassword
            "The password was wrong.",
            RETYPE_PASSWORD;
        121 ERROR_SEM_TIMEOUT Other
            "The other machine did not answer in time.",
            REACH_SERVER;
        1219 ERROR_SESSION_CREDENTIAL_CONFLICT Other
            "The client is already connected to this server under another user name.",
            "Close the older connection with net use /delete, then connect again.";
        1231 ERROR_NETWORK_UNREACHABLE Other
            "There is no route to the other machine.",
            REACH_SERVER;
        1240 ERROR_LOGIN_WKSTA_RESTRICTION AccountRestriction
            "The account may not log on from this computer.",
            CHECK_WORKSTATIONS;
        1244 ERROR_NOT_AUTHENTICATED Other
            "The request was sent before any logon.",
            RECONNECT;
        1265 ERROR_DOWNGRADE_DETECTED Other
            DOWNGRADED,
            REACH_KDC;
        1272 ERROR_SMB_GUEST_LOGON_BLOCKED Other
            "The server offered a guest session, and this client does not accept guests.",
            LOG_ON_BY_NAME;
        1311 ERROR_NO_LOGON_SERVERS NoLogonServers
            "No domain controller could be reached to check the logon.",
            REACH_DC;
        1312 ERROR_NO_SUCH_LOGON_SESSION Other
            "The logon session that the request belongs to has ended or holds no credentials.",
            "Log off and on again, or enter the credentials by hand.";
        1314 ERROR_PRIVILEGE_NOT_HELD Other
            "The account lacks a privilege that the action needs.",
            "Start the program as an administrator or grant the privilege.";
        1317 ERROR_NO_SUCH_USER UnknownAccount
            "No account of that name exists.",
            CHECK_NAME;
        1323 ERROR_WRONG_PASSWORD BadPassword
            "The old password was wrong when it was to be changed.",
            RETYPE_PASSWORD;
        1325 ERROR_PASSWORD_RESTRICTION Other
            "The new password does not meet the password policy.",
            CHECK_PASSWORD_POLICY;
        1326 ERROR_LOGON_FAILURE Refused
            LOGON_REFUSED,
            LOOK_FOR_6167;
        1327 ERROR_ACCOUNT_RESTRICTION AccountRestriction
            "Name and password were right, but a rule on the account forbids this logon, such as \
             a blank password over the network or an authentication policy.",
            CHECK_RESTRICTIONS;
        1328 ERROR_INVALID_LOGON_HOURS AccountRestriction
            "The account may not log on at this hour or on this day.",
            CHECK_HOURS;
        1329 ERROR_INVALID_WORKSTATION AccountRestriction
            "The account may not log on from this computer.",
            CHECK_WORKSTATIONS;
        1330 ERROR_PASSWORD_EXPIRED PasswordExpired
            "The password was right but has expired.",
            CHANGE_PASSWORD;
        1331 ERROR_ACCOUNT_DISABLED AccountDisabled
            "The account is disabled.",
            ENABLE_ACCOUNT;
        1332 ERROR_NONE_MAPPED Other
            "The name could not be translated into a SID, or the SID into a name.",
            CHECK_NAME;
        1351 ERROR_CANT_ACCESS_DOMAIN_INFO NoLogonServers
            "The domain could not be asked, mostly because no domain controller answered.",
            REACH_DC;
        1355 ERROR_NO_SUCH_DOMAIN NoLogonServers
            "The domain does not exist or could not be reached.",
            REACH_DC;
        1380 ERROR_LOGON_NOT_GRANTED LogonRight
            "The machine did not allow this logon.",
            GRANT_LOGON_RIGHT;
        1385 ERROR_LOGON_TYPE_NOT_GRANTED LogonRight
            "The account lacks the right for this kind of logon on the machine, such as over the \
             network, by remote desktop or as a service.",
            GRANT_LOGON_RIGHT;
        1396 ERROR_WRONG_TARGET_NAME SpnOrKey
            "The service that answered runs under another account than the one the ticket was \
             made for.",
            FIX_SPN;
        1397 ERROR_MUTUAL_AUTH_FAILED SpnOrKey
            "The server could not prove to the client that it is the one that was asked for.",
            FIX_SPN;
        1398 ERROR_TIME_SKEW ClockSkew
            "The clocks of client and server differ too much.",
            SET_CLOCKS;
        1722 RPC_S_SERVER_UNAVAILABLE NoLogonServers
            "The domain controller or server did not answer on RPC.",
            REACH_DC;
        1786 ERROR_NO_TRUST_LSA_SECRET TrustBroken
            "The machine has no password of its own for the domain.",
            REPAIR_SECURE_CHANNEL;
        1787 ERROR_NO_TRUST_SAM_ACCOUNT TrustBroken
            "The domain has no usable account for this machine.",
            CHECK_COMPUTER_ACCOUNT;
        1788 ERROR_TRUSTED_DOMAIN_FAILURE TrustBroken
            "The trust between this domain and the account's domain does not work.",
            CHECK_TRUST;
        1789 ERROR_TRUSTED_RELATIONSHIP_FAILURE TrustBroken
            "The trust between this machine and its domain does not work, mostly because the \
             machine's password differs from the domain's record.",
            REPAIR_SECURE_CHANNEL;
        1790 ERROR_TRUST_FAILURE TrustBroken
            "The trust that this logon has to pass through does not work.",
            REPAIR_SECURE_CHANNEL;
        1792 ERROR_NETLOGON_NOT_STARTED Other
            "The Netlogon service was not running, so nobody could ask a domain controller.",
            START_NETLOGON;
        1793 ERROR_ACCOUNT_EXPIRED AccountExpired
            "The account has passed its expiry date.",
            EXTEND_ACCOUNT;
        1807 ERROR_NOLOGON_INTERDOMAIN_TRUST_ACCOUNT TrustBroken
            "Somebody tried to log on with the account of a trust between domains.",
            STOP_TRUST_ACCOUNT;
        1808 ERROR_NOLOGON_WORKSTATION_TRUST_ACCOUNT TrustBroken
            "A computer account was used where only a user account may log on.",
            STOP_COMPUTER_ACCOUNT;
        1809 ERROR_NOLOGON_SERVER_TRUST_ACCOUNT TrustBroken
            "The account of a domain controller was used where only a user account may log on.",
            STOP_DC_ACCOUNT;
        1810 ERROR_DOMAIN_TRUST_INCONSISTENT TrustBroken
            "The name or SID of the trusted domain does not match what the trust says.",
            CHECK_TRUST;
        1907 ERROR_PASSWORD_MUST_CHANGE PasswordExpired
            "The password must be changed before the first logon.",
            CHANGE_PASSWORD;
        1908 ERROR_DOMAIN_CONTROLLER_NOT_FOUND NoLogonServers
            "No domain controller of the domain was found.",
            REACH_DC;
        1909 ERROR_ACCOUNT_LOCKED_OUT AccountLocked
            "The account is locked after too many wrong passwords.",
            UNLOCK_ACCOUNT;
        1935 ERROR_AUTHENTICATION_FIREWALL_FAILED LogonRight
            "The trust allows selected accounts only, and this one may not authenticate to the \
             server.",
            ALLOW_TO_AUTHENTICATE;
        1937 ERROR_NTLM_BLOCKED NtlmBlocked
            "NTLM is switched off by policy, so the logon was refused before the password \
             counted.",
            USE_KERBEROS;
        2242 NERR_PasswordExpired PasswordExpired
            "The password has expired.",
            CHANGE_PASSWORD;
        2457 NERR_TimeDiffAtDC ClockSkew
            "The clocks of this machine and the domain controller differ too much.",
            SET_CLOCKS;
    }
};

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
static EVENTS: &[EventInfo] = events! {
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

const ACCESS_REFUSED: &str = "\
    Access was refused; the code alone does not tell whether the password, a permission, the \
    secure channel or the machine's identity is at fault.";
const ALIGN_BINDING: &str = "\
    Look for a proxy or load balancer that ends TLS between client and server, and align the \
    channel binding settings of both.";
const ALLOW_TO_AUTHENTICATE: &str =
    "Give the account the permission Allowed to Authenticate on the computer object of the server.";
const CHANGE_PASSWORD: &str =
    "Change the password, for example at the logon screen of a domain member, and log on again.";
const CHECK_CERTIFICATE: &str = "\
    Check the certificate: validity, issuer, revocation list, and how it is mapped to the \
    account.";
const CHECK_COMPUTER_ACCOUNT: &str = "\
    Check that the computer account exists and is enabled, then join the machine again if it is \
    missing.";
const CHECK_DC_ANSWER: &str = "\
    If the target machine refuses in the same second, it is the target that objects and not the \
    domain controller: look there for LsaSrv 6167.";
const CHECK_DELEGATION: &str = "\
    Check the delegation settings of the service account and whether the user is marked as not to \
    be delegated.";
const CHECK_HOURS: &str =
    "Look at the logon hours of the account, and at the clocks of both machines.";
const CHECK_LOAD: &str = "\
    Look at load and memory of the domain controller or server, and at MaxConcurrentApi when many \
    NTLM logons pass through it.";
const CHECK_NAME: &str =
    "Check how the user name and the domain are spelt, and whether the account still exists.";
const CHECK_PACKAGE: &str =
    "Check whether the security package is installed and loaded on this machine.";
const CHECK_PASSWORD_POLICY: &str =
    "Choose a password that fits the password policy of the domain.";
const CHECK_RESTRICTIONS: &str = "\
    Look at the account's properties (logon hours, permitted computers, blank password, smart \
    card) and at the authentication policy that applies to it.";
const CHECK_REVOCATION_LIST: &str = "\
    Check that the revocation list of the issuer can be downloaded from the machine that verifies \
    the certificate.";
const CHECK_SHARE_NAME: &str =
    "Check how the share name is spelt and whether the share still exists.";
const CHECK_TRUST: &str = "\
    Check the trust between the two domains with netdom trust /verify or in Active Directory \
    Domains and Trusts, and reset it if needed.";
const CHECK_WORKSTATIONS: &str =
    "Look at the list of permitted computers (Log On To) of the account.";
const COMPARE_POLICIES: &str =
    "Compare the authentication policies of both machines (NTLM, Kerberos, signing).";
const DOWNGRADED: &str = "\
    A logon fell back to something weaker than expected, mostly because no domain controller \
    answered or NTLM was used instead of Kerberos.";
const ENABLE_ACCOUNT: &str =
    "Enable the account if it is still needed, otherwise find out who still uses it.";
const EXTEND_ACCOUNT: &str = "Move the expiry date of the account if it is still needed.";
const FIX_ENCRYPTION: &str = "\
    Compare the encryption types that client, account (msDS-SupportedEncryptionTypes) and domain \
    controller allow; an old account gets AES keys by a change of its password.";
const FIX_SPN: &str = "\
    Ask who holds the SPN with setspn -Q, look for duplicates with setspn -X, and give the SPN to \
    the account that runs the service and to no other.";
const GRANT_LOGON_RIGHT: &str = "\
    Grant the right for this kind of logon in the user rights assignment of the refusing machine, \
    and look at its deny entries too.";
const LOGON_REFUSED: &str = "\
    The logon was refused; the code alone does not tell whether name or password was wrong, \
    because machines with the same machine id refuse each other with it too.";
const LOG_ON_BY_NAME: &str = "Log on to the server with a real account.";
const LOOK_FOR_6167: &str = "\
    Look for LsaSrv 6167 at the same moment in the System log of the machine that refused (for \
    4625 and 551 the machine that wrote them): with it, find the twin with twinsid replay; without \
    it, check name and password.";
const NORMAL_STEP: &str =
    "Nothing to do: it is a normal step, and the client carries on by itself.";
const NOTHING_TO_DO: &str = "Nothing to do.";
const REACH_DC: &str = "\
    Check name resolution, network and firewall between this machine and its domain controllers, \
    for example with nltest /dsgetdc.";
const REACH_KDC: &str = "\
    Check that the machine reaches a domain controller by Kerberos (port 88), and look for a \
    machine in between.";
const REACH_SERVER: &str = "Check name resolution, network and firewall between the two machines.";
const READ_SERVER_LOG: &str =
    "Read the System log of the server or domain controller at the same moment.";
const RECONNECT: &str = "Connect again; look further only if it happens often.";
const REPAIR_SECURE_CHANNEL: &str = "\
    Reset the secure channel with Test-ComputerSecureChannel -Repair; if the fault comes back, \
    look for a second machine that uses the same computer account.";
const REPORT_PROGRAM: &str = "Report it to the maker of the program that tried to log on.";
const RETYPE_PASSWORD: &str = "\
    Type the password again, and look for services, tasks and saved credentials that still hold an \
    old one.";
const RUN_UNDER_OWN_SPN: &str = "Run the service under an account with its own SPN.";
const SET_CLOCKS: &str = "\
    Compare the clocks of client, server and domain controller (w32tm /query /status); on a \
    virtual machine look at the host's time too.";
const START_NETLOGON: &str =
    "Start the Netlogon service on the machine and see in its System log why it was not running.";
const STOP_COMPUTER_ACCOUNT: &str = "\
    Use an ordinary account; if the machine did it by itself, check its computer account and \
    secure channel.";
const STOP_DC_ACCOUNT: &str = "\
    Use an ordinary account, and check that no member server uses the name of a domain \
    controller.";
const STOP_TRUST_ACCOUNT: &str =
    "Use an ordinary account, and find out which program uses the trust's account.";
const UNLOCK_ACCOUNT: &str = "\
    Find what keeps sending a wrong password (event 4740 on a domain controller names the calling \
    computer), then unlock the account.";
const UPDATE_PEER: &str = "\
    Rare between Windows machines: find the program or device that sent it and update it; a \
    network capture shows the message.";
const USE_KERBEROS: &str = "\
    Find out why Kerberos was not used (an IP address instead of a name, a missing SPN), or add an \
    exception to the NTLM policy.";
const USE_SMART_CARD: &str =
    "Log on with the smart card, or take the smart card requirement off the account.";

#[cfg(test)]
mod tests {
    use super::*;

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

    fn info(family: CodeFamily, value: u32) -> &'static CodeInfo {
        lookup(StatusCode { family, value }).unwrap_or_else(|| panic!("{family:?} 0x{value:X}"))
    }

    fn titles(text: &str) -> Vec<String> {
        explain(text).into_iter().map(|explanation| explanation.title).collect()
    }

    #[track_caller]
    fn check(text: &str, expect: &[&str]) {
        assert_eq!(titles(text), expect, "{text}");
    }

    fn check_sentence(text: &str) {
        assert!(text.is_ascii(), "{text}");
        assert!(text.ends_with('.') && !text.ends_with(".."), "{text}");
        assert!(text.starts_with(|c: char| c.is_ascii_uppercase()), "{text}");
        assert!(!text.contains("  ") && !text.contains('\n'), "{text}");
        assert!((12..=400).contains(&text.len()), "{text}");
    }

    #[test]
    fn the_table_is_sorted_and_without_duplicates() {
        assert!(CODES.is_sorted_by(|a, b| a.code < b.code));
        assert!(EVENTS.iter().flat_map(|event| event.ids).is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn every_code_is_found_in_the_family_that_its_value_belongs_to() {
        for row in CODES {
            assert_eq!(StatusCode::new(row.code.family, row.code.value), row.code);
            assert_eq!(lookup(row.code), Some(row));
        }
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
        assert!(CODES.iter().filter(|row| row.code.family == CodeFamily::Win32).count() >= 25);
    }

    #[test]
    fn every_sentence_is_plain_ascii_with_a_full_stop() {
        for row in CODES {
            check_sentence(row.text);
            check_sentence(row.action);
            assert!(!row.name.is_empty());
        }
        for event in EVENTS {
            event.lines.iter().for_each(|line| check_sentence(line));
            check_sentence(event.action);
            assert!((2..=5).contains(&event.lines.len()), "{:?}", event.ids);
        }
    }

    #[test]
    fn counterparts_in_other_families_share_their_category() {
        let comparable = |row: &&CodeInfo| row.code.family != CodeFamily::Kerberos;
        for a in CODES.iter().filter(comparable) {
            for b in CODES.iter().filter(comparable) {
                if without_prefix(a.name) == without_prefix(b.name) {
                    assert_eq!(a.category, b.category, "{} {}", a.name, b.name);
                }
            }
        }
    }

    #[test]
    fn categories_follow_the_cause() {
        use CodeFamily::{Kerberos, Ntstatus, Sspi, Win32};
        for (family, value, expect) in [
            (Ntstatus, 0xC000_006A, Category::BadPassword),
            (Kerberos, 0x18, Category::BadPassword),
            (Ntstatus, 0xC000_0064, Category::UnknownAccount),
            (Kerberos, 0x6, Category::UnknownAccount),
            (Ntstatus, 0xC000_0234, Category::AccountLocked),
            (Kerberos, 0x12, Category::AccountDisabled),
            (Ntstatus, 0xC000_0072, Category::AccountDisabled),
            (Ntstatus, 0xC000_0193, Category::AccountExpired),
            (Ntstatus, 0xC000_0071, Category::PasswordExpired),
            (Ntstatus, 0xC000_0224, Category::PasswordExpired),
            (Kerberos, 0x17, Category::PasswordExpired),
            (Ntstatus, 0xC000_006E, Category::AccountRestriction),
            (Ntstatus, 0xC000_015B, Category::LogonRight),
            (Ntstatus, 0xC000_0133, Category::ClockSkew),
            (Kerberos, 0x25, Category::ClockSkew),
            (Sspi, 0x8009_0324, Category::ClockSkew),
            (Kerberos, 0x7, Category::SpnOrKey),
            (Kerberos, 0x29, Category::SpnOrKey),
            (Kerberos, 0xE, Category::EncryptionType),
            (Sspi, 0x8009_0342, Category::EncryptionType),
            (Ntstatus, 0xC000_018D, Category::TrustBroken),
            (Ntstatus, 0xC000_0199, Category::TrustBroken),
            (Ntstatus, 0xC000_0418, Category::NtlmBlocked),
            (Ntstatus, 0xC000_035B, Category::ChannelBinding),
            (Sspi, 0x8009_0346, Category::ChannelBinding),
            (Ntstatus, 0xC000_005E, Category::NoLogonServers),
            (Win32, 1311, Category::NoLogonServers),
            (Ntstatus, 0xDEAD_BEEF, Category::Other),
            (Win32, 4711, Category::Other),
        ] {
            assert_eq!(category(StatusCode::new(family, value)), expect, "{family:?} 0x{value:X}");
        }
    }

    #[test]
    fn a_code_that_a_twin_leaves_behind_points_to_6167() {
        for row in CODES.iter().filter(|row| row.category == Category::Refused) {
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

    #[test]
    fn failure_reasons_end_where_their_list_ends() {
        assert!((2304..=2315).all(|number| failure_reason(number).is_some()));
        assert_eq!(failure_reason(2303), None);
        assert_eq!(failure_reason(2316), None);
        assert_eq!(failure_reason(2304).map(|(_, category)| category), Some(Category::Refused));
        assert_eq!(failure_reason(2313).map(|(_, category)| category), Some(Category::BadPassword));
    }

    #[test]
    fn small_numbers_have_plain_words() {
        assert_eq!(logon_type(3), Some("network (share, WinRM, RDP with NLA)"));
        assert_eq!(logon_type(1), None);
        assert_eq!(encryption_type(0x12), Some("AES256-CTS-HMAC-SHA1-96"));
        assert_eq!(encryption_type(0x15), None);
        assert_eq!(preauth_type(2), Some("password (encrypted timestamp)"));
        assert_eq!(preauth_type(3), None);
        assert_eq!(message_code(1842), Some("yes"));
        assert_eq!(message_code(1844), None);
    }

    #[test]
    fn one_code_is_found_in_every_way_it_is_written() {
        for text in [
            "0xC000006D",
            "0xc000006d",
            "0XC000006D",
            "c000006d",
            "C000006D",
            "3221225581",
            "-1073741715",
            " 0xC000006D ",
            "Status: 0xC000006D",
            "SubStatus=0xC000006D",
            "error 0xC000006D",
            "STATUS_LOGON_FAILURE",
            "status_logon_failure",
            "ntstatus 0xC000006D",
        ] {
            check(text, &["0xC000006D STATUS_LOGON_FAILURE (NTSTATUS)"]);
        }
        for text in ["1326", "0x52E", "52e", "0x8007052E", "win32 1326", "ERROR_LOGON_FAILURE"] {
            check(text, &["Windows error 1326 (0x52E) ERROR_LOGON_FAILURE"]);
        }
        for text in ["0x80090308", "80090308", "-2146893048", "sec_e_invalid_token"] {
            check(text, &["0x80090308 SEC_E_INVALID_TOKEN (SSPI)"]);
        }
    }

    #[test]
    fn a_name_without_prefix_is_found_in_every_list_that_has_it() {
        for text in ["logon_failure", "LOGON FAILURE", "logon-failure"] {
            check(
                text,
                &[
                    "0xC000006D STATUS_LOGON_FAILURE (NTSTATUS)",
                    "Windows error 1326 (0x52E) ERROR_LOGON_FAILURE",
                ],
            );
        }
        for text in ["preauth_failed", "KDC_ERR_PREAUTH_FAILED", "KRB5KDC_ERR_PREAUTH_FAILED"] {
            check(text, &["Kerberos 0x18 KDC_ERR_PREAUTH_FAILED"]);
        }
        check("modified", &["Kerberos 0x29 KRB_AP_ERR_MODIFIED"]);
        check("no_credentials", &["0x8009030E SEC_E_NO_CREDENTIALS (SSPI)"]);
        check("nerr_passwordexpired", &["Windows error 2242 (0x8C2) NERR_PasswordExpired"]);
    }

    #[test]
    fn a_small_number_gives_all_its_meanings() {
        check("0x12", &["Kerberos 0x12 KDC_ERR_CLIENT_REVOKED", "Encryption type 0x12"]);
        check("0x18", &["Kerberos 0x18 KDC_ERR_PREAUTH_FAILED", "Encryption type 0x18"]);
        check(
            "5",
            &[
                "Windows error 5 (0x5) ERROR_ACCESS_DENIED",
                "Kerberos 0x5 KDC_ERR_S_OLD_MAST_KVNO",
                "Logon type 5",
                "Event 5 of Kerberos (System log)",
            ],
        );
    }

    #[test]
    fn words_before_a_number_choose_the_list() {
        check("type 3", &["Logon type 3"]);
        check("logon type 3", &["Logon type 3"]);
        check("Logon Type:\t3", &["Logon type 3"]);
        check("etype 0x17", &["Encryption type 0x17"]);
        check("etype 23", &["Encryption type 0x17"]);
        check("preauth type 138", &["Pre-authentication type 138"]);
        check("win32 5", &["Windows error 5 (0x5) ERROR_ACCESS_DENIED"]);
        check("kdc 0x6", &["Kerberos 0x6 KDC_ERR_C_PRINCIPAL_UNKNOWN"]);
        check("%%2313", &["%%2313 (failure reason of event 4625)"]);
        check("2313", &["%%2313 (failure reason of event 4625)"]);
        check("failure reason: %%2313", &["%%2313 (failure reason of event 4625)"]);
        check("%%1833", &["%%1833"]);
    }

    #[test]
    fn events_are_found_by_id_and_by_source() {
        for text in ["6167", "LsaSrv 6167", "lsasrv 6167", "event 6167", "Event ID: 6167"] {
            check(text, &["Event 6167 of LsaSrv (System log)"]);
        }
        check("security 4625", &["Event 4625 of Security (Security log)"]);
        check(
            "Microsoft-Windows-Security-Auditing 4625",
            &["Event 4625 of Security (Security log)"],
        );
        check("LSA (LsaSrv) 6167", &["Event 6167 of LsaSrv (System log)"]);
        check("4023", &["Event 4023 of NTLM (NTLM/Operational log)"]);
        check("NETLOGON 6167", &[]);
        for id in [
            551, 1149, 3210, 4624, 4625, 4648, 4740, 4768, 4769, 4771, 4776, 4777, 5719, 5722,
            5723, 5805, 6037, 6167, 6168, 31001, 40960, 40961,
        ] {
            assert!(!titles(&format!("event {id}")).is_empty(), "{id}");
        }
    }

    #[test]
    fn event_6167_says_what_it_does_not_prove_and_how_to_mend_it() {
        let lines = explain("6167").remove(0).lines.join("\n");
        for part in [
            "names nobody",
            "on the machine that refuses",
            "does not prove",
            "twinsid replay",
            "Sysprep on a live member is not enough",
            "end of 2027",
        ] {
            assert!(lines.contains(part), "{part}");
        }
    }

    #[test]
    fn unknown_text_gives_nothing() {
        for text in [
            "",
            " ",
            "0x",
            "-",
            "%%",
            "%%x",
            "_",
            "STATUS_",
            "KRB_AP_ERR_",
            "hello",
            "0xDEADBEEF",
            "99999",
            "4294967296",
            "99999999999999999999",
            "-9999999999",
            "+5",
            "0x+5",
            "logon type 99",
            "nonsense 6167",
            "%%1326",
        ] {
            assert_eq!(explain(text), [], "{text:?}");
        }
    }

    #[test]
    fn odd_text_never_panics() {
        let parts = [
            "",
            " ",
            "0x",
            "%%",
            "-",
            "+",
            "0",
            "5",
            "ff",
            "\u{e4}",
            "\u{df}",
            "\u{1F980}",
            "\0",
            ":",
            "=",
            "type 5",
            "event ",
            "0x5",
            "%%5",
            "STATUS_",
            "\u{a0}",
            "\u{0661}",
            "%",
            "_",
            "lsasrv",
            "\u{301}",
        ];
        for a in parts {
            for b in parts {
                let found = explain(&format!("{a}{b}"));
                assert!(found.iter().all(|one| !one.title.is_empty() && !one.lines.is_empty()));
            }
        }
    }
}

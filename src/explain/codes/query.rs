//! What a person typed after `twinsid explain`, in words.

use super::events::{EVENTS, EventInfo, folded};
use super::numbers::{encryption_type, failure_reason, logon_type, message_code, preauth_type};
use super::table::{CodeInfo, lookup};
use crate::status::{Category, CodeFamily, KNOWN_CODES, StatusCode, failure_reason_category};

/// One meaning of what was asked, for `twinsid explain`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Explanation {
    pub title: String,
    pub lines: Vec<String>,
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
pub(crate) fn explain(text: &str) -> Vec<Explanation> {
    let text = text.trim();
    let (label, number) = match text.rsplit_once(|c: char| c.is_whitespace() || ":=".contains(c)) {
        Some((label, number)) => (folded(label), number),
        None => (String::new(), text),
    };
    let mut found: Vec<Explanation> = Vec::new();
    for (value, notation) in readings(number) {
        for list in lists(&label, notation) {
            found.extend(explain_as(list, value, &label));
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
enum CodeList {
    Code(CodeFamily),
    LogonType,
    EncryptionType,
    PreauthType,
    FailureReason,
    MessageCode,
    Event,
}

impl CodeList {
    /// The order in which meanings are given.
    const ALL: [CodeList; 10] = [
        CodeList::Code(CodeFamily::Ntstatus),
        CodeList::Code(CodeFamily::Sspi),
        CodeList::Code(CodeFamily::Win32),
        CodeList::Code(CodeFamily::Kerberos),
        CodeList::LogonType,
        CodeList::EncryptionType,
        CodeList::PreauthType,
        CodeList::FailureReason,
        CodeList::MessageCode,
        CodeList::Event,
    ];

    /// Kerberos first: Windows prints its codes in hexadecimal and those of
    /// Win32 mostly in decimal.
    const HEX: [CodeList; 6] = [
        CodeList::Code(CodeFamily::Ntstatus),
        CodeList::Code(CodeFamily::Sspi),
        CodeList::Code(CodeFamily::Kerberos),
        CodeList::Code(CodeFamily::Win32),
        CodeList::EncryptionType,
        CodeList::PreauthType,
    ];

    const MESSAGE: [CodeList; 2] = [CodeList::FailureReason, CodeList::MessageCode];

    /// `label` is what stands before the number, by [`folded`].
    fn is_called(self, label: &str) -> bool {
        let names: &[&str] = match self {
            CodeList::Code(CodeFamily::Ntstatus) => &["ntstatus"],
            CodeList::Code(CodeFamily::Sspi) => &["sspi"],
            CodeList::Code(CodeFamily::Kerberos) => &["kerberos", "krb", "krb5", "kdc"],
            CodeList::Code(CodeFamily::Win32) => {
                &["win32", "win32error", "windowserror", "systemerror"]
            }
            CodeList::LogonType => &["type", "logontype"],
            CodeList::EncryptionType => &[
                "etype",
                "encryptiontype",
                "ticketencryptiontype",
                "sessionkeyencryptiontype",
                "preauthencryptiontype",
            ],
            CodeList::PreauthType => &["preauth", "preauthtype", "preauthenticationtype"],
            CodeList::FailureReason => &["reason", "failurereason"],
            CodeList::MessageCode => &["message"],
            CodeList::Event => return EVENTS.iter().any(|event| event.is_called(label)),
        };
        names.contains(&label)
    }
}

/// The lists that fit both what stands before the number and how the number
/// is written.
fn lists(label: &str, notation: Notation) -> Vec<CodeList> {
    // Words that events and messages put before codes of any list.
    let says_nothing = matches!(
        label,
        "" | "status" | "substatus" | "code" | "error" | "errorcode" | "failurecode" | "resultcode"
    );
    match notation {
        Notation::Message => CodeList::MESSAGE.to_vec(),
        Notation::Hex if says_nothing => CodeList::HEX.to_vec(),
        Notation::Decimal if says_nothing => CodeList::ALL.to_vec(),
        Notation::Hex | Notation::Decimal => {
            CodeList::ALL.into_iter().filter(|list| list.is_called(label)).collect()
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

fn explain_as(list: CodeList, value: u32, label: &str) -> Vec<Explanation> {
    let one = |title: String, text: &str| vec![Explanation { title, lines: vec![sentence(text)] }];
    match list {
        CodeList::Code(family) => {
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
        CodeList::LogonType => {
            logon_type(value).map_or_else(Vec::new, |text| one(format!("Logon type {value}"), text))
        }
        CodeList::EncryptionType => encryption_type(value)
            .map_or_else(Vec::new, |text| one(format!("Encryption type 0x{value:X}"), text)),
        CodeList::PreauthType => preauth_type(value)
            .map_or_else(Vec::new, |text| one(format!("Pre-authentication type {value}"), text)),
        CodeList::FailureReason => {
            let meaning = failure_reason(value).zip(failure_reason_category(value));
            meaning.map_or_else(Vec::new, |(text, category)| {
                let title = format!("%%{value} (failure reason of event 4625)");
                vec![Explanation { title, lines: vec![sentence(text), category_line(category)] }]
            })
        }
        CodeList::MessageCode => {
            message_code(value).map_or_else(Vec::new, |text| one(format!("%%{value}"), text))
        }
        CodeList::Event => EVENTS
            .iter()
            .filter(|event| event.ids.contains(&value))
            .filter(|event| label.is_empty() || event.is_called(label))
            .map(|event| explain_event(event, value))
            .collect(),
    }
}

fn explain_code(info: CodeInfo) -> Explanation {
    let CodeInfo { code, name, text, category, action } = info;
    let title = match code.family {
        CodeFamily::Ntstatus => format!("{code} {name} (NTSTATUS)"),
        CodeFamily::Sspi => format!("{code} {name} (SSPI)"),
        CodeFamily::Kerberos => format!("Kerberos {code} {name}"),
        CodeFamily::Win32 => format!("Windows error {code} (0x{:X}) {name}", code.value),
    };
    let lines = vec![text.to_owned(), category_line(category), action_line(action)];
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
fn named(text: &str) -> impl Iterator<Item = CodeInfo> {
    let name: String = text
        .chars()
        .map(|c| if c == ' ' || c == '-' { '_' } else { c.to_ascii_uppercase() })
        .collect();
    let full = KNOWN_CODES.iter().any(|code| code.name.eq_ignore_ascii_case(&name));
    let named = KNOWN_CODES.iter().filter(move |code| {
        let known = code.name.to_ascii_uppercase();
        if full { known == name } else { without_prefix(&known) == without_prefix(&name) }
    });
    named.filter_map(|code| lookup(code.code))
}

/// `STATUS_LOGON_FAILURE` -> `LOGON_FAILURE`; also for the prefixes that
/// other Kerberos libraries use. A name that is only a prefix stays whole.
pub(super) fn without_prefix(name: &str) -> &str {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn titles(text: &str) -> Vec<String> {
        explain(text).into_iter().map(|explanation| explanation.title).collect()
    }

    #[track_caller]
    fn check(text: &str, expect: &[&str]) {
        assert_eq!(titles(text), expect, "{text}");
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

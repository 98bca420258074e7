//! Small numbers of authentication events in words; each function returns
//! `None` for a number that its list does not have.

/// What `%%2304` to `%%2315` mean, the field FailureReason of Security 4625;
/// [`failure_reason_category`](crate::status::failure_reason_category) has
/// their categories.
pub(crate) fn failure_reason(number: u32) -> Option<&'static str> {
    Some(match number {
        2304 => {
            "the logon failed without a reason that Windows names; a machine id mismatch looks \
             like this too"
        }
        2305 => "the account has expired",
        2306 => "the Netlogon service was not running",
        2307 => "the account is locked",
        2308 => "the account lacks the right for this kind of logon here",
        2309 => "the password has expired",
        2310 => "the account is disabled",
        2311 => "the account may not log on at this hour",
        2312 => "the account may not log on at this computer",
        2313 => "unknown user name or wrong password",
        2314 => "the SID of the domain does not match",
        2315 => "the account needs a smart card, and none was used",
        _ => return None,
    })
}

/// The field LogonType of Security 4624, 4625 and 4634.
pub(crate) fn logon_type(number: u32) -> Option<&'static str> {
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
pub(crate) fn encryption_type(number: u32) -> Option<&'static str> {
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
pub(crate) fn preauth_type(number: u32) -> Option<&'static str> {
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

/// `%%1832` and the like: values that Security 4624 refers to by message
/// number.
pub(crate) fn message_code(number: u32) -> Option<&'static str> {
    Some(match number {
        1832 => "identification (the service may see who the user is)",
        1833 => "impersonation (the service may act for the user on this machine)",
        1840 => "delegation (the service may act for the user on other machines too)",
        1842 => "yes",
        1843 => "no",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::failure_reason_category;

    #[test]
    fn every_failure_reason_has_words_and_a_category() {
        for number in 2300..2320 {
            let has_category = failure_reason_category(number).is_some();
            assert_eq!(failure_reason(number).is_some(), has_category, "{number}");
        }
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
}

//! Status codes of authentication events, and the categories that they fall into.
//!
//! Names and values follow [MS-ERREF] 2.2 and 2.3 (Win32, NTSTATUS), the SSPI
//! status codes, RFC 4120 7.5.9 and RFC 4556 (Kerberos). Where Windows names
//! Kerberos 0x42 unlike the RFCs, Windows wins: its events are what is read.
//!
//! The table is complete for authentication events and no more: a code that is
//! missing here is unknown to the callers too, and counts as
//! [`Category::Other`]. `explain` has its words.

use std::fmt;

use borsh::{BorshDeserialize, BorshSerialize};

/// Which list a status code comes from: the same number means different
/// things in different lists.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize,
)]
pub enum CodeFamily {
    /// `0xC000006D` and its like ([MS-ERREF] 2.3).
    Ntstatus,
    /// `0x8009030E` and its like: security support provider interface.
    Sspi,
    /// RFC 4120 error codes, `0x18`.
    Kerberos,
    /// Windows system error codes, `1326`.
    Win32,
}

/// A status code with its list.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize,
)]
pub struct StatusCode {
    pub family: CodeFamily,
    pub value: u32,
}

impl StatusCode {
    /// `family` is the list that the event's field belongs to; a value that
    /// only fits NTSTATUS or SSPI goes there whatever the field says.
    pub fn new(family: CodeFamily, value: u32) -> StatusCode {
        let family = match value {
            0xC000_0000..=0xCFFF_FFFF => CodeFamily::Ntstatus,
            0x8009_0000..=0x8009_FFFF => CodeFamily::Sspi,
            _ => family,
        };
        StatusCode { family, value }
    }

    pub fn is_success(self) -> bool {
        self.value == 0
    }

    /// `None` when the code is not one of authentication events.
    pub fn known(self) -> Option<&'static KnownCode> {
        let at = KNOWN_CODES.binary_search_by_key(&self, |known| known.code).ok()?;
        KNOWN_CODES.get(at)
    }

    /// [`Category::Other`] for an unknown code too.
    pub fn category(self) -> Category {
        self.known().map_or(Category::Other, |known| known.category)
    }
}

/// A code of authentication events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownCode {
    pub code: StatusCode,
    /// The official name, `STATUS_LOGON_FAILURE`.
    pub name: &'static str,
    pub category: Category,
}

/// The code that says most: the sub status where there is one. `None` when
/// neither is a failure.
pub fn deciding_status(
    status: Option<StatusCode>,
    sub_status: Option<StatusCode>,
) -> Option<StatusCode> {
    sub_status.filter(|code| !code.is_success()).or(status.filter(|code| !code.is_success()))
}

/// The category of `%%2304` to `%%2315`, the field FailureReason of Security
/// 4625; `None` for any other number.
pub fn failure_reason_category(number: u32) -> Option<Category> {
    Some(match number {
        2304 => Category::Refused,
        2305 => Category::AccountExpired,
        2306 => Category::Other,
        2307 => Category::AccountLocked,
        2308 => Category::LogonRight,
        2309 => Category::PasswordExpired,
        2310 => Category::AccountDisabled,
        2311 | 2312 | 2315 => Category::AccountRestriction,
        2313 => Category::BadPassword,
        2314 => Category::TrustBroken,
        _ => return None,
    })
}

/// As Windows prints it: `0xC000006D`, `0x18`.
impl fmt::Display for StatusCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.family {
            CodeFamily::Ntstatus | CodeFamily::Sspi => write!(f, "0x{:08X}", self.value),
            CodeFamily::Kerberos => write!(f, "0x{:X}", self.value),
            CodeFamily::Win32 => write!(f, "{}", self.value),
        }
    }
}

/// Why an authentication failed, in the terms of the person who repairs it.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize,
)]
pub enum Category {
    BadPassword,
    UnknownAccount,
    AccountLocked,
    AccountExpired,
    PasswordExpired,
    AccountDisabled,
    AccountRestriction,
    LogonRight,
    ClockSkew,
    SpnOrKey,
    EncryptionType,
    TrustBroken,
    NtlmBlocked,
    ChannelBinding,
    NoLogonServers,
    /// The codes that a machine-id mismatch leaves beside it, and others: the
    /// code alone does not say whose fault it is.
    Refused,
    Other,
}

impl Category {
    pub const ALL: [Category; 17] = [
        Category::BadPassword,
        Category::UnknownAccount,
        Category::AccountLocked,
        Category::AccountExpired,
        Category::PasswordExpired,
        Category::AccountDisabled,
        Category::AccountRestriction,
        Category::LogonRight,
        Category::ClockSkew,
        Category::SpnOrKey,
        Category::EncryptionType,
        Category::TrustBroken,
        Category::NtlmBlocked,
        Category::ChannelBinding,
        Category::NoLogonServers,
        Category::Refused,
        Category::Other,
    ];

    /// As it stands in rule files and in the output.
    pub fn name(self) -> &'static str {
        match self {
            Category::BadPassword => "bad_password",
            Category::UnknownAccount => "unknown_account",
            Category::AccountLocked => "account_locked",
            Category::AccountExpired => "account_expired",
            Category::PasswordExpired => "password_expired",
            Category::AccountDisabled => "account_disabled",
            Category::AccountRestriction => "account_restriction",
            Category::LogonRight => "logon_right",
            Category::ClockSkew => "clock_skew",
            Category::SpnOrKey => "spn_or_key",
            Category::EncryptionType => "encryption_type",
            Category::TrustBroken => "trust_broken",
            Category::NtlmBlocked => "ntlm_blocked",
            Category::ChannelBinding => "channel_binding",
            Category::NoLogonServers => "no_logon_servers",
            Category::Refused => "refused",
            Category::Other => "other",
        }
    }

    pub fn from_name(name: &str) -> Option<Category> {
        Category::ALL.into_iter().find(|category| category.name() == name)
    }
}

/// A row a code: value, name and category.
macro_rules! known_codes {
    ($($family:ident {
        $($value:literal $name:ident $category:ident;)+
    })+) => {
        &[$($(KnownCode {
            code: StatusCode { family: CodeFamily::$family, value: $value },
            name: stringify!($name),
            category: Category::$category,
        },)+)+]
    };
}

/// Every known code, in the order of [`StatusCode`].
pub static KNOWN_CODES: &[KnownCode] = known_codes! {
    Ntstatus {
        0x0000_0000 STATUS_SUCCESS Other;
        0xC000_0001 STATUS_UNSUCCESSFUL Other;
        0xC000_000D STATUS_INVALID_PARAMETER Other;
        0xC000_0016 STATUS_MORE_PROCESSING_REQUIRED Other;
        0xC000_0017 STATUS_NO_MEMORY Other;
        0xC000_0022 STATUS_ACCESS_DENIED Refused;
        0xC000_005E STATUS_NO_LOGON_SERVERS NoLogonServers;
        0xC000_005F STATUS_NO_SUCH_LOGON_SESSION Other;
        0xC000_0064 STATUS_NO_SUCH_USER UnknownAccount;
        0xC000_006A STATUS_WRONG_PASSWORD BadPassword;
        0xC000_006B STATUS_ILL_FORMED_PASSWORD Other;
        0xC000_006C STATUS_PASSWORD_RESTRICTION Other;
        0xC000_006D STATUS_LOGON_FAILURE Refused;
        0xC000_006E STATUS_ACCOUNT_RESTRICTION AccountRestriction;
        0xC000_006F STATUS_INVALID_LOGON_HOURS AccountRestriction;
        0xC000_0070 STATUS_INVALID_WORKSTATION AccountRestriction;
        0xC000_0071 STATUS_PASSWORD_EXPIRED PasswordExpired;
        0xC000_0072 STATUS_ACCOUNT_DISABLED AccountDisabled;
        0xC000_0073 STATUS_NONE_MAPPED Other;
        0xC000_009A STATUS_INSUFFICIENT_RESOURCES Other;
        0xC000_00B5 STATUS_IO_TIMEOUT Other;
        0xC000_00BB STATUS_NOT_SUPPORTED Other;
        0xC000_00BE STATUS_BAD_NETWORK_PATH Other;
        0xC000_00CC STATUS_BAD_NETWORK_NAME Other;
        0xC000_00DC STATUS_INVALID_SERVER_STATE Other;
        0xC000_00DD STATUS_INVALID_DOMAIN_STATE Other;
        0xC000_00DE STATUS_INVALID_DOMAIN_ROLE Other;
        0xC000_00DF STATUS_NO_SUCH_DOMAIN NoLogonServers;
        0xC000_00E5 STATUS_INTERNAL_ERROR Other;
        0xC000_00FE STATUS_NO_SUCH_PACKAGE Other;
        0xC000_010B STATUS_INVALID_LOGON_TYPE Other;
        0xC000_0133 STATUS_TIME_DIFFERENCE_AT_DC ClockSkew;
        0xC000_0155 STATUS_LOGON_NOT_GRANTED LogonRight;
        0xC000_015B STATUS_LOGON_TYPE_NOT_GRANTED LogonRight;
        0xC000_018A STATUS_NO_TRUST_LSA_SECRET TrustBroken;
        0xC000_018B STATUS_NO_TRUST_SAM_ACCOUNT TrustBroken;
        0xC000_018C STATUS_TRUSTED_DOMAIN_FAILURE TrustBroken;
        0xC000_018D STATUS_TRUSTED_RELATIONSHIP_FAILURE TrustBroken;
        0xC000_0190 STATUS_TRUST_FAILURE TrustBroken;
        0xC000_0192 STATUS_NETLOGON_NOT_STARTED Other;
        0xC000_0193 STATUS_ACCOUNT_EXPIRED AccountExpired;
        0xC000_0198 STATUS_NOLOGON_INTERDOMAIN_TRUST_ACCOUNT TrustBroken;
        0xC000_0199 STATUS_NOLOGON_WORKSTATION_TRUST_ACCOUNT TrustBroken;
        0xC000_019A STATUS_NOLOGON_SERVER_TRUST_ACCOUNT TrustBroken;
        0xC000_019B STATUS_DOMAIN_TRUST_INCONSISTENT TrustBroken;
        0xC000_0203 STATUS_USER_SESSION_DELETED Other;
        0xC000_0224 STATUS_PASSWORD_MUST_CHANGE PasswordExpired;
        0xC000_0225 STATUS_NOT_FOUND Other;
        0xC000_0233 STATUS_DOMAIN_CONTROLLER_NOT_FOUND NoLogonServers;
        0xC000_0234 STATUS_ACCOUNT_LOCKED_OUT AccountLocked;
        0xC000_02EE STATUS_UNFINISHED_CONTEXT_DELETED Other;
        0xC000_02F9 STATUS_PKINIT_NAME_MISMATCH Other;
        0xC000_02FA STATUS_SMARTCARD_LOGON_REQUIRED AccountRestriction;
        0xC000_02FB STATUS_KDC_INVALID_REQUEST Other;
        0xC000_02FC STATUS_KDC_UNABLE_TO_REFER Other;
        0xC000_02FD STATUS_KDC_UNKNOWN_ETYPE EncryptionType;
        0xC000_0320 STATUS_PKINIT_FAILURE Other;
        0xC000_0322 STATUS_NO_KERB_KEY SpnOrKey;
        0xC000_035B STATUS_BAD_BINDINGS ChannelBinding;
        0xC000_035C STATUS_NETWORK_SESSION_EXPIRED Other;
        0xC000_0371 STATUS_NO_SECRETS Other;
        0xC000_0380 STATUS_SMARTCARD_WRONG_PIN BadPassword;
        0xC000_0381 STATUS_SMARTCARD_CARD_BLOCKED Other;
        0xC000_0388 STATUS_DOWNGRADE_DETECTED Other;
        0xC000_0389 STATUS_SMARTCARD_CERT_REVOKED Other;
        0xC000_038A STATUS_ISSUING_CA_UNTRUSTED Other;
        0xC000_038B STATUS_REVOCATION_OFFLINE_C Other;
        0xC000_038C STATUS_PKINIT_CLIENT_FAILURE Other;
        0xC000_038D STATUS_SMARTCARD_CERT_EXPIRED Other;
        0xC000_0408 STATUS_USER2USER_REQUIRED SpnOrKey;
        0xC000_0413 STATUS_AUTHENTICATION_FIREWALL_FAILED LogonRight;
        0xC000_0418 STATUS_NTLM_BLOCKED NtlmBlocked;
        0xC002_0017 RPC_NT_SERVER_UNAVAILABLE NoLogonServers;
        0xC002_0050 RPC_NT_CALL_CANCELLED Other;
        0xC05D_0002 STATUS_SMB_GUEST_LOGON_BLOCKED Other;
    }
    Sspi {
        0x8009_0300 SEC_E_INSUFFICIENT_MEMORY Other;
        0x8009_0301 SEC_E_INVALID_HANDLE Other;
        0x8009_0302 SEC_E_UNSUPPORTED_FUNCTION Other;
        0x8009_0303 SEC_E_TARGET_UNKNOWN SpnOrKey;
        0x8009_0304 SEC_E_INTERNAL_ERROR Other;
        0x8009_0305 SEC_E_SECPKG_NOT_FOUND Other;
        0x8009_0308 SEC_E_INVALID_TOKEN Other;
        0x8009_030B SEC_E_NO_IMPERSONATION Other;
        0x8009_030C SEC_E_LOGON_DENIED Refused;
        0x8009_030D SEC_E_UNKNOWN_CREDENTIALS Other;
        0x8009_030E SEC_E_NO_CREDENTIALS Refused;
        0x8009_030F SEC_E_MESSAGE_ALTERED Other;
        0x8009_0310 SEC_E_OUT_OF_SEQUENCE Other;
        0x8009_0311 SEC_E_NO_AUTHENTICATING_AUTHORITY NoLogonServers;
        0x8009_0317 SEC_E_CONTEXT_EXPIRED Other;
        0x8009_0318 SEC_E_INCOMPLETE_MESSAGE Other;
        0x8009_0320 SEC_E_INCOMPLETE_CREDENTIALS Other;
        0x8009_0322 SEC_E_WRONG_PRINCIPAL SpnOrKey;
        0x8009_0324 SEC_E_TIME_SKEW ClockSkew;
        0x8009_0325 SEC_E_UNTRUSTED_ROOT Other;
        0x8009_0326 SEC_E_ILLEGAL_MESSAGE Other;
        0x8009_0327 SEC_E_CERT_UNKNOWN Other;
        0x8009_0328 SEC_E_CERT_EXPIRED Other;
        0x8009_0330 SEC_E_DECRYPT_FAILURE Other;
        0x8009_0331 SEC_E_ALGORITHM_MISMATCH EncryptionType;
        0x8009_0333 SEC_E_UNFINISHED_CONTEXT_DELETED Other;
        0x8009_033D SEC_E_PKINIT_NAME_MISMATCH Other;
        0x8009_033E SEC_E_SMARTCARD_LOGON_REQUIRED AccountRestriction;
        0x8009_0340 SEC_E_KDC_INVALID_REQUEST Other;
        0x8009_0341 SEC_E_KDC_UNABLE_TO_REFER Other;
        0x8009_0342 SEC_E_KDC_UNKNOWN_ETYPE EncryptionType;
        0x8009_0343 SEC_E_UNSUPPORTED_PREAUTH Other;
        0x8009_0345 SEC_E_DELEGATION_REQUIRED Other;
        0x8009_0346 SEC_E_BAD_BINDINGS ChannelBinding;
        0x8009_0347 SEC_E_MULTIPLE_ACCOUNTS SpnOrKey;
        0x8009_0348 SEC_E_NO_KERB_KEY SpnOrKey;
        0x8009_0350 SEC_E_DOWNGRADE_DETECTED Other;
        0x8009_0351 SEC_E_SMARTCARD_CERT_REVOKED Other;
        0x8009_0352 SEC_E_ISSUING_CA_UNTRUSTED Other;
        0x8009_0354 SEC_E_PKINIT_CLIENT_FAILURE Other;
        0x8009_0355 SEC_E_SMARTCARD_CERT_EXPIRED Other;
        0x8009_0363 SEC_E_MUTUAL_AUTH_FAILED SpnOrKey;
    }
    Kerberos {
        0x00 KDC_ERR_NONE Other;
        0x01 KDC_ERR_NAME_EXP AccountExpired;
        0x02 KDC_ERR_SERVICE_EXP Other;
        0x03 KDC_ERR_BAD_PVNO Other;
        0x04 KDC_ERR_C_OLD_MAST_KVNO Other;
        0x05 KDC_ERR_S_OLD_MAST_KVNO Other;
        0x06 KDC_ERR_C_PRINCIPAL_UNKNOWN UnknownAccount;
        0x07 KDC_ERR_S_PRINCIPAL_UNKNOWN SpnOrKey;
        0x08 KDC_ERR_PRINCIPAL_NOT_UNIQUE SpnOrKey;
        0x09 KDC_ERR_NULL_KEY SpnOrKey;
        0x0A KDC_ERR_CANNOT_POSTDATE Other;
        0x0B KDC_ERR_NEVER_VALID ClockSkew;
        0x0C KDC_ERR_POLICY AccountRestriction;
        0x0D KDC_ERR_BADOPTION Other;
        0x0E KDC_ERR_ETYPE_NOSUPP EncryptionType;
        0x0F KDC_ERR_SUMTYPE_NOSUPP EncryptionType;
        0x10 KDC_ERR_PADATA_TYPE_NOSUPP Other;
        0x11 KDC_ERR_TRTYPE_NOSUPP Other;
        0x12 KDC_ERR_CLIENT_REVOKED AccountDisabled;
        0x13 KDC_ERR_SERVICE_REVOKED Other;
        0x14 KDC_ERR_TGT_REVOKED Other;
        0x15 KDC_ERR_CLIENT_NOTYET Other;
        0x16 KDC_ERR_SERVICE_NOTYET Other;
        0x17 KDC_ERR_KEY_EXPIRED PasswordExpired;
        0x18 KDC_ERR_PREAUTH_FAILED BadPassword;
        0x19 KDC_ERR_PREAUTH_REQUIRED Other;
        0x1A KDC_ERR_SERVER_NOMATCH SpnOrKey;
        0x1B KDC_ERR_MUST_USE_USER2USER SpnOrKey;
        0x1C KDC_ERR_PATH_NOT_ACCEPTED TrustBroken;
        0x1D KDC_ERR_SVC_UNAVAILABLE NoLogonServers;
        0x1F KRB_AP_ERR_BAD_INTEGRITY SpnOrKey;
        0x20 KRB_AP_ERR_TKT_EXPIRED Other;
        0x21 KRB_AP_ERR_TKT_NYV ClockSkew;
        0x22 KRB_AP_ERR_REPEAT Other;
        0x23 KRB_AP_ERR_NOT_US SpnOrKey;
        0x24 KRB_AP_ERR_BADMATCH SpnOrKey;
        0x25 KRB_AP_ERR_SKEW ClockSkew;
        0x26 KRB_AP_ERR_BADADDR Other;
        0x27 KRB_AP_ERR_BADVERSION Other;
        0x28 KRB_AP_ERR_MSG_TYPE Other;
        0x29 KRB_AP_ERR_MODIFIED SpnOrKey;
        0x2A KRB_AP_ERR_BADORDER Other;
        0x2C KRB_AP_ERR_BADKEYVER SpnOrKey;
        0x2D KRB_AP_ERR_NOKEY SpnOrKey;
        0x2E KRB_AP_ERR_MUT_FAIL SpnOrKey;
        0x2F KRB_AP_ERR_BADDIRECTION Other;
        0x30 KRB_AP_ERR_METHOD Other;
        0x31 KRB_AP_ERR_BADSEQ Other;
        0x32 KRB_AP_ERR_INAPP_CKSUM EncryptionType;
        0x33 KRB_AP_PATH_NOT_ACCEPTED TrustBroken;
        0x34 KRB_ERR_RESPONSE_TOO_BIG Other;
        0x3C KRB_ERR_GENERIC Refused;
        0x3D KRB_ERR_FIELD_TOOLONG Other;
        0x3E KDC_ERR_CLIENT_NOT_TRUSTED Other;
        0x3F KDC_ERR_KDC_NOT_TRUSTED Other;
        0x40 KDC_ERR_INVALID_SIG Other;
        0x41 KDC_ERR_KEY_TOO_WEAK EncryptionType;
        0x42 KRB_AP_ERR_USER_TO_USER_REQUIRED SpnOrKey;
        0x43 KRB_AP_ERR_NO_TGT Other;
        0x44 KDC_ERR_WRONG_REALM Other;
        0x45 KRB_AP_ERR_USER_TO_USER_REQUIRED SpnOrKey;
        0x46 KDC_ERR_CANT_VERIFY_CERTIFICATE Other;
        0x47 KDC_ERR_INVALID_CERTIFICATE Other;
        0x48 KDC_ERR_REVOKED_CERTIFICATE Other;
        0x49 KDC_ERR_REVOCATION_STATUS_UNKNOWN Other;
        0x4B KDC_ERR_CLIENT_NAME_MISMATCH Other;
    }
    Win32 {
        0 ERROR_SUCCESS Other;
        5 ERROR_ACCESS_DENIED Refused;
        53 ERROR_BAD_NETPATH Other;
        59 ERROR_UNEXP_NET_ERR Other;
        64 ERROR_NETNAME_DELETED Other;
        67 ERROR_BAD_NET_NAME Other;
        71 ERROR_REQ_NOT_ACCEP Other;
        86 ERROR_INVALID_PASSWORD BadPassword;
        121 ERROR_SEM_TIMEOUT Other;
        1219 ERROR_SESSION_CREDENTIAL_CONFLICT Other;
        1231 ERROR_NETWORK_UNREACHABLE Other;
        1240 ERROR_LOGIN_WKSTA_RESTRICTION AccountRestriction;
        1244 ERROR_NOT_AUTHENTICATED Other;
        1265 ERROR_DOWNGRADE_DETECTED Other;
        1272 ERROR_SMB_GUEST_LOGON_BLOCKED Other;
        1311 ERROR_NO_LOGON_SERVERS NoLogonServers;
        1312 ERROR_NO_SUCH_LOGON_SESSION Other;
        1314 ERROR_PRIVILEGE_NOT_HELD Other;
        1317 ERROR_NO_SUCH_USER UnknownAccount;
        1323 ERROR_WRONG_PASSWORD BadPassword;
        1325 ERROR_PASSWORD_RESTRICTION Other;
        1326 ERROR_LOGON_FAILURE Refused;
        1327 ERROR_ACCOUNT_RESTRICTION AccountRestriction;
        1328 ERROR_INVALID_LOGON_HOURS AccountRestriction;
        1329 ERROR_INVALID_WORKSTATION AccountRestriction;
        1330 ERROR_PASSWORD_EXPIRED PasswordExpired;
        1331 ERROR_ACCOUNT_DISABLED AccountDisabled;
        1332 ERROR_NONE_MAPPED Other;
        1351 ERROR_CANT_ACCESS_DOMAIN_INFO NoLogonServers;
        1355 ERROR_NO_SUCH_DOMAIN NoLogonServers;
        1380 ERROR_LOGON_NOT_GRANTED LogonRight;
        1385 ERROR_LOGON_TYPE_NOT_GRANTED LogonRight;
        1396 ERROR_WRONG_TARGET_NAME SpnOrKey;
        1397 ERROR_MUTUAL_AUTH_FAILED SpnOrKey;
        1398 ERROR_TIME_SKEW ClockSkew;
        1722 RPC_S_SERVER_UNAVAILABLE NoLogonServers;
        1786 ERROR_NO_TRUST_LSA_SECRET TrustBroken;
        1787 ERROR_NO_TRUST_SAM_ACCOUNT TrustBroken;
        1788 ERROR_TRUSTED_DOMAIN_FAILURE TrustBroken;
        1789 ERROR_TRUSTED_RELATIONSHIP_FAILURE TrustBroken;
        1790 ERROR_TRUST_FAILURE TrustBroken;
        1792 ERROR_NETLOGON_NOT_STARTED Other;
        1793 ERROR_ACCOUNT_EXPIRED AccountExpired;
        1807 ERROR_NOLOGON_INTERDOMAIN_TRUST_ACCOUNT TrustBroken;
        1808 ERROR_NOLOGON_WORKSTATION_TRUST_ACCOUNT TrustBroken;
        1809 ERROR_NOLOGON_SERVER_TRUST_ACCOUNT TrustBroken;
        1810 ERROR_DOMAIN_TRUST_INCONSISTENT TrustBroken;
        1907 ERROR_PASSWORD_MUST_CHANGE PasswordExpired;
        1908 ERROR_DOMAIN_CONTROLLER_NOT_FOUND NoLogonServers;
        1909 ERROR_ACCOUNT_LOCKED_OUT AccountLocked;
        1935 ERROR_AUTHENTICATION_FIREWALL_FAILED LogonRight;
        1937 ERROR_NTLM_BLOCKED NtlmBlocked;
        2242 NERR_PasswordExpired PasswordExpired;
        2457 NERR_TimeDiffAtDC ClockSkew;
    }
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn category_names_are_distinct_and_read_back() {
        for category in Category::ALL {
            assert_eq!(Category::from_name(category.name()), Some(category));
        }
    }

    #[test]
    fn the_table_is_sorted_and_without_duplicates() {
        assert!(KNOWN_CODES.is_sorted_by(|a, b| a.code < b.code));
    }

    #[test]
    fn every_code_is_found_in_the_family_that_its_value_belongs_to() {
        for row in KNOWN_CODES {
            assert_eq!(StatusCode::new(row.code.family, row.code.value), row.code);
            assert_eq!(row.code.known(), Some(row));
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
            assert_eq!(StatusCode::new(family, value).category(), expect, "{family:?} 0x{value:X}");
        }
    }

    #[test]
    fn failure_reasons_end_where_their_list_ends() {
        assert!((2304..=2315).all(|number| failure_reason_category(number).is_some()));
        assert_eq!(failure_reason_category(2303), None);
        assert_eq!(failure_reason_category(2316), None);
        assert_eq!(failure_reason_category(2304), Some(Category::Refused));
        assert_eq!(failure_reason_category(2313), Some(Category::BadPassword));
    }
}

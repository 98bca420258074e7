//! Status codes of authentication events, and the categories that they fall into.

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

/// Why an authentication failed, in the terms of the person who mends it.
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
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn category_names_are_distinct_and_read_back() {
        for category in Category::ALL {
            assert_eq!(Category::from_name(category.name()), Some(category));
        }
    }
}

//! Parts of sentences that titles, reasons and evidence share.

use crate::detect::findings::{AccountName, NameList, SidHolder};
use crate::status::Category;

/// `A, B, C and 4 more`; nothing for no names.
pub(super) fn listed(names: &NameList) -> String {
    let shown = names.first.join(", ");
    if names.more > 0 { format!("{shown} and {} more", names.more) } else { shown }
}

/// `once`, or `12 times`.
pub(super) fn times(count: u64) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}

pub(super) fn account(name: &AccountName) -> &str {
    match name {
        AccountName::Named(name) => name,
        AccountName::Unnamed => "an account without a name",
    }
}

/// Whose a machine SID is, after `it is not shared:`.
pub(super) fn whose(holder: &SidHolder) -> String {
    match holder {
        SidHolder::Domain => "it is the SID of a domain".to_owned(),
        SidHolder::Nobody => "no machine has it now".to_owned(),
        SidHolder::Hosts(names) => format!("it is that of {}", listed(names)),
    }
}

/// A category as the middle of a sentence.
pub(super) fn category(category: Category) -> &'static str {
    match category {
        Category::BadPassword => "wrong password",
        Category::UnknownAccount => "unknown account",
        Category::AccountLocked => "account locked out",
        Category::AccountExpired => "account expired",
        Category::PasswordExpired => "password expired",
        Category::AccountDisabled => "account disabled, expired or locked",
        Category::AccountRestriction => "account restriction (hours or workstation)",
        Category::LogonRight => "logon right missing",
        Category::ClockSkew => "clocks too far apart",
        Category::SpnOrKey => "service name or key wrong",
        Category::EncryptionType => "no common encryption type",
        Category::TrustBroken => "trust with the domain broken",
        Category::NtlmBlocked => "NTLM blocked by policy",
        Category::ChannelBinding => "channel binding refused",
        Category::NoLogonServers => "no domain controller reachable",
        Category::Refused => "refused without a stated reason",
        Category::Other => "failed for another reason",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_say_how_many_more_there_are() {
        let names = |count: usize| NameList::new((1..=count).map(|n| format!("PC{n}")).collect());
        assert_eq!(listed(&names(2)), "PC1, PC2");
        assert_eq!(listed(&names(5)), "PC1, PC2, PC3 and 2 more");
        assert_eq!(listed(&names(0)), "");
    }
}

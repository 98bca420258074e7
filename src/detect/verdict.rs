//! The verdict on a machine-id mismatch: a cloned image, a stale boot session
//! or a manipulated ticket, with the reasons and how sure they are.
//!
//! | peer | verdict | confidence |
//! |---|---|---|
//! | the target itself, booted within 10 min before | `stale_boot_session` | medium |
//! | the target itself | `stale_or_manipulated_ticket` | medium |
//! | none found, several accounts over an hour or more | `cloned_image` | low |
//! | otherwise | `undetermined` | low |

use crate::event::{EventTime, TICKS_PER_SEC};
use crate::incident::{Class, Confidence, Verdict};

/// A ticket's authenticator lives about five minutes; a stale one needs a
/// restart of the target within that time, and clocks may differ.
const BOOT_WINDOW_TICKS: u64 = 600 * TICKS_PER_SEC;

/// Accounts and time that a single stale ticket does not explain.
const ACCOUNTS_MIN: usize = 3;
const RECURRENCE_TICKS: u64 = 3600 * TICKS_PER_SEC;

/// What is known of the mismatches of one session.
#[derive(Clone, Debug)]
pub struct Case<'a> {
    pub target: &'a str,
    pub first: EventTime,
    pub last: EventTime,
    pub mismatches: u64,
    /// Names or addresses of the machines that were refused, other than the
    /// target, most often first.
    pub other_peers: Vec<String>,
    /// Whether the target was refused by itself.
    pub own_peer: bool,
    pub accounts: usize,
    /// Failures beside the mismatches.
    pub failures: usize,
    pub last_boot: Option<EventTime>,
    /// Whether a domain controller let the same account through just then.
    pub controller_said_yes: bool,
}

pub fn judge(case: &Case<'_>) -> Verdict {
    let mut reasons = vec![beside(case)];
    if case.controller_said_yes {
        reasons.push(
            "A domain controller accepted the same account within seconds, so the password was \
             right."
                .to_owned(),
        );
    }
    let (class, confidence) = if !case.other_peers.is_empty() {
        reasons.push(format!(
            "The machine that was refused is another one ({}). Whether the two share a machine SID \
             is not known from these events.",
            case.other_peers.join(", ")
        ));
        (Class::Undetermined, Confidence::Low)
    } else if case.own_peer {
        let booted =
            case.last_boot.filter(|boot| case.first.0.saturating_sub(boot.0) <= BOOT_WINDOW_TICKS);
        match booted {
            Some(boot) => {
                reasons.push(format!(
                    "{} was refused by itself, and had started at {boot}: the ticket belongs to \
                     the boot session before.",
                    case.target
                ));
                (Class::StaleBootSession, Confidence::Medium)
            }
            None => {
                reasons.push(format!(
                    "{} was refused by itself, and no start of it is known within ten minutes \
                     before.",
                    case.target
                ));
                (Class::StaleOrManipulatedTicket, Confidence::Medium)
            }
        }
    } else if case.accounts >= ACCOUNTS_MIN
        && case.last.0.saturating_sub(case.first.0) >= RECURRENCE_TICKS
    {
        reasons.push(format!(
            "{} accounts were refused over more than an hour: one stale ticket does not explain \
             that, a machine of the same image does.",
            case.accounts
        ));
        (Class::ClonedImage, Confidence::Low)
    } else {
        reasons.push("Which machine was refused is not known from these events.".to_owned());
        (Class::Undetermined, Confidence::Low)
    };
    Verdict { class, confidence, reasons }
}

fn beside(case: &Case<'_>) -> String {
    let times = |count: u64| if count == 1 { "once".to_owned() } else { format!("{count} times") };
    let failures = match case.failures {
        0 => "no failed logon stands beside it".to_owned(),
        1 => "one failed logon stands beside it".to_owned(),
        many => format!("{many} failed logons stand beside it"),
    };
    format!(
        "{} logged the machine-id mismatch {}; {failures}.",
        case.target,
        times(case.mismatches)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case() -> Case<'static> {
        Case {
            target: "FS01",
            first: EventTime(1_000 * BOOT_WINDOW_TICKS),
            last: EventTime(1_000 * BOOT_WINDOW_TICKS),
            mismatches: 1,
            other_peers: Vec::new(),
            own_peer: false,
            accounts: 0,
            failures: 0,
            last_boot: None,
            controller_said_yes: false,
        }
    }

    #[track_caller]
    fn check(case: &Case<'_>, class: Class, confidence: Confidence) {
        let verdict = judge(case);
        assert_eq!((verdict.class, verdict.confidence), (class, confidence));
        assert!(!verdict.reasons.is_empty());
    }

    #[test]
    fn a_machine_refused_by_itself_is_stale_only_shortly_after_a_start() {
        let own = Case { own_peer: true, ..case() };
        check(&own, Class::StaleOrManipulatedTicket, Confidence::Medium);
        let boot = own.first.minus_ticks(BOOT_WINDOW_TICKS);
        let booted = Case { last_boot: Some(boot), ..own.clone() };
        check(&booted, Class::StaleBootSession, Confidence::Medium);
        let long_ago = Case { last_boot: Some(boot.minus_ticks(1)), ..own };
        check(&long_ago, Class::StaleOrManipulatedTicket, Confidence::Medium);
    }

    #[test]
    fn many_accounts_over_an_hour_point_to_a_clone() {
        let many = Case { accounts: 3, ..case() };
        check(&many, Class::Undetermined, Confidence::Low);
        let long = Case { last: many.first.plus_ticks(RECURRENCE_TICKS), ..many };
        check(&long, Class::ClonedImage, Confidence::Low);
    }

    #[test]
    fn another_machine_alone_decides_nothing() {
        let other = Case { other_peers: vec!["WS07".into()], own_peer: true, ..case() };
        check(&other, Class::Undetermined, Confidence::Low);
    }
}

//! The verdict on a machine-id mismatch: a cloned image, a stale boot session
//! or a manipulated ticket, with the reasons and how sure they are.
//!
//! | the machine that was refused | machine SIDs | verdict | confidence |
//! |---|---|---|---|
//! | another | equal | `cloned_image` | high |
//! | the target itself, booted within 10 min before | – | `stale_boot_session` | medium |
//! | the target itself | – | `stale_or_manipulated_ticket` | medium |
//! | another | known, different | `stale_or_manipulated_ticket` | medium |
//! | another | one not known; the other has twins | `cloned_image` | medium |
//! | another | not known; one of the two had this trouble with clones | `cloned_image` | low |
//! | another | not known; a domain controller accepted the account | `cloned_image` | low |
//! | none found | the target has twins | `cloned_image` | medium |
//! | none found | several accounts over an hour or more | `cloned_image` | low |
//! | otherwise | | `undetermined` | low |
//!
//! The first row that holds counts: of several machines, a twin explains all.

use crate::incident::{Class, Confidence, Verdict};
use crate::sid::DomainSid;
use crate::time::{EventTime, TICKS_PER_SEC};

/// A ticket's authenticator lives about five minutes; a stale one needs a
/// restart of the target within that time, and clocks may differ.
const BOOT_WINDOW_TICKS: u64 = 600 * TICKS_PER_SEC;

/// Accounts and time that a single stale ticket does not explain.
const ACCOUNTS_MIN: usize = 3;
const RECURRENCE_TICKS: u64 = 3600 * TICKS_PER_SEC;

/// Names listed within a sentence.
const NAMED_MAX: usize = 3;

/// What is known of the mismatches of one session.
#[derive(Clone, Debug)]
pub struct Case<'a> {
    pub target: &'a str,
    /// The target's machine SID, and the other hosts that have it.
    pub machine_sid: Option<DomainSid>,
    pub twins: Vec<String>,
    /// Clones that the target, or who it refused, had to do with before.
    pub suspected_twins: Vec<String>,
    pub first: EventTime,
    pub last: EventTime,
    pub mismatches: u64,
    /// The machines that were refused, other than the target, most often first.
    pub others: Vec<Other>,
    /// Whether the target was refused by itself.
    pub own_peer: bool,
    pub accounts: usize,
    /// Failures beside the mismatches.
    pub failures: usize,
    pub last_boot: Option<EventTime>,
    /// Whether a domain controller let the same account through just then.
    pub controller_said_yes: bool,
}

/// A machine that was refused.
#[derive(Clone, Debug)]
pub struct Other {
    /// Its name, or address.
    pub name: String,
    pub machine_sid: Option<DomainSid>,
    /// Whether others have its machine SID.
    pub has_twins: bool,
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
    let target = case.target;
    let others = |test: &dyn Fn(&Other) -> bool| {
        let found = case.others.iter().filter(|other| test(other)).map(|other| other.name.clone());
        named(&found.collect::<Vec<_>>())
    };
    let equal =
        others(&|other| other.machine_sid.is_some() && other.machine_sid == case.machine_sid);
    let different = others(
        &|other| matches!((other.machine_sid, case.machine_sid), (Some(one), Some(other)) if one != other),
    );
    let unknown = others(&|other| other.machine_sid.is_none() || case.machine_sid.is_none());
    let with_twins = others(&|other| other.has_twins);
    let (class, confidence, reason) = if let (Some(names), Some(sid)) = (equal, case.machine_sid) {
        let reason =
            format!("{target} and {names}, which it refused, have one machine SID, {sid}.");
        (Class::ClonedImage, Confidence::High, reason)
    } else if case.own_peer {
        itself(case)
    } else if let Some(names) = different {
        let reason = format!(
            "The machine that was refused ({names}) has another machine SID than {target}: they \
             are no clones of each other."
        );
        (Class::StaleOrManipulatedTicket, Confidence::Medium, reason)
    } else if let Some(names) = unknown {
        if !case.twins.is_empty() {
            let reason = format!(
                "{target} shares its machine SID with {}. That of the machine that was refused \
                 ({names}) is not known.",
                listed(&case.twins)
            );
            (Class::ClonedImage, Confidence::Medium, reason)
        } else if let Some(with_twins) = with_twins {
            let reason = format!(
                "{with_twins}, which was refused, shares its machine SID with other machines. That \
                 of {target} is not known."
            );
            (Class::ClonedImage, Confidence::Medium, reason)
        } else if !case.suspected_twins.is_empty() {
            let reason = format!(
                "Neither the machine SID of {target} nor that of {names}, which it refused, is \
                 known, but one of them refused clones, or was refused by them: {}.",
                listed(&case.suspected_twins)
            );
            (Class::ClonedImage, Confidence::Low, reason)
        } else if case.controller_said_yes {
            let reason = format!(
                "The machine that was refused is another one ({names}), and the domain controller \
                 had nothing against it: that is what clones look like. Their machine SIDs are not \
                 known."
            );
            (Class::ClonedImage, Confidence::Low, reason)
        } else {
            let reason = format!(
                "The machine that was refused is another one ({names}). Whether the two share a \
                 machine SID is not known from these events."
            );
            (Class::Undetermined, Confidence::Low, reason)
        }
    } else if !case.twins.is_empty() {
        let reason = format!(
            "{target} shares its machine SID with {}. Which machine was refused is not known from \
             these events.",
            listed(&case.twins)
        );
        (Class::ClonedImage, Confidence::Medium, reason)
    } else if case.accounts >= ACCOUNTS_MIN
        && case.last.0.saturating_sub(case.first.0) >= RECURRENCE_TICKS
    {
        let reason = format!(
            "{} accounts were refused over more than an hour: one stale ticket does not explain \
             that, a machine of the same image does.",
            case.accounts
        );
        (Class::ClonedImage, Confidence::Low, reason)
    } else {
        let reason = "Which machine was refused is not known from these events.".to_owned();
        (Class::Undetermined, Confidence::Low, reason)
    };
    reasons.push(reason);
    Verdict { class, confidence, reasons }
}

fn itself(case: &Case<'_>) -> (Class, Confidence, String) {
    let booted =
        case.last_boot.filter(|boot| case.first.0.saturating_sub(boot.0) <= BOOT_WINDOW_TICKS);
    match booted {
        Some(boot) => {
            let reason = format!(
                "{} was refused by itself, and had started at {boot}: the ticket belongs to the \
                 boot session before.",
                case.target
            );
            (Class::StaleBootSession, Confidence::Medium, reason)
        }
        None => {
            let reason = format!(
                "{} was refused by itself, and no start of it is known within ten minutes before.",
                case.target
            );
            (Class::StaleOrManipulatedTicket, Confidence::Medium, reason)
        }
    }
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

fn named(names: &[String]) -> Option<String> {
    (!names.is_empty()).then(|| listed(names))
}

/// `A, B, C and 4 more`.
pub fn listed(names: &[String]) -> String {
    let more = names.len().saturating_sub(NAMED_MAX);
    let shown = names[..names.len() - more].join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SID: DomainSid = DomainSid([1, 2, 3]);
    const OTHER_SID: DomainSid = DomainSid([4, 5, 6]);

    fn case() -> Case<'static> {
        Case {
            target: "FS01",
            machine_sid: Some(SID),
            twins: Vec::new(),
            suspected_twins: Vec::new(),
            first: EventTime(1_000 * BOOT_WINDOW_TICKS),
            last: EventTime(1_000 * BOOT_WINDOW_TICKS),
            mismatches: 1,
            others: Vec::new(),
            own_peer: false,
            accounts: 0,
            failures: 0,
            last_boot: None,
            controller_said_yes: false,
        }
    }

    fn other(machine_sid: Option<DomainSid>, has_twins: bool) -> Other {
        Other { name: "WS07".to_owned(), machine_sid, has_twins }
    }

    #[track_caller]
    fn check(case: &Case<'_>, class: Class, confidence: Confidence) {
        let verdict = judge(case);
        assert_eq!((verdict.class, verdict.confidence), (class, confidence));
        assert!(verdict.reasons.len() >= 2);
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
    fn another_machine_is_judged_by_its_machine_sid() {
        let refused = |others: Vec<Other>| Case { others, ..case() };
        let equal = refused(vec![other(Some(OTHER_SID), false), other(Some(SID), true)]);
        check(&equal, Class::ClonedImage, Confidence::High);
        let different = refused(vec![other(None, false), other(Some(OTHER_SID), true)]);
        check(&different, Class::StaleOrManipulatedTicket, Confidence::Medium);
        let unknown = refused(vec![other(None, false)]);
        check(&unknown, Class::Undetermined, Confidence::Low);
        let accepted = Case { controller_said_yes: true, ..unknown.clone() };
        check(&accepted, Class::ClonedImage, Confidence::Low);
        let suspected = Case { suspected_twins: vec!["FS02".to_owned()], ..unknown.clone() };
        check(&suspected, Class::ClonedImage, Confidence::Low);
        let twins = Case { twins: vec!["FS02".to_owned()], ..unknown };
        check(&twins, Class::ClonedImage, Confidence::Medium);
        let peer_has = Case { machine_sid: None, ..refused(vec![other(Some(SID), true)]) };
        check(&peer_has, Class::ClonedImage, Confidence::Medium);
    }

    #[test]
    fn twins_explain_a_refusal_of_nobody_known() {
        let twins = Case { twins: vec!["FS02".to_owned()], ..case() };
        check(&twins, Class::ClonedImage, Confidence::Medium);
    }
}

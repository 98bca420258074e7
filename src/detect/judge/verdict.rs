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
//! | another | not known; one of the two had this trouble with twins | `cloned_image` | low |
//! | another | not known; a domain controller accepted the account | `cloned_image` | low |
//! | none found | the target has twins | `cloned_image` | medium |
//! | none found | several accounts over an hour or more | `cloned_image` | low |
//! | otherwise | | `undetermined` | low |
//!
//! The first row that holds counts: of several machines, a twin explains all.

use crate::detect::findings::{MismatchReason, NameList};
use crate::incident::{Class, Confidence};
use crate::sid::DomainSid;
use crate::time::{EventTime, TICKS_PER_SEC};

/// A ticket's authenticator lives about five minutes; a stale one needs a
/// restart of the target within that time, and clocks may differ.
const BOOT_WINDOW_TICKS: u64 = 600 * TICKS_PER_SEC;

/// Accounts and time that a single stale ticket does not explain.
const ACCOUNTS_MIN: usize = 3;
const RECURRENCE_TICKS: u64 = 3600 * TICKS_PER_SEC;

/// What is known of a session of mismatches.
#[derive(Clone, Debug)]
pub struct Case<'a> {
    pub target: &'a str,
    /// The target's machine SID, and the other hosts that have it.
    pub machine_sid: Option<DomainSid>,
    pub twins: Vec<String>,
    /// Twins of another machine SID that the target, or one it refused, had this
    /// trouble with before.
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
    /// Whether a domain controller accepted the same account just then.
    pub is_accepted: bool,
}

impl Case<'_> {
    /// The names of the machines that were refused and for which `wanted` holds;
    /// `None` when there are none.
    fn peers(&self, wanted: impl Fn(&Other) -> bool) -> Option<NameList> {
        let found = self.others.iter().filter(|other| wanted(other));
        let names: Vec<String> = found.map(|other| other.name.clone()).collect();
        (!names.is_empty()).then(|| NameList::new(names))
    }
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

/// A verdict with what it rests on.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    pub class: Class,
    pub confidence: Confidence,
    pub reasons: Vec<MismatchReason>,
}

pub fn judge(case: &Case<'_>) -> Judgement {
    let mut reasons = vec![MismatchReason::Logged {
        target: case.target.to_owned(),
        mismatches: case.mismatches,
        failures: case.failures,
    }];
    if case.is_accepted {
        reasons.push(MismatchReason::Accepted);
    }
    let (class, confidence, reason) = cause(case);
    reasons.push(reason);
    Judgement { class, confidence, reasons }
}

type Cause = (Class, Confidence, MismatchReason);

fn cause(case: &Case<'_>) -> Cause {
    let target = || case.target.to_owned();
    if let Some(sid) = case.machine_sid {
        let equal = case.peers(|other| other.machine_sid == Some(sid));
        if let Some(peers) = equal {
            let reason = MismatchReason::EqualSids { target: target(), peers, sid };
            return (Class::ClonedImage, Confidence::High, reason);
        }
    }
    if case.own_peer {
        return itself(case);
    }
    let is_different = |other: &Other| {
        other.machine_sid.zip(case.machine_sid).is_some_and(|(one, other)| one != other)
    };
    if let Some(peers) = case.peers(is_different) {
        let reason = MismatchReason::DifferentSids { target: target(), peers };
        return (Class::StaleOrManipulatedTicket, Confidence::Medium, reason);
    }
    let is_unknown = |other: &Other| other.machine_sid.is_none() || case.machine_sid.is_none();
    if let Some(peers) = case.peers(is_unknown) {
        return strangers(case, peers);
    }
    if !case.twins.is_empty() {
        let twins = NameList::new(case.twins.clone());
        let reason = MismatchReason::UnknownPeerOfTwins { target: target(), twins };
        return (Class::ClonedImage, Confidence::Medium, reason);
    }
    let span = case.last.0.saturating_sub(case.first.0);
    if case.accounts >= ACCOUNTS_MIN && span >= RECURRENCE_TICKS {
        let reason = MismatchReason::ManyAccounts { accounts: case.accounts };
        return (Class::ClonedImage, Confidence::Low, reason);
    }
    (Class::Undetermined, Confidence::Low, MismatchReason::UnknownPeer)
}

/// Of peers that are known, while a machine SID is not: the target's or theirs.
fn strangers(case: &Case<'_>, peers: NameList) -> Cause {
    let target = case.target.to_owned();
    if !case.twins.is_empty() {
        let twins = NameList::new(case.twins.clone());
        let reason = MismatchReason::TargetHasTwins { target, twins, peers };
        return (Class::ClonedImage, Confidence::Medium, reason);
    }
    if let Some(peers) = case.peers(|other| other.has_twins) {
        let reason = MismatchReason::PeersHaveTwins { target, peers };
        return (Class::ClonedImage, Confidence::Medium, reason);
    }
    if !case.suspected_twins.is_empty() {
        let clones = NameList::new(case.suspected_twins.clone());
        let reason = MismatchReason::Suspected { target, peers, clones };
        return (Class::ClonedImage, Confidence::Low, reason);
    }
    if case.is_accepted {
        let reason = MismatchReason::AcceptedStrangers { peers };
        return (Class::ClonedImage, Confidence::Low, reason);
    }
    (Class::Undetermined, Confidence::Low, MismatchReason::Strangers { peers })
}

/// Of a target that refused itself.
fn itself(case: &Case<'_>) -> Cause {
    let target = case.target.to_owned();
    let booted =
        case.last_boot.filter(|boot| case.first.0.saturating_sub(boot.0) <= BOOT_WINDOW_TICKS);
    match booted {
        Some(boot) => {
            let reason = MismatchReason::ItselfAfterBoot { target, boot };
            (Class::StaleBootSession, Confidence::Medium, reason)
        }
        None => {
            let reason = MismatchReason::Itself { target };
            (Class::StaleOrManipulatedTicket, Confidence::Medium, reason)
        }
    }
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
            is_accepted: false,
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
        let accepted = Case { is_accepted: true, ..unknown.clone() };
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

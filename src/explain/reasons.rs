//! What a verdict rests on, a sentence or two a reason.

use super::phrases::{category, listed, times, whose};
use crate::detect::findings::{
    Holder, HolderProof, HolderState, MismatchReason, Reason, TwinsReason, WithdrawalReason,
};

pub(super) fn sentence(reason: &Reason) -> String {
    match reason {
        Reason::Codes { category: what, of_category, failures } => {
            codes(category(*what), *of_category, *failures)
        }
        Reason::Spray { accounts, more, failures } => {
            let many = if *more { "more than " } else { "" };
            format!(
                "One peer tried {many}{accounts} accounts within minutes, {failures} failures in \
                 all: somebody tries passwords or names, or many people sign in through one \
                 server."
            )
        }
        Reason::BesideMismatch { hosts } => format!(
            "{} logged a machine-id mismatch (LsaSrv 6167) within the same seconds: the refusal \
             may be about the machine, not about the password.",
            listed(hosts)
        ),
        Reason::Mismatch(reason) => of_mismatches(reason),
        Reason::Twins(reason) => of_twins(reason),
        Reason::Withdrawal(reason) => of_withdrawal(reason),
    }
}

fn codes(what: &str, of_category: u64, failures: u64) -> String {
    if failures == 1 {
        format!("The code of the failure says: {what}.")
    } else if of_category == failures {
        format!("The codes of all {failures} failures say: {what}.")
    } else {
        format!("The codes of {of_category} of {failures} failures say: {what}.")
    }
}

fn of_mismatches(reason: &MismatchReason) -> String {
    match reason {
        MismatchReason::Logged { target, mismatches, failures } => {
            logged(target, *mismatches, *failures)
        }
        MismatchReason::Accepted => {
            "A domain controller accepted the same account within seconds, so the password was \
             right."
                .to_owned()
        }
        MismatchReason::EqualSids { target, peers, sid } => format!(
            "{target} and {}, which it refused, have one machine SID, {sid}.",
            listed(peers)
        ),
        MismatchReason::ItselfAfterBoot { target, boot } => format!(
            "{target} was refused by itself, and had started at {boot}: the ticket belongs to the \
             boot session before."
        ),
        MismatchReason::Itself { target } => format!(
            "{target} was refused by itself, and no start of it is known within ten minutes \
             before."
        ),
        MismatchReason::DifferentSids { target, peers } => format!(
            "The machine that was refused ({}) has another machine SID than {target}: they are no \
             clones of each other.",
            listed(peers)
        ),
        MismatchReason::TargetHasTwins { target, twins, peers } => format!(
            "{target} shares its machine SID with {}. That of the machine that was refused ({}) \
             is not known.",
            listed(twins),
            listed(peers)
        ),
        MismatchReason::PeersHaveTwins { target, peers } => format!(
            "{}, which was refused, shares its machine SID with other machines. That of {target} \
             is not known.",
            listed(peers)
        ),
        MismatchReason::Suspected { target, peers, clones } => format!(
            "Neither the machine SID of {target} nor that of {}, which it refused, is known, but \
             one of them refused clones, or was refused by them: {}.",
            listed(peers),
            listed(clones)
        ),
        MismatchReason::AcceptedStrangers { peers } => format!(
            "The machine that was refused is another one ({}), and the domain controller had \
             nothing against it: that is what clones look like. Their machine SIDs are not known.",
            listed(peers)
        ),
        MismatchReason::Strangers { peers } => format!(
            "The machine that was refused is another one ({}). Whether the two share a machine \
             SID is not known from these events.",
            listed(peers)
        ),
        MismatchReason::UnknownPeerOfTwins { target, twins } => format!(
            "{target} shares its machine SID with {}. Which machine was refused is not known from \
             these events.",
            listed(twins)
        ),
        MismatchReason::ManyAccounts { accounts } => format!(
            "{accounts} accounts were refused over more than an hour: one stale ticket does not \
             explain that, a machine of the same image does."
        ),
        MismatchReason::UnknownPeer => {
            "Which machine was refused is not known from these events.".to_owned()
        }
    }
}

fn logged(target: &str, mismatches: u64, failures: usize) -> String {
    let failures = match failures {
        0 => "no failed logon stands beside it".to_owned(),
        1 => "one failed logon stands beside it".to_owned(),
        many => format!("{many} failed logons stand beside it"),
    };
    format!("{target} logged the machine-id mismatch {}; {failures}.", times(mismatches))
}

fn of_twins(reason: &TwinsReason) -> String {
    match reason {
        TwinsReason::Holder(holder) => of_holder(holder),
        TwinsReason::OfDomain { sid, controllers } => {
            let controllers = match listed(controllers) {
                none if none.is_empty() => none,
                names => format!("; its domain controllers are {names}"),
            };
            format!(
                "{sid} is also the SID of a domain. A domain takes it from the machine SID of its \
                 first domain controller{controllers}."
            )
        }
        TwinsReason::Pool => {
            "The names differ in their number alone and most of these hosts lived briefly: this \
             looks like non-persistent desktops, alike on purpose."
                .to_owned()
        }
        TwinsReason::Refusals { targets, mismatches, is_accepted } => {
            let accepted = match is_accepted {
                true => ", while a domain controller accepted the same accounts",
                false => "",
            };
            let targets = listed(targets);
            format!("{targets} logged the machine-id mismatch {mismatches} times{accepted}.")
        }
        TwinsReason::ProbableTwins { hosts } => format!(
            "{} refused one of them as well, and is probably a clone too; its machine SID is not \
             known.",
            listed(hosts)
        ),
    }
}

fn of_holder(Holder { host, sid, shown_by, hold, owner, tags }: &Holder) -> String {
    let mut text = match shown_by {
        HolderProof::Account { account, rid, is_listed } => {
            let said = if *is_listed { ", and the inventory says so too" } else { "" };
            format!("{host}: its own account {account} has the SID {sid}-{rid}{said}.")
        }
        HolderProof::Inventory => format!("{host}: the inventory gives it {sid}."),
    };
    match hold {
        HolderState::Current => {}
        HolderState::Rebuilt(current) => {
            text.push_str(&format!(" It was rebuilt: since then it has {current}."));
        }
        HolderState::Contradicted(current) => text.push_str(&format!(
            " Other records of the same time show {current}, so one of them is wrong."
        )),
    }
    if let Some(owner) = owner {
        text.push_str(&format!(" Owner: {owner}."));
    }
    if !tags.is_empty() {
        text.push_str(&format!(" Tags: {}.", tags.join(", ")));
    }
    text
}

fn of_withdrawal(reason: &WithdrawalReason) -> String {
    match reason {
        WithdrawalReason::NotShared { sid, holder } => format!(
            "{sid} was told of as shared before all was known; by what is known now, {}.",
            whose(holder)
        ),
        WithdrawalReason::Renamed { host, former } => {
            format!("{host} had the name {} before.", listed(former))
        }
        WithdrawalReason::Unexplained { mismatches } => format!(
            "Machine-id mismatches that were put down to it have no known cause now: {mismatches}."
        ),
    }
}

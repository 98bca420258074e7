//! Findings: what the detector concludes, as data without a sentence.
//!
//! A finding holds nothing that its incident does not show: whether it is news
//! is decided by a digest of all of it (see `revisions`),
//! so what nobody sees must not change it. Lists are cut to what is shown.

use std::collections::BTreeSet;

use crate::incident::{
    AccountCount, Class, Confidence, Counts, Host, IncidentId, Kind, PeerCount, Severity, State,
};
use crate::observation::Peer;
use crate::sid::{DomainSid, Sid};
use crate::status::{Category, StatusCode};
use crate::time::EventTime;

/// Names listed within a sentence.
const NAMED_MAX: usize = 3;

/// One conclusion in its current revision.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    pub id: IncidentId,
    pub kind: Kind,
    pub state: State,
    pub revision: u32,
    pub severity: Severity,
    pub source_sid: Option<Sid>,
    /// `sid:…`, `name:DOMAIN\user` or `host:NAME`.
    pub source_key: String,
    pub subject: Subject,
    pub class: Class,
    pub confidence: Confidence,
    /// The evidence that decided, in the order in which it is shown.
    pub reasons: Vec<Reason>,
    pub first_seen: EventTime,
    pub last_seen: EventTime,
    pub hosts: Vec<Host>,
    pub accounts: Vec<AccountCount>,
    pub peers: Vec<PeerCount>,
    pub counts: Counts,
    /// Most frequent first.
    pub statuses: Vec<CountedStatus>,
    /// Earliest first.
    pub evidence: Vec<Exhibit>,
    /// Findings that this one takes over.
    pub supersedes: Vec<IncidentId>,
    /// The trace context of one of its records. The detector leaves it empty:
    /// whoever keeps trace contexts fills it in.
    pub traceparent: Option<Box<str>>,
}

impl Finding {
    /// Whether it takes back earlier revisions: no two machines share the
    /// machine SID after all.
    pub fn is_withdrawn(&self) -> bool {
        self.kind == Kind::DuplicateMachineSid && self.class == Class::Undetermined
    }
}

/// What a finding is about: what its title, its actions and its references name.
#[derive(Clone, Debug, PartialEq)]
pub enum Subject {
    Failures {
        category: Category,
        whose: FailureSource,
        /// Ids of the events among its observations.
        event_ids: BTreeSet<u32>,
    },
    /// Mismatches that no twins explain.
    Mismatches {
        /// The host that refused.
        target: String,
        refused: RefusedPeer,
        event_id: u32,
        /// Whether the target is known, but not its machine SID.
        is_sid_missing: bool,
    },
    /// Hosts that share a machine SID.
    Twins { origin: TwinOrigin, twins: NameList, exposed: ExposedTwins },
    /// At most one host is left with the machine SID.
    RemediedTwins { former: NameList, left: Option<String> },
    /// No two hosts share the machine SID after all.
    Withdrawn { holder: SidHolder },
}

/// Whose authentications failed.
#[derive(Clone, Debug, PartialEq)]
pub enum FailureSource {
    Account {
        account: AccountName,
        /// The hosts that logged it.
        hosts: NameList,
    },
    /// Nobody in particular, on this host.
    Host(String),
    /// More accounts on this host than are kept apart.
    Crowd(String),
    /// One peer that tried many accounts.
    Peer {
        peer: Peer,
        /// How many are known by name, and whether there were more.
        accounts: usize,
        more: bool,
        /// The hosts that logged it.
        hosts: NameList,
    },
}

/// An account as a sentence names it.
#[derive(Clone, Debug, PartialEq)]
pub enum AccountName {
    /// `DOMAIN\name`, the name alone, or the SID.
    Named(String),
    Unnamed,
}

/// The machine that a host refused, as far as it is known.
#[derive(Clone, Debug, PartialEq)]
pub enum RefusedPeer {
    Other(Peer),
    Itself,
    Unknown,
}

/// Where the machine SID of twins comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TwinOrigin {
    /// An image that was not generalised.
    Image,
    /// The image of non-persistent desktops.
    Pool,
    /// The image of the domain's first domain controller.
    Domain,
}

/// Twins by whether they refuse each other.
#[derive(Clone, Debug, PartialEq)]
pub struct ExposedTwins {
    /// Those that compare machine ids.
    pub enforcing: NameList,
    /// Those that will from their next update on.
    pub after_update: NameList,
    /// Whether none ever will with its present build.
    pub is_none_affected: bool,
}

/// Whose a machine SID is that is not shared.
#[derive(Clone, Debug, PartialEq)]
pub enum SidHolder {
    Domain,
    Nobody,
    /// One host, under all these names.
    Hosts(NameList),
}

/// Names as a sentence lists them: the first few, and how many more there are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NameList {
    pub first: Vec<String>,
    pub more: usize,
}

impl NameList {
    /// Keeps the first three of `names`.
    pub fn new(mut names: Vec<String>) -> NameList {
        let more = names.len().saturating_sub(NAMED_MAX);
        names.truncate(NAMED_MAX);
        NameList { first: names, more }
    }

    pub fn count(&self) -> usize {
        self.first.len() + self.more
    }

    pub fn is_empty(&self) -> bool {
        self.first.is_empty()
    }
}

/// One piece of evidence that a verdict rests on.
#[derive(Clone, Debug, PartialEq)]
pub enum Reason {
    /// The codes of `of_category` out of `failures` failures say the category.
    Codes {
        category: Category,
        of_category: u64,
        failures: u64,
    },
    /// One peer tried so many accounts, or more.
    Spray {
        accounts: usize,
        more: bool,
        failures: u64,
    },
    /// These hosts logged a mismatch within the same seconds.
    BesideMismatch {
        hosts: NameList,
    },
    Mismatch(MismatchReason),
    Twins(TwinsReason),
    Withdrawal(WithdrawalReason),
}

/// What a verdict on mismatches rests on. `target` is the host that refused,
/// `peers` are the machines that it refused.
#[derive(Clone, Debug, PartialEq)]
pub enum MismatchReason {
    /// How often it was logged, and the failures beside it.
    Logged { target: String, mismatches: u64, failures: usize },
    /// A domain controller accepted the same account at the same time.
    Accepted,
    /// Target and peers have one machine SID.
    EqualSids { target: String, peers: NameList, sid: DomainSid },
    /// The target refused itself, and had started shortly before.
    ItselfAfterBoot { target: String, boot: EventTime },
    /// The target refused itself, and no start is known shortly before.
    Itself { target: String },
    /// The peers have another machine SID than the target.
    DifferentSids { target: String, peers: NameList },
    /// The target has twins; the machine SID of the peers is not known.
    TargetHasTwins { target: String, twins: NameList, peers: NameList },
    /// The peers have twins; the machine SID of the target is not known.
    PeersHaveTwins { target: String, peers: NameList },
    /// No machine SID is known, but target or peers refused these clones or
    /// were refused by them.
    Suspected { target: String, peers: NameList, clones: NameList },
    /// No machine SID is known, and a domain controller accepted the account.
    AcceptedStrangers { peers: NameList },
    /// No machine SID is known.
    Strangers { peers: NameList },
    /// The target has twins; no peer is known.
    UnknownPeerOfTwins { target: String, twins: NameList },
    /// More accounts over a longer time than one stale ticket explains.
    ManyAccounts { accounts: usize },
    /// No peer is known.
    UnknownPeer,
}

/// What the verdict on hosts of one machine SID rests on.
#[derive(Clone, Debug, PartialEq)]
pub enum TwinsReason {
    /// This host has or had the machine SID.
    Holder(Holder),
    /// The machine SID is that of a domain with these controllers.
    OfDomain { sid: DomainSid, controllers: NameList },
    /// Names and lifetimes are those of non-persistent desktops.
    Pool,
    /// These hosts logged the mismatch about each other.
    Refusals { targets: NameList, mismatches: u64, is_accepted: bool },
    /// These hosts refused one of the twins; their machine SIDs are not known.
    ProbableTwins { hosts: NameList },
}

/// Why hosts were found to share a machine SID and do not.
#[derive(Clone, Debug, PartialEq)]
pub enum WithdrawalReason {
    /// By what is known now, the machine SID is its holder's alone.
    NotShared { sid: DomainSid, holder: SidHolder },
    /// Two names are one host.
    Renamed { host: String, former: NameList },
    /// So many mismatches were attributed to twins that are none.
    Unexplained { mismatches: u64 },
}

/// A host that has or had a machine SID, and what shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Holder {
    pub host: String,
    pub sid: DomainSid,
    pub shown_by: HolderProof,
    pub hold: HolderState,
    /// From the inventory.
    pub owner: Option<Box<str>>,
    pub tags: Vec<Box<str>>,
}

/// What shows that a host has a machine SID.
#[derive(Clone, Debug, PartialEq)]
pub enum HolderProof {
    /// An account of its own; `is_listed`: the inventory says the same.
    Account {
        account: String,
        rid: u32,
        is_listed: bool,
    },
    Inventory,
}

/// Whether a host still has a machine SID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HolderState {
    Current,
    /// It was installed anew, and has this one now.
    Rebuilt(DomainSid),
    /// Records of the same time show this one.
    Contradicted(DomainSid),
}

/// How often a status occurred.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CountedStatus {
    pub code: StatusCode,
    pub count: u64,
}

/// One record that a finding rests on.
#[derive(Clone, Debug, PartialEq)]
pub struct Exhibit {
    pub computer: String,
    pub channel: String,
    pub provider: String,
    pub event_id: u32,
    pub record_id: u64,
    pub time: EventTime,
    pub what: Shows,
}

/// What a record shows.
#[derive(Clone, Debug, PartialEq)]
pub enum Shows {
    /// An account of the record's own computer with a SID of this machine SID.
    OwnAccount { account: String, sid: DomainSid, rid: u32 },
    /// A failure or a mismatch.
    Refusal {
        cause: RefusalCause,
        /// `None` where the finding is about the host.
        account: Option<AccountName>,
        peer: Option<(Towards, Peer)>,
        service: Option<String>,
        logon_type: Option<u32>,
        /// Records that differ in nothing but time.
        count: u32,
    },
}

/// What a record says of why an authentication was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalCause {
    Code(StatusCode),
    /// The event itself says it.
    Category(Category),
    /// Nothing: a mismatch, or a failure without a code.
    Mismatch,
}

/// On which side of an authentication its peer was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Towards {
    /// The peer asked.
    From,
    /// The peer was asked.
    To,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_list_keeps_the_first_names_and_counts_the_rest() {
        let names = |count: usize| (1..=count).map(|n| format!("PC{n}")).collect::<Vec<_>>();
        let list = NameList::new(names(5));
        assert_eq!((list.first.len(), list.more, list.count()), (NAMED_MAX, 2, 5));
        assert_eq!(NameList::new(names(2)).more, 0);
        assert!(NameList::new(Vec::new()).is_empty());
    }
}

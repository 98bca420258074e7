//! Hosts of one machine SID as a finding: who they are, what shows it, what they
//! refused of each other, and which will be next. And the end of such a finding
//! when it turns out that there are none.

use std::collections::{BTreeMap, BTreeSet};

use borsh::{BorshDeserialize, BorshSerialize};

use super::context::Context;
use super::details::{
    accounts_beside, counts_beside, evidence, finding_host, in_order, merged, span, trace_peers,
};
use super::mismatches::MismatchSession;
use crate::detect::findings::{
    CountedStatus, Exhibit, ExposedTwins, Finding, Holder, HolderProof, HolderState, NameList,
    Reason, Shows, SidHolder, Subject, TwinOrigin, TwinsReason, WithdrawalReason,
};
use crate::detect::fleet::hosts::MachineSid;
use crate::detect::fleet::twins::{FleetHost, Hold, TwinGroup};
use crate::detect::state::names::Symbol;
use crate::detect::state::pairing::TraceAt;
use crate::detect::state::sessions::{Line, SourceKey};
use crate::incident::{
    Class, Confidence, Counts, Exposure, Host, HostStatus, IncidentId, Kind, Severity, State,
};
use crate::observation::short_host;
use crate::sid::{DomainSid, Sid};
use crate::time::EventTime;

/// Failures kept of one group for its accounts and peers; the first.
const TRACES_MAX: usize = 1024;

/// Hosts listed: all but of the largest pools.
const HOSTS_MAX: usize = 5_000;

/// Different lines of mismatches kept of one group; the first.
const LINES_MAX: usize = 256;

/// Records shown of each: machine SIDs, and mismatches.
const EVIDENCE_OF_SIDS_MAX: usize = 12;
const EVIDENCE_OF_MISMATCHES_MAX: usize = 8;

/// The mismatches that the twins of a group explain.
#[derive(Clone, Debug, Default, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct Refusals {
    mismatches: u64,
    failures: u64,
    lines: Vec<Line>,
    traces: Vec<TraceAt>,
    /// By the host that refused: its first and last mismatch.
    targets: BTreeMap<Symbol, (EventTime, EventTime)>,
    /// Sessions with the same verdict, by how sure it is.
    judged: BTreeMap<Confidence, u64>,
    accepted: bool,
}

impl Refusals {
    pub fn is_any(&self) -> bool {
        self.mismatches > 0
    }

    fn counts(&self, context: &Context<'_>) -> (Counts, Vec<CountedStatus>) {
        counts_beside(context, &self.lines, &self.traces, self.mismatches, self.failures)
    }

    /// Adds a session whose verdict has this confidence.
    pub fn add(&mut self, context: &Context<'_>, session: MismatchSession, confidence: Confidence) {
        let (first, last) = span(&session.lines).unwrap_or_default();
        self.mismatches += session.mismatches();
        self.failures += session.failures();
        let target = self.targets.entry(session.host).or_insert((first, last));
        *target = (target.0.min(first), target.1.max(last));
        *self.judged.entry(confidence).or_default() += 1;
        self.accepted |= session.accepted;
        self.lines = merged(context, self.lines.iter().chain(&session.lines));
        self.lines.sort_by_key(|line| (line.first, line.record_id));
        self.lines.truncate(LINES_MAX);
        self.traces.extend(session.traces);
        self.traces.sort_by(|(_, a, one), (_, b, other)| (a, one.source).cmp(&(b, other.source)));
        self.traces.truncate(TRACES_MAX);
    }
}

/// The state of a group: nothing was refused yet, something was, or at most
/// one host is left.
fn state_of(group: &TwinGroup, refusals: &Refusals) -> State {
    if group.is_remedied() {
        State::Remedied
    } else if refusals.mismatches > 0 {
        State::Active
    } else {
        State::Latent
    }
}

/// The finding of hosts that share a machine SID, or did.
pub fn of_group(context: &Context<'_>, group: &TwinGroup, refusals: &Refusals) -> Finding {
    let view = GroupView::new(context, group, refusals);
    let mut hosts = view.hosts();
    let times = hosts
        .iter()
        .filter(|host| host.status != HostStatus::Peer && host.last_seen > EventTime::MIN);
    let first = times.clone().map(|host| host.first_seen).min().unwrap_or_default();
    let last = times.map(|host| host.last_seen).max().unwrap_or_default();
    let refused = span(&refusals.lines);
    let first = refused.map_or(first, |(refused, _)| refused.min(first));
    let last = refused.map_or(last, |(_, refused)| refused.max(last));
    for host in &mut hosts {
        if host.last_seen == EventTime::MIN {
            // Known from the inventory alone.
            (host.first_seen, host.last_seen) = (first, last);
        }
    }
    let (counts, statuses) = refusals.counts(context);
    Finding {
        id: id(group.sid),
        kind: Kind::DuplicateMachineSid,
        state: view.state,
        revision: 1,
        severity: view.severity(),
        source_sid: machine_sid(group.sid),
        source_key: source_key(group.sid),
        subject: view.subject(),
        class: Class::ClonedImage,
        confidence: group.confidence,
        reasons: view.reasons().into_iter().map(Reason::Twins).collect(),
        first_seen: first,
        last_seen: last,
        hosts: in_order(hosts, HOSTS_MAX),
        accounts: accounts_beside(context, &refusals.traces),
        peers: trace_peers(context, refusals.traces.iter()),
        counts,
        statuses,
        evidence: view.evidence(),
        supersedes: Vec::new(),
        traceparent: None,
    }
}

/// The end of a finding that was emitted before more was known: its machine SID
/// is not shared. Its hosts turned out to be one machine with several names, or
/// the domain controllers of the domain whose SID it is. What was refused among
/// them, in sessions that are gone, has no known cause then.
pub fn withdrawn(
    context: &Context<'_>,
    sid: DomainSid,
    is_domain: bool,
    refusals: &Refusals,
) -> Finding {
    let (hosts, renames) = holders(context, sid);
    let names: Vec<String> = hosts.iter().map(|host| short_host(&host.name).to_owned()).collect();
    let holder = match is_domain {
        true => SidHolder::Domain,
        false if names.is_empty() => SidHolder::Nobody,
        false => SidHolder::Hosts(NameList::new(names)),
    };
    let mut reasons = vec![WithdrawalReason::NotShared { sid, holder: holder.clone() }];
    reasons.extend(renames);
    if refusals.is_any() {
        reasons.push(WithdrawalReason::Unexplained { mismatches: refusals.mismatches });
    }
    let spans = hosts.iter().map(|host| (host.first_seen, host.last_seen));
    let spans = spans.chain(span(&refusals.lines));
    let mut spans: Vec<(EventTime, EventTime)> =
        spans.filter(|(_, last)| *last > EventTime::MIN).collect();
    if spans.is_empty() {
        // Known from an inventory that says otherwise now: no event shows it.
        let newest = context.fleet.hosts.iter().map(|host| host.facts.seen.last).max();
        spans.extend(newest.map(|newest| (newest, newest)));
    }
    let (counts, statuses) = refusals.counts(context);
    Finding {
        id: id(sid),
        kind: Kind::DuplicateMachineSid,
        state: State::Remedied,
        revision: 1,
        severity: Severity::Informational,
        source_sid: machine_sid(sid),
        source_key: source_key(sid),
        subject: Subject::Withdrawn { holder },
        class: Class::Undetermined,
        confidence: Confidence::Low,
        reasons: reasons.into_iter().map(Reason::Withdrawal).collect(),
        first_seen: spans.iter().map(|(first, _)| *first).min().unwrap_or_default(),
        last_seen: spans.iter().map(|(_, last)| *last).max().unwrap_or_default(),
        hosts: in_order(hosts, HOSTS_MAX),
        accounts: accounts_beside(context, &refusals.traces),
        peers: trace_peers(context, refusals.traces.iter()),
        counts,
        statuses,
        evidence: of_mismatches(context, refusals),
        supersedes: Vec::new(),
        traceparent: None,
    }
}

/// The hosts that have a machine SID which is not shared, and the names that they
/// had before.
fn holders(context: &Context<'_>, sid: DomainSid) -> (Vec<Host>, Vec<WithdrawalReason>) {
    let mut hosts: Vec<Host> = Vec::new();
    let mut renames: Vec<WithdrawalReason> = Vec::new();
    for host in &context.fleet.hosts {
        let held = host.machine_sids.iter().find(|held| held.sid == sid);
        let Some(held) = held.filter(|held| held.hold != Hold::Former) else { continue };
        let span = (held.span.first, held.span.last);
        hosts.push(finding_host(context, host.name, HostStatus::Remedied, span));
        let called = short_host(context.names.text(host.name));
        let others: BTreeSet<&str> = host
            .names
            .iter()
            .map(|name| short_host(context.names.text(*name)))
            .filter(|name| !name.eq_ignore_ascii_case(called))
            .collect();
        if !others.is_empty() {
            let former = NameList::new(others.into_iter().map(str::to_owned).collect());
            renames.push(WithdrawalReason::Renamed { host: called.to_owned(), former });
        }
    }
    renames.truncate(EVIDENCE_OF_SIDS_MAX);
    (hosts, renames)
}

fn id(sid: DomainSid) -> IncidentId {
    IncidentId::of(Kind::DuplicateMachineSid, &[&sid.to_string()])
}

/// The key of a machine SID among those of other sources.
pub fn source_key(sid: DomainSid) -> String {
    format!("sid:{sid}")
}

/// A machine SID by itself, without a RID.
fn machine_sid(DomainSid([a, b, c]): DomainSid) -> Option<Sid> {
    Sid::new(5, &[21, a, b, c])
}

/// The first mismatches as evidence.
fn of_mismatches(context: &Context<'_>, refusals: &Refusals) -> Vec<Exhibit> {
    let shown = refusals.lines.iter().take(EVIDENCE_OF_MISMATCHES_MAX);
    let shown = shown.flat_map(|line| {
        evidence(context, SourceKey::Host(line.computer), std::slice::from_ref(line))
    });
    shown.collect()
}

/// A group with the names that sentences call its hosts.
struct GroupView<'a> {
    context: &'a Context<'a>,
    group: &'a TwinGroup,
    refusals: &'a Refusals,
    state: State,
    /// By the index of the host.
    called: BTreeMap<usize, String>,
}

impl<'a> GroupView<'a> {
    fn new(
        context: &'a Context<'a>,
        group: &'a TwinGroup,
        refusals: &'a Refusals,
    ) -> GroupView<'a> {
        let (state, called) = (state_of(group, refusals), short_names(context, group));
        GroupView { context, group, refusals, state, called }
    }

    /// The names of hosts, sorted.
    fn names(&self, hosts: &[usize]) -> Vec<String> {
        let mut names: Vec<String> = hosts.iter().map(|at| self.called[at].clone()).collect();
        names.sort();
        names
    }

    /// Twins and former twins, other hosts that refused them, and the domain
    /// controllers.
    fn hosts(&self) -> Vec<Host> {
        let GroupView { context, group, .. } = self;
        let fleet = context.fleet;
        let mut hosts: Vec<Host> = Vec::new();
        let members = group.twins.iter().map(|at| (at, HostStatus::Twin));
        let members = members.chain(group.former.iter().map(|at| (at, HostStatus::Remedied)));
        for (at, status) in members {
            let host = &fleet.hosts[*at];
            let held = host.machine_sids.iter().find(|held| held.sid == group.sid);
            let span = held.map_or(host.facts.seen, |held| held.span);
            let mut host = finding_host(context, host.name, status, (span.first, span.last));
            host.machine_sid = match status {
                HostStatus::Remedied => fleet.hosts[*at].current_sid().map(|held| held.sid),
                HostStatus::Twin | HostStatus::Target | HostStatus::Peer => Some(group.sid),
            };
            hosts.push(host);
        }
        for (name, span) in &self.refusals.targets {
            let is_member = |at: usize| {
                [&group.twins, &group.former, &group.controllers]
                    .into_iter()
                    .any(|all| all.contains(&at))
            };
            if !fleet.host(*name).is_some_and(is_member) {
                hosts.push(finding_host(context, *name, HostStatus::Target, *span));
            }
        }
        for at in &group.controllers {
            let host = &fleet.hosts[*at];
            let span = (host.facts.seen.first, host.facts.seen.last);
            hosts.push(finding_host(context, host.name, HostStatus::Peer, span));
        }
        hosts
    }

    fn severity(&self) -> Severity {
        match (self.state, self.group.pool) {
            (State::Active, false) => Severity::High,
            (State::Active, true) | (State::Latent, false) => Severity::Medium,
            (State::Latent, true) => Severity::Low,
            (State::Remedied | State::Open | State::Closed, _) => Severity::Informational,
        }
    }

    fn subject(&self) -> Subject {
        let group = self.group;
        let twins = self.names(&group.twins);
        if self.state == State::Remedied {
            let former = NameList::new(self.names(&group.former));
            return Subject::RemediedTwins { former, left: twins.into_iter().next() };
        }
        let exposed = |exposure: Exposure| -> Vec<usize> {
            let exposure_of = |at: &usize| self.context.fleet.hosts[*at].exposure();
            group.twins.iter().copied().filter(|at| exposure_of(at) == exposure).collect()
        };
        let exposed = ExposedTwins {
            enforcing: NameList::new(self.names(&exposed(Exposure::Enforcing))),
            after_update: NameList::new(self.names(&exposed(Exposure::EnforcingAfterUpdate))),
            is_none_affected: exposed(Exposure::NotAffected).len() == twins.len(),
        };
        let origin = match (group.of_domain, group.pool) {
            (true, _) => TwinOrigin::Domain,
            (false, true) => TwinOrigin::Pool,
            (false, false) => TwinOrigin::Image,
        };
        Subject::Twins { origin, twins: NameList::new(twins), exposed }
    }

    fn reasons(&self) -> Vec<TwinsReason> {
        let GroupView { context, group, refusals, .. } = self;
        let members = group.twins.iter().chain(&group.former).take(EVIDENCE_OF_SIDS_MAX);
        let mut reasons: Vec<TwinsReason> =
            members.filter_map(|at| self.holder(*at)).map(TwinsReason::Holder).collect();
        if group.of_domain {
            let controllers = NameList::new(self.names(&group.controllers));
            reasons.push(TwinsReason::OfDomain { sid: group.sid, controllers });
        }
        if group.pool {
            reasons.push(TwinsReason::Pool);
        }
        if refusals.is_any() {
            reasons.push(TwinsReason::Refusals {
                targets: NameList::new(self.targets(|_| true)),
                mismatches: refusals.mismatches,
                is_accepted: refusals.accepted,
            });
        }
        let unknown = self.targets(|host| {
            let at = context.fleet.host(host);
            at.is_none_or(|at| context.fleet.hosts[at].machine_sids.is_empty())
        });
        if !unknown.is_empty() && !group.of_domain {
            reasons.push(TwinsReason::ProbableTwins { hosts: NameList::new(unknown) });
        }
        reasons
    }

    /// What shows that a member has or had the machine SID; `None` when nothing
    /// does any more.
    fn holder(&self, at: usize) -> Option<Holder> {
        let sid = self.group.sid;
        let host: &FleetHost = &self.context.fleet.hosts[at];
        let held = host.machine_sids.iter().find(|held| held.sid == sid)?;
        let shown_by = match host.shown(sid) {
            Some(shown) => HolderProof::Account {
                account: self.context.names.text(shown.account).to_owned(),
                rid: shown.rid,
                is_listed: held.listed,
            },
            None => HolderProof::Inventory,
        };
        let current = host.current_sid().map(|held| held.sid);
        let hold = match (held.hold, current) {
            (Hold::Former, Some(current)) => HolderState::Rebuilt(current),
            (Hold::Contradicted, Some(current)) => HolderState::Contradicted(current),
            (Hold::Current, _) | (Hold::Former | Hold::Contradicted, None) => HolderState::Current,
        };
        Some(Holder {
            host: self.called[&at].clone(),
            sid,
            shown_by,
            hold,
            owner: host.owner.clone(),
            tags: host.tags.clone(),
        })
    }

    /// The names of hosts that refused others, sorted.
    fn targets(&self, wanted: impl Fn(Symbol) -> bool) -> Vec<String> {
        let called = |host: &Symbol| {
            let at = self.context.fleet.host(*host);
            let short = at.and_then(|at| self.called.get(&at));
            short.map_or_else(|| self.context.names.text(*host).to_owned(), String::clone)
        };
        let hosts = self.refusals.targets.keys().filter(|host| wanted(**host));
        let mut names: Vec<String> = hosts.map(called).collect();
        names.sort();
        names
    }

    /// The first record that shows each host's machine SID, then the first
    /// mismatches.
    fn evidence(&self) -> Vec<Exhibit> {
        let context = self.context;
        let members = self.group.twins.iter().chain(&self.group.former);
        let mut shown: Vec<&MachineSid> =
            members.filter_map(|at| context.fleet.hosts[*at].shown(self.group.sid)).collect();
        shown.sort_by_key(|shown| (shown.first.time, shown.first.record_id));
        shown.truncate(EVIDENCE_OF_SIDS_MAX);
        let text = |symbol| context.names.text(symbol).to_owned();
        let of_sids = shown.into_iter().map(|shown| Exhibit {
            computer: text(shown.first.computer),
            channel: text(shown.first.channel),
            provider: text(shown.first.provider),
            event_id: shown.first.event_id,
            record_id: shown.first.record_id,
            time: shown.first.time,
            what: Shows::OwnAccount {
                account: text(shown.account),
                sid: shown.sid,
                rid: shown.rid,
            },
        });
        of_sids.chain(of_mismatches(context, self.refusals)).collect()
    }
}

/// What sentences call the hosts of a group, by index: the name without its
/// domain, as long as that is unique.
fn short_names(context: &Context<'_>, group: &TwinGroup) -> BTreeMap<usize, String> {
    let full = |at: usize| context.names.text(context.fleet.hosts[at].name);
    let all = || group.twins.iter().chain(&group.former).chain(&group.controllers).copied();
    let short: BTreeSet<String> = all().map(|at| short_host(full(at)).to_lowercase()).collect();
    let hosts: BTreeSet<usize> = all().collect();
    let distinct = short.len() == hosts.len();
    let called = |at: usize| if distinct { short_host(full(at)) } else { full(at) };
    hosts.iter().map(|at| (*at, called(*at).to_owned())).collect()
}

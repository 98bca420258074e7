//! Hosts of one machine SID as an incident: who they are, what shows it, what
//! they refused of each other, which will be next, and what to do. And what ends
//! such an incident when it turns out that there are none.

use std::collections::{BTreeMap, BTreeSet};

use super::incidents::{
    Context, MISMATCH_REFERENCES, MismatchSession, accounts_beside, counts_beside, evidence,
    in_order, incident_host, merged, span, trace_peers,
};
use super::verdict::listed;
use crate::detect::fleet::hosts::MachineSid;
use crate::detect::fleet::twins::{Group, Hold};
use crate::detect::state::names::Symbol;
use crate::detect::state::sessions::{Line, SourceKey};
use crate::detect::{Trace, TraceOrigin};
use borsh::{BorshDeserialize, BorshSerialize};

use crate::incident::{
    Class, Confidence, Counts, Evidence, Exposure, HostStatus, Incident, IncidentId, Kind,
    Severity, State, StatusCount, Verdict,
};
use crate::observation::short_host;
use crate::sid::{DomainSid, Sid};
use crate::time::EventTime;

/// Failures kept of one group to tell accounts and peers from; the first.
const TRACES_MAX: usize = 1024;

/// Hosts listed: all but of the largest pools.
const HOSTS_MAX: usize = 5_000;

/// Different lines of mismatches kept of one group; the first.
const LINES_MAX: usize = 256;

/// Records shown of each: machine SIDs, and mismatches.
const EVIDENCE_OF_SIDS_MAX: usize = 12;
const EVIDENCE_OF_MISMATCHES_MAX: usize = 8;

/// The mismatches that the twins of a group explain.
#[derive(Clone, Debug, Default, BorshSerialize, BorshDeserialize)]
pub struct Refusals {
    mismatches: u64,
    failures: u64,
    lines: Vec<Line>,
    traces: Vec<(Symbol, EventTime, Trace)>,
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

    fn counts(&self, context: &Context<'_>) -> (Counts, Vec<StatusCount>) {
        counts_beside(context, &self.lines, &self.traces, self.mismatches, self.failures)
    }

    pub fn add(&mut self, context: &Context<'_>, session: MismatchSession, verdict: &Verdict) {
        let (first, last) = span(&session.lines).unwrap_or_default();
        self.mismatches += session.lines.iter().map(|line| u64::from(line.count)).sum::<u64>();
        let is_failure =
            |(_, _, trace): &&(Symbol, EventTime, Trace)| trace.origin == TraceOrigin::Failure;
        self.failures += session.traces.iter().filter(is_failure).count() as u64;
        let target = self.targets.entry(session.host).or_insert((first, last));
        *target = (target.0.min(first), target.1.max(last));
        *self.judged.entry(verdict.confidence).or_default() += 1;
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
fn state_of(group: &Group, refusals: &Refusals) -> State {
    if group.is_remedied() {
        State::Remedied
    } else if refusals.mismatches > 0 {
        State::Active
    } else {
        State::Latent
    }
}

pub fn of_group(context: &Context<'_>, group: &Group, refusals: &Refusals) -> Incident {
    let fleet = context.fleet;
    let state = state_of(group, refusals);
    let called = short_names(context, group);
    let names = |hosts: &[usize]| -> Vec<String> {
        let mut names: Vec<String> = hosts.iter().map(|at| called[at].clone()).collect();
        names.sort();
        names
    };
    let (twins, former) = (names(&group.twins), names(&group.former));
    let controllers = names(&group.controllers);
    let mut hosts: Vec<crate::incident::Host> = Vec::new();
    let members = group.twins.iter().map(|at| (at, HostStatus::Twin));
    let members = members.chain(group.former.iter().map(|at| (at, HostStatus::Remedied)));
    for (at, status) in members {
        let host = &fleet.hosts[*at];
        let held = host.machine_sids.iter().find(|held| held.sid == group.sid);
        let span = held.map_or(host.facts.seen, |held| held.span);
        let mut host = incident_host(context, host.name, status, (span.first, span.last));
        host.machine_sid = match status {
            HostStatus::Remedied => fleet.hosts[*at].current_sid().map(|held| held.sid),
            _ => Some(group.sid),
        };
        hosts.push(host);
    }
    for (name, span) in &refusals.targets {
        let at = fleet.host(*name);
        let is_member = |at: usize| {
            [&group.twins, &group.former, &group.controllers]
                .into_iter()
                .any(|all| all.contains(&at))
        };
        if !at.is_some_and(is_member) {
            hosts.push(incident_host(context, *name, HostStatus::Target, *span));
        }
    }
    for at in &group.controllers {
        let host = &fleet.hosts[*at];
        let span = (host.facts.seen.first, host.facts.seen.last);
        hosts.push(incident_host(context, host.name, HostStatus::Peer, span));
    }
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
    let told =
        GroupText { context, group, refusals, state, called: &called, twins, former, controllers };
    let (counts, statuses) = refusals.counts(context);
    Incident {
        id: id(group.sid),
        kind: Kind::DuplicateMachineSid,
        state,
        revision: 1,
        severity: told.severity(),
        source_sid: machine_sid(group.sid),
        source_key: source_key(group.sid),
        title: told.title(),
        verdict: Verdict {
            class: Class::ClonedImage,
            confidence: group.confidence,
            reasons: told.reasons(),
        },
        first_seen: first,
        last_seen: last,
        hosts: in_order(hosts, HOSTS_MAX),
        accounts: accounts_beside(context, &refusals.traces),
        peers: trace_peers(context, refusals.traces.iter()),
        counts,
        evidence: told.evidence(),
        actions: told.actions(),
        references: MISMATCH_REFERENCES.map(str::to_owned).to_vec(),
        statuses,
        supersedes: Vec::new(),
        traceparent: None,
    }
}

fn id(sid: DomainSid) -> IncidentId {
    IncidentId::of(Kind::DuplicateMachineSid, &[&sid.to_string()])
}

pub fn source_key(sid: DomainSid) -> String {
    format!("sid:{sid}")
}

/// What ends an incident that was told of before more was known: its machine SID
/// is not shared. Its hosts turned out to be one machine with several names, or
/// the domain controllers of the domain whose SID it is. What was refused among
/// them, in sessions that are gone, has no known cause then.
pub fn withdrawn(
    context: &Context<'_>,
    sid: DomainSid,
    is_domain: bool,
    refusals: &Refusals,
) -> Incident {
    let fleet = context.fleet;
    let mut hosts: Vec<crate::incident::Host> = Vec::new();
    let mut renames: Vec<String> = Vec::new();
    for host in &fleet.hosts {
        let held = host.machine_sids.iter().find(|held| held.sid == sid);
        let Some(held) = held.filter(|held| held.hold != Hold::Former) else { continue };
        let span = (held.span.first, held.span.last);
        hosts.push(incident_host(context, host.name, HostStatus::Remedied, span));
        let called = short_host(context.names.text(host.name));
        let others: BTreeSet<&str> = host
            .names
            .iter()
            .map(|name| short_host(context.names.text(*name)))
            .filter(|name| !name.eq_ignore_ascii_case(called))
            .collect();
        if !others.is_empty() {
            let others: Vec<String> = others.into_iter().map(str::to_owned).collect();
            renames.push(format!("{called} had the name {} before.", listed(&others)));
        }
    }
    renames.truncate(EVIDENCE_OF_SIDS_MAX);
    let names: Vec<String> = hosts.iter().map(|host| short_host(&host.name).to_owned()).collect();
    let whose = match &names[..] {
        _ if is_domain => "it is the SID of a domain".to_owned(),
        [] => "no machine has it now".to_owned(),
        names => format!("it is that of {}", listed(names)),
    };
    let mut reasons = vec![format!(
        "{sid} was told of as shared before all was known; by what is known now, {whose}."
    )];
    reasons.extend(renames);
    if refusals.is_any() {
        reasons.push(format!(
            "Machine-id mismatches that were put down to it have no known cause now: {}.",
            refusals.mismatches
        ));
    }
    let spans = hosts.iter().map(|host| (host.first_seen, host.last_seen));
    let spans = spans.chain(span(&refusals.lines));
    let mut spans: Vec<(EventTime, EventTime)> =
        spans.filter(|(_, last)| *last > EventTime::MIN).collect();
    if spans.is_empty() {
        // Known from an inventory that says otherwise now: no event tells of it.
        let newest = fleet.hosts.iter().map(|host| host.facts.seen.last).max();
        spans.extend(newest.map(|newest| (newest, newest)));
    }
    let (counts, statuses) = refusals.counts(context);
    Incident {
        id: id(sid),
        kind: Kind::DuplicateMachineSid,
        state: State::Remedied,
        revision: 1,
        severity: Severity::Informational,
        source_sid: machine_sid(sid),
        source_key: source_key(sid),
        title: format!("Withdrawn: no two machines share this machine SID; {whose}"),
        verdict: Verdict { class: Class::Undetermined, confidence: Confidence::Low, reasons },
        first_seen: spans.iter().map(|(first, _)| *first).min().unwrap_or_default(),
        last_seen: spans.iter().map(|(_, last)| *last).max().unwrap_or_default(),
        hosts: in_order(hosts, HOSTS_MAX),
        accounts: accounts_beside(context, &refusals.traces),
        peers: trace_peers(context, refusals.traces.iter()),
        counts,
        evidence: of_mismatches(context, refusals),
        actions: vec![
            "Close what was opened for the earlier revisions of this incident.".to_owned(),
        ],
        references: Vec::new(),
        statuses,
        supersedes: Vec::new(),
        traceparent: None,
    }
}

/// The first mismatches as evidence.
fn of_mismatches(context: &Context<'_>, refusals: &Refusals) -> Vec<Evidence> {
    let shown = refusals.lines.iter().take(EVIDENCE_OF_MISMATCHES_MAX);
    let shown = shown.flat_map(|line| {
        evidence(context, SourceKey::Host(line.computer), std::slice::from_ref(line))
    });
    shown.collect()
}

/// How sentences call the hosts of a group: without their domain, as long as
/// that tells them apart.
fn short_names(context: &Context<'_>, group: &Group) -> BTreeMap<usize, String> {
    let full = |at: usize| context.names.text(context.fleet.hosts[at].name);
    let all = || group.twins.iter().chain(&group.former).chain(&group.controllers).copied();
    let short: BTreeSet<String> = all().map(|at| short_host(full(at)).to_lowercase()).collect();
    let hosts: BTreeSet<usize> = all().collect();
    let distinct = short.len() == hosts.len();
    let called = |at: usize| if distinct { short_host(full(at)) } else { full(at) };
    hosts.iter().map(|at| (*at, called(*at).to_owned())).collect()
}

/// A machine SID by itself, without a RID.
pub fn machine_sid(DomainSid([a, b, c]): DomainSid) -> Option<Sid> {
    Sid::new(5, &[21, a, b, c])
}

/// A group in words.
struct GroupText<'a> {
    context: &'a Context<'a>,
    group: &'a Group,
    refusals: &'a Refusals,
    state: State,
    /// What sentences call each host.
    called: &'a BTreeMap<usize, String>,
    twins: Vec<String>,
    former: Vec<String>,
    controllers: Vec<String>,
}

impl GroupText<'_> {
    fn severity(&self) -> Severity {
        match (self.state, self.group.pool) {
            (State::Active, false) => Severity::High,
            (State::Active, true) | (State::Latent, false) => Severity::Medium,
            (State::Latent, true) => Severity::Low,
            _ => Severity::Informational,
        }
    }

    fn title(&self) -> String {
        let twins = listed(&self.twins);
        if self.state == State::Remedied {
            let left = match &self.twins[..] {
                [] => "no host has it any more".to_owned(),
                [only, ..] => format!("only {only} has it now"),
            };
            return format!(
                "{} {} rebuilt and no longer {} a machine SID: {left}",
                listed(&self.former),
                if self.former.len() == 1 { "was" } else { "were" },
                if self.former.len() == 1 { "shares" } else { "share" },
            );
        }
        let refusals = match self.refusals.mismatches {
            0 => "nothing was refused for it yet".to_owned(),
            1 => "one refusal so far".to_owned(),
            many => format!("{many} refusals so far"),
        };
        if self.group.of_domain {
            return format!(
                "{twins} {} made from the image of the domain's first domain controller and {} its \
                 machine SID: {refusals}",
                if self.twins.len() == 1 { "was" } else { "were" },
                if self.twins.len() == 1 { "has" } else { "have" },
            );
        }
        if self.group.pool {
            return format!(
                "A pool of {} desktops ({twins}) shares one machine SID: {refusals}",
                self.twins.len()
            );
        }
        format!("{twins} share one machine SID, clones of one image: {refusals}")
    }

    fn reasons(&self) -> Vec<String> {
        let (context, sid) = (self.context, self.group.sid);
        let mut reasons = Vec::new();
        let members = self.group.twins.iter().chain(&self.group.former);
        for at in members.take(EVIDENCE_OF_SIDS_MAX) {
            let host = &context.fleet.hosts[*at];
            let Some(held) = host.machine_sids.iter().find(|held| held.sid == sid) else {
                continue;
            };
            let name = &self.called[at];
            let mut reason = match (host.shown(sid), held.listed) {
                (Some(shown), listed) => {
                    let said = if listed { ", and the inventory says so too" } else { "" };
                    format!(
                        "{name}: its own account {} has the SID {sid}-{}{said}.",
                        context.names.text(shown.account),
                        shown.rid
                    )
                }
                (None, _) => format!("{name}: the inventory gives it {sid}."),
            };
            let current = host.current_sid().map(|held| held.sid);
            match (held.hold, current) {
                (Hold::Former, Some(current)) => {
                    reason.push_str(&format!(" It was rebuilt: since then it has {current}."))
                }
                (Hold::Contradicted, Some(current)) => reason.push_str(&format!(
                    " Other records of the same time show {current}, so one of them is wrong."
                )),
                _ => {}
            }
            if let Some(owner) = &host.owner {
                reason.push_str(&format!(" Owner: {owner}."));
            }
            if !host.tags.is_empty() {
                reason.push_str(&format!(" Tags: {}.", host.tags.join(", ")));
            }
            reasons.push(reason);
        }
        if self.group.of_domain {
            reasons.push(format!(
                "{sid} is also the SID of a domain. A domain takes it from the machine SID of its \
                 first domain controller{}.",
                match &self.controllers[..] {
                    [] => String::new(),
                    controllers => format!("; its domain controllers are {}", listed(controllers)),
                }
            ));
        }
        if self.group.pool {
            reasons.push(
                "The names differ in their number alone and most of these hosts lived briefly: this \
                 looks like non-persistent desktops, alike on purpose."
                    .to_owned(),
            );
        }
        if self.refusals.mismatches > 0 {
            let targets = self.targets(|_| true);
            let accepted = if self.refusals.accepted {
                ", while a domain controller accepted the same accounts"
            } else {
                ""
            };
            reasons.push(format!(
                "{} logged the machine-id mismatch {} times{accepted}.",
                listed(&targets),
                self.refusals.mismatches
            ));
        }
        let unknown = self.targets(|host| {
            let at = context.fleet.host(host);
            at.is_none_or(|at| context.fleet.hosts[at].machine_sids.is_empty())
        });
        let are_controllers = self.group.of_domain;
        if !unknown.is_empty() && !are_controllers {
            reasons.push(format!(
                "{} refused one of them as well, and is probably a clone too; its machine SID is \
                 not known.",
                listed(&unknown)
            ));
        }
        reasons
    }

    /// Names of hosts that refused others.
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

    fn actions(&self) -> Vec<String> {
        if self.state == State::Remedied {
            return vec![
                "Nothing is left to do; check that the image has been generalised with Sysprep \
                 before it is used again."
                    .to_owned(),
            ];
        }
        let mut actions = Vec::new();
        let context = self.context;
        let exposed = |exposure: Exposure| -> Vec<String> {
            let twins = self.group.twins.iter().map(|at| (at, &context.fleet.hosts[*at]));
            let exposed = twins.filter(|(_, host)| host.exposure() == exposure);
            let mut names: Vec<String> = exposed.map(|(at, _)| self.called[at].clone()).collect();
            names.sort();
            names
        };
        if self.group.of_domain {
            actions.push(format!(
                "Rebuild {} from an image that was generalised with Sysprep; leave the domain \
                 controllers alone.",
                listed(&self.twins)
            ));
        } else if self.group.pool {
            actions.push(
                "Have the pool's image generalised (Sysprep, or the desktop broker's own \
                 customisation), so that each desktop gets a machine SID of its own."
                    .to_owned(),
            );
        } else {
            actions.push(format!(
                "Rebuild all but one of {} from an image that was generalised with Sysprep \
                 (sysprep /generalize).",
                listed(&self.twins)
            ));
        }
        actions.push(
            "Leaving the domain and running Sysprep on a machine in use is not enough. Do not reset \
             passwords: they are right."
                .to_owned(),
        );
        let enforcing = exposed(Exposure::Enforcing);
        if exposed(Exposure::NotAffected).len() == self.twins.len() {
            actions.push(
                "There is time: their build of Windows does not compare machine ids. With Windows \
                 11 24H2 or Server 2025 they will refuse each other."
                    .to_owned(),
            );
        }
        let next = exposed(Exposure::EnforcingAfterUpdate);
        if !next.is_empty() {
            actions.push(format!(
                "Before the next update of Windows, rebuild: {}. From then on it compares machine \
                 ids there too, and logons fail that work today.",
                listed(&next)
            ));
        }
        if !enforcing.is_empty() {
            actions.push(format!(
                "Comparing machine ids already: {}. What must work until it is rebuilt needs the \
                 workaround that Microsoft support hands out; it ends at the end of 2027.",
                listed(&enforcing)
            ));
        }
        actions
    }

    /// The first record that shows each host's machine SID, then the first
    /// mismatches.
    fn evidence(&self) -> Vec<Evidence> {
        let context = self.context;
        let members = self.group.twins.iter().chain(&self.group.former);
        let mut shown: Vec<&MachineSid> =
            members.filter_map(|at| context.fleet.hosts[*at].shown(self.group.sid)).collect();
        shown.sort_by_key(|shown| (shown.first.time, shown.first.record_id));
        shown.truncate(EVIDENCE_OF_SIDS_MAX);
        let of_sids = shown.into_iter().map(|shown| Evidence {
            computer: context.names.text(shown.first.computer).to_owned(),
            channel: context.names.text(shown.first.channel).to_owned(),
            provider: context.names.text(shown.first.provider).to_owned(),
            event_id: shown.first.event_id,
            record_id: shown.first.record_id,
            time: shown.first.time,
            what: format!(
                "its own account {} has the SID {}-{}",
                context.names.text(shown.account),
                shown.sid,
                shown.rid
            ),
        });
        of_sids.chain(of_mismatches(context, self.refusals)).collect()
    }
}

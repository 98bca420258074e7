//! A session as an incident: who, where, what failed, how often, and what to
//! do, in words that need no other table.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::verdict;
use super::verdict::{Case, Other, listed};
use crate::detect::fleet::hosts::Hosts;
use crate::detect::fleet::twins::Fleet;
use crate::detect::state::directory::Directory;
use crate::detect::state::names::{Address, Addresses, Names, Symbol};
use crate::detect::state::sessions::{
    Line, LineOrder, Pattern, Patterns, Run, SourceKey, compare_lines,
};
use crate::detect::{Settings, Trace, TraceOrigin, category_of};
use crate::explain::codes;
use crate::incident::{
    AccountCount, Class, Confidence, Counts, Evidence, Exposure, Host, HostStatus, Incident,
    IncidentId, Kind, PeerCount, Role, Severity, State, StatusCount, Verdict,
};
use crate::observation::{Side, short_host};
use crate::sid::DomainSid;
use crate::status::{Category, StatusCode, deciding_status};
use crate::time::EventTime;

/// Most entries of each list of an incident; counts are always complete.
const HOSTS_MAX: usize = 64;
const ACCOUNTS_MAX: usize = 64;
const PEERS_MAX: usize = 64;
const STATUSES_MAX: usize = 32;
const EVIDENCE_MAX: usize = 20;
const ACTIONS_MAX: usize = 6;
/// Machines that were refused which a verdict looks at, those refused most
/// often.
const OTHERS_MAX: usize = 16;

/// Failures of one session from which on the severity rises.
const FAILURES_MEDIUM: u64 = 20;
const FAILURES_HIGH: u64 = 200;

/// Microsoft's texts on the mismatch.
pub const MISMATCH_REFERENCES: [&str; 2] = [
    "https://support.microsoft.com/topic/76f7394d-c460-4882-9ed1-d27e0960f949",
    "https://support.microsoft.com/topic/f67abf78-41c5-4a89-a2da-a7b2fe280270",
];

/// What turning a session into an incident needs to look things up in.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    pub settings: &'a Settings,
    pub names: &'a Names,
    pub addresses: &'a Addresses,
    pub patterns: &'a Patterns,
    pub directory: &'a Directory,
    pub hosts: &'a Hosts,
    pub fleet: &'a Fleet,
}

impl<'a> Context<'a> {
    /// The source that a key belongs to, as far as is known by now.
    pub fn resolve(&self, key: SourceKey, time: EventTime) -> SourceKey {
        let sid = |domain, name| self.directory.resolve(domain, name, time, self.names);
        let (domains, name) = match key {
            SourceKey::Sid(_) | SourceKey::Host(_) => return key,
            SourceKey::Account { domain, name } => (vec![domain], name),
            SourceKey::Bare { host, name } => {
                let mut domains = match self.role(host) {
                    Role::DomainController => {
                        self.directory.domains_of_controller(host, self.names)
                    }
                    Role::Unknown | Role::Workstation | Role::Server => Vec::new(),
                };
                if domains.is_empty() {
                    domains.extend(self.names.find(short_host(self.names.text(host))));
                }
                (domains, name)
            }
        };
        match (domains.iter().find_map(|domain| sid(*domain, name)), domains.last()) {
            (Some(sid), _) => SourceKey::Sid(sid),
            (None, Some(domain)) => SourceKey::Account { domain: *domain, name },
            (None, None) => key,
        }
    }

    fn order(&self) -> LineOrder<'a> {
        LineOrder { names: self.names, addresses: self.addresses }
    }

    /// Domain and name of a source, where it has them.
    fn label(&self, source: SourceKey) -> (Option<&'a str>, Option<&'a str>) {
        let (domain, name) = match source {
            SourceKey::Sid(sid) => {
                self.directory.name_of(sid, self.names).unwrap_or((Symbol::NONE, Symbol::NONE))
            }
            SourceKey::Account { domain, name } => (domain, name),
            SourceKey::Bare { name, .. } => (Symbol::NONE, name),
            SourceKey::Host(_) => (Symbol::NONE, Symbol::NONE),
        };
        (self.names.text_opt(domain), self.names.text_opt(name))
    }

    /// Domain and name as the observations of a key carried them, in the form
    /// of the source's label where they say the same.
    fn observed(&self, key: SourceKey, source: SourceKey) -> (Option<&'a str>, Option<&'a str>) {
        let label = self.label(source);
        let (domain, name) = self.label(key);
        let same = |one: Option<&str>, other: Option<&str>| match (one, other) {
            (Some(one), Some(other)) => one.to_lowercase() == other.to_lowercase(),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        let dns = |domain: Option<&str>| domain.is_some_and(|domain| domain.contains('.'));
        let alias = domain.is_none() || same(domain, label.0) || dns(domain) || dns(label.0);
        if same(name, label.1) && alias { label } else { (domain, name) }
    }

    /// `sid:…`, `name:DOMAIN\user` or `host:NAME`. Names in upper case, as
    /// their case differs from event to event.
    fn key_text(&self, source: SourceKey) -> String {
        let upper = |symbol| self.names.text(symbol).to_uppercase();
        match source {
            SourceKey::Sid(sid) => format!("sid:{}", sid.sid()),
            SourceKey::Account { domain, name } => {
                format!("name:{}\\{}", upper(domain), upper(name))
            }
            SourceKey::Bare { host, name } => format!("name:{}\\{}", upper(host), upper(name)),
            SourceKey::Host(host) => format!("host:{}", upper(host)),
        }
    }

    /// How a source is called in a sentence.
    fn called(&self, source: SourceKey) -> String {
        match (self.label(source), source) {
            ((Some(domain), Some(name)), _) => format!("{domain}\\{name}"),
            ((None, Some(name)), _) => name.to_owned(),
            (_, SourceKey::Sid(sid)) => sid.sid().to_string(),
            (_, SourceKey::Host(host)) => self.names.text(host).to_owned(),
            _ => "an account without a name".to_owned(),
        }
    }

    fn peer_text(&self, host: Symbol, ip: Address) -> Option<String> {
        match (self.names.text_opt(host), self.addresses.get(ip)) {
            (Some(host), Some(ip)) => Some(format!("{host} ({ip})")),
            (Some(host), None) => Some(host.to_owned()),
            (None, Some(ip)) => Some(ip.to_string()),
            (None, None) => None,
        }
    }

    pub fn role(&self, host: Symbol) -> Role {
        match self.hosts.get(host) {
            Some(facts) if facts.domain_controller => Role::DomainController,
            _ => self.fleet.host(host).map_or(Role::Unknown, |at| self.fleet.hosts[at].role()),
        }
    }

    /// The host at the other end, by name, else by address; `beside` is the
    /// host that logged it.
    pub fn peer(
        &self,
        host: Symbol,
        ip: Address,
        time: EventTime,
        beside: Option<usize>,
    ) -> Option<usize> {
        let by_name = if host.is_none() { None } else { self.fleet.find(host, beside, self.names) };
        by_name.or_else(|| {
            let host = self.hosts.host_at(self.addresses.get(ip)?, time, self.names)?;
            self.fleet.find(host, beside, self.names)
        })
    }

    /// The name of a peer's host, as written where it is not known.
    fn peer_name(
        &self,
        host: Symbol,
        ip: Address,
        time: EventTime,
        beside: Option<usize>,
    ) -> Symbol {
        self.peer(host, ip, time, beside).map_or(host, |at| self.fleet.hosts[at].name)
    }
}

/// The incident of a session of failures; `None` when there are fewer than
/// `failures_min` and none is grave.
/// `paired` tells whether a failure of this session stands beside a mismatch
/// on a host.
pub fn of_failures(
    context: &Context<'_>,
    source: SourceKey,
    runs: &[(SourceKey, &Run)],
    failures_min: u64,
    paired: impl Fn(Symbol) -> bool,
) -> Option<Incident> {
    let failures: u64 = runs.iter().map(|(_, run)| run.count()).sum();
    let lines = || runs.iter().flat_map(|(_, run)| run.lines.as_slice());
    let grave = |line: &Line| {
        let pattern = context.patterns.get(line.pattern);
        [pattern.status, pattern.sub_status]
            .into_iter()
            .flatten()
            .any(|code| context.settings.grave_statuses.contains(&code))
            || context.settings.grave_categories.contains(&category_of(pattern))
    };
    if failures < failures_min && !lines().any(grave) {
        return None;
    }
    let lines = merged(context, lines());
    let (first, last) = span(&lines)?;
    let category = dominant(context, &lines);
    let statuses = statuses(context, &lines);
    let mut reasons = vec![category_reason(context, category, &lines, failures)];
    let beside: BTreeSet<String> = lines
        .iter()
        .map(|line| line.computer)
        .filter(|host| paired(*host))
        .map(|host| context.names.text(host).to_owned())
        .collect();
    let mut actions = Vec::new();
    if !beside.is_empty() {
        let hosts = listed(&beside.iter().cloned().collect::<Vec<_>>());
        reasons.push(format!(
            "{hosts} logged a machine-id mismatch (LsaSrv 6167) within the same seconds: the \
             refusal may be about the machine, not about the password."
        ));
        actions.push(
            "Do not reset the password yet: look at the machine_id_mismatch incident of the same \
             host first."
                .to_owned(),
        );
    }
    actions.extend(actions_for(category, &statuses));
    actions.truncate(ACTIONS_MAX);
    let key = context.key_text(source);
    let accounts = accounts_of(context, source, runs);
    Some(Incident {
        id: session_id(context, Kind::AuthenticationFailures, &key, &lines),
        kind: Kind::AuthenticationFailures,
        state: State::Closed,
        revision: 1,
        severity: severity(category, failures, peer_count(&lines)),
        source_sid: sid_of(source),
        source_key: key,
        title: failures_title(context, source, &accounts, category, &lines, failures),
        verdict: Verdict {
            class: Class::Failure(category),
            confidence: if beside.is_empty() { confidence(category) } else { Confidence::Low },
            reasons,
        },
        first_seen: first,
        last_seen: last,
        hosts: hosts(context, &lines, None),
        accounts,
        peers: peers(
            context,
            lines.iter().map(|line| {
                let beside = context.fleet.host(line.computer);
                let host = context.peer_name(line.peer_host, line.peer_ip, line.first, beside);
                (host, line.peer_ip, u64::from(line.count))
            }),
        ),
        counts: counts(context, &lines, 0, failures),
        evidence: evidence(context, source, &lines),
        references: references(&lines, context),
        statuses,
        actions,
        supersedes: Vec::new(),
        traceparent: None,
    })
}

/// Hosts whose machine SID no event tells, and the clones that they refused or
/// were refused by.
pub type Suspects = BTreeMap<Symbol, DomainSid>;

/// What a session of mismatches comes to.
#[derive(Debug)]
pub struct Judged {
    pub verdict: Verdict,
    /// The machine SID of the clones that explain it: the target's, or where
    /// that is not known, that of a clone it refused.
    pub group: Option<DomainSid>,
    /// Who had a part in it without a known machine SID.
    pub suspects: Vec<Symbol>,
}

/// Mismatches of one host without a gap, and what stood beside them.
#[derive(Clone, Debug)]
pub struct MismatchSession {
    pub host: Symbol,
    pub lines: Vec<Line>,
    pub traces: Vec<(Symbol, EventTime, Trace)>,
    /// Whether a domain controller let one of the accounts through just then.
    pub accepted: bool,
}

impl MismatchSession {
    pub fn new(
        context: &Context<'_>,
        host: Symbol,
        runs: &[&Run],
        traces: Vec<(Symbol, EventTime, Trace)>,
        accepted: bool,
    ) -> MismatchSession {
        let lines = merged(context, runs.iter().flat_map(|run| run.lines.as_slice()));
        MismatchSession { host, lines, traces, accepted }
    }

    fn mismatches(&self) -> u64 {
        self.lines.iter().map(|line| u64::from(line.count)).sum()
    }

    /// Failures that the refusal may have left: not those whose code tells
    /// another reason, unless there are no others.
    fn refusals(&self) -> Vec<&(Symbol, EventTime, Trace)> {
        let unexplained = |trace: &Trace| {
            let category = trace.status.map(StatusCode::category);
            matches!(category, None | Some(Category::Refused | Category::Other))
        };
        let failures = || self.traces.iter().filter(|(_, _, t)| t.origin == TraceOrigin::Failure);
        let refusals: Vec<_> = failures().filter(|(_, _, trace)| unexplained(trace)).collect();
        if refusals.is_empty() { failures().collect() } else { refusals }
    }

    /// The verdict, given the hosts that are suspected to be clones by now.
    pub fn judge(&self, context: &Context<'_>, suspects: &Suspects) -> Judged {
        let fleet = context.fleet;
        let (first, last) = span(&self.lines).unwrap_or_default();
        let at = fleet.host(self.host);
        let machine_sid = at.and_then(|at| fleet.sid_at(at, first));
        let name = |at: usize| context.names.text(fleet.hosts[at].name).to_owned();
        let twins: Vec<String> = match (at, machine_sid) {
            (Some(at), Some(sid)) => fleet.twins_at(at, sid, first).into_iter().map(name).collect(),
            _ => Vec::new(),
        };
        let refusals = self.refusals();
        let mut others: BTreeMap<(Option<usize>, Symbol, Address), u64> = BTreeMap::new();
        let mut own_peer = false;
        for (_, time, trace) in &refusals {
            let (host, ip) = (trace.peer_host, trace.peer_ip);
            let address = context.addresses.get(ip);
            if host.is_none() && address.is_none() {
                continue;
            }
            let peer = context.peer(host, ip, *time, at);
            let local = address.is_some_and(|ip| ip.is_loopback())
                || context.names.text(host).eq_ignore_ascii_case("localhost");
            let same_name = peer.is_none()
                && !host.is_none()
                && short_host(context.names.text(host))
                    .eq_ignore_ascii_case(short_host(context.names.text(self.host)));
            if local || same_name || peer.is_some() && peer == at {
                own_peer = true;
            } else {
                let key = match peer {
                    Some(_) => (peer, Symbol::NONE, Address::NONE),
                    None => (None, host, ip),
                };
                *others.entry(key).or_default() += 1;
            }
        }
        let suspected =
            |at: Option<usize>| at.and_then(|at| suspects.get(&fleet.hosts[at].name)).copied();
        let mut of_suspects: Option<DomainSid> = suspected(at).filter(|_| machine_sid.is_none());
        let mut unknown: Vec<Symbol> = Vec::new();
        if let Some(at) = at.filter(|_| machine_sid.is_none()) {
            unknown.push(fleet.hosts[at].name);
        }
        for (peer, _, _) in others.keys() {
            if let Some(peer) = peer.filter(|peer| fleet.sid_at(*peer, first).is_none()) {
                unknown.push(fleet.hosts[peer].name);
                of_suspects = of_suspects.into_iter().chain(suspected(Some(peer))).min();
            }
        }
        let mut others: Vec<(u64, Other)> = others
            .into_iter()
            .map(|((peer, host, ip), count)| {
                let machine_sid = peer.and_then(|peer| fleet.sid_at(peer, first));
                let has_twins = peer
                    .zip(machine_sid)
                    .is_some_and(|(peer, sid)| !fleet.twins_at(peer, sid, first).is_empty());
                let name = match peer {
                    Some(peer) => name(peer),
                    None => context.peer_text(host, ip).unwrap_or_default(),
                };
                (count, Other { name, machine_sid, has_twins })
            })
            .collect();
        others.sort_by(|(a, one), (b, other)| {
            (Reverse(a), &one.name).cmp(&(Reverse(b), &other.name))
        });
        others.truncate(OTHERS_MAX);
        let known_at = at.map(|at| &fleet.hosts[at].facts);
        let case = Case {
            target: context.names.text(self.host),
            machine_sid,
            first,
            last,
            mismatches: self.mismatches(),
            others: others.into_iter().map(|(_, other)| other).collect(),
            own_peer,
            accounts: accounts_beside(context, &self.traces).len(),
            failures: refusals.len(),
            last_boot: known_at.and_then(|facts| facts.boots.range(..=first).next_back().copied()),
            controller_said_yes: self.accepted,
            suspected_twins: of_suspects
                .and_then(|sid| fleet.groups.get(&sid))
                .into_iter()
                .flat_map(|group| group.twins.iter().map(|at| name(*at)))
                .collect(),
            twins,
        };
        let own = machine_sid.filter(|_| !case.twins.is_empty());
        let refused = || {
            let others = case.others.iter().filter(|other| other.has_twins);
            others.filter_map(|other| other.machine_sid).next()
        };
        let others = || refused().or(of_suspects).filter(|_| machine_sid.is_none());
        let verdict = verdict::judge(&case);
        let group = own.or_else(others).filter(|_| verdict.class == Class::ClonedImage);
        Judged { verdict, group, suspects: unknown }
    }
}

/// The incident of a session of mismatches on a host without known twins, or
/// of which twins are not the cause.
pub fn of_mismatches(
    context: &Context<'_>,
    session: &MismatchSession,
    verdict: Verdict,
) -> Incident {
    let MismatchSession { host, lines, traces, .. } = session;
    let (first, last) = span(lines).unwrap_or_default();
    let target = context.names.text(*host);
    let refusals = session.refusals();
    let beside = context.fleet.host(*host);
    let peers = trace_peers(context, refusals.iter().copied());
    let own = |peer: &PeerCount| {
        let name = peer.host.as_deref().unwrap_or_default();
        short_host(name).eq_ignore_ascii_case(short_host(target))
    };
    let peer = peers.iter().find(|peer| !own(peer)).map(|peer| match (&peer.host, peer.ip) {
        (Some(host), Some(ip)) => format!("{host} at {ip}"),
        (Some(host), None) => host.clone(),
        (None, Some(ip)) => ip.to_string(),
        (None, None) => "another machine".to_owned(),
    });
    let key = context.key_text(SourceKey::Host(*host));
    let event_id = lines.first().map_or(0, |line| context.patterns.get(line.pattern).event_id);
    let failures = traces.iter().filter(|(_, _, t)| t.origin == TraceOrigin::Failure).count();
    let (counts, statuses) =
        counts_beside(context, lines, traces, session.mismatches(), failures as u64);
    let mut actions = mismatch_actions(&verdict, peer.as_deref());
    if beside.is_some_and(|at| context.fleet.sid_at(at, first).is_none()) {
        actions.push(format!(
            "The machine SID of {target} is not known: forward its events of local accounts \
             (Security 4624, 4720, 4798), or name it in an inventory."
        ));
    }
    Incident {
        id: session_id(context, Kind::MachineIdMismatch, &key, lines),
        kind: Kind::MachineIdMismatch,
        state: State::Closed,
        revision: 1,
        severity: mismatch_severity(verdict.class, verdict.confidence),
        source_sid: None,
        source_key: key,
        title: mismatch_title(target, (peer.as_deref(), peers.iter().any(own)), event_id, &verdict),
        first_seen: first,
        last_seen: last,
        hosts: hosts(context, lines, Some(&refusals)),
        accounts: accounts_beside(context, traces),
        peers,
        counts,
        evidence: evidence(context, SourceKey::Host(*host), lines),
        actions,
        references: MISMATCH_REFERENCES.map(str::to_owned).to_vec(),
        statuses,
        verdict,
        supersedes: Vec::new(),
        traceparent: None,
    }
}

fn sid_of(source: SourceKey) -> Option<crate::sid::Sid> {
    match source {
        SourceKey::Sid(sid) => Some(sid.sid()),
        SourceKey::Account { .. } | SourceKey::Bare { .. } | SourceKey::Host(_) => None,
    }
}

/// Lines of all runs, equal ones joined, in an order that does not depend on
/// arrival.
pub fn merged<'l>(context: &Context<'_>, lines: impl Iterator<Item = &'l Line>) -> Vec<Line> {
    let order = context.order();
    // A computer that wrote its name in two ways is one.
    let spelled = |line: &Line| Line { computer: context.fleet.spelling(line.computer), ..*line };
    let mut sorted: Vec<Line> = lines.map(spelled).collect();
    sorted.sort_by(|one, other| compare_lines(one, other, context.patterns, &order));
    let mut merged: Vec<Line> = Vec::new();
    for line in sorted {
        match merged.last_mut() {
            Some(known) if known.same(&line) => known.absorb(&line),
            _ => merged.push(line),
        }
    }
    merged
}

pub fn span(lines: &[Line]) -> Option<(EventTime, EventTime)> {
    let first = lines.iter().map(|line| line.first).min()?;
    let last = lines.iter().map(|line| line.last).max()?;
    Some((first, last))
}

/// The session's first record decides the id.
fn session_id(context: &Context<'_>, kind: Kind, key: &str, lines: &[Line]) -> IncidentId {
    let upper = |symbol| context.names.text(symbol).to_uppercase();
    let first = lines
        .iter()
        .map(|line| {
            let pattern = context.patterns.get(line.pattern);
            (line.first, line.record_id, upper(line.computer), upper(pattern.channel))
        })
        .min();
    let Some((time, record_id, computer, channel)) = first else {
        return IncidentId::of(kind, &[key]);
    };
    let parts = [key, &time.to_string(), &record_id.to_string(), &computer, &channel];
    IncidentId::of(kind, &parts)
}

fn dominant(context: &Context<'_>, lines: &[Line]) -> Category {
    let mut counts: BTreeMap<Category, u64> = BTreeMap::new();
    for line in lines {
        let category = category_of(context.patterns.get(line.pattern));
        *counts.entry(category).or_default() += u64::from(line.count);
    }
    let most = counts.into_iter().max_by_key(|(category, count)| (*count, Reverse(*category)));
    most.map_or(Category::Other, |(category, _)| category)
}

fn statuses(context: &Context<'_>, lines: &[Line]) -> Vec<StatusCount> {
    let mut counts: BTreeMap<StatusCode, u64> = BTreeMap::new();
    for line in lines {
        let pattern = context.patterns.get(line.pattern);
        if let Some(code) = deciding_status(pattern.status, pattern.sub_status) {
            *counts.entry(code).or_default() += u64::from(line.count);
        }
    }
    status_counts(counts)
}

fn trace_statuses(traces: &[(Symbol, EventTime, Trace)]) -> Vec<StatusCount> {
    let mut counts: BTreeMap<StatusCode, u64> = BTreeMap::new();
    for code in traces.iter().filter_map(|(_, _, trace)| trace.status) {
        *counts.entry(code).or_default() += 1;
    }
    status_counts(counts)
}

fn status_counts(counts: BTreeMap<StatusCode, u64>) -> Vec<StatusCount> {
    let mut statuses: Vec<StatusCount> = counts
        .into_iter()
        .map(|(code, count)| match codes::lookup(code) {
            Some(info) => StatusCount { code, name: info.name, text: info.text, count },
            None => StatusCount {
                code,
                name: "unknown",
                text: "No meaning is known for this code.",
                count,
            },
        })
        .collect();
    statuses.sort_by_key(|status| (Reverse(status.count), status.code));
    statuses.truncate(STATUSES_MAX);
    statuses
}

fn counts(context: &Context<'_>, lines: &[Line], mismatches: u64, failures: u64) -> Counts {
    let mut by_event: BTreeMap<String, u64> = BTreeMap::new();
    let mut by_status: BTreeMap<String, u64> = BTreeMap::new();
    for line in lines {
        let pattern = context.patterns.get(line.pattern);
        let event = format!("{}/{}", context.names.text(pattern.provider), pattern.event_id);
        *by_event.entry(event).or_default() += u64::from(line.count);
        if let Some(code) = deciding_status(pattern.status, pattern.sub_status) {
            *by_status.entry(code.to_string()).or_default() += u64::from(line.count);
        }
    }
    Counts {
        mismatches,
        failures,
        by_event: by_event.into_iter().collect(),
        by_status: by_status.into_iter().collect(),
    }
}

/// How often, and with what statuses: of mismatches, those of the failures beside
/// them.
pub fn counts_beside(
    context: &Context<'_>,
    lines: &[Line],
    traces: &[(Symbol, EventTime, Trace)],
    mismatches: u64,
    failures: u64,
) -> (Counts, Vec<StatusCount>) {
    let statuses = trace_statuses(traces);
    let by_status = statuses.iter().map(|status| (status.code.to_string(), status.count));
    let counts = counts(context, lines, mismatches, failures);
    (Counts { by_status: by_status.collect(), ..counts }, statuses)
}

fn peer_count(lines: &[Line]) -> usize {
    let peers: BTreeSet<_> = lines.iter().map(|line| (line.peer_host, line.peer_ip)).collect();
    peers.into_iter().filter(|(host, ip)| !host.is_none() || *ip != Address::NONE).count()
}

fn peers(
    context: &Context<'_>,
    found: impl Iterator<Item = (Symbol, Address, u64)>,
) -> Vec<PeerCount> {
    let mut counts: BTreeMap<(Symbol, Address), u64> = BTreeMap::new();
    for (host, ip, count) in found {
        if !host.is_none() || ip != Address::NONE {
            *counts.entry((host, ip)).or_default() += count;
        }
    }
    let mut peers: Vec<PeerCount> = counts
        .into_iter()
        .map(|((host, ip), count)| PeerCount {
            host: context.names.text_opt(host).map(str::to_owned),
            ip: context.addresses.get(ip),
            count,
        })
        .collect();
    peers.sort_by(|a, b| (Reverse(a.count), &a.host, a.ip).cmp(&(Reverse(b.count), &b.host, b.ip)));
    peers.truncate(PEERS_MAX);
    peers
}

pub fn trace_peers<'t>(
    context: &Context<'_>,
    traces: impl Iterator<Item = &'t (Symbol, EventTime, Trace)>,
) -> Vec<PeerCount> {
    peers(
        context,
        traces.map(|(computer, time, trace)| {
            let beside = context.fleet.host(*computer);
            (context.peer_name(trace.peer_host, trace.peer_ip, *time, beside), trace.peer_ip, 1)
        }),
    )
}

pub fn accounts_beside(
    context: &Context<'_>,
    traces: &[(Symbol, EventTime, Trace)],
) -> Vec<AccountCount> {
    let mut counts: BTreeMap<SourceKey, u64> = BTreeMap::new();
    for (_, time, trace) in traces {
        let source = context.resolve(trace.source, *time);
        if !matches!(source, SourceKey::Host(_)) {
            *counts.entry(source).or_default() += 1;
        }
    }
    let mut accounts: Vec<AccountCount> = counts
        .into_iter()
        .map(|(source, count)| {
            let (domain, name) = context.label(source);
            AccountCount {
                sid: sid_of(source),
                name: name.map(str::to_owned),
                domain: domain.map(str::to_owned),
                count,
            }
        })
        .collect();
    accounts.sort_by(|a, b| {
        (Reverse(a.count), a.sid, &a.domain, &a.name).cmp(&(
            Reverse(b.count),
            b.sid,
            &b.domain,
            &b.name,
        ))
    });
    accounts.truncate(ACCOUNTS_MAX);
    accounts
}

/// `DOMAIN\name`, or the name alone.
fn account_text(account: &AccountCount) -> Option<String> {
    let name = account.name.as_deref()?;
    Some(match &account.domain {
        Some(domain) => format!("{domain}\\{name}"),
        None => name.to_owned(),
    })
}

/// The names under which a source was refused. One SID may have several: the
/// machines of one image lend it to different people.
fn accounts_of(
    context: &Context<'_>,
    source: SourceKey,
    runs: &[(SourceKey, &Run)],
) -> Vec<AccountCount> {
    let mut counts: BTreeMap<(Option<&str>, Option<&str>), u64> = BTreeMap::new();
    for (key, run) in runs {
        if !matches!(key, SourceKey::Host(_)) {
            *counts.entry(context.observed(*key, source)).or_default() += run.count();
        }
    }
    let mut accounts: Vec<AccountCount> = counts
        .into_iter()
        .map(|((domain, name), count)| AccountCount {
            sid: sid_of(source),
            name: name.map(str::to_owned),
            domain: domain.map(str::to_owned),
            count,
        })
        .collect();
    accounts.sort_by_key(|account| Reverse(account.count));
    accounts.truncate(ACCOUNTS_MAX);
    accounts
}

/// The computers that wrote the events, then those they are about.
fn hosts(
    context: &Context<'_>,
    lines: &[Line],
    traces: Option<&[&(Symbol, EventTime, Trace)]>,
) -> Vec<Host> {
    let mut found: BTreeMap<(HostStatus, Symbol), (EventTime, EventTime)> = BTreeMap::new();
    let mut note = |status, host: Symbol, first, last| {
        if !host.is_none() && host != Symbol::BEYOND {
            let span = found.entry((status, host)).or_insert((first, last));
            *span = (span.0.min(first), span.1.max(last));
        }
    };
    for line in lines {
        let beside = context.fleet.host(line.computer);
        note(HostStatus::Target, line.computer, line.first, line.last);
        let peer = context.peer_name(line.peer_host, line.peer_ip, line.first, beside);
        note(HostStatus::Peer, peer, line.first, line.last);
    }
    for (computer, time, trace) in traces.into_iter().flatten() {
        let beside = context.fleet.host(*computer);
        let peer = context.peer_name(trace.peer_host, trace.peer_ip, *time, beside);
        note(HostStatus::Peer, peer, *time, *time);
    }
    let hosts = found
        .into_iter()
        .map(|((status, host), span)| incident_host(context, host, status, span))
        .collect();
    in_order(hosts, HOSTS_MAX)
}

pub fn incident_host(
    context: &Context<'_>,
    name: Symbol,
    status: HostStatus,
    (first_seen, last_seen): (EventTime, EventTime),
) -> Host {
    let at = context.fleet.host(name);
    let host = at.map(|at| &context.fleet.hosts[at]);
    Host {
        name: context.names.text(name).to_owned(),
        machine_sid: at.and_then(|at| context.fleet.sid_at(at, last_seen)),
        role: context.role(name),
        build: host.and_then(|host| host.build()),
        exposure: host.map_or(Exposure::Unknown, |host| host.exposure()),
        first_seen,
        last_seen,
        status,
    }
}

pub fn in_order(mut hosts: Vec<Host>, count_max: usize) -> Vec<Host> {
    hosts.sort_by(|a, b| (a.status, a.first_seen, &a.name).cmp(&(b.status, b.first_seen, &b.name)));
    hosts.truncate(count_max);
    hosts
}

/// The first record of each line, the earliest lines first.
pub fn evidence(context: &Context<'_>, source: SourceKey, lines: &[Line]) -> Vec<Evidence> {
    let mut sorted: Vec<&Line> = lines.iter().collect();
    sorted.sort_by_key(|line| (line.first, line.record_id));
    sorted.truncate(EVIDENCE_MAX);
    sorted
        .into_iter()
        .map(|line| {
            let pattern = context.patterns.get(line.pattern);
            Evidence {
                computer: context.names.text(line.computer).to_owned(),
                channel: context.names.text(pattern.channel).to_owned(),
                provider: context.names.text(pattern.provider).to_owned(),
                event_id: pattern.event_id,
                record_id: line.record_id,
                time: line.first,
                what: line_text(context, source, line, pattern),
            }
        })
        .collect()
}

/// What a line shows: `wrong password for CORP\bob from WS07, network logon
/// (12 times)`.
fn line_text(context: &Context<'_>, source: SourceKey, line: &Line, pattern: &Pattern) -> String {
    let code = deciding_status(pattern.status, pattern.sub_status);
    let mut text = match (code.and_then(codes::lookup), code) {
        (Some(info), Some(code)) => format!("{} {code}", info.name),
        (None, Some(code)) => format!("status {code}"),
        _ if pattern.category.is_some() => category_words(category_of(pattern)).to_owned(),
        _ => "machine-id mismatch".to_owned(),
    };
    if !matches!(source, SourceKey::Host(_)) {
        text.push_str(&format!(" for {}", context.called(source)));
    }
    if let Some(peer) = context.peer_text(line.peer_host, line.peer_ip) {
        let towards = if pattern.side == Side::Client { "to" } else { "from" };
        text.push_str(&format!(" {towards} {peer}"));
    }
    if let Some(service) = context.names.text_opt(line.service) {
        text.push_str(&format!(", service {service}"));
    }
    if let Some(logon) = pattern.logon_type.and_then(codes::logon_type) {
        text.push_str(&format!(", {logon}"));
    }
    if line.count > 1 {
        text.push_str(&format!(" ({} times)", line.count));
    }
    text
}

/// A category as the middle of a sentence.
pub fn category_words(category: Category) -> &'static str {
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

fn failures_title(
    context: &Context<'_>,
    source: SourceKey,
    accounts: &[AccountCount],
    category: Category,
    lines: &[Line],
    failures: u64,
) -> String {
    let times = if failures == 1 { "once".to_owned() } else { format!("{failures} times") };
    let hosts: BTreeSet<String> = lines
        .iter()
        .map(|line| line.computer)
        .filter(|host| *host != Symbol::BEYOND)
        .map(|host| context.names.text(host).to_owned())
        .collect();
    let place = listed(&hosts.into_iter().collect::<Vec<_>>());
    let what = category_words(category);
    match source {
        SourceKey::Host(host) => {
            format!("Authentication failed {times} on {}: {what}", context.names.text(host))
        }
        SourceKey::Sid(_) | SourceKey::Account { .. } | SourceKey::Bare { .. } => {
            let who = accounts.first().and_then(account_text);
            let who = who.unwrap_or_else(|| context.called(source));
            format!("{who} was refused {times} on {place}: {what}")
        }
    }
}

fn mismatch_title(
    target: &str,
    (peer, itself): (Option<&str>, bool),
    event_id: u32,
    verdict: &Verdict,
) -> String {
    let whom = match peer {
        Some(peer) => format!("{target} refuses {peer}"),
        None if itself => format!("{target} refuses itself"),
        None => format!("{target} refuses logons"),
    };
    let why = match verdict.class {
        Class::ClonedImage => "they look like clones of one image",
        Class::StaleBootSession => "the ticket is from before the last start",
        Class::StaleOrManipulatedTicket => "a stale or manipulated ticket",
        Class::Undetermined | Class::Failure(_) => "cause not yet known",
    };
    format!("{whom} because of a machine-id mismatch (LsaSrv {event_id}): {why}")
}

fn category_reason(
    context: &Context<'_>,
    category: Category,
    lines: &[Line],
    failures: u64,
) -> String {
    let of_category: u64 = lines
        .iter()
        .filter(|line| category_of(context.patterns.get(line.pattern)) == category)
        .map(|line| u64::from(line.count))
        .sum();
    let what = category_words(category);
    if failures == 1 {
        format!("The code of the failure says: {what}.")
    } else if of_category == failures {
        format!("The codes of all {failures} failures say: {what}.")
    } else {
        format!("The codes of {of_category} of {failures} failures say: {what}.")
    }
}

/// How surely the codes alone tell what is wrong.
fn confidence(category: Category) -> Confidence {
    match category {
        Category::Refused | Category::Other => Confidence::Low,
        Category::SpnOrKey | Category::TrustBroken | Category::AccountDisabled => {
            Confidence::Medium
        }
        Category::BadPassword
        | Category::UnknownAccount
        | Category::AccountLocked
        | Category::AccountExpired
        | Category::PasswordExpired
        | Category::AccountRestriction
        | Category::LogonRight
        | Category::ClockSkew
        | Category::EncryptionType
        | Category::NtlmBlocked
        | Category::ChannelBinding
        | Category::NoLogonServers => Confidence::High,
    }
}

/// What a category is worth by itself, raised by numbers that a forgetful
/// person does not reach.
fn severity(category: Category, failures: u64, peers: usize) -> Severity {
    let by_itself = match category {
        Category::TrustBroken | Category::SpnOrKey => Severity::Medium,
        Category::AccountLocked | Category::ClockSkew | Category::NoLogonServers => {
            Severity::Medium
        }
        Category::BadPassword
        | Category::UnknownAccount
        | Category::AccountExpired
        | Category::PasswordExpired
        | Category::AccountDisabled
        | Category::AccountRestriction
        | Category::LogonRight
        | Category::EncryptionType
        | Category::NtlmBlocked
        | Category::ChannelBinding
        | Category::Refused
        | Category::Other => Severity::Low,
    };
    let by_number = if failures >= FAILURES_HIGH || (failures >= FAILURES_MEDIUM && peers >= 10) {
        Severity::High
    } else if failures >= FAILURES_MEDIUM {
        Severity::Medium
    } else {
        Severity::Low
    };
    by_itself.max(by_number)
}

fn mismatch_severity(class: Class, confidence: Confidence) -> Severity {
    match (class, confidence) {
        (Class::ClonedImage, Confidence::High) | (Class::StaleOrManipulatedTicket, _) => {
            Severity::High
        }
        (Class::StaleBootSession, _) => Severity::Low,
        (Class::ClonedImage | Class::Undetermined | Class::Failure(_), _) => Severity::Medium,
    }
}

fn actions_for(category: Category, statuses: &[StatusCount]) -> Vec<String> {
    let mut actions: Vec<String> = Vec::new();
    let by_code = |status: &StatusCount| status.code.category() == category;
    if !statuses.iter().any(by_code) {
        // The event itself says more than its code.
        actions.push(default_action(category).to_owned());
    }
    for info in statuses.iter().filter_map(|status| codes::lookup(status.code)) {
        if !actions.iter().any(|action| action == info.action) {
            actions.push(info.action.to_owned());
        }
    }
    actions
}

/// For events that carry no code.
fn default_action(category: Category) -> &'static str {
    match category {
        Category::TrustBroken => {
            "Check the secure channel of the computer with Test-ComputerSecureChannel, and repair \
             it with -Repair; two clones that share one computer account break each other's."
        }
        Category::NtlmBlocked => {
            "Find out why Kerberos was not used (address instead of name, missing SPN), or add an \
             exception to the policy that blocks NTLM."
        }
        Category::NoLogonServers => {
            "Check name resolution and the network path from this computer to a domain controller."
        }
        Category::SpnOrKey => {
            "Look for duplicate service principal names with setspn -X, and for a service account \
             whose password was changed elsewhere."
        }
        Category::EncryptionType => {
            "Compare the encryption types that account, service and domain controller allow."
        }
        Category::BadPassword
        | Category::UnknownAccount
        | Category::AccountLocked
        | Category::AccountExpired
        | Category::PasswordExpired
        | Category::AccountDisabled
        | Category::AccountRestriction
        | Category::LogonRight
        | Category::ClockSkew
        | Category::ChannelBinding
        | Category::Refused
        | Category::Other => {
            "Open the records listed as evidence on the named computers and look at what happened \
             around them."
        }
    }
}

fn mismatch_actions(verdict: &Verdict, peer: Option<&str>) -> Vec<String> {
    let compare = match peer {
        Some(peer) => format!(
            "Compare the machine SIDs of this host and of {peer} (PsGetSid, or the prefix of any \
             local account's SID)."
        ),
        None => "Find out which machine was refused: give twinsid the Security logs of this host \
                 and of the domain controllers as well."
            .to_owned(),
    };
    let rebuild = "If the machine SIDs are equal, rebuild one of the two from an image generalised \
                   with Sysprep. Leaving the domain and running Sysprep on a machine in use is not \
                   enough; the workaround that Microsoft hands out ends at the end of 2027.";
    match verdict.class {
        Class::StaleBootSession => {
            vec![
                "Let the client log on again; nothing else is needed unless it goes on.".to_owned(),
            ]
        }
        Class::StaleOrManipulatedTicket => vec![
            "Look for a program on this host that authenticates to the host itself with forged or \
             replayed tickets; a restart while a ticket was in use is the harmless cause."
                .to_owned(),
            "If it comes back without restarts, treat it as an attempt to raise privileges."
                .to_owned(),
        ],
        Class::ClonedImage | Class::Undetermined | Class::Failure(_) => {
            vec![compare, rebuild.to_owned()]
        }
    }
}

/// Microsoft's page of each Security event among the lines.
fn references(lines: &[Line], context: &Context<'_>) -> Vec<String> {
    let documented = [4625, 4768, 4769, 4771, 4776];
    let ids: BTreeSet<u32> = lines
        .iter()
        .map(|line| context.patterns.get(line.pattern).event_id)
        .filter(|id| documented.contains(id))
        .collect();
    ids.into_iter()
        .map(|id| {
            format!(
                "https://learn.microsoft.com/previous-versions/windows/it-pro/windows-10/security/\
                 threat-protection/auditing/event-{id}"
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::state::directory::AccountSid;

    #[test]
    fn long_lists_say_how_many_more_there_are() {
        let names = |count: usize| (1..=count).map(|n| format!("PC{n}")).collect::<Vec<_>>();
        assert_eq!(listed(&names(2)), "PC1, PC2");
        assert_eq!(listed(&names(5)), "PC1, PC2, PC3 and 2 more");
        assert_eq!(listed(&[]), "");
    }

    #[test]
    fn numbers_raise_the_severity() {
        assert_eq!(severity(Category::BadPassword, 5, 1), Severity::Low);
        assert_eq!(severity(Category::BadPassword, 20, 1), Severity::Medium);
        assert_eq!(severity(Category::BadPassword, 20, 10), Severity::High);
        assert_eq!(severity(Category::ClockSkew, 1, 1), Severity::Medium);
    }

    #[test]
    fn account_sids_keep_their_text() {
        let sid = crate::sid::Sid::parse("S-1-12-1-1-2-3-4").expect("valid");
        assert_eq!(AccountSid::new(&sid).map(AccountSid::sid), Some(sid));
    }
}

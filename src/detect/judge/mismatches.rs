//! A session of mismatches of one host: its verdict, and its finding where no
//! twins explain it.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::context::Context;
use super::details::{
    accounts_beside, counts_beside, evidence, hosts, merged, session_id, span, trace_peers,
};
use super::verdict::{self, Case, Judgement, Other};
use crate::detect::findings::{Finding, Reason, RefusedPeer, Subject};
use crate::detect::state::names::{Address, Symbol};
use crate::detect::state::pairing::{TraceAt, TraceOrigin};
use crate::detect::state::sessions::{Line, Run, SourceKey};
use crate::incident::{Class, Confidence, Kind, PeerCount, Severity, State};
use crate::observation::{Peer, short_host};
use crate::sid::DomainSid;
use crate::status::{Category, StatusCode};
use crate::time::EventTime;

/// Machines that were refused which a verdict takes into account, those refused
/// most often.
const OTHERS_MAX: usize = 16;

/// Hosts without a known machine SID, and the machine SID of the twins that they
/// refused or were refused by.
pub type Suspects = BTreeMap<Symbol, DomainSid>;

/// The verdict on a session of mismatches.
#[derive(Debug)]
pub struct JudgedSession {
    pub judgement: Judgement,
    /// The machine SID of the twins that explain it: the target's, or where
    /// that is not known, that of a twin it refused.
    pub group: Option<DomainSid>,
    /// Who had a part in it without a known machine SID.
    pub suspects: Vec<Symbol>,
}

/// Mismatches of one host without a gap, and what is paired with them.
#[derive(Clone, Debug)]
pub struct MismatchSession {
    pub host: Symbol,
    pub lines: Vec<Line>,
    pub traces: Vec<TraceAt>,
    /// Whether a domain controller accepted one of the accounts just then.
    pub accepted: bool,
}

/// The machines that a host refused.
#[derive(Debug, Default)]
struct Peers {
    /// How often each was refused: a known host by its index, else what the
    /// events say.
    others: BTreeMap<(Option<usize>, Symbol, Address), u64>,
    /// Whether the host refused itself.
    is_own: bool,
}

impl MismatchSession {
    pub fn new(
        context: &Context<'_>,
        host: Symbol,
        runs: &[&Run],
        traces: Vec<TraceAt>,
        accepted: bool,
    ) -> MismatchSession {
        let lines = merged(context, runs.iter().flat_map(|run| run.lines.as_slice()));
        MismatchSession { host, lines, traces, accepted }
    }

    pub fn mismatches(&self) -> u64 {
        self.lines.iter().map(|line| u64::from(line.count)).sum()
    }

    pub fn failures(&self) -> u64 {
        self.traces.iter().filter(|(_, _, trace)| trace.origin == TraceOrigin::Failure).count()
            as u64
    }

    /// Failures that the refusal may have left: not those whose code says
    /// another reason, unless there are no others.
    fn refusals(&self) -> Vec<&TraceAt> {
        let is_unexplained = |category: Option<Category>| {
            matches!(category, None | Some(Category::Refused | Category::Other))
        };
        let failures = || self.traces.iter().filter(|(_, _, t)| t.origin == TraceOrigin::Failure);
        let refusals: Vec<_> = failures()
            .filter(|(_, _, trace)| is_unexplained(trace.status.map(StatusCode::category)))
            .collect();
        if refusals.is_empty() { failures().collect() } else { refusals }
    }

    /// The verdict, given the hosts that are suspected to be twins by now.
    pub fn judge(&self, context: &Context<'_>, suspects: &Suspects) -> JudgedSession {
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
        let peers = self.peers(context, &refusals);
        let (unknown, of_suspects) = unknown_parts(context, suspects, at, &peers, first);
        let known_at = at.map(|at| &fleet.hosts[at].facts);
        let case = Case {
            target: context.names.text(self.host),
            machine_sid,
            first,
            last,
            mismatches: self.mismatches(),
            others: others(context, &peers, first),
            own_peer: peers.is_own,
            accounts: accounts_beside(context, &self.traces).len(),
            failures: refusals.len(),
            last_boot: known_at.and_then(|facts| facts.boots.range(..=first).next_back().copied()),
            is_accepted: self.accepted,
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
        let judgement = verdict::judge(&case);
        let group = own.or_else(others).filter(|_| judgement.class == Class::ClonedImage);
        JudgedSession { judgement, group, suspects: unknown }
    }

    /// The machines that were refused, by the failures that the refusals left.
    fn peers(&self, context: &Context<'_>, refusals: &[&TraceAt]) -> Peers {
        let at = context.fleet.host(self.host);
        let mut peers = Peers::default();
        for (_, time, trace) in refusals {
            let (host, ip) = (trace.peer_host, trace.peer_ip);
            let address = context.addresses.get(ip);
            if host.is_none() && address.is_none() {
                continue;
            }
            let peer = context.peer(host, ip, *time, at);
            let is_local = address.is_some_and(|ip| ip.is_loopback())
                || context.names.text(host).eq_ignore_ascii_case("localhost");
            let has_own_name = peer.is_none()
                && !host.is_none()
                && short_host(context.names.text(host))
                    .eq_ignore_ascii_case(short_host(context.names.text(self.host)));
            if is_local || has_own_name || peer.is_some() && peer == at {
                peers.is_own = true;
            } else {
                let key = match peer {
                    Some(_) => (peer, Symbol::NONE, Address::NONE),
                    None => (None, host, ip),
                };
                *peers.others.entry(key).or_default() += 1;
            }
        }
        peers
    }
}

/// The hosts with a part in it whose machine SID is not known, and the machine
/// SID of the twins that one of them is suspected to be of.
fn unknown_parts(
    context: &Context<'_>,
    suspects: &Suspects,
    target: Option<usize>,
    peers: &Peers,
    time: EventTime,
) -> (Vec<Symbol>, Option<DomainSid>) {
    let fleet = context.fleet;
    let peers = peers.others.keys().filter_map(|(peer, _, _)| *peer);
    let hosts = target.into_iter().chain(peers);
    let unknown: Vec<Symbol> = hosts
        .filter(|at| fleet.sid_at(*at, time).is_none())
        .map(|at| fleet.hosts[at].name)
        .collect();
    let suspected = unknown.iter().filter_map(|name| suspects.get(name)).min().copied();
    (unknown, suspected)
}

/// The machines that were refused, most often first, as a verdict needs them.
fn others(context: &Context<'_>, peers: &Peers, time: EventTime) -> Vec<Other> {
    let fleet = context.fleet;
    let mut others: Vec<(u64, Other)> = peers
        .others
        .iter()
        .map(|((peer, host, ip), count)| {
            let machine_sid = peer.and_then(|peer| fleet.sid_at(peer, time));
            let has_twins = peer
                .zip(machine_sid)
                .is_some_and(|(peer, sid)| !fleet.twins_at(peer, sid, time).is_empty());
            let name = match peer {
                Some(peer) => context.names.text(fleet.hosts[*peer].name).to_owned(),
                None => context.peer_text(*host, *ip).unwrap_or_default(),
            };
            (*count, Other { name, machine_sid, has_twins })
        })
        .collect();
    others.sort_by(|(a, one), (b, other)| (Reverse(a), &one.name).cmp(&(Reverse(b), &other.name)));
    others.truncate(OTHERS_MAX);
    others.into_iter().map(|(_, other)| other).collect()
}

/// The finding of a session of mismatches on a host without known twins, or of
/// which twins are not the cause.
pub fn of_session(
    context: &Context<'_>,
    session: &MismatchSession,
    judgement: Judgement,
) -> Finding {
    let MismatchSession { host, lines, traces, .. } = session;
    let (first, last) = span(lines).unwrap_or_default();
    let target = context.names.text(*host);
    let refusals = session.refusals();
    let peers = trace_peers(context, refusals.iter().copied());
    let key = context.key_text(SourceKey::Host(*host));
    let (counts, statuses) =
        counts_beside(context, lines, traces, session.mismatches(), session.failures());
    let Judgement { class, confidence, reasons } = judgement;
    let at = context.fleet.host(*host);
    let subject = Subject::Mismatches {
        target: target.to_owned(),
        refused: refused_peer(target, &peers),
        event_id: lines.first().map_or(0, |line| context.patterns.get(line.pattern).event_id),
        is_sid_missing: at.is_some_and(|at| context.fleet.sid_at(at, first).is_none()),
    };
    Finding {
        id: session_id(context, Kind::MachineIdMismatch, &key, lines),
        kind: Kind::MachineIdMismatch,
        state: State::Closed,
        revision: 1,
        severity: severity(class, confidence),
        source_sid: None,
        source_key: key,
        subject,
        class,
        confidence,
        reasons: reasons.into_iter().map(Reason::Mismatch).collect(),
        first_seen: first,
        last_seen: last,
        hosts: hosts(context, lines, Some(&refusals)),
        accounts: accounts_beside(context, traces),
        peers,
        counts,
        statuses,
        evidence: evidence(context, SourceKey::Host(*host), lines),
        supersedes: Vec::new(),
        traceparent: None,
    }
}

/// The first peer that is not the target itself.
fn refused_peer(target: &str, peers: &[PeerCount]) -> RefusedPeer {
    let is_own = |peer: &PeerCount| {
        let name = peer.host.as_deref().unwrap_or_default();
        short_host(name).eq_ignore_ascii_case(short_host(target))
    };
    match (peers.iter().find(|peer| !is_own(peer)), peers.is_empty()) {
        (Some(peer), _) => {
            RefusedPeer::Other(Peer { host: peer.host.as_deref().map(Into::into), ip: peer.ip })
        }
        (None, false) => RefusedPeer::Itself,
        (None, true) => RefusedPeer::Unknown,
    }
}

fn severity(class: Class, confidence: Confidence) -> Severity {
    match (class, confidence) {
        (Class::ClonedImage, Confidence::High) | (Class::StaleOrManipulatedTicket, _) => {
            Severity::High
        }
        (Class::StaleBootSession, _) => Severity::Low,
        (Class::ClonedImage | Class::Undetermined | Class::Failure(_), _) => Severity::Medium,
    }
}

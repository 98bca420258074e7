//! The lists of a finding: hosts, accounts, peers, counts, statuses, evidence.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::context::Context;
use crate::detect::findings::{CountedStatus, Exhibit, RefusalCause, Shows, Towards};
use crate::detect::state::names::{Address, Symbol};
use crate::detect::state::pairing::TraceAt;
use crate::detect::state::sessions::{Line, Pattern, Run, SourceKey, compare_lines};
use crate::incident::{
    AccountCount, Counts, Exposure, Host, HostStatus, IncidentId, Kind, PeerCount,
};
use crate::observation::Side;
use crate::sid::Sid;
use crate::status::StatusCode;
use crate::time::EventTime;

/// Most entries of each list of a finding; counts are always complete.
const HOSTS_MAX: usize = 64;
const ACCOUNTS_MAX: usize = 64;
const PEERS_MAX: usize = 64;
const STATUSES_MAX: usize = 32;
const EVIDENCE_MAX: usize = 20;

pub fn sid_of(source: SourceKey) -> Option<Sid> {
    match source {
        SourceKey::Sid(sid) => Some(sid.sid()),
        SourceKey::Account { .. }
        | SourceKey::Bare { .. }
        | SourceKey::Host(_)
        | SourceKey::Crowd(_)
        | SourceKey::PeerIp(_)
        | SourceKey::PeerHost(_) => None,
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

/// The id of a session, which its first record decides.
pub fn session_id(context: &Context<'_>, kind: Kind, key: &str, lines: &[Line]) -> IncidentId {
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

pub fn statuses(context: &Context<'_>, lines: &[Line]) -> Vec<CountedStatus> {
    let mut counts: BTreeMap<StatusCode, u64> = BTreeMap::new();
    for line in lines {
        let pattern = context.patterns.get(line.pattern);
        if let Some(code) = pattern.code() {
            *counts.entry(code).or_default() += u64::from(line.count);
        }
    }
    status_counts(counts)
}

fn trace_statuses(traces: &[TraceAt]) -> Vec<CountedStatus> {
    let mut counts: BTreeMap<StatusCode, u64> = BTreeMap::new();
    for code in traces.iter().filter_map(|(_, _, trace)| trace.status) {
        *counts.entry(code).or_default() += 1;
    }
    status_counts(counts)
}

fn status_counts(counts: BTreeMap<StatusCode, u64>) -> Vec<CountedStatus> {
    let counted = counts.into_iter().map(|(code, count)| CountedStatus { code, count });
    let mut statuses: Vec<CountedStatus> = counted.collect();
    statuses.sort_by_key(|status| (Reverse(status.count), status.code));
    statuses.truncate(STATUSES_MAX);
    statuses
}

pub fn counts(context: &Context<'_>, lines: &[Line], mismatches: u64, failures: u64) -> Counts {
    let mut by_event: BTreeMap<String, u64> = BTreeMap::new();
    let mut by_status: BTreeMap<String, u64> = BTreeMap::new();
    for line in lines {
        let pattern = context.patterns.get(line.pattern);
        let event = format!("{}/{}", context.names.text(pattern.provider), pattern.event_id);
        *by_event.entry(event).or_default() += u64::from(line.count);
        if let Some(code) = pattern.code() {
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

/// Counts of mismatches, and the statuses of the failures beside them.
pub fn counts_beside(
    context: &Context<'_>,
    lines: &[Line],
    traces: &[TraceAt],
    mismatches: u64,
    failures: u64,
) -> (Counts, Vec<CountedStatus>) {
    let statuses = trace_statuses(traces);
    let by_status = statuses.iter().map(|status| (status.code.to_string(), status.count));
    let counts = counts(context, lines, mismatches, failures);
    (Counts { by_status: by_status.collect(), ..counts }, statuses)
}

pub fn peer_count(lines: &[Line]) -> usize {
    let peers: BTreeSet<_> = lines.iter().map(|line| (line.peer_host, line.peer_ip)).collect();
    peers.into_iter().filter(|(host, ip)| !host.is_none() || *ip != Address::NONE).count()
}

pub fn peers(
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
    traces: impl Iterator<Item = &'t TraceAt>,
) -> Vec<PeerCount> {
    peers(
        context,
        traces.map(|(computer, time, trace)| {
            let beside = context.fleet.host(*computer);
            (context.peer_name(trace.peer_host, trace.peer_ip, *time, beside), trace.peer_ip, 1)
        }),
    )
}

pub fn accounts_beside(context: &Context<'_>, traces: &[TraceAt]) -> Vec<AccountCount> {
    let mut counts: BTreeMap<SourceKey, u64> = BTreeMap::new();
    for (_, time, trace) in traces {
        let source = context.resolve(trace.source, *time);
        if !matches!(source, SourceKey::Host(_) | SourceKey::Crowd(_)) {
            *counts.entry(source).or_default() += 1;
        }
    }
    account_counts(context, counts)
}

/// Accounts by how often each was refused, most often first.
pub fn account_counts(
    context: &Context<'_>,
    counts: BTreeMap<SourceKey, u64>,
) -> Vec<AccountCount> {
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

/// The names under which a source was refused. One SID may have several: machines
/// of one image give it to different people.
pub fn accounts_of(
    context: &Context<'_>,
    source: SourceKey,
    runs: &[(SourceKey, &Run)],
) -> Vec<AccountCount> {
    let mut counts: BTreeMap<(Option<&str>, Option<&str>), u64> = BTreeMap::new();
    for (key, run) in runs {
        if !matches!(key, SourceKey::Host(_) | SourceKey::Crowd(_)) {
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

/// The computers that logged the events, and their peers.
pub fn hosts(context: &Context<'_>, lines: &[Line], traces: Option<&[&TraceAt]>) -> Vec<Host> {
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
        .map(|((status, host), span)| finding_host(context, host, status, span))
        .collect();
    in_order(hosts, HOSTS_MAX)
}

pub fn finding_host(
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
pub fn evidence(context: &Context<'_>, source: SourceKey, lines: &[Line]) -> Vec<Exhibit> {
    let mut sorted: Vec<&Line> = lines.iter().collect();
    sorted.sort_by_key(|line| (line.first, line.record_id));
    sorted.truncate(EVIDENCE_MAX);
    sorted
        .into_iter()
        .map(|line| {
            let pattern = context.patterns.get(line.pattern);
            Exhibit {
                computer: context.names.text(line.computer).to_owned(),
                channel: context.names.text(pattern.channel).to_owned(),
                provider: context.names.text(pattern.provider).to_owned(),
                event_id: pattern.event_id,
                record_id: line.record_id,
                time: line.first,
                what: shown(context, source, line, pattern),
            }
        })
        .collect()
}

/// What a line shows.
fn shown(context: &Context<'_>, source: SourceKey, line: &Line, pattern: &Pattern) -> Shows {
    let cause = match (pattern.code(), pattern.category) {
        (Some(code), _) => RefusalCause::Code(code),
        (None, Some(category)) => RefusalCause::Category(category),
        (None, None) => RefusalCause::Mismatch,
    };
    let towards = match pattern.side {
        Side::Client => Towards::To,
        Side::Target | Side::Kdc => Towards::From,
    };
    Shows::Refusal {
        cause,
        account: match source {
            SourceKey::Host(_)
            | SourceKey::Crowd(_)
            | SourceKey::PeerIp(_)
            | SourceKey::PeerHost(_) => None,
            SourceKey::Sid(_) | SourceKey::Account { .. } | SourceKey::Bare { .. } => {
                Some(context.account_name(source))
            }
        },
        peer: context.peer_of(line.peer_host, line.peer_ip).map(|peer| (towards, peer)),
        service: context.names.text_opt(line.service).map(str::to_owned),
        logon_type: pattern.logon_type,
        count: line.count,
    }
}

//! A session of failures as a finding: who was refused where, how often, and
//! what the codes say.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::context::{Context, account_text};
use super::details::{
    account_counts, accounts_of, counts, evidence, hosts, merged, peer_count, peers, session_id,
    sid_of, span, statuses,
};
use crate::detect::findings::{AccountName, FailureSource, Finding, NameList, Reason, Subject};
use crate::detect::sprays::Spray;
use crate::detect::state::names::{Address, Symbol};
use crate::detect::state::sessions::{Line, Run, SourceKey};
use crate::incident::{AccountCount, Class, Confidence, Kind, Severity, State};
use crate::status::Category;

/// Failures of one session from which on the severity rises.
const FAILURES_MEDIUM: u64 = 20;
const FAILURES_HIGH: u64 = 200;

/// The finding of a session of failures; `None` when there are fewer than
/// `failures_min` and none is grave. `paired` says of a host whether it logged a
/// mismatch beside a failure of this session.
pub fn of_session(
    context: &Context<'_>,
    source: SourceKey,
    runs: &[(SourceKey, &Run)],
    failures_min: u64,
    paired: impl Fn(Symbol) -> bool,
) -> Option<Finding> {
    let failures: u64 = runs.iter().map(|(_, run)| run.count()).sum();
    let lines = || runs.iter().flat_map(|(_, run)| run.lines.as_slice());
    if failures < failures_min && !lines().any(|line| is_grave(context, line)) {
        return None;
    }
    let lines = merged(context, lines());
    let (first, last) = span(&lines)?;
    let category = dominant(context, &lines);
    let mut reasons = vec![Reason::Codes {
        category,
        of_category: of_category(context, category, &lines),
        failures,
    }];
    let beside = computers(context, &lines, paired);
    if !beside.is_empty() {
        reasons.push(Reason::BesideMismatch { hosts: NameList::new(beside.clone()) });
    }
    let key = context.key_text(source);
    let accounts = accounts_of(context, source, runs);
    Some(Finding {
        id: session_id(context, Kind::AuthenticationFailures, &key, &lines),
        kind: Kind::AuthenticationFailures,
        state: State::Closed,
        revision: 1,
        severity: severity(category, failures, peer_count(&lines)),
        source_sid: sid_of(source),
        source_key: key,
        subject: subject(context, source, &accounts, category, &lines),
        class: Class::Failure(category),
        confidence: if beside.is_empty() { confidence(category) } else { Confidence::Low },
        reasons,
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
        statuses: statuses(context, &lines),
        evidence: evidence(context, source, &lines),
        supersedes: Vec::new(),
        traceparent: None,
    })
}

/// The finding of a peer that tried many accounts.
pub fn of_spray(context: &Context<'_>, spray: &Spray) -> Finding {
    let mut counts_of: BTreeMap<SourceKey, u64> = BTreeMap::new();
    for (source, line) in &spray.lines {
        if !matches!(source, SourceKey::Host(_) | SourceKey::Crowd(_)) {
            *counts_of.entry(*source).or_default() += u64::from(line.count);
        }
    }
    let lines = merged(context, spray.lines.iter().map(|(_, line)| line));
    let failures: u64 = lines.iter().map(|line| u64::from(line.count)).sum();
    let category = dominant(context, &lines);
    let (key, tried) = (context.key_text(spray.peer), counts_of.len());
    let crowded = spray.lines.iter().any(|(source, _)| matches!(source, SourceKey::Crowd(_)));
    let (peer_host, peer_ip) = match spray.peer {
        SourceKey::PeerIp(ip) => {
            let named = lines.iter().map(|line| line.peer_host).filter(|host| !host.is_none());
            let host = named.min_by(|one, other| context.names.compare(*one, *other));
            (host.unwrap_or(Symbol::NONE), ip)
        }
        SourceKey::PeerHost(host) => (host, Address::NONE),
        _ => (Symbol::NONE, Address::NONE),
    };
    let event_ids = lines.iter().map(|line| context.patterns.get(line.pattern).event_id).collect();
    let whose = FailureSource::Peer {
        peer: context.peer_of(peer_host, peer_ip).unwrap_or_default(),
        accounts: tried,
        more: crowded,
        hosts: NameList::new(computers(context, &lines, |host| host != Symbol::BEYOND)),
    };
    Finding {
        id: session_id(context, Kind::AuthenticationFailures, &key, &lines),
        kind: Kind::AuthenticationFailures,
        state: State::Closed,
        revision: 1,
        severity: Severity::Medium,
        source_sid: None,
        source_key: key,
        subject: Subject::Failures { category, whose, event_ids },
        class: Class::Failure(category),
        confidence: Confidence::High,
        reasons: vec![
            Reason::Spray { accounts: tried, more: crowded, failures },
            Reason::Codes {
                category,
                of_category: of_category(context, category, &lines),
                failures,
            },
        ],
        first_seen: spray.first,
        last_seen: spray.last,
        hosts: hosts(context, &lines, None),
        accounts: account_counts(context, counts_of),
        peers: peers(
            context,
            lines.iter().map(|line| (line.peer_host, line.peer_ip, u64::from(line.count))),
        ),
        counts: counts(context, &lines, 0, failures),
        statuses: statuses(context, &lines),
        evidence: evidence(context, spray.peer, &lines),
        supersedes: Vec::new(),
        traceparent: None,
    }
}

/// Whether one failure of this kind is enough.
fn is_grave(context: &Context<'_>, line: &Line) -> bool {
    let pattern = context.patterns.get(line.pattern);
    let mut codes = [pattern.status, pattern.sub_status].into_iter().flatten();
    codes.any(|code| context.settings.grave_statuses.contains(&code))
        || context.settings.grave_categories.contains(&pattern.failure_category())
}

/// The names of the computers for which `wanted` holds, sorted.
fn computers(
    context: &Context<'_>,
    lines: &[Line],
    wanted: impl Fn(Symbol) -> bool,
) -> Vec<String> {
    let computers = lines.iter().map(|line| line.computer).filter(|host| wanted(*host));
    let names: BTreeSet<&str> = computers.map(|host| context.names.text(host)).collect();
    names.into_iter().map(str::to_owned).collect()
}

fn subject(
    context: &Context<'_>,
    source: SourceKey,
    accounts: &[AccountCount],
    category: Category,
    lines: &[Line],
) -> Subject {
    let whose = match source {
        SourceKey::Host(host) => FailureSource::Host(context.names.text(host).to_owned()),
        SourceKey::Crowd(host) => FailureSource::Crowd(context.names.text(host).to_owned()),
        SourceKey::Sid(_)
        | SourceKey::Account { .. }
        | SourceKey::Bare { .. }
        | SourceKey::PeerIp(_)
        | SourceKey::PeerHost(_) => {
            let most = accounts.first().and_then(|account| {
                let name = account.name.as_deref()?;
                Some(AccountName::Named(account_text(account.domain.as_deref(), name)))
            });
            FailureSource::Account {
                account: most.unwrap_or_else(|| context.account_name(source)),
                hosts: NameList::new(computers(context, lines, |host| host != Symbol::BEYOND)),
            }
        }
    };
    let event_ids = lines.iter().map(|line| context.patterns.get(line.pattern).event_id).collect();
    Subject::Failures { category, whose, event_ids }
}

/// The category of most failures.
fn dominant(context: &Context<'_>, lines: &[Line]) -> Category {
    let mut counts: BTreeMap<Category, u64> = BTreeMap::new();
    for line in lines {
        let category = context.patterns.get(line.pattern).failure_category();
        *counts.entry(category).or_default() += u64::from(line.count);
    }
    let most = counts.into_iter().max_by_key(|(category, count)| (*count, Reverse(*category)));
    most.map_or(Category::Other, |(category, _)| category)
}

fn of_category(context: &Context<'_>, category: Category, lines: &[Line]) -> u64 {
    lines
        .iter()
        .filter(|line| context.patterns.get(line.pattern).failure_category() == category)
        .map(|line| u64::from(line.count))
        .sum()
}

/// How surely the codes alone say what is wrong.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_raise_the_severity() {
        assert_eq!(severity(Category::BadPassword, 5, 1), Severity::Low);
        assert_eq!(severity(Category::BadPassword, 20, 1), Severity::Medium);
        assert_eq!(severity(Category::BadPassword, 20, 10), Severity::High);
        assert_eq!(severity(Category::ClockSkew, 1, 1), Severity::Medium);
    }
}

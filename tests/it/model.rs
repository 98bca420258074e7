//! The detector against a naive model: sort everything, group, judge. And the
//! same incidents for any order, any batches, any duplicates.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use twinsid::config::Config;
use twinsid::detect::{Detector, Settings};
use twinsid::explain;
use twinsid::incident::{Incident, Kind};
use twinsid::observation::{
    Account, Fact, Failure, Mismatch, Observation, Peer, RecordKey, Side, What, short_host,
};
use twinsid::sid::Sid;
use twinsid::status::{CodeFamily, StatusCode};
use twinsid::time::{EventTime, TICKS_PER_SEC};

const HOSTS: [&str; 4] = ["PC1", "pc2.corp.example", "DC1.corp.example", "PC3"];
const DOMAINS: [&str; 3] = ["CORP", "corp.example", "PC1"];
const NAMES: [&str; 3] = ["bob", "EVE", "svc$"];
const STATUSES: [u32; 4] = [0xC000_006A, 0xC000_006D, 0xC000_0064, 0xC000_0234];
pub const HOUR_TICKS: u64 = 3600 * TICKS_PER_SEC;

pub fn settings() -> Settings {
    let mut settings = Config::embedded().settings;
    settings.failure_threshold = 3;
    // A long gap and a short session, so that cuts at full hours happen.
    settings.session_gap_ticks = 45 * 60 * TICKS_PER_SEC;
    settings.session_max_ticks = 2 * HOUR_TICKS;
    settings
}

/// Times in clusters: within seconds, within minutes, and hours apart.
fn time() -> impl Strategy<Value = EventTime> {
    (0_u64..6, prop_oneof![0_u64..20, 0_u64..1200, 0_u64..3600], 0_u64..10).prop_map(
        |(hour, second, tenth)| {
            let start = 132_000_000_000_000_000 / HOUR_TICKS * HOUR_TICKS;
            EventTime(start + hour * HOUR_TICKS + second * TICKS_PER_SEC + tenth * 1_000_000)
        },
    )
}

fn sid() -> impl Strategy<Value = Sid> {
    (1_u32..3, 1000_u32..1003).prop_map(|(domain, rid)| {
        Sid::parse(&format!("S-1-5-21-{domain}-2-3-{rid}")).expect("valid")
    })
}

fn account() -> impl Strategy<Value = Account> {
    let name = prop::sample::select(&NAMES[..]);
    let domain =
        prop::option::of(prop::sample::select(&[DOMAINS[0], DOMAINS[1], DOMAINS[2], "."][..]));
    prop_oneof![
        1 => Just(Account::default()),
        2 => sid().prop_map(|sid| Account { sid: Some(sid), ..Account::default() }),
        6 => (name, domain).prop_map(|(name, domain)| Account {
            sid: None,
            name: Some(name.into()),
            domain: domain.map(Into::into),
        }),
    ]
}

fn failure() -> impl Strategy<Value = What> {
    let side = prop::sample::select(&[Side::Target, Side::Target, Side::Client, Side::Kdc][..]);
    let status = prop::sample::select(&STATUSES[..]);
    let peer = prop::option::of(prop::sample::select(&["WS1", "WS2", "PC1"][..]));
    (account(), side, status, peer).prop_map(|(account, side, status, peer)| {
        What::Failure(Box::new(Failure {
            account,
            side,
            status: Some(StatusCode::new(CodeFamily::Ntstatus, status)),
            peer: Peer { host: peer.map(Into::into), ip: None },
            ..Failure::default()
        }))
    })
}

fn fact() -> impl Strategy<Value = What> {
    let name = prop::sample::select(&NAMES[..]);
    let domain = prop::sample::select(&DOMAINS[..]);
    prop_oneof![
        5 => (sid(), name, domain).prop_map(|(sid, name, domain)| What::Fact(Fact::Account {
            sid,
            name: name.into(),
            domain: domain.into(),
            own: false,
        })),
        1 => Just(What::Fact(Fact::DomainController)),
    ]
}

pub fn observation() -> impl Strategy<Value = Observation> {
    let what = prop_oneof![
        10 => failure(),
        3 => fact(),
        2 => Just(What::Mismatch(Mismatch::default())),
    ];
    let host = prop::sample::select(&HOSTS[..]);
    (what, host, time(), 0_u64..1_000_000).prop_map(|(mut what, host, time, record_id)| {
        let computer = match what {
            What::Fact(Fact::DomainController) => HOSTS[2],
            _ => host,
        };
        if let What::Mismatch(_) = what {
            what = What::Mismatch(Mismatch::default());
        }
        Observation {
            key: RecordKey {
                time,
                computer: computer.into(),
                channel: "Security".into(),
                record_id,
            },
            provider: "P".into(),
            event_id: 1,
            what,
        }
    })
}

fn detect(observations: &[Observation], batch: usize) -> Vec<Incident> {
    let mut detector = Detector::new(settings());
    for batch in observations.chunks(batch.max(1)) {
        detector.ingest(batch);
    }
    let mut findings = Vec::new();
    detector.advance(EventTime::MAX, &mut findings);
    assert_eq!(detector.over_bounds().map(|(_, count)| count), [0; 7]);
    assert_eq!(detector.open_keys(), 0);
    findings.into_iter().map(explain::incident).collect()
}

/// What the model says of an incident.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Expected {
    kind: &'static str,
    source_key: String,
    first: EventTime,
    last: EventTime,
    mismatches: u64,
    failures: u64,
    by_status: BTreeMap<String, u64>,
    peers: BTreeMap<String, u64>,
}

impl Expected {
    fn of(incident: &Incident) -> Expected {
        let peers = incident.peers.iter();
        Expected {
            kind: incident.kind.name(),
            source_key: incident.source_key.clone(),
            first: incident.first_seen,
            last: incident.last_seen,
            mismatches: incident.counts.mismatches,
            failures: incident.counts.failures,
            by_status: incident.counts.by_status.iter().cloned().collect(),
            peers: peers.map(|peer| (peer.host.clone().unwrap_or_default(), peer.count)).collect(),
        }
    }
}

/// Sort all, group, judge; as slow and plain as can be.
fn model(observations: &[Observation]) -> Vec<Expected> {
    let mut seen = BTreeSet::new();
    let mut records: Vec<&Observation> = observations
        .iter()
        .filter(|o| matches!(o.what, What::Fact(_)) || seen.insert(o.key.clone()))
        .collect();
    records.sort_by(|a, b| a.key.cmp(&b.key));
    let mut failures: BTreeMap<String, Vec<(&Observation, &Failure)>> = BTreeMap::new();
    let mut mismatches: BTreeMap<String, Vec<&Observation>> = BTreeMap::new();
    for &record in &records {
        match &record.what {
            What::Failure(failure) => {
                let key = source_key(record, &failure.account, &records);
                failures.entry(key).or_default().push((record, failure));
            }
            What::Mismatch(_) => {
                let key = format!("host:{}", record.key.computer.to_uppercase());
                mismatches.entry(key).or_default().push(record);
            }
            What::Success(_) | What::Fact(_) => {}
        }
    }
    let grave = StatusCode::new(CodeFamily::Ntstatus, 0xC000_0234);
    let mut expected = Vec::new();
    for (source_key, of_source) in failures {
        for session in sessions(&of_source, |(record, _)| record.key.time) {
            let is_grave = session.iter().any(|(_, failure)| failure.status == Some(grave));
            if session.len() < 3 && !is_grave {
                continue;
            }
            let all: Vec<&Failure> = session.iter().map(|(_, failure)| *failure).collect();
            expected.push(Expected {
                kind: Kind::AuthenticationFailures.name(),
                source_key: source_key.clone(),
                first: session[0].0.key.time,
                last: session[session.len() - 1].0.key.time,
                mismatches: 0,
                failures: session.len() as u64,
                by_status: count(all.iter().map(|f| f.status.expect("set").to_string())),
                peers: count(all.iter().filter_map(|f| f.peer.host.as_deref().map(str::to_owned))),
            });
        }
    }
    for (source_key, of_host) in mismatches {
        for session in sessions(&of_host, |record| record.key.time) {
            let host = &session[0].key.computer;
            let window = settings().pair_window_ticks;
            let beside: Vec<&Failure> = records
                .iter()
                .filter(|r| r.key.computer == *host)
                .filter(|r| session.iter().any(|m| m.key.time.distance(r.key.time) <= window))
                .filter_map(|record| match &record.what {
                    What::Failure(failure) if failure.side == Side::Target => Some(&**failure),
                    _ => None,
                })
                .collect();
            // Failures whose code gives another reason name no peer, unless there
            // are no others.
            let unexplained = |f: &&&Failure| f.status.expect("set").value == 0xC000_006D;
            let refusals: Vec<&&Failure> = beside.iter().filter(unexplained).collect();
            let refusals = if refusals.is_empty() { beside.iter().collect() } else { refusals };
            expected.push(Expected {
                kind: Kind::MachineIdMismatch.name(),
                source_key: source_key.clone(),
                first: session[0].key.time,
                last: session[session.len() - 1].key.time,
                mismatches: session.len() as u64,
                failures: beside.len() as u64,
                by_status: count(beside.iter().map(|f| f.status.expect("set").to_string())),
                peers: count(
                    refusals.iter().filter_map(|f| f.peer.host.as_deref().map(str::to_owned)),
                ),
            });
        }
    }
    expected.sort();
    expected
}

fn count(texts: impl Iterator<Item = String>) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    texts.for_each(|text| *counts.entry(text).or_default() += 1);
    counts
}

/// Cuts what is sorted by time: after a gap, and at a full hour when a session
/// gets too long.
fn sessions<T>(sorted: &[T], time: impl Fn(&T) -> EventTime) -> Vec<Vec<&T>> {
    let settings = settings();
    let mut sessions: Vec<Vec<&T>> = Vec::new();
    for item in sorted {
        let at = time(item);
        let goes_on = sessions.last().is_some_and(|session| {
            let first_hour = time(session[0]).0 / HOUR_TICKS * HOUR_TICKS;
            let gap = at.distance(time(session[session.len() - 1]));
            gap <= settings.session_gap_ticks && at.0 < first_hour + settings.session_max_ticks
        });
        match sessions.last_mut() {
            Some(session) if goes_on => session.push(item),
            _ => sessions.push(vec![item]),
        }
    }
    sessions
}

fn source_key(record: &Observation, account: &Account, records: &[&Observation]) -> String {
    if let Some(sid) = account.sid {
        return format!("sid:{sid}");
    }
    let computer = &record.key.computer;
    let Some(name) = account.name.as_deref() else {
        return format!("host:{}", computer.to_uppercase());
    };
    let is_controller = records.iter().any(|r| {
        r.key.computer == *computer && matches!(r.what, What::Fact(Fact::DomainController))
    });
    let known = |domain: &&str| {
        records.iter().any(|r| match &r.what {
            What::Fact(Fact::Account { domain: known, .. }) => known.eq_ignore_ascii_case(domain),
            _ => false,
        })
    };
    let mut domains: Vec<&str> = match (account.domain.as_deref(), computer.split_once('.')) {
        (Some("."), _) => vec![short_host(computer)],
        (Some(domain), _) => vec![domain],
        (None, Some((_, dns))) if is_controller => {
            [dns, short_host(dns)].into_iter().filter(known).collect()
        }
        (None, _) => Vec::new(),
    };
    if domains.is_empty() {
        domains.push(short_host(computer));
    }
    let sid = domains.iter().find_map(|domain| resolve(domain, name, record.key.time, records));
    let domain = domains[domains.len() - 1];
    match sid {
        Some(sid) => format!("sid:{sid}"),
        None => format!("name:{}\\{}", domain.to_uppercase(), name.to_uppercase()),
    }
}

fn resolve(domain: &str, name: &str, time: EventTime, records: &[&Observation]) -> Option<Sid> {
    let facts = || {
        records.iter().filter_map(|record| match &record.what {
            What::Fact(Fact::Account { sid, name, domain, .. }) => {
                Some((*sid, &**name, &**domain, record.key.time))
            }
            _ => None,
        })
    };
    let nearest = |domain: &str| {
        let mut spans: BTreeMap<Sid, (EventTime, EventTime)> = BTreeMap::new();
        for (sid, n, d, at) in facts() {
            if n.eq_ignore_ascii_case(name) && d.eq_ignore_ascii_case(domain) {
                let span = spans.entry(sid).or_insert((at, at));
                *span = (span.0.min(at), span.1.max(at));
            }
        }
        let hour = |time: EventTime| time.0 / HOUR_TICKS;
        spans
            .into_iter()
            .min_by_key(|(sid, (first, last))| {
                let outside = hour(*first).saturating_sub(hour(time))
                    + hour(time).saturating_sub(hour(*last));
                (outside, std::cmp::Reverse(*first), *sid)
            })
            .map(|(sid, _)| sid)
    };
    nearest(domain).or_else(|| {
        let issuers: BTreeSet<_> = facts()
            .filter(|(_, _, d, _)| d.eq_ignore_ascii_case(domain))
            .filter_map(|(sid, ..)| sid.issuer().map(|(issuer, _)| issuer))
            .collect();
        let aliases: BTreeSet<String> = facts()
            .filter(|(sid, ..)| sid.issuer().is_some_and(|(issuer, _)| issuers.contains(&issuer)))
            .map(|(_, _, d, _)| d.to_owned())
            .filter(|d| {
                !d.eq_ignore_ascii_case(domain) && (d.contains('.') || domain.contains('.'))
            })
            .collect();
        aliases.iter().filter_map(|alias| nearest(alias)).min()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn the_detector_equals_the_naive_model(
        observations in prop::collection::vec(observation(), 0..80),
    ) {
        let mut found: Vec<Expected> = detect(&observations, 7).iter().map(Expected::of).collect();
        found.sort();
        prop_assert_eq!(found, model(&observations));
    }

    #[test]
    fn order_batches_and_duplicates_change_nothing(
        (observations, shuffled) in prop::collection::vec(observation(), 0..60).prop_flat_map(|all| {
            let twice: Vec<_> = all.iter().chain(&all).cloned().collect();
            (Just(all), Just(twice).prop_shuffle())
        }),
        batch in 1_usize..20,
    ) {
        prop_assert_eq!(detect(&observations, 1000), detect(&shuffled, batch));
    }
}

//! One peer that tries many accounts: one incident, in any order, in any steps, also when the
//! detector was saved in between or only took over what another one judged.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use proptest::prelude::*;
use twinsid::detect::{Detector, DetectorState, Settings};
use twinsid::explain;
use twinsid::incident::{Incident, Severity};
use twinsid::observation::{Account, Failure, Observation, Peer, RecordKey, Side, What};
use twinsid::status::{CodeFamily, StatusCode};
use twinsid::time::{EventTime, TICKS_PER_SEC};

const ACCOUNTS_MIN: u64 = 4;
const HOUR_TICKS: u64 = 3600 * TICKS_PER_SEC;

fn settings() -> Settings {
    Settings {
        spray_accounts: ACCOUNTS_MIN,
        failure_threshold: 3,
        known_ticks: 10_000 * HOUR_TICKS,
        ..twinsid::config::Config::embedded().settings
    }
}

/// A wrong password for an account, from a peer, seconds after a start.
fn failure(second: u64, account: &str, peer: u8) -> Observation {
    let start = EventTime::from_civil((2026, 5, 4), (8, 0, 0), 0).expect("a time");
    let failure = Failure {
        account: Account { sid: None, name: Some(account.into()), domain: Some("CORP".into()) },
        peer: Peer { host: None, ip: Some(IpAddr::V4(Ipv4Addr::new(10, 0, 0, peer))) },
        side: Side::Target,
        status: Some(StatusCode::new(CodeFamily::Ntstatus, 0xC000_006A)),
        ..Failure::default()
    };
    Observation {
        key: RecordKey {
            time: start.plus_ticks(second * TICKS_PER_SEC),
            computer: "DC1.corp.example".into(),
            channel: "Security".into(),
            // Equal failures are one record that came twice.
            record_id: account.bytes().fold(second * 1000 + u64::from(peer), |id, byte| {
                id.wrapping_mul(257).wrapping_add(u64::from(byte))
            }),
        },
        provider: "P".into(),
        event_id: 4625,
        what: What::Failure(Box::new(failure)),
    }
}

fn emitted(detector: &mut Detector, watermark: EventTime) -> Vec<Incident> {
    let mut findings = Vec::new();
    detector.advance(watermark, &mut findings);
    findings.into_iter().map(explain::incident).collect()
}

fn at_once(observations: &[Observation]) -> Vec<Incident> {
    let mut detector = Detector::new(settings());
    detector.ingest(observations);
    emitted(&mut detector, EventTime::MAX)
}

/// The last revisions that no other incident took over.
fn last_revisions(emitted: Vec<Incident>) -> Vec<Incident> {
    let mut last: BTreeMap<_, Incident> = BTreeMap::new();
    for incident in emitted {
        incident.supersedes.iter().for_each(|id| {
            last.remove(id);
        });
        last.insert(incident.id, incident);
    }
    let plain = |incident: Incident| Incident { revision: 1, supersedes: Vec::new(), ..incident };
    last.into_values().map(plain).collect()
}

fn by_id(mut incidents: Vec<Incident>) -> Vec<Incident> {
    incidents.sort_by_key(|incident| incident.id);
    incidents
}

/// Some accounts and peers, in clusters of time.
fn failures() -> impl Strategy<Value = Vec<Observation>> {
    let account = prop::sample::select(&["ann", "bob", "cat", "dan", "eve", "fay"][..]);
    let second = (0_u64..4, 0_u64..1500).prop_map(|(hour, second)| hour * 3600 + second);
    let one = (second, account, 1_u8..4);
    prop::collection::vec(one, 0..60).prop_map(|all| {
        all.into_iter().map(|(second, account, peer)| failure(second, account, peer)).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn sprays_do_not_depend_on_the_order_of_arrival_or_on_steps(
        (observations, shuffled) in failures()
            .prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle())),
        batch in 1_usize..20,
    ) {
        let expected = at_once(&observations);
        prop_assert_eq!(&at_once(&shuffled), &expected);
        let mut detector = Detector::new(settings());
        let mut all = Vec::new();
        for batch in shuffled.chunks(batch) {
            detector.ingest(batch);
            all.extend(emitted(&mut detector, EventTime(1)));
        }
        all.extend(emitted(&mut detector, EventTime::MAX));
        // What was emitted once is followed to its end, though it may be less by then.
        let mut last = last_revisions(all);
        last.retain(|incident| {
            incident.counts.failures >= settings().failure_threshold || expected.contains(incident)
        });
        prop_assert_eq!(by_id(last), by_id(expected));
    }

    #[test]
    fn a_detector_that_applied_what_another_judged_goes_on_as_that_one(
        observations in failures(),
        batch in 1_usize..20,
        closed in 0_u64..4,
    ) {
        let mut judging = Detector::new(settings());
        let mut applying = Detector::new(settings());
        for batch in observations.chunks(batch) {
            judging.ingest(batch);
            applying.ingest(batch);
            let watermark = failure(closed * 3600, "", 1).key.time;
            emitted(&mut judging, watermark);
            let changes = borsh::to_vec(&judging.take_changes()).expect("memory can be written");
            applying.apply(borsh::from_slice(&changes).expect("just written"));
        }
        prop_assert_eq!(applying.judged(), 0);
        let state = borsh::to_vec(applying.state()).expect("memory can be written");
        let state: DetectorState = borsh::from_slice(&state).expect("just written");
        let mut restored = Detector::restore(settings(), state).expect("just saved");
        let expected = emitted(&mut judging, EventTime::MAX);
        prop_assert_eq!(&emitted(&mut applying, EventTime::MAX), &expected);
        prop_assert_eq!(emitted(&mut restored, EventTime::MAX), expected);
    }
}

#[test]
fn a_spray_is_one_incident_beside_what_others_do_to_the_same_accounts() {
    let accounts: Vec<String> = (0..30).map(|number| format!("user{number}")).collect();
    let mut observations: Vec<Observation> = Vec::new();
    for (at, account) in (0..).zip(&accounts) {
        observations.extend((0..4).map(|nth| failure(at * 5 + nth, account, 9)));
    }
    observations.extend((0..40).map(|nth| failure(nth * 7, "user7", 2)));
    let incidents = at_once(&observations);
    let shown: Vec<_> = incidents
        .iter()
        .map(|of| (of.source_key.as_str(), of.counts.failures, of.accounts.len(), of.severity))
        .collect();
    assert_eq!(
        shown,
        [
            ("peer:10.0.0.9", 120, 30, Severity::Medium),
            ("name:CORP\\USER7", 44, 1, Severity::Medium),
        ]
    );
    assert_eq!(
        incidents[0].title,
        "10.0.0.9 tried 30 accounts on DC1.corp.example and was refused 120 times: password spray \
         or scan"
    );
}

#[test]
fn what_was_emitted_of_single_accounts_is_superseded_once_it_is_a_spray() {
    let mut detector = Detector::new(settings());
    let mut all = Vec::new();
    for (at, account) in ["ann", "bob", "cat", "dan", "eve"].into_iter().enumerate() {
        let tries: Vec<Observation> =
            (0..5).map(|nth| failure(at as u64 * 10 + nth, account, 9)).collect();
        detector.ingest(&tries);
        all.extend(emitted(&mut detector, EventTime(1)));
    }
    let keys: Vec<&str> = all.iter().map(|of| of.source_key.as_str()).collect();
    assert_eq!(keys[..3], ["name:CORP\\ANN", "name:CORP\\BOB", "name:CORP\\CAT"]);
    assert!(keys[3..].iter().all(|key| *key == "peer:10.0.0.9"), "{keys:?}");
    assert_eq!(all[3].supersedes.len(), 3);
    all.extend(emitted(&mut detector, EventTime::MAX));
    let last = last_revisions(all);
    assert_eq!(last.len(), 1);
    assert_eq!(last[0].counts.failures, 25);
}

#[test]
fn an_evaluation_judges_what_was_touched_however_much_is_known() {
    let mut detector = Detector::new(settings());
    // Quiet sessions: of each account alone, from peers of their own.
    let quiet: Vec<Observation> = (0..2_000)
        .flat_map(|number| (0..5).map(move |nth| (number, nth)))
        .map(|(number, nth)| {
            let mut observation = failure(nth, &format!("user{number}"), 1);
            observation.key.record_id = number * 10 + nth;
            if let What::Failure(failure) = &mut observation.what {
                let [.., a, b] = (number as u32).to_be_bytes();
                failure.peer.ip = Some(IpAddr::V4(Ipv4Addr::new(10, 1, a, b)));
            }
            observation
        })
        .collect();
    detector.ingest(&quiet);
    assert_eq!(emitted(&mut detector, EventTime(1)).len(), 2_000);
    let before = detector.judged();
    detector.ingest(&[failure(10, "user7", 1)]);
    emitted(&mut detector, EventTime(1));
    assert_eq!(detector.judged() - before, 1);
}

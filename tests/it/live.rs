//! The detector as the service uses it: told again and again how far the events
//! are, saved and restored in between.

use std::collections::BTreeMap;
use std::error::Error;

use proptest::prelude::*;
use twinsid::detect::{Detector, DetectorState, Settings};
use twinsid::explain;
use twinsid::incident::{Incident, Kind, Severity, State};
use twinsid::observation::{
    Account, Build, Fact, Failure, Mismatch, Observation, RecordKey, What, short_host,
};
use twinsid::sid::DomainSid;
use twinsid::time::{EventTime, TICKS_PER_SEC};

use crate::model::{HOUR_TICKS, observation, settings};

/// How much later than others an observation may come.
const LATENESS_TICKS: u64 = 2 * HOUR_TICKS;

/// As long as nothing is closed before the end.
const ENDLESS_TICKS: u64 = 10_000 * HOUR_TICKS;

/// Everything stays known, so that whatever is learnt late still counts.
fn lasting() -> Settings {
    Settings { known_ticks: ENDLESS_TICKS, ..settings() }
}

/// In the order of arrival: each up to the lateness after its time.
fn arriving() -> impl Strategy<Value = Vec<Observation>> {
    prop::collection::vec((observation(), 0..LATENESS_TICKS), 0..80).prop_map(|mut all| {
        all.sort_by_key(|(observation, late)| observation.key.time.0 + late);
        all.into_iter().map(|(observation, _)| observation).collect()
    })
}

/// Computers whose names change, with machine SIDs that are a domain's as well,
/// and what they refuse.
fn changing() -> impl Strategy<Value = Vec<Observation>> {
    const COMPUTERS: [&str; 4] = ["WIN-ABCDEFGHIJK", "PC1.corp.example", "PC2.corp.example", "PC3"];
    let account = |sid: u32, domain: &str, own: bool| {
        let sid = DomainSid([sid, 2, 3]).account(500);
        Fact::Account { sid, name: "Administrator".into(), domain: domain.into(), own }
    };
    let name = || prop::sample::select(&COMPUTERS[..]);
    let what = prop_oneof![
        8 => (1_u32..4).prop_map(Some).prop_map(|sid| (sid, None)),
        3 => name().prop_map(|to| (None, Some(to))),
        3 => Just((None, None)),
    ];
    let one = (name(), what, any::<bool>(), 0_u64..48, 0_u64..40);
    let one = one.prop_map(move |(computer, what, is_domain, half_hour, record_id)| {
        let what = match what {
            (Some(sid), _) if is_domain && sid == 1 => What::Fact(account(sid, "CORP", false)),
            (Some(sid), _) => What::Fact(account(sid, short_host(computer), true)),
            (None, Some(to)) => {
                let (from, to) = (short_host(computer).into(), short_host(to).into());
                What::Fact(Fact::Renamed { from, to })
            }
            (None, None) if is_domain => What::Fact(Fact::DomainController),
            (None, None) => What::Mismatch(Mismatch::default()),
        };
        Observation {
            key: RecordKey {
                time: minute(half_hour * 30),
                computer: computer.into(),
                channel: "Security".into(),
                record_id: half_hour * 1_000_000 + record_id,
            },
            provider: "P".into(),
            event_id: 1,
            what,
        }
    });
    prop::collection::vec(one, 0..30)
}

/// What a reader of the output has in the end: the last revision of each
/// incident that no other took over and that was not withdrawn.
fn last_revisions(told: &[Incident]) -> Vec<Incident> {
    let mut last: BTreeMap<_, Incident> = BTreeMap::new();
    for incident in told {
        let before = last.insert(incident.id, incident.clone());
        let revision = before.map_or(0, |before| before.revision);
        assert!(incident.revision > revision, "revisions count up: {incident:?}");
        incident.supersedes.iter().for_each(|id| {
            last.remove(id);
        });
    }
    last.retain(|_, incident| !incident.is_withdrawn());
    let plain = |incident: Incident| Incident { revision: 1, supersedes: Vec::new(), ..incident };
    last.into_values().map(plain).collect()
}

/// What differs first, in few words.
fn first_difference(one: &[Incident], other: &[Incident]) -> Option<String> {
    let at = (0..one.len().max(other.len())).find(|at| one.get(*at) != other.get(*at))?;
    let tell = |incident: Option<&Incident>| incident.map(|incident| format!("{incident:?}"));
    Some(format!("{:?}\n{:?}", tell(one.get(at)), tell(other.get(at))))
}

/// What the detector emits at a watermark, as incidents.
fn emitted(detector: &mut Detector, watermark: EventTime) -> Vec<Incident> {
    let mut findings = Vec::new();
    detector.advance(watermark, &mut findings);
    findings.into_iter().map(explain::incident).collect()
}

/// The serialised state of a detector.
fn saved(detector: &mut Detector) -> Vec<u8> {
    borsh::to_vec(detector.state()).expect("memory can be written")
}

/// The detector of a serialised state; an error when that is damaged.
fn restored(bytes: &[u8]) -> Result<Detector, Box<dyn Error>> {
    let state: DetectorState = borsh::from_slice(bytes)?;
    Ok(Detector::restore(lasting(), state)?)
}

fn replayed(observations: &[Observation]) -> Vec<Incident> {
    let mut detector = Detector::new(lasting());
    detector.ingest(observations);
    last_revisions(&emitted(&mut detector, EventTime::MAX))
}

/// What differs first from what replay tells of. An incident that was told of once
/// is told of to its end, even if it turns out to be less than replay would tell
/// of, when names come to mean something else by what is learnt later.
fn difference_to_replay(told: &[Incident], observations: &[Observation]) -> Option<String> {
    let replayed = replayed(observations);
    let mut last = last_revisions(told);
    last.retain(|incident| {
        incident.counts.failures >= settings().failure_threshold
            || incident.kind != Kind::AuthenticationFailures
            || replayed.contains(incident)
    });
    first_difference(&last, &replayed)
}

/// As the service does, with an advance after each batch; `between` may put
/// another detector in the place of the one at hand.
fn served(
    observations: &[Observation],
    batch: usize,
    lateness_ticks: u64,
    mut between: impl FnMut(Detector) -> Detector,
) -> Vec<Incident> {
    let mut detector = Detector::new(lasting());
    let mut incidents = Vec::new();
    let mut newest = EventTime::MIN;
    for batch in observations.chunks(batch.max(1)) {
        detector.ingest(batch);
        let events = batch.iter().filter(|it| !matches!(it.what, What::Fact(_)));
        newest = events.map(|observation| observation.key.time).fold(newest, EventTime::max);
        incidents.extend(emitted(&mut detector, newest.minus_ticks(lateness_ticks)));
        detector = between(detector);
    }
    assert_eq!(detector.ingested().late, 0);
    incidents.extend(emitted(&mut detector, EventTime::MAX));
    incidents
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn what_is_told_step_by_step_ends_as_what_is_told_at_once(
        observations in arriving(),
        batch in 1_usize..20,
    ) {
        // What names mean is known from the start.
        let (mut all, rest): (Vec<_>, Vec<_>) = observations
            .iter()
            .cloned()
            .partition(|observation| matches!(observation.what, What::Fact(_)));
        all.extend(rest);
        let told = served(&all, batch, LATENESS_TICKS, |detector| detector);
        let difference = difference_to_replay(&told, &observations);
        prop_assert_eq!(difference, None);
    }

    #[test]
    fn what_was_told_too_early_is_taken_over(
        observations in arriving(),
        batch in 1_usize..20,
    ) {
        let told = served(&observations, batch, ENDLESS_TICKS, |detector| detector);
        let difference = difference_to_replay(&told, &observations);
        prop_assert_eq!(difference, None);
    }

    #[test]
    fn clones_that_turn_out_to_be_none_are_withdrawn(
        observations in changing(),
        batch in 1_usize..6,
    ) {
        let told = served(&observations, batch, ENDLESS_TICKS, |detector| detector);
        let difference = first_difference(&last_revisions(&told), &replayed(&observations));
        prop_assert_eq!(difference, None);
    }

    #[test]
    fn a_restored_detector_goes_on_as_if_nothing_had_happened(
        observations in arriving(),
        batch in 1_usize..20,
    ) {
        let undisturbed = served(&observations, batch, LATENESS_TICKS, |detector| detector);
        let mut states = Vec::new();
        let interrupted = served(&observations, batch, LATENESS_TICKS, |mut detector| {
            let state = saved(&mut detector);
            let mut restored = restored(&state).expect("just saved");
            states.push(saved(&mut restored) == state);
            restored
        });
        prop_assert_eq!(first_difference(&undisturbed, &interrupted), None);
        prop_assert!(states.iter().all(|same| *same), "saving again gives the same bytes");
    }

    #[test]
    fn a_damaged_state_is_refused_or_restored_but_never_a_panic(
        observations in arriving(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut detector = Detector::new(lasting());
        detector.ingest(&observations);
        let mut state = saved(&mut detector);
        let at = at.index(state.len());
        state[at] = byte;
        let _ = restored(&state);
        prop_assert!(restored(&state[..at]).is_err());
    }
}

/// Failures of one account, minutes after a start.
fn failures(minutes: impl IntoIterator<Item = u64>) -> Vec<Observation> {
    let start = EventTime::from_civil((2026, 5, 4), (8, 0, 0), 0).expect("a time");
    let failure = |minute: u64| Observation {
        key: RecordKey {
            time: start.plus_ticks(minute * 60 * TICKS_PER_SEC),
            computer: "PC1".into(),
            channel: "Security".into(),
            record_id: 1000 + minute,
        },
        provider: "P".into(),
        event_id: 4625,
        what: What::Failure(Box::new(Failure {
            account: Account { sid: None, name: Some("bob".into()), domain: Some("CORP".into()) },
            ..Failure::default()
        })),
    };
    minutes.into_iter().map(failure).collect()
}

fn minute(minute: u64) -> EventTime {
    failures([minute])[0].key.time
}

#[test]
fn a_session_is_told_when_it_opens_when_it_grows_tenfold_and_when_it_closes() {
    let mut detector = Detector::new(lasting());
    let mut told = Vec::new();
    for at in 0..40 {
        detector.ingest(&failures([at]));
        told.extend(emitted(&mut detector, minute(at)));
    }
    told.extend(emitted(&mut detector, minute(500)));
    let steps: Vec<_> = told.iter().map(|i| (i.revision, i.state, i.counts.failures)).collect();
    // At twenty failures the severity rises.
    let open = [3, 10, 20].map(|count| (State::Open, count));
    let expected = open.into_iter().chain([(State::Closed, 40)]).zip(1..);
    assert_eq!(steps, expected.map(|((state, count), at)| (at, state, count)).collect::<Vec<_>>());
}

#[test]
fn a_session_closes_whatever_part_of_a_second_a_watermark_is_in() {
    let tenth = |count: u64| count * TICKS_PER_SEC / 10;
    for part in 0..10 {
        let mut detector = Detector::new(lasting());
        let mut session = failures(0..9);
        session.iter_mut().for_each(|one| one.key.time = one.key.time.plus_ticks(tenth(part)));
        detector.ingest(&session);
        let end = session[8].key.time.plus_ticks(settings().session_gap_ticks);
        let mut told = emitted(&mut detector, end.minus_ticks(1));
        assert_eq!(told[0].state, State::Open);
        // Something else is news all the time, so that it is looked at again and again.
        for at in 0..=10 {
            told.extend(emitted(&mut detector, end.plus_ticks(tenth(at))));
        }
        assert_eq!(told.last().map(|incident| incident.state), Some(State::Closed), "{part}");
    }
}

/// Something that a computer logs, minutes after a start.
fn logged(at: u64, computer: &str, what: What) -> Observation {
    Observation {
        key: RecordKey {
            time: minute(at),
            computer: computer.into(),
            channel: "Security".into(),
            // Record ids that do not go on: nothing tells of a new name before 6011 does.
            record_id: 5_000_000 - at * 50_000,
        },
        provider: "P".into(),
        event_id: 1,
        what,
    }
}

/// An account of the computer's own, or of a domain, with one and the same SID.
fn account(at: u64, computer: &str, domain: &str) -> Observation {
    let own = domain == computer;
    let (name, rid) = if own { ("Administrator", 500) } else { ("PC9$", 1104) };
    let sid = DomainSid([11, 12, 13]).account(rid);
    let (name, domain) = (name.into(), domain.into());
    logged(at, computer, What::Fact(Fact::Account { sid, name, domain, own }))
}

fn renamed(at: u64, from: &str, to: &str) -> Observation {
    let (from, name) = (from.into(), to.into());
    logged(at, to, What::Fact(Fact::Renamed { from, to: name }))
}

#[test]
fn clones_that_were_one_machine_under_two_names_are_withdrawn_in_words() {
    let mut detector = Detector::new(lasting());
    let mut told = Vec::new();
    detector.ingest(&[account(0, "LAB-07", "LAB-07"), account(60, "PC-FIN-011", "PC-FIN-011")]);
    told.extend(emitted(&mut detector, minute(0)));
    detector.ingest(&[renamed(30, "LAB-07", "PC-FIN-011")]);
    told.extend(emitted(&mut detector, minute(0)));
    // What comes later of it changes nothing.
    let build = Build { number: 26100, revision: None };
    detector.ingest(&[logged(90, "PC-FIN-011", What::Fact(Fact::Build(build)))]);
    told.extend(emitted(&mut detector, minute(0)));
    told.extend(emitted(&mut detector, EventTime::MAX));
    let [first, withdrawn] = &told[..] else { panic!("two revisions: {told:#?}") };
    assert_eq!((first.state, first.is_withdrawn()), (State::Latent, false));
    assert_eq!((withdrawn.id, withdrawn.revision), (first.id, 2));
    assert_eq!((withdrawn.state, withdrawn.is_withdrawn()), (State::Remedied, true));
    assert_eq!(withdrawn.severity, Severity::Informational);
    assert_eq!(
        withdrawn.title,
        "Withdrawn: no two machines share this machine SID; it is that of PC-FIN-011"
    );
    assert_eq!(
        withdrawn.verdict.reasons,
        [
            "S-1-5-21-11-12-13 was told of as shared before all was known; by what is known now, \
             it is that of PC-FIN-011.",
            "PC-FIN-011 had the name LAB-07 before.",
        ]
    );
}

#[test]
fn clones_whose_sid_turns_out_to_be_a_domains_are_withdrawn() {
    let of_domain = account(60, "PC9", "CORP");
    let observations = [account(0, "DC1", "DC1"), account(30, "DC2", "DC2"), of_domain];
    let told = served(&observations, 2, ENDLESS_TICKS, |detector| detector);
    let [_, withdrawn] = &told[..] else { panic!("two revisions: {told:#?}") };
    assert!(withdrawn.is_withdrawn());
    assert!(withdrawn.title.ends_with("it is the SID of a domain"), "{}", withdrawn.title);
}

#[test]
fn what_clones_had_refused_that_are_none_is_not_lost() {
    let mut detector = Detector::new(Settings { known_ticks: 0, ..settings() });
    let mut told = Vec::new();
    detector.ingest(&[account(0, "LAB-07", "LAB-07"), account(60, "PC-FIN-011", "PC-FIN-011")]);
    detector.ingest(&[logged(70, "PC-FIN-011", What::Mismatch(Mismatch::default()))]);
    // The session is closed, and nothing can change it any more.
    told.extend(emitted(&mut detector, minute(5_000)));
    assert_eq!(told[0].state, State::Active);
    detector.ingest(&[renamed(30, "LAB-07", "PC-FIN-011")]);
    told.extend(emitted(&mut detector, minute(5_000)));
    let withdrawn = told.last().expect("told");
    assert!(withdrawn.is_withdrawn());
    assert_eq!(withdrawn.counts.mismatches, 1);
    assert_eq!(withdrawn.evidence.len(), 1);
    assert_eq!(
        withdrawn.verdict.reasons.last().map(String::as_str),
        Some("Machine-id mismatches that were put down to it have no known cause now: 1.")
    );
}

#[test]
fn late_event_after_close_is_added_while_the_incident_is_known() {
    let mut detector = Detector::new(lasting());
    let mut told = Vec::new();
    detector.ingest(&failures(0..5));
    told.extend(emitted(&mut detector, minute(500)));
    detector.ingest(&failures([6]));
    told.extend(emitted(&mut detector, minute(501)));
    let steps: Vec<_> = told.iter().map(|i| (i.revision, i.state, i.counts.failures)).collect();
    assert_eq!(steps, [(1, State::Closed, 5), (2, State::Closed, 6)]);
    assert_eq!(detector.ingested().late, 0);
}

#[test]
fn late_event_after_close_is_counted_not_reported() {
    let mut detector = Detector::new(Settings { known_ticks: 0, ..settings() });
    let mut told = Vec::new();
    detector.ingest(&failures(0..5));
    told.extend(emitted(&mut detector, minute(500)));
    detector.ingest(&failures(6..12));
    told.extend(emitted(&mut detector, minute(501)));
    assert_eq!(told.len(), 1);
    assert_eq!(detector.ingested().late, 6);
}

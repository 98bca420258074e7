//! Who shares a machine SID, against a naive model that looks at all evidence
//! at once; and the same whatever the order, the batches and the duplicates.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use twinsid::config::Config;
use twinsid::detect::Detector;
use twinsid::explain;
use twinsid::incident::{HostStatus, Incident, Kind, KnownHost, State};
use twinsid::observation::{Fact, Mismatch, Observation, RecordKey, What, short_host};
use twinsid::sid::DomainSid;
use twinsid::time::{EventTime, TICKS_PER_SEC};

use crate::attribution::known_hosts;

/// Each computer's name in the ways it writes it.
const COMPUTERS: [&[&str]; 4] =
    [&["PC1.corp.example", "PC1"], &["PC2.corp.example"], &["pc3", "PC3"], &["PC4.corp.example"]];

/// Further apart than a session's gap.
const STEP_TICKS: u64 = 1200 * TICKS_PER_SEC;

fn at(step: u64) -> EventTime {
    EventTime(132_000_000_000_000_000 / STEP_TICKS * STEP_TICKS + step * STEP_TICKS)
}

#[derive(Clone, Debug)]
struct Told {
    computer: usize,
    spelling: usize,
    step: u64,
    /// `None`: a mismatch.
    sid: Option<u32>,
}

impl Told {
    fn observation(&self) -> Observation {
        let spellings = COMPUTERS[self.computer];
        let computer = spellings[self.spelling % spellings.len()];
        let what = match self.sid {
            Some(sid) => What::Fact(Fact::Account {
                sid: DomainSid([sid, 2, 3]).account(500),
                name: "Administrator".into(),
                domain: short_host(computer).into(),
                own: true,
            }),
            None => What::Mismatch(Mismatch::default()),
        };
        let is_fact = self.sid.is_some();
        Observation {
            key: RecordKey {
                time: at(self.step),
                computer: computer.into(),
                channel: if is_fact { "Security" } else { "System" }.into(),
                // The same for all, so that nobody's ids go on under another name.
                record_id: 7,
            },
            provider: if is_fact { "Microsoft-Windows-Security-Auditing" } else { "LsaSrv" }.into(),
            event_id: if is_fact { 4624 } else { 6167 },
            what,
        }
    }
}

fn told() -> impl Strategy<Value = Vec<Told>> {
    let one = (0..COMPUTERS.len(), 0_usize..2, 0_u64..12, prop::option::weighted(0.8, 1_u32..4));
    let one =
        one.prop_map(|(computer, spelling, step, sid)| Told { computer, spelling, step, sid });
    prop::collection::vec(one, 1..25)
}

fn detect(told: &[Told], batch: usize) -> (Vec<Incident>, Vec<KnownHost>) {
    let mut detector = Detector::new(Config::embedded().settings);
    let observations: Vec<Observation> = told.iter().map(Told::observation).collect();
    observations.chunks(batch).for_each(|batch| detector.ingest(batch));
    let mut findings = Vec::new();
    detector.advance(EventTime::MAX, &mut findings);
    let incidents = findings.into_iter().map(explain::incident).collect();
    (incidents, known_hosts(&detector))
}

/// State, those that have it, those that had it, mismatches.
type Group = (&'static str, BTreeSet<usize>, BTreeSet<usize>, u64);

/// Each computer's machine SIDs with their first and last step, and which of
/// them is left behind.
fn held(told: &[Told], computer: usize) -> Vec<(u32, u64, u64, bool)> {
    let mut spans: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
    for one in told.iter().filter(|one| one.computer == computer) {
        if let Some(sid) = one.sid {
            let span = spans.entry(sid).or_insert((one.step, one.step));
            *span = (span.0.min(one.step), span.1.max(one.step));
        }
    }
    let order = |(sid, (first, last)): &(&u32, &(u64, u64))| (*last, *first, **sid);
    let current = spans.iter().max_by_key(order).map(|(_, (first, _))| *first);
    let left = |last: u64| current.is_some_and(|first| last < first);
    spans.iter().map(|(sid, (first, last))| (*sid, *first, *last, left(*last))).collect()
}

fn sid_at(told: &[Told], computer: usize, step: u64) -> Option<u32> {
    let held = held(told, computer);
    let last = |held: &(u32, u64, u64, bool)| (held.2, held.1, held.0);
    let current = held.iter().max_by_key(|held| last(held)).map(|held| held.0);
    let distance = |(sid, first, last, left): &(u32, u64, u64, bool)| {
        let away = first.saturating_sub(step) + step.saturating_sub(*last);
        let hold = if Some(*sid) == current { 0 } else { 1 + u8::from(*left) };
        // Of equal ones the one that came first.
        (away, hold, *first, *last, *sid)
    };
    held.iter().min_by_key(|held| distance(held)).map(|held| held.0)
}

fn model(told: &[Told]) -> BTreeMap<String, Group> {
    let mut groups = BTreeMap::new();
    for sid in 1..4 {
        let of = |wanted: bool| -> BTreeSet<usize> {
            let has = |computer: &usize| {
                let held = held(told, *computer);
                held.iter().any(|(own, _, _, left)| *own == sid && *left == wanted)
            };
            (0..COMPUTERS.len()).filter(has).collect()
        };
        let (twins, former) = (of(false), of(true));
        if twins.len() + former.len() < 2 {
            continue;
        }
        let mismatches: BTreeSet<(usize, u64)> = told
            .iter()
            .filter(|one| one.sid.is_none() && sid_at(told, one.computer, one.step) == Some(sid))
            .filter(|one| {
                let mut others = twins.union(&former).filter(|other| **other != one.computer);
                others.any(|other| sid_at(told, *other, one.step) == Some(sid))
            })
            .map(|one| (one.computer, one.step))
            .collect();
        let state = match (twins.len(), mismatches.len()) {
            (0 | 1, _) => State::Remedied,
            (_, 0) => State::Latent,
            _ => State::Active,
        };
        let name = format!("sid:S-1-5-21-{sid}-2-3");
        groups.insert(name, (state.name(), twins, former, mismatches.len() as u64));
    }
    groups
}

fn seen(incidents: &[Incident]) -> BTreeMap<String, Group> {
    let groups = incidents.iter().filter(|incident| incident.kind == Kind::DuplicateMachineSid);
    groups
        .map(|incident| {
            let with = |status: HostStatus| -> BTreeSet<usize> {
                let hosts = incident.hosts.iter().filter(|host| host.status == status);
                hosts
                    .map(|host| {
                        let is = |names: &&[&str]| {
                            short_host(names[0]).eq_ignore_ascii_case(short_host(&host.name))
                        };
                        COMPUTERS.iter().position(is).expect("one of them")
                    })
                    .collect()
            };
            let (twins, former) = (with(HostStatus::Twin), with(HostStatus::Remedied));
            let group = (incident.state.name(), twins, former, incident.counts.mismatches);
            (incident.source_key.clone(), group)
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn twins_are_those_of_the_naive_model(told in told()) {
        let (incidents, hosts) = detect(&told, 5);
        prop_assert_eq!(seen(&incidents), model(&told));
        let computers: BTreeSet<usize> = told.iter().map(|one| one.computer).collect();
        prop_assert_eq!(hosts.len(), computers.len());
        let mismatches: u64 = incidents.iter().map(|incident| incident.counts.mismatches).sum();
        let logged: BTreeSet<(usize, u64)> = told
            .iter()
            .filter(|one| one.sid.is_none())
            .map(|one| (one.computer, one.step))
            .collect();
        prop_assert_eq!(mismatches, logged.len() as u64);
    }

    #[test]
    fn order_batches_and_duplicates_do_not_matter(
        (told, shuffled) in told().prop_flat_map(|told| {
            let twice: Vec<Told> = told.iter().chain(&told).cloned().collect();
            (Just(told), Just(twice).prop_shuffle())
        }),
        batch in 1_usize..9,
    ) {
        prop_assert_eq!(detect(&told, told.len()), detect(&shuffled, batch));
    }
}

//! The one place where what cannot be read or decoded is counted by reason, sampled and named in
//! the log, in every way of running.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::warn;

use crate::decode::Tally;
use crate::output::escape;
use crate::reject::{DeadLetter, RejectReason};
use crate::source::{Skipped, SkippedWhat};

/// Most warnings within [`WARNINGS_WINDOW`]; the counts are complete.
const WARNINGS_MAX: usize = 100;

/// A service warns anew after that.
const WARNINGS_WINDOW: Duration = Duration::from_secs(3600);

/// Whether a decoder keeps the bytes of what it rejects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeepBytes {
    No,
    /// For dead letters.
    Yes,
}

/// What to do about input that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDamage {
    /// Count it and go on.
    Skip,
    /// Stop at the first.
    Stop,
}

/// The first reject of a run that stops at it.
#[derive(Debug, thiserror::Error)]
#[error("{sample}\n  hint: without --strict this is counted as `{}` and passed over", reason.name())]
pub struct Damaged {
    pub reason: RejectReason,
    pub sample: String,
}

/// Counts, samples and log lines of all rejects of a run.
#[derive(Debug)]
pub(crate) struct RejectLog {
    on_damage: OnDamage,
    known: Mutex<Known>,
}

#[derive(Debug)]
struct Known {
    counts: BTreeMap<RejectReason, u64>,
    /// The first of each reason.
    samples: BTreeMap<RejectReason, String>,
    /// What was named in the log since `since`.
    warned: BTreeSet<(Arc<str>, RejectReason)>,
    since: Instant,
}

impl RejectLog {
    pub(crate) fn new(on_damage: OnDamage) -> RejectLog {
        let known = Known {
            counts: BTreeMap::new(),
            samples: BTreeMap::new(),
            warned: BTreeSet::new(),
            since: Instant::now(),
        };
        RejectLog { on_damage, known: Mutex::new(known) }
    }

    /// Takes note of what a decoder rejected of an input; how many that were.
    pub(crate) fn decoded(&self, input: &Arc<str>, tally: &Tally) -> Result<u64, Damaged> {
        if tally.skipped.is_empty() {
            return Ok(0);
        }
        let mut known = self.lock();
        for (reason, count) in &tally.skipped {
            *known.counts.entry(*reason).or_default() += count;
        }
        for (reason, sample) in &tally.samples {
            known.samples.entry(*reason).or_insert_with(|| sample.clone());
            self.name(&mut known, input, *reason, format!("{input}: {sample}"))?;
        }
        Ok(tally.skipped.values().sum())
    }

    /// Takes note of an input, or of a part of one, that cannot be read; as a dead letter, unless
    /// it is a peer that could not connect: others could fill the sink with those.
    pub(crate) fn skipped(&self, skipped: &Skipped) -> Result<Option<DeadLetter>, Damaged> {
        let reason = match skipped.what {
            SkippedWhat::File => RejectReason::File,
            SkippedWhat::ArchiveMember => RejectReason::ArchiveMember,
            SkippedWhat::Connection => RejectReason::Connection,
        };
        let sample = format!("{}: {}", skipped.input, skipped.reason);
        let mut known = self.lock();
        *known.counts.entry(reason).or_default() += 1;
        known.samples.entry(reason).or_insert_with(|| sample.clone());
        self.name(&mut known, &skipped.input, reason, sample)?;
        Ok((reason != RejectReason::Connection).then(|| DeadLetter {
            origin: skipped.input.to_string(),
            reason: reason.name(),
            what: skipped.reason.clone(),
            bytes: Vec::new(),
        }))
    }

    /// Each input and reason is named once.
    fn name(
        &self,
        known: &mut Known,
        input: &Arc<str>,
        reason: RejectReason,
        sample: String,
    ) -> Result<(), Damaged> {
        if self.on_damage == OnDamage::Stop {
            return Err(Damaged { reason, sample });
        }
        if known.since.elapsed() > WARNINGS_WINDOW {
            known.warned.clear();
            known.since = Instant::now();
        }
        let is_named =
            known.warned.len() < WARNINGS_MAX && known.warned.insert((Arc::clone(input), reason));
        if is_named {
            let text = escape::terminal(&sample);
            warn!(reason = reason.name(), "{text}");
            if known.warned.len() == WARNINGS_MAX {
                warn!("more is passed over without a warning; the summary counts all of it");
            }
        }
        Ok(())
    }

    pub(crate) fn counts(&self) -> BTreeMap<RejectReason, u64> {
        self.lock().counts.clone()
    }

    /// The first of each reason.
    pub(crate) fn samples(&self) -> BTreeMap<RejectReason, String> {
        self.lock().samples.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(reason: RejectReason, times: u64) -> Tally {
        let mut tally = Tally::default();
        (0..times).for_each(|number| tally.skip(reason, || format!("sample {number}")));
        tally
    }

    #[test]
    fn each_reason_is_counted_in_full_and_sampled_once() {
        let log = RejectLog::new(OnDamage::Skip);
        let input: Arc<str> = "a.xml".into();
        for times in [2, 3] {
            let tally = tally(RejectReason::XmlMalformed, times);
            assert_eq!(log.decoded(&input, &tally).ok(), Some(times));
        }
        let skipped = Skipped { input, what: SkippedWhat::File, reason: "is empty".to_owned() };
        let letter = log.skipped(&skipped).expect("the source continues");
        assert_eq!(letter.map(|letter| letter.what).as_deref(), Some("is empty"));
        assert_eq!(log.counts(), [(RejectReason::XmlMalformed, 5), (RejectReason::File, 1)].into());
        let samples = log.samples();
        assert_eq!(samples[&RejectReason::XmlMalformed], "sample 0");
        assert_eq!(samples[&RejectReason::File], "a.xml: is empty");
    }

    #[test]
    fn a_strict_run_stops_at_the_first() {
        let log = RejectLog::new(OnDamage::Stop);
        let error = log.decoded(&"a.json".into(), &tally(RejectReason::JsonMalformed, 1));
        let text = error.map_err(|error| error.to_string()).expect_err("it stops");
        assert!(text.starts_with("a.json: sample 0\n  hint: without --strict"), "{text}");
        assert!(text.contains("`json_malformed`"), "{text}");
    }

    #[test]
    fn no_more_than_so_many_inputs_are_remembered() {
        let log = RejectLog::new(OnDamage::Skip);
        for number in 0..WARNINGS_MAX * 3 {
            let input: Arc<str> = format!("{number}").into();
            assert!(log.decoded(&input, &tally(RejectReason::LineTooLong, 1)).is_ok());
        }
        assert_eq!(log.lock().warned.len(), WARNINGS_MAX);
        assert_eq!(log.counts()[&RejectReason::LineTooLong], 3 * WARNINGS_MAX as u64);
    }
}

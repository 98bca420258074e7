//! What all threads of a run count.
//!
//! What was received is accounted for without a rest:
//!
//! ```text
//! received = rejected + not wanted + observed
//! observed = accepted + duplicates + late + folded
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::decode::worker::Decoded;
use crate::detect::{Detector, Ingested};
use crate::source::Lag;
use crate::time::EventTime;

/// For the status line, the watchdog and the statistics of a replay.
#[derive(Debug)]
pub(crate) struct Counters {
    pub bytes: AtomicU64,
    pub chunks: AtomicU64,
    /// Bytes of the inputs' files that are done with.
    pub progress_bytes: AtomicU64,
    /// Records that could be read, wanted or not.
    pub records: AtomicU64,
    /// Records that took the slow path of EVTX.
    pub slow_records: AtomicU64,
    /// Records of which a rule made a mismatch, a failure or a success.
    pub observed: AtomicU64,
    /// Records, lines, chunks, files and connections that could not be read.
    pub rejected: AtomicU64,
    pub dead_letters: AtomicU64,
    /// Of the observed records, those that the detector took in, and those that it did not.
    pub accepted: AtomicU64,
    pub duplicates: AtomicU64,
    pub late: AtomicU64,
    pub folded: AtomicU64,
    pub incidents: AtomicU64,
    pub commits: AtomicU64,
    pub slowest_commit_ms: AtomicU64,
    pub lag: LagBoard,
    /// As ticks.
    pub watermark: AtomicU64,
    pub inputs: Inputs,
    start: Instant,
    /// Milliseconds since the start at which the stage that commits was last
    /// seen alive.
    alive_ms: AtomicU64,
}

/// What the detector made of the observed records that it was given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    pub accepted: u64,
    pub duplicates: u64,
    pub late: u64,
    /// Beyond a bound: counted, and not kept apart.
    pub folded: u64,
}

impl Taken {
    /// Since the detector's state began.
    pub(crate) fn by(detector: &Detector) -> Taken {
        let Ingested { mismatches, failures, successes, duplicates, late, .. } =
            detector.ingested();
        let folded = detector.folded();
        let accepted = (mismatches + failures + successes).saturating_sub(late + folded);
        Taken { accepted, duplicates, late, folded }
    }

    pub(crate) fn since(self, before: Taken) -> Taken {
        Taken {
            accepted: self.accepted.saturating_sub(before.accepted),
            duplicates: self.duplicates - before.duplicates,
            late: self.late - before.late,
            folded: self.folded - before.folded,
        }
    }
}

/// What is counted by input and by event, of a run that ends.
#[derive(Debug, Default)]
pub(crate) struct Inputs(Option<Mutex<InputCounts>>);

#[derive(Debug, Default)]
pub(crate) struct InputCounts {
    pub files: BTreeSet<Arc<str>>,
    /// Records for which a rule of kind mismatch or failure held, by provider and id.
    pub matched: BTreeMap<(Box<str>, u32), u64>,
}

impl Inputs {
    pub(crate) fn counted() -> Inputs {
        Inputs(Some(Mutex::default()))
    }

    /// An input that was opened, or could not be.
    pub(crate) fn note(&self, input: &Arc<str>) {
        self.with(|counts| {
            counts.files.insert(Arc::clone(input));
        });
    }

    fn with(&self, change: impl FnOnce(&mut InputCounts)) {
        if let Some(counts) = &self.0 {
            change(&mut counts.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    pub(crate) fn into_counts(self) -> InputCounts {
        let counts =
            self.0.map(|counts| counts.into_inner().unwrap_or_else(PoisonError::into_inner));
        counts.unwrap_or_default()
    }
}

/// How far each source is behind.
#[derive(Debug, Default)]
pub(crate) struct LagBoard(Mutex<Vec<Lag>>);

impl LagBoard {
    /// A place for one more source.
    pub(crate) fn register(&self) -> usize {
        let mut lags = self.lock();
        lags.push(Lag::NotCounted);
        lags.len() - 1
    }

    pub(crate) fn set(&self, source: usize, lag: Lag) {
        self.lock()[source] = lag;
    }

    /// Of all sources together: known when it is known of each.
    pub(crate) fn sum(&self) -> Lag {
        self.lock().iter().fold(Lag::NotCounted, |sum, lag| match (sum, *lag) {
            (Lag::Unknown, _) | (_, Lag::Unknown) => Lag::Unknown,
            (sum, Lag::NotCounted) => sum,
            (Lag::NotCounted, lag) => lag,
            (Lag::Records(sum), Lag::Records(records)) => Lag::Records(sum + records),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Lag>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counters {
    pub(crate) fn new(inputs: Inputs) -> Counters {
        let zero = || AtomicU64::new(0);
        Counters {
            bytes: zero(),
            chunks: zero(),
            progress_bytes: zero(),
            records: zero(),
            slow_records: zero(),
            observed: zero(),
            rejected: zero(),
            dead_letters: zero(),
            accepted: zero(),
            duplicates: zero(),
            late: zero(),
            folded: zero(),
            incidents: zero(),
            commits: zero(),
            slowest_commit_ms: zero(),
            lag: LagBoard::default(),
            watermark: zero(),
            inputs,
            start: Instant::now(),
            alive_ms: zero(),
        }
    }

    /// Counts what a batch came to.
    pub(crate) fn decoded(&self, decoded: &mut Decoded, rejected: u64) {
        let add = |counter: &AtomicU64, count| counter.fetch_add(count, Ordering::Relaxed);
        add(&self.bytes, decoded.tally.bytes);
        add(&self.chunks, decoded.tally.chunks);
        add(&self.progress_bytes, decoded.progress_bytes);
        add(&self.records, decoded.tally.records);
        add(&self.slow_records, decoded.tally.slow_records);
        add(&self.observed, decoded.observed);
        add(&self.rejected, rejected);
        add(&self.dead_letters, decoded.dead_letters.len() as u64);
        let matched = std::mem::take(&mut decoded.matched);
        self.inputs.with(|counts| {
            if !counts.files.contains(&decoded.input) {
                counts.files.insert(Arc::clone(&decoded.input));
            }
            for (event, count) in matched {
                *counts.matched.entry(event).or_default() += count;
            }
        });
    }

    /// How far the events are, whether anything follows of it or not.
    pub(crate) fn reached(&self, watermark: EventTime) {
        self.watermark.store(watermark.0, Ordering::Relaxed);
    }

    pub(crate) fn committed(&self, incidents: usize, took: Duration) {
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.incidents.fetch_add(incidents as u64, Ordering::Relaxed);
        self.slowest_commit_ms.fetch_max(took.as_millis() as u64, Ordering::Relaxed);
        self.alive();
    }

    pub(crate) fn taken(&self, taken: Taken) {
        self.accepted.store(taken.accepted, Ordering::Relaxed);
        self.duplicates.store(taken.duplicates, Ordering::Relaxed);
        self.late.store(taken.late, Ordering::Relaxed);
        self.folded.store(taken.folded, Ordering::Relaxed);
    }

    /// Progress of the stage that commits.
    pub(crate) fn alive(&self) {
        self.alive_ms.store(self.start.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// Since when it was not.
    pub(crate) fn silent_for(&self) -> Duration {
        let alive = Duration::from_millis(self.alive_ms.load(Ordering::Relaxed));
        self.start.elapsed().saturating_sub(alive)
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lag_of_several_sources_is_known_when_that_of_each_is() {
        let board = LagBoard::default();
        assert_eq!(board.sum(), Lag::NotCounted);
        let [files, one, other] = [0; 3].map(|_| board.register());
        assert_eq!(board.sum(), Lag::NotCounted);
        board.set(one, Lag::Records(3));
        assert_eq!(board.sum(), Lag::Records(3));
        board.set(other, Lag::Records(4));
        board.set(files, Lag::NotCounted);
        assert_eq!(board.sum(), Lag::Records(7));
        board.set(one, Lag::Unknown);
        assert_eq!(board.sum(), Lag::Unknown);
    }
}

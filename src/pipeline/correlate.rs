//! The stage that owns the detector and the sink: takes in what the sources
//! flushed, lets the detector tell what is news, and commits.
//!
//! ```text
//!   flushed ─▶ detector ─▶ incidents ┐
//!      └──────▶ frame ────────────────┴─▶ sink, in one step
//! ```

use std::hash::{Hash, Hasher};
use std::time::{Duration, Instant};

use borsh::{BorshDeserialize, BorshSerialize};
use rustc_hash::FxHasher;
use tracing::{info, warn};

use super::decode::batcher::{Flushed, NO_PART};
use super::traces::Traces;
use super::{Counters, wall_clock};
use crate::detect::findings::Finding;
use crate::detect::watermark::{CaughtUp, Watermark};
use crate::detect::{Detector, DetectorState, MalformedState, OVER_BOUNDS, Settings};
use crate::explain;
use crate::incident::Incident;
use crate::observation::{ListedHost, What, short_host};
use crate::position::Position;
use crate::position::SourcePositions;
use crate::reject::DeadLetter;
use crate::sink::{Commit, CommitOutcome, Sink, SinkError};
use crate::store::checkpoint::{Advance, ChangelogEntry, ObservationBatch, Traced};
use crate::store::codec;
use crate::store::codec::StoredError;
use crate::time::{EventTime, TICKS_PER_SEC};

/// What waits for a commit waits so long at the most.
const COMMIT_AFTER: Duration = Duration::from_millis(25);

/// Frames since the last snapshot may grow to this, and to the size of the
/// snapshot: then restoring takes no more than twice as long as need be.
const CHANGELOG_BYTES_MIN: usize = 16 * 1024 * 1024;

/// Of its time the detector spends no more than half on telling what is news: the
/// larger the state, the rarer it is looked through.
const EVALUATION_SHARE: u32 = 2;

/// What is given up because of bounds is said so often.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// Sessions are closed no more often than that by the watermark alone.
const WATERMARK_STEP_TICKS: u64 = 60 * TICKS_PER_SEC;

/// What stands before the detector's state in a snapshot: positions, and all
/// that the frames behind it are made with, so that they can be made again.
#[derive(Debug, BorshSerialize, BorshDeserialize)]
struct SnapshotHead {
    positions: SourcePositions,
    watermark: EventTime,
    settings: Settings,
    inventory: Vec<ListedHost>,
    traced: Vec<Traced>,
}

/// When incidents are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmitMode {
    /// As they come.
    Live,
    /// When everything is known, as a replay does.
    AtEnd,
}

#[derive(Clone, Debug)]
pub struct CorrelatorSpec {
    pub settings: Settings,
    pub inventory: Vec<ListedHost>,
    pub lateness_ticks: u64,
    pub idle_ticks: u64,
    pub emit_mode: EmitMode,
}

#[derive(Debug, thiserror::Error)]
pub enum CorrelateError {
    #[error(transparent)]
    Sink(#[from] SinkError),
    #[error(transparent)]
    Stored(#[from] StoredError),
    #[error(transparent)]
    State(#[from] MalformedState),
}

impl CorrelateError {
    /// Whether it may end by itself; then [`Correlator::deliver`] tries again.
    pub fn is_retryable(&self) -> bool {
        match self {
            CorrelateError::Sink(error) => error.is_retryable(),
            _ => false,
        }
    }
}

/// What is to be committed in one step.
struct Step {
    start: Instant,
    incidents: Vec<Incident>,
    dead_letters: Vec<DeadLetter>,
    frame: Vec<u8>,
    /// With its size unpacked.
    snapshot: Option<(Vec<u8>, usize)>,
    /// Whether it was tried, and may have been done.
    tried: bool,
}

pub struct Correlator {
    detector: Detector,
    clocks: Watermark,
    positions: SourcePositions,
    watermark: EventTime,
    sink: Box<dyn Sink>,
    emit_mode: EmitMode,
    traces: Traces,
    frame: ChangelogEntry,
    dead_letters: Vec<DeadLetter>,
    waiting_since: Option<Instant>,
    /// What is not committed yet, though it was tried.
    step: Option<Step>,
    /// Whether something was taken in that was not looked at.
    unseen: bool,
    evaluate_at: Instant,
    /// What bounds made the detector give up, as far as it was said.
    over_bounds: [u64; OVER_BOUNDS],
    warn_at: Instant,
    changelog_bytes: usize,
    snapshot_bytes: usize,
    /// Whether the next step has to be a snapshot: what frames are made with is
    /// no longer what stands in the last one.
    snapshot_next: bool,
}

impl std::fmt::Debug for Correlator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Correlator").field("watermark", &self.watermark).finish_non_exhaustive()
    }
}

impl Correlator {
    /// Goes on from what the sink kept.
    pub fn open(
        spec: CorrelatorSpec,
        mut sink: Box<dyn Sink>,
    ) -> Result<Correlator, CorrelateError> {
        let start = Instant::now();
        let kept = sink.restore()?;
        let mut snapshot_bytes = 0;
        let (mut positions, mut watermark) = (SourcePositions::default(), EventTime::MIN);
        let mut traces = Traces::default();
        let (mut detector, made_with) = match kept.snapshot {
            Some(bytes) => {
                let head: SnapshotHead;
                let state: DetectorState;
                (head, state, snapshot_bytes) = codec::unpack(&bytes)?;
                drop(bytes);
                (positions, watermark) = (head.positions, head.watermark);
                traces.remember(&head.traced);
                let made_with = (head.settings, head.inventory);
                (Detector::restore(made_with.0.clone(), state)?, Some(made_with))
            }
            None => (Detector::new(spec.settings.clone()), None),
        };
        let inventory = made_with.as_ref().map_or(&spec.inventory, |(_, inventory)| inventory);
        detector.learn_inventory(inventory.clone());
        let mut already_emitted = Vec::new();
        let mut changelog_bytes = 0;
        for bytes in kept.frames {
            changelog_bytes += bytes.len();
            let frame: ChangelogEntry = codec::decode(&bytes)?;
            for observation_batch in &frame.observation_batches {
                traces.remember(&observation_batch.traced);
                detector.ingest(&observation_batch.observations);
            }
            match frame.advance {
                Advance::NotYet => {}
                Advance::To(time) => {
                    watermark = watermark.max(time);
                    detector.advance(time, &mut already_emitted);
                }
                Advance::End => detector.advance(EventTime::MAX, &mut already_emitted),
            }
            already_emitted.clear();
            positions.absorb(frame.moved);
        }
        // Only now: the frames were made with what held then.
        let as_before = made_with.is_some_and(|(settings, inventory)| {
            settings == spec.settings && inventory == spec.inventory
        });
        if !as_before {
            detector = Detector::restore(spec.settings, detector.into_state())?;
            detector.learn_inventory(spec.inventory);
        }
        if snapshot_bytes + changelog_bytes > 0 {
            let (seconds, sessions) = (start.elapsed().as_secs_f32(), detector.open_keys());
            info!(seconds, sessions, "the state is restored");
        }
        Ok(Correlator {
            clocks: Watermark::new(spec.lateness_ticks, spec.idle_ticks, watermark, wall_clock()),
            detector,
            positions,
            watermark,
            sink,
            emit_mode: spec.emit_mode,
            frame: ChangelogEntry::default(),
            dead_letters: Vec::new(),
            waiting_since: None,
            step: None,
            traces,
            // What the last frames brought may not have been looked at.
            unseen: changelog_bytes > 0 || !as_before,
            evaluate_at: Instant::now(),
            over_bounds: [0; OVER_BOUNDS],
            warn_at: Instant::now(),
            changelog_bytes,
            snapshot_bytes,
            snapshot_next: !as_before,
        })
    }

    pub fn positions(&self) -> &SourcePositions {
        &self.positions
    }

    /// Behind everything that was taken in of a part, committed or not.
    pub fn position(&self, source: &str, part: &str) -> Option<Position> {
        let taken = self.frame.moved.get(source, part);
        taken.or_else(|| self.positions.get(source, part)).cloned()
    }

    pub fn learn_inventory(&mut self, inventory: Vec<ListedHost>) {
        self.detector.learn_inventory(inventory);
        self.unseen = true;
        self.snapshot_next = true;
    }

    /// Takes in what a source flushed.
    pub fn take(&mut self, source: &str, flushed: Flushed) {
        for (part, position) in &flushed.moved {
            self.frame.moved.set(source, part, position.clone());
        }
        self.dead_letters.extend(flushed.dead_letters);
        self.waiting_since.get_or_insert_with(Instant::now);
        for observation_batch in flushed.observation_batches {
            self.heartbeat(&observation_batch);
            if !observation_batch.observations.is_empty() || !observation_batch.traced.is_empty() {
                self.traces.remember(&observation_batch.traced);
                self.detector.ingest(&observation_batch.observations);
                self.unseen |= !observation_batch.observations.is_empty();
                self.frame.observation_batches.push(observation_batch);
            }
        }
    }

    fn heartbeat(&mut self, observation_batch: &ObservationBatch) {
        if observation_batch.part == NO_PART {
            return;
        }
        self.clocks.heartbeat(observation_batch.part, observation_batch.arrival);
        for observation in &observation_batch.observations {
            if !matches!(observation.what, What::Fact(_)) {
                let mut hasher = FxHasher::default();
                short_host(&observation.key.computer).to_ascii_lowercase().hash(&mut hasher);
                let (host, time) = (hasher.finish(), observation.key.time);
                self.clocks.observe(observation_batch.part, host, time, observation_batch.arrival);
            }
        }
    }

    /// Commits if it is time to; whether it did.
    pub fn maybe_commit(
        &mut self,
        caught_up: CaughtUp,
        counters: &Counters,
    ) -> Result<CommitProgress, CorrelateError> {
        let watermark = self.clocks.advance(wall_clock(), caught_up);
        let closes = watermark.0.saturating_sub(self.watermark.0) >= WATERMARK_STEP_TICKS;
        let looks = self.emit_mode == EmitMode::Live
            && (self.unseen || closes)
            && Instant::now() >= self.evaluate_at;
        let due = match self.waiting_since {
            Some(since) => since.elapsed() >= COMMIT_AFTER,
            None => looks,
        };
        if !due {
            return Ok(CommitProgress::Idle);
        }
        self.commit(if looks { Advance::To(watermark) } else { Advance::NotYet }, counters)
    }

    /// Commits whatever was taken in, with a snapshot: the next start is quick.
    pub fn stop(&mut self, counters: &Counters) -> Result<CommitProgress, CorrelateError> {
        if self.waiting_since.is_none() && self.changelog_bytes == 0 {
            return Ok(CommitProgress::Idle);
        }
        self.snapshot_next = true;
        self.commit(Advance::NotYet, counters)
    }

    /// Closes everything, as at the end of a replay.
    pub fn finish(&mut self, counters: &Counters) -> Result<CommitProgress, CorrelateError> {
        self.commit(Advance::End, counters)
    }

    fn commit(
        &mut self,
        advance: Advance,
        counters: &Counters,
    ) -> Result<CommitProgress, CorrelateError> {
        assert!(self.step.is_none(), "a step is committed before the next is made");
        let mut findings: Vec<Finding> = Vec::new();
        let start = Instant::now();
        match advance {
            Advance::NotYet => {}
            Advance::To(watermark) => {
                self.watermark = watermark;
                self.detector.advance(watermark, &mut findings);
            }
            Advance::End => self.detector.advance(EventTime::MAX, &mut findings),
        }
        let mut incidents: Vec<Incident> = findings.into_iter().map(explain::incident).collect();
        for incident in &mut incidents {
            incident.traceparent = self.traces.of(incident);
        }
        if advance != Advance::NotYet {
            self.warn_of_bounds();
            self.unseen = false;
            self.evaluate_at = Instant::now() + start.elapsed() * (EVALUATION_SHARE - 1);
        }
        self.frame.advance = advance;
        let frame = std::mem::take(&mut self.frame);
        let bytes = codec::encode(&frame);
        self.positions.absorb(frame.moved);
        self.changelog_bytes += bytes.len();
        self.waiting_since = None;
        let is_long = self.changelog_bytes > CHANGELOG_BYTES_MIN.max(self.snapshot_bytes);
        let snapshot =
            (is_long || std::mem::take(&mut self.snapshot_next)).then(|| self.snapshot());
        let dead_letters = std::mem::take(&mut self.dead_letters);
        let tried = false;
        self.step = Some(Step { start, incidents, dead_letters, frame: bytes, snapshot, tried });
        self.deliver(counters)
    }

    /// Commits what an earlier call tried to, if there is any. Nothing else is to be
    /// asked of the judge before that was done.
    pub fn deliver(&mut self, counters: &Counters) -> Result<CommitProgress, CorrelateError> {
        let Some(step) = &mut self.step else { return Ok(CommitProgress::Idle) };
        let commit = Commit {
            incidents: &step.incidents,
            dead_letters: &step.dead_letters,
            frame: &step.frame,
            snapshot: step.snapshot.as_ref().map(|(snapshot, _)| snapshot.as_slice()),
        };
        let outcome = match std::mem::replace(&mut step.tried, true) {
            true => self.sink.resolve(&commit)?,
            false => CommitOutcome::Aborted,
        };
        counters.alive();
        if outcome == CommitOutcome::Aborted {
            self.sink.commit(&commit)?;
        }
        counters.committed(step.incidents.len(), step.start.elapsed(), self.watermark);
        let snapshot = self.step.take().and_then(|step| step.snapshot);
        let Some((_, bytes)) = snapshot else { return Ok(CommitProgress::Committed) };
        (self.changelog_bytes, self.snapshot_bytes) = (0, bytes);
        Ok(CommitProgress::Snapshotted)
    }

    /// Says now and then what was given up.
    fn warn_of_bounds(&mut self) {
        if Instant::now() < self.warn_at {
            return;
        }
        let over_bounds = self.detector.over_bounds();
        for ((what, count), said) in over_bounds.into_iter().zip(&mut self.over_bounds) {
            if count > *said {
                *said = count;
                self.warn_at = Instant::now() + WARN_EVERY;
                warn!(count, "given up: {what}; if that is not an attack, raise it in [bounds]");
            }
        }
    }

    /// A snapshot, and how long it is unpacked.
    fn snapshot(&mut self) -> (Vec<u8>, usize) {
        let head = SnapshotHead {
            positions: self.positions.clone(),
            watermark: self.watermark,
            settings: self.detector.settings().clone(),
            inventory: self.detector.inventory().cloned().collect(),
            traced: self.traces.all(),
        };
        codec::pack(&head, self.detector.state())
    }
}

/// What came of a look at the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitProgress {
    Idle,
    Committed,
    /// Committed with a snapshot: what came before is needed no more.
    Snapshotted,
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;
    use crate::config::Config;
    use crate::observation::{Account, Failure, Observation, RecordKey};
    use crate::store::RestoredState;

    /// What a sink keeps, and what it was told: ids and revisions.
    #[derive(Default)]
    struct Memory {
        snapshot: Option<Vec<u8>>,
        frames: Vec<Vec<u8>>,
        told: Vec<(String, u32)>,
    }

    struct MemorySink(Rc<RefCell<Memory>>);

    impl Sink for MemorySink {
        fn restore(&mut self) -> Result<RestoredState, SinkError> {
            let memory = self.0.borrow();
            Ok(RestoredState { snapshot: memory.snapshot.clone(), frames: memory.frames.clone() })
        }

        fn commit(&mut self, commit: &Commit<'_>) -> Result<(), SinkError> {
            let mut memory = self.0.borrow_mut();
            let told = commit.incidents.iter();
            memory.told.extend(told.map(|incident| (incident.id.to_string(), incident.revision)));
            match commit.snapshot {
                Some(snapshot) => {
                    memory.snapshot = Some(snapshot.to_vec());
                    memory.frames.clear();
                }
                None => memory.frames.push(commit.frame.to_vec()),
            }
            Ok(())
        }

        fn resolve(&mut self, _: &Commit<'_>) -> Result<CommitOutcome, SinkError> {
            panic!("nothing fails")
        }
    }

    fn open(memory: &Rc<RefCell<Memory>>, failure_threshold: u64) -> Correlator {
        let settings = Settings { failure_threshold, ..Config::embedded().settings };
        let spec = CorrelatorSpec {
            settings,
            inventory: Vec::new(),
            lateness_ticks: TICKS_PER_SEC,
            idle_ticks: TICKS_PER_SEC,
            emit_mode: EmitMode::Live,
        };
        Correlator::open(spec, Box::new(MemorySink(Rc::clone(memory)))).expect("opens")
    }

    /// Some failures of one account, and a commit that tells what is news.
    fn fail(correlator: &mut Correlator, account: &str, numbers: std::ops::Range<u64>) {
        let observation = |number: u64| Observation {
            key: RecordKey {
                time: EventTime(134_000_000_000_000_000 + number * TICKS_PER_SEC),
                computer: "PC1".into(),
                channel: "Security".into(),
                record_id: number,
            },
            provider: "P".into(),
            event_id: 4625,
            what: What::Failure(Box::new(Failure {
                account: Account { name: Some(account.into()), ..Account::default() },
                ..Failure::default()
            })),
        };
        let observations = numbers.map(observation).collect();
        let traced = Vec::new();
        let observation_batches =
            vec![ObservationBatch { part: 1, arrival: EventTime(1), observations, traced }];
        correlator.take("logs", Flushed { observation_batches, ..Flushed::default() });
        correlator.commit(Advance::To(EventTime(2)), &Counters::new()).expect("commits");
    }

    #[test]
    fn frames_of_a_killed_run_are_taken_in_with_the_settings_that_they_were_made_with() {
        let memory = Rc::default();
        let mut correlator = open(&memory, 10);
        fail(&mut correlator, "ann", 0..6);
        fail(&mut correlator, "bob", 10..22);
        assert_eq!(memory.borrow().told.len(), 1, "bob's, with ten or more");
        drop(correlator);
        // Killed; then started with another threshold.
        let mut correlator = open(&memory, 5);
        fail(&mut correlator, "cat", 30..31);
        let told = memory.borrow().told.clone();
        assert_eq!(told.len(), 2, "ann's is told now, bob's is not told again: {told:?}");
        assert!(memory.borrow().frames.is_empty(), "a snapshot has the new settings");
        fail(&mut correlator, "cat", 31..32);
        drop(correlator);
        let mut correlator = open(&memory, 5);
        fail(&mut correlator, "cat", 32..33);
        assert_eq!(memory.borrow().frames.len(), 2, "nothing changed: no snapshot");
        assert_eq!(memory.borrow().told, told);
    }
}

//! The stage that owns the detector and the sink: takes in what the sources flushed, lets the
//! detector emit what is news, and commits both with the positions behind it.
//!
//! ```text
//!   flushed ─▶ detector ─▶ incidents ┐
//!      └─────▶ changelog entry ──────┴─▶ sink, in one step
//! ```
//!
//! A commit that fails with a retryable error is in doubt: the same step, and nothing else, is
//! tried again until it is durable, as the sink finds out first whether it already is.

use std::thread;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::counters::{Counters, Taken};
use super::decode::batcher::{Flushed, NO_PARTITION};
use super::restore::{Applied, CorrelateError, CorrelatorSpec, EmitMode, Restored, SnapshotHead};
use super::snapshots::SnapshotPolicy;
use super::traces::Traces;
use super::wrong_clocks::WrongClocks;
use super::{host_number, wall_clock};
use crate::detect::findings::Finding;
use crate::detect::watermark::{Backlog, CaughtUp, Watermark};
use crate::detect::{Detector, OVER_BOUNDS};
use crate::explain;
use crate::incident::Incident;
use crate::observation::{ListedHost, What};
use crate::position::{Position, SourcePositions};
use crate::reject::DeadLetter;
use crate::retry::Retry;
use crate::sink::{Commit, CommitOutcome, Sink, SinkError};
use crate::store::checkpoint::{Advance, ChangelogEntry, EntryStep, HostTime, ObservationBatch};
use crate::store::codec;
use crate::time::EventTime;

/// What waits for a commit waits so long: incidents, what nobody waits for, and positions alone. Each
/// commit is a round trip to the sink.
const EMIT_AFTER: Duration = Duration::from_millis(10);
const COMMIT_AFTER: Duration = Duration::from_millis(100);
const POSITIONS_AFTER: Duration = Duration::from_secs(1);

/// What came is evaluated no more often than that.
const EVALUATE_EVERY: Duration = Duration::from_millis(5);

/// Of its time the detector spends no more than half on working out what is news, and no more than
/// a tenth on what follows of new facts, which costs as much as is known.
const EVALUATION_SHARE: u32 = 2;
const CONCLUSION_SHARE: u32 = 10;

/// Sessions are closed no more often than that by the watermark alone.
const CLOSE_EVERY: Duration = Duration::from_secs(1);

/// What was refused because of bounds is logged so often.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// What is to be committed in one step.
struct Step {
    start: Instant,
    incidents: Vec<Incident>,
    dead_letters: Vec<DeadLetter>,
    /// Empty where a snapshot stands for it.
    entry: Vec<u8>,
    snapshot: Option<Snapshot>,
    moved: SourcePositions,
    /// Whether it was tried, and may have been done.
    tried: bool,
}

/// A snapshot, and how long it took to make.
struct Snapshot {
    bytes: Vec<u8>,
    took: Duration,
}

impl Step {
    /// Commits it, unless the sink finds that an earlier try did.
    fn deliver(&mut self, sink: &mut dyn Sink) -> Result<(), SinkError> {
        let commit = Commit {
            incidents: &self.incidents,
            dead_letters: &self.dead_letters,
            frame: &self.entry,
            snapshot: self.snapshot.as_ref().map(|snapshot| snapshot.bytes.as_slice()),
        };
        let outcome = match std::mem::replace(&mut self.tried, true) {
            true => sink.resolve(&commit)?,
            false => CommitOutcome::Aborted,
        };
        match outcome {
            CommitOutcome::Committed => Ok(()),
            CommitOutcome::Aborted => sink.commit(&commit),
        }
    }
}

/// Where incidents go.
enum Output {
    /// With a checkpoint, in one step.
    Sink(Box<dyn Sink>),
    /// Into memory, of a run that does not outlive the process.
    Memory(Vec<Incident>),
}

/// A commit that fails because brokers are away is tried again after a pause that grows, for some
/// ten minutes and the time that the tries take.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(30);
const TRIES_MAX: u32 = 25;

/// When the service is to stop, it is tried no more often than that.
const STOP_TRIES_MAX: u32 = 5;

/// A blocking retry shows that it is alive so often.
const ALIVE_EVERY: Duration = Duration::from_millis(50);

pub(crate) struct Correlator {
    detector: Detector,
    clocks: Watermark,
    positions: SourcePositions,
    watermark: EventTime,
    /// What the detector had taken in when this run began.
    taken_before: Taken,
    output: Output,
    emit_mode: EmitMode,
    traces: Traces,
    entry: ChangelogEntry,
    /// What was evaluated, and waits for the next commit.
    incidents: Vec<Incident>,
    committed_at: Instant,
    dead_letters: Vec<DeadLetter>,
    waiting_since: Option<Instant>,
    /// Whether nothing waits for a commit but positions.
    positions_only: bool,
    /// What is not committed yet, though it was tried.
    step: Option<Step>,
    /// When that is tried again.
    retry: Option<(Retry, Instant)>,
    /// Positions that became durable since they were last asked for.
    newly_committed: SourcePositions,
    /// Whether something was taken in that was not evaluated, and whether anything was at all.
    unseen: bool,
    has_taken: bool,
    /// Whether what is emitted now is the last for a while.
    is_stopping: bool,
    evaluate_at: Instant,
    /// What bounds made the detector refuse, as far as it was logged.
    over_bounds: [u64; OVER_BOUNDS],
    warn_at: Instant,
    wrong_clocks: WrongClocks,
    /// When what follows of new facts may be worked out again.
    conclude_at: Instant,
    /// When sessions may be closed again that nothing else makes it look at.
    close_at: Instant,
    snapshots: SnapshotPolicy,
    /// Whether the next step has to be a snapshot: what entries are made with
    /// is no longer what stands in the last one.
    snapshot_next: bool,
}

impl std::fmt::Debug for Correlator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Correlator").field("watermark", &self.watermark).finish_non_exhaustive()
    }
}

impl Correlator {
    /// Goes on from what the sink kept.
    pub(crate) fn open(
        spec: &CorrelatorSpec,
        mut sink: Box<dyn Sink>,
        counters: &Counters,
    ) -> Result<Correlator, CorrelateError> {
        let start = Instant::now();
        let kept = sink.restore()?;
        counters.alive();
        let mut restored = Restored::from(kept, spec, &|| counters.alive())?;
        let Applied { entries, observations, evaluations, .. } = restored.applied;
        if restored.has_state {
            let sessions = restored.detector.open_keys();
            let seconds = start.elapsed().as_secs_f32();
            info!(seconds, sessions, entries, observations, evaluations, "the state is restored");
        }
        Ok(Correlator::new(spec, restored, Output::Sink(sink)))
    }

    /// Begins anew and keeps everything in memory.
    pub(crate) fn in_memory(spec: &CorrelatorSpec) -> Correlator {
        let mut detector = Detector::new(spec.settings.clone());
        detector.learn_inventory(spec.inventory.clone());
        let restored = Restored {
            detector,
            positions: SourcePositions::default(),
            watermark: EventTime::MIN,
            traces: Traces::default(),
            applied: Applied::default(),
            has_state: false,
            as_before: true,
        };
        Correlator::new(spec, restored, Output::Memory(Vec::new()))
    }

    fn new(spec: &CorrelatorSpec, restored: Restored, output: Output) -> Correlator {
        let Restored { detector, positions, watermark, traces, applied, as_before, .. } = restored;
        Correlator {
            clocks: Watermark::new(spec.lateness_ticks, spec.idle_ticks, watermark, wall_clock()),
            taken_before: Taken::by(&detector),
            detector,
            positions,
            watermark,
            output,
            emit_mode: spec.emit_mode,
            entry: ChangelogEntry::default(),
            incidents: Vec::new(),
            committed_at: Instant::now(),
            dead_letters: Vec::new(),
            waiting_since: None,
            positions_only: false,
            step: None,
            retry: None,
            newly_committed: SourcePositions::default(),
            traces,
            // What the last entries brought may not have been evaluated.
            unseen: applied.entries > 0 || !as_before,
            has_taken: applied.entries > 0,
            is_stopping: false,
            evaluate_at: Instant::now(),
            conclude_at: Instant::now(),
            close_at: Instant::now(),
            over_bounds: [0; OVER_BOUNDS],
            warn_at: Instant::now(),
            wrong_clocks: WrongClocks::default(),
            snapshots: SnapshotPolicy::new(applied),
            snapshot_next: !as_before,
        }
    }

    pub(crate) fn positions(&self) -> &SourcePositions {
        &self.positions
    }

    /// Behind everything that was taken in of a part, committed or not.
    pub(crate) fn position(&self, source: &str, part: &str) -> Option<Position> {
        let taken = self.entry.moved.get(source, part);
        taken.or_else(|| self.positions.get(source, part)).cloned()
    }

    pub(crate) fn learn_inventory(&mut self, inventory: Vec<ListedHost>) {
        self.detector.learn_inventory(inventory);
        self.unseen = true;
        self.snapshot_next = true;
    }

    /// Takes in what a source flushed. Not while a commit is in doubt.
    pub(crate) fn take(&mut self, source: &str, flushed: Flushed) {
        let keeps = matches!(self.output, Output::Sink(_));
        let is_first = self.waiting_since.is_none();
        self.positions_only = (is_first || self.positions_only) && flushed.is_positions_only();
        self.waiting_since.get_or_insert_with(Instant::now);
        if keeps {
            for (part, position) in flushed.moved {
                self.entry.moved.set(source, &part, position);
            }
            self.dead_letters.extend(flushed.dead_letters);
        }
        for batch in flushed.observation_batches {
            self.observe_times(&batch);
            if !batch.observations.is_empty() || !batch.traced.is_empty() {
                self.traces.remember(&batch.traced);
                self.detector.ingest(&batch.observations);
                self.unseen |= !batch.observations.is_empty();
                self.has_taken |= !batch.observations.is_empty();
                if keeps {
                    self.open_step().observation_batches.push(batch);
                }
            }
        }
    }

    /// The step of the entry that was not evaluated yet.
    fn open_step(&mut self) -> &mut EntryStep {
        let steps = &mut self.entry.steps;
        if steps.last().is_none_or(|step| step.advance != Advance::NotYet) {
            steps.push(EntryStep::default());
        }
        steps.last_mut().expect("one was pushed if there was none")
    }

    /// Lets the watermark follow the partition.
    fn observe_times(&mut self, batch: &ObservationBatch) {
        if batch.part == NO_PARTITION {
            return;
        }
        let arrival = batch.arrival;
        self.clocks.heartbeat(batch.part, arrival);
        self.clocks
            .note_backlog(batch.part, if batch.is_current { Backlog::No } else { Backlog::Yes });
        for HostTime { host, time } in &batch.unwanted {
            self.clocks.observe(batch.part, *host, *time, arrival);
        }
        for observation in &batch.observations {
            if !matches!(observation.what, What::Fact(_)) {
                let (computer, time) = (&observation.key.computer, observation.key.time);
                self.wrong_clocks.note_ahead(computer, time, arrival);
                self.clocks.observe(batch.part, host_number(computer), time, arrival);
            }
        }
    }

    /// Whether a commit is in doubt: then nothing more is to be taken in.
    pub(crate) fn is_in_doubt(&self) -> bool {
        self.step.is_some()
    }

    /// Commits if it is time to; what became of it. A commit that is in doubt is tried again when
    /// its pause is over.
    pub(crate) fn maybe_commit(
        &mut self,
        caught_up: CaughtUp,
        counters: &Counters,
    ) -> Result<CommitProgress, CorrelateError> {
        if self.step.is_some() {
            let is_due = self.retry.as_ref().is_none_or(|(_, at)| *at <= Instant::now());
            return if is_due {
                self.deliver(TRIES_MAX, counters)
            } else {
                Ok(CommitProgress::InDoubt)
            };
        }
        let now = Instant::now();
        let watermark = self.clocks.advance(wall_clock(), caught_up);
        counters.reached(watermark);
        let closes = watermark >= self.detector.next_due() && now >= self.close_at;
        let concludes = now >= self.conclude_at && !self.detector.is_concluded();
        let evaluates = self.emit_mode == EmitMode::Live
            && (self.unseen || closes || concludes)
            && now >= self.evaluate_at;
        if evaluates {
            self.evaluate(Advance::To(watermark));
        }
        let commit_after = match (self.incidents.is_empty(), self.positions_only) {
            (false, _) => EMIT_AFTER,
            (true, false) => COMMIT_AFTER,
            (true, true) => POSITIONS_AFTER,
        };
        let is_due = self.waiting_since.is_some_and(|since| since.elapsed() >= commit_after)
            || !self.incidents.is_empty() && self.committed_at.elapsed() >= EMIT_AFTER;
        if !is_due {
            return Ok(CommitProgress::Idle);
        }
        self.commit(TRIES_MAX, counters)
    }

    /// Commits whatever was taken in, with a snapshot: the next start is quick. What is known by
    /// now is emitted.
    pub(crate) fn stop(&mut self, counters: &Counters) -> Result<CommitProgress, CorrelateError> {
        self.resolve(STOP_TRIES_MAX, counters)?;
        let evaluates = self.emit_mode == EmitMode::Live && self.has_taken;
        if self.waiting_since.is_none() && self.snapshots.is_current() && !evaluates {
            return Ok(CommitProgress::Idle);
        }
        self.snapshot_next = true;
        self.has_taken = false;
        self.is_stopping = true;
        if evaluates {
            self.evaluate(Advance::To(self.watermark));
        }
        self.commit(STOP_TRIES_MAX, counters)?;
        self.resolve(STOP_TRIES_MAX, counters)
    }

    /// Closes everything, as at the end of a replay; with a snapshot, as [`Correlator::stop`] makes
    /// one.
    pub(crate) fn finish(&mut self, counters: &Counters) -> Result<CommitProgress, CorrelateError> {
        self.resolve(TRIES_MAX, counters)?;
        self.snapshot_next = true;
        self.evaluate(Advance::End);
        self.commit(TRIES_MAX, counters)?;
        self.resolve(TRIES_MAX, counters)
    }

    /// Waits until nothing is in doubt.
    fn resolve(
        &mut self,
        tries_max: u32,
        counters: &Counters,
    ) -> Result<CommitProgress, CorrelateError> {
        let mut progress = CommitProgress::Idle;
        while self.step.is_some() {
            counters.alive();
            match self.retry.as_ref().map(|(_, at)| *at) {
                Some(at) if at > Instant::now() => thread::sleep(ALIVE_EVERY),
                _ => progress = self.deliver(tries_max, counters)?,
            }
        }
        Ok(progress)
    }

    fn commit(
        &mut self,
        tries_max: u32,
        counters: &Counters,
    ) -> Result<CommitProgress, CorrelateError> {
        assert!(self.step.is_none(), "a step is committed before the next is made");
        let start = Instant::now();
        let incidents = std::mem::take(&mut self.incidents);
        self.waiting_since = None;
        if let Output::Memory(all) = &mut self.output {
            all.extend(incidents);
            counters.taken(Taken::by(&self.detector).since(self.taken_before));
            return Ok(CommitProgress::Committed);
        }
        let entry = std::mem::take(&mut self.entry);
        self.positions.absorb(entry.moved.clone());
        let mut bytes = Vec::new();
        if !self.snapshot_next {
            bytes = codec::encode(&entry);
            self.snapshots.add(&entry, bytes.len());
        }
        let snapshot = (std::mem::take(&mut self.snapshot_next) || self.snapshots.is_due())
            .then(|| self.snapshot());
        let dead_letters = std::mem::take(&mut self.dead_letters);
        let (moved, tried) = (entry.moved, false);
        self.step =
            Some(Step { start, incidents, dead_letters, entry: bytes, snapshot, moved, tried });
        self.deliver(tries_max, counters)
    }

    /// Works out what is news by now, for the next commit.
    fn evaluate(&mut self, advance: Advance) {
        let start = Instant::now();
        let mut findings: Vec<Finding> = Vec::new();
        match advance {
            Advance::NotYet => return,
            Advance::To(watermark) => {
                self.watermark = watermark;
                if self.is_stopping {
                    self.detector.advance_to_pause(watermark, &mut findings);
                } else {
                    if start >= self.conclude_at && !self.detector.is_concluded() {
                        self.detector.conclude();
                        let took = start.elapsed();
                        self.conclude_at = Instant::now() + took * (CONCLUSION_SHARE - 1);
                    }
                    self.detector.advance_concluded(watermark, &mut findings);
                }
            }
            Advance::End => self.detector.advance(EventTime::MAX, &mut findings),
        }
        // A snapshot has them.
        if matches!(self.output, Output::Sink(_)) && !self.snapshot_next {
            let changes = self.detector.take_changes();
            let step = self.open_step();
            step.advance = advance;
            step.evaluation = borsh::to_vec(&changes).expect("memory can be written");
        }
        for mut incident in findings.into_iter().map(explain::incident) {
            incident.traceparent = self.traces.of(&incident);
            self.incidents.push(incident);
        }
        self.waiting_since.get_or_insert(start);
        self.positions_only = false;
        self.warn_of_bounds();
        self.wrong_clocks.warn(self.detector.take_late_hosts());
        self.unseen = false;
        let pause = (start.elapsed() * (EVALUATION_SHARE - 1)).max(EVALUATE_EVERY);
        self.evaluate_at = Instant::now() + pause;
        self.close_at = Instant::now() + CLOSE_EVERY;
    }

    /// Commits the step at hand. After an error that is retryable it stays in doubt, as long as
    /// there are tries left.
    fn deliver(
        &mut self,
        tries_max: u32,
        counters: &Counters,
    ) -> Result<CommitProgress, CorrelateError> {
        let (Some(step), Output::Sink(sink)) = (&mut self.step, &mut self.output) else {
            return Ok(CommitProgress::Idle);
        };
        let delivered = step.deliver(&mut **sink);
        counters.alive();
        if let Err(error) = delivered {
            let error = CorrelateError::from(error);
            let new = Retry::backing_off(RETRY_PAUSE, RETRY_PAUSE_MAX, TRIES_MAX);
            let (mut retry, _) = self.retry.take().unwrap_or((new, Instant::now()));
            let pause = retry.next_pause().filter(|_| retry.tries() <= tries_max);
            let Some(pause) = pause.filter(|_| error.is_retryable()) else { return Err(error) };
            let pause = if tries_max < TRIES_MAX { RETRY_PAUSE } else { pause };
            warn!("a commit is tried again in {} seconds: {error}", pause.as_secs());
            self.retry = Some((retry, Instant::now() + pause));
            return Ok(CommitProgress::InDoubt);
        }
        if let Some((retry, _)) = self.retry.take() {
            info!(tries = retry.tries(), "the commit that failed is done");
        }
        let Some(step) = self.step.take() else { return Ok(CommitProgress::Idle) };
        self.committed_at = Instant::now();
        counters.committed(step.incidents.len(), step.start.elapsed());
        counters.taken(Taken::by(&self.detector).since(self.taken_before));
        self.newly_committed.absorb(step.moved);
        let Some(snapshot) = step.snapshot else { return Ok(CommitProgress::Committed) };
        self.snapshots.written(snapshot.took);
        Ok(CommitProgress::Snapshotted)
    }

    /// Positions that became durable since the last call.
    pub(crate) fn take_newly_committed(&mut self) -> SourcePositions {
        std::mem::take(&mut self.newly_committed)
    }

    /// What a run into memory came to.
    pub(crate) fn into_parts(self) -> (Detector, Vec<Incident>) {
        match self.output {
            Output::Sink(_) => (self.detector, Vec::new()),
            Output::Memory(incidents) => (self.detector, incidents),
        }
    }

    /// Logs now and then what bounds made the detector refuse.
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

    fn snapshot(&mut self) -> Snapshot {
        let start = Instant::now();
        let head = SnapshotHead {
            positions: self.positions.clone(),
            watermark: self.watermark,
            settings: self.detector.settings().clone(),
            inventory: self.detector.inventory().cloned().collect(),
            traced: self.traces.all(),
        };
        let (bytes, _) = codec::pack(&head, self.detector.state());
        Snapshot { bytes, took: start.elapsed() }
    }
}

/// What the clock asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CommitProgress {
    Idle,
    Committed,
    /// It failed, and is tried again.
    InDoubt,
    /// Committed with a snapshot: what came before is needed no more.
    Snapshotted,
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;
    use crate::config::Config;
    use crate::detect::Settings;
    use crate::observation::{Account, Failure, Observation, RecordKey};
    use crate::pipeline::counters::Inputs;
    use crate::store::RestoredState;
    use crate::time::TICKS_PER_SEC;

    /// What a sink keeps, and what was emitted to it: ids and revisions.
    #[derive(Default)]
    struct Memory {
        snapshot: Option<Vec<u8>>,
        frames: Vec<Vec<u8>>,
        emitted: Vec<(String, u32)>,
    }

    struct MemorySink(Rc<RefCell<Memory>>);

    impl Sink for MemorySink {
        fn restore(&mut self) -> Result<RestoredState, SinkError> {
            let memory = self.0.borrow();
            Ok(RestoredState { snapshot: memory.snapshot.clone(), frames: memory.frames.clone() })
        }

        fn commit(&mut self, commit: &Commit<'_>) -> Result<(), SinkError> {
            let mut memory = self.0.borrow_mut();
            let emitted = commit.incidents.iter();
            memory
                .emitted
                .extend(emitted.map(|incident| (incident.id.to_string(), incident.revision)));
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

    fn counters() -> Counters {
        Counters::new(Inputs::default())
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
        Correlator::open(&spec, Box::new(MemorySink(Rc::clone(memory))), &counters())
            .expect("opens")
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
        let observation_batches =
            vec![ObservationBatch { part: 1, observations, ..ObservationBatch::default() }];
        correlator.take("logs", Flushed { observation_batches, ..Flushed::default() });
        correlator.evaluate(Advance::To(EventTime(2)));
        correlator.commit(TRIES_MAX, &counters()).expect("commits");
    }

    #[test]
    fn frames_of_a_killed_run_are_taken_in_with_the_settings_that_they_were_made_with() {
        let memory = Rc::default();
        let mut correlator = open(&memory, 10);
        fail(&mut correlator, "ann", 0..6);
        fail(&mut correlator, "bob", 10..22);
        assert_eq!(memory.borrow().emitted.len(), 1, "bob's, with ten or more");
        drop(correlator);
        // Killed; then started with another threshold.
        let mut correlator = open(&memory, 5);
        fail(&mut correlator, "cat", 30..31);
        let emitted = memory.borrow().emitted.clone();
        assert_eq!(emitted.len(), 2, "ann's is emitted now, bob's not again: {emitted:?}");
        assert!(memory.borrow().frames.is_empty(), "a snapshot has the new settings");
        fail(&mut correlator, "cat", 31..32);
        drop(correlator);
        let mut correlator = open(&memory, 5);
        fail(&mut correlator, "cat", 32..33);
        assert_eq!(memory.borrow().frames.len(), 2, "nothing changed: no snapshot");
        assert_eq!(memory.borrow().emitted, emitted);
    }
}

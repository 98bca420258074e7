//! Archived logs: source to workers to detector, then everything is told.
//!
//! ```text
//!                  ┌─▶ worker 0: read, decode, apply rules ─┐
//!  source ─ batch ─┼─▶ worker 1                            ─┼─▶ detector ─▶ incidents
//!                  └─▶ …                                   ─┘
//! ```
//!
//! Batch `n` goes to worker `n mod N`, and results are taken back in the same
//! turn, so the detector sees the same sequence whatever the number of
//! workers. Every channel holds `BATCHES_PER_WORKER` batches.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use tracing::warn;

use super::decode::worker::{Decoded, Undecodable, Worker};
use crate::decode::Tally;
use crate::decode::lines::last_boundary;
use crate::detect::rules::{FactRule, RuleSpec, Rules};
use crate::detect::{Detector, Ingested, Settings};
use crate::explain;
use crate::incident::Incident;
use crate::observation::{ListedHost, Observation};
use crate::reject::RejectReason;
use crate::source::discover::{Input, discover};
use crate::source::files::Files;
use crate::source::{Batch, Next, SkippedWhat, Source, SourceError};
use crate::time::EventTime;

/// Batches on their way to one worker, and back from it.
const BATCHES_PER_WORKER: usize = 2;

/// Most warnings about single inputs in the log; the counts are complete.
const WARNINGS_MAX: usize = 100;

/// What a replay is to do.
#[derive(Clone, Debug)]
pub struct Replay {
    pub paths: Vec<PathBuf>,
    /// Files that will be written, and so must not be read.
    pub outputs: Vec<PathBuf>,
    pub settings: Settings,
    pub rules: Vec<RuleSpec>,
    pub fact_rules: Vec<FactRule>,
    /// Hosts that are known beforehand.
    pub inventory: Vec<ListedHost>,
    /// Workers that decode; 1 decodes on the calling thread.
    pub threads: usize,
    pub damage: OnDamage,
}

/// What to do about input that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDamage {
    /// Count it and go on.
    RejectReason,
    /// Stop at the first.
    Stop,
}

/// What a replay came to.
#[derive(Debug)]
pub struct Replayed {
    pub incidents: Vec<Incident>,
    /// Keeps what was learnt of accounts and hosts.
    pub detector: Detector,
    pub ingested: Ingested,
    pub files: u64,
    pub tally: Tally,
    /// Records for which a rule of kind mismatch or failure held.
    pub matched: BTreeMap<(Box<str>, u32), u64>,
    pub elapsed: Duration,
}

#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error("{sample}\n  hint: without --strict this is counted as `{reason}` and passed over")]
    Damaged { reason: &'static str, sample: String },
}

/// Is told how far a replay is.
pub trait ReplayProgress {
    /// Called once: bytes of all files, 0 when not known.
    fn started(&mut self, total_bytes: u64);
    fn advanced(&mut self, bytes: u64, records: u64);
    fn finished(&mut self);
}

/// For callers that do not want to know.
#[derive(Clone, Copy, Debug)]
pub struct NoProgress;

impl ReplayProgress for NoProgress {
    fn started(&mut self, _: u64) {}
    fn advanced(&mut self, _: u64, _: u64) {}
    fn finished(&mut self) {}
}

/// Takes what workers decoded, in order.
struct Collector<'w> {
    detector: Detector,
    files: BTreeSet<Arc<str>>,
    tally: Tally,
    matched: BTreeMap<(Box<str>, u32), u64>,
    damage: OnDamage,
    warned: BTreeSet<(Arc<str>, RejectReason)>,
    watch: &'w mut dyn ReplayProgress,
}

impl Collector<'_> {
    fn collect(&mut self, decoded: Decoded) -> Result<(), ReplayError> {
        self.files.insert(Arc::clone(&decoded.input));
        self.watch.advanced(decoded.progress_bytes, decoded.tally.records);
        self.detector.ingest(&decoded.observations);
        for (event, count) in decoded.matched {
            *self.matched.entry(event).or_default() += count;
        }
        let samples: Vec<(RejectReason, String)> = decoded
            .tally
            .samples
            .iter()
            .map(|(reason, sample)| (*reason, format!("{}: {sample}", decoded.input)))
            .collect();
        self.tally.absorb(decoded.tally);
        for (reason, sample) in samples {
            self.damaged(&decoded.input, reason, sample)?;
        }
        Ok(())
    }

    fn skipped(
        &mut self,
        input: &Arc<str>,
        what: SkippedWhat,
        why: &str,
    ) -> Result<(), ReplayError> {
        let reason = match what {
            SkippedWhat::File => RejectReason::File,
            SkippedWhat::ArchiveMember => RejectReason::ArchiveMember,
            SkippedWhat::Connection => RejectReason::Connection,
        };
        self.files.insert(Arc::clone(input));
        let sample = format!("{input}: {why}");
        self.tally.skip(reason, || sample.clone());
        self.damaged(input, reason, sample)
    }

    fn damaged(
        &mut self,
        input: &Arc<str>,
        reason: RejectReason,
        sample: String,
    ) -> Result<(), ReplayError> {
        if self.damage == OnDamage::Stop {
            return Err(ReplayError::Damaged { reason: reason.name(), sample });
        }
        if self.warned.len() < WARNINGS_MAX && self.warned.insert((Arc::clone(input), reason)) {
            let text = crate::output::escape::terminal(&sample).into_owned();
            warn!(reason = reason.name(), "{text}");
            if self.warned.len() == WARNINGS_MAX {
                warn!("more is passed over without a warning; the summary counts all of it");
            }
        }
        Ok(())
    }
}

/// Reads everything and gives the final incidents.
pub fn replay(replay: Replay, watch: &mut dyn ReplayProgress) -> Result<Replayed, ReplayError> {
    let start = Instant::now();
    let inputs = discover(&replay.paths, &replay.outputs)?;
    let total = inputs.iter().map(|input| match input {
        Input::File { bytes, .. } => *bytes,
        Input::StandardInput | Input::Unreadable { .. } => 0,
    });
    watch.started(total.sum());
    let rules = Arc::new(Rules::new(&replay.rules, &replay.fact_rules));
    let mut source = Files::new(inputs, last_boundary);
    let mut detector = Detector::new(replay.settings);
    detector.learn_inventory(replay.inventory);
    let mut collector = Collector {
        detector,
        files: BTreeSet::new(),
        tally: Tally::default(),
        matched: BTreeMap::new(),
        damage: replay.damage,
        warned: BTreeSet::new(),
        watch,
    };
    if replay.threads <= 1 {
        alone(&mut source, Worker::new(&rules, Undecodable::Dropped), &mut collector)?;
    } else {
        shared(&mut source, &rules, replay.threads, &mut collector)?;
    }
    collector.watch.finished();
    let mut findings = Vec::new();
    collector.detector.advance(EventTime::MAX, &mut findings);
    Ok(Replayed {
        incidents: findings.into_iter().map(explain::incident).collect(),
        ingested: collector.detector.ingested(),
        detector: collector.detector,
        files: collector.files.len() as u64,
        tally: collector.tally,
        matched: collector.matched,
        elapsed: start.elapsed(),
    })
}

fn alone(
    source: &mut dyn Source,
    mut worker: Worker,
    collector: &mut Collector<'_>,
) -> Result<(), ReplayError> {
    loop {
        match source.next(Duration::ZERO)? {
            Next::Batch(batch) => collector.collect(worker.decode(&batch))?,
            Next::Skipped(skipped) => {
                collector.skipped(&skipped.input, skipped.what, &skipped.reason)?;
            }
            Next::Idle | Next::Waiting | Next::Rewound => {}
            Next::End => break,
        }
    }
    let mut facts: Vec<Observation> = Vec::new();
    worker.take_facts(&mut facts);
    collector.detector.ingest(&facts);
    Ok(())
}

fn shared(
    source: &mut dyn Source,
    rules: &Arc<Rules>,
    threads: usize,
    collector: &mut Collector<'_>,
) -> Result<(), ReplayError> {
    std::thread::scope(|scope| {
        let mut lanes: Vec<(SyncSender<Batch>, Receiver<Decoded>)> = Vec::new();
        let mut workers = Vec::new();
        for _ in 0..threads {
            let (batch_in, batch_out) = sync_channel::<Batch>(BATCHES_PER_WORKER);
            let (done_in, done_out) = sync_channel::<Decoded>(BATCHES_PER_WORKER);
            let mut worker = Worker::new(rules, Undecodable::Dropped);
            workers.push(scope.spawn(move || {
                for batch in batch_out {
                    // The other end is gone only when the run has failed.
                    if done_in.send(worker.decode(&batch)).is_err() {
                        break;
                    }
                }
                let mut facts: Vec<Observation> = Vec::new();
                worker.take_facts(&mut facts);
                facts
            }));
            lanes.push((batch_in, done_out));
        }
        let (mut sent, mut taken) = (0, 0);
        let lost = "a worker ends only when its channel is closed";
        loop {
            match source.next(Duration::ZERO)? {
                Next::Batch(batch) => {
                    if sent - taken == threads * BATCHES_PER_WORKER {
                        let decoded = lanes[taken % threads].1.recv().expect(lost);
                        taken += 1;
                        collector.collect(decoded)?;
                    }
                    lanes[sent % threads].0.send(batch).expect(lost);
                    sent += 1;
                }
                Next::Skipped(skipped) => {
                    collector.skipped(&skipped.input, skipped.what, &skipped.reason)?;
                }
                Next::Idle | Next::Waiting | Next::Rewound => {}
                Next::End => break,
            }
        }
        while taken < sent {
            let decoded = lanes[taken % threads].1.recv().expect(lost);
            taken += 1;
            collector.collect(decoded)?;
        }
        drop(lanes);
        for worker in workers {
            collector.detector.ingest(&worker.join().expect("a worker does not panic"));
        }
        Ok(())
    })
}

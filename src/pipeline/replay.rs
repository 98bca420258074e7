//! Archived logs: all are read, then everything is emitted.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::Stop;
use super::correlate::Correlator;
use super::counters::{Counters, Inputs};
use super::decode::SharedRules;
use super::decode::reader::ReadError;
use super::link::channel::{self, ChannelError, Reading};
use super::plan::{self, RunPlan};
use super::rejects::{Damaged, RejectLog};
use super::restore::{CorrelateError, CorrelatorSpec};
use crate::decode::Tally;
use crate::detect::rules::{FactRule, RuleSpec, Rules};
use crate::detect::{Detector, Ingested, Settings};
use crate::incident::Incident;
use crate::observation::ListedHost;
use crate::source::SourceError;
use crate::source::discover::{Input, discover};

pub use super::rejects::OnDamage;

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
    /// Workers that decode; with 1 everything happens on the calling thread.
    pub threads: usize,
    pub damage: OnDamage,
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
    #[error(transparent)]
    Damaged(#[from] Damaged),
    #[error(transparent)]
    Correlate(#[from] CorrelateError),
    #[error("{0}")]
    Gone(String),
}

impl From<ChannelError> for ReplayError {
    fn from(error: ChannelError) -> ReplayError {
        match error {
            ChannelError::Read(ReadError::Source(error)) => ReplayError::Source(error),
            ChannelError::Read(ReadError::Damaged(error)) => ReplayError::Damaged(error),
            ChannelError::Correlate(error) => ReplayError::Correlate(error),
            gone @ ChannelError::Gone { .. } => ReplayError::Gone(gone.to_string()),
        }
    }
}

/// Follows how far a replay is.
pub trait ReplayProgress {
    /// Called once: bytes of all files, 0 when not known.
    fn started(&mut self, total_bytes: u64);
    /// Called now and then: bytes and records since the last call.
    fn advanced(&mut self, bytes: u64, records: u64);
    fn finished(&mut self);
}

/// For callers that show none.
#[derive(Clone, Copy, Debug)]
pub struct NoProgress;

impl ReplayProgress for NoProgress {
    fn started(&mut self, _: u64) {}
    fn advanced(&mut self, _: u64, _: u64) {}
    fn finished(&mut self) {}
}

/// Reads everything and gives the final incidents.
pub fn replay(replay: Replay, progress: &mut dyn ReplayProgress) -> Result<Replayed, ReplayError> {
    let plan = RunPlan::of_replay(replay.threads, replay.damage);
    let counters = Counters::new(Inputs::counted());
    let inputs = discover(&replay.paths, &replay.outputs)?;
    let total = inputs.iter().map(|input| match input {
        Input::File { bytes, .. } => *bytes,
        Input::StandardInput | Input::Unreadable { .. } => 0,
    });
    progress.started(total.sum());
    let rules = SharedRules::new(Rules::new(&replay.rules, &replay.fact_rules));
    let rejects = RejectLog::new(plan.on_damage);
    let mut correlator = Correlator::in_memory(&CorrelatorSpec {
        settings: replay.settings,
        inventory: replay.inventory,
        lateness_ticks: 0,
        idle_ticks: 0,
        emit_mode: plan.emit_mode,
    });
    let reading = Reading {
        rules: &rules,
        rejects: &rejects,
        counters: &counters,
        stop: &Stop::default(),
        keep_bytes: plan.keep_bytes,
        linger: plan.linger,
    };
    let mut shown = (0, 0);
    let mut tick = |_: &mut Correlator| {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let now = (load(&counters.progress_bytes), load(&counters.records));
        if now != shown {
            progress.advanced(now.0 - shown.0, now.1 - shown.1);
            shown = now;
        }
    };
    channel::run(reading, plan::files(inputs), plan.threads, &mut correlator, &mut tick)?;
    progress.finished();
    correlator.finish(&counters)?;
    Ok(report(correlator, counters, &rejects))
}

fn report(correlator: Correlator, counters: Counters, rejects: &RejectLog) -> Replayed {
    let (detector, incidents) = correlator.into_parts();
    let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let tally = Tally {
        bytes: load(&counters.bytes),
        chunks: load(&counters.chunks),
        records: load(&counters.records),
        slow_records: load(&counters.slow_records),
        skipped: rejects.counts(),
        samples: rejects.samples(),
        ..Tally::default()
    };
    let elapsed = counters.elapsed();
    let counts = counters.inputs.into_counts();
    Replayed {
        incidents,
        ingested: detector.ingested(),
        detector,
        files: counts.files.len() as u64,
        tally,
        matched: counts.matched,
        elapsed,
    }
}

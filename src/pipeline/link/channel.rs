//! Readers and detector in one process:
//!
//! ```text
//!  source ─▶ reader ┐
//!  source ─▶ reader ┼─▶ channel ─▶ correlator
//!  source ─▶ …      ┘      (bounded: a slow sink makes the sources wait)
//!     ▲                                  │
//!     └───── committed(positions) ◀──────┘
//! ```
//!
//! A single source without workers is read on the thread that correlates.

use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::detect::watermark::CaughtUp;
use crate::pipeline::correlate::{CommitProgress, Correlator};
use crate::pipeline::counters::Counters;
use crate::pipeline::decode::SharedRules;
use crate::pipeline::decode::batcher::{Batcher, Flushed, Linger};
use crate::pipeline::decode::lanes::{Lanes, WorkerPool};
use crate::pipeline::decode::reader::{Polled, ReadError, Reader};
use crate::pipeline::rejects::{KeepBytes, RejectLog};
use crate::pipeline::restore::CorrelateError;
use crate::pipeline::{Stop, spawn};
use crate::position::Positions;
use crate::source::{AfterStop, Source};

/// Flushed by readers, and not taken in yet.
const FLUSHED_MAX: usize = 4;

/// How long a reader waits for its source at once.
const READ_WAIT: Duration = Duration::from_millis(100);

/// How long the correlator waits for a reader before it sees to its commits.
const TAKE_WAIT: Duration = Duration::from_millis(10);

#[derive(Debug, thiserror::Error)]
pub(crate) enum ChannelError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Correlate(#[from] CorrelateError),
    #[error(
        "the thread of source `{source_name}` is gone\n  hint: this is a mistake in twinsid; nothing was lost, start it again"
    )]
    Gone { source_name: String },
}

/// Where the threads of a run decode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Threads {
    /// Everything on the calling thread.
    One,
    /// A thread for each source, and so many that decode for all of them.
    Workers(usize),
}

/// What all readers of a run share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading<'p> {
    pub rules: &'p SharedRules,
    pub rejects: &'p RejectLog,
    pub counters: &'p Counters,
    pub stop: &'p Stop,
    pub keep_bytes: KeepBytes,
    pub linger: Linger,
}

impl<'p> Reading<'p> {
    pub(crate) fn reader<S: Source + ?Sized>(
        &self,
        name: &str,
        source: Box<S>,
        lanes: Lanes<'p>,
    ) -> Reader<'p, S> {
        Reader::new(source, lanes, Batcher::new(self.linger, name), self.rejects, self.counters)
    }
}

/// How a run came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Every source was read to its end.
    AllRead,
    Stopped,
}

pub(crate) type NamedSources = Vec<(Arc<str>, Box<dyn Source + Send>)>;

/// Reads all sources into the correlator until they end or a stop is asked for. `tick` is called
/// between any two steps.
pub(crate) fn run(
    reading: Reading<'_>,
    sources: NamedSources,
    threads: Threads,
    correlator: &mut Correlator,
    tick: &mut dyn FnMut(&mut Correlator),
) -> Result<Ended, ChannelError> {
    match threads {
        Threads::One => run_alone(reading, sources, correlator, tick),
        Threads::Workers(workers) => run_beside(reading, sources, workers, correlator, tick),
    }
}

/// One source after the other, on the calling thread.
fn run_alone(
    reading: Reading<'_>,
    sources: NamedSources,
    correlator: &mut Correlator,
    tick: &mut dyn FnMut(&mut Correlator),
) -> Result<Ended, ChannelError> {
    for (name, source) in sources {
        let lanes = Lanes::inline(reading.rules, reading.keep_bytes);
        let mut reader = reading.reader(&name, source, lanes);
        let mut polled = Polled::Something;
        while polled != Polled::End {
            if reading.stop.is_asked() {
                return Ok(Ended::Stopped);
            }
            polled = reader.poll(READ_WAIT)?;
            if polled == Polled::End || reader.is_due() {
                correlator.take(&name, reader.flush()?);
            }
            tick(correlator);
            correlator.maybe_commit(CaughtUp::No, reading.counters)?;
        }
    }
    Ok(Ended::AllRead)
}

/// What a reader has to say.
enum Delivery {
    Flushed(Flushed),
    /// Nothing came for a while; whether there should be more.
    Silent(CaughtUp),
    End,
    Failed(ReadError),
}

/// Positions that became durable, on their way to a reader.
#[derive(Debug, Default)]
struct Committed(Mutex<Positions>);

impl Committed {
    fn put(&self, positions: Positions) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(positions);
    }

    fn take(&self) -> Positions {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Each source on a thread of its own, with shared workers.
fn run_beside(
    reading: Reading<'_>,
    sources: NamedSources,
    workers: usize,
    correlator: &mut Correlator,
    tick: &mut dyn FnMut(&mut Correlator),
) -> Result<Ended, ChannelError> {
    let names: Vec<Arc<str>> = sources.iter().map(|(name, _)| Arc::clone(name)).collect();
    let committed: Vec<Committed> = names.iter().map(|_| Committed::default()).collect();
    std::thread::scope(|scope| {
        let (deliver, delivered) = sync_channel::<(usize, Delivery)>(FLUSHED_MAX);
        let pool = WorkerPool::start(scope, reading.rules, reading.keep_bytes, workers);
        for (number, (name, source)) in sources.into_iter().enumerate() {
            let reader = reading.reader(&name, source, Lanes::on(&pool));
            let (deliver, committed) = (deliver.clone(), &committed[number]);
            spawn(scope, &name, move || {
                let deliver = |delivery| deliver.send((number, delivery)).is_ok();
                let end = match read(reader, &deliver, committed, reading.stop) {
                    Ok(()) => Delivery::End,
                    Err(error) => Delivery::Failed(error),
                };
                deliver(end);
            });
        }
        drop((deliver, pool));
        let outcome = correlate(&reading, &names, &committed, &delivered, correlator, tick);
        reading.stop.ask();
        // Threads that still have something to deliver must not wait for ever.
        drop(delivered);
        outcome
    })
}

/// The thread of one source: reads until its end, a stop, or nobody takes what it delivers.
fn read(
    mut reader: Reader<'_, dyn Source + Send>,
    deliver: &dyn Fn(Delivery) -> bool,
    committed: &Committed,
    stop: &Stop,
) -> Result<(), ReadError> {
    while !stop.is_asked() {
        let positions = committed.take();
        if !positions.is_empty() {
            reader.committed(&positions)?;
        }
        match reader.poll(READ_WAIT)? {
            Polled::Nothing { caught_up } => {
                let caught_up = if caught_up { CaughtUp::Yes } else { CaughtUp::No };
                if !deliver(Delivery::Silent(caught_up)) {
                    return Ok(());
                }
            }
            Polled::End => break,
            Polled::Something | Polled::Rewound => {}
        }
        if reader.is_due() && !deliver(Delivery::Flushed(reader.flush()?)) {
            return Ok(());
        }
    }
    if stop.is_asked() && reader.stop()? == AfterStop::Taken {
        while reader.poll(READ_WAIT)? != Polled::End {
            if reader.is_due() && !deliver(Delivery::Flushed(reader.flush()?)) {
                return Ok(());
            }
        }
    }
    let rest = reader.flush()?;
    if !rest.is_empty() {
        deliver(Delivery::Flushed(rest));
    }
    Ok(())
}

/// Takes in what the readers deliver, and commits it.
fn correlate(
    reading: &Reading<'_>,
    names: &[Arc<str>],
    committed: &[Committed],
    delivered: &Receiver<(usize, Delivery)>,
    correlator: &mut Correlator,
    tick: &mut dyn FnMut(&mut Correlator),
) -> Result<Ended, ChannelError> {
    let mut left = names.len();
    let mut caught_up = vec![CaughtUp::No; names.len()];
    while left > 0 {
        reading.counters.alive();
        let delivery = if correlator.is_in_doubt() {
            if reading.stop.is_asked() {
                return Ok(Ended::Stopped);
            }
            std::thread::sleep(TAKE_WAIT);
            Err(RecvTimeoutError::Timeout)
        } else {
            delivered.recv_timeout(TAKE_WAIT)
        };
        match delivery {
            Ok((number, Delivery::Flushed(flushed))) => {
                // While more of it waits to be read it is not.
                if flushed.observation_batches.iter().any(|batch| !batch.is_current) {
                    caught_up[number] = CaughtUp::No;
                }
                correlator.take(&names[number], flushed);
            }
            Ok((number, Delivery::Silent(is_caught_up))) => caught_up[number] = is_caught_up,
            Ok((number, Delivery::End)) => {
                caught_up[number] = CaughtUp::Yes;
                left -= 1;
            }
            Ok((_, Delivery::Failed(error))) => return Err(error.into()),
            Err(RecvTimeoutError::Timeout) => {}
            // Every thread says how it ended before it is gone.
            Err(RecvTimeoutError::Disconnected) => {
                return Err(ChannelError::Gone { source_name: names.join(", ") });
            }
        }
        tick(correlator);
        let all = caught_up.iter().all(|source| *source == CaughtUp::Yes);
        let all = if all { CaughtUp::Yes } else { CaughtUp::No };
        match correlator.maybe_commit(all, reading.counters)? {
            CommitProgress::Committed | CommitProgress::Snapshotted => {
                let newly = correlator.take_newly_committed();
                for (name, committed) in names.iter().zip(committed) {
                    committed.put(newly.of(name));
                }
            }
            CommitProgress::Idle | CommitProgress::InDoubt => {}
        }
    }
    Ok(if reading.stop.is_asked() { Ended::Stopped } else { Ended::AllRead })
}

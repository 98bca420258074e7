//! Reads one source: its batches go to the workers, what they came to into the batcher.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::batcher::{Batcher, Flushed};
use super::lanes::Lanes;
use super::worker::Decoded;
use crate::pipeline::counters::Counters;
use crate::pipeline::rejects::{Damaged, RejectLog};
use crate::position::Positions;
use crate::source::{AfterStop, Next, Source, SourceError};

/// A source is waited for no shorter than this, when something is due and cannot be flushed yet.
const WAIT_MIN: Duration = Duration::from_millis(1);

/// How often a source is asked how far it is behind.
const LAG_EVERY: Duration = Duration::from_secs(1);

/// Why a source cannot be read on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Damaged(#[from] Damaged),
}

/// What came of a poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Polled {
    /// Something was read, or came back from a worker.
    Something,
    /// Nothing came within the time; whether everything there is was read.
    Nothing {
        caught_up: bool,
    },
    /// What was read and not committed is somebody else's, or comes again; it was dropped.
    Rewound,
    End,
}

pub(crate) struct Reader<'p, S: ?Sized> {
    lanes: Lanes<'p>,
    batcher: Batcher,
    rejects: &'p RejectLog,
    counters: &'p Counters,
    /// The place of this source among the lags.
    lag_place: usize,
    lag_at: Instant,
    source: Box<S>,
}

impl<'p, S: Source + ?Sized> Reader<'p, S> {
    pub(crate) fn new(
        source: Box<S>,
        lanes: Lanes<'p>,
        batcher: Batcher,
        rejects: &'p RejectLog,
        counters: &'p Counters,
    ) -> Reader<'p, S> {
        let lag_place = counters.lag.register();
        let lag_at = Instant::now();
        Reader { lanes, batcher, rejects, counters, lag_place, lag_at, source }
    }

    pub(crate) fn source(&mut self) -> &mut S {
        &mut self.source
    }

    pub(crate) fn batcher(&mut self) -> &mut Batcher {
        &mut self.batcher
    }

    /// Reads what comes next, waiting for it `wait` at the most, and not longer than until
    /// something is due.
    pub(crate) fn poll(&mut self, wait: Duration) -> Result<Polled, ReadError> {
        if self.lanes.is_full()
            && let Some(decoded) = self.lanes.take()
        {
            self.add(decoded)?;
        }
        // What is being decoded is not made to wait for what may come.
        let wait = match self.lanes.in_flight() {
            0 => wait.min(self.batcher.time_left()).max(WAIT_MIN),
            _ => Duration::ZERO,
        };
        let polled = match self.source.next(wait)? {
            Next::Batch(batch) => {
                self.lanes.submit(batch);
                while let Some(decoded) = self.lanes.try_take() {
                    self.add(decoded)?;
                }
                Polled::Something
            }
            Next::Skipped(skipped) => {
                if let Some(dead_letter) = self.rejects.skipped(&skipped)? {
                    self.counters.dead_letters.fetch_add(1, Ordering::Relaxed);
                    self.batcher.reject(dead_letter);
                }
                self.counters.inputs.note(&skipped.input);
                self.counters.rejected.fetch_add(1, Ordering::Relaxed);
                Polled::Something
            }
            Next::Idle | Next::Waiting if self.lanes.in_flight() > 0 => {
                self.take_all()?;
                Polled::Something
            }
            Next::Idle => {
                self.batcher.caught_up();
                Polled::Nothing { caught_up: true }
            }
            Next::Waiting => Polled::Nothing { caught_up: false },
            Next::Rewound => {
                self.discard();
                Polled::Rewound
            }
            Next::End => {
                self.take_all()?;
                Polled::End
            }
        };
        if Instant::now() >= self.lag_at {
            self.counters.lag.set(self.lag_place, self.source.lag());
            self.lag_at = Instant::now() + LAG_EVERY;
        }
        Ok(polled)
    }

    /// No more is wanted than what the source has taken.
    pub(crate) fn stop(&mut self) -> Result<AfterStop, ReadError> {
        Ok(self.source.stop()?)
    }

    pub(crate) fn is_due(&self) -> bool {
        self.batcher.is_due()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.batcher.is_full()
    }

    /// Everything that was read since the last flush, waiting for what is being decoded.
    pub(crate) fn flush(&mut self) -> Result<Flushed, ReadError> {
        self.take_all()?;
        let mut facts = Vec::new();
        self.lanes.take_facts(&mut facts);
        Ok(self.batcher.flush(facts))
    }

    /// Drops everything since the last flush. Facts that a worker holds back may still be passed
    /// on: they are true, and to learn one twice changes nothing.
    pub(crate) fn discard(&mut self) {
        while self.lanes.take().is_some() {}
        self.batcher.flush(Vec::new());
    }

    /// Everything up to these positions is durable.
    pub(crate) fn committed(&mut self, positions: &Positions) -> Result<(), ReadError> {
        Ok(self.source.committed(positions)?)
    }

    fn take_all(&mut self) -> Result<(), ReadError> {
        while let Some(decoded) = self.lanes.take() {
            self.add(decoded)?;
        }
        Ok(())
    }

    fn add(&mut self, mut decoded: Decoded) -> Result<(), ReadError> {
        let rejected = self.rejects.decoded(&decoded.input, &decoded.tally)?;
        self.counters.decoded(&mut decoded, rejected);
        self.batcher.add(decoded);
        Ok(())
    }
}

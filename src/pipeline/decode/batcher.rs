//! What one source's batches came to, kept until it is worth passing on: soon when somebody waits
//! for it, and with the facts of everything in it, so that a position never stands behind
//! something that was held back.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::worker::Decoded;
use crate::hash::stable_hash;
use crate::observation::{Observation, What};
use crate::pipeline::wall_clock;
use crate::position::Position;
use crate::reject::DeadLetter;
use crate::store::checkpoint::{HostTime, ObservationBatch};

/// Failures and mismatches linger so long: a share of the time that they are old already, so
/// that a backlog is worked off in large steps, each of which costs the same.
const URGENT_MIN: Duration = Duration::from_millis(20);
const URGENT_MAX: Duration = Duration::from_millis(500);
const URGENT_SHARE: u32 = 10;

/// Positions alone linger at least so long: nobody waits for them, and each flush is a commit.
const POSITIONS_MIN: Duration = Duration::from_secs(1);

/// Observations, facts that are held back among them, of one flush: nothing more is read before
/// they are flushed. In tests so few that there are several flushes.
const OBSERVATIONS_MAX: usize = if cfg!(test) { 1_000 } else { 16_000 };

/// Bytes of dead letters of one flush.
const REJECT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Times of events that nobody wants, of one partition and flush.
const UNWANTED_MAX: usize = 64;

/// The number of no partition: says nothing about how far the events are.
pub(crate) const NO_PARTITION: u64 = 0;

/// Positions, and what has to be durable with them.
#[derive(Debug, Default)]
pub(crate) struct Flushed {
    pub observation_batches: Vec<ObservationBatch>,
    pub moved: Vec<(Arc<str>, Position)>,
    pub dead_letters: Vec<DeadLetter>,
}

impl Flushed {
    pub(crate) fn is_empty(&self) -> bool {
        self.moved.is_empty() && self.observation_batches.is_empty() && self.dead_letters.is_empty()
    }

    /// Whether positions are all there is, but for partitions that showed that they are there.
    pub(crate) fn is_positions_only(&self) -> bool {
        let is_heartbeat =
            |batch: &ObservationBatch| batch.observations.is_empty() && batch.traced.is_empty();
        self.dead_letters.is_empty() && self.observation_batches.iter().all(is_heartbeat)
    }
}

/// When a source's results are passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Linger {
    /// Once there is as much as may be, or at the end.
    UntilFull,
    /// After this time at the latest.
    For(Duration),
}

#[derive(Debug)]
pub(crate) struct Batcher {
    /// The partition of what has no position: senders come and go.
    source: u64,
    flushed: Flushed,
    observations: usize,
    facts_held: usize,
    reject_bytes: usize,
    since: Option<Instant>,
    /// Until when failures and mismatches linger.
    urgent_at: Option<Instant>,
    linger: Linger,
    /// Whether the source said once that everything there is was read.
    has_caught_up: bool,
}

impl Batcher {
    pub(crate) fn new(linger: Linger, source: &str) -> Batcher {
        Batcher {
            source: partition_number(source),
            flushed: Flushed::default(),
            observations: 0,
            facts_held: 0,
            reject_bytes: 0,
            since: None,
            urgent_at: None,
            linger,
            has_caught_up: false,
        }
    }

    pub(crate) fn add(&mut self, decoded: Decoded) {
        let now = Instant::now();
        let Decoded { observations, dead_letters, traced, moved, age, facts_held, .. } = decoded;
        let (last, is_current) = (decoded.last, decoded.is_current.unwrap_or(self.has_caught_up));
        let partition =
            moved.first().map_or(self.source, |(partition, _)| partition_number(partition));
        for (partition, position) in moved {
            match self.flushed.moved.iter_mut().find(|(known, _)| *known == partition) {
                Some((_, known)) => *known = position,
                None => self.flushed.moved.push((partition, position)),
            }
        }
        self.since.get_or_insert(now);
        let is_fact = |observation: &Observation| matches!(observation.what, What::Fact(_));
        if !observations.iter().all(is_fact) {
            let linger = (age / URGENT_SHARE).clamp(URGENT_MIN, URGENT_MAX);
            let at = self.urgent_at.get_or_insert(now + linger);
            *at = (*at).min(now + linger);
        }
        self.observations += observations.len();
        self.facts_held = self.facts_held.max(facts_held);
        self.reject_bytes += dead_letters.iter().map(|reject| reject.bytes.len()).sum::<usize>();
        self.flushed.dead_letters.extend(dead_letters);
        let batch = self.batch_of(partition);
        batch.observations.extend(observations);
        batch.traced.extend(traced);
        batch.is_current = is_current;
        batch.unwanted.extend(last);
        if batch.unwanted.len() > UNWANTED_MAX {
            keep_newest(&mut batch.unwanted);
        }
    }

    /// The source said that everything there is was read.
    pub(crate) fn caught_up(&mut self) {
        self.has_caught_up = true;
    }

    /// Adds what the source itself could not read.
    pub(crate) fn reject(&mut self, dead_letter: DeadLetter) {
        self.flushed.dead_letters.push(dead_letter);
        self.since.get_or_insert_with(Instant::now);
    }

    /// These partitions are there, though nothing may have come from them.
    pub(crate) fn heartbeat<'p>(&mut self, partitions: impl Iterator<Item = &'p Arc<str>>) {
        for partition in partitions {
            self.batch_of(partition_number(partition)).is_current = true;
        }
        self.since.get_or_insert_with(Instant::now);
    }

    /// What is flushed of a partition.
    fn batch_of(&mut self, partition: u64) -> &mut ObservationBatch {
        let batches = &mut self.flushed.observation_batches;
        let known = batches.iter().position(|batch| batch.part == partition);
        let at = known.unwrap_or_else(|| {
            let arrival = wall_clock();
            batches.push(ObservationBatch { part: partition, arrival, ..Default::default() });
            batches.len() - 1
        });
        &mut batches[at]
    }

    /// When it should be flushed.
    fn due_at(&self) -> Option<Instant> {
        let Linger::For(linger) = self.linger else { return None };
        let nobody_waits =
            self.observations == 0 && self.facts_held == 0 && self.flushed.is_positions_only();
        let linger = if nobody_waits { linger.max(POSITIONS_MIN) } else { linger };
        let since = self.since.map(|since| since + linger);
        since.into_iter().chain(self.urgent_at).min()
    }

    /// Whether there is as much as may be.
    pub(crate) fn is_full(&self) -> bool {
        self.observations + self.facts_held >= OBSERVATIONS_MAX
            || self.reject_bytes >= REJECT_BYTES_MAX
    }

    /// Whether it should be flushed now.
    pub(crate) fn is_due(&self) -> bool {
        self.is_full() || self.due_at().is_some_and(|at| at <= Instant::now())
    }

    /// How long the source may wait for more.
    pub(crate) fn time_left(&self) -> Duration {
        let now = Instant::now();
        match (self.due_at(), self.linger) {
            (Some(at), _) => at.saturating_duration_since(now),
            (None, Linger::For(linger)) => linger,
            (None, Linger::UntilFull) => Duration::MAX,
        }
    }

    /// Everything so far, with the facts of all of it.
    pub(crate) fn flush(&mut self, facts: Vec<Observation>) -> Flushed {
        if !facts.is_empty() {
            // Of no partition: what facts say is long known when they come.
            let batch = self.batch_of(NO_PARTITION);
            batch.is_current = true;
            batch.observations.extend(facts);
        }
        (self.observations, self.facts_held, self.reject_bytes) = (0, 0, 0);
        (self.since, self.urgent_at) = (None, None);
        std::mem::take(&mut self.flushed)
    }
}

/// Keeps the newest time of each host, of as many hosts as half the bound.
fn keep_newest(unwanted: &mut Vec<HostTime>) {
    unwanted.sort_unstable_by_key(|of| (of.host, Reverse(of.time)));
    unwanted.dedup_by_key(|of| of.host);
    unwanted.sort_unstable_by_key(|of| Reverse(of.time));
    unwanted.truncate(UNWANTED_MAX / 2);
}

/// A partition's name as a number.
fn partition_number(name: &str) -> u64 {
    stable_hash(name).max(1)
}

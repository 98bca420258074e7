//! What one source's batches came to, flushed until it is worth handing over:
//! soon when somebody waits for it, and with the facts of everything in it, so
//! that a position never stands behind something that was held back.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use super::worker::{Decoded, Undecodable, Worker};
use crate::detect::rules::Rules;
use crate::observation::{Observation, What};
use crate::pipeline::{Counters, wall_clock};
use crate::position::Position;
use crate::reject::DeadLetter;
use crate::source::{Batch, Content};
use crate::store::checkpoint::{ObservationBatch, Traced};

/// Failures and mismatches wait so long for company: a share of the time that
/// they are old already, so that a backlog is worked off in large steps, each of
/// which costs the same.
const URGENT_MIN: Duration = Duration::from_millis(20);
const URGENT_MAX: Duration = Duration::from_millis(500);
const URGENT_SHARE: u32 = 10;

/// Observations, facts that are held back among them, that are the most to be
/// flushed: nothing more is read before they are handed over.
const OBSERVATIONS_MAX: usize = 16_000;

/// Bytes of dead letters that are.
const REJECT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Positions and what has to be durable with them.
#[derive(Debug, Default)]
pub struct Flushed {
    pub observation_batches: Vec<ObservationBatch>,
    pub moved: Vec<(Arc<str>, Position)>,
    pub dead_letters: Vec<DeadLetter>,
}

impl Flushed {
    pub fn is_empty(&self) -> bool {
        self.moved.is_empty() && self.observation_batches.is_empty() && self.dead_letters.is_empty()
    }
}

/// The rules of today, for all sources.
#[derive(Debug)]
pub struct SharedRules {
    rules: RwLock<Arc<Rules>>,
    generation: AtomicU64,
}

impl SharedRules {
    pub fn new(rules: Arc<Rules>) -> SharedRules {
        SharedRules { rules: RwLock::new(rules), generation: AtomicU64::new(0) }
    }

    /// Every source takes them up when it next hands something over.
    pub fn replace(&self, rules: Arc<Rules>) {
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = rules;
        self.generation.fetch_add(1, Ordering::Release);
    }

    fn worker(&self) -> Worker {
        let rules = self.rules.read().unwrap_or_else(PoisonError::into_inner);
        Worker::new(&rules, Undecodable::RestoredState)
    }
}

#[derive(Debug)]
pub struct Batcher<'r> {
    rules: &'r SharedRules,
    /// The part of what has no position: senders come and go.
    source: u64,
    generation: u64,
    worker: Worker,
    flushed: Flushed,
    observations: usize,
    reject_bytes: usize,
    since: Option<Instant>,
    /// Until when failures and mismatches wait.
    urgent_at: Option<Instant>,
    interval: Duration,
}

impl<'r> Batcher<'r> {
    /// Hands over after `interval` at the latest.
    pub fn new(rules: &'r SharedRules, interval: Duration, source: &str) -> Batcher<'r> {
        Batcher {
            source: part_number(source),
            rules,
            generation: rules.generation.load(Ordering::Acquire),
            worker: rules.worker(),
            flushed: Flushed::default(),
            observations: 0,
            reject_bytes: 0,
            since: None,
            urgent_at: None,
            interval,
        }
    }

    pub fn add(&mut self, batch: Batch, counters: &Counters) {
        let age = match batch.content {
            Content::Messages { age, .. } => age,
            _ => Duration::ZERO,
        };
        let decoded = self.worker.decode(&batch);
        self.take_in(decoded, batch.moved, age, counters);
    }

    /// Decodes one message, to be closed with its stretch.
    pub fn message(
        &mut self,
        value: &[u8],
        origin: impl Fn() -> String,
        traceparent: impl Fn() -> Option<Box<str>>,
    ) {
        self.worker.message(value, origin, traceparent);
    }

    /// Takes in the messages since the last stretch, all of one part, the first
    /// of which was sent so long ago.
    pub fn close(
        &mut self,
        part: Arc<str>,
        position: Position,
        age: Duration,
        counters: &Counters,
    ) {
        let decoded = self.worker.take_decoded();
        self.take_in(decoded, vec![(part, position)], age, counters);
    }

    fn take_in(
        &mut self,
        decoded: Decoded,
        moved: Vec<(Arc<str>, Position)>,
        age: Duration,
        counters: &Counters,
    ) {
        let now = Instant::now();
        let part = moved.first().map_or(self.source, |(part, _)| part_number(part));
        let Decoded { observations, tally, dead_letters, traced, .. } = decoded;
        counters.decoded(&tally, &dead_letters);
        for (part, position) in moved {
            match self.flushed.moved.iter_mut().find(|(known, _)| *known == part) {
                Some((_, known)) => *known = position,
                None => self.flushed.moved.push((part, position)),
            }
        }
        self.since.get_or_insert(now);
        let is_fact = |observation: &Observation| matches!(observation.what, What::Fact(_));
        if !observations.iter().all(is_fact) {
            let patience = (age / URGENT_SHARE).clamp(URGENT_MIN, URGENT_MAX);
            let at = self.urgent_at.get_or_insert(now + patience);
            *at = (*at).min(now + patience);
        }
        self.observations += observations.len();
        self.reject_bytes += dead_letters.iter().map(|reject| reject.bytes.len()).sum::<usize>();
        self.flushed.dead_letters.extend(dead_letters);
        self.put(part, observations, traced);
    }

    /// Something of these parts, though there may be nothing in it.
    pub fn heartbeat<'p>(&mut self, parts: impl Iterator<Item = &'p Arc<str>>) {
        for part in parts {
            self.put(part_number(part), Vec::new(), Vec::new());
        }
        self.since.get_or_insert_with(Instant::now);
    }

    fn put(&mut self, part: u64, observations: Vec<Observation>, traced: Vec<Traced>) {
        match self
            .flushed
            .observation_batches
            .iter_mut()
            .find(|observation_batch| observation_batch.part == part)
        {
            Some(observation_batch) => {
                observation_batch.observations.extend(observations);
                observation_batch.traced.extend(traced);
            }
            None => {
                let arrival = wall_clock();
                self.flushed.observation_batches.push(ObservationBatch {
                    part,
                    arrival,
                    observations,
                    traced,
                });
            }
        }
    }

    /// When it should be handed over.
    fn due_at(&self) -> Option<Instant> {
        let since = self.since.map(|since| since + self.interval);
        since.into_iter().chain(self.urgent_at).min()
    }

    /// Whether there is as much as may be.
    pub fn is_full(&self) -> bool {
        self.observations + self.worker.held() >= OBSERVATIONS_MAX
            || self.reject_bytes >= REJECT_BYTES_MAX
    }

    /// Whether it should be handed over now.
    pub fn is_due(&self) -> bool {
        self.is_full() || self.due_at().is_some_and(|at| at <= Instant::now())
    }

    /// How long the source may wait for more.
    pub fn patience(&self) -> Duration {
        let now = Instant::now();
        self.due_at().map_or(self.interval, |at| at.saturating_duration_since(now))
    }

    pub fn take(&mut self) -> Flushed {
        let mut facts = Vec::new();
        self.worker.take_facts(&mut facts);
        if !facts.is_empty() {
            // Of no part: what facts tell is long known when they come.
            self.put(NO_PART, facts, Vec::new());
        }
        (self.observations, self.reject_bytes) = (0, 0);
        (self.since, self.urgent_at) = (None, None);
        let generation = self.rules.generation.load(Ordering::Acquire);
        if generation != self.generation {
            (self.generation, self.worker) = (generation, self.rules.worker());
        }
        std::mem::take(&mut self.flushed)
    }

    /// Drops everything, to begin anew.
    pub fn reset(&mut self) {
        self.worker.reset();
        self.take();
    }
}

/// Tells nothing about how far the events are.
pub const NO_PART: u64 = 0;

/// A part's name as a number.
fn part_number(name: &str) -> u64 {
    use std::hash::{Hash, Hasher};
    let mut hasher = rustc_hash::FxHasher::default();
    name.hash(&mut hasher);
    hasher.finish().max(1)
}

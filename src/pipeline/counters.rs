//! What the service counts.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::decode::Tally;
use crate::reject::DeadLetter;
use crate::time::EventTime;

/// What all threads of the service count, for the line that it writes now and
/// then and for the watchdog.
#[derive(Debug)]
pub struct Counters {
    pub bytes: AtomicU64,
    pub records: AtomicU64,
    pub skipped: AtomicU64,
    pub dead_letters: AtomicU64,
    pub incidents: AtomicU64,
    pub commits: AtomicU64,
    pub slowest_commit_ms: AtomicU64,
    /// Records of Kafka that wait to be read.
    pub lag: AtomicU64,
    /// As ticks.
    pub watermark: AtomicU64,
    start: Instant,
    /// Milliseconds since the start at which the stage that commits was last
    /// seen alive.
    alive_ms: AtomicU64,
}

impl Counters {
    pub fn new() -> Counters {
        Counters {
            bytes: AtomicU64::new(0),
            records: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
            dead_letters: AtomicU64::new(0),
            incidents: AtomicU64::new(0),
            commits: AtomicU64::new(0),
            slowest_commit_ms: AtomicU64::new(0),
            lag: AtomicU64::new(0),
            watermark: AtomicU64::new(0),
            start: Instant::now(),
            alive_ms: AtomicU64::new(0),
        }
    }

    pub fn decoded(&self, tally: &Tally, dead_letters: &[DeadLetter]) {
        self.bytes.fetch_add(tally.bytes, Ordering::Relaxed);
        self.records.fetch_add(tally.records, Ordering::Relaxed);
        self.skipped.fetch_add(tally.skipped.values().sum(), Ordering::Relaxed);
        self.dead_letters.fetch_add(dead_letters.len() as u64, Ordering::Relaxed);
    }

    pub fn committed(&self, incidents: usize, took: Duration, watermark: EventTime) {
        self.watermark.store(watermark.0, Ordering::Relaxed);
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.incidents.fetch_add(incidents as u64, Ordering::Relaxed);
        self.slowest_commit_ms.fetch_max(took.as_millis() as u64, Ordering::Relaxed);
        self.alive();
    }

    /// The stage that commits goes on.
    pub fn alive(&self) {
        self.alive_ms.store(self.start.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// Since when it was not.
    pub fn silent_for(&self) -> Duration {
        let alive = Duration::from_millis(self.alive_ms.load(Ordering::Relaxed));
        self.start.elapsed().saturating_sub(alive)
    }
}

impl Default for Counters {
    fn default() -> Self {
        Counters::new()
    }
}

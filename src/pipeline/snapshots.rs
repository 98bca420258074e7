//! When a snapshot is made: before what stands behind the last one would take too long to take in,
//! and not so often that making them takes more than a small share of the time.

use std::time::{Duration, Instant};

use super::restore::Applied;
use crate::store::checkpoint::ChangelogEntry;

/// What it costs to take in an entry, an observation, and a byte: measured on two cores, rounded up.
const ENTRY_NANOS: u64 = 20_000;
const OBSERVATION_NANOS: u64 = 2_000;
const BYTE_NANOS: u64 = 5;

/// Entries that would take so long to take in are worth a snapshot, and those that take so long have
/// one whatever it costs.
const RECOVERY_NANOS: u64 = 1_000_000_000;
const RECOVERY_NANOS_MAX: u64 = 2_500_000_000;

/// A snapshot is made no more often than that it takes one part in so many of the time.
const SNAPSHOT_SHARE: u32 = 200;

#[derive(Debug)]
pub(super) struct SnapshotPolicy {
    /// What a restart would have to take in behind the last snapshot.
    behind: Applied,
    /// When the next may be made.
    not_before: Instant,
}

impl SnapshotPolicy {
    pub(super) fn new(behind: Applied) -> SnapshotPolicy {
        SnapshotPolicy { behind, not_before: Instant::now() }
    }

    /// An entry is written behind the last snapshot.
    pub(super) fn add(&mut self, entry: &ChangelogEntry, bytes: usize) {
        self.behind.add(entry, bytes);
    }

    /// Whether there is nothing behind the last snapshot.
    pub(super) fn is_current(&self) -> bool {
        self.behind.entries == 0
    }

    pub(super) fn is_due(&self) -> bool {
        let nanos = self.recovery_nanos();
        nanos >= RECOVERY_NANOS_MAX || nanos >= RECOVERY_NANOS && Instant::now() >= self.not_before
    }

    /// A snapshot was made, and is durable.
    pub(super) fn written(&mut self, took: Duration) {
        self.behind = Applied::default();
        self.not_before = Instant::now() + took * SNAPSHOT_SHARE;
    }

    fn recovery_nanos(&self) -> u64 {
        let Applied { entries, bytes, observations, .. } = self.behind;
        entries * ENTRY_NANOS + observations * OBSERVATION_NANOS + bytes * BYTE_NANOS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_due_by_what_recovery_would_cost_whatever_the_bytes() {
        let mut policy = SnapshotPolicy::new(Applied::default());
        let entry = ChangelogEntry::default();
        let mut entries = 0;
        while !policy.is_due() {
            policy.add(&entry, 100);
            entries += 1;
        }
        assert!((10_000..=50_000).contains(&entries), "small entries: {entries}");
        policy.written(Duration::from_secs(3600));
        let before = entries;
        entries = 0;
        while !policy.is_due() {
            policy.add(&entry, 100);
            entries += 1;
        }
        // Sooner it would take too much of the time.
        assert!(entries > before && entries <= 3 * before, "{entries} after {before}");
    }
}

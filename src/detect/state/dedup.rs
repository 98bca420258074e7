//! Dedup: the same record arrives twice when a client resends a batch, through
//! two collectors, or from an archive and a stream.
//!
//! A record is remembered as a 64-bit fingerprint of computer, channel, record
//! id and time, in one set per hour of event time, so that the
//! oldest hours are evicted first, behind the watermark or when there are too
//! many records.

use std::collections::BTreeMap;

use borsh::{BorshDeserialize, BorshSerialize};
use rustc_hash::FxHashSet;

use crate::time::{EventTime, TICKS_PER_SEC};

const HOUR_TICKS: u64 = 3600 * TICKS_PER_SEC;

#[derive(Debug, BorshSerialize, BorshDeserialize)]
pub struct SeenRecords {
    hours: BTreeMap<u64, FxHashSet<u64>>,
    #[borsh(skip)]
    count: usize,
    #[borsh(skip)]
    records_max: usize,
    forgotten: u64,
}

impl SeenRecords {
    /// Remembers `records_max` records at the most.
    pub fn new(records_max: usize) -> SeenRecords {
        SeenRecords { hours: BTreeMap::new(), count: 0, records_max, forgotten: 0 }
    }

    /// Sets bound and count of records that were read back.
    pub fn rebuild(&mut self, records_max: usize) {
        self.records_max = records_max;
        self.count = self.hours.values().map(FxHashSet::len).sum();
    }

    /// Whether the record is new; it is remembered from now on.
    pub fn insert(&mut self, time: EventTime, fingerprint: u64) -> bool {
        if !self.hours.entry(time.0 / HOUR_TICKS).or_default().insert(fingerprint) {
            return false;
        }
        self.count += 1;
        while self.count > self.records_max && self.hours.len() > 1 {
            self.forget_first();
        }
        true
    }

    /// Forgets the hours that end before `time`.
    pub fn forget_before(&mut self, time: EventTime) {
        while let Some((&hour, _)) = self.hours.first_key_value()
            && (hour + 1).saturating_mul(HOUR_TICKS) <= time.0
        {
            if let Some((_, records)) = self.hours.pop_first() {
                self.count -= records.len();
            }
        }
    }

    /// Records forgotten because there were too many: their duplicates, if
    /// any come, are counted again.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    fn forget_first(&mut self) {
        if let Some((_, records)) = self.hours.pop_first() {
            self.count -= records.len();
            self.forgotten += records.len() as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_hours_are_forgotten_first() {
        let mut seen = SeenRecords::new(2);
        let at = |hour: u64| EventTime(hour * HOUR_TICKS);
        assert!(seen.insert(at(5), 1));
        assert!(seen.insert(at(6), 2));
        assert!(!seen.insert(at(5), 1));
        assert!(seen.insert(at(7), 3));
        assert_eq!(seen.forgotten(), 1);
        assert!(!seen.insert(at(6), 2));
        seen.forget_before(at(7));
        assert!(seen.insert(at(6), 2));
    }
}

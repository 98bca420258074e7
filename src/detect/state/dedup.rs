//! Which records have been seen: the same record arrives twice when a client
//! resends a batch, through two collectors, or from an archive and a stream.
//!
//! A record is remembered as a 64-bit fingerprint of computer, channel, record
//! id and time, in one set per hour of event time, so that what lies behind
//! the watermark, or too much, goes by the oldest hours first.

use std::collections::BTreeMap;

use borsh::{BorshDeserialize, BorshSerialize};
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::time::{EventTime, TICKS_PER_SEC};

const HOUR_TICKS: u64 = 3600 * TICKS_PER_SEC;

#[derive(Debug)]
pub struct Seen {
    hours: BTreeMap<u64, HashTable<u64>>,
    count: usize,
    records_max: usize,
    forgotten: u64,
}

impl Seen {
    /// Remembers `records_max` records at the most.
    pub fn new(records_max: usize) -> Seen {
        Seen { hours: BTreeMap::new(), count: 0, records_max, forgotten: 0 }
    }

    /// Sets the bound of what was restored.
    pub fn bound(&mut self, records_max: usize) {
        self.records_max = records_max;
    }

    /// Whether the record is new; it is remembered from now on.
    pub fn insert(&mut self, time: EventTime, fingerprint: u64) -> bool {
        let hour = self.hours.entry(time.0 / HOUR_TICKS).or_default();
        match hour.entry(fingerprint, |known| *known == fingerprint, |known| *known) {
            Entry::Occupied(_) => return false,
            Entry::Vacant(entry) => entry.insert(fingerprint),
        };
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

/// The fingerprints of each hour, in order, so that equal states are equal bytes.
impl BorshSerialize for Seen {
    fn serialize<W: borsh::io::Write>(&self, writer: &mut W) -> borsh::io::Result<()> {
        (self.hours.len() as u32, self.forgotten).serialize(writer)?;
        for (hour, records) in &self.hours {
            let mut prints: Vec<u64> = records.iter().copied().collect();
            prints.sort_unstable();
            (hour, prints).serialize(writer)?;
        }
        Ok(())
    }
}

impl BorshDeserialize for Seen {
    fn deserialize_reader<R: borsh::io::Read>(reader: &mut R) -> borsh::io::Result<Seen> {
        let (hours, forgotten) = <(u32, u64)>::deserialize_reader(reader)?;
        let mut seen = Seen::new(usize::MAX);
        for _ in 0..hours {
            let (hour, prints) = <(u64, Vec<u64>)>::deserialize_reader(reader)?;
            for print in prints {
                seen.insert(EventTime(hour.saturating_mul(HOUR_TICKS)), print);
            }
        }
        seen.forgotten = forgotten;
        Ok(seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_hours_are_forgotten_first() {
        let mut seen = Seen::new(2);
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

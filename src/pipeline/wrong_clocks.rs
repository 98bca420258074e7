//! Hosts whose clocks are wrong, said now and then: by them nothing goes on, and what they write may
//! come too late.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tracing::warn;

use crate::detect::watermark::AHEAD_TICKS;
use crate::time::{EventTime, TICKS_PER_SEC};

/// Hosts that are kept at a time, and those that one line names.
const HOSTS_MAX: usize = 10_000;
const NAMED_MAX: usize = 5;

/// How often they are said.
const WARN_EVERY: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct WrongClocks {
    /// The furthest that each was ahead, in seconds, and in how many records.
    ahead: BTreeMap<Box<str>, (u64, u64)>,
    /// How many records of each came too late.
    late: BTreeMap<Box<str>, u64>,
    warn_at: Instant,
}

impl Default for WrongClocks {
    fn default() -> Self {
        WrongClocks { ahead: BTreeMap::new(), late: BTreeMap::new(), warn_at: Instant::now() }
    }
}

impl WrongClocks {
    /// Takes note of a record from the future.
    pub(super) fn note_ahead(&mut self, computer: &str, time: EventTime, arrival: EventTime) {
        if time <= arrival.plus_ticks(AHEAD_TICKS)
            || self.ahead.len() >= HOSTS_MAX && !self.ahead.contains_key(computer)
        {
            return;
        }
        let seconds = (time.0 - arrival.0) / TICKS_PER_SEC;
        let (furthest, records) = self.ahead.entry(computer.into()).or_default();
        *furthest = seconds.max(*furthest);
        *records += 1;
    }

    /// Says what came together since the last time; `late` has the hosts of records that came too
    /// late since the last call.
    pub(super) fn warn(&mut self, late: Vec<(Box<str>, u64)>) {
        for (computer, records) in late {
            if self.late.len() < HOSTS_MAX || self.late.contains_key(&computer) {
                *self.late.entry(computer).or_default() += records;
            }
        }
        if Instant::now() < self.warn_at || self.ahead.is_empty() && self.late.is_empty() {
            return;
        }
        self.warn_at = Instant::now() + WARN_EVERY;
        let ahead = std::mem::take(&mut self.ahead);
        if !ahead.is_empty() {
            let records: u64 = ahead.values().map(|(_, records)| records).sum();
            let mut worst: Vec<_> = ahead.iter().map(|(host, (secs, _))| (*secs, host)).collect();
            worst.sort_by(|one, other| other.cmp(one));
            let named = worst.iter().take(NAMED_MAX);
            let named: Vec<String> =
                named.map(|(secs, host)| format!("{host} by {}", span(*secs))).collect();
            warn!(
                hosts = ahead.len(),
                records,
                "clocks are ahead of this machine's: {}; their records are taken in, but time does \
                 not go by them",
                named.join(", ")
            );
        }
        let late = std::mem::take(&mut self.late);
        if !late.is_empty() {
            let records: u64 = late.values().sum();
            let mut most: Vec<_> = late.iter().map(|(host, records)| (*records, host)).collect();
            most.sort_by(|one, other| other.cmp(one));
            let named = most.iter().take(NAMED_MAX);
            let named: Vec<String> =
                named.map(|(records, host)| format!("{host} ({records})")).collect();
            warn!(
                hosts = late.len(),
                records,
                "records came too late to be counted, most of them from {}; if their clocks are \
                 right, raise `allowed_lateness_secs` in [time]",
                named.join(", ")
            );
        }
    }
}

/// A time as a person says it.
fn span(seconds: u64) -> String {
    match seconds {
        0..7_200 => format!("{} minutes", seconds / 60),
        7_200..172_800 => format!("{} hours", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_ahead_is_kept_with_how_far_it_is() {
        let mut clocks = WrongClocks::default();
        let now = EventTime(1_000_000 * TICKS_PER_SEC);
        clocks.note_ahead("PC1", now.plus_ticks(AHEAD_TICKS), now);
        assert!(clocks.ahead.is_empty());
        for hours in [3, 30, 12] {
            clocks.note_ahead("PC1", now.plus_ticks(hours * 3600 * TICKS_PER_SEC), now);
        }
        assert_eq!(clocks.ahead["PC1"], (30 * 3600, 3));
        assert_eq!(span(30 * 3600), "30 hours");
        clocks.warn(vec![("PC2".into(), 7)]);
        assert!(clocks.ahead.is_empty() && clocks.late.is_empty());
    }
}

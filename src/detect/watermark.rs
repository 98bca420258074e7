//! How far the events are: the watermark, from the times that hosts write.
//!
//! ```text
//! part 0   PC1 ─────────●            part's clock: the time that several of its
//!          PC2 ──────●               hosts have reached, so that one whose clock
//!          PC3 ─────────────────●    runs ahead (PC3) moves nothing
//! part 1   PC4 ────●
//!
//! watermark = the least of the parts' clocks − allowed lateness; never back
//! ```
//!
//! A part is what arrives in one order: a partition, a file, a connection. A
//! part that was silent for a while is left out; when all are, and there is
//! nothing left to read, time goes on with the wall clock. Time of arrival is
//! an argument here as everywhere in `detect`.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

use crate::time::{EventTime, TICKS_PER_SEC};

/// Hosts' times are kept by the minute.
const MINUTE_TICKS: u64 = 60 * TICKS_PER_SEC;

/// An event from further ahead of its arrival tells of a wrong clock.
const AHEAD_TICKS: u64 = 10 * MINUTE_TICKS;

/// Of a part's hosts so many per cent, but no fewer and no more than these,
/// must have reached a time.
const HOSTS_PERCENT: usize = 5;
const HOSTS_MIN: usize = 2;
const HOSTS_MAX: usize = 50;

/// Hosts whose time is kept of one part; more are ignored.
const HOSTS_PER_PART_MAX: usize = 200_000;

/// Parts; more are ignored.
const PARTS_MAX: usize = 100_000;

#[derive(Debug)]
pub struct Watermark {
    parts: FxHashMap<u64, PartClock>,
    lateness_ticks: u64,
    idle_ticks: u64,
    watermark: EventTime,
    /// When reading began: before that nothing could be seen.
    since: EventTime,
}

#[derive(Debug)]
struct PartClock {
    /// The last minute of each host, and how many hosts have it.
    hosts: FxHashMap<u64, u64>,
    minutes: BTreeMap<u64, usize>,
    last_heartbeat: EventTime,
}

impl Watermark {
    /// Goes on from `watermark`, listening from `now`. A part is idle after
    /// `idle_ticks`.
    pub fn new(
        lateness_ticks: u64,
        idle_ticks: u64,
        watermark: EventTime,
        now: EventTime,
    ) -> Watermark {
        let parts = FxHashMap::default();
        Watermark { parts, lateness_ticks, idle_ticks, watermark, since: now }
    }

    /// A part is there, though nothing may have come from it yet.
    pub fn heartbeat(&mut self, part: u64, arrival: EventTime) {
        if self.parts.len() < PARTS_MAX || self.parts.contains_key(&part) {
            let part = self.parts.entry(part).or_insert_with(PartClock::new);
            part.last_heartbeat = part.last_heartbeat.max(arrival);
        }
    }

    /// A host wrote an event at this time.
    pub fn observe(&mut self, part: u64, host: u64, time: EventTime, arrival: EventTime) {
        self.heartbeat(part, arrival);
        if time > arrival.plus_ticks(AHEAD_TICKS) {
            return;
        }
        if let Some(part) = self.parts.get_mut(&part) {
            part.observe(host, time.0 / MINUTE_TICKS);
        }
    }

    /// The watermark as of now. `caught_up`: whether there is nothing left to
    /// read.
    pub fn advance(&mut self, now: EventTime, caught_up: CaughtUp) -> EventTime {
        let idle_before = now.minus_ticks(self.idle_ticks);
        let mut active =
            self.parts.values().filter(|part| part.last_heartbeat > idle_before).peekable();
        let reached = if active.peek().is_some() {
            // A part without a time yet holds the others back.
            active.map(PartClock::clock).min().flatten()
        } else {
            match caught_up {
                CaughtUp::Yes if self.since <= idle_before => Some(now),
                CaughtUp::Yes | CaughtUp::No => None,
            }
        };
        let watermark = reached.map(|time| time.minus_ticks(self.lateness_ticks));
        self.watermark = self.watermark.max(watermark.unwrap_or(EventTime::MIN));
        self.watermark
    }
}

/// Whether whatever there is was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CaughtUp {
    Yes,
    No,
}

impl PartClock {
    fn new() -> PartClock {
        PartClock {
            hosts: FxHashMap::default(),
            minutes: BTreeMap::new(),
            last_heartbeat: EventTime::MIN,
        }
    }

    fn observe(&mut self, host: u64, minute: u64) {
        let full = self.hosts.len() >= HOSTS_PER_PART_MAX;
        match self.hosts.get_mut(&host) {
            Some(known) if *known >= minute => return,
            Some(known) => {
                let before = std::mem::replace(known, minute);
                if let Some(count) = self.minutes.get_mut(&before) {
                    *count -= 1;
                    if *count == 0 {
                        self.minutes.remove(&before);
                    }
                }
            }
            None if full => return,
            None => {
                self.hosts.insert(host, minute);
            }
        }
        *self.minutes.entry(minute).or_default() += 1;
    }

    /// The start of the minute that enough hosts have reached.
    fn clock(&self) -> Option<EventTime> {
        let share = (self.hosts.len() * HOSTS_PERCENT).div_ceil(100);
        let mut enough = share.clamp(HOSTS_MIN, HOSTS_MAX).min(self.hosts.len());
        for (minute, count) in self.minutes.iter().rev() {
            enough = enough.saturating_sub(*count);
            if enough == 0 {
                return Some(EventTime(minute * MINUTE_TICKS));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATENESS: u64 = 5;

    fn at(minute: u64) -> EventTime {
        EventTime((1_000_000 + minute) * MINUTE_TICKS)
    }

    fn clocks() -> Watermark {
        Watermark::new(LATENESS * MINUTE_TICKS, MINUTE_TICKS, EventTime::MIN, at(900))
    }

    #[test]
    fn a_clock_that_runs_ahead_moves_nothing() {
        let mut clocks = clocks();
        let now = at(1000);
        for host in 0..3 {
            clocks.observe(0, host, at(100), now);
        }
        clocks.observe(0, 9, at(900), now);
        assert_eq!(clocks.advance(now, CaughtUp::No), at(100 - LATENESS));
        // From the future even together.
        clocks.observe(0, 1, at(2000), now);
        clocks.observe(0, 2, at(2000), now);
        assert_eq!(clocks.advance(now, CaughtUp::No), at(100 - LATENESS));
    }

    #[test]
    fn the_slowest_part_decides_until_it_is_idle() {
        let mut clocks = clocks();
        clocks.observe(0, 1, at(500), at(1000));
        clocks.heartbeat(1, at(1000));
        assert_eq!(clocks.advance(at(1000), CaughtUp::No), EventTime::MIN);
        clocks.observe(1, 2, at(100), at(1000));
        assert_eq!(clocks.advance(at(1000), CaughtUp::No), at(100 - LATENESS));
        clocks.observe(0, 1, at(501), at(1002));
        assert_eq!(clocks.advance(at(1002), CaughtUp::No), at(501 - LATENESS));
    }

    #[test]
    fn right_after_a_start_silence_says_nothing() {
        let before = at(300);
        let mut clocks = Watermark::new(LATENESS * MINUTE_TICKS, MINUTE_TICKS, before, at(1000));
        assert_eq!(clocks.advance(at(1000), CaughtUp::Yes), before);
        assert_eq!(clocks.advance(at(1001), CaughtUp::Yes), at(1001 - LATENESS));
    }

    #[test]
    fn time_goes_on_by_itself_only_when_all_was_read() {
        let mut clocks = clocks();
        clocks.observe(0, 1, at(500), at(1000));
        assert_eq!(clocks.advance(at(1000), CaughtUp::Yes), at(500 - LATENESS));
        assert_eq!(clocks.advance(at(1010), CaughtUp::No), at(500 - LATENESS));
        assert_eq!(clocks.advance(at(1010), CaughtUp::Yes), at(1010 - LATENESS));
        assert_eq!(clocks.advance(at(1000), CaughtUp::Yes), at(1010 - LATENESS));
    }
}

//! How far the events are: the watermark, from the times that hosts write.
//!
//! ```text
//! part 0   PC1 ─────────●            part's clock: where most of its live hosts are, so
//!          PC2 ──────●               that one whose clock is wrong moves nothing
//!          PC3 ─────────────────●
//! part 1   PC4 ──────●
//! part 2   PC5 ●                     far behind although nothing waits to be read: its
//!                                    hosts' clocks are, and it holds nobody back
//!
//! watermark = the least of the parts' clocks − allowed lateness; never back
//! ```
//!
//! A part is what arrives in one order: a partition, a file, a connection. Time comes from events
//! alone. A host has a say as long as it is live: until `idle` after its last event. A part that
//! was not active for `idle` is left out, and so is one that is `idle` behind the others although
//! all of it was read. When no part is left, and there is nothing to read, time goes on by what
//! passes, not to now. Time of arrival is an argument here as everywhere in `detect`.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

use crate::time::{EventTime, TICKS_PER_SEC};

/// An event from further ahead of its arrival tells of a wrong clock.
pub const AHEAD_TICKS: u64 = 600 * TICKS_PER_SEC;

/// Hosts whose last events lie within `idle` of each other agree on the time, but no fewer seconds
/// than this.
const AGREE_SECS_MIN: u64 = 10;

/// So many hosts that agree may move a part's clock far at once; fewer have to wait until the part
/// was idle.
const FAR_SECS: u64 = 900;
const AGREE_MIN: usize = 3;

/// Of the hosts that agree so many per cent, but no fewer and no more than these, must have reached
/// a time; one is enough of fewer than [`AGREE_MIN`].
const HOSTS_PERCENT: usize = 5;
const HOSTS_MIN: usize = 2;
const HOSTS_MAX: usize = 50;

/// Live hosts whose time is kept of one part; more are ignored.
const HOSTS_PER_PART_MAX: usize = 200_000;

/// Parts; more are ignored.
const PARTS_MAX: usize = 100_000;

/// A part of which nothing was heard for so long is forgotten: a file, or a connection that is gone.
const PART_FORGOTTEN_TICKS: u64 = 3600 * TICKS_PER_SEC;

#[derive(Debug)]
pub struct Watermark {
    parts: FxHashMap<u64, PartClock>,
    lateness_ticks: u64,
    idle_ticks: u64,
    watermark: EventTime,
    /// The furthest that any part's clock was, and what passed since.
    lead: EventTime,
    /// When that was.
    lead_at: EventTime,
    /// When reading began: before that nothing could be seen.
    since: EventTime,
}

/// How far a part is, as one of many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Say {
    /// It was heard of, and may still tell of a time: nobody goes on without it.
    Unknown,
    At(EventTime),
    /// It is idle, or has no time.
    None,
}

#[derive(Debug)]
struct PartClock {
    /// Live hosts: the second of the last event, and when that arrived.
    hosts: FxHashMap<u64, (u64, EventTime)>,
    /// Live hosts by the second of their last event.
    seconds: BTreeMap<u64, usize>,
    /// Live hosts by a second of arrival at which to see whether they are still live.
    expiry: BTreeMap<u64, Vec<u64>>,
    first_heard: EventTime,
    last_heard: EventTime,
    last_active: EventTime,
    clock: Option<EventTime>,
    /// The second of the clock; before there is one, of the latest event.
    furthest: u64,
    /// Whether more of it waits to be read.
    backlog: Backlog,
    /// Whether anything came since the clock was worked out.
    is_stale: bool,
}

/// Whether more of a part was there when some of it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backlog {
    Yes,
    No,
}

impl Watermark {
    /// Goes on from `watermark`, listening from `now`. A part or host is idle after `idle_ticks`.
    pub fn new(
        lateness_ticks: u64,
        idle_ticks: u64,
        watermark: EventTime,
        now: EventTime,
    ) -> Watermark {
        let lead = match watermark {
            EventTime::MIN => EventTime::MIN,
            watermark => watermark.plus_ticks(lateness_ticks),
        };
        let parts = FxHashMap::default();
        Watermark { parts, lateness_ticks, idle_ticks, watermark, lead, lead_at: now, since: now }
    }

    /// A part is there, though nothing may have come from it yet.
    pub fn heartbeat(&mut self, part: u64, arrival: EventTime) {
        if self.parts.len() < PARTS_MAX || self.parts.contains_key(&part) {
            let part = self.parts.entry(part).or_insert_with(|| PartClock::new(arrival));
            part.last_heard = part.last_heard.max(arrival);
        }
    }

    /// Whether more of a part waited to be read when the last of it arrived.
    pub fn note_backlog(&mut self, part: u64, backlog: Backlog) {
        if let Some(part) = self.parts.get_mut(&part) {
            part.backlog = backlog;
        }
    }

    /// A host wrote an event at this time.
    pub fn observe(&mut self, part: u64, host: u64, time: EventTime, arrival: EventTime) {
        self.heartbeat(part, arrival);
        if time > arrival.plus_ticks(AHEAD_TICKS) {
            return;
        }
        if let Some(part) = self.parts.get_mut(&part) {
            part.observe(host, time.min(arrival), arrival);
        }
    }

    /// The watermark as of now. `caught_up`: whether there is nothing left to read.
    pub fn advance(&mut self, now: EventTime, caught_up: CaughtUp) -> EventTime {
        let idle = self.idle_ticks;
        self.parts.retain(|_, part| {
            part.last_heard.plus_ticks(idle.saturating_add(PART_FORGOTTEN_TICKS)) > now
        });
        let mut says: Vec<(Say, Backlog)> = Vec::with_capacity(self.parts.len());
        let (mut lead, mut lead_at) = (self.lead, self.lead_at);
        for part in self.parts.values_mut() {
            says.push((part.say(now, idle), part.backlog));
            let at = part.last_active.min(now);
            if let Some(clock) = part.clock.filter(|clock| *clock > passed(lead, lead_at, at)) {
                (lead, lead_at) = (clock, at);
            }
        }
        (self.lead, self.lead_at) = (lead, lead_at);
        if says.iter().any(|(say, _)| *say == Say::Unknown) {
            return self.watermark;
        }
        let follows = passed(self.lead, self.lead_at, now).minus_ticks(idle);
        let held = says.into_iter().filter_map(|(say, backlog)| match (say, backlog) {
            (Say::At(time), Backlog::Yes) => (time >= self.watermark).then_some(time),
            (Say::At(time), Backlog::No) => (time >= follows).then_some(time),
            (Say::Unknown | Say::None, _) => None,
        });
        let reached = held.min().unwrap_or_else(|| self.silent(now, caught_up));
        self.watermark = self.watermark.max(reached.minus_ticks(self.lateness_ticks));
        self.watermark
    }

    /// Where time is while no part has a say: what passed since the lead was reached counts, but for
    /// the time that there was more to read.
    fn silent(&mut self, now: EventTime, caught_up: CaughtUp) -> EventTime {
        let listened = self.since.plus_ticks(self.idle_ticks) <= now;
        if caught_up == CaughtUp::Yes && listened {
            self.lead = passed(self.lead, self.lead_at, now);
        }
        self.lead_at = now;
        self.lead
    }
}

/// Where time is that was reached `at` some moment, when nothing but time goes on. Before any event
/// there is no time to go on from.
fn passed(reached: EventTime, at: EventTime, now: EventTime) -> EventTime {
    match reached {
        EventTime::MIN => EventTime::MIN,
        reached => reached.plus_ticks(now.0.saturating_sub(at.0)),
    }
}

/// Whether whatever there is was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CaughtUp {
    Yes,
    No,
}

impl PartClock {
    fn new(arrival: EventTime) -> PartClock {
        PartClock {
            hosts: FxHashMap::default(),
            seconds: BTreeMap::new(),
            expiry: BTreeMap::new(),
            first_heard: arrival,
            last_heard: arrival,
            last_active: EventTime::MIN,
            clock: None,
            furthest: 0,
            backlog: Backlog::No,
            is_stale: false,
        }
    }

    fn observe(&mut self, host: u64, time: EventTime, arrival: EventTime) {
        let second = second(time);
        // What lies before the clock does not show that it goes on.
        if second > self.furthest || self.backlog == Backlog::Yes {
            self.last_active = self.last_active.max(arrival);
        }
        if self.clock.is_none() {
            self.furthest = second.max(self.furthest);
        }
        let full = self.hosts.len() >= HOSTS_PER_PART_MAX;
        match self.hosts.get_mut(&host) {
            Some((known, last)) => {
                *last = arrival.max(*last);
                if *known >= second {
                    return;
                }
                let before = std::mem::replace(known, second);
                self.remove_second(before);
            }
            None if full => return,
            None => {
                self.hosts.insert(host, (second, arrival));
                self.expiry.entry(self::second(arrival)).or_default().push(host);
            }
        }
        *self.seconds.entry(second).or_default() += 1;
        self.is_stale = true;
    }

    fn remove_second(&mut self, second: u64) {
        if let Some(count) = self.seconds.get_mut(&second) {
            *count -= 1;
            if *count == 0 {
                self.seconds.remove(&second);
            }
        }
    }

    /// Drops hosts that were silent for too long.
    fn expire(&mut self, now: EventTime, idle_ticks: u64) {
        let idle_before = now.minus_ticks(idle_ticks);
        while let Some(entry) = self.expiry.first_entry()
            && *entry.key() < second(idle_before)
        {
            for host in entry.remove() {
                let Some((at, last)) = self.hosts.get(&host).copied() else { continue };
                if last > idle_before {
                    self.expiry.entry(second(last)).or_default().push(host);
                } else {
                    self.hosts.remove(&host);
                    self.remove_second(at);
                    self.is_stale = true;
                }
            }
        }
    }

    fn say(&mut self, now: EventTime, idle_ticks: u64) -> Say {
        let is_new = self.first_heard.plus_ticks(idle_ticks) > now;
        if !is_new && self.clock.is_none() {
            // Before those expire that were there in its first time.
            self.work_out(is_new, now, idle_ticks);
        }
        self.expire(now, idle_ticks);
        if self.is_stale {
            self.work_out(is_new, now, idle_ticks);
        }
        match self.clock {
            None if is_new => Say::Unknown,
            Some(clock) if self.last_active.plus_ticks(idle_ticks) > now => Say::At(clock),
            None | Some(_) => Say::None,
        }
    }

    /// Moves the clock to where most live hosts are, or if that says nothing, the latest.
    fn work_out(&mut self, is_new: bool, now: EventTime, idle_ticks: u64) {
        let Some((top, count)) = self.agreed(idle_ticks / TICKS_PER_SEC) else {
            self.is_stale = false;
            return;
        };
        if count < AGREE_MIN && is_new && self.clock.is_none() {
            // One alone may be wrong: it is not believed before others had their time.
            return;
        }
        let far = self
            .clock
            .is_some_and(|clock| top.0.saturating_sub(clock.0) > FAR_SECS * TICKS_PER_SEC);
        if far && count < AGREE_MIN && self.last_progress().plus_ticks(idle_ticks) > now {
            return;
        }
        self.is_stale = false;
        self.clock = self.clock.max(Some(top));
        self.furthest = self.clock.map(second).unwrap_or_default();
    }

    /// When something came that the clock agrees with.
    fn last_progress(&self) -> EventTime {
        let at_clock = self.clock.map(second).unwrap_or_default();
        let near = |(at, _): &&(u64, EventTime)| at.abs_diff(at_clock) <= FAR_SECS;
        let last = self.hosts.values().filter(near).map(|(_, arrival)| *arrival).max();
        last.unwrap_or(EventTime::MIN)
    }

    /// The time that enough hosts have reached of the largest number that agree, and how many do;
    /// of several such, the latest. Where hardly any agree, the latest time.
    fn agreed(&self, idle_secs: u64) -> Option<(EventTime, usize)> {
        let seconds: Vec<(u64, usize)> = self.seconds.iter().map(|(at, n)| (*at, *n)).collect();
        let (mut from, mut count) = (0, 0);
        let (mut most, mut span) = (0, 0..0);
        for (at, (second, hosts)) in seconds.iter().enumerate() {
            count += hosts;
            while seconds[from].0 + idle_secs.max(AGREE_SECS_MIN) < *second {
                count -= seconds[from].1;
                from += 1;
            }
            if count >= most {
                (most, span) = (count, from..at + 1);
            }
        }
        if most < AGREE_MIN {
            // Too few to outvote anybody: none is ahead of its arrival, so the latest is right.
            return seconds.last().map(|(second, _)| (EventTime(second * TICKS_PER_SEC), 1));
        }
        let share = (most * HOSTS_PERCENT).div_ceil(100);
        let mut enough = share.clamp(HOSTS_MIN, HOSTS_MAX);
        for (second, hosts) in seconds[span].iter().rev() {
            enough = enough.saturating_sub(*hosts);
            if enough == 0 {
                return Some((EventTime(second * TICKS_PER_SEC), most));
            }
        }
        None
    }
}

fn second(time: EventTime) -> u64 {
    time.0 / TICKS_PER_SEC
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const IDLE: u64 = 60;
    const LATENESS: u64 = 300;

    fn at(second: u64) -> EventTime {
        EventTime((13_000_000_000 + second) * TICKS_PER_SEC)
    }

    fn clocks() -> Watermark {
        Watermark::new(LATENESS * TICKS_PER_SEC, IDLE * TICKS_PER_SEC, EventTime::MIN, at(0))
    }

    #[test]
    fn a_clock_that_runs_ahead_moves_nothing() {
        let mut clocks = clocks();
        for host in 0..3 {
            clocks.observe(0, host, at(1000), at(90_000));
        }
        clocks.observe(0, 9, at(80_000), at(90_000));
        assert_eq!(clocks.advance(at(90_000), CaughtUp::No), at(1000 - LATENESS));
        // From the future even together.
        for host in 0..5 {
            clocks.observe(0, 10 + host, at(200_000), at(90_001));
        }
        assert_eq!(clocks.advance(at(90_001), CaughtUp::No), at(1000 - LATENESS));
    }

    #[test]
    fn the_slowest_part_decides_until_it_is_idle() {
        let mut clocks = clocks();
        let three = |clocks: &mut Watermark, part, time, now| {
            (0..3).for_each(|host| clocks.observe(part, part * 10 + host, at(time), at(now)));
        };
        three(&mut clocks, 0, 9_000, 10_000);
        clocks.heartbeat(1, at(10_000));
        // A part without a time yet holds the others back.
        assert_eq!(clocks.advance(at(10_000), CaughtUp::No), EventTime::MIN);
        three(&mut clocks, 1, 8_950, 10_001);
        assert_eq!(clocks.advance(at(10_001), CaughtUp::No), at(8_950 - LATENESS));
        three(&mut clocks, 0, 9_061, 10_061);
        assert_eq!(clocks.advance(at(10_061), CaughtUp::No), at(9_061 - LATENESS));
    }

    #[test]
    fn a_part_with_a_backlog_is_waited_for_and_one_whose_clock_is_behind_is_not() {
        for (backlog, expect) in [(Backlog::Yes, 1_000), (Backlog::No, 9_000)] {
            let mut clocks = clocks();
            for host in 0..3 {
                clocks.observe(0, host, at(9_000), at(10_000));
                clocks.observe(1, 10 + host, at(1_000), at(10_000));
            }
            clocks.note_backlog(1, backlog);
            let watermark = clocks.advance(at(10_000), CaughtUp::No);
            assert_eq!(watermark, at(expect - LATENESS), "{backlog:?}");
        }
    }

    #[test]
    fn right_after_a_start_silence_says_nothing_and_then_time_goes_on_by_what_passes() {
        let before = at(5_000);
        let mut clocks =
            Watermark::new(LATENESS * TICKS_PER_SEC, IDLE * TICKS_PER_SEC, before, at(90_000));
        assert_eq!(clocks.advance(at(90_000), CaughtUp::Yes), before);
        let mut after = |secs: u64, caught_up| clocks.advance(at(90_000 + secs), caught_up);
        assert_eq!(after(IDLE - 1, CaughtUp::Yes), before);
        let begun = after(IDLE, CaughtUp::Yes);
        assert_eq!(after(IDLE + 10, CaughtUp::Yes), begun.plus_ticks(10 * TICKS_PER_SEC));
        // Not while something is left to read.
        assert_eq!(after(IDLE + 20, CaughtUp::No), begun.plus_ticks(10 * TICKS_PER_SEC));
        assert_eq!(after(IDLE + 30, CaughtUp::Yes), begun.plus_ticks(20 * TICKS_PER_SEC));
    }

    /// What one part does: how far its hosts' clocks are off, in seconds, every how many seconds
    /// each of them writes, and when they fall silent.
    fn traffic() -> impl Strategy<Value = Vec<(i64, u64, u64)>> {
        const DAY: i64 = 86_400;
        let off = prop_oneof![4 => Just(0_i64), 1 => -DAY..DAY, 1 => -300_i64..300];
        prop::collection::vec((off, 1_u64..90, 0_u64..2_000), 0..6)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

        /// Live: each event arrives when it is written. One host, whose clock is right, fails
        /// until a second and then never again.
        #[test]
        fn a_session_closes_in_time_and_never_before_lateness_allows(
            parts in prop::collection::vec(traffic(), 1..4),
            lateness in 0_u64..400,
            idle in 5_u64..90,
            (failing, gap) in (1_u64..400, 5_u64..600),
        ) {
            let start = 100_000;
            let [lateness_ticks, idle_ticks] = [lateness, idle].map(|secs| secs * TICKS_PER_SEC);
            let mut clocks = Watermark::new(lateness_ticks, idle_ticks, EventTime::MIN, at(start));
            let mut closed = None;
            for now in start..start + failing + gap + lateness + idle + 20 {
                if now < start + failing {
                    clocks.observe(0, 1_000, at(now), at(now));
                }
                for (part, hosts) in parts.iter().enumerate() {
                    clocks.heartbeat(part as u64, at(now));
                    for (host, (off, every, silent)) in hosts.iter().enumerate() {
                        if now % every == 0 && now - start < *silent {
                            let time = at(now.saturating_add_signed(*off));
                            clocks.observe(part as u64, (part * 10 + host) as u64, time, at(now));
                        }
                    }
                }
                let watermark = clocks.advance(at(now), CaughtUp::Yes);
                // No clock is ahead of its arrival here.
                prop_assert!(watermark <= at(now - lateness), "at {}", now - start);
                let last = at(start + failing - 1);
                if closed.is_none() && watermark >= last.plus_ticks(gap * TICKS_PER_SEC) {
                    closed = Some(now - start - (failing - 1));
                }
            }
            let at_most = gap + lateness + idle + 5;
            prop_assert!(closed.is_some_and(|after| after <= at_most), "{closed:?} > {at_most}");
        }
    }
}

//! What is near in time: the failures on the host of a mismatch, and a domain
//! controller's success for the same account. Either may arrive first, so both
//! are kept until the watermark is past them.

use std::collections::BTreeMap;

use borsh::{BorshDeserialize, BorshSerialize};

use super::names::{Address, Symbol};
use super::sessions::{HOUR_TICKS, SourceKey};
use crate::status::StatusCode;
use crate::time::EventTime;

/// What may be paired with a mismatch on a host.
#[derive(Clone, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct Trace {
    pub origin: TraceOrigin,
    pub source: SourceKey,
    pub peer_host: Symbol,
    pub peer_ip: Address,
    pub status: Option<StatusCode>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum TraceOrigin {
    /// A failure that the host logged.
    Failure,
    /// The account that the mismatch itself names.
    Mismatch,
}

/// A trace with the host that logged it, and when.
pub type TraceAt = (Symbol, EventTime, Trace);

/// Values by key and time. The newest `count_max` are kept; while values are
/// added there may be twice as many.
#[derive(Debug, BorshSerialize, BorshDeserialize)]
pub struct Nearby<K, V> {
    hours: BTreeMap<u64, OfHour<K, V>>,
    #[borsh(skip)]
    count: usize,
    #[borsh(skip)]
    count_max: usize,
    dropped: u64,
}

/// As they came; by key and time once settled.
#[derive(Debug, BorshSerialize, BorshDeserialize)]
struct OfHour<K, V> {
    values: Vec<(K, EventTime, V)>,
    is_settled: bool,
}

impl<K: Copy + Ord, V> Nearby<K, V> {
    pub fn new(count_max: usize) -> Nearby<K, V> {
        Nearby { hours: BTreeMap::new(), count: 0, count_max, dropped: 0 }
    }

    /// Sets bound and count of values that were read back.
    pub fn bound(&mut self, count_max: usize) {
        self.count_max = count_max;
        self.count = self.hours.values().map(|hour| hour.values.len()).sum();
    }

    pub fn add(&mut self, key: K, time: EventTime, value: V) {
        let new = || OfHour { values: Vec::new(), is_settled: false };
        let hour = self.hours.entry(time.0 / HOUR_TICKS).or_insert_with(new);
        hour.values.push((key, time, value));
        hour.is_settled = false;
        self.count += 1;
        if self.count >= self.count_max.saturating_mul(2) {
            self.trim();
        }
    }

    /// Puts the values of hours that have new ones in order, for [`Nearby::within`].
    pub fn settle(&mut self) {
        for hour in self.hours.values_mut().filter(|hour| !hour.is_settled) {
            hour.values.sort_by_key(|(key, time, _)| (*key, *time));
            hour.is_settled = true;
        }
    }

    /// Drops what is beyond the bound. What is left does not depend on the order
    /// in which values came.
    pub fn trim(&mut self) {
        if self.count <= self.count_max {
            return;
        }
        let before = self.count;
        let mut times: Vec<EventTime> = self.iter().map(|(_, at, _)| at).collect();
        let beyond = before - self.count_max - 1;
        let (_, newest_beyond, _) = times.select_nth_unstable(beyond);
        let keep_from = EventTime(newest_beyond.0 + 1);
        self.hours = self.hours.split_off(&(keep_from.0 / HOUR_TICKS));
        if let Some(mut first) = self.hours.first_entry() {
            first.get_mut().values.retain(|(_, at, _)| *at >= keep_from);
        }
        self.count = self.hours.values().map(|hour| hour.values.len()).sum();
        self.dropped += (before - self.count) as u64;
    }

    /// Values dropped because there were too many.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Forgets the hours that end before `time`.
    pub fn forget_before(&mut self, time: EventTime) {
        self.hours = self.hours.split_off(&(time.0 / HOUR_TICKS));
        self.count = self.hours.values().map(|hour| hour.values.len()).sum();
    }

    /// The values of a key within a time span, both ends included, by time;
    /// after [`Nearby::settle`].
    pub fn within(
        &self,
        key: K,
        first: EventTime,
        last: EventTime,
    ) -> impl Iterator<Item = (K, EventTime, &V)> {
        let hours = first.0 / HOUR_TICKS..=last.max(first).0 / HOUR_TICKS;
        self.hours.range(hours).flat_map(move |(_, OfHour { values, .. })| {
            let start = values.partition_point(|(k, at, _)| (*k, *at) < (key, first));
            let end = values.partition_point(|(k, at, _)| (*k, *at) <= (key, last));
            values[start..end.max(start)].iter().map(|(key, at, value)| (*key, *at, value))
        })
    }

    /// All values.
    pub fn iter(&self) -> impl Iterator<Item = (K, EventTime, &V)> {
        let values = self.hours.values().flat_map(|hour| &hour.values);
        values.map(|(key, at, value)| (*key, *at, value))
    }
}

/// Moments of one host, each widened by the pairing window on both sides, as
/// spans that do not touch.
#[derive(Clone, Debug, Default, BorshSerialize, BorshDeserialize)]
pub struct Windows {
    spans: Vec<(EventTime, EventTime)>,
    /// Length at which the spans are joined again.
    join_at: usize,
}

impl Windows {
    pub fn add(&mut self, time: EventTime, window_ticks: u64) {
        self.spans.push((time.minus_ticks(window_ticks), time.plus_ticks(window_ticks)));
        if self.spans.len() >= self.join_at.max(64) {
            self.spans = join(std::mem::take(&mut self.spans));
            self.join_at = self.spans.len() * 2;
        }
    }

    pub fn join(&mut self, other: &Windows) {
        self.spans.extend(&other.spans);
    }

    /// The spans, by time.
    pub fn spans(&self) -> Vec<(EventTime, EventTime)> {
        join(self.spans.clone())
    }

    pub fn forget_before(&mut self, time: EventTime) {
        self.spans.retain(|(_, end)| *end >= time);
    }

    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }
}

fn join(mut spans: Vec<(EventTime, EventTime)>) -> Vec<(EventTime, EventTime)> {
    spans.sort_unstable();
    let mut joined: Vec<(EventTime, EventTime)> = Vec::new();
    for (start, end) in spans {
        match joined.last_mut() {
            Some((_, last)) if start <= *last => *last = end.max(*last),
            _ => joined.push((start, end)),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_stay_in_whatever_order_they_come() {
        for times in [[5, 1, 4, 2, 3, 6, 7, 8], [8, 7, 6, 5, 4, 3, 2, 1], [1, 2, 3, 4, 5, 6, 7, 8]]
        {
            let mut nearby = Nearby::new(3);
            for time in times {
                nearby.add("PC1", EventTime(time), time);
            }
            nearby.trim();
            nearby.settle();
            let within = |first, last| {
                let found = nearby.within("PC1", EventTime(first), EventTime(last));
                found.map(|(_, _, value)| *value).collect::<Vec<_>>()
            };
            assert_eq!(within(0, 9), [6, 7, 8]);
            assert_eq!(within(7, 7), [7]);
            assert_eq!(nearby.dropped(), 5);
        }
    }

    #[test]
    fn many_moments_close_together_are_one_window() {
        let mut windows = Windows::default();
        for time in (100..10_000).rev() {
            windows.add(EventTime(time), 5);
        }
        windows.add(EventTime(20_000), 5);
        let at = |first, last| (EventTime(first), EventTime(last));
        assert_eq!(windows.spans(), [at(95, 10_004), at(19_995, 20_005)]);
    }
}

//! When an event happened: 100 ns ticks since 1601, as Windows counts, and their text.

use std::fmt;

use borsh::{BorshDeserialize, BorshSerialize};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::Offset;

/// Ticks (100 ns) in one second.
pub const TICKS_PER_SEC: u64 = 10_000_000;

const UNIX_EPOCH_SECS: i64 = 11_644_473_600;

/// The first day of a FILETIME.
const FILETIME_EPOCH: Date = Date::constant(1601, 1, 1);

/// The Gregorian calendar repeats after so many years.
const CYCLE_YEARS: i64 = 400;
const CYCLE_SECS: i64 = 146_097 * 86_400;

/// When an event happened: 100 ns ticks since 1601-01-01 UTC, as in a FILETIME.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    BorshSerialize,
    BorshDeserialize,
)]
pub struct EventTime(pub u64);

impl EventTime {
    pub const MIN: EventTime = EventTime(0);
    pub const MAX: EventTime = EventTime(u64::MAX);

    /// From a Gregorian UTC date (year, month, day) and time (hour, minute, second).
    ///
    /// `None` outside 1601 to 9999 or when a part is out of range. A day that a shorter month
    /// does not have counts on into the next month, and a leap second is the last tick before
    /// the next minute.
    pub fn from_civil(
        date: (u32, u32, u32),
        clock: (u32, u32, u32),
        ticks: u32,
    ) -> Option<EventTime> {
        let (year, month, day) = date;
        let (hour, minute, second) = clock;
        let valid = (1601..=9999).contains(&year)
            && (1..=31).contains(&day)
            && hour < 24
            && minute < 60
            && second <= 60
            && u64::from(ticks) < TICKS_PER_SEC;
        if !valid {
            return None;
        }
        let (second, ticks) =
            if second == 60 { (59, TICKS_PER_SEC as u32 - 1) } else { (second, ticks) };
        let month = Date::new(i16::try_from(year).ok()?, i8::try_from(month).ok()?, 1).ok()?;
        let month_secs = month.duration_since(FILETIME_EPOCH).as_secs() as u64;
        let secs = (day - 1) * 86_400 + hour * 3600 + minute * 60 + second;
        Some(EventTime((month_secs + u64::from(secs)) * TICKS_PER_SEC + u64::from(ticks)))
    }

    /// From whole nanoseconds since 1970-01-01 UTC; `None` before 1601.
    pub fn from_unix_nanos(nanos: i128) -> Option<EventTime> {
        let ticks = nanos / 100 + i128::from(UNIX_EPOCH_SECS) * i128::from(TICKS_PER_SEC);
        u64::try_from(ticks).ok().map(EventTime)
    }

    /// Whole milliseconds since 1970-01-01 UTC, rounded down; negative before.
    pub fn unix_millis(self) -> i64 {
        (self.0 / (TICKS_PER_SEC / 1000)) as i64 - UNIX_EPOCH_SECS * 1000
    }

    pub fn plus_ticks(self, ticks: u64) -> EventTime {
        EventTime(self.0.saturating_add(ticks))
    }

    pub fn minus_ticks(self, ticks: u64) -> EventTime {
        EventTime(self.0.saturating_sub(ticks))
    }

    /// Ticks between the two, whichever comes first.
    pub fn distance(self, other: EventTime) -> u64 {
        self.0.abs_diff(other.0)
    }
}

/// RFC 3339, UTC, seven digits: `2025-10-01T08:00:00.1234567Z`. Years beyond 9999 have five
/// digits, which RFC 3339 does not provide for.
impl fmt::Display for EventTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secs = (self.0 / TICKS_PER_SEC) as i64;
        // The calendar ends with the year 9999, these ticks do not: the time of day and the date
        // are those of the same moment in the first cycle.
        let cycles = secs / CYCLE_SECS;
        let in_first_cycle = Timestamp::from_second(secs % CYCLE_SECS - UNIX_EPOCH_SECS);
        let civil = Offset::UTC.to_datetime(in_first_cycle.expect("a moment from 1601 to 2000"));
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:07}Z",
            i64::from(civil.year()) + cycles * CYCLE_YEARS,
            civil.month(),
            civil.day(),
            civil.hour(),
            civil.minute(),
            civil.second(),
            self.0 % TICKS_PER_SEC
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_are_counted_from_1970_and_rounded_down() {
        let at = |date, ticks| EventTime::from_civil(date, (0, 0, 1), ticks).unwrap().unix_millis();
        assert_eq!(at((1970, 1, 1), 1_239_999), 1_123);
        assert_eq!(at((1969, 12, 31), 0), -86_399_000);
        assert_eq!(at((2025, 10, 1), 1_234_567), 1_759_276_801_123);
        assert_eq!(EventTime::MIN.unix_millis(), -11_644_473_600_000);
    }

    #[test]
    fn time_prints_seven_digits_and_reads_back() {
        let time = EventTime::from_civil((2024, 2, 29), (23, 59, 59), 1_234_567).expect("valid");
        assert_eq!(time.to_string(), "2024-02-29T23:59:59.1234567Z");
        assert_eq!(EventTime(0).to_string(), "1601-01-01T00:00:00.0000000Z");
        assert_eq!(EventTime(116_444_736_000_000_000).to_string(), "1970-01-01T00:00:00.0000000Z");
        assert_eq!(EventTime::from_civil((2025, 13, 1), (0, 0, 0), 0), None);
    }

    #[test]
    fn times_beyond_the_year_9999_print_five_digits_of_year() {
        for (ticks, text) in [
            (2_650_467_743_999_999_999, "9999-12-31T23:59:59.9999999Z"),
            (2_650_467_744_000_000_000, "10000-01-01T00:00:00.0000000Z"),
            (3_155_695_199_999_999_999, "11600-12-31T23:59:59.9999999Z"),
            (u64::MAX, "60056-05-28T05:36:10.9551615Z"),
        ] {
            assert_eq!(EventTime(ticks).to_string(), text);
        }
    }

    #[test]
    fn every_day_of_a_cycle_prints_as_the_day_after_the_last() {
        let mut ticks = 0;
        for year in 1601..=2000 {
            let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let february = if is_leap { 29 } else { 28 };
            let months = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
            for (month, days) in (1..).zip(months) {
                for day in 1..=days {
                    let time = EventTime(ticks);
                    assert_eq!(
                        time.to_string(),
                        format!("{year}-{month:02}-{day:02}T00:00:00.0000000Z")
                    );
                    let read = EventTime::from_civil((year, month, day), (0, 0, 0), 0);
                    assert_eq!(read, Some(time));
                    ticks += 86_400 * TICKS_PER_SEC;
                }
            }
        }
    }
}

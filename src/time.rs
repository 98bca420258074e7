//! When an event happened: 100 ns ticks since 1601, as Windows counts, and their text.

use std::fmt;

use borsh::{BorshDeserialize, BorshSerialize};

/// Ticks (100 ns) in one second.
pub const TICKS_PER_SEC: u64 = 10_000_000;

const UNIX_EPOCH_SECS: i64 = 11_644_473_600;
const SECS_PER_DAY: i64 = 86_400;

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

    /// From a proleptic Gregorian UTC date and time; `None` outside 1601 to
    /// 9999 or when a part is out of range. A leap second counts as the last
    /// tick before the next minute.
    pub fn from_civil(
        date: (u32, u32, u32),
        clock: (u32, u32, u32),
        ticks: u32,
    ) -> Option<EventTime> {
        let (year, month, day) = date;
        let (hour, minute, second) = clock;
        let valid = (1601..=9999).contains(&year)
            && (1..=12).contains(&month)
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
        let days = days_from_civil(i64::from(year), i64::from(month), i64::from(day));
        let secs = days * SECS_PER_DAY
            + i64::from(hour) * 3600
            + i64::from(minute) * 60
            + i64::from(second)
            + UNIX_EPOCH_SECS;
        Some(EventTime(secs as u64 * TICKS_PER_SEC + u64::from(ticks)))
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

/// RFC 3339, UTC, seven digits: `2025-10-01T08:00:00.1234567Z`.
impl fmt::Display for EventTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secs = (self.0 / TICKS_PER_SEC) as i64 - UNIX_EPOCH_SECS;
        let (year, month, day) = civil_from_days(secs.div_euclid(SECS_PER_DAY));
        let clock = secs.rem_euclid(SECS_PER_DAY);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:07}Z",
            clock / 3600,
            clock / 60 % 60,
            clock % 60,
            self.0 % TICKS_PER_SEC
        )
    }
}

/// Days since 1970-01-01 of a Gregorian date. Years are counted from March,
/// so that the leap day is the last day of its year.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year
        - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
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
}

//! Timestamps as text, in the forms that event formats use, to [`EventTime`].
//!
//! | form | from |
//! |---|---|
//! | `2025-10-01T08:00:00.1234567Z`, `…+02:00` | XML, winlogbeat, `evtx_dump` |
//! | `2025-10-01 08:00:00.123`, `2025-10-01 08:00:00` | NXLog; no zone, taken as UTC |
//! | `2025-10-01 08:00:00 +0200` | Fluent Bit |
//!
//! A comma may stand for the point, and the minutes of the zone may be missing. Digits past the
//! seventh are cut off, as Windows counts in 100 ns.

use crate::time::{EventTime, TICKS_PER_SEC};

/// Parses a timestamp in one of the forms above, blanks around it allowed. `None` for any other
/// text, and for years outside 1601 to 9999.
pub fn parse_time(text: &str) -> Option<EventTime> {
    let text = text.trim().as_bytes();
    let (head, tail) = text.split_at_checked(19)?;
    let separators = [head[4], head[7], head[10], head[13], head[16]];
    if !matches!(separators, [b'-', b'-', b'T' | b't' | b' ', b':', b':']) {
        return None;
    }
    let (ticks, zone) = fraction(tail)?;
    let date = (number(&head[0..4])?, number(&head[5..7])?, number(&head[8..10])?);
    let clock = (number(&head[11..13])?, number(&head[14..16])?, number(&head[17..19])?);
    let local = EventTime::from_civil(date, clock, ticks)?;
    let (east, offset_secs) = zone_offset(zone)?;
    let offset = u64::from(offset_secs) * TICKS_PER_SEC;
    Some(if east { local.minus_ticks(offset) } else { local.plus_ticks(offset) })
}

/// Seconds since 1970-01-01 UTC with a fraction, as Fluent Bit's Kafka output and Splunk write
/// them. `None` when negative, not finite, or from 1e11 (year 5138) on.
pub fn from_unix_seconds(seconds: f64) -> Option<EventTime> {
    if !(0.0..1e11).contains(&seconds) {
        return None;
    }
    // In two parts, because the product would exceed the 53 bits of a double.
    let nanos = (seconds.trunc() as i128) * 1_000_000_000 + (seconds.fract() * 1e9) as i128;
    EventTime::from_unix_nanos(nanos)
}

/// The ticks of a fraction (`.ddd…`), 0 without one, and the text that follows.
fn fraction(text: &[u8]) -> Option<(u32, &[u8])> {
    let [b'.' | b',', digits @ ..] = text else { return Some((0, text)) };
    let len = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if len == 0 {
        return None;
    }
    let mut ticks = 0;
    let zeros = std::iter::repeat(&b'0');
    for digit in digits[..len].iter().chain(zeros).take(7) {
        ticks = ticks * 10 + u32::from(digit - b'0');
    }
    Some((ticks, &digits[len..]))
}

/// Whether the zone is east of UTC, and its distance in seconds.
fn zone_offset(text: &[u8]) -> Option<(bool, u32)> {
    let text = text.trim_ascii_start();
    match text {
        [] | [b'Z' | b'z'] => Some((true, 0)),
        [sign @ (b'+' | b'-'), h1, h2, rest @ ..] => {
            let minutes = match rest {
                [] => 0,
                [b':', minutes @ ..] | minutes if minutes.len() == 2 => number(minutes)?,
                _ => return None,
            };
            let hours = number(&[*h1, *h2])?;
            (hours < 24 && minutes < 60).then_some((*sign == b'+', hours * 3600 + minutes * 60))
        }
        _ => None,
    }
}

fn number(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |value, byte| {
        byte.is_ascii_digit().then(|| value * 10 + u32::from(byte - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: &str) {
        let time = parse_time(text).map_or_else(|| "none".to_owned(), |time| time.to_string());
        assert_eq!(time, expect, "{text}");
    }

    #[test]
    fn every_form_is_read() {
        check("2025-10-01T08:00:00.1234567Z", "2025-10-01T08:00:00.1234567Z");
        check("2025-10-01T08:00:00.123456789Z", "2025-10-01T08:00:00.1234567Z");
        check("2025-10-01T08:00:00Z", "2025-10-01T08:00:00.0000000Z");
        check("2025-10-01T08:00:00.5+02:00", "2025-10-01T06:00:00.5000000Z");
        check("2025-10-01 08:00:00", "2025-10-01T08:00:00.0000000Z");
        check("2025-10-01 08:00:00 -0530", "2025-10-01T13:30:00.0000000Z");
        check("2025-10-01 08:00:00.123", "2025-10-01T08:00:00.1230000Z");
        check("2025-10-01t08:00:00,5z", "2025-10-01T08:00:00.5000000Z");
        check(" 2025-10-01 10:00:00 +0200 ", "2025-10-01T08:00:00.0000000Z");
        check("2025-10-01 10:00:00+02", "2025-10-01T08:00:00.0000000Z");
        check("2025-10-01T08:00:00.99999999Z", "2025-10-01T08:00:00.9999999Z");
    }

    #[test]
    fn the_ends_of_the_calendar_are_read() {
        check("1601-01-01T00:00:00Z", "1601-01-01T00:00:00.0000000Z");
        check("1601-01-01T00:00:00+01:00", "1601-01-01T00:00:00.0000000Z");
        check("9999-12-31T23:59:59.9999999Z", "9999-12-31T23:59:59.9999999Z");
        check("9999-12-31T23:59:59-01:00", "10000-01-01T00:59:59.0000000Z");
        check("2024-02-29T23:59:60Z", "2024-02-29T23:59:59.9999999Z");
        check("2025-02-31T00:00:00Z", "2025-03-03T00:00:00.0000000Z");
        check(&EventTime::MAX.to_string(), "none");
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "-",
            "2025-10-01",
            "2025-13-01T08:00:00Z",
            "2025-00-01T08:00:00Z",
            "2025-10-00T08:00:00Z",
            "2025-10-32T08:00:00Z",
            "1600-12-31T23:59:59Z",
            "2025-10-01T24:00:00Z",
            "2025-10-01T08:60:00Z",
            "2025-10-01T08:00:61Z",
            "2025-10-01_08:00:00Z",
            "2025/10/01 08:00:00",
            "2025-10-01T08:00",
            "2025-10-01T08:00:00+24:00",
            "2025-10-01T08:00:00+01:60",
            "2025-10-01T08:00:00+02:0",
            "2025-10-01T08:00:00 CEST",
            "+2025-10-01T08:00:0",
            "2025-10-01T08:00:00.Z",
            "2025-10-01T08:00:00ZZ",
            "2025-10-01T08:00:00+2",
            "éééééééééééé",
        ] {
            check(text, "none");
        }
    }

    #[test]
    fn unix_seconds_keep_their_fraction() {
        let time = from_unix_seconds(1_759_305_600.25).expect("in range");
        assert_eq!(time.to_string(), "2025-10-01T08:00:00.2500000Z");
        assert_eq!(from_unix_seconds(f64::NAN), None);
    }
}

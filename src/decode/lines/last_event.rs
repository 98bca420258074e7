//! Who wrote the last event of a text, and when, whether any rule wants it or not: enough to know
//! how far a stream of events is that nobody reads.

use std::sync::Arc;

use memchr::memmem::FinderRev;
use memchr::memrchr;

use super::LineDecoder;
use crate::decode::Tally;
use crate::record::Wanted;
use crate::time::EventTime;

/// The last event is looked for in so many bytes.
const TAIL_BYTES_MAX: usize = 64 * 1024;

/// Longest prefix of a namespace, with its `<` and colon.
const PREFIX_BYTES_MAX: usize = 32;

/// Reads last events.
#[derive(Debug)]
pub struct LastEvent {
    decoder: LineDecoder,
}

impl LastEvent {
    pub fn new() -> LastEvent {
        LastEvent { decoder: LineDecoder::new(Arc::new(Wanted::any_event())) }
    }

    /// Computer and time of the last event of a block of complete events; `None` where it cannot
    /// be read.
    pub fn read(&mut self, text: &[u8]) -> Option<(String, EventTime)> {
        let text = text.trim_ascii_end();
        let mut last = None;
        let emit = &mut |record: &crate::record::Record<'_>| {
            last = Some((record.computer.text().into_owned(), record.time));
        };
        self.decoder.decode(&text[start_of_last(text)?..], &mut Tally::default(), emit);
        last
    }
}

impl Default for LastEvent {
    fn default() -> Self {
        LastEvent::new()
    }
}

/// Where the last event starts, if it starts within the tail.
fn start_of_last(text: &[u8]) -> Option<usize> {
    let from = text.len().saturating_sub(TAIL_BYTES_MAX);
    let tail = &text[from..];
    let line = memrchr(b'\n', tail).map(|at| at + 1).or((from == 0).then_some(0));
    let is_json = |at: &usize| matches!(tail[*at..].first(), Some(b'{' | b'[' | b'"'));
    let line = line.filter(is_json);
    let xml = [&b"Event "[..], b"Event>"].map(|name| {
        let mut names = FinderRev::new(name).rfind_iter(tail).collect::<Vec<_>>().into_iter();
        names.find_map(|at| start_of_tag(tail, at))
    });
    line.or(xml.into_iter().flatten().max()).map(|at| from + at)
}

/// Where the start tag begins whose name ends at that place; `None` when there is none.
fn start_of_tag(text: &[u8], name: usize) -> Option<usize> {
    let before = &text[name.saturating_sub(PREFIX_BYTES_MAX)..name];
    let start = memrchr(b'<', before)?;
    let prefix = &before[start + 1..];
    let is_prefix = prefix.is_empty()
        || prefix.ends_with(b":") && prefix.iter().all(|byte| !b"/> \"'".contains(byte));
    is_prefix.then(|| name - before.len() + start)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::clock::parse_time;
    use crate::decode::lines::samples::{COMPUTER, TIME, samples, shapes, xml};

    #[test]
    fn the_last_event_of_every_shape_is_read_wanted_or_not() {
        let expect = Some((COMPUTER.to_owned(), parse_time(TIME).expect("a time")));
        let mut last = LastEvent::new();
        for sample in samples() {
            for (shape, _, text) in shapes(&sample) {
                assert_eq!(last.read(text.as_bytes()), expect, "{shape}: {text}");
                let old = text.replace("2025-10-01", "2024-10-01");
                let both = format!("{old}\n{text}\n\n");
                assert_eq!(last.read(both.as_bytes()), expect, "{shape}: {both}");
            }
            let between = format!("{}\r\n", xml(&sample)).repeat(3);
            assert_eq!(last.read(between.as_bytes()), expect);
        }
    }

    #[test]
    fn what_is_no_event_has_no_time() {
        let mut last = LastEvent::new();
        for text in ["", "hello", "{", "{\"a\":1}", "<Event>", "\u{0}\n\n{\"EventID\":1}"] {
            assert_eq!(last.read(text.as_bytes()), None, "{text}");
        }
        let long = format!("{{\"a\":\"{}\"}}", "x".repeat(2 * TAIL_BYTES_MAX));
        assert_eq!(last.read(long.as_bytes()), None);
    }
}

//! Framing: where in a block of text each event starts and ends.

use memchr::memmem::Finder;
use memchr::{memchr, memmem};

use super::EVENT_BYTES_MAX;

/// Where a block may be cut when more text will follow: the end of the last complete event in
/// `text`. `None` when there is none; the text is then the start of one event, or blank.
///
/// When a text without a boundary is longer than [`EVENT_BYTES_MAX`], the rest of its line belongs
/// to an event that is too long. A caller that cuts it anyway must drop that rest, or text within
/// the event would be taken for events.
pub fn last_boundary(text: &[u8]) -> Option<usize> {
    EventFrames::new(text, &Needles::new())
        .filter(|frame| frame.whole)
        .map(|frame| frame.end)
        .last()
}

/// One event of a block, or a line that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) kind: FrameKind,
    pub(super) start: usize,
    pub(super) end: usize,
    /// Whether it is complete: more text would not make it longer.
    pub(super) whole: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FrameKind {
    Xml,
    Json,
    Junk,
    TooLong,
}

/// A text to search for.
#[derive(Debug)]
struct Needle {
    finder: Finder<'static>,
    /// Whether an occurrence counts.
    accept: fn(&[u8], usize) -> bool,
}

/// What [`EventFrames`] searches for, made once.
#[derive(Debug)]
pub(super) struct Needles {
    newline: Needle,
    start: Needle,
    end: Needle,
    /// The colon of `</prefix:Event>`.
    prefixed_end: Needle,
    /// The `!` of a comment or `CDATA`: one byte is found fastest.
    markup: Needle,
    cdata_end: Needle,
    comment_end: Needle,
}

impl Needles {
    pub(super) fn new() -> Needles {
        let needle = |text: &'static str, accept| Needle { finder: Finder::new(text), accept };
        Needles {
            newline: needle("\n", |_, _| true),
            start: needle("<Event", is_start),
            end: needle("</Event>", |_, _| true),
            prefixed_end: needle(":Event>", is_prefixed_end),
            markup: needle("!", |text, at| text[..at].ends_with(b"<")),
            cdata_end: needle("]]>", |_, _| true),
            comment_end: needle("-->", |_, _| true),
        }
    }
}

/// The next occurrence of a needle. Queried for ascending positions, it reads the text once in all.
#[derive(Debug)]
struct NextMatch<'n> {
    needle: &'n Needle,
    place: Option<usize>,
}

impl<'n> NextMatch<'n> {
    fn new(needle: &'n Needle) -> NextMatch<'n> {
        NextMatch { needle, place: None }
    }

    /// The first occurrence at or after `at`; the length of the text if there is none.
    fn from(&mut self, text: &[u8], at: usize) -> usize {
        if let Some(place) = self.place.filter(|place| *place >= at) {
            return place;
        }
        let mut from = at;
        let place = loop {
            let Some(found) = text.get(from..).and_then(|rest| self.needle.finder.find(rest))
            else {
                break text.len();
            };
            if (self.needle.accept)(text, from + found) {
                break from + found;
            }
            from += found + 1;
        };
        self.place = Some(place);
        place
    }
}

pub(super) struct EventFrames<'t, 'n> {
    text: &'t [u8],
    at: usize,
    /// An event ended on this line; the rest of the line is ignored.
    after_event: bool,
    next_newline: NextMatch<'n>,
    next_start: NextMatch<'n>,
    next_end: NextMatch<'n>,
    next_prefixed_end: NextMatch<'n>,
    next_markup: NextMatch<'n>,
    next_cdata_end: NextMatch<'n>,
    next_comment_end: NextMatch<'n>,
}

impl<'t, 'n> EventFrames<'t, 'n> {
    pub(super) fn new(text: &'t [u8], needles: &'n Needles) -> EventFrames<'t, 'n> {
        EventFrames {
            text,
            at: 0,
            after_event: false,
            next_newline: NextMatch::new(&needles.newline),
            next_start: NextMatch::new(&needles.start),
            next_end: NextMatch::new(&needles.end),
            next_prefixed_end: NextMatch::new(&needles.prefixed_end),
            next_markup: NextMatch::new(&needles.markup),
            next_cdata_end: NextMatch::new(&needles.cdata_end),
            next_comment_end: NextMatch::new(&needles.comment_end),
        }
    }

    fn line_end(&mut self, at: usize) -> Option<usize> {
        let newline = self.next_newline.from(self.text, at);
        (newline < self.text.len()).then_some(newline + 1)
    }

    /// From here to the end of the line.
    fn line(&mut self, kind: FrameKind) -> Frame {
        let start = self.at;
        let line_end = self.line_end(start);
        let end = line_end.unwrap_or(self.text.len());
        self.at = end;
        let too_long = end - start > EVENT_BYTES_MAX;
        let kind = if too_long { FrameKind::TooLong } else { kind };
        Frame { kind, start, end, whole: line_end.is_some() }
    }

    /// A JSON event, without the array syntax that may surround it.
    fn json(&mut self) -> Frame {
        let mut frame = self.line(FrameKind::Json);
        if frame.kind == FrameKind::Json {
            let in_array = self.text[frame.start] != b'[';
            let text = &self.text[frame.start..frame.end];
            let trailing = text.iter().rev().take_while(|byte| {
                byte.is_ascii_whitespace() || in_array && matches!(byte, b',' | b']')
            });
            frame.end -= trailing.count();
        }
        frame
    }

    /// From an `<Event` here to its end.
    fn xml(&mut self, prefixed: bool) -> Frame {
        let (text, start) = (self.text, self.at);
        let mut from = start + 1;
        let (end, whole) = loop {
            let close = if prefixed {
                self.next_prefixed_end.from(text, from)
            } else {
                self.next_end.from(text, from)
            };
            let following = self.next_start.from(text, from);
            let markup = match self.next_markup.from(text, from) {
                none if none == text.len() => none,
                exclamation => exclamation - 1,
            };
            if markup < close.min(following) {
                let rest = &text[markup..];
                let past = if rest.starts_with(b"<![CDATA[") {
                    self.next_cdata_end.from(text, markup) + b"]]>".len()
                } else if rest.starts_with(b"<!--") {
                    self.next_comment_end.from(text, markup) + b"-->".len()
                } else {
                    markup + b"<!".len()
                };
                if past > text.len() {
                    // Unterminated: more text may bring the end, but not without bound.
                    let too_long = text.len() - start > EVENT_BYTES_MAX;
                    break if too_long { (markup, true) } else { (text.len(), false) };
                }
                from = past;
            } else if following < close {
                let json_line = memmem::find(&text[start..following], b"\n{\"");
                break (json_line.map_or(following, |len| start + len), true);
            } else if close < text.len() {
                let end = memchr(b'>', &text[close..]).map_or(text.len(), |len| close + len + 1);
                break (end, true);
            } else {
                break (text.len(), false);
            }
        };
        let (end, whole) = self.empty_element(start, end).map_or((end, whole), |end| (end, true));
        self.after_event = true;
        if end - start <= EVENT_BYTES_MAX {
            self.at = end;
            return Frame { kind: FrameKind::Xml, start, end, whole };
        }
        // Lines past the bound may be events again.
        let line_end = self.line_end(start + EVENT_BYTES_MAX);
        let end = line_end.map_or(end, |line_end| line_end.min(end));
        self.at = end;
        Frame { kind: FrameKind::TooLong, start, end, whole: whole || line_end.is_some() }
    }

    /// The end of `<Event/>`.
    fn empty_element(&self, start: usize, end: usize) -> Option<usize> {
        let tag_end = memchr(b'>', &self.text[start..end])?;
        (self.text[start + tag_end - 1] == b'/').then_some(start + tag_end + 1)
    }
}

impl EventFrames<'_, '_> {
    /// Up to the end of the line, or to an event that begins on it; text before an event is
    /// ignored.
    fn junk(&mut self) -> Option<Frame> {
        let event = self.next_start.from(self.text, self.at + 1);
        let line_end = self.line_end(self.at);
        if event < line_end.unwrap_or(self.text.len()) {
            self.at = event;
            return None;
        }
        if self.after_event {
            self.at = line_end.unwrap_or(self.text.len());
            self.after_event = false;
            return None;
        }
        Some(self.line(FrameKind::Junk))
    }
}

impl Iterator for EventFrames<'_, '_> {
    type Item = Frame;

    fn next(&mut self) -> Option<Frame> {
        loop {
            let rest = &self.text[self.at..];
            match rest.first()? {
                b'\n' => {
                    self.after_event = false;
                    self.at += 1;
                }
                b' ' | b'\t' | b'\r' | b',' | b']' | 0x1e => self.at += 1,
                _ if rest.starts_with("\u{feff}".as_bytes()) => self.at += 3,
                b'{' | b'"' => return Some(self.json()),
                b'[' => match rest[1..].trim_ascii_start().first() {
                    Some(b'{') if !opens_line(&rest[1..]) => return Some(self.json()),
                    Some(_) | None => self.at += 1,
                },
                b'<' => match tag(rest) {
                    Some(Markup::Event) => return Some(self.xml(false)),
                    Some(Markup::PrefixedEvent) => return Some(self.xml(true)),
                    Some(Markup::Other(len)) => self.at += len,
                    None => {
                        if let Some(frame) = self.junk() {
                            return Some(frame);
                        }
                    }
                },
                _ => {
                    if let Some(frame) = self.junk() {
                        return Some(frame);
                    }
                }
            }
        }
    }
}

/// Whether nothing but blanks is left on the line.
fn opens_line(rest: &[u8]) -> bool {
    rest.iter().find(|byte| !matches!(byte, b' ' | b'\t' | b'\r')) == Some(&b'\n')
}

enum Markup {
    Event,
    PrefixedEvent,
    /// Markup to ignore, and its length.
    Other(usize),
}

/// Longest XML declaration or comment between events that is ignored.
const MARKUP_BYTES_MAX: usize = 4096;

fn tag(rest: &[u8]) -> Option<Markup> {
    let near = &rest[..rest.len().min(MARKUP_BYTES_MAX)];
    let past =
        |needle: &[u8]| memmem::find(near, needle).map(|at| Markup::Other(at + needle.len()));
    if rest.starts_with(b"<?") {
        return past(b"?>");
    }
    if rest.starts_with(b"<!--") {
        return past(b"-->");
    }
    let name = &near[1..];
    let name = name.strip_prefix(b"/").unwrap_or(name);
    let len = name.iter().take_while(|byte| {
        byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'_' | b'-' | b'.')
    });
    let (name, after) = name.split_at(len.count());
    let (prefix, local) = match name.iter().position(|byte| *byte == b':') {
        Some(colon) => (&name[..colon], &name[colon + 1..]),
        None => (&name[..0], name),
    };
    if !matches!(after.first(), Some(b' ' | b'\t' | b'\r' | b'\n' | b'>' | b'/')) {
        return None;
    }
    match local {
        b"Event" if near[1] == b'/' => None,
        b"Event" if prefix.is_empty() => Some(Markup::Event),
        b"Event" => Some(Markup::PrefixedEvent),
        b"Events" => past(b">"),
        _ => None,
    }
}

/// `<Event`, not `<Events` or `<EventData`.
fn is_start(text: &[u8], at: usize) -> bool {
    let next = text.get(at + b"<Event".len());
    matches!(next, Some(b' ' | b'\t' | b'\r' | b'\n' | b'>' | b'/'))
}

/// Whether this is the colon of an end tag with a short prefix.
fn is_prefixed_end(text: &[u8], colon: usize) -> bool {
    let prefix =
        text[..colon].iter().rev().take(64).take_while(|byte| byte.is_ascii_alphanumeric());
    let slash = colon - prefix.count();
    text[..slash].ends_with(b"</")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::lines::samples::{EMPTY, check_skips, decode, mixed, wanted, xml};
    use crate::reject::RejectReason;

    #[test]
    fn an_event_beyond_the_bound_is_skipped_and_the_next_is_read() {
        let long = "x".repeat(EVENT_BYTES_MAX);
        let good = xml(&EMPTY);
        for text in [
            format!("{{\"EventID\":1,\"a\":\"{long}\"}}\n{good}"),
            format!("<Event><System>{long}</System></Event>\n{good}"),
            format!("<Event><System>{long}\n{good}"),
            format!("{long}\n{good}"),
        ] {
            check_skips(&text, 1, &[(RejectReason::LineTooLong, 1)]);
            assert!(last_boundary(text.as_bytes()) == Some(text.len()));
        }
        for text in
            [format!("<Event><System>{long}"), format!("{{\"a\":\"{long}"), format!("[{{{long}")]
        {
            assert_eq!(last_boundary(text.as_bytes()), None, "its line goes on");
        }
        for text in ["<Event><System>", "{\"EventID\":1", "<Eve", "", "\n", "<?xm", "abc"] {
            assert_eq!(last_boundary(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn cutting_at_a_boundary_loses_and_repeats_nothing() {
        let text = mixed();
        let wanted = wanted(&[]);
        let whole = decode(&wanted, text.as_bytes()).0;
        let mut last = 0;
        for end in (0..text.len()).step_by(7) {
            let Some(boundary) = last_boundary(&text.as_bytes()[..end]) else { continue };
            assert!(boundary <= end);
            if boundary == last {
                continue;
            }
            last = boundary;
            let (first, tally) = decode(&wanted, &text.as_bytes()[..boundary]);
            assert!(tally.skipped.is_empty(), "{boundary}: {:?}", tally.samples);
            let (second, _) = decode(&wanted, &text.as_bytes()[boundary..]);
            assert_eq!([first, second].concat(), whole, "cut at {boundary}");
        }
        assert!(last > text.len() / 2);
    }

    /// Would take hours if some byte were searched again for each event.
    #[test]
    fn no_text_takes_quadratic_time() {
        for piece in [
            "<Event ",
            "<Event>",
            "<e:Event ",
            "<Event><!--",
            "<Event><![CDATA[",
            "</Event>",
            "<!",
            "<?xml ",
            "<Event xmlns='",
            "[",
            "{",
            "[{",
            "\"",
            ",]",
            "<Events",
            "<Event a=\"",
            "&",
            "<Event><!",
            ":Event>",
            "<Event><a>",
            "{\"EventID\":",
            "{\"a\":\n",
            "\n[\n",
            "EventID>",
            "SubjectUserSi",
            "<Event>\n{\"",
            "</a:Event>",
            "<e:Event>",
            "<Event>]]>",
        ] {
            let text = piece.repeat((3 << 19) / piece.len());
            let _ = last_boundary(text.as_bytes());
            let (seen, _) = decode(&wanted(&["SubjectUserSid"]), text.as_bytes());
            assert!(seen.is_empty());
        }
    }
}

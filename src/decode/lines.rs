//! Text blocks in, events out: finds the events in XML and JSON text, mixed
//! as they come, and puts aside those that nobody wants before anything
//! parses them. JSON that fits a learnt layout needs no search for names, nor
//! for where it ends.
//!
//! | event | from | to |
//! |---|---|---|
//! | JSON | `{`, `[{` or `"` at the start of a line | the end of the line |
//! | XML | `<Event` | its `</Event>`, lines away or on the same line; the next `<Event` when it has none |
//!
//! XML declarations, comments, the tags of `<Events>`, byte order marks, blank
//! lines and the brackets and commas of a JSON array with an object a line are
//! passed over. Any other line is counted as [`RejectReason::LineNotAnEvent`].
//!
//! Every byte is searched a fixed number of times, whatever the text.

use std::borrow::Cow;
use std::sync::Arc;

use memchr::memmem::Finder;
use memchr::{memchr, memmem};

use super::field_plan::FieldPlan;
use super::json;
use super::json::{Layouts, Learning, Tape};
use super::text::excerpt;
use super::xml;
use super::{Emit, Tally};
use crate::record::Wanted;
use crate::reject::RejectReason;

/// Longest event that is decoded.
pub const EVENT_BYTES_MAX: usize = 1 << 20;

/// Decodes blocks of UTF-8 text. Bytes that are not UTF-8 become U+FFFD.
#[derive(Debug)]
pub struct LineDecoder {
    events: EventDecoder,
    needles: Needles,
}

impl LineDecoder {
    pub fn new(wanted: Arc<Wanted>) -> LineDecoder {
        let prefilter = Prefilter::new(Arc::clone(&wanted));
        let plan = FieldPlan::new(wanted);
        let (layouts, tape) = (Layouts::default(), Tape::default());
        let events = EventDecoder { plan, prefilter, layouts, tape };
        LineDecoder { events, needles: Needles::new() }
    }

    /// Decodes a block of whole events, as [`last_boundary`] cuts it. Each is
    /// counted in `tally`, as a record or with the reason why it was skipped;
    /// bytes are the caller's to count.
    pub fn decode(&mut self, text: &[u8], tally: &mut Tally, emit: &mut Emit<'_>) {
        // A message is mostly one event: what fits a layout is, and of what does
        // not, nothing but the end of its line has to be searched for.
        let fit = match text.starts_with(b"{") && text.len() <= EVENT_BYTES_MAX {
            true => self.events.decode_by_layout(text, tally, emit),
            false => LayoutMatch::Unknown,
        };
        match fit {
            LayoutMatch::Decoded => {}
            fit if is_one_object(text) => {
                self.events.decode_fully(text, FrameKind::Json, fit, tally, emit);
            }
            _ => {
                for frame in EventFrames::new(text, &self.needles) {
                    self.events.decode(&text[frame.start..frame.end], frame.kind, tally, emit);
                }
            }
        }
    }
}

/// Whether a text is one JSON event and nothing else.
fn is_one_object(text: &[u8]) -> bool {
    // From front to back, as memory is read ahead: a look at the end first takes
    // as long as a whole search.
    text.len() <= EVENT_BYTES_MAX
        && text.starts_with(b"{")
        && memchr(b'\n', text).is_none()
        && text.ends_with(b"}")
}

/// What came of holding a text against the layouts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LayoutMatch {
    Decoded,
    /// None fits; the event id that stands in it.
    NoMatch(u32),
    Unknown,
}

#[derive(Debug)]
struct EventDecoder {
    plan: FieldPlan,
    prefilter: Prefilter,
    layouts: Layouts,
    tape: Tape,
}

impl EventDecoder {
    fn decode(&mut self, bytes: &[u8], kind: FrameKind, tally: &mut Tally, emit: &mut Emit<'_>) {
        let fit = match kind {
            FrameKind::Json => self.decode_by_layout(bytes, tally, emit),
            FrameKind::Xml | FrameKind::Junk | FrameKind::TooLong => LayoutMatch::Unknown,
        };
        if fit != LayoutMatch::Decoded {
            self.decode_fully(bytes, kind, fit, tally, emit);
        }
    }

    /// What fits a layout is one event, and known to be one that may teach.
    fn decode_by_layout(
        &mut self,
        bytes: &[u8],
        tally: &mut Tally,
        emit: &mut Emit<'_>,
    ) -> LayoutMatch {
        let Some(id) = self.prefilter.first_json_id(bytes) else { return LayoutMatch::Unknown };
        let Some(parsed) = self.layouts.read(id, bytes, &self.plan) else {
            return LayoutMatch::NoMatch(id);
        };
        match parsed.into_record(&self.plan) {
            Ok(record) => {
                tally.records += 1;
                record.iter().for_each(emit);
                LayoutMatch::Decoded
            }
            // It has to be said at length what is wrong with it.
            Err(_) => LayoutMatch::Unknown,
        }
    }

    fn decode_fully(
        &mut self,
        bytes: &[u8],
        kind: FrameKind,
        fit: LayoutMatch,
        tally: &mut Tally,
        emit: &mut Emit<'_>,
    ) {
        match kind {
            FrameKind::Xml if !self.prefilter.may_want_xml(bytes) => tally.records += 1,
            FrameKind::Json if !self.prefilter.may_want_json(bytes) => tally.records += 1,
            FrameKind::Xml => match xml::decode_event(&utf8(bytes), &self.plan, emit) {
                Ok(_) => tally.records += 1,
                Err((reason, sample)) => tally.skip(reason, || sample),
            },
            FrameKind::Json => self.json(bytes, fit, tally, emit),
            FrameKind::Junk => tally.skip(RejectReason::LineNotAnEvent, || {
                format!("expected `<Event` or a JSON object: {}", excerpt(&utf8(head(bytes))))
            }),
            FrameKind::TooLong => tally.skip(RejectReason::LineTooLong, || {
                let excerpt = excerpt(&utf8(head(bytes)));
                format!("expected an event of at most {EVENT_BYTES_MAX} bytes: {excerpt}")
            }),
        }
        tally.keep_reject(|| bytes.to_vec());
    }

    /// What fitted no layout may be learnt.
    fn json(&mut self, bytes: &[u8], fit: LayoutMatch, tally: &mut Tally, emit: &mut Emit<'_>) {
        let id = match fit {
            LayoutMatch::NoMatch(id) => Some(id).filter(|id| self.layouts.should_learn(*id)),
            LayoutMatch::Decoded | LayoutMatch::Unknown => None,
        };
        let learning = if id.is_some() { Learning::Yes } else { Learning::No };
        let (plan, tape) = (&self.plan, &mut self.tape);
        let layout = json::decode_object(&utf8(bytes), plan, tape, tally, learning, emit);
        if let (Some(id), Some(layout)) = (id, layout) {
            self.layouts.learn(id, layout);
        }
    }
}

fn utf8(bytes: &[u8]) -> Cow<'_, str> {
    // The lossy reading alone goes byte by byte.
    str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
}

/// Enough for a sample.
fn head(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len().min(1024)]
}

/// Where a block may be cut, given that more text will follow: the end of the
/// last whole event in `text`. `None` when there is none; the text is then
/// nothing but the start of one event, or blanks. Of text that is longer than
/// [`EVENT_BYTES_MAX`] and has no boundary, the rest of the line belongs to an
/// event that is too long: whoever cuts it anywhere must drop that rest, or
/// what stands within the event would pass for events.
pub fn last_boundary(text: &[u8]) -> Option<usize> {
    EventFrames::new(text, &Needles::new())
        .filter(|frame| frame.whole)
        .map(|frame| frame.end)
        .last()
}

/// Says by byte search what nobody can want.
#[derive(Debug)]
pub struct Prefilter {
    wanted: Arc<Wanted>,
    fact_fields: FactFieldSearch,
    /// Ids of the events whose names come from their manifest, if one of those
    /// names teaches: in the text are none.
    unnamed_fact_ids: Vec<u32>,
    event_id: Finder<'static>,
    event_id_snake: Finder<'static>,
    ascii_escape: Finder<'static>,
}

impl Prefilter {
    pub fn new(wanted: Arc<Wanted>) -> Prefilter {
        let carries_fact = |id: &u32| {
            (0..64)
                .filter_map(|items| json::manifest_names(*id, items))
                .flatten()
                .any(|name| wanted.field(name).is_some_and(|field| wanted.carries_fact(field)))
        };
        Prefilter {
            fact_fields: FactFieldSearch::new(wanted.fact_field_names()),
            unnamed_fact_ids: json::MANIFEST_IDS.into_iter().filter(carries_fact).collect(),
            event_id: Finder::new("EventID"),
            event_id_snake: Finder::new("event_id"),
            ascii_escape: Finder::new("\\u00"),
            wanted,
        }
    }

    /// False when no rule or fact can want this event, for certain: each id in
    /// it is unwanted, and no name of a teaching field occurs.
    pub fn may_want_xml(&self, xml: &[u8]) -> bool {
        if self.fact_fields.occurs(xml) {
            return true;
        }
        let mut ids = 0;
        for at in self.event_id.find_iter(xml) {
            match element_id(xml, at + "EventID".len()) {
                IdHint::Number(id) if self.wanted.wants_id(id) => return true,
                IdHint::Number(_) => ids += 1,
                IdHint::Unclear => return true,
                IdHint::None => {}
            }
        }
        ids == 0
    }

    /// [`Prefilter::may_want_xml`] for a JSON text of any shape. True too for
    /// whatever needs a closer look to be counted: envelopes, broken text.
    pub fn may_want_json(&self, json: &[u8]) -> bool {
        let mut ids = 0;
        let whole =
            json.starts_with(b"{") && json.ends_with(b"}") && !json.starts_with(b"{\"records\"");
        if !whole || self.fact_fields.occurs(json) {
            return true;
        }
        for (finder, len) in
            [(&self.event_id, "EventID".len()), (&self.event_id_snake, "event_id".len())]
        {
            for at in finder.find_iter(json) {
                let hint = match json.get(at + len) {
                    Some(b'"') => key_id(json, at + len + 1),
                    Some(_) | None => element_id(json, at + len),
                };
                match hint {
                    IdHint::Number(id) if self.wants_json_id(id) => return true,
                    IdHint::Number(_) => ids += 1,
                    IdHint::Unclear => return true,
                    IdHint::None => {}
                }
            }
        }
        // With two ids there may be two events, and each must be counted.
        ids != 1 || self.escapes_ascii(json)
    }

    /// The first event id that stands in a JSON text as far as a search can
    /// tell.
    fn first_json_id(&self, json: &[u8]) -> Option<u32> {
        let snake = self.event_id_snake.find(json).map(|at| at + "event_id\"".len());
        let capital = || self.event_id.find(json).map(|at| at + "EventID\"".len());
        match key_id(json, snake.or_else(capital)?) {
            IdHint::Number(id) => Some(id),
            IdHint::Unclear | IdHint::None => None,
        }
    }

    fn wants_json_id(&self, id: u32) -> bool {
        self.wanted.wants_id(id) || self.unnamed_fact_ids.contains(&id)
    }

    /// Whether ASCII letters are written as `\u00XX`: XML within JSON could
    /// hide its names that way.
    fn escapes_ascii(&self, json: &[u8]) -> bool {
        self.ascii_escape.find_iter(json).any(|at| matches!(json.get(at + 4), Some(b'4'..=b'7')))
    }
}

/// What follows an `EventID`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum IdHint {
    Number(u32),
    /// It may be an id, but a search cannot tell which.
    Unclear,
    /// No id: an end tag, or another name.
    None,
}

/// `at`: past `EventID` in XML, which may stand in a JSON string.
fn element_id(text: &[u8], at: usize) -> IdHint {
    let rest = text.get(at..).unwrap_or_default();
    let rest = &rest[..rest.len().min(128)];
    let name = at - "EventID".len();
    if name.checked_sub(1).and_then(|before| text.get(before)) == Some(&b'/') {
        return IdHint::None;
    }
    let content = match rest {
        [b'>', content @ ..] | [b'\\', b'u', b'0', b'0', b'3', b'e' | b'E', content @ ..] => {
            Some(content)
        }
        [b' ' | b'\t' | b'\r' | b'\n', ..] => after_attributes(rest),
        [b'\\', ..] => None,
        [..] => return IdHint::None,
    };
    let ends: [&[u8]; 4] = [b"</", b"<\\/", b"\\u003c/", b"\\u003C/"];
    match content.and_then(leading_number) {
        Some((id, rest)) if ends.iter().any(|end| rest.trim_ascii_start().starts_with(end)) => {
            IdHint::Number(id)
        }
        Some(_) | None => IdHint::Unclear,
    }
}

/// What follows the `>` of a tag, if that cannot be part of an attribute.
fn after_attributes(rest: &[u8]) -> Option<&[u8]> {
    let (attributes, content) = rest.split_at(memchr(b'>', rest)?);
    let count = |quote| attributes.iter().filter(|byte| **byte == quote).count();
    let plain = match (count(b'"'), count(b'\'')) {
        (quotes, 0) | (0, quotes) => quotes.is_multiple_of(2),
        (_, _) => false,
    };
    plain.then_some(&content[1..])
}

/// `at`: past the closing quote of a JSON key.
fn key_id(json: &[u8], at: usize) -> IdHint {
    let rest = json.get(at..).unwrap_or_default().trim_ascii_start();
    let Some(value) = rest.strip_prefix(b":") else { return IdHint::None };
    let value = value.trim_ascii_start();
    let (value, quoted) = match value {
        [b'"', value @ ..] => (value, true),
        [b'{', ..] => return attributed_id(value),
        [..] => (value, false),
    };
    let ends: &[u8] = if quoted { b"\"" } else { b",}" };
    match leading_number(value) {
        Some((id, rest))
            if rest.trim_ascii_start().first().is_some_and(|end| ends.contains(end)) =>
        {
            IdHint::Number(id)
        }
        Some(_) | None => IdHint::Unclear,
    }
}

/// `{"#attributes":{"Qualifiers":0},"#text":4625}`, without blanks.
fn attributed_id(value: &[u8]) -> IdHint {
    let text = value
        .strip_prefix(b"{\"#attributes\":{\"Qualifiers\":")
        .and_then(|rest| leading_number(rest)?.1.strip_prefix(b"},\"#text\":"));
    match text.and_then(leading_number) {
        Some((id, [b'}', ..])) => IdHint::Number(id),
        Some(_) | None => IdHint::Unclear,
    }
}

fn leading_number(text: &[u8]) -> Option<(u32, &[u8])> {
    let text = text.trim_ascii_start();
    let len = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = text.split_at(len);
    let number = digits.iter().try_fold(0_u32, |number, digit| {
        number.checked_mul(10)?.checked_add(u32::from(digit - b'0'))
    });
    Some((number.filter(|_| len > 0)?, rest))
}

/// Searches for any of the teaching fields' names at once: for a part that all
/// have in common, and then for the rest of the name around it.
#[derive(Debug)]
struct FactFieldSearch {
    /// Name, and where in it the common part stands.
    names: Vec<(Box<[u8]>, usize)>,
    common: Option<Finder<'static>>,
}

/// A common part shorter than this would be found everywhere.
const COMMON_BYTES_MIN: usize = 3;

impl FactFieldSearch {
    fn new<'n>(names: impl Iterator<Item = &'n str>) -> FactFieldSearch {
        let names: Vec<&str> = names.collect();
        let common = longest_common_part(&names);
        match common.filter(|common| common.len() >= COMMON_BYTES_MIN) {
            Some(common) => FactFieldSearch {
                names: names
                    .iter()
                    .flat_map(|name| {
                        let places = (0..name.len())
                            .filter(|at| name.as_bytes()[*at..].starts_with(common.as_bytes()));
                        places.map(|at| (name.as_bytes().into(), at))
                    })
                    .collect(),
                common: Some(Finder::new(common).into_owned()),
            },
            None => FactFieldSearch {
                names: names.iter().map(|name| (name.as_bytes().into(), 0)).collect(),
                common: None,
            },
        }
    }

    fn occurs(&self, text: &[u8]) -> bool {
        let Some(common) = &self.common else {
            return self.names.iter().any(|(name, _)| memmem::find(text, name).is_some());
        };
        let mut at = 0;
        // Step by one, not by the part's length: its places may overlap.
        while let Some(found) = common.find(&text[at..]) {
            let place = at + found;
            let around = |(name, offset): &(Box<[u8]>, usize)| {
                place.checked_sub(*offset).is_some_and(|start| text[start..].starts_with(name))
            };
            if self.names.iter().any(around) {
                return true;
            }
            at = place + 1;
        }
        false
    }
}

fn longest_common_part<'n>(names: &[&'n str]) -> Option<&'n str> {
    let first = *names.first()?;
    let parts =
        (0..first.len()).flat_map(|start| (start + 1..=first.len()).map(move |end| (start, end)));
    parts
        .filter_map(|(start, end)| first.get(start..end))
        .filter(|part| names.iter().all(|name| name.contains(part)))
        .max_by_key(|part| part.len())
}

/// A piece of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Frame {
    kind: FrameKind,
    start: usize,
    end: usize,
    /// More text would not make it longer.
    whole: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FrameKind {
    Xml,
    Json,
    Junk,
    TooLong,
}

/// Something to search for.
#[derive(Debug)]
struct Needle {
    finder: Finder<'static>,
    /// Whether what was found is the thing.
    accept: fn(&[u8], usize) -> bool,
}

/// What [`EventFrames`] searches for, made once.
#[derive(Debug)]
struct Needles {
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
    fn new() -> Needles {
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

/// The next place of something, looked for once: asked for ascending
/// positions, it reads the text once in all.
#[derive(Debug)]
struct NextMatch<'n> {
    needle: &'n Needle,
    place: Option<usize>,
}

impl<'n> NextMatch<'n> {
    fn new(needle: &'n Needle) -> NextMatch<'n> {
        NextMatch { needle, place: None }
    }

    /// The first place at or after `at`; the text's length if there is none.
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

struct EventFrames<'t, 'n> {
    text: &'t [u8],
    at: usize,
    /// An event ended on this line; what follows it there is of no interest.
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
    fn new(text: &'t [u8], needles: &'n Needles) -> EventFrames<'t, 'n> {
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

    /// A JSON event, without what may surround it in an array.
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
                    // Without end: more text may bring it, but not for ever.
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
        // Lines beyond the bound may be events again.
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

impl EventFrames<'_, '_> {
    /// To the end of the line, or to an event that begins on it; then what
    /// stands before the event is of no interest.
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

/// Whether the line ends before anything else comes.
fn opens_line(rest: &[u8]) -> bool {
    rest.iter().find(|byte| !matches!(byte, b' ' | b'\t' | b'\r')) == Some(&b'\n')
}

enum Markup {
    Event,
    PrefixedEvent,
    /// Something to pass over, and its length.
    Other(usize),
}

/// Longest XML declaration or comment between events that is passed over.
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

/// The colon of an end tag, whose prefix is short.
fn is_prefixed_end(text: &[u8], colon: usize) -> bool {
    let prefix =
        text[..colon].iter().rev().take(64).take_while(|byte| byte.is_ascii_alphanumeric());
    let slash = colon - prefix.count();
    text[..slash].ends_with(b"</")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::{Map, Value as Json, json};

    use super::*;

    /// One made-up event, to be written in every shape.
    struct Sample {
        provider: &'static str,
        id: u32,
        channel: &'static str,
        record_id: u64,
        named: &'static [(&'static str, &'static str)],
        unnamed: &'static [&'static str],
        binary: Option<&'static str>,
        user_data: &'static [(&'static str, &'static str)],
    }

    const TIME: &str = "2025-10-01T08:00:00.0000000Z";
    const COMPUTER: &str = "dc1.corp.example";
    const SECURITY: &str = "Microsoft-Windows-Security-Auditing";

    const FAILED_LOGON: &[(&str, &str)] = &[
        ("SubjectUserSid", "S-1-0-0"),
        ("SubjectUserName", "-"),
        ("SubjectDomainName", "-"),
        ("SubjectLogonId", "0x0"),
        ("TargetUserSid", "S-1-0-0"),
        ("TargetUserName", "b\u{f6}b & \"c\""),
        ("TargetDomainName", "CORP"),
        ("Status", "0xc000006d"),
        ("FailureReason", "%%2313"),
        ("SubStatus", "0xc000006a"),
        ("LogonType", "3"),
        ("LogonProcessName", "NtLmSsp "),
        ("AuthenticationPackageName", "NTLM"),
        ("WorkstationName", "PC7"),
        ("TransmittedServices", "-"),
        ("LmPackageName", "-"),
        ("KeyLength", "0"),
        ("ProcessId", "0x0"),
        ("ProcessName", "C:\\a<b>"),
        ("IpAddress", "::ffff:10.0.0.7"),
        ("IpPort", "0"),
    ];

    const CLEARED: &[(&str, &str)] = &[
        ("SubjectUserSid", "S-1-5-21-1-2-3-500"),
        ("SubjectUserName", "admin"),
        ("SubjectDomainName", "CORP"),
        ("SubjectLogonId", "0x3e7"),
    ];

    const EMPTY: Sample = Sample {
        provider: "LsaSrv",
        id: 6167,
        channel: "System",
        record_id: 77,
        named: &[],
        unnamed: &[],
        binary: None,
        user_data: &[],
    };

    fn samples() -> [Sample; 4] {
        [
            Sample {
                provider: SECURITY,
                id: 4625,
                channel: "Security",
                named: FAILED_LOGON,
                ..EMPTY
            },
            EMPTY,
            Sample {
                provider: "NETLOGON",
                id: 5805,
                unnamed: &["PC7", "%%5", ""],
                binary: Some("220000C0"),
                ..EMPTY
            },
            Sample {
                provider: "Microsoft-Windows-Eventlog",
                id: 1102,
                channel: "Security",
                user_data: CLEARED,
                ..EMPTY
            },
        ]
    }

    fn wanted(fact_fields: &[&'static str]) -> Arc<Wanted> {
        let rules = samples().map(|sample| (sample.provider, sample.id));
        let names =
            ["#1", "#2", "#3", "#4", "#binary", "#count", "Status", "LogonType", "IpAddress"];
        let names = names.into_iter().chain(["TargetUserName", "ProcessName", "SubjectUserName"]);
        Arc::new(Wanted::new(rules, names, fact_fields.iter().copied()))
    }

    fn escape(text: &str) -> String {
        text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
    }

    fn pairs(pairs: &[(&str, &str)]) -> Map<String, Json> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect()
    }

    fn xml_data(sample: &Sample) -> String {
        let named = sample
            .named
            .iter()
            .map(|(name, value)| format!("<Data Name='{name}'>{}</Data>", escape(value)));
        let unnamed = sample.unnamed.iter().map(|value| format!("<Data>{}</Data>", escape(value)));
        let binary = sample.binary.iter().map(|hex| format!("<Binary>{hex}</Binary>"));
        let data: String = named.chain(unnamed).chain(binary).collect();
        format!("<EventData>{data}</EventData>")
    }

    fn xml_user_data(sample: &Sample) -> String {
        let leaves = sample.user_data.iter();
        let leaves: String =
            leaves.map(|(name, value)| format!("<{name}>{value}</{name}>")).collect();
        format!("<UserData><LogFileCleared xmlns='x'>{leaves}</LogFileCleared></UserData>")
    }

    fn xml(sample: &Sample) -> String {
        let Sample { provider, id, channel, record_id, .. } = sample;
        let data =
            if sample.user_data.is_empty() { xml_data(sample) } else { xml_user_data(sample) };
        format!(
            "<Event xmlns='http://schemas.microsoft.com/win/2004/08/events/event'><System>\
             <Provider Name='{provider}'/><EventID Qualifiers='0'>{id}</EventID><Version>0</Version>\
             <Level>2</Level><Keywords>0x80</Keywords><TimeCreated SystemTime='{TIME}'/>\
             <EventRecordID>{record_id}</EventRecordID><Correlation/><Execution ProcessID='1' ThreadID='2'/>\
             <Channel>{channel}</Channel><Computer>{COMPUTER}</Computer><Security UserID='S-1-5-18'/>\
             </System>{data}</Event>"
        )
    }

    fn winlog(sample: &Sample) -> Json {
        let mut data = pairs(sample.named);
        for (index, value) in sample.unnamed.iter().enumerate() {
            data.insert(format!("param{}", index + 1), json!(value));
        }
        data.extend(sample.binary.map(|hex| ("Binary".to_owned(), json!(hex))));
        let mut winlog = json!({
            "channel": sample.channel, "computer_name": COMPUTER, "event_id": sample.id.to_string(),
            "keywords": ["Audit Failure"], "process": {"pid": 1, "thread": {"id": 2}},
            "provider_name": sample.provider, "record_id": sample.record_id, "task": "Logon",
            "user": {"identifier": "S-1-5-18"},
        });
        if !data.is_empty() {
            winlog["event_data"] = Json::Object(data);
        }
        if !sample.user_data.is_empty() {
            let mut user = pairs(sample.user_data);
            user.insert("xml_name".to_owned(), json!("LogFileCleared"));
            winlog["user_data"] = Json::Object(user);
        }
        winlog
    }

    fn winlogbeat(sample: &Sample) -> Json {
        json!({
            "@timestamp": TIME, "@metadata": {"beat": "winlogbeat"}, "agent": {"id": "1"},
            "event": {"code": sample.id.to_string(), "kind": "event", "created": "2025-10-01T08:00:09Z"},
            "host": {"name": "x"}, "log": {"level": "error"}, "message": "two\nlines {\"a\":1}",
            "winlog": winlog(sample),
        })
    }

    fn dotted(sample: &Sample) -> Json {
        fn flatten(path: &str, value: &Json, into: &mut Map<String, Json>) {
            match value {
                Json::Object(inner) => {
                    inner
                        .iter()
                        .for_each(|(key, value)| flatten(&format!("{path}.{key}"), value, into));
                }
                Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) | Json::Array(_) => {
                    into.insert(path.to_owned(), value.clone());
                }
            }
        }
        let mut flat = Map::from_iter([("@timestamp".to_owned(), json!(TIME))]);
        flatten("winlog", &winlog(sample), &mut flat);
        Json::Object(flat)
    }

    /// Its data as an object, beside a text that may hold XML.
    fn dotted_with_raw(sample: &Sample) -> Json {
        let mut flat = dotted(sample);
        let keys = flat.as_object_mut().expect("an object");
        keys.retain(|key, _| {
            !key.starts_with("winlog.event_data") && !key.starts_with("winlog.user_data")
        });
        let inner = winlog(sample);
        for section in ["event_data", "user_data"] {
            if let Some(data) = inner.get(section) {
                keys.insert(format!("winlog.{section}"), data.clone());
            }
        }
        keys.insert("_raw".to_owned(), json!("x"));
        flat
    }

    fn vector(sample: &Sample) -> Json {
        let inserts: Vec<_> = sample
            .named
            .iter()
            .map(|(_, value)| *value)
            .chain(sample.unnamed.iter().copied())
            .collect();
        json!({
            "source_type": "windows_event_log", "timestamp": TIME, "computer": COMPUTER, "host": "x",
            "channel": sample.channel, "event_id": sample.id, "provider_name": sample.provider,
            "record_id": sample.record_id, "level": "Error", "level_value": 2,
            "event_data": pairs(sample.named), "user_data": pairs(sample.user_data),
            "string_inserts": inserts, "user_id": "S-1-5-18",
        })
    }

    fn evtx_data(sample: &Sample) -> Json {
        let mut data = pairs(sample.named);
        if !sample.unnamed.is_empty() {
            data.insert("Data".to_owned(), json!({"#text": sample.unnamed}));
        }
        data.extend(sample.binary.map(|hex| ("Binary".to_owned(), json!(hex))));
        if data.is_empty() { Json::Null } else { Json::Object(data) }
    }

    fn evtx_dump(sample: &Sample) -> Json {
        let mut event = json!({
            "#attributes": {"xmlns": "x"},
            "System": {
                "Provider": {"#attributes": {"Name": sample.provider}},
                "EventID": {"#attributes": {"Qualifiers": 0}, "#text": sample.id},
                "Level": 2, "TimeCreated": {"#attributes": {"SystemTime": TIME}},
                "EventRecordID": sample.record_id, "Channel": sample.channel, "Computer": COMPUTER,
                "Security": {"#attributes": {"UserID": "S-1-5-18"}},
            },
        });
        if sample.user_data.is_empty() {
            event["EventData"] = evtx_data(sample);
        } else {
            let mut inner = pairs(sample.user_data);
            inner.insert("#attributes".to_owned(), json!({"xmlns": "x"}));
            event["UserData"] = json!({"LogFileCleared": inner});
        }
        json!({"Event": event})
    }

    fn evtx_dump_separate(sample: &Sample) -> Json {
        let mut event = json!({
            "System": {
                "Provider_attributes": {"Name": sample.provider}, "Provider": null,
                "EventID": sample.id, "EventID_attributes": {"Qualifiers": 0}, "Level": 2,
                "TimeCreated_attributes": {"SystemTime": TIME}, "EventRecordID": sample.record_id,
                "Channel": sample.channel, "Computer": COMPUTER,
            },
        });
        if sample.user_data.is_empty() {
            event["EventData"] = evtx_data(sample);
        } else {
            event["UserData"] = json!({
                "LogFileCleared": pairs(sample.user_data), "LogFileCleared_attributes": {"xmlns": "x"},
            });
        }
        json!({"Event": event, "Event_attributes": {"xmlns": "x"}})
    }

    fn openwec_data(sample: &Sample) -> (&'static str, Json) {
        let mut data = pairs(sample.named);
        if !sample.unnamed.is_empty() {
            data.insert("Data".to_owned(), json!(sample.unnamed));
        }
        data.extend(sample.binary.map(|hex| ("Binary".to_owned(), json!(hex))));
        if sample.user_data.is_empty() {
            ("EventData", Json::Object(data))
        } else {
            ("UserData", json!(xml_user_data(sample)))
        }
    }

    fn openwec(sample: &Sample) -> Json {
        let (section, data) = openwec_data(sample);
        json!({
            "System": {
                "Provider": {"Name": sample.provider, "Guid": "{0}"}, "EventID": sample.id, "Level": 2,
                "TimeCreated": TIME, "EventRecordID": sample.record_id, "Channel": sample.channel,
                "Computer": COMPUTER, "UserID": "S-1-5-18", "Execution": {"ProcessID": 1},
            },
            section: data,
            "OpenWEC": {"Client": "dc1$", "Subscription": {"Name": "a"}},
        })
    }

    fn openwec_nxlog(sample: &Sample) -> Json {
        let mut event = json!({
            "SourceName": sample.provider, "EventID": sample.id, "EventTime": TIME, "Keywords": -1,
            "RecordNumber": sample.record_id, "Channel": sample.channel, "Hostname": COMPUTER,
            "UserID": "S-1-5-18", "OpenWEC": {"IpAddress": "::1"}, "EventReceivedTime": TIME,
            "ProcessID": 1, "ThreadID": 2, "SeverityValue": 4,
        });
        let (section, data) = openwec_data(sample);
        match data.as_object() {
            Some(data) => data.iter().for_each(|(name, value)| event[name] = value.clone()),
            None => event[section] = data,
        }
        event
    }

    fn nxlog(sample: &Sample) -> Json {
        let mut event = openwec_nxlog(sample);
        event["EventTime"] = json!("2025-10-01 08:00:00");
        event["AccountName"] = json!("SYSTEM");
        event["AccountType"] = json!("User");
        event["Domain"] = json!("NT AUTHORITY");
        event["SourceModuleType"] = json!("im_msvistalog");
        event["@timestamp"] = json!("2025-10-01T12:00:09Z");
        event["@version"] = json!("1");
        event
    }

    fn flat_winlogbeat(sample: &Sample) -> Json {
        let mut event = json!({
            "SourceName": sample.provider, "EventID": sample.id, "TimeCreated": TIME, "Level": "2",
            "Channel": sample.channel, "Hostname": COMPUTER, "Task": "0", "Message": "m",
        });
        let (section, data) = openwec_data(sample);
        match data.as_object() {
            Some(data) => data.iter().for_each(|(name, value)| event[name] = value.clone()),
            None => event[section] = data,
        }
        event
    }

    fn fluent_bit(sample: &Sample) -> Json {
        let named = sample.named.iter().chain(sample.user_data).map(|(_, value)| *value);
        let inserts: Vec<_> = named.chain(sample.unnamed.iter().copied()).collect();
        json!({
            "ProviderName": sample.provider, "ProviderGuid": "", "Qualifiers": "", "EventID": sample.id,
            "Level": 2, "TimeCreated": "2025-10-01 10:00:00 +0200", "EventRecordID": sample.record_id,
            "Channel": sample.channel, "Computer": COMPUTER, "UserID": "NT AUTHORITY\\SYSTEM",
            "Message": "m", "StringInserts": inserts, "@timestamp": 1_759_305_600.5,
        })
    }

    fn sentinel(sample: &Sample) -> Json {
        json!({
            "TenantId": "t", "TimeGenerated": TIME, "Provider": sample.provider, "EventID": sample.id,
            "Channel": sample.channel, "Computer": COMPUTER, "EventRecordId": sample.record_id.to_string(),
            "EventLevelName": "Error", "SystemUserId": "S-1-5-18", "Type": "WindowsEvent",
            "EventData": if sample.user_data.is_empty() { openwec_data(sample).1 } else { Json::Null },
            "RawEventData": if sample.user_data.is_empty() { String::new() } else { xml_user_data(sample) },
        })
    }

    fn security_event(sample: &Sample) -> Json {
        let data =
            if sample.user_data.is_empty() { xml_data(sample) } else { xml_user_data(sample) };
        json!({
            "TimeGenerated": TIME, "EventSourceName": sample.provider, "EventID": sample.id,
            "Channel": sample.channel, "Computer": COMPUTER, "Account": "a\\b", "AccountType": "User",
            "EventData": data, "Activity": "4625 - x", "EventRecordId": sample.record_id,
        })
    }

    /// What a shape cannot carry.
    #[derive(Clone, Copy, PartialEq)]
    enum Lacks {
        Nothing,
        RecordId,
        Binary,
        /// Names of data that no manifest order is known for, and binary.
        Names,
    }

    fn shapes(sample: &Sample) -> Vec<(&'static str, Lacks, String)> {
        let plain = xml(sample);
        let pretty = plain.replace("><", ">\r\n  <").replace(">\r\n  </Data>", "></Data>");
        let rendering = "<RenderingInfo Culture='en-US'><Message>cut o";
        let shape = |name, value: Json| (name, Lacks::Nothing, value.to_string());
        let mut shapes = vec![
            ("XML", Lacks::Nothing, plain.clone()),
            ("XML, indented", Lacks::Nothing, format!("\u{feff}<?xml version=\"1.0\"?>\n{pretty}")),
            ("XML, prefixed", Lacks::Nothing, prefixed(&plain)),
            ("XML, cut off", Lacks::Nothing, plain.replace("</Event>", rendering)),
            (
                "XML, cut off, closed",
                Lacks::Nothing,
                plain.replace("</Event>", &format!("{rendering}</Event>")),
            ),
            ("XML in Events", Lacks::Nothing, format!("<Events>{plain}</Events>")),
            shape("winlogbeat", winlogbeat(sample)),
            shape("dotted", dotted(sample)),
            shape("dotted, data nested", dotted_with_raw(sample)),
            ("Vector", Lacks::Binary, vector(sample).to_string()),
            shape("evtx_dump", evtx_dump(sample)),
            shape("evtx_dump, separate attributes", evtx_dump_separate(sample)),
            shape("OpenWEC Json", openwec(sample)),
            shape("OpenWEC RawJson", json!({"meta": {"IpAddress": "::1"}, "data": plain})),
            shape("OpenWEC Nxlog", openwec_nxlog(sample)),
            shape("NXLog", nxlog(sample)),
            ("flat winlogbeat", Lacks::RecordId, flat_winlogbeat(sample).to_string()),
            ("Fluent Bit", Lacks::Names, fluent_bit(sample).to_string()),
            shape(
                "Fluent Bit, XML",
                json!({"System": plain, "Message": "m", "StringInserts": ["a"]}),
            ),
            shape("Sentinel WindowsEvent", sentinel(sample)),
            shape("Sentinel records", json!({"records": [sentinel(sample)]})),
            shape("Sentinel SecurityEvent", security_event(sample)),
            shape(
                "Splunk",
                json!({"time": 1.5, "host": "x", "sourcetype": "XmlWinEventLog", "event": plain}),
            ),
            shape(
                "Splunk result",
                json!({"preview": false, "result": {"_raw": plain, "host": "x"}}),
            ),
            shape("Splunk result, flat", json!({"result": nxlog(sample)})),
            shape("Elasticsearch hit", json!({"_index": "i", "_source": winlogbeat(sample)})),
            shape("JSON in JSON", json!({"message": winlogbeat(sample).to_string()})),
            shape("XML in a JSON string", json!(plain)),
            shape("array", json!([winlogbeat(sample)])),
        ];
        let mut data_as_text = sentinel(sample);
        if sample.user_data.is_empty() {
            data_as_text["EventData"] = json!(data_as_text["EventData"].to_string());
        }
        shapes.push(shape("Sentinel, data as JSON text", data_as_text));
        shapes
    }

    fn prefixed(xml: &str) -> String {
        let text = xml.replace("</", "</\u{1}").replace('<', "<e:").replace("<e:/\u{1}", "</e:");
        text.replace("xmlns=", "xmlns:e=").replace("\u{1}", "")
    }

    /// The same event whatever the format: provider, id, …, and the fields.
    type Seen = (String, u32, String, String, u64, String, BTreeMap<String, String>);

    fn decode(wanted: &Arc<Wanted>, text: &[u8]) -> (Vec<Seen>, Tally) {
        let mut seen = Vec::new();
        let mut tally = Tally::default();
        LineDecoder::new(Arc::clone(wanted)).decode(text, &mut tally, &mut |record| {
            let fields = record
                .fields
                .iter()
                .map(|(id, value)| (wanted.field_name(*id).to_owned(), value.text().into_owned()));
            seen.push((
                record.provider.clone().into_owned(),
                record.event_id,
                record.channel.text().into_owned(),
                record.computer.text().into_owned(),
                record.record_id,
                record.time.to_string(),
                fields.collect(),
            ));
        });
        (seen, tally)
    }

    #[test]
    fn one_event_is_the_same_in_every_shape() {
        let wanted = wanted(&[]);
        for sample in samples() {
            let (expect, tally) = decode(&wanted, xml(&sample).as_bytes());
            assert_eq!((expect.len(), tally.records), (1, 1), "{:?}", tally.samples);
            let items = sample.named.len() + sample.unnamed.len() + sample.user_data.len();
            assert_eq!(expect[0].6["#count"], items.to_string());
            for (shape, lacks, text) in shapes(&sample) {
                let (mut seen, tally) = decode(&wanted, text.as_bytes());
                let mut expect = expect.clone();
                assert_eq!(tally.records, 1, "{shape} {}: {:?}\n{text}", sample.id, tally.samples);
                assert!(tally.skipped.is_empty(), "{shape}: {:?}", tally.samples);
                match lacks {
                    Lacks::Nothing => {}
                    Lacks::RecordId => expect[0].4 = 0,
                    Lacks::Binary | Lacks::Names => {
                        expect[0].6.remove("#binary");
                    }
                }
                if lacks == Lacks::Names && sample.id == 1102 {
                    expect[0].6.retain(|name, _| name == "#count");
                    seen.iter_mut().for_each(|seen| seen.6.retain(|name, _| name == "#count"));
                }
                assert_eq!(seen, expect, "{shape} {}\n{text}", sample.id);
            }
        }
    }

    #[test]
    fn a_rejected_event_is_one_that_the_decoder_would_not_want() {
        let fact_rules: [&[&str]; 4] = [
            &[],
            &["SubjectUserSid"],
            &["SubjectUserSid", "TargetSid"],
            &["IpPort", "MemberSid", "x"],
        ];
        let ids = ["4625", "4624", "6167", "1", "04625", "4625.0", "\"4625\"", "99999999999"];
        let mut rejected = 0;
        for fact_fields in fact_rules {
            let wanted = wanted(fact_fields);
            let prefilter = Prefilter::new(Arc::clone(&wanted));
            let plan = FieldPlan::new(Arc::clone(&wanted));
            for sample in samples() {
                for (shape, _, text) in shapes(&sample) {
                    for id in ids {
                        let changed = text.replace(&sample.id.to_string(), id);
                        for text in [
                            changed.replace("<EventID ", "<EventID\n"),
                            changed.replace(":{", ": { "),
                            changed.replace('S', "\\u0053"),
                            changed.replace('<', "\\u003c"),
                            changed,
                        ] {
                            let mut emitted = 0;
                            let mut tally = Tally::default();
                            let text = text.trim_start_matches('\u{feff}');
                            let maybe = if text.starts_with(['{', '[', '"']) {
                                json::decode_object(
                                    text,
                                    &plan,
                                    &mut Tape::default(),
                                    &mut tally,
                                    Learning::No,
                                    &mut |_| emitted += 1,
                                );
                                prefilter.may_want_json(text.as_bytes())
                            } else {
                                emitted += usize::from(
                                    xml::decode_event(text, &plan, &mut |_| {}) == Ok(true),
                                );
                                prefilter.may_want_xml(text.as_bytes())
                            };
                            assert!(maybe || emitted == 0, "{shape} {id} {fact_fields:?}\n{text}");
                            rejected += usize::from(!maybe);
                        }
                    }
                }
            }
        }
        assert!(rejected > 1000, "{rejected} were rejected");
    }

    /// What a decoder says of one event, in full.
    fn said(decoder: &mut LineDecoder, text: &str) -> (Vec<String>, Tally) {
        let (mut records, mut tally) = (Vec::new(), Tally::default());
        decoder.decode(text.as_bytes(), &mut tally, &mut |record| {
            let fields: Vec<_> =
                record.fields.iter().map(|(id, value)| (*id, value.text().into_owned())).collect();
            let system = (&record.provider, record.event_id, record.record_id, record.time);
            let names = (record.channel.text(), record.computer.text());
            records.push(format!("{system:?} {names:?} {fields:?}"));
        });
        (records, tally)
    }

    #[test]
    fn a_line_that_fits_a_layout_says_what_it_says_without() {
        let names = ["#count", "#binary", "#1", "IpAddress", "ProcessName"];
        let sid_fields = ["SubjectUserSid", "TargetUserSid"];
        let fact_fields = ["SubjectUserName", "SubjectDomainName", "TargetDomainName"];
        let wanted = Wanted::new([("Other", 4625), ("Other", 1)], names, sid_fields)
            .with_fact_fields(fact_fields);
        let wanted = Arc::new(wanted);
        let sid = "S-1-5-21-1-2-3-1104";
        let mut fitted: BTreeMap<&str, usize> = BTreeMap::new();
        for sample in [&samples()[0], &samples()[3]] {
            for (shape, _, text) in shapes(sample) {
                let text = text.replace("S-1-0-0", sid).replace("S-1-5-21-1-2-3-500", sid);
                if !text.starts_with('{') {
                    continue;
                }
                let mut kept = LineDecoder::new(Arc::clone(&wanted));
                let mut anew = LineDecoder::new(Arc::clone(&wanted));
                for (at, character) in text.char_indices() {
                    let (before, rest) = text.split_at(at);
                    let after = &rest[character.len_utf8()..];
                    let changed = match at % 14 {
                        0 => format!("{before}7{after}"),
                        1 => format!("{before}\"{after}"),
                        2 => format!("{before}\\\\{rest}"),
                        3 => format!("{before}\\\"{rest}"),
                        4 => format!("{before}<{rest}"),
                        5 => format!("{before}{{{rest}"),
                        6 => format!("{before}{after}"),
                        7 => format!("{before} {rest}"),
                        8 => format!("{before}\u{f6}{rest}"),
                        9 => format!("{before},\"EventID\":1,{rest}"),
                        10 => format!("{before}0{rest}"),
                        11 => format!("{before}\n{rest}"),
                        12 => format!("{text} \r\n"),
                        _ => format!("{before}\\u0041{rest}"),
                    };
                    for text in [&text, &changed] {
                        anew.events.layouts = Layouts::default();
                        let EventDecoder { plan, prefilter, layouts, .. } = &mut kept.events;
                        let id = prefilter.first_json_id(text.as_bytes());
                        let fits = id.and_then(|id| layouts.read(id, text.as_bytes(), plan));
                        *fitted.entry(shape).or_default() += usize::from(fits.is_some());
                        assert_eq!(said(&mut kept, text), said(&mut anew, text), "{shape}\n{text}");
                    }
                }
            }
        }
        for shape in ["winlogbeat", "Vector", "evtx_dump", "OpenWEC Json", "NXLog"] {
            assert!(fitted.get(shape) > Some(&1000), "{shape}: {fitted:?}");
        }
    }

    #[test]
    fn ids_are_found_in_every_spelling_or_left_unclear() {
        let wanted = Arc::new(Wanted::new([("a", 7)], [], []));
        let prefilter = Prefilter::new(wanted);
        for (text, maybe) in [
            ("<EventID>8</EventID>", false),
            ("<EventID>7</EventID>", true),
            ("<EventID Qualifiers='1'> 8 </EventID>", false),
            ("<EventID Qualifiers='1'>7</EventID>", true),
            ("<EventID a='>8</'>7</EventID>", true),
            ("<EventID a=\"'\" b='>8</'>7</EventID>", true),
            ("<EventID><![CDATA[7]]></EventID>", true),
            ("<EventID><!-- -->7</EventID>", true),
            ("<EventID>&#55;</EventID>", true),
            ("<EventID/>", false),
            ("<EventRecordID>7</EventRecordID>", false),
        ] {
            let text = format!("<Event>{text}<EventID>8</EventID></Event>");
            assert_eq!(prefilter.may_want_xml(text.as_bytes()), maybe, "{text}");
        }
        for (text, maybe) in [
            (r#"{"EventID":8}"#, false),
            (r#"{"EventID":7}"#, true),
            (r#"{"EventID" : "8" }"#, false),
            (r#"{"event_id":"7"}"#, true),
            (r#"{"EventID":8.0}"#, true),
            (r##"{"EventID":{"#attributes":{"Qualifiers":7},"#text":8}}"##, false),
            (r##"{"EventID":{"#attributes":{"Qualifiers":8},"#text":7}}"##, true),
            (r##"{"EventID":{"#attributes":{"Qualifiers":{"#text":8}},"#text":7}}"##, true),
            (r#"{"EventID":8,"EventID":7}"#, true),
            (r#"{"data":"<EventID>8<\/EventID>"}"#, false),
            (r#"{"data":"<EventID Qualifiers=\"0\">8</EventID>"}"#, false),
            (r#"{"data":"\u003cEventID\u003e8\u003c/EventID\u003e"}"#, false),
            (r#"{"data":"<\u0045ventID>7</EventID><EventID>8</EventID>"}"#, true),
            (r#"{"a":"{\"EventID\":7}"}"#, true),
            (r#"{"EventIDs":7}"#, true),
        ] {
            assert_eq!(prefilter.may_want_json(text.as_bytes()), maybe, "{text}");
        }
    }

    fn mixed() -> String {
        let mut text = String::from("\u{feff}<?xml version='1.0'?>\n<Events>\n");
        for sample in samples() {
            text += &xml(&sample);
            text += &xml(&sample).replace("><", ">\n<");
        }
        text += "</Events>\r\n\r\n[\n";
        for sample in samples() {
            text += &format!("{},\n{}\n", winlogbeat(&sample), json!({"data": xml(&sample)}));
            text += &xml(&sample);
        }
        text += "\n]\n";
        text +=
            &xml(&EMPTY).replace("</EventData></Event>", "</EventData><RenderingInfo><Message>cu");
        text += "\n";
        text += &xml(&EMPTY)
            .replace("<EventData>", "<EventData><Data><![CDATA[</Event>\n<Event >]]></Data>");
        text += "\n";
        text
    }

    #[test]
    fn every_event_of_a_mixed_text_is_found() {
        let (seen, tally) = decode(&wanted(&[]), mixed().as_bytes());
        assert_eq!((seen.len(), tally.records), (22, 22), "{:?}", tally.samples);
        assert!(tally.skipped.is_empty(), "{:?}", tally.samples);
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

    #[track_caller]
    fn check_skips(text: &str, records: u64, skips: &[(RejectReason, u64)]) {
        let (_, tally) = decode(&wanted(&[]), text.as_bytes());
        let skipped: Vec<_> = tally.skipped.into_iter().collect();
        assert_eq!((tally.records, &*skipped), (records, skips), "{:?}", tally.samples);
    }

    #[test]
    fn what_cannot_be_read_is_counted_and_passed_over() {
        let good = xml(&EMPTY);
        check_skips("hello\n\n  \nworld", 0, &[(RejectReason::LineNotAnEvent, 2)]);
        check_skips(&format!("<13>Oct 1 host: {good}\r\n"), 1, &[]);
        check_skips(
            &format!("{{\"a\":1\n{good}\n{{\"a\":1}}\n7\n"),
            1,
            &[
                (RejectReason::LineNotAnEvent, 1),
                (RejectReason::JsonMalformed, 1),
                (RejectReason::JsonShapeUnknown, 1),
            ],
        );
        check_skips(&format!("<Event><System>{good}{good}"), 2, &[(RejectReason::XmlMalformed, 1)]);
        check_skips(
            &format!("<Event><System>\n{}\n{good}", nxlog(&EMPTY)),
            2,
            &[(RejectReason::XmlMalformed, 1)],
        );
        check_skips(
            &format!("<Event/>{good}</Event>\n</Event>"),
            1,
            &[(RejectReason::LineNotAnEvent, 1), (RejectReason::FieldsMissing, 1)],
        );
        check_skips(
            &nxlog(&EMPTY).to_string().replace("Hostname", "H"),
            0,
            &[(RejectReason::FieldsMissing, 1)],
        );
        check_skips(
            &json!({"records": [{}, nxlog(&EMPTY), 5]}).to_string(),
            1,
            &[(RejectReason::JsonShapeUnknown, 2)],
        );
        check_skips("{\"OpenWEC\":{\"Error\":{}}}", 0, &[(RejectReason::JsonShapeUnknown, 1)]);
        check_skips("{\"Event\":{}}", 0, &[(RejectReason::FieldsMissing, 1)]);
    }

    #[test]
    fn bytes_that_are_not_text_stay_within_their_event() {
        let mut text = nxlog(&EMPTY).to_string().into_bytes();
        let at = memmem::find(&text, b"im_msvistalog").expect("the sample has it");
        text[at] = 0xff;
        let (seen, _) = decode(&wanted(&[]), &text);
        assert_eq!(seen.len(), 1);
    }

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

    #[test]
    fn damaged_text_never_panics() {
        let text = mixed().into_bytes();
        let wanted = wanted(&["SubjectUserSid"]);
        // A linear congruential generator: the same damage in every run.
        let mut state = 1_u64;
        let mut random = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize
        };
        for _ in 0..300 {
            let mut damaged = text.clone();
            for _ in 0..random() % 40 {
                let at = random() % damaged.len();
                damaged[at] = b"<>&\"'{}[],:\\/!\n\0\xff0aE"[random() % 20];
            }
            let end = random() % damaged.len();
            let (_, tally) = decode(&wanted, &damaged[..end]);
            assert!(tally.records <= 22 + 40);
            let _ = last_boundary(&damaged[..end]);
        }
    }
}

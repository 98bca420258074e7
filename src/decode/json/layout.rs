//! Layouts: lines of one collector and one event id differ in their values, rarely in their keys.
//! So the text between the values of one line is kept, with the places of the values that facts are
//! made of, and the following lines are compared with it:
//!
//! ```text
//! line     {"winlog":{"event_id":4634,"computer_name":"PC1","event_data":{"TargetUserSid":"S-1-5-…"}}}
//! layout   {"winlog":{"event_id":    ,"computer_name":"   ","event_data":{"TargetUserSid":"       "}}}
//!                                id                    computer                               field
//! ```
//!
//! A line that matches has the same nodes as the one that the layout was made from, so its values
//! are at the same places; one that does not match is decoded in full. Nothing that depends on more
//! than keys and kinds of values has a layout: events that a rule matches, texts within texts,
//! values by position. A match is always one line: no value that is read contains a line end, and
//! neither does the text of a layout.

use std::borrow::Cow;
use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use super::doc::{Doc, parse_event_id};
use super::tape::{NodeKind, number_end, string_end};
use crate::decode::clock::parse_time;
use crate::decode::event::{Parsed, System, WantedData};
use crate::decode::field_plan::FieldPlan;
use crate::decode::text::digits;
use crate::record::{FieldId, Value};

/// Most layouts of one event id; they differ in the fields that some events lack.
const LAYOUTS_PER_ID_MAX: usize = 4;

/// Most event ids with layouts.
const IDS_MAX: usize = 256;

/// Longest line that a layout is made from, and most values in it.
const LINE_BYTES_MAX: usize = 32 * 1024;
const HOLES_MAX: usize = 512;

/// When there is no room for another layout (of one id, or of all), one in so many lines that match
/// none replaces an old layout: collectors change.
const RELEARN_EVERY: u32 = 64;

/// The layouts, by event id.
#[derive(Debug, Default)]
pub struct Layouts {
    by_id: FxHashMap<u32, IdLayouts>,
    /// Ids in the order of their first layout; the oldest is evicted first.
    order: VecDeque<u32>,
    misses: u32,
}

#[derive(Debug, Default)]
struct IdLayouts {
    layouts: Vec<Layout>,
    misses: u32,
}

impl Layouts {
    /// The event in a line that matches a layout. `id` only selects the layouts to try: a wrong one
    /// gives no match.
    pub(in crate::decode) fn read<'p, 't>(
        &mut self,
        id: u32,
        line: &'t [u8],
        plan: &'p FieldPlan,
    ) -> Option<Parsed<'p, 't>> {
        let of_id = self.by_id.get_mut(&id)?;
        let found = of_id.layouts.iter().enumerate();
        let found = found.filter_map(|(at, layout)| Some((at, layout.read(line, plan)?))).next();
        // Layouts that match often move to the front.
        if let Some((at @ 1.., _)) = found {
            of_id.layouts.swap(at, at - 1);
        }
        found.map(|(_, parsed)| parsed)
    }

    /// Whether to make a layout of a line that matched none. To be called once for each such line.
    pub fn should_learn(&mut self, id: u32) -> bool {
        let (is_full, misses) = match self.by_id.get_mut(&id) {
            None => (self.by_id.len() >= IDS_MAX, &mut self.misses),
            Some(of_id) => (of_id.layouts.len() >= LAYOUTS_PER_ID_MAX, &mut of_id.misses),
        };
        *misses = misses.wrapping_add(1);
        !is_full || misses.is_multiple_of(RELEARN_EVERY)
    }

    pub fn learn(&mut self, id: u32, layout: Layout) {
        if !self.by_id.contains_key(&id) {
            if self.by_id.len() >= IDS_MAX
                && let Some(oldest) = self.order.pop_front()
            {
                self.by_id.remove(&oldest);
            }
            self.order.push_back(id);
        }
        let of_id = self.by_id.entry(id).or_default();
        of_id.layouts.truncate(LAYOUTS_PER_ID_MAX - 1);
        of_id.layouts.push(layout);
    }
}

/// The nodes that a shape reads its system fields from, whatever their values.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Origins {
    pub event_id: Option<u32>,
    pub record_id: Option<u32>,
    /// The first of the nodes that may hold the time.
    pub time: Option<u32>,
}

/// The text between the values of a line.
#[derive(Debug)]
pub struct Layout {
    /// The text before each value and after the last one, concatenated.
    literals: Box<[u8]>,
    holes: Box<[Hole]>,
}

#[derive(Debug)]
struct Hole {
    /// The end, in `literals`, of the text before the value.
    literal_end: u32,
    is_string: bool,
    part: ValueRole,
}

/// What a value of a layout is read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ValueRole {
    Nothing,
    Provider,
    Source,
    EventId,
    Channel,
    Computer,
    RecordId,
    Time,
    Field(FieldId),
}

impl Layout {
    /// The layout of a line that is one event and matches no rule. `None` when a line with the same
    /// keys might have to be read differently.
    pub(super) fn of(
        doc: Doc<'_>,
        origins: Origins,
        system: &System<'_>,
        data: &WantedData<'_, '_>,
    ) -> Option<Layout> {
        if doc.text.len() > LINE_BYTES_MAX || data.has_unnamed() {
            return None;
        }
        let mut parts = parts(doc, origins, system, data)?.into_iter().peekable();
        let (mut literals, mut holes) = (Vec::new(), Vec::new());
        let mut behind = 0;
        let mut is_key = KeyTracker::default();
        for (index, node) in (0..).zip(doc.nodes) {
            let is_key = is_key.next(index, doc);
            let is_string = match node.kind {
                NodeKind::Text | NodeKind::Escaped if is_key => {
                    if READ_BY_CONTENT.contains(&doc.raw(index)) && doc.is_string(index + 1) {
                        return None;
                    }
                    continue;
                }
                NodeKind::Text | NodeKind::Escaped => true,
                NodeKind::Number => false,
                // Words are part of the layout.
                NodeKind::Object
                | NodeKind::Array
                | NodeKind::True
                | NodeKind::False
                | NodeKind::Null => continue,
            };
            let (start, end) = (node.start as usize, node.end as usize);
            literals.extend_from_slice(&doc.text.as_bytes()[behind..start]);
            behind = end;
            let part = parts.next_if(|(place, _)| *place == start).map(|(_, part)| part);
            if part.is_some() && node.kind == NodeKind::Escaped {
                return None;
            }
            let part = part.unwrap_or(ValueRole::Nothing);
            // A number as a data value is typed by how it is written.
            if holes.len() >= HOLES_MAX || matches!(part, ValueRole::Field(_)) && !is_string {
                return None;
            }
            holes.push(Hole { literal_end: literals.len() as u32, is_string, part });
        }
        literals.extend_from_slice(&doc.text.as_bytes()[behind..]);
        // A value that was not found at a node of its own is left over.
        parts.peek().is_none().then(|| Layout { literals: literals.into(), holes: holes.into() })
    }

    fn read<'p, 't>(&self, line: &'t [u8], plan: &'p FieldPlan) -> Option<Parsed<'p, 't>> {
        let (mut system, mut data) = (System::default(), WantedData::for_facts(plan));
        let (mut rest, mut literal_start) = (line, 0);
        for hole in &self.holes {
            rest = behind(rest, &self.literals[literal_start..hole.literal_end as usize])?;
            literal_start = hole.literal_end as usize;
            let (end, is_plain) = match hole.is_string {
                true => string_end::<true>(rest, 0)?,
                false => (number_end(rest, 0)?, true),
            };
            let value = &rest[..end];
            rest = &rest[end..];
            if hole.part == ValueRole::Nothing {
                continue;
            }
            let text = str::from_utf8(value).ok().filter(|_| is_plain)?;
            match hole.part {
                ValueRole::Nothing => {}
                ValueRole::Provider => system.provider = Some(Cow::Borrowed(text)),
                ValueRole::Source => system.source = Some(Cow::Borrowed(text)),
                ValueRole::EventId => system.event_id = Some(parse_event_id(text)?),
                ValueRole::Channel => system.channel = Some(Cow::Borrowed(text)),
                ValueRole::Computer => system.computer = Some(Cow::Borrowed(text)),
                ValueRole::RecordId => system.record_id = digits(text),
                ValueRole::Time => system.time = Some(parse_time(text)?),
                ValueRole::Field(field) => data.read(field, Value::Text(Cow::Borrowed(text))),
            }
        }
        // The line end may follow.
        let rest = behind(rest, &self.literals[literal_start..])?;
        let is_blank = rest.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'));
        let fits = is_blank && !system.matches_rule(plan);
        fits.then_some(Parsed { system, data })
    }
}

/// The rest of the text after `literal`, if the text begins with it. Literals are short: a call to
/// `memcmp` would take longer than the comparison.
#[inline(always)]
fn behind<'t>(text: &'t [u8], literal: &[u8]) -> Option<&'t [u8]> {
    let (start, rest) = text.split_at_checked(literal.len())?;
    let (Some(last), Some(literal_last)) = (start.last_chunk::<8>(), literal.last_chunk::<8>())
    else {
        return (start == literal).then_some(rest);
    };
    // Without early exits: nearly every line that gets here matches.
    let difference =
        |one: &[u8; 8], other: &[u8; 8]| u64::from_ne_bytes(*one) ^ u64::from_ne_bytes(*other);
    let words = start.as_chunks().0.iter().zip(literal.as_chunks().0);
    let differs = words.fold(difference(last, literal_last), |differs, (one, other)| {
        differs | difference(one, other)
    });
    (differs == 0).then_some(rest)
}

/// Keys whose strings may hold an event or its data: then the content decides how the line is read.
const READ_BY_CONTENT: [&str; 4] = ["System", "EventData", "UserData", "RawEventData"];

/// The values of an event that are read, by the offsets in the line at which they start.
fn parts(
    doc: Doc<'_>,
    origins: Origins,
    system: &System<'_>,
    data: &WantedData<'_, '_>,
) -> Option<Vec<(usize, ValueRole)>> {
    let mut parts = Vec::new();
    for (text, part) in [
        (&system.provider, ValueRole::Provider),
        (&system.source, ValueRole::Source),
        (&system.channel, ValueRole::Channel),
        (&system.computer, ValueRole::Computer),
    ] {
        if let Some(text) = text {
            parts.push((doc.place(text)?, part));
        }
    }
    for (field, value) in data.fields() {
        let Value::Text(text) = value else { return None };
        parts.push((doc.place(text)?, ValueRole::Field(*field)));
    }
    // Fields are emitted in the order of the text, so they must have been read in it.
    let fields = || parts.iter().filter(|(_, part)| matches!(part, ValueRole::Field(_)));
    if !fields().is_sorted_by_key(|(place, _)| *place) {
        return None;
    }
    let start = |node: u32| (doc.at(node).start as usize, doc.raw(node));
    let (place, text) = start(origins.event_id?);
    parts.push((place, (parse_event_id(text) == system.event_id).then_some(ValueRole::EventId)?));
    let (place, text) = start(origins.time.filter(|node| doc.is_string(*node))?);
    parts.push((place, (parse_time(text) == system.time).then_some(ValueRole::Time)?));
    if let Some(node) = origins.record_id {
        let (place, text) = start(node);
        parts.push((place, (digits(text) == system.record_id).then_some(ValueRole::RecordId)?));
    }
    parts.sort_unstable_by_key(|(place, _)| *place);
    // A value that serves two purposes could be read only once.
    let twice = parts.windows(2).any(|two| two[0].0 == two[1].0);
    (!twice).then_some(parts)
}

/// Distinguishes keys from values, node by node.
#[derive(Debug, Default)]
struct KeyTracker {
    /// The objects and arrays around the node: where each ends, and for an object whether a key
    /// comes next.
    open: Vec<(u32, Option<bool>)>,
}

impl KeyTracker {
    fn next(&mut self, index: u32, doc: Doc<'_>) -> bool {
        while self.open.last().is_some_and(|(end, _)| *end <= index) {
            self.open.pop();
        }
        let mut is_key = false;
        if let Some((_, Some(key_comes))) = self.open.last_mut() {
            is_key = std::mem::replace(key_comes, !*key_comes);
        }
        let node = doc.at(index);
        match node.kind {
            NodeKind::Object => self.open.push((node.next, Some(true))),
            NodeKind::Array => self.open.push((node.next, None)),
            _ => {}
        }
        is_key
    }
}

//! Event XML, one `<Event>` at a time: what Windows renders, forwarders send
//! and `wevtutil` prints.
//!
//! ```text
//! <Event xmlns='…'>
//!   <System> <Provider Name=…/> <EventID>4625</EventID> … <Computer>…</Computer> </System>
//!   <EventData> <Data Name='…'>…</Data> … <Binary>…</Binary> </EventData>
//!       or <UserData>, <ProcessingErrorData>, <DebugData>, or nothing
//!   <RenderingInfo Culture='…'> <Message>…</Message> … </RenderingInfo>
//! </Event>
//! ```
//!
//! Two readers give one `Parsed` event. The *scanner* knows the common form
//! and borrows every value; whatever it does not know it leaves, before any
//! effect, to the *reader* on `quick-xml`, which takes any well-formed event,
//! and one that breaks off after its data. A test holds the two equal.
//!
//! An event is read as far as it is needed: no further than `</System>` when
//! nobody can want it, no further than the data when no rule reads its
//! message. What comes after is not checked.
//!
//! [`FieldPlan`], `System` and `Gather` serve the JSON shapes as well.

use std::borrow::Cow;
use std::sync::Arc;

use memchr::memchr;
use quick_xml::events::Event as Token;

use super::Emit;
use super::clock::parse_time;
use crate::record::{FieldId, Record, Value, Wanted};
use crate::reject::RejectReason;
use crate::time::EventTime;

/// Why an event was not decoded, and what was expected where.
pub type Fault = (RejectReason, String);

/// Deepest nesting of elements that is read.
pub const DEPTH_MAX: usize = 64;

/// The elements beside `System` whose leaves are data.
const DATA_SECTIONS: [&str; 4] = ["EventData", "UserData", "ProcessingErrorData", "DebugData"];

/// Characters of the input that a [`Fault`] shows.
const EXCERPT_CHARS: usize = 100;

/// Decodes one `<Event …>…</Event>`: true when somebody wants it and it was
/// handed over, false when nobody does.
///
/// A `RenderingInfo` that breaks off, as forwarders sometimes send it, is no
/// fault: the message is what there is of it.
pub fn decode_event(xml: &str, plan: &FieldPlan, emit: &mut Emit<'_>) -> Result<bool, Fault> {
    decode_with_message(xml, None, plan, emit)
}

/// [`decode_event`] for XML that comes with its message beside it; a message
/// within the XML wins.
pub(super) fn decode_with_message<'a>(
    xml: &'a str,
    message: Option<Cow<'a, str>>,
    plan: &FieldPlan,
    emit: &mut Emit<'_>,
) -> Result<bool, Fault> {
    let mut parsed = match scan(xml, plan) {
        Some(parsed) => parsed,
        None => read(xml, plan)?,
    };
    if parsed.system.message.is_none() {
        parsed.system.message = message;
    }
    let record = parsed
        .into_record(plan)
        .map_err(|(skip, what)| (skip, format!("{what}: {}", excerpt(xml))))?;
    if let Some(record) = &record {
        emit(record);
    }
    Ok(record.is_some())
}

/// The start of a text, for a sample.
pub(super) fn excerpt(text: &str) -> String {
    let end = text.char_indices().nth(EXCERPT_CHARS).map_or(text.len(), |(index, _)| index);
    format!("`{}{}`", &text[..end], if end < text.len() { "…" } else { "" })
}

/// A field by its name, and what it is read for.
#[derive(Clone, Copy, Debug)]
struct PlannedField {
    field: FieldId,
    /// Also of records that no rule wants.
    read_for_facts: bool,
}

/// [`Wanted`], laid out for looking names up while scanning text.
#[derive(Debug)]
pub struct FieldPlan {
    wanted: Arc<Wanted>,
    /// Open addressing, a power of two at least four times the names. Only our
    /// own names are in it, so no input can make its chains long.
    slots: Box<[Option<PlannedField>]>,
    /// Whether some field makes a record wanted whatever its id.
    any_carries_fact: bool,
    binary: Option<FieldId>,
    count: Option<FieldId>,
    level: Option<FieldId>,
    version: Option<FieldId>,
    user: Option<FieldId>,
    message: Option<FieldId>,
    culture: Option<FieldId>,
}

impl FieldPlan {
    pub fn new(wanted: Arc<Wanted>) -> FieldPlan {
        let len = (wanted.field_count() * 4).next_power_of_two().max(16);
        let mut slots = vec![None; len].into_boxed_slice();
        for index in 0..wanted.field_count() {
            let field = FieldId(index as u16);
            let mut slot = name_hash(wanted.field_name(field)) & (len - 1);
            while slots[slot].is_some() {
                slot = (slot + 1) & (len - 1);
            }
            slots[slot] =
                Some(PlannedField { field, read_for_facts: wanted.reads_for_facts(field) });
        }
        let any_carries_fact = wanted.fact_field_names().next().is_some();
        FieldPlan {
            any_carries_fact,
            binary: wanted.field("#binary"),
            count: wanted.field("#count"),
            level: wanted.field("#level"),
            version: wanted.field("#version"),
            user: wanted.field("#user"),
            message: wanted.field("#message"),
            culture: wanted.field("#culture"),
            slots,
            wanted,
        }
    }

    pub fn wanted(&self) -> &Wanted {
        &self.wanted
    }

    /// Whether a rule may read the level of an event with this id.
    pub(super) fn wants_level(&self, event_id: Option<u32>) -> bool {
        self.level.is_some() && event_id.is_some_and(|id| self.wanted.wants_id(id))
    }

    /// Whether a rule may read the message of an event with this id.
    pub(super) fn wants_message(&self, event_id: Option<u32>) -> bool {
        self.message.is_some() && event_id.is_some_and(|id| self.wanted.wants_id(id))
    }

    fn field(&self, name: &str) -> Option<PlannedField> {
        let mask = self.slots.len() - 1;
        let mut slot = name_hash(name) & mask;
        while let Some(entry) = self.slots[slot] {
            if self.wanted.field_name(entry.field) == name {
                return Some(entry);
            }
            slot = (slot + 1) & mask;
        }
        None
    }
}

/// Length, first and last bytes: what tells field names apart.
fn name_hash(name: &str) -> usize {
    let bytes = name.as_bytes();
    let (first, last) = if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk())
    {
        (u64::from_le_bytes(*first), u64::from_le_bytes(*last))
    } else if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        (u64::from(u32::from_le_bytes(*first)), u64::from(u32::from_le_bytes(*last)))
    } else {
        (bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)), 0)
    };
    let mixed =
        (first ^ last.rotate_left(29) ^ bytes.len() as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> 40) as usize
}

/// What an event says about itself, as text.
#[derive(Debug, Default)]
pub(super) struct System<'a> {
    pub provider: Option<Cow<'a, str>>,
    /// `EventSourceName`: the name of a classic source that a manifest took over.
    pub source: Option<Cow<'a, str>>,
    pub event_id: Option<u32>,
    pub level: Option<Cow<'a, str>>,
    pub version: Option<Cow<'a, str>>,
    pub channel: Option<Cow<'a, str>>,
    pub computer: Option<Cow<'a, str>>,
    pub record_id: Option<u64>,
    pub time: Option<EventTime>,
    pub user: Option<Cow<'a, str>>,
    pub message: Option<Cow<'a, str>>,
    pub culture: Option<Cow<'a, str>>,
}

impl System<'_> {
    /// Whether the event's data need not be looked at: no rule wants its
    /// provider and id, and no field could make it wanted.
    pub(super) fn is_unwanted(&self, plan: &FieldPlan) -> bool {
        !plan.any_carries_fact
            && self.event_id.is_some()
            && !self.matches_rule(plan)
            && self.provider.is_some()
    }

    /// Whether a rule wants this provider and id.
    pub(super) fn matches_rule(&self, plan: &FieldPlan) -> bool {
        let matches_rule = |name: &Option<Cow<'_, str>>, id: u32| {
            name.as_ref().is_some_and(|name| plan.wanted.wants(name, id))
        };
        self.event_id.is_some_and(|id| {
            plan.wanted.wants_id(id)
                && (matches_rule(&self.provider, id) || matches_rule(&self.source, id))
        })
    }
}

/// The wanted data of one event, and how many items there were.
#[derive(Debug)]
pub(super) struct WantedData<'p, 'a> {
    plan: &'p FieldPlan,
    fields: Vec<(FieldId, Value<'a>)>,
    items: u64,
    unnamed: usize,
    carries_fact: bool,
    facts_only: bool,
}

impl<'p, 'a> WantedData<'p, 'a> {
    pub(super) fn new(plan: &'p FieldPlan) -> WantedData<'p, 'a> {
        let fields = Vec::new();
        WantedData { plan, fields, items: 0, unnamed: 0, carries_fact: false, facts_only: false }
    }

    /// Of an event that no rule wants: reads only what it may teach.
    pub(super) fn for_facts(plan: &'p FieldPlan) -> WantedData<'p, 'a> {
        WantedData { facts_only: true, ..WantedData::new(plan) }
    }

    fn push(&mut self, field: FieldId, value: Value<'a>) {
        if self.fields.capacity() == 0 {
            self.fields.reserve(16);
        }
        self.fields.push((field, value));
    }

    pub(super) fn items(&self) -> u64 {
        self.items
    }

    pub(super) fn fields(&self) -> &[(FieldId, Value<'a>)] {
        &self.fields
    }

    /// Whether there were values without a name.
    pub(super) fn has_unnamed(&self) -> bool {
        self.unnamed > 0
    }

    /// A value whose field is known.
    pub(super) fn read(&mut self, field: FieldId, value: Value<'a>) {
        self.carries_fact |= self.plan.wanted.carries_fact(field)
            && value.as_sid().is_some_and(|sid| sid.is_account());
        self.push(field, value);
    }

    /// One data item that has a name. Names are compared as they are written:
    /// one that is spelt with escapes is nobody's.
    pub(super) fn named(&mut self, name: &str, value: impl FnOnce() -> Value<'a>) {
        self.items += 1;
        if let Some(planned) = self.plan.field(name)
            && (planned.read_for_facts || !self.facts_only)
        {
            self.read(planned.field, value());
        }
    }

    /// One data item without a name.
    pub(super) fn unnamed(&mut self, value: impl FnOnce() -> Value<'a>) {
        self.items += 1;
        self.position(value);
    }

    /// The next value by position, of an item that is counted elsewhere.
    pub(super) fn position(&mut self, value: impl FnOnce() -> Value<'a>) {
        self.unnamed += 1;
        if let Some(field) = self.plan.wanted.position(self.unnamed) {
            self.push(field, value());
        }
    }

    /// The `Binary` element: no data item.
    pub(super) fn binary(&mut self, value: impl FnOnce() -> Value<'a>) {
        if let Some(field) = self.plan.binary {
            self.push(field, value());
        }
    }
}

/// An event as read, before anything is said about it.
#[derive(Debug)]
pub(super) struct Parsed<'p, 'a> {
    pub system: System<'a>,
    pub data: WantedData<'p, 'a>,
}

impl<'a> Parsed<'_, 'a> {
    /// The record, `None` when nobody wants it.
    pub(super) fn into_record(self, plan: &FieldPlan) -> Result<Option<Record<'a>>, Fault> {
        let Parsed { system, data } = self;
        let missing = |what: &str| (RejectReason::FieldsMissing, format!("expected {what}"));
        let event_id = system.event_id.ok_or_else(|| missing("an event id"))?;
        let is_there = |name: &Cow<'_, str>| !name.trim_ascii().is_empty();
        let matches_rule = |name: &Option<Cow<'_, str>>| {
            name.as_ref().is_some_and(|name| plan.wanted.wants(name, event_id))
        };
        let provider = system.provider.filter(is_there);
        let source = system.source.filter(is_there);
        let (provider, matches_rule) = if matches_rule(&provider) {
            (provider, true)
        } else if matches_rule(&source) {
            (source, true)
        } else if data.carries_fact || (provider.is_none() && source.is_none()) {
            (provider.or(source), false)
        } else {
            return Ok(None);
        };
        let provider = provider.ok_or_else(|| missing("a provider"))?;
        let computer = system.computer.filter(is_there).ok_or_else(|| missing("a computer"))?;
        let time = system.time.ok_or_else(|| missing("a time of creation"))?;
        let mut fields = data.fields;
        if !matches_rule {
            fields.retain(|(field, _)| plan.wanted.reads_for_facts(*field));
        }
        if let Some(field) = plan.count.filter(|_| matches_rule) {
            fields.push((field, Value::Unsigned(data.items)));
        }
        for (field, value) in [
            (plan.level, system.level),
            (plan.version, system.version),
            (plan.user, system.user),
            (plan.message, system.message),
            (plan.culture, system.culture),
        ] {
            if let (true, Some(field), Some(value)) = (matches_rule, field, value) {
                fields.push((field, Value::Text(value)));
            }
        }
        Ok(Some(Record {
            provider,
            event_id,
            channel: system.channel.map_or(Value::Null, Value::Text),
            computer: Value::Text(computer),
            record_id: system.record_id.unwrap_or(0),
            time,
            fields,
        }))
    }
}

/// A decimal number of digits alone, blanks around it allowed.
pub(super) fn digits<T: std::str::FromStr>(text: &str) -> Option<T> {
    let text = text.trim_ascii();
    // `parse` alone would take a leading `+`.
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// Resolves the predefined entities and character references; anything else
/// after an `&` stays as it is.
fn unescape(raw: &str) -> Cow<'_, str> {
    let Some(mut at) = find_near(raw.as_bytes(), b'&') else { return Cow::Borrowed(raw) };
    let mut text = String::with_capacity(raw.len());
    let mut rest = raw;
    loop {
        let (before, reference) = rest.split_at(at);
        text.push_str(before);
        // The longest reference is `&#x10FFFF;`; leading zeros may lengthen it.
        let end = reference.bytes().take(16).position(|byte| byte == b';');
        match end.and_then(|end| Some((resolve(&reference[1..end])?, end + 1))) {
            Some((character, len)) => {
                text.push(character);
                rest = &reference[len..];
            }
            None => {
                text.push('&');
                rest = &reference[1..];
            }
        }
        match memchr(b'&', rest.as_bytes()) {
            Some(next) => at = next,
            None => {
                text.push_str(rest);
                return Cow::Owned(text);
            }
        }
    }
}

fn resolve(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix('x').or_else(|| number.strip_prefix('X')) {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code).filter(|character| *character != '\0')
        }
    }
}

/// The value of an attribute; `attributes` is what stands between an
/// element's name and the end of its tag.
fn attribute<'a>(attributes: &'a str, wanted: &str) -> Option<&'a str> {
    let mut rest = attributes.trim_ascii_start();
    while let Some(equals) = find_near(rest.as_bytes(), b'=') {
        let name = rest[..equals].trim_ascii_end();
        let value = rest[equals + 1..].trim_ascii_start();
        let quote = value.bytes().next().filter(|quote| matches!(quote, b'"' | b'\''))?;
        let value = &value[1..];
        let end = find_near(value.as_bytes(), quote)?;
        if name == wanted {
            return Some(&value[..end]);
        }
        rest = value[end + 1..].trim_ascii_start();
    }
    None
}

fn local(name: &str) -> &str {
    name.rsplit_once(':').map_or(name, |(_, local)| local)
}

/// Takes one child of `System`.
fn system_child<'a>(
    system: &mut System<'a>,
    plan: &FieldPlan,
    name: &str,
    attributes: &'a str,
    text: impl FnOnce() -> Cow<'a, str>,
) {
    match name.as_bytes() {
        b"Provider" => {
            system.provider = attribute(attributes, "Name").map(unescape);
            system.source = attribute(attributes, "EventSourceName").map(unescape);
        }
        b"EventID" => system.event_id = digits(&text()),
        b"Level" if plan.level.is_some() => system.level = Some(text()),
        b"Version" if plan.version.is_some() => system.version = Some(text()),
        b"TimeCreated" => {
            system.time =
                attribute(attributes, "SystemTime").and_then(|time| parse_time(&unescape(time)));
        }
        b"EventRecordID" => system.record_id = digits(&text()),
        b"Channel" => system.channel = Some(text()),
        b"Computer" => system.computer = Some(text()),
        b"Security" if plan.user.is_some() => {
            system.user = attribute(attributes, "UserID").map(unescape);
        }
        _ => {}
    }
}

/// The common form; `None` for any other, and for whatever is broken.
fn scan<'p, 'a>(xml: &'a str, plan: &'p FieldPlan) -> Option<Parsed<'p, 'a>> {
    let mut scan = Scan { text: xml, at: 0 };
    scan.skip_space();
    let root = scan.tag()?;
    if root.name != "Event" || root.empty {
        return None;
    }
    scan.skip_space();
    let section = scan.tag()?;
    if section.name != "System" || section.empty {
        return None;
    }
    let mut system = System::default();
    loop {
        scan.skip_space();
        if scan.take("</System>") {
            break;
        }
        let (tag, text) = scan.leaf()?;
        system_child(&mut system, plan, tag.name, tag.attributes, || unescape(text));
    }
    let mut data = WantedData::new(plan);
    if system.is_unwanted(plan) {
        return Some(Parsed { system, data });
    }
    loop {
        scan.skip_space();
        if scan.take("</Event>") {
            break;
        }
        let section = scan.tag()?;
        match (section.name, section.empty) {
            ("EventData", true) => {}
            ("EventData", false) => scan.event_data(&mut data)?,
            ("RenderingInfo", _) if plan.message.is_none() && plan.culture.is_none() => break,
            ("RenderingInfo", false) => {
                scan.rendering(&mut system, plan, section.attributes)?;
                break;
            }
            _ => return None,
        }
    }
    Some(Parsed { system, data })
}

/// The bytes that the scanner takes in a name.
const NAME_BYTES: [bool; 256] = {
    let mut names = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        names[byte as usize] = byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        byte += 1;
    }
    names
};

struct Scan<'a> {
    text: &'a str,
    at: usize,
}

#[derive(Clone, Copy)]
struct StartTag<'a> {
    name: &'a str,
    attributes: &'a str,
    empty: bool,
}

impl<'a> Scan<'a> {
    fn rest(&self) -> &'a [u8] {
        &self.text.as_bytes()[self.at..]
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\r' | b'\n') = self.rest().first() {
            self.at += 1;
        }
    }

    fn take(&mut self, expect: &str) -> bool {
        let there = self.rest().starts_with(expect.as_bytes());
        if there {
            self.at += expect.len();
        }
        there
    }

    /// A start tag or an empty one, names without prefix alone.
    fn tag(&mut self) -> Option<StartTag<'a>> {
        let rest = self.rest();
        if rest.first() != Some(&b'<') {
            return None;
        }
        let len = rest[1..].iter().position(|byte| !NAME_BYTES[usize::from(*byte)])?;
        let after_name = 1 + len;
        let name = &self.text[self.at + 1..self.at + after_name];
        let start = self.at + after_name;
        match rest[after_name] {
            _ if len == 0 => return None,
            b'>' => {
                self.at = start + 1;
                return Some(StartTag { name, attributes: "", empty: false });
            }
            b' ' | b'\t' | b'\r' | b'\n' | b'/' => {}
            _ => return None,
        }
        let end = start + tag_end(&rest[after_name..])?;
        let inner = &self.text[start..end];
        self.at = end + 1;
        Some(match inner.strip_suffix('/') {
            Some(attributes) => StartTag { name, attributes, empty: true },
            None => StartTag { name, attributes: inner, empty: false },
        })
    }

    /// Character data up to the next `<`.
    fn characters(&mut self) -> Option<&'a str> {
        let len = find_near(self.rest(), b'<')?;
        let text = &self.text[self.at..self.at + len];
        self.at += len;
        Some(text)
    }

    /// `</name>`, without blanks in it.
    fn close(&mut self, name: &str) -> Option<()> {
        let rest = self.rest().strip_prefix(b"</")?.strip_prefix(name.as_bytes())?;
        if rest.first() != Some(&b'>') {
            return None;
        }
        self.at += name.len() + 3;
        Some(())
    }

    /// An element that holds nothing but characters.
    fn leaf(&mut self) -> Option<(StartTag<'a>, &'a str)> {
        let tag = self.tag()?;
        if tag.empty {
            return Some((tag, ""));
        }
        let text = self.characters()?;
        self.close(tag.name)?;
        Some((tag, text))
    }

    /// The content of `EventData` and its end tag.
    fn event_data(&mut self, data: &mut WantedData<'_, 'a>) -> Option<()> {
        loop {
            self.skip_space();
            if let Some(name) = self.data_name() {
                let text = self.characters()?;
                if !self.take("</Data>") {
                    return None;
                }
                data.named(name, || Value::Text(unescape(text)));
                continue;
            }
            if self.take("</EventData>") {
                return Some(());
            }
            let (tag, text) = self.leaf()?;
            let value = || Value::Text(unescape(text));
            match tag.name {
                "Data" => match attribute(tag.attributes, "Name") {
                    Some(name) => data.named(name, value),
                    None => data.unnamed(value),
                },
                "Binary" => data.binary(value),
                name => data.named(name, value),
            }
        }
    }

    /// The name in `<Data Name='…'>` if that is what comes next.
    fn data_name(&mut self) -> Option<&'a str> {
        let [quote @ (b'\'' | b'"'), rest @ ..] = self.rest().strip_prefix(b"<Data Name=")? else {
            return None;
        };
        let len = find_near(rest, *quote)?;
        if rest.get(len + 1) != Some(&b'>') {
            return None;
        }
        let start = self.at + "<Data Name='".len();
        self.at = start + len + 2;
        Some(&self.text[start..start + len])
    }

    /// `RenderingInfo` up to the end of its message.
    fn rendering(
        &mut self,
        system: &mut System<'a>,
        plan: &FieldPlan,
        attributes: &'a str,
    ) -> Option<()> {
        system.culture = attribute(attributes, "Culture").map(unescape);
        while plan.message.is_some() {
            self.skip_space();
            if self.take("</RenderingInfo>") {
                break;
            }
            let (tag, text) = self.leaf()?;
            if tag.name == "Message" {
                system.message = Some(unescape(text));
                break;
            }
        }
        Some(())
    }
}

/// Where the `>` of a tag is, past attributes of the form `name='value'`.
fn tag_end(tag: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match tag.get(at)? {
            b'>' => return Some(at),
            b' ' | b'\t' | b'\r' | b'\n' => at += 1,
            b'/' if tag.get(at + 1) == Some(&b'>') => return Some(at + 1),
            _ => {
                let name = &tag[at..];
                let len = name.iter().position(|b| !NAME_BYTES[usize::from(*b)] && *b != b':')?;
                let [b'=', quote @ (b'\'' | b'"'), value @ ..] = &name[len..] else { return None };
                at += len + 2 + find_near(value, *quote)? + 1;
            }
        }
    }
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// The high bit of each byte that equals `byte`; above the first such byte
/// there may be false ones.
#[inline(always)]
pub(super) fn matches_of(word: u64, byte: u8) -> u64 {
    let difference = word ^ (ONES * u64::from(byte));
    difference.wrapping_sub(ONES) & !difference & HIGHS
}

/// `memchr` for what is mostly within a few bytes: eight at a time, before the
/// vector search is called at all.
#[inline(always)]
fn find_near(text: &[u8], byte: u8) -> Option<usize> {
    let mut at = 0;
    while at < 32 {
        let Some(word) = text.get(at..).and_then(|rest| rest.first_chunk::<8>()) else { break };
        let found = matches_of(u64::from_le_bytes(*word), byte);
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    memchr(byte, &text[at..]).map(|len| at + len)
}

/// Any well-formed event, and one that breaks off once its data is whole.
fn read<'p, 'a>(xml: &'a str, plan: &'p FieldPlan) -> Result<Parsed<'p, 'a>, Fault> {
    let xml = xml.strip_prefix('\u{feff}').unwrap_or(xml);
    let mut build = EventBuilder::new(plan);
    build.run(xml, |build| build.state())?;
    Ok(Parsed { system: build.system, data: build.data })
}

/// Reads a piece of event XML that stands alone: an `EventData` or `UserData`
/// element, or what is in one.
pub(super) fn read_data<'a>(xml: &'a str, data: &mut WantedData<'_, 'a>) -> Result<(), Fault> {
    let mut build = EventBuilder::new(data.plan);
    std::mem::swap(&mut build.data, data);
    build.fragment = true;
    let root = xml.trim_start();
    build.open.push(OpenElement::new("Event", ""));
    let stands_alone = DATA_SECTIONS.iter().any(|name| {
        let rest = root.strip_prefix('<').and_then(|rest| rest.strip_prefix(name));
        rest.is_some_and(|rest| rest.starts_with(['>', ' ', '/', '\t', '\r', '\n']))
    });
    if !stands_alone {
        build.open.push(OpenElement::new(
            if root.starts_with("<Data") { "EventData" } else { "UserData" },
            "",
        ));
    }
    let base = build.open.len();
    let outcome = build.run(xml, |build| match build.open.len() == base {
        true => ReadProgress::Recoverable,
        false => ReadProgress::Needed,
    });
    std::mem::swap(&mut build.data, data);
    outcome
}

/// An element whose end has not come yet.
struct OpenElement<'a> {
    name: &'a str,
    attributes: &'a str,
    text: Cow<'a, str>,
    has_child: bool,
}

impl<'a> OpenElement<'a> {
    fn new(name: &'a str, attributes: &'a str) -> OpenElement<'a> {
        OpenElement { name, attributes, text: Cow::Borrowed(""), has_child: false }
    }
}

/// How far an event has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ReadProgress {
    /// If the text ended or broke here, something would be lost.
    Needed,
    /// System and data are whole, or the message has begun.
    Recoverable,
    /// Nothing more is wanted.
    Done,
}

struct EventBuilder<'p, 'a> {
    plan: &'p FieldPlan,
    system: System<'a>,
    data: WantedData<'p, 'a>,
    open: Vec<OpenElement<'a>>,
    data_read: bool,
    fragment: bool,
    done: bool,
}

impl<'p, 'a> EventBuilder<'p, 'a> {
    fn new(plan: &'p FieldPlan) -> EventBuilder<'p, 'a> {
        EventBuilder {
            plan,
            system: System::default(),
            data: WantedData::new(plan),
            open: Vec::new(),
            data_read: false,
            fragment: false,
            done: false,
        }
    }

    fn state(&self) -> ReadProgress {
        let in_rendering = self.open.get(1).is_some_and(|section| section.name == "RenderingInfo");
        if self.done {
            ReadProgress::Done
        } else if in_rendering || (self.data_read && self.open.len() == 1) {
            ReadProgress::Recoverable
        } else {
            ReadProgress::Needed
        }
    }

    /// Feeds every token; `state` says what an end or a fault would mean.
    fn run(
        &mut self,
        xml: &'a str,
        state: impl Fn(&EventBuilder<'p, 'a>) -> ReadProgress,
    ) -> Result<(), Fault> {
        let mut reader = quick_xml::Reader::from_str(xml);
        let config = reader.config_mut();
        config.check_end_names = false;
        config.allow_unmatched_ends = true;
        config.allow_dangling_amp = true;
        loop {
            let start = reader.buffer_position() as usize;
            let token = reader.read_event();
            let end = reader.buffer_position() as usize;
            let raw = xml.get(start..end).unwrap_or_default();
            let expected = match token {
                Ok(Token::Eof) => Some("`</Event>`"),
                Ok(token) => self.take(&token, raw).err(),
                Err(_) => Some("well-formed XML"),
            };
            if state(self) == ReadProgress::Done {
                return Ok(());
            }
            if let Some(expected) = expected {
                if state(self) == ReadProgress::Recoverable {
                    self.cut(xml.get(start..).unwrap_or_default());
                    return Ok(());
                }
                let what = format!("expected {expected} at byte {start}: {}", excerpt(xml));
                return Err((RejectReason::XmlMalformed, what));
            }
        }
    }

    /// What there is of a message that breaks off.
    fn cut(&mut self, rest: &'a str) {
        if self.fragment {
            return;
        }
        if let [_, rendering, message] = &mut *self.open
            && (rendering.name, message.name) == ("RenderingInfo", "Message")
        {
            let rest = &rest[..memchr(b'<', rest.as_bytes()).unwrap_or(rest.len())];
            append(&mut message.text, unescape(rest));
            self.system.message = Some(std::mem::take(&mut message.text));
        }
    }

    /// `Err` says what was expected instead of the token.
    fn take(&mut self, token: &Token<'_>, raw: &'a str) -> Result<(), &'static str> {
        match token {
            Token::Start(_) => {
                let inner = raw.strip_prefix('<').and_then(|raw| raw.strip_suffix('>'));
                self.start(inner.ok_or("a start tag")?)
            }
            Token::Empty(_) => {
                let inner = raw.strip_prefix('<').and_then(|raw| raw.strip_suffix("/>"));
                self.start(inner.ok_or("an empty tag")?)?;
                self.end();
                Ok(())
            }
            Token::End(_) => {
                let name = raw.strip_prefix("</").and_then(|raw| raw.strip_suffix('>'));
                let name = local(name.ok_or("an end tag")?.trim());
                match self.open.last() {
                    Some(open) if open.name == name => {
                        self.end();
                        Ok(())
                    }
                    Some(_) => Err("the end tag of the open element"),
                    None => Err("`<Event`"),
                }
            }
            Token::Text(_) | Token::GeneralRef(_) => {
                match self.open.last_mut() {
                    Some(open) if !open.has_child => append(&mut open.text, unescape(raw)),
                    Some(_) => {}
                    None if raw.trim().is_empty() => {}
                    None => return Err("`<Event`"),
                }
                Ok(())
            }
            Token::CData(_) => {
                let inner = raw.strip_prefix("<![CDATA[").and_then(|raw| raw.strip_suffix("]]>"));
                if let Some(open) = self.open.last_mut().filter(|open| !open.has_child) {
                    append(&mut open.text, Cow::Borrowed(inner.ok_or("`]]>`")?));
                }
                Ok(())
            }
            Token::Comment(_) | Token::Decl(_) | Token::PI(_) | Token::DocType(_) | Token::Eof => {
                Ok(())
            }
        }
    }

    fn start(&mut self, inner: &'a str) -> Result<(), &'static str> {
        let len = inner.find([' ', '\t', '\r', '\n']).unwrap_or(inner.len());
        let (name, attributes) = inner.split_at(len);
        let name = local(name);
        if self.open.len() >= DEPTH_MAX {
            return Err("no deeper nesting");
        }
        match self.open.last_mut() {
            Some(parent) => parent.has_child = true,
            None if name == "Event" => {}
            None => return Err("`<Event`"),
        }
        if self.open.len() == 1 && name == "RenderingInfo" && !self.fragment {
            self.system.culture = attribute(attributes, "Culture").map(unescape);
            self.done = self.plan.message.is_none();
        }
        self.open.push(OpenElement::new(name, attributes));
        Ok(())
    }

    fn end(&mut self) {
        let Some(mut closed) = self.open.pop() else { return };
        let text = std::mem::take(&mut closed.text);
        let leaf = !closed.has_child;
        match (&*self.open, closed.name) {
            ([], _) => self.done = !self.fragment,
            ([_], "System") => self.done = self.system.is_unwanted(self.plan),
            ([_], "RenderingInfo") => self.done = !self.fragment,
            ([_], name) => {
                self.data_read = true;
                if name == "BinaryEventData" && leaf {
                    self.data.binary(|| Value::Text(text));
                }
            }
            ([_, section], name) if section.name == "System" => {
                system_child(&mut self.system, self.plan, name, closed.attributes, || text);
            }
            ([_, section], "Message") if section.name == "RenderingInfo" => {
                self.system.message = Some(text);
                self.done = true;
            }
            ([_, section, ..], _) if matches!(section.name, "System" | "RenderingInfo") => {}
            ([_, section], "Binary") if section.name == "EventData" && leaf => {
                self.data.binary(|| Value::Text(text));
            }
            ([_, section], "Data") if section.name == "EventData" && leaf => {
                self.item(attribute(closed.attributes, "Name"), text);
            }
            ([_, section, parent], _)
                if leaf && (section.name, parent.name) == ("EventData", "Data") =>
            {
                self.item(attribute(parent.attributes, "Name"), text);
            }
            ([_, section, ..], name) if leaf && DATA_SECTIONS.contains(&section.name) => {
                self.data.named(name, || Value::Text(text));
            }
            _ => {}
        }
    }

    fn item(&mut self, name: Option<&str>, text: Cow<'a, str>) {
        match name {
            Some(name) => self.data.named(name, || Value::Text(text)),
            None => self.data.unnamed(|| Value::Text(text)),
        }
    }
}

fn append<'a>(text: &mut Cow<'a, str>, more: Cow<'a, str>) {
    if text.is_empty() {
        *text = more;
    } else {
        text.to_mut().push_str(&more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 13] = [
        "TargetUserName",
        "Status",
        "Nested",
        "Ünïcode",
        "#1",
        "#2",
        "#3",
        "#binary",
        "#count",
        "#level",
        "#user",
        "#message",
        "#culture",
    ];

    fn plan(message: Option<&str>) -> FieldPlan {
        let names = NAMES.into_iter().filter(|name| message.is_some() || !name.starts_with("#m"));
        let rules = [("Security-Auditing", 4625), ("Kerberos", 3), ("Eventlog", 1102)];
        FieldPlan::new(Arc::new(Wanted::new(rules, names, ["TargetUserSid"])))
    }

    fn show(parsed: Parsed<'_, '_>, plan: &FieldPlan) -> String {
        match parsed.into_record(plan) {
            Ok(Some(record)) => {
                let wanted = plan.wanted();
                let fields =
                    record.fields.iter().map(|(id, value)| (wanted.field_name(*id), value.text()));
                let fields: Vec<_> = fields.collect();
                format!(
                    "{} {} {} {} {} {} {fields:?}",
                    record.provider,
                    record.event_id,
                    record.channel.text(),
                    record.computer.text(),
                    record.record_id,
                    record.time,
                )
            }
            Ok(None) => "not wanted".to_owned(),
            Err((reason, what)) => format!("{} {what}", reason.name()),
        }
    }

    #[track_caller]
    fn check(xml: &str, expect: &str) {
        let plan = plan(Some("#message"));
        let read = read(xml, &plan)
            .map_or_else(|(reason, _)| reason.name().to_owned(), |p| show(p, &plan));
        assert_eq!(read, expect, "{xml}");
        if let Some(scanned) = scan(xml, &plan) {
            assert_eq!(show(scanned, &plan), read, "{xml}");
        }
    }

    fn event(id: &str, rest: &str) -> String {
        format!(
            "<Event xmlns='http://schemas.microsoft.com/win/2004/08/events/event'><System>\
             <Provider Name='Security-Auditing' Guid='{{0}}'/><EventID>{id}</EventID><Level>0</Level>\
             <TimeCreated SystemTime='2025-10-01T08:00:00.1234567Z'/><EventRecordID>7</EventRecordID>\
             <Channel>Security</Channel><Computer>pc1</Computer><Security UserID='S-1-5-18'/>\
             </System>{rest}"
        )
    }

    const HEAD: &str = "Security-Auditing 4625 Security pc1 7 2025-10-01T08:00:00.1234567Z ";

    #[test]
    fn data_is_read_by_name_and_by_position() {
        let data = "<EventData><Data Name='TargetUserName'>bob</Data><Data>one</Data><Data/>\
                    <Data Name=\"Status\" /><Binary>0A0B</Binary><Nested>n</Nested></EventData></Event>";
        let fields = r##"[("TargetUserName", "bob"), ("#1", "one"), ("#2", ""), ("Status", ""), ("#binary", "0A0B"), ("Nested", "n"), ("#count", "5"), ("#level", "0"), ("#user", "S-1-5-18")]"##;
        check(&event("4625", data), &format!("{HEAD}{fields}"));
    }

    #[test]
    fn older_and_nested_forms_of_data_are_read() {
        let tail = r##"("#level", "0"), ("#user", "S-1-5-18")]"##;
        check(
            &event(
                "4625",
                "<EventData><Data><string>a</string><string>b</string></Data></EventData></Event>",
            ),
            &format!("{HEAD}[(\"#1\", \"a\"), (\"#2\", \"b\"), (\"#count\", \"2\"), {tail}"),
        );
        check(
            &event(
                "4625",
                "<UserData><x:Log xmlns:x='u'><x:Status>5</x:Status><Nested/></x:Log></UserData></Event>",
            ),
            &format!("{HEAD}[(\"Status\", \"5\"), (\"Nested\", \"\"), (\"#count\", \"2\"), {tail}"),
        );
        check(
            &event(
                "4625",
                "<ProcessingErrorData><Status>15005</Status></ProcessingErrorData></Event>",
            ),
            &format!("{HEAD}[(\"Status\", \"15005\"), (\"#count\", \"1\"), {tail}"),
        );
        for none in [
            "</Event>",
            "<EventData/></Event>",
            "<EventData></EventData></Event>",
            "<UserData/></Event>",
        ] {
            check(&event("4625", none), &format!("{HEAD}[(\"#count\", \"0\"), {tail}"));
        }
    }

    #[test]
    fn escapes_are_resolved() {
        let data = "<EventData><Data Name='TargetUserName'>a&amp;&lt;&#x41;&#66;&bogus;&#0;&</Data>\
                    <Data Name='Status'><![CDATA[</Event>&amp;]]>x<!-- y -->z</Data></EventData></Event>";
        let fields = r##"[("TargetUserName", "a&<AB&bogus;&#0;&"), ("Status", "</Event>&amp;xz"), ("#count", "2"), ("#level", "0"), ("#user", "S-1-5-18")]"##;
        check(&event("4625", data), &format!("{HEAD}{fields}"));
    }

    #[test]
    fn a_message_that_breaks_off_is_what_there_is_of_it() {
        let start = "<EventData><Data>x</Data></EventData><RenderingInfo Culture='en-US'>";
        let fields = |message: &str| {
            format!(
                "{HEAD}[(\"#1\", \"x\"), (\"#count\", \"1\"), (\"#level\", \"0\"), (\"#user\", \"S-1-5-18\"){message}, (\"#culture\", \"en-US\")]"
            )
        };
        for end in ["", "</Event>", "</RenderingInfo></Event>", "</Mess"] {
            let cut = format!("{start}<Message>An acc&amp;ount{end}");
            check(&event("4625", &cut), &fields(", (\"#message\", \"An acc&ount\")"));
        }
        for end in ["", "<", "<Mess", "</RenderingInfo></Event>", "<Level>Information</Lev"] {
            check(&event("4625", &format!("{start}{end}")), &fields(""));
        }
        let plan = plan(None);
        let cut = event("4625", &format!("{start}<Message>An acc"));
        assert!(scan(&cut, &plan).is_some(), "the scanner does not need the message");
    }

    #[test]
    fn what_breaks_off_before_its_data_is_whole_is_malformed() {
        let whole = event("4625", "<EventData><Data Name='Status'>5</Data></EventData></Event>");
        let plan = plan(Some("#message"));
        for end in 0..whole.find("</EventData>").map_or(0, |at| at + 12) {
            let Err((reason, _)) = read(&whole[..end], &plan) else { panic!("{}", &whole[..end]) };
            assert_eq!(reason, RejectReason::XmlMalformed);
            assert!(scan(&whole[..end], &plan).is_none(), "{}", &whole[..end]);
        }
    }

    #[test]
    fn the_name_of_the_classic_source_counts_too() {
        let xml = event("3", "</Event>").replace(
            "Name='Security-Auditing'",
            "Name='Microsoft-Windows-Security-Kerberos' EventSourceName='Kerberos'",
        );
        check(
            &xml,
            "Kerberos 3 Security pc1 7 2025-10-01T08:00:00.1234567Z [(\"#count\", \"0\"), (\"#level\", \"0\"), (\"#user\", \"S-1-5-18\")]",
        );
    }

    #[test]
    fn the_sid_of_an_account_in_a_teaching_field_makes_any_event_wanted() {
        let data = |sid: &str| {
            format!("<EventData><Data Name='TargetUserSid'>{sid}</Data></EventData></Event>")
        };
        let shown = "Security-Auditing 1 Security pc1 7 2025-10-01T08:00:00.1234567Z [(\"TargetUserSid\", \"S-1-5-21-1-2-3-500\")]";
        check(&event("1", &data("S-1-5-21-1-2-3-500")), shown);
        check(&event("1", &data("S-1-5-18")), "not wanted");
        let status = data("S-1-5-21-1-2-3-500").replace("TargetUserSid", "Status");
        check(&event("1", &status), "not wanted");
    }

    #[test]
    fn what_is_missing_is_named() {
        let whole = event("4625", "</Event>");
        for (cut, what) in [
            ("<Computer>pc1</Computer>", "fields_missing expected a computer"),
            ("<EventID>4625</EventID>", "fields_missing expected an event id"),
            (
                " SystemTime='2025-10-01T08:00:00.1234567Z'",
                "fields_missing expected a time of creation",
            ),
            (" Name='Security-Auditing'", "fields_missing expected a provider"),
        ] {
            check(&whole.replace(cut, ""), what);
        }
        for broken in ["", "<Event", "<Event>", "<Events/>", "<a><Event/></a>", "&", "{}"] {
            check(broken, "xml_malformed");
        }
    }

    /// Every variant of an event is read alike by the scanner, or left to the
    /// reader.
    #[test]
    fn the_scanner_declines_or_equals_the_reader() {
        let rest = "<EventData><Data Name='TargetUserName'>bob</Data><Data>one</Data>\
                    <Binary>0A</Binary></EventData><RenderingInfo Culture='de'><Message>m</Message>\
                    </RenderingInfo></Event>";
        let plain = event("4625", rest);
        let plan = plan(Some("#message"));
        assert!(scan(&plain, &plan).is_some(), "the common form is scanned");
        let changes = [
            ("'", "\""),
            ("><", ">\r\n  <"),
            ("<Data", "<e:Data"),
            ("/>", " />"),
            ("bob", "b&#x20AC;b"),
            ("bob", "<![CDATA[b]]>"),
            ("bob", "<!-- -->bob"),
            ("<EventID>", "<EventID Qualifiers='>'>"),
            ("4625", " 4625 "),
            ("4625", "4624"),
            ("<Binary>", "<Binary a='/' >"),
            ("one", "a > b"),
            ("<Message>", "<Other/><Message>"),
            ("EventData", "UserData"),
            ("Name=", "Name = "),
            ("</Data>", "</Data >"),
            ("<Event ", "<?xml version='1.0'?>\n<Event "),
            ("one", "<b>x</b>"),
            ("Status", "Ünïcode"),
            ("</Event>", ""),
            ("</System>", "</System><System></System>"),
            ("bob", "é&quot;"),
            ("<EventData>", "<EventData Name='x'>"),
            ("Security-", "&#83;ecurity-"),
        ];
        let mut scanned = 0;
        for first in changes {
            for second in changes {
                let xml = plain.replace(first.0, first.1).replace(second.0, second.1);
                if let Some(parsed) = scan(&xml, &plan) {
                    scanned += 1;
                    let read = read(&xml, &plan)
                        .map_or_else(|(_, what)| what, |parsed| show(parsed, &plan));
                    assert_eq!(show(parsed, &plan), read, "{xml}");
                }
            }
        }
        assert!(scanned > 100, "{scanned} variants were scanned");
    }

    /// Bytes changed one at a time, at every place.
    #[test]
    fn damaged_events_read_alike_and_never_panic() {
        let rest = "<EventData><Data Name='Status'>a&amp;b</Data><Data/></EventData>\
                    <RenderingInfo Culture='de'><Message>m</Message></RenderingInfo></Event>";
        let plain = event("4625", rest);
        let plan = plan(Some("#message"));
        for at in 0..plain.len() {
            for change in ["", "<", ">", "'", "\"", "/", "&", " ", "=", "!", "x", ":", "é"] {
                let xml = format!("{}{change}{}", &plain[..at], &plain[at + 1..]);
                let read = read(&xml, &plan);
                if let Some(parsed) = scan(&xml, &plan) {
                    let read = read.map_or_else(|(_, what)| what, |parsed| show(parsed, &plan));
                    assert_eq!(show(parsed, &plan), read, "{xml}");
                }
            }
        }
    }
}

//! BinXML templates, compiled to plans: which of a record's substitution values holds each wanted
//! field.
//!
//! A record of an EVTX file is nearly always one *template instance*: the template is the event's
//! XML with holes, defined once per chunk; the instance is a list of typed values for the holes
//! ([MS-EVEN6] 2.2.12). `EventData` is usually a value itself, an instance of its own template:
//!
//! ```text
//!  outer template                        instance
//!  <Event><System>                       ┌ value 0   u16      4625
//!    <Provider Name="Microsoft-…"/>      │ value 1   FILETIME
//!    <EventID>%0</EventID>               │ …
//!    <TimeCreated SystemTime="%1"/> …    │ value 9   BinXML ─▶ instance of
//!  </System>%9</Event>                   └                      <EventData>…
//! ```
//!
//! [`compile`] walks a definition once and returns a [`Plan`]; reading a record then takes a few
//! loads at known offsets.
//!
//! Collectors write forwarded events without templates: all names and values are text in the record
//! itself. [`compile_inline`] makes a plan of one such record, and stops after `System` when the
//! record is not wanted.
//!
//! What a plan cannot express is [`NoPlan::Inexpressible`]; such a record takes the slow path.

use std::ops::Range;

use crate::record::{FieldId, Wanted, utf16_eq_ascii, utf16_text};

/// Deepest nesting of elements in a definition; Windows writes about 6.
const DEPTH_MAX: usize = 32;

/// Longest field name that is looked up without an allocation.
const FIELD_NAME_BYTES_MAX: usize = 128;

/// Most data items that one definition may name; Windows' largest have about 90.
const ITEMS_MAX: usize = 1024;

/// The types of substitution values that are distinguished ([MS-EVEN6] 2.2.12).
pub mod value_type {
    pub const NULL: u8 = 0x00;
    pub const STRING: u8 = 0x01;
    pub const ANSI_STRING: u8 = 0x02;
    pub const INT8: u8 = 0x03;
    pub const UINT8: u8 = 0x04;
    pub const INT16: u8 = 0x05;
    pub const UINT16: u8 = 0x06;
    pub const INT32: u8 = 0x07;
    pub const UINT32: u8 = 0x08;
    pub const INT64: u8 = 0x09;
    pub const UINT64: u8 = 0x0a;
    pub const BOOL: u8 = 0x0d;
    pub const BINARY: u8 = 0x0e;
    pub const GUID: u8 = 0x0f;
    pub const SIZE_T: u8 = 0x10;
    pub const FILETIME: u8 = 0x11;
    pub const SID: u8 = 0x13;
    pub const HEX32: u8 = 0x14;
    pub const HEX64: u8 = 0x15;
    pub const BINXML: u8 = 0x21;
    pub const STRING_ARRAY: u8 = 0x81;
}

/// Why there is no plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPlan {
    /// It cannot be read, or contains something that a plan cannot express: a value made of several
    /// parts, a template within a leaf.
    Inexpressible,
    /// The record is not wanted.
    Unwanted,
}

/// Where a value comes from.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum ValueSource {
    #[default]
    Nowhere,
    /// UTF-16 text at these offsets from the start of the definition, or of the chunk if there is
    /// no definition.
    Text(Range<u32>),
    /// Index into the instance's values.
    Slot(u16),
    /// Text and values mixed, or several values.
    Mixed,
}

/// One data item of a template.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    pub name: ItemName,
    pub from: ValueSource,
    /// The element is omitted when this value is null (its dependency id).
    pub unless_null: Option<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemName {
    /// A wanted field.
    Field(FieldId),
    /// A data item without a name: its field depends on the number of such items before it in the
    /// instance.
    Position,
    /// A named data item that is not wanted; it still counts for `#count`.
    Unwanted,
}

/// What an instance is nested in, which decides what its root element may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InstanceParent {
    /// The record's own instance: the root is `Event`.
    Record,
    /// A child of `Event`: `EventData`, `UserData`, `RenderingInfo`, …
    EventChild,
    /// Somewhere below `UserData`.
    UserData,
}

/// How to read an instance of one template.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    pub provider: ValueSource,
    pub source_name: ValueSource,
    pub event_id: ValueSource,
    pub version: ValueSource,
    pub level: ValueSource,
    pub time: ValueSource,
    pub record_id: ValueSource,
    pub channel: ValueSource,
    pub computer: ValueSource,
    pub user: ValueSource,
    pub culture: ValueSource,
    pub message: ValueSource,
    pub binary: ValueSource,
    pub items: Vec<Item>,
    /// Values that are instances themselves, in document order: slot, parent, and how many of
    /// `items` come before each.
    pub nested: Vec<(u16, InstanceParent, usize)>,
    /// Whether a field of `items` can make a record wanted that no rule matches.
    pub carries_fact: bool,
    /// Wanted ids of the provider and source, if these are literals of the template.
    pub wanted_ids: Option<Box<[u32]>>,
}

/// Length of a template definition's own header: next offset, GUID, size.
pub const DEFINITION_HEADER_BYTES: usize = 24;

/// Compiles the definition at `offset` of a chunk (its header included).
pub fn compile(
    chunk: &[u8],
    offset: usize,
    place: InstanceParent,
    wanted: &Wanted,
) -> Result<Definition, NoPlan> {
    let start = offset.checked_add(DEFINITION_HEADER_BYTES).ok_or(NoPlan::Inexpressible)?;
    let size = read_u32(chunk, start - 4).ok_or(NoPlan::Inexpressible)? as usize;
    let end =
        start.checked_add(size).filter(|&end| end <= chunk.len()).ok_or(NoPlan::Inexpressible)?;
    let mut plan = Plan::default();
    let mut names = Vec::new();
    let keep = &mut |_: &Plan| true;
    let form = ElementEncoding::Definition;
    let mut compiler = Compiler {
        chunk,
        base: start,
        at: start,
        end,
        form,
        wanted,
        plan: &mut plan,
        names: &mut names,
        keep,
    };
    compiler.root(place)?;
    plan.wanted_ids = literal_ids(&chunk[start..], &plan, wanted);
    Ok(Definition { body: chunk[start..end].into(), names, plan })
}

/// A compiled definition, and what it takes to recognise it in another chunk.
///
/// From chunk to chunk the same template differs in the offsets of its names, and in the links
/// between names; all else is equal byte for byte.
#[derive(Debug)]
pub struct Definition {
    body: Box<[u8]>,
    names: Vec<NameRef>,
    pub plan: Plan,
}

/// A name within a definition's body.
#[derive(Debug)]
struct NameRef {
    /// Where in the body its offset is.
    at: usize,
    /// Whether the name itself follows.
    inline: bool,
    text: Box<[u8]>,
}

impl Definition {
    /// Whether the body at `start` of a chunk is the same definition.
    pub fn is_at(&self, chunk: &[u8], start: usize) -> bool {
        let Some(body) = chunk.get(start..start + self.body.len()) else { return false };
        let mut from = 0;
        for name in &self.names {
            let Some(offset) = read_u32(body, name.at).map(|offset| offset as usize) else {
                return false;
            };
            let inline = offset == start + name.at + 4;
            let text = chunk.get(offset.saturating_add(6)..).and_then(|rest| {
                let (chars, rest) = rest.split_first_chunk::<2>()?;
                rest.get(..usize::from(u16::from_le_bytes(*chars)) * 2)
            });
            if inline != name.inline
                || text != Some(&*name.text)
                || body[from..name.at] != self.body[from..name.at]
            {
                return false;
            }
            // Past the offset, and the link that an inline name starts with.
            from = name.at + if inline { 8 } else { 4 };
        }
        body[from..] == self.body[from..]
    }
}

/// Compiles the record content from `start` to `end` into `plan`, replacing its content. `keep` is
/// called with the plan after each `System` element; when it returns false, the result is
/// [`NoPlan::Unwanted`].
pub fn compile_inline(
    chunk: &[u8],
    start: usize,
    end: usize,
    wanted: &Wanted,
    plan: &mut Plan,
    keep: &mut dyn FnMut(&Plan) -> bool,
) -> Result<(), NoPlan> {
    plan.clear();
    let form = ElementEncoding::Inline;
    let names = &mut Vec::new();
    Compiler { chunk, base: 0, at: start, end, form, wanted, plan, names, keep }
        .root(InstanceParent::Record)
}

/// The wanted ids, if provider and source are literals of the template.
fn literal_ids(body: &[u8], plan: &Plan, wanted: &Wanted) -> Option<Box<[u32]>> {
    let ValueSource::Text(provider) = &plan.provider else { return None };
    let mut ids = wanted.ids_of(&utf16_text(text_at(body, 0, provider))).to_vec();
    match &plan.source_name {
        ValueSource::Nowhere => {}
        ValueSource::Text(source) => {
            ids.extend_from_slice(wanted.ids_of(&utf16_text(text_at(body, 0, source))));
        }
        ValueSource::Slot(_) | ValueSource::Mixed => return None,
    }
    ids.sort_unstable();
    ids.dedup();
    Some(ids.into())
}

/// What an element means for the plan, by its position in the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ElementRole {
    Event,
    System,
    Provider,
    EventId,
    Version,
    Level,
    TimeCreated,
    RecordId,
    Channel,
    Computer,
    Security,
    EventData,
    /// A child of `EventData`; `Data` or a field by its element name.
    Data,
    Binary,
    /// `<string>` within a `Data`.
    DataString,
    /// `UserData` and everything below it.
    UserData,
    Rendering,
    Message,
    /// Contains nothing that is wanted.
    Other,
}

/// How elements are encoded.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ElementEncoding {
    /// In a template definition, each with a dependency id.
    Definition,
    /// In the record itself, without dependency ids.
    Inline,
}

struct Compiler<'c> {
    chunk: &'c [u8],
    /// The offset that offsets of texts count from.
    base: usize,
    at: usize,
    end: usize,
    form: ElementEncoding,
    wanted: &'c Wanted,
    plan: &'c mut Plan,
    names: &'c mut Vec<NameRef>,
    keep: &'c mut dyn FnMut(&Plan) -> bool,
}

impl Plan {
    /// Empties the plan but keeps its memory.
    fn clear(&mut self) {
        let (mut items, mut nested) =
            (std::mem::take(&mut self.items), std::mem::take(&mut self.nested));
        items.clear();
        nested.clear();
        *self = Plan { items, nested, ..Plan::default() };
    }
}

/// The UTF-16 bytes of a [`ValueSource::Text`].
pub fn text_at<'c>(chunk: &'c [u8], base: usize, range: &Range<u32>) -> &'c [u8] {
    chunk.get(base + range.start as usize..base + range.end as usize).unwrap_or_default()
}

impl<'c> Compiler<'c> {
    fn root(&mut self, place: InstanceParent) -> Result<(), NoPlan> {
        loop {
            match self.u8()? {
                0x0f => self.skip(3)?,
                token @ (0x01 | 0x41) => {
                    let parent = match place {
                        InstanceParent::Record => None,
                        InstanceParent::EventChild => Some(ElementRole::Event),
                        InstanceParent::UserData => Some(ElementRole::UserData),
                    };
                    self.element(token, parent, 0)?;
                    return Ok(());
                }
                _ => return Err(NoPlan::Inexpressible),
            }
        }
    }

    /// Compiles an element, from after its opening token to its end.
    fn element(
        &mut self,
        token: u8,
        parent: Option<ElementRole>,
        depth: usize,
    ) -> Result<(), NoPlan> {
        if depth >= DEPTH_MAX {
            return Err(NoPlan::Inexpressible);
        }
        let dependency =
            if self.form == ElementEncoding::Definition { self.u16()? } else { 0xffff };
        let unless_null = (dependency != 0xffff).then_some(dependency);
        let size = self.u32()? as usize;
        let start = self.at;
        let name = self.name()?;
        let role = role_of(parent, name)?;
        if role == ElementRole::Other && self.form == ElementEncoding::Inline {
            self.at = start;
            return self.skip(size);
        }
        let mut field = self.wanted_by_name(role, name);
        let mut named =
            role == ElementRole::UserData || (role == ElementRole::Data && !is(name, "Data"));
        if token & 0x40 != 0 {
            self.skip(4)?;
            // Attributes: a name, then the parts of its value.
            while matches!(self.peek()?, 0x06 | 0x46) {
                self.skip(1)?;
                let attribute = self.name()?;
                let value = self.attribute_value()?;
                if role == ElementRole::Data && is(attribute, "Name") {
                    let ValueSource::Text(text) = &value else { return Err(NoPlan::Inexpressible) };
                    field = self.field_named(text_at(self.chunk, self.base, text));
                    named = true;
                } else if let Some(place) = self.attribute_place(role, attribute) {
                    *place = value;
                }
            }
        }
        let (from, has_children) = match self.u8()? {
            0x03 => (ValueSource::Nowhere, false),
            0x02 => self.content(role, depth)?,
            _ => return Err(NoPlan::Inexpressible),
        };
        if role == ElementRole::System && !(self.keep)(self.plan) {
            return Err(NoPlan::Unwanted);
        }
        if parent == Some(ElementRole::Event) {
            // `EventData` or `UserData` itself, however empty, is no data item.
            return Ok(());
        }
        self.finish(role, field, named, from, has_children, unless_null)
    }

    /// Compiles the content of an element. Returns the source of its own text, and whether it has
    /// child elements.
    fn content(&mut self, role: ElementRole, depth: usize) -> Result<(ValueSource, bool), NoPlan> {
        let mut from = ValueSource::Nowhere;
        let mut has_children = false;
        loop {
            let token = self.u8()?;
            match token {
                0x04 => return Ok((from, has_children)),
                0x01 | 0x41 => {
                    has_children = true;
                    self.element(token, Some(role), depth + 1)?;
                }
                0x0d | 0x0e => {
                    let slot = self.u16()?;
                    let declared = self.u8()?;
                    match role {
                        ElementRole::Event | ElementRole::EventData => {
                            self.nest(slot, InstanceParent::EventChild)?
                        }
                        ElementRole::UserData if declared == value_type::BINXML => {
                            has_children = true;
                            self.nest(slot, InstanceParent::UserData)?;
                        }
                        _ => append(&mut from, ValueSource::Slot(slot)),
                    }
                }
                _ => append(&mut from, self.literal(token)?),
            }
        }
    }

    fn nest(&mut self, slot: u16, place: InstanceParent) -> Result<(), NoPlan> {
        if self.plan.nested.len() >= ITEMS_MAX {
            return Err(NoPlan::Inexpressible);
        }
        self.plan.nested.push((slot, place, self.plan.items.len()));
        Ok(())
    }

    fn finish(
        &mut self,
        role: ElementRole,
        field: Option<FieldId>,
        named: bool,
        from: ValueSource,
        has_children: bool,
        unless_null: Option<u16>,
    ) -> Result<(), NoPlan> {
        let plan = &mut *self.plan;
        match role {
            ElementRole::EventId => plan.event_id = from,
            ElementRole::Version => plan.version = from,
            ElementRole::Level => plan.level = from,
            ElementRole::RecordId => plan.record_id = from,
            ElementRole::Channel => plan.channel = from,
            ElementRole::Computer => plan.computer = from,
            ElementRole::Message => plan.message = from,
            ElementRole::Binary => plan.binary = from,
            // The strings of an old-style Data are items themselves.
            ElementRole::Data if has_children && !named => {}
            // A UserData element with child elements is no field.
            ElementRole::UserData | ElementRole::Data if has_children => {}
            ElementRole::Data | ElementRole::DataString | ElementRole::UserData => {
                if plan.items.len() >= ITEMS_MAX {
                    return Err(NoPlan::Inexpressible);
                }
                let name = match (named, field) {
                    (true, Some(field)) => ItemName::Field(field),
                    (true, None) => ItemName::Unwanted,
                    (false, _) => ItemName::Position,
                };
                if let ItemName::Field(field) = name {
                    plan.carries_fact |= self.wanted.carries_fact(field);
                }
                plan.items.push(Item { name, from, unless_null });
            }
            ElementRole::Event
            | ElementRole::System
            | ElementRole::Provider
            | ElementRole::TimeCreated
            | ElementRole::Security
            | ElementRole::EventData
            | ElementRole::Rendering
            | ElementRole::Other => {}
        }
        Ok(())
    }

    fn wanted_by_name(&self, role: ElementRole, name: &[u8]) -> Option<FieldId> {
        match role {
            ElementRole::Data if is(name, "Data") => None,
            ElementRole::UserData | ElementRole::Data => self.field_named(name),
            _ => None,
        }
    }

    /// The wanted field of a name in UTF-16. Does not allocate for short ASCII names, which nearly
    /// all are.
    fn field_named(&self, name: &[u8]) -> Option<FieldId> {
        let mut ascii = [0; FIELD_NAME_BYTES_MAX];
        let (units, _) = name.as_chunks::<2>();
        let Some(ascii) = ascii.get_mut(..units.len()) else {
            return self.wanted.field(&utf16_text(name));
        };
        for (byte, [low, high]) in ascii.iter_mut().zip(units) {
            if *high != 0 || !low.is_ascii() {
                return self.wanted.field(&utf16_text(name));
            }
            *byte = *low;
        }
        self.wanted.field(std::str::from_utf8(ascii).ok()?)
    }

    fn attribute_place(&mut self, role: ElementRole, attribute: &[u8]) -> Option<&mut ValueSource> {
        match role {
            ElementRole::Provider if is(attribute, "Name") => Some(&mut self.plan.provider),
            ElementRole::Provider if is(attribute, "EventSourceName") => {
                Some(&mut self.plan.source_name)
            }
            ElementRole::TimeCreated if is(attribute, "SystemTime") => Some(&mut self.plan.time),
            ElementRole::Security if is(attribute, "UserID") => Some(&mut self.plan.user),
            ElementRole::Rendering if is(attribute, "Culture") => Some(&mut self.plan.culture),
            _ => None,
        }
    }

    fn attribute_value(&mut self) -> Result<ValueSource, NoPlan> {
        let mut from = ValueSource::Nowhere;
        loop {
            match self.peek()? {
                0x0d | 0x0e => {
                    self.skip(1)?;
                    let slot = self.u16()?;
                    self.skip(1)?;
                    append(&mut from, ValueSource::Slot(slot));
                }
                0x05 | 0x45 | 0x08 | 0x48 | 0x09 | 0x49 => {
                    let token = self.u8()?;
                    append(&mut from, self.literal(token)?);
                }
                _ => return Ok(from),
            }
        }
    }

    /// Text that is part of the definition.
    fn literal(&mut self, token: u8) -> Result<ValueSource, NoPlan> {
        match token {
            0x05 | 0x45 if self.u8()? != value_type::STRING => Err(NoPlan::Inexpressible),
            0x05 | 0x45 | 0x07 | 0x47 => {
                let chars = usize::from(self.u16()?);
                let start = self.at - self.base;
                self.skip(chars * 2)?;
                Ok(ValueSource::Text(start as u32..(self.at - self.base) as u32))
            }
            // A character or entity reference is a part of a text.
            0x08 | 0x48 => {
                self.skip(2)?;
                Ok(ValueSource::Mixed)
            }
            0x09 | 0x49 => {
                self.name()?;
                Ok(ValueSource::Mixed)
            }
            _ => Err(NoPlan::Inexpressible),
        }
    }

    /// Reads a name by its offset in the chunk. Where a chunk uses a name first, the name itself
    /// follows the offset:
    ///
    /// ```text
    /// offset u32 │ next u32 │ hash u16 │ chars u16 │ UTF-16 … │ NUL u16
    /// ```
    fn name(&mut self) -> Result<&'c [u8], NoPlan> {
        let offset = self.u32()? as usize;
        let chars_at = offset.checked_add(6).ok_or(NoPlan::Inexpressible)?;
        let chars = usize::from(read_u16(self.chunk, chars_at).ok_or(NoPlan::Inexpressible)?);
        let text =
            self.chunk.get(chars_at + 2..chars_at + 2 + chars * 2).ok_or(NoPlan::Inexpressible)?;
        let inline = offset == self.at;
        if self.form == ElementEncoding::Definition {
            let at = self.at - self.base - 4;
            self.names.push(NameRef { at, inline, text: text.into() });
        }
        if inline {
            self.skip(8 + chars * 2 + 2)?;
        }
        Ok(text)
    }

    fn peek(&self) -> Result<u8, NoPlan> {
        self.window(1).map(|bytes| bytes[0])
    }

    fn u8(&mut self) -> Result<u8, NoPlan> {
        let value = self.peek()?;
        self.at += 1;
        Ok(value)
    }

    fn u16(&mut self) -> Result<u16, NoPlan> {
        let value = read_u16(self.window(2)?, 0).ok_or(NoPlan::Inexpressible)?;
        self.at += 2;
        Ok(value)
    }

    fn u32(&mut self) -> Result<u32, NoPlan> {
        let value = read_u32(self.window(4)?, 0).ok_or(NoPlan::Inexpressible)?;
        self.at += 4;
        Ok(value)
    }

    fn skip(&mut self, len: usize) -> Result<(), NoPlan> {
        self.window(len)?;
        self.at += len;
        Ok(())
    }

    /// The next bytes of the definition.
    fn window(&self, len: usize) -> Result<&'c [u8], NoPlan> {
        let end =
            self.at.checked_add(len).filter(|&end| end <= self.end).ok_or(NoPlan::Inexpressible)?;
        self.chunk.get(self.at..end).ok_or(NoPlan::Inexpressible)
    }
}

fn role_of(parent: Option<ElementRole>, name: &[u8]) -> Result<ElementRole, NoPlan> {
    let Some(parent) = parent else {
        return if is(name, "Event") { Ok(ElementRole::Event) } else { Err(NoPlan::Inexpressible) };
    };
    let known: &[(&str, ElementRole)] = match parent {
        ElementRole::Event => &[
            ("System", ElementRole::System),
            ("EventData", ElementRole::EventData),
            ("UserData", ElementRole::UserData),
            ("DebugData", ElementRole::UserData),
            ("ProcessingErrorData", ElementRole::UserData),
            ("RenderingInfo", ElementRole::Rendering),
        ],
        ElementRole::System => &[
            ("Provider", ElementRole::Provider),
            ("EventID", ElementRole::EventId),
            ("Version", ElementRole::Version),
            ("Level", ElementRole::Level),
            ("TimeCreated", ElementRole::TimeCreated),
            ("EventRecordID", ElementRole::RecordId),
            ("Channel", ElementRole::Channel),
            ("Computer", ElementRole::Computer),
            ("Security", ElementRole::Security),
        ],
        ElementRole::EventData => &[("Binary", ElementRole::Binary)],
        ElementRole::Rendering => &[("Message", ElementRole::Message)],
        ElementRole::Data
        | ElementRole::DataString
        | ElementRole::UserData
        | ElementRole::Provider
        | ElementRole::EventId
        | ElementRole::Version
        | ElementRole::Level
        | ElementRole::TimeCreated
        | ElementRole::RecordId
        | ElementRole::Channel
        | ElementRole::Computer
        | ElementRole::Security
        | ElementRole::Binary
        | ElementRole::Message
        | ElementRole::Other => &[],
    };
    let found = known.iter().find(|(text, _)| is(name, text)).map(|(_, role)| *role);
    Ok(found.unwrap_or(match parent {
        ElementRole::EventData => ElementRole::Data,
        ElementRole::Data => ElementRole::DataString,
        ElementRole::UserData => ElementRole::UserData,
        _ => ElementRole::Other,
    }))
}

/// Element and attribute names of events are ASCII and written in one way.
fn is(name: &[u8], text: &str) -> bool {
    utf16_eq_ascii(name, text)
}

fn append(from: &mut ValueSource, more: ValueSource) {
    *from = match (std::mem::take(from), more) {
        (ValueSource::Nowhere, more) => more,
        _ => ValueSource::Mixed,
    };
}

pub fn read_u16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|bytes| u16::from_le_bytes(*bytes))
}

pub fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

pub fn read_u64(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}

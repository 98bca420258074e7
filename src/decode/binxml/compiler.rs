//! The walk through a definition or record that fills a plan.

use super::definition::NameRef;
use super::{
    InstanceParent, Item, ItemName, NoPlan, Plan, ValueSource, read_u16, read_u32, text_at,
    value_type,
};
use crate::record::{FieldId, Wanted, utf16_eq_ascii, utf16_text};

/// Deepest nesting of elements in a definition; Windows writes about 6.
const DEPTH_MAX: usize = 32;

/// Longest field name that is looked up without an allocation.
const FIELD_NAME_BYTES_MAX: usize = 128;

/// Most data items that one definition may name; Windows' largest have about 90.
const ITEMS_MAX: usize = 1024;

/// How elements are encoded.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ElementEncoding {
    /// In a template definition, each with a dependency id.
    Definition,
    /// In the record itself, without dependency ids.
    Inline,
}

pub(super) struct Compiler<'c> {
    pub(super) chunk: &'c [u8],
    /// The offset that offsets of texts count from.
    pub(super) base: usize,
    pub(super) at: usize,
    pub(super) end: usize,
    pub(super) form: ElementEncoding,
    pub(super) wanted: &'c Wanted,
    pub(super) plan: &'c mut Plan,
    pub(super) names: &'c mut Vec<NameRef>,
    pub(super) keep: &'c mut dyn FnMut(&Plan) -> bool,
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

impl<'c> Compiler<'c> {
    pub(super) fn root(&mut self, place: InstanceParent) -> Result<(), NoPlan> {
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

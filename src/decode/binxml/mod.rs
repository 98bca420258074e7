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

mod compiler;
mod definition;
mod plan;

use crate::record::{Wanted, utf16_text};
use compiler::{Compiler, ElementEncoding};
pub use definition::Definition;
pub use plan::{InstanceParent, Item, ItemName, NoPlan, Plan, ValueSource, text_at};

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

pub fn read_u16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|bytes| u16::from_le_bytes(*bytes))
}

pub fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

pub fn read_u64(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}

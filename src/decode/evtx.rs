//! The fast path for EVTX: walks chunks, and reads only the wanted values of wanted records.
//!
//! ```text
//! file    │ header 4 KiB │ chunk 64 KiB │ chunk │ …
//! chunk   │ header 512 B │ record │ record │ … │ free space │
//! record  │ 2a2a0000 │ size u32 │ id u64 │ FILETIME │ BinXML … │ size u32 │
//! BinXML  │ 0f 01 01 00 │ 0c 01 │ template id u32 │ definition offset u32 │
//!         │ [definition] │ count u32 │ (size u16, type u8, 0)* │ values … │
//! ```
//!
//! The [`Plan`](super::binxml::Plan) of a record's template names the value that holds the event
//! id. When the event is not wanted, that one load is all; otherwise the wanted values are read in
//! place, borrowed from the chunk. Records that a plan cannot express are collected and decoded by
//! the [`oracle`](super::oracle).
//!
//! The walk finds the same records as the `evtx` crate: from the header to the free space or to the
//! chunk's last record, continuing after damage at the next record that belongs to the chunk.
//!
//! | module | holds |
//! |---|---|
//! | `decoder` | [`ChunkDecoder`]: chunks to records |
//! | `chunk` | headers, checksums, and the next record after damage |
//! | `instance` | template instances: their plans and values |

use std::borrow::Cow;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::binxml;
use super::binxml::{
    Definition, InstanceParent, ItemName, NoPlan, Plan, ValueSource, read_u32, read_u64, text_at,
    value_type,
};
use super::clock::parse_time;
use super::field_plan::FieldPlan;
use super::{Emit, Tally, oracle};
use crate::record::{FieldId, Record, Value, Wanted, push_utf16};
use crate::reject::RejectReason;
use crate::sid::Sid;
use crate::time::EventTime;

/// Size of a chunk, whatever it holds.
pub const CHUNK_BYTES: usize = 64 * 1024;

const CHUNK_HEADER_BYTES: usize = 512;
const CHUNK_MAGIC: &[u8; 8] = b"ElfChnk\0";
const RECORD_MAGIC: [u8; 4] = [0x2a, 0x2a, 0, 0];
const RECORD_HEADER_BYTES: usize = 24;
/// The header and the copy of the size at the end.
const RECORD_BYTES_MIN: usize = RECORD_HEADER_BYTES + 4;
/// Chunk flag: the checksums are not maintained.
const FLAG_NO_CRC32: u32 = 0x4;

/// Most bytes of template definitions that are compiled per chunk. A chunk contains its
/// definitions, so more than this means many references to the same bytes.
const DEFINITION_BYTES_MAX: usize = 4 * CHUNK_BYTES;

/// Most definitions kept from chunk to chunk, a few kilobytes each. When there are more, all are
/// evicted.
const DEFINITIONS_KEPT_MAX: usize = 2048;

/// Most variants kept of one definition; they differ in which names are inline.
const VARIANTS_KEPT_MAX: usize = 4;

/// Deepest nesting of instances: record, event data, and one more.
const INSTANCES_DEEP_MAX: usize = 4;

/// Decodes chunks for one worker.
#[derive(Debug)]
pub struct ChunkDecoder {
    wanted: Arc<Wanted>,
    /// For the slow path.
    fields: FieldPlan,
    /// Whether any field can make a record wanted that no rule matches.
    any_carries_fact: bool,
    special: SpecialFields,
    plans: Plans,
    /// Instances of the current record: its own and those nested in it.
    instances: Vec<Instance>,
    /// Offsets of the records that take the slow path.
    slow: Vec<u64>,
}

/// Fields that are not data items (see [`Wanted`]).
#[derive(Debug)]
struct SpecialFields {
    count: Option<FieldId>,
    binary: Option<FieldId>,
    level: Option<FieldId>,
    version: Option<FieldId>,
    user: Option<FieldId>,
    message: Option<FieldId>,
    culture: Option<FieldId>,
}

/// The templates of the current chunk, and definitions kept from earlier ones.
#[derive(Debug, Default)]
struct Plans {
    by_offset: FxHashMap<(u32, InstanceParent), usize>,
    plans: Vec<Result<Arc<Definition>, NoPlan>>,
    /// Definitions of earlier chunks, by GUID, size and parent.
    known: FxHashMap<([u8; 16], u32, InstanceParent), Vec<Arc<Definition>>>,
    known_count: usize,
    /// The plan of a record without a template.
    inline: Plan,
    definition_bytes: usize,
}

/// One template instance: its plan, and where its values are in the chunk.
#[derive(Clone, Copy, Debug, Default)]
struct Instance {
    plan: usize,
    /// The offset that the texts of the plan count from.
    base: usize,
    descriptors_at: usize,
    count: usize,
    values_at: usize,
    end: usize,
    /// How many of the parent's items come before it, and the index of the parent.
    after_items: usize,
    parent: usize,
}

/// The fast path cannot decide; the record goes to the slow path.
#[derive(Debug)]
struct Slow;

/// Stands for the record's own plan where an index into [`Plans`] is expected.
const INLINE: usize = usize::MAX;

#[derive(Clone, Copy)]
struct ChunkHeader {
    first_id: u64,
    last_id: u64,
    last_record_at: usize,
    live_end: usize,
}

struct RecordHeader {
    size: usize,
    id: u64,
}

#[derive(PartialEq)]
enum Damage {
    /// Zeros, or the end of the chunk: nothing was written here.
    Blank,
    Broken,
}

impl ChunkDecoder {
    pub fn new(wanted: Arc<Wanted>) -> ChunkDecoder {
        let special = SpecialFields {
            count: wanted.field("#count"),
            binary: wanted.field("#binary"),
            level: wanted.field("#level"),
            version: wanted.field("#version"),
            user: wanted.field("#user"),
            message: wanted.field("#message"),
            culture: wanted.field("#culture"),
        };
        let any_carries_fact = wanted.fact_field_names().next().is_some();
        ChunkDecoder {
            fields: FieldPlan::new(Arc::clone(&wanted)),
            wanted,
            any_carries_fact,
            special,
            plans: Plans::default(),
            instances: Vec::new(),
            slow: Vec::new(),
        }
    }

    /// Decodes the chunks of a segment: whole chunks, of which the last may be cut off.
    /// `first_chunk` is the number of the first, for the samples in the tally.
    pub fn decode(
        &mut self,
        segment: &[u8],
        first_chunk: u64,
        tally: &mut Tally,
        emit: &mut Emit<'_>,
    ) {
        self.segment(segment, first_chunk, None, tally, emit);
    }

    /// As [`ChunkDecoder::decode`], but skips the records whose header has an id of `after_record`
    /// or below: they are neither read nor counted.
    pub fn decode_after(
        &mut self,
        segment: &[u8],
        first_chunk: u64,
        after_record: u64,
        tally: &mut Tally,
        emit: &mut Emit<'_>,
    ) {
        self.segment(segment, first_chunk, Some(after_record), tally, emit);
    }

    fn segment(
        &mut self,
        segment: &[u8],
        first_chunk: u64,
        after: Option<u64>,
        tally: &mut Tally,
        emit: &mut Emit<'_>,
    ) {
        tally.bytes += segment.len() as u64;
        for (index, chunk) in segment.chunks(CHUNK_BYTES).enumerate() {
            self.chunk(chunk, first_chunk.saturating_add(index as u64), after, tally, emit);
        }
    }

    fn chunk(
        &mut self,
        chunk: &[u8],
        number: u64,
        after: Option<u64>,
        tally: &mut Tally,
        emit: &mut Emit<'_>,
    ) {
        if chunk.len() < CHUNK_HEADER_BYTES || !chunk.starts_with(CHUNK_MAGIC) {
            // Files are allocated in advance: chunks of zeros were never written.
            if chunk.iter().any(|&byte| byte != 0) {
                let (reason, what) = if chunk.len() < CHUNK_BYTES {
                    (RejectReason::ChunkTruncated, "ends within the chunk")
                } else {
                    (RejectReason::ChunkHeader, "does not start with `ElfChnk`")
                };
                tally.skip(reason, || format!("chunk {number} {what}"));
                tally.keep_reject(|| chunk.to_vec());
            }
            return;
        }
        if chunk.len() < CHUNK_BYTES {
            tally.skip(RejectReason::ChunkTruncated, || {
                format!("chunk {number} has {} of {CHUNK_BYTES} bytes", chunk.len())
            });
            tally.keep_reject(|| chunk.to_vec());
        }
        tally.chunks += 1;
        if let Err(what) = verify_checksums(chunk) {
            tally.skip(RejectReason::ChunkChecksum, || {
                format!("chunk {number}: the checksum of its {what} is wrong; records are read all the same")
            });
            tally.keep_reject(|| chunk.to_vec());
        }
        self.plans.clear();
        self.slow.clear();
        self.walk(chunk, number, after, tally, emit);
        tally.slow_records += self.slow.len() as u64;
        if !self.slow.is_empty() {
            oracle::decode_records(chunk, number, &self.slow, &self.fields, tally, emit);
        }
    }

    fn walk(
        &mut self,
        chunk: &[u8],
        number: u64,
        after: Option<u64>,
        tally: &mut Tally,
        emit: &mut Emit<'_>,
    ) {
        // One record's memory serves the whole chunk.
        let mut record = Record::default();
        let field = |at| read_u64(chunk, at).unwrap_or_default();
        let offset = |at| read_u32(chunk, at).unwrap_or_default() as usize;
        let header = ChunkHeader {
            first_id: field(24),
            last_id: field(32),
            last_record_at: offset(44),
            live_end: offset(48).min(chunk.len()),
        };
        let mut at = CHUNK_HEADER_BYTES;
        while at < header.live_end {
            match record_header(chunk, at) {
                Ok(found) => {
                    if after.is_none_or(|after| found.id > after) {
                        tally.records += 1;
                        match self.record(chunk, at, found.size, &mut record) {
                            Ok(RecordOutcome::Wanted) => emit(&record),
                            Ok(RecordOutcome::Unwanted) => {}
                            Err(Slow) => self.slow.push(at as u64),
                        }
                    }
                    if found.id == header.last_id {
                        return;
                    }
                    at += found.size;
                }
                Err(damage) => {
                    let next = next_live_record(chunk, at + 1, header);
                    if next.is_some() || damage == Damage::Broken {
                        tally.skip(RejectReason::RecordHeader, || {
                            format!("chunk {number}, offset {at}: no record starts here")
                        });
                        let end = next.unwrap_or(header.live_end).max(at);
                        tally.keep_reject(|| chunk[at..end].to_vec());
                    }
                    let Some(next) = next else { return };
                    at = next;
                }
            }
        }
    }

    /// Decodes one record, reading only as much as it takes to see that it is not wanted.
    fn record<'c>(
        &mut self,
        chunk: &'c [u8],
        at: usize,
        size: usize,
        record: &mut Record<'c>,
    ) -> Result<RecordOutcome, Slow> {
        let end = at + size - 4;
        let start = at + RECORD_HEADER_BYTES;
        self.instances.clear();
        match chunk[start..end] {
            [0x0f, _, _, _, 0x0c, ..] => {
                let outer = self.plans.instance(
                    chunk,
                    start + 5,
                    end,
                    InstanceParent::Record,
                    &self.wanted,
                )?;
                self.instances.push(outer);
            }
            [0x0f, _, _, _, 0x01 | 0x41, ..] => return self.inline(chunk, start, end, record),
            _ => return Err(Slow),
        }
        let outer = self.instances[0];
        let plan = self.plans.get(outer.plan)?;
        let event_id = event_id(chunk, plan, outer)?;
        let source = wanted_source(chunk, plan, outer, event_id, &self.wanted)?;
        if source == MatchedName::Neither && !self.any_carries_fact {
            return Ok(RecordOutcome::Unwanted);
        }
        // All nested templates are resolved before values are read.
        let mut next = 0;
        while next < self.instances.len() {
            self.nested(chunk, next)?;
            next += 1;
        }
        if source == MatchedName::Neither && !self.carries_fact(chunk) {
            return Ok(RecordOutcome::Unwanted);
        }
        self.read(chunk, event_id, source, record)
    }

    /// Decodes a record without a template, as collectors write forwarded events.
    fn inline<'c>(
        &mut self,
        chunk: &'c [u8],
        start: usize,
        end: usize,
        record: &mut Record<'c>,
    ) -> Result<RecordOutcome, Slow> {
        let own = Instance { plan: INLINE, end, ..Instance::default() };
        let mut found = Err(Slow);
        let keep = &mut |plan: &Plan| {
            found = event_id(chunk, plan, own)
                .and_then(|id| Ok((id, wanted_source(chunk, plan, own, id, &self.wanted)?)));
            self.any_carries_fact || !matches!(found, Ok((_, MatchedName::Neither)))
        };
        let inline = &mut self.plans.inline;
        match binxml::compile_inline(chunk, start, end, &self.wanted, inline, keep) {
            Ok(()) => {}
            Err(NoPlan::Unwanted) => return Ok(RecordOutcome::Unwanted),
            Err(NoPlan::Inexpressible) => return Err(Slow),
        }
        let (event_id, source) = found?;
        self.instances.push(own);
        if source == MatchedName::Neither && !self.carries_fact(chunk) {
            return Ok(RecordOutcome::Unwanted);
        }
        if !self.plans.inline.nested.is_empty() {
            return Err(Slow);
        }
        self.read(chunk, event_id, source, record)
    }

    /// Adds the instances that are values of the instance `parent`.
    fn nested(&mut self, chunk: &[u8], parent: usize) -> Result<(), Slow> {
        let instance = self.instances[parent];
        let nested = self.plans.get(instance.plan)?.nested.len();
        if nested == 0 {
            return Ok(());
        }
        if parent + 1 >= INSTANCES_DEEP_MAX || nested > INSTANCES_DEEP_MAX {
            return Err(Slow);
        }
        for index in 0..nested {
            let (slot, place, after_items) = self.plans.get(instance.plan)?.nested[index];
            let (kind, start, end) = instance.slot(chunk, slot)?;
            if kind == value_type::NULL || start == end {
                continue;
            }
            let bytes = &chunk[start..end];
            let within = match bytes {
                [0x0f, _, _, _, 0x0c, ..] => 5,
                [0x0c, ..] => 1,
                _ => return Err(Slow),
            };
            if kind != value_type::BINXML {
                return Err(Slow);
            }
            let mut found = self.plans.instance(chunk, start + within, end, place, &self.wanted)?;
            found.after_items = after_items;
            found.parent = parent;
            self.instances.push(found);
        }
        Ok(())
    }

    /// Whether a field that carries facts holds the SID of an account.
    fn carries_fact(&self, chunk: &[u8]) -> bool {
        self.instances.iter().any(|instance| {
            let Ok(plan) = self.plans.get(instance.plan) else { return false };
            plan.carries_fact
                && plan.items.iter().any(|item| match item.name {
                    ItemName::Field(field) if self.wanted.carries_fact(field) => {
                        match instance.value(chunk, &item.from) {
                            Ok(Value::Sid(bytes)) => Sid::is_account_bytes(bytes),
                            Ok(value) => value.as_sid().is_some_and(|sid| sid.is_account()),
                            Err(_) => false,
                        }
                    }
                    ItemName::Field(_) | ItemName::Position | ItemName::Unwanted => false,
                })
        })
    }

    /// Reads the wanted values; of a record that no rule matches, only the fields that facts are
    /// made of.
    fn read<'c>(
        &self,
        chunk: &'c [u8],
        event_id: u32,
        source: MatchedName,
        record: &mut Record<'c>,
    ) -> Result<RecordOutcome, Slow> {
        let outer = self.instances[0];
        let plan = self.plans.get(outer.plan)?;
        let provider = match source {
            MatchedName::Provider | MatchedName::Neither => outer.value(chunk, &plan.provider)?,
            MatchedName::Classic => outer.value(chunk, &plan.source_name)?,
        };
        record.time = match outer.value(chunk, &plan.time)? {
            Value::Time(time) => time,
            text => parse_time(&text.text()).ok_or(Slow)?,
        };
        record.record_id = outer.value(chunk, &plan.record_id)?.as_u64().ok_or(Slow)?;
        record.computer = outer.value(chunk, &plan.computer)?;
        record.channel = outer.value(chunk, &plan.channel)?;
        record.event_id = event_id;
        if provider.is_nothing() || record.computer.is_nothing() {
            return Err(Slow);
        }
        if !is_text(&record.provider, &provider) {
            set_text(&mut record.provider, &provider);
        }
        record.fields.clear();
        let matches_rule = source != MatchedName::Neither;
        let mut items = Items { positions: 0, count: 0, matches_rule };
        self.read_items(chunk, 0, &mut items, record)?;
        if matches_rule {
            for (field, from) in [
                (self.special.level, &plan.level),
                (self.special.version, &plan.version),
                (self.special.user, &plan.user),
            ] {
                if let Some(field) = field {
                    record.fields.push((field, outer.value(chunk, from)?));
                }
            }
            if let Some(field) = self.special.count {
                record.fields.push((field, Value::Unsigned(items.count)));
            }
        }
        Ok(RecordOutcome::Wanted)
    }

    /// Reads the items of one instance, and those of nested instances in document order.
    fn read_items<'c>(
        &self,
        chunk: &'c [u8],
        index: usize,
        items: &mut Items,
        record: &mut Record<'c>,
    ) -> Result<(), Slow> {
        let mut instance = Slots::new(self.instances[index]);
        let plan = self.plans.get(self.instances[index].plan)?;
        let mut nested = (index + 1..self.instances.len())
            .filter(|&child| self.instances[child].parent == index)
            .peekable();
        for (position, item) in plan.items.iter().enumerate() {
            while let Some(child) =
                nested.next_if(|&child| self.instances[child].after_items <= position)
            {
                self.read_items(chunk, child, items, record)?;
            }
            if let Some(slot) = item.unless_null
                && instance.slot(chunk, slot)?.0 == value_type::NULL
            {
                continue;
            }
            match item.name {
                ItemName::Unwanted => items.count += 1,
                ItemName::Field(field) => {
                    items.count += 1;
                    if items.matches_rule || self.wanted.reads_for_facts(field) {
                        record.fields.push((field, instance.value(chunk, &item.from)?));
                    }
                }
                ItemName::Position => {
                    self.read_unnamed(chunk, &mut instance, &item.from, items, record)?;
                }
            }
        }
        for child in nested {
            self.read_items(chunk, child, items, record)?;
        }
        if items.matches_rule {
            for (field, from) in [
                (self.special.binary, &plan.binary),
                (self.special.message, &plan.message),
                (self.special.culture, &plan.culture),
            ] {
                if let Some(field) = field
                    && *from != ValueSource::Nowhere
                {
                    record.fields.push((field, instance.value(chunk, from)?));
                }
            }
        }
        Ok(())
    }

    /// Reads a data item without a name. An array of strings counts as one item per string
    /// ([MS-EVEN6] 3.1.4.7.5).
    fn read_unnamed<'c>(
        &self,
        chunk: &'c [u8],
        instance: &mut Slots,
        from: &ValueSource,
        items: &mut Items,
        record: &mut Record<'c>,
    ) -> Result<(), Slow> {
        let matches_rule = items.matches_rule;
        let mut push = |value| {
            items.count += 1;
            items.positions += 1;
            if let Some(field) = self.wanted.position(items.positions)
                && (matches_rule || self.wanted.reads_for_facts(field))
            {
                record.fields.push((field, value));
            }
        };
        if let ValueSource::Slot(slot) = from {
            let (kind, start, end) = instance.slot(chunk, *slot)?;
            if kind == value_type::STRING_ARRAY && start < end {
                let mut rest = &chunk[start..end];
                while !rest.is_empty() {
                    let len = rest.as_chunks::<2>().0.iter().position(|unit| *unit == [0, 0]);
                    let len = len.ok_or(Slow)? * 2;
                    push(Value::Utf16(&rest[..len]));
                    rest = &rest[len + 2..];
                }
                return Ok(());
            }
            if kind == value_type::STRING_ARRAY {
                push(Value::Null);
                return Ok(());
            }
        }
        push(instance.value(chunk, from)?);
        Ok(())
    }
}

/// The result of decoding a record.
enum RecordOutcome {
    Wanted,
    Unwanted,
}

/// Whether a value spells this ASCII text; false may also mean that it is not ASCII.
fn is_text(text: &str, value: &Value<'_>) -> bool {
    let Value::Utf16(bytes) = value else { return false };
    bytes.len() == text.len() * 2
        && bytes
            .as_chunks::<2>()
            .0
            .iter()
            .zip(text.bytes())
            .all(|(unit, byte)| *unit == [byte, 0] && byte.is_ascii())
}

/// Replaces a text by a value's, reusing its memory.
fn set_text(text: &mut Cow<'_, str>, value: &Value<'_>) {
    let text = text.to_mut();
    text.clear();
    match value {
        Value::Utf16(bytes) => push_utf16(text, bytes),
        other => text.push_str(&other.text()),
    }
}

/// Reads an instance's values in order: the start of each is found from the previous one.
struct Slots {
    instance: Instance,
    next: usize,
    next_at: usize,
}

impl Slots {
    fn new(instance: Instance) -> Slots {
        Slots { instance, next: 0, next_at: instance.values_at }
    }

    fn slot(&mut self, chunk: &[u8], slot: u16) -> Result<(u8, usize, usize), Slow> {
        let slot = usize::from(slot);
        if slot >= self.instance.count {
            return Ok((value_type::NULL, self.instance.values_at, self.instance.values_at));
        }
        if slot < self.next {
            *self = Slots::new(self.instance);
        }
        let descriptors_at = self.instance.descriptors_at;
        let descriptors = &chunk[descriptors_at + self.next * 4..descriptors_at + slot * 4 + 4];
        let (descriptors, _) = descriptors.as_chunks::<4>();
        for descriptor in descriptors {
            let start = self.next_at;
            let end = start + usize::from(u16::from_le_bytes([descriptor[0], descriptor[1]]));
            if self.next == slot {
                return if end > self.instance.end {
                    Err(Slow)
                } else {
                    Ok((descriptor[2], start, end))
                };
            }
            self.next += 1;
            self.next_at = end;
        }
        Err(Slow)
    }

    fn value<'r>(&mut self, chunk: &'r [u8], from: &ValueSource) -> Result<Value<'r>, Slow> {
        match from {
            ValueSource::Slot(slot) => {
                let (kind, start, end) = self.slot(chunk, *slot)?;
                value(kind, &chunk[start..end])
            }
            other => self.instance.value(chunk, other),
        }
    }
}

fn event_id(chunk: &[u8], plan: &Plan, outer: Instance) -> Result<u32, Slow> {
    let id = outer.value(chunk, &plan.event_id)?.as_u64().ok_or(Slow)?;
    u32::try_from(id).map_err(|_| Slow)
}

/// The name under which a rule matches the event.
fn wanted_source(
    chunk: &[u8],
    plan: &Plan,
    outer: Instance,
    event_id: u32,
    wanted: &Wanted,
) -> Result<MatchedName, Slow> {
    if !wanted.wants_id(event_id) {
        return Ok(MatchedName::Neither);
    }
    if let Some(ids) = &plan.wanted_ids
        && ids.binary_search(&event_id).is_err()
    {
        return Ok(MatchedName::Neither);
    }
    for (from, source) in
        [(&plan.provider, MatchedName::Provider), (&plan.source_name, MatchedName::Classic)]
    {
        let wants = match outer.value(chunk, from)? {
            Value::Utf16(name) => wanted.wants_utf16(name, event_id),
            name => wanted.wants(&name.text(), event_id),
        };
        if wants {
            return Ok(source);
        }
    }
    Ok(MatchedName::Neither)
}

/// Which of an event's two names a rule matches.
#[derive(Clone, Copy, PartialEq)]
enum MatchedName {
    Neither,
    Provider,
    Classic,
}

struct Items {
    positions: usize,
    count: u64,
    /// Whether a rule matches the record; if not, it is read for its facts alone.
    matches_rule: bool,
}

impl Plans {
    fn clear(&mut self) {
        self.by_offset.clear();
        self.plans.clear();
        self.definition_bytes = 0;
    }

    fn get(&self, plan: usize) -> Result<&Plan, Slow> {
        if plan == INLINE {
            return Ok(&self.inline);
        }
        self.plans[plan].as_ref().map(|definition| &definition.plan).map_err(|_| Slow)
    }

    /// Reads the template instance at `at`, the offset after its token.
    fn instance(
        &mut self,
        chunk: &[u8],
        at: usize,
        end: usize,
        place: InstanceParent,
        wanted: &Wanted,
    ) -> Result<Instance, Slow> {
        let definition = read_u32(chunk, at + 5).ok_or(Slow)?;
        let mut at = at + 9;
        if definition as usize == at {
            let size = read_u32(chunk, at + binxml::DEFINITION_HEADER_BYTES - 4).ok_or(Slow)?;
            at = at
                .checked_add(binxml::DEFINITION_HEADER_BYTES)
                .and_then(|at| at.checked_add(size as usize))
                .ok_or(Slow)?;
        }
        let count = read_u32(chunk, at).ok_or(Slow)? as usize;
        let descriptors_at = at + 4;
        let values_at = count
            .checked_mul(4)
            .and_then(|len| len.checked_add(descriptors_at))
            .filter(|&values_at| values_at <= end)
            .ok_or(Slow)?;
        let plan = match self.by_offset.get(&(definition, place)) {
            Some(plan) => *plan,
            None => self.compile(chunk, definition, place, wanted),
        };
        Ok(Instance {
            plan,
            base: definition as usize + binxml::DEFINITION_HEADER_BYTES,
            descriptors_at,
            count,
            values_at,
            end,
            after_items: 0,
            parent: 0,
        })
    }

    /// Returns a definition kept from an earlier chunk, or compiles it.
    fn definition(
        &mut self,
        chunk: &[u8],
        offset: usize,
        size: u32,
        place: InstanceParent,
        wanted: &Wanted,
    ) -> Result<Arc<Definition>, NoPlan> {
        let guid = chunk.get(offset.saturating_add(4)..).and_then(|rest| rest.first_chunk::<16>());
        let key = (*guid.ok_or(NoPlan::Inexpressible)?, size, place);
        let start = offset + binxml::DEFINITION_HEADER_BYTES;
        if let Some(variants) = self.known.get(&key)
            && let Some(known) = variants.iter().find(|known| known.is_at(chunk, start))
        {
            return Ok(Arc::clone(known));
        }
        let definition = Arc::new(binxml::compile(chunk, offset, place, wanted)?);
        if self.known_count >= DEFINITIONS_KEPT_MAX {
            self.known.clear();
            self.known_count = 0;
        }
        let variants = self.known.entry(key).or_default();
        if variants.len() < VARIANTS_KEPT_MAX {
            variants.push(Arc::clone(&definition));
            self.known_count += 1;
        }
        Ok(definition)
    }

    fn compile(
        &mut self,
        chunk: &[u8],
        definition: u32,
        place: InstanceParent,
        wanted: &Wanted,
    ) -> usize {
        let offset = definition as usize;
        let size = read_u32(chunk, offset.saturating_add(binxml::DEFINITION_HEADER_BYTES - 4));
        self.definition_bytes = self.definition_bytes.saturating_add(size.unwrap_or(0) as usize);
        let plan = if self.definition_bytes <= DEFINITION_BYTES_MAX {
            self.definition(chunk, offset, size.unwrap_or(0), place, wanted)
        } else {
            Err(NoPlan::Inexpressible)
        };
        self.plans.push(plan);
        self.by_offset.insert((definition, place), self.plans.len() - 1);
        self.plans.len() - 1
    }
}

impl Instance {
    /// Type, start and end of a value. A slot past the last value is null, because templates of a
    /// newer build than the record's have more slots.
    fn slot(&self, chunk: &[u8], slot: u16) -> Result<(u8, usize, usize), Slow> {
        let slot = usize::from(slot);
        if slot >= self.count {
            return Ok((value_type::NULL, self.values_at, self.values_at));
        }
        let descriptors = &chunk[self.descriptors_at..self.descriptors_at + slot * 4 + 4];
        let (descriptors, _) = descriptors.as_chunks::<4>();
        let (before, own) = descriptors.split_at(slot);
        let size =
            |descriptor: &[u8; 4]| usize::from(u16::from_le_bytes([descriptor[0], descriptor[1]]));
        let start = self.values_at + before.iter().map(size).sum::<usize>();
        let end = start + size(&own[0]);
        if end > self.end { Err(Slow) } else { Ok((own[0][2], start, end)) }
    }

    fn value<'r>(&self, chunk: &'r [u8], from: &ValueSource) -> Result<Value<'r>, Slow> {
        match from {
            ValueSource::Nowhere => Ok(Value::Null),
            ValueSource::Text(range) => Ok(Value::Utf16(text_at(chunk, self.base, range))),
            ValueSource::Slot(slot) => {
                let (kind, start, end) = self.slot(chunk, *slot)?;
                value(kind, &chunk[start..end])
            }
            ValueSource::Mixed => Err(Slow),
        }
    }
}

/// A typed substitution value. Types that rules never read, and sizes that do not match their type,
/// are left to the slow path.
fn value(kind: u8, bytes: &[u8]) -> Result<Value<'_>, Slow> {
    let exact = |len: usize| if bytes.len() == len { Ok(()) } else { Err(Slow) };
    let unsigned = || {
        let mut wide = [0; 8];
        wide[..bytes.len()].copy_from_slice(bytes);
        u64::from_le_bytes(wide)
    };
    let sized = |len: usize| exact(len).map(|()| unsigned());
    Ok(match kind {
        value_type::NULL => Value::Null,
        value_type::STRING => Value::Utf16(bytes),
        value_type::ANSI_STRING => {
            let text = std::str::from_utf8(bytes).map_err(|_| Slow)?;
            if !text.is_ascii() || text.contains('\0') {
                return Err(Slow);
            }
            Value::Text(Cow::Borrowed(text))
        }
        value_type::INT8 => Value::Signed(i64::from(sized(1)? as i8)),
        value_type::UINT8 => Value::Unsigned(sized(1)?),
        value_type::INT16 => Value::Signed(i64::from(sized(2)? as i16)),
        value_type::UINT16 => Value::Unsigned(sized(2)?),
        value_type::INT32 => Value::Signed(i64::from(sized(4)? as i32)),
        value_type::UINT32 => Value::Unsigned(sized(4)?),
        value_type::INT64 => Value::Signed(sized(8)? as i64),
        value_type::UINT64 => Value::Unsigned(sized(8)?),
        value_type::BOOL => match sized(4)? {
            0 => Value::Bool(false),
            1 => Value::Bool(true),
            _ => return Err(Slow),
        },
        value_type::BINARY => Value::Binary(bytes),
        value_type::GUID => Value::Guid(*bytes.as_array().ok_or(Slow)?),
        value_type::SIZE_T if bytes.len() == 4 => Value::Hex(sized(4)?),
        value_type::SIZE_T => Value::Hex(sized(8)?),
        value_type::FILETIME => Value::Time(EventTime(sized(8)?)),
        value_type::SID => {
            Sid::from_bytes(bytes).ok_or(Slow)?;
            Value::Sid(bytes)
        }
        value_type::HEX32 => Value::Hex(sized(4)?),
        value_type::HEX64 => Value::Hex(sized(8)?),
        _ => return Err(Slow),
    })
}

fn record_header(chunk: &[u8], at: usize) -> Result<RecordHeader, Damage> {
    let Some(bytes) = chunk.get(at..at + RECORD_HEADER_BYTES) else { return Err(Damage::Blank) };
    if bytes[..4] == [0; 4] {
        return Err(Damage::Blank);
    }
    if bytes[..4] != RECORD_MAGIC {
        return Err(Damage::Broken);
    }
    let size = read_u32(bytes, 4).ok_or(Damage::Broken)? as usize;
    let fits = size >= RECORD_BYTES_MIN && at + size <= chunk.len();
    let id = read_u64(bytes, 8).ok_or(Damage::Broken)?;
    if fits { Ok(RecordHeader { size, id }) } else { Err(Damage::Broken) }
}

/// The next offset at which a complete record of this chunk starts: its size is repeated at its
/// end, it ends before the free space, and its id is in the chunk's range. Records of the chunk's
/// earlier use have other ids.
fn next_live_record(chunk: &[u8], from: usize, header: ChunkHeader) -> Option<usize> {
    let search_end = header.live_end.min(header.last_record_at.saturating_add(4));
    let mut from = from;
    loop {
        let window = chunk.get(from..search_end)?;
        let at = from + memchr::memmem::find(window, &RECORD_MAGIC)?;
        if let Ok(record) = record_header(chunk, at) {
            let end = at + record.size;
            let copy = read_u32(chunk, end - 4).map(|copy| copy as usize);
            let ids = header.first_id..=header.last_id;
            if end <= header.live_end && copy == Some(record.size) && ids.contains(&record.id) {
                return Some(at);
            }
        }
        from = at + 1;
    }
}

fn verify_checksums(chunk: &[u8]) -> Result<(), &'static str> {
    if read_u32(chunk, 120).is_some_and(|flags| flags & FLAG_NO_CRC32 != 0) {
        return Ok(());
    }
    let mut header = crc32fast::Hasher::new();
    header.update(&chunk[..120]);
    header.update(&chunk[128..CHUNK_HEADER_BYTES]);
    if read_u32(chunk, 124) != Some(header.finalize()) {
        return Err("header");
    }
    let free_space = read_u32(chunk, 48).unwrap_or_default() as usize;
    let records = chunk.get(CHUNK_HEADER_BYTES..free_space).ok_or("records")?;
    if read_u32(chunk, 52) != Some(crc32fast::hash(records)) {
        return Err("records");
    }
    Ok(())
}

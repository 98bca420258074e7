//! Chunks to records.

use std::borrow::Cow;
use std::sync::Arc;

use super::CHUNK_BYTES;
use super::chunk::{
    CHUNK_HEADER_BYTES, CHUNK_MAGIC, ChunkHeader, Damage, RECORD_HEADER_BYTES, next_live_record,
    record_header, verify_checksums,
};
use super::instance::{INLINE, Instance, Plans, Slots, Slow};
use crate::decode::binxml::{
    self, InstanceParent, ItemName, NoPlan, Plan, ValueSource, read_u32, read_u64, value_type,
};
use crate::decode::clock::parse_time;
use crate::decode::field_plan::FieldPlan;
use crate::decode::{Emit, Tally, oracle};
use crate::record::{FieldId, Record, Value, Wanted, push_utf16};
use crate::reject::RejectReason;
use crate::sid::Sid;

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

struct Items {
    positions: usize,
    count: u64,
    /// Whether a rule matches the record; if not, it is read for its facts alone.
    matches_rule: bool,
}

/// The result of decoding a record.
enum RecordOutcome {
    Wanted,
    Unwanted,
}

/// Which of an event's two names a rule matches.
#[derive(Clone, Copy, PartialEq)]
enum MatchedName {
    Neither,
    Provider,
    Classic,
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
                        tally.newest_written = tally.newest_written.max(Some(found.written));
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

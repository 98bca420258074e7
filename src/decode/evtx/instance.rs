//! Template instances: which plan reads one, and the values in it.

use std::borrow::Cow;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::CHUNK_BYTES;
use crate::decode::binxml::{
    self, Definition, InstanceParent, NoPlan, Plan, ValueSource, read_u32, text_at, value_type,
};
use crate::record::{Value, Wanted};
use crate::sid::Sid;
use crate::time::EventTime;

/// Most bytes of template definitions that are compiled per chunk. A chunk contains its
/// definitions, so more than this means many references to the same bytes.
const DEFINITION_BYTES_MAX: usize = 4 * CHUNK_BYTES;

/// Most definitions kept from chunk to chunk, a few kilobytes each. When there are more, all are
/// evicted.
const DEFINITIONS_KEPT_MAX: usize = 2048;

/// Most variants kept of one definition; they differ in which names are inline.
const VARIANTS_KEPT_MAX: usize = 4;

/// Stands for the record's own plan where an index into [`Plans`] is expected.
pub(super) const INLINE: usize = usize::MAX;

/// The templates of the current chunk, and definitions kept from earlier ones.
#[derive(Debug, Default)]
pub(super) struct Plans {
    pub(super) by_offset: FxHashMap<(u32, InstanceParent), usize>,
    pub(super) plans: Vec<Result<Arc<Definition>, NoPlan>>,
    /// Definitions of earlier chunks, by GUID, size and parent.
    pub(super) known: FxHashMap<([u8; 16], u32, InstanceParent), Vec<Arc<Definition>>>,
    pub(super) known_count: usize,
    /// The plan of a record without a template.
    pub(super) inline: Plan,
    pub(super) definition_bytes: usize,
}

/// One template instance: its plan, and where its values are in the chunk.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Instance {
    pub(super) plan: usize,
    /// The offset that the texts of the plan count from.
    pub(super) base: usize,
    pub(super) descriptors_at: usize,
    pub(super) count: usize,
    pub(super) values_at: usize,
    pub(super) end: usize,
    /// How many of the parent's items come before it, and the index of the parent.
    pub(super) after_items: usize,
    pub(super) parent: usize,
}

/// The fast path cannot decide; the record goes to the slow path.
#[derive(Debug)]
pub(super) struct Slow;

/// Reads an instance's values in order: the start of each is found from the previous one.
pub(super) struct Slots {
    instance: Instance,
    next: usize,
    next_at: usize,
}

impl Plans {
    pub(super) fn clear(&mut self) {
        self.by_offset.clear();
        self.plans.clear();
        self.definition_bytes = 0;
    }

    pub(super) fn get(&self, plan: usize) -> Result<&Plan, Slow> {
        if plan == INLINE {
            return Ok(&self.inline);
        }
        self.plans[plan].as_ref().map(|definition| &definition.plan).map_err(|_| Slow)
    }

    /// Reads the template instance at `at`, the offset after its token.
    pub(super) fn instance(
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
    pub(super) fn slot(&self, chunk: &[u8], slot: u16) -> Result<(u8, usize, usize), Slow> {
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

    pub(super) fn value<'r>(&self, chunk: &'r [u8], from: &ValueSource) -> Result<Value<'r>, Slow> {
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

impl Slots {
    pub(super) fn new(instance: Instance) -> Slots {
        Slots { instance, next: 0, next_at: instance.values_at }
    }

    pub(super) fn slot(&mut self, chunk: &[u8], slot: u16) -> Result<(u8, usize, usize), Slow> {
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

    pub(super) fn value<'r>(
        &mut self,
        chunk: &'r [u8],
        from: &ValueSource,
    ) -> Result<Value<'r>, Slow> {
        match from {
            ValueSource::Slot(slot) => {
                let (kind, start, end) = self.slot(chunk, *slot)?;
                value(kind, &chunk[start..end])
            }
            other => self.instance.value(chunk, other),
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

//! The wanted fields, as readers of text look them up.

use std::sync::Arc;

use crate::record::{FieldId, Wanted};

/// [`Wanted`] as an index of field names, for lookups while text is scanned.
#[derive(Debug)]
pub struct FieldPlan {
    pub(super) wanted: Arc<Wanted>,
    /// A hash table with open addressing; its size is a power of two and at least four times the
    /// number of names. It holds only configured names, so input cannot make its probe sequences
    /// long.
    slots: Box<[Option<PlannedField>]>,
    /// Whether any field can make a record wanted that no rule matches.
    pub(super) any_carries_fact: bool,
    pub(super) binary: Option<FieldId>,
    pub(super) count: Option<FieldId>,
    pub(super) level: Option<FieldId>,
    pub(super) version: Option<FieldId>,
    pub(super) user: Option<FieldId>,
    pub(super) message: Option<FieldId>,
    pub(super) culture: Option<FieldId>,
}

/// A wanted field, and for which records it is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct PlannedField {
    pub(super) field: FieldId,
    /// Whether it is also read of records that no rule matches.
    pub(super) read_for_facts: bool,
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

    pub(super) fn field(&self, name: &str) -> Option<PlannedField> {
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

/// Hashes length, first and last bytes: enough to distinguish field names.
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

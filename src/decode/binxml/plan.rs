//! Plans: how to read an instance of one template.

use std::ops::Range;

use crate::record::FieldId;

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

/// Why there is no plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPlan {
    /// It cannot be read, or contains something that a plan cannot express: a value made of several
    /// parts, a template within a leaf.
    Inexpressible,
    /// The record is not wanted.
    Unwanted,
}

impl Plan {
    /// Empties the plan but keeps its memory.
    pub(super) fn clear(&mut self) {
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

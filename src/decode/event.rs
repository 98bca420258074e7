//! One event as it was read from text, and the record that it becomes.

use std::borrow::Cow;

use super::field_plan::FieldPlan;
use crate::record::{FieldId, Record, Value};
use crate::reject::RejectReason;
use crate::time::EventTime;

/// Why an event was not decoded, and what was expected where.
pub type Fault = (RejectReason, String);

/// The system fields of an event, as text.
#[derive(Debug, Default)]
pub(super) struct System<'a> {
    pub provider: Option<Cow<'a, str>>,
    /// `EventSourceName`: the name of a classic source whose events have a manifest now.
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
    /// Whether the event's data need not be read: no rule matches, and no field could make the
    /// record wanted.
    pub(super) fn is_unwanted(&self, plan: &FieldPlan) -> bool {
        !plan.any_carries_fact
            && self.event_id.is_some()
            && !self.matches_rule(plan)
            && self.provider.is_some()
    }

    /// Whether a rule matches the provider (or classic source) and id.
    pub(super) fn matches_rule(&self, plan: &FieldPlan) -> bool {
        let wants = |name: &Option<Cow<'_, str>>, id: u32| {
            name.as_ref().is_some_and(|name| plan.wanted.wants(name, id))
        };
        self.event_id.is_some_and(|id| {
            plan.wanted.wants_id(id) && (wants(&self.provider, id) || wants(&self.source, id))
        })
    }
}

/// The wanted data of one event, and the number of its data items.
#[derive(Debug)]
pub(super) struct WantedData<'p, 'a> {
    pub(super) plan: &'p FieldPlan,
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

    /// For an event that no rule matches: reads only the fields that facts are made of.
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

    /// Whether the event has data items without a name.
    pub(super) fn has_unnamed(&self) -> bool {
        self.unnamed > 0
    }

    /// Adds the value of a known field.
    pub(super) fn read(&mut self, field: FieldId, value: Value<'a>) {
        self.carries_fact = self.carries_fact
            || self.plan.wanted.carries_fact(field)
                && value.as_sid().is_some_and(|sid| sid.is_account());
        self.push(field, value);
    }

    /// Counts a data item with a name, and reads it if its field is wanted. Names are compared as
    /// written: a name with escapes in it matches no field.
    pub(super) fn named(&mut self, name: &str, value: impl FnOnce() -> Value<'a>) {
        self.items += 1;
        if let Some(planned) = self.plan.field(name)
            && (planned.read_for_facts || !self.facts_only)
        {
            self.read(planned.field, value());
        }
    }

    /// Counts a data item without a name, and reads it if its position is wanted.
    pub(super) fn unnamed(&mut self, value: impl FnOnce() -> Value<'a>) {
        self.items += 1;
        self.position(value);
    }

    /// The next value by position, of an item that is already counted.
    pub(super) fn position(&mut self, value: impl FnOnce() -> Value<'a>) {
        self.unnamed += 1;
        if let Some(field) = self.plan.wanted.position(self.unnamed) {
            self.push(field, value());
        }
    }

    /// The `Binary` element, which is no data item.
    pub(super) fn binary(&mut self, value: impl FnOnce() -> Value<'a>) {
        if let Some(field) = self.plan.binary {
            self.push(field, value());
        }
    }
}

/// An event as read, before it is checked for completeness.
#[derive(Debug)]
pub(super) struct Parsed<'p, 'a> {
    pub system: System<'a>,
    pub data: WantedData<'p, 'a>,
}

impl<'a> Parsed<'_, 'a> {
    /// The record; `None` when no rule matches and it carries no fact. An error when a required
    /// system field is missing.
    pub(super) fn into_record(self, plan: &FieldPlan) -> Result<Option<Record<'a>>, Fault> {
        let Parsed { system, data } = self;
        let missing = |what: &str| (RejectReason::FieldsMissing, format!("expected {what}"));
        let event_id = system.event_id.ok_or_else(|| missing("an event id"))?;
        let is_present = |name: &Cow<'_, str>| !name.trim_ascii().is_empty();
        let wants = |name: &Option<Cow<'_, str>>| {
            name.as_ref().is_some_and(|name| plan.wanted.wants(name, event_id))
        };
        let provider = system.provider.filter(is_present);
        let source = system.source.filter(is_present);
        let (provider, matches_rule) = if wants(&provider) {
            (provider, true)
        } else if wants(&source) {
            (source, true)
        } else if data.carries_fact || (provider.is_none() && source.is_none()) {
            (provider.or(source), false)
        } else {
            return Ok(None);
        };
        let provider = provider.ok_or_else(|| missing("a provider"))?;
        let computer = system.computer.filter(is_present).ok_or_else(|| missing("a computer"))?;
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

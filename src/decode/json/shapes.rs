//! The shapes: where each has the system fields of its event, and its data.

use super::doc::Doc;
use super::keys::{Key, Keys};
use super::layout::Origins;
use super::tape::NodeKind;
use crate::decode::clock::parse_time;
use crate::decode::event::System;
use crate::decode::field_plan::FieldPlan;
use crate::decode::text::digits;

/// The system fields of an object's event, and where its data is.
pub(super) struct EventParts<'a> {
    pub(super) system: System<'a>,
    pub(super) origins: Origins,
    pub(super) sections: Sections,
}

#[derive(Default)]
pub(super) struct Sections {
    /// Strings with XML or JSON that may hold the data.
    pub(super) texts: [Option<u32>; 2],
    pub(super) event_data: Option<u32>,
    pub(super) user_data: Option<u32>,
    pub(super) inserts: Option<u32>,
    pub(super) data: DataLocation,
}

#[derive(Clone, Copy, Default)]
pub(super) enum DataLocation {
    #[default]
    None,
    Sections,
    /// Keys of the object itself.
    Flat(AccountKeys),
    /// `winlog.event_data.…` keys.
    Dotted,
}

/// What `AccountName`, `AccountType` and `Domain` of a flat object are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum AccountKeys {
    /// The event's own data.
    Data,
    /// NXLog's names for the `UserID`; it writes `AccountType` with them.
    System,
}

/// `keys` are those of the object that holds the event, `top` those of the whole.
pub(super) fn winlogbeat<'a>(
    doc: Doc<'a>,
    keys: &Keys,
    top: &Keys,
    plan: &FieldPlan,
) -> EventParts<'a> {
    let user = doc.child_of(keys.get(Key::User), "identifier");
    let created = doc.child_of(top.get(Key::Envelope), "created");
    let level = keys.get(Key::LevelValue).or_else(|| doc.child_of(top.get(Key::Log), "level"));
    let event_id = keys.get(Key::EventIdSnake).and_then(|node| doc.event_id(node));
    let times = [Key::TimeCreatedSnake, Key::Timestamp].map(|key| keys.get(key));
    let mut times = times.into_iter().chain([top.get(Key::AtTimestamp), created]).flatten();
    let records = [Key::RecordIdSnake, Key::RecordNumberSnake];
    let origins = Origins {
        event_id: keys.get(Key::EventIdSnake).map(|node| doc.text_of(node)),
        record_id: doc.first_node(keys, &records),
        time: times.clone().next(),
    };
    let system = System {
        provider: doc.first(keys, &[Key::ProviderNameSnake, Key::SourceNameSnake]),
        source: None,
        event_id,
        level: level.or(keys.get(Key::LevelLower)).and_then(|node| doc.level(node, plan, event_id)),
        version: keys.get(Key::VersionLower).and_then(|node| doc.scalar(node)),
        channel: doc.first(keys, &[Key::ChannelLower, Key::LogName]),
        computer: doc.first(keys, &[Key::ComputerName, Key::ComputerLower]),
        record_id: doc.record_id(keys, &records),
        time: times.find_map(|node| doc.time(node)),
        user: user.or(keys.get(Key::UserIdSnake)).and_then(|node| doc.scalar(node)),
        message: [top.get(Key::MessageLower), keys.get(Key::MessageLower)]
            .into_iter()
            .flatten()
            .find_map(|node| doc.message(node, plan, event_id)),
        culture: None,
    };
    let mut sections = Sections { data: DataLocation::Sections, ..Sections::default() };
    sections.event_data = keys.get(Key::EventDataSnake);
    sections.user_data = keys.get(Key::UserDataSnake);
    sections.inserts = keys.get(Key::StringInsertsSnake);
    EventParts { system, origins, sections }
}

/// The shape of the XML: `evtx_dump` and OpenWEC Json.
pub(super) fn rendered<'a>(doc: Doc<'a>, keys: &Keys, plan: &FieldPlan) -> EventParts<'a> {
    let inner = keys.get(Key::System).map(|node| doc.keys(node)).unwrap_or_default();
    let attribute_node = |element: Key, separate: Key, name: &str| {
        let element = inner.get(element);
        doc.child_of(element, name)
            .or_else(|| doc.child_of(doc.child_of(element, "#attributes"), name))
            .or_else(|| doc.child_of(inner.get(separate), name))
            .filter(|node| doc.is_scalar(*node))
    };
    let attribute = |element: Key, separate: Key, name: &str| {
        attribute_node(element, separate, name).and_then(|node| doc.scalar(node))
    };
    let text_node =
        |key: Key| inner.get(key).map(|node| doc.text_of(node)).filter(|node| doc.is_scalar(*node));
    let text = |key: Key| text_node(key).and_then(|node| doc.scalar(node));
    let time = attribute_node(Key::TimeCreated, Key::TimeCreatedAttributes, "SystemTime")
        .or_else(|| text_node(Key::TimeCreated));
    let origins = Origins {
        event_id: inner.get(Key::EventId).map(|node| doc.text_of(node)),
        record_id: text_node(Key::EventRecordId),
        time,
    };
    let provider = attribute(Key::Provider, Key::ProviderAttributes, "Name");
    let event_id = inner.get(Key::EventId).and_then(|node| doc.event_id(node));
    let rendering = keys.get(Key::RenderingInfo);
    let culture = doc.child_of(rendering, "Culture");
    let culture =
        culture.or_else(|| doc.child_of(doc.child_of(rendering, "#attributes"), "Culture"));
    let culture =
        culture.or_else(|| doc.child_of(keys.get(Key::RenderingInfoAttributes), "Culture"));
    let system = System {
        provider: provider.or_else(|| text(Key::Provider)),
        source: attribute(Key::Provider, Key::ProviderAttributes, "EventSourceName"),
        event_id,
        level: text(Key::Level),
        version: text(Key::Version),
        channel: text(Key::Channel),
        computer: text(Key::Computer),
        record_id: text(Key::EventRecordId).and_then(|text| digits(&text)),
        time: time.and_then(|node| doc.scalar(node)).and_then(|time| parse_time(&time)),
        user: attribute(Key::Security, Key::SecurityAttributes, "UserID")
            .or_else(|| text(Key::UserId)),
        message: doc
            .child_of(rendering, "Message")
            .and_then(|node| doc.message(node, plan, event_id)),
        culture: culture.and_then(|node| doc.scalar(node)),
    };
    let mut sections = Sections { data: DataLocation::Sections, ..Sections::default() };
    let section = |key: Key| keys.get(key).filter(|node| !doc.is_string(*node));
    sections.event_data = section(Key::EventData);
    sections.user_data = section(Key::UserData)
        .or_else(|| section(Key::ProcessingErrorData))
        .or_else(|| section(Key::DebugData));
    sections.texts = doc.data_texts(keys);
    EventParts { system, origins, sections }
}

/// NXLog, Fluent Bit, Sentinel and similar: everything at the top level.
pub(super) fn flat<'a>(doc: Doc<'a>, keys: &Keys, plan: &FieldPlan) -> EventParts<'a> {
    let times = [Key::EventTime, Key::TimeCreated, Key::TimeGenerated, Key::AtTimestamp];
    let level = keys.get(Key::Level).or_else(|| keys.get(Key::EventLevel));
    let event_id = keys.get(Key::EventId).and_then(|node| doc.event_id(node));
    let level = level.and_then(|node| doc.level(node, plan, event_id));
    let providers = [Key::SourceName, Key::ProviderName, Key::Provider, Key::EventSourceName];
    let records = [Key::RecordNumber, Key::EventRecordId, Key::EventRecordIdLower];
    let mut times = times.iter().filter_map(|key| keys.get(*key));
    let origins = Origins {
        event_id: keys.get(Key::EventId).map(|node| doc.text_of(node)),
        record_id: doc.first_node(keys, &records),
        time: times.clone().next(),
    };
    let system = System {
        provider: doc.first(keys, &providers),
        source: None,
        event_id,
        level: level.or_else(|| keys.get(Key::SeverityValue).and_then(|node| doc.severity(node))),
        version: keys.get(Key::Version).and_then(|node| doc.scalar(node)),
        channel: doc.first(keys, &[Key::Channel]),
        computer: doc.first(keys, &[Key::Hostname, Key::Computer]),
        record_id: doc.record_id(keys, &records),
        time: times.find_map(|node| doc.time(node)),
        user: doc.first(keys, &[Key::UserId, Key::SystemUserId]),
        message: keys.get(Key::MessageCapital).and_then(|node| doc.message(node, plan, event_id)),
        culture: None,
    };
    let mut sections = Sections { texts: doc.data_texts(keys), ..Sections::default() };
    let object = |key: Key| keys.get(key).filter(|node| doc.at(*node).kind == NodeKind::Object);
    sections.event_data = object(Key::EventData);
    sections.user_data = object(Key::UserData);
    sections.inserts = keys.get(Key::StringInserts);
    let has_sections = sections.event_data.is_some() || sections.user_data.is_some();
    sections.data = if has_sections || sections.inserts.is_some() {
        DataLocation::Sections
    } else if keys.get(Key::AccountType).is_some() && keys.get(Key::UserId).is_some() {
        DataLocation::Flat(AccountKeys::System)
    } else {
        DataLocation::Flat(AccountKeys::Data)
    };
    EventParts { system, origins, sections }
}

/// winlogbeat with its keys joined by dots; `keys`: those behind `winlog.`.
pub(super) fn dotted<'a>(
    doc: Doc<'a>,
    node: u32,
    keys: &Keys,
    top: &Keys,
    plan: &FieldPlan,
) -> EventParts<'a> {
    let mut read = winlogbeat(doc, keys, top, plan);
    let find = |name: &str| doc.child(node, name);
    read.system.user = find("winlog.user.identifier").and_then(|node| doc.scalar(node));
    read.system.level =
        find("log.level").and_then(|node| doc.level(node, plan, read.system.event_id));
    let nested = keys.get(Key::EventDataSnake).is_some() || keys.get(Key::UserDataSnake).is_some();
    if !nested {
        read.sections.data = DataLocation::Dotted;
    }
    read
}

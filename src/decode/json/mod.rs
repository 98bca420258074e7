//! Windows events as JSON objects, in the shapes that collectors write.
//!
//! | shape | told by | data |
//! |---|---|---|
//! | winlogbeat, Elastic Agent | `winlog` object, or `winlog.…` keys | `winlog.event_data`, `winlog.user_data` |
//! | Vector, old winlogbeat | `event_id` | `event_data`, `user_data`, else `string_inserts` |
//! | `evtx_dump`, either generation | `Event` object | `EventData`, `UserData` |
//! | OpenWEC Json | `System` object | `EventData`, `UserData` as XML text |
//! | OpenWEC Nxlog, NXLog, flat exports | `EventID` | every key that is not a system field |
//! | Fluent Bit winevtlog | `EventID`, `StringInserts` | by position; by name where the order is known |
//! | Sentinel WindowsEvent, SecurityEvent | `EventID` | `EventData` as object, JSON or XML text, else the columns |
//! | OpenWEC RawJson, Splunk, Fluent Bit as XML | text that starts with `<` | the XML |
//! | envelopes | array, `records`, `result`, `event`, `_source` | what is in them |
//!
//! The shape is told for each record, so a stream may mix them. An object is
//! cut into tokens once (a [`Tape`]), with the strings left where they stand;
//! values are read, and escapes resolved, only for what is wanted. Keys are
//! compared as they are written: one that is spelt with escapes is nobody's.

mod layout;

use std::borrow::Cow;

use memchr::{memchr, memchr2, memchr3};

use super::clock::{from_unix_seconds, parse_time};
use super::xml;
use super::xml::{Fault, FieldPlan, Parsed, System, WantedData, digits, excerpt, matches_of};
use super::{Emit, Tally};
use crate::record::Value;
use crate::reject::RejectReason;
use crate::time::EventTime;
use layout::Origins;
pub use layout::{Layout, Layouts};

/// Deepest nesting of objects and arrays that is read.
pub const DEPTH_MAX: usize = 64;

/// Most texts with JSON in them that are opened within one another.
const TEXT_DEPTH_MAX: u32 = 3;

const SHAPES: &str = "winlogbeat (`winlog`), Vector (`event_id`), evtx_dump (`Event`), OpenWEC \
    (`System`, or `data` with XML), NXLog, Fluent Bit and Sentinel (`EventID`), Splunk (`event` \
    or `_raw` with XML)";

/// Decodes one JSON text: an object with an event, a text with its XML, or an
/// envelope of several. Each event is counted in `tally`, as a record or with
/// the reason why it was skipped. Returns the layout of the text, if it has one
/// and `learning` is asked for.
pub fn decode_object(
    json: &str,
    plan: &FieldPlan,
    tape: &mut Tape,
    tally: &mut Tally,
    learning: Learning,
    emit: &mut Emit<'_>,
) -> Option<Layout> {
    let mut decoder = Decoder { plan, tally, emit, learning, layout: None };
    decoder.text(json, tape, 0);
    decoder.layout
}

/// Whether a layout is wanted, which takes time to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Learning {
    Yes,
    No,
}

struct Decoder<'d, 'e> {
    plan: &'d FieldPlan,
    tally: &'d mut Tally,
    emit: &'d mut Emit<'e>,
    learning: Learning,
    layout: Option<Layout>,
}

impl Decoder<'_, '_> {
    fn text(&mut self, json: &str, tape: &mut Tape, text_depth: u32) {
        if let Err(at) = tape.fill(json) {
            self.tally.skip(RejectReason::JsonMalformed, || {
                format!("expected JSON, broken at byte {at}: {}", excerpt(json))
            });
            return;
        }
        self.node(Doc { text: json, nodes: &tape.nodes }, 0, text_depth);
    }

    /// One event or envelope. Nesting is bounded by the tape's.
    fn node(&mut self, doc: Doc<'_>, node: u32, text_depth: u32) {
        match doc.at(node).kind {
            NodeKind::Array => doc.items(node).for_each(|item| self.node(doc, item, text_depth)),
            NodeKind::Object => self.object(doc, node, text_depth),
            NodeKind::Text | NodeKind::Escaped if doc.is_embedded_text(node) => {
                self.nested(doc, node, None, text_depth);
            }
            NodeKind::Text
            | NodeKind::Escaped
            | NodeKind::Number
            | NodeKind::True
            | NodeKind::False
            | NodeKind::Null => {
                self.count(Err((RejectReason::JsonShapeUnknown, unknown(doc, node))));
            }
        }
    }

    fn count(&mut self, outcome: Result<bool, Fault>) {
        match outcome {
            Ok(_) => self.tally.records += 1,
            Err((reason, sample)) => self.tally.skip(reason, || sample),
        }
    }

    fn object(&mut self, doc: Doc<'_>, node: u32, text_depth: u32) {
        let keys = doc.keys(node);
        let is = |key: Key, kind: NodeKind| keys.get(key).filter(|node| doc.at(*node).kind == kind);
        let nested = |key: Key| keys.get(key).filter(|node| doc.is_embedded_text(*node));
        let outcome = if let Some(winlog) = is(Key::Winlog, NodeKind::Object) {
            let inner = doc.keys(winlog);
            self.decode_event(doc, node, &keys, |plan| winlogbeat(doc, &inner, &keys, plan))
        } else if let Some(event) = is(Key::EventObject, NodeKind::Object) {
            let inner = doc.keys(event);
            self.decode_event(doc, node, &keys, |plan| rendered(doc, &inner, plan))
        } else if is(Key::System, NodeKind::Object).is_some() {
            self.decode_event(doc, node, &keys, |plan| rendered(doc, &keys, plan))
        } else if keys.get(Key::EventIdSnake).is_some() {
            self.decode_event(doc, node, &keys, |plan| winlogbeat(doc, &keys, &keys, plan))
        } else if let Some(xml) = nested(Key::System) {
            let message = keys.get(Key::MessageCapital).and_then(|node| doc.scalar(node));
            return self.nested(doc, xml, message, text_depth);
        } else if keys.get(Key::EventId).is_some() {
            self.decode_event(doc, node, &keys, |plan| flat(doc, &keys, plan))
        } else if let Some(text) =
            nested(Key::Data).or_else(|| nested(Key::Envelope)).or_else(|| nested(Key::Raw))
        {
            return self.nested(doc, text, None, text_depth);
        } else if keys.dotted {
            let inner = doc.dotted_keys(node);
            self.decode_event(doc, node, &keys, |plan| dotted(doc, node, &inner, &keys, plan))
        } else if let Some(inner) = is(Key::Records, NodeKind::Array)
            .or_else(|| is(Key::Result, NodeKind::Object))
            .or_else(|| is(Key::Envelope, NodeKind::Object))
            .or_else(|| is(Key::Source, NodeKind::Object))
        {
            return self.node(doc, inner, text_depth);
        } else if let Some(inner) =
            doc.entries(node).find(|(_, value)| doc.is_embedded_text(*value))
        {
            return self.nested(doc, inner.1, None, text_depth);
        } else {
            Err((RejectReason::JsonShapeUnknown, unknown(doc, node)))
        };
        self.count(outcome);
    }

    /// A text that holds event XML, or a JSON object.
    fn nested<'a>(
        &mut self,
        doc: Doc<'a>,
        node: u32,
        message: Option<Cow<'a, str>>,
        text_depth: u32,
    ) {
        let Some(text) = doc.string(node) else { return };
        if text.trim_start().starts_with('<') {
            let outcome = xml::decode_with_message(&text, message, self.plan, self.emit);
            self.count(outcome);
        } else if text_depth < TEXT_DEPTH_MAX {
            self.text(&text, &mut Tape::default(), text_depth + 1);
        } else {
            self.count(Err((RejectReason::JsonShapeUnknown, unknown(doc, node))));
        }
    }

    fn decode_event<'a>(
        &mut self,
        doc: Doc<'a>,
        node: u32,
        keys: &Keys,
        read: impl FnOnce(&FieldPlan) -> EventParts<'a>,
    ) -> Result<bool, Fault> {
        let EventParts { system, origins, sections } = read(self.plan);
        if system.is_unwanted(self.plan) {
            return Ok(false);
        }
        // What a text in the object says is owned here, so that the record
        // can borrow from it.
        let texts: Vec<Cow<'a, str>> =
            sections.texts.into_iter().flatten().filter_map(|n| doc.string(n)).collect();
        let mut tapes = Vec::new();
        for text in &texts {
            let mut tape = Tape::default();
            if text.trim_start().starts_with('{') {
                tape.fill(text).map_err(|at| {
                    let what =
                        format!("expected JSON data, broken at byte {at}: {}", excerpt(text));
                    (RejectReason::JsonMalformed, what)
                })?;
            }
            tapes.push(tape);
        }
        let matches_rule = system.matches_rule(self.plan);
        let mut data = match matches_rule {
            true => WantedData::new(self.plan),
            false => WantedData::for_facts(self.plan),
        };
        for (text, tape) in texts.iter().zip(&tapes) {
            if tape.nodes.is_empty() {
                xml::read_data(text, &mut data)?;
            } else {
                event_data(Doc { text, nodes: &tape.nodes }, 0, &mut data);
            }
        }
        // With dotted keys, what other texts hold decides before the keys do.
        let mut has_layout = node == 0 && !matches_rule && !keys.dotted;
        match sections.data {
            DataLocation::Flat(_) | DataLocation::Dotted if !texts.is_empty() => {}
            DataLocation::Sections if data.items() > 0 => {}
            DataLocation::None => {}
            DataLocation::Sections => {
                if let Some(node) = sections.event_data {
                    event_data(doc, node, &mut data);
                }
                if let Some(node) = sections.user_data {
                    leaves(doc, node, "", &mut data);
                }
                if data.items() == 0
                    && let Some(inserts) = sections.inserts
                {
                    string_inserts(doc, inserts, &system, &mut data);
                    has_layout = false;
                }
            }
            DataLocation::Flat(account) => flat_data(doc, node, &keys.others, account, &mut data),
            DataLocation::Dotted => dotted_data(doc, node, &mut data),
        }
        if has_layout && self.learning == Learning::Yes {
            self.layout = Layout::of(doc, origins, &system, &data);
        }
        let record = Parsed { system, data }
            .into_record(self.plan)
            .map_err(|(reason, what)| (reason, format!("{what}: {}", excerpt(doc.raw(node)))))?;
        if let Some(record) = &record {
            (self.emit)(record);
        }
        Ok(record.is_some())
    }
}

fn unknown(doc: Doc<'_>, node: u32) -> String {
    format!("expected one of {SHAPES}: {}", excerpt(doc.raw(node)))
}

/// What an object says of its event: the system fields, and where its data is.
struct EventParts<'a> {
    system: System<'a>,
    origins: Origins,
    sections: Sections,
}

#[derive(Default)]
struct Sections {
    /// Texts with XML or JSON that hold the data, if they hold any.
    texts: [Option<u32>; 2],
    event_data: Option<u32>,
    user_data: Option<u32>,
    inserts: Option<u32>,
    data: DataLocation,
}

#[derive(Clone, Copy, Default)]
enum DataLocation {
    #[default]
    None,
    Sections,
    /// Keys of the object itself.
    Flat(AccountKeys),
    /// `winlog.event_data.…` keys.
    Dotted,
}

/// What `AccountName` and `Domain` of a flat object are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum AccountKeys {
    /// The event's own data.
    Data,
    /// NXLog's names for the `UserID`; it writes `AccountType` with them.
    System,
}

/// `keys`: of the object that holds the event; `top`: of the whole.
fn winlogbeat<'a>(doc: Doc<'a>, keys: &Keys, top: &Keys, plan: &FieldPlan) -> EventParts<'a> {
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
fn rendered<'a>(doc: Doc<'a>, keys: &Keys, plan: &FieldPlan) -> EventParts<'a> {
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

/// NXLog, Fluent Bit, Sentinel and their like: everything at the top.
fn flat<'a>(doc: Doc<'a>, keys: &Keys, plan: &FieldPlan) -> EventParts<'a> {
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
fn dotted<'a>(
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

/// `EventData` of any shape.
fn event_data<'a>(doc: Doc<'a>, node: u32, data: &mut WantedData<'_, 'a>) {
    if doc.at(node).kind != NodeKind::Object {
        return;
    }
    for (name, value) in doc.entries(node) {
        event_item(doc, name, value, data);
    }
}

fn event_item<'a>(doc: Doc<'a>, name: &str, value: u32, data: &mut WantedData<'_, 'a>) {
    match name {
        "#attributes" | "#text" => {}
        "Binary" => {
            let value = doc.text_of(value);
            data.binary(|| doc.value(value));
        }
        "Data" => unnamed(doc, value, data),
        _ if name.ends_with("_attributes") => {}
        _ => match numbered(name) {
            // `evtx_dump` numbers what repeats; its first has no number.
            Some(("Data_", _)) => unnamed(doc, value, data),
            // winlogbeat numbers what has no name. Some events name their
            // data like that.
            Some(("param", _)) => {
                data.named(name, || doc.value(value));
                data.position(|| doc.value(value));
            }
            Some(_) | None => leaves(doc, value, name, data),
        },
    }
}

fn numbered(name: &str) -> Option<(&str, &str)> {
    let start = name.len() - name.bytes().rev().take_while(u8::is_ascii_digit).count();
    (start < name.len()).then(|| name.split_at(start))
}

/// One unnamed item, or an array of them.
fn unnamed<'a>(doc: Doc<'a>, node: u32, data: &mut WantedData<'_, 'a>) {
    let node = doc.text_of(node);
    if doc.at(node).kind == NodeKind::Array {
        doc.items(node).for_each(|item| unnamed(doc, item, data));
    } else {
        data.unnamed(|| doc.value(node));
    }
}

/// Every leaf below a node, named by the innermost key that names it.
fn leaves<'a>(doc: Doc<'a>, node: u32, name: &str, data: &mut WantedData<'_, 'a>) {
    match doc.at(node).kind {
        NodeKind::Array => doc.items(node).for_each(|item| leaves(doc, item, name, data)),
        NodeKind::Object => {
            let mut has_child = false;
            let mut text = None;
            for (key, value) in doc.entries(node) {
                match key {
                    // winlogbeat's name for the element in `UserData`.
                    "#attributes" | "xml_name" => {}
                    "#text" => text = Some(value),
                    _ if key.ends_with("_attributes") => {}
                    _ => {
                        has_child = true;
                        let key = key.rsplit_once(':').map_or(key, |(_, local)| local);
                        leaves(doc, value, key, data);
                    }
                }
            }
            match text {
                _ if has_child || name.is_empty() => {}
                Some(text) => leaves(doc, text, name, data),
                None => data.named(name, || Value::Null),
            }
        }
        NodeKind::Null | NodeKind::Text | NodeKind::Escaped if name.is_empty() => {}
        NodeKind::Text
        | NodeKind::Escaped
        | NodeKind::Number
        | NodeKind::True
        | NodeKind::False
        | NodeKind::Null => {
            data.named(name, || doc.value(node));
        }
    }
}

/// Data of a flat object: what is no system field, envelope or decoration.
fn flat_data<'a>(
    doc: Doc<'a>,
    node: u32,
    others: &Others,
    account: AccountKeys,
    data: &mut WantedData<'_, 'a>,
) {
    let mut item = |name: &'a str, value: u32| {
        let is_account = matches!(name, "AccountName" | "AccountType" | "Domain");
        let is_data = match account {
            AccountKeys::System => !is_account,
            AccountKeys::Data => true,
        };
        if is_data && !name.starts_with(['@', '_']) {
            event_item(doc, name, value, data);
        }
    };
    match others.values() {
        Some(values) => values.iter().for_each(|value| item(doc.key_of(*value), *value)),
        None => {
            let others = doc.entries(node).filter(|(name, _)| !key(name).is_some_and(Key::is_flat));
            others.for_each(|(name, value)| item(name, value));
        }
    }
}

/// The keys that are no data where data stands beside them.
const FLAT_KEYS: [Key; 28] = [
    Key::Ignored,
    Key::AtTimestamp,
    Key::Channel,
    Key::Computer,
    Key::EventData,
    Key::EventId,
    Key::EventLevel,
    Key::EventRecordId,
    Key::EventRecordIdLower,
    Key::EventSourceName,
    Key::EventTime,
    Key::Hostname,
    Key::Level,
    Key::MessageCapital,
    Key::MessageLower,
    Key::Provider,
    Key::ProviderName,
    Key::RawEventData,
    Key::RecordNumber,
    Key::SeverityValue,
    Key::SourceName,
    Key::StringInserts,
    Key::SystemUserId,
    Key::TimeCreated,
    Key::TimeGenerated,
    Key::UserData,
    Key::UserId,
    Key::Version,
];

fn dotted_data<'a>(doc: Doc<'a>, node: u32, data: &mut WantedData<'_, 'a>) {
    for (name, value) in doc.entries(node) {
        if let Some(name) = name.strip_prefix("winlog.event_data.") {
            event_item(doc, name, value, data);
        } else if let Some(path) = name.strip_prefix("winlog.user_data.")
            && path != "xml_name"
        {
            let name = path.rsplit_once('.').map_or(path, |(_, name)| name);
            leaves(doc, value, name, data);
        }
    }
}

/// Values by position; by name where the manifest's order is known.
fn string_inserts<'a>(doc: Doc<'a>, node: u32, system: &System<'a>, data: &mut WantedData<'_, 'a>) {
    if doc.at(node).kind != NodeKind::Array {
        return;
    }
    let security = system.provider.as_deref() == Some(SECURITY_AUDITING);
    let id = system.event_id.filter(|_| security);
    let names = id.and_then(|id| manifest_names(id, doc.items(node).count()));
    let mut names = names.into_iter().flatten();
    for item in doc.items(node) {
        match names.next() {
            Some(name) => data.named(name, || doc.value(item)),
            None => data.unnamed(|| doc.value(item)),
        }
    }
}

const SECURITY_AUDITING: &str = "Microsoft-Windows-Security-Auditing";

const SUBJECT: &[&str] =
    &["SubjectUserSid", "SubjectUserName", "SubjectDomainName", "SubjectLogonId"];
const TARGET: &[&str] = &["TargetUserSid", "TargetUserName", "TargetDomainName"];
const LOGON_4624: &[&str] = &[
    "TargetLogonId",
    "LogonType",
    "LogonProcessName",
    "AuthenticationPackageName",
    "WorkstationName",
    "LogonGuid",
    "TransmittedServices",
    "LmPackageName",
    "KeyLength",
    "ProcessId",
    "ProcessName",
    "IpAddress",
    "IpPort",
];
const LOGON_4625: &[&str] = &[
    "Status",
    "FailureReason",
    "SubStatus",
    "LogonType",
    "LogonProcessName",
    "AuthenticationPackageName",
    "WorkstationName",
    "TransmittedServices",
    "LmPackageName",
    "KeyLength",
    "ProcessId",
    "ProcessName",
    "IpAddress",
    "IpPort",
];
const OUTBOUND: &[&str] = &[
    "TargetOutboundUserName",
    "TargetOutboundDomainName",
    "VirtualAccount",
    "TargetLinkedLogonId",
    "ElevatedToken",
];
const TICKET_4768: &[&str] = &[
    "TargetUserName",
    "TargetDomainName",
    "TargetSid",
    "ServiceName",
    "ServiceSid",
    "TicketOptions",
    "Status",
    "TicketEncryptionType",
    "PreAuthType",
    "IpAddress",
    "IpPort",
    "CertIssuerName",
    "CertSerialNumber",
    "CertThumbprint",
];
const TICKET_4769: &[&str] = &[
    "TargetUserName",
    "TargetDomainName",
    "ServiceName",
    "ServiceSid",
    "TicketOptions",
    "TicketEncryptionType",
    "IpAddress",
    "IpPort",
    "Status",
    "LogonGuid",
    "TransmittedServices",
];
const ENCRYPTION: &[&str] = &[
    "AccountSupportedEncryptionTypes",
    "AccountAvailableKeys",
    "ServiceSupportedEncryptionTypes",
    "ServiceAvailableKeys",
    "DCSupportedEncryptionTypes",
    "DCAvailableKeys",
    "ClientAdvertizedEncryptionTypes",
    "SessionKeyEncryptionType",
];
const HASHES: &[&str] = &["RequestTicketHash", "ResponseTicketHash"];
const PRE_AUTH_4771: &[&str] = &[
    "TargetUserName",
    "TargetSid",
    "ServiceName",
    "TicketOptions",
    "Status",
    "PreAuthType",
    "IpAddress",
    "IpPort",
    "CertIssuerName",
    "CertSerialNumber",
    "CertThumbprint",
];

/// Ids of the Security events for which [`manifest_names`] knows an order.
pub(super) const MANIFEST_IDS: [u32; 6] = [4624, 4625, 4768, 4769, 4771, 4776];

/// The data names of a Security event in the order of its manifest; the
/// number of items tells the version. `None` when either is unknown.
pub(super) fn manifest_names(id: u32, items: usize) -> Option<impl Iterator<Item = &'static str>> {
    let parts: &[&[&str]] = match (id, items) {
        (4624, 20) => &[SUBJECT, TARGET, LOGON_4624],
        (4624, 21) => &[SUBJECT, TARGET, LOGON_4624, &["ImpersonationLevel"]],
        (4624, 27) => {
            &[SUBJECT, TARGET, LOGON_4624, &["ImpersonationLevel", "RestrictedAdminMode"], OUTBOUND]
        }
        (4624, 28) => &[
            SUBJECT,
            TARGET,
            LOGON_4624,
            &["ImpersonationLevel", "RestrictedAdminMode", "RemoteCredentialGuard"],
            OUTBOUND,
        ],
        (4625, 21) => &[SUBJECT, TARGET, LOGON_4625],
        (4768, 14) => &[TICKET_4768],
        (4768, 15) => &[TICKET_4768, &["ResponseTicket"]],
        (4768, 24) => &[TICKET_4768, &["ResponseTicket"], ENCRYPTION, &["PreAuthEncryptionType"]],
        (4769, 11) => &[TICKET_4769],
        (4769, 13) => &[TICKET_4769, HASHES],
        (4769, 21) => &[TICKET_4769, HASHES, ENCRYPTION],
        (4771, 11) => &[PRE_AUTH_4771],
        (4776, 4) => &[&["PackageName", "TargetUserName", "Workstation", "Status"]],
        _ => return None,
    };
    Some(parts.iter().flat_map(|part| part.iter().copied()))
}

/// Keys that shapes are told by or system fields stand under. Where two
/// spellings differ in case alone, both are here: shapes differ in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    /// In no shape anything that is read, and never data.
    Ignored,
    AccountName,
    AccountType,
    AtTimestamp,
    Channel,
    ChannelLower,
    Computer,
    ComputerLower,
    ComputerName,
    Data,
    DebugData,
    Domain,
    Envelope,
    EventData,
    EventDataSnake,
    EventId,
    EventIdSnake,
    EventLevel,
    EventObject,
    EventRecordId,
    EventRecordIdLower,
    EventSourceName,
    EventTime,
    Hostname,
    Level,
    LevelLower,
    LevelValue,
    Log,
    LogName,
    MessageCapital,
    MessageLower,
    ProcessingErrorData,
    Provider,
    ProviderAttributes,
    ProviderName,
    ProviderNameSnake,
    Raw,
    RawEventData,
    RecordIdSnake,
    RecordNumber,
    RecordNumberSnake,
    Records,
    RenderingInfo,
    RenderingInfoAttributes,
    Result,
    Security,
    SecurityAttributes,
    SeverityValue,
    Source,
    SourceName,
    SourceNameSnake,
    StringInserts,
    StringInsertsSnake,
    System,
    SystemUserId,
    TimeCreated,
    TimeCreatedAttributes,
    TimeCreatedSnake,
    TimeGenerated,
    Timestamp,
    User,
    UserData,
    UserDataSnake,
    UserId,
    UserIdSnake,
    Version,
    VersionLower,
    Winlog,
}

const KEYS: usize = Key::Winlog as usize + 1;

impl Key {
    /// Whether it is no data in a flat object.
    fn is_flat(self) -> bool {
        const FLAT: [bool; KEYS] = {
            let mut flat = [false; KEYS];
            let mut index = 0;
            while index < FLAT_KEYS.len() {
                flat[FLAT_KEYS[index] as usize] = true;
                index += 1;
            }
            flat
        };
        FLAT[self as usize]
    }
}

fn key(name: &str) -> Option<Key> {
    // Byte strings: matched as a tree of length and bytes, not one by one.
    Some(match name.as_bytes() {
        b"AccountName" => Key::AccountName,
        b"AccountType" => Key::AccountType,
        b"@timestamp" => Key::AtTimestamp,
        b"Channel" => Key::Channel,
        b"channel" => Key::ChannelLower,
        b"Computer" => Key::Computer,
        b"computer" => Key::ComputerLower,
        b"computer_name" => Key::ComputerName,
        b"Data" | b"data" => Key::Data,
        b"DebugData" => Key::DebugData,
        b"Domain" => Key::Domain,
        b"event" => Key::Envelope,
        b"EventData" => Key::EventData,
        b"event_data" => Key::EventDataSnake,
        b"EventID" => Key::EventId,
        b"event_id" => Key::EventIdSnake,
        b"EventLevel" => Key::EventLevel,
        b"Event" => Key::EventObject,
        b"EventRecordID" => Key::EventRecordId,
        b"EventRecordId" => Key::EventRecordIdLower,
        b"EventSourceName" => Key::EventSourceName,
        b"EventTime" => Key::EventTime,
        b"Hostname" => Key::Hostname,
        b"Level" => Key::Level,
        b"level" => Key::LevelLower,
        b"level_value" => Key::LevelValue,
        b"log" => Key::Log,
        b"log_name" => Key::LogName,
        b"Message" => Key::MessageCapital,
        b"message" => Key::MessageLower,
        b"ProcessingErrorData" => Key::ProcessingErrorData,
        b"Provider" => Key::Provider,
        b"Provider_attributes" => Key::ProviderAttributes,
        b"ProviderName" => Key::ProviderName,
        b"provider_name" => Key::ProviderNameSnake,
        b"_raw" => Key::Raw,
        b"RawEventData" => Key::RawEventData,
        b"record_id" => Key::RecordIdSnake,
        b"RecordNumber" => Key::RecordNumber,
        b"record_number" => Key::RecordNumberSnake,
        b"records" => Key::Records,
        b"RenderingInfo" => Key::RenderingInfo,
        b"RenderingInfo_attributes" => Key::RenderingInfoAttributes,
        b"result" => Key::Result,
        b"Security" => Key::Security,
        b"Security_attributes" => Key::SecurityAttributes,
        b"SeverityValue" => Key::SeverityValue,
        b"_source" => Key::Source,
        b"SourceName" => Key::SourceName,
        b"source_name" => Key::SourceNameSnake,
        b"StringInserts" => Key::StringInserts,
        b"string_inserts" => Key::StringInsertsSnake,
        b"System" => Key::System,
        b"SystemUserId" => Key::SystemUserId,
        b"TimeCreated" => Key::TimeCreated,
        b"TimeCreated_attributes" => Key::TimeCreatedAttributes,
        b"time_created" => Key::TimeCreatedSnake,
        b"TimeGenerated" => Key::TimeGenerated,
        b"timestamp" => Key::Timestamp,
        b"user" => Key::User,
        b"UserData" => Key::UserData,
        b"user_data" => Key::UserDataSnake,
        b"UserID" => Key::UserId,
        b"user_id" => Key::UserIdSnake,
        b"Version" => Key::Version,
        b"version" => Key::VersionLower,
        b"winlog" => Key::Winlog,
        // NXLog and what brought its lines.
        b"ActivityID"
        | b"Category"
        | b"EventReceivedTime"
        | b"EventType"
        | b"EventTypeOrignal"
        | b"ExecutionProcessID"
        | b"ExecutionThreadID"
        | b"Keywords"
        | b"OpcodeValue"
        | b"Opcode"
        | b"OpenWEC"
        | b"ProcessID"
        | b"ProviderGuid"
        | b"RelatedActivityID"
        | b"Severity"
        | b"SourceModuleName"
        | b"SourceModuleType"
        | b"Task"
        | b"ThreadID"
        | b"host"
        | b"port"
        | b"tags" => Key::Ignored,
        // Fluent Bit, Sentinel.
        b"Qualifiers"
        | b"TimeWritten"
        | b"Activity"
        | b"EventLevelName"
        | b"EventOriginId"
        | b"MG"
        | b"ManagementGroupName"
        | b"SourceComputerId"
        | b"SourceSystem"
        | b"TenantId"
        | b"TimeCollected" => Key::Ignored,
        _ => return None,
    })
}

/// Where the known keys of one object have their values; of a key that
/// repeats, the last counts.
#[derive(Debug)]
struct Keys {
    /// Indices of nodes; 0, the root, for none: it is no object's value.
    nodes: [u32; KEYS],
    /// A key starts with `winlog.`.
    dotted: bool,
    others: Others,
}

/// The values whose keys may name data in a flat object.
#[derive(Debug)]
struct Others {
    nodes: [u32; OTHERS_MAX],
    /// How many there are, in `nodes` or not.
    count: usize,
}

/// More than any event has that is not made to have them: those are looked
/// for again.
const OTHERS_MAX: usize = 96;

impl Others {
    fn push(&mut self, value: u32) {
        if let Some(node) = self.nodes.get_mut(self.count) {
            *node = value;
        }
        self.count += 1;
    }

    /// `None` when there are too many.
    fn values(&self) -> Option<&[u32]> {
        self.nodes.get(..self.count)
    }
}

impl Default for Keys {
    fn default() -> Keys {
        let others = Others { nodes: [0; OTHERS_MAX], count: 0 };
        Keys { nodes: [0; KEYS], dotted: false, others }
    }
}

impl Keys {
    fn get(&self, key: Key) -> Option<u32> {
        Some(self.nodes[key as usize]).filter(|node| *node != 0)
    }
}

/// The tokens of one JSON text, in its order. RestoredState between texts for its
/// memory.
#[derive(Debug, Default)]
pub struct Tape {
    nodes: Vec<Node>,
}

/// ```text
/// {"a":[1,2],"b":"c"}   { a [ 1 2 b c
///                        next of { is the end, of [ is b, of a key its value
/// ```
#[derive(Clone, Copy, Debug)]
struct Node {
    kind: NodeKind,
    /// Bytes of the text, without a string's quotes.
    start: u32,
    end: u32,
    /// Index past this node and all in it.
    next: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NodeKind {
    Object,
    Array,
    Text,
    /// A string with escapes in it.
    Escaped,
    Number,
    True,
    False,
    Null,
}

impl Tape {
    /// Cuts a text into tokens; `Err` is the byte where it is not JSON. More
    /// lenient than the standard: escapes, control characters in strings and
    /// the inside of numbers are not checked.
    fn fill(&mut self, text: &str) -> Result<(), usize> {
        self.nodes.clear();
        let bytes = text.as_bytes();
        if u32::try_from(bytes.len()).is_err() {
            return Err(0);
        }
        let mut open = [0_u32; DEPTH_MAX];
        let mut depth = 0;
        let mut at = 0;
        loop {
            // A value comes next.
            at = skip_space(bytes, at);
            match *bytes.get(at).ok_or(at)? {
                b'"' => at = self.string(bytes, at)?,
                first @ (b'{' | b'[') => {
                    let (kind, close) = match first {
                        b'{' => (NodeKind::Object, b'}'),
                        _ => (NodeKind::Array, b']'),
                    };
                    let container = self.nodes.len() as u32;
                    self.push(kind, at, at);
                    at = skip_space(bytes, at + 1);
                    if bytes.get(at) == Some(&close) {
                        at += 1;
                        self.nodes[container as usize].end = at as u32;
                    } else {
                        *open.get_mut(depth).ok_or(at)? = container;
                        depth += 1;
                        if kind == NodeKind::Object {
                            at = self.key(bytes, at)?;
                        }
                        continue;
                    }
                }
                b'-' | b'0'..=b'9' => {
                    let end = number_end(bytes, at).ok_or(at)?;
                    self.push(NodeKind::Number, at, end);
                    at = end;
                }
                _ => {
                    let words = [
                        ("true", NodeKind::True),
                        ("false", NodeKind::False),
                        ("null", NodeKind::Null),
                    ];
                    let rest = &bytes[at..];
                    let word = words.iter().find(|(word, _)| rest.starts_with(word.as_bytes()));
                    let (word, kind) = word.ok_or(at)?;
                    self.push(*kind, at, at + word.len());
                    at += word.len();
                }
            }
            // A value has ended, and perhaps what it is in.
            loop {
                at = skip_space(bytes, at);
                if depth == 0 {
                    return if at == bytes.len() { Ok(()) } else { Err(at) };
                }
                let container = open[depth - 1] as usize;
                let inside = self.nodes[container].kind;
                match (*bytes.get(at).ok_or(at)?, inside) {
                    (b',', NodeKind::Object) => {
                        at = self.key(bytes, skip_space(bytes, at + 1))?;
                        break;
                    }
                    (b',', _) => {
                        at += 1;
                        break;
                    }
                    (b'}', NodeKind::Object) | (b']', NodeKind::Array) => {
                        at += 1;
                        let next = self.nodes.len() as u32;
                        let node = &mut self.nodes[container];
                        node.end = at as u32;
                        node.next = next;
                        depth -= 1;
                    }
                    (_, _) => return Err(at),
                }
            }
        }
    }

    /// Takes the key at `at` and its colon; returns where they end.
    #[inline(always)]
    fn key(&mut self, bytes: &[u8], at: usize) -> Result<usize, usize> {
        if bytes.get(at) != Some(&b'"') {
            return Err(at);
        }
        let at = skip_space(bytes, self.string(bytes, at)?);
        if bytes.get(at) == Some(&b':') { Ok(at + 1) } else { Err(at) }
    }

    #[inline(always)]
    fn push(&mut self, kind: NodeKind, start: usize, end: usize) {
        let next = self.nodes.len() as u32 + 1;
        self.nodes.push(Node { kind, start: start as u32, end: end as u32, next });
    }

    /// Takes the string whose opening quote is at `at`; returns where it ends.
    #[inline(always)]
    fn string(&mut self, bytes: &[u8], at: usize) -> Result<usize, usize> {
        let start = at + 1;
        let (end, is_plain) = string_end::<false>(bytes, start).ok_or(at)?;
        self.push(if is_plain { NodeKind::Text } else { NodeKind::Escaped }, start, end);
        Ok(end + 1)
    }
}

/// Where the string ends that starts here, at its closing quote; and whether
/// there are no escapes in it. A line's end in it is taken as any other byte,
/// unless it has to stand on `ONE_LINE`.
#[inline(always)]
fn string_end<const ONE_LINE: bool>(bytes: &[u8], start: usize) -> Option<(usize, bool)> {
    let mut end = quote_or_backslash::<ONE_LINE>(bytes, start)?;
    match bytes[end] {
        b'"' => return Some((end, true)),
        b'\n' if ONE_LINE => return None,
        _ => {}
    }
    // Messages are full of `\n`: it is quicker to look for quotes alone, and at
    // what stands before them.
    loop {
        let rest = bytes.get(end..)?;
        end += if ONE_LINE { memchr2(b'"', b'\n', rest) } else { memchr(b'"', rest) }?;
        if ONE_LINE && bytes[end] == b'\n' {
            return None;
        }
        let before = bytes[start..end].iter().rev();
        if before.take_while(|byte| **byte == b'\\').count().is_multiple_of(2) {
            return Some((end, false));
        }
        end += 1;
    }
}

/// Where the number ends that starts here, if one does.
#[inline(always)]
fn number_end(bytes: &[u8], start: usize) -> Option<usize> {
    let rest = bytes.get(start..)?;
    matches!(rest.first()?, b'-' | b'0'..=b'9').then_some(())?;
    let more = rest
        .iter()
        .take_while(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'-' | b'+' | b'e' | b'E'));
    Some(start + more.count())
}

#[inline(always)]
fn skip_space(bytes: &[u8], at: usize) -> usize {
    match bytes.get(at) {
        Some(byte) if *byte > b' ' => at,
        Some(_) | None => skip_some_space(bytes, at),
    }
}

/// Apart, because JSON on a line mostly has no blanks.
#[cold]
fn skip_some_space(bytes: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\t' | b'\n' | b'\r') = bytes.get(at) {
        at += 1;
    }
    at
}

/// The next `"` or `\` from `at` on, or an end of the line if it is to be found.
/// Most strings are short: eight bytes at a time come before the vector search.
#[inline(always)]
fn quote_or_backslash<const LINE_END: bool>(bytes: &[u8], mut at: usize) -> Option<usize> {
    for _ in 0..4 {
        let Some(word) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) else { break };
        let word = u64::from_le_bytes(*word);
        let line_end = if LINE_END { matches_of(word, b'\n') } else { 0 };
        let found = matches_of(word, b'"') | matches_of(word, b'\\') | line_end;
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    let rest = bytes.get(at..)?;
    let len = match LINE_END {
        true => memchr3(b'"', b'\\', b'\n', rest),
        false => memchr2(b'"', b'\\', rest),
    };
    len.map(|len| at + len)
}

/// A text and its tokens.
#[derive(Clone, Copy)]
struct Doc<'t> {
    text: &'t str,
    nodes: &'t [Node],
}

impl<'t> Doc<'t> {
    fn at(self, node: u32) -> Node {
        self.nodes[node as usize]
    }

    /// The bytes of a node; a string's without its quotes.
    fn raw(self, node: u32) -> &'t str {
        let Node { start, end, .. } = self.at(node);
        &self.text[start as usize..end as usize]
    }

    /// Keys and values of an object. A key with escapes is the empty one.
    fn entries(self, object: u32) -> impl Iterator<Item = (&'t str, u32)> {
        let end = self.at(object).next;
        let mut at = object + 1;
        std::iter::from_fn(move || {
            if at >= end {
                return None;
            }
            let value = at + 1;
            at = self.at(value).next;
            Some((self.key_of(value), value))
        })
    }

    /// The key before a value of an object.
    fn key_of(self, value: u32) -> &'t str {
        let key = value - 1;
        if self.at(key).kind == NodeKind::Escaped { "" } else { self.raw(key) }
    }

    fn items(self, array: u32) -> impl Iterator<Item = u32> {
        let end = self.at(array).next;
        let mut at = array + 1;
        std::iter::from_fn(move || {
            let item = (at < end).then_some(at)?;
            at = self.at(item).next;
            Some(item)
        })
    }

    fn keys(self, object: u32) -> Keys {
        let mut keys = Keys::default();
        if self.at(object).kind != NodeKind::Object {
            return keys;
        }
        for (name, value) in self.entries(object) {
            match key(name) {
                Some(key) => {
                    keys.nodes[key as usize] = value;
                    if !key.is_flat() {
                        keys.others.push(value);
                    }
                }
                None => {
                    keys.dotted |= name.starts_with("winlog.");
                    keys.others.push(value);
                }
            }
        }
        keys
    }

    /// The keys behind `winlog.`.
    fn dotted_keys(self, object: u32) -> Keys {
        let mut keys = Keys::default();
        for (name, value) in self.entries(object) {
            if let Some(key) = name.strip_prefix("winlog.").and_then(key) {
                keys.nodes[key as usize] = value;
            }
        }
        keys
    }

    fn child(self, object: u32, name: &str) -> Option<u32> {
        let is_object = self.at(object).kind == NodeKind::Object;
        self.entries(object)
            .filter(|(key, _)| is_object && *key == name)
            .map(|(_, value)| value)
            .last()
    }

    fn child_of(self, object: Option<u32>, name: &str) -> Option<u32> {
        let object = object.filter(|node| self.at(*node).kind == NodeKind::Object)?;
        self.child(object, name)
    }

    /// The `#text` of an element that has attributes; else the node itself.
    fn text_of(self, node: u32) -> u32 {
        self.child_of(Some(node), "#text").unwrap_or(node)
    }

    fn is_string(self, node: u32) -> bool {
        matches!(self.at(node).kind, NodeKind::Text | NodeKind::Escaped)
    }

    /// Whether a string starts like XML or a JSON object.
    fn is_embedded_text(self, node: u32) -> bool {
        let raw = if self.is_string(node) { self.raw(node) } else { return false };
        let blank = |text: &str| text.starts_with([' ', '\u{feff}']) || text.starts_with("\\");
        if !raw.starts_with(['<', '{']) && !blank(raw) {
            return false;
        }
        let start = raw.char_indices().nth(64).map_or(raw, |(end, _)| &raw[..end]);
        let start = unescape(start);
        let start = start.trim_start_matches('\u{feff}').trim_start();
        // An XML element, declaration or comment; or an object.
        start.strip_prefix('<').is_some_and(|rest| {
            rest.starts_with(|next: char| next.is_ascii_alphabetic() || matches!(next, '?' | '!'))
        }) || start.strip_prefix('{').is_some_and(|rest| rest.trim_start().starts_with(['"', '}']))
    }

    fn string(self, node: u32) -> Option<Cow<'t, str>> {
        match self.at(node).kind {
            NodeKind::Text => Some(Cow::Borrowed(self.raw(node))),
            NodeKind::Escaped => Some(unescape(self.raw(node))),
            NodeKind::Object
            | NodeKind::Array
            | NodeKind::Number
            | NodeKind::True
            | NodeKind::False
            | NodeKind::Null => None,
        }
    }

    /// A string, number or truth value as text.
    fn scalar(self, node: u32) -> Option<Cow<'t, str>> {
        match self.at(node).kind {
            NodeKind::Text | NodeKind::Number | NodeKind::True | NodeKind::False => {
                Some(Cow::Borrowed(self.raw(node)))
            }
            NodeKind::Escaped => Some(unescape(self.raw(node))),
            NodeKind::Object | NodeKind::Array | NodeKind::Null => None,
        }
    }

    /// A data value. An object or array where a value should be is its text.
    fn value(self, node: u32) -> Value<'t> {
        let raw = self.raw(node);
        match self.at(node).kind {
            NodeKind::Text | NodeKind::Object | NodeKind::Array => Value::Text(Cow::Borrowed(raw)),
            NodeKind::Escaped => Value::Text(unescape(raw)),
            NodeKind::Number => match raw.parse() {
                Ok(number) => Value::Unsigned(number),
                Err(_) => match raw.parse() {
                    Ok(number) => Value::Signed(number),
                    Err(_) => Value::Text(Cow::Borrowed(raw)),
                },
            },
            NodeKind::True => Value::Bool(true),
            NodeKind::False => Value::Bool(false),
            NodeKind::Null => Value::Null,
        }
    }

    fn first(self, keys: &Keys, among: &[Key]) -> Option<Cow<'t, str>> {
        self.first_node(keys, among).and_then(|node| self.scalar(node))
    }

    /// The first that has a scalar.
    fn first_node(self, keys: &Keys, among: &[Key]) -> Option<u32> {
        among.iter().filter_map(|key| keys.get(*key)).find(|node| self.is_scalar(*node))
    }

    fn is_scalar(self, node: u32) -> bool {
        !matches!(self.at(node).kind, NodeKind::Object | NodeKind::Array | NodeKind::Null)
    }

    /// Where in the text a part of it starts; `None` for what is no part of it.
    fn place(self, part: &str) -> Option<usize> {
        let place = part.as_ptr().addr().checked_sub(self.text.as_ptr().addr())?;
        (place + part.len() <= self.text.len()).then_some(place)
    }

    fn record_id(self, keys: &Keys, among: &[Key]) -> Option<u64> {
        self.first(keys, among).and_then(|text| digits(&text))
    }

    /// A number, as text too, or an object with `#text`.
    fn event_id(self, node: u32) -> Option<u32> {
        let text = self.scalar(self.text_of(node))?;
        layout::event_id(&text)
    }

    /// A timestamp as text; seconds, or milliseconds, since 1970 as a number.
    fn time(self, node: u32) -> Option<EventTime> {
        match self.at(node).kind {
            NodeKind::Text | NodeKind::Escaped => parse_time(&self.string(node)?),
            NodeKind::Number => {
                let number: f64 = self.raw(node).parse().ok()?;
                from_unix_seconds(if number < 1e11 { number } else { number / 1e3 })
            }
            NodeKind::Object
            | NodeKind::Array
            | NodeKind::True
            | NodeKind::False
            | NodeKind::Null => None,
        }
    }

    fn message(self, node: u32, plan: &FieldPlan, event_id: Option<u32>) -> Option<Cow<'t, str>> {
        if plan.wants_message(event_id) { self.scalar(node) } else { None }
    }

    /// `System/Level`, from its number or from the name that collectors give.
    fn level(self, node: u32, plan: &FieldPlan, event_id: Option<u32>) -> Option<Cow<'t, str>> {
        let text = if plan.wants_level(event_id) { self.scalar(node)? } else { return None };
        Some(match text.to_ascii_lowercase().as_str() {
            "critical" => Cow::Borrowed("1"),
            "error" => Cow::Borrowed("2"),
            "warning" => Cow::Borrowed("3"),
            "information" | "info" => Cow::Borrowed("4"),
            "verbose" => Cow::Borrowed("5"),
            _ => text,
        })
    }

    /// `System/Level` from NXLog's severity, which counts the other way.
    fn severity(self, node: u32) -> Option<Cow<'t, str>> {
        let severity: u8 = digits(&self.scalar(node)?)?;
        Some(Cow::Borrowed(match severity {
            5 => "1",
            4 => "2",
            3 => "3",
            2 => "4",
            1 => "5",
            _ => return None,
        }))
    }

    /// Data sections that are XML or JSON text.
    fn data_texts(self, keys: &Keys) -> [Option<u32>; 2] {
        let text = |key: Key| keys.get(key).filter(|node| self.is_embedded_text(*node));
        [text(Key::EventData).or_else(|| text(Key::RawEventData)), text(Key::UserData)]
    }
}

/// Resolves the escapes of a JSON string. A surrogate without its partner is
/// U+FFFD; a backslash before anything else stays.
fn unescape(raw: &str) -> Cow<'_, str> {
    let Some(first) = memchr(b'\\', raw.as_bytes()) else { return Cow::Borrowed(raw) };
    let mut text = String::with_capacity(raw.len());
    text.push_str(&raw[..first]);
    let mut rest = &raw[first + 1..];
    loop {
        let (character, len) = match rest.as_bytes().first() {
            Some(b'n') => ('\n', 1),
            Some(b't') => ('\t', 1),
            Some(b'r') => ('\r', 1),
            Some(b'b') => ('\u{8}', 1),
            Some(b'f') => ('\u{c}', 1),
            Some(b'"') => ('"', 1),
            Some(b'/') => ('/', 1),
            Some(b'\\') => ('\\', 1),
            Some(b'u') => unicode_escape(rest.as_bytes()),
            Some(_) | None => ('\\', 0),
        };
        text.push(character);
        rest = &rest[len..];
        match memchr(b'\\', rest.as_bytes()) {
            Some(next) => {
                text.push_str(&rest[..next]);
                rest = &rest[next + 1..];
            }
            None => {
                text.push_str(rest);
                return Cow::Owned(text);
            }
        }
    }
}

/// The character of `uXXXX` or `uXXXX\uXXXX`, and the length of that.
fn unicode_escape(text: &[u8]) -> (char, usize) {
    let unit = |at: usize| -> Option<u16> {
        text.get(at..at + 4)?
            .iter()
            .try_fold(0, |unit, byte| Some(unit << 4 | (*byte as char).to_digit(16)? as u16))
    };
    let Some(first) = unit(1) else { return ('\\', 0) };
    if (0xD800..0xDC00).contains(&first)
        && text.get(5..7) == Some(b"\\u")
        && let Some(second) = unit(7)
        && let Some(Ok(character)) = char::decode_utf16([first, second]).next()
    {
        return (character, 11);
    }
    (char::from_u32(u32::from(first)).unwrap_or(char::REPLACEMENT_CHARACTER), 5)
}

#[cfg(test)]
mod tests {
    use serde_json::Value as Oracle;

    use super::*;

    fn rebuild(doc: Doc<'_>, node: u32) -> Oracle {
        match doc.at(node).kind {
            NodeKind::Object => Oracle::Object(
                doc.entries(node)
                    .map(|(key, value)| (key.to_owned(), rebuild(doc, value)))
                    .collect(),
            ),
            NodeKind::Array => doc.items(node).map(|item| rebuild(doc, item)).collect(),
            NodeKind::Text | NodeKind::Escaped => {
                Oracle::String(doc.string(node).expect("a string").into_owned())
            }
            NodeKind::Number => serde_json::from_str(doc.raw(node)).expect("a number"),
            NodeKind::True => Oracle::Bool(true),
            NodeKind::False => Oracle::Bool(false),
            NodeKind::Null => Oracle::Null,
        }
    }

    #[track_caller]
    fn check(json: &str) {
        let mut tape = Tape::default();
        let filled = tape.fill(json);
        match serde_json::from_str::<Oracle>(json) {
            Ok(oracle) => {
                assert_eq!(filled, Ok(()), "{json}");
                assert_eq!(rebuild(Doc { text: json, nodes: &tape.nodes }, 0), oracle, "{json}");
            }
            Err(_) => assert!(filled.is_err(), "{json}"),
        }
    }

    #[test]
    fn tokens_are_those_of_another_parser() {
        for json in [
            "{}",
            "[]",
            " [ ] ",
            "0",
            "-1.5e+3",
            "true",
            "null",
            r#""""#,
            r#"{"a":1}"#,
            r#"{"a":[1,{"b":null},[],"c"],"d":{"e":{}},"f":false}"#,
            " {\n\t\"a\" : \"b\" ,\r\n \"c\" : [ 1 , 2 ] } ",
            r#""\u00e4\ud83d\ude00\n\t\r\b\f\/\\\"""#,
            r#"["\\","\\\\","\"","a\\\"b"]"#,
            r#"["12345678","1234567\"","é1234567890123456789012345678901234567890\\x"]"#,
            r#"{"a":18446744073709551615,"b":-9223372036854775808}"#,
        ] {
            check(json);
        }
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for json in [
            "",
            " ",
            "{",
            "}",
            "[",
            "]",
            "{]",
            "[}",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{,}",
            "[1,]",
            "[,1]",
            "[1 2]",
            "{\"a\":1 \"b\":2}",
            "{1:2}",
            "\"",
            "\"\\",
            "\"\\\"",
            "nul",
            "tru",
            "{} {}",
            "1 2",
            "{\"a\":1}]",
            "[[[[",
            "{\"a\":{\"b\":[",
            "x",
            ":",
            "{\"a\":1]",
            "[1}",
        ] {
            check(json);
        }
        let deep = |depth| "[".repeat(depth) + "0" + &"]".repeat(depth);
        assert!(Tape::default().fill(&deep(DEPTH_MAX + 1)).is_err(), "too deep");
        check(&deep(DEPTH_MAX));
    }

    #[test]
    fn damaged_text_never_panics_and_is_read_like_the_other_parser_does() {
        let plain = r#"{"a":"b\u00e4\\","c":[1,-2.5,true,null],"d":{"e":"f\n"}}"#;
        for at in 0..plain.len() {
            for change in ["", "\"", "\\", "{", "}", "[", "]", ",", ":", " ", "1", "é"] {
                let json = format!("{}{change}{}", &plain[..at], &plain[at + 1..]);
                let mut tape = Tape::default();
                let filled = tape.fill(&json);
                if let Ok(oracle) = serde_json::from_str::<Oracle>(&json) {
                    assert_eq!(filled, Ok(()), "{json}");
                    let keys_are_plain = !json.contains("\\\":") && !json.contains("\":\"b\":");
                    if keys_are_plain {
                        assert_eq!(
                            rebuild(Doc { text: &json, nodes: &tape.nodes }, 0),
                            oracle,
                            "{json}"
                        );
                    }
                } else if filled.is_ok() {
                    let doc = Doc { text: &json, nodes: &tape.nodes };
                    for node in 0..tape.nodes.len() as u32 {
                        let _ = (
                            doc.value(node),
                            doc.time(node),
                            doc.event_id(node),
                            doc.is_embedded_text(node),
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn odd_escapes_keep_the_text() {
        for (raw, text) in [
            (r"C:\Windows", r"C:\Windows"),
            (r"\ud83d", "\u{fffd}"),
            (r"\ud83dx", "\u{fffd}x"),
            (r"\ude00\ud83d\ude00", "\u{fffd}😀"),
            (r"\u12", r"\u12"),
            (r"\", r"\"),
            (r"\é", r"\é"),
        ] {
            assert_eq!(unescape(raw), text, "{raw}");
        }
    }

    #[test]
    fn numbers_of_items_tell_the_version() {
        for (id, items) in [
            (4624, 20),
            (4624, 21),
            (4624, 27),
            (4624, 28),
            (4625, 21),
            (4768, 14),
            (4768, 15),
            (4768, 24),
            (4769, 11),
            (4769, 13),
            (4769, 21),
            (4771, 11),
            (4776, 4),
        ] {
            let names: Vec<_> = manifest_names(id, items).into_iter().flatten().collect();
            assert_eq!(names.len(), items, "{id}: {names:?}");
            assert!(MANIFEST_IDS.contains(&id));
        }
        assert!(manifest_names(4625, 20).is_none());
    }
}

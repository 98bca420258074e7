//! Decodes one JSON text: recognises its shape, and reads what is wanted of it.

use std::borrow::Cow;

use super::Learning;
use super::data::{dotted_data, event_data, flat_data, leaves, string_inserts};
use super::doc::Doc;
use super::keys::{Key, Keys};
use super::layout::Layout;
use super::shapes::{DataLocation, EventParts, dotted, flat, rendered, winlogbeat};
use super::tape::{NodeKind, Tape};
use crate::decode::event::{Fault, Parsed, WantedData};
use crate::decode::field_plan::FieldPlan;
use crate::decode::text::excerpt;
use crate::decode::{Emit, Tally, xml};
use crate::reject::RejectReason;

/// Deepest nesting of JSON texts in strings of JSON texts.
const TEXT_DEPTH_MAX: u32 = 3;

const SHAPES: &str = "winlogbeat (`winlog`), Vector (`event_id`), evtx_dump (`Event`), OpenWEC \
    (`System`, or `data` with XML), NXLog, Fluent Bit and Sentinel (`EventID`), Splunk (`event` \
    or `_raw` with XML)";

pub(super) struct Decoder<'d, 'e> {
    pub(super) plan: &'d FieldPlan,
    pub(super) tally: &'d mut Tally,
    pub(super) emit: &'d mut Emit<'e>,
    pub(super) learning: Learning,
    pub(super) layout: Option<Layout>,
}

impl Decoder<'_, '_> {
    pub(super) fn text(&mut self, json: &str, tape: &mut Tape, text_depth: u32) {
        if let Err(at) = tape.fill(json) {
            self.tally.skip(RejectReason::JsonMalformed, || {
                format!("expected JSON, broken at byte {at}: {}", excerpt(json))
            });
            return;
        }
        self.node(Doc { text: json, nodes: &tape.nodes }, 0, text_depth);
    }

    /// Decodes an event or an envelope. Recursion is bounded by the depth of the tape.
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

    /// Decodes a string that holds event XML or a JSON object.
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
        // Owned here, so that the record can borrow from it.
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
        // With dotted keys, other texts in the object take part in the choice, so keys alone do not
        // fix the layout.
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

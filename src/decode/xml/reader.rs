//! Any well-formed event XML, and events that are cut off after their data.

use std::borrow::Cow;

use memchr::memchr;
use quick_xml::events::Event as Token;

use super::DEPTH_MAX;
use super::element::{attribute, local, system_child, unescape};
use crate::decode::event::{Fault, Parsed, System, WantedData};
use crate::decode::field_plan::FieldPlan;
use crate::decode::text::excerpt;
use crate::record::Value;
use crate::reject::RejectReason;

/// The elements beside `System` whose leaves are data.
const DATA_SECTIONS: [&str; 4] = ["EventData", "UserData", "ProcessingErrorData", "DebugData"];

/// Reads any well-formed event, and one that is cut off once its data is complete.
pub(super) fn read<'p, 'a>(xml: &'a str, plan: &'p FieldPlan) -> Result<Parsed<'p, 'a>, Fault> {
    let xml = xml.strip_prefix('\u{feff}').unwrap_or(xml);
    let mut build = EventBuilder::new(plan);
    build.run(xml, |build| build.state())?;
    Ok(Parsed { system: build.system, data: build.data })
}

/// Reads a fragment of event XML: an `EventData` or `UserData` element, or the content of one.
pub(in crate::decode) fn read_data<'a>(
    xml: &'a str,
    data: &mut WantedData<'_, 'a>,
) -> Result<(), Fault> {
    let mut build = EventBuilder::new(data.plan);
    std::mem::swap(&mut build.data, data);
    build.fragment = true;
    let root = xml.trim_start();
    build.open.push(OpenElement::new("Event", ""));
    let stands_alone = DATA_SECTIONS.iter().any(|name| {
        let rest = root.strip_prefix('<').and_then(|rest| rest.strip_prefix(name));
        rest.is_some_and(|rest| rest.starts_with(['>', ' ', '/', '\t', '\r', '\n']))
    });
    if !stands_alone {
        build.open.push(OpenElement::new(
            if root.starts_with("<Data") { "EventData" } else { "UserData" },
            "",
        ));
    }
    let base = build.open.len();
    let outcome = build.run(xml, |build| match build.open.len() == base {
        true => ReadProgress::Recoverable,
        false => ReadProgress::Needed,
    });
    std::mem::swap(&mut build.data, data);
    outcome
}

/// An element whose end tag has not been read yet.
struct OpenElement<'a> {
    name: &'a str,
    attributes: &'a str,
    text: Cow<'a, str>,
    has_child: bool,
}

impl<'a> OpenElement<'a> {
    fn new(name: &'a str, attributes: &'a str) -> OpenElement<'a> {
        OpenElement { name, attributes, text: Cow::Borrowed(""), has_child: false }
    }
}

/// How far an event has been read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ReadProgress {
    /// If the text ended or broke here, data would be lost.
    Needed,
    /// System and data are complete, or the message has begun.
    Recoverable,
    /// Nothing more is wanted.
    Done,
}

struct EventBuilder<'p, 'a> {
    plan: &'p FieldPlan,
    system: System<'a>,
    data: WantedData<'p, 'a>,
    open: Vec<OpenElement<'a>>,
    data_read: bool,
    fragment: bool,
    done: bool,
}

impl<'p, 'a> EventBuilder<'p, 'a> {
    fn new(plan: &'p FieldPlan) -> EventBuilder<'p, 'a> {
        EventBuilder {
            plan,
            system: System::default(),
            data: WantedData::new(plan),
            open: Vec::new(),
            data_read: false,
            fragment: false,
            done: false,
        }
    }

    fn state(&self) -> ReadProgress {
        let in_rendering = self.open.get(1).is_some_and(|section| section.name == "RenderingInfo");
        if self.done {
            ReadProgress::Done
        } else if in_rendering || (self.data_read && self.open.len() == 1) {
            ReadProgress::Recoverable
        } else {
            ReadProgress::Needed
        }
    }

    /// Processes every token; `state` says what an end or an error at this point means.
    fn run(
        &mut self,
        xml: &'a str,
        state: impl Fn(&EventBuilder<'p, 'a>) -> ReadProgress,
    ) -> Result<(), Fault> {
        let mut reader = quick_xml::Reader::from_str(xml);
        let config = reader.config_mut();
        config.check_end_names = false;
        config.allow_unmatched_ends = true;
        config.allow_dangling_amp = true;
        loop {
            let start = reader.buffer_position() as usize;
            let token = reader.read_event();
            let end = reader.buffer_position() as usize;
            let raw = xml.get(start..end).unwrap_or_default();
            let expected = match token {
                Ok(Token::Eof) => Some("`</Event>`"),
                Ok(token) => self.take(&token, raw).err(),
                Err(_) => Some("well-formed XML"),
            };
            if state(self) == ReadProgress::Done {
                return Ok(());
            }
            if let Some(expected) = expected {
                if state(self) == ReadProgress::Recoverable {
                    self.cut(xml.get(start..).unwrap_or_default());
                    return Ok(());
                }
                let what = format!("expected {expected} at byte {start}: {}", excerpt(xml));
                return Err((RejectReason::XmlMalformed, what));
            }
        }
    }

    /// Keeps as much as there is of a message that is cut off.
    fn cut(&mut self, rest: &'a str) {
        if self.fragment {
            return;
        }
        if let [_, rendering, message] = &mut *self.open
            && (rendering.name, message.name) == ("RenderingInfo", "Message")
        {
            let rest = &rest[..memchr(b'<', rest.as_bytes()).unwrap_or(rest.len())];
            append(&mut message.text, unescape(rest));
            self.system.message = Some(std::mem::take(&mut message.text));
        }
    }

    /// The error says what was expected instead of the token.
    fn take(&mut self, token: &Token<'_>, raw: &'a str) -> Result<(), &'static str> {
        match token {
            Token::Start(_) => {
                let inner = raw.strip_prefix('<').and_then(|raw| raw.strip_suffix('>'));
                self.start(inner.ok_or("a start tag")?)
            }
            Token::Empty(_) => {
                let inner = raw.strip_prefix('<').and_then(|raw| raw.strip_suffix("/>"));
                self.start(inner.ok_or("an empty tag")?)?;
                self.end();
                Ok(())
            }
            Token::End(_) => {
                let name = raw.strip_prefix("</").and_then(|raw| raw.strip_suffix('>'));
                let name = local(name.ok_or("an end tag")?.trim());
                match self.open.last() {
                    Some(open) if open.name == name => {
                        self.end();
                        Ok(())
                    }
                    Some(_) => Err("the end tag of the open element"),
                    None => Err("`<Event`"),
                }
            }
            Token::Text(_) | Token::GeneralRef(_) => {
                match self.open.last_mut() {
                    Some(open) if !open.has_child => append(&mut open.text, unescape(raw)),
                    Some(_) => {}
                    None if raw.trim().is_empty() => {}
                    None => return Err("`<Event`"),
                }
                Ok(())
            }
            Token::CData(_) => {
                let inner = raw.strip_prefix("<![CDATA[").and_then(|raw| raw.strip_suffix("]]>"));
                if let Some(open) = self.open.last_mut().filter(|open| !open.has_child) {
                    append(&mut open.text, Cow::Borrowed(inner.ok_or("`]]>`")?));
                }
                Ok(())
            }
            Token::Comment(_) | Token::Decl(_) | Token::PI(_) | Token::DocType(_) | Token::Eof => {
                Ok(())
            }
        }
    }

    fn start(&mut self, inner: &'a str) -> Result<(), &'static str> {
        let len = inner.find([' ', '\t', '\r', '\n']).unwrap_or(inner.len());
        let (name, attributes) = inner.split_at(len);
        let name = local(name);
        if self.open.len() >= DEPTH_MAX {
            return Err("no deeper nesting");
        }
        match self.open.last_mut() {
            Some(parent) => parent.has_child = true,
            None if name == "Event" => {}
            None => return Err("`<Event`"),
        }
        if self.open.len() == 1 && name == "RenderingInfo" && !self.fragment {
            self.system.culture = attribute(attributes, "Culture").map(unescape);
            self.done = self.plan.message.is_none();
        }
        self.open.push(OpenElement::new(name, attributes));
        Ok(())
    }

    fn end(&mut self) {
        let Some(mut closed) = self.open.pop() else { return };
        let text = std::mem::take(&mut closed.text);
        let leaf = !closed.has_child;
        match (&*self.open, closed.name) {
            ([], _) => self.done = !self.fragment,
            ([_], "System") => self.done = self.system.is_unwanted(self.plan),
            ([_], "RenderingInfo") => self.done = !self.fragment,
            ([_], name) => {
                self.data_read = true;
                if name == "BinaryEventData" && leaf {
                    self.data.binary(|| Value::Text(text));
                }
            }
            ([_, section], name) if section.name == "System" => {
                system_child(&mut self.system, self.plan, name, closed.attributes, || text);
            }
            ([_, section], "Message") if section.name == "RenderingInfo" => {
                self.system.message = Some(text);
                self.done = true;
            }
            ([_, section, ..], _) if matches!(section.name, "System" | "RenderingInfo") => {}
            ([_, section], "Binary") if section.name == "EventData" && leaf => {
                self.data.binary(|| Value::Text(text));
            }
            ([_, section], "Data") if section.name == "EventData" && leaf => {
                self.item(attribute(closed.attributes, "Name"), text);
            }
            ([_, section, parent], _)
                if leaf && (section.name, parent.name) == ("EventData", "Data") =>
            {
                self.item(attribute(parent.attributes, "Name"), text);
            }
            ([_, section, ..], name) if leaf && DATA_SECTIONS.contains(&section.name) => {
                self.data.named(name, || Value::Text(text));
            }
            _ => {}
        }
    }

    fn item(&mut self, name: Option<&str>, text: Cow<'a, str>) {
        match name {
            Some(name) => self.data.named(name, || Value::Text(text)),
            None => self.data.unnamed(|| Value::Text(text)),
        }
    }
}

fn append<'a>(text: &mut Cow<'a, str>, more: Cow<'a, str>) {
    if text.is_empty() {
        *text = more;
    } else {
        text.to_mut().push_str(&more);
    }
}

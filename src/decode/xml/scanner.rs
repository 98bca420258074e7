//! The common form of event XML, scanned without copying.

use super::element::{attribute, find_near, system_child, unescape};
use crate::decode::event::{Parsed, System, WantedData};
use crate::decode::field_plan::FieldPlan;
use crate::record::Value;

/// Reads the common form. `None` for any other form and for anything malformed.
pub(super) fn scan<'p, 'a>(xml: &'a str, plan: &'p FieldPlan) -> Option<Parsed<'p, 'a>> {
    let mut scan = Scan { text: xml, at: 0 };
    scan.skip_space();
    let root = scan.tag()?;
    if root.name != "Event" || root.empty {
        return None;
    }
    scan.skip_space();
    let section = scan.tag()?;
    if section.name != "System" || section.empty {
        return None;
    }
    let mut system = System::default();
    loop {
        scan.skip_space();
        if scan.take("</System>") {
            break;
        }
        let (tag, text) = scan.leaf()?;
        system_child(&mut system, plan, tag.name, tag.attributes, || unescape(text));
    }
    let mut data = WantedData::new(plan);
    if system.is_unwanted(plan) {
        return Some(Parsed { system, data });
    }
    loop {
        scan.skip_space();
        if scan.take("</Event>") {
            break;
        }
        let section = scan.tag()?;
        match (section.name, section.empty) {
            ("EventData", true) => {}
            ("EventData", false) => scan.event_data(&mut data)?,
            ("RenderingInfo", _) if plan.message.is_none() && plan.culture.is_none() => break,
            ("RenderingInfo", false) => {
                scan.rendering(&mut system, plan, section.attributes)?;
                break;
            }
            _ => return None,
        }
    }
    Some(Parsed { system, data })
}

/// The bytes that the scanner accepts in a name.
const NAME_BYTES: [bool; 256] = {
    let mut names = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        names[byte as usize] = byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        byte += 1;
    }
    names
};

struct Scan<'a> {
    text: &'a str,
    at: usize,
}

#[derive(Clone, Copy)]
struct StartTag<'a> {
    name: &'a str,
    attributes: &'a str,
    empty: bool,
}

impl<'a> Scan<'a> {
    fn rest(&self) -> &'a [u8] {
        &self.text.as_bytes()[self.at..]
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\r' | b'\n') = self.rest().first() {
            self.at += 1;
        }
    }

    fn take(&mut self, expect: &str) -> bool {
        let there = self.rest().starts_with(expect.as_bytes());
        if there {
            self.at += expect.len();
        }
        there
    }

    /// A start tag or an empty element, without a namespace prefix.
    fn tag(&mut self) -> Option<StartTag<'a>> {
        let rest = self.rest();
        if rest.first() != Some(&b'<') {
            return None;
        }
        let len = rest[1..].iter().position(|byte| !NAME_BYTES[usize::from(*byte)])?;
        let after_name = 1 + len;
        let name = &self.text[self.at + 1..self.at + after_name];
        let start = self.at + after_name;
        match rest[after_name] {
            _ if len == 0 => return None,
            b'>' => {
                self.at = start + 1;
                return Some(StartTag { name, attributes: "", empty: false });
            }
            b' ' | b'\t' | b'\r' | b'\n' | b'/' => {}
            _ => return None,
        }
        let end = start + tag_end(&rest[after_name..])?;
        let inner = &self.text[start..end];
        self.at = end + 1;
        Some(match inner.strip_suffix('/') {
            Some(attributes) => StartTag { name, attributes, empty: true },
            None => StartTag { name, attributes: inner, empty: false },
        })
    }

    /// Character data up to the next `<`.
    fn characters(&mut self) -> Option<&'a str> {
        let len = find_near(self.rest(), b'<')?;
        let text = &self.text[self.at..self.at + len];
        self.at += len;
        Some(text)
    }

    /// `</name>`, without blanks in it.
    fn close(&mut self, name: &str) -> Option<()> {
        let rest = self.rest().strip_prefix(b"</")?.strip_prefix(name.as_bytes())?;
        if rest.first() != Some(&b'>') {
            return None;
        }
        self.at += name.len() + 3;
        Some(())
    }

    /// An element that holds nothing but characters.
    fn leaf(&mut self) -> Option<(StartTag<'a>, &'a str)> {
        let tag = self.tag()?;
        if tag.empty {
            return Some((tag, ""));
        }
        let text = self.characters()?;
        self.close(tag.name)?;
        Some((tag, text))
    }

    /// The content of `EventData` and its end tag.
    fn event_data(&mut self, data: &mut WantedData<'_, 'a>) -> Option<()> {
        loop {
            self.skip_space();
            if let Some(name) = self.data_name() {
                let text = self.characters()?;
                if !self.take("</Data>") {
                    return None;
                }
                data.named(name, || Value::Text(unescape(text)));
                continue;
            }
            if self.take("</EventData>") {
                return Some(());
            }
            let (tag, text) = self.leaf()?;
            let value = || Value::Text(unescape(text));
            match tag.name {
                "Data" => match attribute(tag.attributes, "Name") {
                    Some(name) => data.named(name, value),
                    None => data.unnamed(value),
                },
                "Binary" => data.binary(value),
                name => data.named(name, value),
            }
        }
    }

    /// The name in `<Data Name='…'>`, if that comes next.
    fn data_name(&mut self) -> Option<&'a str> {
        let [quote @ (b'\'' | b'"'), rest @ ..] = self.rest().strip_prefix(b"<Data Name=")? else {
            return None;
        };
        let len = find_near(rest, *quote)?;
        if rest.get(len + 1) != Some(&b'>') {
            return None;
        }
        let start = self.at + "<Data Name='".len();
        self.at = start + len + 2;
        Some(&self.text[start..start + len])
    }

    /// `RenderingInfo` up to the end of its message.
    fn rendering(
        &mut self,
        system: &mut System<'a>,
        plan: &FieldPlan,
        attributes: &'a str,
    ) -> Option<()> {
        system.culture = attribute(attributes, "Culture").map(unescape);
        while plan.message.is_some() {
            self.skip_space();
            if self.take("</RenderingInfo>") {
                break;
            }
            let (tag, text) = self.leaf()?;
            if tag.name == "Message" {
                system.message = Some(unescape(text));
                break;
            }
        }
        Some(())
    }
}

/// The position of a tag's `>`, past attributes of the form `name='value'`.
fn tag_end(tag: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match tag.get(at)? {
            b'>' => return Some(at),
            b' ' | b'\t' | b'\r' | b'\n' => at += 1,
            b'/' if tag.get(at + 1) == Some(&b'>') => return Some(at + 1),
            _ => {
                let name = &tag[at..];
                let len = name.iter().position(|b| !NAME_BYTES[usize::from(*b)] && *b != b':')?;
                let [b'=', quote @ (b'\'' | b'"'), value @ ..] = &name[len..] else { return None };
                at += len + 2 + find_near(value, *quote)? + 1;
            }
        }
    }
}

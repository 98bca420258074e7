//! A JSON text with its tokens: the value at a node as text, number or time.

use std::borrow::Cow;

use memchr::memchr;

use super::keys::{Key, Keys, key};
use super::tape::{Node, NodeKind};
use crate::decode::clock::{from_unix_seconds, parse_time};
use crate::decode::field_plan::FieldPlan;
use crate::decode::text::digits;
use crate::record::Value;
use crate::time::EventTime;

/// A JSON text and its tokens.
#[derive(Clone, Copy)]
pub(super) struct Doc<'t> {
    pub(super) text: &'t str,
    pub(super) nodes: &'t [Node],
}

impl<'t> Doc<'t> {
    pub(super) fn at(self, node: u32) -> Node {
        self.nodes[node as usize]
    }

    /// The text of a node; of a string without its quotes, escapes unresolved.
    pub(super) fn raw(self, node: u32) -> &'t str {
        let Node { start, end, .. } = self.at(node);
        &self.text[start as usize..end as usize]
    }

    /// Keys and values of an object. A key with escapes in it is given as the empty one.
    pub(super) fn entries(self, object: u32) -> impl Iterator<Item = (&'t str, u32)> {
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
    pub(super) fn key_of(self, value: u32) -> &'t str {
        let key = value - 1;
        if self.at(key).kind == NodeKind::Escaped { "" } else { self.raw(key) }
    }

    pub(super) fn items(self, array: u32) -> impl Iterator<Item = u32> {
        let end = self.at(array).next;
        let mut at = array + 1;
        std::iter::from_fn(move || {
            let item = (at < end).then_some(at)?;
            at = self.at(item).next;
            Some(item)
        })
    }

    pub(super) fn keys(self, object: u32) -> Keys {
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
    pub(super) fn dotted_keys(self, object: u32) -> Keys {
        let mut keys = Keys::default();
        for (name, value) in self.entries(object) {
            if let Some(key) = name.strip_prefix("winlog.").and_then(key) {
                keys.nodes[key as usize] = value;
            }
        }
        keys
    }

    pub(super) fn child(self, object: u32, name: &str) -> Option<u32> {
        let is_object = self.at(object).kind == NodeKind::Object;
        self.entries(object)
            .filter(|(key, _)| is_object && *key == name)
            .map(|(_, value)| value)
            .last()
    }

    pub(super) fn child_of(self, object: Option<u32>, name: &str) -> Option<u32> {
        let object = object.filter(|node| self.at(*node).kind == NodeKind::Object)?;
        self.child(object, name)
    }

    /// The `#text` of an element that has attributes; else the node itself.
    pub(super) fn text_of(self, node: u32) -> u32 {
        self.child_of(Some(node), "#text").unwrap_or(node)
    }

    pub(super) fn is_string(self, node: u32) -> bool {
        matches!(self.at(node).kind, NodeKind::Text | NodeKind::Escaped)
    }

    /// Whether a string starts like an XML element or a JSON object.
    pub(super) fn is_embedded_text(self, node: u32) -> bool {
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

    pub(super) fn string(self, node: u32) -> Option<Cow<'t, str>> {
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
    pub(super) fn scalar(self, node: u32) -> Option<Cow<'t, str>> {
        match self.at(node).kind {
            NodeKind::Text | NodeKind::Number | NodeKind::True | NodeKind::False => {
                Some(Cow::Borrowed(self.raw(node)))
            }
            NodeKind::Escaped => Some(unescape(self.raw(node))),
            NodeKind::Object | NodeKind::Array | NodeKind::Null => None,
        }
    }

    /// A data value. An object or array in its place is given as its JSON text.
    pub(super) fn value(self, node: u32) -> Value<'t> {
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

    pub(super) fn first(self, keys: &Keys, among: &[Key]) -> Option<Cow<'t, str>> {
        self.first_node(keys, among).and_then(|node| self.scalar(node))
    }

    /// The first of the keys whose value is a scalar.
    pub(super) fn first_node(self, keys: &Keys, among: &[Key]) -> Option<u32> {
        among.iter().filter_map(|key| keys.get(*key)).find(|node| self.is_scalar(*node))
    }

    pub(super) fn is_scalar(self, node: u32) -> bool {
        !matches!(self.at(node).kind, NodeKind::Object | NodeKind::Array | NodeKind::Null)
    }

    /// The offset of a part in the text; `None` for a text that is no part of it.
    pub(super) fn place(self, part: &str) -> Option<usize> {
        let place = part.as_ptr().addr().checked_sub(self.text.as_ptr().addr())?;
        (place + part.len() <= self.text.len()).then_some(place)
    }

    pub(super) fn record_id(self, keys: &Keys, among: &[Key]) -> Option<u64> {
        self.first(keys, among).and_then(|text| digits(&text))
    }

    /// A number, as text too, or an object with `#text`.
    pub(super) fn event_id(self, node: u32) -> Option<u32> {
        let text = self.scalar(self.text_of(node))?;
        parse_event_id(&text)
    }

    /// A timestamp as text; seconds, or milliseconds, since 1970 as a number.
    pub(super) fn time(self, node: u32) -> Option<EventTime> {
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

    pub(super) fn message(
        self,
        node: u32,
        plan: &FieldPlan,
        event_id: Option<u32>,
    ) -> Option<Cow<'t, str>> {
        if plan.wants_message(event_id) { self.scalar(node) } else { None }
    }

    /// `System/Level`, from its number or from the name that collectors write.
    pub(super) fn level(
        self,
        node: u32,
        plan: &FieldPlan,
        event_id: Option<u32>,
    ) -> Option<Cow<'t, str>> {
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

    /// `System/Level` from NXLog's severity, which counts in the opposite direction.
    pub(super) fn severity(self, node: u32) -> Option<Cow<'t, str>> {
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
    pub(super) fn data_texts(self, keys: &Keys) -> [Option<u32>; 2] {
        let text = |key: Key| keys.get(key).filter(|node| self.is_embedded_text(*node));
        [text(Key::EventData).or_else(|| text(Key::RawEventData)), text(Key::UserData)]
    }
}

/// An event id as it is written: digits, with or without an empty fraction.
pub(super) fn parse_event_id(text: &str) -> Option<u32> {
    digits(text.strip_suffix(".0").unwrap_or(text))
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
    use super::*;

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
}

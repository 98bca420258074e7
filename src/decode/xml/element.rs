//! Attributes and text of elements, and the children of `System`.

use std::borrow::Cow;

use memchr::memchr;

use crate::decode::clock::parse_time;
use crate::decode::event::System;
use crate::decode::field_plan::FieldPlan;
use crate::decode::text::{digits, matches_of};

/// Stores one child of `System`.
pub(super) fn system_child<'a>(
    system: &mut System<'a>,
    plan: &FieldPlan,
    name: &str,
    attributes: &'a str,
    text: impl FnOnce() -> Cow<'a, str>,
) {
    match name.as_bytes() {
        b"Provider" => {
            system.provider = attribute(attributes, "Name").map(unescape);
            system.source = attribute(attributes, "EventSourceName").map(unescape);
        }
        b"EventID" => system.event_id = digits(&text()),
        b"Level" if plan.level.is_some() => system.level = Some(text()),
        b"Version" if plan.version.is_some() => system.version = Some(text()),
        b"TimeCreated" => {
            system.time =
                attribute(attributes, "SystemTime").and_then(|time| parse_time(&unescape(time)));
        }
        b"EventRecordID" => system.record_id = digits(&text()),
        b"Channel" => system.channel = Some(text()),
        b"Computer" => system.computer = Some(text()),
        b"Security" if plan.user.is_some() => {
            system.user = attribute(attributes, "UserID").map(unescape);
        }
        _ => {}
    }
}

/// The value of the attribute `wanted`, escapes unresolved. `attributes` is the part of the tag
/// between the element's name and its end.
pub(super) fn attribute<'a>(attributes: &'a str, wanted: &str) -> Option<&'a str> {
    let mut rest = attributes.trim_ascii_start();
    while let Some(equals) = find_near(rest.as_bytes(), b'=') {
        let name = rest[..equals].trim_ascii_end();
        let value = rest[equals + 1..].trim_ascii_start();
        let quote = value.bytes().next().filter(|quote| matches!(quote, b'"' | b'\''))?;
        let value = &value[1..];
        let end = find_near(value.as_bytes(), quote)?;
        if name == wanted {
            return Some(&value[..end]);
        }
        rest = value[end + 1..].trim_ascii_start();
    }
    None
}

pub(super) fn local(name: &str) -> &str {
    name.rsplit_once(':').map_or(name, |(_, local)| local)
}

/// Resolves the predefined entities and character references; anything else
/// after an `&` stays as it is.
pub(super) fn unescape(raw: &str) -> Cow<'_, str> {
    let Some(mut at) = find_near(raw.as_bytes(), b'&') else { return Cow::Borrowed(raw) };
    let mut text = String::with_capacity(raw.len());
    let mut rest = raw;
    loop {
        let (before, reference) = rest.split_at(at);
        text.push_str(before);
        // The longest reference is `&#x10FFFF;`; leading zeros may lengthen it.
        let end = reference.bytes().take(16).position(|byte| byte == b';');
        match end.and_then(|end| Some((resolve(&reference[1..end])?, end + 1))) {
            Some((character, len)) => {
                text.push(character);
                rest = &reference[len..];
            }
            None => {
                text.push('&');
                rest = &reference[1..];
            }
        }
        match memchr(b'&', rest.as_bytes()) {
            Some(next) => at = next,
            None => {
                text.push_str(rest);
                return Cow::Owned(text);
            }
        }
    }
}

fn resolve(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix('x').or_else(|| number.strip_prefix('X')) {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code).filter(|character| *character != '\0')
        }
    }
}

/// `memchr` for bytes that are mostly near: the first 32 bytes eight at a time, then the vector
/// search.
#[inline(always)]
pub(super) fn find_near(text: &[u8], byte: u8) -> Option<usize> {
    let mut at = 0;
    while at < 32 {
        let Some(word) = text.get(at..).and_then(|rest| rest.first_chunk::<8>()) else { break };
        let found = matches_of(u64::from_le_bytes(*word), byte);
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    memchr(byte, &text[at..]).map(|len| at + len)
}

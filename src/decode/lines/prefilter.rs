//! Decides by byte search which events cannot be wanted, before anything parses them.

use std::sync::Arc;

use memchr::memmem::Finder;
use memchr::{memchr, memmem};

use crate::decode::json;
use crate::record::Wanted;

/// Decides by byte search which events cannot be wanted.
#[derive(Debug)]
pub(super) struct Prefilter {
    wanted: Arc<Wanted>,
    fact_fields: FactFieldSearch,
    /// Ids of events whose names come from their manifest, if one of the names carries a fact: the
    /// text does not contain the names.
    unnamed_fact_ids: Vec<u32>,
    event_id: Finder<'static>,
    event_id_snake: Finder<'static>,
    ascii_escape: Finder<'static>,
}

impl Prefilter {
    pub(super) fn new(wanted: Arc<Wanted>) -> Prefilter {
        let carries_fact = |id: &u32| {
            (0..64)
                .filter_map(|items| json::manifest_names(*id, items))
                .flatten()
                .any(|name| wanted.field(name).is_some_and(|field| wanted.carries_fact(field)))
        };
        Prefilter {
            fact_fields: FactFieldSearch::new(wanted.fact_field_names()),
            unnamed_fact_ids: json::MANIFEST_IDS.into_iter().filter(carries_fact).collect(),
            event_id: Finder::new("EventID"),
            event_id_snake: Finder::new("event_id"),
            ascii_escape: Finder::new("\\u00"),
            wanted,
        }
    }

    /// False only when no rule or fact can want this event: every id in it is unwanted, and no name
    /// of a field that carries a fact occurs.
    pub(super) fn may_want_xml(&self, xml: &[u8]) -> bool {
        if self.fact_fields.occurs(xml) {
            return true;
        }
        let mut ids = 0;
        for at in self.event_id.find_iter(xml) {
            match element_id(xml, at + "EventID".len()) {
                IdHint::Number(id) if self.wanted.wants_id(id) => return true,
                IdHint::Number(_) => ids += 1,
                IdHint::Unclear => return true,
                IdHint::None => {}
            }
        }
        ids == 0
    }

    /// [`Prefilter::may_want_xml`] for a JSON text of any shape. Also true for texts that must be
    /// parsed to be counted: envelopes, malformed text.
    pub(super) fn may_want_json(&self, json: &[u8]) -> bool {
        let mut ids = 0;
        let whole =
            json.starts_with(b"{") && json.ends_with(b"}") && !json.starts_with(b"{\"records\"");
        if !whole || self.fact_fields.occurs(json) {
            return true;
        }
        for (finder, len) in
            [(&self.event_id, "EventID".len()), (&self.event_id_snake, "event_id".len())]
        {
            for at in finder.find_iter(json) {
                let hint = match json.get(at + len) {
                    Some(b'"') => key_id(json, at + len + 1),
                    Some(_) | None => element_id(json, at + len),
                };
                match hint {
                    IdHint::Number(id) if self.wants_json_id(id) => return true,
                    IdHint::Number(_) => ids += 1,
                    IdHint::Unclear => return true,
                    IdHint::None => {}
                }
            }
        }
        // Two ids may be two events, and each must be counted.
        ids != 1 || self.escapes_ascii(json)
    }

    /// The first event id in a JSON text, as far as a byte search can find it.
    pub(super) fn first_json_id(&self, json: &[u8]) -> Option<u32> {
        let snake = self.event_id_snake.find(json).map(|at| at + "event_id\"".len());
        let capital = || self.event_id.find(json).map(|at| at + "EventID\"".len());
        match key_id(json, snake.or_else(capital)?) {
            IdHint::Number(id) => Some(id),
            IdHint::Unclear | IdHint::None => None,
        }
    }

    fn wants_json_id(&self, id: u32) -> bool {
        self.wanted.wants_id(id) || self.unnamed_fact_ids.contains(&id)
    }

    /// Whether ASCII letters are written as `\u00XX`: XML within JSON could hide its names that
    /// way.
    fn escapes_ascii(&self, json: &[u8]) -> bool {
        self.ascii_escape.find_iter(json).any(|at| matches!(json.get(at + 4), Some(b'4'..=b'7')))
    }
}

/// What follows the text `EventID`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum IdHint {
    Number(u32),
    /// Perhaps an id, but a byte search cannot tell which.
    Unclear,
    /// No id: an end tag, or another name.
    None,
}

/// The id of an `EventID` element, which may be within a JSON string. `at` is the offset after the
/// name.
fn element_id(text: &[u8], at: usize) -> IdHint {
    let rest = text.get(at..).unwrap_or_default();
    let rest = &rest[..rest.len().min(128)];
    let name = at - "EventID".len();
    if name.checked_sub(1).and_then(|before| text.get(before)) == Some(&b'/') {
        return IdHint::None;
    }
    let content = match rest {
        [b'>', content @ ..] | [b'\\', b'u', b'0', b'0', b'3', b'e' | b'E', content @ ..] => {
            Some(content)
        }
        [b' ' | b'\t' | b'\r' | b'\n', ..] => after_attributes(rest),
        [b'\\', ..] => None,
        [..] => return IdHint::None,
    };
    let ends: [&[u8]; 4] = [b"</", b"<\\/", b"\\u003c/", b"\\u003C/"];
    match content.and_then(leading_number) {
        Some((id, rest)) if ends.iter().any(|end| rest.trim_ascii_start().starts_with(end)) => {
            IdHint::Number(id)
        }
        Some(_) | None => IdHint::Unclear,
    }
}

/// The text after the `>` of a tag, if that cannot be part of an attribute.
fn after_attributes(rest: &[u8]) -> Option<&[u8]> {
    let (attributes, content) = rest.split_at(memchr(b'>', rest)?);
    let count = |quote| attributes.iter().filter(|byte| **byte == quote).count();
    let plain = match (count(b'"'), count(b'\'')) {
        (quotes, 0) | (0, quotes) => quotes.is_multiple_of(2),
        (_, _) => false,
    };
    plain.then_some(&content[1..])
}

/// The id that is the value of a JSON key. `at` is the offset after the key's closing quote.
fn key_id(json: &[u8], at: usize) -> IdHint {
    let rest = json.get(at..).unwrap_or_default().trim_ascii_start();
    let Some(value) = rest.strip_prefix(b":") else { return IdHint::None };
    let value = value.trim_ascii_start();
    let (value, quoted) = match value {
        [b'"', value @ ..] => (value, true),
        [b'{', ..] => return attributed_id(value),
        [..] => (value, false),
    };
    let ends: &[u8] = if quoted { b"\"" } else { b",}" };
    match leading_number(value) {
        Some((id, rest))
            if rest.trim_ascii_start().first().is_some_and(|end| ends.contains(end)) =>
        {
            IdHint::Number(id)
        }
        Some(_) | None => IdHint::Unclear,
    }
}

/// `{"#attributes":{"Qualifiers":0},"#text":4625}`, without blanks.
fn attributed_id(value: &[u8]) -> IdHint {
    let text = value
        .strip_prefix(b"{\"#attributes\":{\"Qualifiers\":")
        .and_then(|rest| leading_number(rest)?.1.strip_prefix(b"},\"#text\":"));
    match text.and_then(leading_number) {
        Some((id, [b'}', ..])) => IdHint::Number(id),
        Some(_) | None => IdHint::Unclear,
    }
}

fn leading_number(text: &[u8]) -> Option<(u32, &[u8])> {
    let text = text.trim_ascii_start();
    let len = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = text.split_at(len);
    let number = digits.iter().try_fold(0_u32, |number, digit| {
        number.checked_mul(10)?.checked_add(u32::from(digit - b'0'))
    });
    Some((number.filter(|_| len > 0)?, rest))
}

/// Searches for the names of all fields that carry facts at once: for a part that they have in
/// common, then for the rest of the name around it.
#[derive(Debug)]
struct FactFieldSearch {
    /// Each name, and the offset of the common part in it.
    names: Vec<(Box<[u8]>, usize)>,
    common: Option<Finder<'static>>,
}

/// A shorter common part would occur everywhere.
const COMMON_BYTES_MIN: usize = 3;

impl FactFieldSearch {
    fn new<'n>(names: impl Iterator<Item = &'n str>) -> FactFieldSearch {
        let names: Vec<&str> = names.collect();
        let common = longest_common_part(&names);
        match common.filter(|common| common.len() >= COMMON_BYTES_MIN) {
            Some(common) => FactFieldSearch {
                names: names
                    .iter()
                    .flat_map(|name| {
                        let places = (0..name.len())
                            .filter(|at| name.as_bytes()[*at..].starts_with(common.as_bytes()));
                        places.map(|at| (name.as_bytes().into(), at))
                    })
                    .collect(),
                common: Some(Finder::new(common).into_owned()),
            },
            None => FactFieldSearch {
                names: names.iter().map(|name| (name.as_bytes().into(), 0)).collect(),
                common: None,
            },
        }
    }

    fn occurs(&self, text: &[u8]) -> bool {
        let Some(common) = &self.common else {
            return self.names.iter().any(|(name, _)| memmem::find(text, name).is_some());
        };
        let mut at = 0;
        // By one, not by the length of the part: occurrences may overlap.
        while let Some(found) = common.find(&text[at..]) {
            let place = at + found;
            let around = |(name, offset): &(Box<[u8]>, usize)| {
                place.checked_sub(*offset).is_some_and(|start| text[start..].starts_with(name))
            };
            if self.names.iter().any(around) {
                return true;
            }
            at = place + 1;
        }
        false
    }
}

fn longest_common_part<'n>(names: &[&'n str]) -> Option<&'n str> {
    let first = *names.first()?;
    let parts =
        (0..first.len()).flat_map(|start| (start + 1..=first.len()).map(move |end| (start, end)));
    parts
        .filter_map(|(start, end)| first.get(start..end))
        .filter(|part| names.iter().all(|name| name.contains(part)))
        .max_by_key(|part| part.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::field_plan::FieldPlan;
    use crate::decode::json::{Learning, Tape};
    use crate::decode::lines::samples::{samples, shapes, wanted};
    use crate::decode::{Tally, xml};

    #[test]
    fn a_rejected_event_is_one_that_the_decoder_would_not_want() {
        let fact_rules: [&[&str]; 4] = [
            &[],
            &["SubjectUserSid"],
            &["SubjectUserSid", "TargetSid"],
            &["IpPort", "MemberSid", "x"],
        ];
        let ids = ["4625", "4624", "6167", "1", "04625", "4625.0", "\"4625\"", "99999999999"];
        let mut rejected = 0;
        for fact_fields in fact_rules {
            let wanted = wanted(fact_fields);
            let prefilter = Prefilter::new(Arc::clone(&wanted));
            let plan = FieldPlan::new(Arc::clone(&wanted));
            for sample in samples() {
                for (shape, _, text) in shapes(&sample) {
                    for id in ids {
                        let changed = text.replace(&sample.id.to_string(), id);
                        for text in [
                            changed.replace("<EventID ", "<EventID\n"),
                            changed.replace(":{", ": { "),
                            changed.replace('S', "\\u0053"),
                            changed.replace('<', "\\u003c"),
                            changed,
                        ] {
                            let mut emitted = 0;
                            let mut tally = Tally::default();
                            let text = text.trim_start_matches('\u{feff}');
                            let maybe = if text.starts_with(['{', '[', '"']) {
                                json::decode_object(
                                    text,
                                    &plan,
                                    &mut Tape::default(),
                                    &mut tally,
                                    Learning::No,
                                    &mut |_| emitted += 1,
                                );
                                prefilter.may_want_json(text.as_bytes())
                            } else {
                                emitted += usize::from(
                                    xml::decode_event(text, &plan, &mut |_| {}) == Ok(true),
                                );
                                prefilter.may_want_xml(text.as_bytes())
                            };
                            assert!(maybe || emitted == 0, "{shape} {id} {fact_fields:?}\n{text}");
                            rejected += usize::from(!maybe);
                        }
                    }
                }
            }
        }
        assert!(rejected > 1000, "{rejected} were rejected");
    }

    #[test]
    fn ids_are_found_in_every_spelling_or_left_unclear() {
        let wanted = Arc::new(Wanted::new([("a", 7)], [], []));
        let prefilter = Prefilter::new(wanted);
        for (text, maybe) in [
            ("<EventID>8</EventID>", false),
            ("<EventID>7</EventID>", true),
            ("<EventID Qualifiers='1'> 8 </EventID>", false),
            ("<EventID Qualifiers='1'>7</EventID>", true),
            ("<EventID a='>8</'>7</EventID>", true),
            ("<EventID a=\"'\" b='>8</'>7</EventID>", true),
            ("<EventID><![CDATA[7]]></EventID>", true),
            ("<EventID><!-- -->7</EventID>", true),
            ("<EventID>&#55;</EventID>", true),
            ("<EventID/>", false),
            ("<EventRecordID>7</EventRecordID>", false),
        ] {
            let text = format!("<Event>{text}<EventID>8</EventID></Event>");
            assert_eq!(prefilter.may_want_xml(text.as_bytes()), maybe, "{text}");
        }
        for (text, maybe) in [
            (r#"{"EventID":8}"#, false),
            (r#"{"EventID":7}"#, true),
            (r#"{"EventID" : "8" }"#, false),
            (r#"{"event_id":"7"}"#, true),
            (r#"{"EventID":8.0}"#, true),
            (r##"{"EventID":{"#attributes":{"Qualifiers":7},"#text":8}}"##, false),
            (r##"{"EventID":{"#attributes":{"Qualifiers":8},"#text":7}}"##, true),
            (r##"{"EventID":{"#attributes":{"Qualifiers":{"#text":8}},"#text":7}}"##, true),
            (r#"{"EventID":8,"EventID":7}"#, true),
            (r#"{"data":"<EventID>8<\/EventID>"}"#, false),
            (r#"{"data":"<EventID Qualifiers=\"0\">8</EventID>"}"#, false),
            (r#"{"data":"\u003cEventID\u003e8\u003c/EventID\u003e"}"#, false),
            (r#"{"data":"<\u0045ventID>7</EventID><EventID>8</EventID>"}"#, true),
            (r#"{"a":"{\"EventID\":7}"}"#, true),
            (r#"{"EventIDs":7}"#, true),
        ] {
            assert_eq!(prefilter.may_want_json(text.as_bytes()), maybe, "{text}");
        }
    }
}

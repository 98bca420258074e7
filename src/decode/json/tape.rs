//! The tokenizer: cuts a JSON text into tokens once, without copying.

use memchr::{memchr, memchr2, memchr3};

use crate::decode::text::matches_of;

/// Deepest nesting of objects and arrays that is read.
pub const DEPTH_MAX: usize = 64;

/// The tokens of one JSON text, in its order. Reused from text to text for its memory.
#[derive(Debug, Default)]
pub struct Tape {
    pub(super) nodes: Vec<Node>,
}

/// ```text
/// {"a":[1,2],"b":"c"}   { a [ 1 2 b c
///                        next of { is the end, of [ is b, of a key its value
/// ```
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    pub(super) kind: NodeKind,
    /// Bytes of the text, without a string's quotes.
    pub(super) start: u32,
    pub(super) end: u32,
    /// Index past this node and all in it.
    pub(super) next: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NodeKind {
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
    /// Cuts a text into tokens. The error is the offset at which it is not JSON. More lenient than
    /// the standard: escapes, control characters in strings and the inner form of numbers are not
    /// checked.
    pub(super) fn fill(&mut self, text: &str) -> Result<(), usize> {
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
                _ => at = self.word(bytes, at)?,
            }
            // A value has ended, and perhaps the containers around it.
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

    /// Reads the key at `at` and its colon; returns the offset after them.
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

    /// Reads `true`, `false` or `null` at `at`; returns the offset after it.
    #[inline(always)]
    fn word(&mut self, bytes: &[u8], at: usize) -> Result<usize, usize> {
        let words =
            [("true", NodeKind::True), ("false", NodeKind::False), ("null", NodeKind::Null)];
        let rest = &bytes[at..];
        let word = words.iter().find(|(word, _)| rest.starts_with(word.as_bytes()));
        let (word, kind) = word.ok_or(at)?;
        self.push(*kind, at, at + word.len());
        Ok(at + word.len())
    }

    /// Reads the string whose opening quote is at `at`; returns the offset after it.
    #[inline(always)]
    fn string(&mut self, bytes: &[u8], at: usize) -> Result<usize, usize> {
        let start = at + 1;
        let (end, is_plain) = string_end::<false>(bytes, start).ok_or(at)?;
        self.push(if is_plain { NodeKind::Text } else { NodeKind::Escaped }, start, end);
        Ok(end + 1)
    }
}

/// The offset of the closing quote of the string that starts here, and whether the string is free
/// of escapes. With `ONE_LINE`, `None` if a line end comes first.
#[inline(always)]
pub(super) fn string_end<const ONE_LINE: bool>(
    bytes: &[u8],
    start: usize,
) -> Option<(usize, bool)> {
    let mut end = quote_or_backslash::<ONE_LINE>(bytes, start)?;
    match bytes[end] {
        b'"' => return Some((end, true)),
        b'\n' if ONE_LINE => return None,
        _ => {}
    }
    // Messages are full of `\n`: it is faster to search for quotes alone and to count the
    // backslashes before them.
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

/// The offset after the number that starts here, if one does.
#[inline(always)]
pub(super) fn number_end(bytes: &[u8], start: usize) -> Option<usize> {
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

/// Out of line, because JSON lines mostly have no blanks.
#[cold]
fn skip_some_space(bytes: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\t' | b'\n' | b'\r') = bytes.get(at) {
        at += 1;
    }
    at
}

/// The next `"` or `\` from `at` on, or with `LINE_END` the next line end. Most strings are short:
/// a few words of eight bytes come before the vector search.
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

#[cfg(test)]
mod tests {
    use serde_json::Value as Oracle;

    use super::*;
    use crate::decode::json::doc::Doc;

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
}

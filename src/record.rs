//! One Windows event as `decode` passes it to `detect`: the System fields and the wanted data
//! values, borrowed from the input where possible; and [`Wanted`], which says what is wanted.
//!
//! Values keep the type that the input gave them (a SID is bytes in EVTX, text in XML); the
//! accessors (`as_sid`, `as_u64`, …) accept either, so that a rule sees the same event in every
//! format.

use std::borrow::Cow;
use std::fmt::Write as _;

use rustc_hash::FxHashMap;

use crate::sid::Sid;
use crate::time::EventTime;

/// One decoded event.
#[derive(Clone, Debug, Default)]
pub struct Record<'a> {
    pub provider: Cow<'a, str>,
    pub event_id: u32,
    /// The channel the event was written to on its own machine.
    pub channel: Value<'a>,
    pub computer: Value<'a>,
    pub record_id: u64,
    pub time: EventTime,
    /// The wanted data values in the order of the event.
    pub fields: Vec<(FieldId, Value<'a>)>,
}

impl<'a> Record<'a> {
    /// The first value of a field.
    pub fn field(&self, id: FieldId) -> Option<&Value<'a>> {
        self.fields.iter().find(|(field, _)| *field == id).map(|(_, value)| value)
    }
}

/// One value of an event.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value<'a> {
    #[default]
    Null,
    Text(Cow<'a, str>),
    /// UTF-16LE code units as in the input. An odd last byte, and everything from the first NUL on,
    /// are not part of the text.
    Utf16(&'a [u8]),
    Unsigned(u64),
    Signed(i64),
    /// A number that Windows prints as `0x…`.
    Hex(u64),
    Bool(bool),
    /// A complete SID in binary form, valid for [`Sid::from_bytes`].
    Sid(&'a [u8]),
    Time(EventTime),
    Guid([u8; 16]),
    Binary(&'a [u8]),
}

impl<'a> Value<'a> {
    /// The value as Windows prints it in XML; unpaired surrogates become U+FFFD.
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Value::Null => Cow::Borrowed(""),
            Value::Text(text) => Cow::Borrowed(text),
            Value::Utf16(bytes) => Cow::Owned(utf16_text(bytes)),
            Value::Unsigned(number) => Cow::Owned(number.to_string()),
            Value::Signed(number) => Cow::Owned(number.to_string()),
            Value::Hex(number) => Cow::Owned(format!("0x{number:x}")),
            Value::Bool(true) => Cow::Borrowed("true"),
            Value::Bool(false) => Cow::Borrowed("false"),
            Value::Sid(bytes) => {
                Cow::Owned(Sid::from_bytes(bytes).map_or_else(String::new, |sid| sid.to_string()))
            }
            Value::Time(time) => Cow::Owned(time.to_string()),
            Value::Guid(guid) => Cow::Owned(guid_text(guid)),
            Value::Binary(bytes) => Cow::Owned(hex_text(bytes)),
        }
    }

    /// The text without surrounding blanks; `None` for what Windows writes for "nothing": empty,
    /// blanks, `-`, `(NULL)`.
    pub fn as_name(&self) -> Option<Cow<'_, str>> {
        let text = match self.text() {
            Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
            Cow::Owned(text) if text.trim().len() == text.len() => Cow::Owned(text),
            Cow::Owned(text) => Cow::Owned(text.trim().to_owned()),
        };
        (!is_nothing(&text)).then_some(text)
    }

    /// Whether [`Value::as_name`] is `None`, without building the text.
    pub fn is_nothing(&self) -> bool {
        match self {
            Value::Null => true,
            Value::Text(text) => is_nothing(text.trim()),
            Value::Utf16(bytes) => match bytes.as_chunks::<2>().0 {
                [] | [[0, 0], ..] | [[b'-', 0]] | [[b'-', 0], [0, 0], ..] => true,
                [[b' ' | b'(', 0], ..] => self.as_name().is_none(),
                _ => false,
            },
            Value::Unsigned(_)
            | Value::Signed(_)
            | Value::Hex(_)
            | Value::Bool(_)
            | Value::Sid(_)
            | Value::Time(_)
            | Value::Guid(_) => false,
            Value::Binary(bytes) => bytes.is_empty(),
        }
    }

    pub fn as_sid(&self) -> Option<Sid> {
        match self {
            Value::Sid(bytes) => Sid::from_bytes(bytes),
            Value::Text(text) => Sid::parse(text.trim()),
            Value::Utf16(bytes) => Sid::parse(utf16_text(bytes).trim()),
            Value::Null
            | Value::Unsigned(_)
            | Value::Signed(_)
            | Value::Hex(_)
            | Value::Bool(_)
            | Value::Time(_)
            | Value::Guid(_)
            | Value::Binary(_) => None,
        }
    }

    /// A number, or a text that is one: decimal, `0x…`, or `%%nnnn` (the number of a message). A
    /// negative number is given as its 32-bit two's complement, as status codes are sometimes
    /// printed.
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Value::Unsigned(number) | Value::Hex(number) => Some(*number),
            Value::Signed(number) => signed_code(*number),
            Value::Bool(flag) => Some(u64::from(*flag)),
            Value::Text(text) => parse_number(text),
            Value::Utf16(bytes) => parse_number(&utf16_text(bytes)),
            Value::Null | Value::Sid(_) | Value::Time(_) | Value::Guid(_) | Value::Binary(_) => {
                None
            }
        }
    }

    /// A binary value, or hex digits of even number, as bytes.
    pub fn as_bytes(&self) -> Option<Cow<'_, [u8]>> {
        match self {
            Value::Binary(bytes) => Some(Cow::Borrowed(bytes)),
            Value::Text(text) => parse_hex(text).map(Cow::Owned),
            Value::Utf16(bytes) => parse_hex(&utf16_text(bytes)).map(Cow::Owned),
            Value::Null
            | Value::Unsigned(_)
            | Value::Signed(_)
            | Value::Hex(_)
            | Value::Bool(_)
            | Value::Sid(_)
            | Value::Time(_)
            | Value::Guid(_) => None,
        }
    }
}

/// Whether the text is one of those that Windows writes for "nothing".
fn is_nothing(text: &str) -> bool {
    matches!(text, "" | "-" | "(NULL)" | "(null)")
}

fn signed_code(number: i64) -> Option<u64> {
    match number {
        0.. => u64::try_from(number).ok(),
        _ => i32::try_from(number).ok().map(|code| u64::from(code as u32)),
    }
}

fn parse_number(text: &str) -> Option<u64> {
    let text = text.trim();
    if let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return u64::from_str_radix(hex, 16).ok();
    }
    let digits = text.strip_prefix("%%").unwrap_or(text);
    digits.parse::<u64>().ok().or_else(|| digits.parse().ok().and_then(signed_code))
}

fn parse_hex(text: &str) -> Option<Vec<u8>> {
    let text = text.trim().as_bytes();
    if text.is_empty() || !text.len().is_multiple_of(2) {
        return None;
    }
    let digit = |byte: u8| (byte as char).to_digit(16).map(|digit| digit as u8);
    text.as_chunks::<2>()
        .0
        .iter()
        .map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?))
        .collect()
}

/// Decodes UTF-16LE up to the first NUL; unpaired surrogates become U+FFFD.
pub fn utf16_text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() / 2);
    push_utf16(&mut text, bytes);
    text
}

/// Appends UTF-16LE to a text, as [`utf16_text`] decodes it.
pub fn push_utf16(text: &mut String, bytes: &[u8]) {
    let (units, _) = bytes.as_chunks::<2>();
    // Most text of events is ASCII: it is copied piece by piece, without decoding each character.
    let mut ascii = [0; 32];
    let mut rest = units;
    while !rest.is_empty() {
        let piece = &rest[..rest.len().min(ascii.len())];
        let mut bits = 0;
        let mut nul = false;
        for (byte, [low, high]) in ascii.iter_mut().zip(piece) {
            *byte = *low;
            bits |= *high | (low & 0x80);
            nul |= *low == 0;
        }
        if bits != 0 || nul {
            break;
        }
        match std::str::from_utf8(&ascii[..piece.len()]) {
            Ok(piece) => text.push_str(piece),
            Err(_) => break,
        }
        rest = &rest[piece.len()..];
    }
    let units = rest.iter().map(|unit| u16::from_le_bytes(*unit)).take_while(|&unit| unit != 0);
    text.extend(char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)));
}

/// Whether UTF-16LE bytes spell an ASCII text, ignoring case.
pub fn utf16_eq_ascii(bytes: &[u8], ascii: &str) -> bool {
    bytes.len() == ascii.len() * 2
        && bytes
            .as_chunks::<2>()
            .0
            .iter()
            .zip(ascii.bytes())
            .all(|([low, high], byte)| *high == 0 && low.eq_ignore_ascii_case(&byte))
}

/// `{54849625-5478-4994-a5ba-3e3b0328c30d}` from the mixed-endian bytes.
fn guid_text(guid: &[u8; 16]) -> String {
    let [a, b, c, d, e, f, g, h, rest @ ..] = *guid;
    let mut text = format!(
        "{{{:08x}-{:04x}-{:04x}-",
        u32::from_le_bytes([a, b, c, d]),
        u16::from_le_bytes([e, f]),
        u16::from_le_bytes([g, h])
    );
    for (index, byte) in rest.iter().enumerate() {
        let dash = if index == 2 { "-" } else { "" };
        let _ = write!(text, "{dash}{byte:02x}");
    }
    text.push('}');
    text
}

fn hex_text(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02X}");
        text
    })
}

/// A wanted field, as an index into [`Wanted::field_name`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldId(pub u16);

/// Most data items of one event that can be read by position (`#1` … `#64`).
pub const POSITIONS_MAX: usize = 64;

/// Most distinct field names that can be wanted.
pub const FIELDS_MAX: usize = 1024;

/// What `detect` wants of the input, so that `decode` reads nothing else.
///
/// A record is wanted when a rule matches its provider and id, or when it *carries a fact*: one of
/// certain fields holds the SID of an account ([`Sid::is_account`]), whatever the provider and id.
///
/// Fields are named as in the event. Names that start with `#` are not data, and are read only of
/// records that a rule matches:
///
/// | name | value |
/// |---|---|
/// | `#1`, `#2`, … | the n-th data item without a name |
/// | `#count` | number of data items, named or not (leaf elements of `UserData`) |
/// | `#binary` | the `Binary` element |
/// | `#level`, `#version` | System/Level, System/Version |
/// | `#user` | System/Security@UserID |
/// | `#message`, `#culture` | RenderingInfo/Message, RenderingInfo@Culture |
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Wanted ids of each provider; the provider's name is in ASCII lower case.
    providers: FxHashMap<Box<str>, Box<[u32]>>,
    /// The wanted ids of all providers together: a cheap test that comes first.
    any_provider: IdSet,
    names: Vec<Box<str>>,
    by_name: FxHashMap<Box<str>, FieldId>,
    /// By field: whether a record carries a fact when it holds the SID of an account.
    fact_carriers: Vec<bool>,
    /// By field: whether it is read of a record that only carries a fact.
    read_for_facts: Vec<bool>,
    /// Whether `read_for_facts` applies; else all fields are read.
    limits_fact_reads: bool,
    /// The fields `#1`, `#2`, …, as far as they are wanted.
    positions: Vec<Option<FieldId>>,
    /// Whether every event is wanted.
    any_event: bool,
}

impl Wanted {
    /// `events` are the providers and ids that rules match; `fields` all field names that rules or
    /// facts read; `fact_carriers` the data fields that make a record wanted when they hold the SID
    /// of an account.
    ///
    /// # Panics With more than [`FIELDS_MAX`] fields: the reader of rules refuses those.
    pub fn new<'n>(
        events: impl IntoIterator<Item = (&'n str, u32)>,
        fields: impl IntoIterator<Item = &'n str>,
        fact_carriers: impl IntoIterator<Item = &'n str>,
    ) -> Wanted {
        let mut wanted = Wanted::default();
        let mut providers: FxHashMap<Box<str>, Vec<u32>> = FxHashMap::default();
        for (provider, id) in events {
            providers.entry(provider.to_ascii_lowercase().into()).or_default().push(id);
            wanted.any_provider.insert(id);
        }
        for (provider, mut ids) in providers {
            ids.sort_unstable();
            ids.dedup();
            wanted.providers.insert(provider, ids.into());
        }
        for name in fields {
            wanted.intern(name);
        }
        for name in fact_carriers {
            let id = wanted.intern(name);
            wanted.fact_carriers[usize::from(id.0)] = true;
            wanted.read_for_facts[usize::from(id.0)] = true;
        }
        wanted.positions = (1..=POSITIONS_MAX)
            .map(|position| wanted.by_name.get(format!("#{position}").as_str()).copied())
            .collect();
        wanted
    }

    /// Wants every event, and nothing of it but its system fields.
    pub fn any_event() -> Wanted {
        Wanted { any_event: true, ..Wanted::default() }
    }

    /// Limits what is read of a record that no rule matches to these fields and the fact carriers.
    /// Without this call all fields are read.
    pub fn with_fact_fields<'n>(mut self, fields: impl IntoIterator<Item = &'n str>) -> Wanted {
        for name in fields {
            let id = self.intern(name);
            self.read_for_facts[usize::from(id.0)] = true;
        }
        self.limits_fact_reads = true;
        self
    }

    /// Whether a field is read of a record that no rule matches.
    pub fn reads_for_facts(&self, field: FieldId) -> bool {
        !self.limits_fact_reads || self.read_for_facts[usize::from(field.0)]
    }

    /// The id of a name, which is added if it is new.
    fn intern(&mut self, name: &str) -> FieldId {
        if let Some(id) = self.by_name.get(name) {
            return *id;
        }
        assert!(self.names.len() < FIELDS_MAX, "at most {FIELDS_MAX} field names");
        let id = FieldId(self.names.len() as u16);
        self.names.push(name.into());
        self.by_name.insert(name.into(), id);
        self.fact_carriers.push(false);
        self.read_for_facts.push(false);
        id
    }

    /// Whether a rule matches this provider and id.
    pub fn wants(&self, provider: &str, event_id: u32) -> bool {
        if self.any_event {
            return true;
        }
        if !self.any_provider.contains(event_id) {
            return false;
        }
        match self.providers.get(provider) {
            Some(ids) => ids.binary_search(&event_id).is_ok(),
            None if provider.bytes().any(|byte| byte.is_ascii_uppercase()) => self
                .providers
                .get(provider.to_ascii_lowercase().as_str())
                .is_some_and(|ids| ids.binary_search(&event_id).is_ok()),
            None => false,
        }
    }

    /// [`Wanted::wants`] for a provider in UTF-16LE.
    pub fn wants_utf16(&self, provider: &[u8], event_id: u32) -> bool {
        if self.any_event {
            return true;
        }
        if !self.any_provider.contains(event_id) {
            return false;
        }
        let mut ascii = [0; 64];
        let (units, _) = provider.as_chunks::<2>();
        let Some(ascii) = ascii.get_mut(..units.len()) else {
            return self.wants(&utf16_text(provider), event_id);
        };
        for (byte, [low, high]) in ascii.iter_mut().zip(units) {
            if *high != 0 || !low.is_ascii() || *low == 0 {
                return self.wants(&utf16_text(provider), event_id);
            }
            *byte = low.to_ascii_lowercase();
        }
        let known = std::str::from_utf8(ascii).ok().and_then(|name| self.providers.get(name));
        known.is_some_and(|ids| ids.binary_search(&event_id).is_ok())
    }

    /// Whether a rule matches this id for some provider.
    pub fn wants_id(&self, event_id: u32) -> bool {
        self.any_event || self.any_provider.contains(event_id)
    }

    /// The wanted ids of one provider, in ascending order.
    pub fn ids_of(&self, provider: &str) -> &[u32] {
        self.providers.get(provider.to_ascii_lowercase().as_str()).map_or(&[], |ids| ids)
    }

    /// The field of this name, if it is wanted.
    pub fn field(&self, name: &str) -> Option<FieldId> {
        self.by_name.get(name).copied()
    }

    /// The field for the n-th data item without a name, counted from 1, if it is wanted.
    pub fn position(&self, position: usize) -> Option<FieldId> {
        self.positions.get(position.checked_sub(1)?).copied().flatten()
    }

    /// Whether a record carries a fact when this field holds the SID of an account.
    pub fn carries_fact(&self, field: FieldId) -> bool {
        self.fact_carriers[usize::from(field.0)]
    }

    /// Names of the fields for which [`Wanted::carries_fact`] returns true.
    pub fn fact_field_names(&self) -> impl Iterator<Item = &str> {
        self.names
            .iter()
            .zip(&self.fact_carriers)
            .filter(|(_, carries_fact)| **carries_fact)
            .map(|(name, _)| &**name)
    }

    pub fn field_name(&self, field: FieldId) -> &str {
        &self.names[usize::from(field.0)]
    }

    pub fn field_count(&self) -> usize {
        self.names.len()
    }
}

/// A set of event ids below 65,536, one bit each.
#[derive(Clone, Debug)]
struct IdSet(Box<[u64; 1024]>);

impl Default for IdSet {
    fn default() -> IdSet {
        IdSet(Box::new([0; 1024]))
    }
}

impl IdSet {
    fn insert(&mut self, id: u32) {
        if let Some(word) = self.0.get_mut(id as usize / 64) {
            *word |= 1 << (id % 64);
        }
    }

    fn contains(&self, id: u32) -> bool {
        self.0.get(id as usize / 64).is_some_and(|word| word >> (id % 64) & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_read_the_same_from_every_format() {
        let utf16: Vec<u8> = "0xC000006D".encode_utf16().flat_map(u16::to_le_bytes).collect();
        for value in [
            Value::Hex(0xC000_006D),
            Value::Text("0xc000006d".into()),
            Value::Utf16(&utf16),
            Value::Unsigned(3_221_225_581),
            Value::Signed(-1_073_741_715),
            Value::Text("-1073741715".into()),
        ] {
            assert_eq!(value.as_u64(), Some(0xC000_006D), "{value:?}");
        }
        assert_eq!(Value::Text("%%2313".into()).as_u64(), Some(2313));
        assert_eq!(Value::Text("NtLmSsp ".into()).as_name().as_deref(), Some("NtLmSsp"));
        for nothing in [Value::Null, Value::Text("-".into()), Value::Text("  ".into())] {
            assert_eq!(nothing.as_name(), None);
        }
        assert_eq!(
            Value::Text("220000C0".into()).as_bytes().as_deref(),
            Some(&[0x22, 0, 0, 0xC0][..])
        );
    }

    #[test]
    fn a_guid_prints_as_windows_prints_it() {
        let bytes = [
            0x25, 0x96, 0x84, 0x54, 0x78, 0x54, 0x94, 0x49, 0xa5, 0xba, 0x3e, 0x3b, 0x03, 0x28,
            0xc3, 0x0d,
        ];
        assert_eq!(Value::Guid(bytes).text(), "{54849625-5478-4994-a5ba-3e3b0328c30d}");
    }

    #[test]
    fn providers_are_compared_without_case_and_ids_exactly() {
        let wanted = Wanted::new([("LsaSrv", 6167)], ["#1"], ["SubjectUserSid"]);
        assert!(wanted.wants("LsaSrv", 6167));
        assert!(wanted.wants("LSASRV", 6167));
        assert!(!wanted.wants("LsaSrv", 6168));
        assert!(!wanted.wants("NETLOGON", 6167));
        assert_eq!(wanted.position(1), wanted.field("#1"));
        assert_eq!(wanted.position(2), None);
        let subject = wanted.field("SubjectUserSid").expect("interned");
        assert!(wanted.carries_fact(subject));
    }
}

//! Logs that the project writes itself, for the other tests; and that both
//! ways of reading see the same in them, whatever an event may hold.

use std::io::Cursor;
use std::num::NonZeroU64;
use std::sync::Arc;

use twinsid::decode::evtx::{CHUNK_BYTES, ChunkDecoder};
use twinsid::decode::{Tally, oracle};
use twinsid::record::{Record, Wanted};
use twinsid::sid::Sid;
use twinsid::simulate::evtx::{EventSpec, Options, Payload, Rendering, TypedValue, Writer};
use twinsid::time::{EventTime, TICKS_PER_SEC};

use crate::oracle::{check_equal, fast, shipped};

pub const SECURITY: &str = "Microsoft-Windows-Security-Auditing";

/// 2025-10-01 08:00:00 UTC and some seconds.
pub fn time(seconds: u64) -> EventTime {
    let start = EventTime::from_civil((2025, 10, 1), (8, 0, 0), 1_234_567).expect("a valid time");
    start.plus_ticks(seconds * TICKS_PER_SEC)
}

pub fn sid(text: &str) -> Sid {
    Sid::parse(text).expect(text)
}

/// An event of the Security log.
pub fn event(event_id: u16, record_id: u64, data: Payload<'_>) -> EventSpec<'_> {
    EventSpec {
        provider: SECURITY,
        provider_guid: Some([7; 16]),
        event_source_name: None,
        qualifiers: None,
        event_id,
        version: 2,
        level: 0,
        task: 12544,
        opcode: 0,
        keywords: 0x8010_0000_0000_0000,
        time: time(record_id),
        record_id,
        process_id: 640,
        thread_id: 5000,
        channel: "Security",
        computer: "FS01.corp.example",
        user: None,
        data,
        rendering: None,
    }
}

/// A classic event of the System log.
pub fn lsa_event(event_id: u16, record_id: u64, data: Payload<'_>) -> EventSpec<'_> {
    EventSpec {
        provider: "LsaSrv",
        provider_guid: None,
        qualifiers: Some(0),
        level: 2,
        channel: "System",
        user: Some(sid("S-1-5-18")),
        ..event(event_id, record_id, data)
    }
}

/// What differs between failed logons.
#[derive(Clone, Copy, Debug)]
pub struct FailedLogon<'a> {
    pub record_id: u64,
    pub computer: &'a str,
    pub user: &'a str,
    pub domain: &'a str,
    pub workstation: &'a str,
}

/// Writes one log.
pub struct Log(Writer<Cursor<Vec<u8>>>);

impl Log {
    pub fn new() -> Log {
        Log(Writer::new(Cursor::new(Vec::new())).expect("memory can be written"))
    }

    pub fn write(&mut self, event: &EventSpec<'_>) {
        self.0.write(event).expect("the event fits a chunk");
    }

    pub fn failed_logon(&mut self, logon: FailedLogon<'_>) {
        let fields = [
            ("SubjectUserSid", TypedValue::Sid(sid("S-1-0-0"))),
            ("SubjectUserName", TypedValue::Text("-")),
            ("SubjectDomainName", TypedValue::Text("-")),
            ("SubjectLogonId", TypedValue::Hex64(0)),
            ("TargetUserSid", TypedValue::Sid(sid("S-1-0-0"))),
            ("TargetUserName", TypedValue::Text(logon.user)),
            ("TargetDomainName", TypedValue::Text(logon.domain)),
            ("Status", TypedValue::Hex32(0xC000_006D)),
            ("FailureReason", TypedValue::Text("%%2313")),
            ("SubStatus", TypedValue::Hex32(0xC000_006A)),
            ("LogonType", TypedValue::U32(3)),
            ("LogonProcessName", TypedValue::Text("NtLmSsp ")),
            ("AuthenticationPackageName", TypedValue::Text("NTLM")),
            ("WorkstationName", TypedValue::Text(logon.workstation)),
            ("ProcessId", TypedValue::Pointer(0)),
            ("IpAddress", TypedValue::Text("10.0.0.7")),
            ("IpPort", TypedValue::Text("50123")),
        ];
        let data = Payload::Named(&fields);
        let event = event(4625, logon.record_id, data);
        self.write(&EventSpec { computer: logon.computer, ..event });
    }

    /// A logon that worked, which teaches the account's SID.
    pub fn logon(&mut self, record_id: u64, computer: &str, user: &str, rid: u32) {
        let account = Sid::new(5, &[21, 1111, 2222, 3333, rid]).expect("a valid SID");
        let fields = [
            ("SubjectUserSid", TypedValue::Sid(sid("S-1-5-18"))),
            ("SubjectUserName", TypedValue::Text("FS01$")),
            ("SubjectDomainName", TypedValue::Text("CORP")),
            ("TargetUserSid", TypedValue::Sid(account)),
            ("TargetUserName", TypedValue::Text(user)),
            ("TargetDomainName", TypedValue::Text("CORP")),
            ("LogonType", TypedValue::U32(3)),
        ];
        self.write(&EventSpec { computer, ..event(4624, record_id, Payload::Named(&fields)) });
    }

    /// An event that nobody wants.
    pub fn noise(&mut self, record_id: u64, computer: &str) {
        let fields = [
            ("Hash", TypedValue::Binary(&[7; 300])),
            ("Text", TypedValue::Text("nothing of note")),
        ];
        self.write(&EventSpec { computer, ..event(5156, record_id, Payload::Named(&fields)) });
    }

    pub fn finish(self) -> Vec<u8> {
        self.0.finish().expect("memory can be written").into_inner()
    }
}

/// A log of two chunks: failures of a few accounts on two computers, one of
/// them with a machine-id mismatch; logons that teach who they are; noise.
pub fn small_log() -> Vec<u8> {
    let mut log = Log::new();
    for round in 0..30 {
        let record_id = 1 + round * 6;
        let computer = ["FS01.corp.example", "FS02.corp.example"][round as usize % 2];
        let user = ["alice", "bob", "carol"][round as usize % 3];
        log.logon(record_id, computer, user, 1100 + (round % 3) as u32);
        for more in 1..=2 {
            log.noise(record_id + more, computer);
        }
        for more in 3..=4 {
            log.failed_logon(FailedLogon {
                record_id: record_id + more,
                computer,
                user,
                domain: "CORP",
                workstation: "WS07",
            });
        }
        if round % 10 == 3 {
            log.write(&EventSpec { computer, ..lsa_event(6167, record_id + 5, Payload::None) });
        }
    }
    let bytes = log.finish();
    assert_eq!(bytes.len(), 4096 + 2 * CHUNK_BYTES, "two chunks");
    bytes
}

/// The log's events as XML, a line each.
pub fn xml_lines(bytes: &[u8]) -> String {
    let mut lines = String::new();
    for chunk in bytes[4096..].chunks(CHUNK_BYTES) {
        for (_, rendered) in oracle::render(chunk, |_| true) {
            let text = rendered.expect("the events are whole");
            let event = &text[text.find("<Event").expect("an event")..];
            lines.push_str(&event.lines().map(str::trim_start).collect::<String>());
            lines.push('\n');
        }
    }
    lines
}

/// The log's events as JSON lines.
pub fn json_lines(bytes: &[u8]) -> String {
    let settings = evtx::ParserSettings::new().indent(false);
    let parser = evtx::EvtxParser::from_buffer(bytes.to_vec()).expect("an EVTX file");
    let mut parser = parser.with_configuration(settings);
    parser.records_json().fold(String::new(), |lines, record| {
        lines + &record.expect("the events are whole").data + "\n"
    })
}

fn file(events: &[EventSpec<'_>]) -> Vec<u8> {
    let mut log = Log::new();
    events.iter().for_each(|event| log.write(event));
    log.finish()
}

/// Every field that the written events carry, and a few events.
fn all_wanted() -> Arc<Wanted> {
    let positions: Vec<String> = (1..=8).map(|position| format!("#{position}")).collect();
    let named = [
        "null", "text", "i8", "u8", "i16", "u16", "i32", "u32", "i64", "u64", "f32", "f64",
        "hex32", "hex64", "pointer", "bool", "sid", "time", "guid", "binary", "Titel", "#count",
        "#binary", "#level", "#version", "#user", "#message", "#culture",
    ];
    let fields = named.into_iter().chain(positions.iter().map(String::as_str));
    let events = [(SECURITY, 4625), ("LsaSrv", 6167), ("EventLog", 6005)];
    Arc::new(Wanted::new(events, fields, ["TargetUserSid"]))
}

/// Both ways see `records` wanted records, `slow` of them the slow way.
#[track_caller]
fn check(bytes: &[u8], records: usize, slow: u64) {
    let (wanted, tally) = check_equal("a written log", bytes, &all_wanted());
    assert_eq!(wanted, records, "{tally:?}");
    assert_eq!(tally.slow_records, slow, "{tally:?}");
    assert!(tally.skipped.is_empty(), "{tally:?}");
}

#[test]
fn every_kind_of_data_reads_the_same_both_ways() {
    let text = [("text", TypedValue::Text("x"))];
    let user = Payload::User { element: "Told", namespace: "urn:x", fields: &text };
    let bare = Payload::User { element: "Told", namespace: "", fields: &text };
    for data in [
        Payload::None,
        Payload::Named(&[]),
        Payload::Named(&text),
        Payload::Named(&[("text", TypedValue::Text("x")), ("text", TypedValue::Text("y"))]),
        Payload::Positional(&[]),
        Payload::Positional(&[TypedValue::Text("x"), TypedValue::U32(5), TypedValue::Null]),
        Payload::Unnamed(&[], None),
        Payload::Unnamed(&["one", "", "three"], Some(&[1, 2, 3])),
        Payload::Unnamed(&["<Data>&amp;</Data>"], Some(&[])),
        user,
        bare,
    ] {
        check(&file(&[event(4625, 1, data)]), 1, 0);
        check(&file(&[lsa_event(6167, 1, data)]), 1, 0);
    }
}

#[test]
fn every_type_of_value_reads_the_same_both_ways() {
    let values = [
        ("null", TypedValue::Null),
        ("text", TypedValue::Text("<a href=\"x\">&amp; 'q' ]]> \u{fffd} \t\r\n -</a>")),
        ("i8", TypedValue::I8(-128)),
        ("u8", TypedValue::U8(255)),
        ("i16", TypedValue::I16(-32_768)),
        ("u16", TypedValue::U16(65_535)),
        ("i32", TypedValue::I32(i32::MIN)),
        ("u32", TypedValue::U32(u32::MAX)),
        ("i64", TypedValue::I64(i64::MIN)),
        ("u64", TypedValue::U64(u64::MAX)),
        ("hex32", TypedValue::Hex32(0xC000_006D)),
        ("hex64", TypedValue::Hex64(u64::MAX)),
        ("pointer", TypedValue::Pointer(0x10)),
        ("bool", TypedValue::Bool(true)),
        ("sid", TypedValue::Sid(sid("S-1-5-21-3583694148-1414552638-2922671848-1104"))),
        ("time", TypedValue::Time(time(5))),
        ("guid", TypedValue::Guid([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16])),
        ("binary", TypedValue::Binary(&[0, 0x7f, 0xff])),
    ];
    check(&file(&[event(4625, 1, Payload::Named(&values))]), 1, 0);
    for value in values {
        check(&file(&[event(4625, 1, Payload::Named(&[value]))]), 1, 0);
        check(&file(&[event(4625, 1, Payload::Positional(&[value.1]))]), 1, 0);
    }
    for (name, value) in [
        ("text", TypedValue::Text("")),
        ("bool", TypedValue::Bool(false)),
        ("sid", TypedValue::Sid(sid("S-1-0-0"))),
        ("time", TypedValue::Time(EventTime(0))),
        ("hex32", TypedValue::Hex32(0)),
        ("binary", TypedValue::Binary(&[])),
    ] {
        check(&file(&[event(4625, 1, Payload::Named(&[(name, value)]))]), 1, 0);
    }
}

/// Rules read no fractions, so that the fast path has none.
#[test]
fn fractions_take_the_slow_path() {
    for value in [("f32", TypedValue::F32(1.5)), ("f64", TypedValue::F64(-0.25))] {
        check(&file(&[event(4625, 1, Payload::Named(&[value]))]), 1, 1);
    }
}

#[test]
fn text_of_any_language_reads_the_same_both_ways() {
    let name = "Fehler beim Anmelden: Jürgen Groß, 山田 太郎, Алёна, 🙂, \u{202e}abc";
    let fields = [("text", TypedValue::Text(name)), ("Titel", TypedValue::Text(name))];
    let named = event(4625, 1, Payload::Named(&fields));
    let (values, texts) = ([TypedValue::Text(name)], [name, "zweite"]);
    let positional = event(4625, 2, Payload::Positional(&values));
    let classic = lsa_event(6167, 3, Payload::Unnamed(&texts, None));
    let computer = EventSpec { computer: "büro-1.firma.example", ..named };
    check(&file(&[named, positional, classic, computer]), 4, 0);
}

/// A rule may want any name.
#[test]
fn a_field_of_any_name_reads_the_same_both_ways() {
    let long = "Name".repeat(40);
    for name in ["Überschrift", &long] {
        let bytes = file(&[event(4625, 1, Payload::Named(&[(name, TypedValue::Text("x"))]))]);
        let wanted = Arc::new(Wanted::new([(SECURITY, 4625)], [name], []));
        check_equal(name, &bytes, &wanted);
    }
}

#[test]
fn the_text_that_a_collector_adds_reads_the_same_both_ways() {
    let rendering = Rendering {
        culture: "de-DE",
        message: "Ein Konto konnte nicht angemeldet werden.\r\n\r\nAntragsteller:\r\n\t-",
        level: "Informationen",
        task: "Anmelden",
        opcode: "Info",
        channel: "Sicherheit",
        provider: "Microsoft Windows security auditing.",
        keywords: &["Überwachung gescheitert", "Klassisch"],
    };
    for data in [Payload::None, Payload::Named(&[("text", TypedValue::Text("x"))])] {
        let rendered = EventSpec { rendering: Some(rendering), ..event(4625, 1, data) };
        let plain = Rendering { message: "", keywords: &[], ..rendering };
        let empty = EventSpec { rendering: Some(plain), ..lsa_event(6167, 2, data) };
        check(&file(&[rendered, empty]), 2, 0);
    }
}

#[test]
fn attributes_of_the_system_part_read_the_same_both_ways() {
    let data = Payload::Unnamed(&["x"], None);
    let source = EventSpec {
        provider: "Microsoft-Windows-Eventlog",
        event_source_name: Some("EventLog"),
        ..lsa_event(6005, 1, data)
    };
    let bare = EventSpec { provider_guid: None, version: 0, ..event(4625, 2, data) };
    let user = EventSpec {
        user: Some(sid("S-1-5-21-1-2-3-1104")),
        qualifiers: None,
        event_id: 4625,
        ..event(4625, 3, Payload::None)
    };
    check(&file(&[source, bare, user]), 3, 0);
}

/// A collector's log: many computers, many templates, chunk after chunk.
fn collected(
    options: Options,
    events: u64,
    end: fn(Writer<Cursor<Vec<u8>>>) -> Vec<u8>,
) -> Vec<u8> {
    let mut writer =
        Writer::with_options(Cursor::new(Vec::new()), options).expect("memory can be written");
    for record_id in 1..=events {
        let computer = format!("WS{:03}.corp.example", record_id % 40);
        let text = format!("value {record_id}");
        let named = [("text", TypedValue::Text(&text)), ("u64", TypedValue::U64(record_id))];
        let data = match record_id % 4 {
            0 => Payload::Named(&named),
            1 => Payload::Named(&named[..1]),
            2 => Payload::Positional(&[TypedValue::Hex64(record_id)]),
            _ => Payload::None,
        };
        let id = if record_id % 3 == 0 { 4625 } else { 4634 };
        let written = EventSpec { computer: &computer, ..event(id, record_id, data) };
        writer.write(&written).expect("the event fits a chunk");
    }
    end(writer)
}

fn finished(writer: Writer<Cursor<Vec<u8>>>) -> Vec<u8> {
    writer.finish().expect("memory can be written").into_inner()
}

fn left_open(writer: Writer<Cursor<Vec<u8>>>) -> Vec<u8> {
    writer.leave_open().expect("memory can be written").into_inner()
}

#[test]
fn many_computers_and_chunks_read_the_same_both_ways() {
    let bytes = collected(Options::default(), 900, finished);
    assert!(bytes.len() > 4096 + 4 * CHUNK_BYTES, "{} bytes", bytes.len());
    check(&bytes, 300, 0);
    check(
        &collected(Options { first_record_id: 1 << 40, chunks_max: None }, 900, finished),
        300,
        0,
    );
}

#[test]
fn a_log_left_open_reads_the_same_both_ways() {
    check(&collected(Options::default(), 900, left_open), 300, 0);
}

#[test]
fn a_log_that_went_round_reads_the_same_both_ways() {
    let options = Options { first_record_id: 1, chunks_max: NonZeroU64::new(2) };
    let bytes = collected(options, 900, finished);
    assert_eq!(bytes.len(), 4096 + 2 * CHUNK_BYTES);
    let (records, tally) = check_equal("a log that went round", &bytes, &all_wanted());
    assert!(records >= 50 && tally.skipped.is_empty(), "{records} of {tally:?}");
}

#[test]
fn the_small_log_reads_the_same_both_ways_under_the_shipped_rules() {
    let (records, tally) = check_equal("the small log", &small_log(), &shipped());
    assert_eq!(records, 30 * 3 + 3);
    assert_eq!((tally.records, tally.slow_records), (30 * 5 + 3, 0));
}

// Records without a template, as a collector writes what was forwarded to it.

/// Puts records of hand-made BinXML into a chunk.
pub struct RawChunk {
    pub bytes: Vec<u8>,
    last_record_at: usize,
    records: u64,
}

impl RawChunk {
    pub fn new() -> RawChunk {
        RawChunk { bytes: vec![0; 512], last_record_at: 0, records: 0 }
    }

    /// `content` writes what stands behind the fragment header.
    pub fn record(&mut self, content: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        self.records += 1;
        self.last_record_at = start;
        self.bytes.extend_from_slice(&[0x2a, 0x2a, 0, 0, 0, 0, 0, 0]);
        self.bytes.extend_from_slice(&self.records.to_le_bytes());
        self.bytes.extend_from_slice(&time(self.records).0.to_le_bytes());
        self.bytes.extend_from_slice(&[0x0f, 1, 1, 0]);
        content(&mut self.bytes);
        let size = (self.bytes.len() + 4 - start).next_multiple_of(8);
        self.bytes.resize(start + size - 4, 0);
        self.bytes.extend_from_slice(&(size as u32).to_le_bytes());
        self.bytes[start + 4..start + 8].copy_from_slice(&(size as u32).to_le_bytes());
    }

    /// The chunk in a file; its flags say that no checksums are kept.
    pub fn file(mut self) -> Vec<u8> {
        let free_space = self.bytes.len() as u32;
        assert!(self.bytes.len() <= CHUNK_BYTES, "{free_space} bytes in one chunk");
        self.bytes.resize(CHUNK_BYTES, 0);
        self.bytes[..8].copy_from_slice(b"ElfChnk\0");
        let mut put = |at: usize, bytes: &[u8]| {
            self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
        };
        for at in [8, 24] {
            put(at, &1_u64.to_le_bytes());
            put(at + 8, &self.records.to_le_bytes());
        }
        put(40, &128_u32.to_le_bytes());
        put(44, &(self.last_record_at as u32).to_le_bytes());
        put(48, &free_space.to_le_bytes());
        put(120, &4_u32.to_le_bytes());
        let mut header = Log::new().finish();
        header.truncate(4096);
        header.extend_from_slice(&self.bytes);
        header
    }
}

/// A name at its first use: offset, next, hash, characters, NUL.
fn put_name(out: &mut Vec<u8>, name: &str) {
    let offset = out.len() as u32 + 4;
    out.extend_from_slice(&offset.to_le_bytes());
    out.extend_from_slice(&[0; 6]);
    put_text(out, name);
    out.extend_from_slice(&[0, 0]);
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    let units: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    out.extend_from_slice(&((units.len() / 2) as u16).to_le_bytes());
    out.extend_from_slice(&units);
}

/// Writes what is in an element.
type Put<'p> = &'p dyn Fn(&mut Vec<u8>);

/// An element without a dependency id; `content` writes what is in it.
pub fn put_element(
    out: &mut Vec<u8>,
    name: &str,
    attributes: &[(&str, &str)],
    content: Option<Put<'_>>,
) {
    out.push(if attributes.is_empty() { 0x01 } else { 0x41 });
    let size_at = out.len();
    out.extend_from_slice(&[0; 4]);
    put_name(out, name);
    if !attributes.is_empty() {
        let attributes_at = out.len();
        out.extend_from_slice(&[0; 4]);
        for (index, (name, value)) in attributes.iter().enumerate() {
            out.push(if index + 1 < attributes.len() { 0x46 } else { 0x06 });
            put_name(out, name);
            out.extend_from_slice(&[0x05, 0x01]);
            put_text(out, value);
        }
        let size = (out.len() - attributes_at - 4) as u32;
        out[attributes_at..attributes_at + 4].copy_from_slice(&size.to_le_bytes());
    }
    match content {
        Some(content) => {
            out.push(0x02);
            content(out);
            out.push(0x04);
        }
        None => out.push(0x03),
    }
    let size = (out.len() - size_at - 4) as u32;
    out[size_at..size_at + 4].copy_from_slice(&size.to_le_bytes());
}

fn put_leaf(out: &mut Vec<u8>, name: &str, text: &str) {
    put_element(out, name, &[], Some(&|out| put_value(out, text)));
}

fn put_value(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&[0x05, 0x01]);
    put_text(out, text);
}

/// A whole event without a template.
pub fn put_event(
    out: &mut Vec<u8>,
    (provider, event_id): (&str, &str),
    children: &dyn Fn(&mut Vec<u8>),
) {
    let namespace = [("xmlns", "http://schemas.microsoft.com/win/2004/08/events/event")];
    let system = |out: &mut Vec<u8>| {
        put_element(out, "Provider", &[("Name", provider), ("Guid", "{1}")], None);
        put_leaf(out, "EventID", event_id);
        put_leaf(out, "Version", "0");
        put_leaf(out, "Level", "2");
        put_element(out, "TimeCreated", &[("SystemTime", "2025-10-01T08:00:00.1234567Z")], None);
        put_leaf(out, "EventRecordID", "4711");
        put_element(out, "Correlation", &[], None);
        put_leaf(out, "Channel", "Security");
        put_leaf(out, "Computer", "WS07.corp.example");
        put_element(out, "Security", &[("UserID", "S-1-5-18")], None);
    };
    let whole = |out: &mut Vec<u8>| {
        put_element(out, "System", &[], Some(&system));
        children(out);
    };
    put_element(out, "Event", &namespace, Some(&whole));
    out.push(0x00);
}

fn put_named(out: &mut Vec<u8>, name: &str, text: &str) {
    put_element(out, "Data", &[("Name", name)], Some(&|out| put_value(out, text)));
}

#[test]
fn forwarded_events_without_a_template_read_the_same_both_ways() {
    let account = "S-1-5-21-3583694148-1414552638-2922671848-1104";
    let named = |out: &mut Vec<u8>| {
        put_named(out, "text", "Jürgen & <co>");
        put_named(out, "hex32", "0xc000006d");
        put_named(out, "sid", account);
        put_element(out, "Data", &[("Name", "null")], None);
    };
    let unnamed = |out: &mut Vec<u8>| {
        put_leaf(out, "Data", "one");
        put_element(out, "Data", &[], None);
        put_leaf(out, "Binary", "DEADBEEF");
    };
    let rendering = |out: &mut Vec<u8>| {
        put_leaf(out, "Message", "Ein Konto\nkonnte nicht");
        put_element(out, "Keywords", &[], Some(&|out| put_leaf(out, "Keyword", "Klassisch")));
    };
    let told = |out: &mut Vec<u8>| {
        let inner = |out: &mut Vec<u8>| put_leaf(out, "text", "x");
        put_element(out, "Told", &[("xmlns", "urn:x")], Some(&inner));
    };
    let teaching = |out: &mut Vec<u8>| put_named(out, "TargetUserSid", account);

    let mut chunk = RawChunk::new();
    let mut event = |event: (&str, &str), children: &dyn Fn(&mut Vec<u8>)| {
        chunk.record(|out| put_event(out, event, children));
    };
    event((SECURITY, "4625"), &|out| {
        put_element(out, "EventData", &[], Some(&named));
        put_element(out, "RenderingInfo", &[("Culture", "de-DE")], Some(&rendering));
    });
    event(("LsaSrv", "6167"), &|out| put_element(out, "EventData", &[], Some(&unnamed)));
    event(("LsaSrv", "6167"), &|_| {});
    event((SECURITY, "4625"), &|out| put_element(out, "UserData", &[], Some(&told)));
    event((SECURITY, "4634"), &|out| put_element(out, "EventData", &[], Some(&named)));
    event((SECURITY, "4634"), &|out| put_element(out, "EventData", &[], Some(&teaching)));
    check(&chunk.file(), 5, 0);
}

/// Records handed over, whoever wants them.
pub fn decode(chunks: &[u8], wanted: &Arc<Wanted>, mut emit: impl FnMut(&Record<'_>)) -> Tally {
    let mut tally = Tally::default();
    let mut decoder = ChunkDecoder::new(Arc::clone(wanted));
    decoder.decode(chunks, 0, &mut tally, &mut emit);
    tally
}

#[test]
fn records_of_one_chunk_do_not_depend_on_the_chunks_before() {
    let bytes = small_log();
    let wanted = shipped();
    let (whole, _) = fast(&bytes, &wanted);
    let mut apart = 0;
    for chunk in bytes[4096..].chunks(CHUNK_BYTES) {
        decode(chunk, &wanted, |_| apart += 1);
    }
    assert_eq!(apart, whole.len());
}

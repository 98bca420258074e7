//! The same input in every way of running: each record accounted for without a rest, each reject
//! counted by the same reason, sampled, named once and dead-lettered.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

fn twinsid() -> Command {
    Command::new(env!("CARGO_BIN_EXE_twinsid"))
}

/// Counts by reason.
type Reasons = BTreeMap<String, u64>;

/// What a way of running says of its input.
#[derive(Debug, PartialEq)]
struct Account {
    records: u64,
    observed: u64,
    duplicates: u64,
    rejected: Reasons,
    /// Reasons that the log names, and how often.
    named: Reasons,
}

/// One event of an unknown shape, one that is too long, one cut off, one without its fields, one
/// that is no event, among those of a simulated fleet; each a line.
fn hostile_lines(folder: &Path, form: &str) -> (Vec<Vec<u8>>, Reasons) {
    let logs = folder.join(format!("fleet-{form}"));
    let made = twinsid()
        .args(["simulate", "--hosts", "8", "--groups", "2", "--hours", "2", "--form", form, "-o"])
        .arg(&logs)
        .output();
    assert!(made.expect("runs").status.success());
    let name = if form == "xml" { "events.xml" } else { "events.jsonl" };
    let text = fs::read(logs.join(name)).expect("events");
    let good: Vec<Vec<u8>> =
        text.split(|byte| *byte == b'\n').filter(|l| !l.is_empty()).map(<[u8]>::to_vec).collect();
    let (long, torn) = match form {
        "xml" => (
            format!("<Event><EventData>{}</EventData></Event>", "x".repeat(1 << 20)),
            "<Event><System><EventID>4625</EventID></System><EventData></Event>",
        ),
        _ => (
            format!("{{\"winlog\":{{\"event_id\":\"4625\",\"x\":\"{}\"}}}}", "x".repeat(1 << 20)),
            "{\"winlog\": {\"event_id\": \"4625\", \"torn",
        ),
    };
    let malformed = if form == "xml" { "xml_malformed" } else { "json_malformed" };
    let bad = [
        ("line_not_an_event", b"what is \xff this".to_vec()),
        ("line_not_an_event", b"and this".to_vec()),
        ("line_too_long", long.into_bytes()),
        (malformed, torn.as_bytes().to_vec()),
        ("fields_missing", b"{\"EventID\":4625,\"what\":\"is this\"}".to_vec()),
    ];
    let mut reasons = Reasons::new();
    let mut lines = good.clone();
    for (number, (reason, line)) in bad.into_iter().enumerate() {
        *reasons.entry(reason.to_owned()).or_default() += 1;
        lines.insert((number + 1) * lines.len() / 7, line);
    }
    // One record comes twice.
    lines.push(good[good.len() / 2].clone());
    (lines, reasons)
}

/// `name=123` of a log line.
fn field(line: &str, name: &str) -> u64 {
    let rest = line.split(&format!(" {name}=")).nth(1).unwrap_or_else(|| panic!("{name}: {line}"));
    rest.split(' ').next().and_then(|number| number.parse().ok()).expect("a number")
}

/// How often the log names each reason.
fn named(log: &str) -> Reasons {
    let mut named = Reasons::new();
    for line in log.lines().filter(|line| line.contains("WARN")) {
        if let Some(rest) = line.split("reason=\"").nth(1) {
            *named.entry(rest.split('"').next().unwrap_or_default().to_owned()).or_default() += 1;
        }
    }
    named
}

fn replayed(folder: &Path, input: &Path) -> Account {
    let stats = folder.join("stats.json");
    let done = twinsid()
        .args(["replay", "-o", "/dev/null", "--stats"])
        .args([&stats, input])
        .stdout(Stdio::null())
        .output()
        .expect("runs");
    let log = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{log}");
    let stats: Value = serde_json::from_slice(&fs::read(&stats).expect("stats")).expect("JSON");
    let count = |value: &Value| value.as_u64().expect("a count");
    let of_kind = |kind: &str| count(&stats["observations"][kind]);
    let rejected = stats["skipped"].as_object().expect("by reason").iter();
    Account {
        records: count(&stats["records"]),
        observed: of_kind("mismatch") + of_kind("failure") + of_kind("success"),
        duplicates: 0,
        rejected: rejected.map(|(reason, number)| (reason.clone(), count(number))).collect(),
        named: named(&log),
    }
}

/// A service's configuration that ends in files.
fn to_files(folder: &Path, name: &str, source: &str) -> PathBuf {
    let config = folder.join(format!("{name}.toml"));
    let text = format!(
        "{source}\n[sink]\nkind = \"file\"\npath = \"{name}.jsonl\"\n\
         dead_letters = \"{name}.dead.jsonl\"\n[state]\ndir = \"{name}.state\"\n"
    );
    fs::write(&config, text).expect("written");
    config
}

fn run(folder: &Path, name: &str, source: &str, input: &[u8]) -> Account {
    let config = to_files(folder, name, source);
    let mut child = twinsid()
        .args(["run", "--until-end", "-c"])
        .arg(&config)
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("runs");
    let mut stdin = child.stdin.take().expect("piped");
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let done = child.wait_with_output().expect("ends");
    // A service that does not read its standard input closes it.
    let _ = writer.join().expect("writes");
    let log = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{log}");
    account(&log, &fs::read_to_string(folder.join(format!("{name}.dead.jsonl"))).expect("letters"))
}

/// From a service's log and dead letters. Nothing is left over.
pub fn check_account(log: &str) -> (u64, u64, u64) {
    let end = log.lines().find(|line| line.contains("ended;")).unwrap_or_else(|| panic!("{log}"));
    let of = |name| field(end, name);
    assert_eq!(
        of("observed"),
        of("accepted") + of("duplicates") + of("late") + of("folded"),
        "{end}"
    );
    (of("records"), of("observed"), of("duplicates"))
}

fn account(log: &str, dead_letters: &str) -> Account {
    let (records, observed, duplicates) = check_account(log);
    let mut rejected = Reasons::new();
    for line in dead_letters.lines() {
        let letter: Value = serde_json::from_str(line).expect("JSON");
        *rejected.entry(letter["reason"].as_str().expect("a reason").to_owned()).or_default() += 1;
    }
    let end = log.lines().find(|line| line.contains("ended;")).expect("an end");
    assert_eq!(rejected.values().sum::<u64>(), field(end, "skipped"), "{end}\n{dead_letters}");
    Account { records, observed, duplicates, rejected, named: named(log) }
}

/// A replay tells no duplicates apart.
fn without_duplicates(account: Account) -> Account {
    Account { observed: account.observed - account.duplicates, duplicates: 0, ..account }
}

fn check_text(form: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let (lines, reasons) = hostile_lines(folder, form);
    let text = [lines.join(&b'\n'), b"\n".to_vec()].concat();
    let file = folder.join(if form == "xml" { "in.xml" } else { "in.jsonl" });
    fs::write(&file, &text).expect("written");

    let replayed = replayed(folder, &file);
    assert_eq!(replayed.rejected, reasons);
    let received = replayed.records + reasons.values().sum::<u64>();
    assert_eq!(received, lines.len() as u64, "received = records + rejected");
    let once: Reasons = reasons.keys().map(|reason| (reason.clone(), 1)).collect();
    assert_eq!(replayed.named, once, "each is named once");

    let piped = run(folder, "piped", "[[source]]\nkind = \"stdin\"", &text);
    assert_eq!(piped.duplicates, 1);
    assert_eq!(without_duplicates(piped), replayed);
}

#[test]
fn rejected_json_is_accounted_for_in_every_way() {
    check_text("winlogbeat");
}

#[test]
fn rejected_xml_is_accounted_for_in_every_way() {
    check_text("xml");
}

/// A log of which a chunk has a record with a wrong length, and the last chunk is cut off. (A chunk
/// whose magic number is gone is no chunk to a follower of a log that grows: it names the records
/// that are missing instead.)
fn damaged_log(folder: &Path) -> PathBuf {
    let logs = folder.join("evtx");
    let made = twinsid()
        .args(["simulate", "--hosts", "8", "--groups", "2", "--hours", "6", "--form", "forwarded"])
        .arg("-o")
        .arg(&logs)
        .output();
    assert!(made.expect("runs").status.success());
    let mut bytes = fs::read(logs.join("ForwardedEvents.evtx")).expect("a log");
    assert!(bytes.len() > 4096 + 6 * 65_536, "several chunks: {}", bytes.len());
    // The length of the second record of the fourth chunk.
    let chunk = 4096 + 3 * 65_536;
    let length = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four"));
    let first = length(chunk + 512 + 4) as usize;
    bytes[chunk + 512 + first + 4] ^= 0xff;
    bytes.truncate(bytes.len() - 30_000);
    let below = folder.join("damaged");
    fs::create_dir(&below).expect("made");
    fs::write(below.join("ForwardedEvents.evtx"), bytes).expect("written");
    below
}

#[test]
fn damaged_logs_are_accounted_for_in_every_way() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let logs = damaged_log(folder);
    let replayed = replayed(folder, &logs);
    assert!(replayed.rejected.len() >= 2, "{replayed:?}");
    let source = "[[source]]\nkind = \"evtx\"\npaths = [\"damaged\"]\npoll_ms = 50";
    let followed = run(folder, "followed", source, b"");
    assert_eq!(without_duplicates(followed), replayed);
}

//! The inventory: known hosts, from a CSV file with a heading or from JSON lines. The first mistake
//! ends the reading, with file, line and hint.
//!
//! | column | other names | holds |
//! |---|---|---|
//! | `host` | hostname, computer, computername, name | the computer's name; required |
//! | `ip` | ip_address, address | addresses, separated by blank, `;` or `\|` |
//! | `machine_sid` | sid | `S-1-5-21-a-b-c`, or the SID of a local account |
//! | `owner` | | who is responsible for the host |
//! | `os_build` | build | `26100`, `26100.6899` or `10.0.26100.6899` |
//! | `tags` | tag | words, separated as addresses are |
//!
//! Case, `-`, `_` and blanks in column names do not matter. Other columns are ignored, and listed in
//! [`Inventory::ignored`].

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::Path;

use serde_json::Value;

use crate::observation::{Build, ListedHost};
use crate::sid::{DomainSid, Sid};

/// Largest inventory file.
pub const BYTES_MAX: u64 = 64 << 20;

/// Longest text of one cell, in bytes.
const CELL_BYTES_MAX: usize = 1024;

const COLUMNS: [(Column, &[&str]); 6] = [
    (Column::Host, &["host", "hostname", "computer", "computername", "name"]),
    (Column::Ip, &["ip", "ipaddress", "address"]),
    (Column::MachineSid, &["machinesid", "sid"]),
    (Column::Owner, &["owner"]),
    (Column::Build, &["osbuild", "build"]),
    (Column::Tags, &["tags", "tag"]),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Column {
    Host,
    Ip,
    MachineSid,
    Owner,
    Build,
    Tags,
}

impl Column {
    fn named(name: &str) -> Option<Column> {
        let plain: String =
            name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
        let known = COLUMNS.iter().find(|(_, names)| names.contains(&plain.as_str()));
        known.map(|(column, _)| *column)
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Inventory {
    pub hosts: Vec<ListedHost>,
    /// Columns of other names: often a misspelt one.
    pub ignored: BTreeSet<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum InventoryError {
    #[error("cannot read `{file}`: {cause}")]
    Unreadable { file: String, cause: io::Error },
    #[error("{file}:{line}: {what}\n  hint: {hint}")]
    Mistake { file: String, line: u64, what: String, hint: String },
}

/// What is wrong with a line, and what was expected.
struct Wrong {
    what: String,
    hint: &'static str,
}

fn wrong(what: impl Into<String>, hint: &'static str) -> Wrong {
    Wrong { what: what.into(), hint }
}

/// The inventory of a file.
pub fn read(path: &Path) -> Result<Inventory, InventoryError> {
    let file = path.display().to_string();
    let unreadable = |cause| InventoryError::Unreadable { file: file.clone(), cause };
    let size = fs::metadata(path).map_err(unreadable)?.len();
    if size > BYTES_MAX {
        let cause = io::Error::other(format!("it has more than {BYTES_MAX} bytes"));
        return Err(unreadable(cause));
    }
    parse(&file, &fs::read(path).map_err(unreadable)?)
}

/// The inventory of the bytes of a file. `file` is its name in errors.
pub fn parse(file: &str, bytes: &[u8]) -> Result<Inventory, InventoryError> {
    let mistake = |line: u64, wrong: Wrong| InventoryError::Mistake {
        file: file.to_owned(),
        line,
        what: wrong.what,
        hint: wrong.hint.to_owned(),
    };
    // Spreadsheets write UTF-16 with a byte order mark.
    let encoding = encoding_rs::Encoding::for_bom(bytes).map_or(encoding_rs::UTF_8, |(e, _)| e);
    let (text, _, malformed) = encoding.decode(bytes);
    if malformed {
        let hint = "save it as UTF-8";
        return Err(mistake(1, wrong(format!("is not {}", encoding.name()), hint)));
    }
    let rows = if text.trim_start().starts_with('{') { json_rows(&text) } else { csv_rows(&text) };
    let mut inventory = Inventory::default();
    let mut known: BTreeMap<String, (usize, u64)> = BTreeMap::new();
    for row in rows {
        let (line, cells) = row.map_err(|(line, wrong)| mistake(line, wrong))?;
        let host = listed(&cells, &mut inventory.ignored).map_err(|wrong| mistake(line, wrong))?;
        match known.get(&host.host.to_lowercase()) {
            Some((at, before)) => merge(&mut inventory.hosts[*at], host, *before)
                .map_err(|wrong| mistake(line, wrong))?,
            None => {
                known.insert(host.host.to_lowercase(), (inventory.hosts.len(), line));
                inventory.hosts.push(host);
            }
        }
    }
    Ok(inventory)
}

/// Columns of a line by name, with their values.
type Cells = Vec<(String, Vec<String>)>;

type Row = Result<(u64, Cells), (u64, Wrong)>;

fn csv_rows(text: &str) -> Vec<Row> {
    let heading = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    // Where the comma is the decimal sign, spreadsheets write semicolons.
    let count = |delimiter: u8| heading.bytes().filter(|byte| *byte == delimiter).count();
    let delimiter = [b',', b';', b'\t'].into_iter().rev().max_by_key(|d| count(*d)).unwrap_or(b',');
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let columns: Vec<String> = match reader.headers() {
        Ok(headers) => headers.iter().map(str::to_owned).collect(),
        Err(error) => return vec![Err((1, wrong(error.to_string(), "write a heading first")))],
    };
    if !columns.iter().any(|column| Column::named(column) == Some(Column::Host)) {
        let what = format!("the heading has no column `host`, only {}", columns.join(", "));
        let hint = "the first line names the columns: host, ip, machine_sid, owner, os_build, tags";
        return vec![Err((1, wrong(what, hint)))];
    }
    let rows = reader.into_records().map(|record| match record {
        Ok(record) => {
            let line = record.position().map_or(0, csv::Position::line);
            let cells =
                columns.iter().cloned().zip(record.iter().map(|cell| vec![cell.to_owned()]));
            Ok((line, cells.collect()))
        }
        Err(error) => {
            let line = error.position().map_or(0, csv::Position::line);
            let hint = "each line has as many cells as the heading; quote cells with the separator";
            Err((line, wrong(error.to_string(), hint)))
        }
    });
    rows.collect()
}

fn json_rows(text: &str) -> Vec<Row> {
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    let rows = lines.map(|(line, json)| {
        let hint = "one object a line, such as {\"host\": \"PC01\", \"ip\": \"10.0.0.7\"}";
        match serde_json::from_str::<Value>(json) {
            Ok(Value::Object(object)) => {
                let cells = object.into_iter().map(|(name, value)| (name, texts(value)));
                Ok((line, cells.collect()))
            }
            Ok(_) => Err((line, wrong("is no JSON object", hint))),
            Err(error) => Err((line, wrong(error.to_string(), hint))),
        }
    });
    rows.collect()
}

fn texts(value: Value) -> Vec<String> {
    match value {
        Value::Null => Vec::new(),
        Value::String(text) => vec![text],
        Value::Array(values) => values.into_iter().flat_map(texts).collect(),
        other => vec![other.to_string()],
    }
}

fn listed(cells: &Cells, ignored: &mut BTreeSet<String>) -> Result<ListedHost, Wrong> {
    let mut host = ListedHost::default();
    for (name, values) in cells {
        let Some(column) = Column::named(name) else {
            ignored.insert(name.clone());
            continue;
        };
        for value in values.iter().map(|value| value.trim()) {
            if value.len() > CELL_BYTES_MAX {
                let what = format!("`{name}` has {} bytes", value.len());
                return Err(wrong(what, "a cell has 1024 at the most"));
            }
            if !matches!(value, "" | "-") {
                fill(&mut host, column, value)?;
            }
        }
    }
    if host.host.is_empty() {
        return Err(wrong("names no host", "every line needs the computer's name"));
    }
    Ok(host)
}

fn fill(host: &mut ListedHost, column: Column, value: &str) -> Result<(), Wrong> {
    let words = || value.split([' ', ';', '|', ',']).map(str::trim).filter(|word| !word.is_empty());
    match column {
        Column::Host => {
            host.host = value.trim_start_matches('\\').trim_end_matches('$').into();
        }
        Column::Ip => {
            for word in words() {
                let ip = word.parse::<IpAddr>().map_err(|_| {
                    wrong(format!("`{word}` is no IP address"), "such as 10.0.0.7 or fe80::1")
                })?;
                host.ips.push(ip.to_canonical());
            }
        }
        Column::MachineSid => {
            let sid = machine_sid(value).ok_or_else(|| {
                let hint = "it looks like S-1-5-21-1004336348-1177238915-682003330";
                wrong(format!("`{value}` is not the SID of a machine"), hint)
            })?;
            host.machine_sid = Some(sid);
        }
        Column::Owner => host.owner = Some(value.into()),
        Column::Build => {
            let build = build(value).ok_or_else(|| {
                wrong(format!("`{value}` is no build of Windows"), "such as 26100.6899")
            })?;
            host.build = Some(build);
        }
        Column::Tags => host.tags.extend(words().map(Box::from)),
    }
    Ok(())
}

fn machine_sid(text: &str) -> Option<DomainSid> {
    let sid = Sid::parse(text)?;
    match *sid.subs() {
        [21, a, b, c] | [21, a, b, c, _] if sid.authority() == 5 => Some(DomainSid([a, b, c])),
        _ => None,
    }
}

fn build(text: &str) -> Option<Build> {
    let text = text.strip_prefix("10.0.").unwrap_or(text);
    let (number, revision) = match text.split_once('.') {
        Some((number, revision)) => (number, Some(revision.parse().ok()?)),
        None => (text, None),
    };
    Some(Build { number: number.parse().ok()?, revision })
}

/// Adds what another line says of the same host. `before` is the line of the first one.
fn merge(known: &mut ListedHost, other: ListedHost, before: u64) -> Result<(), Wrong> {
    if let (Some(one), Some(two)) = (known.machine_sid, other.machine_sid)
        && one != two
    {
        let what = format!("{} has another machine SID than in line {before}", known.host);
        return Err(wrong(what, "a host has one machine SID: leave the wrong line out"));
    }
    known.machine_sid = known.machine_sid.or(other.machine_sid);
    known.build = known.build.or(other.build);
    known.owner = known.owner.take().or(other.owner);
    known.ips.extend(other.ips);
    known.tags.extend(other.tags);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SID: DomainSid = DomainSid([1, 2, 3]);

    fn pc01() -> ListedHost {
        ListedHost {
            host: "PC01".into(),
            ips: vec![[10, 0, 0, 7].into()],
            machine_sid: Some(SID),
            owner: Some("Desk 7".into()),
            build: Some(Build { number: 26_100, revision: Some(6_899) }),
            tags: vec!["lab".into(), "old".into()],
        }
    }

    #[test]
    fn csv_of_any_separator_and_json_lines_say_the_same() {
        let utf16: Vec<u8> = "\u{feff}host\tip\tsid\towner\tbuild\ttags\n\
             PC01\t10.0.0.7\tS-1-5-21-1-2-3\tDesk 7\t26100.6899\tlab old\n"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        for bytes in [
            b"Host,IP,Machine-SID,Owner,OS build,Tags\nPC01,10.0.0.7,S-1-5-21-1-2-3,Desk 7,26100.6899,lab;old\n".to_vec(),
            b"\xef\xbb\xbftags;owner;os_build;machine_sid;ip;host\nlab old;Desk 7;10.0.26100.6899;S-1-5-21-1-2-3-500;::ffff:10.0.0.7;PC01$\n".to_vec(),
            br#"{"host": "\\\\PC01", "ip": ["10.0.0.7"], "machine_sid": "S-1-5-21-1-2-3", "owner": "Desk 7", "os_build": "26100.6899", "tags": ["lab", "old"]}"#.to_vec(),
            utf16,
        ] {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let inventory = parse("list", &bytes).expect(&text);
            assert_eq!(inventory.hosts, [pc01()], "{text}");
            assert!(inventory.ignored.is_empty(), "{text}");
        }
    }

    #[test]
    fn a_bad_line_is_named_with_what_was_expected() {
        for (text, line, part) in [
            ("host,ip\nPC01,10.0.0.7\nPC02,10.0.0\n", 3, "`10.0.0` is no IP address"),
            ("host,machine_sid\nPC01,S-1-5-32-544\n", 2, "not the SID of a machine"),
            ("host,os_build\nPC01,11\nPC02,24H2\n", 3, "no build of Windows"),
            ("name;sid\nPC01;\n;S-1-5-21-1-2-3\n", 3, "names no host"),
            ("ip,owner\n10.0.0.7,Desk 7\n", 1, "no column `host`"),
            ("host,ip\nPC01\n", 2, "fields"),
            ("{\"host\": \"PC01\"}\n[1]\n", 2, "no JSON object"),
            ("{\"host\": \"PC01\"}\n\n{\"host\"\n", 3, "EOF"),
            (
                "host,sid\nPC01,S-1-5-21-1-2-3\npc01,S-1-5-21-4-5-6\n",
                3,
                "another machine SID than in line 2",
            ),
        ] {
            let error = parse("list.csv", text.as_bytes()).expect_err(text).to_string();
            assert!(error.starts_with(&format!("list.csv:{line}: ")), "{error}");
            assert!(error.contains(part) && error.contains("hint: "), "{error}");
        }
    }

    #[test]
    fn lines_about_one_host_complete_each_other() {
        let text = "host,ip,sid,colour\nPC01,10.0.0.7,,red\npc01,10.0.0.8,S-1-5-21-1-2-3,-\n";
        let inventory = parse("list.csv", text.as_bytes()).expect(text);
        assert_eq!(inventory.hosts.len(), 1);
        assert_eq!((inventory.hosts[0].ips.len(), inventory.hosts[0].machine_sid), (2, Some(SID)));
        assert_eq!(inventory.ignored.into_iter().collect::<Vec<_>>(), ["colour"]);
    }
}

//! The totals of a run, for a person, on standard error.
//!
//! Plain text in aligned columns. What is zero or empty is left out, except
//! for the four lines at the top.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;

use super::escape;
use super::wire::WireStats;

/// Lines shown of each table.
const MATCHED_SHOWN: usize = 10;
const CLASSES_SHOWN: usize = 20;
const SOURCES_SHOWN: usize = 5;

/// Longer names move the columns of their own line only.
const NAME_COLUMNS_MAX: usize = 60;

/// Every reason for which input is skipped, and what it means.
pub const SKIP_MEANINGS: [(&str, &str); 14] = [
    ("archive_member", "archive members refused: too large, or with a name outside the folder"),
    ("chunk_checksum", "chunks with a wrong checksum; their records were read all the same"),
    ("chunk_header", "64 KiB chunks of EVTX files that do not start like one"),
    ("chunk_truncated", "chunks or files that end too early"),
    ("connection", "peers that were refused, or failed before they sent an event"),
    ("fields_missing", "events without provider, id, computer or time"),
    ("file", "files that could not be opened or read to their end"),
    ("json_malformed", "JSON that is not well formed"),
    ("json_shape_unknown", "JSON that does not look like an event of any known exporter"),
    ("line_not_an_event", "lines that are neither XML nor JSON"),
    ("line_too_long", "events longer than the limit"),
    ("record_content", "records whose content could not be read"),
    ("record_header", "records whose header or length is wrong"),
    ("xml_malformed", "XML that is not well formed"),
];

/// Everything that the summary shows.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    pub stats: WireStats,
    /// By reason: where the first one was, and what was expected there.
    pub skip_samples: BTreeMap<String, String>,
    /// Number of incidents by kind and class.
    pub classes: BTreeMap<(String, String), u64>,
    /// Sources of incidents, in any order; the worst are shown.
    pub sources: Vec<SourceTotal>,
    /// What was dropped because a bound was reached, and how often.
    pub over_bounds: Vec<(String, u64)>,
}

/// Failures of one source, over all its incidents.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceTotal {
    pub name: Option<String>,
    pub sid: Option<String>,
    pub failures: u64,
}

/// Writes the summary as text.
pub fn write_summary(out: &mut dyn io::Write, summary: &Summary) -> io::Result<()> {
    out.write_all(table(summary).as_bytes())
}

/// A number with a comma between groups of three digits: `1,234,567`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn table(summary: &Summary) -> String {
    let stats = &summary.stats;
    let mut text = totals(stats);
    section(&mut text, "Matched records", &largest(&stats.matched, MATCHED_SHOWN), &[]);
    skipped(&mut text, summary);
    let mut over_bounds: Vec<(String, u64)> = summary.over_bounds.clone();
    over_bounds.retain(|(_, count)| *count > 0);
    section(&mut text, "Given up because a bound was reached", &over_bounds, &[]);
    incidents(&mut text, summary);
    sources(&mut text, &summary.sources);
    text
}

fn totals(stats: &WireStats) -> String {
    let rate = |amount: u64| amount as f64 / stats.seconds;
    let mut took = format!("{} s", decimal(stats.seconds));
    if stats.seconds > 0.0 {
        took = format!(
            "{took}  ({} a second, {} records a second)",
            size(rate(stats.bytes)),
            grouped(rate(stats.records) as u64)
        );
    }
    format!(
        "Files    {}\nRead     {}\nRecords  {}\nTime     {took}\n",
        grouped(stats.files),
        size(stats.bytes as f64),
        grouped(stats.records)
    )
}

fn skipped(text: &mut String, summary: &Summary) {
    let counts: Vec<(String, u64)> =
        summary.stats.skipped.iter().map(|(reason, count)| (reason.clone(), *count)).collect();
    let notes: Vec<String> = counts
        .iter()
        .map(|(reason, _)| {
            let known = SKIP_MEANINGS.iter().find(|(name, _)| name == reason);
            let meaning = known.map_or("", |(_, meaning)| meaning);
            match summary.skip_samples.get(reason) {
                Some(sample) => format!("{meaning}\n    first: {}", escape::terminal(sample)),
                None => meaning.to_owned(),
            }
        })
        .collect();
    section(text, "Skipped", &counts, &notes);
}

fn incidents(text: &mut String, summary: &Summary) {
    let kinds = &summary.stats.incidents;
    if kinds.values().sum::<u64>() == 0 {
        text.push_str("\nIncidents  none\n");
        return;
    }
    let mut lines: Vec<(String, u64)> = Vec::new();
    for (kind, count) in kinds {
        lines.push((kind.clone(), *count));
        let classes: BTreeMap<String, u64> = summary
            .classes
            .iter()
            .filter(|((of_kind, _), _)| of_kind == kind)
            .map(|((_, class), count)| (format!("  {class}"), *count))
            .collect();
        lines.extend(largest(&classes, CLASSES_SHOWN));
    }
    section(text, "Incidents", &lines, &[]);
}

fn sources(text: &mut String, sources: &[SourceTotal]) {
    let mut worst: Vec<&SourceTotal> =
        sources.iter().filter(|source| source.failures > 0).collect();
    worst.sort_by(|a, b| {
        b.failures.cmp(&a.failures).then_with(|| (&a.name, &a.sid).cmp(&(&b.name, &b.sid)))
    });
    worst.truncate(SOURCES_SHOWN);
    let lines: Vec<(String, u64)> = worst
        .iter()
        .map(|source| {
            let name = source.name.as_deref().unwrap_or("name not known");
            (name.to_owned(), source.failures)
        })
        .collect();
    let notes: Vec<String> = worst
        .iter()
        .map(|source| source.sid.clone().unwrap_or_else(|| "SID not known".to_owned()))
        .collect();
    section(text, "Most failed authentications", &lines, &notes);
}

/// A title, then names and counts in columns, each with its note. Nothing when there are no lines.
fn section(text: &mut String, title: &str, lines: &[(String, u64)], notes: &[String]) {
    if lines.is_empty() {
        return;
    }
    let rows: Vec<(String, String)> = lines
        .iter()
        .map(|(name, count)| (escape::terminal(name).into_owned(), grouped(*count)))
        .collect();
    let widest = |lengths: &mut dyn Iterator<Item = usize>| lengths.max().unwrap_or(0);
    let name_width =
        widest(&mut rows.iter().map(|(name, _)| name.chars().count())).min(NAME_COLUMNS_MAX);
    let count_width = widest(&mut rows.iter().map(|(_, count)| count.len()));
    text.push_str(&format!("\n{title}\n"));
    for (index, (name, count)) in rows.iter().enumerate() {
        let note = notes.get(index).map_or("", String::as_str);
        let line = format!("  {name:<name_width$}  {count:>count_width$}  {note}");
        writeln!(text, "{}", line.trim_end()).expect("a string takes whatever is written to it");
    }
}

/// The largest counts first, then the sum of the others as one line.
fn largest(counts: &BTreeMap<String, u64>, shown_max: usize) -> Vec<(String, u64)> {
    let mut lines: Vec<(String, u64)> =
        counts.iter().map(|(name, count)| (name.clone(), *count)).collect();
    lines.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let rest = lines.split_off(lines.len().min(shown_max));
    if !rest.is_empty() {
        let count = rest.iter().map(|(_, count)| count).sum();
        lines.push((format!("{} others", grouped(rest.len() as u64)), count));
    }
    lines
}

/// Bytes in decimal units: `1.23 GB`.
fn size(bytes: f64) -> String {
    let mut amount = bytes;
    for unit in ["bytes", "kB", "MB", "GB", "TB"] {
        if amount < 999.5 || unit == "TB" {
            let number = if unit == "bytes" { format!("{amount:.0}") } else { decimal(amount) };
            return format!("{number} {unit}");
        }
        amount /= 1000.0;
    }
    unreachable!("terabytes take any amount")
}

/// Three significant digits: `0.12`, `1.23`, `12.3`, `123`.
fn decimal(number: f64) -> String {
    match number {
        small if small < 9.995 => format!("{small:.2}"),
        medium if medium < 99.95 => format!("{medium:.1}"),
        large => grouped(large.round() as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary() -> Summary {
        let source = |name: Option<&str>, sid: Option<&str>, failures| SourceTotal {
            name: name.map(str::to_owned),
            sid: sid.map(str::to_owned),
            failures,
        };
        let named = |counts: &[(&str, u64)]| {
            counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
        };
        Summary {
            stats: WireStats {
                files: 1_204,
                bytes: 12_345_678_901,
                chunks: 188_000,
                records: 20_123_456,
                matched: named(&[
                    ("LsaSrv/6167", 12),
                    ("Microsoft-Windows-Security-Auditing/4625", 1_234),
                ]),
                skipped: named(&[("chunk_checksum", 2), ("file", 1)]),
                incidents: named(&[("authentication_failures", 7), ("machine_id_mismatch", 2)]),
                seconds: 4.2,
                ..WireStats::default()
            },
            skip_samples: [("file".to_owned(), "old\x1b.evtx: permission denied".to_owned())]
                .into(),
            classes: [
                (("authentication_failures", "account_locked"), 2),
                (("authentication_failures", "bad_password"), 5),
                (("machine_id_mismatch", "undetermined"), 2),
            ]
            .into_iter()
            .map(|((kind, class), count)| ((kind.to_owned(), class.to_owned()), count))
            .collect(),
            sources: vec![
                source(Some(r"CORP\eve"), None, 90),
                source(Some(r"CORP\bob"), Some("S-1-5-21-1-2-3-1104"), 1_100),
                source(None, Some("S-1-5-21-1-2-3-1105"), 0),
            ],
            over_bounds: vec![("facts beyond `accounts`".to_owned(), 0)],
        }
    }

    #[test]
    fn the_table_is_aligned_and_leaves_out_what_is_empty() {
        let expect = r"Files    1,204
Read     12.3 GB
Records  20,123,456
Time     4.20 s  (2.94 GB a second, 4,791,299 records a second)

Matched records
  Microsoft-Windows-Security-Auditing/4625  1,234
  LsaSrv/6167                                  12

Skipped
  chunk_checksum  2  chunks with a wrong checksum; their records were read all the same
  file            1  files that could not be opened or read to their end
    first: old\x1b.evtx: permission denied

Incidents
  authentication_failures  7
    bad_password           5
    account_locked         2
  machine_id_mismatch      2
    undetermined           2

Most failed authentications
  CORP\bob  1,100  S-1-5-21-1-2-3-1104
  CORP\eve     90  SID not known
";
        assert_eq!(table(&summary()), expect);
    }

    #[test]
    fn an_empty_run_has_a_table_too() {
        assert_eq!(
            table(&Summary::default()),
            "Files    0\nRead     0 bytes\nRecords  0\nTime     0.00 s\n\nIncidents  none\n"
        );
    }

    #[test]
    fn what_was_given_up_is_said() {
        let over_bounds = vec![("facts beyond `accounts`".to_owned(), 3)];
        let text = table(&Summary { over_bounds, ..summary() });
        assert!(text.contains("\n  facts beyond `accounts`  3\n"), "{text}");
    }

    #[test]
    fn the_largest_counts_are_shown_and_the_rest_as_one() {
        let counts = (1..=12).map(|n| (format!("event {n}"), n)).collect();
        let lines = largest(&counts, 10);
        assert_eq!(lines.first(), Some(&("event 12".to_owned(), 12)));
        assert_eq!(lines.last(), Some(&("2 others".to_owned(), 3)));
        assert_eq!(lines.len(), 11);
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (123_456, "123,456"),
            (u64::MAX, "18,446,744,073,709,551,615"),
        ] {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn sizes_have_three_digits_and_a_unit() {
        for (bytes, text) in [
            (0.0, "0 bytes"),
            (999.0, "999 bytes"),
            (1_000.0, "1.00 kB"),
            (65_536.0, "65.5 kB"),
            (999_999.0, "1.00 MB"),
            (3.2e9, "3.20 GB"),
            (4.5e15, "4,500 TB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}

//! `twinsid state`: where a service stands, and how to let it begin elsewhere.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::PathBuf;

use serde_json::{Value, json};

use super::CliError;
use super::output::print;
use super::run::load_service;
use crate::config::service::Service;
use crate::config::sources::parse_start;
use crate::output::escape;
use crate::pipeline::service::{
    Reset, StatePlace, StoredPart, StoredService, plan_reset, reset, stored,
};
use crate::position::{LogPosition, Position, Start};
use crate::time::EventTime;

pub(super) const HELP: &str = "\
Printing changes nothing, and the service may run meanwhile.

A reset is refused while a service runs on the state folder or has members in the group
of its source. One whose state is in a Kafka topic and whose positions are too is ended by
it (exit code 5), and goes on from the new positions when it is started again. The
detector keeps what it knows: events from before its watermark count as late. To have old
events judged anew, begin with a new state folder or another output topic.";

#[derive(Debug, clap::Args)]
pub(super) struct StateFlags {
    /// The service's configuration
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    action: Option<StateAction>,
}

#[derive(Debug, clap::Subcommand)]
enum StateAction {
    /// Set the positions of the sources anew, after a question
    Reset(ResetFlags),
}

#[derive(Debug, clap::Args)]
struct ResetFlags {
    /// earliest, latest, or a time such as 2026-09-21T08:00:00Z; EVTX files: earliest only
    #[arg(long, value_name = "WHERE", value_parser = start)]
    to: Start,
    /// This source only
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

fn start(text: &str) -> Result<Start, &'static str> {
    parse_start(text)
        .ok_or("write `earliest`, `latest`, or a time with its zone: 2026-09-21T08:00:00Z")
}

pub(super) fn run(flags: &StateFlags) -> Result<(), CliError> {
    let (_, service) = load_service(&flags.config)?;
    match &flags.action {
        Some(StateAction::Reset(reset)) => run_reset(&service, reset),
        None => {
            let stored = stored(&service)?;
            print(&if flags.json { format!("{}\n", json_of(&stored)) } else { text_of(&stored) })
        }
    }
}

fn run_reset(service: &Service, flags: &ResetFlags) -> Result<(), CliError> {
    let resets = plan_reset(service, flags.source.as_deref(), flags.to)?;
    let mut say = io::stderr();
    if resets.is_empty() {
        // Nothing is left to do when standard error is closed.
        let _ = writeln!(say, "nothing to reset: no source has a position that can be set");
        return Ok(());
    }
    let rows = resets
        .iter()
        .map(|Reset { source, part, to }| [source.clone(), part.clone(), position_text(Some(to))]);
    let _ = write!(say, "{}", table(&["source", "part", "new position"], rows.collect()));
    if !flags.yes && !confirmed(&mut say)? {
        let _ = writeln!(say, "nothing was changed");
        return Ok(());
    }
    reset(service, &resets)?;
    let _ = writeln!(say, "{} positions are set", resets.len());
    Ok(())
}

/// Asks on a terminal.
fn confirmed(say: &mut impl Write) -> Result<bool, CliError> {
    if !io::stdin().is_terminal() {
        return Err(CliError::Unconfirmed);
    }
    let _ = write!(say, "Set these positions? [y/N] ");
    let _ = say.flush();
    let mut answer = String::new();
    // Without an answer it is no.
    let _ = io::stdin().lock().read_line(&mut answer);
    Ok(["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str()))
}

fn text_of(stored: &StoredService) -> String {
    let mut lines: Vec<(&str, String)> = vec![("state", place_text(&stored.place))];
    match &stored.state {
        None => lines.push(("committed", "nothing yet".to_owned())),
        Some(state) => {
            let by = state.written_by.as_deref().map(|by| format!(", by twinsid {by}"));
            lines.push(("format", format!("{}{}", state.format, by.unwrap_or_default())));
            lines.push(("committed", time_text(state.committed_at)));
            lines.push(("snapshot", format!("{} bytes", state.snapshot_bytes)));
            let (entries, bytes) = (state.entries, state.entries_bytes);
            lines.push(("changelog", format!("{entries} entries since, {bytes} bytes")));
            lines.push(("watermark", time_text(state.watermark)));
        }
    }
    let mut text: String =
        lines.iter().map(|(what, value)| format!("{what:<10} {value}\n")).collect();
    if !stored.parts.is_empty() {
        let number = |number: Option<i64>| number.map_or("-".to_owned(), |n| n.to_string());
        let row = |part: &StoredPart| {
            let position = position_text(part.position.as_ref());
            [
                part.source.clone(),
                part.part.clone(),
                position,
                number(part.end),
                number(lag_of(part)),
            ]
        };
        let rows = stored.parts.iter().map(row).collect();
        text.push('\n');
        text.push_str(&table(&["source", "part", "position", "end", "lag"], rows));
    }
    text
}

/// Columns as wide as need be; all but the last are filled up.
fn table<const N: usize>(heading: &[&str; N], rows: Vec<[String; N]>) -> String {
    let shown = |cells: [String; N]| cells.map(|cell| escape::terminal(&cell).into_owned());
    let heading = heading.map(str::to_owned);
    let rows: Vec<[String; N]> = std::iter::once(heading).chain(rows).map(shown).collect();
    let widths: [usize; N] = std::array::from_fn(|column| {
        rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)
    });
    let mut text = String::new();
    for row in &rows {
        let filled = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        text.push_str(filled.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

fn json_of(stored: &StoredService) -> Value {
    let place = match &stored.place {
        StatePlace::Folder(path) => json!({ "folder": path }),
        StatePlace::Topic { topic, brokers } => json!({ "topic": topic, "brokers": brokers }),
    };
    let state = stored.state.as_ref().map(|state| {
        json!({
            "format": state.format,
            "written_by": state.written_by,
            "committed": state.committed_at.map(|time| time.to_string()),
            "snapshot_bytes": state.snapshot_bytes,
            "changelog_entries": state.entries,
            "changelog_bytes": state.entries_bytes,
            "watermark": state.watermark.map(|time| time.to_string()),
        })
    });
    let part = |part: &StoredPart| {
        let mut value = json!({ "source": part.source, "part": part.part });
        match &part.position {
            Some(Position::Log(LogPosition { path, last, .. })) => {
                value["path"] = json!(path);
                value["record_id"] = json!(last.map(|last| last.id));
                let written = last.map(|last| last.written).filter(|written| *written > 0);
                value["written"] = json!(written.map(|written| EventTime(written).to_string()));
            }
            Some(Position::Offset(offset)) => value["offset"] = json!(offset),
            None => value["offset"] = Value::Null,
        }
        if let Some(end) = part.end {
            value["end"] = json!(end);
            value["lag"] = json!(lag_of(part));
        }
        value
    };
    let positions: Vec<Value> = stored.parts.iter().map(part).collect();
    let program = env!("CARGO_PKG_VERSION");
    json!({ "program": program, "place": place, "state": state, "positions": positions })
}

/// Offsets between the position and the end.
fn lag_of(part: &StoredPart) -> Option<i64> {
    match part.position {
        Some(Position::Offset(offset)) => Some((part.end? - offset).max(0)),
        Some(Position::Log(_)) | None => None,
    }
}

fn place_text(place: &StatePlace) -> String {
    match place {
        StatePlace::Folder(path) => {
            format!("folder {}", escape::terminal(&path.display().to_string()))
        }
        StatePlace::Topic { topic, brokers } => format!("topic {topic} at {brokers}"),
    }
}

fn time_text(time: Option<EventTime>) -> String {
    time.map_or("none".to_owned(), |time| time.to_string())
}

fn position_text(position: Option<&Position>) -> String {
    match position {
        None => "none yet".to_owned(),
        Some(Position::Offset(offset)) => offset.to_string(),
        Some(Position::Log(LogPosition { path, last: None, .. })) => format!("start of {path}"),
        Some(Position::Log(LogPosition { path, last: Some(last), .. })) => {
            format!("record {} of {path}", last.id)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::service::StoredSummary;
    use crate::position::LogRecord;

    fn example() -> StoredService {
        let part = |source: &str, part: &str, position, end| StoredPart {
            source: source.to_owned(),
            part: part.to_owned(),
            position,
            end,
        };
        let log = LogPosition {
            path: "logs/Security.evtx".to_owned(),
            last: Some(LogRecord { id: 4711, written: 134_344_736_005_000_000 }),
            ..LogPosition::default()
        };
        StoredService {
            place: StatePlace::Folder("state".into()),
            state: Some(StoredSummary {
                format: 4,
                written_by: Some("0.2.0".to_owned()),
                committed_at: None,
                snapshot_bytes: 10,
                entries: 2,
                entries_bytes: 300,
                watermark: None,
            }),
            parts: vec![
                part("events", "windows/0", Some(Position::Offset(90)), Some(100)),
                part("events", "windows/1", None, Some(7)),
                part("logs", "log/0", Some(Position::Log(log)), None),
            ],
        }
    }

    #[test]
    fn positions_are_shown_as_a_table() {
        let text = text_of(&example());
        let expect = "\
state      folder state
format     4, by twinsid 0.2.0
committed  none
snapshot   10 bytes
changelog  2 entries since, 300 bytes
watermark  none

source  part       position                           end  lag
events  windows/0  90                                 100  10
events  windows/1  none yet                           7    -
logs    log/0      record 4711 of logs/Security.evtx  -    -
";
        assert_eq!(text, expect);
    }

    #[test]
    fn positions_are_one_object_for_programs() {
        let value = json_of(&example());
        assert_eq!(value["place"]["folder"], "state");
        assert_eq!(value["state"]["changelog_entries"], 2);
        assert_eq!(value["positions"][0]["lag"], 10);
        assert!(value["positions"][1]["offset"].is_null());
        assert_eq!(value["positions"][2]["record_id"], 4711);
        assert_eq!(value["positions"][2]["written"], "2026-09-21T14:13:20.5000000Z");
    }
}

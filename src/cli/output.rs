//! What several commands print: incidents, cards, hosts, counters and the summary.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, IsTerminal, Write};

use super::CliError;
use crate::detect::Detector;
use crate::incident::{Incident, Kind};
use crate::output::cards::{Style, write_card};
use crate::output::format::Format;
use crate::output::summary::{SourceTotal, Summary};
use crate::output::wire::{WireHost, WireObservations, WireStats};
use crate::output::write_line;
use crate::pipeline::replay::Replayed;
use crate::store::StoreError;
use crate::store::atomic_file::AtomicFile;

/// Columns of a card where neither `COLUMNS` nor the terminal says how many there are.
const CARD_WIDTH: usize = 80;

/// Prints text on standard output. A reader that closed its end is no error.
pub(super) fn print(text: &str) -> Result<(), CliError> {
    to_standard_output(|out| out.write_all(text.as_bytes()))
}

fn to_standard_output(fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), CliError> {
    let mut out = BufWriter::new(io::stdout().lock());
    match fill(&mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(CliError::StandardOutput),
    }
}

/// Prints cards on a terminal, and lines of `format` into anything else.
pub(super) fn write_incidents(incidents: &[Incident], format: Format) -> Result<(), CliError> {
    if io::stdout().is_terminal() {
        return write_cards(incidents);
    }
    to_standard_output(|out| incidents.iter().try_for_each(|i| format.write(i, out)))
}

/// Prints a card for each incident, in this order. In colour on a terminal, unless `NO_COLOR` is set.
pub(super) fn write_cards(incidents: &[Incident]) -> Result<(), CliError> {
    let plain = std::env::var_os("NO_COLOR").is_some() || !io::stdout().is_terminal();
    let style = if plain { Style::Plain } else { Style::Color };
    let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let terminal = console::Term::stdout().size_checked().map(|(_, columns)| usize::from(columns));
    let width = columns.or(terminal).unwrap_or(CARD_WIDTH);
    to_standard_output(|mut out| {
        incidents.iter().try_for_each(|incident| write_card(&mut out, incident, style, width))
    })
}

/// Writes a line for each host that is known. The file is not committed yet.
pub(super) fn write_hosts(detector: &Detector, output: &mut AtomicFile) -> Result<(), StoreError> {
    let fleet = detector.fleet();
    let mut hosts = fleet.known_hosts(detector.names());
    output.fill(|out| hosts.try_for_each(|host| write_line(out, &WireHost::from(&host))))
}

/// The counters of a run, as `--stats` writes them.
pub(super) fn stats(replayed: &Replayed) -> WireStats {
    let matched =
        replayed.matched.iter().map(|((provider, id), count)| (format!("{provider}/{id}"), *count));
    let skipped =
        replayed.tally.skipped.iter().map(|(reason, count)| (reason.name().to_owned(), *count));
    let mut incidents: BTreeMap<String, u64> = BTreeMap::new();
    for incident in &replayed.incidents {
        *incidents.entry(incident.kind.name().to_owned()).or_default() += 1;
    }
    let ingested = replayed.ingested;
    WireStats {
        files: replayed.files,
        bytes: replayed.tally.bytes,
        chunks: replayed.tally.chunks,
        records: replayed.tally.records,
        matched: matched.collect(),
        observations: WireObservations {
            mismatch: ingested.mismatches,
            failure: ingested.failures,
            success: ingested.successes,
            fact: ingested.facts,
        },
        skipped: skipped.collect(),
        incidents,
        seconds: replayed.elapsed.as_secs_f64(),
    }
}

/// What the summary at the end of a run shows.
pub(super) fn summary(stats: WireStats, replayed: &Replayed) -> Summary {
    let mut classes: BTreeMap<(String, String), u64> = BTreeMap::new();
    let mut sources: BTreeMap<&str, SourceTotal> = BTreeMap::new();
    for incident in &replayed.incidents {
        let class = (incident.kind.name().to_owned(), incident.verdict.class.name().to_owned());
        *classes.entry(class).or_default() += 1;
        if incident.kind == Kind::AuthenticationFailures {
            let source = sources.entry(&incident.source_key).or_insert_with(|| SourceTotal {
                name: source_name(incident),
                sid: incident.source_sid.map(|sid| sid.to_string()),
                failures: 0,
            });
            source.failures += incident.counts.failures;
        }
    }
    let skip_samples = replayed
        .tally
        .samples
        .iter()
        .map(|(reason, sample)| (reason.name().to_owned(), sample.clone()));
    let over_bounds = replayed.detector.over_bounds().into_iter().filter(|(_, count)| *count > 0);
    Summary {
        stats,
        skip_samples: skip_samples.collect(),
        classes,
        sources: sources.into_values().collect(),
        over_bounds: over_bounds.map(|(what, count)| (what.to_owned(), count)).collect(),
    }
}

/// What the summary calls the source of an incident; `None` when nothing names it.
fn source_name(incident: &Incident) -> Option<String> {
    let account = incident.accounts.first()?;
    match (&account.domain, &account.name) {
        (Some(domain), Some(name)) => Some(format!("{domain}\\{name}")),
        (None, Some(name)) => Some(name.clone()),
        (_, None) => incident.source_key.split_once(':').map(|(_, key)| key.to_owned()),
    }
}

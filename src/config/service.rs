//! What `twinsid run` does: its sources and its sink, `[state]`, `[time]`, `[service]` and `[log]`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::file::{ConfigFile, Renamed, similar};
use super::sinks::{RawSink, SinkSpec};
use super::sources::{NamedSource, RawSource};
use super::{loops, sinks, sources};
use crate::detect::seconds;
use crate::output::format::Format;

/// Keys that had another name.
pub(super) const RENAMED: [Renamed; 1] = [LINGER_MS];

const LINGER_MS: Renamed = Renamed { former: "service.gather_ms", name: "service.linger_ms" };

/// Checked, except for what only the brokers or the disk can show.
#[derive(Clone, Debug)]
pub struct Service {
    pub sources: Vec<NamedSource>,
    pub sink: SinkSpec,
    /// Of the lines that it writes.
    pub format: Format,
    pub state_dir: Option<PathBuf>,
    pub lateness_ticks: u64,
    pub idle_ticks: u64,
    pub linger: Duration,
    pub status_interval: Duration,
    pub inventory: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawState {
    dir: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTime {
    allowed_lateness_secs: Option<Spanned<u64>>,
    idle_secs: Option<Spanned<u64>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawService {
    linger_ms: Option<Spanned<u64>>,
    /// The former name of `linger_ms`.
    gather_ms: Option<Spanned<u64>>,
    status_ms: Option<Spanned<u64>>,
    inventory: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLog {
    format: Option<Spanned<String>>,
}

/// What a log line of the service looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    /// One object a line.
    Json,
}

impl LogFormat {
    const ALL: [LogFormat; 2] = [LogFormat::Text, LogFormat::Json];

    pub fn name(self) -> &'static str {
        match self {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<LogFormat> {
        LogFormat::ALL.into_iter().find(|format| format.name() == name)
    }
}

/// The sections that only the service uses, as they are written.
#[derive(Default)]
pub(super) struct RawServiceSections {
    pub source: Vec<Spanned<RawSource>>,
    pub sink: Option<Spanned<RawSink>>,
    pub state: RawState,
    pub time: RawTime,
    pub service: RawService,
    pub log: RawLog,
}

/// `None` when the file has no service, or after a mistake. Mistakes go to `file`.
pub(super) fn check(
    base: &RawServiceSections,
    over: RawServiceSections,
    folder: &Path,
    file: &mut ConfigFile<'_>,
) -> Option<Service> {
    let RawServiceSections { source, sink, state, time, service, log } = over;
    let RawServiceSections { time: base_time, service: base_service, .. } = base;
    let linger_ms = file.renamed(LINGER_MS, service.linger_ms, service.gather_ms);
    let mut number =
        |key: &str, base: &Option<Spanned<u64>>, over: &Option<Spanned<u64>>, range| {
            file.number(key, base.as_ref(), over.as_ref(), range)
        };
    let lateness_secs = number(
        "time.allowed_lateness_secs",
        &base_time.allowed_lateness_secs,
        &time.allowed_lateness_secs,
        0..=31 * 86_400,
    );
    let idle_secs = number("time.idle_secs", &base_time.idle_secs, &time.idle_secs, 1..=86_400);
    let linger_ms = number("service.linger_ms", &base_service.linger_ms, &linger_ms, 1..=60_000);
    let status_ms =
        number("service.status_ms", &base_service.status_ms, &service.status_ms, 100..=86_400_000);
    check_log_format(&log, file);
    if sink.is_none() && source.is_empty() {
        return None;
    }
    if sink.is_none() {
        file.mistake(0, "there is no `[sink]`", "say where incidents go: `[sink]` with `kind`");
    }
    let sources = sources::check(source, folder, file);
    let format = sink.as_ref().map(|sink| sinks::check_format(sink.get_ref(), file));
    let sink = sink.and_then(|sink| {
        let at = sink.span().start;
        let sink = sinks::check(sink.into_inner(), at, folder, file)?;
        loops::check(&sources, &sink, at, file);
        Some(sink)
    });
    let state_dir = state.dir.map(|dir| folder.join(dir));
    let needs_state = matches!(sink, Some(SinkSpec::File(_) | SinkSpec::Stdout { .. }));
    if needs_state && state_dir.is_none() {
        file.mistake(
            0,
            "there is no `state.dir`",
            "a sink that is no Kafka topic needs a folder for its resume point: `[state]` with `dir`",
        );
    }
    Some(Service {
        sources,
        sink: sink?,
        format: format.unwrap_or_default(),
        state_dir,
        lateness_ticks: seconds(lateness_secs),
        idle_ticks: seconds(idle_secs),
        linger: Duration::from_millis(linger_ms),
        status_interval: Duration::from_millis(status_ms),
        inventory: service.inventory.map(|path| folder.join(path)),
    })
}

/// The format itself is read before anything is logged, by [`super::log_format`].
fn check_log_format(log: &RawLog, file: &mut ConfigFile<'_>) {
    let Some(format) = &log.format else { return };
    if LogFormat::from_name(format.get_ref()).is_none() {
        let what = format!("`{}` is no format of log lines", format.get_ref());
        let hint = similar(format.get_ref(), LogFormat::ALL.map(LogFormat::name));
        file.mistake(format.span().start, what, hint);
    }
}

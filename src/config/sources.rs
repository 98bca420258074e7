//! `[[source]]`: where the service reads events.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::file::{ConfigFile, Renamed};
use super::options;
use super::options::RawOptions;
use crate::brokers::{Cluster, TopicMatch};
use crate::position::Start;
use crate::time::EventTime;

/// Sources of one service.
const SOURCES_MAX: usize = 64;

/// Milliseconds between two polls of a log, where the file does not say.
const POLL_MS_DEFAULT: u64 = 500;

/// Where a source begins, where the file does not say.
const START_DEFAULT: Start = Start::Earliest;

/// What librdkafka calls it.
const START_OPTION: &str = "auto.offset.reset";

/// Seconds that a connection may be silent: from a minute to a month.
const CONNECTION_IDLE_SECS: RangeInclusive<u64> = 60..=2_592_000;

const KINDS: [&str; 5] = ["kafka", "evtx", "tcp", "unix", "stdin"];

#[derive(Clone, Debug)]
pub struct NamedSource {
    /// Positions are stored under it.
    pub name: String,
    pub spec: SourceSpec,
}

#[derive(Clone, Debug)]
pub enum SourceSpec {
    Kafka(KafkaInput),
    Evtx {
        paths: Vec<PathBuf>,
        poll: Duration,
        start: Start,
    },
    /// `idle`: how long a connection may be silent.
    Tcp {
        listen: SocketAddr,
        tls: Option<TlsFiles>,
        idle: Option<Duration>,
    },
    Unix {
        path: PathBuf,
        idle: Option<Duration>,
    },
    Stdin,
}

#[derive(Clone, Debug)]
pub struct KafkaInput {
    pub cluster: Cluster,
    pub topics: Vec<String>,
    pub group: String,
    pub instance: Option<String>,
    pub start: Start,
}

#[derive(Clone, Debug)]
pub struct TlsFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
    pub client_ca: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSource {
    kind: Spanned<String>,
    name: Option<String>,
    start: Option<Spanned<String>>,
    brokers: Option<String>,
    topics: Option<Vec<String>>,
    group: Option<String>,
    instance: Option<String>,
    #[serde(default)]
    options: RawOptions,
    oauth_token_file: Option<PathBuf>,
    paths: Option<Vec<PathBuf>>,
    poll_ms: Option<Spanned<u64>>,
    listen: Option<Spanned<String>>,
    path: Option<PathBuf>,
    tls: Option<RawTls>,
    connection_idle_secs: Option<Spanned<u64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTls {
    certificate: PathBuf,
    key: PathBuf,
    client_ca: Option<PathBuf>,
}

/// The sources with their names, without those that have a mistake.
pub(super) fn check(
    raw: Vec<Spanned<RawSource>>,
    folder: &Path,
    file: &mut ConfigFile<'_>,
) -> Vec<NamedSource> {
    if raw.is_empty() {
        file.mistake(0, "there is no `[[source]]`", "say where events come from");
    }
    if raw.len() > SOURCES_MAX {
        file.mistake(0, format!("there are more than {SOURCES_MAX} sources"), "use fewer");
    }
    let mut sources: Vec<NamedSource> = Vec::new();
    for raw in raw {
        let at = raw.span().start;
        let raw = raw.into_inner();
        let given = raw.name.clone();
        let Some(spec) = check_source(raw, at, folder, file) else { continue };
        let name = given.unwrap_or_else(|| {
            let same = sources.iter().filter(|other| other.spec.kind() == spec.kind()).count();
            format!("{}-{same}", spec.kind())
        });
        if sources.iter().any(|other| other.name == name) {
            let what = format!("two sources are called `{name}`");
            file.mistake(at, what, "positions are kept by name: give each its own");
        }
        sources.push(NamedSource { name, spec });
    }
    sources
}

fn check_source(
    raw: RawSource,
    at: usize,
    folder: &Path,
    file: &mut ConfigFile<'_>,
) -> Option<SourceSpec> {
    let kind = raw.kind.get_ref().clone();
    if KINDS.contains(&kind.as_str()) {
        file.refuse_stray(at, &kind, &keys_of_others(&raw));
    }
    match kind.as_str() {
        "kafka" => check_kafka(raw, at, folder, file),
        "evtx" => check_evtx(raw, at, folder, file),
        "tcp" => check_tcp(raw, at, folder, file),
        "unix" => {
            let path = file.required(at, "path", raw.path)?;
            let idle = check_idle(raw.connection_idle_secs.as_ref(), file);
            Some(SourceSpec::Unix { path: folder.join(path), idle })
        }
        "stdin" => Some(SourceSpec::Stdin),
        _ => {
            file.unknown_kind(&raw.kind, &KINDS);
            None
        }
    }
}

/// The keys of all kinds but that of this source, and whether they are set.
fn keys_of_others(raw: &RawSource) -> Vec<(&'static str, bool)> {
    let kafka = [
        ("brokers", raw.brokers.is_some()),
        ("topics", raw.topics.is_some()),
        ("group", raw.group.is_some()),
        ("instance", raw.instance.is_some()),
        ("options", !raw.options.is_empty()),
        ("oauth_token_file", raw.oauth_token_file.is_some()),
    ];
    let evtx = [("paths", raw.paths.is_some()), ("poll_ms", raw.poll_ms.is_some())];
    // Whose records stay where they were sent from.
    let kept = [("start", raw.start.is_some())];
    let tcp = [("listen", raw.listen.is_some()), ("tls", raw.tls.is_some())];
    let unix = [("path", raw.path.is_some())];
    let sockets = [("connection_idle_secs", raw.connection_idle_secs.is_some())];
    [
        (&["kafka"][..], &kafka[..]),
        (&["evtx"], &evtx),
        (&["kafka", "evtx"], &kept),
        (&["tcp"], &tcp),
        (&["unix"], &unix),
        (&["tcp", "unix"], &sockets),
    ]
    .into_iter()
    .filter(|(kinds, _)| !kinds.contains(&raw.kind.get_ref().as_str()))
    .flat_map(|(_, keys)| keys.iter().copied())
    .collect()
}

fn check_kafka(
    raw: RawSource,
    at: usize,
    folder: &Path,
    file: &mut ConfigFile<'_>,
) -> Option<SourceSpec> {
    let topics = file.required(at, "topics", raw.topics.filter(|topics| !topics.is_empty()));
    let group = file.required(at, "group", raw.group.filter(|group| !group.is_empty()));
    let brokers = file.required(at, "brokers", raw.brokers);
    let reset = raw.options.keys().find(|name| name.get_ref() == START_OPTION).cloned();
    let mut options = options::check(raw.options, folder, file);
    let mut start = check_start(raw.start.as_ref(), file);
    if let Some(name) = reset
        && let Some(by_option) = options.get(START_OPTION).and_then(|value| start_option(value))
    {
        options.remove(START_OPTION);
        let renamed = Renamed { former: START_OPTION, name: "start" };
        if start.is_some() {
            file.refuse_both(name.span().start, renamed);
        } else {
            file.warn_renamed(name.span().start, renamed);
            start = Some(by_option);
        }
    }
    for topic in topics.iter().flatten() {
        if let Err(error) = TopicMatch::new(topic) {
            let what = format!("`{topic}` is no regular expression: {error}");
            file.mistake(
                at,
                what,
                "a topic that begins with `^` is a pattern; mend it, or write the topic's name",
            );
        }
    }
    Some(SourceSpec::Kafka(KafkaInput {
        cluster: options::cluster(brokers?, options, raw.oauth_token_file, folder),
        topics: topics?,
        group: group?,
        instance: raw.instance,
        start: start.unwrap_or(START_DEFAULT),
    }))
}

fn check_evtx(
    raw: RawSource,
    at: usize,
    folder: &Path,
    file: &mut ConfigFile<'_>,
) -> Option<SourceSpec> {
    let paths = file.required(at, "paths", raw.paths.filter(|paths| !paths.is_empty()))?;
    let given = raw.poll_ms.as_ref();
    let poll_ms = given.map(|_| file.number("poll_ms", None, given, 50..=3_600_000));
    let poll = Duration::from_millis(poll_ms.unwrap_or(POLL_MS_DEFAULT));
    let paths = paths.into_iter().map(|path| folder.join(path)).collect();
    let start = check_start(raw.start.as_ref(), file).unwrap_or(START_DEFAULT);
    Some(SourceSpec::Evtx { paths, poll, start })
}

/// Where a source is told to begin; `None` when it is not, or after a mistake.
fn check_start(raw: Option<&Spanned<String>>, file: &mut ConfigFile<'_>) -> Option<Start> {
    let raw = raw?;
    let start = parse_start(raw.get_ref());
    if start.is_none() {
        let what = format!("`start` is `{}`", raw.get_ref());
        let hint = "write \"earliest\", \"latest\", or a time with its zone such as \"2026-09-21T08:00:00Z\"";
        file.mistake(raw.span().start, what, hint);
    }
    start
}

/// `earliest`, `latest`, or a time of RFC 3339.
pub(crate) fn parse_start(text: &str) -> Option<Start> {
    match text {
        "earliest" => Some(Start::Earliest),
        "latest" => Some(Start::Latest),
        time => {
            let time: jiff::Timestamp = time.parse().ok()?;
            EventTime::from_unix_nanos(time.as_nanosecond()).map(Start::At)
        }
    }
}

/// The values of [`START_OPTION`]; `None` for one that is no place to begin.
fn start_option(value: &str) -> Option<Start> {
    match value {
        "earliest" | "smallest" | "beginning" => Some(Start::Earliest),
        "latest" | "largest" | "end" => Some(Start::Latest),
        _ => None,
    }
}

fn check_tcp(
    raw: RawSource,
    at: usize,
    folder: &Path,
    file: &mut ConfigFile<'_>,
) -> Option<SourceSpec> {
    let listen = file.required(at, "listen", raw.listen)?;
    let Ok(address) = listen.get_ref().parse::<SocketAddr>() else {
        let what = format!("`{}` is no address to listen on", listen.get_ref());
        file.mistake(listen.span().start, what, "write `127.0.0.1:5170` or `[::1]:5170`");
        return None;
    };
    let tls = raw.tls.map(|tls| TlsFiles {
        certificate: folder.join(tls.certificate),
        key: folder.join(tls.key),
        client_ca: tls.client_ca.map(|path| folder.join(path)),
    });
    let idle = check_idle(raw.connection_idle_secs.as_ref(), file);
    Some(SourceSpec::Tcp { listen: address, tls, idle })
}

/// `None` where the file does not say.
fn check_idle(given: Option<&Spanned<u64>>, file: &mut ConfigFile<'_>) -> Option<Duration> {
    given.map(|_| {
        Duration::from_secs(file.number("connection_idle_secs", None, given, CONNECTION_IDLE_SECS))
    })
}

impl SourceSpec {
    pub fn kind(&self) -> &'static str {
        match self {
            SourceSpec::Kafka(_) => "kafka",
            SourceSpec::Evtx { .. } => "evtx",
            SourceSpec::Tcp { .. } => "tcp",
            SourceSpec::Unix { .. } => "unix",
            SourceSpec::Stdin => "stdin",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    /// The start of a source with these lines, and the mistakes.
    fn start_of(kind: &str, lines: &str) -> Result<Start, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("run.toml");
        let of_kind = match kind {
            "kafka" => "brokers = \"b:1\"\ntopics = [\"t\"]\ngroup = \"g\"\n",
            "evtx" => "paths = [\"logs\"]\n",
            "tcp" => "listen = \"127.0.0.1:1\"\n",
            _ => "",
        };
        let text = format!(
            "[[source]]\nkind = \"{kind}\"\n{of_kind}{lines}[sink]\nkind = \"stdout\"\n[state]\ndir = \"s\"\n"
        );
        std::fs::write(&path, text).expect("written");
        let config = Config::load(Some(&path)).map_err(|error| error.to_string())?;
        match &config.service.expect("a service").sources[0].spec {
            SourceSpec::Kafka(input) => {
                assert!(!input.cluster.options.contains_key(START_OPTION));
                Ok(input.start)
            }
            SourceSpec::Evtx { start, .. } => Ok(*start),
            SourceSpec::Tcp { .. } | SourceSpec::Unix { .. } | SourceSpec::Stdin => {
                Err("has no start".to_owned())
            }
        }
    }

    #[test]
    fn a_source_begins_at_an_end_or_at_a_time() {
        let time = EventTime::from_unix_nanos(1_790_000_000_500_000_000).expect("a time");
        for kind in ["kafka", "evtx"] {
            let check = |lines: &str, expect| {
                assert_eq!(start_of(kind, lines), Ok(expect), "{kind} {lines}");
            };
            check("", Start::Earliest);
            check("start = \"earliest\"\n", Start::Earliest);
            check("start = \"latest\"\n", Start::Latest);
            check("start = \"2026-09-21T14:13:20.5Z\"\n", Start::At(time));
            check("start = \"2026-09-21T16:13:20.5+02:00\"\n", Start::At(time));
            for wrong in ["newest", "2026-09-21", "2026-09-21T14:13:20", ""] {
                let said = start_of(kind, &format!("start = \"{wrong}\"\n")).expect_err("no start");
                assert!(said.contains(&format!("`start` is `{wrong}`")), "{said}");
                assert!(said.contains("hint: write \"earliest\", \"latest\", or a time"), "{said}");
            }
        }
        for kind in ["tcp", "stdin"] {
            let said = start_of(kind, "start = \"latest\"\n").expect_err("nothing to go back to");
            assert!(said.contains("`start` means nothing for kind"), "{said}");
        }
    }

    #[test]
    fn the_option_of_the_client_is_read_as_the_start() {
        let option = |value: &str| format!("options = {{ \"auto.offset.reset\" = \"{value}\" }}\n");
        assert_eq!(start_of("kafka", &option("latest")), Ok(Start::Latest));
        assert_eq!(start_of("kafka", &option("smallest")), Ok(Start::Earliest));
        let both = start_of("kafka", &(option("latest") + "start = \"latest\"\n"));
        let both = both.expect_err("both");
        assert!(both.contains("`auto.offset.reset` is set beside `start`"), "{both}");
    }
}

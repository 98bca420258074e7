//! `[[source]]`: where the service reads events.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::file::ConfigFile;
use super::options;
use super::options::RawOptions;
use crate::brokers::Cluster;

/// Sources of one service.
const SOURCES_MAX: usize = 64;

/// Milliseconds between two polls of a log, where the file does not say.
const POLL_MS_DEFAULT: u64 = 500;

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
    let tcp = [("listen", raw.listen.is_some()), ("tls", raw.tls.is_some())];
    let unix = [("path", raw.path.is_some())];
    let sockets = [("connection_idle_secs", raw.connection_idle_secs.is_some())];
    [
        (&["kafka"][..], &kafka[..]),
        (&["evtx"], &evtx),
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
    let options = options::check(raw.options, folder, file);
    Some(SourceSpec::Kafka(KafkaInput {
        cluster: options::cluster(brokers?, options, raw.oauth_token_file, folder),
        topics: topics?,
        group: group?,
        instance: raw.instance,
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
    Some(SourceSpec::Evtx { paths, poll })
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

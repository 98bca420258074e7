//! What `twinsid run` reads from, writes to and keeps: `[[source]]`, `[sink]`,
//! `[state]`, `[time]` and `[service]`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::{File, number, similar};
use crate::brokers::{Cluster, refused_option};
use crate::detect::seconds;
use crate::output::format::Format;

/// Largest file that holds a secret.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// Sources of one service.
const SOURCES_MAX: usize = 64;

/// Checked, but for what only the brokers or the disk can tell.
#[derive(Clone, Debug)]
pub struct Service {
    pub sources: Vec<NamedSource>,
    pub sink: SinkSpec,
    /// In which incidents are written there.
    pub format: Format,
    pub state_dir: Option<PathBuf>,
    pub lateness_ticks: u64,
    pub idle_ticks: u64,
    pub linger: Duration,
    pub status_interval: Duration,
    pub inventory: Option<PathBuf>,
}

#[derive(Clone, Debug)]
pub struct NamedSource {
    /// Positions are kept by it.
    pub name: String,
    pub spec: SourceSpec,
}

#[derive(Clone, Debug)]
pub enum SourceSpec {
    Kafka(KafkaInput),
    Evtx { paths: Vec<PathBuf>, poll: Duration },
    Tcp { listen: SocketAddr, tls: Option<TlsFiles> },
    Unix { path: PathBuf },
    Stdin,
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

#[derive(Clone, Debug)]
pub enum SinkSpec {
    Kafka(KafkaOutput),
    File(FileOutput),
    Stdout { dead_letters: Option<PathBuf> },
}

#[derive(Clone, Debug)]
pub struct KafkaOutput {
    pub cluster: Cluster,
    pub topic: String,
    pub observations_topic: String,
    pub changelog_topic: String,
    pub dead_letter_topic: String,
    pub create_topics: bool,
}

#[derive(Clone, Debug)]
pub struct FileOutput {
    pub path: PathBuf,
    pub bytes_max: Option<u64>,
    pub interval_secs: Option<u64>,
    pub keep: Option<u32>,
    pub dead_letters: Option<PathBuf>,
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
    options: BTreeMap<Spanned<String>, RawOption>,
    oauth_token_file: Option<PathBuf>,
    paths: Option<Vec<PathBuf>>,
    poll_ms: Option<Spanned<u64>>,
    listen: Option<Spanned<String>>,
    path: Option<PathBuf>,
    tls: Option<RawTls>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTls {
    certificate: PathBuf,
    key: PathBuf,
    client_ca: Option<PathBuf>,
}

/// A value, or where a secret stands.
#[derive(Deserialize)]
#[serde(untagged)]
enum RawOption {
    Text(String),
    Number(i64),
    Switch(bool),
    File { file: PathBuf },
    Environment { env: String },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSink {
    kind: Spanned<String>,
    format: Option<Spanned<String>>,
    brokers: Option<String>,
    topic: Option<String>,
    observations_topic: Option<String>,
    changelog_topic: Option<String>,
    dead_letter_topic: Option<String>,
    create_topics: Option<bool>,
    #[serde(default)]
    options: BTreeMap<Spanned<String>, RawOption>,
    oauth_token_file: Option<PathBuf>,
    path: Option<PathBuf>,
    rotate_mib: Option<Spanned<u64>>,
    rotate_hours: Option<Spanned<u64>>,
    keep: Option<Spanned<u64>>,
    dead_letters: Option<PathBuf>,
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
    gather_ms: Option<Spanned<u64>>,
    status_ms: Option<Spanned<u64>>,
    inventory: Option<PathBuf>,
}

/// The parts of a file that only the service has.
#[derive(Default)]
pub(super) struct RawParts {
    pub source: Vec<Spanned<RawSource>>,
    pub sink: Option<Spanned<RawSink>>,
    pub state: RawState,
    pub time: RawTime,
    pub service: RawService,
}

const SOURCE_KINDS: [&str; 5] = ["kafka", "evtx", "tcp", "unix", "stdin"];
const SINK_KINDS: [&str; 3] = ["kafka", "file", "stdout"];

/// `None` where the file has no service; mistakes are noted in `user`.
pub(super) fn check(
    base: &RawParts,
    over: RawParts,
    folder: &Path,
    user: &mut File<'_>,
) -> Option<Service> {
    let RawParts { source, sink, state, time, service } = over;
    let lateness = number(
        user,
        "time.allowed_lateness_secs",
        base.time.allowed_lateness_secs.as_ref(),
        time.allowed_lateness_secs.as_ref(),
        0..=31 * 86_400,
    );
    let idle = number(
        user,
        "time.idle_secs",
        base.time.idle_secs.as_ref(),
        time.idle_secs.as_ref(),
        1..=86_400,
    );
    let gather = number(
        user,
        "service.gather_ms",
        base.service.gather_ms.as_ref(),
        service.gather_ms.as_ref(),
        1..=60_000,
    );
    let status = number(
        user,
        "service.status_ms",
        base.service.status_ms.as_ref(),
        service.status_ms.as_ref(),
        100..=86_400_000,
    );
    let sink = match sink {
        Some(sink) => Some(sink),
        None if source.is_empty() => return None,
        None => {
            user.mistake(0, "there is no `[sink]`", "say where incidents go: `[sink]` with `kind`");
            None
        }
    };
    if source.is_empty() {
        user.mistake(0, "there is no `[[source]]`", "say where events come from");
    }
    if source.len() > SOURCES_MAX {
        user.mistake(0, format!("there are more than {SOURCES_MAX} sources"), "use fewer");
    }
    let mut sources: Vec<NamedSource> = Vec::new();
    for raw in source {
        let at = raw.span().start;
        let raw = raw.into_inner();
        let given = raw.name.clone();
        let Some(spec) = check_source(raw, at, folder, user) else { continue };
        let name = given.unwrap_or_else(|| {
            let same = sources.iter().filter(|other| other.spec.kind() == spec.kind()).count();
            format!("{}-{same}", spec.kind())
        });
        if sources.iter().any(|other| other.name == name) {
            let what = format!("two sources are called `{name}`");
            user.mistake(at, what, "positions are kept by name: give each its own");
        }
        sources.push(NamedSource { name, spec });
    }
    let format = sink.as_ref().and_then(|sink| sink.get_ref().format.as_ref());
    let format = format.map_or(Format::default(), |name| check_format(name, user));
    let sink = sink.and_then(|sink| {
        let at = sink.span().start;
        check_sink(sink.into_inner(), at, folder, user)
    });
    let state_dir = state.dir.map(|dir| folder.join(dir));
    let needs_state = matches!(sink, Some(SinkSpec::File(_) | SinkSpec::Stdout { .. }));
    if needs_state && state_dir.is_none() {
        user.mistake(
            0,
            "there is no `state.dir`",
            "a sink that is no Kafka topic needs a folder for its resume point: `[state]` with `dir`",
        );
    }
    Some(Service {
        sources,
        sink: sink?,
        format,
        state_dir,
        lateness_ticks: seconds(lateness),
        idle_ticks: seconds(idle),
        linger: Duration::from_millis(gather),
        status_interval: Duration::from_millis(status),
        inventory: service.inventory.map(|path| folder.join(path)),
    })
}

fn unknown_kind(user: &mut File<'_>, kind: &Spanned<String>, kinds: &[&'static str]) {
    let what = format!("`{}` is no kind", kind.get_ref());
    let hint = similar(kind.get_ref(), kinds.iter().copied());
    user.mistake(kind.span().start, what, hint);
}

/// The default after a mistake.
fn check_format(name: &Spanned<String>, user: &mut File<'_>) -> Format {
    Format::from_name(name.get_ref()).unwrap_or_else(|| {
        let what = format!("`{}` is no format", name.get_ref());
        let hint = similar(name.get_ref(), Format::ALL.map(Format::name));
        user.mistake(name.span().start, what, hint);
        Format::default()
    })
}

fn missing<T>(user: &mut File<'_>, at: usize, key: &str, value: Option<T>) -> Option<T> {
    if value.is_none() {
        user.mistake(at, format!("`{key}` is missing"), format!("add `{key}`"));
    }
    value
}

/// Notes keys that mean nothing for the kind at hand.
fn stray(user: &mut File<'_>, at: usize, kind: &str, keys: &[(&str, bool)]) {
    for (key, _) in keys.iter().filter(|(_, is_set)| *is_set) {
        let what = format!("`{key}` means nothing for kind `{kind}`");
        user.mistake(at, what, "remove it, or check the kind");
    }
}

fn check_source(
    raw: RawSource,
    at: usize,
    folder: &Path,
    user: &mut File<'_>,
) -> Option<SourceSpec> {
    let kind = raw.kind.get_ref().clone();
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
    let others: Vec<(&str, bool)> =
        [("kafka", &kafka[..]), ("evtx", &evtx[..]), ("tcp", &tcp[..]), ("unix", &unix[..])]
            .into_iter()
            .filter(|(other, _)| *other != kind)
            .flat_map(|(_, keys)| keys.iter().copied())
            .collect();
    match kind.as_str() {
        "kafka" => {
            stray(user, at, &kind, &others);
            let topics =
                missing(user, at, "topics", raw.topics.filter(|topics| !topics.is_empty()));
            let group = missing(user, at, "group", raw.group.filter(|group| !group.is_empty()));
            let brokers = missing(user, at, "brokers", raw.brokers);
            let options = check_options(raw.options, folder, user);
            Some(SourceSpec::Kafka(KafkaInput {
                cluster: Cluster {
                    brokers: brokers?,
                    options,
                    oauth_token_file: raw.oauth_token_file.map(|path| folder.join(path)),
                },
                topics: topics?,
                group: group?,
                instance: raw.instance,
            }))
        }
        "evtx" => {
            stray(user, at, &kind, &others);
            let paths = missing(user, at, "paths", raw.paths.filter(|paths| !paths.is_empty()))?;
            let poll = number(user, "poll_ms", None, raw.poll_ms.as_ref(), 50..=3_600_000);
            let poll = if raw.poll_ms.is_some() { poll } else { 500 };
            let paths = paths.into_iter().map(|path| folder.join(path)).collect();
            Some(SourceSpec::Evtx { paths, poll: Duration::from_millis(poll) })
        }
        "tcp" => {
            stray(user, at, &kind, &others);
            let listen = missing(user, at, "listen", raw.listen)?;
            let Ok(address) = listen.get_ref().parse::<SocketAddr>() else {
                let what = format!("`{}` is no address to listen on", listen.get_ref());
                user.mistake(listen.span().start, what, "write `127.0.0.1:5170` or `[::1]:5170`");
                return None;
            };
            let tls = raw.tls.map(|tls| TlsFiles {
                certificate: folder.join(tls.certificate),
                key: folder.join(tls.key),
                client_ca: tls.client_ca.map(|path| folder.join(path)),
            });
            Some(SourceSpec::Tcp { listen: address, tls })
        }
        "unix" => {
            stray(user, at, &kind, &others);
            let path = missing(user, at, "path", raw.path)?;
            Some(SourceSpec::Unix { path: folder.join(path) })
        }
        "stdin" => {
            stray(user, at, &kind, &others);
            Some(SourceSpec::Stdin)
        }
        _ => {
            unknown_kind(user, &raw.kind, &SOURCE_KINDS);
            None
        }
    }
}

fn check_sink(raw: RawSink, at: usize, folder: &Path, user: &mut File<'_>) -> Option<SinkSpec> {
    let kind = raw.kind.get_ref().clone();
    let kafka = [
        ("brokers", raw.brokers.is_some()),
        ("topic", raw.topic.is_some()),
        ("observations_topic", raw.observations_topic.is_some()),
        ("changelog_topic", raw.changelog_topic.is_some()),
        ("dead_letter_topic", raw.dead_letter_topic.is_some()),
        ("create_topics", raw.create_topics.is_some()),
        ("options", !raw.options.is_empty()),
        ("oauth_token_file", raw.oauth_token_file.is_some()),
    ];
    let file = [
        ("path", raw.path.is_some()),
        ("rotate_mib", raw.rotate_mib.is_some()),
        ("rotate_hours", raw.rotate_hours.is_some()),
        ("keep", raw.keep.is_some()),
    ];
    let letters = [("dead_letters", raw.dead_letters.is_some())];
    let dead_letters = raw.dead_letters.map(|path| folder.join(path));
    match kind.as_str() {
        "kafka" => {
            stray(user, at, &kind, &[&file[..], &letters].concat());
            let brokers = missing(user, at, "brokers", raw.brokers);
            let topic = missing(user, at, "topic", raw.topic);
            let options = check_options(raw.options, folder, user);
            let topic = topic?;
            let beside = |given: Option<String>, what: &str| {
                given.unwrap_or_else(|| format!("{topic}-{what}"))
            };
            Some(SinkSpec::Kafka(KafkaOutput {
                cluster: Cluster {
                    brokers: brokers?,
                    options,
                    oauth_token_file: raw.oauth_token_file.map(|path| folder.join(path)),
                },
                observations_topic: beside(raw.observations_topic, "observations"),
                changelog_topic: beside(raw.changelog_topic, "changelog"),
                dead_letter_topic: beside(raw.dead_letter_topic, "dead-letters"),
                create_topics: raw.create_topics.unwrap_or(true),
                topic,
            }))
        }
        "file" => {
            stray(user, at, &kind, &kafka);
            let path = missing(user, at, "path", raw.path)?;
            let mut set = |key: &str, value: &Option<Spanned<u64>>, max: u64| {
                value.as_ref().map(|value| number(user, key, None, Some(value), 1..=max))
            };
            Some(SinkSpec::File(FileOutput {
                path: folder.join(path),
                bytes_max: set("sink.rotate_mib", &raw.rotate_mib, 1 << 20).map(|mib| mib << 20),
                interval_secs: set("sink.rotate_hours", &raw.rotate_hours, 8784)
                    .map(|hours| hours * 3600),
                keep: set("sink.keep", &raw.keep, 100_000).map(|keep| keep as u32),
                dead_letters,
            }))
        }
        "stdout" => {
            stray(user, at, &kind, &[&kafka[..], &file].concat());
            Some(SinkSpec::Stdout { dead_letters })
        }
        _ => {
            unknown_kind(user, &raw.kind, &SINK_KINDS);
            None
        }
    }
}

fn check_options(
    raw: BTreeMap<Spanned<String>, RawOption>,
    folder: &Path,
    user: &mut File<'_>,
) -> BTreeMap<String, String> {
    let mut options = BTreeMap::new();
    for (name, value) in raw {
        let at = name.span().start;
        let name = name.into_inner();
        if let Some(why) = refused_option(&name) {
            let what = format!("`{name}` would break exactly-once delivery: {why}");
            user.mistake(at, what, "remove it");
            continue;
        }
        let value = match value {
            RawOption::Text(text) => text,
            RawOption::Number(number) => number.to_string(),
            RawOption::Switch(switch) => switch.to_string(),
            RawOption::Environment { env } => match std::env::var(&env) {
                Ok(value) => value,
                Err(_) => {
                    let what = format!("environment variable `{env}` of `{name}` is not set");
                    user.mistake(at, what, "set it where the service is started");
                    continue;
                }
            },
            RawOption::File { file } => match read_secret(&folder.join(&file)) {
                Ok(secret) => secret,
                Err(what) => {
                    let what = format!("`{}` of `{name}` {what}", file.display());
                    user.mistake(at, what, "name a readable file that holds the value alone");
                    continue;
                }
            },
        };
        options.insert(name, value);
    }
    options
}

fn read_secret(path: &Path) -> Result<String, String> {
    let size = std::fs::metadata(path).map_err(|error| format!("cannot be read: {error}"))?.len();
    if size > SECRET_BYTES_MAX {
        return Err(format!("is larger than {SECRET_BYTES_MAX} bytes"));
    }
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

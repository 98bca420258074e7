//! `[sink]`: where the service writes incidents, and what it could not decode.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use super::file::{ConfigFile, similar};
use super::options;
use super::options::RawOptions;
use crate::brokers::Cluster;
use crate::output::format::Format;

const KINDS: [&str; 3] = ["kafka", "file", "stdout"];

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
    options: RawOptions,
    oauth_token_file: Option<PathBuf>,
    path: Option<PathBuf>,
    rotate_mib: Option<Spanned<u64>>,
    rotate_hours: Option<Spanned<u64>>,
    keep: Option<Spanned<u64>>,
    dead_letters: Option<PathBuf>,
}

/// The format of the lines; the default after a mistake.
pub(super) fn check_format(raw: &RawSink, file: &mut ConfigFile<'_>) -> Format {
    let Some(name) = &raw.format else { return Format::default() };
    Format::from_name(name.get_ref()).unwrap_or_else(|| {
        let what = format!("`{}` is no format", name.get_ref());
        let hint = similar(name.get_ref(), Format::ALL.map(Format::name));
        file.mistake(name.span().start, what, hint);
        Format::default()
    })
}

/// `None` after a mistake.
pub(super) fn check(
    raw: RawSink,
    at: usize,
    folder: &Path,
    file: &mut ConfigFile<'_>,
) -> Option<SinkSpec> {
    let kind = raw.kind.get_ref().clone();
    let dead_letters = [("dead_letters", raw.dead_letters.is_some())];
    match kind.as_str() {
        "kafka" => {
            file.refuse_stray(at, &kind, &[&file_keys(&raw)[..], &dead_letters].concat());
            check_kafka(raw, at, folder, file)
        }
        "file" => {
            file.refuse_stray(at, &kind, &kafka_keys(&raw));
            check_file(raw, at, folder, file)
        }
        "stdout" => {
            file.refuse_stray(at, &kind, &[&kafka_keys(&raw)[..], &file_keys(&raw)].concat());
            let dead_letters = raw.dead_letters.map(|path| folder.join(path));
            Some(SinkSpec::Stdout { dead_letters })
        }
        _ => {
            file.unknown_kind(&raw.kind, &KINDS);
            None
        }
    }
}

fn kafka_keys(raw: &RawSink) -> [(&'static str, bool); 8] {
    [
        ("brokers", raw.brokers.is_some()),
        ("topic", raw.topic.is_some()),
        ("observations_topic", raw.observations_topic.is_some()),
        ("changelog_topic", raw.changelog_topic.is_some()),
        ("dead_letter_topic", raw.dead_letter_topic.is_some()),
        ("create_topics", raw.create_topics.is_some()),
        ("options", !raw.options.is_empty()),
        ("oauth_token_file", raw.oauth_token_file.is_some()),
    ]
}

fn file_keys(raw: &RawSink) -> [(&'static str, bool); 4] {
    [
        ("path", raw.path.is_some()),
        ("rotate_mib", raw.rotate_mib.is_some()),
        ("rotate_hours", raw.rotate_hours.is_some()),
        ("keep", raw.keep.is_some()),
    ]
}

fn check_kafka(
    raw: RawSink,
    at: usize,
    folder: &Path,
    file: &mut ConfigFile<'_>,
) -> Option<SinkSpec> {
    let brokers = file.required(at, "brokers", raw.brokers);
    let topic = file.required(at, "topic", raw.topic);
    let options = options::check(raw.options, folder, file);
    let topic = topic?;
    let beside =
        |given: Option<String>, what: &str| given.unwrap_or_else(|| format!("{topic}-{what}"));
    Some(SinkSpec::Kafka(KafkaOutput {
        cluster: options::cluster(brokers?, options, raw.oauth_token_file, folder),
        observations_topic: beside(raw.observations_topic, "observations"),
        changelog_topic: beside(raw.changelog_topic, "changelog"),
        dead_letter_topic: beside(raw.dead_letter_topic, "dead-letters"),
        create_topics: raw.create_topics.unwrap_or(true),
        topic,
    }))
}

fn check_file(
    raw: RawSink,
    at: usize,
    folder: &Path,
    file: &mut ConfigFile<'_>,
) -> Option<SinkSpec> {
    let path = file.required(at, "path", raw.path)?;
    let mut number = |key: &str, value: &Option<Spanned<u64>>, max: u64| {
        value.as_ref().map(|value| file.number(key, None, Some(value), 1..=max))
    };
    let rotate_mib = number("sink.rotate_mib", &raw.rotate_mib, 1 << 20);
    let rotate_hours = number("sink.rotate_hours", &raw.rotate_hours, 8784);
    let keep = number("sink.keep", &raw.keep, 100_000);
    Some(SinkSpec::File(FileOutput {
        path: folder.join(path),
        bytes_max: rotate_mib.map(|mib| mib << 20),
        interval_secs: rotate_hours.map(|hours| hours * 3600),
        keep: keep.map(|keep| keep as u32),
        dead_letters: raw.dead_letters.map(|path| folder.join(path)),
    }))
}

//! `twinsid state`: what a service keeps between two runs, read beside it, and its positions, set
//! anew while it does not run.
//!
//! | the sink is | the state is in | positions of a Kafka source |
//! |---|---|---|
//! | a file or standard output | the state folder | in the state |
//! | Kafka | the changelog topic | in the state |
//! | Kafka, the only source too, on the same brokers | the changelog topic | the offsets of its group |

use std::path::PathBuf;
use std::time::UNIX_EPOCH;

use super::mode::ServiceError;
use super::plan;
use super::restore::{CorrelateError, SnapshotHead};
use crate::config::service::Service;
use crate::config::sinks::SinkSpec;
use crate::config::sources::{NamedSource, SourceSpec};
use crate::position::{LogPosition, Position, SourcePositions, Start};
use crate::sink::{Commit, SinkError};
use crate::store::checkpoint::{Advance, ChangelogEntry};
use crate::store::{PeekedState, codec, state_log};
use crate::time::EventTime;

/// What a service keeps.
#[derive(Debug)]
pub struct StoredService {
    pub place: StatePlace,
    /// `None` before the first commit.
    pub state: Option<StoredSummary>,
    pub parts: Vec<StoredPart>,
}

#[derive(Clone, Debug)]
pub enum StatePlace {
    Folder(PathBuf),
    Topic { topic: String, brokers: String },
}

#[derive(Debug)]
pub struct StoredSummary {
    /// Of the stored form.
    pub format: u32,
    /// The version of the program that wrote last.
    pub written_by: Option<String>,
    pub committed_at: Option<EventTime>,
    /// As it is stored.
    pub snapshot_bytes: u64,
    /// Changelog entries since the snapshot, and their bytes.
    pub entries: u64,
    pub entries_bytes: u64,
    /// How far the detector was advanced; `None` before it was.
    pub watermark: Option<EventTime>,
}

/// Where one part of a source stands.
#[derive(Debug)]
pub struct StoredPart {
    pub source: String,
    pub part: String,
    /// `None` for a partition of which the group has no offset yet.
    pub position: Option<Position>,
    /// Behind the last record of a partition; `None` for a log, and where no broker says.
    pub end: Option<i64>,
}

/// A position that is to be set.
#[derive(Debug)]
pub struct Reset {
    pub source: String,
    pub part: String,
    pub to: Position,
}

/// What the service keeps. Nothing is changed, and the service may run meanwhile.
pub fn stored(service: &Service) -> Result<StoredService, ServiceError> {
    let (place, peeked) = peek(service)?;
    let (mut state, mut positions) = (None, SourcePositions::default());
    if let Some(peeked) = &peeked {
        let (summary, known) = summarise(peeked).map_err(CorrelateError::from)?;
        (state, positions) = (Some(summary), known);
    }
    let known = positions.iter().map(|(source, part, position)| StoredPart {
        source: source.to_owned(),
        part: part.to_owned(),
        position: Some(position.clone()),
        end: None,
    });
    let mut parts: Vec<StoredPart> = known.collect();
    #[cfg(feature = "kafka")]
    kafka::add_brokers_view(service, &mut parts)?;
    parts.sort_by(|a, b| (&a.source, &a.part).cmp(&(&b.source, &b.part)));
    Ok(StoredService { place, state, parts })
}

/// The positions that a reset would set: of all sources that keep any, or of one.
pub fn plan_reset(
    service: &Service,
    only: Option<&str>,
    to: Start,
) -> Result<Vec<Reset>, ServiceError> {
    if only.is_some_and(|only| service.sources.iter().all(|source| source.name != only)) {
        return Err(ServiceError::Unsupported {
            what: "no source has the name that `--source` gives",
            hint: "`twinsid state` lists the sources; one without a `name` is called by its kind and number",
        });
    }
    let mut resets = Vec::new();
    let sources = service.sources.iter();
    for source in sources.filter(|source| only.is_none_or(|only| source.name == only)) {
        match &source.spec {
            #[cfg(feature = "kafka")]
            SourceSpec::Kafka(input) => {
                resets.extend(kafka::resets_of(&source.name, input, to)?);
            }
            #[cfg(not(feature = "kafka"))]
            SourceSpec::Kafka(_) => return Err(ServiceError::NO_KAFKA),
            SourceSpec::Evtx { .. } => resets.extend(logs_from_their_start(service, source, to)?),
            SourceSpec::Tcp { .. } | SourceSpec::Unix { .. } | SourceSpec::Stdin => {}
        }
    }
    Ok(resets)
}

/// Sets positions. A service that runs on a state folder, or has members in the group of its source,
/// keeps it from being done; one that keeps its state in a topic is fenced.
pub fn reset(service: &Service, resets: &[Reset]) -> Result<(), ServiceError> {
    #[cfg(feature = "kafka")]
    if let Some(input) = kafka::group_of(service) {
        return kafka::reset_group(&input, resets);
    }
    let mut moved = SourcePositions::default();
    for Reset { source, part, to } in resets {
        moved.set(source, part, to.clone());
    }
    let entry = ChangelogEntry { moved, ..ChangelogEntry::default() };
    let mut sink = plan::open_sink(service)?;
    sink.restore()?;
    let frame = codec::encode(&entry);
    sink.commit(&Commit { incidents: &[], dead_letters: &[], frame: &frame, snapshot: None })?;
    Ok(())
}

fn peek(service: &Service) -> Result<(StatePlace, Option<PeekedState>), ServiceError> {
    match &service.sink {
        SinkSpec::File(_) | SinkSpec::Stdout { .. } => {
            let folder = service.state_dir.clone().unwrap_or_default();
            let peeked = state_log::peek(&folder).map_err(SinkError::from)?;
            Ok((StatePlace::Folder(folder), peeked))
        }
        #[cfg(feature = "kafka")]
        SinkSpec::Kafka(output) => {
            let (topic, brokers) = (output.changelog_topic.clone(), output.cluster.brokers.clone());
            let peeked = crate::sink::kafka::peek(&output.cluster, &topic)?;
            Ok((StatePlace::Topic { topic, brokers }, peeked))
        }
        #[cfg(not(feature = "kafka"))]
        SinkSpec::Kafka(_) => Err(ServiceError::NO_KAFKA),
    }
}

fn summarise(peeked: &PeekedState) -> Result<(StoredSummary, SourcePositions), codec::StoredError> {
    let (mut positions, mut watermark) = (SourcePositions::default(), EventTime::MIN);
    if let Some(bytes) = &peeked.state.snapshot {
        let head: SnapshotHead = codec::unpack_head(bytes)?;
        (positions, watermark) = (head.positions, head.watermark);
    }
    let mut entries_bytes = 0;
    for bytes in &peeked.state.frames {
        entries_bytes += bytes.len() as u64;
        let entry: ChangelogEntry = codec::decode(bytes)?;
        positions.absorb(entry.moved);
        for step in entry.steps {
            if let Advance::To(time) = step.advance {
                watermark = watermark.max(time);
            }
        }
    }
    let committed_at = peeked.committed_at.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    let summary = StoredSummary {
        format: codec::FORMAT,
        written_by: peeked
            .state
            .frames
            .last()
            .or(peeked.state.snapshot.as_ref())
            .and_then(|bytes| codec::written_by(bytes)),
        committed_at: committed_at
            .and_then(|since| EventTime::from_unix_nanos(since.as_nanos() as i128)),
        snapshot_bytes: peeked.state.snapshot.as_ref().map_or(0, |bytes| bytes.len() as u64),
        entries: peeked.state.frames.len() as u64,
        entries_bytes,
        watermark: (watermark != EventTime::MIN).then_some(watermark),
    };
    Ok((summary, positions))
}

/// Logs are found again by the records that they hold; of where they stand only nothing can be
/// forgotten or all.
fn logs_from_their_start(
    service: &Service,
    source: &NamedSource,
    to: Start,
) -> Result<Vec<Reset>, ServiceError> {
    if to != Start::Earliest {
        return Err(ServiceError::Unsupported {
            what: "the logs of an `evtx` source can be reset to `earliest` only",
            hint: "name one Kafka source with `--source`, or set `start` and begin with a new state folder",
        });
    }
    let stored = stored(service)?;
    let own = stored.parts.into_iter().filter(|part| part.source == source.name);
    let reset = |part: StoredPart| match part.position? {
        Position::Log(log) => Some(Reset {
            source: part.source,
            part: part.part,
            to: Position::Log(LogPosition { last: None, ..log }),
        }),
        Position::Offset(_) => None,
    };
    Ok(own.filter_map(reset).collect())
}

#[cfg(feature = "kafka")]
mod kafka {
    use tracing::warn;

    use super::{Position, Reset, Service, ServiceError, SinkSpec, SourceSpec, Start, StoredPart};
    use crate::brokers::{BrokerError, CONNECT_TIMEOUT, Cluster, committed, ends, offsets_at};
    use crate::brokers::{partitions, set_offsets};
    use crate::config::sources::KafkaInput;
    use crate::pipeline::mode::RunMode;
    use crate::pipeline::topics::link_spec;
    use crate::source::kafka::{PartKey, parts_of};

    /// The source whose positions are the offsets of its group.
    pub(super) fn group_of(service: &Service) -> Option<KafkaInput> {
        link_spec(service, RunMode::Continuous)?;
        service.sources.iter().find_map(|source| match &source.spec {
            SourceSpec::Kafka(input) => Some(input.clone()),
            _ => None,
        })
    }

    /// Adds the offsets of a group where these are the positions, and the ends of all partitions.
    pub(super) fn add_brokers_view(
        service: &Service,
        parts: &mut Vec<StoredPart>,
    ) -> Result<(), ServiceError> {
        if let Some(input) = group_of(service) {
            let name = service.sources.first().map_or("", |source| &source.name);
            let inspector = input.cluster.connect()?;
            let keys = parts_of(&inspector, &input.topics)?;
            let group = input.cluster.outside_of(&input.group)?;
            let offsets = committed(&group, &keys, CONNECT_TIMEOUT)?;
            parts.extend(keys.into_iter().zip(offsets).map(|((topic, partition), (offset, _))| {
                StoredPart {
                    source: name.to_owned(),
                    part: format!("{topic}/{partition}"),
                    position: offset.map(Position::Offset),
                    end: None,
                }
            }));
        }
        let of_sources = service.sources.iter().filter_map(|source| match &source.spec {
            SourceSpec::Kafka(input) => Some((source.name.as_str(), &input.cluster)),
            _ => None,
        });
        // Observations stand under the name of their topic.
        let of_sink = match &service.sink {
            SinkSpec::Kafka(output) => Some((output.observations_topic.as_str(), &output.cluster)),
            _ => None,
        };
        for (name, cluster) in of_sources.chain(of_sink) {
            let own = parts.iter_mut().filter(|part| part.source == name);
            if let Err(error) = add_ends(cluster, own) {
                // The positions themselves are known.
                warn!("the ends of the partitions of `{name}` are not known: {error}");
            }
        }
        Ok(())
    }

    fn add_ends<'p>(
        cluster: &Cluster,
        parts: impl Iterator<Item = &'p mut StoredPart>,
    ) -> Result<(), BrokerError> {
        let mut parts = parts.peekable();
        if parts.peek().is_none() {
            return Ok(());
        }
        let inspector = cluster.connect()?;
        for part in parts {
            let Some((topic, partition)) = part_key(&part.part) else { continue };
            // A topic may have been deleted since.
            let known = partitions(&inspector, &topic)?.unwrap_or_default();
            if known.contains(&partition) {
                part.end = Some(ends(&inspector, &topic, partition)?.1);
            }
        }
        Ok(())
    }

    pub(super) fn resets_of(
        source: &str,
        input: &KafkaInput,
        to: Start,
    ) -> Result<Vec<Reset>, ServiceError> {
        let inspector = input.cluster.connect()?;
        let keys = parts_of(&inspector, &input.topics)?;
        let offsets = offsets_at(&inspector, &keys, to)?;
        let reset = |((topic, partition), offset): (PartKey, i64)| Reset {
            source: source.to_owned(),
            part: format!("{topic}/{partition}"),
            to: Position::Offset(offset),
        };
        Ok(keys.into_iter().zip(offsets).map(reset).collect())
    }

    pub(super) fn reset_group(input: &KafkaInput, resets: &[Reset]) -> Result<(), ServiceError> {
        let of = |reset: &Reset| match reset.to {
            Position::Offset(offset) => Some((part_key(&reset.part)?, offset)),
            Position::Log(_) => None,
        };
        let (keys, offsets): (Vec<PartKey>, Vec<i64>) = resets.iter().filter_map(of).unzip();
        Ok(set_offsets(&input.cluster, &input.group, &keys, &offsets)?)
    }

    /// `topic/partition`.
    fn part_key(part: &str) -> Option<PartKey> {
        let (topic, partition) = part.rsplit_once('/')?;
        Some((topic.to_owned(), partition.parse().ok()?))
    }
}

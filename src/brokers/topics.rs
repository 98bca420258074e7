//! Topics: creating them, their partitions, the ends of a partition, and the offsets of a group.

use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Message, Offset, TopicPartitionList};
use tracing::info;

use super::{BrokerError, CONNECT_TIMEOUT, Cluster, Inspector, Reports, is_retryable};
use crate::position::Start;
use crate::retry::Retry;

/// How long brokers that have answered before may be away.
const AWAY_MAX: Duration = Duration::from_secs(60);
const AWAY_PAUSE: Duration = Duration::from_millis(100);

/// Offsets before the end of a partition that are read first, when its last record is searched.
const TAIL_RECORDS: i64 = 64;

/// A topic that the service needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSpec {
    pub name: String,
    pub partitions: i32,
    /// Its configuration: names and values.
    pub settings: Vec<(&'static str, &'static str)>,
    pub purpose: &'static str,
}

/// Partitions of a topic; `None` when it does not exist.
pub fn partitions(client: &Inspector, topic: &str) -> Result<Option<Vec<i32>>, BrokerError> {
    let partitions = persistently("read the metadata of a topic", || {
        let metadata = client.fetch_metadata(Some(topic), CONNECT_TIMEOUT)?;
        let known = metadata.topics().iter().find(|known| known.name() == topic);
        let Some(known) = known else { return Ok(None) };
        match known.error().map(RDKafkaErrorCode::from) {
            None => {
                let partitions = known.partitions().iter();
                let ids = partitions.map(rdkafka::metadata::MetadataPartition::id);
                Ok(Some(ids.collect::<Vec<_>>()))
            }
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
                Ok(None)
            }
            Some(code) => Err(KafkaError::MetadataFetch(code)),
        }
    })?;
    Ok(partitions.filter(|partitions| !partitions.is_empty()))
}

/// The first offset of a partition, and the one behind its last.
pub fn ends(client: &Inspector, topic: &str, partition: i32) -> Result<(i64, i64), BrokerError> {
    persistently("read the end of a partition", || {
        client.fetch_watermarks(topic, partition, CONNECT_TIMEOUT)
    })
}

/// Where each of these partitions begins for this start.
pub fn offsets_at(
    client: &Inspector,
    parts: &[(String, i32)],
    start: Start,
) -> Result<Vec<i64>, BrokerError> {
    let by_time = match start {
        Start::Earliest | Start::Latest => None,
        Start::At(time) => {
            let mut list = TopicPartitionList::new();
            for (topic, partition) in parts {
                list.add_partition_offset(topic, *partition, Offset::Offset(time.unix_millis()))
                    .map_err(BrokerError::of("search offsets by time"))?;
            }
            Some(persistently("search offsets by time", || {
                client.offsets_for_times(list.clone(), CONNECT_TIMEOUT)
            })?)
        }
    };
    let offset = |(topic, partition): &(String, i32)| {
        let found = by_time.as_ref().and_then(|list| list.find_partition(topic, *partition));
        match found.map(|part| part.offset()) {
            Some(Offset::Offset(offset)) => Ok(offset),
            // Nothing is that young.
            _ => {
                let (first, end) = ends(client, topic, *partition)?;
                Ok(if start == Start::Earliest { first } else { end })
            }
        }
    };
    parts.iter().map(offset).collect()
}

/// Sets the offsets of a group. [`BrokerError::HasMembers`] when it has any.
pub fn set_offsets(
    cluster: &Cluster,
    group: &str,
    parts: &[(String, i32)],
    offsets: &[i64],
) -> Result<(), BrokerError> {
    use RDKafkaErrorCode::{IllegalGeneration, RebalanceInProgress, UnknownMemberId};
    let client = cluster.outside_of(group)?;
    let mut list = TopicPartitionList::new();
    for ((topic, partition), offset) in parts.iter().zip(offsets) {
        list.add_partition_offset(topic, *partition, Offset::Offset(*offset))
            .map_err(BrokerError::of("name an offset"))?;
    }
    let is_away = |cause: &KafkaError| {
        let code = cause.rdkafka_error_code();
        code.is_some_and(is_retryable) && code != Some(RebalanceInProgress)
    };
    let done = Retry::for_at_most(AWAY_MAX, AWAY_PAUSE)
        .run(is_away, || client.commit(&list, CommitMode::Sync));
    done.map_err(|cause| match cause.rdkafka_error_code() {
        Some(UnknownMemberId | IllegalGeneration | RebalanceInProgress) => {
            BrokerError::HasMembers { group: group.to_owned() }
        }
        _ => BrokerError::Kafka { doing: "set the offsets of a group", cause },
    })
}

/// The offset behind the last committed record between `first` and `end`; `None` when there is none.
/// Behind it are only control records, and records of aborted transactions. The isolation is that of
/// `client`.
pub fn end_of_records(
    client: &Inspector,
    topic: &str,
    partition: i32,
    (first, end): (i64, i64),
) -> Result<Option<i64>, BrokerError> {
    let mut back = TAIL_RECORDS;
    loop {
        let from = first.max(end - back);
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(from))
            .and_then(|()| client.assign(&list))
            .map_err(BrokerError::of("search the last record of a partition"))?;
        let (mut last, start) = (None, Instant::now());
        loop {
            match client.poll(Duration::from_millis(100)) {
                Some(Ok(message)) if message.offset() < end => last = Some(message.offset() + 1),
                Some(Ok(_) | Err(KafkaError::PartitionEOF(_))) => break,
                Some(Err(_)) | None if start.elapsed() < CONNECT_TIMEOUT => {}
                Some(Err(cause)) => {
                    let doing = "search the last record of a partition";
                    return Err(BrokerError::Kafka { doing, cause });
                }
                None => {
                    let reason = format!("nothing came of partition {partition} of `{topic}`");
                    return Err(BrokerError::Unreachable { brokers: topic.to_owned(), reason });
                }
            }
            if last == Some(end) {
                break;
            }
        }
        if last.is_some() || from == first {
            client.unassign().map_err(BrokerError::of("let a partition go"))?;
            return Ok(last);
        }
        back *= 16;
    }
}

/// The offset that a group has committed in each of these partitions, `None` where it has committed
/// none, and the metadata beside it.
pub fn committed(
    group: &BaseConsumer<Reports>,
    parts: &[(String, i32)],
    timeout: Duration,
) -> Result<Vec<(Option<i64>, String)>, BrokerError> {
    let mut list = TopicPartitionList::new();
    for (topic, partition) in parts {
        list.add_partition(topic, *partition);
    }
    let committed = group
        .committed_offsets(list, timeout)
        .map_err(BrokerError::of("read the group's offsets"))?;
    let position = |(topic, partition): &(String, i32)| {
        let part = committed.find_partition(topic, *partition);
        part.map_or((None, String::new()), |part| {
            (part.offset().to_raw().filter(|offset| *offset >= 0), part.metadata().to_owned())
        })
    };
    Ok(parts.iter().map(position).collect())
}

/// Creates the topics that are missing, and waits until they are known. Returns their names.
pub fn create_missing(
    cluster: &Cluster,
    client: &Inspector,
    topics: &[TopicSpec],
) -> Result<Vec<String>, BrokerError> {
    let mut created = Vec::new();
    let mut admin: Option<AdminClient<Reports>> = None;
    for topic in topics {
        if partitions(client, &topic.name)?.is_some() {
            continue;
        }
        let admin = match &mut admin {
            Some(admin) => admin,
            none => none.insert(cluster.client(&Vec::new())?),
        };
        // −1: as many replicas as the brokers have by default.
        let mut new = NewTopic::new(&topic.name, topic.partitions, TopicReplication::Fixed(-1));
        for (name, value) in &topic.settings {
            new = new.set(name, value);
        }
        let options = AdminOptions::new()
            .request_timeout(Some(CONNECT_TIMEOUT))
            .operation_timeout(Some(CONNECT_TIMEOUT));
        let results = pollster::block_on(admin.create_topics([&new], &options))
            .map_err(BrokerError::of("create a topic"))?;
        for result in results {
            match result {
                Ok(name) => {
                    info!(topic = name, "created");
                    created.push(name);
                }
                // Another copy has created it meanwhile.
                Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((topic, code)) => {
                    return Err(BrokerError::NotCreated { topic, reason: code.to_string() });
                }
            }
        }
        await_topic(client, &topic.name)?;
    }
    Ok(created)
}

/// Waits until a new topic is known: not all brokers know it at once.
fn await_topic(client: &Inspector, topic: &str) -> Result<(), BrokerError> {
    let start = Instant::now();
    while partitions(client, topic)?.is_none() {
        if start.elapsed() > CONNECT_TIMEOUT {
            return Err(BrokerError::NoTopic { topic: topic.to_owned() });
        }
        let _ = client.poll(Duration::from_millis(50));
    }
    Ok(())
}

/// Retries a step while brokers are away or leaders change, for [`AWAY_MAX`] at the most.
fn persistently<T>(
    doing: &'static str,
    mut step: impl FnMut() -> Result<T, KafkaError>,
) -> Result<T, BrokerError> {
    use RDKafkaErrorCode::{UnknownTopic, UnknownTopicOrPartition};
    let is_away = |cause: &KafkaError| {
        let code = cause.rdkafka_error_code();
        code.is_some_and(is_retryable)
            && !matches!(code, Some(UnknownTopic | UnknownTopicOrPartition))
    };
    let mut is_logged = false;
    let done = Retry::for_at_most(AWAY_MAX, AWAY_PAUSE).run(is_away, || {
        step().inspect_err(|cause| {
            if is_away(cause) && !std::mem::replace(&mut is_logged, true) {
                info!("cannot {doing}: {cause}; asking again");
            }
        })
    });
    done.map_err(|cause| BrokerError::Kafka { doing, cause })
}

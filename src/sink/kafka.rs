//! Incidents, dead letters and state into Kafka, each commit as one
//! transaction.
//!
//! The changelog topic is compacted. It holds *entries*, cut into pieces that
//! fit a message: entry 0 of a generation is a snapshot, the others are the
//! frames since. A new generation starts again at entry 0 and so takes the
//! place of the one before, piece by piece; pieces of earlier generations that
//! have not been overwritten are passed over.
//!
//! ```text
//! key     0/0   0/1   1/0   2/0   3/0          entry / piece
//! value   ┌ generation ┬ pieces ┬ bytes ┐      u64, u32 little-endian, bytes
//! ```
//!
//! The transactional id names this sink over restarts: whoever starts with it
//! ends what a copy before left open, and that copy can commit nothing more.
//!
//! When a commit fails because brokers are away, the transaction is taken back
//! and the same one is sent again. Where it cannot be taken back, a new producer
//! ends it one way or the other, and the changelog tells which: its last entry is
//! that of the commit, or the one before. If it is neither, another copy wrote it;
//! that is searched for first, so as not to take over from the other.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant, UNIX_EPOCH};

use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};
use tracing::info;

use super::{Commit, CommitOutcome, RestoredState, Sink, SinkError};
use crate::brokers::{
    BrokerError, CONNECT_TIMEOUT, ClientOptions, Cluster, Detached, Inspector, Reports,
    STATISTICS_INTERVAL_MS, ends, partitions,
};
use crate::faults::{fails, point};
use crate::incident::Incident;
use crate::output::escape;
use crate::output::format::Format;
use crate::output::wire::WireDeadLetter;
use crate::retry::Retry;
use crate::store::PeekedState;
use crate::store::state_log::check_size;

/// A piece fits a message of the broker's default size, with room to spare.
const PIECE_BYTES_MAX: usize = 900 * 1024;

/// What was handed to a producer and not delivered; more has to wait.
const QUEUE_KBYTES_MAX: usize = 16 * 1024;

/// Pieces of one entry: 1.8 GB.
const PIECES_MAX: u32 = 2000;

/// How long each step of a transaction may take.
const STEP_TIMEOUT: Duration = Duration::from_secs(30);

/// Longer than that a transaction is not waited for to be taken back.
const ABORT_TIMEOUT: Duration = Duration::from_secs(20);

/// A step whose answer is still to come is asked for again after that.
const RETRY_PAUSE: Duration = Duration::from_millis(10);

/// A full queue is tried again after that.
const QUEUE_PAUSE: Duration = Duration::from_millis(5);

/// After this long without a commit the broker gives the transaction up.
pub const TRANSACTION_TIMEOUT_MS: u32 = 60_000;

/// How long a record may take to be delivered.
pub const MESSAGE_TIMEOUT_MS: u32 = 25_000;

/// In the headers of what is sent.
const CONTENT_TYPE: &str = "application/json";
const EVENT_TYPE: &str = "io.twinsid.incident";
const EVENT_SOURCE: &str = "/twinsid";

/// Where everything goes.
#[derive(Clone, Debug)]
pub struct KafkaSinkSpec {
    pub cluster: Cluster,
    pub topic: String,
    pub format: Format,
    pub dead_letter_topic: String,
    pub changelog_topic: String,
    pub transactional_id: String,
}

pub struct KafkaSink {
    spec: KafkaSinkSpec,
    producer: Detached<ThreadedProducer<Reports>>,
    /// Of the next entry.
    place: Place,
    producer_state: ProducerState,
}

/// Where an entry stands in the changelog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    generation: u64,
    entry: u64,
}

impl Place {
    /// A snapshot begins a new generation.
    fn of(self, commit: &Commit<'_>) -> Place {
        match commit.snapshot {
            Some(_) => Place { generation: self.generation + 1, entry: 0 },
            None => self,
        }
    }

    fn next(self) -> Place {
        Place { entry: self.entry + 1, ..self }
    }
}

/// What the producer is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ProducerState {
    Ready,
    /// A commit failed, and whether it was done is to be found out.
    InDoubt,
    /// So it is, and only a new producer can.
    Spent,
    /// Only a restart helps.
    Failed,
}

impl fmt::Debug for KafkaSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaSink").field("spec", &self.spec).finish_non_exhaustive()
    }
}

/// The settings of a producer that commits transactions.
pub fn transactional(id: &str) -> ClientOptions {
    vec![
        ("transactional.id", id.to_owned()),
        ("transaction.timeout.ms", TRANSACTION_TIMEOUT_MS.to_string()),
        ("message.timeout.ms", MESSAGE_TIMEOUT_MS.to_string()),
        ("partitioner", "murmur2_random".to_owned()),
        ("compression.type", "zstd".to_owned()),
        ("linger.ms", "2".to_owned()),
        ("queue.buffering.max.kbytes", QUEUE_KBYTES_MAX.to_string()),
        ("statistics.interval.ms", STATISTICS_INTERVAL_MS.to_owned()),
    ]
}

impl KafkaSink {
    pub fn new(spec: KafkaSinkSpec) -> Result<KafkaSink, BrokerError> {
        let producer = Detached::new(spec.cluster.client(&transactional(&spec.transactional_id))?);
        let place = Place { generation: 0, entry: 1 };
        Ok(KafkaSink { spec, producer, place, producer_state: ProducerState::Ready })
    }

    fn transaction(&mut self, commit: &Commit<'_>) -> Result<(), BrokerError> {
        let id = self.spec.transactional_id.clone();
        let failed = |doing| BrokerError::of_transaction(&id, doing);
        self.producer.begin_transaction().map_err(failed("begin a transaction"))?;
        point("detector began");
        self.send_all(commit)
            .map_err(|error| self.cause(error))
            .map_err(failed("send into a transaction"))?;
        point("detector sent");
        drain(&self.producer);
        if fails("detector sent") {
            return Err(lost_answer());
        }
        let committed = repeat_step(|| self.producer.commit_transaction(STEP_TIMEOUT));
        point("detector committed");
        if fails("detector committed") {
            return Err(lost_answer());
        }
        committed.map_err(failed("commit a transaction"))
    }

    fn send_all(&self, commit: &Commit<'_>) -> Result<(), KafkaError> {
        for incident in commit.incidents {
            self.send_incident(incident)?;
        }
        for dead_letter in commit.dead_letters {
            let value = line(&WireDeadLetter::from(dead_letter));
            let record = BaseRecord::<[u8], str>::to(&self.spec.dead_letter_topic).payload(&value);
            send(&self.producer, record)?;
        }
        self.send_entry(self.place.of(commit), entry_of(commit))
    }

    fn resolve_in_doubt(&mut self, commit: &Commit<'_>) -> Result<CommitOutcome, BrokerError> {
        if self.producer_state == ProducerState::InDoubt {
            if self.producer.abort_transaction(ABORT_TIMEOUT).is_ok() {
                return Ok(CommitOutcome::Aborted);
            }
            self.producer_state = ProducerState::Spent;
        }
        let inspector = self.spec.cluster.connect()?;
        self.outcome_by_changelog(&inspector, commit)?;
        let settings = transactional(&self.spec.transactional_id);
        self.producer = Detached::new(self.spec.cluster.client(&settings)?);
        self.begin()?;
        self.outcome_by_changelog(&inspector, commit)
    }

    fn outcome_by_changelog(
        &self,
        inspector: &Inspector,
        commit: &Commit<'_>,
    ) -> Result<CommitOutcome, BrokerError> {
        let Changelog { generation, entries, .. } =
            read_changelog(inspector, &self.spec.changelog_topic)?;
        let last = entries.last_key_value();
        let stands = Place { generation, entry: last.map_or(0, |(number, _)| *number) };
        let is_ours = |(_, entry): (_, &Entry)| entry.is(entry_of(commit));
        if stands == self.place.of(commit) && last.is_some_and(is_ours) {
            return Ok(CommitOutcome::Committed);
        }
        if stands.next() == self.place {
            return Ok(CommitOutcome::Aborted);
        }
        Err(BrokerError::Fenced { id: self.spec.transactional_id.clone() })
    }

    /// Ends what a producer of the same id left open.
    fn begin(&self) -> Result<(), BrokerError> {
        self.producer.init_transactions(STEP_TIMEOUT).map_err(BrokerError::of_transaction(
            &self.spec.transactional_id,
            "begin transactions with the brokers",
        ))
    }

    /// What to do about an error that may pass, and what not.
    fn note(&mut self, error: BrokerError) -> SinkError {
        self.producer_state = match self.producer_state {
            _ if !error.is_retryable() => ProducerState::Failed,
            ProducerState::Spent => ProducerState::Spent,
            _ => ProducerState::InDoubt,
        };
        SinkError::Brokers(error)
    }

    /// Why nothing more can be sent in a transaction; the client tells only that it
    /// cannot. Nothing is committed by asking: the transaction has failed.
    fn cause(&self, error: KafkaError) -> KafkaError {
        use RDKafkaErrorCode::{Fatal, State};
        match error {
            KafkaError::MessageProduction(State | Fatal) => {
                self.producer.commit_transaction(STEP_TIMEOUT).err().unwrap_or(error)
            }
            error => error,
        }
    }

    fn send_incident(&self, incident: &Incident) -> Result<(), KafkaError> {
        let key = incident.id.to_string();
        let value = self.spec.format.line(incident);
        let event_id = format!("{key}-{}", incident.revision);
        let time = incident.last_seen.to_string();
        let subject = incident.source_sid.map(|sid| sid.to_string());
        let text = |key, value| Header { key, value: Some(value) };
        let mut headers = OwnedHeaders::new()
            .insert(text("ce_specversion", "1.0"))
            .insert(text("ce_id", &event_id))
            .insert(text("ce_type", EVENT_TYPE))
            .insert(text("ce_source", EVENT_SOURCE))
            .insert(text("ce_time", &time))
            .insert(text("content-type", CONTENT_TYPE));
        if let Some(subject) = &subject {
            headers = headers.insert(text("ce_subject", subject));
        }
        if let Some(traceparent) = &incident.traceparent {
            headers = headers.insert(Header { key: "traceparent", value: Some(&**traceparent) });
        }
        // The create-time is that of sending: by the event's own, retention
        // would delete what a backfill brings.
        let record = BaseRecord::to(&self.spec.topic).key(&key).payload(&value).headers(headers);
        send(&self.producer, record)
    }

    fn send_entry(&self, place: Place, bytes: &[u8]) -> Result<(), KafkaError> {
        let pieces: Vec<&[u8]> = pieces_of(bytes).collect();
        let count = pieces.len() as u32;
        for (at, piece) in pieces.into_iter().enumerate() {
            let key = format!("{}/{at}", place.entry);
            let mut value = Vec::with_capacity(12 + piece.len());
            value.extend_from_slice(&place.generation.to_le_bytes());
            value.extend_from_slice(&count.to_le_bytes());
            value.extend_from_slice(piece);
            let record =
                BaseRecord::to(&self.spec.changelog_topic).partition(0).key(&key).payload(&value);
            send(&self.producer, record)?;
        }
        Ok(())
    }
}

/// What stands in the changelog for a commit.
fn entry_of<'c>(commit: &Commit<'c>) -> &'c [u8] {
    commit.snapshot.unwrap_or(commit.frame)
}

/// One at least, which may be empty.
fn pieces_of(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (first, rest) = bytes.split_at(bytes.len().min(PIECE_BYTES_MAX));
    std::iter::once(first).chain(rest.chunks(PIECE_BYTES_MAX))
}

/// As a test has it.
fn lost_answer() -> BrokerError {
    let cause = KafkaError::Global(RDKafkaErrorCode::OperationTimedOut);
    BrokerError::Kafka { doing: "commit a transaction", cause }
}

/// Repeats a step of a transaction while the client says that its answer is still to come: whether
/// it was done is not known then, and must not be guessed. Not while another step is under way.
pub fn repeat_step(step: impl FnMut() -> Result<(), KafkaError>) -> Result<(), KafkaError> {
    let is_pending = |error: &KafkaError| match error {
        KafkaError::Transaction(error) => {
            error.is_retriable() && error.code() != RDKafkaErrorCode::Conflict
        }
        _ => false,
    };
    Retry::for_at_most(STEP_TIMEOUT * 2, RETRY_PAUSE).run(is_pending, step)
}

/// Waits until everything sent was delivered or has failed. Committing waits for
/// it too, but polls only every tenth of a second.
pub fn drain(producer: &ThreadedProducer<Reports>) {
    let until = Instant::now() + STEP_TIMEOUT;
    while producer.in_flight_count() > 0 && Instant::now() < until {
        std::thread::sleep(Duration::from_micros(500));
    }
}

/// Sends a record, waiting while the queue is full.
pub fn send<K: rdkafka::message::ToBytes + ?Sized, P: rdkafka::message::ToBytes + ?Sized>(
    producer: &ThreadedProducer<Reports>,
    record: BaseRecord<'_, K, P>,
) -> Result<(), KafkaError> {
    let is_full = |error: &KafkaError| {
        matches!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull))
    };
    let mut record = Some(record);
    Retry::for_at_most(STEP_TIMEOUT, QUEUE_PAUSE).run(is_full, || {
        let sent = producer.send(record.take().expect("a record that was not sent is given back"));
        sent.map_err(|(error, back)| {
            record = Some(back);
            error
        })
    })
}

fn line(value: &impl serde::Serialize) -> String {
    escape::json(serde_json::to_string(value).expect("plain values can be written"))
}

impl Sink for KafkaSink {
    fn restore(&mut self) -> Result<RestoredState, SinkError> {
        // Whatever the copy before left open is ended by this.
        self.begin().map_err(broken)?;
        point("detector took over");
        let inspector = self.spec.cluster.connect().map_err(broken)?;
        let topic = &self.spec.changelog_topic;
        let changelog = read_changelog(&inspector, topic).map_err(broken)?;
        let (place, kept) = changelog.state(topic)?;
        self.place = place;
        Ok(kept)
    }

    fn commit(&mut self, commit: &Commit<'_>) -> Result<(), SinkError> {
        assert!(self.producer_state == ProducerState::Ready, "a step that failed is settled first");
        // What a file may hold, so that either can be read back in one piece.
        check_size(commit.frame, commit.snapshot)?;
        self.transaction(commit).map_err(|error| self.note(error))?;
        self.place = self.place.of(commit).next();
        Ok(())
    }

    fn resolve(&mut self, commit: &Commit<'_>) -> Result<CommitOutcome, SinkError> {
        assert!(
            self.producer_state != ProducerState::Failed,
            "a sink that failed is not used again"
        );
        let outcome = self.resolve_in_doubt(commit).map_err(|error| self.note(error))?;
        self.producer_state = ProducerState::Ready;
        let done = outcome == CommitOutcome::Committed;
        info!(done, "the brokers tell whether the commit that failed was done");
        if done {
            self.place = self.place.of(commit).next();
        }
        Ok(outcome)
    }
}

fn broken(error: BrokerError) -> SinkError {
    SinkError::Brokers(error)
}

fn damaged(topic: &str, entry: u64) -> SinkError {
    SinkError::DamagedTopic {
        what: format!("entry {entry} of changelog topic `{topic}` is missing or torn"),
    }
}

/// The pieces of an entry.
#[derive(Debug, Default)]
struct Entry {
    count: u32,
    pieces: BTreeMap<u32, Vec<u8>>,
}

impl Entry {
    fn is(&self, bytes: &[u8]) -> bool {
        self.pieces.len() == self.count as usize
            && self.pieces.values().map(Vec::as_slice).eq(pieces_of(bytes))
    }

    fn whole(self, topic: &str, number: u64) -> Result<Vec<u8>, SinkError> {
        let present = (0..self.count).zip(self.pieces.keys()).all(|(at, piece)| at == *piece);
        if !present || self.pieces.len() != self.count as usize {
            return Err(damaged(topic, number));
        }
        Ok(self.pieces.into_values().collect::<Vec<_>>().concat())
    }
}

/// What was committed last; `None` when nothing ever was. Takes nothing over from a service that is
/// running.
pub fn peek(cluster: &Cluster, topic: &str) -> Result<Option<PeekedState>, SinkError> {
    let inspector = cluster.connect().map_err(broken)?;
    if partitions(&inspector, topic).map_err(broken)?.is_none() {
        return Ok(None);
    }
    let changelog = read_changelog(&inspector, topic).map_err(broken)?;
    if changelog.entries.is_empty() {
        return Ok(None);
    }
    let millis = changelog.last_millis.and_then(|millis| u64::try_from(millis).ok());
    let committed_at = millis.map(|millis| UNIX_EPOCH + Duration::from_millis(millis));
    Ok(Some(PeekedState { state: changelog.state(topic)?.1, committed_at }))
}

/// The newest generation and its entries.
#[derive(Debug, Default)]
struct Changelog {
    generation: u64,
    entries: BTreeMap<u64, Entry>,
    /// When the last of them was sent, since 1970.
    last_millis: Option<i64>,
}

impl Changelog {
    /// What is kept in it, and the place of the next entry.
    fn state(self, topic: &str) -> Result<(Place, RestoredState), SinkError> {
        let mut place = Place { generation: self.generation, entry: 1 };
        let mut kept = RestoredState::default();
        for (number, entry) in self.entries {
            match number {
                0 => kept.snapshot = Some(entry.whole(topic, number)?),
                number if number == place.entry => {
                    kept.frames.push(entry.whole(topic, number)?);
                    place = place.next();
                }
                _ => return Err(damaged(topic, place.entry)),
            }
        }
        if self.generation > 0 && kept.snapshot.is_none() {
            return Err(damaged(topic, 0));
        }
        Ok((place, kept))
    }
}

fn read_changelog(inspector: &Inspector, topic: &str) -> Result<Changelog, BrokerError> {
    let (first, end) = ends(inspector, topic, 0)?;
    let mut changelog = Changelog::default();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Offset(first))
        .and_then(|()| inspector.assign(&list))
        .map_err(BrokerError::of("read the changelog"))?;
    let mut last_heard = Instant::now();
    // The last offsets may be marks of transactions, which are not handed out.
    while inspector_position(inspector, topic) < end {
        match inspector.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                last_heard = Instant::now();
                let piece = message.key().and_then(parse_key).zip(message.payload());
                let Some(((number, at), value)) = piece else { continue };
                let Some((generation, rest)) = value.split_first_chunk::<8>() else { continue };
                let Some((count, bytes)) = rest.split_first_chunk::<4>() else { continue };
                let (generation, count) =
                    (u64::from_le_bytes(*generation), u32::from_le_bytes(*count));
                if generation < changelog.generation || count > PIECES_MAX || at >= count {
                    continue;
                }
                if generation > changelog.generation {
                    changelog.generation = generation;
                    changelog.entries.clear();
                }
                changelog.last_millis = message.timestamp().to_millis();
                let entry = changelog.entries.entry(number).or_default();
                entry.count = count;
                entry.pieces.insert(at, bytes.to_vec());
            }
            Some(Err(KafkaError::PartitionEOF(_))) => break,
            Some(Err(_)) | None if last_heard.elapsed() < CONNECT_TIMEOUT => {}
            Some(Err(cause)) => {
                return Err(BrokerError::Kafka { doing: "read the changelog", cause });
            }
            None => {
                let reason = "nothing came for too long while the changelog was read".to_owned();
                let brokers = topic.to_owned();
                return Err(BrokerError::Unreachable { brokers, reason });
            }
        }
    }
    let _ = inspector.unassign();
    Ok(changelog)
}

fn inspector_position(inspector: &Inspector, topic: &str) -> i64 {
    let position = inspector.position().ok();
    let part = position.as_ref().and_then(|list| list.find_partition(topic, 0));
    part.and_then(|part| part.offset().to_raw()).unwrap_or(-1)
}

fn parse_key(key: &[u8]) -> Option<(u64, u32)> {
    let (number, at) = str::from_utf8(key).ok()?.split_once('/')?;
    Some((number.parse().ok()?, at.parse().ok()?))
}

//! Kafka topics as a source, in two ways:
//!
//! * **shared**: partitions are those that the group gives; they may be taken
//!   away at any time ([`Next::Rewound`]), and positions are the group's offsets;
//! * **alone**: all partitions, from the positions that were kept elsewhere.
//!
//! A batch holds messages of one partition. Its name in positions is
//! `topic/partition`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdkafka::Timestamp;
use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Header, Headers as _, Message as _};
use rdkafka::{Offset, TopicPartitionList};
use tracing::{debug, info};

use super::{Batch, Content, Lag, Next, Source, SourceError};
use crate::brokers::{
    AssignmentChange, BrokerError, CONNECT_TIMEOUT, CONNECT_TRY, ClientOptions, Cluster, Inspector,
    Isolation, PartitionEnds, STATISTICS_INTERVAL_MS, SharedConsumer, TopicMatch, committed,
    end_of_records, ends, is_retryable, offsets_at, partitions, set_offsets,
};
use crate::position::{Position, Positions, Start};

/// Messages of one batch, and their bytes: few enough to be decoded while they
/// are in the cache.
const BATCH_MESSAGES_MAX: usize = 4096;
const BATCH_BYTES: usize = 256 * 1024;

/// What librdkafka fetches ahead, of all partitions together; and of each at
/// once, as it was packed: unpacked it is some six times that.
const PREFETCH_KBYTES: u32 = 16 * 1024;
const PREFETCH_PARTITION_BYTES: u32 = 256 * 1024;

/// Leaving a group whose brokers do not answer is given up after that.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(3);
const LEAVE_POLL: Duration = Duration::from_millis(5);

/// Going back to an offset, and one try of it.
const REWIND_TIMEOUT: Duration = Duration::from_secs(60);
const REWIND_TRY: Duration = Duration::from_secs(5);

/// Partitions whose ends are asked for at once; how long each answer may take, and the pause after
/// one that did not come.
const ENDS_ASKED_MAX: usize = 32;
const ASK_ENDS_TIMEOUT: Duration = Duration::from_secs(1);
const ASK_ENDS_PAUSE: Duration = Duration::from_secs(1);

/// A partition whose end was reached is current for so long, though more has come since.
const CURRENT_FOR: Duration = Duration::from_secs(10);

/// Topics of one source.
const TOPICS_MAX: usize = 1000;

/// Topic and partition.
pub type PartKey = (String, i32);

/// What to read.
#[derive(Clone, Debug)]
pub struct KafkaSpec {
    pub cluster: Cluster,
    /// Names; those that start with `^` are regular expressions.
    pub topics: Vec<String>,
    pub group: String,
    /// A name that this copy keeps over restarts.
    pub instance: Option<String>,
    pub sharing: Sharing,
    /// Where it begins when no position is known of any partition. Those that are added later are
    /// read from their beginning.
    pub start: Start,
    pub until: Until,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    Shared,
    Alone,
}

/// Whether partitions are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    Begin,
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    Stopped,
    /// The end that each partition had at the start.
    End,
}

pub struct KafkaSource {
    spec: KafkaSpec,
    consumer: SharedConsumer,
    input: Arc<str>,
    assigned: BTreeMap<PartKey, Part>,
    /// Whether `assigned` is what the group gave to this copy, be it nothing.
    is_assigned: bool,
    /// Where the partitions begin, to be made durable before anything is read: a second start would
    /// find a later end.
    begun: Vec<(Arc<str>, Position)>,
    /// When the ends of partitions may be asked for again.
    ask_ends_at: Instant,
    /// Searches the last records of partitions, once that was needed.
    inspector: Option<Inspector>,
    /// Whether it was asked how far the group is in the assigned partitions.
    knows_group: bool,
    /// Behind the last records at the start, of partitions that hold any.
    ends: BTreeMap<PartKey, i64>,
    /// A message that belongs to the next batch.
    held: Option<BorrowedMessage<'static>>,
}

impl std::fmt::Debug for KafkaSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaSource").field("spec", &self.spec).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Part {
    name: Arc<str>,
    /// Of what was read since the assignment.
    first_offset: Option<i64>,
    next_offset: Option<i64>,
    /// Behind what is durable, as far as is known.
    durable: Option<i64>,
    at_end: AtEnd,
    /// When its end was last reached.
    end_reached: Option<Instant>,
}

/// Whether a partition was read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AtEnd {
    No,
    /// This partition or that of the same number of another topic: the client's report has no topic.
    Perhaps,
    Yes,
}

impl Part {
    /// Records from what is durable to the end. A partition that was read to its end may still hold
    /// marks of transactions, which are never handed out.
    fn lag(&self, PartitionEnds { first, end }: PartitionEnds) -> u64 {
        if self.at_end == AtEnd::Yes && self.durable >= self.next_offset {
            return 0;
        }
        let from = self.durable.map_or(first, |durable| durable.max(first));
        u64::try_from(end - from).unwrap_or(0)
    }
}

impl KafkaSource {
    pub fn new(spec: KafkaSpec) -> Result<KafkaSource, BrokerError> {
        let inspector = spec.cluster.connect()?;
        let all = parts_of(&inspector, &spec.topics)?;
        let mut ends_at_start = BTreeMap::new();
        if spec.until == Until::End {
            for (topic, partition) in &all {
                let whole = ends(&inspector, topic, *partition)?;
                if whole.1 > whole.0
                    && let Some(end) = end_of_records(&inspector, topic, *partition, whole)?
                {
                    ends_at_start.insert((topic.clone(), *partition), end);
                }
            }
        }
        // Never dropped: a rebalance that comes while a client is dropped makes
        // it wait for itself. A source lives as long as the process, and leaves
        // its group by `leave`.
        let consumer: SharedConsumer = Box::leak(Box::new(spec.cluster.client(&settings(&spec))?));
        let mut source = KafkaSource {
            input: format!("kafka {}", spec.topics.join(",")).into(),
            consumer,
            assigned: BTreeMap::new(),
            is_assigned: false,
            knows_group: false,
            begun: Vec::new(),
            ask_ends_at: Instant::now(),
            inspector: None,
            ends: ends_at_start,
            held: None,
            spec,
        };
        match source.spec.sharing {
            Sharing::Shared => {
                source.begin_group(&inspector, &all)?;
                let topics: Vec<&str> = source.spec.topics.iter().map(String::as_str).collect();
                source
                    .consumer
                    .subscribe(&topics)
                    .map_err(BrokerError::of("subscribe to the topics"))?;
            }
            Sharing::Alone => {
                source.set_assigned(&all);
            }
        }
        Ok(source)
    }

    /// Sets where a group begins that has no position yet.
    fn begin_group(&self, inspector: &Inspector, parts: &[PartKey]) -> Result<(), BrokerError> {
        if self.spec.start == Start::Earliest || parts.is_empty() {
            return Ok(());
        }
        let group = self.spec.cluster.outside_of(&self.spec.group)?;
        if committed(&group, parts, CONNECT_TIMEOUT)?.iter().any(|(offset, _)| offset.is_some()) {
            return Ok(());
        }
        let offsets = offsets_at(inspector, parts, self.spec.start)?;
        match set_offsets(&self.spec.cluster, &self.spec.group, parts, &offsets) {
            Ok(()) => {
                info!(group = self.spec.group, "the group begins where `start` says");
                Ok(())
            }
            // It has members, which have set them: a copy that started at the same time.
            Err(BrokerError::HasMembers { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Leaves the group, so that others need not wait until it is given up for
    /// dead. Nothing can be read any more.
    pub fn leave(&mut self) {
        self.held = None;
        if let Err(error) = self.consumer.close_queue() {
            debug!("the group is not left: {error}");
            return;
        }
        let until = Instant::now() + LEAVE_TIMEOUT;
        while !self.consumer.closed() && Instant::now() < until {
            let _ = self.consumer.poll(LEAVE_POLL);
        }
    }

    /// Reads nothing more from its partitions, though it stays a member of its group, or reads again.
    pub fn pause(&mut self, pause: Pause) -> Result<(), BrokerError> {
        let mut list = TopicPartitionList::new();
        for (topic, partition) in self.assigned.keys() {
            list.add_partition(topic, *partition);
        }
        match pause {
            Pause::Begin => self.consumer.pause(&list),
            Pause::End => self.consumer.resume(&list),
        }
        .map_err(BrokerError::of("pause a partition"))
    }

    pub fn consumer(&self) -> SharedConsumer {
        self.consumer
    }

    pub fn until(&self) -> Until {
        self.spec.until
    }

    /// The partitions that held anything at the start, and their ends.
    pub fn ends(&self) -> &BTreeMap<PartKey, i64> {
        &self.ends
    }

    /// Whether the group has given out its partitions, and this copy knows which are its own.
    pub fn is_assigned(&self) -> bool {
        self.is_assigned
    }

    /// The partitions of this copy.
    pub fn parts(&self) -> impl Iterator<Item = &Arc<str>> {
        self.assigned.values().map(|part| &part.name)
    }

    /// The first offset that was read of each partition since it was assigned.
    pub fn firsts(&self) -> impl Iterator<Item = (PartKey, i64)> {
        let parts = self.assigned.iter();
        parts.filter_map(|(key, part)| Some((key.clone(), part.first_offset?)))
    }

    /// Goes back to these offsets: what came behind them was not committed.
    pub fn rewind(&mut self, to: &[(PartKey, i64)]) -> Result<(), BrokerError> {
        let own = to.iter().filter(|(key, _)| self.assigned.contains_key(key));
        let mut left: Vec<(PartKey, i64)> = own.cloned().collect();
        let until = Instant::now() + REWIND_TIMEOUT;
        while !left.is_empty() {
            let mut list = TopicPartitionList::new();
            for ((topic, partition), offset) in &left {
                list.add_partition_offset(topic, *partition, Offset::Offset(*offset))
                    .map_err(BrokerError::of("go back to an offset"))?;
            }
            let sought = self.consumer.seek_partitions(list, REWIND_TRY);
            // Right after an assignment, and while no broker answers, single
            // partitions may refuse.
            if let Ok(sought) = &sought {
                left.retain(|((topic, partition), _)| {
                    let part = sought.find_partition(topic, *partition);
                    part.is_none_or(|part| part.error().is_err())
                });
            }
            if !left.is_empty() && Instant::now() > until {
                let error = KafkaError::Seek(format!("{} partitions do not go back", left.len()));
                let cause = sought.err().unwrap_or(error);
                let doing = "go back to the last committed offsets";
                return Err(BrokerError::Kafka { doing, cause });
            }
            if !left.is_empty() {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        // Only now: what had been fetched is behind the new place, or gone. That
        // of a partition that stays where it is comes next.
        self.held.take_if(|held| {
            to.iter().any(|((topic, partition), _)| {
                *partition == held.partition() && topic == held.topic()
            })
        });
        for (key, offset) in to {
            if let Some(part) = self.assigned.get_mut(key) {
                part.next_offset = Some(*offset);
                part.at_end = AtEnd::No;
            }
        }
        Ok(())
    }

    /// The next messages of one partition, as many as are there already; waits for the first.
    fn poll(&mut self, wait: Duration) -> Result<PollOutcome, BrokerError> {
        let until = Instant::now() + wait;
        let consumer = self.consumer;
        let mut batch: Option<(PartKey, Messages)> = None;
        let mut ended = None;
        if let Some(message) = self.held.take() {
            self.add(&mut batch, message);
        }
        while !batch.as_ref().is_some_and(|(_, messages)| messages.is_full()) {
            let wait = if batch.is_none() { wait } else { Duration::ZERO };
            let polled = consumer.poll(wait);
            if self.follow_assignment() {
                self.held = polled.and_then(Result::ok);
                return Ok(PollOutcome::Rewound);
            }
            match polled {
                Some(Ok(message)) => {
                    self.held = self.add(&mut batch, message);
                    if self.held.is_none() {
                        continue;
                    }
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    ended = Some(partition);
                    if batch.is_none() {
                        self.note_end(partition);
                    }
                    // Others may have more.
                    if batch.is_none() && Instant::now() < until {
                        continue;
                    }
                }
                Some(Err(KafkaError::MessageConsumption(code))) if is_retryable(code) => {}
                Some(Err(cause)) => {
                    let code = cause.rdkafka_error_code();
                    return Err(match &self.spec.instance {
                        Some(instance) if code == Some(RDKafkaErrorCode::FencedInstanceId) => {
                            BrokerError::InstanceTaken { instance: instance.clone() }
                        }
                        _ => BrokerError::Kafka { doing: "read from Kafka", cause },
                    });
                }
                None => {}
            }
            break;
        }
        let Some((key, mut messages)) = batch else {
            if self.spec.until == Until::End && self.is_done() {
                return Ok(PollOutcome::End);
            }
            let at_end = !self.assigned.is_empty() && self.is_at_end();
            // What brokers that are away have taken in meanwhile is not seen.
            let caught_up = at_end && !self.consumer.context().any_broker_away();
            return Ok(PollOutcome::Nothing { caught_up });
        };
        let part = self.assigned.get_mut(&key).map(|part| {
            (part.next_offset, part.at_end) = (Some(messages.end()), AtEnd::No);
            part.first_offset = part.first_offset.or(messages.first());
            Arc::clone(&part.name)
        });
        if let Some(partition) = ended {
            self.note_end(partition);
        }
        let reached = self.assigned.get(&key).and_then(|part| part.end_reached);
        messages.is_current = reached.is_some_and(|at| at.elapsed() < CURRENT_FOR);
        Ok(part.map_or(PollOutcome::Rewound, |part| PollOutcome::Messages { part, messages }))
    }

    /// Takes note that a partition of this number was read to its end, of whatever topic.
    fn note_end(&mut self, partition: i32) {
        let mut same: Vec<&mut Part> =
            self.assigned.iter_mut().filter(|(key, _)| key.1 == partition).map(|of| of.1).collect();
        if let [only] = &mut same[..] {
            only.at_end = AtEnd::Yes;
            only.end_reached = Some(Instant::now());
            return;
        }
        for part in same {
            if part.at_end == AtEnd::No {
                part.at_end = AtEnd::Perhaps;
            }
        }
    }

    /// Whether every partition was read to its end. Asks the brokers where that is not certain: some
    /// partitions at a time, and only when the end of each was reported that may be meant.
    fn is_at_end(&mut self) -> bool {
        if self.assigned.values().any(|part| part.at_end == AtEnd::No) {
            return false;
        }
        let perhaps = self.assigned.iter().filter(|(_, part)| part.at_end == AtEnd::Perhaps);
        let keys: Vec<PartKey> =
            perhaps.map(|(key, _)| key.clone()).take(ENDS_ASKED_MAX + 1).collect();
        if keys.is_empty() {
            return true;
        }
        if Instant::now() < self.ask_ends_at || !self.ask_group() {
            return false;
        }
        for key in keys.iter().take(ENDS_ASKED_MAX) {
            match self.has_records_left(key) {
                Ok(left) => {
                    // Should there be any, the end is reported once more behind them.
                    let at_end = if left { AtEnd::No } else { AtEnd::Yes };
                    self.assigned.entry(key.clone()).and_modify(|part| {
                        part.at_end = at_end;
                        part.end_reached = Some(Instant::now()).filter(|_| !left);
                    });
                }
                Err(error) => {
                    debug!("the end of a partition is not known yet: {error}");
                    self.ask_ends_at = Instant::now() + ASK_ENDS_PAUSE;
                    return false;
                }
            }
        }
        keys.len() <= ENDS_ASKED_MAX && self.assigned.values().all(|part| part.at_end == AtEnd::Yes)
    }

    /// Whether records that can be read stand behind what was read of a partition.
    fn has_records_left(&mut self, key: &PartKey) -> Result<bool, BrokerError> {
        let (topic, partition) = (key.0.as_str(), key.1);
        let (first, end) = self
            .consumer
            .fetch_watermarks(topic, partition, ASK_ENDS_TIMEOUT)
            .map_err(BrokerError::of("read the end of a partition"))?;
        let part = self.assigned.get(key);
        let read = part.and_then(|part| part.next_offset.or(part.durable)).unwrap_or(first);
        if read.max(first) >= end {
            return Ok(false);
        }
        // Marks of transactions may be all that is left.
        let inspector = match &self.inspector {
            Some(inspector) => inspector,
            None => self.inspector.insert(self.spec.cluster.inspector(Isolation::Committed)?),
        };
        Ok(end_of_records(inspector, topic, partition, (read.max(first), end))?.is_some())
    }

    /// Adds a message to the batch if it is of the same partition; gives it back if it is not.
    fn add(
        &self,
        batch: &mut Option<(PartKey, Messages)>,
        message: BorrowedMessage<'static>,
    ) -> Option<BorrowedMessage<'static>> {
        match batch {
            Some(((topic, partition), messages)) => {
                if *partition != message.partition() || topic != message.topic() {
                    return Some(message);
                }
                messages.push(message);
            }
            None => {
                let key = (message.topic().to_owned(), message.partition());
                // What is not assigned any more is not ours.
                if self.assigned.contains_key(&key) {
                    let mut messages = Messages::since(age(message.timestamp()));
                    messages.push(message);
                    *batch = Some((key, messages));
                }
            }
        }
        None
    }

    fn set_assigned(&mut self, parts: &[PartKey]) {
        self.held = None;
        self.is_assigned = true;
        self.knows_group = false;
        self.assigned = parts
            .iter()
            .map(|(topic, partition)| {
                let name = format!("{topic}/{partition}").into();
                let part = Part {
                    name,
                    first_offset: None,
                    next_offset: None,
                    durable: None,
                    at_end: AtEnd::No,
                    end_reached: None,
                };
                ((topic.clone(), *partition), part)
            })
            .collect();
    }

    fn error(cause: &BrokerError) -> SourceError {
        SourceError::Stream { what: cause.to_string() }
    }

    /// Takes over rebalances; whether there were any.
    fn follow_assignment(&mut self) -> bool {
        let changes = self.consumer.context().take_changes();
        let any = !changes.is_empty();
        for change in changes {
            match change {
                AssignmentChange::Assigned(parts) => self.set_assigned(&parts),
                AssignmentChange::Revoked => {
                    self.set_assigned(&[]);
                    self.is_assigned = false;
                }
            }
        }
        any
    }

    /// Asks how far the group is, where this copy has committed nothing yet; whether that is known.
    fn ask_group(&mut self) -> bool {
        if self.knows_group || self.spec.sharing == Sharing::Alone {
            return true;
        }
        let keys: Vec<PartKey> = self.assigned.keys().cloned().collect();
        let Ok(offsets) = committed(self.consumer, &keys, CONNECT_TRY) else { return false };
        for (part, (offset, _)) in self.assigned.values_mut().zip(offsets) {
            part.durable = part.durable.or(offset);
        }
        self.knows_group = true;
        true
    }

    fn is_done(&self) -> bool {
        self.spec.sharing == Sharing::Alone
            && self.ends.iter().all(|(key, end)| {
                self.assigned.get(key).and_then(|part| part.next_offset) >= Some(*end)
            })
    }
}

/// What came of a poll.
enum PollOutcome {
    Messages {
        part: Arc<str>,
        messages: Messages,
    },
    /// Nothing came; whether everything there is was read.
    Nothing {
        caught_up: bool,
    },
    Rewound,
    End,
}

/// Messages of one partition, one behind the other. They stay in the memory of the client, which
/// has them unpacked already, and may be decoded and dropped on any thread.
#[derive(Debug)]
pub struct Messages {
    messages: Vec<BorrowedMessage<'static>>,
    bytes: usize,
    /// How long ago the first was sent.
    age: Duration,
    is_current: bool,
}

impl Messages {
    fn since(age: Duration) -> Messages {
        Messages { messages: Vec::new(), bytes: 0, age, is_current: false }
    }

    /// Whether the end of the partition was reached with them, or shortly before.
    pub fn is_current(&self) -> bool {
        self.is_current
    }

    fn push(&mut self, message: BorrowedMessage<'static>) {
        self.bytes += message.payload_len();
        self.messages.push(message);
    }

    fn is_full(&self) -> bool {
        self.bytes >= BATCH_BYTES || self.messages.len() >= BATCH_MESSAGES_MAX
    }

    /// The offset behind the last.
    fn end(&self) -> i64 {
        self.messages.last().map_or(0, |message| message.offset() + 1)
    }

    fn first(&self) -> Option<i64> {
        self.messages.first().map(BorrowedMessage::offset)
    }

    pub fn age(&self) -> Duration {
        self.age
    }

    /// Offset and value of each, in order.
    pub fn iter(&self) -> impl Iterator<Item = (i64, &[u8])> {
        let value = |message| BorrowedMessage::payload(message).unwrap_or_default();
        self.messages.iter().map(move |message| (message.offset(), value(message)))
    }

    /// The trace context that came with the message at this place: plain, or as CloudEvents
    /// name it.
    pub fn traceparent(&self, at: usize) -> Option<Box<str>> {
        self.messages.get(at).and_then(trace_of)
    }
}

/// `00-` trace id `-` parent id `-` flags, in lower-case hexadecimal.
const FIELD_LENGTHS: [usize; 4] = [2, 32, 16, 2];

/// A header's value, if it is a trace context.
fn traceparent(value: &[u8]) -> Option<Box<str>> {
    let text = str::from_utf8(value).ok()?;
    let mut fields = text.split('-');
    let is_hex = |field: &str| field.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let well_formed = FIELD_LENGTHS
        .iter()
        .all(|len| fields.next().is_some_and(|field| field.len() == *len && is_hex(field)));
    (well_formed && fields.next().is_none()).then(|| text.into())
}

const TRACE_HEADERS: [&str; 2] = ["traceparent", "ce_traceparent"];

fn trace_of(message: &impl rdkafka::Message) -> Option<Box<str>> {
    let headers = message.headers()?;
    let of_trace = |header: &Header<'_, &[u8]>| TRACE_HEADERS.contains(&header.key);
    headers.iter().filter(of_trace).find_map(|header| traceparent(header.value?))
}

/// How long ago something was sent; nothing when it does not say, or when the
/// sender's clock is ahead.
fn age(sent: Timestamp) -> Duration {
    let sent = sent.to_millis().and_then(|millis| u64::try_from(millis).ok());
    let sent = sent.map(|millis| UNIX_EPOCH + Duration::from_millis(millis));
    sent.and_then(|sent| SystemTime::now().duration_since(sent).ok()).unwrap_or_default()
}

/// All partitions of topics that are given by name or pattern. [`BrokerError::NoTopic`] for a name
/// that does not exist.
pub fn parts_of(inspector: &Inspector, topics: &[String]) -> Result<Vec<PartKey>, BrokerError> {
    let mut names: BTreeSet<String> = BTreeSet::new();
    for topic in topics {
        let matches = TopicMatch::new(topic)
            .map_err(|reason| BrokerError::Option { option: topic.clone(), reason })?;
        match &matches {
            TopicMatch::Name(name) => drop(names.insert(name.clone())),
            TopicMatch::Pattern(_) => {
                let metadata = inspector
                    .fetch_metadata(None, CONNECT_TIMEOUT)
                    .map_err(BrokerError::of("list the topics"))?;
                let known = metadata.topics().iter().map(|topic| topic.name().to_owned());
                names.extend(known.filter(|name| matches.holds(name)).take(TOPICS_MAX));
            }
        }
    }
    let mut all = Vec::new();
    for topic in names {
        let parts = partitions(inspector, &topic)?
            .ok_or_else(|| BrokerError::NoTopic { topic: topic.clone() })?;
        all.extend(parts.into_iter().map(|partition| (topic.clone(), partition)));
    }
    Ok(all)
}

fn settings(spec: &KafkaSpec) -> ClientOptions {
    let mut settings: ClientOptions = vec![
        ("group.id", spec.group.clone()),
        ("enable.auto.commit", "false".to_owned()),
        ("enable.auto.offset.store", "false".to_owned()),
        ("isolation.level", "read_committed".to_owned()),
        ("auto.offset.reset", "earliest".to_owned()),
        ("enable.partition.eof", "true".to_owned()),
        ("allow.auto.create.topics", "false".to_owned()),
        ("session.timeout.ms", "10000".to_owned()),
        ("heartbeat.interval.ms", "2000".to_owned()),
        ("max.poll.interval.ms", "60000".to_owned()),
        ("queued.max.messages.kbytes", PREFETCH_KBYTES.to_string()),
        ("fetch.message.max.bytes", PREFETCH_PARTITION_BYTES.to_string()),
        ("fetch.wait.max.ms", "50".to_owned()),
        // When as much is fetched as may be, the queue is polled again this soon; by
        // default a second later, in which nothing is read.
        ("fetch.queue.backoff.ms", "5".to_owned()),
        ("statistics.interval.ms", STATISTICS_INTERVAL_MS.to_owned()),
        ("partition.assignment.strategy", "range,roundrobin".to_owned()),
    ];
    if let Some(instance) = &spec.instance {
        settings.push(("group.instance.id", instance.clone()));
    }
    settings
}

impl Source for KafkaSource {
    fn next(&mut self, wait: Duration) -> Result<Next, SourceError> {
        if !self.begun.is_empty() {
            return Ok(Next::Batch(Batch {
                input: Arc::clone(&self.input),
                progress_bytes: 0,
                moved: std::mem::take(&mut self.begun),
                content: Content::Text { bytes: Vec::new() },
            }));
        }
        Ok(match self.poll(wait).map_err(|error| Self::error(&error))? {
            PollOutcome::Messages { part, messages } => Next::Batch(Batch {
                input: Arc::clone(&self.input),
                progress_bytes: messages.bytes as u64,
                moved: vec![(part, Position::Offset(messages.end()))],
                content: Content::Messages(messages),
            }),
            PollOutcome::Nothing { caught_up: true } => Next::Idle,
            PollOutcome::Nothing { caught_up: false } => Next::Waiting,
            PollOutcome::Rewound => Next::Rewound,
            PollOutcome::End => Next::End,
        })
    }

    /// Shows the group where it stands, for those who watch the lag of consumers. Where it goes
    /// on from is in the checkpoint. A group that shares its partitions commits them with its
    /// transactions instead.
    fn committed(&mut self, positions: &Positions) -> Result<(), SourceError> {
        for part in self.assigned.values_mut() {
            if let Some(Position::Offset(offset)) = positions.get(&part.name) {
                part.durable = Some(*offset);
            }
        }
        if self.spec.sharing == Sharing::Shared {
            return Ok(());
        }
        let mut list = TopicPartitionList::new();
        for ((topic, partition), part) in &self.assigned {
            if let Some(Position::Offset(offset)) = positions.get(&part.name) {
                list.add_partition_offset(topic, *partition, Offset::Offset(*offset))
                    .map_err(BrokerError::of("name an offset"))
                    .map_err(|error| Self::error(&error))?;
            }
        }
        if list.count() > 0
            && let Err(error) = self.consumer.commit(&list, CommitMode::Async)
        {
            debug!("the group's offsets are not shown: {error}");
        }
        Ok(())
    }

    /// Where nothing was kept of a partition, it is read from its beginning; where nothing was kept
    /// of any, all are read from where [`KafkaSpec::start`] says.
    fn resume(&mut self, positions: &Positions) -> Result<(), SourceError> {
        let mut begun = Positions::new();
        if positions.is_empty() && self.spec.start != Start::Earliest {
            let keys: Vec<PartKey> = self.assigned.keys().cloned().collect();
            let inspector = self.spec.cluster.connect().map_err(|error| Self::error(&error))?;
            let offsets = offsets_at(&inspector, &keys, self.spec.start)
                .map_err(|error| Self::error(&error))?;
            let names = self.assigned.values().map(|part| Arc::clone(&part.name));
            begun = names.zip(offsets.into_iter().map(Position::Offset)).collect();
            self.begun = begun.clone().into_iter().collect();
        }
        let positions = if begun.is_empty() { positions } else { &begun };
        let mut list = TopicPartitionList::new();
        for ((topic, partition), part) in &mut self.assigned {
            let known = positions.get(&part.name);
            let offset = match known {
                Some(Position::Offset(offset)) => {
                    part.next_offset = Some(*offset);
                    part.durable = Some(*offset);
                    Offset::Offset(*offset)
                }
                _ => Offset::Beginning,
            };
            list.add_partition_offset(topic, *partition, offset)
                .map_err(BrokerError::of("set the offset of a partition"))
                .map_err(|error| Self::error(&error))?;
        }
        self.consumer
            .assign(&list)
            .map_err(BrokerError::of("take the partitions"))
            .map_err(|error| Self::error(&error))
    }

    /// From what is durable, not from what the client calls its lag: that counts from commits that
    /// it was asked for, and transactions and checkpoints do without.
    fn lag(&mut self) -> Lag {
        let reports = self.consumer.context();
        if !self.is_assigned || reports.any_broker_away() || !self.ask_group() {
            return Lag::Unknown;
        }
        let mut records = 0;
        for ((topic, partition), part) in &self.assigned {
            let Some(ends) = reports.ends(topic, *partition) else { return Lag::Unknown };
            records += part.lag(ends);
        }
        Lag::Records(records)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_is_counted_from_what_is_durable() {
        let part = |durable, next_offset, at_end| Part {
            name: "t/0".into(),
            first_offset: None,
            next_offset,
            durable,
            at_end: if at_end { AtEnd::Yes } else { AtEnd::Perhaps },
            end_reached: None,
        };
        let ends = PartitionEnds { first: 10, end: 100 };
        for (durable, next_offset, at_end, lag) in [
            (None, None, false, 90),
            // Its first records were deleted.
            (Some(5), None, false, 90),
            (Some(40), Some(60), false, 60),
            (Some(40), Some(99), true, 60),
            // Behind the last record stands the mark of a transaction.
            (Some(99), Some(99), true, 0),
            (Some(99), None, true, 0),
            (Some(99), None, false, 1),
            // The report is older than the commit.
            (Some(120), Some(120), false, 0),
        ] {
            let case = (durable, next_offset, at_end);
            assert_eq!(part(durable, next_offset, at_end).lag(ends), lag, "{case:?}");
        }
    }

    #[test]
    fn the_end_of_one_topic_is_not_that_of_another() {
        use crate::brokers::Reports;
        use rdkafka::mocking::MockCluster;
        use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};

        // What stands in the one topic comes late, and the other is empty.
        let mock = MockCluster::new(2).unwrap();
        for (topic, broker) in [("slow", 1), ("empty", 2)] {
            mock.create_topic(topic, 1, 2).unwrap();
            mock.partition_leader(topic, 0, Some(broker)).unwrap();
        }
        let cluster = Cluster {
            brokers: mock.bootstrap_servers(),
            options: BTreeMap::new(),
            oauth_token_file: None,
        };
        let sender: ThreadedProducer<Reports> = cluster.client(&Vec::new()).unwrap();
        for _ in 0..3 {
            assert!(sender.send(BaseRecord::<[u8], str>::to("slow").payload("x")).is_ok());
        }
        sender.flush(Duration::from_secs(30)).unwrap();
        let mut source = KafkaSource::new(KafkaSpec {
            cluster,
            topics: vec!["slow".to_owned(), "empty".to_owned()],
            group: "group".to_owned(),
            instance: None,
            sharing: Sharing::Alone,
            start: Start::Earliest,
            until: Until::Stopped,
        })
        .unwrap();
        source.resume(&Positions::new()).unwrap();
        mock.broker_round_trip_time(1, Duration::from_millis(500)).unwrap();
        let start = Instant::now();
        let mut read = 0;
        while read < 3 {
            match source.next(Duration::from_millis(1)).unwrap() {
                Next::Batch(Batch { content: Content::Messages(messages), .. }) => {
                    read += messages.iter().count();
                }
                Next::Idle => panic!("read to the end, with {read} of 3 records"),
                _ => assert!(start.elapsed() < Duration::from_secs(60), "{read} records"),
            }
        }
        while !matches!(source.next(Duration::from_millis(1)).unwrap(), Next::Idle) {
            assert!(start.elapsed() < Duration::from_secs(60), "it is at its end");
        }
    }

    #[test]
    fn only_trace_contexts_are_taken() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(traceparent(good.as_bytes()).as_deref(), Some(good));
        for bad in [
            "",
            "00",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0\n",
            "00-0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331-01",
        ] {
            assert_eq!(traceparent(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(traceparent(b"\xff"), None);
    }
}

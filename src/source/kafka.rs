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
use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, Headers as _, Message as _, OwnedMessage};
use rdkafka::{Offset, TopicPartitionList};

use super::{Batch, Content, Message, Next, Source, SourceError};
use crate::brokers::{
    AssignmentChange, BrokerError, ClientOptions, Cluster, SharedConsumer, end_of_records, ends,
    is_retryable, partitions,
};
use crate::position::{Position, Positions};

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

/// Going back to an offset, and one try of it.
const REWIND_TIMEOUT: Duration = Duration::from_secs(60);
const REWIND_TRY: Duration = Duration::from_secs(5);

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
    pub until: Until,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    Shared,
    Alone,
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
    /// Behind the last records at the start, of partitions that hold any.
    ends: BTreeMap<PartKey, i64>,
    /// A message that belongs to the next batch.
    held: Option<OwnedMessage>,
}

impl std::fmt::Debug for KafkaSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaSource").field("spec", &self.spec).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Part {
    name: Arc<str>,
    next_offset: Option<i64>,
    at_end: bool,
}

impl KafkaSource {
    pub fn new(spec: KafkaSpec) -> Result<KafkaSource, BrokerError> {
        let inspector = spec.cluster.connect()?;
        let mut topics: BTreeSet<String> = BTreeSet::new();
        for topic in &spec.topics {
            if let Some(pattern) = topic.strip_prefix('^') {
                let metadata = inspector
                    .fetch_metadata(None, crate::brokers::CONNECT_TIMEOUT)
                    .map_err(BrokerError::of("list the topics"))?;
                let pattern = regex::Regex::new(&format!("^(?:{pattern})")).map_err(|error| {
                    BrokerError::Option { option: topic.clone(), reason: error.to_string() }
                })?;
                let names = metadata.topics().iter().map(|topic| topic.name().to_owned());
                topics.extend(names.filter(|name| pattern.is_match(name)).take(TOPICS_MAX));
            } else {
                topics.insert(topic.clone());
            }
        }
        let mut ends_at_start = BTreeMap::new();
        let mut all = Vec::new();
        for topic in &topics {
            let parts = partitions(&inspector, topic)?
                .ok_or_else(|| BrokerError::NoTopic { topic: topic.clone() })?;
            for partition in parts {
                all.push((topic.clone(), partition));
                if spec.until == Until::End {
                    let whole = ends(&inspector, topic, partition)?;
                    if whole.1 > whole.0
                        && let Some(end) = end_of_records(&inspector, topic, partition, whole)?
                    {
                        ends_at_start.insert((topic.clone(), partition), end);
                    }
                }
            }
        }
        let consumer: SharedConsumer = Arc::new(spec.cluster.client(&settings(&spec))?);
        // Never dropped: a rebalance that comes while a client is dropped makes
        // it wait for itself. A source lives as long as the process, and leaves
        // its group by `leave`.
        std::mem::forget(Arc::clone(&consumer));
        let mut source = KafkaSource {
            input: format!("kafka {}", spec.topics.join(",")).into(),
            consumer,
            assigned: BTreeMap::new(),
            ends: ends_at_start,
            held: None,
            spec,
        };
        match source.spec.sharing {
            Sharing::Shared => {
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

    /// Leaves the group, so that others need not wait until it is given up for
    /// dead.
    pub fn leave(&mut self) {
        let mut is_member = !self.assigned.is_empty();
        self.consumer.unsubscribe();
        let until = Instant::now() + LEAVE_TIMEOUT;
        while is_member && Instant::now() < until {
            let _ = self.consumer.poll(Duration::from_millis(50));
            is_member = !self.follow_assignment();
        }
        // The farewell is sent in the background.
        let _ = self.consumer.poll(Duration::from_millis(200));
    }

    pub fn consumer(&self) -> &SharedConsumer {
        &self.consumer
    }

    pub fn until(&self) -> Until {
        self.spec.until
    }

    /// The partitions that held anything at the start, and their ends.
    pub fn ends(&self) -> &BTreeMap<PartKey, i64> {
        &self.ends
    }

    /// The partitions of this copy.
    pub fn parts(&self) -> impl Iterator<Item = &Arc<str>> {
        self.assigned.values().map(|part| &part.name)
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
                part.at_end = false;
            }
        }
        Ok(())
    }

    /// Hands over what comes next of one partition, message by message, as it
    /// lies in the client's memory.
    pub fn read(&mut self, wait: Duration, take: &mut Take<'_>) -> Result<Reading, SourceError> {
        let until = Instant::now() + wait;
        let mut stretch: Option<Stretch> = None;
        let mut at_end = false;
        if let Some(message) = self.held.take() {
            self.hand_over(&message, &mut stretch, take);
        }
        let consumer = Arc::clone(&self.consumer);
        while !stretch.as_ref().is_some_and(Stretch::is_full) {
            let wait = if stretch.is_none() { wait } else { Duration::ZERO };
            let polled = consumer.poll(wait);
            if self.follow_assignment() {
                if let Some(Ok(message)) = polled {
                    self.held = Some(message.detach());
                }
                return Ok(Reading::Rewound);
            }
            match polled {
                Some(Ok(message)) => {
                    if self.hand_over(&message, &mut stretch, take) {
                        at_end = false;
                        continue;
                    }
                    self.held = Some(message.detach());
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    at_end |= stretch.as_ref().is_some_and(|stretch| stretch.key.1 == partition);
                    for ((_, number), part) in &mut self.assigned {
                        part.at_end |= *number == partition;
                    }
                    // Others may have more.
                    if stretch.is_none() && Instant::now() < until {
                        continue;
                    }
                }
                Some(Err(KafkaError::MessageConsumption(code))) if is_retryable(code) => {}
                Some(Err(cause)) => {
                    return Err(Self::error(&BrokerError::Kafka {
                        doing: "read from Kafka",
                        cause,
                    }));
                }
                None => {}
            }
            break;
        }
        if let Some(stretch) = stretch {
            if let Some(part) = self.assigned.get_mut(&stretch.key) {
                part.next_offset = Some(stretch.end);
                part.at_end = at_end;
            }
            return Ok(Reading::Stretch(stretch));
        }
        if self.spec.until == Until::End && self.is_done() {
            return Ok(Reading::End);
        }
        let caught_up = !self.assigned.is_empty() && self.assigned.values().all(|p| p.at_end);
        Ok(Reading::Nothing { caught_up })
    }

    /// Hands a message over if it goes on with the stretch; `false` if another
    /// one begins with it.
    fn hand_over(
        &self,
        message: &impl rdkafka::Message,
        stretch: &mut Option<Stretch>,
        take: &mut Take<'_>,
    ) -> bool {
        let (topic, partition, offset) = (message.topic(), message.partition(), message.offset());
        let stretch = match stretch {
            Some(stretch) if stretch.key.1 != partition || stretch.key.0 != topic => return false,
            Some(stretch) => stretch,
            None => {
                let key = (topic.to_owned(), partition);
                // What is not assigned any more is not ours.
                let Some(part) = self.assigned.get(&key) else { return true };
                let (part, age) = (Arc::clone(&part.name), age(message.timestamp()));
                let (first, end) = (offset, offset);
                stretch.insert(Stretch { part, first, end, age, key, bytes: 0, messages: 0 })
            }
        };
        let value = message.payload().unwrap_or_default();
        let traceparent = &|| trace_of(message);
        take(&MessageRef { part: &stretch.part, offset, value, traceparent });
        stretch.end = offset + 1;
        stretch.bytes += value.len();
        stretch.messages += 1;
        true
    }

    fn set_assigned(&mut self, parts: &[PartKey]) {
        self.held = None;
        self.assigned = parts
            .iter()
            .map(|(topic, partition)| {
                let name = format!("{topic}/{partition}").into();
                let part = Part { name, next_offset: None, at_end: false };
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
                AssignmentChange::Revoked => self.set_assigned(&[]),
            }
        }
        any
    }

    fn is_done(&self) -> bool {
        self.spec.sharing == Sharing::Alone
            && self.ends.iter().all(|(key, end)| {
                self.assigned.get(key).and_then(|part| part.next_offset) >= Some(*end)
            })
    }
}

/// Messages of one partition, one behind the other.
#[derive(Debug)]
pub struct Stretch {
    /// The partition's name in positions.
    pub part: Arc<str>,
    /// The first offset, and that behind the last.
    pub first: i64,
    pub end: i64,
    /// How long ago the first was sent.
    pub age: Duration,
    key: PartKey,
    bytes: usize,
    messages: usize,
}

impl Stretch {
    fn is_full(&self) -> bool {
        self.bytes >= BATCH_BYTES || self.messages >= BATCH_MESSAGES_MAX
    }
}

/// What came of a reading.
#[derive(Debug)]
pub enum Reading {
    Stretch(Stretch),
    /// Nothing came; whether everything there is was read.
    Nothing {
        caught_up: bool,
    },
    /// The partitions are others: what was handed over and not committed is not
    /// ours, or comes again.
    Rewound,
    End,
}

/// A message as it lies in the client's memory.
pub struct MessageRef<'m> {
    pub part: &'m Arc<str>,
    pub offset: i64,
    pub value: &'m [u8],
    traceparent: &'m dyn Fn() -> Option<Box<str>>,
}

impl std::fmt::Debug for MessageRef<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MessageRef")
            .field("part", &self.part)
            .field("offset", &self.offset)
            .finish()
    }
}

impl MessageRef<'_> {
    /// The trace context that came with it: plain, or as CloudEvents name it.
    pub fn traceparent(&self) -> Option<Box<str>> {
        (self.traceparent)()
    }
}

/// Takes a message.
pub type Take<'t> = dyn FnMut(&MessageRef<'_>) + 't;

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
        // When as much is fetched as may be, it is looked again so soon; by
        // default a second later, in which nothing is read.
        ("fetch.queue.backoff.ms", "5".to_owned()),
        ("statistics.interval.ms", "5000".to_owned()),
        ("partition.assignment.strategy", "range,roundrobin".to_owned()),
    ];
    if let Some(instance) = &spec.instance {
        settings.push(("group.instance.id", instance.clone()));
    }
    settings
}

impl Source for KafkaSource {
    fn next(&mut self, wait: Duration) -> Result<Next, SourceError> {
        let (mut bytes, mut messages): (Vec<u8>, Vec<Message>) = (Vec::new(), Vec::new());
        let reading = self.read(wait, &mut |message| {
            if messages.is_empty() {
                bytes.reserve(BATCH_BYTES + BATCH_BYTES / 4);
            }
            let start = bytes.len();
            bytes.extend_from_slice(message.value);
            let (offset, end, traceparent) = (message.offset, bytes.len(), message.traceparent());
            messages.push(Message { part: 0, offset, start, end, traceparent });
        })?;
        Ok(match reading {
            Reading::Stretch(Stretch { part, end, age, .. }) => Next::Batch(Batch {
                input: Arc::clone(&self.input),
                progress_bytes: bytes.len() as u64,
                content: Content::Messages { bytes, messages, age },
                moved: vec![(part, Position::Offset(end))],
            }),
            Reading::Nothing { caught_up: true } => Next::Idle,
            Reading::Nothing { caught_up: false } => Next::Waiting,
            Reading::Rewound => Next::Rewound,
            Reading::End => Next::End,
        })
    }

    /// Where nothing was kept of a partition, it is read from its beginning.
    fn resume(&mut self, positions: &Positions) -> Result<(), SourceError> {
        let mut list = TopicPartitionList::new();
        for ((topic, partition), part) in &mut self.assigned {
            let known = positions.get(&part.name);
            let offset = match known {
                Some(Position::Offset(offset)) => {
                    part.next_offset = Some(*offset);
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
}

#[cfg(test)]
mod tests {
    use super::*;

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

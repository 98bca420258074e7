//! Kafka to Kafka, on as many copies as there are:
//!
//! ```text
//!  input ─▶ collector (each copy, its partitions) ─▶ observations ─▶ detector ─▶ incidents
//!           decode, apply rules                       one partition   (one copy)   changelog
//! ```
//!
//! Decoding is what takes the time, and it scales with the input's partitions.
//! What is wanted is a few per cent, and one detector takes in two million
//! observations a second: so there is one, in the copy that the group gives the
//! only partition of the observations to. When that copy dies another restores
//! the detector from the changelog. Groups of clones, suspicions and names reach
//! across all hosts and accounts; with one detector the result is that of one
//! copy, whatever joins and dies.
//!
//! Each stage commits its own transactions: collectors observations and input
//! offsets, the detector incidents, state and its position in the observations.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};
use tracing::{info, warn};

use super::gather::{Gather, Gathered};
use super::judge::{Judge, JudgeError, JudgeSpec, Tended};
use super::{Counters, Stop};
use crate::brokers::{
    BrokerError, Cluster, Isolation, Reports, SharedConsumer, committed, end_of_records, ends,
    is_fenced, is_permanent,
};
use crate::checkpoint::{self, Parcel, StoredError, Traced};
use crate::detect::clocks::CaughtUp;
use crate::event::{ListedHost, Observation};
use crate::faults::point;
use crate::sink::SinkError;
use crate::sink::kafka::{KafkaSink, KafkaSinkSpec, drain, patiently, send, transactional};
use crate::sink::wire::WireDeadLetter;
use crate::source::kafka::{KafkaSource, KafkaSpec, PartKey, Reading, Sharing, Stretch, Until};
use crate::source::{Content, Next, Position, Source, SourceError};

/// A message of observations is not larger, so that it fits the broker's
/// default size however badly it packs.
const MESSAGE_BYTES_MAX: usize = 700 * 1024;

/// Observations of one such message.
const PARCEL_OBSERVATIONS_MAX: usize = 2000;

/// Trace contexts of one such message.
const PARCEL_TRACED_MAX: usize = 1000;

/// Steps of a collector's transaction may take so long.
const STEP_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a collector waits for events, and for a commit when it may gather no
/// more.
const WAIT_MIN: Duration = Duration::from_millis(1);
const WAIT_MAX: Duration = Duration::from_millis(100);
const FULL_WAIT: Duration = Duration::from_millis(20);

/// After transactions that were taken back one after the other comes a pause
/// that grows by this.
const ABORT_PAUSE: Duration = Duration::from_millis(100);
const ABORT_PAUSES_MAX: u32 = 20;

/// How often a copy looks whether all others are done, with `--until-end`.
const DONE_POLL: Duration = Duration::from_millis(300);

/// How often a collector says that its partitions are there though silent.
const HEARD_EVERY: Duration = Duration::from_secs(5);

/// Commits of the detector that may fail one after the other, and the pause
/// before each next one.
const FAILURES_MAX: u32 = 20;
const FAILURE_PAUSE: Duration = Duration::from_secs(1);

/// Stands with the detector's offset once everything up to that end of the
/// observations was closed.
fn closed_note(end: i64) -> String {
    format!("closed at {end}")
}

/// What all copies share.
#[derive(Clone, Debug)]
pub struct SharedSpec {
    pub input: KafkaSpec,
    pub observations_topic: String,
    pub sink: KafkaSinkSpec,
    /// Makes this copy's transactions its own.
    pub collector_id: String,
    pub interval: Duration,
}

impl SharedSpec {
    fn detector_group(&self) -> String {
        format!("{}.detector", self.input.group)
    }
}

#[derive(Debug, thiserror::Error)]
pub enum SharedError {
    #[error(transparent)]
    Broker(#[from] BrokerError),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Judge(#[from] JudgeError),
    #[error(transparent)]
    Stored(#[from] StoredError),
    #[error(
        "observations were deleted before they were judged: the state goes to offset {position} of `{topic}`, which begins at {first}\n  hint: the topic must not delete by time (`retention.ms=-1`); begin anew with another output topic"
    )]
    Lost { topic: String, position: i64, first: i64 },
    #[error(
        "a commit does not come to an end: whether it was done is seen at the next start\n  hint: nothing is lost; start it again"
    )]
    Unsettled,
}

impl SharedError {
    fn is_passing(&self) -> bool {
        match self {
            SharedError::Broker(error)
            | SharedError::Judge(JudgeError::Sink(SinkError::Brokers(error))) => error.is_passing(),
            _ => false,
        }
    }
}

/// Committed by another thread, so that reading goes on meanwhile.
struct Consignment {
    epoch: u64,
    /// Of the partitions, when it was gathered.
    revocations: u64,
    gathered: Gathered,
}

enum Outcome {
    Committed {
        epoch: u64,
        offsets: Vec<(PartKey, i64)>,
    },
    /// Nothing of it was: what came since has to be read again.
    Aborted {
        epoch: u64,
    },
    Failed(BrokerError),
}

/// Reads the input's partitions of this copy until it is stopped or, with
/// [`Until::End`], until all copies together have read everything.
pub fn collect(
    spec: &SharedSpec,
    mut source: KafkaSource,
    gather: Gather<'_>,
    stop: &Stop,
    inputs_done: &AtomicBool,
    counters: &Counters,
) -> Result<(), SharedError> {
    let epoch = Arc::new(AtomicU64::new(0));
    let (orders, taken) = sync_channel::<Consignment>(1);
    let (tell, outcomes) = sync_channel::<Outcome>(4);
    std::thread::scope(|scope| {
        let committer = Committer::new(spec, source.consumer(), &epoch)?;
        scope.spawn(move || committer.run(&taken, &tell));
        let collector = Collector {
            source: &mut source,
            gather,
            orders,
            outcomes,
            epoch: &epoch,
            revocations: 0,
            under_way: 0,
            safe: BTreeMap::new(),
            heard: Instant::now(),
            done_look: Instant::now(),
        };
        collector.run(stop, inputs_done, counters)
    })?;
    source.leave();
    Ok(())
}

struct Collector<'c, 'r> {
    source: &'c mut KafkaSource,
    gather: Gather<'r>,
    orders: SyncSender<Consignment>,
    outcomes: Receiver<Outcome>,
    epoch: &'c AtomicU64,
    revocations: u64,
    under_way: usize,
    /// Where to go back to.
    safe: BTreeMap<PartKey, i64>,
    heard: Instant,
    done_look: Instant,
}

impl Collector<'_, '_> {
    fn run(
        mut self,
        stop: &Stop,
        inputs_done: &AtomicBool,
        counters: &Counters,
    ) -> Result<(), SharedError> {
        while !stop.is_asked() {
            if self.gather.is_full() && self.under_way > 0 {
                self.settle(Some(FULL_WAIT))?;
                continue;
            }
            let wait = self.gather.patience().clamp(WAIT_MIN, WAIT_MAX);
            let mut caught_up = false;
            let gather = &mut self.gather;
            let reading = self.source.read(wait, &mut |message| {
                let origin = || format!("kafka {} offset {}", message.part, message.offset);
                gather.message(message.value, origin, || message.traceparent());
            })?;
            match reading {
                Reading::Stretch(Stretch { part, first, end, age, .. }) => {
                    self.note_start(&part, first);
                    self.gather.close(part, Position::Offset(end), age, counters);
                }
                Reading::Rewound => self.forget(),
                Reading::Nothing { caught_up: all } => caught_up = all,
                Reading::End => {}
            }
            if caught_up && self.heard.elapsed() >= HEARD_EVERY {
                self.heard = Instant::now();
                self.gather.hear(self.source.parts());
            }
            counters.lag.store(self.source.consumer().context().lag(), Ordering::Relaxed);
            self.settle(None)?;
            if self.gather.is_due() && self.under_way == 0 {
                self.hand_over()?;
            }
            if self.is_done()? {
                inputs_done.store(true, Ordering::SeqCst);
                break;
            }
        }
        // What is whole is committed; the rest is read again.
        self.settle_all()?;
        self.hand_over()?;
        self.settle_all()
    }

    fn settle_all(&mut self) -> Result<(), SharedError> {
        let until = Instant::now() + STEP_TIMEOUT * 3;
        while self.under_way > 0 {
            if Instant::now() > until {
                return Err(SharedError::Unsettled);
            }
            self.settle(Some(WAIT_MAX))?;
        }
        Ok(())
    }

    /// Before anything of a partition was committed, its first message is where
    /// to go back to.
    fn note_start(&mut self, part: &str, first: i64) {
        if let Some(key) = part_key(part) {
            self.safe.entry(key).or_insert(first);
        }
    }

    /// What was not committed belongs to others, or comes again.
    fn forget(&mut self) {
        self.revocations = self.source.consumer().context().revocations();
        self.epoch.fetch_add(1, Ordering::SeqCst);
        self.gather.reset();
        self.safe.clear();
    }

    fn hand_over(&mut self) -> Result<(), SharedError> {
        let gathered = self.gather.take();
        if gathered.is_empty() {
            return Ok(());
        }
        let epoch = self.epoch.load(Ordering::SeqCst);
        let consignment = Consignment { epoch, revocations: self.revocations, gathered };
        if self.orders.send(consignment).is_ok() {
            self.under_way += 1;
        }
        Ok(())
    }

    /// Takes note of what was committed, waiting for it if told to.
    fn settle(&mut self, wait: Option<Duration>) -> Result<(), SharedError> {
        loop {
            let outcome = match wait {
                None => self.outcomes.try_recv(),
                Some(wait) => self.outcomes.recv_timeout(wait).map_err(|error| match error {
                    RecvTimeoutError::Timeout => TryRecvError::Empty,
                    RecvTimeoutError::Disconnected => TryRecvError::Disconnected,
                }),
            };
            let outcome = match outcome {
                Ok(outcome) => outcome,
                Err(TryRecvError::Empty) => return Ok(()),
                Err(TryRecvError::Disconnected) => return Err(SharedError::Unsettled),
            };
            self.under_way -= 1;
            let now = self.epoch.load(Ordering::SeqCst);
            match outcome {
                Outcome::Committed { epoch, offsets } if epoch == now => self.safe.extend(offsets),
                Outcome::Aborted { epoch } if epoch == now => {
                    self.epoch.fetch_add(1, Ordering::SeqCst);
                    self.gather.reset();
                    let safe: Vec<_> =
                        self.safe.iter().map(|(key, at)| (key.clone(), *at)).collect();
                    self.source.rewind(&safe)?;
                }
                Outcome::Committed { .. } | Outcome::Aborted { .. } => {}
                Outcome::Failed(error) => return Err(error.into()),
            }
            if wait.is_some() {
                return Ok(());
            }
        }
    }

    /// Whether the group has read every partition to the end it had.
    fn is_done(&mut self) -> Result<bool, SharedError> {
        if self.source.until() != Until::End || self.done_look.elapsed() < DONE_POLL {
            return Ok(false);
        }
        self.done_look = Instant::now();
        let ends = self.source.ends().clone();
        let parts: Vec<PartKey> = ends.keys().cloned().collect();
        if parts.is_empty() {
            return Ok(true);
        }
        // Brokers that do not answer now may later.
        let Ok(positions) = committed(self.source.consumer(), &parts) else { return Ok(false) };
        Ok(positions.iter().zip(ends.values()).all(|((at, _), end)| *at >= Some(*end)))
    }
}

/// `topic/partition` as it stands in positions.
fn part_key(part: &str) -> Option<PartKey> {
    let (topic, partition) = part.rsplit_once('/')?;
    Some((topic.to_owned(), partition.parse().ok()?))
}

/// Commits one consignment after the other.
struct Committer {
    producer: ThreadedProducer<Reports>,
    consumer: SharedConsumer,
    epoch: Arc<AtomicU64>,
    id: String,
    observations_topic: String,
    dead_letter_topic: String,
}

impl Committer {
    fn new(
        spec: &SharedSpec,
        consumer: &SharedConsumer,
        epoch: &Arc<AtomicU64>,
    ) -> Result<Committer, BrokerError> {
        let id = spec.collector_id.clone();
        let mut settings = transactional(&id);
        // A copy that was killed holds the observations up no longer than that.
        settings
            .retain(|(name, _)| !matches!(*name, "transaction.timeout.ms" | "message.timeout.ms"));
        settings.push(("transaction.timeout.ms", "12000".to_owned()));
        settings.push(("message.timeout.ms", "10000".to_owned()));
        settings.push(("socket.timeout.ms", "10000".to_owned()));
        let producer: ThreadedProducer<Reports> = spec.sink.cluster.client(&settings)?;
        producer
            .init_transactions(STEP_TIMEOUT)
            .map_err(BrokerError::of_transaction(&id, "begin transactions with the brokers"))?;
        Ok(Committer {
            producer,
            consumer: Arc::clone(consumer),
            epoch: Arc::clone(epoch),
            id,
            observations_topic: spec.observations_topic.clone(),
            dead_letter_topic: spec.sink.dead_letter_topic.clone(),
        })
    }

    fn run(&self, orders: &Receiver<Consignment>, tell: &SyncSender<Outcome>) {
        let mut aborts = 0;
        for consignment in orders {
            let epoch = consignment.epoch;
            let outcome = match self.transaction(consignment) {
                Ok(offsets) => {
                    aborts = 0;
                    Outcome::Committed { epoch, offsets }
                }
                // Overtaken by a rebalance: no failure.
                Err(error @ KafkaError::Canceled) => self.abort(epoch, &error),
                Err(error) => {
                    aborts = ABORT_PAUSES_MAX.min(aborts + 1);
                    let outcome = self.abort(epoch, &error);
                    std::thread::sleep(ABORT_PAUSE * (aborts - 1));
                    outcome
                }
            };
            if tell.send(outcome).is_err() {
                return;
            }
        }
    }

    fn abort(&self, epoch: u64, error: &KafkaError) -> Outcome {
        if is_fenced(error) {
            return Outcome::Failed(BrokerError::Fenced { id: self.id.clone() });
        }
        let is_fatal = matches!(error, KafkaError::Transaction(error) if error.is_fatal());
        if is_fatal || is_permanent(error) {
            let (doing, cause) = ("commit observations", error.clone());
            return Outcome::Failed(BrokerError::Kafka { doing, cause });
        }
        info!("a transaction is taken back and done again: {error}");
        match patiently(|| self.producer.abort_transaction(STEP_TIMEOUT)) {
            Ok(()) => Outcome::Aborted { epoch },
            Err(cause) => Outcome::Failed(BrokerError::of_transaction(
                &self.id,
                "take a transaction back",
            )(cause)),
        }
    }

    fn transaction(
        &self,
        Consignment { epoch, revocations, gathered }: Consignment,
    ) -> Result<Vec<(PartKey, i64)>, KafkaError> {
        let mut list = TopicPartitionList::new();
        let mut offsets = Vec::new();
        for (part, position) in &gathered.moved {
            if let (Some(key), Position::Offset(offset)) = (part_key(part), position) {
                list.add_partition_offset(&key.0, key.1, Offset::Offset(*offset))?;
                offsets.push((key, *offset));
            }
        }
        self.producer.begin_transaction()?;
        point("collector began");
        for parcel in gathered.parcels {
            self.send_parcel(&parcel)?;
        }
        for letter in &gathered.dead_letters {
            let value = serde_json::to_string(&WireDeadLetter::from(letter)).unwrap_or_default();
            let value = crate::sink::escape::json(value);
            send(
                &self.producer,
                BaseRecord::<[u8], str>::to(&self.dead_letter_topic).payload(&value),
            )?;
        }
        // The membership is fetched before it is asked whether partitions were
        // taken away: if not, it is of their generation.
        let membership = self.consumer.group_metadata();
        let stale = || KafkaError::Canceled;
        let revoked = self.consumer.context().revocations() != revocations;
        if revoked || self.epoch.load(Ordering::SeqCst) != epoch {
            return Err(stale());
        }
        if list.count() > 0 {
            let membership = membership.ok_or_else(stale)?;
            point("collector sent");
            patiently(|| {
                self.producer.send_offsets_to_transaction(&list, &membership, STEP_TIMEOUT)
            })?;
        }
        point("collector sent offsets");
        drain(&self.producer);
        patiently(|| self.producer.commit_transaction(STEP_TIMEOUT))?;
        point("collector committed");
        Ok(offsets)
    }

    /// In messages that are not too large.
    fn send_parcel(&self, parcel: &Parcel) -> Result<(), KafkaError> {
        // Taken from the end.
        let mut pieces: Vec<&[_]> = parcel.observations.rchunks(PARCEL_OBSERVATIONS_MAX).collect();
        let mut traced = parcel.traced.chunks(PARCEL_TRACED_MAX);
        let traced_left = traced.len().saturating_sub(pieces.len());
        pieces.splice(0..0, std::iter::repeat_n(&[][..], traced_left));
        if pieces.is_empty() {
            pieces.push(&[]);
        }
        while let Some(piece) = pieces.pop() {
            let of_piece = traced.next().unwrap_or_default();
            self.send_piece(parcel, piece, of_piece)?;
        }
        Ok(())
    }

    fn send_piece(
        &self,
        parcel: &Parcel,
        piece: &[Observation],
        traced: &[Traced],
    ) -> Result<(), KafkaError> {
        let value = checkpoint::encode(&Parcel {
            part: parcel.part,
            arrival: parcel.arrival,
            observations: piece.to_vec(),
            traced: traced.to_vec(),
        });
        if value.len() > MESSAGE_BYTES_MAX && piece.len() > 1 {
            let (one, other) = piece.split_at(piece.len() / 2);
            self.send_piece(parcel, one, traced)?;
            return self.send_piece(parcel, other, &[]);
        }
        let record =
            BaseRecord::<[u8], [u8]>::to(&self.observations_topic).partition(0).payload(&value);
        send(&self.producer, record)
    }
}

/// Judges while the group gives this copy the observations.
pub fn detect(
    spec: &SharedSpec,
    judge_spec: &JudgeSpec,
    stop: &Stop,
    inputs_done: &AtomicBool,
    counters: &Counters,
    mut reload: impl FnMut() -> Option<Vec<ListedHost>>,
) -> Result<(), SharedError> {
    let mut judge_spec = judge_spec.clone();
    let mut source = KafkaSource::new(KafkaSpec {
        cluster: spec.sink.cluster.clone(),
        topics: vec![spec.observations_topic.clone()],
        group: spec.detector_group(),
        instance: spec.input.instance.clone(),
        sharing: Sharing::Shared,
        until: Until::Stopped,
    })?;
    let looker = spec.sink.cluster.connect()?;
    let uncommitted = spec.sink.cluster.looker(Isolation::Uncommitted)?;
    let until_end = spec.input.until == Until::End;
    let mut judge: Option<Judge> = None;
    let mut done_look = Instant::now();
    let mut failed: Option<Failed> = None;
    let topic = spec.observations_topic.as_str();
    // Where the observations end that belong to the inputs.
    let mut end: Option<i64> = None;
    while !stop.is_asked() {
        counters.alive();
        let next = source.next(Duration::from_millis(5))?;
        let caught_up = matches!(next, Next::Idle);
        match next {
            Next::Rewound => {
                if judge.take().is_some() {
                    info!("another copy judges from here on");
                }
                // Also when commits failed before: the group decides who judges.
                failed = None;
                if source.parts().next().is_some() {
                    match take_over(spec, &judge_spec, &mut source, &looker, counters) {
                        Ok(taken) => judge = Some(taken),
                        Err(error) => failed = Some(Failed::of(error, None, failed)?),
                    }
                }
            }
            // Without a judge it is handed out again, once there is one.
            Next::Batch(batch) => {
                if let (Some(judge), Content::Messages { bytes, messages, .. }) =
                    (&mut judge, &batch.content)
                {
                    let mut gathered = Gathered { moved: batch.moved, ..Gathered::default() };
                    for message in messages {
                        let parcel = checkpoint::decode(&bytes[message.start..message.end])?;
                        gathered.parcels.push(parcel);
                    }
                    judge.take(topic, gathered);
                }
            }
            Next::Idle | Next::Waiting | Next::End | Next::Skipped(_) => {}
        }
        if let Some(inventory) = reload() {
            judge_spec.inventory.clone_from(&inventory);
            if let Some(judge) = &mut judge {
                judge.learn_inventory(inventory);
            }
        }
        if failed
            .as_ref()
            .is_some_and(|failed| judge.is_none() && failed.retry_at <= Instant::now())
        {
            match take_over(spec, &judge_spec, &mut source, &looker, counters) {
                Ok(taken) => judge = Some(taken),
                Err(error) => failed = Some(Failed::of(error, None, failed)?),
            }
        }
        if let Some(mut of_now) = judge.take() {
            let caught_up = if caught_up { CaughtUp::Yes } else { CaughtUp::No };
            match of_now.tend(caught_up, counters) {
                Ok(tended) => {
                    if tended != Tended::Nothing {
                        let position = judged_to(&of_now, topic);
                        failed.take_if(|failed| failed.position <= Some(position));
                        show_offset(source.consumer(), topic, &of_now, "");
                    }
                    if tended == Tended::Shortened {
                        forget_observations(&spec.sink.cluster, topic, &of_now);
                    }
                    judge = Some(of_now);
                }
                Err(error) => {
                    let position = judged_to(&of_now, topic);
                    failed = Some(Failed::of(error.into(), Some(position), failed)?);
                }
            }
        }
        if until_end && inputs_done.load(Ordering::SeqCst) && done_look.elapsed() >= DONE_POLL {
            done_look = Instant::now();
            let Some(end) = end else {
                // As long as a transaction is open, what comes behind it is not
                // seen, committed or not: one that a dead copy left.
                let (stable, all) = (ends(&looker, topic, 0)?, ends(&uncommitted, topic, 0)?);
                if stable == all {
                    let records = match stable.0 == stable.1 {
                        true => None,
                        false => end_of_records(&looker, topic, 0, stable)?,
                    };
                    end = Some(records.unwrap_or(0));
                }
                continue;
            };
            match &mut judge {
                Some(judge) if judged_to(judge, topic) >= end => {
                    judge.finish(counters)?;
                    show_offset(source.consumer(), topic, judge, &closed_note(end));
                    break;
                }
                Some(_) => {}
                None => {
                    // Brokers that do not answer now may later.
                    let position = committed(source.consumer(), &[(topic.to_owned(), 0)]);
                    let closed = |(_, note): &(Option<i64>, String)| *note == closed_note(end);
                    if position.is_ok_and(|position| position.iter().any(closed)) {
                        break;
                    }
                }
            }
        }
    }
    if let Some(judge) = &mut judge {
        let note = end.filter(|_| !stop.is_asked()).map(closed_note).unwrap_or_default();
        if judge.stop(counters)? != Tended::Nothing {
            show_offset(source.consumer(), topic, judge, &note);
        }
    }
    source.leave();
    Ok(())
}

/// Commits of the detector that failed one after the other. With a judge goes
/// what it had not committed.
struct Failed {
    count: u32,
    /// How far in the observations the judge was.
    position: Option<i64>,
    retry_at: Instant,
}

impl Failed {
    /// One more, after those before; the error if there is no point in going on.
    fn of(
        error: SharedError,
        position: Option<i64>,
        before: Option<Failed>,
    ) -> Result<Failed, SharedError> {
        let (count, earlier) =
            before.map_or((0, None), |before| (before.count + 1, before.position));
        if !error.is_passing() || count >= FAILURES_MAX {
            return Err(error);
        }
        warn!("{error}; judging goes on from the last committed state");
        let retry_at = Instant::now() + FAILURE_PAUSE;
        Ok(Failed { count, position: position.max(earlier), retry_at })
    }
}

/// Takes the detector over: ends what the copy before left open, restores its
/// state, and goes on where that ends.
fn take_over(
    spec: &SharedSpec,
    judge_spec: &JudgeSpec,
    source: &mut KafkaSource,
    looker: &BaseConsumer<Reports>,
    counters: &Counters,
) -> Result<Judge, SharedError> {
    let start = Instant::now();
    let sink = KafkaSink::new(spec.sink.clone())?;
    let judge = Judge::open(judge_spec.clone(), Box::new(sink))?;
    counters.alive();
    let topic = &spec.observations_topic;
    let (first, _) = ends(looker, topic, 0)?;
    let part: Arc<str> = format!("{topic}/0").into();
    let position = match judge.positions().of(topic).get(&part) {
        Some(Position::Offset(offset)) if *offset < first => {
            return Err(SharedError::Lost { topic: topic.clone(), position: *offset, first });
        }
        Some(Position::Offset(offset)) => *offset,
        _ => first,
    };
    counters.alive();
    source.rewind(&[((topic.clone(), 0), position)])?;
    counters.alive();
    info!(
        seconds = start.elapsed().as_secs_f32(),
        offset = position,
        "this copy judges from here on"
    );
    Ok(judge)
}

/// Where the detector goes on in the observations.
fn judged_to(judge: &Judge, topic: &str) -> i64 {
    match judge.position(topic, &format!("{topic}/0")) {
        Some(Position::Offset(offset)) => offset,
        _ => 0,
    }
}

/// Shows how far the detector is. Its position itself is in the changelog.
fn show_offset(consumer: &SharedConsumer, topic: &str, judge: &Judge, note: &str) {
    let offset = judged_to(judge, topic);
    let mut list = TopicPartitionList::new();
    let mut part = list.add_partition(topic, 0);
    let set = part.set_offset(Offset::Offset(offset));
    part.set_metadata(note);
    let mode = if note.is_empty() { CommitMode::Async } else { CommitMode::Sync };
    if let Err(error) = set.and_then(|()| consumer.commit(&list, mode)) {
        info!("the detector's offset is not shown: {error}");
    }
}

/// What the snapshot covers is needed no more.
fn forget_observations(cluster: &Cluster, topic: &str, judge: &Judge) {
    let part: Arc<str> = format!("{topic}/0").into();
    let Some(Position::Offset(offset)) = judge.positions().of(topic).get(&part).cloned() else {
        return;
    };
    let mut list = TopicPartitionList::new();
    let deleted = list
        .add_partition_offset(topic, 0, Offset::Offset(offset))
        .map_err(BrokerError::of("name an offset"))
        .and_then(|()| cluster.client::<AdminClient<Reports>>(&Vec::new()))
        .and_then(|admin| {
            let options = AdminOptions::new().request_timeout(Some(Duration::from_secs(5)));
            pollster::block_on(admin.delete_records(&list, &options))
                .map_err(BrokerError::of("delete judged observations"))
        });
    if let Err(error) = deleted {
        warn!(
            "observations that were judged stay in `{topic}`: {error}; allow this client to delete \
             its records, or delete them by time"
        );
    }
}

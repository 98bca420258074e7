//! What each copy does with its partitions of the input: decode, apply the rules,
//! and commit observations with the offsets behind them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};
use tracing::{info, warn};

use super::{DONE_POLL, TopicLinkError, TopicLinkSpec};
use crate::brokers::{
    BrokerError, Cluster, Reports, SharedConsumer, committed, is_fenced, is_permanent,
};
use crate::faults::point;
use crate::observation::Observation;
use crate::output::wire::WireDeadLetter;
use crate::pipeline::decode::batcher::{Batcher, Flushed};
use crate::pipeline::{Counters, Stop, spawn};
use crate::position::Position;
use crate::sink::kafka::{drain, patiently, send, transactional};
use crate::source::kafka::{KafkaSource, PartKey, Reading, Stretch, Until};
use crate::store::checkpoint::{ObservationBatch, Traced};
use crate::store::codec;

/// A message of observations is not larger, so that it fits the broker's
/// default size however badly it packs.
const MESSAGE_BYTES_MAX: usize = 700 * 1024;

/// Observations of one such message.
const BATCH_OBSERVATIONS_MAX: usize = 2000;

/// Trace contexts of one such message.
const BATCH_TRACED_MAX: usize = 1000;

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

/// Brokers with which no transaction can be begun are waited for so long.
const AWAY_MAX: Duration = Duration::from_secs(600);

/// How often a collector says that its partitions are there though silent.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(5);

/// Committed by another thread, so that reading goes on meanwhile.
struct PendingTransaction {
    epoch: u64,
    /// Of the partitions, when it was flushed.
    revocations: u64,
    flushed: Flushed,
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
    spec: &TopicLinkSpec,
    mut source: KafkaSource,
    batcher: Batcher<'_>,
    stop: &Stop,
    inputs_done: &AtomicBool,
    counters: &Counters,
) -> Result<(), TopicLinkError> {
    let epoch = AtomicU64::new(0);
    let (orders, taken) = sync_channel::<PendingTransaction>(1);
    let (tell, outcomes) = sync_channel::<Outcome>(4);
    std::thread::scope(|scope| {
        let mut committer = Committer::new(spec, source.consumer(), &epoch, stop)?;
        spawn(scope, "commit", move || committer.run(&taken, &tell));
        let collector = Collector {
            source: &mut source,
            batcher,
            orders,
            outcomes,
            epoch: &epoch,
            revocations: 0,
            under_way: 0,
            safe: BTreeMap::new(),
            last_heartbeat: Instant::now(),
            done_check: Instant::now(),
        };
        collector.run(stop, inputs_done, counters)
    })?;
    source.leave();
    Ok(())
}

struct Collector<'c, 'r> {
    source: &'c mut KafkaSource,
    batcher: Batcher<'r>,
    orders: SyncSender<PendingTransaction>,
    outcomes: Receiver<Outcome>,
    epoch: &'c AtomicU64,
    revocations: u64,
    under_way: usize,
    /// Where to go back to.
    safe: BTreeMap<PartKey, i64>,
    last_heartbeat: Instant,
    done_check: Instant,
}

impl Collector<'_, '_> {
    fn run(
        mut self,
        stop: &Stop,
        inputs_done: &AtomicBool,
        counters: &Counters,
    ) -> Result<(), TopicLinkError> {
        while !stop.is_asked() {
            if self.batcher.is_full() && self.under_way > 0 {
                self.settle(Some(FULL_WAIT))?;
                continue;
            }
            let wait = self.batcher.patience().clamp(WAIT_MIN, WAIT_MAX);
            let mut caught_up = false;
            let batcher = &mut self.batcher;
            let reading = self.source.read(wait, &mut |message| {
                let origin = || format!("kafka {} offset {}", message.part, message.offset);
                batcher.message(message.value, origin, || message.traceparent());
            })?;
            match reading {
                Reading::Stretch(Stretch { part, first, end, age, .. }) => {
                    self.note_start(&part, first);
                    self.batcher.close(part, Position::Offset(end), age, counters);
                }
                Reading::Rewound => self.forget(),
                Reading::Nothing { caught_up: all } => caught_up = all,
                Reading::End => {}
            }
            if caught_up && self.last_heartbeat.elapsed() >= HEARTBEAT_EVERY {
                self.last_heartbeat = Instant::now();
                self.batcher.heartbeat(self.source.parts());
            }
            counters.lag.store(self.source.consumer().context().lag(), Ordering::Relaxed);
            self.settle(None)?;
            if self.batcher.is_due() && self.under_way == 0 {
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

    fn settle_all(&mut self) -> Result<(), TopicLinkError> {
        let until = Instant::now() + STEP_TIMEOUT * 3;
        while self.under_way > 0 {
            if Instant::now() > until {
                return Err(TopicLinkError::Unsettled);
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
        self.batcher.reset();
        self.safe.clear();
    }

    fn hand_over(&mut self) -> Result<(), TopicLinkError> {
        let flushed = self.batcher.take();
        if flushed.is_empty() {
            return Ok(());
        }
        let epoch = self.epoch.load(Ordering::SeqCst);
        let pending = PendingTransaction { epoch, revocations: self.revocations, flushed };
        if self.orders.send(pending).is_ok() {
            self.under_way += 1;
        }
        Ok(())
    }

    /// Takes note of what was committed, waiting for it if told to.
    fn settle(&mut self, wait: Option<Duration>) -> Result<(), TopicLinkError> {
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
                Err(TryRecvError::Disconnected) => return Err(TopicLinkError::Unsettled),
            };
            self.under_way -= 1;
            let now = self.epoch.load(Ordering::SeqCst);
            match outcome {
                Outcome::Committed { epoch, offsets } if epoch == now => self.safe.extend(offsets),
                Outcome::Aborted { epoch } if epoch == now => {
                    self.epoch.fetch_add(1, Ordering::SeqCst);
                    self.batcher.reset();
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
    fn is_done(&mut self) -> Result<bool, TopicLinkError> {
        if self.source.until() != Until::End || self.done_check.elapsed() < DONE_POLL {
            return Ok(false);
        }
        self.done_check = Instant::now();
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

/// Commits one pending after the other.
struct Committer<'c> {
    cluster: Cluster,
    producer: ThreadedProducer<Reports>,
    consumer: SharedConsumer,
    epoch: &'c AtomicU64,
    stop: &'c Stop,
    id: String,
    observations_topic: String,
    dead_letter_topic: String,
}

impl<'c> Committer<'c> {
    fn new(
        spec: &TopicLinkSpec,
        consumer: &SharedConsumer,
        epoch: &'c AtomicU64,
        stop: &'c Stop,
    ) -> Result<Committer<'c>, BrokerError> {
        let (cluster, id) = (spec.sink.cluster.clone(), spec.collector_id.clone());
        Ok(Committer {
            producer: producer(&cluster, &id)?,
            cluster,
            consumer: Arc::clone(consumer),
            epoch,
            stop,
            id,
            observations_topic: spec.observations_topic.clone(),
            dead_letter_topic: spec.sink.dead_letter_topic.clone(),
        })
    }

    fn run(&mut self, orders: &Receiver<PendingTransaction>, tell: &SyncSender<Outcome>) {
        let mut aborts = 0;
        for pending in orders {
            let epoch = pending.epoch;
            let outcome = match self.transaction(pending) {
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

    fn abort(&mut self, epoch: u64, error: &KafkaError) -> Outcome {
        if is_fenced(error) {
            return Outcome::Failed(BrokerError::Fenced { id: self.id.clone() });
        }
        if is_permanent(error) {
            let (doing, cause) = ("commit observations", error.clone());
            return Outcome::Failed(BrokerError::Kafka { doing, cause });
        }
        if is_fatal(error) {
            return self.begin_anew(epoch, error);
        }
        info!("a transaction is taken back and done again: {error}");
        match patiently(|| self.producer.abort_transaction(STEP_TIMEOUT)) {
            Ok(()) => Outcome::Aborted { epoch },
            Err(cause) if is_fenced(&cause) || is_permanent(&cause) => Outcome::Failed(
                BrokerError::of_transaction(&self.id, "take a transaction back")(cause),
            ),
            Err(cause) => self.begin_anew(epoch, &cause),
        }
    }

    /// With a producer of its own id, which takes back what the one before left
    /// open. Should that have been committed after all, observations come twice,
    /// and the detector knows them.
    fn begin_anew(&mut self, epoch: u64, error: &KafkaError) -> Outcome {
        warn!("a new producer takes back what is open, and it is done again: {error}");
        let until = Instant::now() + AWAY_MAX;
        loop {
            match producer(&self.cluster, &self.id) {
                Ok(producer) => {
                    self.producer = producer;
                    return Outcome::Aborted { epoch };
                }
                Err(error)
                    if error.is_retryable() && !self.stop.is_asked() && Instant::now() < until =>
                {
                    info!("brokers are waited for: {error}");
                    std::thread::sleep(ABORT_PAUSE);
                }
                Err(error) => return Outcome::Failed(error),
            }
        }
    }

    fn transaction(
        &self,
        PendingTransaction { epoch, revocations, flushed }: PendingTransaction,
    ) -> Result<Vec<(PartKey, i64)>, KafkaError> {
        let mut list = TopicPartitionList::new();
        let mut offsets = Vec::new();
        for (part, position) in &flushed.moved {
            if let (Some(key), Position::Offset(offset)) = (part_key(part), position) {
                list.add_partition_offset(&key.0, key.1, Offset::Offset(*offset))?;
                offsets.push((key, *offset));
            }
        }
        self.producer.begin_transaction()?;
        point("collector began");
        for observation_batch in flushed.observation_batches {
            self.send_batch(&observation_batch)?;
        }
        for reject in &flushed.dead_letters {
            let value = serde_json::to_string(&WireDeadLetter::from(reject)).unwrap_or_default();
            let value = crate::output::escape::json(value);
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
    fn send_batch(&self, observation_batch: &ObservationBatch) -> Result<(), KafkaError> {
        // Taken from the end.
        let mut pieces: Vec<&[_]> =
            observation_batch.observations.rchunks(BATCH_OBSERVATIONS_MAX).collect();
        let mut traced = observation_batch.traced.chunks(BATCH_TRACED_MAX);
        let traced_left = traced.len().saturating_sub(pieces.len());
        pieces.splice(0..0, std::iter::repeat_n(&[][..], traced_left));
        if pieces.is_empty() {
            pieces.push(&[]);
        }
        while let Some(piece) = pieces.pop() {
            let of_piece = traced.next().unwrap_or_default();
            self.send_piece(observation_batch, piece, of_piece)?;
        }
        Ok(())
    }

    fn send_piece(
        &self,
        observation_batch: &ObservationBatch,
        piece: &[Observation],
        traced: &[Traced],
    ) -> Result<(), KafkaError> {
        let value = codec::encode(&ObservationBatch {
            part: observation_batch.part,
            arrival: observation_batch.arrival,
            observations: piece.to_vec(),
            traced: traced.to_vec(),
        });
        if value.len() > MESSAGE_BYTES_MAX && piece.len() > 1 {
            let (one, other) = piece.split_at(piece.len() / 2);
            self.send_piece(observation_batch, one, traced)?;
            return self.send_piece(observation_batch, other, &[]);
        }
        let record =
            BaseRecord::<[u8], [u8]>::to(&self.observations_topic).partition(0).payload(&value);
        send(&self.producer, record)
    }
}

fn is_fatal(error: &KafkaError) -> bool {
    matches!(error, KafkaError::Transaction(error) if error.is_fatal())
}

fn producer(cluster: &Cluster, id: &str) -> Result<ThreadedProducer<Reports>, BrokerError> {
    let mut settings = transactional(id);
    // A copy that was killed holds the observations up no longer than that.
    settings.retain(|(name, _)| !matches!(*name, "transaction.timeout.ms" | "message.timeout.ms"));
    settings.push(("transaction.timeout.ms", "12000".to_owned()));
    settings.push(("message.timeout.ms", "10000".to_owned()));
    settings.push(("socket.timeout.ms", "10000".to_owned()));
    let producer: ThreadedProducer<Reports> = cluster.client(&settings)?;
    producer
        .init_transactions(STEP_TIMEOUT)
        .map_err(BrokerError::of_transaction(id, "begin transactions with the brokers"))?;
    Ok(producer)
}

#[cfg(test)]
mod tests {
    use rdkafka::message::Message as _;
    use rdkafka::mocking::MockCluster;
    use rdkafka::types::{RDKafkaApiKey as Api, RDKafkaRespErr as Code};

    use super::*;
    use crate::brokers::Isolation;
    use crate::config::Config;
    use crate::detect::rules::Rules;
    use crate::output::format::Format;
    use crate::pipeline::decode::batcher::SharedRules;
    use crate::sink::kafka::KafkaSinkSpec;
    use crate::source::kafka::{KafkaSpec, Sharing};

    /// So many that there are several transactions.
    const EVENTS: u64 = 20_000;
    const PARTITIONS: u64 = 2;

    const PATIENCE: Duration = Duration::from_secs(60);

    /// The client asks again by itself.
    const RETRIED: [Code; 1] = [Code::RD_KAFKA_RESP_ERR_NOT_COORDINATOR];

    /// Record ids, and how often each came: mock brokers show what was taken back too.
    type Records = BTreeMap<u64, u32>;

    fn event(number: u64) -> String {
        format!(
            "{{\"@timestamp\":\"2026-09-21T10:{:02}:{:02}.000Z\",\"winlog\":{{\"channel\":\"Security\",\
             \"computer_name\":\"PC\",\"event_id\":\"4625\",\"record_id\":{number},\
             \"provider_name\":\"Microsoft-Windows-Security-Auditing\",\"event_data\":{{\
             \"TargetUserName\":\"ann\",\"Status\":\"0xc000006a\",\"LogonType\":\"3\"}}}}}}",
            number / 60 % 60,
            number % 60
        )
    }

    /// Collects all events from brokers that answer one request of a kind, behind
    /// `passed` that they do not, with an error; the record ids that came out.
    fn collected(api: Api, passed: usize, error: Code) -> Result<Records, TopicLinkError> {
        let mock = MockCluster::new(1).unwrap();
        for (topic, partitions) in [("events", PARTITIONS as i32), ("observations", 1)] {
            mock.create_topic(topic, partitions, 1).unwrap();
        }
        let cluster = Cluster {
            brokers: mock.bootstrap_servers(),
            options: BTreeMap::new(),
            oauth_token_file: None,
        };
        let sender: ThreadedProducer<Reports> = cluster.client(&Vec::new()).unwrap();
        for number in 0..EVENTS {
            let (value, partition) = (event(number), (number % PARTITIONS) as i32);
            let record = BaseRecord::<[u8], str>::to("events").partition(partition);
            send(&sender, record.payload(&value)).unwrap();
        }
        sender.flush(STEP_TIMEOUT).unwrap();
        let mut errors = vec![Code::RD_KAFKA_RESP_ERR_NO_ERROR; passed];
        errors.push(error);
        mock.request_errors(api, &errors);

        let name = |name: &str| name.to_owned();
        let spec = TopicLinkSpec {
            input: KafkaSpec {
                cluster: cluster.clone(),
                topics: vec![name("events")],
                group: name("group"),
                instance: None,
                sharing: Sharing::Shared,
                // Mock brokers keep no offsets of transactions.
                until: Until::Stopped,
            },
            observations_topic: name("observations"),
            sink: KafkaSinkSpec {
                cluster: cluster.clone(),
                topic: name("incidents"),
                format: Format::Native,
                dead_letter_topic: name("dead-letters"),
                changelog_topic: name("changelog"),
                transactional_id: name("detector"),
            },
            collector_id: name("collector"),
            interval: Duration::from_millis(20),
        };
        let config = Config::embedded();
        let rules = SharedRules::new(Arc::new(Rules::new(&config.rules, &config.fact_rules)));
        let source = KafkaSource::new(spec.input.clone())?;
        let batcher = Batcher::new(&rules, spec.interval, "group");
        let (stop, done, counters) = (Stop::default(), AtomicBool::new(false), Counters::new());
        std::thread::scope(|scope| {
            let ended = scope.spawn(|| {
                let outcome = collect(&spec, source, batcher, &stop, &done, &counters);
                stop.ask();
                outcome
            });
            let records = observed(&cluster, &stop);
            stop.ask();
            ended.join().unwrap().map(|()| records)
        })
    }

    /// The record ids of the observations, until all are there or `stop` is asked.
    fn observed(cluster: &Cluster, stop: &Stop) -> Records {
        let inspector = cluster.inspector(Isolation::Uncommitted).unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition_offset("observations", 0, Offset::Beginning).unwrap();
        inspector.assign(&list).unwrap();
        let (mut records, start) = (Records::new(), Instant::now());
        while (records.len() as u64) < EVENTS && !stop.is_asked() && start.elapsed() < PATIENCE {
            let Some(Ok(message)) = inspector.poll(WAIT_MAX) else { continue };
            let observation_batch: ObservationBatch =
                codec::decode(message.payload().unwrap()).unwrap();
            for observation in &observation_batch.observations {
                *records.entry(observation.key.record_id).or_default() += 1;
            }
        }
        records
    }

    #[track_caller]
    fn check_all_collected(faults: &[(Api, Code)]) {
        std::thread::scope(|scope| {
            for (api, error) in faults {
                for passed in [0, 2] {
                    scope.spawn(move || {
                        let case = format!("{error:?} for {api:?} behind {passed}");
                        let records = collected(*api, passed, *error);
                        let records = records.unwrap_or_else(|cause| panic!("{case}: {cause}"));
                        let all = (0..EVENTS).eq(records.keys().copied());
                        assert!(all, "{case}: {} records", records.len());
                        // All of it was delivered when its transaction failed.
                        if *api == Api::EndTxn && !RETRIED.contains(error) {
                            assert!(records.values().any(|times| *times > 1), "{case}");
                        }
                    });
                }
            }
        });
    }

    #[test]
    fn what_brokers_refuse_for_a_while_is_asked_again() {
        check_all_collected(&[
            (Api::AddPartitionsToTxn, Code::RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS),
            (Api::Produce, Code::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION),
            (Api::AddOffsetsToTxn, Code::RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE),
            (Api::EndTxn, Code::RD_KAFKA_RESP_ERR_NOT_COORDINATOR),
        ]);
    }

    #[test]
    fn a_transaction_that_has_to_be_taken_back_is_done_again() {
        check_all_collected(&[
            (Api::AddPartitionsToTxn, Code::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART),
            (Api::Produce, Code::RD_KAFKA_RESP_ERR_UNKNOWN_PRODUCER_ID),
            (Api::TxnOffsetCommit, Code::RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION),
            (Api::EndTxn, Code::RD_KAFKA_RESP_ERR_INVALID_PRODUCER_ID_MAPPING),
        ]);
    }

    #[test]
    fn a_producer_that_is_beyond_saving_is_replaced() {
        check_all_collected(&[
            (Api::AddPartitionsToTxn, Code::RD_KAFKA_RESP_ERR_INVALID_TXN_STATE),
            (Api::AddOffsetsToTxn, Code::RD_KAFKA_RESP_ERR_INVALID_TXN_STATE),
            (Api::EndTxn, Code::RD_KAFKA_RESP_ERR_INVALID_TXN_STATE),
        ]);
    }

    #[test]
    fn what_would_be_refused_again_ends_it() {
        let error = |api, code| collected(api, 1, code).unwrap_err().to_string();
        let fenced = error(Api::EndTxn, Code::RD_KAFKA_RESP_ERR_PRODUCER_FENCED);
        assert!(fenced.contains("another copy took over (`collector`)"), "{fenced}");
        let refused =
            error(Api::TxnOffsetCommit, Code::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED);
        assert!(refused.contains("cannot commit observations"), "{refused}");
    }
}

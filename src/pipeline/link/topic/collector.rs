//! What each copy does with its partitions of the input: decode, apply the rules,
//! and commit observations with the offsets behind them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;

use super::transaction::{Committer, Outcome, PendingTransaction, STEP_TIMEOUT};
use super::{DONE_POLL, TopicLinkError, TopicLinkSpec};
use crate::brokers::{CONNECT_TRY, committed};
use crate::pipeline::decode::lanes::{Lanes, WorkerPool};
use crate::pipeline::decode::reader::{Polled, Reader};
use crate::pipeline::link::channel::Reading;
use crate::pipeline::spawn;
use crate::position::Position;
use crate::source::kafka::{KafkaSource, PartKey, Until};

/// How long a collector waits for events, and for a commit when it may read no
/// more.
const WAIT_MAX: Duration = Duration::from_millis(100);
const COMMIT_WAIT: Duration = Duration::from_millis(5);
const FULL_WAIT: Duration = Duration::from_millis(20);

/// How often a collector shows that its partitions are there though silent.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(5);

/// Reads the input's partitions of this copy until it is stopped or, with
/// [`Until::End`], until all copies together have read everything.
pub(super) fn collect(
    spec: &TopicLinkSpec,
    source: KafkaSource,
    pool: WorkerPool,
    reading: Reading<'_>,
    inputs_done: &AtomicBool,
) -> Result<(), TopicLinkError> {
    let epoch = AtomicU64::new(0);
    let (pending, taken) = sync_channel::<PendingTransaction>(1);
    let (report, outcomes) = sync_channel::<Outcome>(4);
    let consumer = source.consumer();
    let lanes = Lanes::on(&pool);
    drop(pool);
    let mut reader = reading.reader(&spec.input.group, Box::new(source), lanes);
    std::thread::scope(|scope| {
        // Reading begins meanwhile.
        spawn(scope, "commit", {
            let epoch = &epoch;
            move || match Committer::new(spec, consumer, epoch, reading.stop) {
                Ok(mut committer) => committer.run(&taken, &report),
                Err(error) => drop(report.send(Outcome::Failed(error))),
            }
        });
        let collector = Collector {
            reader: &mut reader,
            pending,
            outcomes,
            epoch: &epoch,
            revocations: 0,
            in_flight: 0,
            safe: BTreeMap::new(),
            last_heartbeat: Instant::now(),
            done_check: Instant::now(),
        };
        collector.run(&reading, inputs_done)
    })?;
    reader.source().leave();
    Ok(())
}

struct Collector<'c, 'r> {
    reader: &'c mut Reader<'r, KafkaSource>,
    pending: SyncSender<PendingTransaction>,
    outcomes: Receiver<Outcome>,
    epoch: &'c AtomicU64,
    revocations: u64,
    /// Transactions that were handed to the committer.
    in_flight: usize,
    /// Behind what was committed: where to go back to.
    safe: BTreeMap<PartKey, i64>,
    last_heartbeat: Instant,
    done_check: Instant,
}

impl Collector<'_, '_> {
    fn run(
        mut self,
        reading: &Reading<'_>,
        inputs_done: &AtomicBool,
    ) -> Result<(), TopicLinkError> {
        let until_end = self.reader.source().until() == Until::End;
        while !reading.stop.is_asked() {
            if self.reader.is_full() && self.in_flight > 0 {
                self.settle(Some(FULL_WAIT))?;
                continue;
            }
            let polled = self.poll()?;
            let caught_up = polled == Polled::Nothing { caught_up: true };
            if caught_up && self.last_heartbeat.elapsed() >= HEARTBEAT_EVERY {
                self.last_heartbeat = Instant::now();
                let partitions: Vec<Arc<str>> = self.reader.source().parts().cloned().collect();
                self.reader.batcher().heartbeat(partitions.iter());
            }
            self.settle(None)?;
            // At the end nothing more is worth waiting for.
            let is_due = self.reader.is_due() || until_end && caught_up;
            if is_due && self.in_flight == 0 {
                self.hand_over()?;
            }
            if until_end && self.is_done()? {
                inputs_done.store(true, Ordering::SeqCst);
                break;
            }
        }
        // What is whole is committed; the rest is read again.
        self.settle_all()?;
        self.hand_over()?;
        self.settle_all()
    }

    fn poll(&mut self) -> Result<Polled, TopicLinkError> {
        // What is committed meanwhile may be all there is to wait for.
        let wait = if self.in_flight > 0 { COMMIT_WAIT } else { WAIT_MAX };
        let polled = self.reader.poll(wait)?;
        if polled == Polled::Rewound {
            self.forget();
        }
        Ok(polled)
    }

    fn settle_all(&mut self) -> Result<(), TopicLinkError> {
        // Also with nothing in flight: a committer that could not begin says why.
        self.settle(None)?;
        let until = Instant::now() + STEP_TIMEOUT * 3;
        while self.in_flight > 0 {
            if Instant::now() > until {
                return Err(TopicLinkError::InDoubt);
            }
            self.settle(Some(WAIT_MAX))?;
        }
        Ok(())
    }

    /// What was not committed belongs to others, or comes again.
    fn forget(&mut self) {
        self.revocations = self.reader.source().consumer().context().revocations();
        self.epoch.fetch_add(1, Ordering::SeqCst);
        self.safe.clear();
    }

    fn hand_over(&mut self) -> Result<(), TopicLinkError> {
        let flushed = self.reader.flush()?;
        if flushed.is_empty() {
            return Ok(());
        }
        let epoch = self.epoch.load(Ordering::SeqCst);
        let pending = PendingTransaction { epoch, revocations: self.revocations, flushed };
        if self.pending.send(pending).is_ok() {
            self.in_flight += 1;
        }
        Ok(())
    }

    /// Takes note of what was committed, waiting for it if asked to.
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
                Err(TryRecvError::Disconnected) => return Err(TopicLinkError::InDoubt),
            };
            match outcome {
                Outcome::Failed(error) => return Err(error.into()),
                Outcome::Committed { epoch, offsets } => {
                    self.in_flight -= 1;
                    if epoch == self.epoch.load(Ordering::SeqCst) {
                        self.committed(offsets)?;
                    }
                }
                Outcome::Aborted { epoch } => {
                    self.in_flight -= 1;
                    if epoch == self.epoch.load(Ordering::SeqCst) {
                        self.go_back()?;
                    }
                }
            }
            if wait.is_some() {
                return Ok(());
            }
        }
    }

    /// Reads again what was not committed.
    fn go_back(&mut self) -> Result<(), TopicLinkError> {
        self.epoch.fetch_add(1, Ordering::SeqCst);
        self.reader.discard();
        // Before anything of a partition was committed, its first message is where to go back to.
        let mut back: BTreeMap<PartKey, i64> = self.reader.source().firsts().collect();
        back.extend(self.safe.iter().map(|(key, at)| (key.clone(), *at)));
        let back: Vec<(PartKey, i64)> = back.into_iter().collect();
        Ok(self.reader.source().rewind(&back)?)
    }

    fn committed(&mut self, offsets: Vec<(PartKey, i64)>) -> Result<(), TopicLinkError> {
        let position = |((topic, partition), offset): &(PartKey, i64)| {
            (format!("{topic}/{partition}").into(), Position::Offset(*offset))
        };
        let positions = offsets.iter().map(position).collect();
        self.safe.extend(offsets);
        Ok(self.reader.committed(&positions)?)
    }

    /// Whether the group has read every partition to the end it had.
    fn is_done(&mut self) -> Result<bool, TopicLinkError> {
        let source = self.reader.source();
        let ends = source.ends();
        let reached = |(key, end): (&PartKey, &i64)| self.safe.get(key) >= Some(end);
        if self.in_flight == 0 && ends.iter().all(reached) {
            return Ok(true);
        }
        if self.done_check.elapsed() < DONE_POLL {
            return Ok(false);
        }
        self.done_check = Instant::now();
        let parts: Vec<PartKey> = ends.keys().cloned().collect();
        // Brokers that do not answer now may later.
        let Ok(positions) = committed(source.consumer(), &parts, CONNECT_TRY) else {
            return Ok(false);
        };
        Ok(positions.iter().zip(ends.values()).all(|((at, _), end)| *at >= Some(*end)))
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::message::Message as _;
    use rdkafka::mocking::MockCluster;
    use rdkafka::types::{RDKafkaApiKey as Api, RDKafkaRespErr as Code};

    use super::*;
    use crate::brokers::{Cluster, Isolation, Reports};
    use crate::config::Config;
    use crate::detect::rules::Rules;
    use crate::output::format::Format;
    use crate::pipeline::Stop;
    use crate::pipeline::counters::{Counters, Inputs};
    use crate::pipeline::decode::SharedRules;
    use crate::pipeline::decode::batcher::Linger;
    use crate::pipeline::rejects::{KeepBytes, OnDamage, RejectLog};
    use crate::position::Start;
    use crate::sink::kafka::KafkaSinkSpec;
    use crate::sink::kafka::send;
    use crate::source::kafka::{KafkaSpec, Sharing};
    use crate::store::checkpoint::ObservationBatch;
    use crate::store::codec;
    use rdkafka::consumer::Consumer;
    use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
    use rdkafka::{Offset, TopicPartitionList};

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
                start: Start::Earliest,
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
        };
        let config = Config::embedded();
        let rules = SharedRules::new(Rules::new(&config.rules, &config.fact_rules));
        let source = KafkaSource::new(spec.input.clone())?;
        let (stop, done) = (Stop::default(), AtomicBool::new(false));
        let (counters, rejects) =
            (Counters::new(Inputs::default()), RejectLog::new(OnDamage::Skip));
        let reading = Reading {
            rules: &rules,
            rejects: &rejects,
            counters: &counters,
            stop: &stop,
            keep_bytes: KeepBytes::Yes,
            linger: Linger::For(Duration::from_millis(20)),
        };
        std::thread::scope(|scope| {
            let pool = WorkerPool::start(scope, &rules, KeepBytes::Yes, 2);
            let ended = scope.spawn(|| {
                let outcome = collect(&spec, source, pool, reading, &done);
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

//! Commits observations together with the offsets behind them, in one transaction after the other.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::Duration;

use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};
use tracing::{info, warn};

use super::TopicLinkSpec;
use crate::brokers::{
    BrokerError, Cluster, Detached, Reports, SharedConsumer, is_fenced, is_permanent,
};
use crate::faults::point;
use crate::observation::Observation;
use crate::output::wire::WireDeadLetter;
use crate::pipeline::Stop;
use crate::pipeline::decode::batcher::Flushed;
use crate::position::Position;
use crate::retry::Retry;
use crate::sink::kafka::{drain, repeat_step, send, transactional};
use crate::source::kafka::PartKey;
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
pub(super) const STEP_TIMEOUT: Duration = Duration::from_secs(30);

/// After transactions that were aborted one after the other comes a pause
/// that grows by this.
const ABORT_PAUSE: Duration = Duration::from_millis(100);
const ABORT_PAUSES_MAX: u32 = 20;

/// Brokers with which no transaction can be begun are waited for so long.
const AWAY_MAX: Duration = Duration::from_secs(600);

/// What is to be committed while reading goes on.
pub(super) struct PendingTransaction {
    pub epoch: u64,
    /// Of the partitions, when it was flushed.
    pub revocations: u64,
    pub flushed: Flushed,
}

/// What became of it.
pub(super) enum Outcome {
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

/// `topic/partition` as it stands in positions.
pub(super) fn part_key(part: &str) -> Option<PartKey> {
    let (topic, partition) = part.rsplit_once('/')?;
    Some((topic.to_owned(), partition.parse().ok()?))
}

/// Commits one transaction after the other.
pub(super) struct Committer<'c> {
    cluster: Cluster,
    producer: Detached<ThreadedProducer<Reports>>,
    consumer: SharedConsumer,
    epoch: &'c AtomicU64,
    stop: &'c Stop,
    id: String,
    observations_topic: String,
    dead_letter_topic: String,
}

impl<'c> Committer<'c> {
    pub(super) fn new(
        spec: &TopicLinkSpec,
        consumer: SharedConsumer,
        epoch: &'c AtomicU64,
        stop: &'c Stop,
    ) -> Result<Committer<'c>, BrokerError> {
        let (cluster, id) = (spec.sink.cluster.clone(), spec.collector_id.clone());
        Ok(Committer {
            producer: producer(&cluster, &id)?,
            cluster,
            consumer,
            epoch,
            stop,
            id,
            observations_topic: spec.observations_topic.clone(),
            dead_letter_topic: spec.sink.dead_letter_topic.clone(),
        })
    }

    pub(super) fn run(
        &mut self,
        orders: &Receiver<PendingTransaction>,
        report: &SyncSender<Outcome>,
    ) {
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
            if report.send(outcome).is_err() {
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
        info!("a transaction was aborted and is retried: {error}");
        match repeat_step(|| self.producer.abort_transaction(STEP_TIMEOUT)) {
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
        warn!("a new producer aborts what was left open, and the transaction is retried: {error}");
        let stop = self.stop;
        let is_retryable = |error: &BrokerError| error.is_retryable() && !stop.is_asked();
        let begun = Retry::for_at_most(AWAY_MAX, ABORT_PAUSE).run(is_retryable, || {
            let begun = producer(&self.cluster, &self.id);
            begun.inspect_err(|error| info!("waiting for the brokers: {error}"))
        });
        match begun {
            Ok(producer) => {
                self.producer = producer;
                Outcome::Aborted { epoch }
            }
            Err(error) => Outcome::Failed(error),
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
            repeat_step(|| {
                self.producer.send_offsets_to_transaction(&list, &membership, STEP_TIMEOUT)
            })?;
        }
        point("collector sent offsets");
        drain(&self.producer);
        repeat_step(|| self.producer.commit_transaction(STEP_TIMEOUT))?;
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
        // As an `ObservationBatch` of this piece is encoded.
        let ObservationBatch { part, arrival, is_current, unwanted, .. } = observation_batch;
        let value = codec::encode(&(part, arrival, is_current, unwanted, piece, traced));
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

fn producer(
    cluster: &Cluster,
    id: &str,
) -> Result<Detached<ThreadedProducer<Reports>>, BrokerError> {
    let mut settings = transactional(id);
    // A copy that was killed holds the observations up no longer than that.
    settings.retain(|(name, _)| !matches!(*name, "transaction.timeout.ms" | "message.timeout.ms"));
    settings.push(("transaction.timeout.ms", "12000".to_owned()));
    settings.push(("message.timeout.ms", "10000".to_owned()));
    settings.push(("socket.timeout.ms", "10000".to_owned()));
    let producer: Detached<ThreadedProducer<Reports>> = Detached::new(cluster.client(&settings)?);
    producer
        .init_transactions(STEP_TIMEOUT)
        .map_err(BrokerError::of_transaction(id, "begin transactions with the brokers"))?;
    Ok(producer)
}

//! What the one copy does that the group gives the observations to: correlate, emit,
//! and keep the state.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::{Offset, TopicPartitionList};
use tracing::{info, warn};

use super::{TopicLinkError, TopicLinkSpec};
use crate::brokers::{
    BrokerError, CONNECT_TRY, Cluster, Inspector, Isolation, Reports, SharedConsumer, committed,
    end_of_records, ends,
};
use crate::detect::watermark::CaughtUp;
use crate::observation::ListedHost;
use crate::pipeline::correlate::{CommitProgress, Correlator};
use crate::pipeline::counters::Counters;
use crate::pipeline::decode::batcher::Flushed;
use crate::pipeline::link::channel::Reading;
use crate::pipeline::restore::CorrelatorSpec;
use crate::position::{Position, Start};
use crate::retry::Retry;
use crate::sink::kafka::KafkaSink;
use crate::source::kafka::{KafkaSource, KafkaSpec, Pause, Sharing, Until};
use crate::source::{Batch, Content, Next, Source};
use crate::store::codec;

/// How long the observations are waited for at once.
const POLL: Duration = Duration::from_millis(5);

/// Collectors show that they are there every few seconds. Time does not go on by itself when none
/// did for so long.
const COLLECTORS_SILENT_MAX: Duration = Duration::from_secs(20);

/// Taking over is tried so often, after such a pause.
const TRIES_MAX: u32 = 20;
const TRY_PAUSE: Duration = Duration::from_secs(1);

/// How often it is asked where the observations end, once all inputs are read.
const END_POLL: Duration = Duration::from_millis(20);

/// Stands with the detector's offset once everything up to that end of the
/// observations was closed.
fn closed_note(end: i64) -> String {
    format!("closed at {end}")
}

/// Correlates while the group gives this copy the observations, until it is stopped or, where
/// inputs have an end, everything up to it was closed by this copy or another.
pub(super) fn detect(
    spec: &TopicLinkSpec,
    correlator_spec: &CorrelatorSpec,
    reading: &Reading<'_>,
    inputs_done: &AtomicBool,
    mut reload: impl FnMut() -> Option<Vec<ListedHost>>,
) -> Result<(), TopicLinkError> {
    let source = KafkaSource::new(KafkaSpec {
        cluster: spec.sink.cluster.clone(),
        topics: vec![spec.observations_topic.clone()],
        group: spec.detector_group(),
        instance: spec.input.instance.clone(),
        sharing: Sharing::Shared,
        start: Start::Earliest,
        until: Until::Stopped,
    })?;
    let mut copy = Copy {
        spec,
        correlator_spec: correlator_spec.clone(),
        counters: reading.counters,
        inspector: spec.sink.cluster.connect()?,
        uncommitted: spec.sink.cluster.inspector(Isolation::Uncommitted)?,
        source,
        correlator: None,
        paused: false,
        heard_at: Instant::now(),
        take_over: None,
        end: None,
        end_check: Instant::now(),
    };
    let until_end = spec.input.until == Until::End;
    let mut closed = false;
    while !reading.stop.is_asked() && !closed {
        reading.counters.alive();
        let caught_up = copy.read()?;
        if let Some(inventory) = reload() {
            copy.learn_inventory(inventory);
        }
        copy.take_over_if_due()?;
        copy.commit(caught_up)?;
        if until_end && inputs_done.load(Ordering::SeqCst) {
            closed = copy.close_at_end()?;
        }
    }
    copy.stop(closed)
}

/// This copy's part in the detector.
struct Copy<'c> {
    spec: &'c TopicLinkSpec,
    correlator_spec: CorrelatorSpec,
    counters: &'c Counters,
    inspector: Inspector,
    uncommitted: Inspector,
    source: KafkaSource,
    /// While the group gives this copy the observations.
    correlator: Option<Correlator>,
    /// Whether the observations are not read, as a commit is in doubt.
    paused: bool,
    /// When something last came from any collector.
    heard_at: Instant,
    /// When the detector is taken over.
    take_over: Option<(Retry, Instant)>,
    /// Where the observations end that belong to the inputs.
    end: Option<i64>,
    end_check: Instant,
}

impl Copy<'_> {
    fn topic(&self) -> &str {
        &self.spec.observations_topic
    }

    /// Takes in what comes next of the observations; whether all there are were.
    fn read(&mut self) -> Result<CaughtUp, TopicLinkError> {
        match self.source.next(POLL)? {
            Next::Rewound => {
                self.rebalanced();
                // Also while a commit is in doubt: the group decides who correlates.
                self.paused = false;
                let retry = || Retry::backing_off(TRY_PAUSE, TRY_PAUSE, TRIES_MAX);
                self.take_over = self.source.parts().next().map(|_| (retry(), Instant::now()));
            }
            // Without a correlator it is read again, once there is one.
            Next::Batch(batch) => {
                self.heard_at = Instant::now();
                if let Some(correlator) = &mut self.correlator {
                    correlator.take(&self.spec.observations_topic, flushed(batch)?);
                }
            }
            // Collectors that are heard of no more may have read what is not here yet.
            Next::Idle if self.heard_at.elapsed() < COLLECTORS_SILENT_MAX => {
                return Ok(CaughtUp::Yes);
            }
            Next::Idle => {}
            Next::Waiting | Next::End | Next::Skipped(_) => {}
        }
        Ok(CaughtUp::No)
    }

    /// Drops the detector, which is another copy's now or is restored again. Only when the group has
    /// given the observations out is it known which: a copy that lost its brokers is no standby.
    fn rebalanced(&mut self) {
        let was_active = self.correlator.take().is_some();
        if self.source.is_assigned() && self.source.parts().next().is_none() {
            info!("standby: another copy correlates");
        } else if was_active && !self.source.is_assigned() {
            info!(
                "paused: the consumer group has taken this copy's partitions back and assigns them anew"
            );
        }
    }

    fn learn_inventory(&mut self, inventory: Vec<ListedHost>) {
        self.correlator_spec.inventory.clone_from(&inventory);
        if let Some(correlator) = &mut self.correlator {
            correlator.learn_inventory(inventory);
        }
    }

    fn take_over_if_due(&mut self) -> Result<(), TopicLinkError> {
        let Some((mut retry, _)) = self.take_over.take_if(|(_, at)| *at <= Instant::now()) else {
            return Ok(());
        };
        match self.take_over() {
            Ok(taken) => self.correlator = Some(taken),
            Err(error) => {
                let pause = retry.next_pause().filter(|_| error.is_retryable());
                let Some(pause) = pause else { return Err(error) };
                warn!("{error}; taking over is tried again");
                self.take_over = Some((retry, Instant::now() + pause));
            }
        }
        Ok(())
    }

    /// Takes the detector over: ends what the copy before left open, restores its
    /// state, and continues where that ends.
    fn take_over(&mut self) -> Result<Correlator, TopicLinkError> {
        let start = Instant::now();
        let sink = KafkaSink::new(self.spec.sink.clone())?;
        let correlator = Correlator::open(&self.correlator_spec, Box::new(sink), self.counters)?;
        self.counters.alive();
        let topic = self.topic().to_owned();
        let (first, _) = ends(&self.inspector, &topic, 0)?;
        let part: Arc<str> = format!("{topic}/0").into();
        let position = match correlator.positions().of(&topic).get(&part) {
            Some(Position::Offset(offset)) if *offset < first => {
                return Err(TopicLinkError::Lost { topic, position: *offset, first });
            }
            Some(Position::Offset(offset)) => *offset,
            _ => first,
        };
        self.counters.alive();
        self.source.rewind(&[((topic, 0), position)])?;
        self.counters.alive();
        info!(
            seconds = start.elapsed().as_secs_f32(),
            offset = position,
            "active: this copy correlates"
        );
        Ok(correlator)
    }

    /// Commits if it is time to. While a commit is in doubt nothing more is read, but the group
    /// is still answered.
    fn commit(&mut self, caught_up: CaughtUp) -> Result<(), TopicLinkError> {
        let topic = self.spec.observations_topic.as_str();
        let Some(correlator) = &mut self.correlator else { return Ok(()) };
        let progress = correlator.maybe_commit(caught_up, self.counters)?;
        let in_doubt = progress == CommitProgress::InDoubt;
        if in_doubt != self.paused {
            self.source.pause(if in_doubt { Pause::Begin } else { Pause::End })?;
            self.paused = in_doubt;
        }
        if matches!(progress, CommitProgress::Committed | CommitProgress::Snapshotted) {
            show_offset(self.source.consumer(), topic, correlator, "");
        }
        if progress == CommitProgress::Snapshotted {
            delete_observations(&self.spec.sink.cluster, topic, correlator);
        }
        Ok(())
    }

    /// Once all inputs are read: closes everything when all observations are taken in; whether
    /// that is done, by this copy or another.
    fn close_at_end(&mut self) -> Result<bool, TopicLinkError> {
        if self.end_check.elapsed() < END_POLL {
            return Ok(false);
        }
        self.end_check = Instant::now();
        let Some(end) = self.end else {
            self.end = self.find_end()?;
            return Ok(false);
        };
        let topic = self.topic().to_owned();
        match &mut self.correlator {
            Some(correlator) if correlated_to(correlator, &topic) >= end => {
                correlator.finish(self.counters)?;
                show_offset(self.source.consumer(), &topic, correlator, &closed_note(end));
                Ok(true)
            }
            Some(_) => Ok(false),
            None => {
                // Brokers that do not answer now may later.
                let position = committed(self.source.consumer(), &[(topic, 0)], CONNECT_TRY);
                let closed = |(_, note): &(Option<i64>, String)| *note == closed_note(end);
                Ok(position.is_ok_and(|position| position.iter().any(closed)))
            }
        }
    }

    /// Where the observations end. As long as a transaction is open, what comes behind it is not
    /// seen, committed or not: one that a dead copy left. `None` until it is over.
    fn find_end(&self) -> Result<Option<i64>, TopicLinkError> {
        let topic = self.topic();
        let (stable, all) = (ends(&self.inspector, topic, 0)?, ends(&self.uncommitted, topic, 0)?);
        if stable != all {
            return Ok(None);
        }
        let records = match stable.0 == stable.1 {
            true => None,
            false => end_of_records(&self.inspector, topic, 0, stable)?,
        };
        Ok(Some(records.unwrap_or(0)))
    }

    /// Commits what was taken in, and leaves the group.
    fn stop(&mut self, closed: bool) -> Result<(), TopicLinkError> {
        if let Some(correlator) = &mut self.correlator {
            let note = self.end.filter(|_| closed).map(closed_note).unwrap_or_default();
            if correlator.stop(self.counters)? != CommitProgress::Idle {
                let topic = &self.spec.observations_topic;
                show_offset(self.source.consumer(), topic, correlator, &note);
            }
        }
        self.source.leave();
        Ok(())
    }
}

/// What collectors have flushed.
fn flushed(batch: Batch) -> Result<Flushed, TopicLinkError> {
    let mut flushed = Flushed { moved: batch.moved, ..Flushed::default() };
    if let Content::Messages(messages) = &batch.content {
        for (_, value) in messages.iter() {
            flushed.observation_batches.push(codec::decode(value)?);
        }
    }
    Ok(flushed)
}

/// Where the detector continues in the observations.
fn correlated_to(correlator: &Correlator, topic: &str) -> i64 {
    match correlator.position(topic, &format!("{topic}/0")) {
        Some(Position::Offset(offset)) => offset,
        _ => 0,
    }
}

/// Shows how far the detector is. Its position itself is in the changelog.
fn show_offset(consumer: SharedConsumer, topic: &str, correlator: &Correlator, note: &str) {
    let offset = correlated_to(correlator, topic);
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
fn delete_observations(cluster: &Cluster, topic: &str, correlator: &Correlator) {
    let part: Arc<str> = format!("{topic}/0").into();
    let Some(Position::Offset(offset)) = correlator.positions().of(topic).get(&part).cloned()
    else {
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

//! What the one copy does that the group gives the observations to: judge, tell,
//! and keep the state.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::{Offset, TopicPartitionList};
use tracing::{info, warn};

use super::{DONE_POLL, TopicLinkError, TopicLinkSpec};
use crate::brokers::{
    BrokerError, Cluster, Isolation, Reports, SharedConsumer, committed, end_of_records, ends,
};
use crate::detect::watermark::CaughtUp;
use crate::observation::ListedHost;
use crate::pipeline::correlate::{CommitProgress, Correlator, CorrelatorSpec};
use crate::pipeline::decode::batcher::Flushed;
use crate::pipeline::{Counters, Stop};
use crate::position::Position;
use crate::sink::kafka::KafkaSink;
use crate::source::kafka::{KafkaSource, KafkaSpec, Sharing, Until};
use crate::source::{Content, Next, Source};
use crate::store::codec;

/// Commits of the detector that may fail one after the other, and the pause
/// before each next one.
const FAILURES_MAX: u32 = 20;
const FAILURE_PAUSE: Duration = Duration::from_secs(1);

/// Stands with the detector's offset once everything up to that end of the
/// observations was closed.
fn closed_note(end: i64) -> String {
    format!("closed at {end}")
}

/// Judges while the group gives this copy the observations.
pub fn detect(
    spec: &TopicLinkSpec,
    correlator_spec: &CorrelatorSpec,
    stop: &Stop,
    inputs_done: &AtomicBool,
    counters: &Counters,
    mut reload: impl FnMut() -> Option<Vec<ListedHost>>,
) -> Result<(), TopicLinkError> {
    let mut correlator_spec = correlator_spec.clone();
    let mut source = KafkaSource::new(KafkaSpec {
        cluster: spec.sink.cluster.clone(),
        topics: vec![spec.observations_topic.clone()],
        group: spec.detector_group(),
        instance: spec.input.instance.clone(),
        sharing: Sharing::Shared,
        until: Until::Stopped,
    })?;
    let inspector = spec.sink.cluster.connect()?;
    let uncommitted = spec.sink.cluster.inspector(Isolation::Uncommitted)?;
    let until_end = spec.input.until == Until::End;
    let mut correlator: Option<Correlator> = None;
    let mut done_check = Instant::now();
    let mut failed: Option<Failed> = None;
    let mut take_over_at: Option<Instant> = None;
    let topic = spec.observations_topic.as_str();
    // Where the observations end that belong to the inputs.
    let mut end: Option<i64> = None;
    while !stop.is_asked() {
        counters.alive();
        let next = source.next(Duration::from_millis(5))?;
        let caught_up = matches!(next, Next::Idle);
        match next {
            Next::Rewound => {
                if correlator.take().is_some() {
                    info!("another copy judges from here on");
                }
                // Also when commits failed before: the group decides who judges.
                failed = None;
                take_over_at = source.parts().next().map(|_| Instant::now());
            }
            // Without a judge it is handed out again, once there is one.
            Next::Batch(batch) => {
                if let (Some(correlator), Content::Messages { bytes, messages, .. }) =
                    (&mut correlator, &batch.content)
                {
                    let mut flushed = Flushed { moved: batch.moved, ..Flushed::default() };
                    for message in messages {
                        let observation_batch = codec::decode(&bytes[message.start..message.end])?;
                        flushed.observation_batches.push(observation_batch);
                    }
                    correlator.take(topic, flushed);
                }
            }
            Next::Idle | Next::Waiting | Next::End | Next::Skipped(_) => {}
        }
        if let Some(inventory) = reload() {
            correlator_spec.inventory.clone_from(&inventory);
            if let Some(correlator) = &mut correlator {
                correlator.learn_inventory(inventory);
            }
        }
        if take_over_at.take_if(|at| *at <= Instant::now()).is_some() {
            match take_over(spec, &correlator_spec, &mut source, &inspector, counters) {
                Ok(taken) => correlator = Some(taken),
                Err(error) => {
                    failed = Some(Failed::of(error, None, failed)?);
                    take_over_at = Some(Instant::now() + FAILURE_PAUSE);
                }
            }
        }
        if let Some(mut of_now) = correlator.take() {
            let caught_up = if caught_up { CaughtUp::Yes } else { CaughtUp::No };
            match of_now.maybe_commit(caught_up, counters) {
                Ok(progress) => {
                    if progress != CommitProgress::Idle {
                        let position = judged_to(&of_now, topic);
                        failed.take_if(|failed| failed.position <= Some(position));
                        show_offset(source.consumer(), topic, &of_now, "");
                    }
                    if progress == CommitProgress::Snapshotted {
                        forget_observations(&spec.sink.cluster, topic, &of_now);
                    }
                    correlator = Some(of_now);
                }
                Err(error) => {
                    let position = judged_to(&of_now, topic);
                    failed = Some(Failed::of(error.into(), Some(position), failed)?);
                    take_over_at = Some(Instant::now() + FAILURE_PAUSE);
                }
            }
        }
        if until_end && inputs_done.load(Ordering::SeqCst) && done_check.elapsed() >= DONE_POLL {
            done_check = Instant::now();
            let Some(end) = end else {
                // As long as a transaction is open, what comes behind it is not
                // seen, committed or not: one that a dead copy left.
                let (stable, all) = (ends(&inspector, topic, 0)?, ends(&uncommitted, topic, 0)?);
                if stable == all {
                    let records = match stable.0 == stable.1 {
                        true => None,
                        false => end_of_records(&inspector, topic, 0, stable)?,
                    };
                    end = Some(records.unwrap_or(0));
                }
                continue;
            };
            match &mut correlator {
                Some(of_now) if judged_to(of_now, topic) >= end => match of_now.finish(counters) {
                    Ok(_) => {
                        show_offset(source.consumer(), topic, of_now, &closed_note(end));
                        break;
                    }
                    Err(error) => {
                        let position = judged_to(of_now, topic);
                        correlator = None;
                        failed = Some(Failed::of(error.into(), Some(position), failed)?);
                        take_over_at = Some(Instant::now() + FAILURE_PAUSE);
                    }
                },
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
    if let Some(correlator) = &mut correlator {
        let note = end.filter(|_| !stop.is_asked()).map(closed_note).unwrap_or_default();
        if correlator.stop(counters)? != CommitProgress::Idle {
            show_offset(source.consumer(), topic, correlator, &note);
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
}

impl Failed {
    /// One more, after those before; the error if there is no point in going on.
    fn of(
        error: TopicLinkError,
        position: Option<i64>,
        before: Option<Failed>,
    ) -> Result<Failed, TopicLinkError> {
        let (count, earlier) =
            before.map_or((0, None), |before| (before.count + 1, before.position));
        if !error.is_retryable() || count >= FAILURES_MAX {
            return Err(error);
        }
        warn!("{error}; judging goes on from the last committed state");
        Ok(Failed { count, position: position.max(earlier) })
    }
}

/// Takes the detector over: ends what the copy before left open, restores its
/// state, and goes on where that ends.
fn take_over(
    spec: &TopicLinkSpec,
    correlator_spec: &CorrelatorSpec,
    source: &mut KafkaSource,
    inspector: &BaseConsumer<Reports>,
    counters: &Counters,
) -> Result<Correlator, TopicLinkError> {
    let start = Instant::now();
    let sink = KafkaSink::new(spec.sink.clone())?;
    let correlator = Correlator::open(correlator_spec.clone(), Box::new(sink))?;
    counters.alive();
    let topic = &spec.observations_topic;
    let (first, _) = ends(inspector, topic, 0)?;
    let part: Arc<str> = format!("{topic}/0").into();
    let position = match correlator.positions().of(topic).get(&part) {
        Some(Position::Offset(offset)) if *offset < first => {
            return Err(TopicLinkError::Lost { topic: topic.clone(), position: *offset, first });
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
    Ok(correlator)
}

/// Where the detector goes on in the observations.
fn judged_to(correlator: &Correlator, topic: &str) -> i64 {
    match correlator.position(topic, &format!("{topic}/0")) {
        Some(Position::Offset(offset)) => offset,
        _ => 0,
    }
}

/// Shows how far the detector is. Its position itself is in the changelog.
fn show_offset(consumer: &SharedConsumer, topic: &str, correlator: &Correlator, note: &str) {
    let offset = judged_to(correlator, topic);
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
fn forget_observations(cluster: &Cluster, topic: &str, correlator: &Correlator) {
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

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

mod collector;
mod detector;
mod transaction;

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::channel::{Reading, Threads};
use crate::brokers::BrokerError;
use crate::observation::ListedHost;
use crate::pipeline::decode::lanes::WorkerPool;
use crate::pipeline::decode::reader::ReadError;
use crate::pipeline::rejects::Damaged;
use crate::pipeline::restore::{CorrelateError, CorrelatorSpec};
use crate::pipeline::spawn;
use crate::sink::kafka::KafkaSinkSpec;
use crate::source::SourceError;
use crate::source::kafka::KafkaSource;
use crate::source::kafka::KafkaSpec;
use crate::store::codec::StoredError;

/// How often a copy asks whether all others are done, with `--until-end`.
const DONE_POLL: Duration = Duration::from_millis(100);

/// What all copies share.
#[derive(Clone, Debug)]
pub(crate) struct TopicLinkSpec {
    pub input: KafkaSpec,
    pub observations_topic: String,
    pub sink: KafkaSinkSpec,
    /// Makes this copy's transactions its own.
    pub collector_id: String,
}

impl TopicLinkSpec {
    fn detector_group(&self) -> String {
        format!("{}.detector", self.input.group)
    }
}

#[derive(Debug, thiserror::Error)]
pub enum TopicLinkError {
    #[error(transparent)]
    Broker(#[from] BrokerError),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Correlate(#[from] CorrelateError),
    #[error(transparent)]
    Stored(#[from] StoredError),
    #[error(
        "observations were deleted before they were judged: the state goes to offset {position} of `{topic}`, which begins at {first}\n  hint: the topic must not delete by time (`retention.ms=-1`); begin anew with another output topic"
    )]
    Lost { topic: String, position: i64, first: i64 },
    #[error(
        "a commit does not come to an end: whether it was done is seen at the next start\n  hint: nothing is lost; start it again"
    )]
    InDoubt,
    #[error(transparent)]
    Damaged(#[from] Damaged),
}

impl From<ReadError> for TopicLinkError {
    fn from(error: ReadError) -> TopicLinkError {
        match error {
            ReadError::Source(error) => TopicLinkError::Source(error),
            ReadError::Damaged(error) => TopicLinkError::Damaged(error),
        }
    }
}

impl TopicLinkError {
    fn is_retryable(&self) -> bool {
        match self {
            TopicLinkError::Broker(error) => error.is_retryable(),
            TopicLinkError::Correlate(error) => error.is_retryable(),
            _ => false,
        }
    }
}

/// Runs one copy: its collector on a thread of its own, the detector, while the group gives this
/// copy the observations, on the calling one.
pub(crate) fn run(
    spec: &TopicLinkSpec,
    source: KafkaSource,
    threads: Threads,
    correlator_spec: &CorrelatorSpec,
    reading: Reading<'_>,
    reload: impl FnMut() -> Option<Vec<ListedHost>>,
) -> Result<(), TopicLinkError> {
    let inputs_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let workers = match threads {
            Threads::One => 1,
            Threads::Workers(workers) => workers,
        };
        let pool = WorkerPool::start(scope, reading.rules, reading.keep_bytes, workers);
        let collector = spawn(scope, "collect", || {
            let outcome = collector::collect(spec, source, pool, reading, &inputs_done);
            if outcome.is_err() {
                reading.stop.ask();
            }
            outcome
        });
        let detected = detector::detect(spec, correlator_spec, &reading, &inputs_done, reload);
        reading.stop.ask();
        collector.join().expect("a collector does not panic")?;
        detected
    })
}

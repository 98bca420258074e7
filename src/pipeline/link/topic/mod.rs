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

use std::time::Duration;

use crate::brokers::BrokerError;
use crate::pipeline::correlate::CorrelateError;
use crate::sink::kafka::KafkaSinkSpec;
use crate::source::SourceError;
use crate::source::kafka::KafkaSpec;
use crate::store::codec::StoredError;
pub use collector::collect;
pub use detector::detect;

/// How often a copy looks whether all others are done, with `--until-end`.
const DONE_POLL: Duration = Duration::from_millis(300);

/// What all copies share.
#[derive(Clone, Debug)]
pub struct TopicLinkSpec {
    pub input: KafkaSpec,
    pub observations_topic: String,
    pub sink: KafkaSinkSpec,
    /// Makes this copy's transactions its own.
    pub collector_id: String,
    pub interval: Duration,
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
    Correlator(#[from] CorrelateError),
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

impl TopicLinkError {
    fn is_retryable(&self) -> bool {
        match self {
            TopicLinkError::Broker(error) => error.is_retryable(),
            TopicLinkError::Correlator(error) => error.is_retryable(),
            _ => false,
        }
    }
}

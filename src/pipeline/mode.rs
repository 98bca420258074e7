//! How long a service runs, and why it cannot.

use super::decode::reader::ReadError;
use super::link::channel::ChannelError;
use super::rejects::Damaged;
use super::restore::CorrelateError;
use crate::config::ConfigError;
use crate::config::inventory::InventoryError;
use crate::sink::SinkError;
use crate::source::SourceError;

/// How long a service runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunMode {
    /// Until it is stopped.
    Continuous,
    /// To the end that each source had at the start; then everything is closed.
    UntilEnd,
}

#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Inventory(#[from] InventoryError),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Damaged(#[from] Damaged),
    #[error(transparent)]
    Correlate(#[from] CorrelateError),
    #[error(transparent)]
    Sink(#[from] SinkError),
    #[cfg(feature = "kafka")]
    #[error(transparent)]
    Broker(#[from] crate::brokers::BrokerError),
    #[cfg(feature = "kafka")]
    #[error(transparent)]
    Topic(#[from] super::link::topic::TopicLinkError),
    #[error("{what}\n  hint: {hint}")]
    Unsupported { what: &'static str, hint: &'static str },
    #[error("{what}\n  hint: {hint}")]
    Loop { what: String, hint: &'static str },
    #[error("{0}")]
    Gone(String),
}

impl From<ChannelError> for ServiceError {
    fn from(error: ChannelError) -> ServiceError {
        match error {
            ChannelError::Read(ReadError::Source(error)) => ServiceError::Source(error),
            ChannelError::Read(ReadError::Damaged(error)) => ServiceError::Damaged(error),
            ChannelError::Correlate(error) => ServiceError::Correlate(error),
            gone @ ChannelError::Gone { .. } => ServiceError::Gone(gone.to_string()),
        }
    }
}

impl ServiceError {
    #[cfg(not(feature = "kafka"))]
    pub(crate) const NO_KAFKA: ServiceError = ServiceError::Unsupported {
        what: "this program was built without Kafka",
        hint: "build it with the feature `kafka`, which is on by default",
    };

    pub fn exit_code(&self) -> u8 {
        if self.is_fenced() {
            return 5;
        }
        match self {
            ServiceError::Config(_)
            | ServiceError::Inventory(InventoryError::Mistake { .. })
            | ServiceError::Unsupported { .. }
            | ServiceError::Loop { .. } => 2,
            ServiceError::Inventory(InventoryError::Unreadable { .. })
            | ServiceError::Source(_) => 3,
            _ => 1,
        }
    }

    /// Whether another copy took over.
    #[cfg(feature = "kafka")]
    fn is_fenced(&self) -> bool {
        use super::link::topic::TopicLinkError;
        use crate::brokers::BrokerError;
        let broker = match self {
            ServiceError::Broker(error)
            | ServiceError::Topic(TopicLinkError::Broker(error))
            | ServiceError::Sink(SinkError::Brokers(error))
            | ServiceError::Correlate(CorrelateError::Sink(SinkError::Brokers(error)))
            | ServiceError::Topic(TopicLinkError::Correlate(CorrelateError::Sink(
                SinkError::Brokers(error),
            ))) => error,
            _ => return false,
        };
        matches!(broker, BrokerError::Fenced { .. })
    }

    #[cfg(not(feature = "kafka"))]
    fn is_fenced(&self) -> bool {
        false
    }
}

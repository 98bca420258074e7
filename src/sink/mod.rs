//! Where the service's incidents go, together with the resume point.
//!
//! | module | promises |
//! |---|---|
//! | [`mod@file`] | files or standard output, tied together by a state log |
//! | `kafka` | incidents, dead letters and state as one transaction |

pub mod file;
#[cfg(feature = "kafka")]
pub mod kafka;

use crate::incident::Incident;
use crate::reject::DeadLetter;
use crate::store::{RestoredState, StoreError};

/// Where the service's incidents go. Output and resume point move together:
/// after a crash at any instant both are there or neither.
pub trait Sink {
    /// What was committed last. Whatever was written but not committed is
    /// taken back. Called once, before the first commit.
    fn restore(&mut self) -> Result<RestoredState, SinkError>;

    /// Makes everything in it durable, or nothing. After an error that may pass
    /// ([`SinkError::is_retryable`]) the same step, and no other, can be committed
    /// again, once it was settled. After any other the sink must not be used again:
    /// only a restart tells what is durable.
    fn commit(&mut self, commit: &Commit<'_>) -> Result<(), SinkError>;

    /// Finds out whether a step was done after all that failed with an error that
    /// may pass; if so it must not be committed again. Can itself fail like that.
    fn resolve(&mut self, commit: &Commit<'_>) -> Result<CommitOutcome, SinkError>;
}

/// What became of a step that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitOutcome {
    Committed,
    Aborted,
}

/// One step of the service.
#[derive(Clone, Copy, Debug)]
pub struct Commit<'a> {
    pub incidents: &'a [Incident],
    /// What could not be decoded.
    pub dead_letters: &'a [DeadLetter],
    /// What happened since the commit before: together with the frames before
    /// it, back to the last snapshot, it gives the state.
    pub frame: &'a [u8],
    /// The whole state behind this commit, which takes the place of all frames
    /// up to and with this one.
    pub snapshot: Option<&'a [u8]>,
}

/// What could not be written, or not be taken up again.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[cfg(feature = "kafka")]
    #[error(transparent)]
    Brokers(crate::brokers::BrokerError),
    #[error(
        "{what}\n  hint: start over with another changelog topic; incidents that were emitted stay as they are"
    )]
    DamagedTopic { what: String },
}

impl SinkError {
    /// Whether it may end by itself: brokers are away or change.
    pub fn is_retryable(&self) -> bool {
        match self {
            #[cfg(feature = "kafka")]
            SinkError::Brokers(error) => error.is_retryable(),
            _ => false,
        }
    }
}

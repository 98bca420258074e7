//! What is stored and sent: a changelog entry for each step of the service, and batches of
//! observations on their way from `decode` to `correlate`.
//!
//! The detector is pure: the same observations give the same tables. So a changelog entry holds them,
//! and what an evaluation changed: a restart takes both in, and judges nothing. These types are written as borsh; a change to any
//! of them counts up [`super::codec::FORMAT`].

use borsh::{BorshDeserialize, BorshSerialize};

use crate::observation::Observation;
use crate::position::SourcePositions;
use crate::time::EventTime;

/// Observations of one part, in the order of that part.
#[derive(Clone, Debug, Default, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct ObservationBatch {
    /// A hash of the name of the part: whatever has one order, such as a partition or a file.
    pub part: u64,
    /// When the batch arrived.
    pub arrival: EventTime,
    /// Whether all that there was of the part had been read then.
    pub is_current: bool,
    /// The last events of the part that no rule wanted.
    pub unwanted: Vec<HostTime>,
    pub observations: Vec<Observation>,
    /// The trace contexts that came with them.
    pub traced: Vec<Traced>,
}

/// When a host wrote an event.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct HostTime {
    /// A hash of the host's short name; of an EVTX file, of the file's.
    pub host: u64,
    pub time: EventTime,
}

/// A record that came with a trace context.
#[derive(Clone, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct Traced {
    /// A hash of the record's host, time and id.
    pub record: u64,
    pub traceparent: Box<str>,
}

/// One step of the service: what a commit makes durable.
#[derive(Clone, Debug, Default, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct ChangelogEntry {
    /// One after the other.
    pub steps: Vec<EntryStep>,
    /// The positions that changed, behind all batches.
    pub moved: SourcePositions,
}

/// What was taken in, and then evaluated.
#[derive(Clone, Debug, Default, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct EntryStep {
    pub observation_batches: Vec<ObservationBatch>,
    pub advance: Advance,
    /// What the evaluation changed in the detector, encoded; empty without one.
    pub evaluation: Vec<u8>,
}

/// How far the detector was advanced after the batches of a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Advance {
    #[default]
    NotYet,
    To(EventTime),
    /// To the end: everything was closed.
    End,
}

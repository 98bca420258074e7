//! The steps of the service as they are stored, and observations as they travel between the stages.

use borsh::{BorshDeserialize, BorshSerialize};

use crate::observation::Observation;
use crate::position::SourcePositions;
use crate::time::EventTime;

/// Some observations of one part, as they travel between the stages.
#[derive(Clone, Debug, Default, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct ObservationBatch {
    /// What arrived in one order: a partition, a file. A hash of its name.
    pub part: u64,
    /// When it arrived.
    pub arrival: EventTime,
    pub observations: Vec<Observation>,
    /// The trace contexts that came with them.
    pub traced: Vec<Traced>,
}

/// A record that came with a trace context.
#[derive(Clone, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct Traced {
    /// A hash of the record's host, time and id.
    pub record: u64,
    pub traceparent: Box<str>,
}

/// One step of the service.
#[derive(Clone, Debug, Default, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct ChangelogEntry {
    pub observation_batches: Vec<ObservationBatch>,
    /// The parts that moved on.
    pub moved: SourcePositions,
    pub advance: Advance,
}

/// How far the detector went after it took in a frame's parcels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Advance {
    #[default]
    NotYet,
    To(EventTime),
    /// Everything was closed.
    End,
}

//! What a correlator begins with: what it is asked for, and the detector's state as a sink kept it.

use borsh::{BorshDeserialize, BorshSerialize};

use super::traces::Traces;
use crate::detect::{Detector, DetectorState, MalformedState, Settings};
use crate::observation::ListedHost;
use crate::position::SourcePositions;
use crate::sink::SinkError;
use crate::store::RestoredState;
use crate::store::checkpoint::{Advance, ChangelogEntry, Traced};
use crate::store::codec::{self, StoredError};
use crate::time::EventTime;

/// When incidents are emitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmitMode {
    /// As they come.
    Live,
    /// When everything is known, as a replay does.
    AtEnd,
}

#[derive(Clone, Debug)]
pub struct CorrelatorSpec {
    pub settings: Settings,
    pub inventory: Vec<ListedHost>,
    pub lateness_ticks: u64,
    pub idle_ticks: u64,
    pub emit_mode: EmitMode,
}

#[derive(Debug, thiserror::Error)]
pub enum CorrelateError {
    #[error(transparent)]
    Sink(#[from] SinkError),
    #[error(transparent)]
    Stored(#[from] StoredError),
    #[error(transparent)]
    State(#[from] MalformedState),
}

impl CorrelateError {
    /// Whether it may end by itself; then the commit is tried again.
    pub fn is_retryable(&self) -> bool {
        match self {
            CorrelateError::Sink(error) => error.is_retryable(),
            _ => false,
        }
    }
}

/// What stands before the detector's state in a snapshot: positions, and all
/// that the entries behind it are made with, so that they can be made again.
#[derive(Debug, BorshSerialize, BorshDeserialize)]
pub(super) struct SnapshotHead {
    pub positions: SourcePositions,
    pub watermark: EventTime,
    pub settings: Settings,
    pub inventory: Vec<ListedHost>,
    pub traced: Vec<Traced>,
}

/// What a sink kept, made into a detector again.
pub(super) struct Restored {
    pub detector: Detector,
    pub positions: SourcePositions,
    pub watermark: EventTime,
    pub traces: Traces,
    pub changelog_bytes: usize,
    pub snapshot_bytes: usize,
    /// Whether settings and inventory are those that it was made with.
    pub as_before: bool,
}

impl Restored {
    pub(super) fn from(
        kept: RestoredState,
        spec: &CorrelatorSpec,
    ) -> Result<Restored, CorrelateError> {
        let (mut snapshot_bytes, mut changelog_bytes) = (0, 0);
        let (mut positions, mut watermark) = (SourcePositions::default(), EventTime::MIN);
        let mut traces = Traces::default();
        let (mut detector, made_with) = match kept.snapshot {
            Some(bytes) => {
                let head: SnapshotHead;
                let state: DetectorState;
                (head, state, snapshot_bytes) = codec::unpack(&bytes)?;
                drop(bytes);
                (positions, watermark) = (head.positions, head.watermark);
                traces.remember(&head.traced);
                let made_with = (head.settings, head.inventory);
                (Detector::restore(made_with.0.clone(), state)?, Some(made_with))
            }
            None => (Detector::new(spec.settings.clone()), None),
        };
        let inventory = made_with.as_ref().map_or(&spec.inventory, |(_, inventory)| inventory);
        detector.learn_inventory(inventory.clone());
        let mut already_emitted = Vec::new();
        for bytes in kept.frames {
            changelog_bytes += bytes.len();
            let entry: ChangelogEntry = codec::decode(&bytes)?;
            for batch in &entry.observation_batches {
                traces.remember(&batch.traced);
                detector.ingest(&batch.observations);
            }
            match entry.advance {
                Advance::NotYet => {}
                Advance::To(time) => {
                    watermark = watermark.max(time);
                    detector.advance(time, &mut already_emitted);
                }
                Advance::End => detector.advance(EventTime::MAX, &mut already_emitted),
            }
            already_emitted.clear();
            positions.absorb(entry.moved);
        }
        // Only now: the entries were made with what held then.
        let as_before = made_with.is_some_and(|(settings, inventory)| {
            settings == spec.settings && inventory == spec.inventory
        });
        if !as_before {
            detector = Detector::restore(spec.settings.clone(), detector.into_state())?;
            detector.learn_inventory(spec.inventory.clone());
        }
        Ok(Restored {
            detector,
            positions,
            watermark,
            traces,
            changelog_bytes,
            snapshot_bytes,
            as_before,
        })
    }
}

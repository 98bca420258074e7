//! What a correlator begins with: what it is asked for, and the detector's state as a sink kept it.

use borsh::{BorshDeserialize, BorshSerialize};

use super::traces::Traces;
use crate::detect::{Detector, DetectorState, EvaluationChanges, MalformedState, Settings};
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
    pub applied: Applied,
    /// Whether the sink kept anything.
    pub has_state: bool,
    /// Whether settings and inventory are those that it was made with.
    pub as_before: bool,
}

/// What was taken in of the changelog behind the snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Applied {
    pub entries: u64,
    pub bytes: u64,
    pub observations: u64,
    /// Evaluations whose changes were applied; none is made again.
    pub evaluations: u64,
}

impl Applied {
    pub(super) fn add(&mut self, entry: &ChangelogEntry, bytes: usize) {
        let steps = entry.steps.iter();
        let batches = steps.clone().flat_map(|step| &step.observation_batches);
        self.entries += 1;
        self.bytes += bytes as u64;
        self.observations += batches.map(|batch| batch.observations.len() as u64).sum::<u64>();
        self.evaluations += steps.filter(|step| step.advance != Advance::NotYet).count() as u64;
    }
}

impl Restored {
    /// `alive` is called now and then.
    pub(super) fn from(
        kept: RestoredState,
        spec: &CorrelatorSpec,
        alive: &dyn Fn(),
    ) -> Result<Restored, CorrelateError> {
        let mut applied = Applied::default();
        let has_state = kept.snapshot.is_some() || !kept.frames.is_empty();
        let (mut positions, mut watermark) = (SourcePositions::default(), EventTime::MIN);
        let mut traces = Traces::default();
        let (mut detector, made_with) = match kept.snapshot {
            Some(bytes) => {
                let head: SnapshotHead;
                let state: DetectorState;
                (head, state, _) = codec::unpack(&bytes)?;
                drop(bytes);
                (positions, watermark) = (head.positions, head.watermark);
                traces.remember(&head.traced);
                let made_with = (head.settings, head.inventory);
                (Detector::restore(made_with.0.clone(), state)?, Some(made_with))
            }
            None => (Detector::new(spec.settings.clone()), None),
        };
        alive();
        let inventory = made_with.as_ref().map_or(&spec.inventory, |(_, inventory)| inventory);
        detector.learn_inventory(inventory.clone());
        for bytes in kept.frames {
            let entry: ChangelogEntry = codec::decode(&bytes)?;
            applied.add(&entry, bytes.len());
            for step in &entry.steps {
                for batch in &step.observation_batches {
                    traces.remember(&batch.traced);
                    detector.ingest(&batch.observations);
                }
                if let Advance::To(time) = step.advance {
                    watermark = watermark.max(time);
                }
                if step.advance != Advance::NotYet {
                    let changes: EvaluationChanges = codec::decode_part(&step.evaluation)?;
                    detector.apply(changes);
                }
            }
            positions.absorb(entry.moved);
            alive();
        }
        // They were named when they came.
        detector.take_late_hosts();
        // Only now: the entries were made with what held then.
        let as_before = made_with.is_some_and(|(settings, inventory)| {
            settings == spec.settings && inventory == spec.inventory
        });
        if !as_before {
            detector = Detector::restore(spec.settings.clone(), detector.into_state())?;
            detector.learn_inventory(spec.inventory.clone());
            detector.touch_everything();
        }
        let restored =
            Restored { detector, positions, watermark, traces, applied, has_state, as_before };
        Ok(restored)
    }
}

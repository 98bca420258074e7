//! The stage that owns the detector and the sink: takes in what the sources
//! gathered, lets the detector tell what is news, and commits.
//!
//! ```text
//!   gathered ─▶ detector ─▶ incidents ┐
//!      └──────▶ frame ────────────────┴─▶ sink, in one step
//! ```

use std::hash::{Hash, Hasher};
use std::time::{Duration, Instant};

use rustc_hash::FxHasher;

use super::gather::{Gathered, NO_PART};
use super::{Counters, wall_clock};
use crate::checkpoint::{self, Advance, Frame, Parcel, Snapshot, SourcePositions, StoredError};
use crate::detect::clocks::{CaughtUp, Clocks};
use crate::detect::{Detector, MalformedState, Settings};
use crate::event::{EventTime, ListedHost, TICKS_PER_SEC, What, short_host};
use crate::incident::Incident;
use crate::sink::{Commit, DeadLetter, Sink, SinkError};
use crate::source::Position;

/// What waits for a commit waits so long at the most.
const COMMIT_AFTER: Duration = Duration::from_millis(25);

/// Frames since the last snapshot may grow to this, and to the size of the
/// snapshot: then restoring takes no more than twice as long as need be.
const FRAMES_BYTES_MIN: usize = 16 * 1024 * 1024;

/// Of its time the detector spends no more than a quarter on telling what is
/// news: the larger the state, the rarer it is looked through.
const LOOK_SHARE: u32 = 4;

/// Sessions are closed no more often than that by the watermark alone.
const WATERMARK_STEP_TICKS: u64 = 60 * TICKS_PER_SEC;

/// When incidents are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Telling {
    /// As they come.
    Live,
    /// When everything is known, as a replay does.
    AtTheEnd,
}

#[derive(Clone, Debug)]
pub struct JudgeSpec {
    pub settings: Settings,
    pub inventory: Vec<ListedHost>,
    pub lateness_ticks: u64,
    pub idle_ticks: u64,
    pub telling: Telling,
}

#[derive(Debug, thiserror::Error)]
pub enum JudgeError {
    #[error(transparent)]
    Sink(#[from] SinkError),
    #[error(transparent)]
    Stored(#[from] StoredError),
    #[error(transparent)]
    State(#[from] MalformedState),
}

pub struct Judge {
    detector: Detector,
    clocks: Clocks,
    positions: SourcePositions,
    watermark: EventTime,
    sink: Box<dyn Sink>,
    telling: Telling,
    frame: Frame,
    dead_letters: Vec<DeadLetter>,
    waiting_since: Option<Instant>,
    /// Whether something was taken in that was not looked at.
    unseen: bool,
    look_at: Instant,
    frames_bytes: usize,
    snapshot_bytes: usize,
    /// Whether frames may not be taken in again as they were: the inventory is
    /// another one, or the settings may be at the next start.
    snapshot_next: bool,
}

impl std::fmt::Debug for Judge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Judge").field("watermark", &self.watermark).finish_non_exhaustive()
    }
}

impl Judge {
    /// Goes on from what the sink kept.
    pub fn open(spec: JudgeSpec, mut sink: Box<dyn Sink>) -> Result<Judge, JudgeError> {
        let kept = sink.restore()?;
        let snapshot_bytes = kept.snapshot.as_ref().map_or(0, Vec::len);
        let (mut positions, mut watermark) = (SourcePositions::default(), EventTime::MIN);
        let mut detector = match kept.snapshot {
            Some(bytes) => {
                let snapshot: Snapshot = checkpoint::decode(&bytes)?;
                (positions, watermark) = (snapshot.positions, snapshot.watermark);
                Detector::restore(spec.settings, &snapshot.detector)?
            }
            None => Detector::new(spec.settings),
        };
        detector.learn_inventory(spec.inventory);
        let mut told_already = Vec::new();
        let mut frames_bytes = 0;
        for bytes in kept.frames {
            frames_bytes += bytes.len();
            let frame: Frame = checkpoint::decode(&bytes)?;
            for parcel in &frame.parcels {
                detector.ingest(&parcel.observations);
            }
            match frame.advance {
                Advance::NotYet => {}
                Advance::To(time) => {
                    watermark = watermark.max(time);
                    detector.advance(time, &mut told_already);
                }
                Advance::End => detector.advance(EventTime::MAX, &mut told_already),
            }
            told_already.clear();
            positions.absorb(frame.moved);
        }
        Ok(Judge {
            clocks: Clocks::new(spec.lateness_ticks, spec.idle_ticks, watermark, wall_clock()),
            detector,
            positions,
            watermark,
            sink,
            telling: spec.telling,
            frame: Frame::default(),
            dead_letters: Vec::new(),
            waiting_since: None,
            // What the last frames brought may not have been looked at.
            unseen: frames_bytes > 0,
            look_at: Instant::now(),
            frames_bytes,
            snapshot_bytes,
            snapshot_next: false,
        })
    }

    pub fn positions(&self) -> &SourcePositions {
        &self.positions
    }

    /// Behind everything that was taken in of a part, committed or not.
    pub fn position(&self, source: &str, part: &str) -> Option<Position> {
        let taken = self.frame.moved.get(source, part);
        taken.or_else(|| self.positions.get(source, part)).cloned()
    }

    pub fn learn_inventory(&mut self, inventory: Vec<ListedHost>) {
        self.detector.learn_inventory(inventory);
        self.unseen = true;
        self.snapshot_next = true;
    }

    /// Takes in what a source gathered.
    pub fn take(&mut self, source: &str, gathered: Gathered) {
        for (part, position) in &gathered.moved {
            self.frame.moved.set(source, part, position.clone());
        }
        self.dead_letters.extend(gathered.dead_letters);
        self.waiting_since.get_or_insert_with(Instant::now);
        for parcel in gathered.parcels {
            self.hear(&parcel);
            if !parcel.observations.is_empty() {
                self.detector.ingest(&parcel.observations);
                self.unseen = true;
                self.frame.parcels.push(parcel);
            }
        }
    }

    fn hear(&mut self, parcel: &Parcel) {
        if parcel.part == NO_PART {
            return;
        }
        self.clocks.hear(parcel.part, parcel.arrival);
        for observation in &parcel.observations {
            if !matches!(observation.what, What::Fact(_)) {
                let mut hasher = FxHasher::default();
                short_host(&observation.key.computer).to_ascii_lowercase().hash(&mut hasher);
                let (host, time) = (hasher.finish(), observation.key.time);
                self.clocks.observe(parcel.part, host, time, parcel.arrival);
            }
        }
    }

    /// Commits if it is time to; whether it did.
    pub fn tend(&mut self, caught_up: CaughtUp, counters: &Counters) -> Result<Tended, JudgeError> {
        let watermark = self.clocks.advance(wall_clock(), caught_up);
        let closes = watermark.0.saturating_sub(self.watermark.0) >= WATERMARK_STEP_TICKS;
        let looks = self.telling == Telling::Live
            && (self.unseen || closes)
            && Instant::now() >= self.look_at;
        let due = match self.waiting_since {
            Some(since) => since.elapsed() >= COMMIT_AFTER,
            None => looks,
        };
        if !due {
            return Ok(Tended::Nothing);
        }
        let advance = if looks { Advance::To(watermark) } else { Advance::NotYet };
        self.commit(advance, counters)
    }

    /// Commits whatever was taken in, so that the next start may have other
    /// settings.
    pub fn stop(&mut self, counters: &Counters) -> Result<Tended, JudgeError> {
        if self.waiting_since.is_none() && self.frames_bytes == 0 {
            return Ok(Tended::Nothing);
        }
        self.snapshot_next = true;
        self.commit(Advance::NotYet, counters)
    }

    /// Closes everything, as at the end of a replay.
    pub fn finish(&mut self, counters: &Counters) -> Result<Tended, JudgeError> {
        self.commit(Advance::End, counters)
    }

    fn commit(&mut self, advance: Advance, counters: &Counters) -> Result<Tended, JudgeError> {
        let mut incidents: Vec<Incident> = Vec::new();
        let start = Instant::now();
        match advance {
            Advance::NotYet => {}
            Advance::To(watermark) => {
                self.watermark = watermark;
                self.detector.advance(watermark, &mut incidents);
            }
            Advance::End => self.detector.advance(EventTime::MAX, &mut incidents),
        }
        if advance != Advance::NotYet {
            self.unseen = false;
            self.look_at = Instant::now() + start.elapsed() * (LOOK_SHARE - 1);
        }
        self.frame.advance = advance;
        let frame = std::mem::take(&mut self.frame);
        let bytes = checkpoint::encode(&frame);
        self.positions.absorb(frame.moved);
        self.frames_bytes += bytes.len();
        let is_long = self.frames_bytes > FRAMES_BYTES_MIN.max(self.snapshot_bytes);
        let snapshot = (is_long || std::mem::take(&mut self.snapshot_next)).then(|| {
            checkpoint::encode(&Snapshot {
                positions: self.positions.clone(),
                watermark: self.watermark,
                detector: self.detector.save(),
            })
        });
        self.sink.commit(&Commit {
            incidents: &incidents,
            dead_letters: &self.dead_letters,
            frame: &bytes,
            snapshot: snapshot.as_deref(),
        })?;
        counters.committed(incidents.len(), start.elapsed(), self.watermark);
        self.dead_letters.clear();
        self.waiting_since = None;
        let Some(snapshot) = snapshot else { return Ok(Tended::Committed) };
        (self.frames_bytes, self.snapshot_bytes) = (0, snapshot.len());
        Ok(Tended::Shortened)
    }
}

/// What came of a look at the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tended {
    Nothing,
    Committed,
    /// Committed with a snapshot: what came before is needed no more.
    Shortened,
}

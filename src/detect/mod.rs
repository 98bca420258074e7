//! Observations in, findings out: sessions by source, mismatches paired with
//! the failures beside them, a verdict with its reasons.
//!
//! State changes only through two calls; time is an argument:
//!
//! ```text
//! fn ingest(&mut self, observations: &[Observation]);
//! fn advance(&mut self, watermark: EventTime, findings: &mut Vec<Finding>);
//! ```
//!
//! `advance` costs what changed since the last one, but for what follows of new facts (`conclude`):
//! who minds the time calls `conclude` now and then, and `advance_concluded` in between. What an
//! evaluation changed (`take_changes`) can be applied to another detector that took in the same
//! observations (`apply`): a restart judges nothing anew.
//!
//! The findings do not depend on the order in which observations come, on
//! duplicates, or on how they are cut into batches. A finding is data without a
//! sentence; `explain` makes the incident of it.
//!
//! ```text
//!  Observation ─▶ seen ─▶ directory, hosts (facts) ─▶ twins
//!                   │        │ resolve names on demand   │
//!                   ├─▶ sessions (runs by key) ─┐        ▼
//!                   └─▶ pairing  (near in time) ┴─▶ verdict ─▶ findings
//! ```
//!
//! | module | holds |
//! |---|---|
//! | [`rules`] | what makes a record an observation |
//! | `settings` | time spans, thresholds and bounds |
//! | `detector` | the two calls, saving and restoring |
//! | `tables` | the state as a whole |
//! | `ingest` | observations into tables |
//! | `emit` | tables into findings |
//! | `evaluated` | what an evaluation changed, for whoever restores |
//! | `sprays` | peers that try many accounts |
//! | `state` | dedup, names, accounts, runs, pairing |
//! | `fleet` | hosts, twins, and which builds refuse them |
//! | `judge` | verdicts |
//! | `revisions` | the last revision of each finding, and what is news |
//! | [`findings`] | what is concluded |
//! | `watermark` | event time up to which everything is believed to have arrived |

mod detector;
mod emit;
mod evaluated;
pub mod findings;
mod fleet;
mod ingest;
mod judge;
mod revisions;
pub mod rules;
mod settings;
mod sprays;
mod state;
mod tables;
pub(crate) mod watermark;

pub use detector::{Detector, OVER_BOUNDS};
pub use evaluated::EvaluationChanges;
pub use settings::{Bounds, Settings, seconds};
pub use tables::{DetectorState, Ingested, MalformedState};

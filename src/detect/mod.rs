//! Observations in, incidents out: sessions by source, mismatches paired with
//! the failures beside them, a verdict with its reasons.
//!
//! State changes only through [`Detector::ingest`] and [`Detector::advance`];
//! time is an argument. The incidents do not depend on the order in which
//! observations come, on duplicates, or on how they are cut into batches.
//!
//! ```text
//!  Observation ─▶ seen ─▶ directory, hosts (facts) ─▶ twins
//!                   │        │ resolve names when asked  │
//!                   ├─▶ sessions (runs by key) ─┐        ▼
//!                   └─▶ pairing  (near in time) ┴─▶ verdict ─▶ incidents, duplicates
//! ```
//!
//! | module | holds |
//! |---|---|
//! | [`rules`] | what makes a record an observation |
//! | [`state::dedup`] | which records came already |
//! | [`state::names`] | names as small numbers |
//! | [`state::directory`] | accounts and their SIDs |
//! | [`fleet::hosts`] | what events say of each computer |
//! | [`fleet::twins`] | which computers are one host, and which hosts are clones |
//! | [`fleet::exposure`] | which builds refuse their clones |
//! | [`state::sessions`] | runs and sessions |
//! | [`state::pairing`] | what stood near in time |
//! | [`judge::verdict`] | clone, stale boot session or manipulated ticket |
//! | [`judge::incidents`] | a session as an incident, in words |
//! | [`judge::duplicates`] | clones as an incident, in words |
//! | [`watermark`] | how far the events are: the watermark |
//! | [`revisions`] | what was told of each incident, and what is news |

mod detector;
pub mod fleet;
pub mod judge;
pub mod revisions;
pub mod rules;
pub mod state;
pub mod watermark;

pub(crate) use detector::make_room;
pub use detector::{
    Bounds, Detector, Ingested, MalformedState, OVER_BOUNDS, Settings, Trace, TraceOrigin,
    category_of, seconds,
};

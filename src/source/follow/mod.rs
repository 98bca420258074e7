//! Event logs that another process writes: the event log service, a collector.
//!
//! ```text
//!            poll: find files ─▶ whose log is it? ─▶ chunks with newer records
//! file    ─▶                     (below)             │ take turns, a batch each
//! file    ─▶                                         ▼
//!            read, checksums right? ─▶ Batch { after_record, moved }
//! ```
//!
//! Files are found anew at each poll and checked for changes by their size and
//! time and by the headers of their chunks; so it works on network shares too.
//! The file's own header may be stale and is not read. A chunk that others
//! write to is handed over once its checksums are right, and each time it has
//! more records: the records that went before are named in `after_record`.
//!
//! What is followed is a *log*: records whose ids grow by one. It continues in
//! the same file under another name (roll-over), overwrites its oldest chunks
//! (wrap-around), or is written anew by a collector. Which file holds which
//! log follows from what survives all of that: the last record handed over,
//! with its id and the time it was written; and the oldest record.
//!
//! | the file holds | and is | then it is |
//! |---|---|---|
//! | the last record | the log's own, or has the oldest one too | the log |
//! | another record with that id | any | another log |
//! | only records behind the last one | the log's own, under a like name | the log; what lies between is missing |
//! | only records up to the last one, and the oldest | any | the log, cut off |
//! | else | | another log |
//!
//! A log that nothing is known of is read from its start, unless it is there when the source is
//! started for the first time and [`FollowSpec::start`] says otherwise. So is a copy of a
//! file that is there as well; whoever takes the records drops the doubles.
//!
//! Left out: a log of which older chunks still stand behind newer ones after
//! it was cleared; records of a file named alone that two roll-overs carried
//! off between two polls (following its folder finds them).
//!
//! | | |
//! |---|---|
//! | `follower` | the source: polls, finds out which file holds which log, lets the logs take turns |
//! | `files` | which files there are, and what distinguishes them |
//! | `log` | one log: its position, and the batches it yields |
//! | `chunk` | chunks' headers, and records found by their ids |

mod chunk;
mod files;
mod follower;
mod log;

use std::path::PathBuf;
use std::time::Duration;

pub use self::follower::Follow;
use crate::position::Start;

/// What to follow.
#[derive(Clone, Debug)]
pub struct FollowSpec {
    /// Files, whatever they are called, and folders, in which and below which
    /// `*.evtx` is followed. What is not there yet may come.
    pub paths: Vec<PathBuf>,
    /// From one poll of the files to the next.
    pub poll: Duration,
    /// Where the logs begin that are there at the first start of all. Those that come later are read
    /// from their start.
    pub start: Start,
    /// Whether to end behind the records that are there at the beginning.
    pub until_end: bool,
}

//! What outlives the process: output files, the state log of a service, and the encoded form of its
//! checkpoints.
//!
//! | module | holds | after a crash |
//! |---|---|---|
//! | `atomic_file` | an output file of one run | the old file or the complete new one |
//! | `rotating_file` | a file that grows, and is rotated by size and time | the lines of every commit, once |
//! | `state_log` | changelog entries and snapshots in a state folder | all up to the last commit |
//! | `state_file` | the bytes of its files | a torn entry is truncated, damage is an error |
//! | `checkpoint` | what is stored and sent: changelog entries, observation batches | |
//! | `codec` | their bytes, behind the number of their format | |
//! | `disk` | each step that any of these does to the disk | |

pub(crate) mod atomic_file;
pub(crate) mod checkpoint;
pub(crate) mod codec;
pub(crate) mod disk;
pub(crate) mod rotating_file;
mod state_file;
pub(crate) mod state_log;

use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What a restart resumes from. Empty before the first commit.
#[derive(Debug, Default, PartialEq)]
pub struct RestoredState {
    pub snapshot: Option<Vec<u8>>,
    /// The encoded changelog entries since the snapshot, in order.
    pub frames: Vec<Vec<u8>>,
}

/// What was committed last, as it is read beside a service that may be running.
#[derive(Debug)]
pub struct PeekedState {
    pub state: RestoredState,
    /// When it was.
    pub committed_at: Option<SystemTime>,
}

/// Why something could not be written, or the stored state not be read. What was committed stays
/// committed. A file that was to be replaced is as it was, unless [`StoreError::Io`] says that the
/// folder was not synced.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("cannot write `{}`: it is a folder\n  hint: name a file in it", path.display())]
    Folder { path: PathBuf },
    #[error("cannot write `{}`: it does not end in the name of a file", path.display())]
    Nameless { path: PathBuf },
    /// `doing` completes "cannot …".
    #[error("cannot {doing} `{}`: {cause}{}", path.display(), hint(cause))]
    Io { path: PathBuf, doing: &'static str, cause: io::Error },
    #[error(
        "the state folder `{}` is in use by another process\n  hint: stop that one, or name another state folder",
        path.display()
    )]
    Locked { path: PathBuf },
    #[error(
        "`{}` is of format {found}, and this program reads format {known}\n  hint: use the version of the program that wrote it, or start over with a new state folder; nothing was changed",
        path.display()
    )]
    Version { path: PathBuf, found: u32, known: u32 },
    #[error(
        "`{}` is damaged: {what}\n  hint: restore the state folder from a backup, or start over with a new one; nothing was changed",
        path.display()
    )]
    Damaged { path: PathBuf, what: String },
    /// Another program wrote, truncated or removed an output.
    #[error(
        "`{}` holds {found} bytes, but {committed} were committed to it: another program truncated, removed or wrote it\n  hint: restore the file, or start over with a new state folder and the file as it is",
        path.display()
    )]
    Changed { path: PathBuf, committed: u64, found: u64 },
    #[error("{what} of {bytes} bytes is too large to be committed: {bytes_max} at the most")]
    TooLarge { what: &'static str, bytes: u64, bytes_max: u64 },
    #[error(
        "nothing can be committed after an error\n  hint: restart it; it resumes after the last commit"
    )]
    Torn,
}

/// For `map_err`: an error of the disk at a path. `doing` completes "cannot …".
pub(crate) fn io_error<'p>(
    doing: &'static str,
    path: &'p Path,
) -> impl FnOnce(io::Error) -> StoreError + use<'p> {
    move |cause| StoreError::Io { path: path.to_owned(), doing, cause }
}

/// What the user can do about it, on a line of its own; empty when there is nothing.
fn hint(cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::NotFound => "\n  hint: make the folder first",
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "\n  hint: name a file in a folder that you may write to"
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            "\n  hint: make room, or name a file on another disk"
        }
        io::ErrorKind::AlreadyExists => "\n  hint: move away what is there",
        _ => "",
    }
}

//! Which files there are to follow, and what distinguishes them.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::super::discover::is_log;
use super::super::read_segment;

/// Most files that are followed at a time.
pub(super) const FILES_MAX: usize = 10_000;

/// Deepest folder below a given one.
pub(super) const FOLDERS_DEEP_MAX: usize = 64;

#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) path: PathBuf,
    pub(super) identity: Identity,
    pub(super) bytes: u64,
    pub(super) modified: Option<SystemTime>,
    /// Not asked for: of interest only when it holds a log known already.
    pub(super) beside: bool,
    /// Record ids behind it are not asked for.
    pub(super) end: Option<u64>,
}

/// Device and inode, where there are such, and when the file was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Identity {
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) created: u64,
}

/// The files under `paths` that there are now, those asked for first, then those beside a named
/// one; and what keeps a path from being read. `known`: whether a path was read before, and is
/// expected to be gone for a moment.
pub(super) fn find_files(
    paths: &[PathBuf],
    identify: fn(&Metadata) -> Identity,
    known: impl Fn(&Path) -> bool,
) -> (Vec<Found>, Vec<Problem>) {
    let mut search = Search { identify, all: Vec::new(), problems: Vec::new() };
    for path in paths {
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => search.folder(path, 0),
            Ok(metadata) => {
                search.add(path.clone(), &metadata, false);
                search.beside(path);
            }
            Err(cause) => {
                if !known(path) {
                    let reason = match cause.kind() {
                        io::ErrorKind::NotFound => {
                            "does not exist: check `paths`; should it appear, it is followed"
                                .to_owned()
                        }
                        _ => format!("cannot be read: {cause}; it is tried again at each poll"),
                    };
                    search.problems.push((path.clone(), reason));
                }
                search.beside(path);
            }
        }
    }
    let Search { mut all, mut problems, .. } = search;
    all.sort_by(|a, b| (a.beside, &a.path).cmp(&(b.beside, &b.path)));
    let (mut paths, mut identities) = (BTreeSet::new(), BTreeSet::new());
    all.retain(|found| {
        let own = found.identity;
        let new = own.is_none() || identities.insert((own.device, own.inode));
        paths.insert(found.path.clone()) && new
    });
    if all.len() > FILES_MAX {
        let first = all[FILES_MAX].path.clone();
        all.truncate(FILES_MAX);
        problems
            .push((first, format!("not followed, as all behind it: more than {FILES_MAX} files")));
    }
    (all, problems)
}

/// A path, and why it is not read.
pub(super) type Problem = (PathBuf, String);

pub(super) struct Search {
    pub(super) identify: fn(&Metadata) -> Identity,
    pub(super) all: Vec<Found>,
    pub(super) problems: Vec<Problem>,
}

impl Search {
    pub(super) fn add(&mut self, path: PathBuf, metadata: &Metadata, beside: bool) {
        self.all.push(Found {
            path,
            identity: (self.identify)(metadata),
            bytes: metadata.len(),
            modified: metadata.modified().ok(),
            beside,
            end: None,
        });
    }

    /// Where a file that is named may be found after a roll-over: beside it, as
    /// `Archive-…` or with something added to its name.
    pub(super) fn beside(&mut self, path: &Path) {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let Ok(entries) = fs::read_dir(parent.unwrap_or(Path::new("."))) else { return };
        let stem = path.file_stem().and_then(OsStr::to_str).unwrap_or_default();
        let archive = format!("Archive-{stem}");
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            if (name.starts_with(&archive) || name.starts_with(stem))
                && self.all.len() <= FILES_MAX
                && let Ok(metadata) = fs::metadata(entry.path())
                && metadata.is_file()
            {
                self.add(entry.path(), &metadata, true);
            }
        }
    }

    /// `*.evtx` in a folder and below it.
    pub(super) fn folder(&mut self, folder: &Path, depth: usize) {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(cause) => {
                let reason = format!("the folder cannot be read: {cause}");
                self.problems.push((folder.to_owned(), reason));
                return;
            }
        };
        for entry in entries.flatten() {
            let path = entry.path();
            // Links to folders are not followed: they may lead back up.
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() {
                if depth < FOLDERS_DEEP_MAX {
                    self.folder(&path, depth + 1);
                }
                continue;
            }
            // One more than are followed, so that it shows.
            if self.all.len() <= FILES_MAX
                && is_evtx(&path)
                && let Ok(metadata) = fs::metadata(&path)
                && metadata.is_file()
            {
                self.add(path, &metadata, false);
            }
        }
    }
}

impl Identity {
    pub(super) fn is_none(self) -> bool {
        self.device == 0 && self.inode == 0
    }
}

impl Found {
    pub(super) fn input(&self) -> Arc<str> {
        self.path.display().to_string().into()
    }

    pub(super) fn is(&self, other: &Found) -> bool {
        self.identity == other.identity && (!self.identity.is_none() || self.path == other.path)
    }
}

/// What the file of an event log begins with.
const FILE_MAGIC: &[u8; 8] = b"ElfFile\0";

/// Why a file without records is none that will have some; `None` for a log that is empty, or is
/// just being made.
pub(super) fn foreign(file: &File) -> Option<&'static str> {
    let mut head = Vec::new();
    read_segment(file, 0, FILE_MAGIC.len(), &mut head).ok()?;
    let is_made = head.iter().all(|byte| *byte == 0);
    (!is_made && !FILE_MAGIC.starts_with(&head)).then_some(
        "is no EVTX event log, and a source of kind `evtx` reads nothing else: remove it from `paths`",
    )
}

pub(super) fn is_evtx(path: &Path) -> bool {
    let extension = path.extension().and_then(OsStr::to_str).unwrap_or_default();
    extension.eq_ignore_ascii_case("evtx") && is_log(path)
}

#[cfg(unix)]
pub(super) fn identify(metadata: &Metadata) -> Identity {
    use std::os::unix::fs::MetadataExt;
    use std::time::UNIX_EPOCH;

    let created = metadata.created().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    let created = created.and_then(|at| u64::try_from(at.as_nanos()).ok()).unwrap_or_default();
    Identity { device: metadata.dev(), inode: metadata.ino(), created }
}

#[cfg(not(unix))]
pub(super) fn identify(_: &Metadata) -> Identity {
    Identity { device: 0, inode: 0, created: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_is_empty_or_being_made_is_not_foreign() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("a.evtx");
        let head = [&b"ElfFile\0"[..], &[0; 4088]].concat();
        for (bytes, is_foreign) in [
            (&b"{\"event_id\": 4625}\n"[..], true),
            (b"MZ", true),
            (b"", false),
            (&[0; 70_000], false),
            (b"ElfF", false),
            (&head, false),
        ] {
            fs::write(&path, bytes).expect("written");
            let file = File::open(&path).expect("there");
            assert_eq!(foreign(&file).is_some(), is_foreign, "{bytes:.20?}");
        }
    }
}

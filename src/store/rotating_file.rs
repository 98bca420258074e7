//! A file that grows line by line, and is rotated by size and time.
//!
//! ```text
//!  incidents.20251001T080000Z.jsonl     the oldest
//!  incidents.20251001T093000Z.jsonl
//!  incidents.20251001T093000Z-1.jsonl   in the same second
//!  incidents.jsonl                      grows
//! ```
//!
//! In go lines, and out comes a [`Mark`]: how long the file is, and how it was rotated. What is
//! committed of the file is what the last mark in the state log says. After a crash the file may be
//! longer than its mark, by lines that were written but not committed; [`RotatingFile::restore`]
//! truncates them, so that each committed line is there once. A rotation takes two marks, so that a
//! crash at any instant leaves no doubt where the lines are:
//!
//! | step | mark in the state log | found after a crash |
//! |---|---|---|
//! | announce the name | renaming | the file: it is renamed now; no file: it was |
//! | rename, sync the folder | length 0 | the new file or none: both are empty |
//! | create the next file | | |
//!
//! Rotated files belong to whoever collects them: they may be moved or removed at any time.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use borsh::{BorshDeserialize, BorshSerialize};
use jiff::SignedDuration;
use jiff::civil::DateTime;
use tracing::info;

use super::disk::{Disk, DiskFile, folder_of, open_if_there, remove_if_there};
use super::{StoreError, io_error};

/// 9999-12-31T23:59:59Z: names have four digits for the year.
const SECS_MAX: u64 = 253_402_300_799;

const UNIX_EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);

/// When a file was rotated, as its name says it.
const STAMP_FORMAT: &str = "%Y%m%dT%H%M%SZ";

/// The file that lines go to, and when it is rotated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RotatingFileSpec {
    pub path: PathBuf,
    /// It is rotated before it would become larger. The lines of one commit stay together.
    pub bytes_max: Option<u64>,
    /// It is rotated when its first line is older.
    pub interval_secs: Option<u64>,
    /// Most rotated files; the oldest are removed. `None` keeps all.
    pub keep: Option<u32>,
}

/// What is committed of a file.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct Mark {
    path: String,
    length: u64,
    /// When its first line was written; meaningless for an empty file.
    begun_secs: u64,
    /// The last file that was rotated.
    last: Option<Stamp>,
    /// The file is being renamed to this name, and may have been already.
    renaming: Option<Stamp>,
}

/// The time in the name of a rotated file. Those of one file increase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
struct Stamp {
    secs: u64,
    /// Counts those of one second.
    number: u32,
}

#[derive(Debug)]
pub(crate) struct RotatingFile {
    spec: RotatingFileSpec,
    mark: Mark,
    /// `None` between the rotation and [`RotatingFile::begin`].
    file: Option<Box<dyn DiskFile>>,
    /// Whether the file ends within a line that another program wrote.
    line_open: bool,
}

impl Mark {
    pub(crate) fn is_of(&self, spec: &RotatingFileSpec) -> bool {
        spec.path.to_str() == Some(&self.path)
    }

    /// For a file that is no longer an output: truncates what was not committed. It may be gone.
    pub(crate) fn leave(&self, disk: &mut dyn Disk) -> Result<(), StoreError> {
        let path = Path::new(&self.path);
        let Some(mut file) = open_if_there(disk, path).map_err(io_error("open", path))? else {
            return Ok(());
        };
        match truncate(&mut *file, path, self.length) {
            Err(StoreError::Changed { .. }) => Ok(()),
            truncated => truncated,
        }
    }
}

impl RotatingFile {
    /// The file as of its last mark: truncates what was not committed, and finishes a rotation that was
    /// announced. Without a mark it appends to what the file has. The next steps of the caller are to
    /// commit the mark, then [`RotatingFile::begin`]. [`StoreError::Changed`] when committed bytes
    /// are missing.
    pub(crate) fn restore(
        disk: &mut dyn Disk,
        spec: RotatingFileSpec,
        mark: Option<Mark>,
    ) -> Result<RotatingFile, StoreError> {
        let path = spec.path.clone();
        let mark = match mark {
            Some(mark) => mark,
            None => first_mark(disk, &path)?,
        };
        let mut rotated = RotatingFile { spec, mark, file: None, line_open: false };
        let found = open_if_there(disk, &path).map_err(io_error("open", &path))?;
        rotated.file = match (found, rotated.mark.renaming) {
            (None, Some(_)) => None,
            (None, None) if rotated.mark.length == 0 => None,
            (None, None) => {
                return Err(StoreError::Changed { path, committed: rotated.mark.length, found: 0 });
            }
            (Some(mut file), _) => {
                truncate(&mut *file, &path, rotated.mark.length)?;
                Some(file)
            }
        };
        if rotated.mark.renaming.is_some() {
            rotated.rotate(disk)?;
        }
        Ok(rotated)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.spec.path
    }

    pub(crate) fn mark(&self) -> &Mark {
        &self.mark
    }

    /// Whether the file is to be rotated before that many bytes are written.
    pub(crate) fn is_due(&self, bytes: u64, now_secs: u64) -> bool {
        let Mark { length, begun_secs, .. } = self.mark;
        let too_large = self.spec.bytes_max.is_some_and(|max| length.saturating_add(bytes) > max);
        // A clock that was set back must not keep the file for ever.
        let age_secs = now_secs.abs_diff(begun_secs);
        let too_old = self.spec.interval_secs.is_some_and(|interval| age_secs >= interval);
        length > 0 && (too_old || (too_large && bytes > 0))
    }

    /// Chooses the name that the file will be renamed to. The mark is to be committed next.
    pub(crate) fn announce(&mut self, disk: &mut dyn Disk) -> Result<(), StoreError> {
        self.check_length()?;
        let newest = self.rotated_before(disk)?.last().copied();
        let newest = newest.max(self.mark.last);
        let mut stamp = Stamp { secs: disk.now_secs().min(SECS_MAX), number: 0 };
        // A clock that went back, or the same second: one above the newest.
        if let Some(newest) = newest.filter(|newest| *newest >= stamp) {
            stamp = Stamp { secs: newest.secs, number: newest.number.saturating_add(1) };
        }
        self.mark.renaming = Some(stamp);
        Ok(())
    }

    /// Renames the file to the announced name, unless a crash came after that. The mark is to be
    /// committed next.
    pub(crate) fn rotate(&mut self, disk: &mut dyn Disk) -> Result<(), StoreError> {
        let stamp = self.mark.renaming.take().expect("announced before it is rotated");
        let path = &self.spec.path;
        // Closed first, so that it can be renamed everywhere.
        if self.file.take().is_some() {
            let rotated = self.path_of(stamp);
            if open_if_there(disk, &rotated).map_err(io_error("examine", &rotated))?.is_some() {
                let cause = io::ErrorKind::AlreadyExists.into();
                return Err(StoreError::Io { path: rotated, doing: "rename a file to", cause });
            }
            disk.rename(path, &rotated).map_err(io_error("rename", path))?;
        }
        disk.sync_folder(folder_of(path)).map_err(io_error("sync the folder of", path))?;
        self.mark = Mark { length: 0, last: Some(stamp), ..self.mark.clone() };
        Ok(())
    }

    /// Makes the file ready for lines, a new one after a rotation, and removes the oldest rotated
    /// files. The mark must have been committed.
    pub(crate) fn begin(&mut self, disk: &mut dyn Disk) -> Result<(), StoreError> {
        let path = &self.spec.path;
        if self.file.is_none() {
            self.file = Some(disk.create(path).map_err(io_error("create", path))?);
        }
        if let (0, Some(last)) = (self.mark.length, self.mark.last) {
            // The rotated file may have been collected meanwhile, and its permissions with it.
            match disk.copy_permissions(&self.path_of(last), path) {
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => {}
                copied => copied.map_err(io_error("set the permissions of", path))?,
            }
        }
        // Also for a file that exists: the crash may have come before this sync.
        disk.sync_folder(folder_of(path)).map_err(io_error("sync the folder of", path))?;
        self.line_open = self.ends_within_a_line()?;
        self.prune(disk)
    }

    /// Writes complete lines and syncs them. They are committed only when the state log has the
    /// mark.
    pub(crate) fn append(&mut self, lines: &[u8], now_secs: u64) -> Result<(), StoreError> {
        if lines.is_empty() {
            return Ok(());
        }
        self.check_length()?;
        let path = &self.spec.path;
        let file = self.file.as_deref_mut().expect("begun before it is written");
        let mut written = 0;
        if self.line_open {
            file.write(b"\n").map_err(io_error("write", path))?;
            written = 1;
        }
        file.write(lines).map_err(io_error("write", path))?;
        file.sync().map_err(io_error("sync", path))?;
        self.line_open = false;
        if self.mark.length == 0 {
            self.mark.begun_secs = now_secs;
        }
        self.mark.length += written + lines.len() as u64;
        Ok(())
    }

    /// [`StoreError::Changed`] when another program writes the file too.
    fn check_length(&mut self) -> Result<(), StoreError> {
        let path = &self.spec.path;
        let file = self.file.as_deref_mut().expect("begun before it is written");
        let found = file.length().map_err(io_error("examine", path))?;
        let committed = self.mark.length;
        if found != committed {
            return Err(StoreError::Changed { path: path.clone(), committed, found });
        }
        Ok(())
    }

    fn ends_within_a_line(&mut self) -> Result<bool, StoreError> {
        let Some(last) = self.mark.length.checked_sub(1) else { return Ok(false) };
        let path = &self.spec.path;
        let mut byte = [0];
        let file = self.file.as_deref_mut().expect("opened before it is read");
        file.read(last, &mut byte).map_err(io_error("read", path))?;
        Ok(byte != *b"\n")
    }

    fn prune(&self, disk: &mut dyn Disk) -> Result<(), StoreError> {
        let Some(keep) = self.spec.keep else { return Ok(()) };
        let rotated = self.rotated_before(disk)?;
        let surplus = rotated.len().saturating_sub(keep as usize);
        for stamp in &rotated[..surplus] {
            let path = self.path_of(*stamp);
            remove_if_there(disk, &path).map_err(io_error("remove", &path))?;
        }
        Ok(())
    }

    /// The rotated files that are still there, the oldest first.
    fn rotated_before(&self, disk: &mut dyn Disk) -> Result<Vec<Stamp>, StoreError> {
        let folder = folder_of(&self.spec.path);
        let names = disk.names(folder).map_err(io_error("list", folder))?;
        let mut stamps: Vec<Stamp> =
            names.iter().filter_map(|name| stamp_of(&self.spec.path, name)).collect();
        stamps.sort_unstable();
        Ok(stamps)
    }

    fn path_of(&self, stamp: Stamp) -> PathBuf {
        path_of(&self.spec.path, stamp)
    }
}

/// The mark of a file that no state log knows: at its end.
fn first_mark(disk: &mut dyn Disk, path: &Path) -> Result<Mark, StoreError> {
    let (Some(name), Some(_)) = (path.to_str(), path.file_name()) else {
        return Err(StoreError::Nameless { path: path.to_owned() });
    };
    let file = open_if_there(disk, path).map_err(io_error("open", path))?;
    let length = match file {
        Some(mut file) => {
            // The mark will say that this much is durable.
            file.sync().map_err(io_error("sync", path))?;
            file.length().map_err(io_error("examine", path))?
        }
        None => 0,
    };
    let begun_secs = disk.now_secs();
    Ok(Mark { path: name.to_owned(), length, begun_secs, last: None, renaming: None })
}

/// Truncates what was not committed. [`StoreError::Changed`] when the file is shorter than that.
fn truncate(file: &mut dyn DiskFile, path: &Path, committed: u64) -> Result<(), StoreError> {
    let found = file.length().map_err(io_error("examine", path))?;
    if found < committed {
        return Err(StoreError::Changed { path: path.to_owned(), committed, found });
    }
    if found > committed {
        info!(
            path = %path.display(),
            bytes = found - committed,
            "took back what was written and not committed"
        );
        file.truncate(committed).map_err(io_error("cut", path))?;
        file.sync().map_err(io_error("sync", path))?;
    }
    Ok(())
}

/// `NAME.YYYYMMDDTHHMMSSZ[-n].EXT` beside `NAME.EXT`.
fn path_of(path: &Path, stamp: Stamp) -> PathBuf {
    let since_1970 = SignedDuration::from_secs(stamp.secs.min(SECS_MAX) as i64);
    let time = UNIX_EPOCH.checked_add(since_1970).expect("from 1970 to 9999");
    let mut name = path.file_stem().unwrap_or_default().to_os_string();
    name.push(format!(".{}", time.strftime(STAMP_FORMAT)));
    if stamp.number > 0 {
        name.push(format!("-{}", stamp.number));
    }
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}

/// The stamp in the name of a file that was rotated from `path`; `None` for any other name.
fn stamp_of(path: &Path, name: &str) -> Option<Stamp> {
    let stem = path.file_stem().and_then(OsStr::to_str)?;
    let rest = name.strip_prefix(stem)?.strip_prefix('.')?;
    let rest = match path.extension().and_then(OsStr::to_str) {
        Some(extension) => rest.strip_suffix(extension)?.strip_suffix('.')?,
        None => rest,
    };
    let (time, number) = match rest.split_once('-') {
        Some((time, number)) => (time, number.parse().ok()?),
        None => (rest, 0),
    };
    let since_1970 = DateTime::strptime(STAMP_FORMAT, time).ok()?.duration_since(UNIX_EPOCH);
    let secs = u64::try_from(since_1970.as_secs()).ok()?;
    let stamp = Stamp { secs, number };
    // Names with signs or leading zeros are those of others.
    (path_of(path, stamp).file_name()?.to_str() == Some(name)).then_some(stamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_rotated_files_read_back_and_others_do_not() {
        let secs = 1_759_305_600;
        for (path, number, name) in [
            ("out/incidents.jsonl", 0, "out/incidents.20251001T080000Z.jsonl"),
            ("incidents.jsonl", 12, "incidents.20251001T080000Z-12.jsonl"),
            ("a.b.c", 0, "a.b.20251001T080000Z.c"),
            ("plain", 1, "plain.20251001T080000Z-1"),
        ] {
            let stamp = Stamp { secs, number };
            assert_eq!(path_of(Path::new(path), stamp), Path::new(name));
            let name = Path::new(name).file_name().unwrap().to_str().unwrap();
            assert_eq!(stamp_of(Path::new(path), name), Some(stamp));
        }
        let last = Stamp { secs: SECS_MAX, number: 0 };
        let beyond = Stamp { secs: SECS_MAX + 1, number: 0 };
        for stamp in [last, beyond] {
            assert_eq!(path_of(Path::new("a.c"), stamp), Path::new("a.99991231T235959Z.c"));
        }
        assert_eq!(stamp_of(Path::new("a.c"), "a.99991231T235959Z.c"), Some(last));
        for name in [
            "incidents.19691231T235959Z.jsonl",
            "incidents.20251001T080060Z.jsonl",
            "incidents.20250231T080000Z.jsonl",
            "incidents.+2025100T080000Z.jsonl",
            "incidents. 2025100T080000Z.jsonl",
            "incidents.jsonl",
            "incidents.20251001T080000Z",
            "incidents.20251001T080000Z.jsonl.gz",
            "incidents.20251001T080000Z-0.jsonl",
            "incidents.20251001T080000Z-01.jsonl",
            "incidents.20251001T080000Z-+1.jsonl",
            "incidents.20251001T080000Z-99999999999.jsonl",
            "incidents.20251301T080000Z.jsonl",
            "incidents.20251001t080000z.jsonl",
            "incidents.20251001T08000\u{e9}Z.jsonl",
            "incidents.2025100\u{e9}T080000Z.jsonl",
            "incidents..jsonl",
            "other.20251001T080000Z.jsonl",
        ] {
            assert_eq!(stamp_of(Path::new("incidents.jsonl"), name), None, "{name}");
        }
    }
}

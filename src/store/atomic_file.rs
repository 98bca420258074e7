//! An output file that appears under its name complete, or not at all.
//!
//! ```text
//!  create ─▶ .twinsid-PID-N.tmp beside the destination
//!  write  ─▶ buffer ─▶ temporary file
//!  commit ─▶ flush ─▶ sync ─▶ rename over the destination ─▶ sync the folder
//!  drop   ─▶ remove the temporary file
//! ```
//!
//! In go bytes. After a crash the destination is the old file until the rename, and the complete new
//! one from then on; a process that is killed before leaves the temporary file behind. Devices, pipes
//! and sockets are written directly, as there is nothing to replace. A link is followed, and the file
//! it leads to is replaced.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::StoreError;
use super::disk::{Disk, DiskFile, RealDisk, folder_of};

/// Bytes written to the file at a time.
const BUFFER_BYTES: usize = 256 * 1024;

/// Names tried for the temporary file: killed processes with the same id may have left some behind.
const TEMPORARY_NAMES_MAX: u32 = 1000;

/// A file that appears under its name when it is committed, and not before.
#[derive(Debug)]
pub struct AtomicFile {
    /// As the user wrote it.
    path: PathBuf,
    disk: Box<dyn Disk>,
    file: Box<dyn DiskFile>,
    buffer: Vec<u8>,
    target: WriteTarget,
    /// Whether a write failed, so that the file is incomplete.
    torn: bool,
}

#[derive(Debug)]
enum WriteTarget {
    /// The destination itself.
    Direct,
    /// A file beside the destination, which it will replace.
    Beside { temporary: PathBuf, destination: PathBuf, renamed: bool },
}

/// The permissions of a new file.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Permissions {
    /// Those of the file that it will replace.
    OfTheOld,
    /// The usual ones of that folder.
    OfTheFolder,
}

impl AtomicFile {
    /// Creates the temporary file, or opens the device.
    pub fn create(path: &Path) -> Result<AtomicFile, StoreError> {
        AtomicFile::create_on(path, Box::new(RealDisk))
    }

    /// Lets `fill` write into the file.
    pub fn fill(
        &mut self,
        fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), StoreError> {
        fill(self).map_err(|cause| self.error("write", cause))
    }

    /// Makes the file durable under its name. After an error the destination is as it was, unless only
    /// the sync of the folder failed: then it is new, but a power failure may still undo that.
    pub fn commit(mut self) -> Result<(), StoreError> {
        self.write_buffer().map_err(|cause| self.error("write", cause))?;
        let AtomicFile { path, disk, file, target, .. } = &mut self;
        let error = |doing, cause| StoreError::Io { path: path.clone(), doing, cause };
        let WriteTarget::Beside { temporary, destination, renamed } = target else { return Ok(()) };
        file.sync().map_err(|cause| error("sync", cause))?;
        disk.rename(temporary, destination).map_err(|cause| error("replace", cause))?;
        *renamed = true;
        disk.sync_folder(folder_of(destination)).map_err(|cause| error("sync the folder of", cause))
    }

    fn create_on(path: &Path, mut disk: Box<dyn Disk>) -> Result<AtomicFile, StoreError> {
        let error = |doing, cause| StoreError::Io { path: path.to_owned(), doing, cause };
        let (file, target) = match fs::metadata(path) {
            Ok(known) if known.is_dir() => {
                return Err(StoreError::Folder { path: path.to_owned() });
            }
            Ok(known) if !known.is_file() => {
                (disk.open_device(path).map_err(|cause| error("open", cause))?, WriteTarget::Direct)
            }
            Ok(_) => {
                let destination = path.canonicalize().map_err(|cause| error("find", cause))?;
                beside(&mut *disk, destination, Permissions::OfTheOld)
                    .map_err(|cause| error("create a file beside", cause))?
            }
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
                let ends_in_separator = path.to_string_lossy().ends_with(std::path::is_separator);
                if ends_in_separator || path.file_name().is_none() {
                    return Err(StoreError::Nameless { path: path.to_owned() });
                }
                beside(&mut *disk, path.to_owned(), Permissions::OfTheFolder)
                    .map_err(|cause| error("create", cause))?
            }
            Err(cause) => return Err(error("examine", cause)),
        };
        let buffer = Vec::with_capacity(BUFFER_BYTES);
        Ok(AtomicFile { path: path.to_owned(), disk, file, buffer, target, torn: false })
    }

    fn write_buffer(&mut self) -> io::Result<()> {
        if self.torn {
            return Err(io::Error::other("an earlier write failed"));
        }
        let written = self.file.write(&self.buffer);
        self.torn = written.is_err();
        self.buffer.clear();
        written
    }

    fn error(&self, doing: &'static str, cause: io::Error) -> StoreError {
        StoreError::Io { path: self.path.clone(), doing, cause }
    }
}

/// Fills the buffer; it goes to the file when it is full.
impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.len() >= BUFFER_BYTES {
            self.write_buffer()?;
        }
        let taken = bytes.len().min(BUFFER_BYTES - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.write_buffer()
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if let WriteTarget::Beside { temporary, renamed: false, .. } = &self.target {
            // An error has nowhere to go, and costs nothing but disk space.
            let _ = self.disk.remove(temporary);
        }
    }
}

/// Creates the temporary file in the folder of `destination`.
fn beside(
    disk: &mut dyn Disk,
    destination: PathBuf,
    permissions: Permissions,
) -> io::Result<(Box<dyn DiskFile>, WriteTarget)> {
    let folder = folder_of(&destination);
    let process = std::process::id();
    for number in 0..TEMPORARY_NAMES_MAX {
        let temporary = folder.join(format!(".twinsid-{process}-{number}.tmp"));
        let file = match disk.create(&temporary) {
            Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => continue,
            created => created?,
        };
        if permissions == Permissions::OfTheOld
            && let Err(cause) = disk.copy_permissions(&destination, &temporary)
        {
            let _ = disk.remove(&temporary);
            return Err(cause);
        }
        return Ok((file, WriteTarget::Beside { temporary, destination, renamed: false }));
    }
    Err(io::Error::other(format!(
        "`{}` holds {TEMPORARY_NAMES_MAX} files `.twinsid-{process}-….tmp` of killed processes",
        folder.display()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::disk::doubles::{Done, FailingDisk, Failure, Fault};

    fn files_in(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Three buffers of lines.
    fn content() -> String {
        (0..BUFFER_BYTES / 3).map(|n| format!("{n:08}\n")).collect()
    }

    fn failing(fails_at: usize, failure: Failure) -> Box<dyn Disk> {
        Box::new(FailingDisk { disk: RealDisk, fault: Fault::at(fails_at, failure, Done::Half) })
    }

    fn replace(path: &Path, disk: Box<dyn Disk>, content: &str) -> Result<(), StoreError> {
        let mut file = AtomicFile::create_on(path, disk)?;
        file.write_all(content.as_bytes()).map_err(|cause| file.error("write", cause))?;
        file.commit()
    }

    fn write_whole(
        path: &Path,
        fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), StoreError> {
        let mut file = AtomicFile::create(path)?;
        fill(&mut file).map_err(|cause| file.error("write", cause))?;
        file.commit()
    }

    #[test]
    fn a_disk_that_fails_at_any_step_leaves_the_old_file_or_the_whole_new_one() {
        let new = content();
        for (old, failure) in [
            (None, Failure::Once),
            (None, Failure::Kill),
            (Some("old\n"), Failure::Once),
            (Some("old\n"), Failure::Kill),
        ] {
            let mut succeeded = false;
            for fails_at in 0..32 {
                let folder = tempfile::tempdir().unwrap();
                let path = folder.path().join("incidents.jsonl");
                if let Some(old) = old {
                    fs::write(&path, old).unwrap();
                }
                let disk = failing(fails_at, failure);
                succeeded = replace(&path, disk, &new).is_ok();
                let found = fs::read_to_string(&path).ok();
                let case = format!("old {old:?}, {failure:?} at step {fails_at}");
                if succeeded {
                    assert!(found.as_deref() == Some(new.as_str()), "{case}: not the new file");
                    assert_eq!(files_in(folder.path()), ["incidents.jsonl"], "{case}");
                    assert!(fails_at >= 7, "{case}: fewer steps than expected");
                    break;
                }
                assert!(
                    found.as_deref() == old || found.as_deref() == Some(new.as_str()),
                    "{case}: neither old nor new"
                );
                if failure == Failure::Once {
                    assert!(
                        files_in(folder.path()).iter().all(|name| name == "incidents.jsonl"),
                        "{case}: a temporary file is left"
                    );
                }
            }
            assert!(succeeded, "old {old:?}, {failure:?}: never ran to the end");
        }
    }

    #[test]
    fn a_file_that_missed_a_write_cannot_be_committed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("incidents.jsonl");
        let mut file = AtomicFile::create_on(&path, failing(1, Failure::Once)).unwrap();
        assert!(file.write_all(content().as_bytes()).is_err());
        let error = file.commit().unwrap_err().to_string();
        assert!(error.contains("an earlier write failed"), "{error}");
        assert_eq!(files_in(folder.path()), [""; 0]);
    }

    #[test]
    fn a_file_that_is_dropped_was_never_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("incidents.jsonl");
        fs::write(&path, "old").unwrap();
        let mut file = AtomicFile::create(&path).unwrap();
        file.write_all(b"1\n").unwrap();
        file.flush().unwrap();
        assert_eq!(files_in(folder.path()).len(), 2);
        drop(file);
        assert_eq!(files_in(folder.path()), ["incidents.jsonl"]);
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
    }

    #[test]
    fn two_files_are_written_in_one_folder_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let paths = ["a", "b"].map(|name| folder.path().join(name));
        let mut files = paths.each_ref().map(|path| AtomicFile::create(path).unwrap());
        for (file, text) in files.iter_mut().zip(["one", "two"]) {
            file.write_all(text.as_bytes()).unwrap();
        }
        for file in files {
            file.commit().unwrap();
        }
        assert_eq!(paths.map(|path| fs::read_to_string(path).unwrap()), ["one", "two"]);
    }

    #[cfg(unix)]
    #[test]
    fn devices_are_written_straight_and_links_are_followed() {
        use std::os::unix::fs::PermissionsExt;

        write_whole(Path::new("/dev/null"), |out| out.write_all(b"x")).unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());

        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        fs::write(&real, "old").unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o600)).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        write_whole(&link, |out| out.write_all(b"new")).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&real).unwrap(), "new");
        assert_eq!(fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn errors_name_the_file_and_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let error = |path: &Path| AtomicFile::create(path).unwrap_err().to_string();
        let missing = folder.path().join("missing/incidents.jsonl");
        let text = error(&missing);
        assert!(text.starts_with(&format!("cannot create `{}`: ", missing.display())), "{text}");
        assert!(text.ends_with("hint: make the folder first"), "{text}");
        assert_eq!(
            error(folder.path()),
            format!(
                "cannot write `{}`: it is a folder\n  hint: name a file in it",
                folder.path().display()
            )
        );
        let nameless =
            [PathBuf::new(), folder.path().join("missing/"), PathBuf::from("missing/..")];
        for path in nameless {
            let text = error(&path);
            assert!(text.ends_with("does not end in the name of a file"), "{text}");
        }
        assert!(error(Path::new("..")).contains("is a folder"));
    }
}

//! Each step that the store does to the disk, behind a trait, so that a test can let any of them fail.
//!
//! [`RealDisk`] is that of the machine. The tests have two more: one that fails at a step of their
//! choice, and one in memory that forgets at a crash whatever was not synced. Nothing is promised
//! after a crash but what was synced before it.

use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Folders, names, and the clock that goes with them.
pub(crate) trait Disk: fmt::Debug + Send {
    /// Creates a file; an error when it exists.
    fn create(&mut self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Opens a regular file that exists.
    fn open(&mut self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Opens a device, pipe or socket that exists.
    fn open_device(&mut self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Locks the file, and creates it when it is missing, until the result is dropped; `None` when
    /// another process has locked it.
    fn lock(&mut self, path: &Path) -> io::Result<Option<Box<dyn DiskFile>>>;
    /// Gives a file the permissions of another.
    fn copy_permissions(&mut self, from: &Path, to: &Path) -> io::Result<()>;
    /// Replaces a file that exists at `to`.
    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove(&mut self, path: &Path) -> io::Result<()>;
    /// Creates a folder and those above it, durably; no error when it exists.
    fn create_folder(&mut self, path: &Path) -> io::Result<()>;
    /// The names in a folder that are Unicode, in any order.
    fn names(&mut self, folder: &Path) -> io::Result<Vec<String>>;
    fn sync_folder(&mut self, path: &Path) -> io::Result<()>;
    /// Seconds since 1970.
    fn now_secs(&self) -> u64;
}

/// An open file.
pub(crate) trait DiskFile: fmt::Debug + Send {
    /// Appends.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;
    fn sync(&mut self) -> io::Result<()>;
    /// Makes the file that short.
    fn truncate(&mut self, length: u64) -> io::Result<()>;
    fn length(&mut self) -> io::Result<u64>;
    /// Fills the buffer from `offset` on; an error when the file ends before.
    fn read(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
}

pub(crate) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// `None` when there is no such file.
pub(crate) fn open_if_there(
    disk: &mut dyn Disk,
    path: &Path,
) -> io::Result<Option<Box<dyn DiskFile>>> {
    match disk.open(path) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
        opened => opened.map(Some),
    }
}

pub(crate) fn remove_if_there(disk: &mut dyn Disk, path: &Path) -> io::Result<()> {
    match disk.remove(path) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// A file that another process may be writing.
pub(crate) fn open_to_read(path: &Path) -> io::Result<Box<dyn DiskFile>> {
    Ok(Box::new(RealFile(File::open(path)?)))
}

/// The file that a link leads to; any other path as it is.
pub(crate) fn behind_link(path: PathBuf) -> PathBuf {
    let is_link = fs::symlink_metadata(&path).is_ok_and(|known| known.is_symlink());
    if is_link { path.canonicalize().unwrap_or(path) } else { path }
}

#[derive(Debug)]
pub(crate) struct RealDisk;

impl Disk for RealDisk {
    fn create(&mut self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        Ok(Box::new(RealFile(file)))
    }

    fn open(&mut self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        // Checked before: opening a pipe waits for its other end.
        if !fs::metadata(path)?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
        }
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        Ok(Box::new(RealFile(file)))
    }

    fn open_device(&mut self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(RealDevice(OpenOptions::new().write(true).open(path)?)))
    }

    fn lock(&mut self, path: &Path) -> io::Result<Option<Box<dyn DiskFile>>> {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(RealFile(file)))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(cause)) => Err(cause),
        }
    }

    fn copy_permissions(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        fs::set_permissions(to, fs::metadata(from)?.permissions())
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn create_folder(&mut self, path: &Path) -> io::Result<()> {
        if path.is_dir() {
            return Ok(());
        }
        let above = folder_of(path);
        self.create_folder(above)?;
        fs::create_dir(path)?;
        self.sync_folder(above)
    }

    fn names(&mut self, folder: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(folder)? {
            // Our own names are Unicode.
            names.extend(entry?.file_name().into_string().ok());
        }
        Ok(names)
    }

    fn sync_folder(&mut self, path: &Path) -> io::Result<()> {
        // Folders can be opened and synced on Unix only.
        if !cfg!(unix) {
            return Ok(());
        }
        match File::open(path)?.sync_all() {
            // Some network file systems cannot sync a folder.
            Err(cause) if cause.kind() == io::ErrorKind::InvalidInput => Ok(()),
            synced => synced,
        }
    }

    fn now_secs(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
    }
}

#[derive(Debug)]
struct RealFile(File);

impl DiskFile for RealFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        // Not opened for appending: Windows would refuse to truncate it.
        self.0.seek(SeekFrom::End(0))?;
        self.0.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_all()
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn length(&mut self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.0.seek(SeekFrom::Start(offset))?;
        self.0.read_exact(buffer)
    }
}

/// Accepts what is written; it cannot be synced, truncated or read.
#[derive(Debug)]
struct RealDevice(File);

impl DiskFile for RealDevice {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn truncate(&mut self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn length(&mut self) -> io::Result<u64> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn read(&mut self, _: u64, _: &mut [u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(test)]
pub(crate) mod doubles {
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex, MutexGuard};

    use super::*;

    /// What happens at the failing step and after.
    #[derive(Clone, Copy, Debug, PartialEq)]
    pub enum Failure {
        /// One step fails, the next ones work.
        Once,
        /// The process is gone: nothing after that step happens.
        Kill,
    }

    /// How much of the failing step is done all the same.
    #[derive(Clone, Copy, Debug, PartialEq)]
    pub enum Done {
        Nothing,
        /// Half of the bytes of a write; of any other step nothing.
        Half,
        /// Everything, but it is reported as an error.
        Whole,
    }

    /// Counts steps over a disk and its files, and lets one of them fail.
    #[derive(Clone, Debug)]
    pub struct Fault {
        steps_done: Arc<Mutex<usize>>,
        fails_at: usize,
        failure: Failure,
        done: Done,
    }

    impl Fault {
        pub fn at(fails_at: usize, failure: Failure, done: Done) -> Fault {
            Fault { steps_done: Arc::default(), fails_at, failure, done }
        }

        pub fn steps_done(&self) -> usize {
            *self.steps_done.lock().unwrap()
        }

        /// The error that the step ends with, and how much of it is done.
        fn step(&self) -> Option<Done> {
            let mut steps_done = self.steps_done.lock().unwrap();
            let at = *steps_done;
            *steps_done += 1;
            match self.failure {
                _ if at == self.fails_at => Some(self.done),
                Failure::Kill if at > self.fails_at => Some(Done::Nothing),
                Failure::Kill | Failure::Once => None,
            }
        }

        fn run<T>(&self, step: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
            match self.step() {
                None => step(),
                Some(Done::Whole) => {
                    let _ = step();
                    Err(failed())
                }
                Some(Done::Nothing | Done::Half) => Err(failed()),
            }
        }
    }

    fn failed() -> io::Error {
        io::Error::other("the disk failed")
    }

    /// Any disk, with a fault.
    #[derive(Debug)]
    pub struct FailingDisk<D> {
        pub disk: D,
        pub fault: Fault,
    }

    #[derive(Debug)]
    struct FailingFile {
        file: Box<dyn DiskFile>,
        fault: Fault,
    }

    impl<D: Disk> FailingDisk<D> {
        fn wrapped(&self, file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
            Box::new(FailingFile { file, fault: self.fault.clone() })
        }
    }

    impl<D: Disk> Disk for FailingDisk<D> {
        fn create(&mut self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
            let file = self.fault.clone().run(|| self.disk.create(path))?;
            Ok(self.wrapped(file))
        }

        fn open(&mut self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
            let file = self.fault.clone().run(|| self.disk.open(path))?;
            Ok(self.wrapped(file))
        }

        fn open_device(&mut self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
            let file = self.fault.clone().run(|| self.disk.open_device(path))?;
            Ok(self.wrapped(file))
        }

        fn lock(&mut self, path: &Path) -> io::Result<Option<Box<dyn DiskFile>>> {
            self.fault.clone().run(|| self.disk.lock(path))
        }

        fn copy_permissions(&mut self, from: &Path, to: &Path) -> io::Result<()> {
            self.fault.clone().run(|| self.disk.copy_permissions(from, to))
        }

        fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
            self.fault.clone().run(|| self.disk.rename(from, to))
        }

        fn remove(&mut self, path: &Path) -> io::Result<()> {
            self.fault.clone().run(|| self.disk.remove(path))
        }

        fn create_folder(&mut self, path: &Path) -> io::Result<()> {
            self.fault.clone().run(|| self.disk.create_folder(path))
        }

        fn names(&mut self, folder: &Path) -> io::Result<Vec<String>> {
            self.fault.clone().run(|| self.disk.names(folder))
        }

        fn sync_folder(&mut self, path: &Path) -> io::Result<()> {
            self.fault.clone().run(|| self.disk.sync_folder(path))
        }

        fn now_secs(&self) -> u64 {
            self.disk.now_secs()
        }
    }

    impl DiskFile for FailingFile {
        fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
            let written = match self.fault.step() {
                None => return self.file.write(bytes),
                Some(Done::Nothing) => 0,
                Some(Done::Half) => bytes.len() / 2,
                Some(Done::Whole) => bytes.len(),
            };
            self.file.write(&bytes[..written])?;
            Err(failed())
        }

        fn sync(&mut self) -> io::Result<()> {
            self.fault.run(|| self.file.sync())
        }

        fn truncate(&mut self, length: u64) -> io::Result<()> {
            self.fault.run(|| self.file.truncate(length))
        }

        fn length(&mut self) -> io::Result<u64> {
            self.fault.run(|| self.file.length())
        }

        fn read(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
            self.fault.run(|| self.file.read(offset, buffer))
        }
    }

    /// What a crash leaves of what was not synced.
    #[derive(Clone, Copy, Debug, PartialEq)]
    pub enum Crash {
        /// Everything: only the process died, and a power failure may still follow.
        Process,
        /// Nothing.
        Power,
        /// The names, but not the bytes.
        Names,
        /// The bytes, but not the names.
        Bytes,
        /// The names, and half of the bytes that came after the sync.
        HalfOfTheBytes,
        /// The names and the lengths; zeros stand for the bytes.
        Zeros,
        /// The bytes, and of the changes of names the first, third and so on.
        OddNames,
        /// The bytes, and of the changes of names the others.
        EvenNames,
        /// The bytes, and only the last change of names.
        LastName,
    }

    pub const CRASHES: [Crash; 9] = [
        Crash::Process,
        Crash::Power,
        Crash::Names,
        Crash::Bytes,
        Crash::HalfOfTheBytes,
        Crash::Zeros,
        Crash::OddNames,
        Crash::EvenNames,
        Crash::LastName,
    ];

    /// A disk in memory, shared by its clones.
    #[derive(Clone, Debug, Default)]
    pub struct MemoryDisk(Arc<Mutex<Memory>>);

    #[derive(Debug, Default)]
    struct Memory {
        now_secs: u64,
        files: Vec<MemoryContent>,
        names: Names,
        /// As they are on the platter.
        names_synced: Names,
        /// What happened to names since, in order.
        changes: Vec<Change>,
    }

    type Names = BTreeMap<PathBuf, usize>;

    #[derive(Clone, Debug, Default)]
    struct MemoryContent {
        bytes: Vec<u8>,
        synced: Vec<u8>,
    }

    #[derive(Clone, Debug)]
    enum Change {
        Create(PathBuf, usize),
        Rename(PathBuf, PathBuf),
        Remove(PathBuf),
    }

    impl Change {
        fn folder(&self) -> &Path {
            let (Change::Create(path, _) | Change::Rename(path, _) | Change::Remove(path)) = self;
            folder_of(path)
        }

        fn apply(&self, names: &mut Names) {
            match self {
                Change::Create(path, file) => drop(names.insert(path.clone(), *file)),
                Change::Rename(from, to) => {
                    if let Some(file) = names.remove(from) {
                        names.insert(to.clone(), file);
                    }
                }
                Change::Remove(path) => drop(names.remove(path)),
            }
        }
    }

    #[derive(Debug)]
    struct MemoryFile {
        memory: Arc<Mutex<Memory>>,
        file: usize,
    }

    impl MemoryDisk {
        fn memory(&self) -> MutexGuard<'_, Memory> {
            self.0.lock().unwrap()
        }

        pub fn set_now_secs(&self, now_secs: u64) {
            self.memory().now_secs = now_secs;
        }

        /// Restarts the machine with that much left.
        pub fn crash(&self, crash: Crash) {
            if crash == Crash::Process {
                return;
            }
            let mut memory = self.memory();
            let memory = &mut *memory;
            let changes = std::mem::take(&mut memory.changes);
            let kept = |at: usize| match crash {
                Crash::Process | Crash::Names | Crash::HalfOfTheBytes | Crash::Zeros => true,
                Crash::Power | Crash::Bytes => false,
                Crash::OddNames => at.is_multiple_of(2),
                Crash::EvenNames => !at.is_multiple_of(2),
                Crash::LastName => at + 1 == changes.len(),
            };
            for (at, change) in changes.iter().enumerate() {
                if kept(at) {
                    change.apply(&mut memory.names_synced);
                }
            }
            memory.names = memory.names_synced.clone();
            for file in &mut memory.files {
                let common = file.bytes.iter().zip(&file.synced).take_while(|(a, b)| a == b);
                let common = common.count();
                match crash {
                    Crash::Process
                    | Crash::Bytes
                    | Crash::OddNames
                    | Crash::EvenNames
                    | Crash::LastName => {}
                    Crash::Power | Crash::Names => file.bytes.clone_from(&file.synced),
                    Crash::HalfOfTheBytes => {
                        let half = common + (file.bytes.len() - common) / 2;
                        file.bytes.truncate(half);
                    }
                    Crash::Zeros => file.bytes[common..].fill(0),
                }
                file.synced.clone_from(&file.bytes);
            }
        }

        pub fn content(&self, path: &Path) -> Option<Vec<u8>> {
            let memory = self.memory();
            memory.names.get(path).map(|file| memory.files[*file].bytes.clone())
        }

        /// As another program would write it.
        pub fn put(&self, path: &Path, bytes: &[u8]) {
            let mut memory = self.memory();
            let file = memory.files.len();
            memory.files.push(MemoryContent { bytes: bytes.to_vec(), synced: bytes.to_vec() });
            memory.names.insert(path.to_owned(), file);
            memory.names_synced.insert(path.to_owned(), file);
        }

        /// As another program would remove it.
        pub fn take(&self, path: &Path) {
            let mut memory = self.memory();
            memory.names.remove(path).unwrap();
            memory.names_synced.remove(path);
        }

        pub fn paths(&self) -> Vec<PathBuf> {
            self.memory().names.keys().cloned().collect()
        }

        fn file(&self, file: usize) -> Box<dyn DiskFile> {
            Box::new(MemoryFile { memory: Arc::clone(&self.0), file })
        }
    }

    impl Memory {
        fn change(&mut self, change: Change) {
            change.apply(&mut self.names);
            self.changes.push(change);
        }

        fn found(&self, path: &Path) -> io::Result<usize> {
            self.names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
        }
    }

    impl Disk for MemoryDisk {
        fn create(&mut self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
            let mut memory = self.memory();
            if memory.names.contains_key(path) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            let file = memory.files.len();
            memory.files.push(MemoryContent::default());
            memory.change(Change::Create(path.to_owned(), file));
            Ok(self.file(file))
        }

        fn open(&mut self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
            let file = self.memory().found(path)?;
            Ok(self.file(file))
        }

        fn open_device(&mut self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
            self.open(path)
        }

        fn lock(&mut self, path: &Path) -> io::Result<Option<Box<dyn DiskFile>>> {
            let there = self.memory().names.contains_key(path);
            if there { self.open(path) } else { self.create(path) }.map(Some)
        }

        fn copy_permissions(&mut self, from: &Path, to: &Path) -> io::Result<()> {
            let memory = self.memory();
            memory.found(from).and(memory.found(to)).map(drop)
        }

        fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
            let mut memory = self.memory();
            memory.found(from)?;
            memory.change(Change::Rename(from.to_owned(), to.to_owned()));
            Ok(())
        }

        fn remove(&mut self, path: &Path) -> io::Result<()> {
            let mut memory = self.memory();
            memory.found(path)?;
            memory.change(Change::Remove(path.to_owned()));
            Ok(())
        }

        fn create_folder(&mut self, _: &Path) -> io::Result<()> {
            Ok(())
        }

        fn names(&mut self, folder: &Path) -> io::Result<Vec<String>> {
            let memory = self.memory();
            let inside = memory.names.keys().filter(|path| folder_of(path) == folder);
            Ok(inside.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect())
        }

        fn sync_folder(&mut self, path: &Path) -> io::Result<()> {
            let mut memory = self.memory();
            let memory = &mut *memory;
            let (synced, rest): (Vec<Change>, Vec<Change>) =
                memory.changes.drain(..).partition(|change| change.folder() == path);
            synced.iter().for_each(|change| change.apply(&mut memory.names_synced));
            memory.changes = rest;
            Ok(())
        }

        fn now_secs(&self) -> u64 {
            self.memory().now_secs
        }
    }

    impl MemoryFile {
        fn with<T>(&self, step: impl FnOnce(&mut MemoryContent) -> T) -> T {
            step(&mut self.memory.lock().unwrap().files[self.file])
        }
    }

    impl DiskFile for MemoryFile {
        fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
            self.with(|file| file.bytes.extend_from_slice(bytes));
            Ok(())
        }

        fn sync(&mut self) -> io::Result<()> {
            self.with(|file| file.synced.clone_from(&file.bytes));
            Ok(())
        }

        fn truncate(&mut self, length: u64) -> io::Result<()> {
            self.with(|file| file.bytes.resize(length as usize, 0));
            Ok(())
        }

        fn length(&mut self) -> io::Result<u64> {
            Ok(self.with(|file| file.bytes.len() as u64))
        }

        fn read(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
            self.with(|file| {
                let from = offset as usize;
                let found = file.bytes.get(from..from + buffer.len());
                buffer.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
                Ok(())
            })
        }
    }
}

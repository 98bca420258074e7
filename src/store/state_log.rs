//! The state log: changelog entries and snapshots in a state folder, from which a restart resumes.
//!
//! ```text
//!  lock          held by the process that uses the folder
//!  snapshot-7    one entry: the marks of the output files, the state at that time
//!  frames-7      an entry for each commit since: marks, frame
//! ```
//!
//! In go frames (encoded changelog entries), states and the marks of output files; out come the last
//! snapshot and the frames since. `state_file` has the bytes.
//!
//! A commit appends one entry and syncs: from then on it is durable. A snapshot begins the next
//! generation:
//!
//! ```text
//!  write and sync snapshot.tmp ─▶ write and sync frames-8, empty ─▶ sync the folder
//!    ─▶ rename to snapshot-8 ─▶ sync the folder ─▶ remove generation 7
//! ```
//!
//! so a snapshot under its name is complete and has its frames beside it. After a crash at any
//! instant, [`StateLog::read`] gives everything up to the last commit that returned, and at most the
//! one after it; a torn entry at the end is truncated. Anything else that does not read back is
//! [`StoreError::Damaged`], and nothing is changed.

use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::path::{Path, PathBuf};

use super::disk::{Disk, DiskFile, open_to_read, remove_if_there};
use super::rotating_file::Mark;
pub(crate) use super::state_file::CHANGELOG_ENTRY_BYTES_MAX;
use super::state_file::{
    EntryBytes, HEAD_BYTES, NextEntry, PayloadKind, SNAPSHOT_BYTES_MAX, StateFileKind,
    StateFileReader, head, refuse,
};
use super::{PeekedState, RestoredState, StoreError, io_error};

const TEMPORARY: &str = "snapshot.tmp";

/// A generation that is replaced while it is read is read anew, so often at the most.
const PEEKS_MAX: usize = 100;

/// What was committed last; `None` when nothing ever was. The folder is not locked and nothing is
/// changed, so a service may run on it.
pub(crate) fn peek(folder: &Path) -> Result<Option<PeekedState>, StoreError> {
    let mut tries = 0;
    loop {
        let mut names = match fs::read_dir(folder) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read.map_err(io_error("list", folder))?,
        };
        let number = |name: Option<&str>| number_of(name?, "snapshot-");
        let mut newest = None;
        names
            .try_for_each(|entry| {
                newest = newest.max(number(entry?.file_name().to_str()));
                Ok(())
            })
            .map_err(io_error("list", folder))?;
        let Some(generation) = newest else { return Ok(None) };
        tries += 1;
        match peek_generation(folder, generation) {
            Err(StoreError::Io { cause, .. })
                if cause.kind() == io::ErrorKind::NotFound && tries < PEEKS_MAX => {}
            peeked => return peeked.map(Some),
        }
    }
}

fn peek_generation(folder: &Path, generation: u64) -> Result<PeekedState, StoreError> {
    let path = folder.join(format!("snapshot-{generation}"));
    let mut file = open_to_read(&path).map_err(io_error("open", &path))?;
    let (_, snapshot) = snapshot_in(&path, &mut *file, generation)?;
    let path = folder.join(format!("frames-{generation}"));
    let mut file = open_to_read(&path).map_err(io_error("open", &path))?;
    let frames = frames_in(&path, &mut *file, generation)?.frames;
    let known = fs::metadata(&path).map_err(io_error("examine", &path))?;
    let committed_at = known.modified().ok();
    Ok(PeekedState { state: RestoredState { snapshot, frames }, committed_at })
}

/// A state folder, locked by this process.
#[derive(Debug)]
pub(crate) struct StateLog {
    folder: PathBuf,
    /// Releases the folder when it is dropped.
    _lock: Box<dyn DiskFile>,
    /// 0 when there is none.
    generation: u64,
    frames: Option<FramesFile>,
}

/// The frames of the generation, open for more.
#[derive(Debug)]
struct FramesFile {
    path: PathBuf,
    file: Box<dyn DiskFile>,
    salt: u64,
    /// That of the next entry.
    sequence: u64,
    /// Offset behind the last complete entry.
    end: u64,
}

impl StateLog {
    /// Locks the folder, and creates it when it is missing. [`StoreError::Locked`] when another
    /// process has it.
    pub(crate) fn lock(disk: &mut dyn Disk, folder: &Path) -> Result<StateLog, StoreError> {
        disk.create_folder(folder).map_err(io_error("create", folder))?;
        let path = folder.join("lock");
        let lock = disk.lock(&path).map_err(io_error("lock", &path))?;
        let lock = lock.ok_or_else(|| StoreError::Locked { path: folder.to_owned() })?;
        Ok(StateLog { folder: folder.to_owned(), _lock: lock, generation: 0, frames: None })
    }

    /// The marks and the state of the last commit; `None` when there never was one. Truncates a torn
    /// entry and removes leftovers. What it returns is durable.
    pub(crate) fn read(
        &mut self,
        disk: &mut dyn Disk,
    ) -> Result<Option<(Vec<Mark>, RestoredState)>, StoreError> {
        let names = disk.names(&self.folder).map_err(io_error("list", &self.folder))?;
        let numbers = |prefix: &str| -> Vec<u64> {
            names.iter().filter_map(|name| number_of(name, prefix)).collect()
        };
        let (snapshots, frames) = (numbers("snapshot-"), numbers("frames-"));
        self.generation = snapshots.iter().max().copied().unwrap_or(0);
        for number in frames.iter().filter(|number| **number > self.generation) {
            self.check_never_begun(disk, *number)?;
        }
        let kept = match self.generation {
            0 => None,
            generation => {
                let (mut marks, snapshot) = self.read_snapshot(disk, generation)?;
                let frames = self.read_frames(disk, generation, &mut marks)?;
                Some((marks, RestoredState { snapshot, frames }))
            }
        };
        // What was renamed before a crash may not be durable yet.
        let folder = &self.folder;
        disk.sync_folder(folder).map_err(io_error("sync", folder))?;
        for number in snapshots.iter().filter(|number| **number != self.generation) {
            remove(disk, &self.snapshot_path(*number))?;
        }
        for number in frames.iter().filter(|number| **number != self.generation) {
            remove(disk, &self.frames_path(*number))?;
        }
        remove(disk, &folder.join(TEMPORARY))?;
        Ok(kept)
    }

    /// Begins a generation with this state and these marks. `snapshot` is `None` before the first
    /// commit.
    pub(crate) fn begin(
        &mut self,
        disk: &mut dyn Disk,
        marks: &[Mark],
        snapshot: Option<&[u8]>,
    ) -> Result<(), StoreError> {
        let generation = self.generation + 1;
        let salt = RandomState::new().build_hasher().finish();
        let temporary = self.folder.join(TEMPORARY);
        let entry = EntryBytes::new(marks, snapshot)?;
        let mut file = disk.create(&temporary).map_err(io_error("create", &temporary))?;
        file.write(&head(StateFileKind::Snapshot, generation, salt))
            .and_then(|()| entry.write(&mut *file, 0, salt))
            .map_err(io_error("write", &temporary))?;
        file.sync().map_err(io_error("sync", &temporary))?;
        drop(file);

        let path = self.frames_path(generation);
        let mut file = disk.create(&path).map_err(io_error("create", &path))?;
        file.write(&head(StateFileKind::Frames, generation, salt))
            .map_err(io_error("write", &path))?;
        file.sync().map_err(io_error("sync", &path))?;
        disk.sync_folder(&self.folder).map_err(io_error("sync", &self.folder))?;

        let name = self.snapshot_path(generation);
        disk.rename(&temporary, &name).map_err(io_error("rename", &temporary))?;
        disk.sync_folder(&self.folder).map_err(io_error("sync", &self.folder))?;

        self.frames = Some(FramesFile { path, file, salt, sequence: 1, end: HEAD_BYTES as u64 });
        let old = std::mem::replace(&mut self.generation, generation);
        if old > 0 {
            remove(disk, &self.snapshot_path(old))?;
            remove(disk, &self.frames_path(old))?;
        }
        Ok(())
    }

    /// Makes the marks durable, and the frame when there is one.
    pub(crate) fn append(
        &mut self,
        marks: &[Mark],
        frame: Option<&[u8]>,
    ) -> Result<(), StoreError> {
        let frames =
            self.frames.as_mut().expect("a generation is begun before frames are appended");
        let entry = EntryBytes::new(marks, frame)?;
        let FramesFile { path, file, salt, sequence, end } = frames;
        let appended = match entry.write(&mut **file, *sequence, *salt) {
            Ok(()) => file.sync().map_err(io_error("sync", path)),
            written => written.map_err(io_error("write", path)),
        };
        if appended.is_err() {
            // What was not synced may still be readable for a while, as if it were durable.
            // A restart must not read it; if this fails too, that is no worse than a crash
            // before it.
            let _ = file.truncate(*end);
            return appended;
        }
        *sequence += 1;
        *end += entry.bytes();
        Ok(())
    }

    /// Frames without their snapshot must be those of the next generation, and empty: they are
    /// created before it.
    fn check_never_begun(&self, disk: &mut dyn Disk, generation: u64) -> Result<(), StoreError> {
        let path = self.frames_path(generation);
        let mut file = disk.open(&path).map_err(io_error("open", &path))?;
        let length = file.length().map_err(io_error("examine", &path))?;
        if length > HEAD_BYTES as u64 || generation > self.generation + 1 {
            let what = format!("`snapshot-{generation}`, on which it builds, is missing");
            return Err(StoreError::Damaged { path, what });
        }
        Ok(())
    }

    fn read_snapshot(
        &self,
        disk: &mut dyn Disk,
        generation: u64,
    ) -> Result<(Vec<Mark>, Option<Vec<u8>>), StoreError> {
        let path = self.snapshot_path(generation);
        let mut file = disk.open(&path).map_err(io_error("open", &path))?;
        snapshot_in(&path, &mut *file, generation)
    }

    fn read_frames(
        &mut self,
        disk: &mut dyn Disk,
        generation: u64,
        marks: &mut Vec<Mark>,
    ) -> Result<Vec<Vec<u8>>, StoreError> {
        let path = self.frames_path(generation);
        let mut file = match disk.open(&path) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
                let what = format!("it is missing, but there is `snapshot-{generation}`");
                return Err(StoreError::Damaged { path, what });
            }
            opened => opened.map_err(io_error("open", &path))?,
        };
        let Frames { frames, last_marks, salt, sequence, end, length } =
            frames_in(&path, &mut *file, generation)?;
        if let Some(last_marks) = last_marks {
            *marks = last_marks;
        }
        if end < length {
            file.truncate(end).map_err(io_error("cut", &path))?;
        }
        // What was written before a crash may not be durable yet.
        file.sync().map_err(io_error("sync", &path))?;
        self.frames = Some(FramesFile { path, file, salt, sequence, end });
        Ok(frames)
    }

    fn snapshot_path(&self, generation: u64) -> PathBuf {
        self.folder.join(format!("snapshot-{generation}"))
    }

    fn frames_path(&self, generation: u64) -> PathBuf {
        self.folder.join(format!("frames-{generation}"))
    }
}

/// The marks and the state of a snapshot.
fn snapshot_in(
    path: &Path,
    file: &mut dyn DiskFile,
    generation: u64,
) -> Result<(Vec<Mark>, Option<Vec<u8>>), StoreError> {
    let damaged = |what: &str| StoreError::Damaged { path: path.to_owned(), what: what.to_owned() };
    let mut reader = StateFileReader::open(path, file)?;
    let length = reader.length;
    reader.read_head(StateFileKind::Snapshot, generation)?;
    match reader.read_entry(HEAD_BYTES as u64, 0, SNAPSHOT_BYTES_MAX)? {
        NextEntry::Entry { note, payload, end } if end == length => {
            Ok((note.marks, (note.payload_kind == PayloadKind::State).then_some(payload)))
        }
        NextEntry::Entry { .. } => Err(damaged("there is more behind its end")),
        NextEntry::End | NextEntry::Torn => {
            Err(damaged("it is cut short, or its checksum is wrong"))
        }
    }
}

/// What a file of frames holds.
struct Frames {
    frames: Vec<Vec<u8>>,
    /// Of the last entry; `None` when there is none.
    last_marks: Option<Vec<Mark>>,
    salt: u64,
    /// That of the next entry.
    sequence: u64,
    /// Offset behind the last complete entry.
    end: u64,
    /// With what is torn behind it.
    length: u64,
}

fn frames_in(path: &Path, file: &mut dyn DiskFile, generation: u64) -> Result<Frames, StoreError> {
    let mut reader = StateFileReader::open(path, file)?;
    let length = reader.length;
    reader.read_head(StateFileKind::Frames, generation)?;
    let salt = reader.salt;
    let (end, sequence) = (HEAD_BYTES as u64, 1);
    let mut read = Frames { frames: Vec::new(), last_marks: None, salt, sequence, end, length };
    while let NextEntry::Entry { note, payload, end } =
        reader.read_entry(read.end, read.sequence, CHANGELOG_ENTRY_BYTES_MAX)?
    {
        read.last_marks = Some(note.marks);
        if note.payload_kind == PayloadKind::State {
            read.frames.push(payload);
        }
        (read.end, read.sequence) = (end, read.sequence + 1);
    }
    Ok(read)
}

/// [`StoreError::TooLarge`] for what could not be committed.
pub(crate) fn check_size(frame: &[u8], snapshot: Option<&[u8]>) -> Result<(), StoreError> {
    match snapshot {
        Some(snapshot) => refuse("a state", snapshot.len(), SNAPSHOT_BYTES_MAX),
        None => refuse("a frame", frame.len(), CHANGELOG_ENTRY_BYTES_MAX),
    }
}

fn remove(disk: &mut dyn Disk, path: &Path) -> Result<(), StoreError> {
    remove_if_there(disk, path).map_err(io_error("remove", path))
}

/// The generation in the name of a file; `None` for names of others.
fn number_of(name: &str, prefix: &str) -> Option<u64> {
    let number = name.strip_prefix(prefix)?.parse().ok().filter(|number| *number > 0)?;
    (format!("{prefix}{number}") == name).then_some(number)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::store::disk::doubles::{Done, FailingDisk, Failure, Fault, MemoryDisk};
    use crate::store::state_file::{
        ENTRY_BYTES, EntryHeader, EntryNote, NOTE_BYTES_MAX, SEARCHED_BYTES, part,
    };

    const FOLDER: &str = "state";

    const FRAMES: [&[u8]; 4] = [b"one", b"", b"three, and somewhat longer", b"four"];

    fn read(disk: &MemoryDisk) -> Result<Option<RestoredState>, StoreError> {
        let mut disk = disk.clone();
        let mut state_log = StateLog::lock(&mut disk, Path::new(FOLDER))?;
        Ok(state_log.read(&mut disk)?.map(|(_, kept)| kept))
    }

    /// A second generation with a snapshot and these frames.
    fn made(frames: &[&[u8]]) -> MemoryDisk {
        let disk = MemoryDisk::default();
        let mut state_log = StateLog::lock(&mut disk.clone(), Path::new(FOLDER)).unwrap();
        assert_eq!(state_log.read(&mut disk.clone()).unwrap(), None);
        state_log.begin(&mut disk.clone(), &[], None).unwrap();
        state_log.append(&[], Some(b"older")).unwrap();
        state_log.begin(&mut disk.clone(), &[], Some(b"whole")).unwrap();
        for frame in frames {
            state_log.append(&[], Some(frame)).unwrap();
        }
        disk
    }

    fn kept(frames: &[&[u8]]) -> RestoredState {
        RestoredState {
            snapshot: Some(b"whole".to_vec()),
            frames: frames.iter().map(|frame| frame.to_vec()).collect(),
        }
    }

    #[test]
    fn a_peek_sees_what_is_committed_beside_the_process_that_holds_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("state");
        assert!(peek(&place).unwrap().is_none());
        assert!(!place.exists(), "nothing is made");
        let disk = &mut crate::store::disk::RealDisk;
        let mut state_log = StateLog::lock(disk, &place).unwrap();
        assert!(state_log.read(disk).unwrap().is_none());
        assert!(peek(&place).unwrap().is_none());
        state_log.begin(disk, &[], Some(b"whole")).unwrap();
        for count in 0..=FRAMES.len() {
            let peeked = peek(&place).unwrap().unwrap();
            assert_eq!(peeked.state, kept(&FRAMES[..count]));
            assert!(peeked.committed_at.is_some());
            if let Some(frame) = FRAMES.get(count) {
                state_log.append(&[], Some(frame)).unwrap();
            }
        }
        // An entry that is being written.
        let frames = place.join("frames-1");
        let torn = [fs::read(&frames).unwrap(), vec![7; 9]].concat();
        fs::write(&frames, &torn).unwrap();
        assert_eq!(peek(&place).unwrap().unwrap().state, kept(&FRAMES));
        assert_eq!(fs::read(&frames).unwrap(), torn, "nothing is changed");
    }

    fn path(name: &str) -> PathBuf {
        Path::new(FOLDER).join(name)
    }

    fn bytes(disk: &MemoryDisk, name: &str) -> Vec<u8> {
        disk.content(&path(name)).unwrap()
    }

    /// Where each entry of the frames begins, and where the last one ends.
    fn offsets(frames: &[&[u8]]) -> Vec<usize> {
        let note_bytes =
            borsh::to_vec(&EntryNote { marks: Vec::new(), payload_kind: PayloadKind::State })
                .unwrap();
        let mut offsets = vec![HEAD_BYTES];
        for frame in frames {
            offsets.push(offsets[offsets.len() - 1] + ENTRY_BYTES + note_bytes.len() + frame.len());
        }
        offsets
    }

    /// The state log with a file of it as another program left it.
    fn with(
        disk: &MemoryDisk,
        name: &str,
        bytes: &[u8],
    ) -> Result<Option<RestoredState>, StoreError> {
        disk.put(&path(name), bytes);
        let result = read(disk);
        if let Err(StoreError::Damaged { .. } | StoreError::Version { .. }) = &result {
            assert_eq!(disk.content(&path(name)).as_deref(), Some(bytes), "it was changed");
        }
        result
    }

    #[track_caller]
    fn check_damaged(result: Result<Option<RestoredState>, StoreError>, says: &str) {
        let error = result.unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains(says) && text.contains("\n  hint: "), "{text}");
    }

    #[test]
    fn frames_that_end_anywhere_are_those_that_are_whole() {
        let whole = bytes(&made(&FRAMES), "frames-2");
        assert_eq!(whole.len(), *offsets(&FRAMES).last().unwrap());
        let disk = made(&FRAMES);
        // The salt of that disk is another one.
        let whole_here = bytes(&disk, "frames-2");
        assert_ne!(whole, whole_here);
        for end in 0..=whole_here.len() {
            let result = with(&disk, "frames-2", &whole_here[..end]);
            match offsets(&FRAMES).iter().rposition(|offset| *offset <= end) {
                Some(count) => {
                    assert_eq!(result.unwrap(), Some(kept(&FRAMES[..count])), "{end}");
                    // The torn entry is gone for good.
                    assert_eq!(bytes(&disk, "frames-2").len(), offsets(&FRAMES)[count], "{end}");
                }
                None => check_damaged(result, "within its head"),
            }
        }
    }

    #[test]
    fn after_a_torn_entry_the_state_log_goes_on() {
        let disk = made(&FRAMES);
        let whole = bytes(&disk, "frames-2");
        disk.put(&path("frames-2"), &whole[..whole.len() - 1]);
        let mut state_log = StateLog::lock(&mut disk.clone(), Path::new(FOLDER)).unwrap();
        state_log.read(&mut disk.clone()).unwrap();
        state_log.append(&[], Some(b"four again")).unwrap();
        let mut frames = FRAMES;
        frames[3] = b"four again";
        assert_eq!(read(&disk).unwrap(), Some(kept(&frames)));
    }

    #[test]
    fn an_entry_that_could_not_be_synced_is_not_shown_to_a_restart() {
        let disk = made(&FRAMES);
        let before = bytes(&disk, "frames-2");
        let mut steps = 0;
        for fails_at in 0.. {
            let fault = Fault::at(fails_at, Failure::Once, Done::Whole);
            let mut failing = FailingDisk { disk: disk.clone(), fault: fault.clone() };
            let mut state_log = StateLog::lock(&mut failing, Path::new(FOLDER));
            let read = state_log.as_mut().map(|state_log| state_log.read(&mut failing).is_ok());
            if !matches!(read, Ok(true)) {
                continue;
            }
            if state_log.unwrap().append(&[], Some(b"five")).is_ok() {
                break;
            }
            assert_eq!(bytes(&disk, "frames-2"), before, "step {fails_at}");
            steps += 1;
        }
        assert_eq!(steps, 3, "two writes and a sync");
    }

    #[test]
    fn a_changed_byte_is_damage_and_in_the_last_entry_that_entry_is_torn() {
        let disk = made(&FRAMES);
        let whole = bytes(&disk, "frames-2");
        let last = offsets(&FRAMES)[FRAMES.len() - 1];
        for at in 0..whole.len() {
            for flip in [1, 0x80] {
                let mut changed = whole.clone();
                changed[at] ^= flip;
                match with(&disk, "frames-2", &changed) {
                    Ok(found) => {
                        assert!(at >= last, "byte {at} was not noticed");
                        assert_eq!(found, Some(kept(&FRAMES[..3])), "byte {at}");
                    }
                    Err(StoreError::Version { .. }) => assert!((8..12).contains(&at)),
                    result => {
                        assert!(at < last, "byte {at}: the last entry may be torn");
                        check_damaged(result, "");
                    }
                }
            }
        }
        disk.put(&path("frames-2"), &whole);
        let whole = bytes(&disk, "snapshot-2");
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            assert!(with(&disk, "snapshot-2", &changed).is_err(), "byte {at}");
            assert!(with(&disk, "snapshot-2", &whole[..at]).is_err(), "cut at byte {at}");
        }
        check_damaged(
            with(&disk, "snapshot-2", &[&whole[..], b"x"].concat()),
            "more behind its end",
        );
    }

    #[test]
    fn a_hole_in_the_last_entry_is_torn_and_anywhere_else_damage() {
        let long = vec![b'x'; 3 * SEARCHED_BYTES];
        let frames: [&[u8]; 3] = [b"one", &long, b"three"];
        let disk = made(&frames);
        let whole = bytes(&disk, "frames-2");
        let offsets = offsets(&frames);
        // A whole entry of zeros: where the next one begins is found all the same.
        let mut changed = whole.clone();
        changed[offsets[1]..offsets[2]].fill(0);
        check_damaged(
            with(&disk, "frames-2", &changed),
            &format!(
                "byte {} has a wrong checksum, and another follows at byte {}",
                offsets[1], offsets[2]
            ),
        );
        let mut changed = whole[..offsets[2]].to_vec();
        changed[offsets[1]..].fill(0);
        assert_eq!(with(&disk, "frames-2", &changed).unwrap(), Some(kept(&frames[..1])));
    }

    #[test]
    fn bytes_of_a_torn_frame_are_never_taken_for_an_entry() {
        // As somebody would make it who knows everything but the salt.
        let forged: Vec<u8> = (1..5)
            .flat_map(|sequence| {
                let entry = EntryHeader { sequence, note_bytes: 0, payload_bytes: 0, sum: 0 };
                [entry.to_bytes(0), entry.to_bytes(1)].concat()
            })
            .collect();
        let frames: [&[u8]; 2] = [b"one", &forged];
        let disk = made(&frames);
        let mut torn = bytes(&disk, "frames-2");
        torn[offsets(&frames)[1]..][..ENTRY_BYTES].fill(0);
        assert_eq!(with(&disk, "frames-2", &torn).unwrap(), Some(kept(&frames[..1])));
    }

    #[test]
    fn lengths_are_bounded_before_memory_is_taken() {
        let disk = made(&[]);
        let head = bytes(&disk, "frames-2");
        let salt = u64::from_le_bytes(part(&head, 24));
        let with_entry = |note_bytes, payload_bytes| {
            let entry = EntryHeader { sequence: 1, note_bytes, payload_bytes, sum: 0 };
            with(&disk, "frames-2", &[&head[..], &entry.to_bytes(salt)].concat())
        };
        check_damaged(with_entry(NOTE_BYTES_MAX + 1, 0), "65537 and 0 bytes");
        check_damaged(with_entry(0, CHANGELOG_ENTRY_BYTES_MAX + 1), "at the most");
        check_damaged(with_entry(u32::MAX, u64::MAX), "at the most");
        // Within the bounds, but not there.
        assert_eq!(with_entry(NOTE_BYTES_MAX, CHANGELOG_ENTRY_BYTES_MAX).unwrap(), Some(kept(&[])));
    }

    #[test]
    fn another_version_says_which_and_changes_nothing() {
        for name in ["snapshot-2", "frames-2"] {
            let disk = made(&FRAMES);
            let mut newer = bytes(&disk, name);
            newer[8] = 2;
            let error = with(&disk, name, &newer).unwrap_err();
            assert!(matches!(error, StoreError::Version { found: 2, known: 1, .. }), "{error}");
            let text = error.to_string();
            assert!(
                text.contains("is of format 2, and this program reads format 1\n  hint: "),
                "{text}"
            );
        }
    }

    #[test]
    fn a_file_of_the_generation_that_is_missing_or_another_one_is_damage() {
        let disk = made(&FRAMES);
        disk.take(&path("frames-2"));
        check_damaged(read(&disk), "it is missing");

        let disk = made(&FRAMES);
        disk.take(&path("snapshot-2"));
        check_damaged(read(&disk), "`snapshot-2`, on which it builds, is missing");

        let disk = made(&[]);
        disk.take(&path("snapshot-2"));
        check_damaged(read(&disk), "`snapshot-2`, on which it builds, is missing");

        let disk = made(&FRAMES);
        let snapshot = bytes(&disk, "snapshot-2");
        check_damaged(with(&disk, "snapshot-3", &snapshot), "another file");
        check_damaged(with(&made(&FRAMES), "frames-2", &snapshot), "another file");
    }

    #[test]
    fn a_frame_that_is_there_twice_is_damage() {
        let disk = made(&FRAMES);
        let whole = bytes(&disk, "frames-2");
        let offsets = offsets(&FRAMES);
        let twice = [&whole[..offsets[1]], &whole[offsets[0]..]].concat();
        check_damaged(with(&disk, "frames-2", &twice), "entry 1 stands at");
    }

    #[test]
    fn files_of_others_in_the_folder_are_left_alone() {
        let disk = made(&FRAMES);
        let others =
            ["snapshot-", "snapshot-02", "snapshot-3.old", "frames-+1", "frames-0", "notes"];
        for other in others {
            disk.put(&path(other), b"theirs");
        }
        assert_eq!(read(&disk).unwrap(), Some(kept(&FRAMES)));
        for other in others {
            assert_eq!(bytes(&disk, other), b"theirs");
        }
    }

    proptest! {
        #[test]
        fn random_bytes_are_damage_and_never_a_panic(
            junk in proptest::collection::vec(any::<u8>(), 0..200),
            keep in 0..200_usize,
        ) {
            for name in ["snapshot-2", "frames-2"] {
                let disk = made(&FRAMES);
                let mut start = bytes(&disk, name);
                let whole = start.clone();
                start.truncate(keep);
                start.extend_from_slice(&junk);
                match with(&disk, name, &start) {
                    // At most what is whole of the frames.
                    Ok(Some(found)) => {
                        prop_assert!(name == "frames-2" || start == whole);
                        prop_assert_eq!(&found, &kept(&FRAMES[..found.frames.len()]));
                    }
                    Ok(None) => prop_assert!(false, "nothing there"),
                    Err(error) => prop_assert!(
                        matches!(error, StoreError::Damaged { .. } | StoreError::Version { .. }),
                        "{}", error
                    ),
                }
            }
        }
    }
}

//! The files of a state folder: their bytes, and how they are read after a crash.
//!
//! ```text
//!  file   head │ entry │ entry │ …
//!  head   magic 8 │ format 4 │ kind 4 │ generation 8 │ salt 8 │ CRC32 4
//!  entry  sequence 8 │ note bytes 4 │ payload bytes 8 │ CRC32 of both 4 │ CRC32 4 │ note │ payload
//! ```
//!
//! Numbers are little-endian. The first five fields of an entry are its header. Only the last entry
//! of a file can be torn, as each is synced before the next is begun; anything else that does not
//! read back is damage:
//!
//! | entry | followed by | is |
//! |---|---|---|
//! | reaches beyond the end of the file | | torn |
//! | wrong checksum of its note and payload | nothing | torn |
//! | wrong checksum of its note and payload | anything | damage |
//! | wrong checksum of its header | the header of a later entry | damage |
//! | wrong checksum of its header | anything else | torn |
//!
//! The checksum of the header includes the salt of the file, a random number that nobody else knows:
//! bytes that came with an event are never taken for an entry.

use std::io;
use std::path::Path;

use borsh::{BorshDeserialize, BorshSerialize};

use super::disk::DiskFile;
use super::rotating_file::Mark;
use super::{StoreError, io_error};

/// In the head of every file. A file with another number is refused.
pub(super) const FORMAT_VERSION: u32 = 1;

/// Largest payload of an entry behind the snapshot: a frame.
pub(crate) const CHANGELOG_ENTRY_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Largest payload of a snapshot: a state.
pub(super) const SNAPSHOT_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;

/// Largest note: the marks of a few files, with their paths.
pub(super) const NOTE_BYTES_MAX: u32 = 64 * 1024;

const MAGIC: [u8; 8] = *b"twinsid\0";

pub(super) const HEAD_BYTES: usize = 36;

/// The header of an entry.
pub(super) const ENTRY_BYTES: usize = 28;

/// Searched at a time for entries behind one that does not read back.
pub(super) const SEARCHED_BYTES: usize = 1024 * 1024;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum StateFileKind {
    Snapshot = 1,
    Frames = 2,
}

/// What an entry says beside its payload.
#[derive(Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub(super) struct EntryNote {
    pub(super) marks: Vec<Mark>,
    pub(super) payload_kind: PayloadKind,
}

#[derive(Clone, Copy, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub(super) enum PayloadKind {
    /// Nothing: only the marks changed.
    Empty,
    /// A frame, or in a snapshot a state.
    State,
}

/// The header of an entry.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct EntryHeader {
    pub(super) sequence: u64,
    pub(super) note_bytes: u32,
    pub(super) payload_bytes: u64,
    /// Of note and payload.
    pub(super) sum: u32,
}

/// What is at an offset of a file.
pub(super) enum NextEntry {
    Entry { note: EntryNote, payload: Vec<u8>, end: u64 },
    End,
    Torn,
}

/// An entry before it is written.
pub(super) struct EntryBytes<'a> {
    note: Vec<u8>,
    payload: &'a [u8],
}

/// A file while it is read.
pub(super) struct StateFileReader<'f> {
    path: &'f Path,
    file: &'f mut dyn DiskFile,
    pub(super) length: u64,
    /// Known from the head on.
    pub(super) salt: u64,
}

/// [`StoreError::TooLarge`] above `bytes_max`.
pub(super) fn refuse(what: &'static str, bytes: usize, bytes_max: u64) -> Result<(), StoreError> {
    let bytes = bytes as u64;
    if bytes > bytes_max {
        return Err(StoreError::TooLarge { what, bytes, bytes_max });
    }
    Ok(())
}

/// The head of a file.
pub(super) fn head(kind: StateFileKind, generation: u64, salt: u64) -> Vec<u8> {
    let mut head = MAGIC.to_vec();
    head.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    head.extend_from_slice(&(kind as u32).to_le_bytes());
    head.extend_from_slice(&generation.to_le_bytes());
    head.extend_from_slice(&salt.to_le_bytes());
    head.extend_from_slice(&crc32fast::hash(&head).to_le_bytes());
    head
}

impl<'a> EntryBytes<'a> {
    /// [`StoreError::TooLarge`] for the note. The caller has checked the size of the payload.
    pub(super) fn new(
        marks: &[Mark],
        payload: Option<&'a [u8]>,
    ) -> Result<EntryBytes<'a>, StoreError> {
        let payload_kind = if payload.is_some() { PayloadKind::State } else { PayloadKind::Empty };
        let note = borsh::to_vec(&EntryNote { marks: marks.to_vec(), payload_kind })
            .expect("memory takes whatever is written to it");
        refuse("what is to be known of the output files", note.len(), NOTE_BYTES_MAX.into())?;
        Ok(EntryBytes { note, payload: payload.unwrap_or_default() })
    }

    pub(super) fn bytes(&self) -> u64 {
        (ENTRY_BYTES + self.note.len() + self.payload.len()) as u64
    }

    pub(super) fn write(
        &self,
        file: &mut dyn DiskFile,
        sequence: u64,
        salt: u64,
    ) -> io::Result<()> {
        let entry = EntryHeader {
            sequence,
            note_bytes: self.note.len() as u32,
            payload_bytes: self.payload.len() as u64,
            sum: sum(&self.note, self.payload),
        };
        let mut bytes = entry.to_bytes(salt).to_vec();
        bytes.extend_from_slice(&self.note);
        file.write(&bytes)?;
        if self.payload.is_empty() { Ok(()) } else { file.write(self.payload) }
    }
}

impl EntryHeader {
    pub(super) fn to_bytes(self, salt: u64) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        bytes[..8].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.note_bytes.to_le_bytes());
        bytes[12..20].copy_from_slice(&self.payload_bytes.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.sum.to_le_bytes());
        let own = sum(&salt.to_le_bytes(), &bytes[..24]);
        bytes[24..].copy_from_slice(&own.to_le_bytes());
        bytes
    }

    /// `None` when its checksum is wrong.
    fn from_bytes(bytes: &[u8], salt: u64) -> Option<EntryHeader> {
        let own = sum(&salt.to_le_bytes(), &bytes[..24]);
        (own == u32::from_le_bytes(part(bytes, 24))).then(|| EntryHeader {
            sequence: u64::from_le_bytes(part(bytes, 0)),
            note_bytes: u32::from_le_bytes(part(bytes, 8)),
            payload_bytes: u64::from_le_bytes(part(bytes, 12)),
            sum: u32::from_le_bytes(part(bytes, 20)),
        })
    }
}

impl<'f> StateFileReader<'f> {
    /// The file at its head, which is to be read first.
    pub(super) fn open(
        path: &'f Path,
        file: &'f mut dyn DiskFile,
    ) -> Result<StateFileReader<'f>, StoreError> {
        let length = file.length().map_err(io_error("examine", path))?;
        Ok(StateFileReader { path, file, length, salt: 0 })
    }

    /// The head must be that of this kind and generation.
    pub(super) fn read_head(
        &mut self,
        kind: StateFileKind,
        generation: u64,
    ) -> Result<(), StoreError> {
        if self.length < HEAD_BYTES as u64 {
            return Err(self.damaged("it is cut short within its head".to_owned()));
        }
        let found = self.read(0, HEAD_BYTES as u64)?;
        if found[..8] != MAGIC {
            return Err(self.damaged("it does not begin as files of a state folder do".to_owned()));
        }
        // Before the checksum: the head of another version may have another form.
        let version = u32::from_le_bytes(part(&found, 8));
        if version != FORMAT_VERSION {
            return Err(StoreError::Version {
                path: self.path.to_owned(),
                found: version,
                known: FORMAT_VERSION,
            });
        }
        self.salt = u64::from_le_bytes(part(&found, 24));
        if found != head(kind, generation, self.salt) {
            let what = "its head is that of another file, or has a wrong checksum";
            return Err(self.damaged(what.to_owned()));
        }
        Ok(())
    }

    /// What is at `offset`, where entry `sequence` or the end of the file belongs.
    pub(super) fn read_entry(
        &mut self,
        offset: u64,
        sequence: u64,
        payload_bytes_max: u64,
    ) -> Result<NextEntry, StoreError> {
        let left = self.length - offset;
        if left == 0 {
            return Ok(NextEntry::End);
        }
        if left < ENTRY_BYTES as u64 {
            return Ok(NextEntry::Torn);
        }
        let first = self.read(offset, ENTRY_BYTES as u64)?;
        let Some(entry) = EntryHeader::from_bytes(&first, self.salt) else {
            if let Some(later) = self.later_entry(offset, sequence)? {
                return Err(self.damaged(format!(
                    "the entry at byte {offset} has a wrong checksum, and another follows at byte {later}"
                )));
            }
            return Ok(NextEntry::Torn);
        };
        let EntryHeader { note_bytes, payload_bytes, .. } = entry;
        if entry.sequence != sequence {
            return Err(self.damaged(format!(
                "entry {} stands at byte {offset}, where entry {sequence} should",
                entry.sequence
            )));
        }
        if note_bytes > NOTE_BYTES_MAX || payload_bytes > payload_bytes_max {
            return Err(self.damaged(format!(
                "the entry at byte {offset} has {note_bytes} and {payload_bytes} bytes, \
                 {NOTE_BYTES_MAX} and {payload_bytes_max} at the most"
            )));
        }
        let note_offset = offset + ENTRY_BYTES as u64;
        let payload_offset = note_offset + u64::from(note_bytes);
        let end = payload_offset + payload_bytes;
        if end > self.length {
            return Ok(NextEntry::Torn);
        }
        let note = self.read(note_offset, note_bytes.into())?;
        let payload = self.read(payload_offset, payload_bytes)?;
        if sum(&note, &payload) != entry.sum {
            if end < self.length {
                return Err(self.damaged(format!(
                    "the entry at byte {offset} has a wrong checksum, and more follows"
                )));
            }
            return Ok(NextEntry::Torn);
        }
        match borsh::from_slice(&note) {
            Ok(note) => Ok(NextEntry::Entry { note, payload, end }),
            Err(cause) => Err(self.damaged(format!("the entry at byte {offset}: {cause}"))),
        }
    }

    /// The offset of any later entry than `sequence`, which was expected at `offset`.
    fn later_entry(&mut self, offset: u64, sequence: u64) -> Result<Option<u64>, StoreError> {
        // More entries do not fit into the rest of the file.
        let last = sequence + (self.length - offset) / ENTRY_BYTES as u64;
        let mut from = offset + 1;
        while self.length.saturating_sub(from) >= ENTRY_BYTES as u64 {
            let bytes = self.read(from, (self.length - from).min(SEARCHED_BYTES as u64))?;
            for (at, first) in bytes.windows(ENTRY_BYTES).enumerate() {
                let found = u64::from_le_bytes(part(first, 0));
                let later = found > sequence && found <= last;
                if later && EntryHeader::from_bytes(first, self.salt).is_some() {
                    return Ok(Some(from + at as u64));
                }
            }
            from += (bytes.len() - (ENTRY_BYTES - 1)) as u64;
        }
        Ok(None)
    }

    /// Bytes below the length of the file.
    fn read(&mut self, offset: u64, bytes: u64) -> Result<Vec<u8>, StoreError> {
        let len = usize::try_from(bytes).map_err(|_| StoreError::TooLarge {
            what: "an entry",
            bytes,
            bytes_max: usize::MAX as u64,
        })?;
        let mut buffer = vec![0; len];
        self.file.read(offset, &mut buffer).map_err(io_error("read", self.path))?;
        Ok(buffer)
    }

    fn damaged(&self, what: String) -> StoreError {
        StoreError::Damaged { path: self.path.to_owned(), what }
    }
}

fn sum(note: &[u8], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(note);
    hasher.update(payload);
    hasher.finalize()
}

/// `N` bytes at an offset. They must be there.
pub(super) fn part<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut part = [0; N];
    part.copy_from_slice(&bytes[at..at + N]);
    part
}

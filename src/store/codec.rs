//! Bytes of what is stored and sent: values of [`super::checkpoint`], and snapshots.
//!
//! ```text
//!  snapshot ─▶ changelog entry ─▶ changelog entry ─▶ … ─▶ snapshot ─▶ …
//!     │          └ observations, how far the detector was advanced, positions behind them
//!     └ the whole state of the detector, positions
//! ```
//!
//! In go values, out come bytes, and back: borsh behind the number of the format and the version of the
//! program. Bytes of another format are refused, not guessed; those cut off or damaged are [`StoredError::Malformed`], never a
//! panic. Snapshots are compressed with zstd. Nothing here touches a disk: what is left
//! after a crash is up to the state log or the changelog topic.

use std::io::{self, BufReader, BufWriter, Read, Write};

use borsh::{BorshDeserialize, BorshSerialize};

/// Counts up with every change of what is stored: of the types in [`super::checkpoint`], of
/// [`crate::observation::Observation`], and of the detector's tables.
pub const FORMAT: u32 = 4;

/// The first version of the program whose state later versions read, by its format.
const FORMAT_OF_0_2_0: u32 = 4;

/// Behind the format: the version of the program that wrote it.
const VERSION_BYTES: usize = 6;

/// The fastest: snapshots shrink to a third.
const PACKING_LEVEL: i32 = 1;

/// The detector writes its state in small pieces.
const PACKING_BUFFER_BYTES: usize = 64 * 1024;

/// Largest snapshot, uncompressed.
const SNAPSHOT_BYTES_MAX: u64 = 16 << 30;

/// Why stored bytes cannot be used.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum StoredError {
    #[error(
        "the stored state has format {found}, and this is twinsid {} with format {FORMAT}\n  hint: {}; nothing was changed",
        env!("CARGO_PKG_VERSION"),
        what_to_do(*found)
    )]
    Format { found: u32 },
    #[error(
        "the stored state cannot be read: {what}\n  hint: start over with another state folder or changelog topic; nothing was changed"
    )]
    Malformed { what: String },
}

fn what_to_do(found: u32) -> &'static str {
    if found < FORMAT_OF_0_2_0 {
        "it was written before version 0.2.0, whose state is not taken over: name another state \
         folder, or another topic for the incidents, and set `start` of the sources to where it is \
         to begin; or let the version that wrote it go on"
    } else {
        "a later version wrote it: use that one, or start over with another state folder or changelog topic"
    }
}

/// Format and version, before everything that is stored.
fn written_head() -> Vec<u8> {
    let mut head = FORMAT.to_le_bytes().to_vec();
    for number in [
        env!("CARGO_PKG_VERSION_MAJOR"),
        env!("CARGO_PKG_VERSION_MINOR"),
        env!("CARGO_PKG_VERSION_PATCH"),
    ] {
        let number: u16 = number.parse().expect("a part of a version is a small number");
        head.extend_from_slice(&number.to_le_bytes());
    }
    head
}

/// The version of the program that stored these bytes; `None` where they are of another format.
pub fn written_by(bytes: &[u8]) -> Option<String> {
    let (format, rest) = bytes.split_first_chunk::<4>()?;
    let version = rest.first_chunk::<VERSION_BYTES>()?.as_chunks::<2>().0;
    let [major, minor, patch] = version else { return None };
    let number = |bytes: &[u8; 2]| u16::from_le_bytes(*bytes);
    (u32::from_le_bytes(*format) == FORMAT)
        .then(|| format!("{}.{}.{}", number(major), number(minor), number(patch)))
}

/// The bytes of a value, behind format and version.
pub fn encode(value: &impl BorshSerialize) -> Vec<u8> {
    let mut bytes = written_head();
    value.serialize(&mut bytes).expect("memory can be written");
    bytes
}

/// The value of bytes within a value that was behind the number of the format.
pub fn decode_part<T: BorshDeserialize>(bytes: &[u8]) -> Result<T, StoredError> {
    T::try_from_slice(bytes).map_err(|error| malformed(error.to_string()))
}

/// The value of bytes from [`encode`].
pub fn decode<T: BorshDeserialize>(bytes: &[u8]) -> Result<T, StoredError> {
    let mut rest = behind_format(bytes)?;
    let value = T::deserialize(&mut rest).map_err(|error| malformed(error.to_string()))?;
    match rest.len() {
        0 => Ok(value),
        left => Err(malformed(format!("{left} bytes are left over"))),
    }
}

fn behind_format(bytes: &[u8]) -> Result<&[u8], StoredError> {
    let (format, rest) =
        bytes.split_first_chunk::<4>().ok_or_else(|| malformed("it is cut off".to_owned()))?;
    match u32::from_le_bytes(*format) {
        FORMAT => rest.get(VERSION_BYTES..).ok_or_else(|| malformed("it is cut off".to_owned())),
        found => Err(StoredError::Format { found }),
    }
}

/// The bytes of a snapshot: a head and the state behind it, compressed, since it is large and goes
/// through memory several times. Also its length before compression.
pub fn pack(head: &impl BorshSerialize, state: &impl BorshSerialize) -> (Vec<u8>, usize) {
    let packed = || {
        let packer = zstd::Encoder::new(written_head(), PACKING_LEVEL)?;
        let buffered = BufWriter::with_capacity(PACKING_BUFFER_BYTES, packer);
        let mut writer = Counting { writer: buffered, count: 0 };
        head.serialize(&mut writer)?;
        state.serialize(&mut writer)?;
        let packer = writer.writer.into_inner().map_err(io::IntoInnerError::into_error)?;
        Ok((packer.finish()?, writer.count))
    };
    packed().unwrap_or_else(|error: io::Error| panic!("memory can be written: {error}"))
}

struct Counting<W> {
    writer: W,
    count: usize,
}

impl<W: Write> Write for Counting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.writer.write(bytes)?;
        self.count += written;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// The head and the state of a snapshot from [`pack`], and the length of both before compression.
/// They are read as they are decompressed, without all their bytes in memory.
pub fn unpack<H: BorshDeserialize, S: BorshDeserialize>(
    bytes: &[u8],
) -> Result<(H, S, usize), StoredError> {
    let packed = behind_format(bytes)?;
    let read = || {
        let unpacker = zstd::Decoder::new(packed)?.take(SNAPSHOT_BYTES_MAX);
        let mut reader = BufReader::with_capacity(PACKING_BUFFER_BYTES, unpacker);
        let head = H::deserialize_reader(&mut reader)?;
        let state = S::deserialize_reader(&mut reader)?;
        let left = io::copy(&mut reader, &mut io::sink())?;
        Ok((head, state, left, reader.get_ref().limit()))
    };
    let (head, state, left, limit) =
        read().map_err(|error: io::Error| malformed(error.to_string()))?;
    match (left, limit) {
        (_, 0) => Err(malformed("it is too large".to_owned())),
        (0, _) => Ok((head, state, (SNAPSHOT_BYTES_MAX - limit) as usize)),
        (left, _) => Err(malformed(format!("{left} bytes are left over"))),
    }
}

/// The head alone of a snapshot from [`pack`]; the state behind it is not looked at.
pub fn unpack_head<H: BorshDeserialize>(bytes: &[u8]) -> Result<H, StoredError> {
    let packed = behind_format(bytes)?;
    let read = || {
        let unpacker = zstd::Decoder::new(packed)?.take(SNAPSHOT_BYTES_MAX);
        H::deserialize_reader(&mut BufReader::with_capacity(PACKING_BUFFER_BYTES, unpacker))
    };
    read().map_err(|error: io::Error| malformed(error.to_string()))
}

fn malformed(what: String) -> StoredError {
    StoredError::Malformed { what }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::{Fact, Observation, RecordKey, What};
    use crate::position::{Position, SourcePositions};
    use crate::store::checkpoint::{
        Advance, ChangelogEntry, EntryStep, HostTime, ObservationBatch, Traced,
    };
    use crate::time::EventTime;

    fn frame() -> ChangelogEntry {
        let mut moved = SourcePositions::default();
        moved.set("kafka", "windows-events/3", Position::Offset(4711));
        let observation = Observation {
            key: RecordKey {
                time: EventTime(7),
                computer: "PC1".into(),
                channel: "Security".into(),
                record_id: 9,
            },
            provider: "P".into(),
            event_id: 4624,
            what: What::Fact(Fact::Host),
        };
        let observation_batch = ObservationBatch {
            part: 3,
            arrival: EventTime(8),
            is_current: true,
            unwanted: vec![HostTime { host: 1, time: EventTime(6) }],
            observations: vec![observation],
            traced: vec![Traced { record: 9, traceparent: "00".into() }],
        };
        let step = EntryStep {
            observation_batches: vec![observation_batch],
            advance: Advance::To(EventTime(5)),
            evaluation: vec![1, 2],
        };
        ChangelogEntry { steps: vec![step], moved }
    }

    #[test]
    fn what_is_stored_says_which_version_wrote_it() {
        let bytes = encode(&frame());
        assert_eq!(written_by(&bytes).as_deref(), Some(env!("CARGO_PKG_VERSION")));
        assert_eq!(written_by(&bytes[..9]), None);
    }

    #[test]
    fn what_is_stored_reads_back() {
        assert_eq!(decode::<ChangelogEntry>(&encode(&frame())), Ok(frame()));
    }

    #[test]
    fn a_snapshot_unpacks_to_what_was_packed_and_damage_is_an_error() {
        let head = frame();
        let state: Vec<u8> =
            (0..100_000_u32).flat_map(|number| (number / 7).to_le_bytes()).collect();
        let (mut bytes, len) = pack(&head, &state);
        assert!(len > state.len());
        assert!(bytes.len() < state.len() / 2, "{}", bytes.len());
        assert_eq!(unpack_head(&bytes), Ok(head.clone()));
        let unpack = unpack::<ChangelogEntry, Vec<u8>>;
        assert_eq!(unpack(&bytes), Ok((head, state, len)));
        for end in [0, 3, 4, 20, bytes.len() / 2, bytes.len() - 1] {
            assert!(matches!(unpack(&bytes[..end]), Err(StoredError::Malformed { .. })), "{end}");
        }
        bytes[0] = 99;
        assert_eq!(unpack(&bytes), Err(StoredError::Format { found: 99 }));
    }

    #[test]
    fn another_format_and_damage_are_different_errors() {
        let mut bytes = encode(&frame());
        for end in 0..bytes.len() {
            assert!(matches!(
                decode::<ChangelogEntry>(&bytes[..end]),
                Err(StoredError::Malformed { .. })
            ));
        }
        bytes[0] = 99;
        assert_eq!(decode::<ChangelogEntry>(&bytes), Err(StoredError::Format { found: 99 }));
    }
}

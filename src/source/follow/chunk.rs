//! Headers of the chunks of a file that grows, and records found by their ids.

use std::fs::File;
use std::io;

use super::super::{EVTX_CHUNK_BYTES, EVTX_HEADER_BYTES, read_segment};
use crate::position::LogRecord;

/// Most chunks of a file that are read: 64 GiB.
pub(super) const FILE_CHUNKS_MAX: u64 = 1 << 20;

/// The part of a chunk's header with what changes when it is written.
pub(super) const HEAD_BYTES: usize = 128;
pub(super) const CHUNK_HEADER_BYTES: usize = 512;
pub(super) const RECORD_HEADER_BYTES: usize = 24;
pub(super) const RECORD_BYTES_MIN: u64 = RECORD_HEADER_BYTES as u64 + 4;
/// Most records of one chunk.
pub(super) const CHUNK_RECORDS_MAX: u64 =
    (EVTX_CHUNK_BYTES - CHUNK_HEADER_BYTES as u64) / RECORD_BYTES_MIN;
pub(super) const CHUNK_MAGIC: &[u8; 8] = b"ElfChnk\0";
pub(super) const RECORD_MAGIC: [u8; 4] = [0x2a, 0x2a, 0, 0];
/// Chunk flag: the checksums are not kept.
pub(super) const FLAG_NO_CRC32: u32 = 0x4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ChunkSeen {
    pub(super) chunk: u64,
    pub(super) first_id: u64,
    pub(super) last_id: u64,
    pub(super) head_sum: u32,
}

/// What a chunk's header says of its records.
#[derive(Clone, Copy, Debug)]
pub(super) struct ChunkHead {
    pub(super) first_id: u64,
    pub(super) last_id: u64,
    pub(super) last_record_at: usize,
    pub(super) live_end: usize,
}

impl ChunkHead {
    /// `None` when it is none, or holds no records.
    pub(super) fn read(bytes: &[u8]) -> Option<ChunkHead> {
        if !bytes.starts_with(CHUNK_MAGIC) {
            return None;
        }
        let head = ChunkHead {
            first_id: u64_at(bytes, 24)?,
            last_id: u64_at(bytes, 32)?,
            last_record_at: u32_at(bytes, 44)? as usize,
            live_end: u32_at(bytes, 48)? as usize,
        };
        let records = head.last_id.checked_sub(head.first_id)?;
        (records < CHUNK_RECORDS_MAX && head.last_id < u64::MAX).then_some(head)
    }
}

impl ChunkSeen {
    pub(super) fn offset(&self) -> u64 {
        chunk_offset(self.chunk)
    }
}

/// Where a chunk begins in its file.
pub(super) fn chunk_offset(chunk: u64) -> u64 {
    EVTX_HEADER_BYTES + chunk * EVTX_CHUNK_BYTES
}

impl LogRecord {
    pub(super) fn read(bytes: &[u8]) -> Option<LogRecord> {
        let record = LogRecord { id: u64_at(bytes, 8)?, written: u64_at(bytes, 16)? };
        bytes.starts_with(&RECORD_MAGIC).then_some(record)
    }
}

/// The chunks of a file that hold records.
pub(super) fn scan(file: &File, bytes: u64) -> io::Result<Vec<ChunkSeen>> {
    let chunks = bytes.saturating_sub(EVTX_HEADER_BYTES).div_ceil(EVTX_CHUNK_BYTES);
    let mut seen = Vec::new();
    let mut head = Vec::new();
    for chunk in 0..chunks.min(FILE_CHUNKS_MAX) {
        read_segment(file, chunk_offset(chunk), HEAD_BYTES, &mut head)?;
        if head.is_empty() {
            break;
        }
        if let Some(ChunkHead { first_id, last_id, .. }) = ChunkHead::read(&head) {
            seen.push(ChunkSeen { chunk, first_id, last_id, head_sum: crc32fast::hash(&head) });
        }
    }
    Ok(seen)
}

/// The headers of the newest chunk, the next one and the first one: new records
/// show in one of them, whether the log grows or goes round.
pub(super) fn heads(file: &File, newest: u64) -> Vec<u8> {
    let (mut heads, mut head) = (Vec::new(), Vec::new());
    for chunk in [newest, newest + 1, 0] {
        if read_segment(file, chunk_offset(chunk), HEAD_BYTES, &mut head).is_err() {
            return Vec::new();
        }
        head.resize(HEAD_BYTES, 0);
        heads.extend_from_slice(&head);
    }
    heads
}

/// A record of a chunk of a file, and its offset there.
pub(super) fn record_of(file: &File, seen: ChunkSeen, id: u64) -> Option<(u64, LogRecord)> {
    if !(seen.first_id..=seen.last_id).contains(&id) {
        return None;
    }
    let mut chunk = Vec::new();
    let bytes = if id == seen.first_id {
        CHUNK_HEADER_BYTES + RECORD_HEADER_BYTES
    } else {
        EVTX_CHUNK_BYTES as usize
    };
    read_segment(file, seen.offset(), bytes, &mut chunk).ok()?;
    let (at, record) = record_in(&chunk, ChunkHead::read(&chunk)?, id)?;
    Some((seen.offset() + at as u64, record))
}

/// The last record that was written before a time, of chunks in the order of their records. As they
/// were written one after the other, most chunks need not be read.
pub(super) fn last_before(file: &File, chunks: &[ChunkSeen], time: u64) -> Option<LogRecord> {
    let last_of = |seen: &ChunkSeen| Some(record_of(file, *seen, seen.last_id)?.1);
    let is_before = |seen: &ChunkSeen| last_of(seen).is_some_and(|last| last.written < time);
    let whole = chunks.partition_point(is_before);
    let within = chunks.get(whole).and_then(|seen| {
        let mut chunk = Vec::new();
        read_segment(file, seen.offset(), EVTX_CHUNK_BYTES as usize, &mut chunk).ok()?;
        let mut records = records(&chunk, ChunkHead::read(&chunk)?);
        let first_behind = records.position(|record| record.written >= time)?;
        let before = first_behind.checked_sub(1)?;
        self::records(&chunk, ChunkHead::read(&chunk)?).nth(before)
    });
    within.or_else(|| whole.checked_sub(1).and_then(|before| last_of(&chunks[before])))
}

/// The records of a chunk, as far as they can be told apart.
fn records(chunk: &[u8], head: ChunkHead) -> impl Iterator<Item = LogRecord> {
    let mut at = CHUNK_HEADER_BYTES;
    std::iter::from_fn(move || {
        if at >= head.live_end {
            return None;
        }
        let record = LogRecord::read(chunk.get(at..)?.get(..RECORD_HEADER_BYTES)?)?;
        let size = u32_at(chunk, at + 4).filter(|size| u64::from(*size) >= RECORD_BYTES_MIN)?;
        at = at.checked_add(size as usize)?;
        Some(record)
    })
}

/// A record of a chunk, and its offset there.
pub(super) fn record_in(chunk: &[u8], head: ChunkHead, id: u64) -> Option<(usize, LogRecord)> {
    let record_at = |at: usize| LogRecord::read(chunk.get(at..)?.get(..RECORD_HEADER_BYTES)?);
    if id == head.last_id
        && head.last_record_at >= CHUNK_HEADER_BYTES
        && let Some(record) = record_at(head.last_record_at).filter(|record| record.id == id)
    {
        return Some((head.last_record_at, record));
    }
    let mut at = CHUNK_HEADER_BYTES;
    while at < head.live_end {
        let record = record_at(at)?;
        if record.id == id {
            return Some((at, record));
        }
        let size = u32_at(chunk, at + 4)?;
        if u64::from(size) < RECORD_BYTES_MIN {
            return None;
        }
        at = at.checked_add(size as usize)?;
    }
    None
}

/// Whether all of a chunk is there and its checksums are right.
pub(super) fn is_whole(chunk: &[u8]) -> bool {
    let whole = || {
        if chunk.len() as u64 != EVTX_CHUNK_BYTES {
            return None;
        }
        if u32_at(chunk, 120)? & FLAG_NO_CRC32 != 0 {
            return Some(true);
        }
        let mut header = crc32fast::Hasher::new();
        header.update(&chunk[..120]);
        header.update(&chunk[HEAD_BYTES..CHUNK_HEADER_BYTES]);
        let records = chunk.get(CHUNK_HEADER_BYTES..u32_at(chunk, 48)? as usize)?;
        Some(
            u32_at(chunk, 124)? == header.finalize()
                && u32_at(chunk, 52)? == crc32fast::hash(records),
        )
    };
    whole().unwrap_or(false)
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}

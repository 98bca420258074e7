//! Headers of chunks and records, checksums, and where a chunk continues after damage.

use crate::decode::binxml::{read_u32, read_u64};
use crate::time::EventTime;

pub(super) const CHUNK_HEADER_BYTES: usize = 512;
pub(super) const CHUNK_MAGIC: &[u8; 8] = b"ElfChnk\0";
pub(super) const RECORD_MAGIC: [u8; 4] = [0x2a, 0x2a, 0, 0];
pub(super) const RECORD_HEADER_BYTES: usize = 24;
/// The header and the copy of the size at the end.
pub(super) const RECORD_BYTES_MIN: usize = RECORD_HEADER_BYTES + 4;
/// Chunk flag: the checksums are not maintained.
pub(super) const FLAG_NO_CRC32: u32 = 0x4;

#[derive(Clone, Copy)]
pub(super) struct ChunkHeader {
    pub(super) first_id: u64,
    pub(super) last_id: u64,
    pub(super) last_record_at: usize,
    pub(super) live_end: usize,
}

pub(super) struct RecordHeader {
    pub(super) size: usize,
    pub(super) id: u64,
    pub(super) written: EventTime,
}

#[derive(PartialEq)]
pub(super) enum Damage {
    /// Zeros, or the end of the chunk: nothing was written here.
    Blank,
    Broken,
}

pub(super) fn record_header(chunk: &[u8], at: usize) -> Result<RecordHeader, Damage> {
    let Some(bytes) = chunk.get(at..at + RECORD_HEADER_BYTES) else { return Err(Damage::Blank) };
    if bytes[..4] == [0; 4] {
        return Err(Damage::Blank);
    }
    if bytes[..4] != RECORD_MAGIC {
        return Err(Damage::Broken);
    }
    let size = read_u32(bytes, 4).ok_or(Damage::Broken)? as usize;
    let fits = size >= RECORD_BYTES_MIN && at + size <= chunk.len();
    let id = read_u64(bytes, 8).ok_or(Damage::Broken)?;
    let written = EventTime(read_u64(bytes, 16).ok_or(Damage::Broken)?);
    if fits { Ok(RecordHeader { size, id, written }) } else { Err(Damage::Broken) }
}

/// The next offset at which a complete record of this chunk starts: its size is repeated at its
/// end, it ends before the free space, and its id is in the chunk's range. Records of the chunk's
/// earlier use have other ids.
pub(super) fn next_live_record(chunk: &[u8], from: usize, header: ChunkHeader) -> Option<usize> {
    let search_end = header.live_end.min(header.last_record_at.saturating_add(4));
    let mut from = from;
    loop {
        let window = chunk.get(from..search_end)?;
        let at = from + memchr::memmem::find(window, &RECORD_MAGIC)?;
        if let Ok(record) = record_header(chunk, at) {
            let end = at + record.size;
            let copy = read_u32(chunk, end - 4).map(|copy| copy as usize);
            let ids = header.first_id..=header.last_id;
            if end <= header.live_end && copy == Some(record.size) && ids.contains(&record.id) {
                return Some(at);
            }
        }
        from = at + 1;
    }
}

pub(super) fn verify_checksums(chunk: &[u8]) -> Result<(), &'static str> {
    if read_u32(chunk, 120).is_some_and(|flags| flags & FLAG_NO_CRC32 != 0) {
        return Ok(());
    }
    let mut header = crc32fast::Hasher::new();
    header.update(&chunk[..120]);
    header.update(&chunk[128..CHUNK_HEADER_BYTES]);
    if read_u32(chunk, 124) != Some(header.finalize()) {
        return Err("header");
    }
    let free_space = read_u32(chunk, 48).unwrap_or_default() as usize;
    let records = chunk.get(CHUNK_HEADER_BYTES..free_space).ok_or("records")?;
    if read_u32(chunk, 52) != Some(crc32fast::hash(records)) {
        return Err("records");
    }
    Ok(())
}

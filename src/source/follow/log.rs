//! One log: its position, what was seen of its file, and the batches it yields.

use std::collections::{BTreeSet, VecDeque};
use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use super::super::{
    BATCH_BYTES, Batch, Content, EVTX_CHUNK_BYTES, Next, Skipped, SkippedWhat, read_new,
    read_segment,
};
use super::chunk::{
    ChunkHead, ChunkSeen, RECORD_HEADER_BYTES, chunk_offset, heads, is_whole, last_before,
    record_in, record_of,
};
use super::files::{Found, Identity};
use crate::position::{LogPosition, LogRecord, Position, Start};

/// So many polls a chunk with wrong checksums is waited for, when nothing of
/// it changes. Then it is handed over as it is.
pub(super) const TORN_POLLS_MAX: u32 = 5;

/// How far ahead of the last record a chunk with wrong checksums may be. Its
/// ids are not to be relied on, and those that follow are passed over when
/// they are lower.
pub(super) const TORN_AHEAD_RECORDS_MAX: u64 = 65_536;

/// A file without change for so many polls is examined only in one poll of
/// as many, as long as size and time stay the same.
pub(super) const QUIET_POLLS: u32 = 16;

/// Most messages that are remembered, so as to report each once.
pub(super) const REPORTED_MAX: usize = 10_000;

/// Longest path that is kept in a position.
pub(super) const PATH_BYTES_MAX: usize = 4096;

#[derive(Debug)]
pub(super) struct Log {
    pub(super) key: Arc<str>,
    pub(super) position: LogPosition,
    /// The file at hand.
    pub(super) found: Option<Found>,
    /// What was seen of it when it was last examined.
    pub(super) seen: Seen,
    /// Chunks to hand over, in the order of their records.
    pub(super) due: VecDeque<ChunkSeen>,
    pub(super) torn: Option<Torn>,
    /// Record ids found missing once: chunks may have been written between two
    /// reads, so that only what is still missing the next time is reported.
    pub(super) gap: Option<(u64, u64)>,
    pub(super) gap_reported: Option<(u64, u64)>,
    /// Whether it must be examined again even if nothing seems to have changed.
    pub(super) rescan: bool,
    /// Chunks that cannot be read, by their headers' sums.
    pub(super) over_bounds: BTreeSet<(u64, u32)>,
    pub(super) quiet_polls: u32,
    /// Whether it was reported that the file is cut off.
    pub(super) cut_off_reported: bool,
    /// Where the last record stands in the file, or else the first.
    pub(super) anchor: Option<(u64, LogRecord)>,
    /// Whether it had a file and lost it: what has a like name is another one.
    pub(super) gone: bool,
}

#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) bytes: u64,
    pub(super) modified: Option<SystemTime>,
    /// Chunk with the newest records.
    pub(super) newest: u64,
    /// Headers of the places where new records show.
    pub(super) heads: Vec<u8>,
}

/// A chunk whose checksums are wrong.
#[derive(Clone, Copy, Debug)]
pub(super) struct Torn {
    pub(super) chunk: u64,
    pub(super) sum: u32,
    pub(super) polls: u32,
}

/// Whether a file holds a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    Log,
    /// Only what comes behind what was handed over.
    Behind,
    /// The log, but not as far as it was handed over.
    CutOff,
    Another,
}

/// Whether a chunk that keeps changing is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    AsLongAsItChanges,
    None,
}

impl Holds {
    /// Whether a log has its file back without the others being examined. By its name
    /// alone the file may be the next one, and the log in one that was renamed.
    pub(super) fn takes(self, found: &Found, gone: bool) -> bool {
        match self {
            Holds::Log => true,
            Holds::CutOff => !found.identity.is_none(),
            Holds::Behind => !found.identity.is_none() && !gone,
            Holds::Another => false,
        }
    }
}

impl LogPosition {
    pub(super) fn identity(&self) -> Identity {
        Identity { device: self.device, inode: self.inode, created: self.created }
    }
}

impl Log {
    pub(super) fn new(key: Arc<str>) -> Log {
        Log {
            key,
            position: LogPosition::default(),
            found: None,
            seen: Seen::default(),
            due: VecDeque::new(),
            torn: None,
            gap: None,
            gap_reported: None,
            rescan: false,
            over_bounds: BTreeSet::new(),
            quiet_polls: 0,
            cut_off_reported: false,
            anchor: None,
            gone: false,
        }
    }

    pub(super) fn moved_to(&mut self, found: &Found) {
        self.position.device = found.identity.device;
        self.position.inode = found.identity.inode;
        self.position.created = found.identity.created;
        let path = found.path.display().to_string();
        if path.len() <= PATH_BYTES_MAX {
            self.position.path = path;
        }
        self.found = Some(found.clone());
        self.gone = false;
    }

    pub(super) fn forget_file(&mut self) {
        let key = Arc::clone(&self.key);
        let position = std::mem::take(&mut self.position);
        *self = Log { position, gone: true, ..Log::new(key) };
    }

    /// What is due is known only once the file was examined again.
    pub(super) fn rescan_later(&mut self) {
        self.due.clear();
        self.rescan = true;
    }

    pub(super) fn is_quiet(&self, found: &Found, polls: u32) -> bool {
        self.quiet_polls >= QUIET_POLLS
            && !polls.is_multiple_of(QUIET_POLLS)
            && !self.rescan
            && self.seen.bytes == found.bytes
            && self.seen.modified == found.modified
    }

    /// Whether nothing has changed where changes show.
    pub(super) fn is_unchanged(&mut self, file: &File, found: &Found) -> bool {
        let same = !self.rescan
            && self.seen.bytes == found.bytes
            && self.seen.modified == found.modified
            && !self.seen.heads.is_empty()
            && self.seen.heads == heads(file, self.seen.newest);
        self.quiet_polls = if same { self.quiet_polls.saturating_add(1) } else { 0 };
        same
    }

    /// Works out what there is to hand over.
    pub(super) fn examine(&mut self, file: &File, found: &Found, mut chunks: Vec<ChunkSeen>) {
        chunks.sort_by_key(|seen| (seen.first_id, seen.chunk));
        let newest = chunks.iter().max_by_key(|seen| seen.last_id).map_or(0, |seen| seen.chunk);
        self.seen = Seen {
            bytes: found.bytes,
            modified: found.modified,
            newest,
            heads: heads(file, newest),
        };
        self.rescan = false;
        let oldest = chunks.first().and_then(|seen| record_of(file, *seen, seen.first_id));
        if let Some((_, first)) = oldest {
            self.position.first = Some(first);
        }
        let last = self.position.last;
        self.anchor = match last {
            Some(last) => chunks.iter().find_map(|seen| record_of(file, *seen, last.id)),
            None => oldest,
        };
        self.due = chunks
            .into_iter()
            .filter(|seen| {
                last.is_none_or(|last| seen.last_id > last.id)
                    && found.end.is_none_or(|end| seen.first_id <= end)
                    && !self.over_bounds.contains(&(seen.chunk, seen.head_sum))
            })
            .collect();
    }

    /// Lets a log that nothing is known of begin at `start`.
    pub(super) fn begin(&mut self, file: &File, chunks: &[ChunkSeen], start: Start) {
        let mut chunks = chunks.to_vec();
        chunks.sort_by_key(|seen| (seen.first_id, seen.chunk));
        self.position.last = match start {
            Start::Earliest => None,
            Start::Latest => chunks.last().map(|seen| {
                let unread = LogRecord { id: seen.last_id, written: 0 };
                record_of(file, *seen, seen.last_id).map_or(unread, |(_, record)| record)
            }),
            Start::At(time) => last_before(file, &chunks, time.0),
        };
    }

    /// The file, if it still is the one that was examined.
    pub(super) fn open(&self, identify: fn(&Metadata) -> Identity) -> Option<File> {
        let found = self.found.as_ref()?;
        let file = File::open(&found.path).ok()?;
        if identify(&file.metadata().ok()?) != found.identity {
            return None;
        }
        match self.anchor {
            Some((offset, record)) => {
                let mut bytes = Vec::new();
                read_segment(&file, offset, RECORD_HEADER_BYTES, &mut bytes).ok()?;
                (LogRecord::read(&bytes)? == record).then_some(file)
            }
            None => Some(file),
        }
    }

    /// The next batch, or what keeps it from coming; `None` when the file must be
    /// examined again first.
    pub(super) fn next_batch(
        &mut self,
        identify: fn(&Metadata) -> Identity,
        patience: Patience,
        moves: u64,
    ) -> Option<Next> {
        let Some((file, input)) = self.open(identify).zip(self.found.as_ref().map(Found::input))
        else {
            self.rescan_later();
            return None;
        };
        let after_record = self.position.last.map(|last| last.id);
        let (mut bytes, mut first_chunk) = (Vec::new(), 0);
        let mut taken = 0;
        while let Some(next) = self.due.front().copied() {
            if taken == 0 {
                first_chunk = next.chunk;
                let read = read_new(&file, next.offset(), self.due_run_bytes());
                bytes = read.unwrap_or_default();
            } else if next.offset() != chunk_offset(first_chunk) + taken as u64
                || taken >= bytes.len()
            {
                break;
            }
            let chunk = &bytes[taken..];
            let chunk = &chunk[..chunk.len().min(EVTX_CHUNK_BYTES as usize)];
            let head = ChunkHead::read(chunk).filter(|head| head.first_id == next.first_id);
            let Some(head) = head else {
                self.rescan_later();
                break;
            };
            let last = self.position.last.map(|last| last.id);
            if last.is_some_and(|last| head.last_id <= last) {
                self.due.pop_front();
                continue;
            }
            if taken > 0 && last.is_some_and(|last| head.first_id != last.saturating_add(1)) {
                break;
            }
            if !is_whole(chunk) {
                if taken > 0 {
                    break;
                }
                if self.still_torn(next.chunk, chunk, patience) {
                    self.rescan_later();
                    break;
                }
                if last
                    .is_some_and(|last| head.first_id > last.saturating_add(TORN_AHEAD_RECORDS_MAX))
                {
                    self.pass_over(next);
                    let reason = format!("chunk {}: its header cannot be right", next.chunk);
                    return Some(Next::Skipped(skipped(input, reason)));
                }
            }
            if let Some(gap) = last.and_then(|last| gap(last, head.first_id))
                && self.gap_reported != Some(gap)
            {
                match self.report_gap(gap) {
                    Some(reason) => return Some(Next::Skipped(skipped(input, reason))),
                    None => break,
                }
            }
            self.torn = None;
            self.due.pop_front();
            let record = record_in(chunk, head, head.last_id);
            self.anchor = record.map(|(at, record)| (next.offset() + at as u64, record));
            let unread = LogRecord { id: head.last_id, written: 0 };
            self.position.last = Some(record.map_or(unread, |(_, record)| record));
            taken += chunk.len();
        }
        if taken == 0 {
            return None;
        }
        bytes.truncate(taken);
        self.position.moves = moves;
        Some(Next::Batch(Batch {
            input,
            progress_bytes: bytes.len() as u64,
            content: Content::Chunks { bytes, first_chunk, after_record },
            moved: vec![(Arc::clone(&self.key), Position::Log(self.position.clone()))],
        }))
    }

    /// Bytes of the chunks that are due and stand one behind the other, as many as a batch may hold.
    fn due_run_bytes(&self) -> usize {
        let first = self.due.front().map_or(0, |seen| seen.chunk);
        let follows = |(seen, chunk): &(&ChunkSeen, u64)| seen.chunk == *chunk;
        let run = self.due.iter().zip(first..).take_while(follows).count() as u64;
        (run * EVTX_CHUNK_BYTES).min(BATCH_BYTES) as usize
    }

    /// Leaves out a chunk whose header cannot be right, until the header changes.
    fn pass_over(&mut self, seen: ChunkSeen) {
        self.torn = None;
        self.due.pop_front();
        if self.over_bounds.len() >= REPORTED_MAX {
            self.over_bounds.clear();
        }
        self.over_bounds.insert((seen.chunk, seen.head_sum));
    }

    /// What to say of missing records; `None` when they are seen missing for the first time, and
    /// the file is to be examined again.
    fn report_gap(&mut self, gap: (u64, u64)) -> Option<String> {
        if self.gap != Some(gap) {
            self.gap = Some(gap);
            self.rescan_later();
            return None;
        }
        // Of a gap that has grown, the part that was reported counts once.
        let from = match self.gap_reported {
            Some((from, to)) if from == gap.0 && to < gap.1 => to + 1,
            Some(_) | None => gap.0,
        };
        self.gap_reported = Some(gap);
        Some(format!(
            "{} records are missing, ids {from} to {}: they were overwritten or damaged before they were read",
            gap.1 - from + 1,
            gap.1
        ))
    }

    /// Whether a chunk with wrong checksums is waited for.
    fn still_torn(&mut self, chunk: u64, bytes: &[u8], patience: Patience) -> bool {
        let sum = crc32fast::hash(bytes);
        let polls = match self.torn {
            Some(torn)
                if torn.chunk == chunk && (torn.sum == sum || patience == Patience::None) =>
            {
                torn.polls + 1
            }
            Some(_) | None => 1,
        };
        self.torn = Some(Torn { chunk, sum, polls });
        polls <= TORN_POLLS_MAX
    }
}

/// The ids between the last record and the next one.
pub(super) fn gap(last: u64, next: u64) -> Option<(u64, u64)> {
    let missing = next.checked_sub(last)?.checked_sub(2)?;
    Some((last + 1, last + 1 + missing))
}

/// Whether a file holds a log, by the table above.
pub(super) fn holds(
    position: &LogPosition,
    found: &Found,
    file: &File,
    chunks: &[ChunkSeen],
) -> Holds {
    let named = Path::new(&position.path) == found.path;
    let own = position.identity() == found.identity && (!found.identity.is_none() || named);
    // `Archive-Security-….evtx` was `Security.evtx`.
    let renamed = || {
        let stem = |path: &Path| path.file_stem().and_then(OsStr::to_str).map(str::to_owned);
        let (before, now) = (stem(Path::new(&position.path)), stem(&found.path));
        before.zip(now).is_some_and(|(before, now)| now.contains(&before))
    };
    let Some(last) = position.last else {
        return if own { Holds::Log } else { Holds::Another };
    };
    let newest = chunks.iter().map(|seen| seen.last_id).max();
    let (Some(oldest), Some(newest)) = (chunks.iter().map(|seen| seen.first_id).min(), newest)
    else {
        return if own { Holds::CutOff } else { Holds::Another };
    };
    // `None` when the file has no such record, or it cannot be read.
    let same = |known: LogRecord| {
        let within =
            chunks.iter().filter(|seen| (seen.first_id..=seen.last_id).contains(&known.id));
        let records = within.filter_map(|seen| record_of(file, *seen, known.id));
        records.map(|(_, record)| record.written == known.written || known.written == 0).max()
    };
    match same(last) {
        Some(true) if own => Holds::Log,
        Some(true) => match position.first.and_then(same) {
            Some(false) => Holds::Another,
            Some(true) | None => Holds::Log,
        },
        Some(false) => Holds::Another,
        None if oldest > last.id && own && (named || renamed()) => Holds::Behind,
        None if oldest > last.id => Holds::Another,
        None if newest < last.id => match position.first.and_then(same) {
            Some(true) => Holds::CutOff,
            Some(false) | None => Holds::Another,
        },
        None if own => Holds::Log,
        None => Holds::Another,
    }
}

/// What cannot be read of a file.
pub(super) fn skipped(input: Arc<str>, reason: String) -> Skipped {
    Skipped { input, what: SkippedWhat::File, reason }
}

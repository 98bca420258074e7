//! Event logs that another process writes: the event log service, a collector.
//!
//! ```text
//!            poll: find files ─▶ whose log is it? ─▶ chunks with newer records
//! file    ─▶                     (below)             │ take turns, a batch each
//! file    ─▶                                         ▼
//!            read, checksums right? ─▶ Batch { after_record, moved }
//! ```
//!
//! Files are found and looked at anew at each poll, by their size and time and
//! by the headers of their chunks; so it works on network shares too. The
//! file's own header may be stale and is not looked at. A chunk that others
//! write to is handed over once its checksums are right, and each time it has
//! more records: the records that went before are named in `after_record`.
//!
//! What is followed is a *log*: records whose ids grow by one. It goes on in
//! the same file under another name (roll-over), overwrites its oldest chunks
//! (wrap-around), or is written anew by a collector. Which file holds which
//! log is told by what survives all of that: the last record handed over, by
//! its id and the time it was written; and the oldest record.
//!
//! | the file holds | and is | then it is |
//! |---|---|---|
//! | the last record | the log's own, or has the oldest one too | the log |
//! | another record with that id | any | another log |
//! | only records behind the last one | the log's own, under a like name | the log; what lies between is missing |
//! | only records up to the last one, and the oldest | any | the log, cut off |
//! | else | | another log |
//!
//! A log that nothing is known of is read from its start. So is a copy of a
//! file that is there as well; who takes the records tells doubles apart.
//!
//! Left out: a log of which older chunks still stand behind newer ones after
//! it was cleared; records of a file named alone that two roll-overs carried
//! off between two polls (following its folder finds them).

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::discover::is_log;
use super::{
    BATCH_BYTES, Batch, Content, EVTX_CHUNK_BYTES, EVTX_HEADER_BYTES, Next, Skipped, SkippedWhat,
    Source, SourceError, read_segment,
};
use crate::position::{LogPosition, LogRecord, Position, Positions};

/// Most files that are followed at a time.
const FILES_MAX: usize = 10_000;

/// Most logs whose position is known, those without a file included. Beyond
/// that the one that moved the longest time ago gives its place to a new one.
const LOGS_MAX: usize = 2 * FILES_MAX;

/// Deepest folder below a given one.
const FOLDERS_DEEP_MAX: usize = 64;

/// Most chunks of a file that are looked at: 64 GiB.
const FILE_CHUNKS_MAX: u64 = 1 << 20;

/// So many polls a chunk with wrong checksums is waited for, when nothing of
/// it changes. Then it is handed over as it is.
const TORN_POLLS_MAX: u32 = 5;

/// How far ahead of the last record a chunk with wrong checksums may be. Its
/// ids are not to be relied on, and those that follow are passed over when
/// they are lower.
const TORN_AHEAD_RECORDS_MAX: u64 = 65_536;

/// A file without change for so many polls is only looked at in one poll of
/// as many, as long as size and time stay the same.
const QUIET_POLLS: u32 = 16;

/// Shortest sleep between two polls.
const POLL_MIN: Duration = Duration::from_millis(1);

/// Most things that are remembered to be told only once.
const TOLD_MAX: usize = 10_000;

/// What the keys of logs in [`Positions`] begin with. The number behind it says
/// nothing: what a log is, its position tells.
const KEY_PREFIX: &str = "log/";

/// Longest path that is kept in a position.
const PATH_BYTES_MAX: usize = 4096;

/// The part of a chunk's header with what changes when it is written.
const HEAD_BYTES: usize = 128;
const CHUNK_HEADER_BYTES: usize = 512;
const RECORD_HEADER_BYTES: usize = 24;
const RECORD_BYTES_MIN: u64 = RECORD_HEADER_BYTES as u64 + 4;
/// Most records of one chunk.
const CHUNK_RECORDS_MAX: u64 = (EVTX_CHUNK_BYTES - CHUNK_HEADER_BYTES as u64) / RECORD_BYTES_MIN;
const CHUNK_MAGIC: &[u8; 8] = b"ElfChnk\0";
const RECORD_MAGIC: [u8; 4] = [0x2a, 0x2a, 0, 0];
/// Chunk flag: the checksums are not kept.
const FLAG_NO_CRC32: u32 = 0x4;

/// What to follow.
#[derive(Clone, Debug)]
pub struct FollowSpec {
    /// Files, whatever they are called, and folders, in which and below which
    /// `*.evtx` is followed. What is not there yet may come.
    pub paths: Vec<PathBuf>,
    /// How long after one look at the files the next one follows.
    pub poll: Duration,
    /// Whether to end behind the records that are there at the beginning.
    pub until_end: bool,
}

/// Follows event logs.
#[derive(Debug)]
pub struct Follow {
    spec: FollowSpec,
    logs: Vec<Log>,
    /// The log whose turn it is.
    turn: usize,
    reports: VecDeque<Skipped>,
    told: BTreeSet<String>,
    moves: u64,
    /// Number in the key of the next new log.
    next_key: u64,
    polls: u32,
    next_poll: Option<Instant>,
    /// What tells files from each other.
    identify: fn(&Metadata) -> Identity,
    /// With `until_end`: the files that were there, and their last record ids.
    ends: Option<Vec<(Found, u64)>>,
}

#[derive(Debug)]
struct Log {
    key: Arc<str>,
    position: LogPosition,
    /// The file at hand.
    found: Option<Found>,
    /// What was seen of it at the last look.
    seen: Seen,
    /// Chunks to hand over, in the order of their records.
    due: VecDeque<ChunkSeen>,
    torn: Option<Torn>,
    /// Record ids that are missing, at the first look: chunks may just have
    /// been written while it went on.
    gap: Option<(u64, u64)>,
    gap_told: Option<(u64, u64)>,
    /// Whether it must be looked at again whatever has changed.
    again: bool,
    /// Chunks that cannot be read, by their headers' sums.
    over_bounds: BTreeSet<(u64, u32)>,
    quiet_polls: u32,
    /// Whether it was told that the file is cut off.
    told_cut: bool,
    /// Where the last record stands in the file, or else the first.
    anchor: Option<(u64, LogRecord)>,
    /// Whether it had a file and lost it: what has a like name is another one.
    gone: bool,
}

#[derive(Debug, Default)]
struct Seen {
    bytes: u64,
    modified: Option<SystemTime>,
    /// Chunk with the newest records.
    newest: u64,
    /// Headers of the places where new records show.
    heads: Vec<u8>,
}

/// A chunk whose checksums are wrong.
#[derive(Clone, Copy, Debug)]
struct Torn {
    chunk: u64,
    sum: u32,
    polls: u32,
}

#[derive(Clone, Debug)]
struct Found {
    path: PathBuf,
    identity: Identity,
    bytes: u64,
    modified: Option<SystemTime>,
    /// Not asked for: of interest only when it holds a log known already.
    beside: bool,
    /// Record ids behind it are not asked for.
    end: Option<u64>,
}

/// Device and inode, where there are such, and when the file was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Identity {
    device: u64,
    inode: u64,
    created: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ChunkSeen {
    chunk: u64,
    first_id: u64,
    last_id: u64,
    head_sum: u32,
}

/// Whether a file holds a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holds {
    Log,
    /// Only what comes behind what was handed over.
    Behind,
    /// The log, but not as far as it was handed over.
    CutOff,
    Another,
}

/// Whether only what is certain counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Certain {
    Yes,
    No,
}

impl Follow {
    pub fn new(spec: FollowSpec) -> Follow {
        let mut follow = Follow {
            spec,
            logs: Vec::new(),
            turn: 0,
            reports: VecDeque::new(),
            told: BTreeSet::new(),
            moves: 0,
            next_key: 0,
            polls: 0,
            next_poll: None,
            identify,
            ends: None,
        };
        if follow.spec.until_end {
            let found = follow.find();
            let ends = found.into_iter().filter_map(|found| {
                let file = File::open(&found.path).ok()?;
                let last = scan(&file, found.bytes).ok()?.iter().map(|seen| seen.last_id).max()?;
                Some((found, last))
            });
            follow.ends = Some(ends.collect());
        }
        follow
    }

    /// Tells something once, however often it is seen.
    fn tell_once(&mut self, path: &Path, reason: String) {
        let line = format!("{}: {reason}", path.display());
        if self.told.len() < TOLD_MAX && self.told.insert(line) {
            self.reports.push_back(skipped(path.display().to_string().into(), reason));
        }
    }

    /// The files that there are, in the order of their names.
    fn find(&mut self) -> Vec<Found> {
        let mut all = Vec::new();
        for path in self.spec.paths.clone() {
            match fs::metadata(&path) {
                Ok(metadata) if metadata.is_dir() => self.search(&path, 0, &mut all),
                Ok(metadata) => {
                    all.push(self.found(path.clone(), &metadata));
                    self.find_beside(&path, &mut all);
                }
                Err(cause) => {
                    let known = self.logs.iter().any(|log| Path::new(&log.position.path) == path);
                    if !known {
                        self.tell_once(&path, format!("cannot be read yet: {cause}"));
                    }
                    self.find_beside(&path, &mut all);
                }
            }
        }
        // Those asked for come first.
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
            self.tell_once(
                &first,
                format!("not followed, as all behind it: more than {FILES_MAX} files"),
            );
        }
        if let Some(ends) = &self.ends {
            all.retain_mut(|found| {
                found.end = ends.iter().find(|(end, _)| end.is(found)).map(|(_, last)| *last);
                found.end.is_some()
            });
        }
        all
    }

    fn found(&self, path: PathBuf, metadata: &Metadata) -> Found {
        Found {
            path,
            identity: (self.identify)(metadata),
            bytes: metadata.len(),
            modified: metadata.modified().ok(),
            beside: false,
            end: None,
        }
    }

    /// Where a file that is named may be found after a roll-over: beside it, as
    /// `Archive-…` or with something added to its name.
    fn find_beside(&self, path: &Path, all: &mut Vec<Found>) {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let Ok(entries) = fs::read_dir(parent.unwrap_or(Path::new("."))) else { return };
        let stem = path.file_stem().and_then(OsStr::to_str).unwrap_or_default();
        let archive = format!("Archive-{stem}");
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            if (name.starts_with(&archive) || name.starts_with(stem))
                && all.len() <= FILES_MAX
                && let Ok(metadata) = fs::metadata(entry.path())
                && metadata.is_file()
            {
                let found = self.found(entry.path(), &metadata);
                all.push(Found { beside: true, ..found });
            }
        }
    }

    fn search(&mut self, folder: &Path, depth: usize, all: &mut Vec<Found>) {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(cause) => {
                self.tell_once(folder, format!("the folder cannot be read: {cause}"));
                return;
            }
        };
        for entry in entries.flatten() {
            let path = entry.path();
            // Links to folders are not followed: they may lead back up.
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() {
                if depth < FOLDERS_DEEP_MAX {
                    self.search(&path, depth + 1, all);
                }
                continue;
            }
            // One more than are followed, so that it shows.
            if all.len() <= FILES_MAX
                && is_evtx(&path)
                && let Ok(metadata) = fs::metadata(&path)
                && metadata.is_file()
            {
                all.push(self.found(path, &metadata));
            }
        }
    }

    /// Looks at all files: which log each holds, and what is new in it.
    fn poll(&mut self) {
        self.polls = self.polls.wrapping_add(1);
        let mut files: Vec<Option<Found>> = self.find().into_iter().map(Some).collect();
        let had: Vec<bool> = self.logs.iter().map(|log| log.found.is_some()).collect();
        self.look_at_own(&mut files);
        // Files that hold a log for certain come before those that may.
        let mut rest = Vec::new();
        for found in files.into_iter().flatten() {
            rest.extend(self.look_at_other(found, Certain::Yes));
        }
        for found in rest {
            self.look_at_other(found, Certain::No);
        }
        for (log, had) in self.logs.iter_mut().zip(had) {
            if had && log.found.is_none() {
                let reason =
                    "is gone: removed, cleared or written anew; what was not read of it is lost";
                self.reports
                    .push_back(skipped(log.position.path.as_str().into(), reason.to_owned()));
                log.forget_file();
            }
        }
    }

    /// Files that are a log's own, by device and inode or by name.
    fn look_at_own(&mut self, files: &mut [Option<Found>]) {
        let mut by_identity = HashMap::new();
        let mut by_path = HashMap::new();
        for (index, found) in files.iter().flatten().enumerate() {
            if found.identity.is_none() {
                by_path.insert(found.path.display().to_string(), index);
            } else {
                by_identity.insert(found.identity, index);
            }
        }
        // Of several logs that had the file, the one that has it is asked first.
        let mut order: Vec<usize> = (0..self.logs.len()).collect();
        order.sort_by_key(|&index| {
            let log = &self.logs[index];
            (log.found.is_none(), u64::MAX - log.position.moves)
        });
        for index in order {
            let log = &mut self.logs[index];
            let had = log.found.take();
            let file = match log.position.identity() {
                own if own.is_none() => by_path.get(&log.position.path),
                own => by_identity.get(&own),
            };
            let Some(file) = file else { continue };
            let Some(found) = files[*file].clone() else { continue };
            if had.is_some() && log.is_quiet(&found, self.polls) {
                log.moved_to(&found);
                files[*file] = None;
                continue;
            }
            let looked = File::open(&found.path).and_then(|file| {
                if log.looks_the_same(&file, &found) {
                    return Ok(if log.told_cut { Holds::CutOff } else { Holds::Log });
                }
                let chunks = scan(&file, found.bytes)?;
                let holds = holds(&log.position, &found, &file, &chunks);
                if holds.takes(&found, log.gone) {
                    log.look(&file, &found, chunks);
                }
                Ok(holds)
            });
            match looked {
                Ok(holds) if !holds.takes(&found, log.gone) => {}
                Ok(holds) => {
                    log.moved_to(&found);
                    let told = std::mem::replace(&mut log.told_cut, holds == Holds::CutOff);
                    if holds == Holds::CutOff && !told {
                        let reason = "was cut off: records that were read before are gone from it";
                        self.reports.push_back(skipped(found.input(), reason.to_owned()));
                    }
                    files[*file] = None;
                }
                // It is not known what it holds now: neither new nor gone.
                Err(cause) => {
                    log.found = had;
                    log.due.clear();
                    log.again = !self.spec.until_end;
                    files[*file] = None;
                    self.tell_once(&found.path, cause.to_string());
                }
            }
        }
    }

    /// A file that is no log's own: a log's that had another one, or new. Gives
    /// it back when that is not certain.
    fn look_at_other(&mut self, found: Found, certain: Certain) -> Option<Found> {
        let scanned =
            File::open(&found.path).and_then(|file| Ok((scan(&file, found.bytes)?, file)));
        let (chunks, file) = match scanned {
            Ok(scanned) => scanned,
            Err(cause) => {
                if !found.beside {
                    self.tell_once(&found.path, cause.to_string());
                }
                return None;
            }
        };
        if chunks.is_empty() {
            return None;
        }
        let known = self.logs.iter_mut().find_map(|log| {
            if log.found.is_some() || log.position.last.is_none() {
                return None;
            }
            match (holds(&log.position, &found, &file, &chunks), certain) {
                (Holds::Another, _) | (Holds::Behind | Holds::CutOff, Certain::Yes) => None,
                (Holds::Behind, Certain::No) if log.gone => None,
                (holds, _) => Some((log, holds)),
            }
        });
        if let Some((log, holds)) = known {
            log.told_cut = holds == Holds::CutOff;
            log.look(&file, &found, chunks);
            log.moved_to(&found);
            return None;
        }
        if certain == Certain::Yes || found.beside {
            return Some(found);
        }
        let index = self.place_for_new();
        let log = &mut self.logs[index];
        log.look(&file, &found, chunks);
        log.moved_to(&found);
        None
    }

    /// An unused log: a new one, or the place of one that is gone for long.
    fn place_for_new(&mut self) -> usize {
        if self.logs.len() >= LOGS_MAX {
            let gone = self.logs.iter().enumerate().filter(|(_, log)| log.found.is_none());
            if let Some((index, _)) = gone.min_by_key(|(_, log)| log.position.moves) {
                self.logs[index] = Log::new(Arc::clone(&self.logs[index].key));
                return index;
            }
        }
        let key = format!("{KEY_PREFIX}{}", self.next_key);
        self.next_key = self.next_key.saturating_add(1);
        self.logs.push(Log::new(key.into()));
        self.logs.len() - 1
    }

    /// A batch of the log whose turn it is; of the next ones when it has none.
    fn serve(&mut self) -> Option<Next> {
        for _ in 0..self.logs.len() {
            self.turn %= self.logs.len();
            let log = &mut self.logs[self.turn];
            if log.due.is_empty() {
                self.turn += 1;
                continue;
            }
            let patience = match self.spec.until_end {
                true => Patience::None,
                false => Patience::AsLongAsItChanges,
            };
            let served = log.serve(self.identify, patience, self.moves.saturating_add(1));
            // What is missing is told directly before what comes behind it.
            if matches!(served, Some(Next::Skipped(_))) {
                return served;
            }
            self.turn += 1;
            if matches!(served, Some(Next::Batch(_))) {
                self.moves = self.moves.saturating_add(1);
            }
            if served.is_some() {
                return served;
            }
        }
        None
    }
}

impl Source for Follow {
    fn next(&mut self, wait: Duration) -> Result<Next, SourceError> {
        let start = Instant::now();
        loop {
            if self.next_poll.is_none_or(|at| Instant::now() >= at) {
                self.poll();
                self.next_poll = Some(Instant::now() + self.spec.poll);
            }
            if let Some(report) = self.reports.pop_front() {
                return Ok(Next::Skipped(report));
            }
            if let Some(next) = self.serve() {
                return Ok(next);
            }
            if self.spec.until_end && !self.logs.iter().any(|log| log.again) {
                return Ok(Next::End);
            }
            let Some(left) = wait.checked_sub(start.elapsed()).filter(|left| !left.is_zero())
            else {
                return Ok(Next::Idle);
            };
            let until = self
                .next_poll
                .map_or(Duration::ZERO, |at| at.saturating_duration_since(Instant::now()));
            std::thread::sleep(until.max(POLL_MIN).min(left));
        }
    }

    fn resume(&mut self, positions: &Positions) -> Result<(), SourceError> {
        for (key, position) in positions {
            if let Position::Log(position) = position {
                self.moves = self.moves.max(position.moves);
                let number = key.strip_prefix(KEY_PREFIX).and_then(|number| number.parse().ok());
                self.next_key =
                    self.next_key.max(number.map_or(0, |number: u64| number.saturating_add(1)));
                let mut log = Log::new(Arc::clone(key));
                log.position = position.clone();
                self.logs.push(log);
            }
        }
        Ok(())
    }
}

impl Holds {
    /// Whether a log has its file back without a look at the others. By its name
    /// alone the file may be the next one, and the log in one that was renamed.
    fn takes(self, found: &Found, gone: bool) -> bool {
        match self {
            Holds::Log => true,
            Holds::CutOff => !found.identity.is_none(),
            Holds::Behind => !found.identity.is_none() && !gone,
            Holds::Another => false,
        }
    }
}

impl Identity {
    fn is_none(self) -> bool {
        self.device == 0 && self.inode == 0
    }
}

impl LogPosition {
    fn identity(&self) -> Identity {
        Identity { device: self.device, inode: self.inode, created: self.created }
    }
}

impl Found {
    fn input(&self) -> Arc<str> {
        self.path.display().to_string().into()
    }

    fn is(&self, other: &Found) -> bool {
        self.identity == other.identity && (!self.identity.is_none() || self.path == other.path)
    }
}

impl Log {
    fn new(key: Arc<str>) -> Log {
        Log {
            key,
            position: LogPosition::default(),
            found: None,
            seen: Seen::default(),
            due: VecDeque::new(),
            torn: None,
            gap: None,
            gap_told: None,
            again: false,
            over_bounds: BTreeSet::new(),
            quiet_polls: 0,
            told_cut: false,
            anchor: None,
            gone: false,
        }
    }

    fn moved_to(&mut self, found: &Found) {
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

    fn forget_file(&mut self) {
        let key = Arc::clone(&self.key);
        let position = std::mem::take(&mut self.position);
        *self = Log { position, gone: true, ..Log::new(key) };
    }

    /// What is due is only known after another look at the file.
    fn look_again(&mut self) {
        self.due.clear();
        self.again = true;
    }

    fn is_quiet(&self, found: &Found, polls: u32) -> bool {
        self.quiet_polls >= QUIET_POLLS
            && !polls.is_multiple_of(QUIET_POLLS)
            && !self.again
            && self.seen.bytes == found.bytes
            && self.seen.modified == found.modified
    }

    /// Whether nothing has changed where changes show.
    fn looks_the_same(&mut self, file: &File, found: &Found) -> bool {
        let same = !self.again
            && self.seen.bytes == found.bytes
            && self.seen.modified == found.modified
            && !self.seen.heads.is_empty()
            && self.seen.heads == heads(file, self.seen.newest);
        self.quiet_polls = if same { self.quiet_polls.saturating_add(1) } else { 0 };
        same
    }

    /// Notes what there is to hand over.
    fn look(&mut self, file: &File, found: &Found, mut chunks: Vec<ChunkSeen>) {
        chunks.sort_by_key(|seen| (seen.first_id, seen.chunk));
        let newest = chunks.iter().max_by_key(|seen| seen.last_id).map_or(0, |seen| seen.chunk);
        self.seen = Seen {
            bytes: found.bytes,
            modified: found.modified,
            newest,
            heads: heads(file, newest),
        };
        self.again = false;
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

    /// The file, if it still is the one that was looked at.
    fn open(&self, identify: fn(&Metadata) -> Identity) -> Option<File> {
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

    /// The next batch, or what keeps it from coming; `None` when there must be
    /// another look first.
    fn serve(
        &mut self,
        identify: fn(&Metadata) -> Identity,
        patience: Patience,
        moves: u64,
    ) -> Option<Next> {
        let Some((file, input)) = self.open(identify).zip(self.found.as_ref().map(Found::input))
        else {
            self.look_again();
            return None;
        };
        let after_record = self.position.last.map(|last| last.id);
        let (mut bytes, mut first_chunk) = (Vec::new(), 0);
        let mut chunk = Vec::new();
        while let Some(next) = self.due.front().copied() {
            let so_far = bytes.len() as u64;
            let follows = first_chunk + so_far / EVTX_CHUNK_BYTES == next.chunk
                && so_far.is_multiple_of(EVTX_CHUNK_BYTES);
            if so_far > 0 && (!follows || so_far + EVTX_CHUNK_BYTES > BATCH_BYTES) {
                break;
            }
            let read = read_segment(&file, next.offset(), EVTX_CHUNK_BYTES as usize, &mut chunk);
            let head = read.ok().and_then(|()| ChunkHead::read(&chunk));
            let Some(head) = head.filter(|head| head.first_id == next.first_id) else {
                self.look_again();
                break;
            };
            let last = self.position.last.map(|last| last.id);
            if last.is_some_and(|last| head.last_id <= last) {
                self.due.pop_front();
                continue;
            }
            if so_far > 0 && last.is_some_and(|last| head.first_id != last.saturating_add(1)) {
                break;
            }
            if !is_whole(&chunk) {
                if so_far > 0 {
                    break;
                }
                if self.still_torn(next.chunk, &chunk, patience) {
                    self.look_again();
                    break;
                }
                if last
                    .is_some_and(|last| head.first_id > last.saturating_add(TORN_AHEAD_RECORDS_MAX))
                {
                    self.torn = None;
                    self.due.pop_front();
                    if self.over_bounds.len() >= TOLD_MAX {
                        self.over_bounds.clear();
                    }
                    self.over_bounds.insert((next.chunk, next.head_sum));
                    let reason = format!("chunk {}: its header cannot be right", next.chunk);
                    return Some(Next::Skipped(skipped(input, reason)));
                }
            }
            if let Some(last) = last
                && let Some(gap) = gap(last, head.first_id)
                && self.gap_told != Some(gap)
            {
                if self.gap != Some(gap) {
                    self.gap = Some(gap);
                    self.look_again();
                    break;
                }
                // Of a gap that has grown, the part that was told counts once.
                let from = match self.gap_told {
                    Some((from, to)) if from == gap.0 && to < gap.1 => to + 1,
                    Some(_) | None => gap.0,
                };
                self.gap_told = Some(gap);
                let reason = format!(
                    "{} records are missing, ids {from} to {}: they were overwritten or damaged before they were read",
                    gap.1 - from + 1,
                    gap.1
                );
                return Some(Next::Skipped(skipped(input, reason)));
            }
            self.torn = None;
            self.due.pop_front();
            if so_far == 0 {
                first_chunk = next.chunk;
            }
            let record = record_in(&chunk, head, head.last_id);
            self.anchor = record.map(|(at, record)| (next.offset() + at as u64, record));
            let unread = LogRecord { id: head.last_id, written: 0 };
            self.position.last = Some(record.map_or(unread, |(_, record)| record));
            bytes.extend_from_slice(&chunk);
        }
        if bytes.is_empty() {
            return None;
        }
        self.position.moves = moves;
        Some(Next::Batch(Batch {
            input,
            progress_bytes: bytes.len() as u64,
            content: Content::Chunks { bytes, first_chunk, after_record },
            moved: vec![(Arc::clone(&self.key), Position::Log(self.position.clone()))],
        }))
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

/// Whether a chunk that goes on changing is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Patience {
    AsLongAsItChanges,
    None,
}

/// What a chunk's header says of its records.
#[derive(Clone, Copy, Debug)]
struct ChunkHead {
    first_id: u64,
    last_id: u64,
    last_record_at: usize,
    live_end: usize,
}

impl ChunkHead {
    /// `None` when it is none, or holds no records.
    fn read(bytes: &[u8]) -> Option<ChunkHead> {
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
    fn offset(&self) -> u64 {
        EVTX_HEADER_BYTES + self.chunk * EVTX_CHUNK_BYTES
    }
}

impl LogRecord {
    fn read(bytes: &[u8]) -> Option<LogRecord> {
        let record = LogRecord { id: u64_at(bytes, 8)?, written: u64_at(bytes, 16)? };
        bytes.starts_with(&RECORD_MAGIC).then_some(record)
    }
}

fn skipped(input: Arc<str>, reason: String) -> Skipped {
    Skipped { input, what: SkippedWhat::File, reason }
}

fn is_evtx(path: &Path) -> bool {
    let extension = path.extension().and_then(OsStr::to_str).unwrap_or_default();
    extension.eq_ignore_ascii_case("evtx") && is_log(path)
}

#[cfg(unix)]
fn identify(metadata: &Metadata) -> Identity {
    use std::os::unix::fs::MetadataExt;
    use std::time::UNIX_EPOCH;

    let created = metadata.created().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    let created = created.and_then(|at| u64::try_from(at.as_nanos()).ok()).unwrap_or_default();
    Identity { device: metadata.dev(), inode: metadata.ino(), created }
}

#[cfg(not(unix))]
fn identify(_: &Metadata) -> Identity {
    Identity { device: 0, inode: 0, created: 0 }
}

/// The ids between the last record and the next one.
fn gap(last: u64, next: u64) -> Option<(u64, u64)> {
    let missing = next.checked_sub(last)?.checked_sub(2)?;
    Some((last + 1, last + 1 + missing))
}

/// Whether a file holds a log, by the table above.
fn holds(position: &LogPosition, found: &Found, file: &File, chunks: &[ChunkSeen]) -> Holds {
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

/// The chunks of a file that hold records.
fn scan(file: &File, bytes: u64) -> io::Result<Vec<ChunkSeen>> {
    let chunks = bytes.saturating_sub(EVTX_HEADER_BYTES).div_ceil(EVTX_CHUNK_BYTES);
    let mut seen = Vec::new();
    let mut head = Vec::new();
    for chunk in 0..chunks.min(FILE_CHUNKS_MAX) {
        let offset = EVTX_HEADER_BYTES + chunk * EVTX_CHUNK_BYTES;
        read_segment(file, offset, HEAD_BYTES, &mut head)?;
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
fn heads(file: &File, newest: u64) -> Vec<u8> {
    let (mut heads, mut head) = (Vec::new(), Vec::new());
    for chunk in [newest, newest + 1, 0] {
        let offset = EVTX_HEADER_BYTES + chunk * EVTX_CHUNK_BYTES;
        if read_segment(file, offset, HEAD_BYTES, &mut head).is_err() {
            return Vec::new();
        }
        head.resize(HEAD_BYTES, 0);
        heads.extend_from_slice(&head);
    }
    heads
}

/// A record of a chunk of a file, and its offset there.
fn record_of(file: &File, seen: ChunkSeen, id: u64) -> Option<(u64, LogRecord)> {
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

/// A record of a chunk, and its offset there.
fn record_in(chunk: &[u8], head: ChunkHead, id: u64) -> Option<(usize, LogRecord)> {
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
fn is_whole(chunk: &[u8]) -> bool {
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

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::{Seek, SeekFrom, Write};
    use std::num::NonZeroU64;

    use proptest::prelude::*;

    use super::*;
    use crate::decode::Tally;
    use crate::decode::evtx::ChunkDecoder;
    use crate::record::Wanted;
    use crate::simulate::evtx::{EventSpec, Options, Payload, TypedValue, Writer};
    use crate::time::EventTime;

    /// More polls without anything than it takes to give up on what is torn, and
    /// to look at a file that was quiet.
    const IDLE_POLLS: u32 = QUIET_POLLS + TORN_POLLS_MAX + 3;

    /// A log that is written, and a source that follows its folder.
    struct Scene {
        folder: tempfile::TempDir,
        chunks_max: Option<NonZeroU64>,
        writer: Option<Writer<File>>,
        identify: fn(&Metadata) -> Identity,
        named: bool,
        follow: Follow,
        positions: Positions,
        /// Times of the records written: each its own.
        written: Vec<u64>,
        got: Vec<u64>,
        newest_of: BTreeMap<Arc<str>, u64>,
        reports: Vec<String>,
        missing: u64,
        archives: u32,
        commit: Option<Commit>,
    }

    struct Commit {
        positions: Positions,
        got: usize,
        missing: u64,
        newest_of: BTreeMap<Arc<str>, u64>,
    }

    fn nowhere(_: &Metadata) -> Identity {
        Identity { device: 0, inode: 0, created: 0 }
    }

    fn spec(path: &Path) -> FollowSpec {
        FollowSpec { paths: vec![path.to_owned()], poll: Duration::ZERO, until_end: false }
    }

    impl Scene {
        fn new(chunks_max: u64) -> Scene {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let mut scene = Scene {
                follow: Follow::new(spec(folder.path())),
                folder,
                chunks_max: NonZeroU64::new(chunks_max),
                writer: None,
                identify,
                named: false,
                positions: Positions::new(),
                written: Vec::new(),
                got: Vec::new(),
                newest_of: BTreeMap::new(),
                reports: Vec::new(),
                missing: 0,
                archives: 0,
                commit: None,
            };
            scene.start(1);
            scene
        }

        fn path(&self) -> PathBuf {
            self.folder.path().join("Security.evtx")
        }

        /// Starts a log in an empty file.
        fn start(&mut self, first_record_id: u64) {
            let file = File::create(self.path()).expect("created");
            let options = Options { first_record_id, chunks_max: self.chunks_max };
            self.writer = Some(Writer::with_options(file, options).expect("written"));
        }

        fn next_id(&self) -> u64 {
            self.writer.as_ref().expect("a log").next_record_id()
        }

        fn write(&mut self, count: usize) {
            let fill = "x".repeat(2000);
            for _ in 0..count {
                let time = 130_000_000_000_000_000 + self.written.len() as u64 * 10;
                let writer = self.writer.as_mut().expect("a log");
                let event = EventSpec {
                    provider: "p",
                    provider_guid: None,
                    event_source_name: None,
                    qualifiers: None,
                    event_id: 1,
                    version: 0,
                    level: 0,
                    task: 0,
                    opcode: 0,
                    keywords: 0,
                    time: EventTime(time),
                    record_id: writer.next_record_id(),
                    process_id: 1,
                    thread_id: 1,
                    channel: "Security",
                    computer: "C",
                    user: None,
                    data: Payload::Named(&[("Fill", TypedValue::Text(&fill))]),
                    rendering: None,
                };
                writer.write(&event).expect("written");
                self.written.push(time);
            }
            writer_flush(self.writer.as_mut());
        }

        /// Takes one thing; `false` when there is nothing.
        fn step(&mut self) -> bool {
            match self.follow.next(Duration::ZERO).expect("goes on") {
                Next::Batch(batch) => {
                    let Content::Chunks { bytes, first_chunk, after_record } = batch.content else {
                        panic!("chunks")
                    };
                    assert!(bytes.len() as u64 <= BATCH_BYTES);
                    let [(key, position)] = &batch.moved[..] else { panic!("one log") };
                    let wanted = Wanted::new([("p", 1)], [], []);
                    let mut decoder = ChunkDecoder::new(Arc::new(wanted));
                    let mut times = Vec::new();
                    let mut tally = Tally::default();
                    let emit = &mut |record: &crate::record::Record<'_>| times.push(record.time.0);
                    let after = after_record.unwrap_or_default();
                    decoder.decode_after(&bytes, first_chunk, after, &mut tally, emit);
                    for time in times {
                        let newest = self.newest_of.entry(Arc::clone(key)).or_default();
                        assert!(time > *newest, "in the order of the log");
                        *newest = time;
                        self.got.push(time);
                    }
                    self.positions.insert(Arc::clone(key), position.clone());
                    true
                }
                Next::Skipped(skipped) => {
                    if let Some((count, _)) = skipped.reason.split_once(" records are missing") {
                        self.missing += count.parse::<u64>().expect("a number");
                    }
                    let missing = skipped.reason.contains("records are missing");
                    self.reports.push(skipped.reason);
                    // Told again after a restart unless what follows was taken.
                    if missing { self.step() } else { true }
                }
                Next::Idle | Next::Waiting | Next::Rewound | Next::End => false,
            }
        }

        fn drain(&mut self) {
            let mut idle = 0;
            for _ in 0..100_000 {
                idle = if self.step() { 0 } else { idle + 1 };
                if idle == IDLE_POLLS {
                    return;
                }
            }
            panic!("never idle");
        }

        fn commit(&mut self) {
            self.commit = Some(Commit {
                positions: self.positions.clone(),
                got: self.got.len(),
                missing: self.missing,
                newest_of: self.newest_of.clone(),
            });
        }

        fn restart(&mut self) {
            let path = if self.named { self.path() } else { self.folder.path().to_owned() };
            self.follow = Follow::new(spec(&path));
            self.follow.identify = self.identify;
            let bytes = borsh::to_vec(&self.positions).expect("written");
            let positions = borsh::from_slice(&bytes).expect("read");
            self.follow.resume(&positions).expect("goes on");
        }

        /// Killed: what came after the last commit is lost.
        fn killed(&mut self) {
            if let Some(commit) = &self.commit {
                self.positions = commit.positions.clone();
                self.got.truncate(commit.got);
                self.missing = commit.missing;
                self.newest_of = commit.newest_of.clone();
            } else {
                self.positions.clear();
                self.got.clear();
                self.missing = 0;
                self.newest_of.clear();
            }
            self.restart();
        }

        fn roll_over(&mut self) {
            let next = self.next_id();
            self.writer.take().expect("a log").finish().expect("written");
            self.archives += 1;
            let archive = format!("Archive-Security-2026-01-{:04}.evtx", self.archives);
            fs::rename(self.path(), self.folder.path().join(archive)).expect("renamed");
            self.start(next);
        }

        /// What is overwritten before anything of a log was read, nobody misses.
        fn known(&mut self) {
            if self.chunks_max.is_some() {
                self.write(1);
                self.check();
                self.commit();
            }
        }

        /// Each record once, those that were told as missing apart.
        fn check(&mut self) {
            self.drain();
            let mut got = self.got.clone();
            got.sort_unstable();
            let distinct: BTreeSet<u64> = got.iter().copied().collect();
            assert_eq!(distinct.len(), got.len(), "a record came twice: {:?}", self.reports);
            let lost = self.written.iter().filter(|time| !distinct.contains(time)).count() as u64;
            assert_eq!(lost, self.missing, "{:?}", self.reports);
            assert_eq!(got.len() as u64 + lost, self.written.len() as u64);
        }

        fn check_all(&mut self) {
            self.check();
            assert_eq!(self.missing, 0, "{:?}", self.reports);
        }
    }

    fn writer_flush(writer: Option<&mut Writer<File>>) {
        writer.expect("a log").flush_in_place().expect("written");
    }

    #[test]
    fn records_added_to_the_last_chunk_come_once_each() {
        let mut scene = Scene::new(0);
        for count in [1, 1, 3, 2] {
            scene.write(count);
            scene.check_all();
        }
        assert_eq!(scene.got, scene.written);
        assert!(scene.reports.is_empty(), "{:?}", scene.reports);
    }

    #[test]
    fn new_chunks_come_in_the_order_of_their_records() {
        let mut scene = Scene::new(0);
        for count in [40, 1, 700, 15, 16] {
            scene.write(count);
            scene.check_all();
            scene.restart();
        }
        assert_eq!(scene.got, scene.written);
        assert!(scene.reports.is_empty(), "{:?}", scene.reports);
    }

    #[test]
    fn a_log_that_goes_round_gives_only_what_is_new() {
        let mut scene = Scene::new(3);
        for _ in 0..40 {
            scene.write(11);
            scene.check_all();
        }
        assert_eq!(scene.got, scene.written);
        assert!(scene.reports.is_empty(), "{:?}", scene.reports);
    }

    #[test]
    fn records_overwritten_before_they_were_read_are_told_as_missing() {
        let mut scene = Scene::new(3);
        scene.write(20);
        scene.check_all();
        scene.write(200);
        scene.check();
        assert!(scene.missing > 100, "{:?}", scene.reports);
        assert_eq!(scene.reports.len(), 1);
        assert!(scene.reports[0].contains("ids 21 to"), "{:?}", scene.reports);
        scene.restart();
        scene.write(1);
        scene.check();
    }

    #[test]
    fn a_log_goes_on_under_its_new_name_and_the_next_one_is_read_from_its_start() {
        for (identify, named) in
            [(identify as fn(&Metadata) -> Identity, false), (nowhere, false), (identify, true)]
        {
            for restart in [false, true] {
                let mut scene = Scene::new(0);
                scene.identify = identify;
                scene.named = named;
                scene.restart();
                scene.write(20);
                scene.check_all();
                // Some of it is new when the name changes.
                scene.write(25);
                scene.roll_over();
                scene.write(5);
                if restart {
                    scene.restart();
                }
                scene.check_all();
                scene.write(30);
                scene.roll_over();
                scene.check_all();
                scene.write(1);
                scene.check_all();
                assert!(scene.reports.is_empty(), "{:?}", scene.reports);
            }
        }
    }

    #[test]
    fn a_cleared_log_is_read_from_its_start() {
        for identify in [identify as fn(&Metadata) -> Identity, nowhere] {
            for count in [1, 20, 60] {
                let mut scene = Scene::new(0);
                scene.identify = identify;
                scene.restart();
                scene.write(20);
                scene.check_all();
                // The same inode, cut off to nothing.
                scene.start(1);
                scene.write(count);
                scene.check_all();
                assert_eq!(scene.reports.len(), 1, "{:?}", scene.reports);
            }
        }
    }

    #[test]
    fn a_file_removed_and_made_anew_is_read_from_its_start() {
        for first in [1, 21, 500] {
            let mut scene = Scene::new(0);
            scene.write(20);
            scene.check_all();
            fs::remove_file(scene.path()).expect("removed");
            scene.check_all();
            assert_eq!(scene.reports.len(), 1, "{:?}", scene.reports);
            scene.start(first);
            scene.write(20);
            scene.drain();
            assert_eq!(scene.got, scene.written);
        }
    }

    #[test]
    fn a_file_that_comes_back_is_not_read_again() {
        let mut scene = Scene::new(0);
        scene.write(40);
        scene.check_all();
        let copy = fs::read(scene.path()).expect("read");
        // Another inode stands for it: a collector that replaces files whole.
        let other = scene.folder.path().join("new.tmp");
        fs::write(&other, &copy).expect("written");
        fs::rename(&other, scene.path()).expect("renamed");
        scene.check_all();
        fs::remove_file(scene.path()).expect("removed");
        scene.check_all();
        scene.restart();
        scene.check_all();
        fs::write(scene.path(), &copy).expect("written");
        scene.check_all();
    }

    #[test]
    fn a_file_cut_off_is_told_once_and_what_comes_behind_is_read() {
        let mut scene = Scene::new(0);
        scene.write(100);
        scene.check_all();
        let bytes = fs::read(scene.path()).expect("read");
        for cut in [bytes.len() / 2, 5000, 4096, 100, 0] {
            fs::write(scene.path(), &bytes[..cut]).expect("written");
            scene.drain();
            scene.drain();
        }
        assert_eq!(scene.reports.len(), 1, "{:?}", scene.reports);
        fs::write(scene.path(), &bytes).expect("written");
        scene.write(50);
        scene.check_all();
    }

    #[test]
    fn a_chunk_half_written_is_waited_for_and_then_taken_as_it_is() {
        let mut scene = Scene::new(0);
        scene.write(5);
        scene.check_all();
        let before = fs::read(scene.path()).expect("read");
        scene.write(5);
        let after = fs::read(scene.path()).expect("read");
        // The new header, and what stood behind it before.
        let mut torn = after.clone();
        torn[30_000..].copy_from_slice(&before[30_000..]);
        fs::write(scene.path(), &torn).expect("written");
        for _ in 0..TORN_POLLS_MAX {
            assert!(!scene.step(), "{:?}", scene.reports);
        }
        fs::write(scene.path(), &after).expect("written");
        scene.check_all();
        assert_eq!(scene.got, scene.written);
        // One that stays wrong comes in the end, with the records that are whole.
        scene.write(1);
        let mut wrong = fs::read(scene.path()).expect("read");
        wrong[4096 + 52] ^= 1;
        fs::write(scene.path(), &wrong).expect("written");
        scene.check_all();
        assert_eq!(scene.got, scene.written);
    }

    #[test]
    fn several_files_take_turns() {
        let mut scene = Scene::new(0);
        scene.write(600);
        fs::copy(scene.path(), scene.folder.path().join("other.evtx")).expect("copied");
        let mut inputs = Vec::new();
        while let Next::Batch(batch) = scene.follow.next(Duration::ZERO).expect("goes on") {
            inputs.push(batch.input);
        }
        assert!(inputs.len() >= 4);
        assert!(inputs[..4].windows(2).all(|pair| pair[0] != pair[1]), "{inputs:?}");
    }

    #[test]
    fn until_the_end_reads_what_was_there_and_ends() {
        let mut scene = Scene::new(0);
        scene.write(100);
        let there = scene.written.len();
        let spec = FollowSpec { until_end: true, ..spec(scene.folder.path()) };
        scene.follow = Follow::new(spec);
        scene.write(100);
        fs::copy(scene.path(), scene.folder.path().join("later.evtx")).expect("copied");
        let mut ended = false;
        for _ in 0..100 {
            if !scene.step() {
                ended = matches!(scene.follow.next(Duration::ZERO), Ok(Next::End));
                break;
            }
        }
        assert!(ended);
        assert!((there..there + 20).contains(&scene.got.len()), "{}", scene.got.len());
        assert_eq!(scene.got, scene.written[..scene.got.len()]);
    }

    #[test]
    fn what_is_not_there_is_told_once_and_may_come() {
        let mut scene = Scene::new(0);
        scene.follow = Follow::new(spec(&scene.folder.path().join("later")));
        scene.drain();
        assert_eq!(scene.reports.len(), 1, "{:?}", scene.reports);
        fs::create_dir(scene.folder.path().join("later")).expect("created");
        scene.write(20);
        fs::copy(scene.path(), scene.folder.path().join("later/a.EVTX")).expect("copied");
        scene.check_all();
    }

    #[derive(Clone, Debug)]
    enum Deed {
        Write(usize),
        Step(usize),
        Drain,
        Commit,
        Restart,
        Kill,
        RollOver,
        Clear,
        Remove(u64),
    }

    fn deeds() -> impl Strategy<Value = Vec<Deed>> {
        let deed = prop_oneof![
            6 => (1..40_usize).prop_map(Deed::Write),
            4 => (1..4_usize).prop_map(Deed::Step),
            2 => Just(Deed::Drain),
            2 => Just(Deed::Commit),
            2 => Just(Deed::Restart),
            2 => Just(Deed::Kill),
            2 => Just(Deed::RollOver),
            1 => Just(Deed::Clear),
            1 => (1..60_u64).prop_map(Deed::Remove),
        ];
        proptest::collection::vec(deed, 1..30)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

        #[test]
        fn each_record_comes_once_or_is_told_as_missing(
            chunks_max in prop_oneof![Just(0_u64), 2..5_u64],
            deeds in deeds(),
        ) {
            let mut scene = Scene::new(chunks_max);
            scene.known();
            for deed in deeds {
                match deed {
                    Deed::Write(count) => scene.write(count),
                    Deed::Step(count) => { for _ in 0..count { scene.step(); } }
                    Deed::Drain => scene.check(),
                    Deed::Commit => scene.commit(),
                    Deed::Restart => scene.restart(),
                    Deed::Kill => scene.killed(),
                    Deed::RollOver => {
                        scene.roll_over();
                        scene.known();
                    }
                    // What was not read, or read and not kept, is gone for good.
                    Deed::Clear => {
                        scene.check();
                        scene.commit();
                        scene.start(1);
                        scene.known();
                    }
                    Deed::Remove(first) => {
                        scene.check();
                        scene.commit();
                        fs::remove_file(scene.path()).expect("removed");
                        scene.drain();
                        scene.start(first);
                        scene.known();
                    }
                }
            }
            scene.check();
        }

        #[test]
        fn nothing_panics_or_goes_on_for_ever_when_bytes_change(
            flips in proptest::collection::vec((0..200_usize, any::<u8>()), 1..40),
            heads in any::<bool>(),
        ) {
            let mut scene = Scene::new(0);
            scene.write(60);
            for pair in flips.chunks(4) {
                let len = fs::metadata(scene.path()).expect("there").len() as usize;
                let mut file = fs::OpenOptions::new().write(true).open(scene.path()).expect("open");
                for (place, byte) in pair {
                    let at = if heads {
                        4096 + (place % 4) * 65_536 + place
                    } else {
                        (place * 7919) % len
                    };
                    file.seek(SeekFrom::Start(at as u64)).expect("there");
                    file.write_all(&[*byte]).expect("written");
                }
                let mut idle = 0;
                for _ in 0..1000 {
                    idle = match scene.follow.next(Duration::ZERO).expect("goes on") {
                        Next::Idle | Next::Waiting | Next::Rewound => idle + 1,
                        Next::Batch(_) | Next::Skipped(_) | Next::End => 0,
                    };
                    if idle == IDLE_POLLS {
                        break;
                    }
                }
                prop_assert_eq!(idle, IDLE_POLLS);
                scene.write(7);
            }
        }
    }
}

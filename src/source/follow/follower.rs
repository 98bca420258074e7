//! The source: polls files, finds out which log each holds, and lets the logs take turns.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fs::{File, Metadata};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::FollowSpec;
use super::chunk::{ChunkSeen, scan};
use super::files::{FILES_MAX, Found, Identity, find_files, foreign, identify};
use super::log::{Holds, Log, Patience, REPORTED_MAX, holds, skipped};
use crate::position::{Position, Positions, Start};
use crate::source::{Batch, Content, Next, Skipped, Source, SourceError};

/// Most logs whose position is known, those without a file included. Beyond
/// that the one that moved the longest time ago gives its place to a new one.
const LOGS_MAX: usize = 2 * FILES_MAX;

/// Shortest sleep between two polls.
const POLL_MIN: Duration = Duration::from_millis(1);

/// What the keys of logs in [`Positions`] begin with. The number behind it says
/// nothing: what a log is follows from its position.
const KEY_PREFIX: &str = "log/";

/// Follows event logs.
#[derive(Debug)]
pub struct Follow {
    spec: FollowSpec,
    logs: Vec<Log>,
    /// The log whose turn it is.
    turn: usize,
    reports: VecDeque<Skipped>,
    reported: BTreeSet<String>,
    moves: u64,
    /// Number in the key of the next new log.
    next_key: u64,
    polls: u32,
    next_poll: Option<Instant>,
    /// What distinguishes files from each other.
    identify: fn(&Metadata) -> Identity,
    /// With `until_end`: the files that were there.
    ends: Option<Vec<EndOfFile>>,
    /// Whether logs begin where the start says: at the first poll of the first start.
    begins: bool,
    /// Where they begin, to be made durable before anything is read: a second start would find
    /// later ends.
    begun: Vec<(Arc<str>, Position)>,
}

/// A file as it was at the beginning.
#[derive(Debug)]
struct EndOfFile {
    found: Found,
    last_id: u64,
    /// Until the first poll takes them.
    chunks: Vec<ChunkSeen>,
}

/// Whether only what is certain counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Certain {
    Yes,
    No,
}

impl Follow {
    pub fn new(spec: FollowSpec) -> Follow {
        let spec_start = spec.start;
        let mut follow = Follow {
            spec,
            logs: Vec::new(),
            turn: 0,
            reports: VecDeque::new(),
            reported: BTreeSet::new(),
            moves: 0,
            next_key: 0,
            polls: 0,
            next_poll: None,
            identify,
            ends: None,
            begins: spec_start != Start::Earliest,
            begun: Vec::new(),
        };
        if follow.spec.until_end {
            let mut ends = Vec::new();
            for found in follow.find() {
                let Ok(file) = File::open(&found.path) else { continue };
                let chunks = scan(&file, found.bytes).unwrap_or_default();
                match chunks.iter().map(|seen| seen.last_id).max() {
                    Some(last_id) => ends.push(EndOfFile { found, last_id, chunks }),
                    None => follow.report_foreign(&found, &file),
                }
            }
            follow.ends = Some(ends);
        }
        follow
    }

    /// Reports something once, however often it is seen.
    fn report_once(&mut self, path: &Path, reason: String) {
        let line = format!("{}: {reason}", path.display());
        if self.reported.len() < REPORTED_MAX && self.reported.insert(line) {
            self.reports.push_back(skipped(path.display().to_string().into(), reason));
        }
    }

    /// Reports a file that was asked for and is no event log.
    fn report_foreign(&mut self, found: &Found, file: &File) {
        if !found.beside
            && let Some(reason) = foreign(file)
        {
            self.report_once(&found.path, reason.to_owned());
        }
    }

    /// The files to follow now; what keeps one from being read is reported once.
    fn find(&mut self) -> Vec<Found> {
        let logs = &self.logs;
        let known = |path: &Path| logs.iter().any(|log| Path::new(&log.position.path) == path);
        let (mut all, problems) = find_files(&self.spec.paths, self.identify, known);
        for (path, reason) in problems {
            self.report_once(&path, reason);
        }
        if let Some(ends) = &self.ends {
            all.retain_mut(|found| {
                found.end = ends.iter().find(|end| end.found.is(found)).map(|end| end.last_id);
                found.end.is_some()
            });
        }
        all
    }

    /// Examines all files: which log each holds, and what is new in it.
    fn poll(&mut self) {
        self.polls = self.polls.wrapping_add(1);
        let mut files: Vec<Option<Found>> = self.find().into_iter().map(Some).collect();
        let had: Vec<bool> = self.logs.iter().map(|log| log.found.is_some()).collect();
        self.match_known_files(&mut files);
        // Files that hold a log for certain come before those that may.
        let mut rest = Vec::new();
        for found in files.into_iter().flatten() {
            rest.extend(self.match_other_file(found, None, Certain::Yes));
        }
        for (found, chunks) in rest {
            self.match_other_file(found, Some(chunks), Certain::No);
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
        if std::mem::take(&mut self.begins) {
            self.moves = self.moves.saturating_add(1);
            for log in &mut self.logs {
                log.position.moves = self.moves;
                self.begun.push((Arc::clone(&log.key), Position::Log(log.position.clone())));
            }
        }
    }

    /// Files that are a log's own, by device and inode or by name.
    fn match_known_files(&mut self, files: &mut [Option<Found>]) {
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
            let examined = File::open(&found.path).and_then(|file| {
                if log.is_unchanged(&file, &found) {
                    return Ok(if log.cut_off_reported { Holds::CutOff } else { Holds::Log });
                }
                let chunks = scan(&file, found.bytes)?;
                let holds = holds(&log.position, &found, &file, &chunks);
                if holds.takes(&found, log.gone) {
                    log.examine(&file, &found, chunks);
                }
                Ok(holds)
            });
            match examined {
                Ok(holds) if !holds.takes(&found, log.gone) => {}
                Ok(holds) => {
                    log.moved_to(&found);
                    let reported =
                        std::mem::replace(&mut log.cut_off_reported, holds == Holds::CutOff);
                    if holds == Holds::CutOff && !reported {
                        let reason = "was cut off: records that were read before are gone from it";
                        self.reports.push_back(skipped(found.input(), reason.to_owned()));
                    }
                    files[*file] = None;
                }
                // It is not known what it holds now: neither new nor gone.
                Err(cause) => {
                    log.found = had;
                    log.due.clear();
                    log.rescan = !self.spec.until_end;
                    files[*file] = None;
                    self.report_once(&found.path, cause.to_string());
                }
            }
        }
    }

    /// The chunks of a file; those seen at the beginning, if it has not changed since.
    fn scan(&mut self, file: &File, found: &Found) -> io::Result<Vec<ChunkSeen>> {
        let is_same = |end: &&mut EndOfFile| {
            end.found.is(found)
                && (end.found.bytes, end.found.modified) == (found.bytes, found.modified)
        };
        let end = self.ends.iter_mut().flatten().find(is_same);
        match end.map(|end| std::mem::take(&mut end.chunks)) {
            Some(chunks) if !chunks.is_empty() => Ok(chunks),
            Some(_) | None => scan(file, found.bytes),
        }
    }

    /// A file that is no log's own: a log's that had another one, or new. Gives
    /// it back, with its chunks, when that is not certain.
    fn match_other_file(
        &mut self,
        found: Found,
        chunks: Option<Vec<ChunkSeen>>,
        certain: Certain,
    ) -> Option<(Found, Vec<ChunkSeen>)> {
        let scanned = File::open(&found.path).and_then(|file| {
            let chunks = chunks.map_or_else(|| self.scan(&file, &found), Ok)?;
            Ok((chunks, file))
        });
        let (chunks, file) = match scanned {
            Ok(scanned) => scanned,
            Err(cause) => {
                if !found.beside {
                    self.report_once(&found.path, format!("cannot be read: {cause}"));
                }
                return None;
            }
        };
        if chunks.is_empty() {
            self.report_foreign(&found, &file);
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
            log.cut_off_reported = holds == Holds::CutOff;
            log.examine(&file, &found, chunks);
            log.moved_to(&found);
            return None;
        }
        if certain == Certain::Yes || found.beside {
            return Some((found, chunks));
        }
        let index = self.place_for_new();
        let (begins, start) = (self.begins, self.spec.start);
        let log = &mut self.logs[index];
        if begins {
            log.begin(&file, &chunks, start);
        }
        log.examine(&file, &found, chunks);
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
    fn next_batch(&mut self) -> Option<Next> {
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
            let next = log.next_batch(self.identify, patience, self.moves.saturating_add(1));
            // What is missing is reported directly before what comes behind it.
            if matches!(next, Some(Next::Skipped(_))) {
                return next;
            }
            self.turn += 1;
            if matches!(next, Some(Next::Batch(_))) {
                self.moves = self.moves.saturating_add(1);
            }
            if next.is_some() {
                return next;
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
            if !self.begun.is_empty() {
                return Ok(Next::Batch(Batch {
                    input: "event logs".into(),
                    progress_bytes: 0,
                    moved: std::mem::take(&mut self.begun),
                    content: Content::Text { bytes: Vec::new() },
                }));
            }
            if let Some(next) = self.next_batch() {
                return Ok(next);
            }
            if self.spec.until_end && !self.logs.iter().any(|log| log.rescan) {
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
        self.begins &= positions.is_empty();
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::io::{Seek, SeekFrom, Write};
    use std::num::NonZeroU64;
    use std::path::PathBuf;

    use proptest::prelude::*;

    use super::super::log::{QUIET_POLLS, TORN_POLLS_MAX};
    use super::*;
    use crate::decode::Tally;
    use crate::decode::evtx::ChunkDecoder;
    use crate::record::Wanted;
    use crate::simulate::evtx::{EventSpec, Options, Payload, TypedValue, Writer};
    use crate::source::BATCH_BYTES;
    use crate::time::EventTime;

    /// More polls without anything than it takes to give up on what is torn, and
    /// to examine a file that was quiet.
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
        FollowSpec {
            paths: vec![path.to_owned()],
            poll: Duration::ZERO,
            start: Start::Earliest,
            until_end: false,
        }
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
            match self.follow.next(Duration::ZERO).expect("the source works") {
                Next::Batch(Batch { content: Content::Text { bytes }, moved, .. }) => {
                    assert!(bytes.is_empty(), "where logs begin");
                    self.positions.extend(moved);
                    true
                }
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
            self.follow.resume(&positions).expect("the source works");
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

        /// Each record once, those that were reported as missing apart.
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
    fn records_overwritten_before_they_were_read_are_reported_missing() {
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
    fn a_file_cut_off_is_reported_once_and_what_comes_behind_is_read() {
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
        while let Next::Batch(batch) = scene.follow.next(Duration::ZERO).expect("the source works")
        {
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
    fn what_is_not_there_is_reported_once_and_may_come() {
        let mut scene = Scene::new(0);
        scene.follow = Follow::new(spec(&scene.folder.path().join("later")));
        scene.drain();
        assert_eq!(scene.reports.len(), 1, "{:?}", scene.reports);
        fs::create_dir(scene.folder.path().join("later")).expect("created");
        scene.write(20);
        fs::copy(scene.path(), scene.folder.path().join("later/a.EVTX")).expect("copied");
        scene.check_all();
    }

    /// What comes of a log of 60 records with this start, which ends before it has read anything
    /// and goes on when there is one more: those from the record with this number on.
    #[track_caller]
    fn check_start(start: Start, from: usize) {
        let mut scene = Scene::new(0);
        scene.write(60);
        let begins = FollowSpec { start, ..spec(scene.folder.path()) };
        scene.follow = Follow::new(begins.clone());
        scene.step();
        assert_eq!((scene.got.len(), scene.positions.len()), (0, 1), "{start:?}");
        scene.write(1);
        scene.follow = Follow::new(begins);
        scene.follow.resume(&scene.positions).expect("resumed");
        scene.drain();
        assert_eq!(scene.got, scene.written[from..], "{start:?}");
        assert_eq!(scene.reports, [""; 0]);
    }

    #[test]
    fn a_first_start_begins_where_it_is_told_to() {
        let mut scene = Scene::new(0);
        scene.write(60);
        check_start(Start::Latest, 60);
        let at = |number: usize| Start::At(EventTime(scene.written[number]));
        for from in [0, 1, 17, 59] {
            check_start(at(from), from);
        }
        check_start(Start::At(EventTime(scene.written[59] + 1)), 60);
    }

    #[test]
    fn a_log_that_comes_later_is_read_from_its_start() {
        let mut scene = Scene::new(0);
        let folder = scene.folder.path().to_owned();
        scene.follow = Follow::new(FollowSpec { start: Start::Latest, ..spec(&folder) });
        scene.drain();
        scene.write(20);
        scene.check_all();
    }

    #[test]
    fn a_file_that_is_no_event_log_is_reported_once_and_the_others_are_read() {
        let mut scene = Scene::new(0);
        scene.write(20);
        fs::write(scene.folder.path().join("text.evtx"), b"{\"event_id\": 4625}\n")
            .expect("written");
        fs::write(scene.folder.path().join("new.evtx"), b"").expect("written");
        scene.drain();
        scene.drain();
        assert_eq!(scene.got, scene.written);
        let [report] = &scene.reports[..] else { panic!("{:?}", scene.reports) };
        assert!(report.starts_with("is no EVTX event log"), "{report}");
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
        fn each_record_comes_once_or_is_reported_missing(
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
                    idle = match scene.follow.next(Duration::ZERO).expect("the source works") {
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

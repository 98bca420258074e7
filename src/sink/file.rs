//! The service's sink: incidents to a file or to standard output, what could
//! not be decoded to a file, and the journal that ties them together.
//!
//! ```text
//!  commit ─▶ rotate files ─▶ append dead letters, sync ─▶ append incidents, sync
//!         ─▶ append the journal's entry: frame, lengths of the files ─▶ sync
//! ```
//!
//! The last sync is what commits. Until then the journal holds the lengths that
//! the files had before, and [`Sink::restore`] cuts them back to these: in
//! files each line stands once. What went to standard output cannot be taken
//! back: after a crash, the lines of the last commit may come again.

use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::{Commit, CommitOutcome, Sink, SinkError};
use crate::output::format::WriteIncident;
use crate::output::wire::WireDeadLetter;
use crate::output::write_line;
use crate::store::disk::{Disk, RealDisk, behind_link};
use crate::store::rotating_file::{Mark, RotatingFile, RotatingFileSpec};
use crate::store::state_log::{self, StateLog};
use crate::store::{RestoredState, StoreError, io_error};

/// What a stream is called in messages.
const STREAM: &str = "standard output";

/// What the sink is made of.
#[derive(Debug)]
pub struct FileSinkSpec {
    /// The state folder; made if it is not there.
    pub state: PathBuf,
    pub incidents: IncidentsTo,
    pub write: WriteIncident,
    /// Without it, what could not be decoded is counted only.
    pub dead_letters: Option<RotatingFileSpec>,
}

pub enum IncidentsTo {
    /// Each line once.
    File(RotatingFileSpec),
    /// Standard output or the like: each line at least once.
    Stream(Box<dyn Write + Send>),
}

#[derive(Debug)]
pub struct FileSink {
    disk: Box<dyn Disk>,
    state: FileSinkState,
}

#[derive(Debug)]
enum FileSinkState {
    /// Nothing was touched yet.
    Closed(FileSinkSpec),
    Open(Box<OpenSink>),
    /// Only a restart tells what is durable.
    Torn,
}

#[derive(Debug)]
struct OpenSink {
    state_log: StateLog,
    incidents: IncidentOutput,
    write: WriteIncident,
    dead_letters: Option<RotatingFile>,
}

enum IncidentOutput {
    File(RotatingFile),
    Stream(Box<dyn Write + Send>),
}

impl FileSink {
    pub fn new(spec: FileSinkSpec) -> FileSink {
        let behind_link = |file: RotatingFileSpec| RotatingFileSpec {
            path: behind_link(file.path.clone()),
            ..file
        };
        let incidents = match spec.incidents {
            IncidentsTo::File(file) => IncidentsTo::File(behind_link(file)),
            stream @ IncidentsTo::Stream(_) => stream,
        };
        let dead_letters = spec.dead_letters.map(behind_link);
        FileSink::on(Box::new(RealDisk), FileSinkSpec { incidents, dead_letters, ..spec })
    }

    fn on(disk: Box<dyn Disk>, spec: FileSinkSpec) -> FileSink {
        FileSink { disk, state: FileSinkState::Closed(spec) }
    }
}

impl Sink for FileSink {
    fn restore(&mut self) -> Result<RestoredState, SinkError> {
        match std::mem::replace(&mut self.state, FileSinkState::Torn) {
            FileSinkState::Closed(spec) => {
                let (open, kept) = OpenSink::restore(&mut *self.disk, spec)?;
                self.state = FileSinkState::Open(Box::new(open));
                Ok(kept)
            }
            FileSinkState::Open(_) => panic!("a sink is restored once"),
            FileSinkState::Torn => Err(StoreError::Torn.into()),
        }
    }

    fn commit(&mut self, commit: &Commit<'_>) -> Result<(), SinkError> {
        match std::mem::replace(&mut self.state, FileSinkState::Torn) {
            FileSinkState::Open(mut open) => {
                open.commit(&mut *self.disk, commit)?;
                self.state = FileSinkState::Open(open);
                Ok(())
            }
            FileSinkState::Closed(_) => panic!("a sink is restored before the first commit"),
            FileSinkState::Torn => Err(StoreError::Torn.into()),
        }
    }

    fn resolve(&mut self, _: &Commit<'_>) -> Result<CommitOutcome, SinkError> {
        Err(StoreError::Torn.into())
    }
}

impl OpenSink {
    fn restore(
        disk: &mut dyn Disk,
        spec: FileSinkSpec,
    ) -> Result<(OpenSink, RestoredState), StoreError> {
        let mut state_log = StateLog::lock(disk, &spec.state)?;
        let known = state_log.read(disk)?;
        let is_first = known.is_none();
        let (before, kept) = known.unwrap_or_default();
        let named: Vec<&RotatingFileSpec> = match &spec.incidents {
            IncidentsTo::File(file) => Some(file),
            IncidentsTo::Stream(_) => None,
        }
        .into_iter()
        .chain(&spec.dead_letters)
        .collect();
        // First, as another path may lead to the same file.
        for mark in before.iter().filter(|mark| !named.iter().any(|spec| mark.is_of(spec))) {
            mark.leave(disk)?;
        }
        let mark_of =
            |spec: &RotatingFileSpec| before.iter().find(|mark| mark.is_of(spec)).cloned();
        let mut restore = |spec: RotatingFileSpec| {
            let mark = mark_of(&spec);
            RotatingFile::restore(disk, spec, mark)
        };
        let incidents = match spec.incidents {
            IncidentsTo::File(file) => IncidentOutput::File(restore(file)?),
            IncidentsTo::Stream(stream) => IncidentOutput::Stream(stream),
        };
        let dead_letters = spec.dead_letters.map(restore).transpose()?;
        let mut open = OpenSink { state_log, incidents, write: spec.write, dead_letters };
        let marks = open.marks();
        if is_first {
            open.state_log.begin(disk, &marks, None)?;
        } else if marks != before {
            open.state_log.append(&marks, None)?;
        }
        // Only now, as a file that was renamed may still be missing in its mark.
        open.files().try_for_each(|file| file.begin(disk))?;
        Ok((open, kept))
    }

    fn commit(&mut self, disk: &mut dyn Disk, commit: &Commit<'_>) -> Result<(), StoreError> {
        state_log::check_size(commit.frame, commit.snapshot)?;
        let now_secs = disk.now_secs();
        let (mut dead_letters, mut lines) = (Vec::new(), Vec::new());
        if self.dead_letters.is_some() {
            for dead_letter in commit.dead_letters {
                self.put(&mut dead_letters, |out| {
                    write_line(out, &WireDeadLetter::from(dead_letter))
                })?;
            }
        }
        for incident in commit.incidents {
            self.put(&mut lines, |out| (self.write)(incident, out))?;
        }
        self.rotate(disk, |open| open.dead_letters.as_mut(), dead_letters.len() as u64)?;
        self.rotate(disk, |open| open.incidents.file(), lines.len() as u64)?;
        if let Some(file) = &mut self.dead_letters {
            file.append(&dead_letters, now_secs)?;
        }
        match &mut self.incidents {
            IncidentOutput::File(file) => file.append(&lines, now_secs)?,
            IncidentOutput::Stream(stream) => stream
                .write_all(&lines)
                .and_then(|()| stream.flush())
                .map_err(io_error("write", Path::new(STREAM)))?,
        }
        let marks = self.marks();
        match commit.snapshot {
            Some(snapshot) => self.state_log.begin(disk, &marks, Some(snapshot)),
            None => self.state_log.append(&marks, Some(commit.frame)),
        }
    }

    /// Begins a new file when it is time for one, as a step of its own: the
    /// journal knows of it before and after.
    fn rotate(
        &mut self,
        disk: &mut dyn Disk,
        which: fn(&mut OpenSink) -> Option<&mut RotatingFile>,
        bytes: u64,
    ) -> Result<(), StoreError> {
        let Some(file) = which(self) else { return Ok(()) };
        if !file.is_due(bytes, disk.now_secs()) {
            return Ok(());
        }
        file.announce(disk)?;
        self.state_log.append(&self.marks(), None)?;
        which(self).map_or(Ok(()), |file| file.rotate(disk))?;
        self.state_log.append(&self.marks(), None)?;
        which(self).map_or(Ok(()), |file| file.begin(disk))
    }

    fn put(
        &self,
        lines: &mut Vec<u8>,
        write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>,
    ) -> Result<(), StoreError> {
        let path = match &self.incidents {
            IncidentOutput::File(file) => file.path(),
            IncidentOutput::Stream(_) => Path::new(STREAM),
        };
        write(lines).map_err(io_error("put into lines for", path))
    }

    fn files(&mut self) -> impl Iterator<Item = &mut RotatingFile> {
        self.incidents.file().into_iter().chain(&mut self.dead_letters)
    }

    fn marks(&self) -> Vec<Mark> {
        let incidents = match &self.incidents {
            IncidentOutput::File(file) => Some(file),
            IncidentOutput::Stream(_) => None,
        };
        let files = incidents.into_iter().chain(&self.dead_letters);
        files.map(|file| file.mark().clone()).collect()
    }
}

impl IncidentOutput {
    fn file(&mut self) -> Option<&mut RotatingFile> {
        match self {
            IncidentOutput::File(file) => Some(file),
            IncidentOutput::Stream(_) => None,
        }
    }
}

impl fmt::Debug for IncidentsTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IncidentsTo::File(file) => f.debug_tuple("File").field(file).finish(),
            IncidentsTo::Stream(_) => f.write_str("Stream"),
        }
    }
}

impl fmt::Debug for IncidentOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IncidentOutput::File(file) => f.debug_tuple("File").field(file).finish(),
            IncidentOutput::Stream(_) => f.write_str("Stream"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::sync::{Arc, LazyLock, Mutex};

    use super::*;
    use crate::incident::Incident;
    use crate::output::format::Format;
    use crate::output::samples;
    use crate::output::wire::WireIncident;
    use crate::reject::DeadLetter;
    use crate::store::disk::doubles::{
        CRASHES, Crash, Done, FailingDisk, Failure, Fault, MemoryDisk,
    };

    const OUTPUT: &str = "out/incidents.jsonl";
    const LETTERS: &str = "out/dead.jsonl";
    const STATE: &str = "state";

    /// 2025-10-01T08:00:00Z.
    const START_SECS: u64 = 1_759_305_600;

    fn rotated(path: &str) -> RotatingFileSpec {
        RotatingFileSpec { path: path.into(), bytes_max: None, interval_secs: None, keep: None }
    }

    /// Both files are rotated now and then, by size and by time.
    fn spec() -> FileSinkSpec {
        let incidents = RotatingFileSpec { bytes_max: Some(60), ..rotated(OUTPUT) };
        let letters = RotatingFileSpec { interval_secs: Some(4), ..rotated(LETTERS) };
        FileSinkSpec {
            state: STATE.into(),
            incidents: IncidentsTo::File(incidents),
            write: short,
            dead_letters: Some(letters),
        }
    }

    /// Nothing is ever rotated.
    fn plain() -> FileSinkSpec {
        FileSinkSpec {
            incidents: IncidentsTo::File(rotated(OUTPUT)),
            dead_letters: Some(rotated(LETTERS)),
            ..spec()
        }
    }

    fn only_incidents(incidents: RotatingFileSpec) -> FileSinkSpec {
        FileSinkSpec { incidents: IncidentsTo::File(incidents), dead_letters: None, ..spec() }
    }

    /// A line that tells the incident and little else.
    fn short(incident: &Incident, out: &mut Vec<u8>) -> io::Result<()> {
        writeln!(out, "incident {}", incident.revision)
    }

    fn incident(number: u64) -> Incident {
        Incident { revision: number as u32, ..samples::incident() }
    }

    /// What a commit of the undisturbed run holds.
    struct Step {
        incidents: Vec<Incident>,
        letters: Vec<DeadLetter>,
        state: [u8; 8],
        with_snapshot: bool,
    }

    const STEPS: u64 = 16;

    /// Commit `k` at `k - 1`: made once, as a run is repeated ten thousand times.
    static RUN: LazyLock<Vec<Step>> = LazyLock::new(|| (1..=STEPS).map(made_step).collect());

    /// All incidents, and all dead letters, of the commits up to `k`.
    static EXPECTED: LazyLock<Vec<[String; 2]>> =
        LazyLock::new(|| (0..=STEPS).map(made_expected).collect());

    fn step(k: u64) -> &'static Step {
        &RUN[k as usize - 1]
    }

    fn expected(k: u64) -> [&'static str; 2] {
        EXPECTED[k as usize].each_ref().map(String::as_str)
    }

    fn made_step(k: u64) -> Step {
        let letter = |number: u64| DeadLetter {
            origin: format!("offset {number}"),
            reason: "json_syntax",
            what: "a value".to_owned(),
            bytes: vec![b'x', number as u8],
        };
        Step {
            incidents: (0..k % 4).map(|n| incident(10 * k + n)).collect(),
            letters: (0..u64::from(k % 3 == 1)).map(|n| letter(10 * k + n)).collect(),
            state: k.to_le_bytes(),
            with_snapshot: k % 5 == 4,
        }
    }

    fn commit(sink: &mut FileSink, k: u64) -> Result<(), SinkError> {
        let step = step(k);
        sink.commit(&Commit {
            incidents: &step.incidents,
            dead_letters: &step.letters,
            frame: &step.state,
            snapshot: step.with_snapshot.then_some(&step.state),
        })
    }

    fn made_expected(k: u64) -> [String; 2] {
        let (mut lines, mut letters) = (Vec::new(), Vec::new());
        for step in (1..=k).map(step) {
            for incident in &step.incidents {
                short(incident, &mut lines).unwrap();
            }
            for letter in &step.letters {
                write_line(&mut letters, &WireDeadLetter::from(letter)).unwrap();
            }
        }
        [lines, letters].map(|bytes| String::from_utf8(bytes).unwrap())
    }

    /// The counter that a restart continues; the frames are those committed
    /// since the last snapshot.
    #[track_caller]
    fn counter(kept: &RestoredState) -> u64 {
        let number = |bytes: &Vec<u8>| u64::from_le_bytes(bytes.as_slice().try_into().unwrap());
        let base = kept.snapshot.as_ref().map_or(0, number);
        let frames: Vec<u64> = kept.frames.iter().map(number).collect();
        let last = base + frames.len() as u64;
        assert_eq!(frames, (base + 1..=last).collect::<Vec<_>>());
        let snapshot = (1..=last).rev().find(|k| step(*k).with_snapshot);
        assert_eq!(base, snapshot.unwrap_or(0));
        last
    }

    /// The rotated files, the oldest first, and the one that grows.
    fn family(disk: &MemoryDisk, path: &str) -> Vec<String> {
        let path = Path::new(path);
        let stem = path.with_extension("");
        let key = |name: &str| {
            let stamp = &name[stem.to_str().unwrap().len()..name.len() - "jsonl".len()];
            let (time, number) = stamp.split_once('-').unwrap_or((stamp, "0."));
            let number: u32 = number.trim_end_matches('.').parse().unwrap();
            // The one that grows has no stamp.
            (stamp == ".", time.trim_end_matches('.').to_owned(), number)
        };
        let paths = disk.paths().into_iter().map(|path| path.to_str().unwrap().to_owned());
        let mut names: Vec<String> =
            paths.filter(|name| name.starts_with(&format!("{}.", stem.display()))).collect();
        names.sort_by_key(|name| key(name));
        names
    }

    fn content(disk: &MemoryDisk, path: &str) -> String {
        String::from_utf8(disk.content(Path::new(path)).unwrap()).unwrap()
    }

    fn written(disk: &MemoryDisk) -> [String; 2] {
        [OUTPUT, LETTERS]
            .map(|path| family(disk, path).iter().map(|name| content(disk, name)).collect())
    }

    fn open(disk: &MemoryDisk, spec: FileSinkSpec) -> (FileSink, Result<RestoredState, SinkError>) {
        let mut sink = FileSink::on(Box::new(disk.clone()), spec);
        let kept = sink.restore();
        (sink, kept)
    }

    #[track_caller]
    fn opened(disk: &MemoryDisk, spec: FileSinkSpec) -> (FileSink, RestoredState) {
        let (sink, kept) = open(disk, spec);
        (sink, kept.unwrap())
    }

    fn fresh() -> MemoryDisk {
        let disk = MemoryDisk::default();
        disk.set_now_secs(START_SECS);
        disk
    }

    /// Runs from where the disk is to the end, or to the fault; gives the last
    /// commit that is known to be durable.
    fn run(
        disk: &MemoryDisk,
        spec: FileSinkSpec,
        fault: &Fault,
        case: &str,
    ) -> (u64, Result<(), SinkError>) {
        let failing = FailingDisk { disk: disk.clone(), fault: fault.clone() };
        let mut sink = FileSink::on(Box::new(failing), spec);
        let kept = match sink.restore() {
            Ok(kept) => kept,
            Err(cause) => return (0, Err(cause)),
        };
        let mut done = counter(&kept);
        assert_eq!(written(disk), expected(done), "{case}: not what commit {done} left");
        while done < STEPS {
            disk.set_now_secs(START_SECS + done);
            if let Err(cause) = commit(&mut sink, done + 1) {
                assert!(
                    matches!(commit(&mut sink, done + 1), Err(SinkError::Store(StoreError::Torn))),
                    "{case}"
                );
                return (done, Err(cause));
            }
            done += 1;
        }
        (done, Ok(()))
    }

    fn no_fault() -> Fault {
        Fault::at(usize::MAX, Failure::Kill, Done::Nothing)
    }

    /// Steps of an undisturbed run, each of which may fail.
    fn steps_of_a_run(spec: fn() -> FileSinkSpec) -> usize {
        let (disk, fault) = (fresh(), no_fault());
        assert!(matches!(run(&disk, spec(), &fault, "undisturbed"), (STEPS, Ok(()))));
        assert_eq!(written(&disk), expected(STEPS));
        fault.steps_done()
    }

    #[test]
    fn after_a_fault_at_any_step_and_any_crash_the_output_is_that_of_an_undisturbed_run() {
        let ways = [Done::Nothing, Done::Half, Done::Whole].into_iter().flat_map(|done| {
            let killed = CRASHES.map(|crash| (Failure::Kill, done, vec![crash]));
            // And a power cut right after the next start.
            let again = (Failure::Once, done, vec![Crash::Process, Crash::Power]);
            killed.into_iter().chain([again])
        });
        let ways: Vec<(Failure, Done, Vec<Crash>)> = ways.collect();
        for (spec, steps_min) in [(spec as fn() -> FileSinkSpec, 200), (plain, 100)] {
            let steps = steps_of_a_run(spec);
            assert!(steps > steps_min, "{steps}");
            for fails_at in 0..steps {
                for (failure, done, crashes) in &ways {
                    check_fault(spec, &Fault::at(fails_at, *failure, *done), crashes);
                }
            }
        }
    }

    /// A start after each crash finds what the first one found.
    fn check_fault(spec: fn() -> FileSinkSpec, fault: &Fault, crashes: &[Crash]) {
        let case = format!("{fault:?}, {crashes:?}");
        let disk = fresh();
        let (durable, ended) = run(&disk, spec(), fault, &case);
        assert!(ended.is_err(), "{case}");
        let mut started: Option<(FileSink, u64)> = None;
        for crash in crashes {
            let found_before = started.take().map(|(_, last)| last);
            disk.crash(*crash);
            let (sink, kept) = opened(&disk, spec());
            let last = counter(&kept);
            assert_eq!(last, found_before.unwrap_or(last), "{case}");
            started = Some((sink, last));
        }
        let (mut sink, last) = started.unwrap();
        assert!(last == durable || last == durable + 1, "{case}: {last} after {durable}");
        assert_eq!(written(&disk), expected(last), "{case}");
        for k in last + 1..=STEPS {
            disk.set_now_secs(START_SECS + k);
            commit(&mut sink, k).unwrap();
        }
        assert_eq!(written(&disk), expected(STEPS), "{case}");
        drop(sink);
        // What is durable now needs no luck.
        disk.crash(Crash::Power);
        assert_eq!(counter(&opened(&disk, spec()).1), STEPS, "{case}");
        assert_eq!(written(&disk), expected(STEPS), "{case}");
    }

    #[test]
    fn a_restart_may_fail_at_any_step_too() {
        let mut crashes = CRASHES.iter().cycle();
        for first in 0..steps_of_a_run(spec) {
            for second in 0.. {
                let crash = *crashes.next().unwrap();
                let case = format!("at steps {first} and {second}, {crash:?}");
                let disk = fresh();
                let (durable, _) =
                    run(&disk, spec(), &Fault::at(first, Failure::Kill, Done::Half), &case);
                disk.crash(crash);
                let fault = Fault::at(second, Failure::Kill, Done::Half);
                let failing = FailingDisk { disk: disk.clone(), fault: fault.clone() };
                let restored = FileSink::on(Box::new(failing), spec()).restore();
                if restored.is_ok() {
                    break;
                }
                disk.crash(*crashes.next().unwrap());
                let last = counter(&opened(&disk, spec()).1);
                assert!(last == durable || last == durable + 1, "{case}: {last} after {durable}");
                assert!(
                    matches!(run(&disk, spec(), &no_fault(), &case), (STEPS, Ok(()))),
                    "{case}"
                );
                assert_eq!(written(&disk), expected(STEPS), "{case}");
            }
        }
    }

    #[test]
    fn what_a_commit_says_is_durable_survives_a_power_cut_right_after() {
        for last in 0..=STEPS {
            let disk = fresh();
            let (mut sink, _) = opened(&disk, spec());
            for k in 1..=last {
                disk.set_now_secs(START_SECS + k);
                commit(&mut sink, k).unwrap();
            }
            drop(sink);
            disk.crash(Crash::Power);
            assert_eq!(counter(&opened(&disk, spec()).1), last);
            assert_eq!(written(&disk), expected(last));
        }
    }

    #[test]
    fn the_runs_of_these_tests_put_both_files_aside() {
        let disk = fresh();
        assert!(run(&disk, spec(), &no_fault(), "undisturbed").1.is_ok());
        assert!(family(&disk, OUTPUT).len() > 5 && family(&disk, LETTERS).len() > 2);
    }

    #[test]
    fn a_restart_without_a_crash_changes_nothing() {
        let disk = fresh();
        for k in 0..STEPS {
            let (mut sink, kept) = opened(&disk, spec());
            assert_eq!(counter(&kept), k);
            commit(&mut sink, k + 1).unwrap();
        }
        assert_eq!(written(&disk), expected(STEPS));
    }

    fn commit_lines(sink: &mut FileSink, lines: &[u64]) -> Result<(), SinkError> {
        let incidents: Vec<Incident> = lines.iter().map(|number| incident(*number)).collect();
        sink.commit(&Commit {
            incidents: &incidents,
            dead_letters: &[],
            frame: &[],
            snapshot: None,
        })
    }

    /// Seconds and lines of each commit; then each file that is there, and its
    /// lines.
    #[track_caller]
    fn check_rotation(
        spec: &RotatingFileSpec,
        commits: &[(u64, &[u64])],
        files: &[(&str, &[u64])],
    ) {
        // A restart between any two commits makes no difference.
        for restarts in [false, true] {
            let disk = fresh();
            let (mut sink, _) = opened(&disk, only_incidents(spec.clone()));
            for (secs, lines) in commits {
                disk.set_now_secs(START_SECS + secs);
                commit_lines(&mut sink, lines).unwrap();
                if restarts {
                    sink = opened(&disk, only_incidents(spec.clone())).0;
                }
            }
            let found: Vec<(String, String)> = family(&disk, OUTPUT)
                .into_iter()
                .map(|name| (name.replace("out/", ""), content(&disk, &name)))
                .collect();
            let lines = |lines: &[u64]| lines.iter().map(|n| format!("incident {n}\n")).collect();
            let expected: Vec<(String, String)> =
                files.iter().map(|(name, numbers)| ((*name).to_owned(), lines(numbers))).collect();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn a_file_is_put_aside_before_it_becomes_larger_than_it_may() {
        // Each line has 11 bytes.
        check_rotation(
            &RotatingFileSpec { bytes_max: Some(33), ..rotated(OUTPUT) },
            &[
                (0, &[1, 2]),
                (1, &[3]),
                (2, &[]),
                (3, &[4]),
                (3, &[5, 6, 7, 8]),
                (3, &[9]),
                (4, &[]),
            ],
            &[
                ("incidents.20251001T080003Z.jsonl", &[1, 2, 3]),
                ("incidents.20251001T080003Z-1.jsonl", &[4]),
                ("incidents.20251001T080003Z-2.jsonl", &[5, 6, 7, 8]),
                ("incidents.jsonl", &[9]),
            ],
        );
    }

    #[test]
    fn a_file_is_put_aside_when_its_first_line_is_old() {
        check_rotation(
            &RotatingFileSpec { interval_secs: Some(3600), ..rotated(OUTPUT) },
            &[
                (0, &[]),
                // Nothing was in it for an hour.
                (5000, &[1]),
                (8599, &[2]),
                (8600, &[]),
                (20_000, &[3]),
                (20_001, &[4]),
            ],
            &[("incidents.20251001T102320Z.jsonl", &[1, 2]), ("incidents.jsonl", &[3, 4])],
        );
    }

    #[test]
    fn only_so_many_files_put_aside_are_kept_and_never_others() {
        let spec = RotatingFileSpec { bytes_max: Some(1), keep: Some(2), ..rotated(OUTPUT) };
        let commits: [(u64, &[u64]); 6] =
            [(0, &[1]), (1, &[2]), (1, &[3]), (1, &[4]), (1, &[5]), (2, &[6])];
        check_rotation(
            &spec,
            &commits,
            &[
                ("incidents.20251001T080001Z-3.jsonl", &[4]),
                ("incidents.20251001T080002Z.jsonl", &[5]),
                ("incidents.jsonl", &[6]),
            ],
        );
        let disk = fresh();
        let others = ["out/incidents.old.jsonl", "out/incidents.20251001T080000Z.jsonl.gz"];
        for other in others {
            disk.put(Path::new(other), b"");
        }
        let (mut sink, _) =
            opened(&disk, only_incidents(RotatingFileSpec { keep: Some(0), ..spec }));
        for line in 1..4 {
            commit_lines(&mut sink, &[line]).unwrap();
        }
        assert_eq!(family(&disk, OUTPUT).len(), 3);
        assert!(others.iter().all(|other| disk.content(Path::new(other)).is_some()));
    }

    #[test]
    fn names_go_up_although_the_clock_goes_back_and_files_are_collected() {
        let disk = fresh();
        let spec = || only_incidents(RotatingFileSpec { bytes_max: Some(1), ..rotated(OUTPUT) });
        let (mut sink, _) = opened(&disk, spec());
        let mut names = BTreeSet::new();
        for line in 1..5 {
            disk.set_now_secs(START_SECS - line);
            commit_lines(&mut sink, &[line]).unwrap();
            for name in family(&disk, OUTPUT).iter().filter(|name| *name != OUTPUT) {
                assert!(names.insert(name.clone()), "{name} came twice");
                disk.take(Path::new(name));
            }
            sink = opened(&disk, spec()).0;
        }
        let expected =
            ["Z-1", "Z-2", "Z"].map(|n| format!("out/incidents.20251001T075958{n}.jsonl"));
        assert_eq!(names.into_iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn files_that_others_put_there_are_not_written_over() {
        let disk = fresh();
        disk.put(Path::new(OUTPUT), b"older\n");
        let theirs = "out/incidents.20251001T080000Z.jsonl";
        disk.put(Path::new(theirs), b"theirs\n");
        let spec = RotatingFileSpec { bytes_max: Some(1), ..rotated(OUTPUT) };
        let (mut sink, kept) = opened(&disk, only_incidents(spec));
        assert_eq!(kept, RestoredState::default());
        commit_lines(&mut sink, &[1]).unwrap();
        assert_eq!(content(&disk, theirs), "theirs\n");
        assert_eq!(content(&disk, "out/incidents.20251001T080000Z-1.jsonl"), "older\n");
        assert_eq!(content(&disk, OUTPUT), "incident 1\n");
    }

    #[test]
    fn a_first_start_goes_on_behind_what_stands_in_the_file() {
        for (old, whole) in [("old\n", "old\nincident 1\n"), ("torn", "torn\nincident 1\n")] {
            let disk = fresh();
            disk.put(Path::new(OUTPUT), b"");
            disk.clone().open(Path::new(OUTPUT)).unwrap().write(old.as_bytes()).unwrap();
            drop(opened(&disk, only_incidents(rotated(OUTPUT))));
            disk.crash(Crash::Power);
            assert_eq!(content(&disk, OUTPUT), old);
            let (mut sink, _) = opened(&disk, only_incidents(rotated(OUTPUT)));
            commit_lines(&mut sink, &[1]).unwrap();
            assert_eq!(content(&disk, OUTPUT), whole);
        }
    }

    /// What a start says after `harm` was done to a run of three lines.
    fn start_after(
        harm: impl FnOnce(&MemoryDisk),
    ) -> (MemoryDisk, Result<RestoredState, SinkError>) {
        let disk = fresh();
        let (mut sink, _) = opened(&disk, only_incidents(rotated(OUTPUT)));
        commit_lines(&mut sink, &[1, 2, 3]).unwrap();
        drop(sink);
        harm(&disk);
        let (_, kept) = open(&disk, only_incidents(rotated(OUTPUT)));
        (disk, kept)
    }

    #[test]
    fn an_output_that_another_program_cut_or_removed_is_an_error() {
        let path = Path::new(OUTPUT);
        let error = |harm: &dyn Fn(&MemoryDisk)| start_after(harm).1.unwrap_err().to_string();
        let cut = error(&|disk| disk.put(path, b"incident 1\n"));
        assert!(cut.starts_with("`out/incidents.jsonl` holds 11 bytes, but 33 were"), "{cut}");
        assert!(cut.contains("hint: "), "{cut}");
        let removed = error(&|disk| disk.take(path));
        assert!(removed.starts_with("`out/incidents.jsonl` holds 0 bytes, but 33"), "{removed}");
        // Nothing is begun in its place, and putting it back is enough.
        let (disk, _) = start_after(|disk| disk.take(path));
        assert_eq!(disk.content(path), None);
        disk.put(path, b"incident 1\nincident 2\nincident 3\n");
        opened(&disk, only_incidents(rotated(OUTPUT)));
    }

    #[test]
    fn a_second_writer_is_noticed_at_the_next_commit() {
        let mut disk = fresh();
        let (mut sink, _) = opened(&disk, only_incidents(rotated(OUTPUT)));
        commit_lines(&mut sink, &[1]).unwrap();
        let mut theirs = disk.open(Path::new(OUTPUT)).unwrap();
        theirs.write(b"theirs\n").unwrap();
        let error = commit_lines(&mut sink, &[2]).unwrap_err();
        assert!(
            matches!(error, SinkError::Store(StoreError::Changed { committed: 11, found: 18, .. })),
            "{error}"
        );
    }

    #[test]
    fn another_output_begins_where_it_stands_and_the_old_one_is_left_whole() {
        let disk = fresh();
        let (mut sink, _) = opened(&disk, only_incidents(rotated(OUTPUT)));
        commit_lines(&mut sink, &[1]).unwrap();
        let mut half = disk.clone().open(Path::new(OUTPUT)).unwrap();
        half.write(b"incid").unwrap();
        let (mut sink, kept) = opened(&disk, only_incidents(rotated("out/other.jsonl")));
        assert_eq!(kept.frames.len(), 1);
        assert_eq!(content(&disk, OUTPUT), "incident 1\n");
        commit_lines(&mut sink, &[2]).unwrap();
        // It is nobody's now, whatever becomes of it.
        disk.put(Path::new(OUTPUT), b"something else\n");
        let (_, kept) = opened(&disk, only_incidents(rotated("out/other.jsonl")));
        assert_eq!(kept.frames.len(), 2);
        assert_eq!(content(&disk, OUTPUT), "something else\n");
        assert_eq!(content(&disk, "out/other.jsonl"), "incident 2\n");
    }

    #[test]
    fn what_is_too_large_is_refused_before_anything_is_written() {
        let disk = fresh();
        let (mut sink, _) = opened(&disk, only_incidents(rotated(OUTPUT)));
        let frame = vec![0; state_log::CHANGELOG_ENTRY_BYTES_MAX as usize + 1];
        let incidents = [incident(1)];
        let commit =
            Commit { incidents: &incidents, dead_letters: &[], frame: &frame, snapshot: None };
        let error = sink.commit(&commit).unwrap_err().to_string();
        assert_eq!(
            error,
            "a frame of 268435457 bytes is too large to be committed: 268435456 at the most"
        );
        assert_eq!(content(&disk, OUTPUT), "");
    }

    /// A stream whose bytes a test can read.
    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            self.0.lock().unwrap().extend_from_slice(b"--\n");
            Ok(())
        }
    }

    #[test]
    fn a_stream_gets_each_line_at_least_once_and_dead_letters_stand_once() {
        let on_stream = |shared: &Shared| FileSinkSpec {
            incidents: IncidentsTo::Stream(Box::new(shared.clone())),
            ..spec()
        };
        let steps = {
            let (disk, fault) = (fresh(), no_fault());
            let failing = FailingDisk { disk, fault: fault.clone() };
            let mut sink = FileSink::on(Box::new(failing), on_stream(&Shared::default()));
            sink.restore().unwrap();
            (1..=STEPS).for_each(|k| commit(&mut sink, k).unwrap());
            fault.steps_done()
        };
        let mut repeated = 0;
        for fails_at in 0..steps {
            let (disk, shared) = (fresh(), Shared::default());
            let fault = Fault::at(fails_at, Failure::Kill, Done::Half);
            let failing = FailingDisk { disk: disk.clone(), fault };
            let mut sink = FileSink::on(Box::new(failing), on_stream(&shared));
            if sink.restore().is_ok() {
                assert!((1..=STEPS).try_for_each(|k| commit(&mut sink, k)).is_err());
            }
            drop(sink);
            disk.crash(Crash::Power);
            let (mut sink, kept) = opened(&disk, on_stream(&shared));
            (counter(&kept) + 1..=STEPS).for_each(|k| commit(&mut sink, k).unwrap());
            let [incidents, letters] = expected(STEPS);
            assert_eq!(written(&disk)[1], letters, "at step {fails_at}");
            let text = String::from_utf8(shared.0.lock().unwrap().clone()).unwrap();
            assert!(text.ends_with("--\n"), "not flushed");
            let mut lines: Vec<&str> = text.lines().filter(|line| *line != "--").collect();
            // At most the lines of one commit come again, at once.
            lines.dedup();
            let count = lines.len();
            let mut seen = BTreeSet::new();
            lines.retain(|line| seen.insert(*line));
            repeated += count - lines.len();
            assert!(count - lines.len() <= 3, "at step {fails_at}");
            assert_eq!(lines.join("\n") + "\n", incidents, "at step {fails_at}");
        }
        assert!(repeated > 0, "the journal comes last");
    }

    #[test]
    fn a_stream_that_is_closed_is_an_error() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let disk = fresh();
        let incidents = IncidentsTo::Stream(Box::new(Closed));
        let (mut sink, _) = opened(&disk, FileSinkSpec { incidents, ..spec() });
        let error = commit_lines(&mut sink, &[1]).unwrap_err().to_string();
        assert!(error.starts_with("cannot write `standard output`: "), "{error}");
        assert!(matches!(commit_lines(&mut sink, &[1]), Err(SinkError::Store(StoreError::Torn))));
    }

    #[test]
    fn one_process_at_a_time_uses_a_state_folder_on_a_real_disk() {
        let folder = tempfile::tempdir().unwrap();
        let spec = |state: &str| FileSinkSpec {
            state: folder.path().join(state),
            incidents: IncidentsTo::File(RotatingFileSpec {
                path: folder.path().join("incidents.jsonl"),
                bytes_max: Some(3000),
                interval_secs: None,
                keep: None,
            }),
            write: Format::Native.writer(),
            dead_letters: None,
        };
        let mut sink = FileSink::new(spec("made/below"));
        assert_eq!(sink.restore().unwrap(), RestoredState::default());
        let error = FileSink::new(spec("made/below")).restore().unwrap_err();
        assert!(matches!(error, SinkError::Store(StoreError::Locked { .. })), "{error}");
        assert!(error.to_string().contains("in use by another process\n  hint: "), "{error}");

        let whole = |frame: u8, snapshot| Commit {
            incidents: &[],
            dead_letters: &[],
            frame: std::slice::from_ref(&[b'a', b'b', b'c', b'd'][usize::from(frame)]),
            snapshot,
        };
        let incidents = [samples::incident()];
        sink.commit(&Commit { incidents: &incidents, ..whole(0, None) }).unwrap();
        sink.commit(&Commit { incidents: &incidents, ..whole(1, Some(b"state")) }).unwrap();
        sink.commit(&whole(2, None)).unwrap();
        drop(sink);

        let incidents = folder.path().join("incidents.jsonl");
        let committed = fs::read(&incidents).unwrap();
        fs::write(&incidents, [&committed[..], b"{\"half"].concat()).unwrap();
        let mut sink = FileSink::new(spec("made/below"));
        let kept = RestoredState { snapshot: Some(b"state".to_vec()), frames: vec![b"c".to_vec()] };
        assert_eq!(sink.restore().unwrap(), kept);
        assert_eq!(fs::read(&incidents).unwrap(), committed);
        let names: BTreeSet<String> = fs::read_dir(folder.path().join("made/below"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        assert_eq!(names.into_iter().collect::<Vec<_>>(), ["frames-2", "lock", "snapshot-2"]);
        let mut lines = 0;
        for entry in fs::read_dir(folder.path()).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                let text = fs::read_to_string(path).unwrap();
                lines += text.lines().count();
                for line in text.lines() {
                    let incident: WireIncident = serde_json::from_str(line).unwrap();
                    assert_eq!(incident, WireIncident::from(&samples::incident()));
                }
            }
        }
        assert_eq!(lines, 2);
    }

    #[cfg(unix)]
    #[test]
    fn on_a_real_disk_links_are_followed_and_permissions_stay() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("real")).unwrap();
        fs::write(at("real/out.jsonl"), "old\n").unwrap();
        fs::set_permissions(at("real/out.jsonl"), fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink(at("real/out.jsonl"), at("link")).unwrap();
        let mut sink = FileSink::new(FileSinkSpec {
            state: at("state"),
            incidents: IncidentsTo::File(RotatingFileSpec {
                path: at("link"),
                bytes_max: Some(1),
                interval_secs: None,
                keep: None,
            }),
            write: short,
            dead_letters: None,
        });
        sink.restore().unwrap();
        commit_lines(&mut sink, &[1]).unwrap();
        assert_eq!(fs::read_to_string(at("link")).unwrap(), "incident 1\n");
        assert!(fs::symlink_metadata(at("link")).unwrap().is_symlink());
        assert_eq!(fs::read_dir(at("real")).unwrap().count(), 2);
        for entry in fs::read_dir(at("real")).unwrap() {
            assert_eq!(entry.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o640);
        }

        let mut sink = FileSink::new(FileSinkSpec {
            state: at("other"),
            incidents: IncidentsTo::File(rotated("/dev/null")),
            write: short,
            dead_letters: None,
        });
        let error = sink.restore().unwrap_err().to_string();
        assert!(error.contains("it is not a regular file"), "{error}");
    }
}

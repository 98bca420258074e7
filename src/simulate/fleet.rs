//! A fleet's event logs and the truth about them: which machines are clones, which authentications
//! failed because of it, and much that only resembles it.
//!
//! The input is a [`FleetSpec`], the output the logs and `truth.json` in one folder:
//!
//! | form | files |
//! |---|---|
//! | [`Form::Evtx`] | `HOST/Security.evtx`, `HOST/System.evtx`, as copied from the hosts; `Security-2.evtx` after a rebuild or a restored snapshot; `second-collector/HOST/…` |
//! | [`Form::Forwarded`] | `ForwardedEvents.evtx`, in order of arrival |
//! | [`Form::Xml`] | `events.xml`, one event per line, in order of arrival |
//! | [`Form::Winlogbeat`], [`Form::Nxlog`], [`Form::Openwec`] | `events.jsonl`, the same |
//!
//! All forms hold the same events; in order of arrival, hosts are late by up to a quarter of an
//! hour and some events arrive twice. The same spec gives the same bytes. Memory depends on the
//! number of hosts, not of hours, except for the list of mismatches in the truth, which grows by
//! about four an hour for each group of active clones.
//!
//! `scenes` defines what happens, `story` who takes part.

use std::cmp::{Ordering, Reverse};
use std::collections::hash_map::Entry::{Occupied, Vacant};
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, VecDeque};
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::dice::Dice;
use super::evtx::{Options, Writer};
use super::lines;
use super::lines::{LineForm, Rendered};
use super::scenes::{PendingEvent, Timeline, TruthNote};
use super::shapes::{Channel, FleetEvent};
use super::story::{FirstRecordId, LifeStart, Quirk, Story};
pub use super::truth::{
    Culprit, DomainTruth, FleetSpec, Form, GroupState, GroupTruth, HostTruth, MismatchTruth,
    Placeholder, Rebuild, Rename, Traps, Truth,
};
use crate::sid::DomainSid;
use crate::time::{EventTime, TICKS_PER_SEC};

/// Name of the file with the truth.
pub const TRUTH_FILE: &str = "truth.json";

const LINES_FILE: &str = "events.jsonl";

/// Hosts whose files are open at a time; each has two.
const OPEN_HOSTS_MAX: usize = 100;

/// Events from before a snapshot that are sent again after it was restored.
const SENT_AGAIN: usize = 20;

/// One event in so many reaches a collector twice, the second time within so many ticks.
const SENT_TWICE_ONE_IN: u64 = 400;
const SENT_TWICE_WITHIN: u64 = 300 * TICKS_PER_SEC;

/// Writes the fleet's logs and [`TRUTH_FILE`] to a folder, which is created if necessary and should
/// be empty: files of the same names are overwritten.
///
/// `progress` is called with the number of bytes written so far, once for every minute of the
/// story.
///
/// # Errors
///
/// From the file system, and `InvalidInput` for a spec without hosts.
pub fn simulate(
    spec: &FleetSpec,
    folder: &Path,
    progress: &mut dyn FnMut(u64),
) -> io::Result<Truth> {
    if spec.hosts == 0 {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a fleet needs hosts"));
    }
    fs::create_dir_all(folder)?;
    let story = Story::new(spec);
    let mut builder = TruthBuilder::default();
    let all = 0..story.hosts.len();
    let text = |form, file, builder: &mut TruthBuilder, progress: &mut dyn FnMut(u64)| {
        collect_lines(&story, folder.join(file), form, builder, progress)
    };
    match spec.form {
        Form::Evtx => {
            for start in all.clone().step_by(OPEN_HOSTS_MAX) {
                let present = start..all.end.min(start + OPEN_HOSTS_MAX);
                let mut logs = Logs::new(&story, folder, &builder);
                perform(&story, present.clone(), &mut logs, &mut builder, progress)?;
                logs.finish(present, &mut builder)?;
            }
        }
        Form::Forwarded => {
            let file = File::create(folder.join("ForwardedEvents.evtx"))?;
            let options = Options { first_record_id: 100_001, ..Options::default() };
            let writer = Writer::with_options(file, options)?;
            collect(&story, Forwarded { writer }, &mut builder, progress)?;
        }
        Form::Xml => text(LineForm::Xml, "events.xml", &mut builder, progress)?,
        Form::Winlogbeat => text(LineForm::Winlogbeat, LINES_FILE, &mut builder, progress)?,
        Form::Nxlog => text(LineForm::Nxlog, LINES_FILE, &mut builder, progress)?,
        Form::Openwec => text(LineForm::Openwec, LINES_FILE, &mut builder, progress)?,
    }
    progress(builder.bytes);
    let truth = truth(spec, &story, builder);
    // One line: a reader of logs that is shown the whole folder skips it at once.
    let mut json = serde_json::to_string(&truth)?;
    json.push('\n');
    fs::write(folder.join(TRUTH_FILE), json)?;
    Ok(truth)
}

/// Reads the truth of a folder that [`simulate`] has filled.
pub fn read_truth(folder: &Path) -> io::Result<Truth> {
    Ok(serde_json::from_slice(&fs::read(folder.join(TRUTH_FILE))?)?)
}

/// What goes into the truth while events are written.
#[derive(Debug, Default)]
struct TruthBuilder {
    /// Host and machine SID.
    evidence: BTreeSet<(usize, [u32; 3])>,
    mismatches: Vec<(EventTime, usize, Option<usize>, Culprit, u64)>,
    events: BTreeMap<(&'static str, u16), u64>,
    records: u64,
    bytes: u64,
}

/// A destination for the events of a fleet. Each host's events come in order.
trait EventConsumer {
    fn take(&mut self, host: usize, at: EventTime, event: FleetEvent) -> io::Result<()>;

    /// The host's next events belong to another installation, or follow a restored snapshot: its
    /// record ids do not continue.
    fn new_log(&mut self, host: usize) -> io::Result<()>;

    /// All events up to this time have been passed.
    fn advance(&mut self, to: EventTime, builder: &mut TruthBuilder) -> io::Result<()>;
}

/// Plays the story for the hosts present, and numbers their events.
fn perform(
    story: &Story,
    present: Range<usize>,
    out: &mut dyn EventConsumer,
    builder: &mut TruthBuilder,
    progress: &mut dyn FnMut(u64),
) -> io::Result<()> {
    let mut timeline = Timeline::new(story, present.clone());
    let mut logs: Vec<LogLine> =
        present.clone().map(|host| LogLine::new(story.hosts[host].quirk)).collect();
    for minute in 0..story.minutes {
        for pending in timeline.play(minute) {
            logs[pending.host - present.start].number(story, pending, out, builder)?;
        }
        out.advance(story.minute(minute + 1), builder)?;
        progress(builder.bytes);
    }
    Ok(())
}

/// The state of a host's logs: the next record id of each channel.
#[derive(Debug)]
struct LogLine {
    quirk: Quirk,
    life: Option<usize>,
    next: [u64; Channel::ALL.len()],
    snapshot: Option<[u64; Channel::ALL.len()]>,
    /// The last events, while a snapshot may be taken.
    last: VecDeque<(EventTime, FleetEvent)>,
}

impl LogLine {
    fn new(quirk: Quirk) -> LogLine {
        LogLine { quirk, life: None, next: [1; 2], snapshot: None, last: VecDeque::new() }
    }

    fn number(
        &mut self,
        story: &Story,
        mut pending: PendingEvent,
        out: &mut dyn EventConsumer,
        builder: &mut TruthBuilder,
    ) -> io::Result<()> {
        let host = &story.hosts[pending.host];
        let Some((number, life)) = host.life_at(pending.at) else { return Ok(()) };
        if self.life != Some(number) {
            if let FirstRecordId::Fresh(first) = life.log {
                self.next = [first, first / 3 + 1];
                if self.life.is_some() {
                    out.new_log(pending.host)?;
                }
            }
            self.life = Some(number);
        }
        self.snapshots(pending.host, pending.at, out)?;

        let channel = pending.event.shape.channel;
        let next = &mut self.next[channel as usize];
        pending.event.record_id = *next;
        *next += 1;
        let FleetEvent { shape, record_id, time, .. } = &pending.event;
        *builder.events.entry((shape.provider.name, shape.id)).or_default() += 1;
        match pending.note {
            TruthNote::Nothing => {}
            TruthNote::LocalAccount => {
                builder.evidence.insert((pending.host, life.machine.0));
            }
            TruthNote::Mismatch { peer, cause } => {
                builder.mismatches.push((*time, pending.host, peer, cause, *record_id));
            }
        }
        if matches!(self.quirk, Quirk::Restored { .. }) && self.snapshot.is_none() {
            if self.last.len() == SENT_AGAIN {
                self.last.pop_front();
            }
            self.last.push_back((pending.at, pending.event.clone()));
        }
        out.take(pending.host, pending.at, pending.event)
    }

    /// Takes the snapshot and restores it, each at its time.
    fn snapshots(
        &mut self,
        host: usize,
        at: EventTime,
        out: &mut dyn EventConsumer,
    ) -> io::Result<()> {
        let Quirk::Restored { taken, restored } = self.quirk else { return Ok(()) };
        if at >= taken && self.snapshot.is_none() {
            self.snapshot = Some(self.next);
        }
        if at < restored || self.last.is_empty() {
            return Ok(());
        }
        if let Some(next) = self.snapshot {
            self.next = next;
            out.new_log(host)?;
            for (_, event) in self.last.drain(..) {
                out.take(host, restored, event)?;
            }
        }
        Ok(())
    }
}

/// The files of the hosts themselves.
struct Logs<'s> {
    story: &'s Story,
    folder: &'s Path,
    writers: HashMap<(usize, Channel), Writer<File>>,
    /// The number of logs that a host has had, if more than one.
    numbers: HashMap<usize, u32>,
    /// Bytes of the finished files.
    finished_bytes: u64,
    records: u64,
}

impl<'s> Logs<'s> {
    fn new(story: &'s Story, folder: &'s Path, builder: &TruthBuilder) -> Logs<'s> {
        Logs {
            story,
            folder,
            writers: HashMap::new(),
            numbers: HashMap::new(),
            finished_bytes: builder.bytes,
            records: 0,
        }
    }

    /// The path below the folder. Of two hosts with one name, the second domain's is filed under
    /// its DNS name.
    fn path(&self, host: usize, channel: Channel) -> PathBuf {
        let number = self.numbers.get(&host).copied().unwrap_or(1);
        let host = &self.story.hosts[host];
        let folder = if host.foreign { host.computer() } else { host.name() };
        let file = match number {
            1 => format!("{}.evtx", channel.name()),
            _ => format!("{}-{number}.evtx", channel.name()),
        };
        Path::new(&**folder).join(file)
    }

    fn writer(
        &mut self,
        host: usize,
        channel: Channel,
        first_record_id: u64,
    ) -> io::Result<&mut Writer<File>> {
        let path = self.path(host, channel);
        match self.writers.entry((host, channel)) {
            Occupied(entry) => Ok(entry.into_mut()),
            Vacant(entry) => {
                let path = self.folder.join(path);
                if let Some(parent) = path.parent() {
                    fs::create_dir_all(parent)?;
                }
                let options = Options { first_record_id, ..Options::default() };
                Ok(entry.insert(Writer::with_options(File::create(path)?, options)?))
            }
        }
    }

    fn close(&mut self, host: usize) -> io::Result<()> {
        for channel in Channel::ALL {
            if let Some(writer) = self.writers.remove(&(host, channel)) {
                self.finished_bytes += writer.file_bytes();
                writer.finish()?;
            }
        }
        Ok(())
    }

    /// Copies a host's logs, as a second collector would have them.
    fn copy(&mut self, host: usize) -> io::Result<()> {
        for channel in Channel::ALL {
            let path = self.path(host, channel);
            let original = self.folder.join(&path);
            let copy = self.folder.join("second-collector").join(path);
            if let Some(parent) = copy.parent() {
                fs::create_dir_all(parent)?;
            }
            if original.exists() {
                self.finished_bytes += fs::copy(original, copy)?;
            }
        }
        Ok(())
    }

    fn finish(mut self, present: Range<usize>, builder: &mut TruthBuilder) -> io::Result<()> {
        for host in present {
            self.close(host)?;
            if self.story.hosts[host].quirk == Quirk::TwoCollectors {
                self.copy(host)?;
            }
        }
        builder.records += self.records;
        builder.bytes = self.finished_bytes;
        Ok(())
    }
}

impl EventConsumer for Logs<'_> {
    fn take(&mut self, host: usize, _: EventTime, event: FleetEvent) -> io::Result<()> {
        let copies = if self.story.hosts[host].quirk == Quirk::TwoCollectors { 2 } else { 1 };
        self.records += copies;
        let writer = self.writer(host, event.shape.channel, event.record_id)?;
        event.with_spec(None, |spec| writer.write(spec))
    }

    fn new_log(&mut self, host: usize) -> io::Result<()> {
        self.close(host)?;
        *self.numbers.entry(host).or_insert(1) += 1;
        Ok(())
    }

    fn advance(&mut self, _: EventTime, builder: &mut TruthBuilder) -> io::Result<()> {
        let open: u64 = self.writers.values().map(Writer::file_bytes).sum();
        builder.bytes = self.finished_bytes + open;
        Ok(())
    }
}

/// A file of a collector, written in order of arrival.
trait CollectorFile {
    fn put(&mut self, event: &FleetEvent, rendered: Option<&Rendered>) -> io::Result<()>;
    fn bytes(&self) -> u64;
    fn finish(self) -> io::Result<()>;
}

struct Forwarded {
    writer: Writer<File>,
}

impl CollectorFile for Forwarded {
    fn put(&mut self, event: &FleetEvent, rendered: Option<&Rendered>) -> io::Result<()> {
        match rendered {
            Some(rendered) => rendered.with(|rendering| {
                event.with_spec(Some(rendering), |spec| self.writer.write_forwarded(spec))
            }),
            None => event.with_spec(None, |spec| self.writer.write_forwarded(spec)),
        }
    }

    fn bytes(&self) -> u64 {
        self.writer.file_bytes()
    }

    fn finish(self) -> io::Result<()> {
        self.writer.finish().map(drop)
    }
}

struct LineFile {
    out: BufWriter<File>,
    form: LineForm,
    line: String,
    bytes: u64,
}

impl CollectorFile for LineFile {
    fn put(&mut self, event: &FleetEvent, rendered: Option<&Rendered>) -> io::Result<()> {
        self.line.clear();
        lines::write_line(&mut self.line, self.form, event, rendered);
        self.bytes += self.line.len() as u64;
        self.out.write_all(self.line.as_bytes())
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn finish(mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn collect_lines(
    story: &Story,
    path: PathBuf,
    form: LineForm,
    builder: &mut TruthBuilder,
    progress: &mut dyn FnMut(u64),
) -> io::Result<()> {
    let out = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let lines = LineFile { out, form, line: String::new(), bytes: 0 };
    collect(story, lines, builder, progress)
}

fn collect(
    story: &Story,
    out: impl CollectorFile,
    builder: &mut TruthBuilder,
    progress: &mut dyn FnMut(u64),
) -> io::Result<()> {
    let mut collector = ArrivalQueue {
        story,
        out,
        waiting: BinaryHeap::new(),
        dice: Dice::new(story.seed, &[6]),
        number: 0,
        records: 0,
    };
    perform(story, 0..story.hosts.len(), &mut collector, builder, progress)?;
    collector.deliver(EventTime::MAX)?;
    builder.bytes = collector.out.bytes();
    builder.records = collector.records;
    collector.out.finish()
}

/// Delivers events in order of arrival.
struct ArrivalQueue<'s, O> {
    story: &'s Story,
    out: O,
    waiting: BinaryHeap<Reverse<Waiting>>,
    dice: Dice,
    number: u64,
    records: u64,
}

/// An event in transit; ordered by arrival, then by sending.
struct Waiting {
    arrival: EventTime,
    number: u64,
    host: usize,
    event: FleetEvent,
}

impl Waiting {
    fn key(&self) -> (EventTime, u64) {
        (self.arrival, self.number)
    }
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Waiting) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Waiting {}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Waiting) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Waiting {
    fn cmp(&self, other: &Waiting) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl<O: CollectorFile> ArrivalQueue<'_, O> {
    /// When an event written at `at` arrives: each host sends at an interval of its own.
    fn arrival(&self, host: usize, at: EventTime, collector: u64) -> EventTime {
        let mut dice = Dice::new(self.story.seed, &[5, host as u64, collector]);
        let pace = *dice.pick(&[5, 30, 30, 300, 900]) * TICKS_PER_SEC;
        let offset = dice.below(pace);
        at.plus_ticks(pace - (at.0 + offset) % pace)
    }

    fn send(&mut self, host: usize, arrival: EventTime, event: FleetEvent) {
        self.number += 1;
        self.waiting.push(Reverse(Waiting { arrival, number: self.number, host, event }));
    }

    fn deliver(&mut self, to: EventTime) -> io::Result<()> {
        while self.waiting.peek().is_some_and(|Reverse(first)| first.arrival <= to) {
            let Some(Reverse(Waiting { host, event, .. })) = self.waiting.pop() else { break };
            self.records += 1;
            // Most subscriptions request rendered text.
            let rendered = (host % 10 != 7).then(|| Rendered::new(&event));
            self.out.put(&event, rendered.as_ref())?;
        }
        Ok(())
    }
}

impl<O: CollectorFile> EventConsumer for ArrivalQueue<'_, O> {
    fn take(&mut self, host: usize, at: EventTime, event: FleetEvent) -> io::Result<()> {
        let arrival = self.arrival(host, at, 0);
        if self.story.hosts[host].quirk == Quirk::TwoCollectors {
            self.send(host, self.arrival(host, at, 1), event.clone());
        }
        if self.dice.below(SENT_TWICE_ONE_IN) == 0 {
            let late = self.dice.below(SENT_TWICE_WITHIN);
            self.send(host, arrival.plus_ticks(late), event.clone());
        }
        self.send(host, arrival, event);
        Ok(())
    }

    fn new_log(&mut self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn advance(&mut self, to: EventTime, builder: &mut TruthBuilder) -> io::Result<()> {
        self.deliver(to)?;
        builder.bytes = self.out.bytes();
        Ok(())
    }
}

fn truth(spec: &FleetSpec, story: &Story, mut builder: TruthBuilder) -> Truth {
    let name = |host: usize| story.hosts[host].name().to_string();
    let last_sid = |host: usize| story.hosts[host].last_life().machine;
    let has_evidence = |host: usize, sid: DomainSid| builder.evidence.contains(&(host, sid.0));
    let groups = story
        .groups
        .iter()
        .map(|group| {
            let members = || group.members.iter().copied();
            let now = |host: &usize| last_sid(*host) == group.machine;
            GroupTruth {
                machine_sid: group.machine.to_string(),
                hosts: members().filter(now).map(name).collect(),
                former: members().filter(|host| !now(host)).map(name).collect(),
                pool: group.pool,
                state: group.state,
                evidence: members()
                    .filter(|host| has_evidence(*host, group.machine))
                    .map(name)
                    .collect(),
            }
        })
        .collect();
    let mut truth = Truth {
        seed: spec.seed,
        from: story.from.to_string(),
        until: story.until().to_string(),
        domain: DomainTruth {
            name: story.domain.netbios.to_string(),
            dns: story.domain.dns.to_string(),
            sid: story.domain.sid.to_string(),
            controllers: (0..story.controllers).map(name).collect(),
            clones: story.controller_clones.iter().copied().map(name).collect(),
        },
        groups,
        records: builder.records,
        ..Truth::default()
    };
    for (index, host) in story.hosts.iter().enumerate() {
        lives(story, index, &mut truth);
        let sid = last_sid(index);
        truth.hosts.push(HostTruth {
            name: name(index),
            computer: host.computer().to_string(),
            machine_sid: sid.to_string(),
            build: format!("{}.{}", host.build.number, host.build.revision),
            enforcing: host.build.enforces(),
            evidence: has_evidence(index, sid),
        });
    }
    builder.mismatches.sort_unstable_by_key(|mismatch| (mismatch.0, mismatch.1, mismatch.4));
    let mismatches = builder.mismatches.into_iter();
    truth.mismatches = mismatches
        .map(|(time, target, peer, cause, record_id)| MismatchTruth {
            target: name(target),
            peer: peer.map(name),
            time: time.to_string(),
            cause,
            record_id,
        })
        .collect();
    let events = builder.events.into_iter();
    truth.events = events.map(|((name, id), count)| (format!("{name}/{id}"), count)).collect();
    truth
}

/// Adds a host's renames, rebuilds and placeholders.
fn lives(story: &Story, host: usize, truth: &mut Truth) {
    let host = &story.hosts[host];
    for (number, life) in host.lives.iter().enumerate() {
        let time = life.from.to_string();
        match &life.entry {
            LifeStart::Running | LifeStart::FromImage => {}
            LifeStart::Renamed { old } => truth.renames.push(Rename {
                from: old.to_string(),
                to: life.name.to_string(),
                time,
            }),
            LifeStart::Setup => truth.placeholders.push(Placeholder {
                name: life.name.to_string(),
                host: host.name().to_string(),
                time,
                machine_sid: life.machine.to_string(),
            }),
            LifeStart::Installed { .. } => {
                let former = &host.lives[..number];
                let former = former.iter().rfind(|life| matches!(life.entry, LifeStart::Running));
                truth.rebuilds.extend(former.map(|former| Rebuild {
                    host: host.name().to_string(),
                    time,
                    old_sid: former.machine.to_string(),
                    new_sid: life.machine.to_string(),
                }));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use evtx::EvtxParser;
    use serde_json::Value as Json;

    use super::*;
    use crate::observation::short_host;
    use crate::sid::Sid;

    const FORMS: [Form; 6] =
        [Form::Evtx, Form::Forwarded, Form::Xml, Form::Winlogbeat, Form::Nxlog, Form::Openwec];

    fn spec(form: Form) -> FleetSpec {
        FleetSpec { hosts: 22, groups: 3, hours: 1, seed: 11, form, traps: Traps::On }
    }

    /// The files below a folder, by their path in it.
    fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut files = BTreeMap::new();
        let mut folders = vec![folder.to_path_buf()];
        while let Some(next) = folders.pop() {
            for entry in fs::read_dir(next).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let name = path.strip_prefix(folder).unwrap().to_path_buf();
                    files.insert(name, fs::read(path).unwrap());
                }
            }
        }
        files
    }

    fn write(spec: &FleetSpec) -> (Truth, BTreeMap<PathBuf, Vec<u8>>) {
        let folder = tempfile::tempdir().unwrap();
        let truth = simulate(spec, folder.path(), &mut |_| {}).unwrap();
        assert_eq!(read_truth(folder.path()).unwrap(), truth);
        let mut files = files(folder.path());
        files.remove(Path::new(TRUTH_FILE)).unwrap();
        (truth, files)
    }

    /// What a reader identifies an event by, and its data.
    #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
    struct Read {
        computer: String,
        channel: String,
        record_id: u64,
        time: String,
        kind: String,
        data: BTreeMap<String, String>,
    }

    fn number(json: &Json) -> u64 {
        json.as_u64().or_else(|| json.as_str().and_then(|text| text.parse().ok())).unwrap()
    }

    fn text(json: &Json) -> String {
        json.as_str().map_or_else(|| json.to_string(), str::to_owned)
    }

    fn read_evtx(bytes: &[u8]) -> Vec<Read> {
        let mut parser = EvtxParser::from_buffer(bytes.to_vec()).unwrap();
        let records = parser.records_json_value().map(|record| record.unwrap().data);
        records
            .map(|record| {
                let event = &record["Event"];
                let system = &event["System"];
                let id = match &system["EventID"] {
                    Json::Object(element) => &element["#text"],
                    id => id,
                };
                let data = event["EventData"].as_object();
                let provider = text(&system["Provider"]["#attributes"]["Name"]);
                Read {
                    computer: text(&system["Computer"]),
                    channel: text(&system["Channel"]),
                    record_id: number(&system["EventRecordID"]),
                    time: text(&system["TimeCreated"]["#attributes"]["SystemTime"]),
                    kind: format!("{provider}/{}", number(id)),
                    data: data
                        .into_iter()
                        .flatten()
                        .map(|(name, value)| (name.clone(), text(value)))
                        .collect(),
                }
            })
            .collect()
    }

    fn between<'t>(text: &'t str, start: &str, end: &str) -> &'t str {
        let (_, rest) = text.split_once(start).unwrap();
        rest.split_once(end).unwrap().0
    }

    fn read_line(form: Form, line: &str) -> Read {
        if form == Form::Xml {
            let provider = between(line, "<Provider Name='", "'");
            let id = between(between(line, "<EventID", "/EventID>"), ">", "<");
            return Read {
                computer: between(line, "<Computer>", "<").to_owned(),
                channel: between(line, "<Channel>", "<").to_owned(),
                record_id: between(line, "<EventRecordID>", "<").parse().unwrap(),
                time: between(line, "SystemTime='", "'").to_owned(),
                kind: format!("{provider}/{id}"),
                data: BTreeMap::new(),
            };
        }
        let json: Json = serde_json::from_str(line).unwrap();
        let [computer, channel, record, time, provider, id] = match form {
            Form::Winlogbeat => {
                let log = &json["winlog"];
                let [computer, id] = [&log["computer_name"], &log["event_id"]];
                let time = &json["@timestamp"];
                [computer, &log["channel"], &log["record_id"], time, &log["provider_name"], id]
            }
            Form::Nxlog => {
                ["Hostname", "Channel", "RecordNumber", "EventTime", "SourceName", "EventID"]
                    .map(|key| &json[key])
            }
            _ => {
                let log = &json["System"];
                let [computer, channel] = [&log["Computer"], &log["Channel"]];
                let [record, time] = [&log["EventRecordID"], &log["TimeCreated"]];
                [computer, channel, record, time, &log["Provider"]["Name"], &log["EventID"]]
            }
        };
        Read {
            computer: text(computer),
            channel: text(channel),
            record_id: number(record),
            time: text(time),
            kind: format!("{}/{}", text(provider), number(id)),
            data: BTreeMap::new(),
        }
    }

    /// All records of a fleet, in the order of the files.
    fn read(form: Form, files: &BTreeMap<PathBuf, Vec<u8>>) -> Vec<Read> {
        let read = |bytes: &Vec<u8>| match form {
            Form::Evtx | Form::Forwarded => read_evtx(bytes),
            Form::Xml | Form::Winlogbeat | Form::Nxlog | Form::Openwec => {
                let text = std::str::from_utf8(bytes).unwrap();
                text.lines().map(|line| read_line(form, line)).collect()
            }
        };
        files.values().flat_map(read).collect()
    }

    #[test]
    fn the_same_spec_gives_the_same_bytes_and_another_seed_others() {
        for form in FORMS {
            let small = FleetSpec { hosts: 3, groups: 1, ..spec(form) };
            let (_, files) = write(&small);
            assert!(write(&small).1 == files, "{form:?}");
            assert!(write(&FleetSpec { seed: 12, ..small }).1 != files, "{form:?}");
        }
    }

    #[test]
    fn all_forms_hold_the_same_events() {
        let (expected, logs) = write(&spec(Form::Evtx));
        let distinct = |mut events: Vec<Read>| {
            events.iter_mut().for_each(|event| event.data.clear());
            events.sort_unstable();
            events.dedup();
            events
        };
        let events = read(Form::Evtx, &logs);
        assert_eq!(events.len() as u64, expected.records);
        let events = distinct(events);
        for form in &FORMS[1..] {
            let (truth, files) = write(&spec(*form));
            let records = read(*form, &files);
            assert_eq!(records.len() as u64, truth.records, "{form:?}");
            assert!(distinct(records) == events, "{form:?}");
            assert_eq!(Truth { records: expected.records, ..truth }, expected, "{form:?}");
        }
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for event in events {
            *counts.entry(event.kind).or_default() += 1;
        }
        assert_eq!(counts, expected.events);
    }

    #[test]
    fn a_collector_has_events_late_out_of_order_and_twice() {
        let (truth, files) = write(&spec(Form::Openwec));
        let records = read(Form::Openwec, &files);
        assert!(truth.records > truth.events.values().sum());
        let ticks = |read: &Read| {
            let (hours, rest) = read.time[11..].split_once(':').unwrap();
            let (minutes, _) = rest.split_once(':').unwrap();
            hours.parse::<u64>().unwrap() * 60 + minutes.parse::<u64>().unwrap()
        };
        let mut newest = 0;
        let mut late = 0;
        for record in &records {
            newest = newest.max(ticks(record));
            late = late.max(newest - ticks(record));
        }
        // Twenty minutes, and the snapshot's clock, which may be far behind.
        assert!(late >= 10, "{late}");
    }

    /// `(host, machine SID)` as shown by events of a host under its own name.
    fn shown_machine_sids(events: &[Read]) -> BTreeSet<(String, String)> {
        let mut shown = BTreeSet::new();
        for event in events {
            let own: String = short_host(&event.computer).to_uppercase().chars().take(15).collect();
            for (sid, domain) in [
                ("SubjectUserSid", "SubjectDomainName"),
                ("TargetUserSid", "TargetDomainName"),
                ("TargetSid", "TargetDomainName"),
            ] {
                let (Some(sid), Some(domain)) = (event.data.get(sid), event.data.get(domain))
                else {
                    continue;
                };
                if let Some((issuer, _)) = Sid::parse(sid).and_then(|sid| sid.issuer())
                    && *domain == own
                {
                    shown.insert((event.computer.to_uppercase(), issuer.to_string()));
                }
            }
        }
        shown
    }

    #[test]
    fn the_truth_about_machine_sids_is_what_the_events_show() {
        let (truth, files) = write(&FleetSpec { hosts: 44, hours: 3, ..spec(Form::Evtx) });
        assert!(truth.groups.iter().any(|group| group.pool));
        let shown = shown_machine_sids(&read(Form::Evtx, &files));
        for host in &truth.hosts {
            let pair = (host.computer.to_uppercase(), host.machine_sid.clone());
            assert_eq!(shown.contains(&pair), host.evidence, "{}", host.name);
        }
        for group in &truth.groups {
            for name in group.hosts.iter().chain(&group.former) {
                let host = truth.hosts.iter().find(|host| host.name == *name).unwrap();
                let pair = (host.computer.to_uppercase(), group.machine_sid.clone());
                assert_eq!(shown.contains(&pair), group.evidence.contains(name), "{name}");
            }
        }
        for rename in &truth.renames {
            let sid = |name: &str| {
                let own = |computer: &str| short_host(computer).eq_ignore_ascii_case(name);
                shown.iter().find(|(computer, _)| own(computer)).map(|(_, sid)| sid)
            };
            assert!(sid(&rename.to).is_some());
            assert_eq!(sid(&rename.from), sid(&rename.to));
        }
    }

    #[test]
    fn every_mismatch_stands_in_the_log_beside_the_logon_that_failed() {
        let (truth, files) = write(&FleetSpec { hours: 2, ..spec(Form::Evtx) });
        let events = read(Form::Evtx, &files);
        for cause in [Culprit::Clone, Culprit::StaleBoot, Culprit::Manipulated] {
            assert!(truth.mismatches.iter().any(|mismatch| mismatch.cause == cause), "{cause:?}");
        }
        assert_eq!(truth.events["LsaSrv/6167"], truth.mismatches.len() as u64);
        let of = |event: &Read, name: &str| short_host(&event.computer) == name;
        for mismatch in &truth.mismatches {
            let MismatchTruth { target, peer, time, record_id, .. } = mismatch;
            assert!(events.iter().any(|event| event.kind == "LsaSrv/6167"
                && of(event, target)
                && event.time == *time
                && event.record_id == *record_id));
            let peer = peer.as_ref().unwrap_or(target);
            assert!(
                events.iter().any(|event| event.kind.ends_with("/4625")
                    && of(event, target)
                    && event.time[..16] >= time[..16]
                    && event.data["SubStatus"] == "0x0"
                    && event.data["TargetUserSid"] == "S-1-0-0"
                    && event.data["WorkstationName"] == peer[..peer.len().min(15)]),
                "{mismatch:?}"
            );
        }
        for group in &truth.groups {
            let is_member =
                |name: &String| group.hosts.contains(name) || group.former.contains(name);
            let refused =
                truth.mismatches.iter().filter(|mismatch| is_member(&mismatch.target)).count();
            match group.state {
                GroupState::Active => assert!(refused > 0),
                GroupState::Latent => assert_eq!(refused, 0),
                GroupState::Remedied => assert_eq!(group.hosts.len(), 1),
            }
        }
    }

    #[test]
    fn a_rebuilt_hosts_log_starts_again_and_a_renamed_hosts_goes_on() {
        let (truth, files) = write(&spec(Form::Evtx));
        let rebuild = &truth.rebuilds[0];
        let first = |file: &str| read_evtx(&files[&Path::new(&rebuild.host).join(file)]);
        assert!(first("Security.evtx")[0].record_id > 1);
        assert_eq!(first("Security-2.evtx")[0].record_id, 1);
        let Rename { from, to, .. } = &truth.renames[0];
        let log = read_evtx(&files[&Path::new(to).join("System.evtx")]);
        let of =
            |name: &str| log.iter().filter(|event| short_host(&event.computer) == name).count();
        assert!(of(from) > 0 && of(to) > 0);
        assert_eq!(of(from) + of(to), log.len());
        for (one, next) in log.iter().zip(&log[1..]) {
            assert_eq!(one.record_id + 1, next.record_id);
        }
    }

    #[test]
    fn a_restored_hosts_log_repeats_itself_and_then_differs() {
        let (_, files) = write(&spec(Form::Evtx));
        let restored = files.iter().find_map(|(path, bytes)| {
            let records = read_evtx(bytes);
            let fresh = records.first().is_some_and(|record| record.record_id > 1);
            (path.ends_with("Security-2.evtx") && fresh).then_some((path, records))
        });
        let (path, after) = restored.unwrap();
        let before = read_evtx(&files[&path.with_file_name("Security.evtx")]);
        let same = after.iter().filter(|event| before.contains(event)).count();
        assert!((1..=SENT_AGAIN).contains(&same), "{same}");
        let again = |event: &&Read| before.iter().any(|other| other.record_id == event.record_id);
        assert!(after.iter().filter(again).count() > same);
    }

    #[test]
    fn progress_never_goes_back_and_ends_with_the_size_of_the_files() {
        for form in [Form::Evtx, Form::Xml, Form::Forwarded] {
            let folder = tempfile::tempdir().unwrap();
            let mut last = 0;
            let small = FleetSpec { hosts: 110, groups: 1, hours: 1, ..spec(form) };
            let small = if form == Form::Evtx { small } else { FleetSpec { hosts: 3, ..small } };
            simulate(&small, folder.path(), &mut |bytes| {
                assert!(bytes >= last);
                last = bytes;
            })
            .unwrap();
            let mut files = files(folder.path());
            files.remove(Path::new(TRUTH_FILE)).unwrap();
            assert_eq!(files.values().map(|bytes| bytes.len() as u64).sum::<u64>(), last);
        }
    }

    #[test]
    fn a_story_without_hours_has_no_events() {
        for form in FORMS {
            let (truth, files) = write(&FleetSpec { hours: 0, ..spec(form) });
            assert_eq!((truth.records, truth.events.len()), (0, 0));
            assert!(read(form, &files).is_empty());
        }
    }

    #[test]
    fn a_fleet_without_hosts_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let error =
            simulate(&FleetSpec { hosts: 0, ..spec(Form::Xml) }, folder.path(), &mut |_| {});
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}

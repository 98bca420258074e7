//! The service in the midst of everything at once, for minutes or an hour: hosts with wrong clocks,
//! a partition that stays empty, `kill -9`, brokers that restart. `scripts/soak` is the hour.
//!
//! ```text
//! story ─▶ topic ─▶ twinsid run ─▶ topic ─▶ last revisions ┐ equal, but for what is of
//!   └────▶ file ──▶ twinsid replay ──────▶ incidents ──────┘ hosts with wrong clocks
//! ```
//!
//! Events go on [`SPEED`] times as fast as the clock, and began so long ago that none is from the
//! future. What is asserted of time allows for that:
//!
//! | what | bound |
//! |---|---|
//! | a session closes no earlier | than an event of gap + lateness after its last was sent |
//! | and no later | than [`IDLE_SECS`] + 5 seconds of the clock after that, of which only those count in which the service was up for [`IDLE_SECS`] and behind by no more than [`BEHIND_MAX`] records |
//! | resident memory | its maximum of the last third is at most 1.3 times that of the second third |

mod story;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use serde_json::Value;
use twinsid::brokers::Reports;

use self::story::{PARTITIONS, SPEED, Story, WRONG};
use crate::broker::{self, Broker, Record};
use crate::events::now_ms;
use crate::stream::{
    Running, Service, assert_same, last_revisions, log_of, start, terminate, twinsid, wait,
};

const GAP_SECS: i64 = 120;
const LATENESS_SECS: i64 = 240;
const IDLE_SECS: i64 = 5;

/// What a close may take beyond the time for which silent partitions are waited for.
const CLOSE_SLACK_SECS: i64 = 5;

/// Two seconds of the input.
const BEHIND_MAX: u64 = 700;

/// Failures that make a session an incident, by default.
const THRESHOLD: usize = 5;

/// How long it may take until everything is closed, or said.
const PATIENCE: Duration = Duration::from_secs(120);

const FEED_EVERY: Duration = Duration::from_millis(50);
const SAMPLE_EVERY: Duration = Duration::from_secs(1);

/// How long a run is and what befalls it.
#[derive(Debug)]
struct Plan {
    length: Duration,
    hosts: usize,
    kill_every: Duration,
    broker_restarts: u32,
}

impl Plan {
    fn of(minutes: u64) -> Plan {
        let length = Duration::from_secs(60 * minutes);
        let (hosts, kill_secs, broker_restarts) =
            if minutes < 10 { (2_000, 20, 1) } else { (30_000, 120, 3) };
        Plan { length, hosts, kill_every: Duration::from_secs(kill_secs), broker_restarts }
    }

    /// From when on nothing happens, so that the last sessions close within the length.
    fn quiet_at(&self) -> Duration {
        let closes_after = (GAP_SECS + LATENESS_SECS) / SPEED + IDLE_SECS + CLOSE_SLACK_SECS;
        self.length - Duration::from_secs(closes_after as u64)
    }
}

/// When events are, by the clock: both in milliseconds since 1970.
#[derive(Clone, Copy, Debug)]
struct Timeline {
    clock_ms: i64,
    events_ms: i64,
}

impl Timeline {
    /// The events of a run that begins now are so old that the last of them is from now.
    fn beginning_now(length: Duration) -> Timeline {
        let clock_ms = now_ms();
        Timeline { clock_ms, events_ms: clock_ms - SPEED * length.as_millis() as i64 }
    }

    fn event_ms(self, clock_ms: i64) -> i64 {
        self.events_ms + SPEED * (clock_ms - self.clock_ms)
    }

    fn clock_ms(self, event_ms: i64) -> i64 {
        self.clock_ms + (event_ms - self.events_ms) / SPEED
    }
}

/// Sets its flag when it goes, also when a test fails.
struct StopGuard<'a>(&'a AtomicBool);

impl Drop for StopGuard<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// What was seen of a run besides its output.
#[derive(Debug, Default)]
struct Course {
    kills: u64,
    broker_restarts: u32,
    /// Ends that nobody asked for.
    gave_up: u64,
    /// Resident KiB, and the milliseconds since the beginning.
    resident: Vec<(u128, u64)>,
}

#[test]
fn a_soaked_service_stays_flat_closes_in_time_and_equals_replay() {
    let minutes = std::env::var("TWINSID_SOAK_MINUTES").ok();
    let plan = Plan::of(minutes.map_or(2, |text| text.parse().expect("minutes")));
    let Some(broker) = broker::own(None) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let service = Service::new(&broker, folder.path(), PARTITIONS);
    let more = format!(
        "status_ms = 500\n[session]\ngap_secs = {GAP_SECS}\n\
         [time]\nallowed_lateness_secs = {LATENESS_SECS}\nidle_secs = {IDLE_SECS}\n"
    );
    let config = service.config("a", broker.plain, &more);
    let copy = folder.path().join("events.jsonl");
    let timeline = Timeline::beginning_now(plan.length);
    let quiet_ms = timeline.event_ms(timeline.clock_ms + plan.quiet_at().as_millis() as i64);
    let mut story = Story::new(plan.hosts, timeline.events_ms, quiet_ms);
    let stop = AtomicBool::new(false);
    let (mut running, course, sent) = std::thread::scope(|scope| {
        let guard = StopGuard(&stop);
        let feeder =
            scope.spawn(|| feed(&broker, &service.input, &mut story, timeline, &copy, &stop));
        let (running, course) = run(&plan, &broker, &config);
        await_last_close(&service, timeline.events_ms, quiet_ms, &config);
        drop(guard);
        (running, course, feeder.join().expect("everything is sent"))
    });
    await_no_lag(&config);
    let ended = terminate(&mut running);
    assert!(ended.is_some_and(|status| status.success()), "{ended:?}\n{}", excerpt(&config));
    assert_eq!(messages(&broker, &service.input), sent, "all that was sent is in the topic");

    let told = service.told();
    let log = Log::read(&config);
    let delays = close_delays(&told, &log, timeline);
    report(&plan, &course, &log, sent, &told, &delays);
    assert_same(&of_right_clocks(&told), &replayed(&copy, folder.path()));
    assert_eq!(closed_counts(&told), story_counts(&story), "what happened is what is told");
    check_delays(&delays);
    check_late(&log);
    check_memory(&course, &plan);
    let restarts = course.kills + course.gave_up;
    assert!(log.restored.len() as u64 >= restarts, "each start goes on: {}", excerpt(&config));
    assert!(log.restored.iter().any(RestoredLine::is_of_changes), "{:?}", log.restored);
}

/// Sends the story as it goes on, until `stop`; each event also goes to the file `copy`. How many
/// events there were.
fn feed(
    broker: &Broker,
    topic: &str,
    story: &mut Story,
    timeline: Timeline,
    copy: &Path,
    stop: &AtomicBool,
) -> u64 {
    let settings = [
        ("enable.idempotence", "true"),
        ("linger.ms", "20"),
        ("compression.type", "lz4"),
        ("reconnect.backoff.max.ms", "500"),
        ("queue.buffering.max.messages", "1000000"),
    ];
    let settings = settings.map(|(name, value)| (name, value.to_owned())).to_vec();
    let producer: ThreadedProducer<Reports> =
        broker.cluster().client(&settings).expect("a producer");
    let mut copy = BufWriter::new(fs::File::create(copy).expect("a file"));
    let mut count = 0;
    while !stop.load(Ordering::SeqCst) {
        while let Some(sent) = story.next_before(timeline.event_ms(now_ms())) {
            copy.write_all(&sent.event).and_then(|()| copy.write_all(b"\n")).expect("written");
            let mut record =
                BaseRecord::to(topic).key(&sent.key).partition(sent.partition).payload(&sent.event);
            while let Err((_, back)) = producer.send(record) {
                record = back;
                producer.flush(FEED_EVERY).ok();
            }
            count += 1;
        }
        std::thread::sleep(FEED_EVERY);
    }
    producer.flush(PATIENCE).expect("delivered");
    copy.flush().expect("written");
    count
}

/// Runs the service for the plan's length, kills it, and restarts the broker.
fn run(plan: &Plan, broker: &Broker, config: &Path) -> (Running, Course) {
    let began = Instant::now();
    let mut course = Course::default();
    let mut child = start(config, &[], &[]);
    let mut kill_at = plan.kill_every;
    std::thread::scope(|scope| {
        while began.elapsed() < plan.length {
            wait(&mut child, SAMPLE_EVERY);
            if child.try_wait().expect("a child").is_some() {
                course.gave_up += 1;
                child = start(config, &[], &[]);
            }
            if let Some(kib) = resident_kib(child.id()) {
                course.resident.push((began.elapsed().as_millis(), kib));
            }
            if began.elapsed() > kill_at && began.elapsed() < plan.quiet_at() {
                kill_at += plan.kill_every;
                course.kills += 1;
                let _ = child.kill();
                child.wait().expect("ends");
                child = start(config, &[], &[]);
            }
            let restart_at =
                plan.length * (course.broker_restarts + 1) / (plan.broker_restarts + 1);
            if course.broker_restarts < plan.broker_restarts && began.elapsed() > restart_at {
                course.broker_restarts += 1;
                scope.spawn(|| broker.restart());
            }
        }
    });
    (child, course)
}

fn resident_kib(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// Waits until no session is open that began in the story's time.
fn await_last_close(service: &Service<'_>, events_ms: i64, quiet_ms: i64, config: &Path) {
    let began = Instant::now();
    let is_open = |incident: &Value| {
        let started = millis(&incident["first_seen"]);
        incident["state"] == "open"
            && (events_ms..quiet_ms).contains(&started)
            && !incident.to_string().to_lowercase().contains(WRONG)
    };
    loop {
        let open = last_revisions(&service.told()).into_values().filter(is_open).count();
        if open == 0 {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{open} sessions stay open\n{}", excerpt(config));
        std::thread::sleep(SAMPLE_EVERY);
    }
}

fn await_no_lag(config: &Path) {
    let began = Instant::now();
    while Log::read(config).status.last().is_none_or(|status| status.lag != Some(0)) {
        assert!(began.elapsed() < PATIENCE, "not all is read\n{}", excerpt(config));
        std::thread::sleep(SAMPLE_EVERY);
    }
}

/// The messages of a topic.
fn messages(broker: &Broker, topic: &str) -> u64 {
    let client = broker.cluster().connect().expect("a broker");
    let ends = |partition| {
        let (first, end) = twinsid::brokers::ends(&client, topic, partition).expect("ends");
        (end - first) as u64
    };
    (0..PARTITIONS).map(ends).sum()
}

fn millis(time: &Value) -> i64 {
    let time: Timestamp = time.as_str().and_then(|text| text.parse().ok()).expect("a time");
    time.as_millisecond()
}

/// What replay says of the same events, but for hosts with wrong clocks.
fn replayed(copy: &Path, folder: &Path) -> Vec<Value> {
    let (config, out) = (folder.join("replay.toml"), folder.join("replayed.jsonl"));
    fs::write(&config, format!("[session]\ngap_secs = {GAP_SECS}\n")).expect("written");
    let done = twinsid()
        .args(["replay", "-q", "-c"])
        .arg(&config)
        .arg("-o")
        .args([&out, copy])
        .stdout(Stdio::null())
        .output();
    assert!(done.as_ref().is_ok_and(|done| done.status.success()), "{done:?}");
    let text = fs::read_to_string(&out).expect("incidents");
    let right = text.lines().filter(|line| !line.to_lowercase().contains(WRONG));
    right.map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// Of incidents of which no revision names a host with a wrong clock.
fn of_right_clocks(told: &[Record]) -> Vec<Record> {
    let is_wrong = |record: &&Record| record.value.to_lowercase().contains(WRONG);
    let wrong: Vec<&String> = told.iter().filter(is_wrong).map(|record| &record.key).collect();
    told.iter().filter(|record| !wrong.contains(&&record.key)).cloned().collect()
}

/// The counts of closed incidents of failures, by account.
fn closed_counts(told: &[Record]) -> BTreeMap<String, Vec<u64>> {
    let mut counts: BTreeMap<String, Vec<(i64, u64)>> = BTreeMap::new();
    for incident in last_revisions(&of_right_clocks(told)).into_values() {
        let key = incident["source_key"].as_str().expect("a key");
        if let Some(account) = key.strip_prefix("name:CORP\\")
            && incident["state"] == "closed"
        {
            let failures = incident["counts"]["failures"].as_u64().expect("a count");
            let of_account = counts.entry(account.to_lowercase()).or_default();
            of_account.push((millis(&incident["first_seen"]), failures));
        }
    }
    let by_time = |mut all: Vec<(i64, u64)>| {
        all.sort_unstable();
        all.into_iter().map(|(_, failures)| failures).collect()
    };
    counts.into_iter().map(|(account, all)| (account, by_time(all))).collect()
}

/// The same, as the story has it.
fn story_counts(story: &Story) -> BTreeMap<String, Vec<u64>> {
    let mut counts = BTreeMap::new();
    for (account, times) in &story.truth {
        let mut times = times.clone();
        times.sort_unstable();
        // A pause of exactly the gap does not end a session: sessions start on full seconds.
        let sessions = times.chunk_by(|one, next| next - one <= GAP_SECS * 1_000);
        let large = sessions.map(<[i64]>::len).filter(|failures| *failures >= THRESHOLD);
        let large: Vec<u64> = large.map(|failures| failures as u64).collect();
        if !large.is_empty() {
            counts.insert(account.clone(), large);
        }
    }
    counts
}

/// A status line.
#[derive(Clone, Copy, Debug)]
struct Status {
    clock_ms: i64,
    /// `None`: not known.
    lag: Option<u64>,
    late: u64,
}

/// What a start says of the state that it goes on with.
#[derive(Clone, Copy, Debug)]
struct RestoredLine {
    millis: u64,
    entries: u64,
    evaluations: u64,
}

impl RestoredLine {
    /// Whether there was more than a snapshot.
    fn is_of_changes(&self) -> bool {
        self.entries > 0 && self.evaluations > 0
    }
}

/// What the service's log says.
#[derive(Debug, Default)]
struct Log {
    status: Vec<Status>,
    /// When a process began to correlate.
    starts: Vec<i64>,
    restored: Vec<RestoredLine>,
    /// Lines on records that came too late.
    late: Vec<String>,
    /// Lines that are worse than that.
    errors: Vec<String>,
}

impl Log {
    fn read(config: &Path) -> Log {
        let mut log = Log::default();
        for line in log_of(config).lines() {
            let clock = line.split(' ').next().and_then(|text| text.parse::<Timestamp>().ok());
            let Some(clock_ms) = clock.map(Timestamp::as_millisecond) else { continue };
            let text = |name: &str| {
                let (_, rest) = line.split_once(&format!(" {name}="))?;
                rest.split(' ').next()
            };
            let number = |name: &str| text(name).and_then(|text| text.parse::<u64>().ok());
            if line.contains(" working ") {
                let late = number("late").unwrap_or(0);
                log.status.push(Status { clock_ms, lag: number("lag"), late });
            } else if line.contains("the state is restored") {
                let seconds: f64 =
                    text("seconds").and_then(|text| text.parse().ok()).unwrap_or(0.0);
                log.restored.push(RestoredLine {
                    millis: (seconds * 1e3) as u64,
                    entries: number("entries").unwrap_or(0),
                    evaluations: number("evaluations").unwrap_or(0),
                });
            } else if line.contains("came too late") {
                log.late.push(line.to_owned());
            } else if line.contains(" ERROR ") {
                log.errors.push(line.to_owned());
            }
            if line.contains("active: this copy correlates") {
                log.starts.push(clock_ms);
            }
        }
        log
    }

    /// Records that were late, as far as status lines say so: what came between the last of them and
    /// a kill is not in it.
    fn late_records(&self) -> u64 {
        let ends = self.status.windows(2).filter(|pair| pair[1].late < pair[0].late);
        let last = self.status.last().map_or(0, |status| status.late);
        ends.map(|pair| pair[0].late).sum::<u64>() + last
    }

    /// Of this span, the milliseconds in which the service was up for long enough and hardly behind.
    fn good_ms(&self, from_ms: i64, to_ms: i64) -> i64 {
        let first = self.status.partition_point(|status| status.clock_ms < from_ms).max(1) - 1;
        let mut good = 0;
        for pair in self.status[first..].windows(2) {
            let (one, next) = (pair[0], pair[1]);
            if one.clock_ms >= to_ms {
                break;
            }
            let is_current = |status: Status| status.lag.is_some_and(|lag| lag <= BEHIND_MAX);
            let at = self.starts.partition_point(|start| *start <= next.clock_ms);
            let is_up = at > 0 && self.starts[at - 1] + IDLE_SECS * 1_000 <= one.clock_ms;
            if is_up && is_current(one) && is_current(next) {
                good += (next.clock_ms.min(to_ms) - one.clock_ms.max(from_ms)).max(0);
            }
        }
        good
    }
}

/// When a session was closed.
#[derive(Debug)]
struct Close {
    /// After it was due, by the clock; negative: before.
    after_ms: i64,
    /// The part of that in which the service could have done it.
    good_ms: i64,
    id: String,
}

/// Of each session of right clocks that was closed, when that was first said.
fn close_delays(told: &[Record], log: &Log, timeline: Timeline) -> Vec<Close> {
    let mut closed: BTreeMap<String, Close> = BTreeMap::new();
    for record in of_right_clocks(told) {
        let incident: Value = serde_json::from_str(&record.value).expect("JSON");
        if incident["state"] == "closed" && !closed.contains_key(&record.key) {
            let due_event = millis(&incident["last_seen"]) + (GAP_SECS + LATENESS_SECS) * 1_000;
            let due_ms = timeline.clock_ms(due_event);
            let close = Close {
                after_ms: record.time_ms - due_ms,
                good_ms: log.good_ms(due_ms, record.time_ms),
                id: record.key.clone(),
            };
            closed.insert(record.key, close);
        }
    }
    closed.into_values().collect()
}

fn check_delays(delays: &[Close]) {
    assert!(delays.iter().any(|close| close.good_ms > 0), "some are closed as time goes by");
    let bound_ms = (IDLE_SECS + CLOSE_SLACK_SECS) * 1_000;
    for Close { id, after_ms, good_ms } in delays {
        assert!(*after_ms > -50, "{id} was closed {after_ms} ms before lateness allows");
        assert!(
            *good_ms <= bound_ms,
            "{id} was closed {after_ms} ms late, {good_ms} of them counted"
        );
    }
}

/// Hosts that are behind are late and counted, and no others are named.
fn check_late(log: &Log) {
    assert!(log.late_records() > 0, "hosts whose clocks are behind are counted");
    assert!(!log.late.is_empty(), "and named");
    for line in &log.late {
        let (_, rest) = line.split_once("most of them from ").expect("names");
        let (names, _) = rest.split_once(';').expect("names");
        assert!(names.split(", ").all(|name| name.starts_with(WRONG)), "{line}");
    }
}

/// The maxima of each third of the run, in KiB.
fn thirds(course: &Course, plan: &Plan) -> [u64; 3] {
    let mut maxima = [0; 3];
    for (at_ms, kib) in &course.resident {
        let third = (at_ms * 3 / plan.length.as_millis()).min(2) as usize;
        maxima[third] = maxima[third].max(*kib);
    }
    maxima
}

fn check_memory(course: &Course, plan: &Plan) {
    let [_, second, last] = thirds(course, plan);
    assert!(second > 0 && last * 10 <= second * 13, "memory grows: {second} then {last} KiB");
}

/// The log without status lines, but for the last ones.
fn excerpt(config: &Path) -> String {
    let log = log_of(config);
    let (status, other): (Vec<&str>, Vec<&str>) =
        log.lines().partition(|line| line.contains(" working "));
    let last = |lines: &[&str], count: usize| lines[lines.len().saturating_sub(count)..].join("\n");
    format!("{}\n{}", last(&other, 60), last(&status, 4))
}

/// For people, whatever is asserted of it.
fn report(plan: &Plan, course: &Course, log: &Log, sent: u64, told: &[Record], delays: &[Close]) {
    let mib = |kib: u64| kib / 1024;
    let [first, second, last] = thirds(course, plan).map(mib);
    let series: Vec<u64> = {
        let step = (course.resident.len() / 12).max(1);
        course.resident.iter().step_by(step).map(|(_, kib)| mib(*kib)).collect()
    };
    let slowest = log.restored.iter().max_by_key(|restored| restored.millis);
    let of_delays = |of: fn(&Close) -> i64| {
        let mut all: Vec<i64> = delays.iter().map(of).collect();
        all.sort_unstable();
        (all.get(all.len() / 2).copied(), all.last().copied())
    };
    let incidents = last_revisions(told);
    let text = format!(
        "\nsoak: {} minutes, {} hosts, {sent} events of {} minutes\n\
         kills {}, broker restarts {}, ends of its own {}\n\
         incidents {}, revisions {}, sessions of right clocks closed {}\n\
         late records at least {}, errors in the log {}\n\
         resident MiB: maxima of the thirds {first}, {second}, {last}; series {series:?}\n\
         recoveries {}, the slowest {slowest:?}\n\
         closed after they were due, ms: median and slowest {:?}, counting only when it could {:?}\n",
        plan.length.as_secs() / 60,
        plan.hosts,
        plan.length.as_secs() * SPEED as u64 / 60,
        course.kills,
        course.broker_restarts,
        course.gave_up,
        incidents.len(),
        told.len(),
        delays.len(),
        log.late_records(),
        log.errors.len(),
        log.restored.len(),
        of_delays(|close| close.after_ms),
        of_delays(|close| close.good_ms),
    );
    std::io::stderr().write_all(text.as_bytes()).expect("written");
}

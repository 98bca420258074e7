//! `twinsid run` with a real broker: what comes out equals replay, whatever is
//! killed when.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::broker;
use crate::broker::{Broker, Record, Trio, unique};
use crate::traps::{IMAGE, own, renamed};

/// How long a run to the end may take.
const PATIENCE: Duration = Duration::from_secs(120);

pub fn twinsid() -> Command {
    Command::new(env!("CARGO_BIN_EXE_twinsid"))
}

/// A small fleet in some form: its events, a value each, and what replay says
/// of them.
pub struct Fleet {
    pub folder: tempfile::TempDir,
    pub values: Vec<Vec<u8>>,
    pub replayed: Vec<Value>,
}

impl Fleet {
    pub fn new(form: &str, seed: u64) -> Fleet {
        let folder = tempfile::tempdir().expect("a folder");
        let logs = folder.path().join("logs");
        let made = twinsid()
            .args(["simulate", "--hosts", "12", "--groups", "2", "--hours", "3", "--form", form])
            .args(["--seed", &seed.to_string(), "-o"])
            .arg(&logs)
            .output()
            .expect("runs");
        assert!(made.status.success(), "{made:?}");
        let replayed = folder.path().join("replayed.jsonl");
        let done = twinsid().args(["replay", "-q", "-o"]).arg(&replayed).arg(&logs).output();
        assert!(done.as_ref().expect("runs").status.success(), "{done:?}");
        let mut values = Vec::new();
        for entry in fs::read_dir(&logs).expect("logs") {
            let path = entry.expect("logs").path();
            if path.is_file() && !path.ends_with("truth.json") {
                let text = fs::read_to_string(&path).expect("text");
                values.extend(text.lines().map(|line| line.as_bytes().to_vec()));
            }
        }
        let replayed = fs::read_to_string(&replayed).expect("incidents");
        let replayed = replayed.lines().map(|line| serde_json::from_str(line).expect("JSON"));
        Fleet { values, replayed: replayed.collect(), folder }
    }
}

/// Topics and a configuration of one test.
pub struct Service<'b> {
    broker: &'b Broker,
    pub input: String,
    pub output: String,
    folder: PathBuf,
}

impl<'b> Service<'b> {
    pub fn new(broker: &'b Broker, folder: &Path, partitions: i32) -> Service<'b> {
        let input = unique("events");
        broker.create_topic(&input, partitions);
        let output = unique("incidents");
        Service { broker, input, output, folder: folder.to_owned() }
    }

    /// A configuration for the copy `instance`; `more` goes to the end.
    pub fn config(&self, instance: &str, port: u16, more: &str) -> PathBuf {
        let brokers = format!("127.0.0.1:{port}");
        write_config(&self.folder, instance, &brokers, &self.input, &self.output, more)
    }

    pub fn told(&self) -> Vec<Record> {
        self.broker.consume(&self.output)
    }
}

fn write_config(
    folder: &Path,
    instance: &str,
    brokers: &str,
    input: &str,
    output: &str,
    more: &str,
) -> PathBuf {
    let path = folder.join(format!("{instance}.toml"));
    let text = format!(
        "[[source]]\nkind = \"kafka\"\nbrokers = \"{brokers}\"\ntopics = [\"{input}\"]\n\
         group = \"group-{input}\"\ninstance = \"{instance}\"\n\
         [sink]\nkind = \"kafka\"\nbrokers = \"{brokers}\"\ntopic = \"{output}\"\n\
         [service]\nlinger_ms = 30\n{more}"
    );
    fs::write(&path, text).expect("written");
    path
}

/// A service that ends with its test, also when that fails.
pub struct Running(Child);

impl Deref for Running {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl DerefMut for Running {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn start(config: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Running {
    let log = fs::File::options()
        .create(true)
        .append(true)
        .open(config.with_extension("log"))
        .expect("a log");
    let child = twinsid()
        .args(["run", "-c"])
        .arg(config)
        .args(arguments)
        .envs(environment.iter().copied())
        .stdout(log.try_clone().expect("a log"))
        .stderr(log)
        .stdin(Stdio::null())
        .spawn();
    Running(child.expect("runs"))
}

pub fn log_of(config: &Path) -> String {
    fs::read_to_string(config.with_extension("log")).unwrap_or_default()
}

/// Waits for the end; `None` when it takes longer than `patience`.
pub fn wait(child: &mut Child, patience: Duration) -> Option<std::process::ExitStatus> {
    let start = Instant::now();
    while start.elapsed() < patience {
        if let Some(status) = child.try_wait().expect("a child") {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    None
}

/// Runs to the end of the input.
pub fn run_to_end(config: &Path) {
    let mut child = start(config, &["--until-end"], &[]);
    let status = wait(&mut child, PATIENCE);
    assert!(status.is_some_and(|status| status.success()), "{status:?}\n{}", log_of(config));
}

/// What a reader has who takes the records in order, without what another took
/// over and what was withdrawn; and no revision twice, none after a later one.
pub fn last_revisions(records: &[Record]) -> BTreeMap<String, Value> {
    let mut last: BTreeMap<String, Value> = BTreeMap::new();
    let mut revisions: BTreeMap<String, u64> = BTreeMap::new();
    let mut superseded: BTreeSet<String> = BTreeSet::new();
    for record in records {
        let incident: Value = serde_json::from_str(&record.value).expect("JSON");
        let id = incident["id"].as_str().expect("an id").to_owned();
        assert_eq!(id, record.key);
        let revision = incident["revision"].as_u64().expect("a revision");
        let before = revisions.insert(id.clone(), revision).unwrap_or(0);
        assert!(revision > before, "{id}: revision {revision} after {before}");
        for other in incident["supersedes"].as_array().expect("a list") {
            superseded.insert(other.as_str().expect("an id").to_owned());
        }
        // One that is told again goes on.
        superseded.remove(&id);
        last.insert(id, incident);
    }
    let is_withdrawn = |incident: &Value| {
        incident["kind"] == "duplicate_machine_sid"
            && incident["verdict"]["class"] == "undetermined"
    };
    last.retain(|id, incident| !superseded.contains(id) && !is_withdrawn(incident));
    last
}

/// The same incidents as replay's, but for how often they were told before.
#[track_caller]
pub fn assert_same(told: &[Record], replayed: &[Value]) {
    let plain = |incident: &Value| {
        let mut incident = incident.clone();
        incident["revision"] = 1.into();
        incident["supersedes"] = Value::Array(Vec::new());
        incident.to_string()
    };
    let told: BTreeSet<String> = last_revisions(told).values().map(plain).collect();
    let replayed: BTreeSet<String> = replayed.iter().map(plain).collect();
    let shorten = |text: &String| text.chars().take(600).collect::<String>();
    let missing: Vec<String> = replayed.difference(&told).map(shorten).take(3).collect();
    let surplus: Vec<String> = told.difference(&replayed).map(shorten).take(3).collect();
    assert!(missing.is_empty() && surplus.is_empty(), "missing {missing:#?}\nsurplus {surplus:#?}");
}

/// Numbers that are the same for the same seed.
#[derive(Debug)]
pub struct Chance(pub u64);

impl Chance {
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

#[test]
fn every_shape_gives_the_incidents_of_replay() {
    let Some(broker) = broker::shared() else { return };
    for form in ["xml", "openwec", "winlogbeat", "nxlog"] {
        let fleet = Fleet::new(form, 7);
        let service = Service::new(broker, fleet.folder.path(), 6);
        broker.produce(&service.input, 6, &fleet.values);
        run_to_end(&service.config("a", broker.plain, ""));
        let told = service.told();
        assert!(!told.is_empty());
        assert_same(&told, &fleet.replayed);
        let first = &told[0];
        assert_eq!(first.headers["ce_specversion"], "1.0");
        assert_eq!(first.headers["content-type"], "application/json");
        assert!(first.headers["ce_id"].starts_with(&first.key));
        let incident: Value = serde_json::from_str(&first.value).expect("JSON");
        assert_eq!(first.headers["ce_time"], incident["last_seen"].as_str().expect("a time"));
        // 2026-05: what retention would delete by.
        assert!(first.time_ms > 1_790_000_000_000, "the create-time is that of sending");
    }
}

#[test]
fn every_format_goes_into_a_topic() {
    let Some(broker) = broker::shared() else { return };
    let fleet = Fleet::new("winlogbeat", 10);
    for (format, native) in [("ecs", "twinsid"), ("ocsf", "unmapped")] {
        let service = Service::new(broker, fleet.folder.path(), 2);
        broker.produce(&service.input, 2, &fleet.values);
        let config = service.config(format, broker.plain, "");
        let text = fs::read_to_string(&config).expect("a configuration");
        let text = text.replace("[sink]\n", &format!("[sink]\nformat = \"{format}\"\n"));
        fs::write(&config, text).expect("written");
        run_to_end(&config);
        let mut told = service.told();
        assert!(!told.is_empty());
        for record in &mut told {
            let value: Value = serde_json::from_str(&record.value).expect("JSON");
            assert!(value[native]["schema"].is_number(), "{format}: {value}");
            record.value = value[native].to_string();
            let id = format!("{}-{}", record.key, value[native]["revision"]);
            assert_eq!(record.headers["ce_id"], id);
        }
        assert_same(&told, &fleet.replayed);
    }
}

#[test]
fn every_codec_is_read_and_a_pattern_names_the_topics() {
    let Some(broker) = broker::shared() else { return };
    let fleet = Fleet::new("nxlog", 8);
    let service = Service::new(broker, fleet.folder.path(), 2);
    let codecs = ["gzip", "snappy", "lz4", "zstd", "none"];
    for (number, codec) in codecs.iter().enumerate() {
        let topic = format!("{}-{codec}", service.input);
        broker.create_topic(&topic, 2);
        let values: Vec<Vec<u8>> =
            fleet.values.iter().skip(number).step_by(codecs.len()).cloned().collect();
        broker.produce_with(&topic, 2, &values, codec, &[]);
    }
    let config = service.config("a", broker.plain, "");
    let text = fs::read_to_string(&config).expect("a configuration");
    let pattern = format!("^{}-.*", service.input);
    fs::write(
        &config,
        text.replace(&format!("[\"{}\"]", service.input), &format!("[\"{pattern}\"]")),
    )
    .expect("written");
    run_to_end(&config);
    assert_same(&service.told(), &fleet.replayed);
}

#[test]
fn a_trace_that_came_in_goes_out_with_the_incident() {
    let Some(broker) = broker::shared() else { return };
    let fleet = Fleet::new("winlogbeat", 9);
    let service = Service::new(broker, fleet.folder.path(), 2);
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    for (topic, header) in [("plain", "traceparent"), ("events", "ce_traceparent")] {
        let output = format!("{}-{topic}", service.output);
        let service = Service { output, ..Service::new(broker, fleet.folder.path(), 2) };
        broker.produce_with(&service.input, 2, &fleet.values, "zstd", &[(header, trace)]);
        run_to_end(&service.config(topic, broker.plain, ""));
        let told = service.told();
        assert_same(&told, &fleet.replayed);
        let traced = told
            .iter()
            .filter(|record| record.headers.get("traceparent").is_some_and(|of| of == trace));
        // What is concluded from facts alone has no record of its own.
        assert!(
            traced.count() * 2 > told.len(),
            "{:?}",
            told.iter().map(|record| &record.headers).collect::<Vec<_>>()
        );
    }
    // No header, no header.
    broker.produce(&service.input, 2, &fleet.values);
    run_to_end(&service.config("none", broker.plain, ""));
    assert!(service.told().iter().all(|record| !record.headers.contains_key("traceparent")));
}

#[test]
fn of_three_brokers_one_after_the_other_fails_and_nothing_is_lost_or_told_twice() {
    let Some(trio) = Trio::start() else { return };
    let fleet = Fleet::new("winlogbeat", 21);
    let (input, output) = ("events", "incidents");
    broker::create_topic(&trio.cluster(), input, 6);
    let config = write_config(fleet.folder.path(), "a", &trio.brokers, input, output, "");
    let (mut service, mut gave_up) = (start(&config, &[], &[]), 0);
    let mut chance = Chance(21);
    const STRIKES: usize = 6;
    for strike in 0..STRIKES {
        let from = fleet.values.len() * strike / STRIKES;
        let piece = &fleet.values[from..fleet.values.len() * (strike + 1) / STRIKES];
        broker::produce(&trio.cluster(), input, 6, piece, "lz4", &[]);
        let node = &trio.nodes[strike % 3];
        std::thread::sleep(Duration::from_millis(chance.below(1_000)));
        match strike % 2 {
            0 => {
                node.kill();
                std::thread::sleep(Duration::from_millis(1_000 + chance.below(3_000)));
                node.launch();
            }
            _ => {
                // Long enough for the others to give it up.
                node.signal("-STOP");
                std::thread::sleep(Duration::from_secs(6));
                node.signal("-CONT");
            }
        }
        // Two have to have what is committed: the one that was away catches up.
        std::thread::sleep(Duration::from_secs(3));
        if strike == STRIKES / 2 {
            let _ = service.kill();
            service.wait().expect("ends");
            service = start(&config, &[], &[]);
        }
        // On a busy machine it may give up; then a supervisor would start it again.
        if service.try_wait().expect("a child").is_some() {
            gave_up += 1;
            service = start(&config, &[], &[]);
        }
    }
    assert!(gave_up <= 1, "the service goes on: {}", log_of(&config));
    let _ = service.kill();
    service.wait().expect("ends");
    run_to_end(&config);
    assert_same(&broker::consume(&trio.cluster(), output), &fleet.replayed);
}

#[test]
fn a_commit_of_the_detector_that_fails_is_tried_again_and_done_once() {
    let Some(broker) = broker::shared() else { return };
    for (seed, step) in (22..).zip(["detector sent", "detector committed"]) {
        let fleet = Fleet::new("openwec", seed);
        let service = Service::new(broker, fleet.folder.path(), 3);
        let config = service.config("a", broker.plain, "");
        let half = fleet.values.len() / 2;
        broker.produce(&service.input, 3, &fleet.values[..half]);
        let mut child = start(&config, &[], &[("TWINSID_FAIL_AT", &format!("{step}:2"))]);
        await_told(&service, &config, |told| !told.is_empty());
        broker.produce(&service.input, 3, &fleet.values[half..]);
        await_log(&config, "a commit is tried again");
        await_log(&config, "the commit that failed is done");
        let status = terminate(&mut child);
        assert!(status.is_some_and(|status| status.success()), "{step}: {}", log_of(&config));
        // All is judged: the first commit is the one that closes everything.
        let _ = fs::remove_file(config.with_extension("log"));
        let fail_at = format!("{step}:1");
        let mut child = start(&config, &["--until-end"], &[("TWINSID_FAIL_AT", &fail_at)]);
        let status = wait(&mut child, PATIENCE);
        assert!(status.is_some_and(|status| status.success()), "{step}: {}", log_of(&config));
        assert!(log_of(&config).contains("the commit that failed is done"), "{}", log_of(&config));
        assert_same(&service.told(), &fleet.replayed);
    }
}

/// Kills of a service that reads one fleet.
const KILLS_PER_FLEET: u64 = 10;

/// How many times `kill -9` strikes; the whole campaign is 200.
fn kills() -> u64 {
    std::env::var("TWINSID_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(20)
}

#[test]
fn killed_at_random_nothing_is_lost_and_nothing_told_twice() {
    let Some(broker) = broker::shared() else { return };
    let mut chance = Chance(20_260_504);
    let (mut left, mut round) = (kills(), 0);
    while left > 0 {
        round += 1;
        let fleet = Fleet::new("winlogbeat", round);
        let service = Service::new(broker, fleet.folder.path(), 6);
        let config = service.config("a", broker.plain, "");
        // Some of it comes while the service runs; once all is there, some runs
        // go to the end, which closes what is open.
        let pieces = KILLS_PER_FLEET / 2;
        for kill in 0..KILLS_PER_FLEET.min(left) {
            let piece = |at: u64| fleet.values.len() * at.min(pieces) as usize / pieces as usize;
            broker.produce(&service.input, 6, &fleet.values[piece(kill)..piece(kill + 1)]);
            let to_the_end = kill >= pieces && chance.below(2) == 0;
            let arguments: &[&str] = if to_the_end { &["--until-end"] } else { &[] };
            let mut child = start(&config, arguments, &[]);
            wait(&mut child, Duration::from_millis(200 + chance.below(3_000)));
            let _ = child.kill();
            child.wait().expect("ends");
        }
        left -= KILLS_PER_FLEET.min(left);
        run_to_end(&config);
        assert_same(&service.told(), &fleet.replayed);
    }
}

#[test]
fn dying_at_each_step_of_a_commit_loses_and_repeats_nothing() {
    let Some(broker) = broker::shared() else { return };
    let fleet = Fleet::new("nxlog", 3);
    let service = Service::new(broker, fleet.folder.path(), 3);
    let config = service.config("a", broker.plain, "");
    let points = [
        "collector began",
        "collector sent",
        "collector sent offsets",
        "collector committed",
        "detector took over",
        "detector began",
        "detector sent",
        "detector committed",
    ];
    for (number, point) in points.into_iter().enumerate() {
        let piece = |at: usize| fleet.values.len() * at / points.len();
        broker.produce(&service.input, 3, &fleet.values[piece(number)..piece(number + 1)]);
        let die_at = format!("{point}:1");
        let mut child = start(&config, &["--until-end"], &[("TWINSID_DIE_AT", &die_at)]);
        let status = wait(&mut child, PATIENCE).expect("it ends");
        assert!(!status.success(), "it died at `{point}`\n{}", log_of(&config));
    }
    run_to_end(&config);
    assert_same(&service.told(), &fleet.replayed);
}

#[test]
fn copies_that_join_and_die_share_the_work() {
    let Some(broker) = broker::shared() else { return };
    for copies in 1..=3 {
        let fleet = Fleet::new("winlogbeat", 40 + copies);
        let service = Service::new(broker, fleet.folder.path(), 6);
        broker.produce(&service.input, 6, &fleet.values);
        let configs: Vec<PathBuf> =
            (0..copies).map(|copy| service.config(&format!("c{copy}"), broker.plain, "")).collect();
        let mut children: Vec<Running> =
            configs.iter().map(|config| start(config, &["--until-end"], &[])).collect();
        if copies > 1 {
            // One dies in the middle of it, and another takes its place.
            wait(&mut children[0], Duration::from_millis(1_500));
            let _ = children[0].kill();
            children[0].wait().expect("ends");
            children[0] = start(&configs[0], &["--until-end"], &[]);
        }
        for child in &mut children {
            let status = wait(child, PATIENCE);
            let logs: Vec<String> = configs.iter().map(|config| log_of(config)).collect();
            assert!(status.is_some_and(|s| s.success()), "{status:?}\n{}", logs.join("\n---\n"));
        }
        assert_same(&service.told(), &fleet.replayed);
    }
}

/// Starts the service live, and waits until it has told something.
pub fn start_live(service: &Service<'_>, config: &Path) -> Running {
    let child = start(config, &[], &[]);
    await_told(service, config, |told| !told.is_empty());
    child
}

fn await_told(service: &Service<'_>, config: &Path, enough: impl Fn(&[Record]) -> bool) {
    await_records(service.broker, &service.output, config, enough);
}

fn await_records(broker: &Broker, topic: &str, config: &Path, enough: impl Fn(&[Record]) -> bool) {
    let start = Instant::now();
    while !enough(&broker.consume(topic)) {
        assert!(start.elapsed() < PATIENCE, "nothing more was told\n{}", log_of(config));
        std::thread::sleep(Duration::from_millis(100));
    }
}

pub fn await_log(config: &Path, what: &str) {
    let began = Instant::now();
    while !log_of(config).contains(what) {
        assert!(began.elapsed() < PATIENCE, "`{what}` is not said:\n{}", log_of(config));
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub fn signal(signal: &str, child: &Child) {
    let sent = Command::new("kill").arg(signal).arg(child.id().to_string()).status();
    assert!(sent.expect("kill").success());
}

pub fn terminate(child: &mut Child) -> Option<std::process::ExitStatus> {
    signal("-TERM", child);
    wait(child, PATIENCE)
}

#[test]
fn the_brokers_restart_and_hang_while_the_service_runs() {
    let Some(broker) = broker::own(None) else { return };
    let fleet = Fleet::new("winlogbeat", 11);
    let service = Service::new(&broker, fleet.folder.path(), 3);
    let config = service.config("a", broker.plain, "");
    let piece = |at: usize| fleet.values.len() * at / 3;
    broker.produce(&service.input, 3, &fleet.values[..piece(1)]);
    let mut child = start_live(&service, &config);
    broker.restart();
    broker.produce(&service.input, 3, &fleet.values[piece(1)..piece(2)]);
    broker.hang();
    wait(&mut child, Duration::from_secs(4));
    broker.wake();
    broker.produce(&service.input, 3, &fleet.values[piece(2)..]);
    wait(&mut child, Duration::from_secs(2));
    // It may have given up by itself; then a supervisor would start it again.
    if child.try_wait().expect("a child").is_none() {
        let status = terminate(&mut child);
        assert!(status.is_some_and(|status| status.success()), "{}", log_of(&config));
    }
    run_to_end(&config);
    assert_same(&service.told(), &fleet.replayed);
}

#[test]
fn the_network_to_the_brokers_is_cut_for_a_while() {
    let (proxy, listener) = broker::Proxy::listen();
    let Some(broker) = broker::own(Some(proxy.port)) else { return };
    proxy.forward(listener, broker.proxied);
    let fleet = Fleet::new("winlogbeat", 12);
    let service = Service::new(&broker, fleet.folder.path(), 3);
    let config = service.config("a", proxy.port, "");
    let half = fleet.values.len() / 2;
    broker.produce(&service.input, 3, &fleet.values[..half]);
    let mut child = start_live(&service, &config);
    proxy.cut();
    broker.produce(&service.input, 3, &fleet.values[half..]);
    wait(&mut child, Duration::from_secs(4));
    proxy.restore();
    wait(&mut child, Duration::from_secs(3));
    if child.try_wait().expect("a child").is_none() {
        let status = terminate(&mut child);
        assert!(status.is_some_and(|status| status.success()), "{}", log_of(&config));
    }
    run_to_end(&config);
    assert_same(&service.told(), &fleet.replayed);
}

#[test]
fn a_copy_that_was_given_up_for_dead_is_fenced_and_says_so() {
    let Some(broker) = broker::shared() else { return };
    let fleet = Fleet::new("winlogbeat", 13);
    let service = Service::new(broker, fleet.folder.path(), 1);
    let (old, new) =
        (service.config("old", broker.plain, ""), service.config("new", broker.plain, ""));
    let half = fleet.values.len() / 2;
    broker.produce(&service.input, 1, &fleet.values[..half]);
    let mut paused = start_live(&service, &old);
    signal("-STOP", &paused);
    // The group gives it up after its session's time.
    broker.produce(&service.input, 1, &fleet.values[half..]);
    run_to_end(&new);
    let told = service.told();
    assert_same(&told, &fleet.replayed);
    signal("-CONT", &paused);
    // Something more to commit, so that it tries.
    broker.produce(&service.input, 1, &fleet.values[..1]);
    wait(&mut paused, Duration::from_secs(5));
    if paused.try_wait().expect("a child").is_none() {
        terminate(&mut paused);
    }
    assert_eq!(service.told().len(), told.len(), "it committed nothing more\n{}", log_of(&old));
    let log = log_of(&old);
    assert!(
        log.contains("took over") || log.contains("paused: the consumer group has taken"),
        "it says so:\n{log}"
    );
}

#[test]
fn what_cannot_be_decoded_goes_to_dead_letters_and_stops_nothing() {
    let Some(broker) = broker::shared() else { return };
    let fleet = Fleet::new("winlogbeat", 14);
    let service = Service::new(broker, fleet.folder.path(), 2);
    let config = service.config("a", broker.plain, "");
    let mut values = fleet.values.clone();
    let framed = [&[0, 0, 0, 0, 9][..], &values[5]].concat();
    values[5] = framed;
    values.insert(10, b"{\"winlog\": {\"event_id\": \"4625\", \"torn".to_vec());
    values.insert(11, b"no event at all \xff".to_vec());
    values.insert(12, Vec::new());
    broker.produce(&service.input, 2, &values);
    run_to_end(&config);
    assert_same(&service.told(), &fleet.replayed);
    let (records, _, _) = crate::ways::check_account(&log_of(&config));
    assert_eq!(records, fleet.values.len() as u64, "all but the two that are rejected");
    let letters = broker.consume(&format!("{}-dead-letters", service.output));
    let letters: Vec<Value> =
        letters.iter().map(|letter| serde_json::from_str(&letter.value).expect("JSON")).collect();
    assert_eq!(letters.len(), 2, "{letters:?}");
    let of_reason = |reason: &str| {
        let letter = letters.iter().find(|letter| letter["reason"] == reason);
        letter.unwrap_or_else(|| panic!("no letter for {reason}: {letters:?}"))
    };
    let torn = of_reason("json_malformed");
    let origin = torn["origin"].as_str().expect("an origin");
    assert!(origin.contains(&format!("{}/0 offset 5", service.input)), "{origin}");
    assert!(torn["text"].as_str().expect("text").ends_with("torn"));
    assert!(of_reason("line_not_an_event")["base64"].is_string());
}

#[test]
fn clones_that_turn_out_to_be_none_are_withdrawn_on_the_topic() {
    let Some(broker) = broker::shared() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let service = Service::new(broker, folder.path(), 1);
    let config = service.config("a", broker.plain, "");
    let produce = |event: Value| {
        broker.produce(&service.input, 1, &[event.to_string().into_bytes()]);
    };
    let (old, new) = ("LAB-07.corp.example", "PC-FIN-011.corp.example");
    produce(own("07:00:00", old, 1, IMAGE));
    produce(own("09:00:00", new, 1, IMAGE));
    let mut child = start_live(&service, &config);
    produce(renamed("08:00:00", new, 9, "LAB-07", "PC-FIN-011"));
    await_told(&service, &config, |told| told.len() > 1);
    assert!(terminate(&mut child).expect("it ends").success(), "{}", log_of(&config));
    run_to_end(&config);
    let told = service.told();
    assert!(last_revisions(&told).is_empty(), "{told:#?}");
    let [first, last] = &told[..] else { panic!("two revisions: {told:#?}") };
    let state = |record: &Record| -> Value {
        serde_json::from_str::<Value>(&record.value).expect("JSON")["state"].clone()
    };
    assert_eq!((state(first), state(last)), ("latent".into(), "remedied".into()));
    assert_eq!(first.key, last.key);
}

#[test]
fn a_copy_that_does_not_judge_reads_its_inventory_anew_too() {
    let Some(broker) = broker::shared() else { return };
    let fleet = Fleet::new("winlogbeat", 16);
    let service = Service::new(broker, fleet.folder.path(), 2);
    let inventory = fleet.folder.path().join("hosts.csv");
    fs::write(&inventory, "host,machine_sid\nINV-1,\n").expect("written");
    let more = "status_ms = 100\ninventory = \"hosts.csv\"\n";
    let [first, second] = ["a", "b"].map(|name| service.config(name, broker.plain, more));
    broker.produce(&service.input, 2, &fleet.values);
    let mut judges = start_live(&service, &first);
    let mut waits = start(&second, &[], &[]);
    await_log(&second, "working");
    let twins = format!("host,machine_sid\nINV-1,{IMAGE}\nINV-2,{IMAGE}\n");
    fs::write(&inventory, twins).expect("written");
    signal("-HUP", &waits);
    await_log(&second, "read anew");
    let is_of_inventory =
        |record: &Record| record.headers.get("ce_subject").is_some_and(|subject| subject == IMAGE);
    assert!(!service.told().iter().any(is_of_inventory), "it does not judge");
    assert!(terminate(&mut judges).expect("it ends").success(), "{}", log_of(&first));
    await_told(&service, &second, |told| told.iter().any(is_of_inventory));
    assert!(terminate(&mut waits).expect("it ends").success(), "{}", log_of(&second));
}

#[test]
fn a_second_start_goes_on_where_the_first_ended() {
    let Some(broker) = broker::shared() else { return };
    let fleet = Fleet::new("winlogbeat", 15);
    let service = Service::new(broker, fleet.folder.path(), 2);
    let config = service.config("a", broker.plain, "");
    let half = fleet.values.len() / 2;
    broker.produce(&service.input, 2, &fleet.values[..half]);
    let mut child = start_live(&service, &config);
    let status = terminate(&mut child).expect("it ends");
    assert!(status.success(), "{}", log_of(&config));
    broker.produce(&service.input, 2, &fleet.values[half..]);
    run_to_end(&config);
    assert_same(&service.told(), &fleet.replayed);
    // Nothing has changed: nothing is told.
    let told = service.told().len();
    run_to_end(&config);
    assert_eq!(service.told().len(), told);
}

/// What a failed start says.
#[track_caller]
pub fn check_refused(config: &Path, code: i32, says: &[&str]) {
    let _ = fs::remove_file(config.with_extension("log"));
    let mut child = start(config, &["--until-end"], &[]);
    let status = wait(&mut child, Duration::from_secs(40));
    let log = log_of(config);
    assert_eq!(status.and_then(|status| status.code()), Some(code), "{log}");
    for word in says {
        assert!(log.contains(word), "`{word}` is not said:\n{log}");
    }
}

#[test]
fn a_start_that_must_fail_says_what_to_do() {
    let Some(broker) = broker::shared() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let service = Service::new(broker, folder.path(), 1);
    let config = service.config("a", broker.plain, "");
    let text = fs::read_to_string(&config).expect("a file");
    let put = |name: &str, text: String| {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("written");
        path
    };
    let missing = put("missing.toml", text.replace(&service.input, "not-there"));
    check_refused(&missing, 1, &["topic `not-there` does not exist", "hint:"]);
    let closed = broker::free_port();
    let nobody = put("nobody.toml", text.replace(&broker.plain.to_string(), &closed.to_string()));
    check_refused(&nobody, 1, &["no broker answers", &closed.to_string(), "hint:"]);
    let refused = put(
        "refused.toml",
        text.replace("[sink]", "options = { \"enable.auto.commit\" = true }\n[sink]"),
    );
    check_refused(&refused, 2, &["would break exactly-once delivery", "refused.toml:"]);
    let unknown =
        put("unknown.toml", text.replace("[sink]", "options = { \"no.such.option\" = 1 }\n[sink]"));
    check_refused(&unknown, 1, &["no.such.option", "CONFIGURATION.md"]);
    // A changelog that another program wrote.
    let client = broker.cluster();
    let producer: rdkafka::producer::ThreadedProducer<twinsid::brokers::Reports> =
        client.client(&Vec::new()).expect("a producer");
    let changelog = format!("{}-changelog", service.output);
    broker.create_topic(&changelog, 1);
    let value = [&0_u64.to_le_bytes()[..], &1_u32.to_le_bytes(), &99_u32.to_le_bytes(), b"x"];
    let value = value.concat();
    let record = rdkafka::producer::BaseRecord::<str, [u8]>::to(&changelog).key("1/0");
    assert!(producer.send(record.payload(&value)).is_ok(), "queued");
    rdkafka::producer::Producer::flush(&producer, Duration::from_secs(10)).expect("delivered");
    check_refused(&config, 1, &["format 99", "changelog topic", "hint:"]);
}

#[test]
fn tls_and_sasl_work_and_what_is_wrong_is_told_within_seconds() {
    let Some(broker) = broker::shared() else { return };
    let file = |name: &str| broker.file(name).display().to_string();
    let (ca, other) = (file("ca.pem"), file("other.pem"));
    let connect = |port: u16, options: &[(&str, &str)]| {
        broker::cluster(port, options).connect().map(drop).map_err(|error| error.to_string())
    };
    let tls = [("security.protocol", "SSL"), ("ssl.ca.location", &ca)];
    assert_eq!(connect(broker.tls, &tls), Ok(()));
    let foreign = [("security.protocol", "SSL"), ("ssl.ca.location", &other)];
    let error = connect(broker.tls, &foreign).expect_err("another authority");
    assert!(error.contains("certificate") && error.contains("ssl.ca.location"), "{error}");
    // The broker wants a certificate, of its own authority.
    let error = connect(broker.mutual_tls, &tls).expect_err("no certificate");
    assert!(error.contains("hint:"), "{error}");
    for (name, is_right) in [("client", true), ("stranger", false)] {
        let (certificate, key) = (file(&format!("{name}.pem")), file(&format!("{name}.key")));
        let own = [("ssl.certificate.location", &*certificate), ("ssl.key.location", &*key)];
        let options = [&tls[..], &own].concat();
        assert_eq!(connect(broker.mutual_tls, &options).is_ok(), is_right, "{name}");
    }
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        for (password, is_right) in [("right", true), ("wrong", false)] {
            let options = [
                ("security.protocol", "SASL_SSL"),
                ("ssl.ca.location", &ca),
                ("sasl.mechanism", mechanism),
                ("sasl.username", "anna"),
                ("sasl.password", password),
            ];
            let connected = connect(broker.sasl, &options);
            assert_eq!(connected.is_ok(), is_right, "{mechanism}: {connected:?}");
            if let Err(error) = connected {
                assert!(
                    error.contains("refuse the login") && error.contains("password"),
                    "{error}"
                );
            }
        }
    }
    // An unsecured token, as the broker's test handler takes it.
    let token = broker.file("token");
    let encode = |text: &str| {
        const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let mut out = String::new();
        for chunk in text.as_bytes().chunks(3) {
            let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte))
                << (8 * (3 - chunk.len()));
            for at in 0..=chunk.len() {
                out.push(LETTERS[(bits >> (18 - 6 * at) & 63) as usize] as char);
            }
        }
        out
    };
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("now");
    let claims = format!(
        "{{\"sub\":\"anna\",\"iat\":{},\"exp\":{}}}",
        now.as_secs() - 10,
        now.as_secs() + 3600
    );
    fs::write(&token, format!("{}.{}.", encode("{\"alg\":\"none\"}"), encode(&claims)))
        .expect("written");
    let mut cluster = broker::cluster(
        broker.sasl,
        &[
            ("security.protocol", "SASL_SSL"),
            ("ssl.ca.location", &ca),
            ("sasl.mechanism", "OAUTHBEARER"),
        ],
    );
    cluster.oauth_token_file = Some(token);
    assert!(cluster.connect().is_ok(), "a token is taken");
}

/// The same with files in between: logs that grow, a file that is written.
pub struct Local {
    folder: tempfile::TempDir,
    logs: PathBuf,
    replayed: Vec<Value>,
}

impl Local {
    /// The EVTX logs of a small fleet stand aside in `made` until they are let in.
    pub fn new(seed: u64) -> Local {
        let folder = tempfile::tempdir().expect("a folder");
        let made = folder.path().join("made");
        let done = twinsid()
            .args(["simulate", "--hosts", "12", "--groups", "2", "--hours", "3", "--form", "evtx"])
            .args(["--seed", &seed.to_string(), "-o"])
            .arg(&made)
            .output();
        assert!(done.expect("runs").status.success());
        let replayed = folder.path().join("replayed.jsonl");
        let done = twinsid().args(["replay", "-q", "-o"]).arg(&replayed).arg(&made).output();
        assert!(done.expect("runs").status.success());
        let text = fs::read_to_string(&replayed).expect("incidents");
        let replayed = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let logs = folder.path().join("logs");
        fs::create_dir(&logs).expect("made");
        Local { logs, replayed, folder }
    }

    /// Lets in the first `part` of `parts` of every log, as a writer would that
    /// appends chunk by chunk.
    pub fn grow(&self, part: usize, parts: usize) {
        for path in evtx_below(&self.folder.path().join("made")) {
            let bytes = fs::read(&path).expect("a log");
            let chunks = (bytes.len() - 4096).div_ceil(65_536);
            let end = 4096 + (chunks * part).div_ceil(parts) * 65_536;
            let name: Vec<String> = path
                .strip_prefix(self.folder.path())
                .expect("below")
                .components()
                .map(|part| part.as_os_str().to_string_lossy().into_owned())
                .collect();
            let to = self.logs.join(name.join("-"));
            let known = fs::metadata(&to).map_or(0, |known| known.len() as usize);
            let mut file = fs::File::options().create(true).append(true).open(&to).expect("a log");
            let end = end.min(bytes.len());
            std::io::Write::write_all(&mut file, &bytes[known.min(end)..end]).expect("written");
        }
    }

    pub fn config(&self, sink: &str) -> PathBuf {
        let path = self.folder.path().join("local.toml");
        let text = format!(
            "[[source]]\nkind = \"evtx\"\npaths = [\"{logs}\"]\npoll_ms = 50\n{sink}\n\
             [state]\ndir = \"state\"\n[service]\nlinger_ms = 30\n",
            logs = self.logs.display(),
        );
        fs::write(&path, text).expect("written");
        path
    }
}

fn topic_sink(port: u16, topic: &str) -> String {
    format!("[sink]\nkind = \"kafka\"\nbrokers = \"127.0.0.1:{port}\"\ntopic = \"{topic}\"\n")
}

fn evtx_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(evtx_below(&path));
        } else if path.extension().is_some_and(|extension| extension == "evtx") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Lines of a file as records, in the order in which they were written.
fn lines_of(path: &Path) -> Vec<Record> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let record = |line: &str| {
        let incident: Value = serde_json::from_str(line).expect("whole lines");
        Record {
            key: incident["id"].as_str().expect("an id").to_owned(),
            value: line.to_owned(),
            headers: BTreeMap::new(),
            time_ms: 0,
        }
    };
    text.lines().map(record).collect()
}

/// Kills a service again and again while its logs grow; then lets it end.
fn kill_while_logs_grow(local: &Local, config: &Path, rounds: usize, seed: u64) {
    let mut chance = Chance(seed);
    for round in 0..rounds {
        local.grow((round + 1).min(rounds / 2), rounds / 2);
        let arguments: &[&str] =
            if round > rounds / 2 && chance.below(2) == 0 { &["--until-end"] } else { &[] };
        let mut child = start(config, arguments, &[]);
        wait(&mut child, Duration::from_millis(50 + chance.below(900)));
        let _ = child.kill();
        child.wait().expect("ends");
    }
    run_to_end(config);
}

#[test]
fn logs_that_grow_end_in_a_file_exactly_once_whatever_is_killed() {
    let local = Local::new(21);
    let config = local.config("[sink]\nkind = \"file\"\npath = \"incidents.jsonl\"");
    kill_while_logs_grow(&local, &config, 20, 5);
    assert_same(&lines_of(&local.folder.path().join("incidents.jsonl")), &local.replayed);
}

#[test]
fn a_full_disk_ends_it_with_the_reason_and_nothing_is_lost_or_told_twice() {
    let local = Local::new(26);
    let config = local.config("[sink]\nkind = \"file\"\npath = \"incidents.jsonl\"");
    // No file may grow beyond some KiB, as on a disk that has no more room: at
    // first not even the state's.
    for (round, kib) in [1, 4, 8, 16].into_iter().enumerate() {
        local.grow(round + 1, 4);
        let limited = format!("trap '' XFSZ; ulimit -f {kib}; exec \"$0\" run -c \"$1\"");
        let child = Command::new("bash")
            .args(["-c", &limited, env!("CARGO_BIN_EXE_twinsid")])
            .arg(&config)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = Running(child.expect("bash"));
        let status = wait(&mut child, PATIENCE);
        let mut said = String::new();
        let mut errors = child.stderr.take().expect("piped");
        std::io::Read::read_to_string(&mut errors, &mut said).expect("text");
        assert_eq!(status.and_then(|status| status.code()), Some(1), "{kib} KiB: {said}");
        assert!(said.contains("hint: make room"), "{kib} KiB: {said}");
    }
    run_to_end(&config);
    assert_same(&lines_of(&local.folder.path().join("incidents.jsonl")), &local.replayed);
}

#[test]
fn logs_that_grow_end_in_a_topic_exactly_once_whatever_is_killed() {
    let Some(broker) = broker::shared() else { return };
    let local = Local::new(22);
    let output = unique("incidents");
    let config = local.config(&topic_sink(broker.plain, &output));
    kill_while_logs_grow(&local, &config, 12, 6);
    assert_same(&broker.consume(&output), &local.replayed);
}

/// A service from logs into a topic, on brokers that fail while the logs grow: it
/// goes on by itself. What a commit may take is short, so that some fail.
#[track_caller]
fn check_brokers_that_fail(seed: u64, port: u16, broker: &Broker, strikes: &[&dyn Fn()]) {
    let local = Local::new(seed);
    let output = unique("incidents");
    let soon = "[sink.options]\n\"message.timeout.ms\" = 1200\n\"socket.timeout.ms\" = 2000\n";
    let config = local.config(&(topic_sink(port, &output) + soon));
    local.grow(1, strikes.len() + 1);
    let mut child = start(&config, &[], &[]);
    await_records(broker, &output, &config, |told| !told.is_empty());
    for (number, strike) in strikes.iter().enumerate() {
        local.grow(number + 2, strikes.len() + 1);
        strike();
    }
    assert_eq!(child.try_wait().expect("a child"), None, "it goes on: {}", log_of(&config));
    assert!(log_of(&config).contains("tried again"), "commits failed: {}", log_of(&config));
    // Each try that was done ends some that failed.
    let began = Instant::now();
    loop {
        let log = log_of(&config);
        let last = |what: &str| log.rfind(what);
        if last("the commit that failed is done") > last("tried again") {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "it is done: {log}");
        std::thread::sleep(Duration::from_millis(100));
    }
    let status = terminate(&mut child);
    assert!(status.is_some_and(|status| status.success()), "{}", log_of(&config));
    run_to_end(&config);
    assert_same(&broker.consume(&output), &local.replayed);
}

#[test]
fn logs_end_in_a_topic_although_the_brokers_restart_and_hang() {
    let Some(broker) = broker::own(None) else { return };
    let hang = || {
        broker.hang();
        std::thread::sleep(Duration::from_secs(4));
        broker.wake();
    };
    check_brokers_that_fail(31, broker.plain, &broker, &[&|| broker.restart(), &hang, &hang]);
}

#[test]
fn logs_end_in_a_topic_although_the_network_is_cut() {
    let (proxy, listener) = broker::Proxy::listen();
    let Some(broker) = broker::own(Some(proxy.port)) else { return };
    proxy.forward(listener, broker.proxied);
    let cut = || {
        proxy.cut();
        std::thread::sleep(Duration::from_secs(4));
        proxy.restore();
        std::thread::sleep(Duration::from_secs(1));
    };
    check_brokers_that_fail(32, proxy.port, &broker, &[&cut, &cut]);
}

#[test]
fn a_commit_whose_answer_is_lost_is_done_once() {
    let Some(broker) = broker::shared() else { return };
    let local = Local::new(33);
    let output = unique("incidents");
    let config = local.config(&topic_sink(broker.plain, &output));
    // The first is a snapshot, the last that of a run to the end.
    let steps = ["detector committed:1", "detector sent:1"].repeat(3);
    for (number, step) in steps.iter().enumerate() {
        local.grow(number + 1, steps.len());
        let _ = fs::remove_file(config.with_extension("log"));
        let at_end: &[&str] = if number + 1 == steps.len() { &["--until-end"] } else { &[] };
        let mut child = start(&config, at_end, &[("TWINSID_FAIL_AT", step)]);
        await_log(&config, &format!("done={}", step.contains("committed")));
        let status = match at_end {
            [] => terminate(&mut child),
            _ => wait(&mut child, PATIENCE),
        };
        assert!(status.is_some_and(|status| status.success()), "{step}\n{}", log_of(&config));
    }
    run_to_end(&config);
    assert_same(&broker.consume(&output), &local.replayed);
}

#[test]
fn a_copy_that_tries_again_after_another_took_over_is_fenced() {
    let Some(broker) = broker::shared() else { return };
    let local = Local::new(34);
    let output = unique("incidents");
    let config = local.config(&topic_sink(broker.plain, &output));
    local.grow(1, 2);
    let mut paused = start(&config, &[], &[("TWINSID_FAIL_AT", "detector committed:1")]);
    await_log(&config, "tried again");
    signal("-STOP", &paused);
    local.grow(2, 2);
    let other = local.folder.path().join("other.toml");
    fs::copy(&config, &other).expect("copied");
    let told = broker.consume(&output).len();
    let mut took_over = start(&other, &[], &[]);
    await_records(broker, &output, &other, |now| now.len() > told);
    signal("-CONT", &paused);
    let status = wait(&mut paused, PATIENCE);
    let log = log_of(&config);
    assert_eq!(status.and_then(|status| status.code()), Some(5), "{log}");
    assert!(log.contains("another copy took over"), "{log}");
    // The other goes on as if nothing had been.
    let status = terminate(&mut took_over);
    assert!(status.is_some_and(|status| status.success()), "{}", log_of(&other));
    run_to_end(&other);
    assert_same(&broker.consume(&output), &local.replayed);
}

#[test]
fn topics_end_in_a_file_exactly_once_whatever_is_killed() {
    let Some(broker) = broker::shared() else { return };
    let fleet = Fleet::new("winlogbeat", 23);
    let service = Service::new(broker, fleet.folder.path(), 3);
    broker.produce(&service.input, 3, &fleet.values);
    let config = fleet.folder.path().join("file.toml");
    let text = format!(
        "[[source]]\nkind = \"kafka\"\nbrokers = \"127.0.0.1:{}\"\ntopics = [\"{}\"]\ngroup = \"g\"\n\
         [sink]\nkind = \"file\"\npath = \"out.jsonl\"\n[state]\ndir = \"state\"\n\
         [service]\nlinger_ms = 10\n",
        broker.plain, service.input
    );
    fs::write(&config, text).expect("written");
    let mut chance = Chance(9);
    for _ in 0..6 {
        let mut child = start(&config, &[], &[]);
        wait(&mut child, Duration::from_millis(300 + chance.below(1_500)));
        let _ = child.kill();
        child.wait().expect("ends");
    }
    run_to_end(&config);
    assert_same(&lines_of(&fleet.folder.path().join("out.jsonl")), &fleet.replayed);
}

#[test]
fn what_comes_over_sockets_and_standard_input_is_told() {
    let fleet = Fleet::new("nxlog", 24);
    let folder = fleet.folder.path();
    let port = broker::free_port();
    let config = folder.join("sockets.toml");
    let text = format!(
        "[[source]]\nkind = \"tcp\"\nlisten = \"127.0.0.1:{port}\"\n\
         [[source]]\nkind = \"unix\"\npath = \"events.sock\"\n[[source]]\nkind = \"stdin\"\n\
         [sink]\nkind = \"file\"\npath = \"out.jsonl\"\ndead_letters = \"dead.jsonl\"\n\
         [state]\ndir = \"state\"\n[service]\nlinger_ms = 30\n"
    );
    fs::write(&config, text).expect("written");
    let log = fs::File::create(config.with_extension("log")).expect("a log");
    let child =
        twinsid().args(["run", "-c"]).arg(&config).stderr(log).stdin(Stdio::piped()).spawn();
    let mut child = Running(child.expect("runs"));
    let third = fleet.values.len() / 3;
    let text = |values: &[Vec<u8>]| [values.join(&b'\n'), b"\n".to_vec()].concat();
    let began = Instant::now();
    let mut tcp = loop {
        match std::net::TcpStream::connect(("127.0.0.1", port)) {
            Ok(stream) => break stream,
            Err(error) => assert!(began.elapsed() < PATIENCE, "{error}\n{}", log_of(&config)),
        }
    };
    let mut unix = loop {
        match std::os::unix::net::UnixStream::connect(folder.join("events.sock")) {
            Ok(stream) => break stream,
            Err(error) => assert!(began.elapsed() < PATIENCE, "{error}\n{}", log_of(&config)),
        }
    };
    let mut stdin = child.stdin.take().expect("piped");
    use std::io::Write;
    tcp.write_all(&text(&fleet.values[..third])).expect("sent");
    tcp.write_all(b"what is this\n").expect("sent");
    unix.write_all(&text(&fleet.values[third..2 * third])).expect("sent");
    stdin.write_all(&text(&fleet.values[2 * third..])).expect("sent");
    drop((tcp, unix, stdin));
    let records = |told: &[Record]| last_revisions(told).len();
    let out = folder.join("out.jsonl");
    let began = Instant::now();
    while records(&lines_of_whole(&out)) < fleet.replayed.len() {
        assert!(
            began.elapsed() < PATIENCE,
            "{} told\n{}",
            records(&lines_of_whole(&out)),
            log_of(&config)
        );
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(terminate(&mut child).expect("it ends").success(), "{}", log_of(&config));
    let told = last_revisions(&lines_of(&out));
    let ids: BTreeSet<&str> =
        fleet.replayed.iter().map(|i| i["id"].as_str().expect("an id")).collect();
    assert_eq!(told.keys().map(String::as_str).collect::<BTreeSet<_>>(), ids);
    let dead = fs::read_to_string(folder.join("dead.jsonl")).expect("dead letters");
    assert!(dead.lines().count() == 1 && dead.contains("what is this"), "{dead}");
}

/// The last line may be half written.
fn lines_of_whole(path: &Path) -> Vec<Record> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let end = text.rfind('\n').map_or(0, |at| at + 1);
    let whole = path.with_extension("whole");
    fs::write(&whole, &text[..end]).expect("written");
    lines_of(&whole)
}

#[test]
fn an_inventory_is_read_anew_on_a_signal_and_a_wrong_one_is_not_taken() {
    let local = Local::new(25);
    local.grow(1, 1);
    let inventory = local.folder.path().join("hosts.csv");
    fs::write(&inventory, "host,owner\nPC-1,anna\n").expect("written");
    let config = local.config("[sink]\nkind = \"file\"\npath = \"incidents.jsonl\"");
    let text = fs::read_to_string(&config).expect("a file");
    fs::write(&config, text + "inventory = \"hosts.csv\"\n").expect("written");
    let mut child = start(&config, &[], &[]);
    let out = local.folder.path().join("incidents.jsonl");
    let began = Instant::now();
    while lines_of_whole(&out).is_empty() {
        assert!(began.elapsed() < PATIENCE, "{}", log_of(&config));
        std::thread::sleep(Duration::from_millis(50));
    }
    signal("-HUP", &child);
    await_log(&config, "read anew");
    fs::write(&inventory, "nothing of use\n1\n").expect("written");
    signal("-HUP", &child);
    await_log(&config, "stay as they were");
    assert!(terminate(&mut child).expect("it ends").success(), "{}", log_of(&config));
    fs::write(&inventory, "host,owner\nPC-1,anna\n").expect("written");
    run_to_end(&config);
}

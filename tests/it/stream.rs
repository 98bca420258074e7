//! `twinsid run` with a real broker: what comes out equals replay, whatever is
//! killed when.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::broker::{self, Broker, Record, unique};

/// How long a run to the end may take.
const PATIENCE: Duration = Duration::from_secs(120);

fn twinsid() -> Command {
    Command::new(env!("CARGO_BIN_EXE_twinsid"))
}

/// A small fleet in some form: its events, a value each, and what replay says
/// of them.
struct Fleet {
    folder: tempfile::TempDir,
    values: Vec<Vec<u8>>,
    replayed: Vec<Value>,
}

impl Fleet {
    fn new(form: &str, seed: u64) -> Fleet {
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
struct Service<'b> {
    broker: &'b Broker,
    input: String,
    output: String,
    folder: PathBuf,
}

impl<'b> Service<'b> {
    fn new(broker: &'b Broker, folder: &Path, partitions: i32) -> Service<'b> {
        let input = unique("events");
        broker.create_topic(&input, partitions);
        let output = unique("incidents");
        Service { broker, input, output, folder: folder.to_owned() }
    }

    /// A configuration for the copy `instance`; `more` goes to the end.
    fn config(&self, instance: &str, port: u16, more: &str) -> PathBuf {
        let path = self.folder.join(format!("{instance}.toml"));
        let text = format!(
            "[[source]]\nkind = \"kafka\"\nbrokers = \"127.0.0.1:{port}\"\ntopics = [\"{input}\"]\n\
             group = \"group-{input}\"\ninstance = \"{instance}\"\n\
             [sink]\nkind = \"kafka\"\nbrokers = \"127.0.0.1:{port}\"\ntopic = \"{output}\"\n\
             [service]\ngather_ms = 30\n{more}",
            input = self.input,
            output = self.output,
        );
        fs::write(&path, text).expect("written");
        path
    }

    fn told(&self) -> Vec<Record> {
        self.broker.consume(&self.output)
    }
}

fn start(config: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Child {
    let log = fs::File::options()
        .create(true)
        .append(true)
        .open(config.with_extension("log"))
        .expect("a log");
    twinsid()
        .args(["run", "-c"])
        .arg(config)
        .args(arguments)
        .envs(environment.iter().copied())
        .stdout(log.try_clone().expect("a log"))
        .stderr(log)
        .stdin(Stdio::null())
        .spawn()
        .expect("runs")
}

fn log_of(config: &Path) -> String {
    fs::read_to_string(config.with_extension("log")).unwrap_or_default()
}

/// Waits for the end; `None` when it takes longer than `patience`.
fn wait(child: &mut Child, patience: Duration) -> Option<std::process::ExitStatus> {
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
fn run_to_end(config: &Path) {
    let mut child = start(config, &["--until-end"], &[]);
    let status = wait(&mut child, PATIENCE);
    if status.is_none() {
        let _ = child.kill();
    }
    assert!(status.is_some_and(|status| status.success()), "{status:?}\n{}", log_of(config));
}

/// What a reader has who takes the records in order; and no revision twice, none
/// after a later one.
fn last_revisions(records: &[Record]) -> BTreeMap<String, Value> {
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
        last.insert(id, incident);
    }
    last.retain(|id, _| !superseded.contains(id));
    last
}

/// The same incidents as replay's, but for how often they were told before.
#[track_caller]
fn assert_same(told: &[Record], replayed: &[Value]) {
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
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
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
        let mut children: Vec<Child> =
            configs.iter().map(|config| start(config, &["--until-end"], &[])).collect();
        if copies > 1 {
            // One dies in the middle of it, and another takes its place.
            wait(&mut children[0], Duration::from_millis(1_500));
            let _ = children[0].kill();
            children[0].wait().expect("ends");
            children.push(start(&configs[0], &["--until-end"], &[]));
            children.remove(0);
        }
        for child in &mut children {
            let status = wait(child, PATIENCE);
            if status.is_none() {
                let _ = child.kill();
            }
            let logs: Vec<String> = configs.iter().map(|config| log_of(config)).collect();
            assert!(status.is_some_and(|s| s.success()), "{status:?}\n{}", logs.join("\n---\n"));
        }
        assert_same(&service.told(), &fleet.replayed);
    }
}

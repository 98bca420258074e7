//! What an operator is told: how far the service is behind, which brokers are away, who correlates.

use std::path::Path;
use std::time::{Duration, Instant};

use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use serde_json::Value;
use twinsid::brokers::Reports;
use twinsid::position::{Position, Positions, Start};
use twinsid::sink::kafka::transactional;
use twinsid::source::kafka::{KafkaSource, KafkaSpec, Sharing, Until};
use twinsid::source::{Content, Lag, Next, Source};
use twinsid::time::{EventTime, TICKS_PER_SEC};

use crate::broker::{self, Broker, unique};
use crate::stream::{
    Fleet, Local, Service, assert_same, await_log, check_refused, log_of, run_to_end, start,
    start_live, terminate, twinsid,
};

/// How long something may take to be said.
const PATIENCE: Duration = Duration::from_secs(60);

/// Lets the copy join its group under a new name each time.
fn forget_instance(config: &Path) {
    let text = std::fs::read_to_string(config).expect("a configuration");
    std::fs::write(config, text.replace("instance = \"a\"\n", "")).expect("written");
}

/// The lags of the status lines, in their order; `unknown` where one says so.
fn lags(log: &str) -> Vec<String> {
    let of = |line: &str| match line.split_once(" lag=") {
        Some((_, rest)) => Some(rest.split(' ').next()?.to_owned()),
        None => line.contains(" lag_unknown=true").then(|| "unknown".to_owned()),
    };
    log.lines().filter_map(of).collect()
}

/// Waits until the log behind what it says of `mark` has a status line with this lag.
fn await_lag(config: &Path, mark: &str, lag: &str) {
    let began = Instant::now();
    loop {
        let log = log_of(config);
        let behind = log.rfind(mark).map_or("", |at| &log[at..]);
        if lags(behind).iter().any(|of| of == lag) {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "no lag of {lag} behind `{mark}`:\n{log}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn brokers_that_go_and_come_back_are_said_and_a_lone_copy_is_no_standby() {
    let Some(broker) = broker::own(None) else { return };
    let fleet = Fleet::new("winlogbeat", 51);
    let service = Service::new(&broker, fleet.folder.path(), 3);
    let config = service.config("a", broker.plain, "status_ms = 200\n");
    broker.produce(&service.input, 3, &fleet.values);
    let mut child = start_live(&service, &config);
    let active = "active: this copy correlates";
    await_lag(&config, active, "0");
    broker.kill();
    await_log(&config, "broker away");
    await_lag(&config, "broker away", "unknown");
    let log = log_of(&config);
    let away: Vec<&str> = log.lines().filter(|line| line.contains("broker away")).collect();
    let [away] = &away[..] else { panic!("said once for all clients:\n{log}") };
    assert!(away.contains("Connection refused"), "{away}");
    assert!(away.contains(&format!("broker=\"127.0.0.1:{}\"", broker.plain)), "{away}");
    broker.launch();
    await_log(&config, "broker back");
    await_lag(&config, "broker back", "0");
    assert!(terminate(&mut child).is_some_and(|status| status.success()), "{}", log_of(&config));
    let log = log_of(&config);
    assert!(!log.contains("standby"), "no other copy was there:\n{log}");
    assert!(log.contains("away_secs="), "{log}");
}

#[test]
fn brokers_that_hold_their_connections_and_answer_nothing_are_away_too() {
    let Some(broker) = broker::own(None) else { return };
    let fleet = Fleet::new("winlogbeat", 54);
    let service = Service::new(&broker, fleet.folder.path(), 3);
    let config = service.config("a", broker.plain, "status_ms = 200\n");
    // A member that keeps its name may be fenced by its own requests, which the broker held back.
    forget_instance(&config);
    broker.produce(&service.input, 3, &fleet.values);
    let mut child = start_live(&service, &config);
    broker.hang();
    await_log(&config, "broker away: connected, but without an answer");
    broker.wake();
    await_log(&config, "broker back");
    await_lag(&config, "broker back", "0");
    assert!(terminate(&mut child).is_some_and(|status| status.success()), "{}", log_of(&config));
    assert!(!log_of(&config).contains("standby"), "{}", log_of(&config));
}

#[test]
fn a_restart_of_a_service_that_has_read_all_has_no_lag() {
    let Some(broker) = broker::shared() else { return };
    let fleet = Fleet::new("winlogbeat", 52);
    let service = Service::new(broker, fleet.folder.path(), 3);
    let config = service.config("a", broker.plain, "status_ms = 200\n");
    broker.produce(&service.input, 3, &fleet.values);
    let mut child = start_live(&service, &config);
    await_lag(&config, "active: this copy correlates", "0");
    assert!(terminate(&mut child).is_some_and(|status| status.success()), "{}", log_of(&config));
    let before = log_of(&config).len();
    let mut child = start(&config, &[], &[]);
    let began = Instant::now();
    while !lags(&log_of(&config)[before..]).iter().any(|lag| lag == "0") {
        assert!(began.elapsed() < PATIENCE, "{}", log_of(&config));
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(terminate(&mut child).is_some_and(|status| status.success()), "{}", log_of(&config));
    let known: Vec<String> = lags(&log_of(&config)[before..]);
    assert!(known.iter().all(|lag| lag == "0" || lag == "unknown"), "{known:?}");
}

#[test]
fn of_two_copies_one_is_active_and_the_other_standby_until_it_takes_over() {
    let Some(broker) = broker::shared() else { return };
    let fleet = Fleet::new("winlogbeat", 53);
    let service = Service::new(broker, fleet.folder.path(), 2);
    broker.produce(&service.input, 2, &fleet.values);
    let [first, second] = ["a", "b"].map(|name| service.config(name, broker.plain, ""));
    let mut active = start_live(&service, &first);
    let mut standby = start(&second, &[], &[]);
    await_log(&second, "standby: another copy correlates");
    assert!(!log_of(&second).contains("active: "), "{}", log_of(&second));
    assert!(terminate(&mut active).is_some_and(|status| status.success()), "{}", log_of(&first));
    await_log(&second, "active: this copy correlates");
    assert!(terminate(&mut standby).is_some_and(|status| status.success()), "{}", log_of(&second));
}

#[test]
fn a_service_that_would_read_what_it_writes_is_refused_by_whatever_name_it_reaches_the_brokers() {
    let Some(broker) = broker::shared() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let output = unique("incidents");
    broker.create_topic(&output, 1);
    let config = |source: u16, sink: u16| {
        let path = folder.path().join("loop.toml");
        let text = format!(
            "[[source]]\nkind = \"kafka\"\nbrokers = \"127.0.0.1:{source}\"\ntopics = [\"^{output}\"]\n\
             group = \"g\"\n[sink]\nkind = \"kafka\"\nbrokers = \"127.0.0.1:{sink}\"\ntopic = \"{output}\"\n"
        );
        std::fs::write(&path, text).expect("written");
        path
    };
    let plain = config(broker.plain, broker.plain);
    let says = ["would come back as its input", &output, "hint: rename the topics"];
    check_refused(&plain, 2, &says);
    let checked = twinsid().args(["check", "-c"]).arg(&plain).output().expect("runs");
    assert_eq!(checked.status.code(), Some(2), "{checked:?}");
    // Another listener of the same broker.
    let other = config(broker.plain, broker.proxied);
    check_refused(&other, 2, &says);
    let connected = twinsid().args(["check", "--connect", "-c"]).arg(&other).output();
    let connected = connected.expect("runs");
    assert_eq!(connected.status.code(), Some(2), "{connected:?}");
    let said = String::from_utf8_lossy(&connected.stderr);
    assert!(said.contains("would come back as its input"), "{said}");
}

fn spec(broker: &Broker, topic: &str, sharing: Sharing, start: Start) -> KafkaSpec {
    KafkaSpec {
        cluster: broker.cluster(),
        topics: vec![topic.to_owned()],
        group: unique("group"),
        instance: None,
        sharing,
        start,
        until: Until::Stopped,
    }
}

fn source(broker: &Broker, topic: &str, sharing: Sharing) -> KafkaSource {
    KafkaSource::new(spec(broker, topic, sharing, Start::Earliest)).expect("a source")
}

/// Reads until nothing more comes, and waits for this lag.
#[track_caller]
fn check_lag(source: &mut KafkaSource, expect: u64) {
    let began = Instant::now();
    while source.lag() != Lag::Records(expect) {
        let next = source.next(Duration::from_millis(20)).expect("read");
        assert!(began.elapsed() < PATIENCE, "{:?} for {expect}; {next:?}", source.lag());
    }
}

#[test]
fn lag_is_what_is_not_durable_yet_whatever_was_read() {
    let Some(broker) = broker::shared() else { return };
    let topic = unique("events");
    broker.create_topic(&topic, 1);
    broker.produce(&topic, 1, &vec![b"x".to_vec(); 10]);
    let part = format!("{topic}/0");
    let at = |offset| Positions::from([(part.as_str().into(), Position::Offset(offset))]);
    let mut alone = source(broker, &topic, Sharing::Alone);
    alone.resume(&at(4)).expect("resumed");
    check_lag(&mut alone, 6);
    alone.committed(&at(9)).expect("shown");
    check_lag(&mut alone, 1);
    alone.committed(&at(10)).expect("shown");
    check_lag(&mut alone, 0);
    // One that begins anew.
    let mut shared = source(broker, &topic, Sharing::Shared);
    check_lag(&mut shared, 10);
    shared.committed(&at(10)).expect("taken note of");
    check_lag(&mut shared, 0);
}

#[test]
fn the_mark_behind_a_transaction_is_no_lag() {
    let Some(broker) = broker::shared() else { return };
    let topic = unique("events");
    broker.create_topic(&topic, 1);
    let sender: ThreadedProducer<Reports> =
        broker.cluster().client(&transactional(&unique("sender"))).expect("a producer");
    sender.init_transactions(PATIENCE).expect("begun");
    sender.begin_transaction().expect("begun");
    assert!(sender.send(BaseRecord::<[u8], str>::to(&topic).payload("x")).is_ok());
    sender.commit_transaction(PATIENCE).expect("committed");
    let mut alone = source(broker, &topic, Sharing::Alone);
    alone.resume(&Positions::new()).expect("resumed");
    let began = Instant::now();
    let moved = loop {
        if let Next::Batch(batch) = alone.next(Duration::from_millis(20)).expect("read") {
            break batch.moved;
        }
        assert!(began.elapsed() < PATIENCE);
    };
    alone.committed(&moved.into_iter().collect()).expect("shown");
    check_lag(&mut alone, 0);
}

/// The offsets of the next records, as many as `count`, and where the source moved before.
fn offsets(source: &mut KafkaSource, count: usize) -> (Vec<i64>, Positions) {
    let (mut offsets, mut begun, began) = (Vec::new(), Positions::new(), Instant::now());
    while offsets.len() < count {
        assert!(began.elapsed() < PATIENCE, "{offsets:?}");
        let Next::Batch(batch) = source.next(Duration::from_millis(20)).expect("read") else {
            continue;
        };
        match batch.content {
            Content::Messages(messages) => {
                offsets.extend(messages.iter().map(|(offset, _)| offset));
            }
            _ => begun.extend(batch.moved),
        }
    }
    (offsets, begun)
}

#[test]
fn a_source_without_a_position_begins_where_it_is_told_to_and_a_second_start_there_too() {
    let Some(broker) = broker::shared() else { return };
    let now = EventTime::from_unix_nanos(
        jiff::Timestamp::now().as_nanosecond() / 1_000_000_000 * 1_000_000_000,
    )
    .expect("now");
    let at = |secs: u64| now.minus_ticks((100 - secs) * TICKS_PER_SEC);
    for (start, first) in [
        (Start::Earliest, 0),
        (Start::At(at(10)), 1),
        (Start::At(at(11)), 2),
        (Start::At(at(21)), 3),
        (Start::Latest, 3),
    ] {
        let topic = unique("events");
        broker.create_topic(&topic, 1);
        let sender: ThreadedProducer<Reports> =
            broker.cluster().client(&Vec::new()).expect("a producer");
        let send = |secs: u64| {
            let record = BaseRecord::<[u8], str>::to(&topic).payload("x");
            assert!(sender.send(record.timestamp(at(secs).unix_millis())).is_ok());
            sender.flush(PATIENCE).expect("sent");
        };
        [0, 10, 20].into_iter().for_each(send);
        let expect: Vec<i64> = (first..5).collect();
        // A group keeps where it begins.
        let shared = spec(broker, &topic, Sharing::Shared, start);
        KafkaSource::new(shared.clone()).expect("a source").leave();
        // What another kept elsewhere is given back at its second start.
        let alone = spec(broker, &topic, Sharing::Alone, start);
        let mut first_alone = KafkaSource::new(alone.clone()).expect("a source");
        first_alone.resume(&Positions::new()).expect("begun");
        [30, 40].into_iter().for_each(send);
        let (read, begun) = offsets(&mut first_alone, expect.len());
        assert_eq!(read, expect, "{start:?}");
        assert_eq!(begun.is_empty(), start == Start::Earliest);
        let mut second_alone = KafkaSource::new(alone).expect("a source");
        second_alone.resume(&begun).expect("resumed");
        assert_eq!(offsets(&mut second_alone, expect.len()).0, expect, "{start:?}");
        let mut second_shared = KafkaSource::new(shared).expect("a source");
        assert_eq!(offsets(&mut second_shared, expect.len()).0, expect, "{start:?}");
        second_shared.leave();
    }
}

#[test]
fn a_service_that_begins_with_what_comes_tells_nothing_of_what_was() {
    let Some(broker) = broker::shared() else { return };
    let fleet = Fleet::new("winlogbeat", 55);
    let service = Service::new(broker, fleet.folder.path(), 2);
    broker.produce(&service.input, 2, &fleet.values);
    let config = service.config("a", broker.plain, "");
    let text = std::fs::read_to_string(&config).expect("a configuration");
    std::fs::write(&config, text.replace("[sink]", "start = \"latest\"\n[sink]")).expect("written");
    run_to_end(&config);
    assert_eq!(service.told().len(), 0, "{}", log_of(&config));
    broker.produce(&service.input, 2, &fleet.values);
    run_to_end(&config);
    assert_same(&service.told(), &fleet.replayed);
}

/// What `twinsid state` prints with these arguments, and its exit code.
fn state(config: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = twinsid().args(["state", "-c"]).arg(config).args(arguments).output();
    let output = output.expect("runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// The positions of a source, by part.
#[track_caller]
fn positions(config: &Path, source: &str) -> Vec<Value> {
    let (code, out, err) = state(config, &["--json"]);
    assert_eq!(code, Some(0), "{err}");
    let value: Value = serde_json::from_str(&out).expect("one object");
    let all = value["positions"].as_array().expect("a list").clone();
    all.into_iter().filter(|position| position["source"] == source).collect()
}

/// Resets that set all to the end and back to the beginning, and what keeps one from being done.
#[track_caller]
fn check_resets(config: &Path, source: &str, in_use: &str) {
    let sum = |name: &str| -> i64 {
        positions(config, source).iter().map(|of| of[name].as_i64().unwrap_or(0)).sum()
    };
    let end = sum("end");
    assert!(end > 0 && sum("lag") < 10, "all was read: {:?}", positions(config, source));
    let (code, _, err) = state(config, &["reset", "--to", "earliest"]);
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("hint: add `--yes`"), "{err}");
    assert!(sum("offset") > 0, "nothing was changed");
    for (to, offsets) in [("earliest", 0), ("latest", end), ("1990-01-01T00:00:00Z", 0)] {
        let (code, _, err) = state(config, &["reset", "--to", to, "--yes"]);
        assert_eq!(code, Some(0), "{err}");
        assert_eq!(sum("offset"), offsets, "{to}");
    }
    let mut child = start(config, &[], &[]);
    await_log(config, "working");
    let began = Instant::now();
    loop {
        let (code, _, err) = state(config, &["reset", "--to", "latest", "--yes"]);
        if code == Some(1) && err.contains(in_use) && err.contains("hint: stop") {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "it is refused while the service runs: {err}");
    }
    let (code, _, err) = state(config, &[]);
    assert_eq!(code, Some(0), "printing is not: {err}");
    assert!(terminate(&mut child).is_some_and(|status| status.success()), "{}", log_of(config));
}

#[test]
fn the_positions_of_copies_are_printed_and_reset() {
    let Some(broker) = broker::shared() else { return };
    let fleet = Fleet::new("winlogbeat", 56);
    let service = Service::new(broker, fleet.folder.path(), 2);
    let config = service.config("a", broker.plain, "status_ms = 100\n");
    // One that keeps its name stays a member for a while.
    forget_instance(&config);
    let (code, out, err) = state(&config, &[]);
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("committed  nothing yet") && out.contains("none yet"), "{out}");
    broker.produce(&service.input, 2, &fleet.values);
    run_to_end(&config);
    let told = service.told().len();
    let (_, out, _) = state(&config, &[]);
    let topic = format!("state      topic {}-changelog at 127.0.0.1:", service.output);
    assert!(out.contains(&topic) && out.contains(&format!("{}/1", service.input)), "{out}");
    check_resets(&config, "kafka-0", "has members");
    run_to_end(&config);
    assert_eq!(service.told().len(), told, "what is read again is known: {}", log_of(&config));
}

#[test]
fn the_positions_in_a_state_folder_are_printed_and_reset() {
    let Some(broker) = broker::shared() else { return };
    let fleet = Fleet::new("winlogbeat", 57);
    let service = Service::new(broker, fleet.folder.path(), 2);
    broker.produce(&service.input, 2, &fleet.values);
    let config = fleet.folder.path().join("file.toml");
    let text = format!(
        "[[source]]\nkind = \"kafka\"\nname = \"events\"\nbrokers = \"127.0.0.1:{}\"\ntopics = [\"{}\"]\n\
         group = \"g\"\n[sink]\nkind = \"file\"\npath = \"out.jsonl\"\n[state]\ndir = \"state\"\n\
         [service]\nstatus_ms = 100\n",
        broker.plain, service.input
    );
    std::fs::write(&config, text).expect("written");
    run_to_end(&config);
    check_resets(&config, "events", "is in use by another process");
}

#[test]
fn the_positions_of_logs_are_printed_and_reset_to_their_start() {
    let local = Local::new(58);
    local.grow(1, 1);
    let config = local.config("[sink]\nkind = \"file\"\npath = \"incidents.jsonl\"");
    run_to_end(&config);
    let (_, out, _) = state(&config, &[]);
    assert!(out.contains(".evtx") && out.contains("record "), "{out}");
    let (code, _, err) = state(&config, &["reset", "--to", "latest", "--yes"]);
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("`earliest` only"), "{err}");
    let (code, _, err) = state(&config, &["reset", "--to", "earliest", "--yes"]);
    assert_eq!(code, Some(0), "{err}");
    let known = positions(&config, "evtx-0");
    assert!(!known.is_empty() && known.iter().all(|of| of["record_id"].is_null()), "{known:?}");
    run_to_end(&config);
    let log = log_of(&config);
    let ends: Vec<&str> = log.lines().filter(|line| line.contains("ended;")).collect();
    let read = |line: &str| line.split("records=").nth(1)?.split(' ').next()?.parse::<u64>().ok();
    let [first, second] = &ends[..] else { panic!("two runs:\n{log}") };
    assert_eq!(read(first), read(second), "all is read again");
    let (code, _, err) = state(&config, &["reset", "--to", "earliest", "--source", "x", "--yes"]);
    assert_eq!(code, Some(2), "{err}");
}

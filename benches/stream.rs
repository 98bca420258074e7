//! Kafka to Kafka, exactly once, against a bare consumer of the same topic; how
//! long a wanted event takes to be told at half that rate; memory with many
//! hosts; how long a restart takes with many open sessions.
//!
//! Starts Apache Kafka by `scripts/kafka` (Java 17, Maven), fills a topic with a
//! simulated fleet's events, and takes turns: a consumer that does nothing but
//! count, and `twinsid run --until-end`, each in a process of its own. The rate of
//! the service is that between its first and its last record, as that of the
//! consumer is; the whole process is given beside it.

#![allow(clippy::print_stdout)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};
use twinsid::brokers::{Cluster, Reports, TopicSpec, create_missing};

const PARTITIONS: i32 = 6;
const TOPIC: &str = "windows-events";
const ROUNDS: usize = 5;

/// Rounds that do not count: the broker is compiled while it runs, and what compiles
/// it takes a processor from those that are measured.
const WARM_UP: usize = 4;

/// A fleet, and how many events it has in an hour at the least.
const FLEET_HOSTS: usize = 1_200;
const EVENTS_PER_HOUR: usize = 100_000;

/// Events that are held in memory, to be sent again.
const SAMPLE: usize = 200_000;

const HOSTS: usize = 100_000;
const KEYS: usize = 1_000_000;

const WAIT: Duration = Duration::from_secs(60);

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, role, port, count] = &arguments[..]
        && role == "consume"
    {
        consume(port.parse().expect("a port"), count.parse().expect("a count"));
        return;
    }
    // As a test it only shows that it builds: a broker is too much for that.
    if arguments.iter().any(|argument| argument == "--test") {
        return;
    }
    bench();
}

fn bench() {
    let count: usize = std::env::var("TWINSID_BENCH_EVENTS")
        .map_or(2_000_000, |text| text.parse().expect("a number of events"));
    let folder = tempfile::tempdir().expect("a folder");
    let kafka = Kafka::start(folder.path());
    let events = Events::simulated(folder.path(), count);
    let sample: Vec<Vec<u8>> = events.lines().take(SAMPLE).collect();
    let bytes: usize = sample.iter().map(Vec::len).sum();
    let (size, codec) = (bytes / sample.len(), codec());
    println!(
        "{count} unique events of {FLEET_HOSTS} hosts, {size} bytes on average, packed with {codec}"
    );
    kafka.create(TOPIC, PARTITIONS);
    let mut sent = 0;
    kafka.produce(TOPIC, events.lines().take(count).inspect(|_| sent += 1));
    assert_eq!(sent, count, "the fleet has as many events");
    if chosen("rate") {
        rates(&kafka, folder.path(), count);
    }
    if chosen("latency") {
        latency(&kafka, folder.path(), &sample, 0);
        latency(&kafka, folder.path(), &sample, HOSTS);
    }
    if chosen("hosts") {
        hosts(&kafka, folder.path());
    }
    if chosen("keys") {
        keys(&kafka, folder.path());
    }
}

/// What the events are packed with. Senders differ: winlogbeat packs with gzip
/// unless it is told otherwise.
fn codec() -> String {
    std::env::var("TWINSID_BENCH_CODEC").unwrap_or_else(|_| "zstd".to_owned())
}

/// Whether a part of the bench is asked for: all are, unless some are named.
fn chosen(part: &str) -> bool {
    std::env::var("TWINSID_BENCH_PARTS").map_or(true, |parts| parts.contains(part))
}

fn rates(kafka: &Kafka, folder: &Path, count: usize) {
    let mut ratios = Vec::new();
    for round in 0..WARM_UP + ROUNDS {
        let bare = kafka.bare(count);
        let (service, whole, memory) = kafka.service(folder, round, count);
        if round < WARM_UP {
            continue;
        }
        ratios.push(bare / service);
        println!(
            "bare {:.0} k/s, service {:.0} k/s ({:.0} k/s with start and end), ratio {:.2}, {} MB",
            count as f64 / bare / 1e3,
            count as f64 / service / 1e3,
            count as f64 / whole / 1e3,
            bare / service,
            memory / 1024
        );
    }
    ratios.sort_by(f64::total_cmp);
    println!("ratio, median of {ROUNDS}: {:.2} (target 0.7)", ratios[ROUNDS / 2]);
}

/// Memory with what events say of very many hosts, three accounts each.
fn hosts(kafka: &Kafka, folder: &Path) {
    let topic = "hosts";
    kafka.create(topic, PARTITIONS);
    kafka.produce(topic, (0..HOSTS).flat_map(host_events));
    let config = kafka.config_of(folder, topic, topic, "");
    let mut service = Service::start(&config);
    service.wait_for(&format!(" records={} ", HOSTS * HOST_EVENTS));
    // What was taken in is looked at and committed.
    std::thread::sleep(Duration::from_secs(10));
    let learnt = service.memory();
    service.stop();
    let service = Service::start_and_wait(&config, "judges from here on");
    std::thread::sleep(Duration::from_secs(5));
    let restored = service.memory();
    service.stop();
    println!(
        "{HOSTS} hosts: {} MiB after a backlog with all of them ({} at most), {} MiB after a restart \
         ({} at most); target 300",
        learnt.0, learnt.1, restored.0, restored.1
    );
}

const HOST_EVENTS: usize = 8;

fn host_events(number: usize) -> [Vec<u8>; HOST_EVENTS] {
    let short = format!("PC-{number:06}");
    let host = format!("{short}.corp.example.com");
    let part = |factor: u32| (number as u32).wrapping_mul(factor);
    let machine =
        format!("S-1-5-21-{}-{}-{}", part(2_654_435_761), part(40_503), part(2_246_822_519));
    let (computer, user) = (
        format!("S-1-5-21-1-2-3-{}", number + 1000),
        format!("S-1-5-21-1-2-3-{}", number + 500_000),
    );
    let time = |event: usize| {
        let second = (number * HOST_EVENTS + event) / 1000;
        format!("2026-09-21T10:{:02}:{:02}.{:03}Z", second / 60 % 60, second % 60, event)
    };
    let security = |event: usize, id: u32, data: &str| {
        format!(
            "{{\"@timestamp\":\"{}\",\"winlog\":{{\"channel\":\"Security\",\"computer_name\":\"{host}\",\
             \"event_id\":\"{id}\",\"record_id\":{event},\"provider_name\":\
             \"Microsoft-Windows-Security-Auditing\",\"event_data\":{{{data}}}}}}}",
            time(event)
        )
        .into_bytes()
    };
    let subject = |sid: &str, name: &str, domain: &str| {
        format!(
            "\"SubjectUserSid\":\"{sid}\",\"SubjectUserName\":\"{name}\",\"SubjectDomainName\":\"{domain}\""
        )
    };
    let target = |sid: &str, name: &str, ip: &str| {
        format!(
            "\"TargetUserSid\":\"{sid}\",\"TargetUserName\":\"{name}\",\"TargetDomainName\":\"CORP\",\
             \"LogonType\":\"3\",\"IpAddress\":\"{ip}\""
        )
    };
    let ip = format!("10.{}.{}.{}", number >> 16, number >> 8 & 255, number & 255);
    let name = format!("user{number}");
    let started = format!(
        "{{\"@timestamp\":\"{}\",\"winlog\":{{\"channel\":\"System\",\"computer_name\":\"{host}\",\
         \"event_id\":\"12\",\"record_id\":1,\"provider_name\":\"Microsoft-Windows-Kernel-General\",\
         \"event_data\":{{\"MajorVersion\":\"10\",\"MinorVersion\":\"0\",\"BuildVersion\":\"26100\",\
         \"QfeVersion\":\"7171\",\"StartTime\":\"{}\"}}}}}}",
        time(0),
        time(0)
    );
    [
        started.into_bytes(),
        security(1, 4688, &subject(&format!("{machine}-500"), "Administrator", &short)),
        security(2, 4624, &target(&computer, &format!("{short}$"), &ip)),
        security(3, 4624, &target(&user, &name, "-")),
        security(4, 4688, &subject(&user, &name, "CORP")),
        security(5, 4688, &subject(&user, &name, "CORP")),
        security(6, 4688, &subject(&user, &name, "CORP")),
        security(7, 4634, &target(&user, &name, "-")),
    ]
}

/// How long a restart takes with very many open sessions.
fn keys(kafka: &Kafka, folder: &Path) {
    let topic = "keys";
    kafka.create(topic, PARTITIONS);
    kafka.produce(topic, (0..KEYS).map(|number| {
        let second = number / 2000;
        format!(
            "{{\"@timestamp\":\"2026-09-21T10:{:02}:{:02}.000Z\",\"winlog\":{{\"channel\":\"Security\",\
             \"computer_name\":\"PC-{}\",\"event_id\":\"4625\",\"record_id\":{number},\
             \"provider_name\":\"Microsoft-Windows-Security-Auditing\",\"event_data\":{{\
             \"TargetUserName\":\"user{number}\",\"TargetDomainName\":\"CORP\",\
             \"Status\":\"0xc000006d\",\"SubStatus\":\"0xc000006a\",\"LogonType\":\"3\"}}}}}}",
            second / 60 % 60,
            second % 60,
            number % 1000
        )
        .into_bytes()
    }));
    let bounds = "[bounds]\nopen_runs = 2_000_000\nnames_mib = 512\n";
    let config = kafka.config_of(folder, topic, topic, bounds);
    let mut service = Service::start(&config);
    service.wait_for(&format!(" records={KEYS} "));
    std::thread::sleep(Duration::from_secs(10));
    service.stop();
    let began = Instant::now();
    let service = Service::start_and_wait(&config, "the state is restored");
    let line = service.last.clone();
    println!(
        "restart with {} open sessions: {} s for the state, {:.1} s in all (target 10)",
        field(&line, "sessions=").unwrap_or(0),
        line.split("seconds=").nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or("?"),
        began.elapsed().as_secs_f64()
    );
    assert!(field(&line, "sessions=") >= Some(KEYS as u64), "all sessions are there: {line}");
    service.stop();
}

/// `twinsid run`, and the last line that it wrote.
struct Service {
    child: Child,
    lines: BufReader<std::process::ChildStderr>,
    last: String,
}

impl Service {
    fn start(config: &Path) -> Service {
        let mut child = Command::new(env!("CARGO_BIN_EXE_twinsid"))
            .args(["run", "-c"])
            .arg(config)
            .stderr(Stdio::piped())
            .spawn()
            .expect("runs");
        let lines = BufReader::new(child.stderr.take().expect("piped"));
        Service { child, lines, last: String::new() }
    }

    fn start_and_wait(config: &Path, for_what: &str) -> Service {
        let mut service = Service::start(config);
        service.wait_for(for_what);
        service
    }

    /// Until a line says so.
    fn wait_for(&mut self, what: &str) {
        let began = Instant::now();
        let mut all = String::new();
        loop {
            self.last.clear();
            let read = self.lines.read_line(&mut self.last).expect("reads");
            all.push_str(&self.last);
            assert!(read > 0 && began.elapsed() < WAIT * 3, "`{what}` is said: {all}");
            if self.last.contains(what) {
                return;
            }
        }
    }

    /// Resident memory now and at most, in MiB.
    fn memory(&self) -> (u64, u64) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.unwrap_or_default();
        let kib = |name| field(&status, name).unwrap_or(0);
        (kib("VmRSS:") / 1024, kib("VmHWM:") / 1024)
    }

    fn stop(mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("runs").success());
        let mut rest = String::new();
        let _ = std::io::Read::read_to_string(&mut self.lines, &mut rest);
        assert!(self.child.wait().expect("ends").success(), "{rest}");
    }
}

/// The events of a simulated fleet as winlogbeat writes them, a line each: every record is unique,
/// so that nothing is known from the record before.
struct Events {
    file: PathBuf,
}

impl Events {
    /// Enough hours of it for so many events.
    fn simulated(folder: &Path, count: usize) -> Events {
        let logs = folder.join("fleet");
        let hours = (count / EVENTS_PER_HOUR + 1).to_string();
        let hosts = FLEET_HOSTS.to_string();
        let made = Command::new(env!("CARGO_BIN_EXE_twinsid"))
            .args(["simulate", "--hosts", &hosts, "--groups", "36", "--hours", &hours])
            .args(["--seed", "3", "--form", "winlogbeat", "-o"])
            .arg(&logs)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        assert!(made.expect("runs").success());
        Events { file: logs.join("events.jsonl") }
    }

    fn lines(&self) -> impl Iterator<Item = Vec<u8>> {
        let file = BufReader::new(fs::File::open(&self.file).expect("events"));
        file.split(b'\n').map(|line| line.expect("a line"))
    }
}

struct Kafka {
    child: Child,
    port: u16,
}

impl Kafka {
    fn start(folder: &Path) -> Kafka {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/kafka");
        assert!(Command::new(&script).arg("install").status().expect("bash").success());
        let (port, controller) = (free_port(), free_port());
        let properties = folder.join("server.properties");
        let text = format!(
            "process.roles=broker,controller\nnode.id=1\n\
             controller.quorum.bootstrap.servers=127.0.0.1:{controller}\n\
             controller.listener.names=CONTROLLER\n\
             listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
             advertised.listeners=PLAINTEXT://127.0.0.1:{port}\n\
             log.dirs={}\noffsets.topic.replication.factor=1\n\
             transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\n\
             share.coordinator.state.topic.replication.factor=1\n\
             share.coordinator.state.topic.min.isr=1\ngroup.initial.rebalance.delay.ms=0\n",
            folder.join("data").display()
        );
        fs::write(&properties, text).expect("written");
        let mut child = Command::new(script)
            .arg("run")
            .arg(&properties)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("bash");
        let mut out = child.stdout.take().expect("piped");
        std::thread::spawn(move || std::io::copy(&mut out, &mut std::io::sink()));
        let kafka = Kafka { child, port };
        let start = Instant::now();
        while kafka.cluster().connect().is_err() {
            assert!(start.elapsed() < WAIT, "Kafka answers");
        }
        kafka
    }

    fn cluster(&self) -> Cluster {
        Cluster {
            brokers: format!("127.0.0.1:{}", self.port),
            options: Default::default(),
            oauth_token_file: None,
        }
    }

    fn create(&self, name: &str, partitions: i32) {
        let client = self.cluster().connect().expect("a broker");
        let spec =
            TopicSpec { name: name.to_owned(), partitions, settings: Vec::new(), purpose: "" };
        create_missing(&self.cluster(), &client, &[spec]).expect("created");
    }

    fn produce<V: AsRef<[u8]>>(&self, topic: &str, events: impl Iterator<Item = V>) {
        let settings = vec![
            ("linger.ms", "50".to_owned()),
            ("compression.type", codec()),
            ("batch.size", "1000000".to_owned()),
        ];
        let producer: ThreadedProducer<Reports> = self.cluster().client(&settings).expect("made");
        for (partition, event) in (0..PARTITIONS).cycle().zip(events) {
            send(&producer, topic, partition, event.as_ref());
        }
        producer.flush(WAIT * 5).expect("delivered");
    }

    /// Seconds between the first and the last record.
    fn bare(&self, count: usize) -> f64 {
        let out = Command::new(std::env::current_exe().expect("this program"))
            .args(["consume", &self.port.to_string(), &count.to_string()])
            .output()
            .expect("runs");
        assert!(out.status.success(), "{out:?}");
        String::from_utf8_lossy(&out.stdout).trim().parse().expect("seconds")
    }

    /// Seconds between the first and the last record, of the whole process, and
    /// its memory in KiB.
    fn service(&self, folder: &Path, round: usize, count: usize) -> (f64, f64, u64) {
        let config = self.config(folder, &format!("round-{round}"));
        let start = Instant::now();
        let mut child = Command::new(env!("CARGO_BIN_EXE_twinsid"))
            .args(["run", "--until-end", "-c"])
            .arg(&config)
            .stderr(Stdio::piped())
            .spawn()
            .expect("runs");
        let mut lines = BufReader::new(child.stderr.take().expect("piped"));
        let (mut text, mut memory) = (String::new(), 0);
        let (mut first, mut last, mut records) = (None, start, 0);
        let mut line = String::new();
        while lines.read_line(&mut line).is_ok_and(|read| read > 0) {
            if let Some(now) = field(&line, "records=") {
                if now > 0 {
                    first.get_or_insert((Instant::now(), now));
                }
                if now > records {
                    (last, records) = (Instant::now(), now);
                }
            }
            let status = fs::read_to_string(format!("/proc/{}/status", child.id()));
            memory = memory.max(status.ok().and_then(|text| field(&text, "VmHWM:")).unwrap_or(0));
            text.push_str(&line);
            line.clear();
        }
        assert!(child.wait().expect("ends").success(), "{text}");
        let whole = start.elapsed().as_secs_f64();
        let (at, before) = first.expect("it says how it goes");
        assert_eq!(records as usize, count, "all were read: {text}");
        // Of the records that came after the first look.
        let seconds = (last - at).as_secs_f64() * count as f64 / (count as f64 - before as f64);
        (seconds, whole, memory)
    }

    fn config(&self, folder: &Path, name: &str) -> PathBuf {
        self.config_of(folder, name, TOPIC, "")
    }

    fn config_of(&self, folder: &Path, name: &str, topic: &str, more: &str) -> PathBuf {
        let path = folder.join(format!("{name}.toml"));
        let port = self.port;
        let text = format!(
            "[[source]]\nkind = \"kafka\"\nbrokers = \"127.0.0.1:{port}\"\ntopics = [\"{topic}\"]\n\
             group = \"{name}\"\n[sink]\nkind = \"kafka\"\nbrokers = \"127.0.0.1:{port}\"\n\
             topic = \"{name}-incidents\"\n[service]\nstatus_ms = 100\n{more}"
        );
        fs::write(&path, text).expect("written");
        path
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("bound").port()
}

fn field(text: &str, name: &str) -> Option<u64> {
    let rest = text[text.find(&format!(" {name}")).or_else(|| text.find(name))?..].trim_start();
    let rest = rest[name.len()..].trim_start();
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..end].parse().ok()
}

fn send(producer: &ThreadedProducer<Reports>, topic: &str, partition: i32, value: &[u8]) {
    let mut record = BaseRecord::<[u8], [u8]>::to(topic).payload(value).partition(partition);
    while let Err((_, back)) = producer.send(record) {
        record = back;
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Counts, and prints the seconds between the first and the last record.
fn consume(port: u16, count: usize) {
    let cluster = Cluster {
        brokers: format!("127.0.0.1:{port}"),
        options: Default::default(),
        oauth_token_file: None,
    };
    let settings = vec![
        ("group.id", "bare".to_owned()),
        ("enable.auto.commit", "false".to_owned()),
        ("auto.offset.reset", "earliest".to_owned()),
    ];
    let consumer: BaseConsumer<Reports> = cluster.client(&settings).expect("a consumer");
    let mut list = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        list.add_partition_offset(TOPIC, partition, Offset::Beginning).expect("listed");
    }
    consumer.assign(&list).expect("assigned");
    let (mut first, mut records, mut bytes) = (None, 0, 0);
    while records < count {
        if let Some(Ok(message)) = consumer.poll(WAIT) {
            first.get_or_insert_with(Instant::now);
            bytes += message.payload().map_or(0, <[u8]>::len);
            records += 1;
        }
    }
    assert!(bytes > records);
    println!("{}", first.expect("records").elapsed().as_secs_f64());
}

/// Failures at a steady pace among other events, and when each account's
/// incident is on the output topic. The pace is half of what sender, broker and
/// service manage side by side: the sender takes more of two processors than
/// the service does. Beforehand the service learns of so many more hosts.
fn latency(kafka: &Kafka, folder: &Path, events: &[Vec<u8>], more_hosts: usize) {
    const FLAT_OUT: usize = 1_000_000;
    const INCIDENTS: usize = 500;
    const PAUSE: Duration = Duration::from_millis(20);
    let name = &format!("latency-{more_hosts}");
    kafka.produce(TOPIC, (0..more_hosts).flat_map(host_events));
    let config = kafka.config(folder, name);
    let mut child = Command::new(env!("CARGO_BIN_EXE_twinsid"))
        .args(["run", "-q", "-c"])
        .arg(&config)
        .spawn()
        .expect("runs");
    // The sender has to share the processors with the service and the broker.
    let settings = vec![
        ("linger.ms", "10".to_owned()),
        ("batch.size", "1000000".to_owned()),
        ("compression.type", "lz4".to_owned()),
    ];
    let producer: ThreadedProducer<Reports> = kafka.cluster().client(&settings).expect("made");
    // Behind everything that the topic holds already.
    let client = kafka.cluster().connect().expect("a broker");
    let began = Instant::now();
    let topic = format!("{name}-incidents");
    while twinsid::brokers::partitions(&client, &topic).expect("metadata").is_none() {
        assert!(began.elapsed() < WAIT, "the topic is made");
    }
    let settings = vec![
        ("group.id", "latency-reader".to_owned()),
        ("enable.auto.commit", "false".to_owned()),
        ("isolation.level", "read_committed".to_owned()),
        ("auto.offset.reset", "earliest".to_owned()),
        ("fetch.wait.max.ms", "5".to_owned()),
    ];
    let reader: BaseConsumer<Reports> = kafka.cluster().client(&settings).expect("a consumer");
    reader.subscribe(&[&topic]).expect("subscribed");
    let lock = |number: usize| {
        let time = 1_790_000_000 + number;
        format!(
            "{{\"@timestamp\":\"2026-09-21T1{}:{:02}:{:02}.000Z\",\"winlog\":{{\"channel\":\"Security\",\
             \"computer_name\":\"PC-{number}\",\"event_id\":\"4625\",\"record_id\":{time},\
             \"provider_name\":\"Microsoft-Windows-Security-Auditing\",\"event_data\":{{\
             \"TargetUserName\":\"late{number}\",\"TargetDomainName\":\"CORP\",\"Status\":\"0xc0000234\",\
             \"SubStatus\":\"0x0\",\"LogonType\":\"3\"}}}}}}",
            number / 3600 % 10,
            number / 60 % 60,
            number % 60
        )
        .into_bytes()
    };
    // Others than those of the run before, whose events the topic still holds.
    let lock = |number: usize| lock(more_hosts + number);
    let account = |value: &[u8]| -> Option<usize> {
        let text = String::from_utf8_lossy(value);
        let rest = &text[text.find("\"name\":\"late")? + 12..];
        rest[..rest.find('"')?].parse::<usize>().ok()?.checked_sub(more_hosts)
    };
    // An account whose incident is told once the service has read what there is.
    let catch_up = |number: usize| {
        for partition in 0..PARTITIONS {
            send(&producer, TOPIC, partition, &lock(number));
        }
        let began = Instant::now();
        loop {
            assert!(began.elapsed() < WAIT * 3, "the service catches up");
            if let Some(Ok(message)) = reader.poll(Duration::from_millis(50))
                && message.payload().and_then(account) == Some(number)
            {
                break;
            }
        }
    };
    catch_up(999_998);
    let began = Instant::now();
    for number in 0..FLAT_OUT {
        send(&producer, TOPIC, number as i32 % PARTITIONS, &events[number % events.len()]);
    }
    producer.flush(WAIT).expect("delivered");
    catch_up(999_999);
    let rate = FLAT_OUT as f64 / began.elapsed().as_secs_f64();
    println!("sender, broker and service together: {:.0} k events/s", rate / 1e3);
    let each = (rate / 2.0 * PAUSE.as_secs_f64()) as usize;
    let began = Instant::now();
    let mut sent: Vec<Instant> = Vec::new();
    let mut took: Vec<f64> = Vec::new();
    let mut next = 0;
    let (start, mut sent_in) = (Instant::now(), Duration::ZERO);
    while took.len() < INCIDENTS {
        assert!(began.elapsed() < WAIT * 10, "{} of {INCIDENTS} were told", took.len());
        if sent.len() < INCIDENTS && start.elapsed() >= PAUSE * sent.len() as u32 {
            for _ in 0..each {
                send(&producer, TOPIC, next as i32 % PARTITIONS, &events[next % events.len()]);
                next += 1;
            }
            let number = sent.len();
            sent.push(Instant::now());
            send(&producer, TOPIC, number as i32 % PARTITIONS, &lock(number));
            if sent.len() == INCIDENTS {
                sent_in = start.elapsed();
            }
        }
        while let Some(Ok(message)) = reader.poll(Duration::from_millis(1)) {
            if let Some(number) = message.payload().and_then(account)
                && let Some(at) = sent.get(number)
            {
                took.push(at.elapsed().as_secs_f64() * 1e3);
            }
        }
    }
    let rate = next as f64 / sent_in.as_secs_f64();
    took.sort_by(f64::total_cmp);
    println!(
        "from sending to told, at {:.0} k events/s, with {more_hosts} more hosts: median {:.0} ms, 99 % \
         {:.0} ms (targets 200, 1000)",
        rate / 1e3,
        took[took.len() / 2],
        took[took.len() * 99 / 100]
    );
    let _ = child.kill();
    let _ = child.wait();
}

//! How many observations a second does the detector take on one core, and how
//! many bytes does an open key cost?
//!
//! Bytes are those that the process gains by them, as the system counts its
//! resident memory: what the allocator holds back is in them.

#![allow(clippy::print_stdout)]

mod log;

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, Throughput};
use twinsid::config::Config;
use twinsid::detect::findings::Finding;
use twinsid::detect::{Detector, Settings};
use twinsid::observation::{
    Account, Build, Fact, Failure, Mismatch, Observation, Peer, Protocol, RecordKey, Side, What,
};
use twinsid::sid::DomainSid;
use twinsid::status::{CodeFamily, StatusCode};
use twinsid::time::{EventTime, TICKS_PER_SEC};

use log::{Numbers, is_profiling, median, seconds as seconds_of};

const BATCH: usize = 1000;
const OBSERVATIONS: usize = 400_000;
const ACCOUNTS: usize = 10_000;
const HOSTS: usize = 500;
const KEYS: usize = 1_000_000;
const RUNS: usize = 7;

const CORP: DomainSid = DomainSid([2_043_918_477, 1_102_375_604, 3_811_029_566]);
const START: u64 = 134_030_592_000_000_000;

struct Stream {
    numbers: Numbers,
    time: u64,
    record_id: u64,
}

impl Stream {
    fn new() -> Stream {
        Stream { numbers: Numbers::new(23), time: START, record_id: 1 }
    }

    fn key(&mut self, host: usize, channel: &str, step: u64) -> RecordKey {
        self.time += self.numbers.next() % (2 * step);
        self.record_id += 1;
        RecordKey {
            time: EventTime(self.time),
            computer: format!("SRV-{host:04}.corp.example").into(),
            channel: channel.into(),
            record_id: self.record_id,
        }
    }

    fn failure(&mut self, account: usize, host: usize, step: u64) -> Observation {
        let kerberos = self.numbers.below(4) == 0;
        let peer =
            if self.numbers.below(8) > 0 { account % 5000 } else { self.numbers.below(5000) };
        let ip =
            Ipv4Addr::new(10, 20 + (peer / 10_000) as u8, (peer / 250) as u8, (peer % 250) as u8);
        let failure = Failure {
            account: Account {
                // The domain controllers' 4771 has the SID; 4625 does not.
                sid: kerberos.then(|| CORP.account(1100 + account as u32)),
                name: Some(format!("user{account:07}").into()),
                domain: Some(if kerberos { "CORP.EXAMPLE" } else { "CORP" }.into()),
            },
            peer: Peer {
                host: (!kerberos).then(|| format!("PC-{peer:05}").into()),
                ip: Some(IpAddr::V4(ip)),
            },
            side: if kerberos { Side::Kdc } else { Side::Target },
            protocol: if kerberos { Protocol::Kerberos } else { Protocol::Ntlm },
            status: Some(if kerberos {
                StatusCode { family: CodeFamily::Kerberos, value: 0x18 }
            } else {
                StatusCode { family: CodeFamily::Ntstatus, value: 0xc000_006d }
            }),
            sub_status: (!kerberos)
                .then_some(StatusCode { family: CodeFamily::Ntstatus, value: 0xc000_006a }),
            reason: (!kerberos).then_some(2313),
            logon_type: (!kerberos).then_some(3),
            service: kerberos.then(|| "krbtgt/CORP.EXAMPLE".into()),
            category: None,
        };
        Observation {
            key: self.key(if kerberos { host % 4 } else { host }, "Security", step),
            provider: "Microsoft-Windows-Security-Auditing".into(),
            event_id: if kerberos { 4771 } else { 4625 },
            what: What::Failure(Box::new(failure)),
        }
    }

    fn mismatch(&mut self, host: usize, step: u64) -> Observation {
        Observation {
            key: self.key(host, "System", step),
            provider: "LsaSrv".into(),
            event_id: 6167,
            what: What::Mismatch(Mismatch::default()),
        }
    }

    fn fact(&mut self, account: usize, host: usize, step: u64) -> Observation {
        Observation {
            key: self.key(host, "Security", step),
            provider: "Microsoft-Windows-Security-Auditing".into(),
            event_id: 4624,
            what: What::Fact(Fact::Account {
                sid: CORP.account(1100 + account as u32),
                name: format!("user{account:07}").into(),
                domain: "CORP".into(),
                own: false,
            }),
        }
    }
}

/// Mostly failures; 1 % mismatches, 10 % facts, 5 % came before.
fn usual() -> Vec<Observation> {
    let mut stream = Stream::new();
    let step = TICKS_PER_SEC / 100;
    let mut observations: Vec<Observation> = Vec::with_capacity(OBSERVATIONS);
    for index in 0..OBSERVATIONS {
        let (account, host) = (stream.numbers.below(ACCOUNTS), stream.numbers.below(HOSTS));
        let observation = match stream.numbers.below(100) {
            0..5 if index > 0 => {
                let back = 1 + stream.numbers.below(index.min(5000));
                observations[index - back].clone()
            }
            5..6 => stream.mismatch(host, step),
            6..16 => stream.fact(account, host, step),
            _ => stream.failure(account, host, step),
        };
        observations.push(observation);
    }
    observations
}

/// Room for everything, so that bounds do not make it cheap.
fn settings() -> Settings {
    let mut settings = Config::embedded().settings;
    let bounds = &mut settings.bounds;
    bounds.open_runs = 2 * KEYS;
    bounds.names_bytes = 512 << 20;
    bounds.seen_records = 4 * KEYS;
    settings
}

fn ingest(settings: &Settings, observations: &[Observation]) -> Detector {
    let mut detector = Detector::new(settings.clone());
    observations.chunks(BATCH).for_each(|batch| detector.ingest(batch));
    // What waits to be put into sessions is put there now.
    black_box(detector.open_keys());
    detector
}

/// Seconds for the same, each batch made just before it is taken in: in the
/// processor's cache, as a worker hands it over, not in memory all along.
fn fresh_seconds(settings: &Settings, observations: &[Observation]) -> f64 {
    let mut detector = Detector::new(settings.clone());
    let mut seconds = 0.0;
    for batch in observations.chunks(BATCH) {
        let batch = batch.to_vec();
        // Too short for the thread's own clock.
        let start = Instant::now();
        detector.ingest(&batch);
        seconds += start.elapsed().as_secs_f64();
    }
    seconds += seconds_of(&mut || {
        detector.open_keys();
    });
    black_box(detector);
    seconds
}

/// Resident memory of this process; `None` where the system does not say.
fn resident_bytes() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<usize>().ok().map(|kib| kib * 1024)
}

/// Distinct accounts, made as they are taken, so that nothing but the
/// detector grows. Seconds spent in the detector, and bytes gained.
fn distinct(settings: &Settings) -> (Detector, f64, Option<usize>) {
    let mut stream = Stream::new();
    let mut detector = Detector::new(settings.clone());
    let before = resident_bytes();
    let mut seconds = 0.0;
    for batch in 0..KEYS / BATCH {
        let accounts = batch * BATCH..(batch + 1) * BATCH;
        let batch: Vec<Observation> = accounts
            .map(|account| {
                let host = stream.numbers.below(HOSTS);
                stream.failure(account, host, TICKS_PER_SEC / 2000)
            })
            .collect();
        // Too short for the thread's own clock.
        let start = Instant::now();
        detector.ingest(&batch);
        seconds += start.elapsed().as_secs_f64();
    }
    seconds += seconds_of(&mut || {
        detector.open_keys();
    });
    let gained = resident_bytes().zip(before).map(|(after, before)| after.saturating_sub(before));
    (detector, seconds, gained)
}

/// A large fleet: its hosts with machine SID, start and build, its accounts,
/// and as many open keys.
fn fleet() {
    const FLEET_HOSTS: usize = 100_000;
    const FLEET_ACCOUNTS: usize = 1_000_000;
    const FLEET_KEYS: usize = 5_000_000;
    let mut settings = Config::embedded().settings;
    let bounds = &mut settings.bounds;
    bounds.open_runs = FLEET_KEYS;
    bounds.names_bytes = 1 << 30;
    bounds.seen_records = FLEET_KEYS + 2 * FLEET_HOSTS;
    bounds.hosts = FLEET_HOSTS;
    bounds.accounts = FLEET_ACCOUNTS + FLEET_HOSTS;
    let before = resident_bytes();
    let mut detector = Detector::new(settings);
    let mut stream = Stream::new();
    for host in 0..FLEET_HOSTS {
        let key = stream.key(host, "Security", 1000);
        let short = key.computer.split('.').next().unwrap_or_default().into();
        let number = host as u32;
        let own = Fact::Account {
            sid: DomainSid([number, number ^ 0x5555, 7]).account(500),
            name: "Administrator".into(),
            domain: short,
            own: true,
        };
        let build = Fact::Build(Build { number: 26_100, revision: Some(6_899) });
        let facts = [own, Fact::Boot, build].map(|fact| Observation {
            key: key.clone(),
            provider: "Microsoft-Windows-Security-Auditing".into(),
            event_id: 4624,
            what: What::Fact(fact),
        });
        detector.ingest(&facts);
    }
    for account in 0..FLEET_ACCOUNTS {
        let fact = stream.fact(account, account % FLEET_HOSTS, 1000);
        detector.ingest(&[fact]);
    }
    for batch in 0..FLEET_KEYS / BATCH {
        let accounts = batch * BATCH..(batch + 1) * BATCH;
        let batch: Vec<Observation> = accounts
            .map(|account| stream.failure(account, account % FLEET_HOSTS, TICKS_PER_SEC / 2000))
            .collect();
        detector.ingest(&batch);
    }
    assert_eq!(detector.open_keys(), FLEET_KEYS);
    assert!(
        detector.over_bounds().iter().all(|(what, count)| *count == 0 || what.contains("nearby"))
    );
    let gained = resident_bytes().zip(before).map(|(after, before)| after.saturating_sub(before));
    let concluded = median((0..RUNS).map(|_| {
        seconds_of(&mut || {
            black_box(detector.fleet());
        })
    }));
    let fleet = detector.fleet();
    assert_eq!(fleet.known_hosts(detector.names()).count(), FLEET_HOSTS);
    println!(
        "large fleet: {FLEET_HOSTS} hosts, {FLEET_ACCOUNTS} accounts, {FLEET_KEYS} open keys in {} \
         MiB; what follows of the hosts takes {concluded:.2} s",
        gained.map_or("an unknown number of".to_owned(), |bytes| (bytes >> 20).to_string())
    );
}

fn main() {
    // In a process of its own: memory that was given back would be taken again.
    if std::env::var_os("TWINSID_LARGE_FLEET").is_some() {
        return fleet();
    }
    // First of all, while no memory has been used and given back.
    let settings = settings();
    let (mut detector, seconds, gained) = distinct(&settings);
    assert_eq!(detector.open_keys(), KEYS);
    assert_eq!(detector.ingested().failures, KEYS as u64);
    println!("distinct keys: {:.2} million observations/s", KEYS as f64 / seconds / 1e6);
    match gained {
        Some(bytes) => println!("distinct keys: {} bytes for each open key", bytes / KEYS),
        None => println!("distinct keys: this system does not say how much memory is used"),
    }
    drop(detector);

    let observations = usual();
    let mut detector = ingest(&settings, &observations);
    let ingested = detector.ingested();
    let facts = observations.iter().filter(|o| matches!(o.what, What::Fact(_))).count() as u64;
    let taken = ingested.failures + ingested.mismatches + ingested.duplicates + facts;
    assert_eq!(taken, OBSERVATIONS as u64);
    assert!((1..=facts).contains(&ingested.facts), "{ingested:?}");
    assert!(ingested.duplicates > OBSERVATIONS as u64 / 30, "{ingested:?}");
    println!("usual stream: {ingested:?}, {} open keys", detector.open_keys());

    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("detector");
    group.throughput(Throughput::Elements(OBSERVATIONS as u64)).sample_size(10);
    group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(3));
    group.bench_function("usual stream", |bencher| {
        bencher.iter_batched_ref(
            || Detector::new(settings.clone()),
            |detector| {
                observations.chunks(BATCH).for_each(|batch| detector.ingest(batch));
                detector.open_keys()
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
    criterion.final_summary();

    if is_profiling() {
        return;
    }
    let runs: Vec<(f64, f64)> = (0..RUNS)
        .map(|_| {
            let mut detector = None;
            let ingested = seconds_of(&mut || detector = Some(ingest(&settings, &observations)));
            let mut findings: Vec<Finding> = Vec::new();
            let mut detector = detector.expect("it was made above");
            let closed = seconds_of(&mut || detector.advance(EventTime::MAX, &mut findings));
            assert!(!black_box(findings).is_empty());
            (ingested, closed)
        })
        .collect();
    let fresh = median((0..RUNS).map(|_| fresh_seconds(&settings, &observations)));
    println!(
        "usual stream, batches as they come from a worker: {:.2} million observations/s",
        OBSERVATIONS as f64 / fresh / 1e6
    );
    let ingest = median(runs.iter().map(|(ingest, _)| *ingest));
    let close = median(runs.iter().map(|(_, close)| *close));
    println!("usual stream: {:.2} million observations/s", OBSERVATIONS as f64 / ingest / 1e6);
    println!(
        "usual stream: closing everything takes {:.2} x the time of taking it in",
        close / ingest
    );
}

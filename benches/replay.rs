//! How much faster are two threads than one, through the whole of `replay`?
//!
//! The file is some 512 MB: the written log's chunks again and again, which
//! the detector must tell for duplicates, so every thread count does the same
//! work and finds the same incidents.

#![allow(clippy::print_stdout)]

mod log;

use std::fs::File;
use std::io::Write as _;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use twinsid::config::Config;
use twinsid::decode::evtx::CHUNK_BYTES;
use twinsid::pipeline::replay::{NoProgress, OnDamage, Replay, Replayed, replay};

use log::{FILE_HEADER_BYTES, evtx_file, is_profiling, median};

const LOG_BYTES: usize = 64 << 20;
const REPEATS: usize = 8;
const PAIRS: usize = 15;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("Security.evtx");
    let (log, records) = evtx_file(LOG_BYTES);
    let mut file = File::create(&path).expect("the temporary folder takes files");
    file.write_all(&log[..FILE_HEADER_BYTES]).expect("there is room");
    for _ in 0..REPEATS {
        file.write_all(&log[FILE_HEADER_BYTES..]).expect("there is room");
    }
    drop(file);
    let chunks = REPEATS * (log.len() - FILE_HEADER_BYTES) / CHUNK_BYTES;
    let bytes = std::fs::metadata(&path).expect("the file was written").len();
    drop(log);

    let config = Config::embedded();
    let run = |threads: usize| -> Replayed {
        let spec = Replay {
            paths: vec![path.clone()],
            outputs: Vec::new(),
            settings: config.settings.clone(),
            rules: config.rules.clone(),
            fact_rules: config.fact_rules.clone(),
            inventory: Vec::new(),
            threads,
            damage: OnDamage::Stop,
        };
        replay(spec, &mut NoProgress).expect("the file is whole")
    };
    let (one, two) = (run(1), run(2));
    for replayed in [&one, &two] {
        assert_eq!(replayed.tally.records, records * REPEATS as u64);
        assert_eq!(replayed.tally.chunks, chunks as u64);
    }
    assert_eq!(one.ingested, two.ingested);
    assert_eq!(one.matched, two.matched);
    assert!(!one.incidents.is_empty());
    assert_eq!(format!("{:?}", one.incidents), format!("{:?}", two.incidents));
    println!(
        "replay: {:.0} MB, {} records, {} incidents, {:?}",
        bytes as f64 / 1e6,
        one.tally.records,
        one.incidents.len(),
        one.ingested
    );

    let mut group = criterion.benchmark_group("replay");
    group.throughput(Throughput::Bytes(bytes)).sample_size(10);
    group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(5));
    for threads in [1, 2] {
        group.bench_function(format!("{threads} threads"), |bencher| bencher.iter(|| run(threads)));
    }
    group.finish();
    criterion.final_summary();

    if is_profiling() {
        return;
    }
    // Time on the wall: that is what a second thread is for.
    let wall = |threads: usize| {
        let start = Instant::now();
        run(threads);
        start.elapsed().as_secs_f64()
    };
    let runs: Vec<(f64, f64)> = (0..PAIRS).map(|_| (wall(1), wall(2))).collect();
    println!(
        "replay: two threads are {:.2} x one ({:.0} MB/s against {:.0} MB/s)",
        median(runs.iter().map(|(one, two)| one / two)),
        bytes as f64 / median(runs.iter().map(|(_, two)| *two)) / 1e6,
        bytes as f64 / median(runs.iter().map(|(one, _)| *one)) / 1e6
    );
}

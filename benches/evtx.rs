//! How much faster than the `evtx` crate, rendering JSON, are we on the same
//! bytes?
//!
//! | line | what we do |
//! |---|---|
//! | rules | decode with the shipped rules, no teaching fields |
//! | replay | decode with rules and teaching fields and observe, as `replay` does |
//! | everything | every record wanted, every field read |
//! | text | the same, and every value made text |

#![allow(clippy::print_stdout)]

mod log;

use std::collections::BTreeSet;
use std::hint::black_box;
use std::io::Cursor;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, Throughput};
use evtx::{EvtxParser, ParserSettings};
use twinsid::config::Config;
use twinsid::decode::Tally;
use twinsid::decode::evtx::{CHUNK_BYTES, ChunkDecoder};
use twinsid::detect::rules::{Observer, Rules};
use twinsid::record::{FIELDS_MAX, Record, Wanted};

use log::{FILE_HEADER_BYTES, compare, evtx_file, is_profiling};

const FILE_BYTES: usize = 64 << 20;

/// As `replay` reads them.
const SEGMENT_BYTES: usize = 16 * CHUNK_BYTES;

const PAIRS: usize = 15;

/// Ours is run so many times for one run of the `evtx` crate.
const REPEATS: u32 = 4;

/// Files that are measured together, each its own log.
struct Input {
    name: &'static str,
    files: Vec<Vec<u8>>,
    everything: Arc<Wanted>,
}

impl Input {
    fn new(name: &'static str, files: Vec<Vec<u8>>) -> Input {
        let everything = Arc::new(everything(&files));
        Input { name, files, everything }
    }

    fn bytes(&self) -> usize {
        self.files.iter().map(Vec::len).sum()
    }

    /// Records that the `evtx` crate renders, and the bytes of their JSON.
    fn rendered(&self) -> (u64, usize) {
        let (mut records, mut bytes) = (0, 0);
        for file in &self.files {
            let settings = ParserSettings::default().num_threads(1);
            let file = Cursor::new(file.as_slice());
            let Ok(parser) = EvtxParser::from_read_seek(file) else { continue };
            let mut parser = parser.with_configuration(settings);
            for record in parser.records_json_bytes().flatten() {
                records += 1;
                bytes += black_box(record.data).len();
            }
        }
        (records, bytes)
    }

    fn decoded(&self, wanted: &Arc<Wanted>, mut emit: impl FnMut(&Record<'_>)) -> Tally {
        let mut decoder = ChunkDecoder::new(Arc::clone(wanted));
        let mut tally = Tally::default();
        for file in &self.files {
            decoder.decode(&file[FILE_HEADER_BYTES..], 0, &mut tally, &mut emit);
        }
        tally
    }

    /// What a replay's worker makes of it: observations.
    fn observed(&self, rules: &Arc<Rules>) -> (Tally, usize) {
        let mut decoder = ChunkDecoder::new(Arc::clone(rules.wanted()));
        let mut observer = Observer::new(Arc::clone(rules));
        let (mut tally, mut count) = (Tally::default(), 0);
        for file in &self.files {
            for segment in file[FILE_HEADER_BYTES..].chunks(SEGMENT_BYTES) {
                let mut observations = Vec::new();
                let emit = &mut |record: &Record<'_>| observer.observe(record, &mut observations);
                decoder.decode(segment, 0, &mut tally, emit);
                black_box(observer.take_matched());
                count += black_box(observations).len();
            }
        }
        let mut facts = Vec::new();
        observer.finish(&mut facts);
        count += black_box(facts).len();
        (tally, count)
    }
}

/// Wants every event and every named field of these files.
fn everything(files: &[Vec<u8>]) -> Wanted {
    let (mut events, mut names) = (BTreeSet::new(), BTreeSet::new());
    for file in files {
        let file = Cursor::new(file.as_slice());
        let Ok(mut parser) = EvtxParser::from_read_seek(file) else { continue };
        for xml in parser.records().flatten().map(|record| record.data) {
            let provider = between(&xml, "<Provider Name=\"", "\"").map(|(name, _)| name);
            let source = between(&xml, "EventSourceName=\"", "\"").map(|(name, _)| name);
            let id = between(&xml, "<EventID", "</EventID>").and_then(|(id, _)| {
                id.rsplit('>').next().and_then(|id| id.trim().parse::<u32>().ok())
            });
            if let Some(id) = id {
                for name in [provider, source].into_iter().flatten() {
                    events.insert((name.to_owned(), id));
                }
            }
            let mut rest = xml.as_str();
            while let Some((name, after)) = between(rest, "<Data Name=\"", "\"") {
                if names.len() < FIELDS_MAX - 80 && !names.contains(name) {
                    names.insert(name.to_owned());
                }
                rest = after;
            }
        }
    }
    let special = ["#count", "#binary", "#level", "#version", "#user", "#message", "#culture"];
    names.extend(special.map(str::to_owned));
    names.extend((1..=twinsid::record::POSITIONS_MAX).map(|position| format!("#{position}")));
    let events = events.iter().map(|(provider, id)| (provider.as_str(), *id));
    Wanted::new(events, names.iter().map(String::as_str), [])
}

/// What stands between two texts, and what follows the first.
fn between<'t>(text: &'t str, before: &str, after: &str) -> Option<(&'t str, &'t str)> {
    let rest = &text[text.find(before)? + before.len()..];
    Some((&rest[..rest.find(after)?], rest))
}

fn corpus() -> Vec<Vec<u8>> {
    let Some(folder) = std::env::var_os("TWINSID_CORPUS") else { return Vec::new() };
    let mut files: Vec<PathBuf> = Vec::new();
    let mut folders = vec![PathBuf::from(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("the corpus can be read") {
            let path = entry.expect("the corpus can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ext| ext.eq_ignore_ascii_case("evtx")) {
                files.push(path);
            }
        }
    }
    files.sort();
    let files = files.iter().map(|path| std::fs::read(path).expect("the corpus can be read"));
    files.filter(|file| file.len() > FILE_HEADER_BYTES).collect()
}

fn measure(input: &Input, criterion: &mut Criterion) {
    let config = Config::embedded();
    let bare = Arc::clone(Rules::new(&config.rules, &[]).wanted());
    let rules = Arc::new(Rules::new(&config.rules, &config.fact_rules));
    let (records, _) = input.rendered();

    let rules_only = || {
        let mut wanted = 0_u64;
        let tally = input.decoded(&bare, |record| {
            black_box(record);
            wanted += 1;
        });
        (tally, wanted)
    };
    let replay = || input.observed(&rules);
    let all = || {
        let mut fields = 0_u64;
        let mut wanted = 0_u64;
        let tally = input.decoded(&input.everything, |record| {
            fields += black_box(record).fields.len() as u64;
            wanted += 1;
        });
        (tally, wanted, fields)
    };
    let text = || {
        input.decoded(&input.everything, |record| {
            for (_, value) in &record.fields {
                black_box(value.text());
            }
        })
    };

    let (tally, wanted) = rules_only();
    let (observed, observations) = replay();
    let (whole, every, fields) = all();
    for tally in [&tally, &observed, &whole] {
        assert_eq!(tally.records, records, "the `evtx` crate renders as many: {tally:?}");
    }
    println!(
        "{}: {:.1} MB, {records} records ({:.0} bytes each), {wanted} wanted by the rules, {observations} observations, {fields} values when everything is read",
        input.name,
        input.bytes() as f64 / 1e6,
        input.bytes() as f64 / records as f64,
    );
    if input.name == "written log" {
        assert_eq!(every, records, "every record is wanted");
        assert_eq!(whole.slow_records, 0, "the fast path knows its own templates");
        let share = wanted as f64 / records as f64;
        assert!((0.03..0.08).contains(&share), "{share} wanted");
    } else {
        println!(
            "{}: {} records took the slow path, of {every} wanted",
            input.name, whole.slow_records
        );
    }

    let bytes = input.bytes() as u64;
    let mut group = criterion.benchmark_group(format!("evtx/{}", input.name));
    group.throughput(Throughput::Bytes(bytes)).sample_size(10);
    group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(2));
    group.bench_function("rules", |bencher| bencher.iter(rules_only));
    group.bench_function("replay", |bencher| bencher.iter(replay));
    group.bench_function("everything", |bencher| bencher.iter(all));
    group.finish();

    if is_profiling() {
        return;
    }
    let line = |what: &str, work: &dyn Fn() -> Tally| {
        let repeated = || (0..REPEATS).map(|_| work().records).sum::<u64>();
        let compared = compare(PAIRS, || input.rendered(), repeated);
        let (ratio, seconds) =
            (compared.ratio * f64::from(REPEATS), compared.other / f64::from(REPEATS));
        println!(
            "{}: {what}: {:.1} x the `evtx` crate ({:.0} MB/s against {:.0} MB/s)",
            input.name,
            ratio,
            bytes as f64 / seconds / 1e6,
            bytes as f64 / compared.one / 1e6,
        );
    };
    line("rules", &|| rules_only().0);
    line("replay", &|| replay().0);
    line("everything", &|| all().0);
    line("text", &text);
    let repeated = |work: &dyn Fn() -> Tally| (0..4).map(|_| work().records).sum::<u64>();
    let teaching = compare(15, || repeated(&|| replay().0), || repeated(&|| rules_only().0));
    println!("{}: replay takes {:.2} x the time of rules", input.name, teaching.ratio);
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let (file, records) = evtx_file(FILE_BYTES);
    let input = Input::new("written log", vec![file]);
    assert_eq!(input.rendered().0, records, "the `evtx` crate reads what was written");
    measure(&input, &mut criterion);
    let corpus = corpus();
    if !corpus.is_empty() {
        measure(&Input::new("corpus", corpus), &mut criterion);
    }
    criterion.final_summary();
}

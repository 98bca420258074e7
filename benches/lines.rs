//! How fast does text go by that nobody wants, and how many wanted events a
//! second are read, on one core?
//!
//! The yardstick for text that goes by is a search for line ends with `memchr`
//! on the same bytes.

#![allow(clippy::print_stdout)]

mod log;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, Throughput};
use twinsid::config::Config;
use twinsid::decode::Tally;
use twinsid::decode::lines::LineDecoder;
use twinsid::detect::rules::Rules;
use twinsid::record::{Record, Wanted};

use log::{Event, Log, compare, is_profiling};

const BLOCK_BYTES: usize = 8 << 20;
const PAIRS: usize = 7;

/// Runs over a block that are measured as one: some tens of milliseconds. A
/// search for line ends takes less, wanted events more.
const REPEATS: u32 = 32;
const ENDS_REPEATS: u32 = 256;

type Format = fn(&Event) -> String;

const FORMATS: [(&str, Format); 3] =
    [("XML", Event::xml), ("winlogbeat", Event::winlogbeat), ("NXLog", Event::nxlog)];

/// What the events are that a block is made of.
#[derive(Clone, Copy, PartialEq)]
enum Mix {
    /// Ids that no rule wants, no field that teaches.
    Unwanted,
    /// Ids that no rule wants, with the SIDs of accounts.
    FactRule,
    /// Failed logons.
    Wanted,
}

/// A block of lines, and how many.
fn block(mix: Mix, format: Format) -> (Vec<u8>, u64) {
    let mut log = Log::new(11);
    let (mut text, mut events) = (Vec::with_capacity(BLOCK_BYTES + 4096), 0);
    while text.len() < BLOCK_BYTES {
        let event = match mix {
            Mix::Unwanted => log.security(if events % 4 == 3 { 5158 } else { 5156 }),
            Mix::FactRule => log.security([4624, 4688, 4634, 5145][events as usize % 4]),
            Mix::Wanted => log.refused(4625),
        };
        text.extend_from_slice(format(&event).as_bytes());
        events += 1;
    }
    (text, events)
}

/// Events seen, and events handed over.
fn decode(decoder: &mut LineDecoder, text: &[u8]) -> (u64, u64) {
    let mut tally = Tally::default();
    let mut emitted = 0;
    decoder.decode(text, &mut tally, &mut |record: &Record<'_>| {
        black_box(record);
        emitted += 1;
    });
    assert!(tally.skipped.is_empty(), "{tally:?}");
    (tally.records, emitted)
}

struct Case<'c> {
    name: String,
    text: &'c [u8],
    events: u64,
    emitted: u64,
    wanted: &'c Arc<Wanted>,
}

fn measure(case: &Case<'_>, criterion: &mut Criterion) {
    let Case { name, text, events, emitted, wanted } = case;
    let mut decoder = LineDecoder::new(Arc::clone(wanted));
    assert_eq!(decode(&mut decoder, text), (*events, *emitted), "{name}");

    let mut group = criterion.benchmark_group("lines");
    let throughput = if *emitted == 0 {
        Throughput::Bytes(text.len() as u64)
    } else {
        Throughput::Elements(*events)
    };
    group.throughput(throughput).sample_size(10);
    group.warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(1));
    group.bench_function(name, |bencher| bencher.iter(|| decode(&mut decoder, text)));
    group.finish();

    if is_profiling() {
        return;
    }
    let repeats = if *emitted == 0 { REPEATS } else { REPEATS / 8 };
    let compared = compare(
        PAIRS,
        || (0..repeats).map(|_| decode(&mut decoder, text).0).sum::<u64>(),
        || {
            let ends = |_| memchr::memchr_iter(b'\n', black_box(text)).count();
            (0..ENDS_REPEATS).map(ends).sum::<usize>()
        },
    );
    let seconds = compared.one / f64::from(repeats);
    let ratio = compared.ratio / f64::from(repeats) * f64::from(ENDS_REPEATS);
    println!(
        "{name}: {:.2} GB/s, {:.0} thousand events/s ({:.0} bytes each), {:.1} x the time of a search for line ends",
        text.len() as f64 / seconds / 1e9,
        *events as f64 / seconds / 1e3,
        text.len() as f64 / *events as f64,
        ratio,
    );
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let config = Config::embedded();
    let bare = Arc::clone(Rules::new(&config.rules, &[]).wanted());
    let full = Arc::clone(Rules::new(&config.rules, &config.fact_rules).wanted());
    for (format_name, format) in FORMATS {
        for mix in [Mix::Unwanted, Mix::FactRule, Mix::Wanted] {
            let (text, events) = block(mix, format);
            let what = match mix {
                Mix::Unwanted => "not wanted",
                Mix::FactRule => "account SIDs only",
                Mix::Wanted => "wanted",
            };
            for (rules, wanted) in [("rules alone", &bare), ("rules and fact_rules", &full)] {
                let emitted = match mix {
                    Mix::Wanted => events,
                    Mix::FactRule if rules == "rules and fact_rules" => events,
                    Mix::FactRule | Mix::Unwanted => 0,
                };
                let name = format!("{format_name}, {what}, {rules}");
                measure(&Case { name, text: &text, events, emitted, wanted }, &mut criterion);
            }
        }
    }
    criterion.final_summary();
}

//! The fast path and the `evtx` crate see the same records and the same
//! values, on every real log and on written ones.

use std::sync::Arc;

use twinsid::config::Config;
use twinsid::decode::Tally;
use twinsid::decode::evtx::{CHUNK_BYTES, ChunkDecoder};
use twinsid::decode::field_plan::FieldPlan;
use twinsid::decode::xml::decode_event;
use twinsid::decode::{clock, oracle};
use twinsid::detect::rules::Rules;
use twinsid::record::{Record, Value, Wanted};
use twinsid::time::EventTime;

use crate::corpus;

/// A record as text, whatever types its values came in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Plain {
    record_id: u64,
    time: EventTime,
    provider: String,
    event_id: u32,
    channel: String,
    computer: String,
    fields: Vec<(String, String)>,
}

impl Plain {
    pub fn of(record: &Record<'_>, wanted: &Wanted) -> Plain {
        let mut fields: Vec<(String, String)> = record
            .fields
            .iter()
            .map(|(field, value)| (wanted.field_name(*field).to_owned(), plain_value(value)))
            .filter(|(_, value)| !value.is_empty())
            .collect();
        fields.sort();
        Plain {
            record_id: record.record_id,
            time: record.time,
            provider: record.provider.to_string(),
            event_id: record.event_id,
            channel: plain_value(&record.channel),
            computer: plain_value(&record.computer),
            fields,
        }
    }
}

/// Times are written with more or fewer digits; line ends are normalised by
/// XML, and characters that it has no place for are written as `_`.
fn plain_value(value: &Value<'_>) -> String {
    let text = value.text();
    match clock::parse_time(&text) {
        Some(time) => time.to_string(),
        None => text.replace("\r\n", "\n").replace('\r', "\n").replace(
            |c: char| {
                c.is_control() && !matches!(c, '\t' | '\n') || c == '\u{fffe}' || c == '\u{ffff}'
            },
            "_",
        ),
    }
}

/// What the fast path makes of a file, sorted.
pub fn fast(bytes: &[u8], wanted: &Arc<Wanted>) -> (Vec<Plain>, Tally) {
    let mut tally = Tally::default();
    let mut records = Vec::new();
    let mut decoder = ChunkDecoder::new(Arc::clone(wanted));
    let body = bytes.get(4096..).unwrap_or_default();
    decoder.decode(body, 0, &mut tally, &mut |record| records.push(Plain::of(record, wanted)));
    records.sort();
    (records, tally)
}

/// What the `evtx` crate makes of it.
fn slow(bytes: &[u8], wanted: &Arc<Wanted>) -> (Vec<Plain>, u64) {
    let plan = FieldPlan::new(Arc::clone(wanted));
    let mut records = Vec::new();
    let mut count = 0;
    for chunk in bytes.get(4096..).unwrap_or_default().chunks(CHUNK_BYTES) {
        for (_, rendered) in oracle::render(chunk, |_| true) {
            let Ok(text) = rendered else { continue };
            count += 1;
            let emit = &mut |record: &Record<'_>| records.push(Plain::of(record, wanted));
            decode_event(&text, &plan, emit).expect("the crate writes whole events");
        }
    }
    records.sort();
    (records, count)
}

pub fn shipped() -> Arc<Wanted> {
    let config = Config::embedded();
    Arc::clone(Rules::new(&config.rules, &config.fact_rules).wanted())
}

#[track_caller]
pub fn check_equal(name: &str, bytes: &[u8], wanted: &Arc<Wanted>) -> (usize, Tally) {
    let (fast, tally) = fast(bytes, wanted);
    let (slow, count) = slow(bytes, wanted);
    for (one, other) in fast.iter().zip(&slow) {
        assert_eq!(one, other, "{name}");
    }
    assert_eq!(fast.len(), slow.len(), "{name}");
    assert_eq!(tally.records, count, "{name}: {tally:?}");
    (fast.len(), tally)
}

#[test]
fn the_fast_path_equals_the_evtx_crate_on_every_real_log() {
    let Some(folder) = corpus::folder("the oracle test") else { return };
    let wanted = shipped();
    let (mut records, mut all) = (0, Tally::default());
    for path in corpus::evtx_files(&folder) {
        let bytes = std::fs::read(&path).expect("the corpus can be read");
        let (wanted, tally) = check_equal(&path.display().to_string(), &bytes, &wanted);
        records += wanted;
        all.absorb(tally);
    }
    assert!(records > 2_000, "{records} wanted records");
    assert!(
        all.slow_records * 100 < all.records,
        "{} of {} took the slow path",
        all.slow_records,
        all.records
    );
}

//! Input that is cut off, changed or made to harm: it never panics, never runs
//! on, never grows beyond measure, and costs no more than what it touches.
//!
//! Whatever is random comes from a fixed seed. Limits are counts, not times.

use std::collections::BTreeSet;
use std::sync::Arc;

use twinsid::decode::evtx::{CHUNK_BYTES, ChunkDecoder};
use twinsid::decode::lines::{EVENT_BYTES_MAX, LineDecoder, last_boundary};
use twinsid::decode::{Rejects, Tally};
use twinsid::pipeline::replay::{NoProgress, replay};
use twinsid::record::{Record, Wanted};
use twinsid::reject::RejectReason;
use twinsid::simulate::evtx::{Payload, TypedValue};

use crate::archives::{replay_of, replayed};
use crate::corpus;
use crate::oracle::{Plain, fast, shipped};
use crate::written::{
    FailedLogon, Log, RawChunk, decode, event, json_lines, lsa_event, put_element, put_event,
    small_log, xml_lines,
};

/// A record is at least so long, so that a chunk has no more than this.
const RECORDS_MAX: u64 = (CHUNK_BYTES as u64 - 512) / 28;

/// Text handed over from one chunk, as a multiple of its size. Values stand in
/// the chunk once; a record shows those of its own and the texts of its
/// templates, which the records of a chunk share.
const GROWTH_MAX: usize = 16;

/// Items that a template may have, each of which may show the same value.
const GROWTH_BY_DESIGN_MAX: usize = 1024;

/// xorshift64*: the same numbers in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

/// What a decoder handed over, in numbers.
#[derive(Debug, Default)]
struct Handed {
    records: u64,
    text_bytes: usize,
}

impl Handed {
    fn add(&mut self, record: &Record<'_>) {
        self.records += 1;
        self.text_bytes += record.provider.len();
        let values = record.fields.iter().map(|(_, value)| value);
        for value in values.chain([&record.channel, &record.computer]) {
            self.text_bytes += value.text().len();
        }
    }
}

/// A chunk of few records: whatever is done to each of its bytes is soon done.
fn little_chunk() -> Vec<u8> {
    let mut log = Log::new();
    log.logon(1, "FS01.corp.example", "bob", 1104);
    for record_id in 2..=3 {
        log.failed_logon(FailedLogon {
            record_id,
            computer: "FS01.corp.example",
            user: "bob",
            domain: "CORP",
            workstation: "WS07",
        });
    }
    log.noise(4, "FS01.corp.example");
    log.write(&lsa_event(6167, 5, Payload::None));
    log.finish()[4096..].to_vec()
}

fn plains(chunks: &[u8], wanted: &Arc<Wanted>) -> (Vec<Plain>, Tally) {
    let mut records = Vec::new();
    let tally = decode(chunks, wanted, |record| records.push(Plain::of(record, wanted)));
    (records, tally)
}

#[test]
fn a_log_cut_at_any_byte_keeps_what_stands_before() {
    let wanted = shipped();
    let chunk = little_chunk();
    let (whole, _) = plains(&chunk, &wanted);
    let free_space = u32::from_le_bytes(chunk[48..52].try_into().expect("four bytes")) as usize;
    let mut decoder = ChunkDecoder::new(Arc::clone(&wanted));
    let mut found = BTreeSet::new();
    for len in (1..free_space + 64).chain((free_space..CHUNK_BYTES).step_by(61)) {
        let (mut records, mut tally) = (Vec::new(), Tally::default());
        let emit = &mut |record: &Record<'_>| records.push(Plain::of(record, &wanted));
        decoder.decode(&chunk[..len], 1, &mut tally, emit);
        assert!(whole.starts_with(&records), "cut at {len}: {records:?}");
        assert_eq!(
            tally.skipped.get(&RejectReason::ChunkTruncated),
            Some(&1),
            "cut at {len}: {tally:?}"
        );
        found.insert(records.len());
    }
    assert_eq!(found, (0..=whole.len()).collect(), "every number of records was left somewhere");
}

#[test]
fn a_file_cut_anywhere_is_replayed_as_far_as_it_goes() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("cut.evtx");
    let bytes = small_log();
    let whole = replayed(&path, &bytes);
    let mut counts = BTreeSet::new();
    for len in (0..12).chain([4095, 4096, 4097, 4608]).chain((5000..bytes.len()).step_by(4999)) {
        std::fs::write(&path, &bytes[..len]).expect("written");
        let cut = replay(replay_of(&[&path]), &mut NoProgress).expect("damage is passed over");
        assert!(cut.tally.records <= whole.tally.records, "cut at {len}");
        assert!(cut.ingested.failures <= whole.ingested.failures, "cut at {len}");
        counts.insert(cut.tally.records);
    }
    assert!(counts.len() > 8, "cuts leave more or less: {counts:?}");
}

#[test]
fn damage_in_one_chunk_leaves_the_others_alone() {
    let wanted = shipped();
    let bytes = small_log();
    let (first, _) = plains(&bytes[4096..4096 + CHUNK_BYTES], &wanted);
    let (second, _) = plains(&bytes[4096 + CHUNK_BYTES..], &wanted);
    assert!(!first.is_empty() && !second.is_empty());
    let mut random = Random(2);
    for _ in 0..100 {
        let mut damaged = bytes[4096..].to_vec();
        mutate(&mut damaged[..CHUNK_BYTES], &mut random);
        let (records, _) = plains(&damaged, &wanted);
        assert!(records.ends_with(&second), "{} records", records.len());
    }
}

/// One to eight changes: bits, bytes and words, many of them numbers that look
/// like sizes, offsets and counts; moved pieces.
fn mutate(chunk: &mut [u8], random: &mut Random) {
    let live = chunk.len().min(512 + random.below(chunk.len() - 512));
    for _ in 0..1 + random.below(8) {
        // Headers are hit as often as everything else.
        let end = [128, 512, live, chunk.len()][random.below(4)];
        let at = random.below(end - 8);
        let word = [
            0,
            1,
            u32::MAX,
            u32::MAX - 3,
            0x8000_0000,
            0xffff,
            CHUNK_BYTES as u32,
            at as u32,
            random.below(CHUNK_BYTES) as u32,
            random.next() as u32,
        ][random.below(10)];
        match random.below(7) {
            0 => chunk[at] ^= 1 << random.below(8),
            1 => chunk[at] = random.next() as u8,
            2 => {
                chunk[at] = [0x00, 0x01, 0x0c, 0x0d, 0x0e, 0x0f, 0x21, 0x41, 0x81][random.below(9)]
            }
            3 => chunk[at..at + 2].copy_from_slice(&(word as u16).to_le_bytes()),
            4 => chunk[at..at + 4].copy_from_slice(&word.to_le_bytes()),
            5 => {
                // A word of the chunk itself, wherever it fits.
                let from = random.below(end - 8);
                chunk.copy_within(from..from + 4, at);
            }
            _ => {
                let len = 1 + random.below(64.min(end - at));
                let from = random.below(chunk.len() - len);
                chunk.copy_within(from..from + len, at);
            }
        }
    }
}

/// Decodes changed copies of the chunks and counts what comes of it.
fn check_mutations(chunks: &[Vec<u8>], rounds: usize, seed: u64) {
    let wanted = shipped();
    let mut random = Random(seed);
    let mut decoder = ChunkDecoder::new(wanted);
    let (mut slow, mut skips) = (0, 0);
    for round in 0..rounds {
        let mut chunk = chunks[random.below(chunks.len())].clone();
        mutate(&mut chunk, &mut random);
        let (mut handed, mut tally) = (Handed::default(), Tally::default());
        tally.rejects = Some(Rejects::default());
        decoder.decode(&chunk, 0, &mut tally, &mut |record| handed.add(record));
        let skipped: u64 = tally.skipped.values().sum();
        let letters = tally.rejects.take().unwrap_or_default().rejects;
        assert_eq!(letters.len() as u64, skipped, "round {round}: each is kept");
        for letter in &letters {
            let place = memchr::memmem::find(&chunk, &letter.bytes);
            assert!(place.is_some() && !letter.bytes.is_empty(), "round {round}: {letter:?}");
        }
        assert!(tally.records <= RECORDS_MAX, "round {round}: {tally:?}");
        assert!(handed.records <= tally.records, "round {round}: {handed:?} of {tally:?}");
        assert!(skipped <= RECORDS_MAX + 2, "round {round}: {tally:?}");
        assert!(handed.text_bytes <= GROWTH_MAX * CHUNK_BYTES, "round {round}: {handed:?}");
        slow += tally.slow_records;
        skips += skipped;
    }
    assert!(slow > 0 && skips > 0, "the changes reach both: {slow} slow, {skips} skipped");
}

#[test]
fn changed_chunks_of_written_logs_neither_panic_nor_grow() {
    let log = small_log();
    let mut chunks = vec![little_chunk(), forwarded_chunk()];
    chunks.extend(log[4096..].chunks(CHUNK_BYTES).map(<[u8]>::to_vec));
    check_mutations(&chunks, 10_000, 1);
}

#[test]
fn changed_chunks_of_real_logs_neither_panic_nor_grow() {
    let Some(folder) = corpus::folder("the damage test") else { return };
    let mut chunks = Vec::new();
    for path in corpus::evtx_files(&folder) {
        let bytes = std::fs::read(&path).expect("the corpus can be read");
        let whole = bytes.get(4096..).unwrap_or_default().chunks_exact(CHUNK_BYTES);
        chunks.extend(whole.take(2).map(<[u8]>::to_vec));
    }
    assert!(chunks.len() > 100, "{} chunks", chunks.len());
    check_mutations(&chunks, 10_000, 3);
}

fn forwarded_chunk() -> Vec<u8> {
    let mut chunk = RawChunk::new();
    for _ in 0..12 {
        chunk.record(|out| {
            put_event(out, (crate::written::SECURITY, "4625"), &|out| {
                let field = |out: &mut Vec<u8>| put_element(out, "Status", &[], None);
                put_element(out, "EventData", &[], Some(&field));
            });
        });
    }
    chunk.file()[4096..].to_vec()
}

/// What a file made to harm comes to.
#[track_caller]
fn check_made(file: &[u8], growth_max: usize) -> Tally {
    let mut handed = Handed::default();
    let tally = decode(&file[4096..], &shipped(), |record| handed.add(record));
    assert!(handed.text_bytes <= growth_max * CHUNK_BYTES, "{handed:?}, {tally:?}");
    tally
}

/// Elements within elements; a template's plan has fewer, a thread's stack too.
#[test]
fn elements_as_deep_as_a_chunk_can_hold_are_skipped() {
    let mut chunk = RawChunk::new();
    chunk.record(|out| {
        let name_at = out.len() as u32 + 5 + 4;
        put_element(out, "Event", &[], None);
        out.pop();
        out.push(0x02);
        let mut ends = Vec::new();
        while out.len() + ends.len() < 65_000 {
            out.push(0x01);
            out.extend_from_slice(&50_000_u32.to_le_bytes());
            out.extend_from_slice(&name_at.to_le_bytes());
            out.push(0x02);
            ends.push(0x04);
        }
        out.extend(ends);
    });
    let tally = check_made(&chunk.file(), 1);
    assert_eq!(tally.records, 0, "{tally:?}");
    assert_eq!(tally.skipped.values().sum::<u64>(), 1, "{tally:?}");
}

/// Every item of a template shows the one value, which fills the chunk.
fn one_value_shown(times: usize, name: &str, value_bytes: usize) -> Vec<u8> {
    let value = "A".repeat(value_bytes / 2);
    let mut fields = vec![(name, TypedValue::Null); times];
    fields[0].1 = TypedValue::Text(&value);
    let mut log = Log::new();
    log.write(&event(4625, 1, Payload::Named(&fields)));
    let mut bytes = log.finish();
    let mut turned = 0;
    for at in 4096..bytes.len() - 6 {
        if let [0x02, 0x0d, _, _, 0x01, 0x04] = bytes[at..at + 6] {
            bytes[at + 2..at + 4].fill(0);
            turned += 1;
        }
    }
    assert!(turned >= times, "{turned} of {times}");
    bytes
}

#[test]
fn one_value_in_many_items_grows_within_the_bound() {
    check_made(&one_value_shown(400, "TargetUserName", 20_000), GROWTH_BY_DESIGN_MAX);
    check_made(&one_value_shown(1000, "x", 10_000), 1);
    check_made(&one_value_shown(1100, "Status", 4_000), GROWTH_BY_DESIGN_MAX);
}

/// The buckets of names and templates link lists; here they go round.
#[test]
fn lists_of_names_and_templates_that_go_round_end() {
    let chunk = little_chunk();
    let wanted = shipped();
    let (whole, _) = plains(&chunk, &wanted);
    for buckets in [128..384, 384..512] {
        let mut round = chunk.clone();
        for at in buckets.step_by(4) {
            let head =
                u32::from_le_bytes(chunk[at..at + 4].try_into().expect("four bytes")) as usize;
            if head != 0 {
                round[head..head + 4].copy_from_slice(&(head as u32).to_le_bytes());
            }
        }
        assert_ne!(round, chunk);
        assert_eq!(plains(&round, &wanted).0, whole, "the lists are not needed");
        // A fraction takes every record of its chunk the slow way, lists and all.
        let mut log = Log::new();
        log.write(&event(4625, 1, Payload::Named(&[("Status", TypedValue::F64(1.5))])));
        let mut slow = log.finish();
        for at in (4096 + 128..4096 + 512).step_by(4) {
            let head =
                u32::from_le_bytes(slow[at..at + 4].try_into().expect("four bytes")) as usize;
            if head != 0 {
                slow[4096 + head..4096 + head + 4].copy_from_slice(&(head as u32).to_le_bytes());
            }
        }
        let (_, tally) = fast(&slow, &wanted);
        assert_eq!((tally.records, tally.slow_records), (1, 1), "{tally:?}");
    }
}

// Text.

fn texts() -> [(&'static str, String); 2] {
    let mut log = Log::new();
    for (record_id, user) in [(1, "alice"), (2, "bob"), (3, "carol")] {
        log.failed_logon(FailedLogon {
            record_id,
            computer: "FS01.corp.example",
            user,
            domain: "CORP",
            workstation: "WS07",
        });
    }
    let bytes = log.finish();
    [("XML", xml_lines(&bytes)), ("JSON", json_lines(&bytes))]
}

fn lines(text: &[u8], decoder: &mut LineDecoder, wanted: &Wanted) -> (Vec<Plain>, Tally) {
    let (mut records, mut tally) = (Vec::new(), Tally::default());
    decoder.decode(text, &mut tally, &mut |record| records.push(Plain::of(record, wanted)));
    (records, tally)
}

#[test]
fn text_cut_at_any_byte_keeps_what_stands_before() {
    let wanted = shipped();
    for (format, text) in texts() {
        let mut decoder = LineDecoder::new(Arc::clone(&wanted));
        let (whole, tally) = lines(text.as_bytes(), &mut decoder, &wanted);
        assert_eq!((whole.len(), tally.records), (3, 3), "{format}: {tally:?}");
        let ends: Vec<usize> = text.match_indices('\n').map(|(at, _)| at).collect();
        for len in 0..=text.len() {
            let cut = &text.as_bytes()[..len];
            let (records, tally) = lines(cut, &mut decoder, &wanted);
            let before = ends.iter().filter(|end| **end <= len).count();
            // Of XML the end tag alone may be missing; nothing else may.
            assert!(whole.starts_with(&records), "{format} cut at {len}: {records:?}");
            assert!([before, before + 1].contains(&records.len()), "{format} cut at {len}");
            let events = tally.records + tally.skipped.values().sum::<u64>();
            assert!(events <= before as u64 + 1, "{format} cut at {len}: {tally:?}");
            assert!(last_boundary(cut).is_none_or(|end| end <= len), "{format} cut at {len}");
        }
    }
}

#[test]
fn a_flipped_bit_of_text_costs_no_other_line() {
    let wanted = shipped();
    for (format, text) in texts() {
        let mut decoder = LineDecoder::new(Arc::clone(&wanted));
        let (whole, _) = lines(text.as_bytes(), &mut decoder, &wanted);
        let line = text.find('\n').expect("three lines") + 1;
        let next = line + text[line..].find('\n').expect("three lines");
        for bit in line * 8..next * 8 {
            let mut flipped = text.as_bytes().to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let (records, tally) = lines(&flipped, &mut decoder, &wanted);
            assert!(records.len() <= 4, "{format}, bit {bit}: {tally:?}");
            assert_eq!(records.first(), whole.first(), "{format}, bit {bit}");
            assert_eq!(records.last(), whole.last(), "{format}, bit {bit}");
        }
    }
}

/// Brackets within brackets, a mebibyte of them.
#[test]
fn text_as_deep_as_a_line_can_hold_is_skipped() {
    let wanted = shipped();
    let mut decoder = LineDecoder::new(Arc::clone(&wanted));
    for text in [
        format!("{{\"EventID\":4625,\"a\":{}", "[".repeat(1_000_000)),
        "{\"EventID\":".repeat(90_000),
        format!("<Event><EventID>4625</EventID>{}", "<a>".repeat(300_000)),
        format!("<Event><EventID>4625</EventID>{}</Event>", "<Event>".repeat(100_000)),
    ] {
        let (records, tally) = lines(text.as_bytes(), &mut decoder, &wanted);
        assert!(records.is_empty(), "{tally:?}");
        assert!(tally.skipped.values().sum::<u64>() >= 1, "{tally:?}");
    }
}

/// Whoever fills a field must not write events: not by making it long either.
#[test]
fn text_within_a_line_that_is_too_long_is_no_event() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let made = "<Event><System><Provider Name='LsaSrv'/><EventID>6167</EventID>\
                <TimeCreated SystemTime='2025-10-01T08:00:00.000Z'/><Computer>MADE</Computer>\
                </System></Event>";
    for long in [10, EVENT_BYTES_MAX, 2 * EVENT_BYTES_MAX, 5 * EVENT_BYTES_MAX] {
        let text = format!("{{\"EventID\":1,\"a\":\"{}{made}\"}}\n", "x".repeat(long));
        let replayed = replayed(&folder.path().join("made.jsonl"), text.as_bytes());
        assert_eq!(replayed.ingested.mismatches, 0, "{long}: {:?}", replayed.tally);
        assert_eq!(replayed.tally.records, 0, "{long}: {:?}", replayed.tally);
    }
}

//! The same log in every wrapping gives the same incidents; archives that lie
//! or harm are refused, and counted.

use std::fs;
use std::io::{Cursor, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use flate2::Compression;
use flate2::write::GzEncoder;
use twinsid::config::Config;
use twinsid::decode::lines::last_boundary;
use twinsid::pipeline::replay::{NoProgress, OnDamage, Replay, Replayed, replay};
use twinsid::reject::RejectReason;
use twinsid::source::discover::discover;
use twinsid::source::files::Files;
use twinsid::source::{Next, Source};
use zip::CompressionMethod;
use zip::write::SimpleFileOptions;

use crate::written::{json_lines, small_log, xml_lines};

/// A replay under the shipped rules.
pub fn replay_of(paths: &[&Path]) -> Replay {
    let config = Config::embedded();
    Replay {
        paths: paths.iter().map(|path| path.to_path_buf()).collect(),
        outputs: Vec::new(),
        settings: config.settings,
        rules: config.rules,
        fact_rules: config.fact_rules,
        inventory: Vec::new(),
        threads: 1,
        damage: OnDamage::Skip,
    }
}

/// Writes the bytes to the path, and replays it.
pub fn replayed(path: &Path, bytes: &[u8]) -> Replayed {
    fs::write(path, bytes).expect("written");
    replay(replay_of(&[path]), &mut NoProgress).expect("the input can be read")
}

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    packer.write_all(bytes).expect("memory can be written");
    packer.finish().expect("memory can be written")
}

fn zst(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).expect("memory can be written")
}

fn zipped(members: &[(&str, CompressionMethod, &[u8])]) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, method, bytes) in members {
        let options = SimpleFileOptions::default().compression_method(*method);
        archive.start_file(*name, options).expect("a member can be added");
        archive.write_all(bytes).expect("memory can be written");
    }
    archive.finish().expect("memory can be written").into_inner()
}

const STORED: CompressionMethod = CompressionMethod::Stored;
const DEFLATED: CompressionMethod = CompressionMethod::Deflated;

/// The log under this name and in this wrapping gives what it gives plain.
#[track_caller]
fn check_same(name: &str, wrapped: &[u8]) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let plain = replayed(&folder.path().join("plain.evtx"), &small_log());
    assert!(plain.incidents.len() >= 3, "{}", plain.incidents.len());
    let other = replayed(&folder.path().join(name), wrapped);
    assert!(other.tally.skipped.is_empty(), "{name}: {:?}", other.tally);
    assert_eq!(other.tally.records, plain.tally.records, "{name}");
    assert_eq!(other.incidents, plain.incidents, "{name}");
    assert_eq!(other.ingested, plain.ingested, "{name}");
}

#[test]
fn compressed_logs_give_the_same_incidents() {
    let log = small_log();
    check_same("log.evtx.gz", &gz(&log));
    check_same("log.evtx.zst", &zst(&log));
    check_same("a name of no kind", &gz(&log));
    check_same("log.evtx.gz", &[gz(&log[..70_000]), gz(&log[70_000..])].concat());
}

#[test]
fn archives_give_the_same_incidents() {
    let log = small_log();
    let notes: (&str, CompressionMethod, &[u8]) = ("notes.txt", DEFLATED, b"no log at all");
    for (name, method, bytes) in [
        ("logs/log.evtx", STORED, log.clone()),
        ("logs/log.evtx", DEFLATED, log.clone()),
        ("logs/log.evtx", CompressionMethod::Zstd, log.clone()),
        ("log.evtx.gz", STORED, gz(&log)),
        ("log.evtx.gz", DEFLATED, gz(&log)),
        ("log.evtx.zst", DEFLATED, zst(&log)),
        ("inner.zip", STORED, zipped(&[("log.evtx", DEFLATED, &log)])),
    ] {
        check_same("archive.zip", &zipped(&[notes, (name, method, &bytes), notes_again()]));
    }
    check_same("archive.zip.gz", &gz(&zipped(&[("log.evtx", DEFLATED, &log)])));
}

fn notes_again() -> (&'static str, CompressionMethod, &'static [u8]) {
    ("folder/README.md", STORED, b"no log either")
}

#[test]
fn text_in_every_encoding_gives_the_same_incidents() {
    let log = small_log();
    let xml = xml_lines(&log);
    let utf16 = |mark: &[u8], bytes: fn(u16) -> [u8; 2]| {
        let text = xml.encode_utf16().flat_map(bytes);
        mark.iter().copied().chain(text).collect::<Vec<u8>>()
    };
    check_same("log.xml", xml.as_bytes());
    check_same("log.xml", &[b"\xef\xbb\xbf", xml.as_bytes()].concat());
    check_same("log.xml", &utf16(&[0xff, 0xfe], u16::to_le_bytes));
    check_same("log.xml", &utf16(&[0xfe, 0xff], u16::to_be_bytes));
    check_same("log.xml.gz", &gz(&utf16(&[0xff, 0xfe], u16::to_le_bytes)));
    check_same("log.xml", xml.replace('\n', "\r\n").as_bytes());
    let document = format!("<?xml version=\"1.0\"?>\r\n<Events>\r\n{xml}</Events>\r\n");
    check_same("log.xml", document.as_bytes());
    check_same("log.jsonl", json_lines(&log).as_bytes());
    check_same("log.json.zst", &zst(json_lines(&log).as_bytes()));
}

#[test]
fn a_folder_gives_the_same_incidents_whatever_else_is_in_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let plain = replayed(&folder.path().join("plain.evtx"), &small_log());
    let logs = folder.path().join("logs");
    fs::create_dir_all(logs.join("deep/er")).expect("created");
    fs::write(logs.join("deep/er/LOG.EVTX"), small_log()).expect("written");
    for other in ["notes.txt", "deep/picture.png", "deep/._LOG.evtx", "archive.tar.gz"] {
        fs::write(logs.join(other), "nothing to see").expect("written");
    }
    let found = replay(replay_of(&[&logs]), &mut NoProgress).expect("logs");
    assert_eq!((found.files, &found.incidents), (1, &plain.incidents));
    // The same log twice is the same events, once.
    let twice = replay(replay_of(&[folder.path()]), &mut NoProgress).expect("logs");
    assert_eq!((twice.files, &twice.incidents), (2, &plain.incidents));
    assert_eq!(twice.ingested.failures, plain.ingested.failures);
}

#[test]
fn standard_input_gives_the_same_incidents() {
    let log = small_log();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("plain.evtx");
    fs::write(&path, &log).expect("written");
    let replay = |input: &str, bytes: &[u8]| {
        let mut child = Command::new(env!("CARGO_BIN_EXE_twinsid"))
            .args(["replay", "-q", input])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        child.stdin.take().expect("a pipe").write_all(bytes).expect("the program reads it all");
        let output = child.wait_with_output().expect("the program ends");
        assert!(output.status.success());
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let plain = replay(path.to_str().expect("a plain path"), b"");
    assert!(plain.lines().count() >= 3, "{plain}");
    for bytes in [
        log.clone(),
        gz(&log),
        zst(&log),
        zipped(&[("log.evtx", DEFLATED, &log)]),
        xml_lines(&log).into_bytes(),
        json_lines(&log).into_bytes(),
    ] {
        assert_eq!(replay("-", &bytes), plain);
    }
}

/// Replays what harms beside a good log, which is read all the same.
#[track_caller]
fn check_refused(name: &str, bytes: &[u8], reason: RejectReason, says: &str) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let good = replayed(&folder.path().join("good.evtx"), &small_log());
    fs::write(folder.path().join(name), bytes).expect("written");
    let both = replay(replay_of(&[folder.path()]), &mut NoProgress).expect("damage is passed over");
    assert_eq!(both.tally.skipped.get(&reason), Some(&1), "{name}, {says}: {:?}", both.tally);
    let sample = &both.tally.samples[&reason];
    assert!(sample.contains(says) && sample.contains(name), "{sample}");
    assert_eq!(both.incidents, good.incidents, "{name}");
}

#[test]
fn a_member_whose_name_leaves_the_archive_is_refused_and_the_others_are_read() {
    let log = small_log();
    for name in ["../log.evtx", "..\\log.evtx", "a/../../log.evtx"] {
        // Same length, so that the name can be put in where the writer has one.
        let decent = "x".repeat(name.len());
        let mut bytes = zipped(&[(&decent, DEFLATED, &log), ("inside.evtx", DEFLATED, &log)]);
        let mut at = 0;
        while let Some(found) =
            bytes[at..].windows(decent.len()).position(|w| w == decent.as_bytes())
        {
            bytes[at + found..at + found + name.len()].copy_from_slice(name.as_bytes());
            at += found + 1;
        }
        check_refused("archive.zip", &bytes, RejectReason::ArchiveMember, name);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let alone = replayed(&folder.path().join("archive.zip"), &bytes);
        let plain = replayed(&folder.path().join("plain.evtx"), &log);
        assert_eq!(alone.incidents, plain.incidents, "the member inside was read");
    }
}

/// Zeros behind the start of a log: a thousandth of their size when packed.
fn bomb(head: &[u8]) -> impl Read {
    head.chain(std::io::repeat(0).take(300 << 20))
}

#[test]
fn a_compressed_file_that_grows_out_of_proportion_is_refused() {
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    std::io::copy(&mut bomb(&small_log()[..4096]), &mut packed).expect("memory can be written");
    let packed = packed.finish().expect("memory can be written");
    assert!(packed.len() < 2 << 20, "{} bytes", packed.len());
    check_refused("bomb.evtx.gz", &packed, RejectReason::ArchiveMember, "archive bomb");
}

#[test]
fn an_archive_member_that_grows_out_of_proportion_is_refused() {
    let packed = zstd::encode_all(bomb(&small_log()[..4096]), 1).expect("memory can be written");
    let bytes = zipped(&[("bomb.evtx.zst", STORED, &packed), ("log.evtx", STORED, &small_log())]);
    check_refused("archive.zip", &bytes, RejectReason::ArchiveMember, "archive bomb");
}

#[test]
fn archives_within_archives_end() {
    let mut bytes = gz(&small_log());
    for _ in 0..8 {
        bytes = gz(&bytes);
    }
    check_refused("log.evtx.gz", &bytes, RejectReason::File, "packed more than");
}

#[test]
fn a_cut_off_compressed_file_counts_as_far_as_it_goes() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("log.evtx.gz");
    let log = small_log();
    let whole = replayed(&path, &gz(&log));
    let packed = gz(&log);
    let cut = replayed(&path, &packed[..packed.len() * 3 / 5]);
    assert!((1..whole.tally.records).contains(&cut.tally.records), "{:?}", cut.tally);
    let skipped = cut.tally.skipped.contains_key(&RejectReason::ArchiveMember)
        || cut.tally.skipped.contains_key(&RejectReason::File);
    assert!(skipped, "the rest is counted: {:?}", cut.tally);
    // Only the sums at the end are missing: every event was read.
    let nearly = replayed(&path, &packed[..packed.len() - 8]);
    assert_eq!(nearly.tally.records, whole.tally.records);
    assert!(!nearly.tally.skipped.is_empty(), "{:?}", nearly.tally);
}

#[test]
fn what_is_no_log_is_counted_and_the_rest_is_read() {
    check_refused("empty.evtx", b"", RejectReason::File, "is empty");
    check_refused("text.evtx", b"hello", RejectReason::File, "does not start with");
    check_refused("archive.zip", b"PK\x03\x04 and no more", RejectReason::File, "");
    check_refused("log.evtx.gz", b"\x1f\x8b and no more", RejectReason::File, "");
    check_refused("log.evtx.zst", b"\x28\xb5\x2f\xfd and no more", RejectReason::File, "");
}

/// Changed archives come to an end, in as many steps as they have members and
/// batches, more or less.
#[test]
fn changed_archives_end() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("archive.zip");
    let log = &small_log()[..30_000];
    let good =
        zipped(&[("a.evtx", STORED, log), ("b.evtx", DEFLATED, log), ("c.xml", DEFLATED, b"<a/>")]);
    let mut state = 88_172_645_463_325_252_u64;
    let mut random = |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % bound as u64) as usize
    };
    let (mut damaged, rounds) = (0, 3000);
    for round in 0..rounds {
        let mut bytes = good.clone();
        for _ in 0..1 + random(4) {
            // The directory stands at the end, a header at the start.
            let at = match random(3) {
                0 => random(64),
                1 => bytes.len() - 1 - random(220),
                _ => random(bytes.len()),
            };
            bytes[at] = [0, 1, 0xff, random(256) as u8][random(4)];
        }
        if random(10) == 0 {
            bytes.truncate(random(bytes.len()));
        }
        fs::write(&path, &bytes).expect("written");
        let inputs = discover(std::slice::from_ref(&path), &[]).expect("there");
        let mut source = Files::new(inputs, last_boundary);
        let mut steps = 0;
        loop {
            match source.next(std::time::Duration::ZERO).expect("damage is passed over") {
                Next::Batch(_) | Next::Idle | Next::Waiting | Next::Rewound => {}
                Next::Skipped(_) => damaged += 1,
                Next::End => break,
            }
            steps += 1;
            assert!(steps < 1000, "round {round} goes on");
        }
    }
    assert!(damaged > rounds / 10, "the changes do damage: {damaged}");
}

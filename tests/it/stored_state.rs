//! State that other versions stored: what this one goes on from, and what it refuses.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value as Json;
use tempfile::TempDir;

const CONFIG: &str = r#"
[[source]]
kind = "stdin"

[sink]
kind = "file"
path = "incidents.jsonl"

[state]
dir = "state"
"#;

/// A copy of what a version left behind, with the configuration that it had.
fn left_by(version: &str) -> TempDir {
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/state-{version}"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::create_dir(folder.path().join("state")).expect("created");
    let copy = |from: PathBuf, to: PathBuf| fs::copy(from, to).expect("copied");
    for entry in fs::read_dir(kept.join("state")).expect("the state is kept") {
        let name = entry.expect("an entry").file_name();
        copy(kept.join("state").join(&name), folder.path().join("state").join(&name));
    }
    copy(kept.join("incidents.jsonl"), folder.path().join("incidents.jsonl"));
    fs::write(folder.path().join("twinsid.toml"), CONFIG).expect("written");
    folder
}

/// Exit code, standard output and standard error of a run with nothing on standard input.
fn run(folder: &TempDir, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_twinsid"))
        .args(arguments)
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .output()
        .expect("the program starts");
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// Source key, state and failures of each line of incidents.
fn incidents(folder: &TempDir) -> Vec<(String, u64, u64)> {
    let text = fs::read_to_string(folder.path().join("incidents.jsonl")).expect("there");
    let one = |line: &str| {
        let incident: Json = serde_json::from_str(line).expect("JSON");
        let number = |value: &Json| value.as_u64().expect("a number");
        let key = incident["source_key"].as_str().expect("a key").to_owned();
        (key, number(&incident["revision"]), number(&incident["counts"]["failures"]))
    };
    text.lines().map(one).collect()
}

/// Three pairs of clones and eight failures of bob, with a snapshot; then, killed, seven failures of
/// ann and one more of bob in entries of the changelog.
#[test]
fn a_state_of_this_format_is_gone_on_from_and_nothing_is_emitted_twice() {
    let folder = left_by("0.2.0");
    let (code, shown, err) = run(&folder, &["state", "-c", "twinsid.toml", "--json"]);
    assert_eq!(code, Some(0), "{err}");
    let shown: Json = serde_json::from_str(&shown).expect("JSON");
    assert_eq!(shown["state"]["format"], 4, "{shown}");
    assert_eq!(shown["state"]["written_by"], "0.2.0", "{shown}");
    let before = incidents(&folder);
    assert_eq!(before.len(), 5);
    let (code, _, err) = run(&folder, &["run", "-c", "twinsid.toml"]);
    assert_eq!(code, Some(0), "{err}");
    assert!(err.contains("the state is restored") && err.contains("sessions=2"), "{err}");
    let after = incidents(&folder);
    assert_eq!(after[..5], before);
    // What changed in its numbers alone is emitted when the service stops.
    assert_eq!(after[5..], [("name:CORP\\BOB".to_owned(), 2, 9)]);
}

#[test]
fn a_state_from_before_0_2_0_is_refused_with_what_to_do_and_nothing_is_changed() {
    let folder = left_by("0.1.0");
    let bytes = |folder: &TempDir| {
        let mut files: Vec<(String, Vec<u8>)> = fs::read_dir(folder.path().join("state"))
            .expect("there")
            .map(|entry| entry.expect("an entry"))
            .filter(|entry| entry.file_name() != "lock")
            .map(|entry| {
                let name = entry.file_name().to_string_lossy().into_owned();
                (name, fs::read(entry.path()).expect("readable"))
            })
            .collect();
        files.sort();
        files
    };
    let before = bytes(&folder);
    let (code, _, err) = run(&folder, &["run", "-c", "twinsid.toml"]);
    assert_eq!(code, Some(1), "{err}");
    for says in ["format 2", "before version 0.2.0", "name another state folder"] {
        assert!(err.contains(says), "no `{says}` in: {err}");
    }
    assert_eq!(bytes(&folder), before);
}

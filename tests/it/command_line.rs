//! The program as it is called: exit codes, messages, what goes where.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value as Json;
use tempfile::TempDir;
use twinsid::output::cards::{Style, write_card};
use twinsid::pipeline::replay::{NoProgress, replay};

use crate::archives::replay_of;
use crate::written::{FailedLogon, Log, small_log};

fn twinsid(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_twinsid"))
        .args(arguments)
        .current_dir(folder)
        .env_remove("NO_COLOR")
        .output()
        .expect("the program starts")
}

/// A folder with a good log, a damaged one and a few others.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let put =
        |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).expect("written");
    let log = small_log();
    put("good.evtx", &log);
    let mut damaged = log;
    damaged[4096 + 600..4096 + 900].fill(0x55);
    put("damaged.evtx", &damaged);
    put("old.jsonl", b"as it was\n");
    fs::create_dir(folder.path().join("empty")).expect("created");
    folder
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

/// Checks the exit code, and that standard error contains these texts.
#[track_caller]
fn check(arguments: &[&str], code: i32, says: &[&str]) {
    let folder = folder();
    let output = twinsid(folder.path(), arguments);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {err}");
    for says in says {
        assert!(err.contains(says), "{arguments:?}: no `{says}` in: {err}");
    }
    if code != 0 {
        assert_eq!(out, "", "{arguments:?}: a failed run has no data");
    }
    assert_eq!(
        fs::read_to_string(folder.path().join("old.jsonl")).expect("still there"),
        "as it was\n",
        "{arguments:?}"
    );
    let left = fs::read_dir(folder.path()).expect("still there");
    let left = left.filter(|entry| {
        entry.as_ref().is_ok_and(|entry| entry.file_name().to_string_lossy().contains("twinsid"))
    });
    assert_eq!(left.count(), 0, "{arguments:?}: temporary files are removed");
}

#[test]
fn a_run_that_succeeds_exits_with_0() {
    check(&["replay", "good.evtx"], 0, &["Records", "Incidents", "authentication_failures"]);
    check(&["replay", "damaged.evtx"], 0, &["chunk_checksum", "Skipped"]);
    check(&["replay", "good.evtx", "damaged.evtx", "-o", "new.jsonl"], 0, &["Files    2"]);
    check(&["--version"], 0, &[]);
    check(&["replay", "--help"], 0, &[]);
}

#[test]
fn wrong_flags_exit_with_2_and_say_which() {
    check(&[], 2, &["Usage"]);
    check(&["replay"], 2, &["PATH"]);
    check(&["replai"], 2, &["replai", "replay"]);
    check(&["replay", "good.evtx", "--strickt"], 2, &["--strickt", "--strict"]);
    check(&["replay", "good.evtx", "--threads", "0"], 2, &["--threads", "0"]);
    check(&["replay", "good.evtx", "--threads", "many"], 2, &["many"]);
    check(&["replay", "good.evtx", "--format", "cef"], 2, &["cef", "native", "ecs", "ocsf"]);
    check(&["schema", "none"], 2, &["none", "incident"]);
    check(&["explain"], 2, &["CODE"]);
    check(&["explain", "wobble"], 2, &["wobble", "hint:"]);
    check(&["completions", "fishy"], 2, &["fishy", "bash"]);
}

#[test]
fn what_cannot_be_read_exits_with_3_and_says_what() {
    check(&["replay", "missing.evtx"], 3, &["missing.evtx", "No such file", "hint:"]);
    check(&["replay", "good.evtx", "missing.evtx"], 3, &["missing.evtx"]);
    check(&["replay", "empty"], 3, &["empty", "no event logs", "hint:"]);
    check(&["replay", "missing.evtx", "-o", "old.jsonl"], 3, &["missing.evtx"]);
}

#[test]
fn damage_with_strict_exits_with_4_and_says_where() {
    let says = ["damaged.evtx", "chunk", "hint:", "--strict"];
    check(&["replay", "--strict", "damaged.evtx"], 4, &says);
    check(&["replay", "--strict", "-q", "damaged.evtx"], 4, &says);
    check(&["replay", "--strict", "good.evtx", "damaged.evtx", "-o", "old.jsonl"], 4, &says);
    check(&["replay", "--strict", "good.evtx"], 0, &[]);
}

#[test]
fn what_cannot_be_written_exits_with_1_and_says_where() {
    check(&["replay", "good.evtx", "-o", "none/out.jsonl"], 1, &["none/out.jsonl", "hint:"]);
    check(&["replay", "good.evtx", "-o", "empty"], 1, &["empty", "folder", "hint:"]);
    check(&["replay", "good.evtx", "-o", "new/"], 1, &["new/"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_exits_with_1() {
    check(&["replay", "good.evtx", "-o", "/dev/full"], 1, &["/dev/full"]);
}

/// Counters and hosts are outputs as well: a run must not fail for them only at its end.
#[test]
fn statistics_that_cannot_be_written_exit_with_1() {
    for flag in ["--stats", "--hosts"] {
        check(&["replay", "good.evtx", flag, "empty"], 1, &["empty", "hint:"]);
        check(&["replay", "good.evtx", flag, "none/out.json"], 1, &["none/out.json", "hint:"]);
        let both = ["replay", "good.evtx", "-o", "old.jsonl", flag, "none/out.json"];
        check(&both, 1, &["none/out.json", "hint:"]);
    }
}

/// Checks that a configuration is refused with these texts, by both commands that read it.
#[track_caller]
fn check_config(config: &str, rules: &str, says: &[&str]) {
    let folder = folder();
    fs::write(folder.path().join("twinsid.toml"), config).expect("written");
    fs::write(folder.path().join("rules.toml"), rules).expect("written");
    for arguments in
        [&["check", "-c", "twinsid.toml"][..], &["replay", "good.evtx", "-c", "twinsid.toml"][..]]
    {
        let output = twinsid(folder.path(), arguments);
        let err = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {err}");
        for says in says {
            assert!(err.contains(says), "{arguments:?}: no `{says}` in: {err}");
        }
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_mistake_in_the_configuration_exits_with_2_and_says_file_and_line() {
    check_config("[session]\ngap_sec = 5\n", "", &["twinsid.toml:2:", "gap_sec", "hint:"]);
    check_config("[session]\n\ngap_secs = 0\n", "", &["twinsid.toml:3:", "gap_secs", "3600"]);
    check_config("[session]\ngap_secs = \"5\"\n", "", &["twinsid.toml:2:", "hint:"]);
    check_config("[session\n", "", &["twinsid.toml:1:"]);
    check_config("[rules]\nfiles = [\"gone.toml\"]\n", "", &["gone.toml", "hint:"]);
    check_config(
        "[rules]\ndisable = [\"security-4625\"]\n",
        "",
        &["twinsid.toml:2:", "security-4625-logon-failed"],
    );
}

#[test]
fn every_mistake_of_a_rule_file_is_reported_at_once_with_its_line() {
    let config = "[rules]\nfiles = [\"rules.toml\"]\n";
    let rules = r#"
[[rule]]
id = "one"
provider = "P"
event_id = [1]
kind = "failur"

[[rule]]
id = "two"
provider = "P"
event_id = [2]
kind = "failure"
[rule.when]
Status = { matches = "(" }
"#;
    check_config(config, rules, &["rules.toml:6:", "failur", "rules.toml:14:", "hint:"]);
    check_config(
        config,
        "[[rule]]\nid = \"one\"\nproveder = \"P\"\n",
        &["rules.toml:3:", "proveder"],
    );
}

#[test]
fn a_rule_of_the_users_own_is_used() {
    let folder = folder();
    fs::write(folder.path().join("twinsid.toml"), "[rules]\nfiles = [\"rules.toml\"]\n")
        .expect("written");
    let rule = "[[rule]]\nid = \"own\"\nprovider = \"Microsoft-Windows-Security-Auditing\"\n\
                event_id = [5156]\nkind = \"failure\"\naccount = { name = \"Text\" }\n\
                category = \"other\"\n";
    fs::write(folder.path().join("rules.toml"), rule).expect("written");
    let check = twinsid(folder.path(), &["check", "-c", "twinsid.toml"]);
    assert!(check.status.success(), "{}", text(&check.stderr));
    assert!(text(&check.stdout).starts_with("no mistakes: "), "{}", text(&check.stdout));
    let output = twinsid(folder.path(), &["replay", "good.evtx", "-q", "-c", "twinsid.toml"]);
    assert!(text(&output.stdout).contains("Microsoft-Windows-Security-Auditing/5156"));
}

#[test]
fn former_names_in_the_configuration_are_read_with_one_warning_each() {
    let folder = folder();
    let put = |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("written");
    let config = |service: &str| {
        format!("{SERVICE}kind = \"stdout\"\n[rules]\nfiles = [\"rules.toml\"]\n{service}")
    };
    put("former.toml", &config("[service]\ngather_ms = 7\n"));
    put("twice.toml", &config("[service]\nlinger_ms = 7\ngather_ms = 7\n"));
    put("rules.toml", "\n[[teaching]]\nsid = \"S\"\nname = \"N\"\ndomain = \"D\"\n");
    let warnings = [
        "rules.toml:2: `[[teaching]]` is now `[[fact]]`",
        "former.toml:11: `service.gather_ms` is now `service.linger_ms`",
    ];
    for arguments in [
        &["check", "-c", "former.toml"][..],
        &["replay", "good.evtx", "-c", "former.toml"],
        &["run", "--until-end", "-c", "former.toml"],
    ] {
        let output = twinsid(folder.path(), arguments);
        let err = text(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {err}");
        for warning in warnings {
            assert_eq!(err.matches(warning).count(), 1, "{arguments:?}: {warning} in: {err}");
        }
    }
    let shown = text(&twinsid(folder.path(), &["check", "-c", "former.toml"]).stdout);
    assert!(shown.contains("service.linger_ms = 7    # former.toml\n"), "{shown}");
    assert!(!shown.contains("gather_ms"), "{shown}");
    let output = twinsid(folder.path(), &["check", "-c", "twice.toml"]);
    assert_eq!(output.status.code(), Some(2));
    let err = text(&output.stderr);
    assert!(err.contains("twice.toml:12: `service.gather_ms` is set beside"), "{err}");
}

#[test]
fn an_output_file_appears_whole() {
    let folder = folder();
    let standard = twinsid(folder.path(), &["replay", "good.evtx"]).stdout;
    for name in ["new.jsonl", "old.jsonl"] {
        let output = twinsid(folder.path(), &["replay", "good.evtx", "-o", name]);
        assert!(output.status.success() && output.stdout.is_empty());
        assert_eq!(fs::read(folder.path().join(name)).expect("written"), standard, "{name}");
    }
    assert!(standard.ends_with(b"\n"));
}

#[test]
fn quiet_runs_say_nothing_but_errors() {
    let folder = folder();
    for input in ["good.evtx", "damaged.evtx"] {
        let output = twinsid(folder.path(), &["replay", "-q", input]);
        assert_eq!(
            (output.status.code(), text(&output.stderr)),
            (Some(0), String::new()),
            "{input}"
        );
        assert!(!output.stdout.is_empty());
    }
    check(&["replay", "-q", "missing.evtx"], 3, &["missing.evtx"]);
}

#[test]
fn standard_output_has_json_lines_only() {
    let folder = folder();
    let output = twinsid(folder.path(), &["replay", "damaged.evtx"]);
    let lines: Vec<Json> = text(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).expect("a JSON value a line"))
        .collect();
    assert!(lines.len() >= 2 && lines.iter().all(|line| line["schema"] == 1), "{lines:?}");
    // The summary and the warnings went to standard error, without colours.
    let err = text(&output.stderr);
    assert!(err.contains("damaged.evtx") && !err.contains('\x1b'), "{err}");
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut damaged = small_log();
    for number in 0..9 {
        let name = format!("{number}.evtx");
        let mut log = Log::new();
        for record_id in 1..200 {
            log.failed_logon(FailedLogon {
                record_id: record_id + number * 7,
                computer: &format!("FS{:02}", record_id % (number + 2)),
                user: &format!("user{}", record_id % 5),
                domain: "CORP",
                workstation: "WS07",
            });
        }
        fs::write(folder.path().join(name), log.finish()).expect("written");
    }
    damaged.truncate(100_000);
    fs::write(folder.path().join("damaged.evtx"), damaged).expect("written");
    let run = |threads| {
        let arguments =
            ["replay", ".", "--threads", threads, "--hosts", "hosts", "--stats", "stats"];
        let output = twinsid(folder.path(), &arguments);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let read = |name| fs::read_to_string(folder.path().join(name)).expect("written");
        let mut stats: Json = serde_json::from_str(&read("stats")).expect("JSON");
        stats.as_object_mut().expect("an object").remove("seconds").expect("seconds");
        (text(&output.stdout), read("hosts"), stats)
    };
    let one = run("1");
    assert!(one.0.lines().count() > 3, "{}", one.0);
    for threads in ["2", "3", "16"] {
        assert_eq!(run(threads), one, "{threads} threads");
    }
}

#[test]
fn codes_are_explained() {
    let folder = folder();
    for (code, says) in [
        ("0xC000006D", "STATUS_LOGON_FAILURE"),
        ("0xc000006d", "STATUS_LOGON_FAILURE"),
        ("STATUS_LOGON_FAILURE", "0xC000006D"),
        ("%%2313", "2313"),
        ("6167", "machine"),
        ("4625", "4625"),
        ("0x18", "KDC"),
    ] {
        let output = twinsid(folder.path(), &["explain", code]);
        let out = text(&output.stdout);
        assert!(output.status.success() && out.contains(says), "{code}: {out}");
        assert!(output.stderr.is_empty(), "{code}");
    }
}

/// A service that reads one log, without its sink.
const SERVICE: &str = "[[source]]\nkind = \"evtx\"\npaths = [\"good.evtx\"]\n\
     [state]\ndir = \"state\"\n[sink]\n";

#[test]
fn a_service_writes_its_incidents_in_the_format_that_is_configured() {
    for (format, key) in [("native", "schema"), ("ecs", "@timestamp"), ("ocsf", "class_uid")] {
        for sink in ["kind = \"stdout\"\n", "kind = \"file\"\npath = \"out.jsonl\"\n"] {
            let folder = folder();
            let config = format!("{SERVICE}{sink}format = \"{format}\"\n");
            fs::write(folder.path().join("run.toml"), config).expect("written");
            let output = twinsid(folder.path(), &["run", "-c", "run.toml", "--until-end", "-q"]);
            assert!(output.status.success(), "{}", text(&output.stderr));
            let written = fs::read_to_string(folder.path().join("out.jsonl"));
            let lines = written.unwrap_or_else(|_| text(&output.stdout));
            assert!(!lines.is_empty(), "{format}, {sink}");
            for line in lines.lines() {
                let line: Json = serde_json::from_str(line).expect("JSON");
                assert!(line.get(key).is_some(), "{format}, {sink}: no `{key}` in {line}");
            }
            let shown = text(&twinsid(folder.path(), &["check", "-c", "run.toml"]).stdout);
            assert!(shown.contains(&format!("sink.format = \"{format}\"")), "{shown}");
        }
    }
}

#[test]
fn a_format_that_is_none_is_named_with_those_that_are() {
    let config = |format: &str| format!("{SERVICE}kind = \"stdout\"\nformat = \"{format}\"\n");
    check_config(&config("cef"), "", &["twinsid.toml:8:", "`cef` is no format", "ecs, ocsf"]);
    check_config(&config("ocfs"), "", &["`ocfs` is no format", "hint:", "ocsf"]);
}

#[test]
fn schemas_completions_and_the_manual_are_printed() {
    let folder = folder();
    for name in ["incident", "ecs", "ocsf", "stats", "hosts"] {
        let output = twinsid(folder.path(), &["schema", name]);
        let schema: Json = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(schema["additionalProperties"], false, "{name}");
        let file = format!("{}/schemas/{name}.schema.json", env!("CARGO_MANIFEST_DIR"));
        let file: Json = serde_json::from_slice(&fs::read(file).expect("there")).expect("JSON");
        assert_eq!(schema, file, "{name}");
    }
    assert_eq!(
        twinsid(folder.path(), &["schema"]).stdout,
        twinsid(folder.path(), &["schema", "incident"]).stdout
    );
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = text(&twinsid(folder.path(), &["completions", shell]).stdout);
        assert!(script.contains("twinsid") && script.contains("strict"), "{shell}");
    }
    let page = text(&twinsid(folder.path(), &["man"]).stdout);
    assert!(page.contains(".TH twinsid 1"), "{page}");
    for command in ["replay", "explain", "check", "schema"] {
        assert!(page.contains(command), "{command}");
    }
}

/// Text that moves the cursor, sets colours, reverses the reading direction or starts lines of its own.
const HOSTILE: [&str; 5] = [
    "\x1b[31mred\x1b]0;title\x07",
    "two\nlines\r\n\ttabs",
    "nimda\u{202e}resu\u{2069}",
    "\u{9b}2Jgone\u{7f}\u{200b}",
    "{\"schema\":1}\n{\"schema\":2}",
];

fn hostile_log() -> Vec<u8> {
    let mut log = Log::new();
    let mut record_id = 0;
    for hostile in HOSTILE {
        for _ in 0..6 {
            record_id += 1;
            log.failed_logon(FailedLogon {
                record_id,
                computer: hostile,
                user: hostile,
                domain: hostile,
                workstation: hostile,
            });
        }
    }
    log.finish()
}

fn is_raw(char: char) -> bool {
    (char.is_control() && char != '\n')
        || matches!(char, '\u{200b}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[test]
fn hostile_text_reaches_neither_standard_error_nor_the_lines() {
    let folder = folder();
    fs::write(folder.path().join("hostile.evtx"), hostile_log()).expect("written");
    let output = twinsid(folder.path(), &["replay", "hostile.evtx"]);
    assert!(output.status.success());
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(!err.contains(is_raw), "{err:?}");
    assert!(!err.lines().any(|line| line.starts_with("lines") || line.starts_with('{')), "{err}");
    let incidents: Vec<Json> =
        out.lines().map(|line| serde_json::from_str(line).expect("one value a line")).collect();
    assert_eq!(incidents.len(), HOSTILE.len(), "{out}");
    assert!(incidents.iter().all(|incident| incident["counts"]["failures"] == 6));
    assert_eq!(out.chars().find(|char| is_raw(*char)), None, "JSON escapes them");
}

#[test]
fn hostile_text_is_harmless_on_cards() {
    let folder = folder();
    let path = folder.path().join("hostile.evtx");
    fs::write(&path, hostile_log()).expect("written");
    let replayed = replay(replay_of(&[&path]), &mut NoProgress).expect("a log");
    assert_eq!(replayed.incidents.len(), HOSTILE.len());
    for incident in &replayed.incidents {
        for width in [40, 80, 110] {
            let mut card = Vec::new();
            write_card(&mut card, incident, Style::Plain, width).expect("memory can be written");
            let card = text(&card);
            assert!(!card.contains(is_raw), "{card:?}");
            assert!(
                card.lines().skip(1).all(|line| line.is_empty() || line.starts_with("  ")),
                "{card}"
            );
            assert!(card.lines().all(|line| line.chars().count() <= width), "{card}");
        }
    }
}

#[cfg(unix)]
#[test]
fn hostile_names_of_files_do_not_reach_standard_error() {
    let folder = folder();
    let name = "\x1b[31m\u{202e}log\n.evtx";
    fs::write(folder.path().join(name), b"ElfFile\0 and then nothing at all").expect("written");
    let mut raw = Vec::new();
    for arguments in [
        &["replay", "."][..],
        &["replay", name][..],
        &["replay", "--strict", name][..],
        &["replay", "\x1b[31mmissing"][..],
        &["replay", "good.evtx", "-o", "\x1b[31mnone/out"][..],
        &["replay", "good.evtx", "-c", "\x1b[31mnone.toml"][..],
        &["explain", "\x1b[31mx"][..],
    ] {
        let err = text(&twinsid(folder.path(), arguments).stderr);
        if err.contains(is_raw) {
            raw.push(format!("{arguments:?}: {err:?}"));
        }
    }
    assert!(raw.is_empty(), "{raw:#?}");
}

/// A reader may close its end: `twinsid replay … | head -1`.
#[cfg(unix)]
#[test]
fn a_reader_that_closes_its_end_is_no_error() {
    let folder = folder();
    for command in ["replay good.evtx -q", "man", "schema"] {
        let program = env!("CARGO_BIN_EXE_twinsid");
        let line = format!("{{ '{program}' {command}; echo \"code $?\" >&2; }} | true");
        let output = Command::new("sh")
            .args(["-c", &line])
            .current_dir(folder.path())
            .output()
            .expect("a shell");
        assert_eq!(text(&output.stderr), "code 0\n", "{command}");
    }
}

#[test]
fn a_simulated_fleet_is_written_once_and_only_into_an_empty_folder() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let fleet = folder.path().join("fleet");
    let simulate = |more: &[&str]| {
        let path = fleet.to_str().expect("UTF-8");
        let mut arguments = vec!["simulate", "-o", path, "--hosts", "6", "--hours", "1"];
        arguments.extend(more);
        Command::new(env!("CARGO_BIN_EXE_twinsid"))
            .args(arguments)
            .output()
            .expect("the program runs")
    };
    assert_eq!(simulate(&[]).status.code(), Some(0));
    assert!(fleet.join("truth.json").is_file());
    let refused = simulate(&[]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--force"));
    assert_eq!(simulate(&["--force"]).status.code(), Some(0));
}

#[test]
fn a_mistake_in_the_inventory_says_file_line_and_what_was_expected() {
    let run = |inventory: &str| {
        let folder = folder();
        fs::write(folder.path().join("hosts.csv"), inventory).expect("written");
        let arguments = ["replay", "good.evtx", "--inventory", "hosts.csv", "-o", "out.jsonl"];
        let output = twinsid(folder.path(), &arguments);
        (output.status.code(), text(&output.stderr), folder.path().join("out.jsonl").exists())
    };
    let (code, said, written) = run("host,ip\nPC1,10.0.0.1\nPC2,10.0.0.300\n");
    assert_eq!((code, written), (Some(2), false));
    assert!(said.contains("hosts.csv:3: `10.0.0.300` is no IP address"), "{said}");
    assert!(said.contains("hint: such as 10.0.0.7"), "{said}");
    let (code, said, written) = run("host,machine_sdi\nPC1,S-1-5-21-1-2-3\n");
    assert_eq!((code, written), (Some(0), true));
    assert!(said.contains("machine_sdi"), "a misspelt column is named: {said}");
    check(&["replay", "good.evtx", "--inventory", "none.csv"], 3, &["none.csv"]);
}

#[test]
fn the_demonstration_shows_clones_and_says_where_its_files_are() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = Command::new(env!("CARGO_BIN_EXE_twinsid"))
        .arg("demo")
        .env("TMPDIR", folder.path())
        .output()
        .expect("the program runs");
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{err}");
    for says in ["share one machine SID", "Rebuild all but one of", "refuses itself", "truth.json"]
    {
        assert!(out.contains(says), "no `{says}` in: {out}");
    }
    assert!(err.contains("duplicate_machine_sid"), "{err}");
    let demo = folder.path().join("twinsid-demo-1");
    for file in ["logs/truth.json", "incidents.jsonl", "hosts.jsonl"] {
        assert!(demo.join(file).is_file(), "{file}");
        assert!(out.contains(demo.to_str().expect("UTF-8")), "{out}");
    }
}

/// What the service says while it reads standard input to its end.
fn log_of_service(folder: &Path, section: &str) -> (Option<i32>, String) {
    let rest =
        "[[source]]\nkind = \"stdin\"\n[sink]\nkind = \"stdout\"\n[state]\ndir = \"state\"\n";
    fs::write(folder.join("run.toml"), format!("{rest}{section}")).expect("written");
    let output = twinsid(folder, &["run", "--until-end", "-c", "run.toml"]);
    (output.status.code(), text(&output.stderr))
}

#[test]
fn each_log_line_of_the_service_has_its_time() {
    let folder = folder();
    let (code, log) = log_of_service(folder.path(), "");
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("reading"), "{log}");
    for line in log.lines() {
        let time = line.split(' ').next().expect("a first word");
        assert!(time.ends_with('Z') && time.parse::<jiff::Timestamp>().is_ok(), "{line}");
    }
}

#[test]
fn as_json_each_log_line_of_the_service_is_an_object_the_reason_of_its_end_too() {
    let folder = folder();
    let json = "[log]\nformat = \"json\"\n";
    let (code, log) = log_of_service(folder.path(), json);
    assert_eq!(code, Some(0), "{log}");
    let (failed, reason) = log_of_service(folder.path(), &format!("{json}[time]\nidle_secs = 0\n"));
    assert_eq!(failed, Some(2), "{reason}");
    let read = |line: &str| -> Json { serde_json::from_str(line).expect("an object") };
    let (lines, reason): (Vec<Json>, Vec<Json>) =
        (log.lines().map(read).collect(), reason.lines().map(read).collect());
    for line in lines.iter().chain(&reason) {
        let time = line["timestamp"].as_str().expect("a time");
        assert!(time.ends_with('Z') && time.parse::<jiff::Timestamp>().is_ok(), "{line}");
        assert!(line["message"].is_string() && line["level"].is_string(), "{line}");
    }
    assert!(lines.iter().any(|line| line["sources"] == 1), "{lines:?}");
    let [reason] = &reason[..] else { panic!("one line: {reason:?}") };
    assert_eq!(reason["level"], "ERROR");
    assert!(reason["message"].as_str().is_some_and(|what| what.contains("idle_secs")), "{reason}");
}

#[test]
fn the_service_names_paths_that_do_not_exist_and_files_that_are_no_event_logs() {
    let folder = folder();
    let config = "[[source]]\nkind = \"evtx\"\npaths = [\"nowhere\", \"old.jsonl\", \"good.evtx\"]\n\
                  [sink]\nkind = \"stdout\"\n[state]\ndir = \"state\"\n";
    fs::write(folder.path().join("run.toml"), config).expect("written");
    let output = twinsid(folder.path(), &["run", "--until-end", "-c", "run.toml"]);
    let log = text(&output.stderr);
    assert!(output.status.success(), "{log}");
    for (path, says) in
        [("nowhere", "does not exist: check `paths`"), ("old.jsonl", "is no EVTX event log")]
    {
        let named: Vec<&str> = log.lines().filter(|line| line.contains(path)).collect();
        let [line] = &named[..] else { panic!("`{path}` is named once:\n{log}") };
        assert!(line.contains(" WARN ") && line.contains(says), "{line}");
    }
    assert!(log.contains("skipped=2"), "they are counted:\n{log}");
}

//! The order of the house: who may use whom, and what stands nowhere.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Each part, the other parts that it may use, and what it must not name.
const TABLE: [(&str, &[&str], &[&str]); 12] = [
    ("event", &[], &[]),
    ("record", &["event"], &[]),
    ("incident", &["event"], &[]),
    ("decode", &["event", "record"], PURE),
    ("detect", &["event", "record", "incident"], PURE),
    ("inventory", &["event"], &[]),
    ("brokers", &[], &[]),
    ("source", &["brokers"], &[]),
    ("sink", &["event", "incident", "brokers", "faults"], &[]),
    ("checkpoint", &["event", "source"], &[]),
    ("config", &["event", "record", "decode", "detect", "sink", "brokers"], &[]),
    ("simulate", &["event"], &[]),
];

/// No input, output, clock or thread; and state is plain, its written form elsewhere.
const PURE: &[&str] = &[
    "serde",
    "std::fs",
    "std::io",
    "TcpStream",
    "UdpSocket",
    "std::thread",
    "time::SystemTime",
    "Instant",
];

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = fs::read_dir(folder).expect("the sources can be read");
    let paths = entries.map(|entry| entry.expect("the sources can be read").path());
    let below = paths.flat_map(|path| match path.is_dir() {
        true => files(path.to_str().expect("a plain name")),
        false => vec![path],
    });
    below.filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}

/// The code of a file without its tests and comments.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).expect("the sources can be read");
    let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

#[test]
fn each_part_uses_only_the_parts_below_it() {
    for (part, allowed, banned) in TABLE {
        let own = files("src").into_iter().filter(|path| {
            let below =
                path.strip_prefix(env!("CARGO_MANIFEST_DIR")).expect("below").with_extension("");
            below.components().nth(1).is_some_and(|name| name.as_os_str() == part)
        });
        let own: Vec<PathBuf> = own.collect();
        assert!(!own.is_empty(), "`{part}` is gone");
        for path in own {
            let code = code(&path);
            let used =
                code.split("crate::").skip(1).flat_map(|rest| match rest.strip_prefix('{') {
                    Some(list) => list.split('}').next().unwrap_or_default().split(',').collect(),
                    None => vec![rest],
                });
            let used: BTreeSet<&str> = used
                .filter_map(|name| {
                    name.trim().split(|c: char| !c.is_alphanumeric() && c != '_').next()
                })
                .collect();
            for name in used {
                let fine = name == part || allowed.contains(&name);
                assert!(fine, "{}: `{part}` must not use `{name}`", path.display());
            }
            for name in banned {
                assert!(!code.contains(name), "{}: `{part}` must not use `{name}`", path.display());
            }
        }
    }
}

#[test]
fn nothing_is_left_to_do_and_no_test_is_left_out() {
    for path in files("src").into_iter().chain(files("tests")) {
        let text = fs::read_to_string(&path).expect("the sources can be read");
        for (word, rest) in
            [("todo", "!("), ("unimplemented", "!("), ("dbg", "!("), ("#[ign", "ore")]
        {
            assert!(!text.contains(&format!("{word}{rest}")), "{}: `{word}{rest}`", path.display());
        }
    }
}

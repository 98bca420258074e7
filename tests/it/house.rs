//! The order of the house: who may use whom, and what stands nowhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The nouns that every stage shares.
const VOCABULARY: &[&str] =
    &["sid", "time", "hash", "status", "observation", "record", "incident", "position", "reject"];

/// Each part, the other parts that it may use beside the vocabulary, and what it must not name.
const TABLE: [(&str, &[&str], &[&str]); 11] = [
    ("decode", &[], PURE),
    ("detect", &[], PURE),
    ("brokers", &["retry"], &[]),
    ("source", &["brokers"], &[]),
    ("net", &["source"], &[]),
    ("output", &[], &[]),
    ("store", &[], &[]),
    ("sink", &["output", "store", "brokers", "faults", "retry"], &[]),
    ("config", &["decode", "detect", "output", "brokers"], &[]),
    ("simulate", &[], &[]),
    ("explain", &["detect"], PURE),
];

/// No input, output, clock or thread; and state is plain, its written form elsewhere.
const PURE: &[&str] = &[
    "serde",
    "std::fs",
    "std::io",
    "borsh::io",
    "io::Write",
    "io::Read",
    "std::net::Tcp",
    "TcpStream",
    "UdpSocket",
    "std::thread",
    "thread::spawn",
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
    let cut = ["#[cfg(test)]\nmod ", "#[cfg(test)]\npub(crate) mod "];
    let end = cut.iter().filter_map(|cut| text.find(cut)).min().unwrap_or(text.len());
    let code = text[..end].lines().filter(|line| !line.trim_start().starts_with("//"));
    code.collect::<Vec<_>>().join("\n")
}

/// The module that a file of `src` holds: `["detect", "state", "names"]`.
fn module(path: &Path) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let below = path.strip_prefix(root).expect("below").with_extension("");
    let mut names: Vec<String> =
        below.components().map(|name| name.as_os_str().to_string_lossy().into_owned()).collect();
    names.pop_if(|last| ["mod", "lib", "main"].contains(&last.as_str()));
    names
}

/// The crate's parts that a text names, whether by `crate::` or by way of `super::super::`.
fn parts_used(code: &str, module: &[String]) -> BTreeSet<String> {
    let mut starts: Vec<&str> = code.split("crate::").skip(1).collect();
    // As many `super` as lead to the root of the crate.
    let to_root = "super::".repeat(module.len());
    if !module.is_empty() {
        starts.extend(code.split(to_root.as_str()).skip(1));
    }
    let lists = starts.into_iter().flat_map(|rest| match rest.strip_prefix('{') {
        Some(list) => list.split(';').next().unwrap_or_default().split(',').collect(),
        None => vec![rest],
    });
    let first = |path: &str| {
        let path = path.trim();
        let end = path.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(path.len());
        path[..end].to_owned()
    };
    let known: BTreeSet<String> =
        files("src").iter().filter_map(|path| self::module(path).first().cloned()).collect();
    lists.map(first).filter(|name| known.contains(name)).collect()
}

#[test]
fn each_part_uses_only_the_parts_below_it() {
    let vocabulary = VOCABULARY.iter().map(|part| (*part, &[][..], &["serde", "std::fs"][..]));
    for (part, allowed, banned) in TABLE.into_iter().chain(vocabulary) {
        let own = files("src")
            .into_iter()
            .filter(|path| module(path).first().is_some_and(|first| first == part));
        let own: Vec<PathBuf> = own.collect();
        assert!(!own.is_empty(), "`{part}` is gone");
        for path in own {
            let code = code(&path);
            for name in parts_used(&code, &module(&path)) {
                let name = name.as_str();
                let fine = name == part || allowed.contains(&name) || VOCABULARY.contains(&name);
                assert!(fine, "{}: `{part}` must not use `{name}`", path.display());
            }
            for name in banned {
                assert!(!code.contains(name), "{}: `{part}` must not use `{name}`", path.display());
            }
        }
    }
}

#[test]
fn a_way_through_super_to_another_part_is_seen() {
    let module = ["detect", "state"].map(str::to_owned);
    let used = |code: &str| parts_used(code, &module).into_iter().collect::<Vec<_>>();
    assert_eq!(used("use super::super::store::disk;"), ["store"]);
    assert_eq!(used("use crate::{config::Config, sink};"), ["config", "sink"]);
    assert_eq!(used("use super::rules; let x = crate::time::EventTime::MIN;"), ["time"]);
}

/// What a line defines, if that is a type: its name.
fn type_of(line: &str) -> Option<&str> {
    let line = ["pub(crate) ", "pub(super) ", "pub "]
        .iter()
        .find_map(|visibility| line.strip_prefix(visibility))
        .unwrap_or(line);
    let rest =
        ["struct ", "enum ", "trait ", "type "].iter().find_map(|kind| line.strip_prefix(kind))?;
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    Some(&rest[..end])
}

#[test]
fn a_name_of_a_type_is_given_once() {
    let mut places: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for path in files("src") {
        for name in code(&path).lines().filter_map(type_of) {
            places.entry(name.to_owned()).or_default().push(path.clone());
        }
    }
    let twice: Vec<_> = places.into_iter().filter(|(_, paths)| paths.len() > 1).collect();
    assert!(twice.is_empty(), "given more than once: {twice:#?}");
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

//! Real logs are not part of the project. Tests that want them take their
//! folder from `TWINSID_CORPUS`, and say so when they skip.

#![expect(clippy::print_stderr, reason = "a test that skips says so")]

use std::path::{Path, PathBuf};

/// The folder of real logs, or `None` after saying that a test is skipped.
pub fn folder(test: &str) -> Option<PathBuf> {
    let Some(folder) = std::env::var_os("TWINSID_CORPUS") else {
        eprintln!("skipped: {test} wants real logs; set TWINSID_CORPUS to their folder");
        return None;
    };
    let folder = PathBuf::from(folder);
    assert!(folder.is_dir(), "TWINSID_CORPUS is {}, which is no folder", folder.display());
    Some(folder)
}

/// Every EVTX file below a folder, by name.
pub fn evtx_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
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
    files
}

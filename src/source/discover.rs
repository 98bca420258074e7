//! Paths as given to the list of inputs: folders are searched, in the order
//! of names, so that the same folder gives the same list.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use super::SourceError;

/// Most files of one run.
const FILES_MAX: usize = 1_000_000;

/// Deepest folder below a given one.
const FOLDERS_DEEP_MAX: usize = 64;

/// Names that are taken in folders, behind any of [`COMPRESSED`] as well.
const LOGS: [&str; 6] = ["evtx", "xml", "json", "jsonl", "ndjson", "log"];
const COMPRESSED: [&str; 3] = ["gz", "zst", "zstd"];

/// One thing to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    File {
        path: PathBuf,
        /// Size when it was found; 0 for a pipe.
        bytes: u64,
        /// Named by the user: cannot be passed over when it cannot be opened.
        named: bool,
    },
    StandardInput,
}

/// The inputs of a run. `-` is standard input.
pub fn discover(paths: &[PathBuf]) -> Result<Vec<Input>, SourceError> {
    let mut inputs = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            inputs.push(Input::StandardInput);
            continue;
        }
        let metadata = fs::metadata(path).map_err(|cause| SourceError::Unreadable {
            path: path.clone(),
            cause,
            hint: "check the path and who may read it",
        })?;
        if metadata.is_dir() {
            let before = inputs.len();
            search(path, path, 0, &mut inputs)?;
            if inputs.len() == before {
                return Err(SourceError::NoLogs { path: path.clone() });
            }
        } else {
            inputs.push(Input::File { path: path.clone(), bytes: metadata.len(), named: true });
        }
    }
    Ok(inputs)
}

fn search(
    root: &Path,
    folder: &Path,
    depth: usize,
    inputs: &mut Vec<Input>,
) -> Result<(), SourceError> {
    let unreadable = |cause| SourceError::Unreadable {
        path: folder.to_owned(),
        cause,
        hint: "check who may read the folder",
    };
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        paths.push(entry.map_err(unreadable)?.path());
    }
    paths.sort();
    for path in paths {
        // Links to folders are not followed: they may lead back up.
        let Ok(entry) = fs::symlink_metadata(&path) else { continue };
        if entry.is_dir() {
            if depth < FOLDERS_DEEP_MAX {
                search(root, &path, depth + 1, inputs)?;
            }
            continue;
        }
        let Ok(metadata) = fs::metadata(&path) else { continue };
        if metadata.is_file() && is_log(&path) {
            if inputs.len() >= FILES_MAX {
                return Err(SourceError::TooManyFiles { path: root.to_owned(), max: FILES_MAX });
            }
            inputs.push(Input::File { path, bytes: metadata.len(), named: false });
        }
    }
    Ok(())
}

/// Whether a name found in a folder or an archive is a log's, or an archive's.
pub fn is_log(path: &Path) -> bool {
    // `._name` holds what macOS knows of `name`, whatever its extension.
    if path.file_name().and_then(OsStr::to_str).is_some_and(|name| name.starts_with("._")) {
        return false;
    }
    let has = |path: &Path, extensions: &[&str]| {
        let extension = path.extension().and_then(OsStr::to_str).unwrap_or_default();
        extensions.iter().any(|known| extension.eq_ignore_ascii_case(known))
    };
    has(path, &LOGS)
        || has(path, &["zip"])
        || (has(path, &COMPRESSED)
            && path.file_stem().is_some_and(|stem| has(Path::new(stem), &LOGS)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_are_known_by_their_names_in_any_case() {
        for name in ["a.evtx", "A.EVTX", "b.jsonl.gz", "c.evtx.zst", "d.zip", "e.Xml", "f.json"] {
            assert!(is_log(Path::new(name)), "{name}");
        }
        for name in
            ["README.md", "evtx", "a.gz", "b.tar.gz", "LICENSE", ".evtx.swp", "__MACOSX/._a.evtx"]
        {
            assert!(!is_log(Path::new(name)), "{name}");
        }
    }

    #[test]
    fn folders_are_searched_in_the_order_of_names() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for name in ["b.evtx", "a/z.EVTX", "a/notes.txt", "c.zip"] {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().expect("below the folder")).expect("created");
            fs::write(path, "x").expect("written");
        }
        let inputs = discover(&[folder.path().to_owned()]).expect("logs");
        let names: Vec<String> = inputs
            .iter()
            .map(|input| match input {
                Input::File { path, .. } => {
                    path.strip_prefix(folder.path()).expect("below").display().to_string()
                }
                Input::StandardInput => "-".to_owned(),
            })
            .collect();
        assert_eq!(names, ["a/z.EVTX", "b.evtx", "c.zip"]);
    }

    #[test]
    fn a_missing_path_and_a_folder_without_logs_are_errors_that_name_it() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let empty = discover(&[folder.path().to_owned()]).expect_err("no logs").to_string();
        assert!(empty.contains(&folder.path().display().to_string()), "{empty}");
        let missing = discover(&[folder.path().join("none")]).expect_err("missing").to_string();
        assert!(missing.contains("none") && missing.contains("hint"), "{missing}");
    }
}

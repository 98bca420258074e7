//! Paths as given to the list of inputs: folders are searched, in the order
//! of names, so that the same folder gives the same list.

use std::ffi::OsStr;
use std::fs;
use std::io;
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
    /// A folder below a given one that cannot be listed.
    Unreadable {
        path: PathBuf,
        reason: String,
    },
}

/// The inputs of a run. `-` is standard input. Files among `outputs` are left
/// out where they were only found, and refused where they were named.
pub fn discover(paths: &[PathBuf], outputs: &[PathBuf]) -> Result<Vec<Input>, SourceError> {
    let outputs: Vec<PathBuf> =
        outputs.iter().filter_map(|path| fs::canonicalize(path).ok()).collect();
    let is_output = |path: &Path| {
        !outputs.is_empty() && fs::canonicalize(path).is_ok_and(|path| outputs.contains(&path))
    };
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
            inputs.retain(
                |input| !matches!(input, Input::File { path, named: false, .. } if is_output(path)),
            );
            if inputs.len() == before {
                return Err(SourceError::NoLogs { path: path.clone() });
            }
        } else if metadata.is_file() && is_output(path) {
            return Err(SourceError::OutputIsInput { path: path.clone() });
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
    let listed = fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>());
    let mut paths = match listed {
        Ok(paths) => paths,
        Err(cause) if depth == 0 => {
            let path = folder.to_owned();
            return Err(SourceError::Unreadable {
                path,
                cause,
                hint: "check who may read the folder",
            });
        }
        Err(cause) => {
            inputs.push(Input::Unreadable { path: folder.to_owned(), reason: cause.to_string() });
            return Ok(());
        }
    };
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
    // What is true of a simulated fleet is no log of it.
    if path.file_name().is_some_and(|name| name == "truth.json") {
        return false;
    }
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
        for name in [
            "README.md",
            "evtx",
            "a.gz",
            "b.tar.gz",
            "LICENSE",
            ".evtx.swp",
            "__MACOSX/._a.evtx",
            "truth.json",
        ] {
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
        let inputs = discover(&[folder.path().to_owned()], &[]).expect("logs");
        let names: Vec<String> = inputs
            .iter()
            .map(|input| match input {
                Input::File { path, .. } => {
                    path.strip_prefix(folder.path()).expect("below").display().to_string()
                }
                Input::StandardInput | Input::Unreadable { .. } => panic!("a file: {input:?}"),
            })
            .collect();
        assert_eq!(names, ["a/z.EVTX", "b.evtx", "c.zip"]);
    }

    #[test]
    fn an_output_is_never_read() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let [log, out] = ["a.jsonl", "out.jsonl"].map(|name| folder.path().join(name));
        fs::write(&log, "x").expect("written");
        fs::write(&out, "x").expect("written");
        let outputs = [out.clone()];
        let found = discover(&[folder.path().to_owned()], &outputs).expect("logs");
        assert_eq!(found, [Input::File { path: log, bytes: 1, named: false }]);
        let named = discover(std::slice::from_ref(&out), &outputs).expect_err("named twice");
        assert!(matches!(named, SourceError::OutputIsInput { .. }), "{named}");
    }

    #[test]
    fn a_missing_path_and_a_folder_without_logs_are_errors_that_name_it() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let empty = discover(&[folder.path().to_owned()], &[]).expect_err("no logs").to_string();
        assert!(empty.contains(&folder.path().display().to_string()), "{empty}");
        let missing =
            discover(&[folder.path().join("none")], &[]).expect_err("missing").to_string();
        assert!(missing.contains("none") && missing.contains("hint"), "{missing}");
    }
}

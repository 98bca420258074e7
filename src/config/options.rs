//! Options of a Kafka client, passed through by name, and the secrets among them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use super::file::ConfigFile;
use crate::brokers::{Cluster, refused_option};

/// Largest file that holds a secret.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// Options by name, as they are written.
pub(super) type RawOptions = BTreeMap<Spanned<String>, RawOption>;

/// A value, or the file or environment variable that holds it.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum RawOption {
    Text(String),
    Number(i64),
    Switch(bool),
    File { file: PathBuf },
    Environment { env: String },
}

/// Brokers with these options. Paths are relative to `folder`.
pub(super) fn cluster(
    brokers: String,
    options: BTreeMap<String, String>,
    oauth_token_file: Option<PathBuf>,
    folder: &Path,
) -> Cluster {
    let oauth_token_file = oauth_token_file.map(|path| folder.join(path));
    Cluster { brokers, options, oauth_token_file }
}

/// The options with their values. Those with a mistake are left out.
pub(super) fn check(
    raw: RawOptions,
    folder: &Path,
    file: &mut ConfigFile<'_>,
) -> BTreeMap<String, String> {
    let mut options = BTreeMap::new();
    for (name, value) in raw {
        let at = name.span().start;
        let name = name.into_inner();
        if let Some(why) = refused_option(&name) {
            let what = format!("`{name}` would break exactly-once delivery: {why}");
            file.mistake(at, what, "remove it");
            continue;
        }
        let value = match value {
            RawOption::Text(text) => text,
            RawOption::Number(number) => number.to_string(),
            RawOption::Switch(switch) => switch.to_string(),
            RawOption::Environment { env } => match std::env::var(&env) {
                Ok(value) => value,
                Err(_) => {
                    let what = format!("environment variable `{env}` of `{name}` is not set");
                    file.mistake(at, what, "set it where the service is started");
                    continue;
                }
            },
            RawOption::File { file: path } => match read_secret(&folder.join(&path)) {
                Ok(secret) => secret,
                Err(what) => {
                    let what = format!("`{}` of `{name}` {what}", path.display());
                    file.mistake(at, what, "name a readable file that holds the value alone");
                    continue;
                }
            },
        };
        options.insert(name, value);
    }
    options
}

/// Without its line end. The error completes "`FILE` of `OPTION` …".
fn read_secret(path: &Path) -> Result<String, String> {
    let size = std::fs::metadata(path).map_err(|error| format!("cannot be read: {error}"))?.len();
    if size > SECRET_BYTES_MAX {
        return Err(format!("is larger than {SECRET_BYTES_MAX} bytes"));
    }
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

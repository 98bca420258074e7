//! The values that are in force, and where each of them comes from.

use std::path::Path;

use toml::{Table, Value};

use super::service::RENAMED;
use super::{Config, ConfigError, DEFAULT, file};

/// Options whose values are never shown.
const SECRET_WORDS: [&str; 4] = ["password", "secret", "token", "pem"];

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// `session.gap_secs`, `source[0].topics`.
    pub key: String,
    /// As it is written in a file.
    pub value: String,
    /// The user's file, or the embedded defaults.
    pub origin: String,
}

/// Every value of the user's file and of the defaults below it, secrets left out, under the present
/// name of its key. The error of [`Config::load`], but none of its warnings.
pub fn settings(path: &Path) -> Result<Vec<Setting>, ConfigError> {
    Config::read(Some(path))?;
    let text = file::read(path).map_err(|mistake| ConfigError { mistakes: vec![mistake] })?;
    let user = text.parse::<Table>().unwrap_or_default();
    let mut settings = Vec::new();
    flatten("", &Value::Table(user), &path.display().to_string(), &mut settings);
    for setting in &mut settings {
        if let Some(renamed) = RENAMED.iter().find(|renamed| renamed.former == setting.key) {
            setting.key = renamed.name.to_owned();
        }
    }
    let mut defaults = Vec::new();
    let default = DEFAULT.parse::<Table>().unwrap_or_default();
    flatten("", &Value::Table(default), "default", &mut defaults);
    defaults.retain(|default| settings.iter().all(|setting| setting.key != default.key));
    settings.extend(defaults);
    Ok(settings)
}

fn flatten(key: &str, value: &Value, origin: &str, settings: &mut Vec<Setting>) {
    let below = |name: &str| match key {
        "" => name.to_owned(),
        _ => format!("{key}.{name}"),
    };
    match value {
        Value::Table(table) => {
            for (name, value) in table {
                flatten(&below(name), value, origin, settings);
            }
        }
        Value::Array(values) if values.iter().any(Value::is_table) => {
            for (at, value) in values.iter().enumerate() {
                flatten(&format!("{key}[{at}]"), value, origin, settings);
            }
        }
        value => {
            // The place of a secret is no secret.
            let lower = key.to_lowercase();
            let is_place = lower.ends_with(".file") || lower.ends_with(".env");
            let is_secret = lower.contains("options.")
                && !is_place
                && SECRET_WORDS.iter().any(|word| lower.contains(word));
            let value = if is_secret { "(not shown)".to_owned() } else { shown(value) };
            settings.push(Setting { key: key.to_owned(), value, origin: origin.to_owned() });
        }
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{text:?}"),
        Value::Array(values) => {
            format!("[{}]", values.iter().map(shown).collect::<Vec<_>>().join(", "))
        }
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Boolean(switch) => switch.to_string(),
        Value::Datetime(time) => time.to_string(),
        Value::Table(_) => "{…}".to_owned(),
    }
}

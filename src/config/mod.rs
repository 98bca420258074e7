//! Configuration and rule files: what was written becomes what is known to be good.
//!
//! `config/default.toml` and `config/rules.toml` are part of the program. A file of the user's is
//! laid over them. Every mistake is reported with file, line, key and a hint, all of them at once.
//!
//! | module | holds |
//! |---|---|
//! | `file` | a file with its spans, its mistakes and its warnings |
//! | `detect` | `[session]`, `[bounds]` |
//! | `rules`, `raw_rules` | `[rules]`, and the rule files that it names |
//! | `service` | `[state]`, `[time]`, `[service]`, `[log]`, and the two below as one service |
//! | `sources`, `sinks` | `[[source]]`, `[sink]` |
//! | `loops` | what would be read and written by the same service |
//! | `options` | options of Kafka clients, and secrets |
//! | `effective` | every value in force, and where it comes from |
//! | `inventory` | known hosts; a file of its own |

mod detect;
pub(crate) mod effective;
mod file;
pub(crate) mod inventory;
pub(crate) mod loops;
mod options;
mod raw_rules;
mod rules;
pub(crate) mod service;
pub(crate) mod sinks;
pub(crate) mod sources;

use std::fmt;
use std::path::Path;

use serde::Deserialize;
use toml::Spanned;
use tracing::warn;

use crate::detect::Settings;
use crate::detect::rules::{FactRule, RuleSpec};
use crate::output::escape;
use detect::{RawBounds, RawDetect, RawSession};
use file::{ConfigFile, Remarks, Warning};
use rules::{RawRulesSection, RuleSet};
use service::{LogFormat, RawLog, RawService, RawServiceSections, RawState, RawTime, Service};
use sinks::RawSink;
use sources::RawSource;

const DEFAULT: &str = include_str!("../../config/default.toml");

/// Everything, checked.
#[derive(Clone, Debug)]
pub struct Config {
    pub settings: Settings,
    pub rules: Vec<RuleSpec>,
    pub fact_rules: Vec<FactRule>,
    /// What `twinsid run` does; `None` when the file has neither a source nor a sink.
    pub service: Option<Service>,
}

/// All mistakes of a configuration.
#[derive(Debug)]
pub struct ConfigError {
    pub mistakes: Vec<Mistake>,
}

/// One mistake: where it is, what it is, and what to write instead.
#[derive(Debug, PartialEq)]
pub struct Mistake {
    pub file: String,
    /// Counted from 1; `None` for the file as a whole.
    pub line: Option<usize>,
    pub what: String,
    pub hint: Option<String>,
}

/// A file as it is written.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawConfig {
    #[serde(default)]
    session: RawSession,
    #[serde(default)]
    rules: RawRulesSection,
    #[serde(default)]
    bounds: RawBounds,
    #[serde(default)]
    source: Vec<Spanned<RawSource>>,
    sink: Option<Spanned<RawSink>>,
    #[serde(default)]
    state: RawState,
    #[serde(default)]
    time: RawTime,
    #[serde(default)]
    service: RawService,
    #[serde(default)]
    log: RawLog,
}

impl Config {
    /// The configuration that is part of the program.
    pub fn embedded() -> Config {
        match Config::load(None) {
            Ok(config) => config,
            Err(error) => panic!("the embedded configuration is tested to be right: {error}"),
        }
    }

    /// The embedded configuration with the user's file laid over it. Logs a warning for each key
    /// that has a new name.
    pub fn load(path: Option<&Path>) -> Result<Config, ConfigError> {
        let (config, warnings) = Config::read(path)?;
        for warning in warnings {
            warn!("{}", escape::terminal(&warning.to_string()));
        }
        Ok(config)
    }

    /// As [`Config::load`], with the warnings beside it.
    fn read(path: Option<&Path>) -> Result<(Config, Vec<Warning>), ConfigError> {
        let mut remarks = Remarks::default();
        let mut default = ConfigFile::new("default.toml", DEFAULT);
        let base: Option<RawConfig> = default.parse();
        remarks.append(default.remarks);
        let text;
        let mut user = ConfigFile::new("", "");
        let mut over: Option<RawConfig> = None;
        if let Some(path) = path {
            match file::read(path) {
                Ok(read) => {
                    text = read;
                    user = ConfigFile::new(&path.display().to_string(), &text);
                    over = user.parse();
                }
                Err(mistake) => remarks.mistakes.push(mistake),
            }
        }
        let Some(base) = base else { return Err(ConfigError { mistakes: remarks.mistakes }) };
        let (base_detect, base_rules, base_service) = base.into_sections();
        let (detect, rules, service) = over.unwrap_or_default().into_sections();
        let settings = detect::check(&base_detect, &detect, &mut user);
        let folder = path.and_then(Path::parent).unwrap_or(Path::new(""));
        let RuleSet { rules, fact_rules } =
            rules::check(&base_rules, &rules, folder, &mut user, &mut remarks);
        let service = service::check(&base_service, service, folder, &mut user);
        remarks.append(user.remarks);
        if remarks.mistakes.is_empty() {
            Ok((Config { settings, rules, fact_rules, service }, remarks.warnings))
        } else {
            Err(ConfigError { mistakes: remarks.mistakes })
        }
    }
}

/// The format of log lines that a file asks for, as far as it can be read; the default otherwise.
/// Needed before [`Config::load`], which logs; that one reports the mistakes.
pub fn log_format(path: &Path) -> LogFormat {
    let format = |text: &str| {
        let table = text.parse::<toml::Table>().ok()?;
        LogFormat::from_name(table.get("log")?.get("format")?.as_str()?)
    };
    let user = file::read(path).ok().and_then(|text| format(&text));
    user.or_else(|| format(DEFAULT)).expect("the embedded configuration is tested to be right")
}

impl RawConfig {
    /// By who checks them.
    fn into_sections(self) -> (RawDetect, RawRulesSection, RawServiceSections) {
        let RawConfig { session, rules, bounds, source, sink, state, time, service, log } = self;
        let service = RawServiceSections { source, sink, state, time, service, log };
        (RawDetect { session, bounds }, rules, service)
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.mistakes.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{mistake}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", self.what)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::rules::RuleKind;
    use crate::detect::seconds;
    use crate::explain::codes;

    #[test]
    fn the_embedded_configuration_is_right() {
        let config = Config::load(None).map_err(|error| error.to_string()).expect("right");
        assert!(config.rules.len() > 30);
        assert_eq!(config.settings.session_gap_ticks, seconds(600));
        assert_eq!(config.settings.failure_threshold, 5);
    }

    #[test]
    fn every_event_of_the_shipped_rules_is_explained() {
        let mut rules = Config::embedded().rules;
        rules.retain(|rule| matches!(rule.kind, RuleKind::Mismatch | RuleKind::Failure));
        let mut ids: Vec<u32> = rules.into_iter().flat_map(|rule| rule.event_ids).collect();
        ids.retain(|id| codes::explain(&format!("event {id}")).is_empty());
        assert_eq!(ids, [0; 0]);
    }

    /// What becomes of a file with this `[service]` section.
    fn service_of(section: &str) -> Result<(Config, Vec<Warning>), ConfigError> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("run.toml");
        let rest = "[state]\ndir = \"state\"\n[[source]]\nkind = \"stdin\"\n\
                    [sink]\nkind = \"stdout\"\n";
        std::fs::write(&path, format!("[service]\n{section}{rest}")).expect("written");
        Config::read(Some(&path))
    }

    #[track_caller]
    fn check_linger(section: &str, linger_ms: u128, warned: &[&str]) {
        let (config, warnings) = service_of(section).expect("no mistakes");
        let service = config.service.expect("a service");
        assert_eq!(service.linger.as_millis(), linger_ms);
        assert_eq!(warnings.len(), warned.len(), "{warnings:?}");
        for (warning, says) in warnings.iter().zip(warned) {
            assert!(warning.to_string().ends_with(says), "{warning}");
        }
    }

    #[test]
    fn the_former_name_of_the_linger_is_read_with_a_warning() {
        check_linger("", 500, &[]);
        check_linger("linger_ms = 7\n", 7, &[]);
        let says =
            "run.toml:2: `service.gather_ms` is now `service.linger_ms`; the old name still works";
        check_linger("gather_ms = 7\n", 7, &[says]);
    }

    #[test]
    fn both_names_of_the_linger_are_a_mistake() {
        let error = service_of("linger_ms = 7\ngather_ms = 7\n").expect_err("two names");
        let text = error.to_string();
        assert!(text.contains("run.toml:3: `service.gather_ms` is set beside"), "{text}");
        assert!(text.contains("hint: write `service.linger_ms` only"), "{text}");
    }

    /// What is wrong with a service that has this source.
    fn mistakes_of_source(source: &str) -> Option<String> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("run.toml");
        let rest = "[state]\ndir = \"state\"\n[sink]\nkind = \"stdout\"\n";
        std::fs::write(&path, format!("[[source]]\n{source}\n{rest}")).expect("written");
        Config::read(Some(&path)).err().map(|error| error.to_string())
    }

    #[test]
    fn only_sockets_have_idle_connections_and_within_bounds() {
        let tcp = "kind = \"tcp\"\nlisten = \"127.0.0.1:5170\"";
        let unix = "kind = \"unix\"\npath = \"events.sock\"";
        for source in [tcp, unix] {
            let with = |secs: u64| format!("{source}\nconnection_idle_secs = {secs}");
            assert_eq!(mistakes_of_source(&with(3600)), None);
            let mistakes = mistakes_of_source(&with(59)).expect("it is too short");
            assert!(mistakes.contains("it must be from 60 to 2592000"), "{mistakes}");
        }
        let stdin = "kind = \"stdin\"\nconnection_idle_secs = 3600";
        let mistakes = mistakes_of_source(stdin).expect("it has no connections");
        assert!(mistakes.contains("`connection_idle_secs` means nothing"), "{mistakes}");
    }

    #[test]
    fn the_format_of_log_lines_is_known_before_the_rest_is_checked() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("run.toml");
        for (text, format) in [
            ("", LogFormat::Text),
            ("[log]\nformat = \"text\"\n", LogFormat::Text),
            ("[log]\nformat = \"json\"\n", LogFormat::Json),
            ("[log]\nformat = \"json\"\n[servce]\n", LogFormat::Json),
            ("[log]\nformat = \"yaml\"\n", LogFormat::Text),
            ("[log\n", LogFormat::Text),
        ] {
            std::fs::write(&path, text).expect("written");
            assert_eq!(log_format(&path), format, "{text}");
        }
        std::fs::write(&path, "[log]\nformat = \"jsn\"\n").expect("written");
        let error = Config::load(Some(&path)).expect_err("no such format").to_string();
        assert!(error.contains("run.toml:2: `jsn` is no format of log lines"), "{error}");
        assert!(error.contains("hint: one of text, json"), "{error}");
    }

    #[test]
    fn values_in_force_have_the_present_names_of_their_keys() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("run.toml");
        std::fs::write(&path, "[service]\ngather_ms = 7\n").expect("written");
        let settings = effective::settings(&path).expect("no mistakes");
        let named = |key: &str| {
            let named = settings.iter().filter(|setting| setting.key == key);
            named.map(|setting| setting.value.clone()).collect::<Vec<_>>()
        };
        assert_eq!(named("service.linger_ms"), ["7"]);
        assert_eq!(named("service.gather_ms"), [""; 0]);
    }
}

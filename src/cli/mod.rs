//! The command line: the program's flags, why a command failed, and the exit code of each failure.
//!
//! | module | command |
//! |---|---|
//! | `replay` | archived logs to incidents |
//! | `run` | the service |
//! | `state` | where a service stands, and reset |
//! | `topics` | Kafka topics that a configuration needs |
//! | `simulate`, `demo` | a made-up fleet |
//! | `explain` | codes and events in words |
//! | `check` | a configuration, checked |
//! | `print` | schemas, completions, the manual page |
//! | `output` | no command: what several of them print |
//! | [`progress`] | no command: progress and log lines on standard error |
//!
//! Data goes to standard output, everything for people to standard error.

mod check;
mod demo;
mod explain;
mod output;
mod print;
pub mod progress;
mod replay;
mod run;
mod simulate;
mod state;
mod topics;

use std::io;
use std::path::PathBuf;

use clap::{Parser, Subcommand};
use tracing::level_filters::LevelFilter;

use check::CheckFlags;
use explain::ExplainFlags;
use print::SchemaName;
use replay::ReplayFlags;
use run::RunFlags;
use simulate::SimulateFlags;
use state::StateFlags;
use topics::TopicsFlags;

use crate::config::inventory::InventoryError;
use crate::config::service::LogFormat;
use crate::config::{self, ConfigError};
use crate::pipeline::replay::{ReplayError, ReplayProgress};
use crate::pipeline::service::ServiceError;
use crate::source::SourceError;
use crate::store::StoreError;

const EXIT_CODES: &str = "\
Exit codes:
  0  done, damaged input counted and passed over
  1  the output could not be written
  2  wrong flags, or a mistake in the configuration or a rule file
  3  an input that was named cannot be read, or holds no logs
  4  damaged input, with --strict";

/// Finds cloned Windows machines, and explains failed Kerberos and NTLM
/// authentications, from event logs.
#[derive(Debug, Parser)]
#[command(name = "twinsid", version, after_help = EXIT_CODES, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Read archived logs and say which authentications failed, and why
    #[command(after_help = EXIT_CODES)]
    Replay(ReplayFlags),
    /// Read live sources and tell incidents as they happen, exactly once
    #[command(after_help = run::HELP)]
    Run(RunFlags),
    /// Print the Kafka topics that a configuration needs, or create them
    Topics(TopicsFlags),
    /// Print where a service stands, or let it begin elsewhere
    #[command(after_help = state::HELP)]
    State(StateFlags),
    /// See it work: simulate a small fleet in a temporary folder, and replay it
    Demo,
    /// Write the logs of a made-up fleet with known clones, to try replay on
    Simulate(SimulateFlags),
    /// Say what a code means: 0xC000006D, 0x18, %%2313, STATUS_LOGON_FAILURE, 6167
    Explain(ExplainFlags),
    /// Check a configuration and its rule files
    Check(CheckFlags),
    /// Print the JSON schema of an output
    Schema {
        #[arg(value_enum, default_value_t = SchemaName::Incident)]
        name: SchemaName,
    },
    /// Print a completion script
    Completions { shell: clap_complete::Shell },
    /// Print the manual page
    Man,
}

/// Why a command failed; each has its exit code.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    #[error("{0}")]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Inventory(#[from] InventoryError),
    #[error(transparent)]
    Replay(#[from] ReplayError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("`{path}` is named for two outputs\n  hint: give each a file of its own")]
    OutputTwice { path: PathBuf },
    #[error(
        "`{path}` is not empty\n  hint: name a new folder, or add --force to write into this one"
    )]
    NotEmpty { path: PathBuf },
    #[error("cannot write the fleet to `{path}`: {cause}")]
    Simulate { path: PathBuf, cause: io::Error },
    #[error(transparent)]
    Service(#[from] ServiceError),
    #[error(
        "`{}` has no service: neither `[[source]]` nor `[sink]`\n  hint: config/examples/ has whole files to begin with",
        path.display()
    )]
    NoService { path: PathBuf },
    #[error(
        "a reset asks before it changes anything, and standard input is no terminal\n  hint: add `--yes`"
    )]
    Unconfirmed,
    #[error("cannot write standard output: {0}")]
    StandardOutput(io::Error),
    #[error(
        "nothing is known of `{code}`\n  hint: write a code as the event shows it, `0xC000006D`, `0x18` or `%%2313`, or an event id such as `6167`"
    )]
    Unexplained { code: String },
}

impl CliError {
    /// The exit code of the process, as `--help` lists them.
    pub fn exit_code(&self) -> u8 {
        match self {
            CliError::Store(_) | CliError::StandardOutput(_) | CliError::Simulate { .. } => 1,
            CliError::NotEmpty { .. } | CliError::NoService { .. } | CliError::Unconfirmed => 2,
            CliError::Service(error) => error.exit_code(),
            CliError::Inventory(InventoryError::Unreadable { .. }) => 3,
            CliError::Inventory(InventoryError::Mistake { .. }) => 2,
            CliError::Config(_) | CliError::Unexplained { .. } | CliError::OutputTwice { .. } => 2,
            CliError::Replay(ReplayError::Source(SourceError::OutputIsInput { .. })) => 2,
            CliError::Replay(ReplayError::Source(_)) => 3,
            CliError::Replay(ReplayError::Damaged(_)) => 4,
            CliError::Replay(ReplayError::Correlate(_) | ReplayError::Gone(_)) => 1,
        }
    }
}

impl Cli {
    /// The least level of log lines that are printed: errors only with `--quiet`, and how it goes
    /// only from the service.
    pub fn log_level(&self) -> LevelFilter {
        match &self.command {
            _ if self.is_quiet() => LevelFilter::ERROR,
            Command::Run(_) => LevelFilter::INFO,
            Command::Replay(_)
            | Command::Topics(_)
            | Command::State(_)
            | Command::Demo
            | Command::Simulate(_)
            | Command::Explain(_)
            | Command::Check(_)
            | Command::Schema { .. }
            | Command::Completions { .. }
            | Command::Man => LevelFilter::WARN,
        }
    }

    /// What the log lines of the service look like; `None` for every other command.
    pub fn service_log_format(&self) -> Option<LogFormat> {
        let Command::Run(flags) = &self.command else { return None };
        Some(config::log_format(&flags.config))
    }

    /// Whether only errors belong on standard error.
    pub fn is_quiet(&self) -> bool {
        matches!(
            &self.command,
            Command::Replay(ReplayFlags { quiet: true, .. })
                | Command::Run(RunFlags { quiet: true, .. })
        )
    }

    /// Runs the command to its end. `progress` is called by those that take long.
    pub fn run(self, progress: &mut dyn ReplayProgress) -> Result<(), CliError> {
        match self.command {
            Command::Replay(flags) => replay::run(flags, progress),
            Command::Run(flags) => run::run(&flags),
            Command::Topics(flags) => topics::run(&flags),
            Command::State(flags) => state::run(&flags),
            Command::Demo => demo::run(),
            Command::Simulate(flags) => simulate::run(&flags, progress),
            Command::Explain(flags) => explain::run(&flags),
            Command::Check(flags) => check::run(&flags),
            Command::Schema { name } => print::schema(name),
            Command::Completions { shell } => print::completions(shell),
            Command::Man => print::man(),
        }
    }
}

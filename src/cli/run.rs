//! `twinsid run`: the service on live sources.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing::warn;

use super::CliError;
use crate::config::Config;
use crate::config::service::Service;
use crate::pipeline::service;
use crate::pipeline::service::{Requests, RunMode};

pub(super) const HELP: &str = "\
Each incident is written exactly once, into a file or a Kafka topic, whatever is killed
when. On standard output it is at least once: what was printed cannot be taken back.

Log lines go to standard error, with the time in UTC; `[log] format = \"json\"` makes each an
object.

Signals:
  SIGTERM, SIGINT  finish what is under way, commit, leave the group, exit 0
  SIGHUP           read rules and inventory anew; after a mistake the old ones stay

Exit codes:
  0   stopped, or with --until-end: everything was read and closed
  1   the output or the state could not be written or read
  2   wrong flags, or a mistake in the configuration, a rule file or the inventory
  3   a source cannot be read
  5   another copy took over: this one was given up for dead and can commit nothing more
  70  no progress for three minutes: the watchdog ended the process";

#[derive(Debug, clap::Args)]
pub(super) struct RunFlags {
    /// Sources, sink and state; see config/examples
    #[arg(short, long, value_name = "FILE")]
    pub(super) config: PathBuf,
    /// Read each source to the end that it has now, close everything as replay
    /// does, and exit: for backfills
    #[arg(long)]
    until_end: bool,
    /// Errors only
    #[arg(short, long)]
    pub(super) quiet: bool,
}

pub(super) fn run(flags: &RunFlags) -> Result<(), CliError> {
    let (config, service) = load_service(&flags.config)?;
    let mode = if flags.until_end { RunMode::UntilEnd } else { RunMode::Continuous };
    let requests = Arc::new(Requests::default());
    listen_to_signals(&requests);
    service::run(config, &flags.config, &service, mode, &requests)?;
    Ok(())
}

/// The configuration and its service. [`CliError::NoService`] when the file has neither a source
/// nor a sink.
pub(super) fn load_service(path: &Path) -> Result<(Config, Service), CliError> {
    let mut config = Config::load(Some(path))?;
    let service = config.service.take();
    let service = service.ok_or_else(|| CliError::NoService { path: path.to_owned() })?;
    Ok((config, service))
}

/// Handles signals in a thread of its own, which ends with the process.
#[cfg(unix)]
fn listen_to_signals(requests: &Arc<Requests>) {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let requests = Arc::clone(requests);
    match signal_hook::iterator::Signals::new([SIGHUP, SIGINT, SIGTERM]) {
        Ok(mut signals) => {
            std::thread::spawn(move || {
                for signal in signals.forever() {
                    match signal {
                        SIGHUP => requests.ask_reload(),
                        _ => requests.interrupt(),
                    }
                }
            });
        }
        Err(error) => warn!("signals end this process at once, with nothing lost: {error}"),
    }
}

#[cfg(not(unix))]
fn listen_to_signals(_: &Arc<Requests>) {}

//! Standard error while a command runs: a progress bar at the bottom of a terminal, log lines above
//! it, and why the command failed. The service has no bar, and its lines have the time.

use std::io::{self, IsTerminal, Write};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tracing::error;
use tracing::level_filters::LevelFilter;

use super::{Cli, CliError};
use crate::config::service::LogFormat;
use crate::output::escape;
use crate::pipeline::replay::ReplayProgress;

/// The progress bar. It draws nothing where standard error is no terminal, nor for the service.
#[derive(Debug)]
pub struct Bar(ProgressBar);

/// Prints log lines above the progress bar, not through it.
struct AboveBar(ProgressBar);

/// The progress bar of this command, and log lines of its level from now on. To be called once.
pub fn start(cli: &Cli) -> Bar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
    let level = cli.log_level();
    match cli.service_log_format() {
        Some(format) => start_service_log(level, format),
        None => {
            if !cli.is_quiet() && io::stderr().is_terminal() {
                bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(5));
            }
            start_log(level, bar.clone());
        }
    }
    Bar(bar)
}

/// Says why a command failed: the service as a log line, every other one in plain words.
pub fn write_failure(error: &CliError, service_log_format: Option<LogFormat>) {
    // Paths may hold anything.
    let text = error.to_string();
    let lines = text.lines().map(escape::terminal).collect::<Vec<_>>().join("\n");
    match service_log_format {
        Some(_) => error!("{lines}"),
        // Nothing is left to do when standard error is closed.
        None => drop(writeln!(io::stderr(), "twinsid: {lines}")),
    }
}

fn start_log(level: LevelFilter, bar: ProgressBar) {
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_target(false)
        .without_time()
        .with_ansi(io::stderr().is_terminal())
        .with_writer(move || AboveBar(bar.clone()))
        .init();
}

/// The time of a line is that of RFC 3339, in UTC.
fn start_service_log(level: LevelFilter, format: LogFormat) {
    let log =
        tracing_subscriber::fmt().with_max_level(level).with_target(false).with_writer(io::stderr);
    match format {
        LogFormat::Text => log.with_ansi(io::stderr().is_terminal()).init(),
        LogFormat::Json => {
            log.json().flatten_event(true).with_current_span(false).with_span_list(false).init();
        }
    }
}

impl Write for AboveBar {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl ReplayProgress for Bar {
    fn started(&mut self, total_bytes: u64) {
        let template = if total_bytes > 0 {
            "{bar:32} {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left  {msg}"
        } else {
            "{spinner} {bytes}  {bytes_per_sec}  {msg}"
        };
        let style = ProgressStyle::with_template(template);
        self.0.set_style(style.expect("both templates are constants"));
        if total_bytes > 0 {
            self.0.set_length(total_bytes);
        }
    }

    fn advanced(&mut self, bytes: u64, _: u64) {
        self.0.inc(bytes);
    }

    fn finished(&mut self) {
        self.0.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_takes_sizes_that_are_known_and_those_that_are_not() {
        for (total_bytes, length) in [(0, None), (10, Some(10))] {
            let mut bar = Bar(ProgressBar::hidden());
            bar.started(total_bytes);
            bar.advanced(7, 1);
            assert_eq!((bar.0.position(), bar.0.length()), (7, length));
            bar.finished();
            assert!(bar.0.is_finished());
        }
    }
}

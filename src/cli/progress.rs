//! Standard error while a command runs: a progress bar at the bottom of a terminal, log lines above
//! it.

use std::io::{self, IsTerminal, Write};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tracing::level_filters::LevelFilter;

use super::Cli;
use crate::pipeline::replay::ReplayProgress;

/// The progress bar. It draws nothing where standard error is no terminal.
#[derive(Debug)]
pub struct Bar(ProgressBar);

/// Prints log lines above the progress bar, not through it.
struct AboveBar(ProgressBar);

/// The progress bar of this command, and log lines of its level from now on. To be called once.
pub fn start(cli: &Cli) -> Bar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
    if !cli.is_quiet() && io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(5));
    }
    start_log(cli.log_level(), bar.clone());
    Bar(bar)
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

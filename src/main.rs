//! Flags, logging, run, exit code.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::Parser;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tracing::level_filters::LevelFilter;
use twinsid::cli::Cli;
use twinsid::pipeline::Watch;
use twinsid::sink::escape;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
    let level = if cli.is_quiet() { LevelFilter::ERROR } else { LevelFilter::WARN };
    if !cli.is_quiet() && io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(5));
    }
    let beside = bar.clone();
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_target(false)
        .without_time()
        .with_ansi(io::stderr().is_terminal())
        .with_writer(move || BesideBar(beside.clone()))
        .init();
    match cli.run(&mut Bar(bar)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Paths may hold anything. Nothing is left to do when standard error is closed.
            let text = error.to_string();
            let lines = text.lines().map(escape::terminal).collect::<Vec<_>>().join("\n");
            let _ = writeln!(io::stderr(), "twinsid: {lines}");
            ExitCode::from(error.exit_code())
        }
    }
}

/// Log lines go above the progress bar, not through it.
struct BesideBar(ProgressBar);

impl Write for BesideBar {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

struct Bar(ProgressBar);

impl Watch for Bar {
    fn started(&mut self, total_bytes: u64) {
        let template = if total_bytes > 0 {
            "{bar:32} {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left  {msg}"
        } else {
            "{spinner} {bytes}  {bytes_per_sec}  {msg}"
        };
        let style = ProgressStyle::with_template(template);
        self.0.set_style(style.expect("the template is a constant that tests have drawn"));
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

//! Flags, logging, run, exit code.

mod progress;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::Parser;
use indicatif::{ProgressBar, ProgressDrawTarget};
use tracing::level_filters::LevelFilter;
use twinsid::cli::Cli;
use twinsid::output::escape;

use progress::{Bar, BesideBar};

fn main() -> ExitCode {
    twinsid::heap::share();
    let cli = Cli::parse();
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
    let level = match (cli.is_quiet(), cli.is_service()) {
        (true, _) => LevelFilter::ERROR,
        (false, true) => LevelFilter::INFO,
        (false, false) => LevelFilter::WARN,
    };
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

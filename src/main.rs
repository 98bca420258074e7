//! Flags, logging, run, exit code.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use twinsid::cli::{Cli, progress};
use twinsid::output::escape;

#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut bar = progress::start(&cli);
    match cli.run(&mut bar) {
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

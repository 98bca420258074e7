//! Flags, logging, run, exit code.

use std::process::ExitCode;

use clap::Parser;
use twinsid::cli::{Cli, progress};

#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let service_log_format = cli.service_log_format();
    let mut bar = progress::start(&cli);
    match cli.run(&mut bar) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            progress::write_failure(&error, service_log_format);
            ExitCode::from(error.exit_code())
        }
    }
}

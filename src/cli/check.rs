//! `twinsid check`: a configuration and its rule files, checked and shown.

use std::path::PathBuf;

use super::CliError;
use super::output::print;
use crate::config::{Config, effective};
use crate::output::escape;
use crate::pipeline::service;

#[derive(Debug, clap::Args)]
pub(super) struct CheckFlags {
    /// The file to check
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Try the brokers and the topics as well
    #[arg(long)]
    connect: bool,
}

pub(super) fn run(flags: &CheckFlags) -> Result<(), CliError> {
    let path = flags.config.as_deref();
    let config = Config::load(path)?;
    let events: usize = config.rules.iter().map(|rule| rule.event_ids.len()).sum();
    let mut text = String::new();
    if let (Some(path), Some(_)) = (path, &config.service) {
        for setting in effective::settings(path)? {
            let value = escape::terminal(&setting.value);
            text.push_str(&format!("{} = {value}    # {}\n", setting.key, setting.origin));
        }
        text.push('\n');
    }
    text.push_str(&format!("no mistakes: {} rules for {events} events\n", config.rules.len()));
    print(&text)?;
    match config.service.filter(|_| flags.connect) {
        Some(service) => print(&service::connect(&service)?.join("\n")).and_then(|()| print("\n")),
        None => Ok(()),
    }
}

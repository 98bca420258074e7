//! `twinsid topics`: the Kafka topics of a configuration, printed or created.

use std::path::PathBuf;

use super::CliError;
use super::output::print;
use super::run::load_service;
use crate::pipeline::service;

#[derive(Debug, clap::Args)]
pub(super) struct TopicsFlags {
    /// The service's configuration
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
    /// Create those that are missing
    #[arg(long)]
    create: bool,
}

pub(super) fn run(flags: &TopicsFlags) -> Result<(), CliError> {
    let (_, service) = load_service(&flags.config)?;
    print(&service::topics_text(&service, flags.create)?)
}

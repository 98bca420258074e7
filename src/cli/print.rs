//! `twinsid schema`, `completions` and `man`: what is part of the program, printed.

use clap::{CommandFactory, ValueEnum};

use super::output::print;
use super::{Cli, CliError};
use crate::output::format;
use crate::output::wire;

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum SchemaName {
    Incident,
    /// Incidents in format ecs
    Ecs,
    /// Incidents in format ocsf
    Ocsf,
    Stats,
    Hosts,
    /// What the service could not decode
    DeadLetter,
}

pub(super) fn schema(name: SchemaName) -> Result<(), CliError> {
    print(match name {
        SchemaName::Incident => wire::INCIDENT_SCHEMA,
        SchemaName::Ecs => format::ECS_SCHEMA,
        SchemaName::Ocsf => format::OCSF_SCHEMA,
        SchemaName::Stats => wire::STATS_SCHEMA,
        SchemaName::Hosts => wire::HOSTS_SCHEMA,
        SchemaName::DeadLetter => wire::DEAD_LETTER_SCHEMA,
    })
}

pub(super) fn completions(shell: clap_complete::Shell) -> Result<(), CliError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "twinsid", &mut script);
    print(&String::from_utf8_lossy(&script))
}

pub(super) fn man() -> Result<(), CliError> {
    let mut page = Vec::new();
    let man = clap_mangen::Man::new(Cli::command());
    man.render(&mut page).map_err(CliError::StandardOutput)?;
    print(&String::from_utf8_lossy(&page))
}

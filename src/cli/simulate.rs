//! `twinsid simulate`: the logs of a made-up fleet.

use std::io;
use std::path::PathBuf;

use clap::ValueEnum;

use super::CliError;
use super::output::print;
use crate::output::escape;
use crate::pipeline::replay::ReplayProgress;
use crate::simulate::fleet::{FleetSpec, Form, Traps, simulate};

#[derive(Debug, clap::Args)]
pub(super) struct SimulateFlags {
    /// Folder for the logs and truth.json; made if it is not there
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// Member machines; one to three domain controllers come on top
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    hosts: u32,
    /// Groups of clones among them
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(0..=20_000))]
    groups: u32,
    /// Hours of logs
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=8_784))]
    hours: u32,
    /// The same seed gives the same bytes
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How the logs are written
    #[arg(long, value_enum, default_value_t = FormName::Evtx)]
    form: FormName,
    /// Leave out renamed, rebuilt and other hosts that only look like clones
    #[arg(long)]
    no_traps: bool,
    /// Write even though the folder is not empty
    #[arg(long)]
    force: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum FormName {
    /// EVTX files, a folder for each host
    Evtx,
    /// One ForwardedEvents.evtx, as a collector has it
    Forwarded,
    /// Event XML, one event a line
    Xml,
    Winlogbeat,
    Nxlog,
    Openwec,
}

impl FormName {
    fn form(self) -> Form {
        match self {
            FormName::Evtx => Form::Evtx,
            FormName::Forwarded => Form::Forwarded,
            FormName::Xml => Form::Xml,
            FormName::Winlogbeat => Form::Winlogbeat,
            FormName::Nxlog => Form::Nxlog,
            FormName::Openwec => Form::Openwec,
        }
    }
}

pub(super) fn run(
    flags: &SimulateFlags,
    progress: &mut dyn ReplayProgress,
) -> Result<(), CliError> {
    let path = &flags.output;
    let failed = |cause| CliError::Simulate { path: path.clone(), cause };
    let is_empty = match std::fs::read_dir(path) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => true,
        Err(error) => return Err(failed(error)),
    };
    if !is_empty && !flags.force {
        return Err(CliError::NotEmpty { path: path.clone() });
    }
    let spec = FleetSpec {
        hosts: flags.hosts,
        groups: flags.groups,
        hours: flags.hours,
        seed: flags.seed,
        form: flags.form.form(),
        traps: if flags.no_traps { Traps::Off } else { Traps::On },
    };
    progress.started(0);
    let mut reported = 0;
    let report = &mut |bytes: u64| {
        progress.advanced(bytes.saturating_sub(reported), 0);
        reported = bytes;
    };
    let truth = simulate(&spec, path, report).map_err(failed)?;
    progress.finished();
    let shown = escape::terminal(&path.display().to_string()).into_owned();
    print(&format!(
        "{} hosts, {} groups of clones, {} records in {shown}\n\
         what is true of them is in truth.json there; next: twinsid replay {shown}\n",
        truth.hosts.len(),
        truth.groups.len(),
        truth.records,
    ))
}

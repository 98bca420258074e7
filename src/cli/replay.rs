//! `twinsid replay`: archived logs to incidents.

use std::io;
use std::path::PathBuf;

use clap::ValueEnum;
use tracing::warn;

use super::CliError;
use super::output::{stats, summary, write_hosts, write_incidents};
use crate::config::Config;
use crate::config::inventory;
use crate::config::inventory::Inventory;
use crate::output::escape;
use crate::output::format::Format;
use crate::output::summary::write_summary;
use crate::output::write_line;
use crate::pipeline::replay::{OnDamage, Replay, ReplayProgress, replay};
use crate::store::atomic_file::AtomicFile;

#[derive(Debug, clap::Args)]
pub(super) struct ReplayFlags {
    /// Logs: EVTX, event XML or JSON lines, plain or as .zip, .gz or .zst;
    /// folders are searched; - is standard input
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Incidents as JSON lines; the file appears when it is complete
    /// [default: standard output; cards for people on a terminal]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// What a line of it is
    #[arg(long, value_enum, default_value_t = IncidentFormat::Native)]
    format: IncidentFormat,
    /// What is known of each host, as JSON lines
    #[arg(long, value_name = "FILE")]
    hosts: Option<PathBuf>,
    /// Counters, as JSON
    #[arg(long, value_name = "FILE")]
    stats: Option<PathBuf>,
    /// Configuration laid over the embedded one
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Known hosts, CSV with a heading or JSON lines: host, ip, machine_sid,
    /// owner, os_build, tags
    #[arg(long, value_name = "FILE")]
    inventory: Option<PathBuf>,
    /// Threads that decode [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: Option<u16>,
    /// Stop at the first damaged record, line, archive member or file
    #[arg(long)]
    strict: bool,
    /// No progress, warnings or summary
    #[arg(short, long)]
    pub(super) quiet: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum IncidentFormat {
    /// As `twinsid schema` prints it
    Native,
    /// Elastic Common Schema
    Ecs,
    /// OCSF Detection Finding
    Ocsf,
}

impl IncidentFormat {
    fn format(self) -> Format {
        match self {
            IncidentFormat::Native => Format::Native,
            IncidentFormat::Ecs => Format::Ecs,
            IncidentFormat::Ocsf => Format::Ocsf,
        }
    }
}

/// Reads the logs to their end, then writes every output. Nothing is left under an output's name
/// unless the whole run succeeded.
pub(super) fn run(flags: ReplayFlags, progress: &mut dyn ReplayProgress) -> Result<(), CliError> {
    let config = Config::load(flags.config.as_deref())?;
    let inventory = match &flags.inventory {
        Some(path) => inventory::read(path)?,
        None => Inventory::default(),
    };
    if !inventory.ignored.is_empty() {
        let columns = inventory.ignored.iter().map(|name| escape::terminal(name));
        let columns = columns.collect::<Vec<_>>().join(", ");
        warn!("the inventory has columns that mean nothing here: {columns}");
    }
    let outputs: Vec<PathBuf> =
        [&flags.output, &flags.hosts, &flags.stats].into_iter().flatten().cloned().collect();
    for (index, path) in outputs.iter().enumerate() {
        if path.as_os_str() != "/dev/null" && outputs[..index].contains(path) {
            return Err(CliError::OutputTwice { path: path.clone() });
        }
    }
    // A long run must not fail only at its end, for an output that cannot be written.
    let create = |path: &Option<PathBuf>| path.as_deref().map(AtomicFile::create).transpose();
    let output = create(&flags.output)?;
    let hosts_output = create(&flags.hosts)?;
    let stats_output = create(&flags.stats)?;
    let cores = || std::thread::available_parallelism().map_or(1, |cores| cores.get());
    let replayed = replay(
        Replay {
            paths: flags.paths,
            outputs,
            settings: config.settings,
            rules: config.rules,
            fact_rules: config.fact_rules,
            inventory: inventory.hosts,
            threads: flags.threads.map_or_else(cores, usize::from),
            damage: if flags.strict { OnDamage::Stop } else { OnDamage::Skip },
        },
        progress,
    )?;
    let stats = stats(&replayed);
    if let Some(mut output) = hosts_output {
        write_hosts(&replayed.detector, &mut output)?;
        output.commit()?;
    }
    if let Some(mut output) = stats_output {
        output.fill(|out| write_line(out, &stats))?;
        output.commit()?;
    }
    let format = flags.format.format();
    match output {
        Some(mut output) => {
            output.fill(|out| replayed.incidents.iter().try_for_each(|i| format.write(i, out)))?;
            output.commit()?;
        }
        None => write_incidents(&replayed.incidents, format)?,
    }
    if !flags.quiet {
        // Standard error may be closed; the run has succeeded all the same.
        let _ = write_summary(&mut io::stderr().lock(), &summary(stats, &replayed));
    }
    Ok(())
}

//! `twinsid demo`: a small fleet, simulated and replayed in a temporary folder.

use std::cmp::Reverse;
use std::io;
use std::path::PathBuf;

use super::CliError;
use super::output::{print, stats, summary, write_cards, write_hosts};
use crate::config::Config;
use crate::incident::Incident;
use crate::output::escape;
use crate::output::format::Format;
use crate::output::summary::write_summary;
use crate::pipeline::replay::{NoProgress, OnDamage, Replay, replay};
use crate::simulate::fleet::{FleetSpec, Form, Traps, simulate};
use crate::store::atomic_file::AtomicFile;

/// Small, but with a card for each kind of clone.
const DEMO: FleetSpec =
    FleetSpec { hosts: 16, groups: 3, hours: 4, seed: 3, form: Form::Evtx, traps: Traps::On };

pub(super) fn run() -> Result<(), CliError> {
    let folder = demo_folder()?;
    let failed = |cause| CliError::Simulate { path: folder.clone(), cause };
    let logs = folder.join("logs");
    let truth = simulate(&DEMO, &logs, &mut |_| ()).map_err(failed)?;
    let Config { settings, rules, fact_rules, .. } = Config::embedded();
    let replayed = replay(
        Replay {
            paths: vec![logs.clone()],
            outputs: Vec::new(),
            settings,
            rules,
            fact_rules,
            inventory: Vec::new(),
            threads: 1,
            damage: OnDamage::Skip,
        },
        &mut NoProgress,
    )?;
    let [incidents, hosts] = ["incidents.jsonl", "hosts.jsonl"].map(|name| folder.join(name));
    let mut output = AtomicFile::create(&incidents)?;
    output.fill(|out| replayed.incidents.iter().try_for_each(|i| Format::Native.write(i, out)))?;
    output.commit()?;
    let mut output = AtomicFile::create(&hosts)?;
    write_hosts(&replayed.detector, &mut output)?;
    output.commit()?;
    let mut worst_first: Vec<Incident> = replayed.incidents.clone();
    worst_first.sort_by_key(|incident| (Reverse(incident.severity), incident.kind));
    print(&format!(
        "{} hosts, {} hours, {} records: a made-up fleet. This is what its logs tell.\n\n",
        truth.hosts.len(),
        DEMO.hours,
        truth.records
    ))?;
    write_cards(&worst_first)?;
    print(&format!(
        "The logs and what is true of them (truth.json)  {}\n\
         The incidents above, as JSON lines              {}\n\
         What is known of each host                      {}\n\
         Next: twinsid replay FOLDER, with logs of your own.\n",
        escape::terminal(&logs.display().to_string()),
        escape::terminal(&incidents.display().to_string()),
        escape::terminal(&hosts.display().to_string()),
    ))?;
    let summary = summary(stats(&replayed), &replayed);
    let _ = write_summary(&mut io::stderr().lock(), &summary);
    Ok(())
}

/// A new folder below the system's temporary one. An error when none of the names is free.
fn demo_folder() -> Result<PathBuf, CliError> {
    const TRIES: u32 = 10_000;
    let base = std::env::temp_dir();
    for number in 1..=TRIES {
        let path = base.join(format!("twinsid-demo-{number}"));
        match std::fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(cause) => return Err(CliError::Simulate { path, cause }),
        }
    }
    let cause = io::Error::other("it is full of folders of earlier demonstrations");
    Err(CliError::Simulate { path: base, cause })
}

//! The command line: flags, and what each command does with them.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
use tracing::warn;

use crate::config::inventory;
use crate::config::inventory::{Inventory, InventoryError};
use crate::config::service::Service;
use crate::config::{Config, ConfigError, effective};
use crate::detect::Detector;
use crate::explain::codes;
use crate::incident::{Incident, Kind};
use crate::output::cards::{Style, write_card};
use crate::output::escape;
use crate::output::format;
use crate::output::format::Format;
use crate::output::summary::{SourceTotal, Summary, write_summary};
use crate::output::wire;
use crate::output::wire::{WireHost, WireObservations, WireStats};
use crate::output::write_line;
use crate::pipeline::replay::{
    NoProgress, OnDamage, Replay, ReplayError, ReplayProgress, Replayed, replay,
};
use crate::pipeline::service;
use crate::pipeline::service::{Requests, RunMode, ServiceError};
use crate::simulate::fleet::{FleetSpec, Form, Traps, simulate};
use crate::source::SourceError;
use crate::store::StoreError;
use crate::store::atomic_file::AtomicFile;

const EXIT_CODES: &str = "\
Exit codes:
  0  done, damaged input counted and passed over
  1  the output could not be written
  2  wrong flags, or a mistake in the configuration or a rule file
  3  an input that was named cannot be read, or holds no logs
  4  damaged input, with --strict";

const RUN_HELP: &str = "\
Each incident is written exactly once, into a file or a Kafka topic, whatever is killed
when. On standard output it is at least once: what was printed cannot be taken back.

Signals:
  SIGTERM, SIGINT  finish what is under way, commit, leave the group, exit 0
  SIGHUP           read rules and inventory anew; after a mistake the old ones stay

Exit codes:
  0   stopped, or with --until-end: everything was read and closed
  1   the output or the state could not be written or read
  2   wrong flags, or a mistake in the configuration, a rule file or the inventory
  3   a source cannot be read
  5   another copy took over: this one was given up for dead and can commit nothing more
  70  nothing went on for three minutes, and the watchdog ended the process";

/// Columns of a card where the terminal does not tell its own.
const CARD_WIDTH: usize = 80;

/// Finds cloned Windows machines, and explains failed Kerberos and NTLM
/// authentications, from event logs.
#[derive(Debug, Parser)]
#[command(name = "twinsid", version, after_help = EXIT_CODES, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Read archived logs and say which authentications failed, and why
    #[command(after_help = EXIT_CODES)]
    Replay(ReplayFlags),
    /// Read live sources and tell incidents as they happen, exactly once
    #[command(after_help = RUN_HELP)]
    Run(RunFlags),
    /// Print the Kafka topics that a configuration needs, or create them
    Topics {
        /// The service's configuration
        #[arg(short, long, value_name = "FILE")]
        config: PathBuf,
        /// Create those that are missing
        #[arg(long)]
        create: bool,
    },
    /// See it work: simulate a small fleet in a temporary folder, and replay it
    Demo,
    /// Write the logs of a made-up fleet with known clones, to try replay on
    Simulate(SimulateFlags),
    /// Say what a code means: 0xC000006D, 0x18, %%2313, STATUS_LOGON_FAILURE, 6167
    Explain {
        /// A status code, a failure reason, a name, an event id
        #[arg(required = true)]
        code: Vec<String>,
    },
    /// Check a configuration and its rule files
    Check {
        /// The file to check
        #[arg(short, long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Try the brokers and the topics as well
        #[arg(long)]
        connect: bool,
    },
    /// Print the JSON schema of an output
    Schema {
        #[arg(value_enum, default_value_t = SchemaName::Incident)]
        name: SchemaName,
    },
    /// Print a completion script
    Completions { shell: clap_complete::Shell },
    /// Print the manual page
    Man,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum SchemaName {
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

#[derive(Debug, clap::Args)]
struct SimulateFlags {
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

#[derive(Debug, clap::Args)]
struct RunFlags {
    /// Sources, sink and state; see config/examples
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
    /// Read each source to the end that it has now, close everything as replay
    /// does, and exit: for backfills
    #[arg(long)]
    until_end: bool,
    /// Errors only
    #[arg(short, long)]
    quiet: bool,
}

#[derive(Debug, clap::Args)]
struct ReplayFlags {
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
    quiet: bool,
}

/// Why a command failed; each has its exit code.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    #[error("{0}")]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Inventory(#[from] InventoryError),
    #[error(transparent)]
    Replay(#[from] ReplayError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("`{path}` is named for two outputs\n  hint: give each a file of its own")]
    OutputTwice { path: PathBuf },
    #[error(
        "`{path}` is not empty\n  hint: name a new folder, or add --force to write into this one"
    )]
    NotEmpty { path: PathBuf },
    #[error("cannot write the fleet to `{path}`: {cause}")]
    Simulate { path: PathBuf, cause: io::Error },
    #[error(transparent)]
    Service(#[from] ServiceError),
    #[error(
        "`{}` has no service: neither `[[source]]` nor `[sink]`\n  hint: config/examples/ has whole files to begin with",
        path.display()
    )]
    NoService { path: PathBuf },
    #[error("cannot write standard output: {0}")]
    StandardOutput(io::Error),
    #[error(
        "nothing is known of `{code}`\n  hint: write a code as the event shows it, `0xC000006D`, `0x18` or `%%2313`, or an event id such as `6167`"
    )]
    Unexplained { code: String },
}

impl CliError {
    pub fn exit_code(&self) -> u8 {
        match self {
            CliError::Store(_) | CliError::StandardOutput(_) | CliError::Simulate { .. } => 1,
            CliError::NotEmpty { .. } | CliError::NoService { .. } => 2,
            CliError::Service(error) => error.exit_code(),
            CliError::Inventory(InventoryError::Unreadable { .. }) => 3,
            CliError::Inventory(InventoryError::Mistake { .. }) => 2,
            CliError::Config(_) | CliError::Unexplained { .. } | CliError::OutputTwice { .. } => 2,
            CliError::Replay(ReplayError::Source(SourceError::OutputIsInput { .. })) => 2,
            CliError::Replay(ReplayError::Source(_)) => 3,
            CliError::Replay(ReplayError::Damaged { .. }) => 4,
        }
    }
}

impl Cli {
    /// Whether only errors belong on standard error.
    pub fn is_quiet(&self) -> bool {
        matches!(
            &self.command,
            Command::Replay(ReplayFlags { quiet: true, .. })
                | Command::Run(RunFlags { quiet: true, .. })
        )
    }

    /// Whether it goes on for long, so that people want to know how it goes.
    pub fn is_service(&self) -> bool {
        matches!(&self.command, Command::Run(_))
    }

    pub fn run(self, watch: &mut dyn ReplayProgress) -> Result<(), CliError> {
        match self.command {
            Command::Replay(flags) => run_replay(flags, watch),
            Command::Demo => run_demo(),
            Command::Simulate(flags) => run_simulate(&flags, watch),
            Command::Explain { code } => explain(&code),
            Command::Check { config, connect } => check(config.as_deref(), connect),
            Command::Run(flags) => run_service(&flags),
            Command::Topics { config, create } => topics(&config, create),
            Command::Schema { name } => print(match name {
                SchemaName::Incident => wire::INCIDENT_SCHEMA,
                SchemaName::Ecs => format::ECS_SCHEMA,
                SchemaName::Ocsf => format::OCSF_SCHEMA,
                SchemaName::Stats => wire::STATS_SCHEMA,
                SchemaName::Hosts => wire::HOSTS_SCHEMA,
                SchemaName::DeadLetter => wire::DEAD_LETTER_SCHEMA,
            }),
            Command::Completions { shell } => {
                let mut script = Vec::new();
                clap_complete::generate(shell, &mut Cli::command(), "twinsid", &mut script);
                print(&String::from_utf8_lossy(&script))
            }
            Command::Man => {
                let mut page = Vec::new();
                let man = clap_mangen::Man::new(Cli::command());
                man.render(&mut page).map_err(CliError::StandardOutput)?;
                print(&String::from_utf8_lossy(&page))
            }
        }
    }
}

/// To standard output; a reader that went away is no error.
fn print(text: &str) -> Result<(), CliError> {
    to_standard_output(|out| out.write_all(text.as_bytes()))
}

fn to_standard_output(fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), CliError> {
    let mut out = BufWriter::new(io::stdout().lock());
    match fill(&mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(CliError::StandardOutput),
    }
}

/// Explains the words as one code (`logon type 3`), or else each by itself.
fn explain(words: &[String]) -> Result<(), CliError> {
    let mut explanations = codes::explain(&words.join(" "));
    if explanations.is_empty() {
        for word in words {
            let found = codes::explain(word);
            if found.is_empty() {
                return Err(CliError::Unexplained { code: word.clone() });
            }
            explanations.extend(found);
        }
    }
    let texts: Vec<String> = explanations
        .into_iter()
        .map(|explanation| {
            let lines = explanation.lines.iter().map(|line| format!("  {line}\n"));
            format!("{}\n{}", explanation.title, lines.collect::<String>())
        })
        .collect();
    print(&texts.join("\n"))
}

fn check(path: Option<&Path>, connect: bool) -> Result<(), CliError> {
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
    match config.service.filter(|_| connect) {
        Some(service) => print(&service::connect(&service)?.join("\n")).and_then(|()| print("\n")),
        None => Ok(()),
    }
}

fn load_service(path: &Path) -> Result<(Config, Service), CliError> {
    let mut config = Config::load(Some(path))?;
    let service = config.service.take();
    let service = service.ok_or_else(|| CliError::NoService { path: path.to_owned() })?;
    Ok((config, service))
}

fn run_service(flags: &RunFlags) -> Result<(), CliError> {
    let (config, service) = load_service(&flags.config)?;
    let extent = if flags.until_end { RunMode::UntilEnd } else { RunMode::Continuous };
    let requests = Arc::new(Requests::default());
    listen_to_signals(&requests);
    service::run(config, &flags.config, &service, extent, &requests)?;
    Ok(())
}

/// In a thread of its own, which ends with the process.
#[cfg(unix)]
fn listen_to_signals(requests: &Arc<Requests>) {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let requests = Arc::clone(requests);
    match signal_hook::iterator::Signals::new([SIGHUP, SIGINT, SIGTERM]) {
        Ok(mut signals) => {
            std::thread::spawn(move || {
                for signal in signals.forever() {
                    match signal {
                        SIGHUP => requests.ask_reload(),
                        _ => requests.interrupt(),
                    }
                }
            });
        }
        Err(error) => warn!("signals end this process at once, with nothing lost: {error}"),
    }
}

#[cfg(not(unix))]
fn listen_to_signals(_: &Arc<Requests>) {}

fn topics(path: &Path, create: bool) -> Result<(), CliError> {
    let (_, service) = load_service(path)?;
    print(&service::topics_text(&service, create)?)
}

fn run_replay(flags: ReplayFlags, watch: &mut dyn ReplayProgress) -> Result<(), CliError> {
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
    // An output that cannot be written is better known before a long run.
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
            damage: if flags.strict { OnDamage::Stop } else { OnDamage::RejectReason },
        },
        watch,
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

fn run_simulate(flags: &SimulateFlags, watch: &mut dyn ReplayProgress) -> Result<(), CliError> {
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
    watch.started(0);
    let mut told = 0;
    let progress = &mut |bytes: u64| {
        watch.advanced(bytes.saturating_sub(told), 0);
        told = bytes;
    };
    let truth = simulate(&spec, path, progress).map_err(failed)?;
    watch.finished();
    let shown = escape::terminal(&path.display().to_string()).into_owned();
    print(&format!(
        "{} hosts, {} groups of clones, {} records in {shown}\n\
         what is true of them is in truth.json there; next: twinsid replay {shown}\n",
        truth.hosts.len(),
        truth.groups.len(),
        truth.records,
    ))
}

/// A fleet of which each kind of clone shows in a few cards.
const DEMO: FleetSpec =
    FleetSpec { hosts: 16, groups: 3, hours: 4, seed: 3, form: Form::Evtx, traps: Traps::On };

fn run_demo() -> Result<(), CliError> {
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
            damage: OnDamage::RejectReason,
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

fn write_hosts(detector: &Detector, output: &mut AtomicFile) -> Result<(), StoreError> {
    let fleet = detector.fleet();
    let mut hosts = fleet.known_hosts(detector.names());
    output.fill(|out| hosts.try_for_each(|host| write_line(out, &WireHost::from(&host))))
}

/// A new folder among the temporary ones.
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

/// Cards on a terminal, JSON lines into anything else.
fn write_incidents(incidents: &[Incident], format: Format) -> Result<(), CliError> {
    if io::stdout().is_terminal() {
        return write_cards(incidents);
    }
    to_standard_output(|out| incidents.iter().try_for_each(|i| format.write(i, out)))
}

fn write_cards(incidents: &[Incident]) -> Result<(), CliError> {
    let plain = std::env::var_os("NO_COLOR").is_some() || !io::stdout().is_terminal();
    let style = if plain { Style::Plain } else { Style::Color };
    let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let terminal = console::Term::stdout().size_checked().map(|(_, columns)| usize::from(columns));
    let width = columns.or(terminal).unwrap_or(CARD_WIDTH);
    to_standard_output(|mut out| {
        incidents.iter().try_for_each(|incident| write_card(&mut out, incident, style, width))
    })
}

fn stats(replayed: &Replayed) -> WireStats {
    let matched =
        replayed.matched.iter().map(|((provider, id), count)| (format!("{provider}/{id}"), *count));
    let skipped =
        replayed.tally.skipped.iter().map(|(reason, count)| (reason.name().to_owned(), *count));
    let mut incidents: BTreeMap<String, u64> = BTreeMap::new();
    for incident in &replayed.incidents {
        *incidents.entry(incident.kind.name().to_owned()).or_default() += 1;
    }
    let ingested = replayed.ingested;
    WireStats {
        files: replayed.files,
        bytes: replayed.tally.bytes,
        chunks: replayed.tally.chunks,
        records: replayed.tally.records,
        matched: matched.collect(),
        observations: WireObservations {
            mismatch: ingested.mismatches,
            failure: ingested.failures,
            success: ingested.successes,
            fact: ingested.facts,
        },
        skipped: skipped.collect(),
        incidents,
        seconds: replayed.elapsed.as_secs_f64(),
    }
}

fn summary(stats: WireStats, replayed: &Replayed) -> Summary {
    let mut classes: BTreeMap<(String, String), u64> = BTreeMap::new();
    let mut sources: BTreeMap<&str, SourceTotal> = BTreeMap::new();
    for incident in &replayed.incidents {
        let class = (incident.kind.name().to_owned(), incident.verdict.class.name().to_owned());
        *classes.entry(class).or_default() += 1;
        if incident.kind == Kind::AuthenticationFailures {
            let source = sources.entry(&incident.source_key).or_insert_with(|| SourceTotal {
                name: source_name(incident),
                sid: incident.source_sid.map(|sid| sid.to_string()),
                failures: 0,
            });
            source.failures += incident.counts.failures;
        }
    }
    let skip_samples = replayed
        .tally
        .samples
        .iter()
        .map(|(reason, sample)| (reason.name().to_owned(), sample.clone()));
    let over_bounds = replayed.detector.over_bounds().into_iter().filter(|(_, count)| *count > 0);
    Summary {
        stats,
        skip_samples: skip_samples.collect(),
        classes,
        sources: sources.into_values().collect(),
        over_bounds: over_bounds.map(|(what, count)| (what.to_owned(), count)).collect(),
    }
}

fn source_name(incident: &Incident) -> Option<String> {
    let account = incident.accounts.first()?;
    match (&account.domain, &account.name) {
        (Some(domain), Some(name)) => Some(format!("{domain}\\{name}")),
        (None, Some(name)) => Some(name.clone()),
        (_, None) => incident.source_key.split_once(':').map(|(_, key)| key.to_owned()),
    }
}

//! `twinsid run`: what is configured, the threads that do it, and signals.
//!
//! ```text
//!  source ─▶ thread: read, decode, gather ┐
//!  source ─▶ thread                      ─┼─▶ judge: detector, sink
//!  source ─▶ …                            ┘    (or, Kafka to Kafka: see `shared`)
//! ```
//!
//! One thread reads and decodes each source; the calling thread judges and
//! commits. What was flushed waits in one bounded channel, so a sink that is
//! slow makes the sources wait.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use super::correlate::{CommitProgress, CorrelateError, Correlator, CorrelatorSpec, EmitMode};
use super::decode::batcher::{Batcher, Flushed, SharedRules};
use super::{Counters, Stop, spawn};
use crate::config::inventory;
use crate::config::inventory::InventoryError;
use crate::config::service::Service;
use crate::config::sinks::SinkSpec;
use crate::config::sources::{NamedSource, SourceSpec};
use crate::config::{Config, ConfigError};
use crate::decode::lines::last_boundary;
use crate::detect::rules::Rules;
use crate::detect::watermark::CaughtUp;
use crate::heap;
use crate::net::listen::{Listen, ListenOn, ListenSpec, TlsSpec};
use crate::observation::ListedHost;
use crate::sink::file::{FileSink, FileSinkSpec, IncidentsTo};
use crate::sink::{Sink, SinkError};
use crate::source::follow::{Follow, FollowSpec};
use crate::source::pipe::Pipe;
use crate::source::{Next, Source, SourceError};
use crate::store::rotating_file::RotatingFileSpec;
use crate::time::EventTime;

/// Handed over by sources, and not judged yet.
const DELIVERIES_MAX: usize = 4;

/// A stage that commits nothing and reads nothing for so long hangs: no call in
/// it may take that long.
const SILENT_MAX: Duration = Duration::from_secs(180);

/// A commit that fails because brokers are away is tried again after a pause that
/// grows, for some ten minutes and the time that the tries take.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);
const TRIES_MAX: u32 = 25;

/// When it is to stop, it is tried no more often than that.
const STOP_TRIES_MAX: u32 = 5;

/// How a service runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunMode {
    /// Until it is stopped.
    Continuous,
    /// To the end that each source had at the start; then everything is closed.
    UntilEnd,
}

/// What outsiders ask of a running service.
#[derive(Debug, Default)]
pub struct Requests {
    stop: Stop,
    interrupted: AtomicBool,
    reload: AtomicBool,
}

impl Requests {
    /// Whether a person or the system asked for it, rather than the end of all
    /// sources.
    fn was_asked_to_stop(&self) -> bool {
        self.interrupted.load(Ordering::SeqCst)
    }

    /// Reads rules and inventory anew.
    pub fn ask_reload(&self) {
        self.reload.store(true, Ordering::SeqCst);
    }

    /// Ends what is under way, commits, and no more.
    pub fn interrupt(&self) {
        self.interrupted.store(true, Ordering::SeqCst);
        self.stop.ask();
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Inventory(#[from] InventoryError),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Correlator(#[from] CorrelateError),
    #[error(transparent)]
    Sink(#[from] SinkError),
    #[cfg(feature = "kafka")]
    #[error(transparent)]
    Broker(#[from] crate::brokers::BrokerError),
    #[cfg(feature = "kafka")]
    #[error(transparent)]
    Shared(#[from] crate::pipeline::link::topic::TopicLinkError),
    #[error("{what}\n  hint: {hint}")]
    Unsupported { what: &'static str, hint: &'static str },
    #[error(
        "the thread of source `{source_name}` is gone\n  hint: this is a mistake in twinsid; nothing was lost, start it again"
    )]
    Gone { source_name: String },
}

impl ServiceError {
    pub fn exit_code(&self) -> u8 {
        #[cfg(feature = "kafka")]
        if self.is_fenced() {
            return 5;
        }
        match self {
            ServiceError::Config(_)
            | ServiceError::Inventory(InventoryError::Mistake { .. })
            | ServiceError::Unsupported { .. } => 2,
            ServiceError::Inventory(InventoryError::Unreadable { .. })
            | ServiceError::Source(_) => 3,
            _ => 1,
        }
    }
}

/// Runs what the configuration says.
pub fn run(
    config: Config,
    path: &Path,
    service: &Service,
    extent: RunMode,
    requests: &Requests,
) -> Result<(), ServiceError> {
    let counters = Counters::new();
    let rules = SharedRules::new(Arc::new(Rules::new(&config.rules, &config.fact_rules)));
    let correlator_spec = CorrelatorSpec {
        settings: config.settings,
        inventory: read_inventory(service.inventory.as_deref())?,
        lateness_ticks: service.lateness_ticks,
        idle_ticks: service.idle_ticks,
        emit_mode: match extent {
            RunMode::Continuous => EmitMode::Live,
            RunMode::UntilEnd => EmitMode::AtEnd,
        },
    };
    let reloaded = Reloaded { path, service, requests, rules: &rules };
    let done = Stop::default();
    std::thread::scope(|scope| {
        spawn(scope, "watch", || watch(&counters, &done, service.status_interval));
        let outcome = run_kind(service, &correlator_spec, &rules, extent, &reloaded, &counters);
        requests.stop.ask();
        done.ask();
        if outcome.is_ok() {
            let load = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
            info!(
                records = load(&counters.records),
                incidents = load(&counters.incidents),
                skipped = load(&counters.skipped),
                "ended; what was taken in is committed"
            );
        }
        outcome
    })
}

fn run_kind(
    service: &Service,
    correlator_spec: &CorrelatorSpec,
    rules: &SharedRules,
    extent: RunMode,
    reloaded: &Reloaded<'_>,
    counters: &Counters,
) -> Result<(), ServiceError> {
    #[cfg(feature = "kafka")]
    if let Some(spec) = kafka::shared_spec(service, extent)? {
        return kafka::run_shared(service, &spec, correlator_spec, rules, reloaded, counters);
    }
    run_alone(service, correlator_spec, rules, extent, reloaded, counters)
}

fn read_inventory(path: Option<&Path>) -> Result<Vec<ListedHost>, InventoryError> {
    path.map_or(Ok(Vec::new()), |path| inventory::read(path).map(|inventory| inventory.hosts))
}

/// Reads rules and inventory anew when asked to.
struct Reloaded<'r> {
    path: &'r Path,
    service: &'r Service,
    requests: &'r Requests,
    rules: &'r SharedRules,
}

impl Reloaded<'_> {
    /// The inventory, if it was asked for, and new rules for the sources. If
    /// anything in them is wrong, both stay as they were.
    fn inventory(&self) -> Option<Vec<ListedHost>> {
        if !self.requests.reload.swap(false, Ordering::SeqCst) {
            return None;
        }
        let config = Config::load(Some(self.path));
        let inventory = read_inventory(self.service.inventory.as_deref());
        match (config, inventory) {
            (Ok(config), Ok(inventory)) => {
                let rules = Rules::new(&config.rules, &config.fact_rules);
                self.rules.replace(Arc::new(rules));
                info!(hosts = inventory.len(), "inventory and rules were read anew");
                Some(inventory)
            }
            (Err(mistakes), _) => {
                error!("rules and inventory stay as they were: {mistakes}");
                None
            }
            (_, Err(mistake)) => {
                error!("rules and inventory stay as they were: {mistake}");
                None
            }
        }
    }
}

/// What one source hands over.
enum Delivery {
    Flushed(Flushed),
    CaughtUp,
    End,
    Failed(SourceError),
}

/// One copy that has all sources to itself.
fn run_alone(
    service: &Service,
    correlator_spec: &CorrelatorSpec,
    rules: &SharedRules,
    extent: RunMode,
    reloaded: &Reloaded<'_>,
    counters: &Counters,
) -> Result<(), ServiceError> {
    let requests = reloaded.requests;
    let stop = &requests.stop;
    let mut correlator = Correlator::open(correlator_spec.clone(), open_sink(service)?)?;
    let mut sources: Vec<(&str, Box<dyn Source + Send>)> = Vec::new();
    for source in &service.sources {
        let mut opened = open_source(source, extent)?;
        opened.resume(&correlator.positions().of(&source.name))?;
        sources.push((&source.name, opened));
    }
    info!(sources = sources.len(), "reading");
    std::thread::scope(|scope| {
        let (deliver, delivered) = sync_channel::<(usize, Delivery)>(DELIVERIES_MAX);
        let names: Vec<&str> = sources.iter().map(|(name, _)| *name).collect();
        for (number, (_, source)) in sources.into_iter().enumerate() {
            let batcher = Batcher::new(rules, service.linger, names[number]);
            let deliver = deliver.clone();
            spawn(scope, names[number], move || {
                read(source, batcher, number, &deliver, stop, counters);
            });
        }
        drop(deliver);
        let mut reading = names.len();
        let mut at_end = vec![false; names.len()];
        let outcome = loop {
            counters.alive();
            match delivered.recv_timeout(Duration::from_millis(10)) {
                Ok((number, Delivery::Flushed(flushed))) => {
                    at_end[number] = false;
                    correlator.take(names[number], flushed);
                }
                Ok((number, Delivery::CaughtUp)) => at_end[number] = true,
                Ok((number, Delivery::End)) => {
                    at_end[number] = true;
                    reading -= 1;
                }
                Ok((_, Delivery::Failed(error))) => break Err(error.into()),
                Err(RecvTimeoutError::Timeout) => {}
                // Every thread says how it ended before it is gone.
                Err(RecvTimeoutError::Disconnected) if reading > 0 => {
                    break Err(ServiceError::Gone { source_name: names.join(", ") });
                }
                Err(RecvTimeoutError::Disconnected) => break Ok(()),
            }
            if let Some(inventory) = reloaded.inventory() {
                correlator.learn_inventory(inventory);
            }
            let caught_up = if at_end.iter().all(|at| *at) { CaughtUp::Yes } else { CaughtUp::No };
            let progress = correlator.maybe_commit(caught_up, counters);
            if let Err(error) = settled(progress, &mut correlator, requests, counters) {
                break Err(error.into());
            }
        };
        stop.ask();
        // Threads that still have something to deliver must not wait for ever.
        drop(delivered);
        outcome?;
        match extent {
            RunMode::UntilEnd if reading == 0 && !requests.was_asked_to_stop() => {
                let finished = correlator.finish(counters);
                settled(finished, &mut correlator, requests, counters)?;
            }
            _ => {}
        }
        let stopped = correlator.stop(counters);
        settled(stopped, &mut correlator, requests, counters)?;
        Ok(())
    })
}

/// Tries a commit that failed again and again, if that may pass. The sources wait
/// meanwhile, as what they have flushed is not taken.
fn settled(
    mut progress: Result<CommitProgress, CorrelateError>,
    correlator: &mut Correlator,
    requests: &Requests,
    counters: &Counters,
) -> Result<CommitProgress, CorrelateError> {
    let (mut next_pause, mut tries) = (PAUSE_MIN, 0);
    let tries_max = || if requests.was_asked_to_stop() { STOP_TRIES_MAX } else { TRIES_MAX };
    while let Err(error) = &progress
        && error.is_retryable()
        && tries < tries_max()
    {
        warn!("a commit is tried again in {} seconds: {error}", next_pause.as_secs());
        let start = Instant::now();
        let pause = || if requests.was_asked_to_stop() { PAUSE_MIN } else { next_pause };
        while start.elapsed() < pause() {
            counters.alive();
            std::thread::sleep(Duration::from_millis(50));
        }
        progress = correlator.deliver(counters);
        counters.alive();
        (next_pause, tries) = ((next_pause * 2).min(PAUSE_MAX), tries + 1);
    }
    if tries > 0 && progress.is_ok() {
        info!(tries, "the commit that failed is done");
    }
    progress
}

/// The thread of one source.
fn read(
    mut source: Box<dyn Source + Send>,
    mut batcher: Batcher<'_>,
    number: usize,
    deliver: &SyncSender<(usize, Delivery)>,
    stop: &Stop,
    counters: &Counters,
) {
    let end = loop {
        if stop.is_asked() {
            break Delivery::End;
        }
        let wait = batcher.patience().min(Duration::from_millis(100));
        match source.next(wait) {
            Ok(Next::Batch(batch)) => batcher.add(batch, counters),
            Ok(Next::Skipped(skipped)) => {
                warn!("{}: {}", skipped.input, skipped.reason);
                counters.skipped.fetch_add(1, Ordering::Relaxed);
            }
            Ok(Next::Idle) => {
                if deliver.send((number, Delivery::CaughtUp)).is_err() {
                    return;
                }
            }
            Ok(Next::Waiting) => {}
            Ok(Next::Rewound) => batcher.reset(),
            Ok(Next::End) => break Delivery::End,
            Err(error) => break Delivery::Failed(error),
        }
        if batcher.is_due() && deliver.send((number, Delivery::Flushed(batcher.take()))).is_err() {
            return;
        }
    };
    let rest = batcher.take();
    if !rest.is_empty() {
        let _ = deliver.send((number, Delivery::Flushed(rest)));
    }
    let _ = deliver.send((number, end));
}

fn open_source(
    source: &NamedSource,
    extent: RunMode,
) -> Result<Box<dyn Source + Send>, ServiceError> {
    match &source.spec {
        #[cfg(feature = "kafka")]
        SourceSpec::Kafka(input) => Ok(Box::new(kafka::source_alone(input, extent)?)),
        #[cfg(not(feature = "kafka"))]
        SourceSpec::Kafka(_) => Err(NO_KAFKA),
        SourceSpec::Evtx { paths, poll } => Ok(Box::new(Follow::new(FollowSpec {
            paths: paths.clone(),
            poll: *poll,
            until_end: extent == RunMode::UntilEnd,
        }))),
        SourceSpec::Tcp { listen, tls } => {
            let tls = tls.clone().map(|files| TlsSpec {
                certificate: files.certificate,
                key: files.key,
                client_ca: files.client_ca,
            });
            open_listener(ListenOn::Tcp(*listen), tls)
        }
        SourceSpec::Unix { path } => open_listener(ListenOn::Unix(path.clone()), None),
        SourceSpec::Stdin => {
            let stdin = Box::new(std::io::stdin());
            Ok(Box::new(Pipe::new(stdin, "standard input", last_boundary)?))
        }
    }
}

fn open_listener(
    listen: ListenOn,
    tls: Option<TlsSpec>,
) -> Result<Box<dyn Source + Send>, ServiceError> {
    let listener = Listen::new(&ListenSpec { listen, tls, cut: last_boundary })?;
    info!("listening on {}", listener.local());
    Ok(Box::new(listener))
}

fn open_sink(service: &Service) -> Result<Box<dyn Sink>, ServiceError> {
    let plain = |path: &Path| RotatingFileSpec {
        path: path.to_owned(),
        bytes_max: None,
        interval_secs: None,
        keep: None,
    };
    let state = service.state_dir.clone().unwrap_or_default();
    let streams = |incidents, dead_letters: &Option<std::path::PathBuf>| {
        let dead_letters = dead_letters.as_deref().map(plain);
        let write = service.format.writer();
        let spec = FileSinkSpec { state: state.clone(), incidents, write, dead_letters };
        Ok(Box::new(FileSink::new(spec)) as Box<dyn Sink>)
    };
    match &service.sink {
        SinkSpec::File(file) => {
            let rotated = RotatingFileSpec {
                path: file.path.clone(),
                bytes_max: file.bytes_max,
                interval_secs: file.interval_secs,
                keep: file.keep,
            };
            streams(IncidentsTo::File(rotated), &file.dead_letters)
        }
        SinkSpec::Stdout { dead_letters } => {
            streams(IncidentsTo::Stream(Box::new(std::io::stdout())), dead_letters)
        }
        #[cfg(feature = "kafka")]
        SinkSpec::Kafka(output) => kafka::open_sink(service, output),
        #[cfg(not(feature = "kafka"))]
        SinkSpec::Kafka(_) => Err(NO_KAFKA),
    }
}

#[cfg(not(feature = "kafka"))]
const NO_KAFKA: ServiceError = ServiceError::Unsupported {
    what: "this program was built without Kafka",
    hint: "build it with the feature `kafka`, which is on by default",
};

/// Tells now and then how it goes, and ends the process when it does not.
fn watch(counters: &Counters, done: &Stop, every: Duration) {
    let (mut told, mut trimmed) = (Instant::now(), Instant::now());
    let mut before = (0, 0);
    while !done.is_asked() {
        std::thread::sleep(Duration::from_millis(50));
        if counters.silent_for() > SILENT_MAX {
            error!(
                "nothing went on for {} seconds; this process ends, so that another can take over \
                 (nothing that was committed is lost)",
                SILENT_MAX.as_secs()
            );
            std::process::exit(EXIT_HANGS);
        }
        if trimmed.elapsed() >= TRIM_EVERY {
            heap::trim();
            trimmed = Instant::now();
        }
        if told.elapsed() < every {
            continue;
        }
        let seconds = told.elapsed().as_secs_f64();
        told = Instant::now();
        let load = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let now = (load(&counters.records), load(&counters.bytes));
        info!(
            records_per_s = ((now.0 - before.0) as f64 / seconds) as u64,
            mb_per_s = ((now.1 - before.1) as f64 / seconds / 1e6) as u64,
            records = now.0,
            lag = load(&counters.lag),
            watermark = %watermark_text(EventTime(load(&counters.watermark))),
            incidents = load(&counters.incidents),
            skipped = load(&counters.skipped),
            dead_letters = load(&counters.dead_letters),
            commits = load(&counters.commits),
            slowest_commit_ms = counters.slowest_commit_ms.swap(0, Ordering::Relaxed),
            "going on"
        );
        before = now;
    }
}

/// Before anything was judged there is none.
fn watermark_text(watermark: EventTime) -> String {
    match watermark {
        EventTime::MIN => "none".to_owned(),
        watermark => watermark.to_string(),
    }
}

/// How often free memory is handed back; it takes some milliseconds.
const TRIM_EVERY: Duration = Duration::from_secs(1);

/// The exit code when the watchdog ends the process.
const EXIT_HANGS: i32 = 70;

#[cfg(feature = "kafka")]
mod kafka {
    //! What only Kafka needs: topics, and which way of running it is.

    use super::*;
    use crate::brokers::{BrokerError, TopicSpec, create_missing, partitions};
    use crate::config::sinks::KafkaOutput;
    use crate::config::sources::KafkaInput;
    use crate::pipeline::link::topic as shared;
    use crate::pipeline::link::topic::{TopicLinkError, TopicLinkSpec};
    use crate::sink::kafka::{KafkaSink, KafkaSinkSpec};
    use crate::source::kafka::{KafkaSource, KafkaSpec, Sharing, Until};

    fn until(extent: RunMode) -> Until {
        match extent {
            RunMode::Continuous => Until::Stopped,
            RunMode::UntilEnd => Until::End,
        }
    }

    fn spec_of(input: &KafkaInput, sharing: Sharing, extent: RunMode) -> KafkaSpec {
        KafkaSpec {
            cluster: input.cluster.clone(),
            topics: input.topics.clone(),
            group: input.group.clone(),
            instance: input.instance.clone(),
            sharing,
            until: until(extent),
        }
    }

    pub fn source_alone(input: &KafkaInput, extent: RunMode) -> Result<KafkaSource, ServiceError> {
        Ok(KafkaSource::new(spec_of(input, Sharing::Alone, extent))?)
    }

    fn sink_spec(service: &Service, output: &KafkaOutput, id: String) -> KafkaSinkSpec {
        KafkaSinkSpec {
            cluster: output.cluster.clone(),
            topic: output.topic.clone(),
            format: service.format,
            dead_letter_topic: output.dead_letter_topic.clone(),
            changelog_topic: output.changelog_topic.clone(),
            transactional_id: id,
        }
    }

    /// The only source and the sink are topics of the same brokers: then copies
    /// share the work.
    pub fn shared_spec(
        service: &Service,
        extent: RunMode,
    ) -> Result<Option<TopicLinkSpec>, ServiceError> {
        let SinkSpec::Kafka(output) = &service.sink else { return Ok(None) };
        let [NamedSource { spec: SourceSpec::Kafka(input), .. }] = &service.sources[..] else {
            return Ok(None);
        };
        if input.cluster.brokers != output.cluster.brokers {
            return Ok(None);
        }
        let own = input.instance.clone().unwrap_or_else(|| {
            let nanos = crate::pipeline::wall_clock().0;
            format!("{}-{nanos:x}", std::process::id())
        });
        Ok(Some(TopicLinkSpec {
            input: spec_of(input, Sharing::Shared, extent),
            observations_topic: output.observations_topic.clone(),
            sink: sink_spec(service, output, format!("{}.detector", input.group)),
            collector_id: format!("{}.collector.{own}", input.group),
            interval: service.linger,
        }))
    }

    pub fn open_sink(
        service: &Service,
        output: &KafkaOutput,
    ) -> Result<Box<dyn Sink>, ServiceError> {
        prepare(service, output)?;
        // One such service for each output: the second one fences the first.
        let spec = sink_spec(service, output, format!("{}.twinsid", output.topic));
        Ok(Box::new(KafkaSink::new(spec)?))
    }

    /// Makes the topics that are missing, or says which.
    fn prepare(service: &Service, output: &KafkaOutput) -> Result<(), ServiceError> {
        let client = output.cluster.connect()?;
        let topics = topics(service);
        if output.create_topics {
            create_missing(&output.cluster, &client, &topics)?;
            return Ok(());
        }
        for TopicSpec { name, .. } in topics {
            if partitions(&client, &name)?.is_none() {
                return Err(BrokerError::NoTopic { topic: name }.into());
            }
        }
        Ok(())
    }

    pub fn run_shared(
        service: &Service,
        spec: &TopicLinkSpec,
        correlator_spec: &CorrelatorSpec,
        rules: &SharedRules,
        reloaded: &Reloaded<'_>,
        counters: &Counters,
    ) -> Result<(), ServiceError> {
        let SinkSpec::Kafka(output) = &service.sink else {
            unreachable!("copies share the work only where the sink is Kafka")
        };
        let source = KafkaSource::new(spec.input.clone())?;
        prepare(service, output)?;
        let stop = &reloaded.requests.stop;
        let inputs_done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let batcher = Batcher::new(rules, spec.interval, &spec.input.group);
            let collector = spawn(scope, "collect", || {
                let outcome = shared::collect(spec, source, batcher, stop, &inputs_done, counters);
                if outcome.is_err() {
                    stop.ask();
                }
                outcome
            });
            let reload = || reloaded.inventory();
            let detected =
                shared::detect(spec, correlator_spec, stop, &inputs_done, counters, reload);
            stop.ask();
            let collected = collector.join().expect("a collector does not panic");
            collected?;
            detected?;
            Ok(())
        })
    }

    pub fn connect(service: &Service) -> Result<Vec<String>, ServiceError> {
        let mut lines = Vec::new();
        for source in &service.sources {
            if let SourceSpec::Kafka(input) = &source.spec {
                let client = input.cluster.connect()?;
                for topic in input.topics.iter().filter(|topic| !topic.starts_with('^')) {
                    let found = partitions(&client, topic)?
                        .ok_or_else(|| BrokerError::NoTopic { topic: topic.clone() })?;
                    lines.push(format!(
                        "{}: topic `{topic}`, {} partitions",
                        source.name,
                        found.len()
                    ));
                }
            }
        }
        if let SinkSpec::Kafka(output) = &service.sink {
            let client = output.cluster.connect()?;
            for topic in topics(service) {
                let found = match partitions(&client, &topic.name)? {
                    Some(found) => format!("{} partitions", found.len()),
                    None if output.create_topics => "missing, will be created".to_owned(),
                    None => return Err(BrokerError::NoTopic { topic: topic.name }.into()),
                };
                lines.push(format!("sink: topic `{}`, {found}", topic.name));
            }
        }
        if lines.is_empty() {
            lines.push("nothing to connect to: neither sources nor sink are Kafka".to_owned());
        }
        Ok(lines)
    }

    pub fn topics_text(service: &Service, create: bool) -> Result<String, ServiceError> {
        let SinkSpec::Kafka(output) = &service.sink else {
            return Err(ServiceError::Unsupported {
                what: "the sink is not Kafka: there are no topics",
                hint: "topics are for a sink of kind `kafka`",
            });
        };
        if create {
            let client = output.cluster.connect()?;
            let created = create_missing(&output.cluster, &client, &topics(service))?;
            return Ok(match created.len() {
                0 => "all topics were there already\n".to_owned(),
                _ => created.iter().map(|name| format!("created {name}\n")).collect(),
            });
        }
        let mut text = String::new();
        for topic in topics(service) {
            text.push_str(&format!(
                "# {}\nkafka-topics.sh --bootstrap-server {} --create --if-not-exists --topic {} --partitions {}",
                topic.purpose, output.cluster.brokers, topic.name, topic.partitions
            ));
            for (name, value) in topic.settings {
                text.push_str(&format!(" --config {name}={value}"));
            }
            text.push('\n');
        }
        Ok(text)
    }

    impl ServiceError {
        /// Whether another copy took over.
        pub(super) fn is_fenced(&self) -> bool {
            let broker = match self {
                ServiceError::Broker(error)
                | ServiceError::Shared(TopicLinkError::Broker(error))
                | ServiceError::Sink(SinkError::Brokers(error))
                | ServiceError::Correlator(CorrelateError::Sink(SinkError::Brokers(error)))
                | ServiceError::Shared(TopicLinkError::Correlator(CorrelateError::Sink(
                    SinkError::Brokers(error),
                ))) => error,
                _ => return false,
            };
            matches!(broker, BrokerError::Fenced { .. })
        }
    }

    /// The topics that the service writes.
    pub fn topics(service: &Service) -> Vec<TopicSpec> {
        let SinkSpec::Kafka(output) = &service.sink else { return Vec::new() };
        let topic = |name: &str, settings: &[(&'static str, &'static str)], purpose| TopicSpec {
            name: name.to_owned(),
            partitions: 1,
            settings: settings.to_vec(),
            purpose,
        };
        let mut topics = vec![
            TopicSpec {
                partitions: 3,
                ..topic(
                    &output.topic,
                    &[("cleanup.policy", "delete"), ("retention.ms", "-1")],
                    "incidents; key = incident id, so the revisions of one keep their order",
                )
            },
            topic(
                &output.changelog_topic,
                &[
                    ("cleanup.policy", "compact"),
                    ("segment.bytes", "67108864"),
                    ("min.cleanable.dirty.ratio", "0.1"),
                ],
                "the state; compacted, one partition",
            ),
            topic(
                &output.dead_letter_topic,
                &[("cleanup.policy", "delete"), ("retention.ms", "2592000000")],
                "what could not be decoded, with the reason",
            ),
        ];
        if matches!(shared_spec(service, RunMode::Continuous), Ok(Some(_))) {
            topics.push(topic(
                &output.observations_topic,
                &[("cleanup.policy", "delete"), ("retention.ms", "-1")],
                "what was decoded and is to be judged; one partition, deleted once judged",
            ));
        }
        topics
    }
}

/// Tries everything that can be tried without reading or writing; a line each.
pub fn connect(service: &Service) -> Result<Vec<String>, ServiceError> {
    #[cfg(feature = "kafka")]
    return kafka::connect(service);
    #[cfg(not(feature = "kafka"))]
    {
        let _ = service;
        Ok(vec!["nothing to connect to: this program was built without Kafka".to_owned()])
    }
}

/// The topics of a service as commands of Kafka's own tool; with `create`, what
/// was created.
pub fn topics_text(service: &Service, create: bool) -> Result<String, ServiceError> {
    #[cfg(feature = "kafka")]
    return kafka::topics_text(service, create);
    #[cfg(not(feature = "kafka"))]
    {
        let _ = (service, create);
        Err(NO_KAFKA)
    }
}

//! The only wiring: what a replay, a service and copies of it differ in. Which sources are read
//! and how they are opened, whether readers and detector are linked by a channel or by a topic,
//! where incidents go, when they are emitted, and what becomes of rejects.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tracing::info;

use super::decode::batcher::Linger;
use super::link::channel::{NamedSources, Threads};
use super::mode::{RunMode, ServiceError};
use super::rejects::{KeepBytes, OnDamage};
use super::restore::EmitMode;
use crate::config::service::Service;
use crate::config::sinks::SinkSpec;
use crate::config::sources::{NamedSource, SourceSpec};
use crate::decode::lines::last_boundary;
use crate::net::listen::{IDLE_DEFAULT, Listen, ListenOn, ListenSpec, TlsSpec};
use crate::position::SourcePositions;
use crate::sink::Sink;
use crate::sink::file::{FileSink, FileSinkSpec, IncidentsTo};
use crate::source::discover::Input;
use crate::source::files::Files;
use crate::source::follow::{Follow, FollowSpec};
use crate::source::pipe::Pipe;
use crate::source::{Source, SourceError};
use crate::store::rotating_file::RotatingFileSpec;

/// How readers and detector are linked.
#[derive(Debug)]
pub(crate) enum Link {
    Channel,
    #[cfg(feature = "kafka")]
    Topic(Box<super::link::topic::TopicLinkSpec>),
}

/// One way of running.
#[derive(Debug)]
pub(crate) struct RunPlan {
    pub link: Link,
    pub emit_mode: EmitMode,
    pub linger: Linger,
    pub threads: Threads,
    pub keep_bytes: KeepBytes,
    pub on_damage: OnDamage,
}

impl RunPlan {
    /// Archived logs: everything is read, then emitted.
    pub(crate) fn of_replay(threads: usize, on_damage: OnDamage) -> RunPlan {
        RunPlan {
            link: Link::Channel,
            emit_mode: EmitMode::AtEnd,
            linger: Linger::UntilFull,
            threads: match threads {
                0 | 1 => Threads::One,
                workers => Threads::Workers(workers),
            },
            keep_bytes: KeepBytes::No,
            on_damage,
        }
    }

    /// Live sources. Copies share the work where the only source and the sink are topics of the
    /// same brokers.
    pub(crate) fn of_service(service: &Service, mode: RunMode) -> Result<RunPlan, ServiceError> {
        #[cfg(feature = "kafka")]
        let link = super::topics::link_spec(service, mode)
            .map_or(Link::Channel, |spec| Link::Topic(Box::new(spec)));
        #[cfg(not(feature = "kafka"))]
        let link = Link::Channel;
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
        Ok(RunPlan {
            link,
            emit_mode: match mode {
                RunMode::Continuous => EmitMode::Live,
                RunMode::UntilEnd => EmitMode::AtEnd,
            },
            linger: Linger::For(service.linger),
            threads: Threads::Workers(cores),
            keep_bytes: KeepBytes::Yes,
            on_damage: OnDamage::Skip,
        })
    }
}

/// The inputs of a replay as a source.
pub(crate) fn files(inputs: Vec<Input>) -> NamedSources {
    vec![("files".into(), Box::new(Files::new(inputs, last_boundary)))]
}

/// Opens the sources of a service, to go on behind these positions.
pub(crate) fn open_sources(
    service: &Service,
    mode: RunMode,
    positions: &SourcePositions,
) -> Result<NamedSources, ServiceError> {
    let open = |source: &NamedSource| {
        let mut opened = open_source(source, mode)?;
        opened.resume(&positions.of(&source.name))?;
        Ok((Arc::from(source.name.as_str()), opened))
    };
    service.sources.iter().map(open).collect()
}

fn open_source(
    source: &NamedSource,
    mode: RunMode,
) -> Result<Box<dyn Source + Send>, ServiceError> {
    match &source.spec {
        #[cfg(feature = "kafka")]
        SourceSpec::Kafka(input) => Ok(Box::new(super::topics::source_alone(input, mode)?)),
        #[cfg(not(feature = "kafka"))]
        SourceSpec::Kafka(_) => Err(ServiceError::NO_KAFKA),
        SourceSpec::Evtx { paths, poll, start } => Ok(Box::new(Follow::new(FollowSpec {
            paths: paths.clone(),
            poll: *poll,
            start: *start,
            until_end: mode == RunMode::UntilEnd,
        }))),
        SourceSpec::Tcp { listen, tls, idle } => {
            let tls = tls.clone().map(|files| TlsSpec {
                certificate: files.certificate,
                key: files.key,
                client_ca: files.client_ca,
            });
            Ok(open_listener(ListenOn::Tcp(*listen), tls, *idle)?)
        }
        SourceSpec::Unix { path, idle } => {
            Ok(open_listener(ListenOn::Unix(path.clone()), None, *idle)?)
        }
        SourceSpec::Stdin => {
            let stdin = Box::new(std::io::stdin());
            Ok(Box::new(Pipe::new(stdin, "standard input", last_boundary)?))
        }
    }
}

fn open_listener(
    listen: ListenOn,
    tls: Option<TlsSpec>,
    idle: Option<Duration>,
) -> Result<Box<dyn Source + Send>, SourceError> {
    let idle = idle.unwrap_or(IDLE_DEFAULT);
    let listener = Listen::new(&ListenSpec { listen, tls, cut: last_boundary, idle })?;
    info!("listening on {}", listener.local());
    Ok(Box::new(listener))
}

/// Opens the sink of a service whose readers and detector are linked by a channel.
pub(crate) fn open_sink(service: &Service) -> Result<Box<dyn Sink>, ServiceError> {
    let state = service.state_dir.clone().unwrap_or_default();
    let file_sink = |incidents, dead_letters: &Option<PathBuf>| -> Box<dyn Sink> {
        let dead_letters = dead_letters.as_deref().map(never_rotated);
        let write = service.format.writer();
        Box::new(FileSink::new(FileSinkSpec { state, incidents, write, dead_letters }))
    };
    match &service.sink {
        SinkSpec::File(file) => {
            let rotating = RotatingFileSpec {
                path: file.path.clone(),
                bytes_max: file.bytes_max,
                interval_secs: file.interval_secs,
                keep: file.keep,
            };
            Ok(file_sink(IncidentsTo::File(rotating), &file.dead_letters))
        }
        SinkSpec::Stdout { dead_letters } => {
            let stdout = Box::new(std::io::stdout());
            Ok(file_sink(IncidentsTo::Stream(stdout), dead_letters))
        }
        #[cfg(feature = "kafka")]
        SinkSpec::Kafka(output) => super::topics::open_sink(service, output),
        #[cfg(not(feature = "kafka"))]
        SinkSpec::Kafka(_) => Err(ServiceError::NO_KAFKA),
    }
}

fn never_rotated(path: &Path) -> RotatingFileSpec {
    RotatingFileSpec { path: path.to_owned(), bytes_max: None, interval_secs: None, keep: None }
}

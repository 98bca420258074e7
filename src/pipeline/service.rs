//! `twinsid run`: start, reload and stop of a service.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::{error, info};

use super::correlate::Correlator;
use super::counters::{Counters, Inputs};
use super::decode::SharedRules;
use super::link::channel::{self, Ended, Reading};
use super::plan::{self, Link, RunPlan};
use super::rejects::RejectLog;
use super::restore::CorrelatorSpec;
use super::{Stop, liveness, spawn};
use crate::config::Config;
use crate::config::inventory::{self, InventoryError};
use crate::config::service::Service;
use crate::detect::rules::Rules;
use crate::observation::ListedHost;

pub use super::mode::{RunMode, ServiceError};
pub use super::stored::{
    Reset, StatePlace, StoredPart, StoredService, StoredSummary, plan_reset, reset, stored,
};
pub use super::topics::{connect, topics_text};

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

/// Runs what the configuration says.
pub fn run(
    config: Config,
    path: &Path,
    service: &Service,
    mode: RunMode,
    requests: &Requests,
) -> Result<(), ServiceError> {
    let plan = RunPlan::of_service(service, mode)?;
    let counters = Counters::new(Inputs::default());
    let rules = SharedRules::new(Rules::new(&config.rules, &config.fact_rules));
    let spec = CorrelatorSpec {
        settings: config.settings,
        inventory: read_inventory(service.inventory.as_deref())?,
        lateness_ticks: service.lateness_ticks,
        idle_ticks: service.idle_ticks,
        emit_mode: plan.emit_mode,
    };
    let rejects = RejectLog::new(plan.on_damage);
    let reading = Reading {
        rules: &rules,
        rejects: &rejects,
        counters: &counters,
        stop: &requests.stop,
        keep_bytes: plan.keep_bytes,
        linger: plan.linger,
    };
    let reload = Reload { path, service, requests, rules: &rules };
    let done = Stop::default();
    std::thread::scope(|scope| {
        spawn(scope, "watch", || liveness::watch(&counters, &done, service.status_interval));
        let outcome = match &plan.link {
            Link::Channel => run_channel(service, &plan, mode, &spec, reading, &reload),
            #[cfg(feature = "kafka")]
            Link::Topic(link) => run_topic(service, &plan, link, &spec, reading, &reload),
        };
        requests.stop.ask();
        done.ask();
        if outcome.is_ok() {
            liveness::write_end(&counters);
        }
        outcome
    })
}

/// One copy that has all sources to itself.
fn run_channel(
    service: &Service,
    plan: &RunPlan,
    mode: RunMode,
    spec: &CorrelatorSpec,
    reading: Reading<'_>,
    reload: &Reload<'_>,
) -> Result<(), ServiceError> {
    let mut correlator = Correlator::open(spec, plan::open_sink(service)?, reading.counters)?;
    let sources = plan::open_sources(service, mode, correlator.positions())?;
    info!(sources = sources.len(), "reading");
    let mut tick = |correlator: &mut Correlator| {
        if let Some(inventory) = reload.inventory() {
            correlator.learn_inventory(inventory);
        }
    };
    let ended = channel::run(reading, sources, plan.threads, &mut correlator, &mut tick)?;
    if mode == RunMode::UntilEnd && ended == Ended::AllRead && !reload.requests.was_asked_to_stop()
    {
        correlator.finish(reading.counters)?;
    }
    correlator.stop(reading.counters)?;
    Ok(())
}

/// One of many copies.
#[cfg(feature = "kafka")]
fn run_topic(
    service: &Service,
    plan: &RunPlan,
    link: &super::link::topic::TopicLinkSpec,
    spec: &CorrelatorSpec,
    reading: Reading<'_>,
    reload: &Reload<'_>,
) -> Result<(), ServiceError> {
    use super::link::topic;
    use super::topics;
    use crate::config::sinks::SinkSpec;
    let SinkSpec::Kafka(output) = &service.sink else {
        unreachable!("copies share the work only where the sink is Kafka")
    };
    let source = crate::source::kafka::KafkaSource::new(link.input.clone())?;
    topics::prepare(service, output)?;
    let reload = || reload.inventory();
    Ok(topic::run(link, source, plan.threads, spec, reading, reload)?)
}

fn read_inventory(path: Option<&Path>) -> Result<Vec<ListedHost>, InventoryError> {
    path.map_or(Ok(Vec::new()), |path| inventory::read(path).map(|inventory| inventory.hosts))
}

/// Reads rules and inventory anew when asked to.
struct Reload<'r> {
    path: &'r Path,
    service: &'r Service,
    requests: &'r Requests,
    rules: &'r SharedRules,
}

impl Reload<'_> {
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
                self.rules.replace(Rules::new(&config.rules, &config.fact_rules));
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

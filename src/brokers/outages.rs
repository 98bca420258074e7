//! Brokers that do not answer: said when it begins, once a minute while it lasts, and when it ends.
//!
//! A process has many clients of the same brokers, and one log. Each client reports what its
//! statistics show; an outage begins with the first client that sees it and ends with the last.
//!
//! | the client's connection is | and | then the broker |
//! |---|---|---|
//! | up, and answers | | is there |
//! | up, and a request waits for [`SILENT_MAX`] | | is away |
//! | being tried | it failed before, or is tried in two reports in a row | is away |
//! | not needed | another broker is there | is not missed |
//! | not needed | none is there, and it failed | is away |

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::Statistics;
use rdkafka::statistics::Broker;
use tracing::{info, warn};

/// A request that waits longer than that for its answer waits for a broker that hangs: none of ours
/// is held back for so long on purpose.
const SILENT_MAX: Duration = Duration::from_secs(10);

/// From one line about an outage to the next.
const REMIND_EVERY: Duration = Duration::from_secs(60);

/// Brokers that are remembered; a cluster has far fewer.
const BROKERS_MAX: usize = 10_000;

/// What all clients of this process see.
static OUTAGES: Mutex<Outages> = Mutex::new(Outages(BTreeMap::new()));

static NEXT_CLIENT: AtomicU64 = AtomicU64::new(0);

/// The brokers as one client sees them.
#[derive(Debug)]
pub(super) struct BrokerConnections {
    client: u64,
    state: Mutex<ConnectionStates>,
}

#[derive(Debug, Default)]
struct ConnectionStates {
    /// When each broker failed since it was last there, and why.
    failed: BTreeMap<String, (Instant, String)>,
    /// Tried in the last report.
    tried: BTreeMap<String, Instant>,
    away: BTreeSet<String>,
}

/// A connection in one report of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum BrokerConnection {
    NotNeeded,
    Tried,
    Silent,
    Up,
}

impl Default for BrokerConnections {
    fn default() -> BrokerConnections {
        let client = NEXT_CLIENT.fetch_add(1, Ordering::Relaxed);
        BrokerConnections { client, state: Mutex::default() }
    }
}

impl BrokerConnections {
    /// Takes note of an error that the client reports, if it names a broker.
    pub(super) fn failed(&self, reason: &str) {
        let Some((broker, cause)) = failure(reason) else { return };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.failed.len() < BROKERS_MAX {
            let since = state.failed.get(broker).map_or_else(Instant::now, |(since, _)| *since);
            state.failed.insert(broker.to_owned(), (since, cause.to_owned()));
        }
    }

    /// Takes note of the client's connections, and says what is new.
    pub(super) fn report(&self, statistics: &Statistics) {
        let mut seen: BTreeMap<String, BrokerConnection> = BTreeMap::new();
        for broker in statistics.brokers.values() {
            if broker.source != "internal"
                && !broker.nodename.is_empty()
                && seen.len() < BROKERS_MAX
            {
                let best =
                    seen.entry(broker.nodename.clone()).or_insert(BrokerConnection::NotNeeded);
                *best = (*best).max(connection(broker));
            }
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let changes = state.take(Instant::now(), &seen);
        let mut outages = OUTAGES.lock().unwrap_or_else(PoisonError::into_inner);
        for line in outages.take(Instant::now(), self.client, &changes) {
            line.write();
        }
    }

    /// Whether a broker that this client needs is away.
    pub(super) fn any_away(&self) -> bool {
        !self.state.lock().unwrap_or_else(PoisonError::into_inner).away.is_empty()
    }
}

/// What it saw is for the others to see the end of.
impl Drop for BrokerConnections {
    fn drop(&mut self) {
        let mut outages = OUTAGES.lock().unwrap_or_else(PoisonError::into_inner);
        outages.forget(self.client);
    }
}

/// How one broker stands with a client.
#[derive(Clone, Debug, PartialEq, Eq)]
enum BrokerSeen {
    There,
    Away { since: Instant, cause: String },
}

impl ConnectionStates {
    /// Takes note of a report: the brokers about which it says something.
    fn take(
        &mut self,
        now: Instant,
        connections: &BTreeMap<String, BrokerConnection>,
    ) -> Vec<(String, BrokerSeen)> {
        let any_up = connections.values().any(|connection| *connection == BrokerConnection::Up);
        let mut seen = Vec::new();
        for (broker, connection) in connections {
            let failed = self.failed.get(broker).cloned();
            let tried_before = match connection {
                BrokerConnection::Tried => self.tried.insert(broker.clone(), now),
                BrokerConnection::NotNeeded | BrokerConnection::Silent | BrokerConnection::Up => {
                    self.tried.remove(broker)
                }
            };
            let unknown = |since| (since, "it does not answer".to_owned());
            let away = match connection {
                BrokerConnection::Up => None,
                BrokerConnection::NotNeeded if any_up => None,
                BrokerConnection::NotNeeded => failed,
                BrokerConnection::Tried => failed.or_else(|| tried_before.map(unknown)),
                BrokerConnection::Silent => {
                    let since = now.checked_sub(SILENT_MAX).unwrap_or(now);
                    let secs = SILENT_MAX.as_secs();
                    Some((since, format!("connected, but without an answer for {secs} seconds")))
                }
            };
            match away {
                Some((since, cause)) => {
                    self.away.insert(broker.clone());
                    seen.push((broker.clone(), BrokerSeen::Away { since, cause }));
                }
                // It may be up again within a moment.
                None if *connection == BrokerConnection::Tried => {}
                None => {
                    self.failed.remove(broker);
                    self.away.remove(broker);
                    seen.push((broker.clone(), BrokerSeen::There));
                }
            }
        }
        // A broker that is no longer part of the cluster.
        let gone = |broker: &String| any_up && !connections.contains_key(broker);
        self.failed.retain(|broker, _| !gone(broker));
        self.tried.retain(|broker, _| connections.contains_key(broker));
        let left: Vec<String> = self.away.iter().filter(|broker| gone(broker)).cloned().collect();
        for broker in left {
            self.away.remove(&broker);
            seen.push((broker, BrokerSeen::There));
        }
        seen
    }
}

fn connection(broker: &Broker) -> BrokerConnection {
    // A coordinator may hold a request back until all members of a group have joined.
    let is_silent = broker.waitresp_cnt > 0
        && broker.source != "logical"
        && u64::try_from(broker.rxidle).is_ok_and(|idle| Duration::from_micros(idle) > SILENT_MAX);
    match broker.state.as_str() {
        "UP" | "UPDATE" if is_silent => BrokerConnection::Silent,
        "UP" | "UPDATE" => BrokerConnection::Up,
        "INIT" => BrokerConnection::NotNeeded,
        _ => BrokerConnection::Tried,
    }
}

/// The broker's address and the cause in an error that librdkafka reports:
///
/// ```text
/// sasl_ssl://b:9093/1: Connect to ipv4#10.0.0.1:9093 failed: BrokerConnection refused (after 0ms in …)
/// GroupCoordinator: b:9093: Connect to …
/// ```
fn failure(reason: &str) -> Option<(&str, &str)> {
    let (name, rest) = reason.split_once(": ")?;
    // A coordinator stands under its role, with its address behind it.
    let (name, cause) = if name.contains(':') { (name, rest) } else { rest.split_once(": ")? };
    let name = name.split_once("://").map_or(name, |(_, name)| name);
    let address = name.split_once('/').map_or(name, |(address, _)| address);
    let cause = cause.rsplit_once(" (after ").map_or(cause, |(cause, _)| cause);
    let (_, port) = address.rsplit_once(':')?;
    port.parse::<u16>().is_ok().then_some((address, cause))
}

/// The brokers that are away, by address.
#[derive(Debug)]
struct Outages(BTreeMap<String, Outage>);

#[derive(Debug)]
struct Outage {
    since: Instant,
    said_at: Instant,
    cause: String,
    /// Those that see it. None is left when they were dropped.
    clients: BTreeSet<u64>,
}

/// A log line.
#[derive(Debug, PartialEq, Eq)]
enum OutageLine {
    Begins { broker: String, cause: String },
    Lasts { broker: String, cause: String, away: Duration },
    Ends { broker: String, away: Duration },
}

impl Outages {
    /// Takes note of what a client sees.
    fn take(
        &mut self,
        now: Instant,
        client: u64,
        seen: &[(String, BrokerSeen)],
    ) -> Vec<OutageLine> {
        let mut lines = Vec::new();
        for (broker, seen) in seen {
            match (seen, self.0.get_mut(broker)) {
                (BrokerSeen::There, None) => {}
                (BrokerSeen::There, Some(outage)) => {
                    outage.clients.remove(&client);
                    if outage.clients.is_empty() {
                        let away = now.saturating_duration_since(outage.since);
                        self.0.remove(broker);
                        lines.push(OutageLine::Ends { broker: broker.clone(), away });
                    }
                }
                (BrokerSeen::Away { cause, .. }, Some(outage)) => {
                    outage.clients.insert(client);
                    if now.saturating_duration_since(outage.said_at) >= REMIND_EVERY {
                        outage.said_at = now;
                        outage.cause.clone_from(cause);
                        let away = now.saturating_duration_since(outage.since);
                        let (broker, cause) = (broker.clone(), cause.clone());
                        lines.push(OutageLine::Lasts { broker, cause, away });
                    }
                }
                (BrokerSeen::Away { since, cause }, None) => {
                    let clients = BTreeSet::from([client]);
                    let outage =
                        Outage { since: *since, said_at: now, cause: cause.clone(), clients };
                    self.0.insert(broker.clone(), outage);
                    lines.push(OutageLine::Begins { broker: broker.clone(), cause: cause.clone() });
                }
            }
        }
        lines
    }

    /// A client that is gone sees nothing any more.
    fn forget(&mut self, client: u64) {
        for outage in self.0.values_mut() {
            outage.clients.remove(&client);
        }
    }
}

impl OutageLine {
    fn write(&self) {
        match self {
            OutageLine::Begins { broker, cause } => {
                warn!(broker, "broker away: {cause}; reconnecting until it is back");
            }
            OutageLine::Lasts { broker, cause, away } => {
                warn!(broker, away_secs = away.as_secs(), "broker still away: {cause}");
            }
            OutageLine::Ends { broker, away } => {
                info!(broker, away_secs = away.as_secs(), "broker back");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broker_and_cause_are_read_from_an_error() {
        let refused = "Connect to ipv4#10.0.0.1:9093 failed: BrokerConnection refused";
        for (reason, expect) in [
            (
                "b:9093/bootstrap: Connect to ipv4#10.0.0.1:9093 failed: BrokerConnection refused (after 0ms in state CONNECT)",
                Some(("b:9093", refused)),
            ),
            (
                "sasl_ssl://b:9093/1: Connect to ipv4#10.0.0.1:9093 failed: BrokerConnection refused (after 3ms in state CONNECT, 4 identical error(s) suppressed)",
                Some(("b:9093", refused)),
            ),
            (
                "GroupCoordinator: b:9093: Connect to ipv4#10.0.0.1:9093 failed: BrokerConnection refused (after 0ms in state CONNECT)",
                Some(("b:9093", refused)),
            ),
            (
                "[::1]:9092/2: Disconnected (after 10ms in state UP)",
                Some(("[::1]:9092", "Disconnected")),
            ),
            ("3/3 brokers are down", None),
            ("topic: is gone", None),
            ("", None),
        ] {
            assert_eq!(failure(reason), expect, "{reason}");
        }
    }

    /// What a client notes of two brokers in reports two seconds apart.
    #[track_caller]
    fn check(failed: &[&str], reports: &[[BrokerConnection; 2]], expect: &[[Option<bool>; 2]]) {
        let start = Instant::now();
        let mut state = ConnectionStates::default();
        for broker in failed {
            state.failed.insert((*broker).to_owned(), (start, "refused".to_owned()));
        }
        for (number, (report, expect)) in reports.iter().zip(expect).enumerate() {
            let connections = ["a", "b"].map(str::to_owned).into_iter().zip(*report).collect();
            let seen = state.take(start + Duration::from_secs(2 * number as u64), &connections);
            let away = |broker: &str| {
                let of = seen.iter().find(|(name, _)| name == broker);
                of.map(|(_, seen)| *seen != BrokerSeen::There)
            };
            assert_eq!([away("a"), away("b")], *expect, "report {number}");
        }
    }

    #[test]
    fn a_broker_is_away_when_it_is_needed_and_does_not_answer() {
        use BrokerConnection::{NotNeeded, Silent, Tried, Up};
        let (there, away, unsaid) = (Some(false), Some(true), None);
        check(&[], &[[Up, NotNeeded]], &[[there, there]]);
        check(&["a"], &[[Tried, Up], [Up, Up]], &[[away, there], [there, there]]);
        // A second address of the same name answers.
        check(&["a"], &[[Up, Up], [Tried, Up]], &[[there, there], [unsaid, there]]);
        // Errors of the same text are reported once in a while only.
        check(&[], &[[Tried, Up], [Tried, Up]], &[[unsaid, there], [away, there]]);
        check(&["a"], &[[NotNeeded, Up]], &[[there, there]]);
        check(&["a"], &[[NotNeeded, NotNeeded]], &[[away, there]]);
        check(&[], &[[Silent, Up]], &[[away, there]]);
    }

    #[test]
    fn an_outage_is_said_once_for_all_clients_then_every_minute_and_at_its_end() {
        let start = Instant::now();
        let at = |secs: u64| start + Duration::from_secs(secs);
        let broker = || "b:9092".to_owned();
        let away = || [(broker(), BrokerSeen::Away { since: start, cause: "refused".to_owned() })];
        let there = [(broker(), BrokerSeen::There)];
        let mut outages = Outages(BTreeMap::new());
        let begins = OutageLine::Begins { broker: broker(), cause: "refused".to_owned() };
        assert_eq!(outages.take(at(2), 1, &away()), [begins]);
        assert_eq!(outages.take(at(3), 2, &away()), []);
        assert_eq!(outages.take(at(61), 1, &away()), []);
        for secs in [62, 122] {
            let away_for = Duration::from_secs(secs);
            let lasts =
                OutageLine::Lasts { broker: broker(), cause: "refused".to_owned(), away: away_for };
            assert_eq!(outages.take(at(secs), 2, &away()), [lasts]);
            assert_eq!(outages.take(at(secs), 1, &away()), []);
        }
        assert_eq!(outages.take(at(124), 1, &there), [], "the other does not see it yet");
        let ends = OutageLine::Ends { broker: broker(), away: Duration::from_secs(125) };
        assert_eq!(outages.take(at(125), 2, &there), [ends]);
        assert_eq!(outages.take(at(126), 1, &there), []);
    }

    #[test]
    fn what_a_client_saw_that_is_gone_ends_with_the_next_that_sees_the_broker() {
        let now = Instant::now();
        let away = BrokerSeen::Away { since: now, cause: "refused".to_owned() };
        let mut outages = Outages(BTreeMap::new());
        assert_eq!(outages.take(now, 1, &[("b:1".to_owned(), away)]).len(), 1);
        outages.forget(1);
        let ends = OutageLine::Ends { broker: "b:1".to_owned(), away: Duration::ZERO };
        assert_eq!(outages.take(now, 2, &[("b:1".to_owned(), BrokerSeen::There)]), [ends]);
    }
}

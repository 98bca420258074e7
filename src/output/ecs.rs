//! Format `ecs`: an alert as the Elastic Common Schema has it, elastic/ecs
//! 8.17. Field names and allowed values are those of its field reference.
//!
//! `host`, `user` and `source` have room for one each: the first host that did
//! the refusing or is a twin, the account and the peer with the most events.
//! `related` and `twinsid` have all.

use std::net::IpAddr;

use serde::Serialize;

use super::format::{
    PRODUCT, PRODUCT_VERSION, distinct, events, revision_id, rule_name, severity_number,
};
use super::wire::WireIncident;
use crate::incident::{HostStatus, Incident, Kind};

const ECS_VERSION: &str = "8.17.0";
const DATASET: &str = "twinsid.incident";

#[derive(Debug, Serialize)]
pub(super) struct Document<'i> {
    #[serde(rename = "@timestamp")]
    timestamp: &'i str,
    ecs: Ecs,
    message: &'i str,
    event: Event<'i>,
    rule: Rule<'i>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<Host<'i>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<User<'i>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<Source<'i>>,
    related: Related<'i>,
    twinsid: &'i WireIncident,
}

#[derive(Debug, Serialize)]
struct Ecs {
    version: &'static str,
}

#[derive(Debug, Serialize)]
struct Event<'i> {
    kind: &'static str,
    category: &'static [&'static str],
    #[serde(rename = "type")]
    types: [&'static str; 1],
    action: &'i str,
    outcome: &'static str,
    reason: String,
    /// Of this revision; that of the incident is `twinsid.id`.
    id: String,
    sequence: u32,
    severity: u8,
    start: &'i str,
    end: &'i str,
    module: &'static str,
    provider: &'static str,
    dataset: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<&'i str>,
}

#[derive(Debug, Serialize)]
struct Rule<'i> {
    id: &'i str,
    name: &'static str,
    category: &'i str,
    ruleset: &'static str,
    version: &'static str,
}

#[derive(Debug, Serialize)]
struct Host<'i> {
    name: &'i str,
    hostname: &'i str,
    os: Os<'i>,
}

#[derive(Debug, Serialize)]
struct Os<'i> {
    family: &'static str,
    #[serde(rename = "type")]
    type_: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'i str>,
}

#[derive(Debug, Serialize)]
struct User<'i> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'i str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'i str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    domain: Option<&'i str>,
}

#[derive(Debug, Serialize)]
struct Source<'i> {
    /// The IP address, or else the name.
    address: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    domain: Option<&'i str>,
}

#[derive(Debug, Serialize)]
struct Related<'i> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hosts: Vec<&'i str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    user: Vec<&'i str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ip: Vec<IpAddr>,
}

impl<'i> Document<'i> {
    /// `native` is `incident` as it is written.
    pub(super) fn of(incident: &Incident, native: &'i WireIncident) -> Document<'i> {
        Document {
            timestamp: &native.last_seen,
            ecs: Ecs { version: ECS_VERSION },
            message: &native.title,
            event: Event::of(incident, native),
            rule: Rule {
                id: &native.kind,
                name: rule_name(incident.kind),
                category: &native.verdict.class,
                ruleset: PRODUCT,
                version: PRODUCT_VERSION,
            },
            host: host(incident, native),
            user: user(native),
            source: source(native),
            related: Related::of(native),
            twinsid: native,
        }
    }
}

impl<'i> Event<'i> {
    fn of(incident: &Incident, native: &'i WireIncident) -> Event<'i> {
        let refused = events(incident) > 0;
        Event {
            kind: "alert",
            category: category(incident.kind, refused),
            types: ["info"],
            action: &native.kind,
            outcome: if refused { "failure" } else { "unknown" },
            reason: native.verdict.reasons.join(" "),
            id: revision_id(native),
            sequence: native.revision,
            severity: severity_number(incident.severity),
            start: &native.first_seen,
            end: &native.last_seen,
            module: PRODUCT,
            provider: PRODUCT,
            dataset: DATASET,
            reference: native.references.first().map(String::as_str),
        }
    }
}

/// Twins that refuse nobody yet are no matter of authentication.
fn category(kind: Kind, refused: bool) -> &'static [&'static str] {
    match (kind, refused) {
        (Kind::AuthenticationFailures | Kind::MachineIdMismatch, _) => &["authentication"],
        (Kind::DuplicateMachineSid, true) => &["authentication", "host"],
        (Kind::DuplicateMachineSid, false) => &["host"],
    }
}

fn host<'i>(incident: &Incident, native: &'i WireIncident) -> Option<Host<'i>> {
    let with_status = |wanted: &[HostStatus]| {
        incident.hosts.iter().position(|host| wanted.contains(&host.status))
    };
    let at = with_status(&[HostStatus::Target, HostStatus::Twin])
        .or_else(|| with_status(&[HostStatus::Remedied]))?;
    let host = &native.hosts[at];
    let os = Os { family: "windows", type_: "windows", version: host.build.as_deref() };
    Some(Host { name: &host.name, hostname: &host.name, os })
}

fn user(native: &WireIncident) -> Option<User<'_>> {
    let account = native.accounts.first()?;
    let user = User {
        id: account.sid.as_deref(),
        name: account.name.as_deref(),
        domain: account.domain.as_deref(),
    };
    (user.id.is_some() || user.name.is_some()).then_some(user)
}

fn source(native: &WireIncident) -> Option<Source<'_>> {
    let peer = native.peers.first()?;
    let address = peer.ip.map(|ip| ip.to_string()).or_else(|| peer.host.clone())?;
    Some(Source { address, ip: peer.ip, domain: peer.host.as_deref() })
}

impl<'i> Related<'i> {
    fn of(native: &'i WireIncident) -> Related<'i> {
        let hosts = native.hosts.iter().map(|host| host.name.as_str());
        let peers = native.peers.iter().filter_map(|peer| peer.host.as_deref());
        let names = native.accounts.iter().filter_map(|account| account.name.as_deref());
        let sids = native.accounts.iter().filter_map(|account| account.sid.as_deref());
        Related {
            hosts: distinct(hosts.chain(peers)),
            user: distinct(names.chain(sids)),
            ip: distinct(native.peers.iter().filter_map(|peer| peer.ip)),
        }
    }
}

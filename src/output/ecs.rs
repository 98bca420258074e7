//! Format `ecs`: an alert as the Elastic Common Schema has it, elastic/ecs
//! 8.17. Field names and allowed values are those of its field reference.
//!
//! `host`, `user` and `source` hold one each: the first host that refused or is a twin, the account
//! and the peer with the most events. `related` and `twinsid` hold all.

use std::net::IpAddr;

use serde::Serialize;

use super::siem::{
    PRODUCT, PRODUCT_VERSION, distinct, events, revision_id, rule_name, severity_number,
};
use super::wire::WireIncident;
use crate::incident::{HostStatus, Incident, Kind};

const ECS_VERSION: &str = "8.17.0";
const DATASET: &str = "twinsid.incident";

#[derive(Debug, Serialize)]
pub(super) struct EcsDocument<'i> {
    #[serde(rename = "@timestamp")]
    timestamp: &'i str,
    ecs: Ecs,
    message: &'i str,
    event: EcsEvent<'i>,
    rule: EcsRule<'i>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<EcsHost<'i>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<EcsUser<'i>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<EcsSource<'i>>,
    related: EcsRelated<'i>,
    twinsid: &'i WireIncident,
}

#[derive(Debug, Serialize)]
struct Ecs {
    version: &'static str,
}

#[derive(Debug, Serialize)]
struct EcsEvent<'i> {
    kind: &'static str,
    category: &'static [&'static str],
    #[serde(rename = "type")]
    types: [&'static str; 1],
    action: &'i str,
    outcome: &'static str,
    reason: String,
    /// Id of this revision; the id of the incident is `twinsid.id`.
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
struct EcsRule<'i> {
    id: &'i str,
    name: &'static str,
    category: &'i str,
    ruleset: &'static str,
    version: &'static str,
}

#[derive(Debug, Serialize)]
struct EcsHost<'i> {
    name: &'i str,
    hostname: &'i str,
    os: EcsOs<'i>,
}

#[derive(Debug, Serialize)]
struct EcsOs<'i> {
    family: &'static str,
    #[serde(rename = "type")]
    type_: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'i str>,
}

#[derive(Debug, Serialize)]
struct EcsUser<'i> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'i str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'i str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    domain: Option<&'i str>,
}

#[derive(Debug, Serialize)]
struct EcsSource<'i> {
    /// The IP address, or else the name.
    address: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    domain: Option<&'i str>,
}

#[derive(Debug, Serialize)]
struct EcsRelated<'i> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hosts: Vec<&'i str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    user: Vec<&'i str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ip: Vec<IpAddr>,
}

impl<'i> EcsDocument<'i> {
    /// `native` is `incident` as it is written.
    pub(super) fn of(incident: &Incident, native: &'i WireIncident) -> EcsDocument<'i> {
        EcsDocument {
            timestamp: &native.last_seen,
            ecs: Ecs { version: ECS_VERSION },
            message: &native.title,
            event: EcsEvent::of(incident, native),
            rule: EcsRule {
                id: &native.kind,
                name: rule_name(incident.kind),
                category: &native.verdict.class,
                ruleset: PRODUCT,
                version: PRODUCT_VERSION,
            },
            host: host(incident, native),
            user: user(native),
            source: source(native),
            related: EcsRelated::of(native),
            twinsid: native,
        }
    }
}

impl<'i> EcsEvent<'i> {
    fn of(incident: &Incident, native: &'i WireIncident) -> EcsEvent<'i> {
        let refused = events(incident) > 0;
        EcsEvent {
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

fn host<'i>(incident: &Incident, native: &'i WireIncident) -> Option<EcsHost<'i>> {
    let with_status = |wanted: &[HostStatus]| {
        incident.hosts.iter().position(|host| wanted.contains(&host.status))
    };
    let at = with_status(&[HostStatus::Target, HostStatus::Twin])
        .or_else(|| with_status(&[HostStatus::Remedied]))?;
    let host = &native.hosts[at];
    let os = EcsOs { family: "windows", type_: "windows", version: host.build.as_deref() };
    Some(EcsHost { name: &host.name, hostname: &host.name, os })
}

fn user(native: &WireIncident) -> Option<EcsUser<'_>> {
    let account = native.accounts.first()?;
    let user = EcsUser {
        id: account.sid.as_deref(),
        name: account.name.as_deref(),
        domain: account.domain.as_deref(),
    };
    (user.id.is_some() || user.name.is_some()).then_some(user)
}

fn source(native: &WireIncident) -> Option<EcsSource<'_>> {
    let peer = native.peers.first()?;
    let address = peer.ip.map(|ip| ip.to_string()).or_else(|| peer.host.clone())?;
    Some(EcsSource { address, ip: peer.ip, domain: peer.host.as_deref() })
}

impl<'i> EcsRelated<'i> {
    fn of(native: &'i WireIncident) -> EcsRelated<'i> {
        let hosts = native.hosts.iter().map(|host| host.name.as_str());
        let peers = native.peers.iter().filter_map(|peer| peer.host.as_deref());
        let names = native.accounts.iter().filter_map(|account| account.name.as_deref());
        let sids = native.accounts.iter().filter_map(|account| account.sid.as_deref());
        EcsRelated {
            hosts: distinct(hosts.chain(peers)),
            user: distinct(names.chain(sids)),
            ip: distinct(native.peers.iter().filter_map(|peer| peer.ip)),
        }
    }
}

//! Format `ocsf`: a Detection Finding (class 2004) of the Open Cybersecurity
//! Schema Framework, version 1.6.0. Attributes and numbers are those of
//! ocsf/ocsf-schema at that version; each number has its caption beside it.

use std::net::IpAddr;

use serde::Serialize;

use super::siem::{
    PRODUCT, PRODUCT_VERSION, distinct, events, revision_id, rule_name, severity_number,
};
use super::wire::{WireEvidence, WireIncident};
use crate::incident::{Confidence, HostStatus, Incident, Severity, State};
use crate::time::EventTime;

const SCHEMA_VERSION: &str = "1.6.0";
const CATEGORY_UID: u32 = 2;
const CLASS_UID: u32 = 2004;

/// Types of observables, with their captions.
const HOSTNAME: (u32, &str) = (1, "Hostname");
const IP_ADDRESS: (u32, &str) = (2, "IP Address");
const USER_NAME: (u32, &str) = (4, "User Name");

/// Type of a device: unknown, as an event does not say what kind of machine wrote it.
const DEVICE_UNKNOWN: u32 = 0;

/// Type of an analytic.
const RULE: (u32, &str) = (1, "Rule");

#[derive(Debug, Serialize)]
pub(super) struct OcsfFinding<'i> {
    activity_id: u32,
    activity_name: &'static str,
    category_uid: u32,
    category_name: &'static str,
    class_uid: u32,
    class_name: &'static str,
    type_uid: u32,
    type_name: String,
    severity_id: u8,
    severity: &'static str,
    status_id: u32,
    status: &'static str,
    confidence_id: u32,
    confidence: &'static str,
    time: i64,
    start_time: i64,
    end_time: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
    message: &'i str,
    metadata: OcsfMetadata,
    finding_info: OcsfFindingInfo<'i>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    resources: Vec<OcsfResource<'i>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    evidences: Vec<OcsfArtifact<'i>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    observables: Vec<OcsfObservable>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remediation: Option<OcsfRemediation<'i>>,
    unmapped: &'i WireIncident,
}

#[derive(Debug, Serialize)]
struct OcsfMetadata {
    version: &'static str,
    product: OcsfProduct,
    /// Id of this revision; the id of the incident is `finding_info.uid`.
    uid: String,
    sequence: u32,
}

#[derive(Debug, Serialize)]
struct OcsfProduct {
    name: &'static str,
    vendor_name: &'static str,
    version: &'static str,
}

#[derive(Debug, Serialize)]
struct OcsfFindingInfo<'i> {
    uid: &'i str,
    title: &'i str,
    desc: String,
    types: [&'i str; 2],
    first_seen_time: i64,
    last_seen_time: i64,
    analytic: OcsfAnalytic<'i>,
}

#[derive(Debug, Serialize)]
struct OcsfAnalytic<'i> {
    uid: &'i str,
    name: &'static str,
    type_id: u32,
    #[serde(rename = "type")]
    type_: &'static str,
    version: &'static str,
}

/// A host of the incident.
#[derive(Debug, Serialize)]
struct OcsfResource<'i> {
    name: &'i str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hostname: Option<&'i str>,
    #[serde(rename = "type")]
    type_: &'i str,
    role_id: u32,
    role: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'i str>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum OcsfArtifact<'i> {
    Record { device: OcsfDevice<'i>, data: &'i WireEvidence },
    Account { user: OcsfUser<'i>, data: OcsfTimes },
    Peer { src_endpoint: OcsfEndpoint<'i>, data: OcsfTimes },
}

#[derive(Debug, Serialize)]
struct OcsfTimes {
    count: u64,
}

#[derive(Debug, Serialize)]
struct OcsfDevice<'i> {
    name: &'i str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hostname: Option<&'i str>,
    type_id: u32,
}

#[derive(Debug, Serialize)]
struct OcsfUser<'i> {
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<&'i str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'i str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    domain: Option<&'i str>,
}

#[derive(Debug, Serialize)]
struct OcsfEndpoint<'i> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'i str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hostname: Option<&'i str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<IpAddr>,
}

#[derive(Debug, PartialEq, Serialize)]
struct OcsfObservable {
    /// The path of the value in the finding.
    name: &'static str,
    type_id: u32,
    #[serde(rename = "type")]
    type_: &'static str,
    value: String,
}

#[derive(Debug, Serialize)]
struct OcsfRemediation<'i> {
    desc: String,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    references: &'i [String],
}

impl<'i> OcsfFinding<'i> {
    /// `native` is `incident` as it is written.
    pub(super) fn of(incident: &Incident, native: &'i WireIncident) -> OcsfFinding<'i> {
        let (activity_id, activity_name) = activity(incident);
        let (status_id, status) = status(incident.state);
        let (confidence_id, confidence) = confidence(incident.verdict.confidence);
        let [first, last] = [incident.first_seen, incident.last_seen].map(EventTime::unix_millis);
        OcsfFinding {
            activity_id,
            activity_name,
            category_uid: CATEGORY_UID,
            category_name: "Findings",
            class_uid: CLASS_UID,
            class_name: "Detection Finding",
            type_uid: CLASS_UID * 100 + activity_id,
            type_name: format!("Detection Finding: {activity_name}"),
            severity_id: severity_number(incident.severity),
            severity: severity_caption(incident.severity),
            status_id,
            status,
            confidence_id,
            confidence,
            time: last,
            start_time: first,
            end_time: last,
            count: Some(events(incident)).filter(|count| *count > 0),
            message: &native.title,
            metadata: OcsfMetadata {
                version: SCHEMA_VERSION,
                product: OcsfProduct {
                    name: PRODUCT,
                    vendor_name: PRODUCT,
                    version: PRODUCT_VERSION,
                },
                uid: revision_id(native),
                sequence: native.revision,
            },
            finding_info: OcsfFindingInfo {
                uid: &native.id,
                title: &native.title,
                desc: native.verdict.reasons.join(" "),
                types: [&native.kind, &native.verdict.class],
                first_seen_time: first,
                last_seen_time: last,
                analytic: OcsfAnalytic {
                    uid: &native.kind,
                    name: rule_name(incident.kind),
                    type_id: RULE.0,
                    type_: RULE.1,
                    version: PRODUCT_VERSION,
                },
            },
            resources: resources(incident, native),
            evidences: artifacts(native),
            observables: observables(native),
            remediation: (!native.actions.is_empty()).then(|| OcsfRemediation {
                desc: native.actions.join("\n"),
                references: &native.references,
            }),
            unmapped: native,
        }
    }
}

/// What this revision does to the finding.
///
/// | state | revision | activity |
/// |---|---|---|
/// | open, latent, active | 1 | 1 Create |
/// | open, latent, active | 2 and more | 2 Update |
/// | closed, remedied | any | 3 Close |
fn activity(incident: &Incident) -> (u32, &'static str) {
    match (incident.state, incident.revision) {
        (State::Closed | State::Remedied, _) => (3, "Close"),
        (State::Open | State::Latent | State::Active, 0..=1) => (1, "Create"),
        (State::Open | State::Latent | State::Active, 2..) => (2, "Update"),
    }
}

/// How far people are with it. Events show only that clones are gone.
///
/// | state | status |
/// |---|---|
/// | open, closed, latent, active | 1 New: not reviewed yet |
/// | remedied | 4 Resolved |
fn status(state: State) -> (u32, &'static str) {
    match state {
        State::Open | State::Closed | State::Latent | State::Active => (1, "New"),
        State::Remedied => (4, "Resolved"),
    }
}

/// The caption of [`severity_number`].
fn severity_caption(severity: Severity) -> &'static str {
    match severity {
        Severity::Informational => "Informational",
        Severity::Low => "Low",
        Severity::Medium => "Medium",
        Severity::High => "High",
        Severity::Critical => "Critical",
    }
}

/// | confidence | number |
/// |---|---|
/// | low | 1 |
/// | medium | 2 |
/// | high | 3 |
fn confidence(confidence: Confidence) -> (u32, &'static str) {
    match confidence {
        Confidence::Low => (1, "Low"),
        Confidence::Medium => (2, "Medium"),
        Confidence::High => (3, "High"),
    }
}

/// A host's part in the incident.
///
/// | status | role |
/// |---|---|
/// | target | 1 Target |
/// | peer | 2 Actor |
/// | twin | 3 Affected |
/// | remedied | 4 Related |
fn role(status: HostStatus) -> (u32, &'static str) {
    match status {
        HostStatus::Target => (1, "Target"),
        HostStatus::Peer => (2, "Actor"),
        HostStatus::Twin => (3, "Affected"),
        HostStatus::Remedied => (4, "Related"),
    }
}

fn resources<'i>(incident: &Incident, native: &'i WireIncident) -> Vec<OcsfResource<'i>> {
    let statuses = incident.hosts.iter().map(|host| host.status);
    let hosts = native.hosts.iter().zip(statuses);
    hosts
        .map(|(host, status)| {
            let (role_id, role) = role(status);
            OcsfResource {
                name: &host.name,
                hostname: hostname(&host.name),
                type_: &host.role,
                role_id,
                role,
                version: host.build.as_deref(),
            }
        })
        .collect()
}

/// Records, accounts and peers, without those that nothing names.
fn artifacts(native: &WireIncident) -> Vec<OcsfArtifact<'_>> {
    let records = native.evidence.iter().map(|record| {
        let name = record.computer.as_str();
        let device = OcsfDevice { name, hostname: hostname(name), type_id: DEVICE_UNKNOWN };
        OcsfArtifact::Record { device, data: record }
    });
    let accounts = native.accounts.iter().filter_map(|account| {
        let (uid, name) = (account.sid.as_deref(), account.name.as_deref());
        let user = OcsfUser { uid, name, domain: account.domain.as_deref() };
        let data = OcsfTimes { count: account.count };
        (uid.is_some() || name.is_some()).then_some(OcsfArtifact::Account { user, data })
    });
    let peers = native.peers.iter().filter_map(|peer| {
        let name = peer.host.as_deref();
        let src_endpoint = OcsfEndpoint { name, hostname: name.and_then(hostname), ip: peer.ip };
        let data = OcsfTimes { count: peer.count };
        (name.is_some() || peer.ip.is_some()).then_some(OcsfArtifact::Peer { src_endpoint, data })
    });
    records.chain(accounts).chain(peers).collect()
}

fn observables(native: &WireIncident) -> Vec<OcsfObservable> {
    let observable = |name, (type_id, type_), value: &dyn ToString| OcsfObservable {
        name,
        type_id,
        type_,
        value: value.to_string(),
    };
    let hosts = native.hosts.iter().map(|host| observable("resources.name", HOSTNAME, &host.name));
    let accounts = native.accounts.iter().filter_map(|account| account.name.as_ref());
    let accounts = accounts.map(|name| observable("evidences.user.name", USER_NAME, name));
    let names = native.peers.iter().filter_map(|peer| peer.host.as_ref());
    let names = names.map(|name| observable("evidences.src_endpoint.name", HOSTNAME, name));
    let addresses = native.peers.iter().filter_map(|peer| peer.ip);
    let addresses = addresses.map(|ip| observable("evidences.src_endpoint.ip", IP_ADDRESS, &ip));
    distinct(hosts.chain(accounts).chain(names).chain(addresses))
}

/// The name, if it is one that OCSF accepts for a host: labels of ASCII letters, digits and hyphens.
/// Events have other names too.
fn hostname(name: &str) -> Option<&str> {
    let is_label = |label: &str| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        !label.is_empty()
            && label.bytes().all(is_plain)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.split('.').all(is_label).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::samples;

    fn check_activity(state: State, revision: u32, expect: (u32, &str)) {
        let incident = Incident { state, revision, ..samples::incident() };
        assert_eq!(activity(&incident), expect, "{state:?}, revision {revision}");
    }

    #[test]
    fn a_revision_creates_updates_or_closes() {
        for state in [State::Open, State::Latent, State::Active] {
            check_activity(state, 1, (1, "Create"));
            check_activity(state, 2, (2, "Update"));
            check_activity(state, 3, (2, "Update"));
        }
        for state in [State::Closed, State::Remedied] {
            check_activity(state, 1, (3, "Close"));
            check_activity(state, 2, (3, "Close"));
        }
    }

    #[test]
    fn only_valid_names_are_host_names() {
        for name in ["WS07", "fs-01.corp.example", "1"] {
            assert_eq!(hostname(name), Some(name));
        }
        for name in ["", ".", "a..b", "-a", "a-", "my_host", "J\u{fc}rgen", "a b", "a\u{1b}[31m"] {
            assert_eq!(hostname(name), None, "{name:?}");
        }
    }
}

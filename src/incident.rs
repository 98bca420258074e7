//! What is emitted: one incident, in plain values. Its written forms are in
//! `sink::wire` and its siblings.

use std::fmt;
use std::net::IpAddr;

use borsh::{BorshDeserialize, BorshSerialize};
use sha2::{Digest, Sha256};

use crate::observation::Build;
use crate::sid::{DomainSid, Sid};
use crate::status::{Category, StatusCode};
use crate::time::EventTime;

/// Says which incident this is, in every revision and in every replay of the
/// same events: a digest of the kind, the key and the session's first record.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
pub struct IncidentId([u8; 16]);

impl IncidentId {
    /// `parts` are digested with their lengths, so that no two lists of parts
    /// give the same bytes.
    pub fn of(kind: Kind, parts: &[&str]) -> IncidentId {
        let mut digest = Sha256::new();
        for part in std::iter::once(kind.name()).chain(parts.iter().copied()) {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part.as_bytes());
        }
        let digest: [u8; 32] = digest.finalize().into();
        IncidentId(*digest.first_chunk().expect("32 bytes hold 16"))
    }
}

impl fmt::Display for IncidentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for IncidentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Incident {
    pub id: IncidentId,
    pub kind: Kind,
    pub state: State,
    pub revision: u32,
    pub severity: Severity,
    pub source_sid: Option<Sid>,
    /// `sid:…`, `name:DOMAIN\user` or `host:NAME`.
    pub source_key: String,
    /// One line for a list of incidents.
    pub title: String,
    pub verdict: Verdict,
    pub first_seen: EventTime,
    pub last_seen: EventTime,
    pub hosts: Vec<Host>,
    pub accounts: Vec<AccountCount>,
    pub peers: Vec<PeerCount>,
    pub counts: Counts,
    pub statuses: Vec<StatusCount>,
    pub evidence: Vec<Evidence>,
    pub actions: Vec<String>,
    pub references: Vec<String>,
    pub supersedes: Vec<IncidentId>,
    /// The trace context that came with one of its records; no part of what is
    /// written, but goes with it where there are headers.
    pub traceparent: Option<Box<str>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    DuplicateMachineSid,
    MachineIdMismatch,
    AuthenticationFailures,
}

impl Incident {
    /// Whether it takes back what earlier revisions said: no two machines
    /// share the machine SID after all.
    pub fn is_withdrawn(&self) -> bool {
        self.kind == Kind::DuplicateMachineSid && self.verdict.class == Class::Undetermined
    }
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::DuplicateMachineSid => "duplicate_machine_sid",
            Kind::MachineIdMismatch => "machine_id_mismatch",
            Kind::AuthenticationFailures => "authentication_failures",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Open,
    Closed,
    /// Of machines that share a machine SID: no refusal seen yet.
    Latent,
    /// They refuse each other.
    Active,
    /// At most one is left.
    Remedied,
}

impl State {
    pub fn name(self) -> &'static str {
        match self {
            State::Open => "open",
            State::Closed => "closed",
            State::Latent => "latent",
            State::Active => "active",
            State::Remedied => "remedied",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Informational,
    Low,
    Medium,
    High,
    Critical,
}

impl Severity {
    pub fn name(self) -> &'static str {
        match self {
            Severity::Informational => "informational",
            Severity::Low => "low",
            Severity::Medium => "medium",
            Severity::High => "high",
            Severity::Critical => "critical",
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    pub class: Class,
    pub confidence: Confidence,
    /// Which evidence decided, in plain words.
    pub reasons: Vec<String>,
}

/// What is behind the incident: for failures their category, for a mismatch
/// its cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Failure(Category),
    ClonedImage,
    StaleBootSession,
    StaleOrManipulatedTicket,
    Undetermined,
}

impl Class {
    pub fn name(self) -> &'static str {
        match self {
            Class::Failure(category) => category.name(),
            Class::ClonedImage => "cloned_image",
            Class::StaleBootSession => "stale_boot_session",
            Class::StaleOrManipulatedTicket => "stale_or_manipulated_ticket",
            Class::Undetermined => "undetermined",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub enum Confidence {
    Low,
    Medium,
    High,
}

impl Confidence {
    pub fn name(self) -> &'static str {
        match self {
            Confidence::Low => "low",
            Confidence::Medium => "medium",
            Confidence::High => "high",
        }
    }
}

/// A computer's part in the incident.
#[derive(Clone, Debug, PartialEq)]
pub struct Host {
    pub name: String,
    pub machine_sid: Option<DomainSid>,
    pub role: Role,
    pub build: Option<Build>,
    pub exposure: Exposure,
    pub first_seen: EventTime,
    pub last_seen: EventTime,
    pub status: HostStatus,
}

/// Whether a host refuses its twins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Exposure {
    /// It compares machine ids.
    Enforcing,
    /// It will from its next update on.
    EnforcingAfterUpdate,
    /// Its build never will.
    NotAffected,
    Unknown,
}

impl Exposure {
    pub fn name(self) -> &'static str {
        match self {
            Exposure::Enforcing => "enforcing",
            Exposure::EnforcingAfterUpdate => "enforcing_after_update",
            Exposure::NotAffected => "not_affected",
            Exposure::Unknown => "unknown",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    Unknown,
    Workstation,
    Server,
    DomainController,
}

impl Role {
    pub fn name(self) -> &'static str {
        match self {
            Role::Unknown => "unknown",
            Role::Workstation => "workstation",
            Role::Server => "server",
            Role::DomainController => "domain_controller",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostStatus {
    /// Has the machine SID that the incident is about.
    Twin,
    Target,
    Peer,
    /// Had it, and was installed anew; or it turned out to be its own.
    Remedied,
}

impl HostStatus {
    pub fn name(self) -> &'static str {
        match self {
            HostStatus::Twin => "twin",
            HostStatus::Target => "target",
            HostStatus::Peer => "peer",
            HostStatus::Remedied => "remedied",
        }
    }
}

/// What is known of one host, under all its names.
#[derive(Clone, Debug, PartialEq)]
pub struct KnownHost {
    /// The name it is called by.
    pub name: String,
    /// Every name it was seen under, former ones too.
    pub names: Vec<String>,
    pub domain: Option<String>,
    pub role: Role,
    pub machine_sids: Vec<KnownSid>,
    /// The other hosts of its machine SID.
    pub twins: Vec<String>,
    pub build: Option<Build>,
    pub exposure: Exposure,
    /// Its last starts, in order.
    pub boots: Vec<EventTime>,
    pub first_seen: EventTime,
    pub last_seen: EventTime,
}

/// A machine SID that a host has or had, and what shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct KnownSid {
    pub sid: DomainSid,
    pub first_seen: EventTime,
    pub last_seen: EventTime,
    /// Different events and accounts that show it; the inventory is one.
    pub count: u64,
    /// `PROVIDER/ID`, or `inventory`.
    pub events: Vec<String>,
    pub current: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct AccountCount {
    pub sid: Option<Sid>,
    pub name: Option<String>,
    pub domain: Option<String>,
    pub count: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct PeerCount {
    pub host: Option<String>,
    pub ip: Option<IpAddr>,
    pub count: u64,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counts {
    pub mismatches: u64,
    pub failures: u64,
    /// `PROVIDER/ID`, by name.
    pub by_event: Vec<(String, u64)>,
    /// The code as Windows prints it, by code.
    pub by_status: Vec<(String, u64)>,
}

/// A status with its meaning; the sub status where there is one.
#[derive(Clone, Debug, PartialEq)]
pub struct StatusCount {
    pub code: StatusCode,
    pub name: &'static str,
    pub text: &'static str,
    pub count: u64,
}

/// One record that the incident rests on.
#[derive(Clone, Debug, PartialEq)]
pub struct Evidence {
    pub computer: String,
    pub channel: String,
    pub provider: String,
    pub event_id: u32,
    pub record_id: u64,
    pub time: EventTime,
    /// What it shows.
    pub what: String,
}

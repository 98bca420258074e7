//! What is asked of a simulated fleet, and the truth about it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What to simulate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FleetSpec {
    /// Member machines; one to three domain controllers are added.
    pub hosts: u32,
    /// Groups of two to six clones, in turn active, latent and remedied; no
    /// more than half the hosts.
    pub groups: u32,
    pub hours: u32,
    pub seed: u64,
    pub form: Form,
    /// Each trap takes one of the hosts that are in no group; a fleet of fifty hosts has room for
    /// all.
    pub traps: Traps,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Evtx,
    Forwarded,
    Xml,
    Winlogbeat,
    Nxlog,
    Openwec,
}

/// Whether there are hosts that could be mistaken for clones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traps {
    On,
    Off,
}

/// The ground truth, whatever the events suggest. Hosts are named by their computer name without
/// the domain; times are as in the events.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Truth {
    pub seed: u64,
    pub from: String,
    pub until: String,
    pub domain: DomainTruth,
    pub groups: Vec<GroupTruth>,
    pub renames: Vec<Rename>,
    pub rebuilds: Vec<Rebuild>,
    /// Names that Windows Setup gave a host before its own.
    pub placeholders: Vec<Placeholder>,
    /// By time and target.
    pub mismatches: Vec<MismatchTruth>,
    /// Every host, the controllers first.
    pub hosts: Vec<HostTruth>,
    /// Different events by `PROVIDER/ID`.
    pub events: BTreeMap<String, u64>,
    /// Records in the files: more than events, since some come twice.
    pub records: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DomainTruth {
    /// NetBIOS name.
    pub name: String,
    pub dns: String,
    pub sid: String,
    pub controllers: Vec<String>,
    /// Members made from the first controller's image: their machine SID is the
    /// domain's. They are in no group.
    pub clones: Vec<String>,
}

/// Machines that share a machine SID.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GroupTruth {
    pub machine_sid: String,
    /// Members that have it at the end.
    pub hosts: Vec<String>,
    /// Members that have been rebuilt.
    pub former: Vec<String>,
    /// Desktops that are discarded after use, alike on purpose.
    pub pool: bool,
    pub state: GroupState,
    /// Members whose events show the machine SID: a local account with its SID under the host's own
    /// name.
    pub evidence: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupState {
    /// No mismatch yet: at most one member refuses its twins.
    Latent,
    Active,
    /// All but one have been rebuilt.
    Remedied,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rename {
    pub from: String,
    pub to: String,
    pub time: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rebuild {
    pub host: String,
    pub time: String,
    pub old_sid: String,
    pub new_sid: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Placeholder {
    pub name: String,
    pub host: String,
    pub time: String,
    pub machine_sid: String,
}

/// A 6167 in the System log of `target`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MismatchTruth {
    pub target: String,
    /// `None`: the target itself.
    pub peer: Option<String>,
    pub time: String,
    pub cause: Culprit,
    pub record_id: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Culprit {
    Clone,
    StaleBoot,
    Manipulated,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HostTruth {
    pub name: String,
    /// As in `System/Computer`, except for case and form.
    pub computer: String,
    pub machine_sid: String,
    /// `26100.6899`
    pub build: String,
    pub enforcing: bool,
    /// Whether events show its (last) machine SID; never for controllers.
    pub evidence: bool,
}

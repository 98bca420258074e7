//! What ECS and OCSF have in common: the product's names, numbers of severities, names of rules.

use super::wire::WireIncident;
use crate::incident::{Incident, Kind, Severity};

pub(super) const PRODUCT: &str = "twinsid";
pub(super) const PRODUCT_VERSION: &str = env!("CARGO_PKG_VERSION");

/// The id of one revision of an incident; also the `ce_id` of CloudEvents.
pub(super) fn revision_id(native: &WireIncident) -> String {
    format!("{}-{}", native.id, native.revision)
}

/// The number of a severity in OCSF. ECS leaves the numbers to the source; they are the same here.
///
/// | severity | number |
/// |---|---|
/// | informational | 1 |
/// | low | 2 |
/// | medium | 3 |
/// | high | 4 |
/// | critical | 5 |
pub(super) fn severity_number(severity: Severity) -> u8 {
    match severity {
        Severity::Informational => 1,
        Severity::Low => 2,
        Severity::Medium => 3,
        Severity::High => 4,
        Severity::Critical => 5,
    }
}

/// The name of what found the incident.
pub(super) fn rule_name(kind: Kind) -> &'static str {
    match kind {
        Kind::DuplicateMachineSid => "Machines that share a machine SID",
        Kind::MachineIdMismatch => "Logons refused for the machine id",
        Kind::AuthenticationFailures => "Failed authentications of one account",
    }
}

/// The number of mismatches and failures together.
pub(super) fn events(incident: &Incident) -> u64 {
    incident.counts.mismatches.saturating_add(incident.counts.failures)
}

/// Each value once, in the order of their first occurrence.
pub(super) fn distinct<T: PartialEq>(values: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut list = Vec::new();
    for value in values {
        if !list.contains(&value) {
            list.push(value);
        }
    }
    list
}

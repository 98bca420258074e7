//! What the detector finds, in words: the only place that has sentences about
//! an incident.
//!
//! | module | holds |
//! |---|---|
//! | `titles` | one line for a list of incidents |
//! | `reasons` | what a verdict rests on |
//! | `actions` | what to do |
//! | `references` | where to read on |
//! | `evidence` | what a record shows |
//! | `phrases` | what several sentences share |
//! | `codes` | codes and events of Windows authentication |

mod actions;
pub(crate) mod codes;
mod evidence;
mod phrases;
mod reasons;
mod references;
mod titles;

use crate::detect::findings::Finding;
use crate::incident::{Incident, Verdict};

/// The incident that a finding is: the same values, with title, reasons,
/// actions, references and the meaning of its records in words. Equal findings
/// give equal incidents.
pub fn incident(finding: Finding) -> Incident {
    let title = titles::title(&finding);
    let actions = actions::actions(&finding);
    let references = references::references(&finding.subject);
    let reasons = finding.reasons.iter().map(reasons::sentence).collect();
    Incident {
        id: finding.id,
        kind: finding.kind,
        state: finding.state,
        revision: finding.revision,
        severity: finding.severity,
        source_sid: finding.source_sid,
        source_key: finding.source_key,
        title,
        verdict: Verdict { class: finding.class, confidence: finding.confidence, reasons },
        first_seen: finding.first_seen,
        last_seen: finding.last_seen,
        hosts: finding.hosts,
        accounts: finding.accounts,
        peers: finding.peers,
        counts: finding.counts,
        statuses: finding.statuses.into_iter().map(evidence::status).collect(),
        evidence: finding.evidence.into_iter().map(evidence::record).collect(),
        actions,
        references,
        supersedes: finding.supersedes,
        traceparent: finding.traceparent,
    }
}

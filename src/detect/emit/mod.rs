//! Tables into findings: sessions are cut, judged, and emitted where they are news.
//!
//! An evaluation looks at what changed, not at what is known:
//!
//! ```text
//!  keys with new observations ┐
//!  keys whose timer is due    ├─▶ sources ─▶ their sessions ─▶ judged, if touched
//!  sources of renamed keys    ┘
//!  a mismatch, or what stands beside one ─▶ all sessions of mismatches
//!  a fact that matters ─▶ the fleet anew ─▶ all groups of twins
//! ```
//!
//! At the end everything is judged.
//!
//! | module | emits |
//! |---|---|
//! | `failures` | sessions of failures, and sprays |
//! | `mismatches` | sessions of mismatches |
//! | `groups` | groups of twins |

mod failures;
mod groups;
mod mismatches;

use std::collections::BTreeMap;

use rustc_hash::FxHashSet;

use super::detector::Detector;
use super::findings::Finding;
use super::fleet::twins::Fleet;
use super::judge::context::Context;
use super::judge::duplicates::Refusals;
use super::revisions::{News, RunSpan, SessionRevisions};
use super::state::names::Symbol;
use super::state::pairing::Trace;
use crate::incident::{IncidentId, State};
use crate::sid::DomainSid;
use crate::time::EventTime;

/// How far a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SessionStage {
    Open,
    /// Closed; late observations may still change it.
    Known,
    /// Closed, and nothing changes it any more.
    Gone,
}

/// A finding of a session.
#[derive(Debug)]
struct OfSession<K> {
    finding: Finding,
    stage: SessionStage,
    runs: Vec<RunSpan<K>>,
    /// Runs of others that it stands for from now on.
    absorbed: Vec<RunSpan<K>>,
}

/// The outcome of the sessions of mismatches.
#[derive(Debug, Default)]
pub(super) struct Mismatches {
    /// What was refused among twins.
    refused: BTreeMap<DomainSid, TwinRefusals>,
    /// The findings of all other sessions.
    unexplained: FxHashSet<IncidentId>,
}

/// What the hosts of a group refused: in sessions that are gone, and with those
/// that are still known.
#[derive(Debug)]
struct TwinRefusals {
    past: Refusals,
    now: Refusals,
    /// The runs of each session.
    runs: Vec<Vec<RunSpan<Symbol>>>,
}

impl Detector {
    /// How far a session with its last observation at `last` is.
    pub(super) fn stage(&self, last: EventTime, watermark: EventTime) -> SessionStage {
        let end = last.plus_ticks(self.settings.session_gap_ticks);
        if end > watermark {
            SessionStage::Open
        } else if end.plus_ticks(self.settings.known_ticks) > watermark {
            SessionStage::Known
        } else {
            SessionStage::Gone
        }
    }

    pub(super) fn context<'a>(&'a self, fleet: &'a Fleet) -> Context<'a> {
        Context {
            settings: &self.settings,
            names: &self.state.names,
            addresses: &self.state.addresses,
            patterns: &self.state.patterns,
            directory: &self.state.directory,
            hosts: &self.state.hosts,
            fleet,
        }
    }

    /// What a host logged within spans that do not touch, each once.
    fn traces_within<'a>(
        &'a self,
        fleet: &'a Fleet,
        host: Symbol,
        spans: &'a [(EventTime, EventTime)],
    ) -> impl Iterator<Item = (Symbol, EventTime, &'a Trace)> {
        fleet.spellings(host).into_iter().flat_map(move |name| {
            spans.iter().flat_map(move |(start, end)| self.state.traces.within(name, *start, *end))
        })
    }
}

/// Emits what is news of sessions; returns their ids. `standing` has the ids of others that their
/// runs may have been emitted under.
fn emit<K: Copy + Ord>(
    revisions: &mut SessionRevisions<K>,
    found: Vec<OfSession<K>>,
    standing: &[IncidentId],
    news: News,
    findings: &mut Vec<Finding>,
) -> FxHashSet<IncidentId> {
    let ids = found.iter().map(|of| of.finding.id);
    let produced: FxHashSet<IncidentId> = ids.chain(standing.iter().copied()).collect();
    for OfSession { mut finding, stage, runs, absorbed } in found {
        finding.supersedes = revisions.take_over(&absorbed, &produced);
        finding.state = match stage {
            SessionStage::Open => State::Open,
            SessionStage::Known | SessionStage::Gone => State::Closed,
        };
        findings.extend(revisions.revise(finding, &runs, &produced, news));
        if stage == SessionStage::Gone {
            revisions.forget(&runs);
        }
    }
    produced
}

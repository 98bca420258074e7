//! What an evaluation changed in the state: enough to bring another detector, which took in the
//! same observations, to the same state without judging anything.

use std::collections::BTreeSet;

use borsh::{BorshDeserialize, BorshSerialize};

use super::detector::Detector;
use super::judge::duplicates::Refusals;
use super::judge::mismatches::Suspects;
use super::revisions::{EmittedRevision, RevisionChanges};
use super::state::names::Symbol;
use super::state::sessions::SourceKey;
use crate::sid::DomainSid;
use crate::time::EventTime;

/// Collected while an evaluation goes on.
#[derive(Debug, Default)]
pub(super) struct Evaluated {
    pub removed_failures: Vec<(SourceKey, EventTime)>,
    pub removed_mismatches: Vec<(Symbol, EventTime)>,
    /// Groups whose emitted revision changed, and those with new refusals.
    pub groups: BTreeSet<DomainSid>,
    pub refusals: BTreeSet<DomainSid>,
    pub suspects_changed: bool,
    /// Sessions that were judged, of all evaluations.
    pub sessions: u64,
}

/// The changes of one evaluation, for [`Detector::apply`].
#[derive(Debug, BorshSerialize, BorshDeserialize)]
pub struct EvaluationChanges {
    /// Sessions that ended before it are closed.
    closed_to: EventTime,
    /// Runs that are no longer needed: key and first time.
    removed_failures: Vec<(SourceKey, EventTime)>,
    removed_mismatches: Vec<(Symbol, EventTime)>,
    failure_revisions: RevisionChanges<SourceKey>,
    mismatch_revisions: RevisionChanges<Symbol>,
    group_revisions: Vec<(DomainSid, EmittedRevision)>,
    refusals: Vec<(DomainSid, Refusals)>,
    suspects: Option<Suspects>,
}

impl Evaluated {
    /// Begins with the next evaluation.
    pub fn clear(&mut self) {
        let sessions = self.sessions;
        *self = Evaluated { sessions, ..Evaluated::default() };
    }
}

impl Detector {
    /// What the last evaluation changed.
    pub fn take_changes(&mut self) -> EvaluationChanges {
        let evaluated = &mut self.evaluated;
        let state = &mut self.state;
        let groups = evaluated.groups.iter();
        let refusals = evaluated.refusals.iter();
        let changes = EvaluationChanges {
            closed_to: state.closed_to,
            removed_failures: std::mem::take(&mut evaluated.removed_failures),
            removed_mismatches: std::mem::take(&mut evaluated.removed_mismatches),
            failure_revisions: state.failure_revisions.take_changes(),
            mismatch_revisions: state.mismatch_revisions.take_changes(),
            group_revisions: groups
                .filter_map(|sid| Some((*sid, state.group_revisions.get(sid)?.clone())))
                .collect(),
            refusals: refusals
                .filter_map(|sid| Some((*sid, state.refusals.get(sid)?.clone())))
                .collect(),
            suspects: evaluated.suspects_changed.then(|| state.suspects.clone()),
        };
        self.evaluated.clear();
        changes
    }

    /// Brings the state to where an evaluation left it that another detector made after the same
    /// observations. Judges nothing.
    pub fn apply(&mut self, changes: EvaluationChanges) {
        let state = &mut self.state;
        state.flush();
        state.traces.trim();
        state.successes.trim();
        state.failures.take_dirty();
        state.mismatches.take_dirty();
        state.mismatches_touched = false;
        for (key, first) in changes.removed_failures {
            state.failures.remove(key, |run| run.first == first);
            if state.failures.runs(key).is_empty() {
                state.resolved.forget(key);
            }
        }
        for (host, first) in changes.removed_mismatches {
            state.mismatches.remove(host, |run| run.first == first);
        }
        state.failure_revisions.apply(changes.failure_revisions);
        state.mismatch_revisions.apply(changes.mismatch_revisions);
        state.group_revisions.extend(changes.group_revisions);
        state.refusals.extend(changes.refusals);
        if let Some(suspects) = changes.suspects {
            state.suspects = suspects;
        }
        self.evict(changes.closed_to);
    }
}

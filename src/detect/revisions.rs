//! The last revision of each finding, so that it is emitted again only when a
//! person would act on what has changed.
//!
//! Sessions have no name of their own: their id follows from their first record
//! and their source, and both may change with later observations. So each run
//! of a session that was emitted carries a mark, and a session whose marks lead
//! to other ids than its own takes those over:
//!
//! ```text
//! emitted  name:CORP\bob  [■■■]──id 1    [■■]──id 2
//! then     sid:S-1-…-1104 [■■■ ■ ■ ■ ■ ■ ■ ■]──id 3, supersedes 1 and 2
//! ```
//!
//! A consumer reads revisions in order: a finding ends those that it
//! supersedes, and one that is emitted again continues its revisions.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};

use borsh::{BorshDeserialize, BorshSerialize};
use rustc_hash::{FxHashSet, FxHasher};

use super::findings::Finding;
use crate::incident::{IncidentId, State};
use crate::time::EventTime;

/// Ids that one finding supersedes at the most; the first.
const SUPERSEDED_MAX: usize = 64;

/// The last revision of a finding that was emitted.
#[derive(Clone, Debug, Default, BorshSerialize, BorshDeserialize)]
pub struct EmittedRevision {
    revision: u32,
    /// A digest of what a person would act on.
    gist: u64,
    /// A digest of the whole finding.
    whole: u64,
    closed: bool,
    /// Whether another finding took this one over.
    taken_over: bool,
    supersedes: Vec<IncidentId>,
}

impl EmittedRevision {
    /// What is produced again is no longer superseded.
    pub fn release(&mut self, produced: &FxHashSet<IncidentId>) {
        self.supersedes.retain(|id| !produced.contains(id));
    }

    /// Whether the last revision withdrew the finding of this source.
    pub fn is_withdrawn(&self, source_key: &str) -> bool {
        self.gist == withdrawn(source_key)
    }

    /// Makes `finding` the next revision; `false` when it is not news. A closed
    /// finding is news whenever anything changed, as is any at the end.
    pub fn revise(&mut self, finding: &mut Finding, is_end: bool) -> bool {
        for id in std::mem::take(&mut finding.supersedes) {
            let is_new = id != finding.id && !self.supersedes.contains(&id);
            if is_new && self.supersedes.len() < SUPERSEDED_MAX {
                self.supersedes.push(id);
            }
        }
        finding.supersedes.clone_from(&self.supersedes);
        finding.revision = 0;
        let (gist, whole) = (gist(finding), digest(&format!("{finding:?}")));
        let closed = finding.state == State::Closed;
        let is_news = self.revision == 0
            || self.taken_over
            || self.gist != gist
            || closed != self.closed
            || ((closed || is_end) && self.whole != whole);
        if is_news {
            self.revision += 1;
            (self.gist, self.whole, self.closed) = (gist, whole, closed);
            self.taken_over = false;
        }
        finding.revision = self.revision;
        is_news
    }
}

/// A run of a session: its key, its first and its last time.
pub type RunSpan<K> = (K, EventTime, EventTime);

/// The last revisions of sessions, whose runs are kept under `K`.
#[derive(Debug, BorshSerialize, BorshDeserialize)]
pub struct SessionRevisions<K: Ord> {
    marks: BTreeMap<(K, EventTime), IncidentId>,
    emitted: BTreeMap<IncidentId, EmittedRevision>,
}

impl<K: Copy + Ord> SessionRevisions<K> {
    pub fn new() -> SessionRevisions<K> {
        SessionRevisions { marks: BTreeMap::new(), emitted: BTreeMap::new() }
    }

    /// The ids under which any of these runs was emitted.
    pub fn ids(&self, runs: &[RunSpan<K>]) -> Vec<IncidentId> {
        let mut ids: Vec<IncidentId> = Vec::new();
        if self.marks.is_empty() {
            return ids;
        }
        for (key, first, last) in runs {
            for (_, id) in self.marks.range((*key, *first)..=(*key, *last)) {
                if !ids.contains(id) {
                    ids.push(*id);
                }
            }
        }
        ids
    }

    /// The finding as its next revision; `None` when it is not news. `produced`
    /// has the ids of all sessions there are now: what was emitted under any
    /// other id is taken over.
    pub fn revise(
        &mut self,
        mut finding: Finding,
        runs: &[RunSpan<K>],
        produced: &FxHashSet<IncidentId>,
    ) -> Option<Finding> {
        finding.supersedes = self.take_over(runs, produced);
        for (key, first, _) in runs {
            self.marks.insert((*key, *first), finding.id);
        }
        let emitted = self.emitted.entry(finding.id).or_default();
        emitted.release(produced);
        emitted.revise(&mut finding, false).then_some(finding)
    }

    /// Returns the ids under which these runs were emitted and that no session
    /// has any more. Their revisions are kept: names may come to mean what they
    /// meant before, and revisions go on counting then.
    pub fn take_over(
        &mut self,
        runs: &[RunSpan<K>],
        produced: &FxHashSet<IncidentId>,
    ) -> Vec<IncidentId> {
        let mut taken: Vec<IncidentId> = Vec::new();
        for id in self.ids(runs) {
            if !produced.contains(&id) {
                taken.push(id);
                if let Some(emitted) = self.emitted.get_mut(&id) {
                    emitted.taken_over = true;
                    let earlier = emitted.supersedes.iter();
                    taken.extend(earlier.filter(|id| !produced.contains(id)));
                }
            }
        }
        for (key, first, last) in runs {
            let stale: Vec<(K, EventTime)> =
                self.marks.range((*key, *first)..=(*key, *last)).map(|(mark, _)| *mark).collect();
            for mark in stale {
                self.marks.remove(&mark);
            }
        }
        taken
    }

    /// Forgets sessions that can no longer change.
    pub fn forget(&mut self, runs: &[RunSpan<K>]) {
        for id in self.ids(runs) {
            let emitted = self.emitted.remove(&id);
            for before in emitted.into_iter().flat_map(|emitted| emitted.supersedes) {
                self.emitted.remove(&before);
            }
        }
        self.take_over(runs, &FxHashSet::default());
    }
}

impl<K: Copy + Ord> Default for SessionRevisions<K> {
    fn default() -> Self {
        SessionRevisions::new()
    }
}

/// A digest of what a person would act on: verdict, state, severity, hosts and
/// their part in it, and how often, by powers of ten. Of a withdrawn finding, of
/// its source alone.
fn gist(finding: &Finding) -> u64 {
    if finding.is_withdrawn() {
        return withdrawn(&finding.source_key);
    }
    let mut hosts: Vec<_> =
        finding.hosts.iter().map(|host| (&host.name, host.status, host.exposure)).collect();
    hosts.sort();
    let count = finding.counts.mismatches + finding.counts.failures;
    let class = (finding.class.name(), finding.confidence.name());
    let state = (finding.state.name(), finding.severity.name());
    digest(&(class, state, hosts, count.checked_ilog10(), &finding.supersedes))
}

/// The digest of a withdrawn finding.
fn withdrawn(source_key: &str) -> u64 {
    digest(&("withdrawn", source_key))
}

fn digest(value: &impl Hash) -> u64 {
    let mut hasher = FxHasher::default();
    value.hash(&mut hasher);
    hasher.finish()
}

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

use std::collections::{BTreeMap, BTreeSet};

use borsh::{BorshDeserialize, BorshSerialize};
use rustc_hash::FxHashSet;

use super::findings::Finding;
use crate::hash::stable_hash;
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
    /// What is produced again is no longer superseded; whether that changed anything.
    pub fn release(&mut self, produced: &FxHashSet<IncidentId>) -> bool {
        let before = self.supersedes.len();
        self.supersedes.retain(|id| !produced.contains(id));
        self.supersedes.len() < before
    }

    /// Whether the last revision withdrew the finding of this source.
    pub fn is_withdrawn(&self, source_key: &str) -> bool {
        self.gist == withdrawn(source_key)
    }

    /// Makes `finding` the next revision; `false` when it is not news. A closed
    /// finding is news whenever anything changed.
    pub fn revise(&mut self, finding: &mut Finding, news: News) -> bool {
        for id in std::mem::take(&mut finding.supersedes) {
            let is_new = id != finding.id && !self.supersedes.contains(&id);
            if is_new && self.supersedes.len() < SUPERSEDED_MAX {
                self.supersedes.push(id);
            }
        }
        finding.supersedes.clone_from(&self.supersedes);
        finding.revision = 0;
        let closed = finding.state == State::Closed;
        let gist = gist(finding);
        let mut is_news =
            self.revision == 0 || self.taken_over || self.gist != gist || closed != self.closed;
        // Of a finding that goes on, its numbers alone are no news.
        if is_news || closed || news == News::AnyChange {
            let whole = stable_hash(&format!("{finding:?}"));
            is_news |= self.whole != whole;
            if is_news {
                self.whole = whole;
            }
        }
        if is_news {
            self.revision += 1;
            (self.gist, self.closed) = (gist, closed);
            self.taken_over = false;
        }
        finding.revision = self.revision;
        is_news
    }
}

/// What of a finding that was emitted is emitted again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// What a person would act on.
    Acted,
    /// Whatever changed, numbers too.
    AnyChange,
}

/// A run of a session: its key, its first and its last time.
pub type RunSpan<K> = (K, EventTime, EventTime);

/// The last revisions of sessions, whose runs are kept under `K`.
#[derive(Debug, BorshSerialize, BorshDeserialize)]
pub struct SessionRevisions<K: Ord> {
    marks: BTreeMap<(K, EventTime), IncidentId>,
    emitted: BTreeMap<IncidentId, EmittedRevision>,
    /// What changed since [`SessionRevisions::take_changes`].
    #[borsh(skip, bound(deserialize = ""))]
    changed_marks: BTreeSet<(K, EventTime)>,
    #[borsh(skip)]
    changed_ids: BTreeSet<IncidentId>,
}

/// Marks and revisions that changed, as they are now; `None`: they are gone.
#[derive(Debug, BorshSerialize, BorshDeserialize)]
pub struct RevisionChanges<K: Ord> {
    marks: Vec<((K, EventTime), Option<IncidentId>)>,
    emitted: Vec<(IncidentId, Option<EmittedRevision>)>,
}

impl<K: Copy + Ord> SessionRevisions<K> {
    pub fn new() -> SessionRevisions<K> {
        SessionRevisions {
            marks: BTreeMap::new(),
            emitted: BTreeMap::new(),
            changed_marks: BTreeSet::new(),
            changed_ids: BTreeSet::new(),
        }
    }

    /// What changed since the last call.
    pub fn take_changes(&mut self) -> RevisionChanges<K> {
        let marks = std::mem::take(&mut self.changed_marks).into_iter();
        let ids = std::mem::take(&mut self.changed_ids).into_iter();
        RevisionChanges {
            marks: marks.map(|mark| (mark, self.marks.get(&mark).copied())).collect(),
            emitted: ids.map(|id| (id, self.emitted.get(&id).cloned())).collect(),
        }
    }

    pub fn forget_changes(&mut self) {
        self.changed_marks.clear();
        self.changed_ids.clear();
    }

    /// Takes over changes of another run with the same revisions before them.
    pub fn apply(&mut self, changes: RevisionChanges<K>) {
        for (mark, id) in changes.marks {
            match id {
                Some(id) => self.marks.insert(mark, id),
                None => self.marks.remove(&mark),
            };
        }
        for (id, emitted) in changes.emitted {
            match emitted {
                Some(emitted) => self.emitted.insert(id, emitted),
                None => self.emitted.remove(&id),
            };
        }
    }

    /// The keys of all runs that were emitted.
    pub fn keys(&self) -> impl Iterator<Item = K> {
        self.marks.keys().map(|(key, _)| *key)
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
    /// has the ids of all sessions there are now that these runs may have been
    /// emitted under: what was emitted under any other id is taken over.
    pub fn revise(
        &mut self,
        mut finding: Finding,
        runs: &[RunSpan<K>],
        produced: &FxHashSet<IncidentId>,
        news: News,
    ) -> Option<Finding> {
        finding.supersedes.extend(self.take_over(runs, produced));
        for (key, first, _) in runs {
            if self.marks.insert((*key, *first), finding.id) != Some(finding.id) {
                self.changed_marks.insert((*key, *first));
            }
        }
        let emitted = self.emitted.entry(finding.id).or_default();
        let is_released = emitted.release(produced);
        let is_news = emitted.revise(&mut finding, news);
        if is_released || is_news || !finding.supersedes.is_empty() {
            self.changed_ids.insert(finding.id);
        }
        is_news.then_some(finding)
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
                    self.changed_ids.insert(id);
                    let earlier = emitted.supersedes.iter();
                    taken.extend(earlier.filter(|id| !produced.contains(id)));
                }
            }
        }
        let firsts: BTreeSet<(K, EventTime)> =
            runs.iter().map(|(key, first, _)| (*key, *first)).collect();
        for (key, first, last) in runs {
            let of_run = self.marks.range((*key, *first)..=(*key, *last));
            let stale = |(mark, id): &(&(K, EventTime), &IncidentId)| {
                !firsts.contains(mark) || !produced.contains(id)
            };
            let stale: Vec<(K, EventTime)> = of_run.filter(stale).map(|(mark, _)| *mark).collect();
            for mark in stale {
                self.marks.remove(&mark);
                self.changed_marks.insert(mark);
            }
        }
        taken
    }

    /// Forgets sessions that can no longer change.
    pub fn forget(&mut self, runs: &[RunSpan<K>]) {
        for id in self.ids(runs) {
            let emitted = self.emitted.remove(&id);
            self.changed_ids.insert(id);
            for before in emitted.into_iter().flat_map(|emitted| emitted.supersedes) {
                self.emitted.remove(&before);
                self.changed_ids.insert(before);
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
    stable_hash(&(class, state, hosts, count.checked_ilog10(), &finding.supersedes))
}

/// The digest of a withdrawn finding.
fn withdrawn(source_key: &str) -> u64 {
    stable_hash(&("withdrawn", source_key))
}

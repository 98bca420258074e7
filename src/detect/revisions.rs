//! What was told of each incident, so that it is told again only when a person
//! would act on what has changed.
//!
//! Sessions have no name of their own: their id follows from their first
//! record and from whose they are, and both may turn out otherwise with what
//! comes later. So each run of a session that was told carries a mark, and a
//! session whose marks lead to other ids than its own takes those over:
//!
//! ```text
//! told     name:CORP\bob  [■■■]──id 1    [■■]──id 2
//! then     sid:S-1-…-1104 [■■■ ■ ■ ■ ■ ■ ■ ■]──id 3, supersedes 1 and 2
//! ```
//!
//! Whoever reads what is told takes it in order: an incident that is told ends
//! those that it supersedes, and one that is told again goes on.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};

use borsh::{BorshDeserialize, BorshSerialize};
use rustc_hash::{FxHashSet, FxHasher};

use crate::incident::{Incident, IncidentId, State};
use crate::time::EventTime;

/// Ids that one incident lists as taken over; the first.
const SUPERSEDED_MAX: usize = 64;

/// The last revision of an incident that was told.
#[derive(Clone, Debug, Default, BorshSerialize, BorshDeserialize)]
pub struct EmittedRevision {
    revision: u32,
    /// What a person would act on.
    gist: u64,
    whole: u64,
    closed: bool,
    /// Whether another incident took this one over.
    taken_over: bool,
    supersedes: Vec<IncidentId>,
}

impl EmittedRevision {
    /// What came back is no longer taken over.
    pub fn give_back(&mut self, produced: &FxHashSet<IncidentId>) {
        self.supersedes.retain(|id| !produced.contains(id));
    }

    /// Whether the last revision withdrew what was told of this source.
    pub fn is_withdrawn(&self, source_key: &str) -> bool {
        self.gist == withdrawn(source_key)
    }

    /// Makes `incident` the next revision; `false` when there is nothing in it
    /// that has to be told. What is closed is told whenever anything changed,
    /// as is all when `whole`.
    pub fn revise(&mut self, incident: &mut Incident, whole: bool) -> bool {
        for id in std::mem::take(&mut incident.supersedes) {
            let is_new = id != incident.id && !self.supersedes.contains(&id);
            if is_new && self.supersedes.len() < SUPERSEDED_MAX {
                self.supersedes.push(id);
            }
        }
        incident.supersedes.clone_from(&self.supersedes);
        incident.revision = 0;
        let (gist, all) = (gist(incident), digest(&format!("{incident:?}")));
        let closed = incident.state == State::Closed;
        let is_news = self.revision == 0
            || self.taken_over
            || self.gist != gist
            || (closed != self.closed)
            || ((closed || whole) && self.whole != all);
        if is_news {
            self.revision += 1;
            (self.gist, self.whole, self.closed) = (gist, all, closed);
            self.taken_over = false;
        }
        incident.revision = self.revision;
        is_news
    }
}

/// What was told of sessions, whose runs are kept under `K`.
#[derive(Debug, BorshSerialize, BorshDeserialize)]
pub struct SessionRevisions<K: Ord> {
    marks: BTreeMap<(K, EventTime), IncidentId>,
    told: BTreeMap<IncidentId, EmittedRevision>,
}

impl<K: Copy + Ord> SessionRevisions<K> {
    pub fn new() -> SessionRevisions<K> {
        SessionRevisions { marks: BTreeMap::new(), told: BTreeMap::new() }
    }

    /// The ids under which any of these runs was told: key, first and last
    /// time of each.
    pub fn ids(&self, runs: &[(K, EventTime, EventTime)]) -> Vec<IncidentId> {
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

    /// The incident as its next revision, if there is anything to tell.
    /// `produced` has the ids of all sessions there are now: what was told
    /// under any other id is taken over.
    pub fn tell(
        &mut self,
        mut incident: Incident,
        runs: &[(K, EventTime, EventTime)],
        produced: &FxHashSet<IncidentId>,
    ) -> Option<Incident> {
        incident.supersedes = self.take_over(runs, produced);
        for (key, first, _) in runs {
            self.marks.insert((*key, *first), incident.id);
        }
        let told = self.told.entry(incident.id).or_default();
        told.give_back(produced);
        told.revise(&mut incident, false).then_some(incident)
    }

    /// Gives the ids under which these runs were told and that no session has
    /// any more. What was told under them is kept: names may come to mean what
    /// they meant before, and revisions go on counting then.
    pub fn take_over(
        &mut self,
        runs: &[(K, EventTime, EventTime)],
        produced: &FxHashSet<IncidentId>,
    ) -> Vec<IncidentId> {
        let mut taken: Vec<IncidentId> = Vec::new();
        for id in self.ids(runs) {
            if !produced.contains(&id) {
                taken.push(id);
                if let Some(told) = self.told.get_mut(&id) {
                    told.taken_over = true;
                    let earlier = told.supersedes.iter();
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
    pub fn forget(&mut self, runs: &[(K, EventTime, EventTime)]) {
        for id in self.ids(runs) {
            for before in self.told.remove(&id).into_iter().flat_map(|told| told.supersedes) {
                self.told.remove(&before);
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

/// What a person would act on: verdict, state, severity, hosts and their part
/// in it, and how often, by powers of ten. Of what was withdrawn nothing more is
/// of interest.
fn gist(incident: &Incident) -> u64 {
    if incident.is_withdrawn() {
        return withdrawn(&incident.source_key);
    }
    let verdict = &incident.verdict;
    let mut hosts: Vec<_> =
        incident.hosts.iter().map(|host| (&host.name, host.status, host.exposure)).collect();
    hosts.sort();
    let count = incident.counts.mismatches + incident.counts.failures;
    let class = (verdict.class.name(), verdict.confidence.name());
    let state = (incident.state.name(), incident.severity.name());
    digest(&(class, state, hosts, count.checked_ilog10(), &incident.supersedes))
}

/// What is left of an incident that was withdrawn.
fn withdrawn(source_key: &str) -> u64 {
    digest(&("withdrawn", source_key))
}

fn digest(value: &impl Hash) -> u64 {
    let mut hasher = FxHasher::default();
    value.hash(&mut hasher);
    hasher.finish()
}

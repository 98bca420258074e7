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

use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::{FxHashMap, FxHashSet};

use super::detector::Detector;
use super::findings::Finding;
use super::fleet::twins::Fleet;
use super::judge::context::Context;
use super::judge::duplicates::{self, Refusals};
use super::judge::failures;
use super::judge::mismatches::{self, JudgedSession, MismatchSession, Suspects};
use super::revisions::{News, RunSpan, SessionRevisions};
use super::state::names::Symbol;
use super::state::pairing::{Trace, TraceAt, Windows};
use super::state::sessions::{Run, SourceKey, cut};
use crate::incident::{IncidentId, Role, State};
use crate::sid::DomainSid;
use crate::time::EventTime;

/// Rounds in which a suspicion may spread from host to host.
const SUSPICION_ROUNDS_MAX: usize = 8;

/// How far a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SessionStage {
    Open,
    /// Closed; late observations may still change it.
    Known,
    /// Closed, and nothing changes it any more.
    Gone,
}

/// How much of a source is judged.
#[derive(Debug, Default)]
struct Touched {
    /// Times of new observations.
    times: Vec<EventTime>,
    /// Whether all sessions are judged: names resolve to it that did not before, or no longer do.
    whole: bool,
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

/// What judging some sessions came to.
#[derive(Debug)]
struct Judged<K> {
    found: Vec<OfSession<K>>,
    /// The ids of sessions beside them that were not judged again.
    standing: Vec<IncidentId>,
    /// Runs that are no longer needed.
    gone: Vec<(K, EventTime)>,
    /// Runs of sessions that were emitted, and are part of a spray.
    sprayed: Vec<RunSpan<K>>,
}

impl<K> Default for Judged<K> {
    fn default() -> Self {
        let (found, standing) = (Vec::new(), Vec::new());
        Judged { found, standing, gone: Vec::new(), sprayed: Vec::new() }
    }
}

/// A session of mismatches, how far it is, and its runs.
#[derive(Debug)]
struct PlacedSession {
    session: MismatchSession,
    stage: SessionStage,
    runs: Vec<RunSpan<Symbol>>,
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
    /// Emits sessions of failures that reach the threshold, of the sources that were touched.
    pub(super) fn emit_failures(
        &mut self,
        fleet: &Fleet,
        watermark: EventTime,
        news: News,
        findings: &mut Vec<Finding>,
    ) {
        if news == News::AnyChange {
            let emitted: Vec<SourceKey> = self.state.failure_revisions.keys().collect();
            for key in emitted {
                self.state.resolved_anew.extend(self.state.resolved.sources(key));
            }
        }
        let due = self.state.failures.take_due(watermark);
        let mut touched = self.touched(fleet, &due, watermark);
        let sources: BTreeSet<SourceKey> = touched.keys().copied().collect();
        let (sprays, moved) = self.sprays(fleet, &sources, watermark);
        for source in moved {
            touched.entry(source).or_default().whole = true;
        }
        let mut judged = Judged::default();
        for (source, touched) in touched {
            self.judge_source(fleet, source, &touched, watermark, &mut judged);
        }
        let context = self.context(fleet);
        for spray in &sprays {
            let sources: BTreeSet<SourceKey> =
                spray.lines.iter().map(|(source, _)| *source).collect();
            let absorbed = judged.sprayed.iter().filter(|(key, first, _)| {
                (spray.first..=spray.last).contains(first)
                    && sources.contains(&context.resolve(*key, *first))
            });
            judged.found.push(OfSession {
                finding: failures::of_spray(&context, spray),
                stage: self.stage(spray.last, watermark),
                runs: vec![(spray.peer, spray.first, spray.last)],
                absorbed: absorbed.copied().collect(),
            });
        }
        self.evaluated.sessions += judged.found.len() as u64;
        let revisions = &mut self.state.failure_revisions;
        emit(revisions, judged.found, &judged.standing, news, findings);
        for (key, first) in judged.gone {
            self.state.failures.remove(key, |run| run.first == first);
            if self.state.failures.runs(key).is_empty() {
                self.state.resolved.forget(key);
            }
            self.evaluated.removed_failures.push((key, first));
        }
        let now = self.reached(watermark);
        due.into_iter().for_each(|key| self.state.failures.schedule(key, now));
    }

    /// The sources that an evaluation has to look at.
    fn touched(
        &mut self,
        fleet: &Fleet,
        due: &[SourceKey],
        watermark: EventTime,
    ) -> BTreeMap<SourceKey, Touched> {
        let dirty = self.state.failures.take_dirty();
        let mut touched: BTreeMap<SourceKey, Touched> = BTreeMap::new();
        for moved in std::mem::take(&mut self.state.resolved_anew) {
            touched.entry(moved).or_default().whole = true;
        }
        if watermark == EventTime::MAX {
            let keys: Vec<SourceKey> = self.state.failures.iter().map(|(key, _)| key).collect();
            for source in keys.into_iter().flat_map(|key| self.sources(fleet, key).0) {
                touched.entry(source).or_default().whole = true;
            }
            return touched;
        }
        for of_key in dirty.chunk_by(|(one, _), (other, _)| one == other) {
            let (sources, whole) = self.sources(fleet, of_key[0].0);
            for source in sources {
                let touched = touched.entry(source).or_default();
                touched.times.extend(of_key.iter().map(|(_, time)| *time));
                touched.whole |= whole;
            }
        }
        for key in due {
            let (sources, whole) = self.sources(fleet, *key);
            for source in sources {
                touched.entry(source).or_default().whole |= whole;
            }
        }
        touched
    }

    /// The sources that a key's runs belong to by what is known now, and those that they belonged
    /// to before; whether these differ.
    fn sources(&mut self, fleet: &Fleet, key: SourceKey) -> (Vec<SourceKey>, bool) {
        if !key.is_resolved() {
            return (vec![key], false);
        }
        let context = self.context(fleet);
        let now = resolve_all(&context, key, self.state.failures.runs(key));
        let before = self.state.resolved.sources(key);
        if before == now {
            return (now, false);
        }
        let mut sources = before;
        sources.extend(&now);
        self.state.resolved.set(key, now);
        (sources, true)
    }

    /// Judges the sessions of a source that were touched, or that have come to another stage.
    fn judge_source(
        &self,
        fleet: &Fleet,
        source: SourceKey,
        touched: &Touched,
        watermark: EventTime,
        judged: &mut Judged<SourceKey>,
    ) {
        let context = self.context(fleet);
        let (gap, max) = (self.settings.session_gap_ticks, self.settings.session_max_ticks);
        let mut runs: Vec<(SourceKey, &Run)> = Vec::new();
        for key in self.state.resolved.keys_of(source) {
            let of_key = self.state.failures.runs(key).iter();
            let is_of_source = |run: &&Run| context.resolve(key, run.first) == source;
            runs.extend(of_key.filter(is_of_source).map(|run| (key, run)));
        }
        runs.sort_unstable_by_key(|(key, run)| (run.first, *key));
        for session in cut(runs, |(_, run)| run, gap, max) {
            let last = session.iter().map(|(_, run)| run.last).max().unwrap_or_default();
            let first = session[0].1.first;
            let stage = self.stage(last, watermark);
            let spans: Vec<RunSpan<SourceKey>> =
                session.iter().map(|(key, run)| (*key, run.first, run.last)).collect();
            let emitted = self.state.failure_revisions.ids(&spans);
            let is_touched = touched.whole
                || stage != self.stage(last, self.state.closed_to)
                || touched.times.iter().any(|at| (first..=last).contains(at));
            if !is_touched {
                judged.standing.extend(emitted);
                continue;
            }
            let lines = session.iter().flat_map(|(_, run)| run.lines.as_slice());
            if let Some(sprays) = &self.sprays
                && lines.clone().all(|line| sprays.holds(line))
            {
                // The spray has the finding, and needs the runs as long as it lasts.
                let end = lines.map(|line| sprays.last_of(line)).max().unwrap_or_default();
                if self.stage(end.max(last), watermark) == SessionStage::Gone {
                    judged.gone.extend(session.iter().map(|(key, run)| (*key, run.first)));
                }
                if !emitted.is_empty() {
                    judged.sprayed.extend(spans);
                }
                continue;
            }
            // What was emitted once is followed to its end, also when it is
            // less by what is known now.
            let failures_min = if emitted.is_empty() { self.settings.failure_threshold } else { 1 };
            let beside = |host| self.is_beside(&context, host, source, first, last);
            let finding = failures::of_session(&context, source, &session, failures_min, beside);
            // A session below the threshold is not kept once it is closed.
            let is_small = finding.is_none();
            if stage == SessionStage::Gone || stage == SessionStage::Known && is_small {
                judged.gone.extend(session.iter().map(|(key, run)| (*key, run.first)));
            }
            judged.found.extend(finding.map(|finding| OfSession {
                finding,
                stage,
                runs: spans,
                absorbed: Vec::new(),
            }));
        }
    }

    /// Resolves all keys anew, as names may mean something else by what was learnt; what moved to
    /// another source is judged with the next evaluation.
    pub(super) fn resolve_anew(&mut self, fleet: &Fleet) {
        let context = self.context(fleet);
        let named = self.state.failures.iter().filter(|(key, _)| key.is_resolved());
        let moved: Vec<(SourceKey, Vec<SourceKey>)> = named
            .map(|(key, runs)| (key, resolve_all(&context, key, runs)))
            .filter(|(key, now)| self.state.resolved.sources(*key) != *now)
            .collect();
        for (key, now) in moved {
            self.state.resolved_anew.extend(self.state.resolved.sources(key));
            self.state.resolved_anew.extend(&now);
            self.state.resolved.set(key, now);
        }
    }

    /// Emits the sessions of mismatches that no twins explain, and returns those
    /// that twins do; `None` when nothing about any of them changed.
    pub(super) fn emit_mismatches(
        &mut self,
        fleet: &Fleet,
        watermark: EventTime,
        news: News,
        findings: &mut Vec<Finding>,
    ) -> Option<Mismatches> {
        let due = self.state.mismatches.take_due(watermark);
        let is_dirty = !self.state.mismatches.take_dirty().is_empty();
        let is_touched = std::mem::take(&mut self.state.mismatches_touched) || is_dirty;
        let is_touched = is_touched || news == News::AnyChange || watermark == EventTime::MAX;
        if !is_touched && due.is_empty() {
            return None;
        }
        if self.state.mismatches.key_count() == 0 {
            return Some(Mismatches::default());
        }
        let context = self.context(fleet);
        let sessions = self.mismatch_sessions(&context, watermark);
        let gone: Vec<(Symbol, EventTime)> = sessions
            .iter()
            .filter(|placed| placed.stage == SessionStage::Gone)
            .flat_map(|placed| placed.runs.iter().map(|(name, first, _)| (*name, *first)))
            .collect();
        let judged = judge_all(&context, &sessions, &self.state.suspects);
        let mut suspects = self.state.suspects.clone();
        let mut refused: BTreeMap<DomainSid, TwinRefusals> = BTreeMap::new();
        let mut found: Vec<OfSession<Symbol>> = Vec::new();
        let count = sessions.len() as u64;
        for (PlacedSession { session, stage, runs }, judged) in sessions.into_iter().zip(judged) {
            let Some(sid) = judged.group else {
                let finding = mismatches::of_session(&context, &session, judged.judgement);
                found.push(OfSession { finding, stage, runs, absorbed: Vec::new() });
                continue;
            };
            let confidence = judged.judgement.confidence;
            let refused = refused.entry(sid).or_insert_with(|| {
                let past = self.state.refusals.get(&sid).cloned().unwrap_or_default();
                TwinRefusals { now: past.clone(), past, runs: Vec::new() }
            });
            if stage == SessionStage::Gone {
                suspect(&mut suspects, sid, &judged.suspects);
                refused.past.add(&context, session.clone(), confidence);
            }
            refused.now.add(&context, session, confidence);
            refused.runs.push(runs);
        }
        self.evaluated.sessions += count;
        let unexplained = emit(&mut self.state.mismatch_revisions, found, &[], news, findings);
        if suspects != self.state.suspects {
            self.state.suspects = suspects;
            self.evaluated.suspects_changed = true;
        }
        for (host, first) in gone {
            self.state.mismatches.remove(host, |run| run.first == first);
            self.evaluated.removed_mismatches.push((host, first));
        }
        let now = self.reached(watermark);
        due.into_iter().for_each(|host| self.state.mismatches.schedule(host, now));
        Some(Mismatches { refused, unexplained })
    }

    /// Emits the groups of twins that are news, and withdraws those that were
    /// emitted and are none by what is known now. At the end, all that changed
    /// in any way. Without `mismatches` and another fleet nothing did.
    pub(super) fn emit_groups(
        &mut self,
        fleet: &Fleet,
        is_other_fleet: bool,
        mismatches: Option<Mismatches>,
        news: News,
        findings: &mut Vec<Finding>,
    ) {
        let is_all = is_other_fleet || news == News::AnyChange;
        if mismatches.is_none() && !is_all {
            return;
        }
        // Without an evaluation of their own they are as they were.
        let is_judged = mismatches.is_some();
        let Mismatches { refused, unexplained } = mismatches.unwrap_or_default();
        let mut touched: BTreeSet<DomainSid> = if is_judged {
            let before = std::mem::take(&mut self.refused);
            self.refused = refused.keys().copied().collect();
            before.into_iter().chain(refused.keys().copied()).collect()
        } else {
            BTreeSet::new()
        };
        let none = Refusals::default();
        let mut emitted = std::mem::take(&mut self.state.group_revisions);
        let mut mismatch_revisions = std::mem::take(&mut self.state.mismatch_revisions);
        let mut revised = std::mem::take(&mut self.evaluated.groups);
        let context = self.context(fleet);
        for (sid, emitted) in &mut emitted {
            if emitted.release(&unexplained) {
                touched.insert(*sid);
                revised.insert(*sid);
            }
        }
        let is_touched = |sid: &DomainSid| is_all || touched.contains(sid);
        for (sid, group) in fleet.groups.iter().filter(|(sid, _)| is_touched(sid)) {
            let now = refused.get(sid).map(|refused| &refused.now);
            let refusals = now.or_else(|| self.state.refusals.get(sid)).unwrap_or(&none);
            let mut finding = duplicates::of_group(&context, group, refusals);
            // Sessions that were emitted before their twins were known.
            for runs in refused.get(sid).into_iter().flat_map(|refused| &refused.runs) {
                finding.supersedes.extend(mismatch_revisions.take_over(runs, &unexplained));
            }
            if !finding.supersedes.is_empty() {
                revised.insert(*sid);
            }
            if emitted.entry(*sid).or_default().revise(&mut finding, news) {
                revised.insert(*sid);
                findings.push(finding);
            }
        }
        let withdrawn = emitted.iter_mut();
        for (sid, emitted) in withdrawn.filter(|(sid, _)| !fleet.groups.contains_key(sid)) {
            if !is_touched(sid) || emitted.is_withdrawn(&duplicates::source_key(*sid)) {
                continue;
            }
            let refusals = self.state.refusals.get(sid).unwrap_or(&none);
            let is_domain = self.state.hosts.domain(*sid).is_some();
            let mut finding = duplicates::withdrawn(&context, *sid, is_domain, refusals);
            if emitted.revise(&mut finding, news) {
                revised.insert(*sid);
                findings.push(finding);
            }
        }
        (self.state.group_revisions, self.state.mismatch_revisions) = (emitted, mismatch_revisions);
        self.evaluated.groups = revised;
        let past = refused.into_iter().filter(|(_, refused)| refused.past.is_any());
        for (sid, TwinRefusals { past, .. }) in past {
            if self.state.refusals.get(&sid) != Some(&past) {
                self.evaluated.refusals.insert(sid);
                self.state.refusals.insert(sid, past);
            }
        }
    }

    /// The sessions of mismatches of every host, with what stood beside them.
    fn mismatch_sessions(&self, context: &Context<'_>, watermark: EventTime) -> Vec<PlacedSession> {
        let fleet = context.fleet;
        let accepted = self.accepted(context);
        let windows = self.windows(fleet);
        let pair_window = self.settings.pair_window_ticks;
        let (gap, max) = (self.settings.session_gap_ticks, self.settings.session_max_ticks);
        let is_accepted = |(_, time, trace): &TraceAt| {
            let times = accepted.get(&context.resolve(trace.source, *time));
            times.is_some_and(|times| times.iter().any(|at| at.distance(*time) <= pair_window))
        };
        let mut by_host: BTreeMap<Symbol, Vec<(Symbol, &Run)>> = BTreeMap::new();
        for (host, runs) in self.state.mismatches.iter() {
            let runs = runs.iter().map(|run| (host, run));
            by_host.entry(fleet.spelling(host)).or_default().extend(runs);
        }
        let mut sessions: Vec<PlacedSession> = Vec::new();
        for (host, mut runs) in by_host {
            runs.sort_by_key(|(_, run)| (run.first, run.last));
            let spans = windows.get(&host).map(Vec::as_slice).unwrap_or_default();
            for session in cut(runs, |(_, run)| run, gap, max) {
                let last = session.iter().map(|(_, run)| run.last).max().unwrap_or_default();
                let start = session[0].1.first.minus_ticks(pair_window);
                let end = last.plus_ticks(pair_window);
                let of_session: Vec<(EventTime, EventTime)> = spans
                    .iter()
                    .map(|(first, last)| (*first.max(&start), *last.min(&end)))
                    .filter(|(first, last)| first <= last)
                    .collect();
                let mut traces: Vec<TraceAt> = self
                    .traces_within(fleet, host, &of_session)
                    .map(|(host, time, trace)| (host, time, trace.clone()))
                    .collect();
                traces.sort_by_key(|(_, time, _)| *time);
                let accepted = traces.iter().any(is_accepted);
                let runs: Vec<&Run> = session.iter().map(|(_, run)| *run).collect();
                sessions.push(PlacedSession {
                    session: MismatchSession::new(context, host, &runs, traces, accepted),
                    stage: self.stage(last, watermark),
                    runs: session.iter().map(|(name, run)| (*name, run.first, run.last)).collect(),
                });
            }
        }
        sessions
    }

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

    /// Whether a failure of this source stood beside a mismatch on a host within a span of time.
    fn is_beside(
        &self,
        context: &Context<'_>,
        host: Symbol,
        source: SourceKey,
        first: EventTime,
        last: EventTime,
    ) -> bool {
        let fleet = context.fleet;
        if self.state.mismatch_windows.is_empty() || fleet.spelling(host) != host {
            return false;
        }
        let mut windows = Windows::default();
        for name in fleet.spellings(host) {
            if let Some(of_name) = self.state.mismatch_windows.get(&name) {
                windows.join(of_name);
            }
        }
        let spans = windows.spans();
        let mut traces = self.traces_within(fleet, host, &spans);
        traces.any(|(_, time, trace)| {
            (first..=last).contains(&time) && context.resolve(trace.source, time) == source
        })
    }

    /// The windows around mismatches, by the fullest spelling of the host.
    fn windows(&self, fleet: &Fleet) -> FxHashMap<Symbol, Vec<(EventTime, EventTime)>> {
        let mut windows: FxHashMap<Symbol, Windows> = FxHashMap::default();
        for (host, of_name) in &self.state.mismatch_windows {
            windows.entry(fleet.spelling(*host)).or_default().join(of_name);
        }
        windows.into_iter().map(|(host, windows)| (host, windows.spans())).collect()
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

    /// When domain controllers accepted each source, by resolved key.
    fn accepted(&self, context: &Context<'_>) -> FxHashMap<SourceKey, Vec<EventTime>> {
        let mut accepted: FxHashMap<SourceKey, Vec<EventTime>> = FxHashMap::default();
        for (key, time, host) in self.state.successes.iter() {
            if context.role(*host) == Role::DomainController {
                accepted.entry(context.resolve(key, time)).or_default().push(time);
            }
        }
        accepted
    }
}

/// The sources that runs of a key belong to, by what is known now.
fn resolve_all(context: &Context<'_>, key: SourceKey, runs: &[Run]) -> Vec<SourceKey> {
    let mut sources: Vec<SourceKey> =
        runs.iter().map(|run| context.resolve(key, run.first)).collect();
    sources.sort_unstable();
    sources.dedup();
    if sources.is_empty() { vec![key] } else { sources }
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

/// Adds hosts that had to do with the twins of a machine SID.
fn suspect(suspects: &mut Suspects, sid: DomainSid, hosts: &[Symbol]) {
    for host in hosts {
        let known = suspects.entry(*host).or_insert(sid);
        *known = sid.min(*known);
    }
}

/// Judges all sessions together: a host that had this trouble with twins is
/// suspected to be one, and so are those that have it with the host.
fn judge_all(
    context: &Context<'_>,
    sessions: &[PlacedSession],
    suspects: &Suspects,
) -> Vec<JudgedSession> {
    let mut suspects = suspects.clone();
    let mut rounds = 0;
    loop {
        let judged: Vec<JudgedSession> =
            sessions.iter().map(|placed| placed.session.judge(context, &suspects)).collect();
        let mut grown = suspects.clone();
        for judged in &judged {
            if let Some(sid) = judged.group {
                suspect(&mut grown, sid, &judged.suspects);
            }
        }
        rounds += 1;
        if grown == suspects || rounds > SUSPICION_ROUNDS_MAX {
            return judged;
        }
        suspects = grown;
    }
}

//! Tables into findings: sessions are cut, judged, and emitted where they are
//! news.

use std::collections::BTreeMap;

use rustc_hash::{FxHashMap, FxHashSet};

use super::detector::Detector;
use super::findings::Finding;
use super::fleet::twins::Fleet;
use super::judge::context::Context;
use super::judge::duplicates::{self, Refusals};
use super::judge::failures;
use super::judge::mismatches::{self, JudgedSession, MismatchSession, Suspects};
use super::revisions::{RunSpan, SessionRevisions};
use super::state::names::Symbol;
use super::state::pairing::{TraceAt, Windows};
use super::state::sessions::{Run, SourceKey, cut};
use crate::incident::{IncidentId, Role, State};
use crate::sid::DomainSid;
use crate::time::EventTime;

/// Rounds in which a suspicion may spread from host to host.
const SUSPICION_ROUNDS_MAX: usize = 8;

/// How far a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SessionStage {
    Open,
    /// Closed; late observations may still change it.
    Known,
    /// Closed, and nothing changes it any more.
    Gone,
}

/// A finding of a session, how far that is, and its runs.
type OfSession<K> = (Finding, SessionStage, Vec<RunSpan<K>>);

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
    /// Emits sessions of failures that reach the threshold.
    pub(super) fn emit_failures(
        &mut self,
        fleet: &Fleet,
        watermark: EventTime,
        findings: &mut Vec<Finding>,
    ) {
        let context = self.context(fleet);
        let paired = self.paired(&context);
        let (gap, max) = (self.settings.session_gap_ticks, self.settings.session_max_ticks);
        let mut runs: Vec<(SourceKey, SourceKey, &Run)> = self
            .state
            .failures
            .iter()
            .flat_map(|(key, runs)| runs.iter().map(move |run| (key, run)))
            .map(|(key, run)| (context.resolve(key, run.first), key, run))
            .collect();
        runs.sort_unstable_by(|(a, _, run_a), (b, _, run_b)| {
            (a, run_a.first).cmp(&(b, run_b.first))
        });
        let mut found: Vec<OfSession<SourceKey>> = Vec::new();
        let mut gone: FxHashSet<(SourceKey, EventTime)> = FxHashSet::default();
        for of_source in runs.chunk_by(|(a, _, _), (b, _, _)| a == b) {
            for session in cut(of_source.to_vec(), |(_, _, run)| run, gap, max) {
                let last = session.iter().map(|(_, _, run)| run.last).max().unwrap_or_default();
                let stage = self.stage(last, watermark);
                let runs: Vec<(SourceKey, &Run)> =
                    session.iter().map(|(_, key, run)| (*key, *run)).collect();
                let (source, first) = (session[0].0, session[0].2.first);
                let beside = |host| {
                    let times = paired.get(&(host, source));
                    times.is_some_and(|times| times.iter().any(|at| (first..=last).contains(at)))
                };
                let spans: Vec<RunSpan<SourceKey>> =
                    runs.iter().map(|(key, run)| (*key, run.first, run.last)).collect();
                // What was emitted once is followed to its end, also when it is
                // less by what is known now.
                let is_emitted = !self.state.failure_revisions.ids(&spans).is_empty();
                let failures_min = if is_emitted { 1 } else { self.settings.failure_threshold };
                let finding = failures::of_session(&context, source, &runs, failures_min, beside);
                // A session below the threshold is not kept once it is closed.
                let is_small = finding.is_none();
                if stage == SessionStage::Gone || stage == SessionStage::Known && is_small {
                    gone.extend(runs.iter().map(|(key, run)| (*key, run.first)));
                }
                found.extend(finding.map(|finding| (finding, stage, spans)));
            }
        }
        emit(&mut self.state.failure_revisions, found, findings);
        if !gone.is_empty() {
            self.state.failures.remove(|key, run| gone.contains(&(key, run.first)));
        }
    }

    /// Emits the sessions of mismatches that no twins explain, and returns those
    /// that twins do.
    pub(super) fn emit_mismatches(
        &mut self,
        fleet: &Fleet,
        watermark: EventTime,
        findings: &mut Vec<Finding>,
    ) -> Mismatches {
        if self.state.mismatches.key_count() == 0 {
            return Mismatches::default();
        }
        let context = self.context(fleet);
        let sessions = self.mismatch_sessions(&context, watermark);
        let gone: FxHashSet<(Symbol, EventTime)> = sessions
            .iter()
            .filter(|placed| placed.stage == SessionStage::Gone)
            .flat_map(|placed| placed.runs.iter().map(|(name, first, _)| (*name, *first)))
            .collect();
        let judged = judge_all(&context, &sessions, &self.state.suspects);
        let mut suspects = self.state.suspects.clone();
        let mut refused: BTreeMap<DomainSid, TwinRefusals> = BTreeMap::new();
        let mut found: Vec<OfSession<Symbol>> = Vec::new();
        for (PlacedSession { session, stage, runs }, judged) in sessions.into_iter().zip(judged) {
            let Some(sid) = judged.group else {
                let finding = mismatches::of_session(&context, &session, judged.judgement);
                found.push((finding, stage, runs));
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
        let unexplained = emit(&mut self.state.mismatch_revisions, found, findings);
        self.state.suspects = suspects;
        if !gone.is_empty() {
            self.state.mismatches.remove(|host, run| gone.contains(&(host, run.first)));
        }
        Mismatches { refused, unexplained }
    }

    /// Emits the groups of twins that are news, and withdraws those that were
    /// emitted and are none by what is known now. At the end, all that changed
    /// in any way.
    pub(super) fn emit_groups(
        &mut self,
        fleet: &Fleet,
        Mismatches { refused, unexplained }: Mismatches,
        watermark: EventTime,
        findings: &mut Vec<Finding>,
    ) {
        let none = Refusals::default();
        let is_end = watermark == EventTime::MAX;
        let mut emitted = std::mem::take(&mut self.state.group_revisions);
        let mut mismatch_revisions = std::mem::take(&mut self.state.mismatch_revisions);
        let context = self.context(fleet);
        for (sid, group) in &fleet.groups {
            let now = refused.get(sid).map(|refused| &refused.now);
            let refusals = now.or_else(|| self.state.refusals.get(sid)).unwrap_or(&none);
            let mut finding = duplicates::of_group(&context, group, refusals);
            // Sessions that were emitted before their twins were known.
            for runs in refused.get(sid).into_iter().flat_map(|refused| &refused.runs) {
                finding.supersedes.extend(mismatch_revisions.take_over(runs, &unexplained));
            }
            let emitted = emitted.entry(*sid).or_default();
            emitted.release(&unexplained);
            if emitted.revise(&mut finding, is_end) {
                findings.push(finding);
            }
        }
        for (sid, emitted) in emitted.iter_mut().filter(|(sid, _)| !fleet.groups.contains_key(sid))
        {
            emitted.release(&unexplained);
            if emitted.is_withdrawn(&duplicates::source_key(*sid)) {
                continue;
            }
            let refusals = self.state.refusals.get(sid).unwrap_or(&none);
            let is_domain = self.state.hosts.domain(*sid).is_some();
            let mut finding = duplicates::withdrawn(&context, *sid, is_domain, refusals);
            if emitted.revise(&mut finding, is_end) {
                findings.push(finding);
            }
        }
        (self.state.group_revisions, self.state.mismatch_revisions) = (emitted, mismatch_revisions);
        let past = refused.into_iter().filter(|(_, refused)| refused.past.is_any());
        self.state.refusals.extend(past.map(|(sid, refused)| (sid, refused.past)));
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
                let mut traces: Vec<TraceAt> =
                    self.traces_within(fleet, host, &of_session).cloned().collect();
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
    fn stage(&self, last: EventTime, watermark: EventTime) -> SessionStage {
        let end = last.plus_ticks(self.settings.session_gap_ticks);
        if end > watermark {
            SessionStage::Open
        } else if end.plus_ticks(self.settings.known_ticks) > watermark {
            SessionStage::Known
        } else {
            SessionStage::Gone
        }
    }

    fn context<'a>(&'a self, fleet: &'a Fleet) -> Context<'a> {
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

    /// When failures of each source stood beside a mismatch on a host, by the
    /// fullest spelling of its name.
    fn paired(&self, context: &Context<'_>) -> FxHashMap<(Symbol, SourceKey), Vec<EventTime>> {
        let mut paired: FxHashMap<(Symbol, SourceKey), Vec<EventTime>> = FxHashMap::default();
        for (host, spans) in self.windows(context.fleet) {
            for (_, time, trace) in self.traces_within(context.fleet, host, &spans) {
                let source = context.resolve(trace.source, *time);
                paired.entry((host, source)).or_default().push(*time);
            }
        }
        paired
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
    ) -> impl Iterator<Item = &'a TraceAt> {
        fleet.spellings(host).into_iter().flat_map(move |name| {
            spans.iter().flat_map(move |(start, end)| self.state.traces.within(name, *start, *end))
        })
    }

    /// When domain controllers accepted each source, by resolved key.
    fn accepted(&self, context: &Context<'_>) -> FxHashMap<SourceKey, Vec<EventTime>> {
        let mut accepted: FxHashMap<SourceKey, Vec<EventTime>> = FxHashMap::default();
        for (key, time, host) in self.state.successes.iter() {
            if context.role(*host) == Role::DomainController {
                accepted.entry(context.resolve(*key, *time)).or_default().push(*time);
            }
        }
        accepted
    }
}

/// Emits what is news of all sessions there are; returns the ids of all of them.
fn emit<K: Copy + Ord>(
    revisions: &mut SessionRevisions<K>,
    found: Vec<OfSession<K>>,
    findings: &mut Vec<Finding>,
) -> FxHashSet<IncidentId> {
    let produced: FxHashSet<IncidentId> = found.iter().map(|(finding, _, _)| finding.id).collect();
    for (mut finding, stage, runs) in found {
        finding.state = match stage {
            SessionStage::Open => State::Open,
            SessionStage::Known | SessionStage::Gone => State::Closed,
        };
        findings.extend(revisions.revise(finding, &runs, &produced));
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

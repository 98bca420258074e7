//! Sessions of mismatches: all of them are judged together, as suspicions spread from host to host.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

use super::{Mismatches, OfSession, SessionStage, TwinRefusals, emit};
use crate::detect::detector::Detector;
use crate::detect::findings::Finding;
use crate::detect::fleet::twins::Fleet;
use crate::detect::judge::context::Context;
use crate::detect::judge::mismatches::{self, JudgedSession, MismatchSession, Suspects};
use crate::detect::revisions::{News, RunSpan};
use crate::detect::state::names::Symbol;
use crate::detect::state::pairing::{TraceAt, Windows};
use crate::detect::state::sessions::{Run, SourceKey, cut};
use crate::incident::Role;
use crate::sid::DomainSid;
use crate::time::EventTime;

/// Rounds in which a suspicion may spread from host to host.
const SUSPICION_ROUNDS_MAX: usize = 8;

/// A session of mismatches, how far it is, and its runs.
#[derive(Debug)]
struct PlacedSession {
    session: MismatchSession,
    stage: SessionStage,
    runs: Vec<RunSpan<Symbol>>,
}

impl Detector {
    /// Emits the sessions of mismatches that no twins explain, and returns those
    /// that twins do; `None` when nothing about any of them changed.
    pub(in crate::detect) fn emit_mismatches(
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

    /// The windows around mismatches, by the fullest spelling of the host.
    fn windows(&self, fleet: &Fleet) -> FxHashMap<Symbol, Vec<(EventTime, EventTime)>> {
        let mut windows: FxHashMap<Symbol, Windows> = FxHashMap::default();
        for (host, of_name) in &self.state.mismatch_windows {
            windows.entry(fleet.spelling(*host)).or_default().join(of_name);
        }
        windows.into_iter().map(|(host, windows)| (host, windows.spans())).collect()
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

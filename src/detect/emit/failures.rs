//! Sessions of failures: those of the sources that were touched are judged, and sprays before them.

use std::collections::{BTreeMap, BTreeSet};

use super::{OfSession, SessionStage, emit};
use crate::detect::detector::Detector;
use crate::detect::findings::Finding;
use crate::detect::fleet::twins::Fleet;
use crate::detect::judge::context::Context;
use crate::detect::judge::failures;
use crate::detect::revisions::{News, RunSpan};
use crate::detect::state::names::Symbol;
use crate::detect::state::pairing::Windows;
use crate::detect::state::sessions::{Run, SourceKey, cut};
use crate::incident::IncidentId;
use crate::time::EventTime;

/// How much of a source is judged.
#[derive(Debug, Default)]
struct Touched {
    /// Spans with the times of new observations.
    spans: Vec<(EventTime, EventTime)>,
    /// Whether all sessions are judged: names resolve to it that did not before, or no longer do.
    whole: bool,
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

impl Detector {
    /// Emits sessions of failures that reach the threshold, of the sources that were touched.
    pub(in crate::detect) fn emit_failures(
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
        for of_key in dirty.chunk_by(|(one, ..), (other, ..)| one == other) {
            let (sources, whole) = self.sources(fleet, of_key[0].0);
            for source in sources {
                let touched = touched.entry(source).or_default();
                touched.spans.extend(of_key.iter().map(|(_, first, last)| (*first, *last)));
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
                || touched.spans.iter().any(|(from, to)| *from <= last && first <= *to);
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
    pub(in crate::detect) fn resolve_anew(&mut self, fleet: &Fleet) {
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
}

/// The sources that runs of a key belong to, by what is known now.
fn resolve_all(context: &Context<'_>, key: SourceKey, runs: &[Run]) -> Vec<SourceKey> {
    let mut sources: Vec<SourceKey> =
        runs.iter().map(|run| context.resolve(key, run.first)).collect();
    sources.sort_unstable();
    sources.dedup();
    if sources.is_empty() { vec![key] } else { sources }
}

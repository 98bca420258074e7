//! One peer that tries many accounts: a password spray, or a scan for names. What it tried is one
//! finding, and the accounts that nobody else tried have none of their own.
//!
//! ```text
//!  peer 10.9.9.9 │ ann ×2 │ bob ×1 │ cat ×3 │ …   spray_accounts within session_gap: a spray
//!  anybody else  │        │ bob ×40│        │     bob's own finding stays
//! ```

use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::FxHashMap;

use super::detector::Detector;
use super::fleet::twins::Fleet;
use super::judge::context::Context;
use super::state::directory::make_room;
use super::state::names::{Address, Symbol};
use super::state::sessions::{Line, PatternId, SourceKey};
use crate::status::Category;
use crate::time::EventTime;

/// Of a spray that goes on, so large a part of its lines has to be new before it is judged again.
const GROWTH_PARTS: usize = 8;

/// What is known of peers that tried several accounts; rebuilt from the sessions when it is gone.
#[derive(Debug, Default)]
pub(super) struct Sprays {
    /// By the peer: the sources that it was refused for.
    tried: FxHashMap<SourceKey, Tried>,
    /// Peers that spray, with the spans of time in which they do.
    spraying: BTreeMap<SourceKey, Spraying>,
}

/// The sources that one peer was refused for: of nearly all peers a few.
#[derive(Debug, Default)]
struct Tried {
    few: Vec<SourceKey>,
    many: BTreeSet<SourceKey>,
}

/// Sources of a peer from which on they are kept in order.
const FEW_MAX: usize = 8;

impl Tried {
    fn insert(&mut self, source: SourceKey) {
        if self.few.contains(&source) {
            return;
        }
        if self.many.is_empty() && self.few.len() < FEW_MAX {
            make_room(&mut self.few);
            self.few.push(source);
        } else {
            self.many.insert(source);
        }
    }

    fn len(&self) -> usize {
        self.few.len() + self.many.len()
    }

    fn iter(&self) -> impl Iterator<Item = &SourceKey> {
        self.few.iter().chain(&self.many)
    }

    fn retain(&mut self, mut keeps: impl FnMut(&SourceKey) -> bool) {
        self.few.retain(&mut keeps);
        self.many.retain(keeps);
    }
}

#[derive(Clone, Debug, Default)]
struct Spraying {
    spans: Vec<(EventTime, EventTime)>,
    /// Lines that it had when it was judged last, and those that came or grew since.
    judged: usize,
    since: usize,
}

impl Spraying {
    /// Takes in a line that continues one of the spans.
    fn extend(&mut self, line: &Line, gap_ticks: u64) {
        self.since += 1;
        let continued = self.spans.iter_mut().find(|(first, last)| {
            line.first <= last.plus_ticks(gap_ticks) && *first <= line.last.plus_ticks(gap_ticks)
        });
        if let Some((_, last)) = continued {
            *last = line.last.max(*last);
        }
    }
}

/// What one peer tried without a gap.
#[derive(Debug)]
pub(super) struct Spray {
    pub peer: SourceKey,
    pub lines: Vec<(SourceKey, Line)>,
    pub first: EventTime,
    pub last: EventTime,
}

impl Sprays {
    /// Whether a line is part of a spray.
    pub(super) fn holds(&self, line: &Line) -> bool {
        let spraying = peer_of(line).and_then(|peer| self.spraying.get(&peer));
        spraying.is_some_and(|of| {
            of.spans.iter().any(|(first, last)| *first <= line.first && line.last <= *last)
        })
    }

    /// The end of the last spray that a line is part of.
    pub(super) fn last_of(&self, line: &Line) -> EventTime {
        let spraying = peer_of(line).and_then(|peer| self.spraying.get(&peer));
        let ends = spraying.into_iter().flat_map(|of| of.spans.iter().map(|(_, last)| *last));
        ends.max().unwrap_or(EventTime::MIN)
    }
}

impl Detector {
    /// The sprays that are to be judged because sources of theirs were touched, and sources that are
    /// part of one from now on, or no longer are.
    pub(super) fn sprays(
        &mut self,
        fleet: &Fleet,
        touched: &BTreeSet<SourceKey>,
        watermark: EventTime,
    ) -> (Vec<Spray>, BTreeSet<SourceKey>) {
        let is_end = watermark == EventTime::MAX;
        let mut sprays = match self.sprays.take() {
            // Every source is touched.
            _ if is_end => Sprays::default(),
            Some(sprays) => sprays,
            None => Sprays { tried: self.tried_by_all(fleet), ..Sprays::default() },
        };
        let context = self.context(fleet);
        let mut peers: BTreeSet<SourceKey> = BTreeSet::new();
        for source in touched {
            if matches!(source, SourceKey::PeerIp(_) | SourceKey::PeerHost(_)) {
                peers.insert(*source);
            }
            for line in self.guesses_of(&context, *source) {
                if let Some(peer) = peer_of(line) {
                    sprays.tried.entry(peer).or_default().insert(*source);
                    peers.insert(peer);
                    if let Some(spraying) = sprays.spraying.get_mut(&peer) {
                        spraying.extend(line, self.settings.session_gap_ticks);
                    }
                }
            }
        }
        // Of all peers at once, their lines are put together once.
        let mut of_all: Option<FxHashMap<SourceKey, Vec<(SourceKey, Line)>>> =
            is_end.then(FxHashMap::default);
        if let Some(of_all) = &mut of_all {
            for source in touched {
                for line in self.guesses_of(&context, *source) {
                    let peer = peer_of(line).filter(|peer| {
                        let tried = sprays.tried.get(peer).map_or(0, Tried::len);
                        tried >= self.settings.spray_accounts as usize
                    });
                    if let Some(peer) = peer {
                        of_all.entry(peer).or_default().push((*source, line.clone()));
                    }
                }
            }
        }
        let (mut found, mut moved) = (Vec::new(), BTreeSet::new());
        for peer in peers {
            let tried = sprays.tried.get(&peer).map_or(0, Tried::len);
            let before = sprays.spraying.get(&peer).cloned().unwrap_or_default();
            if tried < self.settings.spray_accounts as usize && before.spans.is_empty() {
                continue;
            }
            let ends = before.spans.iter().map(|(_, last)| *last);
            let has_grown = before.since > before.judged / GROWTH_PARTS;
            let changes_stage = ends
                .clone()
                .any(|last| self.stage(last, watermark) != self.stage(last, self.state.closed_to));
            if before.judged > 0 && !has_grown && !changes_stage && !touched.contains(&peer) {
                continue;
            }
            let mut of_peer = Vec::new();
            if let Some(of_all) = &mut of_all {
                of_peer = of_all.remove(&peer).unwrap_or_default();
            } else if let Some(tried) = sprays.tried.get_mut(&peer) {
                tried.retain(|source| {
                    let lines = self.guesses_of(&context, *source);
                    let before = of_peer.len();
                    let by_peer = lines.into_iter().filter(|line| peer_of(line) == Some(peer));
                    of_peer.extend(by_peer.map(|line| (*source, line.clone())));
                    of_peer.len() > before
                });
            }
            let judged = of_peer.len();
            let of_peer = self.cut_sprays(peer, of_peer);
            let spans: Vec<_> = of_peer.iter().map(|spray| (spray.first, spray.last)).collect();
            let starts = |spans: &[(EventTime, EventTime)]| {
                spans.iter().map(|(first, _)| *first).collect::<Vec<_>>()
            };
            if starts(&spans) != starts(&before.spans) {
                moved.extend(sprays.tried.get(&peer).into_iter().flat_map(Tried::iter));
            }
            match spans.is_empty() {
                true => sprays.spraying.remove(&peer),
                false => sprays.spraying.insert(peer, Spraying { spans, judged, since: 0 }),
            };
            found.extend(of_peer);
        }
        self.sprays = Some(sprays);
        (found, moved)
    }

    /// By each peer the sources that it was refused for.
    fn tried_by_all(&self, fleet: &Fleet) -> FxHashMap<SourceKey, Tried> {
        let context = self.context(fleet);
        let mut tried: FxHashMap<SourceKey, Tried> = FxHashMap::default();
        for (key, runs) in self.state.failures.iter() {
            for run in runs {
                let source = context.resolve(key, run.first);
                let lines = run.lines.as_slice().iter();
                for line in lines.filter(|line| self.is_guess(line.pattern)) {
                    if let Some(peer) = peer_of(line) {
                        tried.entry(peer).or_default().insert(source);
                    }
                }
            }
        }
        tried
    }

    /// The refusals of a source that somebody who guesses leaves behind.
    fn guesses_of(&self, context: &Context<'_>, source: SourceKey) -> Vec<&Line> {
        let mut lines = Vec::new();
        for key in self.state.resolved.keys_of(source) {
            let runs = self.state.failures.runs(key).iter();
            for run in runs.filter(|run| context.resolve(key, run.first) == source) {
                let of_run = run.lines.as_slice().iter();
                lines.extend(of_run.filter(|line| self.is_guess(line.pattern)));
            }
        }
        lines
    }

    fn is_guess(&self, pattern: PatternId) -> bool {
        matches!(
            self.state.patterns.get(pattern).failure_category(),
            Category::BadPassword
                | Category::UnknownAccount
                | Category::AccountLocked
                | Category::AccountDisabled
                | Category::AccountExpired
                | Category::PasswordExpired
        )
    }

    /// What a peer tried, cut where it paused; of that, the sprays.
    fn cut_sprays(&self, peer: SourceKey, mut lines: Vec<(SourceKey, Line)>) -> Vec<Spray> {
        lines.sort_unstable_by_key(|(source, line)| (line.first, line.last, *source));
        let gap = self.settings.session_gap_ticks;
        let mut sprays: Vec<Spray> = Vec::new();
        for (source, line) in lines {
            let (first, last) = (line.first, line.last);
            match sprays.last_mut() {
                Some(spray) if first <= spray.last.plus_ticks(gap) => {
                    spray.last = spray.last.max(last);
                    spray.lines.push((source, line));
                }
                _ => sprays.push(Spray { peer, lines: vec![(source, line)], first, last }),
            }
        }
        // What was emitted once is followed to its end.
        sprays.retain(|spray| {
            let runs = [(spray.peer, spray.first, spray.last)];
            self.is_spray(spray) || !self.state.failure_revisions.ids(&runs).is_empty()
        });
        sprays
    }

    /// Whether enough accounts were tried within the gap of a session, by the spans of their
    /// lines: these only grow, so a spray stays one whatever comes late.
    fn is_spray(&self, spray: &Spray) -> bool {
        let gap = self.settings.session_gap_ticks;
        let is_account = |source: &SourceKey| !matches!(source, SourceKey::Host(_));
        let lines = spray.lines.iter().filter(|(source, _)| is_account(source));
        // A window of time that begins here touches one account more, or one less.
        let mut steps: Vec<(EventTime, WindowStep, SourceKey)> = lines
            .flat_map(|(source, line)| {
                let from = (line.first.minus_ticks(gap), WindowStep::In, *source);
                [from, (line.last, WindowStep::Out, *source)]
            })
            .collect();
        steps.sort_unstable();
        let mut within: FxHashMap<SourceKey, usize> = FxHashMap::default();
        for (_, step, source) in steps {
            match step {
                WindowStep::In => {
                    *within.entry(source).or_default() += 1;
                    if within.len() >= self.settings.spray_accounts as usize {
                        return true;
                    }
                }
                WindowStep::Out => {
                    if let Some(count) = within.get_mut(&source) {
                        *count -= 1;
                        if *count == 0 {
                            within.remove(&source);
                        }
                    }
                }
            }
        }
        false
    }
}

/// Those of one time in this order: a window touches what ends where it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum WindowStep {
    In,
    Out,
}

/// The peer of a line as the key of what it tried: its address, else its name.
fn peer_of(line: &Line) -> Option<SourceKey> {
    if line.peer_ip != Address::NONE {
        return Some(SourceKey::PeerIp(line.peer_ip));
    }
    let is_named = line.peer_host != Symbol::NONE && line.peer_host != Symbol::BEYOND;
    is_named.then_some(SourceKey::PeerHost(line.peer_host))
}

//! Sessions: the observations of one source without a gap longer than
//! `session_gap`, cut after `session_max`.
//!
//! Observations come in any order, and what source a name belongs to may be
//! learnt last of all. So what is kept under each key is *runs*: stretches
//! without a gap, none across an hour of the clock, each with its counts:
//!
//! ```text
//! hour        │ 08                │ 09                │ 10
//! key sid:…   │     [■■■■]   [■■■■│■■■]               │
//! key name:…  │          [■■]     │        [■]        │   [■■]
//! resolved    │     [■■■■■■■■■■■■■│■■■■■]  [■]        │   [■■]
//! ```
//!
//! Runs can be joined in any order and under any key with the same result, so
//! sessions are put together when they are asked for. A session that is longer
//! than `session_max` is cut at a full hour: `session_max` after the hour in
//! which it began.

use std::cmp::Ordering;

use rustc_hash::FxHashMap;

use super::directory::AccountSid;
use super::names::{Address, Names, Symbol};
use crate::event::{Category, EventTime, Protocol, Side, StatusCode, TICKS_PER_SEC};

/// Runs do not cross multiples of this, and sessions are cut at them.
pub const HOUR_TICKS: u64 = 3600 * TICKS_PER_SEC;

/// Different lines kept of one run. Of more, those that sort first are kept
/// whole, the others without peer, service and target.
const LINES_PER_RUN_MAX: usize = 128;

/// Whom observations belong to, as their events name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SourceKey {
    Sid(AccountSid),
    Account {
        domain: Symbol,
        name: Symbol,
    },
    /// An account whose event names no domain, by the host that wrote it.
    Bare {
        host: Symbol,
        name: Symbol,
    },
    /// No account at all.
    Host(Symbol),
}

/// What observations of one line have in common, beside account and peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pattern {
    pub computer: Symbol,
    pub channel: Symbol,
    pub provider: Symbol,
    pub event_id: u32,
    pub side: Side,
    pub protocol: Protocol,
    pub status: Option<StatusCode>,
    pub sub_status: Option<StatusCode>,
    pub reason: Option<u32>,
    pub logon_type: Option<u32>,
    pub category: Option<Category>,
}

/// Index into [`Patterns`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PatternId(u32);

/// Every pattern once.
#[derive(Debug)]
pub struct Patterns {
    index: FxHashMap<Pattern, PatternId>,
    patterns: Vec<Pattern>,
    count_max: usize,
    beyond: u64,
}

impl Patterns {
    /// Keeps `count_max` patterns; later ones keep only event and status.
    pub fn new(count_max: usize) -> Patterns {
        Patterns { index: FxHashMap::default(), patterns: Vec::new(), count_max, beyond: 0 }
    }

    pub fn intern(&mut self, pattern: Pattern) -> PatternId {
        if let Some(id) = self.index.get(&pattern) {
            return *id;
        }
        let coarse = pattern.coarse();
        if self.patterns.len() >= self.count_max && pattern != coarse {
            self.beyond += 1;
            return self.intern(coarse);
        }
        let id = PatternId(self.patterns.len() as u32);
        self.patterns.push(pattern);
        self.index.insert(pattern, id);
        id
    }

    /// How often a pattern came that is not kept whole.
    pub fn beyond(&self) -> u64 {
        self.beyond
    }

    pub fn get(&self, id: PatternId) -> &Pattern {
        &self.patterns[id.0 as usize]
    }
}

impl Pattern {
    /// Without what tells one machine's events from another's.
    fn coarse(&self) -> Pattern {
        Pattern { computer: Symbol::BEYOND, logon_type: None, reason: None, ..*self }
    }

    fn compare(&self, other: &Pattern, names: &Names) -> Ordering {
        let numbers = |p: &Pattern| {
            (
                p.event_id,
                p.status,
                p.sub_status,
                p.reason,
                p.logon_type,
                p.side,
                p.protocol,
                p.category,
            )
        };
        numbers(self)
            .cmp(&numbers(other))
            .then_with(|| names.compare(self.computer, other.computer))
            .then_with(|| names.compare(self.channel, other.channel))
            .then_with(|| names.compare(self.provider, other.provider))
    }
}

/// Observations that differ in nothing but time.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    pub pattern: PatternId,
    pub peer_host: Symbol,
    pub peer_ip: Address,
    pub service: Symbol,
    pub count: u32,
    /// The first of them: time and record id.
    pub first: EventTime,
    pub record_id: u64,
    pub last: EventTime,
}

impl Line {
    pub fn same(&self, other: &Line) -> bool {
        self.pattern == other.pattern
            && self.peer_host == other.peer_host
            && self.peer_ip == other.peer_ip
            && self.service == other.service
    }

    /// Adds observations that differ in nothing but time.
    pub fn absorb(&mut self, other: &Line) {
        self.count = self.count.saturating_add(other.count);
        self.last = self.last.max(other.last);
        if (other.first, other.record_id) < (self.first, self.record_id) {
            self.first = other.first;
            self.record_id = other.record_id;
        }
    }
}

/// A stretch of observations under one key without a gap, within one hour.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    pub first: EventTime,
    pub last: EventTime,
    pub lines: Lines,
}

/// Most runs have one line.
#[derive(Clone, Debug, PartialEq)]
pub enum Lines {
    One(Line),
    Many(Vec<Line>),
}

impl Lines {
    pub fn as_slice(&self) -> &[Line] {
        match self {
            Lines::One(line) => std::slice::from_ref(line),
            Lines::Many(lines) => lines,
        }
    }
}

/// What decides the order of lines when there are too many of them.
#[derive(Debug)]
pub struct LineOrder<'a> {
    pub names: &'a Names,
    pub addresses: &'a super::names::Addresses,
}

/// The runs of one key.
#[derive(Clone, Debug)]
enum Runs {
    One(Run),
    Many(Vec<Run>),
}

impl Runs {
    fn as_slice(&self) -> &[Run] {
        match self {
            Runs::One(run) => std::slice::from_ref(run),
            Runs::Many(runs) => runs,
        }
    }
}

/// The open runs of all keys.
#[derive(Debug)]
pub struct Sessions<K> {
    runs: FxHashMap<K, Runs>,
    gap_ticks: u64,
    run_count: usize,
}

impl<K: Copy + Eq + std::hash::Hash> Sessions<K> {
    pub fn new(gap_ticks: u64) -> Sessions<K> {
        Sessions { runs: FxHashMap::default(), gap_ticks, run_count: 0 }
    }

    pub fn key_count(&self) -> usize {
        self.runs.len()
    }

    /// Runs of all keys.
    pub fn run_count(&self) -> usize {
        self.run_count
    }

    /// Adds one observation.
    pub fn add(&mut self, key: K, line: Line, patterns: &mut Patterns, order: &LineOrder<'_>) {
        let run = Run { first: line.first, last: line.first, lines: Lines::One(line) };
        match self.runs.entry(key) {
            std::collections::hash_map::Entry::Vacant(entry) => {
                entry.insert(Runs::One(run));
                self.run_count += 1;
            }
            std::collections::hash_map::Entry::Occupied(mut entry) => {
                let runs = entry.get_mut();
                match runs {
                    Runs::One(known) if joins(known, &run, self.gap_ticks) => {
                        known.absorb(run, patterns, order);
                    }
                    Runs::One(known) => {
                        let mut both = vec![known.clone(), run];
                        both.sort_by_key(|run| run.first);
                        *runs = Runs::Many(both);
                        self.run_count += 1;
                    }
                    Runs::Many(many) => {
                        let before = many.len();
                        insert(many, run, self.gap_ticks, patterns, order);
                        self.run_count = self.run_count + many.len() - before;
                    }
                }
            }
        }
    }

    /// Every key with its runs, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (K, &[Run])> {
        self.runs.iter().map(|(key, runs)| (*key, runs.as_slice()))
    }

    /// Drops the runs for which `gone` holds.
    pub fn remove(&mut self, mut gone: impl FnMut(K, &Run) -> bool) {
        let mut left = 0;
        self.runs.retain(|key, runs| match runs {
            Runs::One(run) => {
                let stays = !gone(*key, run);
                left += usize::from(stays);
                stays
            }
            Runs::Many(many) => {
                many.retain(|run| !gone(*key, run));
                left += many.len();
                !many.is_empty()
            }
        });
        self.run_count = left;
    }
}

/// Whether two stretches of one key, each within an hour, are one.
fn joins(one: &Run, other: &Run, gap_ticks: u64) -> bool {
    let (before, after) = if one.first <= other.first { (one, other) } else { (other, one) };
    one.first.0 / HOUR_TICKS == other.first.0 / HOUR_TICKS
        && after.first.0.saturating_sub(before.last.0) <= gap_ticks
}

/// Puts a run in its place, joined with the neighbours that it touches.
fn insert(
    runs: &mut Vec<Run>,
    run: Run,
    gap_ticks: u64,
    patterns: &mut Patterns,
    order: &LineOrder<'_>,
) {
    let mut at = runs.partition_point(|known| known.first <= run.first);
    if at > 0 && joins(&runs[at - 1], &run, gap_ticks) {
        at -= 1;
        runs[at].absorb(run, patterns, order);
    } else {
        runs.insert(at, run);
    }
    while at + 1 < runs.len() && joins(&runs[at], &runs[at + 1], gap_ticks) {
        let next = runs.remove(at + 1);
        runs[at].absorb(next, patterns, order);
    }
}

impl Run {
    pub fn count(&self) -> u64 {
        self.lines.as_slice().iter().map(|line| u64::from(line.count)).sum()
    }

    fn absorb(&mut self, other: Run, patterns: &mut Patterns, order: &LineOrder<'_>) {
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        match other.lines {
            Lines::One(line) => self.absorb_line(line, patterns, order),
            Lines::Many(lines) => {
                lines.into_iter().for_each(|line| self.absorb_line(line, patterns, order));
            }
        }
    }

    fn absorb_line(&mut self, line: Line, patterns: &mut Patterns, order: &LineOrder<'_>) {
        match &mut self.lines {
            Lines::One(known) if known.same(&line) => known.absorb(&line),
            Lines::One(known) => self.lines = Lines::Many(vec![known.clone(), line]),
            Lines::Many(lines) => match lines.iter_mut().find(|known| known.same(&line)) {
                Some(known) => known.absorb(&line),
                None => {
                    lines.push(line);
                    if fine_count(lines, patterns) > LINES_PER_RUN_MAX {
                        coarsen_last(lines, patterns, order);
                    }
                }
            },
        }
    }
}

fn is_coarse(line: &Line, patterns: &Patterns) -> bool {
    patterns.get(line.pattern).computer == Symbol::BEYOND
}

fn fine_count(lines: &[Line], patterns: &Patterns) -> usize {
    if lines.len() <= LINES_PER_RUN_MAX {
        return 0;
    }
    lines.iter().filter(|line| !is_coarse(line, patterns)).count()
}

/// Takes the line that sorts last out of its detail. As the lines that are
/// kept whole are always those that sort first, a line that was coarsened
/// once would be coarsened whenever it came: the result is the same in any
/// order.
fn coarsen_last(lines: &mut Vec<Line>, patterns: &mut Patterns, order: &LineOrder<'_>) {
    let fine = lines.iter().enumerate().filter(|(_, line)| !is_coarse(line, patterns));
    let last = fine.max_by(|(_, one), (_, other)| compare_lines(one, other, patterns, order));
    let Some((at, _)) = last else { return };
    let mut line = lines.remove(at);
    line.pattern = patterns.intern(patterns.get(line.pattern).coarse());
    line.peer_host = Symbol::NONE;
    line.peer_ip = Address::NONE;
    line.service = Symbol::NONE;
    match lines.iter_mut().find(|known| known.same(&line)) {
        Some(known) => known.absorb(&line),
        None => lines.push(line),
    }
}

/// An order of lines that does not depend on when their names came.
pub fn compare_lines(
    one: &Line,
    other: &Line,
    patterns: &Patterns,
    order: &LineOrder<'_>,
) -> Ordering {
    let names = order.names;
    patterns
        .get(one.pattern)
        .compare(patterns.get(other.pattern), names)
        .then_with(|| names.compare(one.peer_host, other.peer_host))
        .then_with(|| order.addresses.get(one.peer_ip).cmp(&order.addresses.get(other.peer_ip)))
        .then_with(|| names.compare(one.service, other.service))
}

/// Cuts runs of one source, of any of its keys, into sessions. `runs` are
/// sorted by their first time.
pub fn cut<T>(
    runs: Vec<T>,
    run: impl Fn(&T) -> &Run,
    gap_ticks: u64,
    max_ticks: u64,
) -> Vec<Vec<T>> {
    let mut sessions: Vec<Vec<T>> = Vec::new();
    let mut last = EventTime::MIN;
    let mut end = 0;
    for item in runs {
        let (first, run_last) = (run(&item).first, run(&item).last);
        let gap = first.0.saturating_sub(last.0) > gap_ticks;
        match sessions.last_mut() {
            Some(session) if !gap && first.0 < end => session.push(item),
            _ => {
                end = (first.0 / HOUR_TICKS * HOUR_TICKS).saturating_add(max_ticks);
                last = EventTime::MIN;
                sessions.push(vec![item]);
            }
        }
        last = last.max(run_last);
    }
    sessions
}

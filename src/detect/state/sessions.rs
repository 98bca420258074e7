//! Sessions: the observations of one source without a gap longer than
//! `session_gap`, cut after `session_max`.
//!
//! Observations come in any order, and the source that a name belongs to may be
//! known last of all. So what is kept under each key is *runs*: observations
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
//! sessions are cut from them on demand. A session that is longer
//! than `session_max` is cut at a full hour: `session_max` after the hour in
//! which it began.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};

use borsh::{BorshDeserialize, BorshSerialize};
use hashbrown::HashTable;
use rustc_hash::{FxHashMap, FxHasher};

use super::directory::AccountSid;
use super::names::{Address, Names, Symbol};
use crate::observation::{Protocol, Side};
use crate::status::{Category, StatusCode, deciding_status, failure_reason_category};
use crate::time::{EventTime, TICKS_PER_SEC};

/// Runs do not cross multiples of this, and sessions are cut at them.
pub const HOUR_TICKS: u64 = 3600 * TICKS_PER_SEC;

/// Different lines kept of one run. Of more, those that sort first are kept
/// whole, the others without computer, peer and service.
const LINES_PER_RUN_MAX: usize = 128;

/// Pending observations at which they are flushed.
const PENDING_MAX: usize = 1 << 16;

/// Spans of changed keys from which on those of one key are joined.
const DIRTY_JOINED_MIN: usize = 1 << 16;

/// Room for lines once there is more than one.
const LINES_AT_FIRST: usize = 4;

/// The account or host that observations belong to, as their events name it.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize,
)]
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
    /// Accounts on this host that there was no room to keep apart.
    Crowd(Symbol),
    /// Whatever accounts one peer tried, by its address or its name. Nothing is kept under these:
    /// they name what is concluded.
    PeerIp(Address),
    PeerHost(Symbol),
}

impl SourceKey {
    /// Whether what is learnt may say that it belongs to another source.
    pub fn is_resolved(self) -> bool {
        matches!(self, SourceKey::Account { .. } | SourceKey::Bare { .. })
    }
}

/// What an observation says beside who and where: few are different, on
/// however many machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Pattern {
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, BorshSerialize, BorshDeserialize)]
pub struct PatternId(u32);

/// Every pattern once.
#[derive(Debug, BorshSerialize, BorshDeserialize)]
pub struct Patterns {
    #[borsh(skip)]
    index: FxHashMap<Pattern, PatternId>,
    /// In the order of their ids.
    patterns: Vec<Pattern>,
    #[borsh(skip)]
    count_max: usize,
    beyond: u64,
}

impl Patterns {
    /// Keeps `count_max` patterns; later ones keep only event and status.
    pub fn new(count_max: usize) -> Patterns {
        Patterns { index: FxHashMap::default(), patterns: Vec::new(), count_max, beyond: 0 }
    }

    /// Sets bound and index of patterns that were read back.
    pub fn rebuild(&mut self, count_max: usize) {
        self.count_max = count_max;
        let ids = (0..).map(PatternId);
        self.index = self.patterns.iter().copied().zip(ids).collect();
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

/// The parts that differ most; equality looks at all.
impl Hash for Pattern {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let value = |code: Option<StatusCode>| code.map_or(0, |code| code.value);
        let pair = |one: u32, other: u32| u64::from(one) << 32 | u64::from(other);
        state.write_u64(pair(self.event_id, value(self.status)));
        state.write_u64(pair(self.logon_type.unwrap_or(0), value(self.sub_status)));
    }
}

impl Pattern {
    /// Event and status alone.
    fn coarse(&self) -> Pattern {
        Pattern { logon_type: None, reason: None, ..*self }
    }

    /// The code that says most of why it failed.
    pub fn code(&self) -> Option<StatusCode> {
        deciding_status(self.status, self.sub_status)
    }

    /// Why the authentication failed, from all that the event says.
    pub fn failure_category(&self) -> Category {
        if let Some(category) = self.category {
            return category;
        }
        if let Some(code) = self.code() {
            return code.category();
        }
        self.reason.and_then(failure_reason_category).unwrap_or(Category::Other)
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
            .then_with(|| names.compare(self.channel, other.channel))
            .then_with(|| names.compare(self.provider, other.provider))
    }
}

/// Observations that differ in nothing but time.
#[derive(Clone, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct Line {
    pub pattern: PatternId,
    /// Who logged them.
    pub computer: Symbol,
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
            && self.computer == other.computer
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

/// Observations under one key without a gap, within one hour of the clock.
#[derive(Clone, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct Run {
    pub first: EventTime,
    pub last: EventTime,
    pub lines: RunLines,
}

/// Most runs have one line.
#[derive(Clone, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub enum RunLines {
    One(Line),
    Many(Vec<Line>),
}

impl RunLines {
    pub fn as_slice(&self) -> &[Line] {
        match self {
            RunLines::One(line) => std::slice::from_ref(line),
            RunLines::Many(lines) => lines,
        }
    }
}

/// What the order of lines is decided by when there are too many of them.
#[derive(Debug)]
pub struct LineOrder<'a> {
    pub names: &'a Names,
    pub addresses: &'a super::names::Addresses,
}

/// The runs of one key.
#[derive(Clone, Debug, BorshSerialize, BorshDeserialize)]
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

/// The key under which observations of one kind are kept apart.
pub trait SessionKey: Copy + Ord + Hash {
    /// Under what observations of newcomers are counted together once there is no room to keep
    /// them apart; `None`: they are counted, and not kept.
    fn crowd(line: &Line) -> Option<Self>;
}

impl SessionKey for SourceKey {
    fn crowd(line: &Line) -> Option<SourceKey> {
        Some(SourceKey::Crowd(line.computer))
    }
}

impl SessionKey for Symbol {
    fn crowd(_: &Line) -> Option<Symbol> {
        None
    }
}

/// One key, its runs, and when it is next looked at.
#[derive(Debug, BorshSerialize, BorshDeserialize)]
struct Keyed<K> {
    key: K,
    runs: Runs,
    /// In seconds; of the entries in `due`, the one at this second counts.
    #[borsh(skip)]
    due: u64,
}

/// The runs of all keys, which of them have changed, and which are due.
///
/// Observations are pending in a list and are put into their runs many at a
/// time, those of one key together: runs are far apart in memory, and the
/// accesses are what takes the time.
#[derive(Debug, BorshSerialize, BorshDeserialize)]
pub struct Sessions<K> {
    /// Flushed before it is serialised.
    #[borsh(skip, bound(deserialize = ""))]
    pending: Vec<(K, Line)>,
    /// Indexes of `keyed`.
    #[borsh(skip)]
    index: HashTable<u32>,
    keyed: Vec<Keyed<K>>,
    /// Keys with observations that were not evaluated, and spans with the times of these.
    dirty: Vec<(K, EventTime, EventTime)>,
    /// Length at which spans of one key are joined: of a run that evaluates at its end alone there
    /// is one for each key.
    #[borsh(skip)]
    join_dirty_at: usize,
    /// Keys by the second of event time at which a session of theirs may close, or be forgotten.
    #[borsh(skip, bound(deserialize = ""))]
    due: BTreeMap<u64, Vec<K>>,
    #[borsh(skip)]
    gap_ticks: u64,
    #[borsh(skip)]
    known_ticks: u64,
    #[borsh(skip)]
    run_count: usize,
    #[borsh(skip)]
    runs_max: usize,
    beyond: u64,
}

impl<K: SessionKey> Sessions<K> {
    /// Keeps `runs_max` runs; then keys that have any go on, and newcomers are folded into
    /// [`SessionKey::crowd`].
    pub fn new(gap_ticks: u64, known_ticks: u64, runs_max: usize) -> Sessions<K> {
        Sessions {
            pending: Vec::new(),
            index: HashTable::new(),
            keyed: Vec::new(),
            dirty: Vec::new(),
            join_dirty_at: DIRTY_JOINED_MIN,
            due: BTreeMap::new(),
            gap_ticks,
            known_ticks,
            run_count: 0,
            runs_max: runs_max.min(u32::MAX as usize),
            beyond: 0,
        }
    }

    /// Sets bounds, count, index and timers of runs that were read back. What was evaluated at
    /// `watermark` is not due again.
    pub fn rebuild(
        &mut self,
        gap_ticks: u64,
        known_ticks: u64,
        runs_max: usize,
        watermark: EventTime,
    ) {
        (self.gap_ticks, self.known_ticks) = (gap_ticks, known_ticks);
        self.runs_max = runs_max.min(u32::MAX as usize);
        self.run_count = self.keyed.iter().map(|keyed| keyed.runs.as_slice().len()).sum();
        self.index = HashTable::with_capacity(self.keyed.len());
        for (at, keyed) in self.keyed.iter().enumerate() {
            let rehash = |&at: &u32| key_hash(&self.keyed[at as usize].key);
            self.index.insert_unique(key_hash(&keyed.key), at as u32, rehash);
        }
        self.due.clear();
        (0..self.keyed.len()).for_each(|at| self.schedule_at(at, watermark));
    }

    fn place(&self, key: K) -> Option<usize> {
        let found = self.index.find(key_hash(&key), |&at| self.keyed[at as usize].key == key);
        found.map(|&at| at as usize)
    }

    /// The runs of a key that were flushed, by time.
    pub fn runs(&self, key: K) -> &[Run] {
        self.place(key).map_or(&[], |at| self.keyed[at].runs.as_slice())
    }

    /// Whether an observation would continue a run of its key that was flushed.
    pub fn continues(&self, key: K, time: EventTime) -> bool {
        self.runs(key).iter().any(|run| {
            run.first.minus_ticks(self.gap_ticks) <= time
                && time <= run.last.plus_ticks(self.gap_ticks)
        })
    }

    /// Keys with runs, once flushed.
    pub fn key_count(&self) -> usize {
        self.keyed.len()
    }

    /// Observations that were folded or dropped because of the bound.
    pub fn beyond(&self) -> u64 {
        self.beyond
    }

    /// Adds one observation.
    pub fn add(&mut self, key: K, line: Line, patterns: &mut Patterns, order: &LineOrder<'_>) {
        self.pending.push((key, line));
        if self.pending.len() >= PENDING_MAX {
            self.flush(patterns, order);
        }
    }

    /// Puts pending observations into their runs.
    pub fn flush(&mut self, patterns: &mut Patterns, order: &LineOrder<'_>) {
        let mut by_hash: Vec<(u64, u32)> =
            (0..).zip(&self.pending).map(|(at, (key, _))| (key_hash(key), at)).collect();
        // Where there may not be room for all, who came first is kept.
        if self.run_count + self.pending.len() <= self.runs_max {
            by_hash.sort_unstable();
        }
        // In one pass, so that the memory accesses overlap.
        let sorted: Vec<(u64, K, Line)> = by_hash
            .into_iter()
            .map(|(hash, at)| {
                let (key, line) = &self.pending[at as usize];
                (hash, *key, line.clone())
            })
            .collect();
        self.pending.clear();
        for (hash, key, line) in sorted {
            self.put(key, hash, line, patterns, order);
        }
    }

    fn put(
        &mut self,
        key: K,
        hash: u64,
        line: Line,
        patterns: &mut Patterns,
        order: &LineOrder<'_>,
    ) {
        let time = line.first;
        let place = self.index.find(hash, |&at| self.keyed[at as usize].key == key).copied();
        match place {
            Some(place) => {
                self.mark_dirty(key, time);
                self.join(place as usize, line, patterns, order);
            }
            None if self.run_count < self.runs_max => self.insert(key, hash, line),
            None => {
                self.beyond += 1;
                let Some(crowd) = K::crowd(&line) else { return };
                match self.place(crowd) {
                    Some(place) => {
                        self.mark_dirty(crowd, time);
                        self.join(place, line, patterns, order);
                    }
                    // One for each host: the hosts have a bound of their own.
                    None => self.insert(crowd, key_hash(&crowd), line),
                }
            }
        }
    }

    /// Notes that there is something new; of many in a row, once a second.
    fn mark_dirty(&mut self, key: K, time: EventTime) {
        let second = |time: EventTime| time.0 / TICKS_PER_SEC;
        match self.dirty.last() {
            Some((last, _, at)) if *last == key && second(*at) == second(time) => {}
            _ => self.dirty.push((key, time, time)),
        }
        if self.dirty.len() >= self.join_dirty_at.max(DIRTY_JOINED_MIN) {
            self.dirty.sort_unstable();
            self.dirty.dedup_by(|(key, _, last), (known, _, known_last)| {
                let is_same = key == known;
                if is_same {
                    *known_last = (*last).max(*known_last);
                }
                is_same
            });
            self.join_dirty_at = 2 * self.dirty.len();
        }
    }

    fn insert(&mut self, key: K, hash: u64, line: Line) {
        let run = Run { first: line.first, last: line.first, lines: RunLines::One(line) };
        let place = self.keyed.len();
        self.mark_dirty(key, run.first);
        let due = second_of(run.last.plus_ticks(self.gap_ticks));
        self.keyed.push(Keyed { key, runs: Runs::One(run), due });
        let rehash = |&at: &u32| key_hash(&self.keyed[at as usize].key);
        self.index.insert_unique(hash, place as u32, rehash);
        self.due.entry(due).or_default().push(key);
        self.run_count += 1;
    }

    fn join(&mut self, place: usize, line: Line, patterns: &mut Patterns, order: &LineOrder<'_>) {
        let run = Run { first: line.first, last: line.first, lines: RunLines::One(line) };
        let Keyed { key, runs, due } = &mut self.keyed[place];
        let end = second_of(run.last.plus_ticks(self.gap_ticks));
        if end < *due {
            *due = end;
            self.due.entry(end).or_default().push(*key);
        }
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

    /// Every key with its runs, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (K, &[Run])> {
        self.keyed.iter().map(|keyed| (keyed.key, keyed.runs.as_slice()))
    }

    /// Keys with observations since the last call, and spans with the times of these, in order.
    pub fn take_dirty(&mut self) -> Vec<(K, EventTime, EventTime)> {
        self.join_dirty_at = DIRTY_JOINED_MIN;
        let mut dirty = std::mem::take(&mut self.dirty);
        dirty.sort_unstable();
        dirty.dedup();
        dirty
    }

    /// When the next key is due; [`EventTime::MAX`]: none is.
    pub fn next_due(&self) -> EventTime {
        let second = self.due.first_key_value().map_or(u64::MAX, |(second, _)| *second);
        EventTime(second.saturating_mul(TICKS_PER_SEC))
    }

    /// The keys of which a session may close or be forgotten at `watermark`. Each has to be
    /// scheduled anew.
    pub fn take_due(&mut self, watermark: EventTime) -> Vec<K> {
        let mut keys = Vec::new();
        while let Some(entry) = self.due.first_entry()
            && entry.key().saturating_mul(TICKS_PER_SEC) <= watermark.0
        {
            let (second, of_second) = entry.remove_entry();
            let is_current =
                |key: &K| self.place(*key).is_some_and(|at| self.keyed[at].due == second);
            keys.extend(of_second.into_iter().filter(is_current));
        }
        keys
    }

    /// Sets the timer of a key, if it has runs, to the next time after `watermark` at which a
    /// session of these may close or be forgotten.
    pub fn schedule(&mut self, key: K, watermark: EventTime) {
        if let Some(at) = self.place(key) {
            self.schedule_at(at, watermark);
        }
    }

    fn schedule_at(&mut self, at: usize, watermark: EventTime) {
        let Keyed { key, runs, due } = &mut self.keyed[at];
        let next = runs.as_slice().iter().map(|run| {
            let end = run.last.plus_ticks(self.gap_ticks);
            if end > watermark { end } else { end.plus_ticks(self.known_ticks) }
        });
        let mut next = next.min().unwrap_or(EventTime::MAX);
        if next <= watermark {
            // It is kept although its time has come: for a spray that goes on.
            next = watermark.plus_ticks(self.gap_ticks.max(TICKS_PER_SEC));
        }
        let second = second_of(next);
        *due = second;
        self.due.entry(second).or_default().push(*key);
    }

    /// Drops the runs of a key for which `gone` holds.
    pub fn remove(&mut self, key: K, mut gone: impl FnMut(&Run) -> bool) {
        let Some(at) = self.place(key) else { return };
        let before = self.keyed[at].runs.as_slice().len();
        let left = match &mut self.keyed[at].runs {
            Runs::One(run) => usize::from(!gone(run)),
            Runs::Many(many) => {
                many.retain(|run| !gone(run));
                many.len()
            }
        };
        self.run_count = self.run_count + left - before;
        if left > 0 {
            return;
        }
        let of_key = |&known: &u32| known as usize == at;
        if let Ok(found) = self.index.find_entry(key_hash(&key), of_key) {
            found.remove();
        }
        self.keyed.swap_remove(at);
        if let Some(moved) = self.keyed.get(at) {
            let hash = key_hash(&moved.key);
            let from = self.keyed.len();
            if let Some(place) = self.index.find_mut(hash, |&known| known as usize == from) {
                *place = at as u32;
            }
        }
        if self.keyed.len() < self.keyed.capacity() / 4 {
            self.keyed.shrink_to(self.keyed.capacity() / 2);
            let rehash = |&at: &u32| key_hash(&self.keyed[at as usize].key);
            self.index.shrink_to(self.keyed.capacity(), rehash);
        }
    }
}

/// The first second that is not before a time.
fn second_of(time: EventTime) -> u64 {
    time.0.div_ceil(TICKS_PER_SEC)
}

fn key_hash(key: &impl Hash) -> u64 {
    let mut hasher = FxHasher::default();
    key.hash(&mut hasher);
    hasher.finish()
}

/// Whether two runs of one key are one: in one hour, and without a gap.
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
            RunLines::One(line) => self.absorb_line(line, patterns, order),
            RunLines::Many(lines) => {
                lines.into_iter().for_each(|line| self.absorb_line(line, patterns, order));
            }
        }
    }

    fn absorb_line(&mut self, line: Line, patterns: &mut Patterns, order: &LineOrder<'_>) {
        match &mut self.lines {
            RunLines::One(known) if known.same(&line) => known.absorb(&line),
            RunLines::One(known) => {
                let mut lines = Vec::with_capacity(LINES_AT_FIRST);
                lines.extend([known.clone(), line]);
                self.lines = RunLines::Many(lines);
            }
            RunLines::Many(lines) => {
                if add_line(lines, line) && fine_count(lines) > LINES_PER_RUN_MAX {
                    coarsen_last(lines, patterns, order);
                }
            }
        }
    }
}

/// Counts a line with the one that it is the same as; whether there was none.
fn add_line(lines: &mut Vec<Line>, line: Line) -> bool {
    let known = lines.iter_mut().find(|known| known.same(&line));
    let is_new = known.is_none();
    match known {
        Some(known) => known.absorb(&line),
        None => lines.push(line),
    }
    is_new
}

fn is_coarse(line: &Line) -> bool {
    line.computer == Symbol::BEYOND
}

fn fine_count(lines: &[Line]) -> usize {
    if lines.len() <= LINES_PER_RUN_MAX {
        return 0;
    }
    lines.iter().filter(|line| !is_coarse(line)).count()
}

/// Removes the detail of the line that sorts last. As the lines that are kept
/// whole are always those that sort first, a line that was coarsened once would
/// be coarsened whenever it came: the result is the same in any order.
fn coarsen_last(lines: &mut Vec<Line>, patterns: &mut Patterns, order: &LineOrder<'_>) {
    let fine = lines.iter().enumerate().filter(|(_, line)| !is_coarse(line));
    let last = fine.max_by(|(_, one), (_, other)| compare_lines(one, other, patterns, order));
    let Some((at, _)) = last else { return };
    let mut line = lines.remove(at);
    line.pattern = patterns.intern(patterns.get(line.pattern).coarse());
    line.computer = Symbol::BEYOND;
    line.peer_host = Symbol::NONE;
    line.peer_ip = Address::NONE;
    line.service = Symbol::NONE;
    add_line(lines, line);
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
        .then_with(|| names.compare(one.computer, other.computer))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::state::names::Addresses;

    #[test]
    fn what_nobody_evaluates_is_kept_once_for_each_key() {
        let (names, addresses) = (Names::new(1024), Addresses::new(16));
        let order = LineOrder { names: &names, addresses: &addresses };
        let mut patterns = Patterns::new(16);
        let pattern = patterns.intern(Pattern {
            channel: Symbol::NONE,
            provider: Symbol::NONE,
            event_id: 4625,
            side: Side::Target,
            protocol: Protocol::Unknown,
            status: None,
            sub_status: None,
            reason: None,
            logon_type: None,
            category: None,
        });
        let mut sessions: Sessions<SourceKey> = Sessions::new(HOUR_TICKS, 0, 1000);
        let keys = [SourceKey::Host(Symbol::NONE), SourceKey::Host(Symbol::BEYOND)];
        let at = |second: u64| EventTime((1_000_000 + second) * TICKS_PER_SEC);
        let seconds = 4 * DIRTY_JOINED_MIN as u64;
        for second in 0..seconds {
            let line = Line {
                pattern,
                computer: Symbol::NONE,
                peer_host: Symbol::NONE,
                peer_ip: Address::NONE,
                service: Symbol::NONE,
                count: 1,
                first: at(second),
                record_id: second,
                last: at(second),
            };
            sessions.add(keys[second as usize % 2], line, &mut patterns, &order);
        }
        sessions.flush(&mut patterns, &order);
        assert!(sessions.dirty.len() <= DIRTY_JOINED_MIN, "{}", sessions.dirty.len());
        for (at_first, key) in keys.into_iter().enumerate() {
            let of_key = sessions.dirty.iter().filter(|(known, ..)| *known == key);
            let first = of_key.clone().map(|(_, first, _)| *first).min();
            let last = of_key.map(|(.., last)| *last).max();
            let expect = (at(at_first as u64), at(seconds - 2 + at_first as u64));
            assert_eq!(first.zip(last), Some(expect), "{key:?}");
        }
    }
}

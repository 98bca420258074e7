//! All tables of the detector in one value, so that its state is written and
//! read back as a whole. How that is done is the caller's business.

use std::collections::{BTreeMap, BTreeSet};

use borsh::{BorshDeserialize, BorshSerialize};
use rustc_hash::{FxHashMap, FxHashSet};

use super::fleet::hosts::Hosts;
use super::judge::duplicates::Refusals;
use super::judge::mismatches::Suspects;
use super::revisions::{EmittedRevision, SessionRevisions};
use super::settings::Settings;
use super::state::dedup::SeenRecords;
use super::state::directory::Directory;
use super::state::names::{Addresses, Names, Symbol};
use super::state::pairing::{Nearby, Trace, Windows};
use super::state::resolved::Resolved;
use super::state::sessions::{LineOrder, Patterns, Sessions, SourceKey};
use crate::sid::DomainSid;
use crate::time::{EventTime, TICKS_PER_SEC};

const MINUTE_TICKS: u64 = 60 * TICKS_PER_SEC;

/// The longest joined window of which every minute is noted: a damaged state may hold any.
const WINDOW_MINUTES_MAX: u64 = 1 << 20;

/// The detector's state. Equal calls give equal states, and equal states
/// serialise to equal bytes. Indexes, bounds and the inventory are no part of
/// the serialised form: [`Detector::restore`](super::Detector::restore) makes
/// them anew.
#[derive(Debug, BorshSerialize, BorshDeserialize)]
pub struct DetectorState {
    pub(super) names: Names,
    pub(super) addresses: Addresses,
    pub(super) patterns: Patterns,
    pub(super) seen: SeenRecords,
    pub(super) directory: Directory,
    pub(super) hosts: Hosts,
    pub(super) refusals: BTreeMap<DomainSid, Refusals>,
    pub(super) suspects: Suspects,
    pub(super) group_revisions: BTreeMap<DomainSid, EmittedRevision>,
    pub(super) failure_revisions: SessionRevisions<SourceKey>,
    pub(super) mismatch_revisions: SessionRevisions<Symbol>,
    pub(super) failures: Sessions<SourceKey>,
    pub(super) mismatches: Sessions<Symbol>,
    /// What keys of failures were resolved to, and sources that are evaluated because that changed.
    pub(super) resolved: Resolved,
    pub(super) resolved_anew: BTreeSet<SourceKey>,
    /// Whether something came that bears on sessions of mismatches.
    pub(super) mismatches_touched: bool,
    pub(super) mismatch_windows: FxHashMap<Symbol, Windows>,
    /// The minutes of these windows.
    #[borsh(skip)]
    mismatch_minutes: FxHashSet<u64>,
    pub(super) traces: Nearby<Symbol, Trace>,
    pub(super) successes: Nearby<SourceKey, Symbol>,
    /// The last watermark: sessions that ended before it were closed.
    pub(super) closed_to: EventTime,
    pub(super) ingested: Ingested,
}

/// How many observations were ingested of each kind, duplicates not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Ingested {
    pub mismatches: u64,
    pub failures: u64,
    pub successes: u64,
    pub facts: u64,
    /// Records that had come before.
    pub duplicates: u64,
    /// Failures and mismatches left out because their session had been closed
    /// and forgotten.
    pub late: u64,
}

/// The last channel and provider: most records repeat them.
#[derive(Debug, Default)]
pub(super) struct Memo([Option<(Box<str>, Symbol)>; 2]);

impl Memo {
    pub(super) fn intern(&mut self, slot: usize, text: &str, names: &mut Names) -> Symbol {
        match &self.0[slot] {
            Some((known, symbol)) if **known == *text => *symbol,
            _ => {
                let symbol = names.intern(text);
                self.0[slot] = Some((text.into(), symbol));
                symbol
            }
        }
    }
}

/// Why a restored state cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the saved state cannot be read: {0}")]
pub struct MalformedState(pub(super) &'static str);

impl DetectorState {
    pub(super) fn new(settings: &Settings) -> DetectorState {
        let (bounds, gap) = (&settings.bounds, settings.session_gap_ticks);
        DetectorState {
            names: Names::new(bounds.names_bytes),
            addresses: Addresses::new(bounds.addresses),
            patterns: Patterns::new(bounds.patterns),
            seen: SeenRecords::new(bounds.seen_records),
            directory: Directory::new(bounds.accounts),
            hosts: Hosts::new(bounds.hosts, bounds.addresses),
            refusals: BTreeMap::new(),
            suspects: Suspects::new(),
            group_revisions: BTreeMap::new(),
            failure_revisions: SessionRevisions::new(),
            mismatch_revisions: SessionRevisions::new(),
            failures: Sessions::new(gap, settings.known_ticks, bounds.open_runs),
            mismatches: Sessions::new(gap, settings.known_ticks, bounds.open_runs),
            resolved: Resolved::default(),
            resolved_anew: BTreeSet::new(),
            mismatches_touched: false,
            mismatch_windows: FxHashMap::default(),
            mismatch_minutes: FxHashSet::default(),
            traces: Nearby::new(bounds.nearby),
            successes: Nearby::new(bounds.nearby),
            closed_to: EventTime::MIN,
            ingested: Ingested::default(),
        }
    }

    /// Adds a mismatch on a host, with a window of time on both sides.
    pub(super) fn add_mismatch_window(&mut self, host: Symbol, time: EventTime, ticks: u64) {
        self.mismatch_windows.entry(host).or_default().add(time, ticks);
        self.note_window((time.minus_ticks(ticks), time.plus_ticks(ticks)));
    }

    /// Whether there is a mismatch on any host near that time.
    pub(super) fn is_near_mismatch(&self, time: EventTime) -> bool {
        self.mismatch_minutes.contains(&(time.0 / MINUTE_TICKS))
    }

    /// Notes the minutes of all windows anew.
    pub(super) fn note_mismatch_windows(&mut self) {
        self.mismatch_minutes.clear();
        let windows = self.mismatch_windows.values();
        let spans: Vec<_> = windows.flat_map(|windows| windows.spans()).collect();
        spans.into_iter().for_each(|span| self.note_window(span));
    }

    fn note_window(&mut self, (first, last): (EventTime, EventTime)) {
        let (first, last) = (first.0 / MINUTE_TICKS, last.0 / MINUTE_TICKS);
        self.mismatch_minutes.extend(first..=last.min(first + WINDOW_MINUTES_MAX));
    }

    /// Puts pending observations into their runs.
    pub(super) fn flush(&mut self) {
        let order = LineOrder { names: &self.names, addresses: &self.addresses };
        self.failures.flush(&mut self.patterns, &order);
        self.mismatches.flush(&mut self.patterns, &order);
    }

    /// Makes indexes and bounds anew after the tables were read back.
    pub(super) fn rebuild(&mut self, settings: &Settings) -> Result<(), MalformedState> {
        let (bounds, gap) = (&settings.bounds, settings.session_gap_ticks);
        self.names.rebuild(bounds.names_bytes)?;
        self.addresses.rebuild(bounds.addresses);
        self.patterns.rebuild(bounds.patterns);
        self.seen.rebuild(bounds.seen_records);
        self.directory.bound(bounds.accounts);
        self.hosts.rebuild(bounds.hosts, bounds.addresses);
        let (known, runs_max, closed_to) = (settings.known_ticks, bounds.open_runs, self.closed_to);
        self.failures.rebuild(gap, known, runs_max, closed_to);
        self.mismatches.rebuild(gap, known, runs_max, closed_to);
        self.traces.bound(bounds.nearby);
        self.successes.bound(bounds.nearby);
        self.resolved.rebuild();
        self.note_mismatch_windows();
        Ok(())
    }
}

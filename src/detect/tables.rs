//! All tables of the detector in one value, so that its state is written and
//! read back as a whole. How that is done is the caller's business.

use std::collections::BTreeMap;

use borsh::{BorshDeserialize, BorshSerialize};
use rustc_hash::FxHashMap;

use super::fleet::hosts::Hosts;
use super::judge::duplicates::Refusals;
use super::judge::mismatches::Suspects;
use super::revisions::{EmittedRevision, SessionRevisions};
use super::settings::Settings;
use super::state::dedup::SeenRecords;
use super::state::directory::Directory;
use super::state::names::{Addresses, Names, Symbol};
use super::state::pairing::{Nearby, Trace, Windows};
use super::state::sessions::{LineOrder, Patterns, Sessions, SourceKey};
use crate::sid::DomainSid;
use crate::time::EventTime;

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
    pub(super) mismatch_windows: FxHashMap<Symbol, Windows>,
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
            failures: Sessions::new(gap, bounds.open_runs),
            mismatches: Sessions::new(gap, bounds.open_runs),
            mismatch_windows: FxHashMap::default(),
            traces: Nearby::new(bounds.nearby),
            successes: Nearby::new(bounds.nearby),
            closed_to: EventTime::MIN,
            ingested: Ingested::default(),
        }
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
        self.failures.rebuild(gap, bounds.open_runs);
        self.mismatches.rebuild(gap, bounds.open_runs);
        self.traces.bound(bounds.nearby);
        self.successes.bound(bounds.nearby);
        Ok(())
    }
}

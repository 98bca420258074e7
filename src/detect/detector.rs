//! The detector's two calls, and what is asked of it between them.

use std::collections::{BTreeMap, BTreeSet};

use super::evaluated::Evaluated;
use super::findings::Finding;
use super::fleet::twins::Fleet;
use super::revisions::News;
use super::settings::Settings;
use super::sprays::Sprays;
use super::state::names::{Names, Symbol};
use super::state::sessions::{HOUR_TICKS, SourceKey};
use super::tables::{DetectorState, Ingested, MalformedState, Memo};
use crate::observation::{ListedHost, Observation};
use crate::sid::DomainSid;
use crate::time::{EventTime, TICKS_PER_SEC};

/// Things that may be given up because a bound was reached.
pub const OVER_BOUNDS: usize = 7;

/// Observations of one stage: enough for the processor to have work while it
/// waits for memory, few enough to stay in its cache.
const STAGED_MAX: usize = 256;

#[derive(Debug)]
pub struct Detector {
    pub(super) settings: Settings,
    pub(super) state: DetectorState,
    pub(super) inventory: Vec<(Symbol, ListedHost)>,
    pub(super) memo: Memo,
    /// Short names of computers, by the index of the symbol.
    pub(super) short_hosts: Vec<Option<Symbol>>,
    /// What follows of the facts, until others are learnt.
    concluded: Option<Concluded>,
    /// Groups that the last evaluation of mismatches found refusals of.
    pub(super) refused: BTreeSet<DomainSid>,
    pub(super) evaluated: Evaluated,
    /// `None` until it is made of the sessions.
    pub(super) sprays: Option<Sprays>,
    /// Records that were late, by the computer that wrote them, since somebody asked.
    pub(super) late_hosts: BTreeMap<Symbol, u64>,
}

/// How often something was learnt that matters, of each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Generations {
    hosts: u64,
    addresses: u64,
    accounts: u64,
}

/// What followed of the facts when they were at these generations.
#[derive(Debug)]
struct Concluded {
    fleet: Fleet,
    of: Generations,
    /// Whether the groups of this fleet were evaluated.
    is_evaluated: bool,
}

impl Detector {
    pub fn new(settings: Settings) -> Detector {
        Detector::with_state(DetectorState::new(&settings), settings)
    }

    fn with_state(state: DetectorState, settings: Settings) -> Detector {
        Detector {
            settings,
            state,
            inventory: Vec::new(),
            memo: Memo::default(),
            short_hosts: Vec::new(),
            concluded: None,
            refused: BTreeSet::new(),
            evaluated: Evaluated::default(),
            sprays: None,
            late_hosts: BTreeMap::new(),
        }
    }

    pub fn ingest(&mut self, observations: &[Observation]) {
        observations.chunks(STAGED_MAX).for_each(|batch| self.ingest_staged(batch));
    }

    /// Appends what is news, by first time and id: findings that are new, that
    /// have changed so that a person would act on it, and that are closed because
    /// nothing from before `watermark` can come any more. [`EventTime::MAX`]
    /// closes everything.
    pub fn advance(&mut self, watermark: EventTime, findings: &mut Vec<Finding>) {
        if watermark != EventTime::MAX {
            self.conclude();
        }
        self.advance_concluded(watermark, findings);
    }

    /// Works out anew what follows of the facts, if any came that matter: costs what is known.
    /// [`Detector::advance`] begins with it.
    pub fn conclude(&mut self) {
        if self.is_concluded() {
            return;
        }
        self.state.mismatches_touched = true;
        let of = self.generations();
        let known = self.concluded.take().filter(|known| known.of.hosts == of.hosts);
        let is_resolved = known.as_ref().is_some_and(|known| known.of.accounts == of.accounts);
        let (fleet, is_evaluated) = match known {
            Some(known) => (known.fleet, known.is_evaluated),
            None => {
                let fleet = self.fleet();
                self.state.hosts.watch_former(fleet.former_names());
                (fleet, false)
            }
        };
        if !is_resolved {
            self.state.flush();
            self.resolve_anew(&fleet);
        }
        self.concluded = Some(Concluded { fleet, of, is_evaluated });
    }

    /// Whether [`Detector::conclude`] would work out nothing.
    pub fn is_concluded(&self) -> bool {
        self.concluded.as_ref().is_some_and(|known| known.of == self.generations())
    }

    fn generations(&self) -> Generations {
        Generations {
            hosts: self.state.hosts.generation(),
            addresses: self.state.hosts.address_generation(),
            accounts: self.state.directory.generation(),
        }
    }

    /// As [`Detector::advance`], with the fleet as it was concluded last: costs what changed.
    pub fn advance_concluded(&mut self, watermark: EventTime, findings: &mut Vec<Finding>) {
        let is_end = watermark == EventTime::MAX;
        let news = if is_end { News::AnyChange } else { News::Acted };
        self.evaluate(watermark, news, findings);
    }

    /// As [`Detector::advance`], for somebody who will not hear more for a while: also what was
    /// emitted and has changed in its numbers alone.
    pub fn advance_to_pause(&mut self, watermark: EventTime, findings: &mut Vec<Finding>) {
        self.conclude();
        self.evaluate(watermark, News::AnyChange, findings);
    }

    fn evaluate(&mut self, watermark: EventTime, news: News, findings: &mut Vec<Finding>) {
        // Timers run by the second: what closes between two of them would be past when its own runs.
        let watermark = match watermark {
            EventTime::MAX => EventTime::MAX,
            EventTime(ticks) => EventTime(ticks - ticks % TICKS_PER_SEC),
        };
        if watermark == EventTime::MAX {
            self.concluded = None;
        }
        if self.concluded.is_none() {
            self.conclude();
        }
        let Some(mut concluded) = self.concluded.take() else { return };
        let from = findings.len();
        self.evaluated.clear();
        self.state.failure_revisions.forget_changes();
        self.state.mismatch_revisions.forget_changes();
        self.state.flush();
        self.state.traces.trim();
        self.state.successes.trim();
        if !self.state.mismatch_windows.is_empty() {
            self.state.traces.settle();
        }
        let fleet = &concluded.fleet;
        let mismatches = self.emit_mismatches(fleet, watermark, news, findings);
        self.emit_failures(fleet, watermark, news, findings);
        let is_other_fleet = !concluded.is_evaluated;
        self.emit_groups(fleet, is_other_fleet, mismatches, news, findings);
        concluded.is_evaluated = true;
        self.concluded = Some(concluded);
        findings[from..].sort_by_key(|finding| (finding.first_seen, finding.id));
        // The largest time stands for the end, not for a time that was reached.
        if watermark != EventTime::MAX {
            self.evict(watermark);
        }
    }

    /// The watermark, or at the end the last one before it.
    pub(super) fn reached(&self, watermark: EventTime) -> EventTime {
        if watermark == EventTime::MAX { self.state.closed_to } else { watermark }
    }

    /// From which watermark on an evaluation closes or forgets something;
    /// [`EventTime::MAX`]: none does.
    pub fn next_due(&self) -> EventTime {
        self.state.failures.next_due().min(self.state.mismatches.next_due())
    }

    /// The computers of records that were late, and how many of each, since the last call.
    pub fn take_late_hosts(&mut self) -> Vec<(Box<str>, u64)> {
        let late = std::mem::take(&mut self.late_hosts).into_iter();
        late.map(|(host, records)| (self.state.names.text(host).into(), records)).collect()
    }

    /// Sessions that were judged since the detector was made.
    pub fn judged(&self) -> u64 {
        self.evaluated.sessions
    }

    /// Evicts what can no longer change, by the hour.
    pub(super) fn evict(&mut self, watermark: EventTime) {
        let state = &mut self.state;
        let before = state.closed_to;
        state.closed_to = watermark.max(state.closed_to);
        let keep_from = |watermark: EventTime| {
            watermark
                .minus_ticks(self.settings.session_max_ticks)
                .minus_ticks(self.settings.session_gap_ticks)
                .minus_ticks(self.settings.known_ticks)
        };
        let (before, keep_from) = (keep_from(before), keep_from(state.closed_to));
        if before.0 / HOUR_TICKS == keep_from.0 / HOUR_TICKS {
            return;
        }
        state.seen.forget_before(keep_from);
        state.traces.forget_before(keep_from);
        state.successes.forget_before(keep_from);
        state.mismatch_windows.retain(|_, windows| {
            windows.forget_before(keep_from);
            !windows.is_empty()
        });
        state.note_mismatch_windows();
        // Spans of time have grown meanwhile; whatever followed of them is worked out anew.
        self.concluded = None;
        self.sprays = None;
    }

    /// The whole state, for [`Detector::restore`]. The same calls give the same
    /// state.
    pub fn state(&mut self) -> &DetectorState {
        self.state.flush();
        &self.state
    }

    /// [`Detector::state`], of a detector that is no longer needed.
    pub fn into_state(mut self) -> DetectorState {
        self.state.flush();
        self.state
    }

    /// The detector with this state, and with these settings from now on.
    /// Without an inventory: that is read anew.
    pub fn restore(
        settings: Settings,
        mut state: DetectorState,
    ) -> Result<Detector, MalformedState> {
        state.rebuild(&settings)?;
        Ok(Detector::with_state(state, settings))
    }

    /// The next evaluation judges everything: other settings may lead to other findings.
    pub fn touch_everything(&mut self) {
        self.state.flush();
        let keys: Vec<SourceKey> = self.state.failures.iter().map(|(key, _)| key).collect();
        for key in keys {
            self.state.resolved_anew.extend(self.state.resolved.sources(key));
        }
        self.state.mismatches_touched = true;
        self.concluded = None;
    }

    pub fn ingested(&self) -> Ingested {
        self.state.ingested
    }

    /// Failures and mismatches beyond `open_runs`: counted, and not kept apart.
    pub fn folded(&self) -> u64 {
        self.state.failures.beyond() + self.state.mismatches.beyond()
    }

    /// What was given up because a bound was reached, by name: nothing in a
    /// run that stays within its bounds.
    pub fn over_bounds(&self) -> [(&'static str, u64); OVER_BOUNDS] {
        let state = &self.state;
        [
            (
                "failures and mismatches beyond `open_runs`",
                state.failures.beyond() + state.mismatches.beyond(),
            ),
            ("records forgotten beyond `seen_records`", state.seen.forgotten()),
            (
                "facts beyond `accounts`, `hosts` or `addresses`",
                state.directory.refused() + state.hosts.refused(),
            ),
            (
                "failures and successes beyond `nearby`",
                state.traces.dropped() + state.successes.dropped(),
            ),
            ("names beyond `names_mib`", state.names.beyond()),
            ("addresses beyond `addresses`", state.addresses.beyond()),
            ("combinations beyond `patterns`", state.patterns.beyond()),
        ]
    }

    /// Sources with an open session.
    pub fn open_keys(&mut self) -> usize {
        self.state.flush();
        self.state.failures.key_count() + self.state.mismatches.key_count()
    }

    /// Takes in known hosts in place of those of an earlier call. What an
    /// inventory says of a host wins over events.
    pub fn learn_inventory(&mut self, inventory: Vec<ListedHost>) {
        self.concluded = None;
        self.inventory.clear();
        self.state.hosts.clear_listed();
        for entry in inventory {
            let host = self.state.names.intern(&entry.host);
            for ip in &entry.ips {
                self.state.hosts.list_address(*ip, host);
            }
            self.inventory.push((host, entry));
        }
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The inventory as it was taken in.
    pub fn inventory(&self) -> impl Iterator<Item = &ListedHost> {
        self.inventory.iter().map(|(_, entry)| entry)
    }

    /// What follows by now of the fleet's hosts.
    pub fn fleet(&self) -> Fleet {
        Fleet::new(&self.state.hosts, &self.state.names, &self.inventory)
    }

    pub fn names(&self) -> &Names {
        &self.state.names
    }
}

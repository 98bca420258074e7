//! The detector's two calls, and what is asked of it between them.

use super::findings::Finding;
use super::fleet::twins::Fleet;
use super::settings::Settings;
use super::state::names::{Names, Symbol};
use super::tables::{DetectorState, Ingested, MalformedState, Memo};
use crate::observation::{ListedHost, Observation};
use crate::time::EventTime;

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
}

impl Detector {
    pub fn new(settings: Settings) -> Detector {
        Detector::with_state(DetectorState::new(&settings), settings)
    }

    fn with_state(state: DetectorState, settings: Settings) -> Detector {
        let (inventory, memo, short_hosts) = (Vec::new(), Memo::default(), Vec::new());
        Detector { settings, state, inventory, memo, short_hosts }
    }

    pub fn ingest(&mut self, observations: &[Observation]) {
        observations.chunks(STAGED_MAX).for_each(|batch| self.ingest_staged(batch));
    }

    /// Appends what is news, by first time and id: findings that are new, that
    /// have changed so that a person would act on it, and that are closed because
    /// nothing from before `watermark` can come any more. [`EventTime::MAX`]
    /// closes everything.
    pub fn advance(&mut self, watermark: EventTime, findings: &mut Vec<Finding>) {
        let from = findings.len();
        self.state.flush();
        self.state.traces.settle();
        self.state.successes.settle();
        let fleet = self.fleet();
        let mismatches = self.emit_mismatches(&fleet, watermark, findings);
        self.emit_failures(&fleet, watermark, findings);
        self.emit_groups(&fleet, mismatches, watermark, findings);
        findings[from..].sort_by_key(|finding| (finding.first_seen, finding.id));
        // The largest time stands for the end, not for a time that was reached.
        if watermark != EventTime::MAX {
            self.evict(watermark);
        }
    }

    /// Evicts what can no longer change.
    fn evict(&mut self, watermark: EventTime) {
        let state = &mut self.state;
        state.closed_to = watermark.max(state.closed_to);
        let keep_from = watermark
            .minus_ticks(self.settings.session_max_ticks)
            .minus_ticks(self.settings.session_gap_ticks)
            .minus_ticks(self.settings.known_ticks);
        state.seen.forget_before(keep_from);
        state.traces.forget_before(keep_from);
        state.successes.forget_before(keep_from);
        state.mismatch_windows.retain(|_, windows| {
            windows.forget_before(keep_from);
            !windows.is_empty()
        });
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

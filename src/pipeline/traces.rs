//! Trace contexts (W3C `traceparent`) that came with messages: an incident is
//! reported with that of one of its records. A courtesy to whoever traces the
//! pipeline: it decides nothing, and the oldest are forgotten first.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use crate::hash::stable_hash;
use crate::incident::Incident;
use crate::observation::short_host;
use crate::store::checkpoint::Traced;
use crate::time::EventTime;

/// Records whose trace context is remembered; some 150 bytes each.
const TRACES_MAX: usize = 20_000;

/// What tells records apart, whether their host is written with its domain or
/// without; `None` where there is no record id.
pub fn record_of(computer: &str, time: EventTime, record_id: u64) -> Option<u64> {
    let host = short_host(computer).to_ascii_lowercase();
    (record_id > 0).then(|| stable_hash(&(host, time.0, record_id)))
}

#[derive(Debug, Default)]
pub struct Traces {
    by_record: FxHashMap<u64, Box<str>>,
    /// As they came.
    order: VecDeque<u64>,
}

impl Traces {
    pub fn remember(&mut self, traced: &[Traced]) {
        for Traced { record, traceparent } in traced {
            if self.by_record.insert(*record, traceparent.clone()).is_none() {
                self.order.push_back(*record);
            }
            if self.order.len() > TRACES_MAX
                && let Some(oldest) = self.order.pop_front()
            {
                self.by_record.remove(&oldest);
            }
        }
    }

    /// That of the last of an incident's records that has one.
    pub fn of(&self, incident: &Incident) -> Option<Box<str>> {
        let records = incident.evidence.iter().rev();
        let mut records = records.filter_map(|of| record_of(&of.computer, of.time, of.record_id));
        records.find_map(|record| self.by_record.get(&record).cloned())
    }

    pub fn all(&self) -> Vec<Traced> {
        let traced = |record: &u64| {
            let traceparent = self.by_record.get(record)?.clone();
            Some(Traced { record: *record, traceparent })
        };
        self.order.iter().filter_map(traced).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_its_hosts_however_that_is_written() {
        let record = |computer, id| record_of(computer, EventTime(7), id);
        assert_eq!(record("PC1.corp.example", 5), record("pc1", 5));
        assert_ne!(record("PC1", 5), record("PC2", 5));
        assert_ne!(record("PC1", 5), record("PC1", 6));
        assert_eq!(record("PC1", 0), None);
    }

    #[test]
    fn the_oldest_are_forgotten_and_the_rest_outlives_a_restart() {
        let traced = |record: u64| Traced { record, traceparent: format!("{record}").into() };
        let mut traces = Traces::default();
        let many: Vec<Traced> = (0..TRACES_MAX as u64 + 5).map(traced).collect();
        traces.remember(&many);
        traces.remember(&many[TRACES_MAX..]);
        assert_eq!(traces.all(), many[5..]);
        assert_eq!(traces.by_record.len(), TRACES_MAX);
    }
}

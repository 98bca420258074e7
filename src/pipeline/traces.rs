//! Trace contexts (W3C `traceparent`) that came with messages: an incident is
//! told with that of one of its records. A courtesy to whoever traces the
//! pipeline: it decides nothing, and the oldest are forgotten first.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use crate::checkpoint::Traced;
use crate::event::EventTime;
use crate::incident::Incident;

/// Records whose trace context is remembered; some 150 bytes each.
const TRACES_MAX: usize = 20_000;

#[derive(Debug, Default)]
pub struct Traces {
    by_record: FxHashMap<(EventTime, u64), Box<str>>,
    /// As they came.
    order: VecDeque<(EventTime, u64)>,
}

impl Traces {
    pub fn remember(&mut self, traced: &[Traced]) {
        for Traced { time, record_id, traceparent } in traced {
            let record = (*time, *record_id);
            if self.by_record.insert(record, traceparent.clone()).is_none() {
                self.order.push_back(record);
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
        let mut records = incident.evidence.iter().rev().map(|of| (of.time, of.record_id));
        records.find_map(|record| self.by_record.get(&record).cloned())
    }

    pub fn all(&self) -> Vec<Traced> {
        let traced = |record: &(EventTime, u64)| {
            let traceparent = self.by_record.get(record)?.clone();
            Some(Traced { time: record.0, record_id: record.1, traceparent })
        };
        self.order.iter().filter_map(traced).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_forgotten_and_the_rest_outlives_a_restart() {
        let traced = |number: u64| Traced {
            time: EventTime(number),
            record_id: number,
            traceparent: format!("{number}").into(),
        };
        let mut traces = Traces::default();
        let many: Vec<Traced> = (0..TRACES_MAX as u64 + 5).map(traced).collect();
        traces.remember(&many);
        traces.remember(&many[TRACES_MAX..]);
        assert_eq!(traces.all(), many[5..]);
        assert_eq!(traces.by_record.len(), TRACES_MAX);
    }
}

//! The connections that there are: who gets a place, and who has to leave.
//!
//! A connection is idle since its last whole event, or since an event began of which only a part
//! came: a peer that sends a byte now and then is as idle as one that sends nothing. One that waits
//! for room in the queue is not idle.
//!
//! | at the bound of | happens |
//! |---|---|
//! | connections | the one that is idle longest leaves, if that is long enough; else the newcomer is refused |
//! | bytes of parts of events | the one that holds most leaves |

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tracing::warn;

use super::Limits;

/// Between two warnings of one kind.
const WARN_INTERVAL: Duration = Duration::from_secs(60);

/// All connections of one listener.
#[derive(Debug)]
pub(super) struct Connections {
    limits: Limits,
    /// The listener, as it is called in messages.
    name: Arc<str>,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    taken: HashMap<u64, SeatEntry>,
    next_id: u64,
    /// The sum over all.
    partial_bytes: usize,
    /// Before this nobody is idle for long enough: no need to search.
    none_idle_before: Option<Instant>,
    counts: ConnectionCounts,
    warnings: Warnings,
}

/// Connections that were not kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionCounts {
    /// Closed at once, as all places were taken.
    pub refused: u64,
    /// Closed for a newcomer, as they were idle longest.
    pub evicted: u64,
    /// Closed within an event, as all connections together held too much of unfinished events.
    pub cut_off: u64,
}

#[derive(Debug, Default)]
struct Warnings {
    refused: Occasional,
    evicted: Occasional,
    cut_off: Occasional,
}

/// A place that is taken.
#[derive(Debug)]
struct SeatEntry {
    /// `None`: it waits for room in the queue.
    idle_since: Option<Instant>,
    partial_bytes: usize,
    leave: Arc<Notify>,
}

/// The place of one connection; it is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    connections: Arc<Connections>,
    id: u64,
    leave: Arc<Notify>,
}

/// Whether a connection still has its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SeatState {
    Kept,
    Lost,
}

/// What was read of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Received {
    Nothing,
    /// Some of an event.
    Part,
    /// One or more events, whole.
    Whole,
}

impl Connections {
    pub(super) fn new(limits: Limits, name: Arc<str>) -> Connections {
        Connections { limits, name, table: Mutex::default() }
    }

    pub(super) fn counts(&self) -> ConnectionCounts {
        self.lock().counts
    }

    /// A place for a newcomer; `None` when it is refused.
    pub(super) fn admit(self: &Arc<Self>, now: Instant) -> Option<Seat> {
        let max = self.limits.connections;
        let mut table = self.lock();
        if table.taken.len() >= max {
            let Some(id) = table.idlest(now, self.limits.idle_min) else {
                table.counts.refused += 1;
                let refused = table.counts.refused;
                if table.warnings.refused.is_due(now) {
                    warn!(
                        listener = &*self.name,
                        refused,
                        "a connection was refused: all {max} are in use; let fewer peers connect, \
                         put a relay before them, or listen on one more address"
                    );
                }
                return None;
            };
            table.evict(id);
            table.counts.evicted += 1;
            let evicted = table.counts.evicted;
            if table.warnings.evicted.is_due(now) {
                warn!(
                    listener = &*self.name,
                    evicted,
                    "the connection that was idle longest was closed for a new one: all {max} are \
                     in use; if they are not your senders', close the port to others or ask for \
                     client certificates"
                );
            }
        }
        let id = table.next_id;
        table.next_id += 1;
        let leave = Arc::new(Notify::new());
        let entry =
            SeatEntry { idle_since: Some(now), partial_bytes: 0, leave: Arc::clone(&leave) };
        table.taken.insert(id, entry);
        Some(Seat { connections: Arc::clone(self), id, leave })
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // Nothing is done under the lock that could leave a half of it.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Who is idle longest, and for at least `min`.
    fn idlest(&mut self, now: Instant, min: Duration) -> Option<u64> {
        if self.none_idle_before.is_some_and(|instant| now < instant) {
            return None;
        }
        let idle = self.taken.iter().filter_map(|(id, taken)| Some((taken.idle_since?, *id)));
        let (since, id) = match idle.min() {
            Some(idlest) => idlest,
            None => {
                self.none_idle_before = Some(now + min);
                return None;
            }
        };
        // Whoever comes, sends or no longer waits is idle from then on: nobody becomes idle earlier.
        self.none_idle_before = Some(since + min);
        (now >= since + min).then_some(id)
    }

    fn evict(&mut self, id: u64) {
        if let Some(taken) = self.remove(id) {
            taken.leave.notify_one();
        }
    }

    fn remove(&mut self, id: u64) -> Option<SeatEntry> {
        let taken = self.taken.remove(&id)?;
        self.partial_bytes -= taken.partial_bytes;
        Some(taken)
    }
}

impl Seat {
    /// The connection waits for room in the queue.
    pub(super) fn waits_for_room(&self) {
        if let Some(taken) = self.connections.lock().taken.get_mut(&self.id) {
            taken.idle_since = None;
        }
    }

    /// Something was read, or there was room and nothing to read; `partial_bytes` wait for the rest of their
    /// event.
    pub(super) fn received(&self, what: Received, partial_bytes: usize, now: Instant) -> SeatState {
        let mut table = self.connections.lock();
        let Some(taken) = table.taken.get_mut(&self.id) else { return SeatState::Lost };
        let before = std::mem::replace(&mut taken.partial_bytes, partial_bytes);
        let begins = what == Received::Whole || before == 0 && partial_bytes > 0;
        if begins || taken.idle_since.is_none() {
            taken.idle_since = Some(now);
        }
        table.partial_bytes = table.partial_bytes - before + partial_bytes;
        let max = self.connections.limits.partial_bytes;
        while table.partial_bytes > max {
            let largest = table.taken.iter().max_by_key(|(_, taken)| taken.partial_bytes);
            let Some((&id, _)) = largest else { break };
            table.evict(id);
            table.counts.cut_off += 1;
            let cut_off = table.counts.cut_off;
            if table.warnings.cut_off.is_due(now) {
                warn!(
                    listener = &*self.connections.name,
                    cut_off,
                    "a connection was closed within an event, as it held most of {max} bytes of \
                     unfinished events; check that peers end each event with a line end"
                );
            }
        }
        if table.taken.contains_key(&self.id) { SeatState::Kept } else { SeatState::Lost }
    }

    /// Waits until the connection has to leave.
    pub(super) async fn evicted(&self) {
        self.leave.notified().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.connections.lock().remove(self.id);
    }
}

/// Something that is worth a warning now and then, not each time.
#[derive(Debug, Default)]
pub(super) struct Occasional {
    last: Option<Instant>,
}

impl Occasional {
    /// Whether it is time for a warning, which is then taken as given.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        let due = self.last.is_none_or(|last| now.duration_since(last) >= WARN_INTERVAL);
        if due {
            self.last = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::super::LIMITS;
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn connections(limits: Limits) -> Arc<Connections> {
        Arc::new(Connections::new(limits, "listener".into()))
    }

    /// Two places, and ten seconds without an event are idle.
    fn two_places() -> (Arc<Connections>, Instant) {
        (connections(Limits { connections: 2, idle_min: SECOND * 10, ..LIMITS }), Instant::now())
    }

    /// Sends nothing: asks whether it still has its place.
    fn place(seat: &Seat, now: Instant) -> SeatState {
        seat.received(Received::Nothing, 0, now)
    }

    #[test]
    fn a_place_is_free_again_when_its_connection_ends() {
        let (connections, begin) = two_places();
        let first = connections.admit(begin).expect("the first");
        let _second = connections.admit(begin).expect("the second");
        assert!(connections.admit(begin).is_none());
        drop(first);
        assert!(connections.admit(begin).is_some());
        assert_eq!(connections.counts().refused, 1);
    }

    #[test]
    fn only_who_is_idle_long_enough_leaves_and_the_idlest_first() {
        let (connections, begin) = two_places();
        let first = connections.admit(begin).expect("the first");
        let second = connections.admit(begin + SECOND).expect("the second");
        first.received(Received::Whole, 0, begin + SECOND * 2);
        assert!(connections.admit(begin + SECOND * 10).is_none());
        let third = connections.admit(begin + SECOND * 11).expect("the second is idle");
        assert_eq!(place(&second, begin + SECOND * 11), SeatState::Lost);
        assert_eq!(place(&first, begin + SECOND * 11), SeatState::Kept);
        let _fourth = connections.admit(begin + SECOND * 12).expect("the first is idle");
        assert_eq!(place(&first, begin + SECOND * 12), SeatState::Lost);
        assert_eq!(place(&third, begin + SECOND * 12), SeatState::Kept);
        assert_eq!(connections.counts(), ConnectionCounts { refused: 1, evicted: 2, cut_off: 0 });
    }

    #[test]
    fn an_event_that_begins_keeps_a_place_and_one_that_grows_does_not() {
        let (connections, begin) = two_places();
        let first = connections.admit(begin).expect("the first");
        let second = connections.admit(begin + SECOND).expect("the second");
        first.received(Received::Part, 1, begin + SECOND * 9);
        let _third = connections.admit(begin + SECOND * 11).expect("the second is idle");
        assert_eq!(place(&second, begin + SECOND * 11), SeatState::Lost);
        // A byte each second, and never a whole event.
        for bytes in 2..=10 {
            first.received(Received::Part, bytes, begin + SECOND * (9 + bytes as u32));
        }
        let _fourth = connections.admit(begin + SECOND * 19).expect("the first counts as idle");
        assert_eq!(first.received(Received::Part, 11, begin + SECOND * 20), SeatState::Lost);
    }

    #[test]
    fn who_waits_for_the_reader_is_not_idle() {
        let (connections, begin) = two_places();
        let first = connections.admit(begin).expect("the first");
        let second = connections.admit(begin).expect("the second");
        first.waits_for_room();
        second.waits_for_room();
        assert!(connections.admit(begin + SECOND * 100).is_none());
        assert_eq!(second.received(Received::Nothing, 0, begin + SECOND * 101), SeatState::Kept);
        assert!(connections.admit(begin + SECOND * 105).is_none());
        let _third = connections.admit(begin + SECOND * 111).expect("the second is idle");
        assert_eq!(first.received(Received::Whole, 0, begin + SECOND * 111), SeatState::Kept);
    }

    #[test]
    fn the_largest_part_of_an_event_goes_when_all_hold_too_much() {
        let connections = connections(Limits { partial_bytes: 100, ..LIMITS });
        let now = Instant::now();
        let seats: Vec<Seat> =
            (0..3).map(|_| connections.admit(now).expect("there is room")).collect();
        assert_eq!(seats[0].received(Received::Part, 30, now), SeatState::Kept);
        assert_eq!(seats[1].received(Received::Part, 60, now), SeatState::Kept);
        assert_eq!(seats[2].received(Received::Part, 11, now), SeatState::Kept);
        assert_eq!(seats[1].received(Received::Part, 60, now), SeatState::Lost);
        assert_eq!(seats[0].received(Received::Part, 80, now), SeatState::Kept);
        assert_eq!(seats[0].received(Received::Part, 90, now), SeatState::Lost);
        assert_eq!(seats[2].received(Received::Part, 100, now), SeatState::Kept);
        assert_eq!(connections.counts().cut_off, 2);
    }

    #[test]
    fn a_warning_is_due_once_a_minute() {
        let (mut warning, begin) = (Occasional::default(), Instant::now());
        assert!(warning.is_due(begin));
        assert!(!warning.is_due(begin + SECOND * 59));
        assert!(warning.is_due(begin + SECOND * 60));
        assert!(!warning.is_due(begin + SECOND * 61));
    }
}

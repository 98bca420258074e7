//! The threads that decode, and the turns of one source among them.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::Scope;

use super::SharedRules;
use super::worker::{Decoded, Worker};
use crate::observation::Observation;
use crate::pipeline::rejects::KeepBytes;
use crate::pipeline::spawn;
use crate::source::Batch;

/// Batches of one source that are in flight, for each worker.
const BATCHES_PER_WORKER: usize = 2;

/// Most of them with one worker, by [`turn`].
const BATCHES_WITH_ONE: usize = BATCHES_PER_WORKER + 1;

/// The worker of a source's nth batch. Each round begins with another one: of two logs that take
/// turns, the one that costs more would always go to the same.
fn turn(nth: usize, workers: usize) -> usize {
    (nth + nth / workers) % workers
}

/// What a worker is asked for.
enum Request {
    Decode { batch: Batch, reply: SyncSender<Decoded> },
    Facts { reply: SyncSender<Vec<Observation>> },
}

/// The workers' threads; they end when this and all [`Lanes`] on it are gone.
#[derive(Debug)]
pub(crate) struct WorkerPool {
    requests: Vec<SyncSender<Request>>,
}

impl WorkerPool {
    pub(crate) fn start<'s>(
        scope: &'s Scope<'s, '_>,
        rules: &'s SharedRules,
        keep_bytes: KeepBytes,
        threads: usize,
    ) -> WorkerPool {
        let start = |number: usize| {
            let (request, requests) = sync_channel::<Request>(BATCHES_WITH_ONE);
            spawn(scope, &format!("decode {number}"), move || {
                let mut worker = Worker::new(rules, keep_bytes);
                for request in requests {
                    // A reader that is gone wants no answer.
                    match request {
                        Request::Decode { batch, reply } => {
                            let _ = reply.send(worker.decode(batch));
                        }
                        Request::Facts { reply } => {
                            let mut facts = Vec::new();
                            worker.take_facts(&mut facts);
                            let _ = reply.send(facts);
                        }
                    }
                }
            });
            request
        };
        WorkerPool { requests: (0..threads).map(start).collect() }
    }
}

/// One source's turns among the workers.
pub(crate) enum Lanes<'r> {
    /// On the thread that reads.
    Inline {
        worker: Box<Worker<'r>>,
        done: VecDeque<Decoded>,
    },
    Pool {
        lanes: Vec<Lane>,
        submitted: usize,
        taken: usize,
    },
}

/// The way to one worker and back.
pub(crate) struct Lane {
    requests: SyncSender<Request>,
    reply: SyncSender<Decoded>,
    replies: Receiver<Decoded>,
}

/// The reader holds a sender for each channel that it receives from, and workers end only when
/// no reader can ask them any more.
const ALIVE: &str = "a worker ends after its readers";

impl<'r> Lanes<'r> {
    pub(crate) fn inline(rules: &'r SharedRules, keep_bytes: KeepBytes) -> Lanes<'r> {
        let worker = Box::new(Worker::new(rules, keep_bytes));
        Lanes::Inline { worker, done: VecDeque::new() }
    }

    pub(crate) fn on(pool: &WorkerPool) -> Lanes<'r> {
        let lane = |requests: &SyncSender<Request>| {
            let (reply, replies) = sync_channel(BATCHES_WITH_ONE);
            Lane { requests: requests.clone(), reply, replies }
        };
        Lanes::Pool { lanes: pool.requests.iter().map(lane).collect(), submitted: 0, taken: 0 }
    }

    /// Batches that were submitted and not taken back.
    pub(crate) fn in_flight(&self) -> usize {
        match self {
            Lanes::Inline { done, .. } => done.len(),
            Lanes::Pool { submitted, taken, .. } => submitted - taken,
        }
    }

    /// Whether a result has to be taken before another batch is submitted.
    pub(crate) fn is_full(&self) -> bool {
        match self {
            Lanes::Inline { done, .. } => !done.is_empty(),
            Lanes::Pool { lanes, .. } => self.in_flight() >= lanes.len() * BATCHES_PER_WORKER,
        }
    }

    pub(crate) fn submit(&mut self, batch: Batch) {
        assert!(!self.is_full(), "a result is taken before more is submitted");
        match self {
            Lanes::Inline { worker, done } => done.push_back(worker.decode(batch)),
            Lanes::Pool { lanes, submitted, .. } => {
                let lane = &lanes[turn(*submitted, lanes.len())];
                let request = Request::Decode { batch, reply: lane.reply.clone() };
                lane.requests.send(request).expect(ALIVE);
                *submitted += 1;
            }
        }
    }

    /// The next result in the order of the batches, if it is there.
    pub(crate) fn try_take(&mut self) -> Option<Decoded> {
        if let Lanes::Pool { lanes, submitted, taken } = self {
            let lane = &lanes[turn(*taken, lanes.len())];
            let ready = (*submitted > *taken).then(|| lane.replies.try_recv().ok()).flatten();
            *taken += usize::from(ready.is_some());
            return ready;
        }
        self.take()
    }

    /// The next result in the order of the batches, waited for; `None` when nothing is in flight.
    pub(crate) fn take(&mut self) -> Option<Decoded> {
        match self {
            Lanes::Inline { done, .. } => done.pop_front(),
            Lanes::Pool { lanes, submitted, taken } => {
                if submitted == taken {
                    return None;
                }
                let decoded = lanes[turn(*taken, lanes.len())].replies.recv().expect(ALIVE);
                *taken += 1;
                Some(decoded)
            }
        }
    }

    /// The facts that the workers hold back, of whatever source. To be asked when nothing is in
    /// flight: then there are none left of what this source read.
    pub(crate) fn take_facts(&mut self, facts: &mut Vec<Observation>) {
        assert_eq!(self.in_flight(), 0, "facts are complete once all batches are back");
        match self {
            Lanes::Inline { worker, .. } => worker.take_facts(facts),
            Lanes::Pool { lanes, .. } => {
                let ask = |lane: &Lane| {
                    let (reply, facts) = sync_channel(1);
                    lane.requests.send(Request::Facts { reply }).expect(ALIVE);
                    facts
                };
                let replies: Vec<Receiver<Vec<Observation>>> = lanes.iter().map(ask).collect();
                for reply in replies {
                    facts.extend(reply.recv().expect(ALIVE));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_that_alternate_in_cost_are_shared_evenly_and_no_worker_has_too_many() {
        for workers in 1..=9 {
            let all: Vec<usize> = (0..workers * workers * 2).map(|n| turn(n, workers)).collect();
            for worker in 0..workers {
                let of = |parity| {
                    let batches = all.iter().enumerate().filter(|(n, _)| n % 2 == parity);
                    batches.filter(|(_, of)| **of == worker).count()
                };
                assert_eq!(of(0), of(1), "worker {worker} of {workers}");
            }
            for in_flight in all.windows(workers * BATCHES_PER_WORKER) {
                for worker in 0..workers {
                    let of_worker = in_flight.iter().filter(|of| **of == worker).count();
                    assert!(of_worker <= BATCHES_WITH_ONE, "worker {worker} of {workers}");
                }
            }
        }
    }
}

//! The bounded queue between the tasks of the connections and the thread that reads the source.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::source::Next;

/// Batches that nobody took yet, of all connections.
pub(super) const BATCHES_MAX: usize = 16;

/// Tasks wait for room, in the order in which they asked; a thread waits for what arrives.
#[derive(Debug)]
pub(super) struct ListenQueue {
    state: Mutex<QueueState>,
    /// Something arrived, or nothing will any more.
    arrived: Condvar,
    room: Semaphore,
}

#[derive(Debug, Default)]
struct QueueState {
    queue: VecDeque<Next>,
    ended: bool,
}

/// Room for one entry; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Room<'q> {
    queue: &'q ListenQueue,
    permit: SemaphorePermit<'q>,
}

impl ListenQueue {
    pub(super) fn new() -> ListenQueue {
        ListenQueue {
            state: Mutex::default(),
            arrived: Condvar::new(),
            room: Semaphore::new(BATCHES_MAX),
        }
    }

    /// `None` when the queue is full.
    pub(super) fn room_now(&self) -> Option<Room<'_>> {
        self.room.try_acquire().ok().map(|permit| Room { queue: self, permit })
    }

    /// Waits for room.
    pub(super) async fn room(&self) -> Room<'_> {
        let permit = self.room.acquire().await.expect("the semaphore is never closed");
        Room { queue: self, permit }
    }

    /// Nothing will be sent any more.
    pub(super) fn end(&self) {
        self.lock().ended = true;
        self.arrived.notify_all();
    }

    /// The next entry, waited for `wait` at the most; the end once all entries are taken.
    pub(super) fn take(&self, wait: Duration) -> Next {
        let nothing = |state: &mut QueueState| state.queue.is_empty() && !state.ended;
        let (mut state, _) = self
            .arrived
            .wait_timeout_while(self.lock(), wait, nothing)
            .unwrap_or_else(PoisonError::into_inner);
        match state.queue.pop_front() {
            Some(next) => {
                self.room.add_permits(1);
                next
            }
            None if state.ended => Next::End,
            None => Next::Idle,
        }
    }

    fn lock(&self) -> MutexGuard<'_, QueueState> {
        // Nothing is done under the lock that could leave a half of it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Room<'_> {
    pub(super) fn send(self, next: Next) {
        self.permit.forget();
        self.queue.lock().queue.push_back(next);
        self.queue.arrived.notify_one();
    }
}

#[cfg(test)]
impl ListenQueue {
    /// What is in it, taken out.
    pub(super) fn take_all(&self) -> Vec<Next> {
        std::iter::from_fn(|| match self.take(Duration::ZERO) {
            Next::Idle | Next::End => None,
            next => Some(next),
        })
        .collect()
    }

    /// Bytes of text in it.
    pub(super) fn text_bytes(&self) -> usize {
        let bytes = |next: &Next| match next {
            Next::Batch(batch) => match &batch.content {
                crate::source::Content::Text { bytes } => bytes.len(),
                other => panic!("expected text, not {other:?}"),
            },
            other => panic!("expected text, not {other:?}"),
        };
        self.lock().queue.iter().map(bytes).sum()
    }
}

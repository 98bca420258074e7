//! Clients whose end nobody waits for.

use std::fmt;
use std::ops::Deref;
use std::thread;

use rdkafka::consumer::BaseConsumer;

use super::Reports;

/// A client that ends on a thread of its own once it is dropped, or with the process: the library
/// takes a tenth of a second for that.
pub struct Detached<C: Send + 'static> {
    /// `None` only while it is dropped.
    client: Option<C>,
}

/// A consumer without a group, for questions: metadata, offsets, single records.
pub type Inspector = Detached<BaseConsumer<Reports>>;

impl<C: Send + 'static> Detached<C> {
    pub fn new(client: C) -> Detached<C> {
        Detached { client: Some(client) }
    }
}

impl<C: Send + 'static> Deref for Detached<C> {
    type Target = C;

    fn deref(&self) -> &C {
        self.client.as_ref().expect("it is not being dropped")
    }
}

impl<C: Send + 'static> Drop for Detached<C> {
    fn drop(&mut self) {
        let client = self.client.take();
        // Where no thread can be had, it ends right here.
        let _ = thread::Builder::new().name("end client".to_owned()).spawn(move || drop(client));
    }
}

impl<C: Send + 'static> fmt::Debug for Detached<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Detached").finish_non_exhaustive()
    }
}

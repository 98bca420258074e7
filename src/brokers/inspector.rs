//! A client for questions: metadata, offsets, single records. Of no group.

use std::fmt;
use std::ops::Deref;
use std::thread;

use rdkafka::consumer::BaseConsumer;

use super::Reports;

/// A consumer without a group. The library takes a tenth of a second to end one, and nobody waits
/// for that: it ends on a thread of its own, or with the process.
pub struct Inspector {
    /// `None` only while it is dropped.
    client: Option<BaseConsumer<Reports>>,
}

impl Inspector {
    pub(super) fn new(client: BaseConsumer<Reports>) -> Inspector {
        Inspector { client: Some(client) }
    }
}

impl Deref for Inspector {
    type Target = BaseConsumer<Reports>;

    fn deref(&self) -> &BaseConsumer<Reports> {
        self.client.as_ref().expect("it is not being dropped")
    }
}

impl Drop for Inspector {
    fn drop(&mut self) {
        let client = self.client.take();
        // Where no thread can be had, it is dropped right here.
        let _ = thread::Builder::new().name("drop client".to_owned()).spawn(move || drop(client));
    }
}

impl fmt::Debug for Inspector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inspector").finish_non_exhaustive()
    }
}

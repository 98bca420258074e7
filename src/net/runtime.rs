//! The runtime that everything on the network shares.

use std::io;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::runtime::{Builder, Runtime};

/// Threads on which the tasks run. They move bytes and find the ends of events; what the bytes mean
/// is decoded elsewhere, so that more threads would only take cores from the decoders.
pub const WORKER_THREADS: usize = 2;

/// The process's runtime: started by who asks first, ended when the last who asked has dropped it.
/// Must not be dropped within one of its own tasks.
pub fn shared() -> io::Result<Arc<Runtime>> {
    static SHARED: Mutex<Weak<Runtime>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(runtime) = shared.upgrade() {
        return Ok(runtime);
    }
    let mut builder = Builder::new_multi_thread();
    let builder = builder.worker_threads(WORKER_THREADS).thread_name("net");
    let runtime = Arc::new(builder.enable_all().build()?);
    *shared = Arc::downgrade(&runtime);
    Ok(runtime)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_asks_gets_the_same_runtime() {
        let first = shared().expect("threads can be started");
        assert!(Arc::ptr_eq(&first, &shared().expect("it is there")));
    }
}

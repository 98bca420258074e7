//! The only place that knows every stage, and what runs beside what.
//!
//! | module | runs |
//! |---|---|
//! | [`replay`] | archived logs: read all, then tell |
//! | [`service`] | `twinsid run`: what is configured, threads, signals |
//! | [`decode`] | batches to observations |
//! | [`correlate`] | detector and sink: take in, tell, commit |
//! | [`Counters`] | what all threads count, for the status line and the watchdog |
//! | [`traces`] | trace contexts that came with messages |
//! | [`link`] | Kafka to Kafka on several copies: collectors, and one detector |
//!
//! Plain threads and bounded channels.

pub mod correlate;
mod counters;
pub mod decode;
pub mod link;
pub mod replay;
pub mod service;
pub mod traces;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::time::EventTime;
pub use counters::Counters;

/// What the wall clock shows.
pub fn wall_clock() -> EventTime {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    EventTime::from_unix_nanos(now.as_nanos() as i128).unwrap_or(EventTime::MIN)
}

/// Asks all threads to end.
#[derive(Debug, Default)]
pub struct Stop(AtomicBool);

impl Stop {
    pub fn ask(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    pub fn is_asked(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// A thread under a name that `top -H` shows.
fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: &str,
    body: impl FnOnce() -> T + Send + 'scope,
) -> ScopedJoinHandle<'scope, T> {
    // A name with a zero in it would be refused.
    let thread = thread::Builder::new().name(name.replace('\0', " "));
    thread.spawn_scoped(scope, body).expect("a process may have some threads")
}

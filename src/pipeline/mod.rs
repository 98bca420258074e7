//! One way from source to sink, for a replay, a service and many copies of it:
//!
//! ```text
//!  source ──▶ decode ──▶ link ──▶ correlate ──▶ sink
//!             readers,   channel   detector,     memory, file,
//!             workers,   or topic  watermark,    standard output, Kafka
//!             batcher              commit
//!     ▲                                │
//!     └── committed(positions) ◀───────┘
//! ```
//!
//! | module | holds |
//! |---|---|
//! | `plan` | the only wiring: which sources, link, output, and when to emit |
//! | `decode` | raw batches to flushed batches of observations, on all cores |
//! | `rejects` | what cannot be read or decoded: counted, sampled, named |
//! | `link` | how flushed batches get from the readers to the detector |
//! | `correlate` | detector and sink: take in, emit, commit |
//! | `restore` | what a correlator begins with: what it is asked for, the state that a sink kept |
//! | `snapshots` | when a snapshot is made: by what a restart would cost |
//! | `wrong_clocks` | hosts whose clocks are wrong, said now and then |
//! | [`replay`] | start and report of a run over archived logs |
//! | [`service`] | start, reload and stop of `twinsid run` |
//! | `mode` | how long a service runs, and why it cannot |
//! | `stored` | what a service keeps between runs, shown and reset |
//! | `liveness` | the status line and the watchdog |
//! | `topics` | the Kafka topics that a service needs |
//! | `counters` | what all threads count |
//! | `traces` | trace contexts that came with messages |
//!
//! Plain threads and bounded channels.

pub(crate) mod correlate;
pub(crate) mod counters;
pub(crate) mod decode;
pub(crate) mod link;
pub(crate) mod liveness;
pub(crate) mod mode;
pub(crate) mod plan;
pub(crate) mod rejects;
pub mod replay;
pub(crate) mod restore;
pub mod service;
mod snapshots;
pub(crate) mod stored;
pub(crate) mod topics;
pub(crate) mod traces;
mod wrong_clocks;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::hash::stable_hash;
use crate::observation::short_host;
use crate::time::EventTime;

/// What the wall clock shows.
fn wall_clock() -> EventTime {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    EventTime::from_unix_nanos(now.as_nanos() as i128).unwrap_or(EventTime::MIN)
}

/// A host's name as a number, the same with its domain and without.
fn host_number(computer: &str) -> u64 {
    stable_hash(&short_host(computer).to_ascii_lowercase())
}

/// Asks all threads to end.
#[derive(Debug, Default)]
pub(crate) struct Stop(AtomicBool);

impl Stop {
    pub(crate) fn ask(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_asked(&self) -> bool {
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

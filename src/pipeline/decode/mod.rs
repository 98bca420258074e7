//! From raw batches to flushed batches of observations, on all cores.
//!
//! ```text
//!                   ┌─▶ worker 0: bytes ─▶ records ─▶ rules ─┐
//!  source ─▶ reader ┼─▶ worker 1                            ─┼─▶ reader ─▶ batcher ─▶ link
//!                   └─▶ …                                   ─┘
//! ```
//!
//! A source's batches go to the workers in turn, each round beginning with another one, and results
//! are taken back in the same turn: what a reader passes on has the order of its source whatever the
//! number of workers. All sources share the workers.
//!
//! | module | holds |
//! |---|---|
//! | [`reader`] | reads one source: batches out to the workers, results into the batcher |
//! | [`lanes`] | the workers' threads, and the turns of one source among them |
//! | [`worker`] | one batch: bytes to observations and rejects |
//! | [`batcher`] | what one source's batches came to, until it is flushed |

pub(crate) mod batcher;
pub(crate) mod lanes;
pub(crate) mod reader;
pub(crate) mod worker;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use crate::detect::rules::Rules;

/// The rules of the day, for all workers.
#[derive(Debug)]
pub(crate) struct SharedRules {
    rules: RwLock<Arc<Rules>>,
    generation: AtomicU64,
}

impl SharedRules {
    pub(crate) fn new(rules: Rules) -> SharedRules {
        SharedRules { rules: RwLock::new(Arc::new(rules)), generation: AtomicU64::new(0) }
    }

    /// Every worker takes them up with its next batch.
    pub(crate) fn replace(&self, rules: Rules) {
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
        self.generation.fetch_add(1, Ordering::Release);
    }

    fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    fn current(&self) -> (Arc<Rules>, u64) {
        // The number first: rules that are newer than it are only taken up once more.
        let generation = self.generation();
        (Arc::clone(&self.rules.read().unwrap_or_else(PoisonError::into_inner)), generation)
    }
}

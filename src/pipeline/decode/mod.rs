//! From raw batches to batches of observations.
//!
//! | module | runs |
//! |---|---|
//! | [`worker`] | one batch: bytes to observations |
//! | [`batcher`] | what one source's batches came to, until it is flushed |

pub mod batcher;
pub mod worker;

//! Event logs made to order: for tests and benches, and for people who want
//! to see what twinsid does before they point it at logs of their own.
//!
//! | module | holds |
//! |---|---|
//! | [`evtx`] | a writer of EVTX files |

pub mod evtx;

//! Event logs made to order: for tests and benches, and for people who want
//! to see what twinsid does before they point it at logs of their own.
//!
//! | module | holds |
//! |---|---|
//! | [`fleet`] | a fleet's logs in six forms, and the truth about it |
//! | `story` | who is in the fleet: domain, hosts and their lives, clones, traps |
//! | `scenes` | what happens there, minute by minute |
//! | `shapes` | the events: fields, order, types |
//! | `lines` | events as XML and JSON lines |
//! | `dice` | chance that can be repeated |
//! | [`evtx`] | a writer of EVTX files |

pub mod evtx;
pub mod fleet;

mod dice;
mod lines;
mod scenes;
mod shapes;
mod story;

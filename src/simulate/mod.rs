//! Synthetic event logs: for tests and benches, and for trying twinsid before pointing it at real
//! logs.
//!
//! | module | holds |
//! |---|---|
//! | [`fleet`] | a fleet's logs in six forms |
//! | `truth` | what is asked of a fleet, and the truth about it |
//! | `story` | who is in the fleet: domain, hosts and their lives, clones, traps |
//! | `scenes` | what happens there, minute by minute |
//! | `shapes` | the events: fields, order, types |
//! | `lines` | events as XML and JSON lines |
//! | `dice` | repeatable randomness |
//! | [`evtx`] | a writer of EVTX files |

pub mod evtx;
pub mod fleet;

mod dice;
mod lines;
mod scenes;
mod shapes;
mod story;
mod truth;

//! The integration tests: one binary.
//!
//! | module | what belongs there |
//! |---|---|
//! | `corpus` | finding real logs, for the others |
//! | `model` | the detector against a naive model |
//! | `oracle` | the fast path against the `evtx` crate |

mod corpus;
mod model;
mod oracle;

//! The integration tests: one binary.
//!
//! | module | what belongs there |
//! |---|---|
//! | `corpus` | finding real logs, for the others |
//! | `oracle` | the fast path against the `evtx` crate |

mod corpus;
mod oracle;

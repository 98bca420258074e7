//! Verdicts on what the tables hold, as findings.
//!
//! | module | holds |
//! |---|---|
//! | [`verdict`] | clone, stale boot session or manipulated ticket |
//! | [`failures`] | sessions of failures |
//! | [`mismatches`] | sessions of mismatches |
//! | [`duplicates`] | hosts of one machine SID |
//! | [`context`] | what the tables say of keys, names and peers |
//! | [`details`] | the lists of a finding |

pub mod context;
mod details;
pub mod duplicates;
pub mod failures;
pub mod mismatches;
mod verdict;

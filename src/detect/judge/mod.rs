//! What the evidence comes to.
//!
//! | module | holds |
//! |---|---|
//! | [`verdict`] | clone, stale boot session or manipulated ticket |
//! | [`incidents`] | a session as an incident |
//! | [`duplicates`] | clones as an incident |

pub mod duplicates;
pub mod incidents;
pub mod verdict;

//! What the detector keeps of the stream.
//!
//! | module | holds |
//! |---|---|
//! | [`dedup`] | which records came already |
//! | [`names`] | names as small numbers |
//! | [`directory`] | accounts and their SIDs |
//! | [`sessions`] | runs and sessions |
//! | [`resolved`] | which source each key belongs to |
//! | [`pairing`] | what stood near in time |

pub mod dedup;
pub mod directory;
pub mod names;
pub mod pairing;
pub mod resolved;
pub mod sessions;

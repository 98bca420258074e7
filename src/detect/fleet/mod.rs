//! What is known of each computer, and what follows for all of them.
//!
//! | module | holds |
//! |---|---|
//! | [`hosts`] | what events say of each computer |
//! | [`twins`] | which computers are one host, and which hosts are clones |
//! | [`exposure`] | which builds refuse their clones |

pub mod exposure;
pub mod hosts;
pub mod twins;

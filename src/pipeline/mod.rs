//! The only place that knows every stage, and what runs beside what.
//!
//! | module | runs |
//! |---|---|
//! | [`worker`] | one batch: bytes to observations |
//! | [`replay`] | archived logs: read all, then tell |
//!
//! Plain threads and bounded channels.

pub mod replay;
pub mod worker;

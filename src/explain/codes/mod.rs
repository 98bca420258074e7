//! Every code of Windows authentication events in plain words.
//!
//! In: a [`StatusCode`](crate::status::StatusCode) of an event, or what a
//! person typed after `twinsid explain`. Out: the official name, one sentence
//! on what it means, one on what to do, and the
//! [`Category`](crate::status::Category) that detection counts it under.
//!
//! | module | holds |
//! |---|---|
//! | [`table`] | status codes |
//! | [`events`] | events |
//! | [`numbers`] | logon types, encryption types and the like |
//! | [`advice`] | sentences that several of them share |
//! | [`query`] | what a typed text can mean |

mod advice;
mod events;
mod numbers;
mod query;
mod table;

pub(crate) use numbers::logon_type;
pub(crate) use query::explain;
pub(crate) use table::lookup;

//! Finds cloned Windows machines, and explains failed Kerberos and NTLM
//! authentications, from event logs alone.
//!
//! ```text
//!              bytes              Observation                    Incident
//! source ────────────▶ decode ─────────────▶ detect ────────────────────▶ sink
//! files, archives,     evtx, xml, json       rules → directory →          jsonl, cards
//! standard input       pure, parallel        sessions → verdict
//! ```
//!
//! In reading order:
//!
//! | module | holds |
//! |---|---|
//! | [`event`] | the vocabulary: SID, time, observation, status code |
//! | [`record`] | one event between `decode` and `detect`, and what is wanted of it |
//! | [`decode`] | bytes to records: EVTX, XML, JSON |
//! | [`detect`] | records to observations to incidents |
//! | [`incident`] | what is emitted |
//! | [`source`] | files, folders, archives, standard input |
//! | [`sink`] | incidents as JSON lines, cards for people, files that appear whole |
//! | [`config`] | settings and rule files, checked |
//! | [`pipeline`] | the only place that knows every stage |
//! | [`cli`] | flags |
//! | [`simulate`] | writes event logs, for tests, benches and samples |
//!
//! Invariants: `decode` and `detect` are pure (no input or output, clock or
//! thread); every map and queue has a bound (of what one hour of one source
//! holds, all but its different codes); a malformed record never stops a run
//! and never panics; standard output carries data only.

pub mod brokers;
pub mod checkpoint;
pub mod cli;
pub mod config;
pub mod decode;
pub mod detect;
pub mod event;
pub mod faults;
pub mod incident;
pub mod inventory;
pub mod pipeline;
pub mod record;
pub mod simulate;
pub mod sink;
pub mod source;

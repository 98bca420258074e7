//! Finds cloned Windows machines, and explains failed Kerberos and NTLM
//! authentications, from event logs alone.
//!
//! ```text
//!              bytes              Observation                    Incident
//! source ────────────▶ decode ─────────────▶ detect ────────────────────▶ sink
//! files, archives,     evtx, xml, json       rules → directory →          jsonl, cards,
//! logs that grow,      pure, parallel        sessions → verdict           files, kafka
//! sockets, kafka
//!    ▲                                            │
//!    └──── checkpoint: positions and steps of the detector, committed with the output
//! ```
//!
//! In reading order:
//!
//! | module | holds |
//! |---|---|
//! | [`sid`], [`time`], [`status`], [`observation`], [`position`], [`reject`] | the vocabulary |
//! | [`record`] | one event between `decode` and `detect`, and what is wanted of it |
//! | [`decode`] | bytes to records: EVTX, XML, JSON |
//! | [`detect`] | records to observations to incidents |
//! | [`explain`] | what was found, in words; every code of Windows' authentication events |
//! | [`incident`] | what is emitted |
//! | [`source`] | files, archives, standard input; live: growing logs, sockets, Kafka |
//! | [`sink`] | incidents as JSON lines, cards for people, files that appear whole; with their resume point: rotated files, Kafka |
//! | [`store`] | what outlives the process |
//! | [`output`] | incidents as others see them: JSON, ECS, OCSF, cards |
//! | [`net`] | what listens on the network |
//! | [`brokers`] | Kafka clients: settings, reports, topics |
//! | [`config`] | settings and rule files, checked |
//! | [`pipeline`] | the only place that knows every stage: replay, and the service |
//! | [`heap`] | how the C library's heap is laid out; the only unsafe code |
//! | [`faults`] | points at which tests let the process die |
//! | [`cli`] | flags |
//! | [`simulate`] | writes event logs, for tests, benches and samples |
//!
//! Invariants: `decode` and `detect` are pure (no input or output, clock or
//! thread); every map and queue has a bound (of what one hour of one source
//! holds, all but its different codes); a malformed record never stops a run
//! and never panics; a position is committed only with every incident that
//! depends on it; standard output carries data only.

pub mod brokers;
pub mod cli;
pub mod config;
pub mod decode;
pub mod detect;
pub mod explain;
pub mod faults;
pub mod heap;
pub mod incident;
pub mod net;
pub mod observation;
pub mod output;
pub mod pipeline;
pub mod position;
pub mod record;
pub mod reject;
pub mod sid;
pub mod simulate;
pub mod sink;
pub mod source;
pub mod status;
pub mod store;
pub mod time;

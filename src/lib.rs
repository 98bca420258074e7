//! Finds cloned Windows machines, and explains failed Kerberos and NTLM
//! authentications, from event logs alone.
//!
//! ```text
//!  source ──▶ decode ──▶ link ──▶ correlate ──▶ sink
//!  files      lanes of    in-memory channel, or      detector + watermark     file, kafka, stdout
//!  follow     workers,    the observations topic     + commit; emits live
//!  kafka      batcher,    (transactional)            or at the end
//!  net        rejects
//!     ▲                                                  │
//!     └───────── committed(positions) ◀── checkpoint: positions + state, committed with the output
//! ```
//!
//! A replay, a service and many copies of it are this one pipeline: [`pipeline`] has the picture
//! in detail, and `pipeline/plan.rs` is the only place that knows what they differ in.
//!
//! In reading order:
//!
//! | module | holds |
//! |---|---|
//! | [`sid`], [`time`], [`status`], [`observation`], [`record`], [`incident`], [`position`], [`reject`] | the vocabulary: plain values that every stage shares |
//! | [`source`] | an ordered stream of raw batches: files, archives, growing logs, Kafka, pipes |
//! | [`net`] | sources that listen: lines over TCP, TLS and Unix sockets |
//! | [`decode`] | bytes to records: EVTX, XML, JSON; what cannot be decoded is a reject |
//! | [`detect`] | records to observations to findings: rules, directory, fleet, sessions, verdicts |
//! | [`explain`] | findings in words: the only place with sentences about an incident |
//! | [`output`] | incidents as others see them: JSON, ECS, OCSF, cards, summary |
//! | [`sink`] | incidents and checkpoint in one atomic step: files, standard output, Kafka |
//! | [`store`] | what outlives the process: files, the state log, checkpoints |
//! | [`brokers`] | Kafka clients: options, reports, topics |
//! | [`config`] | what was written, checked into what is known good |
//! | [`pipeline`] | the wiring of all stages |
//! | [`simulate`] | writes event logs of a fleet, for tests, benches and a first look |
//! | [`cli`] | flags, and what each command prints |
//! | [`faults`] | points at which tests let the process die |
//! | `hash` | a hash that is the same in every version: for what is stored |
//!
//! Invariants, each tested: `decode` and `detect` are pure (no input or output, clock or thread;
//! `tests/it/house.rs`); every map and queue has a bound; a malformed record never stops a run and
//! never panics; every record is accounted for (received = rejected + not wanted + observed,
//! `pipeline/counters.rs`); a position is committed only with every incident that depends on it;
//! standard output carries data only.
//!
//! # Glossary
//!
//! | word | meaning |
//! |---|---|
//! | record | one Windows event, decoded |
//! | observation | what a rule makes of a record: a **mismatch** (6167 and its kin), a **failure** (Kerberos, NTLM), a **success** or a **fact** |
//! | fact | something learnt: this account has this SID; this host has this machine SID, build, boot, name |
//! | directory | all facts |
//! | twins | hosts with one machine SID |
//! | source SID | the security principal whose authentication failed |
//! | session | the observations of one key without a gap longer than `session_gap` |
//! | finding | what the detector concludes: typed, without a sentence |
//! | incident | a finding in words: what is emitted |
//! | emit, revision | an incident is emitted when it opens, changes and closes; its revisions count up |
//! | reject | input that cannot be decoded: reason, origin, bytes; as written to a sink, a dead letter |
//! | batch, flush, linger | observations are collected into a batch, which is flushed once it is full or has lingered |
//! | partition | an ordered part of a source: a Kafka partition, a file, a connection |
//! | watermark | event time up to which everything is believed to have arrived |
//! | idle | of a partition or host: nothing came from it for a while, so nobody waits for it |
//! | late | of a record: its session was closed and forgotten before it came |
//! | evaluation | what is news of the sessions that were touched, and the changes that makes in the state |
//! | spray | one peer that tries many accounts |
//! | crowd | the accounts of a host beyond the bound up to which they are kept apart |
//! | checkpoint | input positions and state, made durable together with the output |
//! | snapshot, changelog entry | the two forms of the state in a checkpoint: all of it, or what changed |
//! | retryable | of an error: the same step may succeed later |
//! | in doubt | of a commit: it failed, and may have been done all the same |
//! | fenced | of a copy: another one took over, and this one can commit nothing more |

pub mod brokers;
pub mod cli;
pub mod config;
pub mod decode;
pub mod detect;
pub mod explain;
pub mod faults;
pub(crate) mod hash;
pub mod incident;
pub mod net;
pub mod observation;
pub mod output;
pub mod pipeline;
pub mod position;
pub mod record;
pub mod reject;
pub(crate) mod retry;
pub mod sid;
pub mod simulate;
pub mod sink;
pub mod source;
pub mod status;
pub mod store;
pub mod time;

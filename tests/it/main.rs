//! The integration tests: one binary.
//!
//! | module | what belongs there |
//! |---|---|
//! | `archives` | the same log in every wrapping, and archives that harm |
//! | `attribution` | whose failure it is, and what stands beside a mismatch |
//! | `broker` | Apache Kafka for the tests, and a proxy before it |
//! | `command_line` | the program as it is called: exit codes, messages, what goes where |
//! | `corpus` | finding real logs, for the others |
//! | `damage` | input cut off, changed or made to harm |
//! | `events` | events as a collector ships them, made while a test runs, for the others |
//! | `fleet` | a simulated fleet, in every form and order |
//! | `formats` | one log in several formats, and real logs counted |
//! | `house` | who may use whom in `src/` |
//! | `live` | the detector step by step, saved and restored |
//! | `model` | the detector against a naive model |
//! | `operator` | what is said of lag, brokers that are away and who correlates, with a real broker |
//! | `oracle` | the fast path against the `evtx` crate |
//! | `sample` | the sample logs and their golden incidents |
//! | `schemas` | real output against `schemas/` |
//! | `service` | the service as it is operated: what keeps it from closing, stops, kills and bounds |
//! | `soak` | the service for minutes or an hour, in the midst of everything at once |
//! | `sprays` | one peer that tries many accounts |
//! | `stored_state` | state that other versions stored |
//! | `stream` | the service with a real broker: equal to replay, killed at will |
//! | `ways` | the same input in every way of running |
//! | `written` | logs that the project writes itself, read both ways |

mod archives;
mod attribution;
#[cfg(feature = "kafka")]
mod broker;
mod command_line;
mod corpus;
mod damage;
mod events;
mod fleet;
mod formats;
mod house;
mod live;
mod model;
#[cfg(feature = "kafka")]
mod operator;
mod oracle;
mod sample;
mod schemas;
mod scoring;
mod service;
#[cfg(feature = "kafka")]
mod soak;
mod sprays;
mod stored_state;
#[cfg(feature = "kafka")]
mod stream;
mod traps;
mod twins;
mod ways;
mod written;

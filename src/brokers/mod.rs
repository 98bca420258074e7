//! Kafka brokers: how to reach them, and with the feature `kafka` the clients that do.
//!
//! | module | holds |
//! |---|---|
//! | `settings` | clients and their options |
//! | `reports` | what a client reports by itself: errors, rebalances, ends of partitions |
//! | `outages` | brokers that do not answer: begin, every minute, end |
//! | `error` | why brokers cannot be used; which errors are retryable, fenced, permanent |
//! | `detached` | clients whose end nobody waits for |
//! | `topics` | topics: created, their partitions, ends and committed offsets |
//!
//! Every option of librdkafka can be passed through by its own name. Those that would break
//! exactly-once delivery are refused with the reason.

#[cfg(feature = "kafka")]
mod detached;
#[cfg(feature = "kafka")]
mod error;
#[cfg(feature = "kafka")]
mod outages;
#[cfg(feature = "kafka")]
mod reports;
#[cfg(feature = "kafka")]
mod settings;
#[cfg(feature = "kafka")]
mod topics;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use regex::Regex;

#[cfg(feature = "kafka")]
pub use detached::{Detached, Inspector};
#[cfg(feature = "kafka")]
pub use error::{BrokerError, is_fenced, is_permanent, is_retryable};
#[cfg(feature = "kafka")]
pub use reports::{AssignmentChange, PartitionEnds, Reports, STATISTICS_INTERVAL_MS};
#[cfg(feature = "kafka")]
pub use settings::{CONNECT_TIMEOUT, CONNECT_TRY, ClientOptions, Isolation, SharedConsumer};
#[cfg(feature = "kafka")]
pub use topics::{
    TopicSpec, committed, create_missing, end_of_records, ends, offsets_at, partitions, set_offsets,
};

/// Options that would break exactly-once delivery, and why.
const REFUSED_OPTIONS: [(&str, &str); 10] = [
    ("enable.auto.commit", "positions are committed together with the output"),
    ("enable.auto.offset.store", "positions are committed together with the output"),
    ("isolation.level", "aborted records would be read, and what was read could vanish"),
    ("transactional.id", "it follows from the group, and fences a copy that was replaced"),
    ("enable.idempotence", "transactions need it on"),
    ("acks", "a record on a single broker is lost with it"),
    ("max.in.flight.requests.per.connection", "transactions set it"),
    ("group.id", "write `group` instead"),
    ("group.instance.id", "write `instance` instead"),
    ("bootstrap.servers", "write `brokers` instead"),
];

/// Why an option must not be passed through; `None` when it may.
pub fn refused_option(name: &str) -> Option<&'static str> {
    REFUSED_OPTIONS.iter().find(|(refused, _)| *refused == name).map(|(_, why)| *why)
}

/// Brokers, and the options of every client that connects to them.
#[derive(Clone, PartialEq, Eq)]
pub struct Cluster {
    pub brokers: String,
    /// Options of librdkafka, secrets among them.
    pub options: BTreeMap<String, String>,
    /// Holds a token for OAUTHBEARER. Read again whenever a token is needed.
    pub oauth_token_file: Option<PathBuf>,
}

/// What a source reads: a topic by its name, or all that match a pattern, which begins with `^`.
#[derive(Clone, Debug)]
pub enum TopicMatch {
    Name(String),
    Pattern(Regex),
}

impl TopicMatch {
    /// The error says what is wrong with the pattern, on one line.
    pub fn new(text: &str) -> Result<TopicMatch, String> {
        if !text.starts_with('^') {
            return Ok(TopicMatch::Name(text.to_owned()));
        }
        // As librdkafka has it: the anchor is part of the expression.
        Regex::new(text).map(TopicMatch::Pattern).map_err(|error| {
            error
                .to_string()
                .lines()
                .last()
                .unwrap_or_default()
                .trim_start_matches("error: ")
                .to_owned()
        })
    }

    pub fn holds(&self, topic: &str) -> bool {
        match self {
            TopicMatch::Name(name) => name == topic,
            TopicMatch::Pattern(pattern) => pattern.is_match(topic),
        }
    }
}

/// Without the values of the options: some are secret.
impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("brokers", &self.brokers)
            .field("options", &self.options.keys())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_break_the_guarantee_are_refused() {
        assert!(refused_option("enable.auto.commit").is_some());
        assert!(refused_option("sasl.password").is_none());
    }

    #[test]
    fn secrets_are_not_printed() {
        let cluster = Cluster {
            brokers: "b:9092".to_owned(),
            options: [("sasl.password".to_owned(), "geheim".to_owned())].into(),
            oauth_token_file: None,
        };
        assert!(!format!("{cluster:?}").contains("geheim"));
    }
}

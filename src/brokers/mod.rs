//! Kafka brokers: how to reach them, and with the feature `kafka` the clients
//! that do.
//!
//! Every setting of librdkafka can be passed through by its own name. Those
//! that would break exactly-once delivery are refused with the reason.

#[cfg(feature = "kafka")]
mod client;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

#[cfg(feature = "kafka")]
pub use client::*;

/// Options that would break the guarantee, and why.
const REFUSED_OPTIONS: [(&str, &str); 10] = [
    ("enable.auto.commit", "positions are committed together with the output"),
    ("enable.auto.offset.store", "positions are committed together with the output"),
    ("isolation.level", "what others aborted would be read, and what was read could vanish"),
    ("transactional.id", "it follows from the group and tells a copy that came back from the dead"),
    ("enable.idempotence", "transactions need it on"),
    ("acks", "what one broker alone has can be lost with it"),
    ("max.in.flight.requests.per.connection", "transactions set it"),
    ("group.id", "write `group` instead"),
    ("group.instance.id", "write `instance` instead"),
    ("bootstrap.servers", "write `brokers` instead"),
];

/// Why an option cannot be passed through; `None` when it can.
pub fn refused_option(name: &str) -> Option<&'static str> {
    REFUSED_OPTIONS.iter().find(|(refused, _)| *refused == name).map(|(_, why)| *why)
}

/// Brokers, and how to talk to them.
#[derive(Clone, PartialEq, Eq)]
pub struct Cluster {
    pub brokers: String,
    /// Options of librdkafka, secrets among them.
    pub options: BTreeMap<String, String>,
    /// A token for OAUTHBEARER, read anew whenever one is needed.
    pub oauth_token_file: Option<PathBuf>,
}

/// Without the values of the options.
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

//! Clients of librdkafka: their options, and how they are made.

use std::time::{Duration, Instant};

use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::error::is_login;
use super::{BrokerError, Cluster, Inspector, Reports};

/// How long a broker may take to answer at the start.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// How long one try may take within [`CONNECT_TIMEOUT`], or a question that can be asked again.
pub const CONNECT_TRY: Duration = Duration::from_secs(1);

/// Options of librdkafka for one client. Those of its [`Cluster`] come on top.
pub type ClientOptions = Vec<(&'static str, String)>;

/// A consumer that lives as long as the process: one thread polls, another commits, and others
/// decode what lies in its memory.
pub type SharedConsumer = &'static BaseConsumer<Reports>;

/// Which records a consumer reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// None of a transaction that is open or aborted.
    Committed,
    /// All.
    Uncommitted,
}

impl Cluster {
    fn config(&self, options: &ClientOptions) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers).set("client.id", "twinsid");
        // Back-off: a broker that is away is tried again soon, then less and less often.
        config.set("reconnect.backoff.ms", "100").set("reconnect.backoff.max.ms", "5000");
        config.set("socket.timeout.ms", "30000").set("log.connection.close", "false");
        for (name, value) in options {
            config.set(*name, value);
        }
        for (name, value) in &self.options {
            config.set(name, value);
        }
        config.set_log_level(RDKafkaLogLevel::Warning);
        config
    }

    /// A producer, a consumer or an administrator. Options that do not apply to its kind are
    /// ignored by librdkafka. It is made even when no broker answers.
    pub fn client<T: FromClientConfigAndContext<Reports>>(
        &self,
        options: &ClientOptions,
    ) -> Result<T, BrokerError> {
        let reports = Reports::new(self.oauth_token_file.clone());
        T::from_config_and_context(&self.config(options), reports).map_err(|error| match error {
            KafkaError::ClientConfig(_, reason, option, _) => {
                BrokerError::Option { option, reason }
            }
            KafkaError::ClientCreation(reason)
                if !cfg!(feature = "gssapi") && reason.contains("GSSAPI") =>
            {
                BrokerError::WithoutGssapi
            }
            KafkaError::ClientCreation(reason) => {
                BrokerError::Option { option: "(several)".to_owned(), reason }
            }
            cause => BrokerError::Kafka { doing: "start a Kafka client", cause },
        })
    }

    /// A consumer without a group, to read metadata, offsets and single records.
    pub fn inspector(&self, isolation: Isolation) -> Result<Inspector, BrokerError> {
        let isolation = match isolation {
            Isolation::Committed => "read_committed",
            Isolation::Uncommitted => "read_uncommitted",
        };
        let client = self.client(&vec![
            ("group.id", "twinsid-check".to_owned()),
            ("enable.auto.commit", "false".to_owned()),
            ("isolation.level", isolation.to_owned()),
            ("auto.offset.reset", "earliest".to_owned()),
            ("enable.partition.eof", "true".to_owned()),
            // The end of a partition is reported when the broker has waited so long for more.
            ("fetch.wait.max.ms", "5".to_owned()),
            ("allow.auto.create.topics", "false".to_owned()),
        ])?;
        Ok(Inspector::new(client))
    }

    /// A consumer that is no member of a group, but reads and sets its offsets.
    pub fn outside_of(&self, group: &str) -> Result<Inspector, BrokerError> {
        let client = self.client(&vec![
            ("group.id", group.to_owned()),
            ("enable.auto.commit", "false".to_owned()),
            ("isolation.level", "read_committed".to_owned()),
            ("allow.auto.create.topics", "false".to_owned()),
        ])?;
        Ok(Inspector::new(client))
    }

    /// An inspector, once a broker has answered. [`BrokerError::Refused`] as soon as a login fails,
    /// [`BrokerError::Unreachable`] after [`CONNECT_TIMEOUT`].
    pub fn connect(&self) -> Result<Inspector, BrokerError> {
        let inspector = self.inspector(Isolation::Committed)?;
        let start = Instant::now();
        loop {
            // Callbacks run only while something is polled.
            let _ = inspector.poll(Duration::ZERO);
            let Err(error) = inspector.fetch_metadata(None, CONNECT_TRY) else {
                return Ok(inspector);
            };
            let _ = inspector.poll(Duration::ZERO);
            let last_error = inspector.context().last_error();
            let brokers = self.brokers.clone();
            match last_error {
                Some((Some(code), reason)) if is_login(code) => {
                    let hint = match code {
                        RDKafkaErrorCode::SSL => {
                            "check `ssl.ca.location`, and whether the broker wants a certificate of this client (`ssl.certificate.location`, `ssl.key.location`)"
                        }
                        _ => "check `sasl.mechanism`, `sasl.username` and the password",
                    };
                    return Err(BrokerError::Refused { brokers, reason, hint });
                }
                last_error if start.elapsed() > CONNECT_TIMEOUT => {
                    let reason = last_error.map_or_else(|| error.to_string(), |(_, reason)| reason);
                    return Err(BrokerError::Unreachable { brokers, reason });
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_without_gssapi_says_how_to_get_it() {
        let options = [
            ("security.protocol", "SASL_PLAINTEXT"),
            ("sasl.mechanism", "GSSAPI"),
            ("sasl.kerberos.keytab", "twinsid.keytab"),
            // Instead of asking a domain controller for a ticket.
            ("sasl.kerberos.kinit.cmd", "true"),
        ];
        let cluster = Cluster {
            brokers: "127.0.0.1:1".to_owned(),
            options: options.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            oauth_token_file: None,
        };
        let error = cluster.inspector(Isolation::Committed).err().map(|error| error.to_string());
        assert_eq!(error.is_none(), cfg!(feature = "gssapi"), "{error:?}");
        assert!(error.is_none_or(|error| error.contains("--features gssapi")));
    }
}

//! What a client of librdkafka reports by itself, in callbacks while it is polled: errors, rebalances,
//! where partitions end, brokers that are away, records that were not delivered. It also hands out the token for OAUTHBEARER.

use std::collections::HashMap;
use std::error::Error;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use rdkafka::ClientContext;
use rdkafka::Message;
use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tracing::{debug, warn};

use super::error::is_login;
use super::outages::BrokerConnections;

/// From one report of the ends of partitions and of the brokers' state to the next, for clients
/// that live long (`statistics.interval.ms`).
pub const STATISTICS_INTERVAL_MS: &str = "2000";

/// Largest file that holds a token.
const TOKEN_BYTES_MAX: u64 = 64 * 1024;

/// How long a token is used that does not say when it expires.
const TOKEN_SECS: u64 = 300;

/// The latest reports of one client.
#[derive(Debug, Default)]
pub struct Reports {
    oauth_token_file: Option<PathBuf>,
    last_error: Mutex<Option<(Option<RDKafkaErrorCode>, String)>>,
    changes: Mutex<Vec<AssignmentChange>>,
    /// Whether there are any: cheap enough to check after each message.
    changed: AtomicBool,
    revocations: AtomicU64,
    ends: Mutex<HashMap<String, HashMap<i32, PartitionEnds>>>,
    connections: BrokerConnections,
    /// Whether the last record was not delivered: only the first of a row is logged.
    undelivered: AtomicBool,
}

/// The offsets of a partition that can be read, as of the last report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionEnds {
    pub first: i64,
    /// Behind the last record of a transaction that is over.
    pub end: i64,
}

/// One step of a rebalance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AssignmentChange {
    Assigned(Vec<(String, i32)>),
    Revoked,
}

impl Reports {
    pub(super) fn new(oauth_token_file: Option<PathBuf>) -> Reports {
        Reports { oauth_token_file, ..Reports::default() }
    }

    /// The last error, or the last failed login: that one is the cause of the others.
    pub(super) fn last_error(&self) -> Option<(Option<RDKafkaErrorCode>, String)> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Rebalances since the last call, in the order in which they happened.
    pub fn take_changes(&self) -> Vec<AssignmentChange> {
        if !self.changed.load(Ordering::Acquire) || !self.changed.swap(false, Ordering::AcqRel) {
            return Vec::new();
        }
        std::mem::take(&mut *self.changes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How often partitions were revoked. Counted before the next assignment.
    pub fn revocations(&self) -> u64 {
        self.revocations.load(Ordering::SeqCst)
    }

    /// Where a partition begins and ends, as of some seconds ago; `None` before it was fetched from.
    pub fn ends(&self, topic: &str, partition: i32) -> Option<PartitionEnds> {
        let ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        ends.get(topic)?.get(&partition).copied()
    }

    /// Whether a broker that this client needs does not answer.
    pub fn any_broker_away(&self) -> bool {
        self.connections.any_away()
    }

    fn change(&self, change: AssignmentChange) {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner).push(change);
        self.changed.store(true, Ordering::Release);
    }
}

impl ClientContext for Reports {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                warn!(facility, "{message}");
            }
            _ => debug!(facility, "{message}"),
        }
    }

    fn stats(&self, statistics: rdkafka::Statistics) {
        self.connections.report(&statistics);
        let topics = statistics.topics.into_iter().map(|(name, topic)| {
            let known = topic.partitions.into_iter().filter_map(|(number, part)| {
                let ends = PartitionEnds { first: part.lo_offset, end: part.ls_offset };
                (ends.first >= 0 && ends.end >= 0).then_some((number, ends))
            });
            (name, known.collect())
        });
        *self.ends.lock().unwrap_or_else(PoisonError::into_inner) = topics.collect();
    }

    fn error(&self, error: KafkaError, reason: &str) {
        debug!("{error}: {reason}");
        self.connections.failed(reason);
        let mut last = self.last_error.lock().unwrap_or_else(PoisonError::into_inner);
        // A failed login must not be replaced by the errors that follow from it.
        let is_cause = |code| matches!(code, Some(code) if is_login(code));
        let code = error.rdkafka_error_code();
        if !last.as_ref().is_some_and(|(known, _)| is_cause(*known)) || is_cause(code) {
            *last = Some((code, reason.to_owned()));
        }
    }

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        let path = self
            .oauth_token_file
            .as_ref()
            .ok_or("SASL OAUTHBEARER needs `oauth_token_file`, a file with the token")?;
        let size = std::fs::metadata(path)?.len();
        if size > TOKEN_BYTES_MAX {
            return Err(format!("`{}` is too large for a token", path.display()).into());
        }
        token(std::fs::read_to_string(path)?.trim())
    }
}

impl ConsumerContext for Reports {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Revoke(_) | Rebalance::Error(_) = rebalance {
            self.revocations.fetch_add(1, Ordering::SeqCst);
            self.change(AssignmentChange::Revoked);
        }
    }

    fn post_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Assign(parts) = rebalance {
            let parts = parts.elements();
            let parts = parts.iter().map(|part| (part.topic().to_owned(), part.partition()));
            self.change(AssignmentChange::Assigned(parts.collect()));
        }
    }

    fn main_queue_min_poll_interval(&self) -> rdkafka::util::Timeout {
        Duration::from_millis(100).into()
    }
}

impl rdkafka::producer::ProducerContext for Reports {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &rdkafka::message::DeliveryResult<'_>, (): ()) {
        // The commit fails too, but its error has only their number.
        match result {
            Ok(_) => self.undelivered.store(false, Ordering::Relaxed),
            Err((error, record)) => {
                if !self.undelivered.swap(true, Ordering::Relaxed) {
                    warn!(topic = record.topic(), "a record was not delivered: {error}");
                }
            }
        }
    }
}

/// A token with the subject and expiry of its claims, if it is a JSON web token. The broker checks
/// them, not this client.
fn token(text: &str) -> Result<OAuthToken, Box<dyn Error>> {
    #[derive(serde::Deserialize)]
    struct Claims {
        sub: Option<String>,
        exp: Option<f64>,
    }
    let claims = text.split('.').nth(1).and_then(base64_url);
    let claims = claims.and_then(|json| serde_json::from_slice::<Claims>(&json).ok());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (subject, end) = claims.map_or((None, None), |claims| (claims.sub, claims.exp));
    Ok(OAuthToken {
        token: text.to_owned(),
        principal_name: subject.unwrap_or_else(|| "twinsid".to_owned()),
        lifetime_ms: end.map_or(now + TOKEN_SECS, |end| end as u64).saturating_mul(1000) as i64,
    })
}

/// Tokens come from many hands: padding may be there, and the last bits need not be zero.
const LENIENT_URL_SAFE: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Decodes base64 in the URL-safe or the standard alphabet, with or without padding; `None` for
/// anything else.
fn base64_url(text: &str) -> Option<Vec<u8>> {
    let url_safe = text.trim_end_matches('=').replace('+', "-").replace('/', "_");
    LENIENT_URL_SAFE.decode(url_safe).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_in_either_alphabet_padded_or_not() {
        for (text, bytes) in [
            ("-_-_", Some(&b"\xfb\xff\xbf"[..])),
            ("+/+/", Some(b"\xfb\xff\xbf")),
            ("Zg", Some(b"f")),
            ("Zg==", Some(b"f")),
            ("Zg=", Some(b"f")),
            ("Zh", Some(b"f")),
            ("", Some(b"")),
            ("Z g", None),
            ("Zg=a", None),
        ] {
            assert_eq!(base64_url(text).as_deref(), bytes, "{text}");
        }
    }

    #[test]
    fn subject_and_expiry_are_read_from_a_token() {
        let token = token("e30.eyJzdWIiOiJhbm5hIiwiZXhwIjoyMDAwMDAwMDAwfQ.").expect("read");
        assert_eq!((token.principal_name.as_str(), token.lifetime_ms), ("anna", 2_000_000_000_000));
        assert_eq!(super::token("opaque").expect("read").principal_name, "twinsid");
    }
}

//! Clients of librdkafka: what they report, and what is asked of the brokers.

use std::error::Error;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::OAuthToken;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{ClientContext, Message, Offset, TopicPartitionList};
use tracing::{debug, info, warn};

use super::Cluster;

/// How long a broker may take to answer at the start.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// One try within that time.
const CONNECT_TRY: Duration = Duration::from_secs(1);

/// Brokers that were there once are waited for so long.
const AWAY_MAX: Duration = Duration::from_secs(60);

/// Largest file that holds a token.
const TOKEN_BYTES_MAX: u64 = 64 * 1024;

/// Looked at first when the last record of a partition is looked for.
const TAIL_RECORDS: i64 = 64;

/// How long a token is used where it does not say so itself.
const TOKEN_SECS: u64 = 300;

/// Why the brokers cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    #[error("the brokers at `{brokers}` refuse the login: {reason}\n  hint: {hint}")]
    Refused { brokers: String, reason: String, hint: &'static str },
    #[error(
        "no broker answers at `{brokers}`: {reason}\n  hint: is Kafka running there, and is the name or address right as seen from this machine?"
    )]
    Unreachable { brokers: String, reason: String },
    #[error(
        "topic `{topic}` does not exist\n  hint: create it, or mend its name; `twinsid topics -c FILE --create` makes the topics that belong to twinsid"
    )]
    NoTopic { topic: String },
    #[error(
        "cannot create topic `{topic}`: {reason}\n  hint: let an administrator run what `twinsid topics -c FILE` prints"
    )]
    NotCreated { topic: String, reason: String },
    #[error(
        "option `{option}` of the Kafka client: {reason}\n  hint: its names and values are those of librdkafka's CONFIGURATION.md"
    )]
    Option { option: String, reason: String },
    #[error(
        "this program was built without Kerberos towards the brokers (`sasl.mechanism` GSSAPI)\n  hint: build it with `cargo build --release --features gssapi`; that needs the headers of Cyrus SASL (Debian: libsasl2-dev)"
    )]
    WithoutGssapi,
    #[error(
        "another copy took over (`{id}`): this one was given up for dead and can commit nothing more\n  hint: nothing is lost; copies with one `group` share Kafka topics, but of other sources there may be only one"
    )]
    Fenced { id: String },
    #[error("cannot {doing}: {cause}")]
    Kafka { doing: &'static str, cause: KafkaError },
}

impl BrokerError {
    pub fn of(doing: &'static str) -> impl FnOnce(KafkaError) -> BrokerError {
        move |cause| BrokerError::Kafka { doing, cause }
    }

    /// Of a producer with this transactional id.
    pub fn of_transaction(id: &str, doing: &'static str) -> impl FnOnce(KafkaError) -> BrokerError {
        let id = id.to_owned();
        move |cause| match is_fenced(&cause) {
            true => BrokerError::Fenced { id },
            false => BrokerError::Kafka { doing, cause },
        }
    }
}

impl BrokerError {
    /// Whether it may end by itself: brokers are away or change.
    pub fn is_retryable(&self) -> bool {
        match self {
            BrokerError::Unreachable { .. } => true,
            BrokerError::Kafka { cause, .. } if is_permanent(cause) => false,
            // Even when this producer is beyond saving: a new one is not.
            BrokerError::Kafka { cause: cause @ KafkaError::Transaction(_), .. } => {
                !is_fenced(cause)
            }
            BrokerError::Kafka {
                cause: KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull),
                ..
            } => true,
            BrokerError::Kafka { cause, .. } => {
                cause.rdkafka_error_code().is_some_and(is_retryable)
            }
            _ => false,
        }
    }
}

/// Whether a producer with the same id took over.
pub fn is_fenced(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{Fenced, InvalidProducerEpoch, ProducerFenced};
    let code = match error {
        KafkaError::Transaction(error) => Some(error.code()),
        other => other.rdkafka_error_code(),
    };
    matches!(code, Some(Fenced | InvalidProducerEpoch | ProducerFenced))
}

/// What a client reports by itself.
#[derive(Debug, Default)]
pub struct Reports {
    oauth_token_file: Option<PathBuf>,
    last_error: Mutex<Option<(Option<RDKafkaErrorCode>, String)>>,
    changes: Mutex<Vec<AssignmentChange>>,
    /// Whether there are any: asked after each message.
    changed: AtomicBool,
    revocations: AtomicU64,
    lag: AtomicU64,
    /// Whether the last record that was sent was not delivered.
    undelivered: AtomicBool,
}

/// A rebalance, in the order of events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AssignmentChange {
    Assigned(Vec<(String, i32)>),
    Revoked,
}

impl Reports {
    fn last_error(&self) -> Option<(Option<RDKafkaErrorCode>, String)> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Rebalances since the last call.
    pub fn take_changes(&self) -> Vec<AssignmentChange> {
        if !self.changed.load(Ordering::Acquire) || !self.changed.swap(false, Ordering::AcqRel) {
            return Vec::new();
        }
        std::mem::take(&mut *self.changes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How often partitions were taken away. Counted before the next membership
    /// begins.
    pub fn revocations(&self) -> u64 {
        self.revocations.load(Ordering::SeqCst)
    }

    /// Records that are there and were not fetched, as of some seconds ago.
    pub fn lag(&self) -> u64 {
        self.lag.load(Ordering::Relaxed)
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
        let parts = statistics.topics.values().flat_map(|topic| topic.partitions.values());
        let lag = parts.map(|part| u64::try_from(part.consumer_lag).unwrap_or(0)).sum();
        self.lag.store(lag, Ordering::Relaxed);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        debug!("{error}: {reason}");
        let mut last = self.last_error.lock().unwrap_or_else(PoisonError::into_inner);
        // What tells why is not covered by the complaint that follows from it.
        let tells = |code| matches!(code, Some(code) if is_login(code));
        let code = error.rdkafka_error_code();
        if !last.as_ref().is_some_and(|(known, _)| tells(*known)) || tells(code) {
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
        // The commit fails too, but tells only how many were not.
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

/// A JSON web token with its subject and end; neither is checked, the broker
/// does that.
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

fn is_login(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode::{Authentication, SSL, SaslAuthenticationFailed};
    matches!(code, Authentication | SaslAuthenticationFailed | SSL)
}

/// Whether what may still be aborted is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    Committed,
    Uncommitted,
}

/// A client's settings as they end up.
pub type Settings = Vec<(&'static str, String)>;

impl Cluster {
    fn config(&self, settings: &Settings) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers).set("client.id", "twinsid");
        // A broker that is gone is tried again soon, then more and more seldom.
        config.set("reconnect.backoff.ms", "100").set("reconnect.backoff.max.ms", "5000");
        config.set("socket.timeout.ms", "30000").set("log.connection.close", "false");
        for (name, value) in settings {
            config.set(*name, value);
        }
        for (name, value) in &self.options {
            config.set(name, value);
        }
        config.set_log_level(RDKafkaLogLevel::Warning);
        config
    }

    /// A client. What does not apply to its kind is passed over by librdkafka.
    pub fn client<T: FromClientConfigAndContext<Reports>>(
        &self,
        settings: &Settings,
    ) -> Result<T, BrokerError> {
        let reports =
            Reports { oauth_token_file: self.oauth_token_file.clone(), ..Reports::default() };
        T::from_config_and_context(&self.config(settings), reports).map_err(|error| match error {
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

    /// A consumer without a group, for looking around.
    pub fn inspector(&self, isolation: Isolation) -> Result<BaseConsumer<Reports>, BrokerError> {
        let isolation = match isolation {
            Isolation::Committed => "read_committed",
            Isolation::Uncommitted => "read_uncommitted",
        };
        self.client(&vec![
            ("group.id", "twinsid-looks-around".to_owned()),
            ("enable.auto.commit", "false".to_owned()),
            ("isolation.level", isolation.to_owned()),
            ("auto.offset.reset", "earliest".to_owned()),
            ("enable.partition.eof", "true".to_owned()),
            // An end is told when the broker has waited so long for more.
            ("fetch.wait.max.ms", "5".to_owned()),
            ("allow.auto.create.topics", "false".to_owned()),
        ])
    }

    /// Waits until a broker answers, and tells soon why none does.
    pub fn connect(&self) -> Result<BaseConsumer<Reports>, BrokerError> {
        let inspector = self.inspector(Isolation::Committed)?;
        let start = Instant::now();
        loop {
            // Events are served only when something is polled.
            let _ = inspector.poll(Duration::ZERO);
            let Err(error) = inspector.fetch_metadata(None, CONNECT_TRY) else {
                return Ok(inspector);
            };
            let _ = inspector.poll(Duration::ZERO);
            let told = inspector.context().last_error();
            let brokers = self.brokers.clone();
            match told {
                Some((Some(code), reason)) if is_login(code) => {
                    let hint = match code {
                        RDKafkaErrorCode::SSL => {
                            "check `ssl.ca.location`, and whether the broker wants a certificate of this client (`ssl.certificate.location`, `ssl.key.location`)"
                        }
                        _ => "check `sasl.mechanism`, `sasl.username` and the password",
                    };
                    return Err(BrokerError::Refused { brokers, reason, hint });
                }
                told if start.elapsed() > CONNECT_TIMEOUT => {
                    let reason = told.map_or_else(|| error.to_string(), |(_, reason)| reason);
                    return Err(BrokerError::Unreachable { brokers, reason });
                }
                _ => {}
            }
        }
    }
}

/// Errors that end by themselves: brokers change, or are away for a while.
pub fn is_retryable(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::BrokerTransportFailure
            | Code::BrokerDestroy
            | Code::DestroyBroker
            | Code::AllBrokersDown
            | Code::FencedLeaderEpoch
            | Code::UnknownLeaderEpoch
            | Code::OffsetNotAvailable
            | Code::ReplicaNotAvailable
            | Code::BrokerNotAvailable
            | Code::NotEnoughReplicas
            | Code::OperationTimedOut
            | Code::RequestTimedOut
            | Code::NotLeaderForPartition
            | Code::LeaderNotAvailable
            | Code::NotCoordinator
            | Code::CoordinatorNotAvailable
            | Code::CoordinatorLoadInProgress
            | Code::RebalanceInProgress
            | Code::PollExceeded
            | Code::UnknownTopicOrPartition
            | Code::UnknownPartition
            | Code::UnknownTopic
            | Code::Resolve
            | Code::NetworkException
    )
}

/// Errors that come again whenever it is tried again.
pub fn is_permanent(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    let code = match error {
        KafkaError::Transaction(error) => Some(error.code()),
        other => other.rdkafka_error_code(),
    };
    matches!(
        code,
        Some(
            Code::TopicAuthorizationFailed
                | Code::GroupAuthorizationFailed
                | Code::ClusterAuthorizationFailed
                | Code::TransactionalIdAuthorizationFailed
                | Code::MessageSizeTooLarge
                | Code::MessageBatchTooLarge
                | Code::InvalidMessage
                | Code::InvalidTopic
                | Code::PolicyViolation
                | Code::InvalidTransactionTimeout
                | Code::UnsupportedVersion
        )
    )
}

/// Asks again while a broker is away or leaders change.
fn persistently<T>(
    doing: &'static str,
    mut step: impl FnMut() -> Result<T, KafkaError>,
) -> Result<T, BrokerError> {
    use RDKafkaErrorCode::{UnknownTopic, UnknownTopicOrPartition};
    let until = Instant::now() + AWAY_MAX;
    let mut said = false;
    loop {
        match step() {
            Ok(done) => return Ok(done),
            Err(cause) => {
                let code = cause.rdkafka_error_code();
                let retryable = code.is_some_and(is_retryable)
                    && !matches!(code, Some(UnknownTopic | UnknownTopicOrPartition));
                if !retryable || Instant::now() > until {
                    return Err(BrokerError::Kafka { doing, cause });
                }
                if !std::mem::replace(&mut said, true) {
                    info!("cannot {doing}: {cause}; asking again");
                }
            }
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A topic, as the service wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSpec {
    pub name: String,
    pub partitions: i32,
    /// Settings of the topic, and why they are so.
    pub settings: Vec<(&'static str, &'static str)>,
    pub purpose: &'static str,
}

/// Partitions of a topic; `None` when it does not exist.
pub fn partitions(
    client: &BaseConsumer<Reports>,
    topic: &str,
) -> Result<Option<Vec<i32>>, BrokerError> {
    let partitions = persistently("read the metadata of a topic", || {
        let metadata = client.fetch_metadata(Some(topic), CONNECT_TIMEOUT)?;
        let known = metadata.topics().iter().find(|known| known.name() == topic);
        let Some(known) = known else { return Ok(None) };
        match known.error().map(RDKafkaErrorCode::from) {
            None => {
                let partitions = known.partitions().iter();
                let ids = partitions.map(rdkafka::metadata::MetadataPartition::id);
                Ok(Some(ids.collect::<Vec<_>>()))
            }
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
                Ok(None)
            }
            Some(code) => Err(KafkaError::MetadataFetch(code)),
        }
    })?;
    Ok(partitions.filter(|partitions| !partitions.is_empty()))
}

/// First offset and the one behind the last.
pub fn ends(
    client: &BaseConsumer<Reports>,
    topic: &str,
    partition: i32,
) -> Result<(i64, i64), BrokerError> {
    persistently("read the end of a partition", || {
        client.fetch_watermarks(topic, partition, CONNECT_TIMEOUT)
    })
}

/// The offset behind the last record that a reader of committed records gets
/// before `end`: what stands behind it are marks of transactions, and records of
/// such as were taken back. `None` when there is none.
pub fn end_of_records(
    client: &BaseConsumer<Reports>,
    topic: &str,
    partition: i32,
    (first, end): (i64, i64),
) -> Result<Option<i64>, BrokerError> {
    let mut back = TAIL_RECORDS;
    loop {
        let from = first.max(end - back);
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(from))
            .and_then(|()| client.assign(&list))
            .map_err(BrokerError::of("look for the last record of a partition"))?;
        let (mut last, start) = (None, Instant::now());
        loop {
            match client.poll(Duration::from_millis(100)) {
                Some(Ok(message)) if message.offset() < end => last = Some(message.offset() + 1),
                Some(Ok(_) | Err(KafkaError::PartitionEOF(_))) => break,
                Some(Err(_)) | None if start.elapsed() < CONNECT_TIMEOUT => {}
                Some(Err(cause)) => {
                    let doing = "look for the last record of a partition";
                    return Err(BrokerError::Kafka { doing, cause });
                }
                None => {
                    let reason = format!("nothing came of partition {partition} of `{topic}`");
                    return Err(BrokerError::Unreachable { brokers: topic.to_owned(), reason });
                }
            }
            if last == Some(end) {
                break;
            }
        }
        if last.is_some() || from == first {
            client.unassign().map_err(BrokerError::of("let a partition go"))?;
            return Ok(last);
        }
        back *= 16;
    }
}

/// Where a group stands; `None` where it has committed nothing.
pub fn committed(
    group: &BaseConsumer<Reports>,
    parts: &[(String, i32)],
) -> Result<Vec<(Option<i64>, String)>, BrokerError> {
    let mut list = TopicPartitionList::new();
    for (topic, partition) in parts {
        list.add_partition(topic, *partition);
    }
    let committed = group
        .committed_offsets(list, CONNECT_TRY)
        .map_err(BrokerError::of("read the group's offsets"))?;
    let position = |(topic, partition): &(String, i32)| {
        let part = committed.find_partition(topic, *partition);
        part.map_or((None, String::new()), |part| {
            (part.offset().to_raw().filter(|offset| *offset >= 0), part.metadata().to_owned())
        })
    };
    Ok(parts.iter().map(position).collect())
}

/// Makes the topics that are missing; their names.
pub fn create_missing(
    cluster: &Cluster,
    client: &BaseConsumer<Reports>,
    topics: &[TopicSpec],
) -> Result<Vec<String>, BrokerError> {
    let mut created = Vec::new();
    let mut admin: Option<AdminClient<Reports>> = None;
    for topic in topics {
        if partitions(client, &topic.name)?.is_some() {
            continue;
        }
        let admin = match &mut admin {
            Some(admin) => admin,
            none => none.insert(cluster.client(&Vec::new())?),
        };
        // −1: as many replicas as the brokers have by default.
        let mut new = NewTopic::new(&topic.name, topic.partitions, TopicReplication::Fixed(-1));
        for (name, value) in &topic.settings {
            new = new.set(name, value);
        }
        let options = AdminOptions::new()
            .request_timeout(Some(CONNECT_TIMEOUT))
            .operation_timeout(Some(CONNECT_TIMEOUT));
        let results = pollster::block_on(admin.create_topics([&new], &options))
            .map_err(BrokerError::of("create a topic"))?;
        for result in results {
            match result {
                Ok(name) => {
                    info!(topic = name, "created");
                    created.push(name);
                }
                // Another copy was faster.
                Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((topic, code)) => {
                    return Err(BrokerError::NotCreated { topic, reason: code.to_string() });
                }
            }
        }
        await_topic(client, &topic.name)?;
    }
    Ok(created)
}

/// A new topic is not known to all brokers at once.
fn await_topic(client: &BaseConsumer<Reports>, topic: &str) -> Result<(), BrokerError> {
    let start = Instant::now();
    while partitions(client, topic)?.is_none() {
        if start.elapsed() > CONNECT_TIMEOUT {
            return Err(BrokerError::NoTopic { topic: topic.to_owned() });
        }
        let _ = client.poll(Duration::from_millis(50));
    }
    Ok(())
}

/// A shared consumer: one thread polls, another commits.
pub type SharedConsumer = Arc<BaseConsumer<Reports>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_tells_its_subject_and_end() {
        let token = token("e30.eyJzdWIiOiJhbm5hIiwiZXhwIjoyMDAwMDAwMDAwfQ.").expect("read");
        assert_eq!((token.principal_name.as_str(), token.lifetime_ms), ("anna", 2_000_000_000_000));
        assert_eq!(super::token("opaque").expect("read").principal_name, "twinsid");
    }

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
    fn gssapi_is_there_or_it_is_said_how_to_have_it() {
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

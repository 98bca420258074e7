//! Why the brokers cannot be used, and what each error code means for what is tried next.
//!
//! | an error is | if | then |
//! |---|---|---|
//! | retryable | brokers are away or change | the same step may succeed later |
//! | fenced | another producer has the same transactional id | this process must stop |
//! | permanent | the broker refuses what was asked | the same step fails every time |
//! | a login error | TLS or SASL failed | the user must change the configuration |

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

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
    #[error(
        "group `{group}` has members, and only they set its offsets\n  hint: stop every copy of the service first; one that has an `instance`, or was killed, stays a member for ten seconds"
    )]
    HasMembers { group: String },
    #[error(
        "the group gave the place of instance `{instance}` to somebody else\n  hint: if another copy has this `instance`, give each its own; else it was this one itself, joining again while brokers came back: start it again, nothing is lost"
    )]
    InstanceTaken { instance: String },
    #[error("cannot {doing}: {cause}")]
    Kafka { doing: &'static str, cause: KafkaError },
}

impl BrokerError {
    /// For `map_err`; `doing` completes "cannot …".
    pub fn of(doing: &'static str) -> impl FnOnce(KafkaError) -> BrokerError {
        move |cause| BrokerError::Kafka { doing, cause }
    }

    /// As [`BrokerError::of`], for a producer with this transactional id:
    /// [`BrokerError::Fenced`] when another one took over.
    pub fn of_transaction(id: &str, doing: &'static str) -> impl FnOnce(KafkaError) -> BrokerError {
        let id = id.to_owned();
        move |cause| match is_fenced(&cause) {
            true => BrokerError::Fenced { id },
            false => BrokerError::Kafka { doing, cause },
        }
    }

    /// Whether the same step may succeed later: brokers are away or change.
    pub fn is_retryable(&self) -> bool {
        match self {
            BrokerError::Unreachable { .. } => true,
            BrokerError::Kafka { cause, .. } if is_permanent(cause) => false,
            // Even when this producer can no longer be used: a new one can.
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

/// Whether the same call may succeed later: brokers change, or are away for a while.
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

/// Whether another producer with the same transactional id took over.
pub fn is_fenced(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{Fenced, InvalidProducerEpoch, ProducerFenced};
    let code = match error {
        KafkaError::Transaction(error) => Some(error.code()),
        other => other.rdkafka_error_code(),
    };
    matches!(code, Some(Fenced | InvalidProducerEpoch | ProducerFenced))
}

/// Whether the same call fails every time.
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

/// Whether TLS or SASL failed.
pub(super) fn is_login(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode::{Authentication, SSL, SaslAuthenticationFailed};
    matches!(code, Authentication | SaslAuthenticationFailed | SSL)
}

//! The Kafka topics that a service reads and writes, and the clients' settings that follow from
//! its configuration.

use crate::config::service::Service;
use crate::pipeline::mode::ServiceError;
#[cfg(feature = "kafka")]
pub(crate) use kafka::{link_spec, open_sink, prepare, source_alone};

/// Tries everything that can be tried without reading or writing; a line each.
pub fn connect(service: &Service) -> Result<Vec<String>, ServiceError> {
    #[cfg(feature = "kafka")]
    return kafka::connect(service);
    #[cfg(not(feature = "kafka"))]
    {
        let _ = service;
        Ok(vec!["nothing to connect to: this program was built without Kafka".to_owned()])
    }
}

/// The topics of a service as commands of Kafka's own tool; with `create`, what
/// was created.
pub fn topics_text(service: &Service, create: bool) -> Result<String, ServiceError> {
    #[cfg(feature = "kafka")]
    return kafka::topics_text(service, create);
    #[cfg(not(feature = "kafka"))]
    {
        let _ = (service, create);
        Err(ServiceError::NO_KAFKA)
    }
}

#[cfg(feature = "kafka")]
mod kafka {
    use super::{Service, ServiceError};
    use rdkafka::consumer::Consumer;

    use crate::brokers::{
        BrokerError, CONNECT_TIMEOUT, Cluster, TopicSpec, create_missing, partitions,
    };
    use crate::config::loops::{TopicLoop, topic_loops};
    use crate::config::sinks::{KafkaOutput, SinkSpec};
    use crate::config::sources::{KafkaInput, NamedSource, SourceSpec};
    use crate::pipeline::link::topic::TopicLinkSpec;
    use crate::pipeline::mode::RunMode;
    use crate::pipeline::wall_clock;
    use crate::sink::Sink;
    use crate::sink::kafka::{KafkaSink, KafkaSinkSpec};
    use crate::source::kafka::{KafkaSource, KafkaSpec, Sharing, Until};

    fn until(mode: RunMode) -> Until {
        match mode {
            RunMode::Continuous => Until::Stopped,
            RunMode::UntilEnd => Until::End,
        }
    }

    fn spec_of(input: &KafkaInput, sharing: Sharing, mode: RunMode) -> KafkaSpec {
        KafkaSpec {
            cluster: input.cluster.clone(),
            topics: input.topics.clone(),
            group: input.group.clone(),
            instance: input.instance.clone(),
            sharing,
            start: input.start,
            until: until(mode),
        }
    }

    pub(crate) fn source_alone(
        input: &KafkaInput,
        mode: RunMode,
    ) -> Result<KafkaSource, ServiceError> {
        Ok(KafkaSource::new(spec_of(input, Sharing::Alone, mode))?)
    }

    fn sink_spec(service: &Service, output: &KafkaOutput, id: String) -> KafkaSinkSpec {
        KafkaSinkSpec {
            cluster: output.cluster.clone(),
            topic: output.topic.clone(),
            format: service.format,
            dead_letter_topic: output.dead_letter_topic.clone(),
            changelog_topic: output.changelog_topic.clone(),
            transactional_id: id,
        }
    }

    /// How copies share the work, where the only source and the sink are topics of the same brokers.
    pub(crate) fn link_spec(service: &Service, mode: RunMode) -> Option<TopicLinkSpec> {
        let SinkSpec::Kafka(output) = &service.sink else { return None };
        let [NamedSource { spec: SourceSpec::Kafka(input), .. }] = &service.sources[..] else {
            return None;
        };
        if input.cluster.brokers != output.cluster.brokers {
            return None;
        }
        let own = input.instance.clone().unwrap_or_else(|| {
            let nanos = wall_clock().0;
            format!("{}-{nanos:x}", std::process::id())
        });
        Some(TopicLinkSpec {
            input: spec_of(input, Sharing::Shared, mode),
            observations_topic: output.observations_topic.clone(),
            sink: sink_spec(service, output, format!("{}.detector", input.group)),
            collector_id: format!("{}.collector.{own}", input.group),
        })
    }

    pub(crate) fn open_sink(
        service: &Service,
        output: &KafkaOutput,
    ) -> Result<Box<dyn Sink>, ServiceError> {
        prepare(service, output)?;
        // One such service for each output: the second one fences the first.
        let spec = sink_spec(service, output, format!("{}.twinsid", output.topic));
        Ok(Box::new(KafkaSink::new(spec)?))
    }

    /// Refuses topics that the service would read and write. Two lists of brokers may be of one
    /// cluster although they have none in common.
    fn refuse_loops(service: &Service, output: &KafkaOutput) -> Result<(), ServiceError> {
        for NamedSource { name, spec } in &service.sources {
            let SourceSpec::Kafka(input) = spec else { continue };
            let loops = topic_loops(name, input, output);
            let Some(found) = loops.first() else { continue };
            let id = |cluster: &Cluster| -> Result<Option<String>, BrokerError> {
                Ok(cluster.connect()?.client().fetch_cluster_id(CONNECT_TIMEOUT))
            };
            let (read, written) = (id(&input.cluster)?, id(&output.cluster)?);
            if read.is_some() && read == written {
                return Err(ServiceError::Loop { what: found.text(), hint: TopicLoop::HINT });
            }
        }
        Ok(())
    }

    /// Makes the topics that are missing, or says which.
    pub(crate) fn prepare(service: &Service, output: &KafkaOutput) -> Result<(), ServiceError> {
        refuse_loops(service, output)?;
        let client = output.cluster.connect()?;
        let topics = topics(service);
        if output.create_topics {
            create_missing(&output.cluster, &client, &topics)?;
            return Ok(());
        }
        for TopicSpec { name, .. } in topics {
            if partitions(&client, &name)?.is_none() {
                return Err(BrokerError::NoTopic { topic: name }.into());
            }
        }
        Ok(())
    }

    pub(super) fn connect(service: &Service) -> Result<Vec<String>, ServiceError> {
        let mut lines = Vec::new();
        for source in &service.sources {
            if let SourceSpec::Kafka(input) = &source.spec {
                let client = input.cluster.connect()?;
                for topic in input.topics.iter().filter(|topic| !topic.starts_with('^')) {
                    let found = partitions(&client, topic)?
                        .ok_or_else(|| BrokerError::NoTopic { topic: topic.clone() })?;
                    lines.push(format!(
                        "{}: topic `{topic}`, {} partitions",
                        source.name,
                        found.len()
                    ));
                }
            }
        }
        if let SinkSpec::Kafka(output) = &service.sink {
            refuse_loops(service, output)?;
            let client = output.cluster.connect()?;
            for topic in topics(service) {
                let found = match partitions(&client, &topic.name)? {
                    Some(found) => format!("{} partitions", found.len()),
                    None if output.create_topics => "missing, will be created".to_owned(),
                    None => return Err(BrokerError::NoTopic { topic: topic.name }.into()),
                };
                lines.push(format!("sink: topic `{}`, {found}", topic.name));
            }
        }
        if lines.is_empty() {
            lines.push("nothing to connect to: neither sources nor sink are Kafka".to_owned());
        }
        Ok(lines)
    }

    pub(super) fn topics_text(service: &Service, create: bool) -> Result<String, ServiceError> {
        let SinkSpec::Kafka(output) = &service.sink else {
            return Err(ServiceError::Unsupported {
                what: "the sink is not Kafka: there are no topics",
                hint: "topics are for a sink of kind `kafka`",
            });
        };
        if create {
            let client = output.cluster.connect()?;
            let created = create_missing(&output.cluster, &client, &topics(service))?;
            return Ok(match created.len() {
                0 => "all topics were there already\n".to_owned(),
                _ => created.iter().map(|name| format!("created {name}\n")).collect(),
            });
        }
        let mut text = String::new();
        for topic in topics(service) {
            text.push_str(&format!(
            "# {}\nkafka-topics.sh --bootstrap-server {} --create --if-not-exists --topic {} --partitions {}",
            topic.purpose, output.cluster.brokers, topic.name, topic.partitions
        ));
            for (name, value) in topic.settings {
                text.push_str(&format!(" --config {name}={value}"));
            }
            text.push('\n');
        }
        Ok(text)
    }

    /// The topics that the service writes.
    fn topics(service: &Service) -> Vec<TopicSpec> {
        let SinkSpec::Kafka(output) = &service.sink else { return Vec::new() };
        let topic = |name: &str, settings: &[(&'static str, &'static str)], purpose| TopicSpec {
            name: name.to_owned(),
            partitions: 1,
            settings: settings.to_vec(),
            purpose,
        };
        let mut topics = vec![
            TopicSpec {
                partitions: 3,
                ..topic(
                    &output.topic,
                    &[("cleanup.policy", "delete"), ("retention.ms", "-1")],
                    "incidents; key = incident id, so the revisions of one keep their order",
                )
            },
            topic(
                &output.changelog_topic,
                &[
                    ("cleanup.policy", "compact"),
                    ("segment.bytes", "67108864"),
                    ("min.cleanable.dirty.ratio", "0.1"),
                ],
                "the state; compacted, one partition",
            ),
            topic(
                &output.dead_letter_topic,
                &[("cleanup.policy", "delete"), ("retention.ms", "2592000000")],
                "what could not be decoded, with the reason",
            ),
        ];
        if link_spec(service, RunMode::Continuous).is_some() {
            topics.push(topic(
                &output.observations_topic,
                &[("cleanup.policy", "delete"), ("retention.ms", "-1")],
                "what was decoded and is to be judged; one partition, deleted once judged",
            ));
        }
        topics
    }
}

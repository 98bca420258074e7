//! What a service writes must not be what it reads: incidents, dead letters and state would come
//! back as events, again and again.

use std::path::{Path, PathBuf};

use super::file::ConfigFile;
use super::sinks::{FileOutput, KafkaOutput, SinkSpec};
use super::sources::{KafkaInput, NamedSource, SourceSpec};
use crate::brokers::TopicMatch;

/// A topic of the sink that a source reads, if both are on the same brokers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicLoop<'s> {
    pub source: &'s str,
    /// A name or a pattern, as it is written.
    pub reads: &'s str,
    pub topic: &'s str,
}

impl TopicLoop<'_> {
    pub const HINT: &'static str = "rename the topics of the sink (`topic`, `observations_topic`, `changelog_topic`, `dead_letter_topic`), or narrow the pattern of the source";

    pub fn text(&self) -> String {
        let TopicLoop { source, reads, topic } = self;
        format!(
            "source `{source}` reads `{reads}`, and so topic `{topic}` of the sink: what the service writes would come back as its input"
        )
    }
}

/// By the names of the topics alone.
pub fn topic_loops<'s>(
    name: &'s str,
    input: &'s KafkaInput,
    output: &'s KafkaOutput,
) -> Vec<TopicLoop<'s>> {
    let KafkaOutput { topic, observations_topic, changelog_topic, dead_letter_topic, .. } = output;
    let written = [topic, observations_topic, changelog_topic, dead_letter_topic];
    let mut loops = Vec::new();
    for reads in &input.topics {
        // One that is no pattern is a mistake of the source.
        let Ok(matches) = TopicMatch::new(reads) else { continue };
        let read = written.iter().filter(|topic| matches.holds(topic));
        loops.extend(read.map(|topic| TopicLoop { source: name, reads, topic }));
    }
    loops
}

/// Whether two lists of brokers have one in common. Two without may still be of one cluster.
pub fn share_a_broker(one: &str, other: &str) -> bool {
    let addresses = |brokers: &str| -> Vec<String> { brokers.split(',').map(address).collect() };
    let others = addresses(other);
    addresses(one).iter().any(|address| others.contains(address))
}

/// `at`: where the sink stands in the file.
pub(super) fn check(
    sources: &[NamedSource],
    sink: &SinkSpec,
    at: usize,
    file: &mut ConfigFile<'_>,
) {
    for NamedSource { name, spec } in sources {
        match (spec, sink) {
            (SourceSpec::Kafka(input), SinkSpec::Kafka(output))
                if share_a_broker(&input.cluster.brokers, &output.cluster.brokers) =>
            {
                for found in topic_loops(name, input, output) {
                    file.mistake(at, found.text(), TopicLoop::HINT);
                }
            }
            (SourceSpec::Evtx { paths, .. }, sink) => {
                for (what, path) in files(sink) {
                    let (path, written) = (path, real(path));
                    if let Some(read) = paths.iter().find(|read| written.starts_with(real(read))) {
                        let what = format!(
                            "source `{name}` reads `{}`, and {what} `{}` lies in it: what the service writes would come back as its input",
                            read.display(),
                            path.display()
                        );
                        file.mistake(at, what, "name a file in a folder that no source reads");
                    }
                }
            }
            _ => {}
        }
    }
}

/// The files that a sink writes.
fn files(sink: &SinkSpec) -> Vec<(&'static str, &Path)> {
    let (incidents, dead_letters) = match sink {
        SinkSpec::File(FileOutput { path, dead_letters, .. }) => (Some(path), dead_letters),
        SinkSpec::Stdout { dead_letters } => (None, dead_letters),
        SinkSpec::Kafka(_) => (None, &None),
    };
    let incidents = incidents.map(|path| ("the sink's `path`", path.as_path()));
    let dead_letters = dead_letters.as_ref().map(|path| ("`dead_letters`", path.as_path()));
    incidents.into_iter().chain(dead_letters).collect()
}

/// A path without links, as far as it is there.
fn real(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let there = path.ancestors().find_map(|part| Some((part, part.canonicalize().ok()?)));
    match there {
        Some((part, real)) => real.join(path.strip_prefix(part).unwrap_or(Path::new(""))),
        None => path,
    }
}

/// A broker's address in one form: without the protocol, with the port.
fn address(broker: &str) -> String {
    let broker = broker.trim().to_ascii_lowercase();
    let address = broker.split_once("://").map_or(&*broker, |(_, address)| address);
    let has_port = address.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let (host, port) = match address.rsplit_once(':').filter(|_| has_port) {
        Some((host, port)) => (host, port),
        None => (address, "9092"),
    };
    let host = if ["localhost", "[::1]"].contains(&host) { "127.0.0.1" } else { host };
    format!("{host}:{port}")
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    /// The mistakes of a file.
    fn mistakes(folder: &Path, text: &str) -> String {
        let path = folder.join("run.toml");
        std::fs::write(&path, text).expect("written");
        Config::load(Some(&path)).map_or_else(|error| error.to_string(), |_| String::new())
    }

    #[track_caller]
    fn check_topics(reads: &str, source: &str, sink: &str, more: &str, refused: &[&str]) {
        let folder = tempfile::tempdir().expect("a folder");
        let text = format!(
            "[[source]]\nkind = \"kafka\"\nbrokers = \"{source}\"\ntopics = [\"{reads}\"]\ngroup = \"g\"\n\
             [sink]\nkind = \"kafka\"\nbrokers = \"{sink}\"\ntopic = \"win-incidents\"\n{more}"
        );
        let said = mistakes(folder.path(), &text);
        assert_eq!(said.matches("would come back as its input").count(), refused.len(), "{said}");
        for topic in refused {
            assert!(said.contains(&format!("topic `{topic}` of the sink")), "{said}");
            assert!(said.contains("run.toml:6: source `kafka-0` reads"), "{said}");
            assert!(said.contains("hint: rename the topics"), "{said}");
        }
    }

    #[test]
    fn a_topic_that_is_written_is_not_read() {
        let all = ["win-incidents", "win-incidents-observations", "win-incidents-changelog"];
        let all = [&all[..], &["win-incidents-dead-letters"]].concat();
        check_topics("^win-.*", "b:9092", "b:9092", "", &all);
        check_topics("^win", "a:9092, b:9092", "PLAINTEXT://B", "", &all);
        check_topics("^win-events", "b:9092", "b:9092", "", &[]);
        check_topics("win-incidents", "localhost:9092", "127.0.0.1:9092", "", &all[..1]);
        check_topics("win-.*", "b:9092", "b:9092", "", &[]);
        check_topics("^.*-dead-letters$", "b:9092", "b:9092", "", &all[3..]);
        check_topics("^win-.*", "b:9092", "c:9092", "", &[]);
        let letters = "dead_letter_topic = \"events\"\n";
        check_topics("events", "b:9092", "b:9092", letters, &["events"]);
        // As the client has it, the anchor belongs to the first branch alone.
        check_topics("^events|letters", "b:9092", "b:9092", "", &all[3..]);
    }

    #[test]
    fn a_pattern_that_is_none_is_a_mistake() {
        let folder = tempfile::tempdir().expect("a folder");
        let text = "[[source]]\nkind = \"kafka\"\nbrokers = \"b\"\ntopics = [\"^(win\"]\ngroup = \"g\"\n\
                    [sink]\nkind = \"stdout\"\n[state]\ndir = \"s\"\n";
        let said = mistakes(folder.path(), text);
        assert!(said.contains("`^(win` is no regular expression"), "{said}");
    }

    #[test]
    fn a_file_that_is_written_does_not_lie_where_logs_are_read() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("logs")).expect("made");
        #[cfg(unix)]
        std::os::unix::fs::symlink("logs", folder.path().join("link")).expect("made");
        let check = |paths: &str, sink: &str, refused: usize| {
            let text = format!(
                "[[source]]\nkind = \"evtx\"\npaths = [{paths}]\n[sink]\n{sink}[state]\ndir = \"s\"\n"
            );
            let said = mistakes(folder.path(), &text);
            let count = said.matches("would come back as its input").count();
            assert_eq!(count, refused, "{paths} {sink}: {said}");
        };
        let file = |path: &str| format!("kind = \"file\"\npath = \"{path}\"\n");
        check("\"logs\"", &file("out.jsonl"), 0);
        check("\"logs\"", &file("logs/out.jsonl"), 1);
        check("\"logs\"", &file("logs/new/../out.jsonl"), 1);
        check("\"logs\"", &file("logs-out.jsonl"), 0);
        check("\"a.evtx\", \".\"", &file("out.jsonl"), 1);
        check("\"a.evtx\"", &file("a.evtx"), 1);
        let letters = "dead_letters = \"logs/dead.jsonl\"\n";
        check("\"logs\"", &(file("out.jsonl") + letters), 1);
        check("\"logs\"", &(file("logs/out.jsonl") + letters), 2);
        check("\"logs\"", &format!("kind = \"stdout\"\n{letters}"), 1);
        #[cfg(unix)]
        check("\"link\"", &file("logs/out.jsonl"), 1);
    }
}

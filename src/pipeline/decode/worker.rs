//! One worker: batches in, observations and rejects out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::SharedRules;
use crate::decode::evtx::ChunkDecoder;
use crate::decode::lines::{LastEvent, LineDecoder};
use crate::decode::{Rejects, Tally};
use crate::detect::rules::{Observer, Rules};
use crate::hash::stable_hash;
use crate::observation::{Observation, What};
use crate::pipeline::host_number;
use crate::pipeline::rejects::KeepBytes;
use crate::position::Position;
use crate::record::Record;
use crate::reject::{DeadLetter, RejectReason};
use crate::source::{Batch, Content, read_segment};
use crate::store::checkpoint::{HostTime, Traced};

/// In front of values that a schema registry knows: a zero and four bytes of
/// the schema's id.
#[cfg(feature = "kafka")]
const REGISTRY_PREFIX_BYTES: usize = 5;

/// What one batch came to.
#[derive(Debug, Default)]
pub(crate) struct Decoded {
    pub input: Arc<str>,
    pub progress_bytes: u64,
    /// The partitions that move on with it.
    pub moved: Vec<(Arc<str>, Position)>,
    /// How long ago it was sent.
    pub age: Duration,
    pub observations: Vec<Observation>,
    /// Records that a rule made a mismatch, a failure or a success of.
    pub observed: u64,
    pub tally: Tally,
    pub matched: BTreeMap<(Box<str>, u32), u64>,
    pub dead_letters: Vec<DeadLetter>,
    pub traced: Vec<Traced>,
    /// The last event of the batch, wanted or not.
    pub last: Option<HostTime>,
    /// Whether all there was of the partition had been read with it; `None`: only its reader knows.
    pub is_current: Option<bool>,
    /// Facts that the worker holds back after it.
    pub facts_held: usize,
}

/// One worker's decoders, under the rules of the day.
#[derive(Debug)]
pub(crate) struct Worker<'r> {
    shared: &'r SharedRules,
    generation: u64,
    chunks: ChunkDecoder,
    lines: LineDecoder,
    last_event: LastEvent,
    observer: Observer,
    buffer: Vec<u8>,
    keep_bytes: KeepBytes,
}

impl<'r> Worker<'r> {
    pub(crate) fn new(shared: &'r SharedRules, keep_bytes: KeepBytes) -> Worker<'r> {
        let (rules, generation) = shared.current();
        let (chunks, lines, observer) = decoders(&rules);
        let buffer = Vec::new();
        let last_event = LastEvent::new();
        Worker { shared, generation, chunks, lines, last_event, observer, buffer, keep_bytes }
    }

    /// Decodes a batch. Facts may be held back until [`Worker::take_facts`].
    pub(crate) fn decode(&mut self, batch: Batch) -> Decoded {
        let mut decoded = Decoded::default();
        if self.shared.generation() != self.generation {
            self.take_facts(&mut decoded.observations);
            let (rules, generation) = self.shared.current();
            (self.chunks, self.lines, self.observer) = decoders(&rules);
            self.generation = generation;
        }
        decoded.tally.rejects = (self.keep_bytes == KeepBytes::Yes).then(Rejects::default);
        let facts_before = decoded.observations.len();
        match &batch.content {
            #[cfg(feature = "kafka")]
            Content::Messages(messages) => {
                decoded.age = messages.age();
                decoded.is_current = Some(messages.is_current());
                let last = messages.iter().last().map(|(_, value)| without_prefix(value));
                decoded.last = last.and_then(|last| self.last(last));
                let part = batch.moved.first().map_or("", |(part, _)| part);
                for (at, (offset, value)) in messages.iter().enumerate() {
                    let before = decoded.observations.len();
                    self.text(without_prefix(value), &mut decoded);
                    let observations = &decoded.observations[before..];
                    trace(observations, || messages.traceparent(at), &mut decoded.traced);
                    let origin = || format!("kafka {part} offset {offset}");
                    take_rejects(&mut decoded, origin);
                }
            }
            Content::Text { bytes } => {
                decoded.is_current = Some(true);
                decoded.last = self.last(bytes);
                self.text(bytes, &mut decoded);
            }
            content => {
                self.chunks(content, &mut decoded);
                let written = decoded.tally.newest_written;
                let host = stable_hash(&*batch.input);
                decoded.last = written.map(|time| HostTime { host, time });
            }
        }
        decoded.tally.keep_reject(Vec::new);
        take_rejects(&mut decoded, || batch.input.to_string());
        let is_ruled = |of: &&Observation| !matches!(of.what, What::Fact(_));
        let observations = decoded.observations[facts_before..].iter();
        Decoded {
            observed: observations.filter(is_ruled).count() as u64,
            matched: self.observer.take_matched(),
            facts_held: self.observer.held(),
            input: batch.input,
            progress_bytes: batch.progress_bytes,
            moved: batch.moved,
            ..decoded
        }
    }

    fn last(&mut self, text: &[u8]) -> Option<HostTime> {
        let (computer, time) = self.last_event.read(text)?;
        Some(HostTime { host: host_number(&computer), time })
    }

    fn text(&mut self, text: &[u8], decoded: &mut Decoded) {
        let Decoded { observations, tally, .. } = decoded;
        tally.bytes += text.len() as u64;
        let observer = &mut self.observer;
        let emit = &mut |record: &Record<'_>| observer.observe(record, observations);
        self.lines.decode(text, tally, emit);
    }

    fn chunks(&mut self, content: &Content, decoded: &mut Decoded) {
        let Decoded { observations, tally, .. } = decoded;
        let observer = &mut self.observer;
        let emit = &mut |record: &Record<'_>| observer.observe(record, observations);
        match content {
            Content::Segment { file, offset, len, first_chunk } => {
                match read_segment(file, *offset, *len, &mut self.buffer) {
                    Ok(()) => {
                        if self.buffer.len() < *len {
                            tally.skip(RejectReason::ChunkTruncated, || {
                                "became shorter while it was read".to_owned()
                            });
                        }
                        self.chunks.decode(&self.buffer, *first_chunk, tally, emit);
                    }
                    Err(error) => tally.skip(RejectReason::File, || error.to_string()),
                }
            }
            Content::Chunks { bytes, first_chunk, after_record: None } => {
                self.chunks.decode(bytes, *first_chunk, tally, emit);
            }
            Content::Chunks { bytes, first_chunk, after_record: Some(after) } => {
                self.chunks.decode_after(bytes, *first_chunk, *after, tally, emit);
            }
            Content::Text { .. } => {}
            #[cfg(feature = "kafka")]
            Content::Messages(_) => {}
        }
    }

    /// The facts that were held back.
    pub(crate) fn take_facts(&mut self, observations: &mut Vec<Observation>) {
        self.observer.finish(observations);
    }
}

fn decoders(rules: &Arc<Rules>) -> (ChunkDecoder, LineDecoder, Observer) {
    (
        ChunkDecoder::new(Arc::clone(rules.wanted())),
        LineDecoder::new(Arc::clone(rules.wanted())),
        Observer::new(Arc::clone(rules)),
    )
}

/// Notes the trace context that came with observations, if any of them is more than a fact.
#[cfg(feature = "kafka")]
fn trace(
    observations: &[Observation],
    traceparent: impl Fn() -> Option<Box<str>>,
    traced: &mut Vec<Traced>,
) {
    let is_ruled = |of: &&Observation| !matches!(of.what, What::Fact(_));
    let mut ruled = observations.iter().filter(is_ruled).peekable();
    if ruled.peek().is_some()
        && let Some(traceparent) = traceparent()
    {
        traced.extend(ruled.filter_map(|observation| {
            let key = &observation.key;
            let record =
                crate::pipeline::traces::record_of(&key.computer, key.time, key.record_id)?;
            Some(Traced { record, traceparent: traceparent.clone() })
        }));
    }
}

fn take_rejects(decoded: &mut Decoded, origin: impl Fn() -> String) {
    let Some(rejects) = &mut decoded.tally.rejects else { return };
    decoded.dead_letters.extend(rejects.rejects.drain(..).map(|reject| DeadLetter {
        origin: origin(),
        reason: reject.reason.name(),
        what: reject.what,
        bytes: reject.bytes,
    }));
}

#[cfg(feature = "kafka")]
fn without_prefix(value: &[u8]) -> &[u8] {
    match value {
        [0, ..] => value.get(REGISTRY_PREFIX_BYTES..).unwrap_or_default(),
        _ => value,
    }
}

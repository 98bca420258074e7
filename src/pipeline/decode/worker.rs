//! One worker: batches in, observations out.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::decode::evtx::ChunkDecoder;
use crate::decode::lines::LineDecoder;
use crate::decode::{Rejects, Tally};
use crate::detect::rules::{Observer, Rules};
use crate::observation::{Observation, What};
use crate::pipeline::traces::record_of;
use crate::record::Record;
use crate::reject::DeadLetter;
use crate::reject::RejectReason;
use crate::source::{Batch, Content, read_segment};
use crate::store::checkpoint::Traced;

/// What one batch came to.
#[derive(Debug, Default)]
pub struct Decoded {
    pub input: Arc<str>,
    pub progress_bytes: u64,
    pub observations: Vec<Observation>,
    pub tally: Tally,
    pub matched: BTreeMap<(Box<str>, u32), u64>,
    pub dead_letters: Vec<DeadLetter>,
    pub traced: Vec<Traced>,
}

/// What becomes of what cannot be decoded, beside being counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undecodable {
    Dropped,
    /// As dead letters.
    RestoredState,
}

/// One worker's decoders.
#[derive(Debug)]
pub struct Worker {
    rules: Arc<Rules>,
    chunks: ChunkDecoder,
    lines: LineDecoder,
    observer: Observer,
    buffer: Vec<u8>,
    undecodable: Undecodable,
    /// What came of the messages so far.
    decoded: Decoded,
}

/// In front of values that a schema registry knows: a zero and four bytes of
/// the schema's id.
const REGISTRY_PREFIX_BYTES: usize = 5;

impl Worker {
    pub fn new(rules: &Arc<Rules>, undecodable: Undecodable) -> Worker {
        let mut worker = Worker {
            chunks: ChunkDecoder::new(Arc::clone(rules.wanted())),
            lines: LineDecoder::new(Arc::clone(rules.wanted())),
            observer: Observer::new(Arc::clone(rules)),
            rules: Arc::clone(rules),
            buffer: Vec::new(),
            undecodable,
            decoded: Decoded::default(),
        };
        worker.begin();
        worker
    }

    fn begin(&mut self) {
        self.decoded = Decoded::default();
        self.decoded.tally.rejects =
            (self.undecodable == Undecodable::RestoredState).then(Rejects::default);
    }

    /// Decodes a batch that is no messages, or whose messages were not handed
    /// over one by one.
    pub fn decode(&mut self, batch: &Batch) -> Decoded {
        if let Content::Messages { bytes, messages, age: _ } = &batch.content {
            for message in messages {
                let (part, _) = &batch.moved[message.part];
                let origin = || format!("{} {part} offset {}", batch.input, message.offset);
                let traceparent = || message.traceparent.clone();
                self.message(&bytes[message.start..message.end], origin, traceparent);
            }
            return self.take_decoded_of(batch);
        }
        let Decoded { observations, tally, .. } = &mut self.decoded;
        let observer = &mut self.observer;
        let emit = &mut |record: &Record<'_>| observer.observe(record, observations);
        match &batch.content {
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
            Content::Text { bytes } => {
                tally.bytes += bytes.len() as u64;
                self.lines.decode(bytes, tally, emit);
            }
            Content::Messages { .. } => {}
        }
        tally.keep_reject(Vec::new);
        take_rejects(&mut self.decoded, || batch.input.to_string());
        self.take_decoded_of(batch)
    }

    fn take_decoded_of(&mut self, batch: &Batch) -> Decoded {
        let (input, progress_bytes) = (Arc::clone(&batch.input), batch.progress_bytes);
        Decoded { input, progress_bytes, ..self.take_decoded() }
    }

    /// Decodes one message; what came of it is handed out by
    /// [`Worker::take_decoded`].
    pub fn message(
        &mut self,
        value: &[u8],
        origin: impl Fn() -> String,
        traceparent: impl Fn() -> Option<Box<str>>,
    ) {
        let Decoded { observations, tally, traced, .. } = &mut self.decoded;
        let (observer, before) = (&mut self.observer, observations.len());
        tally.bytes += value.len() as u64;
        self.lines.decode(without_prefix(value), tally, &mut |record: &Record<'_>| {
            observer.observe(record, observations);
        });
        let wanted = |observation: &&Observation| !matches!(observation.what, What::Fact(_));
        let mut wanted = observations[before..].iter().filter(wanted).peekable();
        if wanted.peek().is_some()
            && let Some(traceparent) = traceparent()
        {
            traced.extend(wanted.filter_map(|observation| {
                let key = &observation.key;
                let record = record_of(&key.computer, key.time, key.record_id)?;
                Some(Traced { record, traceparent: traceparent.clone() })
            }));
        }
        take_rejects(&mut self.decoded, origin);
    }

    /// What came since the last call.
    pub fn take_decoded(&mut self) -> Decoded {
        self.decoded.matched = self.observer.take_matched();
        let decoded = std::mem::take(&mut self.decoded);
        self.begin();
        decoded
    }

    /// Facts that are held back.
    pub fn held(&self) -> usize {
        self.observer.held()
    }

    /// The facts that were held back.
    pub fn take_facts(&mut self, observations: &mut Vec<Observation>) {
        self.observer.finish(observations);
    }

    /// Forgets what was held back.
    pub fn reset(&mut self) {
        self.observer = Observer::new(Arc::clone(&self.rules));
        self.begin();
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

fn without_prefix(value: &[u8]) -> &[u8] {
    match value {
        [0, ..] => value.get(REGISTRY_PREFIX_BYTES..).unwrap_or_default(),
        _ => value,
    }
}

//! One worker: batches in, observations out.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::decode::evtx::ChunkDecoder;
use crate::decode::lines::LineDecoder;
use crate::decode::{Letters, Skip, Tally};
use crate::detect::rules::{Observer, Rules};
use crate::event::Observation;
use crate::record::Record;
use crate::sink::DeadLetter;
use crate::source::{Batch, Content, read_segment};

/// What one batch came to.
#[derive(Debug)]
pub struct Decoded {
    pub input: Arc<str>,
    pub observations: Vec<Observation>,
    pub tally: Tally,
    pub matched: BTreeMap<(Box<str>, u32), u64>,
    pub dead_letters: Vec<DeadLetter>,
    pub progress_bytes: u64,
}

/// What becomes of what cannot be decoded, beside being counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undecodable {
    Dropped,
    /// As dead letters.
    Kept,
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
}

/// In front of values that a schema registry knows: a zero and four bytes of
/// the schema's id.
const REGISTRY_PREFIX_BYTES: usize = 5;

impl Worker {
    pub fn new(rules: &Arc<Rules>, undecodable: Undecodable) -> Worker {
        Worker {
            chunks: ChunkDecoder::new(Arc::clone(rules.wanted())),
            lines: LineDecoder::new(Arc::clone(rules.wanted())),
            observer: Observer::new(Arc::clone(rules)),
            rules: Arc::clone(rules),
            buffer: Vec::new(),
            undecodable,
        }
    }

    pub fn decode(&mut self, batch: Batch) -> Decoded {
        let letters = (self.undecodable == Undecodable::Kept).then(Letters::default);
        let mut tally = Tally { letters, ..Tally::default() };
        let mut observations = Vec::new();
        let mut dead_letters = Vec::new();
        let observer = &mut self.observer;
        let emit = &mut |record: &Record<'_>| {
            observer.observe(record, &mut observations);
        };
        match &batch.content {
            Content::Segment { file, offset, len, first_chunk } => {
                match read_segment(file, *offset, *len, &mut self.buffer) {
                    Ok(()) => {
                        if self.buffer.len() < *len {
                            tally.skip(Skip::ChunkTruncated, || {
                                "became shorter while it was read".to_owned()
                            });
                        }
                        self.chunks.decode(&self.buffer, *first_chunk, &mut tally, emit);
                    }
                    Err(error) => tally.skip(Skip::File, || error.to_string()),
                }
            }
            Content::Chunks { bytes, first_chunk, after_record: None } => {
                self.chunks.decode(bytes, *first_chunk, &mut tally, emit);
            }
            Content::Chunks { bytes, first_chunk, after_record: Some(after) } => {
                self.chunks.decode_after(bytes, *first_chunk, *after, &mut tally, emit);
            }
            Content::Text { bytes } => {
                tally.bytes += bytes.len() as u64;
                self.lines.decode(bytes, &mut tally, emit);
            }
            Content::Messages { bytes, messages, age: _ } => {
                tally.bytes += bytes.len() as u64;
                for message in messages {
                    let text = &bytes[message.start..message.end];
                    self.lines.decode(without_prefix(text), &mut tally, emit);
                    if tally.letters.as_ref().is_some_and(|letters| !letters.letters.is_empty()) {
                        let (part, _) = &batch.moved[message.part];
                        let origin = format!("{} {part} offset {}", batch.input, message.offset);
                        take_letters(&mut tally, &origin, &mut dead_letters);
                    }
                }
            }
        }
        tally.keep_letter(Vec::new);
        take_letters(&mut tally, &batch.input, &mut dead_letters);
        Decoded {
            input: batch.input,
            observations,
            tally,
            matched: self.observer.take_matched(),
            dead_letters,
            progress_bytes: batch.progress_bytes,
        }
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
    }
}

fn take_letters(tally: &mut Tally, origin: &str, dead_letters: &mut Vec<DeadLetter>) {
    let letters = tally.letters.as_mut().map(|letters| std::mem::take(&mut letters.letters));
    dead_letters.extend(letters.into_iter().flatten().map(|letter| DeadLetter {
        origin: origin.to_owned(),
        reason: letter.reason.name(),
        what: letter.what,
        bytes: letter.bytes,
    }));
}

fn without_prefix(value: &[u8]) -> &[u8] {
    match value {
        [0, ..] => value.get(REGISTRY_PREFIX_BYTES..).unwrap_or_default(),
        _ => value,
    }
}

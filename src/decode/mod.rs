//! Bytes in, [`Record`]s out: what every format's decoder promises.
//!
//! A decoder has two outputs: the wanted records, passed to [`Emit`], and the rejects, counted in a
//! [`Tally`] and kept in its [`Rejects`] where they are asked for. It reads just enough of a record
//! to decide whether it is wanted ([`crate::record::Wanted`]), and of a wanted one only the wanted
//! values. What cannot be read is a reject, never an end: the decoder continues behind it. Decoders
//! are pure: no input or output, no clock, no thread.
//!
//! | module | reads |
//! |---|---|
//! | [`evtx`] | chunks of EVTX files: the fast path, template plans |
//! | [`binxml`] | the BinXML template language that EVTX records are written in |
//! | [`oracle`] | whole chunks through the `evtx` crate: the slow path |
//! | [`lines`] | text blocks: finds the events in them for `xml` and `json` |
//! | [`xml`] | event XML, one `<Event>` at a time |
//! | [`json`] | one JSON object at a time, in any of the known shapes |
//! | `event` | an event as read from text, before it is a record |
//! | [`field_plan`] | the wanted fields, by their names in text |
//! | [`clock`] | timestamps as text |
//! | `text` | what the readers of text share |

pub mod binxml;
pub mod clock;
mod event;
pub mod evtx;
pub mod field_plan;
pub mod json;
pub mod lines;
pub mod oracle;
mod text;
pub mod xml;

use std::collections::BTreeMap;

use crate::record::Record;
use crate::reject::RejectReason;
use crate::time::EventTime;

/// Called once for each wanted record, in the order of the input.
pub type Emit<'e> = dyn FnMut(&Record<'_>) + 'e;

/// What was decoded and what was not, as counts; with the rejects where they are kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    pub bytes: u64,
    pub chunks: u64,
    /// Records read, wanted or not, without the rejects.
    pub records: u64,
    /// Those of `records` that took the slow path.
    pub slow_records: u64,
    pub skipped: BTreeMap<RejectReason, u64>,
    /// When the newest record of an EVTX chunk was written, wanted or not.
    pub newest_written: Option<EventTime>,
    /// For each reason the first reject: where it was, and what was expected.
    pub samples: BTreeMap<RejectReason, String>,
    /// The rejects themselves; `None` unless they are kept.
    pub rejects: Option<Rejects>,
}

/// The decoder's second output: what it could not decode, in the order of the input.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rejects {
    pub rejects: Vec<Reject>,
    /// The last reject that was counted, until [`Tally::keep_reject`] adds its bytes.
    last: Option<(RejectReason, String)>,
}

/// A record, line or chunk that could not be decoded.
#[derive(Clone, Debug, PartialEq)]
pub struct Reject {
    pub reason: RejectReason,
    /// Where it was, and what was expected.
    pub what: String,
    /// As it came.
    pub bytes: Vec<u8>,
}

impl Tally {
    /// Counts one reject. `sample` says where it was and what was expected; it is called for the
    /// first of each reason, and for every one where rejects are kept.
    pub fn skip(&mut self, reason: RejectReason, sample: impl FnOnce() -> String) {
        *self.skipped.entry(reason).or_default() += 1;
        match &mut self.rejects {
            Some(rejects) => {
                let sample = sample();
                self.samples.entry(reason).or_insert_with(|| sample.clone());
                // One whose bytes nobody gave, such as a record within a chunk.
                if let Some((reason, what)) = rejects.last.replace((reason, sample)) {
                    rejects.rejects.push(Reject { reason, what, bytes: Vec::new() });
                }
            }
            None => {
                self.samples.entry(reason).or_insert_with(sample);
            }
        }
    }

    /// Keeps the reject that was counted since the last call, if there is one and rejects are kept.
    /// `bytes` is the record, line or chunk as it came.
    pub fn keep_reject(&mut self, bytes: impl FnOnce() -> Vec<u8>) {
        if let Some(rejects) = &mut self.rejects
            && let Some((reason, what)) = rejects.last.take()
        {
            rejects.rejects.push(Reject { reason, what, bytes: bytes() });
        }
    }

    /// Adds the counts and rejects of a later part of the input.
    pub fn absorb(&mut self, later: Tally) {
        self.bytes += later.bytes;
        self.chunks += later.chunks;
        self.records += later.records;
        self.slow_records += later.slow_records;
        self.newest_written = self.newest_written.max(later.newest_written);
        for (reason, count) in later.skipped {
            *self.skipped.entry(reason).or_default() += count;
        }
        for (reason, sample) in later.samples {
            self.samples.entry(reason).or_insert(sample);
        }
        if let (Some(rejects), Some(later)) = (&mut self.rejects, later.rejects) {
            rejects.rejects.extend(later.rejects);
        }
    }
}

//! Bytes in, [`Record`]s out: what every format's decoder promises.
//!
//! A decoder looks at each record just long enough to see whether anybody
//! wants it ([`crate::record::Wanted`]), and reads only the wanted values of those that are.
//! What it cannot read it counts in a [`Tally`] with the reason, and goes on.
//! Decoders are pure: no input or output, no clock, no thread.
//!
//! | module | reads |
//! |---|---|
//! | [`evtx`] | chunks of EVTX files: the fast path, template plans |
//! | [`binxml`] | the BinXML template language that EVTX records are written in |
//! | [`oracle`] | whole chunks through the `evtx` crate: the slow path |
//! | [`xml`] | event XML, one `<Event>` at a time |
//! | [`json`] | one JSON object at a time, in any of the known shapes |
//! | [`lines`] | text blocks: frames them into events for `xml` and `json` |
//! | [`clock`] | timestamps as text |

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

/// Where a decoder hands over each wanted record.
pub type Emit<'e> = dyn FnMut(&Record<'_>) + 'e;

/// What decoding came to, beside the records handed over.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    pub bytes: u64,
    pub chunks: u64,
    /// Records seen, wanted or not, without the skipped ones.
    pub records: u64,
    /// Those of `records` that took the slow path.
    pub slow_records: u64,
    pub skipped: BTreeMap<RejectReason, u64>,
    /// The first of each reason: where it was, and what was expected.
    pub samples: BTreeMap<RejectReason, String>,
    /// What was skipped, where somebody wants to keep it.
    pub rejects: Option<Rejects>,
}

/// What was skipped, as it came.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rejects {
    pub rejects: Vec<Reject>,
    /// The last skip, until its bytes are known.
    last: Option<(RejectReason, String)>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Reject {
    pub reason: RejectReason,
    pub what: String,
    pub bytes: Vec<u8>,
}

impl Tally {
    /// Counts one skip; `sample` is asked for at the first of each reason.
    pub fn skip(&mut self, reason: RejectReason, sample: impl FnOnce() -> String) {
        *self.skipped.entry(reason).or_default() += 1;
        match &mut self.rejects {
            Some(rejects) => {
                let sample = sample();
                self.samples.entry(reason).or_insert_with(|| sample.clone());
                rejects.last = Some((reason, sample));
            }
            None => {
                self.samples.entry(reason).or_insert_with(sample);
            }
        }
    }

    /// Keeps what was skipped since the last call; `bytes` are asked for only
    /// where something was.
    pub fn keep_reject(&mut self, bytes: impl FnOnce() -> Vec<u8>) {
        if let Some(rejects) = &mut self.rejects
            && let Some((reason, what)) = rejects.last.take()
        {
            rejects.rejects.push(Reject { reason, what, bytes: bytes() });
        }
    }

    /// Adds what came later.
    pub fn absorb(&mut self, later: Tally) {
        self.bytes += later.bytes;
        self.chunks += later.chunks;
        self.records += later.records;
        self.slow_records += later.slow_records;
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

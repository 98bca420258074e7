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
pub mod evtx;
pub mod json;
pub mod lines;
pub mod oracle;
pub mod xml;

use std::collections::BTreeMap;

use crate::record::Record;

/// Where a decoder hands over each wanted record.
pub type Emit<'e> = dyn FnMut(&Record<'_>) + 'e;

/// Why something was skipped. The name is what `--stats` counts by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Skip {
    /// A chunk that does not start with `ElfChnk`, and is not all zeros.
    ChunkHeader,
    /// A chunk whose checksum is wrong. Its records are read all the same
    /// where they are whole: a log that was not closed looks like this.
    ChunkChecksum,
    /// A chunk or file that ends before it should.
    ChunkTruncated,
    /// A record whose header or length is wrong.
    RecordHeader,
    /// A record whose content cannot be read, not by the slow path either.
    RecordContent,
    /// Text that is neither XML nor JSON.
    LineNotAnEvent,
    /// One event longer than the bound.
    LineTooLong,
    XmlMalformed,
    JsonMalformed,
    /// JSON that is whole but of no known shape.
    JsonShapeUnknown,
    /// An event without provider, id, computer or time.
    FieldsMissing,
    /// A file or archive member that cannot be opened or read to its end.
    File,
    /// An archive member that is refused: its name leaves the folder, or it
    /// grows beyond the limits.
    ArchiveMember,
    /// A peer whose connection was refused, or failed before it sent an event.
    Connection,
}

impl Skip {
    pub const ALL: [Skip; 14] = [
        Skip::ChunkHeader,
        Skip::ChunkChecksum,
        Skip::ChunkTruncated,
        Skip::RecordHeader,
        Skip::RecordContent,
        Skip::LineNotAnEvent,
        Skip::LineTooLong,
        Skip::XmlMalformed,
        Skip::JsonMalformed,
        Skip::JsonShapeUnknown,
        Skip::FieldsMissing,
        Skip::File,
        Skip::ArchiveMember,
        Skip::Connection,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Skip::ChunkHeader => "chunk_header",
            Skip::ChunkChecksum => "chunk_checksum",
            Skip::ChunkTruncated => "chunk_truncated",
            Skip::RecordHeader => "record_header",
            Skip::RecordContent => "record_content",
            Skip::LineNotAnEvent => "line_not_an_event",
            Skip::LineTooLong => "line_too_long",
            Skip::XmlMalformed => "xml_malformed",
            Skip::JsonMalformed => "json_malformed",
            Skip::JsonShapeUnknown => "json_shape_unknown",
            Skip::FieldsMissing => "fields_missing",
            Skip::File => "file",
            Skip::ArchiveMember => "archive_member",
            Skip::Connection => "connection",
        }
    }
}

/// What decoding came to, beside the records handed over.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    pub bytes: u64,
    pub chunks: u64,
    /// Records seen, wanted or not, without the skipped ones.
    pub records: u64,
    /// Those of `records` that took the slow path.
    pub slow_records: u64,
    pub skipped: BTreeMap<Skip, u64>,
    /// The first of each reason: where it was, and what was expected.
    pub samples: BTreeMap<Skip, String>,
    /// What was skipped, where somebody wants to keep it.
    pub letters: Option<Letters>,
}

/// What was skipped, as it came.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Letters {
    pub letters: Vec<Letter>,
    /// The last skip, until its bytes are known.
    last: Option<(Skip, String)>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Letter {
    pub reason: Skip,
    pub what: String,
    pub bytes: Vec<u8>,
}

impl Tally {
    /// Counts one skip; `sample` is asked for at the first of each reason.
    pub fn skip(&mut self, reason: Skip, sample: impl FnOnce() -> String) {
        *self.skipped.entry(reason).or_default() += 1;
        match &mut self.letters {
            Some(letters) => {
                let sample = sample();
                self.samples.entry(reason).or_insert_with(|| sample.clone());
                letters.last = Some((reason, sample));
            }
            None => {
                self.samples.entry(reason).or_insert_with(sample);
            }
        }
    }

    /// Keeps what was skipped since the last call; `bytes` are asked for only
    /// where something was.
    pub fn keep_letter(&mut self, bytes: impl FnOnce() -> Vec<u8>) {
        if let Some(letters) = &mut self.letters
            && let Some((reason, what)) = letters.last.take()
        {
            letters.letters.push(Letter { reason, what, bytes: bytes() });
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
        if let (Some(letters), Some(later)) = (&mut self.letters, later.letters) {
            letters.letters.extend(later.letters);
        }
    }
}

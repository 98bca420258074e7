//! Where events come from: an ordered stream of raw batches.
//!
//! A source knows containers (files, archives, compression, text encodings)
//! and positions; what the bytes mean is the decoders' business. A batch is
//! either bytes at hand, or a segment of a file that whoever decodes it reads
//! for itself, so that reading is as parallel as decoding.
//!
//! | module | reads |
//! |---|---|
//! | [`discover`] | paths to the list of inputs |
//! | [`files`] | files, archives and standard input, one after the other |
//! | `kafka` | Kafka topics, shared with other copies or alone |
//! | [`follow`] | EVTX files that others append to |
//! | [`text`] | text streams: encodings, blocks of whole events |
//! | [`pipe`] | live: standard input that stays open |
//!
//! A live source does not end: it waits for what comes, gives with each batch
//! the position behind it, and resumes from there after a restart. How far it is behind is its
//! [`Lag`].

pub mod discover;
pub mod files;
pub mod follow;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod pipe;
pub mod text;

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::position::{Position, Positions};

/// Size of a chunk of an EVTX file; batches of chunks are multiples of it.
pub const EVTX_CHUNK_BYTES: u64 = 64 * 1024;

/// Size of the header that stands before the first chunk.
pub const EVTX_HEADER_BYTES: u64 = 4096;

/// Bytes of one batch, more or less: large enough that handing it over costs
/// nothing, small enough to stay in the processor's cache.
pub const BATCH_BYTES: u64 = 16 * EVTX_CHUNK_BYTES;

/// What a source has next.
#[derive(Debug)]
pub enum Next {
    Batch(Batch),
    /// An input, or a part of one, that cannot be read; the source continues behind it.
    Skipped(Skipped),
    /// Nothing came within the time; what there is was handed over.
    Idle,
    /// Nothing came within the time, though there should be more.
    Waiting,
    /// The partitions were assigned anew: what was returned and not committed belongs to another
    /// copy by now, or will be returned again.
    Rewound,
    End,
}

/// How far a source is behind its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lag {
    /// Its input has no end that could be known.
    NotCounted,
    /// Not known now: nothing was heard of the input's end, or its brokers are away.
    Unknown,
    /// Records from what is durable to the end of the input.
    Records(u64),
}

/// What a source has left after [`Source::stop`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterStop {
    /// Nothing that it could not read again.
    Nothing,
    /// [`Source::next`] goes on giving what was taken, and then [`Next::End`].
    Taken,
}

/// An ordered stream of raw batches for each of its partitions.
pub trait Source {
    /// What comes next. A live source waits for it, `wait` at the most.
    fn next(&mut self, wait: Duration) -> Result<Next, SourceError>;

    /// Goes on behind these positions instead of at the beginning; called at
    /// most once, before anything is read.
    fn resume(&mut self, positions: &Positions) -> Result<(), SourceError> {
        let _ = positions;
        Ok(())
    }

    /// No more is wanted than what was already taken from whoever sends, and cannot be asked for
    /// again.
    fn stop(&mut self) -> Result<AfterStop, SourceError> {
        Ok(AfterStop::Nothing)
    }

    /// Everything up to these positions is durable, with every incident that depends on it: a
    /// source whose sender waits can acknowledge. Called from the thread that calls
    /// [`Source::next`], after each commit that moved any of its partitions on.
    fn committed(&mut self, positions: &Positions) -> Result<(), SourceError> {
        let _ = positions;
        Ok(())
    }

    /// How far it is behind, as of some seconds ago.
    fn lag(&mut self) -> Lag {
        Lag::NotCounted
    }
}

/// Some of an input's bytes.
#[derive(Debug)]
pub struct Batch {
    /// What the input is called in messages.
    pub input: Arc<str>,
    pub content: Content,
    /// Bytes of the inputs' files that are done with this batch; fewer than
    /// the content's where it was compressed.
    pub progress_bytes: u64,
    /// The parts of a live source that move on with this batch, and to where.
    pub moved: Vec<(Arc<str>, Position)>,
}

#[derive(Debug)]
pub enum Content {
    /// EVTX chunks, to be read from the file.
    Segment { file: Arc<File>, offset: u64, len: usize, first_chunk: u64 },
    /// EVTX chunks. Of the records with an id in their header at or below
    /// `after_record`, nothing is wanted: they were handed over before.
    Chunks { bytes: Vec<u8>, first_chunk: u64, after_record: Option<u64> },
    /// UTF-8 text that holds whole events.
    Text { bytes: Vec<u8> },
    /// Messages of one partition, each with one or more whole events.
    #[cfg(feature = "kafka")]
    Messages(kafka::Messages),
}

#[derive(Debug)]
pub struct Skipped {
    pub input: Arc<str>,
    pub what: SkippedWhat,
    pub reason: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SkippedWhat {
    File,
    ArchiveMember,
    /// A peer that could not connect, or was cut off.
    Connection,
}

/// Why a run cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error("cannot read `{path}`: {cause}\n  hint: {hint}")]
    Unreadable { path: PathBuf, cause: io::Error, hint: &'static str },
    #[error(
        "no event logs in `{path}`\n  hint: files named {EXTENSIONS} are read, also in folders below and compressed as .zip, .gz or .zst; name a file directly to read it whatever it is called"
    )]
    NoLogs { path: PathBuf },
    #[error(
        "`{path}` is named as input and as output\n  hint: an output takes the place of the file that stands there"
    )]
    OutputIsInput { path: PathBuf },
    #[error("{what}")]
    Stream { what: String },
    #[error("cannot listen on `{listen}`: {cause}\n  hint: {hint}")]
    CannotListen { listen: Box<str>, cause: io::Error, hint: &'static str },
    #[error("cannot use `{path}` for TLS: {cause}\n  hint: {hint}")]
    Tls { path: PathBuf, cause: Box<str>, hint: &'static str },
    #[error("more than {max} files below `{path}`\n  hint: name the folders to read one by one")]
    TooManyFiles { path: PathBuf, max: usize },
}

const EXTENSIONS: &str = ".evtx, .xml, .json, .jsonl, .ndjson or .log";

/// [`read_segment`] into new memory, which is not filled with zeros first.
fn read_new(mut file: &File, offset: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(len);
    file.seek(SeekFrom::Start(offset))?;
    file.take(len as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads a segment of a file, or as much of it as there is: the file may have
/// become shorter meanwhile.
pub fn read_segment(file: &File, offset: u64, len: usize, buffer: &mut Vec<u8>) -> io::Result<()> {
    buffer.resize(len, 0);
    let mut filled = 0;
    while filled < len {
        match read_at(file, &mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    buffer.truncate(filled);
    Ok(())
}

#[cfg(unix)]
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, offset)
}

#[cfg(windows)]
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buffer, offset)
}

//! Files, archives and standard input, one after the other.
//!
//! What an input is, its first bytes say, not its name. Compressed inputs and
//! archives are read as streams and never unpacked to disk; a member that
//! grows out of all proportion is given up.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::DeflateDecoder;
use flate2::read::MultiGzDecoder;
use zip::{CompressionMethod, ZipArchive};

use super::discover::{Input, is_log};
use super::text::{Blocks, Cut};
use super::{
    BATCH_BYTES, Batch, Content, EVTX_CHUNK_BYTES, EVTX_HEADER_BYTES, Next, Skipped, SkippedWhat,
    Source, SourceError,
};

/// A compressed stream may grow to this whatever its size.
const UNPACKED_BYTES_FREE: u64 = 256 * 1024 * 1024;

/// Beyond that, it may be this many times as large as it was. Logs shrink to
/// about a tenth; only bombs grow further.
const UNPACKED_RATIO_MAX: u64 = 200;

/// Most members of one archive.
const MEMBERS_MAX: usize = 1_000_000;

/// Archives and compressed files within each other.
const NESTED_MAX: usize = 3;

/// Largest archive within an archive: it has to be held in memory.
const NESTED_ARCHIVE_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// Bytes that tell what a stream is.
const HEAD_BYTES: usize = 16;

/// Largest window that a zstd stream may ask for, as a power of two: 16 MiB,
/// twice what any level but those of `--ultra` and `--long` uses.
const ZSTD_WINDOW_LOG_MAX: u32 = 24;

/// Reads the inputs of one run.
pub struct Files {
    inputs: VecDeque<Input>,
    cut: Cut,
    current: Option<Reading>,
}

impl std::fmt::Debug for Files {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Files").field("inputs", &self.inputs.len()).finish_non_exhaustive()
    }
}

/// An input that has been opened.
enum Reading {
    Evtx(Evtx),
    Stream(Stream),
    Archive(Box<Archive>),
}

/// An EVTX file, handed out as segments.
struct Evtx {
    input: Arc<str>,
    file: Arc<File>,
    offset: u64,
    end: u64,
}

/// Anything that is read from front to back.
struct Stream {
    input: Arc<str>,
    content: StreamContent,
    /// Bytes of the outermost file, told at the end.
    progress_bytes: u64,
}

enum StreamContent {
    Chunks { stream: Box<dyn Read + Send>, next_chunk: u64, failed: Option<io::Error> },
    Text(Blocks<Box<dyn Read + Send>>),
}

struct Archive {
    input: Arc<str>,
    zip: ZipArchive<BufReader<Window>>,
    bytes: ArchiveBytes,
    next: usize,
    progress_bytes: u64,
    depth: usize,
    /// The member at hand.
    member: Option<Box<Reading>>,
}

/// Why an input was passed over.
struct GiveUp(String);

impl From<io::Error> for GiveUp {
    fn from(error: io::Error) -> GiveUp {
        GiveUp(error.to_string())
    }
}

impl Files {
    /// `cut` finds the end of the last whole event in a block of text.
    pub fn new(inputs: Vec<Input>, cut: Cut) -> Files {
        Files { inputs: inputs.into(), cut, current: None }
    }

    fn open(&mut self, input: Input) -> Result<Result<Reading, Skipped>, SourceError> {
        let (path, bytes, named) = match input {
            Input::StandardInput => {
                let input: Arc<str> = "standard input".into();
                let stream: Box<dyn Read + Send> = Box::new(io::stdin());
                let opened = open_stream(stream, &input, 0, 0, self.cut);
                return Ok(
                    opened.map_err(|GiveUp(reason)| skipped(&input, SkippedWhat::File, reason))
                );
            }
            Input::File { path, bytes, named } => (path, bytes, named),
        };
        let input: Arc<str> = path.display().to_string().into();
        match open_file(&path, bytes, &input, self.cut) {
            Ok(reading) => Ok(Ok(reading)),
            Err(OpenError::NotOpened(cause)) if named => {
                let hint = "check the path and who may read it";
                Err(SourceError::Unreadable { path, cause, hint })
            }
            Err(OpenError::NotOpened(cause)) => {
                Ok(Err(skipped(&input, SkippedWhat::File, cause.to_string())))
            }
            Err(OpenError::GiveUp(GiveUp(reason))) => {
                Ok(Err(skipped(&input, SkippedWhat::File, reason)))
            }
        }
    }
}

impl Source for Files {
    fn next(&mut self) -> Result<Next, SourceError> {
        loop {
            if let Some(reading) = &mut self.current {
                match reading.next(self.cut) {
                    Some(next) => return Ok(next),
                    None => self.current = None,
                }
            }
            let Some(input) = self.inputs.pop_front() else { return Ok(Next::End) };
            match self.open(input)? {
                Ok(reading) => self.current = Some(reading),
                Err(skipped) => return Ok(Next::Skipped(skipped)),
            }
        }
    }
}

fn skipped(input: &Arc<str>, what: SkippedWhat, reason: String) -> Skipped {
    Skipped { input: Arc::clone(input), what, reason }
}

enum OpenError {
    NotOpened(io::Error),
    GiveUp(GiveUp),
}

impl<T: Into<GiveUp>> From<T> for OpenError {
    fn from(error: T) -> OpenError {
        OpenError::GiveUp(error.into())
    }
}

fn open_file(path: &Path, bytes: u64, input: &Arc<str>, cut: Cut) -> Result<Reading, OpenError> {
    let mut file = File::open(path).map_err(OpenError::NotOpened)?;
    let seekable = file.metadata().map_err(OpenError::NotOpened)?.is_file();
    if !seekable {
        return Ok(open_stream(Box::new(file), input, bytes, 0, cut)?);
    }
    let mut head = [0; HEAD_BYTES];
    let read = read_full(&mut file, &mut head)?;
    let is_evtx = head[..read].starts_with(b"ElfFile\0")
        || (has_evtx_name(path) && has_chunk(&file).unwrap_or(false));
    if is_evtx {
        let end = file.metadata().map_err(OpenError::NotOpened)?.len();
        let file = Arc::new(file);
        let input = Arc::clone(input);
        return Ok(Reading::Evtx(Evtx { input, file, offset: EVTX_HEADER_BYTES, end }));
    }
    if has_evtx_name(path) {
        let what = if read == 0 { "is empty" } else { "does not start with `ElfFile`" };
        return Err(GiveUp(format!("is named .evtx but {what}")).into());
    }
    file.seek(SeekFrom::Start(0)).map_err(OpenError::NotOpened)?;
    if head[..read].starts_with(b"PK\x03\x04") || head[..read].starts_with(b"PK\x05\x06") {
        return Ok(open_archive(ArchiveBytes::File(Arc::new(file)), input, bytes, 0)?);
    }
    Ok(open_stream(Box::new(file), input, bytes, 0, cut)?)
}

fn has_evtx_name(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("evtx"))
}

/// Whether a file whose header is damaged has a chunk where the first belongs.
fn has_chunk(file: &File) -> io::Result<bool> {
    let mut magic = Vec::new();
    super::read_segment(file, EVTX_HEADER_BYTES, 8, &mut magic)?;
    Ok(magic == b"ElfChnk\0")
}

/// Finds out what a stream is and opens it; unpacks what is compressed.
fn open_stream(
    mut stream: Box<dyn Read + Send>,
    input: &Arc<str>,
    progress_bytes: u64,
    depth: usize,
    cut: Cut,
) -> Result<Reading, GiveUp> {
    if depth > NESTED_MAX {
        return Err(GiveUp(format!("is packed more than {NESTED_MAX} times")));
    }
    let mut head = vec![0; HEAD_BYTES];
    let read = read_full(&mut stream, &mut head)?;
    head.truncate(read);
    let whole = |head: Vec<u8>, stream| Box::new(io::Cursor::new(head).chain(stream));
    match head[..] {
        [0x1f, 0x8b, ..] => {
            let counted = Counted::new(whole(head, stream));
            let packed = counted.count();
            let unpacked = MultiGzDecoder::new(BufReader::new(counted));
            let limited = Box::new(Limited::new(unpacked, packed));
            open_stream(limited, input, progress_bytes, depth + 1, cut)
        }
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            let counted = Counted::new(whole(head, stream));
            let packed = counted.count();
            let mut unpacked = zstd::Decoder::new(counted)?;
            unpacked.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
            let limited = Box::new(Limited::new(unpacked, packed));
            open_stream(limited, input, progress_bytes, depth + 1, cut)
        }
        [b'P', b'K', 3, 4, ..] => {
            let mut bytes = Vec::new();
            whole(head, stream).take(NESTED_ARCHIVE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
            if bytes.len() as u64 > NESTED_ARCHIVE_BYTES_MAX {
                return Err(GiveUp(format!(
                    "is an archive of more than {NESTED_ARCHIVE_BYTES_MAX} bytes within another \
                     or on a pipe"
                )));
            }
            open_archive(ArchiveBytes::Memory(bytes.into()), input, progress_bytes, depth + 1)
        }
        [b'E', b'l', b'f', b'F', b'i', b'l', b'e', 0, ..] => {
            let header = EVTX_HEADER_BYTES - read as u64;
            io::copy(&mut (&mut stream).take(header), &mut io::sink())?;
            let content = StreamContent::Chunks { stream, next_chunk: 0, failed: None };
            Ok(Reading::Stream(Stream { input: Arc::clone(input), content, progress_bytes }))
        }
        _ => {
            let blocks = Blocks::new(&head, stream, cut, BATCH_BYTES as usize);
            Ok(Reading::Stream(Stream {
                input: Arc::clone(input),
                content: StreamContent::Text(blocks),
                progress_bytes,
            }))
        }
    }
}

fn open_archive(
    bytes: ArchiveBytes,
    input: &Arc<str>,
    progress_bytes: u64,
    depth: usize,
) -> Result<Reading, GiveUp> {
    if depth > NESTED_MAX {
        return Err(GiveUp(format!("is packed more than {NESTED_MAX} times")));
    }
    let directory = BufReader::new(Window::whole(bytes.clone())?);
    let zip = ZipArchive::new(directory).map_err(|error| GiveUp(error.to_string()))?;
    if zip.len() > MEMBERS_MAX {
        return Err(GiveUp(format!("has more than {MEMBERS_MAX} members")));
    }
    let input = Arc::clone(input);
    let archive = Archive { input, zip, bytes, next: 0, progress_bytes, depth, member: None };
    Ok(Reading::Archive(Box::new(archive)))
}

impl Reading {
    /// `None` at the end.
    fn next(&mut self, cut: Cut) -> Option<Next> {
        match self {
            Reading::Evtx(evtx) => evtx.next().map(Next::Batch),
            Reading::Stream(stream) => stream.next(),
            Reading::Archive(archive) => archive.next(cut),
        }
    }
}

impl Evtx {
    fn next(&mut self) -> Option<Batch> {
        let len = self.end.saturating_sub(self.offset).min(BATCH_BYTES);
        if len == 0 {
            return None;
        }
        let offset = self.offset;
        self.offset += len;
        let content = Content::Segment {
            file: Arc::clone(&self.file),
            offset,
            len: usize::try_from(len).expect("a batch fits memory"),
            first_chunk: (offset - EVTX_HEADER_BYTES) / EVTX_CHUNK_BYTES,
        };
        Some(Batch { input: Arc::clone(&self.input), content, progress_bytes: len })
    }
}

impl Stream {
    fn next(&mut self) -> Option<Next> {
        let content = match &mut self.content {
            StreamContent::Chunks { stream, next_chunk, failed } => {
                let mut bytes = vec![0; BATCH_BYTES as usize];
                // What was read before an error comes before the error.
                let read = if failed.is_some() { 0 } else { fill(stream, &mut bytes, failed) };
                bytes.truncate(read);
                let first_chunk = *next_chunk;
                *next_chunk += (read as u64).div_ceil(EVTX_CHUNK_BYTES);
                match (read, failed.take()) {
                    (0, None) => None,
                    (0, Some(error)) => Some(Err(error)),
                    (_, error) => {
                        *failed = error;
                        Some(Ok(Content::Chunks { bytes, first_chunk }))
                    }
                }
            }
            StreamContent::Text(blocks) => match blocks.next_block() {
                Ok(block) => block.map(|bytes| Ok(Content::Text { bytes })),
                Err(error) => Some(Err(error)),
            },
        };
        let input = Arc::clone(&self.input);
        match content? {
            Ok(content) => {
                let progress_bytes = std::mem::take(&mut self.progress_bytes);
                Some(Next::Batch(Batch { input, content, progress_bytes }))
            }
            Err(error) => {
                self.content = StreamContent::Chunks {
                    stream: Box::new(io::empty()),
                    next_chunk: 0,
                    failed: None,
                };
                let is_bomb = error.get_ref().is_some_and(|error| error.is::<Bomb>());
                let what = if is_bomb { SkippedWhat::ArchiveMember } else { SkippedWhat::File };
                Some(Next::Skipped(skipped(&input, what, error.to_string())))
            }
        }
    }
}

impl Archive {
    fn next(&mut self, cut: Cut) -> Option<Next> {
        loop {
            if let Some(member) = &mut self.member {
                match member.next(cut) {
                    Some(next) => return Some(next),
                    None => self.member = None,
                }
            }
            let index = self.next;
            if index >= self.zip.len() {
                return None;
            }
            self.next += 1;
            let (name, refused) = self.member_name(index);
            let input: Arc<str> = format!("{}!{name}", self.input).into();
            if let Some(reason) = refused {
                return Some(Next::Skipped(skipped(&input, SkippedWhat::ArchiveMember, reason)));
            }
            if !is_log(Path::new(&name)) {
                continue;
            }
            match self.open_member(index, &input, cut) {
                Ok(member) => self.member = Some(Box::new(member)),
                Err(GiveUp(reason)) => {
                    return Some(Next::Skipped(skipped(
                        &input,
                        SkippedWhat::ArchiveMember,
                        reason,
                    )));
                }
            }
        }
    }

    /// The member's name, and why it is refused if it is. Nothing is written
    /// to disk, but a name that leads out of the archive was made to harm.
    fn member_name(&mut self, index: usize) -> (String, Option<String>) {
        match self.zip.by_index_raw(index) {
            Ok(member) => {
                let name = match member.name() {
                    Ok(name) => name.into_owned(),
                    Err(_) => String::from_utf8_lossy(member.name_raw()).into_owned(),
                };
                let inside: Option<PathBuf> = member.enclosed_name();
                let refused = inside.is_none().then(|| "its name leaves the archive".to_owned());
                (name, refused)
            }
            Err(error) => (format!("member {index}"), Some(error.to_string())),
        }
    }

    /// Opens a member as a stream of its own on the archive's bytes.
    fn open_member(&mut self, index: usize, input: &Arc<str>, cut: Cut) -> Result<Reading, GiveUp> {
        let give_up = |error: zip::result::ZipError| GiveUp(error.to_string());
        let member = self.zip.by_index_raw(index).map_err(give_up)?;
        if member.encrypted() {
            return Err(GiveUp("is encrypted".to_owned()));
        }
        let start = member.data_start().ok_or_else(|| GiveUp("has no data".to_owned()))?;
        let end = start.saturating_add(member.compressed_size());
        let packed = Window { bytes: self.bytes.clone(), at: start, start, end };
        let packed = BufReader::new(Counted::new(packed));
        let count = packed.get_ref().count();
        let stream: Box<dyn Read + Send> = match member.compression() {
            CompressionMethod::Stored => Box::new(packed),
            CompressionMethod::Deflated => {
                Box::new(Limited::new(DeflateDecoder::new(packed), count))
            }
            CompressionMethod::Zstd => {
                let mut unpacked = zstd::Decoder::with_buffer(packed)?;
                unpacked.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
                Box::new(Limited::new(unpacked, count))
            }
            other => return Err(GiveUp(format!("is compressed by {other}, which is not read"))),
        };
        drop(member);
        let progress = std::mem::take(&mut self.progress_bytes);
        open_stream(stream, input, progress, self.depth + 1, cut)
    }
}

/// An archive's own bytes, for its directory and its members alike.
#[derive(Clone)]
enum ArchiveBytes {
    File(Arc<File>),
    Memory(Arc<[u8]>),
}

/// A stretch of an archive.
struct Window {
    bytes: ArchiveBytes,
    at: u64,
    start: u64,
    end: u64,
}

impl Window {
    fn whole(bytes: ArchiveBytes) -> io::Result<Window> {
        let end = match &bytes {
            ArchiveBytes::File(file) => file.metadata()?.len(),
            ArchiveBytes::Memory(bytes) => bytes.len() as u64,
        };
        Ok(Window { bytes, at: 0, start: 0, end })
    }
}

impl Read for Window {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let len = buffer.len().min(left);
        let read = match &self.bytes {
            ArchiveBytes::File(file) => super::read_at(file, &mut buffer[..len], self.at)?,
            ArchiveBytes::Memory(bytes) => {
                let rest = usize::try_from(self.at).ok().and_then(|at| bytes.get(at..));
                let rest = rest.unwrap_or_default();
                let len = len.min(rest.len());
                buffer[..len].copy_from_slice(&rest[..len]);
                len
            }
        };
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for Window {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(offset) => self.start.checked_add(offset),
            SeekFrom::End(offset) => self.end.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.at.checked_add_signed(offset),
        };
        let at = at.filter(|&at| at >= self.start).ok_or(io::ErrorKind::InvalidInput)?;
        self.at = at;
        Ok(at - self.start)
    }
}

/// Counts the packed bytes that a decompressor takes.
struct Counted<R> {
    stream: R,
    count: Arc<AtomicU64>,
}

impl<R> Counted<R> {
    fn new(stream: R) -> Counted<R> {
        Counted { stream, count: Arc::default() }
    }

    fn count(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.count)
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.stream.read(buffer)?;
        self.count.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// Gives up on what grows out of proportion when it is unpacked.
struct Limited<R> {
    stream: R,
    packed: Arc<AtomicU64>,
    unpacked: u64,
}

#[derive(Debug, thiserror::Error)]
#[error("grows to more than {UNPACKED_RATIO_MAX} times its size: refused as an archive bomb")]
struct Bomb;

impl<R> Limited<R> {
    fn new(stream: R, packed: Arc<AtomicU64>) -> Limited<R> {
        Limited { stream, packed, unpacked: 0 }
    }
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.stream.read(buffer)?;
        self.unpacked += read as u64;
        let packed = self.packed.load(Ordering::Relaxed);
        let bound = packed.saturating_mul(UNPACKED_RATIO_MAX).max(UNPACKED_BYTES_FREE);
        if self.unpacked > bound {
            return Err(io::Error::other(Bomb));
        }
        Ok(read)
    }
}

/// Reads until the buffer is full or the stream ends.
fn read_full(stream: &mut (impl Read + ?Sized), buffer: &mut [u8]) -> io::Result<usize> {
    let mut failed = None;
    let filled = fill(stream, buffer, &mut failed);
    failed.map_or(Ok(filled), Err)
}

/// [`read_full`] that keeps what it read before an error.
fn fill(
    stream: &mut (impl Read + ?Sized),
    buffer: &mut [u8],
    failed: &mut Option<io::Error>,
) -> usize {
    let mut filled = 0;
    while filled < buffer.len() {
        match stream.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                *failed = Some(error);
                break;
            }
        }
    }
    filled
}

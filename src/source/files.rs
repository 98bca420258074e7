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
use std::time::Duration;

use flate2::bufread::DeflateDecoder;
use flate2::read::MultiGzDecoder;
use zip::{CompressionMethod, ZipArchive};

use super::discover::{Input, is_log};
use super::text::{Blocks, Cut};
use super::{
    BATCH_BYTES, Batch, Content, EVTX_CHUNK_BYTES, EVTX_HEADER_BYTES, Next, Skipped, SkippedWhat,
    Source, SourceError,
};

/// What is packed in one file may grow to this whatever the file's size.
const UNPACKED_BYTES_FREE: u64 = 256 * 1024 * 1024;

/// Beyond that, it may be this many times as large as what was read of the file.
/// Logs shrink to about a tenth; only bombs grow further.
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
    current: Option<(OpenInput, Arc<Outer>)>,
    /// Bytes of the current file that were reported as progress.
    reported: u64,
}

impl std::fmt::Debug for Files {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Files").field("inputs", &self.inputs.len()).finish_non_exhaustive()
    }
}

/// An input that has been opened.
enum OpenInput {
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
}

/// The file that a stream comes from, however deep it is packed.
struct Outer {
    /// 0 when not known.
    bytes: u64,
    consumed: AtomicU64,
    unpacked: AtomicU64,
}

impl Outer {
    fn new(bytes: u64) -> Arc<Outer> {
        Arc::new(Outer { bytes, consumed: AtomicU64::new(0), unpacked: AtomicU64::new(0) })
    }

    /// Bytes of the file that were read; those of an archive may be read more
    /// than once.
    fn consumed(&self) -> u64 {
        let consumed = self.consumed.load(Ordering::Relaxed);
        if self.bytes > 0 { consumed.min(self.bytes) } else { consumed }
    }
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
    outer: Arc<Outer>,
    depth: usize,
    /// Whether a member was a log or an archive.
    has_logs: bool,
    /// The member at hand.
    member: Option<Box<OpenInput>>,
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
        Files { inputs: inputs.into(), cut, current: None, reported: 0 }
    }

    fn open(
        &mut self,
        input: Input,
        outer: &Arc<Outer>,
    ) -> Result<Result<OpenInput, Skipped>, SourceError> {
        let (path, named) = match input {
            Input::StandardInput => {
                let input: Arc<str> = "standard input".into();
                let stream = Box::new(Counted { stream: io::stdin(), outer: Arc::clone(outer) });
                let opened = open_stream(stream, &input, outer, 0, self.cut);
                return Ok(
                    opened.map_err(|GiveUp(reason)| skipped(&input, SkippedWhat::File, reason))
                );
            }
            Input::Unreadable { path, reason } => {
                let input: Arc<str> = path.display().to_string().into();
                return Ok(Err(skipped(&input, SkippedWhat::File, reason)));
            }
            Input::File { path, named, .. } => (path, named),
        };
        let input: Arc<str> = path.display().to_string().into();
        match open_file(&path, outer, &input, self.cut) {
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
    fn next(&mut self, _: Duration) -> Result<Next, SourceError> {
        loop {
            if let Some((reading, outer)) = &mut self.current {
                match reading.next(self.cut) {
                    Some(Next::Batch(mut batch)) => {
                        let consumed = outer.consumed();
                        batch.progress_bytes +=
                            consumed - std::mem::replace(&mut self.reported, consumed);
                        return Ok(Next::Batch(batch));
                    }
                    Some(next) => return Ok(next),
                    None => self.current = None,
                }
            }
            let Some(input) = self.inputs.pop_front() else { return Ok(Next::End) };
            let bytes = match &input {
                Input::File { bytes, .. } => *bytes,
                Input::StandardInput | Input::Unreadable { .. } => 0,
            };
            let outer = Outer::new(bytes);
            self.reported = 0;
            match self.open(input, &outer)? {
                Ok(reading) => self.current = Some((reading, outer)),
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

fn open_file(
    path: &Path,
    outer: &Arc<Outer>,
    input: &Arc<str>,
    cut: Cut,
) -> Result<OpenInput, OpenError> {
    let mut file = File::open(path).map_err(OpenError::NotOpened)?;
    let seekable = file.metadata().map_err(OpenError::NotOpened)?.is_file();
    if !seekable {
        let stream = Box::new(Counted { stream: file, outer: Arc::clone(outer) });
        return Ok(open_stream(stream, input, outer, 0, cut)?);
    }
    let mut head = [0; HEAD_BYTES];
    let read = read_full(&mut file, &mut head)?;
    let is_evtx = head[..read].starts_with(b"ElfFile\0")
        || (has_evtx_name(path) && has_chunk(&file).unwrap_or(false));
    if is_evtx {
        let end = file.metadata().map_err(OpenError::NotOpened)?.len();
        let file = Arc::new(file);
        if end < EVTX_HEADER_BYTES {
            return Err(GiveUp("ends within its header".to_owned()).into());
        }
        let input = Arc::clone(input);
        return Ok(OpenInput::Evtx(Evtx { input, file, offset: EVTX_HEADER_BYTES, end }));
    }
    if has_evtx_name(path) {
        let what = if read == 0 { "is empty" } else { "does not start with `ElfFile`" };
        return Err(GiveUp(format!("is named .evtx but {what}")).into());
    }
    file.seek(SeekFrom::Start(0)).map_err(OpenError::NotOpened)?;
    if head[..read].starts_with(b"PK\x03\x04") || head[..read].starts_with(b"PK\x05\x06") {
        return Ok(open_archive(ArchiveBytes::File(Arc::new(file)), input, outer, 0)?);
    }
    let stream = Box::new(Counted { stream: file, outer: Arc::clone(outer) });
    Ok(open_stream(stream, input, outer, 0, cut)?)
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
    outer: &Arc<Outer>,
    depth: usize,
    cut: Cut,
) -> Result<OpenInput, GiveUp> {
    if depth > NESTED_MAX {
        return Err(GiveUp(format!("is packed more than {NESTED_MAX} times")));
    }
    let mut head = vec![0; HEAD_BYTES];
    let read = read_full(&mut stream, &mut head)?;
    head.truncate(read);
    let whole = |head: Vec<u8>, stream| Box::new(io::Cursor::new(head).chain(stream));
    match head[..] {
        [0x1f, 0x8b, ..] => {
            let unpacked = MultiGzDecoder::new(BufReader::new(whole(head, stream)));
            let limited = Box::new(Limited { stream: unpacked, outer: Arc::clone(outer) });
            open_stream(limited, input, outer, depth + 1, cut)
        }
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            let mut unpacked = zstd::Decoder::new(whole(head, stream))?;
            unpacked.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
            let limited = Box::new(Limited { stream: unpacked, outer: Arc::clone(outer) });
            open_stream(limited, input, outer, depth + 1, cut)
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
            open_archive(ArchiveBytes::Memory(bytes.into()), input, outer, depth + 1)
        }
        [b'E', b'l', b'f', b'F', b'i', b'l', b'e', 0, ..] => {
            let header = EVTX_HEADER_BYTES - read as u64;
            io::copy(&mut (&mut stream).take(header), &mut io::sink())?;
            let content = StreamContent::Chunks { stream, next_chunk: 0, failed: None };
            Ok(OpenInput::Stream(Stream { input: Arc::clone(input), content }))
        }
        _ => {
            let blocks = Blocks::new(&head, stream, cut, BATCH_BYTES as usize);
            Ok(OpenInput::Stream(Stream {
                input: Arc::clone(input),
                content: StreamContent::Text(blocks),
            }))
        }
    }
}

fn open_archive(
    bytes: ArchiveBytes,
    input: &Arc<str>,
    outer: &Arc<Outer>,
    depth: usize,
) -> Result<OpenInput, GiveUp> {
    if depth > NESTED_MAX {
        return Err(GiveUp(format!("is packed more than {NESTED_MAX} times")));
    }
    let directory = BufReader::new(Window::whole(bytes.clone())?);
    let zip = ZipArchive::new(directory).map_err(|error| GiveUp(error.to_string()))?;
    if zip.len() > MEMBERS_MAX {
        return Err(GiveUp(format!("has more than {MEMBERS_MAX} members")));
    }
    let input = Arc::clone(input);
    let outer = Arc::clone(outer);
    let archive =
        Archive { input, zip, bytes, next: 0, outer, depth, has_logs: false, member: None };
    Ok(OpenInput::Archive(Box::new(archive)))
}

impl OpenInput {
    /// `None` at the end.
    fn next(&mut self, cut: Cut) -> Option<Next> {
        match self {
            OpenInput::Evtx(evtx) => evtx.next().map(Next::Batch),
            OpenInput::Stream(stream) => stream.next(),
            OpenInput::Archive(archive) => archive.next(cut),
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
        Some(Batch {
            input: Arc::clone(&self.input),
            content,
            progress_bytes: len,
            moved: Vec::new(),
        })
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
                        Some(Ok(Content::Chunks { bytes, first_chunk, after_record: None }))
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
                Some(Next::Batch(Batch { input, content, progress_bytes: 0, moved: Vec::new() }))
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
                if std::mem::replace(&mut self.has_logs, true) {
                    return None;
                }
                let reason = "holds no logs".to_owned();
                return Some(Next::Skipped(skipped(&self.input, SkippedWhat::File, reason)));
            }
            self.next += 1;
            let (name, refused) = self.member_name(index);
            let input: Arc<str> = format!("{}!{name}", self.input).into();
            self.has_logs |= refused.is_some() || is_log(Path::new(&name));
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
    fn open_member(
        &mut self,
        index: usize,
        input: &Arc<str>,
        cut: Cut,
    ) -> Result<OpenInput, GiveUp> {
        let give_up = |error: zip::result::ZipError| GiveUp(error.to_string());
        let member = self.zip.by_index_raw(index).map_err(give_up)?;
        if member.encrypted() {
            return Err(GiveUp("is encrypted".to_owned()));
        }
        let start = member.data_start().ok_or_else(|| GiveUp("has no data".to_owned()))?;
        let end = start.saturating_add(member.compressed_size());
        let packed = Window { bytes: self.bytes.clone(), at: start, start, end };
        let outer = Arc::clone(&self.outer);
        let packed = BufReader::new(Counted { stream: packed, outer: Arc::clone(&outer) });
        let stream: Box<dyn Read + Send> = match member.compression() {
            CompressionMethod::Stored => Box::new(packed),
            CompressionMethod::Deflated => {
                Box::new(Limited { stream: DeflateDecoder::new(packed), outer })
            }
            CompressionMethod::Zstd => {
                let mut unpacked = zstd::Decoder::with_buffer(packed)?;
                unpacked.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
                Box::new(Limited { stream: unpacked, outer })
            }
            other => return Err(GiveUp(format!("is compressed by {other}, which is not read"))),
        };
        drop(member);
        open_stream(stream, input, &self.outer, self.depth + 1, cut)
    }
}

/// An archive's own bytes, for its directory and its members alike.
#[derive(Clone)]
enum ArchiveBytes {
    File(Arc<File>),
    Memory(Arc<[u8]>),
}

/// A part of an archive.
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

/// Counts what is read of the outermost file.
struct Counted<R> {
    stream: R,
    outer: Arc<Outer>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.stream.read(buffer)?;
        self.outer.consumed.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// Gives up on what grows out of proportion when it is unpacked: all that is
/// unpacked of one file counts together, against what was read of the file.
struct Limited<R> {
    stream: R,
    outer: Arc<Outer>,
}

#[derive(Debug, thiserror::Error)]
#[error("grows to more than {UNPACKED_RATIO_MAX} times its size: refused as an archive bomb")]
struct Bomb;

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.stream.read(buffer)?;
        let before = self.outer.unpacked.fetch_add(read as u64, Ordering::Relaxed);
        let bound = self.outer.consumed().saturating_mul(UNPACKED_RATIO_MAX);
        if before + read as u64 > bound.max(UNPACKED_BYTES_FREE) {
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

//! Writes EVTX files: events in, out a file in the layout that Windows gives its
//! logs.
//!
//! ```text
//! file    header (4096)  chunk 0 (65536)  chunk 1  …
//! chunk   header (512: ids, sums, name and template buckets)  record  record  …  zeros
//! record  2a2a0000  size  record id  FILETIME  BinXML  00 padding to 8  size
//! BinXML  0f010100  0c01 template id, offset [definition, at its first use in the chunk]
//!         values: count, (size, type) each, bytes — the event data is one of them, BinXML itself
//! ```
//!
//! Names and templates stand in the chunk once, where they are first used, and
//! are referred to by offset after that. So a record is encoded straight into
//! the chunk that will hold it; one that turns out not to fit is taken back, the
//! chunk goes out, and the record starts the next one.
//!
//! A collector writes what is forwarded to it without templates: elements stand
//! in the record itself and every value is text ([`Writer::write_forwarded`]).
//!
//! Memory is bounded by a few chunks, whatever the file's size. The same events
//! give the same bytes. Field order, slot numbers, optional slots and dependency
//! ids are those of files that Windows 10 wrote; what Windows leaves in free
//! space (remains of older records) is zero here.
//!
//! Left out: ETW activity ids (`Correlation` is always empty), arrays other than
//! strings, and checks that names are XML names.
//!
//! Sources: [MS-EVEN6] 2.2.12 and following for BinXML; the containers and the
//! bucket functions were read off files that Windows wrote.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{self, Seek, SeekFrom, Write};
use std::num::NonZeroU64;

use crate::sid::Sid;
use crate::time::EventTime;

/// Bytes of a chunk, header and free space included.
pub const CHUNK_BYTES: usize = 65_536;

/// Most bytes one record can have: a chunk without its header.
pub const RECORD_BYTES_MAX: usize = CHUNK_BYTES - CHUNK_HEADER_BYTES;

/// Most bytes one value or name can have: its size is a 16-bit field.
pub const VALUE_BYTES_MAX: usize = u16::MAX as usize;

/// One event to write. The record's own id is the writer's (see [`Options`]).
///
/// An event with unnamed data, qualifiers or an event source name is a classic
/// one: its provider and channel stand as text in its template, one template for
/// each pair. Other events have them as values. The computer is always text. So
/// it is in files that Windows wrote.
#[derive(Clone, Copy, Debug)]
pub struct EventSpec<'a> {
    pub provider: &'a str,
    /// As [`TypedValue::Guid`]; `None` leaves the attribute out.
    pub provider_guid: Option<[u8; 16]>,
    pub event_source_name: Option<&'a str>,
    /// `EventID/@Qualifiers`, which classic events have.
    pub qualifiers: Option<u16>,
    pub event_id: u16,
    pub version: u8,
    pub level: u8,
    pub task: u16,
    pub opcode: u8,
    pub keywords: u64,
    /// `TimeCreated`, and the time in the record's header.
    pub time: EventTime,
    /// `EventRecordID`: the number that the log of origin gave the event.
    pub record_id: u64,
    pub process_id: u32,
    pub thread_id: u32,
    pub channel: &'a str,
    pub computer: &'a str,
    /// `Security/@UserID`; `None` leaves the attribute out.
    pub user: Option<Sid>,
    pub data: Payload<'a>,
    /// What a collector adds to a forwarded event.
    pub rendering: Option<Rendering<'a>>,
}

/// The part of an event beside `System`.
#[derive(Clone, Copy, Debug)]
pub enum Payload<'a> {
    /// Neither `EventData` nor `UserData`.
    None,
    /// `<Data Name="…">` for each field, as events with a manifest have it.
    Named(&'a [(&'a str, TypedValue<'a>)]),
    /// `<Data>` for each value, from a manifest that names none.
    Positional(&'a [TypedValue<'a>]),
    /// Classic events: one `<Data>` that holds an array of strings, which
    /// readers repeat for each, then `<Binary>`. The strings hold no NUL.
    Unnamed(&'a [&'a str], Option<&'a [u8]>),
    /// `<UserData><element xmlns="namespace">` with an element for each field;
    /// an empty namespace leaves the attribute out.
    User { element: &'a str, namespace: &'a str, fields: &'a [(&'a str, TypedValue<'a>)] },
}

/// A substitution value with its type ([MS-EVEN6] 2.2.15).
#[derive(Clone, Copy, Debug)]
pub enum TypedValue<'a> {
    /// No value. The template declares it as text.
    Null,
    Text(&'a str),
    I8(i8),
    U8(u8),
    I16(i16),
    U16(u16),
    I32(i32),
    U32(u32),
    I64(i64),
    U64(u64),
    F32(f32),
    F64(f64),
    Hex32(u32),
    Hex64(u64),
    /// As wide as a pointer of a 64-bit system; process ids in Security events.
    Pointer(u64),
    Bool(bool),
    Sid(Sid),
    Time(EventTime),
    /// As in memory: the first three parts little-endian, the rest in order.
    Guid([u8; 16]),
    Binary(&'a [u8]),
}

/// `RenderingInfo`, the text that a collector asks the source to send along.
#[derive(Clone, Copy, Debug)]
pub struct Rendering<'a> {
    /// `en-US`.
    pub culture: &'a str,
    pub message: &'a str,
    pub level: &'a str,
    pub task: &'a str,
    pub opcode: &'a str,
    pub channel: &'a str,
    /// The provider's display name.
    pub provider: &'a str,
    pub keywords: &'a [&'a str],
}

/// How a file differs from the plain one.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The first record's id; each following one has the next. In a log of local
    /// events it equals [`EventSpec::record_id`], in a collector's it does not.
    pub first_record_id: u64,
    /// Room for so many chunks: the next one is written over the oldest, whose
    /// events are lost, as in a log that has reached its size. `None` grows.
    pub chunks_max: Option<NonZeroU64>,
}

impl Default for Options {
    fn default() -> Options {
        Options { first_record_id: 1, chunks_max: None }
    }
}

/// Writes events into an EVTX file.
///
/// The file is marked as open for writing until [`Writer::finish`]; a writer
/// that is dropped leaves it like that and without its last chunk.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    options: Options,
    next_record_id: u64,
    chunks_written: u64,
    chunk: Chunk,
}

impl<W: Write + Seek> Writer<W> {
    /// Starts a file at the beginning of `out`, which must be empty.
    pub fn new(out: W) -> io::Result<Writer<W>> {
        Writer::with_options(out, Options::default())
    }

    /// As [`Writer::new`], with the options given.
    pub fn with_options(out: W, options: Options) -> io::Result<Writer<W>> {
        let next_record_id = options.first_record_id;
        let mut writer =
            Writer { out, options, next_record_id, chunks_written: 0, chunk: Chunk::new() };
        writer.write_header(FileHeader {
            oldest_chunk: 0,
            newest_chunk: 0,
            next_record_id,
            chunks: 1,
            state: FileState::Open,
        })?;
        Ok(writer)
    }

    /// Adds one event.
    ///
    /// # Errors
    ///
    /// `InvalidInput` when the event does not fit a chunk, a value does not fit its
    /// size field, or a string of an array holds a NUL: nothing of the event is
    /// written, and the writer goes on. Any other error is from `out` and ends the
    /// file.
    pub fn write(&mut self, event: &EventSpec<'_>) -> io::Result<()> {
        self.append(event, RecordEncoding::Templates)
    }

    /// Adds one event as a collector does: without templates, every value as
    /// text. The record's own id is the collector's.
    ///
    /// # Errors
    ///
    /// As [`Writer::write`].
    pub fn write_forwarded(&mut self, event: &EventSpec<'_>) -> io::Result<()> {
        self.append(event, RecordEncoding::Inline)
    }

    fn append(&mut self, event: &EventSpec<'_>, style: RecordEncoding) -> io::Result<()> {
        let id = self.next_record_id;
        let mut written = self.chunk.append(id, event, style);
        if matches!(written, Err(Refusal::Full)) && !self.chunk.is_empty() {
            self.write_chunk()?;
            written = self.chunk.append(id, event, style);
        }
        written.map_err(|refusal| refusal.into_error(event))?;
        self.next_record_id += 1;
        Ok(())
    }

    /// Id that the next record will have.
    pub fn next_record_id(&self) -> u64 {
        self.next_record_id
    }

    /// Size of the file if it were finished now.
    pub fn file_bytes(&self) -> u64 {
        let chunks = self.chunks_written + u64::from(!self.chunk.is_empty());
        let chunks = self.options.chunks_max.map_or(chunks, |max| chunks.min(max.get()));
        FILE_HEADER_BYTES as u64 + chunks * CHUNK_BYTES as u64
    }

    /// Writes what is left and the final header, and gives `out` back, flushed.
    pub fn finish(mut self) -> io::Result<W> {
        self.write_last_chunk()?;
        let (chunks, oldest_chunk, newest_chunk) = match self.options.chunks_max {
            Some(max) if self.chunks_written > max.get() => {
                let newest = (self.chunks_written - 1) % max;
                (max.get(), (newest + 1) % max, newest)
            }
            Some(_) | None => (self.chunks_written, 0, self.chunks_written.saturating_sub(1)),
        };
        self.write_header(FileHeader {
            oldest_chunk,
            newest_chunk,
            next_record_id: self.next_record_id,
            // The field ends at 4 GiB; past that readers go by the file's size.
            chunks: u16::try_from(chunks).unwrap_or(u16::MAX),
            state: FileState::Closed,
        })?;
        self.out.flush()?;
        Ok(self.out)
    }

    /// Writes what is left but not the final header: a log copied while Windows
    /// had it open. It is marked so, and its header still knows one chunk only.
    pub fn leave_open(mut self) -> io::Result<W> {
        self.write_last_chunk()?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn write_last_chunk(&mut self) -> io::Result<()> {
        if self.chunk.is_empty() { Ok(()) } else { self.write_chunk() }
    }

    /// Writes the chunk at hand to its place and goes on filling it, as Windows
    /// does with a log that it has open. The file's header stays as it is.
    pub fn flush_in_place(&mut self) -> io::Result<()> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let filled = self.chunk.bytes.len();
        self.seek_to_chunk()?;
        self.out.write_all(self.chunk.seal())?;
        self.chunk.bytes.truncate(filled);
        self.out.flush()
    }

    fn seek_to_chunk(&mut self) -> io::Result<()> {
        let place = match self.options.chunks_max {
            Some(max) => self.chunks_written % max,
            None => self.chunks_written,
        };
        let offset = FILE_HEADER_BYTES as u64 + place * CHUNK_BYTES as u64;
        self.out.seek(SeekFrom::Start(offset))?;
        Ok(())
    }

    fn write_chunk(&mut self) -> io::Result<()> {
        self.seek_to_chunk()?;
        self.out.write_all(self.chunk.seal())?;
        self.chunks_written += 1;
        self.chunk.clear();
        Ok(())
    }

    fn write_header(&mut self, header: FileHeader) -> io::Result<()> {
        self.out.seek(SeekFrom::Start(0))?;
        self.out.write_all(&header.to_bytes())
    }
}

const FILE_HEADER_BYTES: usize = 4096;
const CHUNK_HEADER_BYTES: usize = 512;
const RECORD_HEADER_BYTES: usize = 24;
/// The part of both headers that has fixed fields.
const HEADER_FIELD_BYTES: u32 = 128;
const NAME_BUCKETS: usize = 64;
const NAME_BUCKETS_AT: usize = 128;
const TEMPLATE_BUCKETS: usize = 32;
const TEMPLATE_BUCKETS_AT: usize = NAME_BUCKETS_AT + NAME_BUCKETS * 4;

/// The flags of a file header; Windows sets bit 0 while it has the log open.
#[derive(Clone, Copy, Debug)]
enum FileState {
    Closed = 0,
    Open = 1,
}

#[derive(Clone, Copy, Debug)]
struct FileHeader {
    oldest_chunk: u64,
    newest_chunk: u64,
    next_record_id: u64,
    chunks: u16,
    state: FileState,
}

impl FileHeader {
    fn to_bytes(self) -> [u8; FILE_HEADER_BYTES] {
        let mut bytes = [0; FILE_HEADER_BYTES];
        bytes[..8].copy_from_slice(b"ElfFile\0");
        put_u64(&mut bytes, 8, self.oldest_chunk);
        put_u64(&mut bytes, 16, self.newest_chunk);
        put_u64(&mut bytes, 24, self.next_record_id);
        put_u32(&mut bytes, 32, HEADER_FIELD_BYTES);
        put_u16(&mut bytes, 36, 1); // minor version; newer files have 2
        put_u16(&mut bytes, 38, 3); // major version
        put_u16(&mut bytes, 40, FILE_HEADER_BYTES as u16);
        put_u16(&mut bytes, 42, self.chunks);
        put_u32(&mut bytes, 120, self.state as u32);
        let sum = crc32fast::hash(&bytes[..120]);
        put_u32(&mut bytes, 124, sum);
        bytes
    }
}

/// Why a record was not taken into the chunk.
#[derive(Debug)]
enum Refusal {
    /// The chunk has no room for it.
    Full,
    /// A text or binary value of so many bytes has no room in its size field.
    Long(usize),
    /// A NUL would end a string of an array early.
    Nul,
}

impl Refusal {
    fn into_error(self, event: &EventSpec<'_>) -> io::Error {
        let what = match self {
            Refusal::Full => format!("record too large: more than {RECORD_BYTES_MAX} bytes"),
            Refusal::Long(bytes) => {
                format!("value too long: {bytes} bytes, at most {VALUE_BYTES_MAX}")
            }
            Refusal::Nul => "unnamed string holds a NUL".to_owned(),
        };
        let EventSpec { event_id, provider, computer, record_id, .. } = event;
        io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("event {event_id} of `{provider}`, record {record_id} of `{computer}`: {what}"),
        )
    }
}

/// Tokens of BinXML ([MS-EVEN6] 2.2.12). `MORE` is added to an element that has
/// attributes and to an attribute that another follows.
mod token {
    pub const END_OF_FRAGMENT: u8 = 0x00;
    pub const OPEN_ELEMENT: u8 = 0x01;
    pub const CLOSE_START: u8 = 0x02;
    pub const CLOSE_EMPTY: u8 = 0x03;
    pub const END_ELEMENT: u8 = 0x04;
    pub const TEXT: u8 = 0x05;
    pub const ATTRIBUTE: u8 = 0x06;
    pub const TEMPLATE: u8 = 0x0c;
    pub const SLOT: u8 = 0x0d;
    pub const OPTIONAL_SLOT: u8 = 0x0e;
    pub const MORE: u8 = 0x40;
}

const FRAGMENT_HEADER: [u8; 4] = [0x0f, 1, 1, 0];

/// Types of values ([MS-EVEN6] 2.2.15).
mod kind {
    pub const NULL: u8 = 0x00;
    pub const TEXT: u8 = 0x01;
    pub const I8: u8 = 0x03;
    pub const U8: u8 = 0x04;
    pub const I16: u8 = 0x05;
    pub const U16: u8 = 0x06;
    pub const I32: u8 = 0x07;
    pub const U32: u8 = 0x08;
    pub const I64: u8 = 0x09;
    pub const U64: u8 = 0x0a;
    pub const F32: u8 = 0x0b;
    pub const F64: u8 = 0x0c;
    pub const BOOL: u8 = 0x0d;
    pub const BINARY: u8 = 0x0e;
    pub const GUID: u8 = 0x0f;
    pub const POINTER: u8 = 0x10;
    pub const FILETIME: u8 = 0x11;
    pub const SID: u8 = 0x13;
    pub const HEX32: u8 = 0x14;
    pub const HEX64: u8 = 0x15;
    pub const BINXML: u8 = 0x21;
    pub const TEXT_ARRAY: u8 = 0x81;
}

impl<'a> TypedValue<'a> {
    /// Type of the value in a record.
    fn kind(&self) -> u8 {
        match self {
            TypedValue::Null => kind::NULL,
            TypedValue::Text(_) => kind::TEXT,
            TypedValue::I8(_) => kind::I8,
            TypedValue::U8(_) => kind::U8,
            TypedValue::I16(_) => kind::I16,
            TypedValue::U16(_) => kind::U16,
            TypedValue::I32(_) => kind::I32,
            TypedValue::U32(_) => kind::U32,
            TypedValue::I64(_) => kind::I64,
            TypedValue::U64(_) => kind::U64,
            TypedValue::F32(_) => kind::F32,
            TypedValue::F64(_) => kind::F64,
            TypedValue::Hex32(_) => kind::HEX32,
            TypedValue::Hex64(_) => kind::HEX64,
            TypedValue::Pointer(_) => kind::POINTER,
            TypedValue::Bool(_) => kind::BOOL,
            TypedValue::Sid(_) => kind::SID,
            TypedValue::Time(_) => kind::FILETIME,
            TypedValue::Guid(_) => kind::GUID,
            TypedValue::Binary(_) => kind::BINARY,
        }
    }

    /// As Windows renders it in XML; empty for null.
    pub fn to_text(self) -> Cow<'a, str> {
        Cow::Owned(match self {
            TypedValue::Null => String::new(),
            TypedValue::Text(text) => return Cow::Borrowed(text),
            TypedValue::I8(number) => number.to_string(),
            TypedValue::U8(number) => number.to_string(),
            TypedValue::I16(number) => number.to_string(),
            TypedValue::U16(number) => number.to_string(),
            TypedValue::I32(number) => number.to_string(),
            TypedValue::U32(number) => number.to_string(),
            TypedValue::I64(number) => number.to_string(),
            TypedValue::U64(number) => number.to_string(),
            TypedValue::F32(number) => number.to_string(),
            TypedValue::F64(number) => number.to_string(),
            TypedValue::Hex32(number) => format!("{number:#x}"),
            TypedValue::Hex64(number) | TypedValue::Pointer(number) => format!("{number:#x}"),
            TypedValue::Bool(truth) => truth.to_string(),
            TypedValue::Sid(sid) => sid.to_string(),
            TypedValue::Time(time) => time.to_string(),
            TypedValue::Guid(guid) => guid_text(&guid),
            TypedValue::Binary(bytes) => bytes.iter().fold(String::new(), |mut hex, byte| {
                write!(hex, "{byte:02X}").expect("a string takes all text");
                hex
            }),
        })
    }

    /// Type that the template declares for it.
    fn declared_kind(&self) -> u8 {
        match self.kind() {
            kind::NULL => kind::TEXT,
            kind => kind,
        }
    }
}

/// Slots of the event template, numbered as Windows does up to `DATA`. Those that
/// a template has as text are null in its records.
mod slot {
    pub const LEVEL: u16 = 0;
    pub const OPCODE: u16 = 1;
    pub const TASK: u16 = 2;
    pub const EVENT_ID: u16 = 3;
    pub const QUALIFIERS: u16 = 4;
    pub const KEYWORDS: u16 = 5;
    pub const TIME: u16 = 6;
    pub const ACTIVITY_ID: u16 = 7;
    pub const PROCESS_ID: u16 = 8;
    pub const THREAD_ID: u16 = 9;
    pub const RECORD_ID: u16 = 10;
    pub const VERSION: u16 = 11;
    pub const USER: u16 = 12;
    pub const RELATED_ACTIVITY_ID: u16 = 13;
    pub const PROVIDER: u16 = 14;
    pub const PROVIDER_GUID: u16 = 15;
    pub const CHANNEL: u16 = 16;
    pub const DATA: u16 = 17;
    /// Only in templates with a rendering.
    pub const RENDERING: u16 = 18;
}

/// Dependency id of an element that is always there.
const ALWAYS: u16 = 0xffff;

const EVENT_NAMESPACE: &str = "http://schemas.microsoft.com/win/2004/08/events/event";

/// How a record holds its event.
#[derive(Clone, Copy, Debug)]
enum RecordEncoding {
    Templates,
    Inline,
}

/// Whether provider and channel are literals of the template, as in classic events, or values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TemplateKind {
    Classic,
    Manifest,
}

/// Which element of the event its data is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DataParent {
    Nowhere,
    /// Directly below `Event`; the value brings its `EventData`.
    Event,
    UserData,
}

impl EventSpec<'_> {
    fn template_kind(&self) -> TemplateKind {
        let classic = self.qualifiers.is_some()
            || self.event_source_name.is_some()
            || matches!(self.data, Payload::Unnamed(..));
        if classic { TemplateKind::Classic } else { TemplateKind::Manifest }
    }
}

impl Payload<'_> {
    fn place(&self) -> DataParent {
        match self {
            Payload::None => DataParent::Nowhere,
            Payload::Named(_) | Payload::Positional(_) | Payload::Unnamed(..) => DataParent::Event,
            Payload::User { .. } => DataParent::UserData,
        }
    }
}

/// The content of an element or attribute of a template.
#[derive(Clone, Copy, Debug)]
enum TemplateContent<'a> {
    Text(&'a str),
    /// Slot number and type.
    Slot(u16, u8),
    /// The same, but an attribute is left out when the value is null.
    Optional(u16, u8),
}

/// An element that has been opened and not closed yet; the offset of its size.
#[derive(Debug)]
struct ElementStart {
    size_at: usize,
}

/// The descriptors of a record's values; the offset of the next one.
#[derive(Debug)]
struct Descriptors {
    next: usize,
}

/// The chunk being filled. Offsets count from its start, header included.
#[derive(Debug)]
struct Chunk {
    bytes: Vec<u8>,
    names: HashMap<Box<str>, u32>,
    templates: HashMap<TemplateGuid, u32>,
    /// Newest name of each bucket; it links to the one before. 0 ends.
    name_heads: [u32; NAME_BUCKETS],
    template_heads: [u32; TEMPLATE_BUCKETS],
    first_record_id: u64,
    last_record_id: u64,
    /// Offset of the last record; 0 while there is none.
    last_record: u32,
}

impl Chunk {
    fn new() -> Chunk {
        let mut bytes = Vec::with_capacity(2 * CHUNK_BYTES);
        bytes.resize(CHUNK_HEADER_BYTES, 0);
        Chunk {
            bytes,
            names: HashMap::new(),
            templates: HashMap::new(),
            name_heads: [0; NAME_BUCKETS],
            template_heads: [0; TEMPLATE_BUCKETS],
            first_record_id: 0,
            last_record_id: 0,
            last_record: 0,
        }
    }

    fn is_empty(&self) -> bool {
        self.last_record == 0
    }

    fn clear(&mut self) {
        self.bytes.truncate(CHUNK_HEADER_BYTES);
        self.names.clear();
        self.templates.clear();
        self.name_heads.fill(0);
        self.template_heads.fill(0);
        self.last_record = 0;
    }

    /// Adds a record, or leaves the chunk as it was.
    fn append(
        &mut self,
        id: u64,
        event: &EventSpec<'_>,
        style: RecordEncoding,
    ) -> Result<(), Refusal> {
        let at = self.here();
        if let Err(refusal) = self.record(id, event, style) {
            self.take_back(at);
            return Err(refusal);
        }
        if self.is_empty() {
            self.first_record_id = id;
        }
        self.last_record_id = id;
        self.last_record = at;
        Ok(())
    }

    /// Undoes everything from offset `at` on.
    fn take_back(&mut self, at: u32) {
        for head in self.name_heads.iter_mut().chain(&mut self.template_heads) {
            // Names and templates both start with the link.
            while *head >= at {
                *head = get_u32(&self.bytes, *head as usize);
            }
        }
        self.names.retain(|_, offset| *offset < at);
        self.templates.retain(|_, offset| *offset < at);
        self.bytes.truncate(at as usize);
    }

    /// Completes the header and the free space; the chunk as it goes to the file.
    fn seal(&mut self) -> &[u8] {
        let free_space = self.here();
        self.bytes.resize(CHUNK_BYTES, 0);
        let events = crc32fast::hash(&self.bytes[CHUNK_HEADER_BYTES..free_space as usize]);
        let header = &mut self.bytes[..CHUNK_HEADER_BYTES];
        header[..8].copy_from_slice(b"ElfChnk\0");
        // Record numbers and record ids: the same in all files examined.
        for (at, id) in [
            (8, self.first_record_id),
            (16, self.last_record_id),
            (24, self.first_record_id),
            (32, self.last_record_id),
        ] {
            put_u64(header, at, id);
        }
        put_u32(header, 40, HEADER_FIELD_BYTES);
        put_u32(header, 44, self.last_record);
        put_u32(header, 48, free_space);
        put_u32(header, 52, events);
        put_u32(header, 120, 1); // set in every chunk that Windows wrote
        for (index, head) in self.name_heads.iter().enumerate() {
            put_u32(header, NAME_BUCKETS_AT + index * 4, *head);
        }
        for (index, head) in self.template_heads.iter().enumerate() {
            put_u32(header, TEMPLATE_BUCKETS_AT + index * 4, *head);
        }
        let mut sum = crc32fast::Hasher::new();
        sum.update(&header[..120]);
        sum.update(&header[128..]);
        put_u32(header, 124, sum.finalize());
        &self.bytes
    }

    fn record(
        &mut self,
        id: u64,
        event: &EventSpec<'_>,
        style: RecordEncoding,
    ) -> Result<(), Refusal> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0x2a, 0x2a, 0, 0, 0, 0, 0, 0]);
        self.bytes.extend_from_slice(&id.to_le_bytes());
        self.bytes.extend_from_slice(&event.time.0.to_le_bytes());
        debug_assert_eq!(self.bytes.len(), start + RECORD_HEADER_BYTES);
        match style {
            RecordEncoding::Templates => self.event(event)?,
            RecordEncoding::Inline => self.inline_event(event)?,
        }
        self.bytes.push(token::END_OF_FRAGMENT);
        let size = (self.bytes.len() + 4 - start).next_multiple_of(8);
        self.bytes.resize(start + size - 4, 0);
        self.bytes.extend_from_slice(&(size as u32).to_le_bytes());
        put_u32(&mut self.bytes, start + 4, size as u32);
        self.check_room()
    }

    fn event(&mut self, event: &EventSpec<'_>) -> Result<(), Refusal> {
        self.instance(TemplateGuid::of_event(event), |chunk| chunk.define_event(event))?;
        let last = if event.rendering.is_some() { slot::RENDERING } else { slot::DATA };
        let mut slots = self.descriptors(u32::from(last) + 1);
        let kind = event.template_kind();
        let substituted = |value| match kind {
            TemplateKind::Classic => TypedValue::Null,
            TemplateKind::Manifest => value,
        };
        for value in [
            TypedValue::U8(event.level),
            TypedValue::U8(event.opcode),
            TypedValue::U16(event.task),
            TypedValue::U16(event.event_id),
            event.qualifiers.map_or(TypedValue::Null, TypedValue::U16),
            TypedValue::Hex64(event.keywords),
            TypedValue::Time(event.time),
            TypedValue::Null,
            TypedValue::U32(event.process_id),
            TypedValue::U32(event.thread_id),
            TypedValue::U64(event.record_id),
            TypedValue::U8(event.version),
            event.user.map_or(TypedValue::Null, TypedValue::Sid),
            TypedValue::Null,
            substituted(TypedValue::Text(event.provider)),
            substituted(event.provider_guid.map_or(TypedValue::Null, TypedValue::Guid)),
            substituted(TypedValue::Text(event.channel)),
        ] {
            self.value(&mut slots, &value)?;
        }
        self.data(&mut slots, &event.data)?;
        match &event.rendering {
            Some(rendering) => self.rendering(&mut slots, rendering),
            None => Ok(()),
        }
    }

    /// The event as elements of the record itself.
    fn inline_event(&mut self, event: &EventSpec<'_>) -> Result<(), Refusal> {
        self.bytes.extend_from_slice(&FRAGMENT_HEADER);
        let root = self.inline_open("Event", &[("xmlns", EVENT_NAMESPACE)])?;
        let system = self.inline_open("System", &[])?;
        let guid = event.provider_guid.as_ref().map(guid_text);
        let mut provider = vec![("Name", event.provider)];
        provider.extend(guid.as_deref().map(|guid| ("Guid", guid)));
        provider.extend(event.event_source_name.map(|name| ("EventSourceName", name)));
        self.inline_leaf("Provider", &provider, "")?;
        let qualifiers = event.qualifiers.map(|number| number.to_string());
        let qualifiers = qualifiers.as_deref().map(|number| ("Qualifiers", number));
        self.inline_leaf("EventID", qualifiers.as_slice(), &event.event_id.to_string())?;
        for (name, value) in [
            ("Version", TypedValue::U8(event.version)),
            ("Level", TypedValue::U8(event.level)),
            ("Task", TypedValue::U16(event.task)),
            ("Opcode", TypedValue::U8(event.opcode)),
            ("Keywords", TypedValue::Hex64(event.keywords)),
        ] {
            self.inline_leaf(name, &[], &value.to_text())?;
        }
        let time = TypedValue::Time(event.time).to_text();
        self.inline_leaf("TimeCreated", &[("SystemTime", &time)], "")?;
        self.inline_leaf("EventRecordID", &[], &event.record_id.to_string())?;
        self.inline_leaf("Correlation", &[], "")?;
        let [process, thread] = [event.process_id, event.thread_id].map(|id| id.to_string());
        self.inline_leaf("Execution", &[("ProcessID", &process), ("ThreadID", &thread)], "")?;
        self.inline_leaf("Channel", &[], event.channel)?;
        self.inline_leaf("Computer", &[], event.computer)?;
        let user = event.user.map(|sid| sid.to_string());
        let user = user.as_deref().map(|sid| ("UserID", sid));
        self.inline_leaf("Security", user.as_slice(), "")?;
        self.end(&system);
        self.inline_data(&event.data)?;
        if let Some(rendering) = &event.rendering {
            self.inline_rendering(rendering)?;
        }
        self.end(&root);
        Ok(())
    }

    fn inline_data(&mut self, data: &Payload<'_>) -> Result<(), Refusal> {
        match *data {
            Payload::None => {}
            Payload::Named(fields) => {
                let root = self.inline_open("EventData", &[])?;
                for (name, value) in fields {
                    self.inline_leaf("Data", &[("Name", name)], &value.to_text())?;
                }
                self.end(&root);
            }
            Payload::Positional(values) => {
                let root = self.inline_open("EventData", &[])?;
                for value in values {
                    self.inline_leaf("Data", &[], &value.to_text())?;
                }
                self.end(&root);
            }
            Payload::Unnamed(texts, binary) => {
                let root = self.inline_open("EventData", &[])?;
                for text in texts {
                    if text.contains('\0') {
                        return Err(Refusal::Nul);
                    }
                    self.inline_leaf("Data", &[], text)?;
                }
                if let Some(binary) = binary {
                    self.inline_leaf("Binary", &[], &TypedValue::Binary(binary).to_text())?;
                }
                self.end(&root);
            }
            Payload::User { element, namespace, fields } => {
                let root = self.inline_open("UserData", &[])?;
                let namespace = [("xmlns", namespace)];
                let attributes = if namespace[0].1.is_empty() { &[] } else { namespace.as_slice() };
                let inner = self.inline_open(element, attributes)?;
                for (name, value) in fields {
                    self.inline_leaf(name, &[], &value.to_text())?;
                }
                self.end(&inner);
                self.end(&root);
            }
        }
        Ok(())
    }

    fn inline_rendering(&mut self, rendering: &Rendering<'_>) -> Result<(), Refusal> {
        let root = self.inline_open("RenderingInfo", &[("Culture", rendering.culture)])?;
        for (name, text) in [
            ("Message", rendering.message),
            ("Level", rendering.level),
            ("Task", rendering.task),
            ("Opcode", rendering.opcode),
            ("Channel", rendering.channel),
            ("Provider", rendering.provider),
        ] {
            self.inline_leaf(name, &[], text)?;
        }
        let list = self.inline_open("Keywords", &[])?;
        for keyword in rendering.keywords {
            self.inline_leaf("Keyword", &[], keyword)?;
        }
        self.end(&list);
        self.end(&root);
        Ok(())
    }

    /// The start tag of an element that has content.
    fn inline_open(
        &mut self,
        name: &str,
        attributes: &[(&str, &str)],
    ) -> Result<ElementStart, Refusal> {
        let element = self.inline_start(name, attributes)?;
        self.bytes.push(token::CLOSE_START);
        Ok(element)
    }

    /// An element with text, or with nothing when the text is empty.
    fn inline_leaf(
        &mut self,
        name: &str,
        attributes: &[(&str, &str)],
        text: &str,
    ) -> Result<(), Refusal> {
        let element = self.inline_start(name, attributes)?;
        if text.is_empty() {
            self.bytes.push(token::CLOSE_EMPTY);
            self.patch_size(element.size_at);
            return Ok(());
        }
        self.close(&element, TemplateContent::Text(text))
    }

    /// As [`Chunk::open`], but outside of templates elements have no
    /// dependency id.
    fn inline_start(
        &mut self,
        name: &str,
        attributes: &[(&str, &str)],
    ) -> Result<ElementStart, Refusal> {
        let more = if attributes.is_empty() { 0 } else { token::MORE };
        self.bytes.push(token::OPEN_ELEMENT | more);
        let size_at = self.reserve_size();
        self.name(name)?;
        self.attributes(
            attributes.iter().map(|(name, text)| (*name, TemplateContent::Text(text))),
        )?;
        Ok(ElementStart { size_at })
    }

    /// The event data as one value: a fragment with a template of its own.
    fn data(&mut self, slots: &mut Descriptors, data: &Payload<'_>) -> Result<(), Refusal> {
        let at = self.bytes.len();
        let shape = TemplateGuid::of_data(data);
        match *data {
            Payload::None => return self.value(slots, &TypedValue::Null),
            Payload::Named(fields) | Payload::User { fields, .. } => {
                self.instance(shape, |chunk| chunk.define_fields(data))?;
                self.values(fields.iter().map(|(_, value)| value))?;
            }
            Payload::Positional(values) => {
                self.instance(shape, |chunk| chunk.define_fields(data))?;
                self.values(values.iter())?;
            }
            Payload::Unnamed(texts, binary) => {
                self.instance(shape, Chunk::define_classic)?;
                let mut slots = self.descriptors(3);
                self.text_array(&mut slots, texts)?;
                // A slot between the two that no element shows holds the size.
                let size = binary.map_or(0, <[u8]>::len);
                self.value(&mut slots, &TypedValue::U32(size as u32))?;
                self.value(&mut slots, &binary.map_or(TypedValue::Null, TypedValue::Binary))?;
            }
        }
        self.bytes.push(token::END_OF_FRAGMENT);
        self.describe(slots, at, kind::BINXML)
    }

    fn rendering(
        &mut self,
        slots: &mut Descriptors,
        rendering: &Rendering<'_>,
    ) -> Result<(), Refusal> {
        let at = self.bytes.len();
        let keywords = rendering.keywords.len();
        let shape = TemplateGuid::of_rendering(rendering);
        self.instance(shape, |chunk| chunk.define_rendering(keywords))?;
        let fixed = [
            rendering.culture,
            rendering.message,
            rendering.level,
            rendering.task,
            rendering.opcode,
            rendering.channel,
            rendering.provider,
        ];
        let mut texts = self.descriptors(slot_count(fixed.len() + keywords)?);
        for text in fixed.iter().chain(rendering.keywords) {
            self.value(&mut texts, &TypedValue::Text(text))?;
        }
        self.bytes.push(token::END_OF_FRAGMENT);
        self.describe(slots, at, kind::BINXML)
    }

    /// A template instance up to its values. `define` writes the definition when
    /// this is the first use in the chunk.
    fn instance(
        &mut self,
        shape: TemplateGuid,
        define: impl FnOnce(&mut Chunk) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        self.bytes.extend_from_slice(&FRAGMENT_HEADER);
        self.bytes.extend_from_slice(&[token::TEMPLATE, 1]);
        self.bytes.extend_from_slice(&shape.guid[..4]);
        if let Some(offset) = self.templates.get(&shape) {
            self.bytes.extend_from_slice(&offset.to_le_bytes());
            return Ok(());
        }
        let offset = self.here() + 4;
        self.bytes.extend_from_slice(&offset.to_le_bytes());
        let head = &mut self.template_heads[shape.bucket()];
        self.bytes.extend_from_slice(&head.to_le_bytes());
        *head = offset;
        self.bytes.extend_from_slice(&shape.guid);
        let size_at = self.reserve_size();
        self.bytes.extend_from_slice(&FRAGMENT_HEADER);
        define(self)?;
        self.bytes.push(token::END_OF_FRAGMENT);
        self.patch_size(size_at);
        self.templates.insert(shape, offset);
        Ok(())
    }

    fn define_event(&mut self, event: &EventSpec<'_>) -> Result<(), Refusal> {
        use TemplateContent::{Optional, Slot, Text};
        let place = event.data.place();
        let dependency = match place {
            DataParent::Event => slot::DATA,
            DataParent::Nowhere | DataParent::UserData => ALWAYS,
        };
        let root = self.open("Event", dependency, &[("xmlns", Text(EVENT_NAMESPACE))])?;
        self.bytes.push(token::CLOSE_START);
        let system = self.open("System", ALWAYS, &[])?;
        self.bytes.push(token::CLOSE_START);

        let guid = event.provider_guid.as_ref().map(guid_text);
        let mut provider = Vec::with_capacity(3);
        match event.template_kind() {
            TemplateKind::Classic => {
                provider.push(("Name", Text(event.provider)));
                provider.extend(guid.as_deref().map(|guid| ("Guid", Text(guid))));
                provider
                    .extend(event.event_source_name.map(|name| ("EventSourceName", Text(name))));
            }
            TemplateKind::Manifest => {
                provider.push(("Name", Optional(slot::PROVIDER, kind::TEXT)));
                provider.push(("Guid", Optional(slot::PROVIDER_GUID, kind::GUID)));
            }
        }
        self.empty("Provider", &provider)?;

        let qualifiers = [("Qualifiers", Optional(slot::QUALIFIERS, kind::U16))];
        let event_id = self.open("EventID", slot::EVENT_ID, &qualifiers)?;
        self.close(&event_id, Optional(slot::EVENT_ID, kind::U16))?;
        for (name, slot, kind) in [
            ("Version", slot::VERSION, kind::U8),
            ("Level", slot::LEVEL, kind::U8),
            ("Task", slot::TASK, kind::U16),
            ("Opcode", slot::OPCODE, kind::U8),
            ("Keywords", slot::KEYWORDS, kind::HEX64),
        ] {
            self.leaf(name, slot, Optional(slot, kind))?;
        }
        self.empty("TimeCreated", &[("SystemTime", Optional(slot::TIME, kind::FILETIME))])?;
        self.leaf("EventRecordID", slot::RECORD_ID, Optional(slot::RECORD_ID, kind::U64))?;
        self.empty(
            "Correlation",
            &[
                ("ActivityID", Optional(slot::ACTIVITY_ID, kind::GUID)),
                ("RelatedActivityID", Optional(slot::RELATED_ACTIVITY_ID, kind::GUID)),
            ],
        )?;
        self.empty(
            "Execution",
            &[
                ("ProcessID", Optional(slot::PROCESS_ID, kind::U32)),
                ("ThreadID", Optional(slot::THREAD_ID, kind::U32)),
            ],
        )?;
        match event.template_kind() {
            TemplateKind::Classic => self.leaf("Channel", ALWAYS, Text(event.channel))?,
            TemplateKind::Manifest => {
                self.leaf("Channel", slot::CHANNEL, Optional(slot::CHANNEL, kind::TEXT))?;
            }
        }
        self.leaf("Computer", ALWAYS, Text(event.computer))?;
        self.empty("Security", &[("UserID", Optional(slot::USER, kind::SID))])?;
        self.end(&system);

        let data = Optional(slot::DATA, kind::BINXML);
        match place {
            DataParent::Nowhere => {}
            DataParent::Event => self.content(data)?,
            DataParent::UserData => self.leaf("UserData", slot::DATA, data)?,
        }
        if event.rendering.is_some() {
            self.content(Slot(slot::RENDERING, kind::BINXML))?;
        }
        self.end(&root);
        Ok(())
    }

    /// `EventData` or the element below `UserData`, a slot for each field.
    fn define_fields(&mut self, data: &Payload<'_>) -> Result<(), Refusal> {
        let root = match data {
            Payload::None | Payload::Named(_) | Payload::Positional(_) | Payload::Unnamed(..) => {
                self.open("EventData", ALWAYS, &[])?
            }
            Payload::User { element, namespace: "", .. } => self.open(element, ALWAYS, &[])?,
            Payload::User { element, namespace, .. } => {
                self.open(element, ALWAYS, &[("xmlns", TemplateContent::Text(namespace))])?
            }
        };
        self.bytes.push(token::CLOSE_START);
        match *data {
            Payload::None | Payload::Unnamed(..) => {}
            Payload::Named(fields) => {
                for (slot, (name, value)) in (0..).zip(fields) {
                    let field =
                        self.open("Data", ALWAYS, &[("Name", TemplateContent::Text(name))])?;
                    self.close(&field, TemplateContent::Slot(slot, value.declared_kind()))?;
                }
            }
            Payload::Positional(values) => {
                for (slot, value) in (0..).zip(values) {
                    self.leaf("Data", ALWAYS, TemplateContent::Slot(slot, value.declared_kind()))?;
                }
            }
            Payload::User { fields, .. } => {
                for (slot, (name, value)) in (0..).zip(fields) {
                    self.leaf(name, ALWAYS, TemplateContent::Slot(slot, value.declared_kind()))?;
                }
            }
        }
        self.end(&root);
        Ok(())
    }

    /// The template of classic events, the same for all of them.
    fn define_classic(&mut self) -> Result<(), Refusal> {
        let root = self.open("EventData", ALWAYS, &[])?;
        self.bytes.push(token::CLOSE_START);
        self.leaf("Data", 0, TemplateContent::Optional(0, kind::TEXT_ARRAY))?;
        self.leaf("Binary", 2, TemplateContent::Optional(2, kind::BINARY))?;
        self.end(&root);
        Ok(())
    }

    fn define_rendering(&mut self, keywords: usize) -> Result<(), Refusal> {
        let text = |slot| TemplateContent::Slot(slot, kind::TEXT);
        let root = self.open("RenderingInfo", ALWAYS, &[("Culture", text(0))])?;
        self.bytes.push(token::CLOSE_START);
        for (slot, name) in (1..).zip(["Message", "Level", "Task", "Opcode", "Channel", "Provider"])
        {
            self.leaf(name, ALWAYS, text(slot))?;
        }
        let list = self.open("Keywords", ALWAYS, &[])?;
        self.bytes.push(token::CLOSE_START);
        for (slot, _) in (7..).zip(0..keywords) {
            self.leaf("Keyword", ALWAYS, text(slot))?;
        }
        self.end(&list);
        self.end(&root);
        Ok(())
    }

    /// An element with attributes only.
    fn empty(
        &mut self,
        name: &str,
        attributes: &[(&str, TemplateContent<'_>)],
    ) -> Result<(), Refusal> {
        let element = self.open(name, ALWAYS, attributes)?;
        self.bytes.push(token::CLOSE_EMPTY);
        self.patch_size(element.size_at);
        Ok(())
    }

    /// An element with content only.
    fn leaf(
        &mut self,
        name: &str,
        dependency: u16,
        content: TemplateContent<'_>,
    ) -> Result<(), Refusal> {
        let element = self.open(name, dependency, &[])?;
        self.close(&element, content)
    }

    /// A start tag but for its end, which says whether there is content.
    fn open(
        &mut self,
        name: &str,
        dependency: u16,
        attributes: &[(&str, TemplateContent<'_>)],
    ) -> Result<ElementStart, Refusal> {
        let more = if attributes.is_empty() { 0 } else { token::MORE };
        self.bytes.push(token::OPEN_ELEMENT | more);
        self.bytes.extend_from_slice(&dependency.to_le_bytes());
        let size_at = self.reserve_size();
        self.name(name)?;
        self.attributes(attributes.iter().copied())?;
        Ok(ElementStart { size_at })
    }

    /// The attribute list, which an element without attributes does not have.
    fn attributes<'a>(
        &mut self,
        attributes: impl ExactSizeIterator<Item = (&'a str, TemplateContent<'a>)>,
    ) -> Result<(), Refusal> {
        let last = match attributes.len() {
            0 => return Ok(()),
            count => count - 1,
        };
        let attributes_at = self.reserve_size();
        for (index, (name, content)) in attributes.enumerate() {
            let more = if index < last { token::MORE } else { 0 };
            self.bytes.push(token::ATTRIBUTE | more);
            self.name(name)?;
            self.content(content)?;
        }
        self.patch_size(attributes_at);
        Ok(())
    }

    /// The rest of a start tag, the content and the end tag.
    fn close(
        &mut self,
        element: &ElementStart,
        content: TemplateContent<'_>,
    ) -> Result<(), Refusal> {
        self.bytes.push(token::CLOSE_START);
        self.content(content)?;
        self.end(element);
        Ok(())
    }

    fn end(&mut self, element: &ElementStart) {
        self.bytes.push(token::END_ELEMENT);
        self.patch_size(element.size_at);
    }

    fn content(&mut self, content: TemplateContent<'_>) -> Result<(), Refusal> {
        match content {
            TemplateContent::Text(text) => {
                self.bytes.extend_from_slice(&[token::TEXT, kind::TEXT]);
                self.counted_text(text)
            }
            TemplateContent::Slot(slot, kind) => {
                let [low, high] = slot.to_le_bytes();
                self.bytes.extend_from_slice(&[token::SLOT, low, high, kind]);
                Ok(())
            }
            TemplateContent::Optional(slot, kind) => {
                let [low, high] = slot.to_le_bytes();
                self.bytes.extend_from_slice(&[token::OPTIONAL_SLOT, low, high, kind]);
                Ok(())
            }
        }
    }

    /// A reference to a name, which follows at once where it is used first:
    /// link, hash, count of characters, characters, NUL.
    fn name(&mut self, name: &str) -> Result<(), Refusal> {
        if let Some(offset) = self.names.get(name) {
            self.bytes.extend_from_slice(&offset.to_le_bytes());
            return Ok(());
        }
        let offset = self.here() + 4;
        self.bytes.extend_from_slice(&offset.to_le_bytes());
        let hash = name_hash(name.encode_utf16());
        let head = &mut self.name_heads[usize::from(hash) % NAME_BUCKETS];
        self.bytes.extend_from_slice(&head.to_le_bytes());
        *head = offset;
        self.bytes.extend_from_slice(&hash.to_le_bytes());
        self.counted_text(name)?;
        self.bytes.extend_from_slice(&[0, 0]);
        self.names.insert(name.into(), offset);
        Ok(())
    }

    fn counted_text(&mut self, text: &str) -> Result<(), Refusal> {
        let count_at = self.bytes.len();
        self.bytes.extend_from_slice(&[0, 0]);
        let bytes = self.text(text)?;
        put_u16(&mut self.bytes, count_at, (bytes / 2) as u16);
        Ok(())
    }

    /// UTF-16; the number of bytes, at most [`VALUE_BYTES_MAX`].
    fn text(&mut self, text: &str) -> Result<usize, Refusal> {
        let at = self.bytes.len();
        if text.is_ascii() {
            check_size(text.len() * 2)?;
            self.bytes.resize(at + text.len() * 2, 0);
            let units = self.bytes[at..].as_chunks_mut::<2>().0;
            for (unit, byte) in units.iter_mut().zip(text.bytes()) {
                unit[0] = byte;
            }
        } else {
            check_size(text.encode_utf16().count() * 2)?;
            self.bytes.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
        }
        self.check_room()?;
        Ok(self.bytes.len() - at)
    }

    fn values<'a>(
        &mut self,
        values: impl ExactSizeIterator<Item = &'a TypedValue<'a>>,
    ) -> Result<(), Refusal> {
        let mut slots = self.descriptors(slot_count(values.len())?);
        values.into_iter().try_for_each(|value| self.value(&mut slots, value))
    }

    /// The count of values and room for a descriptor of each.
    fn descriptors(&mut self, count: u32) -> Descriptors {
        self.bytes.extend_from_slice(&count.to_le_bytes());
        let next = self.bytes.len();
        self.bytes.resize(next + count as usize * 4, 0);
        Descriptors { next }
    }

    fn value(&mut self, slots: &mut Descriptors, value: &TypedValue<'_>) -> Result<(), Refusal> {
        let at = self.bytes.len();
        let bytes = &mut self.bytes;
        match *value {
            TypedValue::Null => {}
            TypedValue::Text(text) => {
                self.text(text)?;
            }
            TypedValue::I8(number) => bytes.extend_from_slice(&number.to_le_bytes()),
            TypedValue::U8(number) => bytes.push(number),
            TypedValue::I16(number) => bytes.extend_from_slice(&number.to_le_bytes()),
            TypedValue::U16(number) => bytes.extend_from_slice(&number.to_le_bytes()),
            TypedValue::I32(number) => bytes.extend_from_slice(&number.to_le_bytes()),
            TypedValue::U32(number) | TypedValue::Hex32(number) => {
                bytes.extend_from_slice(&number.to_le_bytes());
            }
            TypedValue::I64(number) => bytes.extend_from_slice(&number.to_le_bytes()),
            TypedValue::U64(number) | TypedValue::Hex64(number) | TypedValue::Pointer(number) => {
                bytes.extend_from_slice(&number.to_le_bytes());
            }
            TypedValue::F32(number) => bytes.extend_from_slice(&number.to_le_bytes()),
            TypedValue::F64(number) => bytes.extend_from_slice(&number.to_le_bytes()),
            TypedValue::Bool(truth) => bytes.extend_from_slice(&u32::from(truth).to_le_bytes()),
            TypedValue::Time(time) => bytes.extend_from_slice(&time.0.to_le_bytes()),
            TypedValue::Guid(guid) => bytes.extend_from_slice(&guid),
            TypedValue::Sid(sid) => {
                bytes.extend_from_slice(&[1, sid.subs().len() as u8]);
                bytes.extend_from_slice(&sid.authority().to_be_bytes()[2..]);
                for sub in sid.subs() {
                    bytes.extend_from_slice(&sub.to_le_bytes());
                }
            }
            TypedValue::Binary(binary) => {
                check_size(binary.len())?;
                bytes.extend_from_slice(binary);
            }
        }
        self.describe(slots, at, value.kind())
    }

    /// Strings with a NUL after each; none at all is null.
    fn text_array(&mut self, slots: &mut Descriptors, texts: &[&str]) -> Result<(), Refusal> {
        let at = self.bytes.len();
        for text in texts {
            if text.contains('\0') {
                return Err(Refusal::Nul);
            }
            self.text(text)?;
            self.bytes.extend_from_slice(&[0, 0]);
        }
        self.describe(slots, at, if texts.is_empty() { kind::NULL } else { kind::TEXT_ARRAY })
    }

    /// Enters the bytes since `at` as the next value.
    fn describe(&mut self, slots: &mut Descriptors, at: usize, kind: u8) -> Result<(), Refusal> {
        self.check_room()?;
        // A chunk is smaller than the largest size, so there is room for it.
        let size = u16::try_from(self.bytes.len() - at).map_err(|_| Refusal::Full)?;
        put_u16(&mut self.bytes, slots.next, size);
        self.bytes[slots.next + 2] = kind;
        slots.next += 4;
        Ok(())
    }

    fn here(&self) -> u32 {
        self.bytes.len() as u32
    }

    /// Room for the size of what follows.
    fn reserve_size(&mut self) -> usize {
        let at = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        at
    }

    /// Sets it to the number of bytes written since.
    fn patch_size(&mut self, size_at: usize) {
        let size = self.bytes.len() - size_at - 4;
        put_u32(&mut self.bytes, size_at, size as u32);
    }

    /// To be called after every text and value, so that the buffer exceeds the chunk by one of them
    /// at most.
    fn check_room(&self) -> Result<(), Refusal> {
        if self.bytes.len() <= CHUNK_BYTES { Ok(()) } else { Err(Refusal::Full) }
    }
}

fn check_size(bytes: usize) -> Result<(), Refusal> {
    if bytes <= VALUE_BYTES_MAX { Ok(()) } else { Err(Refusal::Long(bytes)) }
}

/// Slots are counted in 16 bits, and more would not fit a chunk anyway.
fn slot_count(count: usize) -> Result<u32, Refusal> {
    u16::try_from(count).map(u32::from).map_err(|_| Refusal::Full)
}

/// A 128-bit hash of everything that a template's definition depends on. It is also the template's
/// GUID: Windows identifies templates by GUID alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct TemplateGuid {
    guid: [u8; 16],
}

impl TemplateGuid {
    fn of_event(event: &EventSpec<'_>) -> TemplateGuid {
        let mut hash = TemplateHasher::new("event");
        hash.number(event.data.place() as u64);
        hash.number(u64::from(event.rendering.is_some()));
        hash.text(event.computer);
        match event.template_kind() {
            TemplateKind::Manifest => hash.text("values"),
            TemplateKind::Classic => {
                hash.text("text");
                hash.text(event.provider);
                hash.text(event.channel);
                hash.bytes(event.provider_guid.as_ref().map_or(&[], |guid| guid.as_slice()));
                hash.number(u64::from(event.event_source_name.is_some()));
                hash.text(event.event_source_name.unwrap_or_default());
            }
        }
        hash.finish()
    }

    fn of_data(data: &Payload<'_>) -> TemplateGuid {
        let mut hash = TemplateHasher::new("data");
        match *data {
            Payload::None => hash.text("none"),
            Payload::Named(fields) => {
                hash.text("named");
                hash.fields(fields);
            }
            Payload::Positional(values) => {
                hash.text("positional");
                for value in values {
                    hash.number(u64::from(value.declared_kind()));
                }
            }
            Payload::Unnamed(..) => hash.text("unnamed"),
            Payload::User { element, namespace, fields } => {
                hash.text("user");
                hash.text(element);
                hash.text(namespace);
                hash.fields(fields);
            }
        }
        hash.finish()
    }

    fn of_rendering(rendering: &Rendering<'_>) -> TemplateGuid {
        let mut hash = TemplateHasher::new("rendering");
        hash.number(rendering.keywords.len() as u64);
        hash.finish()
    }

    /// The name hash over the GUID as eight 16-bit units; so it is in files that
    /// Windows wrote.
    fn bucket(&self) -> usize {
        let units = self.guid.as_chunks::<2>().0.iter().map(|unit| u16::from_le_bytes(*unit));
        usize::from(name_hash(units)) % TEMPLATE_BUCKETS
    }
}

/// Two independent multiply-and-fold lanes over 64-bit words. Computed for
/// every record, hence fast rather than proof against an adversary.
#[derive(Debug)]
struct TemplateHasher {
    lanes: [u64; 2],
}

impl TemplateHasher {
    fn new(domain: &str) -> TemplateHasher {
        let mut hash = TemplateHasher { lanes: [0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344] };
        hash.text(domain);
        hash
    }

    fn number(&mut self, number: u64) {
        // Odd constants from the digits of pi, as above; any would do.
        let [one, two] = self.lanes;
        self.lanes = [
            fold(one ^ number, 0xa409_3822_299f_31d1),
            fold(two.rotate_left(23) ^ number, 0x082e_fa98_ec4e_6c89),
        ];
    }

    /// The length goes in too, so that neighbours cannot trade characters.
    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.number(u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            let mut word = [0; 8];
            word[..rest.len()].copy_from_slice(rest);
            self.number(u64::from_le_bytes(word));
        }
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn fields(&mut self, fields: &[(&str, TypedValue<'_>)]) {
        for (name, value) in fields {
            self.text(name);
            self.number(u64::from(value.declared_kind()));
        }
    }

    fn finish(mut self) -> TemplateGuid {
        self.number(self.lanes[1]);
        let mut guid = [0; 16];
        put_u64(&mut guid, 0, self.lanes[0]);
        put_u64(&mut guid, 8, self.lanes[1]);
        TemplateGuid { guid }
    }
}

fn fold(one: u64, two: u64) -> u64 {
    let product = u128::from(one) * u128::from(two);
    product as u64 ^ (product >> 64) as u64
}

/// The low half of `hash * 65599 + unit` over the UTF-16 units.
fn name_hash(units: impl Iterator<Item = u16>) -> u16 {
    units.fold(0_u32, |hash, unit| hash.wrapping_mul(65_599).wrapping_add(u32::from(unit))) as u16
}

/// `{fc65ddd8-d6ef-4962-83d5-6e5cfe9ce148}`
fn guid_text(guid: &[u8; 16]) -> String {
    let [a, b, c, d, e, f, g, h, tail @ ..] = *guid;
    let [i, j, k, l, m, n, o, p] = tail;
    format!(
        "{{{:08x}-{:04x}-{:04x}-{i:02x}{j:02x}-{k:02x}{l:02x}{m:02x}{n:02x}{o:02x}{p:02x}}}",
        u32::from_le_bytes([a, b, c, d]),
        u16::from_le_bytes([e, f]),
        u16::from_le_bytes([g, h]),
    )
}

fn put_u16(bytes: &mut [u8], at: usize, number: u16) {
    bytes[at..at + 2].copy_from_slice(&number.to_le_bytes());
}

fn put_u32(bytes: &mut [u8], at: usize, number: u32) {
    bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
}

fn put_u64(bytes: &mut [u8], at: usize, number: u64) {
    bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
}

fn get_u32(bytes: &[u8], at: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(number)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use evtx::{EvtxChunkData, EvtxParser, ParserSettings};
    use serde_json::{Value as Json, json};

    use super::*;

    const TIME: EventTime = EventTime(133_000_000_001_234_567);
    const TIME_TEXT: &str = "2022-06-18T04:26:40.1234567Z";
    const GUID: [u8; 16] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];
    const GUID_TEXT: &str = "{04030201-0605-0807-090a-0b0c0d0e0f10}";

    fn spec(data: Payload<'_>) -> EventSpec<'_> {
        EventSpec {
            provider: "Microsoft-Windows-Security-Auditing",
            provider_guid: Some(GUID),
            event_source_name: None,
            qualifiers: None,
            event_id: 4625,
            version: 2,
            level: 4,
            task: 12544,
            opcode: 1,
            keywords: 0x8010_0000_0000_0000,
            time: TIME,
            record_id: 7,
            process_id: 640,
            thread_id: 5000,
            channel: "Security",
            computer: "host-1.example.org",
            user: None,
            data,
            rendering: None,
        }
    }

    fn sid(text: &str) -> Sid {
        Sid::parse(text).unwrap()
    }

    fn file(events: &[EventSpec<'_>]) -> Vec<u8> {
        let mut writer = Writer::new(Cursor::new(Vec::new())).unwrap();
        for event in events {
            writer.write(event).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    /// The records of a file in order, with their ids; any error fails the test,
    /// and so does a sum that is wrong.
    fn read(bytes: Vec<u8>) -> Vec<(u64, Json)> {
        for chunk in bytes[FILE_HEADER_BYTES..].chunks(CHUNK_BYTES) {
            assert!(EvtxChunkData::new(chunk.to_vec(), true).unwrap().validate_checksum());
        }
        let settings = ParserSettings::new().validate_checksums(true);
        let mut parser = EvtxParser::from_buffer(bytes).unwrap().with_configuration(settings);
        assert!(parser.header().validate_checksum());
        parser
            .records_json_value()
            .map(|record| record.map(|record| (record.event_record_id, record.data)).unwrap())
            .collect()
    }

    fn read_one(event: EventSpec<'_>) -> Json {
        let mut records = read(file(&[event]));
        assert_eq!(records.len(), 1);
        records.remove(0).1["Event"].take()
    }

    fn read_xml(event: EventSpec<'_>) -> String {
        let settings = ParserSettings::new().indent(false);
        let parser = EvtxParser::from_buffer(file(&[event])).unwrap();
        let mut parser = parser.with_configuration(settings);
        let mut records: Vec<_> = parser.records().map(|record| record.unwrap().data).collect();
        assert_eq!(records.len(), 1);
        records.remove(0)
    }

    /// The data of an event reads back as `expected`, its `System` as always.
    fn check_data(data: Payload<'_>, expected: &Json) {
        let read = read_one(spec(data));
        assert_eq!(read["EventData"], *expected);
        assert_eq!(read["System"]["EventID"], 4625);
    }

    #[test]
    fn a_manifest_events_system_part_reads_back() {
        let read = read_one(spec(Payload::Named(&[("a", TypedValue::U8(1))])));
        let attributes = |attributes: Json| json!({ "#attributes": attributes });
        assert_eq!(
            read["System"],
            json!({
                "Provider": attributes(
                    json!({"Name": "Microsoft-Windows-Security-Auditing", "Guid": GUID_TEXT}),
                ),
                "EventID": 4625,
                "Version": 2,
                "Level": 4,
                "Task": 12544,
                "Opcode": 1,
                "Keywords": "0x8010000000000000",
                "TimeCreated": attributes(json!({ "SystemTime": TIME_TEXT })),
                "EventRecordID": 7,
                "Correlation": null,
                "Execution": attributes(json!({"ProcessID": 640, "ThreadID": 5000})),
                "Channel": "Security",
                "Computer": "host-1.example.org",
                "Security": null,
            })
        );
    }

    #[test]
    fn a_classic_events_system_part_reads_back() {
        let event = EventSpec {
            provider: "LsaSrv",
            event_source_name: Some("LsaSrv & <co>"),
            qualifiers: Some(0x8000),
            channel: "System",
            user: Some(sid("S-1-5-18")),
            ..spec(Payload::Unnamed(&["a"], None))
        };
        let read = read_one(event);
        let system = &read["System"];
        assert_eq!(
            system["Provider"]["#attributes"],
            json!({"Name": "LsaSrv", "Guid": GUID_TEXT, "EventSourceName": "LsaSrv & <co>"})
        );
        assert_eq!(
            system["EventID"],
            json!({"#attributes": {"Qualifiers": 0x8000}, "#text": 4625})
        );
        assert_eq!(system["Channel"], "System");
        assert_eq!(system["Security"]["#attributes"]["UserID"], "S-1-5-18");
    }

    #[test]
    fn a_provider_without_guid_has_no_guid() {
        for data in [Payload::Named(&[]), Payload::Unnamed(&[], None)] {
            let read = read_one(EventSpec { provider_guid: None, ..spec(data) });
            assert_eq!(
                read["System"]["Provider"]["#attributes"],
                json!({"Name": "Microsoft-Windows-Security-Auditing"})
            );
        }
    }

    #[test]
    fn every_value_type_reads_back() {
        let account = sid("S-1-5-21-1-2-3-1000");
        for (value, expected) in [
            (TypedValue::Null, json!("")),
            (TypedValue::Text(""), json!("")),
            (TypedValue::Text("a < b & \"c\""), json!("a < b & \"c\"")),
            (TypedValue::Text("Grüße 🦀 日本"), json!("Grüße 🦀 日本")),
            (TypedValue::I8(-8), json!(-8)),
            (TypedValue::U8(0xff), json!(0xff)),
            (TypedValue::I16(-16), json!(-16)),
            (TypedValue::U16(0xffff), json!(0xffff)),
            (TypedValue::I32(-32), json!(-32)),
            (TypedValue::U32(u32::MAX), json!(u32::MAX)),
            (TypedValue::I64(i64::MIN), json!(i64::MIN)),
            (TypedValue::U64(u64::MAX), json!(u64::MAX)),
            (TypedValue::F32(0.5), json!("0.5")),
            (TypedValue::F64(-0.25), json!("-0.25")),
            (TypedValue::Hex32(0xc000_006d), json!("0xc000006d")),
            (TypedValue::Hex64(0x3e7), json!("0x3e7")),
            (TypedValue::Pointer(0x1358), json!("0x1358")),
            (TypedValue::Bool(true), json!(true)),
            (TypedValue::Bool(false), json!(false)),
            (TypedValue::Sid(account), json!("S-1-5-21-1-2-3-1000")),
            (TypedValue::Time(TIME), json!(TIME_TEXT)),
            (TypedValue::Guid(GUID), json!(GUID_TEXT)),
            (TypedValue::Binary(&[0, 1, 0xfe]), json!("0001FE")),
            (TypedValue::Binary(&[]), json!("")),
        ] {
            check_data(
                Payload::Named(&[
                    ("before", TypedValue::U8(1)),
                    ("it", value),
                    ("after", TypedValue::U8(2)),
                ]),
                &json!({"before": 1, "it": expected, "after": 2}),
            );
        }
    }

    #[test]
    fn a_null_and_a_text_share_a_template() {
        let fields = [[("a", TypedValue::Text("x"))], [("a", TypedValue::Null)]];
        let bytes = file(&fields.each_ref().map(|fields| spec(Payload::Named(fields))));
        let chunk = EvtxChunkData::new(bytes[FILE_HEADER_BYTES..].to_vec(), true).unwrap();
        assert_eq!(templates(&chunk.data).len(), 2);
        assert_eq!(read(bytes).len(), 2);
    }

    #[test]
    fn an_event_without_data_has_no_data_element() {
        let read = read_one(spec(Payload::None));
        assert!(read.get("EventData").is_none() && read.get("UserData").is_none(), "{read}");
        assert_eq!(read["System"]["EventRecordID"], 7);
    }

    #[test]
    fn unnamed_strings_become_one_element_each() {
        let data = |texts, binary| {
            let xml = read_xml(spec(Payload::Unnamed(texts, binary)));
            let start = xml.find("<EventData").unwrap();
            let end = xml.find("</Event>").unwrap();
            xml[start..end].to_owned()
        };
        let wrap = |inner: &str| format!("<EventData>{inner}</EventData>");
        assert_eq!(data(&[], None), wrap(""));
        assert_eq!(data(&["a"], None), wrap("<Data>a</Data>"));
        assert_eq!(data(&[""], None), wrap("<Data></Data>"));
        assert_eq!(
            data(&["a", "", "ü & 🦀"], None),
            wrap("<Data>a</Data><Data></Data><Data>ü &amp; 🦀</Data>")
        );
        assert_eq!(
            data(&["", "", ""], Some(&[0xde, 0xad])),
            wrap("<Data></Data><Data></Data><Data></Data><Binary>DEAD</Binary>")
        );
        assert_eq!(data(&[], Some(&[1])), wrap("<Binary>01</Binary>"));
    }

    #[test]
    fn positional_values_become_one_element_each() {
        let values = [TypedValue::Text("a"), TypedValue::Null, TypedValue::Hex32(5)];
        let xml = read_xml(spec(Payload::Positional(&values)));
        let data = "<EventData><Data>a</Data><Data></Data><Data>0x5</Data></EventData>";
        assert!(xml.contains(data), "{xml}");
    }

    #[test]
    fn user_data_reads_back() {
        let fields = [("Param1", TypedValue::Text("bob")), ("Param2", TypedValue::Null)];
        let data = Payload::User { element: "EventXML", namespace: "Event_NS", fields: &fields };
        let read = read_one(spec(data));
        assert!(read.get("EventData").is_none());
        assert_eq!(
            read["UserData"]["EventXML"],
            json!({"#attributes": {"xmlns": "Event_NS"}, "Param1": "bob", "Param2": null})
        );
        let bare = Payload::User { element: "Bare", namespace: "", fields: &fields[..1] };
        assert_eq!(read_one(spec(bare))["UserData"], json!({"Bare": {"Param1": "bob"}}));
    }

    #[test]
    fn rendering_info_follows_the_data() {
        let rendering = Rendering {
            culture: "de-DE",
            message: "Fehler beim Anmelden eines Kontos.\r\n\r\nAntragsteller: …",
            level: "Informationen",
            task: "Logon",
            opcode: "",
            channel: "Sicherheit",
            provider: "Microsoft Windows security auditing.",
            keywords: &["Überwachungsfehler", "Klassisch"],
        };
        let fields = [("a", TypedValue::U8(1))];
        for data in [
            Payload::None,
            Payload::Named(&fields),
            Payload::Unnamed(&["x"], None),
            Payload::User { element: "E", namespace: "n", fields: &fields },
        ] {
            let event = EventSpec { rendering: Some(rendering), ..spec(data) };
            let read = read_one(event);
            let info = &read["RenderingInfo"];
            assert_eq!(info["#attributes"]["Culture"], "de-DE");
            assert_eq!(info["Message"], rendering.message);
            assert_eq!(info["Opcode"], Json::Null);
            assert_eq!(info["Provider"], rendering.provider);
            assert_eq!(info["Keywords"]["Keyword"], "Überwachungsfehler");
            assert_eq!(info["Keywords"]["Keyword_1"], "Klassisch");
            let xml = read_xml(event);
            let place = xml.find("<RenderingInfo").unwrap();
            assert!(xml.rfind("Data>").is_none_or(|data| data < place), "{xml}");
        }
    }

    /// Events of all kinds, `count` of them, passed to `take` one by one.
    fn mixed(count: u64, mut take: impl FnMut(u64, &EventSpec<'_>)) {
        for number in 0..count {
            let name = format!("user{number}");
            let host = format!("host-{}.example.org", number % 5);
            let texts = [name.as_str(), "", "x"];
            let fields = [("Name", TypedValue::Text(&name)), ("Number", TypedValue::U64(number))];
            let data = match number % 4 {
                0 => Payload::Unnamed(&texts[..(number % 3) as usize], None),
                1 => Payload::User { element: "EventXML", namespace: "Event_NS", fields: &fields },
                2 => Payload::Named(&fields),
                _ => Payload::Named(&fields[..1]),
            };
            take(number, &EventSpec { record_id: number + 1000, computer: &host, ..spec(data) });
        }
    }

    fn write_mixed<W: Write + Seek>(writer: &mut Writer<W>, count: u64) {
        mixed(count, |_, event| writer.write(event).unwrap());
    }

    fn check_mixed(record: &Json, number: u64) {
        let event = &record["Event"];
        assert_eq!(event["System"]["EventRecordID"], number + 1000);
        let computer = format!("host-{}.example.org", number % 5);
        assert_eq!(event["System"]["Computer"], Json::from(computer));
        let name = Json::from(format!("user{number}"));
        match number % 4 {
            0 => {}
            1 => assert_eq!(event["UserData"]["EventXML"]["Number"], number),
            2 => assert_eq!(event["EventData"], json!({"Name": name, "Number": number})),
            _ => assert_eq!(event["EventData"], json!({ "Name": name })),
        }
    }

    #[test]
    fn thousands_of_records_over_many_chunks_read_back_in_order() {
        let options = Options { first_record_id: 501, ..Options::default() };
        let mut writer = Writer::with_options(Cursor::new(Vec::new()), options).unwrap();
        write_mixed(&mut writer, 5000);
        assert_eq!(writer.next_record_id(), 5501);
        let size = writer.file_bytes();
        let bytes = writer.finish().unwrap().into_inner();
        assert_eq!(bytes.len() as u64, size);

        let header = EvtxParser::from_buffer(bytes.clone()).unwrap();
        let header = header.header();
        let chunks = (bytes.len() - FILE_HEADER_BYTES) / CHUNK_BYTES;
        assert!(chunks > 10);
        assert_eq!(usize::from(header.chunk_count), chunks);
        assert_eq!(header.last_chunk_number, chunks as u64 - 1);
        assert_eq!(header.first_chunk_number, 0);
        assert_eq!(header.next_record_id, 5501);
        assert!(header.flags.is_empty());

        let records = read(bytes);
        assert_eq!(records.len(), 5000);
        for (number, (id, record)) in (0..).zip(&records) {
            assert_eq!(*id, number + 501);
            check_mixed(record, number);
        }
    }

    #[test]
    fn the_same_events_give_the_same_bytes() {
        let write = || {
            let mut writer = Writer::new(Cursor::new(Vec::new())).unwrap();
            write_mixed(&mut writer, 1000);
            writer.finish().unwrap().into_inner()
        };
        assert!(write() == write());
    }

    #[test]
    fn a_file_left_open_is_marked_and_readable() {
        let mut writer = Writer::new(Cursor::new(Vec::new())).unwrap();
        write_mixed(&mut writer, 1000);
        let bytes = writer.leave_open().unwrap().into_inner();
        assert!(bytes.len() > FILE_HEADER_BYTES + 2 * CHUNK_BYTES);
        let parser = EvtxParser::from_buffer(bytes.clone()).unwrap();
        assert_eq!(parser.header().flags.bits(), 1);
        assert_eq!(parser.header().chunk_count, 1);
        assert_eq!(parser.header().next_record_id, 1);
        assert_eq!(read(bytes).len(), 1000);
    }

    #[test]
    fn a_circular_log_keeps_its_newest_chunks() {
        let options = Options { first_record_id: 1, chunks_max: NonZeroU64::new(3) };
        let mut writer = Writer::with_options(Cursor::new(Vec::new()), options).unwrap();
        // Five full chunks and a sixth with one record, in three places.
        let mut count = 0;
        mixed(5000, |_, event| {
            if writer.chunks_written < 5 {
                writer.write(event).unwrap();
                count += 1;
            }
        });
        let size = writer.file_bytes();
        let bytes = writer.finish().unwrap().into_inner();
        assert_eq!(bytes.len(), FILE_HEADER_BYTES + 3 * CHUNK_BYTES);
        assert_eq!(bytes.len() as u64, size);
        let parser = EvtxParser::from_buffer(bytes.clone()).unwrap();
        let header = parser.header();
        assert_eq!((header.first_chunk_number, header.last_chunk_number), (0, 2));
        assert_eq!((header.chunk_count, header.next_record_id), (3, count + 1));
        check_newest(&read(bytes), count);
    }

    #[test]
    fn a_circular_logs_header_names_the_oldest_chunk() {
        let options = Options { first_record_id: 1, chunks_max: NonZeroU64::new(3) };
        let mut writer = Writer::with_options(Cursor::new(Vec::new()), options).unwrap();
        let mut count = 0;
        mixed(5000, |_, event| {
            if writer.chunks_written < 4 {
                writer.write(event).unwrap();
                count += 1;
            }
        });
        let bytes = writer.finish().unwrap().into_inner();
        let parser = EvtxParser::from_buffer(bytes.clone()).unwrap();
        let header = parser.header();
        assert_eq!((header.first_chunk_number, header.last_chunk_number), (2, 1));
        check_newest(&read(bytes), count);
    }

    /// Ids without a gap up to `last`, but not from the first.
    fn check_newest(records: &[(u64, Json)], last: u64) {
        assert!(records[0].0 > 1);
        for (expected, (id, record)) in (records[0].0..).zip(records) {
            assert_eq!(*id, expected);
            check_mixed(record, id - 1);
        }
        assert_eq!(records.last().unwrap().0, last);
    }

    #[test]
    fn an_empty_file_reads_as_no_records() {
        let bytes = file(&[]);
        assert_eq!(bytes.len(), FILE_HEADER_BYTES);
        assert!(read(bytes).is_empty());
    }

    #[test]
    fn a_record_that_fills_a_chunk_is_taken_and_a_larger_one_refused() {
        let size = |event| {
            let bytes = file(&[event]);
            get_u32(&bytes, FILE_HEADER_BYTES + CHUNK_HEADER_BYTES + 4) as usize
        };
        let empty = size(spec(Payload::Named(&[("a", TypedValue::Text(""))])));
        let fits = (RECORD_BYTES_MAX - empty) / 2;
        let text = "x".repeat(fits + 8);
        let fields = [("a", TypedValue::Text(&text[..fits]))];
        assert_eq!(size(spec(Payload::Named(&fields))), RECORD_BYTES_MAX);
        assert_eq!(read_one(spec(Payload::Named(&fields)))["EventData"]["a"], text[..fits]);

        let mut writer = Writer::new(Cursor::new(Vec::new())).unwrap();
        writer.write(&spec(Payload::None)).unwrap();
        let error =
            writer.write(&spec(Payload::Named(&[("a", TypedValue::Text(&text))]))).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(error.to_string().contains("record too large"), "{error}");
    }

    #[test]
    fn refused_events_leave_no_trace() {
        let long = "x".repeat(VALUE_BYTES_MAX);
        let broad = "ü".repeat(VALUE_BYTES_MAX / 2 + 1);
        let blob = vec![0; VALUE_BYTES_MAX + 1];
        let half = &long[..VALUE_BYTES_MAX / 4];
        let refused = [
            (Payload::Named(&[("new", TypedValue::Text(&long))]), "value too long: 131070 bytes"),
            (Payload::Named(&[("new", TypedValue::Text(&broad))]), "value too long: 65536 bytes"),
            (Payload::Named(&[("new", TypedValue::Binary(&blob))]), "value too long"),
            (Payload::Named(&[(&long, TypedValue::U8(1))]), "value too long"),
            (Payload::Unnamed(&["fine", "not\0fine"], None), "NUL"),
            (
                Payload::User {
                    element: "New",
                    namespace: "",
                    fields: &[("Other", TypedValue::Text(half)), ("Third", TypedValue::Text(half))],
                },
                "record too large",
            ),
        ];
        let good = spec(Payload::Named(&[("a", TypedValue::U8(1))]));
        let mut writer = Writer::new(Cursor::new(Vec::new())).unwrap();
        for (data, text) in &refused[..5] {
            writer.write(&good).unwrap();
            let error = writer.write(&spec(*data)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            assert!(error.to_string().contains(text), "{error}");
            assert!(error.to_string().starts_with("event 4625 of `Microsoft-"), "{error}");
        }
        assert!(writer.finish().unwrap().into_inner() == file(&[good; 5]));

        // One that is too large only shows that after the chunk has gone out.
        let mut writer = Writer::new(Cursor::new(Vec::new())).unwrap();
        writer.write(&good).unwrap();
        let error = writer.write(&spec(refused[5].0)).unwrap_err();
        assert!(error.to_string().contains(refused[5].1), "{error}");
        writer.write(&good).unwrap();
        let ids: Vec<_> = read(writer.finish().unwrap().into_inner());
        assert_eq!(ids.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [1, 2]);
    }

    /// The offsets of all templates that a chunk's buckets lead to.
    fn templates(chunk: &[u8]) -> Vec<u32> {
        let mut offsets = Vec::new();
        for bucket in 0..TEMPLATE_BUCKETS {
            let mut offset = get_u32(chunk, TEMPLATE_BUCKETS_AT + bucket * 4);
            while offset != 0 {
                let mut guid = [0; 16];
                guid.copy_from_slice(&chunk[offset as usize + 4..offset as usize + 20]);
                assert_eq!(TemplateGuid { guid }.bucket(), bucket);
                offsets.push(offset);
                offset = get_u32(chunk, offset as usize);
            }
        }
        offsets
    }

    /// Walks a template definition and asserts that every size in it leads where
    /// it should; readers may skip by them.
    fn check_sizes(chunk: &[u8], definition: usize) {
        let u16_at = |at: usize| usize::from(u16::from_le_bytes([chunk[at], chunk[at + 1]]));
        let u32_at = |at: usize| get_u32(chunk, at) as usize;
        let after_name = |at: usize| {
            let inline = u32_at(at) == at + 4;
            if inline { at + 14 + u16_at(at + 10) * 2 } else { at + 4 }
        };
        let start = definition + 24;
        assert_eq!(chunk[start..start + 4], FRAGMENT_HEADER);
        let (mut at, mut ends, mut attributes_end) = (start + 4, Vec::new(), None);
        loop {
            let token = chunk[at];
            let more = token & token::MORE != 0;
            at += 1;
            match token & !token::MORE {
                token::END_OF_FRAGMENT => break,
                token::OPEN_ELEMENT => {
                    ends.push(at + 6 + u32_at(at + 2));
                    at = after_name(at + 6);
                    if more {
                        attributes_end = Some(at + 4 + u32_at(at));
                        at += 4;
                    }
                }
                token::ATTRIBUTE => {
                    at = after_name(at);
                    // What follows a text or a slot says whether there is another.
                    let next = if chunk[at] == token::TEXT { u16_at(at + 2) * 2 } else { 0 };
                    assert_eq!(more, chunk[at + 4 + next] & !token::MORE == token::ATTRIBUTE);
                }
                token::TEXT => at += 3 + u16_at(at + 1) * 2,
                token::SLOT | token::OPTIONAL_SLOT => at += 3,
                token::CLOSE_START => {
                    assert!(attributes_end.take().is_none_or(|end| end == at - 1));
                }
                token::CLOSE_EMPTY => {
                    assert_eq!(attributes_end.take(), Some(at - 1));
                    assert_eq!(ends.pop(), Some(at));
                }
                token::END_ELEMENT => assert_eq!(ends.pop(), Some(at)),
                other => panic!("token {other:#x} at {at:#x}"),
            }
        }
        assert!(ends.is_empty());
        assert_eq!(at, start + u32_at(definition + 20));
    }

    #[test]
    fn sizes_in_templates_lead_to_the_ends_of_their_elements() {
        let mut writer = Writer::new(Cursor::new(Vec::new())).unwrap();
        write_mixed(&mut writer, 20);
        let classic = EventSpec {
            event_source_name: Some("a"),
            ..spec(Payload::Positional(&[TypedValue::Null]))
        };
        writer.write(&classic).unwrap();
        let bytes = writer.finish().unwrap().into_inner();
        let chunk = &bytes[FILE_HEADER_BYTES..];
        for offset in templates(chunk) {
            check_sizes(chunk, offset as usize);
        }
    }

    #[test]
    fn buckets_lead_to_every_name_and_template_once() {
        let mut writer = Writer::new(Cursor::new(Vec::new())).unwrap();
        write_mixed(&mut writer, 2000);
        let bytes = writer.finish().unwrap().into_inner();
        for chunk in bytes[FILE_HEADER_BYTES..].chunks(CHUNK_BYTES) {
            // The events' shapes times five computers, and four kinds of data.
            let mut found = templates(chunk);
            assert_eq!(found.len(), 3 * 5 + 4, "{found:?}");
            found.sort_unstable();
            found.dedup();
            assert_eq!(found.len(), 3 * 5 + 4);

            let mut names = Vec::new();
            for bucket in 0..NAME_BUCKETS {
                let mut offset = get_u32(chunk, NAME_BUCKETS_AT + bucket * 4) as usize;
                while offset != 0 {
                    let field = |at: usize| u16::from_le_bytes([chunk[at], chunk[at + 1]]);
                    let end = offset + 8 + usize::from(field(offset + 6)) * 2;
                    let units: Vec<_> = (offset + 8..end).step_by(2).map(field).collect();
                    assert_eq!(field(offset + 4), name_hash(units.iter().copied()));
                    assert_eq!(usize::from(field(offset + 4)) % NAME_BUCKETS, bucket);
                    assert_eq!(field(end), 0);
                    names.push(String::from_utf16(&units).unwrap());
                    offset = get_u32(chunk, offset) as usize;
                }
            }
            let count = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), count);
            for name in ["Event", "xmlns", "Provider", "EventXML", "Data", "Binary", "Number"] {
                assert!(names.iter().any(|found| found == name), "{name}");
            }
        }
    }

    #[test]
    fn name_hashes_are_those_of_windows() {
        for (name, hash) in [
            ("Event", 0x0cba),
            ("Provider", 0x7bf1),
            ("Name", 0x954b),
            ("EventID", 0x61f5),
            ("RelatedActivityID", 0xc535),
            ("UserID", 0x4c66),
        ] {
            assert_eq!(name_hash(name.encode_utf16()), hash, "{name}");
        }
        // GUIDs of templates that Windows put in buckets 7, 11 and 30.
        for (guid, bucket) in [
            (0xa613_a5f5_6165_d450_252e_678a_9f2e_92fa_u128, 7),
            (0xa6d0_40b6_5409_5d50_4c5c_12cc_a50b_e75f, 11),
            (0x77d8_2943_d5d8_2d51_ec99_201a_0fd9_2fc7, 30),
        ] {
            assert_eq!(TemplateGuid { guid: guid.to_be_bytes() }.bucket(), bucket);
        }
    }

    /// The records of a file as XML; what is empty reads the same whether it has
    /// an end tag or not.
    fn read_texts(bytes: Vec<u8>) -> Vec<String> {
        let settings = ParserSettings::new().indent(false);
        let mut parser = EvtxParser::from_buffer(bytes).unwrap().with_configuration(settings);
        let closed =
            |xml: String| xml.replace("\"></Data>", "\"/>").replace("<Data></Data>", "<Data/>");
        parser.records().map(|record| closed(record.unwrap().data)).collect()
    }

    fn check_forwarded(event: &EventSpec<'_>) {
        let mut writer = Writer::new(Cursor::new(Vec::new())).unwrap();
        writer.write_forwarded(event).unwrap();
        let inline = read_texts(writer.finish().unwrap().into_inner());
        assert_eq!(inline, read_texts(file(&[*event])));
    }

    #[test]
    fn a_forwarded_event_reads_like_one_with_templates() {
        let values = [
            ("null", TypedValue::Null),
            ("text", TypedValue::Text("a < b & 'c' \u{fc}")),
            ("empty", TypedValue::Text("")),
            ("number", TypedValue::I32(-5)),
            ("hex", TypedValue::Hex32(0xc000_006d)),
            ("hex64", TypedValue::Hex64(0x3e7)),
            ("pointer", TypedValue::Pointer(0x2e4)),
            ("yes", TypedValue::Bool(true)),
            ("sid", TypedValue::Sid(sid("S-1-5-21-1-2-3-500"))),
            ("time", TypedValue::Time(TIME)),
            ("guid", TypedValue::Guid(GUID)),
            ("binary", TypedValue::Binary(&[0x22, 0, 0, 0xc0])),
        ];
        let rendering = Rendering {
            culture: "en-US",
            message: "An account failed to log on.\r\n\r\nSubject:",
            level: "Information",
            task: "Logon",
            opcode: "Info",
            channel: "Security",
            provider: "Microsoft Windows security auditing.",
            keywords: &["Audit Failure", "other"],
        };
        let base = spec(Payload::Named(&values));
        check_forwarded(&base);
        check_forwarded(&EventSpec { rendering: Some(rendering), ..base });
        check_forwarded(&EventSpec { user: Some(sid("S-1-5-18")), data: Payload::None, ..base });
        let data =
            Payload::User { element: "EventXML", namespace: "Event_NS", fields: &values[1..2] };
        check_forwarded(&EventSpec { data, ..base });
        let classic = EventSpec {
            provider: "NETLOGON",
            provider_guid: None,
            event_source_name: Some("Netlogon"),
            qualifiers: Some(0x8000),
            data: Payload::Unnamed(&["one", "%%5"], Some(&[1, 0xab])),
            ..base
        };
        check_forwarded(&classic);
    }

    #[test]
    fn a_forwarded_record_starts_with_its_root_element() {
        let mut writer = Writer::new(Cursor::new(Vec::new())).unwrap();
        writer.write_forwarded(&spec(Payload::None)).unwrap();
        let bytes = writer.finish().unwrap().into_inner();
        let record = FILE_HEADER_BYTES + CHUNK_HEADER_BYTES;
        let at = RECORD_HEADER_BYTES;
        assert_eq!(bytes[record + at..record + at + 5], [0x0f, 1, 1, 0, 0x41]);
        // The element ends right before the end of the fragment.
        let end = at + 9 + get_u32(&bytes, record + at + 5) as usize;
        assert_eq!(bytes[record + end - 1], token::END_ELEMENT);
        assert_eq!(bytes[record + end], token::END_OF_FRAGMENT);
        // Name offset: it follows at once.
        assert_eq!(get_u32(&bytes, record + at + 9) as usize, CHUNK_HEADER_BYTES + at + 13);
    }

    #[test]
    fn forwarded_records_over_many_chunks_read_back_in_order() {
        let options = Options { first_record_id: 501, ..Options::default() };
        let mut writer = Writer::with_options(Cursor::new(Vec::new()), options).unwrap();
        mixed(1000, |_, event| writer.write_forwarded(event).unwrap());
        let records = read(writer.finish().unwrap().into_inner());
        assert_eq!(records.len(), 1000);
        for (number, (id, record)) in (0_u64..).zip(&records) {
            assert_eq!(*id, number + 501);
            let system = &record["Event"]["System"];
            assert_eq!(system["EventRecordID"], (number + 1000).to_string());
        }
    }

    #[test]
    fn shapes_differ_by_everything_that_a_template_holds() {
        let one = [("a", TypedValue::U8(1)), ("b", TypedValue::U8(1))];
        let data = [
            Payload::Named(&one),
            Payload::Named(&one[..1]),
            Payload::Named(&[("ab", TypedValue::U8(1))]),
            Payload::Named(&[("a", TypedValue::U16(1)), ("b", TypedValue::U8(1))]),
            Payload::Positional(&[TypedValue::U8(1)]),
            Payload::Unnamed(&[], None),
            Payload::User { element: "a", namespace: "b", fields: &[] },
            Payload::User { element: "ab", namespace: "", fields: &[] },
        ];
        let base = spec(Payload::Unnamed(&[], None));
        let events = [
            base,
            spec(Payload::None),
            spec(Payload::Named(&[])),
            spec(Payload::User { element: "a", namespace: "", fields: &[] }),
            EventSpec { computer: "other", ..base },
            EventSpec { channel: "other", ..base },
            EventSpec { provider: "other", ..base },
            EventSpec { provider_guid: None, ..base },
            EventSpec { event_source_name: Some(""), ..base },
        ];
        let mut shapes: Vec<_> = data.iter().map(TemplateGuid::of_data).collect();
        shapes.extend(events.iter().map(TemplateGuid::of_event));
        for (index, shape) in shapes.iter().enumerate() {
            assert!(!shapes[..index].contains(shape), "{index}");
        }
        // Only values differ: the same template.
        let other = EventSpec { event_id: 1, qualifiers: Some(1), record_id: 9, ..base };
        assert_eq!(TemplateGuid::of_event(&other), TemplateGuid::of_event(&base));
    }
}

//! Rejects: what cannot be decoded, with the reason that it is counted by, its origin and its
//! bytes.

/// Why something was rejected. The name is the key that `--stats` counts it by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RejectReason {
    /// A chunk that does not start with `ElfChnk`, and is not all zeros.
    ChunkHeader,
    /// A chunk whose checksum is wrong. Its complete records are read all the same: a log that was
    /// not closed is like this.
    ChunkChecksum,
    /// A chunk or file that ends before it should.
    ChunkTruncated,
    /// A record whose header or length is wrong.
    RecordHeader,
    /// A record whose content cannot be read, by the slow path neither.
    RecordContent,
    /// Text that is neither XML nor JSON.
    LineNotAnEvent,
    /// One event longer than its bound.
    LineTooLong,
    XmlMalformed,
    JsonMalformed,
    /// Well-formed JSON of no known shape.
    JsonShapeUnknown,
    /// An event without provider, id, computer or time.
    FieldsMissing,
    /// A file or archive member that cannot be opened or read to its end.
    File,
    /// An archive member that is refused: its name would leave the folder, or it grows beyond the
    /// limits.
    ArchiveMember,
    /// A peer whose connection was refused, or failed before it sent an event.
    Connection,
}

impl RejectReason {
    pub const ALL: [RejectReason; 14] = [
        RejectReason::ChunkHeader,
        RejectReason::ChunkChecksum,
        RejectReason::ChunkTruncated,
        RejectReason::RecordHeader,
        RejectReason::RecordContent,
        RejectReason::LineNotAnEvent,
        RejectReason::LineTooLong,
        RejectReason::XmlMalformed,
        RejectReason::JsonMalformed,
        RejectReason::JsonShapeUnknown,
        RejectReason::FieldsMissing,
        RejectReason::File,
        RejectReason::ArchiveMember,
        RejectReason::Connection,
    ];

    pub fn name(self) -> &'static str {
        match self {
            RejectReason::ChunkHeader => "chunk_header",
            RejectReason::ChunkChecksum => "chunk_checksum",
            RejectReason::ChunkTruncated => "chunk_truncated",
            RejectReason::RecordHeader => "record_header",
            RejectReason::RecordContent => "record_content",
            RejectReason::LineNotAnEvent => "line_not_an_event",
            RejectReason::LineTooLong => "line_too_long",
            RejectReason::XmlMalformed => "xml_malformed",
            RejectReason::JsonMalformed => "json_malformed",
            RejectReason::JsonShapeUnknown => "json_shape_unknown",
            RejectReason::FieldsMissing => "fields_missing",
            RejectReason::File => "file",
            RejectReason::ArchiveMember => "archive_member",
            RejectReason::Connection => "connection",
        }
    }
}

/// A reject as it is delivered: with its origin.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadLetter {
    /// Its origin: file, or topic, partition and offset.
    pub origin: String,
    /// The name of the [`RejectReason`] that it is counted by.
    pub reason: &'static str,
    /// What was expected and what was found.
    pub what: String,
    /// As it came.
    pub bytes: Vec<u8>,
}

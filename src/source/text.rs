//! Text streams: any of UTF-8 and UTF-16, with or without a byte order mark,
//! as blocks of UTF-8 that hold whole events.

use std::io::{self, Read};

use encoding_rs::{CoderResult, Decoder, Encoding, UTF_16BE, UTF_16LE};

/// Finds where a block may be cut: behind its last whole event.
pub type Cut = fn(&[u8]) -> Option<usize>;

/// A block without a place to cut grows to this, and is then cut anywhere; the
/// rest of the line is dropped, as it is part of something that is too long.
const BLOCK_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The same bound for each of many live streams: less, but more than the
/// longest event that is decoded.
pub const LIVE_TEXT_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Bytes read at a time.
const READ_BYTES: usize = 256 * 1024;

/// Fewer new bytes than these are searched for a place to cut only if an event
/// can end in them: a peer that sends byte by byte must not cost a search of
/// all it sent before with each.
const SEARCH_BYTES: usize = 64 * 1024;

/// Bytes that tell the encoding.
const MARK_BYTES: usize = 3;

/// Cuts a stream into blocks.
pub struct Blocks<R> {
    stream: R,
    pieces: Pieces,
    raw: Vec<u8>,
    block_bytes: usize,
    ended: bool,
    failed: Option<io::Error>,
}

impl<R> std::fmt::Debug for Blocks<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Blocks").field("ended", &self.ended).finish_non_exhaustive()
    }
}

impl<R: Read> Blocks<R> {
    /// `head` is what was read of the stream to find out what it is.
    pub fn new(head: &[u8], stream: R, cut: Cut, block_bytes: usize) -> Blocks<R> {
        let mut pieces = Pieces::new(cut, BLOCK_BYTES_MAX);
        pieces.push(head);
        Blocks { stream, pieces, raw: Vec::new(), block_bytes, ended: false, failed: None }
    }

    /// The next block; `None` at the end. What was read before an error is
    /// handed out before the error.
    pub fn next_block(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if self.ended {
                return match (self.pieces.finish(), self.failed.take()) {
                    (None, Some(error)) => Err(error),
                    (None, None) => Ok(None),
                    (last, failed) => {
                        self.failed = failed;
                        Ok(last)
                    }
                };
            }
            if self.pieces.len() >= self.block_bytes
                && let Some(block) = self.pieces.whole()
            {
                return Ok(Some(block));
            }
            self.raw.resize(READ_BYTES, 0);
            match self.stream.read(&mut self.raw) {
                Ok(0) => self.ended = true,
                Ok(read) => self.pieces.push(&self.raw[..read]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.failed = Some(error);
                    self.ended = true;
                }
            }
        }
    }
}

/// Cuts what comes of a stream, bytes by bytes, into pieces of whole events.
pub struct Pieces {
    cut: Cut,
    /// What came, as long as it is too little to tell the encoding.
    head: Option<Vec<u8>>,
    decoder: Option<Decoder>,
    /// Text that no piece has had yet.
    rest: Vec<u8>,
    /// Bytes of `rest` that were searched and hold no place to cut.
    searched: usize,
    bytes_max: usize,
    /// The end of a line that was cut anywhere is still to come, and dropped.
    dropping: bool,
}

impl std::fmt::Debug for Pieces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pieces").field("bytes", &self.rest.len()).finish_non_exhaustive()
    }
}

impl Pieces {
    /// Text without a place to cut grows to `bytes_max`, and is then cut
    /// anywhere; the rest of the line is dropped.
    pub fn new(cut: Cut, bytes_max: usize) -> Pieces {
        Pieces {
            cut,
            head: Some(Vec::new()),
            decoder: None,
            rest: Vec::new(),
            searched: 0,
            bytes_max,
            dropping: false,
        }
    }

    /// Bytes of text that no piece has had yet.
    pub fn len(&self) -> usize {
        self.rest.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub fn push(&mut self, bytes: &[u8]) {
        let Some(head) = &mut self.head else {
            self.take_raw(bytes, Last::No);
            return;
        };
        head.extend_from_slice(bytes);
        if head.len() >= MARK_BYTES {
            self.tell_encoding();
        }
    }

    /// The whole events that came, if any; more of them may be ready.
    pub fn whole(&mut self) -> Option<Vec<u8>> {
        if self.rest.len() < self.bytes_max {
            let new = &self.rest[self.searched..];
            if new.len() < SEARCH_BYTES && memchr::memchr2(b'\n', b'>', new).is_none() {
                return None;
            }
        }
        let end = (self.cut)(&self.rest).filter(|&end| end > 0 && end <= self.rest.len());
        if let Some(end) = end {
            let blanks = self.rest[end..].iter().take_while(|byte| byte.is_ascii_whitespace());
            let end = end + blanks.count();
            let rest = self.rest.split_off(end);
            self.searched = rest.len();
            return Some(std::mem::replace(&mut self.rest, rest));
        }
        self.searched = self.rest.len();
        let blank = self.rest.ends_with(b"\n") && self.rest.trim_ascii().is_empty();
        if blank || self.rest.len() >= self.bytes_max {
            self.dropping = !blank;
            self.searched = 0;
            return Some(std::mem::take(&mut self.rest));
        }
        None
    }

    /// What is left when nothing more will come, as it is.
    pub fn finish(&mut self) -> Option<Vec<u8>> {
        self.tell_encoding();
        self.take_raw(&[], Last::Yes);
        self.decoder = None;
        self.searched = 0;
        let last = std::mem::take(&mut self.rest);
        (!last.is_empty()).then_some(last)
    }

    fn tell_encoding(&mut self) {
        if let Some(head) = self.head.take() {
            let (encoding, mark) = encoding_of(&head);
            self.decoder = encoding.map(Encoding::new_decoder_without_bom_handling);
            self.take_raw(&head[mark..], Last::No);
        }
    }

    fn take_raw(&mut self, mut bytes: &[u8], last: Last) {
        let Some(decoder) = &mut self.decoder else {
            self.take_text(bytes);
            return;
        };
        let mut text = String::new();
        loop {
            text.reserve(
                decoder.max_utf8_buffer_length(bytes.len()).unwrap_or(bytes.len()).max(16),
            );
            let (result, read, _) =
                decoder.decode_to_string(bytes, &mut text, matches!(last, Last::Yes));
            bytes = &bytes[read..];
            if matches!(result, CoderResult::InputEmpty) {
                break;
            }
        }
        self.take_text(text.as_bytes());
    }

    /// All but what belongs to a line that was cut, up to its end.
    fn take_text(&mut self, mut text: &[u8]) {
        if self.dropping {
            let Some(end) = memchr::memchr(b'\n', text) else {
                return;
            };
            text = &text[end + 1..];
            self.dropping = false;
        }
        self.rest.extend_from_slice(text);
    }
}

/// Whether anything follows these bytes.
#[derive(Clone, Copy)]
enum Last {
    Yes,
    No,
}

/// The encoding other than UTF-8, and the length of the byte order mark.
/// Without a mark, a first character `<`, `{` or `[` with a zero beside it is
/// UTF-16.
fn encoding_of(head: &[u8]) -> (Option<&'static Encoding>, usize) {
    match head {
        [0xef, 0xbb, 0xbf, ..] => (None, 3),
        [0xff, 0xfe, ..] => (Some(UTF_16LE), 2),
        [0xfe, 0xff, ..] => (Some(UTF_16BE), 2),
        [b'<' | b'{' | b'[', 0, ..] => (Some(UTF_16LE), 0),
        [0, b'<' | b'{' | b'[', ..] => (Some(UTF_16BE), 0),
        _ => (None, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line_end(text: &[u8]) -> Option<usize> {
        text.iter().rposition(|&byte| byte == b'\n').map(|at| at + 1)
    }

    fn blocks(bytes: &[u8], head: usize, block_bytes: usize) -> Vec<String> {
        let (head, stream) = bytes.split_at(head.min(bytes.len()));
        let mut blocks = Blocks::new(head, stream, line_end, block_bytes);
        let mut all = Vec::new();
        while let Some(block) = blocks.next_block().expect("memory can be read") {
            all.push(String::from_utf8(block).expect("UTF-8"));
        }
        all
    }

    #[test]
    fn every_encoding_gives_the_same_text() {
        let text = "<a>ü</a>\n<b>𝄞</b>\n<c/>";
        let le: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let be: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        let marked = |mark: &[u8], bytes: &[u8]| [mark, bytes].concat();
        for bytes in [
            text.as_bytes().to_vec(),
            marked(&[0xef, 0xbb, 0xbf], text.as_bytes()),
            marked(&[0xff, 0xfe], &le),
            marked(&[0xfe, 0xff], &be),
            le.clone(),
            be.clone(),
        ] {
            for head in [4, 5, 7, 100] {
                assert_eq!(blocks(&bytes, head, 1 << 20).concat(), text);
            }
        }
    }

    #[test]
    fn blocks_end_where_they_may_be_cut() {
        let text = "one\ntwo\nthree\n".repeat(50_000) + "last";
        let blocks = blocks(text.as_bytes(), 16, 1000);
        assert!(blocks.len() > 1);
        assert!(blocks[..blocks.len() - 1].iter().all(|block| block.ends_with('\n')));
        assert_eq!(blocks.concat(), text);
    }

    #[test]
    fn a_line_beyond_the_bound_is_cut_and_its_rest_dropped() {
        let text = "x".repeat(BLOCK_BYTES_MAX * 3) + "rest\nnext\n";
        let blocks = blocks(text.as_bytes(), 16, 1000);
        assert_eq!(blocks.len(), 2);
        assert!(blocks[0].len() <= BLOCK_BYTES_MAX + READ_BYTES);
        assert_eq!(blocks[1], "next\n");
    }

    #[test]
    fn what_was_read_before_an_error_is_handed_out() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("broken"))
            }
        }
        let stream = (&b"one\ntwo\n"[..]).chain(Broken);
        let mut blocks = Blocks::new(b"", stream, line_end, 1000);
        assert_eq!(blocks.next_block().expect("text").as_deref(), Some(&b"one\ntwo\n"[..]));
        assert!(blocks.next_block().is_err());
        assert_eq!(blocks.next_block().expect("the end"), None);
    }
}

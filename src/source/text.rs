//! Text streams: any of UTF-8 and UTF-16, with or without a byte order mark,
//! as blocks of UTF-8 that hold whole events.

use std::io::{self, Read};

use encoding_rs::{CoderResult, Decoder, Encoding, UTF_16BE, UTF_16LE};

/// Finds where a block may be cut: behind its last whole event.
pub type Cut = fn(&[u8]) -> Option<usize>;

/// A block without a place to cut grows to this, and is then cut anywhere.
const BLOCK_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Bytes read at a time.
const READ_BYTES: usize = 256 * 1024;

/// Cuts a stream into blocks.
pub struct Blocks<R> {
    stream: R,
    cut: Cut,
    decoder: Option<Decoder>,
    raw: Vec<u8>,
    /// Text that no block has had yet.
    rest: Vec<u8>,
    block_bytes: usize,
    ended: bool,
}

impl<R> std::fmt::Debug for Blocks<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Blocks").field("ended", &self.ended).finish_non_exhaustive()
    }
}

impl<R: Read> Blocks<R> {
    /// `head` is what was read of the stream to find out what it is.
    pub fn new(head: &[u8], stream: R, cut: Cut, block_bytes: usize) -> Blocks<R> {
        let (encoding, mark) = encoding_of(head);
        let mut blocks = Blocks {
            stream,
            cut,
            decoder: encoding.map(Encoding::new_decoder_without_bom_handling),
            raw: Vec::new(),
            rest: Vec::new(),
            block_bytes,
            ended: false,
        };
        blocks.take_raw(&head[mark..], false);
        blocks
    }

    /// The next block; `None` at the end.
    pub fn next_block(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if self.ended {
                let last = std::mem::take(&mut self.rest);
                return Ok((!last.is_empty()).then_some(last));
            }
            if self.rest.len() >= self.block_bytes {
                let end = (self.cut)(&self.rest).filter(|&end| end > 0 && end <= self.rest.len());
                let end = end.or((self.rest.len() >= BLOCK_BYTES_MAX).then_some(self.rest.len()));
                if let Some(end) = end {
                    let rest = self.rest.split_off(end);
                    return Ok(Some(std::mem::replace(&mut self.rest, rest)));
                }
            }
            let mut raw = std::mem::take(&mut self.raw);
            raw.resize(READ_BYTES, 0);
            let read = loop {
                match self.stream.read(&mut raw) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    other => break other?,
                }
            };
            self.take_raw(&raw[..read], read == 0);
            self.ended = read == 0;
            self.raw = raw;
        }
    }

    fn take_raw(&mut self, mut bytes: &[u8], last: bool) {
        let Some(decoder) = &mut self.decoder else {
            self.rest.extend_from_slice(bytes);
            return;
        };
        let mut text = String::new();
        loop {
            text.reserve(
                decoder.max_utf8_buffer_length(bytes.len()).unwrap_or(bytes.len()).max(16),
            );
            let (result, read, _) = decoder.decode_to_string(bytes, &mut text, last);
            bytes = &bytes[read..];
            if matches!(result, CoderResult::InputEmpty) {
                break;
            }
        }
        self.rest.extend_from_slice(text.as_bytes());
    }
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
    fn text_without_a_place_to_cut_is_cut_at_the_bound() {
        let text = "x".repeat(BLOCK_BYTES_MAX * 2 + 10);
        let blocks = blocks(text.as_bytes(), 16, 1000);
        assert!(blocks.iter().all(|block| block.len() <= BLOCK_BYTES_MAX + READ_BYTES));
        assert_eq!(blocks.concat().len(), text.len());
    }
}

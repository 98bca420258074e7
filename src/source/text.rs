//! Text streams: any of UTF-8 and UTF-16, with or without a byte order mark,
//! as blocks of UTF-8 that hold whole events.

use std::io::{self, Read};

use encoding_rs::{CoderResult, Decoder, Encoding, UTF_16BE, UTF_16LE};

/// Finds where a block may be cut: behind its last whole event.
pub type Cut = fn(&[u8]) -> Option<usize>;

/// A block without a place to cut grows to this, and is then cut anywhere; the
/// rest of the line is dropped, as it is part of something that is too long.
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
    /// The end of a line that was cut anywhere is still to come, and dropped.
    dropping: bool,
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
        let (encoding, mark) = encoding_of(head);
        let mut blocks = Blocks {
            stream,
            cut,
            decoder: encoding.map(Encoding::new_decoder_without_bom_handling),
            raw: Vec::new(),
            rest: Vec::new(),
            block_bytes,
            dropping: false,
            ended: false,
            failed: None,
        };
        blocks.take_raw(&head[mark..], false);
        blocks
    }

    /// The next block; `None` at the end. What was read before an error is
    /// handed out before the error.
    pub fn next_block(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if self.ended {
                let last = std::mem::take(&mut self.rest);
                return match (last.is_empty(), self.failed.take()) {
                    (true, Some(error)) => Err(error),
                    (true, None) => Ok(None),
                    (false, failed) => {
                        self.failed = failed;
                        Ok(Some(last))
                    }
                };
            }
            if self.rest.len() >= self.block_bytes {
                let end = (self.cut)(&self.rest).filter(|&end| end > 0 && end <= self.rest.len());
                if let Some(end) = end {
                    let rest = self.rest.split_off(end);
                    return Ok(Some(std::mem::replace(&mut self.rest, rest)));
                }
                if self.rest.len() >= BLOCK_BYTES_MAX {
                    self.dropping = true;
                    return Ok(Some(std::mem::take(&mut self.rest)));
                }
            }
            let mut raw = std::mem::take(&mut self.raw);
            raw.resize(READ_BYTES, 0);
            match self.stream.read(&mut raw) {
                Ok(read) => {
                    self.take_raw(&raw[..read], read == 0);
                    self.ended = read == 0;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.take_raw(&[], true);
                    self.failed = Some(error);
                    self.ended = true;
                }
            }
            self.raw = raw;
            self.drop_line();
        }
    }

    /// Drops what belongs to a line that was cut, up to its end.
    fn drop_line(&mut self) {
        if !self.dropping {
            return;
        }
        match memchr::memchr(b'\n', &self.rest) {
            Some(end) => {
                self.rest.drain(..=end);
                self.dropping = false;
            }
            None => self.rest.clear(),
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

//! Standard input, or any other stream, that stays open: events are handed over
//! when whoever writes them pauses, not when a block is full.
//!
//! A thread reads, `PIECES_MAX` pieces ahead at most; whoever writes then
//! waits. There are no positions: what was read cannot be asked for again, so
//! what was handed over and not yet committed is lost when the process dies.
//! Dropping the source leaves the thread in the read that it waits in; it ends
//! with that read.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use super::text::{Cut, LIVE_TEXT_BYTES_MAX, Pieces};
use super::{AfterStop, Batch, Content, Next, Skipped, SkippedWhat, Source, SourceError};

/// Pieces that were read and that nobody took yet.
const PIECES_MAX: usize = 8;

/// Bytes read at a time: as many as a pipe holds, times two.
const READ_BYTES: usize = 128 * 1024;

/// After a stop, the stream is at its end when nothing came for so long, or when it still goes on
/// after so long.
const DRAIN_SILENT_MAX: Duration = Duration::from_millis(200);
const DRAIN_MAX: Duration = Duration::from_secs(10);

/// A stream that stays open.
#[derive(Debug)]
pub struct Pipe {
    /// `None` once the end was reported.
    pieces: Option<Receiver<Next>>,
    /// After a stop: until when what was written is still taken.
    drain_until: Option<Instant>,
}

impl Pipe {
    /// `name` is what the stream is called in messages.
    pub fn new(reader: Box<dyn Read + Send>, name: &str, cut: Cut) -> Result<Pipe, SourceError> {
        let (sender, pieces) = sync_channel(PIECES_MAX);
        let input: Arc<str> = name.into();
        let reading = std::thread::Builder::new().name(name.to_owned());
        reading.spawn(move || read(reader, &input, cut, &sender)).map_err(|cause| {
            SourceError::Unreadable {
                path: name.into(),
                cause,
                hint: "the system starts no more threads; see its limits for processes",
            }
        })?;
        Ok(Pipe { pieces: Some(pieces), drain_until: None })
    }
}

impl Source for Pipe {
    fn next(&mut self, wait: Duration) -> Result<Next, SourceError> {
        let Some(pieces) = &self.pieces else {
            return Ok(Next::End);
        };
        let wait = if self.drain_until.is_some() { DRAIN_SILENT_MAX } else { wait };
        let is_over = self.drain_until.is_some_and(|until| Instant::now() >= until);
        Ok(match pieces.recv_timeout(wait) {
            Ok(next) if !is_over => next,
            Err(RecvTimeoutError::Timeout) if self.drain_until.is_none() => Next::Idle,
            Ok(_) | Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                self.pieces = None;
                Next::End
            }
        })
    }

    fn stop(&mut self) -> Result<AfterStop, SourceError> {
        self.drain_until.get_or_insert_with(|| Instant::now() + DRAIN_MAX);
        Ok(AfterStop::Taken)
    }
}

/// Reads to the end, or until nobody takes the pieces any more.
fn read(mut reader: Box<dyn Read + Send>, input: &Arc<str>, cut: Cut, sender: &SyncSender<Next>) {
    let mut pieces = Pieces::new(cut, LIVE_TEXT_BYTES_MAX);
    let mut raw = vec![0; READ_BYTES];
    let batch = |bytes: Vec<u8>| {
        let content = Content::Text { bytes };
        Next::Batch(Batch {
            input: Arc::clone(input),
            content,
            progress_bytes: 0,
            moved: Vec::new(),
        })
    };
    let failed = loop {
        match reader.read(&mut raw) {
            Ok(0) => break None,
            Ok(read) => pieces.push(&raw[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => break Some(error),
        }
        while let Some(bytes) = pieces.whole() {
            if sender.send(batch(bytes)).is_err() {
                return;
            }
        }
    };
    let last = pieces.finish().map(batch);
    let failed = failed.map(|error| {
        let reason = error.to_string();
        Next::Skipped(Skipped { input: Arc::clone(input), what: SkippedWhat::File, reason })
    });
    for next in [last, failed].into_iter().flatten() {
        if sender.send(next).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::lines::last_boundary;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Long enough never to run out in a test that passes.
    const WAIT: Duration = Duration::from_secs(60);

    fn text(next: Next) -> String {
        match next {
            Next::Batch(Batch { content: Content::Text { bytes }, .. }) => {
                String::from_utf8(bytes).expect("UTF-8")
            }
            other => panic!("expected text, not {other:?}"),
        }
    }

    #[test]
    fn an_event_is_handed_over_while_the_writer_pauses() {
        let (reader, mut writer) = io::pipe().expect("a pipe");
        let mut pipe = Pipe::new(Box::new(reader), "-", last_boundary).expect("a thread");
        assert!(matches!(pipe.next(Duration::ZERO), Ok(Next::Idle)));
        for event in ["{\"EventID\":1}\n", "<Event>\n<a/>\n</Event>"] {
            io::Write::write_all(&mut writer, event.as_bytes()).expect("the pipe is open");
            assert_eq!(text(pipe.next(WAIT).expect("a piece")), event);
        }
        io::Write::write_all(&mut writer, b"{\"EventID\":2}").expect("the pipe is open");
        drop(writer);
        assert_eq!(text(pipe.next(WAIT).expect("the rest")), "{\"EventID\":2}");
        assert!(matches!(pipe.next(WAIT), Ok(Next::End)));
        assert!(matches!(pipe.next(WAIT), Ok(Next::End)));
    }

    #[test]
    fn a_stop_gives_what_was_written_before_and_then_the_end() {
        let (reader, mut writer) = io::pipe().expect("a pipe");
        let mut pipe = Pipe::new(Box::new(reader), "-", last_boundary).expect("a thread");
        let lines = "{\"EventID\":1}\n".repeat(1000);
        io::Write::write_all(&mut writer, lines.as_bytes()).expect("the pipe is open");
        assert_eq!(pipe.stop().expect("a pipe stops"), AfterStop::Taken);
        let mut taken = String::new();
        loop {
            match pipe.next(Duration::ZERO).expect("a piece") {
                Next::End => break,
                next => taken += &text(next),
            }
        }
        assert_eq!(taken, lines);
        drop(writer);
    }

    #[test]
    fn what_was_read_before_an_error_comes_before_it_and_then_the_end() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("broken"))
            }
        }
        let stream = Box::new((&b"{}\n{"[..]).chain(Broken));
        let mut pipe = Pipe::new(stream, "-", last_boundary).expect("a thread");
        assert_eq!(text(pipe.next(WAIT).expect("the event")), "{}\n");
        assert_eq!(text(pipe.next(WAIT).expect("the rest")), "{");
        let Ok(Next::Skipped(skipped)) = pipe.next(WAIT) else { panic!("no word of the error") };
        assert_eq!((skipped.what, skipped.reason.as_str()), (SkippedWhat::File, "broken"));
        assert!(matches!(pipe.next(WAIT), Ok(Next::End)));
    }

    /// Lines without end, and how many bytes were asked for. Tells when it has
    /// been dropped.
    struct Endless {
        read: Arc<AtomicUsize>,
        gone: SyncSender<()>,
    }

    impl Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            for line in buffer.chunks_mut(4) {
                line.copy_from_slice(&b"{ }\n"[..line.len()]);
            }
            self.read.fetch_add(buffer.len(), Ordering::SeqCst);
            Ok(buffer.len())
        }
    }

    impl Drop for Endless {
        fn drop(&mut self) {
            let _ = self.gone.send(());
        }
    }

    #[test]
    fn no_more_is_read_than_the_pieces_that_may_wait_and_a_drop_ends_the_reading() {
        let (gone, seen) = sync_channel(1);
        let read = Arc::new(AtomicUsize::new(0));
        let endless = Endless { read: Arc::clone(&read), gone };
        let mut pipe = Pipe::new(Box::new(endless), "-", last_boundary).expect("a thread");
        for taken in 1..=100 {
            assert!(matches!(pipe.next(WAIT), Ok(Next::Batch(_))));
            // One more is on its way into the channel, and one is being read.
            let bound = (taken + PIECES_MAX + 2) * READ_BYTES;
            assert!(read.load(Ordering::SeqCst) <= bound, "read ahead of {taken} pieces");
        }
        drop(pipe);
        assert_eq!(seen.recv_timeout(WAIT), Ok(()));
    }
}

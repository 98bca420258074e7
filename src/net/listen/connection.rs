//! One connection: what its peer sends, as batches of whole events.
//!
//! Bytes are read only when there is room in the queue for what they complete, into a buffer that
//! all connections on a thread share: a connection that waits holds the part of an event that it
//! has, and nothing else.

use std::cell::RefCell;
use std::future::{pending, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Poll, ready};
use std::time::Duration;

use tokio::io::ReadBuf;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::connections::{Received, Seat, SeatState};
use super::queue::{ListenQueue, Room};
use super::socket::{PeerStream, Socket};
use super::{Limits, Phase, tls};
use crate::source::text::{Cut, LIVE_TEXT_BYTES_MAX, Pieces};
use crate::source::{Batch, Content, Next, Skipped, SkippedWhat};

/// Bytes read at a time.
pub(super) const READ_BYTES: usize = 64 * 1024;

thread_local! {
    static READ_BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into());
}

/// What every connection of a listener is served with.
pub(super) struct Server {
    pub(super) queue: Arc<ListenQueue>,
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) cut: Cut,
    pub(super) idle: Duration,
    pub(super) limits: Limits,
    /// Connections on which more may have been to read when the drain had to end.
    pub(super) undrained: AtomicU64,
}

/// Reads all that a peer sends.
pub(super) async fn serve(
    server: Arc<Server>,
    socket: Socket,
    input: Arc<str>,
    seat: Seat,
    phase: watch::Receiver<Phase>,
) {
    let pieces = Pieces::new(server.cut, LIVE_TEXT_BYTES_MAX);
    Connection { server: &server, input, seat, phase, pieces }.serve(socket).await;
}

struct Connection<'s> {
    server: &'s Server,
    input: Arc<str>,
    seat: Seat,
    phase: watch::Receiver<Phase>,
    pieces: Pieces,
}

/// Why a connection no longer waits.
enum Wake {
    Readable,
    /// It has to leave, once what is there is read.
    Leave,
    End,
}

/// Why a connection failed, whatever it sent so far.
type FailureReason = String;

impl<'s> Connection<'s> {
    async fn serve(mut self, socket: Socket) {
        let read = match &self.server.tls {
            None => self.read(socket).await,
            Some(acceptor) => match self.handshake(acceptor, socket).await {
                Ok(Some(stream)) => self.read(stream).await,
                Ok(None) => Ok(()),
                Err(failure) => Err(failure),
            },
        };
        self.finish(read).await;
    }

    /// Hands over what is left, as it is, and why the connection failed.
    async fn finish(mut self, read: Result<(), FailureReason>) {
        let queue = &self.server.queue;
        if let Some(bytes) = self.pieces.finish() {
            queue.room().await.send(self.batch(bytes));
        }
        if let Err(reason) = read {
            let input = Arc::clone(&self.input);
            let skipped = Skipped { input, what: SkippedWhat::Connection, reason };
            queue.room().await.send(Next::Skipped(skipped));
        }
    }

    /// `None` when the connection ended, or had to, and nothing is to be said of it.
    async fn handshake(
        &mut self,
        acceptor: &TlsAcceptor,
        socket: Socket,
    ) -> Result<Option<Box<TlsStream<Socket>>>, FailureReason> {
        let Limits { handshake: limit, drain_quiet, .. } = self.server.limits;
        tokio::select! {
            accepted = acceptor.accept(socket).into_fallible() => match accepted {
                Ok(stream) => Ok(Some(Box::new(stream))),
                // A probe whether the port is open is no failure.
                Err((_, socket)) if !socket.has_received() => Ok(None),
                Err((error, _)) => Err(tls_error(&error)
                    .unwrap_or_else(|| "the peer went away during the TLS handshake".to_owned())),
            },
            () = sleep(limit) => Err(format!("no TLS handshake within {limit:?}")),
            () = self.seat.evicted() => Ok(None),
            // Events come behind the handshake: none was sent yet.
            () = quiet_after_stop(&mut self.phase, drain_quiet) => Ok(None),
        }
    }

    /// Reads until the peer closes or the connection has to end. Whatever breaks a connection is
    /// its end, like a farewell: peers may go away as they like.
    async fn read<P: PeerStream>(&mut self, mut stream: P) -> Result<(), FailureReason> {
        let mut last_byte = Instant::now();
        // More than a handshake may have come with it, and be in its session by now.
        let mut wake = Wake::Readable;
        while !matches!(wake, Wake::End) {
            loop {
                let Some(room) = self.room().await else {
                    self.server.undrained.fetch_add(1, Ordering::Relaxed);
                    return Ok(());
                };
                match read_now(&mut stream, &mut self.pieces).await {
                    Poll::Pending => break,
                    Poll::Ready(Ok(0)) => return Ok(()),
                    Poll::Ready(Ok(_)) => {}
                    Poll::Ready(Err(error)) => return tls_error(&error).map_or(Ok(()), Err),
                }
                last_byte = Instant::now();
                if self.hand_over(room).await == SeatState::Lost {
                    return Ok(());
                }
            }
            self.seat_received(Received::Nothing);
            if matches!(wake, Wake::Leave) {
                return Ok(());
            }
            wake = self.wait(&stream, last_byte).await;
        }
        Ok(())
    }

    /// Waits for the peer, which sent its last byte at `last_byte`.
    async fn wait<P: PeerStream>(&mut self, stream: &P, last_byte: Instant) -> Wake {
        loop {
            let drain_until = self.phase.borrow_and_update().drain_until();
            let end = match drain_until {
                None => last_byte + self.server.idle,
                Some(until) => until.min(Instant::now() + self.server.limits.drain_quiet),
            };
            tokio::select! {
                // What is there is read before anything else counts.
                biased;
                readable = poll_fn(|context| stream.poll_readable(context)) => {
                    return if readable.is_ok() { Wake::Readable } else { Wake::End };
                }
                () = self.seat.evicted() => return Wake::Leave,
                changed = self.phase.changed() => {
                    if changed.is_err() {
                        return Wake::End;
                    }
                }
                () = sleep_until(end) => return Wake::End,
            }
        }
    }

    /// Room for a batch; `None` when the drain has lasted as long as it may.
    async fn room(&mut self) -> Option<Room<'s>> {
        let queue = &self.server.queue;
        let drain_until = self.phase.borrow().drain_until();
        if drain_until.is_some_and(|until| Instant::now() >= until) {
            return None;
        }
        if let Some(room) = queue.room_now() {
            return Some(room);
        }
        self.seat.waits_for_room();
        tokio::select! {
            room = queue.room() => Some(room),
            () = drain_ends(&mut self.phase) => None,
        }
    }

    /// Sends the whole events that there are, the first of them to `room`.
    async fn hand_over(&mut self, room: Room<'s>) -> SeatState {
        let mut state = None;
        let mut room = Some(room);
        while let Some(bytes) = self.pieces.whole() {
            let room = match room.take() {
                Some(room) => room,
                None => self.server.queue.room().await,
            };
            // Before others can know of the events: nobody takes the connection for idle then.
            state = Some(self.seat_received(Received::Whole));
            room.send(self.batch(bytes));
        }
        state.unwrap_or_else(|| self.seat_received(Received::Part))
    }

    fn seat_received(&self, received: Received) -> SeatState {
        self.seat.received(received, self.pieces.len(), Instant::now().into_std())
    }

    fn batch(&self, bytes: Vec<u8>) -> Next {
        Next::Batch(Batch {
            input: Arc::clone(&self.input),
            content: Content::Text { bytes },
            progress_bytes: 0,
            moved: Vec::new(),
        })
    }
}

/// What is there, added to `pieces`: the number of bytes, 0 at the end; pending when there is
/// nothing yet.
async fn read_now<P: PeerStream>(stream: &mut P, pieces: &mut Pieces) -> Poll<io::Result<usize>> {
    poll_fn(|context| {
        let read = READ_BUFFER.with_borrow_mut(|buffer| {
            let mut buffer = ReadBuf::new(buffer);
            ready!(Pin::new(&mut *stream).poll_read(context, &mut buffer))?;
            pieces.push(buffer.filled());
            Poll::Ready(Ok(buffer.filled().len()))
        });
        Poll::Ready(read)
    })
    .await
}

/// Waits until a stop is asked, and `quiet` longer.
async fn quiet_after_stop(phase: &mut watch::Receiver<Phase>, quiet: Duration) {
    let _ = phase.wait_for(Phase::is_stop).await.map(drop);
    sleep(quiet).await;
}

/// Waits until a stop is asked, and then until the drain has to end.
async fn drain_ends(phase: &mut watch::Receiver<Phase>) {
    let until = match phase.wait_for(Phase::is_stop).await {
        Ok(phase) => phase.drain_until(),
        Err(_) => None,
    };
    match until {
        Some(until) => sleep_until(until).await,
        // Nobody wants anything: the task is ended from outside.
        None => pending().await,
    }
}

/// The reason, if TLS is what failed.
fn tls_error(error: &io::Error) -> Option<FailureReason> {
    error.get_ref()?.downcast_ref::<rustls::Error>().map(tls::reason)
}

impl PeerStream for Box<TlsStream<Socket>> {
    fn poll_readable(&self, context: &mut std::task::Context<'_>) -> Poll<io::Result<()>> {
        self.get_ref().0.poll_readable(context)
    }
}

#[cfg(test)]
mod tests {
    use super::super::LIMITS;
    use super::super::connections::Connections;
    use super::super::tests::{EVENTS, assert_events};
    use super::*;
    use crate::decode::lines::last_boundary;
    use crate::net::runtime;
    use std::collections::VecDeque;
    use std::task::Context;
    use tokio::io::AsyncRead;

    /// A peer that sends these parts, with a pause after each, and then is gone.
    struct Scripted {
        parts: VecDeque<Vec<u8>>,
        paused: bool,
    }

    impl AsyncRead for Scripted {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            self.paused = !self.paused;
            if self.paused {
                return Poll::Pending;
            }
            let part = self.parts.pop_front().ok_or(io::ErrorKind::ConnectionReset)?;
            buffer.put_slice(&part);
            Poll::Ready(Ok(()))
        }
    }

    impl PeerStream for Scripted {
        fn poll_readable(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn serve(parts: &[&[u8]]) -> Vec<Next> {
        let queue = Arc::new(ListenQueue::new());
        let server = Server {
            queue: Arc::clone(&queue),
            tls: None,
            cut: last_boundary,
            idle: Duration::from_secs(60),
            limits: LIMITS,
            undrained: AtomicU64::new(0),
        };
        let connections = Arc::new(Connections::new(LIMITS, "listener".into()));
        let seat = connections.admit(std::time::Instant::now()).expect("there is room");
        let (_sender, phase) = watch::channel(Phase::Open);
        let pieces = Pieces::new(server.cut, LIVE_TEXT_BYTES_MAX);
        let mut connection =
            Connection { server: &server, input: "peer".into(), seat, phase, pieces };
        let parts = parts.iter().map(|part| part.to_vec()).collect();
        let runtime = runtime::shared().expect("threads can be started");
        runtime.block_on(async move {
            let read = connection.read(Scripted { parts, paused: false }).await;
            connection.finish(read).await;
        });
        queue.take_all()
    }

    fn texts(came: &[Next]) -> Vec<String> {
        let text = |next: &Next| match next {
            Next::Batch(Batch { content: Content::Text { bytes }, .. }) => {
                String::from_utf8(bytes.clone()).expect("UTF-8")
            }
            other => panic!("expected text, not {other:?}"),
        };
        came.iter().map(text).collect()
    }

    #[test]
    fn events_split_at_any_byte_come_whole() {
        let text = EVENTS.concat().into_bytes();
        for at in 1..text.len() {
            let came = texts(&serve(&[&text[..at], &text[at..]]));
            assert_events(&came, &EVENTS);
            assert!(at < EVENTS[0].len() || came[0].len() <= at, "what is whole must not wait");
        }
        let bytes: Vec<&[u8]> = text.chunks(1).collect();
        assert_events(&texts(&serve(&bytes)), &EVENTS);
    }

    #[test]
    fn a_peer_that_is_reset_in_an_event_is_no_error_and_what_it_sent_is_handed_over() {
        let came = serve(&[b"{\"a\":1}\n{\"b\":", b"2}\n{\"c", b"\":"]);
        assert_eq!(texts(&came), ["{\"a\":1}\n", "{\"b\":2}\n", "{\"c\":"]);
    }

    #[test]
    fn a_peer_that_sends_nothing_is_nothing_to_hand_over() {
        assert!(serve(&[]).is_empty());
    }
}

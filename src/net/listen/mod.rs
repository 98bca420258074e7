//! Events that peers send over TCP, with or without TLS, and Unix sockets: a
//! line each, or XML over many lines, as OpenWEC and NXLog send them.
//!
//! ```text
//!  backlog ──▶ accept ──▶ connections: a place, or refused
//!                              │
//!  peer ──▶ connection (task) ─┤
//!  peer ──▶ connection (task) ─┼─▶ queue, BATCHES_MAX ──▶ next
//!  peer ──▶ connection (task) ─┘
//! ```
//!
//! Whole events are handed over when they came, without waiting for more; a
//! part of an event waits for its rest, and is handed over as it is when the
//! connection ends. A slow reader makes the peers wait: bytes are read only when
//! there is room for them in the queue.
//!
//! Peers are not trusted, and none can keep others waiting:
//!
//! | bound | at the bound |
//! |---|---|
//! | [`CONNECTIONS_MAX`] connections, fewer if the process may open fewer files | the one that is idle longest, and for [`IDLE_MIN`] at least, is closed for the new one; else the new one is refused |
//! | [`PARTIAL_BYTES_MAX`] bytes of unfinished events, of all connections | the connection that holds most is closed, and what it sent is handed over |
//! | `LIVE_TEXT_BYTES_MAX` bytes of one unfinished event | it is handed over as it is, and the rest of its line dropped |
//! | `BATCHES_MAX` batches that nobody took | peers wait |
//! | [`ListenSpec::idle`] without a byte | the connection is closed |
//! | [`HANDSHAKE_MAX`] for a TLS handshake | the connection is closed |
//!
//! Whoever sends events on all connections all the time can still use them up:
//! who may send is decided only by a client certificate.
//!
//! There are no positions: the protocol has no acknowledgement, so nothing can
//! be asked for again, and what was handed over and not yet committed is lost
//! when the process dies. A stop loses nothing that came before it: connections
//! in the backlog are accepted, and each is read until its peer closes or has
//! sent nothing for [`DRAIN_QUIET`], for [`DRAIN_MAX`] in all. What comes later
//! than that is lost, as is what a reader leaves that drops the source.

mod accept;
mod connection;
mod connections;
mod queue;
mod socket;
mod tls;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tracing::warn;

use self::accept::Acceptor;
use self::connection::Server;
pub use self::connections::ConnectionCounts;
use self::connections::Connections;
use self::queue::ListenQueue;
use self::socket::{Listener, cannot_listen};
use super::{open_files, runtime};
use crate::source::text::Cut;
use crate::source::{AfterStop, Next, Source, SourceError};

/// Connections at a time.
pub const CONNECTIONS_MAX: usize = 16_384;

/// Files that the process has open besides the connections of a listener.
const OTHER_FILES: u64 = 512;

/// Connections at a time though the process may open few files.
const CONNECTIONS_MIN: usize = 64;

/// Bytes of unfinished events that all connections hold together; the memory for them may be twice
/// as much.
pub const PARTIAL_BYTES_MAX: usize = 256 * 1024 * 1024;

/// A connection that sent an event, or began one, within this time is never closed for another.
pub const IDLE_MIN: Duration = Duration::from_secs(60);

/// A connection without a byte for this long is closed, where nothing else is said: longer than any
/// quiet night, as some forwarders lose the first event that they send on a closed connection.
pub const IDLE_DEFAULT: Duration = Duration::from_secs(24 * 3600);

/// A TLS handshake takes no longer than this.
pub const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// At a stop, a connection on which nothing comes for this long is read to its end.
pub const DRAIN_QUIET: Duration = Duration::from_millis(200);

/// A stop waits no longer than this for what peers sent.
pub const DRAIN_MAX: Duration = Duration::from_secs(10);

/// What tests make smaller.
#[derive(Clone, Copy, Debug)]
struct Limits {
    connections: usize,
    partial_bytes: usize,
    idle_min: Duration,
    handshake: Duration,
    drain_quiet: Duration,
    drain_max: Duration,
}

const LIMITS: Limits = Limits {
    connections: CONNECTIONS_MAX,
    partial_bytes: PARTIAL_BYTES_MAX,
    idle_min: IDLE_MIN,
    handshake: HANDSHAKE_MAX,
    drain_quiet: DRAIN_QUIET,
    drain_max: DRAIN_MAX,
};

/// Where to listen, and how.
#[derive(Clone, Debug)]
pub struct ListenSpec {
    pub listen: ListenOn,
    /// `None`: in the clear.
    pub tls: Option<TlsSpec>,
    pub cut: Cut,
    /// A connection that sent nothing for this long is closed.
    pub idle: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenOn {
    /// Port 0 is any free one.
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl std::fmt::Display for ListenOn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ListenOn::Tcp(address) => write!(f, "tcp {address}"),
            ListenOn::Unix(path) => write!(f, "unix {}", path.display()),
        }
    }
}

/// PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSpec {
    /// The server's certificate, and those between it and the authority.
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// Authorities, of one of which each client must have a certificate.
    /// `None`: anyone may connect.
    pub client_ca: Option<PathBuf>,
}

/// How far a listener is.
#[derive(Clone, Copy, Debug)]
enum Phase {
    Open,
    /// A stop was asked: what was sent is read, until then at the latest.
    Drain {
        until: Instant,
    },
    /// Nothing is wanted any more.
    Over,
}

impl Phase {
    fn drain_until(&self) -> Option<Instant> {
        match self {
            Phase::Drain { until } => Some(*until),
            Phase::Open | Phase::Over => None,
        }
    }

    fn is_stop(&self) -> bool {
        matches!(self, Phase::Drain { .. } | Phase::Over)
    }

    fn is_over(&self) -> bool {
        matches!(self, Phase::Over)
    }
}

/// Listens, and reads what peers send.
#[derive(Debug)]
pub struct Listen {
    queue: Arc<ListenQueue>,
    connections: Arc<Connections>,
    local: ListenOn,
    limits: Limits,
    phase: watch::Sender<Phase>,
    /// Disconnected when all tasks have ended and what they had is dropped.
    tasks: mpsc::Receiver<()>,
    /// What the tasks run on.
    _runtime: Arc<Runtime>,
}

impl Listen {
    /// Listens at once.
    pub fn new(spec: &ListenSpec) -> Result<Listen, SourceError> {
        let may_open = open_files::raise_limit();
        let connections = connections_max(may_open);
        if connections < CONNECTIONS_MAX {
            warn!(
                "{connections} connections at the most on {}, not {CONNECTIONS_MAX}: the process \
                 may open few files; raise LimitNOFILE= of the service, or `ulimit -Hn`",
                spec.listen
            );
        }
        Listen::within(Limits { connections, ..LIMITS }, spec)
    }

    fn within(limits: Limits, spec: &ListenSpec) -> Result<Listen, SourceError> {
        let bound = Bound::new(limits, spec)?;
        Ok(bound.start(Phase::Open))
    }

    /// Where it listens; with the port that was found free for port 0.
    pub fn local(&self) -> &ListenOn {
        &self.local
    }

    /// Connections that were not kept, so far.
    pub fn counts(&self) -> ConnectionCounts {
        self.connections.counts()
    }
}

impl Source for Listen {
    fn next(&mut self, wait: Duration) -> Result<Next, SourceError> {
        Ok(self.queue.take(wait))
    }

    /// Listens no more, and goes on with what peers sent until now.
    fn stop(&mut self) -> Result<AfterStop, SourceError> {
        let until = Instant::now() + self.limits.drain_max;
        self.phase.send_if_modified(|phase| match phase {
            Phase::Open => {
                *phase = Phase::Drain { until };
                true
            }
            Phase::Drain { .. } | Phase::Over => false,
        });
        Ok(AfterStop::Taken)
    }
}

impl Drop for Listen {
    fn drop(&mut self) {
        self.phase.send_replace(Phase::Over);
        // The port is free afterwards. Nothing is ever sent: this waits for the end of the tasks; a
        // panic was reported already.
        let _ = self.tasks.recv();
    }
}

/// Of a process that may open so many files.
fn connections_max(open_files: Option<u64>) -> usize {
    let connections = open_files.map_or(u64::MAX, |files| files.saturating_sub(OTHER_FILES));
    usize::try_from(connections).unwrap_or(usize::MAX).clamp(CONNECTIONS_MIN, CONNECTIONS_MAX)
}

/// A listener that the system accepts connections for, and nobody else yet.
struct Bound {
    listener: Listener,
    local: ListenOn,
    runtime: Arc<Runtime>,
    server: Server,
}

impl Bound {
    fn new(limits: Limits, spec: &ListenSpec) -> Result<Bound, SourceError> {
        let tls = spec.tls.as_ref().map(tls::server_config).transpose()?.map(TlsAcceptor::from);
        let runtime = runtime::shared().map_err(|cause| cannot_listen(&spec.listen, cause))?;
        let (listener, local) = {
            let _within = runtime.enter();
            Listener::bind(&spec.listen)?
        };
        let server = Server {
            queue: Arc::new(ListenQueue::new()),
            tls,
            cut: spec.cut,
            idle: spec.idle,
            limits,
            undrained: AtomicU64::new(0),
        };
        Ok(Bound { listener, local, runtime, server })
    }

    fn start(self, phase: Phase) -> Listen {
        let Bound { listener, local, runtime, server } = self;
        let limits = server.limits;
        let queue = Arc::clone(&server.queue);
        let connections = Arc::new(Connections::new(limits, Arc::clone(listener.name())));
        let (sender, phase) = watch::channel(phase);
        let server = Arc::new(server);
        let acceptor = Acceptor { listener, server, connections: Arc::clone(&connections), phase };
        let (ended, tasks) = mpsc::channel();
        runtime.spawn(async move {
            acceptor.run().await;
            drop(ended);
        });
        Listen { queue, connections, local, limits, phase: sender, tasks, _runtime: runtime }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::decode::lines::{EVENT_BYTES_MAX, last_boundary};
    use crate::net::listen::connection::READ_BYTES;
    use crate::net::listen::queue::BATCHES_MAX;
    use crate::source::text::{LIVE_TEXT_BYTES_MAX, Pieces};
    use crate::source::{Batch, Content, Skipped, SkippedWhat};
    use std::collections::BTreeMap;
    use std::io::{self, Read, Write};
    use std::net::{Shutdown, TcpStream};
    use std::thread;

    /// Long enough never to run out in a test that passes.
    pub(crate) const WAIT: Duration = Duration::from_secs(60);

    pub(crate) fn loopback() -> ListenOn {
        ListenOn::Tcp(SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    pub(crate) fn spec(listen: ListenOn, tls: Option<TlsSpec>) -> ListenSpec {
        ListenSpec { listen, tls, cut: last_boundary, idle: IDLE_DEFAULT }
    }

    pub(crate) fn listen(on: ListenOn, tls: Option<TlsSpec>) -> Result<Listen, SourceError> {
        Listen::new(&spec(on, tls))
    }

    pub(crate) fn plain() -> Listen {
        listen(loopback(), None).expect("a port is free")
    }

    pub(crate) fn connect(listen: &Listen) -> TcpStream {
        let ListenOn::Tcp(address) = listen.local() else { panic!("not TCP") };
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_read_timeout(Some(WAIT)).expect("TCP");
        stream
    }

    pub(crate) fn next(listen: &mut Listen) -> Next {
        listen.next(WAIT).expect("a listener does not fail")
    }

    pub(crate) fn batch(listen: &mut Listen) -> (Arc<str>, String) {
        match next(listen) {
            Next::Batch(Batch { input, content: Content::Text { bytes }, moved, .. }) => {
                assert!(moved.is_empty());
                (input, String::from_utf8(bytes).expect("UTF-8"))
            }
            other => panic!("expected text, not {other:?}"),
        }
    }

    pub(crate) fn skip(listen: &mut Listen) -> String {
        match next(listen) {
            Next::Skipped(Skipped { what: SkippedWhat::Connection, reason, .. }) => reason,
            other => panic!("expected a failed connection, not {other:?}"),
        }
    }

    /// Batches up to that of the event that is sent last.
    pub(crate) fn batches_to(listen: &mut Listen, last: &str) -> Vec<String> {
        let mut all = Vec::new();
        while all.last().is_none_or(|text: &String| !text.trim_end().ends_with(last.trim_end())) {
            all.push(batch(listen).1);
        }
        all
    }

    /// What came besides blanks until the end.
    pub(crate) fn rest(listen: &mut Listen) -> Vec<String> {
        listen.stop().expect("a listener does not fail");
        let mut all = Vec::new();
        loop {
            match next(listen) {
                Next::Batch(Batch { content: Content::Text { bytes }, .. }) => {
                    all.push(String::from_utf8(bytes).expect("UTF-8"));
                }
                Next::End => {
                    all.retain(|text: &String| !text.trim().is_empty());
                    return all;
                }
                other => panic!("expected text or the end, not {other:?}"),
            }
        }
    }

    pub(crate) const EVENTS: [&str; 4] = [
        "{\"EventID\":1,\"Message\":\"ü𝄞\"}\n",
        "<Event>\n  <a b='</Event'/>\n</Event>\n",
        "<Event><System/></Event>\n",
        "{\"EventID\":2}\n",
    ];

    /// Each event whole, in order, and nothing else.
    pub(crate) fn assert_events(batches: &[String], expected: &[&str]) {
        let mut expected = expected.iter().map(|event| event.trim_end()).peekable();
        for batch in batches {
            let mut batch = batch.trim_start();
            while !batch.is_empty() {
                let event = expected.next().expect("no more than was sent");
                batch = batch.strip_prefix(event).unwrap_or_else(|| panic!("{batch:?}: {event:?}"));
                batch = batch.trim_start();
            }
        }
        assert_eq!(expected.next(), None);
    }

    #[test]
    fn an_event_is_handed_over_while_the_peer_pauses_and_a_part_waits_for_its_rest() {
        let mut listen = plain();
        let mut peer = connect(&listen);
        let port = peer.local_addr().expect("TCP").port();
        peer.write_all(b"<Event>1</Event>\n<Event>\n").expect("the server reads");
        let (input, text) = batch(&mut listen);
        assert_eq!((&*input, &*text), (&*format!("tcp 127.0.0.1:{port}"), "<Event>1</Event>\n"));
        assert!(matches!(listen.next(Duration::ZERO), Ok(Next::Idle)));
        peer.write_all(b"2</Event>").expect("the server reads");
        assert_eq!(batch(&mut listen).1, "<Event>\n2</Event>");
        peer.write_all(b"\n{\"a\":3}").expect("the server reads");
        peer.shutdown(Shutdown::Write).expect("the server reads");
        let last = [batch(&mut listen).1, rest(&mut listen).concat()].concat();
        assert_eq!(last.trim(), "{\"a\":3}");
    }

    #[test]
    fn pieces_split_everywhere_are_the_same_in_every_encoding() {
        let text = EVENTS.concat();
        let utf16 = |bytes: fn(u16) -> [u8; 2]| -> Vec<u8> {
            text.encode_utf16().flat_map(bytes).collect()
        };
        let (le, be) = (utf16(u16::to_le_bytes), utf16(u16::to_be_bytes));
        let marked = |mark: &[u8], bytes: &[u8]| [mark, bytes].concat();
        for bytes in [
            text.clone().into_bytes(),
            marked(&[0xef, 0xbb, 0xbf], text.as_bytes()),
            marked(&[0xff, 0xfe], &le),
            marked(&[0xfe, 0xff], &be),
            le,
            be,
        ] {
            for size in 1..bytes.len() {
                let mut pieces = Pieces::new(last_boundary, LIVE_TEXT_BYTES_MAX);
                let mut all = Vec::new();
                for part in bytes.chunks(size) {
                    pieces.push(part);
                    all.extend(std::iter::from_fn(|| pieces.whole()));
                }
                all.extend(pieces.finish());
                let all: Vec<String> =
                    all.into_iter().map(|text| String::from_utf8(text).expect("UTF-8")).collect();
                assert_events(&all, &EVENTS);
            }
        }
    }

    #[test]
    fn a_peer_that_sends_utf_16_is_understood() {
        let mut listen = plain();
        let mut peer = connect(&listen);
        let bytes: Vec<u8> = EVENTS.concat().encode_utf16().flat_map(u16::to_le_bytes).collect();
        for part in bytes.chunks(7) {
            peer.write_all(part).expect("the server reads");
        }
        drop(peer);
        assert_events(&batches_to(&mut listen, "{\"EventID\":2}\n"), &EVENTS);
    }

    #[test]
    fn of_several_peers_each_event_comes_once_and_none_is_torn() {
        const PEERS: usize = 8;
        const EVENTS_EACH: usize = 2000;
        let mut listen = plain();
        let peers: Vec<_> = (0..PEERS)
            .map(|peer| {
                let mut stream = connect(&listen);
                thread::spawn(move || {
                    for number in 0..EVENTS_EACH {
                        let padding = "x".repeat(number % 97);
                        let event =
                            format!("{{\"peer\":{peer},\"n\":{number},\"p\":\"{padding}\"}}\n");
                        let (one, two) = event.split_at(number % event.len());
                        stream.write_all(one.as_bytes()).expect("the server reads");
                        stream.write_all(two.as_bytes()).expect("the server reads");
                    }
                })
            })
            .collect();
        let mut seen: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        while seen.values().map(Vec::len).sum::<usize>() < PEERS * EVENTS_EACH {
            for line in batch(&mut listen).1.lines().filter(|line| !line.is_empty()) {
                let event: serde_json::Value = serde_json::from_str(line).expect("a whole event");
                let number = event["n"].as_u64().expect("a number");
                seen.entry(event["peer"].as_u64().expect("a number")).or_default().push(number);
            }
        }
        assert_eq!(seen.len(), PEERS);
        let expected: Vec<u64> = (0..EVENTS_EACH as u64).collect();
        assert!(seen.values().all(|numbers| *numbers == expected));
        peers.into_iter().for_each(|peer| peer.join().expect("the peer sends all"));
        assert!(rest(&mut listen).is_empty());
    }

    #[test]
    fn the_rest_of_an_event_that_is_too_long_never_passes_for_events() {
        let mut listen = plain();
        let mut peer = connect(&listen);
        let sender = thread::spawn(move || {
            let long = "x".repeat(LIVE_TEXT_BYTES_MAX + EVENT_BYTES_MAX);
            let event =
                format!("{{\"a\":\"{long}<Event>inner</Event>{{}}{long}\"}}\n<Event>2</Event>\n");
            peer.write_all(event.as_bytes()).expect("the server reads");
        });
        let batches = batches_to(&mut listen, "<Event>2</Event>\n");
        sender.join().expect("the peer sends all");
        assert!(batches[0].len() > EVENT_BYTES_MAX && batches[0].len() < LIVE_TEXT_BYTES_MAX * 2);
        assert_eq!(batches[1..].concat().trim_end(), "<Event>2</Event>");
    }

    /// Sends until nothing is taken any more; gives the bytes that were taken.
    fn flood(peer: &mut (impl Write + ?Sized), bytes: &[u8]) -> usize {
        let mut sent = 0;
        while sent < bytes.len() {
            match peer.write(&bytes[sent..]) {
                Ok(written) => sent += written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::TimedOut => break,
                Err(error) => panic!("the server reads: {error}"),
            }
        }
        sent
    }

    #[test]
    fn a_peer_waits_when_nobody_reads_and_nothing_is_lost() {
        let line = format!("{{\"p\":\"{}\"}}\n", "x".repeat(1000));
        let events = (64 << 20) / line.len();
        let bytes = line.repeat(events).into_bytes();
        let mut listen = plain();
        let mut peer = connect(&listen);
        peer.set_write_timeout(Some(Duration::from_millis(500))).expect("TCP");
        let sent = flood(&mut peer, &bytes);
        // The rest is in the buffers of the system, whatever their size.
        let held = listen.queue.text_bytes();
        assert!(held <= BATCHES_MAX * (READ_BYTES + line.len()), "{held} bytes are held");
        assert!(sent < bytes.len(), "all was taken");
        peer.set_write_timeout(None).expect("TCP");
        let sender =
            thread::spawn(move || peer.write_all(&bytes[sent..]).expect("the server reads"));
        let mut seen = 0;
        while seen < events {
            let (_, text) = batch(&mut listen);
            assert!(text.lines().all(|got| got.is_empty() || got == line.trim_end()));
            seen += text.lines().filter(|got| !got.is_empty()).count();
        }
        sender.join().expect("the peer sends all");
        assert_eq!(seen, events);
        assert!(rest(&mut listen).is_empty());
    }

    #[test]
    fn a_stop_ends_all_tasks_though_the_queue_is_full_and_peers_stay() {
        let mut listen = plain();
        let _idle = connect(&listen);
        let mut peer = connect(&listen);
        peer.set_write_timeout(Some(Duration::from_millis(200))).expect("TCP");
        flood(&mut peer, "{\"a\":1}\n".repeat(8 << 20).as_bytes());
        let connections = Arc::downgrade(&listen.connections);
        let came = rest(&mut listen).concat();
        assert!(came.starts_with("{\"a\":1}\n"));
        assert!(matches!(next(&mut listen), Next::End));
        drop(listen);
        assert!(connections.upgrade().is_none(), "a task is left");
    }

    #[test]
    fn a_drop_ends_all_tasks_and_frees_the_port() {
        let first = plain();
        let _idle = connect(&first);
        let (local, connections) = (first.local().clone(), Arc::downgrade(&first.connections));
        assert_ne!(local, loopback());
        drop(first);
        assert!(connections.upgrade().is_none(), "a task is left");
        listen(local, None).expect("the port is free again");
    }

    #[test]
    fn garbage_and_a_peer_that_breaks_off_in_an_event_harm_nobody() {
        let mut listen = plain();
        let mut other = connect(&listen);
        let mut broken = connect(&listen);
        broken.write_all(b"{\"a\":1}\n{\"b\":").expect("the server reads");
        assert_eq!(batch(&mut listen).1, "{\"a\":1}\n");
        drop(broken);
        assert_eq!(batch(&mut listen).1, "{\"b\":");
        other.write_all(b"\x00\xffgarbage\x80\n{\"c\":2}\n").expect("the server reads");
        let Next::Batch(Batch { content: Content::Text { bytes }, .. }) = next(&mut listen) else {
            panic!("expected text");
        };
        assert!(bytes.ends_with(b"{\"c\":2}\n"));
        assert!(rest(&mut listen).is_empty());
    }

    /// As when a port is checked for being open.
    #[test]
    fn a_peer_that_sends_nothing_is_not_worth_a_word() {
        let mut listen = plain();
        drop(connect(&listen));
        assert!(rest(&mut listen).is_empty());
    }

    fn within(limits: Limits) -> Listen {
        Listen::within(limits, &spec(loopback(), None)).expect("a port is free")
    }

    /// The end of what the server says, which is nothing.
    fn assert_closed(peer: &mut TcpStream) {
        match peer.read(&mut [0]) {
            Ok(0) => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
            other => panic!("expected the end, not {other:?}"),
        }
    }

    #[test]
    fn a_newcomer_beyond_the_bound_is_refused_and_counted() {
        let mut listen = within(Limits { connections: 1, ..LIMITS });
        let mut first = connect(&listen);
        first.write_all(b"{\"a\":1}\n").expect("the server reads");
        assert_eq!(batch(&mut listen).1, "{\"a\":1}\n");
        for _ in 0..3 {
            assert_closed(&mut connect(&listen));
        }
        assert_eq!(listen.counts(), ConnectionCounts { refused: 3, ..Default::default() });
        first.write_all(b"{\"a\":2}\n").expect("the server reads");
        assert_eq!(batch(&mut listen).1, "{\"a\":2}\n");
        assert!(rest(&mut listen).is_empty());
    }

    #[test]
    fn beyond_the_bound_the_connection_that_is_idle_longest_goes() {
        let limits = Limits { connections: 2, idle_min: Duration::ZERO, ..LIMITS };
        let mut listen = within(limits);
        let mut peers = [connect(&listen), connect(&listen)];
        for peer in [0, 1, 0] {
            let line = format!("{{\"peer\":{peer}}}\n");
            peers[peer].write_all(line.as_bytes()).expect("the server reads");
            assert_eq!(batch(&mut listen).1, line);
        }
        let mut newcomer = connect(&listen);
        newcomer.write_all(b"{\"new\":1}\n").expect("the server reads");
        assert_eq!(batch(&mut listen).1, "{\"new\":1}\n");
        let [mut stays, mut goes] = peers;
        assert_closed(&mut goes);
        assert_eq!(listen.counts(), ConnectionCounts { evicted: 1, ..Default::default() });
        stays.write_all(b"{\"peer\":0}\n").expect("the server reads");
        assert_eq!(batch(&mut listen).1, "{\"peer\":0}\n");
        assert!(rest(&mut listen).is_empty());
    }

    #[test]
    fn at_the_bound_of_unfinished_events_the_largest_goes_and_what_it_sent_is_handed_over() {
        let mut listen = within(Limits { partial_bytes: 100_000, ..LIMITS });
        let (mut large, mut small) = (connect(&listen), connect(&listen));
        small.write_all(b"{\"a\":").expect("the server reads");
        // When its whole event is handed over, the part behind it has been read too.
        small.write_all(b"1}\n{\"a\":").expect("the server reads");
        assert_eq!(batch(&mut listen).1, "{\"a\":1}\n");
        let long = "x".repeat(200_000);
        // It is cut off while it sends.
        let _ = large.write_all(long.as_bytes());
        let cut = batch(&mut listen).1;
        assert!(cut.len() > 99_000 && long.starts_with(&cut), "{} bytes", cut.len());
        assert_closed(&mut large);
        small.write_all(b"2}\n").expect("the server reads");
        assert_eq!(batch(&mut listen).1, "{\"a\":2}\n");
        assert_eq!(listen.counts(), ConnectionCounts { cut_off: 1, ..Default::default() });
        assert!(rest(&mut listen).is_empty());
    }

    #[test]
    fn a_connection_that_is_silent_too_long_is_closed_and_its_part_of_an_event_handed_over() {
        let idle = Duration::from_secs(1);
        let spec = ListenSpec { idle, ..spec(loopback(), None) };
        let mut listen = Listen::within(LIMITS, &spec).expect("a port is free");
        let (mut silent, mut begun) = (connect(&listen), connect(&listen));
        begun.write_all(b"{\"a\":").expect("the server reads");
        assert_eq!(batch(&mut listen).1, "{\"a\":");
        assert_closed(&mut silent);
        assert_closed(&mut begun);
        assert!(rest(&mut listen).is_empty());
    }

    #[test]
    fn a_peer_that_sends_a_byte_at_a_time_delays_nobody() {
        let mut listen = plain();
        let (mut slow, mut quick) = (connect(&listen), connect(&listen));
        let event = b"{\"slow\":1}\n";
        for (number, byte) in event[..event.len() - 1].iter().enumerate() {
            // Between two bytes of the one, as many events of the other as there are.
            slow.write_all(&[*byte]).expect("the server reads");
            let line = format!("{{\"quick\":{number}}}\n");
            quick.write_all(line.as_bytes()).expect("the server reads");
            assert_eq!(batch(&mut listen).1, line);
        }
        slow.write_all(b"\n").expect("the server reads");
        assert_eq!(batch(&mut listen).1, "{\"slow\":1}\n");
        assert!(rest(&mut listen).is_empty());
    }

    #[test]
    fn ten_thousand_connections_are_read_and_one_more() {
        const WANTED: usize = 10_000;
        /// Of other tests in this process.
        const SPARE: u64 = 1_000;
        let limits = Limits { connections: CONNECTIONS_MAX, ..LIMITS };
        // Both ends are in this process: fewer connections where it may not open twice as many files.
        let may_open = open_files::raise_limit().unwrap_or(u64::MAX).saturating_sub(SPARE) / 2;
        let count = usize::try_from(may_open).unwrap_or(usize::MAX).min(WANTED);
        if count < WANTED {
            eprintln!("{count} connections instead of {WANTED}: the limit of open files is low");
        }
        let mut listen = within(limits);
        let mut peers: Vec<TcpStream> = (0..count).map(|_| connect(&listen)).collect();
        let sender = thread::spawn(move || {
            for (number, peer) in peers.iter_mut().enumerate() {
                let line = format!("{{\"n\":{number}}}\n");
                peer.write_all(line.as_bytes()).expect("the server reads");
            }
            peers
        });
        let line_number = |line: &str| -> usize {
            let value: serde_json::Value = serde_json::from_str(line).expect("a whole event");
            value["n"].as_u64().expect("a number").try_into().expect("small")
        };
        let mut seen = vec![false; count];
        for _ in 0..count {
            let number = line_number(&batch(&mut listen).1);
            assert!(!std::mem::replace(&mut seen[number], true), "{number} came twice");
        }
        let mut peers = sender.join().expect("the peers send all");
        let mut newcomer = connect(&listen);
        newcomer.write_all(b"{\"n\":7}\n").expect("the server reads");
        assert_eq!(line_number(&batch(&mut listen).1), 7);
        // The first of all is still read.
        peers[0].write_all(b"{\"n\":8}\n").expect("the server reads");
        assert_eq!(line_number(&batch(&mut listen).1), 8);
        assert_eq!(listen.counts(), ConnectionCounts::default());
        assert!(rest(&mut listen).is_empty());
    }

    /// Long enough for any machine: what came before a stop is known to come.
    const PATIENT: Limits =
        Limits { drain_quiet: Duration::from_secs(1), drain_max: WAIT, ..LIMITS };

    /// Peers that each sent these lines, and stay.
    fn peers_that_sent(listen: &ListenOn, peers: usize, lines_each: usize) -> Vec<TcpStream> {
        let ListenOn::Tcp(address) = listen else { panic!("not TCP") };
        let sent = |peer: usize| {
            let mut stream = TcpStream::connect(address).expect("the server listens");
            let lines: String =
                (0..lines_each).map(|n| format!("{{\"peer\":{peer},\"n\":{n}}}\n")).collect();
            stream.write_all(lines.as_bytes()).expect("the system takes it");
            stream
        };
        (0..peers).map(sent).collect()
    }

    /// The lines until the end, to a reader that takes its time for each batch.
    fn lines_to_slow_reader(listen: &mut Listen) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            match next(listen) {
                Next::Batch(Batch { content: Content::Text { bytes }, .. }) => {
                    let text = String::from_utf8(bytes).expect("UTF-8");
                    lines.extend(text.lines().map(str::to_owned));
                    thread::sleep(Duration::from_millis(1));
                }
                Next::End => return lines,
                other => panic!("expected text or the end, not {other:?}"),
            }
        }
    }

    fn assert_all_once(mut lines: Vec<String>, peers: usize, lines_each: usize) {
        let line = |peer: usize, n: usize| format!("{{\"peer\":{peer},\"n\":{n}}}");
        let mut expected: Vec<String> =
            (0..peers).flat_map(|peer| (0..lines_each).map(move |n| line(peer, n))).collect();
        lines.sort_unstable();
        expected.sort_unstable();
        assert!(lines == expected, "{} lines of {}", lines.len(), expected.len());
    }

    #[test]
    fn a_stop_drains_what_was_sent_before_it_to_a_slow_reader() {
        let mut listen = within(PATIENT);
        let _stay = peers_that_sent(listen.local(), 400, 50);
        listen.stop().expect("a listener does not fail");
        assert_all_once(lines_to_slow_reader(&mut listen), 400, 50);
        let ListenOn::Tcp(address) = listen.local() else { panic!("not TCP") };
        TcpStream::connect(address).expect_err("nobody listens any more");
    }

    #[test]
    fn a_stop_drains_connections_that_nobody_has_accepted_yet() {
        let bound = Bound::new(PATIENT, &spec(loopback(), None)).expect("a port is free");
        // Fewer than the shortest backlog that a system has.
        let _stay = peers_that_sent(&bound.local, 100, 200);
        let mut listen = bound.start(Phase::Drain { until: Instant::now() + PATIENT.drain_max });
        assert_all_once(lines_to_slow_reader(&mut listen), 100, 200);
    }

    #[test]
    fn a_drain_ends_though_a_peer_goes_on_sending() {
        let limits = Limits { drain_max: Duration::from_millis(50), ..LIMITS };
        let mut listen = within(limits);
        let mut peer = connect(&listen);
        peer.write_all(b"{\"a\":1}\n").expect("the server reads");
        batch(&mut listen);
        // It ends when the server closes.
        let sender = thread::spawn(move || while peer.write_all(b"{\"a\":2}\n").is_ok() {});
        rest(&mut listen);
        drop(listen);
        sender.join().expect("the peer is cut off");
    }

    #[test]
    fn a_low_limit_of_open_files_leaves_some_for_the_rest_of_the_process() {
        assert_eq!(connections_max(None), CONNECTIONS_MAX);
        assert_eq!(connections_max(Some(1 << 20)), CONNECTIONS_MAX);
        assert_eq!(connections_max(Some(1024)), 512);
        assert_eq!(connections_max(Some(100)), CONNECTIONS_MIN);
    }

    #[test]
    fn an_address_that_is_taken_is_an_error_with_a_hint() {
        let first = plain();
        let error = listen(first.local().clone(), None).expect_err("the port is taken");
        let ListenOn::Tcp(address) = first.local() else { panic!("not TCP") };
        let text = error.to_string();
        assert!(text.starts_with(&format!("cannot listen on `tcp {address}`: ")), "{text}");
        assert!(text.contains("hint: another process listens there"), "{text}");
    }
}

//! Events that peers send over TCP, with or without TLS, and Unix sockets: a
//! line each, or XML over many lines, as OpenWEC and NXLog send them.
//!
//! ```text
//!  peer ──▶ thread ─┐
//!  peer ──▶ thread ─┼─▶ queue, BATCHES_MAX ──▶ next
//!  peer ──▶ thread ─┘
//! ```
//!
//! Whole events are handed over when they came, without waiting for more; a
//! part of an event waits for its rest, and is handed over as it is when the
//! peer closes. A slow reader makes the peers wait. In memory are at most
//! `CONNECTIONS_MAX` times `LIVE_TEXT_BYTES_MAX` and a read, and `BATCHES_MAX`
//! batches of as much.
//!
//! There are no positions: the protocol has no acknowledgement, so nothing can
//! be asked for again, and what was handed over and not yet committed is lost
//! when the process dies; so is, at a stop, what the system received and nobody
//! read yet. Who may send is decided only by a client certificate.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener};
#[cfg(unix)]
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection};

use crate::source::text::{Cut, LIVE_TEXT_BYTES_MAX, Pieces};
use crate::source::{Batch, Content, Next, Skipped, SkippedWhat, Source, SourceError};

/// Connections at a time; more are closed at once.
pub const CONNECTIONS_MAX: usize = 128;

/// Batches that nobody took yet, of all connections.
const BATCHES_MAX: usize = 16;

/// Bytes read at a time.
const READ_BYTES: usize = 128 * 1024;

/// A TLS handshake takes no longer than this.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// What tests make smaller.
#[derive(Clone, Copy, Debug)]
struct Limits {
    connections: usize,
    handshake: Duration,
}

const LIMITS: Limits = Limits { connections: CONNECTIONS_MAX, handshake: HANDSHAKE_MAX };

/// A connection that waits for its peer checks this often for a stop.
const READ_WAIT: Duration = Duration::from_millis(200);

/// A peer takes what TLS has to say within this, or is cut off.
const WRITE_WAIT: Duration = Duration::from_secs(1);

/// Between two checks for a new connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Where to listen, and how.
#[derive(Clone, Debug)]
pub struct ListenSpec {
    pub listen: ListenOn,
    /// `None`: in the clear.
    pub tls: Option<TlsSpec>,
    pub cut: Cut,
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

/// Listens, and reads what peers send.
#[derive(Debug)]
pub struct Listen {
    shared: Arc<Shared>,
    local: ListenOn,
    acceptor: Option<JoinHandle<()>>,
}

/// Stops a [`Listen`] from elsewhere.
#[derive(Clone, Debug)]
pub struct StopHandle {
    shared: Arc<Shared>,
}

impl StopHandle {
    /// Ends the listening and every connection, as soon as each has noticed;
    /// what was read is still handed over, and then the end.
    pub fn stop(&self) {
        self.shared.stop();
    }
}

impl Listen {
    /// Listens at once.
    pub fn new(spec: &ListenSpec) -> Result<Listen, SourceError> {
        Listen::within(LIMITS, spec)
    }

    fn within(limits: Limits, spec: &ListenSpec) -> Result<Listen, SourceError> {
        let tls = spec.tls.as_ref().map(tls_config).transpose()?;
        let (listener, local) = Listener::bind(&spec.listen)?;
        let shared = Arc::new(Shared::default());
        let server = Server { shared: Arc::clone(&shared), tls, cut: spec.cut, limits };
        let acceptor = std::thread::Builder::new()
            .name("listen".to_owned())
            .spawn(move || accept(&listener, &Arc::new(server)))
            .map_err(|cause| cannot_listen(&spec.listen, cause))?;
        Ok(Listen { shared, local, acceptor: Some(acceptor) })
    }

    /// Where it listens; with the port that was found free for port 0.
    pub fn local(&self) -> &ListenOn {
        &self.local
    }

    pub fn stop_handle(&self) -> StopHandle {
        StopHandle { shared: Arc::clone(&self.shared) }
    }

    /// Connections that were refused because there were [`CONNECTIONS_MAX`].
    pub fn refused(&self) -> u64 {
        self.shared.lock().refused
    }
}

impl Source for Listen {
    fn next(&mut self, wait: Duration) -> Result<Next, SourceError> {
        Ok(self.shared.take(wait))
    }
}

impl Drop for Listen {
    fn drop(&mut self) {
        self.shared.stop();
        if let Some(acceptor) = self.acceptor.take() {
            // It ends when all connections have; a panic was reported already.
            let _ = acceptor.join();
        }
    }
}

/// What the acceptor, the connections and the source share.
#[derive(Debug, Default)]
struct Shared {
    state: Mutex<QueueState>,
    /// Something came, or nothing will any more.
    came: Condvar,
    /// There is room in the queue, or a stop.
    room: Condvar,
    /// A stop; of its own, as a wake-up for room is for a single sender.
    stop: Condvar,
}

#[derive(Debug, Default)]
struct QueueState {
    queue: VecDeque<Next>,
    stopped: bool,
    /// No thread will send anything any more.
    ended: bool,
    refused: u64,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, QueueState> {
        // Nothing is done under the lock that could leave a half of it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stop(&self) {
        self.lock().stopped = true;
        self.room.notify_all();
        self.stop.notify_all();
    }

    fn is_stopped(&self) -> bool {
        self.lock().stopped
    }

    /// Waits for room; after a stop there is room for what was read until then.
    fn send(&self, next: Next) {
        let full = |state: &mut QueueState| !state.stopped && state.queue.len() >= BATCHES_MAX;
        let mut state =
            self.room.wait_while(self.lock(), full).unwrap_or_else(PoisonError::into_inner);
        state.queue.push_back(next);
        self.came.notify_one();
    }

    /// Puts something in whether there is room or not: for what is reported once.
    fn tell(&self, what: Next) {
        self.lock().queue.push_back(what);
        self.came.notify_one();
    }

    fn take(&self, wait: Duration) -> Next {
        let nothing = |state: &mut QueueState| state.queue.is_empty() && !state.ended;
        let (mut state, _) = self
            .came
            .wait_timeout_while(self.lock(), wait, nothing)
            .unwrap_or_else(PoisonError::into_inner);
        match state.queue.pop_front() {
            Some(next) => {
                self.room.notify_one();
                next
            }
            None if state.ended => Next::End,
            None => Next::Idle,
        }
    }

    /// Waits for a stop, but not for long.
    fn pause(&self) {
        let state = self.lock();
        let going = |state: &mut QueueState| !state.stopped;
        drop(self.stop.wait_timeout_while(state, ACCEPT_PAUSE, going));
    }
}

fn cannot_listen(listen: &ListenOn, cause: io::Error) -> SourceError {
    let hint = match cause.kind() {
        io::ErrorKind::AddrInUse => {
            "another process listens there; stop it, or choose another address"
        }
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 and folders of others need rights; choose another port or path"
        }
        io::ErrorKind::AddrNotAvailable => "the address must be one of this machine, or 0.0.0.0",
        io::ErrorKind::NotFound => "the folder of a Unix socket must be there already",
        _ => "check the address, and that the system allows to listen on it",
    };
    SourceError::CannotListen { listen: listen.to_string().into(), cause, hint }
}

/// Reads the certificates and the key, and checks that they fit.
fn tls_config(spec: &TlsSpec) -> Result<Arc<ServerConfig>, SourceError> {
    let failed = |path: &Path, cause: &dyn std::fmt::Display, hint| SourceError::Tls {
        path: path.to_owned(),
        cause: cause.to_string().into(),
        hint,
    };
    let provider = Arc::new(ring::default_provider());
    let chain = certificates(&spec.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&spec.key).map_err(|cause| {
        let hint = "the file must be readable and hold a private key in PEM without a passphrase";
        failed(&spec.key, &cause, hint)
    })?;
    let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|cause| failed(&spec.key, &cause, "this is a mistake of the program"))?;
    let config = match &spec.client_ca {
        None => config.with_no_client_auth(),
        Some(path) => {
            let hint = "the file must hold certificates of authorities in PEM";
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|cause| failed(path, &cause, hint))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .map_err(|cause| failed(path, &cause, hint))?;
            config.with_client_cert_verifier(verifier)
        }
    };
    let config = config.with_single_cert(chain, key).map_err(|cause| match cause {
        rustls::Error::InconsistentKeys(_) => failed(
            &spec.key,
            &format_args!("it is not the key of `{}`", spec.certificate.display()),
            "the first certificate of the file must be the server's own, made with this key",
        ),
        other => failed(&spec.certificate, &other, "use a certificate of X.509 version 3"),
    })?;
    Ok(Arc::new(config))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, SourceError> {
    let failed = |cause: String| SourceError::Tls {
        path: path.to_owned(),
        cause: cause.into(),
        hint: "the file must be readable and hold certificates in PEM",
    };
    let chain = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|cause| failed(cause.to_string()))?;
    if chain.is_empty() {
        return Err(failed("it holds no certificate".to_owned()));
    }
    Ok(chain)
}

/// A socket that peers connect to.
enum Listener {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix {
        listener: UnixListener,
        path: PathBuf,
        /// Device and number of the socket's file.
        file: Option<(u64, u64)>,
    },
}

trait PeerStream: Read + Write + Send {}
impl<T: Read + Write + Send> PeerStream for T {}

impl Listener {
    fn bind(listen: &ListenOn) -> Result<(Listener, ListenOn), SourceError> {
        let bound = match listen {
            ListenOn::Tcp(address) => Listener::bind_tcp(*address),
            ListenOn::Unix(path) => Listener::bind_unix(path),
        };
        bound.map_err(|cause| cannot_listen(listen, cause))
    }

    /// Looking for a peer does not wait, as nothing could end that.
    fn bind_tcp(address: SocketAddr) -> io::Result<(Listener, ListenOn)> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let local = ListenOn::Tcp(listener.local_addr()?);
        Ok((Listener::Tcp(listener), local))
    }

    #[cfg(unix)]
    fn bind_unix(path: &Path) -> io::Result<(Listener, ListenOn)> {
        let listener = match UnixListener::bind(path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_stale(path) => {
                std::fs::remove_file(path)?;
                UnixListener::bind(path)?
            }
            bound => bound?,
        };
        listener.set_nonblocking(true)?;
        let bound = Listener::Unix { listener, path: path.to_owned(), file: file_of(path) };
        Ok((bound, ListenOn::Unix(path.to_owned())))
    }

    #[cfg(not(unix))]
    fn bind_unix(_: &Path) -> io::Result<(Listener, ListenOn)> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "this system has no Unix sockets"))
    }

    /// A peer and what it is called.
    fn accept(&self) -> io::Result<(Box<dyn PeerStream>, Arc<str>)> {
        // Some systems let nothing be set of a peer that has gone already.
        let gone = io::ErrorKind::ConnectionAborted;
        match self {
            Listener::Tcp(listener) => {
                let (stream, address) = listener.accept()?;
                let address = SocketAddr::new(address.ip().to_canonical(), address.port());
                let ready = (stream.set_nonblocking(false))
                    .and_then(|()| stream.set_read_timeout(Some(READ_WAIT)))
                    .and_then(|()| stream.set_write_timeout(Some(WRITE_WAIT)));
                ready.map_err(|_| gone)?;
                Ok((Box::new(stream), format!("tcp {address}").into()))
            }
            #[cfg(unix)]
            Listener::Unix { listener, .. } => {
                let (stream, _) = listener.accept()?;
                let ready = (stream.set_nonblocking(false))
                    .and_then(|()| stream.set_read_timeout(Some(READ_WAIT)))
                    .and_then(|()| stream.set_write_timeout(Some(WRITE_WAIT)));
                ready.map_err(|_| gone)?;
                Ok((Box::new(stream), self.name()))
            }
        }
    }

    fn name(&self) -> Arc<str> {
        match self {
            Listener::Tcp(listener) => match listener.local_addr() {
                Ok(address) => format!("tcp {address}").into(),
                Err(_) => "tcp".into(),
            },
            #[cfg(unix)]
            Listener::Unix { path, .. } => format!("unix {}", path.display()).into(),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        match self {
            Listener::Tcp(_) => {}
            #[cfg(unix)]
            Listener::Unix { path, file, .. } => {
                // Not one that took its place meanwhile. A file that stays is
                // replaced at the next start.
                if file.is_some() && file_of(path) == *file {
                    let _ = std::fs::remove_file(path);
                }
            }
        }
    }
}

/// Whether a socket is there and nobody answers on it.
#[cfg(unix)]
fn is_stale(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|it| it.file_type().is_socket());
    is_socket
        && UnixStream::connect(path)
            .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

#[cfg(unix)]
fn file_of(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    std::fs::symlink_metadata(path).ok().map(|it| (it.dev(), it.ino()))
}

/// What every connection is served with.
struct Server {
    shared: Arc<Shared>,
    tls: Option<Arc<ServerConfig>>,
    cut: Cut,
    limits: Limits,
}

/// Tells the end of all threads, however it comes.
struct Ending<'s>(&'s Shared);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.lock().ended = true;
        self.0.came.notify_all();
    }
}

/// Accepts connections until the stop, and then waits for them to end.
fn accept(listener: &Listener, server: &Arc<Server>) {
    let shared = &server.shared;
    let _ending = Ending(shared);
    let mut connections: Vec<JoinHandle<()>> = Vec::new();
    let (mut refused, mut failed) = (Once::New, Once::New);
    while !shared.is_stopped() {
        let (peer, input) = match listener.accept() {
            Ok(accepted) => accepted,
            Err(error) => {
                // Whoever went away before it was accepted is no failure.
                let retryable = [
                    io::ErrorKind::WouldBlock,
                    io::ErrorKind::Interrupted,
                    io::ErrorKind::ConnectionAborted,
                    io::ErrorKind::ConnectionReset,
                ];
                if !retryable.contains(&error.kind()) {
                    let reason = format!("cannot accept connections: {error}");
                    failed.tell(shared, &listener.name(), reason);
                }
                shared.pause();
                continue;
            }
        };
        connections.retain(|connection| !connection.is_finished());
        let started = if connections.len() < server.limits.connections {
            let server = Arc::clone(server);
            let input = Arc::clone(&input);
            let name = "connection".to_owned();
            std::thread::Builder::new().name(name).spawn(move || server.serve(peer, &input)).ok()
        } else {
            None
        };
        match started {
            Some(connection) => connections.push(connection),
            None => {
                shared.lock().refused += 1;
                let reason = format!(
                    "refused, as there are {} connections at a time at the most; further \
                     ones are counted without a word",
                    server.limits.connections
                );
                refused.tell(shared, &input, reason);
            }
        }
    }
    for connection in connections {
        // A panic was reported already.
        let _ = connection.join();
    }
}

/// What is reported no more than once.
enum Once {
    New,
    Told,
}

impl Once {
    fn tell(&mut self, shared: &Shared, input: &Arc<str>, reason: String) {
        if matches!(std::mem::replace(self, Once::Told), Once::New) {
            shared.tell(skipped(input, reason));
        }
    }
}

fn skipped(input: &Arc<str>, reason: String) -> Next {
    Next::Skipped(Skipped { input: Arc::clone(input), what: SkippedWhat::Connection, reason })
}

/// How a connection came to its end.
enum ConnectionEnd {
    Closed,
    /// A failure that has nothing to do with what was sent so far.
    Failed(String),
    Stopped,
}

impl Server {
    /// Reads all that a peer sends.
    fn serve(&self, mut peer: Box<dyn PeerStream>, input: &Arc<str>) {
        let mut events = Events {
            shared: &self.shared,
            input,
            pieces: Pieces::new(self.cut, LIVE_TEXT_BYTES_MAX),
        };
        let ended = match &self.tls {
            None => self.read_plain(&mut *peer, &mut events),
            Some(config) => self.read_tls(&mut *peer, config, &mut events),
        };
        let Err(ended) = ended;
        drop(peer);
        events.finish();
        match ended {
            ConnectionEnd::Failed(reason) => self.shared.send(skipped(input, reason)),
            ConnectionEnd::Closed | ConnectionEnd::Stopped => {}
        }
    }

    fn read_plain(
        &self,
        peer: &mut dyn PeerStream,
        events: &mut Events<'_>,
    ) -> Result<Infallible, ConnectionEnd> {
        let mut raw = vec![0; READ_BYTES];
        loop {
            if let Some(bytes) = self.read(peer, &mut raw)? {
                events.push(bytes);
            }
        }
    }

    fn read_tls(
        &self,
        peer: &mut dyn PeerStream,
        config: &Arc<ServerConfig>,
        events: &mut Events<'_>,
    ) -> Result<Infallible, ConnectionEnd> {
        let failed = |error: rustls::Error| ConnectionEnd::Failed(tls_reason(&error));
        let mut session = ServerConnection::new(Arc::clone(config)).map_err(failed)?;
        let (mut raw, mut plain) = (vec![0; READ_BYTES], Vec::new());
        let begin = Instant::now();
        let mut last_heartbeat = false;
        loop {
            while session.wants_write() {
                session.write_tls(peer).map_err(|_| ConnectionEnd::Closed)?;
            }
            let handshaking = session.is_handshaking();
            if handshaking && begin.elapsed() > self.limits.handshake {
                let limit = self.limits.handshake;
                return Err(ConnectionEnd::Failed(format!("no TLS handshake within {limit:?}")));
            }
            let mut bytes = match self.read(peer, &mut raw) {
                Ok(Some(bytes)) => bytes,
                Ok(None) => continue,
                // A probe whether the port is open is no failure.
                Err(ConnectionEnd::Closed) if handshaking && last_heartbeat => {
                    let reason = "the peer went away during the TLS handshake".to_owned();
                    return Err(ConnectionEnd::Failed(reason));
                }
                Err(ended) => return Err(ended),
            };
            last_heartbeat = true;
            while !bytes.is_empty() {
                // Nothing is read of what follows the peer's farewell.
                if session.read_tls(&mut bytes).map_err(|_| ConnectionEnd::Closed)? == 0 {
                    return Err(ConnectionEnd::Closed);
                }
                let state = session.process_new_packets().map_err(|error| {
                    // The alert tells the peer why; it need not listen.
                    let _ = session.write_tls(peer);
                    failed(error)
                })?;
                plain.resize(state.plaintext_bytes_to_read(), 0);
                session.reader().read_exact(&mut plain).map_err(|_| ConnectionEnd::Closed)?;
                events.push(&plain);
                if state.peer_has_closed() {
                    return Err(ConnectionEnd::Closed);
                }
            }
        }
    }

    /// What is there; `None` when the peer pauses. Whatever breaks a connection
    /// is its end, like a farewell: peers may go away as they like.
    fn read<'r>(
        &self,
        peer: &mut dyn PeerStream,
        raw: &'r mut [u8],
    ) -> Result<Option<&'r [u8]>, ConnectionEnd> {
        if self.shared.is_stopped() {
            return Err(ConnectionEnd::Stopped);
        }
        match peer.read(raw) {
            Ok(0) => Err(ConnectionEnd::Closed),
            Ok(read) => Ok(Some(&raw[..read])),
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock
                | io::ErrorKind::TimedOut
                | io::ErrorKind::Interrupted => Ok(None),
                _ => Err(ConnectionEnd::Closed),
            },
        }
    }
}

fn tls_reason(error: &rustls::Error) -> String {
    let hint = match error {
        rustls::Error::NoCertificatesPresented => "; the peer needs a client certificate",
        rustls::Error::InvalidCertificate(_) => {
            "; the peer's certificate must come from an authority in the file of client authorities"
        }
        rustls::Error::InvalidMessage(_) => "; is the peer set to send with TLS?",
        rustls::Error::AlertReceived(_) => "; the peer does not accept this server",
        _ => "",
    };
    format!("TLS failed: {error}{hint}")
}

/// The events of one connection.
struct Events<'s> {
    shared: &'s Shared,
    input: &'s Arc<str>,
    pieces: Pieces,
}

impl Events<'_> {
    fn push(&mut self, bytes: &[u8]) {
        self.pieces.push(bytes);
        while let Some(bytes) = self.pieces.whole() {
            self.send(bytes);
        }
    }

    /// What is left, as it is.
    fn finish(&mut self) {
        if let Some(bytes) = self.pieces.finish() {
            self.send(bytes);
        }
    }

    fn send(&self, bytes: Vec<u8>) {
        self.shared.send(Next::Batch(Batch {
            input: Arc::clone(self.input),
            content: Content::Text { bytes },
            progress_bytes: 0,
            moved: Vec::new(),
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::lines::{EVENT_BYTES_MAX, last_boundary};
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, ClientConnection, StreamOwned};
    use std::collections::BTreeMap;
    use std::net::{Shutdown, TcpStream};
    use std::thread;

    /// Long enough never to run out in a test that passes.
    const WAIT: Duration = Duration::from_secs(60);

    fn loopback() -> ListenOn {
        ListenOn::Tcp(SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    fn listen(listen: ListenOn, tls: Option<TlsSpec>) -> Result<Listen, SourceError> {
        Listen::new(&ListenSpec { listen, tls, cut: last_boundary })
    }

    fn plain() -> Listen {
        listen(loopback(), None).expect("a port is free")
    }

    fn connect(listen: &Listen) -> TcpStream {
        let ListenOn::Tcp(address) = listen.local() else { panic!("not TCP") };
        TcpStream::connect(address).expect("the server listens")
    }

    fn next(listen: &mut Listen) -> Next {
        listen.next(WAIT).expect("a listener does not fail")
    }

    fn batch(listen: &mut Listen) -> (Arc<str>, String) {
        match next(listen) {
            Next::Batch(Batch { input, content: Content::Text { bytes }, moved, .. }) => {
                assert!(moved.is_empty());
                (input, String::from_utf8(bytes).expect("UTF-8"))
            }
            other => panic!("expected text, not {other:?}"),
        }
    }

    fn skip(listen: &mut Listen) -> String {
        match next(listen) {
            Next::Skipped(Skipped { what: SkippedWhat::Connection, reason, .. }) => reason,
            other => panic!("expected a failed connection, not {other:?}"),
        }
    }

    /// Batches up to that of the event that is sent last.
    fn batches_to(listen: &mut Listen, last: &str) -> Vec<String> {
        let mut all = Vec::new();
        while all.last().is_none_or(|text: &String| !text.trim_end().ends_with(last.trim_end())) {
            all.push(batch(listen).1);
        }
        all
    }

    /// What came besides blanks until the end.
    fn rest(listen: &mut Listen) -> Vec<String> {
        listen.stop_handle().stop();
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

    const EVENTS: [&str; 4] = [
        "{\"EventID\":1,\"Message\":\"ü𝄞\"}\n",
        "<Event>\n  <a b='</Event'/>\n</Event>\n",
        "<Event><System/></Event>\n",
        "{\"EventID\":2}\n",
    ];

    /// Each event whole, in order, and nothing else.
    fn assert_events(batches: &[String], expected: &[&str]) {
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
        let state = listen.shared.lock();
        let held = state.queue.iter().map(|next| match next {
            Next::Batch(Batch { content: Content::Text { bytes }, .. }) => bytes.len(),
            other => panic!("expected text, not {other:?}"),
        });
        let held: usize = held.sum();
        drop(state);
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
    fn a_stop_ends_all_threads_though_the_queue_is_full_and_peers_stay() {
        let mut listen = plain();
        let _idle = connect(&listen);
        let mut peer = connect(&listen);
        peer.set_write_timeout(Some(Duration::from_millis(200))).expect("TCP");
        flood(&mut peer, "{\"a\":1}\n".repeat(8 << 20).as_bytes());
        let shared = Arc::downgrade(&listen.shared);
        let came = rest(&mut listen).concat();
        assert!(came.starts_with("{\"a\":1}\n"));
        assert!(matches!(next(&mut listen), Next::End));
        drop(listen);
        assert!(shared.upgrade().is_none(), "a thread is left");
    }

    #[test]
    fn a_drop_ends_all_threads_and_frees_the_port() {
        let first = plain();
        let _idle = connect(&first);
        let (local, shared) = (first.local().clone(), Arc::downgrade(&first.shared));
        assert_ne!(local, loopback());
        drop(first);
        assert!(shared.upgrade().is_none(), "a thread is left");
        listen(local, None).expect("the port is free again");
    }

    /// A peer that sends these parts, with a pause after each, and then is gone.
    struct Scripted {
        parts: VecDeque<Vec<u8>>,
        paused: bool,
    }

    impl Read for Scripted {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.paused = !self.paused;
            if self.paused {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let part = self.parts.pop_front().ok_or(io::ErrorKind::ConnectionReset)?;
            buffer[..part.len()].copy_from_slice(&part);
            Ok(part.len())
        }
    }

    impl Write for Scripted {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn serve(parts: &[&[u8]]) -> Vec<Next> {
        let shared = Arc::new(Shared::default());
        let server =
            Server { shared: Arc::clone(&shared), tls: None, cut: last_boundary, limits: LIMITS };
        let parts = parts.iter().map(|part| part.to_vec()).collect();
        server.serve(Box::new(Scripted { parts, paused: false }), &"peer".into());
        std::iter::from_fn(|| shared.lock().queue.pop_front()).collect()
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
    fn a_peer_that_sends_nothing_is_not_worth_a_word() {
        assert!(serve(&[]).is_empty());
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

    #[test]
    fn connections_beyond_the_bound_are_counted_and_told_once() {
        let spec = ListenSpec { listen: loopback(), tls: None, cut: last_boundary };
        let limits = Limits { connections: 1, ..LIMITS };
        let mut listen = Listen::within(limits, &spec).expect("a port is free");
        let mut first = connect(&listen);
        first.write_all(b"{\"a\":1}\n").expect("the server reads");
        assert_eq!(batch(&mut listen).1, "{\"a\":1}\n");
        for _ in 0..3 {
            // It is closed at once.
            let mut refused = connect(&listen);
            assert_eq!(refused.read(&mut [0]).expect("no byte was sent"), 0);
        }
        assert!(skip(&mut listen).contains("1 connections at a time"));
        assert_eq!(listen.refused(), 3);
        first.write_all(b"{\"a\":2}\n").expect("the server reads");
        assert_eq!(batch(&mut listen).1, "{\"a\":2}\n");
        assert!(rest(&mut listen).is_empty());
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

    #[cfg(unix)]
    mod unix {
        use super::*;

        #[test]
        fn a_peer_on_a_unix_socket_is_read_and_the_file_goes_with_the_server() {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("events");
            let mut server = listen(ListenOn::Unix(path.clone()), None).expect("it is free");
            let mut peer = UnixStream::connect(&path).expect("the server listens");
            peer.write_all(EVENTS.concat().as_bytes()).expect("the server reads");
            let (input, text) = batch(&mut server);
            assert_eq!(*input, *format!("unix {}", path.display()));
            assert_events(&[text], &EVENTS);
            let error = listen(ListenOn::Unix(path.clone()), None).expect_err("it is taken");
            assert!(error.to_string().contains("another process listens there"), "{error}");
            drop(server);
            assert!(!path.exists());
        }

        #[test]
        fn a_socket_that_nobody_answers_on_is_replaced_and_any_other_file_is_not() {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("events");
            drop(UnixListener::bind(&path).expect("it is free"));
            assert!(path.exists());
            drop(listen(ListenOn::Unix(path.clone()), None).expect("the old one is replaced"));
            std::fs::write(&path, "precious").expect("a file");
            listen(ListenOn::Unix(path.clone()), None).expect_err("a file is no socket");
            assert_eq!(std::fs::read(&path).expect("it is there"), b"precious");
        }

        #[test]
        fn a_socket_that_took_the_place_of_this_one_stays() {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("events");
            let server = listen(ListenOn::Unix(path.clone()), None).expect("it is free");
            // The old file stays somewhere, lest the new one get its number.
            std::fs::rename(&path, folder.path().join("old")).expect("it is there");
            let _other = UnixListener::bind(&path).expect("it is free");
            drop(server);
            assert!(path.exists());
        }

        #[test]
        fn a_folder_that_is_not_there_is_an_error_with_a_hint() {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("none").join("events");
            let error = listen(ListenOn::Unix(path), None).expect_err("no folder");
            assert!(error.to_string().contains("hint: the folder of a Unix socket"), "{error}");
        }
    }

    type Issuer = CertifiedIssuer<'static, KeyPair>;

    fn authority() -> Issuer {
        let mut params = CertificateParams::new([]).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("signed")
    }

    /// Certificate and key in PEM.
    fn issue(issuer: &Issuer) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
        let certificate = params.signed_by(&key, issuer).expect("signed");
        (certificate.pem(), key.serialize_pem())
    }

    /// A server's files and the authorities behind them.
    struct Tls {
        folder: tempfile::TempDir,
        spec: TlsSpec,
        servers: Issuer,
        clients: Issuer,
    }

    impl Tls {
        fn new() -> Tls {
            let folder = tempfile::tempdir().expect("a folder");
            let (servers, clients) = (authority(), authority());
            let (certificate, key) = issue(&servers);
            let write = |name: &str, text: &str| {
                let path = folder.path().join(name);
                std::fs::write(&path, text).expect("a file");
                path
            };
            let spec = TlsSpec {
                certificate: write("server.pem", &certificate),
                key: write("server.key", &key),
                client_ca: Some(write("clients.pem", &clients.pem())),
            };
            Tls { folder, spec, servers, clients }
        }

        fn write(&self, name: &str, text: &str) -> PathBuf {
            let path = self.folder.path().join(name);
            std::fs::write(&path, text).expect("a file");
            path
        }

        fn client(
            &self,
            stream: TcpStream,
            own: Option<(String, String)>,
        ) -> StreamOwned<ClientConnection, TcpStream> {
            let mut roots = RootCertStore::empty();
            roots.add(self.servers.der().clone()).expect("a certificate");
            let provider = Arc::new(ring::default_provider());
            let config = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .expect("versions")
                .with_root_certificates(roots);
            let config = match own {
                None => config.with_no_client_auth(),
                Some((certificate, key)) => {
                    let chain = CertificateDer::from_pem_slice(certificate.as_bytes());
                    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
                    config
                        .with_client_auth_cert(vec![chain.expect("a certificate")], key)
                        .expect("they fit")
                }
            };
            let name = ServerName::try_from("localhost").expect("a name");
            let session = ClientConnection::new(Arc::new(config), name).expect("a client");
            StreamOwned::new(session, stream)
        }

        fn fails(&self, spec: TlsSpec, path: &Path, words: &str) {
            let error = listen(loopback(), Some(spec)).expect_err("it is of no use");
            let text = error.to_string();
            let start = format!("cannot use `{}` for TLS: ", path.display());
            assert!(text.starts_with(&start) && text.contains("\n  hint: "), "{text}");
            assert!(text.contains(words), "{text}");
        }
    }

    #[test]
    fn a_client_with_the_right_certificate_is_read_and_others_are_refused_with_a_reason() {
        let tls = Tls::new();
        let mut server = listen(loopback(), Some(tls.spec.clone())).expect("the files fit");
        let mut good = tls.client(connect(&server), Some(issue(&tls.clients)));
        good.write_all(EVENTS[0].as_bytes()).expect("the server reads");
        assert_eq!(batch(&mut server).1, EVENTS[0]);

        // Whether the client learns of it in time is not the question.
        let mut none = tls.client(connect(&server), None);
        let _ = none.write_all(EVENTS[1].as_bytes());
        let reason = skip(&mut server);
        assert!(reason.contains("the peer needs a client certificate"), "{reason}");
        let mut other = tls.client(connect(&server), Some(issue(&tls.servers)));
        let _ = other.write_all(EVENTS[1].as_bytes());
        let reason = skip(&mut server);
        assert!(reason.contains("must come from an authority"), "{reason}");
        let mut clear = connect(&server);
        let _ = clear.write_all(EVENTS[1].as_bytes());
        let reason = skip(&mut server);
        assert!(reason.contains("is the peer set to send with TLS?"), "{reason}");
        let mut begun = connect(&server);
        begun.write_all(&[22, 3, 1]).expect("the server reads");
        drop(begun);
        assert!(skip(&mut server).contains("went away during the TLS handshake"));
        // Whoever probes whether the port is open is not worth a word.
        drop(connect(&server));

        good.write_all(EVENTS[2].as_bytes()).expect("the server reads");
        assert_eq!(batch(&mut server).1, EVENTS[2]);
        good.write_all(b"<Event>").expect("the server reads");
        good.conn.send_close_notify();
        good.flush().expect("the server reads");
        assert_eq!(batch(&mut server).1, "<Event>");
        assert!(rest(&mut server).is_empty());
    }

    #[test]
    fn much_over_tls_comes_whole_though_the_peer_is_gone_without_a_farewell() {
        let mut tls = Tls::new();
        tls.spec.client_ca = None;
        let mut server = listen(loopback(), Some(tls.spec.clone())).expect("the files fit");
        let mut client = tls.client(connect(&server), None);
        let events: Vec<String> = (0..50_000).map(|n| format!("{{\"EventID\":{n}}}\n")).collect();
        let text = events.concat();
        let sender = thread::spawn(move || {
            client.write_all(text.as_bytes()).expect("the server reads");
            client.flush().expect("the server reads");
            // The server's tickets are read, or the end would be a reset.
            client.sock.shutdown(Shutdown::Write).expect("the server reads");
            let _ = client.sock.read_to_end(&mut Vec::new());
        });
        let batches = batches_to(&mut server, "{\"EventID\":49999}\n");
        sender.join().expect("the peer sends all");
        assert_events(&batches, &events.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(rest(&mut server).is_empty());
    }

    #[test]
    fn a_handshake_that_takes_too_long_is_cut_off() {
        let tls = Tls::new();
        let spec = ListenSpec { listen: loopback(), tls: Some(tls.spec), cut: last_boundary };
        let limits = Limits { handshake: Duration::from_millis(10), ..LIMITS };
        let mut server = Listen::within(limits, &spec).expect("the files fit");
        let mut peer = connect(&server);
        assert!(skip(&mut server).contains("no TLS handshake within 10ms"));
        assert_eq!(peer.read(&mut [0]).expect("no byte was sent"), 0);
    }

    #[test]
    fn files_that_are_of_no_use_for_tls_are_errors_that_name_them() {
        let tls = Tls::new();
        let spec = || tls.spec.clone();
        let none = tls.folder.path().join("none");
        tls.fails(TlsSpec { certificate: none.clone(), ..spec() }, &none, "certificates in PEM");
        tls.fails(TlsSpec { key: none.clone(), ..spec() }, &none, "a private key in PEM");
        tls.fails(TlsSpec { client_ca: Some(none.clone()), ..spec() }, &none, "in PEM");
        let (_, other) = issue(&tls.servers);
        let other = tls.write("other.key", &other);
        let words = format!("it is not the key of `{}`", tls.spec.certificate.display());
        tls.fails(TlsSpec { key: other.clone(), ..spec() }, &other, &words);
        let empty = tls.write("empty.pem", "");
        tls.fails(TlsSpec { certificate: empty.clone(), ..spec() }, &empty, "no certificate");
        tls.fails(TlsSpec { client_ca: Some(empty.clone()), ..spec() }, &empty, "no certificate");
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let broken = tls.write("broken.pem", broken);
        tls.fails(TlsSpec { certificate: broken.clone(), ..spec() }, &broken, "X.509");
        tls.fails(TlsSpec { client_ca: Some(broken.clone()), ..spec() }, &broken, "authorities");
    }
}

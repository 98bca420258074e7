//! Sockets that peers connect to, and those of the peers: TCP and Unix.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
#[cfg(unix)]
use tokio::net::{UnixListener, UnixStream};

use super::ListenOn;
use crate::source::SourceError;

/// Connections that the system accepts before this process does; it may allow fewer.
pub(super) const BACKLOG: u32 = 4096;

/// A TCP peer that was silent for this long is asked whether it is still there, and then this often,
/// until the system gives it up: without, a peer that lost its power holds its place for good.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// A socket that peers connect to.
#[derive(Debug)]
pub(super) struct Listener {
    socket: ListeningSocket,
    /// What it is called in messages.
    name: Arc<str>,
}

#[derive(Debug)]
enum ListeningSocket {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix {
        listener: UnixListener,
        _file: SocketFile,
    },
}

impl Listener {
    /// Listens, and gives where: with the port that was found free for port 0. Must be called
    /// within the runtime.
    pub(super) fn bind(listen: &ListenOn) -> Result<(Listener, ListenOn), SourceError> {
        let bound = match listen {
            ListenOn::Tcp(address) => bind_tcp(*address),
            ListenOn::Unix(path) => bind_unix(path),
        };
        let (socket, local) = bound.map_err(|cause| cannot_listen(listen, cause))?;
        Ok((Listener { socket, name: local.to_string().into() }, local))
    }

    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The next peer, and what it is called.
    pub(super) async fn accept(&self) -> io::Result<(Socket, Arc<str>)> {
        match &self.socket {
            ListeningSocket::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                Ok(tcp_peer(stream, address))
            }
            #[cfg(unix)]
            ListeningSocket::Unix { listener, .. } => {
                let (stream, _) = listener.accept().await?;
                Ok((Socket::new(PeerSocket::Unix(stream)), Arc::clone(&self.name)))
            }
        }
    }

    /// A peer that the system accepted already; [`io::ErrorKind::WouldBlock`] when there is none.
    /// Unlike [`Listener::accept`] it asks the system itself, not the reports of its events, which
    /// come later.
    pub(super) fn accept_now(&self) -> io::Result<(Socket, Arc<str>)> {
        match &self.socket {
            ListeningSocket::Tcp(listener) => {
                let (socket, address) = SockRef::from(listener).accept()?;
                socket.set_nonblocking(true)?;
                let address = address.as_socket().ok_or(io::ErrorKind::ConnectionAborted)?;
                Ok(tcp_peer(TcpStream::from_std(socket.into())?, address))
            }
            #[cfg(unix)]
            ListeningSocket::Unix { listener, .. } => {
                let (socket, _) = SockRef::from(listener).accept()?;
                socket.set_nonblocking(true)?;
                let stream = UnixStream::from_std(socket.into())?;
                Ok((Socket::new(PeerSocket::Unix(stream)), Arc::clone(&self.name)))
            }
        }
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<(ListeningSocket, ListenOn)> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // On Windows it would let another process take the port.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    let listener = socket.listen(BACKLOG)?;
    let local = ListenOn::Tcp(listener.local_addr()?);
    Ok((ListeningSocket::Tcp(listener), local))
}

#[cfg(unix)]
fn bind_unix(path: &Path) -> io::Result<(ListeningSocket, ListenOn)> {
    let listener = match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_stale(path) => {
            std::fs::remove_file(path)?;
            UnixListener::bind(path)?
        }
        bound => bound?,
    };
    let file = SocketFile { path: path.to_owned(), identity: identity_of(path) };
    Ok((ListeningSocket::Unix { listener, _file: file }, ListenOn::Unix(path.to_owned())))
}

#[cfg(not(unix))]
fn bind_unix(_: &Path) -> io::Result<(ListeningSocket, ListenOn)> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "this system has no Unix sockets"))
}

pub(super) fn cannot_listen(listen: &ListenOn, cause: io::Error) -> SourceError {
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

fn tcp_peer(stream: TcpStream, address: SocketAddr) -> (Socket, Arc<str>) {
    let probes = TcpKeepalive::new().with_time(KEEPALIVE_AFTER).with_interval(KEEPALIVE_INTERVAL);
    // Some systems let nothing be set of a peer that has gone already; its end is read soon.
    let _ = SockRef::from(&stream).set_tcp_keepalive(&probes);
    let address = SocketAddr::new(address.ip().to_canonical(), address.port());
    (Socket::new(PeerSocket::Tcp(stream)), format!("tcp {address}").into())
}

/// The file of a Unix socket, which goes with it.
#[cfg(unix)]
#[derive(Debug)]
struct SocketFile {
    path: std::path::PathBuf,
    /// Device and number.
    identity: Option<(u64, u64)>,
}

#[cfg(unix)]
impl Drop for SocketFile {
    fn drop(&mut self) {
        // Not one that took its place meanwhile. A file that stays is replaced at the next start.
        if self.identity.is_some() && identity_of(&self.path) == self.identity {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Whether a socket is there and nobody answers on it.
#[cfg(unix)]
fn is_stale(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|it| it.file_type().is_socket());
    is_socket
        && std::os::unix::net::UnixStream::connect(path)
            .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

#[cfg(unix)]
fn identity_of(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    std::fs::symlink_metadata(path).ok().map(|it| (it.dev(), it.ino()))
}

/// A stream from a peer, which can be waited for without memory to read into.
pub(super) trait PeerStream: AsyncRead + Send + Unpin {
    /// Ready when reading may give something, the end or an error.
    fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>>;
}

/// A peer's socket.
#[derive(Debug)]
pub(super) struct Socket {
    socket: PeerSocket,
    has_received: bool,
}

#[derive(Debug)]
enum PeerSocket {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

impl Socket {
    fn new(socket: PeerSocket) -> Socket {
        Socket { socket, has_received: false }
    }

    /// Whether any byte came.
    pub(super) fn has_received(&self) -> bool {
        self.has_received
    }
}

impl PeerStream for Socket {
    fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.socket {
            PeerSocket::Tcp(stream) => stream.poll_read_ready(context),
            #[cfg(unix)]
            PeerSocket::Unix(stream) => stream.poll_read_ready(context),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = match &mut self.socket {
            PeerSocket::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            #[cfg(unix)]
            PeerSocket::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
        };
        self.has_received |= buffer.filled().len() > before;
        polled
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.socket {
            PeerSocket::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            #[cfg(unix)]
            PeerSocket::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            PeerSocket::Tcp(stream) => Pin::new(stream).poll_flush(context),
            #[cfg(unix)]
            PeerSocket::Unix(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            PeerSocket::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            #[cfg(unix)]
            PeerSocket::Unix(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use super::super::tests::{EVENTS, assert_events, batch, listen};
    use super::*;
    use std::io::Write;
    use std::os::unix::net::{UnixListener, UnixStream};

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

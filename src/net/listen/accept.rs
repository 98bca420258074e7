//! Accepts connections, and ends them all at a stop.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tracing::warn;

use super::Phase;
use super::connection::{Server, serve};
use super::connections::{Connections, Occasional};
use super::queue::ListenQueue;
use super::socket::{BACKLOG, Listener, Socket};

/// Until the next try after the system could not give a connection, as when the process has too
/// many files open; the peers wait meanwhile.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// One listener at work.
pub(super) struct Acceptor {
    pub(super) listener: Listener,
    pub(super) server: Arc<Server>,
    pub(super) connections: Arc<Connections>,
    pub(super) phase: watch::Receiver<Phase>,
}

/// Ends the queue when all tasks have, however that comes.
struct Ending(Arc<ListenQueue>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl Acceptor {
    /// Accepts until a stop, then what the system accepted already, and waits for all connections
    /// to end.
    pub(super) async fn run(mut self) {
        let _ending = Ending(Arc::clone(&self.server.queue));
        let mut tasks = JoinSet::new();
        self.accept(&mut tasks).await;
        self.accept_backlog(&mut tasks).await;
        let Acceptor { listener, server, mut phase, .. } = self;
        let name = Arc::clone(listener.name());
        drop(listener);
        loop {
            tokio::select! {
                ended = tasks.join_next() => if ended.is_none() { break },
                () = reaches(&mut phase, Phase::is_over) => tasks.shutdown().await,
            }
        }
        let undrained = server.undrained.load(Ordering::Relaxed);
        if undrained > 0 {
            let limit = server.limits.drain_max;
            warn!(
                listener = &*name,
                undrained,
                "connections were closed {limit:?} after the stop, though more may have been to \
                 read; let peers stop sending first"
            );
        }
    }

    async fn accept(&mut self, tasks: &mut JoinSet<()>) {
        let mut failed = Occasional::default();
        loop {
            tokio::select! {
                biased;
                () = reaches(&mut self.phase, Phase::is_stop) => return,
                // A panic was reported already.
                Some(_) = tasks.join_next() => {}
                accepted = self.listener.accept() => match accepted {
                    Ok((socket, input)) => self.start(socket, input, tasks),
                    Err(error) if is_of_the_peer(&error) => {}
                    Err(error) => {
                        if failed.is_due(Instant::now().into_std()) {
                            let listener = &**self.listener.name();
                            warn!(
                                listener,
                                "cannot accept connections, tried again each second: {error}; \
                                 raise the limit of open files (LimitNOFILE= of the service) if \
                                 it is reached"
                            );
                        }
                        tokio::select! {
                            () = sleep(ACCEPT_PAUSE) => {}
                            () = reaches(&mut self.phase, Phase::is_stop) => return,
                        }
                    }
                }
            }
        }
    }

    /// Those that were in the backlog when the stop was asked: it holds no more than [`BACKLOG`].
    async fn accept_backlog(&mut self, tasks: &mut JoinSet<()>) {
        for _ in 0..BACKLOG {
            if self.phase.borrow().is_over() {
                return;
            }
            match self.listener.accept_now() {
                Ok((socket, input)) => self.start(socket, input, tasks),
                Err(error) if is_of_the_peer(&error) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // Too many files are open: each connection that ends makes room for one more.
                Err(error) => tokio::select! {
                    ended = tasks.join_next() => if ended.is_none() {
                        let listener = &**self.listener.name();
                        warn!(listener, "connections that waited at the stop are lost: {error}");
                        return;
                    },
                    () = reaches(&mut self.phase, Phase::is_over) => return,
                },
            }
        }
    }

    /// Serves a peer, if there is a place for it.
    fn start(&self, socket: Socket, input: Arc<str>, tasks: &mut JoinSet<()>) {
        if let Some(seat) = self.connections.admit(Instant::now().into_std()) {
            let server = Arc::clone(&self.server);
            tasks.spawn(serve(server, socket, input, seat, self.phase.clone()));
        }
    }
}

/// Whether a peer went away before it was accepted, which is no failure.
fn is_of_the_peer(error: &io::Error) -> bool {
    let kinds = [
        io::ErrorKind::Interrupted,
        io::ErrorKind::ConnectionAborted,
        io::ErrorKind::ConnectionReset,
    ];
    kinds.contains(&error.kind())
}

/// Waits for such a phase; the listener that is gone is in all of them.
async fn reaches(phase: &mut watch::Receiver<Phase>, is_reached: fn(&Phase) -> bool) {
    let _ = phase.wait_for(is_reached).await.map(drop);
}

//! Takes connections from one listening socket and starts a session for each.

use std::{io, net::SocketAddr, rc::Rc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::Notify,
};
use tracing::{debug, warn};

use super::{Shared, arrival};

/// How long to wait when the process or the system has no descriptor or memory left.
const PAUSE: Duration = Duration::from_millis(100);

/// A listening socket being served; dropping it does not stop that.
#[derive(Debug)]
pub(crate) struct Acceptor {
    stop: Rc<Notify>,
}

impl Acceptor {
    /// Serves `listener`, whose configured address is `address`. Must be called within the worker's
    /// `LocalSet`.
    pub(crate) fn start(
        shared: &Rc<Shared>,
        address: SocketAddr,
        listener: std::net::TcpListener,
    ) -> io::Result<Self> {
        let listener = TcpListener::from_std(listener)?;
        let stop = Rc::new(Notify::new());
        let acceptor = Self {
            stop: Rc::clone(&stop),
        };
        let shared = Rc::clone(shared);
        tokio::task::spawn_local(async move {
            tokio::select! {
                () = accept_all(&shared, address, &listener) => {}
                () = stop.notified() => drain(&shared, address, listener),
            }
        });
        Ok(acceptor)
    }

    /// Stops once the connections that wait now are taken.
    pub(crate) fn stop(self) {
        self.stop.notify_one();
    }
}

async fn accept_all(shared: &Rc<Shared>, address: SocketAddr, listener: &TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, client)) => start(shared, address, stream, client),
            Err(error) if is_of_one_connection(&error) => debug!(%error, "accept"),
            Err(error) => {
                warn!(%error, %address, "cannot accept connections for now");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Takes what waits in the queue, which would be reset with the socket if it is the last one.
fn drain(shared: &Rc<Shared>, address: SocketAddr, listener: TcpListener) {
    let Ok(listener) = listener.into_std() else {
        return;
    };
    loop {
        match listener.accept() {
            Ok((stream, client)) => {
                let adopted = stream
                    .set_nonblocking(true)
                    .and_then(|()| TcpStream::from_std(stream));
                if let Ok(stream) = adopted {
                    start(shared, address, stream, client);
                }
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(_) => return,
        }
    }
}

fn start(shared: &Rc<Shared>, address: SocketAddr, stream: TcpStream, client: SocketAddr) {
    let (most, most_per_source) = shared.generation.borrow().plan.connections;
    let admission = if most > 0 || most_per_source > 0 {
        let admitted = shared.limits.admit(client.ip(), most, most_per_source);
        if admitted.is_none() {
            shared.count(|totals| totals.over_limit += 1);
            shared.note_offence(Some(client.ip()));
            return;
        }
        admitted
    } else {
        None
    };
    let shared = Rc::clone(shared);
    tokio::task::spawn_local(arrival::serve(shared, stream, client, address, admission));
}

/// Whether an error of accept(2) is about the connection it was to return.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionRefused, ConnectionReset, HostUnreachable, Interrupted,
        NetworkDown, NetworkUnreachable, PermissionDenied, TimedOut,
    };
    [
        ConnectionAborted,
        ConnectionRefused,
        ConnectionReset,
        HostUnreachable,
        Interrupted,
        NetworkDown,
        NetworkUnreachable,
        PermissionDenied,
        TimedOut,
    ]
    .contains(&error.kind())
}

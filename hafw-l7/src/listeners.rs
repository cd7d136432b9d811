//! Listening sockets: one per address and worker (SO_REUSEPORT), bound whether or not this node
//! owns the VIP now (IP_FREEBIND), so that no sysctl is needed.

use std::{
    collections::BTreeMap,
    fmt, io,
    net::{SocketAddr, TcpListener},
    os::fd::OwnedFd,
};

use serde::{Deserialize, Serialize};
use socket2::{Domain, Protocol, Socket, Type};

/// Connections that may wait to be accepted; the kernel caps it at net.core.somaxconn.
const BACKLOG: i32 = 4096;

/// Which of the sockets on an address this is. Socket `index` is served by worker
/// `index % workers`, so that a proxy with fewer workers still serves all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ListenerKey {
    pub address: SocketAddr,
    pub index: u16,
}

impl fmt::Display for ListenerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (socket {})", self.address, self.index)
    }
}

/// Listening sockets by address and index.
pub type Listeners = BTreeMap<ListenerKey, TcpListener>;

/// A socket could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}{hint}")]
pub struct ListenError {
    pub address: SocketAddr,
    hint: &'static str,
    source: io::Error,
}

/// Opens what `wanted` names and `listeners` lacks. Nothing is changed if one cannot be opened.
///
/// # Errors
///
/// [`ListenError`] names the first address that cannot be bound.
pub fn open_missing(
    listeners: &mut Listeners,
    wanted: impl IntoIterator<Item = ListenerKey>,
) -> Result<(), ListenError> {
    let mut opened = Listeners::new();
    for key in wanted {
        if !listeners.contains_key(&key) {
            opened.insert(key, open(key.address)?);
        }
    }
    listeners.append(&mut opened);
    Ok(())
}

/// The sockets that `workers` workers need on `addresses`.
pub fn keys(
    addresses: impl IntoIterator<Item = SocketAddr>,
    workers: usize,
) -> impl Iterator<Item = ListenerKey> {
    let count = u16::try_from(workers).unwrap_or(u16::MAX);
    addresses
        .into_iter()
        .flat_map(move |address| (0..count).map(move |index| ListenerKey { address, index }))
}

/// Opens one listening socket.
///
/// # Errors
///
/// What `socket`, `setsockopt`, `bind` or `listen` refused, with a hint for the usual cases.
pub fn open(address: SocketAddr) -> Result<TcpListener, ListenError> {
    bind(address).map_err(|source| ListenError {
        address,
        hint: hint(&source),
        source,
    })
}

/// Takes sockets that another process opened; `keys` and `fds` go together one by one.
#[must_use]
pub fn adopt(keys: Vec<ListenerKey>, fds: Vec<OwnedFd>) -> Listeners {
    keys.into_iter()
        .zip(fds.into_iter().map(TcpListener::from))
        .collect()
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM.cloexec().nonblocking(),
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    // Accepted connections inherit it: an answer's last part must not wait for an acknowledgement.
    socket.set_tcp_nodelay(true)?;
    match address {
        SocketAddr::V4(_) => socket.set_freebind_v4(true)?,
        SocketAddr::V6(_) => {
            socket.set_only_v6(true)?;
            socket.set_freebind_v6(true)?;
        }
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn hint(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::AddrInUse {
        " (another process listens there without SO_REUSEPORT)"
    } else if error.kind() == io::ErrorKind::PermissionDenied {
        " (ports below 1024 need CAP_NET_BIND_SERVICE)"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_this_host_does_not_have_can_be_bound() {
        let listener = open("198.51.100.3:0".parse().unwrap()).unwrap();

        assert_eq!(
            listener.local_addr().unwrap().ip(),
            "198.51.100.3".parse::<std::net::IpAddr>().unwrap()
        );
    }

    #[test]
    fn accepted_connections_do_not_delay_what_they_send() {
        let listener = open("127.0.0.1:0".parse().unwrap()).unwrap();
        listener.set_nonblocking(false).unwrap();
        let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();

        let (accepted, _) = listener.accept().unwrap();

        assert!(accepted.nodelay().unwrap());
    }

    #[test]
    fn every_worker_gets_a_socket_on_the_same_address() {
        let first = open("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = first.local_addr().unwrap();
        let mut listeners = Listeners::from([(ListenerKey { address, index: 0 }, first)]);

        open_missing(&mut listeners, keys([address], 3)).unwrap();

        assert_eq!(listeners.len(), 3);
    }

    #[test]
    fn a_refused_address_leaves_the_set_as_it_was() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let mut listeners = Listeners::new();

        let error = open_missing(
            &mut listeners,
            keys(["127.0.0.1:0".parse().unwrap(), address], 1),
        )
        .unwrap_err();

        assert_eq!(error.address, address);
        assert!(error.to_string().contains("SO_REUSEPORT"), "{error}");
        assert!(listeners.is_empty());
    }
}

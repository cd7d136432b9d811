//! Adverts to single routers. The kernel finds the route and the MAC, which may change, so they
//! leave by a raw IP socket. It is a sender only. They pass netfilter's OUTPUT rules; one that drops
//! them makes the send fail.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use socket2::{Domain, Protocol, Socket, Type};

/// Sends whole IP datagrams out of one interface.
#[derive(Debug)]
pub struct UnicastSender {
    v4: Socket,
    /// None on a host without IPv6.
    v6: Option<Socket>,
}

impl UnicastSender {
    /// Opens a sender on an interface. Needs CAP_NET_RAW.
    ///
    /// # Errors
    /// No such interface, or no permission.
    pub fn open(ifname: &str) -> io::Result<Self> {
        let open = |domain| {
            // IPPROTO_RAW: with the IP header, and on no receive path (raw(7)); over IPv6 alike.
            let protocol = Protocol::from(libc::IPPROTO_RAW);
            let socket = Socket::new(domain, Type::RAW.nonblocking(), Some(protocol))?;
            socket.bind_device(Some(ifname.as_bytes()))?;
            Ok::<_, io::Error>(socket)
        };
        let v6 = match open(Domain::IPV6) {
            Ok(socket) => Some(socket),
            Err(error) if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => None,
            Err(error) => return Err(error),
        };
        Ok(Self {
            v4: open(Domain::IPV4)?,
            v6,
        })
    }

    /// Sends one datagram. One that waits for the neighbour's MAC counts as sent, and so does one to
    /// a neighbour that does not answer: it is a peer that is not there.
    ///
    /// # Errors
    /// The interface is down or gone, there is no route by it, its queue is full, or a rule of
    /// netfilter dropped the datagram (EPERM).
    pub fn send(&self, peer: IpAddr, datagram: &[u8]) -> io::Result<()> {
        let socket = match peer {
            IpAddr::V4(_) => &self.v4,
            IpAddr::V6(_) => self.v6.as_ref().ok_or(io::ErrorKind::Unsupported)?,
        };
        // The port of a raw socket's address is the protocol, or 0.
        let to = SocketAddr::new(peer, 0);
        match socket.send_to(datagram, &to.into()) {
            Ok(sent) if sent == datagram.len() => Ok(()),
            Ok(_) => Err(io::ErrorKind::WriteZero.into()),
            Err(error) if error.kind() == io::ErrorKind::HostUnreachable => Ok(()),
            Err(error) => Err(error),
        }
    }
}

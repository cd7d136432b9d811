//! Adverts to single routers. The kernel finds the route and the MAC, which may change, so they
//! leave by a raw IP socket. It is a sender only. They pass netfilter's OUTPUT rules; one that drops
//! them makes the send fail.

use std::{
    io,
    net::{Ipv4Addr, SocketAddrV4},
};

use socket2::{Domain, Protocol, Socket, Type};

/// Sends whole IPv4 datagrams out of one interface.
#[derive(Debug)]
pub struct UnicastSender {
    socket: Socket,
}

impl UnicastSender {
    /// Opens a sender on an interface. Needs CAP_NET_RAW.
    ///
    /// # Errors
    /// No such interface, or no permission.
    pub fn open(ifname: &str) -> io::Result<Self> {
        // IPPROTO_RAW: with the IP header, and on no receive path (raw(7)).
        let protocol = Protocol::from(libc::IPPROTO_RAW);
        let socket = Socket::new(Domain::IPV4, Type::RAW.nonblocking(), Some(protocol))?;
        socket.bind_device(Some(ifname.as_bytes()))?;
        Ok(Self { socket })
    }

    /// Sends one datagram. One that waits for the neighbour's MAC counts as sent, and so does one to
    /// a neighbour that does not answer: it is a peer that is not there.
    ///
    /// # Errors
    /// The interface is down or gone, there is no route by it, its queue is full, or a rule of
    /// netfilter dropped the datagram (EPERM).
    pub fn send(&self, peer: Ipv4Addr, datagram: &[u8]) -> io::Result<()> {
        // The port of a raw socket's address is the protocol, or 0.
        let to = SocketAddrV4::new(peer, 0);
        match self.socket.send_to(datagram, &to.into()) {
            Ok(sent) if sent == datagram.len() => Ok(()),
            Ok(_) => Err(io::ErrorKind::WriteZero.into()),
            Err(error) if error.kind() == io::ErrorKind::HostUnreachable => Ok(()),
            Err(error) => Err(error),
        }
    }
}

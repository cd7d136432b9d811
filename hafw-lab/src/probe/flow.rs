//! One flow to an echo that a test holds in its hand: it chooses the port, and asks when it wants to.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream, UdpSocket},
    time::Duration,
};

use socket2::{Domain, Protocol, Socket, Type};

use super::tcp;
use crate::{Host, LabError, Station};

/// An answer that takes longer is none.
const DEADLINE: Duration = Duration::from_secs(5);

/// A flow of a host, over TCP a connection that stays open.
#[derive(Debug)]
pub struct Flow {
    from: SocketAddrV4,
    asked: u64,
    socket: Transport,
}

#[derive(Debug)]
enum Transport {
    Tcp(TcpStream),
    Udp(UdpSocket),
}

impl Flow {
    /// Connects from a port of the host.
    ///
    /// # Errors
    /// The port is taken, or nobody accepts.
    pub fn tcp(host: &Host, port: u16, to: SocketAddrV4) -> Result<Self, LabError> {
        Self::open(host, port, to, Protocol::TCP)
    }

    /// Takes a port of the host for datagrams to `to`; none is sent yet.
    ///
    /// # Errors
    /// The port is taken.
    pub fn udp(host: &Host, port: u16, to: SocketAddrV4) -> Result<Self, LabError> {
        Self::open(host, port, to, Protocol::UDP)
    }

    fn open(
        host: &Host,
        port: u16,
        to: SocketAddrV4,
        protocol: Protocol,
    ) -> Result<Self, LabError> {
        let from = SocketAddrV4::new(host.station().address(), port);
        // A socket stays in the namespace in which it was opened, whoever uses it.
        let socket = host
            .namespace()
            .run(|| connect(port, to, protocol))
            .and_then(|result| result);
        let socket = socket.map_err(LabError::io(format!("open a flow from {from} to {to}")))?;
        Ok(Self {
            from,
            asked: 0,
            socket,
        })
    }

    /// The client's end.
    #[must_use]
    pub const fn from(&self) -> SocketAddrV4 {
        self.from
    }

    /// `tcp` or `udp`.
    #[must_use]
    pub const fn protocol(&self) -> &'static str {
        match self.socket {
            Transport::Tcp(_) => "tcp",
            Transport::Udp(_) => "udp",
        }
    }

    /// Sends a message and returns who answered it.
    ///
    /// # Errors
    /// Nobody did in time, or the connection broke.
    pub fn ask(&mut self) -> Result<Station, LabError> {
        self.asked += 1;
        let answer = match &mut self.socket {
            Transport::Tcp(stream) => tcp::exchange(stream, self.asked),
            Transport::Udp(socket) => exchange(socket, self.asked),
        };
        let nobody = || io::Error::other("the answer names nobody");
        let station = answer.and_then(|station| station.ok_or_else(nobody));
        station.map_err(LabError::io(format!(
            "ask over the flow from {}",
            self.from
        )))
    }
}

fn connect(port: u16, to: SocketAddrV4, protocol: Protocol) -> io::Result<Transport> {
    let kind = if protocol == Protocol::TCP {
        Type::STREAM
    } else {
        Type::DGRAM
    };
    let socket = Socket::new(Domain::IPV4, kind, Some(protocol))?;
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)).into())?;
    socket.set_read_timeout(Some(DEADLINE))?;
    socket.connect_timeout(&SocketAddr::from(to).into(), DEADLINE)?;
    Ok(if protocol == Protocol::TCP {
        Transport::Tcp(socket.into())
    } else {
        Transport::Udp(socket.into())
    })
}

fn exchange(socket: &UdpSocket, number: u64) -> io::Result<Option<Station>> {
    let sent = number.to_be_bytes();
    socket.send(&sent)?;
    let mut buffer = [0; 64];
    loop {
        let length = socket.recv(&mut buffer)?;
        // A late answer to an earlier message is passed over.
        if let Some(tag) = buffer[..length].strip_prefix(&sent) {
            return Ok(tag.first().copied().and_then(Station::from_number));
        }
    }
}

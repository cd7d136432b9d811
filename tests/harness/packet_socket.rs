//! Whole frames in and out of an interface.

use std::{
    io::{self, ErrorKind, Read as _, Write as _},
    time::{Duration, Instant},
};

use nix::net::if_::if_nametoindex;
use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, Socket, Type};

/// A packet socket on one interface.
#[derive(Debug)]
pub struct PacketSocket {
    socket: Socket,
}

/// How long a frame may take within one machine.
const PATIENCE: Duration = Duration::from_secs(3);

impl PacketSocket {
    /// Opens one on an interface of this thread's namespace.
    ///
    /// # Panics
    /// There is no such interface, or no CAP_NET_RAW.
    #[must_use]
    pub fn open(interface: &str) -> Self {
        let every_protocol = libc::ETH_P_ALL.to_be() >> 16;
        let socket = Socket::new(
            Domain::PACKET,
            Type::RAW,
            Some(Protocol::from(every_protocol)),
        )
        .expect("a packet socket");
        let index = if_nametoindex(interface).expect("the interface is there");
        let mut storage = SockAddrStorage::zeroed();
        // SAFETY: a sockaddr_ll fits the storage, and any bits make one.
        let address = unsafe { storage.view_as::<libc::sockaddr_ll>() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = every_protocol as u16;
        address.sll_ifindex = index as i32;
        let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
        // SAFETY: the storage holds an address of this length.
        let address = unsafe { SockAddr::new(storage, length) };
        socket.bind(&address).expect("bind to the interface");
        socket
            .set_read_timeout(Some(Duration::from_millis(100)))
            .expect("a timeout");
        Self { socket }
    }

    /// Sends a frame.
    ///
    /// # Errors
    /// The interface refuses it; `ENOBUFS` where an egress program dropped it.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        (&self.socket).write_all(frame)
    }

    /// Whether this frame arrives. What else arrives is passed over.
    #[must_use]
    pub fn receives(&self, expected: &[u8]) -> bool {
        self.first_of(&[expected.to_vec()]).is_some()
    }

    /// Which of these frames arrives first, if one does. What else arrives is passed over.
    ///
    /// # Panics
    /// The socket fails.
    #[must_use]
    pub fn first_of(&self, expected: &[Vec<u8>]) -> Option<usize> {
        let end = Instant::now() + PATIENCE;
        let mut buffer = vec![0; 16_384];
        while Instant::now() < end {
            match (&self.socket).read(&mut buffer) {
                Ok(length) => {
                    let found = expected
                        .iter()
                        .position(|frame| buffer[..length] == **frame);
                    if found.is_some() {
                        return found;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => (),
                Err(error) => panic!("receive a frame: {error}"),
            }
        }
        None
    }
}

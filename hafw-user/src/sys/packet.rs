//! AF_PACKET sending: adverts and gratuitous ARP leave here, past the OUTPUT rules of netfilter.

use std::io;

use socket2::{Domain, SockAddr, Socket, Type};

/// Sends whole Ethernet frames out of one interface. Receives nothing.
#[derive(Debug)]
pub struct FrameSender {
    socket: Socket,
}

impl FrameSender {
    /// Opens a sender on the interface with this kernel index. Needs CAP_NET_RAW.
    ///
    /// # Errors
    /// No such interface, or no permission.
    pub fn open(ifindex: u32) -> io::Result<Self> {
        // Protocol 0: the socket is on no receive path.
        let socket = Socket::new(Domain::PACKET, Type::RAW.nonblocking(), None)?;
        socket.bind(&link_address(ifindex)?)?;
        Ok(Self { socket })
    }

    /// Sends one frame.
    ///
    /// # Errors
    /// The interface is down or gone, its queue is full, or an egress rule of netfilter's netdev
    /// family dropped the frame (EPERM). A success is no proof that it reached the wire.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        let sent = self.socket.send(frame)?;
        if sent == frame.len() {
            Ok(())
        } else {
            Err(io::ErrorKind::WriteZero.into())
        }
    }

    /// The error the kernel left on the socket, such as ENETDOWN after the link went away; a send
    /// that follows would only report this old news.
    pub fn clear_error(&self) {
        let _ = self.socket.take_error();
    }
}

fn link_address(ifindex: u32) -> io::Result<SockAddr> {
    let index = i32::try_from(ifindex).map_err(|_| io::ErrorKind::InvalidInput)?;
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as libc::sa_family_t,
        sll_protocol: 0,
        sll_ifindex: index,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    // SAFETY: the closure writes one whole sockaddr_ll, which fits sockaddr_storage, and sets its
    // length.
    let ((), address) = unsafe {
        SockAddr::try_init(|storage, length| {
            storage.cast::<libc::sockaddr_ll>().write(address);
            *length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
            Ok(())
        })?
    };
    Ok(address)
}

//! AF_PACKET sending: adverts and gratuitous ARP leave here, past the OUTPUT rules of netfilter.
//! And a socket for asking by ARP, past netfilter too.

use std::{
    io::{self, Read as _},
    os::fd::{AsRawFd, RawFd},
};

use socket2::{Domain, SockAddr, Socket, Type};

/// Sends whole Ethernet frames out of one interface. Receives nothing.
#[derive(Debug)]
pub struct FrameSender {
    socket: Socket,
    ifindex: u32,
}

impl FrameSender {
    /// Opens a sender on the interface with this kernel index. Needs CAP_NET_RAW.
    ///
    /// # Errors
    /// No such interface, or no permission.
    pub fn open(ifindex: u32) -> io::Result<Self> {
        // Protocol 0: the socket is on no receive path.
        let socket = Socket::new(Domain::PACKET, Type::RAW.nonblocking(), None)?;
        socket.bind(&link_address(ifindex, 0)?)?;
        Ok(Self { socket, ifindex })
    }

    /// Lets the interface's filter pass frames to a further unicast MAC, for as long as this socket
    /// lives.
    ///
    /// # Errors
    /// The interface is gone.
    pub fn take(&self, mac: [u8; 6]) -> io::Result<()> {
        let mut address = [0; 8];
        address[..6].copy_from_slice(&mac);
        let request = libc::packet_mreq {
            mr_ifindex: i32::try_from(self.ifindex).map_err(|_| io::ErrorKind::InvalidInput)?,
            mr_type: libc::PACKET_MR_UNICAST as libc::c_ushort,
            mr_alen: 6,
            mr_address: address,
        };
        // SAFETY: the option's value is a whole packet_mreq, whose size is given.
        let done = unsafe {
            libc::setsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_ADD_MEMBERSHIP,
                (&raw const request).cast(),
                size_of::<libc::packet_mreq>() as libc::socklen_t,
            )
        };
        if done == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
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

/// Sends frames out of one interface, and receives the ARP packets that arrive there.
#[derive(Debug)]
pub struct ArpSocket {
    socket: Socket,
}

impl ArpSocket {
    /// Opens it on the interface with this kernel index. Needs CAP_NET_RAW.
    ///
    /// # Errors
    /// No such interface, or no permission.
    pub fn open(ifindex: u32) -> io::Result<Self> {
        // Nothing is received before it is bound to the interface.
        let socket = Socket::new(Domain::PACKET, Type::RAW.nonblocking(), None)?;
        // ETH_P_ARP, include/uapi/linux/if_ether.h.
        socket.bind(&link_address(ifindex, libc::ETH_P_ARP as u16)?)?;
        Ok(Self { socket })
    }

    /// Sends one frame.
    ///
    /// # Errors
    /// The interface is down or gone, or its queue is full.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        self.socket.send(frame).map(drop)
    }

    /// The interface's MAC, as it is now.
    ///
    /// # Errors
    /// The interface is gone, or has none of six bytes.
    pub fn mac(&self) -> io::Result<[u8; 6]> {
        let address = self.socket.local_addr()?;
        // SAFETY: the kernel wrote the name of an AF_PACKET socket, a sockaddr_ll, into the storage,
        // which is larger and aligned for any address.
        let address = unsafe { &*address.as_ptr().cast::<libc::sockaddr_ll>() };
        if address.sll_halen != 6 {
            return Err(io::Error::from_raw_os_error(libc::ENODEV));
        }
        let [a, b, c, d, e, f, ..] = address.sll_addr;
        Ok([a, b, c, d, e, f])
    }

    /// Takes one frame and returns its length; a longer one than the buffer is cut.
    ///
    /// # Errors
    /// There is none (`WouldBlock`), or the interface is down or gone.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        (&self.socket).read(buffer)
    }
}

impl AsRawFd for ArpSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// `protocol`: which frames are received; 0: none.
fn link_address(ifindex: u32, protocol: u16) -> io::Result<SockAddr> {
    let index = i32::try_from(ifindex).map_err(|_| io::ErrorKind::InvalidInput)?;
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as libc::sa_family_t,
        sll_protocol: protocol.to_be(),
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

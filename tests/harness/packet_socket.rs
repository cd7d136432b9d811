//! Whole frames in and out of an interface.

use std::{
    io::{self, ErrorKind, Read as _, Write as _},
    num::NonZero,
    os::fd::AsRawFd as _,
    ptr::NonNull,
    time::{Duration, Instant},
};

use nix::{
    net::if_::if_nametoindex,
    sys::mman::{MapFlags, ProtFlags, mmap, munmap},
};
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

    /// Sends a frame through a transmit ring (`packet_mmap`), whose frames reach the egress path
    /// with all but their Ethernet header in fragments.
    ///
    /// # Errors
    /// As [`Self::send`].
    ///
    /// # Panics
    /// There is no ring, or the frame does not fit it.
    pub fn send_in_fragments(&self, frame: &[u8]) -> io::Result<()> {
        const PAGE: usize = 4096;
        // TPACKET2_HDRLEN less the address at its end: where a frame's bytes start.
        const DATA: usize = 32;
        const STATUS_SEND_REQUEST: u32 = 1;
        let ring = libc::tpacket_req {
            tp_block_size: PAGE as u32,
            tp_block_nr: 1,
            tp_frame_size: PAGE as u32,
            tp_frame_nr: 1,
        };
        self.set_packet_option(
            libc::PACKET_VERSION,
            &(libc::tpacket_versions::TPACKET_V2 as i32),
        );
        self.set_packet_option(libc::PACKET_TX_RING, &ring);
        let length = NonZero::new(PAGE).expect("a page has bytes");
        let flags = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice.
        let ring = unsafe { mmap(None, length, flags, MapFlags::MAP_SHARED, &self.socket, 0) }
            .expect("map the ring");
        assert!(frame.len() <= PAGE - DATA);
        // SAFETY: the mapping is a page; the header and the frame lie in it, and the kernel does
        // not touch them before the status says so.
        unsafe {
            let header = ring.cast::<libc::tpacket2_hdr>();
            ring.cast::<u8>()
                .add(DATA)
                .copy_from_nonoverlapping(NonNull::from(frame).cast(), frame.len());
            (*header.as_ptr()).tp_len = frame.len() as u32;
            (*header.as_ptr()).tp_status = STATUS_SEND_REQUEST;
        }
        let sent = (&self.socket).write(&[]).map(drop);
        // SAFETY: the mapping made above; nothing refers to it any more.
        unsafe { munmap(ring, PAGE) }.expect("unmap the ring");
        sent
    }

    fn set_packet_option<T>(&self, option: i32, value: &T) {
        let length = size_of::<T>() as libc::socklen_t;
        let value = std::ptr::from_ref(value).cast();
        // SAFETY: `value` is valid for `length` bytes.
        let result = unsafe {
            libc::setsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_PACKET,
                option,
                value,
                length,
            )
        };
        assert_eq!(
            result,
            0,
            "packet option {option}: {}",
            io::Error::last_os_error()
        );
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

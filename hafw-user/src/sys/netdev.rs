//! What the kernel says of an interface: how much it has received, and its MTU.

use std::{collections::BTreeMap, fs, io, net::UdpSocket, os::fd::AsRawFd as _};

/// The largest IP datagram that an interface takes, in bytes.
///
/// # Errors
/// There is no such interface.
pub fn mtu(interface: &str) -> io::Result<u32> {
    let bytes = interface.as_bytes();
    if bytes.len() >= libc::IFNAMSIZ {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // Any socket of the network namespace will do.
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    // SAFETY: an ifreq is numbers and pointers, for which zero is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (place, byte) in request.ifr_name.iter_mut().zip(bytes) {
        *place = libc::c_char::from_ne_bytes([*byte]);
    }
    // SAFETY: the request's argument is a whole ifreq with a terminated name, which the kernel reads
    // and writes.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFMTU, &raw mut request) };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: SIOCGIFMTU fills in this member.
    let mtu = unsafe { request.ifr_ifru.ifru_mtu };
    u32::try_from(mtu).map_err(io::Error::other)
}

/// Frames that each interface of this network namespace has received, those that XDP took included.
/// Empty if the kernel does not say.
#[must_use]
pub fn received() -> BTreeMap<String, u64> {
    fs::read_to_string("/proc/thread-self/net/dev").map_or_else(|_| BTreeMap::new(), |t| parse(&t))
}

/// `name: bytes frames …`, behind two lines of headings.
fn parse(text: &str) -> BTreeMap<String, u64> {
    let line = |line: &str| {
        let (name, counts) = line.split_once(':')?;
        let frames = counts.split_whitespace().nth(1)?;
        Some((name.trim().to_owned(), frames.parse().ok()?))
    };
    text.lines().skip(2).filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_table_is_read() {
        let text = "Inter-|   Receive                 |  Transmit\n \
                    face |bytes    packets errs drop |bytes\n    \
                    lo:     120       2    0    0        120\n  \
                    eth0:99 7 0 0 1\n";
        let expected = [("eth0".to_owned(), 7), ("lo".to_owned(), 2)];
        assert_eq!(parse(text), BTreeMap::from(expected));
        assert_eq!(parse("odd\nlines\nx: y z\n: 1"), BTreeMap::new());
        assert!(received().contains_key("lo"));
    }

    #[test]
    fn an_interface_has_an_mtu_and_none_has_none() {
        assert!(mtu("lo").unwrap() >= 1280);
        assert!(mtu("no-such-if").is_err());
        assert!(mtu("a-name-of-more-than-15-bytes").is_err());
    }
}

//! The PROXY protocol of haproxy, versions 1 and 2
//! (<https://www.haproxy.org/download/2.6/doc/proxy-protocol.txt>): who the client is, said by a
//! proxy in front at the start of a connection.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde::{Deserialize, Serialize};

/// The version to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Version {
    V1,
    V2,
}

/// The ends of the connection that a header speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    pub client: SocketAddr,
    pub local: SocketAddr,
}

/// What stands at the start of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// More bytes are needed: this many of them at least.
    Incomplete(usize),
    /// A header of this many bytes. `None`: the connection speaks for itself (LOCAL, UNKNOWN, or
    /// addresses that are none of IP).
    Complete(usize, Option<Ends>),
}

/// What is no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no PROXY header")]
pub struct NoHeader;

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The longest header of version 1, its line end included.
const MAX_LINE: usize = 107;
/// The most bytes after the fixed part of version 2 that are taken.
const MAX_REST: usize = 4096;
const FIXED: usize = 16;
/// The length of "PROXY UNKNOWN" with its line end, the shortest header of all.
const SHORTEST: usize = 15;

/// Reads the header at the start of `bytes`.
///
/// # Errors
///
/// [`NoHeader`]
pub fn parse(bytes: &[u8]) -> Result<Header, NoHeader> {
    let begins = |with: &[u8]| {
        let len = bytes.len().min(with.len());
        bytes.get(..len) == with.get(..len)
    };
    if bytes.is_empty() {
        return Ok(Header::Incomplete(SHORTEST));
    }
    if begins(SIGNATURE) {
        return parse_v2(bytes);
    }
    if begins(b"PROXY ") {
        return parse_v1(bytes);
    }
    Err(NoHeader)
}

/// Appends a header.
pub fn append(version: Version, ends: Ends, out: &mut Vec<u8>) {
    let Ends { client, local } = ends;
    let (from, to) = (client.ip().to_canonical(), local.ip().to_canonical());
    match version {
        Version::V1 => {
            let ports = format!("{} {}", client.port(), local.port());
            let line = match (from, to) {
                (IpAddr::V4(from), IpAddr::V4(to)) => format!("PROXY TCP4 {from} {to} {ports}\r\n"),
                _ => format!("PROXY TCP6 {} {} {ports}\r\n", v6(from), v6(to)),
            };
            out.extend_from_slice(line.as_bytes());
        }
        Version::V2 => {
            out.extend_from_slice(SIGNATURE);
            // Version 2, PROXY; then family and STREAM.
            out.push(0x21);
            if let (IpAddr::V4(from), IpAddr::V4(to)) = (from, to) {
                out.extend_from_slice(&[0x11, 0, 12]);
                out.extend_from_slice(&from.octets());
                out.extend_from_slice(&to.octets());
            } else {
                out.extend_from_slice(&[0x21, 0, 36]);
                out.extend_from_slice(&v6(from).octets());
                out.extend_from_slice(&v6(to).octets());
            }
            out.extend_from_slice(&client.port().to_be_bytes());
            out.extend_from_slice(&local.port().to_be_bytes());
        }
    }
}

fn parse_v1(bytes: &[u8]) -> Result<Header, NoHeader> {
    let Some(end) = memchr::memchr(b'\n', bytes.get(..MAX_LINE).unwrap_or(bytes)) else {
        return match bytes.len() {
            0..SHORTEST => Ok(Header::Incomplete(SHORTEST - bytes.len())),
            SHORTEST..MAX_LINE => Ok(Header::Incomplete(1)),
            _ => Err(NoHeader),
        };
    };
    let line = bytes.get(..end).and_then(|line| line.strip_suffix(b"\r"));
    let line = std::str::from_utf8(line.ok_or(NoHeader)?).map_err(|_| NoHeader)?;
    let mut words = line.split(' ').skip(1);
    let mut next = || words.next().ok_or(NoHeader);
    let family = next()?;
    if family == "UNKNOWN" {
        return Ok(Header::Complete(end + 1, None));
    }
    let mut address = || -> Result<IpAddr, NoHeader> {
        let address = next()?.parse().map_err(|_| NoHeader)?;
        let fits = match (family, address) {
            ("TCP4", IpAddr::V4(_)) | ("TCP6", IpAddr::V6(_)) => true,
            (_, IpAddr::V4(_) | IpAddr::V6(_)) => false,
        };
        fits.then_some(address).ok_or(NoHeader)
    };
    let (from, to) = (address()?, address()?);
    let mut port = || -> Result<u16, NoHeader> { next()?.parse().map_err(|_| NoHeader) };
    let ends = Ends {
        client: SocketAddr::new(from, port()?),
        local: SocketAddr::new(to, port()?),
    };
    match words.next() {
        None => Ok(Header::Complete(end + 1, Some(ends))),
        Some(_) => Err(NoHeader),
    }
}

fn parse_v2(bytes: &[u8]) -> Result<Header, NoHeader> {
    let Some(fixed) = bytes.first_chunk::<FIXED>() else {
        return Ok(Header::Incomplete(FIXED - bytes.len()));
    };
    let [.., command, family, high, low] = *fixed;
    let rest = usize::from(u16::from_be_bytes([high, low]));
    if !matches!(command, 0x20 | 0x21) || rest > MAX_REST {
        return Err(NoHeader);
    }
    let len = FIXED + rest;
    let Some(addresses) = bytes.get(FIXED..len) else {
        return Ok(Header::Incomplete(len - bytes.len()));
    };
    if command == 0x20 {
        return Ok(Header::Complete(len, None));
    }
    let ends = match family {
        0x11 => ends::<4>(addresses, |octets| Ipv4Addr::from(octets).into()),
        0x21 => ends::<16>(addresses, |octets| Ipv6Addr::from(octets).into()),
        // UDP, unix sockets and what is not told: the header is skipped, as haproxy does.
        _ => return Ok(Header::Complete(len, None)),
    };
    Ok(Header::Complete(len, Some(ends.ok_or(NoHeader)?)))
}

/// Two addresses, then two ports; what follows (TLVs) is of no use here.
fn ends<const N: usize>(bytes: &[u8], address: impl Fn([u8; N]) -> IpAddr) -> Option<Ends> {
    let (from, rest) = bytes.split_first_chunk::<N>()?;
    let (to, rest) = rest.split_first_chunk::<N>()?;
    let (from_port, rest) = rest.split_first_chunk()?;
    let to_port = rest.first_chunk()?;
    Some(Ends {
        client: SocketAddr::new(address(*from), u16::from_be_bytes(*from_port)),
        local: SocketAddr::new(address(*to), u16::from_be_bytes(*to_port)),
    })
}

fn v6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(client: &str, local: &str) -> Ends {
        Ends {
            client: client.parse().unwrap(),
            local: local.parse().unwrap(),
        }
    }

    #[test]
    fn what_is_written_is_read_byte_by_byte() {
        let v4 = ends("192.0.2.1:5000", "10.0.0.3:443");
        let v6 = ends("[2001:db8::1]:5000", "[2001:db8::3]:443");
        for (version, ends) in [
            (Version::V1, v4),
            (Version::V1, v6),
            (Version::V2, v4),
            (Version::V2, v6),
        ] {
            let mut bytes = Vec::new();
            append(version, ends, &mut bytes);
            let whole = bytes.len();
            bytes.extend_from_slice(b"GET / ");

            assert_eq!(parse(&bytes), Ok(Header::Complete(whole, Some(ends))));
            for len in 0..whole {
                let Ok(Header::Incomplete(more)) = parse(&bytes[..len]) else {
                    panic!("{len} of {whole} bytes are no header");
                };
                assert!(
                    more > 0 && len + more <= whole,
                    "{len} and {more} of {whole}"
                );
            }
        }
    }

    #[test]
    fn the_versions_are_written_as_haproxy_does() {
        let mut bytes = Vec::new();
        append(
            Version::V1,
            ends("192.0.2.1:5000", "10.0.0.3:80"),
            &mut bytes,
        );
        assert_eq!(bytes, b"PROXY TCP4 192.0.2.1 10.0.0.3 5000 80\r\n");
        bytes.clear();
        append(
            Version::V2,
            ends("192.0.2.1:5000", "10.0.0.3:80"),
            &mut bytes,
        );
        assert_eq!(&bytes[..12], SIGNATURE);
        assert_eq!(bytes[12..16], [0x21, 0x11, 0, 12]);
        assert_eq!(bytes[24..], [0x13, 0x88, 0, 80]);
    }

    #[test]
    fn a_connection_may_speak_for_itself() {
        assert_eq!(parse(b"PROXY UNKNOWN\r\n"), Ok(Header::Complete(15, None)));
        let local = [&SIGNATURE[..], &[0x20, 0, 0, 0]].concat();
        assert_eq!(parse(&local), Ok(Header::Complete(16, None)));
        let unix = [&SIGNATURE[..], &[0x21, 0x31, 0, 2, 1, 2]].concat();
        assert_eq!(parse(&unix), Ok(Header::Complete(18, None)));
    }

    #[test]
    fn anything_else_is_no_header() {
        let long = [b"PROXY TCP4 ".as_slice(), &[b'1'; 100]].concat();
        let short = [&SIGNATURE[..], &[0x21, 0x11, 0, 4, 1, 2, 3, 4]].concat();
        let version = [&SIGNATURE[..], &[0x31, 0x11, 0, 0]].concat();
        for bad in [
            b"GET / HTTP/1.1\r\n".as_slice(),
            b"PROXY TCP4 2001:db8::1 10.0.0.3 1 2\r\n",
            b"PROXY TCP4 10.0.0.1 10.0.0.3 1 65536\r\n",
            b"PROXY TCP4 10.0.0.1 10.0.0.3 1 2 3\r\n",
            b"PROXY TCP4 10.0.0.1 10.0.0.3 1 2\n",
            &long,
            &short,
            &version,
        ] {
            assert_eq!(parse(bad), Err(NoHeader), "{bad:?}");
        }
    }
}

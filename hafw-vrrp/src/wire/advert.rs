//! The advertisement.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hafw_common::{
    counters::Counter,
    proto::{IP_VRRP, VRRP_AUTH_NONE, VRRP_AUTH_PASS, VRRP_HEADER_LEN, VRRP_V2_AUTH_LEN},
};
use thiserror::Error;

use super::checksum::Sum;
use crate::{Auth, ChecksumForm, Interval, Priority, Version, Vrid};

/// One advertisement.
///
/// ```text
///  version 2 (RFC 3768 §5.1)               version 3 (RFC 9568 §5.1)
///  0       8       16      24              0       8       16      24
/// +-------+-------+-------+-------+       +-------+-------+-------+-------+
/// |2 |type| VRID  |  prio | count |       |3 |type| VRID  |  prio | count |
/// +-------+-------+-------+-------+       +-------+-------+-------+-------+
/// |auth ty|adver s|   checksum    |       |0 |max adver cs| checksum      |
/// +-------+-------+-------+-------+       +-------+-------+-------+-------+
/// |      IPv4 addresses ...       |       |   IPv4 or IPv6 addresses ...  |
/// +-------+-------+-------+-------+       +-------+-------+-------+-------+
/// |  authentication data, 8 bytes |
/// +-------+-------+-------+-------+
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advertisement {
    /// Version.
    pub version: Version,
    /// Virtual router id.
    pub vrid: Vrid,
    /// Priority.
    pub priority: Priority,
    /// Adver_Int or Max Advertise Interval.
    pub interval: Interval,
    /// Version 2's authentication; version 3 has none.
    pub auth: Auth,
    /// Virtual addresses, of one family.
    pub addresses: Vec<IpAddr>,
}

/// Why a message is no advertisement. One for each check of RFC 9568 §7.1 and RFC 3768 §7.1 that
/// needs no configuration; [`crate::Refusal`] has the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ParseError {
    /// Not 2 or 3.
    #[error("version {0} is neither 2 nor 3")]
    Version(u8),
    /// Not 1.
    #[error("type {0} is not 1 (ADVERTISEMENT)")]
    Type(u8),
    /// VRID 0.
    #[error("the VRID is 0")]
    Vrid,
    /// Cut.
    #[error("{actual} bytes, where the header asks for {wanted}")]
    Length {
        /// Bytes there are.
        actual: usize,
        /// Bytes the header and its count ask for.
        wanted: usize,
    },
    /// Wrong in every form that is accepted.
    #[error("the checksum is wrong")]
    Checksum,
    /// Neither none nor PASS.
    #[error("authentication type {0} is neither 0 (none) nor 1 (PASS)")]
    AuthType(u8),
    /// 0.
    #[error("the interval is 0")]
    Interval,
    /// No address.
    #[error("there is no address")]
    NoAddress,
    /// The addresses of the datagram are of two families, or version 2 came over IPv6.
    #[error("version and address family do not fit")]
    Family,
}

impl ParseError {
    /// XDP's counter for the same check.
    #[must_use]
    pub const fn counter(self) -> Counter {
        match self {
            Self::Version(_) | Self::Family => Counter::AdvertBadVersion,
            Self::Type(_) => Counter::AdvertBadType,
            Self::Vrid => Counter::AdvertForeignVrid,
            Self::Length { .. } => Counter::AdvertBadLength,
            Self::Checksum => Counter::AdvertBadChecksum,
            Self::AuthType(_) => Counter::AdvertBadAuth,
            Self::Interval => Counter::AdvertBadInterval,
            Self::NoAddress => Counter::AdvertNoAddress,
        }
    }
}

mod field {
    use std::ops::Range;

    pub(super) const VERSION_TYPE: usize = 0;
    pub(super) const VRID: usize = 1;
    pub(super) const PRIORITY: usize = 2;
    pub(super) const COUNT: usize = 3;
    pub(super) const AUTH_TYPE: usize = 4;
    pub(super) const RESERVED_AND_HIGH: usize = 4;
    pub(super) const ADVER_INT: usize = 5;
    pub(super) const MAX_ADVER_INT: Range<usize> = 4..6;
    pub(super) const CHECKSUM: Range<usize> = 6..8;
    pub(super) const ADDRESSES: usize = super::VRRP_HEADER_LEN;
}

const ADVERTISEMENT: u8 = 1;
/// What the count can say.
const MOST_ADDRESSES: usize = 255;

impl Advertisement {
    /// Parses the payload of an IP datagram between these addresses. Its length is what the IP
    /// header says, not what the frame holds: Ethernet pads. Bytes beyond what the message's own
    /// header asks for are ignored: RFC 9568 §7.1 wants the packet complete, not exact.
    ///
    /// The checks are made in this order: version, type, VRID, family, length, checksum,
    /// authentication type, interval, count. XDP makes the same checks; which one of several a
    /// message fails on may differ.
    ///
    /// # Errors
    /// See [`ParseError`].
    pub fn parse(message: &[u8], source: IpAddr, destination: IpAddr) -> Result<Self, ParseError> {
        let header: &[u8; field::ADDRESSES] = message.first_chunk().ok_or(ParseError::Length {
            actual: message.len(),
            wanted: field::ADDRESSES,
        })?;
        let version = match header[field::VERSION_TYPE] >> 4 {
            2 => Version::V2,
            3 => Version::V3,
            other => return Err(ParseError::Version(other)),
        };
        if header[field::VERSION_TYPE] & 0xf != ADVERTISEMENT {
            return Err(ParseError::Type(header[field::VERSION_TYPE] & 0xf));
        }
        let vrid = Vrid::new(header[field::VRID]).ok_or(ParseError::Vrid)?;
        let address_length = match (version, source, destination) {
            (_, IpAddr::V4(_), IpAddr::V4(_)) => 4,
            (Version::V3, IpAddr::V6(_), IpAddr::V6(_)) => 16,
            _ => return Err(ParseError::Family),
        };
        let auth_data = field::ADDRESSES + usize::from(header[field::COUNT]) * address_length;
        let wanted = auth_data + auth_length(version);
        let message = message.get(..wanted).ok_or(ParseError::Length {
            actual: message.len(),
            wanted,
        })?;
        if !checksum_is_valid(message, version, source, destination) {
            return Err(ParseError::Checksum);
        }
        let (auth, interval) = match version {
            Version::V2 => {
                let auth = match (header[field::AUTH_TYPE], message.last_chunk()) {
                    (VRRP_AUTH_NONE, _) => Auth::None,
                    (VRRP_AUTH_PASS, Some(data)) => Auth::Pass(*data),
                    (other, _) => return Err(ParseError::AuthType(other)),
                };
                (auth, Interval::from_seconds(header[field::ADVER_INT]))
            }
            Version::V3 => {
                let [high, low] = [header[field::RESERVED_AND_HIGH], header[field::ADVER_INT]];
                // The upper four bits are reserved: "MUST be ignored" (RFC 9568 §5.2.6).
                let centiseconds = u16::from_be_bytes([high & 0xf, low]);
                (Auth::None, Interval::from_centiseconds(centiseconds))
            }
        };
        let interval = interval.ok_or(ParseError::Interval)?;
        if header[field::COUNT] == 0 {
            return Err(ParseError::NoAddress);
        }
        let addresses = message[field::ADDRESSES..auth_data].chunks_exact(address_length);
        Ok(Self {
            version,
            vrid,
            priority: Priority::from(header[field::PRIORITY]),
            interval,
            auth,
            addresses: addresses.filter_map(address).collect(),
        })
    }

    /// Bytes of the message.
    #[must_use]
    pub fn length(&self) -> usize {
        let addresses = self
            .carried()
            .iter()
            .map(|a| if a.is_ipv4() { 4 } else { 16 });
        field::ADDRESSES + addresses.sum::<usize>() + auth_length(self.version)
    }

    /// The message, for a datagram between these addresses. What does not fit the count, beyond
    /// 255 addresses, is left out; a version 2 interval that is no whole second is rounded up.
    #[must_use]
    pub fn emit(&self, source: IpAddr, destination: IpAddr, form: ChecksumForm) -> Vec<u8> {
        let mut message = vec![0; self.length()];
        self.write(&mut message, source, destination, form);
        message
    }

    /// Writes every byte of `message`, which has [`Self::length`] of them.
    fn write(&self, message: &mut [u8], source: IpAddr, destination: IpAddr, form: ChecksumForm) {
        let addresses = self.carried();
        message[field::VERSION_TYPE] = self.version.number() << 4 | ADVERTISEMENT;
        message[field::VRID] = self.vrid.get();
        message[field::PRIORITY] = self.priority.get();
        message[field::COUNT] = u8::try_from(addresses.len()).unwrap_or(u8::MAX);
        match self.version {
            Version::V2 => {
                message[field::AUTH_TYPE] = match self.auth {
                    Auth::None => VRRP_AUTH_NONE,
                    Auth::Pass(_) => VRRP_AUTH_PASS,
                };
                message[field::ADVER_INT] = self.interval.seconds_rounded_up();
            }
            Version::V3 => message[field::MAX_ADVER_INT]
                .copy_from_slice(&self.interval.centiseconds().to_be_bytes()),
        }
        message[field::CHECKSUM].copy_from_slice(&[0, 0]);
        let mut at = field::ADDRESSES;
        for address in addresses {
            at += match address {
                IpAddr::V4(a) => copy(&mut message[at..], &a.octets()),
                IpAddr::V6(a) => copy(&mut message[at..], &a.octets()),
            };
        }
        if self.version == Version::V2 {
            let data = match self.auth {
                Auth::None => [0; VRRP_V2_AUTH_LEN],
                Auth::Pass(data) => data,
            };
            copy(&mut message[at..], &data);
        }
        let with_pseudo_header = match (self.version, source, form) {
            (Version::V2, _, _) | (Version::V3, IpAddr::V4(_), ChecksumForm::Message) => false,
            (Version::V3, IpAddr::V4(_), ChecksumForm::PseudoHeader)
            | (Version::V3, IpAddr::V6(_), _) => true,
        };
        let start = if with_pseudo_header {
            pseudo_header(source, destination, message.len())
        } else {
            Sum::default()
        };
        let checksum = start.and(message).checksum();
        message[field::CHECKSUM].copy_from_slice(&checksum.to_be_bytes());
    }

    fn carried(&self) -> &[IpAddr] {
        &self.addresses[..self.addresses.len().min(MOST_ADDRESSES)]
    }
}

const fn auth_length(version: Version) -> usize {
    match version {
        Version::V2 => VRRP_V2_AUTH_LEN,
        Version::V3 => 0,
    }
}

fn copy<const N: usize>(to: &mut [u8], bytes: &[u8; N]) -> usize {
    to[..N].copy_from_slice(bytes);
    N
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(v4).into());
    }
    <[u8; 16]>::try_from(bytes)
        .ok()
        .map(|v6| Ipv6Addr::from(v6).into())
}

/// Version 2 sums the message alone, its authentication data included; version 3 over IPv6 a
/// pseudo-header too; version 3 over IPv4 either, see [`ChecksumForm`].
fn checksum_is_valid(
    message: &[u8],
    version: Version,
    source: IpAddr,
    destination: IpAddr,
) -> bool {
    let alone = Sum::default().and(message).is_valid();
    let with_pseudo = || {
        pseudo_header(source, destination, message.len())
            .and(message)
            .is_valid()
    };
    match (version, source) {
        (Version::V2, _) => alone,
        (Version::V3, IpAddr::V4(_)) => alone || with_pseudo(),
        (Version::V3, IpAddr::V6(_)) => with_pseudo(),
    }
}

/// Addresses, protocol and length; the layouts of IPv4 and IPv6 (RFC 8200 §8.1) sum up alike.
fn pseudo_header(source: IpAddr, destination: IpAddr, length: usize) -> Sum {
    let length = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    let mut sum = Sum::default().and(&length).and(&[0, IP_VRRP]);
    for address in [source, destination] {
        sum = match address {
            IpAddr::V4(a) => sum.and(&a.octets()),
            IpAddr::V6(a) => sum.and(&a.octets()),
        };
    }
    sum
}

#[cfg(test)]
mod tests;

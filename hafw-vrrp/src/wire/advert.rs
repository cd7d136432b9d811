//! The advertisement.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hafw_common::proto::{IP_VRRP, VRRP_AUTH_NONE, VRRP_AUTH_PASS};
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

/// Why a message is no advertisement. One for each check of RFC 9568 §7.1 and RFC 3768 §7.1.
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

mod field {
    use std::ops::Range;

    pub(super) const VERSION_TYPE: usize = 0;
    pub(super) const VRID: usize = 1;
    pub(super) const PRIORITY: usize = 2;
    pub(super) const COUNT: usize = 3;
    pub(super) const AUTH_TYPE: usize = 4;
    pub(super) const ADVER_INT: usize = 5;
    pub(super) const MAX_ADVER_INT: Range<usize> = 4..6;
    pub(super) const CHECKSUM: Range<usize> = 6..8;
    pub(super) const ADDRESSES: usize = 8;
}

const ADVERTISEMENT: u8 = 1;
const AUTH_DATA: usize = 8;

impl Advertisement {
    /// Parses the payload of an IP datagram between these addresses. Bytes beyond what the header
    /// asks for are ignored, as RFC 9568 §7.1 asks for "the entire packet" only at least.
    ///
    /// The checks are made in this order: version, type, VRID, length, checksum, authentication,
    /// interval, count.
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
        let count = usize::from(header[field::COUNT]);
        let auth_data = field::ADDRESSES + count * address_length;
        let wanted = auth_data + if version == Version::V2 { AUTH_DATA } else { 0 };
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
                let [high, low] = [header[4], header[5]];
                // The upper four bits are reserved and ignored (RFC 9568 §5.2.6).
                let cs = u16::from_be_bytes([high & 0xf, low]);
                (Auth::None, Interval::from_centiseconds(cs))
            }
        };
        let interval = interval.ok_or(ParseError::Interval)?;
        if count == 0 {
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
        let addresses: usize = self
            .addresses
            .iter()
            .map(|a| if a.is_ipv4() { 4 } else { 16 })
            .sum();
        let auth = if self.version == Version::V2 {
            AUTH_DATA
        } else {
            0
        };
        field::ADDRESSES + addresses + auth
    }

    /// Writes the message, for a datagram between these addresses. More than 255 addresses do not
    /// fit the count, and are left out.
    #[must_use]
    pub fn emit(&self, source: IpAddr, destination: IpAddr, form: ChecksumForm) -> Vec<u8> {
        let addresses = &self.addresses[..self.addresses.len().min(255)];
        let mut message = vec![0; field::ADDRESSES];
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
                message[field::ADVER_INT] = self.interval.seconds().unwrap_or(u8::MAX);
            }
            Version::V3 => message[field::MAX_ADVER_INT]
                .copy_from_slice(&self.interval.centiseconds().to_be_bytes()),
        }
        for address in addresses {
            match address {
                IpAddr::V4(a) => message.extend(a.octets()),
                IpAddr::V6(a) => message.extend(a.octets()),
            }
        }
        if self.version == Version::V2 {
            message.extend(match self.auth {
                Auth::None => [0; AUTH_DATA],
                Auth::Pass(data) => data,
            });
        }
        let pseudo = matches!(
            (self.version, source, form),
            (Version::V3, IpAddr::V6(_), _) | (Version::V3, _, ChecksumForm::PseudoHeader)
        );
        let start = if pseudo {
            pseudo_header(source, destination, message.len())
        } else {
            Sum::default()
        };
        let checksum = start.and(&message).checksum();
        message[field::CHECKSUM].copy_from_slice(&checksum.to_be_bytes());
        message
    }
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

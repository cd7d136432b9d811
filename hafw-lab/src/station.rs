//! The hosts of the lesson's network.

use std::{
    fmt,
    net::{Ipv4Addr, Ipv6Addr},
};

/// The VIP of www.oldboy.com.
pub const VIP_WWW: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 3);
/// The VIP of bbs.oldboy.com.
pub const VIP_BBS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 4);

/// The link-local VIP of the router over IPv6.
pub const VIP_LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 3);
/// The other VIP of the router over IPv6.
pub const VIP_WWW_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 3);

/// A host of the lab. Its MAC is 02:00:00:00:00:NN with NN the last byte of its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Station {
    /// 10.0.0.1
    Client,
    /// 10.0.0.2; asks who has the VIPs and listens. Not in the lesson.
    Observer,
    /// 10.0.0.5
    Lb01,
    /// 10.0.0.6
    Lb02,
    /// 10.0.0.7
    Web01,
    /// 10.0.0.8
    Web02,
    /// 10.0.0.9
    Web03,
}

impl Station {
    /// All of them, in the order of their addresses.
    pub const ALL: [Self; 7] = [
        Self::Client,
        Self::Observer,
        Self::Lb01,
        Self::Lb02,
        Self::Web01,
        Self::Web02,
        Self::Web03,
    ];
    /// The two load balancers.
    pub const NODES: [Self; 2] = [Self::Lb01, Self::Lb02];
    /// The three web servers.
    pub const BACKENDS: [Self; 3] = [Self::Web01, Self::Web02, Self::Web03];

    /// The host's name, which is its port's name on the switch too.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Observer => "observer",
            Self::Lb01 => "lb01",
            Self::Lb02 => "lb02",
            Self::Web01 => "web01",
            Self::Web02 => "web02",
            Self::Web03 => "web03",
        }
    }

    /// The host's address on 10.0.0.0/24.
    #[must_use]
    pub const fn address(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, 0, self.number())
    }

    /// The host's address on 2001:db8::/64, where [`crate::Lab::enable_ipv6`] gave it one.
    #[must_use]
    pub const fn address_v6(self) -> Ipv6Addr {
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, self.number() as u16)
    }

    /// The host's MAC.
    #[must_use]
    pub const fn mac(self) -> [u8; 6] {
        [0x02, 0, 0, 0, 0, self.number()]
    }

    /// The same as programs write it.
    #[must_use]
    pub fn mac_text(self) -> String {
        self.mac().map(|byte| format!("{byte:02x}")).join(":")
    }

    /// The host with this MAC.
    #[must_use]
    pub fn from_mac(mac: [u8; 6]) -> Option<Self> {
        Self::ALL.into_iter().find(|station| station.mac() == mac)
    }

    /// The host whose address ends so.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|station| station.number() == number)
    }

    /// The host of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|station| station.name() == name)
    }

    /// Whether it is a load balancer.
    #[must_use]
    pub const fn is_node(self) -> bool {
        matches!(self, Self::Lb01 | Self::Lb02)
    }

    const fn number(self) -> u8 {
        match self {
            Self::Client => 1,
            Self::Observer => 2,
            Self::Lb01 => 5,
            Self::Lb02 => 6,
            Self::Web01 => 7,
            Self::Web02 => 8,
            Self::Web03 => 9,
        }
    }
}

impl fmt::Display for Station {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

//! The raw protocol-112 socket. Nothing is decided from it: it keeps the interface in the group
//! (NIC filters and snooping switches deliver nothing otherwise), and what comes through it shows
//! what netfilter let pass. Adverts that XDP counted and this socket did not were dropped by a rule.

use std::{
    collections::BTreeSet,
    io,
    mem::MaybeUninit,
    net::{Ipv4Addr, Ipv6Addr},
    os::fd::{AsFd, BorrowedFd},
};

use hafw_common::proto::{IP_VRRP, VRRP_GROUP_V4, VRRP_GROUP_V6, solicited_node};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};

/// Packets taken in one go: a flood must not keep the VRRP thread from its timers.
const AT_ONCE: usize = 256;

/// A member of VRRP's group of one family on one interface.
#[derive(Debug)]
pub struct VrrpSocket {
    socket: Socket,
    received: u64,
}

impl VrrpSocket {
    /// Joins the group on an interface. Needs CAP_NET_RAW.
    ///
    /// # Errors
    /// No such interface, or no permission.
    pub fn join(ifname: &str, ifindex: u32) -> io::Result<Self> {
        let protocol = Protocol::from(i32::from(IP_VRRP));
        let socket = Socket::new(Domain::IPV4, Type::RAW.nonblocking(), Some(protocol))?;
        socket.bind_device(Some(ifname.as_bytes()))?;
        socket.join_multicast_v4_n(
            &Ipv4Addr::from(VRRP_GROUP_V4),
            &InterfaceIndexOrAddress::Index(ifindex),
        )?;
        Ok(Self {
            socket,
            received: 0,
        })
    }

    /// Joins ff02::12 on an interface, and the solicited-node group of each VIP: a NIC's filter and
    /// a switch that snoops on MLD would keep solicitations from XDP. Needs CAP_NET_RAW.
    ///
    /// # Errors
    /// No such interface, no IPv6 on it, or no permission.
    pub fn join_v6(ifname: &str, ifindex: u32, vips: &[Ipv6Addr]) -> io::Result<Self> {
        let protocol = Protocol::from(i32::from(IP_VRRP));
        let socket = Socket::new(Domain::IPV6, Type::RAW.nonblocking(), Some(protocol))?;
        socket.bind_device(Some(ifname.as_bytes()))?;
        let mut groups: BTreeSet<_> = vips
            .iter()
            .map(|vip| Ipv6Addr::from(solicited_node(vip.octets())))
            .collect();
        groups.insert(VRRP_GROUP_V6.into());
        for group in &groups {
            socket.join_multicast_v6(group, ifindex)?;
        }
        Ok(Self {
            socket,
            received: 0,
        })
    }

    /// Takes what has arrived and counts it.
    pub fn drain(&mut self) {
        // Only the count matters: a cut packet is as good as a whole one.
        let mut buffer = [MaybeUninit::uninit(); 64];
        for _ in 0..AT_ONCE {
            if self.socket.recv(&mut buffer).is_err() {
                return;
            }
            self.received += 1;
        }
    }

    /// VRRP packets that came through netfilter.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received
    }
}

impl AsFd for VrrpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

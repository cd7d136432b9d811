//! The sockets of one interface, and the frames that leave through them.

use std::{
    io,
    net::{IpAddr, Ipv6Addr},
    os::fd::{AsFd as _, BorrowedFd},
};

use hafw_common::proto::{VRRP_GROUP_V4, VRRP_GROUP_V6};
use hafw_vrrp::{
    RouterConfig,
    wire::{
        Advertisement, advert_datagram, advert_datagram_v6, advert_frame, advert_frame_v6,
        gratuitous_arp, neighbour_advert,
    },
};
use thiserror::Error;

use crate::sys::{packet::FrameSender, unicast::UnicastSender, vrrp_socket::VrrpSocket};

/// A socket could not be opened.
#[derive(Debug, Error)]
#[error("interface {interface}: cannot open {what}: {source}")]
pub struct WireError {
    interface: String,
    what: &'static str,
    source: io::Error,
}

/// An interface to send on.
#[derive(Clone, Debug)]
pub struct WireSpec {
    /// Name.
    pub name: String,
    /// Kernel index.
    pub ifindex: u32,
    /// MAC that frames leave from.
    pub mac: [u8; 6],
    /// VIPs of the routers on it.
    pub vips: Vec<IpAddr>,
    /// MACs that routers on it go by.
    pub virtual_macs: Vec<[u8; 6]>,
}

/// An interface with its sockets. They are of this one device: one that was made anew needs others.
#[derive(Debug)]
pub struct Wire {
    mac: [u8; 6],
    frames: FrameSender,
    unicast: UnicastSender,
    /// One for each family that has a router.
    vrrp: [Option<VrrpSocket>; 2],
    /// Identification of the next datagram.
    id: u16,
}

impl Wire {
    /// Opens them.
    ///
    /// # Errors
    /// No such interface, nothing of a router's family on it, or no permission.
    pub fn open(spec: &WireSpec) -> Result<Self, WireError> {
        let failed = |what| {
            move |source| WireError {
                interface: spec.name.clone(),
                what,
                source,
            }
        };
        let any_v4 = spec.vips.iter().any(IpAddr::is_ipv4);
        let v4 = any_v4.then(|| VrrpSocket::join(&spec.name, spec.ifindex));
        let vips = spec.vips.iter().filter_map(|vip| match vip {
            IpAddr::V6(vip) => Some(*vip),
            IpAddr::V4(_) => None,
        });
        let vips: Vec<Ipv6Addr> = vips.collect();
        let v6 = (!vips.is_empty()).then(|| VrrpSocket::join_v6(&spec.name, spec.ifindex, &vips));
        let frames = FrameSender::open(spec.ifindex).map_err(failed("a packet socket"))?;
        for mac in &spec.virtual_macs {
            // The interface's filter passes frames to it, for as long as the socket lives.
            frames
                .take(*mac)
                .map_err(failed("its filter for the virtual MAC"))?;
        }
        Ok(Self {
            mac: spec.mac,
            unicast: UnicastSender::open(&spec.name).map_err(failed("a raw socket"))?,
            frames,
            vrrp: [
                v4.transpose().map_err(failed("a VRRP socket"))?,
                v6.transpose().map_err(failed("a VRRP socket over IPv6"))?,
            ],
            id: 1,
        })
    }

    /// To the group, from this MAC or the interface's own.
    pub(super) fn advertise(
        &mut self,
        mac: Option<[u8; 6]>,
        config: &RouterConfig,
        advert: &Advertisement,
    ) -> io::Result<()> {
        let mac = mac.unwrap_or(self.mac);
        let message = advert.emit(config.source, group_of(config.source), config.checksum);
        let frame = match config.source {
            IpAddr::V4(source) => {
                let frame = advert_frame(mac, source, self.id, &message);
                self.id = self.id.wrapping_add(1);
                frame
            }
            IpAddr::V6(source) => advert_frame_v6(mac, source, &message),
        };
        self.send(&frame)
    }

    /// To each peer. One that has no MAC does not hear us, but that of the others does not suffer.
    pub(super) fn advertise_to(
        &mut self,
        peers: &[IpAddr],
        config: &RouterConfig,
        advert: &Advertisement,
    ) -> io::Result<()> {
        for peer in peers {
            let message = advert.emit(config.source, *peer, config.checksum);
            let datagram = match (config.source, *peer) {
                (IpAddr::V4(source), IpAddr::V4(peer)) => {
                    self.id = self.id.wrapping_add(1);
                    advert_datagram(source, peer, self.id, &message)
                }
                (IpAddr::V6(source), IpAddr::V6(peer)) => {
                    advert_datagram_v6(source, peer, &message)
                }
                (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {
                    return Err(io::ErrorKind::Unsupported.into());
                }
            };
            self.unicast.send(*peer, &datagram)?;
        }
        Ok(())
    }

    /// Each address at this MAC, or the interface's own.
    pub(super) fn announce(&self, mac: Option<[u8; 6]>, addresses: &[IpAddr]) -> io::Result<()> {
        let mac = mac.unwrap_or(self.mac);
        for address in addresses {
            match address {
                IpAddr::V4(vip) => self.send(&gratuitous_arp(mac, *vip))?,
                IpAddr::V6(vip) => self.send(&neighbour_advert(mac, *vip))?,
            }
        }
        Ok(())
    }

    /// Counts what came through netfilter since.
    pub(super) fn drain(&mut self) {
        self.vrrp.iter_mut().flatten().for_each(VrrpSocket::drain);
    }

    /// What did, of a family.
    pub(super) fn through_netfilter(&self, ipv6: bool) -> u64 {
        let [v4, v6] = &self.vrrp;
        let socket = if ipv6 { v6 } else { v4 };
        socket.as_ref().map_or(0, VrrpSocket::received)
    }

    pub(super) fn vrrp_fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.vrrp.iter().flatten().map(VrrpSocket::as_fd)
    }

    fn send(&self, frame: &[u8]) -> io::Result<()> {
        // An error that the kernel left on the socket earlier is not this frame's.
        self.frames.clear_error();
        self.frames.send(frame)
    }
}

/// Where the adverts from an address go.
pub(super) fn group_of(source: IpAddr) -> IpAddr {
    match source {
        IpAddr::V4(_) => VRRP_GROUP_V4.into(),
        IpAddr::V6(_) => VRRP_GROUP_V6.into(),
    }
}

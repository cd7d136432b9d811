//! The sockets of one interface, and the frames that leave through them.

use std::{
    io,
    net::{IpAddr, Ipv4Addr},
    os::fd::{AsFd as _, BorrowedFd},
};

use hafw_common::proto::VRRP_GROUP_V4;
use hafw_vrrp::{
    RouterConfig,
    wire::{Advertisement, advert_frame, gratuitous_arp},
};
use thiserror::Error;

use crate::sys::{packet::FrameSender, vrrp_socket::VrrpSocket};

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
}

/// An interface with its sockets.
#[derive(Debug)]
pub(super) struct Wire {
    mac: [u8; 6],
    frames: FrameSender,
    vrrp: VrrpSocket,
    /// Identification of the next datagram.
    id: u16,
}

impl Wire {
    pub(super) fn open(spec: &WireSpec) -> Result<Self, WireError> {
        let failed = |what| {
            move |source| WireError {
                interface: spec.name.clone(),
                what,
                source,
            }
        };
        Ok(Self {
            mac: spec.mac,
            frames: FrameSender::open(spec.ifindex).map_err(failed("a packet socket"))?,
            vrrp: VrrpSocket::join(&spec.name, spec.ifindex).map_err(failed("a VRRP socket"))?,
            id: 1,
        })
    }

    pub(super) fn advertise(
        &mut self,
        config: &RouterConfig,
        advert: &Advertisement,
    ) -> io::Result<()> {
        let source = v4(config.source)?;
        let message = advert.emit(
            config.source,
            Ipv4Addr::from(VRRP_GROUP_V4).into(),
            config.checksum,
        );
        let frame = advert_frame(self.mac, source, self.id, &message);
        self.id = self.id.wrapping_add(1);
        self.send(&frame)
    }

    pub(super) fn announce(&self, config: &RouterConfig) -> io::Result<()> {
        for address in &config.addresses {
            self.send(&gratuitous_arp(self.mac, v4(*address)?))?;
        }
        Ok(())
    }

    /// Counts what came through netfilter since.
    pub(super) fn drain(&mut self) {
        self.vrrp.drain();
    }

    pub(super) fn through_netfilter(&self) -> u64 {
        self.vrrp.received()
    }

    pub(super) fn vrrp_fd(&self) -> BorrowedFd<'_> {
        self.vrrp.as_fd()
    }

    fn send(&self, frame: &[u8]) -> io::Result<()> {
        // An error that the kernel left on the socket earlier is not this frame's.
        self.frames.clear_error();
        self.frames.send(frame)
    }
}

fn v4(address: IpAddr) -> io::Result<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Ok(address),
        IpAddr::V6(_) => Err(io::ErrorKind::Unsupported.into()),
    }
}

//! A frame that can grow, for runs on the host.

use std::vec::Vec;

use hafw_common::proto::VRRP_MAX_LEN;
use network_types::eth::EthHdr;

use super::{Packet, PacketMut};
use crate::{checksum::Sum, ipv6::Address, wire::Header};

impl Packet for Vec<u8> {
    fn header<H: Header>(&self, offset: usize) -> Option<&H> {
        self.as_slice().header(offset)
    }

    fn address(&self, offset: usize) -> Option<Address> {
        self.as_slice().address(offset)
    }
}

impl PacketMut for Vec<u8> {
    fn header_mut<H: Header>(&mut self, offset: usize) -> Option<&mut H> {
        self.as_mut_slice().header_mut(offset)
    }

    fn push_front(&mut self, bytes: usize) -> bool {
        self.splice(0..0, core::iter::repeat_n(0xa5, bytes));
        true
    }

    fn pull_front(&mut self, bytes: usize) -> bool {
        let longer = self.len() >= bytes + EthHdr::LEN;
        if longer {
            self.drain(..bytes);
        }
        longer
    }

    fn truncate(&mut self, length: usize) -> bool {
        let longer = self.len() >= length;
        if longer {
            Self::truncate(self, length);
        }
        longer
    }

    fn holds(&self, length: usize) -> bool {
        self.as_slice().holds(length)
    }

    fn copy(&self, offset: usize, length: usize, into: &mut [u8; VRRP_MAX_LEN]) -> Option<Sum> {
        self.as_slice().copy(offset, length, into)
    }
}

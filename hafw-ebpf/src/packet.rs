//! The view of a frame that the packet path works on.

use hafw_common::proto::VRRP_MAX_LEN;

use crate::{checksum::Sum, ipv6::Address, wire::Header};

/// A frame, from its Ethernet header on. Every access is checked against its end.
///
/// The packet path is generic over this because the verifier refuses a slice made of `data` and
/// `data_end`: it does not tie a computed length to the frame's end.
pub trait Packet {
    /// The header of type `H` at `offset`, if the frame's directly accessible part has all of it.
    fn header<H: Header>(&self, offset: usize) -> Option<&H>;

    /// The IPv6 address at `offset`, if the frame's directly accessible part has all of it. Read by
    /// words: an address lies at an odd multiple of two, where a header's bytes are loaded one by
    /// one.
    fn address(&self, offset: usize) -> Option<Address>;
}

/// A received frame.
pub trait PacketMut: Packet {
    /// As [`Packet::header`], to write to.
    fn header_mut<H: Header>(&mut self, offset: usize) -> Option<&mut H>;

    /// Whether the frame has at least `length` bytes, those in fragments (`xdp.frags`) included.
    fn holds(&self, length: usize) -> bool;

    /// Makes room before the frame; what is in it is arbitrary. False, and nothing done, where there
    /// is none.
    fn push_front(&mut self, bytes: usize) -> bool;

    /// Takes bytes away from the front. False, and nothing done, if the frame has no more than these
    /// and an Ethernet header.
    fn pull_front(&mut self, bytes: usize) -> bool;

    /// Cuts the frame to this length. False, and nothing done, if it is shorter.
    fn truncate(&mut self, length: usize) -> bool;

    /// Copies `length` bytes from `offset` on to the start of `into`, and returns the sum of their
    /// 32-bit words ([`crate::checksum`]). `None` if the frame or `into` is shorter, or if `length`
    /// is 0 or no multiple of 4.
    fn copy(&self, offset: usize, length: usize, into: &mut [u8; VRRP_MAX_LEN]) -> Option<Sum>;
}

#[cfg(any(test, feature = "fixtures"))]
mod vector;

impl Packet for [u8] {
    #[expect(unsafe_code, reason = "a header is read in place")]
    fn header<H: Header>(&self, offset: usize) -> Option<&H> {
        let () = H::ALIGNED;
        let at = self
            .get(offset..offset.checked_add(size_of::<H>())?)?
            .as_ptr()
            .cast::<H>();
        assert!(at.is_aligned(), "a frame starts at an even address");
        // SAFETY: in bounds and aligned; any bits make an H; the borrow is that of the bytes.
        Some(unsafe { &*at })
    }

    fn address(&self, offset: usize) -> Option<Address> {
        let bytes = self.get(offset..)?.first_chunk::<16>()?;
        Some(Address::from(*bytes))
    }
}

impl PacketMut for [u8] {
    #[expect(unsafe_code, reason = "a header is written in place")]
    fn header_mut<H: Header>(&mut self, offset: usize) -> Option<&mut H> {
        let () = H::ALIGNED;
        let range = offset..offset.checked_add(size_of::<H>())?;
        let at = self.get_mut(range)?.as_mut_ptr().cast::<H>();
        assert!(at.is_aligned(), "a frame starts at an even address");
        // SAFETY: as in `header`, and H has no padding that would leave bytes without a value.
        Some(unsafe { &mut *at })
    }

    fn push_front(&mut self, _: usize) -> bool {
        false
    }

    fn pull_front(&mut self, _: usize) -> bool {
        false
    }

    fn truncate(&mut self, _: usize) -> bool {
        false
    }

    fn holds(&self, length: usize) -> bool {
        self.len() >= length
    }

    fn copy(&self, offset: usize, length: usize, into: &mut [u8; VRRP_MAX_LEN]) -> Option<Sum> {
        let from = self.get(offset..offset.checked_add(length)?)?;
        let into = into.get_mut(..length)?;
        into.copy_from_slice(from);
        let (words, rest) = into.as_chunks();
        (!words.is_empty() && rest.is_empty()).then(|| Sum::default().and_all(words))
    }
}

//! The kernel's frame as the packet path sees it.

use core::ffi::c_void;

use aya_ebpf::{
    helpers::{bpf_xdp_get_buff_len, bpf_xdp_load_bytes},
    programs::{TcContext, XdpContext},
};
use hafw_common::proto::VRRP_MAX_LEN;
use hafw_ebpf::{
    packet::{Packet, PacketMut},
    wire::Header,
};

/// A received frame.
pub(crate) struct Frame<'a>(&'a XdpContext);

impl<'a> Frame<'a> {
    pub(crate) const fn new(ctx: &'a XdpContext) -> Self {
        Self(ctx)
    }
}

impl Packet for Frame<'_> {
    #[inline(always)]
    fn header<H: Header>(&self, offset: usize) -> Option<&H> {
        let at = place::<H>(self.0.data(), self.0.data_end(), offset)?;
        // SAFETY: in bounds by `place`; H is plain data of alignment 1, and nothing writes to the
        // frame while `self` is borrowed.
        Some(unsafe { &*(at as *const H) })
    }
}

impl PacketMut for Frame<'_> {
    #[inline(always)]
    fn header_mut<H: Header>(&mut self, offset: usize) -> Option<&mut H> {
        let at = place::<H>(self.0.data(), self.0.data_end(), offset)?;
        // SAFETY: as above; `self` is borrowed exclusively.
        Some(unsafe { &mut *(at as *mut H) })
    }

    #[inline(always)]
    fn holds(&self, length: usize) -> bool {
        if self.0.data() + length <= self.0.data_end() {
            return true;
        }
        // SAFETY: the context is the one this program was called with.
        unsafe { bpf_xdp_get_buff_len(self.0.ctx) >= length as u64 }
    }

    #[inline(always)]
    fn copy(&self, offset: usize, length: usize, into: &mut [u8; VRRP_MAX_LEN]) -> bool {
        if length == 0 || length > VRRP_MAX_LEN {
            return false;
        }
        let into = into.as_mut_ptr().cast::<c_void>();
        // SAFETY: `into` has VRRP_MAX_LEN bytes, at least `length`.
        unsafe { bpf_xdp_load_bytes(self.0.ctx, offset as u32, into, length as u32) == 0 }
    }
}

/// A frame about to leave.
pub(crate) struct Segment<'a>(&'a TcContext);

impl<'a> Segment<'a> {
    pub(crate) const fn new(ctx: &'a TcContext) -> Self {
        Self(ctx)
    }
}

impl Packet for Segment<'_> {
    #[inline(always)]
    fn header<H: Header>(&self, offset: usize) -> Option<&H> {
        let at = place::<H>(self.0.data(), self.0.data_end(), offset)?;
        // SAFETY: as in `Frame::header`.
        Some(unsafe { &*(at as *const H) })
    }
}

/// The address of a header at `offset`, if the frame has all of it.
#[inline(always)]
fn place<H: Header>(data: usize, end: usize, offset: usize) -> Option<usize> {
    let () = H::UNALIGNED;
    let at = data + offset;
    (at + size_of::<H>() <= end).then_some(at)
}

//! The kernel's frame as the packet path sees it.

use core::{arch::asm, ffi::c_void, hint::assert_unchecked, ptr};

use aya_ebpf::{
    helpers::{
        bpf_csum_diff, bpf_xdp_adjust_head, bpf_xdp_adjust_tail, bpf_xdp_get_buff_len,
        bpf_xdp_load_bytes,
    },
    programs::{TcContext, XdpContext},
};
use hafw_common::proto::VRRP_MAX_LEN;
use hafw_ebpf::{
    checksum::Sum,
    ipv6::Address,
    packet::{Packet, PacketMut},
    wire::{Header, Quad},
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
        // SAFETY: in bounds by `place`; any bits make an H, and nothing writes to the frame while
        // `self` is borrowed.
        Some(unsafe { &*(at as *const H) })
    }

    #[inline(always)]
    fn address(&self, offset: usize) -> Option<Address> {
        place::<[Quad; 4]>(self.0.data(), self.0.data_end(), offset).map(address)
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
    fn push_front(&mut self, bytes: usize) -> bool {
        // SAFETY: the context is the one this program was called with; whatever pointed into the
        // frame was borrowed from `self`.
        unsafe { bpf_xdp_adjust_head(self.0.ctx, -(bytes as i32)) == 0 }
    }

    #[inline(always)]
    fn pull_front(&mut self, bytes: usize) -> bool {
        // SAFETY: as above.
        unsafe { bpf_xdp_adjust_head(self.0.ctx, bytes as i32) == 0 }
    }

    #[inline(always)]
    fn truncate(&mut self, length: usize) -> bool {
        // SAFETY: as above.
        unsafe {
            let present = bpf_xdp_get_buff_len(self.0.ctx) as i32;
            let more = length as i32 - present;
            more <= 0 && bpf_xdp_adjust_tail(self.0.ctx, more) == 0
        }
    }

    #[inline(always)]
    fn holds(&self, length: usize) -> bool {
        if self.0.data() + bounded::<0x1_ffff>(length) <= self.0.data_end() {
            return true;
        }
        // SAFETY: the context is the one this program was called with.
        unsafe { bpf_xdp_get_buff_len(self.0.ctx) >= length as u64 }
    }

    #[inline(always)]
    fn copy(&self, offset: usize, length: usize, into: &mut [u8; VRRP_MAX_LEN]) -> Option<Sum> {
        if length == 0 || length > VRRP_MAX_LEN || !length.is_multiple_of(4) {
            return None;
        }
        let length = clamped::<{ VRRP_MAX_LEN as i32 }>(length);
        let to = into.as_mut_ptr().cast::<c_void>();
        // SAFETY: `into` has VRRP_MAX_LEN bytes, at least `length`.
        if unsafe { bpf_xdp_load_bytes(self.0.ctx, offset as u32, to, length as u32) } != 0 {
            return None;
        }
        Some(Sum::of(sum(into, length)))
    }
}

/// The sum of the first `length` bytes.
///
/// By the kernel's helper: a loop here would leave the verifier a state to follow for each of the
/// lengths. The helper takes at most 512 bytes (`MAX_BPF_STACK`) before Linux 6.13.
#[inline(always)]
fn sum(message: &[u8; VRRP_MAX_LEN], length: usize) -> u32 {
    const PIECE: usize = 512;
    let piece = |start: usize, piece: usize, sum: u32| {
        if start >= length {
            return sum;
        }
        let from = message.as_ptr().wrapping_add(start).cast_mut().cast();
        // SAFETY: `piece` bytes from `start` on are in bounds; the helper only reads them.
        unsafe { bpf_csum_diff(ptr::null_mut(), 0, from, piece as u32, sum) as u32 }
    };
    let sum = piece(0, length.min(PIECE), 0);
    let rest = bounded::<0x3ff>(length.wrapping_sub(PIECE));
    let sum = piece(PIECE, rest.min(PIECE), sum);
    let rest = bounded::<0x1ff>(length.wrapping_sub(2 * PIECE));
    piece(2 * PIECE, rest.min(VRRP_MAX_LEN - 2 * PIECE), sum)
}

/// A number that has no bits but those of `MASK`, as it is, but so that the verifier knows it too:
/// kernels before 6.6 know nothing of a number whose bytes were swapped, and older ones forget
/// what a number was compared with when it is on the stack.
#[inline(always)]
pub(crate) fn bounded<const MASK: i32>(number: usize) -> usize {
    let mut number = number;
    // SAFETY: one instruction on one register. LLVM knows the bound and would leave it out.
    unsafe {
        asm!("{0} &= {1}", inout(reg) number, const MASK, options(pure, nomem, nostack));
    }
    number
}

/// A number from 1 to `MAX`, as it is: like [`bounded`], where the bound is no power of two.
#[inline(always)]
pub(crate) fn clamped<const MAX: i32>(number: usize) -> usize {
    let mut number = number;
    // SAFETY: comparisons of one register and stores of it.
    unsafe {
        asm!(
            "if {0} > 0 goto +1",
            "{0} = 1",
            "if {0} <= {1} goto +1",
            "{0} = {1}",
            inout(reg) number,
            const MAX,
            options(pure, nomem, nostack),
        );
    }
    number
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

    #[inline(always)]
    fn address(&self, offset: usize) -> Option<Address> {
        place::<[Quad; 4]>(self.0.data(), self.0.data_end(), offset).map(address)
    }
}

/// The address at `at`, which [`place`] found to lie in the frame.
#[inline(always)]
fn address(at: usize) -> Address {
    let (first, second);
    // SAFETY: in bounds. The machine takes words at any address, as the kernel's verifier knows
    // (CONFIG_HAVE_EFFICIENT_UNALIGNED_ACCESS); LLVM does not, and would take single bytes.
    unsafe {
        asm!(
            "{0} = *(u64 *)({2} + 0)",
            "{1} = *(u64 *)({2} + 8)",
            out(reg) first,
            lateout(reg) second,
            in(reg) at,
            options(readonly, nostack),
        );
    }
    Address { first, second }
}

/// The address of a header at `offset`, if the frame has all of it.
#[inline(always)]
fn place<H: Header>(data: usize, end: usize, offset: usize) -> Option<usize> {
    let () = H::ALIGNED;
    let at = data + offset;
    // SAFETY: a frame has an address, and an offset does not wrap. LLVM would ask whether it is 0,
    // because that is the `None` of an `Option<&H>`.
    unsafe { assert_unchecked(at != 0) };
    (at + size_of::<H>() <= end).then_some(at)
}

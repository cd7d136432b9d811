//! A program that feeds another one, to time it: before each run it restores the frame as the next
//! flow's, because with `BPF_PROG_TEST_RUN`'s `repeat` a program sees the frame that its last run
//! rewrote. The null of such a measurement is the same feeder before a program that only passes.
//!
//! Beside it what a measurement over veth pairs needs: a generator of live frames, the least that a
//! director can do with a frame, and a sink that counts.
#![cfg_attr(target_arch = "bpf", no_std)]
#![cfg_attr(target_arch = "bpf", no_main)]

#[cfg(target_arch = "bpf")]
mod feeder {
    use aya_ebpf::{
        Global,
        bindings::xdp_action,
        helpers::{bpf_redirect, bpf_xdp_adjust_head, bpf_xdp_get_buff_len},
        macros::{map, xdp},
        maps::{Array, PerCpuArray, ProgramArray},
        programs::XdpContext,
    };

    /// Bytes of a frame that are restored: all that a program rewrites lies in them.
    const RESTORED: usize = 88;

    /// Bytes of a generated frame; with the checksum of the wire, the least of Ethernet.
    const GENERATED: usize = 60;

    /// How many flows; a power of two, at most 2^28. 1: the frame is restored as it is.
    #[unsafe(no_mangle)]
    static FLOWS: Global<u32> = Global::new(1);
    /// Length of the frame where the program under test makes it longer at its head; 0: it does not.
    #[unsafe(no_mangle)]
    static GROWS_FROM: Global<u32> = Global::new(0);
    /// Kernel index of the interface by which frames leave the generator, or the least of directors.
    #[unsafe(no_mangle)]
    static TARGET: Global<u32> = Global::new(0);

    /// The frame, in words so that restoring it costs little.
    #[map]
    static TEMPLATE: Array<[u32; RESTORED / 4]> = Array::with_max_entries(1, 0);
    /// Runs so far.
    #[map]
    static RUNS: PerCpuArray<u32> = PerCpuArray::with_max_entries(1, 0);
    /// The program under test.
    #[map]
    static NEXT: ProgramArray = ProgramArray::with_max_entries(1, 0);
    /// Frames that reached the sink by way of a director.
    #[map]
    static DELIVERED: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

    #[xdp(frags)]
    pub(crate) fn hafw_feed(ctx: XdpContext) -> u32 {
        let grows_from = GROWS_FROM.load();
        if grows_from != 0 {
            // SAFETY: the context is the one this program was called with.
            unsafe {
                let grown = bpf_xdp_get_buff_len(ctx.ctx) as i32 - grows_from as i32;
                if grown > 0 && bpf_xdp_adjust_head(ctx.ctx, grown) != 0 {
                    return xdp_action::XDP_ABORTED;
                }
            }
        }
        if restore::<RESTORED>(&ctx).is_none() {
            return xdp_action::XDP_ABORTED;
        }
        // SAFETY: the index is in range. It returns only if there is no program.
        unsafe { NEXT.tail_call(&ctx, 0) };
        xdp_action::XDP_ABORTED
    }

    /// Run with live frames (`BPF_F_TEST_XDP_LIVE_FRAMES`), which come back with what others wrote.
    #[xdp]
    pub(crate) fn hafw_generate(ctx: XdpContext) -> u32 {
        let Some(flow) = restore::<GENERATED>(&ctx) else {
            return xdp_action::XDP_ABORTED;
        };
        let data = ctx.data();
        if data + GENERATED > ctx.data_end() {
            return xdp_action::XDP_ABORTED;
        }
        let checksum = (data + 14 + 10) as *mut u16;
        // SAFETY: in bounds, and aligned to a half word. The template's address ends in zeros, so
        // that its checksum is to be corrected by the flow's half of the address (RFC 1624).
        unsafe {
            let sum = u32::from(!*checksum) + u32::from((flow >> 12) as u16);
            checksum.write(!((sum & 0xffff) + (sum >> 16)) as u16);
        }
        redirect()
    }

    /// The least that a director can do: the next hop's MAC, and out.
    #[xdp]
    pub(crate) fn hafw_floor(ctx: XdpContext) -> u32 {
        let data = ctx.data();
        if data + 14 > ctx.data_end() {
            return xdp_action::XDP_ABORTED;
        }
        // SAFETY: in bounds.
        unsafe { (data as *mut [u8; 6]).write([2, 0xbe, 0, 0, 0, 1]) };
        redirect()
    }

    /// Counts the frames whose destination is the MAC of a backend, and drops all.
    #[xdp]
    pub(crate) fn hafw_sink(ctx: XdpContext) -> u32 {
        let data = ctx.data();
        if data + 14 > ctx.data_end() {
            return xdp_action::XDP_DROP;
        }
        // SAFETY: in bounds.
        let mac = unsafe { (data as *const [u8; 6]).read() };
        if let ([2, 0xbe, ..], Some(delivered)) = (mac, DELIVERED.get_ptr_mut(0)) {
            // SAFETY: this CPU's own word.
            unsafe { *delivered += 1 };
        }
        xdp_action::XDP_DROP
    }

    fn redirect() -> u32 {
        // SAFETY: a helper without pointers.
        unsafe { bpf_redirect(TARGET.load(), 0) as u32 }
    }

    /// Makes the first `BYTES` those of the template, as the next flow has them; returns which flow
    /// that is.
    #[inline(always)]
    fn restore<const BYTES: usize>(ctx: &XdpContext) -> Option<u32> {
        let (template, runs) = (TEMPLATE.get(0)?, RUNS.get_ptr_mut(0)?);
        let data = ctx.data();
        if data + BYTES > ctx.data_end() {
            return None;
        }
        let frame = data as *mut u32;
        for (at, word) in template.iter().take(BYTES / 4).enumerate() {
            // SAFETY: in bounds by the check above; a frame starts at a multiple of 4.
            unsafe { frame.add(at).write(*word) };
        }
        let flows = FLOWS.load();
        if flows <= 1 {
            return Some(0);
        }
        // SAFETY: this CPU's own word.
        let run = unsafe {
            *runs = (*runs).wrapping_add(1);
            *runs
        };
        // An odd factor makes a permutation of the flows: the order is not the memory's.
        let flow = run.wrapping_mul(40_503) & (flows - 1);
        let source = (data + 14 + 12) as *mut u16;
        // SAFETY: as above, with the alignment of a half word: the IPv4 source's lower half, and the
        // source port behind the destination.
        unsafe {
            source.add(1).write((flow >> 12) as u16);
            source.add(4).write(((flow & 0xfff) + 1024) as u16);
        }
        Some(flow)
    }

    #[unsafe(link_section = "license")]
    #[unsafe(no_mangle)]
    static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

    #[panic_handler]
    fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
        loop {}
    }
}

#[cfg(not(target_arch = "bpf"))]
fn main() {
    // As in the programs' own binary: see there.
}

//! A program that feeds another one, to time it: before each run it restores the frame as the next
//! flow's, because with `BPF_PROG_TEST_RUN`'s `repeat` a program sees the frame that its last run
//! rewrote. The null of such a measurement is the same feeder before a program that only passes.
#![cfg_attr(target_arch = "bpf", no_std)]
#![cfg_attr(target_arch = "bpf", no_main)]

#[cfg(target_arch = "bpf")]
mod feeder {
    use aya_ebpf::{
        Global,
        bindings::xdp_action,
        macros::{map, xdp},
        maps::{Array, PerCpuArray, ProgramArray},
        programs::XdpContext,
    };

    /// Bytes of a frame that are restored: all that a program rewrites lies in them.
    const RESTORED: usize = 88;

    /// How many flows; a power of two. 1: the frame is restored as it is.
    #[unsafe(no_mangle)]
    static FLOWS: Global<u32> = Global::new(1);

    /// The frame, in words so that restoring it costs little.
    #[map]
    static TEMPLATE: Array<[u32; RESTORED / 4]> = Array::with_max_entries(1, 0);
    /// Runs so far.
    #[map]
    static RUNS: PerCpuArray<u32> = PerCpuArray::with_max_entries(1, 0);
    /// The program under test.
    #[map]
    static NEXT: ProgramArray = ProgramArray::with_max_entries(1, 0);

    #[xdp(frags)]
    pub(crate) fn hafw_feed(ctx: XdpContext) -> u32 {
        let (Some(template), Some(runs)) = (TEMPLATE.get(0), RUNS.get_ptr_mut(0)) else {
            return xdp_action::XDP_ABORTED;
        };
        let data = ctx.data();
        if data + RESTORED > ctx.data_end() {
            return xdp_action::XDP_ABORTED;
        }
        let frame = data as *mut u32;
        for (at, word) in template.iter().enumerate() {
            // SAFETY: in bounds by the check above; a frame starts at a multiple of 4.
            unsafe { frame.add(at).write(*word) };
        }
        let flows = FLOWS.load();
        if flows > 1 {
            // SAFETY: this CPU's own word.
            let run = unsafe {
                *runs = (*runs).wrapping_add(1);
                *runs
            };
            // An odd factor makes a permutation of the flows: the order is not the memory's.
            let flow = run.wrapping_mul(40_503) & (flows - 1);
            let source = (data + 14 + 12) as *mut u16;
            // SAFETY: as above, with the alignment of a half word: the IPv4 source's lower half,
            // and the source port behind the destination.
            unsafe {
                source.add(1).write((flow >> 12) as u16);
                source.add(4).write(((flow & 0xfff) + 1024) as u16);
            }
        }
        // SAFETY: the index is in range. It returns only if there is no program.
        unsafe { NEXT.tail_call(&ctx, 0) };
        xdp_action::XDP_ABORTED
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

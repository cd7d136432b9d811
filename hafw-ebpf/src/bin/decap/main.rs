//! The program of `hafw decap`, in an object of its own: a backend needs none of a node's tables.
#![cfg_attr(target_arch = "bpf", no_std)]
#![cfg_attr(target_arch = "bpf", no_main)]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

#[cfg(target_arch = "bpf")]
#[path = "../hafw/ctx.rs"]
#[expect(dead_code, reason = "a node's programs need more of it")]
mod ctx;

#[cfg(target_arch = "bpf")]
mod program {
    use aya_ebpf::{
        Global,
        bindings::{BPF_F_NO_PREALLOC, xdp_action},
        macros::{map, xdp},
        maps::{LpmTrie, PerCpuArray, lpm_trie},
        programs::XdpContext,
    };
    use hafw_common::decap::{DecapCounter, MAX_SOURCES};
    use hafw_ebpf::decap::{self, Settings};

    use crate::ctx::Frame;

    /// MAC of the interface, as a word.
    #[unsafe(no_mangle)]
    static MAC: Global<u64> = Global::new(0);
    /// The port of `gue` tunnels.
    #[unsafe(no_mangle)]
    static GUE_PORT: Global<u16> = Global::new(0);

    /// Prefixes that tunnels may come from; the values mean nothing.
    #[map]
    static SOURCES: LpmTrie<[u8; 16], u32> =
        LpmTrie::with_max_entries(MAX_SOURCES, BPF_F_NO_PREALLOC);
    /// By [`DecapCounter`].
    #[map]
    static COUNTERS: PerCpuArray<u64> =
        PerCpuArray::with_max_entries(DecapCounter::ALL.len() as u32, 0);

    struct Told;

    impl Settings for Told {
        #[inline(always)]
        fn mac(&self) -> u64 {
            MAC.load()
        }

        #[inline(always)]
        fn gue_port(&self) -> [u8; 2] {
            GUE_PORT.load().to_be_bytes()
        }

        #[inline(always)]
        fn is_source(&self, address: [u8; 16]) -> bool {
            SOURCES.get(lpm_trie::Key::new(128, address)).is_some()
        }
    }

    #[xdp(frags)]
    pub(crate) fn hafw_decap(ctx: XdpContext) -> u32 {
        let counter = decap::process(&mut Frame::new(&ctx), &Told);
        if let Some(value) = COUNTERS.get_ptr_mut(counter as u32) {
            // SAFETY: this CPU's own word, and a program is not interrupted by another on its CPU.
            unsafe { *value += 1 };
        }
        if counter.passes() {
            xdp_action::XDP_PASS
        } else {
            xdp_action::XDP_DROP
        }
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

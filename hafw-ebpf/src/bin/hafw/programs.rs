//! The programs and what the kernel is told.

use aya_ebpf::{
    bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC, xdp_action},
    helpers::{bpf_jiffies64, bpf_ktime_get_ns, bpf_redirect, bpf_skb_change_type},
    macros::{classifier, xdp},
    programs::{TcContext, XdpContext},
};
use hafw_common::{
    counters::Verdict,
    mac_to_word,
    proto::{ETH_ARP, ETH_IPV6, IP_ICMPV6},
};
use hafw_ebpf::{
    egress,
    packet::{Packet as _, PacketMut as _},
    path,
    tables::Tables as _,
    wire::Header,
};
use network_types::{eth::EthHdr, ip::Ipv6Hdr};

use crate::{
    ctx::{Frame, Segment},
    maps::Maps,
};

/// The packet path.
#[xdp(frags)]
pub(crate) fn hafw(ctx: XdpContext) -> u32 {
    let maps = Maps::new(ctx.ctx.cast());
    let outcome = path::process(&mut Frame::new(&ctx), &maps);
    maps.count(outcome.counter);
    match outcome.counter.verdict() {
        Verdict::Pass | Verdict::Event => xdp_action::XDP_PASS,
        Verdict::Drop => xdp_action::XDP_DROP,
        Verdict::Tx => xdp_action::XDP_TX,
        // SAFETY: a helper without pointers. It answers XDP_REDIRECT, or XDP_ABORTED.
        Verdict::Redirect => unsafe { bpf_redirect(outcome.ifindex, 0) as u32 },
    }
}

/// Passes everything: for the far ends of veth pairs, which deliver what this node sends by XDP_TX
/// only if they have a program too.
#[xdp(frags)]
pub(crate) fn hafw_pass(_: XdpContext) -> u32 {
    xdp_action::XDP_PASS
}

/// A pair of clocks as one reading: native-endian jiffies64, then CLOCK_MONOTONIC in ns.
#[repr(C)]
#[derive(Clone, Copy)]
struct Clocks([[u8; 8]; 2]);

// SAFETY: repr(C) and made of bytes.
unsafe impl Header for Clocks {}

/// Run once through BPF_PROG_TEST_RUN, never attached: writes the pair over the frame it is given.
#[xdp(frags)]
pub(crate) fn hafw_clock(ctx: XdpContext) -> u32 {
    if let Some(clocks) = Frame::new(&ctx).header_mut::<Clocks>(0) {
        // SAFETY: helpers without arguments.
        let (jiffies, now) = unsafe { (bpf_jiffies64(), bpf_ktime_get_ns()) };
        *clocks = Clocks([jiffies.to_ne_bytes(), now.to_ne_bytes()]);
    }
    xdp_action::XDP_PASS
}

/// What leaves. "Unspecified" leaves the decision to the programs after this one.
#[classifier]
pub(crate) fn hafw_egress(ctx: TcContext) -> i32 {
    // A tag that is to be put in by the hardware: the frame belongs to another link.
    // SAFETY: the context is valid while the program runs.
    if unsafe { (*ctx.skb.skb).vlan_present } != 0 {
        return TC_ACT_UNSPEC;
    }
    // A packet socket's ring (packet_mmap) leaves all but the Ethernet header in fragments.
    let needed = (ctx.len() as usize).min(egress::NEEDED);
    if ctx.data() + needed > ctx.data_end() && concerns(&ctx) {
        // It fails for want of memory; the frame then leaves unseen.
        let _ = ctx.pull_data(needed as u32);
    }
    let maps = Maps::new(ctx.skb.skb.cast());
    match egress::process(&Segment::new(&ctx), &maps) {
        None => TC_ACT_UNSPEC,
        Some(counter) => {
            maps.count(counter);
            TC_ACT_SHOT
        }
    }
}

/// Whether a frame may be one that egress judges, as far as its first bytes tell: what the kernel
/// sends of TCP and UDP data lies in fragments too, and is not to be moved for this.
fn concerns(ctx: &TcContext) -> bool {
    let frame = Segment::new(ctx);
    let Some(ethernet) = frame.header::<EthHdr>(0) else {
        return true;
    };
    match u16::from_be(ethernet.ether_type) {
        ETH_ARP => true,
        ETH_IPV6 => frame
            .header::<Ipv6Hdr>(EthHdr::LEN)
            .is_none_or(|ip| ip.next_hdr == IP_ICMPV6),
        _ => false,
    }
}

/// A frame that XDP readdressed from a virtual MAC to the interface: veth judged whom it is for
/// before XDP ran (`__dev_forward_skb`, net/core/dev.c), and the stack would not take it.
#[classifier]
pub(crate) fn hafw_ingress(ctx: TcContext) -> i32 {
    // SAFETY: the context is valid while the program runs.
    let other_host = unsafe { (*ctx.skb.skb).pkt_type } == PACKET_OTHERHOST;
    if other_host
        && let Some(ethernet) = Segment::new(&ctx).header::<EthHdr>(0)
        && mac_to_word(ethernet.dst_addr) == Maps::new(ctx.skb.skb.cast()).iface().mac
    {
        // SAFETY: as above. It changes nothing but the type.
        unsafe { bpf_skb_change_type(ctx.skb.skb, PACKET_HOST) };
    }
    TC_ACT_UNSPEC
}

/// Packet types (include/uapi/linux/if_packet.h).
const PACKET_HOST: u32 = 0;
const PACKET_OTHERHOST: u32 = 3;

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

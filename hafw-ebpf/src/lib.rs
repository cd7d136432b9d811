//! The packet path: what becomes of a frame, as pure functions over a bounds-checked view of it
//! ([`packet::PacketMut`]) and over the maps in domain words ([`tables::Tables`]).
//!
//! The XDP programs (`src/bin/hafw`) run exactly this code over the kernel's frame and the BPF
//! maps; tests and the fuzzer run it over byte slices and tables in memory. Nothing here names a
//! map or calls a helper: on the host that would be a jump to a small integer.
#![no_std]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]
#![deny(unsafe_code)]

#[cfg(any(test, feature = "fixtures"))]
extern crate std;

pub mod advert;
pub mod arp;
pub mod checksum;
pub mod decap;
pub mod egress;
#[cfg(any(test, feature = "fixtures"))]
pub mod fixtures;
pub mod flows;
pub mod guard;
pub mod icmp;
pub mod icmpv6;
pub mod ipv4;
pub mod ipv6;
pub mod local;
pub mod nat;
pub mod nat6;
pub mod nd;
pub mod next_hop;
pub mod packet;
pub mod path;
pub mod steer;
pub mod tables;
pub mod too_big;
pub mod tunnel;
pub mod wire;
pub mod word;

#[cfg(test)]
mod tests;

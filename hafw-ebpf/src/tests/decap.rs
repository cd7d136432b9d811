//! What comes out of a tunnel is what went in, and nothing else comes out.

use std::{vec, vec::Vec};

use hafw_common::{decap::DecapCounter, mac_to_word, v4_mapped};

use crate::{
    decap::{Settings, process},
    fixtures::{
        Clock, Host, World,
        frames::{Ip, tcp4, udp},
        frames_v6::{Ip6, tcp6},
        world::{
            CLIENT, CLIENT_ADDRESS, CLIENT_ADDRESS_V6, GUE_TO_V4_PORT, GUE_TO_V6_PORT, OURS, PEER,
            ROUTER_V2, ROUTER_V6, TUNNEL_PORT, TUNNEL_PORT_V6, VIP_SERVICES, VIP_V6_BOTH,
        },
    },
};

struct Told;

impl Settings for Told {
    fn mac(&self) -> u64 {
        mac_to_word(OURS)
    }

    fn gue_port(&self) -> [u8; 2] {
        6080u16.to_be_bytes()
    }

    fn is_source(&self, address: [u8; 16]) -> bool {
        address[..14] == v4_mapped([172, 16, 0, 0])[..14]
            || address[..8] == [1, 0, 0, 0, 0, 0, 0, 0]
    }
}

fn taken_out(frame: &[u8]) -> (DecapCounter, Vec<u8>) {
    let mut frame = frame.to_vec();
    (process(&mut frame, &Told), frame)
}

fn inner() -> Ip {
    tcp4((CLIENT_ADDRESS, 40_000), (VIP_SERVICES, 80), 0x18)
}

fn outer(protocol: u8, payload: Vec<u8>) -> Ip {
    Ip::new([172, 16, 3, 4], [10, 0, 0, 7], protocol, payload)
}

#[test]
fn every_family_in_every_family_comes_out_as_it_went_in() {
    let mut world = World::at(Clock::HOST);
    world.own(ROUTER_V2);
    world.own(ROUTER_V6);
    let host = Host::new(&world);
    for port in [TUNNEL_PORT, TUNNEL_PORT_V6, GUE_TO_V4_PORT, GUE_TO_V6_PORT] {
        let mut v4 = tcp4((CLIENT_ADDRESS, 40_000), (VIP_SERVICES, port), 0x18);
        let mut v6 = tcp6((CLIENT_ADDRESS_V6, 40_000), (VIP_V6_BOTH, port), 0x18);
        let mut frames = [v4.frame(OURS, CLIENT), v6.frame(OURS, CLIENT)];
        (v4.ttl, v6.hop_limit) = (v4.ttl - 1, v6.hop_limit - 1);
        let expected = [v4.frame(OURS, CLIENT), v6.frame(OURS, CLIENT)];
        for (frame, expected) in frames.iter_mut().zip(expected) {
            host.receive(frame);
            assert_ne!(*frame, expected);
            frame[..6].copy_from_slice(&OURS);
            frame[6..12].copy_from_slice(&CLIENT);

            let (counter, frame) = taken_out(frame);

            assert_eq!(counter, DecapCounter::Decapsulated, "{port}");
            assert_eq!(frame, expected, "{port}");
        }
    }
}

#[test]
fn the_header_of_the_other_variant_of_gue_is_taken_off_too() {
    let message = [&[0, 4, 0, 0][..], &inner().bytes()].concat();
    let frame = outer(17, udp(50_000, 6080, &message)).frame(OURS, CLIENT);
    let expected = inner().frame(OURS, CLIENT);
    assert_eq!(taken_out(&frame), (DecapCounter::Decapsulated, expected));
}

#[test]
fn what_may_not_come_through_a_tunnel_is_dropped() {
    let whole = outer(4, inner().bytes());
    let with = |change: fn(&mut Ip)| {
        let mut outer = whole.clone();
        change(&mut outer);
        taken_out(&outer.frame(OURS, CLIENT)).0
    };
    let strange = Ip6::new([0xfd; 16], [0xfe; 16], 4, inner().bytes()).frame(OURS, CLIENT);
    let gue = |message: &[u8]| taken_out(&outer(17, udp(1, 6080, message)).frame(OURS, CLIENT)).0;
    use DecapCounter::{DropCongested, DropFragment, DropMalformed, DropSource};
    assert_eq!(with(|outer| outer.source = [172, 17, 0, 1]), DropSource);
    assert_eq!(taken_out(&strange).0, DropSource);
    assert_eq!(with(|outer| outer.fragment = 0x2000), DropFragment);
    assert_eq!(with(|outer| outer.tos = 3), DropCongested);
    assert_eq!(with(|outer| outer.protocol = 41), DropMalformed);
    assert_eq!(with(|outer| outer.payload.truncate(30)), DropMalformed);
    assert_eq!(gue(&[0x20, 4, 0, 0]), DropMalformed);
    assert_eq!(gue(&[0x45]), DropMalformed);
}

#[test]
fn a_mark_of_congestion_is_carried_over() {
    let mut inner = inner();
    inner.tos = 2;
    let mut around = outer(4, inner.bytes());
    around.tos = 3;
    inner.tos = 3;
    let expected = inner.frame(OURS, CLIENT);
    let frame = around.frame(OURS, CLIENT);
    assert_eq!(taken_out(&frame), (DecapCounter::Decapsulated, expected));
}

#[test]
fn everything_else_is_left_to_the_stack() {
    let tunnel = outer(4, inner().bytes());
    let mut options = tunnel.clone();
    options.options = vec![1; 4];
    let frames = [
        tunnel.frame(PEER, CLIENT),
        options.frame(OURS, CLIENT),
        inner().frame(OURS, CLIENT),
        outer(17, udp(6080, 53, &inner().bytes())).frame(OURS, CLIENT),
        tunnel.frame(OURS, CLIENT)[..14].to_vec(),
    ];
    for frame in frames {
        assert_eq!(taken_out(&frame), (DecapCounter::Pass, frame));
    }
}

//! Frames of keepalived 2.2.7 and FRR 8.4.4, captured on the wire (`vectors/*.hex`): they parse to
//! what those routers were told, and what they were told is written with the same bytes.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hafw_vrrp::{
    Auth, ChecksumForm, Interval, Priority, Version, Vrid,
    wire::{
        Advertisement, FrameError, advert_frame, advert_frame_v6, gratuitous_arp, neighbour_advert,
        parse_frame,
    },
};

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 5];
const VIRTUAL_MAC: [u8; 6] = [0, 0, 0x5e, 0, 1, 51];
const VIRTUAL_MAC_V6: [u8; 6] = [0, 0, 0x5e, 0, 2, 51];
const VIPS: [IpAddr; 3] = [
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, 3)),
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, 4)),
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, 13)),
];
const PASS: Auth = Auth::Pass(*b"1111\0\0\0\0");

macro_rules! vector {
    ($name:literal) => {
        bytes(include_str!(concat!("vectors/", $name, ".hex")))
    };
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex
        .lines()
        .filter(|line| !line.starts_with('#'))
        .flat_map(str::chars)
        .map(|c| {
            c.to_digit(16)
                .and_then(|digit| digit.try_into().ok())
                .unwrap()
        })
        .collect();
    digits
        .chunks_exact(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

/// What the sender was configured with.
struct Sender {
    mac: [u8; 6],
    source: Ipv4Addr,
    /// FRR sets DF, which we do not.
    sets_df: bool,
    form: ChecksumForm,
}

const KEEPALIVED: Sender = Sender {
    mac: MAC,
    source: Ipv4Addr::new(10, 0, 0, 5),
    sets_df: false,
    form: ChecksumForm::PseudoHeader,
};
const KEEPALIVED_VMAC: Sender = Sender {
    mac: VIRTUAL_MAC,
    ..KEEPALIVED
};
const FRR: Sender = Sender {
    mac: VIRTUAL_MAC,
    source: Ipv4Addr::new(10, 0, 0, 6),
    sets_df: true,
    ..KEEPALIVED
};

fn v2(priority: u8, auth: Auth, addresses: &[IpAddr]) -> Advertisement {
    Advertisement {
        version: Version::V2,
        vrid: Vrid::new(51).unwrap(),
        priority: Priority::from(priority),
        interval: Interval::from_seconds(1).unwrap(),
        auth,
        addresses: addresses.to_vec(),
    }
}

fn v3(priority: u8, centiseconds: u16, addresses: &[IpAddr]) -> Advertisement {
    Advertisement {
        version: Version::V3,
        interval: Interval::from_centiseconds(centiseconds).unwrap(),
        ..v2(priority, Auth::None, addresses)
    }
}

#[track_caller]
fn assert_same(frame: &[u8], sender: &Sender, advert: &Advertisement) {
    let (source, destination, message) = parse_frame(frame).unwrap();
    assert_eq!(source, sender.source);
    let parsed = Advertisement::parse(message, source, destination);
    assert_eq!(parsed.as_ref(), Ok(advert));

    let emitted = advert.emit(source, destination, sender.form);
    assert_eq!(emitted, message);
    if !sender.sets_df {
        let id = u16::from_be_bytes([frame[18], frame[19]]);
        assert_eq!(advert_frame(sender.mac, sender.source, id, &emitted), frame);
    }
}

#[test]
fn keepaliveds_version_2() {
    let same = |frame: &[u8], advert| assert_same(frame, &KEEPALIVED, &advert);
    same(&vector!("ka-v2-pass"), v2(150, PASS, &VIPS[..1]));
    same(&vector!("ka-v2-pass-prio0"), v2(0, PASS, &VIPS[..1]));
    same(&vector!("ka-v2-none"), v2(150, Auth::None, &VIPS[..1]));
    same(&vector!("ka-v2-none-prio0"), v2(0, Auth::None, &VIPS[..1]));
    same(&vector!("ka-v2-3vips"), v2(150, Auth::None, &VIPS));
    let vmac = vector!("ka-v2-pass-vmac");
    assert_same(&vmac, &KEEPALIVED_VMAC, &v2(150, PASS, &VIPS[..1]));
}

#[test]
fn keepaliveds_version_3() {
    let same = |frame: &[u8], advert| assert_same(frame, &KEEPALIVED, &advert);
    same(&vector!("ka-v3-ipv4"), v3(150, 100, &VIPS[..1]));
    same(&vector!("ka-v3-ipv4-prio0"), v3(0, 100, &VIPS[..1]));
    same(&vector!("ka-v3-ipv4-1cs"), v3(150, 1, &VIPS[..1]));
    same(&vector!("ka-v3-ipv4-2vips-50cs"), v3(150, 50, &VIPS[..2]));
}

#[test]
fn frrs_adverts() {
    let same = |frame: &[u8], advert| assert_same(frame, &FRR, &advert);
    same(&vector!("frr-v2-none"), v2(100, Auth::None, &VIPS[..1]));
    same(&vector!("frr-v2-none-prio0"), v2(0, Auth::None, &VIPS[..1]));
    same(&vector!("frr-v3-ipv4"), v3(100, 100, &VIPS[..1]));
    same(&vector!("frr-v3-ipv4-prio0"), v3(0, 100, &VIPS[..1]));
}

#[test]
fn the_checksum_of_rfc_9568() {
    let sender = Sender {
        form: ChecksumForm::Message,
        ..KEEPALIVED
    };
    let frame = vector!("derived-v3-ipv4-rfc9568");
    assert_same(&frame, &sender, &v3(150, 100, &VIPS[..1]));
}

#[test]
fn an_authentication_header_is_refused() {
    let frame = vector!("ka-v2-ah");
    assert_eq!(parse_frame(&frame), Err(FrameError::Protocol(51)));
}

#[test]
fn version_3_over_ipv6() {
    let link_local: Ipv6Addr = "fe80::3".parse().unwrap();
    let global: Ipv6Addr = "2001:db8::3".parse().unwrap();
    let keepalived: Ipv6Addr = "fe80::ff:fe00:5".parse().unwrap();
    let advert = |priority| v3(priority, 100, &[link_local.into(), global.into()]);
    for (mut frame, mac, from, priority) in [
        (vector!("ka-v3-ipv6"), MAC, keepalived, 150),
        (vector!("ka-v3-ipv6-prio0"), MAC, keepalived, 0),
        (vector!("ka-v3-ipv6-vmac"), VIRTUAL_MAC_V6, keepalived, 150),
        (vector!("frr-v3-ipv6"), VIRTUAL_MAC_V6, link_local, 100),
    ] {
        let (source, destination, message) = parse_frame(&frame).unwrap();
        assert_eq!(source, from);
        let parsed = Advertisement::parse(message, source, destination);
        assert_eq!(parsed, Ok(advert(priority)));
        // Over IPv6 there is one form only.
        for form in [ChecksumForm::PseudoHeader, ChecksumForm::Message] {
            assert_eq!(advert(priority).emit(source, destination, form), message);
        }

        let emitted = advert_frame_v6(mac, from, message);

        // The kernel chose a flow label for theirs.
        frame[15] &= 0xf0;
        frame[16..18].fill(0);
        assert_eq!(emitted, frame);
    }
}

#[test]
fn unsolicited_advertisements_are_frrs_and_but_for_the_router_flag_keepaliveds() {
    let vip: Ipv6Addr = "fe80::3".parse().unwrap();
    assert_eq!(
        neighbour_advert(VIRTUAL_MAC_V6, vip)[..],
        vector!("frr-una")
    );
    let mut keepalived = vector!("ka-una");
    // The flags, and the checksum of what lacks one of them (RFC 1624: plus the complement of
    // what came in).
    assert_eq!(
        (keepalived[58], &keepalived[56..58]),
        (0x20, &[0x57, 0x93][..])
    );
    keepalived[58] = 0xa0;
    keepalived[56..58].copy_from_slice(&(0x5793 + !0x8000_u16).to_be_bytes());
    assert_eq!(neighbour_advert(MAC, vip)[..], keepalived);
}

#[test]
fn gratuitous_arp_is_keepaliveds_and_frrs() {
    let vip = Ipv4Addr::new(10, 0, 0, 3);
    assert_eq!(gratuitous_arp(MAC, vip)[..], vector!("ka-garp"));
    assert_eq!(
        gratuitous_arp(VIRTUAL_MAC, vip)[..],
        vector!("ka-garp-vmac")
    );
    assert_eq!(gratuitous_arp(VIRTUAL_MAC, vip)[..], vector!("frr-garp"));
}

//! Adverts: any frame, a source and any message over IPv6, and captured frames with bytes changed.
//!
//! The first byte says which; `seeds/advert_parse` has keepalived's and FRR's. What parses is emitted again as the same message, and is judged
//! without a panic by a router that it may or may not be for.
#![no_main]

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::LazyLock,
    time::Duration,
};

use hafw_ebpf::fixtures::frames::{Checksum, refresh_ip_checksum, refresh_vrrp_checksum};
use hafw_vrrp::{
    Auth, ChecksumForm, Interval, Priority, RouterConfig, Version, Vrid,
    wire::{Advertisement, advert_frame, parse_frame},
};
use libfuzzer_sys::fuzz_target;

macro_rules! vectors {
    ($($name:literal),* $(,)?) => {
        [$(include_str!(concat!("../../hafw-vrrp/tests/vectors/", $name, ".hex"))),*]
    };
}

const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);

/// keepalived's and FRR's frames over IPv4.
static FRAMES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let files = vectors![
        "derived-v3-ipv4-rfc9568",
        "frr-v2-none",
        "frr-v3-ipv4",
        "frr-v3-ipv4-prio0",
        "ka-v2-3vips",
        "ka-v2-ah",
        "ka-v2-none",
        "ka-v2-pass",
        "ka-v2-pass-prio0",
        "ka-v3-ipv4-1cs",
        "ka-v3-ipv4-2vips-50cs",
    ];
    files.into_iter().map(bytes).collect()
});

static ROUTER: LazyLock<RouterConfig> = LazyLock::new(|| RouterConfig {
    vrid: Vrid::new(51).expect("not 0"),
    version: Version::V2,
    priority: Priority::DEFAULT,
    interval: Interval::from_seconds(1).expect("not 0"),
    down_timer_adverts: 3,
    preempt: true,
    preempt_delay: Duration::ZERO,
    start_delay: Duration::ZERO,
    source: Ipv4Addr::new(10, 0, 0, 7).into(),
    addresses: vec![Ipv4Addr::new(10, 0, 0, 3).into()],
    auth: Auth::Pass(*b"1111\0\0\0\0"),
    checksum: ChecksumForm::PseudoHeader,
    grace: Duration::from_secs(60),
});

fn bytes(hex: &str) -> Vec<u8> {
    let lines = hex.lines().filter(|line| !line.starts_with('#'));
    let digits: String = lines.collect();
    let pairs = (0..digits.len() / 2).map(|i| &digits[2 * i..2 * i + 2]);
    pairs
        .map(|pair| u8::from_str_radix(pair, 16).expect("hex"))
        .collect()
}

/// A captured frame with bytes changed, and the checksums set right again in one form or the other.
fn edited(index: u8, edits: &[u8], form: Option<Checksum>) -> Vec<u8> {
    let mut frame = FRAMES[usize::from(index) % FRAMES.len()].clone();
    for edit in edits.chunks_exact(2) {
        let at = usize::from(edit[0]) % frame.len();
        frame[at] = edit[1];
    }
    if let Some(form) = form {
        refresh_vrrp_checksum(&mut frame, form);
        refresh_ip_checksum(&mut frame);
    }
    frame
}

fn message(message: &[u8], source: IpAddr, destination: IpAddr) {
    let Ok(advert) = Advertisement::parse(message, source, destination) else {
        return;
    };
    let meant = &message[..advert.length()];
    for form in [ChecksumForm::Message, ChecksumForm::PseudoHeader] {
        let emitted = advert.emit(source, destination, form);
        assert_eq!(emitted.len(), meant.len());
        let again = Advertisement::parse(&emitted, source, destination);
        assert_eq!(again.as_ref(), Ok(&advert));
        // What is ignored on receipt is sent as 0; it and the checksum may differ, nothing else.
        assert_eq!(emitted[..4], meant[..4]);
        let ignored = match (advert.version, advert.auth) {
            (Version::V2, Auth::None) => 8,
            (Version::V2, Auth::Pass(_)) | (Version::V3, _) => 0,
        };
        let end = meant.len() - ignored;
        assert_eq!(emitted[8..end], meant[8..end]);
    }
    let _ = ROUTER.check(source, &advert);
}

fn frame(frame: &[u8]) {
    let Ok((source, destination, payload)) = parse_frame(frame) else {
        return;
    };
    message(payload, source, destination);
    let IpAddr::V4(source) = source else {
        panic!("IPv4 frames only")
    };
    let again = advert_frame([2, 0, 0, 0, 0, 5], source, 1, payload);
    let (parsed, _, carried) = parse_frame(&again).expect("ours is good");
    assert_eq!((parsed, carried), (source.into(), payload));
}

fuzz_target!(|input: &[u8]| {
    match input {
        [0, bytes @ ..] => frame(bytes),
        [1, bytes @ ..] => {
            if let Some((source, bytes)) = bytes.split_first_chunk::<16>() {
                message(bytes, (*source).into(), GROUP_V6.into());
            }
        }
        [2, index, edits @ ..] => frame(&edited(*index, edits, None)),
        [3, index, edits @ ..] => frame(&edited(*index, edits, Some(Checksum::Message))),
        [_, index, edits @ ..] => frame(&edited(*index, edits, Some(Checksum::PseudoHeader))),
        [_] | [] => {}
    }
});

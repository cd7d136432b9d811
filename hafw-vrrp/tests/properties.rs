//! Laws over any input: bytes, adverts and pairs of routers.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hafw_common::{lease::wins, v4_mapped};
use hafw_vrrp::{
    Auth, ChecksumForm, Interval, Priority, Version, Vrid,
    wire::{Advertisement, ParseError, advert_frame, parse_frame},
};
use proptest::{
    collection::vec,
    prelude::{Just, Strategy, any, prop_oneof},
    prop_assert, prop_assert_eq, prop_assume, proptest,
};

const GROUP_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(224, 0, 0, 18));
const GROUP_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12));

fn form() -> impl Strategy<Value = ChecksumForm> {
    prop_oneof![
        Just(ChecksumForm::PseudoHeader),
        Just(ChecksumForm::Message)
    ]
}

fn v4() -> impl Strategy<Value = IpAddr> {
    any::<[u8; 4]>().prop_map(IpAddr::from)
}

fn v6() -> impl Strategy<Value = IpAddr> {
    any::<[u8; 16]>().prop_map(IpAddr::from)
}

/// An advert with the addresses it travels between.
fn advert() -> impl Strategy<Value = (Advertisement, IpAddr, IpAddr)> {
    let auth = prop_oneof![Just(Auth::None), any::<[u8; 8]>().prop_map(Auth::Pass)];
    let v2 = (1..=255u8, auth, vec(v4(), 1..=255), v4()).prop_map(
        |(seconds, auth, addresses, source)| {
            let interval = Interval::from_seconds(seconds).unwrap();
            (Version::V2, interval, auth, addresses, source, GROUP_V4)
        },
    );
    let v3 = |addresses, source, group| {
        (1..=4095u16, addresses, source).prop_map(move |(centiseconds, addresses, source)| {
            let interval = Interval::from_centiseconds(centiseconds).unwrap();
            (Version::V3, interval, Auth::None, addresses, source, group)
        })
    };
    let versions = prop_oneof![
        v2,
        v3(vec(v4().boxed(), 1..=255), v4().boxed(), GROUP_V4),
        v3(vec(v6().boxed(), 1..=255), v6().boxed(), GROUP_V6),
    ];
    (1..=255u8, any::<u8>(), versions).prop_map(
        |(vrid, priority, (version, interval, auth, addresses, source, group))| {
            let advert = Advertisement {
                version,
                vrid: Vrid::new(vrid).unwrap(),
                priority: Priority::from(priority),
                interval,
                auth,
                addresses,
            };
            (advert, source, group)
        },
    )
}

proptest! {
    #[test]
    fn any_bytes_are_parsed_or_refused(bytes in vec(any::<u8>(), 0..1200)) {
        let _ = parse_frame(&bytes);
        let _ = Advertisement::parse(&bytes, Ipv4Addr::LOCALHOST.into(), GROUP_V4);
        let _ = Advertisement::parse(&bytes, Ipv6Addr::LOCALHOST.into(), GROUP_V6);
        let _ = Advertisement::parse(&bytes, Ipv4Addr::LOCALHOST.into(), GROUP_V6);
    }

    #[test]
    fn what_is_emitted_is_what_is_parsed((advert, source, group) in advert(), form in form()) {
        let message = advert.emit(source, group, form);
        prop_assert_eq!(message.len(), advert.length());
        prop_assert_eq!(Advertisement::parse(&message, source, group), Ok(advert));
    }

    #[test]
    fn what_is_parsed_is_what_is_emitted(
        (advert, source, group) in advert(),
        form in form(),
        reserved in 0..16u8,
    ) {
        let mut message = advert.emit(source, group, form);
        if advert.version == Version::V3 {
            message[4] |= reserved << 4;
        }
        let Ok(parsed) = Advertisement::parse(&message, source, group) else {
            // The checksum covers the reserved bits.
            prop_assert!(advert.version == Version::V3 && reserved != 0);
            return Ok(());
        };
        prop_assert_eq!(parsed.emit(source, group, form), message);
    }

    /// Where one form alone is accepted and the length stays. (Version 3 over IPv4 has two, and a
    /// flipped bit may lead from one to the other.)
    #[test]
    fn the_checksum_meets_every_flipped_bit(
        (advert, source, group) in advert(),
        place in any::<proptest::sample::Index>(),
        bit in 0..8u8,
    ) {
        prop_assume!(advert.version == Version::V2 || source.is_ipv6());
        let mut message = advert.emit(source, group, ChecksumForm::PseudoHeader);
        let place = place.index(message.len());
        prop_assume!(![0, 1, 3].contains(&place));
        message[place] ^= 1 << bit;
        let refused = Advertisement::parse(&message, source, group);
        prop_assert_eq!(refused, Err(ParseError::Checksum));
    }

    #[test]
    fn a_frame_carries_its_message(
        mac in any::<[u8; 6]>(),
        source in any::<[u8; 4]>(),
        id in any::<u16>(),
        message in vec(any::<u8>(), 0..1036),
    ) {
        let frame = advert_frame(mac, source.into(), id, &message);
        prop_assert_eq!(parse_frame(&frame), Ok((source.into(), GROUP_V4, &message[..])));
    }

    #[test]
    fn of_two_routers_exactly_one_wins(
        (p, q) in (1..=255u8, 1..=255u8),
        (a, b) in (any::<[u8; 4]>(), any::<[u8; 4]>()),
    ) {
        let (a, b) = (v4_mapped(a), v4_mapped(b));
        let ab = wins(p, &a, q, &b);
        let ba = wins(q, &b, p, &a);
        prop_assert_eq!(ab != ba, (p, a) != (q, b));
        prop_assert!(!wins(0, &a, q, &b), "a release wins nothing");
    }

    #[test]
    fn winning_is_transitive(
        [p, q, r] in any::<[u8; 3]>(),
        [a, b, c] in any::<[[u8; 16]; 3]>(),
    ) {
        if wins(p, &a, q, &b) && wins(q, &b, r, &c) {
            prop_assert!(wins(p, &a, r, &c));
        }
    }
}

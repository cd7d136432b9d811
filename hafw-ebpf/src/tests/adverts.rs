//! XDP's judgement of an advert is hafw-vrrp's: what the one calls valid the other parses, and the
//! other way round. Otherwise a lease could end for an advert that the state machine ignores.

use std::{net::IpAddr, string::String, vec, vec::Vec};

use hafw_common::{
    counters::Counter,
    lease::wins,
    proto::{VRRP_AUTH_NONE, VRRP_GROUP_V4},
    router::RouterConfig,
    v4_mapped,
};
use hafw_vrrp::{
    Auth, Version,
    wire::{Advertisement, parse_frame},
};
use proptest::{
    collection::vec,
    prelude::{Just, Strategy, any, prop_oneof},
    prop_assert_eq, proptest,
    sample::{Index, select},
};

use crate::fixtures::{
    Clock, Event, Host, World,
    frames::{Advert, Checksum, refresh_ip_checksum, refresh_vrrp_checksum},
    world::{
        OUR_ADDRESS, PASSWORD, PEER, PEER_ADDRESS, PRIORITY, ROUTER_V2, ROUTER_V3, VRID_V2, VRID_V3,
    },
};

fn advert() -> impl Strategy<Value = Advert> {
    let versions = prop_oneof![Just((2, VRID_V2)), Just((3, VRID_V3))];
    let addresses = prop_oneof![
        8 => vec(any::<[u8; 4]>(), 0..4),
        1 => vec(any::<[u8; 4]>(), 0..=255),
    ];
    let sources = select(vec![PEER_ADDRESS, OUR_ADDRESS, [10, 0, 0, 1]]);
    let intervals = select(vec![
        [1, 1],
        [0, 100],
        [0, 1],
        [0, 0],
        [1, 2],
        [2, 1],
        [0xf0, 0],
    ]);
    let passwords = select(vec![PASSWORD, [0; 8], *b"1112\0\0\0\0"]);
    let forms = select(vec![Checksum::Message, Checksum::PseudoHeader]);
    (
        versions,
        any::<u8>(),
        addresses,
        sources,
        intervals,
        passwords,
        forms,
    )
        .prop_map(
            |((version, vrid), priority, addresses, source, interval, auth_data, checksum)| {
                Advert {
                    source,
                    mac: PEER,
                    version,
                    kind: 1,
                    vrid,
                    priority,
                    addresses,
                    interval,
                    auth_data,
                    checksum,
                }
            },
        )
}

/// What happens to a frame on its way.
#[derive(Clone, Debug)]
enum Damage {
    None,
    /// Bytes behind the MACs and the EtherType, with checksums set right again or not.
    Bytes {
        edits: Vec<(Index, u8)>,
        repaired: bool,
    },
    Cut(Index),
    Extended(Vec<u8>),
    /// A payload longer than the message.
    Longer(Vec<u8>),
}

fn damage() -> impl Strategy<Value = Damage> {
    let edits = vec((any::<Index>(), any::<u8>()), 1..4);
    prop_oneof![
        3 => Just(Damage::None),
        4 => (edits, any::<bool>())
            .prop_map(|(edits, repaired)| Damage::Bytes { edits, repaired }),
        1 => any::<Index>().prop_map(Damage::Cut),
        1 => vec(any::<u8>(), 1..20).prop_map(Damage::Extended),
        1 => vec(any::<u8>(), 1..20).prop_map(Damage::Longer),
    ]
}

fn damaged(advert: &Advert, damage: Damage) -> Vec<u8> {
    let mut frame = advert.frame();
    match damage {
        Damage::None => (),
        Damage::Bytes { edits, repaired } => {
            for (place, value) in edits {
                let behind = frame.len() - 14;
                frame[14 + place.index(behind)] = value;
            }
            if repaired {
                refresh_vrrp_checksum(&mut frame, advert.checksum);
                refresh_ip_checksum(&mut frame);
            }
        }
        Damage::Cut(place) => frame.truncate(place.index(frame.len() - 14) + 14),
        Damage::Extended(more) => frame.extend(more),
        Damage::Longer(more) => {
            let mut ip = advert.ip();
            ip.payload.extend(more);
            frame = ip.frame([1, 0, 0x5e, 0, 0, 18], PEER);
        }
    }
    frame
}

/// What hafw-vrrp makes of a frame, for a router that is configured so.
fn accepted(frame: &[u8], config: &RouterConfig) -> Result<(IpAddr, Advertisement), String> {
    let (source, destination, message) = parse_frame(frame).map_err(|e| std::format!("{e}"))?;
    let advert =
        Advertisement::parse(message, source, destination).map_err(|e| std::format!("{e}"))?;
    let auth = match (config.version, config.auth_type) {
        (3, _) | (_, VRRP_AUTH_NONE) => Auth::None,
        _ => Auth::Pass(config.auth_data),
    };
    let fits = destination == IpAddr::from(VRRP_GROUP_V4)
        && advert.vrid.get() == config.vrid
        && advert.version.number() == config.version
        && advert.auth == auth
        && (advert.version == Version::V3
            || advert.interval.seconds() == Some(config.interval_seconds));
    let foreign = matches!(source, IpAddr::V4(a) if v4_mapped(a.octets()) != config.source);
    if fits && foreign {
        Ok((source, advert))
    } else {
        Err("another configuration".into())
    }
}

proptest! {
    #[test]
    fn xdp_calls_valid_what_the_state_machine_takes(
        advert in advert(),
        damage in damage(),
        auth_type in 0..=1u8,
    ) {
        let mut world = World::at(Clock::HOST);
        for router in world.routers.values_mut() {
            router.config.auth_type = auth_type;
        }
        world.own(ROUTER_V2);
        world.own(ROUTER_V3);
        let mut frame = damaged(&advert, damage);
        let host = Host::new(&world);

        let outcome = host.receive(&mut frame);

        let observed = host.observed();
        let taken = [ROUTER_V2, ROUTER_V3].into_iter().find_map(|index| {
            let config = &world.routers[&index].config;
            accepted(&frame, config).ok().map(|taken| (index, config, taken))
        });
        prop_assert_eq!(outcome.counter == Counter::AdvertValid, taken.is_some());
        let Some((index, config, (source, advert))) = taken else {
            prop_assert_eq!(observed.events, vec![]);
            return Ok(());
        };
        let IpAddr::V4(source) = source else { panic!("IPv4 frames only") };
        // The message in the ring parses to the same advert, and the lease ends if that beats us.
        let [Event::Advert { router, message, .. }] = &observed.events[..] else {
            panic!("{:?}", observed.events);
        };
        prop_assert_eq!(*router, index);
        let again = Advertisement::parse(message, source.into(), VRRP_GROUP_V4.into());
        prop_assert_eq!(again.as_ref(), Ok(&advert));
        let priority = advert.priority.get();
        let beaten = wins(priority, &v4_mapped(source.octets()), PRIORITY, &config.source);
        prop_assert_eq!(observed.seen[&index].lost, beaten);
    }
}

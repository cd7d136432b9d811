//! `[[virtual_router]]`.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use hafw_config::{Located, Section};
use hafw_vrrp::{Auth, ChecksumForm, Interval, Priority, Version, Vrid};

use super::{interface_name, name as label, on_a_link, or};
use crate::config::model::{Router, Track, Vip};
use crate::split_brain::Policy;

/// `deaf_after`.
const DEAF_AFTER: Duration = Duration::from_secs(5);

pub(super) fn router(section: &Section) -> Option<Router> {
    let name = section.name("name");
    let interface = section.need("interface", interface_name(section, "interface"));
    let vrid = section.need("vrid", section.number::<u8>("vrid", 1..=255));
    let version = version(section);
    let priority = or(section.number("priority", 1..=255), Priority::DEFAULT.get());
    let interval = interval(section, version);
    let auth = authentication(section, version);
    let vips = section.need("vips", vips(section));
    let forms = [
        ("pseudo_header", ChecksumForm::PseudoHeader),
        ("message", ChecksumForm::Message),
    ];
    let checksum = or(
        section.choice("checksum", &forms),
        ChecksumForm::PseudoHeader,
    );
    let down_timer_adverts = or(section.number("down_timer_adverts", 1..=100), 3);
    let preempt = or(section.boolean("preempt"), true);
    let preempt_delay = or(section.duration("preempt_delay"), Duration::ZERO);
    let start_delay = or(section.duration("start_delay"), Duration::ZERO);
    let sync_group = section.parsed("sync_group", "a name", label);
    let virtual_mac = or(section.boolean("virtual_mac"), false);
    let unicast_peers = unicast_peers(section);
    let accept = or(section.boolean("accept"), true);
    let grace = or(section.duration("grace"), Duration::from_secs(60));
    let track = section
        .tables("track", "track")
        .iter()
        .filter_map(track)
        .collect();
    let split_brain = split_brain(section);
    let witness = witness(section);
    let deaf_after = or(section.duration("deaf_after"), DEAF_AFTER);
    for key in ["split_brain", "deaf_after"] {
        let acts = key == "deaf_after" || split_brain == Policy::Yield;
        if section.has(key) && acts && witness.is_empty() && !section.has("witness") {
            section.wrong(key, "it needs `witness`");
        }
    }
    section.finish();
    let vrid = vrid?;
    Some(Router {
        name: name?,
        interface: interface?,
        vrid: Located {
            value: Vrid::new(vrid.value)?,
            place: vrid.place,
        },
        version: version?,
        priority: Priority::from(priority),
        interval: interval?,
        auth: auth?,
        vips: vips?,
        checksum,
        down_timer_adverts,
        preempt,
        preempt_delay,
        start_delay,
        virtual_mac,
        unicast_peers,
        sync_group,
        accept,
        grace,
        track,
        split_brain,
        witness,
        deaf_after,
    })
}

fn split_brain(section: &Section) -> Policy {
    let words = [("warn", Policy::Warn), ("yield", Policy::Yield)];
    or(section.choice("split_brain", &words), Policy::Warn)
}

/// All that are right.
fn witness(section: &Section) -> Vec<Located<Ipv4Addr>> {
    let expected = "the IPv4 address of a host on the VIPs' network";
    let address = |text: &str| {
        let address = text.parse::<Ipv4Addr>().ok();
        address.filter(|address| on_a_link((*address).into()))
    };
    section
        .list("witness", expected, address)
        .unwrap_or_default()
}

/// None where it is wrong: what depends on it is not judged then.
fn version(section: &Section) -> Option<Version> {
    match section.number("version", 2..=3) {
        Some(Located { value: 2u8, .. }) => Some(Version::V2),
        Some(_) => Some(Version::V3),
        None => (!section.has("version")).then_some(Version::V3),
    }
}

/// None where it is wrong.
fn interval(section: &Section, version: Option<Version>) -> Option<Interval> {
    const KEY: &str = "advertisement_interval";
    let given = section.duration(KEY);
    let version = version?;
    let Some(Located { value: given, .. }) = given else {
        let default = match version {
            Version::V2 => Interval::from_seconds(1),
            Version::V3 => Interval::from_centiseconds(10),
        };
        return if section.has(KEY) { None } else { default };
    };
    let ms = given.as_millis();
    let (interval, expected) = match version {
        Version::V2 => (
            u8::try_from(ms / 1000)
                .ok()
                .filter(|_| ms % 1000 == 0)
                .and_then(Interval::from_seconds),
            "expected whole seconds from \"1s\" to \"255s\" (version 2)",
        ),
        Version::V3 => (
            u16::try_from(ms / 10)
                .ok()
                .filter(|_| ms % 10 == 0)
                .and_then(Interval::from_centiseconds),
            "expected a multiple of 10ms from \"10ms\" to \"40950ms\" (version 3)",
        ),
    };
    if interval.is_none() {
        section.wrong(KEY, expected);
    }
    interval
}

/// None where it is wrong.
fn authentication(section: &Section, version: Option<Version>) -> Option<Auth> {
    const KEY: &str = "authentication";
    if !section.has(KEY) {
        return Some(Auth::None);
    }
    let table = section.table(KEY)?;
    let kind = table.need("type", kind(&table));
    let password = table.secret("password");
    table.finish();
    if !kind? {
        return Some(Auth::None);
    }
    if version? == Version::V3 {
        section.wrong(
            KEY,
            "VRRP version 3 has none (RFC 9568 §9): set version = 2, or leave it out",
        );
        return None;
    }
    let Located {
        value: password,
        place,
    } = table.need("password", password)?;
    let bytes = password.reveal().as_bytes();
    if bytes.is_empty() || bytes.len() > 8 {
        let from = password
            .file()
            .map(|file| format!(" in {}", file.display()));
        let from = from.unwrap_or_default();
        table.note(
            &place,
            format!("password: expected 1 to 8 bytes{from} (RFC 2338 §5.3.6)"),
        );
        return None;
    }
    let mut padded = [0; 8];
    padded[..bytes.len()].copy_from_slice(bytes);
    Some(Auth::Pass(padded))
}

/// Whether there is a password. None where it is wrong.
fn kind(table: &Section) -> Option<bool> {
    if table.not_yet_words("type", &["ah"]) {
        return None;
    }
    Some(
        table
            .choice("type", &[("none", false), ("pass", true)])?
            .value,
    )
}

/// All that are right.
fn unicast_peers(section: &Section) -> Vec<Located<IpAddr>> {
    let mut peers = Vec::new();
    for Located { value, place } in section.strings("unicast_peers").unwrap_or_default() {
        match value.parse::<IpAddr>() {
            Ok(peer) if on_a_link(peer) => peers.push(Located { value: peer, place }),
            Ok(_) => section.note(
                &place,
                format!("unicast_peers: {value:?}: no host can have this address on a link"),
            ),
            Err(_) => section.note(
                &place,
                format!(
                    "unicast_peers: {value:?}: expected the address of a peer, such as \"10.0.0.6\""
                ),
            ),
        }
    }
    peers
}

/// All that are right.
fn vips(section: &Section) -> Option<Vec<Located<Vip>>> {
    let given = section.strings("vips")?;
    section.need_items("vips", "address");
    let mut vips = Vec::new();
    for Located { value, place } in given {
        match vip(&value) {
            Ok(vip) => vips.push(Located { value: vip, place }),
            Err(why) => section.note(&place, format!("vips: {value:?}: {why}")),
        }
    }
    Some(vips)
}

fn vip(text: &str) -> Result<Vip, &'static str> {
    const EXPECTED: &str = "expected an address, with or without a prefix, such as \
                            \"10.0.0.3/24\" or \"2001:db8::3/64\"";
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().map_err(|_| EXPECTED)?;
    let (bits, number) = match address {
        IpAddr::V4(v4) => (32, u128::from(v4.to_bits())),
        IpAddr::V6(v6) => (128, v6.to_bits()),
    };
    let prefix = match prefix {
        None => bits,
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => digits
            .parse()
            .ok()
            .filter(|prefix| (1..=bits).contains(prefix))
            .ok_or(EXPECTED)?,
        Some(_) => return Err(EXPECTED),
    };
    if !on_a_link(address) {
        return Err("no host can have this address on a link");
    }
    // Of a /31 and a /127 both addresses are hosts' (RFC 3021, RFC 6164).
    let host_bits = bits - prefix;
    let hosts = (1u128 << host_bits.min(127)) - 1;
    match number & hosts {
        0 if host_bits > 1 => Err("this is the network's own address"),
        host if host_bits > 1 && host == hosts && address.is_ipv4() => {
            Err("this is the network's broadcast address")
        }
        _ => Ok(Vip { address, prefix }),
    }
}

fn track(section: &Section) -> Option<Track> {
    let check = section.need("check", section.string("check"));
    let weight = or(section.number("weight", -253..=253), 0);
    section.finish();
    Some(Track {
        check: check?,
        weight,
    })
}

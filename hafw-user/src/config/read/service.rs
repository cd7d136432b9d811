//! `[[service]]`.

use std::net::IpAddr;

use hafw_config::Section;

use super::{
    check::{Timing, is_path},
    ip, on_a_link, or, socket,
};
use crate::config::model::{Backend, Health, HealthKind, Mode, Protocol, Service};

/// Katran's and the usual size: shares are exact to 0.01 % with up to some hundred backends.
const DEFAULT_SLOTS: u32 = 65_537;
/// The largest prime below 2^24.
const MAX_SLOTS: i64 = 16_777_213;
/// Health checks that the format has and this version does not carry out.
const LATER_HEALTH: [&str; 6] = ["https", "grpc", "dns", "udp", "icmp", "command"];

pub(super) fn service(section: &Section) -> Option<Service> {
    let name = section.name("name");
    let vip = section.need("vip", ip(section, "vip"));
    let port = port(section);
    let protocols = [("tcp", Protocol::Tcp), ("udp", Protocol::Udp)];
    let protocol = section.need("protocol", section.choice("protocol", &protocols));
    let mode = mode(section);
    let slots = slots(section);
    section.not_yet("on_failure", &["\"keep\""]);
    let health = health(section);
    let backends = section
        .tables("backend", "backend")
        .iter()
        .filter_map(backend)
        .collect();
    if !section.has("backend") {
        section.note(section.place(), "it has no [[service.backend]]");
    }
    section.need_items("backend", "backend");
    section.finish();
    Some(Service {
        name: name?,
        vip: vip?,
        port: port?,
        protocol: protocol?.value,
        mode: mode?,
        slots: slots?,
        health: health.ok()?,
        backends,
        place: section.place().clone(),
    })
}

fn port(section: &Section) -> Option<u16> {
    section.not_yet("ports", &[]);
    if section.not_yet_words("port", &["any"]) {
        return None;
    }
    let port = section.number("port", 1..=65535);
    if !section.has("ports") {
        section.need("port", port.as_ref());
    }
    Some(port?.value)
}

fn mode(section: &Section) -> Option<Mode> {
    if section.not_yet_words("mode", &["fullnat"]) {
        return None;
    }
    let modes = [Mode::Dsr, Mode::Nat, Mode::Ipip, Mode::Gue].map(|mode| (mode.name(), mode));
    let mode = section.need("mode", section.choice("mode", &modes));
    mode.map(|mode| mode.value)
}

/// A prime: Maglev's permutations need one. None where it is wrong.
fn slots(section: &Section) -> Option<u32> {
    let Some(slots) = section.number::<u32>("slots", 2..=MAX_SLOTS) else {
        return (!section.has("slots")).then_some(DEFAULT_SLOTS);
    };
    if is_prime(slots.value) {
        return Some(slots.value);
    }
    let next = (slots.value..)
        .find(|n| is_prime(*n))
        .unwrap_or(DEFAULT_SLOTS);
    section.wrong("slots", &format!("expected a prime, such as {next}"));
    None
}

fn is_prime(n: u32) -> bool {
    n >= 2
        && (2..)
            .take_while(|d| d * d <= n)
            .all(|d| !n.is_multiple_of(d))
}

/// What was wrong is noted.
struct Wrong;

fn health(section: &Section) -> Result<Option<Health>, Wrong> {
    if !section.has("health") {
        return Ok(None);
    }
    let table = section.table("health").ok_or(Wrong)?;
    let http = table.parsed("http", "a path such as \"/\"", |path| {
        is_path(path).then(|| path.to_owned())
    });
    let tcp = tcp(&table);
    let expect = table.integers("expect_status", 100..=599);
    table.need_items("expect_status", "status");
    for key in LATER_HEALTH {
        table.not_yet(key, &[]);
    }
    let port = table
        .number::<u16>("port", 1..=65535)
        .map(|port| port.value);
    let Timing {
        interval,
        timeout,
        rise,
        fall,
    } = Timing::read(&table);
    table.finish();

    let kinds = ["http", "tcp"].into_iter().chain(LATER_HEALTH);
    let given = kinds.filter(|key| table.has(key)).count();
    if given != 1 {
        table.note(
            table.place(),
            "expected one of http = \"PATH\" and tcp = true",
        );
        return Err(Wrong);
    }
    if table.has("expect_status") && !table.has("http") {
        table.wrong("expect_status", "only an http health check has a status");
    }
    let kind = match (http, tcp) {
        (Some(path), _) => {
            let expect = expect.unwrap_or_default();
            // In range: read as such.
            let expect = expect
                .iter()
                .filter_map(|s| u16::try_from(s.value).ok())
                .collect();
            HealthKind::Http {
                path: path.value,
                expect,
            }
        }
        (None, Some(())) => HealthKind::Tcp,
        (None, None) => return Err(Wrong),
    };
    Ok(Some(Health {
        kind,
        port,
        interval,
        timeout,
        rise,
        fall,
    }))
}

fn tcp(table: &Section) -> Option<()> {
    let on = table.boolean("tcp")?.value;
    if !on {
        table.wrong(
            "tcp",
            "expected true: leave `health` out if nothing is looked at",
        );
    }
    on.then_some(())
}

fn backend(section: &Section) -> Option<Backend> {
    let address = section.need("address", socket(section, "address"));
    let weight = or(section.number("weight", 0..=65535), 1);
    section.finish();
    let address = address?;
    if !on_a_link(address.value.ip()) {
        section.wrong("address", "no host can have this address on a link");
        return None;
    }
    if matches!(address.value.ip(), IpAddr::V6(v6) if v6.is_unicast_link_local()) {
        let expected = "a link-local address does not say on which link: expected another one";
        section.wrong("address", expected);
        return None;
    }
    Some(Backend { address, weight })
}

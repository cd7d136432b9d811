//! `[[service]]`.

use std::net::IpAddr;

use hafw_config::Section;

use super::{guard::guard, health::health, ip, on_a_link, or, socket};
use crate::config::model::{Backend, Mode, Protocol, Service};

/// Katran's and the usual size: shares are exact to 0.01 % with up to some hundred backends.
const DEFAULT_SLOTS: u32 = 65_537;
/// The largest prime below 2^24.
const MAX_SLOTS: i64 = 16_777_213;

pub(super) fn service(section: &Section) -> Option<Service> {
    let name = section.name("name");
    let vip = section.need("vip", ip(section, "vip"));
    let port = port(section);
    let protocols = [("tcp", Protocol::Tcp), ("udp", Protocol::Udp)];
    let protocol = section.need("protocol", section.choice("protocol", &protocols));
    let mode = mode(section);
    let slots = slots(section);
    let on_failure = section.choice("on_failure", &[("keep", false), ("reset", true)]);
    let health = health(section);
    let guard = guard(section);
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
        guard,
        reset_on_failure: on_failure.is_some_and(|reset| reset.value),
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

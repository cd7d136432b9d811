//! Addresses and ports of virtual and real servers, and ranges of them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Notes, blocks};
use crate::{
    place::{Mistake, Place, one_line},
    statement::{Statement, Word},
};

/// How many services a range may come to.
const MAX_RANGE: u128 = 1024;

/// An address with a port, or with all of them.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    pub(super) address: IpAddr,
    pub(super) port: Option<u16>,
    pub(super) place: Place,
}

impl Endpoint {
    pub(super) fn shown(&self) -> String {
        match (self.address, self.port) {
            (IpAddr::V6(address), Some(port)) => format!("[{address}]:{port}"),
            (address, Some(port)) => format!("{address}:{port}"),
            (address, None) => address.to_string(),
        }
    }
}

/// What a virtual server is for: itself, or what its group has.
pub(super) fn endpoints(
    server: &Statement,
    statements: &[Statement],
    notes: &mut Notes,
) -> Vec<Endpoint> {
    match server.arg() {
        Some("fwmark") => {
            let why = "no equivalent of firewall marks; left out";
            notes.unmatched(server, why);
            Vec::new()
        }
        Some("group") => {
            let name = server.args().get(1).map(|word| word.text.as_str());
            let Some(name) = name else {
                let message = "virtual_server group: expected a name";
                notes.mistakes.push(Mistake::at(server.place(), message));
                return Vec::new();
            };
            let mut groups = blocks(statements, "virtual_server_group");
            let Some(group) = groups.find(|group| group.arg() == Some(name)) else {
                let message = format!(
                    "virtual_server group {}: expected the name of a virtual_server_group",
                    one_line(name)
                );
                notes.mistakes.push(Mistake::at(server.place(), message));
                return Vec::new();
            };
            let mut endpoints = Vec::new();
            for line in group.inner() {
                if line.keyword() == "fwmark" {
                    notes.unmatched(line, "no equivalent of firewall marks; left out");
                } else if let Some(more) = notes.take(range(line)) {
                    endpoints.extend(more);
                }
            }
            endpoints
        }
        _ => notes.take(socket(server)).into_iter().collect(),
    }
}

/// `KEYWORD ADDRESS [PORT]`.
pub(super) fn socket(statement: &Statement) -> Result<Endpoint, Mistake> {
    let expected = "an IP address, and a port after it";
    let word = statement.need(expected)?;
    let address = word
        .text
        .parse()
        .map_err(|_| statement.wrong(word, expected))?;
    Ok(Endpoint {
        address,
        port: port(statement, statement.args().get(1))?,
        place: word.place.clone(),
    })
}

/// 0 and none are all ports.
fn port(statement: &Statement, word: Option<&Word>) -> Result<Option<u16>, Mistake> {
    let Some(word) = word else {
        return Ok(None);
    };
    let port: u16 = word
        .text
        .parse()
        .map_err(|_| statement.wrong(word, "a port from 1 to 65535"))?;
    Ok((port != 0).then_some(port))
}

/// `ADDRESS`, `ADDRESS-LAST`, `ADDRESS-ADDRESS` or `ADDRESS/PREFIX`, and a port.
fn range(line: &Statement) -> Result<Vec<Endpoint>, Mistake> {
    let text = line.keyword();
    let port = port(line, line.args().first())?;
    let wrong = || {
        let message = format!(
            "{}: expected an IP address or a range of at most {MAX_RANGE}",
            one_line(text)
        );
        Mistake::at(line.place(), message)
    };
    let (first, last) = bounds(text).ok_or_else(wrong)?;
    let count = number(last).checked_sub(number(first)).ok_or_else(wrong)?;
    if count >= MAX_RANGE {
        return Err(wrong());
    }
    let addresses = (number(first)..=number(last)).filter_map(|n| match first {
        IpAddr::V4(_) => u32::try_from(n)
            .ok()
            .map(|n| IpAddr::V4(Ipv4Addr::from_bits(n))),
        IpAddr::V6(_) => Some(IpAddr::V6(Ipv6Addr::from_bits(n))),
    });
    let endpoints = addresses.map(|address| Endpoint {
        address,
        port,
        place: line.place().clone(),
    });
    Ok(endpoints.collect())
}

fn bounds(text: &str) -> Option<(IpAddr, IpAddr)> {
    if let Some((first, last)) = text.split_once('-') {
        let first: IpAddr = first.parse().ok()?;
        let last = match (first, last.parse::<IpAddr>()) {
            (_, Ok(last)) => last,
            (IpAddr::V4(first), Err(_)) => {
                let [a, b, c, _] = first.octets();
                IpAddr::V4(Ipv4Addr::new(a, b, c, last.parse().ok()?))
            }
            (IpAddr::V6(first), Err(_)) => {
                let [a, b, c, d, e, f, g, _] = first.segments();
                let last = u16::from_str_radix(last, 16).ok()?;
                IpAddr::V6(Ipv6Addr::new(a, b, c, d, e, f, g, last))
            }
        };
        return (first.is_ipv4() == last.is_ipv4()).then_some((first, last));
    }
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let Some(prefix) = prefix else {
        return Some((address, address));
    };
    let prefix: u32 = prefix.parse().ok()?;
    match address {
        IpAddr::V4(address) => {
            let host = u32::MAX.checked_shr(prefix).unwrap_or(0);
            let (first, last) = (address.to_bits() & !host, address.to_bits() | host);
            (prefix <= 32).then(|| {
                (
                    Ipv4Addr::from_bits(first).into(),
                    Ipv4Addr::from_bits(last).into(),
                )
            })
        }
        IpAddr::V6(address) => {
            let host = u128::MAX.checked_shr(prefix).unwrap_or(0);
            let (first, last) = (address.to_bits() & !host, address.to_bits() | host);
            (prefix <= 128).then(|| {
                (
                    Ipv6Addr::from_bits(first).into(),
                    Ipv6Addr::from_bits(last).into(),
                )
            })
        }
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_have_their_first_and_last_addresses() {
        let shown = |text| bounds(text).map(|(first, last)| format!("{first} {last}"));

        assert_eq!(shown("10.0.0.1").unwrap(), "10.0.0.1 10.0.0.1");
        assert_eq!(shown("10.0.0.1-9").unwrap(), "10.0.0.1 10.0.0.9");
        assert_eq!(shown("10.0.0.250-10.0.1.2").unwrap(), "10.0.0.250 10.0.1.2");
        assert_eq!(shown("10.0.0.9/29").unwrap(), "10.0.0.8 10.0.0.15");
        assert_eq!(shown("fd00::1-1f").unwrap(), "fd00::1 fd00::1f");
        assert_eq!(shown("fd00::/127").unwrap(), "fd00:: fd00::1");
        assert_eq!(shown("10.0.0.1-fd00::1"), None);
        assert_eq!(shown("10.0.0.0/33"), None);
    }
}

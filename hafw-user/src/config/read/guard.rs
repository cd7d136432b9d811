//! `allow`, `deny` and `new_connection_limit` of a `[[service]]`.

use std::net::IpAddr;

use hafw_config::{Located, Section};

use crate::datapath::{GuardSpec, Prefix, SourceLimit};

/// Prefixes of a service in each list: more belong into a firewall.
const MOST: usize = 10_000;

/// All three; empty where there is none.
pub(super) fn guard(section: &Section) -> GuardSpec {
    let (allow, deny) = (prefixes(section, "allow"), prefixes(section, "deny"));
    for one in &deny {
        if let Some(other) = allow.iter().find(|other| other.value == one.value) {
            let (address, length) = one.value;
            let message = format!(
                "deny: {address}/{length}: `allow` has it too, at {}",
                other.place
            );
            section.note(&one.place, message);
        }
    }
    let values = |list: Vec<Located<Prefix>>| list.into_iter().map(|one| one.value).collect();
    GuardSpec {
        allow: values(allow),
        deny: values(deny),
        limit: limit(section),
    }
}

fn prefixes(section: &Section, key: &str) -> Vec<Located<Prefix>> {
    let expected = "an address or a network such as \"10.0.0.0/8\"";
    let list = section.list(key, expected, prefix).unwrap_or_default();
    section.need_items(key, "network");
    if list.len() > MOST {
        section.note(
            &section.place_of(key),
            format!("{key}: expected at most {MOST} networks"),
        );
    }
    list
}

/// Without a length, the address alone. Bits beyond the length are a mistake.
fn prefix(text: &str) -> Option<Prefix> {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length.parse::<u8>().ok()?)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let (bits, all) = match address {
        IpAddr::V4(v4) => (u128::from(v4.to_bits()) << 96, 32),
        IpAddr::V6(v6) => (v6.to_bits(), 128),
    };
    let length = length.unwrap_or(all);
    let beyond = bits.checked_shl(length.into()).unwrap_or(0);
    (length <= all && beyond == 0).then_some((address, length))
}

fn limit(section: &Section) -> Option<SourceLimit> {
    let table = section.table("new_connection_limit")?;
    let rate = table.number("rate", 1..=1_000_000);
    let rate = table.need("rate", rate);
    let burst = table.number("burst", 1..=1_000_000);
    table.finish();
    let rate = rate?.value;
    Some(SourceLimit {
        rate,
        burst: burst.map_or(rate, |burst| burst.value),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_no_bits_beyond_its_length() {
        for (text, length) in [
            ("10.0.0.0/8", 8),
            ("10.0.0.1", 32),
            ("0.0.0.0/0", 0),
            ("::/0", 0),
            ("2001:db8::/32", 32),
            ("2001:db8::1", 128),
        ] {
            assert_eq!(
                prefix(text).map(|(_, length)| length),
                Some(length),
                "{text}"
            );
        }
        for text in [
            "10.0.0.1/8",
            "10.0.0.0/33",
            "2001:db8::1/64",
            "a/8",
            "10.0.0.0/",
            "10/8",
        ] {
            assert_eq!(prefix(text), None, "{text}");
        }
    }
}

//! `split_brain`, `witness` and `deaf_after`.

use std::time::Duration;

use super::{super::parse, LEAST, machine::node};
use crate::{
    config::{against_system, witness_source},
    split_brain::Policy,
};

#[track_caller]
fn said(lines: &str) -> String {
    match parse("f", &format!("{LEAST}{lines}\n")) {
        Ok(_) => String::new(),
        Err(problems) => problems.to_string(),
    }
}

#[test]
fn what_an_isolated_node_does_is_read() {
    let least = &parse("f", LEAST).unwrap().routers[0];
    assert_eq!(least.split_brain, Policy::Warn);
    assert_eq!(least.deaf_after, Duration::from_secs(5));
    let keys = "split_brain = \"yield\"\nwitness = [\"10.0.0.254\"]\ndeaf_after = \"2s\"\n";
    let router = &parse("f", &(LEAST.to_owned() + keys)).unwrap().routers[0];
    assert_eq!(router.split_brain, Policy::Yield);
    assert_eq!(router.witness[0].value.octets(), [10, 0, 0, 254]);
    assert_eq!(router.deaf_after, Duration::from_secs(2));
}

#[test]
fn a_policy_without_a_witness_and_a_witness_that_no_host_can_be_are_refused() {
    let router = "virtual_router \"oldboy\"";
    for (lines, expected) in [
        ("split_brain = \"warn\"", String::new()),
        (
            "split_brain = \"yield\"",
            format!("f:8:15: {router}: split_brain = \"yield\": it needs `witness`"),
        ),
        (
            "deaf_after = \"1s\"",
            format!("f:8:14: {router}: deaf_after = \"1s\": it needs `witness`"),
        ),
        (
            "witness = [\"127.0.0.1\"]",
            format!(
                "f:8:12: {router}: witness: \"127.0.0.1\": expected the IPv4 address of a host on \
                 the VIPs' network"
            ),
        ),
        (
            "split_brain = \"fence\"",
            format!("f:8:15: {router}: split_brain = \"fence\": expected \"warn\" or \"yield\""),
        ),
    ] {
        assert_eq!(said(lines), expected);
    }
}

#[test]
fn a_witness_is_a_neighbour_and_asked_from_the_address_beside_it() {
    let witness = |address: &str| {
        let config = parse("f", &format!("{LEAST}witness = [\"{address}\"]\n")).unwrap();
        let facts = node(5);
        let said = against_system(&config, &facts).err();
        let source = witness_source(&config.routers[0], &facts.interfaces["eth0"]);
        (
            said.map_or_else(String::new, |said| said.to_string()),
            source,
        )
    };
    let source = Some([10, 0, 0, 5].into());
    assert_eq!(witness("10.0.0.254"), (String::new(), source));
    let message =
        |address, what| format!("f:8:12: virtual_router \"oldboy\": witness {address}: {what}");
    assert_eq!(
        witness("10.0.0.5").0,
        message("10.0.0.5", "eth0 has this address: it would always answer")
    );
    assert_eq!(
        witness("192.0.2.1").0,
        message(
            "192.0.2.1",
            "outside the networks of eth0: ARP does not reach it"
        )
    );
}

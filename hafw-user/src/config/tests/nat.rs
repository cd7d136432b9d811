//! `nat` services.

use super::{super::*, FULL, machine::node};

/// [`FULL`] with its service in `nat` mode, to a backend behind another network and port, and
/// `more` after its services.
fn nat(backend: &str, more: &str) -> String {
    FULL.replace("mode = \"dsr\"", "mode = \"nat\"")
        .replace("10.0.0.7:53", backend)
        .replace("[[upstream]]", &format!("{more}\n[[upstream]]"))
}

fn second(protocol: &str, backend: &str) -> String {
    format!(
        "[[service]]\nname = \"more\"\nvip = \"10.0.0.3\"\nport = 53\nprotocol = \"{protocol}\"\n\
         mode = \"nat\"\n[[service.backend]]\naddress = \"{backend}\"\n"
    )
}

fn said(text: &str) -> String {
    parse("f", text).map_or_else(|problems| problems.to_string(), |_| String::new())
}

#[test]
fn a_nat_backend_has_a_port_of_its_own() {
    let config = parse("f", &nat("10.9.0.7:5353", "")).unwrap();
    assert_eq!(config.services[0].mode, Mode::Nat);
    assert_eq!(config.services[0].backends[0].address.value.port(), 5353);
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
}

#[test]
fn a_source_leads_back_to_one_nat_service() {
    assert_eq!(
        said(&nat("10.9.0.7:53", &second("udp", "10.9.0.7:53"))),
        "f:66:11: service \"more\": backend 10.9.0.7:53: service \"dns\" has it too, at f:56:11, and \
         both are \"nat\": an answer from there could not be told to be the one's or the other's"
    );
    for other in [second("tcp", "10.9.0.7:53"), second("udp", "10.9.0.7:54")] {
        assert_eq!(said(&nat("10.9.0.7:53", &other)), "");
    }
    let other = second("udp", "10.9.0.7:53").replace("nat", "dsr");
    assert_eq!(said(&nat("10.9.0.7:53", &other)), "");
}

#[test]
fn a_backend_beside_the_vip_is_warned_of() {
    // This VIP has no network; the other one has.
    let text = nat("10.0.0.7:53", "").replace("vip = \"10.0.0.13\"", "vip = \"10.0.0.3\"");
    let config = parse("f", &text).unwrap();
    let warnings: Vec<_> = config.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "f:56:11: warning: service \"dns\": backend 10.0.0.7:53: in the VIP's own network, \
             10.0.0.3/24: clients of that network get its answers directly and un-rewritten, unless \
             it has routes to them by way of this node (docs/l4.md)"
        ]
    );
}

#[test]
fn a_nat_backend_whose_answers_no_program_sees_is_remarked_on() {
    let mut facts = node(5);
    let mut eth2 = facts.interfaces["eth1"].clone();
    eth2.addresses = vec![([10, 9, 0, 1].into(), 24)];
    facts.interfaces.insert("eth2".into(), eth2);
    let remarks_on = |text: &str| {
        let config = parse("f", text).unwrap();
        let remarks = remarks(&config, &facts);
        remarks.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let text = nat("10.9.0.7:53", "");
    assert_eq!(
        remarks_on(&text),
        [
            "f:56:11: warning: service \"dns\": backend 10.9.0.7:53: it is behind eth2, where no \
             program runs: its answers would not be rewritten; add [[interface]] name = \"eth2\""
        ]
    );
    let with = text.replace(
        "[[interface]]",
        "[[interface]]\nname = \"eth2\"\n[[interface]]",
    );
    assert!(remarks_on(&with).is_empty());
    // Behind a router: by whichever interface, the routes say.
    assert!(remarks_on(&nat("192.0.2.7:53", "")).is_empty());
}

#[test]
fn a_tunnel_leads_anywhere_and_changes_no_port() {
    let ipip = nat("192.0.2.7:53", "").replace("\"nat\"", "\"ipip\"");
    let config = parse("f", &ipip).unwrap();
    assert_eq!(config.services[0].mode, Mode::Ipip);
    assert!(remarks(&config, &node(5)).is_empty());
    // A tunnel may be of another family than what is in it.
    for backend in ["192.0.2.7:53", "[2001:db8:9::7]:53"] {
        let gue = nat(backend, "").replace("\"nat\"", "\"gue\"");
        assert_eq!(said(&gue), "");
        let dsr = gue.replace("\"gue\"", "\"dsr\"");
        assert_eq!(said(&dsr).is_empty(), backend.starts_with('1'), "{backend}");
    }
    assert_eq!(
        said(&ipip.replace("192.0.2.7:53", "192.0.2.7:54")),
        "f:56:11: service \"dns\": backend 192.0.2.7:54: mode \"ipip\" does not change the port: \
         expected 53"
    );
}

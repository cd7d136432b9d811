//! L4: which backends flows reach, what `trace` says of them, and what becomes of them when a
//! backend goes and comes back.

use std::{collections::BTreeMap, net::SocketAddrV4, ops::Range, time::Duration};

use hafw_lab::{
    Host, Lab, Station, VIP_WWW, pause,
    peers::{ECHO_PORT, Echo, NodeState, Timing},
    probe::Flow,
    wait_until,
};

use crate::pair::{Pair, dsr_service};

const TO: SocketAddrV4 = SocketAddrV4::new(VIP_WWW, ECHO_PORT);
/// A backend that refuses is out after two probes; one that is slow on a busy machine stays in.
const HEALTH: &str =
    "health = { tcp = true, port = 9000, interval = \"100ms\", timeout = \"5s\", fall = 2 }";

/// A flow and the backend that answers it.
struct Answered {
    flow: Flow,
    by: Station,
}

/// Serves the VIP for the clients, and the host's own address for the probes.
fn serve(host: &Host) -> [Echo; 2] {
    [VIP_WWW, host.station().address()]
        .map(|address| Echo::start(host, address, ECHO_PORT).unwrap())
}

fn start(purpose: &str) -> (Pair, BTreeMap<Station, [Echo; 2]>) {
    let lab = Lab::new(purpose).unwrap();
    let echoes = Station::BACKENDS.map(|web| {
        lab[web].accept_vip(VIP_WWW).unwrap();
        (web, serve(&lab[web]))
    });
    let services = ["tcp", "udp"].map(|of| dsr_service(of, VIP_WWW, ECHO_PORT, HEALTH));
    let mut pair = Pair::start(lab, Timing::V3Tenth, &services.concat());
    pair.wait_for("all backends to be in", |status| {
        backends_are(status, &Station::BACKENDS)
    });
    (pair, echoes.into())
}

/// Whether these get new flows of both services, and no others.
fn backends_are(status: &NodeState, expected: &[Station]) -> Result<(), String> {
    for service in &status.services {
        let up: Vec<_> = service
            .backends
            .iter()
            .filter(|backend| backend.up && !backend.next_hop.is_empty())
            .map(|backend| backend.address.clone())
            .collect();
        let wanted: Vec<_> = expected
            .iter()
            .map(|web| format!("{}:{ECHO_PORT}", web.address()))
            .collect();
        if up != wanted {
            return Err(format!("{}: {up:?}", service.name));
        }
    }
    Ok(())
}

/// Opens a flow from each port, over TCP and, for every sixth, over UDP too.
fn open(client: &Host, ports: Range<u16>) -> Vec<Answered> {
    let mut flows = Vec::new();
    for port in ports {
        flows.push(Flow::tcp(client, port, TO).unwrap());
        if port.is_multiple_of(6) {
            flows.push(Flow::udp(client, port, TO).unwrap());
        }
    }
    let ask = |mut flow: Flow| {
        let by = flow.ask().unwrap();
        Answered { flow, by }
    };
    flows.into_iter().map(ask).collect()
}

/// How many flows of a transport each backend answers.
fn shares(flows: &[Answered], protocol: &str) -> BTreeMap<Station, usize> {
    let mut shares = BTreeMap::new();
    for Answered { flow, by } in flows {
        if flow.protocol() == protocol {
            *shares.entry(*by).or_default() += 1;
        }
    }
    shares
}

/// That both nodes name the backend that really answers, and that the Active steers there.
fn assert_traced(pair: &Pair, flows: &[Answered]) {
    for Answered { flow, by } in flows {
        let [active, standby] = [0, 1].map(|node: usize| {
            let node = &pair.nodes[node];
            node.trace(flow.from(), TO, flow.protocol()).unwrap()
        });
        let of = format!("{} {}", flow.protocol(), flow.from());
        assert_eq!(active.backend, Some(*by), "{of}");
        assert_eq!(active.verdict, "steered", "{of}");
        assert_eq!(standby.backend, Some(*by), "{of}, by lb02");
    }
}

/// That the flows are answered as before.
fn assert_unmoved<'a>(flows: impl IntoIterator<Item = &'a mut Answered>) {
    for Answered { flow, by } in flows {
        assert_eq!(flow.ask().unwrap(), *by, "{} moved", flow.from());
    }
}

#[test]
#[ignore = "requires root"]
fn flows_spread_over_the_backends_as_trace_says() {
    let (pair, _echoes) = start("spread");

    let mut flows = open(&pair.lab[Station::Client], 40_000..40_060);

    // The ports and the hash are fixed, and so are the shares: a third each, give or take chance.
    for (protocol, plausible) in [("tcp", 12..=28), ("udp", 1..=7)] {
        let shares = shares(&flows, protocol);
        assert_eq!(shares.len(), 3, "{shares:?}");
        assert!(
            shares.values().all(|share| plausible.contains(share)),
            "{protocol}: {shares:?}"
        );
    }
    assert_traced(&pair, &flows);
    assert_unmoved(&mut flows);
}

#[test]
#[ignore = "requires root"]
fn a_backend_that_dies_takes_no_other_flow_along_and_comes_back() {
    let (mut pair, mut echoes) = start("leave");
    let mut before = open(&pair.lab[Station::Client], 40_000..40_060);
    let (gone, left) = (Station::Web02, [Station::Web01, Station::Web03]);

    drop(echoes.remove(&gone));
    pair.wait_for("web02 to be out", |status| backends_are(status, &left));
    let without = open(&pair.lab[Station::Client], 41_000..41_060);
    for protocol in ["tcp", "udp"] {
        let by: Vec<_> = shares(&without, protocol).into_keys().collect();
        assert_eq!(by, left, "{protocol}");
    }
    assert_traced(&pair, &without);
    let others = |flow: &&mut Answered| flow.by != gone;
    assert_unmoved(before.iter_mut().filter(others));

    echoes.insert(gone, serve(&pair.lab[gone]));
    pair.wait_for("web02 to be in", |status| {
        backends_are(status, &Station::BACKENDS)
    });
    let after = open(&pair.lab[Station::Client], 42_000..42_060);
    assert!(shares(&after, "tcp").contains_key(&gone));
    assert_traced(&pair, &after);
    assert_unmoved(before.iter_mut().filter(others));
    // Datagrams stay with whom they had until their slot was silent for 30 s.
    let mut ports = (43_000u16..60_000).step_by(60);
    wait_until(Duration::from_secs(60), "datagrams to reach web02", || {
        pause(Duration::from_secs(4)).map_err(|error| error.to_string())?;
        let first = ports.next().unwrap_or_default();
        let flows = open(&pair.lab[Station::Client], first..first + 60);
        let reached = shares(&flows, "udp").contains_key(&gone);
        reached.then_some(()).ok_or_else(|| "they do not".into())
    })
    .unwrap();
}

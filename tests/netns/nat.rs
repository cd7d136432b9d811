//! `nat` services: both directions through the node, with one and with two networks.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream},
    time::{Duration, Instant},
};

use hafw_lab::{
    Host, Lab, Scope, Signal, Station, VIP_BBS, VIP_WWW, pause,
    peers::{ECHO_PORT, Echo, Hafw, Router, Timing, hafw_config},
    probe::{TcpProbe, UdpProbe},
    wait_until,
};
use socket2::{Domain, Socket, Type};

use crate::pair::PATIENCE;

/// Where the backends serve: another port than the service's.
const BACKEND_PORT: u16 = 9100;
const TO: SocketAddrV4 = SocketAddrV4::new(VIP_WWW, ECHO_PORT);

/// The echo over TCP and UDP as `nat` services, to these backends.
fn services(backends: &[Ipv4Addr]) -> String {
    let backend = |address: &Ipv4Addr| {
        format!("[[service.backend]]\naddress = \"{address}:{BACKEND_PORT}\"\n")
    };
    let backends: String = backends.iter().map(backend).collect();
    let service = |protocol| {
        format!(
            "\n[[service]]\nname = \"echo-{protocol}\"\nvip = \"{VIP_WWW}\"\nport = {ECHO_PORT}\n\
             protocol = \"{protocol}\"\nmode = \"nat\"\n{backends}"
        )
    };
    service("tcp") + &service("udp")
}

/// One network: the backends reach the client by a route through a second VIP.
struct OneArm {
    lab: Lab,
    nodes: [Hafw; 2],
    _echoes: Vec<Echo>,
}

impl OneArm {
    fn start(purpose: &str) -> Self {
        let lab = Lab::new(purpose).unwrap();
        let echoes = Station::BACKENDS.map(|web| {
            let host = &lab[web];
            let (client, gateway) = (Station::Client.address(), VIP_BBS);
            let route = [
                "route",
                "add",
                &client.to_string(),
                "via",
                &gateway.to_string(),
            ];
            host.output("ip", &route).unwrap();
            Echo::start(host, web.address(), BACKEND_PORT).unwrap()
        });
        let backends = Station::BACKENDS.map(Station::address);
        let nodes = Station::NODES.map(|station| {
            let routers = [Router::oldboy(station, Timing::V3Tenth)];
            let config = hafw_config(&lab[station], &routers, &services(&backends));
            let both = format!("vips = [\"{VIP_WWW}/24\", \"{VIP_BBS}/24\"]");
            let config = config.replace(&format!("vips = [\"{VIP_WWW}/24\"]"), &both);
            Hafw::start(&lab[station], &config).unwrap()
        });
        let mut this = Self {
            lab,
            nodes,
            _echoes: echoes.into(),
        };
        this.wait(0, "active");
        this.wait(1, "backup");
        this
    }

    fn wait(&mut self, node: usize, state: &str) {
        self.nodes[node]
            .wait_for_router("oldboy", state, PATIENCE)
            .unwrap();
    }
}

#[test]
#[ignore = "requires root"]
fn connections_through_nat_survive_the_death_of_the_active() {
    let mut site = OneArm::start("nat");
    let client = &site.lab[Station::Client];
    let talks = TcpProbe::start(client, TO, 20, Duration::from_millis(5)).unwrap();
    let datagrams = UdpProbe::start(client, TO, Duration::from_millis(1)).unwrap();
    pause(Duration::from_millis(500)).unwrap();

    site.nodes[0]
        .daemon
        .signal(Scope::Process, Signal::SIGKILL)
        .unwrap();
    site.wait(1, "active");
    // Beyond the time that the dead node's XDP goes on steering.
    pause(Duration::from_secs(7)).unwrap();

    let reports = talks.stop().unwrap();
    assert_eq!(reports.len(), 20);
    for report in &reports {
        assert!(report.samples.len() > 500, "a connection stood still");
        assert!(report.errors().is_empty(), "{:?}", report.errors());
    }
    let datagrams = datagrams.stop().unwrap();
    assert!(datagrams.samples.len() > 1000, "the client hardly asked");
    assert_eq!(datagrams.lost(), 0, "gaps: {:?}", datagrams.gaps());
}

/// Two networks: the node is the gateway of web01's other one, 10.1.0.0/24.
struct TwoArms {
    lab: Lab,
    node: Hafw,
    _echo: Echo,
}

const INNER_NODE: &str = "10.1.0.5";
const INNER_VIP: &str = "10.1.0.1";
const INNER_WEB: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 7);

impl TwoArms {
    fn start(purpose: &str) -> Self {
        let lab = Lab::new(purpose).unwrap();
        let (lb, web) = (&lab[Station::Lb01], &lab[Station::Web01]);
        connect(lb, web);
        // Clients are not its neighbours.
        run(web, "link set eth0 down");
        run(web, &format!("route add default via {INNER_VIP}"));
        let echo = Echo::start(web, INNER_WEB, BACKEND_PORT).unwrap();
        let inner = format!(
            "\n[[virtual_router]]\nname = \"inner\"\ninterface = \"eth1\"\nvrid = 61\n\
             advertisement_interval = \"100ms\"\nvips = [\"{INNER_VIP}/24\"]\n"
        );
        let config = hafw_config(
            lb,
            &[Router::oldboy(Station::Lb01, Timing::V3Tenth)],
            &(inner + &services(&[INNER_WEB])),
        );
        let mut node = Hafw::start(lb, &config).unwrap();
        for router in ["oldboy", "inner"] {
            node.wait_for_router(router, "active", PATIENCE).unwrap();
        }
        node.wait_for("the backend to be resolved", PATIENCE, |status| {
            let resolved = |s: &hafw_lab::peers::ServiceState| !s.backends[0].next_hop.is_empty();
            status
                .services
                .iter()
                .all(resolved)
                .then_some(())
                .ok_or("it is not".into())
        })
        .unwrap();
        Self {
            lab,
            node,
            _echo: echo,
        }
    }

    fn counter(&self, name: &str) -> u64 {
        let status = self.node.status().unwrap();
        status.json["counters"][name].as_u64().unwrap_or(0)
    }
}

/// A cable between two hosts, and addresses on it.
fn connect(lb: &Host, web: &Host) {
    let there = web.namespace().name();
    let add = format!("link add eth1 type veth peer name eth1 netns {there}");
    run(lb, &add);
    for (host, address) in [(lb, INNER_NODE.to_owned()), (web, INNER_WEB.to_string())] {
        run(host, &format!("address add {address}/24 dev eth1"));
        run(host, "link set eth1 up");
        host.output("ethtool", &["-K", "eth1", "tx", "off"])
            .unwrap();
    }
    // What is redirected to a veth device arrives only if its peer polls.
    web.output("ethtool", &["-K", "eth1", "gro", "on"]).unwrap();
}

fn run(host: &Host, command: &str) {
    let words: Vec<_> = command.split(' ').collect();
    host.output("ip", &words).unwrap();
}

/// Opens a connection from a source address, or from any, sends a message and reads the answer.
fn exchange(host: &Host, source: Option<Ipv4Addr>) -> Result<Duration, String> {
    let talk = || {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        if let Some(source) = source {
            socket.bind(&SocketAddr::from((source, 0)).into())?;
        }
        let began = Instant::now();
        socket.connect_timeout(&TO.into(), Duration::from_secs(5))?;
        let mut stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(b"12345678")?;
        let mut answer = [0; 9];
        stream.read_exact(&mut answer)?;
        Ok::<_, std::io::Error>(began.elapsed())
    };
    host.namespace()
        .run(talk)
        .and_then(|result| result)
        .map_err(|error| error.to_string())
}

#[test]
#[ignore = "requires root"]
fn an_unresolved_client_is_resolved_without_losing_the_answer() {
    let site = TwoArms::start("arms");
    let client = &site.lab[Station::Client];
    wait_until(PATIENCE, "the service to answer", || {
        exchange(client, None).map(drop)
    })
    .unwrap();
    let lb = &site.lab[Station::Lb01];
    let handed = site.counter("drop_handed");
    let (mut took, mut late) = (Duration::ZERO, 0);

    // Whatever talks to the node meanwhile may resolve the client: a few tries.
    for _ in 0..5 {
        run(
            lb,
            "neigh replace 10.0.0.1 dev eth0 lladdr 02:00:00:00:00:01 nud stale",
        );
        run(lb, "neigh del 10.0.0.1 dev eth0");
        took = exchange(client, None).unwrap();
        if took >= Duration::from_millis(900) {
            late += 1;
        }
        if site.counter("drop_handed") > handed {
            break;
        }
    }

    assert!(
        site.counter("drop_handed") > handed,
        "nothing was handed up"
    );
    assert!(site.counter("handed_sent") > 0, "nothing was sent on");
    // A lost SYN, or a lost answer to it, would be sent again after a second.
    assert_eq!(late, 0, "the last took {took:?}");
    assert!(site.counter("redirect_reply") > 0);
}

#[test]
#[ignore = "requires root"]
fn clients_behind_a_gateway_and_its_successor_are_answered() {
    let site = TwoArms::start("gate");
    let lb = &site.lab[Station::Lb01];
    let far = Ipv4Addr::new(203, 0, 113, 7);
    for gateway in [Station::Observer, Station::Web02] {
        run(&site.lab[gateway], &format!("address add {far}/32 dev lo"));
    }
    run(
        lb,
        &format!("route add {far} via {}", Station::Observer.address()),
    );
    wait_until(PATIENCE, "an answer by way of the gateway", || {
        exchange(&site.lab[Station::Observer], Some(far)).map(drop)
    })
    .unwrap();

    run(
        lb,
        &format!("route replace {far} via {}", Station::Web02.address()),
    );
    wait_until(PATIENCE, "an answer by way of the other gateway", || {
        exchange(&site.lab[Station::Web02], Some(far)).map(drop)
    })
    .unwrap();
}

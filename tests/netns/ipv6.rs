//! The same over IPv6: a pair that fails over, what is served for a VIP, and keepalived on the wire.

use std::{
    fmt::Write as _,
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv6Addr, SocketAddr, TcpStream},
    time::Duration,
};

use hafw_lab::{
    Lab, Scope, Signal, Station, VIP_LINK_LOCAL, VIP_WWW_V6, pause,
    peers::{Capture, ECHO_PORT, Echo, Hafw, Keepalived, WebServer, hafw_config},
    probe::{Observation, Observer, UdpProbe},
    wait_until,
};

use crate::pair::{PATIENCE, wait_for_address};

const VIPS: [IpAddr; 2] = [IpAddr::V6(VIP_LINK_LOCAL), IpAddr::V6(VIP_WWW_V6)];
/// The advert interval of all of them.
const INTERVAL: Duration = Duration::from_millis(100);

fn priority(station: Station) -> u8 {
    if station == Station::Lb01 { 150 } else { 100 }
}

fn lab(purpose: &str) -> Lab {
    let lab = Lab::new(purpose).unwrap();
    lab.enable_ipv6().unwrap();
    lab
}

fn node(lab: &Lab, station: Station, rest: &str) -> Hafw {
    node_at(lab, station, INTERVAL, rest)
}

fn node_at(lab: &Lab, station: Station, interval: Duration, rest: &str) -> Hafw {
    let host = &lab[station];
    let router = format!(
        "\n[[virtual_router]]\nname = \"six\"\ninterface = \"eth0\"\nvrid = 51\npriority = {}\n\
         advertisement_interval = \"{interval:?}\"\n\
         vips = [\"{VIP_LINK_LOCAL}/64\", \"{VIP_WWW_V6}/64\"]\n{rest}",
        priority(station)
    );
    let config = hafw_config(host, &[], &router);
    Hafw::start(host, &config).unwrap()
}

struct Pair {
    lab: Lab,
    nodes: [Hafw; 2],
}

impl Pair {
    fn start(lab: Lab, rest: &str) -> Self {
        Self::start_at(lab, INTERVAL, rest)
    }

    fn start_at(lab: Lab, interval: Duration, rest: &str) -> Self {
        let nodes = Station::NODES.map(|station| node_at(&lab, station, interval, rest));
        let mut pair = Self { lab, nodes };
        pair.settle();
        pair
    }

    fn settle(&mut self) {
        self.wait(0, "active");
        self.wait(1, "backup");
    }

    fn wait(&mut self, node: usize, state: &str) {
        let waited = self.nodes[node].wait_for_router("six", state, PATIENCE);
        waited.unwrap_or_else(|error| {
            panic!("{state}: {error}\n{}", self.nodes[node].daemon.log_tail())
        });
    }

    fn signal(&mut self, node: usize, signal: Signal) {
        let daemon = &mut self.nodes[node].daemon;
        daemon.signal(Scope::Process, signal).unwrap();
    }

    fn observe(&self) -> Observer {
        observe(&self.lab)
    }
}

fn observe(lab: &Lab) -> Observer {
    let observer = Observer::start(&lab[Station::Observer], &VIPS).unwrap();
    // Something to compare with: who owned the VIPs before.
    pause(Duration::from_millis(300)).unwrap();
    observer
}

/// The owners in turn, and never two.
#[track_caller]
fn assert_owners(seen: &Observation, owners: &[Station]) {
    for vip in VIPS {
        assert_eq!(seen.two_owners(vip), Duration::ZERO, "{vip}");
        let tenures = seen.tenures(vip);
        let mut macs: Vec<_> = tenures.iter().map(|tenure| tenure.mac).collect();
        // A silence of the same owner, on a busy machine.
        macs.dedup();
        let owners: Vec<_> = owners.iter().map(|owner| owner.mac()).collect();
        assert_eq!(macs, owners, "{vip}");
    }
}

fn dsr_service(protocol: &str) -> String {
    let mut text = format!(
        "\n[[service]]\nname = \"{protocol}\"\nvip = \"{VIP_WWW_V6}\"\nport = {ECHO_PORT}\n\
         protocol = \"{protocol}\"\nmode = \"dsr\"\nslots = 4099\n"
    );
    for web in Station::BACKENDS {
        let at = SocketAddr::new(web.address_v6().into(), ECHO_PORT);
        let _ = writeln!(text, "[[service.backend]]\naddress = \"{at}\"");
    }
    text
}

/// Asks the echo behind the service over a new connection; returns which host answered.
fn answered_by(lab: &Lab) -> u8 {
    let ask = || {
        let to = SocketAddr::new(VIP_WWW_V6.into(), ECHO_PORT);
        let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"question")?;
        let mut answer = [0; 9];
        stream.read_exact(&mut answer)?;
        assert_eq!(answer[..8], *b"question");
        Ok::<_, std::io::Error>(answer[8])
    };
    let client = lab[Station::Client].namespace();
    client.run(ask).and_then(|result| result).unwrap()
}

#[test]
#[ignore = "requires root"]
fn a_node_is_in_the_groups_that_its_neighbours_ask() {
    let pair = Pair::start(lab("six-groups"), "");

    for node in Station::NODES {
        let groups = pair.lab[node].output("ip", &["-6", "maddress", "show", "dev", "eth0"]);
        let groups = groups.unwrap();
        let solicited = [VIP_LINK_LOCAL, VIP_WWW_V6].map(|vip| {
            let [.., high, low] = vip.segments();
            Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | (high & 0xff), low).to_string()
        });
        for group in ["ff02::12"]
            .into_iter()
            .chain(solicited.iter().map(String::as_str))
        {
            let has = |line: &str| line.split_whitespace().any(|word| word == group);
            assert!(groups.lines().any(has), "{node}: no {group} in\n{groups}");
        }
    }
}

#[test]
#[ignore = "requires root"]
fn a_killed_active_is_succeeded_and_nothing_of_its_service_is_lost() {
    let lab = lab("six-kill");
    let _echoes = Station::BACKENDS.map(|web| {
        lab[web].accept_vip(VIP_WWW_V6).unwrap();
        Echo::start(&lab[web], VIP_WWW_V6, ECHO_PORT).unwrap()
    });
    let mut pair = Pair::start(lab, &["udp", "tcp"].map(dsr_service).concat());
    let backends = Station::BACKENDS.map(|web| web.address_v6().octets()[15]);
    assert!(backends.contains(&answered_by(&pair.lab)));
    let to = SocketAddr::new(VIP_WWW_V6.into(), ECHO_PORT);
    let probe = UdpProbe::start(&pair.lab[Station::Client], to, Duration::from_millis(1)).unwrap();
    let observer = pair.observe();

    pair.signal(0, Signal::SIGKILL);
    pair.wait(1, "active");
    pause(Duration::from_secs(1)).unwrap();
    pair.nodes[0].daemon.start().unwrap();
    pair.settle();
    pause(Duration::from_millis(500)).unwrap();

    let seen = observer.stop().unwrap();
    let report = probe.stop().unwrap();
    assert_owners(&seen, &[Station::Lb01, Station::Lb02, Station::Lb01]);
    for node in Station::NODES {
        assert!(seen.announcements_by(VIP_WWW_V6, node) > 0, "{node}");
    }
    assert!(report.samples.len() > 100, "the client hardly asked");
    assert_eq!(report.lost(), 0, "gaps: {:?}", report.gaps());
    assert!(backends.contains(&answered_by(&pair.lab)));
}

/// Where `nat` backends serve: another port than the service's.
const NAT_PORT: u16 = 9100;

#[test]
#[ignore = "requires root"]
fn connections_through_nat_over_ipv6_survive_the_death_of_the_active() {
    let lab = lab("six-nat");
    // A neighbour's answers come by way of the node only if a route leads there.
    let client = Station::Client.address_v6().to_string();
    let _echoes = Station::BACKENDS.map(|web| {
        let way = ["-6", "route", "add", &client, "via"];
        let gateway = VIP_LINK_LOCAL.to_string();
        let route = [&way[..], &[&gateway, "dev", "eth0"]].concat();
        lab[web].output("ip", &route).unwrap();
        Echo::start(&lab[web], web.address_v6(), NAT_PORT).unwrap()
    });
    let service = |protocol| {
        let text = dsr_service(protocol).replace("\"dsr\"", "\"nat\"");
        text.replace(&format!("]:{ECHO_PORT}"), &format!("]:{NAT_PORT}"))
    };
    let mut pair = Pair::start(lab, &["udp", "tcp"].map(service).concat());
    let to = SocketAddr::new(VIP_WWW_V6.into(), ECHO_PORT);
    let connect = || TcpStream::connect_timeout(&to, PATIENCE);
    let namespace = pair.lab[Station::Client].namespace();
    let mut streams: Vec<_> = (0..20)
        .map(|_| namespace.run(connect).unwrap().unwrap())
        .collect();
    talk(&mut streams);
    let probe = UdpProbe::start(&pair.lab[Station::Client], to, Duration::from_millis(1)).unwrap();

    pair.signal(0, Signal::SIGKILL);
    pair.wait(1, "active");
    // Beyond the time that the dead node's XDP goes on steering.
    pause(Duration::from_secs(7)).unwrap();

    talk(&mut streams);
    let report = probe.stop().unwrap();
    assert!(report.samples.len() > 1000, "the client hardly asked");
    assert_eq!(report.lost(), 0, "gaps: {:?}", report.gaps());
    let status = pair.nodes[1].status().unwrap();
    assert!(status.json["counters"]["tx_reply"].as_u64() > Some(20));
}

/// One question and its answer over each.
fn talk(streams: &mut [TcpStream]) {
    for stream in streams {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"question").unwrap();
        let mut answer = [0; 9];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(answer[..8], *b"question");
    }
}

#[test]
#[ignore = "requires root"]
fn a_stopped_active_is_succeeded_and_two_never_answer() {
    let mut pair = Pair::start(lab("six-stop"), "");
    let observer = pair.observe();

    pair.signal(0, Signal::SIGSTOP);
    pair.wait(1, "active");
    pause(Duration::from_secs(1)).unwrap();
    pair.signal(0, Signal::SIGCONT);
    pair.settle();
    pause(Duration::from_millis(500)).unwrap();

    let seen = observer.stop().unwrap();
    assert_owners(&seen, &[Station::Lb01, Station::Lb02, Station::Lb01]);
}

#[test]
#[ignore = "requires root"]
fn a_controller_that_restarts_within_the_lease_goes_on_with_it() {
    // A lease of three seconds: a debug build on a busy machine takes a while to start.
    let mut pair = Pair::start_at(lab("six-restart"), Duration::from_secs(1), "");
    let observer = pair.observe();

    pair.signal(0, Signal::SIGKILL);
    pair.nodes[0].daemon.start().unwrap();
    pair.wait(0, "active");
    pause(Duration::from_secs(1)).unwrap();

    assert!(pair.nodes[0].status().unwrap().adopted);
    assert_owners(&observer.stop().unwrap(), &[Station::Lb01]);
}

#[test]
#[ignore = "requires root"]
fn the_proxy_serves_an_ipv6_vip_and_moves_with_it() {
    let lab = lab("six-proxy");
    let _web = WebServer::start(&lab[Station::Web01]).unwrap();
    let site = format!(
        "\n[[upstream]]\nname = \"web\"\nserver = [{{ address = \"{}:80\" }}]\n\
         [[server]]\nlisten = [\"[{VIP_WWW_V6}]:80\"]\ndefault = true\n\
         [[server.route]]\nupstream = \"web\"\n",
        Station::Web01.address()
    );
    let mut pair = Pair::start(lab, &site);
    let url = format!("http://[{VIP_WWW_V6}]/whoami");
    let fetch = |lab: &Lab| {
        let args = ["-sS", "--max-time", "5", &url];
        lab[Station::Client].output("curl", &args)
    };
    let wanted = format!("web01 host=[{VIP_WWW_V6}]");
    let page = fetch(&pair.lab).unwrap();
    assert!(page.contains(&wanted), "{page}");

    pair.nodes[0].daemon.stop(PATIENCE).unwrap();
    pair.wait(1, "active");

    wait_until(PATIENCE, "the page from lb02", || {
        let page = fetch(&pair.lab).map_err(|error| error.to_string())?;
        if page.contains(&wanted) {
            Ok(())
        } else {
            Err(page)
        }
    })
    .unwrap();
}

fn keepalived(lab: &Lab, station: Station) -> Keepalived {
    let config = format!(
        "global_defs {{\n    router_id {station}\n    vrrp_version 3\n}}\n\
         vrrp_instance six {{\n    state BACKUP\n    interface eth0\n    native_ipv6\n    \
         virtual_router_id 51\n    priority {}\n    advert_int 0.1\n    \
         virtual_ipaddress {{\n        {VIP_LINK_LOCAL}/64\n        {VIP_WWW_V6}/64\n    }}\n}}\n",
        priority(station)
    );
    let mut peer = Keepalived::with_config(&lab[station], &config).unwrap();
    peer.daemon.start().unwrap();
    peer
}

fn wait_for_keepalived(lab: &Lab, station: Station, owns: bool) {
    wait_for_address(&lab[station], &format!("{VIP_WWW_V6}/64"), owns);
}

#[test]
#[ignore = "requires root"]
fn hafw_stands_by_for_keepalived_over_ipv6() {
    let lab = lab("six-behind");
    let mut peer = keepalived(&lab, Station::Lb01);
    wait_for_keepalived(&lab, Station::Lb01, true);
    let mut ours = node(&lab, Station::Lb02, "");
    ours.wait_for_router("six", "backup", PATIENCE).unwrap();
    pause(INTERVAL * 10).unwrap();
    ours.wait_for_router("six", "backup", PATIENCE).unwrap();

    peer.daemon.stop(PATIENCE).unwrap();
    ours.wait_for_router("six", "active", PATIENCE).unwrap();

    peer.daemon.start().unwrap();
    ours.wait_for_router("six", "backup", PATIENCE).unwrap();
    wait_for_keepalived(&lab, Station::Lb01, true);
}

#[test]
#[ignore = "requires root"]
fn keepalived_stands_by_for_hafw_over_ipv6() {
    let lab = lab("six-before");
    let mut ours = node(&lab, Station::Lb01, "");
    ours.wait_for_router("six", "active", PATIENCE).unwrap();
    let _peer = keepalived(&lab, Station::Lb02);
    pause(INTERVAL * 20).unwrap();
    wait_for_keepalived(&lab, Station::Lb02, false);

    ours.daemon.stop(PATIENCE).unwrap();
    wait_for_keepalived(&lab, Station::Lb02, true);

    ours.daemon.start().unwrap();
    ours.wait_for_router("six", "active", PATIENCE).unwrap();
    wait_for_keepalived(&lab, Station::Lb02, false);
}

#[test]
#[ignore = "requires root"]
fn tcpdump_finds_nothing_wrong_with_hafws_adverts_over_ipv6() {
    let lab = lab("six-wire");
    let capture = Capture::start(&lab[Station::Observer], "ip6 proto 112").unwrap();
    let mut ours = node(&lab, Station::Lb01, "");
    ours.wait_for_router("six", "active", PATIENCE).unwrap();
    pause(INTERVAL * 3).unwrap();

    let lines = capture.stop().unwrap().join("\n");
    assert!(lines.contains("VRRPv3"), "{lines}");
    assert!(
        lines.contains("vrid 51") && lines.contains("prio 150"),
        "{lines}"
    );
    assert!(
        !lines.contains("bad") && !lines.contains("wrong"),
        "{lines}"
    );
}

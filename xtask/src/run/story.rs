//! The demonstration, chapter by chapter. Everything said is measured or asked for as it is said.

use std::{
    collections::BTreeMap,
    net::SocketAddrV4,
    time::{Duration, Instant},
};

use anyhow::Result;
use hafw_lab::{
    LabError, Station, VIP_BBS, VIP_WWW, pause,
    peers::{ECHO_PORT, SERVICE_PORT},
    probe::{HttpProbe, Observation, Observer, Report as Probed, Request, UdpProbe},
    wait_until,
};

use super::{config::TIMING, network::Network, report::Report};

const IPHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X)";
const CHROME: &str = "Mozilla/5.0 (X11; Linux x86_64) Chrome/126.0 Safari/537.36";
/// Connections that show how a service is spread.
const CONNECTIONS: usize = 60;

pub(super) fn tell(network: &mut Network, report: &mut Report) -> Result<()> {
    ownership(network, report)?;
    requests(network, report)?;
    safe_access(network, report)?;
    service(network, report)?;
    firewall(network, report)?;
    failure(network, report)?;
    failback(network, report)
}

fn ownership(network: &mut Network, report: &mut Report) -> Result<()> {
    report.chapter("Two nodes, two VIPs: each node is active for one and stands by for the other");
    network.wait_for_owner("oldboy", 0)?;
    network.wait_for_owner("oldgirl", 1)?;
    for (station, state) in Station::NODES.into_iter().zip(network.states()) {
        let state = state?;
        let mode = state
            .interfaces
            .first()
            .map_or("none", |interface| interface.xdp_mode.as_str());
        let routers: Vec<_> = state
            .routers
            .iter()
            .map(|router| {
                let vips = router.vips.join(", ");
                format!(
                    "{vips} {} at priority {}",
                    router.state, router.effective_priority
                )
            })
            .collect();
        report.say(&format!("{station}: {} (XDP {mode})", routers.join("; ")));
    }
    let observer = Observer::start(&network.lab[Station::Observer], &[VIP_WWW, VIP_BBS])?;
    pause(TIMING.interval() * 3)?;
    let observed = observer.stop()?;
    for (vip, owner) in [(VIP_WWW, Station::Lb01), (VIP_BBS, Station::Lb02)] {
        let (own, others) = replies(&observed, vip, owner);
        let text = format!("ARP for {vip}: {own} answers by {owner}, {others} by anybody else");
        report.check(own > 0 && others == 0, &text);
    }
    Ok(())
}

fn replies(observed: &Observation, vip: std::net::Ipv4Addr, owner: Station) -> (usize, usize) {
    let others = Station::ALL.into_iter().filter(|&station| station != owner);
    let others = others
        .map(|station| observed.replies_by(vip, station))
        .sum();
    (observed.replies_by(vip, owner), others)
}

fn requests(network: &Network, report: &mut Report) -> Result<()> {
    report.chapter("Requests, by URI and by User-Agent (the proxy, L7)");
    let www = format!("http://{VIP_WWW}");
    let host = "Host: www.oldboy.com";
    let cases = [
        (
            vec!["-H", host],
            "/upload/oldboy.html",
            "upload-web cluster_10.0.0.8",
        ),
        (
            vec!["-H", host],
            "/static/oldboy.html",
            "static-web cluster_10.0.0.7",
        ),
        (vec!["-H", host], "/oldboy.html", "default_access 10.0.0.9"),
        (
            vec!["-H", host, "-A", IPHONE],
            "/oldboy.html",
            "iphone_access 10.0.0.7",
        ),
        (
            vec!["-H", host, "-A", CHROME],
            "/oldboy.html",
            "google_access 10.0.0.8",
        ),
        (
            vec!["-H", host],
            "/whoami",
            "web03 host=www.oldboy.com xff=10.0.0.1 from=10.0.0.5",
        ),
    ];
    // The backends' neighbours may still have to be found.
    wait_until(Duration::from_secs(10), "the proxy to answer", || {
        curl(network, &["-H", host], &format!("{www}/whoami")).map_err(|error| error.to_string())
    })?;
    for (options, path, expected) in cases {
        let answer = curl(network, &options, &format!("{www}{path}"))?;
        let agent = options
            .get(3)
            .map(|agent| format!(" as {agent:.24}..."))
            .unwrap_or_default();
        report.check(
            answer == expected,
            &format!("www.oldboy.com{path}{agent}: {answer}"),
        );
    }
    let url = format!("http://{VIP_BBS}/whoami");
    let mut servers: Vec<_> = (0..3)
        .map(|_| {
            let answer = curl(network, &["-H", "Host: bbs.oldboy.com"], &url)?;
            Ok(answer.split(' ').next().unwrap_or_default().to_owned())
        })
        .collect::<Result<_>>()?;
    let shown = servers.join(", ");
    servers.sort();
    let all = servers == Station::BACKENDS.map(Station::name);
    report.check(
        all,
        &format!("bbs.oldboy.com, three times in turn: {shown}"),
    );
    Ok(())
}

fn safe_access(network: &Network, report: &mut Report) -> Result<()> {
    report.chapter("The sites are on the VIPs only");
    let status = ["-o", "/dev/null", "-w", "%{http_code}"];
    let other = [&status[..], &["-H", "Host: bbs.oldboy.com"]].concat();
    let code = curl(network, &other, &format!("http://{VIP_WWW}/"))?;
    report.check(
        code == "421",
        &format!("bbs.oldboy.com on www's VIP: status {code}"),
    );
    let own = Station::Lb01.address();
    let asked = curl(
        network,
        &["-H", "Host: www.oldboy.com"],
        &format!("http://{own}/"),
    );
    let refused = asked
        .as_ref()
        // curl's word for a connection that was refused.
        .is_err_and(|error| error.to_string().contains("curl: (7)"));
    report.check(
        refused,
        &format!("www.oldboy.com on the node's own address {own}: refused"),
    );
    Ok(())
}

fn service(network: &Network, report: &mut Report) -> Result<()> {
    report.chapter("An L4 service, steered in XDP; the backends answer the client directly (dsr)");
    let to = format!("{VIP_WWW}:{SERVICE_PORT}");
    wait_until(
        Duration::from_secs(10),
        "all backends of the service to be up",
        || {
            let state = network.nodes[0]
                .status()
                .map_err(|error| error.to_string())?;
            let service = state.services.iter().find(|service| service.name == "web");
            let backends = service
                .map(|service| service.backends.as_slice())
                .unwrap_or_default();
            let down = backends
                .iter()
                .find(|backend| !backend.up || backend.next_hop.is_empty());
            match down {
                None if backends.len() == Station::BACKENDS.len() => Ok(()),
                None => Err("there is no such service".to_owned()),
                Some(backend) => Err(format!("{} is not", backend.address)),
            }
        },
    )?;
    // A connection each, as many browsers would make.
    let url = format!("http://{to}/whoami?[1-{CONNECTIONS}]");
    let answers = curl(network, &["-H", "Connection: close"], &url)?;
    let mut shares = BTreeMap::<_, usize>::new();
    for answer in answers.lines() {
        *shares
            .entry(answer.split(' ').next().unwrap_or_default())
            .or_default() += 1;
    }
    let total: usize = shares.values().sum();
    let text: Vec<_> = shares
        .iter()
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    let spread = total == CONNECTIONS && shares.len() == Station::BACKENDS.len();
    report.check(
        spread,
        &format!("{CONNECTIONS} connections to {to}: {}", text.join(", ")),
    );
    let seen = answers
        .lines()
        .all(|answer| answer.ends_with("from=10.0.0.1"));
    report.check(seen, "the backends saw the client's own address");
    let from = format!("{}:40000", Station::Client.address());
    let trace = network.nodes[0].ask(&["trace", "--from", &from, "--to", &to])?;
    report.say(&format!("hafw trace --from {from} --to {to}:"));
    for line in trace.lines() {
        report.say(&format!("  {line}"));
    }
    Ok(())
}

fn firewall(network: &mut Network, report: &mut Report) -> Result<()> {
    report.chapter("A firewall rule on lb02 drops the adverts (the lesson's split brain)");
    let probes = Probes::start(network)?;
    network.lab[Station::Lb02].drop_input("meta l4proto 112")?;
    pause(TIMING.active_down_interval(100) * 4)?;
    let found = probes.stop()?;
    network.lab[Station::Lb02].open_firewall()?;
    one_owner(report, &found);
    let flips = found.owners.flips(VIP_WWW);
    report.check(
        flips == 0,
        &format!("the owner of {VIP_WWW} changed {flips} times"),
    );
    Ok(())
}

fn failure(network: &mut Network, report: &mut Report) -> Result<()> {
    report.chapter("lb01 dies: kill -9 of every process on it");
    let probes = Probes::start(network)?;
    pause(Duration::from_millis(300))?;
    let begin = Instant::now();
    network.lab[Station::Lb01].kill_processes()?;
    network.nodes[1].wait_for_router("oldboy", "active", Duration::from_secs(15))?;
    let active = begin.elapsed();
    pause(Duration::from_secs(1))?;
    let found = probes.stop()?;
    report.say(&format!(
        "lb02 is active for {VIP_WWW} after {}",
        ms(active)
    ));
    client_view(report, &found);
    one_owner(report, &found);
    let owners = owners(&found.owners);
    report.check(
        owners == ["lb01", "lb02"],
        &format!("owners in turn: {}", owners.join(", ")),
    );
    let url = format!("http://{VIP_WWW}/whoami");
    let answer = curl(network, &["-H", "Host: www.oldboy.com"], &url)?;
    let through = answer.ends_with("from=10.0.0.6");
    report.check(
        through,
        &format!("www.oldboy.com/whoami through lb02: {answer}"),
    );
    Ok(())
}

fn failback(network: &mut Network, report: &mut Report) -> Result<()> {
    report.chapter("lb01 is started again and takes its VIP back");
    let probes = Probes::start(network)?;
    let begin = Instant::now();
    network.nodes[0].daemon.start()?;
    network.wait_for_owner("oldboy", 0)?;
    let active = begin.elapsed();
    pause(Duration::from_secs(1))?;
    let found = probes.stop()?;
    report.say(&format!(
        "lb01 is active for {VIP_WWW} again after {}",
        ms(active)
    ));
    client_view(report, &found);
    one_owner(report, &found);
    let owners = owners(&found.owners);
    report.check(
        owners == ["lb02", "lb01"],
        &format!("owners in turn: {}", owners.join(", ")),
    );
    Ok(())
}

/// What a client and a bystander see, while something happens.
struct Probes {
    udp: UdpProbe,
    http: HttpProbe,
    observer: Observer,
}

struct Found {
    udp: Probed,
    http: Probed,
    owners: Observation,
}

impl Probes {
    fn start(network: &Network) -> Result<Self, LabError> {
        let request = Request {
            to: SocketAddrV4::new(VIP_WWW, 80),
            host: "www.oldboy.com".to_owned(),
            path: "/oldboy.html".to_owned(),
        };
        let echo = SocketAddrV4::new(VIP_WWW, ECHO_PORT);
        Ok(Self {
            udp: UdpProbe::start(network.client(), echo, Duration::from_millis(1))?,
            http: HttpProbe::start(network.client(), request, Duration::from_millis(5))?,
            observer: Observer::start(&network.lab[Station::Observer], &[VIP_WWW])?,
        })
    }

    fn stop(self) -> Result<Found, LabError> {
        Ok(Found {
            udp: self.udp.stop()?,
            http: self.http.stop()?,
            owners: self.observer.stop()?,
        })
    }
}

/// What two clients saw: probes that nobody answered at all would make every gap meaningless.
fn client_view(report: &mut Report, found: &Found) {
    let probes = [
        ("the L4 service, a datagram each ms", &found.udp),
        ("the proxy, a new connection every 5 ms", &found.http),
    ];
    for (name, probed) in probes {
        let (lost, sent) = (probed.lost(), probed.samples.len());
        let gap = ms(probed.longest_gap());
        report.check(
            lost < sent / 2,
            &format!("{name}: a gap of {gap}, {lost} of {sent} lost"),
        );
    }
}

fn one_owner(report: &mut Report, found: &Found) {
    let (two, dark) = (
        found.owners.two_owners(VIP_WWW),
        found.owners.longest_silence(VIP_WWW),
    );
    let text = format!(
        "two nodes answered for {VIP_WWW} during {}, nobody during {}",
        ms(two),
        // Asked every 2 ms, so a shorter silence is none.
        ms(if dark < Duration::from_millis(20) {
            Duration::ZERO
        } else {
            dark
        })
    );
    report.check(two.is_zero(), &text);
}

/// The names of those who answered, without repetition.
fn owners(observed: &Observation) -> Vec<&'static str> {
    let tenures = observed.tenures(VIP_WWW);
    let name = |mac| Station::from_mac(mac).map_or("a virtual MAC", Station::name);
    let mut names: Vec<_> = tenures.iter().map(|tenure| name(tenure.mac)).collect();
    names.dedup();
    names
}

fn curl(network: &Network, options: &[&str], url: &str) -> Result<String> {
    let args = [&["-sS", "--max-time", "3"], options, &[url]].concat();
    Ok(network.client().output("curl", &args)?.trim().to_owned())
}

fn ms(span: Duration) -> String {
    format!("{:.0} ms", span.as_secs_f64() * 1e3)
}

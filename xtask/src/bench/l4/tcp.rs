//! TCP through a `nat` service and through nftables' destination NAT: two nodes in one lab, each
//! with a backend behind a second interface, measured in turns. Both have the same offloads, those
//! of the lab (no checksums left to the device: native XDP on veth carries none).

use std::{net::Ipv4Addr, time::Duration};

use anyhow::{Context as _, Result};
use hafw_lab::{
    Daemon, Host, Lab, Station, VIP_BBS, VIP_WWW,
    peers::{Hafw, Router, SERVICE_PORT, Timing, WebServer, hafw_config},
    wait_until,
};

use super::super::stats::{Series, print_table};
use crate::workspace;

/// Where iperf3 serves.
const IPERF_PORT: u16 = 5201;
const PATIENCE: Duration = Duration::from_secs(15);

/// One way to a backend.
struct Way {
    name: &'static str,
    vip: Ipv4Addr,
    throughput: Series,
    connections: Series,
}

/// A node and its backend, and their addresses on the cable between them.
struct Arm {
    node: Station,
    web: Station,
    gateway: Ipv4Addr,
    backend: Ipv4Addr,
}

const HAFW: Arm = Arm {
    node: Station::Lb01,
    web: Station::Web01,
    gateway: Ipv4Addr::new(10, 1, 0, 5),
    backend: Ipv4Addr::new(10, 1, 0, 7),
};
const NFTABLES: Arm = Arm {
    node: Station::Lb02,
    web: Station::Web02,
    gateway: Ipv4Addr::new(10, 2, 0, 6),
    backend: Ipv4Addr::new(10, 2, 0, 8),
};

pub(super) fn run(repeat: u32, seconds: u64) -> Result<()> {
    let lab = Lab::new("tcp")?;
    let client = &lab[Station::Client];
    // A connection a request leaves many ports waiting.
    client.sysctl("net/ipv4/ip_local_port_range", "1024 65535")?;
    let mut running = Vec::new();
    for arm in [HAFW, NFTABLES] {
        running.push(serve(&lab[arm.web])?);
        connect(&lab, &arm)?;
    }
    let _node = hafw(&lab[HAFW.node])?;
    nftables(&lab[NFTABLES.node])?;
    let way = |name, vip| Way {
        name,
        vip,
        throughput: Series::default(),
        connections: Series::default(),
    };
    let mut ways = [way("hafw, nat", VIP_WWW), way("nftables DNAT", VIP_BBS)];
    for way in &ways {
        let url = format!("http://{}:{SERVICE_PORT}/whoami", way.vip);
        wait_until(PATIENCE, format!("{} to answer", way.name), || {
            let asked = client.output("curl", &["-fsS", "--max-time", "1", &url]);
            asked.map_err(|error| error.to_string())
        })?;
    }
    for round in 1..=repeat {
        for way in &mut ways {
            eprintln!("TCP, {}: run {round} of {repeat}", way.name);
            way.throughput.push(throughput(client, way.vip, seconds)?);
            way.connections.push(connections(client, way.vip, seconds)?);
        }
    }
    println!("TCP, median (min-max) of {repeat} runs.");
    let row = |way: &Way| {
        vec![
            way.name.to_owned(),
            way.throughput.to_string(),
            way.connections.to_string(),
        ]
    };
    let rows: Vec<_> = ways.iter().map(row).collect();
    print_table(&["", "Gbit/s", "connections/s"], &rows);
    Ok(())
}

/// Lays a cable from the node to its backend, which has its way to the clients through the node.
fn connect(lab: &Lab, arm: &Arm) -> Result<()> {
    let (node, web) = (&lab[arm.node], &lab[arm.web]);
    let there = web.namespace().name();
    let add = [
        "link", "add", "eth1", "type", "veth", "peer", "name", "eth1",
    ];
    node.output("ip", &[&add[..], &["netns", there]].concat())?;
    for (host, address) in [(node, arm.gateway), (web, arm.backend)] {
        let address = format!("{address}/24");
        host.output("ip", &["address", "add", &address, "dev", "eth1"])?;
        host.output("ip", &["link", "set", "eth1", "up"])?;
        host.output("ethtool", &["-K", "eth1", "tx", "off"])?;
        // What is redirected to a veth device arrives only if its peer polls.
        host.output("ethtool", &["-K", "eth1", "gro", "on"])?;
    }
    web.output("ip", &["link", "set", "eth0", "down"])?;
    let gateway = arm.gateway.to_string();
    web.output("ip", &["route", "add", "default", "via", &gateway])?;
    Ok(())
}

/// A web server and iperf3's.
fn serve(host: &Host) -> Result<(WebServer, Daemon)> {
    let web = WebServer::start(host)?;
    let args = ["-s", "-p", &IPERF_PORT.to_string()].map(str::to_owned);
    let log = host.files().join("iperf3.log");
    let mut iperf = Daemon::new("iperf3", host.namespace(), "iperf3", args, log);
    iperf.start()?;
    Ok((web, iperf))
}

fn hafw(host: &Host) -> Result<Hafw> {
    let service = |port| {
        format!(
            "\n[[service]]\nname = \"tcp-{port}\"\nvip = \"{VIP_WWW}\"\nport = {port}\n\
             protocol = \"tcp\"\nmode = \"nat\"\n\
             [[service.backend]]\naddress = \"{}:{port}\"\n",
            HAFW.backend
        )
    };
    let services = service(SERVICE_PORT) + &service(IPERF_PORT);
    let inner = "\n[[interface]]\nname = \"eth1\"\n";
    let routers = [Router::oldboy(HAFW.node, Timing::V3Tenth)];
    let config = hafw_config(host, &routers, &(inner.to_owned() + &services));
    let mut node = Hafw::new(host, &workspace::binary("hafw", true)?, &config)?;
    node.daemon.start()?;
    node.wait_for_router("oldboy", "active", PATIENCE)?;
    Ok(node)
}

fn nftables(host: &Host) -> Result<()> {
    let vip = format!("{VIP_BBS}/24");
    host.output("ip", &["address", "add", &vip, "dev", "eth0"])?;
    host.sysctl("net/ipv4/ip_forward", "1")?;
    let backend = NFTABLES.backend;
    let rules = format!(
        "table ip bench {{\n chain in {{\n type nat hook prerouting priority dstnat\n\
         ip daddr {VIP_BBS} tcp dport {{ {SERVICE_PORT}, {IPERF_PORT} }} dnat to {backend}\n }}\n }}"
    );
    host.output("nft", &[&rules])?;
    Ok(())
}

/// Gbit/s that arrive at the backend, over one connection.
fn throughput(client: &Host, vip: Ipv4Addr, seconds: u64) -> Result<f64> {
    let (vip, port, seconds) = (vip.to_string(), IPERF_PORT.to_string(), seconds.to_string());
    let args = ["-J", "-c", &vip, "-p", &port, "-t", &seconds];
    let text = client.output("iperf3", &args)?;
    let json: serde_json::Value = serde_json::from_str(&text)?;
    let rate = &json["end"]["sum_received"]["bits_per_second"];
    let rate = rate.as_f64();
    Ok(rate.with_context(|| format!("iperf3 tells no rate: {text}"))? / 1e9)
}

/// Connections a second, one for each request.
fn connections(client: &Host, vip: Ipv4Addr, seconds: u64) -> Result<f64> {
    let (length, url) = (
        format!("{seconds}s"),
        format!("http://{vip}:{SERVICE_PORT}/whoami"),
    );
    let args = [
        "-t1",
        "-c64",
        "-d",
        &length,
        "-H",
        "Connection: close",
        &url,
    ];
    let text = client.output("wrk", &args)?;
    let rate = text
        .lines()
        .find_map(|line| line.strip_prefix("Requests/sec:")?.trim().parse().ok());
    rate.with_context(|| format!("wrk tells no rate:\n{text}"))
}

//! `ipip` and `gue` services to backends that run `hafw decap`: datagrams and connections over
//! tunnels of both families, and what is too long for them.

use std::{
    fmt::Write as _,
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpStream},
};

use hafw_lab::{
    Daemon, Host, Lab, Scope, Signal, Station, VIP_LINK_LOCAL, VIP_WWW, VIP_WWW_V6,
    peers::{ECHO_PORT, Echo, Hafw, Router, Timing, hafw_config},
    wait_until,
};

use crate::pair::PATIENCE;

/// The longest message of the test: several segments of a full link.
const LONG: usize = 64 * 1024;

fn decap(host: &Host) -> Daemon {
    let args = ["decap", "--interface", "eth0"].map(str::to_owned);
    let log = host.files().join("decap.log");
    let binary = Hafw::built().unwrap();
    let mut daemon = Daemon::new("decap", host.namespace(), binary, args, log);
    daemon.start().unwrap();
    wait_until(PATIENCE, "the program to be attached", || {
        let shown = host.output("ip", &["link", "show", "eth0"]);
        let shown = shown.map_err(|error| error.to_string())?;
        shown.contains("xdp").then_some(()).ok_or(shown)
    })
    .unwrap();
    daemon
}

fn service(mode: &str, vip: IpAddr, port: u16, backends: &[IpAddr]) -> String {
    let mut text = format!(
        "\n[[service]]\nname = \"{mode}-{port}-{vip}\"\nvip = \"{vip}\"\nport = {port}\n\
         protocol = \"tcp\"\nmode = \"{mode}\"\nslots = 4099\n"
    );
    for backend in backends {
        let at = SocketAddr::new(*backend, port);
        let _ = writeln!(text, "[[service.backend]]\naddress = \"{at}\"");
    }
    text
}

/// Sends messages of so many bytes in all, and has the answers, each a byte longer.
fn talk(host: &Host, to: SocketAddr, length: usize) -> Result<(), String> {
    let exchange = || {
        let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(&vec![7; length])?;
        let mut answer = vec![0; length / 8 * 9];
        stream.read_exact(&mut answer)
    };
    host.namespace()
        .run(exchange)
        .and_then(|result| result)
        .map_err(|error| format!("{to}: {error}"))
}

#[test]
#[ignore = "requires root"]
fn tunnels_of_both_families_and_modes_end_in_decap() {
    let lab = Lab::new("tunnel").unwrap();
    lab.enable_ipv6().unwrap();
    let vips: [IpAddr; 2] = [VIP_WWW.into(), VIP_WWW_V6.into()];
    let v4 = Station::BACKENDS.map(|web| IpAddr::V4(web.address()));
    let v6 = Station::BACKENDS.map(|web| IpAddr::V6(web.address_v6()));
    let ways = [("ipip", v4), ("ipip", v6), ("gue", v4), ("gue", v6)];
    let ports = ECHO_PORT..;
    let services: String = ports
        .clone()
        .zip(ways)
        .flat_map(|(port, (mode, backends))| vips.map(|vip| service(mode, vip, port, &backends)))
        .collect();
    let mut decaps = Vec::new();
    let mut echoes = Vec::new();
    for web in Station::BACKENDS {
        for vip in vips {
            lab[web].accept_vip(vip).unwrap();
            for (port, _) in ports.clone().zip(ways) {
                echoes.push(Echo::start(&lab[web], vip, port).unwrap());
            }
        }
        decaps.push(decap(&lab[web]));
    }
    let six = format!(
        "\n[[virtual_router]]\nname = \"six\"\ninterface = \"eth0\"\nvrid = 52\n\
         advertisement_interval = \"100ms\"\n\
         vips = [\"{VIP_LINK_LOCAL}/64\", \"{VIP_WWW_V6}/64\"]\n"
    );
    let routers = [Router::oldboy(Station::Lb01, Timing::V3Tenth)];
    let config = hafw_config(&lab[Station::Lb01], &routers, &(six + &services));
    let mut node = Hafw::start(&lab[Station::Lb01], &config).unwrap();
    for router in ["oldboy", "six"] {
        node.wait_for_router(router, "active", PATIENCE).unwrap();
    }

    let client = &lab[Station::Client];
    for (port, _) in ports.clone().zip(ways) {
        for vip in vips {
            let to = SocketAddr::new(vip, port);
            wait_until(PATIENCE, "an answer", || talk(client, to, 8)).unwrap();
            talk(client, to, LONG).unwrap_or_else(|error| panic!("{LONG} bytes: {error}"));
        }
    }

    let status = node.status().unwrap();
    // The client's segments fill its link, and it is told of less.
    assert!(status.json["counters"]["tx_too_big"].as_u64() > Some(0));
    for daemon in &mut decaps {
        let log = daemon.log().to_owned();
        daemon.signal(Scope::Process, Signal::SIGTERM).unwrap();
        let ended = daemon.wait_for_end(PATIENCE).unwrap();
        assert!(ended.is_some_and(|status| status.success()));
        let said = std::fs::read_to_string(log).unwrap();
        assert!(
            said.contains("drop_source 0, drop_fragment 0, drop_malformed 0"),
            "{said}"
        );
    }
    let shown = lab[Station::Web01].output("ip", &["link", "show", "eth0"]);
    assert!(!shown.unwrap().contains("prog/xdp"), "it is detached");
}

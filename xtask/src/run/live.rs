//! The live view: what the nodes say and what a client sees, once a second, until Ctrl-C.

use std::{
    fmt::Write as _,
    io::{Write as _, stdout},
    net::SocketAddrV4,
    time::{Duration, Instant},
};

use anyhow::Result;
use hafw_lab::{
    LabError, Station, VIP_BBS, VIP_WWW, pause,
    peers::{ECHO_PORT, NodeState, SERVICE_PORT},
    probe::{HttpProbe, Report, Request, UdpProbe},
};

use super::network::{FILES, Network};

/// A node that ended is started again after so long.
const RESTART: Duration = Duration::from_secs(8);

/// Shows the network until it is interrupted.
pub(super) fn watch(network: &mut Network) -> Result<()> {
    let _screen = Screen::enter();
    let mut ended: [Option<Instant>; 2] = [None, None];
    let mut seen = String::from("measuring");
    loop {
        show(network, &seen);
        seen = one_second(network)?;
        for (node, ended) in network.nodes.iter_mut().zip(&mut ended) {
            if node.daemon.running() {
                *ended = None;
            } else if ended.get_or_insert_with(Instant::now).elapsed() >= RESTART {
                node.daemon.start()?;
            }
        }
    }
}

/// The alternate screen, so that the report is still there afterwards.
struct Screen;

impl Screen {
    fn enter() -> Self {
        print!("\x1b[?1049h\x1b[?25l");
        Self
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        print!("\x1b[?25h\x1b[?1049l");
        let _ = stdout().flush();
    }
}

/// What a client sees during a second.
fn one_second(network: &Network) -> Result<String, LabError> {
    let request = Request {
        to: SocketAddrV4::new(VIP_WWW, 80),
        host: "www.oldboy.com".to_owned(),
        path: "/oldboy.html".to_owned(),
    };
    let echo = SocketAddrV4::new(VIP_WWW, ECHO_PORT);
    let udp = UdpProbe::start(network.client(), echo, Duration::from_millis(1))?;
    let http = HttpProbe::start(network.client(), request, Duration::from_millis(10))?;
    pause(Duration::from_secs(1))?;
    let line = |name: &str, report: &Report| {
        let (lost, sent) = (report.lost(), report.samples.len());
        let gap = report.longest_gap().as_millis();
        format!(
            "{name}: {} of {sent} answered, longest gap {gap} ms",
            sent - lost
        )
    };
    let (udp, http) = (udp.stop()?, http.stop()?);
    Ok(format!("{}; {}", line("L4", &udp), line("L7", &http)))
}

fn show(network: &Network, seen: &str) {
    let mut text =
        String::from("hafw: the lesson's pair. Ctrl-C ends it and removes everything.\n\n");
    for ((station, node), state) in Station::NODES
        .into_iter()
        .zip(&network.nodes)
        .zip(network.states())
    {
        let pid = node
            .daemon
            .pid()
            .map_or_else(|| "-".to_owned(), |pid| pid.to_string());
        let _ = writeln!(text, "{station}  {}  pid {pid}", station.address());
        match state {
            Ok(state) => describe(&mut text, &state),
            Err(_) => text += "    no answer; it is started again after a while\n",
        }
    }
    let _ = writeln!(
        text,
        "\nA client, in the last second:\n    {seen}\n\nTry, in another terminal:"
    );
    for command in commands(network) {
        let _ = writeln!(text, "    {command}");
    }
    let _ = writeln!(
        text,
        "\nConfigurations and logs: {FILES}/lb01, {FILES}/lb02"
    );
    print!("\x1b[H\x1b[J{}", text.replace('\n', "\r\n"));
    let _ = stdout().flush();
}

fn describe(text: &mut String, state: &NodeState) {
    for router in &state.routers {
        let vips = router.vips.join(", ");
        let attracting = if router.attracting {
            ", answers ARP"
        } else {
            ""
        };
        let (name, is, priority) = (&router.name, &router.state, router.effective_priority);
        let _ = writeln!(
            text,
            "    {vips:12} {name:8} {is}{attracting}, priority {priority}"
        );
    }
    for service in &state.services {
        let backends: Vec<_> = service
            .backends
            .iter()
            .map(|backend| {
                let down = if backend.up { "" } else { " down" };
                format!("{}{down} {}", backend.address, backend.packets)
            })
            .collect();
        let _ = writeln!(
            text,
            "    {:12} frames to {}",
            service.name,
            backends.join(", ")
        );
    }
}

fn commands(network: &Network) -> Vec<String> {
    let hafw = |rest: &str| {
        let node = &network.nodes[0];
        format!(
            "{} {rest} --socket {}",
            node.binary().display(),
            node.socket().display()
        )
    };
    let pid = network.nodes[0].daemon.pid().unwrap_or_default();
    let curl = |rest: &str| network.command(Station::Client, &format!("curl {rest}"));
    vec![
        curl(&format!(
            "-H 'Host: www.oldboy.com' http://{VIP_WWW}/upload/"
        )),
        curl(&format!(
            "-H 'Host: www.oldboy.com' -A iPhone http://{VIP_WWW}/"
        )),
        curl(&format!("-H 'Host: bbs.oldboy.com' http://{VIP_BBS}/")),
        curl(&format!("http://{VIP_WWW}:{SERVICE_PORT}/whoami")),
        hafw("status"),
        hafw(&format!(
            "trace --from 10.0.0.1:40000 --to {VIP_WWW}:{SERVICE_PORT}"
        )),
        format!("kill -9 {pid}    # lb01's controller; lb02 takes over, and it is started again"),
        network.command(Station::Observer, "tcpdump -ni eth0 'arp or proto 112'"),
    ]
}

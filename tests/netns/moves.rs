//! Backends come, go and are drained while connections are up: none of those breaks, and new ones
//! follow.

use std::{
    collections::BTreeSet,
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddrV4, TcpStream},
    time::Duration,
};

use hafw_lab::{
    Lab, Scope, Signal, Station, VIP_WWW, pause,
    peers::{ECHO_PORT, Echo, Hafw, Router, Timing, hafw_config},
    probe::TcpProbe,
    wait_until,
};

use crate::pair::PATIENCE;

const TO: SocketAddrV4 = SocketAddrV4::new(VIP_WWW, ECHO_PORT);
const WEB01: Station = Station::Web01;

struct Site {
    lab: Lab,
    node: Hafw,
    _echoes: Vec<Echo>,
}

impl Site {
    fn start(purpose: &str, backends: &[Station]) -> Self {
        let lab = Lab::new(purpose).unwrap();
        let echoes = Station::BACKENDS.map(|web| {
            lab[web].accept_vip(VIP_WWW).unwrap();
            Echo::start(&lab[web], VIP_WWW, ECHO_PORT).unwrap()
        });
        let config = config(&lab, backends);
        let node = Hafw::start(&lab[Station::Lb01], &config).unwrap();
        let mut site = Self {
            lab,
            node,
            _echoes: echoes.into(),
        };
        site.settle();
        site
    }

    fn settle(&mut self) {
        self.node
            .wait_for_router("oldboy", "active", PATIENCE)
            .unwrap();
        self.node
            .wait_for("the backends to be resolved", PATIENCE, |status| {
                let mut backends = status.services.iter().flat_map(|s| &s.backends);
                let missing = backends.find(|b| b.next_hop.is_empty());
                missing.map_or(Ok(()), |b| Err(b.address.clone()))
            })
            .unwrap();
    }

    /// Replaces the controller within its lease by one with other backends.
    fn restart_with(&mut self, backends: &[Station]) {
        fs::write(self.node.config(), config(&self.lab, backends)).unwrap();
        self.node
            .daemon
            .signal(Scope::Process, Signal::SIGKILL)
            .unwrap();
        self.node.daemon.wait_for_end(PATIENCE).unwrap();
        self.node.daemon.start().unwrap();
        self.settle();
        assert!(self.node.status().unwrap().adopted);
    }

    /// Who answers so many new connections.
    fn answering(&self, connections: usize) -> BTreeSet<Station> {
        let ask = || {
            let mut stream = TcpStream::connect_timeout(&TO.into(), Duration::from_secs(5))?;
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            stream.write_all(b"12345678")?;
            let mut answer = [0; 9];
            stream.read_exact(&mut answer)?;
            Ok::<_, std::io::Error>(answer[8])
        };
        let client = self.lab[Station::Client].namespace();
        let all = || {
            (0..connections)
                .map(|_| ask())
                .collect::<Result<Vec<_>, _>>()
        };
        let tags = client.run(all).and_then(|result| result).unwrap();
        let station = |tag: u8| Station::from_number(tag).unwrap();
        tags.into_iter().map(station).collect()
    }

    fn talk(&self) -> TcpProbe {
        let client = &self.lab[Station::Client];
        let talks = TcpProbe::start(client, TO, 30, Duration::from_millis(5)).unwrap();
        pause(Duration::from_millis(500)).unwrap();
        talks
    }

    fn drain(&self, command: &str) -> String {
        self.node
            .ask(&[command, "echo", &WEB01.address().to_string()])
            .unwrap()
    }
}

fn config(lab: &Lab, backends: &[Station]) -> String {
    let backend =
        |address: Ipv4Addr| format!("[[service.backend]]\naddress = \"{address}:{ECHO_PORT}\"\n");
    let backends: String = backends.iter().map(|web| backend(web.address())).collect();
    let service = format!(
        "\n[[service]]\nname = \"echo\"\nvip = \"{VIP_WWW}\"\nport = {ECHO_PORT}\n\
         protocol = \"tcp\"\nmode = \"dsr\"\nslots = 4099\n{backends}"
    );
    let routers = [Router::oldboy(Station::Lb01, Timing::V2Second)];
    hafw_config(&lab[Station::Lb01], &routers, &service)
}

/// No connection broke, and each was answered by one host alone; the hosts.
fn unbroken(talks: TcpProbe) -> BTreeSet<Station> {
    let mut hosts = BTreeSet::new();
    for report in talks.stop().unwrap() {
        assert!(report.samples.len() > 100, "a connection stood still");
        assert!(report.errors().is_empty(), "{:?}", report.errors());
        let answered: BTreeSet<_> = report.samples.iter().filter_map(|s| s.by).collect();
        assert_eq!(answered.len(), 1, "{answered:?}");
        hosts.extend(answered);
    }
    hosts
}

#[test]
#[ignore = "requires root"]
fn a_drained_backend_keeps_its_connections_and_gets_no_new_ones() {
    let site = Site::start("drain", &Station::BACKENDS);
    let all = BTreeSet::from(Station::BACKENDS);
    assert_eq!(site.answering(60), all);
    let talks = site.talk();

    assert!(site.drain("drain").contains("drained"));
    let others = BTreeSet::from([Station::Web02, Station::Web03]);
    assert_eq!(site.answering(60), others);
    // Opened on moved slots, and kept when those move again.
    let later = site.talk();
    assert!(site.drain("undrain").contains("weight 1"));
    assert_eq!(site.answering(60), all);
    site.drain("drain");
    assert_eq!(site.answering(60), others);
    pause(Duration::from_secs(2)).unwrap();

    assert_eq!(unbroken(talks).len(), 3, "nobody was on the drained one");
    assert_eq!(unbroken(later).len(), 2);
}

#[test]
#[ignore = "requires root"]
fn connections_outlive_that_backends_come_and_go_with_a_restart() {
    let mut site = Site::start("come", &[WEB01, Station::Web02]);
    let talks = site.talk();

    site.restart_with(&[WEB01, Station::Web02, Station::Web03]);
    wait_until(PATIENCE, "the new backend to be asked", || {
        let asked = site.answering(20).contains(&Station::Web03);
        asked.then_some(()).ok_or_else(|| "it is not".into())
    })
    .unwrap();
    site.restart_with(&[Station::Web02, Station::Web03]);
    assert!(!site.answering(60).contains(&WEB01));
    pause(Duration::from_secs(2)).unwrap();

    let hosts = unbroken(talks);
    assert_eq!(hosts.len(), 2, "{hosts:?}");
}

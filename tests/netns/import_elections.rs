//! `hafw import --keepalived`: a pair with imported files elects as keepalived does with the files
//! themselves. Both run side by side, each in a network of its own.

use std::{collections::BTreeMap, fs, net::Ipv4Addr, path::Path, thread, time::Duration};

use hafw_lab::{
    Daemon, Host, Lab, Station, VIP_BBS, VIP_WWW, pause,
    peers::{Hafw, Keepalived},
    probe::Observer,
};

use crate::pair::PATIENCE;

/// Longer than any election at 1 s takes.
const ELECTED: Duration = Duration::from_secs(6);

#[derive(Clone, Copy, Debug)]
enum Software {
    Keepalived,
    Hafw,
}

/// The lesson's pair, each node of which owns one of the VIPs, and its check of the web server, with
/// another weight.
fn file(host: &Host, weight: i64) -> String {
    let station = host.station().name();
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../hafw-import/tests/data/keepalived");
    let text = fs::read_to_string(data.join(format!("dual-{station}.conf"))).unwrap();
    let check = format!(
        "vrrp_script check_web {{\n  script \"/usr/bin/test ! -e {}\"\n  user root\n  interval 1\n  \
         weight {weight}\n}}\n",
        web_is_down(host)
    );
    // In the first router, oldboy.
    let tracked = "virtual_ipaddress {\n        10.0.0.3/24\n    }";
    assert!(text.contains(tracked), "{text}");
    check
        + &text.replace(
            tracked,
            &format!("{tracked}\n    track_script {{ check_web }}"),
        )
}

/// The web server is down while this exists.
fn web_is_down(host: &Host) -> String {
    host.files().join("web-is-down").display().to_string()
}

impl Software {
    fn start(self, host: &Host, weight: i64) -> Daemon {
        let text = file(host, weight);
        match self {
            Self::Keepalived => {
                let mut keepalived = Keepalived::with_config(host, &text).unwrap();
                keepalived.daemon.start().unwrap();
                keepalived.daemon
            }
            Self::Hafw => {
                let file = host.write("keepalived.conf", &text).unwrap();
                let args = ["import", "--keepalived", &file.display().to_string()];
                let imported = host.output(Hafw::built().unwrap(), &args).unwrap();
                let folders = format!(
                    "[node]\nstate_dir = \"{}\"\npin_dir = \"{}\"\n",
                    host.state().display(),
                    host.pins().display()
                );
                let text = imported.replace("[node]\n", &folders);
                Hafw::start(host, &text).unwrap().daemon
            }
        }
    }

    /// Who owns the VIPs after each of: the start, the death of lb01's web server, its return, and a
    /// stop of lb01.
    fn owners(self, weight: i64) -> Vec<BTreeMap<Ipv4Addr, Vec<[u8; 6]>>> {
        let lab = Lab::new(match self {
            Self::Keepalived => "elect-ka",
            Self::Hafw => "elect-hafw",
        })
        .unwrap();
        let mut nodes = Station::NODES.map(|station| self.start(&lab[station], weight));
        let mut owners = vec![owners_of(&lab)];
        let flag = web_is_down(&lab[Station::Lb01]);
        fs::write(&flag, "").unwrap();
        owners.push(owners_of(&lab));
        fs::remove_file(&flag).unwrap();
        owners.push(owners_of(&lab));
        nodes[0].stop(PATIENCE).unwrap();
        owners.push(owners_of(&lab));
        owners
    }
}

/// Who answers for each VIP once all is elected.
fn owners_of(lab: &Lab) -> BTreeMap<Ipv4Addr, Vec<[u8; 6]>> {
    pause(ELECTED).unwrap();
    let vips = [VIP_WWW, VIP_BBS];
    let observer = Observer::start(&lab[Station::Observer], &vips).unwrap();
    pause(Duration::from_millis(500)).unwrap();
    let seen = observer.stop().unwrap();
    let owners = |vip| {
        let tenures = seen.tenures(vip);
        let mut macs: Vec<_> = tenures.iter().map(|tenure| tenure.mac).collect();
        // On a busy machine an owner may be seen twice, with a pause between.
        macs.dedup();
        macs
    };
    vips.map(|vip| (vip, owners(vip))).into()
}

#[test]
#[ignore = "requires root"]
fn an_imported_pair_elects_as_keepalived_does() {
    let [lb01, lb02] = Station::NODES.map(|node| vec![node.mac()]);
    // The lesson's weight moves nothing; one below the difference of the priorities moves oldboy.
    for (weight, without_web) in [(2, &lb01), (-60, &lb02)] {
        let [keepalived, hafw] = thread::scope(|scope| {
            [Software::Keepalived, Software::Hafw]
                .map(|software| scope.spawn(move || software.owners(weight)))
                .map(|outcome| outcome.join().unwrap())
        });
        let outcome =
            |www: &Vec<[u8; 6]>| BTreeMap::from([(VIP_WWW, www.clone()), (VIP_BBS, lb02.clone())]);
        let wanted = [&lb01, without_web, &lb01, &lb02].map(outcome);
        assert_eq!(keepalived, wanted, "keepalived, weight {weight}");
        assert_eq!(hafw, wanted, "hafw, weight {weight}");
    }
}

//! What a node refuses, and that it leaves nothing behind.

use std::{net::TcpListener, time::Duration};

use hafw_lab::{
    Host, Lab, Scope, Signal, Station, VIP_WWW,
    peers::{Hafw, Router, Timing, hafw_config},
};

fn config(host: &Host) -> String {
    hafw_config(host, &[Router::oldboy(host.station(), Timing::V3Tenth)], "")
}

fn node(host: &Host, config: &str) -> Hafw {
    Hafw::new(host, &Hafw::built().unwrap(), config).unwrap()
}

/// Runs a node that must refuse; returns what it said.
fn refusal(host: &Host, config: &str) -> String {
    let mut hafw = node(host, config);
    hafw.daemon.start().unwrap();
    let status = hafw.daemon.wait_for_end(Duration::from_secs(10)).unwrap();
    let log = std::fs::read_to_string(hafw.daemon.log()).unwrap();
    assert_eq!(status.and_then(|status| status.code()), Some(1), "{log}");
    log
}

fn assert_nothing_left(host: &Host) {
    let routes = host
        .output("ip", &["route", "show", "table", "local", "proto", "112"])
        .unwrap();
    assert_eq!(routes.trim(), "");
    let link = host.output("ip", &["link", "show", "eth0"]).unwrap();
    assert!(!link.contains("xdp"), "{link}");
    let ignore = host
        .output("cat", &["/proc/sys/net/ipv4/conf/all/arp_ignore"])
        .unwrap();
    assert_eq!(ignore.trim(), "0");
    assert!(
        !host.pins().exists(),
        "{} is still there",
        host.pins().display()
    );
}

#[test]
#[ignore = "requires root"]
fn a_wrong_file_is_refused_in_one_line_that_names_the_place() {
    let lab = Lab::new("wrong").unwrap();
    let host = &lab[Station::Lb01];
    let right = config(host);

    for (from, to, expected) in [
        ("\"10.0.0.3/24\"", "\"10.9.0.3/24\"", "outside"),
        ("vrid = 51", "vrid = 351", "expected a number from 1 to 255"),
        (
            "priority = 150",
            "prioritty = 150",
            "did you mean `priority`?",
        ),
    ] {
        let wrong = right.replace(from, to);
        assert_ne!(wrong, right, "{from} is not in the file");
        let said = refusal(host, &wrong);
        let lines: Vec<_> = said
            .lines()
            .filter(|line| line.contains(expected))
            .collect();
        assert!(
            lines.len() == 1 && lines[0].contains("hafw.toml:"),
            "{to}: {said}"
        );
        assert_nothing_left(host);
    }
}

#[test]
#[ignore = "requires root"]
fn a_pin_dir_elsewhere_is_refused() {
    let lab = Lab::new("pins").unwrap();
    let host = &lab[Station::Lb01];
    let wrong = config(host).replace(&host.pins().display().to_string(), "/tmp/hafw-no-bpffs");

    let said = refusal(host, &wrong);

    assert!(said.contains("not on a BPF file system"), "{said}");
    assert_nothing_left(host);
}

#[test]
#[ignore = "requires root"]
fn a_port_that_is_taken_is_refused() {
    let lab = Lab::new("port").unwrap();
    let host = &lab[Station::Lb01];
    let site = format!(
        "\n[[upstream]]\nname = \"web\"\nserver = [{{ address = \"10.0.0.7:80\" }}]\n\
         [[server]]\nlisten = [\"{VIP_WWW}:80\"]\nhosts = [\"www.oldboy.com\"]\n\
         [[server.route]]\nupstream = \"web\"\n"
    );
    let taken = host
        .namespace()
        .run(|| TcpListener::bind("0.0.0.0:80"))
        .unwrap()
        .unwrap();

    let said = refusal(host, &(config(host) + &site));

    assert!(said.contains("10.0.0.3:80"), "{said}");
    assert_nothing_left(host);
    drop(taken);
}

#[test]
#[ignore = "requires root"]
fn a_second_controller_is_refused_and_the_first_goes_on() {
    let lab = Lab::new("twice").unwrap();
    let host = &lab[Station::Lb01];
    let mut first = node(host, &config(host));
    first.daemon.start().unwrap();
    first
        .wait_for_router("oldboy", "active", Duration::from_secs(10))
        .unwrap();

    let file = first.config().display().to_string();
    let second = host
        .output(first.binary(), &["run", "-c", &file])
        .unwrap_err()
        .to_string();

    assert!(second.contains("in use by another `hafw run`"), "{second}");
    first
        .wait_for_router("oldboy", "active", Duration::from_secs(1))
        .unwrap();
}

#[test]
#[ignore = "requires root"]
fn a_graceful_stop_leaves_nothing() {
    let lab = Lab::new("leave").unwrap();
    let host = &lab[Station::Lb01];
    let mut hafw = node(host, &config(host));
    hafw.daemon.start().unwrap();
    hafw.wait_for_router("oldboy", "active", Duration::from_secs(10))
        .unwrap();

    hafw.daemon.stop(Duration::from_secs(20)).unwrap();

    assert_nothing_left(host);
}

#[test]
#[ignore = "requires root"]
fn detach_removes_what_a_dead_controller_left() {
    let lab = Lab::new("detach").unwrap();
    let host = &lab[Station::Lb01];
    let mut hafw = node(host, &config(host));
    hafw.daemon.start().unwrap();
    hafw.wait_for_router("oldboy", "active", Duration::from_secs(10))
        .unwrap();
    hafw.daemon.signal(Scope::Process, Signal::SIGKILL).unwrap();
    hafw.daemon.wait_for_end(Duration::from_secs(5)).unwrap();
    let link = host.output("ip", &["link", "show", "eth0"]).unwrap();
    assert!(link.contains("xdp"), "XDP outlives the controller: {link}");

    // An edit is under way, which may be why the controller is dead.
    let broken = config(host).replace("vrid = 51", "vrid = 510");
    let file = host.write("hafw.toml", &broken).unwrap();
    let file = file.display().to_string();
    host.output(hafw.binary(), &["detach", "-c", &file])
        .unwrap();

    assert_nothing_left(host);
}

//! Health checks of backends, each of its kind, against real servers.

use std::fmt::Write as _;

use hafw_lab::{
    Lab, Station, VIP_WWW,
    peers::{ECHO_PORT, Echo, Hafw, Router, SERVICE_PORT, Timing, WebServer, hafw_config},
};

use crate::pair::PATIENCE;

/// A service on a port of its own with one backend and a health check.
fn service(port: u16, protocol: &str, health: &str) -> String {
    let web = Station::Web01.address();
    format!(
        "\n[[service]]\nname = \"s{port}\"\nvip = \"{VIP_WWW}\"\nport = {port}\nprotocol = \"{protocol}\"\n\
         mode = \"dsr\"\nslots = 7\nhealth = {{ {health}, interval = \"50ms\", timeout = \"400ms\" }}\n\
         [[service.backend]]\naddress = \"{web}:{port}\"\n"
    )
}

#[test]
#[ignore = "requires root"]
fn every_kind_of_health_check_finds_its_backend_up_or_says_why_not() {
    let lab = Lab::new("health").unwrap();
    let web = &lab[Station::Web01];
    let _site = WebServer::start(web).unwrap();
    let _echo = Echo::start(web, Station::Web01.address(), ECHO_PORT).unwrap();
    let address = web.station().address();
    let arguments = format!("test $0:$1 = {address}:1007");
    let cases = [
        (
            "tcp",
            format!("http = \"/whoami\", expect_body = \"web01\", port = {SERVICE_PORT}"),
            true,
            "body",
        ),
        (
            "tcp",
            format!("http = \"/whoami\", expect_body = \"web09\", port = {SERVICE_PORT}"),
            false,
            "without \"web09\"",
        ),
        (
            "tcp",
            format!("https = \"/\", port = {SERVICE_PORT}"),
            false,
            "TLS: ",
        ),
        (
            "tcp",
            format!("grpc = \"\", port = {SERVICE_PORT}"),
            false,
            "HTTP/2: ",
        ),
        (
            "udp",
            format!("udp = {{ send = \"ping\", expect = \"ping\" }}, port = {ECHO_PORT}"),
            true,
            "expected answer",
        ),
        (
            "udp",
            format!("dns = \"a.example\", port = {ECHO_PORT}"),
            false,
            "another question",
        ),
        ("udp", "udp = {}".to_owned(), false, "refused"),
        (
            "tcp",
            format!("command = [\"/bin/sh\", \"-c\", \"{arguments}\"]"),
            true,
            "exit status 0",
        ),
        (
            "tcp",
            "command = [\"/bin/sh\", \"-c\", \"sleep 60\"]".to_owned(),
            false,
            "no end of the command",
        ),
        ("tcp", "icmp = true".to_owned(), true, "echo requests"),
    ];
    let mut services = String::new();
    for (number, (protocol, health, _, _)) in (1000..).zip(&cases) {
        let _ = write!(services, "{}", service(number, protocol, health));
    }
    let node = &lab[Station::Lb01];
    let config = hafw_config(
        node,
        &[Router::oldboy(Station::Lb01, Timing::V3Tenth)],
        &services,
    );
    let mut node = Hafw::start(node, &config).unwrap();

    node.wait_for("the backends to be as expected", PATIENCE, |status| {
        for (number, (_, health, up, reason)) in (1000..).zip(&cases) {
            let name = format!("s{number}");
            let mut services = status.json["services"].as_array().into_iter().flatten();
            let found = services.find(|service| service["name"] == name.as_str());
            let backend = &found.ok_or("a service is missing")?["backends"][0];
            let said = backend["reason"].as_str().unwrap_or_default();
            if backend["up"] != *up || !said.contains(reason) {
                return Err(format!("{health}: up {}: {said}", backend["up"]));
            }
        }
        Ok(())
    })
    .unwrap();

    web.output("ip", &["link", "set", "eth0", "down"]).unwrap();
    node.wait_for("the silent backend to be down", PATIENCE, |status| {
        let backend = &status.json["services"][cases.len() - 1]["backends"][0];
        let silent = backend["up"] == false;
        silent.then_some(()).ok_or_else(|| backend.to_string())
    })
    .unwrap();
}

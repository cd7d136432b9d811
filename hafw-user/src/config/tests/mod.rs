//! What is read, what it means, and the exact words for what is refused.

mod alerts;
mod cluster;
mod keys;
mod machine;
mod meaning;
mod nat;
mod parts;
mod split_brain;
mod values;

use super::*;

/// A file that says only what it must.
const LEAST: &str = r#"[node]
id = "lb01"
[[virtual_router]]
name = "oldboy"
interface = "eth0"
vrid = 51
vips = ["10.0.0.3/24"]
"#;

/// One of everything. Tests change a line and look at what is said of it.
const FULL: &str = r#"[node]
id = "lb01"
state_dir = "/run/hafw"
pin_dir = "/sys/fs/bpf/hafw"
stop_timeout = "10s"

[[interface]]
name = "eth0"
xdp_mode = "generic"

[[virtual_router]]
name = "oldboy"
interface = "eth0"
vrid = 51
version = 2
priority = 150
advertisement_interval = "2s"
authentication = { type = "pass", password = "1111" }
vips = ["10.0.0.3/24", "10.0.0.13"]
checksum = "message"
down_timer_adverts = 4
preempt = false
accept = false
grace = "5s"
track = [{ check = "web", weight = -60 }, { check = "script" }]

[[virtual_router]]
name = "oldgirl"
interface = "eth1"
vrid = 52
advertisement_interval = "10ms"
vips = ["10.0.0.4"]

[[check]]
name = "web"
http = "http://127.0.0.1:8080/health?x"
interval = "2s"
timeout = "500ms"
rise = 2
fall = 3

[[check]]
name = "script"
command = ["/bin/check", "-v"]

[[service]]
name = "dns"
vip = "10.0.0.13"
port = 53
protocol = "udp"
mode = "dsr"
slots = 4099
health = { tcp = true, port = 5353 }

[[service.backend]]
address = "10.0.0.7:53"
weight = 3

[[upstream]]
name = "all"
server = [{ address = "10.0.0.8:80" }]

[[server]]
listen = ["10.0.0.3:80"]
hosts = ["www.oldboy.com"]

[[server.route]]
upstream = "all"
"#;

/// The messages for [`FULL`] with a text replaced.
#[track_caller]
fn problems(from: &str, to: &str) -> String {
    assert_eq!(
        FULL.matches(from).count(),
        1,
        "{from:?} must stand in the file once"
    );
    match parse("f", &FULL.replacen(from, to, 1)) {
        Ok(_) => String::new(),
        Err(problems) => problems.to_string(),
    }
}

#[track_caller]
fn refused(cases: &[(&str, &str, &str)]) {
    for (from, to, expected) in cases {
        assert_eq!(problems(from, to), *expected, "for {to:?}");
    }
}

//! The nodes' `hafw.toml`: the lesson's site, for reading.

use hafw_lab::{
    Host, Station, VIP_WWW,
    peers::{ECHO_PORT, Router, SERVICE_PORT, Timing, lesson_sites},
};

/// How often the nodes advertise.
pub(super) const TIMING: Timing = Timing::V3Tenth;

/// The routers of a node: each node is active for one VIP and stands by for the other.
pub(super) fn routers(node: Station) -> [Router; 2] {
    [Router::oldboy(node, TIMING), Router::oldgirl(node, TIMING)]
}

/// The whole file for a node.
pub(super) fn text(host: &Host) -> String {
    let id = host.station();
    let (state, pins) = (host.state().display(), host.pins().display());
    let routers = routers(id).map(|router| virtual_router(&router)).concat();
    let (services, sites) = (services(), lesson_sites());
    format!(
        r#"# {id} of the lesson's pair. The other node's file differs in id, paths and priorities.

[node]
id = "{id}"
state_dir = "{state}"
pin_dir = "{pins}"

[[interface]]
name = "eth0"

# The VIPs. Both nodes are at work: each is active for one and stands by for the other.
{routers}
# Given up when the proxy on this node does not answer, and taken back when it does.
[[check]]
name = "proxy"
l7 = true
interval = "500ms"
fall = 2
{services}
# L7: by URI and by User-Agent. The listeners are on the VIPs, whether they are here or not.
{sites}"#
    )
}

fn virtual_router(router: &Router) -> String {
    let Router {
        name,
        vrid,
        priority,
        vip,
        timing,
    } = router;
    format!(
        r#"
[[virtual_router]]
name = "{name}"
interface = "eth0"
vrid = {vrid}
version = {version}
priority = {priority}
advertisement_interval = "{interval:?}"
vips = ["{vip}/24"]
track = [{{ check = "proxy", weight = 0 }}]
"#,
        version = timing.version(),
        interval = timing.interval(),
    )
}

fn services() -> String {
    let backends = |port: u16| {
        let one = |web: Station| {
            format!(
                "[[service.backend]]\naddress = \"{}:{port}\"\n",
                web.address()
            )
        };
        Station::BACKENDS.map(one).concat()
    };
    format!(
        r#"
# L4, steered in XDP. In a flat network a backend answers the client directly: dsr.
[[service]]
name = "web"
vip = "{VIP_WWW}"
port = {SERVICE_PORT}
protocol = "tcp"
mode = "dsr"
health = {{ http = "/whoami", expect_status = [200], interval = "500ms", timeout = "300ms", rise = 2, fall = 2 }}
{web}
[[service]]
name = "echo"
vip = "{VIP_WWW}"
port = {ECHO_PORT}
protocol = "udp"
mode = "dsr"
{echo}"#,
        web = backends(SERVICE_PORT),
        echo = backends(ECHO_PORT),
    )
}

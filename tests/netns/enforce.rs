//! `enforce = "xdp"`: a source that goes on over the proxy's limits is kept out by XDP for a time.

use std::time::{Duration, Instant};

use hafw_lab::{
    Host, Lab, Station, VIP_WWW,
    peers::{Hafw, Router, Timing, WebServer, hafw_config},
    wait_until,
};

const PATIENCE: Duration = Duration::from_secs(20);
/// For how long sources are kept out.
const TIME: Duration = Duration::from_secs(8);

fn config(lab: &Lab) -> String {
    let web01 = Station::Web01.address();
    let rest = format!(
        r#"
[[upstream]]
name = "web"
server = [{{ address = "{web01}:80" }}]
[[server]]
listen = ["{VIP_WWW}:80"]
default = true
[[server.route]]
path_prefix = "/limited"
rate_limit = {{ rate = "1/m" }}
upstream = "web"
[[server.route]]
upstream = "web"
[proxy]
enforce = "xdp"
block_after = 3
block_for = "{}s"
"#,
        TIME.as_secs()
    );
    let router = Router::oldboy(Station::Lb01, Timing::V3Tenth);
    hafw_config(&lab[Station::Lb01], &[router], &rest)
}

/// The status of a request; an error if there was no answer within a second.
fn status(from: &Host, path: &str) -> Result<String, String> {
    let url = format!("http://{VIP_WWW}{path}");
    let args = [
        "-s",
        "--max-time",
        "1",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        &url,
    ];
    from.output("curl", &args)
        .map_err(|error| error.to_string())
}

/// Asks until it is kept out.
fn exceed(client: &Host) {
    wait_until(PATIENCE, "the client to be kept out", || {
        match status(client, "/limited") {
            Ok(status) => Err(status),
            Err(_) => Ok(()),
        }
    })
    .unwrap();
}

#[test]
#[ignore = "requires root"]
fn a_source_over_the_limits_is_kept_out_by_xdp_for_a_time() {
    let lab = Lab::new("enforce").unwrap();
    let _web = WebServer::start(&lab[Station::Web01]).unwrap();
    let mut node = Hafw::start(&lab[Station::Lb01], &config(&lab)).unwrap();
    node.wait_for_router("oldboy", "active", PATIENCE).unwrap();
    let (client, other) = (&lab[Station::Client], &lab[Station::Web02]);
    wait_until(PATIENCE, "a page", || {
        let status = status(other, "/")?;
        if status == "200" { Ok(()) } else { Err(status) }
    })
    .unwrap();

    exceed(client);
    let since = Instant::now();

    let shown = node.ask(&["status"]).unwrap();
    assert!(shown.contains("kept out by XDP: 1 sources"), "{shown}");
    let address = Station::Client.address().to_string();
    assert!(shown.contains(&address), "{shown}");
    assert!(status(client, "/").is_err(), "whatever it asks for");
    assert!(
        client
            .output("ping", &["-c1", "-W1", &VIP_WWW.to_string()])
            .is_err(),
        "and by whichever protocol"
    );
    assert!(node.ask(&["status"]).unwrap().contains("drop_blocked"));
    assert_eq!(status(other, "/").unwrap(), "200", "others are served");
    wait_until(PATIENCE, "the client to be let in", || status(client, "/")).unwrap();
    assert!(since.elapsed() > TIME / 2, "{:?}", since.elapsed());
    wait_until(PATIENCE, "the status to forget it", || {
        let shown = node.ask(&["status"]).unwrap();
        if shown.contains("kept out") {
            Err(shown)
        } else {
            Ok(())
        }
    })
    .unwrap();

    exceed(client);
    let said = node.ask(&["unblock", &address]).unwrap();
    assert!(said.contains("let in again"), "{said}");
    assert_eq!(status(client, "/").unwrap(), "200");
    let refused = node.ask(&["unblock", &address]).unwrap_err().to_string();
    assert!(refused.contains("is not kept out"), "{refused}");
}

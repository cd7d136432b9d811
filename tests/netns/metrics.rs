//! What a monitoring system scrapes, read by Prometheus's own parser, and the status page.

use std::{collections::BTreeMap, time::Duration};

use hafw_lab::{
    Host, Lab, Station, VIP_BBS, VIP_WWW,
    peers::{Hafw, Router, Timing, WebServer, hafw_config},
    wait_until,
};

/// Fetches the metrics and prints each sample: name, sorted labels, value. The parser refuses what
/// is not in the format; a series that is there twice, or of a family without a type, is refused
/// here.
const SCRAPE: &str = r#"
import sys, urllib.request
from prometheus_client.parser import text_string_to_metric_families
with urllib.request.urlopen(sys.argv[1], timeout=5) as answer:
    kind = answer.headers["Content-Type"]
    assert kind == "text/plain; version=0.0.4; charset=utf-8", kind
    text = answer.read().decode()
seen = set()
for family in text_string_to_metric_families(text):
    assert family.type in ("counter", "gauge"), (family.name, family.type)
    assert family.documentation, family.name
    for sample in family.samples:
        labels = ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))
        key = f"{sample.name}{{{labels}}}"
        assert key not in seen, key
        seen.add(key)
        print(key, sample.value)
"#;

fn scrape(from: &Host, node: Station) -> Result<BTreeMap<String, f64>, String> {
    let url = format!("http://{}:9107/metrics", node.address());
    let text = from
        .output("/usr/bin/python3", &["-c", SCRAPE, &url])
        .map_err(|error| error.to_string())?;
    let sample = |line: &str| {
        let (key, value) = line.rsplit_once(' ').unwrap();
        (key.to_owned(), value.parse().unwrap())
    };
    Ok(text.lines().map(sample).collect())
}

fn config(lab: &Lab, station: Station) -> String {
    let web01 = Station::Web01.address();
    let rest = format!(
        r#"
[[check]]
name = "web"
tcp = "{web01}:80"
interval = "200ms"

[[service]]
name = "pages"
vip = "{VIP_WWW}"
port = 8080
protocol = "tcp"
mode = "dsr"
health = {{ tcp = true, interval = "200ms" }}
[[service.backend]]
address = "{web01}:8080"

[[upstream]]
name = "default"
server = [{{ address = "{web01}:80" }}]
[[server]]
listen = ["{VIP_BBS}:80"]
default = true
[[server.route]]
upstream = "default"

[alerts]
exec = ["/bin/true"]

[metrics]
listen = "{}:9107"
"#,
        station.address()
    );
    let www = Router::oldboy(station, Timing::V3Tenth);
    let bbs = Router {
        name: "bbs".to_owned(),
        vrid: 52,
        vip: VIP_BBS,
        ..www.clone()
    };
    let text = hafw_config(&lab[station], &[www, bbs], &rest);
    text.replace(
        "\nvips = ",
        "\ntrack = [{ check = \"web\", weight = -60 }]\nvips = ",
    )
}

#[test]
#[ignore = "requires root"]
fn metrics_say_what_the_status_says() {
    let lab = Lab::new("metrics").unwrap();
    let mut web = WebServer::start(&lab[Station::Web01]).unwrap();
    let mut nodes =
        Station::NODES.map(|station| Hafw::start(&lab[station], &config(&lab, station)).unwrap());
    let patience = Duration::from_secs(20);
    for router in ["oldboy", "bbs"] {
        nodes[0]
            .wait_for_router(router, "active", patience)
            .unwrap();
        nodes[1]
            .wait_for_router(router, "backup", patience)
            .unwrap();
    }
    let client = &lab[Station::Client];
    let page = format!("http://{VIP_BBS}/oldboy.html");
    wait_until(patience, "the proxy to answer", || {
        let asked = client.output("curl", &["-sSf", "--max-time", "1", &page]);
        asked.map_err(|error| error.to_string())
    })
    .unwrap();

    // Routers, check and backend: hooks run one after the other.
    let lb01 = wait_until(patience, "four alerts to be delivered", || {
        let metrics = scrape(client, Station::Lb01)?;
        match metrics.get("hafw_alerts_delivered_total{receiver=exec}") {
            Some(delivered) if *delivered >= 4.0 => Ok(metrics),
            other => Err(format!("{other:?}")),
        }
    })
    .unwrap();
    let status = nodes[0].status().unwrap().json;
    for (key, expected) in [
        ("hafw_router_state{router=oldboy,state=active}", 1.0),
        ("hafw_router_state{router=oldboy,state=backup}", 0.0),
        ("hafw_router_priority{router=oldboy}", 150.0),
        ("hafw_router_attracting{router=oldboy}", 1.0),
        (
            "hafw_router_transitions_total{router=oldboy}",
            status["routers"][0]["transitions"].as_f64().unwrap(),
        ),
        ("hafw_check_up{check=web}", 1.0),
        ("hafw_backend_up{backend=10.0.0.7:8080,service=pages}", 1.0),
        (
            "hafw_backend_slots{backend=10.0.0.7:8080,service=pages}",
            65537.0,
        ),
        ("hafw_proxy_up{}", 1.0),
        ("hafw_proxy_answers_total{class=2xx}", 1.0),
        (
            "hafw_upstream_attempts_total{server=10.0.0.7:80,upstream=default}",
            1.0,
        ),
        ("hafw_alerts_failed_total{receiver=exec}", 0.0),
        ("hafw_interface_up{interface=eth0}", 1.0),
    ] {
        assert_eq!(lb01.get(key), Some(&expected), "{key}: {lb01:#?}");
    }
    let at_least = |metrics: &BTreeMap<String, f64>, key: &str, least: f64| {
        let value = metrics.get(key).copied();
        assert!(
            value.is_some_and(|value| value >= least),
            "{key}: {metrics:#?}"
        );
    };
    at_least(&lb01, "hafw_router_adverts_sent_total{router=oldboy}", 1.0);
    at_least(&lb01, "hafw_router_lease_seconds{router=oldboy}", 0.001);
    at_least(
        &lb01,
        "hafw_packets_total{reason=tx_arp_reply,verdict=tx}",
        1.0,
    );
    let lb02 = scrape(client, Station::Lb02).unwrap();
    at_least(
        &lb02,
        "hafw_router_adverts_received_total{router=oldboy}",
        1.0,
    );
    at_least(
        &lb02,
        "hafw_peer_adverts_total{peer=10.0.0.5,router=oldboy}",
        1.0,
    );
    at_least(
        &lb02,
        "hafw_packets_total{reason=advert_valid,verdict=pass}",
        1.0,
    );

    web.kill().unwrap();
    wait_until(patience, "the metrics to tell of the death", || {
        let lb01 = scrape(client, Station::Lb01)?;
        let down = [
            "hafw_check_up{check=web}",
            "hafw_backend_up{backend=10.0.0.7:8080,service=pages}",
        ];
        let priority = lb01.get("hafw_router_effective_priority{router=oldboy}");
        if down.iter().all(|key| lb01.get(*key) == Some(&0.0)) && priority == Some(&90.0) {
            Ok(())
        } else {
            Err(format!("{lb01:#?}"))
        }
    })
    .unwrap();
}

#[test]
#[ignore = "requires root"]
fn the_page_is_the_status_and_nothing_else_is_served() {
    let lab = Lab::new("page").unwrap();
    let text = config(&lab, Station::Lb01);
    let mut hafw = Hafw::start(&lab[Station::Lb01], &text).unwrap();
    hafw.wait_for_router("oldboy", "active", Duration::from_secs(20))
        .unwrap();
    let curl = |args: &[&str], path: &str| {
        let url = format!("http://{}:9107{path}", Station::Lb01.address());
        let args = [
            &["-sS", "--max-time", "5", "-w", "%{http_code}"],
            args,
            &[&url],
        ]
        .concat();
        lab[Station::Client].output("curl", &args).unwrap()
    };

    let page = curl(&[], "/");
    assert!(page.starts_with("node lb01 (hafw "), "{page}");
    assert!(page.contains("router oldboy: ACTIVE"), "{page}");
    assert!(page.ends_with("200"), "{page}");
    assert!(curl(&[], "/status").ends_with("404"));
    assert!(curl(&["-X", "POST", "-d", "x"], "/metrics").ends_with("405"));
    assert!(curl(&["-I"], "/metrics").ends_with("200"));
}

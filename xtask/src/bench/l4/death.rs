//! How long new connections go on being sent to a backend that died, and what becomes of those that
//! the others have.

use std::{
    net::SocketAddrV4,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use hafw_lab::{
    Lab, Station, VIP_WWW, pause,
    peers::{ECHO_PORT, Echo, Hafw, Router, SERVICE_PORT, Timing, WebServer, hafw_config},
    probe::{HttpProbe, Report, Request, TcpProbe},
};

use super::super::stats::{Series, print_table};
use crate::workspace;

/// What the probes of the service look like: the least that is asked of a health check.
const HEALTH: &str = "{ tcp = true, interval = \"100ms\", timeout = \"100ms\" }";
const PATIENCE: Duration = Duration::from_secs(15);
/// Connections that live through it.
const LONG_LIVED: usize = 30;

pub(super) fn run(repeat: u32) -> Result<()> {
    let (mut last, mut refused, mut broken) =
        (Series::default(), Series::default(), Series::default());
    for round in 1..=repeat {
        eprintln!("a backend's death: run {round} of {repeat}");
        let found = once()?;
        last.push_ms(found.last);
        refused.push(found.refused as f64);
        broken.push(found.broken as f64);
    }
    println!(
        "A backend's death at interval = \"100ms\", fall = 1, with a new connection a millisecond; \
         median (min-max) of {repeat} runs."
    );
    let headings = [
        "last new connection to it, ms",
        "new connections lost",
        "connections of others lost",
    ];
    print_table(
        &headings,
        &[vec![
            last.to_string(),
            refused.to_string(),
            broken.to_string(),
        ]],
    );
    Ok(())
}

struct Found {
    /// From the death to the last new connection that was sent to the dead one.
    last: Duration,
    /// How many were.
    refused: usize,
    /// Of the long-lived ones on the others, how many broke.
    broken: usize,
}

fn once() -> Result<Found> {
    let lab = Lab::new("death")?;
    let (mut webs, mut echoes) = (Vec::new(), Vec::new());
    for station in Station::BACKENDS {
        lab[station].accept_vip(VIP_WWW)?;
        webs.push(WebServer::start(&lab[station])?);
        echoes.push(Echo::start(&lab[station], VIP_WWW, ECHO_PORT)?);
    }
    let service = |name: &str, port: u16, looked_at: u16| {
        let backends = Station::BACKENDS.map(|web| {
            format!(
                "[[service.backend]]\naddress = \"{}:{port}\"\n",
                web.address()
            )
        });
        let health = HEALTH.replace(" }", &format!(", port = {looked_at} }}"));
        format!(
            "\n[[service]]\nname = \"{name}\"\nvip = \"{VIP_WWW}\"\nport = {port}\n\
             protocol = \"tcp\"\nmode = \"dsr\"\nhealth = {health}\n{}",
            backends.concat()
        )
    };
    let services =
        service("web", SERVICE_PORT, SERVICE_PORT) + &service("echo", ECHO_PORT, SERVICE_PORT);
    let node = &lab[Station::Lb01];
    let config = hafw_config(
        node,
        &[Router::oldboy(Station::Lb01, Timing::V3Tenth)],
        &services,
    );
    let mut node = Hafw::new(node, &workspace::binary("hafw", true)?, &config)?;
    node.daemon.start()?;
    node.wait_for_router("oldboy", "active", PATIENCE)?;
    node.wait_for("the backends to be up", PATIENCE, |status| {
        let mut backends = status.services.iter().flat_map(|service| &service.backends);
        let ready = backends.all(|backend| backend.up && !backend.next_hop.is_empty());
        ready.then_some(()).ok_or("not all are".into())
    })?;

    let client = &lab[Station::Client];
    let echo = SocketAddrV4::new(VIP_WWW, ECHO_PORT);
    let talks = TcpProbe::start(client, echo, LONG_LIVED, Duration::from_millis(20))?;
    let request = Request {
        to: SocketAddrV4::new(VIP_WWW, SERVICE_PORT),
        host: "www.oldboy.com".to_owned(),
        path: "/whoami".to_owned(),
    };
    let requests = HttpProbe::start(client, request, Duration::from_millis(1))?;
    pause(Duration::from_millis(500))?;
    let killed = Instant::now();
    webs[0].kill()?;
    pause(Duration::from_millis(1000))?;
    let requests = requests.stop()?;
    let lost: Vec<_> = requests
        .samples
        .iter()
        .filter(|sample| sample.answered.is_none())
        .collect();
    if requests.samples.len() < 500
        || lost
            .iter()
            .any(|sample| sample.sent + Duration::from_millis(50) < killed)
    {
        bail!(
            "the site did not work before the death: {:?}",
            requests.errors()
        );
    }
    let last = lost
        .last()
        .map(|sample| sample.sent.saturating_duration_since(killed));
    // The backend's echo lives on; its connections are on a slot that has moved.
    let talks = talks.stop()?;
    let broken = |talk: &&Report| talk.samples.iter().any(|sample| sample.answered.is_none());
    let others = talks.iter().filter(|talk| {
        let by = talk.samples.iter().find_map(|sample| sample.by);
        by != Some(Station::Web01)
    });
    Ok(Found {
        last: last.unwrap_or_default(),
        refused: lost.len(),
        broken: others.filter(broken).count(),
    })
}

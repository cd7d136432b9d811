//! The lesson's `proxy_next_upstream` (S4), with real web servers of which some do not have the page,
//! are broken, or are dead, through a node's VIP.

use hafw_lab::{
    Lab, Station, VIP_WWW,
    peers::{Timing, WebServer},
    wait_until,
};

use crate::pair::{PATIENCE, Pair};

/// Asks the next server in the lesson's conditions.
const RETRIES: &str = "www.oldboy.com";
/// Asks the next server only if one cannot be reached.
const ERRORS_ONLY: &str = "bbs.oldboy.com";
/// As many as give every server its turn to be the first, twice.
const TURNS: usize = 6;

/// Behind web01 and web02 is nothing on this path: they are gateways to a closed port.
const BROKEN: &str = "location /gateway/ { proxy_pass http://127.0.0.1:9; }";

struct Site {
    pair: Pair,
    webs: [WebServer; 3],
}

#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: String,
    /// Who gave it, in its own words.
    server: String,
    body: String,
}

impl Site {
    fn start(purpose: &str) -> Self {
        let lab = Lab::new(purpose).unwrap();
        lab[Station::Web03]
            .write("html/gateway/page.html", "behind the gateway\n")
            .unwrap();
        let webs = Station::BACKENDS.map(|web| {
            let more = if web == Station::Web03 { "" } else { BROKEN };
            WebServer::start_with(&lab[web], more).unwrap()
        });
        let pair = Pair::start(lab, Timing::V3Tenth, &sites());
        let site = Self { pair, webs };
        wait_until(PATIENCE, "the site to answer", || {
            site.ask(RETRIES, &[], "/whoami").map(drop)
        })
        .unwrap();
        site
    }

    fn get(&self, host: &str, path: &str) -> Answer {
        self.ask(host, &[], path).unwrap()
    }

    fn ask(&self, host: &str, options: &[&str], path: &str) -> Result<Answer, String> {
        let (header, url) = (format!("Host: {host}"), format!("http://{VIP_WWW}{path}"));
        let format = "\n%{http_code} %header{x-server}";
        let fixed = ["-sS", "--max-time", "5", "-w", format, "-H", &header, &url];
        let args: Vec<_> = options.iter().copied().chain(fixed).collect();
        let text = self.pair.lab[Station::Client].output("curl", &args);
        let text = text.map_err(|error| error.to_string())?;
        let (body, last) = text.rsplit_once('\n').ok_or_else(|| text.clone())?;
        let (status, server) = last.split_once(' ').ok_or_else(|| text.clone())?;
        Ok(Answer {
            status: status.to_owned(),
            server: server.to_owned(),
            body: body.to_owned(),
        })
    }

    /// That the web servers have answered a path so often with a status, by their own logs.
    fn assert_logged(&self, path: &str, status: &str, expected: impl Fn([usize; 3]) -> bool) {
        wait_until(PATIENCE, format!("{path} {status} in the logs"), || {
            let counts = [0, 1, 2].map(|web: usize| self.webs[web].logged(&[path, status]));
            let counts = counts.map(|count| count.unwrap());
            if expected(counts) {
                Ok(())
            } else {
                Err(format!("{counts:?}"))
            }
        })
        .unwrap();
    }
}

fn sites() -> String {
    // With max_fails = 0 each request finds the cluster as the one before did.
    let server = |web: Station| format!("{{ address = \"{}:80\", max_fails = 0 }}", web.address());
    let servers = Station::BACKENDS.map(server).join(", ");
    format!(
        r#"
[[upstream]]
name = "oldboy"
server = [{servers}]

[[server]]
listen = ["{VIP_WWW}:80"]
hosts = ["{RETRIES}"]
next_upstream = ["error", "timeout", "http_404", "http_502"]
[[server.route]]
upstream = "oldboy"

[[server]]
listen = ["{VIP_WWW}:80"]
hosts = ["{ERRORS_ONLY}"]
next_upstream = ["error"]
[[server.route]]
upstream = "oldboy"

[proxy]
workers = 1
"#
    )
}

#[test]
#[ignore = "requires root"]
fn a_server_without_the_page_is_passed_over() {
    let site = Site::start("next-404");
    let path = "/static/oldboy.html";

    for _ in 0..TURNS {
        let answer = site.get(RETRIES, path);
        let (status, body) = (answer.status.as_str(), answer.body.trim());
        assert_eq!((status, body), ("200", "static-web cluster_10.0.0.7"));
    }

    site.assert_logged(path, "200", |by| by == [TURNS, 0, 0]);
    site.assert_logged(path, "404", |[web01, web02, web03]| {
        web01 == 0 && web02 > 0 && web03 > 0
    });
}

#[test]
#[ignore = "requires root"]
fn the_last_answer_is_passed_on_as_it_is() {
    let site = Site::start("next-last");

    for _ in 0..TURNS {
        let answer = site.get(RETRIES, "/nowhere");
        assert_eq!(answer.status, "404");
        assert!(answer.server.starts_with("web0"), "{answer:?}");
        assert!(answer.body.contains("<center>nginx"), "{answer:?}");
    }

    site.assert_logged("/nowhere", "404", |by| by == [TURNS; 3]);
}

#[test]
#[ignore = "requires root"]
fn a_broken_gateway_is_passed_over_unless_the_request_may_have_had_an_effect() {
    let site = Site::start("next-502");
    let path = "/gateway/page.html";

    for _ in 0..TURNS {
        let answer = site.get(RETRIES, path);
        assert_eq!(
            (answer.status.as_str(), answer.server.as_str()),
            ("200", "web03")
        );
        assert_eq!(answer.body.trim(), "behind the gateway");
    }
    site.assert_logged(path, "200", |by| by == [0, 0, TURNS]);
    site.assert_logged(path, "502", |[web01, web02, web03]| {
        web01 > 0 && web02 > 0 && web03 == 0
    });

    let path = "/gateway/form.html";
    let posts = (0..TURNS).map(|_| site.ask(RETRIES, &["-d", "once"], path).unwrap());
    let refused = posts.filter(|answer| answer.status == "502").count();
    assert!((1..TURNS).contains(&refused), "{refused} of {TURNS}");
    site.assert_logged(path, "502", |by| by.iter().sum::<usize>() == refused);
    // Neither is the server asked that is next to one without such a page.
    site.assert_logged(path, "404", |by| by == [0, 0, TURNS - refused]);
}

#[test]
#[ignore = "requires root"]
fn a_dead_server_is_passed_over() {
    let mut site = Site::start("next-dead");
    let path = "/oldboy.html";
    site.webs[1].kill().unwrap();

    for host in [RETRIES, ERRORS_ONLY] {
        for _ in 0..TURNS {
            let answer = site.get(host, path);
            assert_eq!(answer.status, "200", "{answer:?}");
            assert_ne!(answer.server, "web02");
        }
    }

    site.assert_logged(path, "200", |[web01, web02, web03]| {
        web01 + web03 == 2 * TURNS && web02 == 0
    });
}

#[test]
#[ignore = "requires root"]
fn what_is_not_listed_is_passed_on() {
    let site = Site::start("next-not");

    let answers: Vec<_> = (0..TURNS)
        .map(|_| site.get(ERRORS_ONLY, "/static/oldboy.html"))
        .collect();

    let found = answers.iter().filter(|answer| answer.status == "200");
    assert_eq!(found.count(), TURNS / 3);
    let third = TURNS / 3;
    site.assert_logged("/static/oldboy.html", "404", |by| by == [0, third, third]);
}

//! `hafw import --nginx`: a real nginx with a configuration, and hafw's proxy with what was imported
//! from it, answer alike.

use std::{env, fs, os::unix::fs::symlink, path::Path, time::Duration};

use hafw_lab::{
    Daemon, Host, Lab, Station,
    peers::{Hafw, WebServer, nginx},
    wait_until,
};

const PATIENCE: Duration = Duration::from_secs(10);
/// How often each request is made: once for each server of the largest upstream.
const TURNS: usize = 3;
/// What the web servers say: who they are, and what reached them. `/retry` is on web03 alone.
const ECHO: &str = "location / {
    return 200 \"$server_addr host=$host uri=$request_uri xff=$http_x_forwarded_for\\n\";
}";
const NO_RETRY: &str = "location /retry { return 404; }";

/// A request: host, options of curl, path.
type Request = (&'static str, &'static [&'static str], &'static str);

const IPHONE: &[&str] = &["-A", "an iPhone"];
const CHROME: &[&str] = &["-A", "chrome"];
const BOTH: &[&str] = &["-A", "chrome on an iPhone"];
const POST: &[&str] = &["-d", "text"];
const DELETE: &[&str] = &["-X", "DELETE"];
const NONE: &[&str] = &[];
const KNOWN: &[&str] = &["-H", "X-Tenant: known"];
const BETA: &[&str] = &["-b", "beta=1"];
const MAINTENANCE: &[&str] = &["-H", "X-Maintenance: 1"];
const EXACTLY: &[&str] = &["-A", "exactly"];

struct Site {
    lab: Lab,
    _webs: [WebServer; 3],
}

impl Site {
    fn start(purpose: &str) -> Self {
        let lab = Lab::new(purpose).unwrap();
        let webs = Station::BACKENDS.map(|web| {
            let more = if web == Station::Web03 { "" } else { NO_RETRY };
            WebServer::start_with(&lab[web], &format!("{ECHO}\n{more}")).unwrap()
        });
        let site = Self { lab, _webs: webs };
        // Both proxies find the addresses there.
        for vip in ["10.0.0.3/24", "10.0.0.4/24"] {
            site.node()
                .output("ip", &["addr", "add", vip, "dev", "eth0"])
                .unwrap();
        }
        site
    }

    fn node(&self) -> &Host {
        &self.lab[Station::Lb01]
    }

    /// Starts a proxy, asks it everything, and ends it.
    fn answers(&self, mut proxy: Daemon, requests: &[(&str, Request)]) -> Vec<String> {
        proxy.start().unwrap();
        for vip in ["10.0.0.3", "10.0.0.4"] {
            wait_until(PATIENCE, "the proxy to listen", || {
                self.ask(vip, ("x", NONE, "/")).map(drop)
            })
            .unwrap();
        }
        let answers = requests.iter().map(|(vip, request)| {
            let asked = (0..TURNS).map(|_| self.ask(vip, *request).unwrap());
            let mut answers: Vec<_> = asked.collect();
            answers.sort();
            format!("{request:?}: {}", answers.join(" | "))
        });
        let answers = answers.collect();
        proxy.stop(PATIENCE).unwrap();
        answers
    }

    /// The status, and what a web server or a `return` with a text said.
    fn ask(&self, vip: &str, (host, options, path): Request) -> Result<String, String> {
        let (header, url) = (format!("Host: {host}"), format!("http://{vip}{path}"));
        let format = "\n%{http_code} %{redirect_url}";
        let fixed = [
            "-sS",
            "--path-as-is",
            "--max-time",
            "5",
            "-w",
            format,
            "-H",
            &header,
            &url,
        ];
        let args: Vec<_> = options.iter().copied().chain(fixed).collect();
        let text = self.lab[Station::Client].output("curl", &args);
        let text = text.map_err(|error| error.to_string())?;
        let (body, last) = text.rsplit_once('\n').ok_or_else(|| text.clone())?;
        // The pages of the proxies' own differ.
        let body = if last.starts_with("200") { body } else { "" };
        Ok(format!("{last} {body}"))
    }

    /// Asks nginx with a file, and hafw with what the file comes to.
    fn compare(&self, file: &str, requests: &[(&str, Request)]) {
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../hafw-import/tests/data/nginx");
        let original = data.join(file);
        let text = fs::read_to_string(&original).unwrap();
        let expected = self.answers(nginx(self.node(), &text).unwrap(), requests);

        let found = self.answers(self.imported(&original), requests);

        assert_eq!(found.len(), expected.len());
        let different: Vec<_> = found
            .iter()
            .zip(&expected)
            .filter(|(found, expected)| found != expected)
            .map(|(found, expected)| format!("hafw  {found}\nnginx {expected}"))
            .collect();
        assert!(different.is_empty(), "{file}:\n{}", different.join("\n"));
    }

    /// hafw's proxy alone, with what an nginx file comes to.
    fn imported(&self, original: &Path) -> Daemon {
        let hafw = Hafw::built().unwrap();
        let binary = self.node().files().join("hafw-l7");
        if !binary.exists() {
            symlink(&hafw, &binary).unwrap();
        }
        let original = original.display().to_string();
        let args = [
            "import",
            "--nginx",
            &original,
            "--address",
            "10.0.0.3",
            "--address",
            "10.0.0.4",
        ];
        let text = self.node().output(&hafw, &args).unwrap();
        // One worker takes the servers in turn, as nginx's one does.
        let text = format!("{text}\n[proxy]\nworkers = 1\n");
        let config = self.node().write("imported.toml", &text).unwrap();
        let args = ["-c".to_owned(), config.display().to_string()];
        let log = self.node().files().join("hafw-l7.log");
        Daemon::new("hafw-l7", self.node().namespace(), binary, args, log)
    }
}

#[test]
fn the_lessons_load_balancers_answer_as_nginx_does() {
    let site = Site::start("import-lesson");
    let mut requests = Vec::new();
    for agent in [NONE, IPHONE, CHROME, BOTH, POST] {
        for path in ["/", "/upload/a%20b?x=1", "/uploads", "/static", "/other"] {
            requests.push(("10.0.0.3", ("www.oldboy.com", agent, path)));
        }
    }
    requests.push(("10.0.0.3", ("other.test", NONE, "/")));
    requests.push(("10.0.0.4", ("bbs.oldboy.com", NONE, "/")));

    for file in ["lesson-uri.conf", "lesson-agent.conf", "lesson-vips.conf"] {
        site.compare(file, &requests);
    }
}

#[test]
fn every_kind_of_location_answers_as_nginx_does() {
    let site = Site::start("import-all");
    let mut requests: Vec<(&str, Request)> = Vec::new();
    for path in [
        "/",
        "/exact",
        "/exact/a",
        "/exactly",
        "/dir",
        "/dir?q=1",
        "/dir/",
        "/dir/a/b?q=1",
        "/dir/deep/c",
        "/bare",
        "/barely",
        "/bare/a",
        "/final/a.png",
        "/final",
        "/a.png",
        "/dir/a.png",
        "/a.jpg",
        "/a.JPG",
        "/v12/a/b",
        "/v12/a?q=1",
        "/vx/a",
        "/nested/a",
        "/nested/inner/a",
        "/nested/a.css",
        "/other.css",
        "/moved",
        "/away?q=1",
        "/text",
        "/gone",
        "/nobody",
        "/client",
        "/others",
        "/only-get",
        "/pool",
        "/retry",
        "/files/a",
        "/%65xact",
        "//exact",
        "/x/../exact",
        "/a%2fb",
        "/a%zz",
        "/../a",
        "/dir/a%20b",
    ] {
        requests.push(("10.0.0.3", ("plain.test", NONE, path)));
    }
    for (options, path) in [
        (POST, "/only-get"),
        (IPHONE, "/pool"),
        (EXACTLY, "/pool"),
        (POST, "/retry"),
        (IPHONE, "/"),
    ] {
        requests.push(("10.0.0.3", ("plain.test", options, path)));
    }
    for host in [
        "a.wild.test",
        "b.a.wild.test",
        "front.anything",
        "re12.test",
        "wild.test",
    ] {
        requests.push(("10.0.0.3", (host, KNOWN, "/a")));
    }
    for options in [
        NONE,
        KNOWN,
        IPHONE,
        CHROME,
        BOTH,
        BETA,
        MAINTENANCE,
        DELETE,
        POST,
        &["-H", "X-Tenant: known", "-A", "an iPhone"],
        &["-H", "X-Tenant: known", "-A", "chrome on an iPhone"],
        &["-H", "X-Tenant: known", "-b", "beta=1"],
        &["-H", "X-Tenant: known", "-X", "DELETE"],
    ] {
        for path in [
            "/",
            "/a?stop=yes",
            "/a?stop=no",
            "/old/a?q=1",
            "/gone/a",
            "/new/a",
        ] {
            requests.push(("10.0.0.3", ("a.wild.test", options, path)));
        }
    }
    for host in ["tree.test", "a.tree.test", "none.test"] {
        requests.push(("10.0.0.4", (host, NONE, "/")));
    }

    site.compare("answers.conf", &requests);
}

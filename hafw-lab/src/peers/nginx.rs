//! nginx: the lesson's web servers with their pages, and the lesson's load balancer.

use std::{fs, time::Duration};

use nix::sys::signal::Signal;

use crate::{Daemon, Host, LabError, Scope, Station, VIP_BBS, VIP_WWW, wait_until};

/// Where the web servers listen beside port 80, for L4 services.
pub const SERVICE_PORT: u16 = 8080;

/// An nginx with the lesson's pages: `/upload/` on web02, `/static/` on web01, `/` on all of them,
/// and `/whoami`, which repeats what the proxy sent.
#[derive(Debug)]
pub struct WebServer {
    /// Its process.
    pub daemon: Daemon,
    host: Host,
}

impl WebServer {
    /// Writes the pages and `nginx.conf`, starts it, and waits until it answers.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(host: &Host) -> Result<Self, LabError> {
        Self::start_with(host, "")
    }

    /// As [`WebServer::start`], with more of nginx's directives for the server, such as a `location`.
    ///
    /// # Errors
    /// It does not start.
    pub fn start_with(host: &Host, more: &str) -> Result<Self, LabError> {
        for (path, text) in pages(host.station()) {
            host.write(&format!("html/{path}"), &text)?;
        }
        let daemon = daemon(host, &web_server(host, more))?;
        let mut server = Self {
            daemon,
            host: host.clone(),
        };
        server.restart()?;
        Ok(server)
    }

    /// Starts it again after it was stopped, and waits until it answers.
    ///
    /// # Errors
    /// It does not start.
    pub fn restart(&mut self) -> Result<(), LabError> {
        self.daemon.start()?;
        let url = format!("http://{}/whoami", self.host.station().address());
        let ready = wait_until(Duration::from_secs(5), format!("{url} to answer"), || {
            let asked = self.host.output("curl", &["-sS", "--max-time", "1", &url]);
            asked.map_err(|error| error.to_string())
        });
        self.daemon.expect_running()?;
        ready.map(drop)
    }

    /// How many requests it has logged whose line has all of these words, such as a path and a
    /// status.
    ///
    /// # Errors
    /// There is no log.
    pub fn logged(&self, words: &[&str]) -> Result<usize, LabError> {
        let path = self.host.files().join("access.log");
        let text =
            fs::read_to_string(&path).map_err(LabError::io(format!("read {}", path.display())))?;
        let has_all = |line: &&str| words.iter().all(|word| line.split(' ').any(|w| w == *word));
        Ok(text.lines().filter(has_all).count())
    }

    /// The web server dies, with its workers.
    ///
    /// # Errors
    /// It does not end.
    pub fn kill(&mut self) -> Result<(), LabError> {
        self.daemon.signal(Scope::Tree, Signal::SIGKILL)
    }
}

/// nginx on a host with these directives in its `http` block. It is not started yet.
///
/// # Errors
/// Its configuration cannot be written.
pub fn nginx(host: &Host, http: &str) -> Result<Daemon, LabError> {
    daemon(host, http)
}

/// nginx as the lesson's load balancer on a node: `lb.conf`, listening on the VIPs only.
#[derive(Debug)]
pub struct LessonProxy {
    /// Its process.
    pub daemon: Daemon,
}

impl LessonProxy {
    /// Writes `nginx.conf` on a node and starts nginx. The node need not have the VIPs.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(host: &Host) -> Result<Self, LabError> {
        // The lesson's own remedy, in this namespace only.
        host.sysctl("net/ipv4/ip_nonlocal_bind", "1")?;
        let mut daemon = daemon(host, &load_balancer())?;
        daemon.start()?;
        let socket = format!("{VIP_WWW}:80");
        let ready = wait_until(
            Duration::from_secs(5),
            "nginx to listen on the VIPs",
            || {
                let sockets = host
                    .output("ss", &["-ltn"])
                    .map_err(|error| error.to_string())?;
                if sockets.contains(&socket) {
                    Ok(())
                } else {
                    Err(sockets)
                }
            },
        );
        daemon.expect_running()?;
        ready?;
        Ok(Self { daemon })
    }
}

/// The lesson's pages, by path. Every one names the cluster and the server.
fn pages(station: Station) -> Vec<(&'static str, String)> {
    let address = station.address();
    let (client, own) = match station {
        Station::Web01 => ("iphone_access", Some(("static/oldboy.html", "static-web"))),
        Station::Web02 => ("google_access", Some(("upload/oldboy.html", "upload-web"))),
        Station::Web03 | Station::Client | Station::Observer | Station::Lb01 | Station::Lb02 => {
            ("default_access", None)
        }
    };
    let mut pages = vec![("oldboy.html", format!("{client} {address}\n"))];
    if let Some((path, cluster)) = own {
        pages.push((path, format!("{cluster} cluster_{address}\n")));
    }
    pages
}

/// A configuration that keeps all of nginx's files with the host's.
fn daemon(host: &Host, http: &str) -> Result<Daemon, LabError> {
    let (files, state) = (host.files().display(), host.state().display());
    let station = host.station();
    let config = format!(
        r#"# nginx on {station}
user root;
daemon off;
worker_processes 1;
pid {state}/nginx.pid;
events {{ worker_connections 4096; }}
http {{
    log_format lab '$remote_addr "$request" $status host=$host xff=$http_x_forwarded_for "$http_user_agent"';
    access_log {files}/access.log lab;
    client_body_temp_path {state}/body;
    proxy_temp_path {state}/proxy;
    fastcgi_temp_path {state}/fastcgi;
    uwsgi_temp_path {state}/uwsgi;
    scgi_temp_path {state}/scgi;
    keepalive_requests 1000000;
{http}}}
"#
    );
    let config = host.write("nginx.conf", &config)?;
    let (prefix, config) = (
        host.files().display().to_string(),
        config.display().to_string(),
    );
    let args = ["-p", &prefix, "-c", &config, "-e", "stderr"].map(str::to_owned);
    let log = host.files().join("nginx.log");
    Ok(Daemon::new(
        format!("nginx on {station}"),
        host.namespace(),
        "nginx",
        args,
        log,
    ))
}

fn web_server(host: &Host, more: &str) -> String {
    let (name, files) = (host.station(), host.files().display());
    format!(
        r#"    default_type text/plain;
    server {{
        listen 80 backlog=4096;
        listen {SERVICE_PORT} backlog=4096;
        root {files}/html;
        index oldboy.html;
        add_header X-Server {name} always;
        location = /whoami {{
            return 200 "{name} host=$host xff=$http_x_forwarded_for from=$remote_addr\n";
        }}
        {more}
    }}
"#
    )
}

/// The lesson's `lb.conf`: routing by URI for www, round robin for bbs, on the VIPs only.
fn load_balancer() -> String {
    let [web01, web02, web03] = Station::BACKENDS.map(Station::address);
    let pass = "            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_next_upstream error timeout http_404 http_502 http_403;";
    format!(
        "    upstream upload {{ server {web02}:80; }}
    upstream static {{ server {web01}:80; }}
    upstream default {{ server {web03}:80; }}
    upstream oldboy {{ server {web01}:80; server {web02}:80; server {web03}:80; }}
    server {{
        listen {VIP_WWW}:80 backlog=4096;
        server_name www.oldboy.com;
        location / {{
            proxy_pass http://default;
{pass}
        }}
        location /upload {{
            proxy_pass http://upload;
{pass}
        }}
        location /static {{
            proxy_pass http://static;
{pass}
        }}
    }}
    server {{
        listen {VIP_BBS}:80 backlog=4096;
        server_name bbs.oldboy.com;
        location / {{
            proxy_pass http://oldboy;
{pass}
        }}
    }}
"
    )
}

//! The lesson's web servers: nginx with its pages.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::{Daemon, Host, LabError, Scope, Station, wait_until};

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
        for (path, text) in pages(host.station()) {
            host.write(&format!("html/{path}"), &text)?;
        }
        let config = host.write("nginx.conf", &config(host))?;
        let log = host.files().join("nginx.log");
        let args = [
            "-p".to_owned(),
            host.files().display().to_string(),
            "-c".to_owned(),
            config.display().to_string(),
            "-e".to_owned(),
            "stderr".to_owned(),
        ];
        let name = format!("nginx on {}", host.station());
        let daemon = Daemon::new(name, host.namespace(), "nginx", args, log);
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

    /// The web server dies, with its workers.
    ///
    /// # Errors
    /// It does not end.
    pub fn kill(&mut self) -> Result<(), LabError> {
        self.daemon.signal(Scope::Tree, Signal::SIGKILL)
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

fn config(host: &Host) -> String {
    let (name, files, state) = (host.station().name(), host.files(), host.state());
    let (files, state) = (files.display(), state.display());
    format!(
        r#"# {name}, a web server of the lesson.
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
    default_type text/plain;
    keepalive_requests 1000000;
    server {{
        listen 80 backlog=4096;
        listen {SERVICE_PORT} backlog=4096;
        root {files}/html;
        index oldboy.html;
        add_header X-Server {name} always;
        location = /whoami {{
            return 200 "{name} host=$host xff=$http_x_forwarded_for from=$remote_addr\n";
        }}
    }}
}}
"#
    )
}

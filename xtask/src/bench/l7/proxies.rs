//! The proxies that are compared, and their configurations: the lesson's routes in each language.

use std::path::Path;

use anyhow::Result;
use hafw_lab::{Host, Signal, peers::lesson_www};

use crate::workspace;

/// A client's and a server's of each, and some; the hard limit of descriptors may be 20,000.
const NGINX_CONNECTIONS: u32 = 19_000;
/// Clients'; it wants twice as many descriptors, and does without where the hard limit is less.
const HAPROXY_CONNECTIONS: u32 = 10_500;

/// Where the upstream listens.
pub(super) const UPSTREAM_PORT: u16 = 9001;

/// hafw's own.
pub(super) const HAFW: &str = "hafw-l7";

/// A proxy.
#[derive(Debug)]
pub(super) struct Proxy {
    pub(super) name: &'static str,
    /// Where it listens in clear; [`Self::tls_port`] is beside it.
    pub(super) port: u16,
    pub(super) config: fn(&Setting<'_>) -> String,
    pub(super) command: fn(&Path) -> Result<Vec<String>>,
    /// What has it read its configuration again, if the process can.
    pub(super) reload: Option<Signal>,
}

/// What a configuration is made for.
#[derive(Debug)]
pub(super) struct Setting<'a> {
    pub(super) host: &'a Host,
    pub(super) port: u16,
    pub(super) tls_port: u16,
    /// A file with a certificate and its key, and one of each.
    pub(super) both: &'a Path,
    pub(super) certificate: &'a Path,
    pub(super) key: &'a Path,
    /// Whether access logs are written.
    pub(super) logs: bool,
}

impl Proxy {
    pub(super) const fn tls_port(&self) -> u16 {
        self.port + 100
    }
}

pub(super) const PROXIES: [Proxy; 4] = [
    Proxy {
        name: HAFW,
        port: 8001,
        config: hafw,
        command: hafw_command,
        reload: Some(Signal::SIGHUP),
    },
    Proxy {
        name: "nginx",
        port: 8002,
        config: nginx,
        command: nginx_command,
        reload: Some(Signal::SIGHUP),
    },
    Proxy {
        name: "haproxy",
        port: 8003,
        config: haproxy,
        command: haproxy_command,
        reload: None,
    },
    Proxy {
        name: "haproxy with retries",
        port: 8004,
        config: haproxy_with_retries,
        command: haproxy_command,
        reload: None,
    },
];

/// The names of all.
pub(super) fn names() -> [&'static str; PROXIES.len()] {
    PROXIES.map(|proxy| proxy.name)
}

pub(super) fn upstream(host: &Host) -> String {
    let files = host.files().display();
    nginx_main(
        host,
        "upstream",
        "off",
        &format!(
            "sendfile on;
    tcp_nopush on;
    open_file_cache max=100;
    server {{
        listen 127.0.0.1:{UPSTREAM_PORT} backlog=4096;
        root {files}/upstream;
        # What is looked through has no length beforehand.
        location ~ /chunked$ {{ ssi on; ssi_types *; }}
    }}"
        ),
    )
}

fn nginx_main(host: &Host, name: &str, access_log: &str, http: &str) -> String {
    let state = host.state().display();
    format!(
        "user root;
daemon off;
worker_processes 1;
pid {state}/{name}.pid;
events {{ worker_connections {NGINX_CONNECTIONS}; }}
http {{
    access_log {access_log};
    client_body_temp_path {state}/{name}-body;
    proxy_temp_path {state}/{name}-proxy;
    fastcgi_temp_path {state}/{name}-fastcgi;
    uwsgi_temp_path {state}/{name}-uwsgi;
    scgi_temp_path {state}/{name}-scgi;
    default_type text/plain;
    keepalive_requests 1000000000;
    {http}
}}
"
    )
}

fn nginx(setting: &Setting<'_>) -> String {
    let Setting {
        host,
        port,
        tls_port,
        ..
    } = setting;
    let (certificate, key) = (setting.certificate.display(), setting.key.display());
    let log = match setting.logs {
        true => format!("{}/nginx.access.log combined", host.files().display()),
        false => "off".to_owned(),
    };
    let pool = |name: &str| {
        format!(
            "upstream {name} {{ server 127.0.0.1:{UPSTREAM_PORT}; keepalive 1024; keepalive_requests 1000000000; }}"
        )
    };
    let pools = ["upload", "static", "mobile", "web", "default"]
        .map(pool)
        .join("\n    ");
    let pass = "proxy_http_version 1.1;
        proxy_set_header Connection \"\";
        proxy_set_header Host $host;
        proxy_set_header X-Forwarded-For $remote_addr;
        proxy_next_upstream error timeout http_404 http_502 http_403;";
    nginx_main(
        host,
        "nginx",
        &log,
        &format!(
            "{pools}
    map $http_user_agent $by_agent {{
        default default;
        ~*iphone mobile;
        ~*chrome web;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        listen 127.0.0.1:{tls_port} backlog=4096 ssl http2;
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        server_name www.oldboy.com;
        {pass}
        location / {{ proxy_pass http://$by_agent; }}
        location /upload {{ proxy_pass http://upload; }}
        location /static {{ proxy_pass http://static; }}
    }}"
        ),
    )
}

fn nginx_command(config: &Path) -> Result<Vec<String>> {
    let config = config.display().to_string();
    Ok(["nginx", "-e", "stderr", "-c", &config]
        .map(str::to_owned)
        .to_vec())
}

fn haproxy(setting: &Setting<'_>) -> String {
    haproxy_config(setting, "")
}

fn haproxy_with_retries(setting: &Setting<'_>) -> String {
    haproxy_config(
        setting,
        "    retries 3
    retry-on conn-failure empty-response response-timeout 404 502 403
    option redispatch
",
    )
}

fn haproxy_config(setting: &Setting<'_>, retries: &str) -> String {
    let Setting { port, tls_port, .. } = setting;
    let both = setting.both.display();
    let (log, format) = match setting.logs {
        true => (
            "    log stdout format raw local0\n",
            "    log global\n    option httplog\n",
        ),
        false => ("", ""),
    };
    let backend = |name: &str| {
        format!("backend {name}\n    server one 127.0.0.1:{UPSTREAM_PORT} pool-max-conn 1024\n")
    };
    let backends = ["upload", "static", "mobile", "web", "other"]
        .map(backend)
        .concat();
    format!(
        "global
    nbthread 1
    no strict-limits
    maxconn {HAPROXY_CONNECTIONS}
{log}defaults
    mode http
{format}    timeout connect 5s
    timeout client 60s
    timeout server 60s
    http-reuse always
    option forwardfor
{retries}frontend www
    bind 127.0.0.1:{port} backlog 4096
    bind 127.0.0.1:{tls_port} backlog 4096 ssl crt {both} alpn h2,http/1.1
    use_backend upload if {{ path_beg /upload }}
    use_backend static if {{ path_beg /static }}
    use_backend mobile if {{ hdr_reg(user-agent) -i iphone }}
    use_backend web if {{ hdr_reg(user-agent) -i chrome }}
    default_backend other
{backends}"
    )
}

fn haproxy_command(config: &Path) -> Result<Vec<String>> {
    let config = config.display().to_string();
    Ok(["haproxy", "-db", "-f", &config]
        .map(str::to_owned)
        .to_vec())
}

fn hafw(setting: &Setting<'_>) -> String {
    let log = match setting.logs {
        true => "access_log = { stdout = true }\n",
        false => "",
    };
    let state = setting.host.state().display();
    let pool = |name: &str| {
        format!(
            "[[upstream]]\nname = \"{name}\"\nkeepalive = 1024\n\
             server = [{{ address = \"127.0.0.1:{UPSTREAM_PORT}\" }}]\n\n"
        )
    };
    let pools = ["upload", "static", "mobile", "web", "default"]
        .map(pool)
        .concat();
    let clear = format!("\"127.0.0.1:{}\"", setting.port);
    let secured = format!(
        "{{ address = \"127.0.0.1:{}\", tls = {{ certificate = \"{}\", key = \"{}\" }} }}",
        setting.tls_port,
        setting.certificate.display(),
        setting.key.display()
    );
    let www = lesson_www(format_args!("127.0.0.1:{}", setting.port));
    let www = www.replacen(&clear, &format!("{clear}, {secured}"), 1);
    let www = www.replacen("[[server]]\n", &format!("[[server]]\n{log}"), 1);
    format!(
        r#"[node]
id = "bench"
state_dir = "{state}/l7"

{pools}{www}
[proxy]
workers = 1
"#
    )
}

fn hafw_command(config: &Path) -> Result<Vec<String>> {
    let binary = workspace::binary("hafw-l7", true)?;
    Ok(vec![
        binary.display().to_string(),
        "-c".to_owned(),
        config.display().to_string(),
    ])
}

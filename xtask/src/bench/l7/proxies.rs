//! The proxies that are compared, and their configurations: the lesson's routes in each language.

use std::path::Path;

use anyhow::Result;
use hafw_lab::{Host, peers::lesson_www};

use crate::workspace;

/// Where the upstream listens.
pub(super) const UPSTREAM_PORT: u16 = 9001;

/// hafw's own.
pub(super) const HAFW: &str = "hafw-l7";

/// A proxy.
pub(super) struct Proxy {
    pub(super) name: &'static str,
    pub(super) port: u16,
    /// For a port, and with or without an access log.
    pub(super) config: fn(&Host, u16, bool) -> String,
    pub(super) command: fn(&Path) -> Result<Vec<String>>,
}

pub(super) const PROXIES: [Proxy; 4] = [
    Proxy {
        name: HAFW,
        port: 8001,
        config: hafw,
        command: hafw_command,
    },
    Proxy {
        name: "nginx",
        port: 8002,
        config: nginx,
        command: nginx_command,
    },
    Proxy {
        name: "haproxy",
        port: 8003,
        config: haproxy,
        command: haproxy_command,
    },
    Proxy {
        name: "haproxy with retries",
        port: 8004,
        config: haproxy_with_retries,
        command: haproxy_command,
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
events {{ worker_connections 8192; }}
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

fn nginx(host: &Host, port: u16, logs: bool) -> String {
    let log = match logs {
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

fn haproxy(_: &Host, port: u16, logs: bool) -> String {
    haproxy_config(port, logs, "")
}

fn haproxy_with_retries(_: &Host, port: u16, logs: bool) -> String {
    haproxy_config(
        port,
        logs,
        "    retries 3
    retry-on conn-failure empty-response response-timeout 404 502 403
    option redispatch
",
    )
}

fn haproxy_config(port: u16, logs: bool, retries: &str) -> String {
    let (log, format) = match logs {
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
    maxconn 8192
{log}defaults
    mode http
{format}    timeout connect 5s
    timeout client 60s
    timeout server 60s
    http-reuse always
    option forwardfor
{retries}frontend www
    bind 127.0.0.1:{port} backlog 4096
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

fn hafw(host: &Host, port: u16, logs: bool) -> String {
    let log = match logs {
        true => "access_log = { stdout = true }\n",
        false => "",
    };
    let state = host.state().display();
    let pool = |name: &str| {
        format!(
            "[[upstream]]\nname = \"{name}\"\nkeepalive = 1024\n\
             server = [{{ address = \"127.0.0.1:{UPSTREAM_PORT}\" }}]\n\n"
        )
    };
    let pools = ["upload", "static", "mobile", "web", "default"]
        .map(pool)
        .concat();
    let www = lesson_www(format_args!("127.0.0.1:{port}"));
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

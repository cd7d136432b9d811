//! Programs that others wrote, as clients of the proxy and as servers behind it. They are Debian's;
//! `cargo xtask test conformance` installs and runs them.

mod browser;
mod curl;
mod grpc;
mod http2;
mod slow;
mod websocket;

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use crate::harness::{Authority, Nginx, Proxy, Upstream, free_address};

/// The name of the site, and of its certificate.
const NAME: &str = "www.oldboy.com";
/// Debian's own, which finds Debian's modules.
const PYTHON: &str = "/usr/bin/python3";

/// The proxy, in clear and with TLS, in front of an nginx with files and of an echo.
struct Site {
    proxy: Proxy,
    tls: SocketAddr,
    ca: Authority,
    origin: Nginx,
    files: TempDir,
}

impl Site {
    fn start() -> Self {
        let files = tempfile::tempdir().unwrap();
        let text: String = (0..20_000).map(|line| format!("line {line}\n")).collect();
        let page = "<!doctype html><title>oldboy</title><p id=\"p\">before</p><script src=\"page.js\"></script>\n";
        let script = "document.getElementById('p').textContent = 'after ' + location.protocol;\n";
        for (name, content) in [
            ("small", "hello\n"),
            ("big.txt", &text),
            ("page.html", page),
            ("page.js", script),
        ] {
            fs::write(files.path().join(name), content).unwrap();
        }
        let root = files.path().display();
        let origin = Nginx::start(|address| {
            format!(
                "types {{ text/html html; text/plain txt; text/javascript js; }} gzip on; gzip_types text/plain;\n\
                 gzip_proxied any; gzip_http_version 1.0; absolute_redirect off;\n\
                 server {{ listen {address}; root {root}; location /moved {{ return 302 /small; }} }}"
            )
        });
        let ca = Authority::new("ca");
        let keys = ca.issue("www", &[NAME]).keys();
        let echo = Upstream::start(|request, connection| {
            let body = match request.header("transfer-encoding") {
                Some(_) => dechunked(&request.body),
                None => request.body.clone(),
            };
            let method = request.line().split(' ').next().unwrap_or_default();
            connection.send(format!(
                "HTTP/1.1 200 OK\r\nX-Method: {method}\r\nContent-Length: {}\r\n\r\n",
                body.len()
            ));
            connection.send(body);
        });
        let (tls, echo) = (free_address(), echo.address);
        let web = origin.address;
        let proxy = Proxy::start_with(|address| {
            format!(
                r#"
[[upstream]]
name = "web"
server = [{{ address = "{web}" }}]
[[upstream]]
name = "echo"
server = [{{ address = "{echo}" }}]
[[server]]
listen = ["{address}", {{ address = "{tls}", tls = {{ {keys} }} }}]
hosts = ["{NAME}"]
client_max_body_size = "64MiB"
[[server.route]]
path_prefix = "/echo"
upstream = "echo"
[[server.route]]
upstream = "web"
[proxy]
workers = 1
"#
            )
        });
        Self {
            proxy,
            tls,
            ca,
            origin,
            files,
        }
    }
}

/// A program that ends with its handle.
struct Program(Child);

impl Program {
    fn start(program: &str, args: &[&str]) -> Self {
        let child = Command::new(program)
            .args(args)
            .stdin(Stdio::null())
            .spawn();
        Self(child.unwrap_or_else(|error| panic!("{program}: {error}")))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a program to its end, which comes within `seconds`, and returns what it printed to standard
/// output, with its errors behind.
#[track_caller]
fn run(program: &str, seconds: u32, args: &[&str]) -> String {
    let output = Command::new("timeout")
        .args(["-k", "1", &seconds.to_string(), program])
        .args(args)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    let status = output.status;
    assert!(
        status.success(),
        "{program} {args:?}: {status}\n{stdout}\n{stderr}"
    );
    stdout + &stderr
}

/// Writes a program for Python and returns its file.
fn script(folder: &Path, name: &str, text: &str) -> String {
    let file = folder.join(name);
    fs::write(&file, text).unwrap();
    file.display().to_string()
}

/// The content of a body that is in chunks.
fn dechunked(body: &[u8]) -> Vec<u8> {
    let (mut rest, mut content) = (body, Vec::new());
    while let Some(end) = rest.windows(2).position(|window| window == b"\r\n") {
        let line = String::from_utf8_lossy(&rest[..end]);
        let size = line.split(';').next().unwrap_or_default();
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            break;
        }
        content.extend(&rest[end + 2..end + 2 + size]);
        rest = &rest[end + 2 + size + 2..];
    }
    content
}

//! The lesson's two sites, as hafw's L7 configuration.

use std::fmt::Display;

use crate::{Station, VIP_BBS, VIP_WWW};

const WWW: &str = r#"hosts = ["www.oldboy.com"]
set_headers = { Host = "$host", X-Forwarded-For = "$remote_addr" }
next_upstream = ["error", "timeout", "http_404", "http_502", "http_403"]

[[server.route]]
path_prefix = "/upload"
upstream = "upload"

[[server.route]]
path_prefix = "/static"
upstream = "static"

[[server.route]]
user_agent = "(?i)iphone"
upstream = "mobile"

[[server.route]]
user_agent = "(?i)chrome"
upstream = "web"

[[server.route]]
upstream = "default"
"#;

/// Both sites on their VIPs, and the clusters behind them.
#[must_use]
pub fn lesson_sites() -> String {
    let [web01, web02, web03] = Station::BACKENDS.map(Station::address);
    let upstream = |name: &str, server: String| {
        format!("[[upstream]]\nname = \"{name}\"\nserver = [{server}]\n\n")
    };
    let server = |address| format!("{{ address = \"{address}:80\" }}");
    let upstreams = [
        upstream("upload", server(web02)),
        upstream("static", server(web01)),
        upstream("mobile", server(web01)),
        upstream("web", server(web02)),
        upstream("default", server(web03)),
        upstream("oldboy", [web01, web02, web03].map(server).join(", ")),
    ];
    format!(
        r#"{upstreams}{www}
[[server]]
listen = ["{VIP_BBS}:80"]
hosts = ["bbs.oldboy.com"]
set_headers = {{ Host = "$host", X-Forwarded-For = "$remote_addr" }}

[[server.route]]
upstream = "oldboy"

[proxy]
workers = 1
"#,
        upstreams = upstreams.concat(),
        www = lesson_www(format_args!("{VIP_WWW}:80")),
    )
}

/// `www.oldboy.com` alone, which chooses among `upload`, `static`, `mobile`, `web` and `default`.
#[must_use]
pub fn lesson_www(listen: impl Display) -> String {
    format!("[[server]]\nlisten = [\"{listen}\"]\n{WWW}")
}

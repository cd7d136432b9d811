//! Kinds of load, and the programs that make them: wrk, and h2load for HTTP/2. Requests are as
//! browsers send them, of three prefixes by three browsers.

use std::process::Command;

use anyhow::{Context as _, Result, bail};
use hafw_lab::Host;

use super::{
    proxies::Proxy,
    site::{LOAD_CORE, NAME},
};

/// A kind of load.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) name: &'static str,
    protocol: Protocol,
    connections: u32,
    /// The file asked for, below each prefix.
    file: &'static str,
    /// Whether each request has a connection of its own.
    closes: bool,
}

#[derive(Clone, Copy, Debug)]
enum Protocol {
    Clear,
    Tls,
    /// With so many requests under way on each connection.
    Http2(u32),
}

/// What the upstream serves.
pub(super) struct File {
    pub(super) name: &'static str,
    /// In bytes.
    pub(super) length: usize,
}

pub(super) const FILES: [File; 4] = [
    file("small", 27),
    file("64k", 64 << 10),
    file("1m", 1 << 20),
    file("chunked", 64 << 10),
];

pub(super) const CLEAR: [Shape; 6] = [
    keep_alive("64 keep-alive", Protocol::Clear, 64, "small"),
    keep_alive("1024 keep-alive", Protocol::Clear, 1024, "small"),
    Shape {
        closes: true,
        ..keep_alive("connection per request", Protocol::Clear, 64, "small")
    },
    keep_alive("64 KB", Protocol::Clear, 64, "64k"),
    keep_alive("1 MB", Protocol::Clear, 16, "1m"),
    keep_alive("chunked 64 KB", Protocol::Clear, 64, "chunked"),
];

pub(super) const TLS: [Shape; 4] = [
    keep_alive("TLS, 64 keep-alive", Protocol::Tls, 64, "small"),
    Shape {
        closes: true,
        ..keep_alive("TLS, connection per request", Protocol::Tls, 64, "small")
    },
    keep_alive("TLS, 64 KB", Protocol::Tls, 64, "64k"),
    keep_alive("TLS, 1 MB", Protocol::Tls, 16, "1m"),
];

pub(super) const HTTP2: [Shape; 4] = [
    keep_alive("HTTP/2, 64 x 1 stream", Protocol::Http2(1), 64, "small"),
    keep_alive("HTTP/2, 8 x 16 streams", Protocol::Http2(16), 8, "small"),
    keep_alive("HTTP/2, 64 KB", Protocol::Http2(4), 16, "64k"),
    keep_alive("HTTP/2, 1 MB", Protocol::Http2(1), 16, "1m"),
];

const PREFIXES: [&str; 3] = ["upload", "static", "other"];
const AGENTS: [&str; 3] = [
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148",
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36",
    "Mozilla/5.0 (compatible; MSIE 10.0; Windows NT 6.2; Trident/6.0)",
];
/// What else a browser says.
const HEADERS: [(&str, &str); 4] = [
    (
        "Accept",
        "text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8",
    ),
    ("Accept-Language", "en-GB,en;q=0.5"),
    ("Accept-Encoding", "gzip, deflate, br"),
    (
        "Cookie",
        "session=0123456789abcdef0123456789abcdef; theme=light",
    ),
];

const fn file(name: &'static str, length: usize) -> File {
    File { name, length }
}

const fn keep_alive(
    name: &'static str,
    protocol: Protocol,
    connections: u32,
    file: &'static str,
) -> Shape {
    Shape {
        name,
        protocol,
        connections,
        file,
        closes: false,
    }
}

impl Shape {
    /// Puts the load on a proxy for so many seconds, and returns how many requests were answered; an
    /// error if one of them was not answered well.
    pub(super) fn load(&self, host: &Host, proxy: &Proxy, seconds: u64) -> Result<f64> {
        match self.protocol {
            Protocol::Clear => {
                self.wrk(host, &format!("http://127.0.0.1:{}/", proxy.port), seconds)
            }
            Protocol::Tls => {
                let url = format!("https://127.0.0.1:{}/", proxy.tls_port());
                self.wrk(host, &url, seconds)
            }
            Protocol::Http2(streams) => self.h2load(host, proxy, streams, seconds),
        }
    }

    fn wrk(&self, host: &Host, url: &str, seconds: u64) -> Result<f64> {
        let script = format!("{}.lua", self.name.replace([' ', '/'], "-"));
        let script = host.write(&script, &self.script())?;
        let (connections, duration) = (self.connections.to_string(), format!("{seconds}s"));
        let mut command = Command::new("taskset");
        command.args(["-c", LOAD_CORE, "wrk", "-t1", "--timeout", "10s"]);
        command.args(["-c", &connections, "-d", &duration, "-s"]);
        let text = host.namespace().output(command.arg(&script).arg(url))?;
        let requests = text.lines().find_map(|line| {
            let (number, rest) = line.trim().split_once(' ')?;
            let counts = rest.starts_with("requests in");
            counts.then(|| number.parse::<f64>().ok())?
        });
        let requests = requests.filter(|&requests| requests > 0.0);
        let requests = requests.with_context(|| format!("wrk counted no requests:\n{text}"))?;
        if text.contains("Non-2xx") || text.contains("Socket errors") {
            bail!("not every request was answered well:\n{text}");
        }
        Ok(requests)
    }

    fn script(&self) -> String {
        let list = |items: &[&str]| {
            let items = items.iter().map(|item| format!("\"{item}\""));
            items.collect::<Vec<_>>().join(", ")
        };
        let closes = self.closes.then_some(("Connection", "close"));
        let headers: String = HEADERS
            .into_iter()
            .chain(closes)
            .map(|(name, value)| format!("        [\"{name}\"] = \"{value}\",\n"))
            .collect();
        format!(
            r#"local requests, next = {{}}, 0
init = function()
  for _, prefix in ipairs({{ {prefixes} }}) do
    for _, agent in ipairs({{ {agents} }}) do
      requests[#requests + 1] = wrk.format("GET", "/" .. prefix .. "/{file}", {{
        ["Host"] = "{NAME}",
        ["User-Agent"] = agent,
{headers}      }})
    end
  end
end
request = function()
  next = next % #requests + 1
  return requests[next]
end
"#,
            prefixes = list(&PREFIXES),
            agents = list(&AGENTS),
            file = self.file,
        )
    }

    /// h2load gives all requests the same headers, so there is one browser.
    fn h2load(&self, host: &Host, proxy: &Proxy, streams: u32, seconds: u64) -> Result<f64> {
        let address = format!("127.0.0.1:{}", proxy.tls_port());
        let [connections, streams, seconds] =
            [u64::from(self.connections), u64::from(streams), seconds].map(|n| n.to_string());
        let mut command = Command::new("taskset");
        command.args(["-c", LOAD_CORE, "h2load", "--connect-to", &address]);
        command.args(["-c", &connections, "-m", &streams, "-D", &seconds]);
        for (name, value) in HEADERS.into_iter().chain([("User-Agent", AGENTS[1])]) {
            command.args(["-H", &format!("{name}: {value}")]);
        }
        for prefix in PREFIXES {
            command.arg(format!("https://{NAME}/{prefix}/{}", self.file));
        }
        let text = host.namespace().output(&mut command)?;
        let counted = H2loadCounts::read(&text)?;
        if counted.bad > 0 {
            bail!("not every request was answered well:\n{text}");
        }
        if !text.contains("Application protocol: h2") {
            bail!("that was not HTTP/2:\n{text}");
        }
        Ok(counted.good as f64)
    }
}

/// What h2load says at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct H2loadCounts {
    /// Requests answered with 2xx.
    pub(super) good: u64,
    /// Requests answered otherwise, or not at all.
    pub(super) bad: u64,
}

impl H2loadCounts {
    /// From `requests: 9 total, 9 started, 9 done, 9 succeeded, 0 failed, 0 errored, 0 timeout` and
    /// `status codes: 9 2xx, 0 3xx, 0 4xx, 0 5xx`.
    pub(super) fn read(text: &str) -> Result<Self> {
        let count = |line: &str, word: &str| {
            let line = text.lines().find_map(|text| text.strip_prefix(line))?;
            let mut parts = line.split(',').map(str::trim);
            let part = parts.find_map(|part| part.strip_suffix(word))?;
            part.trim().parse::<u64>().ok()
        };
        let counts = || {
            let failed = count("requests:", "failed")?;
            let others = [" 3xx", " 4xx", " 5xx"].map(|class| count("status codes:", class));
            let others: u64 = others.into_iter().sum::<Option<u64>>()?;
            // Errors and time-outs are failures too; so are 4xx and 5xx in some versions.
            Some(Self {
                good: count("status codes:", " 2xx")?,
                bad: failed.max(others),
            })
        };
        let counted = counts().filter(|counted| counted.good > 0);
        counted.with_context(|| format!("h2load counted no requests:\n{text}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_h2load_counts_is_understood() {
        let text = "finished in 1.00s, 9 req/s, 1KB/s\n\
            requests: 12 total, 12 started, 12 done, 9 succeeded, 3 failed, 1 errored, 0 timeout\n\
            status codes: 9 2xx, 0 3xx, 2 4xx, 0 5xx\n";

        let counted = H2loadCounts::read(text).unwrap();

        assert_eq!(counted, H2loadCounts { good: 9, bad: 3 });
        assert!(H2loadCounts::read("").is_err());
    }
}

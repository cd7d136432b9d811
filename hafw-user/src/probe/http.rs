//! One HTTP/1.1 request, in clear or over TLS.

use std::{io, net::SocketAddr};

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::{Limit, Report, TlsSpec, tcp::connect, tls::Alpn};

/// The longest head of an answer that is read, and the most header lines in it.
const HEAD_LIMIT: usize = 16 * 1024;
const HEADER_LINES: usize = 64;
/// How much of a body is looked at, and read before the connection is closed: closing it with unread bytes resets
/// it, which servers log as the client's fault.
const BODY_LIMIT: usize = 64 * 1024;

/// A request that is made up wrongly.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidHttp {
    /// What follows the authority must start with `/` and be visible ASCII.
    #[error("{0:?} is no path: it must start with '/' and be visible ASCII, without spaces")]
    Path(String),
    /// The Host header must be visible ASCII.
    #[error("{0:?} is no host name")]
    Host(String),
    /// Statuses have three digits (RFC 9110 §15).
    #[error("{0} is no HTTP status")]
    Status(u16),
    /// A method or a header would end the line that it stands in.
    #[error("{0:?} cannot stand in a request's head")]
    Head(String),
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRequest {
    /// The method, such as GET. There is no body.
    pub method: String,
    /// The Host header.
    pub host: String,
    /// With the query, if there is one.
    pub path: String,
    /// Further headers.
    pub headers: Vec<(String, String)>,
}

impl HttpRequest {
    /// A GET without further headers.
    #[must_use]
    pub fn get(host: impl Into<String>, path: impl Into<String>) -> Self {
        Self {
            method: "GET".into(),
            host: host.into(),
            path: path.into(),
            headers: Vec::new(),
        }
    }
}

/// What to ask, whom, and what to expect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpProbe {
    address: SocketAddr,
    request: String,
    expect: Vec<u16>,
    body: Option<String>,
    tls: Option<TlsSpec>,
    /// An answer has no body, whatever its head says of one (RFC 9110 §9.3.2).
    bodiless: bool,
}

impl HttpProbe {
    /// `expect`: the right statuses; none: any from 200 to 299. Redirects are not followed.
    ///
    /// # Errors
    /// See [`InvalidHttp`].
    pub fn new(
        address: SocketAddr,
        request: &HttpRequest,
        expect: &[u16],
    ) -> Result<Self, InvalidHttp> {
        let HttpRequest {
            method,
            host,
            path,
            headers,
        } = request;
        let visible = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        if !path.starts_with('/') || !visible(path) {
            return Err(InvalidHttp::Path(path.clone()));
        }
        if host.is_empty() || !visible(host) {
            return Err(InvalidHttp::Host(host.clone()));
        }
        if let Some(status) = expect.iter().find(|status| !(100..600).contains(*status)) {
            return Err(InvalidHttp::Status(*status));
        }
        if method.is_empty() || !visible(method) {
            return Err(InvalidHttp::Head(method.clone()));
        }
        let version = env!("CARGO_PKG_VERSION");
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n");
        let given = |name: &str| headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
        if !given("user-agent") {
            request += &format!("User-Agent: hafw/{version}\r\n");
        }
        if !given("accept") {
            request += "Accept: */*\r\n";
        }
        if method == "POST" {
            request += "Content-Length: 0\r\n";
        }
        for (name, value) in headers {
            let line = format!("{name}: {value}");
            if !line
                .bytes()
                .all(|byte| byte == b' ' || byte.is_ascii_graphic())
            {
                return Err(InvalidHttp::Head(line));
            }
            request += &format!("{line}\r\n");
        }
        request += "Connection: close\r\n\r\n";
        Ok(Self {
            address,
            request,
            expect: expect.to_vec(),
            body: None,
            tls: None,
            bodiless: method == "HEAD",
        })
    }

    /// What the body must hold within its first 64 KiB.
    #[must_use]
    pub fn expecting_body(self, body: Option<String>) -> Self {
        Self { body, ..self }
    }

    /// Over TLS; None: in clear.
    #[must_use]
    pub fn over_tls(self, tls: Option<TlsSpec>) -> Self {
        Self { tls, ..self }
    }

    pub(super) async fn run(&self, limit: Limit) -> Report {
        let asked = async {
            let stream = connect(self.address, limit).await?;
            match &self.tls {
                None => self.ask(stream, limit).await,
                Some(tls) => {
                    let stream = tls
                        .encrypt(stream, self.address, Alpn::Http1, limit)
                        .await?;
                    self.ask(stream, limit).await
                }
            }
        };
        let report: Result<Report, Report> = asked.await;
        report.unwrap_or_else(|report| report)
    }

    async fn ask<S>(&self, mut stream: S, limit: Limit) -> Result<Report, Report>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let head = limit.wait("answer", self.exchange(&mut stream)).await??;
        let status = head.status;
        if !self.is_right(status) {
            let to = head.location.map(|to| format!(" to {to}"));
            let (to, expected) = (to.unwrap_or_default(), self.expected());
            return Err(Report::bad(format!("HTTP {status}{to}, not {expected}")));
        }
        let Some(expected) = &self.body else {
            // The status is known; that the rest does not come changes nothing.
            if !self.bodiless {
                let _ = limit.wait("body", drain(&mut stream, head.unread)).await;
            }
            return Ok(Report::ok(format!("HTTP {status}")));
        };
        let body = limit.wait("body", whole(&mut stream, &head)).await?;
        if contains(&body, expected) {
            Ok(Report::ok(format!("HTTP {status} with the expected body")))
        } else {
            Err(Report::bad(format!(
                "HTTP {status} without {expected:?} in its body"
            )))
        }
    }

    async fn exchange<S>(&self, stream: &mut S) -> Result<Head, Report>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let broken = |error: io::Error| Report::bad(format!("the connection broke: {error}"));
        stream
            .write_all(self.request.as_bytes())
            .await
            .map_err(broken)?;
        let mut answer = Vec::new();
        loop {
            // `answer` holds no more than HEAD_LIMIT bytes, so there is room for one at least.
            let room = (HEAD_LIMIT + 1 - answer.len()) as u64;
            let read = (&mut *stream)
                .take(room)
                .read_buf(&mut answer)
                .await
                .map_err(broken)?;
            if let Some(head) = parse(&answer)? {
                return Ok(head);
            }
            if answer.len() > HEAD_LIMIT {
                let reason = format!("the answer's head is longer than {HEAD_LIMIT} bytes");
                return Err(Report::bad(reason));
            }
            if read == 0 {
                return Err(Report::bad("closed before the end of the answer's head"));
            }
        }
    }

    fn is_right(&self, status: u16) -> bool {
        if self.expect.is_empty() {
            (200..300).contains(&status)
        } else {
            self.expect.contains(&status)
        }
    }

    fn expected(&self) -> String {
        if self.expect.is_empty() {
            return "2xx".into();
        }
        let all: Vec<_> = self.expect.iter().map(u16::to_string).collect();
        all.join(" or ")
    }
}

struct Head {
    status: u16,
    /// How much of the body is still to come, as far as is said.
    unread: usize,
    /// What of it is there.
    body: Vec<u8>,
    chunked: bool,
    /// Where a redirect leads.
    location: Option<String>,
}

/// The final head in `answer`, once it is there whole. Interim ones (RFC 9110 §15.2) are skipped.
fn parse(mut answer: &[u8]) -> Result<Option<Head>, Report> {
    loop {
        let mut headers = [httparse::EMPTY_HEADER; HEADER_LINES];
        let mut response = httparse::Response::new(&mut headers);
        let parsed = response
            .parse(answer)
            .map_err(|error| Report::bad(format!("not an HTTP answer: {error}")))?;
        let (httparse::Status::Complete(length), Some(status)) = (parsed, response.code) else {
            return Ok(None);
        };
        let unread = content_length(response.headers).unwrap_or(usize::MAX);
        let chunked = header(response.headers, "transfer-encoding")
            .is_some_and(|coding| coding.to_ascii_lowercase().ends_with("chunked"));
        let location = header(response.headers, "location").map(str::to_owned);
        answer = &answer[length..];
        if !(100..200).contains(&status) || status == 101 {
            return Ok(Some(Head {
                status,
                unread: unread.saturating_sub(answer.len()),
                body: answer.to_vec(),
                chunked,
                location,
            }));
        }
    }
}

fn content_length(headers: &[httparse::Header<'_>]) -> Option<usize> {
    header(headers, "content-length")?.parse().ok()
}

fn header<'a>(headers: &[httparse::Header<'a>], name: &str) -> Option<&'a str> {
    let header = headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case(name))?;
    str::from_utf8(header.value).ok().map(str::trim)
}

async fn drain(stream: &mut (impl AsyncRead + Unpin), unread: usize) -> io::Result<u64> {
    let rest = unread.min(BODY_LIMIT) as u64;
    tokio::io::copy(&mut stream.take(rest), &mut tokio::io::sink()).await
}

/// The body as far as it is looked at. What comes of one that breaks off is judged all the same.
async fn whole(stream: &mut (impl AsyncRead + Unpin), head: &Head) -> Vec<u8> {
    let mut body = head.body.clone();
    let room = BODY_LIMIT.saturating_sub(body.len()).min(head.unread);
    let _ = stream.take(room as u64).read_to_end(&mut body).await;
    if head.chunked { dechunked(&body) } else { body }
}

/// The data of chunks (RFC 9112 §7.1), up to where they end or are wrong.
fn dechunked(mut chunks: &[u8]) -> Vec<u8> {
    let mut data = Vec::new();
    while let Ok(httparse::Status::Complete((at, length))) = httparse::parse_chunk_size(chunks)
        && length > 0
    {
        let rest = &chunks[at..];
        let length = usize::try_from(length)
            .unwrap_or(usize::MAX)
            .min(rest.len());
        data.extend(&rest[..length]);
        // The chunk's own line end.
        chunks = rest.get(length + 2..).unwrap_or_default();
    }
    data
}

fn contains(body: &[u8], text: &str) -> bool {
    text.is_empty() || body.windows(text.len()).any(|part| part == text.as_bytes())
}

#[cfg(test)]
mod tests;

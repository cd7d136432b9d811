//! One HTTP/1.1 GET, without TLS.

use std::{io, net::SocketAddr};

use thiserror::Error;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{Limit, Report, tcp::connect};

/// The longest head of an answer that is read, and the most header lines in it.
const HEAD_LIMIT: usize = 16 * 1024;
const HEADER_LINES: usize = 64;
/// How much of a body is read before the connection is closed: closing it with unread bytes resets
/// it, which servers log as the client's fault.
const BODY_LIMIT: usize = 64 * 1024;

/// A GET that is made up wrongly.
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
}

/// What to ask, whom, and what to expect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpProbe {
    address: SocketAddr,
    request: String,
    expect: Vec<u16>,
}

impl HttpProbe {
    /// `host`: the Host header. `path`: with the query, if there is one. `expect`: the right
    /// statuses; none: any from 200 to 299. Redirects are not followed.
    ///
    /// # Errors
    /// See [`InvalidHttp`].
    pub fn new(
        address: SocketAddr,
        host: &str,
        path: &str,
        expect: &[u16],
    ) -> Result<Self, InvalidHttp> {
        let visible = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        if !path.starts_with('/') || !visible(path) {
            return Err(InvalidHttp::Path(path.into()));
        }
        if host.is_empty() || !visible(host) {
            return Err(InvalidHttp::Host(host.into()));
        }
        if let Some(status) = expect.iter().find(|status| !(100..600).contains(*status)) {
            return Err(InvalidHttp::Status(*status));
        }
        let version = env!("CARGO_PKG_VERSION");
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: hafw/{version}\r\n\
             Accept: */*\r\nConnection: close\r\n\r\n"
        );
        Ok(Self {
            address,
            request,
            expect: expect.to_vec(),
        })
    }

    pub(super) async fn run(&self, limit: Limit) -> Report {
        match self.ask(limit).await {
            Ok(status) if self.is_right(status) => Report::ok(format!("HTTP {status}")),
            Ok(status) => Report::bad(format!("HTTP {status}, not {}", self.expected())),
            Err(report) => report,
        }
    }

    async fn ask(&self, limit: Limit) -> Result<u16, Report> {
        let mut stream = connect(self.address, limit).await?;
        let head = limit.wait("answer", self.exchange(&mut stream)).await??;
        // The status is known; that the rest does not come changes nothing.
        let _ = limit.wait("body", drain(&mut stream, head.unread)).await;
        Ok(head.status)
    }

    async fn exchange(&self, stream: &mut TcpStream) -> Result<Head, Report> {
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
        answer = &answer[length..];
        if !(100..200).contains(&status) || status == 101 {
            return Ok(Some(Head {
                status,
                unread: unread.saturating_sub(answer.len()),
            }));
        }
    }
}

fn content_length(headers: &[httparse::Header<'_>]) -> Option<usize> {
    let header = headers
        .iter()
        .find(|h| h.name.eq_ignore_ascii_case("content-length"))?;
    str::from_utf8(header.value).ok()?.trim().parse().ok()
}

async fn drain(stream: &mut TcpStream, unread: usize) -> io::Result<u64> {
    let rest = unread.min(BODY_LIMIT) as u64;
    tokio::io::copy(&mut stream.take(rest), &mut tokio::io::sink()).await
}

#[cfg(test)]
mod tests;

//! gRPC's health checking protocol (grpc.health.v1): one call of Health/Check over HTTP/2.

use std::net::SocketAddr;

use bytes::{BufMut as _, Bytes, BytesMut};
use h2::{RecvStream, client};
use http::{HeaderMap, Request};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Limit, Report, TlsSpec, tcp::connect, tls::Alpn};

/// The longest message that is read: an answer has some bytes.
const MESSAGE_LIMIT: usize = 4096;

/// What to ask, and whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrpcProbe {
    /// The server.
    pub address: SocketAddr,
    /// `:authority`: visible ASCII.
    pub authority: String,
    /// The service whose health is asked for; empty: the server's.
    pub service: String,
    /// None: in clear, by prior knowledge.
    pub tls: Option<TlsSpec>,
}

impl GrpcProbe {
    pub(super) async fn run(&self, limit: Limit) -> Report {
        match self.ask(limit).await {
            Ok(report) | Err(report) => report,
        }
    }

    async fn ask(&self, limit: Limit) -> Result<Report, Report> {
        let stream = connect(self.address, limit).await?;
        match &self.tls {
            None => limit.wait("answer", self.call(stream)).await?,
            Some(tls) => {
                let stream = tls
                    .encrypt(stream, self.address, Alpn::Http2, limit)
                    .await?;
                if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
                    return Err(Report::bad("it speaks no HTTP/2 (ALPN)"));
                }
                limit.wait("answer", self.call(stream)).await?
            }
        }
    }

    async fn call(&self, stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<Report, Report> {
        let (requests, connection) = client::handshake(stream).await.map_err(broken)?;
        tokio::select! {
            report = self.check(requests) => report,
            ended = connection => Err(match ended {
                Ok(()) => Report::bad("the connection was closed before the answer"),
                Err(error) => broken(error),
            }),
        }
    }

    async fn check(&self, requests: client::SendRequest<Bytes>) -> Result<Report, Report> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let request = Request::post(format!(
            "{scheme}://{}/grpc.health.v1.Health/Check",
            self.authority
        ))
        .version(http::Version::HTTP_2)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("user-agent", concat!("hafw/", env!("CARGO_PKG_VERSION")))
        .body(())
        .map_err(|error| Report::bad(format!("cannot ask {}: {error}", self.authority)))?;
        let mut requests = requests.ready().await.map_err(broken)?;
        let (response, mut body) = requests.send_request(request, false).map_err(broken)?;
        body.send_data(request_message(&self.service), true)
            .map_err(broken)?;
        let (head, mut stream) = response.await.map_err(broken)?.into_parts();
        if head.status != 200 {
            return Err(Report::bad(format!(
                "HTTP {}, not 200",
                head.status.as_u16()
            )));
        }
        let kind = head.headers.get("content-type").map(|kind| kind.as_bytes());
        if !kind.is_some_and(|kind| kind.starts_with(b"application/grpc")) {
            return Err(Report::bad("the answer is none of gRPC"));
        }
        let message = read(&mut stream).await?;
        let trailers = stream.trailers().await.map_err(broken)?;
        // With nothing but an error, the head has it ("Trailers-Only").
        grpc_status(trailers.as_ref().unwrap_or(&head.headers))?;
        judge(&message)
    }
}

async fn read(stream: &mut RecvStream) -> Result<BytesMut, Report> {
    let mut message = BytesMut::new();
    while let Some(data) = stream.data().await {
        let data = data.map_err(broken)?;
        // It fails for a stream that has ended.
        let _ = stream.flow_control().release_capacity(data.len());
        message.put(data);
        if message.len() > MESSAGE_LIMIT {
            let reason = format!("the answer is longer than {MESSAGE_LIMIT} bytes");
            return Err(Report::bad(reason));
        }
    }
    Ok(message)
}

fn broken(error: h2::Error) -> Report {
    Report::bad(format!("HTTP/2: {error}"))
}

fn grpc_status(headers: &HeaderMap) -> Result<(), Report> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    match text("grpc-status") {
        Some("0") => Ok(()),
        Some(status) => {
            let message = text("grpc-message").unwrap_or_default();
            Err(Report::bad(
                format!("gRPC status {status} {message}").trim_end(),
            ))
        }
        None => Err(Report::bad("the answer has no grpc-status")),
    }
}

/// `HealthCheckRequest { service = 1 }`, uncompressed, behind its length.
fn request_message(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        message.put_u8(0x0a);
        put_varint(&mut message, service.len());
        message.put(service.as_bytes());
    }
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    // A configuration's line is shorter than that.
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.put(message);
    framed.freeze()
}

fn put_varint(message: &mut BytesMut, mut number: usize) {
    while number >= 0x80 {
        message.put_u8(number as u8 | 0x80);
        number >>= 7;
    }
    message.put_u8(number as u8);
}

/// `HealthCheckResponse { status = 1 }`.
fn judge(framed: &[u8]) -> Result<Report, Report> {
    let garbage = || Report::bad("the answer is no message of grpc.health.v1");
    let message = match framed.split_first_chunk::<5>() {
        Some(([0, length @ ..], message))
            if usize::try_from(u32::from_be_bytes(*length)) == Ok(message.len()) =>
        {
            message
        }
        Some(_) | None => return Err(garbage()),
    };
    match serving_status(message).ok_or_else(garbage)? {
        1 => Ok(Report::ok("SERVING")),
        0 => Err(Report::bad("UNKNOWN, not SERVING")),
        2 => Err(Report::bad("NOT_SERVING")),
        3 => Err(Report::bad("SERVICE_UNKNOWN")),
        other => Err(Report::bad(format!("status {other}, not SERVING"))),
    }
}

/// Field 1, a number; other fields are skipped. A missing one is 0.
fn serving_status(mut message: &[u8]) -> Option<u64> {
    let mut status = 0;
    while !message.is_empty() {
        let tag = varint(&mut message)?;
        match (tag >> 3, tag & 7) {
            (1, 0) => status = varint(&mut message)?,
            (_, 0) => drop(varint(&mut message)?),
            (_, 1) => message = message.get(8..)?,
            (_, 2) => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                message = message.get(length..)?;
            }
            (_, 5) => message = message.get(4..)?,
            _ => return None,
        }
    }
    Some(status)
}

fn varint(message: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = message.split_first()?;
        *message = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests;

//! HTTP/2 heads as HTTP/1.1 and back (RFC 9113 §8). What is above knows one form of a message: what
//! is checked, routed, repeated and logged there holds for both protocols.

pub mod hpack;
pub mod screen;

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header, request, response};

use crate::http1::{Body, MAX_HEADERS, header::Name, response::ResponseHead};

/// How the body goes on after a head that was written by [`request_head`] or [`response_head`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    None,
    /// As it is: the head has its length.
    Plain,
    Chunked,
}

/// A head that HTTP/2 cannot carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a header that HTTP/2 cannot carry")]
pub struct Uncarried;

/// Whether a request is malformed in a way that the codec lets pass: a value with space around it
/// (RFC 9113 §8.2.1), or a user in `:authority` (§8.3.1).
pub fn is_malformed<T>(request: &Request<T>) -> bool {
    let is_padded = |value: &HeaderValue| {
        let is_space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
        is_space(value.as_bytes().first()) || is_space(value.as_bytes().last())
    };
    let authority = request.uri().authority().map(http::uri::Authority::as_str);
    request.headers().values().any(is_padded)
        || authority.is_some_and(|authority| authority.contains('@'))
}

/// Appends a request as HTTP/1.1. `has_body` is whether something follows its head.
///
/// The codec has refused what is malformed, and a field's value has no line ends; what HTTP/1.1
/// refuses beyond that is left to its parser.
pub fn request_head(request: &request::Parts, has_body: bool, out: &mut Vec<u8>) -> Framing {
    let authority = request.uri.authority().map(http::uri::Authority::as_str);
    out.extend_from_slice(request.method.as_str().as_bytes());
    out.push(b' ');
    let target = match request.uri.path_and_query() {
        Some(target) => target.as_str(),
        // Of CONNECT.
        None => authority.unwrap_or("*"),
    };
    out.extend_from_slice(target.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    let headers = &request.headers;
    if let Some(authority) = authority {
        line(out, b"host", authority.as_bytes());
    }
    let mut has_length = false;
    for (name, value) in headers {
        has_length |= name == header::CONTENT_LENGTH;
        // Two that differ are two Hosts to the parser, which refuses that.
        let is_repeated = name == header::HOST && authority.is_some_and(|own| value == own);
        if !is_repeated && name != header::COOKIE && name != header::TE {
            line(out, name.as_str().as_bytes(), value.as_bytes());
        }
    }
    let cookies = headers.get_all(header::COOKIE).iter();
    let cookies: Vec<_> = cookies.map(HeaderValue::as_bytes).collect();
    if !cookies.is_empty() {
        // One line of what may come in several (RFC 9113 §8.2.3).
        line(out, b"cookie", &cookies.join(&b"; "[..]));
    }
    end(out, has_body, has_length)
}

/// Appends the head of an answer as HTTP/1.1.
pub fn response_head(response: &response::Parts, has_body: bool, out: &mut Vec<u8>) -> Framing {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(response.status.as_str().as_bytes());
    out.extend_from_slice(b" \r\n");
    for (name, value) in &response.headers {
        line(out, name.as_str().as_bytes(), value.as_bytes());
    }
    if response.status.is_informational() {
        out.extend_from_slice(b"\r\n");
        return Framing::None;
    }
    let has_length = response.headers.contains_key(header::CONTENT_LENGTH);
    if !has_body && !has_length && !is_bare(response.status.as_u16()) {
        line(out, b"content-length", b"0");
    }
    end(out, has_body, has_length)
}

/// Appends the end of a chunked body, with its trailers.
pub fn trailers(trailers: Option<&HeaderMap>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n");
    for (name, value) in trailers.into_iter().flatten() {
        // RFC 9110 §6.5.1: what frames and routes a message does not come behind its body.
        match crate::http1::header::classify(name.as_str()) {
            Name::ContentLength
            | Name::TransferEncoding
            | Name::Connection
            | Name::HopByHop
            | Name::Upgrade
            | Name::Expect
            | Name::Host => {}
            Name::Date | Name::Other => line(out, name.as_str().as_bytes(), value.as_bytes()),
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// An HTTP/1.1 answer's head.
///
/// # Errors
///
/// [`Uncarried`]
pub fn response(head: &ResponseHead<'_, '_>) -> Result<Response<()>, Uncarried> {
    let mut response = Response::new(());
    *response.status_mut() = head.status.try_into().map_err(|_| Uncarried)?;
    let lines = head.headers.iter().enumerate();
    let lines = lines.filter(|(index, _)| !head.dropped.contains(*index));
    for (_, line) in lines {
        append(response.headers_mut(), line)?;
    }
    Ok(response)
}

/// An HTTP/1.1 request's head, for a server that is spoken to by `scheme`.
///
/// # Errors
///
/// [`Uncarried`]
pub fn request(bytes: &[u8], scheme: &str) -> Result<(Request<()>, Body), Uncarried> {
    let mut slots = crate::http1::slots();
    let parsed = crate::http1::request::parse(bytes, &mut slots);
    let head = parsed.ok().flatten().ok_or(Uncarried)?;
    let authority = head.authority.unwrap_or_default();
    let uri = http::Uri::builder()
        .scheme(scheme)
        .authority(authority)
        .path_and_query(head.target.path_and_query);
    let mut request = Request::new(());
    *request.uri_mut() = uri.build().map_err(|_| Uncarried)?;
    *request.method_mut() = head.method.try_into().map_err(|_| Uncarried)?;
    let lines = head.headers.iter().enumerate();
    let lines = lines.filter(|(index, line)| {
        !head.dropped.contains(*index) && !line.name.eq_ignore_ascii_case("host")
    });
    for (_, line) in lines {
        append(request.headers_mut(), line)?;
    }
    // Trailers pass (RFC 9110 §10.1.4); gRPC insists on being told.
    let te = HeaderValue::from_static("trailers");
    request.headers_mut().insert(header::TE, te);
    let body = match head.body {
        crate::http1::request::RequestBody::Length(len) => Body::Length(len),
        crate::http1::request::RequestBody::Chunked => Body::chunked(),
    };
    Ok((request, body))
}

/// The fields of a trailer section, which ends in an empty line.
///
/// # Errors
///
/// [`Uncarried`]
pub fn trailer_fields(section: &[u8]) -> Result<HeaderMap, Uncarried> {
    let mut slots = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut fields = HeaderMap::new();
    match httparse::parse_headers(section, &mut slots) {
        Ok(httparse::Status::Complete((_, lines))) => {
            for line in lines {
                append(&mut fields, line)?;
            }
            Ok(fields)
        }
        Ok(httparse::Status::Partial) | Err(_) => Err(Uncarried),
    }
}

fn append(fields: &mut HeaderMap, line: &httparse::Header<'_>) -> Result<(), Uncarried> {
    // Framing is HTTP/2's own.
    match crate::http1::header::classify(line.name) {
        Name::TransferEncoding | Name::Connection | Name::HopByHop | Name::Upgrade => {
            return Ok(());
        }
        Name::ContentLength | Name::Date | Name::Expect | Name::Host | Name::Other => {}
    }
    let name = HeaderName::from_bytes(line.name.as_bytes()).map_err(|_| Uncarried)?;
    let value = HeaderValue::from_bytes(line.value).map_err(|_| Uncarried)?;
    fields.append(name, value);
    Ok(())
}

fn end(out: &mut Vec<u8>, has_body: bool, has_length: bool) -> Framing {
    let framing = match (has_body, has_length) {
        (false, _) => Framing::None,
        (true, true) => Framing::Plain,
        (true, false) => Framing::Chunked,
    };
    if framing == Framing::Chunked {
        line(out, b"transfer-encoding", b"chunked");
    }
    out.extend_from_slice(b"\r\n");
    framing
}

/// Whether an answer has no body and says nothing of its length.
fn is_bare(status: u16) -> bool {
    matches!(status, 204 | 304)
}

fn line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests;

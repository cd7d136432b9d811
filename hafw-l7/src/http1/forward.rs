//! The heads that are sent on: the lines of the head that came, copied in runs of raw bytes, less
//! what belongs to the other connection, plus what the configuration sets.

use std::{io::Write as _, net::SocketAddr};

use httparse::Header;

use super::{offset, request::RequestHead, response::ResponseHead};
use crate::{
    plan::{HeaderPlan, ServerPlan},
    template::{Values, Variable},
};

/// The ends of a client connection, as headers name them.
#[derive(Clone, Debug)]
pub struct Ends {
    /// The client's address as text.
    client: Box<[u8]>,
    client_port: u16,
    /// The address that the client connected to.
    local: SocketAddr,
}

/// What the proxy says about its own connection in an answer.
#[derive(Clone, Copy, Debug)]
pub struct AnswerOptions<'a> {
    /// The client's connection closes after this answer.
    pub close: bool,
    /// The client is an HTTP/1.0 one and must be told that its connection stays.
    pub say_keep_alive: bool,
    /// The body goes out without the chunked framing that it came in.
    pub unchunked: bool,
    /// The value of Date for answers that have none.
    pub date: &'a [u8],
}

/// The most bytes that [`answer`] may add to the head that came.
pub const ANSWER_GROWTH: usize = 128;

impl Ends {
    #[must_use]
    pub fn new(client: SocketAddr, local: SocketAddr) -> Self {
        Self {
            client: client.ip().to_canonical().to_string().into_bytes().into(),
            client_port: client.port(),
            local,
        }
    }
}

/// Appends the request head for the upstream server: the client's lines, except those that belong
/// to its connection and those that the server block sets or removes. The version is always 1.1.
pub fn request(head: &RequestHead<'_, '_>, server: &ServerPlan, ends: &Ends, out: &mut Vec<u8>) {
    let lines_start = head.headers_start();
    if head.http11 && !head.target.absolute {
        out.extend_from_slice(head.bytes.get(..lines_start).unwrap_or_default());
    } else {
        out.extend_from_slice(head.method);
        out.push(b' ');
        if !matches!(head.target.path_and_query.first(), Some(b'/' | b'*')) {
            out.push(b'/');
        }
        out.extend_from_slice(head.target.path_and_query);
        out.extend_from_slice(b" HTTP/1.1\r\n");
    }
    let mut host_is_sent = false;
    copy_lines(head.bytes, lines_start, head.headers, out, |index, name| {
        if head.dropped.contains(index) || is_set(&server.set_headers, name) {
            return false;
        }
        if name.eq_ignore_ascii_case("host") {
            host_is_sent = true;
        }
        true
    });
    let values = RequestValues { head, server, ends };
    for HeaderPlan { name, value } in &server.set_headers {
        let is_sent = line(out, name, |out| value.render(&values, out));
        host_is_sent |= is_sent && name.eq_ignore_ascii_case(b"host");
    }
    if !host_is_sent {
        line(out, b"Host", |out| values.append(Variable::HttpHost, out));
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends the head of a final answer for the client.
pub fn answer(head: &ResponseHead<'_, '_>, options: AnswerOptions<'_>, out: &mut Vec<u8>) {
    copy_answer(head, out, options.unchunked);
    if !head.has_date {
        line(out, b"Date", |out| out.extend_from_slice(options.date));
    }
    if options.close {
        out.extend_from_slice(b"Connection: close\r\n");
    } else if options.say_keep_alive {
        out.extend_from_slice(b"Connection: keep-alive\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends the head of an interim answer (1xx) for the client.
pub fn interim(head: &ResponseHead<'_, '_>, out: &mut Vec<u8>) {
    copy_answer(head, out, false);
    out.extend_from_slice(b"\r\n");
}

fn copy_answer(head: &ResponseHead<'_, '_>, out: &mut Vec<u8>, unchunked: bool) {
    let lines_start = head.headers_start();
    let status_line = head.bytes.get(..lines_start).unwrap_or_default();
    if head.http11 {
        out.extend_from_slice(status_line);
    } else {
        out.extend_from_slice(b"HTTP/1.1");
        out.extend_from_slice(status_line.get(b"HTTP/1.1".len()..).unwrap_or_default());
    }
    copy_lines(head.bytes, lines_start, head.headers, out, |index, name| {
        let is_undone = unchunked && name.eq_ignore_ascii_case("transfer-encoding");
        !head.dropped.contains(index) && !is_undone
    });
}

/// Copies the header lines that `keep` accepts, neighbours in one go.
fn copy_lines(
    bytes: &[u8],
    lines_start: usize,
    headers: &[Header<'_>],
    out: &mut Vec<u8>,
    mut keep: impl FnMut(usize, &str) -> bool,
) {
    // Before the empty line that ends the head.
    let lines_end = bytes.len().saturating_sub(2);
    let mut run_start = lines_start;
    for (index, header) in headers.iter().enumerate() {
        if keep(index, header.name) {
            continue;
        }
        let start = offset(bytes, header.name.as_bytes());
        let end = headers
            .get(index + 1)
            .map_or(lines_end, |next| offset(bytes, next.name.as_bytes()));
        out.extend_from_slice(bytes.get(run_start..start).unwrap_or_default());
        run_start = end;
    }
    out.extend_from_slice(bytes.get(run_start..lines_end).unwrap_or_default());
}

/// Appends `name: value`, or nothing if the value is empty. Returns whether it was appended.
fn line(out: &mut Vec<u8>, name: &[u8], value: impl FnOnce(&mut Vec<u8>)) -> bool {
    let start = out.len();
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    let value_start = out.len();
    value(out);
    if out.len() == value_start {
        out.truncate(start);
        return false;
    }
    out.extend_from_slice(b"\r\n");
    true
}

fn is_set(set: &[HeaderPlan], name: &str) -> bool {
    set.iter().any(|header| is_named(&header.name, name))
}

/// Whether two field names are the same to a server that turns them into variables: those read
/// `X_Forwarded_For` as X-Forwarded-For, so a client must not get it past a header that is set.
fn is_named(ours: &[u8], theirs: &str) -> bool {
    let plain = |byte: u8| match byte {
        b'_' => b'-',
        other => other.to_ascii_lowercase(),
    };
    ours.len() == theirs.len()
        && ours
            .iter()
            .zip(theirs.bytes())
            .all(|(a, b)| plain(*a) == plain(b))
}

struct RequestValues<'a, 'b, 'h> {
    head: &'a RequestHead<'b, 'h>,
    server: &'a ServerPlan,
    ends: &'a Ends,
}

impl RequestValues<'_, '_, '_> {
    /// Stands in for the host of a request that names none.
    fn append_server_name(&self, out: &mut Vec<u8>) {
        if self.server.name.is_empty() {
            append_text(out, self.ends.local.ip());
        } else {
            out.extend_from_slice(&self.server.name);
        }
    }
}

impl Values for RequestValues<'_, '_, '_> {
    fn append(&self, variable: Variable, out: &mut Vec<u8>) {
        let Self { head, server, ends } = self;
        match variable {
            Variable::Host => match head.host() {
                Some(host) => out.extend(host.iter().map(u8::to_ascii_lowercase)),
                None => self.append_server_name(out),
            },
            Variable::HttpHost => match head.authority {
                Some(authority) => out.extend_from_slice(authority),
                None => self.append_server_name(out),
            },
            Variable::RemoteAddr => out.extend_from_slice(&ends.client),
            Variable::RemotePort => append_text(out, ends.client_port),
            Variable::ProxyAddXForwardedFor => {
                for header in head.headers {
                    if header.name.eq_ignore_ascii_case("x-forwarded-for") {
                        out.extend_from_slice(header.value);
                        out.extend_from_slice(b", ");
                    }
                }
                out.extend_from_slice(&ends.client);
            }
            Variable::Scheme => out.extend_from_slice(b"http"),
            Variable::RequestUri => {
                if head.target.path_and_query.first() != Some(&b'/') && head.target.absolute {
                    out.push(b'/');
                }
                out.extend_from_slice(head.target.path_and_query);
            }
            Variable::ServerName => out.extend_from_slice(&server.name),
            Variable::ServerAddr => append_text(out, ends.local.ip()),
            Variable::ServerPort => append_text(out, ends.local.port()),
        }
    }
}

fn append_text(out: &mut Vec<u8>, value: impl std::fmt::Display) {
    write!(out, "{value}").expect("writing to a vector cannot fail");
}

#[cfg(test)]
mod tests;

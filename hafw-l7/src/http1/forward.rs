//! The heads that are sent on: the lines of the head that came, copied in runs of raw bytes, less
//! what belongs to the other connection, plus what the configuration sets.

use httparse::Header;

use super::{offset, request::RequestHead, response::ResponseHead};
use crate::{
    compress::Coding,
    plan::{HeaderPlan, OptionsPlan, append_line},
    template::{Scope, Values, Variable},
};

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
    /// The body is coded so on its way, and sent in chunks.
    pub coding: Option<Coding>,
    /// Headers whose lines do not go on.
    pub removed: &'a [HeaderPlan],
    /// Lines to add.
    pub lines: &'a [u8],
}

/// The most bytes that [`answer`] may add to the head that came, besides the configured lines.
pub const ANSWER_GROWTH: usize = 128;

/// Appends the request head for the upstream server: the client's lines, except those that belong
/// to its connection and those that the options set or remove. The version is always 1.1.
/// `target` is sent instead of the client's.
pub fn request(
    head: &RequestHead<'_, '_>,
    target: Option<&[u8]>,
    options: &OptionsPlan,
    scope: &Scope<'_>,
    values: &impl Values,
    out: &mut Vec<u8>,
) {
    let changes = &options.request_headers;
    let lines_start = head.headers_start();
    if head.http11 && !head.target.absolute && target.is_none() {
        out.extend_from_slice(head.bytes.get(..lines_start).unwrap_or_default());
    } else {
        let target = target.unwrap_or(head.target.path_and_query);
        out.extend_from_slice(head.method);
        out.push(b' ');
        if !matches!(target.first(), Some(b'/' | b'*')) {
            out.push(b'/');
        }
        out.extend_from_slice(target);
        out.extend_from_slice(b" HTTP/1.1\r\n");
    }
    let mut host_is_sent = false;
    copy_lines(head.bytes, lines_start, head.headers, out, |index, name| {
        if head.dropped.contains(index) || is_set(&changes.set, name) {
            return false;
        }
        if name.eq_ignore_ascii_case("host") {
            host_is_sent = true;
        }
        true
    });
    for HeaderPlan { name, value } in changes.set.iter().chain(&changes.add) {
        let is_sent = append_line(out, name, |out| value.render(scope, values, out));
        host_is_sent |= is_sent && name.eq_ignore_ascii_case(b"host");
    }
    if !host_is_sent {
        append_line(out, b"Host", |out| {
            values.append(&Variable::HttpHost, scope, out);
        });
    }
    append_upgrade(head.upgrade, out);
    out.extend_from_slice(b"\r\n");
}

/// Appends the head of a final answer for the client.
pub fn answer(head: &ResponseHead<'_, '_>, options: AnswerOptions<'_>, out: &mut Vec<u8>) {
    copy_answer(head, out, &options);
    if !head.has_date {
        append_line(out, b"Date", |out| out.extend_from_slice(options.date));
    }
    if let Some(coding) = options.coding {
        append_line(out, b"Content-Encoding", |out| {
            out.extend_from_slice(coding.name().as_bytes());
        });
        out.extend_from_slice(b"Vary: Accept-Encoding\r\nTransfer-Encoding: chunked\r\n");
    }
    out.extend_from_slice(options.lines);
    append_upgrade(head.upgrade, out);
    if options.close {
        out.extend_from_slice(b"Connection: close\r\n");
    } else if options.say_keep_alive {
        out.extend_from_slice(b"Connection: keep-alive\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends the head of an interim answer (1xx) for the client.
pub fn interim(head: &ResponseHead<'_, '_>, out: &mut Vec<u8>) {
    let options = AnswerOptions {
        close: false,
        say_keep_alive: false,
        unchunked: false,
        date: b"",
        coding: None,
        removed: &[],
        lines: b"",
    };
    copy_answer(head, out, &options);
    out.extend_from_slice(b"\r\n");
}

/// Appends what asks for another protocol, or grants it.
fn append_upgrade(upgrade: Option<&[u8]>, out: &mut Vec<u8>) {
    if let Some(upgrade) = upgrade {
        out.extend_from_slice(b"Connection: upgrade\r\n");
        append_line(out, b"Upgrade", |out| out.extend_from_slice(upgrade));
    }
}

fn copy_answer(head: &ResponseHead<'_, '_>, out: &mut Vec<u8>, options: &AnswerOptions<'_>) {
    let lines_start = head.headers_start();
    let status_line = head.bytes.get(..lines_start).unwrap_or_default();
    if head.http11 {
        out.extend_from_slice(status_line);
    } else {
        out.extend_from_slice(b"HTTP/1.1");
        out.extend_from_slice(status_line.get(b"HTTP/1.1".len()..).unwrap_or_default());
    }
    copy_lines(head.bytes, lines_start, head.headers, out, |index, name| {
        let is_undone = options.unchunked && name.eq_ignore_ascii_case("transfer-encoding")
            || options.coding.is_some() && is_of_uncoded(name);
        let is_removed = || {
            let mut removed = options.removed.iter();
            removed.any(|header| header.name.eq_ignore_ascii_case(name.as_bytes()))
        };
        !head.dropped.contains(index) && !is_undone && !is_removed()
    });
}

/// Whether a field tells of the bytes of a body that are not sent as they are.
fn is_of_uncoded(name: &str) -> bool {
    let names = [
        "content-length",
        "transfer-encoding",
        "accept-ranges",
        "etag",
        "content-md5",
        "digest",
        "content-digest",
    ];
    names.iter().any(|own| name.eq_ignore_ascii_case(own))
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

#[cfg(test)]
mod tests;

//! The answers that the proxy gives itself.

use crate::plan::HeaderPlan;

/// An answer of the proxy's own, less what depends on the connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Page<'a> {
    pub(crate) status: u16,
    pub(crate) content_type: &'a [u8],
    pub(crate) body: &'a [u8],
    /// Headers that the proxy leaves out.
    pub(crate) removed: &'a [HeaderPlan],
    /// Header lines to add.
    pub(crate) lines: &'a [u8],
}

/// Lets a client go on that waits for it.
pub(crate) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// The type of the proxy's own pages.
pub(crate) const PLAIN: &[u8] = b"text/plain";

impl Page<'_> {
    /// Appends the answer. `date` is the value of its Date; `is_head` leaves the body away, not
    /// its length.
    pub(crate) fn append(&self, close: bool, is_head: bool, date: &[u8], out: &mut Vec<u8>) {
        let is_removed = |name: &[u8]| {
            let mut removed = self.removed.iter();
            removed.any(|header| header.name.eq_ignore_ascii_case(name))
        };
        out.extend_from_slice(b"HTTP/1.1 ");
        number(u64::from(self.status), out);
        out.push(b' ');
        out.extend_from_slice(reason(self.status).as_bytes());
        let may_have_body = !matches!(self.status, 204 | 304);
        if may_have_body {
            if !self.content_type.is_empty() && !is_removed(b"content-type") {
                out.extend_from_slice(b"\r\nContent-Type: ");
                out.extend_from_slice(self.content_type);
            }
            out.extend_from_slice(b"\r\nContent-Length: ");
            number(self.body.len() as u64, out);
        }
        if !is_removed(b"date") {
            out.extend_from_slice(b"\r\nDate: ");
            out.extend_from_slice(date);
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(self.lines);
        if close {
            out.extend_from_slice(b"Connection: close\r\n");
        }
        out.extend_from_slice(b"\r\n");
        if may_have_body && !is_head {
            out.extend_from_slice(self.body);
        }
    }
}

/// Appends the body of the proxy's own page for a status.
pub(crate) fn append_body(status: u16, out: &mut Vec<u8>) {
    // A name that is not served here gets no page.
    if !matches!(status, 204 | 304 | 421) {
        number(u64::from(status), out);
        out.push(b' ');
        out.extend_from_slice(reason(status).as_bytes());
        out.push(b'\n');
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        410 => "Gone",
        413 => "Content Too Large",
        414 => "URI Too Long",
        417 => "Expectation Failed",
        418 => "I'm a Teapot",
        421 => "Misdirected Request",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => match status / 100 {
            2 => "Success",
            3 => "Redirect",
            _ => "Error",
        },
    }
}

fn number(value: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(value.to_string().as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(status: u16, close: bool, is_head: bool) -> String {
        let mut body = Vec::new();
        append_body(status, &mut body);
        let page = Page {
            status,
            content_type: PLAIN,
            body: &body,
            removed: &[],
            lines: b"X: y\r\n",
        };
        let mut out = Vec::new();
        page.append(close, is_head, b"now", &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_page_has_the_length_that_it_says() {
        assert_eq!(
            text(502, false, false),
            "HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/plain\r\nContent-Length: 16\r\n\
             Date: now\r\nX: y\r\n\r\n502 Bad Gateway\n"
        );
        assert!(
            text(502, false, true).ends_with("Content-Length: 16\r\nDate: now\r\nX: y\r\n\r\n")
        );
        assert!(text(502, true, false).contains("\r\nConnection: close\r\n\r\n"));
    }

    #[test]
    fn an_answer_that_has_no_body_says_nothing_of_its_length() {
        assert_eq!(
            text(204, false, false),
            "HTTP/1.1 204 No Content\r\nDate: now\r\nX: y\r\n\r\n"
        );
    }

    #[test]
    fn a_name_that_is_not_served_gets_no_page() {
        assert!(text(421, true, false).contains("Content-Length: 0\r\n"));
        assert!(text(421, true, false).ends_with("\r\n\r\n"));
    }
}

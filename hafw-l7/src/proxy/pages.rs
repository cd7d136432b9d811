//! The answers that the proxy gives itself.

/// Appends an answer of the proxy's own. `date` is the value of its Date; `is_head` leaves the body
/// away, not its length.
pub(crate) fn page(status: u16, close: bool, is_head: bool, date: &[u8], out: &mut Vec<u8>) {
    let reason = reason(status);
    // A name that is not served here gets no page.
    let body_len = if status == 421 {
        0
    } else {
        "000 \n".len() + reason.len()
    };
    out.extend_from_slice(b"HTTP/1.1 ");
    number(u64::from(status), out);
    out.push(b' ');
    out.extend_from_slice(reason.as_bytes());
    out.extend_from_slice(b"\r\nContent-Type: text/plain\r\nContent-Length: ");
    number(body_len as u64, out);
    out.extend_from_slice(b"\r\nDate: ");
    out.extend_from_slice(date);
    if close {
        out.extend_from_slice(b"\r\nConnection: close");
    }
    out.extend_from_slice(b"\r\n\r\n");
    if body_len > 0 && !is_head {
        number(u64::from(status), out);
        out.push(b' ');
        out.extend_from_slice(reason.as_bytes());
        out.push(b'\n');
    }
}

/// Lets a client go on that waits for it.
pub(crate) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

fn reason(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        414 => "URI Too Long",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        431 => "Request Header Fields Too Large",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "Error",
    }
}

fn number(value: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(value.to_string().as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(status: u16, close: bool, is_head: bool) -> String {
        let mut out = Vec::new();
        page(status, close, is_head, b"now", &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_page_has_the_length_that_it_says() {
        assert_eq!(
            text(502, false, false),
            "HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/plain\r\nContent-Length: 16\r\n\
             Date: now\r\n\r\n502 Bad Gateway\n"
        );
        assert!(text(502, false, true).ends_with("Content-Length: 16\r\nDate: now\r\n\r\n"));
        assert!(text(502, true, false).contains("\r\nConnection: close\r\n\r\n"));
    }

    #[test]
    fn a_name_that_is_not_served_gets_no_page() {
        assert!(text(421, true, false).contains("Content-Length: 0\r\n"));
        assert!(text(421, true, false).ends_with("\r\n\r\n"));
    }
}

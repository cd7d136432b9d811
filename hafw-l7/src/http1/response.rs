//! Response heads of upstream servers, parsed as strictly as requests.

use httparse::{Header, Response, Status};

use super::{
    MAX_HEADERS, Slots,
    chunk::Body,
    has_only_full_line_ends,
    header::{Facts, FramingError, LineSet, Name, classify, is_passed_on},
    offset,
};

/// A response head, as spans of the bytes that it was parsed from.
#[derive(Debug)]
pub struct ResponseHead<'b, 'h> {
    /// The bytes from the status line to the empty line, both included.
    pub bytes: &'b [u8],
    pub status: u16,
    pub http11: bool,
    pub headers: &'h [Header<'b>],
    /// Lines that must not be sent on.
    pub dropped: LineSet,
    pub body: Body,
    /// Whether the server keeps the connection open.
    pub keep_alive: bool,
    pub has_date: bool,
    /// The protocol that follows the head, of a 101.
    pub upgrade: Option<&'b [u8]>,
}

/// Why a head is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResponseError {
    #[error("not HTTP/1: {0}")]
    Syntax(httparse::Error),
    #[error("more than {MAX_HEADERS} header lines")]
    TooManyHeaders,
    #[error("a line that does not end in CR LF")]
    LineEnd,
    #[error(transparent)]
    Framing(#[from] FramingError),
    #[error("status {0}, which nothing asked for")]
    Status(u16),
}

/// Parses the response head at the start of `bytes`. `None`: it is not complete yet.
/// `to_head` says whether it answers a HEAD request, whose answers have no body.
///
/// # Errors
///
/// [`ResponseError`] for what is not strictly HTTP/1.
pub fn parse<'b, 'h>(
    bytes: &'b [u8],
    to_head: bool,
    slots: &'h mut Slots<'b>,
) -> Result<Option<ResponseHead<'b, 'h>>, ResponseError> {
    // httparse would skip line ends here.
    if let Some(b'\r' | b'\n') = bytes.first() {
        return Err(ResponseError::LineEnd);
    }
    let mut response = Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let parsed = config.parse_response_with_uninit_headers(&mut response, bytes, slots);
    let len = match parsed {
        Ok(Status::Complete(len)) => len,
        Ok(Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(ResponseError::TooManyHeaders),
        Err(error) => return Err(ResponseError::Syntax(error)),
    };
    let bytes = bytes.get(..len).unwrap_or_default();
    if !has_only_full_line_ends(bytes) {
        return Err(ResponseError::LineEnd);
    }
    let status = response.code.unwrap_or(0);
    if status < 100 {
        return Err(ResponseError::Status(status));
    }
    interpret(
        bytes,
        status,
        response.version == Some(1),
        response.headers,
        to_head,
    )
    .map(Some)
}

fn interpret<'b, 'h>(
    bytes: &'b [u8],
    status: u16,
    http11: bool,
    headers: &'h [Header<'b>],
    to_head: bool,
) -> Result<ResponseHead<'b, 'h>, ResponseError> {
    let mut facts = Facts::default();
    let mut has_date = false;
    let mut upgrade = None;
    // These have no body and may not say otherwise (RFC 9110 §8.6, RFC 9112 §6.1).
    let is_bare = status < 200 || status == 204;
    for (index, header) in headers.iter().enumerate() {
        let name = classify(header.name);
        facts.note(index, name, header.value, http11)?;
        if name == Name::Upgrade {
            upgrade = Some(header.value);
        }
        match name {
            Name::Date => has_date = true,
            Name::ContentLength | Name::TransferEncoding if is_bare => {
                facts.dropped.insert(index);
            }
            Name::Connection
            | Name::ContentLength
            | Name::Expect
            | Name::Host
            | Name::HopByHop
            | Name::Upgrade
            | Name::TransferEncoding
            | Name::Other => {}
        }
    }
    facts.finish(headers)?;
    let upgrade = upgrade.filter(|upgrade| http11 && status == 101 && is_passed_on(upgrade));
    if status == 101 && upgrade.is_none() {
        return Err(ResponseError::Status(status));
    }
    let body = if upgrade.is_some() {
        Body::UntilClose
    } else if to_head || is_bare || status == 304 {
        Body::Length(0)
    } else if facts.chunked {
        Body::chunked()
    } else {
        facts.length.map_or(Body::UntilClose, Body::Length)
    };
    Ok(ResponseHead {
        bytes,
        status,
        http11,
        headers,
        dropped: facts.dropped,
        body,
        keep_alive: facts.persists(http11),
        has_date,
        upgrade,
    })
}

impl ResponseHead<'_, '_> {
    /// Where the first header line starts, in `bytes`.
    #[must_use]
    pub fn headers_start(&self) -> usize {
        self.headers
            .first()
            .map_or(self.bytes.len().saturating_sub(2), |header| {
                offset(self.bytes, header.name.as_bytes())
            })
    }

    /// Whether a final answer follows this one.
    #[must_use]
    pub fn is_interim(&self) -> bool {
        self.status < 200 && self.status != 101
    }
}

#[cfg(test)]
mod tests;

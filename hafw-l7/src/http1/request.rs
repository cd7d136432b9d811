//! Request heads: parsed, and refused where they are not plain HTTP/1.

use httparse::{Header, Request, Status};

use super::{
    MAX_HEADERS, Slots, has_only_full_line_ends,
    header::{Facts, FramingError, LineSet, Name, classify, is_passed_on},
    offset,
};
use crate::route::{Fields, host};

/// A request head, as spans of the bytes that it was parsed from.
#[derive(Debug)]
pub struct RequestHead<'b, 'h> {
    /// The bytes from the request line to the empty line, both included.
    pub bytes: &'b [u8],
    /// Bytes before them: an empty line that the client sent first (RFC 9112 §2.2).
    pub skipped: usize,
    pub method: &'b [u8],
    /// The target as the client wrote it.
    pub target: Target<'b>,
    pub http11: bool,
    pub headers: &'h [Header<'b>],
    /// Lines that must not be sent on.
    pub dropped: LineSet,
    /// Host and port that the request is for: the target's, else the Host field's.
    pub authority: Option<&'b [u8]>,
    pub body: RequestBody,
    /// Whether the client wants the connection to stay.
    pub keep_alive: bool,
    /// Whether the client waits for 100 (Continue) before it sends the body.
    pub expects_continue: bool,
    /// The protocol that the client wants to go on with.
    pub upgrade: Option<&'b [u8]>,
}

/// A target in origin form, or what is left of one in absolute form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target<'b> {
    /// Path and query as written; `*` for `OPTIONS *`.
    pub path_and_query: &'b [u8],
    /// Whether the client wrote a scheme and an authority before it.
    pub absolute: bool,
}

/// How a request body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestBody {
    /// After this many bytes; 0 = there is none.
    Length(u64),
    Chunked,
}

/// Why a head is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    #[error("not HTTP/1: {0}")]
    Syntax(httparse::Error),
    #[error("an HTTP version other than 1.0 and 1.1")]
    Version,
    #[error("more than {MAX_HEADERS} header lines")]
    TooManyHeaders,
    #[error("a line that does not end in CR LF")]
    LineEnd,
    #[error(transparent)]
    Framing(#[from] FramingError),
    #[error("a target that is no path and no http URL")]
    Target,
    #[error("no Host")]
    NoHost,
    #[error("two Hosts")]
    TwoHosts,
    #[error("a Host that is no host and port")]
    BadHost,
    #[error("a Host that differs from the target's")]
    OtherHost,
    #[error("a method that a gateway does not serve")]
    Method,
    #[error("an expectation other than 100-continue")]
    Expectation,
}

impl RequestError {
    /// The status to answer with.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::Version => 505,
            Self::TooManyHeaders => 431,
            Self::Method => 405,
            Self::Expectation => 417,
            Self::Syntax(_)
            | Self::LineEnd
            | Self::Framing(_)
            | Self::Target
            | Self::NoHost
            | Self::TwoHosts
            | Self::BadHost
            | Self::OtherHost => 400,
        }
    }
}

/// Parses the request head at the start of `bytes`. `None`: it is not complete yet, and nothing
/// wrong has been seen so far.
///
/// # Errors
///
/// [`RequestError`] for what is not strictly HTTP/1.0 or HTTP/1.1; the connection cannot go on.
pub fn parse<'b, 'h>(
    bytes: &'b [u8],
    slots: &'h mut Slots<'b>,
) -> Result<Option<RequestHead<'b, 'h>>, RequestError> {
    let skipped = if bytes.starts_with(b"\r\n") { 2 } else { 0 };
    let bytes = bytes.get(skipped..).unwrap_or_default();
    // httparse would skip any number of line ends here.
    match bytes {
        [] => return Ok(None),
        [b'\r'] if skipped == 0 => return Ok(None),
        [b'\r' | b'\n', ..] => return Err(RequestError::LineEnd),
        _ => {}
    }
    let mut request = Request::new(&mut []);
    let len = match request.parse_with_uninit_headers(bytes, slots) {
        Ok(Status::Complete(len)) => len,
        Ok(Status::Partial) if has_only_full_line_ends(bytes) => return Ok(None),
        Ok(Status::Partial) => return Err(RequestError::LineEnd),
        Err(httparse::Error::Version) if names_a_version(bytes) => {
            return Err(RequestError::Version);
        }
        Err(httparse::Error::TooManyHeaders) => return Err(RequestError::TooManyHeaders),
        Err(error) => return Err(RequestError::Syntax(error)),
    };
    let bytes = bytes.get(..len).unwrap_or_default();
    if !has_only_full_line_ends(bytes) {
        return Err(RequestError::LineEnd);
    }
    let method = request.method.unwrap_or_default().as_bytes();
    let target = request.path.unwrap_or_default().as_bytes();
    interpret(
        bytes,
        method,
        target,
        request.version == Some(1),
        request.headers,
    )
    .map(|head| Some(RequestHead { skipped, ..head }))
}

/// Whether a request line is well formed but for its version.
fn names_a_version(bytes: &[u8]) -> bool {
    let line = bytes
        .split(|byte| *byte == b'\r')
        .next()
        .unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ').skip(2);
    let version = words.next().unwrap_or_default();
    words.next().is_none() && version.to_ascii_uppercase().starts_with(b"HTTP/")
}

fn interpret<'b, 'h>(
    bytes: &'b [u8],
    method: &'b [u8],
    target: &'b [u8],
    http11: bool,
    headers: &'h [Header<'b>],
) -> Result<RequestHead<'b, 'h>, RequestError> {
    if matches!(method, b"CONNECT" | b"TRACE") {
        return Err(RequestError::Method);
    }
    let (target, named) = parse_target(method, target)?;
    let mut facts = Facts::default();
    let mut host = None;
    let mut expects_continue = false;
    let mut upgrade = None;
    for (index, header) in headers.iter().enumerate() {
        let name = classify(header.name);
        facts.note(index, name, header.value, http11)?;
        if name == Name::Upgrade {
            // Of two, none is passed on.
            upgrade = upgrade.is_none().then_some(header.value);
        }
        match name {
            Name::Host => {
                if host.replace(header.value).is_some() {
                    return Err(RequestError::TwoHosts);
                }
            }
            Name::Expect => {
                // Answered here, so that no server waits for a body that waits for it.
                facts.dropped.insert(index);
                if !header.value.eq_ignore_ascii_case(b"100-continue") {
                    return Err(RequestError::Expectation);
                }
                expects_continue = http11;
            }
            Name::Connection
            | Name::ContentLength
            | Name::Date
            | Name::HopByHop
            | Name::Upgrade
            | Name::TransferEncoding
            | Name::Other => {}
        }
    }
    facts.finish(headers)?;
    let authority = authority(named, host, http11)?;
    Ok(RequestHead {
        bytes,
        skipped: 0,
        method,
        target,
        http11,
        headers,
        dropped: facts.dropped,
        authority,
        body: if facts.chunked {
            RequestBody::Chunked
        } else {
            RequestBody::Length(facts.length.unwrap_or(0))
        },
        keep_alive: facts.persists(http11),
        expects_continue,
        upgrade: upgrade.filter(|upgrade| {
            let has_body = facts.chunked || facts.length.is_some_and(|length| length > 0);
            http11 && facts.upgrade && !has_body && is_passed_on(upgrade)
        }),
    })
}

/// Takes a target apart into what is sent on and the authority that it names, if any.
fn parse_target<'b>(
    method: &[u8],
    target: &'b [u8],
) -> Result<(Target<'b>, Option<&'b [u8]>), RequestError> {
    // RFC 3986 has no such bytes in a URI, and a fragment is never sent.
    if target
        .iter()
        .any(|byte| !byte.is_ascii_graphic() || *byte == b'#')
    {
        return Err(RequestError::Target);
    }
    if target.first() == Some(&b'/') || (target == b"*" && method == b"OPTIONS") {
        let target = Target {
            path_and_query: target,
            absolute: false,
        };
        return Ok((target, None));
    }
    let rest = strip_scheme(target).ok_or(RequestError::Target)?;
    let end = rest
        .iter()
        .position(|byte| matches!(byte, b'/' | b'?'))
        .unwrap_or(rest.len());
    let (authority, path_and_query) = rest.split_at(end);
    if host::split_port(authority).0.is_empty() {
        return Err(RequestError::Target);
    }
    let target = Target {
        path_and_query,
        absolute: true,
    };
    Ok((target, Some(authority)))
}

fn strip_scheme(target: &[u8]) -> Option<&[u8]> {
    ["http://", "https://"].iter().find_map(|scheme| {
        let (head, rest) = target.split_at_checked(scheme.len())?;
        head.eq_ignore_ascii_case(scheme.as_bytes()).then_some(rest)
    })
}

/// The authority that the request is for (RFC 9112 §3.2.2 and §3.3).
fn authority<'b>(
    named: Option<&'b [u8]>,
    host: Option<&'b [u8]>,
    http11: bool,
) -> Result<Option<&'b [u8]>, RequestError> {
    if host.is_none() && http11 {
        return Err(RequestError::NoHost);
    }
    if !named.into_iter().chain(host).all(host::is_valid_authority) {
        return Err(RequestError::BadHost);
    }
    match (named, host) {
        (Some(named), Some(host)) if !named.eq_ignore_ascii_case(host) => {
            Err(RequestError::OtherHost)
        }
        _ => Ok(named.or(host).filter(|authority| !authority.is_empty())),
    }
}

impl<'b> Target<'b> {
    /// The part before the query, as written.
    #[must_use]
    pub fn path(&self) -> &'b [u8] {
        let path = self.path_and_query;
        let end = memchr::memchr(b'?', path).unwrap_or(path.len());
        match path.get(..end).unwrap_or(path) {
            // Only an absolute form may leave it out.
            b"" => b"/",
            path => path,
        }
    }
}

impl<'b> RequestHead<'b, '_> {
    /// Bytes from the start of the parsed input to the end of the head.
    #[must_use]
    pub fn len(&self) -> usize {
        self.skipped + self.bytes.len()
    }

    /// Whether the head has no bytes, which no parsed head has.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The host name that the request is for, without port.
    #[must_use]
    pub fn host(&self) -> Option<&'b [u8]> {
        self.authority
            .map(|authority| host::split_port(authority).0)
    }

    /// Whether the answer has no body whatever its head says.
    #[must_use]
    pub fn is_head(&self) -> bool {
        self.method == b"HEAD"
    }

    /// Whether the method's effect is the same twice as once. What is not known is not.
    #[must_use]
    pub fn is_idempotent(&self) -> bool {
        matches!(
            self.method,
            b"GET"
                | b"HEAD"
                | b"OPTIONS"
                | b"PUT"
                | b"DELETE"
                | b"MKCOL"
                | b"COPY"
                | b"MOVE"
                | b"PROPFIND"
                | b"PROPPATCH"
                | b"UNLOCK"
        )
    }

    /// Where the first header line starts, in `bytes`.
    #[must_use]
    pub fn headers_start(&self) -> usize {
        self.headers
            .first()
            .map_or(self.bytes.len().saturating_sub(2), |header| {
                offset(self.bytes, header.name.as_bytes())
            })
    }
}

impl Fields for RequestHead<'_, '_> {
    fn any(&self, name: &[u8], mut test: impl FnMut(&[u8]) -> bool) -> bool {
        self.headers
            .iter()
            .any(|header| header.name.as_bytes().eq_ignore_ascii_case(name) && test(header.value))
    }

    fn for_each(&self, mut each: impl FnMut(&[u8], &[u8])) {
        for header in self.headers {
            each(header.name.as_bytes(), header.value);
        }
    }

    fn method(&self) -> &[u8] {
        self.method
    }

    fn path_and_query(&self) -> &[u8] {
        self.target.path_and_query
    }

    fn authority(&self) -> Option<&[u8]> {
        self.authority
    }
}

#[cfg(test)]
mod tests;

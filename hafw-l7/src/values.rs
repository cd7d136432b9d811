//! What the variables of a template stand for in one request.

use std::{io::Write as _, net::SocketAddr, rc::Rc};

use crate::{
    proxy_protocol,
    route::{self, Fields, host},
    template::{Scope, Values, Variable},
    tls::Facts,
};

/// The ends of a client connection, as headers name them.
#[derive(Clone, Debug)]
pub struct Ends {
    /// The client's address as text.
    client: Box<[u8]>,
    client_port: u16,
    peer: SocketAddr,
    /// The address that the client connected to.
    local: SocketAddr,
    /// What is known of its TLS.
    tls: Option<Rc<Facts>>,
}

impl Ends {
    #[must_use]
    pub fn new(client: SocketAddr, local: SocketAddr) -> Self {
        Self {
            client: client.ip().to_canonical().to_string().into_bytes().into(),
            client_port: client.port(),
            peer: client,
            local,
            tls: None,
        }
    }

    /// The addresses of both ends.
    #[must_use]
    pub const fn addresses(&self) -> proxy_protocol::Ends {
        proxy_protocol::Ends {
            client: self.peer,
            local: self.local,
        }
    }

    /// Of a connection by TLS.
    #[must_use]
    pub fn secured(self, tls: Facts) -> Self {
        Self {
            tls: Some(Rc::new(tls)),
            ..self
        }
    }

    /// The client's address as text.
    #[must_use]
    pub fn client(&self) -> &[u8] {
        &self.client
    }
}

/// The values for one request.
#[derive(Clone, Copy, Debug)]
pub struct RequestValues<'a, R> {
    pub request: &'a R,
    /// The server's first name; may be empty.
    pub server_name: &'a [u8],
    pub ends: &'a Ends,
    /// Different for each request.
    pub id: u128,
}

impl<R: Fields> RequestValues<'_, R> {
    /// Stands in for the host of a request that names none.
    fn append_server_name(&self, out: &mut Vec<u8>) {
        if self.server_name.is_empty() {
            append_text(out, self.ends.local.ip());
        } else {
            out.extend_from_slice(self.server_name);
        }
    }
}

impl<R: Fields> Values for RequestValues<'_, R> {
    fn append(&self, variable: &Variable, scope: &Scope<'_>, out: &mut Vec<u8>) {
        let Self { request, ends, .. } = self;
        match variable {
            Variable::Host => match request.authority() {
                Some(authority) => {
                    let host = host::plain(host::split_port(authority).0);
                    out.extend(host.iter().map(u8::to_ascii_lowercase));
                }
                None => self.append_server_name(out),
            },
            Variable::HttpHost => match request.authority() {
                Some(authority) => out.extend_from_slice(authority),
                None => self.append_server_name(out),
            },
            Variable::RemoteAddr => out.extend_from_slice(&ends.client),
            Variable::RemotePort => append_text(out, ends.client_port),
            Variable::ProxyAddXForwardedFor => {
                request.any(b"x-forwarded-for", |value| {
                    out.extend_from_slice(value);
                    out.extend_from_slice(b", ");
                    false
                });
                out.extend_from_slice(&ends.client);
            }
            Variable::Scheme => out.extend_from_slice(match ends.tls {
                Some(_) => b"https",
                None => b"http",
            }),
            Variable::Ssl(ssl) => {
                if let Some(tls) = &ends.tls {
                    out.extend_from_slice(tls.get(*ssl).as_bytes());
                }
            }
            Variable::RequestUri => {
                let target = request.path_and_query();
                if !matches!(target.first(), Some(b'/' | b'*')) {
                    out.push(b'/');
                }
                out.extend_from_slice(target);
            }
            Variable::RequestMethod => out.extend_from_slice(request.method()),
            Variable::RequestId => append_text(out, format_args!("{:032x}", self.id)),
            Variable::Traceparent => append_traceparent(*request, self.id, out),
            Variable::ServerName => out.extend_from_slice(self.server_name),
            Variable::ServerAddr => append_text(out, ends.local.ip()),
            Variable::ServerPort => append_text(out, ends.local.port()),
            Variable::Header(name) => append_header(*request, name, out),
            Variable::Parameter(name) => {
                let value = route::parameter(scope.query, name);
                out.extend_from_slice(value.unwrap_or_default());
            }
            Variable::Cookie(name) => {
                request.any(b"cookie", |line| {
                    let value = route::cookie(line, name);
                    out.extend_from_slice(value.unwrap_or_default());
                    value.is_some()
                });
            }
            // The scope has them itself.
            Variable::Uri | Variable::Args | Variable::IsArgs | Variable::Capture(_) => {}
        }
    }
}

/// Appends the request's trace context if it is a valid one of version 00, else a new one that is
/// sampled (W3C Trace Context, §3.2).
fn append_traceparent(request: &impl Fields, id: u128, out: &mut Vec<u8>) {
    let passed = request.any(b"traceparent", |value| {
        let is_valid = is_traceparent(value);
        if is_valid {
            out.extend_from_slice(value);
        }
        is_valid
    });
    if !passed {
        let parent = (id >> 64) ^ id;
        let parent = (parent & u128::from(u64::MAX)).max(1);
        append_text(out, format_args!("00-{id:032x}-{parent:016x}-01"));
    }
}

fn is_traceparent(value: &[u8]) -> bool {
    let is_hex = |part: &[u8]| part.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let is_nothing = |part: &[u8]| part.iter().all(|byte| *byte == b'0');
    let parts: [&[u8]; 4] = {
        let mut parts = value.split(|byte| *byte == b'-');
        let four = [(); 4].map(|()| parts.next().unwrap_or_default());
        if parts.next().is_some() {
            return false;
        }
        four
    };
    let [version, trace, parent, flags] = parts;
    version == b"00"
        && (trace.len(), parent.len(), flags.len()) == (32, 16, 2)
        && [trace, parent, flags].into_iter().all(is_hex)
        && !is_nothing(trace)
        && !is_nothing(parent)
}

/// Appends the values of a header, whose name has `_` where the field's has `-`.
fn append_header(request: &impl Fields, variable: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    request.for_each(|name, value| {
        let plain = |byte: u8| match byte {
            b'-' => b'_',
            other => other.to_ascii_lowercase(),
        };
        let is_meant = name.len() == variable.len()
            && name
                .iter()
                .zip(variable)
                .all(|(a, b)| plain(*a) == plain(*b));
        if is_meant {
            if out.len() > start {
                out.extend_from_slice(b", ");
            }
            out.extend_from_slice(value);
        }
    });
}

fn append_text(out: &mut Vec<u8>, value: impl std::fmt::Display) {
    write!(out, "{value}").expect("writing to a vector cannot fail");
}

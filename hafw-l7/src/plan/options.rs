//! What holds for the requests of a server or of one of its routes, compiled.

use super::{KeyError, is_token};
use crate::{
    limits::Rate,
    model::{AccessLog, Compress, ErrorPage, Options, SetHeader, Timeouts},
    retry::{Millis, Policy, millis},
    template::{Scope, Template, Values},
};

/// Compiled [`Options`].
#[derive(Clone, Debug)]
pub struct OptionsPlan {
    pub request_headers: HeaderChanges,
    pub response_headers: HeaderChanges,
    pub policy: Policy,
    pub limits: Limits,
    /// Longest request body in bytes that is read before a server is asked.
    pub replay_buffer: u64,
    pub rates: Vec<RatePlan>,
    pub access_log: Option<AccessLog>,
    pub compress: Option<Compress>,
    pages: Vec<ErrorPage>,
}

/// A compiled [`crate::model::RateLimit`].
#[derive(Clone, Debug)]
pub struct RatePlan {
    pub rate: Rate,
    pub key: Template,
    pub status: u16,
    /// Its zone's name.
    pub zone: String,
}

/// What is done to the header lines of a message.
#[derive(Clone, Debug, Default)]
pub struct HeaderChanges {
    /// Lines of these names go, and these come instead; an empty value removes only.
    pub set: Vec<HeaderPlan>,
    pub add: Vec<HeaderPlan>,
}

/// A header to set.
#[derive(Clone, Debug)]
pub struct HeaderPlan {
    pub name: Box<[u8]>,
    pub value: Template,
}

/// Bounds: times in milliseconds, sizes in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub connect: Millis,
    pub read: Millis,
    pub send: Millis,
    pub client_header: Millis,
    pub client_body: Millis,
    pub keepalive: Millis,
    /// `u64::MAX` = none.
    pub body_size: u64,
}

/// Headers that frame the message or belong to one connection; the proxy writes them itself.
const NOT_TO_BE_SET: [&str; 9] = [
    "Connection",
    "Content-Length",
    "Expect",
    "Keep-Alive",
    "Proxy-Connection",
    "TE",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
];

impl OptionsPlan {
    /// `place` tells the options apart from others.
    pub(super) fn new(options: &Options, place: &str) -> Result<Self, KeyError> {
        let rates = options
            .rate_limits
            .iter()
            .enumerate()
            .map(|(entry, limit)| {
                let key = Template::new(&limit.key).map_err(|error| KeyError {
                    key: "rate_limit",
                    entry: Some(entry),
                    what: format!("rate_limit: key: {error}"),
                })?;
                let zone = limit.zone.as_ref().map(|zone| format!("zone {zone}"));
                Ok(RatePlan {
                    rate: Rate::new(limit),
                    key,
                    status: limit.status,
                    zone: zone.unwrap_or_else(|| format!("{place}/{entry}")),
                })
            });
        let request_headers = HeaderChanges {
            set: headers("set_headers", &options.set_headers)?,
            add: headers("add_headers", &options.add_headers)?,
        };
        for (key, list) in [
            ("set_headers", &request_headers.set),
            ("add_headers", &request_headers.add),
        ] {
            let wrong = list.iter().position(|header| {
                let is_host = header.name.eq_ignore_ascii_case(b"host");
                is_host && (key == "add_headers" || header.value.is_empty())
            });
            if let Some(entry) = wrong {
                return Err(KeyError {
                    key,
                    entry: Some(entry),
                    what: "a request needs one Host: it can only be set, not removed or added"
                        .to_owned(),
                });
            }
        }
        let wrong = options.error_pages.iter().position(|page| {
            let is_answer = |status| (200..=599).contains(&status) && ![204, 304].contains(&status);
            (page.status != 0 && !is_answer(page.status))
                || page.content_type.contains(char::is_control)
                || page.on.is_empty()
        });
        if let Some(entry) = wrong {
            return Err(KeyError {
                key: "error_page",
                entry: Some(entry),
                what: "expected statuses that have a page, and a content type".to_owned(),
            });
        }
        Ok(Self {
            request_headers,
            response_headers: HeaderChanges {
                set: headers("set_response_headers", &options.set_response_headers)?,
                add: headers("add_response_headers", &options.add_response_headers)?,
            },
            policy: Policy::new(&options.next_upstream),
            limits: Limits::new(&options.timeouts, options.client_max_body_size),
            replay_buffer: options.replay_buffer,
            rates: rates.collect::<Result<_, _>>()?,
            access_log: options.access_log.clone(),
            compress: options.compress.clone(),
            pages: options.error_pages.clone(),
        })
    }

    /// The page that stands for the proxy's own answer with this status.
    #[must_use]
    pub fn page(&self, status: u16) -> Option<&ErrorPage> {
        self.pages.iter().find(|page| page.on.contains(&status))
    }
}

impl HeaderChanges {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.add.is_empty()
    }

    /// Appends the lines to put into the message for one request.
    pub fn render(&self, scope: &Scope<'_>, values: &impl Values, out: &mut Vec<u8>) {
        for HeaderPlan { name, value } in self.set.iter().chain(&self.add) {
            append_line(out, name, |out| value.render(scope, values, out));
        }
    }
}

/// Appends `name: value`, or nothing if the value is empty. Returns whether it was appended.
pub(crate) fn append_line(
    out: &mut Vec<u8>,
    name: &[u8],
    value: impl FnOnce(&mut Vec<u8>),
) -> bool {
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

fn headers(key: &'static str, list: &[SetHeader]) -> Result<Vec<HeaderPlan>, KeyError> {
    let headers = list.iter().enumerate().map(|(entry, header)| {
        HeaderPlan::new(header).map_err(|what| KeyError {
            key,
            entry: Some(entry),
            what,
        })
    });
    headers.collect()
}

impl HeaderPlan {
    fn new(header: &SetHeader) -> Result<Self, String> {
        let SetHeader { name, value } = header;
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(format!("\"{name}\" is not a header name"));
        }
        let is_own = |own: &&str| own.eq_ignore_ascii_case(name);
        if NOT_TO_BE_SET.iter().any(is_own) {
            return Err(format!("{name} is set by the proxy itself"));
        }
        let value = Template::new(value).map_err(|error| format!("value of {name}: {error}"))?;
        Ok(Self {
            name: name.as_bytes().into(),
            value,
        })
    }
}

impl Limits {
    fn new(timeouts: &Timeouts, body_size: u64) -> Self {
        Self {
            connect: millis(timeouts.connect),
            read: millis(timeouts.read),
            send: millis(timeouts.send),
            client_header: millis(timeouts.client_header),
            client_body: millis(timeouts.client_body),
            keepalive: millis(timeouts.keepalive),
            body_size: match body_size {
                0 => u64::MAX,
                size => size,
            },
        }
    }
}

//! What a cluster needs of each request, compiled.

use std::fmt::Write as _;

use super::is_token;
use crate::{
    model::Upstream,
    retry::{Millis, millis},
    template::Template,
};

/// A compiled [`Upstream`], less its servers.
#[derive(Clone, Debug)]
pub struct UpstreamPlan {
    /// What the server is chosen by.
    pub hash: Option<Template>,
    pub sticky: Option<StickyPlan>,
    /// How many requests may wait for a server, and how long.
    pub queue: (u32, Millis),
}

/// A cookie that names a client's server.
#[derive(Clone, Debug)]
pub struct StickyPlan {
    pub name: Box<[u8]>,
    /// What follows the value in Set-Cookie.
    attributes: Box<[u8]>,
}

impl UpstreamPlan {
    pub(super) fn new(upstream: &Upstream) -> Result<Self, String> {
        let hash = upstream.hash.as_deref().map(Template::new).transpose();
        let sticky = upstream.sticky.as_ref().map(|sticky| {
            let is_attribute = |byte: u8| byte.is_ascii_graphic() && byte != b';';
            if sticky.name.is_empty() || !sticky.name.bytes().all(is_token) {
                return Err(format!(
                    "sticky: \"{}\" is no name of a cookie",
                    sticky.name
                ));
            }
            if !sticky.path.bytes().all(is_attribute) {
                return Err(format!(
                    "sticky: \"{}\" is no path of a cookie",
                    sticky.path
                ));
            }
            let mut attributes = format!("; Path={}; HttpOnly; SameSite=Lax", sticky.path);
            if !sticky.max_age.is_zero() {
                write!(attributes, "; Max-Age={}", sticky.max_age.as_secs())
                    .expect("writing to a string cannot fail");
            }
            if sticky.secure {
                attributes.push_str("; Secure");
            }
            Ok(StickyPlan {
                name: sticky.name.as_bytes().into(),
                attributes: attributes.into_bytes().into(),
            })
        });
        Ok(Self {
            hash: hash.map_err(|error| format!("hash: {error}"))?,
            sticky: sticky.transpose()?,
            queue: (upstream.queue.length, millis(upstream.queue.timeout)),
        })
    }
}

impl StickyPlan {
    /// Appends the value of Set-Cookie that names a server.
    pub fn append(&self, mark: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.name);
        out.extend_from_slice(format!("={mark:016x}").as_bytes());
        out.extend_from_slice(&self.attributes);
    }

    /// The server that a cookie's value names.
    #[must_use]
    pub fn mark(value: &[u8]) -> Option<u64> {
        let text = std::str::from_utf8(value).ok();
        u64::from_str_radix(text.filter(|text| text.len() == 16)?, 16).ok()
    }
}

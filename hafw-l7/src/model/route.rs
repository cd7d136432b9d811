//! Routes: which requests they take, and what becomes of these.

use std::{net::IpAddr, str::FromStr};

use serde::{Deserialize, Serialize};

use super::Options;

/// What becomes of requests that meet all of its conditions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    pub path: PathCondition,
    pub conditions: Vec<Condition>,
    /// Rules that change the path that is sent on, in order.
    pub rewrites: Vec<Rewrite>,
    pub path_change: PathChange,
    pub action: Action,
    /// Instead of the server's; `None` = the server's.
    pub options: Option<Options>,
}

impl Route {
    /// A route that sends all requests of a path to a cluster.
    #[must_use]
    pub fn to(upstream: impl Into<String>, path: PathCondition) -> Self {
        Self {
            path,
            conditions: Vec::new(),
            rewrites: Vec::new(),
            path_change: PathChange::None,
            action: Action::Upstream(upstream.into()),
            options: None,
        }
    }
}

/// What the normalised path of a request must be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PathCondition {
    /// Anything.
    #[default]
    Any,
    Exact(String),
    /// A regular expression that matches somewhere in the path.
    Regex(String),
    Prefix {
        prefix: String,
        /// Chosen before regexes are tried, if it is the longest (nginx's `^~`).
        r#final: bool,
    },
}

/// What else must hold of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    Field {
        field: Field,
        test: Test,
        /// It must not hold.
        negated: bool,
    },
    /// One of these methods.
    Method(Vec<String>),
    /// The client's address is in one of these networks.
    Source(Vec<Network>),
}

impl Condition {
    /// The route key `user_agent`.
    #[must_use]
    pub fn user_agent(regex: impl Into<String>) -> Self {
        Self::Field {
            field: Field::Header("User-Agent".to_owned()),
            test: Test::Regex(regex.into()),
            negated: false,
        }
    }
}

/// A named part of a request that may be there several times, or not at all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Field {
    /// Its name is compared without regard to case.
    Header(String),
    /// A parameter of the query, compared as the client wrote it.
    Query(String),
    Cookie(String),
}

/// What one of a field's values must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Test {
    /// Anything: the field is there.
    Present,
    Value(String),
    /// A regular expression that matches somewhere in the value.
    Regex(String),
}

/// A network in CIDR notation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// Whether an address is in the network. An IPv4 address in IPv6 is one of IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let differ = u32::from(network) ^ u32::from(address);
                differ.checked_shr(32 - u32::from(self.prefix)).unwrap_or(0) == 0
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let differ = u128::from(network) ^ u128::from(address);
                differ
                    .checked_shr(128 - u32::from(self.prefix))
                    .unwrap_or(0)
                    == 0
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

/// A text that is no network: it has a bad address or length, or bits after its prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a network such as 10.0.0.0/8")]
pub struct BadNetwork;

impl FromStr for Network {
    type Err = BadNetwork;

    fn from_str(text: &str) -> Result<Self, BadNetwork> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| BadNetwork)?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(bits), |prefix| prefix.parse().map_err(|_| BadNetwork))?;
        if prefix > bits {
            return Err(BadNetwork);
        }
        let network = Self { address, prefix };
        let host_bits = match address {
            IpAddr::V4(address) => u32::from(address)
                .checked_shl(u32::from(prefix))
                .unwrap_or(0)
                .into(),
            IpAddr::V6(address) => u128::from(address)
                .checked_shl(u32::from(prefix))
                .unwrap_or(0),
        };
        if host_bits == 0 {
            Ok(network)
        } else {
            Err(BadNetwork)
        }
    }
}

/// A rule that changes a path that it matches (nginx's `rewrite`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rewrite {
    /// Matched against the normalised path.
    pub regex: String,
    /// The new path, with `$1` to `$9` and variables; from `?` on, a query to put before the
    /// client's, or instead of it if the text ends in `?`.
    pub to: String,
    pub end: RewriteEnd,
}

/// What follows a rule that has changed the path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RewriteEnd {
    /// The next rule.
    #[default]
    Next,
    /// No more rules of this list, and the routes are asked (again).
    Last,
    /// No more rules.
    Break,
    /// The client is sent there with this status.
    Redirect(u16),
}

/// What is done to a prefix that matched.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PathChange {
    #[default]
    None,
    /// It is taken off; what is left begins with a slash.
    Strip,
    /// It becomes this text (nginx's `proxy_pass` with a URI).
    Replace(String),
}

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// The name of an [`Upstream`](super::Upstream).
    Upstream(String),
    /// The proxy answers itself.
    Respond(Respond),
    /// The client is sent to another URL, a template.
    Redirect { status: u16, to: String },
}

/// An answer of the proxy's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Respond {
    pub status: u16,
    /// A template.
    pub body: String,
    pub content_type: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_contains_its_addresses_and_no_others() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("10.0.0.7", "10.0.0.7", "10.0.0.6"),
            ("0.0.0.0/0", "192.0.2.1", "2001:db8::1"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::1"),
            ("::/0", "::2", "10.0.0.1"),
            ("10.0.0.0/31", "::ffff:10.0.0.1", "::ffff:10.0.0.2"),
        ] {
            let parsed: Network = network.parse().unwrap();
            assert!(parsed.contains(inside.parse().unwrap()), "{network}");
            assert!(!parsed.contains(outside.parse().unwrap()), "{network}");
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for bad in [
            "",
            "10.0.0.0/33",
            "10.0.0.1/8",
            "10.0.0/8",
            "::1/127",
            "::/129",
            "10.0.0.0/",
        ] {
            assert_eq!(bad.parse::<Network>(), Err(BadNetwork), "{bad}");
        }
    }
}

//! Text with variables, as headers, redirects and pages have it, compiled once.

use regex::bytes::Captures;

use crate::{route::escape, tls::SslVariable};

/// A compiled text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(Box<[u8]>),
    Variable(Variable),
}

/// What a text may refer to. The names are nginx's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Variable {
    /// `$host`: the request's host name, lower-case and without port; the server's first name if
    /// the request names none.
    Host,
    /// `$http_host`: the request's host as the client wrote it, with its port.
    HttpHost,
    /// `$remote_addr`: the client's address.
    RemoteAddr,
    /// `$remote_port`: the client's port.
    RemotePort,
    /// `$proxy_add_x_forwarded_for`: the request's X-Forwarded-For with the client's address
    /// appended, or the address alone.
    ProxyAddXForwardedFor,
    /// `$scheme`: `http` or `https`.
    Scheme,
    /// `$request_uri`: the target as the client wrote it, path and query.
    RequestUri,
    /// `$uri`: the decoded and simplified path, as rules have changed it.
    Uri,
    /// `$args` and `$query_string`: the query, as rules have changed it.
    Args,
    /// `$is_args`: `?` if there is a query.
    IsArgs,
    /// `$request_method`
    RequestMethod,
    /// `$request_id`: 32 hexadecimal digits, different for each request.
    RequestId,
    /// `$traceparent`: the request's W3C trace context, or a new one if it has none that is valid.
    Traceparent,
    /// `$server_name`: the server's first name.
    ServerName,
    /// `$server_addr`: the address that the request came to, which may be a VIP.
    ServerAddr,
    /// `$server_port`: the port that the request came to.
    ServerPort,
    /// `$ssl_…`: empty on a connection in clear.
    Ssl(SslVariable),
    /// `$http_NAME`: the values of a header, with `_` for `-` in its name.
    Header(Box<[u8]>),
    /// `$arg_NAME`: the first value of a query's parameter.
    Parameter(Box<[u8]>),
    /// `$cookie_NAME`: the value of a cookie.
    Cookie(Box<[u8]>),
    /// `$1` to `$9`: what the path's regular expression captured.
    Capture(usize),
}

impl Variable {
    const NAMES: [(&'static str, Self); 24] = [
        ("host", Self::Host),
        ("http_host", Self::HttpHost),
        ("remote_addr", Self::RemoteAddr),
        ("remote_port", Self::RemotePort),
        ("proxy_add_x_forwarded_for", Self::ProxyAddXForwardedFor),
        ("scheme", Self::Scheme),
        ("request_uri", Self::RequestUri),
        ("uri", Self::Uri),
        ("args", Self::Args),
        ("query_string", Self::Args),
        ("is_args", Self::IsArgs),
        ("request_method", Self::RequestMethod),
        ("request_id", Self::RequestId),
        ("traceparent", Self::Traceparent),
        ("server_name", Self::ServerName),
        ("server_addr", Self::ServerAddr),
        ("server_port", Self::ServerPort),
        ("ssl_protocol", Self::Ssl(SslVariable::Protocol)),
        ("ssl_cipher", Self::Ssl(SslVariable::Cipher)),
        ("ssl_server_name", Self::Ssl(SslVariable::ServerName)),
        ("ssl_client_verify", Self::Ssl(SslVariable::ClientVerify)),
        ("ssl_client_s_dn", Self::Ssl(SslVariable::ClientSubject)),
        ("ssl_client_i_dn", Self::Ssl(SslVariable::ClientIssuer)),
        ("ssl_client_serial", Self::Ssl(SslVariable::ClientSerial)),
    ];

    /// The names that a text may use, for messages.
    pub fn names() -> impl Iterator<Item = &'static str> {
        let families = ["http_NAME", "arg_NAME", "cookie_NAME", "1"];
        Self::NAMES.iter().map(|(name, _)| *name).chain(families)
    }

    fn of_name(name: &str) -> Option<Self> {
        if let Some((_, variable)) = Self::NAMES.iter().find(|(known, _)| *known == name) {
            return Some(variable.clone());
        }
        if let [digit @ b'1'..=b'9'] = name.as_bytes() {
            return Some(Self::Capture(usize::from(digit - b'0')));
        }
        let after = |prefix| {
            let rest = name.strip_prefix(prefix).filter(|rest| !rest.is_empty())?;
            Some(Box::from(rest.as_bytes()))
        };
        after("http_")
            .map(Self::Header)
            .or_else(|| after("arg_").map(Self::Parameter))
            .or_else(|| after("cookie_").map(Self::Cookie))
    }

    /// Whether its values are decoded, so that they may have any bytes.
    fn is_decoded(&self) -> bool {
        matches!(self, Self::Uri | Self::Capture(_))
    }
}

/// What the variables that routing changes stand for at one point of it.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// What the last regular expression of a path captured.
    pub captures: Option<&'a Captures<'a>>,
    /// The decoded path.
    pub path: &'a [u8],
    pub query: &'a [u8],
}

impl Scope<'_> {
    /// Appends the value of a variable if it is one that routing changes.
    fn append(&self, variable: &Variable, out: &mut Vec<u8>) -> bool {
        let value = if let Variable::Capture(index) = variable {
            let captured = self.captures.and_then(|all| all.get(*index));
            captured.map_or(&b""[..], |captured| captured.as_bytes())
        } else if *variable == Variable::Uri {
            self.path
        } else if *variable == Variable::Args {
            self.query
        } else if *variable == Variable::IsArgs {
            &b"?"[..usize::from(!self.query.is_empty())]
        } else {
            return false;
        };
        out.extend_from_slice(value);
        true
    }
}

/// Gives the variables of one request.
pub trait Values {
    /// Appends the value of `variable`, which [`Scope`] does not have, to `out`.
    fn append(&self, variable: &Variable, scope: &Scope<'_>, out: &mut Vec<u8>);
}

/// A value that cannot be compiled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    #[error("no variable ${0}; known are {known}", known = known())]
    Unknown(String),
    #[error("a $ without a variable's name")]
    NoName,
    #[error("a control character")]
    Control,
}

impl Template {
    /// Compiles a value: `$name` or `${name}` stands for a variable.
    ///
    /// # Errors
    ///
    /// [`TemplateError`] for unknown variables, and for characters that no header may hold.
    pub fn new(value: &str) -> Result<Self, TemplateError> {
        if value.chars().any(|c| c.is_control() && c != '\t') {
            return Err(TemplateError::Control);
        }
        Self::of_text(value)
    }

    /// Compiles a text of any length and lines, for a page.
    ///
    /// # Errors
    ///
    /// [`TemplateError`] for unknown variables.
    pub fn of_text(value: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut rest = value;
        while let Some((text, after)) = rest.split_once('$') {
            push_text(&mut parts, text);
            let (name, after) = variable_name(after)?;
            let variable = Variable::of_name(name);
            let variable = variable.ok_or_else(|| TemplateError::Unknown(name.to_owned()))?;
            parts.push(Part::Variable(variable));
            rest = after;
        }
        push_text(&mut parts, rest);
        Ok(Self { parts })
    }

    /// Whether the value is always empty, which removes the header.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Whether it refers to what a path's regular expression captured.
    #[must_use]
    pub fn has_captures(&self) -> bool {
        self.parts
            .iter()
            .any(|part| matches!(part, Part::Variable(Variable::Capture(_))))
    }

    /// Appends the text for one request, as a header or a page may have it.
    pub fn render(&self, scope: &Scope<'_>, values: &impl Values, out: &mut Vec<u8>) {
        self.render_with(scope, values, out, |_, start, out| {
            escape::escape_controls(start, out);
        });
    }

    /// Appends the text as a decoded path.
    pub fn render_path(&self, scope: &Scope<'_>, values: &impl Values, out: &mut Vec<u8>) {
        self.render_with(scope, values, out, |_, _, _| {});
    }

    /// Appends the text as a query, in which decoded values are escaped.
    pub fn render_query(&self, scope: &Scope<'_>, values: &impl Values, out: &mut Vec<u8>) {
        self.render_with(scope, values, out, |variable, start, out| {
            if variable.is_decoded() {
                let decoded = out.split_off(start);
                escape::escape_argument(&decoded, out);
            }
        });
    }

    /// Appends the text as a URL, in whose path decoded values are escaped.
    pub fn render_url(&self, scope: &Scope<'_>, values: &impl Values, out: &mut Vec<u8>) {
        self.render_with(scope, values, out, |variable, start, out| {
            if variable.is_decoded() {
                let decoded = out.split_off(start);
                escape::escape_path(&decoded, out);
            }
        });
    }

    /// Has `finish` change what a variable has appended from a place on.
    fn render_with(
        &self,
        scope: &Scope<'_>,
        values: &impl Values,
        out: &mut Vec<u8>,
        finish: impl Fn(&Variable, usize, &mut Vec<u8>),
    ) {
        for part in &self.parts {
            match part {
                Part::Text(text) => out.extend_from_slice(text),
                Part::Variable(variable) => {
                    let start = out.len();
                    if !scope.append(variable, out) {
                        values.append(variable, scope, out);
                    }
                    finish(variable, start, out);
                }
            }
        }
    }
}

fn push_text(parts: &mut Vec<Part>, text: &str) {
    if !text.is_empty() {
        parts.push(Part::Text(text.as_bytes().into()));
    }
}

/// Splits the text after a `$` into the variable's name and the rest.
fn variable_name(text: &str) -> Result<(&str, &str), TemplateError> {
    let (name, rest) = match text.strip_prefix('{') {
        Some(inner) => inner.split_once('}').ok_or(TemplateError::NoName)?,
        None => {
            let end = text
                .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .unwrap_or(text.len());
            text.split_at(end)
        }
    };
    if name.is_empty() {
        return Err(TemplateError::NoName);
    }
    Ok((name, rest))
}

fn known() -> String {
    let names: Vec<_> = Variable::names().map(|name| format!("${name}")).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Upper;

    impl Values for Upper {
        fn append(&self, variable: &Variable, _: &Scope<'_>, out: &mut Vec<u8>) {
            let name = Variable::NAMES.iter().find(|(_, v)| v == variable);
            out.extend_from_slice(name.unwrap().0.to_uppercase().as_bytes());
        }
    }

    fn render(value: &str) -> String {
        let regex = regex::bytes::Regex::new("(?s)^/(.*)$").unwrap();
        let path = b"/a\r\nb";
        let captures = regex.captures(path);
        let scope = Scope {
            captures: captures.as_ref(),
            path,
            query: b"q=1",
        };
        let mut out = Vec::new();
        Template::new(value)
            .unwrap()
            .render(&scope, &Upper, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn variables_are_replaced_in_place() {
        assert_eq!(render("$host"), "HOST");
        assert_eq!(render("a-$remote_addr,$scheme-b"), "a-REMOTE_ADDR,SCHEME-b");
        assert_eq!(render("${host}name"), "HOSTname");
        assert_eq!(render("plain"), "plain");
        assert_eq!(render(""), "");
        assert_eq!(render("/x$is_args$args"), "/x?q=1");
    }

    #[test]
    fn decoded_values_cannot_end_a_line() {
        assert_eq!(render("$1 $2"), "a%0D%0Ab ");
        assert_eq!(render("$uri"), "/a%0D%0Ab");
    }

    #[test]
    fn an_empty_value_is_known_as_such() {
        assert!(Template::new("").unwrap().is_empty());
        assert!(!Template::new("$host").unwrap().is_empty());
    }

    #[test]
    fn unknown_variables_and_stray_characters_are_refused() {
        assert_eq!(
            Template::new("$hots"),
            Err(TemplateError::Unknown("hots".to_owned()))
        );
        assert_eq!(Template::new("a$"), Err(TemplateError::NoName));
        assert_eq!(Template::new("$-"), Err(TemplateError::NoName));
        assert_eq!(Template::new("${host"), Err(TemplateError::NoName));
        assert_eq!(Template::new("a\r\nb"), Err(TemplateError::Control));
        let message = Template::new("$x").unwrap_err().to_string();
        assert!(message.contains("$remote_addr"), "{message}");
    }
}

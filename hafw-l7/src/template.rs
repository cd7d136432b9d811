//! The values of `set_headers`: text with variables, compiled once.

/// A compiled value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(Box<[u8]>),
    Variable(Variable),
}

/// What a value may refer to. The names are nginx's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// `$scheme`: `http`.
    Scheme,
    /// `$request_uri`: the target as the client wrote it, path and query.
    RequestUri,
    /// `$server_name`: the server's first name.
    ServerName,
    /// `$server_addr`: the address that the request came to, which may be a VIP.
    ServerAddr,
    /// `$server_port`: the port that the request came to.
    ServerPort,
}

impl Variable {
    const NAMES: [(&'static str, Self); 10] = [
        ("host", Self::Host),
        ("http_host", Self::HttpHost),
        ("remote_addr", Self::RemoteAddr),
        ("remote_port", Self::RemotePort),
        ("proxy_add_x_forwarded_for", Self::ProxyAddXForwardedFor),
        ("scheme", Self::Scheme),
        ("request_uri", Self::RequestUri),
        ("server_name", Self::ServerName),
        ("server_addr", Self::ServerAddr),
        ("server_port", Self::ServerPort),
    ];

    /// The names that a value may use, for messages.
    pub fn names() -> impl Iterator<Item = &'static str> {
        Self::NAMES.iter().map(|(name, _)| *name)
    }
}

/// Gives the variables of one request.
pub trait Values {
    /// Appends the value of `variable` to `out`.
    fn append(&self, variable: Variable, out: &mut Vec<u8>);
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
        let mut parts = Vec::new();
        let mut rest = value;
        while let Some((text, after)) = rest.split_once('$') {
            push_text(&mut parts, text);
            let (name, after) = variable_name(after)?;
            let known = Variable::NAMES.iter().find(|(known, _)| *known == name);
            let (_, variable) = known.ok_or_else(|| TemplateError::Unknown(name.to_owned()))?;
            parts.push(Part::Variable(*variable));
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

    /// Appends the value for one request.
    pub fn render(&self, values: &impl Values, out: &mut Vec<u8>) {
        for part in &self.parts {
            match part {
                Part::Text(text) => out.extend_from_slice(text),
                Part::Variable(variable) => values.append(*variable, out),
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
        fn append(&self, variable: Variable, out: &mut Vec<u8>) {
            let name = Variable::NAMES.iter().find(|(_, v)| *v == variable);
            out.extend_from_slice(name.unwrap().0.to_uppercase().as_bytes());
        }
    }

    fn render(value: &str) -> String {
        let mut out = Vec::new();
        Template::new(value).unwrap().render(&Upper, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn variables_are_replaced_in_place() {
        assert_eq!(render("$host"), "HOST");
        assert_eq!(render("a-$remote_addr,$scheme-b"), "a-REMOTE_ADDR,SCHEME-b");
        assert_eq!(render("${host}name"), "HOSTname");
        assert_eq!(render("plain"), "plain");
        assert_eq!(render(""), "");
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

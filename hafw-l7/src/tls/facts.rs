//! What a TLS connection is known by, for variables. The names are nginx's.

use rustls::ServerConnection;
use x509_parser::{
    objects::oid2abbrev,
    prelude::{FromDer as _, X509Certificate, X509Name},
    x509::AttributeTypeAndValue,
};

/// A TLS connection from a client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Such as `TLSv1.3`.
    pub protocol: &'static str,
    /// The cipher suite.
    pub cipher: String,
    /// The name that the client asked for; may be empty.
    pub server_name: String,
    /// The client's certificate, if it has shown one.
    pub client: Option<Client>,
}

/// A client's certificate, which was checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Client {
    /// Subject and issuer as RFC 2253 writes them.
    pub subject: String,
    pub issuer: String,
    /// In hexadecimal.
    pub serial: String,
}

/// A variable about TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SslVariable {
    /// `$ssl_protocol`
    Protocol,
    /// `$ssl_cipher`
    Cipher,
    /// `$ssl_server_name`
    ServerName,
    /// `$ssl_client_verify`: `SUCCESS`, or `NONE` if the client has shown no certificate. One that
    /// does not hold ends the handshake.
    ClientVerify,
    /// `$ssl_client_s_dn`
    ClientSubject,
    /// `$ssl_client_i_dn`
    ClientIssuer,
    /// `$ssl_client_serial`
    ClientSerial,
}

impl Facts {
    /// The value of a variable.
    #[must_use]
    pub fn get(&self, variable: SslVariable) -> &str {
        let of_client = |part: fn(&Client) -> &String| self.client.as_ref().map_or("", |c| part(c));
        match variable {
            SslVariable::Protocol => self.protocol,
            SslVariable::Cipher => &self.cipher,
            SslVariable::ServerName => &self.server_name,
            SslVariable::ClientVerify if self.client.is_some() => "SUCCESS",
            SslVariable::ClientVerify => "NONE",
            SslVariable::ClientSubject => of_client(|client| &client.subject),
            SslVariable::ClientIssuer => of_client(|client| &client.issuer),
            SslVariable::ClientSerial => of_client(|client| &client.serial),
        }
    }

    pub(crate) fn of(connection: &ServerConnection) -> Self {
        use rustls::ProtocolVersion;

        let version = connection.protocol_version();
        let leaf = connection.peer_certificates().and_then(<[_]>::first);
        Self {
            protocol: match version {
                Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
                Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
                _ => "",
            },
            cipher: connection
                .negotiated_cipher_suite()
                .map(|suite| format!("{:?}", suite.suite()))
                .unwrap_or_default(),
            server_name: connection.server_name().unwrap_or_default().to_owned(),
            client: leaf.and_then(|leaf| Client::of(leaf)),
        }
    }
}

impl Client {
    fn of(certificate: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
        let serial = certificate.raw_serial().iter();
        Some(Self {
            subject: name(certificate.subject()),
            issuer: name(certificate.issuer()),
            serial: serial.map(|byte| format!("{byte:02X}")).collect(),
        })
    }
}

/// A distinguished name, the most specific part first.
fn name(name: &X509Name<'_>) -> String {
    let mut parts: Vec<_> = name
        .iter()
        .map(|part| {
            let attributes: Vec<_> = part.iter().map(attribute).collect();
            attributes.join("+")
        })
        .collect();
    parts.reverse();
    parts.join(",")
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let oid = attribute.attr_type();
    let registry = x509_parser::objects::oid_registry();
    let kind = oid2abbrev(oid, registry).map_or_else(|_| oid.to_id_string(), str::to_owned);
    format!("{kind}={}", escaped(attribute.as_str().unwrap_or_default()))
}

/// A value in a distinguished name (RFC 2253 §2.4). Control characters, which no header may hold,
/// become two digits.
fn escaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let last = value.chars().count().saturating_sub(1);
    for (at, c) in value.chars().enumerate() {
        let is_edge = at == 0 || at == last;
        match c {
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' => out.extend(['\\', c]),
            '#' if at == 0 => out.extend(['\\', c]),
            ' ' if is_edge => out.extend(['\\', c]),
            c if c.is_control() => out.push_str(&format!("\\{:02X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_escaped_so_that_they_cannot_pretend_to_be_names() {
        assert_eq!(escaped("a, CN=root"), "a\\, CN=root");
        assert_eq!(escaped("#x\r\n"), "\\#x\\0D\\0A");
        assert_eq!(escaped(" a "), "\\ a\\ ");
        assert_eq!(escaped("plain"), "plain");
    }
}

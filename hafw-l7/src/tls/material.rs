//! Checks certificates and keys, and turns them into what rustls takes.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::{
    Error, InconsistentKeys, RootCertStore,
    client::verify_server_name,
    pki_types::{
        CertificateDer, CertificateRevocationListDer, PrivateKeyDer, ServerName,
        pem::PemObject as _,
    },
    server::ParsedCertificate,
    sign::CertifiedKey,
};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{
    model::{Certificate, ClientAuth},
    provider,
};

/// The file that a mistake is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Chain,
    Key,
    Ocsp,
    /// Authorities.
    Ca,
    /// Revoked certificates.
    Crl,
    /// No file: the name that a server must have.
    Name,
    /// Nor this: the names of cipher suites.
    Ciphers,
}

/// A file that is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct MaterialError {
    pub part: Part,
    pub what: String,
}

/// Checks that a certificate can be used.
///
/// # Errors
///
/// [`MaterialError`] for what is no PEM, and for a key that is not the certificate's. `Ok` may hold
/// a warning: that the certificate is not valid at `now`.
pub fn check_certificate(
    certificate: &Certificate,
    now: SystemTime,
) -> Result<Option<String>, MaterialError> {
    let key = certified_key(certificate)?;
    let leaf = key.cert.first().map(AsRef::as_ref).unwrap_or_default();
    let (_, leaf) = X509Certificate::from_der(leaf)
        .map_err(|error| wrong(Part::Chain, format!("not an X.509 certificate: {error}")))?;
    let now = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let validity = leaf.validity();
    Ok(if now > validity.not_after.timestamp() {
        Some(format!("it expired on {}", validity.not_after))
    } else if now < validity.not_before.timestamp() {
        Some(format!("it is not valid before {}", validity.not_before))
    } else {
        None
    })
}

/// Checks that the authorities of clients can be used.
///
/// # Errors
///
/// [`MaterialError`] if there is none.
pub fn check_client_ca(client: &ClientAuth) -> Result<(), MaterialError> {
    roots(&client.ca).map(|_| ())
}

/// The hosts that none of the certificates is for. Wildcards and suffixes of the configuration are
/// looked at as names below them.
#[must_use]
pub fn unnamed_hosts<'a>(certificates: &[Certificate], hosts: &'a [String]) -> Vec<&'a str> {
    let keys: Vec<_> = certificates.iter().flat_map(certified_key).collect();
    let is_named = |host: &str| {
        let name = host.strip_prefix('*').map_or_else(
            || host.to_owned(),
            |suffix| {
                format!(
                    "any{}{suffix}",
                    if suffix.starts_with('.') { "" } else { "." }
                )
            },
        );
        let name = name
            .strip_prefix('.')
            .map_or(name.clone(), |name| format!("any.{name}"));
        let Ok(name) = ServerName::try_from(name) else {
            return true;
        };
        keys.iter().any(|key| {
            let leaf = key.cert.first().map(ParsedCertificate::try_from);
            leaf.is_some_and(|leaf| leaf.is_ok_and(|leaf| verify_server_name(&leaf, &name).is_ok()))
        })
    };
    let hosts = hosts.iter().map(String::as_str);
    hosts.filter(|host| !is_named(host)).collect()
}

/// A certificate with its key as rustls wants it.
pub(super) fn certified_key(certificate: &Certificate) -> Result<CertifiedKey, MaterialError> {
    let chain = certificates(&certificate.chain, Part::Chain)?;
    let key = PrivateKeyDer::from_pem_slice(certificate.key.0.as_bytes()).map_err(|_| {
        wrong(
            Part::Key,
            "no private key in PEM (one with a pass phrase is none)",
        )
    })?;
    let key = CertifiedKey::from_der(chain, key, &provider());
    let mut key = key.map_err(|error| {
        if error == Error::InconsistentKeys(InconsistentKeys::KeyMismatch) {
            wrong(Part::Key, "not the certificate's key")
        } else {
            wrong(Part::Key, format!("cannot be used: {error}"))
        }
    })?;
    if let Some(ocsp) = &certificate.ocsp {
        // OCSPResponse is a SEQUENCE (RFC 6960 §4.2.1).
        if ocsp.first() != Some(&0x30) {
            return Err(wrong(Part::Ocsp, "not an OCSP response in DER"));
        }
        key.ocsp = Some(ocsp.clone());
    }
    Ok(key)
}

/// The authorities in a PEM text.
pub(super) fn roots(pem: &str) -> Result<RootCertStore, MaterialError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem, Part::Ca)? {
        let added = roots.add(certificate);
        added.map_err(|error| wrong(Part::Ca, format!("not an authority's: {error}")))?;
    }
    Ok(roots)
}

/// The lists of revoked certificates in a PEM text.
pub(super) fn revocation_lists(
    pem: &str,
) -> Result<Vec<CertificateRevocationListDer<'static>>, MaterialError> {
    let lists: Result<Vec<_>, _> =
        CertificateRevocationListDer::pem_slice_iter(pem.as_bytes()).collect();
    match lists {
        Ok(lists) if !lists.is_empty() => Ok(lists),
        Ok(_) => Err(wrong(Part::Crl, "no X509 CRL in PEM")),
        Err(error) => Err(wrong(Part::Crl, format!("not PEM: {error}"))),
    }
}

fn certificates(pem: &str, part: Part) -> Result<Vec<CertificateDer<'static>>, MaterialError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match read {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(wrong(part, "no certificate in PEM")),
        Err(error) => Err(wrong(part, format!("not PEM: {error}"))),
    }
}

fn wrong(part: Part, what: impl Into<String>) -> MaterialError {
    MaterialError {
        part,
        what: what.into(),
    }
}

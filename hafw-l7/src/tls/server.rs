//! The proxy as a TLS server.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use rustls::{
    ServerConfig,
    crypto::ring::Ticketer,
    server::{
        ClientHello, ProducesTickets, ResolvesServerCert, WebPkiClientVerifier,
        danger::ClientCertVerifier,
    },
    sign::CertifiedKey,
};

use super::{
    MaterialError, Part, material,
    model::{ClientAuth, ListenTls},
    provider,
};

/// TLS for the names of one server.
#[derive(Clone, Debug)]
pub(crate) struct ServerTls {
    pub(crate) config: Arc<ServerConfig>,
    /// Whether clients are asked who they are.
    pub(crate) asks: bool,
}

impl ServerTls {
    /// Makes it of the configuration; `http2` is whether that is offered.
    pub(crate) fn new(tls: &ListenTls, http2: bool) -> Result<Self, MaterialError> {
        let certificates = tls.certificates.iter();
        let certificates = certificates.map(|c| material::certified_key(c).map(Arc::new));
        let resolver = Certificates(certificates.collect::<Result<_, _>>()?);
        let broken = |what: String| MaterialError {
            part: Part::Chain,
            what,
        };
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| broken(error.to_string()))?;
        let builder = match &tls.client {
            Some(client) => builder.with_client_cert_verifier(verifier(client)?),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(resolver));
        config.alpn_protocols = match http2 {
            true => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            false => vec![b"http/1.1".to_vec()],
        };
        config.ticketer = tickets(tls.client.as_ref()).map_err(broken)?;
        Ok(Self {
            config: Arc::new(config),
            asks: tls.client.is_some(),
        })
    }
}

fn verifier(client: &ClientAuth) -> Result<Arc<dyn ClientCertVerifier>, MaterialError> {
    let roots = Arc::new(material::roots(&client.ca)?);
    let builder = WebPkiClientVerifier::builder_with_provider(roots, provider());
    let builder = match client.required {
        true => builder,
        false => builder.allow_unauthenticated(),
    };
    builder.build().map_err(|error| MaterialError {
        part: Part::Ca,
        what: error.to_string(),
    })
}

/// Certificates for the same names, in order of preference.
#[derive(Debug)]
struct Certificates(Vec<Arc<CertifiedKey>>);

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let schemes = hello.signature_schemes();
        let mut usable = self.0.iter();
        let found = usable.find(|key| key.key.choose_scheme(schemes).is_some());
        found.or(self.0.first()).map(Arc::clone)
    }
}

/// The keys of session tickets. All workers share them, and so do configurations that follow each
/// other; but a ticket got where clients show no certificate, or one of other authorities, is of no
/// use where they must.
fn tickets(client: Option<&ClientAuth>) -> Result<Arc<dyn ProducesTickets>, String> {
    /// By the authorities of clients, and whether they must show a certificate.
    type Known = BTreeMap<Option<(String, bool)>, Weak<dyn ProducesTickets>>;
    static KNOWN: Mutex<Known> = Mutex::new(BTreeMap::new());
    let scope = client.map(|client| (client.ca.clone(), client.required));
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    known.retain(|_, tickets| tickets.strong_count() > 0);
    if let Some(tickets) = known.get(&scope).and_then(Weak::upgrade) {
        return Ok(tickets);
    }
    let tickets = Ticketer::new().map_err(|error| error.to_string())?;
    known.insert(scope, Arc::downgrade(&tickets));
    Ok(tickets)
}

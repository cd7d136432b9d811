//! The proxy as a TLS server.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use rustls::{
    ServerConfig, SupportedCipherSuite,
    crypto::{CryptoProvider, ring::Ticketer},
    server::{
        ClientHello, ProducesTickets, ResolvesServerCert, VerifierBuilderError,
        WebPkiClientVerifier, danger::ClientCertVerifier,
    },
    sign::CertifiedKey,
    version::{TLS12, TLS13},
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
        let versions: &[_] = match tls.only_1_3 {
            true => &[&TLS13],
            false => &[&TLS13, &TLS12],
        };
        let builder = ServerConfig::builder_with_provider(speaking(&tls.ciphers)?)
            .with_protocol_versions(versions)
            .map_err(|_| wrong_ciphers("none of them is of a version that is spoken"))?;
        let builder = match &tls.client {
            Some(client) => builder.with_client_cert_verifier(verifier(client)?),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(resolver));
        config.alpn_protocols = match http2 {
            true => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            false => vec![b"http/1.1".to_vec()],
        };
        config.ignore_client_order = !tls.ciphers.is_empty();
        config.ticketer = tickets(tls).map_err(broken)?;
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
    let builder = match &client.crl {
        // As nginx's ssl_crl: a list that is out of date says nothing.
        Some(crl) => builder
            .with_crls(material::revocation_lists(crl)?)
            .enforce_revocation_expiration(),
        None => builder,
    };
    builder.build().map_err(|error| {
        let part = if matches!(error, VerifierBuilderError::InvalidCrl(_)) {
            Part::Crl
        } else {
            Part::Ca
        };
        let what = error.to_string();
        MaterialError { part, what }
    })
}

/// Checks that the keys which say how TLS is spoken can be carried out.
///
/// # Errors
///
/// [`MaterialError`]
pub fn check_listen(tls: &ListenTls) -> Result<(), MaterialError> {
    ServerTls::new(tls, true).map(|_| ())
}

/// The cryptography with these cipher suites only.
fn speaking(ciphers: &[String]) -> Result<Arc<CryptoProvider>, MaterialError> {
    if ciphers.is_empty() {
        return Ok(provider());
    }
    let known = &provider().cipher_suites;
    let name = |suite: &SupportedCipherSuite| {
        let name = format!("{:?}", suite.suite());
        // As IANA names them.
        name.replacen("TLS13_", "TLS_", 1)
    };
    let find = |wanted: &String| {
        let found = known.iter().find(|suite| name(suite) == *wanted);
        found.copied().ok_or_else(|| {
            let names: Vec<_> = known.iter().map(name).collect();
            wrong_ciphers(&format!("\"{wanted}\" is none of {}", names.join(", ")))
        })
    };
    let cipher_suites = ciphers.iter().map(find).collect::<Result<_, _>>()?;
    Ok(Arc::new(CryptoProvider {
        cipher_suites,
        ..(*provider()).clone()
    }))
}

fn wrong_ciphers(what: &str) -> MaterialError {
    MaterialError {
        part: Part::Ciphers,
        what: what.to_owned(),
    }
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
/// other; but a ticket got where clients show no certificate, or one of other authorities or that
/// may have been revoked since, is of no use where they must.
fn tickets(tls: &ListenTls) -> Result<Arc<dyn ProducesTickets>, String> {
    /// What is asked of clients: authorities, revoked certificates, whether they must show one.
    type Scope = (String, Option<String>, bool);
    type Known = BTreeMap<Option<Scope>, Weak<dyn ProducesTickets>>;
    static KNOWN: Mutex<Known> = Mutex::new(BTreeMap::new());
    let scope = tls.client.as_ref();
    let scope = scope.map(|client| (client.ca.clone(), client.crl.clone(), client.required));
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    known.retain(|_, tickets| tickets.strong_count() > 0);
    if let Some(tickets) = known.get(&scope).and_then(Weak::upgrade) {
        return Ok(tickets);
    }
    let tickets = Ticketer::new().map_err(|error| error.to_string())?;
    known.insert(scope, Arc::downgrade(&tickets));
    Ok(tickets)
}

//! A webhook: JSON by POST over HTTP/1.1, with or without TLS.

use std::{io, pin::pin, sync::Arc, time::SystemTime};

use futures_util::future::{Either, select};
use http_body_util::Full;
use hyper::{
    Request, Uri,
    body::Bytes,
    client::conn::http1,
    header::{CONTENT_TYPE, HOST, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use serde_json::json;
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use super::queue::Entry;

/// Where alerts are posted to. It may hold a token: `Debug` shows the host alone.
#[derive(Clone, PartialEq, Eq)]
pub struct Webhook {
    host: String,
    port: u16,
    tls: bool,
    authority: String,
    path: String,
}

/// It is no URL that can be posted to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("expected a URL such as \"http://127.0.0.1:9095/alerts\"")]
pub struct InvalidUrl;

impl Webhook {
    /// Reads an `http` or `https` URL, without user and password.
    ///
    /// # Errors
    /// It is none.
    pub fn new(url: &str) -> Result<Self, InvalidUrl> {
        let uri: Uri = url.parse().map_err(|_| InvalidUrl)?;
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(InvalidUrl),
        };
        let authority = uri.authority().ok_or(InvalidUrl)?;
        let host = authority.host();
        let port = match authority.port_u16() {
            Some(0) => return Err(InvalidUrl),
            Some(port) => port,
            None if authority.as_str().ends_with(host) => {
                if tls {
                    443
                } else {
                    80
                }
            }
            None => return Err(InvalidUrl),
        };
        if host.is_empty() || authority.as_str().contains('@') {
            return Err(InvalidUrl);
        }
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Ok(Self {
            host: host.trim_matches(['[', ']']).to_owned(),
            port,
            tls,
            authority: authority.to_string(),
            path: path.to_owned(),
        })
    }

    pub(super) async fn post(
        &self,
        node: &str,
        entries: &[Entry],
        lost: u64,
    ) -> Result<(), String> {
        let text = |error: &dyn std::error::Error| format!("{}: {error}", self.authority);
        let connecting = TcpStream::connect((self.host.as_str(), self.port));
        let stream = connecting.await.map_err(|error| text(&error))?;
        let body = body(node, entries, lost);
        let status = if self.tls {
            let stream = self.encrypt(stream).await.map_err(|error| text(&error))?;
            self.exchange(stream, body).await
        } else {
            self.exchange(stream, body).await
        };
        match status {
            Ok(status) if status.is_success() => Ok(()),
            Ok(status) => Err(format!("{}: HTTP {status}", self.authority)),
            Err(error) => Err(text(&*error)),
        }
    }

    /// With the certificates that the system trusts.
    async fn encrypt(
        &self,
        stream: TcpStream,
    ) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let config = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(self.host.clone()).map_err(io::Error::other)?;
        TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
    }

    async fn exchange(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        body: Vec<u8>,
    ) -> Result<hyper::StatusCode, Box<dyn std::error::Error + Send + Sync>> {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let request = Request::post(&self.path)
            .header(HOST, &self.authority)
            .header(USER_AGENT, concat!("hafw/", env!("CARGO_PKG_VERSION")))
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))?;
        let answer = pin!(sender.send_request(request));
        let connection = pin!(connection);
        let answer = match select(answer, connection).await {
            Either::Left((answer, _)) => answer,
            // Its end resolves the answer, one way or the other.
            Either::Right((_, answer)) => answer.await,
        };
        Ok(answer?.status())
    }
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Webhook").field(&self.authority).finish()
    }
}

fn body(node: &str, entries: &[Entry], lost: u64) -> Vec<u8> {
    let change = |Entry { event, changes }: &Entry| {
        let since = event.at.duration_since(SystemTime::UNIX_EPOCH);
        json!({
            "kind": event.kind.name(),
            "name": event.name,
            "state": event.state.name(),
            "priority": event.priority,
            "reason": event.reason,
            "at_ms": u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX),
            "changes": changes,
        })
    };
    let changes: Vec<_> = entries.iter().map(change).collect();
    json!({ "node": node, "changes": changes, "lost": lost })
        .to_string()
        .into_bytes()
}

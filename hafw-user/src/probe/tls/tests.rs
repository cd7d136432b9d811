use std::time::Duration;

use rustls::{ServerConfig, pki_types::PrivateKeyDer};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::probe::{HttpProbe, HttpRequest, Probe};

/// A site over TLS with a certificate that nobody signed; tells by which name it was asked for.
async fn site() -> (SocketAddr, tokio::task::JoinHandle<Option<String>>) {
    let signed = rcgen::generate_simple_self_signed(["shop.example".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(signed.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![signed.cert.der().clone()], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let served = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let mut stream = acceptor.accept(stream).await.ok()?;
        let name = stream.get_ref().1.server_name().map(str::to_owned);
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            stream.read_buf(&mut request).await.ok()?;
        }
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        let _ = stream.shutdown().await;
        name
    });
    (address, served)
}

async fn probe(address: SocketAddr, verify: bool) -> Report {
    let probe = HttpProbe::new(address, &HttpRequest::get("shop.example", "/"), &[]).unwrap();
    let tls = TlsSpec {
        name: "shop.example".into(),
        verify,
    };
    let probe = Probe::Http(probe.over_tls(Some(tls)));
    probe.run(Duration::from_secs(60)).await
}

#[tokio::test]
async fn a_certificate_counts_only_where_it_is_verified() {
    let (address, served) = site().await;
    assert_eq!(probe(address, false).await, Report::ok("HTTP 200"));
    assert_eq!(served.await.unwrap().as_deref(), Some("shop.example"));

    let (address, _served) = site().await;
    let report = probe(address, true).await;
    assert_eq!(report.outcome, hafw_lb::Outcome::Bad);
    assert!(
        report.reason.starts_with("TLS: invalid peer certificate"),
        "{}",
        report.reason
    );
}

//! New connections to upstream servers.

use std::{io, sync::Arc};

use tokio::{
    io::{AsyncWrite, AsyncWriteExt as _},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::TlsConnector;

use super::{http2::Links, wire::Wire};
use crate::{
    model::{Address, Upstream},
    proxy_protocol::{self, Ends, Version},
    tls::{ClientTls, MaterialError},
};

/// How the servers of a cluster are spoken to.
#[derive(Debug)]
pub(crate) struct Dial {
    tls: Option<ClientTls>,
    proxy_protocol: Option<Version>,
    /// Connections that several requests share, by server: HTTP/2.
    links: Option<Links>,
}

impl Dial {
    pub(crate) fn new(upstream: &Upstream, servers: usize) -> Result<Self, MaterialError> {
        let tls = upstream.tls.as_ref();
        let tls = tls.map(|tls| ClientTls::new(tls, upstream.http2));
        Ok(Self {
            tls: tls.transpose()?,
            proxy_protocol: upstream.proxy_protocol,
            links: upstream.http2.then(|| Links::new(servers)),
        })
    }

    /// Whether connections may serve other clients afterwards.
    pub(crate) const fn is_reusable(&self) -> bool {
        self.proxy_protocol.is_none()
    }

    /// A connection to a server for a request. `is_fresh`: one that no other request uses yet.
    pub(crate) async fn connect(
        &self,
        server: usize,
        address: &Address,
        ends: Ends,
        is_fresh: bool,
    ) -> io::Result<Wire> {
        let Some(links) = &self.links else {
            return self.open(address, ends).await;
        };
        let stream = match links.take(server).filter(|_| !is_fresh) {
            Some(stream) => stream,
            None => {
                let wire = self.open(address, ends).await?;
                let scheme = if self.tls.is_some() { "https" } else { "http" };
                links.add(server, wire, scheme).await?
            }
        };
        Ok(Wire::Upstream(Box::new(stream)))
    }

    /// Closes shared connections that nobody has used since the last call.
    pub(crate) fn sweep(&self) {
        if let Some(links) = &self.links {
            links.sweep();
        }
    }

    async fn open(&self, address: &Address, ends: Ends) -> io::Result<Wire> {
        let address = match address {
            Address::Ip(address) => *address,
            Address::Unix(path) => {
                let mut stream = UnixStream::connect(path).await?;
                self.introduce(&mut stream, ends).await?;
                return Ok(Wire::unix(stream));
            }
            Address::Name { .. } => return Err(io::Error::other("the name has no address")),
        };
        let mut stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        self.introduce(&mut stream, ends).await?;
        let Some(tls) = &self.tls else {
            return Ok(Wire::Tcp(stream));
        };
        let connector = TlsConnector::from(Arc::clone(&tls.config));
        let stream = connector.connect(tls.name(address.ip()), stream).await?;
        let protocol = stream.get_ref().1.alpn_protocol();
        if self.links.is_some() && protocol != Some(b"h2") {
            return Err(io::Error::other("the server does not speak HTTP/2"));
        }
        Ok(Wire::tls(stream))
    }

    /// Sends the PROXY header, where one is wanted.
    async fn introduce(
        &self,
        stream: &mut (impl AsyncWrite + Unpin),
        ends: Ends,
    ) -> io::Result<()> {
        let Some(version) = self.proxy_protocol else {
            return Ok(());
        };
        let mut header = Vec::with_capacity(128);
        proxy_protocol::append(version, ends, &mut header);
        stream.write_all(&header).await
    }
}

//! What stands between accept(2) and the first request: the TLS handshake, and which server it is
//! for.

use std::{
    future::poll_fn,
    io,
    net::{IpAddr, SocketAddr},
    pin::pin,
    rc::Rc,
    task::Poll,
};

use rustls::server::Acceptor;
use tokio::{io::AsyncReadExt as _, net::TcpStream};
use tokio_rustls::LazyConfigAcceptor;
use tracing::debug;

use super::{
    Shared,
    session::{Session, Spoken},
    timers::Timer,
    wire::Wire,
};
use crate::{
    limits::Admission,
    plan::Site,
    proxy_protocol::{self, Header},
    tls::Facts,
    values::Ends,
};

/// A connection whose first request can be read.
struct Arrived {
    wire: Wire,
    client: IpAddr,
    peer: Option<IpAddr>,
    ends: Ends,
    named: Option<usize>,
    protocol: Protocol,
}

/// What is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Http1,
    Http2,
    /// What the first bytes say.
    Either,
}

/// Serves a connection that came in by the listening address `address` to its end, which is when
/// `admission` ends too.
///
/// A connection that waits for its next request holds what this future holds, so what is large in it
/// and seldom needed is in boxes: handshakes, HTTP/2, and each request while it is under way.
pub(crate) fn serve(
    shared: Rc<Shared>,
    stream: TcpStream,
    client: SocketAddr,
    address: SocketAddr,
    admission: Option<Admission>,
) -> impl Future<Output = ()> {
    shared.count(|totals| {
        totals.accepted += 1;
        totals.active += 1;
    });
    // Not an `async fn`: that would keep each argument twice.
    async move {
        let waker = poll_fn(|context| Poll::Ready(context.waker().clone())).await;
        let timer = shared.timers.timer(waker);
        'served: {
            let Some(arrived) = arrive(&shared, stream, client, address, &timer).await else {
                break 'served;
            };
            let (mut session, protocol) = arrived.into_session(&shared, address, timer);
            if protocol == Protocol::Http2 || session.serve().await == Spoken::Http2 {
                Box::pin(session.into_http2().serve()).await;
            }
        }
        shared.count(|totals| totals.active -= 1);
        if shared.totals.borrow().active == 0 {
            shared.emptied.notify_one();
        }
        drop(admission);
    }
}

impl Arrived {
    fn into_session(
        self,
        shared: &Rc<Shared>,
        address: SocketAddr,
        timer: Timer,
    ) -> (Session, Protocol) {
        let session = Session {
            may_be_http2: self.protocol == Protocol::Either,
            shared: Rc::clone(shared),
            stream: self.wire,
            client: self.client,
            peer: self.peer,
            address,
            named: self.named,
            ends: self.ends,
            timer,
            block: None,
            current: None,
            answered: None,
        };
        (session, self.protocol)
    }
}

/// `None` if the connection cannot be served.
async fn arrive(
    shared: &Shared,
    stream: TcpStream,
    client: SocketAddr,
    address: SocketAddr,
    timer: &Timer,
) -> Option<Arrived> {
    let local = match address.ip().is_unspecified() {
        true => stream.local_addr().unwrap_or(address),
        false => address,
    };
    let generation = shared.generation();
    let site = generation.plan.site(address)?;
    let first = generation.plan.servers.get(site.first)?;
    let limit = first.options(None).limits.client_header;
    let mut stream = stream;
    let source = client.ip();
    let (client, local) = if site.expects_proxy(client.ip()) {
        timer.arm(limit);
        match within(timer, read_header(&mut stream)).await {
            Some(Ok(None)) => (client, local),
            Some(Ok(Some(ends))) => (ends.client, ends.local),
            Some(Err(error)) => {
                debug!(%client, %error, "no PROXY header");
                shared.count(|totals| totals.proxy_failed += 1);
                return None;
            }
            None => {
                shared.count(|totals| totals.client_timeouts += 1);
                return None;
            }
        }
    } else {
        (client, local)
    };
    // Whoever passes a PROXY header on passes others on as well.
    let peer = (client.ip() == source).then_some(source);
    if site.tls(None).is_none() {
        return Some(Arrived {
            wire: Wire::Tcp(stream),
            client: client.ip(),
            peer,
            ends: Ends::new(client, local),
            named: None,
            protocol: if first.http2 {
                Protocol::Either
            } else {
                Protocol::Http1
            },
        });
    }
    timer.arm(limit);
    let ends = (client, local);
    Box::pin(secure(shared, site, stream, ends, peer, timer)).await
}

/// Sets TLS up, until the timer expires.
async fn secure(
    shared: &Shared,
    site: &Site,
    stream: TcpStream,
    (client, local): (SocketAddr, SocketAddr),
    peer: Option<IpAddr>,
    timer: &Timer,
) -> Option<Arrived> {
    let handshake = async {
        let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        let hello = start.client_hello();
        let (server, tls) = site
            .tls(hello.server_name())
            .ok_or_else(|| io::Error::other("no certificate"))?;
        let stream = start
            .into_stream(std::sync::Arc::clone(&tls.config))
            .await?;
        Ok::<_, io::Error>((server, stream))
    };
    match within(timer, handshake).await {
        Some(Ok((server, stream))) => {
            let facts = Facts::of(stream.get_ref().1);
            let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            Some(Arrived {
                ends: Ends::new(client, local).secured(facts),
                client: client.ip(),
                peer,
                named: Some(server),
                protocol: if is_http2 {
                    Protocol::Http2
                } else {
                    Protocol::Http1
                },
                wire: Wire::tls(stream),
            })
        }
        Some(Err(error)) => {
            debug!(%client, %error, "no TLS");
            shared.count(|totals| totals.tls_failed += 1);
            None
        }
        None => {
            shared.count(|totals| totals.client_timeouts += 1);
            None
        }
    }
}

/// Reads a PROXY header, and nothing beyond it. `None`: the connection speaks for itself.
async fn read_header(stream: &mut TcpStream) -> io::Result<Option<proxy_protocol::Ends>> {
    let mut bytes = Vec::new();
    loop {
        match proxy_protocol::parse(&bytes).map_err(io::Error::other)? {
            Header::Complete(_, ends) => return Ok(ends),
            Header::Incomplete(more) => {
                let start = bytes.len();
                bytes.resize(start + more, 0);
                let room = bytes.get_mut(start..).unwrap_or_default();
                stream.read_exact(room).await?;
            }
        }
    }
}

/// What comes of `future`, if that is before the timer expires.
async fn within<T>(timer: &Timer, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Pending if timer.has_expired() => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
        Poll::Ready(done) => Poll::Ready(Some(done)),
    })
    .await
}

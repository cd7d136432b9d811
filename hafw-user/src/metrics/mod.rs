//! Metrics and a status page over HTTP: `/metrics` for Prometheus, `/` for people. Both say what
//! `hafw status` says.

mod cluster;
mod exposition;

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{ALLOW, CONTENT_TYPE},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::encoding::prometheus_text;
use socket2::{Domain, Protocol, Socket, Type};
use thiserror::Error;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc, oneshot},
    time::{sleep, timeout},
};
use tracing::{debug, info};

use crate::control::{self, Answer, Call, Status, render_status};
use exposition::exposition;

/// Connections at a time; further ones wait.
const CONNECTIONS: usize = 32;
/// How long a request's head may take.
const HEAD: Duration = Duration::from_secs(5);
/// How long a connection may take in all.
const LONGEST: Duration = Duration::from_secs(60);

/// The address cannot be listened on.
#[derive(Debug, Error)]
#[error("metrics: cannot listen on {address}: {source}")]
pub struct ListenError {
    address: SocketAddr,
    source: io::Error,
}

/// Listens, and answers from what the node says through `calls`, until the runtime ends. The
/// address need not be on this node yet.
///
/// # Errors
/// See [`ListenError`].
pub fn serve(address: SocketAddr, calls: mpsc::Sender<Call>) -> Result<(), ListenError> {
    let listener = listen(address).map_err(|source| ListenError { address, source })?;
    info!(%address, "metrics");
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    tokio::spawn(async move {
        // Never closed.
        while let Ok(place) = Arc::clone(&room).acquire_owned().await {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let calls = calls.clone();
                    tokio::spawn(async move {
                        if timeout(LONGEST, converse(stream, calls)).await.is_err() {
                            debug!("metrics: a connection took too long");
                        }
                        drop(place);
                    });
                }
                // Out of descriptors, most likely: others will be closed.
                Err(_) => sleep(Duration::from_millis(100)).await,
            }
        }
    });
    Ok(())
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    match address {
        SocketAddr::V4(_) => socket.set_freebind_v4(true)?,
        SocketAddr::V6(_) => socket.set_freebind_v6(true)?,
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(128)?;
    TcpListener::from_std(socket.into())
}

async fn converse(stream: TcpStream, calls: mpsc::Sender<Call>) {
    let service = service_fn(move |request| {
        let calls = calls.clone();
        async move { Ok::<_, Infallible>(answer(&request, &calls).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        debug!(%error, "metrics: a connection");
    }
}

async fn answer(request: &Request<Incoming>, calls: &mpsc::Sender<Call>) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "GET or HEAD\n".to_owned());
        let methods = hyper::header::HeaderValue::from_static("GET, HEAD");
        refused.headers_mut().insert(ALLOW, methods);
        return refused;
    }
    let render: fn(Status) -> String = match request.uri().path() {
        "/" => |status| render_status(&status),
        "/metrics" => exposition,
        _ => return text(StatusCode::NOT_FOUND, "/ or /metrics\n".to_owned()),
    };
    match ask(calls).await {
        Some(status) => text(StatusCode::OK, render(status)),
        None => text(
            StatusCode::SERVICE_UNAVAILABLE,
            "the node is stopping\n".to_owned(),
        ),
    }
}

async fn ask(calls: &mpsc::Sender<Call>) -> Option<Status> {
    let (reply, answer) = oneshot::channel();
    let request = control::Request::Status;
    calls.send(Call { request, reply }).await.ok()?;
    let Answer::Status(status) = answer.await.ok()? else {
        return None;
    };
    Some(*status)
}

/// The page is text too: its type differs from that of the metrics only in a parameter that browsers
/// pass over.
fn text(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let kind = hyper::header::HeaderValue::from_static(prometheus_text::CONTENT_TYPE);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

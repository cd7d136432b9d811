//! The asking end of the control socket.

use std::{
    future::Future,
    io,
    net::IpAddr,
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::net::UnixStream;

use super::{
    Reply, Request, Status,
    fd_stream::{FdStream, StreamError},
};
use crate::{
    listeners::{self, ListenerKey, Listeners},
    model::ProxyConfig,
};

/// How long an answer may take before the proxy counts as hung.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// Covers the start of a process and the compilation of every regex.
const CONFIGURE_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a question got no good answer.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    #[error("no proxy at {path}: {source}")]
    Connect { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Stream(#[from] StreamError),
    #[error("the proxy did not answer within {0:?}")]
    Timeout(Duration),
    #[error("the proxy refused: {0}")]
    Refused(String),
    #[error("the proxy gave an answer to another question")]
    Mismatch,
    #[error("the proxy is stopping")]
    Stopping,
    #[error("{dead} of the proxy's {all} workers do not answer")]
    Workers { dead: usize, all: usize },
}

/// Asks the proxy behind a control socket, with a connection per question. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Control {
    path: PathBuf,
}

impl Control {
    /// For the proxy whose control socket is at `path`, whether or not it runs.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The proxy's state.
    ///
    /// # Errors
    ///
    /// [`ControlError`] if no proxy runs or it does not answer within two seconds.
    pub async fn status(&self) -> Result<Status, ControlError> {
        status(&mut self.connect().await?).await
    }

    /// Whether the proxy serves: it answers in time, all of its workers too, and it isn't stopping.
    ///
    /// # Errors
    ///
    /// [`ControlError`] says what is wrong.
    pub async fn health(&self) -> Result<(), ControlError> {
        let status = self.status().await?;
        if status.stopping {
            return Err(ControlError::Stopping);
        }
        let dead = status.workers.iter().filter(|w| !w.alive).count();
        if dead > 0 {
            let all = status.workers.len();
            return Err(ControlError::Workers { dead, all });
        }
        Ok(())
    }

    /// Sources that have exceeded limits since the last call; returns when there are any, or after
    /// a second.
    ///
    /// # Errors
    ///
    /// [`ControlError`] if no proxy runs or it does not answer within two seconds.
    pub async fn offenders(&self) -> Result<Vec<IpAddr>, ControlError> {
        let mut stream = self.connect().await?;
        let reply = within(ANSWER_TIMEOUT, ask(&mut stream, &Request::Offenders)).await?;
        let Reply::Offenders(offenders) = reply else {
            return Err(unexpected(reply));
        };
        Ok(offenders)
    }

    /// Tells the proxy to stop in order; returns once it accepts no new connection.
    ///
    /// # Errors
    ///
    /// [`ControlError`] if no proxy runs or it does not answer.
    pub async fn stop(&self) -> Result<(), ControlError> {
        stop(&mut self.connect().await?).await
    }

    /// A connection that several questions may go over, and whose end is the proxy's.
    pub(crate) async fn connect(&self) -> Result<FdStream, ControlError> {
        let stream = UnixStream::connect(&self.path).await;
        stream
            .map(FdStream::new)
            .map_err(|source| ControlError::Connect {
                path: self.path.clone(),
                source,
            })
    }
}

pub(crate) async fn status(stream: &mut FdStream) -> Result<Status, ControlError> {
    let reply = within(ANSWER_TIMEOUT, ask(stream, &Request::Status)).await?;
    let Reply::Status(status) = reply else {
        return Err(unexpected(reply));
    };
    Ok(*status)
}

/// The proxy's listening sockets, as descriptors of the same sockets.
pub(crate) async fn take_listeners(stream: &mut FdStream) -> Result<Listeners, ControlError> {
    let answer = async {
        let reply = ask(stream, &Request::Listeners).await?;
        let Reply::Listeners(keys) = reply else {
            return Err(unexpected(reply));
        };
        let fds = stream.receive_fds(keys.len()).await?;
        Ok(listeners::adopt(keys, fds))
    };
    within(ANSWER_TIMEOUT, answer).await
}

/// Gives the proxy a configuration and the sockets to go with it.
pub(crate) async fn configure(
    stream: &mut FdStream,
    config: &ProxyConfig,
    listeners: &Listeners,
) -> Result<(), ControlError> {
    let keys: Vec<ListenerKey> = listeners.keys().copied().collect();
    let request = Request::Configure {
        config: Box::new(config.clone()),
        listeners: keys,
    };
    let answer = async {
        stream.send_line(&request).await?;
        let fds: Vec<_> = listeners.values().map(|l| l.as_fd()).collect();
        stream.send_fds(&fds).await?;
        stream
            .receive_line()
            .await?
            .ok_or(StreamError::Closed.into())
    };
    expect_done(within(CONFIGURE_TIMEOUT, answer).await?)
}

pub(crate) async fn stop(stream: &mut FdStream) -> Result<(), ControlError> {
    expect_done(within(ANSWER_TIMEOUT, ask(stream, &Request::Stop)).await?)
}

fn expect_done(reply: Reply) -> Result<(), ControlError> {
    let Reply::Done { .. } = reply else {
        return Err(unexpected(reply));
    };
    Ok(())
}

async fn ask(stream: &mut FdStream, request: &Request) -> Result<Reply, ControlError> {
    stream.send_line(request).await?;
    let reply = stream.receive_line().await?;
    reply.ok_or(ControlError::Stream(StreamError::Closed))
}

async fn within<T>(
    timeout: Duration,
    answer: impl Future<Output = Result<T, ControlError>>,
) -> Result<T, ControlError> {
    tokio::time::timeout(timeout, answer)
        .await
        .unwrap_or(Err(ControlError::Timeout(timeout)))
}

fn unexpected(reply: Reply) -> ControlError {
    match reply {
        Reply::Refused(why) => ControlError::Refused(why),
        Reply::Status(_) | Reply::Listeners(_) | Reply::Offenders(_) | Reply::Done { .. } => {
            ControlError::Mismatch
        }
    }
}

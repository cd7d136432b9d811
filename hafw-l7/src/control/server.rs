//! The answering end of the control socket.

use std::{
    fs, io,
    os::{
        fd::AsFd as _,
        unix::{fs::FileTypeExt as _, net::UnixListener as StdUnixListener},
    },
    path::{Path, PathBuf},
    rc::Rc,
};

use rustix::fs::Mode;
use tokio::net::UnixListener;
use tracing::{debug, warn};

use super::{
    Reply, Request,
    fd_stream::{FdStream, StreamError},
};
use crate::{listeners, process::Process};

/// The socket cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("control socket {path}: {source}")]
pub struct BindError {
    path: PathBuf,
    source: io::Error,
}

/// Makes the control socket at `path`, for its owner only. It takes the place of a socket that is
/// there in one step, so that a client finds either the old proxy or this one.
///
/// # Errors
///
/// [`BindError`] if the path is too long, not writable, or taken by something that is no socket.
pub(crate) fn bind(path: &Path) -> Result<StdUnixListener, BindError> {
    try_bind(path).map_err(|source| BindError {
        path: path.to_owned(),
        source,
    })
}

fn try_bind(path: &Path) -> io::Result<StdUnixListener> {
    if let Ok(metadata) = fs::symlink_metadata(path)
        && !metadata.file_type().is_socket()
    {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    let mut new = path.to_owned().into_os_string();
    new.push(".new");
    let new = PathBuf::from(new);
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let before = rustix::process::umask(Mode::from_raw_mode(0o177));
    let bound = StdUnixListener::bind(&new);
    rustix::process::umask(before);
    let listener = bound?;
    listener.set_nonblocking(true)?;
    fs::rename(&new, path)?;
    Ok(listener)
}

/// Answers whoever connects, for ever.
pub(crate) async fn serve(listener: UnixListener, process: Rc<Process>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let stream = FdStream::new(stream);
                tokio::task::spawn_local(serve_stream(stream, Rc::clone(&process)));
            }
            Err(error) => {
                warn!(%error, "the control socket");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
}

/// Answers the requests of one client until it closes.
pub(crate) async fn serve_stream(mut stream: FdStream, process: Rc<Process>) {
    loop {
        match answer(&mut stream, &process).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                debug!(%error, "a control connection");
                return;
            }
        }
    }
}

/// Answers one request; false if there was none.
async fn answer(stream: &mut FdStream, process: &Process) -> Result<bool, StreamError> {
    let request = match stream.receive_line::<Request>().await {
        Ok(Some(request)) => request,
        Ok(None) => return Ok(false),
        Err(StreamError::Syntax(error)) => {
            let reply = Reply::Refused(format!("not understood: {error}"));
            stream.send_line(&reply).await?;
            return Ok(true);
        }
        Err(error) => return Err(error),
    };
    let pid = std::process::id();
    match request {
        Request::Status => {
            let status = process.status().await;
            stream.send_line(&Reply::Status(Box::new(status))).await?;
        }
        Request::Listeners => {
            let listeners = process.listeners();
            let keys = listeners.keys().copied().collect();
            stream.send_line(&Reply::Listeners(keys)).await?;
            let fds: Vec<_> = listeners.values().map(|l| l.as_fd()).collect();
            stream.send_fds(&fds).await?;
        }
        Request::Configure { config, listeners } => {
            let fds = stream.receive_fds(listeners.len()).await?;
            let listeners = listeners::adopt(listeners, fds);
            let reply = match process.configure(*config, listeners).await {
                Ok(()) => Reply::Done { pid },
                Err(error) => Reply::Refused(error.to_string()),
            };
            stream.send_line(&reply).await?;
        }
        Request::Offenders => {
            let offenders = process.offenders().await;
            stream.send_line(&Reply::Offenders(offenders)).await?;
        }
        Request::Stop => {
            process.stop().await;
            stream.send_line(&Reply::Done { pid }).await?;
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::os::unix::{fs::PermissionsExt as _, net::UnixStream};

    use super::*;

    #[test]
    fn the_socket_is_for_its_owner_and_replaces_an_old_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("l7.sock");

        let old = bind(&path).unwrap();
        let new = bind(&path).unwrap();
        let client = UnixStream::connect(&path).unwrap();

        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(new.accept().is_ok());
        assert_eq!(old.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(client);
    }

    #[test]
    fn a_file_is_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notes");
        fs::write(&path, "keep me").unwrap();

        let error = bind(&path).unwrap_err();

        assert_eq!(error.source.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "keep me");
    }
}

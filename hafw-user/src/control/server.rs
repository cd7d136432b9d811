//! The server's side of the control socket.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use thiserror::Error;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{UnixListener, UnixStream},
    sync::{mpsc, oneshot},
    time::timeout,
};
use tracing::debug;

use super::{Answer, Request};

/// The longest request, bytes.
const MAX_REQUEST: u64 = 64 * 1024;
/// How long a client may take to ask and to read.
const PATIENCE: Duration = Duration::from_secs(5);

/// A request with the way back.
#[derive(Debug)]
pub struct Call {
    /// What is asked.
    pub request: Request,
    /// Where the answer goes.
    pub reply: oneshot::Sender<Answer>,
}

/// The socket could not be opened.
#[derive(Debug, Error)]
#[error("control socket {}: {source}", .path.display())]
pub struct ServerError {
    path: PathBuf,
    source: io::Error,
}

/// Opens the socket, readable by its owner alone, and answers on it through `calls` until the
/// runtime ends. A socket file that a dead controller left is replaced: the caller holds the lock
/// of `pin_dir`, so no living one uses it.
///
/// # Errors
/// See [`ServerError`].
pub fn serve(path: &Path, calls: mpsc::Sender<Call>) -> Result<(), ServerError> {
    let failed = |source| ServerError {
        path: path.to_path_buf(),
        source,
    };
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed(e)),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
    tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    tokio::spawn(converse(stream, calls.clone()));
                }
                // Out of descriptors, most likely: others will be closed.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    });
    Ok(())
}

async fn converse(stream: UnixStream, calls: mpsc::Sender<Call>) {
    match timeout(PATIENCE, answer(stream, calls)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "control connection"),
        Err(_) => debug!("control connection: too slow"),
    }
}

async fn answer(mut stream: UnixStream, calls: mpsc::Sender<Call>) -> io::Result<()> {
    let (reader, mut writer) = stream.split();
    let mut line = String::new();
    BufReader::new(reader.take(MAX_REQUEST))
        .read_line(&mut line)
        .await?;
    let answer = match serde_json::from_str(&line) {
        Ok(request) => call(request, &calls).await,
        Err(error) => Answer::Error(format!("not a request: {error}")),
    };
    let mut text = serde_json::to_vec(&answer)?;
    text.push(b'\n');
    writer.write_all(&text).await
}

async fn call(request: Request, calls: &mpsc::Sender<Call>) -> Answer {
    let (reply, answer) = oneshot::channel();
    if calls.send(Call { request, reply }).await.is_ok()
        && let Ok(answer) = answer.await
    {
        return answer;
    }
    Answer::Error("the node is stopping".into())
}

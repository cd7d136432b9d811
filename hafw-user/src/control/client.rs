//! The client's side of the control socket.

use std::{
    io::{self, BufRead as _, BufReader, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use thiserror::Error;

use super::{Answer, Request};

/// No answer.
#[derive(Debug, Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error(
        "no node answers on {}: {source} (is `hafw run` running here? --socket PATH names another \
         control socket)", .path.display()
    )]
    Connect {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The conversation broke off.
    #[error("the node did not answer: {0}")]
    Io(#[from] io::Error),
    /// The answer is of another version.
    #[error("the node's answer was not understood: {0}")]
    Answer(#[from] serde_json::Error),
    /// The node's own words.
    #[error("the node says: {0}")]
    Refused(String),
}

/// Asks a node. Waits 10 s at most.
///
/// # Errors
/// See [`ClientError`].
pub fn ask(socket: &Path, request: &Request) -> Result<Answer, ClientError> {
    let mut stream = UnixStream::connect(socket).map_err(|source| ClientError::Connect {
        path: socket.to_path_buf(),
        source,
    })?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut text = serde_json::to_vec(request)?;
    text.push(b'\n');
    stream.write_all(&text)?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    let answer = serde_json::from_str(&line)?;
    if let Answer::Error(message) = answer {
        return Err(ClientError::Refused(message));
    }
    Ok(answer)
}

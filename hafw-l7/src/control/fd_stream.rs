//! JSON lines and file descriptors over one unix stream socket.

use std::{
    collections::VecDeque,
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{io::Interest, net::UnixStream};

/// Descriptors per message; the kernel refuses more than 253 (SCM_MAX_FD).
const BATCH: usize = 64;
/// The longest line taken: a configuration of some ten thousand routes.
const MAX_LINE: usize = 16 * 1024 * 1024;

/// What can go wrong between two ends that speak the same protocol.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    #[error("control socket: {0}")]
    Io(#[from] io::Error),
    #[error("control socket: the other end closed the connection")]
    Closed,
    #[error("control socket: a line of more than {MAX_LINE} bytes")]
    TooLong,
    #[error("control socket: not understood: {0}")]
    Syntax(#[from] serde_json::Error),
}

/// A connected socket with what was received and not used yet.
#[derive(Debug)]
pub struct FdStream {
    stream: UnixStream,
    bytes: Vec<u8>,
    fds: VecDeque<OwnedFd>,
}

impl FdStream {
    #[must_use]
    pub fn new(stream: UnixStream) -> Self {
        Self {
            stream,
            bytes: Vec::new(),
            fds: VecDeque::new(),
        }
    }

    /// The socket itself, e.g. for its peer's credentials.
    #[must_use]
    pub fn get_ref(&self) -> &UnixStream {
        &self.stream
    }

    /// Sends a value as one line.
    pub async fn send_line(&self, value: &impl Serialize) -> Result<(), StreamError> {
        let mut line = serde_json::to_vec(value)?;
        line.push(b'\n');
        let mut rest = line.as_slice();
        while !rest.is_empty() {
            let sent = self.send(rest, &[]).await?;
            rest = rest.get(sent..).unwrap_or_default();
        }
        Ok(())
    }

    /// Sends descriptors, which stay open here too.
    pub async fn send_fds(&self, fds: &[BorrowedFd<'_>]) -> Result<(), StreamError> {
        for batch in fds.chunks(BATCH) {
            // A descriptor needs a byte to travel with; the receiver takes an empty line for one.
            self.send(b"\n", batch).await?;
        }
        Ok(())
    }

    /// The next line; `None` if the other end closed before one began.
    pub async fn receive_line<T: DeserializeOwned>(&mut self) -> Result<Option<T>, StreamError> {
        let mut searched = 0;
        loop {
            if let Some(at) = memchr::memchr(b'\n', self.bytes.get(searched..).unwrap_or_default())
            {
                let line: Vec<u8> = self.bytes.drain(..=searched + at).collect();
                searched = 0;
                if line.len() == 1 {
                    continue;
                }
                return Ok(Some(serde_json::from_slice(&line)?));
            }
            searched = self.bytes.len();
            if searched > MAX_LINE {
                return Err(StreamError::TooLong);
            }
            match self.receive().await {
                Ok(()) => {}
                Err(StreamError::Closed) if self.bytes.is_empty() => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    /// The next `count` descriptors, close-on-exec.
    pub async fn receive_fds(&mut self, count: usize) -> Result<Vec<OwnedFd>, StreamError> {
        while self.fds.len() < count {
            self.receive().await?;
        }
        Ok(self.fds.drain(..count).collect())
    }

    /// Waits until the other end closes or breaks the connection; what it sends is dropped.
    pub async fn closed(&mut self) {
        while self.receive().await.is_ok() {
            self.bytes.clear();
            self.fds.clear();
        }
    }

    async fn send(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
        self.stream
            .async_io(Interest::WRITABLE, || {
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
                let mut control = SendAncillaryBuffer::new(&mut space);
                if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
                    return Err(io::ErrorKind::InvalidInput.into());
                }
                let data = [IoSlice::new(bytes)];
                let flags = SendFlags::NOSIGNAL;
                Ok(sendmsg(self.stream.as_fd(), &data, &mut control, flags)?)
            })
            .await
    }

    async fn receive(&mut self) -> Result<(), StreamError> {
        let Self { stream, bytes, fds } = self;
        let received = stream
            .async_io(Interest::READABLE, || {
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
                let mut control = RecvAncillaryBuffer::new(&mut space);
                let mut data = [0; 16 * 1024];
                let mut slices = [IoSliceMut::new(&mut data)];
                let flags = RecvFlags::CMSG_CLOEXEC;
                let message = recvmsg(stream.as_fd(), &mut slices, &mut control, flags)?;
                for item in control.drain() {
                    if let RecvAncillaryMessage::ScmRights(rights) = item {
                        fds.extend(rights);
                    }
                }
                bytes.extend_from_slice(data.get(..message.bytes).unwrap_or_default());
                Ok(message.bytes)
            })
            .await?;
        if received == 0 {
            return Err(StreamError::Closed);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, io::Read as _, os::fd::AsFd as _};

    use super::*;

    #[tokio::test]
    async fn lines_and_descriptors_arrive_in_order() {
        let (near, far) = UnixStream::pair().unwrap();
        let (near, mut far) = (FdStream::new(near), FdStream::new(far));
        let zero = File::open("/dev/zero").unwrap();
        let count = BATCH * 2 + 5;

        near.send_line(&"before").await.unwrap();
        near.send_fds(&vec![zero.as_fd(); count]).await.unwrap();
        near.send_line(&"after").await.unwrap();

        assert_eq!(
            far.receive_line::<String>().await.unwrap().as_deref(),
            Some("before")
        );
        let fds = far.receive_fds(count).await.unwrap();
        let mut byte = [1];
        File::from(fds.into_iter().next_back().unwrap())
            .read_exact(&mut byte)
            .unwrap();
        assert_eq!(byte, [0]);
        assert_eq!(
            far.receive_line::<String>().await.unwrap().as_deref(),
            Some("after")
        );
    }

    #[tokio::test]
    async fn an_end_that_closes_between_lines_is_no_error() {
        let (near, far) = UnixStream::pair().unwrap();
        let mut near = FdStream::new(near);

        drop(far);

        assert!(near.receive_line::<String>().await.unwrap().is_none());
        assert!(matches!(
            near.receive_fds(1).await,
            Err(StreamError::Closed)
        ));
    }

    #[tokio::test]
    async fn a_line_that_is_not_json_is_an_error() {
        let (near, far) = UnixStream::pair().unwrap();
        let mut near = FdStream::new(near);

        far.try_write(b"status\n").unwrap();

        assert!(matches!(
            near.receive_line::<String>().await,
            Err(StreamError::Syntax(_))
        ));
    }
}

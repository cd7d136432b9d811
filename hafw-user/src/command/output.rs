//! What a command says: read to its end so that the command never waits, and only the end kept.

use std::{
    convert::Infallible,
    future::pending,
    io::{self, PipeWriter},
};

use tokio::{io::AsyncReadExt as _, net::unix::pipe::Receiver};

/// How much is kept, bytes: a message or two.
const KEPT: usize = 400;
/// How much is read after the command's end at most; a pipe holds 64 KiB (pipe(7)).
const REST: usize = 128 * 1024;

/// The reading end of the pipe that is a command's output and error output.
#[derive(Debug)]
pub(super) struct Output {
    /// None at its end.
    pipe: Option<Receiver>,
    tail: Vec<u8>,
}

impl Output {
    pub(super) fn new() -> io::Result<(Self, PipeWriter)> {
        let (reader, writer) = io::pipe()?;
        let output = Self {
            pipe: Some(Receiver::from_owned_fd(reader.into())?),
            tail: Vec::new(),
        };
        Ok((output, writer))
    }

    /// Keeps the pipe empty for as long as this is awaited. Nothing is lost if that ends.
    pub(super) async fn read_forever(&mut self) -> Infallible {
        let mut buffer = [0; 4096];
        while let Some(pipe) = &mut self.pipe {
            match pipe.read(&mut buffer).await {
                Ok(0) | Err(_) => self.pipe = None,
                Ok(length) => self.push(&buffer[..length]),
            }
        }
        pending().await
    }

    /// Reads what is in the pipe now.
    pub(super) fn read_rest(&mut self) {
        let mut buffer = [0; 4096];
        let mut left = REST;
        while let Some(pipe) = &self.pipe
            && left > 0
        {
            match pipe.try_read(&mut buffer) {
                Ok(length @ 1..) => {
                    self.push(&buffer[..length]);
                    left = left.saturating_sub(length);
                }
                Ok(0) | Err(_) => return,
            }
        }
    }

    /// The end of it as one line: its lines joined by ` | `, without control characters.
    pub(super) fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.tail);
        let lines = text
            .lines()
            .map(|line| line.replace(char::is_control, " ").trim().to_owned())
            .filter(|line| !line.is_empty());
        let text = lines.collect::<Vec<_>>().join(" | ");
        if self.tail.len() < KEPT {
            text
        } else {
            format!("…{text}")
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(bytes);
        let surplus = self.tail.len().saturating_sub(KEPT);
        self.tail.drain(..surplus);
    }
}

//! Where a worker's access log goes: lines are gathered and written in one go, each write whole
//! lines, so that workers can share a file.

use std::{
    cell::{Cell, RefCell},
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::{fd::AsFd as _, unix::net::UnixDatagram},
    path::Path,
};

use tracing::warn;

use crate::model::LogTo;

/// Lines are written when there are so many bytes of them, or at the next sweep.
const FLUSH: usize = 64 * 1024;
/// Facility local7, severity info, as nginx logs.
const PRIORITY: u8 = 23 * 8 + 6;

/// An access log of one worker.
#[derive(Debug)]
pub(crate) struct Sink {
    pub(crate) to: LogTo,
    output: RefCell<Output>,
    lines: RefCell<Vec<u8>>,
    /// A failure is told once.
    has_failed: Cell<bool>,
}

#[derive(Debug)]
enum Output {
    File(File),
    Syslog(UnixDatagram),
    /// It could not be opened.
    Nowhere,
}

impl Sink {
    pub(crate) fn new(to: &LogTo) -> Self {
        let sink = Self {
            to: to.clone(),
            output: RefCell::new(Output::Nowhere),
            lines: RefCell::default(),
            has_failed: Cell::new(false),
        };
        sink.open();
        sink
    }

    /// Opens it again, after the file was moved away.
    pub(crate) fn reopen(&self) {
        self.flush();
        self.has_failed.set(false);
        self.open();
    }

    /// Has `append` add a line.
    pub(crate) fn log(&self, append: impl FnOnce(&mut Vec<u8>)) {
        let mut lines = self.lines.borrow_mut();
        append(&mut lines);
        let is_due = lines.len() >= FLUSH || matches!(self.to, LogTo::Syslog(_));
        drop(lines);
        if is_due {
            self.flush();
        }
    }

    /// Writes what has been gathered.
    pub(crate) fn flush(&self) {
        let mut lines = self.lines.borrow_mut();
        if lines.is_empty() {
            return;
        }
        let written =
            match &mut *self.output.borrow_mut() {
                Output::File(file) => file.write_all(&lines),
                Output::Syslog(socket) => lines
                    .split_inclusive(|byte| *byte == b'\n')
                    .try_for_each(|line| {
                        let line = line.strip_suffix(b"\n").unwrap_or(line);
                        let mut message = format!("<{PRIORITY}>hafw-l7: ").into_bytes();
                        message.extend_from_slice(line);
                        socket.send(&message).map(drop)
                    }),
                Output::Nowhere => Ok(()),
            };
        lines.clear();
        if let Err(error) = written
            && !self.has_failed.replace(true)
        {
            warn!(to = ?self.to, %error, "lines of the access log are lost");
        }
    }

    fn open(&self) {
        *self.output.borrow_mut() = match open(&self.to) {
            Ok(output) => output,
            Err(error) => {
                warn!(to = ?self.to, %error, "cannot open the access log");
                Output::Nowhere
            }
        };
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.flush();
    }
}

/// Whether a log can be written to.
pub(crate) fn probe(to: &LogTo) -> io::Result<()> {
    open(to).map(drop)
}

fn open(to: &LogTo) -> io::Result<Output> {
    match to {
        LogTo::File(path) => open_file(path).map(Output::File),
        LogTo::Stdout => {
            let stdout = io::stdout().as_fd().try_clone_to_owned()?;
            Ok(Output::File(File::from(stdout)))
        }
        LogTo::Syslog(path) => {
            let socket = UnixDatagram::unbound()?;
            socket.connect(path)?;
            // A log that is not read must not stop requests.
            socket.set_nonblocking(true)?;
            Ok(Output::Syslog(socket))
        }
    }
}

fn open_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

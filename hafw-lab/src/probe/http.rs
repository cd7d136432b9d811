//! Requests through a proxy: a new connection per interval, whatever became of the ones before.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, SocketAddrV4},
    os::fd::AsFd as _,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use nix::{
    poll::{PollFd, PollFlags, ppoll},
    sys::time::TimeSpec,
};
use socket2::{Domain, Protocol, Socket, Type};

use super::{Report, Sample, Task, clock::Pace};
use crate::{Host, LabError, Station};

/// A request that takes longer failed.
const DEADLINE: Duration = Duration::from_secs(4);

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// Where.
    pub to: SocketAddrV4,
    /// `Host`.
    pub host: String,
    /// The path.
    pub path: String,
}

/// A probe over HTTP. An answer counts if its status is 200; the server's header `X-Server` or the
/// first word of the body tells who it was.
#[derive(Debug)]
pub struct HttpProbe(Task<Report>);

impl HttpProbe {
    /// Sends a request from a host, once per interval.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(host: &Host, request: Request, interval: Duration) -> Result<Self, LabError> {
        Task::start(host, "HTTP probe", move |stop| {
            probe(&request, interval, stop)
        })
        .map(Self)
    }

    /// Ends the probe, after the requests under way have ended.
    ///
    /// # Errors
    /// The probe ran out of sockets.
    pub fn stop(self) -> Result<Report, LabError> {
        self.0.finish("HTTP probe")
    }
}

fn probe(request: &Request, interval: Duration, stop: &AtomicBool) -> io::Result<Report> {
    let text = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
        request.path, request.host
    );
    let (mut samples, mut exchanges, mut pace) = (Vec::new(), Vec::new(), Pace::new(interval));
    let mut end = None;
    while end.is_none() || !exchanges.is_empty() {
        if end.is_none() && stop.load(Ordering::Relaxed) {
            end = Some(Instant::now());
        }
        if end.is_none() && pace.due() <= Instant::now() {
            pace.advance(Instant::now());
            let mut sample = Sample::new(Instant::now());
            let (exchange, connected) = Exchange::open(request.to, samples.len())?;
            match connected {
                Ok(()) => exchanges.push(exchange),
                Err(error) => sample.error = error.to_string(),
            }
            samples.push(sample);
        }
        wait(&exchanges, pace.due())?;
        exchanges.retain_mut(|exchange| exchange.advance(&text, &mut samples));
    }
    Ok(Report {
        samples,
        reordered: 0,
        end: end.unwrap_or_else(Instant::now),
    })
}

/// Waits until an exchange can go on, or until then.
fn wait(exchanges: &[Exchange], until: Instant) -> io::Result<()> {
    let mut ready: Vec<_> = exchanges
        .iter()
        .map(|exchange| {
            let flags = if exchange.sent {
                PollFlags::POLLIN
            } else {
                PollFlags::POLLOUT
            };
            PollFd::new(exchange.socket.as_fd(), flags)
        })
        .collect();
    let left = until
        .saturating_duration_since(Instant::now())
        .max(Duration::from_micros(100));
    ppoll(&mut ready, Some(TimeSpec::from(left)), None)?;
    Ok(())
}

#[derive(Debug)]
struct Exchange {
    index: usize,
    socket: Socket,
    sent: bool,
    answer: Vec<u8>,
}

impl Exchange {
    /// Begins to connect. That there is no route or no neighbour is known at once.
    fn open(to: SocketAddrV4, index: usize) -> io::Result<(Self, io::Result<()>)> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        let connected = match socket.connect(&SocketAddr::from(to).into()) {
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => Ok(()),
            other => other,
        };
        Ok((
            Self {
                index,
                socket,
                sent: false,
                answer: Vec::new(),
            },
            connected,
        ))
    }

    /// Goes on as far as possible. False when it is over, and the sample says how.
    fn advance(&mut self, text: &str, samples: &mut [Sample]) -> bool {
        let sample = &mut samples[self.index];
        match self.step(text) {
            Ok(false) if sample.sent.elapsed() < DEADLINE => return true,
            Ok(false) => sample.error = "no answer".to_owned(),
            Ok(true) => match judge(&self.answer) {
                Ok(by) => {
                    sample.answered = Some(sample.sent.elapsed());
                    sample.copies = 1;
                    sample.by = by;
                }
                Err(status) => sample.error = status,
            },
            Err(error) => sample.error = error.to_string(),
        }
        false
    }

    /// True at the end of the answer.
    fn step(&mut self, text: &str) -> io::Result<bool> {
        if !self.sent {
            match self.socket.write(text.as_bytes()) {
                Ok(length) if length == text.len() => self.sent = true,
                Ok(_) => return Err(io::ErrorKind::WriteZero.into()),
                // Not connected yet: EAGAIN while the handshake is under way.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(self.socket.take_error()?.unwrap_or(error)),
            }
        }
        let mut buffer = [0; 4096];
        loop {
            match self.socket.read(&mut buffer) {
                Ok(0) => return Ok(true),
                Ok(length) => self.answer.extend(&buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
    }
}

/// Who answered, or what was wrong with the answer.
fn judge(answer: &[u8]) -> Result<Option<Station>, String> {
    let text = String::from_utf8_lossy(answer);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return Err("the connection ended before the answer".to_owned());
    };
    let mut lines = head.lines();
    let status = lines
        .next()
        .and_then(|line| line.split(' ').nth(1))
        .unwrap_or_default();
    if status != "200" {
        return Err(format!("status {status}"));
    }
    let header = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("x-server").then(|| value.trim())
    });
    let name = header.or_else(|| body.split_whitespace().next());
    Ok(name.and_then(Station::from_name))
}

//! Requests by a timetable. Each has its time, however late the answers before it are, and how long
//! it takes counts from that time: a proxy that stalls is charged for all that had to wait.

use std::{
    collections::BTreeMap,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{Ipv4Addr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};
use hafw_lab::{Host, interrupted};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    sys::prctl::set_timerslack,
    unistd::Pid,
};

use super::site::{LOAD_CORE, NAME};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// A sleeping thread wakes as late as it must, not as late as it may (50 µs), in ns.
const SLACK: u64 = 1000;

/// A load.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timetable {
    pub(super) port: u16,
    /// Requests per second, over all connections.
    pub(super) rate: u32,
    pub(super) connections: u32,
    pub(super) span: Duration,
}

/// What became of the requests.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// How long the good ones took, in order.
    took: Vec<Duration>,
    /// Those that failed, by the reason.
    pub(super) failures: BTreeMap<String, u64>,
}

impl Outcome {
    pub(super) fn good(&self) -> usize {
        self.took.len()
    }

    pub(super) fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    /// The time within which so many of a thousand requests were answered.
    pub(super) fn per_mille(&self, share: usize) -> Duration {
        let last = self.took.len().saturating_sub(1);
        let at = (self.took.len() * share / 1000).min(last);
        self.took.get(at).copied().unwrap_or_default()
    }

    fn add(&mut self, other: Self) {
        self.took.extend(other.took);
        for (reason, count) in other.failures {
            *self.failures.entry(reason).or_default() += count;
        }
    }
}

impl Timetable {
    /// Sends the requests, and waits for the last answer.
    pub(super) fn run(self, host: &Host) -> Result<Outcome> {
        let start = Instant::now() + Duration::from_millis(100);
        let threads = (0..self.connections).map(|number| {
            let work = move || Ok(self.drive(number, start));
            host.namespace().thread("load", work)
        });
        let threads: Vec<_> = threads.collect::<io::Result<_>>()?;
        let mut outcome = Outcome::default();
        for thread in threads {
            let part = thread.join().map_err(|_| anyhow!("a thread panicked"))?;
            outcome.add(part?.context("load on a proxy")?);
        }
        outcome.took.sort_unstable();
        Ok(outcome)
    }

    /// The requests of one connection, which is made again when it ends.
    fn drive(self, number: u32, start: Instant) -> Result<Outcome> {
        pin()?;
        let mut outcome = Outcome::default();
        let mut connection = None;
        let request = format!("GET /upload/small HTTP/1.1\r\nHost: {NAME}\r\n\r\n");
        for turn in 0.. {
            let place = u64::from(turn * self.connections + number);
            let due = Duration::from_nanos(1_000_000_000 * place / u64::from(self.rate));
            if due >= self.span || interrupted() {
                break;
            }
            let due = start + due;
            thread::sleep(due.saturating_duration_since(Instant::now()));
            match ask(self.port, &mut connection, request.as_bytes()) {
                Ok(()) => outcome.took.push(due.elapsed()),
                Err(error) => {
                    connection = None;
                    *outcome.failures.entry(error.to_string()).or_default() += 1;
                }
            }
        }
        Ok(outcome)
    }
}

/// Connects to a proxy.
pub(super) fn connect(port: u16) -> io::Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    // No more than an answer to a small request: there may be many connections.
    Ok(BufReader::with_capacity(1024, stream))
}

/// One request and its answer.
pub(super) fn ask(
    port: u16,
    connection: &mut Option<BufReader<TcpStream>>,
    request: &[u8],
) -> io::Result<()> {
    let stream = match connection {
        Some(stream) => stream,
        None => connection.insert(connect(port)?),
    };
    stream.get_mut().write_all(request)?;
    let (mut length, mut closes, mut line) = (None, false, String::new());
    let mut is_first = true;
    loop {
        line.clear();
        if stream.read_line(&mut line)? == 0 {
            return Err(io::Error::other("closed before the answer"));
        }
        let text = line.trim_end().to_ascii_lowercase();
        match text.split_once(": ") {
            _ if is_first && !text.starts_with("http/1.1 200") => {
                return Err(io::Error::other(text));
            }
            _ if is_first => is_first = false,
            Some(("content-length", value)) => length = value.parse::<u64>().ok(),
            Some(("connection", "close")) => closes = true,
            Some(_) => {}
            None if text.is_empty() => break,
            None => return Err(io::Error::other(format!("a line without a colon: {text}"))),
        }
    }
    let length = length.ok_or_else(|| io::Error::other("an answer without a length"))?;
    let read = io::copy(&mut stream.by_ref().take(length), &mut io::sink())?;
    if read < length {
        return Err(io::Error::other("closed within the answer"));
    }
    if closes {
        *connection = None;
    }
    Ok(())
}

/// Keeps this thread off the proxy's core, and has it wake in time.
fn pin() -> Result<()> {
    let mut cores = CpuSet::new();
    cores.set(LOAD_CORE.parse()?)?;
    sched_setaffinity(Pid::from_raw(0), &cores)?;
    Ok(set_timerslack(SLACK)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_requests_was_answered_within_its_time() {
        let outcome = Outcome {
            took: (1..=1000).map(Duration::from_micros).collect(),
            ..Outcome::default()
        };

        assert_eq!(outcome.per_mille(990), Duration::from_micros(991));
        assert_eq!(outcome.per_mille(1000), Duration::from_micros(1000));
        assert_eq!(Outcome::default().per_mille(990), Duration::ZERO);
    }
}

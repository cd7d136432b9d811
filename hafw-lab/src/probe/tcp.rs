//! Connections that live through a failover: a message on each per interval, to an echo.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddrV4, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use super::{Report, Sample, Task};
use crate::{Host, LabError, Station, peers::MESSAGE};

/// A connection that is silent for longer is given up.
const GIVE_UP: Duration = Duration::from_secs(10);

/// A probe over TCP: long-lived connections, opened at the start.
#[derive(Debug)]
pub struct TcpProbe(Task<Vec<Report>>);

impl TcpProbe {
    /// Opens connections from a host and sends a message on each per interval.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(
        host: &Host,
        to: SocketAddrV4,
        connections: usize,
        interval: Duration,
    ) -> Result<Self, LabError> {
        let work = move |stop: &AtomicBool| {
            let streams: Vec<_> = (0..connections)
                .map(|_| TcpStream::connect(to))
                .collect::<Result<_, _>>()?;
            // A socket stays in the namespace in which it was opened, whoever uses it.
            thread::scope(|scope| {
                let talks: Vec<_> = streams
                    .into_iter()
                    .map(|stream| scope.spawn(move || talk(stream, interval, stop)))
                    .collect();
                let join = |talk: thread::ScopedJoinHandle<'_, _>| {
                    talk.join()
                        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                };
                talks.into_iter().map(join).collect()
            })
        };
        Task::start(host, "TCP probe", work).map(Self)
    }

    /// Ends the probe: a report for each connection, whose last sample has an error if the
    /// connection broke.
    ///
    /// # Errors
    /// A connection could not be opened.
    pub fn stop(self) -> Result<Vec<Report>, LabError> {
        self.0.finish("TCP probe")
    }
}

/// Sends, waits for the answer, sends the next: an answer is late by as long as the path was dark.
fn talk(mut stream: TcpStream, interval: Duration, stop: &AtomicBool) -> io::Result<Report> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(GIVE_UP))?;
    let mut samples = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let mut sample = Sample::new(Instant::now());
        let number = samples.len() as u64;
        let answer = exchange(&mut stream, number);
        let broken = answer.is_err();
        match answer {
            Ok(by) => {
                sample.answered = Some(sample.sent.elapsed());
                sample.copies = 1;
                sample.by = by;
            }
            Err(error) => sample.error = error.to_string(),
        }
        let next = sample.sent + interval;
        samples.push(sample);
        if broken {
            break;
        }
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    Ok(Report {
        samples,
        reordered: 0,
        end: Instant::now(),
    })
}

/// Sends a message and returns who answered it.
pub(super) fn exchange(stream: &mut TcpStream, number: u64) -> io::Result<Option<Station>> {
    send(stream, number)?;
    receive(stream, number)
}

pub(super) fn send(stream: &mut TcpStream, number: u64) -> io::Result<()> {
    stream.write_all(&number.to_be_bytes())
}

/// Who answered the message.
pub(super) fn receive(stream: &mut TcpStream, number: u64) -> io::Result<Option<Station>> {
    let mut answer = [0; MESSAGE + 1];
    stream.read_exact(&mut answer)?;
    if answer[..MESSAGE] != number.to_be_bytes() {
        return Err(io::Error::other("the answer is not what was sent"));
    }
    Ok(Station::from_number(answer[MESSAGE]))
}

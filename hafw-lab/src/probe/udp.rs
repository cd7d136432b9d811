//! A datagram each millisecond to an echo behind a VIP.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    os::fd::AsRawFd as _,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use nix::sys::socket::{
    setsockopt,
    sockopt::{RcvBufForce, ReceiveTimestampns},
};

use super::{Report, Sample, Task, clock::Clock, clock::Pace};
use crate::{Host, LabError, Station};

/// Room for what arrives in seconds, in bytes.
pub(crate) const RECEIVE_BUFFER: usize = 8 << 20;

/// How long answers are waited for after the last probe.
const STRAGGLERS: Duration = Duration::from_millis(300);

/// A probe over UDP: one flow, through the host's own neighbour table.
#[derive(Debug)]
pub struct UdpProbe(Task<Report>);

impl UdpProbe {
    /// Probes an address from a host, once per interval.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(
        host: &Host,
        to: impl Into<SocketAddr>,
        interval: Duration,
    ) -> Result<Self, LabError> {
        let to = to.into();
        Task::start(host, "UDP probe", move |stop| probe(to, interval, stop)).map(Self)
    }

    /// Ends the probe.
    ///
    /// # Errors
    /// The probe had no socket.
    pub fn stop(self) -> Result<Report, LabError> {
        self.0.finish("UDP probe")
    }
}

fn probe(to: SocketAddr, interval: Duration, stop: &AtomicBool) -> io::Result<Report> {
    let any: IpAddr = match to {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(to)?;
    setsockopt(&socket, ReceiveTimestampns, &true)?;
    // A thread that does not get to run for a while must not lose what has arrived.
    setsockopt(&socket, RcvBufForce, &RECEIVE_BUFFER)?;
    let mut answers = Answers {
        socket,
        clock: Clock::new(),
        samples: Vec::new(),
        last: 0,
        reordered: 0,
    };
    let mut pace = Pace::new(interval);
    while !stop.load(Ordering::Relaxed) {
        pace.wait();
        answers.collect();
        answers.send();
    }
    let end = Instant::now();
    while end.elapsed() < STRAGGLERS && answers.open() {
        std::thread::sleep(interval);
        answers.collect();
    }
    Ok(Report {
        samples: answers.samples,
        reordered: answers.reordered,
        end,
    })
}

struct Answers {
    socket: UdpSocket,
    clock: Clock,
    samples: Vec<Sample>,
    last: usize,
    reordered: usize,
}

impl Answers {
    fn send(&mut self) {
        let number = self.samples.len() as u64;
        let mut sample = Sample::new(Instant::now());
        if let Err(error) = self.socket.send(&number.to_be_bytes()) {
            // No neighbour, or the answer to an earlier probe was an ICMP error.
            sample.error = error.kind().to_string();
        }
        self.samples.push(sample);
    }

    /// Takes what has arrived.
    fn collect(&mut self) {
        let mut buffer = [0; 64];
        loop {
            match self.clock.receive(self.socket.as_raw_fd(), &mut buffer) {
                Ok(None) => return,
                Ok(Some((length, at))) => self.answer(&buffer[..length], at),
                // An ICMP error; the next call finds what comes after it.
                Err(error) => {
                    if let Some(sample) = self.samples.last_mut() {
                        sample.error = error.kind().to_string();
                    }
                }
            }
        }
    }

    fn answer(&mut self, answer: &[u8], at: Instant) {
        let Some((&number, tag)) = answer.split_first_chunk::<8>() else {
            return;
        };
        let Ok(index) = usize::try_from(u64::from_be_bytes(number)) else {
            return;
        };
        let Some(sample) = self.samples.get_mut(index) else {
            return;
        };
        sample.copies += 1;
        if sample.answered.is_none() {
            sample.answered = Some(at.saturating_duration_since(sample.sent));
            sample.by = tag.first().copied().and_then(Station::from_number);
        }
        if index < self.last {
            self.reordered += 1;
        }
        self.last = self.last.max(index);
    }

    fn open(&self) -> bool {
        self.samples
            .iter()
            .rev()
            .take(1000)
            .any(|sample| sample.answered.is_none())
    }
}

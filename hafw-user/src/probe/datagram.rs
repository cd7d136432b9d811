//! Datagrams: a question and what comes back; over UDP, DNS and ICMP.
//!
//! The sockets are connected, so that they get answers of the one asked alone, and the ICMP errors
//! that its host or a router on the way sends in their stead.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use hafw_lb::Outcome;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{net::UdpSocket, time::Instant};

use super::{Limit, Report};

/// The longest answer that is looked at.
const ANSWER_LIMIT: usize = 4096;

/// For so long a refusal holds where silence is well: a host tells of a closed port about once a
/// second, however often it is asked (icmp_ratelimit), and the errors of all its ports count.
const REFUSED_FOR: Duration = Duration::from_secs(10);

/// A datagram that is sent, and what an answer must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UdpProbe {
    address: SocketAddr,
    send: Vec<u8>,
    expect: Option<Vec<u8>>,
    refused: LastRefusal,
}

/// When the port was last refused, by whichever clone of the probe asked.
#[derive(Clone, Debug, Default)]
struct LastRefusal(Arc<Mutex<Option<Instant>>>);

/// What was found is no part of what is looked for.
impl PartialEq for LastRefusal {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl Eq for LastRefusal {}

impl LastRefusal {
    fn set(&self, at: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = at;
    }

    fn holds(&self) -> bool {
        let at = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        at.is_some_and(|at| at.elapsed() < REFUSED_FOR)
    }
}

impl UdpProbe {
    /// `send`: what is sent; it may be empty. `expect`: what an answer must hold; None: silence is
    /// well, and only a refusal (ICMP) is not.
    #[must_use]
    pub fn new(address: SocketAddr, send: Vec<u8>, expect: Option<Vec<u8>>) -> Self {
        Self {
            address,
            send,
            expect,
            refused: LastRefusal::default(),
        }
    }

    pub(super) async fn run(&self, limit: Limit) -> Report {
        let asked = async {
            let socket = Datagrams::udp(self.address).await?;
            socket.send(&self.send).await?;
            socket.receive(limit).await
        };
        let answer: Result<Vec<u8>, Report> = asked.await;
        match &answer {
            Ok(_) => self.refused.set(None),
            Err(report) if report.outcome == Outcome::Refused => {
                self.refused.set(Some(Instant::now()));
            }
            Err(_) => {}
        }
        match (answer, &self.expect) {
            (Ok(answer), None) => Report::ok(format!("{} bytes answered", answer.len())),
            (Ok(answer), Some(expect)) if holds(&answer, expect) => {
                Report::ok("the expected answer")
            }
            (Ok(answer), Some(_)) => {
                Report::bad(format!("another answer than expected: {}", shown(&answer)))
            }
            (Err(report), None) if report.outcome == Outcome::TimedOut && report.is_silence() => {
                if self.refused.holds() {
                    refusal("refused some seconds ago, and silent since")
                } else {
                    Report::ok("no answer, and no refusal")
                }
            }
            (Err(report), _) => report,
        }
    }
}

/// A name server is asked for the addresses (A) of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsProbe {
    address: SocketAddr,
    /// The question as it stands in a message (RFC 1035 §4.1.2).
    question: Vec<u8>,
}

impl DnsProbe {
    /// None: the name is none, see [`is_dns_name`].
    #[must_use]
    pub fn new(address: SocketAddr, name: &str) -> Option<Self> {
        if !is_dns_name(name) {
            return None;
        }
        let labels = name.trim_end_matches('.').split('.');
        let mut question = Vec::new();
        for label in labels.filter(|label| !label.is_empty()) {
            // At most 63: checked.
            question.push(label.len() as u8);
            question.extend(label.as_bytes());
        }
        // The root; type A, class IN.
        question.extend([0, 0, 1, 0, 1]);
        Some(Self { address, question })
    }

    pub(super) async fn run(&self, limit: Limit) -> Report {
        let asked = async {
            let socket = Datagrams::udp(self.address).await?;
            let id = socket.local_port()?.to_be_bytes();
            // Recursion desired; one question.
            let header = [id[0], id[1], 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
            socket.send(&[&header[..], &self.question].concat()).await?;
            let answer = socket.receive(limit).await?;
            Ok(self.judge(id, &answer))
        };
        asked.await.unwrap_or_else(|report| report)
    }

    fn judge(&self, id: [u8; 2], answer: &[u8]) -> Report {
        const NAMES: [&str; 6] = [
            "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED",
        ];
        let Some((header, rest)) = answer.split_first_chunk::<12>() else {
            return Report::bad(format!("not a DNS answer: {}", shown(answer)));
        };
        let is_answer = header[2] & 0x80 != 0 && header[..2] == id && header[4..6] == [0, 1];
        if !is_answer
            || !rest
                .to_ascii_lowercase()
                .starts_with(&self.question.to_ascii_lowercase())
        {
            return Report::bad("a DNS message that answers another question");
        }
        let code = usize::from(header[3] & 0xf);
        let name = NAMES
            .get(code)
            .map_or_else(|| format!("code {code}"), |&name| name.into());
        match code {
            0 => Report::ok(format!("DNS {name}")),
            _ => Report::bad(format!("DNS {name}")),
        }
    }
}

/// Whether a text can be asked for: labels of 1 to 63 visible characters of ASCII, at most 253 in
/// all; "." is the root.
#[must_use]
pub fn is_dns_name(name: &str) -> bool {
    let inner = name.strip_suffix('.').unwrap_or(name);
    let label = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(|byte| byte.is_ascii_graphic())
    };
    name == "." || (inner.len() <= 253 && inner.split('.').all(label))
}

/// An echo request (ping) to an address.
pub(super) async fn ping(address: IpAddr, limit: Limit) -> Report {
    let asked = async {
        let socket = Datagrams::icmp(address).await?;
        // The kernel fills in the checksum over IPv6, where it covers the addresses.
        let request_type = if address.is_ipv4() { 8 } else { 128 };
        let id = std::process::id().to_be_bytes();
        let mut request = [
            request_type,
            0,
            0,
            0,
            id[2],
            id[3],
            0,
            1,
            b'h',
            b'a',
            b'f',
            b'w',
        ];
        if address.is_ipv4() {
            let checksum = checksum(&request);
            request[2..4].copy_from_slice(&checksum);
        }
        socket.send(&request).await?;
        loop {
            let answer = socket.receive(limit).await?;
            if is_echo_reply(address, &answer, &request) {
                return Ok(Report::ok("it answers echo requests"));
            }
        }
    };
    asked.await.unwrap_or_else(|report: Report| report)
}

/// Over IPv4 a raw socket gives the IP header too.
fn is_echo_reply(address: IpAddr, packet: &[u8], request: &[u8; 12]) -> bool {
    let (reply_type, skip) = match address {
        IpAddr::V4(_) => (
            0,
            packet
                .first()
                .map_or(0, |first| usize::from(first & 0xf) * 4),
        ),
        IpAddr::V6(_) => (129, 0),
    };
    let message = packet.get(skip..).unwrap_or_default();
    message.first() == Some(&reply_type) && message.get(4..12) == Some(&request[4..])
}

/// RFC 1071, of an even number of bytes.
fn checksum(bytes: &[u8]) -> [u8; 2] {
    let (words, _) = bytes.as_chunks::<2>();
    let sum: u32 = words
        .iter()
        .map(|word| u32::from(u16::from_be_bytes(*word)))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    (!(folded as u16)).to_be_bytes()
}

/// A connected socket.
struct Datagrams(UdpSocket);

impl Datagrams {
    async fn udp(address: SocketAddr) -> Result<Self, Report> {
        Self::open(address, Type::DGRAM, Protocol::UDP)
    }

    async fn icmp(address: IpAddr) -> Result<Self, Report> {
        let protocol = if address.is_ipv4() {
            Protocol::ICMPV4
        } else {
            Protocol::ICMPV6
        };
        Self::open(SocketAddr::new(address, 0), Type::RAW, protocol)
    }

    fn open(address: SocketAddr, kind: Type, protocol: Protocol) -> Result<Self, Report> {
        let open = || {
            let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
            socket.set_nonblocking(true)?;
            socket.connect(&address.into())?;
            // Raw sockets send and receive by the same calls.
            UdpSocket::from_std(socket.into())
        };
        open().map(Self).map_err(|error| unsent(&error))
    }

    fn local_port(&self) -> Result<u16, Report> {
        self.0
            .local_addr()
            .map(|local| local.port())
            .map_err(|error| unsent(&error))
    }

    async fn send(&self, bytes: &[u8]) -> Result<(), Report> {
        self.0
            .send(bytes)
            .await
            .map(drop)
            .map_err(|error| refused_or(&error, unsent))
    }

    async fn receive(&self, limit: Limit) -> Result<Vec<u8>, Report> {
        let mut answer = vec![0; ANSWER_LIMIT];
        let received = limit.wait("answer", self.0.recv(&mut answer)).await?;
        let length = received.map_err(|error| refused_or(&error, unanswered))?;
        answer.truncate(length);
        Ok(answer)
    }
}

fn refused_or(error: &io::Error, other: fn(&io::Error) -> Report) -> Report {
    if error.kind() == io::ErrorKind::ConnectionRefused {
        return refusal("refused: its host says that the port is unreachable");
    }
    other(error)
}

fn refusal(reason: &str) -> Report {
    Report {
        outcome: Outcome::Refused,
        reason: reason.into(),
        number: None,
    }
}

fn unsent(error: &io::Error) -> Report {
    silent(format!("cannot send: {error}"))
}

/// A router's or the kernel's word, such as "no route to host", says nothing of the other side.
fn unanswered(error: &io::Error) -> Report {
    silent(format!("no answer: {error}"))
}

fn silent(reason: String) -> Report {
    Report {
        outcome: Outcome::TimedOut,
        reason,
        number: None,
    }
}

fn holds(answer: &[u8], expect: &[u8]) -> bool {
    expect.is_empty() || answer.windows(expect.len()).any(|part| part == expect)
}

/// The first bytes, as a person can read them.
fn shown(bytes: &[u8]) -> String {
    let more = if bytes.len() > 32 { "…" } else { "" };
    format!("\"{}\"{more}", bytes[..bytes.len().min(32)].escape_ascii())
}

#[cfg(test)]
mod tests;

//! Who answers for the VIPs: asks every 2 ms and listens to all that is said about them.

use std::{
    fs::{self, DirEntry},
    io, mem,
    net::{IpAddr, Ipv4Addr},
    os::fd::{AsFd as _, AsRawFd as _},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use nix::{
    poll::{PollFd, PollFlags, ppoll},
    sys::{
        socket::{setsockopt, sockopt::ReceiveTimestampns},
        time::TimeSpec,
    },
};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::{Task, clock::Clock, clock::Pace, discovery};
use crate::{Host, LabError, Station, shell, wait_until};

/// How often it asks who has each VIP.
const INTERVAL: Duration = Duration::from_millis(2);
/// A host that has not answered for so long has stopped answering.
const SILENCE: Duration = Duration::from_millis(20);

/// Of the thread.
const NAME: &str = "observer";

const ETH_P_ALL: u16 = 0x0003;

/// What was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// An answer to the observer's question.
    Reply {
        /// For this VIP.
        vip: IpAddr,
        /// In the name of this MAC.
        mac: [u8; 6],
    },
    /// Gratuitous ARP, or an unsolicited Neighbor Advertisement.
    Announcement {
        /// Of this VIP.
        vip: IpAddr,
        /// In the name of this MAC.
        mac: [u8; 6],
    },
    /// A VRRP advert.
    Advert {
        /// The frame's source.
        mac: [u8; 6],
        /// The packet's source.
        source: IpAddr,
        /// 2 or 3.
        version: u8,
        /// VRID.
        vrid: u8,
        /// Priority.
        priority: u8,
    },
}

/// Something heard, and when it arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: Instant,
    /// What.
    pub seen: Seen,
}

/// A span in which one MAC answered for a VIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tenure {
    /// Who.
    pub mac: [u8; 6],
    /// Its first answer.
    pub from: Instant,
    /// Its last answer.
    pub to: Instant,
}

/// All that an observer heard.
#[derive(Clone, Debug)]
pub struct Observation {
    /// Events, in the order of their arrival.
    pub events: Vec<Event>,
}

/// A running observer.
#[derive(Debug)]
pub struct Observer(Task<Observation>);

impl Observer {
    /// Starts to ask for the VIPs, from a host and in its name.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start<A: Copy + Into<IpAddr>>(host: &Host, vips: &[A]) -> Result<Self, LabError> {
        let vips: Vec<IpAddr> = vips.iter().map(|vip| (*vip).into()).collect();
        let station = host.station();
        Task::start(host, NAME, move |stop| observe(station, &vips, stop)).map(Self)
    }

    /// Lets it run before all ordinary processes (`chrt`), on a machine that is kept busy.
    ///
    /// # Errors
    /// The kernel does not permit it, or the thread has ended.
    pub fn take_precedence(&self) -> Result<(), LabError> {
        let thread = wait_until(Duration::from_secs(2), "the observer's thread", || {
            thread_named(NAME).ok_or_else(String::new)
        })?;
        shell::run("chrt", &["--rr", "--pid", "20", &thread]).map(drop)
    }

    /// Ends the observation.
    ///
    /// # Errors
    /// The observer had no socket.
    pub fn stop(self) -> Result<Observation, LabError> {
        self.0.finish(NAME)
    }
}

impl Observation {
    /// Who answered for a VIP, when: a tenure each time a MAC began and ceased to.
    #[must_use]
    pub fn tenures(&self, vip: impl Into<IpAddr>) -> Vec<Tenure> {
        let mut tenures: Vec<Tenure> = Vec::new();
        for (at, mac) in self.replies(vip) {
            let current = tenures.iter_mut().rev().find(|tenure| tenure.mac == mac);
            match current {
                Some(tenure) if at.saturating_duration_since(tenure.to) <= SILENCE => {
                    tenure.to = at
                }
                _ => tenures.push(Tenure {
                    mac,
                    from: at,
                    to: at,
                }),
            }
        }
        tenures
    }

    /// For how long more than one MAC answered for a VIP. Less than the 2 ms between two questions
    /// is not seen.
    #[must_use]
    pub fn two_owners(&self, vip: impl Into<IpAddr>) -> Duration {
        let tenures = self.tenures(vip);
        let mut total = Duration::ZERO;
        for (index, one) in tenures.iter().enumerate() {
            for other in tenures[index + 1..]
                .iter()
                .filter(|other| other.mac != one.mac)
            {
                let (from, to) = (one.from.max(other.from), one.to.min(other.to));
                total += to.saturating_duration_since(from);
            }
        }
        total
    }

    /// Answers for a VIP by one MAC in the middle of another's tenure.
    #[must_use]
    pub fn strays(&self, vip: impl Into<IpAddr>) -> usize {
        let vip = vip.into();
        let tenures = self.tenures(vip);
        self.replies(vip)
            .filter(|(at, mac)| {
                let inside = |t: &Tenure| t.mac != *mac && (t.from..=t.to).contains(at);
                tenures.iter().any(inside)
            })
            .count()
    }

    /// The most announcements of a VIP by one MAC in any second.
    #[must_use]
    pub fn announcements_a_second(&self, vip: impl Into<IpAddr>) -> usize {
        let vip = vip.into();
        let announced = |event: &Event| match event.seen {
            Seen::Announcement { vip: of, mac } if of == vip => Some((mac, event.at)),
            Seen::Announcement { .. } | Seen::Reply { .. } | Seen::Advert { .. } => None,
        };
        let all: Vec<_> = self.events.iter().filter_map(announced).collect();
        let within = |(index, (mac, from)): (usize, &([u8; 6], Instant))| {
            let later = all[index..].iter();
            later
                .take_while(|(_, at)| at.saturating_duration_since(*from) < Duration::from_secs(1))
                .filter(|(by, _)| by == mac)
                .count()
        };
        all.iter().enumerate().map(within).max().unwrap_or(0)
    }

    /// How often the answer came from another MAC than the one before.
    #[must_use]
    pub fn flips(&self, vip: impl Into<IpAddr>) -> usize {
        let macs: Vec<_> = self.replies(vip).map(|(_, mac)| mac).collect();
        macs.windows(2).filter(|pair| pair[0] != pair[1]).count()
    }

    /// Answers for a VIP in the name of a host's MAC.
    #[must_use]
    pub fn replies_by(&self, vip: impl Into<IpAddr>, station: Station) -> usize {
        self.replies(vip)
            .filter(|(_, mac)| *mac == station.mac())
            .count()
    }

    /// Announcements of a VIP, gratuitous ARP or Neighbor Advertisements, in the name of a host's MAC.
    #[must_use]
    pub fn announcements_by(&self, vip: impl Into<IpAddr>, station: Station) -> usize {
        let wanted = Seen::Announcement {
            vip: vip.into(),
            mac: station.mac(),
        };
        self.events
            .iter()
            .filter(|event| event.seen == wanted)
            .count()
    }

    /// The longest span without an answer for a VIP, between two answers.
    #[must_use]
    pub fn longest_silence(&self, vip: impl Into<IpAddr>) -> Duration {
        let times: Vec<_> = self.replies(vip).map(|(at, _)| at).collect();
        times
            .windows(2)
            .map(|pair| pair[1] - pair[0])
            .max()
            .unwrap_or_default()
    }

    /// What was heard within a span of the observation.
    #[must_use]
    pub fn within(&self, from: Instant, to: Instant) -> Self {
        let events = self
            .events
            .iter()
            .filter(|event| (from..to).contains(&event.at));
        Self {
            events: events.copied().collect(),
        }
    }

    fn replies(&self, vip: impl Into<IpAddr>) -> impl Iterator<Item = (Instant, [u8; 6])> {
        let vip = vip.into();
        self.events
            .iter()
            .filter_map(move |event| match event.seen {
                Seen::Reply { vip: of, mac } if of == vip => Some((event.at, mac)),
                Seen::Reply { .. } | Seen::Announcement { .. } | Seen::Advert { .. } => None,
            })
    }
}

fn observe(station: Station, vips: &[IpAddr], stop: &AtomicBool) -> io::Result<Observation> {
    let socket = packet_socket("eth0")?;
    setsockopt(&socket, ReceiveTimestampns, &true)?;
    let _ = socket.set_recv_buffer_size(4 << 20);
    let questions: Vec<_> = vips
        .iter()
        .map(|&vip| match vip {
            IpAddr::V4(vip) => who_has(station, vip),
            IpAddr::V6(vip) => discovery::solicitation(station, vip),
        })
        .collect();
    let (clock, mut pace, mut events) = (Clock::new(), Pace::new(INTERVAL), Vec::new());
    let mut buffer = [0; 2048];
    while !stop.load(Ordering::Relaxed) {
        let left = pace.due().saturating_duration_since(Instant::now());
        if left.is_zero() {
            for question in &questions {
                // The link may be down; what is not answered tells.
                let _ = socket.send(question);
            }
            pace.advance(Instant::now());
            continue;
        }
        let mut ready = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
        ppoll(&mut ready, Some(TimeSpec::from(left)), None)?;
        while let Ok(Some((length, at))) = clock.receive(socket.as_raw_fd(), &mut buffer) {
            let seen = parse(&buffer[..length], station, vips);
            events.extend(seen.map(|seen| Event { at, seen }));
        }
    }
    // Frames of several CPUs may be queued out of order.
    events.sort_by_key(|event| event.at);
    Ok(Observation { events })
}

/// The number of a thread of this process.
fn thread_named(name: &str) -> Option<String> {
    let threads = fs::read_dir("/proc/self/task").ok()?.flatten();
    let named = |entry: &DirEntry| {
        let found = fs::read_to_string(entry.path().join("comm"));
        found.is_ok_and(|found| found.trim_end() == name)
    };
    let mut threads = threads.filter(named);
    threads.next()?.file_name().into_string().ok()
}

fn packet_socket(interface: &str) -> io::Result<Socket> {
    let index = nix::net::if_::if_nametoindex(interface)?;
    let protocol = ETH_P_ALL.to_be();
    let socket = Socket::new(
        Domain::PACKET,
        Type::RAW,
        Some(Protocol::from(i32::from(protocol))),
    )?;
    // SAFETY: a sockaddr_ll of zeroes is a valid value.
    let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = protocol;
    address.sll_ifindex = index.cast_signed();
    // SAFETY: the closure writes one whole sockaddr_ll, which fits, and sets its length.
    let ((), address) = unsafe {
        SockAddr::try_init(|storage, length| {
            storage.cast::<libc::sockaddr_ll>().write(address);
            *length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
            Ok(())
        })?
    };
    socket.bind(&address)?;
    Ok(socket)
}

/// An ARP request (RFC 826), broadcast, from a host.
fn who_has(from: Station, vip: Ipv4Addr) -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend(from.mac());
    frame.extend([0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1]);
    frame.extend(from.mac());
    frame.extend(from.address().octets());
    frame.extend([0; 6]);
    frame.extend(vip.octets());
    frame
}

fn parse(frame: &[u8], own: Station, vips: &[IpAddr]) -> Option<Seen> {
    let mac: [u8; 6] = frame.get(6..12)?.try_into().ok()?;
    if mac == own.mac() {
        return None;
    }
    match frame.get(12..14)? {
        [0x08, 0x06] => parse_arp(frame.get(14..42)?, own, vips),
        [0x08, 0x00] => parse_advert(mac, frame.get(14..)?),
        [0x86, 0xdd] => discovery::parse(mac, frame.get(14..)?, own, vips),
        _ => None,
    }
}

fn parse_arp(arp: &[u8], own: Station, vips: &[IpAddr]) -> Option<Seen> {
    let address = |at: usize| {
        Some(Ipv4Addr::from(
            <[u8; 4]>::try_from(arp.get(at..at + 4)?).ok()?,
        ))
    };
    let (reply, mac) = (arp.get(6..8)? == [0, 2], arp.get(8..14)?.try_into().ok()?);
    let (sender, target) = (address(14)?, address(24)?);
    let vip = IpAddr::V4(sender);
    if !vips.contains(&vip) {
        return None;
    }
    match (reply, target) {
        (true, target) if target == own.address() => Some(Seen::Reply { vip, mac }),
        (_, target) if target == sender => Some(Seen::Announcement { vip, mac }),
        _ => None,
    }
}

fn parse_advert(mac: [u8; 6], packet: &[u8]) -> Option<Seen> {
    let (&first, &protocol) = (packet.first()?, packet.get(9)?);
    if protocol != 112 {
        return None;
    }
    let source = Ipv4Addr::from(<[u8; 4]>::try_from(packet.get(12..16)?).ok()?);
    let advert = packet.get(usize::from(first & 0x0f) * 4..)?;
    let [kind, vrid, priority] = advert.get(..3)?.try_into().ok()?;
    Some(Seen::Advert {
        mac,
        source: source.into(),
        version: kind >> 4,
        vrid,
        priority,
    })
}

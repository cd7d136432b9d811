//! Echo servers, as threads of this process in a host's namespace.

use std::{
    io::{self, Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use nix::sys::socket::{setsockopt, sockopt::RcvBufForce};
use socket2::{Domain, Protocol, Socket, Type};

use crate::{Host, LabError, probe::RECEIVE_BUFFER};

/// Where the probes expect an echo.
pub const ECHO_PORT: u16 = 9000;

/// Length of a message on a connection; the answer to it is one byte longer.
pub(crate) const MESSAGE: usize = 8;

/// How soon a thread notices that it shall end.
const IDLE: Duration = Duration::from_millis(50);

/// Answers every datagram, and every eight bytes of a connection, with what was received and the
/// last byte of the host's own address, which tells who answered.
#[derive(Debug)]
pub struct Echo {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<io::Result<()>>>,
}

impl Echo {
    /// Serves an address over UDP and TCP. The host need not have the address yet.
    ///
    /// # Errors
    /// The port is taken.
    pub fn start(host: &Host, address: impl Into<IpAddr>, port: u16) -> Result<Self, LabError> {
        let at = SocketAddr::new(address.into(), port);
        let what = format!("serve {at} on {}", host.station());
        let open = || Ok::<_, io::Error>((udp(at)?, tcp(at)?));
        let sockets = host.namespace().run(open).and_then(|result| result);
        let (datagrams, listener) = sockets.map_err(LabError::io(&*what))?;
        let stop = Arc::new(AtomicBool::new(false));
        let tag = host.station().address().octets()[3];
        // A socket stays in the namespace in which it was opened, whoever uses it.
        let serve = |name: &str, work: Box<dyn FnOnce() -> io::Result<()> + Send>| {
            thread::Builder::new().name(name.to_owned()).spawn(work)
        };
        let (one, two) = (Arc::clone(&stop), Arc::clone(&stop));
        let threads = [
            serve(
                "udp-echo",
                Box::new(move || echo_datagrams(&datagrams, tag, &one)),
            ),
            serve("tcp-echo", Box::new(move || accept(&listener, tag, &two))),
        ];
        let threads = threads
            .into_iter()
            .collect::<Result<_, _>>()
            .map_err(LabError::io(what))?;
        Ok(Self { stop, threads })
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// A socket that may be bound to an address that the host has not yet.
fn freely(at: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(at), kind, Some(protocol))?;
    match at {
        SocketAddr::V4(_) => socket.set_freebind_v4(true)?,
        SocketAddr::V6(_) => socket.set_freebind_v6(true)?,
    }
    Ok(socket)
}

fn udp(at: SocketAddr) -> io::Result<UdpSocket> {
    let socket = freely(at, Type::DGRAM, Protocol::UDP)?;
    socket.set_read_timeout(Some(IDLE))?;
    setsockopt(&socket, RcvBufForce, &RECEIVE_BUFFER)?;
    socket.bind(&at.into())?;
    Ok(socket.into())
}

/// A listening socket whose accept, and the reads of what it accepts, time out.
pub(super) fn tcp(at: SocketAddr) -> io::Result<TcpListener> {
    let socket = freely(at, Type::STREAM, Protocol::TCP)?;
    socket.set_reuse_address(true)?;
    // Accepting times out too, and a connection inherits it.
    socket.set_read_timeout(Some(IDLE))?;
    socket.bind(&at.into())?;
    socket.listen(1024)?;
    Ok(socket.into())
}

fn echo_datagrams(socket: &UdpSocket, tag: u8, stop: &AtomicBool) -> io::Result<()> {
    let mut buffer = [0; 2048];
    while !stop.load(Ordering::Relaxed) {
        // A timeout, or the error of an answer that could not be delivered.
        let Ok((length, from)) = socket.recv_from(&mut buffer[..2047]) else {
            continue;
        };
        buffer[length] = tag;
        let _ = socket.send_to(&buffer[..=length], from);
    }
    Ok(())
}

fn accept(listener: &TcpListener, tag: u8, stop: &Arc<AtomicBool>) -> io::Result<()> {
    let mut connections = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let Ok((stream, _)) = listener.accept() else {
            continue;
        };
        let stop = Arc::clone(stop);
        connections.push(thread::spawn(move || echo_stream(stream, tag, &stop)));
    }
    for connection in connections {
        let _ = connection.join();
    }
    Ok(())
}

/// Answers message by message, whatever way they come in.
fn echo_stream(mut stream: TcpStream, tag: u8, stop: &AtomicBool) {
    let _ = stream.set_nodelay(true);
    let _ = stream.set_read_timeout(Some(IDLE));
    let mut buffer = [0; 512 * MESSAGE];
    let mut held = 0;
    while !stop.load(Ordering::Relaxed) {
        match stream.read(&mut buffer[held..]) {
            Ok(0) => return,
            Ok(length) => held += length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(_) => return,
        }
        let (messages, rest) = buffer[..held].as_chunks::<MESSAGE>();
        let answers: Vec<_> = messages
            .iter()
            .flat_map(|one| one.iter().chain([&tag]))
            .copied()
            .collect();
        let left = rest.len();
        buffer.copy_within(held - left..held, 0);
        held = left;
        if stream.write_all(&answers).is_err() {
            return;
        }
    }
}

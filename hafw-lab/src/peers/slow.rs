//! A web server that takes its time, as threads of this process in a host's namespace.

use std::{
    io::{self, BufRead as _, BufReader, Write as _},
    net::{Ipv4Addr, SocketAddrV4, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::echo;
use crate::{Host, LabError};

/// How often a piece of a body is sent.
const BEAT: Duration = Duration::from_millis(20);

/// What a [`Slow`] server is asked for.
#[derive(Clone, Copy, Debug)]
pub struct SlowPage {
    /// How long it does nothing before it answers.
    pub delay: Duration,
    /// Length of the body, in bytes.
    pub length: usize,
    /// Bytes of it in a second.
    pub rate: usize,
}

impl SlowPage {
    /// The path to ask for.
    #[must_use]
    pub fn path(self) -> String {
        let Self {
            delay,
            length,
            rate,
        } = self;
        format!("/{}/{length}/{rate}", delay.as_millis())
    }

    /// The body: no piece of it is like another, so that nothing can be lost, repeated or exchanged
    /// unseen.
    #[must_use]
    pub fn body(self) -> Vec<u8> {
        // Numbers of eight digits, one after the other.
        let text = (0..self.length.div_ceil(8)).flat_map(|n| format!("{n:08}").into_bytes());
        text.take(self.length).collect()
    }

    fn from_path(path: &str) -> Option<Self> {
        let mut numbers = path.strip_prefix('/')?.split('/').map(str::parse);
        let mut next = || numbers.next()?.ok();
        let (delay, length, rate) = (next()?, next()?, next()?);
        Some(Self {
            delay: Duration::from_millis(delay),
            length: usize::try_from(length).ok()?,
            rate: usize::try_from(rate).ok()?,
        })
    }
}

/// A server of [`SlowPage`]s: one request a connection.
#[derive(Debug)]
pub struct Slow {
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Slow {
    /// Serves an address over TCP. The host need not have the address yet.
    ///
    /// # Errors
    /// The port is taken.
    pub fn start(host: &Host, address: Ipv4Addr, port: u16) -> Result<Self, LabError> {
        let at = SocketAddrV4::new(address, port);
        let what = format!("serve {at} on {}", host.station());
        // A socket stays in the namespace in which it was opened, whoever uses it.
        let opened = host.namespace().run(|| echo::tcp(at.into()));
        let listener = opened
            .and_then(|result| result)
            .map_err(LabError::io(&*what))?;
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::new(AtomicUsize::new(0));
        let (told, count) = (Arc::clone(&stop), Arc::clone(&asked));
        let accept = move || {
            thread::scope(|scope| {
                while !told.load(Ordering::Relaxed) {
                    if let Ok((stream, _)) = listener.accept() {
                        // A client that went away is the client's matter.
                        scope.spawn(|| serve(stream, &count, &told));
                    }
                }
            });
        };
        let thread = thread::Builder::new().name("slow".to_owned()).spawn(accept);
        Ok(Self {
            stop,
            asked,
            thread: Some(thread.map_err(LabError::io(what))?),
        })
    }

    /// How many requests have come in.
    #[must_use]
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(stream: TcpStream, asked: &AtomicUsize, stop: &AtomicBool) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    while !lines.next().transpose()?.unwrap_or_default().is_empty() {}
    let page = first.split(' ').nth(1).and_then(SlowPage::from_path);
    let page = page.ok_or(io::ErrorKind::InvalidInput)?;
    asked.fetch_add(1, Ordering::Relaxed);
    answer(stream, page, stop)
}

fn answer(mut stream: TcpStream, page: SlowPage, stop: &AtomicBool) -> io::Result<()> {
    let idle_until = Instant::now() + page.delay;
    while Instant::now() < idle_until && !stop.load(Ordering::Relaxed) {
        thread::sleep(BEAT);
    }
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        page.length
    );
    stream.write_all(head.as_bytes())?;
    let (body, start) = (page.body(), Instant::now());
    let mut sent = 0;
    while sent < body.len() && !stop.load(Ordering::Relaxed) {
        let due = (start.elapsed() + BEAT).as_secs_f64() * page.rate as f64;
        let due = (due as usize).min(body.len());
        stream.write_all(&body[sent..due])?;
        sent = due;
        thread::sleep(BEAT);
    }
    Ok(())
}

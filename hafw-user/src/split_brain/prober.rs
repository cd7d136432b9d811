//! The witnesses of one interface, asked over one packet socket.

use std::{
    net::Ipv4Addr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use nix::net::if_::if_nametoindex;
use tokio::{
    io::unix::AsyncFd,
    time::{Instant as TokioInstant, MissedTickBehavior, interval, sleep_until},
};
use tracing::{info, warn};

use super::witness::{ASK, Witness};
use crate::sys::{clock, packet::ArpSocket};

/// From one attempt to open the socket to the next.
const RETRY: Duration = Duration::from_millis(500);
/// Frames taken in one go.
const AT_ONCE: usize = 64;

/// Where witnesses are asked, and as whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Post {
    /// Name of the interface.
    pub(crate) interface: String,
    /// This node's address there.
    pub(crate) source: Ipv4Addr,
}

/// The witnesses of an interface.
#[derive(Clone, Debug)]
pub(crate) struct Witnesses(Arc<Mutex<Vec<Witness>>>);

impl Witnesses {
    pub(crate) fn new(addresses: &[Ipv4Addr]) -> Self {
        let now = clock::now();
        let witnesses = addresses.iter().map(|address| Witness::new(*address, now));
        Self(Arc::new(Mutex::new(witnesses.collect())))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Vec<Witness>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks, for ever. An interface that went away is waited for.
pub(crate) async fn ask(post: Post, witnesses: Witnesses) {
    let mut failed = false;
    loop {
        let next = TokioInstant::now() + RETRY;
        if let Err(error) = ask_until_error(&post, &witnesses, &mut failed).await
            && !failed
        {
            failed = true;
            warn!(interface = post.interface, %error, "the witness cannot be asked");
        }
        // The question that could not be sent is one without an answer.
        for witness in witnesses.lock().iter_mut() {
            witness.ask([0; 6], post.source);
        }
        sleep_until(next).await;
    }
}

async fn ask_until_error(
    post: &Post,
    witnesses: &Witnesses,
    failed: &mut bool,
) -> std::io::Result<()> {
    let index = if_nametoindex(post.interface.as_str())?;
    let socket = ArpSocket::open(index)?;
    // SAFETY: the socket keeps its descriptor open, and the same one, until it is dropped.
    let socket = unsafe { AsyncFd::register(socket) }?;
    let mut tick = interval(ASK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            ready = socket.readable() => {
                let mut ready = ready?;
                let mut frame = [0; 64];
                for _ in 0..AT_ONCE {
                    match ready.try_io(|socket| socket.get_ref().receive(&mut frame)) {
                        Ok(Ok(length)) => {
                            let now = clock::now();
                            for witness in witnesses.lock().iter_mut() {
                                witness.received(&frame[..length], now);
                            }
                        }
                        Ok(Err(error)) => return Err(error),
                        Err(_would_block) => break,
                    }
                }
            }
            _ = tick.tick() => {
                // It may be another than before.
                let mac = socket.get_ref().mac()?;
                let questions: Vec<_> = {
                    let mut witnesses = witnesses.lock();
                    let ask = |witness: &mut Witness| witness.ask(mac, post.source);
                    witnesses.iter_mut().map(ask).collect()
                };
                for question in questions {
                    socket.get_ref().send(&question)?;
                }
                if std::mem::take(failed) {
                    info!(interface = post.interface, "the witness is asked again");
                }
            }
        }
    }
}

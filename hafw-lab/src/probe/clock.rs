//! Pacing, and the kernel's times of arrival.

use std::{
    io::{self, IoSliceMut},
    os::fd::RawFd,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use nix::{
    errno::Errno,
    sys::socket::{ControlMessageOwned, MsgFlags, recvmsg},
};

/// Ticks at a fixed rate. A tick that is late is not made up for.
#[derive(Debug)]
pub(super) struct Pace {
    interval: Duration,
    next: Instant,
}

impl Pace {
    pub(super) fn new(interval: Duration) -> Self {
        Self {
            interval,
            next: Instant::now(),
        }
    }

    /// When the next tick is due.
    pub(super) fn due(&self) -> Instant {
        self.next
    }

    /// Goes on to the tick after `now`.
    pub(super) fn advance(&mut self, now: Instant) {
        self.next += self.interval;
        if self.next < now {
            self.next = now;
        }
    }

    /// Sleeps until the next tick and goes on to the one after.
    pub(super) fn wait(&mut self) {
        thread::sleep(self.next.saturating_duration_since(Instant::now()));
        self.advance(Instant::now());
    }
}

/// Turns the kernel's timestamps, which are wall-clock time, into [`Instant`]s.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    instant: Instant,
    wall: Duration,
}

impl Clock {
    pub(super) fn new() -> Self {
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            instant: Instant::now(),
            wall,
        }
    }

    /// Receives one packet without waiting, and when it arrived. `None` if there is none.
    ///
    /// The socket has SO_TIMESTAMPNS set.
    pub(super) fn receive(
        self,
        socket: RawFd,
        buffer: &mut [u8],
    ) -> io::Result<Option<(usize, Instant)>> {
        let mut control = nix::cmsg_space!(libc::timespec);
        let mut parts = [IoSliceMut::new(buffer)];
        let received = recvmsg::<()>(
            socket,
            &mut parts,
            Some(&mut control),
            MsgFlags::MSG_DONTWAIT,
        );
        let message = match received {
            Ok(message) => message,
            Err(Errno::EAGAIN) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let stamp = message.cmsgs().ok().and_then(|mut all| {
            all.find_map(|one| {
                let ControlMessageOwned::ScmTimestampns(stamp) = one else {
                    return None;
                };
                Some(Duration::from(stamp))
            })
        });
        let at = stamp.and_then(|stamp| self.instant.checked_add(stamp.checked_sub(self.wall)?));
        Ok(Some((message.bytes, at.unwrap_or_else(Instant::now))))
    }
}

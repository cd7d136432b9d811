//! Frames that XDP hands up because their next hop's MAC is not known.

use std::{io, net::IpAddr};

use aya::maps::{MapData, RingBuf};
use hafw_common::{
    event::{UNRESOLVED_EVENT_HEADER, UnresolvedEvent},
    unmapped,
};
use tokio::io::unix::AsyncFd;

/// The ring, read by one task.
pub struct UnresolvedRing {
    ring: AsyncFd<RingBuf<MapData>>,
}

/// A frame that is to be sent on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unresolved {
    /// The address whose route it is to take.
    pub destination: IpAddr,
    /// The frame; its Ethernet addresses are the old ones.
    pub frame: Vec<u8>,
}

impl UnresolvedRing {
    /// Must be called within a tokio runtime.
    pub(super) fn new(ring: RingBuf<MapData>) -> io::Result<Self> {
        // SAFETY: the ring keeps its descriptor open, and the same one, until it is dropped.
        let ring = unsafe { AsyncFd::register(ring) }?;
        Ok(Self { ring })
    }

    /// The next frame.
    ///
    /// # Errors
    /// The runtime cannot wait for the ring.
    pub async fn next(&mut self) -> io::Result<Unresolved> {
        loop {
            let mut guard = self.ring.readable_mut().await?;
            let ring = guard.get_inner_mut();
            while let Some(item) = ring.next() {
                if let Some(frame) = parse(&item) {
                    return Ok(frame);
                }
            }
            guard.clear_ready();
        }
    }
}

fn parse(item: &[u8]) -> Option<Unresolved> {
    let header = item.get(..UNRESOLVED_EVENT_HEADER)?;
    let at = core::mem::offset_of!(UnresolvedEvent, length);
    let length = u32::from_ne_bytes(header[at..at + 4].try_into().ok()?);
    let destination: [u8; 16] = header[..16].try_into().ok()?;
    let frame = item[UNRESOLVED_EVENT_HEADER..].get(..length as usize)?;
    Some(Unresolved {
        destination: unmapped(destination),
        frame: frame.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use bytemuck::{Zeroable as _, bytes_of};

    use super::*;

    #[test]
    fn a_record_is_as_long_as_it_says_and_no_longer_than_it_is() {
        let mut event = UnresolvedEvent::zeroed();
        event.destination = hafw_common::v4_mapped([10, 0, 0, 7]);
        event.length = 60;
        event.frame[..60].fill(0xaa);
        let parsed = parse(bytes_of(&event)).unwrap();
        assert_eq!(parsed.destination, IpAddr::from([10, 0, 0, 7]));
        assert_eq!(parsed.frame, [0xaa; 60]);
        event.length = u32::MAX;
        assert_eq!(parse(bytes_of(&event)), None);
        assert_eq!(parse(&[0; 10]), None);
    }
}

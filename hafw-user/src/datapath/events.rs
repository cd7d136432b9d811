//! What XDP hands up through the ring.

use std::os::fd::{AsFd, BorrowedFd};

use aya::maps::{MapData, RingBuf};
use bytemuck::{Zeroable as _, bytes_of_mut};
use hafw_common::event::{ADVERT_EVENT_HEADER, AdvertEvent, ClaimEvent, EVENT_ADVERT, EVENT_CLAIM};

/// The ring, read by the VRRP thread alone.
pub struct EventRing {
    ring: RingBuf<MapData>,
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A valid advert for one of our routers.
    Advert {
        /// The record; `message` is valid for `length` bytes.
        event: Box<AdvertEvent>,
    },
    /// Another station claimed a VIP in ARP.
    Claim {
        /// The record.
        event: ClaimEvent,
    },
}

impl EventRing {
    pub(super) fn new(ring: RingBuf<MapData>) -> Self {
        Self { ring }
    }

    /// The oldest record that was not taken yet. A record of a kind that this version does not
    /// know is skipped.
    pub fn take(&mut self) -> Option<Record> {
        loop {
            let item = self.ring.next()?;
            if let Some(record) = parse(&item) {
                return Some(record);
            }
        }
    }
}

impl AsFd for EventRing {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }
}

fn parse(item: &[u8]) -> Option<Record> {
    let kind = u32::from_ne_bytes(item.get(..4)?.try_into().ok()?);
    match kind {
        EVENT_ADVERT => {
            let mut event = Box::new(AdvertEvent::zeroed());
            let bytes = bytes_of_mut(event.as_mut());
            // A record may end with its message.
            let length = item.len().min(bytes.len());
            if length < ADVERT_EVENT_HEADER {
                return None;
            }
            bytes[..length].copy_from_slice(&item[..length]);
            let message = usize::from(event.length);
            (message <= length - ADVERT_EVENT_HEADER).then_some(Record::Advert { event })
        }
        EVENT_CLAIM => {
            let bytes = item.get(..size_of::<ClaimEvent>())?;
            Some(Record::Claim {
                event: bytemuck::pod_read_unaligned(bytes),
            })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use bytemuck::bytes_of;

    use super::*;

    #[test]
    fn a_record_that_claims_more_than_it_holds_is_skipped() {
        let mut event = AdvertEvent::zeroed();
        event.kind = EVENT_ADVERT;
        event.length = 20;
        let bytes = &bytes_of(&event)[..ADVERT_EVENT_HEADER + 20];
        assert!(matches!(parse(bytes), Some(Record::Advert { .. })));
        assert_eq!(parse(&bytes[..bytes.len() - 1]), None);
        assert_eq!(parse(&bytes[..8]), None);
        assert_eq!(parse(&[9, 0, 0, 0]), None);
    }
}

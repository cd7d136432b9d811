//! A host of the VIPs' network that a node asks by ARP whether it is still part of it. Pure: the
//! frames, and what answers and their absence mean.

use std::{net::Ipv4Addr, time::Duration};

use hafw_vrrp::Instant;

/// From one question to the next.
pub(crate) const ASK: Duration = Duration::from_millis(250);
/// Questions in a row without an answer that make a witness silent.
const MISSES: u32 = 4;
/// Ethernet and ARP over it (RFC 826).
const FRAME: usize = 42;
const BROADCAST: [u8; 6] = [0xff; 6];
const ETHERTYPE: [u8; 2] = [0x08, 0x06];
/// Hardware Ethernet, protocol IPv4, and the lengths of their addresses.
const KINDS: [u8; 6] = [0, 1, 0x08, 0, 6, 4];

/// One witness of one interface.
#[derive(Clone, Debug)]
pub(crate) struct Witness {
    /// Its address.
    pub(crate) address: Ipv4Addr,
    mac: Option<[u8; 6]>,
    misses: u32,
    known: bool,
    answered_at: Instant,
}

impl Witness {
    /// Asked from now on.
    pub(crate) const fn new(address: Ipv4Addr, now: Instant) -> Self {
        Self {
            address,
            mac: None,
            misses: 0,
            known: false,
            answered_at: now,
        }
    }

    /// The next question, from this node's own address; the one before it has had its time.
    pub(crate) fn ask(&mut self, mac: [u8; 6], source: Ipv4Addr) -> [u8; FRAME] {
        let asked = self.mac.filter(|_| self.misses < 2);
        self.misses = self.misses.saturating_add(1);
        if self.misses > MISSES {
            self.known = true;
        }
        // To all while it is not known where it is: it may have moved.
        request(asked.unwrap_or(BROADCAST), mac, source, self.address)
    }

    /// A frame arrived.
    pub(crate) fn received(&mut self, frame: &[u8], now: Instant) {
        if let Some((address, mac)) = sender(frame)
            && address == self.address
        {
            (self.misses, self.known) = (0, true);
            self.mac = Some(mac);
            self.answered_at = now;
        }
    }

    /// Whether it answers; None before the first result.
    pub(crate) fn answers(&self) -> Option<bool> {
        self.known.then_some(self.misses <= MISSES)
    }

    /// When it last did, or was first asked.
    pub(crate) const fn answered_at(&self) -> Instant {
        self.answered_at
    }
}

fn request(to: [u8; 6], mac: [u8; 6], source: Ipv4Addr, target: Ipv4Addr) -> [u8; FRAME] {
    let parts: [&[u8]; 9] = [
        &to,
        &mac,
        &ETHERTYPE,
        &KINDS,
        &[0, 1],
        &mac,
        &source.octets(),
        &[0; 6],
        &target.octets(),
    ];
    let mut frame = [0; FRAME];
    for (place, byte) in frame.iter_mut().zip(parts.concat()) {
        *place = byte;
    }
    frame
}

/// Who sent an ARP packet, question or answer.
fn sender(frame: &[u8]) -> Option<(Ipv4Addr, [u8; 6])> {
    let arp = frame.get(..FRAME)?;
    let is_arp = arp[12..14] == ETHERTYPE && arp[14..20] == KINDS;
    let mac = <[u8; 6]>::try_from(&arp[22..28]).ok()?;
    let address = <[u8; 4]>::try_from(&arp[28..32]).ok()?;
    is_arp.then(|| (address.into(), mac))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: ([u8; 6], Ipv4Addr) = ([2, 0, 0, 0, 0, 5], Ipv4Addr::new(10, 0, 0, 5));
    const GATEWAY: ([u8; 6], Ipv4Addr) = ([2, 0, 0, 0, 0, 0xfe], Ipv4Addr::new(10, 0, 0, 254));

    fn ask(witness: &mut Witness) -> [u8; FRAME] {
        witness.ask(OURS.0, OURS.1)
    }

    fn answer() -> [u8; FRAME] {
        let mut answer = request(OURS.0, GATEWAY.0, GATEWAY.1, OURS.1);
        answer[21] = 2;
        answer
    }

    #[test]
    fn a_witness_is_silent_after_several_misses_and_answers_at_the_first_word() {
        let now = Instant::from_nanos(1);
        let mut witness = Witness::new(GATEWAY.1, now);
        assert_eq!(witness.answers(), None);
        ask(&mut witness);
        witness.received(&answer(), now + ASK);
        assert_eq!(witness.answers(), Some(true));
        for _ in 0..MISSES {
            ask(&mut witness);
            assert_eq!(witness.answers(), Some(true));
        }
        ask(&mut witness);
        assert_eq!(witness.answers(), Some(false));
        assert_eq!(witness.answered_at(), now + ASK);
        witness.received(&answer(), now + 9 * ASK);
        assert_eq!(witness.answers(), Some(true));
    }

    #[test]
    fn one_that_never_answered_is_silent_too() {
        let mut witness = Witness::new(GATEWAY.1, Instant::from_nanos(1));
        for _ in 0..MISSES {
            ask(&mut witness);
            assert_eq!(witness.answers(), None);
        }
        ask(&mut witness);
        assert_eq!(witness.answers(), Some(false));
    }

    #[test]
    fn a_question_goes_to_where_the_witness_was_and_to_all_when_it_is_lost() {
        let now = Instant::from_nanos(1);
        let mut witness = Witness::new(GATEWAY.1, now);
        let first = ask(&mut witness);
        assert_eq!(first[..6], BROADCAST);
        assert_eq!(sender(&first), Some((OURS.1, OURS.0)));
        assert_eq!(first[38..], GATEWAY.1.octets());
        witness.received(&answer(), now);
        assert_eq!(ask(&mut witness)[..6], GATEWAY.0);
        ask(&mut witness);
        assert_eq!(ask(&mut witness)[..6], BROADCAST);
    }

    #[test]
    fn other_frames_are_no_answer() {
        let now = Instant::from_nanos(1);
        let mut witness = Witness::new(GATEWAY.1, now);
        ask(&mut witness);
        let stranger = request(OURS.0, GATEWAY.0, OURS.1, GATEWAY.1);
        let mut ipv4 = answer();
        ipv4[13] = 0;
        for frame in [&stranger[..], &ipv4, &answer()[..41], &[]] {
            witness.received(frame, now);
        }
        assert_eq!(witness.answers(), None);
    }
}

//! Counters: one for every way out of the programs, and some for events on the way.

/// Who the counter's packet went to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// To the kernel's stack.
    Pass,
    /// Dropped.
    Drop,
    /// Out of the interface it came from.
    Tx,
    /// Out of another interface.
    Redirect,
    /// No way out: something noted on the way.
    Event,
}

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal, $verdict:ident;)+) => {
        /// Index into [`crate::maps::COUNTERS`].
        #[repr(u32)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Counter { $($(#[doc = $doc])+ $name),+ }

        impl Counter {
            /// All of them, in the order of their indices.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The name under which it is shown.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text),+ }
            }

            /// What became of the packet.
            #[must_use]
            pub const fn verdict(self) -> Verdict {
                match self { $(Self::$name => Verdict::$verdict),+ }
            }
        }
    };
}

counters! {
    /// Shorter than an Ethernet header, or than the header that should follow, and not for a VIP.
    PassRunt = "pass_runt", Pass;
    /// The destination MAC is neither ours nor a group.
    PassForeignMac = "pass_foreign_mac", Pass;
    /// A frame with a VLAN tag: no router lives on one.
    PassVlan = "pass_vlan", Pass;
    /// Neither IPv4, IPv6 nor ARP.
    PassEthertype = "pass_ethertype", Pass;
    /// ARP that does not concern a VIP.
    PassArp = "pass_arp", Pass;
    /// Neighbor Discovery that does not concern a VIP.
    PassNd = "pass_nd", Pass;
    /// IPv6 to no VIP.
    PassIpv6 = "pass_ipv6", Pass;
    /// IPv4 to no VIP.
    PassIpv4 = "pass_ipv4", Pass;
    /// IP to a VIP in a frame to a group MAC: the stack's to refuse.
    PassGroup = "pass_group", Pass;
    /// Traffic to a VIP, for a listener on this node.
    PassLocal = "pass_local", Pass;
    /// A valid advert for one of our routers.
    AdvertValid = "advert_valid", Pass;
    /// Our own advert, reflected by the network.
    AdvertOwn = "advert_own", Pass;
    /// An advert for a VRID that no router here has.
    AdvertForeignVrid = "advert_foreign_vrid", Pass;
    /// An advert whose TTL or hop limit is not 255 (RFC 9568 §7.1).
    AdvertBadTtl = "advert_bad_ttl", Pass;
    /// An advert whose version is not the router's.
    AdvertBadVersion = "advert_bad_version", Pass;
    /// A VRRP packet whose type is not 1.
    AdvertBadType = "advert_bad_type", Pass;
    /// An advert shorter than its address count says, or cut.
    AdvertBadLength = "advert_bad_length", Pass;
    /// An advert whose VRRP checksum is wrong in every form.
    AdvertBadChecksum = "advert_bad_checksum", Pass;
    /// An advert whose IP header is none, or its checksum is wrong, or the frame lacks part of it.
    AdvertBadIpHeader = "advert_bad_ip_header", Pass;
    /// An advert with another authentication type or password.
    AdvertBadAuth = "advert_bad_auth", Pass;
    /// Version 2: another interval than ours; version 3: an interval of 0.
    AdvertBadInterval = "advert_bad_interval", Pass;
    /// An advert with no address.
    AdvertNoAddress = "advert_no_address", Pass;
    /// A fragment of an advert.
    AdvertFragment = "advert_fragment", Pass;
    /// An advert from an address that is none of the router's unicast peers, or by multicast though
    /// the router has some.
    AdvertForeignSource = "advert_foreign_source", Pass;
    /// A VRRP packet that is addressed neither to the group nor to a router with unicast peers.
    AdvertUnicast = "advert_unicast", Pass;
    /// To VRRP's group over IPv6, and something behind an extension header: no advert.
    AdvertExtension = "advert_extension", Pass;

    /// An ARP request for a VIP, answered.
    TxArpReply = "tx_arp_reply", Tx;
    /// A Neighbor Solicitation for a VIP, answered.
    TxNdAdvert = "tx_nd_advert", Tx;
    /// Steered to a backend behind the same interface.
    TxSteer = "tx_steer", Tx;
    /// A `nat` backend's reply, rewritten, to a client behind the interface that it came from.
    TxReply = "tx_reply", Tx;
    /// Too long for the tunnel: its sender is told by an ICMP error.
    TxTooBig = "tx_too_big", Tx;
    /// Handed to the peer in its grace, whose connection it is.
    TxHandoff = "tx_handoff", Tx;
    /// Of a new connection to a local listener, or of none that is here, after stepping down: handed
    /// to the new owner.
    TxToOwner = "tx_to_owner", Tx;
    /// Steered to a backend behind another interface. Linux before 6.3 then loses frames that are
    /// longer than a page.
    RedirectSteer = "redirect_steer", Redirect;
    /// A `nat` backend's reply, rewritten, to a client behind another interface.
    RedirectReply = "redirect_reply", Redirect;

    /// To the virtual MAC of a router that does not own its VIPs now (RFC 9568 §6.4.2).
    DropVirtualMac = "drop_virtual_mac", Drop;
    /// An ARP request for a VIP while not attracting.
    DropArpStandby = "drop_arp_standby", Drop;
    /// ARP with a VIP as its sender, from another station.
    DropArpClaim = "drop_arp_claim", Drop;
    /// A Neighbor Solicitation for a VIP while not attracting.
    DropNdStandby = "drop_nd_standby", Drop;
    /// Neighbor Discovery in a VIP's name, from another station.
    DropNdClaim = "drop_nd_claim", Drop;
    /// Neighbor Discovery that concerns a VIP and fails a check of RFC 4861 §7.1.
    DropNdInvalid = "drop_nd_invalid", Drop;
    /// A service's packet while not serving.
    DropNotServing = "drop_not_serving", Drop;
    /// Other traffic to a VIP while not serving locally.
    DropStandby = "drop_standby", Drop;
    /// A new connection to a local listener during the grace, while no new owner is known.
    DropGraceSyn = "drop_grace_syn", Drop;
    /// Other traffic to a VIP whose router does not accept any.
    DropNotAccepted = "drop_not_accepted", Drop;
    /// To a listener on this node, from a source that is kept out for a time.
    DropBlocked = "drop_blocked", Drop;
    /// A fragment to a VIP that has services.
    DropFragment = "drop_fragment", Drop;
    /// To a VIP that has services, behind an IPv6 extension header.
    DropExtension = "drop_extension", Drop;
    /// To a VIP, and shorter than its headers say, or with an IP header that is none.
    DropMalformed = "drop_malformed", Drop;
    /// The slot has no backend.
    DropNoBackend = "drop_no_backend", Drop;
    /// The next hop's MAC is not known: handed to the controller, which resolves it and sends the
    /// frame.
    DropHanded = "drop_handed", Drop;
    /// The next hop's MAC is not known, and there was no room to hand the frame to the controller.
    DropUnresolved = "drop_unresolved", Drop;
    /// Too long for the tunnel, or without room before it for another header.
    DropTooLong = "drop_too_long", Drop;
    /// A `nat` backend's reply to an address to which there is no route.
    DropNoRoute = "drop_no_route", Drop;
    /// In a mode that forwards as a router does, with a time to live that ends here.
    DropTtl = "drop_ttl", Drop;

    /// From a source that the service's `allow` and `deny` do not let in.
    DropDenied = "drop_denied", Drop;
    /// A new connection of a source beyond the service's `new_connection_limit`.
    DropSourceRate = "drop_source_rate", Drop;

    /// A table that must have an entry had none: a defect, or a change half applied.
    DropTable = "drop_table", Drop;

    /// Egress: ARP in the name of a VIP without a live lease, dropped.
    EgressArp = "egress_arp", Event;
    /// Egress: Neighbor Discovery in the name of a VIP without a live lease, dropped.
    EgressNd = "egress_nd", Event;
    /// An advert ended a live lease.
    LeaseLost = "lease_lost", Event;
    /// A valid advert found the ring full.
    RingFull = "ring_full", Event;
    /// The table of peers had no room.
    PeersFull = "peers_full", Event;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_numbered_in_order_and_named_by_verdict() {
        for (i, counter) in Counter::ALL.iter().enumerate() {
            assert_eq!(*counter as usize, i);
            let prefix = match counter.verdict() {
                Verdict::Pass if counter.name().starts_with("advert_") => "advert_",
                Verdict::Pass => "pass_",
                Verdict::Drop => "drop_",
                Verdict::Tx => "tx_",
                Verdict::Redirect => "redirect_",
                Verdict::Event => "",
            };
            assert!(counter.name().starts_with(prefix), "{}", counter.name());
        }
    }
}

//! The programs attached: frames over veth pairs, in native mode, through the real TX, redirect and
//! egress paths.

use aya::util::KernelVersion;
use hafw_ebpf::{
    fixtures::{
        World,
        frames::{arp, arp_packet, tcp4, udp4},
        world::{
            BACKENDS, BROADCAST, CLIENT, CLIENT_ADDRESS, FAR_BACKEND, IFACE, OTHER_IFACE, OURS,
            ROUTER_V2, VIP_BOTH, backend_mac,
        },
    },
    wire::{ARP_REPLY, ARP_REQUEST},
};
use hafw_tests::{Kernel, PacketSocket, in_namespace, ip, object};
use nix::net::if_::if_nametoindex;

const FAR_MAC: [u8; 6] = [2, 0, 0, 0, 1, 5];

/// A node with two interfaces, `near0` and `far0`, and the other ends of their cables.
struct Node {
    kernel: Kernel,
    client: PacketSocket,
    far: PacketSocket,
}

impl Node {
    fn new(object: &[u8], mtu: u32) -> Self {
        for (name, mac) in [("near", "02:00:00:00:00:05"), ("far", "02:00:00:00:01:05")] {
            ip(&format!(
                "link add {name}0 address {mac} mtu {mtu} type veth peer name {name}1 mtu {mtu}"
            ));
            // Quiet: nothing but the tests' frames.
            for end in [format!("{name}0"), format!("{name}1")] {
                ip(&format!("link set {end} addrgenmode none arp off up"));
            }
        }
        let mut kernel = Kernel::load(object);
        kernel.attach("hafw", "near0");
        kernel.attach("hafw_pass", "near1");
        kernel.attach("hafw_pass", "far1");
        kernel.attach_egress("near0");
        let (client, far) = (PacketSocket::open("near1"), PacketSocket::open("far1"));
        Self {
            kernel,
            client,
            far,
        }
    }

    /// Installs the fixture's world with the links that there are.
    fn install(&mut self, setup: fn(&mut World)) {
        let mut world = World::at(self.kernel.clock());
        setup(&mut world);
        let index = |name| if_nametoindex(name).expect("the link is there");
        for (slot, name) in [(IFACE, "near0"), (OTHER_IFACE, "far0")] {
            if let Some(iface) = world.ifaces.get_mut(&slot) {
                iface.ifindex = index(name);
            }
        }
        for (number, backend) in &mut world.backends {
            let name = if BACKENDS.contains(number) {
                "near0"
            } else {
                "far0"
            };
            backend.ifindex = index(name).into();
        }
        self.kernel.install(&world);
    }
}

fn owner(world: &mut World) {
    world.own(ROUTER_V2);
}

#[test]
#[ignore = "requires CAP_NET_ADMIN"]
fn the_owner_answers_arp_on_the_wire() {
    let object = object::programs();
    in_namespace(|| {
        let mut node = Node::new(&object, 1500);
        node.install(owner);
        let asker = (CLIENT, CLIENT_ADDRESS);

        let request = arp(
            BROADCAST,
            arp_packet(ARP_REQUEST, asker, ([0; 6], VIP_BOTH)),
        );

        node.client.send(&request).expect("send");

        let reply = arp(CLIENT, arp_packet(ARP_REPLY, (OURS, VIP_BOTH), asker));
        assert!(node.client.receives(&reply));
    });
}

#[test]
#[ignore = "requires CAP_NET_ADMIN"]
fn flows_reach_backends_on_both_sides() {
    let object = object::programs();
    in_namespace(|| {
        let mut node = Node::new(&object, 1500);
        node.install(owner);
        for port in 5000..5020 {
            let segment = tcp4((CLIENT_ADDRESS, port), (VIP_BOTH, 80), 0x02);
            node.client
                .send(&segment.frame(OURS, CLIENT))
                .expect("send");
            let steered = BACKENDS.map(|backend| segment.frame(backend_mac(backend), OURS));
            assert!(node.client.first_of(&steered).is_some(), "port {port}");
        }
        let query = udp4((CLIENT_ADDRESS, 5000), (VIP_BOTH, 53));

        node.client.send(&query.frame(OURS, CLIENT)).expect("send");

        assert!(
            node.far
                .receives(&query.frame(backend_mac(FAR_BACKEND), FAR_MAC))
        );
    });
}

#[test]
#[ignore = "requires CAP_NET_ADMIN"]
fn jumbo_frames_are_steered() {
    let object = object::programs();
    in_namespace(|| {
        let mut node = Node::new(&object, 9000);
        node.install(owner);
        let mut segment = tcp4((CLIENT_ADDRESS, 5000), (VIP_BOTH, 80), 0x10);
        segment.payload.resize(8900, 0x5a);

        node.client
            .send(&segment.frame(OURS, CLIENT))
            .expect("send");

        let steered = BACKENDS.map(|backend| segment.frame(backend_mac(backend), OURS));
        assert!(node.client.first_of(&steered).is_some());

        // Before v6.3, xdp_do_redirect (net/core/filter.c) refuses frames in fragments.
        let kernel = KernelVersion::current().expect("the kernel has a version");
        if kernel < KernelVersion::new(6, 3, 0) {
            return;
        }
        let mut query = udp4((CLIENT_ADDRESS, 5000), (VIP_BOTH, 53));
        query.payload.resize(8900, 0x5a);

        node.client.send(&query.frame(OURS, CLIENT)).expect("send");

        let redirected = query.frame(backend_mac(FAR_BACKEND), FAR_MAC);
        assert!(node.far.receives(&redirected));
    });
}

#[test]
#[ignore = "requires CAP_NET_ADMIN"]
fn arp_in_a_vips_name_leaves_only_with_a_lease() {
    let object = object::programs();
    in_namespace(|| {
        let mut node = Node::new(&object, 1500);
        let announcement = arp(
            BROADCAST,
            arp_packet(ARP_REQUEST, (OURS, VIP_BOTH), (BROADCAST, VIP_BOTH)),
        );
        let marker = arp(
            BROADCAST,
            arp_packet(ARP_REQUEST, (OURS, [10, 0, 0, 5]), ([0; 6], [10, 0, 0, 1])),
        );
        let own = PacketSocket::open("near0");
        node.install(|_| ());
        let refused = own.send(&announcement).expect_err("a standby is silent");
        assert_eq!(refused.raw_os_error(), Some(libc::ENOBUFS));
        // What a packet ring sends lies in fragments; it is looked at all the same.
        let rings = PacketSocket::open("near0");
        let refused = rings
            .send_in_fragments(&announcement)
            .expect_err("by a ring too");
        assert_eq!(refused.raw_os_error(), Some(libc::ENOBUFS));
        own.send(&marker).expect("its own name is its own");
        let first = node.client.first_of(&[announcement.clone(), marker]);
        assert_eq!(first, Some(1), "a standby is silent");

        node.install(owner);
        own.send(&announcement).expect("the owner announces");
        assert!(node.client.receives(&announcement));
    });
}

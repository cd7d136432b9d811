//! Hand-off against real sockets: what is a connection of this host's, and what is none.

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};

use hafw_common::counters::Counter;
use hafw_ebpf::fixtures::{
    World,
    frames::tcp4,
    world::{CLIENT, OURS, PEER, ROUTER_V3, VIP_LOCAL},
};
use hafw_tests::{Kernel, in_namespace, ip, object};

const ACK: u8 = 0x10;

fn handing(kernel: &mut Kernel) {
    let mut world = World::at(kernel.clock());
    world.own(ROUTER_V3);
    world.hand_on(ROUTER_V3);
    kernel.install(&world);
}

/// The counter that an ACK from `client` to the VIP's `port` goes to, and the frame after.
fn acknowledge(kernel: &mut Kernel, client: SocketAddrV4, port: u16) -> (Counter, Vec<u8>) {
    kernel.forget();
    let segment = tcp4(
        (client.ip().octets(), client.port()),
        (VIP_LOCAL, port),
        ACK,
    );
    let (_, frame) = kernel.receive(&segment.frame(OURS, CLIENT));
    let counters = kernel.observed().counters;
    assert_eq!(counters.len(), 1, "{counters:?}");
    (*counters.keys().next().expect("one"), frame)
}

#[test]
#[ignore = "requires CAP_BPF"]
fn only_segments_of_no_connection_here_are_handed_on() {
    let object = object::programs();
    in_namespace(|| {
        // The look-up of BPF_PROG_TEST_RUN is in the namespace of its caller.
        ip("addr add 10.0.0.4/32 dev lo");
        ip("addr add 10.0.0.1/32 dev lo");
        let mut kernel = Kernel::load(&object);
        handing(&mut kernel);
        let listener = TcpListener::bind((Ipv4Addr::from(VIP_LOCAL), 0)).expect("bind the VIP");
        let port = listener.local_addr().expect("bound").port();
        let stream = TcpStream::connect((Ipv4Addr::from(VIP_LOCAL), port)).expect("connect");
        let std::net::SocketAddr::V4(client) = stream.local_addr().expect("connected") else {
            panic!("an IPv6 address");
        };
        let (accepted, _) = listener.accept().expect("accept");

        assert_eq!(acknowledge(&mut kernel, client, port).0, Counter::PassLocal);

        let stranger = SocketAddrV4::new(*client.ip(), client.port() ^ 1);
        let (counter, frame) = acknowledge(&mut kernel, stranger, port);
        assert_eq!(
            counter,
            Counter::TxHandoff,
            "the listener alone is no connection"
        );
        assert_eq!(frame[..12], [PEER, OURS].concat());

        let (counter, _) = acknowledge(&mut kernel, client, port ^ 1);
        assert_eq!(
            counter,
            Counter::TxHandoff,
            "another port is another connection"
        );

        // The host's side closes first and keeps the connection in TIME-WAIT: still its own.
        drop(accepted);
        drop(stream);
        assert_eq!(acknowledge(&mut kernel, client, port).0, Counter::PassLocal);
    });
}

//! What user space relies on in the object, and what the programs do at their limits.

use std::time::Duration;

use hafw_common::{
    counters::{Counter, Verdict},
    event::CLAIM_EVENT_GAP,
    maps::{self, MAX_PEERS},
    v4_mapped,
};
use hafw_ebpf::fixtures::{
    Event, World,
    cases::cases,
    frames::{refresh_ip_checksum, tcp, tcp4},
    world::{CLIENT, CLIENT_ADDRESS, OURS, PEER, ROUTER_V2, VIP_BOTH},
};
use hafw_tests::{Kernel, object};

/// The frame of a case.
fn frame(name: &str) -> Vec<u8> {
    let case = cases().into_iter().find(|case| case.name == name);
    case.unwrap_or_else(|| panic!("no case {name:?}")).frame
}

fn advert() -> Vec<u8> {
    frame("an advert is noted and handed up")
}

#[test]
#[ignore = "requires CAP_BPF"]
fn the_object_has_the_maps_of_the_abi() {
    let object = object::programs();
    let ebpf = aya::Ebpf::load(&object).expect("the object loads");
    for name in maps::SHARED {
        assert!(ebpf.map(name).is_some(), "{name}");
        assert!(name.len() <= 15, "{name}: the kernel cuts longer names");
    }
}

#[test]
#[ignore = "requires CAP_BPF"]
fn the_clock_program_returns_a_pair_that_advances() {
    let kernel = Kernel::load(&object::programs());
    let first = kernel.clock();
    // Wait for a tick: the longest is 10 ms.
    let second = std::iter::repeat_with(|| kernel.clock())
        .take_while(|clock| clock.now < first.now + Duration::from_secs(1).as_nanos() as u64)
        .find(|clock| clock.jiffies != first.jiffies)
        .expect("jiffies advance within a second");
    assert!(second.jiffies > first.jiffies);
    assert!(second.now > first.now);
}

#[test]
#[ignore = "requires CAP_BPF"]
fn the_pass_program_passes() {
    let kernel = Kernel::load(&object::programs());
    let result = hafw_tests::kernel::run(kernel.program("hafw_pass"), &advert());
    assert_eq!(result, (2, advert()));
}

/// The verifier's work bounds how long a load takes, and how near the kernel's limit of a million
/// instructions the program is. Other kernels count differently: half of the limit is kept free.
#[test]
#[ignore = "requires CAP_BPF"]
fn the_verifier_has_room_left() {
    let kernel = Kernel::load(&object::programs());
    let info = kernel.xdp().info().expect("it is loaded");
    let verified = info
        .verified_instruction_count()
        .expect("kernels since 5.16 tell");
    println!(
        "hafw: {verified} instructions verified, {:?} bytes",
        info.size_translated()
    );
    assert!(verified < 500_000, "{verified}");
}

#[test]
#[ignore = "requires CAP_BPF"]
fn an_advert_that_finds_the_ring_full_still_ends_the_lease() {
    let mut kernel = Kernel::load(&object::programs());
    let mut world = World::at(kernel.clock());
    world.own(ROUTER_V2);
    kernel.install(&world);
    let lower = advert();
    let fits = maps::EVENTS_BYTES as usize / lower.len();
    for _ in 0..fits {
        let _ = kernel.receive(&lower);
    }

    let _ = kernel.receive(&frame("a higher priority ends the lease"));

    let observed = kernel.observed();
    let full = observed.counters[&Counter::RingFull];
    assert!(full >= 1 && full < fits as u64, "{full} of {fits}");
    assert_eq!(observed.events.len() as u64 + full, fits as u64 + 1);
    let seen = observed.seen[&ROUTER_V2];
    assert_eq!(seen.overflow, full);
    assert!(seen.lost, "the lease ends though user space was not told");
    assert_eq!(observed.counters[&Counter::LeaseLost], 1);
}

#[test]
#[ignore = "requires CAP_BPF"]
fn a_usual_advert_takes_few_bytes_of_the_ring() {
    let mut kernel = Kernel::load(&object::programs());
    let world = World::at(kernel.clock());
    kernel.install(&world);
    let usual = advert();
    for _ in 0..2000 {
        let _ = kernel.receive(&usual);
    }
    assert_eq!(kernel.observed().events.len(), 2000);
}

#[test]
#[ignore = "requires CAP_BPF"]
fn a_storm_of_claims_is_counted_and_reported_at_a_bounded_rate() {
    let mut kernel = Kernel::load(&object::programs());
    let world = World::at(kernel.clock());
    kernel.install(&world);
    let claim = frame("a foreign gratuitous ARP for a VIP is reported");
    let start = kernel.clock().now;
    for _ in 0..5000 {
        let _ = kernel.receive(&claim);
    }
    let took = kernel.clock().now - start;

    let observed = kernel.observed();
    let reported = observed.events.len() as u64;
    assert_eq!(observed.seen[&ROUTER_V2].claims, 5000);
    assert!(
        reported >= 1 && reported <= 1 + took / CLAIM_EVENT_GAP,
        "{reported} in {took} ns"
    );
}

#[test]
#[ignore = "requires CAP_BPF"]
fn more_peers_than_the_table_holds_push_the_oldest_out() {
    let mut kernel = Kernel::load(&object::programs());
    let world = World::at(kernel.clock());
    kernel.install(&world);
    let template = advert();
    for peer in 0..MAX_PEERS * 2 {
        let mut advert = template.clone();
        let [_, b, c, d] = (peer + 1).to_be_bytes();
        advert[26..30].copy_from_slice(&[172, b, c, d]);
        refresh_ip_checksum(&mut advert);
        let _ = kernel.receive(&advert);
    }

    let observed = kernel.observed();
    assert_eq!(
        observed.counters[&Counter::AdvertValid],
        u64::from(MAX_PEERS) * 2
    );
    assert_eq!(observed.counters.get(&Counter::PeersFull), None);
    let peers = observed.peers.len();
    assert!(
        peers > MAX_PEERS as usize / 2 && peers <= MAX_PEERS as usize,
        "{peers}"
    );
}

#[test]
#[ignore = "requires CAP_BPF"]
fn several_runs_add_up() {
    let mut kernel = Kernel::load(&object::programs());
    let mut world = World::at(kernel.clock());
    world.own(ROUTER_V2);
    kernel.install(&world);
    let segment = frame("a segment goes to its slot's backend");
    for _ in 0..10 {
        let _ = kernel.receive(&segment);
        let _ = kernel.receive(&advert());
    }
    let observed = kernel.observed();
    assert_eq!(observed.counters[&Counter::TxSteer], 10);
    assert_eq!(
        observed.traffic.values().copied().collect::<Vec<_>>(),
        [(10, 10 * 61)]
    );
    let peer = observed.peers[&(ROUTER_V2, v4_mapped([10, 0, 0, 6]))];
    assert_eq!(peer.0, 10);
    assert!(
        observed
            .events
            .iter()
            .all(|event| matches!(event, Event::Advert { mac, .. } if *mac == PEER))
    );
    assert_ne!(PEER, OURS);
}

/// A frame that does not fit a page comes in fragments (`xdp.frags`): the program reads the first
/// page, and the frame counts as a whole.
#[test]
#[ignore = "requires CAP_BPF"]
fn a_jumbo_frame_in_fragments_is_steered_as_a_whole() {
    let mut kernel = Kernel::load(&object::programs());
    let mut world = World::at(kernel.clock());
    world.own(ROUTER_V2);
    kernel.install(&world);
    let mut ip = tcp4((CLIENT_ADDRESS, 4000), (VIP_BOTH, 80), 0x10);
    ip.payload = (0..8960).map(|i| i as u8).collect();
    ip.payload[..20].copy_from_slice(&tcp(4000, 80, 0x10, b""));
    let frame = ip.frame(OURS, CLIENT);

    let (verdict, out) = kernel.receive(&frame);

    assert_eq!(verdict, Verdict::Tx);
    assert_eq!(out[12..], frame[12..]);
    assert_ne!(out[..6], OURS);
    let observed = kernel.observed();
    assert_eq!(observed.counters[&Counter::TxSteer], 1);
    assert_eq!(
        observed.traffic.values().copied().collect::<Vec<_>>(),
        [(1, 14 + 20 + 8960)]
    );

    kernel.forget();
    let (verdict, _) = kernel.receive(&frame[..frame.len() - 1]);
    assert_eq!(verdict, Verdict::Drop);
    assert_eq!(kernel.observed().counters[&Counter::DropMalformed], 1);
}

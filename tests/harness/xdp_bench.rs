//! What a packet costs: ns in the XDP program, net of a program that only passes.
//!
//! A feeder program (`hafw-ebpf/src/bin/feeder`) restores the frame as the next flow's and
//! tail-calls the program under test; the null is the same feeder before the passing program.
//! Both run in turn in each round, on one CPU, so that a round's difference does not see what
//! else the machine does. Only figures of one call are to be compared.

use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, ProgramArray},
    programs::{ProgramError, TestRun as _, TestRunOptions, Xdp},
};
use hafw_common::{
    backend::{BACKEND_RESOLVED, Backend},
    counters::Counter,
    mac_to_word,
    nat::{Delta, NatKey, NatSource, Rewrite},
    proto::IP_TCP,
    service::Slot,
    v4_mapped,
};
use hafw_ebpf::{
    fixtures::{
        World,
        frames::{arp, arp_packet, icmp4, tcp4, udp4},
        frames_v6::{Discovery, tcp6},
        world::{
            BROADCAST, CLIENT, CLIENT_ADDRESS, CLIENT_ADDRESS_V6, IFINDEX, NAT_PORT, OUR_ADDRESS,
            OUR_ADDRESS_V6, OURS, PEER, TUNNEL_PORT, VIP_BOTH, VIP_LOCAL, VIP_SERVICES,
            VIP_V6_BOTH, backend_mac,
        },
    },
    wire::ARP_REQUEST,
};
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

use crate::Kernel;

/// Runs of one measurement.
const RUNS: u32 = 1 << 20;
/// Slots of the service, as a service of a hundred backends has them.
pub(crate) const SLOTS: u32 = 65_537;
pub(crate) const BACKENDS: u32 = 100;
/// Port of the fixture's service whose slot has moved.
pub(crate) const MOVED_PORT: u16 = 87;
/// The backend whose answers are timed.
const NAT_BACKEND_NUMBER: u32 = 7;

/// One figure.
#[derive(Clone, Debug)]
pub struct Figure {
    /// What was measured.
    pub name: &'static str,
    /// Number of flows.
    pub flows: u32,
    /// ns a packet, net, of each round, in ascending order.
    pub net: Vec<f64>,
    /// ns of the null, the median.
    pub null: f64,
}

impl Figure {
    /// The median of the rounds.
    #[must_use]
    pub fn median(&self) -> f64 {
        self.net[self.net.len() / 2]
    }
}

struct Load {
    name: &'static str,
    frame: Vec<u8>,
    flows: u32,
    counter: Counter,
    /// The program makes the frame longer at its head.
    grows: bool,
}

/// Measures the programs of an object, each figure in so many rounds.
///
/// # Panics
/// An object cannot be loaded or run, or a frame did not go where it should.
#[must_use]
pub fn measure(programs: &[u8], feeder: &[u8], rounds: usize) -> Vec<Figure> {
    let mut kernel = Kernel::load(programs);
    kernel.install(&world(&kernel));
    stay_on_one_cpu();
    loads()
        .iter()
        .map(|load| measure_one(&mut kernel, feeder, load, rounds))
        .collect()
}

fn measure_one(kernel: &mut Kernel, feeder: &[u8], load: &Load, count: usize) -> Figure {
    let mut tested = Feeder::load(feeder, load, kernel.xdp());
    let mut null = Feeder::load(feeder, load, kernel.program("hafw_pass"));
    kernel.forget();
    tested.time(&load.frame);
    let counters = kernel.observed().counters;
    assert_eq!(
        counters.get(&load.counter),
        Some(&RUNS.into()),
        "{}: {counters:?}",
        load.name
    );

    let mut rounds: Vec<(f64, f64)> = (0..count)
        .map(|_| (null.time(&load.frame), tested.time(&load.frame)))
        .collect();
    let mut net: Vec<f64> = rounds.iter().map(|(null, tested)| tested - null).collect();
    net.sort_by(f64::total_cmp);
    rounds.sort_by(|a, b| a.0.total_cmp(&b.0));
    Figure {
        name: load.name,
        flows: load.flows,
        net,
        null: rounds[count / 2].0,
    }
}

fn loads() -> Vec<Load> {
    let client = ([10, 64, 0, 1], 1024);
    let segment = |vip, port, flags| tcp4(client, (vip, port), flags).frame(OURS, CLIENT);
    let elsewhere = tcp4(client, (OUR_ADDRESS, 22), 0x10);
    let who_has = |vip| {
        arp(
            BROADCAST,
            arp_packet(ARP_REQUEST, (CLIENT, client.0), ([0; 6], vip)),
        )
    };
    let client6 = (CLIENT_ADDRESS_V6, 1024);
    let solicitation =
        Discovery::solicitation((CLIENT, client6.0), VIP_V6_BOTH).frame(OURS, CLIENT);
    let ping = icmp4(client.0, VIP_LOCAL, 8, &[0; 56]).frame(OURS, CLIENT);
    let load = |name, frame, flows, counter| Load {
        name,
        frame,
        flows,
        counter,
        grows: false,
    };
    let to = |name, (vip, port), flags, flows| {
        load(name, segment(vip, port, flags), flows, Counter::TxSteer)
    };
    let nat = (VIP_SERVICES, NAT_PORT);
    let answer = tcp4(endpoint(NAT_BACKEND_NUMBER), (CLIENT_ADDRESS, 4000), 0x10);
    let tunnel = |flows| Load {
        grows: true,
        ..to(
            "TCP to a service (ipip)",
            (VIP_SERVICES, TUNNEL_PORT),
            0x10,
            flows,
        )
    };
    vec![
        load(
            "not for us: another station's",
            elsewhere.frame(PEER, CLIENT),
            1,
            Counter::PassForeignMac,
        ),
        load(
            "not for us: the node's own",
            elsewhere.frame(OURS, CLIENT),
            1,
            Counter::PassIpv4,
        ),
        load(
            "not for us: the node's own, IPv6",
            tcp6(client6, (OUR_ADDRESS_V6, 22), 0x10).frame(OURS, CLIENT),
            1,
            Counter::PassIpv6,
        ),
        load("not for us: ARP", who_has(OUR_ADDRESS), 1, Counter::PassArp),
        load(
            "ARP request for a VIP, answered",
            who_has(VIP_BOTH),
            1,
            Counter::TxArpReply,
        ),
        load(
            "solicitation for a VIP, answered",
            solicitation,
            1,
            Counter::TxNdAdvert,
        ),
        load(
            "TCP to a service (dsr)",
            segment(VIP_BOTH, 80, 0x10),
            1,
            Counter::TxSteer,
        ),
        load(
            "TCP to a service (dsr)",
            segment(VIP_BOTH, 80, 0x10),
            1 << 10,
            Counter::TxSteer,
        ),
        load(
            "TCP to a service (dsr)",
            segment(VIP_BOTH, 80, 0x10),
            1 << 16,
            Counter::TxSteer,
        ),
        load(
            "TCP to a service (dsr)",
            segment(VIP_BOTH, 80, 0x10),
            1 << 19,
            Counter::TxSteer,
        ),
        load(
            "TCP to a service (dsr), IPv6",
            tcp6(client6, (VIP_V6_BOTH, 80), 0x10).frame(OURS, CLIENT),
            1,
            Counter::TxSteer,
        ),
        load(
            "SYN to a service (dsr)",
            segment(VIP_BOTH, 80, 0x02),
            1 << 16,
            Counter::TxSteer,
        ),
        load(
            "UDP to a service (dsr)",
            udp4(client, (VIP_BOTH, 53)).frame(OURS, CLIENT),
            1 << 16,
            Counter::TxSteer,
        ),
        to("TCP to a service (nat)", nat, 0x10, 1),
        to("TCP to a service (nat)", nat, 0x10, 1 << 10),
        to("TCP to a service (nat)", nat, 0x10, 1 << 16),
        to("TCP to a service (nat)", nat, 0x10, 1 << 19),
        load(
            "answer of a backend (nat)",
            answer.frame(OURS, backend_mac(NAT_BACKEND_NUMBER)),
            1,
            Counter::TxReply,
        ),
        tunnel(1),
        tunnel(1 << 10),
        tunnel(1 << 16),
        tunnel(1 << 19),
        to(
            "TCP, slots that have moved (dsr)",
            (VIP_BOTH, MOVED_PORT),
            0x10,
            1 << 16,
        ),
        to(
            "SYN, slots that have moved (dsr)",
            (VIP_BOTH, MOVED_PORT),
            0x02,
            1 << 16,
        ),
        load(
            "TCP to a local listener",
            segment(VIP_LOCAL, 443, 0x10),
            1 << 16,
            Counter::PassLocal,
        ),
        load("ping of a VIP", ping, 1, Counter::PassLocal),
    ]
    .into_iter()
    .map(|mut load| {
        // The feeder restores 88 bytes.
        load.frame.resize(load.frame.len().max(88), 0);
        load
    })
    .collect()
}

/// An owner whose services have a table of the usual size and a hundred backends; the one on
/// [`MOVED_PORT`] has one of its own, of which every slot has moved.
pub(crate) fn world(kernel: &Kernel) -> World {
    let mut world = World::at(kernel.clock());
    let routers: Vec<_> = world.routers.keys().copied().collect();
    for router in routers {
        world.own(router);
    }
    for (key, service) in &mut world.services {
        let region = u32::from(u16::from_be_bytes(key.port) == MOVED_PORT);
        (service.first_slot, service.slots) = (region * SLOTS, SLOTS);
    }
    let scattered = |slot: u32| slot.wrapping_mul(2_654_435_761) % BACKENDS;
    let slots = (0..SLOTS).flat_map(|slot| {
        let (here, other) = (scattered(slot), scattered(slot + 1));
        [
            (slot, Slot::at_rest(here)),
            (SLOTS + slot, Slot::moved(other, here)),
        ]
    });
    world.slots = slots.collect();
    let vip = (VIP_SERVICES, NAT_PORT);
    world.backends = (0..BACKENDS)
        .map(|index| (index, backend(index, vip, IFINDEX)))
        .collect();
    for index in 0..BACKENDS {
        let (address, port) = endpoint(index);
        let key = NatKey {
            address: v4_mapped(address),
            port: port.to_be_bytes(),
            protocol: IP_TCP,
            reserved: 0,
        };
        let source = NatSource {
            address: v4_mapped(vip.0),
            rewrite: rewrite((address, port), vip),
        };
        world.nat_sources.insert(key, source);
    }
    world
}

/// Where a backend serves.
pub(crate) fn endpoint(index: u32) -> ([u8; 4], u16) {
    ([10, 1, 0, 10 + index as u8], 8080)
}

/// The entry of a backend of a service, reached by an interface.
pub(crate) fn backend(index: u32, vip: ([u8; 4], u16), ifindex: u32) -> Backend {
    let endpoint = endpoint(index);
    let [address, address_end] = bytemuck::cast(v4_mapped(endpoint.0));
    Backend {
        next_hop: mac_to_word(backend_mac(index)) | BACKEND_RESOLVED,
        source: mac_to_word(OURS),
        ifindex: ifindex.into(),
        identity: 1,
        address,
        address_end,
        rewrite: rewrite(vip, endpoint),
        reserved: 0,
    }
}

fn rewrite(from: ([u8; 4], u16), to: ([u8; 4], u16)) -> u64 {
    let port = to.1.to_be_bytes();
    let delta = Delta::between((from.0, from.1.to_be_bytes()), (to.0, port));
    Rewrite { port, delta }.to_word()
}

/// A feeder before one program.
struct Feeder {
    ebpf: Ebpf,
    _next: ProgramArray<aya::maps::MapData>,
}

impl Feeder {
    fn load(object: &[u8], load: &Load, program: &Xdp) -> Self {
        let grows_from = if load.grows {
            load.frame.len() as u32
        } else {
            0
        };
        let mut ebpf = EbpfLoader::new()
            .override_global("FLOWS", &load.flows, true)
            .override_global("GROWS_FROM", &grows_from, true)
            .load(object)
            .unwrap_or_else(|error| panic!("cannot load the feeder: {error}"));
        let map = |ebpf: &mut Ebpf, name| ebpf.take_map(name).expect("the feeder has it");
        let mut template: Array<_, [u8; 88]> =
            map(&mut ebpf, "TEMPLATE").try_into().expect("an array");
        let bytes: [u8; 88] = load.frame[..88].try_into().expect("88 bytes");
        template.set(0, bytes, 0).expect("one entry");
        let mut next: ProgramArray<_> = map(&mut ebpf, "NEXT").try_into().expect("a program array");
        let fd = program.fd().expect("it is loaded");
        next.set(0, fd, 0)
            .unwrap_or_else(|error| panic!("cannot feed the program: {error}"));
        let mut feeder = Self { ebpf, _next: next };
        let program: &mut Xdp = feeder
            .ebpf
            .program_mut("hafw_feed")
            .expect("the object has it")
            .try_into()
            .expect("an XDP program");
        program
            .load()
            .unwrap_or_else(|error| panic!("cannot load hafw_feed: {error}"));
        feeder
    }

    /// ns of one run, feeder included.
    fn time(&mut self, frame: &[u8]) -> f64 {
        let program: &Xdp = self
            .ebpf
            .program("hafw_feed")
            .expect("the object has it")
            .try_into()
            .expect("an XDP program");
        let options = TestRunOptions {
            data_in: Some(frame),
            repeat: RUNS,
            ..TestRunOptions::default()
        };
        let ran: Result<_, ProgramError> = program.test_run(options);
        let result = ran.unwrap_or_else(|error| panic!("cannot run hafw_feed: {error}"));
        assert_ne!(
            result.return_value, 0,
            "the feeder found no program or too short a frame"
        );
        // The kernel's own average, in whole ns. Outside of it, the system call waits for RCU.
        result.duration.as_nanos() as f64
    }
}

/// Keeps this thread, and with it the runs, on the last CPU that it may use.
fn stay_on_one_cpu() {
    let this = Pid::from_raw(0);
    let Ok(allowed) = sched_getaffinity(this) else {
        return;
    };
    let last = (0..CpuSet::count())
        .rev()
        .find(|cpu| allowed.is_set(*cpu) == Ok(true));
    let mut one = CpuSet::new();
    if let Some(cpu) = last
        && one.set(cpu).is_ok()
    {
        // A measurement that wanders is only noisier.
        let _ = sched_setaffinity(this, &one);
    }
}

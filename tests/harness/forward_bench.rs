//! How many packets a second get through a director that has one core, over veth pairs.
//!
//! A generator (`hafw-ebpf/src/bin/feeder`) sends live frames (`BPF_F_TEST_XDP_LIVE_FRAMES`) into one
//! interface of a director, as fast as the director's queue takes them and faster; a sink behind the
//! other interface counts what was sent on to a backend. The director is the packet path, a program
//! that only redirects, or nftables with a hundred backends behind destination NAT. Each measurement
//! has a namespace of its own, so that none inherits another's connection table.
//!
//! With two cores the generator has one and the director's polling the other; with one they share
//! it. The same holds for all directors of a run, and only figures of one run are to be compared.

use std::{
    fmt::Write as _,
    fs,
    io::Write as _,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, MapData, PerCpuArray},
    programs::{TestRun as _, TestRunAttrs, TestRunOptions, Xdp, xdp::XdpLink},
};
use hafw_common::service::{MODE_DSR, MODE_NAT, ServiceKey};
use hafw_ebpf::fixtures::{
    World,
    frames::tcp4,
    world::{CLIENT, IFACE, OTHER_IFACE, OURS, VIP_BOTH, backend_mac},
};
use nix::{
    mount::{MsFlags, mount},
    net::if_::if_nametoindex,
    sched::{CloneFlags, CpuSet, sched_getaffinity, sched_setaffinity, unshare},
    unistd::Pid,
};

use crate::{
    Kernel, in_namespace,
    kernel::{attach_link, xdp_mut},
    xdp_bench::{BACKENDS, MOVED_PORT, backend, endpoint, world},
};

/// The service's port.
const PORT: u16 = 80;
/// Frames of a batch, as the kernel has it by default.
const BATCH: u32 = 64;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How often each director has each load, in turns.
    pub rounds: usize,
    /// About how long a measurement lasts.
    pub length: Duration,
}

/// What forwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Director {
    /// A program that writes one MAC and redirects.
    Floor,
    /// The packet path with a `dsr` service.
    Dsr,
    /// The packet path with a `nat` service.
    Nat,
    /// The packet path with a `nat` service of which every slot has moved.
    NatMoved,
    /// nftables' destination NAT with connection tracking.
    Nftables,
}

impl Director {
    const ALL: [Self; 5] = [
        Self::Floor,
        Self::Dsr,
        Self::Nat,
        Self::NatMoved,
        Self::Nftables,
    ];

    /// For a table.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Floor => "XDP redirect alone (the floor)",
            Self::Dsr => "hafw, dsr",
            Self::Nat => "hafw, nat",
            Self::NatMoved => "hafw, nat, every slot moved",
            Self::Nftables => "nftables DNAT",
        }
    }
}

/// What is sent.
#[derive(Debug)]
pub struct Load {
    /// For a table.
    pub name: &'static str,
    flows: u32,
    flags: u8,
}

/// Established connections, and a flood of new ones.
pub const LOADS: [Load; 3] = [
    Load {
        name: "1k flows",
        flows: 1 << 10,
        flags: 0x10,
    },
    Load {
        name: "64k flows",
        flows: 1 << 16,
        flags: 0x10,
    },
    Load {
        name: "new flow each packet",
        flows: 1 << 28,
        flags: 0x02,
    },
];

/// What a director came to.
#[derive(Debug)]
pub struct Row {
    /// Which.
    pub director: Director,
    /// Million packets a second of each round, ascending, for each of [`LOADS`].
    rates: [Vec<f64>; LOADS.len()],
}

impl Row {
    /// The medians.
    #[must_use]
    pub fn median(&self) -> [f64; LOADS.len()] {
        self.rates.each_ref().map(|rates| rates[rates.len() / 2])
    }

    /// The lowest and the highest for a load.
    #[must_use]
    pub fn range(&self, load: usize) -> (f64, f64) {
        let rates = &self.rates[load];
        (rates[0], rates[rates.len() - 1])
    }
}

/// Measures the programs of an object; says on which cores, and what each director came to.
///
/// # Panics
/// Something cannot be set up, or nothing gets through.
#[must_use]
pub fn measure(programs: &[u8], feeder: &[u8], plan: Plan) -> (&'static str, Vec<Row>) {
    let cores = Cores::find();
    let mut kernel = Kernel::load(programs);
    let mut rows: Vec<_> = Director::ALL
        .map(|director| Row {
            director,
            rates: Default::default(),
        })
        .into();
    for _ in 0..plan.rounds {
        for (at, load) in LOADS.iter().enumerate() {
            for row in &mut rows {
                let (kernel, director) = (&mut kernel, row.director);
                let mut rate = 0.0;
                in_namespace(|| rate = one(kernel, feeder, director, load, cores, plan.length));
                let name = director.name();
                assert!(rate > 0.0, "{name}, {}: nothing got through", load.name);
                row.rates[at].push(rate);
                row.rates[at].sort_by(f64::total_cmp);
            }
        }
    }
    (cores.name(), rows)
}

/// One measurement, in a namespace of its own.
fn one(
    kernel: &mut Kernel,
    feeder: &[u8],
    director: Director,
    load: &Load,
    cores: Cores,
    length: Duration,
) -> f64 {
    links();
    let [generator, inner, outer] = ["gen0", "in0", "out0"].map(index);
    let mut sink = Feeder::load(feeder, load, 0);
    let _sink = sink.attach("hafw_sink", "sink0");
    let mut floor = Feeder::load(feeder, load, outer);
    let _director: Option<XdpLink> = match director {
        Director::Floor => Some(floor.attach("hafw_floor", "in0")),
        Director::Dsr => Some(steering(kernel, MODE_DSR, PORT, [inner, outer])),
        Director::Nat => Some(steering(kernel, MODE_NAT, PORT, [inner, outer])),
        Director::NatMoved => Some(steering(kernel, MODE_NAT, MOVED_PORT, [inner, outer])),
        Director::Nftables => {
            nftables();
            None
        }
    };
    if cores == Cores::Two {
        poll_on_the_last_core();
    }
    stay_on(0);
    let port = if director == Director::NatMoved {
        MOVED_PORT
    } else {
        PORT
    };
    let mut source = Feeder::load(feeder, load, generator);
    source.fill(load, port);
    // So many take about how long? The caches and tables are warm then, too.
    let probe = 1 << 17;
    let took = source.send(probe);
    let frames = f64::from(probe) * length.as_secs_f64() / took.as_secs_f64();
    let before = sink.delivered();
    let took = source.send(frames as u32);
    let delivered = sink.delivered() - before;
    if delivered == 0 && !matches!(director, Director::Floor | Director::Nftables) {
        panic!(
            "{}: nothing got through: {:?}",
            director.name(),
            kernel.observed().counters
        );
    }
    delivered as f64 / took.as_secs_f64() / 1e6
}

/// `gen0` - `in0`, the director, `out0` - `sink0`.
fn links() {
    let mac = OURS.map(|byte| format!("{byte:02x}")).join(":");
    batch(&format!(
        "link add in0 address {mac} type veth peer name gen0\n\
         link add out0 type veth peer name sink0\n\
         link set gen0 addrgenmode none arp off up\n\
         link set sink0 addrgenmode none arp off up\n\
         link set in0 addrgenmode none up\n\
         link set out0 addrgenmode none up\n"
    ));
    // What is redirected to a veth device arrives only if its peer polls.
    for name in ["gen0", "in0", "out0"] {
        run("ethtool", &["-K", name, "gro", "on"]);
    }
}

fn index(name: &str) -> u32 {
    if_nametoindex(name).expect("the link is there")
}

/// The packet path with the benchmark's backends behind `out0`.
fn steering(kernel: &mut Kernel, mode: u32, port: u16, [inner, outer]: [u32; 2]) -> XdpLink {
    let mut world: World = world(kernel);
    for (slot, ifindex) in [(IFACE, inner), (OTHER_IFACE, outer)] {
        if let Some(iface) = world.ifaces.get_mut(&slot) {
            iface.ifindex = ifindex;
        }
    }
    world.backends = (0..BACKENDS)
        .map(|number| (number, backend(number, (VIP_BOTH, port), outer)))
        .collect();
    let key = ServiceKey::new(VIP_BOTH.into(), port, hafw_common::proto::IP_TCP);
    for (found, service) in &mut world.services {
        if *found == key {
            service.mode = mode;
        }
    }
    kernel.install(&world);
    kernel.attach_link("hafw", "in0")
}

/// Forwarding with destination NAT, to the same backends by a hash of the same ports.
fn nftables() {
    let mut text = "address add 10.0.0.5/24 dev in0\naddress add 10.1.0.5/24 dev out0\n".to_owned();
    let mut addresses = String::new();
    for number in 0..BACKENDS {
        let mac = backend_mac(number)
            .map(|byte| format!("{byte:02x}"))
            .join(":");
        let [a, b, c, d] = endpoint(number).0;
        let _ = writeln!(
            text,
            "neigh add {a}.{b}.{c}.{d} lladdr {mac} dev out0 nud permanent"
        );
        let _ = write!(addresses, "{number} : {a}.{b}.{c}.{d}, ");
    }
    batch(&text);
    let [a, b, c, d] = VIP_BOTH;
    let rules = format!(
        "table ip bench {{\n chain in {{\n type nat hook prerouting priority dstnat\n\
         ip daddr {a}.{b}.{c}.{d} tcp dport {PORT} \
         dnat to jhash ip saddr . tcp sport mod {BACKENDS} map {{ {addresses} }}\n }}\n }}"
    );
    run("nft", &[&rules]);
    // Checksums are a network card's work, and veth has none. Of a flood, no entry is worth keeping.
    for (key, value) in [
        ("ipv4/ip_forward", "1"),
        ("ipv4/conf/all/rp_filter", "0"),
        ("ipv4/conf/in0/rp_filter", "0"),
        ("netfilter/nf_conntrack_checksum", "0"),
        ("netfilter/nf_conntrack_tcp_timeout_syn_sent", "1"),
    ] {
        fs::write(format!("/proc/sys/net/{key}"), value)
            .unwrap_or_else(|error| panic!("set {key}: {error}"));
    }
}

/// Where generator and director run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cores {
    One,
    Two,
}

impl Cores {
    fn find() -> Self {
        if allowed().len() > 1 {
            Self::Two
        } else {
            Self::One
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::One => "generator and director on one core",
            Self::Two => "the director on a core of its own",
        }
    }
}

/// The cores that this process may use.
fn allowed() -> Vec<usize> {
    let set = sched_getaffinity(Pid::from_raw(0)).expect("the cores of this thread");
    let is_set = |cpu: &usize| set.is_set(*cpu) == Ok(true);
    (0..CpuSet::count()).filter(is_set).collect()
}

/// Keeps this thread on the first of its cores.
fn stay_on(first: usize) {
    pin(Pid::from_raw(0), allowed()[first]);
}

fn pin(thread: Pid, cpu: usize) {
    let mut one = CpuSet::new();
    one.set(cpu).expect("a core has a place in the set");
    sched_setaffinity(thread, &one).unwrap_or_else(|error| panic!("move {thread}: {error}"));
}

/// Lets a kernel thread poll `in0`, on the last core.
fn poll_on_the_last_core() {
    // The namespace's own view of its devices; the mount goes with this thread.
    unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace");
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).expect("private mounts");
    mount(Some("sysfs"), "/sys", Some("sysfs"), MsFlags::empty(), none).expect("mount /sys");
    fs::write("/sys/class/net/in0/threaded", "1").expect("poll by a thread");
    let last = *allowed().last().expect("there is a core");
    let end = Instant::now() + Duration::from_secs(2);
    loop {
        let pollers = pollers();
        if !pollers.is_empty() {
            pollers.into_iter().for_each(|thread| pin(thread, last));
            return;
        }
        assert!(Instant::now() < end, "no thread polls in0");
        thread::sleep(Duration::from_millis(1));
    }
}

/// The kernel threads that poll a device of this name (in whatever namespace).
fn pollers() -> Vec<Pid> {
    let entries = fs::read_dir("/proc").expect("read /proc").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let polls = |pid: &i32| {
        fs::read_to_string(format!("/proc/{pid}/comm"))
            .is_ok_and(|comm| comm.starts_with("napi/in0-"))
    };
    pids.filter(polls).map(Pid::from_raw).collect()
}

/// One instance of the feeder's programs.
struct Feeder(Ebpf);

impl Feeder {
    fn load(object: &[u8], load: &Load, target: u32) -> Self {
        let ebpf = EbpfLoader::new()
            .override_global("FLOWS", &load.flows, true)
            .override_global("TARGET", &target, true)
            .load(object);
        Self(ebpf.unwrap_or_else(|error| panic!("cannot load the feeder: {error}")))
    }

    fn program(&mut self, name: &str) -> &mut Xdp {
        let program = xdp_mut(&mut self.0, name);
        if program.fd().is_err() {
            program
                .load()
                .unwrap_or_else(|error| panic!("cannot load {name}: {error}"));
        }
        program
    }

    fn attach(&mut self, name: &str, interface: &str) -> XdpLink {
        attach_link(self.program(name), interface)
    }

    /// Sets the frame: of flow 0, whose half of the address is zero.
    fn fill(&mut self, load: &Load, port: u16) {
        let client = ([10, 64, 0, 0], 1024);
        let mut segment = tcp4(client, (VIP_BOTH, port), load.flags);
        segment.payload.truncate(20);
        let mut frame = segment.frame(OURS, CLIENT);
        frame.resize(88, 0);
        let map = self.0.map_mut("TEMPLATE").expect("the feeder has it");
        let mut template: Array<&mut MapData, [u8; 88]> = map.try_into().expect("an array");
        let bytes: [u8; 88] = frame[..].try_into().expect("88 bytes");
        template.set(0, bytes, 0).expect("one entry");
    }

    /// Sends so many frames, and returns how long that took.
    fn send(&mut self, frames: u32) -> Duration {
        let options = TestRunOptions {
            data_in: Some(&[0; 60]),
            repeat: frames,
            attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
            ..TestRunOptions::default()
        };
        let program = self.program("hafw_generate");
        let start = Instant::now();
        program
            .test_run(options)
            .unwrap_or_else(|error| panic!("cannot send: {error}"));
        start.elapsed()
    }

    fn delivered(&self) -> u64 {
        let map = self.0.map("DELIVERED").expect("the feeder has it");
        let counts: PerCpuArray<&MapData, u64> = map.try_into().expect("an array");
        counts.get(&0, 0).expect("one entry").iter().sum()
    }
}

/// Runs `ip` with these lines.
fn batch(lines: &str) {
    let mut ip = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("start ip");
    let mut input = ip.stdin.take().expect("it is piped");
    input.write_all(lines.as_bytes()).expect("tell ip");
    drop(input);
    assert!(
        ip.wait().is_ok_and(|status| status.success()),
        "ip: {lines}"
    );
}

fn run(program: &str, args: &[&str]) {
    let status = Command::new(program).args(args).status();
    assert!(
        status.is_ok_and(|status| status.success()),
        "{program} {args:?}"
    );
}

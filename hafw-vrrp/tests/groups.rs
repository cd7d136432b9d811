//! Sync groups in a world that goes wrong: two or three nodes, each with the routers 0 and 1 in a
//! group and 2 alone, on a virtual clock, with loss, partitions, faults, priorities that change and
//! controllers that stand still. What the lease and XDP add is simulated in `sim`; this looks at
//! whether a group stays one, and whether somebody owns it in the end.
//!
//! `HAFW_SIM_SEED=<seed>` runs one seed and prints what happened, `HAFW_SIM_SEEDS=<number>` so many.

use std::{collections::VecDeque, env};

use hafw_vrrp::{
    Auth, ChecksumForm, Effects, Engine, Event, Instant, Interval, Missed, Priority, Refusal,
    Revocation, RouterConfig, StateKind, Transition, Version, VirtualRouter, Vrid,
    wire::Advertisement,
};

#[path = "sim/random.rs"]
mod random;

use random::Random;

const ROUTERS: usize = 3;
const GROUP: [usize; 2] = [0, 1];
const VRRP_GROUP: [u8; 4] = [224, 0, 0, 18];
const MS: u64 = 1_000_000;
const INTERVAL: u64 = 100 * MS;
/// An advert that is not lost arrives a step after it was sent.
const STEP: u64 = MS;

/// A machine, but for its engine.
struct Machine {
    source: [u8; 4],
    now: u64,
    inbox: VecDeque<(usize, Event)>,
    sent: Vec<(usize, Vec<u8>)>,
    attracts: [bool; ROUTERS],
    takeovers: u64,
    traced: bool,
}

impl Effects for Machine {
    fn now(&mut self) -> Instant {
        self.now += 1_000;
        Instant::from_nanos(self.now)
    }

    fn next_event(&mut self) -> Option<(usize, Event)> {
        self.inbox.pop_front()
    }

    fn missed(&mut self, _router: usize) -> Vec<Missed> {
        Vec::new()
    }

    fn send(&mut self, router: usize, advert: &Advertisement) -> bool {
        let message = advert.emit(self.source.into(), VRRP_GROUP.into(), ChecksumForm::Message);
        self.sent.push((router, message));
        true
    }

    fn renew(&mut self, router: usize, _t: Instant, _until: Instant, _priority: Priority) {
        self.attracts[router] = true;
    }

    fn revoke(&mut self, router: usize, _revocation: Revocation, _now: Instant) {
        self.attracts[router] = false;
    }

    fn announce(&mut self, router: usize, _now: Instant) {
        assert!(self.attracts[router], "announces without a lease");
    }

    #[expect(clippy::print_stdout, reason = "the trace of one seed")]
    fn transition(&mut self, router: usize, transition: Transition, _now: Instant) {
        if self.traced {
            println!(
                "{:>10.3} ms  {:?}/{router}: {transition:?}",
                self.now as f64 / 1e6,
                self.source
            );
        }
        self.takeovers += u64::from(transition.to == StateKind::Active);
    }

    fn refused(&mut self, _router: usize, refusal: Refusal) {
        panic!("an advert was refused: {refusal}");
    }
}

struct Node {
    engine: Engine,
    machine: Machine,
    /// By router: its own, not its group's.
    faulty: [bool; ROUTERS],
    stands_until: u64,
}

impl Node {
    fn new(number: u8, random: &mut Random, traced: bool) -> Self {
        let base = random.pick(&[50, 100, 100, 150, 200]);
        let preempt = !random.one_in(4);
        let routers = (0..ROUTERS as u8).map(|router| {
            // Mostly the members have one priority, as they should.
            let priority = if random.one_in(4) { 120 } else { base };
            VirtualRouter::new(RouterConfig {
                vrid: Vrid::new(router + 1).expect("not 0"),
                version: Version::V3,
                priority: Priority::from(priority),
                interval: Interval::from_centiseconds(10).expect("in range"),
                down_timer_adverts: 3,
                preempt,
                preempt_delay: std::time::Duration::ZERO,
                start_delay: std::time::Duration::ZERO,
                source: [10, 0, 0, 5 + number].into(),
                addresses: vec![[10, 0, 1, router].into()],
                auth: Auth::None,
                checksum: ChecksumForm::Message,
                grace: std::time::Duration::from_secs(60),
            })
        });
        let engine = Engine::new(routers.collect()).with_group(&GROUP);
        let machine = Machine {
            source: [10, 0, 0, 5 + number],
            now: 0,
            inbox: VecDeque::new(),
            sent: Vec::new(),
            attracts: [false; ROUTERS],
            takeovers: 0,
            traced,
        };
        let mut node = Self {
            engine,
            machine,
            faulty: [false; ROUTERS],
            stands_until: 0,
        };
        for router in 0..ROUTERS {
            node.engine.startup(router, &mut node.machine);
        }
        node
    }

    fn state(&self, router: usize) -> StateKind {
        self.engine.routers()[router].state().kind()
    }

    fn owns(&self, router: usize) -> bool {
        self.machine.attracts[router] && self.state(router) == StateKind::Active
    }

    fn step(&mut self, now: u64) -> Result<(), String> {
        if now < self.stands_until {
            return Ok(());
        }
        self.machine.now = self.machine.now.max(now);
        let deadline = self.engine.run(&mut self.machine);
        if deadline.is_some_and(|deadline| deadline.as_nanos() + 100_000 <= self.machine.now) {
            return Err("something is due again and again".into());
        }
        self.check()
    }

    fn check(&self) -> Result<(), String> {
        let [one, other] = GROUP.map(|router| self.state(router));
        let faulty = GROUP.iter().any(|router| self.faulty[*router]);
        let together = one == other && (one == StateKind::Fault) == faulty;
        let alone = (self.state(2) == StateKind::Fault) == self.faulty[2];
        let attract = GROUP.map(|router| self.machine.attracts[router]);
        if !together || !alone || attract[0] != attract[1] {
            return Err(format!(
                "{:?}: {one:?} and {other:?}, faults {:?}, attract {:?}",
                self.machine.source, self.faulty, self.machine.attracts
            ));
        }
        Ok(())
    }

    fn set_fault(&mut self, router: usize, faulty: bool) {
        self.faulty[router] = faulty;
        if faulty {
            self.engine.fault(router, &mut self.machine);
        } else {
            self.engine.recover(router, &mut self.machine);
        }
    }
}

/// Runs one seed, and says how often a router took over.
fn run(seed: u64, traced: bool) -> Result<u64, String> {
    let mut random = Random::new(seed);
    let number = random.between(2, 3) as u8;
    let mut nodes: Vec<Node> = (0..number)
        .map(|number| Node::new(number, &mut random, traced))
        .collect();
    let calm_at = random.between(20, 80) * INTERVAL;
    let end = calm_at + 40 * INTERVAL;
    let (mut loss, mut cut) = (0, None);
    for now in (0..end).step_by(STEP as usize) {
        if now == calm_at {
            (loss, cut) = (0, None);
            for node in &mut nodes {
                node.stands_until = 0;
                for router in 0..ROUTERS {
                    if node.faulty[router] {
                        node.set_fault(router, false);
                    }
                }
            }
        }
        if now < calm_at && random.one_in(60) {
            let index = random.index(nodes.len());
            let (node, router) = (&mut nodes[index], random.index(ROUTERS));
            match random.index(6) {
                0 => loss = random.pick(&[0, 0, 5, 30]),
                1 => cut = random.pick(&[None, Some((index, router))]),
                2 => node.stands_until = now + random.between(1, 10) * INTERVAL,
                3 | 4 if now >= node.stands_until => node.set_fault(router, !node.faulty[router]),
                _ => {
                    let priority = Priority::from(random.between(1, 254) as u8);
                    node.engine.set_priority(router, priority);
                }
            }
        }
        for node in &mut nodes {
            node.step(now)
                .map_err(|error| format!("at {now} ns: {error}"))?;
        }
        for from in 0..nodes.len() {
            let source = nodes[from].machine.source;
            for (router, message) in std::mem::take(&mut nodes[from].machine.sent) {
                for to in (0..nodes.len()).filter(|to| *to != from) {
                    // Of one router alone: a group meets it in one member only.
                    let part = cut
                        .is_some_and(|(node, cut)| (node == from || node == to) && cut == router);
                    if part || random.percent(loss) {
                        continue;
                    }
                    let event = Event::Advert {
                        at: Instant::from_nanos(now + STEP),
                        source: source.into(),
                        destination: VRRP_GROUP.into(),
                        message: message.clone(),
                    };
                    nodes[to].machine.inbox.push_back((router, event));
                }
            }
        }
    }
    for router in 0..ROUTERS {
        let owners = nodes.iter().filter(|node| node.owns(router)).count();
        // Members of a group may be of different precedence on the nodes. Then no node may have all.
        let could = router == 2 || {
            let best = |router: usize| {
                nodes
                    .iter()
                    .enumerate()
                    .max_by_key(|(index, node)| (node.engine.routers()[router].priority(), *index))
            };
            best(0).map(|(index, _)| index) == best(1).map(|(index, _)| index)
        };
        if owners > 1 || (owners == 0 && could) {
            return Err(format!("{owners} own router {router}, and all is well"));
        }
    }
    Ok(nodes.iter().map(|node| node.machine.takeovers).sum())
}

#[test]
fn whatever_goes_wrong_a_group_moves_together() {
    if let Ok(seed) = env::var("HAFW_SIM_SEED") {
        let seed = seed.parse().expect("HAFW_SIM_SEED is a number");
        println!("{:?}", run(seed, true));
        return;
    }
    let number = env::var("HAFW_SIM_SEEDS").map_or(60, |n| n.parse().expect("a number"));
    let mut takeovers = 0;
    for seed in 0..number {
        match run(seed, false) {
            Ok(more) => takeovers += more,
            Err(error) => panic!("HAFW_SIM_SEED={seed}: {error}"),
        }
    }
    assert!(takeovers > number * 6, "only {takeovers} takeovers");
}

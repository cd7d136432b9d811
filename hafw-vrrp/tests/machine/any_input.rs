//! Whatever happens to a router, in any order and at any time: it does not panic, and what it asks
//! for keeps the order that [`Action`] promises.

use std::{net::IpAddr, time::Duration};

use hafw_vrrp::{Action, Instant, Priority, RouterConfig, StateKind, VirtualRouter};
use proptest::{
    collection::vec,
    prelude::{Just, Strategy, any, prop_oneof},
    prop_assert, prop_assert_eq, proptest,
    test_runner::TestCaseError,
};

use crate::routers::{HIGHER_ADDRESS, LOWER_ADDRESS, advert, config};

#[derive(Clone, Debug)]
enum Input {
    Startup,
    Adopt {
        left: u64,
        priority: u8,
    },
    Shutdown,
    Fault,
    Recover,
    Priority(u8),
    Claim,
    Advert {
        priority: u8,
        higher: bool,
        ago: u64,
    },
    Missed {
        priority: u8,
        higher: bool,
        ago: u64,
    },
    Timeout,
}

const MS: u64 = 1_000_000;

fn input() -> impl Strategy<Value = Input> {
    // Mostly new, sometimes met late.
    let ago = || prop_oneof![4 => Just(0), 1 => 0..5_000 * MS];
    let priority = || prop_oneof![any::<u8>(), Just(0), Just(100), Just(255)];
    let heard = || (priority(), any::<bool>(), ago());
    prop_oneof![
        2 => Just(Input::Startup),
        1 => (0..4_000 * MS, priority())
            .prop_map(|(left, priority)| Input::Adopt { left, priority }),
        1 => Just(Input::Shutdown),
        1 => Just(Input::Fault),
        1 => Just(Input::Recover),
        1 => priority().prop_map(Input::Priority),
        1 => Just(Input::Claim),
        5 => heard()
            .prop_map(|(priority, higher, ago)| Input::Advert { priority, higher, ago }),
        1 => heard()
            .prop_map(|(priority, higher, ago)| Input::Missed { priority, higher, ago }),
        8 => Just(Input::Timeout),
    ]
}

/// How much later the next input is: at once, a little, or long after.
fn wait() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), 0..20 * MS, 0..1_000 * MS, 0..20_000 * MS]
}

/// A router and the lease that was written for it.
struct Node {
    router: VirtualRouter,
    now: Instant,
    attracts_until: Instant,
    /// What the router was last told of sending.
    sends: bool,
}

impl Node {
    fn happen(&mut self, input: &Input) {
        let (router, now) = (&mut self.router, self.now);
        let from = |higher: bool, ago: u64| -> (IpAddr, Instant) {
            let source = if higher {
                HIGHER_ADDRESS
            } else {
                LOWER_ADDRESS
            };
            let at = Instant::from_nanos(now.as_nanos().saturating_sub(ago));
            (source, at)
        };
        match *input {
            Input::Startup => router.startup(now),
            Input::Adopt { left, priority } => {
                let ends = Instant::from_nanos(now.as_nanos() + left);
                if router.state().kind() == StateKind::Initialize {
                    self.attracts_until = ends;
                }
                router.adopt(now, ends, priority.into());
            }
            Input::Shutdown => router.shutdown(now),
            Input::Fault => router.fault(now),
            Input::Recover => router.recover(now),
            Input::Priority(priority) => router.set_priority(priority.into()),
            Input::Claim => router.handle_claim(now),
            Input::Advert {
                priority,
                higher,
                ago,
            } => {
                let (source, at) = from(higher, ago);
                router.handle_advertisement(at, source, &advert(priority));
            }
            Input::Missed {
                priority,
                higher,
                ago,
            } => {
                let (source, at) = from(higher, ago);
                router.handle_missed(at, source, priority.into());
            }
            Input::Timeout => router.handle_timeout(now),
        }
    }

    fn carry_out(&mut self) -> Result<(), TestCaseError> {
        while let Some(action) = self.router.poll_action() {
            let attracts = self.now < self.attracts_until;
            match action {
                Action::Advertise {
                    priority,
                    renew: true,
                } => {
                    prop_assert!(self.router.is_active());
                    prop_assert!(priority != Priority::RELEASE, "a claim with priority 0");
                    if self.sends {
                        self.attracts_until = self.now + self.router.lease_length();
                        self.router.advert_sent(self.now, self.now);
                    } else {
                        self.router.advert_failed(self.now);
                    }
                }
                Action::Advertise {
                    priority,
                    renew: false,
                } => {
                    prop_assert!(!attracts, "a last word of {priority} while it attracts");
                }
                Action::Revoke(_) => self.attracts_until = Instant::from_nanos(0),
                Action::Announce => prop_assert!(attracts, "an announcement without a lease"),
                Action::Transition(transition) => {
                    prop_assert!(transition.from != transition.to);
                    let left = transition.from == StateKind::Active;
                    prop_assert!(!(left && attracts), "{transition:?} while it attracts");
                }
            }
        }
        let attracts = self.now < self.attracts_until;
        prop_assert!(
            !attracts || self.router.is_active(),
            "only an Active attracts"
        );
        prop_assert!(!self.router.is_leased(self.now) || attracts);
        Ok(())
    }

    /// Fires timers as the engine does, until nothing is due.
    fn settle(&mut self) -> Result<(), TestCaseError> {
        for _ in 0..4 {
            if self.router.poll_timeout().is_none_or(|due| due > self.now) {
                return Ok(());
            }
            self.router.handle_timeout(self.now);
            self.carry_out()?;
        }
        prop_assert!(
            false,
            "something is due again and again: {:?}",
            self.router.state()
        );
        Ok(())
    }
}

proptest! {
    #[test]
    fn any_inputs_keep_the_order_of_the_actions(
        preempt in any::<bool>(),
        priority in 1..=255u8,
        delays in prop_oneof![Just((0, 0)), (0..20_000u64, 0..5_000u64)],
        inputs in vec((input(), wait(), any::<bool>(), any::<bool>()), 0..60),
    ) {
        let config = RouterConfig {
            preempt,
            preempt_delay: Duration::from_millis(delays.0),
            start_delay: Duration::from_millis(delays.1),
            priority: priority.into(),
            ..config()
        };
        let start = Instant::from_nanos(1_000_000 * MS);
        let mut node = Node {
            router: VirtualRouter::new(config),
            now: start,
            attracts_until: Instant::from_nanos(0),
            sends: true,
        };
        for (input, wait, sends, settles) in inputs {
            node.now = Instant::from_nanos(node.now.as_nanos() + wait);
            node.sends = sends;
            node.happen(&input);
            node.carry_out()?;
            if settles {
                node.settle()?;
            }
            let transitions = node.router.transitions();
            node.router.handle_timeout(Instant::from_nanos(0));
            prop_assert_eq!(node.router.transitions(), transitions, "the past changes nothing");
            node.carry_out()?;
        }
    }
}

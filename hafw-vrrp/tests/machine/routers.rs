//! Routers and adverts for the tests.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use hafw_vrrp::{
    Action, Auth, ChecksumForm, Instant, Interval, Priority, Revocation, RouterConfig, Version,
    VirtualRouter, Vrid, wire::Advertisement,
};

pub(crate) const OWN: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 5));
pub(crate) const LOWER_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 4));
pub(crate) const HIGHER_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 6));
pub(crate) const GROUP: IpAddr = IpAddr::V4(Ipv4Addr::new(224, 0, 0, 18));
pub(crate) const GRACE: Duration = Duration::from_secs(60);

pub(crate) fn ms(ms: u64) -> Instant {
    Instant::from_nanos(ms * 1_000_000)
}

pub(crate) fn us(us: u64) -> Instant {
    Instant::from_nanos(us * 1_000)
}

/// Version 3, priority 100, 1 s: skew 609.375 ms, Active_Down_Interval 3609.375 ms, lease 2992 ms.
pub(crate) fn config() -> RouterConfig {
    RouterConfig {
        vrid: Vrid::new(51).unwrap(),
        version: Version::V3,
        priority: Priority::DEFAULT,
        interval: Interval::from_seconds(1).unwrap(),
        down_timer_adverts: 3,
        preempt: true,
        preempt_delay: Duration::ZERO,
        start_delay: Duration::ZERO,
        source: OWN,
        addresses: vec![[10, 0, 0, 3].into()],
        auth: Auth::None,
        checksum: ChecksumForm::PseudoHeader,
        grace: GRACE,
    }
}

pub(crate) fn advert(priority: u8) -> Advertisement {
    config().advertisement(priority.into())
}

/// What was asked for since it was last looked at, in words:
/// `renew`, `last` and `release` are adverts (that renews; of the own priority; of priority 0),
/// `revoke`, `revoke-fault` and `superseded` end attracting, `>state` is a transition.
pub(crate) fn asked(router: &mut VirtualRouter) -> String {
    let mut words = Vec::new();
    while let Some(action) = router.poll_action() {
        words.push(match action {
            Action::Advertise {
                renew: true,
                priority,
            } => {
                assert_eq!(priority, router.priority());
                "renew".into()
            }
            Action::Advertise {
                renew: false,
                priority: Priority::RELEASE,
            } => "release".into(),
            Action::Advertise {
                renew: false,
                priority,
            } => {
                assert_eq!(priority, router.priority());
                "last".into()
            }
            Action::Revoke(
                Revocation::Orderly { grace: GRACE } | Revocation::Preempted { grace: GRACE },
            ) => "revoke".into(),
            Action::Revoke(Revocation::Fault { grace: GRACE }) => "revoke-fault".into(),
            Action::Revoke(Revocation::Superseded { grace: GRACE }) => "superseded".into(),
            Action::Revoke(other) => panic!("{other:?}"),
            Action::Announce => "announce".into(),
            Action::Transition(transition) => format!(">{}", transition.to.name()),
        });
    }
    words.join(" ")
}

/// A Backup since 0.
pub(crate) fn backup(config: RouterConfig) -> VirtualRouter {
    let mut router = VirtualRouter::new(config);
    router.startup(ms(0));
    assert_eq!(asked(&mut router), ">backup");
    router
}

/// An Active that took over at its first chance, at 3609.375 ms with [`config`], and announced.
pub(crate) fn active(config: RouterConfig) -> VirtualRouter {
    let mut router = claiming(config);
    let now = router.since();
    router.advert_sent(now, now);
    router.handle_timeout(now);
    assert_eq!(asked(&mut router), "announce");
    router
}

/// As [`active`], before its claim was sent.
pub(crate) fn claiming(config: RouterConfig) -> VirtualRouter {
    let mut router = backup(config);
    let timer = router.poll_timeout().unwrap();
    router.handle_timeout(timer);
    assert_eq!(asked(&mut router), ">active renew");
    router
}

//! What a virtual router is configured with, and what follows from that alone.

use std::{net::IpAddr, time::Duration};

use crate::{
    Auth, ChecksumForm, Interval, Priority, Refusal, Version, Vrid, lease_length,
    wire::Advertisement,
};

/// What a virtual router is configured with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouterConfig {
    /// Virtual router id.
    pub vrid: Vrid,
    /// Version that is spoken and heard.
    pub version: Version,
    /// Priority before tracking.
    pub priority: Priority,
    /// Advertisement_Interval.
    pub interval: Interval,
    /// n in Active_Down_Interval = n·A + Skew_Time; the RFCs' is 3. The same for all routers of the
    /// group: our lease is as long as the peers wait.
    pub down_timer_adverts: u8,
    /// Preempt_Mode. An owner always preempts (RFC 9568 §6.1).
    pub preempt: bool,
    /// How long an Active of lower priority is left alone, counted from its first advert. Not by an
    /// owner.
    pub preempt_delay: Duration,
    /// From [`crate::VirtualRouter::startup`] until this router takes part.
    pub start_delay: Duration,
    /// Where adverts leave from: the interface's primary address; over IPv6 its link-local one
    /// (RFC 9568 §5.1.2.1).
    pub source: IpAddr,
    /// The virtual addresses, of one family. Over IPv6 the first is link-local (RFC 9568 §5.2.9).
    pub addresses: Vec<IpAddr>,
    /// Version 2's authentication.
    pub auth: Auth,
    /// What a version 3 checksum over IPv4 covers when sending.
    pub checksum: ChecksumForm,
    /// How long what still arrives is served after stepping down.
    pub grace: Duration,
}

impl RouterConfig {
    /// Whether an advert from `source` is for this router: the checks of RFC 9568 §7.1 (RFC 3768
    /// §7.1) that need the configuration. The address list is not compared: the RFCs leave that
    /// open, and a list that is being changed on one node after the other must not part the group.
    ///
    /// # Errors
    /// The first check that failed, in the order VRID, source, version, authentication, interval.
    pub fn check(&self, source: IpAddr, advert: &Advertisement) -> Result<(), Refusal> {
        if advert.vrid != self.vrid {
            return Err(Refusal::ForeignVrid(advert.vrid));
        }
        if source == self.source {
            return Err(Refusal::Own);
        }
        if advert.version != self.version {
            return Err(Refusal::ForeignVersion(advert.version));
        }
        match self.version {
            Version::V2 if advert.auth != self.auth => Err(Refusal::ForeignAuth),
            // "Verify that the Adver Interval in the packet is the same as the locally configured".
            Version::V2 if advert.interval != self.interval => {
                Err(Refusal::ForeignInterval(advert.interval))
            }
            Version::V2 | Version::V3 => Ok(()),
        }
    }

    /// Skew_Time of a router with `priority`, for the given Active_Adver_Interval: version 2's is a
    /// fraction of a second (RFC 3768 §6.1), version 3's one of the interval (RFC 9568 §6.1).
    #[must_use]
    pub fn skew_time(&self, priority: Priority, active_adver_interval: Interval) -> Duration {
        let whole = match self.version {
            Version::V2 => Duration::from_secs(1),
            Version::V3 => active_adver_interval.as_duration(),
        };
        whole * u32::from(256 - u16::from(priority.get())) / 256
    }

    /// Active_Down_Interval of a router with `priority`, for the given Active_Adver_Interval.
    #[must_use]
    pub fn active_down_interval(
        &self,
        priority: Priority,
        active_adver_interval: Interval,
    ) -> Duration {
        active_adver_interval.as_duration() * u32::from(self.down_timer_adverts)
            + self.skew_time(priority, active_adver_interval)
    }

    /// How long an advert of this router holds the addresses: L, see [`lease_length`].
    #[must_use]
    pub fn lease_length(&self) -> Duration {
        lease_length(self.interval, self.down_timer_adverts)
    }

    /// The advert with this priority.
    #[must_use]
    pub fn advertisement(&self, priority: Priority) -> Advertisement {
        Advertisement {
            version: self.version,
            vrid: self.vrid,
            priority,
            interval: self.interval,
            auth: match self.version {
                Version::V2 => self.auth,
                Version::V3 => Auth::None,
            },
            addresses: self.addresses.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(version: Version, interval: Interval) -> RouterConfig {
        RouterConfig {
            vrid: Vrid::new(51).unwrap(),
            version,
            priority: Priority::DEFAULT,
            interval,
            down_timer_adverts: 3,
            preempt: true,
            preempt_delay: Duration::ZERO,
            start_delay: Duration::ZERO,
            source: [10, 0, 0, 5].into(),
            addresses: vec![[10, 0, 0, 3].into()],
            auth: Auth::Pass(*b"1111\0\0\0\0"),
            checksum: ChecksumForm::PseudoHeader,
            grace: Duration::from_secs(60),
        }
    }

    fn v2() -> RouterConfig {
        config(Version::V2, Interval::from_seconds(1).unwrap())
    }

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 6));

    #[test]
    fn the_timers_are_those_that_keepalived_keeps() {
        // 1 s, priority 100: 3609.375 ms in either version.
        let second = Interval::from_seconds(1).unwrap();
        for version in [Version::V2, Version::V3] {
            let interval = config(version, second).active_down_interval(100.into(), second);
            assert_eq!(interval, Duration::from_micros(3_609_375));
        }
    }

    #[test]
    fn version_2_does_not_scale_the_skew_and_version_3_does() {
        let [long, short] = [10, 1].map(|s| Interval::from_seconds(s).unwrap());
        let skew = |version, interval| config(version, short).skew_time(192.into(), interval);
        assert_eq!(skew(Version::V2, long), Duration::from_millis(250));
        assert_eq!(skew(Version::V3, long), Duration::from_millis(2_500));
        let shortest = Interval::from_centiseconds(1).unwrap();
        let owner = config(Version::V3, shortest).skew_time(Priority::OWNER, shortest);
        assert_eq!(
            owner,
            Duration::from_nanos(39_062),
            "not rounded to centiseconds"
        );
    }

    #[test]
    fn an_advert_must_fit_the_router() {
        let ours = v2();
        let advert = ours.advertisement(150.into());
        let of = |config: &RouterConfig| config.advertisement(150.into());
        assert_eq!(ours.check(PEER, &advert), Ok(()));
        assert_eq!(ours.check(ours.source, &advert), Err(Refusal::Own));
        let vrid = Vrid::new(52).unwrap();
        let other = RouterConfig { vrid, ..v2() };
        assert_eq!(
            ours.check(PEER, &of(&other)),
            Err(Refusal::ForeignVrid(vrid))
        );
        let other = RouterConfig {
            version: Version::V3,
            ..v2()
        };
        let refused = ours.check(PEER, &of(&other));
        assert_eq!(refused, Err(Refusal::ForeignVersion(Version::V3)));
        for auth in [Auth::None, Auth::Pass(*b"1112\0\0\0\0")] {
            let other = RouterConfig { auth, ..v2() };
            assert_eq!(ours.check(PEER, &of(&other)), Err(Refusal::ForeignAuth));
        }
        let interval = Interval::from_seconds(2).unwrap();
        let other = RouterConfig { interval, ..v2() };
        assert_eq!(
            ours.check(PEER, &of(&other)),
            Err(Refusal::ForeignInterval(interval))
        );
        let other = RouterConfig {
            addresses: vec![[10, 0, 0, 9].into()],
            ..v2()
        };
        assert_eq!(ours.check(PEER, &of(&other)), Ok(()));
    }

    #[test]
    fn version_3_takes_any_interval_and_sends_no_password() {
        let [own, other] = [10, 50].map(|cs| Interval::from_centiseconds(cs).unwrap());
        let advert = config(Version::V3, other).advertisement(150.into());
        assert_eq!(advert.auth, Auth::None);
        assert_eq!(config(Version::V3, own).check(PEER, &advert), Ok(()));
    }
}

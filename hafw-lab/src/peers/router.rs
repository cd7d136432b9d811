//! A virtual router, in terms that hafw and keepalived share.

use std::{net::Ipv4Addr, time::Duration};

use crate::{Station, VIP_BBS, VIP_WWW};

/// Version, interval and authentication of a virtual router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timing {
    /// The lesson's: VRRP version 2, 1 s, `PASS 1111`.
    V2Second,
    /// VRRP version 3, 100 ms.
    V3Tenth,
    /// VRRP version 3, 10 ms: the shortest that an advert can express and keepalived accepts.
    V3Hundredth,
}

impl Timing {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::V2Second, Self::V3Tenth, Self::V3Hundredth];

    /// What a table calls it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::V2Second => "v2 1 s",
            Self::V3Tenth => "v3 100 ms",
            Self::V3Hundredth => "v3 10 ms",
        }
    }

    /// 2 or 3.
    #[must_use]
    pub const fn version(self) -> u8 {
        match self {
            Self::V2Second => 2,
            Self::V3Tenth | Self::V3Hundredth => 3,
        }
    }

    /// The advertisement interval.
    #[must_use]
    pub const fn interval(self) -> Duration {
        match self {
            Self::V2Second => Duration::from_secs(1),
            Self::V3Tenth => Duration::from_millis(100),
            Self::V3Hundredth => Duration::from_millis(10),
        }
    }

    /// How long a backup of this priority waits (RFC 9568 §6.1: Active_Down_Interval; RFC 3768 has
    /// the same at 1 s).
    #[must_use]
    pub fn active_down_interval(self, priority: u8) -> Duration {
        self.interval() * 3 + self.interval() * (256 - u32::from(priority)) / 256
    }
}

/// A virtual router of one node.
#[derive(Clone, Debug)]
pub struct Router {
    /// Its name.
    pub name: String,
    /// VRID.
    pub vrid: u8,
    /// Priority.
    pub priority: u8,
    /// Its VIP, on 10.0.0.0/24.
    pub vip: Ipv4Addr,
    /// Its timing.
    pub timing: Timing,
}

impl Router {
    /// The lesson's `oldboy`: VRID 51, 10.0.0.3, 150 on lb01 and 100 on lb02.
    #[must_use]
    pub fn oldboy(node: Station, timing: Timing) -> Self {
        let priority = if node == Station::Lb01 { 150 } else { 100 };
        Self {
            name: "oldboy".to_owned(),
            vrid: 51,
            priority,
            vip: VIP_WWW,
            timing,
        }
    }

    /// The lesson's `oldgirl`: VRID 52, 10.0.0.4, 100 on lb01 and 150 on lb02.
    #[must_use]
    pub fn oldgirl(node: Station, timing: Timing) -> Self {
        let priority = if node == Station::Lb01 { 100 } else { 150 };
        Self {
            name: "oldgirl".to_owned(),
            vrid: 52,
            priority,
            vip: VIP_BBS,
            timing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_down_interval_is_the_rfcs() {
        let lesson = Timing::V2Second.active_down_interval(100);

        assert_eq!(lesson, Duration::from_micros(3_609_375));
    }
}

//! The protocol's quantities, each with its range.

use std::{
    fmt,
    num::NonZeroU8,
    ops::{Add, Sub},
    time::Duration,
};

/// A point of CLOCK_MONOTONIC, in ns. (`std::time::Instant` cannot be made from a number, which a
/// simulation and XDP's arrival times need.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// From nanoseconds.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// In nanoseconds.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// How long `earlier` is past at `self`; zero if it is to come.
    #[must_use]
    pub const fn saturating_duration_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    /// Saturates at the end of time, 584 years after boot.
    fn add(self, d: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)),
        )
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;

    /// Saturates at boot.
    fn sub(self, d: Duration) -> Self {
        Self(
            self.0
                .saturating_sub(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)),
        )
    }
}

/// A virtual router's id, 1 to 255 (RFC 9568 §5.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Vrid(NonZeroU8);

impl Vrid {
    /// None for 0.
    #[must_use]
    pub fn new(vrid: u8) -> Option<Self> {
        NonZeroU8::new(vrid).map(Self)
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u8 {
        self.0.get()
    }
}

impl fmt::Display for Vrid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A priority (RFC 9568 §5.2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Priority(u8);

impl Priority {
    /// The router owns the addresses.
    pub const OWNER: Self = Self(255);
    /// The Active gives the addresses up.
    pub const RELEASE: Self = Self(0);
    /// The lowest that claims the addresses.
    pub const LOWEST: Self = Self(1);
    /// Of a router that was told none.
    pub const DEFAULT: Self = Self(100);

    /// The number.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl From<u8> for Priority {
    fn from(priority: u8) -> Self {
        Self(priority)
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Protocol version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// RFC 3768.
    V2,
    /// RFC 9568.
    V3,
}

impl Version {
    /// The number in the first four bits of a message.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::V2 => 2,
            Self::V3 => 3,
        }
    }
}

/// An advertisement interval in centiseconds: whole seconds up to 255 s in version 2, up to 40.95 s
/// in version 3 (RFC 3768 §5.3.7, RFC 9568 §5.2.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interval(u16);

impl Interval {
    /// Version 3's: 1 to 4095 centiseconds.
    #[must_use]
    pub fn from_centiseconds(cs: u16) -> Option<Self> {
        (1..=4095).contains(&cs).then_some(Self(cs))
    }

    /// Version 2's: 1 to 255 seconds.
    #[must_use]
    pub fn from_seconds(s: u8) -> Option<Self> {
        (s != 0).then(|| Self(u16::from(s) * 100))
    }

    /// In centiseconds.
    #[must_use]
    pub const fn centiseconds(self) -> u16 {
        self.0
    }

    /// In whole seconds, where it is one of version 2's.
    #[must_use]
    pub fn seconds(self) -> Option<u8> {
        if self.0.is_multiple_of(100) {
            u8::try_from(self.0 / 100).ok()
        } else {
            None
        }
    }

    /// Version 2's Adver_Int: never more often than was meant.
    pub(crate) fn seconds_rounded_up(self) -> u8 {
        u8::try_from(self.0.div_ceil(100)).unwrap_or(u8::MAX)
    }

    /// As a duration.
    #[must_use]
    pub const fn as_duration(self) -> Duration {
        Duration::from_millis(self.0 as u64 * 10)
    }
}

/// Version 2's authentication. A password in clear text keeps misconfigured routers apart, not
/// attackers.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum Auth {
    /// RFC 3768's only type. Version 3 has none other.
    #[default]
    None,
    /// RFC 2338 §5.3.6: eight bytes, zero padded.
    Pass([u8; 8]),
}

/// Without the password, which must not get into a log.
impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Pass(_) => "Pass(..)",
        })
    }
}

/// What a version 3 checksum over IPv4 covers. Both are accepted on receipt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChecksumForm {
    /// A pseudo-header and the message: how keepalived and FRR read RFC 5798.
    #[default]
    PseudoHeader,
    /// The message alone: RFC 9568 §5.2.8.
    Message,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_has_the_range_of_its_version() {
        assert_eq!(Interval::from_centiseconds(0), None);
        assert_eq!(Interval::from_centiseconds(4096), None);
        assert_eq!(Interval::from_seconds(0), None);
        assert_eq!(
            Interval::from_seconds(255).and_then(Interval::seconds),
            Some(255)
        );
        assert_eq!(
            Interval::from_centiseconds(50).and_then(Interval::seconds),
            None
        );
    }
}

//! Why an advert was refused.

use hafw_common::counters::Counter;
use thiserror::Error;

use crate::{Interval, Version, Vrid, wire::ParseError};

/// Why an advert that XDP handed up is none for the router it was handed up for.
///
/// XDP makes the same checks, so that there should be none. There are when the ring still holds
/// adverts that were judged by an older configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// No advertisement at all.
    #[error(transparent)]
    Malformed(#[from] ParseError),
    /// Of another router of the group's network.
    #[error("VRID {0} is not this router's")]
    ForeignVrid(Vrid),
    /// From this router's own address: reflected by the network.
    #[error("its source is this router's own address")]
    Own,
    /// Of the other version.
    #[error("version {} is not this router's", .0.number())]
    ForeignVersion(Version),
    /// Version 2: another authentication type or password.
    #[error("its authentication is not this router's")]
    ForeignAuth,
    /// Version 2: another interval.
    #[error("its interval of {} cs is not this router's", .0.centiseconds())]
    ForeignInterval(Interval),
}

impl Refusal {
    /// XDP's counter for the same check: the reason, by name.
    #[must_use]
    pub const fn counter(self) -> Counter {
        match self {
            Self::Malformed(error) => error.counter(),
            Self::ForeignVrid(_) => Counter::AdvertForeignVrid,
            Self::Own => Counter::AdvertOwn,
            Self::ForeignVersion(_) => Counter::AdvertBadVersion,
            Self::ForeignAuth => Counter::AdvertBadAuth,
            Self::ForeignInterval(_) => Counter::AdvertBadInterval,
        }
    }
}

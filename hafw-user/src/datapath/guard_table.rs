//! Who may use which service, and how fast: written beside the services, whose entries say that
//! there is something to look up.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use aya::maps::{
    MapData,
    lpm_trie::{Key, LpmTrie},
};
use hafw_common::{
    guard::{GUARD_ALLOW, GUARD_DENY, GUARD_SERVICE_BITS, Guard, guard_key},
    mapped,
    service::{SERVICE_GUARDED, Service, ServiceKey},
};

use super::tables::{TableError, Tables, failed};

/// An address and how many of its bits count.
pub type Prefix = (IpAddr, u8);

/// What a service demands of its clients.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GuardSpec {
    /// Only these may use it; none: everybody.
    pub allow: Vec<Prefix>,
    /// These may not. Of overlapping prefixes the longest counts.
    pub deny: Vec<Prefix>,
    /// New TCP connections of one source, a second, and how many at once.
    pub limit: Option<SourceLimit>,
}

/// See [`GuardSpec::limit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceLimit {
    /// A second, at least 1.
    pub rate: u32,
    /// At once, at least 1.
    pub burst: u32,
}

impl GuardSpec {
    /// Whether it demands anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn entries(&self, first_slot: u32) -> BTreeMap<([u8; 20], u32), Guard> {
        let Self { allow, deny, limit } = self;
        let interval = limit.map_or(0, |limit| 1_000_000_000 / u64::from(limit.rate.max(1)));
        let burst = limit.map_or(1, |limit| u64::from(limit.burst.max(1)));
        let guard = |verdict| Guard {
            verdict,
            reserved: 0,
            interval,
            tolerance: interval * (burst - 1),
        };
        let everybody = if allow.is_empty() {
            GUARD_ALLOW
        } else {
            GUARD_DENY
        };
        let mut entries = BTreeMap::new();
        entries.insert(
            (guard_key(first_slot, [0; 16]), GUARD_SERVICE_BITS),
            guard(everybody),
        );
        let verdicts = [(allow, GUARD_ALLOW), (deny, GUARD_DENY)];
        for (prefixes, verdict) in verdicts {
            for (address, length) in prefixes {
                let skipped = if address.is_ipv4() { 96 } else { 0 };
                let bits = GUARD_SERVICE_BITS + skipped + u32::from(*length);
                let key = guard_key(first_slot, mapped(*address));
                entries.insert((masked(key, bits), bits), guard(verdict));
            }
        }
        entries
    }
}

/// With zeros behind the first `bits`.
fn masked(mut key: [u8; 20], bits: u32) -> [u8; 20] {
    for (byte, at) in key.iter_mut().zip((0u32..).step_by(8)) {
        let kept = bits.saturating_sub(at).min(8);
        *byte &= u8::MAX.checked_shl(8 - kept).unwrap_or(0);
    }
    key
}

impl Tables {
    /// Makes the guards of services these; services that are not there have none. Entries come
    /// before the services' entries tell of them, and go after.
    ///
    /// # Errors
    /// A map refuses a change, for want of room, for instance.
    pub fn set_guards(
        &mut self,
        wanted: &BTreeMap<ServiceKey, GuardSpec>,
    ) -> Result<(), TableError> {
        let services: Vec<(ServiceKey, Service)> = self
            .services
            .iter()
            .collect::<Result<_, _>>()
            .map_err(failed("SERVICES"))?;
        let mut entries = BTreeMap::new();
        for (key, service) in &services {
            if let Some(spec) = wanted.get(key) {
                entries.append(&mut spec.entries(service.first_slot));
            }
        }
        for ((key, bits), guard) in &entries {
            let key = Key::new(*bits, *key);
            if self.guards.get(&key, 0).ok() != Some(*guard) {
                self.guards
                    .insert(&key, guard, 0)
                    .map_err(failed("GUARDS"))?;
            }
        }
        self.guarded = wanted.keys().copied().collect();
        for (key, present) in services {
            let service = self.with_guard(&key, present);
            if service != present {
                self.services
                    .insert(key, service, 0)
                    .map_err(failed("SERVICES"))?;
            }
        }
        let present: BTreeSet<([u8; 20], u32)> = self
            .guards
            .keys()
            .map(|key| key.map(|key| (key.data(), key.prefix_len())))
            .collect::<Result<_, _>>()
            .map_err(failed("GUARDS"))?;
        for (key, bits) in present.iter().filter(|key| !entries.contains_key(key)) {
            let key = Key::new(*bits, *key);
            self.guards.remove(&key).map_err(failed("GUARDS"))?;
        }
        Ok(())
    }

    /// A service's entry as it is to be written: the balancer knows nothing of guards.
    pub(super) fn with_guard(&self, key: &ServiceKey, service: Service) -> Service {
        let flag = if self.guarded.contains(key) {
            SERVICE_GUARDED
        } else {
            0
        };
        Service {
            mode: service.mode & !SERVICE_GUARDED | flag,
            ..service
        }
    }
}

/// The map of guards.
pub(super) type Guards = LpmTrie<MapData, [u8; 20], Guard>;

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Prefix {
        let (address, length) = text.split_once('/').unwrap();
        (address.parse().unwrap(), length.parse().unwrap())
    }

    #[test]
    fn an_allow_list_keeps_all_others_out() {
        let spec = GuardSpec {
            allow: vec![of("10.0.0.77/24"), of("2001:db8::/32")],
            deny: vec![of("10.0.0.66/32")],
            limit: None,
        };
        let found: Vec<_> = spec
            .entries(0x0102_0304)
            .into_iter()
            .map(|((key, bits), guard)| (key, bits, guard.verdict))
            .collect();
        let key = |address: &str| guard_key(0x0102_0304, mapped(address.parse().unwrap()));
        assert_eq!(
            found,
            [
                (key("::"), 32, GUARD_DENY),
                (key("10.0.0.0"), 32 + 96 + 24, GUARD_ALLOW),
                (key("10.0.0.66"), 160, GUARD_DENY),
                (key("2001:db8::"), 64, GUARD_ALLOW),
            ]
        );
    }

    #[test]
    fn a_limit_holds_for_everybody_who_is_let_in() {
        let spec = GuardSpec {
            limit: Some(SourceLimit {
                rate: 100,
                burst: 3,
            }),
            ..GuardSpec::default()
        };
        let entries = spec.entries(7);
        let guard = Guard {
            verdict: GUARD_ALLOW,
            reserved: 0,
            interval: 10_000_000,
            tolerance: 20_000_000,
        };
        assert_eq!(entries.into_values().collect::<Vec<_>>(), [guard]);
    }
}

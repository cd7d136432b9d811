//! A neighbour: it takes over whatever MAC was last said to have the address.

use crate::clock::Time;

#[derive(Default)]
pub(crate) struct Client {
    /// Whom it sends to, and since when.
    pub(crate) cache: Option<(usize, Time)>,
}

impl Client {
    pub(crate) fn learn(&mut self, from: usize, now: Time) {
        if self.cache.is_none_or(|(known, _)| known != from) {
            self.cache = Some((from, now));
        }
    }
}

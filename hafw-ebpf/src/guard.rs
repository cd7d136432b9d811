//! Who may use a service, and how often one source may begin a connection.

use hafw_common::{
    counters::Counter,
    guard::{GUARD_DENY, next_due},
};

use crate::tables::Tables;

/// Why a frame from `client` (see [`hafw_common::guard::source_words`]) to a guarded service is dropped; `None`: it is not.
/// `opens`: it asks for a new TCP connection.
///
/// A function of its own in the program, beneath the deepest ones: its keys must not be on the stack.
#[inline(never)]
pub fn judge<T: Tables>(
    tables: &T,
    first_slot: u32,
    client: [u64; 2],
    opens: bool,
) -> Option<Counter> {
    let guard = tables.guard(first_slot, client)?;
    if guard.verdict == GUARD_DENY {
        return Some(Counter::DropDenied);
    }
    if !opens || guard.interval == 0 {
        return None;
    }
    let now = tables.now();
    let Some(due) = tables.source_due(first_slot, client) else {
        tables.put_source_due(first_slot, client, now + guard.interval);
        return None;
    };
    let Some(next) = next_due(due.load(), now, guard) else {
        return Some(Counter::DropSourceRate);
    };
    // Of SYNs on several CPUs at once, one may go uncounted.
    due.store(next);
    None
}

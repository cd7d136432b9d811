//! HTTP/1 on the wire (RFC 9112): heads, body framing, and the heads that are sent on. Everything
//! works on bytes in memory; strict where two readers of the same bytes could disagree.

pub mod chunk;
pub mod forward;
pub mod header;
pub mod request;
pub mod response;

use std::mem::MaybeUninit;

pub use chunk::{Body, ChunkError};

/// The most header lines a head may have.
pub const MAX_HEADERS: usize = 100;
/// The longest head, in bytes.
pub const MAX_HEAD: usize = 32 * 1024;

/// Room for the header lines of one head, on the stack of the caller.
pub type Slots<'b> = [MaybeUninit<httparse::Header<'b>>; MAX_HEADERS];

/// Empty [`Slots`].
#[must_use]
pub fn slots<'b>() -> Slots<'b> {
    [const { MaybeUninit::uninit() }; MAX_HEADERS]
}

/// Whether every line of a head ends in CR LF. A bare LF ends a line for some readers and not for
/// others, which is how requests are smuggled.
fn has_only_full_line_ends(head: &[u8]) -> bool {
    memchr::memchr_iter(b'\n', head)
        .all(|at| at.checked_sub(1).and_then(|before| head.get(before)) == Some(&b'\r'))
}

/// Where in `bytes` its part `part` starts.
fn offset(bytes: &[u8], part: &[u8]) -> usize {
    (part.as_ptr() as usize).saturating_sub(bytes.as_ptr() as usize)
}

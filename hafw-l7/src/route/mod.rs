//! Which cluster a request belongs to. Pure: it sees a host, a path and header fields, whatever
//! protocol they came in, and knows no sockets and no time.

pub mod host;
pub mod path;
mod router;

pub use router::{Found, RouteError, Router};

/// The header fields of a request, as any codec may hold them.
pub trait Fields {
    /// Whether `test` accepts one of the values of the field `name`, which is compared without
    /// regard to case.
    fn any(&self, name: &[u8], test: impl FnMut(&[u8]) -> bool) -> bool;
}

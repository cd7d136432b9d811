//! Which cluster a request belongs to. Pure: it sees a host, a path and header fields, whatever
//! protocol they came in, and knows no sockets and no time.

mod condition;
pub mod escape;
pub mod host;
pub mod path;
mod rewrite;
mod router;

pub use condition::{cookie, parameter};
pub use rewrite::{Outcome, Rules, Uri};
pub use router::{RouteError, Router};

/// A request, as any codec may hold it.
pub trait Fields {
    /// Whether `test` accepts one of the values of the field `name`, which is compared without
    /// regard to case.
    fn any(&self, name: &[u8], test: impl FnMut(&[u8]) -> bool) -> bool;

    /// Calls `each` with the name and the value of every field, in order.
    fn for_each(&self, each: impl FnMut(&[u8], &[u8]));

    fn method(&self) -> &[u8];

    /// The target's path and query as the client wrote them; it begins with a slash, or is `*`.
    fn path_and_query(&self) -> &[u8];

    /// Host and port that the request is for.
    fn authority(&self) -> Option<&[u8]>;

    /// The query as the client wrote it, without the `?`; empty if there is none.
    fn query(&self) -> &[u8] {
        let target = self.path_and_query();
        memchr::memchr(b'?', target)
            .and_then(|at| target.get(at + 1..))
            .unwrap_or_default()
    }
}

/// Compiles a regular expression, or says what is wrong with it in one line.
pub(crate) fn compile(pattern: &str) -> Result<regex::bytes::Regex, String> {
    regex::bytes::Regex::new(pattern).map_err(|error| {
        let text = error.to_string();
        // The last line says what is wrong, those before it draw where.
        let last = text.lines().next_back().unwrap_or_default();
        let why = last.strip_prefix("error: ").unwrap_or(last);
        format!("\"{pattern}\": {why}")
    })
}

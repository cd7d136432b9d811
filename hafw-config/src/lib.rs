//! Reads a TOML file so that whatever is wrong with it can be said with its place: file, line,
//! column, key, value and what was expected, for all mistakes of a file in one run.
//!
//! ```
//! use hafw_config::Document;
//!
//! let text = "[[service]]\nname = \"web\"\nport = 70000\nprotcol = \"tcp\"\n";
//! let document = Document::parse("hafw.toml", text).unwrap();
//! for section in document.root().tables("service", "service") {
//!     section.name("name");
//!     section.integer("port", 1..=65535);
//!     section.choice("protocol", &[("tcp", 6), ("udp", 17)]);
//!     section.finish();
//! }
//! document.root().finish();
//! assert_eq!(
//!     document.into_problems().to_string(),
//!     "hafw.toml:3:8: service \"web\": port = 70000: expected a number from 1 to 65535\n\
//!      hafw.toml:4:1: service \"web\": protcol: unknown key, did you mean `protocol`?"
//! );
//! ```
#![forbid(unsafe_code)]

mod document;
mod include;
mod problem;
mod secret;
mod section;
mod syntax;
mod tree;
mod values;

pub use document::Document;
pub use problem::{Place, Problem, Problems, Warning};
pub use secret::Secret;
pub use section::{Item, Located, Section};
pub use values::{parse_duration, parse_size};

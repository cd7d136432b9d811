//! The proxy as a binary of its own; the library does the work.

use std::process::ExitCode;

fn main() -> ExitCode {
    hafw_l7::main()
}

//! The XDP and egress programs through `BPF_PROG_TEST_RUN`: the same frames and tables as in the
//! packet path's unit tests, and random ones, of which host and kernel must make the same.
//!
//! They need CAP_BPF and CAP_NET_ADMIN: `cargo xtask test bpf` runs them.

mod agreement;
mod cases;
mod live;
mod programs;
mod sockets;

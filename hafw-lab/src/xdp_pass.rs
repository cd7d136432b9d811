//! A bare pass on the switch's ports of the nodes.
//!
//! A frame that an XDP program sends back out of a veth (XDP_TX, redirect) arrives at the other end
//! only if that end runs its receive queue in NAPI, for which an XDP program has to be there; with
//! GRO alone it may wait up to a second. Two instructions are enough, so the lab needs neither the
//! object nor a toolchain, and makes none of the object's maps.

use std::{
    ffi::c_long,
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
};

// linux/bpf.h
const BPF_PROG_LOAD: c_long = 5;
const BPF_LINK_CREATE: c_long = 28;
const BPF_PROG_TYPE_XDP: u32 = 6;
const BPF_XDP: u32 = 37;
// linux/if_link.h
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;

/// `r0 = XDP_PASS; exit`, in the kernel's encoding of instructions.
const PASS: [u64; 2] = [0x0000_0002_0000_00b7, 0x0000_0000_0000_0095];
const LICENSE: &[u8] = b"MIT\0";

/// `union bpf_attr` of BPF_PROG_LOAD, as far as it is used.
#[repr(C)]
struct ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
}

/// `union bpf_attr` of BPF_LINK_CREATE, as far as it is used.
#[repr(C)]
struct LinkCreate {
    prog_fd: RawFd,
    target_ifindex: u32,
    attach_type: u32,
    flags: u32,
}

/// Attaches the program to an interface of this thread's namespace. It stays until the link is
/// dropped.
pub(crate) fn attach(interface: &str) -> io::Result<OwnedFd> {
    let ifindex = nix::net::if_::if_nametoindex(interface)?;
    let program = bpf(
        BPF_PROG_LOAD,
        &ProgLoad {
            prog_type: BPF_PROG_TYPE_XDP,
            insn_cnt: PASS.len() as u32,
            insns: PASS.as_ptr().addr() as u64,
            license: LICENSE.as_ptr().addr() as u64,
        },
    )?;
    bpf(
        BPF_LINK_CREATE,
        &LinkCreate {
            prog_fd: program.as_raw_fd(),
            target_ifindex: ifindex,
            attach_type: BPF_XDP,
            flags: XDP_FLAGS_DRV_MODE,
        },
    )
}

/// The system call, for the commands that return a descriptor.
fn bpf<T>(command: c_long, attributes: &T) -> io::Result<OwnedFd> {
    // SAFETY: the kernel reads size_of::<T>() bytes of `attributes`, a repr(C) struct without
    // padding; what its pointers lead to (PASS, LICENSE) is static. It writes nothing.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_ref(attributes),
            size_of::<T>(),
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    let fd = RawFd::try_from(result).map_err(io::Error::other)?;
    // SAFETY: both commands return a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

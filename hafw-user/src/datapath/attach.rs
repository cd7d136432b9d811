//! Attaching the programs to interfaces by links that outlive this process.

use std::{
    io,
    path::PathBuf,
    thread::sleep,
    time::{Duration, Instant},
};

use aya::{
    programs::{
        ProgramError, SchedClassifier, TcAttachType, Xdp, XdpMode as AyaMode,
        links::{FdLink, LinkError, PinnedLink},
        tc::{self, NlOptions, SchedClassifierLink, TcAttachOptions, TcHandle},
        xdp::XdpLink,
    },
    util::KernelVersion,
};
use thiserror::Error;

use super::{
    object::{PROGRAM_EGRESS, PROGRAM_INGRESS},
    pins::{PinDir, PinError},
};

/// Where on the receive path the XDP program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpMode {
    /// In the driver.
    Native,
    /// In the stack, for drivers and devices without support.
    Generic,
}

impl XdpMode {
    /// As in the configuration and in `hafw status`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
        }
    }
}

/// An interface with both programs on it.
#[derive(Clone, Debug)]
pub struct Attached {
    /// Name.
    pub name: String,
    /// Kernel index.
    pub ifindex: u32,
    /// Mode that was asked for and given.
    pub mode: XdpMode,
    /// The links were found and now lead to this controller's programs.
    pub adopted: bool,
}

/// Where an XDP program is attached.
#[derive(Clone, Copy, Debug)]
pub(super) struct Device<'a> {
    pub(super) name: &'a str,
    pub(super) ifindex: u32,
    pub(super) mode: XdpMode,
}

/// Why a program could not be attached.
#[derive(Debug, Error)]
pub enum AttachError {
    /// The driver has no native XDP, or refuses it in its present state.
    #[error(
        "interface {interface}: the kernel refuses native XDP ({source}); set xdp_mode = \
         \"generic\" for it if its driver has none (VLAN interfaces, bridges, macvlan and lo have none)"
    )]
    NoNative {
        /// The interface.
        interface: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Another XDP program is there.
    #[error(
        "interface {interface}: another XDP program is attached (`ip link show dev {interface}` \
         names it)"
    )]
    Busy {
        /// The interface.
        interface: String,
    },
    /// The kernel attached it by netlink, so that it would outlive its pin.
    #[error("interface {interface}: the kernel has no BPF link for XDP in this mode")]
    NoLink {
        /// The interface.
        interface: String,
    },
    /// Any other answer.
    #[error("interface {interface}: cannot attach {program}: {source}")]
    Program {
        /// The interface.
        interface: String,
        /// The program.
        program: &'static str,
        /// Why.
        source: ProgramError,
    },
    /// A link could not be pinned or read.
    #[error("interface {interface}: cannot pin a link: {reason}")]
    Pin {
        /// The interface.
        interface: String,
        /// Why.
        reason: String,
    },
    /// The pin directory.
    #[error(transparent)]
    Dir(#[from] PinError),
}

/// TCX links came with kernel 6.6 (commit e420bed02507); before, a clsact filter.
const TCX: KernelVersion = KernelVersion::new(6, 6, 0);
/// From one attempt to attach to the next.
const RETRY: Duration = Duration::from_millis(10);
/// Preference and handle of the clsact filter: fixed, so that a later controller finds it.
const FILTER: NlOptions = NlOptions {
    priority: 49_152,
    handle: TcHandle::new(0, 1),
    classid: None,
};

/// The pin of an interface's XDP link. A dot is not allowed in a bpffs name, but is in an
/// interface's: hence the index.
pub(super) fn xdp_pin(ifindex: u32) -> String {
    format!("link_xdp_{ifindex}")
}

/// A place on the way of a frame through the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hook {
    /// Where it leaves.
    Egress,
    /// Where it comes up from the driver.
    Ingress,
}

impl Hook {
    /// The name of the program for it.
    pub(super) const fn program(self) -> &'static str {
        match self {
            Self::Egress => PROGRAM_EGRESS,
            Self::Ingress => PROGRAM_INGRESS,
        }
    }

    /// The pin of an interface's link.
    pub(super) fn pin(self, ifindex: u32) -> String {
        match self {
            Self::Egress => format!("link_egress_{ifindex}"),
            Self::Ingress => format!("link_ingress_{ifindex}"),
        }
    }

    const fn what(self) -> &'static str {
        match self {
            Self::Egress => "the egress program",
            Self::Ingress => "the ingress program",
        }
    }

    const fn direction(self) -> TcAttachType {
        match self {
            Self::Egress => TcAttachType::Egress,
            Self::Ingress => TcAttachType::Ingress,
        }
    }
}

/// Puts the XDP program on an interface: into the pinned link where there is one (the kernel
/// replaces the program in one step), else by a new link. Another program that is in the way is
/// waited for as long as `patience`.
pub(super) fn attach_xdp(
    program: &mut Xdp,
    on: &Device<'_>,
    pins: &PinDir,
    patience: Duration,
) -> Result<bool, AttachError> {
    let Device {
        name: interface,
        ifindex,
        mode,
    } = *on;
    let pin = xdp_pin(ifindex);
    if let Some(link) = pinned(pins.entry(&pin), interface)?
        && let Ok(link) = XdpLink::try_from(link)
        && let Ok(id) = program.attach_to_link(link)
    {
        // Dropping what take_link returns closes our descriptor; the pin keeps the link.
        program
            .take_link(id)
            .map_err(failed(interface, "the XDP program"))?;
        return Ok(true);
    }
    // A pin whose interface is gone leads nowhere.
    pins.remove(&pin)?;
    let aya_mode = match mode {
        XdpMode::Native => AyaMode::Driver,
        XdpMode::Generic => AyaMode::Skb,
    };
    let begin = Instant::now();
    let id = loop {
        let attached = program
            .attach_to_if_index(ifindex, aya_mode)
            .map_err(|error| explain(error, interface, mode));
        if !matches!(attached, Err(AttachError::Busy { .. })) || begin.elapsed() >= patience {
            break attached?;
        }
        sleep(RETRY);
    };
    let link = program
        .take_link(id)
        .map_err(failed(interface, "the XDP program"))?;
    let link = FdLink::try_from(link).map_err(|_| AttachError::NoLink {
        interface: interface.to_owned(),
    })?;
    pin_link(link, pins.entry(&pin), interface)?;
    Ok(false)
}

/// Puts a program on an interface's hook, as [`attach_xdp`] does.
pub(super) fn attach_tc(
    hook: Hook,
    program: &mut SchedClassifier,
    interface: &str,
    ifindex: u32,
    pins: &PinDir,
) -> Result<(), AttachError> {
    if !has_tcx() {
        return attach_filter(hook, program, interface);
    }
    let pin = hook.pin(ifindex);
    if let Some(link) = pinned(pins.entry(&pin), interface)?
        && let Ok(link) = SchedClassifierLink::try_from(link)
        && let Ok(id) = program.attach_to_link(link)
    {
        program
            .take_link(id)
            .map_err(failed(interface, hook.what()))?;
        return Ok(());
    }
    pins.remove(&pin)?;
    let id = program
        .attach(interface, hook.direction())
        .map_err(failed(interface, hook.what()))?;
    let link = program
        .take_link(id)
        .map_err(failed(interface, hook.what()))?;
    let link = FdLink::try_from(link).map_err(|_| AttachError::NoLink {
        interface: interface.to_owned(),
    })?;
    pin_link(link, pins.entry(&pin), interface)
}

/// Takes the clsact filters of a kernel before 6.6 away. Nothing to do elsewhere: TCX links go with
/// their pins.
pub fn remove_filters(interface: &str) {
    remove_filter(Hook::Egress, interface);
    remove_filter(Hook::Ingress, interface);
}

/// One of them.
pub(super) fn remove_filter(hook: Hook, interface: &str) {
    if !has_tcx() {
        // Fails where there is none, or no interface any more: as wanted.
        let _ = tc::qdisc_detach_program(interface, hook.direction(), hook.program());
    }
}

fn has_tcx() -> bool {
    KernelVersion::current().is_ok_and(|kernel| kernel >= TCX)
}

fn attach_filter(
    hook: Hook,
    program: &mut SchedClassifier,
    interface: &str,
) -> Result<(), AttachError> {
    // Fails where the qdisc is there already.
    let _ = tc::qdisc_add_clsact(interface);
    remove_filter(hook, interface);
    let id = program
        .attach_with_options(
            interface,
            hook.direction(),
            TcAttachOptions::Netlink(FILTER),
        )
        .map_err(failed(interface, hook.what()))?;
    // The filter must outlive this process: its link's Drop would take it away.
    let link = program
        .take_link(id)
        .map_err(failed(interface, hook.what()))?;
    std::mem::forget(link);
    Ok(())
}

fn pinned(path: PathBuf, interface: &str) -> Result<Option<FdLink>, AttachError> {
    match PinnedLink::from_pin(path) {
        Ok(link) => Ok(Some(link.into())),
        Err(LinkError::SyscallError(error)) if error.io_error.kind() == io::ErrorKind::NotFound => {
            Ok(None)
        }
        Err(error) => Err(AttachError::Pin {
            interface: interface.to_owned(),
            reason: error.to_string(),
        }),
    }
}

fn pin_link(link: FdLink, path: PathBuf, interface: &str) -> Result<(), AttachError> {
    match link.pin(path) {
        Ok(_closed) => Ok(()),
        Err(error) => Err(AttachError::Pin {
            interface: interface.to_owned(),
            reason: error.to_string(),
        }),
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "every other answer is passed on"
)]
fn explain(error: ProgramError, interface: &str, mode: XdpMode) -> AttachError {
    let interface = interface.to_owned();
    match error {
        ProgramError::SyscallError(error)
            if error.io_error.raw_os_error() == Some(libc::EBUSY)
                || error.io_error.raw_os_error() == Some(libc::EEXIST) =>
        {
            AttachError::Busy { interface }
        }
        ProgramError::SyscallError(error) if mode == XdpMode::Native => AttachError::NoNative {
            interface,
            source: error.io_error,
        },
        source => AttachError::Program {
            interface,
            program: "the XDP program",
            source,
        },
    }
}

fn failed(interface: &str, program: &'static str) -> impl Fn(ProgramError) -> AttachError {
    let interface = interface.to_owned();
    move |source| AttachError::Program {
        interface: interface.clone(),
        program,
        source,
    }
}

//! What the proxy gives up before it touches a byte from the network: root, every capability, and
//! the way back to either.

use std::{fs, io};

use rustix::{
    process::{Gid, Resource, Rlimit, Uid, geteuid, getrlimit, setrlimit},
    thread::{
        CapabilitySet, CapabilitySets, clear_ambient_capability_set,
        remove_capability_from_bounding_set, set_capabilities, set_no_new_privs, set_thread_groups,
        set_thread_res_gid, set_thread_res_uid,
    },
};

/// The user and group of `nobody` where /etc/passwd does not name them (the kernel's overflow ids).
const NOBODY: u32 = 65534;

/// A step of the way down that the kernel refused.
#[derive(Debug, thiserror::Error)]
#[error("cannot give up privileges: {step}: {source}")]
pub struct PrivilegeError {
    step: &'static str,
    source: io::Error,
}

/// Becomes `nobody` if this process is root, and gives up every capability in any case.
///
/// The kernel keeps credentials per thread: must be called while the process has one thread, so
/// that those started later inherit the outcome.
///
/// # Errors
///
/// [`PrivilegeError`] names the step that failed; the process must not go on then.
pub fn drop_all() -> Result<(), PrivilegeError> {
    expect_one_thread()?;
    let no_new_privs = set_no_new_privs(true);
    no_new_privs.map_err(failed("no_new_privs"))?;
    if geteuid().is_root() {
        clear_bounding_set()?;
        let (uid, gid) = nobody();
        set_thread_groups(&[]).map_err(failed("setgroups"))?;
        set_thread_res_gid(gid, gid, gid).map_err(failed("setresgid"))?;
        set_thread_res_uid(uid, uid, uid).map_err(failed("setresuid"))?;
    }
    clear_ambient_capability_set().map_err(failed("the ambient set"))?;
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, none).map_err(failed("capset"))
}

/// Lets the process have as many open files as its hard limit allows: each request under way needs
/// two.
///
/// # Errors
///
/// What the kernel said; the process can go on with the lower limit.
pub fn raise_open_files() -> io::Result<()> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    Ok(setrlimit(Resource::Nofile, raised)?)
}

fn expect_one_thread() -> Result<(), PrivilegeError> {
    let step = "counting threads";
    let threads = fs::read_dir("/proc/self/task").map(Iterator::count);
    match threads {
        Ok(1) => Ok(()),
        Ok(_) => Err(PrivilegeError {
            step,
            source: io::Error::other("the process has threads already"),
        }),
        Err(source) => Err(PrivilegeError { step, source }),
    }
}

fn clear_bounding_set() -> Result<(), PrivilegeError> {
    for bit in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << bit);
        match remove_capability_from_bounding_set(capability) {
            Ok(()) => {}
            // Beyond the last capability that this kernel has.
            Err(rustix::io::Errno::INVAL) => break,
            Err(error) => return Err(failed("the bounding set")(error)),
        }
    }
    Ok(())
}

fn nobody() -> (Uid, Gid) {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let (uid, gid) = find_nobody(&passwd).unwrap_or((NOBODY, NOBODY));
    (Uid::from_raw(uid), Gid::from_raw(gid))
}

/// The ids of `nobody`, unless they are root's.
fn find_nobody(passwd: &str) -> Option<(u32, u32)> {
    let line = passwd.lines().find(|line| line.starts_with("nobody:"))?;
    let mut fields = line.split(':').skip(2);
    let uid = fields.next()?.parse().ok()?;
    let gid = fields.next()?.parse().ok()?;
    (uid != 0 && gid != 0).then_some((uid, gid))
}

fn failed(step: &'static str) -> impl Fn(rustix::io::Errno) -> PrivilegeError {
    move |error| PrivilegeError {
        step,
        source: error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_looked_up_but_never_root() {
        let passwd = "root:x:0:0::/root:/bin/sh\nnobody:x:99:98::/:/bin/false\n";
        assert_eq!(find_nobody(passwd), Some((99, 98)));
        assert_eq!(find_nobody("nobody:x:0:0::/:/bin/sh"), None);
        assert_eq!(find_nobody("nobody:x:many:0::/:/bin/sh"), None);
        assert_eq!(find_nobody("root:x:0:0::/:/bin/sh"), None);
    }

    #[test]
    fn a_process_with_threads_keeps_its_privileges() {
        let other = std::thread::spawn(std::thread::park);

        let error = drop_all().unwrap_err();

        assert!(error.to_string().contains("threads"), "{error}");
        other.thread().unpark();
        other.join().unwrap();
    }
}

//! `hafw check` as a process: what it prints, where, and how it exits.
#![expect(clippy::unwrap_used, reason = "a test fails where it stands")]

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    path::Path,
    process::{Command, Output},
};

use hafw_user::config::{InterfaceFacts, SystemFacts};
use tempfile::TempDir;

fn check(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(env!("CARGO_BIN_EXE_hafw"))
        .arg("check")
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// An interface of this machine that a virtual router could live on, and an address next to its own.
fn somewhere() -> (String, Ipv4Addr) {
    let facts = SystemFacts::gather().unwrap();
    let found = facts.interfaces.iter().find_map(|(name, interface)| {
        let InterfaceFacts { mac, addresses, .. } = interface;
        let mut addresses = addresses.iter();
        let (address, prefix) = addresses.find_map(|(address, prefix)| match address {
            IpAddr::V4(v4) => Some((*v4, *prefix)),
            IpAddr::V6(_) => None,
        })?;
        let usable = mac.is_some_and(|mac| mac != [0; 6]) && prefix < 30;
        usable.then(|| (name.clone(), beside(address, prefix)))
    });
    found.expect("these tests need an interface with a MAC and an IPv4 network of some addresses")
}

/// Another host's address in the same network.
fn beside(address: Ipv4Addr, prefix: u8) -> Ipv4Addr {
    let hosts = u32::MAX >> prefix;
    let own = address.to_bits() & hosts;
    let other = if own == 1 { 2 } else { own - 1 };
    Ipv4Addr::from_bits(address.to_bits() & !hosts | other)
}

/// A good file for this machine.
fn good(priority: u8, weight: i16) -> String {
    let (interface, vip) = somewhere();
    format!(
        "[node]\nid = \"lb-{priority}\"\n\
         [[virtual_router]]\nname = \"oldboy\"\ninterface = \"{interface}\"\nvrid = 51\n\
         priority = {priority}\nvips = [\"{vip}\"]\ntrack = [{{ check = \"web\", weight = {weight} }}]\n\
         [[check]]\nname = \"web\"\ntcp = \"127.0.0.1:80\"\n"
    )
}

#[test]
fn a_good_file_is_summed_up_and_exits_with_0() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("hafw.toml");
    fs::write(&file, good(150, -60)).unwrap();
    let (interface, vip) = somewhere();

    let (code, out, err) = check(&["-c", path(&file)]);

    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert_eq!(
        out,
        format!(
            "{}: ok\n\
             node lb-150: 1 virtual router, 1 check, 0 L4 services, 0 listeners\n\
             router oldboy: VRID 51 on {interface}, VRRP version 3, priority 150, an advert every \
             100ms, VIPs {vip}\n  \
               all checks up: priority 150, beats peers up to 149\n  \
               web (weight -60) down: priority 90, beats peers up to 89\n\
             note: on this node a VIP leads to the node itself: `ping VIP` here proves nothing\n",
            file.display()
        )
    );
}

#[test]
fn a_peer_is_compared() {
    let folder = TempDir::new().unwrap();
    let (ours, theirs) = (
        folder.path().join("ours.toml"),
        folder.path().join("theirs.toml"),
    );
    fs::write(&ours, good(150, 2)).unwrap();
    fs::write(&theirs, good(100, 2)).unwrap();

    let (code, out, _) = check(&["-c", path(&ours), "--peer", path(&theirs)]);

    assert_eq!(code, Some(0));
    assert!(
        out.contains("all checks up: lb-150 (152) wins over lb-100 (102)"),
        "{out}"
    );
    assert!(out.contains("this weight can never move the VIPs"), "{out}");
}

#[test]
fn every_mistake_of_both_files_goes_to_stderr_and_exits_with_1() {
    let folder = TempDir::new().unwrap();
    let (ours, theirs) = (
        folder.path().join("ours.toml"),
        folder.path().join("theirs.toml"),
    );
    fs::write(
        &ours,
        good(150, 2).replace("vrid = 51", "vrid = 300\nprio = 1"),
    )
    .unwrap();
    fs::write(&theirs, good(100, 2).replace("vrid = 51", "vrid = -1")).unwrap();

    let (code, out, err) = check(&["-c", path(&ours), "--peer", path(&theirs)]);

    assert_eq!((code, out.as_str()), (Some(1), ""));
    let router = "virtual_router \"oldboy\"";
    assert_eq!(
        err,
        format!(
            "{ours}:6:8: {router}: vrid = 300: expected a number from 1 to 255\n\
             {ours}:7:1: {router}: prio: unknown key, did you mean `priority`?\n\
             {theirs}:6:8: {router}: vrid = -1: expected a number from 1 to 255\n",
            ours = ours.display(),
            theirs = theirs.display()
        )
    );
}

#[test]
fn an_interface_that_is_not_there_is_warned_of() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("hafw.toml");
    let (interface, _) = somewhere();
    let text = good(150, -60).replace(&format!("\"{interface}\""), "\"no-such-if\"");
    fs::write(&file, text).unwrap();

    let (code, out, err) = check(&["-c", path(&file)]);

    assert_eq!(code, Some(0), "{err}");
    assert!(
        out.contains(":5:13: warning: interface \"no-such-if\": there is none of this name here"),
        "{out}"
    );
}

#[test]
fn a_command_that_is_not_there_is_warned_of_and_its_user_must_be() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("hafw.toml");
    let command = |program: &str, user: &str| {
        let line = format!("command = [\"{program}\"]\nuser = \"{user}\"");
        fs::write(
            &file,
            good(150, -60).replace("tcp = \"127.0.0.1:80\"", &line),
        )
        .unwrap();
        check(&["-c", path(&file)])
    };

    let (code, out, _) = command("/nonexistent/check.sh", "root");
    assert_eq!(code, Some(0));
    assert!(
        out.contains("warning: check \"web\": /nonexistent/check.sh is no program here: it fails"),
        "{out}"
    );
    let (code, out, _) = command("/bin/sh", "root");
    assert!(code == Some(0) && !out.contains("warning"), "{out}");
    let (code, _, err) = command("/bin/sh", "no-such-user");
    assert_eq!(code, Some(1));
    assert!(
        err.contains(":11:8: check \"web\": there is no user \"no-such-user\""),
        "{err}"
    );
}

#[test]
fn a_file_that_is_not_there_exits_with_1_and_a_wrong_call_with_2() {
    let (code, _, err) = check(&["-c", "/nonexistent/hafw.toml"]);
    assert_eq!(code, Some(1));
    assert_eq!(
        err,
        "cannot read /nonexistent/hafw.toml: No such file or directory\n"
    );
    assert_eq!(check(&["--pear", "x"]).0, Some(2));
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("hafw.toml");
    fs::write(&file, good(150, -60)).unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);

    let mut command = Command::new(env!("CARGO_BIN_EXE_hafw"));
    let ended = command
        .args(["check", "-c", path(&file)])
        .stdout(writer)
        .output()
        .unwrap();

    assert_eq!(
        (ended.status.code(), ended.stderr.as_slice()),
        (Some(0), b"".as_slice())
    );
}

//! The command line as a process: what needs no node and no rights.
#![expect(clippy::unwrap_used, reason = "a test fails where it stands")]

use std::{
    os::unix::fs::symlink,
    path::Path,
    process::{Command, Output},
};

const HAFW: &str = env!("CARGO_BIN_EXE_hafw");

fn call(program: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(program).args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn the_version_is_the_packages() {
    let version = concat!("hafw ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(
        call(HAFW.as_ref(), &["--version"]),
        (Some(0), version.to_owned(), String::new())
    );
}

#[test]
fn by_the_proxys_name_it_is_the_proxy() {
    let folder = tempfile::tempdir().unwrap();
    let proxy = folder.path().join("hafw-l7");
    symlink(HAFW, &proxy).unwrap();

    let (code, out, _) = call(&proxy, &["--version"]);

    assert_eq!(code, Some(0));
    assert!(out.starts_with("hafw-l7 "), "{out}");
}

#[test]
fn without_a_node_there_is_no_status() {
    let (code, out, err) = call(
        HAFW.as_ref(),
        &["status", "--socket", "/nonexistent/control.sock"],
    );
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(err.contains("/nonexistent/control.sock"), "{err}");
}

#[test]
fn the_socket_is_found_by_the_file_though_it_has_mistakes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hafw.toml");
    let text = format!(
        "[node]\nstate_dir = \"{}\"\nx = 1\n",
        folder.path().display()
    );
    std::fs::write(&file, text).unwrap();

    let (code, _, err) = call(HAFW.as_ref(), &["status", "-c", file.to_str().unwrap()]);

    assert_eq!(code, Some(1));
    let socket = folder.path().join("control.sock");
    assert!(err.contains(socket.to_str().unwrap()), "{err}");
}

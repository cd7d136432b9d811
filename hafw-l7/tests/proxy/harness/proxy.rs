//! The proxy's binary with a configuration.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
};

use hafw_l7::control::{Reply, Status};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::{Client, PATIENCE, free_address, wait_for, wait_until};

/// A running proxy; killed when dropped.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    child: Child,
    dir: TempDir,
}

impl Proxy {
    /// Starts a proxy with one server for `www.oldboy.com`, which has these clusters, each with
    /// these servers, and these further lines.
    pub(crate) fn start(clusters: &[(&str, &[SocketAddr])], server: &str) -> Self {
        let mut text = String::new();
        for (name, servers) in clusters {
            let servers: Vec<_> = servers
                .iter()
                .map(|address| format!("{{ address = \"{address}\" }}"))
                .collect();
            let servers = servers.join(", ");
            write!(
                text,
                "[[upstream]]\nname = \"{name}\"\nserver = [{servers}]\n"
            )
            .unwrap();
        }
        let server = format!("hosts = [\"www.oldboy.com\"]\n{server}");
        Self::start_with(|address| {
            format!("{text}[[server]]\nlisten = [\"{address}\"]\n{server}\n[proxy]\nworkers = 1\n")
        })
    }

    /// Starts a proxy with one cluster of these servers for everything.
    pub(crate) fn over(servers: &[SocketAddr], server: &str) -> Self {
        let server = format!("{server}\n[[server.route]]\nupstream = \"web\"\n");
        Self::start(&[("web", servers)], &server)
    }

    /// Starts a proxy with the configuration that `text` makes for its address.
    pub(crate) fn start_with(text: impl FnOnce(SocketAddr) -> String) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let address = free_address();
        fs::write(dir.path().join("hafw.toml"), text(address)).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_hafw-l7"))
            .arg("-c")
            .arg(dir.path().join("hafw.toml"))
            .arg("--control")
            .arg(dir.path().join("l7.sock"))
            .stdin(Stdio::null())
            .stderr(File::create(dir.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        let proxy = Self {
            address,
            child,
            dir,
        };
        wait_until("the proxy to answer", || proxy.try_status().is_some());
        proxy
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address)
    }

    /// Sends one request on a connection of its own, and reads the answer.
    #[track_caller]
    pub(crate) fn ask(&self, request: impl AsRef<[u8]>) -> super::Response {
        let mut client = self.client();
        client.send(request);
        client.response()
    }

    /// Gets a path of `www.oldboy.com`.
    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> super::Response {
        self.ask(format!(
            "GET {path} HTTP/1.1\r\nHost: www.oldboy.com\r\n\r\n"
        ))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The configuration file.
    pub(crate) fn file(&self) -> PathBuf {
        self.dir.path().join("hafw.toml")
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.pid()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap()
    }

    /// Sends a line to the control socket and reads the answer's.
    #[track_caller]
    pub(crate) fn control(&self, line: &str) -> String {
        self.try_control(line).expect("the proxy answers")
    }

    #[track_caller]
    pub(crate) fn status(&self) -> Status {
        self.try_status().expect("the proxy answers")
    }

    /// Waits until the process has ended.
    #[track_caller]
    pub(crate) fn ended(&mut self) -> ExitStatus {
        wait_for("the proxy to end", || self.child.try_wait().unwrap())
    }

    pub(crate) fn accepts(&self) -> bool {
        TcpStream::connect(self.address).is_ok()
    }

    fn try_control(&self, line: &str) -> Option<String> {
        let mut stream = UnixStream::connect(self.dir.path().join("l7.sock")).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        stream.write_all(format!("{line}\n").as_bytes()).ok()?;
        let mut reply = String::new();
        BufReader::new(stream).read_line(&mut reply).ok()?;
        (!reply.is_empty()).then_some(reply)
    }

    fn try_status(&self) -> Option<Status> {
        let reply = self.try_control(r#"{"cmd":"status"}"#)?;
        let Reply::Status(status) = serde_json::from_str(&reply).ok()? else {
            return None;
        };
        Some(*status)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // It may have ended, as some tests want it to.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the proxy's log:\n{}", self.log());
        }
    }
}

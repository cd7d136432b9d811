//! A real nginx.

use std::{
    fs,
    net::SocketAddr,
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use super::{free_address, wait_until};

/// An nginx; killed when dropped.
pub(crate) struct Nginx {
    pub(crate) address: SocketAddr,
    child: Child,
    _dir: TempDir,
}

impl Nginx {
    /// Starts nginx with these directives of `http`, made for its address.
    pub(crate) fn start(http: impl FnOnce(SocketAddr) -> String) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let address = free_address();
        let path = dir.path().display();
        let temp: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .map(|kind| format!("{kind}_temp_path {path}/{kind};\n"))
            .collect();
        let http = http(address);
        let config = format!(
            "daemon off;\nmaster_process off;\nworker_processes 1;\npid {path}/pid;\n\
             events {{}}\nhttp {{\naccess_log off;\n{temp}{http}\n}}\n"
        );
        let file = dir.path().join("nginx.conf");
        fs::write(&file, config).unwrap();
        let child = Command::new("nginx")
            .args(["-e", "stderr", "-c"])
            .arg(&file)
            .stdin(Stdio::null())
            .spawn()
            .expect("nginx is installed");
        let nginx = Self {
            address,
            child,
            _dir: dir,
        };
        wait_until("nginx to listen", || {
            std::net::TcpStream::connect(address).is_ok()
        });
        nginx
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

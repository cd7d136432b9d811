//! tcpdump on a host: what was really on the wire, decoded by somebody else.

use std::{fs, path::PathBuf, time::Duration};

use crate::{Daemon, Host, LabError, wait_until};

/// A running capture of what a host's `eth0` sends and receives.
#[derive(Debug)]
pub struct Capture {
    daemon: Daemon,
    host: Host,
    file: PathBuf,
}

impl Capture {
    /// Starts tcpdump with a filter of its language and waits until it listens.
    ///
    /// # Errors
    /// tcpdump does not start.
    pub fn start(host: &Host, filter: &str) -> Result<Self, LabError> {
        let (file, log) = (
            host.files().join("capture.pcap"),
            host.files().join("tcpdump.log"),
        );
        let options = ["-i", "eth0", "--immediate-mode", "-U", "-Z", "root", "-w"];
        let args = options.map(str::to_owned).into_iter();
        let args = args.chain([file.display().to_string(), filter.to_owned()]);
        let name = format!("tcpdump on {}", host.station());
        let _ = fs::remove_file(&log);
        let mut daemon = Daemon::new(name, host.namespace(), "tcpdump", args, log.clone());
        daemon.start()?;
        let ready = wait_until(Duration::from_secs(5), "tcpdump to listen", || {
            let text = fs::read_to_string(&log).unwrap_or_default();
            if text.contains("listening on") {
                Ok(())
            } else {
                Err(text)
            }
        });
        daemon.expect_running()?;
        ready?;
        Ok(Self {
            daemon,
            host: host.clone(),
            file,
        })
    }

    /// Ends the capture and returns a decoded line per frame (`tcpdump -n -e -vv`).
    ///
    /// # Errors
    /// tcpdump fails.
    pub fn stop(mut self) -> Result<Vec<String>, LabError> {
        self.daemon.stop(Duration::from_secs(2))?;
        let file = self.file.display().to_string();
        let text = self
            .host
            .output("tcpdump", &["-n", "-e", "-vv", "-r", &file])?;
        let mut frames: Vec<String> = Vec::new();
        for line in text.lines() {
            // What belongs to the frame before is indented.
            match frames.last_mut() {
                Some(frame) if line.starts_with(char::is_whitespace) => {
                    frame.push(' ');
                    frame.push_str(line.trim());
                }
                _ => frames.push(line.to_owned()),
            }
        }
        Ok(frames)
    }
}

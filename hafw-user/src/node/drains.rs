//! Which backends are drained: what was asked for holds until it is taken back, over reloads and
//! restarts, and the node that has a service's VIP tells it to the others. So it stands in a file of
//! `state_dir`, one line for each: service and backend.

use std::{
    collections::BTreeSet,
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use hafw_common::service::ServiceKey;
use hafw_lb::service_name;
use tracing::warn;

use super::services::key;
use crate::config::Config;

const FILE: &str = "drained";

/// See the module.
pub(super) struct Drains {
    file: PathBuf,
    marks: BTreeSet<(ServiceKey, SocketAddr)>,
}

impl Drains {
    /// Those that the state folder knows, as far as they are configured.
    pub(super) fn open(config: &Config) -> Self {
        let file = config.node.state_dir.join(FILE);
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => {
                warn!(%error, file = %file.display(), "which backends are drained is not known");
                String::new()
            }
        };
        let lines: BTreeSet<_> = text.lines().collect();
        let all = config.services.iter().flat_map(|service| {
            let backends = service.backends.iter();
            backends.map(|backend| (key(service), backend.address.value))
        });
        let marks = all.filter(|mark| lines.contains(&*line(mark))).collect();
        Self { file, marks }
    }

    /// Whether a backend is drained.
    pub(super) fn contains(&self, service: ServiceKey, backend: SocketAddr) -> bool {
        self.marks.contains(&(service, backend))
    }

    /// Marks a backend, or takes the mark away. False if nothing changes.
    pub(super) fn set(&mut self, service: ServiceKey, backend: SocketAddr, drained: bool) -> bool {
        let mark = (service, backend);
        let changed = if drained {
            self.marks.insert(mark)
        } else {
            self.marks.remove(&mark)
        };
        if changed && let Err(error) = self.save() {
            let file = self.file.display();
            warn!(%error, %file, "which backends are drained will be forgotten at a restart");
        }
        changed
    }

    fn save(&self) -> io::Result<()> {
        let text: String = self.marks.iter().map(|mark| line(mark) + "\n").collect();
        write_whole(&self.file, &text)
    }
}

fn line((service, backend): &(ServiceKey, SocketAddr)) -> String {
    format!("{} {backend}", service_name(service))
}

/// Never half a file, whatever happens in between.
fn write_whole(file: &Path, text: &str) -> io::Result<()> {
    let new = file.with_extension("new");
    fs::write(&new, text)?;
    fs::rename(new, file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    const SERVICE: &str = "vip = \"10.0.0.3\"\nport = 8080\nprotocol = \"tcp\"\nmode = \"dsr\"\n\
                           [[service.backend]]\naddress = \"10.0.0.7:8080\"\n";

    fn config(state_dir: &Path) -> Config {
        let text = format!(
            "[node]\nid = \"lb01\"\nstate_dir = \"{}\"\n[[interface]]\nname = \"eth0\"\n\
             [[virtual_router]]\nname = \"r\"\ninterface = \"eth0\"\nvrid = 51\n\
             vips = [\"10.0.0.3/24\"]\n[[service]]\nname = \"web\"\n{SERVICE}",
            state_dir.display()
        );
        let file = state_dir.join("hafw.toml");
        fs::write(&file, text).unwrap();
        config::load(&file).unwrap()
    }

    #[test]
    fn a_mark_outlives_its_node_and_goes_with_its_backend() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        let service = key(&config.services[0]);
        let [one, other]: [SocketAddr; 2] =
            ["10.0.0.7:8080", "10.0.0.8:8080"].map(|text| text.parse().unwrap());
        let mut drains = Drains::open(&config);
        assert!(drains.set(service, one, true) && drains.set(service, other, true));
        assert!(!drains.set(service, one, true), "nothing new");

        let mut drains = Drains::open(&config);
        assert!(drains.contains(service, one));
        assert!(!drains.contains(service, other), "it is not configured");
        assert!(drains.set(service, one, false));
        assert!(!Drains::open(&config).contains(service, one));
    }
}

//! From the file to the model: types, ranges, defaults. One kind of section a file. What is wrong
//! is noted in the document, and reading goes on.

mod alerts;
mod check;
mod cluster;
mod guard;
mod health;
mod router;
mod service;

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use hafw_config::{Document, Located, Section, Warning};
use hafw_l7::{config::listeners, model::ProxyConfig};

use super::model::{Alerting, Check, Config, Interface, Node, Remains, Router, Service};
use crate::{cluster::ClusterSpec, datapath::XdpMode, vrrp::Wanted};

const STATE_DIR: &str = "/run/hafw";
/// The longest state_dir: the names of the sockets in it must fit `sockaddr_un` (108 bytes,
/// include/uapi/linux/un.h).
const MAX_STATE_DIR: usize = 90;
const PIN_DIR: &str = "/sys/fs/bpf/hafw";
/// PATH_MAX, include/uapi/linux/limits.h.
const MAX_PIN_DIR: usize = 4096;
/// The longest name of an interface (IFNAMSIZ less the zero, include/uapi/linux/if.h).
const MAX_INTERFACE_NAME: usize = 15;

/// What could be read. Sections with mistakes that leave no meaning are missing from it.
pub(super) struct Draft {
    pub(super) node: Option<Node>,
    pub(super) interfaces: Vec<Interface>,
    pub(super) routers: Vec<Router>,
    pub(super) checks: Vec<Check>,
    pub(super) services: Vec<Service>,
    pub(super) proxy: ProxyConfig,
    pub(super) listeners: Vec<Located<SocketAddr>>,
    pub(super) alerts: Option<Alerting>,
    pub(super) metrics: Option<SocketAddr>,
    pub(super) cluster: Option<ClusterSpec>,
    /// There was no mistake in any router: one that is not in `routers` does not exist.
    pub(super) routers_complete: bool,
    /// As `routers_complete`.
    pub(super) checks_complete: bool,
}

impl Draft {
    /// None where something essential is missing.
    pub(super) fn into_config(self, warnings: Vec<Warning>) -> Option<Config> {
        let Self {
            node,
            mut interfaces,
            routers,
            checks,
            services,
            proxy,
            listeners,
            alerts,
            metrics,
            cluster,
            ..
        } = self;
        for router in &routers {
            if !interfaces
                .iter()
                .any(|interface| interface.name.value == router.interface.value)
            {
                let name = router.interface.clone();
                interfaces.push(Interface {
                    name,
                    xdp_mode: XdpMode::Native,
                });
            }
        }
        let proxy = (!proxy.servers.is_empty()).then_some(proxy);
        Some(Config {
            node: node?,
            interfaces,
            routers,
            checks,
            services,
            proxy,
            listeners,
            alerts,
            metrics,
            cluster,
            warnings,
        })
    }
}

/// Reads everything.
pub(super) fn draft(document: &Document) -> Draft {
    let root = document.root();
    // First: it judges its sections as a whole only while there is no mistake anywhere.
    let mut proxy = ProxyConfig::read(document);
    let listeners = listeners(document);
    let before = document.problem_count();
    let routers = each(&root, "virtual_router", router::router);
    let after_routers = document.problem_count();
    let checks = each(&root, "check", check::check);
    let after_checks = document.problem_count();
    let node = root
        .need("node", root.table("node"))
        .and_then(|section| node(&section));
    proxy.stop_timeout = node.as_ref().map(|node| node.stop_timeout);
    let interfaces = each(&root, "interface", interface);
    let services = each(&root, "service", service::service);
    let alerts = root
        .table("alerts")
        .and_then(|section| alerts::alerts(&section));
    let metrics = root
        .table("metrics")
        .and_then(|section| alerts::metrics(&section));
    let cluster = root
        .table("cluster")
        .and_then(|section| cluster::cluster(&section, node.as_ref()));
    root.finish();
    Draft {
        node,
        interfaces,
        routers,
        checks,
        services,
        proxy,
        listeners,
        alerts,
        metrics,
        cluster,
        routers_complete: before == after_routers,
        checks_complete: after_routers == after_checks,
    }
}

fn each<T>(root: &Section, key: &str, read: impl Fn(&Section) -> Option<T>) -> Vec<T> {
    root.tables(key, key).iter().filter_map(read).collect()
}

fn node(section: &Section) -> Option<Node> {
    let id = section.need("id", section.parsed("id", "a name", name));
    let state_dir = folder(section, "state_dir", STATE_DIR, MAX_STATE_DIR);
    let pin_dir = folder(section, "pin_dir", PIN_DIR, MAX_PIN_DIR);
    let stop_timeout = or(section.duration("stop_timeout"), Duration::from_secs(10));
    let priority = or(section.number("realtime_priority", 0..=99), 1u8);
    let lock_memory = or(section.boolean("lock_memory"), true);
    section.finish();
    Some(Node {
        id: id?.value,
        state_dir: state_dir?,
        pin_dir: pin_dir?,
        stop_timeout,
        realtime: Wanted {
            priority: (priority > 0).then_some(priority),
            lock_memory,
        },
    })
}

/// `state_dir` alone, whatever else is wrong. None where it is wrong itself.
pub(super) fn state_dir(document: &Document) -> Option<PathBuf> {
    node_folder(document, "state_dir", STATE_DIR, MAX_STATE_DIR)
}

/// Where a node leaves something, whatever else is wrong. None where a folder is wrong itself.
pub(super) fn remains(document: &Document) -> Option<Remains> {
    let root = document.root();
    let names = [("interface", "name"), ("virtual_router", "interface")];
    let interfaces = names.iter().flat_map(|(kind, key)| {
        let sections = root.tables(kind, kind);
        sections.into_iter().filter_map(|s| interface_name(&s, key))
    });
    let interfaces: BTreeSet<_> = interfaces.map(|name| name.value).collect();
    Some(Remains {
        state_dir: state_dir(document)?,
        pin_dir: node_folder(document, "pin_dir", PIN_DIR, MAX_PIN_DIR)?,
        interfaces: interfaces.into_iter().collect(),
    })
}

fn node_folder(document: &Document, key: &str, default: &str, longest: usize) -> Option<PathBuf> {
    match document.root().table("node") {
        Some(node) => folder(&node, key, default, longest),
        None => (!document.has_problems()).then(|| default.into()),
    }
}

/// None where it is wrong.
fn folder(section: &Section, key: &str, default: &str, longest: usize) -> Option<PathBuf> {
    let expected = format!("an absolute path of at most {longest} bytes");
    let path = section.parsed(key, &expected, |path| {
        let fits = path.starts_with('/') && path.len() <= longest && !path.contains('\0');
        fits.then(|| PathBuf::from(path))
    });
    match path {
        Some(path) => Some(path.value),
        None => (!section.has(key)).then(|| default.into()),
    }
}

fn interface(section: &Section) -> Option<Interface> {
    let modes = [("native", XdpMode::Native), ("generic", XdpMode::Generic)];
    let _ = section.name("name");
    let name = interface_name(section, "name");
    let xdp_mode = or(section.choice("xdp_mode", &modes), XdpMode::Native);
    section.finish();
    Some(Interface {
        name: name?,
        xdp_mode,
    })
}

/// A name that the kernel may give to an interface (`dev_valid_name`, net/core/dev.c).
fn interface_name(section: &Section, key: &str) -> Option<Located<String>> {
    let expected = "the name of a network interface, such as \"eth0\"";
    section.parsed(key, expected, |name| {
        let odd = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control();
        let fits =
            !name.is_empty() && name.len() <= MAX_INTERFACE_NAME && name != "." && name != "..";
        (fits && !name.contains(odd)).then(|| name.to_owned())
    })
}

/// Something to call a thing by, in messages and on the command line.
fn name(text: &str) -> Option<String> {
    (!text.trim().is_empty() && !text.contains(char::is_control)).then(|| text.to_owned())
}

/// An address of either family.
fn ip(section: &Section, key: &str) -> Option<Located<IpAddr>> {
    section.parsed(key, "an IPv4 or IPv6 address", |text| text.parse().ok())
}

/// An address and a port that is not 0.
fn socket(section: &Section, key: &str) -> Option<Located<SocketAddr>> {
    let expected = "an address and a port such as \"10.0.0.7:8080\" or \"[2001:db8::7]:8080\"";
    section.parsed(key, expected, |text| {
        let address = text.parse::<SocketAddr>().ok();
        address.filter(|address| address.port() != 0)
    })
}

/// Whether a host can have the address on a link: not in 0/8, 127/8, 224/4 or 240/4 (RFC 6890);
/// neither unspecified, loopback, a group, nor a form of an IPv4 address (RFC 4291 §2.4).
fn on_a_link(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !matches!(v4.octets()[0], 0 | 127 | 224..),
        IpAddr::V6(v6) => {
            let segments = v6.segments();
            !v6.is_multicast() && segments[..5] != [0; 5]
        }
    }
}

/// The value, or the default of a missing one.
fn or<T>(value: Option<Located<T>>, default: T) -> T {
    value.map_or(default, |value| value.value)
}

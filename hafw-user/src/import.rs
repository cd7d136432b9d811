//! `hafw import`: the files, the terminal and the reader of hafw.toml that [`hafw_import`] is given.

use std::{
    env,
    fs::{self, OpenOptions},
    io::Write as _,
    net::IpAddr,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::Args;
use hafw_config::Problems;
use hafw_import::{Files, Inputs, Objection, Surroundings};

use crate::{check::verdicts, config};

/// The longest input that is read.
const MAX_BYTES: u64 = 16 << 20;

/// What `hafw import` is told.
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// keepalived.conf
    #[arg(long, value_name = "FILE", required_unless_present = "nginx")]
    keepalived: Option<PathBuf>,
    /// nginx.conf, or a file of its `http` block; alone it comes to a file for hafw-l7
    #[arg(long, value_name = "FILE")]
    nginx: Option<PathBuf>,
    /// What nginx's `listen 80` stands for, beside the VIPs of keepalived's file
    #[arg(long = "address", value_name = "ADDR")]
    addresses: Vec<IpAddr>,
    /// What keepalived's `@ID` lines are compared with, as its own -i; default: the host's name
    #[arg(short = 'i', long, value_name = "ID")]
    config_id: Option<String>,
    /// keepalived.conf of the other node: say who wins, and which weights can move the VIPs
    #[arg(long, value_name = "FILE", requires = "keepalived")]
    peer: Option<PathBuf>,
    /// What `@ID` lines of the other node's file are compared with; default: as for this node's
    #[arg(long, value_name = "ID", requires = "peer")]
    peer_config_id: Option<String>,
    /// Where to write; default: stdout
    #[arg(short = 'o', long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

/// The configuration that the files come to. What has no equivalent is said on stderr.
pub(crate) fn import(args: &ImportArgs) -> anyhow::Result<String> {
    let host_name = fs::read_to_string("/proc/sys/kernel/hostname")
        .context("cannot read the host's name")?
        .trim()
        .to_owned();
    let short = host_name.split('.').next().unwrap_or_default().to_owned();
    let surroundings = Surroundings {
        host_name,
        config_id: args.config_id.clone().unwrap_or(short),
    };
    let inputs = Inputs {
        keepalived: args.keepalived.as_deref(),
        nginx: args.nginx.as_deref(),
        addresses: &args.addresses,
    };
    let reader = match args.keepalived {
        Some(_) => |text: &str| objections(config::parse("hafw.toml", text)),
        None => |text: &str| objections(hafw_l7::config::parse("hafw.toml", text)),
    };
    let imported = hafw_import::import(inputs, &Disk, &surroundings, &reader)?;
    for remark in &imported.remarks {
        say(&remark.to_string());
    }
    if let Some(peer) = &args.peer {
        for line in beside(&imported.text, peer, args, surroundings)? {
            say(&line);
        }
    }
    Ok(imported.text)
}

/// What `hafw check --peer` would say of this node's configuration and what the other node's file
/// comes to.
fn beside(
    text: &str,
    peer: &Path,
    args: &ImportArgs,
    mut surroundings: Surroundings,
) -> anyhow::Result<Vec<String>> {
    if let Some(id) = &args.peer_config_id {
        surroundings.config_id.clone_from(id);
    }
    let inputs = Inputs {
        keepalived: Some(peer),
        ..Inputs::default()
    };
    let reader = |text: &str| objections(config::parse("hafw.toml", text));
    let other = hafw_import::import(inputs, &Disk, &surroundings, &reader)?;
    let config = config::parse("hafw.toml", text)?;
    let other = config::parse(&peer.display().to_string(), &other.text)?;
    Ok(verdicts(&config, &other))
}

/// Writes a configuration, for its owner alone: it may hold passwords.
pub(crate) fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let context = || format!("cannot write {}", path.display());
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path);
    file.with_context(context)?
        .write_all(text.as_bytes())
        .with_context(context)
}

/// What this version says of a configuration.
fn objections<T>(read: Result<T, Problems>) -> Vec<Objection> {
    let Err(problems) = read else {
        return Vec::new();
    };
    let objections = problems.0.into_iter().map(|problem| Objection {
        line: problem.place.map(|place| place.line),
        unsupported: ["not in this version", ": unknown key"]
            .iter()
            .any(|words| problem.message.contains(words)),
        message: problem.message,
    });
    objections.collect()
}

#[expect(clippy::print_stderr, reason = "where remarks go")]
fn say(line: &str) {
    eprintln!("{line}");
}

struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path) -> Result<String, String> {
        let length = fs::metadata(path).map_err(|error| error.to_string())?.len();
        if length > MAX_BYTES {
            return Err(format!("it is longer than {} KiB", MAX_BYTES >> 10));
        }
        let bytes = fs::read(path).map_err(|error| error.to_string())?;
        // Comments may be in any encoding.
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn matching(&self, pattern: &Path) -> Result<Vec<PathBuf>, String> {
        let pattern = pattern.to_str().ok_or("not UTF-8")?;
        let found = glob::glob(pattern).map_err(|error| error.msg.to_owned())?;
        let mut files = Vec::new();
        for path in found {
            let path = path.map_err(|error| error.to_string())?;
            if path.is_file() {
                files.push(path);
            }
        }
        Ok(files)
    }

    fn canonical(&self, path: &Path) -> PathBuf {
        let path = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf())
    }

    fn program(&self, name: &str) -> Option<PathBuf> {
        let path = env::var_os("PATH")?;
        let candidates = env::split_paths(&path).map(|folder| folder.join(name));
        let mut candidates = candidates.filter(|path| path.is_absolute());
        candidates.find(|path| {
            fs::metadata(path)
                .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        check::{effect, verdicts},
        config::Config,
    };

    fn data(name: &str) -> PathBuf {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../hafw-import/tests/data");
        folder.join(name)
    }

    fn args(name: &str) -> ImportArgs {
        ImportArgs {
            keepalived: Some(data("keepalived").join(name)),
            nginx: None,
            addresses: Vec::new(),
            config_id: Some("lb01".to_owned()),
            peer: None,
            peer_config_id: None,
            output: None,
        }
    }

    /// What a file comes to, read as `hafw check` reads it.
    fn imported(name: &str) -> Config {
        let text = import(&args(name)).unwrap();
        config::parse(name, &text).unwrap_or_else(|problems| panic!("{problems}\n{text}"))
    }

    #[test]
    fn the_lessons_pair_elects_as_keepalived_does() {
        let (lb01, lb02) = (imported("lesson-lb01.conf"), imported("lesson-lb02.conf"));

        // Weight 2 can never move the VIP: the trap of the lesson.
        let priorities = |config: &Config| {
            let effect = effect(&config.routers[0], &config.checks);
            (effect.up, effect.all_down)
        };
        assert_eq!(priorities(&lb01), (152, Some(150)));
        assert_eq!(priorities(&lb02), (102, Some(100)));
        let said = verdicts(&lb01, &lb02);
        assert!(said[0].contains("lb01"), "{said:?}");
        let args = args("lesson-lb01.conf");
        let text = import(&args).unwrap();
        let surroundings = Surroundings {
            host_name: "lb01".to_owned(),
            config_id: "lb01".to_owned(),
        };
        let beside = beside(
            &text,
            &data("keepalived/lesson-lb02.conf"),
            &args,
            surroundings,
        );
        assert_eq!(beside.unwrap(), said);
    }

    #[test]
    fn the_lessons_two_masters_share_the_vips() {
        let (lb01, lb02) = (imported("dual-lb01.conf"), imported("dual-lb02.conf"));

        let routers = |config: &Config| {
            let routers = config.routers.iter();
            let said = routers.map(|router| {
                let vip = router.vips[0].value;
                (
                    router.vrid.value.get(),
                    router.priority.get(),
                    vip.address.to_string(),
                )
            });
            said.collect::<Vec<_>>()
        };
        let (www, bbs) = ("10.0.0.3".to_owned(), "10.0.0.4".to_owned());
        assert_eq!(
            routers(&lb01),
            [(51, 150, www.clone()), (52, 100, bbs.clone())]
        );
        assert_eq!(routers(&lb02), [(51, 100, www), (52, 150, bbs)]);
    }

    #[test]
    fn the_lessons_load_balancers_listen_on_the_vips() {
        for nginx in ["lesson-uri.conf", "lesson-agent.conf", "lesson-vips.conf"] {
            let args = ImportArgs {
                nginx: Some(data("nginx").join(nginx)),
                ..args("dual-lb01.conf")
            };

            let config = config::parse(nginx, &import(&args).unwrap()).unwrap();

            let listeners: Vec<_> = config.listeners.iter().map(|at| at.to_string()).collect();
            assert_eq!(listeners, ["10.0.0.3:80", "10.0.0.4:80"], "{nginx}");
        }
    }

    #[test]
    fn whatever_comes_out_is_a_right_configuration() {
        for name in ["vrrp.conf", "lvs.conf"] {
            let config = imported(name);
            assert!(!config.routers.is_empty(), "{name}");
        }
    }
}

//! The command line.

use std::{
    io::{self, Write as _},
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use clap::{Parser, Subcommand, ValueEnum};

use crate::{
    check,
    cluster::Key,
    config,
    control::{
        Answer, Protocol, Request, TraceRequest, ask, render_drain, render_status, render_trace,
    },
    decap::{DecapArgs, decap},
    handover::{handover, unexpected},
    import::{self, ImportArgs},
    live, node,
};

/// A high-availability load-balancing node: VRRP, L4 steering in XDP, and an L7 proxy.
#[derive(Debug, Parser)]
#[command(name = "hafw", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Control socket of the node; default: control.sock in its state_dir
    #[arg(long, global = true, value_name = "PATH")]
    socket: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the node; SIGTERM releases its VIPs, serves the grace and ends it
    Run(File),
    /// Validate a configuration; exit 0 if it is good, 1 if not
    Check {
        #[command(flatten)]
        file: File,
        /// Configuration of the other node: say who wins, and which weights can move the VIPs
        #[arg(long, value_name = "FILE")]
        peer: Option<PathBuf>,
    },
    /// Show routers, services, checks and counters of the running node
    Status {
        #[command(flatten)]
        file: File,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Print what changes, a line each: routers, checks, backends, peers
    Watch {
        #[command(flatten)]
        file: File,
        /// Also how many frames were dropped, by reason
        #[arg(long)]
        drops: bool,
        /// From one look to the next, such as 500ms
        #[arg(long, value_name = "DURATION", default_value = "500ms", value_parser = interval)]
        interval: Duration,
    },
    /// Show routers, services and drops with their rates, again and again
    Top {
        #[command(flatten)]
        file: File,
        /// From one look to the next, such as 2s
        #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = interval)]
        interval: Duration,
        /// How many tables; for ever if not given
        #[arg(short = 'n', long, value_name = "N")]
        count: Option<u32>,
    },
    /// Say where a flow goes, and why
    Trace {
        #[command(flatten)]
        file: File,
        /// The client
        #[arg(long, value_name = "ADDR:PORT")]
        from: SocketAddr,
        /// The VIP and port
        #[arg(long, value_name = "VIP:PORT")]
        to: SocketAddr,
        /// The transport
        #[arg(long, value_enum, default_value_t = Transport::Tcp)]
        proto: Transport,
    },
    /// Give a backend no new flows; those that it has go on
    Drain(Backend),
    /// Give a backend its share of new flows again
    Undrain(Backend),
    /// Let a source in again that the proxy's limits keep out
    Unblock {
        #[command(flatten)]
        file: File,
        /// Its address
        source: IpAddr,
    },
    /// Put the changed file into force, as SIGHUP does; a bad file changes nothing
    Reload(File),
    /// Become the binary that is on disk now, within the leases: an upgrade without loss
    Restart(File),
    /// Give a virtual router to a peer, without loss; this node takes it again only when no peer has it
    Handover {
        #[command(flatten)]
        file: File,
        /// Its name
        router: String,
        /// End an earlier handover: the router claims its VIPs by its priority again
        #[arg(long)]
        end: bool,
    },
    /// Say keepalived's and nginx's configuration in hafw's words; what has no equivalent goes to stderr
    Import(ImportArgs),
    /// Make the key that the nodes of a cluster share
    Key {
        /// The file to write, for its owner alone; default: standard output
        #[arg(short = 'o', long = "output", value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// On a backend whose kernel lacks the device: take datagrams out of ipip and gue tunnels
    Decap(DecapArgs),
    /// Remove what a dead controller left: programs, pins, routes, sysctls
    Detach(File),
}

#[derive(Debug, clap::Args)]
struct File {
    /// Configuration file
    #[arg(short = 'c', long = "config", value_name = "FILE", default_value = config::DEFAULT_FILE)]
    file: PathBuf,
}

#[derive(Debug, clap::Args)]
struct Backend {
    #[command(flatten)]
    file: File,
    /// Name of the service
    service: String,
    /// Address of the backend, or address and port
    #[arg(value_name = "ADDR[:PORT]")]
    backend: String,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Transport {
    Tcp,
    Udp,
}

/// Carries the command out.
///
/// # Errors
/// Whatever it could not do, for a person to read.
pub fn run(cli: Cli) -> anyhow::Result<()> {
    let Cli { command, socket } = cli;
    let socket = socket.as_deref();
    match command {
        Command::Run(File { file }) => node::run(&file, socket),
        Command::Decap(args) => decap(args),
        Command::Check {
            file: File { file },
            peer,
        } => {
            print(&check::check(&file, peer.as_deref())?);
            Ok(())
        }
        Command::Status {
            file: File { file },
            json,
        } => {
            let answer = ask(&control_socket(socket, &file)?, &Request::Status)?;
            let Answer::Status(status) = answer else {
                return unexpected();
            };
            if json {
                print(&serde_json::to_string_pretty(&status)?);
            } else {
                print(&render_status(&status));
            }
            Ok(())
        }
        Command::Watch {
            file: File { file },
            drops,
            interval,
        } => live::watch(&control_socket(socket, &file)?, interval, drops),
        Command::Top {
            file: File { file },
            interval,
            count,
        } => live::top(&control_socket(socket, &file)?, interval, count),
        Command::Trace {
            file: File { file },
            from,
            to,
            proto,
        } => {
            let protocol = match proto {
                Transport::Tcp => Protocol::Tcp,
                Transport::Udp => Protocol::Udp,
            };
            let request = Request::Trace(TraceRequest { from, to, protocol });
            let Answer::Trace(answer) = ask(&control_socket(socket, &file)?, &request)? else {
                return unexpected();
            };
            print(&render_trace(&answer));
            Ok(())
        }
        Command::Unblock {
            file: File { file },
            source,
        } => order(
            &control_socket(socket, &file)?,
            &Request::Unblock { source },
        ),
        Command::Reload(File { file }) => order(&control_socket(socket, &file)?, &Request::Reload),
        Command::Restart(File { file }) => {
            order(&control_socket(socket, &file)?, &Request::Restart)
        }
        Command::Handover {
            file: File { file },
            router,
            end,
        } => {
            print(&handover(&control_socket(socket, &file)?, &router, end)?);
            Ok(())
        }
        Command::Import(args) => {
            let text = import::import(&args)?;
            match &args.output {
                Some(output) => import::write(output, &text),
                None => {
                    print(&text);
                    Ok(())
                }
            }
        }
        Command::Drain(backend) => drain(socket, backend, false),
        Command::Undrain(backend) => drain(socket, backend, true),
        Command::Key { output } => {
            let key = Key::generate().context("cannot make a key")?;
            match output {
                Some(file) => key
                    .write(&file)
                    .with_context(|| format!("cannot write {}", file.display())),
                None => {
                    print(&key.text());
                    Ok(())
                }
            }
        }
        Command::Detach(File { file }) => node::detach(&file),
    }
}

fn drain(socket: Option<&Path>, backend: Backend, end: bool) -> anyhow::Result<()> {
    let Backend {
        file: File { file },
        service,
        backend,
    } = backend;
    let request = Request::Drain {
        service,
        backend,
        end,
    };
    let Answer::Drain(answer) = ask(&control_socket(socket, &file)?, &request)? else {
        return unexpected();
    };
    print(&render_drain(&answer));
    Ok(())
}

/// At least 10 ms: each look is a request to the node.
fn interval(text: &str) -> Result<Duration, String> {
    hafw_config::parse_duration(text)
        .filter(|interval| *interval >= Duration::from_millis(10))
        .ok_or_else(|| "expected a duration of at least 10ms, such as \"500ms\"".to_owned())
}

fn order(socket: &Path, request: &Request) -> anyhow::Result<()> {
    let Answer::Done(text) = ask(socket, request)? else {
        return unexpected();
    };
    print(&text);
    Ok(())
}

fn control_socket(socket: Option<&Path>, file: &Path) -> anyhow::Result<PathBuf> {
    match socket {
        Some(socket) => Ok(socket.to_path_buf()),
        None => Ok(config::state_dir(file)?.join("control.sock")),
    }
}

/// Whoever reads may stop before the end, as `head` does.
fn print(text: &str) {
    let _ = writeln!(io::stdout(), "{}", text.trim_end());
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}

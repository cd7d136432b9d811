//! The `hafw-l7` command: starts the proxy, and turns signals into orders.

use std::{
    fs::File,
    io::{self, IsTerminal as _},
    os::{fd::AsFd as _, unix::net::UnixStream as StdUnixStream},
    path::{Path, PathBuf},
    process::ExitCode,
    rc::Rc,
};

use clap::Parser;
use hafw_config::Problems;
use tokio::{
    net::{UnixListener, UnixStream},
    signal::unix::{SignalKind, signal},
    task::LocalSet,
};
use tracing::{error, info, warn};
use tracing_subscriber::EnvFilter;

use crate::{
    config,
    control::{
        Reply, Request,
        fd_stream::{FdStream, StreamError},
        server::{self, BindError},
    },
    listeners::{self, ListenError, Listeners},
    model::ProxyConfig,
    privileges::{self, PrivilegeError},
    process::{ConfigureError, Process},
};

/// The companion HTTP proxy of a hafw node.
#[derive(Debug, Parser)]
#[command(name = "hafw-l7", version)]
struct Args {
    /// Configuration; the proxy opens its own listeners, and reads the file again on SIGHUP
    #[arg(short, long, value_name = "FILE", required_unless_present = "handoff")]
    config: Option<PathBuf>,
    /// Where to make the control socket; none if not given
    #[arg(long, value_name = "PATH")]
    control: Option<PathBuf>,
    /// Take configuration and listeners from the socket on standard input, as `hafw run` gives them
    #[arg(long, conflicts_with = "config")]
    handoff: bool,
}

/// Why the proxy does not start.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error("{0}")]
    Config(Problems),
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error(transparent)]
    Privileges(#[from] PrivilegeError),
    #[error(transparent)]
    Configure(#[from] ConfigureError),
    #[error(transparent)]
    Stream(#[from] StreamError),
    #[error("standard input: {0}")]
    Handoff(io::Error),
    #[error("standard input gave another order than a configuration")]
    Order,
    #[error("the runtime: {0}")]
    Runtime(#[from] io::Error),
}

/// What a proxy starts with.
struct Start {
    config: ProxyConfig,
    listeners: Listeners,
    /// The supervisor, if there is one: it waits for an answer.
    supervisor: Option<FdStream>,
}

/// Runs the proxy with the arguments of the process. The binary `hafw` calls this too, when it is
/// called by the name `hafw-l7`.
#[must_use]
pub fn main() -> ExitCode {
    let args = Args::parse();
    start_log();
    if let Err(error) = privileges::raise_open_files() {
        warn!(%error, "cannot raise the limit of open files");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let ended = runtime
        .map_err(StartError::from)
        .and_then(|runtime| LocalSet::new().block_on(&runtime, run(args)));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn start_log() {
    // Of the HTTP/2 codec, errors only: it warns of what clients do.
    let filter =
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,h2=error"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        // The proxy outlives whoever reads its output.
        .log_internal_errors(false)
        .init();
}

async fn run(args: Args) -> Result<(), StartError> {
    let start = match &args.config {
        Some(path) => open(path)?,
        None => receive().await?,
    };
    let control = args.control.as_deref().map(server::bind).transpose()?;
    // From here on, nothing can be opened that nobody may not open.
    let started = match privileges::drop_all() {
        Ok(()) => Process::start(start.config, start.listeners)
            .await
            .map_err(StartError::from),
        Err(error) => Err(error.into()),
    };
    let process = report(started, start.supervisor).await?;
    if let Some(control) = control {
        let control = UnixListener::from_std(control)?;
        tokio::task::spawn_local(server::serve(control, Rc::clone(&process)));
    }
    tokio::task::spawn_local(obey_signals(Rc::clone(&process), args.config));
    process.finished().await;
    info!("stopped");
    Ok(())
}

/// Reads a file and opens its listeners.
fn open(path: &Path) -> Result<Start, StartError> {
    let config = config::load(path).map_err(StartError::Config)?;
    let mut listeners = Listeners::new();
    let wanted = listeners::keys(config.listen_addresses(), config.worker_count());
    listeners::open_missing(&mut listeners, wanted)?;
    Ok(Start {
        config,
        listeners,
        supervisor: None,
    })
}

/// Takes the first order of `hafw run`, which must be a configuration.
async fn receive() -> Result<Start, StartError> {
    let stdin = io::stdin().as_fd().try_clone_to_owned();
    let stream = StdUnixStream::from(stdin.map_err(StartError::Handoff)?);
    // Nobody else is to read from it.
    let null = File::open("/dev/null").map_err(StartError::Handoff)?;
    rustix::stdio::dup2_stdin(&null).map_err(|error| StartError::Handoff(error.into()))?;
    stream.set_nonblocking(true).map_err(StartError::Handoff)?;
    let stream = UnixStream::from_std(stream).map_err(StartError::Handoff)?;
    let mut stream = FdStream::new(stream);
    let Some(Request::Configure { config, listeners }) = stream.receive_line().await? else {
        return Err(StartError::Order);
    };
    let fds = stream.receive_fds(listeners.len()).await?;
    Ok(Start {
        config: *config,
        listeners: listeners::adopt(listeners, fds),
        supervisor: Some(stream),
    })
}

/// Tells the supervisor what became of the start, and obeys it from now on.
async fn report(
    started: Result<Rc<Process>, StartError>,
    supervisor: Option<FdStream>,
) -> Result<Rc<Process>, StartError> {
    let Some(stream) = supervisor else {
        return started;
    };
    let reply = match &started {
        Ok(_) => Reply::Done {
            pid: std::process::id(),
        },
        Err(error) => Reply::Refused(error.to_string()),
    };
    stream.send_line(&reply).await?;
    let process = started?;
    tokio::task::spawn_local(server::serve_stream(stream, Rc::clone(&process)));
    Ok(process)
}

/// Stops the proxy in order on SIGTERM and SIGINT; reads its file again on SIGHUP; opens the access
/// logs again on SIGUSR1.
async fn obey_signals(process: Rc<Process>, config: Option<PathBuf>) {
    let signals = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
        signal(SignalKind::hangup()),
        signal(SignalKind::user_defined1()),
    );
    let (Ok(mut terminate), Ok(mut interrupt), Ok(mut hangup), Ok(mut reopen)) = signals else {
        return error!("cannot listen to signals");
    };
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = reopen.recv() => process.reopen_logs(),
            _ = hangup.recv() => match &config {
                Some(path) => reload(&process, path).await,
                None => info!("SIGHUP: the configuration comes from hafw run"),
            },
        }
    }
    process.stop().await;
}

/// Puts a changed file into force; a bad one changes nothing.
async fn reload(process: &Process, path: &Path) {
    let reloaded = async {
        let config = config::load(path).map_err(StartError::Config)?;
        let addresses = config.listen_addresses();
        let mut listeners = Listeners::new();
        for (key, listener) in process.listeners().iter() {
            if addresses.contains(&key.address) {
                listeners.insert(*key, listener.try_clone()?);
            }
        }
        let wanted = listeners::keys(addresses, config.worker_count());
        listeners::open_missing(&mut listeners, wanted)?;
        process.configure(config, listeners).await?;
        Ok::<_, StartError>(())
    };
    if let Err(error) = reloaded.await {
        error!("nothing has changed: {error}");
    }
}

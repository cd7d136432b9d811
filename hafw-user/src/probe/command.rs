//! Running a command, as another user and with its children under control.

use std::{
    io,
    os::unix::process::ExitStatusExt as _,
    process::{ExitStatus, Stdio},
};

use nix::unistd::User;
use rustix::process::{Pid, Signal, geteuid, kill_process_group};
use thiserror::Error;
use tokio::process::{Child, Command};

use super::{Limit, Report};

/// All that a command finds in its environment.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A command that cannot be run as it is meant.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidCommand {
    /// There is nothing to run.
    #[error("the command is empty")]
    Empty,
    /// An argument that no process can be given.
    #[error("argument {0:?} has a zero byte")]
    ZeroByte(String),
    /// Neither a name that is known here nor a number of a user that is.
    #[error("there is no user {0:?}")]
    NoUser(String),
    /// The users cannot be looked up.
    #[error("cannot look up user {user:?}: {reason}")]
    LookUp {
        /// Whom.
        user: String,
        /// Why not.
        reason: String,
    },
    /// Only root can run commands as somebody else.
    #[error("cannot run a command as {0:?}: only root may change users")]
    NotRoot(String),
}

/// A command with its arguments, and whom it runs as. No shell is involved unless it is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandProbe {
    program: String,
    arguments: Vec<String>,
    /// User and group to change to; none where this process is that user already.
    identity: Option<(u32, u32)>,
}

impl CommandProbe {
    /// `user`: a name or number; it is looked up now, in the system's databases. The command gets
    /// that user's own group and no supplementary ones.
    ///
    /// # Errors
    /// See [`InvalidCommand`].
    pub fn new(command: &[String], user: &str) -> Result<Self, InvalidCommand> {
        let (program, arguments) = command.split_first().ok_or(InvalidCommand::Empty)?;
        if program.is_empty() {
            return Err(InvalidCommand::Empty);
        }
        if let Some(argument) = command.iter().find(|argument| argument.contains('\0')) {
            return Err(InvalidCommand::ZeroByte(argument.clone()));
        }
        let User { uid, gid, .. } = look_up(user)?;
        let own = geteuid();
        let identity = if own.is_root() {
            Some((uid.as_raw(), gid.as_raw()))
        } else if own.as_raw() == uid.as_raw() {
            None
        } else {
            return Err(InvalidCommand::NotRoot(user.into()));
        };
        Ok(Self {
            program: program.clone(),
            arguments: arguments.to_vec(),
            identity,
        })
    }

    pub(super) async fn run(&self, limit: Limit) -> Report {
        let mut child = match self.spawn() {
            Ok(child) => Group(child),
            Err(error) => return Report::bad(format!("cannot run {}: {error}", self.program)),
        };
        match limit.wait("end of the command", child.0.wait()).await {
            Ok(Ok(status)) => judge(status),
            Ok(Err(error)) => Report::bad(format!("cannot wait for {}: {error}", self.program)),
            Err(report) => report,
        }
    }

    fn spawn(&self) -> io::Result<Child> {
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .env_clear()
            .env("PATH", PATH)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0);
        if let Some((uid, gid)) = self.identity {
            // The group first, then no other groups (the library does that with `uid`, as root),
            // then the user: there is no way back.
            command.gid(gid).uid(uid);
        }
        command.spawn()
    }
}

fn look_up(user: &str) -> Result<User, InvalidCommand> {
    let found = match user.parse() {
        Ok(number) => User::from_uid(nix::unistd::Uid::from_raw(number)),
        Err(_) => User::from_name(user),
    };
    match found {
        Ok(Some(found)) => Ok(found),
        Ok(None) => Err(InvalidCommand::NoUser(user.into())),
        Err(error) => Err(InvalidCommand::LookUp {
            user: user.into(),
            reason: error.desc().into(),
        }),
    }
}

fn judge(status: ExitStatus) -> Report {
    match (status.code(), status.signal()) {
        (Some(0), _) => Report::ok("exit status 0"),
        (Some(code), _) => Report::bad(format!("exit status {code}")),
        (None, Some(signal)) => Report::bad(format!("ended by signal {signal}")),
        (None, None) => Report::bad(status.to_string()),
    }
}

/// A command and the process group that it leads. If it has not ended when this is dropped, by a
/// timeout or with its prober, it is killed with everything it started.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        // The number is there until the leader was waited for; until then nobody else can get it.
        let leader = self.0.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        if let Some(leader) = leader {
            // Fails only if the whole group has ended just now. The runtime reaps the leader.
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests;

//! Running a command of the configuration: as another user, with its children under control, and
//! with the end of what it says.

mod output;
mod tree;

use std::{
    io,
    os::unix::process::ExitStatusExt as _,
    process::{ExitStatus, Stdio},
};

use nix::unistd::User;
use rustix::process::{Pid, geteuid};
use thiserror::Error;
use tokio::process::{Child, Command};

use output::Output;

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
pub struct UserCommand {
    program: String,
    arguments: Vec<String>,
    /// User and group to change to; none where this process is that user already.
    identity: Option<(u32, u32)>,
}

impl UserCommand {
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

    /// The program's file.
    #[must_use]
    pub fn program(&self) -> &str {
        &self.program
    }

    /// The same with more arguments behind its own.
    #[must_use]
    pub fn with_arguments(mut self, more: impl IntoIterator<Item = String>) -> Self {
        self.arguments.extend(more);
        self
    }

    /// Starts it, with more arguments behind its own.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(&self, more: &[&str]) -> io::Result<Running> {
        let (output, writer) = Output::new()?;
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .args(more)
            .env_clear()
            .env("PATH", PATH)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(writer.try_clone()?)
            .stderr(writer)
            .process_group(0);
        if let Some((uid, gid)) = self.identity {
            // The group first, then no other groups (the library does that with `uid`, as root),
            // then the user: there is no way back.
            command.gid(gid).uid(uid);
        }
        let child = command.spawn()?;
        Ok(Running { child, output })
    }
}

/// A command that runs, and leads a process group. If it has not ended when this is dropped, by a
/// timeout or with whoever wanted it, it is killed with everything that it started and that did not
/// become a daemon of its own.
#[derive(Debug)]
pub struct Running {
    child: Child,
    output: Output,
}

impl Running {
    /// Waits for its end. What it says meanwhile is read, whatever its length. What it left behind
    /// lives on, and finds its output closed.
    ///
    /// # Errors
    /// The kernel's, which has no reason to.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        let Self { child, output } = self;
        let status = tokio::select! {
            status = child.wait() => status,
            never = output.read_forever() => match never {},
        };
        output.read_rest();
        status
    }

    /// The end of what it has said so far, as one line.
    #[must_use]
    pub fn said(&self) -> String {
        self.output.text()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The number is there until the leader was waited for; until then nobody else can get it.
        let leader = self
            .child
            .id()
            .and_then(|id| Pid::from_raw(id.cast_signed()));
        if let Some(leader) = leader {
            // The runtime reaps the leader.
            tree::kill(leader);
        }
    }
}

/// How it ended, in words.
#[must_use]
pub fn ending(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("ended by signal {signal}"),
        (None, None) => status.to_string(),
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

#[cfg(test)]
mod tests;

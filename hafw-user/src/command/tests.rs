use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use hafw_lb::Outcome;
use tempfile::TempDir;

use super::*;
use crate::probe::{Probe, Report};

/// Long enough never to matter.
const MINUTE: Duration = Duration::from_secs(60);

/// Whom commands can run as here: nobody, or, where the tests do not run as root, oneself.
fn user() -> String {
    if geteuid().is_root() {
        "nobody".into()
    } else {
        geteuid().as_raw().to_string()
    }
}

fn shell(script: &str) -> Probe {
    let command = ["/bin/sh", "-c", script].map(String::from);
    Probe::Command(UserCommand::new(&command, &user()).unwrap())
}

/// A directory that anybody may write to.
fn scratch() -> TempDir {
    let directory = TempDir::new().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
    directory
}

/// Runs a script whose output goes to a file, and gives that.
async fn output(script: &str) -> String {
    let directory = scratch();
    let file = directory.path().join("out");
    let probe = shell(&format!("exec >{}; {script}", file.display()));
    assert_eq!(probe.run(MINUTE).await, Report::ok("exit status 0"));
    fs::read_to_string(file).unwrap()
}

/// Waits for a condition on the system, not on the runtime's clock.
fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::yield_now();
    }
}

/// Whether a process still runs: one that ended and was not waited for does not.
fn runs(pid: &str) -> bool {
    let Ok(stat) = fs::read_to_string(Path::new("/proc").join(pid).join("stat")) else {
        return false;
    };
    // The state follows the name in parentheses (proc_pid_stat(5)).
    !stat.rsplit_once(") ").unwrap().1.starts_with(['Z', 'X'])
}

#[tokio::test]
async fn the_exit_status_decides() {
    assert_eq!(
        shell("exit 0").run(MINUTE).await,
        Report::ok("exit status 0")
    );
    assert_eq!(
        shell("exit 3").run(MINUTE).await,
        Report::bad("exit status 3")
    );
    assert_eq!(
        shell("kill -9 $$").run(MINUTE).await,
        Report::bad("ended by signal 9")
    );
}

#[tokio::test]
async fn what_cannot_be_run_is_bad() {
    let directory = scratch();
    let file = directory.path().join("check.sh");
    fs::write(&file, "exit 0").unwrap();
    for program in [file, PathBuf::from("/nonexistent/check.sh")] {
        let command = [program.display().to_string()];
        let probe = Probe::Command(UserCommand::new(&command, &user()).unwrap());
        let report = probe.run(MINUTE).await;
        assert_eq!(report.outcome, Outcome::Bad);
        let expected = format!("cannot run {}: ", program.display());
        assert!(report.reason.starts_with(&expected), "{}", report.reason);
    }
}

#[tokio::test]
async fn arguments_are_no_shell() {
    let command = ["test", "$HOME; exit 1 #", "=", "$HOME; exit 1 #"].map(String::from);
    let probe = Probe::Command(UserCommand::new(&command, &user()).unwrap());
    assert_eq!(probe.run(MINUTE).await, Report::ok("exit status 0"));
}

#[tokio::test]
async fn a_command_that_takes_too_long_is_killed_with_its_children() {
    let directory = scratch();
    let pids = directory.path().join("pids");
    let script = format!(
        "sh -c 'sleep 1000 & echo $! >>{0}.part; wait' & echo $$ $! >>{0}.part; \
         while ! grep -qx '[0-9]*' {0}.part; do :; done; mv {0}.part {0}; wait",
        pids.display()
    );
    let probe = tokio::spawn(async move { shell(&script).run(MINUTE).await });
    while !pids.exists() {
        tokio::task::yield_now().await;
    }
    tokio::time::pause();
    tokio::time::advance(MINUTE).await;
    let report = probe.await.unwrap();
    assert_eq!(report.outcome, Outcome::TimedOut);
    assert_eq!(report.reason, "no end of the command within 60s");
    let pids = fs::read_to_string(pids).unwrap();
    let pids: Vec<_> = pids.split_whitespace().collect();
    assert_eq!(pids.len(), 3, "{pids:?}");
    wait_for("all are gone", || !pids.iter().any(|pid| runs(pid)));
}

#[tokio::test]
async fn a_prober_that_goes_takes_its_command_along() {
    let directory = scratch();
    let file = directory.path().join("pid");
    let path = file.display().to_string();
    let probe = shell(&format!(
        "echo $$ >{path}.part; mv {path}.part {path}; sleep 1000"
    ));
    let task = tokio::spawn(async move { probe.run(MINUTE).await });
    while !file.exists() {
        tokio::task::yield_now().await;
    }
    let pid = fs::read_to_string(&file).unwrap();
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    wait_for("it is gone", || !runs(pid.trim()));
}

#[tokio::test]
async fn the_environment_is_path_alone_and_the_directory_the_root() {
    // What the shell sets by itself does not count.
    let output = output("env | grep -v '^\\(_\\|OLDPWD\\|SHLVL\\)='").await;
    let mut lines: Vec<_> = output.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, [&format!("PATH={PATH}"), "PWD=/"]);
}

#[tokio::test]
async fn input_is_empty() {
    assert_eq!(output("cat; readlink /proc/self/fd/0").await, "/dev/null\n");
}

#[tokio::test]
async fn a_failure_shows_the_end_of_what_was_said() {
    let report = shell("echo one; echo two >&2; printf 'th\\tree'; exit 1")
        .run(MINUTE)
        .await;
    assert_eq!(report, Report::bad("exit status 1: one | two | th ree"));

    let report = shell("seq 100000; echo the end; exit 2").run(MINUTE).await;
    let said = report.reason.strip_prefix("exit status 2: …").unwrap();
    assert!(said.ends_with("| 99999 | 100000 | the end"), "{said}");
    assert!(said.len() < 800, "{}", said.len());
}

#[tokio::test]
async fn what_stays_behind_keeps_nobody_waiting() {
    let directory = scratch();
    let file = directory.path().join("pid");
    let script = format!("setsid sleep 1000 & echo $! >{}; exit 0", file.display());
    assert_eq!(
        shell(&script).run(MINUTE).await,
        Report::ok("exit status 0")
    );

    let pid = fs::read_to_string(&file).unwrap();
    assert!(runs(pid.trim()), "a check may start a daemon");
    let pid = Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

#[tokio::test]
async fn children_in_groups_of_their_own_are_killed_too() {
    let directory = scratch();
    let pids = directory.path().join("pids");
    // `timeout` leads a group; its child's child leads a session.
    let script = format!(
        "timeout 1000 sh -c 'echo $$ >>{0}.part; setsid --wait sh -c \"echo \\$\\$ >>{0}.part; \
         mv {0}.part {0}; exec sleep 1000\"'; true",
        pids.display()
    );
    let probe = tokio::spawn(async move { shell(&script).run(MINUTE).await });
    while !pids.exists() {
        tokio::task::yield_now().await;
    }
    tokio::time::pause();
    tokio::time::advance(MINUTE).await;
    assert_eq!(probe.await.unwrap().outcome, Outcome::TimedOut);
    let pids = fs::read_to_string(pids).unwrap();
    let pids: Vec<_> = pids.split_whitespace().collect();
    assert_eq!(pids.len(), 2, "{pids:?}");
    wait_for("all are gone", || !pids.iter().any(|pid| runs(pid)));
}

#[tokio::test]
async fn as_root_the_command_is_nobody_in_every_respect() {
    if !geteuid().is_root() {
        let refused = UserCommand::new(&["true".into()], "root");
        assert_eq!(refused, Err(InvalidCommand::NotRoot("root".into())));
        return;
    }
    let nobody = User::from_name("nobody").unwrap().unwrap();
    let (uid, gid) = (nobody.uid, nobody.gid);
    let output = output("grep -E '^(Uid|Gid|Groups|CapEff|CapPrm):' /proc/self/status").await;
    let lines: Vec<_> = output
        .lines()
        .map(|line| line.trim_end().replace('\t', " "))
        .collect();
    let none = "0000000000000000";
    assert_eq!(
        lines,
        [
            format!("Uid: {uid} {uid} {uid} {uid}"),
            format!("Gid: {gid} {gid} {gid} {gid}"),
            "Groups:".into(),
            format!("CapPrm: {none}"),
            format!("CapEff: {none}"),
        ]
    );
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let new = |command: &[&str], user: &str| {
        let command: Vec<_> = command.iter().map(|part| part.to_string()).collect();
        UserCommand::new(&command, user).unwrap_err()
    };
    assert_eq!(new(&[], "nobody"), InvalidCommand::Empty);
    assert_eq!(new(&["", "x"], "nobody"), InvalidCommand::Empty);
    assert_eq!(
        new(&["true", "a\0b"], "nobody"),
        InvalidCommand::ZeroByte("a\0b".into())
    );
    for user in ["no such user", "4294967294"] {
        assert_eq!(new(&["true"], user), InvalidCommand::NoUser(user.into()));
    }
}

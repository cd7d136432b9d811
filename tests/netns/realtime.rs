//! Who runs with real-time priority, and what becomes of a node that may not.

use std::fs;

use hafw_lab::{
    Daemon, Lab, Station,
    peers::{Hafw, Router, Timing, hafw_config},
};

use crate::pair::PATIENCE;

/// A site whose proxy is a process beside the controller.
const SITE: &str = r#"
[[server]]
listen = ["10.0.0.3:80"]
hosts = ["www.oldboy.com"]

[[server.route]]
respond = { status = 204 }
"#;

/// SCHED_OTHER and SCHED_RR (include/uapi/linux/sched.h).
const OTHER: u32 = 0;
const RR: u32 = 2;

#[test]
#[ignore = "requires root"]
fn the_vrrp_thread_alone_has_priority_and_a_node_without_the_right_runs_without() {
    let lab = Lab::new("rt").unwrap();
    let mut nodes = Station::NODES.map(|station| {
        let host = &lab[station];
        let routers = [Router::oldboy(station, Timing::V3Tenth)];
        let config = hafw_config(host, &routers, SITE);
        Hafw::new(host, &Hafw::built().unwrap(), &config).unwrap()
    });
    nodes[1].daemon = unprivileged(&lab, &nodes[1]);
    for node in &mut nodes {
        node.daemon.start().unwrap();
    }
    for (node, state) in nodes.iter_mut().zip(["active", "backup"]) {
        node.wait_for_router("oldboy", state, PATIENCE).unwrap();
        node.wait_for("its proxy to be up", PATIENCE, |status| {
            let up = status.json["proxy"]["up"] == true;
            up.then_some(()).ok_or_else(|| "it is not".to_owned())
        })
        .unwrap();
    }

    let [with, without] = &nodes;
    let told = with.status().unwrap().json["realtime"].clone();
    assert_eq!(
        (&told["priority"], &told["memory_locked"]),
        (&1.into(), &true.into())
    );
    assert!(locked_kib(with) > 1000);
    for thread in threads(&lab, Station::Lb01) {
        let expected = if thread.name == "vrrp" {
            (1, RR)
        } else {
            (0, OTHER)
        };
        assert_eq!(
            (thread.priority, thread.policy),
            expected,
            "{}",
            thread.name
        );
    }

    let told = without.status().unwrap().json["realtime"].clone();
    assert!(
        told["priority"].is_null() && told["memory_locked"] == false,
        "{told}"
    );
    let reason = told["reason"].as_str().unwrap();
    assert!(
        reason.contains("SCHED_RR") && reason.contains("memory"),
        "{reason}"
    );
    let log = fs::read_to_string(without.daemon.log()).unwrap();
    assert_eq!(log.matches("load may delay adverts").count(), 1, "{log}");
    let threads = threads(&lab, Station::Lb02);
    assert!(threads.iter().any(|thread| thread.name == "vrrp"));
    assert!(threads.iter().all(|thread| thread.policy == OTHER));
}

/// The same node without the capabilities that real time takes.
fn unprivileged(lab: &Lab, node: &Hafw) -> Daemon {
    let host = &lab[Station::Lb02];
    let args = [
        "--bounding-set".to_owned(),
        "-sys_nice,-ipc_lock".to_owned(),
        Hafw::built().unwrap().display().to_string(),
        "run".to_owned(),
        "-c".to_owned(),
        node.config().display().to_string(),
    ];
    let log = node.daemon.log().to_owned();
    Daemon::new(
        "hafw without rights",
        host.namespace(),
        "setpriv",
        args,
        log,
    )
}

struct Thread {
    name: String,
    priority: u32,
    policy: u32,
}

/// All threads of all processes on a host: the controller's, the proxy's.
fn threads(lab: &Lab, station: Station) -> Vec<Thread> {
    let processes = lab[station].namespace().processes();
    assert!(processes.len() >= 2, "the proxy is missing");
    let tasks = processes
        .iter()
        .flat_map(|pid| fs::read_dir(format!("/proc/{pid}/task")).unwrap());
    tasks
        .map(|task| fs::read_to_string(task.unwrap().path().join("stat")).unwrap())
        .map(|stat| thread(&stat))
        .collect()
}

/// Fields 40 and 41 (proc_pid_stat(5)).
fn thread(stat: &str) -> Thread {
    let (head, rest) = stat.rsplit_once(')').unwrap();
    let (_, name) = head.split_once('(').unwrap();
    let field = |number: usize| {
        rest.split_whitespace()
            .nth(number - 3)
            .unwrap()
            .parse()
            .unwrap()
    };
    Thread {
        name: name.to_owned(),
        priority: field(40),
        policy: field(41),
    }
}

fn locked_kib(node: &Hafw) -> u64 {
    let pid = node.daemon.pid().unwrap();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmLck:"));
    line.unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap()
}

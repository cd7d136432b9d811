//! The supervising half: hand-over, restart, adoption.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use hafw_l7::{
    control::client::Control,
    model::{PathCondition, ProxyConfig, Route, Server, Upstream as Cluster, UpstreamServer},
    supervise::{SuperviseError, Supervisor},
};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::harness::{Client, Upstream, answer, free_address, wait_until};

struct Node {
    state: TempDir,
    address: SocketAddr,
}

impl Node {
    fn new() -> Self {
        Self {
            state: tempfile::tempdir().unwrap(),
            address: free_address(),
        }
    }

    fn config(&self, web: &Upstream, workers: u16) -> ProxyConfig {
        let route = Route::to("web", PathCondition::Any);
        let mut server = Server::new(vec![self.address], Vec::new(), vec![route]);
        server.default = true;
        ProxyConfig {
            workers,
            upstreams: vec![Cluster::new("web", vec![UpstreamServer::new(web.address)])],
            servers: vec![server],
            ..ProxyConfig::default()
        }
    }

    async fn start(&self, config: ProxyConfig) -> Result<Supervisor, SuperviseError> {
        let exe = PathBuf::from(env!("CARGO_BIN_EXE_hafw-l7"));
        Supervisor::start_or_adopt(config, self.state.path(), &exe).await
    }

    fn get(&self) -> String {
        let mut client = Client::connect(self.address);
        client.get("a", "/");
        client.response().text().to_owned()
    }
}

/// Ends the proxy with its node, whatever became of the test.
impl Drop for Node {
    fn drop(&mut self) {
        let control = Control::new(self.state.path().join("l7.sock"));
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            // It may not run any more.
            let _ = runtime.block_on(control.stop());
        })
        .join()
        .unwrap();
    }
}

async fn pid(control: &Control) -> u32 {
    control.status().await.unwrap().pid
}

fn kill(pid: u32) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
}

/// Blocking calls of the harness, while the supervisor goes on.
async fn blocking<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(call).await.unwrap()
}

#[tokio::test]
async fn a_proxy_is_started_and_serves() {
    let web = Upstream::answering(answer(200, "ok"));
    let node = Node::new();

    let supervisor = node.start(node.config(&web, 2)).await.unwrap();

    assert_eq!(node.get(), "ok");
    let control = supervisor.control();
    control.health().await.unwrap();
    assert_eq!(control.status().await.unwrap().workers.len(), 2);
}

#[tokio::test]
async fn the_proxy_outlives_its_supervisor_and_is_taken_over() {
    let web = Upstream::answering(answer(200, "ok"));
    let node = Node::new();
    let first = node.start(node.config(&web, 1)).await.unwrap();
    let before = pid(&first.control()).await;
    let mut client = Client::connect(node.address);
    client.get("a", "/");
    assert_eq!(client.response().text(), "ok");

    drop(first);
    assert_eq!(node.get(), "ok");
    let second = node.start(node.config(&web, 1)).await.unwrap();

    assert_eq!(pid(&second.control()).await, before);
    client.get("a", "/");
    assert_eq!(client.response().text(), "ok", "on the same connection");
}

#[tokio::test]
async fn a_proxy_that_dies_is_restarted_and_no_connection_is_refused() {
    let web = Upstream::answering(answer(200, "ok"));
    let node = Node::new();
    let mut supervisor = node.start(node.config(&web, 1)).await.unwrap();
    let control = supervisor.control();
    let before = pid(&control).await;
    let running = tokio::spawn(async move { supervisor.run().await });

    kill(before);
    // Arrives before a successor runs, and waits for it.
    let address = node.address;
    let text = blocking(move || {
        let mut client = Client::connect(address);
        client.get("a", "/");
        client.response().text().to_owned()
    })
    .await;

    assert_eq!(text, "ok");
    assert_ne!(pid(&control).await, before);
    running.abort();
}

#[tokio::test]
async fn an_adopted_proxy_that_dies_is_restarted_on_its_sockets() {
    let web = Upstream::answering(answer(200, "ok"));
    let node = Node::new();
    let first = node.start(node.config(&web, 1)).await.unwrap();
    drop(first);
    let mut second = node.start(node.config(&web, 1)).await.unwrap();
    let control = second.control();
    let before = pid(&control).await;
    let running = tokio::spawn(async move { second.run().await });

    kill(before);
    let address = node.address;
    let text = blocking(move || {
        let mut client = Client::connect(address);
        client.get("a", "/");
        client.response().text().to_owned()
    })
    .await;

    assert_eq!(text, "ok");
    running.abort();
}

#[tokio::test]
async fn another_configuration_is_put_into_force_at_once() {
    let old = Upstream::answering(answer(200, "old"));
    let new = Upstream::answering(answer(200, "new"));
    let node = Node::new();
    let mut supervisor = node.start(node.config(&old, 1)).await.unwrap();
    let (handle, control) = (supervisor.handle(), supervisor.control());
    let before = pid(&control).await;
    let running = tokio::spawn(async move { supervisor.run().await });
    assert_eq!(node.get(), "old");

    handle.reload(node.config(&new, 1)).await.unwrap();
    assert_eq!(node.get(), "new");
    assert_eq!(pid(&control).await, before);

    let mut bad = node.config(&new, 1);
    bad.servers[0].routes[0] = Route::to("nowhere", PathCondition::Any);
    let error = handle.reload(bad).await.unwrap_err();
    assert!(error.to_string().contains("nowhere"), "{error}");
    assert_eq!(node.get(), "new");
    running.abort();
}

#[tokio::test]
async fn another_number_of_workers_replaces_the_process_without_a_break() {
    let web = Upstream::answering(answer(200, "ok"));
    let node = Node::new();
    let mut supervisor = node.start(node.config(&web, 1)).await.unwrap();
    let (handle, control) = (supervisor.handle(), supervisor.control());
    let before = pid(&control).await;
    let running = tokio::spawn(async move { supervisor.run().await });

    // Asks all the time while the process is replaced, and again with fewer workers.
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let address = node.address;
    let asking = tokio::task::spawn_blocking(move || {
        let mut asked = 0;
        while stopped.try_recv().is_err() {
            let mut client = Client::connect(address);
            client.get("a", "/");
            assert_eq!(client.response().text(), "ok");
            asked += 1;
        }
        asked
    });
    for workers in [3, 1] {
        handle.reload(node.config(&web, workers)).await.unwrap();
        let status = control.status().await.unwrap();
        assert_eq!(status.workers.len(), usize::from(workers));
        assert_ne!(status.pid, before);
    }
    stop.send(()).unwrap();

    assert!(asking.await.unwrap() > 0);
    running.abort();
}

#[tokio::test]
async fn a_stopped_supervisor_leaves_no_proxy() {
    let web = Upstream::answering(answer(200, "ok"));
    let node = Node::new();
    let mut supervisor = node.start(node.config(&web, 1)).await.unwrap();
    let (handle, control) = (supervisor.handle(), supervisor.control());
    let running = tokio::spawn(async move { supervisor.run().await });

    handle.stop().await.unwrap();

    running.await.unwrap();
    blocking(move || wait_until("the process to end", || !is_reachable(control.path()))).await;
}

#[tokio::test]
async fn a_proxy_that_does_not_answer_is_replaced() {
    let web = Upstream::answering(answer(200, "ok"));
    let node = Node::new();
    let first = node.start(node.config(&web, 1)).await.unwrap();
    let before = pid(&first.control()).await;
    drop(first);
    let stuck = Pid::from_raw(i32::try_from(before).unwrap()).unwrap();
    kill_process(stuck, Signal::STOP).unwrap();

    let second = node.start(node.config(&web, 1)).await.unwrap();

    assert_ne!(pid(&second.control()).await, before);
    assert_eq!(node.get(), "ok");
}

#[tokio::test]
async fn a_binary_that_does_not_start_is_an_error() {
    let web = Upstream::answering(answer(200, "ok"));
    let node = Node::new();
    let config = node.config(&web, 1);

    let missing = Supervisor::start_or_adopt(config.clone(), node.state.path(), Path::new("/no"));
    assert!(matches!(missing.await, Err(SuperviseError::Spawn { .. })));
    let wrong = Supervisor::start_or_adopt(config, node.state.path(), Path::new("/bin/true"));
    assert!(matches!(wrong.await, Err(SuperviseError::Control(_))));
}

fn is_reachable(path: &Path) -> bool {
    std::os::unix::net::UnixStream::connect(path).is_ok()
}

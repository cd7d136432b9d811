//! The sockets of the channel. Each node dials each peer and sends over that session; it reads from
//! the sessions that peers dialled. So there is nothing to agree on, and a direction that is broken
//! shows as such.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use socket2::{SockRef, TcpKeepalive};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{Semaphore, mpsc},
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tracing::{info, warn};

use super::{
    Shared,
    message::{Hello, Message, PROTOCOL},
    peers::News,
    session::{Session, SessionError},
    state::{Part, STATE_FORMAT},
};

/// From one heartbeat to the next.
const HEARTBEAT: Duration = Duration::from_millis(100);
/// From one attempt to the next.
const RETRY: Duration = Duration::from_millis(500);
/// For a connection, a handshake, a first word, and for one message.
const PATIENCE: Duration = Duration::from_secs(2);
/// Strangers that are spoken with at once, and those whose last reason is remembered.
const STRANGERS: usize = 16;

/// Dials a peer, over and over, and tells it this node's state.
pub(super) async fn dial(
    shared: Arc<Shared>,
    peer: String,
    address: SocketAddr,
    mut parts: mpsc::Receiver<Part>,
) {
    loop {
        let Err(error) = talk(&shared, &peer, address, &mut parts).await;
        // A session that broke is dialled anew before it is called a problem.
        shared.report(shared.peers().failed(&peer, error));
        sleep(RETRY).await;
    }
}

async fn talk(
    shared: &Shared,
    peer: &str,
    address: SocketAddr,
    parts: &mut mpsc::Receiver<Part>,
) -> Result<Infallible, String> {
    let text = |error: SessionError| format!("{address}: {error}");
    let stream = within(connect(shared.listen.ip(), address)).await;
    let stream = stream.map_err(text)?;
    let session = within(Session::dial(stream, &shared.key)).await;
    let mut session = session.map_err(text)?;
    within(session.send(&Message::Hello(shared.hello())))
        .await
        .map_err(text)?;
    let answer = within(session.receive()).await.map_err(text)?;
    let hello = first_word(answer)?;
    fits(&hello)?;
    if hello.id != peer {
        return Err(format!("{address} is node {:?}", hello.id));
    }
    // What was meant for the session before: after this, all is told anew.
    while parts.try_recv().is_ok() {}
    shared.peers().connected(&hello);
    let prompt = &shared.prompts[peer];
    let mut beats = interval(HEARTBEAT);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            _ = beats.tick() => {
                let beat = Message::Heartbeat((shared.state)());
                within(session.send(&beat)).await.map_err(text)?;
            }
            due = prompt.wait() => for message in due.messages((shared.state)()) {
                within(session.send(&message)).await.map_err(text)?;
            },
            // It only has to say that it ends.
            message = session.receive() => if let Message::Refused { reason } = message.map_err(text)? {
                return Err(reason);
            },
            Some(part) = parts.recv() => {
                within(session.send(&Message::State(part))).await.map_err(text)?;
            }
        }
    }
}

/// Listens for peers, for ever.
pub(super) async fn listen(shared: Arc<Shared>) {
    let strangers = Arc::new(Semaphore::new(STRANGERS));
    let mut said = BTreeMap::new();
    let (reasons, mut refused) = mpsc::channel::<(IpAddr, String)>(STRANGERS);
    let mut told = false;
    // They end with the listener.
    let mut sessions = JoinSet::new();
    let listener = loop {
        match bind(shared.listen) {
            Ok(listener) => break listener,
            Err(error) if told => drop(error),
            Err(error) => {
                warn!(listen = %shared.listen, %error, "[cluster] cannot listen: trying on");
                told = true;
            }
        }
        sleep(RETRY).await;
    };
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, from)) = accepted else {
                    // Only a lack of file descriptors or memory.
                    sleep(RETRY).await;
                    continue;
                };
                let Ok(permit) = Arc::clone(&strangers).try_acquire_owned() else {
                    continue;
                };
                let (shared, reasons) = (Arc::clone(&shared), reasons.clone());
                sessions.spawn(async move {
                    let met = meet(&shared, stream).await;
                    drop(permit);
                    match met {
                        Ok((session, hello)) => hear(&shared, session, &hello).await,
                        // What finds the queue full is not told.
                        Err(reason) => drop(reasons.try_send((from.ip(), reason))),
                    }
                });
            }
            Some(_) = sessions.join_next() => {}
            Some((from, reason)) = refused.recv() => {
                if said.len() >= STRANGERS && !said.contains_key(&from) {
                    continue;
                }
                if said.get(&from) != Some(&reason) {
                    warn!(%from, reason, "[cluster] a session was refused");
                    said.insert(from, reason);
                }
            }
        }
    }
}

/// A session with a peer that the configuration names.
async fn meet(shared: &Shared, stream: TcpStream) -> Result<(Session<TcpStream>, Hello), String> {
    let text = |error: SessionError| error.to_string();
    prepare(&stream).map_err(|error| error.to_string())?;
    let session = within(Session::accept(stream, &shared.key)).await;
    let mut session = session.map_err(text)?;
    let hello = first_word(within(session.receive()).await.map_err(text)?)?;
    let known = || {
        let known = shared.peers().knows(&hello.id);
        known
            .then_some(())
            .ok_or_else(|| format!("node {:?} is no peer of {:?}", hello.id, shared.id))
    };
    let verdict = fits(&hello).and_then(|()| known());
    // The answer first: who speaks another protocol learns so from it.
    within(session.send(&Message::Hello(shared.hello())))
        .await
        .map_err(text)?;
    if let Err(reason) = verdict {
        let refusal = Message::Refused {
            reason: reason.clone(),
        };
        within(session.send(&refusal)).await.map_err(text)?;
        return Err(reason);
    }
    Ok((session, hello))
}

/// Takes what a peer says until the session ends.
async fn hear(shared: &Shared, mut session: Session<TcpStream>, hello: &Hello) {
    while let Ok(message) = within(session.receive()).await {
        match message {
            Message::Heartbeat(beat) => shared.take_beat(hello, beat),
            Message::Ask { nonce } => {
                if let Some(prompt) = shared.prompts.get(&hello.id) {
                    prompt.answer(nonce);
                }
            }
            // While nobody has time for it, the peer has to wait.
            Message::State(part) if hello.state_format == STATE_FORMAT => {
                let told = (hello.id.clone(), part);
                if shared.told.send(told).await.is_err() {
                    return;
                }
            }
            Message::State(_) | Message::Hello(_) | Message::Refused { .. } | Message::Unknown => {}
        }
    }
}

impl Shared {
    fn hello(&self) -> Hello {
        Hello {
            protocol: PROTOCOL,
            id: self.id.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            state_format: STATE_FORMAT,
        }
    }

    /// Logs what is new.
    pub(super) fn report(&self, news: impl IntoIterator<Item = News>) {
        for news in news {
            match news {
                News::Heard { peer, version } if version == env!("CARGO_PKG_VERSION") => {
                    info!(peer, "[cluster] the peer is heard");
                }
                News::Heard { peer, version } => {
                    info!(
                        peer,
                        version, "[cluster] the peer is heard; it is of another version"
                    );
                }
                News::Silent { peer } => warn!(peer, "[cluster] the peer is not heard any more"),
                News::Problem { peer, reason } => {
                    warn!(peer, reason, "[cluster] no session to the peer: trying on");
                }
            }
        }
    }
}

fn first_word(message: Message) -> Result<Hello, String> {
    match message {
        Message::Hello(hello) => Ok(hello),
        Message::Refused { reason } => Err(reason),
        Message::Heartbeat(_) | Message::State(_) | Message::Ask { .. } | Message::Unknown => {
            Err("it did not say who it is".to_owned())
        }
    }
}

fn fits(hello: &Hello) -> Result<(), String> {
    if hello.protocol == PROTOCOL {
        return Ok(());
    }
    Err(format!(
        "node {:?} (hafw {}) speaks protocol {}, this node {PROTOCOL}",
        hello.id, hello.version, hello.protocol
    ))
}

async fn within<T>(step: impl Future<Output = Result<T, SessionError>>) -> Result<T, SessionError> {
    match timeout(PATIENCE, step).await {
        Ok(done) => done,
        Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
    }
}

/// From the address that this node listens on, so that the path is the channel's.
async fn connect(from: IpAddr, to: SocketAddr) -> Result<TcpStream, SessionError> {
    let socket = match to {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if !from.is_unspecified() && from.is_ipv4() == to.is_ipv4() {
        socket.bind(SocketAddr::new(from, 0))?;
    }
    let stream = socket.connect(to).await?;
    prepare(&stream)?;
    Ok(stream)
}

/// A path that swallows everything must end the connection: one that waits for its next
/// retransmission would not notice for minutes that the path is back.
fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_user_timeout(Some(PATIENCE))?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(PATIENCE))
}

/// The address may come later than the node.
fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    let free = SockRef::from(&socket);
    match address {
        SocketAddr::V4(_) => free.set_freebind_v4(true)?,
        SocketAddr::V6(_) => free.set_freebind_v6(true)?,
    }
    socket.bind(address)?;
    socket.listen(64)
}

#[cfg(test)]
mod tests {
    use super::super::{Cluster, ClusterSpec, Key, PeerSpec, message::Heartbeat};
    use super::*;

    fn key(digit: &str) -> Key {
        Key::parse(&digit.repeat(64)).unwrap()
    }

    async fn free_address() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    }

    fn start(id: &str, key: Key, own: SocketAddr, peer: (&str, SocketAddr)) -> Cluster {
        let spec = ClusterSpec {
            listen: own,
            key,
            peers: vec![PeerSpec {
                id: peer.0.into(),
                address: peer.1,
            }],
        };
        Cluster::start(&spec, id, Heartbeat::default, |_, _, _| {}).0
    }

    async fn wait(cluster: &Cluster, what: &str, check: impl Fn(&super::super::Peer) -> bool) {
        let until = async {
            while !check(&cluster.peers()[0]) {
                sleep(Duration::from_millis(10)).await;
            }
        };
        let waited = timeout(Duration::from_secs(20), until).await;
        waited.unwrap_or_else(|_| panic!("{what}: {:?}", cluster.peers()));
    }

    #[tokio::test]
    async fn two_nodes_hear_each_other_and_notice_an_end_and_a_return() {
        let (a, b) = (free_address().await, free_address().await);
        let one = start("lb01", key("7"), a, ("lb02", b));
        let other = start("lb02", key("7"), b, ("lb01", a));
        wait(&one, "heard", |peer| peer.heard && peer.sending).await;
        wait(&other, "heard", |peer| peer.heard && peer.sending).await;
        drop(other);
        wait(&one, "silent", |peer| !peer.heard && !peer.sending).await;
        let _other = start("lb02", key("7"), b, ("lb01", a));
        wait(&one, "back", |peer| peer.heard && peer.sending).await;
    }

    #[tokio::test]
    async fn a_wrong_key_and_an_unknown_node_are_named_and_not_heard() {
        let (a, b) = (free_address().await, free_address().await);
        let one = start("lb01", key("7"), a, ("lb02", b));
        let other = start("lb02", key("8"), b, ("lb01", a));
        wait(&one, "the key", |p| p.problem.contains("another key")).await;
        drop(other);
        let _stranger = start("lb03", key("7"), b, ("lb01", a));
        wait(&one, "the id", |p| {
            p.problem.contains("no peer of \"lb03\"") || p.problem.contains("is node \"lb03\"")
        })
        .await;
        assert!(!one.peers()[0].heard);
    }
}

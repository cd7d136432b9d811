//! Opening a TCP connection.

use std::{io, net::SocketAddr};

use hafw_lb::Outcome;
use tokio::net::TcpStream;

use super::{Limit, Report};

pub(super) async fn run(address: SocketAddr, limit: Limit) -> Report {
    match connect(address, limit).await {
        Ok(_) => Report::ok("connected"),
        Err(report) => report,
    }
}

pub(super) async fn connect(address: SocketAddr, limit: Limit) -> Result<TcpStream, Report> {
    let connected = limit
        .wait("connection", TcpStream::connect(address))
        .await?;
    connected.map_err(|error| {
        // Whatever else the kernel says (no answer to ARP, no route, no port left), the other side
        // said nothing.
        let refused = [
            io::ErrorKind::ConnectionRefused,
            io::ErrorKind::ConnectionReset,
        ];
        let outcome = if refused.contains(&error.kind()) {
            Outcome::Refused
        } else {
            Outcome::TimedOut
        };
        Report {
            outcome,
            reason: format!("cannot connect: {error}"),
            number: None,
        }
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::net::{TcpListener, TcpSocket};

    use super::*;
    use crate::probe::Probe;

    async fn probe(address: SocketAddr, timeout: Duration) -> Report {
        Probe::Tcp(address).run(timeout).await
    }

    #[tokio::test]
    async fn a_listener_is_up_and_its_port_refuses_once_it_is_gone() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let minute = Duration::from_secs(60);
        assert_eq!(probe(address, minute).await, Report::ok("connected"));
        drop(listener);
        let report = probe(address, minute).await;
        assert_eq!(report.outcome, Outcome::Refused);
        assert!(report.reason.contains("refused"), "{}", report.reason);
    }

    #[tokio::test]
    async fn a_listener_whose_queue_is_full_times_out() {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        // A queue of length 0 holds one connection; further SYNs are dropped.
        let _queued = TcpStream::connect(address).await.unwrap();
        let report = probe(address, Duration::from_millis(50)).await;
        assert_eq!(report.outcome, Outcome::TimedOut);
        assert_eq!(report.reason, "no connection within 50ms");
    }

    #[tokio::test]
    async fn no_way_to_the_target_says_nothing_of_it() {
        // 240.0.0.0/4 is reserved (RFC 1112 §4): no route leads there, or the kernel refuses it.
        let report = probe(
            "255.255.255.255:80".parse().unwrap(),
            Duration::from_secs(60),
        )
        .await;
        assert_eq!(report.outcome, Outcome::TimedOut);
        assert!(
            report.reason.starts_with("cannot connect: "),
            "{}",
            report.reason
        );
    }
}

use std::time::Duration;

use tokio::task::JoinHandle;

use super::*;
use crate::probe::Probe;

const MINUTE: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(50);

/// Answers one datagram with what `answer` makes of it.
async fn server(
    answer: impl FnOnce(&[u8]) -> Vec<u8> + Send + 'static,
) -> (SocketAddr, JoinHandle<Vec<u8>>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let served = tokio::spawn(async move {
        let mut question = [0; 512];
        let (length, from) = socket.recv_from(&mut question).await.unwrap();
        let question = question[..length].to_vec();
        socket.send_to(&answer(&question), from).await.unwrap();
        question
    });
    (address, served)
}

/// An address that refuses.
async fn closed() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.local_addr().unwrap()
}

fn udp(address: SocketAddr, expect: Option<&[u8]>) -> Probe {
    let expect = expect.map(<[u8]>::to_vec);
    Probe::Udp(UdpProbe::new(address, b"ping".to_vec(), expect))
}

fn dns(address: SocketAddr) -> Probe {
    Probe::Dns(DnsProbe::new(address, "www.Example.org.").unwrap())
}

#[tokio::test]
async fn a_datagram_is_answered_as_expected_or_not() {
    let (address, served) = server(|_| b"a pong!".to_vec()).await;
    let report = udp(address, Some(b"pong")).run(MINUTE).await;
    assert_eq!(report, Report::ok("the expected answer"));
    assert_eq!(served.await.unwrap(), b"ping");

    let (address, _served) = server(|_| b"gar\0bage".to_vec()).await;
    let report = udp(address, Some(b"pong")).run(MINUTE).await;
    let reason = "another answer than expected: \"gar\\x00bage\"";
    assert_eq!(report, Report::bad(reason));
}

#[tokio::test]
async fn a_refusal_by_icmp_is_one_and_silence_is_well_where_nothing_is_expected() {
    for expect in [None, Some(&b"pong"[..])] {
        let report = udp(closed().await, expect).run(MINUTE).await;
        assert_eq!(report.outcome, Outcome::Refused, "{}", report.reason);
    }
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    assert_eq!(
        udp(address, None).run(SHORT).await,
        Report::ok("no answer, and no refusal")
    );
    let report = udp(address, Some(b"pong")).run(SHORT).await;
    assert_eq!(report.outcome, Outcome::TimedOut);
    assert_eq!(report.reason, "no answer within 50ms");
}

#[tokio::test]
async fn a_refusal_holds_for_a_while_because_hosts_repeat_theirs_seldom() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    drop(socket);
    let probe = udp(address, None);
    assert_eq!(probe.run(MINUTE).await.outcome, Outcome::Refused);
    let silent = UdpSocket::bind(address).await.unwrap();
    let again = probe.clone().run(SHORT).await;
    assert_eq!(
        (again.outcome, &*again.reason),
        (
            Outcome::Refused,
            "refused some seconds ago, and silent since"
        )
    );
    tokio::time::pause();
    tokio::time::advance(REFUSED_FOR).await;
    tokio::time::resume();
    assert_eq!(
        probe.run(SHORT).await,
        Report::ok("no answer, and no refusal")
    );
    drop(silent);
}

#[tokio::test]
async fn a_name_server_is_judged_by_its_answers_code() {
    for (code, expected) in [
        (0, Report::ok("DNS NOERROR")),
        (2, Report::bad("DNS SERVFAIL")),
        (5, Report::bad("DNS REFUSED")),
        (9, Report::bad("DNS code 9")),
    ] {
        let (address, served) = server(move |question| {
            let mut answer = question.to_vec();
            answer[2] |= 0x80;
            answer[3] = code;
            answer
        })
        .await;
        assert_eq!(dns(address).run(MINUTE).await, expected);
        let question = served.await.unwrap();
        assert_eq!(question[12..], *b"\x03www\x07Example\x03org\0\0\x01\0\x01");
    }
}

#[tokio::test]
async fn an_answer_to_another_question_is_bad() {
    let other = "a DNS message that answers another question";
    // The question itself, another id, another name.
    let changes: [fn(&mut Vec<u8>); 3] = [
        |_| (),
        |answer| (answer[0], answer[2]) = (answer[0] ^ 1, 0x81),
        |answer| (answer[2], answer[13]) = (0x81, b'x'),
    ];
    for change in changes {
        let (address, _served) = server(move |question| {
            let mut answer = question.to_vec();
            change(&mut answer);
            answer
        })
        .await;
        assert_eq!(dns(address).run(MINUTE).await, Report::bad(other));
    }
    let (address, _served) = server(|_| b"hello".to_vec()).await;
    let report = dns(address).run(MINUTE).await;
    assert_eq!(report, Report::bad("not a DNS answer: \"hello\""));
    assert_eq!(
        dns(closed().await).run(MINUTE).await.outcome,
        Outcome::Refused
    );
}

#[test]
fn names_are_of_labels() {
    let long = "a".repeat(63);
    for name in [".", "a", "a.b.", "_dns.resolver.arpa", &long] {
        assert!(is_dns_name(name), "{name}");
    }
    for name in [
        "",
        "..",
        "a..b",
        ".a",
        "a b",
        "ä.de",
        &format!("a{long}"),
        &"a.".repeat(128),
    ] {
        assert!(!is_dns_name(name), "{name}");
    }
}

#[test]
fn an_echo_reply_is_known_among_other_messages() {
    let request = [8, 0, 1, 2, 3, 4, 0, 1, b'h', b'a', b'f', b'w'];
    let mut packet = vec![0x46; 24];
    packet.extend(request);
    let v4 = IpAddr::from([127, 0, 0, 1]);
    assert!(!is_echo_reply(v4, &packet, &request), "a request");
    packet[24] = 0;
    assert!(is_echo_reply(v4, &packet, &request));
    packet[28] ^= 1;
    assert!(!is_echo_reply(v4, &packet, &request), "of another process");
    assert!(!is_echo_reply(v4, &[0x45], &request));
}

#[test]
fn the_checksum_is_the_internets() {
    // The example of RFC 1071 §3.
    let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
    assert_eq!(checksum(&bytes), (!0xddf2u16).to_be_bytes());
}

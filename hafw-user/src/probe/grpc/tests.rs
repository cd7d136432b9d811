use std::time::Duration;

use http::Response;
use tokio::net::TcpListener;

use super::*;
use crate::probe::Probe;

const MINUTE: Duration = Duration::from_secs(60);

/// What the server makes of a call.
#[derive(Clone)]
struct Answer {
    status: u16,
    kind: &'static str,
    message: &'static [u8],
    /// None: in the head, without a body.
    trailer: Option<&'static str>,
}

const SERVING: Answer = Answer {
    status: 200,
    kind: "application/grpc+proto",
    message: b"\0\0\0\0\x02\x08\x01",
    trailer: Some("0"),
};

async fn server(answer: Answer) -> (SocketAddr, tokio::task::JoinHandle<(String, Vec<u8>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let served = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        let (request, mut respond) = connection.accept().await.unwrap().unwrap();
        let (head, mut body) = request.into_parts();
        let asked = async {
            let message = read(&mut body).await.unwrap().to_vec();
            let response = Response::builder()
                .status(answer.status)
                .header("content-type", answer.kind);
            if let Some(status) = answer.trailer {
                let mut stream = respond
                    .send_response(response.body(()).unwrap(), false)
                    .unwrap();
                stream
                    .send_data(Bytes::from_static(answer.message), false)
                    .unwrap();
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", status.parse().unwrap());
                stream.send_trailers(trailers).unwrap();
            } else {
                let response = response
                    .header("grpc-status", "12")
                    .header("grpc-message", "nobody");
                respond
                    .send_response(response.body(()).unwrap(), true)
                    .unwrap();
            }
            (head.uri.to_string(), message)
        };
        // The connection is driven meanwhile, and until the client leaves.
        let mut asked = std::pin::pin!(asked);
        let said = tokio::select! {
            said = &mut asked => said,
            _ = connection.accept() => panic!("it ended before the request did"),
        };
        let _ = connection.accept().await;
        said
    });
    (address, served)
}

async fn probe(address: SocketAddr, service: &str) -> Report {
    let probe = GrpcProbe {
        address,
        authority: "shop.example:50051".into(),
        service: service.into(),
        tls: None,
    };
    Probe::Grpc(probe).run(MINUTE).await
}

#[tokio::test]
async fn a_server_that_serves_is_well() {
    let (address, served) = server(SERVING).await;
    assert_eq!(probe(address, "shop.Cart").await, Report::ok("SERVING"));
    let (uri, message) = served.await.unwrap();
    assert_eq!(uri, "http://shop.example:50051/grpc.health.v1.Health/Check");
    assert_eq!(message, b"\0\0\0\0\x0b\x0a\x09shop.Cart");
}

#[tokio::test]
async fn every_other_answer_is_bad_and_says_why() {
    let with = |message| Answer { message, ..SERVING };
    for (answer, reason) in [
        (with(b"\0\0\0\0\x02\x08\x02"), "NOT_SERVING"),
        (with(b"\0\0\0\0\0"), "UNKNOWN, not SERVING"),
        (
            with(b"\0\0\0\0\x02\x08"),
            "the answer is no message of grpc.health.v1",
        ),
        (
            with(b"\x01\0\0\0\x02\x08\x01"),
            "the answer is no message of grpc.health.v1",
        ),
        (
            Answer {
                trailer: Some("5"),
                ..SERVING
            },
            "gRPC status 5",
        ),
        (
            Answer {
                trailer: None,
                ..SERVING
            },
            "gRPC status 12 nobody",
        ),
        (
            Answer {
                status: 302,
                ..SERVING
            },
            "HTTP 302, not 200",
        ),
        (
            Answer {
                kind: "text/html",
                ..SERVING
            },
            "the answer is none of gRPC",
        ),
    ] {
        let (address, _served) = server(answer).await;
        assert_eq!(probe(address, "").await, Report::bad(reason));
    }
}

#[tokio::test]
async fn a_server_of_http_1_is_bad() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let served = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .await
            .unwrap();
        stream
    });
    let report = probe(address, "").await;
    assert!(report.reason.starts_with("HTTP/2: "), "{}", report.reason);
    assert_eq!(report.outcome, hafw_lb::Outcome::Bad);
    drop(served);
}

#[test]
fn unknown_fields_are_skipped() {
    let fields = b"\x12\x02ab\x19\0\0\0\0\0\0\0\0\x25\0\0\0\0\x30\x80\x01\x08\x01";
    assert_eq!(serving_status(fields), Some(1));
    assert_eq!(
        serving_status(b"\x12\x7fab"),
        None,
        "longer than the message"
    );
    assert_eq!(serving_status(&[0xff; 11]), None, "no number");
}

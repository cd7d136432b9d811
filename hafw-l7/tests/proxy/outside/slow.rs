//! slowhttptest: many clients that are as slow as they can be. The proxy closes them when their time
//! is up, and everybody else is served meanwhile.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use super::run;
use crate::harness::{Client, Proxy, Upstream, answer};

/// Slow clients, made at this rate per second.
const CLIENTS: &str = "300";
const RATE: &str = "300";
/// After which slowhttptest gives up, in seconds.
const SPAN: u32 = 20;
/// The longest that a client that is not slow may wait for an answer, on a busy machine.
const LATE: Duration = Duration::from_secs(5);

/// Runs an attack beside a client that asks again and again. Returns what slowhttptest says.
fn attack(address: SocketAddr, args: &[&str]) -> String {
    let is_over = AtomicBool::new(false);
    let url = format!("http://{address}/big");
    let fixed = [
        "-c", CLIENTS, "-r", RATE, "-i", "1", "-l", "20", "-p", "3", "-v", "1",
    ];
    thread::scope(|scope| {
        let others = scope.spawn(|| {
            let mut asked = 0;
            while !is_over.load(Ordering::Acquire) {
                let start = Instant::now();
                let mut client = Client::connect(address);
                client.get("www.oldboy.com", "/");
                assert_eq!(client.response().status, 200);
                assert!(start.elapsed() < LATE, "{:?}", start.elapsed());
                asked += 1;
            }
            asked
        });
        let text = std::panic::catch_unwind(|| {
            let args = [&fixed, args, &["-u", &url]].concat();
            run("slowhttptest", 2 * SPAN, &args)
        });
        is_over.store(true, Ordering::Release);
        let asked: u32 = others.join().unwrap();
        assert!(asked > 10, "{asked}");
        text.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// A proxy with short times for its clients.
fn proxy() -> Proxy {
    // More than the sockets on the way hold.
    let (big, small) = (answer(200, &"x".repeat(4 << 20)), answer(200, "small"));
    let web = Upstream::start(move |request, connection| {
        let is_big = request.line().contains("/big");
        connection.send(if is_big { &big } else { &small });
    });
    Proxy::over(
        &[web.address],
        "client_header_timeout = \"2s\"\nclient_body_timeout = \"2s\"\nsend_timeout = \"2s\"\n\
         keepalive_timeout = \"2s\"\ndefault = true\n",
    )
}

/// That the attack ended because the proxy had closed all of its connections, long before its time
/// was up.
#[track_caller]
fn assert_shaken_off(text: &str, proxy: &Proxy) {
    assert!(text.contains("No open connections left"), "{text}");
    assert!(proxy.status().totals.client_timeouts > 0);
}

#[test]
#[ignore = "needs slowhttptest"]
fn slow_heads_are_cut_off_and_hurt_nobody() {
    let proxy = proxy();

    let text = attack(proxy.address, &["-H"]);

    assert_shaken_off(&text, &proxy);
}

#[test]
#[ignore = "needs slowhttptest"]
fn slow_bodies_are_cut_off_and_hurt_nobody() {
    let proxy = proxy();

    // Larger than what is read before a server is asked, and not.
    for length in ["1000000", "4096"] {
        let text = attack(proxy.address, &["-B", "-s", length, "-i", "5"]);
        assert_shaken_off(&text, &proxy);
    }
}

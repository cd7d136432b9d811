//! WebSocket with Python's `websockets` at both ends.

use std::net::TcpStream;

use super::{NAME, PYTHON, Program, run, script};
use crate::harness::{Authority, Proxy, free_address, wait_until};

const SERVER: &str = r#"
import asyncio, sys, websockets
async def echo(connection, path=None):
    async for message in connection:
        await connection.send(message)
async def main():
    async with websockets.serve(echo, sys.argv[1], int(sys.argv[2]), max_size=None):
        await asyncio.Future()
asyncio.run(main())
"#;

/// Sends texts and binaries, among them one larger than any buffer and a ping, and closes.
const CLIENT: &str = r#"
import asyncio, ssl, sys, websockets
async def main():
    uri, host, port, ca = sys.argv[1:5]
    context = ssl.create_default_context(cafile=ca) if uri.startswith("wss") else None
    tls = {"ssl": context, "server_hostname": "www.oldboy.com"} if context else {}
    async with websockets.connect(uri, host=host, port=int(port), max_size=None, **tls) as connection:
        for message in ["text", "", "\u00fc" * 1000, b"\x00\xff" * 10, b"x" * (3 << 20)]:
            await connection.send(message)
            assert await connection.recv() == message
        await asyncio.wait_for(await connection.ping(), 5)
    assert connection.close_code == 1000, connection.close_code
    print("echoed over", connection.response_headers["Upgrade"])
asyncio.run(main())
"#;

#[test]
#[ignore = "needs python3-websockets"]
fn websockets_go_through_in_clear_and_by_tls() {
    let (server, tls) = (free_address(), free_address());
    let folder = tempfile::tempdir().unwrap();
    let [host, port] = [server.ip().to_string(), server.port().to_string()];
    let file = script(folder.path(), "server.py", SERVER);
    let _server = Program::start(PYTHON, &[&file, &host, &port]);
    wait_until("the server to listen", || {
        TcpStream::connect(server).is_ok()
    });
    let ca = Authority::new("ca");
    let keys = ca.issue("www", &[NAME]).keys();
    let proxy = Proxy::start_with(|address| {
        format!(
            "[[upstream]]\nname = \"web\"\nserver = [{{ address = \"{server}\" }}]\n[[server]]\n\
             listen = [\"{address}\", {{ address = \"{tls}\", tls = {{ {keys} }} }}]\n\
             hosts = [\"{NAME}\"]\n[[server.route]]\nupstream = \"web\"\n[proxy]\nworkers = 1\n"
        )
    });
    let client = script(folder.path(), "client.py", CLIENT);
    let ca = ca.file().display().to_string();

    for (scheme, address) in [("ws", proxy.address), ("wss", tls)] {
        let uri = format!("{scheme}://{NAME}/chat");
        let [host, port] = [address.ip().to_string(), address.port().to_string()];
        let text = run(PYTHON, 30, &[&client, &uri, &host, &port, &ca]);
        assert!(text.contains("echoed over websocket"), "{text}");
    }
}

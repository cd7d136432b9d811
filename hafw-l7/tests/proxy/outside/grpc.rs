//! gRPC with Google's own implementation at both ends.

use std::net::TcpStream;

use super::{NAME, PYTHON, Program, run, script};
use crate::harness::{Authority, Proxy, free_address, wait_until};

/// Bytes for messages: what is called needs no generated code.
const SERVER: &str = r#"
import grpc, sys
from concurrent import futures
def unary(request, context):
    metadata = dict(context.invocation_metadata())
    context.set_trailing_metadata((("x-seen", metadata.get("x-sent", "")),))
    return request[::-1]
def count(request, context):
    for number in range(int(request)):
        yield b"%d" % number
def total(requests, context):
    return b"%d" % sum(len(request) for request in requests)
def chat(requests, context):
    for request in requests:
        yield request.upper()
def fail(request, context):
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not today")
def slow(request, context):
    import time
    time.sleep(30)
    return b""
class Calls(grpc.GenericRpcHandler):
    def service(self, call):
        return {
            "/test.Test/Unary": grpc.unary_unary_rpc_method_handler(unary),
            "/test.Test/Count": grpc.unary_stream_rpc_method_handler(count),
            "/test.Test/Total": grpc.stream_unary_rpc_method_handler(total),
            "/test.Test/Chat": grpc.stream_stream_rpc_method_handler(chat),
            "/test.Test/Fail": grpc.unary_unary_rpc_method_handler(fail),
            "/test.Test/Slow": grpc.unary_unary_rpc_method_handler(slow),
        }.get(call.method)
server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
server.add_generic_rpc_handlers((Calls(),))
assert server.add_insecure_port(sys.argv[1])
server.start()
server.wait_for_termination()
"#;

const CLIENT: &str = r#"
import grpc, sys
target, name, ca = sys.argv[1:4]
if ca == "none":
    channel = grpc.insecure_channel(target, options=[("grpc.default_authority", name)])
else:
    credentials = grpc.ssl_channel_credentials(open(ca, "rb").read())
    channel = grpc.secure_channel(target, credentials, options=[("grpc.ssl_target_name_override", name)])
def code(call):
    try:
        call()
    except grpc.RpcError as error:
        return error.code(), error.details()
    raise Exception("no error")
unary = channel.unary_unary("/test.Test/Unary")
answer, call = unary.with_call(b"abc", metadata=(("x-sent", "yes"),), timeout=10)
assert answer == b"cba"
assert ("x-seen", "yes") in [(key, value) for key, value in call.trailing_metadata()]
large = bytes(range(256)) * 8000
assert unary(large, timeout=20) == large[::-1]
count = channel.unary_stream("/test.Test/Count")
assert [int(item) for item in count(b"500", timeout=20)] == list(range(500))
total = channel.stream_unary("/test.Test/Total")
assert total(iter([b"x" * 1000] * 300), timeout=20) == b"300000"
# Each answer is waited for before the next request: nothing on the way may hold either back.
import queue
asked = queue.Queue()
chat = channel.stream_stream("/test.Test/Chat")(iter(asked.get, None), timeout=20)
for word in [b"one", b"two", b"three"]:
    asked.put(word)
    assert next(chat) == word.upper()
asked.put(None)
assert list(chat) == []
fail = channel.unary_unary("/test.Test/Fail")
assert code(lambda: fail(b"", timeout=10)) == (grpc.StatusCode.FAILED_PRECONDITION, "not today")
missing = channel.unary_unary("/test.Test/Missing")
assert code(lambda: missing(b"", timeout=10))[0] == grpc.StatusCode.UNIMPLEMENTED
slow = channel.unary_unary("/test.Test/Slow")
assert code(lambda: slow(b"", timeout=0.5))[0] == grpc.StatusCode.DEADLINE_EXCEEDED
assert unary(b"xy", timeout=10) == b"yx"
print("all calls are right")
"#;

#[test]
#[ignore = "needs python3-grpcio"]
fn calls_of_every_kind_go_through_in_clear_and_by_tls() {
    let (server, tls) = (free_address(), free_address());
    let folder = tempfile::tempdir().unwrap();
    let file = script(folder.path(), "server.py", SERVER);
    let _server = Program::start(PYTHON, &[&file, &server.to_string()]);
    wait_until("the server to listen", || {
        TcpStream::connect(server).is_ok()
    });
    let ca = Authority::new("ca");
    let keys = ca.issue("www", &[NAME]).keys();
    let proxy = Proxy::start_with(|address| {
        format!(
            "[[upstream]]\nname = \"grpc\"\nhttp2 = true\nserver = [{{ address = \"{server}\" }}]\n\
             [[server]]\nlisten = [\"{address}\", {{ address = \"{tls}\", tls = {{ {keys} }} }}]\n\
             hosts = [\"{NAME}\"]\nclient_max_body_size = \"16MiB\"\n[[server.route]]\n\
             upstream = \"grpc\"\n[proxy]\nworkers = 1\n"
        )
    });
    let client = script(folder.path(), "client.py", CLIENT);
    let ca = ca.file().display().to_string();

    for (address, ca) in [(proxy.address, "none"), (tls, &ca)] {
        let text = run(PYTHON, 60, &[&client, &address.to_string(), NAME, ca]);
        assert!(text.contains("all calls are right"), "{text}");
    }
}

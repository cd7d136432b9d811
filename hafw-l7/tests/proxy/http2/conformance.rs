//! What RFC 9113 and RFC 7541 ask of a server, case by case: what is sent, and what comes of it.

use std::{panic::AssertUnwindSafe, sync::Arc};

use super::frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADERS, PADDED, PING,
    PRIORITY, PUSH_PROMISE, RST_STREAM, Raw, SETTINGS, WINDOW_UPDATE, WITH_PRIORITY, block,
    request, setting,
};
use crate::harness::{Authority, Proxy, Upstream, answer};

const NO_ERROR: u32 = 0;
const PROTOCOL: u32 = 1;
const FLOW_CONTROL: u32 = 3;
const STREAM_CLOSED: u32 = 5;
const FRAME_SIZE: u32 = 6;
const REFUSED_STREAM: u32 = 7;
const COMPRESSION: u32 = 9;

const SIZE: &[u32] = &[FRAME_SIZE];
const HPACK: &[u32] = &[COMPRESSION];
const FLOW: &[u32] = &[FLOW_CONTROL];
const CLOSED: &[u32] = &[STREAM_CLOSED];

/// What comes of a case.
#[derive(Clone, Copy, Debug)]
enum Outcome {
    /// An answer to the last stream that was opened, in full.
    Answer,
    /// The stream ends with one of these codes; the connection may too.
    Stream(&'static [u32]),
    /// The connection ends with GOAWAY, one of these codes, and is closed.
    Connection(&'static [u32]),
    /// A PING is still acknowledged.
    Alive,
    /// It is, unless the connection ended before without an error: the peer said GOAWAY itself.
    AliveOrOver,
}

use Outcome::{Alive, AliveOrOver, Answer, Connection, Stream};

struct Case {
    section: &'static str,
    what: &'static str,
    frames: Vec<Frame>,
    /// What is sent once the request of `frames` was answered.
    afterwards: Vec<Frame>,
    outcome: Outcome,
}

impl Case {
    fn answered_then(mut self, frames: impl IntoIterator<Item = Frame>) -> Self {
        self.afterwards = frames.into_iter().collect();
        self
    }
}

fn case(
    section: &'static str,
    what: &'static str,
    frames: impl IntoIterator<Item = Frame>,
    outcome: Outcome,
) -> Case {
    Case {
        section,
        what,
        frames: frames.into_iter().collect(),
        afterwards: Vec::new(),
        outcome,
    }
}

fn headers(flags: u8, stream: u32, block: impl Into<Vec<u8>>) -> Frame {
    Frame::new(HEADERS, flags, stream, block)
}

/// A request without a body.
fn get(stream: u32) -> Frame {
    headers(END_HEADERS | END_STREAM, stream, request("GET", &[]))
}

/// A request whose body follows.
fn post(stream: u32) -> Frame {
    headers(END_HEADERS, stream, request("POST", &[]))
}

/// A request without a body, of these fields only.
fn fields(fields: &[(&str, &str)]) -> Frame {
    headers(END_HEADERS | END_STREAM, 1, block(fields))
}

fn data(flags: u8, stream: u32, bytes: &[u8]) -> Frame {
    Frame::new(DATA, flags, stream, bytes)
}

fn settings(settings: &[u8]) -> Frame {
    Frame::new(SETTINGS, 0, 0, settings)
}

fn reset(stream: u32) -> Frame {
    Frame::new(RST_STREAM, 0, stream, 8_u32.to_be_bytes())
}

fn window(stream: u32, increment: u32) -> Frame {
    Frame::new(WINDOW_UPDATE, 0, stream, increment.to_be_bytes())
}

fn priority(stream: u32, on: u32) -> Frame {
    let mut payload = on.to_be_bytes().to_vec();
    payload.push(255);
    Frame::new(PRIORITY, 0, stream, payload)
}

fn continuation(flags: u8, stream: u32, block: &[u8]) -> Frame {
    Frame::new(CONTINUATION, flags, stream, block)
}

fn with_block(block: &[u8]) -> Frame {
    let whole = [&request("GET", &[])[..], block].concat();
    headers(END_HEADERS | END_STREAM, 1, whole)
}

fn raw(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Frame {
    Frame::new(kind, flags, stream, payload)
}

/// RFC 9113 §4: frames.
#[rustfmt::skip]
fn framing() -> Vec<Case> {
    let full = vec![b'x'; 16_384];
    let large = vec![b'x'; 16_385];
    let block = request("POST", &[]);
    let (begin, rest) = block.split_at(10);
    vec![
        case("4.1", "an unknown type", [raw(0x16, 0, 0, b"12345678"), get(1)], Answer),
        case("4.1", "undefined flags", [raw(PING, 0x16, 0, &[0; 8]), get(1)], Answer),
        case("4.1", "a reserved bit", [raw(PING, 0, 1 << 31, &[0; 8]), get(1)], Answer),
        case("4.2", "a full frame", [post(1), data(END_STREAM, 1, &full)], Answer),
        case("4.2", "DATA too large", [post(1), data(END_STREAM, 1, &large)], Stream(SIZE)),
        case("4.2", "HEADERS too large", [headers(END_HEADERS | END_STREAM, 1, large.clone())], Connection(SIZE)),
        case("4.3", "a block that is none", [headers(END_HEADERS | END_STREAM, 1, [0x40])], Connection(HPACK)),
        case("4.3", "PRIORITY within a block", [headers(0, 1, begin), priority(1, 0), continuation(END_HEADERS, 1, rest)], Connection(&[PROTOCOL])),
        case("4.3", "another stream's block within one", [headers(0, 1, begin), headers(END_HEADERS, 3, block.clone())], Connection(&[PROTOCOL])),
        case("5.5", "an extension within a block", [headers(0, 1, begin), raw(0x16, 0, 0, b"x"), continuation(END_HEADERS, 1, rest)], Connection(&[PROTOCOL])),
    ]
}

/// RFC 9113 §5: streams.
#[rustfmt::skip]
fn streams() -> Vec<Case> {
    let open = post;
    vec![
        case("5.1", "DATA, idle", [data(END_STREAM, 1, b"x")], Connection(&[PROTOCOL])),
        case("5.1", "RST_STREAM, idle", [reset(1)], Connection(&[PROTOCOL])),
        case("5.1", "WINDOW_UPDATE, idle", [window(1, 100)], Connection(&[PROTOCOL])),
        case("5.1", "CONTINUATION, idle", [continuation(END_HEADERS | END_STREAM, 1, &request("GET", &[]))], Connection(&[PROTOCOL])),
        case("5.1", "PRIORITY, idle", [priority(3, 0), get(1)], Answer),
        case("5.1", "DATA, half-closed", [get(1), data(END_STREAM, 1, b"x")], Stream(CLOSED)),
        case("5.1", "HEADERS, half-closed", [get(1), get(1)], Stream(CLOSED)),
        case("5.1", "CONTINUATION, half-closed", [get(1), continuation(END_HEADERS, 1, &request("GET", &[]))], Connection(&[PROTOCOL])),
        case("5.1", "WINDOW_UPDATE, half-closed", [get(1), window(1, 100)], Answer),
        case("5.1", "PRIORITY, half-closed", [get(1), priority(1, 0)], Answer),
        case("5.1", "RST_STREAM, half-closed", [get(1), reset(1)], Alive),
        case("5.1", "DATA, closed by reset", [open(1), reset(1), data(END_STREAM, 1, b"x")], Stream(CLOSED)),
        case("5.1", "HEADERS, closed by reset", [open(1), reset(1), get(1)], Stream(CLOSED)),
        case("5.1", "CONTINUATION, closed by reset", [open(1), reset(1), continuation(END_HEADERS, 1, b"")], Connection(&[PROTOCOL])),
        case("5.1", "WINDOW_UPDATE, closed by reset", [open(1), reset(1), window(1, 100)], Alive),
        case("5.1", "DATA, closed", [get(1)], Stream(CLOSED)).answered_then([data(END_STREAM, 1, b"x")]),
        case("5.1", "HEADERS, closed", [get(1)], Connection(CLOSED)).answered_then([get(1)]),
        case("5.1", "CONTINUATION, closed", [get(1)], Connection(&[PROTOCOL])).answered_then([continuation(END_HEADERS, 1, b"")]),
        case("5.1", "PRIORITY, closed", [get(1)], Alive).answered_then([priority(1, 0)]),
        case("5.1", "WINDOW_UPDATE, closed", [get(1)], Alive).answered_then([window(1, 100)]),
        case("5.1", "RST_STREAM, closed", [get(1)], Alive).answered_then([reset(1)]),
        case("5.1", "PRIORITY, closed by reset", [open(1), reset(1), priority(1, 0)], Alive),
        case("5.1.1", "an even number", [get(2)], Connection(&[PROTOCOL])),
        case("5.1.1", "DATA of an even number", [data(END_STREAM, 2, b"x")], Connection(&[PROTOCOL])),
        case("5.1.1", "a number that is not larger", [get(5), get(3)], Connection(&[PROTOCOL])),
        case("5.1.2", "too many", (0..=128).map(|n| open(2 * n + 1)), Stream(&[PROTOCOL, REFUSED_STREAM])),
        case("5.3.1", "HEADERS that depend on themselves", [headers(END_HEADERS | END_STREAM | WITH_PRIORITY, 1, [&[0, 0, 0, 1, 255][..], &request("GET", &[])].concat())], Stream(&[PROTOCOL])),
        case("5.3.1", "PRIORITY that depends on itself", [priority(1, 1)], Stream(&[PROTOCOL])),
    ]
}

/// RFC 9113 §6: the types of frames.
#[rustfmt::skip]
fn kinds() -> Vec<Case> {
    let block = request("GET", &[]);
    let (a, rest) = block.split_at(5);
    let (b, c) = rest.split_at(5);
    let padded = |len: u8, bytes: &[u8]| [&[len][..], bytes, &vec![0; usize::from(len)]].concat();
    vec![
        case("6.1", "DATA without a stream", [post(1), data(END_STREAM, 0, b"x")], Connection(&[PROTOCOL])),
        case("6.1", "DATA with padding", [post(1), data(END_STREAM | PADDED, 1, &padded(6, b"test"))], Answer),
        case("6.1", "more padding than DATA", [post(1), data(END_STREAM | PADDED, 1, &[6, 1, 2, 3])], Connection(&[PROTOCOL])),
        case("6.1", "several DATA", [post(1), data(0, 1, b"a"), data(END_STREAM, 1, b"b")], Answer),
        case("6.2", "HEADERS without a stream", [headers(END_HEADERS | END_STREAM, 0, block.clone())], Connection(&[PROTOCOL])),
        case("6.2", "more padding than HEADERS", [headers(END_HEADERS | END_STREAM | PADDED, 1, [&[200][..], &block].concat())], Connection(&[PROTOCOL])),
        case("6.2", "HEADERS with padding", [headers(END_HEADERS | END_STREAM | PADDED, 1, padded(6, &block))], Answer),
        case("6.2", "HEADERS with priority", [headers(END_HEADERS | END_STREAM | WITH_PRIORITY, 1, [&[0, 0, 0, 0, 255][..], &block].concat())], Answer),
        case("6.2", "HEADERS that are shorter than their priority", [headers(END_HEADERS | END_STREAM | WITH_PRIORITY, 1, [0, 0, 0])], Connection(SIZE)),
        case("6.2", "HEADERS without their padding's length", [headers(END_HEADERS | END_STREAM | PADDED, 1, [])], Connection(SIZE)),
        case("6.1", "DATA without its padding's length", [post(1), data(END_STREAM | PADDED, 1, &[])], Connection(SIZE)),
        case("6.3", "weights and exclusive dependencies", [priority(1, 0), priority(5, 3), priority(7, 1 << 31 | 5), get(9)], Answer),
        case("6.3", "PRIORITY without a stream", [priority(0, 1)], Connection(&[PROTOCOL])),
        case("6.3", "PRIORITY of another length", [get(1), raw(PRIORITY, 0, 1, &[128, 0, 0, 1])], Stream(SIZE)),
        case("6.4", "RST_STREAM without a stream", [reset(0)], Connection(&[PROTOCOL])),
        case("6.4", "RST_STREAM of another length", [post(1), raw(RST_STREAM, 0, 1, &[0, 0, 0])], Connection(SIZE)),
        case("6.4", "RST_STREAM of a number that was left out", [get(5), reset(3)], Alive),
        case("6.5", "an acknowledgement with a payload", [raw(SETTINGS, ACK, 0, &[0])], Connection(SIZE)),
        case("6.5", "SETTINGS of a stream", [raw(SETTINGS, 0, 1, &setting(3, 100))], Connection(&[PROTOCOL])),
        case("6.5", "SETTINGS of another length", [settings(&[0, 3, 0])], Connection(SIZE)),
        case("6.5.2", "ENABLE_PUSH of 2", [settings(&setting(2, 2))], Connection(&[PROTOCOL])),
        case("6.5.2", "a window beyond 2^31 - 1", [settings(&setting(4, 1 << 31))], Connection(FLOW)),
        case("6.5.2", "frames below 2^14", [settings(&setting(5, 16_383))], Connection(&[PROTOCOL])),
        case("6.5.2", "frames beyond 2^24 - 1", [settings(&setting(5, 1 << 24))], Connection(&[PROTOCOL])),
        case("6.5.2", "the largest values", [settings(&[setting(1, 1 << 20), setting(2, 0), setting(4, (1 << 31) - 1), setting(5, (1 << 24) - 1)].concat()), get(1)], Answer),
        case("6.5.2", "no table", [settings(&setting(1, 0)), get(1)], Answer),
        case("6.5.2", "CONNECT's extension of 2", [settings(&setting(8, 2))], Connection(&[PROTOCOL])),
        case("6.5.2", "an unknown setting", [settings(&setting(0xff, 1)), get(1)], Answer),
        case("6.5.3", "a setting twice", [settings(&[setting(4, 100), setting(4, 1000)].concat()), get(1)], Answer),
        case("6.7", "PING", [], Alive),
        case("6.7", "PING of a stream", [raw(PING, 0, 1, &[0; 8])], Connection(&[PROTOCOL])),
        case("6.7", "PING of another length", [raw(PING, 0, 0, &[0; 6])], Connection(SIZE)),
        case("6.7", "an acknowledgement that nothing asked for", [raw(PING, ACK, 0, b"unknown!"), get(1)], Answer),
        case("6.8", "GOAWAY that is too short", [raw(GOAWAY, 0, 0, &[0; 7])], Connection(SIZE)),
        case("6.8", "GOAWAY behind a request", [get(1), raw(GOAWAY, 0, 0, &[0; 8])], Answer),
        case("6.8", "GOAWAY of a stream", [raw(GOAWAY, 0, 1, &[0; 8])], Connection(&[PROTOCOL])),
        case("6.9", "an increment of 0", [window(0, 0)], Connection(&[PROTOCOL])),
        case("6.9", "an increment of 0 for a stream", [post(1), window(1, 0)], Stream(&[PROTOCOL])),
        case("6.9", "an increment", [window(0, 1), post(1), window(1, 1), data(END_STREAM, 1, b"x")], Answer),
        case("6.9", "WINDOW_UPDATE of another length", [raw(WINDOW_UPDATE, 0, 0, &[0, 0, 1])], Connection(SIZE)),
        case("6.9.1", "a window that overflows", [window(0, (1 << 31) - 1)], Connection(FLOW)),
        case("6.9.1", "a stream's window that overflows", [post(1), window(1, (1 << 31) - 1)], Stream(FLOW)),
        case("6.10", "a block in three frames", [headers(END_STREAM, 1, a), continuation(0, 1, b), continuation(END_HEADERS, 1, c)], Answer),
        case("6.10", "DATA within a block", [headers(0, 1, a), data(END_STREAM, 1, b"x")], Connection(&[PROTOCOL])),
        case("6.10", "CONTINUATION without a stream", [headers(END_STREAM, 1, a), continuation(END_HEADERS, 0, rest)], Connection(&[PROTOCOL])),
        case("6.10", "CONTINUATION after a whole block", [post(1), continuation(END_HEADERS, 1, rest)], Connection(&[PROTOCOL])),
        case("6.10", "CONTINUATION after a block's end", [headers(0, 1, a), continuation(END_HEADERS, 1, rest), continuation(END_HEADERS, 1, b"")], Connection(&[PROTOCOL])),
        case("6.10", "CONTINUATION after DATA", [post(1), data(0, 1, b"x"), continuation(END_HEADERS, 1, rest)], Connection(&[PROTOCOL])),
        case("7", "GOAWAY with an unknown code", [raw(GOAWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 0xff])], AliveOrOver),
        case("7", "RST_STREAM with an unknown code", [post(1), raw(RST_STREAM, 0, 1, &[0, 0, 0, 0xff])], Alive),
        case("8.4", "PUSH_PROMISE", [get(1), raw(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2])], Connection(&[PROTOCOL])),
    ]
}

/// RFC 9113 §8: requests.
#[rustfmt::skip]
fn requests() -> Vec<Case> {
    let malformed = |section, what, more: &[(&'static str, &'static str)]| {
        let frame = headers(END_HEADERS | END_STREAM, 1, request("GET", more));
        case(section, what, [frame], Stream(&[PROTOCOL]))
    };
    let method = (":method", "GET");
    let scheme = (":scheme", "http");
    let path = (":path", "/");
    let of = |what, all: &[(&str, &str)]| case("8.3.1", what, [fields(all)], Stream(&[PROTOCOL]));
    let length = |len| headers(END_HEADERS, 1, request("POST", &[("content-length", len)]));
    vec![
        case("8.1", "GET", [get(1)], Answer),
        case("8.1", "HEAD", [headers(END_HEADERS | END_STREAM, 1, request("HEAD", &[]))], Answer),
        case("8.1", "POST", [post(1), data(END_STREAM, 1, b"x")], Answer),
        case("8.1", "POST with trailers", [post(1), data(0, 1, b"x"), headers(END_HEADERS | END_STREAM, 1, block(&[("x-t", "y")]))], Answer),
        case("8.1", "HEADERS within a request", [post(1), data(0, 1, b"x"), headers(END_HEADERS, 1, block(&[("x-t", "y")]))], Stream(&[PROTOCOL])),
        case("8.1", "pseudo-headers in trailers", [post(1), data(0, 1, b"x"), headers(END_HEADERS | END_STREAM, 1, block(&[("x-t", "y"), method]))], Stream(&[PROTOCOL])),
        case("8.1", "an indexed pseudo-header in trailers", [post(1), headers(END_HEADERS | END_STREAM, 1, [0x82])], Stream(&[PROTOCOL])),
        case("8.1", "a coded pseudo-header in trailers", [post(1), headers(END_HEADERS | END_STREAM, 1, [0, 0x85, 0xb9, 0x49, 0x53, 0x39, 0xe4, 1, b'x'])], Stream(&[PROTOCOL])),
        case("8.1", "a pseudo-header of the table in trailers", [headers(END_HEADERS, 1, [0x83, 0x86, 0x84, 0x41, 1, b'a']), headers(END_HEADERS | END_STREAM, 1, [0xbe])], Stream(&[PROTOCOL])),
        case("8.1", "pseudo-headers in trailers of two frames", [post(1), headers(END_STREAM, 1, [0]), continuation(END_HEADERS, 1, &block(&[method])[1..])], Stream(&[PROTOCOL])),
        case("8.1", "trailers of two frames", [post(1), headers(END_STREAM, 1, [0]), continuation(END_HEADERS, 1, &block(&[("x-t", "y")])[1..])], Answer),
        malformed("8.2.1", "a name in upper case", &[("X-TEST", "ok")]),
        malformed("8.2.1", "a name with a colon", &[("x:y", "ok")]),
        malformed("8.2.1", "a name with a space", &[("x ", "ok")]),
        malformed("8.2.1", "a name of no bytes", &[("", "ok")]),
        malformed("8.2.1", "a value with NUL", &[("x", "a\0b")]),
        malformed("8.2.1", "a value with a line end", &[("x", "a\r\ny: b")]),
        malformed("8.2.1", "a value with a bare line feed", &[("x", "a\nb")]),
        malformed("8.2.1", "a value behind a space", &[("x", " a")]),
        malformed("8.2.1", "a value before a tab", &[("x", "a\t")]),
        malformed("8.2.2", "Keep-Alive", &[("keep-alive", "timeout=5")]),
        malformed("8.2.2", "Proxy-Connection", &[("proxy-connection", "keep-alive")]),
        malformed("8.2.2", "Upgrade", &[("upgrade", "h2c")]),
        malformed("8.2.2", "Connection", &[("connection", "keep-alive")]),
        malformed("8.2.2", "Transfer-Encoding", &[("transfer-encoding", "chunked")]),
        malformed("8.2.2", "TE", &[("trailers", "test"), ("te", "trailers, deflate")]),
        malformed("8.3", "an unknown pseudo-header", &[(":test", "ok")]),
        malformed("8.3", "an answer's pseudo-header", &[(":status", "200")]),
        malformed("8.3", "a pseudo-header behind a field", &[("x-test", "ok"), (":path", "/")]),
        of("an empty :path", &[method, scheme, (":path", "")]),
        of("a :path without a slash", &[method, scheme, (":path", "index"), (":authority", "www.oldboy.com")]),
        of("a :path in absolute form", &[method, scheme, (":path", "http://b/"), (":authority", "www.oldboy.com")]),
        of("a :path with a space", &[method, scheme, (":path", "/ HTTP/1.1"), (":authority", "www.oldboy.com")]),
        of("a :path with a line end", &[method, scheme, (":path", "/\r\nx: y"), (":authority", "www.oldboy.com")]),
        of("a :method with a space", &[(":method", "GET /a"), scheme, path, (":authority", "www.oldboy.com")]),
        of("an :authority with a user", &[method, scheme, path, (":authority", "user@www.oldboy.com")]),
        of("an :authority with a path", &[method, scheme, path, (":authority", "www.oldboy.com/a")]),
        of("an :authority with a line end", &[method, scheme, path, (":authority", "www.oldboy.com\r\nx: y")]),
        of("no :method", &[scheme, path]),
        of("no :scheme", &[method, path]),
        of("no :path", &[method, scheme, (":authority", "www.oldboy.com")]),
        of("two :method", &[method, method, scheme, path]),
        of("two :scheme", &[method, scheme, scheme, path]),
        of("two :path", &[method, scheme, path, path]),
        case("8.1.1", "a length that is not the body's", [length("1"), data(END_STREAM, 1, b"test")], Stream(&[PROTOCOL])),
        case("8.1.1", "a length that is not the bodies'", [length("1"), data(0, 1, b"te"), data(END_STREAM, 1, b"st")], Stream(&[PROTOCOL])),
        case("8.1.1", "two lengths", [headers(END_HEADERS, 1, request("POST", &[("content-length", "1"), ("content-length", "2")])), data(END_STREAM, 1, b"x")], Stream(&[PROTOCOL])),
        case("8.1.1", "a length that is none", [length("+1"), data(END_STREAM, 1, b"x")], Stream(&[PROTOCOL])),
        case("8.1.1", "a length without a body", [headers(END_HEADERS | END_STREAM, 1, request("POST", &[("content-length", "1")]))], Stream(&[PROTOCOL])),
        case("8.1.1", "a length that trailers cut short", [length("9"), data(0, 1, b"test"), headers(END_HEADERS | END_STREAM, 1, block(&[("x-t", "y")]))], Stream(&[PROTOCOL])),
        case("8.1.1", "a length that is longer", [length("9"), data(END_STREAM, 1, b"test")], Stream(&[PROTOCOL])),
    ]
}

/// RFC 7541: header compression.
#[rustfmt::skip]
fn compression() -> Vec<Case> {
    let wrong = |section, what, bytes: &[u8]| {
        case(section, what, [with_block(bytes)], Connection(HPACK))
    };
    let indexed = headers(
        END_HEADERS | END_STREAM,
        1,
        [0x82, 0x86, 0x84, 0x01, 14]
            .into_iter()
            .chain(*b"www.oldboy.com")
            .collect::<Vec<_>>(),
    );
    let resized = [&[0x20, 0x3f, 0x61][..], &request("GET", &[])].concat();
    vec![
        case("H 6.1", "indexed fields", [indexed], Answer),
        case("H 6.2", "a field that was put into the table", [headers(END_HEADERS | END_STREAM, 1, [&request("GET", &[])[..], &[0x40, 1, b'x', 1, b'y']].concat()), headers(END_HEADERS | END_STREAM, 3, [&request("GET", &[])[..], &[0xbe, 0x7e, 1, b'z', 0x0f, 0x2f, 1, b'z', 0x1f, 0x2f, 1, b'z']].concat())], Answer),
        case("H 4.4", "an index of what went out of the table", [headers(END_HEADERS | END_STREAM, 1, [&request("GET", &[])[..], &[0x40, 1, b'x', 1, b'y']].concat()), headers(END_HEADERS | END_STREAM, 3, [&[0x20][..], &request("GET", &[]), &[0xbe]].concat())], Connection(HPACK)),
        wrong("H 5.1", "a number without end", &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]),
        wrong("H 5.2", "a string that ends early", &[0x00, 5, b'x']),
        case("H 6.3", "a size update before the fields", [headers(END_HEADERS | END_STREAM, 1, resized)], Answer),
        wrong("H 2.3.3", "an index beyond the table", &[0xff, 0x46]),
        wrong("H 2.3.3", "a name's index beyond the table", &[0x7f, 0x46, 1, b'x']),
        wrong("H 4.2", "a size update behind the fields", &[0x20]),
        wrong("H 5.2", "padding of more than 7 bits", &[0x00, 0x85, 0xf2, 0xb2, 0x4a, 0x84, 0xff, 0x84, 0x49, 0x50, 0x9f, 0xff]),
        wrong("H 5.2", "padding of zeros", &[0x00, 0x85, 0xf2, 0xb2, 0x4a, 0x84, 0xff, 0x83, 0x49, 0x50, 0x90]),
        wrong("H 5.2", "EOS", &[0x00, 0x85, 0xf2, 0xb2, 0x4a, 0x84, 0xff, 0x87, 0x49, 0x51, 0x13, 0xff, 0xff, 0xff, 0xff]),
        wrong("H 6.1", "index 0", &[0x80]),
        wrong("H 6.3", "a size beyond the limit", &[0x3f, 0xe2, 0x1f]),
    ]
}

/// Plays a case; an error says what came instead.
fn play(mut raw: Raw, case: &Case) -> Result<(), String> {
    for frame in &case.frames {
        raw.send(frame);
    }
    if !case.afterwards.is_empty() {
        while !matches!(raw.frame(), Some(frame) if frame.flags & END_STREAM != 0) {}
        for frame in &case.afterwards {
            raw.send(frame);
        }
    }
    if matches!(case.outcome, Alive | AliveOrOver) {
        raw.send(&Frame::new(PING, 0, 0, *b"h2 alive"));
    }
    let of = |kinds: &[u8]| {
        let frames = case.frames.iter();
        let frames = frames.filter(|frame| kinds.contains(&frame.kind));
        frames.map(|frame| frame.stream).max()
    };
    let last = of(&[HEADERS]).or_else(|| of(&[PRIORITY])).unwrap_or(0);
    loop {
        let Some(frame) = raw.frame() else {
            return match case.outcome {
                AliveOrOver => Ok(()),
                Answer | Stream(_) | Connection(_) | Alive => Err("it closed".to_owned()),
            };
        };
        match (case.outcome, frame.kind) {
            (Answer, HEADERS | DATA) if frame.stream == last && frame.flags & END_STREAM != 0 => {
                return Ok(());
            }
            (AliveOrOver, GOAWAY) if frame.code() == NO_ERROR => return Ok(()),
            (Alive | AliveOrOver, PING)
                if frame.payload == b"h2 alive" && frame.flags & ACK != 0 =>
            {
                return Ok(());
            }
            (Stream(codes), RST_STREAM) if frame.stream == last => {
                return is_one_of(codes, &frame);
            }
            (Stream(codes) | Connection(codes), GOAWAY) => {
                while raw.frame().is_some() {}
                return is_one_of(codes, &frame);
            }
            (_, RST_STREAM | GOAWAY) => return Err(format!("{frame:?}")),
            // An answer that ends is not refused any more.
            (Stream(_), HEADERS | DATA)
                if frame.stream == last
                    && frame.flags & END_STREAM != 0
                    && case.section.starts_with('8') =>
            {
                return Err(format!("{frame:?}"));
            }
            _ => {}
        }
    }
}

fn is_one_of(codes: &[u32], frame: &Frame) -> Result<(), String> {
    match codes.contains(&frame.code()) {
        true => Ok(()),
        false => Err(format!("code {}", frame.code())),
    }
}

/// Plays all cases, each on a connection of its own.
fn play_all(connect: impl Fn() -> Raw) {
    let cases = [framing(), streams(), kinds(), requests(), compression()];
    let cases: Vec<_> = cases.into_iter().flatten().collect();
    assert!(cases.len() > 146, "{} cases", cases.len());

    let wrong: Vec<_> = cases
        .iter()
        .filter_map(|case| {
            let played = AssertUnwindSafe(|| play(connect(), case));
            let outcome =
                std::panic::catch_unwind(played).unwrap_or_else(|_| Err("nothing came".to_owned()));
            let error = outcome.err()?;
            Some(format!("{} {}: {error}", case.section, case.what))
        })
        .collect();

    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
}

#[test]
fn every_case_ends_as_the_rfc_says() {
    let web = Upstream::answering(answer(200, "some text"));
    // Every name is served: a refusal by name could be sent before what is wrong has come.
    let settings = "client_header_timeout = \"2s\"\ndefault = true";
    let proxy = Proxy::over(&[web.address], settings);

    play_all(|| Raw::connect(proxy.address, &[]));
}

#[test]
fn every_case_ends_so_by_tls() {
    let ca = Authority::new("ca");
    let www = ca.issue("www", &["www.oldboy.com"]);
    let web = Upstream::answering(answer(200, "some text"));
    let proxy = Proxy::start_with(|address| {
        format!(
            "[[upstream]]\nname = \"web\"\nserver = [{{ address = \"{}\" }}]\n\
             [[server]]\nlisten = [{{ address = \"{address}\", tls = {{ {} }} }}]\n\
             hosts = [\"www.oldboy.com\", \"a\"]\n\
             [[server.route]]\nupstream = \"web\"\n[proxy]\nworkers = 1\n",
            web.address,
            www.keys()
        )
    });
    let config = ca.client(None, &["h2"]);

    play_all(|| Raw::connect_tls(proxy.address, Arc::clone(&config), "www.oldboy.com"));
}

/// §3.4: what a connection begins with.
#[test]
fn a_connection_begins_with_a_preface_and_settings() {
    let web = Upstream::answering(answer(200, "some text"));
    let proxy = Proxy::over(&[web.address], "");

    let mut wrong = Raw::connect_silently(proxy.address);
    wrong.send_bytes(b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n");
    while wrong.bytes_left() {}
    for first in [get(1), raw(PING, 0, 0, &[0; 8]), raw(SETTINGS, ACK, 0, &[])] {
        let mut other = Raw::connect_silently(proxy.address);
        other.send_bytes(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        other.send(&first);
        assert_eq!(
            other.frame_of(GOAWAY).unwrap().code(),
            PROTOCOL,
            "{first:?}"
        );
    }

    assert!(web.seen().is_empty());
}

#[test]
fn windows_hold_the_answer_back() {
    let web = Upstream::answering(answer(200, "some text"));
    let proxy = Proxy::over(&[web.address], "");
    let mut raw = Raw::connect(proxy.address, &setting(4, 1));
    raw.send(&get(1));

    let first = raw.frame_of(DATA).unwrap();
    assert_eq!(
        (first.payload.as_slice(), first.flags & END_STREAM),
        (&b"s"[..], 0)
    );
    // §6.9.2: a change counts for streams that are open, and may make a window negative.
    raw.send(&settings(&setting(4, 0)));
    raw.send(&window(1, 1));
    raw.send(&settings(&setting(4, 3)));

    let mut text = first.payload;
    while text.len() < 4 {
        text.extend(raw.frame_of(DATA).unwrap().payload);
    }
    assert_eq!(text, b"some");
    raw.send(&window(1, 100));
    while text.len() < 9 {
        text.extend(raw.frame_of(DATA).unwrap().payload);
    }
    assert_eq!(text, b"some text");
}

//! Lines of the access log, in nginx's combined format and as JSON. Pure: what they say comes from
//! the caller, where they go is [`crate::proxy`]'s.

use std::{io::Write as _, time::Duration};

use crate::model::LogFormat;

/// What is kept of a request until it is answered: raw parts of its head, one after the other.
#[derive(Debug)]
pub struct Record<T> {
    pub text: T,
    /// Where method, target, host, referrer and user agent end in `text`.
    ends: [usize; 5],
    pub protocol: &'static str,
}

/// What became of a request.
#[derive(Clone, Copy, Debug)]
pub struct Outcome<'a> {
    pub client: &'a [u8],
    pub status: u16,
    /// Bytes of the answer, without its head.
    pub bytes: u64,
    pub took: Duration,
    /// Different for each request.
    pub id: u128,
    /// The server that answered.
    pub upstream: &'a str,
}

impl<T: std::ops::DerefMut<Target = Vec<u8>>> Record<T> {
    /// Keeps parts of a request in `text`, which is empty.
    pub fn new(mut text: T, parts: [&[u8]; 5], protocol: &'static str) -> Self {
        let ends = parts.map(|part| {
            text.extend_from_slice(part);
            text.len()
        });
        Self {
            text,
            ends,
            protocol,
        }
    }

    fn parts(&self) -> [&[u8]; 5] {
        let mut start = 0;
        self.ends.map(|end| {
            let part = self.text.get(start..end).unwrap_or_default();
            start = end;
            part
        })
    }

    /// Appends the line. `date` is the time as HTTP writes it.
    pub fn append(&self, format: LogFormat, date: &[u8], outcome: &Outcome<'_>, out: &mut Vec<u8>) {
        match format {
            LogFormat::Combined => self.append_combined(date, outcome, out),
            LogFormat::Json => self.append_json(date, outcome, out),
        }
    }

    fn append_combined(&self, date: &[u8], outcome: &Outcome<'_>, out: &mut Vec<u8>) {
        let [method, target, _, referrer, agent] = self.parts();
        out.extend_from_slice(outcome.client);
        out.extend_from_slice(b" - - [");
        let at = |range| date.get(range).unwrap_or_default();
        for part in [
            at(5..7),
            b"/",
            at(8..11),
            b"/",
            at(12..16),
            b":",
            at(17..25),
        ] {
            out.extend_from_slice(part);
        }
        out.extend_from_slice(b" +0000] \"");
        if !method.is_empty() {
            escape(method, out);
            out.push(b' ');
            escape(target, out);
            out.push(b' ');
            out.extend_from_slice(self.protocol.as_bytes());
        }
        number(
            out,
            format_args!("\" {} {} \"", outcome.status, outcome.bytes),
        );
        for (index, part) in [referrer, agent].into_iter().enumerate() {
            match part {
                b"" => out.push(b'-'),
                part => escape(part, out),
            }
            out.extend_from_slice(if index == 0 { b"\" \"" } else { b"\"\n" });
        }
    }

    fn append_json(&self, date: &[u8], outcome: &Outcome<'_>, out: &mut Vec<u8>) {
        const MONTHS: &[u8] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
        let [method, target, host, referrer, agent] = self.parts();
        let at = |range| date.get(range).unwrap_or_default();
        let month = MONTHS.chunks(3).position(|month| month == at(8..11));
        out.extend_from_slice(b"{\"time\":\"");
        out.extend_from_slice(at(12..16));
        number(out, format_args!("-{:02}-", month.unwrap_or(0) + 1));
        out.extend_from_slice(at(5..7));
        out.push(b'T');
        out.extend_from_slice(at(17..25));
        out.extend_from_slice(b"Z\"");
        for (name, value) in [
            ("remote_addr", outcome.client),
            ("host", host),
            ("method", method),
            ("uri", target),
            ("protocol", self.protocol.as_bytes()),
            ("referer", referrer),
            ("user_agent", agent),
            ("upstream", outcome.upstream.as_bytes()),
        ] {
            number(out, format_args!(",\"{name}\":\""));
            escape_json(value, out);
            out.push(b'"');
        }
        let Outcome {
            status,
            bytes,
            took,
            id,
            ..
        } = outcome;
        let (seconds, micros) = (took.as_secs(), took.subsec_micros());
        number(
            out,
            format_args!(
                ",\"status\":{status},\"bytes\":{bytes},\"request_time\":{seconds}.{micros:06},\
                 \"request_id\":\"{id:032x}\"}}\n"
            ),
        );
    }
}

fn number(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text)
        .expect("writing to a vector cannot fail");
}

/// As nginx does: what is not plain ASCII, quotes and backslashes as `\xXX`.
fn escape(text: &[u8], out: &mut Vec<u8>) {
    let is_special = |byte: &u8| !matches!(byte, b' '..=b'~') || matches!(byte, b'"' | b'\\');
    if !text.iter().any(is_special) {
        return out.extend_from_slice(text);
    }
    for byte in text {
        if is_special(byte) {
            number(out, format_args!("\\x{byte:02X}"));
        } else {
            out.push(*byte);
        }
    }
}

/// As JSON does; bytes that are no UTF-8 become U+FFFD.
fn escape_json(text: &[u8], out: &mut Vec<u8>) {
    let is_special = |byte: &u8| !matches!(byte, b' '..=b'~') || matches!(byte, b'"' | b'\\');
    if !text.iter().any(is_special) {
        return out.extend_from_slice(text);
    }
    let mut utf8 = [0; 4];
    for c in String::from_utf8_lossy(text).chars() {
        match c {
            '"' | '\\' => out.extend_from_slice(&[b'\\', c as u8]),
            c if u32::from(c) < 0x20 => number(out, format_args!("\\u{:04x}", u32::from(c))),
            c => out.extend_from_slice(c.encode_utf8(&mut utf8).as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &[u8] = b"Sun, 06 Nov 1994 08:49:37 GMT";

    fn line(format: LogFormat, agent: &[u8]) -> String {
        let parts = [&b"GET"[..], b"/a?b", b"www.oldboy.com", b"", agent];
        let record = Record::new(Box::<Vec<u8>>::default(), parts, "HTTP/1.1");
        let outcome = Outcome {
            client: b"10.0.0.1",
            status: 200,
            bytes: 27,
            took: Duration::from_micros(1234),
            id: 7,
            upstream: "10.0.0.7:80",
        };
        let mut out = Vec::new();
        record.append(format, DATE, &outcome, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_combined_format_is_nginxs() {
        assert_eq!(
            line(LogFormat::Combined, b"a\"b\\\xe4\x01"),
            "10.0.0.1 - - [06/Nov/1994:08:49:37 +0000] \"GET /a?b HTTP/1.1\" 200 27 \"-\" \
             \"a\\x22b\\x5C\\xE4\\x01\"\n"
        );
    }

    #[test]
    fn json_lines_read_as_json_whatever_clients_send() {
        for agent in [&b"plain"[..], b"a\"b\\\n\x7f", b"\xff\xfe", "中".as_bytes()] {
            let line = line(LogFormat::Json, agent);
            let value: serde_json::Value = serde_json::from_str(&line).unwrap();
            assert_eq!(value["user_agent"], String::from_utf8_lossy(agent).as_ref());
            assert_eq!(value["time"], "1994-11-06T08:49:37Z");
            assert_eq!(value["request_time"], 0.001234);
            assert_eq!(value["status"], 200);
            assert_eq!(line.matches('\n').count(), 1);
        }
    }
}

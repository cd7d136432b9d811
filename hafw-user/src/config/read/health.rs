//! `health` of a `[[service]]`: what is looked at.

use hafw_config::Section;

use super::check::{Timing, command, is_path};
use crate::{
    config::model::{Health, HealthKind, HttpHealth, TlsHealth},
    probe::is_dns_name,
};

/// What a health check may look at.
const KINDS: [&str; 8] = [
    "tcp", "http", "https", "grpc", "dns", "udp", "icmp", "command",
];
/// Which other keys belong to which of them.
const OPTIONS: [(&str, &[&str]); 9] = [
    ("method", &["http", "https"]),
    ("headers", &["http", "https"]),
    ("expect_status", &["http", "https"]),
    ("expect_body", &["http", "https"]),
    ("host", &["http", "https", "grpc"]),
    ("tls", &["grpc"]),
    ("tls_verify", &["https", "grpc"]),
    ("user", &["command"]),
    (
        "port",
        &["tcp", "http", "https", "grpc", "dns", "udp", "command"],
    ),
];

/// What was wrong is noted.
pub(super) struct Wrong;

/// The table of a service; `Ok(None)` where it has none.
pub(super) fn health(section: &Section) -> Result<Option<Health>, Wrong> {
    if !section.has("health") {
        return Ok(None);
    }
    let table = section.table("health").ok_or(Wrong)?;
    let kinds = [
        yes(&table, "tcp").map(|()| HealthKind::Tcp),
        http(&table),
        grpc(&table),
        dns(&table),
        udp(&table),
        yes(&table, "icmp").map(|()| HealthKind::Icmp),
        of_command(&table),
    ];
    let port = table
        .number::<u16>("port", 1..=65535)
        .map(|port| port.value);
    let Timing {
        interval,
        timeout,
        rise,
        fall,
    } = Timing::read(&table);
    table.finish();

    let given: Vec<_> = KINDS.into_iter().filter(|key| table.has(key)).collect();
    let [given] = given[..] else {
        let expected = format!("expected one of {}", KINDS.join(", "));
        table.note(table.place(), expected);
        return Err(Wrong);
    };
    for (key, kinds) in OPTIONS {
        if table.has(key) && !kinds.contains(&given) {
            table.wrong(key, &format!("expected only with {}", kinds.join(" or ")));
        }
    }
    let kind = kinds.into_iter().flatten().next().ok_or(Wrong)?;
    Ok(Some(Health {
        kind,
        port,
        interval,
        timeout,
        rise,
        fall,
    }))
}

/// A key that can only be true.
fn yes(table: &Section, key: &str) -> Option<()> {
    let on = table.boolean(key)?.value;
    if !on {
        table.wrong(
            key,
            "expected true: leave `health` out if nothing is looked at",
        );
    }
    on.then_some(())
}

/// `http` and `https`.
fn http(table: &Section) -> Option<HealthKind> {
    let path = |key| {
        table.parsed(key, "a path such as \"/\"", |path| {
            is_path(path).then(|| path.to_owned())
        })
    };
    let (clear, encrypted) = (path("http"), path("https"));
    let methods = ["GET", "HEAD", "OPTIONS", "POST"].map(|method| (method, method));
    let method = table.choice("method", &methods);
    let method = method.map_or("GET", |method| method.value);
    let host = host(table);
    let headers = headers(table);
    let expect = table.integers("expect_status", 100..=599);
    table.need_items("expect_status", "status");
    let expect_body = table.string("expect_body").map(|text| text.value);
    if expect_body.is_some() && method == "HEAD" {
        table.wrong("expect_body", "an answer to HEAD has no body");
    }
    let verify = verify(table);
    // In range: read as such.
    let expect_status = expect.unwrap_or_default();
    let expect_status = expect_status
        .iter()
        .filter_map(|status| u16::try_from(status.value).ok());
    let tls = encrypted.is_some().then_some(TlsHealth { verify });
    Some(HealthKind::Http(HttpHealth {
        path: clear.or(encrypted)?.value,
        method: method.to_owned(),
        host,
        headers,
        expect_status: expect_status.collect(),
        expect_body,
        tls,
    }))
}

/// What stands in the Host header or `:authority`, and in SNI.
fn host(table: &Section) -> Option<String> {
    let visible = |host: &str| {
        let fits = !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_graphic());
        fits.then(|| host.to_owned())
    };
    let host = table.parsed("host", "a host name such as \"www.example.org\"", visible);
    host.map(|host| host.value)
}

fn verify(table: &Section) -> bool {
    table
        .boolean("tls_verify")
        .is_some_and(|verify| verify.value)
}

fn headers(table: &Section) -> Vec<(String, String)> {
    let Some(headers) = table.table("headers") else {
        return Vec::new();
    };
    // RFC 9110 §5.1 and §5.5; these three are the probe's own.
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let own = ["connection", "content-length", "host"];
    let mut read = Vec::new();
    for (name, value) in headers.string_entries() {
        let (name_fits, value_fits) = (
            !name.value.is_empty()
                && name.value.bytes().all(token)
                && !own.contains(&name.value.to_ascii_lowercase().as_str()),
            value
                .value
                .bytes()
                .all(|byte| byte == b' ' || byte.is_ascii_graphic()),
        );
        if name_fits && value_fits {
            read.push((name.value, value.value));
        } else {
            let message = format!(
                "{} = {:?}: no header that can be set",
                name.value, value.value
            );
            headers.note(&name.place, message);
        }
    }
    headers.finish();
    read
}

fn grpc(table: &Section) -> Option<HealthKind> {
    let service = table.string("grpc");
    let tls = table.boolean("tls").is_some_and(|tls| tls.value);
    if table.has("tls_verify") && !tls && table.has("grpc") {
        table.wrong("tls_verify", "expected only with tls = true");
    }
    let tls = tls.then(|| TlsHealth {
        verify: verify(table),
    });
    Some(HealthKind::Grpc {
        service: service?.value,
        host: host(table),
        tls,
    })
}

fn dns(table: &Section) -> Option<HealthKind> {
    let expected = "a name such as \"www.example.org\"";
    let name = table.parsed("dns", expected, |name| {
        is_dns_name(name).then(|| name.to_owned())
    });
    Some(HealthKind::Dns { name: name?.value })
}

/// `udp = { send, expect }`, or in hexadecimal digits.
fn udp(table: &Section) -> Option<HealthKind> {
    let udp = table.table("udp")?;
    let bytes = |key: &str| {
        let in_hex = format!("{key}_hex");
        let text = udp.string(key).map(|text| text.value.into_bytes());
        let expected = "pairs of hexadecimal digits such as \"00ff\"";
        let hex = udp.parsed(&in_hex, expected, from_hex).map(|hex| hex.value);
        if udp.has(key) && udp.has(&in_hex) {
            udp.wrong(&in_hex, &format!("expected this or {key}"));
        }
        text.or(hex)
    };
    let (send, expect) = (bytes("send"), bytes("expect"));
    udp.finish();
    Some(HealthKind::Udp {
        send: send.unwrap_or_default(),
        expect,
    })
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    let (pairs, rest) = digits.as_chunks::<2>();
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pair = |[high, low]: &[u8; 2]| u8::try_from(digit(*high)? * 16 + digit(*low)?).ok();
    rest.is_empty().then(|| pairs.iter().map(pair).collect())?
}

fn of_command(table: &Section) -> Option<HealthKind> {
    let user = table.string("user");
    let command = command(table, "command")?;
    Some(HealthKind::Command {
        command,
        user: user.map_or_else(|| "nobody".to_owned(), |user| user.value),
    })
}

//! Reads the keys that a `[[server]]` has for all of its routes, and each route may set otherwise.

use std::{collections::BTreeSet, path::PathBuf};

use hafw_config::Section;

use super::{value_or, values};
use crate::{
    compress::Coding,
    model::{
        AccessLog, Compress, ErrorPage, LogFormat, LogTo, NextUpstream, Options, RateLimit,
        RetryCondition, SetHeader, Timeouts,
    },
};

/// What is text, and long.
const COMPRESSED_TYPES: [&str; 8] = [
    "text/html",
    "text/css",
    "text/plain",
    "text/javascript",
    "application/javascript",
    "application/json",
    "application/xml",
    "image/svg+xml",
];
/// The most memory that a request's body may take.
const MAX_REPLAY_BUFFER: u64 = 16 << 20;

/// The keys that a route may set too.
const ROUTE_KEYS: [&str; 19] = [
    "compress",
    "access_log",
    "set_headers",
    "add_headers",
    "set_response_headers",
    "add_response_headers",
    "next_upstream",
    "next_upstream_tries",
    "next_upstream_timeout",
    "connect_timeout",
    "read_timeout",
    "send_timeout",
    "client_body_timeout",
    "keepalive_timeout",
    "client_max_body_size",
    "replay_buffer",
    "rate_limit",
    "error_page",
    "client_header_timeout",
];

/// Reads a section's options over those that hold where it sets nothing. Tells whether it sets
/// anything.
pub(super) fn read(section: &Section, base: &Options) -> (Options, bool) {
    let options = Options {
        set_headers: read_headers(section, "set_headers", &base.set_headers),
        add_headers: read_headers(section, "add_headers", &base.add_headers),
        set_response_headers: read_headers(
            section,
            "set_response_headers",
            &base.set_response_headers,
        ),
        add_response_headers: read_headers(
            section,
            "add_response_headers",
            &base.add_response_headers,
        ),
        next_upstream: read_next_upstream(section, &base.next_upstream),
        timeouts: read_timeouts(section, &base.timeouts),
        client_max_body_size: value_or(
            section.size("client_max_body_size"),
            base.client_max_body_size,
        ),
        replay_buffer: read_replay_buffer(section, base.replay_buffer),
        rate_limits: read_rate_limits(section, &base.rate_limits),
        access_log: read_access_log(section, base.access_log.as_ref()),
        compress: read_compress(section, base.compress.as_ref()),
        error_pages: read_error_pages(section, &base.error_pages),
    };
    (options, ROUTE_KEYS.iter().any(|key| section.has(key)))
}

/// A table of headers replaces the whole of the server's, as in nginx.
fn read_headers(section: &Section, key: &str, base: &[SetHeader]) -> Vec<SetHeader> {
    let Some(table) = section.table(key) else {
        return base.to_vec();
    };
    let entries = table.string_entries();
    table.finish();
    let headers = entries.into_iter().map(|(name, value)| SetHeader {
        name: name.value,
        value: value.value,
    });
    headers.collect()
}

fn read_next_upstream(section: &Section, base: &NextUpstream) -> NextUpstream {
    let names: Vec<_> = RetryCondition::NAMES
        .iter()
        .map(|(name, _)| *name)
        .collect();
    let expected = format!("one of {}", names.join(", "));
    let on = section.list("next_upstream", &expected, |text| {
        let mut known = RetryCondition::NAMES.iter();
        known
            .find(|(name, _)| *name == text)
            .map(|(_, condition)| *condition)
    });
    let on = on.map(|on| values(Some(on)).into_iter().collect());
    NextUpstream {
        on: on.unwrap_or_else(|| base.on.clone()),
        tries: value_or(section.number("next_upstream_tries", 0..=1000), base.tries),
        timeout: value_or(section.duration("next_upstream_timeout"), base.timeout),
    }
}

fn read_timeouts(section: &Section, base: &Timeouts) -> Timeouts {
    let read = |key, base| {
        let read = section.duration(key);
        if read.as_ref().is_some_and(|duration| duration.is_zero()) {
            section.wrong(key, "expected more than no time");
        }
        value_or(read, base)
    };
    Timeouts {
        connect: read("connect_timeout", base.connect),
        read: read("read_timeout", base.read),
        send: read("send_timeout", base.send),
        client_header: read("client_header_timeout", base.client_header),
        client_body: read("client_body_timeout", base.client_body),
        keepalive: read("keepalive_timeout", base.keepalive),
    }
}

fn read_replay_buffer(section: &Section, base: u64) -> u64 {
    let size = value_or(section.size("replay_buffer"), base);
    if size > MAX_REPLAY_BUFFER {
        section.wrong("replay_buffer", "expected at most \"16MiB\"");
    }
    size
}

/// A list of limits replaces the whole of the server's.
fn read_rate_limits(section: &Section, base: &[RateLimit]) -> Vec<RateLimit> {
    if !section.has("rate_limit") {
        return base.to_vec();
    }
    let limits = section.table_or_tables("rate_limit", "rate_limit");
    limits.iter().filter_map(read_rate_limit).collect()
}

fn read_rate_limit(section: &Section) -> Option<RateLimit> {
    let standard = RateLimit::default();
    let expected = "a rate such as \"10/s\" or \"30/m\"";
    let rate = section.need("rate", section.parsed("rate", expected, parse_rate));
    let burst = section.number("burst", 0..=1_000_000);
    let nodelay = section.boolean("nodelay");
    let key = section.string("key");
    let status = section.number("status", 400..=599);
    let zone = section.string("zone");
    section.finish();
    Some(RateLimit {
        rate: rate?.value,
        burst: value_or(burst, standard.burst),
        nodelay: value_or(nodelay, standard.nodelay),
        key: value_or(key, standard.key),
        status: value_or(status, standard.status),
        zone: zone.map(|zone| zone.value),
    })
}

fn read_access_log(section: &Section, base: Option<&AccessLog>) -> Option<AccessLog> {
    if !section.has("access_log") {
        return base.cloned();
    }
    let table = section.table("access_log")?;
    let absolute = |key| {
        table.parsed(key, "an absolute path", |text| {
            let path = PathBuf::from(text);
            path.is_absolute().then_some(path)
        })
    };
    let (file, syslog) = (absolute("file"), absolute("syslog"));
    let stdout = value_or(table.boolean("stdout"), false);
    let off = value_or(table.boolean("off"), false);
    let formats = [("combined", LogFormat::Combined), ("json", LogFormat::Json)];
    let format = value_or(table.choice("format", &formats), LogFormat::default());
    table.finish();
    let to = match (file, syslog, stdout, off) {
        (Some(file), None, false, false) => LogTo::File(file.value),
        (None, Some(syslog), false, false) => LogTo::Syslog(syslog.value),
        (None, None, true, false) => LogTo::Stdout,
        (None, None, false, true) => return None,
        _ => {
            let what = "expected exactly one of file, syslog, stdout = true and off = true";
            table.note(table.place(), what);
            return None;
        }
    };
    Some(AccessLog { to, format })
}

fn read_compress(section: &Section, base: Option<&Compress>) -> Option<Compress> {
    if !section.has("compress") {
        return base.cloned();
    }
    let table = section.table("compress")?;
    let names: Vec<_> = Coding::NAMES.iter().map(|(name, _)| *name).collect();
    let codings = table.list("codings", &format!("one of {}", names.join(", ")), |text| {
        let mut known = Coding::NAMES.iter();
        known
            .find(|(name, _)| *name == text)
            .map(|(_, coding)| *coding)
    });
    let types = table.list("types", "a media type such as \"text/html\"", |text| {
        let is_type = text.contains('/') && text.bytes().all(|b| b.is_ascii_graphic() && b != b';');
        is_type.then(|| text.to_ascii_lowercase())
    });
    let min_length = table.size("min_length");
    table.finish();
    Some(Compress {
        codings: match codings {
            Some(codings) => values(Some(codings)),
            None => Coding::NAMES.map(|(_, coding)| coding).to_vec(),
        },
        types: match types {
            Some(types) => values(Some(types)),
            None => COMPRESSED_TYPES.map(str::to_owned).to_vec(),
        },
        min_length: value_or(min_length, 1024),
    })
}

/// nginx's `10r/s` too.
fn parse_rate(text: &str) -> Option<u64> {
    let (number, unit) = text.split_once('/')?;
    let number: u64 = number.strip_suffix('r').unwrap_or(number).parse().ok()?;
    let rate = match unit {
        "s" => number.checked_mul(1000),
        "m" => number.checked_mul(1000).map(|rate| rate / 60),
        _ => None,
    };
    rate.filter(|rate| (1..=1_000_000_000).contains(rate))
}

/// A list of pages replaces the whole of the server's.
fn read_error_pages(section: &Section, base: &[ErrorPage]) -> Vec<ErrorPage> {
    if !section.has("error_page") {
        return base.to_vec();
    }
    let pages = section.tables("error_page", "error_page");
    pages.iter().filter_map(read_error_page).collect()
}

fn read_error_page(section: &Section) -> Option<ErrorPage> {
    let on = section.need("on", section.integers("on", 400..=599));
    let status = section.number("status", 200..=599);
    let body = super::route::read_body(section);
    let content_type = section.string("content_type");
    section.finish();
    let on = on?.into_iter();
    Some(ErrorPage {
        on: on
            .filter_map(|status| u16::try_from(status.value).ok())
            .collect::<BTreeSet<_>>(),
        status: value_or(status, 0),
        body: body?,
        content_type: value_or(content_type, "text/html".to_owned()),
    })
}

//! `listen`: which server has which address, and which is an address's default.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use super::value::socket;
use crate::{
    notes::Notes,
    place::{Mistake, Place},
    statement::Statement,
};

/// A `listen` of a server.
#[derive(Clone, Debug)]
pub(super) struct Listen {
    on: On,
    is_default: bool,
    pub(super) tls: bool,
    pub(super) proxy_protocol: bool,
    pub(super) place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum On {
    All4(u16),
    All6(u16),
    At(SocketAddr),
}

/// An address of a server.
#[derive(Clone, Debug)]
pub(super) struct Listener {
    pub(super) socket: SocketAddr,
    pub(super) is_default: bool,
    pub(super) from: Listen,
}

/// Reads a `listen`. None for those without an equivalent.
pub(super) fn read(statement: &Statement, notes: &mut Notes) -> Option<Listen> {
    let word = notes.take(statement.need("an address, a port or both"))?;
    if word.text.starts_with("unix:") {
        notes.unmatched(statement, "no unix sockets");
        return None;
    }
    let has = |flag: &str| statement.args().iter().any(|word| word.text == flag);
    if has("quic") {
        notes.unmatched(statement, "no HTTP/3");
        return None;
    }
    let on = match word.text.parse::<u16>() {
        Ok(port) if port != 0 => On::All4(port),
        Ok(_) | Err(_) => {
            let text = word
                .text
                .strip_prefix("*:")
                .map(|port| format!("0.0.0.0:{port}"));
            let socket = socket(text.as_deref().unwrap_or(&word.text), 80);
            match socket {
                Some(socket) if socket.ip() == IpAddr::V4(Ipv4Addr::UNSPECIFIED) => {
                    On::All4(socket.port())
                }
                Some(socket) if socket.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) => {
                    On::All6(socket.port())
                }
                Some(socket) => On::At(socket),
                None => {
                    let expected = "a port, or a numeric address with or without one";
                    let mistake: Mistake = statement.wrong(word, expected);
                    notes.mistakes.push(mistake);
                    return None;
                }
            }
        }
    };
    Some(Listen {
        on,
        is_default: has("default_server") || has("default"),
        tls: has("ssl"),
        proxy_protocol: has("proxy_protocol"),
        place: word.place.clone(),
    })
}

/// nginx's own if a server has no `listen`.
pub(super) fn standard(server: &Statement) -> Listen {
    Listen {
        on: On::All4(80),
        is_default: false,
        tls: false,
        proxy_protocol: false,
        place: server.place().clone(),
    }
}

/// The addresses of each server. `all` is what a `listen` without an address stands for; an address
/// that some server names belongs to those that name it. The first server of an address is its
/// default, unless another says that it is.
pub(super) fn listeners(
    servers: &[Vec<Listen>],
    all: &[IpAddr],
    notes: &mut Notes,
) -> Vec<Vec<Listener>> {
    let named: BTreeSet<SocketAddr> = servers
        .iter()
        .flatten()
        .filter_map(|listen| match listen.on {
            On::At(socket) => Some(socket),
            On::All4(_) | On::All6(_) => None,
        })
        .collect();
    let mut found: Vec<Vec<Listener>> = Vec::new();
    for listens in servers {
        let mut listeners: Vec<Listener> = Vec::new();
        for listen in listens {
            for socket in sockets(listen, all, &named, notes) {
                if !listeners.iter().any(|listener| listener.socket == socket) {
                    listeners.push(Listener {
                        socket,
                        is_default: false,
                        from: listen.clone(),
                    });
                }
            }
        }
        found.push(listeners);
    }
    let sockets: BTreeSet<_> = found
        .iter()
        .flatten()
        .map(|listener| listener.socket)
        .collect();
    for socket in sockets {
        let of_it = || {
            found
                .iter()
                .flatten()
                .filter(move |one| one.socket == socket)
        };
        let chosen = of_it().position(|one| one.from.is_default).unwrap_or(0);
        let mut of_it = found
            .iter_mut()
            .flatten()
            .filter(|one| one.socket == socket);
        if let Some(one) = of_it.nth(chosen) {
            one.is_default = true;
        }
    }
    found
}

fn sockets(
    listen: &Listen,
    all: &[IpAddr],
    named: &BTreeSet<SocketAddr>,
    notes: &mut Notes,
) -> Vec<SocketAddr> {
    let (port, ipv4) = match listen.on {
        On::At(socket) => return vec![socket],
        On::All4(port) => (port, true),
        On::All6(port) => (port, false),
    };
    let mut remark = |message: String| {
        notes.remarks.push(crate::place::Remark {
            place: listen.place.clone(),
            message,
        });
    };
    let family: Vec<_> = all
        .iter()
        .filter(|address| address.is_ipv4() == ipv4)
        .collect();
    if family.is_empty() {
        let loopback: IpAddr = if ipv4 {
            Ipv4Addr::LOCALHOST.into()
        } else {
            Ipv6Addr::LOCALHOST.into()
        };
        remark(format!(
            "listen: hafw listens on addresses, and none was given: {loopback} is written, \
             say which with --address, or import keepalived's file too"
        ));
        return vec![SocketAddr::new(loopback, port)];
    }
    let sockets = family
        .into_iter()
        .map(|address| SocketAddr::new(*address, port));
    let sockets: Vec<_> = sockets.filter(|socket| !named.contains(socket)).collect();
    let list: Vec<_> = sockets.iter().map(SocketAddr::to_string).collect();
    if list.is_empty() {
        remark("listen: other servers name all addresses that there are".to_owned());
        return sockets;
    }
    remark(format!(
        "listen: on {}, not on all addresses",
        list.join(", ")
    ));
    sockets
}

//! Reads where a server listens: `listen`, with TLS and the PROXY protocol.

use std::{net::SocketAddr, time::SystemTime};

use hafw_config::{Document, Item, Located, Section};

use crate::{
    model::Listen,
    tls::{
        self, MaterialError, Part,
        model::{Certificate, ClientAuth, ListenTls, PrivateKey},
    },
};

/// The longest file of certificates: a system's bundle of authorities has some 250 KiB.
const MAX_FILE: u64 = 1 << 20;

const EXPECTED: &str = "an IP address and a port such as \"10.0.0.3:80\", or a table \
                        { address = \"10.0.0.3:443\", tls = { certificate = …, key = … } }";

/// The listeners of a `[[server]]`. `hosts` are those that its certificates should be for.
pub(super) fn read(
    document: &Document,
    section: &Section,
    hosts: &[String],
) -> Option<Vec<Located<Listen>>> {
    let items = section.mixed("listen", "listen", EXPECTED)?;
    let listeners = items.iter().filter_map(|item| match item {
        Item::Text(text) => {
            let address = address(section, text)?;
            Some(Located {
                value: Listen::plain(address),
                place: text.place.clone(),
            })
        }
        Item::Table(table) => read_table(document, table, hosts),
    });
    Some(listeners.collect())
}

/// The addresses alone.
pub(super) fn addresses(section: &Section) -> Option<Vec<Located<SocketAddr>>> {
    let items = section.mixed("listen", "listen", EXPECTED)?;
    let addresses = items.into_iter().filter_map(|item| match item {
        Item::Text(text) => Some(Located {
            value: address(section, &text)?,
            place: text.place,
        }),
        Item::Table(table) => table_address(&table),
    });
    Some(addresses.collect())
}

fn address(section: &Section, text: &Located<String>) -> Option<SocketAddr> {
    let address = parse(text);
    if address.is_none() {
        let message = format!("listen: \"{}\": expected {EXPECTED}", text.value);
        section.note(&text.place, message);
    }
    address
}

fn table_address(table: &Section) -> Option<Located<SocketAddr>> {
    let expected = "an IP address and a port such as \"10.0.0.3:443\"";
    table.need("address", table.parsed("address", expected, parse))
}

fn parse(text: &str) -> Option<SocketAddr> {
    text.parse()
        .ok()
        .filter(|address: &SocketAddr| address.port() != 0)
}

fn read_table(document: &Document, table: &Section, hosts: &[String]) -> Option<Located<Listen>> {
    let address = table_address(table);
    let tls = table.table("tls");
    let tls = tls.map(|section| read_tls(document, &section, hosts));
    let proxy_protocol = table.boolean("proxy_protocol");
    let trusted = table.list("trusted", "a network such as \"10.0.0.0/24\"", |text| {
        text.parse().ok()
    });
    table.finish();
    let proxy_protocol = proxy_protocol.is_some_and(|on| on.value);
    if trusted.is_some() && !proxy_protocol {
        table.wrong("trusted", "needs proxy_protocol = true");
    }
    let address = address?;
    Some(Located {
        place: address.place,
        value: Listen {
            // What is wrong with it was noted, so that nothing comes of the whole.
            tls: tls.flatten(),
            address: address.value,
            proxy_protocol: proxy_protocol.then(|| super::values(trusted)),
        },
    })
}

fn read_tls(document: &Document, section: &Section, hosts: &[String]) -> Option<ListenTls> {
    let first = read_certificate(document, section);
    let others = section.tables("alternatives", "alternatives");
    let others: Vec<_> = others
        .iter()
        .map(|section| {
            let certificate = read_certificate(document, section);
            section.finish();
            certificate
        })
        .collect();
    let client = read_client(section);
    let versions = [("1.2", false), ("1.3", true)];
    let only_1_3 = section.choice("min_version", &versions);
    let ciphers = super::values(section.strings("ciphers"));
    section.finish();
    let certificates: Option<Vec<_>> = std::iter::once(first).chain(others).collect();
    let certificates = certificates?;
    for host in tls::unnamed_hosts(&certificates, hosts) {
        document.warning(
            &section.place_of("certificate"),
            format!("tls: certificate: it is not for \"{host}\""),
        );
    }
    let tls = ListenTls {
        certificates,
        client,
        only_1_3: super::value_or(only_1_3, false),
        ciphers,
    };
    if let Err(error) = tls::check_listen(&tls) {
        note(section, &error);
        return None;
    }
    Some(tls)
}

/// Reads the keys `certificate`, `key` and `ocsp`.
pub(super) fn read_certificate(document: &Document, section: &Section) -> Option<Certificate> {
    let chain = section.need("certificate", text(section, "certificate"));
    let key = section.need("key", text(section, "key"));
    let ocsp = section.contents("ocsp", MAX_FILE);
    let certificate = Certificate {
        chain: chain?,
        key: PrivateKey(key?),
        ocsp: ocsp.map(|ocsp| ocsp.value),
    };
    match tls::check_certificate(&certificate, SystemTime::now()) {
        Ok(None) => {}
        Ok(Some(warning)) => document.warning(
            &section.place_of("certificate"),
            format!("tls: certificate: {warning}"),
        ),
        Err(error) => {
            note(section, &error);
            return None;
        }
    }
    Some(certificate)
}

fn read_client(section: &Section) -> Option<ClientAuth> {
    let ca = text(section, "client_ca");
    let words = [("required", true), ("optional", false)];
    let required = section.choice("client_certificate", &words);
    if required.is_some() && !section.has("client_ca") {
        section.wrong("client_certificate", "needs a client_ca to check it by");
    }
    let crl = text(section, "client_crl");
    if section.has("client_crl") && !section.has("client_ca") {
        section.wrong("client_crl", "needs a client_ca");
    }
    let client = ClientAuth {
        ca: ca?,
        crl,
        required: required.is_none_or(|required| required.value),
    };
    if let Err(error) = tls::check_client_ca(&client) {
        note(section, &error);
        return None;
    }
    Some(client)
}

/// The contents of a text file.
pub(super) fn text(section: &Section, key: &str) -> Option<String> {
    let bytes = section.contents(key, MAX_FILE)?.value;
    let text = String::from_utf8(bytes);
    if text.is_err() {
        section.wrong(key, "expected a file in PEM");
    }
    text.ok()
}

pub(super) fn note(section: &Section, error: &MaterialError) {
    let key = match error.part {
        Part::Chain => "certificate",
        Part::Key => "key",
        Part::Ocsp => "ocsp",
        Part::Ca if section.has("ca") => "ca",
        Part::Ca => "client_ca",
        Part::Crl => "client_crl",
        Part::Name => "server_name",
        Part::Ciphers => "ciphers",
    };
    section.wrong(key, &error.what);
}

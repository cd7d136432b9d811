//! Reads the `tls` of an `[[upstream]]`.

use std::path::Path;

use hafw_config::{Document, Section};

use super::listen::{note, read_certificate, text};
use crate::{
    model::{Address, UpstreamServer},
    tls::{self, model::UpstreamTls},
};

/// Where systems keep the authorities that they trust.
const SYSTEM_CA: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
];

/// Reads the table. Names of the servers stand in for `server_name`.
pub(super) fn read(
    document: &Document,
    section: &Section,
    servers: &[UpstreamServer],
    http2: bool,
) -> Option<UpstreamTls> {
    let name = section.string("server_name");
    let verify = section.boolean("verify");
    let verify = verify.is_none_or(|verify| verify.value);
    let ca = text(section, "ca");
    let has_identity = section.has("certificate") || section.has("key");
    let identity = has_identity.then(|| read_certificate(document, section));
    section.finish();
    if !verify && section.has("ca") {
        section.wrong("ca", "of no use with verify = false");
    }
    let ca = match (verify, ca) {
        (false, _) => None,
        (true, None) if section.has("ca") => return None,
        (true, None) => Some(system_ca(section)?),
        (true, ca) => ca,
    };
    let named = servers.iter().find_map(|server| match &server.address {
        Address::Name { host, .. } => Some(host.clone()),
        Address::Ip(_) | Address::Unix(_) => None,
    });
    let tls = UpstreamTls {
        server_name: name.map(|name| name.value).or(named),
        ca,
        identity: match identity {
            Some(identity) => Some(identity?),
            None => None,
        },
    };
    if let Err(error) = tls::check_upstream(&tls, http2) {
        note(section, &error);
        return None;
    }
    Some(tls)
}

fn system_ca(section: &Section) -> Option<String> {
    let mut files = SYSTEM_CA.iter().map(Path::new);
    let found = files.find_map(|path| std::fs::read_to_string(path).ok());
    if found.is_none() {
        let what = "this system has no list of authorities: expected ca, or verify = false";
        section.note(section.place(), what);
    }
    found
}

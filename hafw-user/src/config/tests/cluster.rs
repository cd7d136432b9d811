//! `[cluster]`.

use super::{super::parse, LEAST};

const CLUSTER: &str = r#"[cluster]
listen = "10.0.0.5:9108"
key = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
peers = [{ id = "lb02", address = "10.0.0.6:9108" }]
"#;

#[track_caller]
fn said(from: &str, to: &str) -> String {
    assert_eq!(CLUSTER.matches(from).count(), 1, "{from:?}");
    match parse("f", &(LEAST.to_owned() + &CLUSTER.replacen(from, to, 1))) {
        Ok(_) => String::new(),
        Err(problems) => problems.to_string(),
    }
}

#[test]
fn a_cluster_is_read() {
    let cluster = parse("f", &(LEAST.to_owned() + CLUSTER)).unwrap().cluster;
    let cluster = cluster.unwrap();
    assert_eq!(cluster.listen, "10.0.0.5:9108".parse().unwrap());
    assert_eq!(cluster.peers[0].id, "lb02");
    assert_eq!(cluster.peers[0].address, "10.0.0.6:9108".parse().unwrap());
    assert!(cluster.key.text().ends_with("eeff"));
}

#[test]
fn a_cluster_that_cannot_work_is_refused_without_a_word_of_its_key() {
    for (from, to, expected) in [
        (
            "key = \"0011",
            "key = \"x011",
            "f:10:7: cluster: key: expected 64 hexadecimal digits; `hafw key` makes one",
        ),
        (
            "\"lb02\"",
            "\"lb01\"",
            "f:11:17: cluster: peers: id = \"lb01\": this is the node itself",
        ),
        (
            " }]",
            " }, { id = \"lb02\", address = \"10.0.0.7:9108\" }]",
            "f:11:61: cluster: peers: id = \"lb02\": another peer has it, at f:11:17",
        ),
        (
            "[{ id = \"lb02\", address = \"10.0.0.6:9108\" }]",
            "[]",
            "f:11:9: cluster: peers: expected at least one peer",
        ),
        (
            ":9108\"\nkey",
            "\"\nkey",
            "f:9:10: cluster: listen = \"10.0.0.5\": expected an address and a port such as \
             \"10.0.0.7:8080\" or \"[2001:db8::7]:8080\"",
        ),
    ] {
        assert_eq!(said(from, to), expected);
    }
    let empty = parse("f", &format!("{LEAST}[cluster]\n"));
    assert_eq!(
        empty.unwrap_err().to_string(),
        "f:8:1: cluster: key is missing\nf:8:1: cluster: listen is missing\n\
         f:8:1: cluster: peers is missing"
    );
}

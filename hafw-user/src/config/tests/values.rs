//! Values of one key: ranges and forms.

use super::{problems, refused};

#[test]
fn values_out_of_range_are_refused() {
    refused(&[
        ("id = \"lb01\"\n", "", "f:1:1: node: id is missing"),
        (
            "id = \"lb01\"",
            "id = \"\"",
            "f:2:6: node: id = \"\": expected a name",
        ),
        (
            "\"/run/hafw\"",
            "\"run/hafw\"",
            "f:3:13: node: state_dir = \"run/hafw\": expected an absolute path of at most 90 bytes",
        ),
        (
            "stop_timeout = \"10s\"",
            "stop_timeout = 10",
            "f:5:16: node: stop_timeout = 10: expected a duration such as \"1s\" or \"250ms\"",
        ),
        (
            "\"generic\"",
            "\"offload\"",
            "f:9:12: interface \"eth0\": xdp_mode = \"offload\": expected \"native\" or \"generic\"",
        ),
        (
            "interface = \"eth1\"",
            "interface = \"a name too long\"",
            "f:29:13: virtual_router \"oldgirl\": interface = \"a name too long\": expected the name \
             of a network interface, such as \"eth0\"",
        ),
        (
            "priority = 150",
            "priority = 300",
            "f:16:12: virtual_router \"oldboy\": priority = 300: expected a number from 1 to 255",
        ),
        (
            "vrid = 51",
            "vrid = 0",
            "f:14:8: virtual_router \"oldboy\": vrid = 0: expected a number from 1 to 255",
        ),
        (
            "version = 2",
            "version = 4",
            "f:15:11: virtual_router \"oldboy\": version = 4: expected a number from 2 to 3",
        ),
        (
            "weight = -60",
            "weight = -254",
            "f:25:36: virtual_router \"oldboy\": track: weight = -254: expected a number from -253 \
             to 253",
        ),
        (
            "timeout = \"500ms\"",
            "timeout = \"0s\"",
            "f:38:11: check \"web\": timeout = \"0s\": expected at least \"10ms\"",
        ),
        (
            "rise = 2",
            "rise = 0",
            "f:39:8: check \"web\": rise = 0: expected a number from 1 to 1000",
        ),
        (
            "slots = 4099",
            "slots = 4100",
            "f:52:9: service \"dns\": slots = 4100: expected a prime, such as 4111",
        ),
        (
            "weight = 3",
            "weight = -3",
            "f:57:10: service \"dns\": backend: weight = -3: expected a number from 0 to 65535",
        ),
        (
            "address = \"10.0.0.7:53\"",
            "address = \"10.0.0.7\"",
            "f:56:11: service \"dns\": backend: address = \"10.0.0.7\": expected an address \
             and a port such as \"10.0.0.7:8080\" or \"[2001:db8::7]:8080\"",
        ),
        (
            "address = \"10.0.0.7:53\"",
            "address = \"127.0.0.1:53\"",
            "f:56:11: service \"dns\": backend: address = \"127.0.0.1:53\": no host can have this \
             address on a link",
        ),
    ]);
}

#[test]
fn intervals_fit_their_version() {
    let v2 = "f:17:26: virtual_router \"oldboy\": advertisement_interval = ";
    let expected = ": expected whole seconds from \"1s\" to \"255s\" (version 2)";
    for wrong in ["\"100ms\"", "\"1500ms\"", "\"256s\"", "\"0s\""] {
        assert_eq!(
            problems("\"2s\"\nauth", &format!("{wrong}\nauth")),
            format!("{v2}{wrong}{expected}")
        );
    }
    let v3 = "f:31:26: virtual_router \"oldgirl\": advertisement_interval = ";
    let expected = ": expected a multiple of 10ms from \"10ms\" to \"40950ms\" (version 3)";
    for wrong in ["\"5ms\"", "\"15ms\"", "\"41s\"", "\"0s\"", "\"366d\""] {
        assert_eq!(
            problems("\"10ms\"", wrong),
            format!("{v3}{wrong}{expected}")
        );
    }
    assert_eq!(problems("\"10ms\"", "\"40950ms\""), "");
    assert_eq!(problems("\"2s\"\nauth", "\"255s\"\nauth"), "");
}

#[test]
fn a_password_is_for_version_2_fits_eight_bytes_and_is_never_shown() {
    let place = "f:18:46: virtual_router \"oldboy\": authentication: ";
    refused(&[
        (
            "\"1111\"",
            "\"123456789\"",
            &format!("{place}password: expected 1 to 8 bytes (RFC 2338 §5.3.6)"),
        ),
        (
            "\"1111\"",
            "1111",
            &format!("{place}password: expected a string, or {{ file = \"PATH\" }}"),
        ),
        (
            ", password = \"1111\"",
            "",
            "f:18:18: virtual_router \"oldboy\": authentication: password is missing",
        ),
        (
            "version = 2\n",
            "\n",
            "f:18:18: virtual_router \"oldboy\": authentication: VRRP version 3 has none \
             (RFC 9568 §9): set version = 2, or leave it out",
        ),
    ]);
    assert_eq!(problems("type = \"pass\"", "type = \"none\""), "");
    assert_eq!(problems("\"1111\"", "\"12345678\""), "");
}

#[test]
fn a_vip_is_an_ipv4_address_that_a_host_can_have() {
    let expected = "expected an address, with or without a prefix, such as \"10.0.0.3/24\" or \
                    \"2001:db8::3/64\"";
    let none = "no host can have this address on a link";
    for (vip, why) in [
        ("10.0.0.300", expected),
        ("10.0.0.3/33", expected),
        ("10.0.0.3/0", expected),
        ("10.0.0.3/+4", expected),
        ("10.0.0.3/", expected),
        ("", expected),
        ("10.0.0.0/24", "this is the network's own address"),
        ("10.0.0.255/24", "this is the network's broadcast address"),
        ("127.0.0.1", none),
        ("0.0.0.0", none),
        ("224.0.0.18", none),
        ("255.255.255.255", none),
        ("fe80::3/129", expected),
        ("fe80::3%eth0", expected),
        ("::1", none),
        ("::", none),
        ("::ffff:10.0.0.3", none),
        ("ff02::12", none),
        ("2001:db8::/64", "this is the network's own address"),
    ] {
        assert_eq!(
            problems("\"10.0.0.13\"]", &format!("\"{vip}\"]"))
                .lines()
                .next(),
            Some(format!("f:19:24: virtual_router \"oldboy\": vips: \"{vip}\": {why}").as_str())
        );
    }
    assert_eq!(
        problems("\"10.0.0.3/24\", ", "\"10.0.0.2/31\", \"10.0.0.3/31\", "),
        ""
    );
    assert_eq!(
        problems("[\"10.0.0.4\"]", "[]"),
        "f:32:8: virtual_router \"oldgirl\": vips: expected at least one address"
    );
    assert_eq!(
        problems("\nvips = [\"10.0.0.4\"]", ""),
        "f:27:1: virtual_router \"oldgirl\": vips is missing"
    );
}

#[test]
fn a_check_looks_at_exactly_one_thing() {
    let place = "f:34:1: check \"web\": ";
    let url = "expected a URL with a numeric address such as \"http://127.0.0.1:80/\"";
    let line = "http = \"http://127.0.0.1:8080/health?x\"";
    let mut cases = vec![
        (
            String::new(),
            format!(
                "{place}it looks at nothing: expected one of command, http, tcp, process, file, interface, l7"
            ),
        ),
        (
            format!("{line}\ntcp = \"127.0.0.1:80\""),
            format!("{place}http and tcp: expected one of them"),
        ),
        (
            "user = \"www\"\ntcp = \"127.0.0.1:80\"".to_owned(),
            "f:36:8: check \"web\": user = \"www\": only a command runs as a user".to_owned(),
        ),
        (
            "command = []".to_owned(),
            "f:36:11: check \"web\": command: expected at least one word, the program".to_owned(),
        ),
        (
            "command = [\"check.sh\"]".to_owned(),
            "f:36:12: check \"web\": command: \"check.sh\": expected the program's absolute path"
                .to_owned(),
        ),
        (
            "l7 = false".to_owned(),
            "f:36:6: check \"web\": l7 = false: expected true: leave the check out if it looks at \
             nothing"
                .to_owned(),
        ),
        (
            "tcp = \"127.0.0.1:0\"".to_owned(),
            "f:36:7: check \"web\": tcp = \"127.0.0.1:0\": expected an address and a port such \
             as \"10.0.0.7:8080\" or \"[2001:db8::7]:8080\""
                .to_owned(),
        ),
        (
            "http = \"https://127.0.0.1/\"".to_owned(),
            "f:36:8: check \"web\": http = \"https://127.0.0.1/\": https is not in this version"
                .to_owned(),
        ),
    ];
    for (wrong, expected) in [
        (
            "process = \"sbin/nginx\"",
            "a process's name such as \"nginx\", or its program's absolute path",
        ),
        (
            "process = \" \"",
            "a process's name such as \"nginx\", or its program's absolute path",
        ),
        ("file = \"drain\"", "an absolute path"),
        (
            "interface = \"eth 1\"",
            "the name of a network interface, such as \"eth0\"",
        ),
    ] {
        let column = wrong.find('"').unwrap() + 1;
        let message = format!("f:36:{column}: check \"web\": {wrong}: expected {expected}");
        cases.push((wrong.to_owned(), message));
    }
    for wrong in [
        "http://localhost/",
        "127.0.0.1:80",
        "http://127.0.0.1:0/",
        "http://127.0.0.1/ x",
    ] {
        cases.push((
            format!("http = \"{wrong}\""),
            format!("f:36:8: check \"web\": http = \"{wrong}\": {url}"),
        ));
    }
    for (to, expected) in cases {
        assert_eq!(problems(line, &to), expected, "for {to:?}");
    }
    let counts = "the number in a file counts at once";
    assert_eq!(
        problems(line, "file = \"/run/drain\""),
        format!(
            "f:39:8: check \"web\": rise = 2: {counts}\n\
             f:40:8: check \"web\": fall = 3: {counts}"
        )
    );
    for right in [
        "l7 = true",
        "process = \"nginx\"",
        "process = \"/usr/sbin/nginx\"",
        "interface = \"eth1\"",
    ] {
        assert_eq!(problems(line, right), "");
    }
    assert_eq!(problems(line, "http = \"http://127.0.0.1\""), "");
}

#[test]
fn a_health_check_looks_at_exactly_one_thing() {
    let health = "health = { tcp = true, port = 5353 }";
    let one = "expected one of tcp, http, https, grpc, dns, udp, icmp, command";
    for (to, expected) in [
        ("{ port = 1 }", format!("f:53:10: service \"dns\": health: {one}")),
        ("{ tcp = true, http = \"/\", port = 1 }", format!("f:53:10: service \"dns\": health: {one}")),
        (
            "{ tcp = false, port = 1 }",
            "f:53:18: service \"dns\": health: tcp = false: expected true: leave `health` out if \
             nothing is looked at"
                .to_owned(),
        ),
        (
            "{ tcp = true, expect_status = [200], port = 1 }",
            "f:53:40: service \"dns\": health: expect_status: expected only with http or https"
                .to_owned(),
        ),
        (
            "{ http = \"x\", port = 1 }",
            "f:53:19: service \"dns\": health: http = \"x\": expected a path such as \"/\"".to_owned(),
        ),
        (
            "{ http = \"/\", expect_status = [200, 20], port = 1 }",
            "f:53:46: service \"dns\": health: expect_status: 20: expected a number from 100 to 599"
                .to_owned(),
        ),
        (
            "{ dns = \"a..b\" }",
            "f:53:18: service \"dns\": health: dns = \"a..b\": expected a name such as \
             \"www.example.org\""
                .to_owned(),
        ),
        (
            "{ udp = { send_hex = \"0g\" } }",
            "f:53:31: service \"dns\": health: udp: send_hex = \"0g\": expected pairs of hexadecimal \
             digits such as \"00ff\""
                .to_owned(),
        ),
        (
            "{ https = \"/\", method = \"HEAD\", expect_body = \"x\", port = 1 }",
            "f:53:56: service \"dns\": health: expect_body = \"x\": an answer to HEAD has no body"
                .to_owned(),
        ),
        (
            "{ http = \"/\", headers = { Host = \"x\" }, port = 1 }",
            "f:53:36: service \"dns\": health: headers: Host = \"x\": no header that can be set"
                .to_owned(),
        ),
        (
            "{ grpc = \"\", tls_verify = true, port = 1 }",
            "f:53:36: service \"dns\": health: tls_verify = true: expected only with tls = true"
                .to_owned(),
        ),
        (
            "{ icmp = true, port = 1 }",
            "f:53:32: service \"dns\": health: port = 1: expected only with tcp or http or https or \
             grpc or dns or udp or command"
                .to_owned(),
        ),
    ] {
        assert_eq!(problems(health, &format!("health = {to}")), expected, "for {to}");
    }
    assert_eq!(
        problems(
            health,
            "health = { http = \"/a\", expect_status = [200, 404], port = 1 }"
        ),
        ""
    );
    assert_eq!(problems(health, ""), "");
}

//! nghttp2's client and load generator, and OpenSSL's client.

use std::process::{Command, Stdio};

use super::{NAME, Site, run};

#[test]
#[ignore = "needs nghttp and nginx"]
fn nghttp_gets_a_page_and_its_parts_on_one_connection() {
    let site = Site::start();
    let port = site.tls.port();
    let host = format!("--header=:authority: {NAME}");
    let url = |path: &str| format!("https://{}:{port}{path}", site.tls.ip());

    let [page, script, small] = ["/page.html", "/page.js", "/small"].map(url);
    let text = run("nghttp", 20, &["-nvy", &host, &page, &script, &small]);

    assert_eq!(text.matches(":status: 200").count(), 3, "{text}");
    assert_eq!(
        text.matches("The negotiated protocol: h2").count(),
        1,
        "{text}"
    );
    assert!(!text.contains("RST_STREAM"), "{text}");
}

#[test]
#[ignore = "needs h2load and nginx"]
fn every_request_of_many_streams_is_answered() {
    let site = Site::start();
    let [clear, tls] = [site.proxy.address, site.tls].map(|address| address.to_string());

    for (url, to) in [
        (format!("http://{NAME}/small"), clear),
        (format!("https://{NAME}/small"), tls.clone()),
        (format!("https://{NAME}/big.txt"), tls),
    ] {
        let args = [
            "-n",
            "2000",
            "-c",
            "10",
            "-m",
            "32",
            "--connect-to",
            &to,
            &url,
        ];
        let text = run("h2load", 60, &args);
        assert!(
            text.contains("2000 succeeded, 0 failed, 0 errored"),
            "{url}: {text}"
        );
        assert!(text.contains("status codes: 2000 2xx"), "{url}: {text}");
        assert!(text.contains("Application protocol: h2"), "{url}: {text}");
    }
}

#[test]
#[ignore = "needs openssl and nginx"]
fn openssl_agrees_on_a_version_a_certificate_and_a_protocol() {
    let site = Site::start();
    let (to, ca) = (site.tls.to_string(), site.ca.file().display().to_string());
    let connect = |args: &[&str]| {
        let output = Command::new("timeout")
            .args([
                "10",
                "openssl",
                "s_client",
                "-connect",
                &to,
                "-servername",
                NAME,
            ])
            .args([
                "-CAfile",
                &ca,
                "-verify_return_error",
                "-verify_hostname",
                NAME,
            ])
            .args(args)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.success(), text)
    };

    for (args, version) in [(["-tls1_3"], "TLSv1.3"), (["-tls1_2"], "TLSv1.2")] {
        for (alpn, agreed) in [("h2,http/1.1", "h2"), ("http/1.1", "http/1.1")] {
            let (is_good, text) = connect(&[&args[..], &["-alpn", alpn]].concat());
            assert!(
                is_good && text.contains("Verify return code: 0 (ok)"),
                "{text}"
            );
            assert!(text.contains(&format!("New, {version}")), "{text}");
            assert!(text.contains(&format!("ALPN protocol: {agreed}")), "{text}");
        }
    }
    let (is_good, _) = connect(&["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"]);
    assert!(!is_good, "TLS 1.1 was taken");
}

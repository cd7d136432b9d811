//! A real browser. It is 300 MB, so only `cargo xtask test conformance --browser` runs it.

use std::process::Command;

use super::{NAME, Site};

#[test]
#[ignore = "needs chromium-headless-shell and nginx"]
fn a_browser_shows_a_page_and_runs_its_script() {
    let site = Site::start();
    let folder = tempfile::tempdir().unwrap();
    let rules = format!("--host-resolver-rules=MAP {NAME}:443 {}", site.tls);
    let profile = format!("--user-data-dir={}", folder.path().display());
    let output = Command::new("timeout")
        .args([
            "60",
            "chromium-headless-shell",
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
        ])
        .args([
            "--ignore-certificate-errors",
            "--virtual-time-budget=5000",
            "--dump-dom",
        ])
        .args([&rules, &profile, &format!("https://{NAME}/page.html")])
        .output()
        .unwrap();

    let page = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(page.contains("after https:"), "{page}\n{errors}");
    assert!(site.proxy.status().totals.requests >= 2);
}

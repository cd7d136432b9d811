//! curl, over every version of HTTP that it speaks, in clear and by TLS. What it gets through the
//! proxy is what it gets from the server itself.

use std::{collections::BTreeMap, fs};

use super::{NAME, Site, run};

/// How curl reaches the proxy, and the version that is spoken then.
const WAYS: [(&str, &[&str], &str); 6] = [
    ("http", &["--http1.0"], "1.1"),
    ("http", &["--http1.1"], "1.1"),
    // The upgrade from 1.1 is not taken, as RFC 9113 has given it up.
    ("http", &["--http2"], "1.1"),
    ("http", &["--http2-prior-knowledge"], "2"),
    ("https", &["--http1.1"], "1.1"),
    ("https", &["--http2"], "2"),
];

/// Headers that tell of the content, which nobody between may change.
const HEADERS: [&str; 8] = [
    "content-type",
    "content-length",
    "content-range",
    "content-encoding",
    "accept-ranges",
    "etag",
    "last-modified",
    "location",
];

#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: String,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Site {
    /// What curl gets through the proxy, and the version that it spoke.
    #[track_caller]
    fn curl(&self, scheme: &str, args: &[&str], path: &str) -> (Answer, String) {
        let address = if scheme == "http" {
            self.proxy.address
        } else {
            self.tls
        };
        let to = format!("{NAME}:{}:{address}", default_port(scheme));
        let ca = self.ca.file().display().to_string();
        let fixed = ["--connect-to", &to, "--cacert", &ca];
        self.ask(
            &[&fixed, args].concat(),
            &format!("{scheme}://{NAME}{path}"),
        )
    }

    /// What curl gets from the server itself.
    #[track_caller]
    fn direct(&self, args: &[&str], path: &str) -> Answer {
        let url = format!("http://{}{path}", self.origin.address);
        self.ask(args, &url).0
    }

    #[track_caller]
    fn ask(&self, args: &[&str], url: &str) -> (Answer, String) {
        let [head, body] = ["head", "body"].map(|name| self.files.path().join(name));
        let _ = fs::remove_file(&body);
        let [head_path, body_path] = [&head, &body].map(|path| path.display().to_string());
        let format = "%{http_code} %{http_version}";
        let fixed = ["-sS", "-D", &head_path, "-o", &body_path, "-w", format];
        let printed = run("curl", 20, &[&fixed, args, &[url]].concat());
        let (status, version) = printed.split_once(' ').unwrap();
        let head = fs::read_to_string(head).unwrap();
        // The last: those before it are of interim answers.
        let last = head
            .trim_end()
            .rsplit("\r\n\r\n")
            .next()
            .unwrap_or_default();
        let lines = last.lines().filter_map(|line| line.split_once(": "));
        let headers = lines
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .filter(|(name, _)| HEADERS.contains(&name.as_str()));
        let answer = Answer {
            status: status.to_owned(),
            headers: headers.collect(),
            // With -I it is the head once more.
            body: match args.contains(&"-I") {
                true => Vec::new(),
                false => fs::read(body).unwrap_or_default(),
            },
        };
        (answer, version.to_owned())
    }
}

fn default_port(scheme: &str) -> u16 {
    if scheme == "http" { 80 } else { 443 }
}

#[test]
#[ignore = "needs curl and nginx"]
fn curl_gets_what_the_server_gives() {
    let site = Site::start();
    let requests: [(&str, &[&str]); 12] = [
        ("/small", &[]),
        ("/small", &["-I"]),
        ("/big.txt", &[]),
        ("/big.txt", &["-I"]),
        ("/big.txt", &["-r", "0-99"]),
        ("/big.txt", &["-r", "-7"]),
        ("/big.txt", &["-r", "100000-"]),
        ("/big.txt", &["-r", "0-1,5-9"]),
        ("/big.txt", &["-r", "99999999-"]),
        ("/small", &["-z", "1 Jan 2100"]),
        ("/moved", &[]),
        ("/nothing", &[]),
    ];

    let mut differences = Vec::new();
    for (scheme, way, version) in WAYS {
        for (path, args) in requests {
            let expected = site.direct(args, path);
            let (answer, spoken) = site.curl(scheme, &[way, args].concat(), path);
            // The boundary of several ranges is another each time.
            let is_same = if args.contains(&"0-1,5-9") {
                answer.status == expected.status && answer.body.len() == expected.body.len()
            } else {
                answer == expected
            };
            if !is_same || spoken != version {
                let short = |answer: &Answer| {
                    let Answer {
                        status,
                        headers,
                        body,
                    } = answer;
                    format!("{status} {headers:?} {} bytes", body.len())
                };
                differences.push(format!(
                    "{scheme} {way:?} {path} {args:?}\n  direct {}\n  proxy  {} by {spoken}",
                    short(&expected),
                    short(&answer)
                ));
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
#[ignore = "needs curl and nginx"]
fn curl_unpacks_what_the_server_has_packed() {
    let site = Site::start();
    let plain = site.direct(&[], "/big.txt");

    for (scheme, way, _) in WAYS {
        let (answer, _) = site.curl(scheme, &[way, &["--compressed"]].concat(), "/big.txt");
        assert_eq!(
            answer.headers["content-encoding"], "gzip",
            "{scheme} {way:?}"
        );
        assert!(answer.body == plain.body, "{scheme} {way:?}");
    }
}

#[test]
#[ignore = "needs curl and nginx"]
fn curl_uploads_arrive_whole() {
    let site = Site::start();
    let file = site.files.path().join("big.txt").display().to_string();
    let content = fs::read(&file).unwrap();
    let data = format!("@{file}");
    let uploads: [&[&str]; 6] = [
        &["-T", &file],
        &["-T", &file, "-H", "Transfer-Encoding: chunked"],
        &["-T", &file, "-H", "Expect: 100-continue"],
        &["--data-binary", &data],
        &["--data-binary", &data, "-H", "Expect:"],
        &[
            "-X",
            "PATCH",
            "--data-binary",
            &data,
            "-H",
            "Transfer-Encoding: chunked",
        ],
    ];

    for (scheme, way, version) in WAYS {
        for upload in uploads {
            let is_chunked = upload.contains(&"Transfer-Encoding: chunked");
            // There are no chunks in HTTP/1.0, and curl does not send them in HTTP/2.
            if is_chunked && (way.contains(&"--http1.0") || version == "2") {
                continue;
            }
            let (answer, spoken) = site.curl(scheme, &[way, upload].concat(), "/echo");
            assert_eq!(answer.status, "200", "{scheme} {way:?} {upload:?}");
            assert_eq!(spoken, version, "{scheme} {way:?} {upload:?}");
            assert!(answer.body == content, "{scheme} {way:?} {upload:?}");
        }
    }
}

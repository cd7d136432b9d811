//! Whole files: what they come to, and what is said of them. `HAFW_UPDATE=1 cargo test` writes the
//! results anew, to be read before they are committed.

use std::{
    env, fs,
    net::IpAddr,
    path::{Path, PathBuf},
};

use hafw_import::{Files, Imported, Inputs, Mistakes, Surroundings, import};

struct Data;

impl Files for Data {
    fn read(&self, path: &Path) -> Result<String, String> {
        fs::read_to_string(data().join(path)).map_err(|error| error.to_string())
    }

    fn matching(&self, pattern: &Path) -> Result<Vec<PathBuf>, String> {
        let text = pattern.to_str().expect("UTF-8");
        let Some((folder, end)) = text.split_once('*') else {
            let exists = data().join(pattern).exists();
            return Ok(exists.then(|| pattern.to_path_buf()).into_iter().collect());
        };
        let mut found: Vec<_> = fs::read_dir(data().join(folder))
            .expect("the folder is there")
            .flatten()
            .map(|entry| Path::new(folder).join(entry.file_name()))
            .filter(|path| path.to_string_lossy().ends_with(end))
            .collect();
        found.sort();
        Ok(found)
    }

    fn canonical(&self, path: &Path) -> PathBuf {
        path.to_path_buf()
    }

    fn program(&self, name: &str) -> Option<PathBuf> {
        (name == "pidof").then(|| PathBuf::from("/bin/pidof"))
    }
}

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

/// What an input comes to. `addresses` are the VIPs.
fn imported(input: &str) -> Result<Imported, Mistakes> {
    let surroundings = Surroundings {
        host_name: "lb01.example".to_owned(),
        config_id: "lb01".to_owned(),
    };
    let vips = ["10.0.0.3", "10.0.0.4"].map(|vip| vip.parse::<IpAddr>().expect("an address"));
    let path = Some(Path::new(input));
    let inputs = if input.starts_with("nginx") {
        Inputs {
            nginx: path,
            addresses: &vips,
            ..Inputs::default()
        }
    } else {
        Inputs {
            keepalived: path,
            ..Inputs::default()
        }
    };
    import(inputs, &Data, &surroundings, &|_| Vec::new())
}

/// Compares what an input comes to with its `.toml`, and what is said of it with its `.remarks`.
fn golden(input: &str) {
    let imported = imported(input).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let remarks: Vec<_> = imported
        .remarks
        .iter()
        .map(|remark| format!("{remark}\n"))
        .collect();

    let path = data().join(input);
    same(&path.with_extension("toml"), &imported.text);
    same(&path.with_extension("remarks"), &remarks.concat());
}

fn same(path: &Path, text: &str) {
    if env::var_os("HAFW_UPDATE").is_some() {
        fs::write(path, text).expect("the data can be written");
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    assert_eq!(text, expected, "{}", path.display());
}

#[test]
fn the_lessons_pair() {
    golden("keepalived/lesson-lb01.conf");
    golden("keepalived/lesson-lb02.conf");
}

#[test]
fn the_lessons_pair_with_two_masters() {
    golden("keepalived/dual-lb01.conf");
    golden("keepalived/dual-lb02.conf");
}

#[test]
fn the_vrrp_side_of_keepalived() {
    golden("keepalived/elect.conf");
    golden("keepalived/vrrp.conf");
}

#[test]
fn the_lvs_side_of_keepalived() {
    golden("keepalived/lvs.conf");
}

fn mistakes(input: &str) -> String {
    imported(input).map_or_else(|mistakes| mistakes.to_string(), |imported| imported.text)
}

#[test]
fn mistakes_say_where_they_are_and_what_was_expected() {
    assert_eq!(
        mistakes("keepalived/wrong.conf"),
        "keepalived/wrong.conf:1:1: include nowhere.conf: no such file"
    );
    for input in [
        "keepalived/wrong-values.conf",
        "nginx/wrong.conf",
        "nginx/unended.conf",
    ] {
        let path = data().join(input).with_extension("mistakes");
        same(&path, &mistakes(input));
    }
}

#[test]
fn the_lessons_load_balancers() {
    golden("nginx/lesson-uri.conf");
    golden("nginx/lesson-agent.conf");
    golden("nginx/lesson-vips.conf");
}

#[test]
fn the_rest_of_nginx() {
    golden("nginx/answers.conf");
    golden("nginx/full.conf");
}

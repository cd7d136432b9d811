//! `hafw import --keepalived`: hafw's routers are those that a real keepalived makes of the same
//! file, by what it says of itself at its start.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use hafw_lab::{Daemon, Lab, Station, peers::Hafw, wait_until};

const PATIENCE: Duration = Duration::from_secs(10);

/// A router, by what decides elections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Router {
    version: i64,
    vrid: i64,
    priority: i64,
    interval_ms: i64,
    down_timer_adverts: i64,
    preempt: bool,
    preempt_delay_ms: i64,
    accept: bool,
    password: Option<String>,
    group: Option<String>,
    /// Without the prefix of a single address.
    vips: Vec<String>,
    /// Checks with their weights; the group's too.
    tracked: Vec<(String, i64)>,
}

#[test]
#[ignore = "requires root"]
fn routers_are_those_that_keepalived_makes_of_the_same_file() {
    let lab = Lab::new("import-ka").unwrap();
    let host = &lab[Station::Lb01];
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../hafw-import/tests/data/keepalived");

    for name in ["elect.conf", "dual-lb01.conf", "dual-lb02.conf"] {
        let file = data.join(name).display().to_string();
        let log = host.files().join(format!("{name}.log"));
        let pid = |name: &str| host.state().join(name).display().to_string();
        let pids = [
            ("--pid", pid("keepalived.pid")),
            ("--vrrp_pid", pid("vrrp.pid")),
        ];
        let args = ["-n", "-l", "-D", "-d", "-P", "-i", "lb01", "-f", &file].map(str::to_owned);
        let pids = pids
            .into_iter()
            .flat_map(|(option, path)| [option.to_owned(), path]);
        let args = args.into_iter().chain(pids);
        let mut keepalived = Daemon::new(
            "keepalived",
            host.namespace(),
            "keepalived",
            args,
            log.clone(),
        );
        keepalived.start().unwrap();
        let said = wait_until(PATIENCE, "keepalived to say what it has", || {
            let text = fs::read_to_string(&log).unwrap_or_default();
            if text.contains("------< Interfaces >------") {
                Ok(text)
            } else {
                Err(text)
            }
        })
        .unwrap();
        keepalived.stop(PATIENCE).unwrap();

        let args = ["import", "--keepalived", &file, "-i", "lb01"];
        let imported = host.output(Hafw::built().unwrap(), &args).unwrap();

        assert_eq!(of_hafw(&imported), of_keepalived(&said), "{name}");
    }
}

/// The routers of a hafw.toml, by name.
fn of_hafw(text: &str) -> BTreeMap<String, Router> {
    let table: toml::Table = text.parse().unwrap();
    let routers = table["virtual_router"].as_array().unwrap().iter();
    let routers = routers.map(|router| {
        let number = |key: &str, default| {
            router
                .get(key)
                .map_or(default, |value| value.as_integer().unwrap())
        };
        let text = |key: &str| Some(router.get(key)?.as_str().unwrap().to_owned());
        let on = |key: &str| router.get(key).is_none_or(|value| value.as_bool().unwrap());
        let list = |key: &str| router.get(key).and_then(toml::Value::as_array).cloned();
        let vips = list("vips").unwrap_or_default();
        let vips = vips.iter().map(|vip| bare(vip.as_str().unwrap()));
        let tracked = list("track").unwrap_or_default();
        let tracked = tracked.iter().map(|entry| {
            let name = entry["check"].as_str().unwrap().to_owned();
            (name, entry["weight"].as_integer().unwrap())
        });
        let password = router.get("authentication").map(|auth| &auth["password"]);
        let found = Router {
            version: number("version", 3),
            vrid: number("vrid", 0),
            priority: number("priority", 100),
            interval_ms: milliseconds(&text("advertisement_interval").unwrap()),
            down_timer_adverts: number("down_timer_adverts", 3),
            preempt: on("preempt"),
            preempt_delay_ms: text("preempt_delay").map_or(0, |delay| milliseconds(&delay)),
            accept: on("accept"),
            password: password.map(|password| password.as_str().unwrap().to_owned()),
            group: text("sync_group"),
            vips: sorted(vips.collect()),
            tracked: sorted(tracked.collect()),
        };
        (text("name").unwrap(), found)
    });
    routers.collect()
}

fn milliseconds(duration: &str) -> i64 {
    match duration.strip_suffix("ms") {
        Some(ms) => ms.parse().unwrap(),
        None => duration.strip_suffix('s').unwrap().parse::<i64>().unwrap() * 1000,
    }
}

/// The instances in what keepalived says of itself, by name.
fn of_keepalived(log: &str) -> BTreeMap<String, Router> {
    let mut routers: BTreeMap<String, Router> = BTreeMap::new();
    let mut groups: BTreeMap<String, Vec<(String, i64)>> = BTreeMap::new();
    let (mut instance, mut group, mut list) = (None, None, String::new());
    // Each line has the time before it.
    let lines = log
        .lines()
        .filter_map(|line| Some(line.split_once(": ")?.1));
    for line in lines {
        let depth = line.len() - line.trim_start().len();
        let (key, value) = line.trim().split_once(" = ").unwrap_or((line.trim(), ""));
        match (key, depth) {
            ("VRRP Instance", _) => {
                instance = Some(value.to_owned());
                routers.insert(value.to_owned(), Router::default());
            }
            ("VRRP Sync Group", _) => {
                (instance, group) = (None, value.split(',').next().map(str::to_owned));
            }
            (key, _) if key.starts_with("------<") || key.starts_with("VRRP Script") => {
                (instance, group) = (None, None);
            }
            _ => {}
        }
        if depth < 5 {
            list = key
                .split([':', '('])
                .next()
                .unwrap_or_default()
                .trim()
                .to_owned();
        } else if list == "Tracked scripts" {
            let (name, weight) = key.split_once(" weight ").unwrap();
            let entry = (name.to_owned(), weight.parse().unwrap());
            if let Some(instance) = &instance {
                routers.get_mut(instance).unwrap().tracked.push(entry);
            } else if let Some(group) = &group {
                groups.entry(group.clone()).or_default().push(entry);
            }
        } else if let ("Virtual IP", Some(instance)) = (list.as_str(), &instance) {
            let vip = bare(key.split(' ').next().unwrap_or_default());
            routers.get_mut(instance).unwrap().vips.push(vip);
        }
        let Some(router) = instance.as_ref().and_then(|name| routers.get_mut(name)) else {
            continue;
        };
        let number = || {
            value
                .split(' ')
                .next()
                .unwrap_or_default()
                .parse::<f64>()
                .unwrap()
        };
        let whole = || format!("{:.0}", number()).parse::<i64>().unwrap();
        match key {
            "VRRP Version" => router.version = whole(),
            "Virtual Router ID" => router.vrid = whole(),
            "Priority" => router.priority = whole(),
            "Advert interval" if value.ends_with("milli-sec") => router.interval_ms = whole(),
            "Advert interval" => router.interval_ms = whole() * 1000,
            "Down timer adverts" => router.down_timer_adverts = whole(),
            "Preempt" => router.preempt = value == "enabled",
            "Preempt delay" => {
                router.preempt_delay_ms = format!("{:.0}", number() * 1000.0).parse().unwrap();
            }
            "Accept" => router.accept = value == "enabled",
            "Password" => router.password = Some(value.to_owned()),
            "Sync group" => router.group = Some(value.to_owned()),
            _ => {}
        }
    }
    for router in routers.values_mut() {
        let of_group = router.group.as_ref().and_then(|group| groups.get(group));
        router
            .tracked
            .extend(of_group.into_iter().flatten().cloned());
        router.tracked.sort();
        router.vips.sort();
    }
    routers
}

fn bare(vip: &str) -> String {
    vip.strip_suffix("/32").unwrap_or(vip).to_owned()
}

fn sorted<T: Ord>(mut list: Vec<T>) -> Vec<T> {
    list.sort();
    list
}

//! Right files and what they mean.

use std::{path::Path, time::Duration};

use hafw_vrrp::{ChecksumForm, Version};

use super::{super::*, FULL, LEAST, machine};
use crate::datapath::XdpMode;

#[test]
fn a_missing_key_means_its_default() {
    let config = parse("f", LEAST).unwrap();

    let Node {
        id,
        state_dir,
        pin_dir,
        stop_timeout,
        realtime,
    } = &config.node;
    assert_eq!(id, "lb01");
    assert_eq!(state_dir, Path::new("/run/hafw"));
    assert_eq!(pin_dir, Path::new("/sys/fs/bpf/hafw"));
    assert_eq!(*stop_timeout, Duration::from_secs(10));
    assert_eq!((realtime.priority, realtime.lock_memory), (Some(1), true));
    let [interface] = config.interfaces.as_slice() else {
        panic!("one interface")
    };
    assert_eq!(
        (interface.name.as_str(), interface.xdp_mode),
        ("eth0", XdpMode::Native)
    );
    let router = &config.routers[0];
    assert_eq!(router.version, Version::V3);
    assert_eq!(router.priority.get(), 100);
    assert_eq!(router.interval.as_duration(), Duration::from_millis(100));
    assert_eq!(router.auth, Auth::None);
    assert_eq!(router.checksum, ChecksumForm::PseudoHeader);
    assert_eq!(router.down_timer_adverts, 3);
    assert_eq!((router.preempt, router.accept), (true, true));
    assert_eq!(
        (router.preempt_delay, router.start_delay),
        (Duration::ZERO, Duration::ZERO)
    );
    assert!(router.sync_group.is_none());
    assert_eq!(router.grace, Duration::from_secs(60));
    assert!(config.proxy.is_none() && config.services.is_empty() && config.warnings.is_empty());
}

#[test]
fn real_time_can_be_turned_off_or_up() {
    let realtime = |keys: &str| {
        let text = LEAST.replace("id = \"lb01\"", &format!("id = \"lb01\"\n{keys}"));
        parse("f", &text).unwrap().node.realtime
    };
    let off = realtime("realtime_priority = 0\nlock_memory = false");
    assert_eq!((off.priority, off.lock_memory), (None, false));
    assert_eq!(realtime("realtime_priority = 50").priority, Some(50));
}

#[test]
fn version_2_has_an_interval_of_a_second_by_default() {
    let text = LEAST.replace("vrid = 51", "vrid = 51\nversion = 2");
    let config = parse("f", &text).unwrap();
    assert_eq!(
        config.routers[0].interval.as_duration(),
        Duration::from_secs(1)
    );
}

#[test]
fn what_is_written_is_what_is_meant() {
    let config = parse("f", FULL).unwrap();

    let names: Vec<_> = config
        .interfaces
        .iter()
        .map(|i| (i.name.as_str(), i.xdp_mode))
        .collect();
    assert_eq!(
        names,
        [("eth0", XdpMode::Generic), ("eth1", XdpMode::Native)]
    );
    let [oldboy, oldgirl] = config.routers.as_slice() else {
        panic!("two routers")
    };
    assert_eq!(
        (oldboy.vrid.get(), oldboy.version, oldboy.priority.get()),
        (51, Version::V2, 150)
    );
    assert_eq!(oldboy.interval.seconds(), Some(2));
    assert_eq!(oldboy.auth, Auth::Pass(*b"1111\0\0\0\0"));
    let vips: Vec<_> = oldboy.vips.iter().map(|vip| vip.value).collect();
    let vip = |last, prefix| Vip {
        address: [10, 0, 0, last].into(),
        prefix,
    };
    assert_eq!(vips, [vip(3, 24), vip(13, 32)]);
    assert_eq!(oldboy.checksum, ChecksumForm::Message);
    assert_eq!(oldboy.down_timer_adverts, 4);
    assert_eq!((oldboy.preempt, oldboy.accept), (false, false));
    assert_eq!(oldboy.grace, Duration::from_secs(5));
    let track: Vec<_> = oldboy
        .track
        .iter()
        .map(|t| (t.check.as_str(), t.weight))
        .collect();
    assert_eq!(track, [("web", -60), ("script", 0)]);
    assert_eq!(oldgirl.interval.as_duration(), Duration::from_millis(10));

    let [web, script] = config.checks.as_slice() else {
        panic!("two checks")
    };
    assert_eq!(
        web.kind,
        CheckKind::Http {
            address: "127.0.0.1:8080".parse().unwrap(),
            host: "127.0.0.1:8080".to_owned(),
            path: "/health?x".to_owned()
        }
    );
    assert_eq!(
        (web.interval, web.timeout),
        (Duration::from_secs(2), Duration::from_millis(500))
    );
    assert_eq!((web.rise, web.fall), (2, 3));
    let command = vec!["/bin/check".to_owned(), "-v".to_owned()];
    assert_eq!(
        script.kind,
        CheckKind::Command {
            command,
            user: "nobody".to_owned()
        }
    );
    assert_eq!(
        (script.interval, script.timeout),
        (Duration::from_secs(1), Duration::from_secs(1))
    );
    assert_eq!((script.rise, script.fall), (1, 1));

    let [dns] = config.services.as_slice() else {
        panic!("one service")
    };
    assert_eq!((*dns.vip, dns.port), ([10, 0, 0, 13].into(), 53));
    assert_eq!((dns.protocol, dns.slots), (Protocol::Udp, 4099));
    let health = dns.health.as_ref().unwrap();
    assert_eq!((&health.kind, health.port), (&HealthKind::Tcp, Some(5353)));
    assert_eq!(dns.backends[0].address.to_string(), "10.0.0.7:53");
    assert_eq!(dns.backends[0].weight, 3);
    assert_eq!(config.proxy.unwrap().servers.len(), 1);
    assert_eq!(config.listeners[0].to_string(), "10.0.0.3:80");
}

#[test]
fn the_lessons_files_are_good() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/lesson");
    for (name, priorities) in [("lb01", [150, 100]), ("lb02", [100, 150])] {
        let config = load(&folder.join(name).with_extension("toml")).unwrap();
        assert_eq!(config.node.id, name);
        assert_eq!(config.warnings, []);
        let found: Vec<_> = config
            .routers
            .iter()
            .map(|router| router.priority.get())
            .collect();
        assert_eq!(found, priorities);
        assert_eq!(config.listeners.len(), 2);
        assert_eq!(config.services[0].backends.len(), 3);
        against_system(&config, &machine::node(5)).unwrap();
    }
}

#[test]
fn the_state_dir_is_found_whatever_else_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hafw.toml");
    let found = |text: &str| {
        std::fs::write(&file, text).unwrap();
        state_dir(&file).map(|dir| dir.display().to_string())
    };
    assert_eq!(
        found("[node]\nstate_dir = \"/x\"\nnod = 1\n[[service]]\n").unwrap(),
        "/x"
    );
    assert_eq!(found("[node]\n").unwrap(), "/run/hafw");
    assert_eq!(found("").unwrap(), "/run/hafw");
    for wrong in [
        "node = 1",
        "[node]\nstate_dir = 1\n",
        "[node",
        "include = [\"none\"]",
    ] {
        assert!(found(wrong).is_err(), "{wrong}");
    }
}

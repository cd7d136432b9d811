//! What weights come to, and what is said of two nodes.

use super::*;

/// A node with the lesson's `oldboy` and lines of the test's own.
fn node(id: &str, router: &str) -> Config {
    let text = format!(
        "[node]\nid = \"{id}\"\n\
         [[virtual_router]]\nname = \"oldboy\"\ninterface = \"eth0\"\nvrid = 51\nversion = 2\n\
         vips = [\"10.0.0.3/24\"]\n{router}\n\
         [[check]]\nname = \"web\"\ntcp = \"127.0.0.1:80\"\n\
         [[check]]\nname = \"dns\"\ntcp = \"127.0.0.1:53\"\n"
    );
    config::parse(id, &text).unwrap()
}

fn said(lb01: &str, lb02: &str) -> Vec<String> {
    verdicts(&node("lb01", lb01), &node("lb02", lb02))
}

/// Priorities with all up, with each check down, and with all down.
#[track_caller]
fn comes_to(router: &str, up: u8, down: &[Option<u8>], all_down: Option<u8>) {
    let config = node("lb01", router);
    let effect = effect(&config.routers[0], &config.checks);
    let found: Vec<_> = effect.checks.iter().map(|check| check.down).collect();
    assert_eq!(
        (effect.up, found.as_slice(), effect.all_down),
        (up, down, all_down),
        "{router}"
    );
}

#[test]
fn weights_mean_what_keepalived_means_by_them() {
    comes_to("priority = 150", 150, &[], Some(150));
    let one =
        |weight: i32| format!("priority = 150\ntrack = [{{ check = \"web\", weight = {weight} }}]");
    comes_to(&one(2), 152, &[Some(150)], Some(150));
    comes_to(&one(-60), 150, &[Some(90)], Some(90));
    comes_to(&one(0), 150, &[None], None);
    comes_to(&one(-253), 150, &[Some(1)], Some(1));
    comes_to(&one(253), 254, &[Some(150)], Some(150));
    comes_to(
        "priority = 100\ntrack = [{ check = \"web\", weight = 20 }, { check = \"dns\", weight = -30 }]",
        120,
        &[Some(100), Some(90)],
        Some(70),
    );
    comes_to(
        "priority = 100\ntrack = [{ check = \"web\" }, { check = \"dns\", weight = -30 }]",
        100,
        &[None, Some(70)],
        None,
    );
}

#[test]
fn no_weight_changes_the_priority_of_an_owner() {
    comes_to(
        "priority = 255\ntrack = [{ check = \"web\", weight = -60 }]",
        255,
        &[Some(255)],
        Some(255),
    );
}

#[test]
fn the_lessons_weight_of_2_can_never_move_the_vip() {
    let track = "track = [{ check = \"web\", weight = 2 }]";
    assert_eq!(
        said(
            &format!("priority = 150\n{track}"),
            &format!("priority = 100\n{track}")
        ),
        [
            "VRID 51 (oldboy), all checks up: lb01 (152) wins over lb02 (102)",
            "  warning: check \"web\" (weight 2) down on lb01: 150 is not less than lb02's 102: this \
             weight can never move the VIPs; set weight = 0 (fault) or -49 or less",
        ]
    );
}

#[test]
fn the_weight_that_is_proposed_is_the_highest_that_moves_the_vip() {
    for (priority, others) in [(150, ""), (120, ", { check = \"dns\", weight = 10 }")] {
        let router = |weight: i32| {
            format!(
                "priority = {priority}\ntrack = [{{ check = \"web\", weight = {weight} }}{others}]"
            )
        };
        let config = node("lb01", &router(2));
        let least = effect(&config.routers[0], &config.checks).checks[0]
            .weight_to_lose(100)
            .unwrap();
        for (weight, moves) in [(least, true), (least + 1, false)] {
            let lines = said(&router(weight), "priority = 100");
            let web = lines.iter().find(|line| line.contains("\"web\"")).unwrap();
            assert_eq!(web.ends_with("the VIPs move to lb02"), moves, "{web}");
        }
    }
}

#[test]
fn where_no_weight_is_low_enough_only_fault_is_proposed() {
    let config = node(
        "lb01",
        "priority = 254\ntrack = [{ check = \"web\", weight = -1 }]",
    );
    let check = &effect(&config.routers[0], &config.checks).checks[0];
    assert_eq!(check.weight_to_lose(2), Some(-253));
    assert_eq!(check.weight_to_lose(1), None, "the clamp leaves at least 1");
    let config = node(
        "lb01",
        "priority = 254\n\
         track = [{ check = \"web\", weight = -1 }, { check = \"dns\", weight = 9 }]",
    );
    assert_eq!(
        effect(&config.routers[0], &config.checks).checks[0].weight_to_lose(2),
        None
    );
}

#[test]
fn a_fault_and_a_low_enough_weight_move_the_vips_and_a_tie_does_not() {
    let down = |weight: i32| {
        let track = format!("priority = 150\ntrack = [{{ check = \"web\", weight = {weight} }}]");
        said(&track, "priority = 100").pop().unwrap()
    };
    let check = |weight: i32| format!("check \"web\" (weight {weight}) down on lb01: ");
    assert_eq!(
        down(0),
        format!("  {}fault: the VIPs move to lb02", check(0))
    );
    assert_eq!(
        down(-51),
        format!("  {}99 < 100: the VIPs move to lb02", check(-51))
    );
    assert_eq!(
        down(-50),
        format!(
            "  warning: {}100 is not less than lb02's 100: this weight can never move the VIPs; set \
             weight = 0 (fault) or -51 or less",
            check(-50)
        )
    );
}

#[test]
fn a_backup_that_does_not_preempt_is_moved_by_faults_only() {
    let track = |weight: i32| {
        format!(
            "priority = 150\npreempt = false\ntrack = [{{ check = \"web\", weight = {weight} }}]"
        )
    };
    let backup = "priority = 100\npreempt = false";
    let stay = "  lb01 has preempt = false: VIPs that moved stay on lb02";
    assert_eq!(
        said(&track(-60), backup)[1..],
        [
            "  warning: check \"web\" (weight -60) down on lb01: 90 is less than lb02's 100, but that \
             has preempt = false: no weight moves the VIPs; set weight = 0 (fault)",
            stay,
        ]
    );
    assert_eq!(
        said(&track(0), backup)[1..],
        [
            "  check \"web\" (weight 0) down on lb01: fault: the VIPs move to lb02",
            stay
        ]
    );
}

#[test]
fn the_same_is_said_from_either_side() {
    let (high, low) = (
        "priority = 150\ntrack = [{ check = \"web\", weight = 2 }]",
        "priority = 100",
    );
    let (ours, theirs) = (
        said(high, low),
        verdicts(&node("lb02", low), &node("lb01", high)),
    );
    assert_eq!(ours, theirs);
    assert_eq!(
        said(low, low),
        ["VRID 51 (oldboy), all checks up: both nodes have 100: the higher address wins"]
    );
}

#[test]
fn nodes_that_would_not_hear_each_other_are_warned_of() {
    let pass = |password: &str| {
        format!("authentication = {{ type = \"pass\", password = \"{password}\" }}")
    };
    for (ours, theirs, warning) in [
        (pass("1111"), pass("2222"), "the authentications differ"),
        (pass("1111"), String::new(), "the authentications differ"),
        (
            "advertisement_interval = \"1s\"".into(),
            "advertisement_interval = \"2s\"".into(),
            "the advertisement_intervals differ",
        ),
    ] {
        let lines = said(&ours, &theirs);
        assert!(
            lines[1].starts_with(&format!("  warning: {warning}")),
            "{lines:?}"
        );
        assert!(!lines.join("").contains("1111"));
        assert_eq!(said(&ours, &ours).len(), 1);
    }
    let mut v3 = node("lb02", "");
    v3.routers[0].version = hafw_vrrp::Version::V3;
    let lines = verdicts(&node("lb01", ""), &v3);
    assert!(
        lines[1].starts_with("  warning: the versions differ"),
        "{lines:?}"
    );
    let mut other = node("lb02", "");
    other.routers[0].vips[0].value.address = [10, 0, 0, 9].into();
    let lines = verdicts(&node("lb01", ""), &other);
    assert!(
        lines[1].starts_with("  warning: the VIPs differ"),
        "{lines:?}"
    );
}

#[test]
fn a_router_that_only_one_node_has_is_warned_of_and_so_is_a_shared_id() {
    let ours = node("lb01", "");
    let mut theirs = node("lb01", "");
    theirs.routers[0].vrid.value = hafw_vrrp::Vrid::new(52).unwrap();
    assert_eq!(
        verdicts(&ours, &theirs),
        [
            "warning: both nodes have the id \"lb01\": they cannot be told apart",
            "warning: VRID 51: only lb01 has it (virtual_router \"oldboy\"): nobody takes over",
            "warning: VRID 52: only lb01 has it (virtual_router \"oldboy\"): nobody takes over",
        ]
    );
}

#[test]
fn the_lessons_nodes_back_each_other() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/lesson");
    let load = |name| config::load(&folder.join(name)).unwrap();
    assert_eq!(
        verdicts(&load("lb01.toml"), &load("lb02.toml")),
        [
            "VRID 51 (oldboy), all checks up: lb01 (150) wins over lb02 (100)",
            "  check \"check_web\" (weight 0) down on lb01: fault: the VIPs move to lb02",
            "VRID 52 (oldgirl), all checks up: lb02 (150) wins over lb01 (100)",
            "  check \"check_web\" (weight 0) down on lb02: fault: the VIPs move to lb01",
        ]
    );
}

#[test]
fn the_number_that_moves_the_vips_is_named() {
    let lb01 = |weight: i32| {
        let text = "[node]\nid = \"lb01\"\n\
             [[virtual_router]]\nname = \"oldboy\"\ninterface = \"eth0\"\nvrid = 51\nversion = 2\n\
             vips = [\"10.0.0.3/24\"]\npriority = 150\n\
             track = [{ check = \"drain\", weight = WEIGHT }]\n\
             [[check]]\nname = \"drain\"\nfile = \"/run/drain\"\n";
        config::parse("lb01", &text.replace("WEIGHT", &weight.to_string())).unwrap()
    };
    let last = |weight: i32, other: u8| {
        let lb02 = node("lb02", &format!("priority = {other}"));
        verdicts(&lb01(weight), &lb02).pop().unwrap()
    };
    let file = |weight: i32| format!("  check \"drain\" (weight {weight}) ");
    let moves = "moves the VIPs to lb02";
    assert_eq!(
        last(-10, 100),
        format!("{}on lb01: a number of 6 or more {moves}", file(-10))
    );
    assert_eq!(
        last(10, 100),
        format!("{}on lb01: a number of -6 or less {moves}", file(10))
    );
    assert_eq!(
        last(-51, 100),
        format!("{}on lb01: a number of 1 or more {moves}", file(-51))
    );
    assert_eq!(
        last(-1, 1),
        format!("{}on lb01: a number of 254 or more {moves}", file(-1)),
        "1 is the lowest priority: only fault is left"
    );
    assert_eq!(
        last(0, 100),
        format!("{}says 1 on lb01: fault: the VIPs move to lb02", file(0))
    );
}

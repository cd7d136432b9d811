//! `vrrp_instance` and `vrrp_sync_group`: `[[virtual_router]]`.

use std::net::IpAddr;

use super::{
    Notes, blocks,
    global::{Globals, version},
    keywords, name, notify, on, seconds, timer,
    tracking::{Entry, Kind, Tracking},
};
use crate::{
    draft::{Section, quoted},
    place::{Mistake, Place, one_line},
    statement::Statement,
};

/// A router's section, and what it tracks.
pub(super) struct Router {
    pub(super) section: Section,
    pub(super) tracked: Vec<Entry>,
    pub(super) vips: Vec<IpAddr>,
}

/// All instances.
pub(super) fn routers(
    statements: &[Statement],
    globals: &Globals,
    tracking: &Tracking,
    notes: &mut Notes,
) -> Vec<Router> {
    let groups: Vec<_> = blocks(statements, "vrrp_sync_group")
        .filter_map(|block| group(block, tracking, notes))
        .collect();
    let mut routers = Vec::new();
    let mut names: Vec<String> = Vec::new();
    for block in blocks(statements, "vrrp_instance") {
        let Some(name) = name(block, notes) else {
            continue;
        };
        if names.contains(&name) {
            let message = format!("vrrp_instance {name}: expected a name that no other has");
            notes.mistakes.push(Mistake::at(block.place(), message));
            continue;
        }
        let group = groups
            .iter()
            .find(|group| group.members.iter().any(|(m, _)| *m == name));
        routers.push(router(block, &name, group, globals, tracking, notes));
        names.push(name);
    }
    for group in &groups {
        for (member, place) in &group.members {
            if !names.contains(member) {
                let message = format!("{member}: expected the name of a vrrp_instance");
                notes.mistakes.push(Mistake::at(place, message));
            }
        }
    }
    routers
}

struct Group {
    name: String,
    place: Place,
    members: Vec<(String, Place)>,
    tracked: Vec<Entry>,
    /// Members keep weights of their own.
    own_weights: bool,
    unmatched: Vec<String>,
}

fn group(block: &Statement, tracking: &Tracking, notes: &mut Notes) -> Option<Group> {
    let mut group = Group {
        name: name(block, notes)?,
        place: block.place().clone(),
        members: Vec::new(),
        tracked: Vec::new(),
        own_weights: false,
        unmatched: Vec::new(),
    };
    for statement in block.inner() {
        match statement.keyword() {
            "group" => {
                let words = statement.inner().iter().flat_map(|line| &line.words);
                let members = words.map(|word| (one_line(&word.text), word.place.clone()));
                group.members.extend(members);
            }
            "track_interface" | "track_script" | "track_process" | "track_file" => {
                group.tracked.extend(tracking.entries(statement, notes));
            }
            "sync_group_tracking_weight" | "global_tracking" => group.own_weights = true,
            keyword if notify::KEYWORDS.contains(&keyword) => {}
            keyword => {
                let why = if notify::PARTIAL.contains(&keyword) {
                    notify::WHY_PARTIAL
                } else {
                    keywords::why_not(keyword)
                };
                notes.unmatched(statement, why);
                let place = statement.place().short();
                group
                    .unmatched
                    .push(format!("{place}: {}: {why}", statement.shown()));
            }
        }
    }
    Some(group)
}

/// What an instance says, before it is put in order.
#[derive(Default)]
struct Given<'a> {
    interface: Option<&'a Statement>,
    vrid: Option<&'a Statement>,
    version: Option<(u8, &'a Statement)>,
    priority: Option<&'a Statement>,
    interval: Option<(f64, &'a Statement)>,
    auth: Option<&'a Statement>,
    vips: Vec<&'a Statement>,
    excluded: Vec<&'a Statement>,
    master: bool,
    nopreempt: Option<&'a Statement>,
    preempt_delay: Option<(f64, &'a Statement)>,
    accept: Option<(bool, &'a Statement)>,
    down_timer_adverts: Option<&'a Statement>,
    virtual_mac: Option<&'a Statement>,
    peers: Option<&'a Statement>,
    strict: bool,
    tracked: Vec<Entry>,
}

fn router(
    block: &Statement,
    name: &str,
    group: Option<&Group>,
    globals: &Globals,
    tracking: &Tracking,
    notes: &mut Notes,
) -> Router {
    let place = block.place();
    let mut section = Section::new("[[virtual_router]]", Some(place), &block.shown());
    section.text("name", name, Some(place));
    let mut later = Vec::new();
    let given = given(block, globals, tracking, &mut later, notes);

    if let Some(statement) = given.interface
        && let Some(word) = notes.take(statement.need("an interface"))
    {
        section
            .text("interface", &word.text, Some(&word.place))
            .essential();
    }
    match given.vrid {
        Some(statement) => {
            if let Some(vrid) = notes.take(statement.number(1..=255)) {
                section
                    .key("vrid", vrid, Some(statement.place()))
                    .essential();
            }
        }
        None => {
            let message = format!("{}: expected a virtual_router_id in it", block.shown());
            notes.mistakes.push(Mistake::at(place, message));
        }
    }
    let vips = vips(&given, notes);
    let ipv6 = vips.first().is_some_and(|vip| vip.address.is_ipv6());
    let version = version_of(&given, ipv6, globals, &mut section, notes);
    priority(&given, &mut section, notes);
    interval(&given, version, &mut section, notes);
    authentication(&given, version, &mut section, notes);
    let addresses = vips.iter().map(|vip| vip.address).collect();
    write_vips(vips, &given, block, &mut section, notes);
    timing(&given, globals, &mut section, notes);
    if let Some(statement) = given.peers {
        peers(statement, &mut section, notes);
    }
    if let Some(group) = group {
        section.text("sync_group", &group.name, Some(&group.place));
        for text in &group.unmatched {
            section.note(text);
        }
    }
    let tracked = tracked(given.tracked, group, notes);
    let items = tracked.iter().map(|entry| {
        let check = quoted(&entry.check);
        let item = format!("{{ check = {check}, weight = {} }}", entry.weight);
        (item, entry.place.clone())
    });
    section.list("track", items.collect());
    for (statement, why) in later {
        notes.unmatched_in(&mut section, statement, why);
    }
    Router {
        section,
        tracked,
        vips: addresses,
    }
}

fn given<'a>(
    block: &'a Statement,
    globals: &Globals,
    tracking: &Tracking,
    later: &mut Vec<(&'a Statement, &'static str)>,
    notes: &mut Notes,
) -> Given<'a> {
    let mut given = Given {
        strict: globals.strict,
        ..Given::default()
    };
    for statement in block.inner() {
        match statement.keyword() {
            "state" => match notes.take(statement.need("MASTER or BACKUP")) {
                Some(word) if word.text == "MASTER" => given.master = true,
                Some(word) if word.text == "BACKUP" => given.master = false,
                Some(word) => notes
                    .mistakes
                    .push(statement.wrong(word, "MASTER or BACKUP")),
                None => {}
            },
            "interface" => given.interface = Some(statement),
            "virtual_router_id" => given.vrid = Some(statement),
            "version" => {
                let version = notes.take(statement.parsed("2 or 3", version));
                given.version = version.map(|version| (version, statement));
            }
            "priority" => given.priority = Some(statement),
            "advert_int" => {
                let seconds = notes.take(timer(statement, 0.01, 255.0));
                given.interval = seconds.map(|seconds| (seconds, statement));
            }
            "authentication" => given.auth = Some(statement),
            "virtual_ipaddress" => given.vips.extend(statement.inner()),
            "virtual_ipaddress_excluded" => given.excluded.extend(statement.inner()),
            "nopreempt" => given.nopreempt = Some(statement),
            "preempt" => given.nopreempt = None,
            "preempt_delay" => {
                let delay = notes.take(timer(statement, 0.0, 1000.0));
                given.preempt_delay = delay.map(|delay| (delay, statement));
            }
            "accept" => given.accept = Some((true, statement)),
            "no_accept" => given.accept = Some((false, statement)),
            "down_timer_adverts" => given.down_timer_adverts = Some(statement),
            "use_vmac" => given.virtual_mac = Some(statement),
            "unicast_peer" => given.peers = Some(statement),
            "strict_mode" => given.strict = notes.take(on(statement)).unwrap_or_default(),
            "mcast_src_ip" | "unicast_src_ip" => later.push((
                statement,
                "adverts leave from the interface's first address that is no VIP",
            )),
            "track_interface" | "track_script" | "track_process" | "track_file" => {
                given.tracked.extend(tracking.entries(statement, notes));
            }
            keyword if notify::KEYWORDS.contains(&keyword) => {}
            keyword if notify::PARTIAL.contains(&keyword) => {
                later.push((statement, notify::WHY_PARTIAL));
            }
            keyword => later.push((statement, keywords::why_not(keyword))),
        }
    }
    given
}

fn version_of(
    given: &Given<'_>,
    ipv6: bool,
    globals: &Globals,
    section: &mut Section,
    notes: &mut Notes,
) -> u8 {
    let (version, place) = match given.version {
        Some((version, statement)) => (version, Some(statement.place())),
        // keepalived's default.
        None => (globals.version.unwrap_or(2), None),
    };
    if ipv6 && version == 2 {
        if let Some((_, statement)) = given.version {
            notes.remark(statement, "IPv6 needs version 3, which is written");
        }
        section.key("version", 3, place).essential();
        return 3;
    }
    section.key("version", version, place).essential();
    version
}

fn priority(given: &Given<'_>, section: &mut Section, notes: &mut Notes) {
    if let Some(statement) = given.priority
        && let Some(priority) = notes.take(statement.number(1..=255))
    {
        section
            .key("priority", priority, Some(statement.place()))
            .essential();
    }
}

fn interval(given: &Given<'_>, version: u8, section: &mut Section, notes: &mut Notes) {
    // keepalived's default, in both versions.
    let (asked, place) = match given.interval {
        Some((asked, statement)) => (asked, Some(statement.place())),
        None => (1.0, None),
    };
    // As keepalived rounds.
    let unit = if version == 2 { 1.0 } else { 0.01 };
    let rounded =
        ((asked / unit).round() * unit).clamp(unit, if version == 2 { 255.0 } else { 40.95 });
    if let Some((_, statement)) = given.interval
        && (rounded - asked).abs() > 1e-6
    {
        let text = seconds(rounded);
        notes.remark(
            statement,
            format!("version {version} sends {text} for it, as keepalived does"),
        );
    }
    section
        .key("advertisement_interval", seconds(rounded), place)
        .essential();
}

fn authentication(given: &Given<'_>, version: u8, section: &mut Section, notes: &mut Notes) {
    let Some(block) = given.auth else {
        return;
    };
    if version == 3 {
        let why = "version 3 has no authentication; keepalived ignores it too";
        notes.unmatched_in(section, block, why);
        return;
    }
    let mut kind = None;
    let mut password = None;
    for statement in block.inner() {
        match statement.keyword() {
            "auth_type" => {
                let word = notes.take(statement.need("PASS or AH"));
                kind = word.map(|word| (word, statement));
            }
            "auth_pass" => password = notes.take(statement.need("a password")),
            keyword => notes.unmatched_in(section, statement, keywords::why_not(keyword)),
        }
    }
    let Some((kind, statement)) = kind else {
        let message = "authentication: expected auth_type in it";
        notes.mistakes.push(Mistake::at(block.place(), message));
        return;
    };
    let word = match kind.text.as_str() {
        "PASS" => "pass",
        "AH" => "ah",
        _ => {
            notes.mistakes.push(statement.wrong(kind, "PASS or AH"));
            return;
        }
    };
    let Some(password) = password else {
        let message = "authentication: expected auth_pass in it";
        notes.mistakes.push(Mistake::at(block.place(), message));
        return;
    };
    // What keepalived sends of it.
    let mut end = password.text.len().min(8);
    while !password.text.is_char_boundary(end) {
        end -= 1;
    }
    let (sent, rest) = password.text.split_at(end);
    if !rest.is_empty() {
        notes.remark(
            block,
            "auth_pass: the first 8 bytes count, as in keepalived",
        );
    }
    let value = format!("{{ type = \"{word}\", password = {} }}", quoted(sent));
    section
        .key("authentication", value, Some(&password.place))
        .essential();
}

struct Vip {
    address: IpAddr,
    text: String,
    place: Place,
}

/// The addresses that are VIPs, of one family.
fn vips(given: &Given<'_>, notes: &mut Notes) -> Vec<Vip> {
    let interface = given.interface.and_then(Statement::arg);
    let mut vips: Vec<Vip> = Vec::new();
    for statement in given.vips.iter().chain(&given.excluded) {
        let Some(vip) = notes.take(vip(statement)) else {
            continue;
        };
        let first = vips.first().map(|vip| vip.address.is_ipv4());
        if first.is_some_and(|ipv4| ipv4 != vip.address.is_ipv4()) {
            let why = "a router has VIPs of one family: make one of its own for the other";
            notes.unmatched(statement, why);
            continue;
        }
        let words: Vec<_> = statement
            .args()
            .iter()
            .map(|word| word.text.as_str())
            .collect();
        let device = words.windows(2).find(|pair| pair.first() == Some(&"dev"));
        let device = device.and_then(|pair| pair.get(1)).copied();
        if device.is_some() && device != interface {
            let why = "no equivalent: VIPs are on their router's interface; left out";
            notes.unmatched(statement, why);
            continue;
        }
        let plain = words.is_empty() || (words.len() == 2 && device.is_some());
        if !plain {
            let what = format!(
                "{}: hafw adds no address to the interface, so all but the address means nothing",
                statement.shown()
            );
            notes.remark(statement, what);
        }
        vips.push(vip);
    }
    vips
}

fn vip(statement: &Statement) -> Result<Vip, Mistake> {
    let text = statement.keyword();
    let expected = "an IP address, with or without a prefix, such as 10.0.0.3/24";
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let wrong = || {
        let message = format!("{}: expected {expected}", one_line(text));
        Mistake::at(statement.place(), message)
    };
    let address: IpAddr = address.parse().map_err(|_| wrong())?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let prefix: Option<u8> = match prefix {
        None => None,
        Some(prefix) => Some(
            prefix
                .parse()
                .ok()
                .filter(|p| *p <= longest)
                .ok_or_else(wrong)?,
        ),
    };
    Ok(Vip {
        address,
        text: match prefix {
            Some(prefix) => format!("{address}/{prefix}"),
            None => address.to_string(),
        },
        place: statement.place().clone(),
    })
}

fn write_vips(
    vips: Vec<Vip>,
    given: &Given<'_>,
    block: &Statement,
    section: &mut Section,
    notes: &mut Notes,
) {
    if let Some(first) = given.excluded.first() {
        let why = "hafw advertises all VIPs: both nodes must be hafw, or have them too";
        notes.unmatched_in(section, first, why);
    }
    let items: Vec<_> = vips
        .into_iter()
        .map(|vip| (quoted(&vip.text), vip.place))
        .collect();
    if items.is_empty() {
        notes.remark(block, "a router needs a VIP");
    }
    if let Some(key) = section.list("vips", items) {
        key.essential();
    }
}

fn timing(given: &Given<'_>, globals: &Globals, section: &mut Section, notes: &mut Notes) {
    let adverts = given
        .down_timer_adverts
        .or(globals.down_timer_adverts.as_ref());
    if let Some(statement) = adverts
        && let Some(adverts) = notes.take(statement.number(1..=100))
        && adverts != 3
    {
        section
            .key("down_timer_adverts", adverts, Some(statement.place()))
            .essential();
    }
    // keepalived clears both where the instance starts as MASTER.
    let cleared = "keepalived ignores it with state MASTER, and so does this";
    match given.nopreempt {
        Some(statement) if given.master => notes.unmatched_in(section, statement, cleared),
        Some(statement) => {
            section.key("preempt", false, Some(statement.place()));
        }
        None => {}
    }
    match given.preempt_delay {
        Some((_, statement)) if given.master => {
            notes.unmatched_in(section, statement, cleared);
        }
        Some((delay, statement)) => {
            section.key("preempt_delay", seconds(delay), Some(statement.place()));
        }
        None => {}
    }
    // Strict mode is the RFC's: only an address owner accepts.
    let owner = given.priority.and_then(Statement::arg) == Some("255");
    match given.accept {
        Some((accept, statement)) => {
            section.key("accept", accept, Some(statement.place()));
        }
        None if given.strict && !owner => {
            section.key("accept", false, None);
        }
        None => {}
    }
    if let Some((delay, statement)) = &globals.startup_delay {
        section.key("start_delay", seconds(*delay), Some(statement.place()));
    }
    if let Some(statement) = given.virtual_mac {
        section.key("virtual_mac", true, Some(statement.place()));
        if statement.args().len() > 1 {
            let why = "the virtual MAC is RFC 9568's";
            notes.unmatched_in(section, statement, why);
        }
    }
}

fn peers(block: &Statement, section: &mut Section, notes: &mut Notes) {
    let mut items = Vec::new();
    for statement in block.inner() {
        let text = statement.keyword();
        if text.parse::<IpAddr>().is_err() {
            let message = format!("{}: expected an IP address", one_line(text));
            notes.mistakes.push(Mistake::at(statement.place(), message));
            continue;
        }
        if !statement.args().is_empty() {
            notes.remark(statement, "hafw takes adverts with TTL 255 only (RFC 9568)");
        }
        items.push((quoted(text), statement.place().clone()));
    }
    if let Some(key) = section.list("unicast_peers", items) {
        key.essential();
    }
}

/// What a router tracks, each once: its group's, and its own. Weights of its own count only if the
/// group says so (keepalived.conf(5), `vrrp_sync_group`).
fn tracked(own: Vec<Entry>, group: Option<&Group>, notes: &mut Notes) -> Vec<Entry> {
    let mut tracked: Vec<Entry> = group.map(|group| group.tracked.clone()).unwrap_or_default();
    for mut entry in own {
        if let Some(group) = group
            && !group.own_weights
            && entry.weight != 0
        {
            let message = if entry.kind == Kind::Interface {
                entry.weight = 0;
                "the weight counts as 0 in a sync group, as in keepalived"
            } else {
                "a check with a weight does not count in a sync group, as in keepalived: \
                 track it in the group"
            };
            notes.remarks.push(crate::place::Remark {
                place: entry.place.clone(),
                message: format!("{}: {message}", entry.check),
            });
            if entry.weight != 0 {
                continue;
            }
        }
        if !tracked.iter().any(|other| other.check == entry.check) {
            tracked.push(entry);
        }
    }
    tracked
}

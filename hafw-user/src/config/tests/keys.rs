//! Keys that are unknown or not carried out, and several mistakes at once.

use super::{super::parse, FULL, problems};

#[test]
fn what_this_version_does_not_carry_out_is_refused() {
    assert_eq!(
        problems("mode = \"dsr\"", "mode = \"fullnat\""),
        "f:51:8: service \"dns\": mode = \"fullnat\": not in this version"
    );
    assert_eq!(
        problems("mode = \"dsr\"", "mode = \"rr\""),
        "f:51:8: service \"dns\": mode = \"rr\": expected \"dsr\" or \"nat\" or \"ipip\" or \"gue\""
    );
    for (from, to, expected) in [
        (
            "port = 53\n",
            "ports = \"53-99\"\n",
            "f:49:9: service \"dns\": ports = \"53-99\": not in this version",
        ),
        (
            "port = 53\n",
            "port = \"any\"\n",
            "f:49:8: service \"dns\": port = \"any\": not in this version",
        ),
        ("slots = 4099", "on_failure = \"reset\"", ""),
        ("slots = 4099", "on_failure = \"keep\"", ""),
        (
            "type = \"pass\"",
            "type = \"ah\"",
            "f:18:27: virtual_router \"oldboy\": authentication: type = \"ah\": not in this \
             version",
        ),
    ] {
        assert_eq!(problems(from, to), expected);
    }
}

#[test]
fn an_unknown_key_is_refused_wherever_it_stands() {
    for (from, to, expected) in [
        (
            "stop_timeout",
            "stop_timout",
            "node: stop_timout: unknown key, did you mean `stop_timeout`?",
        ),
        (
            "xdp_mode",
            "xdpmode",
            "interface \"eth0\": xdpmode: unknown key, did you mean `xdp_mode`?",
        ),
        (
            "priority",
            "prio",
            "virtual_router \"oldboy\": prio: unknown key, did you mean `priority`?",
        ),
        (
            "preempt =",
            "premept =",
            "virtual_router \"oldboy\": premept: unknown key, did you mean `preempt`?",
        ),
        (
            "weight = -60",
            "wieght = -60",
            "virtual_router \"oldboy\": track: wieght: unknown key, did you mean `weight`?",
        ),
        (
            "interval = \"2s\"\ntimeout",
            "intervall = \"2s\"\ntimeout",
            "check \"web\": intervall: unknown key, did you mean `interval`?",
        ),
        (
            "slots",
            "slot",
            "service \"dns\": slot: unknown key, did you mean `slots`?",
        ),
        (
            "weight = 3",
            "weigth = 3",
            "service \"dns\": backend: weigth: unknown key, did you mean `weight`?",
        ),
        (
            "[[upstream]]",
            "[[upstraem]]",
            "upstraem: unknown key, did you mean `upstream`?",
        ),
    ] {
        let problems = problems(from, to);
        assert!(
            problems.contains(expected),
            "{problems}\nexpected {expected}"
        );
    }
}

#[test]
fn all_mistakes_of_a_file_are_found_in_one_run() {
    let text = FULL
        .replace("id = \"lb01\"", "di = \"lb01\"")
        .replace("vrid = 52", "vrid = 999")
        .replace("rise = 2", "rise = \"two\"")
        .replace("vip = \"10.0.0.13\"", "vip = \"10.0.0.99\"")
        .replace("weight = 3", "weight = 3.5")
        .replace("10.0.0.7:53", "10.0.0.7:54")
        .replace("upstream = \"all\"", "upstream = \"al\"");
    assert_eq!(
        parse("f", &text).unwrap_err().to_string(),
        "f:1:1: node: id is missing\n\
         f:2:1: node: di: unknown key, did you mean `id`?\n\
         f:30:8: virtual_router \"oldgirl\": vrid = 999: expected a number from 1 to 255\n\
         f:39:8: check \"web\": rise = \"two\": expected a number from 1 to 1000\n\
         f:56:11: service \"dns\": backend 10.0.0.7:54: mode \"dsr\" does not change the port: \
         expected 53\n\
         f:57:10: service \"dns\": backend: weight = 3.5: expected a number from 0 to 65535\n\
         f:68:12: route 0: no upstream has the name \"al\""
    );
}

#[test]
fn nothing_is_called_missing_that_a_mistake_hides() {
    // The VIP of the service and the check stand in sections that could not be read.
    let text = FULL
        .replace(
            "vips = [\"10.0.0.3/24\", \"10.0.0.13\"]",
            "vips = [\"10.0.0.3/24\", \"10.0.0.1e\"]",
        )
        .replace("command = [\"/bin/check\", \"-v\"]", "command = 1");
    let problems = parse("f", &text).unwrap_err().to_string();
    assert_eq!(problems.lines().count(), 2, "{problems}");
}

#[test]
fn no_mistake_is_without_a_place_and_none_ends_the_reader() {
    let look = |text: &str| {
        let Err(problems) = parse("f", text) else {
            return;
        };
        for line in problems.to_string().lines() {
            assert!(line.starts_with("f:"), "{line}\n{text}");
        }
    };
    for at in (0..FULL.len()).filter(|at| FULL.is_char_boundary(*at)) {
        look(&FULL[..at]);
    }
    let lines: Vec<_> = FULL.lines().collect();
    for (index, line) in lines.iter().enumerate() {
        let with = |new: &str| {
            let mut lines = lines.clone();
            lines[index] = new;
            look(&lines.join("\n"));
        };
        with("");
        let Some((key, _)) = line.split_once(" = ") else {
            continue;
        };
        for value in [
            "0",
            "-1",
            "9e9",
            "\"\"",
            "\"\\u0000\"",
            "[]",
            "[[]]",
            "{}",
            "true",
            "\"/\"",
        ] {
            with(&format!("{key} = {value}"));
        }
    }
}

/// Every key that the reference names, as rows `| `key`, … |` below headings `## [[section]]`, is
/// one that the reader asks for.
#[test]
fn every_documented_key_is_known() {
    const REFERENCE: &str = include_str!("../../../../docs/config.md");
    let (mut section, mut within) = (String::new(), None);
    let mut seen = 0;
    for line in REFERENCE.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            (section, within) = (heading.to_owned(), None);
        }
        let Some(row) = line.strip_prefix("| ") else {
            continue;
        };
        let cell = row.split('|').next().unwrap().trim();
        if let Some(table) = cell.strip_prefix("key of ") {
            within = Some(table.trim_matches('`').to_owned());
        }
        for key in cell
            .split(", ")
            .filter_map(|key| key.strip_prefix('`')?.strip_suffix('`'))
        {
            let text = match &within {
                Some(table) if table == "udp" => {
                    format!("{section}\nhealth = {{ udp = {{ {key} = 1 }} }}")
                }
                Some(table) if matches!(table.as_str(), "health" | "email") => {
                    format!("{section}\n{table} = {{ {key} = 1 }}")
                }
                Some(table) if table == "tls" && section == "[[server]]" => {
                    format!("{section}\nlisten = [{{ tls = {{ {key} = 1 }} }}]")
                }
                Some(table) if table == "tls" => {
                    format!("{section}\n{table} = {{ {key} = 1 }}")
                }
                Some(table) => format!("{section}\n{table} = [{{ {key} = 1 }}]"),
                None => format!("{section}\n{key} = 1"),
            };
            let problems = parse("f", &text).unwrap_err().to_string();
            assert!(!problems.contains("unknown key"), "{text}\n{problems}");
            seen += 1;
        }
    }
    assert!(
        seen > 80,
        "{seen} keys were found: has the form of the reference changed?"
    );
}

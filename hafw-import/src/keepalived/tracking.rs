//! `vrrp_script`, `track_file`, `vrrp_track_process`, and the `track_…` blocks that name them.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use super::{Notes, blocks, global::Globals, instance::Router, keywords, name, seconds, timer};
use crate::{
    draft::{Section, quoted},
    files::Files,
    place::{Place, one_line},
    statement::{Statement, Word},
};

/// Weights that a router takes.
const WEIGHTS: std::ops::RangeInclusive<i64> = -253..=253;

/// Everything that can be tracked, by kind and keepalived's name.
pub(super) struct Tracking {
    checks: BTreeMap<(Kind, String), Check>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Script,
    Process,
    File,
    Interface,
}

struct Check {
    /// Its name among hafw's checks.
    name: String,
    weight: i64,
    /// The weight counts the other way round.
    reverse: bool,
    section: Section,
}

/// What a router tracks.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) kind: Kind,
    /// keepalived's name of it.
    pub(super) of: String,
    /// hafw's name of the check.
    pub(super) check: String,
    pub(super) weight: i64,
    pub(super) place: Place,
}

impl Tracking {
    pub(super) fn read(
        statements: &[Statement],
        globals: &Globals,
        files: &dyn Files,
        notes: &mut Notes,
    ) -> Self {
        let mut tracking = Self {
            checks: BTreeMap::new(),
        };
        for statement in blocks(statements, "vrrp_script") {
            tracking.add(Kind::Script, statement, notes, |section, notes| {
                script(statement, section, globals, files, notes)
            });
        }
        for keyword in ["vrrp_track_process", "track_process"] {
            for statement in blocks(statements, keyword) {
                tracking.add(Kind::Process, statement, notes, |section, notes| {
                    process(statement, section, notes)
                });
            }
        }
        for keyword in ["track_file", "vrrp_track_file"] {
            for statement in blocks(statements, keyword) {
                tracking.add(Kind::File, statement, notes, |section, notes| {
                    file(statement, section, notes)
                });
            }
        }
        tracking
    }

    fn add(
        &mut self,
        kind: Kind,
        statement: &Statement,
        notes: &mut Notes,
        read: impl FnOnce(&mut Section, &mut Notes) -> (i64, bool),
    ) {
        let Some(of) = name(statement, notes) else {
            return;
        };
        let key = (kind, of.clone());
        if self.checks.contains_key(&key) {
            notes.unmatched(statement, "defined before: the first one counts");
            return;
        }
        let taken = self.checks.values().any(|check| check.name == of);
        let name = if taken {
            format!("{} {of}", kind.word())
        } else {
            of
        };
        let mut section = Section::new("[[check]]", Some(statement.place()), &statement.shown());
        section.text("name", &name, Some(statement.place()));
        let (weight, reverse) = read(&mut section, notes);
        self.checks.insert(
            key,
            Check {
                name,
                weight,
                reverse,
                section,
            },
        );
    }

    /// What a `track_…` block names.
    pub(super) fn entries(&self, block: &Statement, notes: &mut Notes) -> Vec<Entry> {
        let kind = match block.keyword() {
            "track_script" => Kind::Script,
            "track_process" => Kind::Process,
            "track_file" => Kind::File,
            _ => Kind::Interface,
        };
        let inner = block.inner().iter();
        inner
            .filter_map(|statement| self.entry(kind, statement, notes))
            .collect()
    }

    fn entry(&self, kind: Kind, statement: &Statement, notes: &mut Notes) -> Option<Entry> {
        let of = one_line(statement.keyword());
        let check = self.checks.get(&(kind, of.clone()));
        let (check, mut weight, mut reverse) = match (kind, check) {
            (Kind::Interface, _) => (format!("interface {of}"), 0, false),
            (_, Some(check)) => (check.name.clone(), check.weight, check.reverse),
            (_, None) => {
                let why = format!("there is no {} of this name", kind.keyword());
                notes.unmatched(statement, &why);
                return None;
            }
        };
        let mut words = statement.args().iter();
        while let Some(word) = words.next() {
            match word.text.as_str() {
                "weight" => {
                    let number = words.next().and_then(|word| word.text.parse().ok());
                    let Some(number) = number.filter(|number| (-254..=254).contains(number)) else {
                        let mistake = statement.wrong(word, "a number from -254 to 254 after it");
                        notes.mistakes.push(mistake);
                        return None;
                    };
                    weight = number;
                    reverse = false;
                }
                "reverse" => reverse = true,
                "noreverse" | "no_reverse" => reverse = false,
                _ => {
                    let expected = "weight NUMBER, reverse or noreverse";
                    notes.mistakes.push(statement.wrong(word, expected));
                    return None;
                }
            }
        }
        if reverse && kind == Kind::File {
            // The number is multiplied: the sign is all there is to it.
            weight = -weight;
        } else if reverse {
            let why = "no equivalent of reverse: the check is not tracked";
            notes.unmatched(statement, why);
            return None;
        }
        let clamped = weight.clamp(*WEIGHTS.start(), *WEIGHTS.end());
        if clamped != weight {
            notes.remark(statement, format!("weight {weight} becomes {clamped}"));
        }
        Some(Entry {
            kind,
            of,
            check,
            weight: clamped,
            place: statement.place().clone(),
        })
    }

    /// `[[check]]` for each that a router tracks.
    pub(super) fn checks(self, routers: &[Router]) -> Vec<Section> {
        let tracked = || routers.iter().flat_map(|router| &router.tracked);
        let mut sections = Vec::new();
        for ((kind, of), mut check) in self.checks {
            if !tracked().any(|entry| entry.kind == kind && entry.of == of) {
                check.section.note("Nothing tracks it");
            }
            sections.push(check.section);
        }
        let mut interfaces = BTreeSet::new();
        for entry in tracked().filter(|entry| entry.kind == Kind::Interface) {
            if interfaces.insert(&entry.of) {
                let mut section = Section::new("[[check]]", Some(&entry.place), "track_interface");
                section.text("name", &entry.check, Some(&entry.place));
                section
                    .text("interface", &entry.of, Some(&entry.place))
                    .essential();
                sections.push(section);
            }
        }
        sections
    }
}

impl Kind {
    const fn word(self) -> &'static str {
        match self {
            Self::Script => "script",
            Self::Process => "process",
            Self::File => "file",
            Self::Interface => "interface",
        }
    }

    const fn keyword(self) -> &'static str {
        match self {
            Self::Script => "vrrp_script",
            Self::Process => "vrrp_track_process",
            Self::File => "track_file",
            Self::Interface => "interface",
        }
    }
}

/// The weight, and whether it is reversed.
fn weight(statement: &Statement, notes: &mut Notes) -> (i64, bool) {
    let reverse = statement
        .args()
        .get(1)
        .is_some_and(|word| word.text == "reverse");
    let range = i64::from(i32::MIN)..=i64::from(i32::MAX);
    (notes.take(statement.number(range)).unwrap_or(0), reverse)
}

fn script(
    block: &Statement,
    section: &mut Section,
    globals: &Globals,
    files: &dyn Files,
    notes: &mut Notes,
) -> (i64, bool) {
    let mut default = (0, false);
    let mut interval = (1.0, block.place());
    let mut timeout = None;
    let mut user = globals.script_user.as_ref();
    let mut is_command = false;
    let mut has_script = false;
    for statement in block.inner() {
        match statement.keyword() {
            "script" => {
                has_script = true;
                let Some(word) = notes.take(statement.need("a program")) else {
                    continue;
                };
                is_command = program(word, section, files, notes);
            }
            "interval" => {
                if let Some(given) = notes.take(timer(statement, 0.001, 86_400.0)) {
                    interval = (given, statement.place());
                }
            }
            "timeout" => {
                let given = notes.take(timer(statement, 0.0, 86_400.0));
                timeout = given
                    .filter(|given| *given > 0.0)
                    .map(|given| (given, statement.place()));
            }
            "weight" => default = weight(statement, notes),
            "rise" | "fall" => {
                if let Some(count) = notes.take(statement.number(1..=1000)) {
                    section.key(statement.keyword(), count, Some(statement.place()));
                }
            }
            "user" => user = statement.args().first().or(user),
            "init_fail" => notes.unmatched_in(
                section,
                statement,
                "no equivalent: a check counts from its first result",
            ),
            keyword => notes.unmatched_in(section, statement, keywords::why_not(keyword)),
        }
    }
    if !has_script {
        let message = format!("{}: expected a script in it", block.shown());
        notes
            .mistakes
            .push(crate::place::Mistake::at(block.place(), message));
    }
    section.key("interval", seconds(interval.0), Some(interval.1));
    // keepalived gives a script its interval, unless told otherwise.
    let timeout = timeout.unwrap_or(interval);
    section.key("timeout", seconds(timeout.0), Some(timeout.1));
    if is_command {
        match user {
            Some(user) => {
                section.text("user", &user.text, Some(&user.place));
            }
            None => section.note(
                "It runs as nobody. keepalived runs it as keepalived_script or root: add \
                 user = \"root\" if it needs that",
            ),
        }
    }
    default
}

/// What a script looks at; whether it is a command.
fn program(word: &Word, section: &mut Section, files: &dyn Files, notes: &mut Notes) -> bool {
    let place = Some(&word.place);
    // The shell's way to see whether a port is open.
    let text = word.text.trim();
    let plain = text.trim_matches(['“', '”']);
    if plain != text {
        let word = Word {
            text: plain.to_owned(),
            place: word.place.clone(),
        };
        notes.remarks.push(crate::place::Remark {
            place: word.place.clone(),
            message: "typographic quotes: taken for plain ones".to_owned(),
        });
        return program(&word, section, files, notes);
    }
    if let Some(socket) = text
        .strip_prefix("</dev/tcp/")
        .or(text.strip_prefix("< /dev/tcp/"))
        && let Some((address, port)) = socket.trim().split_once('/')
    {
        let address = if address == "localhost" {
            "127.0.0.1"
        } else {
            address
        };
        let address = if address.contains(':') {
            format!("[{address}]")
        } else {
            address.to_owned()
        };
        section
            .text("tcp", &format!("{address}:{port}"), place)
            .essential();
        return false;
    }
    let words = command(word, files, notes);
    let list = |words: &[String]| {
        let words: Vec<_> = words.iter().map(|word| quoted(word)).collect();
        format!("[{}]", words.join(", "))
    };
    if let Some(process) = process_probed(&words) {
        section.note(&format!(
            "process = {} in place of command starts no program and notices at once",
            quoted(process)
        ))
    }
    section.key("command", list(&words), place).essential();
    true
}

/// The process that a command only looks for.
fn process_probed(words: &[String]) -> Option<&str> {
    let program = PathBuf::from(words.first()?);
    let arguments: Vec<_> = words.iter().skip(1).map(String::as_str).collect();
    match (program.file_name()?.to_str()?, arguments.as_slice()) {
        ("killall", ["-0", name] | ["-s", "0", name]) | ("pidof" | "pgrep", [name]) => Some(name),
        ("pgrep", ["-x", name]) => Some(name),
        _ => None,
    }
}

/// A program with its arguments, as keepalived splits them: at white space outside single quotes.
pub(super) fn command(word: &Word, files: &dyn Files, notes: &mut Notes) -> Vec<String> {
    let mut words = Vec::new();
    let mut current: Option<String> = None;
    let mut quote = None;
    for c in word.text.chars() {
        match (c, quote) {
            (c, Some(open)) if c == open => quote = None,
            ('\'' | '"', None) => {
                quote = Some(c);
                current.get_or_insert_default();
            }
            (c, None) if c.is_whitespace() => words.extend(current.take()),
            (c, _) => current.get_or_insert_default().push(c),
        }
    }
    words.extend(current);
    if let Some(program) = words.first_mut()
        && !program.starts_with('/')
    {
        let found = files.program(program);
        let path = found.as_ref().map_or_else(
            || format!("/usr/bin/{program}"),
            |path| path.display().to_string(),
        );
        notes.remarks.push(crate::place::Remark {
            place: word.place.clone(),
            message: match found {
                Some(_) => format!("{program}: hafw wants its path: {path}"),
                None => format!("{program}: not found here; hafw wants its path: {path}?"),
            },
        });
        *program = path;
    }
    words
}

fn process(block: &Statement, section: &mut Section, notes: &mut Notes) -> (i64, bool) {
    // keepalived's default.
    let mut default = (1, false);
    for statement in block.inner() {
        match statement.keyword() {
            "process" => {
                let Some(process) = notes.take(statement.need("a process")) else {
                    continue;
                };
                section
                    .text("process", &process.text, Some(&process.place))
                    .essential();
                if statement.args().len() > 1 {
                    let why = "processes are told by their names alone, whatever their arguments";
                    notes.unmatched_in(section, statement, why);
                }
            }
            "weight" => default = weight(statement, notes),
            "quorum" if statement.arg() == Some("1") => {}
            "quorum" | "quorum_max" => {
                let why = "no equivalent: one process is enough";
                notes.unmatched_in(section, statement, why);
            }
            "delay" | "terminate_delay" | "fork_delay" => {
                let why = "no equivalent: a process that ended counts at once";
                notes.unmatched_in(section, statement, why);
            }
            "full_command" | "param_match" => {
                let why = "processes are told by their names alone";
                notes.unmatched_in(section, statement, why);
            }
            keyword => notes.unmatched_in(section, statement, keywords::why_not(keyword)),
        }
    }
    default
}

fn file(block: &Statement, section: &mut Section, notes: &mut Notes) -> (i64, bool) {
    // keepalived's default.
    let mut default = (1, false);
    for statement in block.inner() {
        match statement.keyword() {
            "file" => {
                if let Some(file) = notes.take(statement.need("a path")) {
                    section
                        .text("file", &file.text, Some(&file.place))
                        .essential();
                }
            }
            "weight" => default = weight(statement, notes),
            "init_file" => {
                let why = "hafw writes no tracked file: make it before the start";
                notes.unmatched_in(section, statement, why);
            }
            keyword => notes.unmatched_in(section, statement, keywords::why_not(keyword)),
        }
    }
    default
}

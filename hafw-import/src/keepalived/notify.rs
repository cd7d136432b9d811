//! `notification_email`, `smtp_server` and `notify`: `[alerts]`.

use super::{Notes, blocks, global::Globals, seconds, tracking::command};
use crate::{
    draft::{Section, quoted},
    files::Files,
    statement::Statement,
};

/// Statements of an instance or a group that this module reads.
pub(super) const KEYWORDS: [&str; 2] = ["notify", "smtp_alert"];

/// Those that only some state changes cause, which have no equivalent.
pub(super) const PARTIAL: [&str; 9] = [
    "notify_master",
    "notify_backup",
    "notify_fault",
    "notify_stop",
    "notify_deleted",
    "notify_master_rx_lower_pri",
    "notify_up",
    "notify_down",
    "quorum_up",
];

/// Why they have none.
pub(super) const WHY_PARTIAL: &str =
    "exec of [alerts] is called for every change: let its program look at its arguments";

/// `[alerts]`, if anything asks for alerts.
pub(super) fn alerts(
    statements: &[Statement],
    globals: &Globals,
    files: &dyn Files,
    notes: &mut Notes,
) -> Option<Section> {
    let mails = globals.recipients.first().map(|word| &word.place);
    let calls = blocks(statements, "vrrp_instance").chain(blocks(statements, "vrrp_sync_group"));
    let call = calls
        .flat_map(|owner| blocks(owner.inner(), "notify"))
        .next();
    let origin = mails.or(call.map(Statement::place));
    let mut section = Section::new("[alerts]", origin, "");
    let email = email(globals, &mut section);
    let exec = exec(statements, files, &mut section, notes);
    (email || exec).then_some(section)
}

fn email(globals: &Globals, section: &mut Section) -> bool {
    let (Some((host, port)), Some(first)) = (&globals.smtp, globals.recipients.first()) else {
        return false;
    };
    let port = port.as_ref().map_or("25", |port| &port.text);
    let host_text = if host.text.contains(':') {
        format!("[{}]", host.text)
    } else {
        host.text.clone()
    };
    let to: Vec<_> = globals
        .recipients
        .iter()
        .map(|to| quoted(&to.text))
        .collect();
    let from = globals
        .from
        .as_ref()
        .map_or("keepalived@localhost", |from| &from.text);
    let timeout = globals
        .smtp_timeout
        .as_ref()
        .map_or(30.0, |(timeout, _)| *timeout);
    let value = format!(
        "{{ smtp = {}, from = {}, to = [{}], connect_timeout = {} }}",
        quoted(&format!("smtp://{host_text}:{port}")),
        quoted(from),
        to.join(", "),
        seconds(timeout)
    );
    section.key("email", value, Some(&first.place));
    true
}

fn exec(
    statements: &[Statement],
    files: &dyn Files,
    section: &mut Section,
    notes: &mut Notes,
) -> bool {
    let owners = blocks(statements, "vrrp_instance").chain(blocks(statements, "vrrp_sync_group"));
    let mut all = owners.flat_map(|owner| blocks(owner.inner(), "notify"));
    let Some(first) = all.next() else {
        return false;
    };
    let Some(script) = notes.take(first.need("a program")) else {
        return false;
    };
    let words: Vec<_> = command(script, files, notes)
        .iter()
        .map(|word| quoted(word))
        .collect();
    section.key(
        "exec",
        format!("[{}]", words.join(", ")),
        Some(first.place()),
    );
    if let Some(user) = first.args().get(1) {
        section.note(&format!("keepalived runs it as {}", user.text));
    }
    for other in all {
        if other.arg() != first.arg() {
            let why = format!(
                "one program is called for all routers: that of {}",
                first.place()
            );
            notes.unmatched_in(section, other, &why);
        }
    }
    true
}

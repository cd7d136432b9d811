//! What becomes of a route's requests, compiled.

use std::collections::BTreeMap;

use regex::bytes::Regex;

use super::{KeyError, OptionsPlan, rules};
use crate::{
    model::{Action, PathChange, PathCondition, Respond, Route},
    route::{Rules, compile},
    template::Template,
};

/// A compiled route, less its conditions.
#[derive(Clone, Debug)]
pub struct RoutePlan {
    pub action: ActionPlan,
    pub rewrites: Rules,
    pub path_change: PathChangePlan,
    /// The path's regular expression, if something refers to its captures.
    pub captures: Option<Regex>,
    /// Instead of the server's.
    pub(super) options: Option<OptionsPlan>,
}

/// A compiled [`Action`].
#[derive(Clone, Debug)]
pub enum ActionPlan {
    /// The index of a cluster.
    Upstream(usize),
    Respond(RespondPlan),
    Redirect {
        status: u16,
        to: Template,
    },
}

/// A compiled [`PathChange`].
#[derive(Clone, Debug)]
pub enum PathChangePlan {
    None,
    /// Bytes to take off.
    Strip(usize),
    /// Bytes to take off, and what to put there.
    Replace(usize, Box<[u8]>),
}

/// A compiled [`Respond`].
#[derive(Clone, Debug)]
pub struct RespondPlan {
    pub status: u16,
    pub content_type: Box<[u8]>,
    pub body: Template,
}

/// Statuses whose answers have a Location.
const REDIRECTS: [u16; 5] = [301, 302, 303, 307, 308];

impl RoutePlan {
    pub(super) fn new(
        place: &str,
        index: usize,
        route: &Route,
        clusters: &BTreeMap<&str, usize>,
    ) -> Result<Self, KeyError> {
        let error = |key, what| KeyError {
            key,
            entry: None,
            what,
        };
        let action = match &route.action {
            Action::Upstream(name) => {
                let cluster = clusters.get(name.as_str()).copied().ok_or_else(|| {
                    let what = format!("route {index}: no upstream has the name \"{name}\"");
                    error("upstream", what)
                })?;
                ActionPlan::Upstream(cluster)
            }
            Action::Respond(respond) => {
                let plan = RespondPlan::new(respond).map_err(|what| error("respond", what))?;
                ActionPlan::Respond(plan)
            }
            Action::Redirect { status, to } => {
                if !REDIRECTS.contains(status) {
                    let what = format!("status {status} is none of 301, 302, 303, 307, 308");
                    return Err(error("redirect", what));
                }
                let to = Template::new(to).map_err(|why| error("redirect", why.to_string()))?;
                if to.is_empty() {
                    return Err(error("redirect", "expected where to".to_owned()));
                }
                ActionPlan::Redirect {
                    status: *status,
                    to,
                }
            }
        };
        let options = route.options.as_ref();
        let options = options
            .map(|options| OptionsPlan::new(options, place))
            .transpose()?;
        Ok(Self {
            action,
            rewrites: rules(&route.rewrites)?,
            path_change: path_change(route)?,
            captures: match &route.path {
                // It was compiled before: the router has one too.
                PathCondition::Regex(regex) if regex.contains('(') => {
                    Some(compile(regex).map_err(|what| error("path_regex", what))?)
                }
                PathCondition::Regex(_)
                | PathCondition::Any
                | PathCondition::Exact(_)
                | PathCondition::Prefix { .. } => None,
            },
            options,
        })
    }
}

fn path_change(route: &Route) -> Result<PathChangePlan, KeyError> {
    let prefix = match &route.path {
        PathCondition::Prefix { prefix, .. } | PathCondition::Exact(prefix) => Some(prefix.len()),
        PathCondition::Any | PathCondition::Regex(_) => None,
    };
    let error = |key, what: &str| KeyError {
        key,
        entry: None,
        what: format!("{key}: {what}"),
    };
    let needs = "only for a path_prefix or path_exact";
    match &route.path_change {
        PathChange::None => Ok(PathChangePlan::None),
        PathChange::Strip => prefix
            .map(PathChangePlan::Strip)
            .ok_or_else(|| error("strip_prefix", needs)),
        PathChange::Replace(path) => {
            let is_path = path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic());
            if !is_path || path.contains('#') {
                let what = "expected a path as it is sent on: it begins with \"/\" and has no \
                            spaces or \"#\"";
                return Err(error("replace_prefix", what));
            }
            let prefix = prefix.ok_or_else(|| error("replace_prefix", needs))?;
            Ok(PathChangePlan::Replace(prefix, path.as_bytes().into()))
        }
    }
}

impl RespondPlan {
    pub(super) fn new(respond: &Respond) -> Result<Self, String> {
        let Respond {
            status,
            body,
            content_type,
        } = respond;
        if !(200..=599).contains(status) {
            return Err(format!("status {status} is not from 200 to 599"));
        }
        if content_type.contains(char::is_control) {
            return Err("content_type: a control character".to_owned());
        }
        let has_no_body = matches!(status, 204 | 304);
        if has_no_body && !body.is_empty() {
            return Err(format!("an answer with status {status} has no body"));
        }
        Ok(Self {
            status: *status,
            content_type: content_type.as_bytes().into(),
            body: Template::of_text(body).map_err(|error| format!("body: {error}"))?,
        })
    }
}

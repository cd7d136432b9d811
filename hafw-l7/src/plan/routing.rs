//! From a request to its route, and to the path that is sent on: pure, whatever codec the request
//! came in by.

use std::net::IpAddr;

use super::{PathChangePlan, ServerPlan};
use crate::{
    route::{Fields, Outcome, Uri, escape},
    template::{Scope, Values},
};

/// How often rules may have the routes asked again; nginx's number.
const MAX_CYCLES: usize = 10;

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// Its route's index.
    pub route: usize,
    /// The decoded path and the query, if rules have changed them.
    pub uri: Option<Uri>,
    /// The target to send on, if it is not the client's own.
    pub target: Option<Vec<u8>>,
}

/// A request that no route takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unrouted {
    NotFound,
    /// Rules led in a circle.
    Circle,
    /// A rule sends the client elsewhere. `route`: whose rule it was, `None` = the server's.
    Redirect {
        route: Option<usize>,
        status: u16,
        to: Vec<u8>,
    },
}

impl ServerPlan {
    /// Finds the route of a request, with its [normalised](crate::route::path::normalize) path.
    pub fn resolve(
        &self,
        path: &[u8],
        client: IpAddr,
        request: &impl Fields,
        values: &impl Values,
    ) -> Result<Resolved, Unrouted> {
        let mut uri = None;
        if !self.rewrites.is_empty() {
            match self.rewrites.apply(path, request.query(), values) {
                Outcome::Unchanged => {}
                Outcome::Changed { uri: changed, .. } => uri = Some(changed),
                Outcome::Redirect { status, to } => {
                    return Err(Unrouted::Redirect {
                        route: None,
                        status,
                        to,
                    });
                }
            }
        }
        for _ in 0..=MAX_CYCLES {
            let path_now = uri.as_ref().map_or(path, |uri| &uri.path);
            let route = self.router.find(path_now, client, request);
            let route = route.ok_or(Unrouted::NotFound)?;
            let Some(plan) = self.routes.get(route) else {
                return Err(Unrouted::NotFound);
            };
            if !plan.rewrites.is_empty() {
                let query = uri.as_ref().map_or(request.query(), |uri| &uri.query);
                match plan.rewrites.apply(path_now, query, values) {
                    Outcome::Unchanged => {}
                    Outcome::Changed {
                        uri: changed,
                        again,
                    } => {
                        uri = Some(changed);
                        if again {
                            continue;
                        }
                    }
                    Outcome::Redirect { status, to } => {
                        return Err(Unrouted::Redirect {
                            route: Some(route),
                            status,
                            to,
                        });
                    }
                }
            }
            let target = target(&plan.path_change, path, request.query(), uri.as_ref());
            return Ok(Resolved { route, uri, target });
        }
        Err(Unrouted::Circle)
    }

    /// Calls `with` with what the variables of a request's route stand for.
    pub fn with_scope<T>(
        &self,
        resolved: &Resolved,
        path: &[u8],
        request: &impl Fields,
        with: impl FnOnce(&Scope<'_>) -> T,
    ) -> T {
        let (path, query) = match &resolved.uri {
            Some(uri) => (&*uri.path, &*uri.query),
            None => (path, request.query()),
        };
        let regex = self.routes.get(resolved.route);
        let regex = regex.and_then(|route| route.captures.as_ref());
        let captures = regex.and_then(|regex| regex.captures(path));
        with(&Scope {
            captures: captures.as_ref(),
            path,
            query,
        })
    }
}

/// The target to send on; `None` = as the client wrote it.
fn target(
    change: &PathChangePlan,
    path: &[u8],
    query: &[u8],
    uri: Option<&Uri>,
) -> Option<Vec<u8>> {
    let (path, query) = match uri {
        Some(uri) => (&*uri.path, &*uri.query),
        None => (path, query),
    };
    let mut out = Vec::new();
    match change {
        PathChangePlan::None => escape::escape_path(uri.map(|uri| &*uri.path)?, &mut out),
        PathChangePlan::Strip(len) => {
            // A rule may have made the path shorter.
            let rest = path.get(*len..).unwrap_or_default();
            if rest.first() != Some(&b'/') {
                out.push(b'/');
            }
            escape::escape_path(rest, &mut out);
        }
        PathChangePlan::Replace(len, with) => {
            out.extend_from_slice(with);
            escape::escape_path(path.get(*len..).unwrap_or_default(), &mut out);
        }
    }
    if !query.is_empty() {
        out.push(b'?');
        out.extend_from_slice(query);
    }
    Some(out)
}

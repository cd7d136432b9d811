use super::*;

const CLUSTERS: [&str; 6] = ["default", "upload", "static", "mobile", "web", "other"];
const IPHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15";
const CHROME: &str = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/126.0.0.0";
const MSIE: &str = "Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.0)";

/// The fields of a request, as pairs.
struct Pairs<'a>(&'a [(&'a [u8], &'a [u8])]);

impl Fields for Pairs<'_> {
    fn any(&self, name: &[u8], mut test: impl FnMut(&[u8]) -> bool) -> bool {
        self.0
            .iter()
            .any(|(field, value)| field.eq_ignore_ascii_case(name) && test(value))
    }
}

fn route(path: PathCondition, user_agent: Option<&str>, upstream: &str) -> Route {
    Route {
        path,
        headers: user_agent
            .map(HeaderCondition::user_agent)
            .into_iter()
            .collect(),
        upstream: upstream.to_owned(),
    }
}

fn prefix(prefix: &str) -> PathCondition {
    PathCondition::Prefix {
        prefix: prefix.to_owned(),
        r#final: false,
    }
}

fn final_prefix(prefix: &str) -> PathCondition {
    PathCondition::Prefix {
        prefix: prefix.to_owned(),
        r#final: true,
    }
}

fn exact(path: &str) -> PathCondition {
    PathCondition::Exact(path.to_owned())
}

fn regex(regex: &str) -> PathCondition {
    PathCondition::Regex(regex.to_owned())
}

fn compile_all(routes: &[Route]) -> Result<Router, RouteError> {
    Router::new(routes, |name| {
        CLUSTERS.iter().position(|known| *known == name)
    })
}

/// The name of the cluster that a request reaches.
#[track_caller]
fn cluster(routes: &[Route], path: &str, user_agent: &str) -> &'static str {
    let fields: [(&[u8], &[u8]); 1] = [(b"user-agent", user_agent.as_bytes())];
    let router = compile_all(routes).unwrap();
    let found = router.find(path.as_bytes(), &Pairs(&fields));
    found.map_or("(none)", |found| CLUSTERS[found.upstream])
}

#[test]
fn the_lessons_uri_routes_reach_the_lessons_clusters() {
    let routes = [
        route(prefix("/"), None, "default"),
        route(prefix("/upload"), None, "upload"),
        route(prefix("/static"), None, "static"),
    ];

    for (path, expected) in [
        ("/", "default"),
        ("/oldboy.html", "default"),
        ("/upload", "upload"),
        ("/upload/oldboy.html", "upload"),
        ("/uploads", "upload"),
        ("/static/oldboy.html", "static"),
        ("/stati", "default"),
        ("/x/upload", "default"),
    ] {
        assert_eq!(cluster(&routes, path, CHROME), expected, "{path}");
    }
}

#[test]
fn the_lessons_user_agents_reach_the_lessons_clusters() {
    let routes = [
        route(prefix("/"), None, "default"),
        route(PathCondition::Any, Some("(?i)iphone"), "mobile"),
        route(PathCondition::Any, Some("(?i)Chrome"), "web"),
    ];

    for (user_agent, expected) in [
        (IPHONE, "mobile"),
        ("iphone", "mobile"),
        ("IPHONE Chrome", "mobile"),
        (CHROME, "web"),
        ("chrome", "web"),
        (MSIE, "default"),
        ("", "default"),
    ] {
        assert_eq!(
            cluster(&routes, "/oldboy.html", user_agent),
            expected,
            "{user_agent}"
        );
    }
}

#[test]
fn a_path_beats_a_user_agent_without_a_path() {
    let routes = [
        route(PathCondition::Any, Some("(?i)iphone"), "mobile"),
        route(prefix("/static"), None, "static"),
        route(PathCondition::Any, None, "default"),
    ];

    assert_eq!(cluster(&routes, "/static/a", IPHONE), "static");
    assert_eq!(cluster(&routes, "/a", IPHONE), "mobile");
    assert_eq!(cluster(&routes, "/a", MSIE), "default");
}

#[test]
fn all_conditions_of_a_route_must_hold() {
    let routes = [
        route(prefix("/static/img"), Some("(?i)iphone"), "mobile"),
        route(prefix("/static"), None, "static"),
    ];

    assert_eq!(cluster(&routes, "/static/img/a.png", IPHONE), "mobile");
    assert_eq!(cluster(&routes, "/static/img/a.png", CHROME), "static");
    assert_eq!(cluster(&routes, "/static/a", IPHONE), "static");
    assert_eq!(cluster(&routes, "/", IPHONE), "(none)");
}

#[test]
fn exact_comes_before_final_prefix_before_regex_before_prefix() {
    let routes = [
        route(prefix("/a"), None, "default"),
        route(regex(r"\.png$"), None, "web"),
        route(final_prefix("/a/final"), None, "static"),
        route(exact("/a/final/x.png"), None, "upload"),
    ];

    assert_eq!(cluster(&routes, "/a/final/x.png", ""), "upload");
    assert_eq!(cluster(&routes, "/a/final/y.png", ""), "static");
    assert_eq!(cluster(&routes, "/a/y.png", ""), "web");
    assert_eq!(cluster(&routes, "/a/y.gif", ""), "default");
}

#[test]
fn a_final_prefix_counts_only_if_it_is_the_longest() {
    let routes = [
        route(final_prefix("/a"), None, "static"),
        route(prefix("/a/b"), None, "default"),
        route(regex("x"), None, "web"),
    ];

    assert_eq!(cluster(&routes, "/a/x", ""), "static");
    assert_eq!(cluster(&routes, "/a/b/x", ""), "web");
    assert_eq!(cluster(&routes, "/a/b/y", ""), "default");
}

#[test]
fn regexes_are_asked_in_the_order_of_the_file() {
    let routes = [
        route(regex("^/a"), None, "web"),
        route(regex("^/a/b"), Some("(?i)iphone"), "mobile"),
    ];

    assert_eq!(cluster(&routes, "/a/b", IPHONE), "web");
}

#[test]
fn among_equals_more_conditions_come_first_then_the_file() {
    let routes = [
        route(exact("/x"), None, "default"),
        route(exact("/x"), Some("(?i)iphone"), "mobile"),
        route(prefix("/p"), None, "static"),
        route(prefix("/p"), None, "upload"),
        route(prefix("/p"), Some("(?i)chrome"), "web"),
    ];

    assert_eq!(cluster(&routes, "/x", IPHONE), "mobile");
    assert_eq!(cluster(&routes, "/x", CHROME), "default");
    assert_eq!(cluster(&routes, "/p", CHROME), "web");
    assert_eq!(cluster(&routes, "/p", IPHONE), "static");
}

#[test]
fn a_header_condition_needs_the_header_and_any_of_its_values() {
    let condition = HeaderCondition {
        name: "X-Version".to_owned(),
        regex: "^2".to_owned(),
    };
    let routes = [
        Route {
            path: PathCondition::Any,
            headers: vec![condition],
            upstream: "other".to_owned(),
        },
        route(PathCondition::Any, None, "default"),
    ];
    let router = compile_all(&routes).unwrap();
    let find = |fields: &[(&[u8], &[u8])]| router.find(b"/", &Pairs(fields)).unwrap().route;

    assert_eq!(find(&[(b"x-version", b"2.1")]), 0);
    assert_eq!(find(&[(b"x-version", b"1"), (b"X-Version", b"2")]), 0);
    assert_eq!(find(&[(b"x-version", b"1")]), 1);
    assert_eq!(find(&[]), 1);
}

#[test]
fn wrong_routes_are_named() {
    let unknown = compile_all(&[route(PathCondition::Any, None, "nowhere")]).unwrap_err();
    assert!(matches!(
        unknown,
        RouteError::UnknownUpstream { route: 0, .. }
    ));

    let path = compile_all(&[
        route(PathCondition::Any, None, "web"),
        route(regex("("), None, "web"),
    ]);
    assert!(matches!(
        path.unwrap_err(),
        RouteError::PathRegex { route: 1, .. }
    ));

    let header = compile_all(&[route(PathCondition::Any, Some("["), "web")]).unwrap_err();
    assert!(matches!(
        header,
        RouteError::HeaderRegex {
            route: 0,
            condition: 0,
            ..
        }
    ));

    let relative = compile_all(&[route(prefix("upload"), None, "web")]).unwrap_err();
    assert_eq!(relative, RouteError::NotAPath { route: 0 });
}

use super::*;
use crate::model::{Action, Condition, Field, Test};

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

    fn for_each(&self, mut each: impl FnMut(&[u8], &[u8])) {
        self.0.iter().for_each(|(name, value)| each(name, value));
    }

    fn method(&self) -> &[u8] {
        b"GET"
    }

    fn path_and_query(&self) -> &[u8] {
        b"/x?v=2&mode=a%20b&v=3"
    }

    fn authority(&self) -> Option<&[u8]> {
        None
    }
}

fn route(path: PathCondition, user_agent: Option<&str>, upstream: &str) -> Route {
    Route {
        conditions: user_agent.map(Condition::user_agent).into_iter().collect(),
        ..Route::to(upstream, path)
    }
}

/// A route for requests that meet this condition.
fn only(condition: Condition, upstream: &str) -> Route {
    Route {
        conditions: vec![condition],
        ..Route::to(upstream, PathCondition::Any)
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

const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

/// The name of the cluster of a route.
fn name(routes: &[Route], found: Option<usize>) -> &str {
    found.map_or("(none)", |found| match &routes[found].action {
        Action::Upstream(name) => name,
        Action::Respond(_) | Action::Redirect { .. } => "(none)",
    })
}

/// The name of the cluster that a request reaches.
#[track_caller]
fn cluster<'a>(routes: &'a [Route], path: &str, user_agent: &str) -> &'a str {
    let fields: [(&[u8], &[u8]); 1] = [(b"user-agent", user_agent.as_bytes())];
    let router = Router::new(routes).unwrap();
    name(
        routes,
        router.find(path.as_bytes(), CLIENT, &Pairs(&fields)),
    )
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
    let condition = Condition::Field {
        field: Field::Header("X-Version".to_owned()),
        test: Test::Regex("^2".to_owned()),
        negated: false,
    };
    let routes = [
        only(condition, "other"),
        route(PathCondition::Any, None, "default"),
    ];
    let router = Router::new(&routes).unwrap();
    let find = |fields: &[(&[u8], &[u8])]| router.find(b"/", CLIENT, &Pairs(fields)).unwrap();

    assert_eq!(find(&[(b"x-version", b"2.1")]), 0);
    assert_eq!(find(&[(b"x-version", b"1"), (b"X-Version", b"2")]), 0);
    assert_eq!(find(&[(b"x-version", b"1")]), 1);
    assert_eq!(find(&[]), 1);
}

#[test]
fn a_request_can_be_told_by_query_cookie_method_and_source() {
    let value = |text: &str| Test::Value(text.to_owned());
    let field = |field, test, negated| Condition::Field {
        field,
        test,
        negated,
    };
    let query = |name: &str| Field::Query(name.to_owned());
    let cookie = |name: &str| Field::Cookie(name.to_owned());
    let fields: [(&[u8], &[u8]); 1] = [(b"Cookie", b"theme=light; id=7")];
    for (condition, holds) in [
        (field(query("v"), value("3"), false), true),
        (field(query("v"), value("4"), false), false),
        (field(query("mode"), value("a%20b"), false), true),
        (field(query("x"), Test::Present, false), false),
        (field(query("x"), Test::Present, true), true),
        (
            field(cookie("id"), Test::Regex("^[0-9]$".to_owned()), false),
            true,
        ),
        (field(cookie("theme"), value("dark"), true), true),
        (field(cookie("d"), Test::Present, false), false),
        (
            Condition::Method(vec!["HEAD".to_owned(), "GET".to_owned()]),
            true,
        ),
        (Condition::Method(vec!["get".to_owned()]), false),
        (
            Condition::Source(vec!["10.0.0.0/24".parse().unwrap()]),
            true,
        ),
        (
            Condition::Source(vec!["10.0.1.0/24".parse().unwrap()]),
            false,
        ),
    ] {
        let router = Router::new(&[only(condition.clone(), "web")]).unwrap();
        let found = router.find(b"/", CLIENT, &Pairs(&fields));
        assert_eq!(found.is_some(), holds, "{condition:?}");
    }
}

#[test]
fn wrong_routes_are_named() {
    for (wrong, what) in [
        (route(regex("("), None, "web"), "bad path regex"),
        (
            route(PathCondition::Any, Some("["), "web"),
            "header User-Agent",
        ),
        (route(prefix("upload"), None, "web"), "begins with"),
        (only(Condition::Method(Vec::new()), "web"), "method"),
    ] {
        let good = route(PathCondition::Any, None, "web");
        let error = Router::new(&[good, wrong]).unwrap_err();
        assert_eq!(error.route, 1);
        assert!(error.to_string().contains(what), "{error}");
    }
}

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use hafw_lb::{Cause, Outcome};
use tokio::{net::TcpListener, time};

use super::*;
use crate::probe::ProxyProbe;

const SECOND: Duration = Duration::from_secs(1);

/// A probe with these outcomes in turn, the last for ever, and how often it ran.
fn scripted(outcomes: &[Outcome]) -> (Probe, Arc<AtomicUsize>) {
    let outcomes = outcomes.to_vec();
    let runs = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&runs);
    let probe = ProxyProbe::new(move || {
        let run = counter.fetch_add(1, Ordering::Relaxed);
        let outcome = outcomes[run.min(outcomes.len() - 1)];
        async move {
            Report {
                outcome,
                reason: format!("run {run}"),
                number: None,
            }
        }
    });
    (Probe::Proxy(probe), runs)
}

fn check(name: &str) -> TargetId {
    TargetId::Check(name.into())
}

fn target(name: &str, probe: Probe) -> Target {
    Target {
        id: check(name),
        probe,
        interval: SECOND,
        timeout: SECOND,
        rise: 2,
        fall: 3,
        initial: State::Unknown,
    }
}

fn prober() -> (Prober, mpsc::UnboundedReceiver<ProbeEvent>) {
    let (sender, events) = mpsc::unbounded_channel();
    (Prober::new(sender), events)
}

#[tokio::test(start_paused = true)]
async fn only_changes_are_told_each_with_its_reason() {
    use Outcome::{Bad, Ok, TimedOut};
    let (mut prober, mut events) = prober();
    let (probe, _) = scripted(&[Ok, Bad, Bad, Ok, TimedOut, TimedOut, TimedOut, Ok, Ok]);
    prober.set_targets([target("web", probe)]);
    assert!(!prober.reported(&check("web")));

    let mut told = Vec::new();
    for _ in 0..3 {
        let event = events.recv().await.unwrap();
        assert_eq!(event.target, check("web"));
        told.push((event.state, event.up(), event.reason));
    }
    let expected = [
        (State::Up, true, "run 0".into()),
        (State::Down(Cause::TimedOut), false, "run 6".into()),
        (State::Up, true, "run 8".into()),
    ];
    assert_eq!(told, expected);
    assert!(prober.reported(&check("web")));
}

#[tokio::test(start_paused = true)]
async fn the_first_result_is_there_at_once_and_the_next_an_interval_later() {
    let start = time::Instant::now();
    let (mut prober, mut events) = prober();
    let targets = (0..5).map(|n| target(&n.to_string(), scripted(&[Outcome::Ok]).0));
    prober.set_targets(targets);
    let mut first = BTreeMap::new();
    for _ in 0..5 {
        let event = events.recv().await.unwrap();
        first.insert(event.at, event.target);
    }
    assert_eq!(first.len(), 5, "they begin at different times");
    let last = *first.keys().last().unwrap();
    assert!(last <= start.into_std() + SPREAD);

    sleep(SECOND + SPREAD).await;
    for (at, id) in first {
        let (again, _) = prober.latest(&id).unwrap().at.unwrap();
        // The runtime's clock has a grain of 1 ms.
        let gap = again - at;
        assert!(
            gap >= SECOND && gap < SECOND + Duration::from_millis(10),
            "{gap:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_probe_is_never_run_twice_at_once() {
    let (mut prober, mut events) = prober();
    let running = Arc::new(AtomicUsize::new(0));
    let probe = ProxyProbe::new(move || {
        let running = Arc::clone(&running);
        async move {
            assert_eq!(running.fetch_add(1, Ordering::Relaxed), 0);
            sleep(3 * SECOND).await;
            running.fetch_sub(1, Ordering::Relaxed);
            Report::ok("slow")
        }
    });
    let mut slow = target("slow", Probe::Proxy(probe));
    slow.timeout = 10 * SECOND;
    prober.set_targets([slow]);
    assert!(events.recv().await.unwrap().up());
    let first = prober.latest(&check("slow")).unwrap();
    assert_eq!(first.at.unwrap().1.as_secs(), 3);
    sleep(4 * SECOND).await;
    assert!(
        prober.latest(&check("slow")).unwrap().at > first.at,
        "it went on"
    );
}

#[tokio::test(start_paused = true)]
async fn a_target_that_stays_goes_on_and_one_that_goes_is_no_longer_probed() {
    let (mut prober, mut events) = prober();
    let (kept, kept_runs) = scripted(&[Outcome::Ok]);
    let (gone, gone_runs) = scripted(&[Outcome::Ok]);
    let kept = target("kept", kept);
    prober.set_targets([kept.clone(), target("gone", gone)]);
    events.recv().await.unwrap();
    events.recv().await.unwrap();

    // What a former controller found is of no interest for a target that is being probed.
    prober.set_targets([Target {
        initial: State::Up,
        ..kept
    }]);
    assert!(prober.reported(&check("kept")), "it was not begun anew");
    assert_eq!(prober.latest(&check("gone")), None);
    sleep(10 * SECOND).await;
    assert_eq!(gone_runs.load(Ordering::Relaxed), 1);
    assert_eq!(kept_runs.load(Ordering::Relaxed), 11);
    assert!(events.try_recv().is_err(), "nothing changed");
}

#[tokio::test(start_paused = true)]
async fn a_target_that_is_probed_otherwise_keeps_its_state_until_enough_speaks_against_it() {
    let (mut prober, mut events) = prober();
    prober.set_targets([target("web", scripted(&[Outcome::Ok]).0)]);
    assert!(events.recv().await.unwrap().up());
    prober.set_targets([target("web", scripted(&[Outcome::Refused]).0)]);
    assert_eq!(prober.latest(&check("web")).unwrap().state, State::Up);
    let event = events.recv().await.unwrap();
    assert_eq!(
        (event.state, event.reason),
        (State::Down(Cause::Failed), "run 2".into())
    );
}

#[tokio::test(start_paused = true)]
async fn an_inherited_state_stands_and_counts_as_not_reported() {
    let (mut prober, mut events) = prober();
    let (probe, runs) = scripted(&[Outcome::TimedOut, Outcome::Ok]);
    prober.set_targets([Target {
        initial: State::Up,
        ..target("web", probe)
    }]);
    assert_eq!(prober.latest(&check("web")).unwrap().state, State::Up);
    assert!(!prober.reported(&check("web")));
    sleep(5 * SECOND).await;
    assert_eq!(runs.load(Ordering::Relaxed), 5);
    assert!(prober.reported(&check("web")));
    assert!(
        events.try_recv().is_err(),
        "one timeout alone changes nothing"
    );
}

#[tokio::test(start_paused = true)]
async fn no_interval_makes_a_busy_loop() {
    let (mut prober, mut events) = prober();
    let (probe, runs) = scripted(&[Outcome::Ok]);
    prober.set_targets([Target {
        interval: Duration::ZERO,
        ..target("web", probe)
    }]);
    events.recv().await.unwrap();
    sleep(SECOND).await;
    assert!(runs.load(Ordering::Relaxed) <= 101);
}

/// Real sockets and the real clock, from up to refused and back.
#[tokio::test]
async fn a_backend_that_stops_listening_goes_down_as_refused_and_comes_back() {
    let (mut prober, mut events) = prober();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let backend = listener.local_addr().unwrap();
    let service = ServiceKey::new([10, 0, 0, 3].into(), 80, 6);
    let id = TargetId::Backend { service, backend };
    prober.set_targets([Target {
        id: id.clone(),
        interval: LEAST_INTERVAL,
        timeout: Duration::from_secs(10),
        ..target("", Probe::Tcp(backend))
    }]);
    assert_eq!(events.recv().await.unwrap().state, State::Up);
    drop(listener);
    let down = events.recv().await.unwrap();
    assert_eq!(
        (&down.target, down.state),
        (&id, State::Down(Cause::Failed))
    );
    assert!(down.reason.contains("refused"), "{}", down.reason);
    let _listener = TcpListener::bind(backend).await.unwrap();
    assert_eq!(events.recv().await.unwrap().state, State::Up);
}

//! Attempts with upstreams that do as the test wants, by a clock that waits for nobody.

use std::cell::RefCell;

use pgw_core::health::CheckFailure;

use super::*;
use crate::tests::{flag, upstream};

/// What an upstream does with one request.
#[derive(Clone, Copy)]
enum Does {
    Answers(u64),
    Fails(u64, CheckFailure),
    Hangs,
}
use Does::{Answers, Fails, Hangs};

const REFUSES: Does = Fails(1, CheckFailure::Refused);
const CANNOT_REACH: Does = Fails(1, CheckFailure::Target);
const BREAKS_OFF: Does = Fails(1, CheckFailure::BadAnswer);

struct Bench {
    flag: FlagFile,
    experience: Experience,
    /// Those that were asked, and those whose tunnel or attempt is still there.
    asked: RefCell<Vec<String>>,
    open: RefCell<Vec<String>>,
    sniffed: watch::Sender<Sniff>,
}

/// A tunnel, or an attempt at one.
struct Held<'a>(String, &'a RefCell<Vec<String>>);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.1.borrow_mut().retain(|open| *open != self.0);
    }
}

impl Bench {
    fn new(names: &[&str]) -> Self {
        let mut flag = flag(15001);
        flag.limits.peek_ms = 250;
        flag.upstreams = names.iter().map(|name| upstream(name, "127.0.0.1:1".parse().unwrap())).collect();
        let sniffed = watch::Sender::new(Sniff::NeedMore);
        let experience = Experience::default();
        Self { flag, experience, asked: RefCell::default(), open: RefCell::default(), sniffed }
    }

    /// One attempt; answers with who carries it after how many milliseconds, and what failed.
    async fn attempt(&self, does: &[Does]) -> (Option<(String, u128)>, Vec<String>) {
        self.asked.borrow_mut().clear();
        let started = Instant::now();
        let attempt = Attempt {
            flag: &self.flag,
            experience: &self.experience,
            original: "198.51.100.7:443".parse().unwrap(),
            found: self.sniffed.subscribe(),
            started,
        };
        let dial = async |candidate: &FlagUpstream, destination: Destination, _alone: bool| {
            let place = self.flag.upstreams.iter().position(|upstream| upstream == candidate).unwrap();
            let name = candidate.upstream.name.clone();
            self.asked.borrow_mut().push(format!("{name} {destination}"));
            self.open.borrow_mut().push(name.clone());
            let held = Held(name, &self.open);
            match does[place] {
                Answers(ms) => sleep(Duration::from_millis(ms)).await,
                Fails(ms, kind) => {
                    sleep(Duration::from_millis(ms)).await;
                    return Err(DialError { kind, detail: kind.to_string(), asked: true, source: None });
                }
                Hangs => std::future::pending().await,
            }
            Ok(held)
        };
        let mut failures = Vec::new();
        let reached = attempt.reach(|_upstream| true, dial, &mut failures).await;
        let carried = reached.map(|(winner, tunnel)| {
            assert_eq!(*self.open.borrow(), [tunnel.0.as_str()], "only the winner's tunnel is left");
            (winner.upstream.name.clone(), started.elapsed().as_millis())
        });
        assert!(self.open.borrow().is_empty());
        (carried, failures)
    }

    fn asked(&self) -> Vec<String> {
        self.asked.borrow().iter().filter_map(|asked| Some(asked.split_once(' ')?.0.to_owned())).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn a_later_upstream_is_asked_only_when_an_earlier_one_failed_or_hung() {
    for (name, does, carried, asked, next_time) in [
        ("the first works", [Answers(50), Answers(1)], ("a", 50), vec!["a"], vec!["a", "b"]),
        ("the first refuses", [REFUSES, Answers(10)], ("b", 11), vec!["a", "b"], vec!["b", "a"]),
        ("the first hangs", [Hangs, Answers(10)], ("b", 310), vec!["a", "b"], vec!["b", "a"]),
        ("the first is late", [Answers(350), Answers(100)], ("a", 350), vec!["a", "b"], vec!["a", "b"]),
        ("the first is too late", [Answers(900), Answers(100)], ("b", 400), vec!["a", "b"], vec!["b", "a"]),
        (
            "the first breaks off, and the second does not",
            [BREAKS_OFF, Answers(10)],
            ("b", 11),
            vec!["a", "b"],
            vec!["b", "a"],
        ),
        (
            "the first may not go there",
            [CANNOT_REACH, Answers(10)],
            ("b", 11),
            vec!["a", "b"],
            vec!["a", "b"],
        ),
    ] {
        let bench = Bench::new(&["a", "b"]);
        let (by, _failures) = bench.attempt(&does).await;
        assert_eq!(by, Some((carried.0.to_owned(), carried.1)), "{name}");
        assert_eq!(bench.asked(), asked, "{name}");
        let order = bench.experience.order(&bench.flag);
        let order: Vec<&str> = order.iter().map(|upstream| upstream.upstream.name.as_str()).collect();
        assert_eq!(order, next_time, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_destination_is_no_reason_to_change_the_order() {
    let bench = Bench::new(&["a", "b"]);
    let times_out = Fails(5_000, CheckFailure::Timeout);
    let (by, failures) = bench.attempt(&[times_out, times_out]).await;
    assert_eq!(by, None);
    assert_eq!(failures, ["a: it did not answer in time", "b: it did not answer in time"]);
    assert_eq!(bench.experience.order(&bench.flag)[0].upstream.name, "a");
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_is_slow_by_nature_gets_its_place_back() {
    let bench = Bench::new(&["slow", "quick"]);
    let does = [Answers(700), Answers(10)];
    let by = async || bench.attempt(&does).await.0.unwrap().0;
    assert_eq!(by().await, "quick", "nobody knew how slow it is");
    assert_eq!(by().await, "quick", "for some seconds it is tried last");
    tokio::time::advance(Duration::from_secs(10)).await;
    assert_eq!(by().await, "slow", "now it is waited for");
    assert_eq!(by().await, "slow");
    assert_eq!(bench.asked(), ["slow"], "and nobody else is asked beside it");
}

#[tokio::test(start_paused = true)]
async fn a_hanging_upstream_costs_a_moment_once_in_a_while_and_not_each_time() {
    let bench = Bench::new(&["hangs", "works"]);
    let does = [Hangs, Answers(10)];
    let mut waited = Vec::new();
    for _ in 0..80 {
        waited.push(bench.attempt(&does).await.0.unwrap().1);
        tokio::time::advance(Duration::from_millis(200)).await;
    }
    let slow: Vec<u128> = waited.into_iter().filter(|ms| *ms > 10).collect();
    assert_eq!(slow, [310, 910], "in some eighteen seconds");
    let seen = bench.experience.seen(&bench.flag);
    let hangs = seen.iter().find(|seen| seen.mapping_id == bench.flag.upstreams[0].mapping_id).unwrap();
    assert_eq!((hangs.ok, hangs.failed, hangs.unclear), (0, 0, 2));
}

#[tokio::test(start_paused = true)]
async fn waiting_for_a_name_is_not_counted_as_the_upstreams_silence() {
    let mut bench = Bench::new(&["a", "b"]);
    bench.flag.upstreams[0].target = Target::Hostname;
    let (by, _failures) = bench.attempt(&[Answers(290), Answers(1)]).await;
    assert_eq!(by, Some(("a".to_owned(), 540)), "250 for a name that never came");
    assert_eq!(*bench.asked.borrow(), ["a 198.51.100.7:443"]);
    bench.sniffed.send_replace(Sniff::Name("a.example".into()));
    let (by, _failures) = bench.attempt(&[Hangs, Answers(1)]).await;
    assert!(by.is_some_and(|(by, after)| by == "b" && after < 1_000));
    assert_eq!(*bench.asked.borrow(), ["a a.example:443", "b 198.51.100.7:443"]);
}

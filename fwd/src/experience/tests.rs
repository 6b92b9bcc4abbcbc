//! What is remembered, for how long, and what is made of it.

use tokio::time::{advance, sleep};

use super::*;
use crate::tests::{flag, upstream};

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn failure(kind: CheckFailure, asked: bool) -> DialError {
    DialError { kind, detail: kind.to_string(), asked, source: None }
}

/// A flag file with these upstreams.
fn with(names: &[&str]) -> FlagFile {
    let mut flag = flag(15001);
    flag.upstreams = names.iter().map(|name| upstream(name, "127.0.0.1:1".parse().unwrap())).collect();
    flag
}

fn names<'a>(order: &[&'a FlagUpstream]) -> Vec<&'a str> {
    order.iter().map(|upstream| upstream.upstream.name.as_str()).collect()
}

impl Experience {
    async fn after(&self, upstream: &FlagUpstream, took: Duration, outcome: Result<(), DialError>) {
        let dialling = async {
            sleep(took).await;
            outcome
        };
        let _told = self.of(upstream, dialling).await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_failed_is_tried_last_for_some_seconds_and_then_by_priority_again() {
    let flag = with(&["a", "b", "c"]);
    let seen = Experience::default();
    let [a, b, c] = flag.upstreams.as_slice() else { panic!() };
    assert_eq!(names(&seen.order(&flag)), ["a", "b", "c"]);
    seen.after(a, ms(1), Err(failure(CheckFailure::Refused, false))).await;
    assert_eq!(names(&seen.order(&flag)), ["b", "c", "a"]);
    seen.avoid(b);
    assert_eq!(names(&seen.order(&flag)), ["c", "a", "b"]);
    seen.after(c, ms(1), Err(failure(CheckFailure::Auth, true))).await;
    assert_eq!(names(&seen.order(&flag)), ["a", "b", "c"], "all in trouble: by priority");
    seen.after(b, ms(1), Ok(())).await;
    assert_eq!(names(&seen.order(&flag)), ["b", "a", "c"], "an answer ends the trouble");
    advance(AVOIDED).await;
    assert_eq!(names(&seen.order(&flag)), ["a", "b", "c"]);
}

#[tokio::test(start_paused = true)]
async fn what_a_destination_may_have_caused_changes_no_order() {
    let flag = with(&["a", "b"]);
    let seen = Experience::default();
    let a = &flag.upstreams[0];
    for error in [
        failure(CheckFailure::Target, true),
        failure(CheckFailure::Timeout, true),
        failure(CheckFailure::BadAnswer, true),
    ] {
        seen.after(a, ms(1), Err(error)).await;
        assert_eq!(names(&seen.order(&flag)), ["a", "b"]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_upstream_with_a_new_password_or_place_begins_anew() {
    let mut flag = with(&["a", "b"]);
    let seen = Experience::default();
    seen.after(&flag.upstreams[0], ms(1), Err(failure(CheckFailure::Auth, true))).await;
    assert_eq!(names(&seen.order(&flag)), ["b", "a"]);
    flag.upstreams[0].upstream.credentials =
        Some(pgw_core::proxy::Credentials::new("bob", "hunter2").unwrap());
    assert_eq!(names(&seen.order(&flag)), ["a", "b"]);
    assert_eq!(seen.seen(&flag), [], "and nothing is told of the one that is gone");
}

#[tokio::test(start_paused = true)]
async fn who_is_usually_slow_is_waited_for_longer_within_bounds() {
    for (took, patience) in [(0, 300), (99, 300), (200, 600), (600, 1_800), (4_000, 2_000)] {
        let flag = with(&["a"]);
        let seen = Experience::default();
        assert_eq!(seen.patience(&flag.upstreams[0]), ms(300));
        seen.after(&flag.upstreams[0], ms(took), Ok(())).await;
        assert_eq!(seen.patience(&flag.upstreams[0]), ms(patience), "{took} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn each_kind_of_trouble_is_counted_as_what_it_is_and_told_once() {
    let flag = with(&["a", "b"]);
    let seen = Experience::default();
    let [a, b] = flag.upstreams.as_slice() else { panic!() };
    let mut troubles = seen.troubles();
    for (outcome, news) in [
        (Ok(()), false),
        (Err(failure(CheckFailure::Target, true)), false),
        (Err(failure(CheckFailure::Timeout, true)), true),
        (Err(failure(CheckFailure::Timeout, false)), true),
        (Err(failure(CheckFailure::Refused, false)), true),
    ] {
        seen.after(a, ms(1), outcome).await;
        assert_eq!(troubles.has_changed().unwrap(), news);
        troubles.mark_unchanged();
    }
    advance(ms(5)).await;
    seen.after(b, ms(1), Ok(())).await;
    let trouble =
        Trouble { kind: CheckFailure::Refused, words: "the connection was refused".into(), ago_ms: 6 };
    let of_a = Seen { mapping_id: a.mapping_id, ok: 1, failed: 2, unclear: 1, trouble: Some(trouble) };
    let of_b = Seen { mapping_id: b.mapping_id, ok: 1, failed: 0, unclear: 0, trouble: None };
    assert_eq!(seen.seen(&flag), [of_a, of_b]);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_is_given_up_counts_when_it_was_silent_for_long() {
    for (after, counted) in [(299, 0), (300, 1), (2_500, 1)] {
        let flag = with(&["a"]);
        let seen = Experience::default();
        let silent = seen.of(&flag.upstreams[0], std::future::pending::<Result<(), _>>());
        assert!(tokio::time::timeout(ms(after), silent).await.is_err());
        let told = seen.seen(&flag);
        let unclear = told.first().map_or(0, |told| told.unclear);
        assert_eq!(unclear, counted, "given up after {after} ms");
        assert!(seen.patience(&flag.upstreams[0]) >= ms(300));
    }
}

#[tokio::test(start_paused = true)]
async fn of_upstreams_that_come_and_go_a_bounded_number_is_remembered() {
    let seen = Experience::default();
    for number in 0..1_000 {
        let flag = with(&[&format!("u{number}")]);
        seen.after(&flag.upstreams[0], ms(1), Err(failure(CheckFailure::Refused, false))).await;
        assert_eq!(seen.seen(&flag).len(), 1);
    }
    assert_eq!(seen.known().len(), MOST_KNOWN);
}

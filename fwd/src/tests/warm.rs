//! Lines that wait for the next request: there when they are wanted, and gone when they are not.

use std::sync::atomic::Ordering;

use futures_util::future::join_all;
use tokio::io::AsyncWriteExt as _;

use super::scripted::{Does, Reads, Scripted};
use super::setup::say_hello;
use super::through::{hang_up, is_reset, say};
use super::*;

const KINDS: [(Scheme, bool); 3] = [(Scheme::Http, false), (Scheme::Socks5, false), (Scheme::Socks5, true)];

/// A forwarder through which one connection went, so that a line waits for the next.
async fn warmed(proxy: &Scripted) -> Gateway {
    let gateway = Gateway::start(vec![proxy.at.clone()]);
    hang_up(say_hello(&gateway).await).await;
    ready(&gateway).await;
    gateway
}

async fn ready(gateway: &Gateway) {
    while gateway.shared.lines.waiting() == 0 {
        tokio::task::yield_now().await;
    }
}

async fn none(gateway: &Gateway) {
    while gateway.shared.lines.waiting() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_next_connection_takes_the_line_that_waits() {
    for (scheme, login) in KINDS {
        let proxy = Scripted::new(scheme, login, Reads::All, Does::Carries).await;
        let gateway = warmed(&proxy).await;
        // With a login the first client goes step by step, and the second one tries.
        hang_up(say_hello(&gateway).await).await;
        ready(&gateway).await;
        let made = proxy.connections();
        let client = say_hello(&gateway).await;
        assert!(proxy.carriers()[2] <= made, "{scheme} {login}: it was there before him");
        assert_eq!(proxy.awaited_when_ready()[2], 1, "{scheme} {login}: his own words came all at once");
        hang_up(client).await;
    }
}

#[tokio::test]
async fn proxies_that_lose_words_have_lines_too_and_lose_none_on_them() {
    for (scheme, login) in KINDS {
        for reads in [Reads::Packets, Reads::NothingBehindTheRequest] {
            let proxy = Scripted::new(scheme, login, reads, Does::Carries).await;
            let gateway = warmed(&proxy).await;
            for _connection in 0..3 {
                hang_up(say_hello(&gateway).await).await;
                ready(&gateway).await;
            }
        }
    }
}

#[tokio::test]
async fn a_login_that_is_lost_at_once_delays_nobody() {
    let proxy = Scripted::new(Scheme::Socks5, true, Reads::Packets, Does::Carries).await;
    let gateway = warmed(&proxy).await;
    hang_up(say_hello(&gateway).await).await;
    let tunnels = proxy.tunnels().len();
    assert_eq!(tunnels, 2, "each connection had one tunnel, and nobody stood beside it");
}

#[tokio::test]
async fn a_line_that_the_upstream_closed_is_not_used() {
    let proxy = Scripted::new(Scheme::Http, false, Reads::All, Does::Carries).await;
    let gateway = warmed(&proxy).await;
    let made = proxy.connections();
    proxy.seen.closing.send_modify(|times| *times += 1);
    none(&gateway).await;
    hang_up(say_hello(&gateway).await).await;
    assert!(proxy.carriers()[1] > made, "a fresh one");
}

#[tokio::test]
async fn a_line_that_dies_of_its_request_costs_no_connection() {
    for (scheme, login) in KINDS {
        let proxy = Scripted::new(scheme, login, Reads::All, Does::Carries).await;
        let gateway = warmed(&proxy).await;
        proxy.seen.hangs_up.store(proxy.connections(), Ordering::SeqCst);
        let mut client = gateway.connect().await;
        say(&mut client, b"POST /once HTTP/1.1\r\n\r\n").await;
        let tunnels = proxy.tunnels();
        assert_eq!(tunnels.len(), 2, "{scheme} {login}");
        assert_eq!(tunnels[1].1, b"POST /once HTTP/1.1\r\n\r\n", "{scheme} {login}");
    }
}

#[tokio::test]
async fn lines_that_died_without_a_word_cost_one_connection_and_not_one_each() {
    for (scheme, login) in KINDS {
        let proxy = Scripted::new(scheme, login, Reads::All, Does::Carries).await;
        let gateway = warmed(&proxy).await;
        let clients = join_all((0..3).map(|_| say_hello(&gateway))).await;
        while gateway.shared.lines.waiting() < 3 {
            tokio::task::yield_now().await;
        }
        gateway.change(|flag| flag.limits.connect_timeout_ms = 1_000);
        proxy.seen.silent.store(proxy.connections(), Ordering::SeqCst);
        let mut unlucky = gateway.connect().await;
        unlucky.write_all(b"POST /lost HTTP/1.1\r\n\r\n").await.unwrap();
        assert!(is_reset(&mut unlucky).await, "{scheme} {login}");
        for _next in 0..2 {
            let mut next = gateway.connect().await;
            say(&mut next, b"POST /once HTTP/1.1\r\n\r\n").await;
        }
        drop(clients);
    }
}

#[tokio::test]
async fn what_the_flag_file_takes_away_waits_no_longer() {
    let proxy = Scripted::new(Scheme::Socks5, true, Reads::All, Does::Carries).await;
    let other = Scripted::new(Scheme::Http, false, Reads::All, Does::Carries).await;
    let gateway = warmed(&proxy).await;
    gateway.change(|flag| flag.upstreams = vec![other.at.clone()]);
    proxy.opens(0).await;
    hang_up(say_hello(&gateway).await).await;
    ready(&gateway).await;
    gateway.change(|flag| flag.limits.warm = 0);
    other.opens(0).await;
    hang_up(say_hello(&gateway).await).await;
    assert_eq!(gateway.shared.lines.waiting(), 0, "switched off");
}

#[tokio::test]
async fn a_new_password_is_not_spoken_by_an_old_line() {
    let proxy = Scripted::new(Scheme::Socks5, true, Reads::All, Does::Carries).await;
    let gateway = warmed(&proxy).await;
    let credentials = Some(pgw_core::proxy::Credentials::new("eve", "other").unwrap());
    gateway.change(|flag| flag.upstreams[0].upstream.credentials = credentials);
    proxy.opens(0).await;
    assert_eq!(gateway.shared.lines.waiting(), 0);
}

#[tokio::test]
async fn an_idle_forwarder_holds_no_line() {
    let proxy = Scripted::new(Scheme::Http, false, Reads::All, Does::Carries).await;
    let _gateway = warmed(&proxy).await;
    proxy.opens(1).await;
    tokio::time::pause();
    tokio::time::sleep(Duration::from_secs(55)).await;
    tokio::time::resume();
    proxy.opens(0).await;
}

#[tokio::test]
async fn a_stopping_forwarder_holds_no_line() {
    let proxy = Scripted::new(Scheme::Http, false, Reads::All, Does::Carries).await;
    let gateway = warmed(&proxy).await;
    let _open = say_hello(&gateway).await;
    ready(&gateway).await;
    gateway.stop.send(Stop::Signal).await.unwrap();
    proxy.opens(1).await;
}

#[tokio::test]
async fn a_burst_finds_as_many_lines_as_the_last_one_was_wide() {
    let proxy = Scripted::new(Scheme::Http, false, Reads::All, Does::Carries).await;
    let gateway = warmed(&proxy).await;
    let burst = async || join_all((0..5).map(|_| say_hello(&gateway))).await;
    join_all(burst().await.into_iter().map(hang_up)).await;
    while gateway.shared.lines.waiting() < 5 {
        tokio::task::yield_now().await;
    }
    let made = proxy.connections();
    let clients = burst().await;
    assert!(proxy.carriers()[6..].iter().all(|number| *number <= made), "{:?} of {made}", proxy.carriers());
    assert!(gateway.shared.lines.waiting() <= 8);
    drop(clients);
}

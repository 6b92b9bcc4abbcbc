//! How many round trips a connection takes to its destination's first answer, through proxies
//! that take everything at once and through proxies that do not; and what reaches the
//! destination meanwhile.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::lines::Lines;
use super::names::hello;
use super::scripted::{Does, Reads, SERVER_HELLO, Scripted};
use super::through::{hang_up, is_reset, say};
use super::*;

const KINDS: [(Scheme, bool); 3] = [(Scheme::Http, false), (Scheme::Socks5, false), (Scheme::Socks5, true)];

/// No line is made ready, so that each connection begins with nothing.
fn cold(proxy: &Scripted) -> Gateway {
    let gateway = Gateway::start(vec![proxy.at.clone()]);
    gateway.change(|flag| flag.limits.warm = 0);
    gateway
}

/// A TLS client's first round.
pub(super) async fn say_hello(gateway: &Gateway) -> TcpStream {
    let mut client = gateway.connect().await;
    client.write_all(&hello("www.example.com")).await.unwrap();
    let mut heard = vec![0; SERVER_HELLO.len()];
    client.read_exact(&mut heard).await.unwrap();
    assert_eq!(heard, SERVER_HELLO);
    say(&mut client, b"and all the rest").await;
    client
}

#[tokio::test]
async fn one_round_trip_after_connecting_a_tls_client_hears_his_server() {
    for (scheme, login) in KINDS {
        let proxy = Scripted::new(scheme, login, Reads::All, Does::Carries).await;
        let gateway = cold(&proxy);
        for _connection in 0..3 {
            hang_up(say_hello(&gateway).await).await;
        }
        let words = [hello("www.example.com"), b"and all the rest".to_vec()].concat();
        let want = vec![(1, words); 3];
        assert_eq!(proxy.tunnels(), want, "{scheme} {login}: nothing lost, nothing twice, nobody waited for");
        assert_eq!(proxy.connections(), 3, "{scheme} {login}: nobody beside them");
        let status = gateway.status();
        let said = u64::try_from(want[0].1.len()).unwrap();
        assert_eq!(status.bytes_up, 3 * said, "{scheme}: what went ahead is counted");
    }
}

#[tokio::test]
async fn a_proxy_that_loses_words_carries_every_connection_whole_and_is_not_asked_again_and_again() {
    for (scheme, login) in KINDS {
        for reads in [Reads::Packets, Reads::NothingBehindTheRequest, Reads::BehindTheRequestInPart] {
            let proxy = Scripted::new(scheme, login, reads, Does::Carries).await;
            let gateway = cold(&proxy);
            for _connection in 0..4 {
                hang_up(say_hello(&gateway).await).await;
            }
            let what = format!("{scheme} {login} {reads:?}");
            let words = [hello("www.example.com"), b"and all the rest".to_vec()].concat();
            let whole = proxy.tunnels().into_iter().filter(|(_, passed_on)| *passed_on == words).count();
            assert_eq!(whole, 4, "{what}: {:?}", proxy.tunnels());
            assert_eq!(proxy.connections(), 5, "{what}: one was a trial");
        }
    }
}

#[tokio::test]
async fn words_that_are_no_hello_never_travel_before_the_tunnel_stands() {
    for (scheme, login) in KINDS {
        let proxy = Scripted::new(scheme, login, Reads::All, Does::Carries).await;
        let gateway = cold(&proxy);
        hang_up(say_hello(&gateway).await).await;
        let mut client = gateway.connect().await;
        say(&mut client, b"POST /once HTTP/1.1\r\n\r\n").await;
        assert_eq!(proxy.awaited(), [1, 2], "{scheme} {login}: the handshake at once, then the request");
        assert_eq!(proxy.tunnels()[1].1, b"POST /once HTTP/1.1\r\n\r\n");
    }
}

#[tokio::test]
async fn a_proxy_that_begins_to_lose_words_costs_a_moment_and_no_connection() {
    for (scheme, login) in KINDS {
        let proxy = Scripted::new(scheme, login, Reads::All, Does::Carries).await;
        let gateway = cold(&proxy);
        hang_up(say_hello(&gateway).await).await;
        *proxy.seen.reads.lock().unwrap() = Some(Reads::HangsUpOnMore);
        for _connection in 0..3 {
            hang_up(say_hello(&gateway).await).await;
        }
        let tunnels = proxy.tunnels();
        assert_eq!(tunnels.len(), 4, "{scheme} {login}: {tunnels:?}");
        assert!(tunnels.iter().all(|tunnel| tunnel.1 == tunnels[0].1), "{scheme} {login}");
        assert_eq!(proxy.connections(), 5, "{scheme} {login}: it was noticed once");
    }
}

#[tokio::test]
async fn a_refusal_is_told_as_one_though_a_hello_went_ahead() {
    for (scheme, want) in [
        (Scheme::Http, "de1: 502 Bad Gateway"),
        (Scheme::Socks5, "de1: SOCKS5 reply 5: connection refused by the destination"),
    ] {
        let mut lines = Lines::capture();
        let proxy = Scripted::new(scheme, false, Reads::All, Does::Refuses).await;
        let gateway = cold(&proxy);
        for connection in 0..2 {
            let mut client = gateway.connect().await;
            client.write_all(&hello("www.example.com")).await.unwrap();
            assert!(is_reset(&mut client).await);
            assert_eq!(lines.wait(connection + 1).await[connection]["reason"], want);
        }
        assert_eq!(proxy.tunnels(), []);
    }
}

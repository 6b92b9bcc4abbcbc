//! What travels before an answer, and what must not.

use tokio::sync::watch;

use super::*;

/// What a fake has heard when it is to say its first word.
fn heard_first(wanted: &[u8]) -> Act {
    Act::HearExactly(wanted.to_vec())
}

/// A whole ClientHello, as far as its frame goes.
fn hello() -> Vec<u8> {
    [&[22, 3, 1, 0, 44, 1, 0, 0, 40][..], &[7; 40]].concat()
}

/// Everything that a line says at once, before it has heard anything.
fn all_at_once(scheme: Scheme) -> Vec<u8> {
    let words: &[u8] = match scheme {
        Scheme::Http | Scheme::Https => {
            b"CONNECT dest.example:443 HTTP/1.1\r\nHost: dest.example:443\r\nProxy-Authorization: Basic Ym9iOnA6YQ==\r\n\r\n"
        }
        Scheme::Socks5 => b"\x05\x01\x02\x01\x03bob\x03p:a\x05\x01\x00\x03\x0cdest.example\x01\xbb",
    };
    words.to_vec()
}

fn agreed(scheme: Scheme) -> Vec<u8> {
    match scheme {
        Scheme::Http | Scheme::Https => b"HTTP/1.1 200 OK\r\n\r\n".to_vec(),
        Scheme::Socks5 => vec![5, 2, 1, 0, 5, 0, 0, 1, 0, 0, 0, 0, 0, 0],
    }
}

async fn ask_at_once(to: &Upstream, said: &watch::Sender<Vec<u8>>) -> Result<Tunnel, DialError> {
    let deadline = Deadline::within(LONG);
    let line = Dialer::new().open(to, Syn::Alone, deadline).await?;
    line.ask(to, &dest(), Some(said.subscribe()), deadline).await
}

#[tokio::test]
async fn everything_up_to_the_hello_travels_before_the_first_answer_and_nothing_behind_it() {
    for scheme in [Scheme::Http, Scheme::Socks5] {
        let words = [all_at_once(scheme), hello()].concat();
        let acts =
            vec![heard_first(&words), Act::Say([agreed(scheme), b"early".to_vec()].concat()), Act::Echo];
        let to = upstream(scheme, "127.0.0.1", fake(acts).await.port(), Some(("bob", "p:a")));
        let said = watch::Sender::new([hello(), b"early data".to_vec()].concat());
        let mut tunnel = ask_at_once(&to, &said).await.unwrap();
        assert_eq!((tunnel.sent, tunnel.early.as_slice()), (hello().len(), &b"early"[..]), "{scheme}");
        tunnel.stream.shutdown().await.unwrap();
        let mut rest = Vec::new();
        tunnel.stream.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"", "{scheme}: something came behind the hello");
    }
}

#[tokio::test]
async fn a_hello_that_comes_in_pieces_behind_the_request_does_not_wait_for_the_answer() {
    for scheme in [Scheme::Http, Scheme::Socks5] {
        let acts = vec![
            heard_first(&all_at_once(scheme)),
            heard_first(&hello()),
            Act::Say(agreed(scheme)),
            Act::Hang,
        ];
        let to = upstream(scheme, "127.0.0.1", fake(acts).await.port(), Some(("bob", "p:a")));
        let said = watch::Sender::new(Vec::new());
        let speaking = async {
            for byte in hello() {
                tokio::task::yield_now().await;
                said.send_modify(|said| said.push(byte));
            }
            std::future::pending().await
        };
        let tunnel = tokio::select! {
            tunnel = ask_at_once(&to, &said) => tunnel.unwrap(),
            never = speaking => never,
        };
        assert_eq!(tunnel.sent, hello().len(), "{scheme}");
    }
}

#[tokio::test]
async fn no_request_travels_ahead_where_a_refusing_proxy_would_read_it_as_its_own() {
    for said in [&b"GET /admin HTTP/1.1\r\nHost: proxy\r\n\r\n"[..], &hello()[..20], b""] {
        let acts = vec![heard_first(&all_at_once(Scheme::Http)), Act::Say(agreed(Scheme::Http)), Act::Echo];
        let to = upstream(Scheme::Http, "127.0.0.1", fake(acts).await.port(), Some(("bob", "p:a")));
        let said = watch::Sender::new(said.to_vec());
        let mut tunnel = ask_at_once(&to, &said).await.unwrap();
        tunnel.stream.shutdown().await.unwrap();
        let mut rest = Vec::new();
        tunnel.stream.read_to_end(&mut rest).await.unwrap();
        assert_eq!((tunnel.sent, rest), (0, vec![]));
    }
}

#[tokio::test]
async fn a_refusal_is_understood_though_a_hello_was_sent_with_the_request() {
    for (scheme, answer, kind) in [
        (Scheme::Http, b"HTTP/1.1 407 No\r\n\r\n".to_vec(), CheckFailure::Auth),
        (Scheme::Http, b"HTTP/1.1 502 No\r\n\r\n".to_vec(), CheckFailure::Target),
        (Scheme::Socks5, vec![5, 2, 1, 1], CheckFailure::Auth),
        (Scheme::Socks5, vec![5, 2, 1, 0, 5, 5, 0, 1, 0, 0, 0, 0, 0, 0], CheckFailure::Target),
        (Scheme::Socks5, vec![5, 0], CheckFailure::BadAnswer),
    ] {
        let acts = vec![heard_first(&[all_at_once(scheme), hello()].concat()), Act::Say(answer)];
        let to = upstream(scheme, "127.0.0.1", fake(acts).await.port(), Some(("bob", "p:a")));
        let error = ask_at_once(&to, &watch::Sender::new(hello())).await.unwrap_err();
        assert_eq!((error.kind, error.asked), (kind, true), "{scheme}: {error}");
    }
}

#[tokio::test]
async fn a_line_that_was_greeted_says_only_the_request_and_knows_when_it_ends() {
    let acts = [
        greeted(),
        vec![Act::Say(vec![1, 0]), Act::Hear(19), Act::Say(agreed(Scheme::Socks5)[4..].to_vec())],
    ];
    let to = upstream(Scheme::Socks5, "127.0.0.1", fake(acts.concat()).await.port(), Some(("bob", "p:a")));
    let deadline = Deadline::within(LONG);
    let mut line = Dialer::new().open(&to, Syn::Alone, deadline).await.unwrap();
    line.greet(&to, Words::OneByOne, deadline).await.unwrap();
    let now = std::future::poll_fn(|cx| std::task::Poll::Ready(line.poll_ended(cx))).await;
    assert!(now.is_pending(), "it waits for its request");
    let tunnel = line.ask(&to, &dest(), None, deadline).await.unwrap();
    assert_eq!(tunnel.sent, 0);

    let hangs_up = fake([greeted(), vec![Act::Say(vec![1, 0])]].concat()).await;
    let to = upstream(Scheme::Socks5, "127.0.0.1", hangs_up.port(), Some(("bob", "p:a")));
    let mut line = Dialer::new().open(&to, Syn::Alone, deadline).await.unwrap();
    line.greet(&to, Words::OneByOne, deadline).await.unwrap();
    std::future::poll_fn(|cx| line.poll_ended(cx)).await;
}

//! The dialler against small fake proxies on the loopback.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;
use rustls::{ClientConfig, HandshakeKind, RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::proxy::Credentials;

mod ahead;

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(150);

/// One thing that a fake proxy does.
#[derive(Clone)]
enum Act {
    /// Waits until so many bytes have arrived.
    Hear(usize),
    /// Waits for these very bytes, and hangs up if others come.
    HearExactly(Vec<u8>),
    /// Waits for the end of an HTTP header.
    HearHeader,
    Say(Vec<u8>),
    /// Sends back whatever comes.
    Echo,
    Hang,
}

fn say(text: &str) -> Act {
    Act::Say(text.as_bytes().to_vec())
}

async fn perform(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), acts: &[Act]) {
    for act in acts {
        let outcome = match act {
            Act::Hear(count) => stream.read_exact(&mut vec![0; *count]).await.map(|_read| ()),
            Act::HearExactly(wanted) => {
                let mut heard = vec![0; wanted.len()];
                stream.read_exact(&mut heard).await.and_then(|_read| {
                    if heard == *wanted { Ok(()) } else { Err(std::io::ErrorKind::InvalidData.into()) }
                })
            }
            Act::HearHeader => {
                let mut heard = Vec::new();
                while !heard.ends_with(b"\r\n\r\n") {
                    match stream.read_u8().await {
                        Ok(byte) => heard.push(byte),
                        Err(_) => return,
                    }
                }
                Ok(())
            }
            Act::Say(bytes) => stream.write_all(bytes).await,
            Act::Echo => {
                let (mut read, mut write) = tokio::io::split(&mut *stream);
                tokio::io::copy(&mut read, &mut write).await.map(|_count| ())
            }
            Act::Hang => std::future::pending().await,
        };
        // The dialler may have hung up; it is judged by what it says.
        if outcome.is_err() {
            return;
        }
    }
    let _gone = stream.shutdown().await;
}

/// A fake that serves one connection after the other.
async fn fake(acts: Vec<Act>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let acts = acts.clone();
            tokio::spawn(async move { perform(&mut stream, &acts).await });
        }
    });
    address
}

fn upstream(scheme: Scheme, host: &str, port: u16, login: Option<(&str, &str)>) -> Upstream {
    let credentials = login.map(|(user, password)| Credentials::new(user, password).unwrap());
    Upstream { name: "fake".into(), scheme, host: host.parse().unwrap(), port, credentials }
}

fn dest() -> Destination {
    Destination::Name("dest.example".parse().unwrap(), 443)
}

async fn dial(to: &Upstream, deadline: Duration) -> Result<Tunnel, DialError> {
    Dialer::new().dial(to, &dest(), deadline).await
}

fn greeted() -> Vec<Act> {
    vec![Act::Hear(4), Act::Say(vec![5, 2]), Act::Hear(9)]
}

#[tokio::test]
async fn a_tunnel_carries_bytes_both_ways_and_loses_none_that_came_early() {
    let http = vec![Act::HearHeader, say("HTTP/1.1 200 OK\r\n\r\nearly"), Act::Echo];
    let socks = [
        greeted(),
        vec![Act::Say(vec![1, 0]), Act::Hear(19)],
        vec![Act::Say([&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], b"early"].concat()), Act::Echo],
    ]
    .concat();
    for (scheme, acts) in [(Scheme::Http, http), (Scheme::Socks5, socks)] {
        let address = fake(acts).await;
        let to = upstream(scheme, "127.0.0.1", address.port(), Some(("bob", "p:a")));
        let mut tunnel = dial(&to, LONG).await.unwrap();
        tunnel.stream.write_all(b"ping").await.unwrap();
        tunnel.stream.shutdown().await.unwrap();
        let mut heard = std::mem::take(&mut tunnel.early);
        tunnel.stream.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"earlyping", "{scheme}");
    }
}

#[tokio::test]
async fn every_way_to_fail_is_told_apart() {
    use CheckFailure::{Auth, BadAnswer, Target, Timeout};
    use Scheme::{Http, Https, Socks5};
    let answer = |text: &str| vec![Act::HearHeader, say(text)];
    for (scheme, acts, kind, detail) in [
        (Http, answer("garbage\r\n\r\n"), BadAnswer, "the answer is not HTTP/1"),
        (Http, answer("HTTP/1.1 20"), BadAnswer, "the connection was closed in the middle of the handshake"),
        (
            Http,
            answer("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"),
            Auth,
            "407 Proxy Authentication Required",
        ),
        (Http, answer("HTTP/1.1 407 not p:a\r\n\r\n"), Auth, "407 Proxy Authentication Required"),
        (Http, answer("HTTP/1.1 502 no way to DEST.example\r\n\r\n"), Target, "502 Bad Gateway"),
        (Http, answer("HTTP/1.1 502 Bad Gateway\r\n\r\n"), Target, "502 Bad Gateway"),
        (Http, answer("HTTP/1.1 403 Filtered\r\n\r\n"), Target, "403 Forbidden"),
        (
            Http,
            answer(&format!("HTTP/1.1 200 OK\r\nA: {}", "a".repeat(64 * 1024))),
            BadAnswer,
            "the header of the answer does not end",
        ),
        (Http, vec![Act::HearHeader], BadAnswer, "the connection was closed in the middle of the handshake"),
        (Http, vec![Act::Hang], Timeout, "no answer within 150ms while asking for the tunnel"),
        (
            Http,
            vec![Act::HearHeader, say("HTTP/1.1 "), Act::Hang],
            Timeout,
            "no answer within 150ms while asking for the tunnel",
        ),
        (Socks5, vec![Act::Hang], Timeout, "no answer within 150ms while logging in"),
        (
            Socks5,
            vec![Act::Hear(4), say("HTTP/1.1 400 Bad Request\r\n\r\n")],
            BadAnswer,
            "the answer is not SOCKS5",
        ),
        (
            Socks5,
            [greeted(), vec![Act::Say(vec![1, 1])]].concat(),
            Auth,
            "the proxy did not accept the user name and password",
        ),
        (
            Socks5,
            vec![Act::Hear(4), Act::Say(vec![5, 0]), Act::Hear(19), Act::Say(vec![5, 5])],
            Target,
            "SOCKS5 reply 5: connection refused by the destination",
        ),
        (Https, vec![Act::Hang], Timeout, "no answer within 150ms during the TLS session with 127.0.0.1"),
    ] {
        let address = fake(acts).await;
        let to = upstream(scheme, "127.0.0.1", address.port(), Some(("bob", "p:a")));
        let deadline = if kind == Timeout { SHORT } else { LONG };
        let error = dial(&to, deadline).await.unwrap_err();
        assert_eq!((error.kind, error.detail.as_str()), (kind, detail), "{scheme}");
    }
}

#[tokio::test]
async fn what_a_destination_may_cause_is_never_the_upstreams_fault() {
    use Scheme::{Http, Https, Socks5};
    let answer = |text: &str| vec![Act::HearHeader, say(text)];
    for (name, scheme, acts, blame) in [
        ("silent before it was asked", Https, vec![Act::Hang], Blame::Upstream),
        ("no TLS", Https, vec![say("garbage")], Blame::Upstream),
        ("a password refused", Http, answer("HTTP/1.1 407 No\r\n\r\n"), Blame::Upstream),
        ("silent when asked", Http, vec![Act::Hang], Blame::Unclear),
        ("closed when asked", Http, vec![Act::HearHeader], Blame::Unclear),
        ("garbage when asked", Http, answer("garbage\r\n\r\n"), Blame::Unclear),
        ("a destination refused", Http, answer("HTTP/1.1 403 No\r\n\r\n"), Blame::Elsewhere),
        (
            "a destination out of reach",
            Socks5,
            vec![Act::Hear(3), Act::Say(vec![5, 0]), Act::Hear(19), Act::Say(vec![5, 4])],
            Blame::Elsewhere,
        ),
    ] {
        let to = upstream(scheme, "127.0.0.1", fake(acts).await.port(), None);
        let error = dial(&to, SHORT).await.unwrap_err();
        assert_eq!(error.blame(), blame, "{name}: {error}");
    }
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = dial(&upstream(Scheme::Http, "127.0.0.1", address.port(), None), LONG).await.unwrap_err();
    assert_eq!((error.kind, error.blame()), (CheckFailure::Refused, Blame::Upstream));
    assert_eq!(error.detail, format!("connecting to {address}: connection refused"));
}

#[tokio::test]
async fn a_name_that_nobody_knows_is_a_matter_of_dns() {
    // RFC 6761: no resolver knows a name below `invalid`.
    let error = dial(&upstream(Scheme::Http, "proxy.invalid", 1, None), LONG).await.unwrap_err();
    assert_eq!(error.kind, CheckFailure::Dns, "{error}");
    assert!(error.detail.starts_with("resolving proxy.invalid: "), "{error}");
}

struct TlsFake {
    address: SocketAddr,
    trusting: ClientConfig,
}

/// A proxy behind TLS, its certificate for `localhost`.
async fn tls_fake(acts: Vec<Act>) -> TlsFake {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let server = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let trusting = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(server));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (acceptor, acts) = (acceptor.clone(), acts.clone());
            tokio::spawn(async move {
                if let Ok(mut stream) = acceptor.accept(stream).await {
                    perform(&mut stream, &acts).await;
                }
            });
        }
    });
    TlsFake { address, trusting }
}

#[tokio::test]
async fn an_https_upstream_is_verified_by_its_name() {
    let fake = tls_fake(vec![Act::HearHeader, say("HTTP/1.1 200 OK\r\n\r\nearly"), Act::Echo]).await;
    let port = fake.address.port();
    let to = |host: &str| upstream(Scheme::Https, host, port, None);
    let dialer = Dialer::with_tls(fake.trusting);

    let mut tunnel = dialer.dial(&to("localhost"), &dest(), LONG).await.unwrap();
    tunnel.stream.write_all(b"ping").await.unwrap();
    tunnel.stream.flush().await.unwrap();
    let mut heard = tunnel.early;
    while heard.len() < 9 {
        assert_ne!(tunnel.stream.read_buf(&mut heard).await.unwrap(), 0);
    }
    assert_eq!(heard, b"earlyping");

    let wrong_name = dialer.dial(&to("127.0.0.1"), &dest(), LONG).await.unwrap_err();
    assert_eq!(wrong_name.kind, CheckFailure::Tls, "{wrong_name}");
    let unknown_issuer = Dialer::new().dial(&to("localhost"), &dest(), LONG).await.unwrap_err();
    assert_eq!(unknown_issuer.kind, CheckFailure::Tls, "{unknown_issuer}");
}

#[tokio::test]
async fn the_second_session_with_an_upstream_is_resumed() {
    let fake = tls_fake(vec![Act::HearHeader, say("HTTP/1.1 200 OK\r\n\r\n"), Act::Hang]).await;
    let to = upstream(Scheme::Https, "localhost", fake.address.port(), None);
    let dialer = Dialer::with_tls(fake.trusting);
    for kind in [HandshakeKind::Full, HandshakeKind::Resumed, HandshakeKind::Resumed] {
        let tunnel = dialer.dial(&to, &dest(), LONG).await.unwrap();
        let Stream::Tls(tls) = &tunnel.stream else { panic!("not by TLS") };
        assert_eq!(tls.get_ref().1.handshake_kind(), Some(kind));
    }
}

#[tokio::test]
async fn an_https_upstream_that_speaks_no_tls_fails_as_tls() {
    let address = fake(vec![say("HTTP/1.1 400 Bad Request\r\n\r\n")]).await;
    let fake = tls_fake(vec![]).await;
    let to = upstream(Scheme::Https, "localhost", address.port(), None);
    let error = Dialer::with_tls(fake.trusting).dial(&to, &dest(), LONG).await.unwrap_err();
    assert_eq!(error.kind, CheckFailure::Tls, "{error}");
}

#[tokio::test]
async fn tls_goes_over_a_tunnel_too() {
    let fake = tls_fake(vec![Act::Echo]).await;
    let stream = TcpStream::connect(fake.address).await.unwrap();
    let name = "localhost".parse().unwrap();
    let mut tls = Dialer::with_tls(fake.trusting).tls_over(&name, stream).await.unwrap();
    tls.write_all(b"ping").await.unwrap();
    let mut heard = [0; 4];
    tls.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"ping");
}

#[test]
fn a_dialled_future_may_move_between_threads() {
    fn sendable<T: Send>(_value: T) {}
    let dialer = Dialer::new();
    sendable(dialer.dial(&upstream(Scheme::Http, "a.example", 1, None), &dest(), LONG));
}

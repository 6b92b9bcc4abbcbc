//! Visitors of http tunnels.

use std::net::SocketAddr;

use pgw_core::ids::TunnelClientId;
use pgw_core::redact::Secret;
use pgw_core::tunnel::{BasicAuth, Protocol, Route, TunnelSpec};
use pgw_tunnel::tls;
use pgw_tunnel::wire::SERVER_NAME;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::world::{Machine, PATIENCE, World};

/// Answers with the head that it was asked with, or speaks another protocol if it is asked to.
pub(crate) async fn server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                while let Some(head) = head(&mut stream).await {
                    if head.to_lowercase().contains("upgrade: websocket") {
                        let switch = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
                        stream.write_all(switch.as_bytes()).await.unwrap();
                        let (mut from, mut to) = stream.split();
                        let _ended = tokio::io::copy(&mut from, &mut to).await;
                        return;
                    }
                    if head.starts_with("GET /unasked ") {
                        stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\n\r\n").await.unwrap();
                        return;
                    }
                    let length = head.len();
                    let answer = format!(
                        "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: keep-alive\r\n\r\n{head}"
                    );
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            });
        }
    });
    address
}

async fn head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()
}

/// One request on a connection of its own, and everything that comes back.
async fn get(world: &World, path: &str, fields: &str) -> String {
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\n{fields}connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut got = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut got)).await.expect("no answer").unwrap();
    got
}

/// One request of several on the same connection: the head of its answer, and the body.
async fn again(stream: &mut TcpStream, path: &str, fields: &str) -> (String, String) {
    stream.write_all(format!("GET {path} HTTP/1.1\r\n{fields}\r\n").as_bytes()).await.unwrap();
    let answer = timeout(PATIENCE, head(stream)).await.unwrap().unwrap();
    let lower = answer.to_lowercase();
    let length = lower.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    timeout(PATIENCE, stream.read_exact(&mut body)).await.unwrap().unwrap();
    (answer, String::from_utf8(body).unwrap())
}

fn http(world: &mut World, client: TunnelClientId, host: &str, path: Option<&str>, to: SocketAddr) {
    world.tunnel(client, Protocol::Http, 0, to);
    let route = Route { host: host.to_owned(), path: path.map(str::to_owned), header: None };
    world.desired.tunnels.last_mut().unwrap().route = Some(route);
}

/// A gateway, and a client whose tunnels of these hosts and paths lead to `to` and are active.
async fn reached(
    routes: &[(&str, Option<&str>)],
    to: SocketAddr,
    change: impl FnOnce(&mut [TunnelSpec]),
) -> (World, Machine) {
    let mut world = World::new().await;
    let (id, token) = world.client("pc").await;
    for (host, path) in routes {
        http(&mut world, id, host, *path, to);
    }
    change(&mut world.desired.tunnels);
    world.apply().await;
    let machine = world.connect("pc", &token, &[]);
    world.until_active(routes.len()).await;
    (world, machine)
}

async fn demo() -> (World, Machine) {
    reached(&[("demo", None)], server().await, |_as_they_are| {}).await
}

fn bob() -> BasicAuth {
    BasicAuth { username: "bob".to_owned(), password: Secret::new("s3cret") }
}

const DEMO: &str = "host: demo.tunnels.example.com\r\n";

#[tokio::test]
async fn a_request_reaches_the_tunnel_of_its_host_and_path_and_says_who_asked() {
    let mut world = World::new().await;
    let (id, token) = world.client("pc").await;
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    http(&mut world, id, "demo", None, server().await);
    http(&mut world, id, "demo", Some("/dead"), nobody);
    world.apply().await;
    assert!(get(&world, "/", DEMO).await.starts_with("HTTP/1.1 503"), "the client is away");
    let _machine = world.connect("pc", &token, &[]);
    world.until_active(2).await;
    let asked = format!("{DEMO}x-forwarded-for: 6.6.6.6\r\nx-own: 1\r\n");
    let got = get(&world, "/a?b=c", &asked).await;
    assert!(got.starts_with("HTTP/1.1 200"), "{got}");
    for part in [
        "GET /a?b=c HTTP/1.1",
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-proto: http",
        "x-own: 1",
        "host: demo.tunnels.example.com",
    ] {
        assert!(got.contains(part), "{part} in {got}");
    }
    assert!(!got.contains("6.6.6.6"));
    let got = get(&world, "/dead/x", DEMO).await;
    assert!(got.starts_with("HTTP/1.1 502"), "{got}");
    let got = get(&world, "/", "host: other.tunnels.example.com\r\n").await;
    assert!(got.starts_with("HTTP/1.1 404"), "{got}");
}

#[tokio::test]
async fn one_connection_carries_many_requests_and_another_protocol_if_it_is_asked_for() {
    let (world, _machine) = demo().await;
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    for n in 0..5 {
        let (answer, body) = again(&mut stream, &format!("/{n}"), DEMO).await;
        assert!(body.starts_with(&format!("GET /{n} ")), "{answer}{body}");
    }
    let switch = format!("GET /ws HTTP/1.1\r\n{DEMO}connection: Upgrade\r\nupgrade: websocket\r\n\r\n");
    stream.write_all(switch.as_bytes()).await.unwrap();
    let answer = timeout(PATIENCE, head(&mut stream)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    stream.write_all(b"raw bytes").await.unwrap();
    let mut got = [0; 9];
    timeout(PATIENCE, stream.read_exact(&mut got)).await.unwrap().unwrap();
    assert_eq!(&got, b"raw bytes");
}

#[tokio::test]
async fn who_may_not_ask_is_told_so_and_the_target_hears_nothing_of_it() {
    let routes = [("auth", None), ("few", None), ("friends", None)];
    let (mut world, _machine) = reached(&routes, server().await, |tunnels| {
        tunnels[0].limits.basic_auth = vec![bob()];
        tunnels[1].limits.requests_per_minute = Some(2);
        tunnels[2].limits.visitor_allow = vec!["203.0.113.0/24".parse().unwrap()];
    })
    .await;
    let of = |name: &str, more: &str| format!("host: {name}.tunnels.example.com\r\n{more}");
    let got = get(&world, "/", &of("auth", "")).await;
    assert!(got.starts_with("HTTP/1.1 401") && got.contains("www-authenticate: Basic"), "{got}");
    let got = get(&world, "/", &of("auth", "authorization: Basic Ym9iOnMzY3JldA==\r\n")).await;
    assert!(got.starts_with("HTTP/1.1 200") && !got.contains("Basic"), "{got}");
    for want in ["200", "200", "429"] {
        let got = get(&world, "/", &of("few", "")).await;
        assert!(got.starts_with(&format!("HTTP/1.1 {want}")), "{got}");
    }
    let got = get(&world, "/", &of("friends", "")).await;
    assert!(got.starts_with("HTTP/1.1 403"), "{got}");
    world.desired.tunnels[1].limits.requests_per_minute = Some(1000);
    world.apply().await;
    world.until("as it is wanted now", |s| s.revision == world.desired.revision).await;
    let mut last = String::new();
    for _ in 0..100 {
        last = get(&world, "/", &of("few", "")).await;
        if last.starts_with("HTTP/1.1 200") {
            break;
        }
    }
    assert!(last.starts_with("HTTP/1.1 200"), "who was known is judged by the new limit: {last}");
}

#[tokio::test]
async fn who_guesses_at_a_password_is_soon_not_heard_any_more() {
    let (world, _machine) = reached(&[("demo", None)], server().await, |tunnels| {
        tunnels[0].limits.basic_auth = vec![bob()];
    })
    .await;
    let (right, wrong) = ("authorization: Basic Ym9iOnMzY3JldA==\r\n", "authorization: Basic Ym9iOng=\r\n");
    for n in 0..30 {
        let got = get(&world, "/", &format!("{DEMO}{right}")).await;
        assert!(got.starts_with("HTTP/1.1 200"), "who is right may ask as often as he likes, {n}: {got}");
    }
    let mut heard = 0;
    while get(&world, "/", &format!("{DEMO}{wrong}")).await.starts_with("HTTP/1.1 401") {
        heard += 1;
        assert!(heard < 30, "nobody counts");
    }
    assert!(heard >= 10, "a person may mistype: {heard}");
    let got = get(&world, "/", &format!("{DEMO}{right}")).await;
    assert!(got.starts_with("HTTP/1.1 429"), "the answer would tell that he guessed right: {got}");
    let got = get(&world, "/", DEMO).await;
    assert!(got.starts_with("HTTP/1.1 401"), "who says nothing is asked as before: {got}");
}

/// Answers the first request on a connection, and ends it when a second one comes. Says how many of
/// each method it has seen.
async fn forgetful() -> (SocketAddr, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (says, seen) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let says = says.clone();
            tokio::spawn(async move {
                let first = head(&mut stream).await?;
                says.send(first).ok()?;
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.ok()?;
                let second = head(&mut stream).await?;
                says.send(second).ok()
            });
        }
    });
    (address, seen)
}

#[tokio::test]
async fn a_target_that_ends_a_kept_connection_is_asked_again_if_that_does_no_harm() {
    let (target, mut seen) = forgetful().await;
    let (world, _machine) = reached(&[("demo", None)], target, |_as_they_are| {}).await;
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    for path in ["/1", "/2"] {
        let (answer, body) = again(&mut stream, path, DEMO).await;
        assert!(answer.starts_with("HTTP/1.1 200") && body == "ok", "{path}: {answer}");
    }
    let post = format!("POST /3 HTTP/1.1\r\n{DEMO}content-length: 1\r\n\r\nx");
    stream.write_all(post.as_bytes()).await.unwrap();
    let answer = timeout(PATIENCE, head(&mut stream)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 502"), "it may have been done: {answer}");
    let mut heads = Vec::new();
    while let Ok(head) = seen.try_recv() {
        heads.push(head.split(" HTTP").next().unwrap().to_owned());
    }
    assert_eq!(heads, ["GET /1", "GET /2", "GET /2", "POST /3"]);
}

#[tokio::test]
async fn a_kept_connection_takes_one_place_however_often_it_asks() {
    let (mut world, _machine) = reached(&[("demo", None)], server().await, |tunnels| {
        tunnels[0].limits.max_per_visitor = Some(1);
        tunnels[0].limits.max_connections = Some(1);
    })
    .await;
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    for n in 0..5 {
        let (answer, _) = again(&mut stream, "/", DEMO).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "request {n}: {answer}");
    }
    let got = get(&world, "/", DEMO).await;
    assert!(got.starts_with("HTTP/1.1 503"), "there is one place: {got}");
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let target = std::mem::replace(&mut world.desired.tunnels[0].target.port, nobody.port());
    world.apply().await;
    let elsewhere = async { while !again(&mut stream, "/", DEMO).await.0.starts_with("HTTP/1.1 502") {} };
    timeout(PATIENCE, elsewhere).await.expect("it goes on to where the tunnel led before");
    world.desired.tunnels[0].target.port = target;
    world.desired.tunnels[0].limits.visitor_allow = vec!["203.0.113.0/24".parse().unwrap()];
    world.apply().await;
    world.until("nobody is let in", |s| s.revision == world.desired.revision).await;
    let refused = async { while !again(&mut stream, "/", DEMO).await.0.starts_with("HTTP/1.1 403") {} };
    timeout(PATIENCE, refused).await.expect("who is there already may not ask either");
}

#[tokio::test]
async fn the_target_hears_of_no_host_but_the_one_whose_tunnel_it_is() {
    let (world, _machine) = demo().await;
    let inside = "host: inside.example.com\r\n";
    let got = get(&world, "http://demo.tunnels.example.com/x", inside).await;
    assert!(got.starts_with("HTTP/1.1 200") && got.contains("GET /x "), "{got}");
    assert!(got.contains("host: demo.tunnels.example.com") && !got.contains("inside"), "{got}");
    let got = get(&world, "/", &format!("{DEMO}{inside}")).await;
    assert!(got.starts_with("HTTP/1.1 400"), "{got}");
}

#[tokio::test]
async fn a_websocket_may_be_asked_for_and_no_other_protocol() {
    let (world, _machine) = demo().await;
    let h2c = "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n";
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    let (answer, heard) = again(&mut stream, "/", &format!("{DEMO}{h2c}")).await;
    assert!(answer.starts_with("HTTP/1.1 200") && !heard.contains("h2c"), "{answer}{heard}");
    let got = get(&world, "/unasked", DEMO).await;
    assert!(got.starts_with("HTTP/1.1 502"), "a target does not change it either: {got}");
}

#[tokio::test]
async fn a_path_leads_to_its_tunnel_however_it_is_written() {
    let routes = [("demo", None), ("demo", Some("/admin"))];
    let (world, _machine) = reached(&routes, server().await, |tunnels| {
        tunnels[1].limits.basic_auth = vec![bob()];
    })
    .await;
    for path in ["/admin", "/x/../admin", "/%61dmin", "//admin/x", "/x/%2e%2e/admin;a=b", "/.%2fadmin"] {
        let got = get(&world, path, DEMO).await;
        assert!(got.starts_with("HTTP/1.1 401"), "{path}: {got}");
    }
    assert!(get(&world, "/admin/../x", DEMO).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_drain_waits_for_no_visitor_that_asks_nothing() {
    let (mut world, _machine) = demo().await;
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    stream.write_all(format!("GET / HTTP/1.1\r\n{DEMO}\r\n").as_bytes()).await.unwrap();
    timeout(PATIENCE, head(&mut stream)).await.unwrap().unwrap();
    let start = std::time::Instant::now();
    world.stop().await;
    assert!(start.elapsed() < std::time::Duration::from_secs(20), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_stranger_asks_once_and_makes_room() {
    let world = World::new().await;
    let config = tls::client_config(world.pin.parse().unwrap(), true).unwrap();
    let stream = TcpStream::connect(world.address).await.unwrap();
    let name = ServerName::try_from(SERVER_NAME).unwrap();
    let mut stream = TlsConnector::from(config).connect(name, stream).await.unwrap();
    let ask = "GET /download/nothing HTTP/1.1\r\nhost: gateway\r\n\r\n";
    stream.write_all(ask.repeat(3).as_bytes()).await.unwrap();
    let mut got = Vec::new();
    let _cut = timeout(PATIENCE, stream.read_to_end(&mut got)).await.expect("it is kept");
    let got = String::from_utf8(got).unwrap();
    assert_eq!(got.matches("HTTP/1.1 404").count(), 1, "{got}");
}

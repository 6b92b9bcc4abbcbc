//! Beginnings and ends: of tunnels, of sessions, of the gateway.

use std::time::Duration;

use pgw_core::ids::EnrolmentId;
use pgw_core::redact::Secret;
use pgw_core::tunnel::{Answer, Ask, Enrolment, Event, PortConflict, Protocol, State};
use pgw_tunnel::connect::arguments::Call;
use pgw_tunnel::connect::run;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::time::timeout;
use uuid::Uuid;

use crate::world::{Machine, PATIENCE, World, ask_echo, asks, echo, hash, udp_echo};

/// G30.
#[tokio::test]
async fn a_closed_tunnel_leaves_its_ports_at_once_and_a_new_listener_has_them() {
    let mut world = World::new().await;
    let (id, token) = world.client("pc").await;
    let port = world.base + 2;
    world.tunnel(id, Protocol::Both, port, echo().await);
    world.apply().await;
    let _machine = world.connect("pc", &token, &[]);
    world.until_active(1).await;
    let mut visitor = TcpStream::connect(world.public(port)).await.unwrap();
    visitor.write_all(b"x").await.unwrap();
    assert_eq!(visitor.read_u8().await.unwrap(), b'x');
    world.desired.tunnels.clear();
    world.apply().await;
    world.until("gone", |s| s.tunnels.is_empty()).await;
    let _listener = TcpListener::bind(("0.0.0.0", port)).await.unwrap();
    let _socket = UdpSocket::bind(("0.0.0.0", port)).await.unwrap();
    let cut = timeout(PATIENCE, visitor.read_u8()).await.expect("still open");
    assert!(cut.is_err());
}

/// G30.
#[tokio::test]
async fn a_lost_client_closes_its_ports_and_has_them_again_when_it_comes_back() {
    let mut world = World::new().await;
    let (id, token) = world.client("pc").await;
    let target = echo().await;
    let of_operator = world.base + 5;
    world.tunnel(id, Protocol::Tcp, of_operator, target);
    world.apply().await;
    let ports = [asks(0, "tcp", target), asks(0, "udp", udp_echo().await)];
    let machine = world.connect("pc", &token, &ports);
    let before = world.until_active(3).await;
    machine.kill().await;
    let status = world.until_online("pc", false).await;
    let status = if status.tunnels.iter().all(|t| t.state == State::Offline) {
        status
    } else {
        world.until("offline", |s| s.tunnels.iter().all(|t| t.state == State::Offline)).await
    };
    assert_eq!(status.tunnels.len(), 3, "kept for the grace");
    assert!(TcpStream::connect(world.public(of_operator)).await.is_err(), "the port is closed");
    let _machine = world.connect("pc", &token, &ports);
    let mut after = world.until_active(3).await;
    let mut before: Vec<_> = before.into_iter().map(|t| (t.id, t.public_port)).collect();
    before.sort();
    after.sort_by_key(|t| t.id);
    assert_eq!(after.iter().map(|t| (t.id, t.public_port)).collect::<Vec<_>>(), before);
    assert_eq!(ask_echo(world.public(of_operator), vec![7; 10]).await, [7; 10]);
}

#[tokio::test]
async fn who_is_connected_is_told_to_those_who_show_what_the_api_said() {
    let mut world = World::new().await;
    let internal = Secret::new("of api and agent");
    let ask = async |world: &World, fields: &str| {
        let mut stream = TcpStream::connect(world.health).await.unwrap();
        let request = format!("GET /healthz HTTP/1.1\r\nhost: gw\r\n{fields}connection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut got = String::new();
        timeout(PATIENCE, stream.read_to_string(&mut got)).await.expect("no answer").unwrap();
        got
    };
    let shown = format!("authorization: Bearer {}\r\n", internal.expose());
    let (_, token) = world.client("pc").await;
    world.client("pi").await;
    let _machine = world.connect("pc", &token, &[]);
    world.until_online("pc", true).await;
    assert!(!ask(&world, &shown).await.contains("pc"), "nobody may know yet");
    world.desired.health_token = Some(hash(&internal));
    world.apply().await;
    let told = ask(&world, &shown).await;
    for part in [r#"{"name":"pc","status":"connected"}"#, r#"{"name":"pi","status":"disconnected"}"#] {
        assert!(told.contains(part), "{told}");
    }
    for fields in ["", "authorization: Bearer guessed\r\n", "authorization: Bearer\r\n"] {
        let told = ask(&world, fields).await;
        assert!(told.contains(r#""status":"ok""#) && !told.contains("pc"), "{told}");
    }
}

#[tokio::test]
async fn a_port_that_the_gateway_picks_is_one_that_no_other_program_has() {
    let world = &mut World::new().await;
    let (_, token) = world.client("pc").await;
    let _others = TcpListener::bind(("0.0.0.0", world.base)).await.unwrap();
    let target = echo().await;
    let ports = [asks(0, "tcp", target), asks(0, "tcp", target)];
    let _machine = world.connect("pc", &token, &ports);
    let mut open: Vec<_> = world.until_active(2).await.into_iter().filter_map(|t| t.public_port).collect();
    open.sort_unstable();
    assert!(open[0] > world.base && open[0] < open[1], "{open:?}");
    assert_eq!(ask_echo(world.public(open[0]), vec![7; 10]).await, [7; 10]);
}

#[tokio::test]
async fn tunnels_change_their_ports_with_each_other_and_none_of_them_fails() {
    let mut world = World::new().await;
    let (id, token) = world.client("pc").await;
    let (one, other) = (world.base + 3, world.base + 4);
    world.tunnel(id, Protocol::Tcp, one, echo().await);
    world.tunnel(id, Protocol::Tcp, other, echo().await);
    world.apply().await;
    let _machine = world.connect("pc", &token, &[]);
    world.until_active(2).await;
    let mut operator = world.follow().await;
    world.desired.tunnels[0].public_port = Some(other);
    world.desired.tunnels[1].public_port = Some(one);
    world.apply().await;
    world
        .until("the other way round", |s| {
            let is_so = |t: &pgw_core::tunnel::TunnelStatus| {
                let wanted = world.desired.tunnels.iter().find(|spec| spec.id == t.id).unwrap();
                t.state == State::Active && t.public_port == wanted.public_port
            };
            s.tunnels.iter().all(is_so)
        })
        .await;
    world.desired.tunnels.clear();
    world.apply().await;
    loop {
        match operator.hear().await {
            Answer::Event(Event::TunnelGone { .. }) => break,
            Answer::Event(Event::Tunnel(status)) => assert_ne!(status.state, State::Failed, "{status:?}"),
            _ => {}
        }
    }
}

#[tokio::test]
async fn what_a_client_asked_for_ends_with_its_leave_and_after_the_grace() {
    let mut world = World::new().await;
    let (_, token) = world.client("pc").await;
    world.desired.grace_s = 1;
    world.apply().await;
    let ports = [asks(0, "tcp", echo().await)];
    for in_order in [true, false] {
        let machine = world.connect("pc", &token, &ports);
        world.until_active(1).await;
        if in_order {
            machine.stop().await
        } else {
            machine.kill().await
        }
        world.until("gone", |s| s.tunnels.is_empty()).await;
    }
}

#[tokio::test]
async fn a_newer_session_replaces_the_older() {
    let mut world = World::new().await;
    let (_, token) = world.client("pc").await;
    let target = echo().await;
    let _first = world.connect("pc", &token, &[asks(0, "tcp", target)]);
    let port = world.until_active(1).await[0].public_port.unwrap();
    let first = world.status().await.clients[0].session.clone().unwrap().id;
    let _second = world.connect("pc", &token, &[asks(0, "tcp", target)]);
    world
        .until("replaced", |s| s.clients[0].session.as_ref().is_some_and(|session| session.id != first))
        .await;
    assert_eq!(world.until_active(1).await[0].public_port, Some(port));
}

/// G31.
#[tokio::test]
async fn a_gateway_that_was_stopped_or_killed_opens_again_what_it_had_without_the_api() {
    let mut world = World::new().await;
    let (id, token) = world.client("pc").await;
    let port = world.base + 4;
    world.tunnel(id, Protocol::Tcp, port, echo().await);
    world.apply().await;
    let _machine = world.connect("pc", &token, &[]);
    world.until_active(1).await;
    world.stop().await;
    assert!(TcpStream::connect(world.public(port)).await.is_err());
    world.start().await;
    world.until_active(1).await;
    assert_eq!(ask_echo(world.public(port), vec![1; 1000]).await, [1; 1000]);
}

#[tokio::test]
async fn a_drain_lets_open_connections_finish_and_lets_nobody_in() {
    let mut world = World::new().await;
    let (_, token) = world.client("pc").await;
    let _machine = world.connect("pc", &token, &[asks(0, "tcp", echo().await)]);
    let port = world.until_active(1).await[0].public_port.unwrap();
    let mut visitor = TcpStream::connect(world.public(port)).await.unwrap();
    visitor.write_all(b"a").await.unwrap();
    assert_eq!(visitor.read_u8().await.unwrap(), b'a');
    let address = world.public(port);
    let finish = async {
        // Until the port is closed, the drain has not begun.
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
        visitor.write_all(b"still here").await.unwrap();
        let mut got = [0; 10];
        visitor.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"still here");
        drop(visitor);
    };
    let start = std::time::Instant::now();
    tokio::join!(world.stop(), finish);
    assert!(start.elapsed() < Duration::from_secs(25), "it waits for nobody who has left");
}

/// G32.
#[tokio::test]
async fn enrolling_makes_a_token_known_once_and_the_code_is_of_no_use_to_a_thief() {
    let mut world = World::new().await;
    let (id, _) = world.client("pi").await;
    world.desired.clients[0].token = None;
    world.desired.enrolments.push(Enrolment {
        id: EnrolmentId(Uuid::now_v7()),
        client_id: id,
        code: hash(&Secret::new("once")),
        expires_at: "2999-01-01T00:00:00Z".parse().unwrap(),
    });
    world.apply().await;
    let call = |world: &World, file: &str| {
        let config = world.config("pi", "enroll: once");
        Call { config, token_file: world.dir.path().join(file), only_enroll: true }
    };
    run::enroll(&call(&world, "pi.token")).await.unwrap();
    run::enroll(&call(&world, "pi.token")).await.expect("the same machine may ask again");
    let thief = run::enroll(&call(&world, "thief.token")).await.unwrap_err();
    assert!(thief.to_string().contains("enrolment"), "{thief}");
    let status = world.status().await;
    assert_eq!(status.enrolled.len(), 1);
    // It is used up after a restart as well.
    world.stop().await;
    world.start().await;
    run::enroll(&call(&world, "thief.token")).await.unwrap_err();
    // The API writes it down, and the code is gone.
    world.desired.clients[0].token = Some(status.enrolled[0].token.clone());
    world.desired.enrolments.clear();
    world.apply().await;
    assert!(world.status().await.enrolled.is_empty());
    let config = world.config("pi", "");
    let _machine = Machine::start(config, world.dir.path().join("pi.token"));
    world.until_online("pi", true).await;
}

/// G30.
#[tokio::test]
async fn each_conflict_of_ports_is_told_with_its_code_and_what_is_free_again_is_opened() {
    let mut world = World::new().await;
    let (id, token) = world.client("pc").await;
    let target = echo().await;
    let taken = TcpListener::bind(("0.0.0.0", world.base)).await.unwrap();
    world.desired.reserved = vec![pgw_core::tunnel::PortSpan { from: world.base + 2, to: world.base + 2 }];
    let allowed = pgw_core::tunnel::PortSpan { from: world.base, to: world.base + 3 };
    world.desired.clients[0].allowed_ports = vec![allowed];
    world.desired.clients[0].max_tunnels = 6;
    world.tunnel(id, Protocol::Tcp, world.base, target);
    world.apply().await;
    let ports = [
        asks(world.base + 1, "tcp", target),
        asks(world.base + 1, "tcp", udp_echo().await),
        asks(world.base + 2, "tcp", target),
        asks(world.base + 4, "tcp", target),
        asks(0, "tcp", target),
        asks(0, "udp", target),
    ];
    let _machine = world.connect("pc", &token, &ports);
    let status = world
        .until("all told", |s| s.tunnels.len() == 7 && s.tunnels.iter().all(|t| t.state != State::Pending))
        .await;
    let mut codes: Vec<_> =
        status.tunnels.iter().filter_map(|t| t.reason.as_ref()?.code).map(PortConflict::code).collect();
    codes.sort_unstable();
    assert_eq!(codes, ["port_in_use", "port_in_use", "port_not_allowed", "port_quota", "port_reserved"]);
    let automatic =
        status.tunnels.iter().find(|t| t.state == State::Active && t.public_port == Some(world.base + 3));
    assert!(automatic.is_some(), "the first that is free: {:#?}", status.tunnels);
    drop(taken);
    let of_operator = world.desired.tunnels[0].id;
    world
        .until("healed", |s| s.tunnels.iter().any(|t| t.id == of_operator && t.state == State::Active))
        .await;
}

#[tokio::test]
async fn an_operator_ends_what_a_client_asked_for_and_its_session() {
    let mut world = World::new().await;
    let (id, token) = world.client("pc").await;
    let _machine = world.connect("pc", &token, &[asks(0, "tcp", echo().await)]);
    let tunnel = world.until_active(1).await[0].id;
    let ended = world.ask(&Ask::Close { tunnel }).await;
    assert_eq!(ended, Answer::Ended { was_there: true });
    world.until("closed", |s| s.tunnels.is_empty()).await;
    let first = world.status().await.clients[0].session.clone().unwrap().id;
    assert_eq!(world.ask(&Ask::Disconnect { client: id }).await, Answer::Ended { was_there: true });
    let comes_back = |s: &pgw_core::tunnel::Status| {
        s.clients[0].session.as_ref().is_some_and(|session| session.id != first) && s.tunnels.len() == 1
    };
    world.until("back, with its ports", comes_back).await;
}

#[tokio::test]
async fn who_follows_hears_what_happens_and_what_is() {
    let mut world = World::new().await;
    let (_, token) = world.client("pc").await;
    let mut follower = world.follow().await;
    let Answer::Status(first) = follower.hear().await else { panic!("the status comes first") };
    assert!(first.clients[0].session.is_none());
    let machine = world.connect("pc", &token, &[asks(0, "tcp", echo().await)]);
    let mut heard = Vec::new();
    let mut until = async |what: &str| {
        loop {
            let answer = timeout(PATIENCE / 2, follower.hear()).await;
            let answer = answer.unwrap_or_else(|_| panic!("waited for {what}, heard {heard:?}"));
            let Answer::Event(event) = answer else { panic!("an event") };
            let name = serde_json::to_value(&event).unwrap()["event"].as_str().unwrap().to_owned();
            heard.push(name.clone());
            if name == what {
                return;
            }
        }
    };
    until("tunnel").await;
    // It knows that it was let in, and so says farewell.
    let is_in = |s: &pgw_core::tunnel::Status| s.clients[0].session.as_ref().is_some_and(|it| it.lanes > 0);
    world.until("its first lane", is_in).await;
    machine.stop().await;
    until("tunnel_gone").await;
    for name in ["client_online", "tunnel", "client_offline", "tunnel_gone"] {
        assert!(heard.iter().any(|said| said == name), "{name} in {heard:?}");
    }
}

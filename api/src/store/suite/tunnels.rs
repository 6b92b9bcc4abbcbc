use pgw_core::ids::TunnelId;
use pgw_core::tunnel::{
    ClientStatus, Desired, Enrolled, Filter, Origin, PortConflict, PortSpan, Protocol, State, Status,
    TokenHash, TunnelStatus,
};

use super::*;
use crate::events::Kind;
use crate::tunnels::stand_in::session;

fn hash(n: u8) -> TokenHash {
    TokenHash::of([n; 32])
}

fn new_client(name: &str) -> NewTunnelClient {
    NewTunnelClient {
        name: name.to_owned(),
        gateway: None,
        note: "a note".to_owned(),
        enabled: true,
        allowed_ports: vec![PortSpan { from: 10_000, to: 10_010 }],
        max_tunnels: 3,
        max_connections: 100,
        bandwidth: Some(1000),
        token: hash(1),
    }
}

fn wish(protocol: Protocol) -> Wish {
    Wish {
        protocol,
        host: String::new(),
        path: String::new(),
        header: None,
        local_host: "127.0.0.1".to_owned(),
        local_port: 22,
        bandwidth: None,
        max_connections: Some(5),
        max_per_visitor: None,
        requests_per_minute: None,
        visitor_allow: vec!["203.0.113.0/24".parse().unwrap()],
        basic_auth: vec![],
        compression: true,
        proxy_protocol: false,
        udp_idle_s: 60,
    }
}

fn new_tunnel(client: &TunnelClient, name: &str, port: u16) -> NewTunnel {
    NewTunnel {
        tunnel_client_id: client.id,
        name: name.to_owned(),
        enabled: true,
        verified: true,
        code: None,
        public_port: port,
        wish: wish(Protocol::Tcp),
    }
}

fn http(client: &TunnelClient, name: &str) -> NewTunnel {
    let login = NewLogin { username: "bob".to_owned(), password: Some(Secret::new("hunter2")) };
    let wish = Wish { host: "shop".to_owned(), basic_auth: vec![login], ..wish(Protocol::Http) };
    NewTunnel { wish, ..new_tunnel(client, name, 0) }
}

fn ground() -> Ground {
    Ground {
        range: PortRange::spanning(10_000, 32_000),
        forwarders: PortRange::spanning(15_001, 15_999),
        tcp: [10_001].into(),
        udp: [].into(),
    }
}

/// A daemon that holds this, and whose clients are all there.
fn told(desired: &Desired) -> Status {
    let client = |client: &pgw_core::tunnel::ClientSpec| ClientStatus {
        id: client.id,
        name: client.name.clone(),
        session: Some(session(1)),
    };
    let tunnel = |spec: &pgw_core::tunnel::TunnelSpec| TunnelStatus {
        id: spec.id,
        client_id: spec.client_id,
        name: spec.name.clone(),
        origin: Origin::Operator,
        protocol: spec.protocol,
        public_port: spec.public_port,
        route: spec.route.clone(),
        target: spec.target.clone(),
        state: State::Active,
        reason: None,
        bytes_in: 100,
        bytes_out: 200,
        connections: 3,
        active: 1,
    };
    Status {
        version: "1".into(),
        revision: desired.revision,
        draining: false,
        ca_pin: String::new(),
        clients: desired.clients.iter().map(client).collect(),
        tunnels: desired.tunnels.iter().map(tunnel).collect(),
        enrolled: vec![],
    }
}

fn seen(status: Status) -> Seen {
    Seen { status: Some(status), sessions: vec![] }
}

async fn kinds(store: &dyn Store) -> Vec<Kind> {
    store.events_after(0, 1000).await.unwrap().into_iter().map(|event| event.kind).collect()
}

pub(crate) async fn a_tunnel_is_read_back_and_told_to_its_daemon_as_it_was_written(store: Arc<dyn Store>) {
    let client = store.create_tunnel_client(new_client("pi")).await.unwrap();
    assert_eq!((client.gateway.as_str(), client.revision, client.tunnels), ("gw1", 1, 0));
    assert_eq!(
        conflict(store.create_tunnel_client(new_client("pi")).await),
        Conflict::NameTaken("tunnel client")
    );
    let made = store.create_tunnel(new_tunnel(&client, "ssh", 0), &ground()).await.unwrap();
    assert_eq!((made.public_port, made.revision, made.state), (Some(10_000), Some(1), State::Pending));
    assert_eq!(store.tunnel(made.id).await.unwrap(), made);
    let web = store.create_tunnel(http(&client, "web"), &ground()).await.unwrap();
    assert_eq!(conflict(store.create_tunnel(http(&client, "web2"), &ground()).await), Conflict::RouteTaken);

    let desired = store.desired_tunnels(&Filter::open()).await.unwrap();
    desired.check().unwrap();
    assert_eq!(desired.clients[0].allowed_ports, new_client("pi").allowed_ports);
    let [ssh, shop] = desired.tunnels.as_slice() else { panic!("{desired:?}") };
    assert_eq!((ssh.id, ssh.udp_idle_s, ssh.compression), (made.id, 60, true));
    assert_eq!(ssh.limits.visitor_allow, wish(Protocol::Tcp).visitor_allow);
    let login = &shop.limits.basic_auth[0];
    assert_eq!((shop.id, login.username.as_str(), login.password.expose()), (web.id, "bob", "hunter2"));
    assert_eq!(
        store.desired_tunnels(&Filter::open()).await.unwrap(),
        desired,
        "the same content has the same revision"
    );

    let patch = TunnelPatch { local_port: Some(23), if_revision: Some(1), ..TunnelPatch::default() };
    let changed = store.update_tunnel(made.id, patch.clone(), &ground()).await.unwrap();
    assert_eq!((changed.local_port, changed.revision, changed.public_port), (23, Some(2), Some(10_000)));
    let stale = store.update_tunnel(made.id, patch, &ground()).await;
    assert!(matches!(stale, Err(StoreError::Stale { revision: 2 })));
    assert_ne!(store.desired_tunnels(&Filter::open()).await.unwrap().revision, desired.revision);
    let closed = store.close_tunnel(made.id).await.unwrap();
    assert_eq!((closed.enabled, closed.state), (false, State::Offline));
    let desired = store.desired_tunnels(&Filter::open()).await.unwrap();
    assert_eq!((desired.tunnels.len(), desired.reserved[0].from), (1, 10_000), "its port is kept for it");
    assert_eq!(
        conflict(store.remove_tunnel_client(client.id, false, None).await),
        Conflict::HasTunnels { tunnels: 2 }
    );
    assert_eq!(store.remove_tunnel_client(client.id, true, None).await.unwrap(), "gw1");
    not_found(store.tunnel(web.id).await);
    assert_eq!(store.desired_tunnels(&Filter::open()).await.unwrap().clients.len(), 0);
}

pub(crate) async fn a_port_is_given_once_and_a_quota_holds(store: Arc<dyn Store>) {
    let client = store.create_tunnel_client(new_client("pi")).await.unwrap();
    let port = |conflict| Conflict::Port(conflict);
    let make = async |name: &str, asked, protocol| {
        let new = NewTunnel { wish: wish(protocol), ..new_tunnel(&client, name, asked) };
        store.create_tunnel(new, &ground()).await
    };
    assert_eq!(make("a", 10_000, Protocol::Tcp).await.unwrap().public_port, Some(10_000));
    assert_eq!(make("b", 10_000, Protocol::Udp).await.unwrap().public_port, Some(10_000));
    for (asked, want) in [
        (10_000, PortConflict::PortInUse),
        (10_001, PortConflict::PortInUse),
        (15_001, PortConflict::PortReserved),
        (10_011, PortConflict::PortNotAllowed),
    ] {
        assert_eq!(conflict(make("c", asked, Protocol::Both).await), port(want), "{asked}");
    }
    let both = make("c", 0, Protocol::Both).await.unwrap();
    assert_eq!(both.public_port, Some(10_002));
    assert_eq!(conflict(make("d", 0, Protocol::Tcp).await), port(PortConflict::PortQuota));
    let patch = TunnelPatch { protocol: Some(Protocol::Udp), ..TunnelPatch::default() };
    assert_eq!(store.update_tunnel(both.id, patch, &ground()).await.unwrap().public_port, Some(10_002));
}

pub(crate) async fn what_the_daemon_says_is_written_once_and_told_when_it_is_news(store: Arc<dyn Store>) {
    let client = store.create_tunnel_client(new_client("pi")).await.unwrap();
    let tunnel = store.create_tunnel(new_tunnel(&client, "ssh", 0), &ground()).await.unwrap();
    let desired = store.desired_tunnels(&Filter::open()).await.unwrap();
    let before = kinds(&*store).await.len();
    let mut status = told(&desired);
    store.record_tunnels(&seen(status.clone())).await.unwrap();
    let news = kinds(&*store).await.split_off(before);
    assert_eq!(news, [Kind::TunnelClient, Kind::TunnelState]);
    store.record_tunnels(&seen(status.clone())).await.unwrap();
    assert_eq!(kinds(&*store).await.len(), before + 2, "nothing is another");
    let now = store.tunnel(tunnel.id).await.unwrap();
    assert_eq!((now.state, now.bytes_in, now.revision), (State::Active, 100, Some(1)));
    let online = store.tunnel_client(client.id).await.unwrap();
    assert_eq!((online.status, online.enrolled), (TunnelClientStatus::Online, true));

    // It was started anew: it counts from the beginning, and what was counted stays.
    status.tunnels[0].bytes_in = 7;
    let asked = TunnelStatus {
        id: TunnelId(uuid::Uuid::from_u128(9)),
        origin: Origin::Client,
        public_port: Some(10_005),
        ..status.tunnels[0].clone()
    };
    status.tunnels.push(asked.clone());
    store.record_tunnels(&seen(status.clone())).await.unwrap();
    assert_eq!(store.tunnel(tunnel.id).await.unwrap().bytes_in, 107);
    let theirs = store.tunnel(asked.id).await.unwrap();
    assert_eq!((theirs.origin, theirs.revision, theirs.public_port), (Origin::Client, None, Some(10_005)));
    assert_eq!(conflict(store.remove_tunnel(asked.id, None).await), Conflict::TunnelOfClient);
    let taken = store.create_tunnel(new_tunnel(&client, "x", 10_005), &ground()).await;
    assert_eq!(conflict(taken), Conflict::Port(PortConflict::PortInUse));

    status.tunnels.pop();
    status.clients[0].session = None;
    let ended = SessionNews { client: client.id, session: session(1), ended: Some("cable".into()) };
    store.record_tunnels(&Seen { status: Some(status), sessions: vec![ended] }).await.unwrap();
    not_found(store.tunnel(asked.id).await);
    let query = ListQuery { limit: 10, ..ListQuery::default() };
    let sessions = store.tunnel_sessions(client.id, None, &query).await.unwrap().items;
    assert_eq!((sessions.len(), sessions[0].reason.as_deref()), (1, Some("cable")));
    store.record_tunnels(&Seen::default()).await.unwrap();
    let silent = store.tunnel(tunnel.id).await.unwrap();
    assert_eq!((silent.state, silent.bytes_in), (State::Pending, 107));
    assert!(silent.reason.unwrap().contains("does not answer"));
    let census = store.tunnel_census().await.unwrap();
    assert_eq!((census.online, census.offline, census.tunnels[0].bytes_in), (0, 1, 107));
}

/// One that its daemon refuses: it has no name, and an http tunnel is known by that.
pub(crate) async fn what_clients_ask_for_in_vain_keeps_nobody_from_being_seen(store: Arc<dyn Store>) {
    let client = store.create_tunnel_client(new_client("pi")).await.unwrap();
    let tunnel = store.create_tunnel(new_tunnel(&client, "ssh", 0), &ground()).await.unwrap();
    let mut status = told(&store.desired_tunnels(&Filter::open()).await.unwrap());
    let asked = |n| TunnelStatus {
        id: TunnelId(uuid::Uuid::from_u128(n)),
        origin: Origin::Client,
        protocol: Protocol::Http,
        public_port: None,
        state: State::Failed,
        ..status.tunnels[0].clone()
    };
    let (one, other) = (asked(8), asked(9));
    status.tunnels.extend([one.clone(), other.clone()]);
    store.record_tunnels(&seen(status)).await.unwrap();
    assert_eq!(store.tunnel(tunnel.id).await.unwrap().state, State::Active);
    for refused in [one, other] {
        assert_eq!(store.tunnel(refused.id).await.unwrap().state, State::Failed);
    }
}

pub(crate) async fn a_code_makes_one_token_known_and_takes_the_others_with_it(store: Arc<dyn Store>) {
    let client = store.create_tunnel_client(new_client("pi")).await.unwrap();
    let later = Timestamp::now() + jiff::SignedDuration::from_hours(1);
    let first = store.add_enrolment(client.id, hash(7), later).await.unwrap();
    store.add_enrolment(client.id, hash(8), later).await.unwrap();
    store.add_enrolment(client.id, hash(9), Timestamp::UNIX_EPOCH).await.unwrap();
    let desired = store.desired_tunnels(&Filter::open()).await.unwrap();
    assert_eq!(desired.enrolments.len(), 2, "one is too old");
    let used = Enrolled { enrolment: first, client: client.id, token: hash(3) };
    let status = Status { enrolled: vec![used.clone()], ..told(&desired) };
    store.record_tunnels(&seen(status.clone())).await.unwrap();
    let desired = store.desired_tunnels(&Filter::open()).await.unwrap();
    assert_eq!((desired.clients[0].token.clone(), desired.enrolments.len()), (Some(hash(3)), 0));

    let turned = store.replace_tunnel_token(client.id, hash(4)).await.unwrap();
    assert!(!turned.enrolled);
    store.record_tunnels(&seen(status)).await.unwrap();
    let desired = store.desired_tunnels(&Filter::open()).await.unwrap();
    assert_eq!(desired.clients[0].token, Some(hash(4)), "what was taken back does not come again");
}

pub(crate) async fn a_tunnel_is_verified_once_in_time_and_not_by_guessing(store: Arc<dyn Store>) {
    let client = store.create_tunnel_client(new_client("pi")).await.unwrap();
    let later = Timestamp::now() + jiff::SignedDuration::from_mins(10);
    let code = |n| NewCode { hash: hash(n), expires_at: later };
    let new = NewTunnel { verified: false, code: Some(code(7)), ..new_tunnel(&client, "ssh", 0) };
    let id = store.create_tunnel(new, &ground()).await.unwrap().id;
    let desired = store.desired_tunnels(&Filter::open()).await.unwrap();
    assert_eq!((desired.tunnels.len(), desired.reserved.len()), (0, 1));
    assert_eq!(store.tunnel_by_code(&hash(7)).await.unwrap().unwrap().0.id, id);
    for _ in 0..5 {
        assert_eq!(store.verify_tunnel(id, &hash(1)).await.unwrap(), Err(NotVerified::Wrong));
    }
    assert_eq!(store.verify_tunnel(id, &hash(7)).await.unwrap(), Err(NotVerified::Spent));
    assert!(store.tunnel_by_code(&hash(7)).await.unwrap().is_none());
    store.renew_code(id, NewCode { expires_at: Timestamp::UNIX_EPOCH, ..code(8) }).await.unwrap();
    assert_eq!(store.verify_tunnel(id, &hash(8)).await.unwrap(), Err(NotVerified::Expired));
    store.renew_code(id, code(9)).await.unwrap();
    assert!(store.verify_tunnel(id, &hash(9)).await.unwrap().unwrap().verified);
    assert_eq!(store.verify_tunnel(id, &hash(9)).await.unwrap(), Err(NotVerified::NotAsked));
    assert_eq!(conflict(store.renew_code(id, code(9)).await), Conflict::Verified);
    assert_eq!(store.desired_tunnels(&Filter::open()).await.unwrap().tunnels.len(), 1);
}

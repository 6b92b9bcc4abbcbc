//! A tunnel daemon for tests: it holds what it is told, and says of it what the test wants.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use pgw_core::ids::{SessionId, TunnelClientId, TunnelId};
use pgw_core::ports::PortRange;
use pgw_core::settings::TunnelDoor;
use pgw_core::tunnel::{
    Answer, Ask, ClientStatus, Desired, Enrolled, Event, Filter, Origin, Reason, SessionStatus, State,
    Status, TunnelStatus, VisitorRow, socket_path,
};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::broadcast;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use super::listening::Listening;

pub fn door(place: &Path) -> TunnelDoor {
    let ports = PortRange::spanning(10_000, 32_000);
    let targets = Filter { deny: vec!["192.0.2.0/24".parse().unwrap()], ..Filter::open() };
    TunnelDoor { port: 8443, public: None, ports, downloads: place.join("downloads"), targets }
}

/// A machine on which something else has port 10002.
pub fn listening() -> Listening {
    Listening { tcp: [10_002].into(), udp: [].into() }
}

/// What a test can change of it.
pub struct Inside {
    pub desired: Desired,
    pub sessions: BTreeMap<TunnelClientId, SessionStatus>,
    /// That clients asked for.
    pub asked: Vec<TunnelStatus>,
    pub failed: BTreeMap<TunnelId, Reason>,
    pub bytes_in: u64,
    pub enrolled: Vec<Enrolled>,
    pub visitors: Vec<VisitorRow>,
}

pub struct StandIn {
    inside: Arc<Mutex<Inside>>,
    events: broadcast::Sender<Event>,
    _serving: AbortOnDropHandle<()>,
}

pub fn session(n: u128) -> SessionStatus {
    SessionStatus {
        id: SessionId(Uuid::from_u128(n)),
        address: "198.51.100.7:40000".parse().unwrap(),
        version: "1.2.3".into(),
        carrier: "tls".into(),
        age_ms: 1000,
        heard_ms: 20,
        rtt_ms: Some(31),
        lanes: 4,
        bytes_in: 10,
        bytes_out: 20,
        connections: 3,
    }
}

impl StandIn {
    pub fn start(run_dir: &Path) -> Self {
        let path = socket_path(run_dir);
        path.parent().map(std::fs::create_dir_all).transpose().unwrap();
        let listener = UnixListener::bind(path).unwrap();
        let inside = Arc::new(Mutex::new(Inside {
            desired: Desired::nothing(),
            sessions: BTreeMap::new(),
            asked: Vec::new(),
            failed: BTreeMap::new(),
            bytes_in: 0,
            enrolled: Vec::new(),
            visitors: Vec::new(),
        }));
        let (events, _) = broadcast::channel(64);
        let (shared, tell) = (inside.clone(), events.clone());
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(converse(stream, shared.clone(), tell.subscribe()));
            }
        });
        Self { inside, events, _serving: AbortOnDropHandle::new(serving) }
    }

    pub fn inside<T>(&self, look: impl FnOnce(&mut Inside) -> T) -> T {
        look(&mut self.inside.lock().unwrap())
    }

    pub fn comes(&self, client: TunnelClientId, n: u128) {
        self.inside(|inside| inside.sessions.insert(client, session(n)));
        let _followers = self.events.send(Event::ClientOnline { client, session: session(n) });
    }

    pub fn goes(&self, client: TunnelClientId, reason: &str) {
        let session = self.inside(|inside| inside.sessions.remove(&client)).unwrap();
        let _followers = self.events.send(Event::ClientOffline { client, session, reason: reason.into() });
    }
}

async fn converse(stream: UnixStream, inside: Arc<Mutex<Inside>>, mut events: broadcast::Receiver<Event>) {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    while stream.read_line(&mut line).await.is_ok_and(|length| length > 0) {
        let ask: Ask = serde_json::from_str(&line).unwrap();
        line.clear();
        let follows = ask == Ask::Follow;
        let answer = inside.lock().unwrap().answer(ask);
        if say(&mut stream, &answer).await.is_err() {
            return;
        }
        if !follows {
            continue;
        }
        loop {
            let Ok(event) = events.recv().await else { return };
            if say(&mut stream, &Answer::Event(event)).await.is_err() {
                return;
            }
        }
    }
}

async fn say(stream: &mut BufReader<UnixStream>, answer: &Answer) -> std::io::Result<()> {
    let text = serde_json::to_string(answer).unwrap() + "\n";
    stream.write_all(text.as_bytes()).await
}

impl Inside {
    fn answer(&mut self, ask: Ask) -> Answer {
        match ask {
            Ask::Apply { desired } => {
                desired.check().unwrap();
                self.enrolled.retain(|one| desired.enrolments.iter().any(|code| code.id == one.enrolment));
                self.sessions.retain(|id, _| desired.client(*id).is_some_and(|client| client.enabled));
                let revision = desired.revision;
                self.desired = desired;
                Answer::Applied { revision }
            }
            Ask::Status | Ask::Follow => Answer::Status(self.status()),
            Ask::Visitors { .. } => Answer::Visitors { visitors: self.visitors.clone() },
            Ask::Close { tunnel } => {
                let before = self.asked.len();
                self.asked.retain(|asked| asked.id != tunnel);
                Answer::Ended { was_there: self.asked.len() < before }
            }
            Ask::Disconnect { client } => {
                Answer::Ended { was_there: self.sessions.remove(&client).is_some() }
            }
        }
    }

    fn status(&self) -> Status {
        let client = |client: &pgw_core::tunnel::ClientSpec| ClientStatus {
            id: client.id,
            name: client.name.clone(),
            session: self.sessions.get(&client.id).cloned(),
        };
        let tunnel = |spec: &pgw_core::tunnel::TunnelSpec| {
            let reason = self.failed.get(&spec.id).cloned();
            let state = match (&reason, self.sessions.contains_key(&spec.client_id)) {
                (_, false) => State::Offline,
                (Some(_), true) => State::Failed,
                (None, true) => State::Active,
            };
            TunnelStatus {
                id: spec.id,
                client_id: spec.client_id,
                name: spec.name.clone(),
                origin: Origin::Operator,
                protocol: spec.protocol,
                public_port: spec.public_port,
                route: spec.route.clone(),
                target: spec.target.clone(),
                state,
                reason,
                bytes_in: self.bytes_in,
                bytes_out: 2,
                connections: 3,
                active: 1,
            }
        };
        Status {
            version: "1.2.3".into(),
            revision: self.desired.revision,
            draining: false,
            ca_pin: format!("sha256:{}", "d".repeat(64)),
            clients: self.desired.clients.iter().map(client).collect(),
            tunnels: self.desired.tunnels.iter().map(tunnel).chain(self.asked.clone()).collect(),
            enrolled: self.enrolled.clone(),
        }
    }
}

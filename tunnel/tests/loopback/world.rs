//! A gateway, its operator, and the machines around it.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use pgw_core::ids::{TunnelClientId, TunnelId};
use pgw_core::ports::PortRange;
use pgw_core::redact::Secret;
use pgw_core::settings::TunnelSettings;
use pgw_core::tunnel::{
    Answer, Ask, ClientSpec, Desired, Limits, Protocol, State, Status, Target, TokenHash, TunnelSpec,
    TunnelStatus, socket_path,
};
use pgw_tunnel::connect::arguments::Call;
use pgw_tunnel::connect::config::Config;
use pgw_tunnel::connect::run;
use pgw_tunnel::gateway::run as gateway;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream, UdpSocket, UnixStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use uuid::Uuid;

/// Whatever takes longer has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
const RANGE: u16 = 24;

static NEXT: AtomicU16 = AtomicU16::new(0);

pub(crate) struct World {
    pub dir: tempfile::TempDir,
    pub address: SocketAddr,
    pub health: SocketAddr,
    pub pin: String,
    pub base: u16,
    pub desired: Desired,
    /// Of the operator, for visitors.
    pub certificate: Option<(PathBuf, PathBuf)>,
    stop: Option<oneshot::Sender<()>>,
    served: Option<JoinHandle<()>>,
}

impl World {
    pub(crate) async fn new() -> Self {
        let pid = u16::try_from(std::process::id() % 97).unwrap();
        let base = 16_000 + (pid * 7 + NEXT.fetch_add(1, Ordering::Relaxed)) % 600 * RANGE;
        let dir = tempfile::tempdir().unwrap();
        let mut world = Self {
            dir,
            address: ([127, 0, 0, 1], 0).into(),
            health: ([127, 0, 0, 1], 0).into(),
            pin: String::new(),
            base,
            desired: Desired::nothing(),
            certificate: None,
            stop: None,
            served: None,
        };
        world.start().await;
        world
    }

    /// Also again, after a stop, on the same port.
    pub(crate) async fn start(&mut self) {
        let mut settings = TunnelSettings::read(&BTreeMap::new()).unwrap();
        settings.listen = self.address;
        settings.health_listen = ([127, 0, 0, 1], 0).into();
        settings.ports = PortRange::spanning(self.base, self.base + RANGE - 1);
        settings.state_dir = self.dir.path().to_owned();
        settings.run_dir = self.dir.path().to_owned();
        settings.domain = Some("tunnels.example.com".parse().unwrap());
        settings.certificate = self.certificate.clone();
        settings.downloads = self.downloads();
        let ready = gateway::prepare(&settings).unwrap();
        self.address = ready.address().unwrap();
        self.health = ready.health_address().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        self.served = Some(tokio::spawn(ready.serve(async {
            let _dropped = stopped.await;
        })));
        self.stop = Some(stop);
        self.pin = self.status().await.ca_pin;
    }

    pub(crate) fn downloads(&self) -> PathBuf {
        self.dir.path().join("connect")
    }

    /// In order, with a drain.
    pub(crate) async fn stop(&mut self) {
        drop(self.stop.take());
        timeout(PATIENCE * 2, self.served.take().unwrap()).await.unwrap().unwrap();
    }

    /// A client that is known, with its token.
    pub(crate) async fn client(&mut self, name: &str) -> (TunnelClientId, Secret) {
        let token = Secret::new(Uuid::new_v4().simple().to_string().repeat(2));
        let id = TunnelClientId(Uuid::now_v7());
        self.desired.clients.push(ClientSpec {
            id,
            name: name.to_owned(),
            enabled: true,
            token: Some(hash(&token)),
            allowed_ports: Vec::new(),
            max_tunnels: 8,
            max_connections: 2_000,
            bandwidth: None,
        });
        self.apply().await;
        (id, token)
    }

    /// One of the operator's.
    pub(crate) fn tunnel(
        &mut self,
        client: TunnelClientId,
        protocol: Protocol,
        port: u16,
        to: SocketAddr,
    ) -> TunnelId {
        let id = TunnelId(Uuid::now_v7());
        self.desired.tunnels.push(TunnelSpec {
            id,
            name: "of the operator".to_owned(),
            client_id: client,
            protocol,
            public_port: (protocol != Protocol::Http).then_some(port),
            route: None,
            target: Target { host: to.ip().to_string(), port: to.port() },
            limits: Limits::default(),
            compression: false,
            proxy_protocol: false,
            udp_idle_s: 30,
        });
        id
    }

    pub(crate) async fn apply(&mut self) {
        self.desired.revision = Uuid::now_v7();
        let answer = self.ask(&Ask::Apply { desired: self.desired.clone() }).await;
        assert!(matches!(answer, Answer::Applied { .. }), "{answer:?}");
    }

    pub(crate) async fn ask(&self, ask: &Ask) -> Answer {
        let mut operator = Operator::new(self).await;
        operator.say(ask).await;
        operator.hear().await
    }

    pub(crate) async fn follow(&self) -> Operator {
        let mut operator = Operator::new(self).await;
        operator.say(&Ask::Follow).await;
        operator
    }

    pub(crate) async fn status(&self) -> Status {
        match self.ask(&Ask::Status).await {
            Answer::Status(status) => status,
            other => panic!("{other:?}"),
        }
    }

    /// Not all that is waited for is an event.
    pub(crate) async fn until(&self, what: &str, is: impl Fn(&Status) -> bool) -> Status {
        let mut look = tokio::time::interval(Duration::from_millis(20));
        let wait = async {
            loop {
                look.tick().await;
                let status = self.status().await;
                if is(&status) {
                    return status;
                }
            }
        };
        match timeout(PATIENCE, wait).await {
            Ok(status) => status,
            Err(_) => panic!("{what}: {:#?}", self.status().await),
        }
    }

    pub(crate) async fn until_active(&self, count: usize) -> Vec<TunnelStatus> {
        let is = |t: &&TunnelStatus| t.state == State::Active;
        let status = self.until("active", |s| s.tunnels.iter().filter(is).count() == count).await;
        status.tunnels
    }

    pub(crate) async fn until_online(&self, name: &str, online: bool) -> Status {
        let is = |s: &Status| s.clients.iter().any(|c| c.name == name && c.session.is_some() == online);
        self.until(&format!("{name} online: {online}"), is).await
    }

    pub(crate) fn public(&self, port: u16) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, port).into()
    }

    pub(crate) fn config(&self, name: &str, rest: &str) -> Config {
        let (address, pin) = (self.address, &self.pin);
        let yaml = format!("server: {address}\nca: {pin}\n{rest}\nclient:\n  id: {name}\n");
        serde_saphyr::from_str(&yaml).unwrap()
    }

    /// Without this client's own tunnels if `ports` is empty.
    pub(crate) fn connect(&self, name: &str, token: &Secret, ports: &[String]) -> Machine {
        let mut config = self.config(name, "");
        config.token = Some(token.clone());
        let ports = format!("[{}]", ports.join(", "));
        config.client.open_ports = serde_saphyr::from_str(&ports).unwrap();
        Machine::start(config, self.dir.path().join(format!("{name}.token")))
    }
}

/// A client's program.
pub(crate) struct Machine {
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Machine {
    pub(crate) fn start(config: Config, token_file: PathBuf) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            let call = Call { config, token_file, only_enroll: false };
            let stopped = async {
                let _dropped = stopped.await;
            };
            run::run(&call, stopped).await.unwrap();
        });
        Self { stop: Some(stop), task }
    }

    /// In order.
    pub(crate) async fn stop(mut self) {
        drop(self.stop.take());
        timeout(PATIENCE, self.task).await.unwrap().unwrap();
    }

    /// As by SIGKILL: its sockets close, and nothing is said.
    pub(crate) async fn kill(self) {
        self.task.abort();
        let _cancelled = self.task.await;
        drop(self.stop);
    }
}

/// On the control socket.
pub(crate) struct Operator(BufReader<UnixStream>);

impl Operator {
    async fn new(world: &World) -> Self {
        Self(BufReader::new(UnixStream::connect(socket_path(world.dir.path())).await.unwrap()))
    }

    async fn say(&mut self, ask: &Ask) {
        let mut text = serde_json::to_vec(ask).unwrap();
        text.push(b'\n');
        self.0.get_mut().write_all(&text).await.unwrap();
    }

    pub(crate) async fn hear(&mut self) -> Answer {
        let mut line = String::new();
        timeout(PATIENCE, self.0.read_line(&mut line)).await.expect("no answer").unwrap();
        serde_json::from_str(&line).unwrap()
    }
}

pub(crate) fn hash(token: &Secret) -> TokenHash {
    pgw_tunnel::secret::hash(token).unwrap()
}

pub(crate) fn asks(port: u16, protocol: &str, to: SocketAddr) -> String {
    format!(
        "{{remote_port: {port}, protocol: {protocol}, local_host: {}, local_port: {}}}",
        to.ip(),
        to.port()
    )
}

/// Says back what it hears, and ends when the other end does.
pub(crate) async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.into_split();
                let _ended = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    address
}

/// The same for datagrams.
pub(crate) async fn udp_echo() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut room = vec![0; 65_535];
        while let Ok((length, from)) = socket.recv_from(&mut room).await {
            let _full = socket.send_to(&room[..length], from).await;
        }
    });
    address
}

/// Both ways through the tunnel, to the end.
pub(crate) async fn ask_echo(address: SocketAddr, bytes: Vec<u8>) -> Vec<u8> {
    let asked = async {
        let (mut from, mut to) = TcpStream::connect(address).await.unwrap().into_split();
        let talk = tokio::spawn(async move {
            to.write_all(&bytes).await.unwrap();
            to.shutdown().await.unwrap();
        });
        let mut got = Vec::new();
        from.read_to_end(&mut got).await.unwrap();
        talk.await.unwrap();
        got
    };
    timeout(PATIENCE, asked).await.expect("no answer through the tunnel")
}

pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    getrandom::fill(&mut bytes).unwrap();
    bytes
}

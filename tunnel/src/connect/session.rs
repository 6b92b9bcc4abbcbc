//! One stay at the gateway, from the hello to its end.

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use pgw_core::redact::Secret;
use rand::Rng as _;
use tokio::io::ReadHalf;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::carrier::{Carrier, Look};
use super::config::Config;
use super::own_address::is_gone;
use super::target::Targets;
use super::{lanes, ports};
use crate::carrier::{Channel, Io, mux, quic};
use crate::heartbeat::{Beat, Heartbeat};
use crate::wire::hello::{Code, First, Hello, Join, Kind, Refusal, Reply, Welcome};
use crate::wire::word::{ClientWord, GatewayWord};
use crate::wire::{PROTOCOL, line};

const ANSWER: Duration = Duration::from_secs(15);
/// Connections that carry many streams: two, so that a lost packet stops half of them at most.
const MUXES: usize = 2;
/// A clock that went so far ahead of ours means that this machine slept.
const SLEPT: Duration = Duration::from_secs(30);
/// For the gateway to hang up after a farewell: who hangs up first, with words unread, may take the
/// farewell back with them.
const FAREWELL: Duration = Duration::from_secs(3);
const TAKEN: Duration = Duration::from_secs(15);

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    #[error("{0}")]
    Unreachable(#[from] io::Error),
    #[error("the gateway refused: {}", .0.detail)]
    Refused(Refusal),
}

/// Makes further connections of a session.
pub(super) struct Joiner {
    carrier: Arc<Carrier>,
    look: Look,
    welcome: Welcome,
}

/// A session that stands.
pub(super) struct Session {
    io: Box<dyn Io>,
    quic: Option<quinn::Connection>,
    joiner: Arc<Joiner>,
}

impl Joiner {
    pub(super) async fn join(&self, kind: Kind) -> io::Result<Box<dyn Io>> {
        let mut io = self.carrier.connect(self.look).await?;
        let Welcome { session, secret, .. } = &self.welcome;
        let join = First::Join(Join { session: *session, secret: secret.clone(), kind });
        line::write(&mut io, &join).await?;
        Ok(io)
    }
}

impl Session {
    /// Says hello. With a code, the gateway learns the token by it.
    pub(super) async fn begin(
        carrier: Arc<Carrier>,
        look: Look,
        config: &Config,
        token: &Secret,
        ports: bool,
    ) -> Result<Self, Failed> {
        let (mut io, quic): (Box<dyn Io>, _) = match look {
            Look::Tls | Look::WebSocket => (carrier.connect(look).await?, None),
            Look::Quic => {
                let connection = carrier.connect_quic().await?;
                (Box::new(quic::open(&connection).await?), Some(connection))
            }
        };
        let hello = First::Hello(Hello {
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            client: config.client.id.clone(),
            token: token.clone(),
            enrol: config.enroll.clone().map(Code),
            open_ports: if ports { config.client.open_ports.clone() } else { Vec::new() },
            filter: config.filter(),
        });
        line::write(&mut io, &hello).await?;
        let late =
            |_elapsed| io::Error::new(io::ErrorKind::TimedOut, "the gateway does not answer the hello");
        match timeout(ANSWER, line::read::<Reply>(&mut io)).await.map_err(late)?? {
            Reply::Welcome(welcome) => {
                Ok(Self { io, quic, joiner: Arc::new(Joiner { carrier, look, welcome }) })
            }
            Reply::Refused(refusal) => Err(Failed::Refused(refusal)),
        }
    }

    /// Leaves again at once.
    pub(super) async fn leave(mut self) -> io::Result<()> {
        line::write(&mut self.io, &ClientWord::Bye).await?;
        let heard_out = async { while line::read::<GatewayWord>(&mut self.io).await.is_ok() {} };
        let _gone = timeout(FAREWELL, heard_out).await;
        Ok(())
    }

    /// Serves visitors until the session is over; in words, why it is.
    pub(super) async fn run(self, config: &Config, stop: impl Future<Output = ()>) -> String {
        let Self { io, quic, joiner } = self;
        let targets = Targets::new(config.filter(), joiner.welcome.filter.clone());
        let mut tasks = JoinSet::new();
        match quic {
            Some(connection) => {
                tasks.spawn(carry_quic(connection, targets.clone()));
            }
            None => {
                let most = usize::try_from(joiner.welcome.max_lanes).unwrap_or(0);
                tasks.spawn(lanes::keep(joiner.clone(), targets.clone(), most));
                for _ in 0..MUXES {
                    tasks.spawn(carry(joiner.clone(), targets.clone()));
                }
            }
        }
        let (from, mut to) = tokio::io::split(io);
        let (heard, mut hears) = mpsc::channel(16);
        tasks.spawn(listen(from, heard));
        let server = config.server.host.to_string();
        let mut heart = Heartbeat::new(Instant::now());
        let mut ping = Ping::default();
        let mut stop = std::pin::pin!(stop);
        let mut look = tokio::time::interval(Duration::from_secs(5));
        let mut clock = Clock::new();
        let own = joiner.carrier.own_address.now();
        loop {
            let next = match heart.due(Instant::now()) {
                Beat::Dead => return "nothing was heard from the gateway for 45 s".to_owned(),
                Beat::Speak => {
                    heart.speaks(Instant::now());
                    let word = ping.next();
                    if !matches!(timeout(TAKEN, line::write(&mut to, &word)).await, Ok(Ok(()))) {
                        return "the gateway takes no words".to_owned();
                    }
                    continue;
                }
                Beat::Wait(next) => next,
            };
            tokio::select! {
                word = hears.recv() => {
                    let Some(word) = word else { return "the connection broke".to_owned() };
                    heart.hears(Instant::now());
                    match word {
                        GatewayWord::Pong { number } => ping.answered(number),
                        word @ GatewayWord::Port { .. } => ports::tell(&config.client.open_ports, &word, &server),
                        GatewayWord::Filter { filter } => targets.operator_says(filter),
                        GatewayWord::Drain { limit_s } => tracing::info!(limit_s, "the gateway is stopping"),
                        GatewayWord::Replaced => return "a newer session of this client took its place".to_owned(),
                        GatewayWord::Disconnected => return "an operator ended the session".to_owned(),
                        GatewayWord::Revoked { code } => return code.words().to_owned(),
                    }
                }
                () = sleep_until(next) => {}
                _tick = look.tick() => {
                    if clock.slept() {
                        return "this machine slept".to_owned();
                    }
                    if own.is_some_and(is_gone) {
                        return "this machine has another address now".to_owned();
                    }
                }
                () = &mut stop => {
                    let heard_out = async {
                        line::write(&mut to, &ClientWord::Bye).await?;
                        while hears.recv().await.is_some() {}
                        Ok::<(), io::Error>(())
                    };
                    let _gone = timeout(FAREWELL, heard_out).await;
                    return "it was told to stop".to_owned();
                }
            }
        }
    }
}

/// Keeps one connection that carries many streams.
async fn carry(joiner: Arc<Joiner>, targets: Arc<Targets>) {
    loop {
        if let Ok(io) = joiner.join(Kind::Mux).await {
            let mut visitors = Visitors::of(&targets);
            let carried = mux::serve(io, |channel| visitors.take(channel));
            let error = carried.await;
            tracing::debug!(%error, "a carrier ended");
        }
        let pause = rand::rng().random_range(1.0..3.0);
        sleep(Duration::from_secs_f64(pause)).await;
    }
}

/// The gateway opens a stream for each visitor.
async fn carry_quic(connection: quinn::Connection, targets: Arc<Targets>) {
    let mut visitors = Visitors::of(&targets);
    while let Ok(stream) = quic::accept(&connection).await {
        visitors.take(Channel::once(stream));
    }
}

/// Those of one connection, which end with it.
struct Visitors {
    tasks: JoinSet<()>,
    targets: Arc<Targets>,
}

impl Visitors {
    fn of(targets: &Arc<Targets>) -> Self {
        Self { tasks: JoinSet::new(), targets: targets.clone() }
    }

    fn take(&mut self, mut channel: Channel) {
        while self.tasks.try_join_next().is_some() {}
        let targets = self.targets.clone();
        self.tasks.spawn(async move {
            if let Ok(open) = lanes::only(&mut channel).await {
                targets.serve(channel, open).await;
            }
        });
    }
}

async fn listen(mut from: ReadHalf<Box<dyn Io>>, heard: mpsc::Sender<GatewayWord>) {
    while let Ok(word) = line::read::<GatewayWord>(&mut from).await {
        if heard.send(word).await.is_err() {
            return;
        }
    }
}

/// Measures the way there and back.
#[derive(Default)]
struct Ping {
    number: u64,
    said: Option<Instant>,
    rtt_ms: Option<u32>,
}

impl Ping {
    fn next(&mut self) -> ClientWord {
        self.number += 1;
        self.said = Some(Instant::now());
        ClientWord::Ping { number: self.number, rtt_ms: self.rtt_ms }
    }

    fn answered(&mut self, number: u64) {
        if number == self.number
            && let Some(said) = self.said.take()
        {
            self.rtt_ms = u32::try_from(said.elapsed().as_millis()).ok();
        }
    }
}

/// Two clocks: one stands still while the machine sleeps.
struct Clock {
    awake: Instant,
    wall: SystemTime,
}

impl Clock {
    fn new() -> Self {
        Self { awake: Instant::now(), wall: SystemTime::now() }
    }

    /// Since it was asked the last time.
    fn slept(&mut self) -> bool {
        let before = std::mem::replace(self, Self::new());
        let wall = self.wall.duration_since(before.wall).unwrap_or_default();
        wall > self.awake.duration_since(before.awake) + SLEPT
    }
}

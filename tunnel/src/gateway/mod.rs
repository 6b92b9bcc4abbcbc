//! The gateway's end: `pgw-tunneld`.
//!
//! One loop (`converge`) asks what shall be open and makes it so; everything else changes what the
//! answer is, and wakes it.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use pgw_core::ids::{TunnelClientId, TunnelId};
use pgw_core::ports::PortRange;
use pgw_core::resources::file_limit;
use pgw_core::tunnel::{ClientStatus, Desired, Event, Status, VisitorRow};
use tokio::sync::{Notify, Semaphore, broadcast};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::tls::Pin;
use crate::wire::hello::RefusalCode;
use crate::wire::word::GatewayWord;

mod accept;
mod admit;
mod asked;
pub mod ca;
pub mod certificate;
mod control;
mod converge;
mod doors;
mod first;
mod health;
mod http;
mod keep;
mod lanes;
pub mod run;
mod session;
mod strangers;
mod tcp;
mod tunnel;
mod turns;
mod udp;

use asked::Asked;
use http::downloads::Downloads;
use http::route::Routes;
use keep::Keep;
use session::Session;
use tunnel::{Buckets, Tunnel};

/// Events for whoever follows and is slow. One who misses some is given the status.
const EVENTS: usize = 1024;
/// Of the files that the process may open, visitors get this part; the rest is the clients'.
const VISITORS: usize = 2;
const MOST_VISITORS: usize = 1 << 20;
/// For open connections when the gateway stops.
pub const DRAIN: Duration = Duration::from_secs(30);

/// What does not change.
#[derive(Debug, Clone)]
pub struct Fixed {
    pub ports: PortRange,
    pub forwarders: PortRange,
    /// Without the dot in front of it.
    pub domain: Option<String>,
    pub pin: Pin,
    /// Where the programs lie that can be downloaded.
    pub downloads: PathBuf,
}

pub struct Gateway {
    fixed: Fixed,
    keep: Keep,
    downloads: Downloads,
    /// Of all visitors by TCP together.
    crowd: Arc<Semaphore>,
    house: Mutex<House>,
    routes: RwLock<Arc<Routes>>,
    changed: Notify,
    events: broadcast::Sender<Event>,
    tasks: TaskTracker,
    /// Nobody new is let in.
    draining: CancellationToken,
    /// And now those who are still there have to go.
    over: CancellationToken,
}

/// What changes, all of it under one lock that nobody holds while waiting.
struct House {
    desired: Arc<Desired>,
    sessions: BTreeMap<TunnelClientId, Arc<Session>>,
    asked: BTreeMap<TunnelClientId, Asked>,
    tunnels: BTreeMap<TunnelId, Arc<Tunnel>>,
    buckets: BTreeMap<TunnelClientId, (Option<u64>, Buckets)>,
}

impl House {
    /// From now on it is away, whatever is still to be said to it. Its ports are kept for a while.
    fn dismiss(&mut self, client: TunnelClientId) -> Option<Arc<Session>> {
        let session = self.sessions.remove(&client)?;
        if let Some(asked) = self.asked.get_mut(&client) {
            asked.gone = Some(Instant::now());
        }
        Some(session)
    }
}

impl Gateway {
    pub fn new(fixed: Fixed, state_dir: &std::path::Path) -> io::Result<Arc<Self>> {
        let (keep, desired) = Keep::open(state_dir)?;
        let downloads = Downloads::new(fixed.downloads.clone());
        Ok(Arc::new(Self {
            fixed,
            keep,
            downloads,
            crowd: Arc::new(Semaphore::new((file_limit() / VISITORS).min(MOST_VISITORS))),
            house: Mutex::new(House {
                desired: Arc::new(desired),
                sessions: BTreeMap::new(),
                asked: BTreeMap::new(),
                tunnels: BTreeMap::new(),
                buckets: BTreeMap::new(),
            }),
            routes: RwLock::default(),
            changed: Notify::new(),
            events: broadcast::channel(EVENTS).0,
            tasks: TaskTracker::new(),
            draining: CancellationToken::new(),
            over: CancellationToken::new(),
        }))
    }

    /// From now on this is what shall be.
    fn apply(&self, desired: Desired) -> io::Result<()> {
        self.keep.apply(&desired)?;
        let desired = Arc::new(desired);
        let mut house = self.house();
        if house.desired.filter != desired.filter {
            for session in house.sessions.values() {
                session.say(GatewayWord::Filter { filter: desired.filter.clone() });
            }
        }
        house.desired = desired.clone();
        self.send_away(&mut house);
        house.asked.retain(|id, _| desired.client(*id).is_some());
        house.buckets.retain(|id, _| desired.client(*id).is_some());
        drop(house);
        self.changed.notify_one();
        Ok(())
    }

    /// Those who would not be let in now: what they came in with has been taken from them.
    fn send_away(&self, house: &mut House) {
        let enrolled = self.keep.enrolled();
        let mut away = Vec::new();
        for (id, session) in &house.sessions {
            let by_code = enrolled.iter().any(|one| one.client == *id && one.token == session.token);
            let client = house.desired.client(*id);
            let code = match client.filter(|client| by_code || client.token.as_ref() == Some(&session.token))
            {
                None => RefusalCode::WrongToken,
                Some(client) if !client.enabled => RefusalCode::Disabled,
                Some(_) => continue,
            };
            away.push((*id, code));
        }
        for (id, code) in away {
            if let Some(session) = house.dismiss(id) {
                session.say(GatewayWord::Revoked { code });
                session.end(code.words());
            }
        }
    }

    fn status(&self) -> Status {
        let house = self.house();
        let client = |client: &pgw_core::tunnel::ClientSpec| ClientStatus {
            id: client.id,
            name: client.name.clone(),
            session: house.sessions.get(&client.id).map(|session| session.status()),
        };
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            revision: house.desired.revision,
            draining: self.draining.is_cancelled(),
            ca_pin: self.fixed.pin.to_string(),
            clients: house.desired.clients.iter().map(client).collect(),
            tunnels: house.tunnels.values().map(|tunnel| tunnel.status()).collect(),
            enrolled: self.keep.enrolled(),
        }
    }

    fn visitors(&self, id: TunnelId) -> Vec<VisitorRow> {
        self.house().tunnels.get(&id).map(|tunnel| tunnel.visitors()).unwrap_or_default()
    }

    /// Ends what a client asked for.
    fn close(&self, id: TunnelId) -> bool {
        let closed = self.house().asked.values_mut().any(|asked| asked.close_tunnel(id));
        self.changed.notify_one();
        closed
    }

    fn disconnect(&self, client: TunnelClientId) -> bool {
        let session = self.house().dismiss(client);
        if let Some(session) = &session {
            session.say(GatewayWord::Disconnected);
            session.end("an operator ended the session");
            self.changed.notify_one();
        }
        session.is_some()
    }

    fn tell(&self, event: Event) {
        // Nobody has to follow.
        let _followers = self.events.send(event);
    }

    /// A panic elsewhere leaves the house whole: each change is an insert, a remove or an assignment.
    fn house(&self) -> MutexGuard<'_, House> {
        self.house.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn routes(&self) -> Arc<Routes> {
        self.routes.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

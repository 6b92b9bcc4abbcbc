//! What the API has to do with reverse tunnels: it says what shall be open, and hears what is.

pub mod client_file;
mod follow;
pub mod listening;
mod socket;
#[cfg(test)]
pub mod stand_in;
#[cfg(test)]
mod tests;
pub mod verdict;
pub mod wish;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use pgw_core::active::ActiveTunnels;
use pgw_core::ids::{TunnelClientId, TunnelId};
use pgw_core::ports::PortRange;
use pgw_core::settings::TunnelDoor;
use pgw_core::tunnel::{
    Answer, Ask, Desired, Origin, State, Status, TokenHash, TunnelStatus, VisitorRow, socket_path,
};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use crate::converge::Settled;
use crate::store::{By, Ground, Seen, SessionNews, Store, StoreError};
use listening::Listening;
use socket::Line;
pub use socket::Silent;

/// A caller waits so long for its change to be what is open.
const SETTLE: Duration = Duration::from_secs(3);
/// The daemon makes a change so in a millisecond or two.
const AGAIN: Duration = Duration::from_millis(10);
/// Sessions that began or ended while the database was away.
const MOST_NEWS: usize = 4096;

/// The line to this gateway's `pgw-tunneld`. Level and not edge: each look reads what shall be, tells it
/// if the daemon holds something else, and writes down what is.
pub struct Link {
    pub door: TunnelDoor,
    pub forwarders: PortRange,
    store: Arc<dyn Store>,
    socket: PathBuf,
    health_token: Option<TokenHash>,
    listening: fn() -> Listening,
    /// What is open on the public ports is another now.
    reopened: Box<dyn Fn() + Send + Sync>,
    /// One look at a time.
    turn: tokio::sync::Mutex<()>,
    news: Mutex<Vec<SessionNews>>,
    /// None while it does not answer.
    last: RwLock<Option<Arc<Status>>>,
    /// Why it does not answer, where somebody needs it.
    trouble: Mutex<Option<String>>,
    wake: Notify,
}

/// Why a look came to nothing.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Silent(#[from] Silent),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What one needs to be built.
pub struct Parts {
    pub store: Arc<dyn Store>,
    pub door: TunnelDoor,
    pub forwarders: PortRange,
    /// Of those who may ask the daemon itself which clients are there.
    pub health_token: Option<TokenHash>,
    pub listening: fn() -> Listening,
    pub reopened: Box<dyn Fn() + Send + Sync>,
}

impl Link {
    pub fn new(parts: Parts, run_dir: &Path) -> Self {
        let Parts { store, door, forwarders, health_token, listening, reopened } = parts;
        Self {
            door,
            forwarders,
            store,
            socket: socket_path(run_dir),
            health_token,
            listening,
            reopened,
            turn: tokio::sync::Mutex::new(()),
            news: Mutex::default(),
            last: RwLock::default(),
            trouble: Mutex::default(),
            wake: Notify::new(),
        }
    }

    /// Something that it should be told was written.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Waits, bounded, until what was written is what is open.
    pub async fn settle(&self) -> Settled {
        let settling = async {
            loop {
                match self.look().await {
                    Ok(true) => return Settled::Yes,
                    Ok(false) => sleep(AGAIN).await,
                    Err(trouble) => return Settled::No(trouble.to_string()),
                }
            }
        };
        let late = |_elapsed| Settled::No("the tunnel daemon takes its time".to_owned());
        timeout(SETTLE, settling).await.unwrap_or_else(late)
    }

    /// What the daemon said last; none while it does not answer.
    pub fn last(&self) -> Option<Arc<Status>> {
        self.last.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What is missing, if a tunnel client needs the daemon and it does not answer.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What the agent opens; none while nobody knows.
    pub fn active(&self) -> Option<ActiveTunnels> {
        let status = self.last()?;
        let (mut tcp, mut udp) = open_ports(&status);
        // One outside of the range, which somebody has changed, would make the agent refuse all.
        for ports in [&mut tcp, &mut udp] {
            ports.retain(|port| self.door.ports.contains(*port));
        }
        Some(ActiveTunnels { range: [self.door.ports.base(), self.door.ports.max()], tcp, udp })
    }

    pub async fn visitors(&self, tunnel: TunnelId) -> Result<Vec<VisitorRow>, Silent> {
        match Line::open(&self.socket).await?.ask(&Ask::Visitors { tunnel }).await? {
            Answer::Visitors { visitors } => Ok(visitors),
            other => Err(Silent::unasked(&other)),
        }
    }

    /// What clients pin.
    pub async fn pin(&self) -> Result<String, Silent> {
        match self.last() {
            Some(status) => Ok(status.ca_pin.clone()),
            None => Ok(Line::open(&self.socket).await?.status().await?.ca_pin),
        }
    }

    /// Ends what a client asked for; says whether it was there.
    pub async fn close(&self, tunnel: TunnelId) -> Result<bool, Silent> {
        let was_there = self.end(&Ask::Close { tunnel }).await?;
        let gone = async {
            let mut line = Line::open(&self.socket).await?;
            while line.status().await?.tunnels.iter().any(|told| told.id == tunnel) {
                sleep(AGAIN).await;
            }
            Ok(was_there)
        };
        // Bounded: it is closed all the same.
        timeout(SETTLE, gone).await.unwrap_or(Ok(was_there))
    }

    pub async fn disconnect(&self, client: TunnelClientId) -> Result<bool, Silent> {
        self.end(&Ask::Disconnect { client }).await
    }

    async fn end(&self, ask: &Ask) -> Result<bool, Silent> {
        match Line::open(&self.socket).await?.ask(ask).await? {
            Answer::Ended { was_there } => Ok(was_there),
            other => Err(Silent::unasked(&other)),
        }
    }

    /// What counts when a port is given now.
    pub fn ground(&self) -> Ground {
        let Listening { tcp, udp } = (self.listening)();
        Ground { range: self.door.ports.clone(), forwarders: self.forwarders.clone(), tcp, udp }
    }

    /// True: what shall be open is what is, as far as it can be.
    async fn look(&self) -> Result<bool, Trouble> {
        let _turn = self.turn.lock().await;
        let asked = self.asked().await;
        // Before a document says that nobody asks for a code any more: one that was used in time may have run
        // out while this program was away.
        if let Ok((_, status)) = &asked
            && !status.enrolled.is_empty()
        {
            self.write_down(Some(status.clone())).await?;
        }
        let desired = self.store.desired_tunnels(&self.door.targets).await?;
        let desired = wish::numbered(Desired { health_token: self.health_token.clone(), ..desired });
        let told = match asked {
            Ok((line, status)) => self.tell(line, status, &desired).await,
            Err(silent) => Err(silent),
        };
        let silent = told.as_ref().err().filter(|_| !desired.clients.is_empty()).map(ToString::to_string);
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = silent;
        let status = told.as_ref().ok().cloned();
        self.show(status.clone().map(Arc::new));
        let nobody = status.is_none() && desired.clients.is_empty();
        if !nobody {
            self.write_down(status).await?;
        }
        let status = told?;
        if desired.enrolments.iter().any(|code| status.enrolled.iter().any(|used| used.enrolment == code.id))
        {
            // Its machine's token stands in the next document.
            self.wake();
        }
        Ok(is_so(&desired, &status))
    }

    async fn asked(&self) -> Result<(Line, Status), Silent> {
        let mut line = Line::open(&self.socket).await?;
        let status = line.status().await?;
        Ok((line, status))
    }

    async fn tell(&self, mut line: Line, status: Status, desired: &Desired) -> Result<Status, Silent> {
        if status.revision == desired.revision {
            return Ok(status);
        }
        match line.ask(&Ask::Apply { desired: desired.clone() }).await? {
            Answer::Applied { revision } => {
                tracing::debug!(%revision, tunnels = desired.tunnels.len(), "the tunnel daemon was told");
            }
            other => return Err(Silent::unasked(&other)),
        }
        line.status().await
    }

    async fn write_down(&self, status: Option<Status>) -> Result<(), StoreError> {
        // They stay until they are written: whoever waits for this look may go away in the middle of it.
        let seen = Seen { status, sessions: self.news().clone() };
        // And has wanted nothing of what it finds.
        By(None).during(self.store.record_tunnels(&seen)).await?;
        let mut news = self.news();
        let written = seen.sessions.len().min(news.len());
        news.drain(..written);
        Ok(())
    }

    fn show(&self, status: Option<Arc<Status>>) {
        let open = |status: &Option<Arc<Status>>| status.as_deref().map(open_ports);
        let mut last = self.last.write().unwrap_or_else(PoisonError::into_inner);
        let reopened = open(&last) != open(&status);
        *last = status;
        drop(last);
        if reopened {
            (self.reopened)();
        }
    }

    fn news(&self) -> std::sync::MutexGuard<'_, Vec<SessionNews>> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// By TCP, and by UDP.
fn open_ports(status: &Status) -> (BTreeSet<u16>, BTreeSet<u16>) {
    let (mut tcp, mut udp) = (BTreeSet::new(), BTreeSet::new());
    for tunnel in status.tunnels.iter().filter(|tunnel| tunnel.state == State::Active) {
        tcp.extend(tunnel.public_port.filter(|_| tunnel.protocol.has_tcp()));
        udp.extend(tunnel.public_port.filter(|_| tunnel.protocol.has_udp()));
    }
    (tcp, udp)
}

/// The daemon has made of the document what can be made of it.
fn is_so(desired: &Desired, status: &Status) -> bool {
    let operators = || status.tunnels.iter().filter(|tunnel| tunnel.origin == Origin::Operator);
    let is_there = |client| status.clients.iter().any(|told| told.id == client && told.session.is_some());
    let has_settled = |tunnel: &TunnelStatus| match tunnel.state {
        State::Pending => false,
        // Its door is being closed.
        State::Active => is_there(tunnel.client_id),
        State::Offline | State::Failed => true,
    };
    status.revision == desired.revision
        && operators().count() == desired.tunnels.len()
        && operators().all(has_settled)
        && desired.tunnels.iter().all(|spec| {
            operators().any(|tunnel| (tunnel.id, tunnel.public_port) == (spec.id, spec.public_port))
        })
}

//! What shall be open, and is. Asked again after every change, and now and then while something that
//! shall be open is not.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use pgw_core::ids::{TunnelClientId, TunnelId};
use pgw_core::tunnel::{Event, Origin, PortConflict, Reason, State, TunnelSpec};
use tokio::time::Instant;

use super::Gateway;
use super::asked::{self, Ground};
use super::doors::Doors;
use super::http::route::Routes;
use super::session::Session;
use super::tunnel::{Buckets, Tunnel};
use crate::wire::word::GatewayWord;

/// A port that another program has is asked for again.
const AGAIN: Duration = Duration::from_secs(5);
/// Automatic ports that turn out to be another program's, one after the other.
const TRIES: usize = 32;

/// One tunnel as it shall be.
struct Wanted {
    spec: TunnelSpec,
    origin: Origin,
    index: Option<u32>,
    refused: Option<Reason>,
    session: Option<Arc<Session>>,
}

impl Wanted {
    fn shall_open(&self) -> bool {
        self.session.is_some() && self.refused.is_none()
    }
}

/// Runs until the gateway drains.
pub(super) async fn run(gateway: Arc<Gateway>) {
    let mut doors = Doors::default();
    let mut foreign = BTreeSet::new();
    loop {
        let again = gateway.clone().look(&mut doors, &mut foreign).await;
        tokio::select! {
            biased;
            () = gateway.draining.cancelled() => break,
            () = gateway.changed.notified() => {}
            () = wait(again) => {}
        }
    }
    for id in doors.ids() {
        doors.close(id).await;
    }
}

async fn wait(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until).await,
        None => std::future::pending().await,
    }
}

impl Gateway {
    /// One look. Answers when the next one is due, if nothing else happens.
    async fn look(self: Arc<Self>, doors: &mut Doors, foreign: &mut BTreeSet<u16>) -> Option<Instant> {
        for _try in 0..TRIES {
            let (wanted, grace) = self.wanted(foreign);
            let ids: BTreeSet<_> = wanted.iter().map(|one| one.spec.id).collect();
            for id in doors.ids().into_iter().filter(|id| !ids.contains(id)) {
                doors.close(id).await;
            }
            self.forget(&ids);
            // Before anything opens: one may have the port now that another has left.
            for one in &wanted {
                if !one.shall_open() || !doors.is_open(&one.spec) {
                    doors.close(one.spec.id).await;
                }
            }
            let (mut failed, mut clash) = (false, false);
            for one in wanted {
                match self.make_so(one, doors) {
                    Ok(is_well) => failed |= !is_well,
                    Err(taken) => {
                        // Automatic: the next one will do.
                        foreign.insert(taken);
                        clash = true;
                    }
                }
            }
            self.route();
            if !clash {
                // Another program may give a port back.
                foreign.clear();
                return failed.then(|| Instant::now() + AGAIN).into_iter().chain(grace).min();
            }
        }
        Some(Instant::now() + AGAIN)
    }

    /// What shall be, and when a client has been away for too long to have its ports kept.
    fn wanted(&self, foreign: &BTreeSet<u16>) -> (Vec<Wanted>, Option<Instant>) {
        let mut house = self.house();
        let house = &mut *house;
        let desired = house.desired.clone();
        let grace = Duration::from_secs(desired.grace_s.into());
        let now = Instant::now();
        house.asked.retain(|_, asked| asked.gone.is_none_or(|gone| now < gone + grace));
        let next = house.asked.values().filter_map(|asked| asked.gone).min().map(|gone| gone + grace);
        let ground = Ground {
            range: &self.fixed.ports,
            forwarders: &self.fixed.forwarders,
            desired: &desired,
            foreign,
        };
        asked::give(&mut house.asked, &ground);
        let session = |client: &TunnelClientId| house.sessions.get(client).cloned();
        // A name is judged by the client, each time: here it could mean something else.
        let filtered = |spec: &TunnelSpec| {
            let refused = desired.filter.judge(spec.target.host.parse().ok()?).err()?;
            Some(Reason {
                code: None,
                detail: format!("the gateway's filter refuses {}: {refused}", spec.target),
            })
        };
        let operators = desired.tunnels.iter().map(|spec| Wanted {
            session: session(&spec.client_id),
            refused: filtered(spec),
            spec: spec.clone(),
            origin: Origin::Operator,
            index: None,
        });
        let clients = house.asked.iter().flat_map(|(client, asked)| {
            asked.tunnels(*client).map(|(index, spec, refused)| Wanted {
                session: session(client),
                refused: refused.or_else(|| filtered(&spec)),
                spec,
                origin: Origin::Client,
                index: Some(index),
            })
        });
        (operators.chain(clients).collect(), next)
    }

    /// `Ok(false)`: it failed, and may be tried again. `Err`: a port that was chosen is another program's.
    fn make_so(self: &Arc<Self>, wanted: Wanted, doors: &mut Doors) -> Result<bool, u16> {
        let id = wanted.spec.id;
        // The client may have gone out of the document in between: the next look knows.
        let Some(tunnel) = self.tunnel(&wanted) else { return Ok(true) };
        let mut again = false;
        let (state, reason) = match (&wanted.session, wanted.refused.clone(), wanted.spec.public_port) {
            (None, _, _) => (State::Offline, None),
            (Some(_), Some(refused), _) => {
                // Another program may give the port back.
                again = refused.code == Some(PortConflict::PortInUse);
                (State::Failed, Some(refused))
            }
            (Some(_), None, None) => (State::Active, None),
            (Some(_), None, Some(_)) if doors.is_open(&wanted.spec) => (State::Active, None),
            (Some(_), None, Some(port)) => match doors.open(self, &wanted.spec, port) {
                Ok(()) => (State::Active, None),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                    if wanted.origin == Origin::Client && self.lets_go(&wanted) {
                        return Err(port);
                    }
                    again = true;
                    (State::Failed, Some(Reason::from(PortConflict::PortInUse)))
                }
                Err(error) => {
                    again = true;
                    let detail = format!("cannot open port {port}: {error}");
                    (State::Failed, Some(Reason { code: None, detail }))
                }
            },
        };
        let session = wanted.session.clone();
        if tunnel.set(session.clone(), state, reason.clone()) {
            tracing::info!(tunnel = %id, name = wanted.spec.name, port = wanted.spec.public_port,
                ?state, reason = reason.as_ref().map(|r| r.detail.as_str()), "tunnel");
            self.tell(Event::Tunnel(tunnel.status()));
        }
        if let (Some(session), Some(index)) = (session, wanted.index) {
            session.learns(
                index,
                GatewayWord::Port { index, state, public_port: wanted.spec.public_port, reason },
            );
        }
        Ok(!again)
    }

    fn lets_go(&self, wanted: &Wanted) -> bool {
        let mut house = self.house();
        let asked = house.asked.get_mut(&wanted.spec.client_id);
        asked.zip(wanted.index).is_some_and(|(asked, index)| asked.let_go(index))
    }

    /// The tunnel as it is wanted, with what the one before has carried.
    fn tunnel(&self, wanted: &Wanted) -> Option<Arc<Tunnel>> {
        let mut house = self.house();
        let house = &mut *house;
        let desired = house.desired.clone();
        let client = desired.client(wanted.spec.client_id)?;
        let fresh = || (client.bandwidth, Buckets::of(client.bandwidth));
        let buckets = house.buckets.entry(client.id).or_insert_with(fresh);
        if buckets.0 != client.bandwidth {
            *buckets = fresh();
        }
        let before = house.tunnels.get(&wanted.spec.id).cloned();
        if let Some(before) = before.as_ref().filter(|before| before.is(&wanted.spec, client)) {
            return Some(before.clone());
        }
        let new = Tunnel::new(wanted.spec.clone(), wanted.origin, client, &buckets.1);
        let new = Arc::new(match before {
            Some(before) => before.changed(new),
            None => new,
        });
        house.tunnels.insert(wanted.spec.id, new.clone());
        Some(new)
    }

    /// Tunnels that nobody wants any more, and all that is on them.
    fn forget(&self, wanted: &BTreeSet<TunnelId>) {
        let mut gone = Vec::new();
        self.house().tunnels.retain(|id, tunnel| {
            let stays = wanted.contains(id);
            if !stays {
                tunnel.over.cancel();
                gone.push(*id);
            }
            stays
        });
        for tunnel in gone {
            tracing::info!(%tunnel, "tunnel closed");
            self.tell(Event::TunnelGone { tunnel });
        }
    }

    fn route(&self) {
        let routes = Routes::of(self.house().tunnels.values(), self.fixed.domain.as_deref());
        *self.routes.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(routes);
    }

    pub(super) fn tunnel_of(&self, id: TunnelId) -> Option<Arc<Tunnel>> {
        self.house().tunnels.get(&id).cloned()
    }
}

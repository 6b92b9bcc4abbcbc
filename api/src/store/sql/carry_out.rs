//! A plan, step by step, inside of the transaction that has read what it was made of.

mod tunnels;

use std::collections::{BTreeMap, BTreeSet};

use pgw_core::health::HealthStatus;
use pgw_core::ids::{ClientId, ClientIp, ProxyId, TunnelClientId};
use pgw_core::ports::PortRange;

use super::db::Connection;
use super::{clients, holds, mappings, ports, proxies};
use crate::declarative::plan::{Deed, Plan, Step, Subject};
use crate::declarative::snapshot::Snapshot;
use crate::store::applies::Touched;
use crate::store::crypt::Vault;
use crate::store::{NewMapping, Owner, ProxyPatch, StoreError};

pub(super) async fn carry_out(
    db: &mut Connection,
    own: &str,
    vault: &Vault,
    plan: &Plan,
    now: &Snapshot,
    range: &PortRange,
) -> Result<Touched, StoreError> {
    let mut work = Work {
        own,
        vault,
        range,
        proxies: now.proxies.iter().map(|(name, known)| (name.clone(), known.id)).collect(),
        clients: now.clients.iter().map(|(ip, known)| (*ip, known.id)).collect(),
        machines: now.tunnel_clients.iter().map(|(name, known)| (name.clone(), known.id)).collect(),
        ports: Some(plan.new_ports(now)),
        touched: Touched::default(),
    };
    work.vacate(db, plan).await?;
    for step in &plan.steps {
        work.step(db, step).await?;
    }
    Ok(work.touched)
}

struct Work<'a> {
    own: &'a str,
    vault: &'a Vault,
    range: &'a PortRange,
    proxies: BTreeMap<String, ProxyId>,
    clients: BTreeMap<ClientIp, ClientId>,
    /// The tunnel clients.
    machines: BTreeMap<String, TunnelClientId>,
    /// Who needs one, until they have been given out: all at once, before the first mapping.
    ports: Option<BTreeSet<ClientIp>>,
    touched: Touched,
}

impl Work<'_> {
    async fn step(&mut self, db: &mut Connection, Step { subject, deed }: &Step) -> Result<(), StoreError> {
        match deed {
            Deed::RemoveMapping(id) => {
                let owner = mappings::remove(db, self.own, *id, None).await?;
                self.close([owner]);
            }
            Deed::RemoveClient(id) => {
                clients::remove(db, self.own, *id, false, None).await?;
                self.touched.closed.insert(*id);
            }
            Deed::RemoveProxy(id) => {
                let owners = proxies::remove(db, self.own, *id, false, None).await?;
                self.close(owners);
            }
            Deed::CreateProxy(new) => {
                let made = proxies::create(db, self.own, self.vault, new.clone()).await?;
                self.touched.redialled.insert(made.id);
                self.proxies.insert(made.name, made.id);
            }
            Deed::ChangeProxy(id, patch, _) => self.change_proxy(db, *id, patch).await?,
            Deed::CreateClient(new) => {
                let made = clients::create(db, self.own, new.clone()).await?;
                // From now on it is registered, and closed.
                self.touched.closed.insert(made.id);
                self.clients.insert(made.ip_cidr, made.id);
            }
            Deed::ChangeClient(id, patch, _) => {
                let touched =
                    if patch.mac.is_some() { &mut self.touched.closed } else { &mut self.touched.opened };
                touched.insert(*id);
                clients::update(db, self.own, *id, patch.clone()).await?;
            }
            Deed::ChangeMapping(id, patch, _) => {
                let mapping = mappings::update(db, self.own, *id, patch.clone()).await?;
                self.touched.needed.insert(mapping.proxy_id);
                self.touched.closed.insert(mapping.client_id);
                if patch.exclusive.is_some() {
                    let sharers = holds::sharers(db, *id).await?;
                    self.close(sharers);
                }
            }
            Deed::CreateMapping(entry) => {
                let new = NewMapping {
                    client_id: self.client(subject)?,
                    proxy_id: *self.proxies.get(&entry.proxy).ok_or(StoreError::NotFound("proxy"))?,
                    priority: entry.priority,
                    target: entry.target,
                    enabled: entry.enabled,
                    expect: entry.expect,
                    exclusive: entry.exclusive,
                };
                self.give_ports(db).await?;
                self.touched.needed.insert(new.proxy_id);
                self.touched.opened.insert(new.client_id);
                mappings::insert(db, self.own, new).await?;
            }
            Deed::Tunnels(deed) => {
                self.touched.tunnels = true;
                self.tunnels(db, subject, deed).await?;
            }
        }
        Ok(())
    }

    async fn change_proxy(
        &mut self,
        db: &mut Connection,
        id: ProxyId,
        patch: &ProxyPatch,
    ) -> Result<(), StoreError> {
        let proxy = proxies::update(db, self.own, self.vault, id, patch.clone()).await?;
        if proxy.health.status == HealthStatus::Unknown {
            self.touched.redialled.insert(id);
        }
        let ProxyPatch {
            name: _,
            note: _,
            labels: _,
            scheme,
            host,
            port,
            username,
            password,
            enabled,
            if_revision: _,
        } = patch;
        let is_dialled_anew = scheme.is_some() || host.is_some() || port.is_some() || username.is_some();
        if is_dialled_anew || password.is_some() || enabled.is_some() {
            let owners = mappings::clients_of_proxy(db, id).await?;
            self.close(owners);
        }
        Ok(())
    }

    /// Other gateways were told of theirs with the write itself.
    fn close(&mut self, owners: impl IntoIterator<Item = Owner>) {
        let own = owners.into_iter().filter(|owner| owner.gateway == self.own);
        self.touched.closed.extend(own.map(|owner| owner.client));
    }

    async fn give_ports(&mut self, db: &mut Connection) -> Result<(), StoreError> {
        let Some(who) = self.ports.take() else { return Ok(()) };
        let who: Vec<ClientId> = who.iter().filter_map(|ip| self.clients.get(ip).copied()).collect();
        ports::ensure(db, self.own, &who, self.range).await
    }

    fn client(&self, subject: &Subject) -> Result<ClientId, StoreError> {
        let id = match subject {
            Subject::Mapping(ip, _) | Subject::Client(ip) => self.clients.get(ip),
            Subject::Proxy(_) | Subject::TunnelClient(_) | Subject::Tunnel(..) => None,
        };
        id.copied().ok_or(StoreError::NotFound("client"))
    }
}

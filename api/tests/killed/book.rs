//! What was asked of the API, and what it answered.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use pgw_core::ids::{ClientId, MappingId, ProxyId};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::api::Operator;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    There,
    Gone,
    /// Its removal was asked for, and nobody answered.
    Unknown,
}

#[derive(Default)]
pub(crate) struct Book {
    pages: Mutex<Pages>,
    /// For names and addresses that nobody had before.
    next: AtomicU32,
    answered: AtomicUsize,
}

#[derive(Default)]
struct Pages {
    proxies: HashMap<Uuid, Fate>,
    clients: HashMap<Uuid, Fate>,
    /// With client and proxy.
    mappings: HashMap<Uuid, (Fate, Uuid, Uuid)>,
}

impl Book {
    pub(crate) async fn write_until_nobody_answers(&self, operator: &Operator, seed: u64) {
        let mut dice = StdRng::seed_from_u64(seed);
        while self.write(operator, &mut dice).await.is_some() {
            self.answered.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// None: nobody answered.
    async fn write(&self, operator: &Operator, dice: &mut StdRng) -> Option<()> {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        match dice.random_range(0..100) {
            0..15 => {
                let proxy =
                    json!({"name": format!("p{n}"), "scheme": "http", "host": "127.0.0.1", "port": 9});
                let id = made(operator.ask(Method::POST, "/v1/proxies", Some(proxy)).await?)?;
                self.pages.lock().unwrap().proxies.insert(id, Fate::There);
            }
            15..45 => {
                // Of no network that a machine is likely to be in: its own addresses are refused.
                let ip = format!("100.{}.{}.{}", 64 + (n >> 16), (n >> 8) & 255, n & 255);
                let client = json!({"name": format!("c{n}"), "ip_cidr": ip});
                let id = made(operator.ask(Method::POST, "/v1/clients", Some(client)).await?)?;
                self.pages.lock().unwrap().clients.insert(id, Fate::There);
            }
            45..80 => {
                let Some((client, proxy)) = self.pages.lock().unwrap().pair(dice) else { return Some(()) };
                let mapping = json!({"client_id": client, "proxy_id": proxy});
                let answer = operator.ask(Method::POST, "/v1/mappings", Some(mapping)).await?;
                if answer.0 == 201 {
                    self.pages.lock().unwrap().mapped(made(answer)?, client, proxy);
                }
            }
            80..90 => self.remove(operator, dice, "mappings").await?,
            90..97 => self.remove(operator, dice, "clients").await?,
            _ => self.remove(operator, dice, "proxies").await?,
        }
        Some(())
    }

    async fn remove(&self, operator: &Operator, dice: &mut StdRng, what: &str) -> Option<()> {
        let Some(id) = self.pages.lock().unwrap().doomed(what, dice) else { return Some(()) };
        let cascade = if what == "mappings" { "" } else { "?cascade=true" };
        let (status, _) = operator.ask(Method::DELETE, &format!("/v1/{what}/{id}{cascade}"), None).await?;
        if matches!(status, 202 | 204) {
            self.pages.lock().unwrap().gone(what, id);
        }
        Some(())
    }

    pub(crate) fn answered(&self) -> usize {
        self.answered.load(Ordering::Relaxed)
    }

    pub(crate) fn proxies(&self) -> Vec<(ProxyId, Fate)> {
        self.pages.lock().unwrap().proxies.iter().map(|(id, fate)| (ProxyId(*id), *fate)).collect()
    }

    pub(crate) fn clients(&self) -> Vec<(ClientId, Fate)> {
        self.pages.lock().unwrap().clients.iter().map(|(id, fate)| (ClientId(*id), *fate)).collect()
    }

    pub(crate) fn mappings(&self) -> Vec<(MappingId, Fate)> {
        self.pages.lock().unwrap().mappings.iter().map(|(id, (fate, ..))| (MappingId(*id), *fate)).collect()
    }
}

impl Pages {
    fn pair(&self, dice: &mut StdRng) -> Option<(Uuid, Uuid)> {
        Some((one(&self.clients, dice)?, one(&self.proxies, dice)?))
    }

    /// What it belongs to may have been removed meanwhile.
    fn mapped(&mut self, id: Uuid, client: Uuid, proxy: Uuid) {
        let fates = [self.clients.get(&client), self.proxies.get(&proxy)];
        let there = fates.into_iter().flatten().all(|fate| *fate == Fate::There);
        let fate = if there { Fate::There } else { Fate::Unknown };
        self.mappings.insert(id, (fate, client, proxy));
    }

    /// From here on nobody knows, until there is an answer.
    fn doomed(&mut self, what: &str, dice: &mut StdRng) -> Option<Uuid> {
        let there: HashMap<Uuid, Fate> = self.mappings.iter().map(|(id, (fate, ..))| (*id, *fate)).collect();
        let id = match what {
            "mappings" => one(&there, dice),
            "clients" => one(&self.clients, dice),
            _ => one(&self.proxies, dice),
        }?;
        self.all_become(what, id, Fate::Unknown);
        Some(id)
    }

    fn gone(&mut self, what: &str, id: Uuid) {
        self.all_become(what, id, Fate::Gone);
    }

    fn all_become(&mut self, what: &str, id: Uuid, fate: Fate) {
        self.clients.entry(id).and_modify(|now| *now = fate);
        self.proxies.entry(id).and_modify(|now| *now = fate);
        for (mapping, (now, client, proxy)) in &mut self.mappings {
            let concerned = if what == "mappings" { *mapping == id } else { *client == id || *proxy == id };
            if concerned && *now != Fate::Gone {
                *now = fate;
            }
        }
    }
}

fn one(of: &HashMap<Uuid, Fate>, dice: &mut StdRng) -> Option<Uuid> {
    let there: Vec<Uuid> = of.iter().filter(|(_, fate)| **fate == Fate::There).map(|(id, _)| *id).collect();
    there.choose(dice).copied()
}

fn made((status, body): (u16, Value)) -> Option<Uuid> {
    assert_eq!(status, 201, "{body}");
    body.get("id")?.as_str()?.parse().ok()
}

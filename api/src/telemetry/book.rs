//! All that is counted and not written down yet, and how far each forwarder has been counted:
//! behind one lock, so that the two always belong together.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use pgw_core::control::{FwdTraffic, Sum};
use pgw_core::health::Health;
use pgw_core::ids::{ClientId, MappingId, ProxyId};
use serde::Serialize;
use tokio::time::Instant;
use uuid::Uuid;

use super::names::Hour;
use super::series::{Entry, Series};
use super::source::Source;
use crate::store::traffic::{
    Counted, HEALTH_STEPS, HealthRow, HealthSum, NamesRow, TRAFFIC_STEPS, TrafficRecord, TrafficRow,
};

/// Of one port: its forwarder, and those before it that still let their last connections finish.
const MOST_RUNS: usize = 4;

type Way = (ClientId, Option<ProxyId>);

#[derive(Debug)]
pub(super) struct Book {
    traffic: Series<Way, Sum>,
    health: Series<ProxyId, HealthSum>,
    /// By port and run.
    sources: BTreeMap<(u16, u64), Source>,
    /// Written down once, and to be deleted.
    gone: Vec<(u16, u64)>,
    owners: HashMap<MappingId, ProxyId>,
    pub(super) names: Hour,
    /// Since the program began.
    pub(super) totals: Totals,
}

#[derive(Debug, Clone, Default)]
pub struct Totals {
    pub clients: HashMap<ClientId, Sum>,
    pub proxies: HashMap<ProxyId, Sum>,
}

/// What moves just now.
#[derive(Debug, Clone, Default, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Now {
    /// Bits in a second, of all clients together.
    pub up_bps: u64,
    pub down_bps: u64,
    /// Open ones.
    pub connections: u64,
    /// Those on whose connections something moved, or that have any.
    pub clients: Vec<ClientNow>,
}

#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct ClientNow {
    pub client_id: ClientId,
    /// Bits in a second.
    pub up_bps: u64,
    pub down_bps: u64,
    /// Open ones.
    pub connections: u64,
}

impl Book {
    pub(super) fn resume(counted: &[Counted], hour: i64, names: Vec<NamesRow>) -> Self {
        let source = |counted: &Counted| ((counted.port, counted.run), Source::remembered(&counted.carried));
        Self {
            traffic: Series::new(TRAFFIC_STEPS),
            health: Series::new(HEALTH_STEPS),
            sources: counted.iter().map(source).collect(),
            gone: Vec::new(),
            owners: HashMap::new(),
            names: Hour::resume(hour, names),
            totals: Totals::default(),
        }
    }

    /// Is it known by which proxy each of its mappings leads? A mapping may have been given
    /// another one with each new flag file.
    pub(super) fn knows_owners(&self, told: &FwdTraffic) -> bool {
        let Some(source) = self.sources.get(&(told.port, told.run)) else { return false };
        let same_flag = source.seen.is_some_and(|seen| seen.revision == told.revision);
        // One that was asked for and is nobody's any more will not be found the next time either.
        let mut mappings = told.carried.iter().filter_map(|carried| carried.mapping_id);
        same_flag && mappings.all(|mapping| self.owners.contains_key(&mapping) || source.knows(mapping))
    }

    /// Of mappings that are gone by now, what was known before stays, while they are counted.
    pub(super) fn set_owners(&mut self, owners: impl IntoIterator<Item = (MappingId, ProxyId)>) {
        let mut before = std::mem::replace(&mut self.owners, owners.into_iter().collect());
        for carried in self.sources.values().flat_map(Source::counted) {
            if let Some((mapping, proxy)) = carried.mapping_id.and_then(|id| before.remove_entry(&id)) {
                self.owners.entry(mapping).or_insert(proxy);
            }
        }
    }

    /// What a forwarder says of itself.
    pub(super) fn hear(&mut self, told: FwdTraffic, second: i64, now: Instant) {
        let key = (told.port, told.run);
        let source = self.sources.entry(key).or_insert_with(Source::fresh);
        let news = source.hear(&told, now);
        let named = if told.names.is_empty() { Vec::new() } else { source.hear_names(&told.names) };
        for carried in news {
            let proxy = carried.mapping_id.and_then(|mapping| self.owners.get(&mapping).copied());
            self.traffic.add(second, (told.client_id, proxy), carried.sum);
            self.totals.clients.entry(told.client_id).or_default().add(carried.sum);
            if let Some(proxy) = proxy {
                self.totals.proxies.entry(proxy).or_default().add(carried.sum);
            }
        }
        self.names.add(second, told.client_id, named);
        if told.last {
            self.forget(key);
        } else if !told.draining {
            self.forget_former(key, now);
        }
    }

    pub(super) fn checked(&mut self, second: i64, proxy: ProxyId, health: &Health) {
        let answered = health.latency_ms.filter(|_latency| health.error.is_none());
        let sum = HealthSum {
            answered: u32::from(answered.is_some()),
            latency_ms: answered.unwrap_or_default().into(),
            worst: health.status,
        };
        self.health.add(second, proxy, sum);
    }

    /// Everything that is to be written down, with `names` those of the hour that runs, too.
    pub(super) fn take(&mut self, second: i64, names: bool) -> TrafficRecord {
        let row = |Entry { width: step_s, at, key: (client, proxy), value: sum }| TrafficRow {
            step_s,
            at,
            client,
            proxy,
            sum,
        };
        let health =
            |Entry { width: step_s, at, key: proxy, value: sum }| HealthRow { step_s, at, proxy, sum };
        let dirty = self.sources.iter_mut().filter_map(|((port, run), source)| {
            std::mem::take(&mut source.dirty).then(|| Counted {
                port: *port,
                run: *run,
                carried: source.counted(),
            })
        });
        TrafficRecord {
            counted: dirty.collect(),
            traffic: self.traffic.take().into_iter().map(row).collect(),
            health: self.health.take().into_iter().map(health).collect(),
            names: self.names.take(second, names),
            gone: std::mem::take(&mut self.gone),
            forget_at: None,
        }
    }

    /// It could not be written down.
    pub(super) fn put_back(&mut self, record: TrafficRecord) {
        let TrafficRecord { traffic, health, names, counted, gone, .. } = record;
        self.traffic.put_back(traffic.into_iter().map(|row| {
            let TrafficRow { step_s: width, at, client, proxy, sum: value } = row;
            Entry { width, at, key: (client, proxy), value }
        }));
        self.health.put_back(health.into_iter().map(|row| {
            let HealthRow { step_s: width, at, proxy: key, sum: value } = row;
            Entry { width, at, key, value }
        }));
        self.names.put_back(names);
        for Counted { port, run, .. } in counted {
            if let Some(source) = self.sources.get_mut(&(port, run)) {
                source.dirty = true;
            }
        }
        self.gone.extend(gone);
    }

    /// What has happened since something was last written down, in steps of this width.
    pub(super) fn traffic(
        &self,
        width: i64,
        client: Option<ClientId>,
        proxy: Option<ProxyId>,
    ) -> impl Iterator<Item = (i64, Sum)> {
        let wanted = move |(_, (of, by), _): &(i64, Way, Sum)| {
            client.is_none_or(|client| *of == client) && (proxy.is_none() || *by == proxy)
        };
        self.traffic.of_width(width).filter(wanted).map(|(at, _, sum)| (at, sum))
    }

    pub(super) fn health(&self, width: i64, proxy: ProxyId) -> impl Iterator<Item = (i64, HealthSum)> {
        self.health.of_width(width).filter(move |(_, of, _)| *of == proxy).map(|(at, _, sum)| (at, sum))
    }

    /// By what was heard within this time.
    pub(super) fn now(&self, now: Instant, within: Duration) -> Now {
        let mut clients: BTreeMap<Uuid, (f64, f64, u64)> = BTreeMap::new();
        let heard = self.sources.values().filter_map(|source| source.seen);
        for seen in heard.filter(|seen| now.saturating_duration_since(seen.at) <= within) {
            let rate = seen.rate.unwrap_or_default();
            let (up, down, open) = clients.entry(seen.client.0).or_default();
            (*up, *down, *open) = (*up + rate.up, *down + rate.down, *open + u64::from(seen.open));
        }
        let clients = clients.into_iter().map(|(client, (up, down, connections))| ClientNow {
            client_id: ClientId(client),
            up_bps: whole(up),
            down_bps: whole(down),
            connections,
        });
        let mut all = Now { clients: clients.filter(ClientNow::is_something).collect(), ..Now::default() };
        for client in &all.clients {
            all.up_bps = all.up_bps.saturating_add(client.up_bps);
            all.down_bps = all.down_bps.saturating_add(client.down_bps);
            all.connections += client.connections;
        }
        all
    }

    /// Sums of what is no longer there are of no use to anybody.
    pub(super) fn forget_totals(&mut self) {
        let proxies: std::collections::HashSet<_> = self.owners.values().collect();
        self.totals.proxies.retain(|proxy, _| proxies.contains(proxy));
        let clients: std::collections::HashSet<_> =
            self.sources.values().filter_map(|source| source.seen.map(|seen| seen.client)).collect();
        self.totals.clients.retain(|client, _| clients.contains(client));
    }

    fn forget(&mut self, key: (u16, u64)) {
        self.sources.remove(&key);
        self.gone.push(key);
    }

    /// The port has another forwarder by now. Those before it may still tell their last words; who
    /// has not been heard for long has died without any.
    fn forget_former(&mut self, (port, run): (u16, u64), now: Instant) {
        const LAST_WORDS: Duration = Duration::from_secs(60);
        let former = self.sources.range((port, 0)..=(port, u64::MAX)).filter(|((_, of), _)| *of != run);
        let mut former: Vec<_> =
            former.map(|(key, source)| (source.seen.map(|seen| seen.at), *key)).collect();
        former.sort_unstable_by(|one, other| other.cmp(one));
        for (place, (at, key)) in former.into_iter().enumerate() {
            let heard = at.is_some_and(|at| now.saturating_duration_since(at) < LAST_WORDS);
            if !heard || place + 1 >= MOST_RUNS {
                self.forget(key);
            }
        }
    }
}

impl ClientNow {
    fn is_something(&self) -> bool {
        self.connections > 0 || self.up_bps > 0 || self.down_bps > 0
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a speed in bits is far below the largest number"
)]
fn whole(rate: f64) -> u64 {
    rate.round().max(0.0) as u64
}

#[cfg(test)]
mod tests;

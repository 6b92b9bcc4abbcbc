//! What shall be in the kernel: read off the database's plans and the board's facts.

use std::collections::BTreeMap;
use std::sync::Mutex;

use jiff::Timestamp;
use pgw_core::active::{ACTIVE_VERSION, ActiveMapping, ActiveSet, ActiveTunnels, ClosedClient};
use pgw_core::ids::{ClientIp, DatabaseId, Generation};

use crate::activate::facts;
use crate::board::Board;
use crate::store::ClientPlan;

/// Counts the different sets that were given out. It starts at the clock's seconds, so that a
/// new process goes on above the old one's numbers without writing anything down.
pub struct Generations {
    database: DatabaseId,
    last: Mutex<(Generation, Option<ActiveSet>)>,
}

impl Generations {
    pub fn new(now: Timestamp, database: DatabaseId) -> Self {
        let start = Generation(u64::try_from(now.as_second()).unwrap_or(0));
        Self { database, last: Mutex::new((start, None)) }
    }

    fn number(&self, mut set: ActiveSet) -> ActiveSet {
        let mut last = self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (generation, known) = &mut *last;
        set.generation = *generation;
        if known.as_ref() != Some(&set) {
            *generation = Generation(generation.0 + 1);
            set.generation = *generation;
            *known = Some(set.clone());
        }
        set
    }

    /// `tunnels`: which are open, if anybody knows.
    pub fn active_set(
        &self,
        plans: &[ClientPlan],
        board: &Board,
        tunnels: Option<ActiveTunnels>,
    ) -> ActiveSet {
        // A client that is going and a new one may have the same address: the new one decides,
        // and the address is registered until the old one is gone.
        let mut by_address: BTreeMap<ClientIp, &ClientPlan> = BTreeMap::new();
        for plan in plans {
            let entry = by_address.entry(plan.client.ip_cidr).or_insert(plan);
            if entry.going {
                *entry = plan;
            }
        }
        let mut items = Vec::new();
        let mut closed = Vec::new();
        for plan in by_address.values() {
            let open = open_mappings(plan, board);
            if open.is_empty() {
                closed.push(ClosedClient {
                    client_id: plan.client.id,
                    ip_cidr: plan.client.ip_cidr,
                    mac: plan.client.mac,
                });
            }
            items.extend(open);
        }
        let count = by_address.len();
        self.number(ActiveSet {
            version: ACTIVE_VERSION,
            generation: Generation(0),
            database: Some(self.database),
            count,
            items,
            closed,
            tunnels,
        })
    }
}

fn open_mappings(plan: &ClientPlan, board: &Board) -> Vec<ActiveMapping> {
    let Some(port) = plan.port else { return Vec::new() };
    let routes = plan.routes.iter().filter(|route| {
        !plan.going
            && !route.going
            && facts(plan, route, board).wanted()
            && board.forwarder_serves(port, route.mapping.id)
    });
    routes
        .map(|route| ActiveMapping {
            id: route.mapping.id,
            client_id: plan.client.id,
            proxy_id: route.proxy.id,
            ip_cidr: plan.client.ip_cidr,
            port,
            priority: route.mapping.priority,
            mac: plan.client.mac,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use pgw_core::client::Client;
    use pgw_core::exit::Expect;
    use pgw_core::health::{Health, HealthStatus};
    use pgw_core::ids::{ClientId, MappingId, ProxyId};
    use pgw_core::mapping::{Mapping, Target};
    use pgw_core::proxy::{Scheme, Upstream};
    use pgw_core::state::{Forwarder, MappingState};
    use uuid::Uuid;

    use super::*;
    use crate::store::{ProxyDial, Route};

    fn client(id: u128, ip: &str, port: Option<u16>, routes: Vec<Route>) -> ClientPlan {
        let now = Timestamp::UNIX_EPOCH;
        let client = Client {
            id: ClientId(Uuid::from_u128(id)),
            name: format!("client {id}"),
            ip_cidr: ip.parse().unwrap(),
            mac: None,
            note: String::new(),
            gateway: "gw1".into(),
            revision: 1,
            created_at: now,
            updated_at: now,
        };
        ClientPlan { client, going: false, port, routes }
    }

    fn route(id: u128) -> Route {
        let now = Timestamp::UNIX_EPOCH;
        let mapping = Mapping {
            id: MappingId(Uuid::from_u128(id)),
            client_id: ClientId(Uuid::nil()),
            proxy_id: ProxyId(Uuid::from_u128(id)),
            priority: 100,
            target: Target::Original,
            enabled: true,
            expect: Expect::default(),
            exclusive: false,
            stable_exit_ip: None,
            gateway: "gw1".into(),
            port: 15001,
            state: MappingState::Pending,
            reason: String::new(),
            revision: 1,
            applied_at: None,
            created_at: now,
            updated_at: now,
        };
        let upstream = Upstream {
            name: "de1".into(),
            scheme: Scheme::Http,
            host: "proxy.example".parse().unwrap(),
            port: 3128,
            credentials: None,
        };
        let proxy = ProxyDial {
            id: mapping.proxy_id,
            revision: 0,
            enabled: true,
            health: Health::default(),
            upstream,
        };
        Route { mapping, going: false, hold: None, proxy }
    }

    /// A board on which proxy and forwarder of mapping `id` are fine.
    fn fine(id: u128) -> Board {
        let board = Board::new(Duration::from_secs(45));
        board.set_health(
            ProxyId(Uuid::from_u128(id)),
            Health { status: HealthStatus::Ok, ..Health::default() },
        );
        board.forwarder_ready(15001, BTreeSet::from([MappingId(Uuid::from_u128(id))]));
        board
    }

    fn lists(plans: &[ClientPlan], board: &Board) -> (Vec<u16>, usize) {
        let set =
            Generations::new(Timestamp::UNIX_EPOCH, DatabaseId(Uuid::nil())).active_set(plans, board, None);
        set.desired().unwrap();
        (set.items.iter().map(|item| item.port).collect(), set.closed.len())
    }

    #[test]
    fn a_client_is_open_only_when_everything_about_its_mapping_is_fine() {
        let plan = |edit: fn(&mut ClientPlan)| {
            let mut plan = client(1, "10.0.0.3", Some(15001), vec![route(7)]);
            edit(&mut plan);
            lists(&[plan], &fine(7))
        };
        assert_eq!(plan(|_| {}), (vec![15001], 0));
        assert_eq!(plan(|plan| plan.going = true), (vec![], 1), "a client that is going");
        assert_eq!(plan(|plan| plan.routes[0].going = true), (vec![], 1), "a mapping that is going");
        assert_eq!(plan(|plan| plan.routes[0].proxy.enabled = false), (vec![], 1), "a disabled proxy");
        assert_eq!(plan(|plan| plan.routes[0].mapping.enabled = false), (vec![], 1), "a disabled mapping");
        assert_eq!(plan(|plan| plan.routes.clear()), (vec![], 1), "no mapping");
        assert_eq!(plan(|plan| plan.port = None), (vec![], 1), "no port");

        let open = [client(1, "10.0.0.3", Some(15001), vec![route(7)])];
        let no_forwarder = fine(7);
        no_forwarder.forwarder_gone(15001);
        assert_eq!(lists(&open, &no_forwarder), (vec![], 1), "no forwarder");
        let down = fine(7);
        down.set_health(
            ProxyId(Uuid::from_u128(7)),
            Health { status: HealthStatus::Down, ..Health::default() },
        );
        assert_eq!(lists(&open, &down), (vec![], 1), "a proxy that is down");
    }

    #[test]
    fn an_address_that_is_going_and_coming_back_is_listed_once() {
        let mut old = client(1, "10.0.0.3", Some(15002), vec![]);
        old.going = true;
        let new = client(2, "10.0.0.3", Some(15001), vec![route(7)]);
        assert_eq!(lists(&[old.clone(), new.clone()], &fine(7)), (vec![15001], 0));
        assert_eq!(lists(&[new, old.clone()], &fine(7)), (vec![15001], 0));
        assert_eq!(lists(&[old], &fine(7)), (vec![], 1));
    }

    #[test]
    fn the_mac_of_a_client_is_told_whether_it_is_open_or_closed() {
        let mac = "02:00:5e:10:00:03".parse().ok();
        let mut plan = client(1, "10.0.0.3", Some(15001), vec![route(7)]);
        plan.client.mac = mac;
        let generations = Generations::new(Timestamp::UNIX_EPOCH, DatabaseId(Uuid::nil()));
        let set = |board: &Board| generations.active_set(std::slice::from_ref(&plan), board, None);
        let (open, shut) = (set(&fine(7)), set(&Board::new(Duration::from_secs(1))));
        assert_eq!(open.items.iter().map(|item| item.mac).collect::<Vec<_>>(), [mac]);
        assert_eq!(shut.closed.iter().map(|client| client.mac).collect::<Vec<_>>(), [mac]);
    }

    #[test]
    fn a_forwarder_that_does_not_answer_keeps_its_rule_and_is_called_ready_no_more() {
        let plan = client(1, "10.0.0.3", Some(15001), vec![route(7)]);
        let board = fine(7);
        let ready = || facts(&plan, &plan.routes[0], &board).forwarder;
        let ports = || {
            let generations = Generations::new(Timestamp::UNIX_EPOCH, DatabaseId(Uuid::nil()));
            let set = generations.active_set(std::slice::from_ref(&plan), &board, None);
            set.items.iter().map(|item| item.port).collect::<Vec<_>>()
        };
        assert_eq!((ready(), ports()), (Forwarder::Ready, vec![15001]));
        assert!(board.forwarder_silent(15001));
        assert!(matches!(ready(), Forwarder::NotReady(why) if why.contains("does not answer")));
        assert_eq!(ports(), [15001], "whoever comes waits for it, and gets nowhere else");
        assert!(board.forwarder_answers(15001));
        assert_eq!(ready(), Forwarder::Ready);
    }

    #[test]
    fn a_generation_stands_for_one_content() {
        let generations = Generations::new(Timestamp::from_second(1_000).unwrap(), DatabaseId(Uuid::nil()));
        let plans = [client(1, "10.0.0.3", Some(15001), vec![route(7)])];
        let (open, shut) = (fine(7), Board::new(Duration::from_secs(1)));
        let first = generations.active_set(&plans, &open, None).generation;
        assert_eq!(first, Generation(1_001));
        assert_eq!(generations.active_set(&plans, &open, None).generation, first);
        assert_eq!(generations.active_set(&plans, &shut, None).generation, Generation(1_002));
        assert_eq!(generations.active_set(&plans, &shut, None).generation, Generation(1_002));
        let tunnels = ActiveTunnels { range: [10_000, 32_000], tcp: [10_000].into(), udp: [].into() };
        let opened = generations.active_set(&plans, &shut, Some(tunnels));
        assert_eq!(opened.generation, Generation(1_003), "a tunnel's port is news for the agent");
    }
}

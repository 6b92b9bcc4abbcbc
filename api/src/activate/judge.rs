//! What is true of a mapping, and what is written down of it.

use std::net::IpAddr;

use pgw_core::exit::{Hold, SeenExit};
use pgw_core::health::Health;
use pgw_core::state::{Enabled, Facts, Forwarder, MappingState, Rule, step};

use super::Activator;
use crate::board::Board;
use crate::converge::Settled;
use crate::store::{ClientPlan, Route};

/// What came of judging some routes.
pub(super) struct Judged<'a> {
    /// APPLIED now, and not before.
    pub(super) opened: Vec<&'a Route>,
    /// Could all of it be written down?
    pub(super) written: Settled,
}

/// What is true of one route, but for its forwarder's troubles.
pub fn facts(plan: &ClientPlan, route: &Route, board: &Board) -> Facts {
    let exit_ip = exit_ip(&board.health(route.proxy.id));
    facts_with(plan, route, board, exit_ip.map(|ip| hold(plan, route, board, ip)).unwrap_or_default())
}

/// The same, if this were so of its exit address.
pub(super) fn facts_with(plan: &ClientPlan, route: &Route, board: &Board, hold: Hold) -> Facts {
    let health = board.health(route.proxy.id);
    let no_countries = board.no_countries();
    let seen = SeenExit {
        ip: exit_ip(&health),
        country: health.country,
        no_countries: no_countries.as_deref(),
        stable: route.mapping.stable_exit_ip,
        hold,
    };
    let enabled = match (route.proxy.enabled, route.mapping.enabled) {
        (false, _) => Enabled::ProxyDisabled,
        (true, false) => Enabled::MappingDisabled,
        (true, true) => Enabled::Yes,
    };
    let (forwarder, rule) = match plan.port {
        Some(port) if board.is_silent(port) => (
            Forwarder::NotReady("the forwarder does not answer; it is asked again".into()),
            board.rule(plan.client.ip_cidr.addr(), port),
        ),
        Some(port) if board.forwarder_serves(port, route.mapping.id) => {
            (Forwarder::Ready, board.rule(plan.client.ip_cidr.addr(), port))
        }
        Some(_) | None => {
            (Forwarder::NotReady("it is being started".into()), Rule::Absent("not asked for".into()))
        }
    };
    Facts {
        proxy: route.proxy.upstream.name.clone(),
        enabled,
        health: health.status,
        health_error: health.error,
        contract: route.mapping.expect.judge(route.mapping.exclusive, &seen),
        forwarder,
        rule,
    }
}

pub(super) fn exit_ip(health: &Health) -> Option<IpAddr> {
    health.exit_ip.as_ref()?.parse().ok()
}

/// Has it this address for its own, as far as anybody wants one for his own?
fn hold(plan: &ClientPlan, route: &Route, board: &Board, ip: IpAddr) -> Hold {
    match route.hold.as_ref().filter(|hold| hold.exit_ip == ip) {
        Some(hold) => match &hold.rival {
            Some(rival) => Hold::Taken(rival.words(&plan.client.gateway)),
            None => Hold::Own,
        },
        None => board.exit_taken(route.mapping.id, ip).map_or(Hold::None, Hold::Taken),
    }
}

impl Activator {
    /// Decides each route's state and writes down what changed. A database that cannot be written
    /// keeps nobody from going on: a full disk must not keep a door open.
    pub(super) async fn judge<'a>(
        &self,
        plan: &ClientPlan,
        routes: &[&'a Route],
        trouble: Option<&str>,
    ) -> Judged<'a> {
        let mut judged = Judged { opened: Vec::new(), written: Settled::Yes };
        for route in routes {
            let mut facts = facts(plan, route, &self.board);
            if let (Some(why), Forwarder::NotReady(_)) = (trouble, &facts.forwarder) {
                facts.forwarder = Forwarder::NotReady(why.to_owned());
            }
            let before = &route.mapping;
            let mut verdict = step(before.state, &facts);
            if before.state == MappingState::Failed && facts.forwarder == Forwarder::Ready {
                verdict = step(verdict.state, &facts);
            }
            if verdict.state == MappingState::Applied {
                judged.written = judged.written.and(self.keep_exit(route).await);
            }
            // What a closed mapping held is given back with the word that it is closed.
            let holds_on = verdict.state == MappingState::Failed && route.hold.is_some();
            if verdict.state == before.state && verdict.reason == before.reason && !holds_on {
                continue;
            }
            if let Err(error) = self.store.record_verdict(before.id, &verdict).await {
                tracing::warn!(
                    mapping = %before.id, client = %plan.client.name, state = %verdict.state,
                    reason = verdict.reason, error = %error, "a state is known but could not be written down"
                );
                judged.written = judged.written.and(Settled::No(error.to_string()));
                continue;
            }
            if verdict.state != before.state {
                tracing::info!(
                    mapping = %before.id, client = %plan.client.name, proxy = %facts.proxy,
                    from = %before.state, to = %verdict.state, reason = verdict.reason, "mapping changed"
                );
                if verdict.state == MappingState::Applied {
                    judged.opened.push(*route);
                }
            }
        }
        judged
    }

    /// FAILED means closed, so it is taken back before anything opens. Where that cannot be written
    /// down the door stays shut.
    pub(super) async fn recovered<'a>(
        &self,
        plan: &ClientPlan,
        wanted: Vec<&'a Route>,
    ) -> (Vec<&'a Route>, Settled) {
        let (mut kept, mut settled) = (Vec::with_capacity(wanted.len()), Settled::Yes);
        for route in wanted {
            if route.mapping.state == MappingState::Failed {
                let written = self.judge(plan, &[route], None).await.written;
                settled = settled.and(written.clone());
                if written != Settled::Yes {
                    continue;
                }
            }
            kept.push(route);
        }
        (kept, settled)
    }
}

//! The facts of one client, gathered for an explanation: the plan as it is written down, the
//! board's health and rules, and the forwarder's own word, asked for now.

use std::path::Path;

use pgw_core::dns::DnsChoice;
use pgw_core::explain::{AskedClient, Known, KnownRoute};
use pgw_core::state::Forwarder;

use crate::activate::facts;
use crate::board::Board;
use crate::store::ClientPlan;
use crate::units::control;

pub async fn known(plan: ClientPlan, board: &Board, run_dir: &Path, dns: DnsChoice) -> Known {
    let hindered = hindered(plan.port, run_dir).await;
    let route = |route: &crate::store::Route| {
        let mut facts = facts(&plan, route, board);
        if let Some(why) = &hindered {
            facts.forwarder = Forwarder::NotReady(why.clone());
        }
        KnownRoute { mapping: route.mapping.clone(), health: board.health(route.proxy.id), facts }
    };
    let routes = plan.routes.iter().filter(|route| !route.going).map(route).collect();
    let client = AskedClient {
        id: Some(plan.client.id),
        name: Some(plan.client.name.clone()),
        ip_cidr: plan.client.ip_cidr,
    };
    Known { client, port: plan.port, routes, dns }
}

/// Why the forwarder takes nothing new, by its own word or for want of one.
async fn hindered(port: Option<u16>, run_dir: &Path) -> Option<String> {
    match control::status(run_dir, port?).await {
        Ok(status) => status.draining.then(|| "it is stopping".to_owned()),
        Err(error) => Some(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_forwarder_that_does_not_say_that_it_serves_hinders() {
        let run_dir = tempfile::tempdir().unwrap();
        let why = hindered(Some(15001), run_dir.path()).await.unwrap();
        assert!(why.contains("15001"), "{why}");
        assert_eq!(hindered(None, run_dir.path()).await, None, "a client without a port has none to ask");
    }
}

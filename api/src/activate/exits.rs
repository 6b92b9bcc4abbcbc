//! Exit addresses, taken before a door opens: by which one a device leaves is written down first,
//! so that nobody else opens by one that is not to be shared.

use std::net::IpAddr;

use pgw_core::exit::Hold;
use pgw_core::ids::MappingId;

use super::Activator;
use super::judge::{exit_ip, facts_with};
use crate::converge::Settled;
use crate::store::{ClientPlan, ExitHold, Holder, Route};

impl Activator {
    /// For each way that could be open if only its exit address were its own. Who asks in vain asks
    /// again at each look. Where it cannot be written down nobody who wants one for himself gets out.
    pub(super) async fn take_exits(&self, plan: &mut ClientPlan) -> Settled {
        let wanted = self.exits_wanted(plan);
        if wanted.is_empty() {
            return Settled::Yes;
        }
        let refused = match self.store.hold_exits(plan.client.id, &wanted).await {
            Ok(refused) => refused,
            Err(error) => {
                tracing::warn!(client = %plan.client.name, error = %error, "exit addresses cannot be taken");
                return Settled::No(error.to_string());
            }
        };
        for (mapping, exit_ip) in wanted {
            let holder = refused.iter().find(|(id, _)| *id == mapping).map(|(_, holder)| holder);
            let words = holder.map(|holder: &Holder| (exit_ip, holder.words(&plan.client.gateway)));
            if let Some((_, by)) = &words {
                tracing::debug!(%mapping, client = %plan.client.name, %exit_ip, by, "an exit address is taken");
            } else if let Some(route) = plan.routes.iter_mut().find(|route| route.mapping.id == mapping) {
                route.hold = Some(ExitHold { exit_ip, rival: None });
            }
            self.board.set_exit_taken(mapping, words);
        }
        Settled::Yes
    }

    fn exits_wanted(&self, plan: &ClientPlan) -> Vec<(MappingId, IpAddr)> {
        let wanted = |route: &Route| {
            let ip = exit_ip(&self.board.health(route.proxy.id))?;
            let holds_it = route.hold.as_ref().is_some_and(|hold| hold.exit_ip == ip);
            let could_open =
                !plan.going && !route.going && facts_with(plan, route, &self.board, Hold::Own).wanted();
            (could_open && !holds_it).then_some((route.mapping.id, ip))
        };
        plan.routes.iter().filter_map(wanted).collect()
    }

    /// Before it is said that a way is open: from now on this is the address that is expected to stay.
    pub(super) async fn keep_exit(&self, route: &Route) -> Settled {
        let mapping = &route.mapping;
        if !mapping.expect.stable || mapping.stable_exit_ip.is_some() {
            return Settled::Yes;
        }
        let Some(ip) = exit_ip(&self.board.health(route.proxy.id)) else { return Settled::Yes };
        match self.store.keep_exit(mapping.id, ip).await {
            Ok(()) => Settled::Yes,
            Err(error) => Settled::No(error.to_string()),
        }
    }
}

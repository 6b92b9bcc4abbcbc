//! What holds at any moment, whatever is under way.

use pgw_core::state::MappingState;

use super::World;

impl World {
    pub(super) async fn assert_promises(&self) {
        for (ip, port) in self.redirects() {
            let Some(flag) = self.served(port) else { continue };
            // G5: whoever is redirected meets a forwarder of his own, or none. The forwarder refuses
            // every address but its client's; see its own tests.
            assert!(self.kernel.lock().unwrap().registered.contains(&ip));
            assert!(
                flag.client.ip_cidr.addr() == ip
                    || !self.redirects().contains_key(&flag.client.ip_cidr.addr()),
                "{ip} is led to the forwarder of {}",
                flag.client.name
            );
        }
        if let Some(ip) = *self.bystander.lock().unwrap() {
            let port = self.redirects().get(&ip).copied();
            let served = port.and_then(|port| self.served(port));
            assert!(served.is_some_and(|flag| !flag.upstreams.is_empty()), "{ip} was closed without need");
        }
        // G1: closed is closed, and FAILED says that it is.
        for plan in self.plans().await {
            let Some(flag) = plan.port.and_then(|port| self.served(port)) else { continue };
            let led = self.redirects().get(&plan.client.ip_cidr.addr()) == plan.port.as_ref();
            for route in plan.routes.iter().filter(|route| route.mapping.state == MappingState::Failed) {
                let served = flag.upstreams.iter().any(|upstream| upstream.mapping_id == route.mapping.id);
                assert!(
                    !(led && served),
                    "{} is FAILED and open: {}",
                    plan.client.name,
                    route.mapping.reason
                );
            }
        }
    }
}

//! Connections that began under other rules: whose they may be, and their end.

use super::Reconciler;
use crate::conntrack::{self, ConntrackError, House};
use crate::nft::diff::Found;
use crate::nft::ruleset::{Elements, Ruleset};

impl Reconciler {
    /// Before the kernel is changed, so that nothing is forgotten by what fails later. Those
    /// whose rules will be others; all that are registered, if nobody knows under which rules
    /// they have been: an agent that has just begun may be the successor of one that died
    /// between the rules and the connections.
    pub(super) fn owe(&mut self, found: Option<&Found>, wanted: &Ruleset, drifted: bool) {
        let none = Elements::default();
        let before = found.map_or(&none, |found| &found.elements);
        self.owed.extend(conntrack::changed(before, &wanted.elements));
        if drifted || self.left.is_none() {
            self.owed.extend(&wanted.elements.clients);
        }
    }

    /// After the rules are there, so that nothing begins anew. What cannot be ended is tried
    /// again at the next reconcile.
    pub(super) async fn end_flows(&mut self, found: &Found) -> usize {
        if self.owed.is_empty() {
            return 0;
        }
        match self.settle(found).await {
            Ok(ended) => {
                self.owed.clear();
                self.unended = None;
                ended
            }
            Err(error) => {
                let devices = self.owed.len();
                self.unended = Some(format!(
                    "connections from before a change of the rules, of {devices} devices, may still bring \
                     packets in: {error}"
                ));
                0
            }
        }
    }

    async fn settle(&self, found: &Found) -> Result<usize, ConntrackError> {
        let own = self.machine.interfaces.list().map_err(ConntrackError::Addresses)?.addresses;
        let house = House { elements: &found.elements, ports: &self.policy.ports, own: &own };
        conntrack::settle(self.machine.conntrack.as_ref(), &self.owed, &house).await
    }
}

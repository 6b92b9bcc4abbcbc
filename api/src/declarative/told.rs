//! A plan as it is told: in the answer, and before that in a dry run.

use serde::Serialize;
use serde_json::Value;

use super::plan::{Deed, Plan, Step};
use super::tunnel_plan::TunnelDeed;

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, utoipa::ToSchema)]
pub struct ToldPlan {
    pub create: Vec<Thing>,
    pub change: Vec<ChangedThing>,
    pub remove: Vec<Thing>,
    /// How many stay as they are, of those that the document speaks of.
    pub keep: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Thing {
    /// proxy, client, mapping, tunnel_client or tunnel.
    pub what: &'static str,
    /// A proxy's or a tunnel client's name, a client's address; both of a mapping or a tunnel.
    #[schema(example = "192.168.2.3/32 → exit-de")]
    pub name: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct ChangedThing {
    #[serde(flatten)]
    pub thing: Thing,
    pub fields: Vec<FieldChange>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct FieldChange {
    pub field: &'static str,
    /// A password is never told: "(secret)" stands for one.
    pub from: Value,
    pub to: Value,
}

impl Plan {
    pub fn told(&self) -> ToldPlan {
        let mut told = ToldPlan { keep: self.kept, ..ToldPlan::default() };
        for Step { subject, deed } in &self.steps {
            let thing = Thing { what: subject.what(), name: subject.to_string() };
            match deed {
                Deed::CreateProxy(_)
                | Deed::CreateClient(_)
                | Deed::CreateMapping(_)
                | Deed::Tunnels(TunnelDeed::CreateClient(_) | TunnelDeed::Create(_)) => {
                    told.create.push(thing)
                }
                Deed::ChangeProxy(_, _, fields)
                | Deed::ChangeClient(_, _, fields)
                | Deed::ChangeMapping(_, _, fields)
                | Deed::Tunnels(TunnelDeed::ChangeClient(_, _, fields) | TunnelDeed::Change(_, _, fields)) => {
                    told.change.push(ChangedThing { thing, fields: fields.clone() });
                }
                Deed::RemoveMapping(_)
                | Deed::RemoveClient(_)
                | Deed::RemoveProxy(_)
                | Deed::Tunnels(TunnelDeed::RemoveClient(_) | TunnelDeed::Remove(_)) => {
                    told.remove.push(thing)
                }
            }
        }
        told
    }
}

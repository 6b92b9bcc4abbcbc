//! The configuration as one document: what it says, what is, and what has to be done so that both
//! are the same. Nothing in here has an effect; the store carries plans out.

pub mod deadline;
mod diff;
pub mod document;
pub mod effect;
mod export;
pub mod import;
pub mod plan;
#[cfg(test)]
mod properties;
pub mod snapshot;
pub mod told;
pub mod tunnel_plan;
mod tunnel_ports;
pub mod tunnels;
pub mod wanted;

use document::Document;
use plan::Plan;
use snapshot::Snapshot;
use tunnel_ports::Manner;
use wanted::{Mistake, Wanted};

use crate::store::{Conflict, Ground};

/// Why nothing of a document was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// In what was sent.
    Document(Vec<Mistake>),
    /// In what there is.
    Conflict(Conflict),
}

/// What a document would do now. A dry run and the real one both ask here, so that they say the
/// same.
pub fn prepare(document: Document, now: &Snapshot, ground: &Ground) -> Result<Plan, Refused> {
    let wanted = Wanted::of(document, now).map_err(Refused::Document)?;
    let mut plan = plan::plan(&wanted, now);
    let ports = &ground.forwarders;
    let free = ports.count() - now.ports.iter().filter(|port| ports.contains(**port)).count();
    if plan.new_ports(now).len() > free {
        return Err(Refused::Conflict(Conflict::PortsExhausted { range: ports.to_string() }));
    }
    tunnel_ports::give(&mut plan, now, ground, Manner::Strict).map_err(Refused::Conflict)?;
    Ok(plan)
}

/// What brings back what was, as far as it can be.
pub fn undo(wanted: Wanted, now: &Snapshot, ground: &Ground) -> Result<Plan, Conflict> {
    let mut plan = plan::plan(&wanted.fitted(now), now);
    tunnel_ports::give(&mut plan, now, ground, Manner::Lenient)?;
    Ok(plan)
}

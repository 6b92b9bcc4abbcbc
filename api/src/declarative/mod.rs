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
pub mod wanted;

use pgw_core::ports::PortRange;

use document::Document;
use plan::Plan;
use snapshot::Snapshot;
use wanted::{Mistake, Wanted};

use crate::store::Conflict;

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
pub fn prepare(document: Document, now: &Snapshot, ports: &PortRange) -> Result<Plan, Refused> {
    let wanted = Wanted::of(document, now).map_err(Refused::Document)?;
    let plan = plan::plan(&wanted, now);
    let free = ports.count() - now.ports.iter().filter(|port| ports.contains(**port)).count();
    if plan.new_ports(now).len() > free {
        return Err(Refused::Conflict(Conflict::PortsExhausted { range: ports.to_string() }));
    }
    Ok(plan)
}

//! Why a device gets out, or does not: the facts that decide it, told as a way with steps, and
//! what would have to change. `walk` goes the way; nothing here looks anything up.

mod destination;
#[cfg(test)]
mod tests;
mod walk;
mod words;

use serde::Serialize;

use crate::country::Country;
use crate::dns::DnsChoice;
use crate::health::Health;
use crate::ids::{ClientId, ClientIp, MappingId, ProxyId};
use crate::mapping::{Mapping, Target};
use crate::state::{Facts, MappingState};

pub use walk::explain;

pub const DEFAULT_PORT: u16 = 443;

/// Where a device would like to go, by TCP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Destination {
    /// As it was asked for: it is not looked up. None is anywhere beyond the gateway.
    pub host: Option<String>,
    pub port: u16,
    /// Of the gateway itself, which is never redirected.
    pub at_gateway: bool,
}

/// Who would like to go there.
#[derive(Debug, Clone)]
pub enum Subject {
    /// The gateway itself.
    Gateway(ClientIp),
    Stranger(ClientIp),
    Registered(Known),
}

/// All that is known of a registered device.
#[derive(Debug, Clone)]
pub struct Known {
    pub client: AskedClient,
    /// None while it has no mapping.
    pub port: Option<u16>,
    /// In failover order.
    pub routes: Vec<KnownRoute>,
    pub dns: DnsChoice,
}

#[derive(Debug, Clone)]
pub struct KnownRoute {
    pub mapping: Mapping,
    pub health: Health,
    pub facts: Facts,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AskedClient {
    /// None: this address is not registered.
    pub id: Option<ClientId>,
    pub name: Option<String>,
    pub ip_cidr: ClientIp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// By its own upstream.
    LeavesBy,
    /// Not at all.
    Closed,
    /// By its own upstream or not at all: the agent, which would know, does not answer.
    Unconfirmed,
    /// At the gateway itself, whatever upstreams there are.
    AtGateway,
    /// The device is none of ours.
    NotRegistered,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Explanation {
    pub client: AskedClient,
    pub destination: Destination,
    pub verdict: Outcome,
    /// The verdict in one sentence.
    pub summary: String,
    /// With verdict `leaves_by`, and with `unconfirmed` the way that it would be.
    pub leaves_by: Option<WayOut>,
    /// The way, up to where it ends.
    pub steps: Vec<Step>,
    /// In failover order.
    pub upstreams: Vec<Upstream>,
    /// All of these, for the verdict to be `leaves_by`.
    pub what_would_have_to_change: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WayOut {
    pub mapping_id: MappingId,
    pub proxy_id: ProxyId,
    pub proxy: String,
    /// As whom the world sees it; none if the health probe's answers do not tell.
    pub exit_ip: Option<String>,
    /// Where that address is, if it is known.
    pub country: Option<Country>,
    /// The forwarder's.
    pub port: u16,
    /// What the upstream is asked for.
    pub target: Target,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum StepName {
    /// Is the device registered, and has it a mapping?
    Registered,
    /// What becomes of this port?
    Destination,
    /// Which upstream works?
    Upstream,
    /// Does the device's forwarder listen, with that upstream?
    Forwarder,
    /// Does the kernel lead the device to it?
    Rule,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Passes {
    Yes,
    No,
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Step {
    pub step: StepName,
    pub passes: Passes,
    pub detail: String,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Upstream {
    pub mapping_id: MappingId,
    pub proxy_id: ProxyId,
    pub proxy: String,
    pub priority: u16,
    /// As it was written down last.
    pub state: MappingState,
    pub health: Health,
    pub usable: bool,
    /// Why it is used first, stands by, or cannot be used.
    pub why: String,
}

//! One client's way out by one proxy. Several of them are the client's failover list.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::exit::Expect;
use crate::ids::{ClientId, MappingId, ProxyId};
use crate::state::MappingState;

/// What the upstream is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// The address that the client dialled.
    #[default]
    Original,
    /// The name in the client's TLS hello or HTTP request, so that the upstream resolves it.
    Hostname,
}

/// Lower goes first.
pub const DEFAULT_PRIORITY: u16 = 100;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Mapping {
    pub id: MappingId,
    pub client_id: ClientId,
    pub proxy_id: ProxyId,
    pub priority: u16,
    pub target: Target,
    pub enabled: bool,
    /// Of the exit address. Broken means FAILED, until it is so again.
    pub expect: Expect,
    /// No other device leaves by the same exit address. Whoever has it keeps it.
    pub exclusive: bool,
    /// The address to which `expect.stable` holds it: the one with which it was APPLIED first.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub stable_exit_ip: Option<IpAddr>,
    /// Its client's.
    pub gateway: String,
    /// Of that gateway.
    pub port: u16,
    pub state: MappingState,
    /// One sentence that says why the mapping is in this state.
    pub reason: String,
    /// Another one after each change by an operator: what `If-Match` takes.
    pub revision: i64,
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    #[serde(serialize_with = "crate::time::millis")]
    pub applied_at: Option<Timestamp>,
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    #[serde(serialize_with = "crate::time::millis")]
    pub created_at: Timestamp,
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    #[serde(serialize_with = "crate::time::millis")]
    pub updated_at: Timestamp,
}

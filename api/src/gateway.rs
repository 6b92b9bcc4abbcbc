//! What this gateway is called among those that share its database.

use pgw_core::resources::host_name;
use pgw_core::settings::{GATEWAY_ALLOWED, is_gateway_name};

#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    #[error("PGW_GATEWAY is not set, and the host's name cannot be read: {0}")]
    Unknown(#[source] std::io::Error),
    #[error(
        "PGW_GATEWAY is not set, and the host's name {0:?} cannot be used in its place: {GATEWAY_ALLOWED}"
    )]
    Unusable(String),
}

/// What the operator says, or the host's own name.
pub fn name(set: Option<&str>) -> Result<String, GatewayError> {
    if let Some(name) = set {
        return Ok(name.to_owned());
    }
    let host = host_name().map_err(GatewayError::Unknown)?;
    if is_gateway_name(&host) { Ok(host) } else { Err(GatewayError::Unusable(host)) }
}

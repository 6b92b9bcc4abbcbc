//! A registered device.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ids::{ClientId, ClientIp};
use crate::mac::Mac;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Client {
    pub id: ClientId,
    pub name: String,
    pub ip_cidr: ClientIp,
    /// The only hardware address that may use this IP address, if the operator has said one.
    pub mac: Option<Mac>,
    pub note: String,
    /// The gateway to which the device is connected.
    pub gateway: String,
    /// Another one after each change by an operator: what `If-Match` takes.
    pub revision: i64,
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    #[serde(serialize_with = "crate::time::millis")]
    pub created_at: Timestamp,
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    #[serde(serialize_with = "crate::time::millis")]
    pub updated_at: Timestamp,
}

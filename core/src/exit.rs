//! What the operator expects of a way out, and whether it is so: where it comes out, that this
//! stays the same, and that nobody else comes out there.

#[cfg(test)]
mod tests;

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::country::Country;

/// Of the address under which the world sees a device that leaves by this mapping. What is not
/// said may be anything; what is said and cannot be known counts as broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Expect {
    /// This address, or one of this network.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub exit_ip: Option<ExitNet>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub country: Option<Country>,
    /// The address with which it opened first, until somebody accepts another one.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub stable: bool,
}

/// One address or one network, written without a prefix or with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(value_type = String, example = "203.0.113.0/24"))]
#[serde(try_from = "String", into = "String")]
pub struct ExitNet(IpNet);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ExitNetError {
    #[error("is neither an address nor a network, such as 203.0.113.9 or 203.0.113.0/24")]
    Malformed,
    #[error("has bits behind its prefix; the network is written {0}")]
    Beyond(IpNet),
}

/// What is known of a way out, as far as somebody may expect something of it.
#[derive(Debug, Clone, Default)]
pub struct SeenExit<'a> {
    pub ip: Option<IpAddr>,
    pub country: Option<Country>,
    /// Why countries are not known, if they are not.
    pub no_countries: Option<&'a str>,
    /// Which address `stable` holds it to.
    pub stable: Option<IpAddr>,
    pub hold: Hold,
}

/// Is the address this device's, as far as somebody wants one for himself alone?
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Hold {
    /// It is not written down that the device has it.
    #[default]
    None,
    Own,
    /// By whom, in words.
    Taken(String),
}

/// Is it as the operator expects?
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Contract {
    /// Or nothing is expected.
    #[default]
    Kept,
    /// What is, and what was expected, in words.
    Broken(String),
}

impl Expect {
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    pub fn judge(&self, exclusive: bool, seen: &SeenExit<'_>) -> Contract {
        self.breach(exclusive, seen).map_or(Contract::Kept, Contract::Broken)
    }

    fn breach(&self, exclusive: bool, seen: &SeenExit<'_>) -> Option<String> {
        let Some(ip) = seen.ip else {
            let asked = exclusive || !self.is_nothing();
            return asked.then(|| {
                "the probe did not tell the exit address, of which something is expected; PGW_HEALTH_URL must answer \
                 with it"
                    .to_owned()
            });
        };
        let is = match seen.country {
            Some(country) => format!("exit is {ip} ({country})"),
            None => format!("exit is {ip}"),
        };
        if let Some(net) = self.exit_ip.filter(|net| !net.contains(ip)) {
            return Some(format!("{is}, expected {net}"));
        }
        match (self.country, seen.country) {
            (Some(want), Some(found)) if want != found => return Some(format!("{is}, expected {want}")),
            (Some(want), None) => {
                let why = seen.no_countries.unwrap_or("PGW_GEOIP_FILE does not tell it");
                return Some(format!("{is}, expected {want}, and its country is not known: {why}"));
            }
            (Some(_) | None, _) => {}
        }
        if self.stable
            && let Some(before) = seen.stable.filter(|before| *before != ip)
        {
            return Some(format!(
                "{is}, and was {before}, which is expected to stay; with \"stable_exit_ip\": null the new one is accepted"
            ));
        }
        match &seen.hold {
            Hold::Own => None,
            Hold::Taken(by) => Some(format!("exit {ip} is used by {by} already, and is not to be shared")),
            Hold::None => exclusive.then(|| format!("exit {ip} is not reserved for this device yet")),
        }
    }
}

impl ExitNet {
    pub fn contains(self, ip: IpAddr) -> bool {
        self.0.contains(&ip)
    }
}

impl FromStr for ExitNet {
    type Err = ExitNetError;

    fn from_str(text: &str) -> Result<Self, ExitNetError> {
        let text = text.trim();
        let net = match text.parse::<IpAddr>() {
            Ok(ip) => IpNet::from(ip),
            Err(_no_address) => text.parse().map_err(|_nor_a_network| ExitNetError::Malformed)?,
        };
        if net.trunc() == net { Ok(Self(net)) } else { Err(ExitNetError::Beyond(net.trunc())) }
    }
}

impl TryFrom<String> for ExitNet {
    type Error = ExitNetError;

    fn try_from(text: String) -> Result<Self, ExitNetError> {
        text.parse()
    }
}

impl From<ExitNet> for String {
    fn from(net: ExitNet) -> Self {
        net.to_string()
    }
}

impl fmt::Display for ExitNet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.prefix_len() == self.0.max_prefix_len() { self.0.addr().fmt(f) } else { self.0.fmt(f) }
    }
}

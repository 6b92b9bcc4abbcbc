//! Who leaves by which address. A mapping holds its address from before its door opens until it is
//! shut, whichever gateway it is of: so nobody else opens by one that is not to be shared.

use std::net::{IpAddr, Ipv4Addr};

use async_trait::async_trait;
use pgw_core::ids::{ClientId, MappingId};

use super::{Owner, StoreError};

#[async_trait]
pub trait Exits: Send + Sync {
    /// These mappings of one client leave by these addresses from now on. Answers which of them may
    /// not, and who is in the way: somebody who has the address for himself, or who had it when one
    /// was asked for that is not to be shared.
    async fn hold_exits(
        &self,
        client: ClientId,
        wanted: &[(MappingId, IpAddr)],
    ) -> Result<Vec<(MappingId, Holder)>, StoreError>;
    /// Whose else's mappings lead to the same address, by what is held now.
    async fn sharers_of_exit(&self, mapping: MappingId) -> Result<Vec<Owner>, StoreError>;
    /// From now on it is expected to leave by this address, if it is expected to stay at one and
    /// did not have any yet.
    async fn keep_exit(&self, mapping: MappingId, exit_ip: IpAddr) -> Result<(), StoreError>;
}

/// The address that a mapping holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExitHold {
    pub exit_ip: IpAddr,
    /// Who has held the same one for longer, if one of them is not to share it.
    pub rival: Option<Holder>,
}

/// Another device, as it is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    pub client: String,
    pub ip: Ipv4Addr,
    pub gateway: String,
}

impl Holder {
    /// To somebody who looks at this gateway.
    pub fn words(&self, own: &str) -> String {
        let Self { client, ip, gateway } = self;
        if gateway == own { format!("{client} ({ip})") } else { format!("{client} ({ip}, at {gateway})") }
    }
}

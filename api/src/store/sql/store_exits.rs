//! The trait `Exits`, by the table's module.

use std::net::IpAddr;

use async_trait::async_trait;
use pgw_core::ids::{ClientId, MappingId};

use super::holds;
use super::lent::{in_one_read, in_one_write, reading};
use super::store::SqlStore;
use crate::store::{Exits, Holder, Owner, StoreError};

#[async_trait]
impl Exits for SqlStore {
    /// Who waits for an address asks at each look, and writes only when there is something to write.
    async fn hold_exits(
        &self,
        client: ClientId,
        wanted: &[(MappingId, IpAddr)],
    ) -> Result<Vec<(MappingId, Holder)>, StoreError> {
        let in_the_way = in_one_read!(self, db => holds::in_the_way(db, client, wanted))?;
        if in_the_way.len() == wanted.len() {
            return Ok(in_the_way);
        }
        in_one_write!(self, db => holds::take(db, client, wanted))
    }

    async fn sharers_of_exit(&self, mapping: MappingId) -> Result<Vec<Owner>, StoreError> {
        reading!(self, db => holds::sharers(db, mapping))
    }

    async fn keep_exit(&self, mapping: MappingId, exit_ip: IpAddr) -> Result<(), StoreError> {
        in_one_write!(self, db => holds::keep(db, mapping, exit_ip))
    }
}

//! The tables `traffic`, `health_history`, `traffic_names` and `traffic_counted`.

mod read;
mod write;

use async_trait::async_trait;
use pgw_core::control::Sum;
use pgw_core::ids::ClientId;

use super::SqlStore;
use super::lent::{in_one_read, in_one_write, reading};
use crate::store::StoreError;
use crate::store::traffic::{
    Census, Counted, HealthQuery, HealthSum, MappingOwner, NamesRow, Traffic, TrafficQuery, TrafficRecord,
};

#[async_trait]
impl Traffic for SqlStore {
    async fn record_traffic(&self, found: &TrafficRecord) -> Result<(), StoreError> {
        in_one_write!(self, db => write::record(db, &self.gateway, found))
    }

    async fn traffic(&self, query: &TrafficQuery) -> Result<Vec<(i64, Sum)>, StoreError> {
        reading!(self, db => read::over_time(db, query))
    }

    async fn health_history(&self, query: &HealthQuery) -> Result<Vec<(i64, HealthSum)>, StoreError> {
        reading!(self, db => read::health(db, &self.gateway, query))
    }

    async fn names(&self, client: Option<ClientId>, from: i64) -> Result<Vec<NamesRow>, StoreError> {
        reading!(self, db => read::names(db, client, from))
    }

    async fn names_of_hour(&self, at: i64) -> Result<Vec<NamesRow>, StoreError> {
        reading!(self, db => read::names_of_hour(db, at))
    }

    async fn counted(&self) -> Result<Vec<Counted>, StoreError> {
        reading!(self, db => read::counted(db, &self.gateway))
    }

    async fn owners(&self) -> Result<Vec<MappingOwner>, StoreError> {
        reading!(self, db => read::owners(db, &self.gateway))
    }

    async fn census(&self) -> Result<Census, StoreError> {
        in_one_read!(self, db => read::census(db, &self.gateway))
    }
}

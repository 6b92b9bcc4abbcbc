//! The `Applies` trait.

use async_trait::async_trait;
use pgw_core::ids::ApplyId;

use super::lent::{in_one_read, in_one_write, reading};
use super::store::SqlStore;
use super::{applies, snapshot};
use crate::declarative::Refused;
use crate::declarative::document::Document;
use crate::declarative::import::Offered;
use crate::declarative::snapshot::Snapshot;
use crate::store::applies::{Applied, Applies, ApplyRecord, Imported, Terms};
use crate::store::{Ground, StoreError};

#[async_trait]
impl Applies for SqlStore {
    async fn snapshot(&self) -> Result<Snapshot, StoreError> {
        in_one_read!(self, db => snapshot::snapshot(db, &self.gateway, &self.vault))
    }

    async fn apply(&self, document: Document, terms: &Terms) -> Result<Result<Applied, Refused>, StoreError> {
        in_one_write!(self, db => applies::apply(db, &self.vault, &self.gateway, document, terms))
    }

    async fn last_apply(&self) -> Result<Option<ApplyRecord>, StoreError> {
        reading!(self, db => applies::last(db, &self.gateway)).map(|row| row.map(Into::into))
    }

    async fn confirm_apply(&self, id: ApplyId) -> Result<ApplyRecord, StoreError> {
        in_one_write!(self, db => applies::confirm(db, &self.gateway, id))
    }

    async fn roll_back(&self, id: ApplyId, ground: &Ground) -> Result<Option<Applied>, StoreError> {
        in_one_write!(self, db => applies::roll_back(db, &self.vault, &self.gateway, id, ground))
    }

    async fn import(&self, offered: Vec<Offered>) -> Result<Vec<Imported>, StoreError> {
        in_one_write!(self, db => applies::import(db, &self.gateway, &self.vault, offered))
    }
}

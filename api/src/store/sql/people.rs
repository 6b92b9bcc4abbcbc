//! `Users` and `Replies`, by their tables' modules.

use async_trait::async_trait;
use jiff::Timestamp;
use pgw_core::ids::UserId;

use super::lent::{in_one_read, in_one_write, reading};
use super::{SqlStore, replies, sessions, users};
use crate::store::{
    Claim, KnownUser, ListQuery, NewUser, Page, Replies, Reply, Session, StoreError, User, UserPatch, Users,
};

#[async_trait]
impl Users for SqlStore {
    async fn create_user(&self, new: NewUser) -> Result<User, StoreError> {
        in_one_write!(self, db => users::create(db, &self.gateway, new))
    }

    async fn create_first_user(&self, new: NewUser) -> Result<User, StoreError> {
        in_one_write!(self, db => users::create_first(db, &self.gateway, new))
    }

    async fn has_users(&self) -> Result<bool, StoreError> {
        reading!(self, db => users::any(db))
    }

    async fn users(&self, query: &ListQuery) -> Result<Page<User>, StoreError> {
        reading!(self, db => users::list(db, query))
    }

    async fn user(&self, id: UserId) -> Result<User, StoreError> {
        reading!(self, db => users::get(db, id)).map(Into::into)
    }

    async fn update_user(&self, id: UserId, patch: UserPatch) -> Result<User, StoreError> {
        in_one_write!(self, db => users::update(db, &self.gateway, id, patch))
    }

    async fn remove_user(&self, id: UserId, if_revision: Option<i64>) -> Result<(), StoreError> {
        in_one_write!(self, db => users::remove(db, &self.gateway, id, if_revision))
    }

    async fn user_by_name(&self, name: &str) -> Result<Option<KnownUser>, StoreError> {
        reading!(self, db => users::by_name(db, name))
    }

    async fn open_session(&self, user: &KnownUser, hash: &[u8; 32]) -> Result<Option<Session>, StoreError> {
        in_one_write!(self, db => sessions::open(db, user, hash))
    }

    async fn session(&self, hash: &[u8; 32]) -> Result<Option<Session>, StoreError> {
        in_one_read!(self, db => sessions::get(db, hash))
    }

    async fn touch_session(&self, hash: &[u8; 32]) -> Result<(), StoreError> {
        in_one_write!(self, db => sessions::touch(db, hash))
    }

    async fn end_session(&self, hash: &[u8; 32]) -> Result<(), StoreError> {
        in_one_write!(self, db => sessions::end(db, hash))
    }

    async fn forget_sessions(&self, seen: Timestamp, opened: Timestamp) -> Result<(), StoreError> {
        in_one_write!(self, db => sessions::forget(db, seen, opened))
    }
}

#[async_trait]
impl Replies for SqlStore {
    async fn claim_reply(&self, key: &[u8; 32], request: &[u8; 32]) -> Result<Claim, StoreError> {
        in_one_write!(self, db => replies::claim(db, &self.vault, key, request))
    }

    async fn keep_reply(&self, key: &[u8; 32], request: &[u8; 32], reply: &Reply) -> Result<(), StoreError> {
        in_one_write!(self, db => replies::keep(db, &self.vault, key, request, reply))
    }

    async fn release_reply(&self, key: &[u8; 32]) -> Result<(), StoreError> {
        in_one_write!(self, db => replies::release(db, key))
    }
}

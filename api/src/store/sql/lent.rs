//! A connection, lent for one piece of work, and the three kinds of work that there are.

use std::ops::{Deref, DerefMut};

use sqlx::Pool;
use sqlx::pool::PoolConnection;
use tokio::time::error::Elapsed;

use super::db::{Connection, Db};
use crate::store::StoreError;

/// Given back when the work has ended, well or not. Where it was given up in the middle, by a
/// caller who went away or because nobody answered, it is closed: to find out whether it still
/// works could take longer than anybody waits, and there are few of them.
pub(super) struct Lent {
    connection: PoolConnection<Db>,
    given_up: bool,
}

impl Lent {
    pub(super) async fn by(pool: &Pool<Db>) -> Result<Self, StoreError> {
        Ok(Self { connection: pool.acquire().await?, given_up: true })
    }

    /// Work that took too long may still have been done; its caller learns that nobody knows.
    pub(super) fn ended<T>(mut self, work: Result<Result<T, StoreError>, Elapsed>) -> Result<T, StoreError> {
        self.given_up = work.is_err();
        work.unwrap_or_else(|_elapsed| Err(StoreError::silent()))
    }
}

impl Deref for Lent {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if self.given_up {
            self.connection.close_on_drop();
        }
    }
}

/// All of it, or, when any step fails, nothing.
macro_rules! in_one_write {
    ($store:ident, $db:ident => $work:expr) => {{
        let mut lent = super::lent::Lent::by(&$store.write).await?;
        let work = async {
            let mut transaction = super::db::begin_write(&mut lent).await?;
            let $db = &mut *transaction;
            let done = $work.await?;
            transaction.commit().await?;
            $store.committed();
            Ok(done)
        };
        let done = tokio::time::timeout($store.limit, work).await;
        lent.ended(done)
    }};
}

/// Several questions about one moment.
macro_rules! in_one_read {
    ($store:ident, $db:ident => $work:expr) => {{
        let mut lent = super::lent::Lent::by(&$store.read).await?;
        let work = async {
            let mut moment = super::db::begin_read(&mut lent).await?;
            let $db = &mut *moment;
            let found = $work.await?;
            moment.rollback().await?;
            Ok(found)
        };
        let found = tokio::time::timeout($store.limit, work).await;
        lent.ended(found)
    }};
}

/// One question.
macro_rules! reading {
    ($store:ident, $db:ident => $work:expr) => {{
        let mut lent = super::lent::Lent::by(&$store.read).await?;
        let $db = &mut *lent;
        let found = tokio::time::timeout($store.limit, $work).await;
        lent.ended(found)
    }};
}
pub(super) use {in_one_read, in_one_write, reading};

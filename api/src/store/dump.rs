//! All that a database holds, as text that any of them can take: what a backup is made of.

use std::collections::BTreeSet;
use std::io;

use pgw_core::settings::DatabaseUrl;

use super::StoreError;
use super::{postgres, sqlite};

/// A cell as text; none is null.
pub type Cell = Option<String>;

/// A table as its database describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    pub name: String,
    pub columns: Vec<Column>,
    /// Tables whose rows have to be there first.
    pub needs: BTreeSet<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    pub kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    Number,
    /// Written as 0 and 1.
    Boolean,
    /// Written in hexadecimal digits; so are uuids.
    Bytes,
    Uuid,
    Json,
}

/// Takes a dump.
pub trait Sink: Send {
    /// First: the number of the last migration, and whose clients there are.
    fn begin(&mut self, tables: i64, gateways: &[String]) -> io::Result<()>;
    fn table(&mut self, name: &str, columns: &[String]) -> io::Result<()>;
    fn row(&mut self, cells: &[Cell]) -> io::Result<()>;
}

/// Gives a dump, in the order in which it was taken.
pub trait Source: Send {
    fn next(&mut self) -> Result<Option<Part>, DumpError>;
}

#[derive(Debug)]
pub enum Part {
    Table { name: String, columns: Vec<String> },
    Row(Vec<Cell>),
}

#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the database cannot be opened")]
    Open(#[source] sqlx::Error),
    #[error("the tables cannot be made")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    #[error("the backup cannot be written")]
    Write(#[source] io::Error),
    #[error("the backup cannot be read: {0}")]
    Damaged(String),
    #[error("{0} is a kind of column that backups do not know")]
    Kind(String),
    #[error("the database was written by a newer version of pgw; use that version")]
    Newer,
    #[error("the database is not empty; restore into a new one, and keep this one until you are sure")]
    NotEmpty,
}

impl From<sqlx::Error> for DumpError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// Of one moment, while others write.
pub async fn export(url: &DatabaseUrl, to: &mut dyn Sink) -> Result<(), DumpError> {
    match url {
        DatabaseUrl::Sqlite(path) => sqlite::export(path, to).await,
        DatabaseUrl::Postgres(url) => postgres::export(url, to).await,
    }
}

/// Into a database without rows, whose tables are made as they were when the dump was taken: what
/// later versions do to them is then done to these rows, too.
pub async fn import(url: &DatabaseUrl, tables: i64, from: &mut dyn Source) -> Result<(), DumpError> {
    match url {
        DatabaseUrl::Sqlite(path) => sqlite::import(path, tables, from).await,
        DatabaseUrl::Postgres(url) => postgres::import(url, tables, from).await,
    }
}

/// Whoever is needed comes first.
pub(super) fn in_order(mut tables: Vec<Table>) -> Vec<Table> {
    let mut ordered: Vec<Table> = Vec::with_capacity(tables.len());
    while !tables.is_empty() {
        let there: BTreeSet<String> = ordered.iter().map(|table| table.name.clone()).collect();
        let is_ready =
            |table: &Table| table.needs.iter().all(|need| there.contains(need) || *need == table.name);
        let (ready, waiting): (Vec<Table>, Vec<Table>) = tables.into_iter().partition(is_ready);
        if ready.is_empty() {
            // They need each other: no order is right, and their database says so.
            ordered.extend(waiting);
            break;
        }
        ordered.extend(ready);
        tables = waiting;
    }
    ordered
}

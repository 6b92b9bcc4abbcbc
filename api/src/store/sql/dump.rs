//! Every row of every table as text, and back.

use futures_util::TryStreamExt;
use sqlx::migrate::Migrator;
use sqlx::{AssertSqlSafe, Row};

use super::db::{self, Connection};
use crate::store::dump::{Cell, DumpError, Part, Sink, Source, Table, in_order};

/// The number of the last migration that this version knows.
fn newest(tables: &Migrator) -> i64 {
    tables.iter().map(|migration| migration.version).max().unwrap_or(0)
}

pub(in crate::store) async fn export(
    connection: &mut Connection,
    known: &Migrator,
    to: &mut dyn Sink,
) -> Result<(), DumpError> {
    let mut moment = db::begin_read(connection).await?;
    let version: i64 =
        sqlx::query_scalar("select max(version) from _sqlx_migrations").fetch_one(&mut *moment).await?;
    if version > newest(known) {
        return Err(DumpError::Newer);
    }
    let gateways: Vec<String> = sqlx::query_scalar("select distinct gateway from clients order by gateway")
        .fetch_all(&mut *moment)
        .await?;
    to.begin(version, &gateways).map_err(DumpError::Write)?;
    for table in in_order(db::tables(&mut moment).await?) {
        let names: Vec<String> = table.columns.iter().map(|column| column.name.clone()).collect();
        to.table(&table.name, &names).map_err(DumpError::Write)?;
        let cells: Vec<String> =
            table.columns.iter().map(|c| db::as_text(&quoted(&c.name), c.kind)).collect();
        let select = format!("select {} from {}", cells.join(", "), quoted(&table.name));
        let mut rows = sqlx::query(AssertSqlSafe(select)).fetch(&mut *moment);
        while let Some(row) = rows.try_next().await? {
            let cells = (0..names.len()).map(|n| row.try_get(n)).collect::<Result<Vec<Cell>, _>>()?;
            to.row(&cells).map_err(DumpError::Write)?;
        }
    }
    moment.rollback().await?;
    Ok(())
}

/// All of it, or nothing.
pub(in crate::store) async fn import(
    connection: &mut Connection,
    known: &Migrator,
    version: i64,
    from: &mut dyn Source,
) -> Result<(), DumpError> {
    if version > newest(known) {
        return Err(DumpError::Newer);
    }
    let then = known.migrations.iter().filter(|migration| migration.version <= version).cloned().collect();
    Migrator { migrations: then, ..Migrator::DEFAULT }.run(&mut *connection).await?;
    let mut transaction = db::begin_write(connection).await?;
    let tables = in_order(db::tables(&mut transaction).await?);
    for table in tables.iter().rev() {
        let gone = format!("delete from {}", quoted(&table.name));
        let rows = sqlx::query(AssertSqlSafe(gone)).execute(&mut *transaction).await?.rows_affected();
        // What migrations have put there comes again; clients and proxies are somebody's.
        if rows > 0 && ["clients", "proxies", "tokens"].contains(&table.name.as_str()) {
            return Err(DumpError::NotEmpty);
        }
    }
    let mut insert = None;
    while let Some(part) = from.next()? {
        match part {
            Part::Table { name, columns } => {
                insert = Some((insert_into(&tables, &name, &columns)?, columns.len()))
            }
            Part::Row(cells) => {
                let Some((insert, _)) = insert.as_ref().filter(|(_, width)| *width == cells.len()) else {
                    return Err(DumpError::Damaged("a row does not fit its table".to_owned()));
                };
                let mut query = sqlx::query(AssertSqlSafe(insert.clone()));
                for cell in cells {
                    query = query.bind(cell);
                }
                query.execute(&mut *transaction).await?;
            }
        }
    }
    db::imported(&mut transaction, &tables).await?;
    transaction.commit().await?;
    Ok(())
}

/// Only names that the database itself has told: a backup's words are nobody's to run.
fn insert_into(tables: &[Table], name: &str, columns: &[String]) -> Result<String, DumpError> {
    let unknown = || DumpError::Damaged(format!("there is no table {name:?} with just these columns"));
    let table = tables.iter().find(|table| table.name == name).ok_or_else(unknown)?;
    let mut values = Vec::with_capacity(columns.len());
    for (column, n) in columns.iter().zip(1..) {
        let column = table.columns.iter().find(|known| known.name == *column).ok_or_else(unknown)?;
        values.push(db::from_text(n, column.kind));
    }
    if columns.len() != table.columns.len() {
        return Err(unknown());
    }
    let names: Vec<String> = columns.iter().map(|column| quoted(column)).collect();
    let into = format!("insert into {} ({})", quoted(name), names.join(", "));
    Ok(format!("{into} {} values ({})", db::OVERRIDING, values.join(", ")))
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

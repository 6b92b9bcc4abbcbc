//! What tables there are, and how their values are written as text.

use std::collections::BTreeSet;

use sqlx::{AssertSqlSafe, SqliteConnection};

use crate::store::dump::{Column, DumpError, Kind, Table};

pub(super) async fn tables(db: &mut SqliteConnection) -> Result<Vec<Table>, DumpError> {
    let names: Vec<String> = sqlx::query_scalar(
        "select name from sqlite_master where type = 'table'
            and name not like 'sqlite\\_%' escape '\\' and name <> '_sqlx_migrations' order by name",
    )
    .fetch_all(&mut *db)
    .await?;
    let mut tables = Vec::with_capacity(names.len());
    for name in names {
        let columns: Vec<(String, String)> =
            sqlx::query_as("select name, type from pragma_table_info($1) order by cid")
                .bind(&name)
                .fetch_all(&mut *db)
                .await?;
        let needs: Vec<String> =
            sqlx::query_scalar("select distinct \"table\" from pragma_foreign_key_list($1)")
                .bind(&name)
                .fetch_all(&mut *db)
                .await?;
        let columns = columns.into_iter().map(column).collect::<Result<_, _>>()?;
        tables.push(Table { name, columns, needs: BTreeSet::from_iter(needs) });
    }
    Ok(tables)
}

fn column((name, declared): (String, String)) -> Result<Column, DumpError> {
    let kind = match declared.to_ascii_lowercase().as_str() {
        "text" => Kind::Text,
        "integer" => Kind::Number,
        "blob" => Kind::Bytes,
        _ => return Err(DumpError::Kind(format!("{declared} ({name})"))),
    };
    Ok(Column { name, kind })
}

pub(super) fn as_text(column: &str, kind: Kind) -> String {
    match kind {
        Kind::Text | Kind::Json => column.to_owned(),
        Kind::Number | Kind::Boolean => format!("cast({column} as text)"),
        // Of nothing it would make an empty text.
        Kind::Bytes | Kind::Uuid => format!("case when {column} is not null then lower(hex({column})) end"),
    }
}

pub(super) fn from_text(n: usize, kind: Kind) -> String {
    match kind {
        Kind::Text | Kind::Json => format!("${n}"),
        Kind::Number | Kind::Boolean => format!("cast(${n} as integer)"),
        Kind::Bytes | Kind::Uuid => format!("unhex(${n})"),
    }
}

/// Numbers that are given out by the database go on above what is there, by themselves.
pub(super) async fn imported(db: &mut SqliteConnection, _: &[Table]) -> Result<(), DumpError> {
    let broken: Option<String> = sqlx::query_scalar("select \"table\" from pragma_foreign_key_check limit 1")
        .fetch_optional(db)
        .await?;
    broken.map_or(Ok(()), |table| Err(DumpError::Damaged(format!("rows of {table} refer to nothing"))))
}

/// For whoever looks at the file as a whole.
pub(super) async fn is_whole(db: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    let said: Vec<String> =
        sqlx::query_scalar(AssertSqlSafe("pragma integrity_check".to_owned())).fetch_all(db).await?;
    Ok(said == ["ok"])
}

//! What tables there are, and how their values are written as text.

use std::collections::BTreeSet;

use sqlx::{AssertSqlSafe, PgConnection};

use crate::store::dump::{Column, DumpError, Kind, Table};

pub(super) async fn tables(db: &mut PgConnection) -> Result<Vec<Table>, DumpError> {
    let names: Vec<String> = sqlx::query_scalar(
        "select c.relname::text from pg_class c
         where c.relkind = 'r' and c.relnamespace = current_schema()::regnamespace
            and c.relname <> '_sqlx_migrations' order by c.relname",
    )
    .fetch_all(&mut *db)
    .await?;
    let mut tables = Vec::with_capacity(names.len());
    for name in names {
        let columns: Vec<(String, String)> = sqlx::query_as(
            "select attname::text, format_type(atttypid, atttypmod) from pg_attribute
             where attrelid = $1::text::regclass and attnum > 0 and not attisdropped order by attnum",
        )
        .bind(&name)
        .fetch_all(&mut *db)
        .await?;
        let needs: Vec<String> = sqlx::query_scalar(
            "select distinct p.relname::text from pg_constraint k join pg_class p on p.oid = k.confrelid
             where k.contype = 'f' and k.conrelid = $1::text::regclass",
        )
        .bind(&name)
        .fetch_all(&mut *db)
        .await?;
        let columns = columns.into_iter().map(column).collect::<Result<_, _>>()?;
        tables.push(Table { name, columns, needs: BTreeSet::from_iter(needs) });
    }
    Ok(tables)
}

fn column((name, declared): (String, String)) -> Result<Column, DumpError> {
    let kind = match declared.as_str() {
        "text" => Kind::Text,
        "bigint" | "integer" => Kind::Number,
        "boolean" => Kind::Boolean,
        "bytea" => Kind::Bytes,
        "uuid" => Kind::Uuid,
        "jsonb" => Kind::Json,
        _ => return Err(DumpError::Kind(format!("{declared} ({name})"))),
    };
    Ok(Column { name, kind })
}

pub(super) fn as_text(column: &str, kind: Kind) -> String {
    match kind {
        Kind::Text => column.to_owned(),
        Kind::Number | Kind::Json => format!("{column}::text"),
        Kind::Boolean => format!("{column}::integer::text"),
        Kind::Bytes => format!("encode({column}, 'hex')"),
        Kind::Uuid => format!("encode(uuid_send({column}), 'hex')"),
    }
}

pub(super) fn from_text(n: usize, kind: Kind) -> String {
    match kind {
        Kind::Text => format!("${n}"),
        Kind::Number => format!("${n}::bigint"),
        Kind::Boolean => format!("${n}::bigint <> 0"),
        Kind::Bytes => format!("decode(${n}, 'hex')"),
        Kind::Uuid => format!("${n}::uuid"),
        Kind::Json => format!("${n}::jsonb"),
    }
}

/// Numbers that are given out by the database go on above what is there.
pub(super) async fn imported(db: &mut PgConnection, tables: &[Table]) -> Result<(), DumpError> {
    for table in tables {
        for column in table.columns.iter().filter(|column| column.kind == Kind::Number) {
            let go_on = format!(
                "select setval(s, greatest((select max(\"{1}\") from \"{0}\"), 1)) from pg_get_serial_sequence('\"{0}\"', '{1}') s
                 where s is not null",
                table.name, column.name
            );
            sqlx::query(AssertSqlSafe(go_on)).execute(&mut *db).await?;
        }
    }
    Ok(())
}

//! The end of a list's statement: what lies behind the cursor, in the order that is asked for.
//! It is put together from words of this source only; whatever comes from outside is bound.

use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Database, FromRow, Row as _};
use uuid::Uuid;

use super::db::{Connection, Db};
use super::values::rows_wanted;
use crate::store::{Cursor, Key, ListQuery, Page, Sort, StoreError};

type Filled<'q> = Query<'q, Db, <Db as Database>::Arguments>;

/// By what a list is sorted: a column, or an expression that an index has too.
/// Times lose their Z: `….12Z` stands behind `….123Z`, but `….12` before `….123`.
#[derive(Clone, Copy)]
pub(super) enum Column {
    /// By id, which is by age.
    Id,
    Text(&'static str),
    Number(&'static str),
}

pub(super) struct Listing<'q> {
    query: &'q ListQuery,
    column: Column,
    id: &'static str,
}

impl<'q> Listing<'q> {
    /// `id` is the column of the ids in the statement.
    pub(super) fn new(query: &'q ListQuery, column: Column, id: &'static str) -> Self {
        Self { query, column, id }
    }

    /// `select` says which columns, from which tables, under which condition; it binds `bound` values.
    pub(super) fn statement(&self, columns: &str, from: &str, bound: usize) -> AssertSqlSafe<String> {
        let id = self.id;
        let Sort { descending, .. } = self.query.sort;
        let (beyond, order) = if descending { ("<", "desc") } else { (">", "asc") };
        let (limit, first, second) = (bound + 1, bound + 2, bound + 3);
        let (key, behind, by) = match self.column {
            Column::Id => (String::new(), format!("{id} {beyond} ${first}"), format!("{id} {order}")),
            Column::Text(key) | Column::Number(key) => (
                format!(", {key} as sort_key"),
                format!("({key}, {id}) {beyond} (${first}, ${second})"),
                format!("{key} {order}, {id} {order}"),
            ),
        };
        let behind = if self.query.after.is_some() { format!("and {behind}") } else { String::new() };
        AssertSqlSafe(format!("select {columns}{key} from {from} {behind} order by {by} limit ${limit}"))
    }

    /// One row more than the page holds is asked for: whether it comes says if there is a next page.
    pub(super) async fn page<R, T>(
        &self,
        db: &mut Connection,
        filled: Filled<'_>,
        id: impl Fn(&R) -> Uuid,
    ) -> Result<Page<T>, StoreError>
    where
        R: for<'r> FromRow<'r, <Db as Database>::Row> + Into<T>,
    {
        let filled = filled.bind(rows_wanted(self.query));
        let filled = match &self.query.after {
            None => filled,
            Some(Cursor { key: None, id }) => filled.bind(*id),
            Some(Cursor { key: Some(Key::Text(key)), id }) => filled.bind(key.clone()).bind(*id),
            Some(Cursor { key: Some(Key::Number(key)), id }) => filled.bind(*key).bind(*id),
        };
        let mut rows = filled.fetch_all(db).await?;
        let limit = usize::try_from(self.query.limit).unwrap_or(usize::MAX);
        let more = rows.len() > limit;
        rows.truncate(limit);
        let last_key = rows.last().map(|row| self.key(row)).transpose()?.flatten();
        let rows = rows.iter().map(R::from_row).collect::<Result<Vec<R>, _>>()?;
        let last = rows.last().map(|row| Cursor { key: last_key, id: id(row) });
        Ok(Page { items: rows.into_iter().map(Into::into).collect(), next: last.filter(|_| more) })
    }

    fn key(&self, row: &<Db as Database>::Row) -> Result<Option<Key>, StoreError> {
        Ok(match self.column {
            Column::Id => None,
            Column::Text(_) => Some(Key::Text(row.try_get("sort_key")?)),
            Column::Number(_) => Some(Key::Number(row.try_get("sort_key")?)),
        })
    }
}

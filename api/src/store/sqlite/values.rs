//! How values stand in columns.

use jiff::Timestamp;
use serde::Serialize;
use serde::de::value::{Error as WordError, StrDeserializer};
use serde::de::{DeserializeOwned, IntoDeserializer};
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::sqlite::{SqliteArgumentsBuffer, SqliteTypeInfo, SqliteValueRef};
use sqlx::{Decode, Encode, Sqlite, Type};
use uuid::Uuid;

use crate::store::{ListQuery, Page};

/// One of a few words, as the REST API writes it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Word<T>(pub(super) T);

impl<T> Type<Sqlite> for Word<T> {
    fn type_info() -> SqliteTypeInfo {
        <str as Type<Sqlite>>::type_info()
    }

    fn compatible(column: &SqliteTypeInfo) -> bool {
        <str as Type<Sqlite>>::compatible(column)
    }
}

impl<T: Serialize> Encode<'_, Sqlite> for Word<T> {
    fn encode_by_ref(&self, into: &mut SqliteArgumentsBuffer) -> Result<IsNull, BoxDynError> {
        match serde_json::to_value(&self.0)? {
            serde_json::Value::String(word) => Encode::<Sqlite>::encode(word, into),
            other => Err(format!("{other} is not a word").into()),
        }
    }
}

impl<'r, T: DeserializeOwned> Decode<'r, Sqlite> for Word<T> {
    fn decode(value: SqliteValueRef<'r>) -> Result<Self, BoxDynError> {
        let word = <&str as Decode<'r, Sqlite>>::decode(value)?;
        let words: StrDeserializer<'_, WordError> = word.into_deserializer();
        Ok(Self(T::deserialize(words)?))
    }
}

/// Milliseconds: what is answered at once is what is read back later.
pub(super) fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}

/// For `like … escape '\'`: anywhere in the text, with the operator's % and _ meant literally.
pub(super) fn pattern(query: &ListQuery) -> Option<String> {
    let q = query.q.as_ref()?;
    let mut pattern = String::from("%");
    for letter in q.chars() {
        if matches!(letter, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern.push('%');
    Some(pattern)
}

/// One row more than the page holds is asked for: whether it comes says if there is a next page.
pub(super) fn rows_wanted(query: &ListQuery) -> i64 {
    i64::from(query.limit) + 1
}

pub(super) fn page<R, T: From<R>>(mut rows: Vec<R>, query: &ListQuery, id: impl Fn(&R) -> Uuid) -> Page<T> {
    let limit = usize::try_from(query.limit).unwrap_or(usize::MAX);
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = if more { rows.last().map(id) } else { None };
    Page { items: rows.into_iter().map(T::from).collect(), next }
}

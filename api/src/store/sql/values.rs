//! How values stand in columns.

use jiff::Timestamp;
use serde::Serialize;
use serde::de::value::{Error as WordError, StrDeserializer};
use serde::de::{DeserializeOwned, IntoDeserializer};
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::{Database, Decode, Encode, Type};

use super::db::Db;
use crate::store::{ListQuery, StoreError};

type ArgumentBuffer = <Db as Database>::ArgumentBuffer;
type TypeInfo = <Db as Database>::TypeInfo;
type ValueRef<'r> = <Db as Database>::ValueRef<'r>;

/// One of a few words, as the REST API writes it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Word<T>(pub(super) T);

impl<T> Type<Db> for Word<T> {
    fn type_info() -> TypeInfo {
        <str as Type<Db>>::type_info()
    }

    fn compatible(column: &TypeInfo) -> bool {
        <str as Type<Db>>::compatible(column)
    }
}

impl<T: Serialize> Encode<'_, Db> for Word<T> {
    fn encode_by_ref(&self, into: &mut ArgumentBuffer) -> Result<IsNull, BoxDynError> {
        match serde_json::to_value(&self.0)? {
            serde_json::Value::String(word) => Encode::<Db>::encode(word, into),
            other => Err(format!("{other} is not a word").into()),
        }
    }
}

impl<'r, T: DeserializeOwned> Decode<'r, Db> for Word<T> {
    fn decode(value: ValueRef<'r>) -> Result<Self, BoxDynError> {
        let word = <&str as Decode<'r, Db>>::decode(value)?;
        let words: StrDeserializer<'_, WordError> = word.into_deserializer();
        Ok(Self(T::deserialize(words)?))
    }
}

/// A number that is narrower, or has no sign, where the column has 64 bits and one: not every
/// database knows such types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Number<T>(pub(super) T);

impl<T> Type<Db> for Number<T> {
    fn type_info() -> TypeInfo {
        <i64 as Type<Db>>::type_info()
    }

    fn compatible(column: &TypeInfo) -> bool {
        <i64 as Type<Db>>::compatible(column)
    }
}

impl<T: Copy + TryInto<i64, Error: Into<BoxDynError>>> Encode<'_, Db> for Number<T> {
    fn encode_by_ref(&self, into: &mut ArgumentBuffer) -> Result<IsNull, BoxDynError> {
        let number: i64 = self.0.try_into().map_err(Into::into)?;
        Encode::<Db>::encode(number, into)
    }
}

impl<'r, T: TryFrom<i64, Error: Into<BoxDynError>>> Decode<'r, Db> for Number<T> {
    fn decode(value: ValueRef<'r>) -> Result<Self, BoxDynError> {
        let number = <i64 as Decode<'r, Db>>::decode(value)?;
        T::try_from(number).map(Self).map_err(Into::into)
    }
}

/// Milliseconds: what is answered at once is what is read back later.
pub(super) fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}

/// A write that was meant for what somebody had seen is refused once it is something else.
pub(super) fn unchanged(seen: Option<i64>, revision: i64) -> Result<(), StoreError> {
    match seen {
        Some(seen) if seen != revision => Err(StoreError::Stale { revision }),
        Some(_) | None => Ok(()),
    }
}

/// For `lower(…) like … escape '\'`: anywhere in the text, with the operator's % and _ meant
/// literally. Letters beyond ASCII are as they were written, in both databases.
pub(super) fn pattern(query: &ListQuery) -> Option<String> {
    let q = query.q.as_ref()?;
    let mut pattern = String::from("%");
    for letter in q.chars().map(|letter| letter.to_ascii_lowercase()) {
        if matches!(letter, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern.push('%');
    Some(pattern)
}

pub(super) fn rows_wanted(query: &ListQuery) -> i64 {
    i64::from(query.limit) + 1
}

/// Answers whether it is another value.
pub(super) fn replace<T: PartialEq>(field: &mut T, given: Option<T>) -> bool {
    match given {
        Some(value) if value != *field => {
            *field = value;
            true
        }
        Some(_) | None => false,
    }
}

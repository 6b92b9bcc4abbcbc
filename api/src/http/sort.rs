//! `?sort=` and `?cursor=`: which order, and where in it the page begins. A cursor is told as one
//! word that nobody has to understand; it belongs to the order in which it was given out.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde_json::Value;
use uuid::Uuid;

use super::fields::{Fields, Read};
use super::values;
use crate::store::{Cursor, Key, Sort, SortBy};

/// A name has four bytes for each letter at the most, and two notations on top of each other.
const LONGEST_CURSOR: usize = 2000;

/// By one of `allowed`, descending with a minus before it.
pub(super) fn sort(fields: &mut Fields, allowed: &'static [SortBy]) -> Sort {
    if allowed.is_empty() {
        return Sort::default();
    }
    let read = |value: &Value| {
        let word = values::text(value)?;
        let (by, descending) = word.strip_prefix('-').map_or((word, false), |word| (word, true));
        let by = allowed.iter().find(|allowed| allowed.word() == by);
        by.map(|by| Sort { by: *by, descending }).ok_or_else(|| {
            let words: Vec<&str> = allowed.iter().map(|by| by.word()).collect();
            format!("must be one of {}; with - before it the other way round", words.join(", "))
        })
    };
    fields.optional("sort", read).unwrap_or_default()
}

pub(super) fn cursor(fields: &mut Fields, sort: Sort) -> Option<Cursor> {
    fields.optional("cursor", |value| read_cursor(values::text(value)?, sort))
}

fn read_cursor(text: &str, sort: Sort) -> Read<Cursor> {
    let unknown = || "is not a next_cursor that a list has given out".to_owned();
    let plain = Some(text).filter(|text| text.len() <= LONGEST_CURSOR).map(|text| BASE64.decode(text));
    let plain = plain.and_then(Result::ok).ok_or_else(unknown)?;
    let (by, key, id): (String, Option<Key>, Uuid) =
        serde_json::from_slice(&plain).map_err(|_other| unknown())?;
    if by == told(sort) {
        Ok(Cursor { key, id })
    } else {
        Err(format!("belongs to ?sort={by}; begin anew without it"))
    }
}

pub(super) fn written(sort: Sort, cursor: &Cursor) -> String {
    let plain = serde_json::json!([told(sort), cursor.key, cursor.id]);
    BASE64.encode(plain.to_string())
}

fn told(sort: Sort) -> String {
    format!("{}{}", if sort.descending { "-" } else { "" }, sort.by.word())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_back_in_its_own_order_only() {
        let by_name = Sort { by: SortBy::Name, descending: false };
        let id = Uuid::from_u128(7);
        for (sort, key) in [
            (Sort::default(), None),
            (by_name, Some(Key::Text("x\"📱".repeat(50)))),
            (Sort { by: SortBy::Address, descending: true }, Some(Key::Number(-1))),
        ] {
            let cursor = Cursor { key, id };
            let text = written(sort, &cursor);
            assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
            assert_eq!(read_cursor(&text, sort), Ok(cursor));
            let other = Sort { descending: !sort.descending, ..sort };
            assert!(read_cursor(&text, other).unwrap_err().contains("sort="), "{sort:?}");
        }
        for wrong in ["", "x", "!!", &"A".repeat(LONGEST_CURSOR + 1), &BASE64.encode("[1]")] {
            assert!(read_cursor(wrong, by_name).is_err());
        }
    }
}

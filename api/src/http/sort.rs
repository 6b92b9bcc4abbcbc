//! `?sort=` and `?cursor=`: which order, and where in it the page begins. A cursor is told as one
//! word that nobody has to understand; it belongs to the list and the order in which it was given out.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde_json::Value;
use uuid::Uuid;

use super::fields::{Fields, Read};
use super::values;
use crate::store::{Cursor, Key, Sort, SortBy};

/// A name has four bytes for each letter at the most, and two notations on top of each other.
const LONGEST_CURSOR: usize = 2000;

/// What can be asked for page by page.
pub(super) struct Listed {
    /// As its cursors call it.
    pub(super) name: &'static str,
    /// By what it can be sorted: none is by age only.
    pub(super) sorts: &'static [SortBy],
}

impl Listed {
    /// By one of those that there are, descending with a minus before it.
    pub(super) fn sort(&self, fields: &mut Fields) -> Sort {
        if self.sorts.is_empty() {
            return Sort::default();
        }
        let read = |value: &Value| {
            let word = values::text(value)?;
            let (by, descending) = word.strip_prefix('-').map_or((word, false), |word| (word, true));
            let by = self.sorts.iter().find(|allowed| allowed.word() == by);
            by.map(|by| Sort { by: *by, descending }).ok_or_else(|| {
                let words: Vec<&str> = self.sorts.iter().map(|by| by.word()).collect();
                format!("must be one of {}; with - before it the other way round", words.join(", "))
            })
        };
        fields.optional("sort", read).unwrap_or_default()
    }

    pub(super) fn cursor(&self, fields: &mut Fields, sort: Sort) -> Option<Cursor> {
        fields.optional("cursor", |value| self.read_cursor(values::text(value)?, sort))
    }

    fn read_cursor(&self, text: &str, sort: Sort) -> Read<Cursor> {
        let unknown = || "is not a next_cursor that this list has given out".to_owned();
        let plain = Some(text).filter(|text| text.len() <= LONGEST_CURSOR).map(|text| BASE64.decode(text));
        let plain = plain.and_then(Result::ok).ok_or_else(unknown)?;
        let (name, by, key, id): (String, String, Option<Key>, Uuid) =
            serde_json::from_slice(&plain).map_err(|_other| unknown())?;
        if name != self.name {
            Err(unknown())
        } else if by != told(sort) {
            Err(format!("belongs to ?sort={by}; begin anew without it"))
        } else {
            Ok(Cursor { key, id })
        }
    }

    pub(super) fn written(&self, sort: Sort, cursor: &Cursor) -> String {
        let plain = serde_json::json!([self.name, told(sort), cursor.key, cursor.id]);
        BASE64.encode(plain.to_string())
    }
}

fn told(sort: Sort) -> String {
    format!("{}{}", if sort.descending { "-" } else { "" }, sort.by.word())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_back_in_its_own_list_and_order_only() {
        let (clients, proxies) =
            (Listed { name: "clients", sorts: &[] }, Listed { name: "proxies", sorts: &[] });
        let by_name = Sort { by: SortBy::Name, descending: false };
        let id = Uuid::from_u128(7);
        for (sort, key) in [
            (Sort::default(), None),
            (by_name, Some(Key::Text("x\"📱".repeat(50)))),
            (Sort { by: SortBy::Address, descending: true }, Some(Key::Number(-1))),
        ] {
            let cursor = Cursor { key, id };
            let text = clients.written(sort, &cursor);
            assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
            assert_eq!(clients.read_cursor(&text, sort), Ok(cursor));
            assert!(proxies.read_cursor(&text, sort).is_err(), "{sort:?}");
            let other = Sort { descending: !sort.descending, ..sort };
            assert!(clients.read_cursor(&text, other).unwrap_err().contains("sort="), "{sort:?}");
        }
        for wrong in [
            "",
            "x",
            "!!",
            &"A".repeat(LONGEST_CURSOR + 1),
            &BASE64.encode("[1]"),
            &BASE64.encode(r#"["name",null,null]"#),
        ] {
            assert!(clients.read_cursor(wrong, by_name).is_err(), "{wrong}");
        }
    }
}

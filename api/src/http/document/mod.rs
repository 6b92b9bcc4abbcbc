//! A document as it is sent: YAML or JSON, read whole, with everything that is wrong with it told
//! by its place.

mod entries;
mod place;
#[cfg(test)]
mod tests;
mod yaml;

use std::collections::BTreeMap;

use axum::body::Bytes;
use serde_json::Value;

use super::error::{Error, FieldError};
use super::fields::Fields;
use super::media::Media;
use super::{strict_json, values};
use crate::declarative::document::{ClientEntry, Document, MOST_ENTRIES, ProxyEntry, VERSION};
use crate::declarative::tunnels::TunnelClientEntry;
use crate::declarative::wanted::Mistake;
use place::Places;

/// Ten thousand clients with notes and labels, and room.
pub(super) const LARGEST_DOCUMENT: usize = 16 * 1024 * 1024;
/// Whoever has made more mistakes than this has made one of them a hundred times.
const MOST_TOLD: usize = 100;

/// What was sent, kept for telling where in it a mistake is.
pub(super) struct Sent {
    media: Media,
    body: Bytes,
}

impl Sent {
    pub(super) fn new(media: Media, body: Bytes) -> Self {
        Self { media, body }
    }

    pub(super) fn read(&self) -> Result<Document, Error> {
        let value = match self.media {
            Media::Json => strict_json::parse(&self.body).map_err(Error::MalformedJson)?,
            Media::Yaml => yaml::read(&self.body)?,
        };
        document(value).map_err(|mistakes| self.refused(mistakes))
    }

    pub(super) fn mistaken(&self, mistakes: Vec<Mistake>) -> Error {
        let field = |mistake: Mistake| FieldError { pointer: mistake.pointer, detail: mistake.detail };
        self.refused(mistakes.into_iter().map(field).collect())
    }

    /// Whoever wrote YAML looks for a line, not for the three hundredth client.
    fn refused(&self, mut mistakes: Vec<FieldError>) -> Error {
        let more = mistakes.len().saturating_sub(MOST_TOLD);
        mistakes.truncate(MOST_TOLD);
        if let Media::Yaml = self.media {
            let places = Places::of(&self.body);
            for mistake in &mut mistakes {
                if let Some((line, column)) = places.find(&mistake.pointer) {
                    mistake.detail.push_str(&format!(" (line {line}, column {column})"));
                }
            }
        }
        if more > 0 {
            let detail = format!("{more} further mistakes are not listed");
            mistakes.push(FieldError { pointer: String::new(), detail });
        }
        Error::Validation(mistakes)
    }
}

/// As it is answered: `Sent::read` reads it back.
pub(super) fn written(media: Media, document: &Document) -> Result<String, Error> {
    let written = match media {
        Media::Json => serde_json::to_string_pretty(document).map_err(|error| error.to_string()),
        Media::Yaml => serde_saphyr::to_string(document).map_err(|error| error.to_string()),
    };
    written.map_err(Error::Unwritable)
}

fn document(value: Value) -> Result<Document, Vec<FieldError>> {
    let Value::Object(given) = value else {
        let detail = "must be an object with version, proxies, clients and tunnel_clients".to_owned();
        return Err(vec![FieldError { pointer: String::new(), detail }]);
    };
    let mut fields = Fields::of_body(given);
    // For editors, which find the schema by it.
    fields.optional("$schema", |value| values::text(value).map(|_| ()));
    let version = fields.required("version", version);
    let mut mistakes = Vec::new();
    let proxies = section(&mut fields, "proxies", &mut mistakes, entries::proxy, |entry: &ProxyEntry| {
        ("name", entry.name.clone())
    });
    let clients = section(&mut fields, "clients", &mut mistakes, entries::client, |entry: &ClientEntry| {
        ("ip_cidr", entry.ip_cidr.to_string())
    });
    let of_tunnels = |entry: &TunnelClientEntry| ("name", entry.name.clone());
    let tunnel_clients =
        section(&mut fields, "tunnel_clients", &mut mistakes, entries::tunnel_client, of_tunnels);
    let mistakes = [fields.mistakes(), mistakes].concat();
    match version {
        Some(version) if mistakes.is_empty() => Ok(Document { version, proxies, clients, tunnel_clients }),
        Some(_) | None => Err(mistakes),
    }
}

fn version(value: &Value) -> Result<u16, String> {
    match value.as_u64() {
        Some(number) if number == u64::from(VERSION) => Ok(VERSION),
        _ => Err(format!("must be {VERSION}, the only version there is")),
    }
}

/// An emptied section is `[]`: a key with nothing behind it may be half a thought, and half a
/// thought must not remove every device.
fn section<T>(
    fields: &mut Fields,
    name: &'static str,
    mistakes: &mut Vec<FieldError>,
    entry: impl Fn(&str, Value, &mut Vec<FieldError>) -> Option<T>,
    key: impl Fn(&T) -> (&'static str, String),
) -> Option<Vec<T>> {
    let given = fields.take(name)?;
    list(&format!("/{name}"), given, mistakes, entry, key)
}

/// Reads each, and tells of those that are there twice.
fn list<T>(
    place: &str,
    given: Value,
    mistakes: &mut Vec<FieldError>,
    entry: impl Fn(&str, Value, &mut Vec<FieldError>) -> Option<T>,
    key: impl Fn(&T) -> (&'static str, String),
) -> Option<Vec<T>> {
    let mut wrong = |pointer: String, detail: String| mistakes.push(FieldError { pointer, detail });
    let Value::Array(given) = given else {
        wrong(place.to_owned(), "must be a list; [] is one with nothing in it".to_owned());
        return None;
    };
    if given.len() > MOST_ENTRIES {
        wrong(place.to_owned(), format!("has more than {MOST_ENTRIES} entries"));
        return None;
    }
    let (mut entries, mut seen) = (Vec::with_capacity(given.len()), BTreeMap::new());
    for (at, value) in given.into_iter().enumerate() {
        let place = format!("{place}/{at}");
        let Some(entry) = entry(&place, value, mistakes) else { continue };
        let (field, word) = key(&entry);
        if let Some(first) = seen.insert(word, at) {
            let detail = format!("is there already, in entry {first} (the first is 0)");
            mistakes.push(FieldError { pointer: format!("{place}/{field}"), detail });
        }
        entries.push(entry);
    }
    Some(entries)
}

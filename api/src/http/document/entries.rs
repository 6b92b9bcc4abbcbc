//! One proxy, one client, one mapping of a document. What is left out is what it is without an
//! operator's word; but a password that is left out stays.

use pgw_core::exit::Expect;
use pgw_core::mapping::DEFAULT_PRIORITY;
use serde_json::Value;

use super::list;
use crate::declarative::document::{ClientEntry, MappingEntry, Password, ProxyEntry};
use crate::http::error::FieldError;
use crate::http::fields::Fields;
use crate::http::values;

pub(super) fn proxy(place: &str, value: Value, mistakes: &mut Vec<FieldError>) -> Option<ProxyEntry> {
    let mut fields = object(place, value, mistakes)?;
    let name = fields.required("name", values::name);
    let scheme = fields.required("scheme", values::scheme);
    let host = fields.required("host", values::host);
    let port = fields.required("port", values::port);
    let said = fields.has("username");
    let username = fields.nullable("username", values::username);
    let nameless = !said || matches!(username, Some(None));
    let username = username.flatten();
    let password = match fields.nullable("password", values::password) {
        None => Password::Untold,
        Some(None) => Password::None,
        Some(Some(secret)) => Password::Is(secret),
    };
    let secret = if let Password::Is(secret) = &password { Some(secret) } else { None };
    if secret.is_some() && nameless {
        fields.wrong("password", "needs a user name");
    }
    values::carried(&mut fields, scheme, username.as_deref(), secret);
    let enabled = fields.optional("enabled", values::boolean);
    let note = fields.optional("note", values::note);
    let labels = values::labels(&mut fields);
    if !all_well(fields, mistakes) {
        return None;
    }
    Some(ProxyEntry {
        name: name?,
        scheme: scheme?,
        host: host?,
        port: port?,
        username,
        password,
        enabled: enabled.unwrap_or(true),
        note: note.unwrap_or_default(),
        labels: labels.unwrap_or_default(),
    })
}

pub(super) fn client(place: &str, value: Value, mistakes: &mut Vec<FieldError>) -> Option<ClientEntry> {
    let mut fields = object(place, value, mistakes)?;
    let name = fields.required("name", values::name);
    let ip_cidr = fields.required("ip_cidr", values::client_ip);
    let mac = fields.nullable("mac", values::mac).flatten();
    let note = fields.optional("note", values::note);
    let mappings = match fields.take("mappings") {
        None => Some(Vec::new()),
        Some(given) => {
            let key = |entry: &MappingEntry| ("proxy", entry.proxy.clone());
            list(&format!("{place}/mappings"), given, mistakes, mapping, key)
        }
    };
    if !all_well(fields, mistakes) {
        return None;
    }
    let note = note.unwrap_or_default();
    Some(ClientEntry { name: name?, ip_cidr: ip_cidr?, mac, note, mappings: mappings? })
}

fn mapping(place: &str, value: Value, mistakes: &mut Vec<FieldError>) -> Option<MappingEntry> {
    let mut fields = object(place, value, mistakes)?;
    let proxy = fields.required("proxy", values::name);
    let priority = fields.optional("priority", values::priority);
    let target = fields.optional("target", values::word("original, hostname"));
    let enabled = fields.optional("enabled", values::boolean);
    let expect = match fields.take("expect") {
        None => Some(Expect::default()),
        Some(given) => expect(&format!("{place}/expect"), given, mistakes),
    };
    let exclusive = fields.optional("exclusive", values::boolean);
    if !all_well(fields, mistakes) {
        return None;
    }
    Some(MappingEntry {
        proxy: proxy?,
        priority: priority.unwrap_or(DEFAULT_PRIORITY),
        target: target.unwrap_or_default(),
        enabled: enabled.unwrap_or(true),
        expect: expect?,
        exclusive: exclusive.unwrap_or(false),
    })
}

fn expect(place: &str, value: Value, mistakes: &mut Vec<FieldError>) -> Option<Expect> {
    let mut fields = object(place, value, mistakes)?;
    let expect = values::expect(&mut fields);
    all_well(fields, mistakes).then_some(expect)
}

fn object(place: &str, value: Value, mistakes: &mut Vec<FieldError>) -> Option<Fields> {
    match value {
        Value::Object(given) => Some(Fields::at(place.to_owned(), given)),
        _ => {
            mistakes.push(FieldError { pointer: place.to_owned(), detail: "must be an object".to_owned() });
            None
        }
    }
}

fn all_well(mut fields: Fields, mistakes: &mut Vec<FieldError>) -> bool {
    let found = fields.mistakes();
    let well = found.is_empty();
    mistakes.extend(found);
    well
}

//! One proxy, one client, one mapping of a document; one tunnel client, and one tunnel of it. What is left out is what it is without an
//! operator's word; but a password that is left out stays.

use pgw_core::exit::Expect;
use pgw_core::mapping::DEFAULT_PRIORITY;
use serde_json::Value;

use super::list;
use crate::declarative::document::{ClientEntry, MappingEntry, Password, ProxyEntry};
use crate::declarative::tunnels::{Named, TunnelClientEntry, TunnelEntry};
use crate::http::error::FieldError;
use crate::http::fields::Fields;
use crate::http::{tunnel_fields, values};
use crate::store::AllowedPort;
use crate::tunnels::wish;

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

/// Without a key: its machine has one, or gets one by an enrolment code.
pub(super) fn tunnel_client(
    place: &str,
    value: Value,
    mistakes: &mut Vec<FieldError>,
) -> Option<TunnelClientEntry> {
    let mut fields = object(place, value, mistakes)?;
    let client = tunnel_fields::client(&mut fields);
    let tunnels = match fields.take("tunnels") {
        None => Some(Vec::new()),
        Some(given) => {
            let key = |entry: &TunnelEntry| ("name", entry.name.clone());
            list(&format!("{place}/tunnels"), given, mistakes, tunnel, key)
        }
    };
    if !all_well(fields, mistakes) {
        return None;
    }
    let client = client?;
    Some(TunnelClientEntry {
        name: client.name,
        note: client.note,
        enabled: client.enabled,
        allowed_ports: client.allowed_ports.into_iter().map(AllowedPort::from).collect(),
        max_tunnels: client.max_tunnels,
        max_connections: client.max_connections,
        bandwidth: client.bandwidth,
        tunnels: tunnels?,
        kept: None,
    })
}

fn tunnel(place: &str, value: Value, mistakes: &mut Vec<FieldError>) -> Option<TunnelEntry> {
    let mut fields = object(place, value, mistakes)?;
    let verify = fields.optional("verify", values::boolean);
    let tunnel = tunnel_fields::tunnel(&mut fields);
    // What is wrong by itself goes together with nothing.
    let whole = tunnel.as_ref().filter(|_| fields.is_well());
    let unfit = whole.and_then(|tunnel| wish::unfit(&tunnel.wish, tunnel.public_port));
    if let Some((field, detail)) = unfit {
        fields.wrong(field, detail);
    }
    if !all_well(fields, mistakes) {
        return None;
    }
    let tunnel_fields::Tunnel { name, enabled, public_port, wish } = tunnel?;
    Some(TunnelEntry::new(Named { name, enabled, public_port, verify }, wish))
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

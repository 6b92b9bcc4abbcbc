//! What has to be done so that tunnel clients and tunnels are as they are wanted, and as what it is
//! told.

use std::collections::BTreeMap;

use pgw_core::ids::{TunnelClientId, TunnelId};
use serde_json::{Value, json};

use super::diff::Diff;
use super::document::Password;
use super::plan::{Deed, Draft, Subject};
use super::snapshot::KnownTunnelClient;
use super::told::FieldChange;
use super::tunnels::{TunnelClientEntry, TunnelEntry};
use crate::store::{TunnelClientPatch, TunnelPatch};

/// Ports are given when all else is planned: `tunnel_ports::give`.
#[derive(Debug, Clone)]
pub enum TunnelDeed {
    Remove(TunnelId),
    RemoveClient(TunnelClientId),
    ChangeClient(TunnelClientId, TunnelClientPatch, Vec<FieldChange>),
    CreateClient(TunnelClientEntry),
    Change(TunnelId, Box<TunnelPatch>, Vec<FieldChange>),
    Create(Box<TunnelEntry>),
}

impl Draft {
    pub(super) fn tunnel_client(
        &mut self,
        name: &str,
        entry: Option<&TunnelClientEntry>,
        known: Option<&KnownTunnelClient>,
    ) {
        let subject = Subject::TunnelClient(name.to_owned());
        match (entry, known) {
            (Some(entry), Some(known)) => {
                let (patch, fields) = client(&known.own, entry);
                let deed = TunnelDeed::ChangeClient(known.id, patch, fields.clone());
                self.stays(subject, (!fields.is_empty()).then_some(Deed::Tunnels(deed)));
            }
            (Some(entry), None) => {
                let own = TunnelClientEntry { tunnels: Vec::new(), ..entry.clone() };
                self.push(subject, Deed::Tunnels(TunnelDeed::CreateClient(own)));
            }
            (None, Some(known)) => {
                self.push(subject, Deed::Tunnels(TunnelDeed::RemoveClient(known.id)));
            }
            (None, None) => {}
        }
        let wanted = entry.map_or(&[][..], |entry| &entry.tunnels);
        let wanted: BTreeMap<&String, &TunnelEntry> =
            wanted.iter().map(|entry| (&entry.name, entry)).collect();
        let subject = |tunnel: &String| Subject::Tunnel(name.to_owned(), tunnel.clone());
        let had = known.into_iter().flat_map(|known| &known.tunnels);
        for (tunnel, gone) in had.filter(|(tunnel, _)| !wanted.contains_key(tunnel)) {
            self.push(subject(tunnel), Deed::Tunnels(TunnelDeed::Remove(gone.id)));
        }
        for (tunnel, entry) in wanted {
            match known.and_then(|known| known.tunnels.get(tunnel)) {
                Some(known) => {
                    let (patch, fields) = self::tunnel(&known.entry, entry);
                    let deed = TunnelDeed::Change(known.id, Box::new(patch), fields.clone());
                    self.stays(subject(tunnel), (!fields.is_empty()).then_some(Deed::Tunnels(deed)));
                }
                None => {
                    let deed = TunnelDeed::Create(Box::new(entry.clone()));
                    self.push(subject(tunnel), Deed::Tunnels(deed));
                }
            }
        }
    }
}

fn client(from: &TunnelClientEntry, to: &TunnelClientEntry) -> (TunnelClientPatch, Vec<FieldChange>) {
    let mut diff = Diff::default();
    let patch = TunnelClientPatch {
        name: None,
        note: diff.field("note", &from.note, &to.note),
        enabled: diff.field("enabled", &from.enabled, &to.enabled),
        allowed_ports: diff
            .field("allowed_ports", &from.allowed_ports, &to.allowed_ports)
            .map(|_| to.spans()),
        max_tunnels: diff.field("max_tunnels", &from.max_tunnels, &to.max_tunnels),
        max_connections: diff.field("max_connections", &from.max_connections, &to.max_connections),
        bandwidth: diff.field("bandwidth", &from.bandwidth, &to.bandwidth),
        if_revision: None,
    };
    (patch, diff.done())
}

fn tunnel(from: &TunnelEntry, to: &TunnelEntry) -> (TunnelPatch, Vec<FieldChange>) {
    let mut diff = Diff::default();
    let to = to.clone().with_passwords_of(from);
    let route = [
        diff.field("host", &from.host, &to.host).is_some(),
        diff.field("path", &from.path, &to.path).is_some(),
        diff.field("header", &from.header, &to.header).is_some(),
    ];
    // All of a route, or nothing: it is taken from one place and put into another.
    let reroutes = route.contains(&true);
    let mut patch = TunnelPatch {
        host: reroutes.then(|| to.host.clone()),
        path: reroutes.then(|| to.path.clone()),
        header: reroutes.then(|| to.header.clone()),
        protocol: diff.field("protocol", &from.protocol, &to.protocol),
        local_host: diff.field("local_host", &from.local_host, &to.local_host),
        local_port: diff.field("local_port", &from.local_port, &to.local_port),
        enabled: diff.field("enabled", &from.enabled, &to.enabled),
        bandwidth: diff.field("bandwidth", &from.bandwidth, &to.bandwidth),
        max_connections: diff.field("max_connections", &from.max_connections, &to.max_connections),
        max_per_visitor: diff.field("max_per_visitor", &from.max_per_visitor, &to.max_per_visitor),
        requests_per_minute: diff.field(
            "requests_per_minute",
            &from.requests_per_minute,
            &to.requests_per_minute,
        ),
        visitor_allow: diff.field("visitor_allow", &from.visitor_allow, &to.visitor_allow),
        compression: diff.field("compression", &from.compression, &to.compression),
        proxy_protocol: diff.field("proxy_protocol", &from.proxy_protocol, &to.proxy_protocol),
        udp_idle_s: diff.field("udp_idle_s", &from.udp_idle_s, &to.udp_idle_s),
        ..TunnelPatch::default()
    };
    // What is not said of these stays.
    if to.public_port.is_some() {
        patch.public_port = diff.field("public_port", &from.public_port, &to.public_port).flatten();
    }
    if to.verify.is_some() {
        patch.verified = diff.field("verify", &from.verify, &to.verify).flatten().map(|verify| !verify);
    }
    if from.basic_auth != to.basic_auth {
        diff.tell("basic_auth", names(from), names(&to));
        patch.basic_auth = Some(to.logins());
    }
    (patch, diff.done())
}

/// A password is never told.
fn names(entry: &TunnelEntry) -> Value {
    let login = |login: &super::tunnels::LoginEntry| match login.password {
        Password::Untold | Password::None => json!({ "username": login.username }),
        Password::Is(_) => json!({ "username": login.username, "password": super::diff::SECRET }),
    };
    entry.basic_auth.iter().map(login).collect()
}

//! What is different about one thing, said twice at once: as a patch for the store and as fields
//! for a person.

use pgw_core::proxy::Host;
use serde::Serialize;
use serde_json::Value;

use super::document::{ClientEntry, MappingEntry, Password, ProxyEntry};
use super::snapshot::KnownClient;
use super::told::FieldChange;
use crate::store::{ClientPatch, MappingPatch, ProxyPatch};

/// Stands for every password.
pub(super) const SECRET: &str = "(secret)";

#[derive(Default)]
pub(super) struct Diff(Vec<FieldChange>);

impl Diff {
    /// What the field is to become, if it is not that already.
    pub(super) fn field<T: PartialEq + Clone + Serialize>(
        &mut self,
        field: &'static str,
        from: &T,
        to: &T,
    ) -> Option<T> {
        let value = |value: &T| serde_json::to_value(value).unwrap_or(Value::Null);
        (from != to).then(|| {
            self.0.push(FieldChange { field, from: value(from), to: value(to) });
            to.clone()
        })
    }

    pub(super) fn tell(&mut self, field: &'static str, from: Value, to: Value) {
        self.0.push(FieldChange { field, from, to });
    }

    pub(super) fn done(self) -> Vec<FieldChange> {
        self.0
    }

    fn password(&mut self, from: &ProxyEntry, to: &ProxyEntry) -> Option<Option<pgw_core::redact::Secret>> {
        let wanted = match &to.password {
            // Nobody can be sent a password without a user name.
            Password::Untold if to.username.is_none() => Password::None,
            told => told.clone(),
        };
        if wanted.is_untold() || wanted == from.password {
            return None;
        }
        let shown = |there: bool| if there { Value::from(SECRET) } else { Value::Null };
        let is_there = |password: &Password| !matches!(password, Password::None);
        let (before, after) = (shown(is_there(&from.password)), shown(is_there(&wanted)));
        self.0.push(FieldChange { field: "password", from: before, to: after });
        Some(wanted.secret())
    }
}

pub(super) fn proxy(from: &ProxyEntry, to: &ProxyEntry) -> (ProxyPatch, Vec<FieldChange>) {
    let mut diff = Diff::default();
    let patch = ProxyPatch {
        name: None,
        scheme: diff.field("scheme", &from.scheme, &to.scheme),
        host: diff.field::<Host>("host", &from.host, &to.host),
        port: diff.field("port", &from.port, &to.port),
        username: diff.field("username", &from.username, &to.username),
        password: diff.password(from, to),
        enabled: diff.field("enabled", &from.enabled, &to.enabled),
        note: diff.field("note", &from.note, &to.note),
        labels: diff.field("labels", &from.labels, &to.labels),
        if_revision: None,
    };
    (patch, diff.0)
}

pub(super) fn client(from: &KnownClient, to: &ClientEntry) -> (ClientPatch, Vec<FieldChange>) {
    let mut diff = Diff::default();
    let patch = ClientPatch {
        name: diff.field("name", &from.name, &to.name),
        ip_cidr: None,
        mac: diff.field("mac", &from.mac, &to.mac),
        note: diff.field("note", &from.note, &to.note),
        if_revision: None,
    };
    (patch, diff.0)
}

pub(super) fn mapping(from: &MappingEntry, to: &MappingEntry) -> (MappingPatch, Vec<FieldChange>) {
    let mut diff = Diff::default();
    let patch = MappingPatch {
        proxy_id: None,
        priority: diff.field("priority", &from.priority, &to.priority),
        target: diff.field("target", &from.target, &to.target),
        enabled: diff.field("enabled", &from.enabled, &to.enabled),
        expect: diff.field("expect", &from.expect, &to.expect),
        exclusive: diff.field("exclusive", &from.exclusive, &to.exclusive),
        accept_exit: false,
        if_revision: None,
    };
    (patch, diff.0)
}

//! How a tunnel is wanted: what of it goes together, and what a change makes of it.

use pgw_core::tunnel::{Desired, Protocol};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::store::{Conflict, StoreError, TunnelPatch, Wish};

pub fn check(wish: &Wish, port: u16) -> Result<(), StoreError> {
    match unfit(wish, port) {
        Some((field, detail)) => Err(StoreError::Conflict(Conflict::Unfit { field, detail })),
        None => Ok(()),
    }
}

/// What does not go together, as a field and what is wrong with it. `port` is what was asked for; 0 is
/// nothing.
pub fn unfit(wish: &Wish, port: u16) -> Option<(&'static str, &'static str)> {
    let http = wish.protocol == Protocol::Http;
    let only_http = "is of http tunnels only";
    let mistakes = [
        (http && wish.host.is_empty(), "host", "is missing: an http tunnel has a name"),
        (http && port != 0, "public_port", "is not of an http tunnel, which has a name"),
        (!http && !wish.host.is_empty(), "host", only_http),
        (!http && !wish.path.is_empty(), "path", only_http),
        (!http && wish.header.is_some(), "header", only_http),
        (!http && !wish.basic_auth.is_empty(), "basic_auth", only_http),
        (!http && wish.requests_per_minute.is_some(), "requests_per_minute", only_http),
        (wish.proxy_protocol && !wish.protocol.has_tcp(), "proxy_protocol", "is of tcp and both only"),
    ];
    mistakes.into_iter().find(|(wrong, ..)| *wrong).map(|(_, field, detail)| (field, detail))
}

/// Answers with the names of what is another now.
pub fn patch(wish: &mut Wish, patch: TunnelPatch) -> Vec<&'static str> {
    let mut changed = Vec::new();
    let mut note = |name, is_another: bool| changed.extend(is_another.then_some(name));
    note("protocol", set(&mut wish.protocol, patch.protocol));
    note("host", set(&mut wish.host, patch.host.map(Option::unwrap_or_default)));
    note("path", set(&mut wish.path, patch.path.map(Option::unwrap_or_default)));
    note("header", set(&mut wish.header, patch.header));
    note("local_host", set(&mut wish.local_host, patch.local_host));
    note("local_port", set(&mut wish.local_port, patch.local_port));
    note("bandwidth", set(&mut wish.bandwidth, patch.bandwidth));
    note("max_connections", set(&mut wish.max_connections, patch.max_connections));
    note("max_per_visitor", set(&mut wish.max_per_visitor, patch.max_per_visitor));
    note("requests_per_minute", set(&mut wish.requests_per_minute, patch.requests_per_minute));
    note("visitor_allow", set(&mut wish.visitor_allow, patch.visitor_allow));
    note("compression", set(&mut wish.compression, patch.compression));
    note("proxy_protocol", set(&mut wish.proxy_protocol, patch.proxy_protocol));
    note("udp_idle_s", set(&mut wish.udp_idle_s, patch.udp_idle_s));
    if let Some(logins) = patch.basic_auth {
        // Which of them are others is seen by whoever has the passwords.
        wish.basic_auth = logins;
    }
    changed
}

/// The same content has the same revision: whoever compares them knows whether the daemon has heard of it.
pub fn numbered(desired: Desired) -> Desired {
    let desired = Desired { revision: Uuid::nil(), ..desired };
    let text = zeroize::Zeroizing::new(serde_json::to_vec(&desired).unwrap_or_default());
    let digest: [u8; 32] = Sha256::digest(&*text).into();
    let half = digest.first_chunk().copied().unwrap_or_default();
    Desired { revision: uuid::Builder::from_custom_bytes(half).into_uuid(), ..desired }
}

fn set<T: PartialEq>(field: &mut T, given: Option<T>) -> bool {
    given.is_some_and(|given| std::mem::replace(field, given) != *field)
}

//! Events as server-sent events: serialized once, however many read them.

use axum::body::Bytes;
use pgw_core::ids::ClientId;
use serde_json::{Value, json};

use super::{Event, Kind};

/// What a stream begins anew with every so often, so that both ends know that the other is there.
/// With the id of where its reader stands: one who filters resumes from there all the same.
pub fn heartbeat(stands_at: i64) -> Bytes {
    Bytes::from(format!(": still here\nid: {stands_at}\n\n"))
}

/// The first thing on every stream. `stands_at` is what comes before the next event.
pub fn hello(stands_at: i64, latest: i64, gateway: &str) -> Bytes {
    block("hello", stands_at, &json!({"id": latest, "gateway": gateway}))
}

/// Something was left out: the reader loads anew what it shows. The log begins at `oldest`.
pub fn gap(stands_at: i64, oldest: i64) -> Bytes {
    block("gap", stands_at, &json!({"oldest": oldest}))
}

/// JSON has no line breaks outside of its strings, and none inside them that are not escaped.
fn block(name: &str, id: i64, data: &Value) -> Bytes {
    Bytes::from(format!("event: {name}\nid: {id}\ndata: {data}\n\n"))
}

/// A block as it stands in a text message: `{"id", "event", "data"}`. None: it is a heartbeat.
pub fn message(block: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(block).ok()?;
    let line = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    let (event, id, data) = (line("event: ")?, line("id: ")?, line("data: ")?);
    Some(format!("{{\"id\":{id},\"event\":\"{event}\",\"data\":{data}}}"))
}

/// One event, ready to be sent.
#[derive(Debug)]
pub struct Frame {
    pub id: i64,
    pub kind: Kind,
    pub client_id: Option<ClientId>,
    /// What was changed, if it tells of a change.
    pub changed: Option<String>,
    pub bytes: Bytes,
}

impl From<&Event> for Frame {
    fn from(event: &Event) -> Self {
        let changed = match event.kind {
            Kind::Change => event.data.get("what").and_then(Value::as_str).map(str::to_owned),
            _ => None,
        };
        let bytes = block(event.kind.as_str(), event.id, &json!(event));
        Self { id: event.id, kind: event.kind, client_id: event.client_id, changed, bytes }
    }
}

impl Frame {
    /// May somebody have lost his access by it?
    pub fn concerns_access(&self) -> bool {
        matches!(self.changed.as_deref(), Some("token" | "user"))
    }
}

/// What a reader wants to see.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Empty: all.
    pub kinds: Vec<Kind>,
    pub client_id: Option<ClientId>,
}

impl Filter {
    pub fn wants(&self, frame: &Frame) -> bool {
        (self.kinds.is_empty() || self.kinds.contains(&frame.kind))
            && self.client_id.is_none_or(|client| frame.client_id == Some(client))
    }
}

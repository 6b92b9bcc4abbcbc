//! What each kind of event tells. Names are written down as they are now: the rows that they come
//! from may be gone when somebody reads it.

use std::net::Ipv4Addr;

use jiff::Timestamp;
use pgw_core::country::Country;
use pgw_core::drill::{Drill, Outcome};
use pgw_core::health::HealthStatus;
use pgw_core::ids::{ClientId, MappingId, ProxyId};
use pgw_core::news::{Item, What as Told};
use pgw_core::state::MappingState;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{Kind, NewEvent};

/// `mapping.state`.
#[derive(Debug, Clone)]
pub struct StateChange<'a> {
    pub client_id: ClientId,
    pub mapping_id: MappingId,
    pub proxy_id: ProxyId,
    pub from: MappingState,
    pub to: MappingState,
    pub reason: &'a str,
    pub client: &'a str,
    pub ip: Ipv4Addr,
    pub proxy: &'a str,
    pub port: u16,
}

/// Where a client gets out; none of it while it is closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize, utoipa::ToSchema)]
pub struct Exit {
    pub mapping_id: MappingId,
    /// Its name at that time.
    pub proxy: String,
    pub exit_ip: Option<String>,
    /// Where that address is, if it is known.
    pub country: Option<Country>,
}

/// As it is named at that time.
#[derive(Debug, Clone, Copy)]
pub struct Device<'a> {
    pub id: ClientId,
    pub name: &'a str,
    pub ip: Ipv4Addr,
}

/// `proxy.health`.
#[derive(Debug, Clone)]
pub struct HealthChange<'a> {
    pub proxy_id: ProxyId,
    pub proxy: &'a str,
    pub from: HealthStatus,
    pub to: HealthStatus,
    pub latency_ms: Option<u32>,
    pub exit_ip: Option<&'a str>,
    pub country: Option<Country>,
    pub error: Option<&'a str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ForwarderState {
    Started,
    /// It takes connections for its device.
    Ready,
    Stopped,
    Died,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentState {
    Answers,
    Silent,
    Warns,
}

/// What was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Thing {
    Proxy,
    Client,
    Mapping,
    Gateway,
    Token,
    User,
    Webhook,
    TunnelClient,
    Tunnel,
    Config,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    Created,
    Updated,
    Deleted,
    Revoked,
    Applied,
    RolledBack,
}

impl NewEvent {
    pub(super) fn new(kind: Kind, data: Value) -> Self {
        let at = Timestamp::now();
        Self { at, kind, client_id: None, mapping_id: None, proxy_id: None, by: None, data }
    }

    pub fn state(change: &StateChange<'_>) -> Self {
        let StateChange { from, to, reason, client, ip, proxy, port, .. } = change;
        let data = json!({
            "from": from, "to": to, "reason": reason, "client": client, "ip": ip, "proxy": proxy, "port": port,
        });
        Self {
            client_id: Some(change.client_id),
            mapping_id: Some(change.mapping_id),
            proxy_id: Some(change.proxy_id),
            ..Self::new(Kind::MappingState, data)
        }
    }

    pub fn exit(device: &Device<'_>, through: Option<(ProxyId, &Exit)>, reason: &str) -> Self {
        let exit = through.map(|(_, exit)| exit);
        let data = json!({
            "client": device.name,
            "ip": device.ip,
            "open": exit.is_some(),
            "mapping_id": exit.map(|exit| exit.mapping_id),
            "proxy": exit.map(|exit| &exit.proxy),
            "exit_ip": exit.and_then(|exit| exit.exit_ip.as_ref()),
            "country": exit.and_then(|exit| exit.country),
            "reason": reason,
        });
        Self {
            client_id: Some(device.id),
            mapping_id: exit.map(|exit| exit.mapping_id),
            proxy_id: through.map(|(proxy, _)| proxy),
            ..Self::new(Kind::ClientExit, data)
        }
    }

    pub fn health(change: &HealthChange<'_>) -> Self {
        let HealthChange { proxy_id, proxy, from, to, latency_ms, exit_ip, country, error } = change;
        let data = json!({
            "from": from, "to": to, "latency_ms": latency_ms, "exit_ip": exit_ip, "country": country,
            "error": error, "proxy": proxy,
        });
        Self { proxy_id: Some(*proxy_id), ..Self::new(Kind::ProxyHealth, data) }
    }

    /// `client` is whose it is, if it is anybody's.
    pub fn forwarder(
        port: u16,
        client: Option<(ClientId, &str)>,
        state: ForwarderState,
        detail: impl Into<String>,
    ) -> Self {
        let (detail, name): (String, _) = (detail.into(), client.map(|(_, name)| name));
        let data = json!({"port": port, "state": state, "detail": detail, "client": name});
        Self { client_id: client.map(|(id, _)| id), ..Self::new(Kind::Forwarder, data) }
    }

    pub fn agent(state: AgentState, detail: impl Into<String>) -> Self {
        let detail: String = detail.into();
        Self::new(Kind::Agent, json!({"state": state, "detail": detail}))
    }

    pub fn told(item: Item) -> Self {
        let (kind, data) = match item.what {
            Told::Drift(episode) => (Kind::Drift, json!(episode)),
            Told::Drill(drill) => (Kind::Drill, drilled(&drill)),
        };
        Self { at: item.at, ..Self::new(kind, data) }
    }

    /// The process begins to watch; before it, somebody did until `seen`.
    pub fn started(version: &str, unwatched_since: Option<Timestamp>) -> Self {
        let data = json!({"state": "started", "version": version, "unwatched_since": unwatched_since});
        Self::new(Kind::Gateway, data)
    }

    /// `fields` are the names of what is another now, never the values.
    pub fn change(by: Option<String>, what: Thing, action: Action, name: &str, fields: &[&str]) -> Self {
        let data = json!({"what": what, "action": action, "name": name, "fields": fields});
        Self { by, ..Self::new(Kind::Change, data) }
    }

    #[must_use]
    pub fn of_client(self, client: ClientId) -> Self {
        Self { client_id: Some(client), ..self }
    }

    #[must_use]
    pub fn of_mapping(self, client: ClientId, mapping: MappingId, proxy: ProxyId) -> Self {
        Self { client_id: Some(client), mapping_id: Some(mapping), proxy_id: Some(proxy), ..self }
    }

    #[must_use]
    pub fn of_proxy(self, proxy: ProxyId) -> Self {
        Self { proxy_id: Some(proxy), ..self }
    }
}

/// Each way out only where something came out: a drill is held every hour, and says the same.
fn drilled(drill: &Drill) -> Value {
    let mut data = Map::new();
    data.insert("closed".to_owned(), json!(drill.outcome == Some(Outcome::Closed)));
    data.insert("outcome".to_owned(), json!(drill.outcome));
    data.insert("detail".to_owned(), json!(drill.detail));
    data.insert("proven_closed_at".to_owned(), json!(drill.proven_closed_at));
    data.insert("took_ms".to_owned(), json!(drill.took_ms));
    if drill.outcome == Some(Outcome::Leaked) {
        let leaks: Vec<_> = drill.kinds.iter().filter(|kind| kind.leaked > 0).collect();
        data.insert("leaks".to_owned(), json!(leaks));
    }
    Value::Object(data)
}

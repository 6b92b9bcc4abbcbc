//! The operator of the matrix: calls the API while everything dies around it, several calls at
//! a time but one after another for one thing, and remembers what it was told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use super::script::{DEVICES, NEIGHBOURS, Operation, ROUTES, Route};
use super::told::{Told, mapping_fields};
use crate::net::on_lan;
use crate::rest::{API, Answer, Rest, id, text};
use crate::upstream::Kind;

/// So much of a call is waited for before the next thing happens, whether it is answered or not.
const HEED: Duration = Duration::from_millis(60);
/// Nobody waits longer for an answer.
const LONGEST_CALL: Duration = Duration::from_secs(4);

#[derive(Clone)]
pub(super) struct Operator {
    rest: Rest,
    /// By the device's name.
    clients: BTreeMap<&'static str, String>,
    /// By the upstream's name.
    proxies: BTreeMap<&'static str, String>,
    told: Arc<Mutex<Told>>,
    /// One call at a time for each.
    turns: BTreeMap<String, Arc<Mutex<()>>>,
}

impl Route {
    pub(super) fn name(&self) -> String {
        format!("mapping {self:?}")
    }
}

pub(super) fn proxy_name(kind: Kind) -> String {
    format!("proxy {}", kind.name())
}

fn neighbour_name(neighbour: u8) -> String {
    format!("neighbour {neighbour}")
}

impl Operator {
    /// Registers the devices and the proxies; from then on no device leaves directly.
    pub(super) async fn begin(rest: Rest) -> Result<Self> {
        let (mut clients, mut proxies) = (BTreeMap::new(), BTreeMap::new());
        for device in DEVICES {
            clients.insert(device.name, rest.add_client(device).await?);
        }
        for Route { kind, .. } in ROUTES {
            proxies.insert(kind.name(), rest.add_proxy(kind).await?);
        }
        let names = ROUTES.iter().flat_map(|route| [route.name(), proxy_name(route.kind)]);
        let names = names.chain(NEIGHBOURS.map(neighbour_name));
        let turns = names.map(|name| (name, Arc::default())).collect();
        Ok(Self { rest, clients, proxies, told: Arc::default(), turns })
    }

    pub(super) fn rest(&self) -> &Rest {
        &self.rest
    }

    /// Begins the call, and leaves it alone if it takes longer than a moment.
    pub(super) async fn perform(&self, operation: Operation, calls: &mut JoinSet<()>) {
        let (operator, (done, waiting)) = (self.clone(), tokio::sync::oneshot::channel::<()>());
        calls.spawn(async move {
            // An API that is dead, or dies, is what this is about.
            let _answered = tokio::time::timeout(LONGEST_CALL, operator.call(operation)).await;
            drop(done);
        });
        let _done = tokio::time::timeout(HEED, waiting).await;
    }

    async fn call(&self, operation: Operation) -> Result<()> {
        match operation {
            Operation::Register(neighbour) => {
                let name = neighbour_name(neighbour);
                let body = json!({ "name": name, "ip_cidr": on_lan(neighbour) });
                self.write(&name, Method::POST, "/v1/clients", Some(body)).await
            }
            Operation::Unregister(neighbour) => {
                let name = neighbour_name(neighbour);
                let clients = self.clients().await?;
                let Some(client) = clients.iter().find(|client| text(client, "name") == name) else {
                    return Ok(());
                };
                self.write(&name, Method::DELETE, &format!("/v1/clients/{}", id(client)?), None).await
            }
            Operation::Map(route) => {
                let body = json!({
                    "client_id": self.client(route)?, "proxy_id": self.proxy(route.kind)?,
                    "priority": route.priority,
                });
                self.write(&route.name(), Method::POST, "/v1/mappings", Some(body)).await
            }
            Operation::Unmap(route) => self.on_mapping(route, Method::DELETE, None).await,
            Operation::Prefer(route, priority) => {
                self.on_mapping(route, Method::PATCH, Some(json!({ "priority": priority }))).await
            }
            Operation::SwitchMapping(route, on) => {
                self.on_mapping(route, Method::PATCH, Some(json!({ "enabled": on }))).await
            }
            Operation::SwitchProxy(kind, on) => {
                let path = format!("/v1/proxies/{}", self.proxy(kind)?);
                self.write(&proxy_name(kind), Method::PATCH, &path, Some(json!({ "enabled": on }))).await
            }
            _not_a_call => Ok(()),
        }
    }

    fn client(&self, route: Route) -> Result<&String> {
        self.clients.get(route.device.name).context("nobody registered it")
    }

    fn proxy(&self, kind: Kind) -> Result<&String> {
        self.proxies.get(kind.name()).context("nobody added it")
    }

    async fn on_mapping(&self, route: Route, method: Method, body: Option<Value>) -> Result<()> {
        let Some(mapping) = self.mapping_of(route).await? else { return Ok(()) };
        self.write(&route.name(), method, &format!("/v1/mappings/{}", id(&mapping)?), body).await
    }

    async fn write(&self, what: &str, method: Method, path: &str, body: Option<Value>) -> Result<()> {
        let turn = self.turns.get(what).context("nobody knows it")?;
        let _alone = turn.lock().await;
        self.told.lock().await.asked(what);
        let Answer { status, body, .. } =
            self.rest.send(method, &format!("{API}{path}"), body.as_ref()).await?;
        let fields = match status {
            200 | 201 if what.starts_with("proxy") => Some(json!({ "enabled": body.get("enabled") })),
            200 | 201 if what.starts_with("neighbour") => Some(json!({ "ip_cidr": body.get("ip_cidr") })),
            200 | 201 => Some(mapping_fields(&body)),
            202 | 204 => None,
            _refused => return Ok(()),
        };
        self.told.lock().await.answered(what, fields);
        Ok(())
    }

    pub(super) async fn mappings(&self) -> Result<Vec<Value>> {
        list(&self.rest, "/v1/mappings").await
    }

    pub(super) async fn proxies(&self) -> Result<Vec<Value>> {
        list(&self.rest, "/v1/proxies").await
    }

    pub(super) async fn clients(&self) -> Result<Vec<Value>> {
        list(&self.rest, "/v1/clients").await
    }

    async fn mapping_of(&self, route: Route) -> Result<Option<Value>> {
        Ok(self.mappings().await?.into_iter().find(|mapping| self.is_of(mapping, route)))
    }

    pub(super) fn is_of(&self, mapping: &Value, route: Route) -> bool {
        self.clients.get(route.device.name).is_some_and(|client| text(mapping, "client_id") == client)
            && self.proxies.get(route.kind.name()).is_some_and(|proxy| text(mapping, "proxy_id") == proxy)
    }

    /// Everything as it is at the beginning of a sequence.
    pub(super) async fn set_up(&self) -> Result<()> {
        for Route { kind, .. } in ROUTES {
            self.call(Operation::SwitchProxy(kind, true)).await?;
        }
        for route in ROUTES {
            if self.mapping_of(route).await?.is_none() {
                self.call(Operation::Map(route)).await?;
            }
            let body = json!({ "enabled": true, "priority": route.priority });
            self.on_mapping(route, Method::PATCH, Some(body)).await?;
        }
        Ok(())
    }

    /// Is everything there that was confirmed, and nothing that was confirmed as gone?
    pub(super) async fn keeps_its_word(&self) -> Result<()> {
        let (mappings, proxies, clients) =
            (self.mappings().await?, self.proxies().await?, self.clients().await?);
        let told = self.told.lock().await;
        for route in ROUTES {
            told.check(&route.name(), mappings.iter().find(|mapping| self.is_of(mapping, route)))?;
            let proxy = proxies.iter().find(|proxy| text(proxy, "name") == route.kind.name());
            told.check(&proxy_name(route.kind), proxy)?;
        }
        for name in NEIGHBOURS.map(neighbour_name) {
            told.check(&name, clients.iter().find(|client| text(client, "name") == name))?;
        }
        Ok(())
    }
}

async fn list(rest: &Rest, path: &str) -> Result<Vec<Value>> {
    let page = rest.get(path).await?;
    Ok(page.get("items").and_then(Value::as_array).cloned().unwrap_or_default())
}

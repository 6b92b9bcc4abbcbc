//! The operator's side of the REST API.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};

use crate::lab::eventually;
use crate::net::Device;
use crate::upstream::{Kind, USER};

pub const API: &str = "http://127.0.0.1:8080";
pub const AGENT: &str = "http://127.0.0.1:9090";
pub const UI: &str = "http://127.0.0.1:8081";

#[derive(Clone)]
pub struct Rest {
    http: reqwest::Client,
    token: String,
}

#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub body: Value,
    pub text: String,
}

/// A mapping as a test needs to know it.
#[derive(Debug, Clone)]
pub struct Mapped {
    pub id: String,
    pub client: String,
    pub proxy: String,
    pub port: u16,
}

impl Rest {
    pub fn new(token: String) -> Result<Self> {
        Ok(Self { http: client()?, token })
    }

    /// Without a token: is anybody there?
    pub async fn status(url: &str) -> Result<u16> {
        Ok(client()?.get(url).send().await?.status().as_u16())
    }

    pub async fn send(&self, method: Method, url: &str, body: Option<&Value>) -> Result<Answer> {
        let mut request = self.http.request(method.clone(), url).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(body);
        }
        let asked = || format!("{method} {url}");
        let answer = request.send().await.with_context(asked)?;
        let status = answer.status().as_u16();
        let text = answer.text().await.with_context(asked)?;
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Ok(Answer { status, body, text })
    }

    pub async fn get(&self, path: &str) -> Result<Value> {
        self.expect(Method::GET, path, None, 200).await
    }

    pub async fn delete(&self, path: &str) -> Result<()> {
        self.expect(Method::DELETE, path, None, 204).await.map(drop)
    }

    pub async fn patch(&self, path: &str, body: Value) -> Result<Value> {
        self.expect(Method::PATCH, path, Some(&body), 200).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Result<Value> {
        self.expect(Method::POST, path, Some(&body), 201).await
    }

    async fn expect(&self, method: Method, path: &str, body: Option<&Value>, status: u16) -> Result<Value> {
        let answer = self.send(method.clone(), &format!("{API}{path}"), body).await?;
        ensure!(
            answer.status == status,
            "{method} {path} was answered {}, not {status}: {}",
            answer.status,
            answer.text
        );
        Ok(answer.body)
    }

    pub async fn add_proxy(&self, kind: Kind) -> Result<String> {
        let proxy = json!({
            "name": kind.name(), "scheme": kind.scheme(), "host": kind.name(), "port": kind.port(),
            "username": USER, "password": kind.password(),
        });
        id(&self.post("/v1/proxies", proxy).await?)
    }

    pub async fn add_client(&self, device: Device) -> Result<String> {
        id(&self.post("/v1/clients", json!({ "name": device.name, "ip_cidr": device.ip })).await?)
    }

    pub async fn add_mapping(&self, client: &str, proxy: &str, priority: u16) -> Result<Mapped> {
        let body = json!({ "client_id": client, "proxy_id": proxy, "priority": priority });
        let mapping = self.post("/v1/mappings", body).await?;
        let port = mapping.get("port").and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok());
        Ok(Mapped {
            id: id(&mapping)?,
            client: client.to_owned(),
            proxy: proxy.to_owned(),
            port: port.with_context(|| format!("a mapping without a port: {mapping}"))?,
        })
    }

    pub async fn mapping(&self, mapped: &Mapped) -> Result<Value> {
        self.get(&format!("/v1/mappings/{}", mapped.id)).await
    }

    /// Gives the reason with which the state was reached.
    pub async fn wait_state(&self, mapped: &Mapped, state: &str) -> Result<String> {
        self.wait_reason(mapped, state, "").await
    }

    /// Waits until the state is this one and its reason contains these words.
    pub async fn wait_reason(&self, mapped: &Mapped, state: &str, words: &str) -> Result<String> {
        let mut last = Value::Null;
        let what = format!("the mapping is {state} {words:?}");
        let waited = eventually(&what, async || {
            // The API may be on its way back.
            if let Ok(now) = self.mapping(mapped).await {
                last = now;
            }
            let reason = text(&last, "reason");
            Ok((text(&last, "state") == state && reason.contains(words)).then(|| reason.to_owned()))
        })
        .await;
        waited.with_context(|| format!("the mapping was last seen as {last}"))
    }

    /// Waits until `/readyz` says 200, or says why not.
    pub async fn wait_ready(&self) -> Result<()> {
        let mut last = String::new();
        let ready = eventually("the API is ready", async || {
            match self.send(Method::GET, &format!("{API}/readyz"), None).await {
                Ok(answer) => {
                    last = answer.text;
                    Ok((answer.status == 200).then_some(()))
                }
                // It may be on its way back.
                Err(error) => {
                    last = format!("{error:#}");
                    Ok(None)
                }
            }
        })
        .await;
        ready.with_context(|| format!("/readyz last said {last}"))
    }
}

pub fn id(thing: &Value) -> Result<String> {
    Ok(thing
        .get("id")
        .and_then(Value::as_str)
        .with_context(|| format!("this has no id: {thing}"))?
        .to_owned())
}

pub fn text<'a>(thing: &'a Value, field: &str) -> &'a str {
    thing.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn client() -> Result<reqwest::Client> {
    // A connection per request: a restarted server is never met through a dead one.
    let builder = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0);
    Ok(builder.connect_timeout(Duration::from_secs(2)).timeout(Duration::from_secs(40)).build()?)
}

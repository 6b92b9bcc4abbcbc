//! A pgw-api that says whatever it is told to, and the agent that believes it.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};
use reqwest::Method;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::rules::SETTINGS;
use crate::gateway::{self, Gateway, Program, STATE};
use crate::rest::{self, Rest};

const LISTEN: &str = "127.0.0.1:8080";
const TOKEN: &str = "of-this-bench-only";

pub(super) struct Agent {
    _gateway: Gateway,
    rest: Rest,
    said: Arc<Mutex<Arc<str>>>,
}

impl Agent {
    /// With an API of its own, which knows nobody yet.
    pub(super) async fn start(active_set: Arc<str>) -> Result<Self> {
        let said = Arc::new(Mutex::new(active_set));
        let listener = TcpListener::bind(LISTEN).await.context(LISTEN)?;
        tokio::spawn(serve(listener, said.clone()));
        let mut settings = gateway::settings();
        settings.extend(SETTINGS.iter().filter_map(|setting| {
            setting.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()))
        }));
        // Only when it is called.
        settings.insert("PGW_RECONCILE_INTERVAL".to_owned(), "1h".to_owned());
        let mut gateway = Gateway::new(settings)?;
        std::fs::write(format!("{STATE}/internal.token"), TOKEN)?;
        gateway.start(Program::Agent).await?;
        Ok(Self { _gateway: gateway, rest: Rest::new(TOKEN.to_owned())?, said })
    }

    /// From now on; the agent does not know it yet.
    pub(super) fn say(&self, active_set: Arc<str>) {
        *self.said.lock().unwrap_or_else(PoisonError::into_inner) = active_set;
    }

    /// Returns when it has confirmed that the kernel holds so many clients.
    pub(super) async fn reconcile(&self, clients: usize) -> Result<()> {
        let answer = self.rest.send(Method::POST, &format!("{}/agent/reconcile", rest::AGENT), None).await?;
        let held = answer.body.get("clients").and_then(Value::as_u64);
        ensure!(answer.status == 200 && held == u64::try_from(clients).ok(), "{:.500}", answer.text);
        Ok(())
    }
}

async fn serve(listener: TcpListener, said: Arc<Mutex<Arc<str>>>) {
    while let Ok((stream, _agent)) = listener.accept().await {
        let said = said.clone();
        // The agent tells of whatever it misses.
        tokio::spawn(async move { answer(stream, &said).await.ok() });
    }
}

/// Questions have no body, and every answer is the same.
async fn answer(stream: TcpStream, said: &Mutex<Arc<str>>) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    while stream.read_line(&mut line).await? > 0 {
        if line.trim().is_empty() {
            let body = said.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            stream.write_all(&[head.as_bytes(), body.as_bytes()].concat()).await?;
        }
        line.clear();
    }
    Ok(())
}

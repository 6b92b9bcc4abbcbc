//! A stream of the API's events, as a client reads it.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use reqwest::Response;
use serde_json::Value;

/// Longer than anything takes that is waited for here.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Stream {
    answer: Response,
    /// What has come and was not taken yet.
    buffer: String,
    /// As a browser remembers it.
    pub last_id: Option<i64>,
}

/// One event: its name, its id and what it tells.
#[derive(Debug, Clone)]
pub struct Told {
    pub name: String,
    pub id: i64,
    pub data: Value,
}

impl Told {
    pub fn text(&self, pointer: &str) -> &str {
        self.data.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }
}

impl Stream {
    /// `url` ends with the path; `after` is the last event that is known.
    pub async fn open(url: &str, token: &str, after: Option<i64>) -> Result<Self> {
        let client = reqwest::Client::builder().no_proxy().connect_timeout(Duration::from_secs(5)).build()?;
        let mut request = client.get(url).bearer_auth(token);
        if let Some(after) = after {
            request = request.header("last-event-id", after.to_string());
        }
        let answer = request.send().await?;
        ensure!(answer.status() == 200, "{url} was answered {}", answer.status());
        let mut stream = Self { answer, buffer: String::new(), last_id: after };
        let hello = stream.next().await?.context("a stream that ends at once")?;
        ensure!(hello.name == "hello", "a stream begins with {hello:?}");
        Ok(stream)
    }

    /// None when it has ended.
    pub async fn next(&mut self) -> Result<Option<Told>> {
        loop {
            while let Some((block, rest)) = self.buffer.split_once("\n\n") {
                let told = read(block)?;
                self.buffer = rest.to_owned();
                if let Some((id, told)) = told {
                    self.last_id = Some(id);
                    if let Some(told) = told {
                        return Ok(Some(told));
                    }
                }
            }
            let piece = tokio::time::timeout(PATIENCE, self.answer.chunk()).await;
            match piece.context("nothing came, not even a heartbeat")? {
                Ok(Some(piece)) => self.buffer.push_str(std::str::from_utf8(&piece)?),
                Ok(None) | Err(_) => return Ok(None),
            }
        }
    }

    /// The next one of this kind for which `wanted` holds.
    pub async fn until(&mut self, kind: &str, wanted: impl Fn(&Told) -> bool) -> Result<Told> {
        let waiting = async {
            while let Some(told) = self.next().await? {
                ensure!(told.name != "gap", "something was left out: {told:?}");
                if told.name == kind && wanted(&told) {
                    return Ok(told);
                }
            }
            bail!("the stream ended before {kind}");
        };
        tokio::time::timeout(PATIENCE, waiting).await.with_context(|| format!("waiting for {kind}"))?
    }
}

type Block = (i64, Option<Told>);

fn read(block: &str) -> Result<Option<Block>> {
    let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
    let Some(id) = field("id: ") else { return Ok(None) };
    let id: i64 = id.parse().with_context(|| block.to_owned())?;
    let told = match (field("event: "), field("data: ")) {
        (Some(name), Some(data)) => {
            Some(Told { name: name.to_owned(), id, data: serde_json::from_str(data)? })
        }
        _ => None,
    };
    Ok(Some((id, told)))
}

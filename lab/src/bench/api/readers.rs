//! Everybody who looks at a page follows the events: many at once, each told of everything.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use serde_json::{Value, json};

use super::samples::Measure;
use super::{Bench, progress};
use crate::lab::admin_token;
use crate::rest::{self, API};
use crate::stream::Stream;

pub(super) const READERS: usize = 500;
/// A person's clicks do not come all in one instant either.
const AT_ONCE: usize = 50;

impl Bench {
    /// They stay for as long as they are held.
    pub(super) async fn readers(&mut self) -> Result<Vec<Stream>> {
        progress(&format!("{READERS} readers of events"));
        let token = admin_token().await?;
        let url = format!("{API}/v1/events?kind=change");
        let mut streams = Vec::with_capacity(READERS);
        while streams.len() < READERS {
            let opened = (0..AT_ONCE).map(|_| Stream::open(&url, &token, None));
            streams.extend(try_join_all(opened).await?);
        }
        let clients = self.rest().get("/v1/clients?limit=100").await?;
        let clients = clients.get("items").and_then(Value::as_array).context("no clients")?;
        for (round, client) in clients.iter().cycle().take(self.plan.changes).enumerate() {
            let id = rest::id(client)?;
            let (path, note) = (format!("/v1/clients/{id}"), json!({"note": format!("change {round}")}));
            let start = Instant::now();
            let (changed, told) = tokio::join!(
                self.rest().patch(&path, note),
                try_join_all(streams.iter_mut().map(|stream| stream.until("change", |_| true))),
            );
            self.samples.add(Measure::Told, start);
            changed?;
            let same = told?.iter().all(|told| told.text("/client_id") == id);
            ensure!(same, "somebody was told of another change than {round}");
        }
        Ok(streams)
    }
}

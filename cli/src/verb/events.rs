//! `pgw events`: what happens, as it happens. Nothing is missed and nothing told twice: after a
//! break it goes on behind the last event that was seen.

use std::time::Duration;

use clap::Args;
use reqwest::{Method, header};
use serde_json::Value;
use tokio::time::{sleep, timeout};

use super::journal::told;
use crate::desk::Desk;
use crate::error::{Error, UNREACHABLE};
use crate::gateway::{Gateway, field, refused};
use crate::noun::client::CLIENT;
use crate::sse::{Frame, Frames};

/// A comment comes every 15 s; whoever is silent for longer has gone.
const SILENCE: Duration = Duration::from_secs(45);
/// As after a restart of the API.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
const LAST_EVENT_ID: header::HeaderName = header::HeaderName::from_static("last-event-id");

#[derive(Args)]
pub(crate) struct Events {
    /// Only these, such as mapping.state or drift; may be said several times
    #[arg(long = "kind", value_name = "KIND")]
    kinds: Vec<String>,
    /// Only those of this device
    #[arg(long)]
    client: Option<String>,
    /// Begins behind this event, if the log still has it
    #[arg(long, value_name = "ID")]
    after: Option<u64>,
    /// Ends after so many
    #[arg(short = 'n', long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
}

struct Following {
    kinds: Option<String>,
    client_id: Option<String>,
    after: Option<String>,
    left: Option<u64>,
    pause: Duration,
}

/// Why a stream is over.
enum Over {
    /// All that was asked for was seen.
    Done,
    Broken(String),
}

impl Events {
    pub(crate) async fn run(self, gateway: &Gateway, desk: &mut Desk) -> Result<(), Error> {
        let client_id = match &self.client {
            Some(word) => Some(field(&CLIENT.find(gateway, word).await?, "id").to_owned()),
            None => None,
        };
        let mut following = Following {
            kinds: (!self.kinds.is_empty()).then(|| self.kinds.join(",")),
            client_id,
            after: self.after.map(|id| id.to_string()),
            left: self.count,
            pause: FIRST_PAUSE,
        };
        let mut was_open = false;
        loop {
            let why = match following.stream(gateway, desk, &mut was_open).await {
                Ok(Over::Done) => return Ok(()),
                Ok(Over::Broken(why)) => why,
                // Once it has worked, it is waited for: also where something before it answers in its place.
                Err(error) if was_open && error.code() == UNREACHABLE => error.to_string(),
                Err(error) => return Err(error),
            };
            desk.note(&format!("pgw: {why}; it is tried again"));
            sleep(following.pause).await;
            following.pause = (following.pause * 2).min(LONGEST_PAUSE);
        }
    }
}

impl Following {
    async fn stream(
        &mut self,
        gateway: &Gateway,
        desk: &mut Desk,
        was_open: &mut bool,
    ) -> Result<Over, Error> {
        let mut call = gateway.call(Method::GET, "/v1/events").without_end();
        call = call.query("kind", self.kinds.clone()).query("client_id", self.client_id.clone());
        if let Some(after) = &self.after {
            call = call.header(LAST_EVENT_ID, after.clone());
        }
        let mut response = timeout(SILENCE, call.open())
            .await
            .map_err(|_elapsed| Error::Unreachable(format!("{} is silent", gateway.url())))??;
        let status = response.status().as_u16();
        if status != 200 {
            let body = response.chunk().await.ok().flatten().unwrap_or_default();
            return Err(refused(status, &body));
        }
        *was_open = true;
        let mut frames = Frames::default();
        loop {
            let piece = match timeout(SILENCE, response.chunk()).await {
                Ok(Ok(Some(piece))) => piece,
                Ok(Ok(None)) => return Ok(Over::Broken("the stream ended".to_owned())),
                Ok(Err(error)) => return Ok(Over::Broken(pgw_core::cause::root(&error))),
                Err(_elapsed) => return Ok(Over::Broken("the gateway is silent".to_owned())),
            };
            let whole = frames.take(&piece).map_err(|error| Error::Failed(error.to_string()))?;
            self.after = frames.last_id.clone().or(self.after.take());
            self.pause = FIRST_PAUSE;
            for frame in whole {
                if self.show(desk, &frame)? {
                    return Ok(Over::Done);
                }
            }
        }
    }

    /// Was it the last one?
    fn show(&mut self, desk: &mut Desk, frame: &Frame) -> Result<bool, Error> {
        match frame.event.as_str() {
            "hello" => return Ok(false),
            "gap" => {
                desk.note("pgw: some events are left out here; see: pgw journal");
                return Ok(false);
            }
            _ => {}
        }
        let event: Value = serde_json::from_str(&frame.data)
            .map_err(|error| Error::Failed(format!("an event cannot be read: {error}")))?;
        if desk.is_script() {
            desk.item(&event)?;
        } else {
            desk.line(&told(&event))?;
            desk.out.flush()?;
        }
        self.left = self.left.map(|left| left.saturating_sub(1));
        Ok(self.left == Some(0))
    }
}

//! The unix socket by which the API says what shall be, and hears what is.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pgw_core::files::socket;
use pgw_core::tunnel::{Answer, Ask};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::timeout;

use super::Gateway;

const MAX_CLIENTS: usize = 32;
/// A document with ten thousand tunnels fits.
const MAX_LINE: u64 = 32 * 1024 * 1024;
/// For whoever asks and does not read the answer.
const ANSWER: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(100);

/// Whoever holds the port has the right to the socket.
pub(super) fn bind(path: &Path) -> io::Result<UnixListener> {
    let (listener, _place) = socket::listen(path)?;
    UnixListener::from_std(listener)
}

/// Answers, and does not return.
pub(super) async fn serve(gateway: Arc<Gateway>, listener: UnixListener) {
    let room = Arc::new(Semaphore::new(MAX_CLIENTS));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        // One too many is hung up on, and asks again later.
        if let Ok(place) = room.clone().try_acquire_owned() {
            let gateway = gateway.clone();
            tokio::spawn(async move {
                // Who hangs up in the middle of an answer has no use for it.
                let _hung_up = converse(stream, &gateway).await;
                drop(place);
            });
        }
    }
}

async fn converse(stream: UnixStream, gateway: &Gateway) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = Vec::new();
    loop {
        line.clear();
        (&mut stream).take(MAX_LINE).read_until(b'\n', &mut line).await?;
        if line.is_empty() {
            return Ok(());
        }
        let whole = line.ends_with(b"\n");
        let answer = match serde_json::from_slice(&line) {
            _ if !whole => {
                Answer::Error { detail: format!("a question is one line of at most {MAX_LINE} bytes") }
            }
            Ok(Ask::Follow) => return tell(&mut stream, gateway).await,
            Ok(ask) => gateway.answer(ask),
            Err(error) => Answer::Error { detail: format!("not a question of this version: {error}") },
        };
        say(&mut stream, &answer).await?;
        if !whole {
            return Ok(());
        }
    }
}

impl Gateway {
    fn answer(&self, ask: Ask) -> Answer {
        match ask {
            Ask::Status | Ask::Follow => Answer::Status(self.status()),
            Ask::Visitors { tunnel } => Answer::Visitors { visitors: self.visitors(tunnel) },
            Ask::Close { tunnel } => Answer::Ended { was_there: self.close(tunnel) },
            Ask::Disconnect { client } => Answer::Ended { was_there: self.disconnect(client) },
            Ask::Apply { desired } => {
                let revision = desired.revision;
                let checked = desired.check().map_err(|error| error.to_string());
                match checked
                    .and_then(|()| self.apply(desired).map_err(|error| format!("cannot keep it: {error}")))
                {
                    Ok(()) => Answer::Applied { revision },
                    Err(detail) => Answer::Error { detail },
                }
            }
        }
    }
}

/// The status, and then what happens, until the follower says something or leaves. One who was too
/// slow is given the status again.
async fn tell(stream: &mut BufReader<UnixStream>, gateway: &Gateway) -> io::Result<()> {
    loop {
        let mut events = gateway.events.subscribe();
        say(stream, &Answer::Status(gateway.status())).await?;
        loop {
            let event = tokio::select! {
                event = events.recv() => event,
                heard = stream.fill_buf() => return heard.map(|_anything| ()),
            };
            match event {
                Ok(event) => say(stream, &Answer::Event(event)).await?,
                Err(RecvError::Lagged(_)) => break,
                Err(RecvError::Closed) => return Ok(()),
            }
        }
    }
}

async fn say(stream: &mut BufReader<UnixStream>, answer: &Answer) -> io::Result<()> {
    let mut text = serde_json::to_vec(answer)?;
    text.push(b'\n');
    timeout(ANSWER, stream.get_mut().write_all(&text)).await?
}

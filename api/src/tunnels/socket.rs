//! The tunnel daemon's socket: one question, one answer, both bounded in length and time.

use std::io;
use std::path::Path;
use std::time::Duration;

use pgw_core::tunnel::{Answer, Ask, Status};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;

/// It answers within milliseconds; with a document of ten thousand tunnels, within this.
const PATIENCE: Duration = Duration::from_secs(5);
/// The status of ten thousand tunnels fits.
const LONGEST: u64 = 32 * 1024 * 1024;

/// Why it could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum Silent {
    #[error("the tunnel daemon does not answer")]
    Nobody(#[source] io::Error),
    #[error("the tunnel daemon is not understood: {0}")]
    Nonsense(String),
}

impl Silent {
    /// An answer to another question, or why there is none.
    pub(super) fn unasked(answer: &Answer) -> Self {
        Self::Nonsense(match answer {
            Answer::Error { detail } => detail.clone(),
            _ => "it answers something else".to_owned(),
        })
    }
}

pub(super) struct Line(BufReader<UnixStream>);

impl Line {
    pub(super) async fn open(socket: &Path) -> Result<Self, Silent> {
        let stream = timeout(PATIENCE, UnixStream::connect(socket)).await.map_err(io::Error::from);
        stream.and_then(|stream| stream).map(BufReader::new).map(Self).map_err(Silent::Nobody)
    }

    pub(super) async fn ask(&mut self, ask: &Ask) -> Result<Answer, Silent> {
        self.say(ask).await?;
        timeout(PATIENCE, self.hear()).await.map_err(|late| Silent::Nobody(late.into()))?
    }

    pub(super) async fn status(&mut self) -> Result<Status, Silent> {
        match self.ask(&Ask::Status).await? {
            Answer::Status(status) => Ok(status),
            other => Err(Silent::unasked(&other)),
        }
    }

    pub(super) async fn say(&mut self, ask: &Ask) -> Result<(), Silent> {
        let saying = async {
            let mut line = serde_json::to_vec(ask)?;
            line.push(b'\n');
            self.0.get_mut().write_all(&line).await
        };
        timeout(PATIENCE, saying).await.map_err(io::Error::from).and_then(|said| said).map_err(Silent::Nobody)
    }

    pub(super) async fn hear(&mut self) -> Result<Answer, Silent> {
        let mut line = Vec::new();
        (&mut self.0).take(LONGEST).read_until(b'\n', &mut line).await.map_err(Silent::Nobody)?;
        if line.is_empty() {
            return Err(Silent::Nobody(io::ErrorKind::UnexpectedEof.into()));
        }
        serde_json::from_slice(&line).map_err(|error| Silent::Nonsense(error.to_string()))
    }
}

//! The API's end of a forwarder's control socket (`core::control`): one question, one answer,
//! both bounded in length and time.

use std::io;
use std::mem;
use std::path::Path;
use std::time::Duration;

use pgw_core::control::{Answer, Ask, ConnectionsPage, FwdStatus, FwdTraffic, HEARTBEAT, Seen, socket_path};
use rustix::net::sockopt::socket_peercred;
use rustix::process::Pid;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::time::timeout;

/// A forwarder that runs answers within a millisecond; one that is buried in work, within this.
const PATIENCE: Duration = Duration::from_secs(1);
const LONGEST_LINE: usize = 64 * 1024;
/// A connection's row has some hundred bytes, and how many are wanted is said.
const LONGEST_PAGE: usize = 1024 * 1024;
/// Answers are mostly short.
const ROOM: usize = 1024;
/// A forwarder that is followed and says nothing for so long is followed no more.
const LONGEST_SILENCE: Duration = HEARTBEAT.saturating_mul(3);

#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    #[error("no forwarder listens on the control socket of port {0}")]
    Nobody(u16),
    /// There is a process, so the port is not free, but it is of no use.
    #[error("the forwarder on port {0} does not answer on its control socket")]
    Silent(u16),
    #[error("what answers on the control socket of port {port} is no forwarder for it: {detail}")]
    Nonsense { port: u16, detail: String },
    #[error("the control socket of port {port} cannot be used: {source}")]
    Unusable { port: u16, source: io::Error },
}

impl ControlError {
    /// It is busy, or we are: that says nothing about the forwarder, which may serve its device as
    /// well as ever.
    pub fn says_nothing(&self) -> bool {
        match self {
            Self::Silent(_) | Self::Unusable { .. } => true,
            Self::Nobody(_) | Self::Nonsense { .. } => false,
        }
    }
}

/// A connection to whoever holds the socket, whether or not it answers.
pub struct Line {
    port: u16,
    pid: Option<Pid>,
    stream: UnixStream,
    /// What has come of the next line. Lines are kept for each forwarder and are mostly silent: one
    /// that is has no room for words.
    heard: Vec<u8>,
}

/// A forwarder that tells what it sees of its upstreams.
pub struct Following(Line);

/// What the forwarder on this port says of itself.
pub async fn status(run_dir: &Path, port: u16) -> Result<FwdStatus, ControlError> {
    Line::open(run_dir, port).await?.status().await
}

impl Line {
    pub async fn open(run_dir: &Path, port: u16) -> Result<Self, ControlError> {
        let connecting = timeout(PATIENCE, UnixStream::connect(socket_path(run_dir, port))).await;
        let stream = match connecting {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(refused(port, error)),
            Err(_elapsed) => return Err(ControlError::Silent(port)),
        };
        let pid = socket_peercred(&stream).ok().map(|peer| peer.pid);
        Ok(Self { port, pid, stream, heard: Vec::new() })
    }

    /// Of the process that listens, as the kernel knows it.
    pub fn pid(&self) -> Option<Pid> {
        self.pid
    }

    pub async fn status(&mut self) -> Result<FwdStatus, ControlError> {
        self.say(&Ask::Status).await?;
        match self.hear(PATIENCE, LONGEST_LINE).await? {
            Answer::Status(status) if status.port == self.port => Ok(status),
            Answer::Status(status) => Err(self.nonsense(format!("it serves port {}", status.port))),
            other => Err(self.unasked(other)),
        }
    }

    pub async fn connections(
        &mut self,
        after: Option<u64>,
        limit: u32,
    ) -> Result<ConnectionsPage, ControlError> {
        self.say(&Ask::Connections { after, limit: Some(limit) }).await?;
        match self.hear(PATIENCE, LONGEST_PAGE).await? {
            Answer::Connections(page) if page.port == self.port => Ok(page),
            Answer::Connections(page) => Err(self.nonsense(format!("it serves port {}", page.port))),
            other => Err(self.unasked(other)),
        }
    }

    /// Ends one connection; says whether it was there.
    pub async fn close(&mut self, id: u64) -> Result<bool, ControlError> {
        self.say(&Ask::Close { id }).await?;
        match self.hear(PATIENCE, LONGEST_LINE).await? {
            Answer::Closed { was_open, .. } => Ok(was_open),
            other => Err(self.unasked(other)),
        }
    }

    pub async fn traffic(&mut self, names: bool) -> Result<FwdTraffic, ControlError> {
        self.say(&Ask::Traffic { names }).await?;
        self.hear_traffic().await
    }

    /// Waits for what it says without being asked: that it ends, and what it carried. Nothing is
    /// lost when nobody waits for it any more.
    pub async fn last_words(&mut self) -> Result<FwdTraffic, ControlError> {
        if self.heard.is_empty() && !self.listen().await.is_ok_and(|more| more) {
            return Err(ControlError::Silent(self.port));
        }
        Box::pin(self.hear_traffic()).await
    }

    async fn hear_traffic(&mut self) -> Result<FwdTraffic, ControlError> {
        match self.hear(PATIENCE, LONGEST_LINE).await? {
            Answer::Traffic(traffic) if traffic.port == self.port => Ok(traffic),
            Answer::Traffic(traffic) => Err(self.nonsense(format!("it serves port {}", traffic.port))),
            other => Err(self.unasked(other)),
        }
    }

    async fn say(&mut self, ask: &Ask) -> Result<(), ControlError> {
        let saying = async {
            let mut line = serde_json::to_vec(ask)?;
            line.push(b'\n');
            self.stream.write_all(&line).await
        };
        // An error: it hung up; it is dying, or about to be gone.
        timeout(PATIENCE, saying).await.ok().and_then(io::Result::ok).ok_or(ControlError::Silent(self.port))
    }

    async fn hear(&mut self, patience: Duration, longest: usize) -> Result<Answer, ControlError> {
        match timeout(patience, self.line(longest)).await {
            Ok(Ok(line)) if !line.is_empty() => {
                serde_json::from_slice(&line).map_err(|error| self.nonsense(error.to_string()))
            }
            Ok(_) | Err(_) => Err(ControlError::Silent(self.port)),
        }
    }

    /// The next line, or as much of it as there is when it is too long or the other end hangs up.
    /// Nothing is lost when nobody waits for it any more.
    async fn line(&mut self, longest: usize) -> io::Result<Vec<u8>> {
        loop {
            let end = self.heard.iter().position(|byte| *byte == b'\n');
            match end.map(|end| end + 1) {
                Some(end) if end <= longest => {
                    let next = self.heard.split_off(end);
                    return Ok(mem::replace(&mut self.heard, next));
                }
                None if self.heard.len() < longest && self.listen().await? => {}
                Some(_) | None => {
                    self.heard.truncate(longest);
                    return Ok(mem::take(&mut self.heard));
                }
            }
        }
    }

    /// Takes what comes next; says whether there will be more. Room is made when something is there.
    async fn listen(&mut self) -> io::Result<bool> {
        loop {
            self.stream.readable().await?;
            self.heard.reserve(ROOM);
            match self.stream.try_read_buf(&mut self.heard) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return read.map(|count| count > 0),
            }
        }
    }

    /// For an answer that is not to what was asked.
    fn unasked(&self, answer: Answer) -> ControlError {
        match answer {
            Answer::Error { detail } => self.nonsense(detail),
            _ => self.nonsense("it answers another question".into()),
        }
    }

    fn nonsense(&self, detail: String) -> ControlError {
        ControlError::Nonsense { port: self.port, detail }
    }
}

impl Following {
    pub async fn open(run_dir: &Path, port: u16) -> Result<Self, ControlError> {
        let mut line = Line::open(run_dir, port).await?;
        line.say(&Ask::Follow).await?;
        Ok(Self(line))
    }

    /// What it has seen up to now: the first time at once, then when there is something new,
    /// and now and then in any case.
    pub async fn next(&mut self) -> Result<Vec<Seen>, ControlError> {
        match self.0.hear(LONGEST_SILENCE, LONGEST_LINE).await? {
            Answer::Seen { upstreams } => Ok(upstreams),
            other => Err(self.0.unasked(other)),
        }
    }
}

fn refused(port: u16, error: io::Error) -> ControlError {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ControlError::Nobody(port),
        // The queue of those who wait to be accepted is full.
        io::ErrorKind::WouldBlock => ControlError::Silent(port),
        _ => ControlError::Unusable { port, source: error },
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;
    use tokio::io::AsyncReadExt as _;
    use tokio::net::UnixListener;
    use uuid::Uuid;

    use super::*;

    const PORT: u16 = 15001;

    fn run_dir() -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("fwd")).unwrap();
        dir
    }

    fn answer(port: u16) -> String {
        let status = FwdStatus {
            version: "1.2.3".into(),
            pid: std::process::id(),
            port,
            revision: Uuid::nil(),
            ..FwdStatus::default()
        };
        serde_json::to_string(&Answer::Status(status)).unwrap()
    }

    /// What `status` makes of a socket that answers just this and hangs up.
    async fn told(text: String) -> Result<FwdStatus, ControlError> {
        let dir = run_dir();
        let listener = UnixListener::bind(socket_path(dir.path(), PORT)).unwrap();
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut ask = Vec::new();
            stream.read_buf(&mut ask).await.unwrap();
            // The other end may have heard enough.
            let _ = stream.write_all(text.as_bytes()).await;
        };
        tokio::join!(status(dir.path(), PORT), serve).0
    }

    #[tokio::test]
    async fn a_forwarder_says_who_it_is_and_the_kernel_says_it_too() {
        assert_eq!(told(format!("{}\n", answer(PORT))).await.unwrap().version, "1.2.3");
        let dir = run_dir();
        let _listener = UnixListener::bind(socket_path(dir.path(), PORT)).unwrap();
        let line = Line::open(dir.path(), PORT).await.unwrap();
        assert_eq!(line.pid().unwrap().as_raw_nonzero().get().cast_unsigned(), std::process::id());
    }

    #[tokio::test]
    async fn an_answer_that_cannot_be_believed_is_refused() {
        for text in [
            answer(PORT + 1),
            "not json\n".into(),
            r#"{"answer":"error","detail":"no"}"#.into(),
            format!("\"{}", "x".repeat(100_000)),
        ] {
            let error = told(text.clone()).await.unwrap_err();
            assert!(matches!(error, ControlError::Nonsense { .. }), "{text:.40}: {error}");
        }
        assert!(matches!(told(String::new()).await.unwrap_err(), ControlError::Silent(PORT)));
    }

    #[tokio::test]
    async fn nobody_there_and_somebody_silent_are_told_apart() {
        let dir = run_dir();
        let path = socket_path(dir.path(), PORT);
        assert!(matches!(status(dir.path(), PORT).await.unwrap_err(), ControlError::Nobody(PORT)));
        let listener = UnixListener::bind(&path).unwrap();
        assert!(matches!(status(dir.path(), PORT).await.unwrap_err(), ControlError::Silent(PORT)));
        drop(listener);
        assert!(path.exists(), "a socket that outlived its process");
        assert!(matches!(status(dir.path(), PORT).await.unwrap_err(), ControlError::Nobody(PORT)));
    }
}

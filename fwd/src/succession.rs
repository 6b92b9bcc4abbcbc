//! How a forwarder is replaced while it carries connections: the next one asks for its sockets,
//! gets ready, and only then relieves it. Until that moment the old one serves as if nothing were;
//! from then on it drains, and the new one accepts. Nobody is refused in between.

use std::io::{self, BufRead as _, BufReader, IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use pgw_core::control::{Answer, Ask};
use rustix::cmsg_space;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

use crate::sockets::Sockets;
use crate::start::Failure;

/// For each answer of the forwarder that is relieved.
const PATIENCE: Duration = Duration::from_secs(5);
const LONGEST_ANSWER: usize = 4096;
/// What it carries may go on so long. Nobody waits for it.
const DRAIN: Duration = Duration::from_secs(3600);
/// What the new forwarder says when it serves.
const SERVING: &str = "serving";

/// The forwarder that is to be relieved.
pub(crate) struct Predecessor {
    line: UnixStream,
    /// How often the service manager wants to hear from it, and so from its successor.
    pub(crate) watchdog: Option<Duration>,
}

impl Predecessor {
    /// Blocks, with a bound: nobody is served yet by this process.
    pub(crate) fn ask(path: &Path) -> io::Result<(Self, Sockets)> {
        let mut line = UnixStream::connect(path)?;
        line.set_read_timeout(Some(PATIENCE))?;
        line.set_write_timeout(Some(PATIENCE))?;
        say(&mut line, &Ask::HandOver)?;
        let (answer, sockets) = receive(&line)?;
        match (answer, sockets) {
            (Answer::HandedOver { watchdog_ms }, Some(sockets)) => {
                Ok((Self { line, watchdog: watchdog_ms.map(Duration::from_millis) }, sockets))
            }
            (Answer::Error { detail }, _) => Err(io::Error::other(detail)),
            _ => Err(io::Error::other("it does not hand over its sockets")),
        }
    }

    /// From here on it takes nobody any more, and this process is the service.
    pub(crate) fn relieve(mut self) -> io::Result<()> {
        say(&mut self.line, &Ask::Drain { limit_s: Some(DRAIN.as_secs()) })?;
        match receive(&self.line)?.0 {
            Answer::Draining { .. } => Ok(()),
            _ => Err(io::Error::other("it goes on")),
        }
    }
}

fn say(line: &mut UnixStream, ask: &Ask) -> io::Result<()> {
    let mut text = serde_json::to_vec(ask)?;
    text.push(b'\n');
    line.write_all(&text)
}

fn receive(line: &UnixStream) -> io::Result<(Answer, Option<Sockets>)> {
    let (mut text, mut fds) = (Vec::new(), Vec::new());
    while !text.ends_with(b"\n") {
        let mut bytes = [0; LONGEST_ANSWER];
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(2))];
        let mut beside = RecvAncillaryBuffer::new(&mut space);
        let parts = &mut [IoSliceMut::new(&mut bytes)];
        let heard = recvmsg(line, parts, &mut beside, RecvFlags::CMSG_CLOEXEC)?.bytes;
        for message in beside.drain() {
            if let RecvAncillaryMessage::ScmRights(given) = message {
                fds.extend(given);
            }
        }
        text.extend_from_slice(bytes.get(..heard).unwrap_or_default());
        if heard == 0 || text.len() > LONGEST_ANSWER {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok((serde_json::from_slice(&text)?, Sockets::received(fds)))
}

/// An answer with sockets beside it, in one piece.
pub(crate) fn give(line: &tokio::net::UnixStream, answer: &[u8], sockets: &Sockets) -> io::Result<usize> {
    let fds = sockets.as_fds();
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(2))];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    if !beside.push(SendAncillaryMessage::ScmRights(&fds)) {
        return Err(io::ErrorKind::OutOfMemory.into());
    }
    Ok(sendmsg(line, &[IoSlice::new(answer)], &mut beside, SendFlags::NOSIGNAL)?)
}

/// Starts the next forwarder of the port and returns when it serves, or could not.
///
/// It is nobody's child but the first process's: a service manager watches over its own children
/// much better than over those of others.
pub(crate) fn start_successor(port: u16) -> Result<(), Failure> {
    let started = || {
        let program = std::env::current_exe()?;
        #[expect(clippy::disallowed_methods, reason = "a successor is a process")]
        let mut setsid = Command::new("setsid")
            .arg("--fork")
            .arg(program)
            .args(["--port", &port.to_string(), "--take-over"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut said = String::new();
        if let Some(stdout) = setsid.stdout.take() {
            // It ends with the line, or with the process.
            BufReader::new(stdout.take(64)).read_line(&mut said)?;
        }
        setsid.wait()?;
        Ok(said.trim() == SERVING)
    };
    match started() {
        Ok(true) => Ok(()),
        Ok(false) => Err(Failure::NotRelieved(port)),
        Err(error) => Err(Failure::Successor(error)),
    }
}

/// To whoever started this process; it may have gone.
pub(crate) fn announce() {
    let _gone = writeln!(io::stdout(), "{SERVING}");
}

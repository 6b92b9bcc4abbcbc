//! The forwarder that is to take over, as the one that serves sees it.

use std::io;

use pgw_core::control::Answer;
use rustix::process::geteuid;
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::{ANSWER, Desk};
use crate::succession::give;

/// Somebody who holds our sockets, and has not taken over yet.
pub(super) struct Waiting<'a> {
    desk: &'a Desk,
    pid: u32,
    took_over: bool,
}

impl Waiting<'_> {
    pub(super) fn takes_over(mut self) {
        self.took_over = true;
        self.desk.service.succeeded_by(self.pid);
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.took_over {
            self.desk.left_alone.notify_one();
        }
    }
}

impl Desk {
    /// Gives the sockets to a forwarder of the same user.
    pub(super) async fn hand_over(&self, line: &UnixStream) -> io::Result<Waiting<'_>> {
        let peer = line.peer_cred()?;
        let pid = peer.pid().and_then(|pid| u32::try_from(pid).ok());
        let pid = pid.filter(|_pid| peer.uid() == geteuid().as_raw());
        let pid = pid.ok_or_else(|| io::Error::other("sockets go to a forwarder of the same user only"))?;
        let (heir, waiting) = oneshot::channel();
        let stopping = |_gone| io::Error::other("it is stopping");
        self.heirs
            .try_send(heir)
            .map_err(|_full| io::Error::other("it is stopping, or somebody was faster"))?;
        let sockets = tokio::select! {
            given = waiting => given.map_err(stopping)??,
            () = self.live.is_draining() => return Err(io::Error::other("it is stopping")),
        };
        let watchdog_ms =
            self.service.watchdog().map(|every| u64::try_from(every.as_millis()).unwrap_or(u64::MAX));
        let mut answer = serde_json::to_vec(&Answer::HandedOver { watchdog_ms })?;
        answer.push(b'\n');
        let waiting = Waiting { desk: self, pid, took_over: false };
        let sent =
            timeout(ANSWER, line.async_io(Interest::WRITABLE, || give(line, &answer, &sockets))).await??;
        if sent == answer.len() { Ok(waiting) } else { Err(io::ErrorKind::WriteZero.into()) }
    }
}

//! The kernel's side: nft, timed, and the moment at which a change is there.

use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustix::net::netlink::{NETFILTER, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::mpsc;

use crate::command;

/// Ten thousand rules may take a minute.
const PATIENCE: Duration = Duration::from_secs(120);
/// The group NFNLGRP_NFTABLES, as a bit.
const GROUP: u32 = 1 << 6;

/// Milliseconds, and what it said.
pub(super) async fn nft(words: &[&str], input: &str) -> Result<(f64, String)> {
    let mut command = command::bare("nft");
    command
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let start = Instant::now();
    let mut child = command.spawn().context("nft")?;
    let mut stdin = child.stdin.take().context("no input")?;
    let write = async {
        // An nft that does not read on says why.
        let _unread = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
    };
    let (output, ()) =
        tokio::time::timeout(PATIENCE, async { tokio::join!(child.wait_with_output(), write) }).await?;
    let (took, output) = (millis(start.elapsed()), output?);
    ensure!(output.status.success(), "nft: {:.300}", String::from_utf8_lossy(&output.stderr));
    Ok((took, String::from_utf8_lossy(&output.stdout).into_owned()))
}

pub(super) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// When the kernel told of changes of its rules, whoever made them.
pub(super) struct Notices(mpsc::UnboundedReceiver<Instant>);

impl Notices {
    pub(super) fn listen() -> Result<Self> {
        let socket =
            socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(NETFILTER))?;
        bind(&socket, &SocketAddrNetlink::new(0, GROUP))?;
        let (send, receive) = mpsc::unbounded_channel();
        std::thread::spawn(move || tell(&socket, &send));
        Ok(Self(receive))
    }

    pub(super) fn forget(&mut self) {
        while self.0.try_recv().is_ok() {}
    }

    /// The first one that is not forgotten.
    pub(super) async fn first(&mut self) -> Result<Instant> {
        let first = tokio::time::timeout(PATIENCE, self.0.recv()).await;
        first.context("the kernel tells of no change")?.context("nobody listens to the kernel")
    }
}

/// What the kernel could not keep for a late reader is a notice too.
fn tell(socket: &OwnedFd, to: &mpsc::UnboundedSender<Instant>) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let _bytes = recv(socket, buffer.as_mut_slice(), RecvFlags::empty());
        if to.send(Instant::now()).is_err() {
            return;
        }
    }
}

//! Somebody who tries every door, again and again, while other things happen.

use std::net::Ipv4Addr;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::canary::{self, PATIENCE, Way, answered, ways_out, ways_to_upstreams};
use crate::leaks::{self, Leaks};
use crate::net::{Device, ORIGIN};

pub struct Vigil {
    device: Device,
    before: Leaks,
    gateway_before: Leaks,
    stop: watch::Sender<bool>,
    rounds: JoinHandle<Result<Vec<Round>>>,
}

/// Every door, tried once.
#[derive(Debug)]
pub struct Round {
    pub began: Instant,
    pub ended: Instant,
    /// Ways on which an answer came.
    pub open: Vec<String>,
    /// The address under which the origin saw the device, on the ports that a mapping opens.
    pub seen: Option<String>,
}

/// What came of it all.
#[derive(Debug)]
pub struct Watched {
    pub rounds: Vec<Round>,
    /// Packets of the device that left the gateway directly.
    pub leaked: Leaks,
    /// The gateway's own to where a device wanted to go.
    pub direct: Leaks,
}

impl Vigil {
    pub async fn begin(device: Device) -> Result<Self> {
        let before = leaks::count(device.name).await?;
        let gateway_before = leaks::count("gw").await?;
        let (stop, stopped) = watch::channel(false);
        let rounds = tokio::spawn(watch_doors(device, stopped));
        Ok(Self { device, before, gateway_before, stop, rounds })
    }

    /// Nothing may have answered, nothing may have left, and whoever the origin saw was one of
    /// these upstreams.
    pub async fn end(self, upstreams: &[Ipv4Addr]) -> Result<()> {
        let name = self.device.name;
        let Watched { rounds, leaked, direct } = self.watched().await?;
        for round in &rounds {
            round.allowed(upstreams).with_context(|| name.to_owned())?;
        }
        ensure!(leaked.total() == 0, "packets of {name} left the gateway directly: {leaked:?}");
        ensure!(
            direct.total() == 0,
            "the gateway itself went directly to where a device wanted to go: {direct:?}"
        );
        Ok(())
    }

    /// The same without a judgement.
    pub async fn watched(self) -> Result<Watched> {
        let _listening = self.stop.send(true);
        let rounds = self.rounds.await.context("the watch broke off")??;
        ensure!(!rounds.is_empty(), "nobody watched");
        let leaked = leaks::count(self.device.name).await?.since(&self.before);
        let direct = leaks::count("gw").await?.since(&self.gateway_before);
        Ok(Watched { rounds, leaked, direct })
    }
}

impl Round {
    /// Nothing answered, and if the origin saw anybody, it was one of these.
    pub fn allowed(&self, upstreams: &[Ipv4Addr]) -> Result<()> {
        ensure!(self.open.is_empty(), "it got an answer from {:?}", self.open);
        let stranger = self.seen.as_ref().filter(|seen| !upstreams.iter().any(|ip| ip.to_string() == **seen));
        ensure!(stranger.is_none(), "it was seen as {stranger:?}, not as one of {upstreams:?}");
        Ok(())
    }
}

async fn watch_doors(device: Device, stopped: watch::Receiver<bool>) -> Result<Vec<Round>> {
    let ways: Vec<Way> = ways_out().into_iter().chain(ways_to_upstreams()).collect();
    let mut rounds = Vec::new();
    loop {
        let began = Instant::now();
        let (open, seen) = tokio::join!(answered(device.name, &ways, PATIENCE), asked(device));
        rounds.push(Round { began, ended: Instant::now(), open: open?, seen });
        if *stopped.borrow() {
            return Ok(rounds);
        }
    }
}

/// Who the origin says we are, if we reach it.
async fn asked(device: Device) -> Option<String> {
    let mut stream = canary::connect(device.name, (ORIGIN, 80).into(), PATIENCE).await.ok()?;
    stream.write_all(b"GET / HTTP/1.0\r\nHost: origin\r\n\r\n").await.ok()?;
    let answer = tokio::time::timeout(PATIENCE, canary::read(&mut stream, usize::MAX)).await.ok()?.ok()?;
    let (_, body) = answer.split_once("\r\n\r\n")?;
    Some(body.trim().to_owned()).filter(|body| !body.is_empty())
}

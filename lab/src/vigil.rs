//! Somebody who tries every door, again and again, while other things happen.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

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
    rounds: JoinHandle<Result<Found>>,
}

#[derive(Default)]
struct Found {
    rounds: u32,
    open: BTreeSet<String>,
    /// Addresses under which the origin saw the device, on the ports that a mapping opens.
    seen: BTreeSet<String>,
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
        let _listening = self.stop.send(true);
        let found = self.rounds.await.context("the watch broke off")??;
        let name = self.device.name;
        ensure!(found.rounds > 0, "nobody watched");
        ensure!(found.open.is_empty(), "{name} got an answer from {:?}", found.open);
        let allowed: BTreeSet<String> = upstreams.iter().map(Ipv4Addr::to_string).collect();
        ensure!(
            found.seen.is_subset(&allowed),
            "{name} was seen as {:?}, not only as {allowed:?}",
            found.seen
        );
        let leaked = leaks::count(name).await?.since(&self.before);
        ensure!(leaked.total() == 0, "packets of {name} left the gateway directly: {leaked:?}");
        let direct = leaks::count("gw").await?.since(&self.gateway_before);
        ensure!(
            direct.total() == 0,
            "the gateway itself went directly to where a device wanted to go: {direct:?}"
        );
        Ok(())
    }
}

async fn watch_doors(device: Device, stopped: watch::Receiver<bool>) -> Result<Found> {
    let ways: Vec<Way> = ways_out().into_iter().chain(ways_to_upstreams()).collect();
    let mut found = Found::default();
    loop {
        let (open, seen) = tokio::join!(answered(device.name, &ways, PATIENCE), asked(device));
        found.open.extend(open?);
        found.seen.extend(seen);
        found.rounds += 1;
        if *stopped.borrow() {
            return Ok(found);
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

//! A forwarder without files, and one whose connections go all at once (G10): it goes on, it
//! comes back to what it was, and an operator sees what it carries at every moment.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use pgw_lab::Lab;
use pgw_lab::canary::PATIENCE;
use pgw_lab::lab::eventually;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::alone::{Alone, DESTINATION, bind_its_port, connected, sockets, talk};
use crate::harness::MEASURED;

crate::tests![
    without_files_a_forwarder_refuses_what_it_cannot_serve_waits_without_haste_and_recovers,
    ten_thousand_connections_dropped_at_once_leave_nothing_behind,
    an_idle_connection_takes_less_than_a_kibibyte,
    a_drained_forwarder_leaves_its_port_to_the_next_one_and_its_connections_finish,
];

/// Connections that are set up at the same time: what that takes is not what is measured.
const AT_ONCE: usize = 20;

async fn without_files_a_forwarder_refuses_what_it_cannot_serve_waits_without_haste_and_recovers(
    _lab: Lab,
) -> Result<()> {
    let alone = Alone::start(json!({})).await?;
    let usual = getrlimit(Resource::Nofile).maximum.unwrap_or(1024);
    alone.limit_files(64)?;
    let mut served = Vec::new();
    for socket in sockets(16)? {
        served.push(connected(socket).await.context("there is room for sixteen")?);
    }
    ensure!(connected(sockets(1)?.remove(0)).await.is_err(), "one too many was served");
    ensure!(said(&alone, "open files for 16 connections only")? == 1, "no word of it");

    // Not even one more file than there are now: whoever comes waits in the kernel.
    let before = alone.ticks()?;
    alone.limit_files(8)?;
    let mut waiting = sockets(1)?.remove(0).connect(DESTINATION).await?;
    let early = timeout(4 * PATIENCE, waiting.read(&mut [0])).await;
    ensure!(early.is_err(), "it had no files, and answered {early:?}");
    let used = alone.ticks()? - before;
    ensure!(used < 20, "it spins: {used} ticks of a hundred while it waits");
    ensure!(said(&alone, "cannot accept for now")? == 1, "it is said once");
    for stream in &mut served {
        talk(stream).await.context("who is served is served on")?;
    }

    alone.limit_files(usual)?;
    talk(&mut waiting).await.context("who waited is served")?;
    ensure!(said(&alone, "cannot accept for now")? == 1, "it is said once");
    connected(sockets(1)?.remove(0)).await.context("and so is everybody who comes")?;
    Ok(())
}

fn said(alone: &Alone, words: &str) -> Result<usize> {
    Ok(alone.log()?.iter().filter(|line| line.contains(words)).count())
}

async fn ten_thousand_connections_dropped_at_once_leave_nothing_behind(_lab: Lab) -> Result<()> {
    let files = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: files, maximum: files })?;
    let alone = Alone::start(json!({"max_connections": 1_000_000})).await?;
    // Two files for each on the forwarder's side, and two on the test's.
    let room = files.map_or(usize::MAX, |files| usize::try_from(files.saturating_sub(600) / 2).unwrap_or(0));
    let count = room.min(10_000);
    ensure!(count >= 1000, "only {files:?} files can be open here: raise the hard limit (ulimit -Hn)");
    drop(open_many(AT_ONCE).await?);
    eventually("the first ones are gone", async || Ok((alone.open().await? == 0).then_some(()))).await?;
    let (memory, files, lines) = (alone.memory()?, alone.files()?, alone.log()?.len());

    let start = Instant::now();
    let mut open = open_many(count).await?;
    let setup = start.elapsed();
    ensure!(alone.open().await? == count as u64);
    let grown = alone.memory()?.saturating_sub(memory);
    let start = Instant::now();
    ensure!(shown(&alone).await?.len() == count, "every one of them is shown");
    let showing = start.elapsed();
    let mut witness = open.swap_remove(0);

    let start = Instant::now();
    drop(open);
    eventually("all are gone", async || Ok((alone.open().await? == 1).then_some(()))).await?;
    let dropping = start.elapsed();
    talk(&mut witness).await?;
    ensure!(dropping <= setup, "to end {count} took {dropping:?}, to begin them {setup:?}");
    eventually("their files are closed", async || Ok((alone.files()? <= files + 2).then_some(()))).await?;
    let told = alone.log()?.len() - lines;
    ensure!(told == count - 1, "{told} lines for {count} connections");
    let kept = alone.memory()?.saturating_sub(memory);
    eprintln!(
        "{MEASURED} {count} connections took {:.2} KiB each and left {kept} KiB; to begin, show and end them took {setup:?}, {showing:?}, {dropping:?}",
        grown as f64 / count as f64
    );
    // What was not given back is used again.
    let again = open_many(count - 1).await?;
    let needed = alone.memory()?.saturating_sub(memory);
    ensure!(needed <= grown + grown / 4, "the second time it took {needed} KiB, the first time {grown}");
    drop(again);
    eventually("all are gone again", async || Ok((alone.open().await? == 1).then_some(()))).await?;
    talk(&mut witness).await
}

/// They come in groups, as in life: whoever sleeps leaves its room to those who come.
async fn an_idle_connection_takes_less_than_a_kibibyte(_lab: Lab) -> Result<()> {
    const GROUPS: usize = 8;
    const GROUP: usize = 400;
    let alone = Alone::start(json!({})).await?;
    drop(open_many(AT_ONCE).await?);
    eventually("the first ones are gone", async || Ok((alone.open().await? == 0).then_some(()))).await?;
    let before = alone.memory()?;
    let mut open = Vec::new();
    for _group in 0..GROUPS {
        open.extend(open_many(GROUP).await?);
        eventually("all of them sleep", async || {
            let idle = shown(&alone).await?.into_values().min();
            Ok(idle.is_some_and(|idle| idle > 2_600).then_some(()))
        })
        .await?;
    }
    let each = alone.memory()?.saturating_sub(before) as f64 / open.len() as f64;
    eprintln!("{MEASURED} an idle connection takes {each:.2} KiB");
    ensure!(each < 1.0, "{each:.2} KiB each");
    for stream in &mut open {
        talk(stream).await.context("after its sleep")?;
    }
    Ok(())
}

async fn open_many(count: usize) -> Result<Vec<TcpStream>> {
    let mut open = Vec::with_capacity(count);
    while open.len() < count {
        let some = sockets(AT_ONCE.min(count - open.len()))?;
        open.extend(try_join_all(some.into_iter().map(connected)).await?);
    }
    for stream in &open {
        // Dropped, they are gone, as when a device loses its power behind a helpful router.
        stream.set_zero_linger()?;
    }
    Ok(open)
}

/// The connections on all of the pages, and for how many milliseconds nothing moved on each.
async fn shown(alone: &Alone) -> Result<BTreeMap<u64, u64>> {
    let (mut seen, mut after) = (BTreeMap::new(), json!(null));
    loop {
        let page = alone.ask(json!({"ask": "connections", "after": after, "limit": 100})).await?;
        let rows = page.get("connections").and_then(Value::as_array).context("rows")?;
        seen.extend(
            rows.iter().filter_map(|row| Some((row.get("id")?.as_u64()?, row.get("idle_ms")?.as_u64()?))),
        );
        after = page.get("next").cloned().unwrap_or_default();
        if after.is_null() {
            return Ok(seen);
        }
    }
}

async fn a_drained_forwarder_leaves_its_port_to_the_next_one_and_its_connections_finish(
    _lab: Lab,
) -> Result<()> {
    let alone = Alone::start(json!({})).await?;
    let mut open = connected(sockets(1)?.remove(0)).await?;
    let page = alone.ask(json!({"ask": "connections"})).await?;
    let row = page.pointer("/connections/0").context("it shows its connection")?;
    ensure!(row.get("bytes_up") == Some(&json!(4)) && row.get("upstream") == Some(&json!("test")), "{page}");
    let drained = alone.ask(json!({"ask": "drain", "limit_s": 60})).await?;
    ensure!(drained.get("connections") == Some(&json!(1)), "{drained}");
    let _successor = bind_its_port()?;
    talk(&mut open).await?;
    drop(open);
    eventually("it has ended", async || Ok(alone.has_ended()?.then_some(()))).await
}

//! The device: makes connections and measures what becomes of them. Each measurement is a
//! process of its own and ends with one line of JSON.

use std::io::{BufRead as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures_util::future::{join_all, try_join_all};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{timeout, timeout_at};

use super::drain::Drain;
use super::hello::{Order, Then};
use super::talk;
use crate::names;

/// Longer than any connection needs that comes to something.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// The start of a transfer is not measured.
const RUN_UP: Duration = Duration::from_millis(300);
/// As long as a small page.
const SMALL: Order = Order { bytes: 512, then: Then::Wait };
/// So many connections are opened at the same time when many are held.
const AT_A_TIME: u32 = 64;

/// What is to be measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Load {
    /// Throughput of so many streams.
    Bulk { to: SocketAddr, streams: usize, time: Duration },
    /// New connections, each for a small answer, so many at the same time.
    Rate { to: SocketAddr, at_once: usize, time: Duration },
    /// Small answers one after the other.
    OneByOne { to: SocketAddr, count: usize, time: Duration, rest: Duration },
    /// How long after its answer a stream ends when the origin ends it.
    End { to: SocketAddr, count: usize },
    /// Keeps connections that say nothing: as many as each line of its input says.
    Hold { to: SocketAddr },
    /// Questions for names one after the other.
    Names { to: Ipv4Addr, count: usize, fresh: bool },
    /// What so many visitors give, as far as the origin says that it has it.
    Upload { to: SocketAddr, streams: usize, time: Duration },
    /// Small questions and answers on so many connections; beside them, so many ask for a lot and
    /// take nothing.
    Requests { to: SocketAddr, connections: usize, stalled: usize, time: Duration },
    /// Datagrams that shall come back as they were, one after the other.
    Datagrams { to: SocketAddr, size: usize, count: usize },
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// Bytes or connections: all of them, and those in the measured seconds.
    pub(crate) all: f64,
    pub(crate) measured: f64,
    pub(crate) seconds: f64,
    pub(crate) failed: u64,
    /// In microseconds, one by one.
    pub(crate) times: Vec<f64>,
}

pub(crate) fn run(load: Load) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match load {
        Load::Bulk { to, streams, time } => say(&runtime.block_on(bulk(to, streams, time))?),
        Load::Rate { to, at_once, time } => say(&runtime.block_on(rate(to, at_once, time))),
        Load::OneByOne { to, count, time, rest } => say(&runtime.block_on(one_by_one(to, count, time, rest))),
        Load::End { to, count } => say(&runtime.block_on(end(to, count))?),
        Load::Hold { to } => hold(&runtime, to),
        Load::Names { to, count, fresh } => say(&ask(to, count, fresh)?),
        Load::Upload { to, streams, time } => say(&runtime.block_on(talk::upload(to, streams, time))?),
        Load::Requests { to, connections, stalled, time } => {
            say(&runtime.block_on(talk::requests(to, connections, stalled, time))?)
        }
        Load::Datagrams { to, size, count } => say(&talk::datagrams(to, size, count)?),
    }
}

#[expect(clippy::print_stdout, reason = "the line is what the process is there for")]
fn say(outcome: &Outcome) -> Result<()> {
    println!("{}", serde_json::to_string(outcome)?);
    Ok(std::io::stdout().flush()?)
}

async fn bulk(to: SocketAddr, streams: usize, time: Duration) -> Result<Outcome> {
    let order = Order { bytes: u64::MAX, then: Then::End };
    let start = tokio::time::Instant::now() + RUN_UP;
    let until = start + time;
    let pull = async || -> Result<(f64, f64)> {
        let stream = timeout(PATIENCE, ask_for(to, order)).await??;
        let (mut all, mut measured, mut drain) = (0.0, 0.0, Drain::new());
        while let Ok(got) = timeout_at(until, drain.some(&stream)).await {
            let got = got?;
            ensure!(got > 0, "a stream without end has ended");
            let got = f64::from(u32::try_from(got)?);
            all += got;
            measured += if tokio::time::Instant::now() < start { 0.0 } else { got };
        }
        Ok((all, measured))
    };
    let sums = try_join_all((0..streams).map(|_| pull())).await?;
    let (all, measured) = sums.iter().fold((0.0, 0.0), |(a, m), (all, measured)| (a + all, m + measured));
    Ok(Outcome { all, measured, seconds: time.as_secs_f64(), ..Outcome::default() })
}

async fn rate(to: SocketAddr, at_once: usize, time: Duration) -> Outcome {
    let start = Instant::now();
    let visit = async || {
        let (mut done, mut failed) = (0_u32, 0_u64);
        while start.elapsed() < time {
            match timeout(PATIENCE, small(to)).await {
                Ok(Ok(_took)) => done += 1,
                Ok(Err(_)) | Err(_) => failed += 1,
            }
        }
        (done, failed)
    };
    let visits = join_all((0..at_once).map(|_| visit())).await;
    let done = visits.iter().map(|(done, _)| f64::from(*done)).sum();
    let failed = visits.iter().map(|(_, failed)| failed).sum();
    let seconds = start.elapsed().as_secs_f64();
    Outcome { all: done, measured: done, seconds, failed, times: Vec::new() }
}

async fn one_by_one(to: SocketAddr, count: usize, time: Duration, rest: Duration) -> Outcome {
    let start = Instant::now();
    let mut outcome = Outcome::default();
    while outcome.times.len() < count && start.elapsed() < time {
        match timeout(PATIENCE, small(to)).await {
            Ok(Ok(took)) => outcome.times.push(micros(took)),
            Ok(Err(_)) | Err(_) => outcome.failed += 1,
        }
        tokio::time::sleep(rest).await;
    }
    outcome
}

/// One connection for a small answer; gives the time to its last byte.
async fn small(to: SocketAddr) -> Result<Duration> {
    let start = Instant::now();
    let mut stream = ask_for(to, SMALL).await?;
    stream.read_exact(&mut [0; 512]).await?;
    Ok(start.elapsed())
}

async fn end(to: SocketAddr, count: usize) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    for _ in 0..count {
        let mut stream = timeout(PATIENCE, ask_for(to, Order { then: Then::End, ..SMALL })).await??;
        timeout(PATIENCE, stream.read_exact(&mut [0; 512])).await??;
        let start = Instant::now();
        let more = timeout(PATIENCE, stream.read(&mut [0; 1])).await??;
        ensure!(more == 0, "more than the answer");
        outcome.times.push(micros(start.elapsed()));
    }
    Ok(outcome)
}

fn hold(runtime: &tokio::runtime::Runtime, to: SocketAddr) -> Result<()> {
    let order = Order { bytes: 1, then: Then::Wait };
    let mut held = Vec::new();
    let one = async || -> Result<TcpStream> {
        let open = async {
            let mut stream = ask_for(to, order).await?;
            stream.read_exact(&mut [0]).await?;
            Ok(stream)
        };
        timeout(PATIENCE, open).await?
    };
    for line in std::io::stdin().lock().lines() {
        let wanted: usize = line?.trim().parse().context("a number of connections")?;
        runtime.block_on(async {
            while held.len() < wanted {
                let more = (wanted - held.len()).min(usize::try_from(AT_A_TIME)?);
                let opened = try_join_all((0..more).map(|_| one())).await;
                held.extend(opened.with_context(|| format!("after {} connections", held.len()))?);
            }
            anyhow::Ok(())
        })?;
        say(&Outcome { all: f64::from(u32::try_from(held.len())?), ..Outcome::default() })?;
    }
    Ok(())
}

pub(super) async fn ask_for(to: SocketAddr, order: Order) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(to).await?;
    stream.set_nodelay(true)?;
    stream.write_all(&order.hello()).await?;
    Ok(stream)
}

/// By one socket, and without a runtime in between.
fn ask(to: Ipv4Addr, count: usize, fresh: bool) -> Result<Outcome> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect((to, names::PORT))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut outcome = Outcome::default();
    let mut reply = [0; 1024];
    let seed = std::process::id();
    for at in 0..=count {
        let name = if fresh { format!("n{at}.p{seed}.bench.example") } else { "bench.example".to_owned() };
        let question = names::question(&name);
        let start = Instant::now();
        socket.send(&question)?;
        let length = socket.recv(&mut reply).context("no answer to a question for a name")?;
        let took = micros(start.elapsed());
        let answer = names::read_answer(reply.get(..length).unwrap_or_default())?;
        ensure!(matches!(answer, names::Answer::Address(_)), "no address for {name}: {answer:?}");
        // The first one opens the way for the others.
        if at > 0 {
            outcome.times.push(took);
        }
    }
    Ok(outcome)
}

pub(super) fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

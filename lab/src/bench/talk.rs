//! Visits that go on: what visitors give, what they ask again and again, and datagrams.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{timeout, timeout_at};

use super::hello::{Order, Then};
use super::load::{Outcome, PATIENCE, ask_for, micros};

/// Of a small question, and of its answer.
const SMALL: usize = 64;
const PIECE: usize = 256 * 1024;
/// The first questions on a connection are not measured.
const RUN_UP: Duration = Duration::from_millis(200);
/// Until whoever takes nothing has been given all that there is room for.
const FILLED: Duration = Duration::from_millis(300);
/// What has not come back by then was lost.
const LOST: Duration = Duration::from_millis(300);
/// After so many of which none came back, nobody waits for the others.
const HOPELESS: u64 = 5;

/// Measured is what the origin says that has come: what still waits somewhere on the way has not.
pub(super) async fn upload(to: SocketAddr, streams: usize, time: Duration) -> Result<Outcome> {
    let start = tokio::time::Instant::now() + RUN_UP;
    let until = start + time;
    let push = async || -> Result<(f64, f64)> {
        let stream = timeout(PATIENCE, ask_for(to, Order { bytes: 0, then: Then::Count })).await??;
        let (mut from, mut into) = stream.into_split();
        let giving = tokio::spawn(async move {
            let piece = vec![0x5a; PIECE];
            while into.write_all(&piece).await.is_ok() {}
        });
        let (mut before, mut last) = (0, 0);
        while let Ok(count) = timeout_at(until, from.read_u64()).await {
            last = count?;
            if tokio::time::Instant::now() < start {
                before = last;
            }
        }
        giving.abort();
        Ok((kib(last)?, kib(last - before)?))
    };
    let sums = try_join_all((0..streams).map(|_| push())).await?;
    let (all, measured) = sums.iter().fold((0.0, 0.0), |(a, m), (all, measured)| (a + all, m + measured));
    Ok(Outcome { all, measured, seconds: time.as_secs_f64(), ..Outcome::default() })
}

/// In bytes, to the nearest 1,024.
fn kib(count: u64) -> Result<f64> {
    Ok(f64::from(u32::try_from(count >> 10)?) * 1024.0)
}

pub(super) async fn requests(
    to: SocketAddr,
    connections: usize,
    stalled: usize,
    time: Duration,
) -> Result<Outcome> {
    let mut idle = Vec::new();
    for _ in 0..stalled {
        idle.push(timeout(PATIENCE, ask_for(to, Order { bytes: u64::MAX, then: Then::End })).await??);
    }
    let open = || timeout(PATIENCE, ask_for(to, Order { bytes: 0, then: Then::Echo }));
    let mut talks = Vec::new();
    for _ in 0..connections {
        talks.push(open().await??);
    }
    if stalled > 0 {
        tokio::time::sleep(FILLED).await;
    }
    let begun = Instant::now() + RUN_UP;
    let until = begun + time;
    let times = try_join_all(talks.into_iter().map(|stream| ask_on(stream, begun, until))).await?.concat();
    drop(idle);
    let count = f64::from(u32::try_from(times.len())?);
    Ok(Outcome { all: count, measured: count, seconds: time.as_secs_f64(), failed: 0, times })
}

async fn ask_on(mut stream: TcpStream, begun: Instant, until: Instant) -> Result<Vec<f64>> {
    let (question, mut answer) = ([0x5a; SMALL], [0; SMALL]);
    let mut times = Vec::new();
    loop {
        let start = Instant::now();
        if start >= until {
            return Ok(times);
        }
        let asked = async {
            stream.write_all(&question).await?;
            stream.read_exact(&mut answer).await
        };
        timeout(PATIENCE, asked).await.context("a question without an answer")??;
        ensure!(answer == question, "another answer than was asked for");
        if start >= begun {
            times.push(micros(start.elapsed()));
        }
    }
}

/// By one socket, and without a runtime in between. Measured are those that came back whole.
pub(super) fn datagrams(to: SocketAddr, size: usize, count: usize) -> Result<Outcome> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect(to)?;
    socket.set_read_timeout(Some(LOST))?;
    let mut outcome = Outcome { all: f64::from(u32::try_from(count)?), ..Outcome::default() };
    let mut room = vec![0; 65_535];
    for at in 0..=u32::try_from(count)? {
        let mut datagram = vec![0x5a; size];
        datagram.get_mut(..4).context("too small to be told from others")?.copy_from_slice(&at.to_be_bytes());
        let start = Instant::now();
        socket.send(&datagram)?;
        let whole = loop {
            match socket.recv(&mut room) {
                Ok(length) if room.get(..length) == Some(&datagram) => break true,
                // Late, or cut: the one that is waited for may still come.
                Ok(_) if start.elapsed() < LOST => {}
                Ok(_) => break false,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    break false;
                }
                // Nobody listens at the moment.
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => break false,
                Err(error) => return Err(error.into()),
            }
        };
        // The first one opens the way for the others.
        match (at, whole) {
            (0, _) => {}
            (_, true) => {
                outcome.measured += 1.0;
                outcome.times.push(micros(start.elapsed()));
            }
            (_, false) => outcome.failed += 1,
        }
        // Nothing of this size comes back at all.
        if outcome.failed >= HOPELESS && outcome.times.is_empty() {
            break;
        }
    }
    Ok(outcome)
}

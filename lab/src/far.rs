//! An upstream at a distance, on any kernel: a relay in front of it, which keeps everything that
//! is said for half a round trip. Connecting alone takes no time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::lab::eventually;
use crate::netns;
use crate::upstream::Kind;

/// Where the relay listens, on the upstream's own address.
pub const PORT: u16 = 4000;
/// How much may be on its way.
const PACKETS: usize = 64;

pub struct Far {
    round_trip: Duration,
    /// When anything was last said, by whomever.
    spoke: Mutex<Instant>,
}

impl Far {
    pub fn put_before(kind: Kind, round_trip: Duration) -> Result<Arc<Self>> {
        let far = Arc::new(Self { round_trip, spoke: Mutex::new(Instant::now()) });
        let listener = netns::inside(kind.name(), || {
            let socket = TcpSocket::new_v4()?;
            socket.set_reuseaddr(true)?;
            socket.bind((kind.ip(), PORT).into()).context("the relay's port")?;
            Ok(socket)
        })?
        .listen(1024)?;
        let relay = far.clone();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(relay.clone().carry(kind, near));
            }
        });
        Ok(far)
    }

    /// Waits until nobody has said anything for several round trips.
    pub async fn quiet(&self) -> Result<()> {
        eventually("nobody speaks to the far upstream", async || {
            let spoke = *self.spoke.lock().unwrap_or_else(PoisonError::into_inner);
            Ok((spoke.elapsed() > self.round_trip * 3).then_some(()))
        })
        .await
    }

    async fn carry(self: Arc<Self>, kind: Kind, near: TcpStream) -> Result<()> {
        let socket = netns::inside(kind.name(), || Ok(TcpSocket::new_v4()?))?;
        let proxy = socket.connect((kind.ip(), kind.port()).into()).await?;
        near.set_nodelay(true)?;
        proxy.set_nodelay(true)?;
        let ((near_read, near_write), (proxy_read, proxy_write)) = (near.into_split(), proxy.into_split());
        let _both =
            tokio::join!(self.clone().pass(near_read, proxy_write), self.pass(proxy_read, near_write));
        Ok(())
    }

    async fn pass(self: Arc<Self>, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> Result<()> {
        let (sender, mut on_its_way) = mpsc::channel::<(Instant, Vec<u8>)>(PACKETS);
        let reading = async move {
            loop {
                let mut packet = Vec::with_capacity(64 * 1024);
                let ended = from.read_buf(&mut packet).await.unwrap_or(0) == 0;
                *self.spoke.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
                if ended || sender.send((Instant::now() + self.round_trip / 2, packet)).await.is_err() {
                    return;
                }
            }
        };
        let writing = async move {
            while let Some((arrives, packet)) = on_its_way.recv().await {
                sleep_until(arrives).await;
                if to.write_all(&packet).await.is_err() {
                    return;
                }
            }
        };
        let _both = tokio::join!(reading, writing);
        Ok(())
    }
}

//! Who is measured.

use std::fs;
use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use tokio::process::Child;

use super::programs::{self, BORE, PORT, RATHOLE, UDP_PORT};
use crate::bench::far;
use crate::bench::ground::{self, FAR, Ground, LAN};
use crate::bench::process::Process;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Contestant {
    /// Routed: no tunnel at all.
    Direct,
    Tls,
    WebSocket,
    Quic,
    Rathole,
    RatholeNoise,
    Bore,
}

/// Both programs of a tunnel.
pub(crate) struct Running {
    server: Child,
    client: Child,
}

impl Contestant {
    pub(crate) const ALL: [Self; 7] =
        [Self::Direct, Self::Tls, Self::WebSocket, Self::Quic, Self::Rathole, Self::RatholeNoise, Self::Bore];

    pub(crate) const PEERS: [Self; 3] = [Self::Rathole, Self::RatholeNoise, Self::Bore];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Tls => "pgw, TLS",
            Self::WebSocket => "pgw, WebSocket",
            Self::Quic => "pgw, QUIC",
            Self::Rathole => "rathole, plain",
            Self::RatholeNoise => "rathole, Noise",
            Self::Bore => "bore, plain",
        }
    }

    pub(crate) fn is_ours(self) -> bool {
        matches!(self, Self::Tls | Self::WebSocket | Self::Quic)
    }

    pub(crate) fn has_datagrams(self) -> bool {
        self != Self::Bore
    }

    pub(crate) fn is_installed(self) -> bool {
        let program = match self {
            Self::Direct | Self::Tls | Self::WebSocket | Self::Quic => return true,
            Self::Rathole | Self::RatholeNoise => RATHOLE,
            Self::Bore => BORE,
        };
        fs::exists(programs::peer(program)).unwrap_or(false)
    }

    /// What the visitor dials.
    pub(crate) fn entry(self) -> SocketAddr {
        if self == Self::Direct { (FAR, far::ORIGIN).into() } else { (LAN, PORT).into() }
    }

    /// Where it sends its datagrams.
    pub(crate) fn datagrams(self) -> SocketAddr {
        if self == Self::Direct { (FAR, far::ORIGIN).into() } else { (LAN, UDP_PORT).into() }
    }

    /// Starts both anew, and returns when the public port accepts; none if there is nothing to start.
    pub(crate) async fn start(self, ground: &Ground) -> Result<Option<Running>> {
        let (mut server, mut client) = match self {
            Self::Direct => return Ok(None),
            Self::Tls => programs::pgw(ground, "tls").await?,
            Self::WebSocket => programs::pgw(ground, "websocket").await?,
            Self::Quic => programs::pgw(ground, "quic").await?,
            Self::Rathole => programs::rathole(ground, false).await?,
            Self::RatholeNoise => programs::rathole(ground, true).await?,
            Self::Bore => programs::bore(ground).await?,
        };
        let told =
            || format!("{}; {}", ground::last_words(programs::SERVER), ground::last_words(programs::CLIENT));
        ground::accepts((LAN, PORT).into(), Some(&mut client)).await.with_context(told)?;
        anyhow::ensure!(server.try_wait()?.is_none(), "its server has ended: {}", told());
        Ok(Some(Running { server, client }))
    }
}

impl Running {
    pub(crate) fn both(&self) -> Result<[Process; 2]> {
        let process = |child: &Child| Ok::<_, anyhow::Error>(Process(child.id().context("it has ended")?));
        Ok([process(&self.server)?, process(&self.client)?])
    }

    pub(crate) async fn end(mut self) -> Result<()> {
        self.client.kill().await?;
        Ok(self.server.kill().await?)
    }
}

//! Who is measured.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use anyhow::{Context as _, Result};
use tokio::process::Child;

use super::programs;
use crate::bench::ground::{self, FAR, Ground};
use crate::bench::process::Process;
use crate::bench::{Part, far};
use crate::{gateway, pki};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Contestant {
    /// Routed and masqueraded: no forwarder at all.
    Direct,
    Bare,
    FwdConnect,
    FwdSocks,
    FwdHttps,
    RedsocksConnect,
    RedsocksSocks,
    Haproxy,
    /// TLS to a fixed origin, for what our HTTPS is compared with.
    HaproxyTls,
    V2rayConnect,
    V2raySocks,
}

pub(crate) struct Running {
    pub(crate) process: Process,
    child: Child,
}

impl Contestant {
    pub(crate) const ALL: [Self; 11] = [
        Self::Direct,
        Self::Bare,
        Self::FwdConnect,
        Self::FwdSocks,
        Self::FwdHttps,
        Self::RedsocksConnect,
        Self::RedsocksSocks,
        Self::Haproxy,
        Self::HaproxyTls,
        Self::V2rayConnect,
        Self::V2raySocks,
    ];

    /// Those with whom our ways over plain TCP are compared.
    pub(crate) const PEERS: [Self; 5] =
        [Self::RedsocksConnect, Self::RedsocksSocks, Self::Haproxy, Self::V2rayConnect, Self::V2raySocks];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Bare => "bare splice relay",
            Self::FwdConnect => "pgw-fwd, CONNECT",
            Self::FwdSocks => "pgw-fwd, SOCKS5",
            Self::FwdHttps => "pgw-fwd, HTTPS",
            Self::RedsocksConnect => "redsocks splice, CONNECT",
            Self::RedsocksSocks => "redsocks splice, SOCKS5",
            Self::Haproxy => "HAProxy splice, SOCKS4",
            Self::HaproxyTls => "HAProxy, TLS to a fixed origin",
            Self::V2rayConnect => "v2ray, CONNECT",
            Self::V2raySocks => "v2ray, SOCKS5",
        }
    }

    pub(crate) fn is_ours(self) -> bool {
        matches!(self, Self::FwdConnect | Self::FwdSocks | Self::FwdHttps)
    }

    /// Without them nothing can be compared.
    pub(crate) fn is_measure(self) -> bool {
        matches!(self, Self::Direct | Self::Bare)
    }

    /// The program that must be there.
    fn program(self) -> Option<&'static str> {
        match self {
            Self::Direct | Self::Bare | Self::FwdConnect | Self::FwdSocks | Self::FwdHttps => None,
            Self::RedsocksConnect | Self::RedsocksSocks => Some("/usr/sbin/redsocks"),
            Self::Haproxy | Self::HaproxyTls => Some("/usr/sbin/haproxy"),
            Self::V2rayConnect | Self::V2raySocks => Some("/usr/bin/v2ray"),
        }
    }

    fn log(self) -> &'static str {
        match self {
            Self::Direct | Self::Bare => "bare",
            Self::FwdConnect | Self::FwdSocks | Self::FwdHttps => "pgw-fwd",
            Self::RedsocksConnect | Self::RedsocksSocks => "redsocks",
            Self::Haproxy | Self::HaproxyTls => "haproxy",
            Self::V2rayConnect | Self::V2raySocks => "v2ray",
        }
    }

    pub(crate) fn is_installed(self) -> bool {
        self.program().is_none_or(|program| fs::exists(program).unwrap_or(false))
    }

    /// The port that it listens on.
    pub(crate) fn port(self) -> u16 {
        let place = Self::ALL.iter().position(|other| *other == self).and_then(|at| u16::try_from(at).ok());
        gateway::FIRST_PORT + place.unwrap_or_default()
    }

    /// Where the device believes the origin to be. All of them dial port 443: what a forwarder does
    /// may depend on the port.
    pub(crate) fn origin(self) -> Option<Ipv4Addr> {
        let place = u8::try_from(self.port() - gateway::FIRST_PORT).ok();
        place.filter(|_| self != Self::Direct).map(|place| Ipv4Addr::new(198, 51, 100, place))
    }

    /// What the device dials.
    pub(crate) fn entry(self) -> SocketAddr {
        (self.origin().unwrap_or(FAR), far::ORIGIN).into()
    }

    /// Starts it anew, and returns when it accepts; none if it is no process.
    pub(crate) async fn start(self, ground: &Ground) -> Result<Option<Running>> {
        let port = self.port();
        let mut child = match self {
            Self::Direct => return Ok(None),
            Self::Bare => {
                let target = SocketAddrV4::new(FAR, far::ORIGIN);
                ground.part(&Part::Bare { port, target }, "bare")?
            }
            Self::FwdConnect => programs::forwarder(ground, port, "http", far::CONNECT)?,
            Self::FwdSocks => programs::forwarder(ground, port, "socks5", far::SOCKS)?,
            Self::FwdHttps => programs::forwarder(ground, port, "https", far::TLS_CONNECT)?,
            Self::RedsocksConnect => programs::redsocks(ground, port, "http-connect", far::CONNECT)?,
            Self::RedsocksSocks => programs::redsocks(ground, port, "socks5", far::SOCKS)?,
            Self::Haproxy => {
                let server = format!("{FAR}:{} socks4 {FAR}:{}", far::ORIGIN, far::SOCKS);
                programs::haproxy(ground, port, &server)?
            }
            Self::HaproxyTls => {
                let server =
                    format!("{FAR}:{} ssl verify required ca-file {}", far::TLS_ORIGIN, pki::CA_FILE);
                programs::haproxy(ground, port, &server)?
            }
            Self::V2rayConnect => programs::v2ray(ground, port, "http", far::CONNECT)?,
            Self::V2raySocks => programs::v2ray(ground, port, "socks", far::SOCKS)?,
        };
        let place = (Ipv4Addr::LOCALHOST, port).into();
        ground::accepts(place, Some(&mut child)).await.with_context(|| ground::last_words(self.log()))?;
        let process = Process(child.id().context("it has ended")?);
        Ok(Some(Running { process, child }))
    }
}

impl Running {
    pub(crate) async fn end(mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }
}

//! Who is measured, and how each is started as its own documentation recommends for speed.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use anyhow::{Context as _, Result};
use serde_json::json;
use tokio::process::Child;

use crate::bench::ground::{self, DEVICE, FAR, Ground};
use crate::bench::process::Process;
use crate::bench::{Part, far};
use crate::gateway::{self, RUN, STATE};
use crate::pki;

/// More than are ever held at the same time; where descriptors are short, they are the limit.
const MOST: u32 = 20_000;
/// More than are ever in use at the same time.
const PIPES: usize = 64;
const CONFIG: &str = "/run/lab/config";

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

    /// What the device dials.
    pub(crate) fn entry(self) -> SocketAddr {
        let port = match self {
            Self::Direct => far::ORIGIN,
            _redirected => self.port() - 10_000,
        };
        (FAR, port).into()
    }

    /// Starts it anew, and returns when it accepts; none if it is no process.
    pub(crate) async fn start(self, ground: &Ground) -> Result<Option<Running>> {
        fs::create_dir_all(CONFIG)?;
        let port = self.port();
        let mut child = match self {
            Self::Direct => return Ok(None),
            Self::Bare => {
                let target = SocketAddrV4::new(FAR, far::ORIGIN);
                ground.part(&Part::Bare { port, target }, "bare")?
            }
            Self::FwdConnect => forwarder(ground, port, "http", far::CONNECT)?,
            Self::FwdSocks => forwarder(ground, port, "socks5", far::SOCKS)?,
            Self::FwdHttps => forwarder(ground, port, "https", far::TLS_CONNECT)?,
            Self::RedsocksConnect => redsocks(ground, port, "http-connect", far::CONNECT)?,
            Self::RedsocksSocks => redsocks(ground, port, "socks5", far::SOCKS)?,
            Self::Haproxy => {
                let server = format!("{FAR}:{} socks4 {FAR}:{}", far::ORIGIN, far::SOCKS);
                haproxy(ground, port, &server)?
            }
            Self::HaproxyTls => {
                let server =
                    format!("{FAR}:{} ssl verify required ca-file {}", far::TLS_ORIGIN, pki::CA_FILE);
                haproxy(ground, port, &server)?
            }
            Self::V2rayConnect => v2ray(ground, port, "http", far::CONNECT)?,
            Self::V2raySocks => v2ray(ground, port, "socks", far::SOCKS)?,
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

/// One of ours, with everything that it does by default: it looks for names, and writes its
/// line for every connection.
pub(crate) fn forwarder(ground: &Ground, port: u16, scheme: &str, upstream: u16) -> Result<Child> {
    let id = |last: u16| format!("00000000-0000-7000-8000-{last:012}");
    let flag = json!({
        "version": 1, "revision": id(1), "port": port,
        "client": { "id": id(2), "name": "device", "ip_cidr": format!("{DEVICE}/32") },
        "upstreams": [{
            "mapping_id": id(3), "target": "original",
            "upstream": { "name": "far", "scheme": scheme, "host": FAR.to_string(), "port": upstream },
        }],
        "limits": { "max_connections": MOST },
        "dns": { "resolvers": [format!("tcp://{FAR}:53")] },
    });
    fs::create_dir_all(format!("{STATE}/ports"))?;
    fs::create_dir_all(format!("{RUN}/fwd"))?;
    fs::write(gateway::flag_file(port), flag.to_string())?;
    let program = gateway::path("pgw-fwd")?;
    let program = program.to_str().context("a path that is no text")?;
    let settings = [
        format!("PGW_STATE_DIR={STATE}"),
        format!("PGW_RUN_DIR={RUN}"),
        format!("SSL_CERT_FILE={}", pki::CA_FILE),
    ];
    let words: Vec<&str> = ["/usr/bin/env"].into_iter().chain(settings.iter().map(String::as_str)).collect();
    ground.forwarder(&[&words[..], &[program, "--port", &port.to_string()]].concat(), "pgw-fwd")
}

fn redsocks(ground: &Ground, port: u16, kind: &str, upstream: u16) -> Result<Child> {
    let path = format!("{CONFIG}/redsocks.{port}");
    fs::write(
        &path,
        format!(
            "base {{ log_debug = off; log_info = off; log = stderr; daemon = off; redirector = iptables;\n\
             redsocks_conn_max = {MOST}; rlimit_nofile = {}; }}\n\
             redsocks {{ local_ip = 0.0.0.0; local_port = {port}; listenq = 4096; splice = true;\n\
             ip = {FAR}; port = {upstream}; type = {kind}; }}\n",
            ground.descriptors
        ),
    )?;
    ground.forwarder(&["redsocks", "-c", &path], "redsocks")
}

fn haproxy(ground: &Ground, port: u16, server: &str) -> Result<Child> {
    let path = format!("{CONFIG}/haproxy.{port}");
    fs::write(
        &path,
        format!(
            "global\n maxconn {}\n maxpipes {PIPES}\n nbthread 1\n\
             defaults\n mode tcp\n option splice-request\n option splice-response\n\
             timeout connect 5s\n timeout client 1h\n timeout server 1h\n\
             listen in\n bind :{port} backlog 4096\n server far {server}\n",
            ground.most_held() + PIPES
        ),
    )?;
    ground.forwarder(&["haproxy", "-db", "-f", &path], "haproxy")
}

fn v2ray(ground: &Ground, port: u16, protocol: &str, upstream: u16) -> Result<Child> {
    let path = format!("{CONFIG}/v2ray.{port}.json");
    let config = json!({
        "log": { "loglevel": "none" },
        "inbounds": [{
            "listen": "0.0.0.0", "port": port, "protocol": "dokodemo-door",
            "settings": { "network": "tcp", "followRedirect": true },
        }],
        "outbounds": [{
            "protocol": protocol,
            "settings": { "servers": [{ "address": FAR.to_string(), "port": upstream }] },
        }],
    });
    fs::write(&path, config.to_string())?;
    ground.forwarder(&["v2ray", "-config", &path], "v2ray")
}

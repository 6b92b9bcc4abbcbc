//! Upstream proxies as others have them: squid, microsocks, tinyproxy behind stunnel, dante.

use std::fmt::Write as _;
use std::fs;
use std::net::Ipv4Addr;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;

use crate::net::{self, wan};
use crate::pki::Authority;
use crate::{canary, command};

/// Holds what makes naive programs stumble.
pub const PASSWORD: &str = "p:a@ss/w%rd";
/// What tinyproxy's configuration can hold.
pub const PLAIN_PASSWORD: &str = "plain-password";
pub const USER: &str = "lab";

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// HTTP CONNECT, Basic authentication.
    Squid,
    /// SOCKS5, user and password.
    Microsocks,
    /// HTTP CONNECT inside TLS.
    Tls,
    /// SOCKS5, by other authors.
    Dante,
}

impl Kind {
    pub const ALL: [Self; 4] = [Self::Squid, Self::Microsocks, Self::Tls, Self::Dante];

    /// Its namespace and its host name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Squid => "squid",
            Self::Microsocks => "microsocks",
            Self::Tls => "tls",
            Self::Dante => "dante",
        }
    }

    /// The address that the origin sees.
    pub fn ip(self) -> Ipv4Addr {
        match self {
            Self::Squid => wan(21),
            Self::Microsocks => wan(22),
            Self::Tls => wan(23),
            Self::Dante => wan(24),
        }
    }

    pub fn scheme(self) -> &'static str {
        match self {
            Self::Squid => "http",
            Self::Tls => "https",
            Self::Microsocks | Self::Dante => "socks5",
        }
    }

    pub fn port(self) -> u16 {
        match self {
            Self::Squid => 3128,
            Self::Tls => 8443,
            Self::Microsocks | Self::Dante => 1080,
        }
    }

    pub fn password(self) -> &'static str {
        match self {
            Self::Tls => PLAIN_PASSWORD,
            Self::Squid | Self::Microsocks | Self::Dante => PASSWORD,
        }
    }
}

/// A running upstream; it dies when this is dropped.
pub struct Upstream {
    pub kind: Kind,
    children: Vec<Child>,
}

/// Certificates are made once, when a lab is built.
pub fn prepare(authority: &Authority) -> Result<()> {
    let issued = authority.issue(&[Kind::Tls.name()])?;
    fs::write("/run/lab/tls.pem", issued.chain + &issued.key)?;
    fs::create_dir_all("/run/lab/log")?;
    Ok(())
}

/// From now on it comes out somewhere else, with this end of an address of the WAN.
pub async fn go_out_by(kind: Kind, last: u8) -> Result<()> {
    let address = wan(last).to_string();
    // It may have it already.
    let _there =
        command::ok(kind.name(), &["ip", "addr", "add", &format!("{address}/24"), "dev", "eth0"]).await;
    let route =
        ["ip", "route", "replace", "203.0.113.0/24", "dev", "eth0", "proto", "kernel", "scope", "link"];
    command::ok(kind.name(), &[&route[..], &["src", &address]].concat()).await.map(drop)
}

impl Upstream {
    /// Returns when it accepts connections.
    pub async fn start(kind: Kind, password: &str) -> Result<Self> {
        let mut children = Vec::new();
        match kind {
            Kind::Squid => {
                let hash =
                    command::ok_with(kind.name(), &["openssl", "passwd", "-6", "-stdin"], password).await?;
                fs::write("/run/lab/squid.htpasswd", format!("{USER}:{hash}"))?;
                fs::write("/run/lab/squid.conf", squid_conf())?;
                // Squid refuses to be root; here it is nobody in particular.
                let own = ["unshare", "--user", "--map-user=13", "--map-group=13"];
                children
                    .push(run(kind, &[&own[..], &["squid", "-N", "-f", "/run/lab/squid.conf"]].concat())?);
            }
            Kind::Microsocks => {
                let port = kind.port().to_string();
                children.push(run(
                    kind,
                    &["microsocks", "-i", "0.0.0.0", "-p", &port, "-u", USER, "-P", password],
                )?);
            }
            Kind::Tls => {
                fs::write("/run/lab/tinyproxy.conf", tinyproxy_conf(password))?;
                fs::write("/run/lab/stunnel.conf", stunnel_conf())?;
                children.push(run(kind, &["tinyproxy", "-d", "-c", "/run/lab/tinyproxy.conf"])?);
                children.push(run(kind, &["stunnel4", "/run/lab/stunnel.conf"])?);
                accepts(kind, Ipv4Addr::LOCALHOST, 8888, &mut children).await?;
            }
            Kind::Dante => {
                cover_accounts(password).await?;
                fs::write("/run/lab/danted.conf", danted_conf())?;
                children.push(run(kind, &["danted", "-f", "/run/lab/danted.conf"])?);
            }
        }
        accepts(kind, kind.ip(), kind.port(), &mut children).await?;
        Ok(Self { kind, children })
    }

    pub fn freeze(&self) -> Result<()> {
        for child in &self.children {
            let pid = child.id().and_then(|pid| Pid::from_raw(pid.cast_signed()));
            kill_process(pid.context("an upstream has ended")?, Signal::STOP)?;
        }
        Ok(())
    }

    pub async fn kill(mut self) -> Result<()> {
        for child in &mut self.children {
            child.kill().await.context("an upstream cannot be killed")?;
        }
        Ok(())
    }
}

fn run(kind: Kind, words: &[&str]) -> Result<Child> {
    let log =
        fs::File::options().create(true).append(true).open(format!("/run/lab/log/{}.log", kind.name()))?;
    let mut command = command::program(kind.name(), words);
    command.stdout(log.try_clone()?).stderr(Stdio::from(log)).kill_on_drop(true);
    command.spawn().with_context(|| format!("{} cannot be started", words.join(" ")))
}

async fn accepts(kind: Kind, ip: Ipv4Addr, port: u16, children: &mut [Child]) -> Result<()> {
    let accepting = async {
        while canary::connect(kind.name(), (ip, port).into(), canary::LONG).await.is_err() {
            for child in children.iter_mut() {
                if let Some(status) = child.try_wait()? {
                    bail!("{} ended with {status}: {}", kind.name(), log(kind));
                }
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    };
    tokio::time::timeout(command::LIMIT, accepting)
        .await
        .with_context(|| format!("{} does not accept on port {port}: {}", kind.name(), log(kind)))?
}

fn log(kind: Kind) -> String {
    fs::read_to_string(format!("/run/lab/log/{}.log", kind.name())).unwrap_or_default()
}

fn squid_conf() -> String {
    format!(
        "http_port {}:{}\n\
         auth_param basic program /usr/lib/squid/basic_ncsa_auth /run/lab/squid.htpasswd\n\
         auth_param basic children 2 startup=1 idle=1\n\
         acl known proxy_auth REQUIRED\nhttp_access allow known\nhttp_access deny all\n\
         cache deny all\naccess_log none\ncache_log stdio:/dev/stderr\ncache_store_log none\npid_filename none\n\
         shutdown_lifetime 0 seconds\nvisible_hostname squid\npinger_enable off\nmemory_pools off\n\
         max_filedescriptors 4096\ncoredump_dir none\n",
        Kind::Squid.ip(),
        Kind::Squid.port()
    )
}

fn tinyproxy_conf(password: &str) -> String {
    format!(
        "Port 8888\nListen 127.0.0.1\nTimeout 600\nMaxClients 500\nLogLevel Error\nBasicAuth {USER} {password}\n"
    )
}

fn stunnel_conf() -> String {
    format!(
        "foreground = yes\npid =\ndebug = err\n[proxy]\naccept = {}:{}\nconnect = 127.0.0.1:8888\ncert = /run/lab/tls.pem\n",
        Kind::Tls.ip(),
        Kind::Tls.port()
    )
}

fn danted_conf() -> String {
    format!(
        "logoutput: stderr\ninternal: {0} port = {1}\nexternal: {0}\nclientmethod: none\nsocksmethod: username\n\
         user.privileged: root\nuser.unprivileged: root\n\
         client pass {{ from: 0.0.0.0/0 to: 0.0.0.0/0 }}\nsocks pass {{ from: 0.0.0.0/0 to: 0.0.0.0/0 }}\n",
        Kind::Dante.ip(),
        Kind::Dante.port()
    )
}

/// Dante knows the system's accounts only; so the lab has a system's accounts of its own.
async fn cover_accounts(password: &str) -> Result<()> {
    let hash = command::ok_with(Kind::Dante.name(), &["openssl", "passwd", "-6", "-stdin"], password).await?;
    let mut passwd = String::from("root:x:0:0:root:/:/bin/sh\n");
    let mut shadow = String::from("root:*:19000:0:99999:7:::\n");
    writeln!(passwd, "{USER}:x:0:0:lab:/:/bin/sh")?;
    writeln!(shadow, "{USER}:{}:19000:0:99999:7:::", hash.trim())?;
    net::cover("/etc/passwd", &passwd).await?;
    net::cover("/etc/shadow", &shadow).await
}

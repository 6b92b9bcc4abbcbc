//! A Debian that a real systemd has booted, in the place of the lab's gateway: the package is
//! installed there as an administrator would do it. Its disk lasts as long as the lab, through as
//! many boots as a test wants.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::geteuid;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpSocket};
use tokio::process::Child;

use crate::command::{self, Finished};
use crate::gateway::LOGS;
use crate::lab::eventually;
use crate::net::{
    self, DEVICES, GATEWAY, GATEWAY_LAN, GATEWAY_LAN6, GATEWAY_WAN, GATEWAY_WAN6, ORIGIN, ORIGIN6,
};
use crate::netns;

/// The name of its network.
pub const MACHINE: &str = "box";
/// Below this, its disk: made once, and what a test changes of it.
const DISK: &str = "/run/lab/machine";
/// A boot on a machine that has other things to do.
const BOOT: Duration = Duration::from_secs(60);
/// Of the package manager, in a Debian that holds all that it depends on.
const LONGEST: Duration = Duration::from_secs(120);
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

pub struct Machine {
    running: Option<Running>,
}

struct Running {
    nspawn: Child,
    /// Its systemd, as the lab numbers it.
    leader: u32,
}

fn project() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// A package that `cargo xtask deb` has made: this version, or the one before.
pub fn package(of: &str, previous: bool) -> Result<PathBuf> {
    let suffix = if previous { "~before" } else { "" };
    let begin = format!("{of}_{}{suffix}_", env!("CARGO_PKG_VERSION"));
    let folder = project().join("target/deb");
    let files = fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_it = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with(&begin) && name.ends_with(".deb")
    };
    let found = { files }.find(is_it);
    found.with_context(|| {
        format!("there is no {begin}*.deb in {}; `cargo xtask test` makes it", folder.display())
    })
}

impl Machine {
    /// With the lab's cables, and nothing of pgw yet. It is not booted.
    pub async fn new() -> Result<Self> {
        ensure!(
            geteuid().is_root(),
            "a systemd of its own, with users and services, can be booted by root only; run the tests as root"
        );
        let rootfs = project().join("target/lifecycle/rootfs");
        ensure!(rootfs.is_dir(), "{} is not there; `cargo xtask test` makes it", rootfs.display());
        for folder in ["up", "work", "root"] {
            fs::create_dir_all(Path::new(DISK).join(folder))?;
        }
        let layers =
            format!("lowerdir={},upperdir={DISK}/up,workdir={DISK}/work", rootfs.canonicalize()?.display());
        outside(&["mount", "-t", "overlay", "-o", &layers, "overlay", &format!("{DISK}/root")])
            .await
            .context("an overlay of the kernel's is what the machine's disk is made of")?;
        // What was the gateway until now is nobody.
        command::ok(GATEWAY, &["nft", "flush", "ruleset"]).await?;
        net::batch(GATEWAY, "link del ens19\nlink del eth0\n").await?;
        let machine = Self { running: None };
        machine.set_up().await?;
        Ok(machine)
    }

    /// As an administrator sets up a gateway without pgw: addresses, forwarding, source NAT.
    async fn set_up(&self) -> Result<()> {
        let direct: String = DEVICES.iter().map(|device| format!("Address={}/32\n", device.direct)).collect();
        for (path, text) in [
            ("etc/hosts", net::hosts()),
            ("etc/hostname", "gateway\n".to_owned()),
            ("etc/machine-id", "0123456789abcdef0123456789abcdef\n".to_owned()),
            (
                "etc/sysctl.d/gateway.conf",
                "net.ipv4.ip_forward=1\nnet.ipv6.conf.all.forwarding=1\n".to_owned(),
            ),
            ("etc/nftables.conf", format!("#!/usr/sbin/nft -f\nflush ruleset\n{}", net::nat())),
            (
                "etc/systemd/network/lan.network",
                format!(
                    "[Match]\nName=ens19\n[Network]\nConfigureWithoutCarrier=yes\nIPv6AcceptRA=no\nAddress={GATEWAY_LAN}/24\nAddress={GATEWAY_LAN6}/64\n"
                ),
            ),
            (
                "etc/systemd/network/wan.network",
                format!(
                    "[Match]\nName=eth0\n[Network]\nConfigureWithoutCarrier=yes\nIPv6AcceptRA=no\nAddress={GATEWAY_WAN}/24\n{direct}Address={GATEWAY_WAN6}/64\n\
                     [Route]\nGateway={ORIGIN}\n[Route]\nGateway={ORIGIN6}\n"
                ),
            ),
        ] {
            self.write(path, &text)?;
        }
        let root = self.path("");
        outside(&[
            "systemctl",
            &format!("--root={}", root.display()),
            "--quiet",
            "enable",
            "systemd-networkd.service",
            "nftables.service",
        ])
        .await?;
        // Nobody reads a console, and nothing is downloaded.
        outside(&[
            "systemctl",
            &format!("--root={}", root.display()),
            "--quiet",
            "mask",
            "console-getty.service",
            "apt-daily.timer",
            "apt-daily-upgrade.timer",
        ])
        .await?;
        Ok(())
    }

    /// A file of its disk.
    pub fn path(&self, path: &str) -> PathBuf {
        Path::new(DISK).join("root").join(path)
    }

    pub fn write(&self, path: &str, text: &str) -> Result<()> {
        fs::write(self.path(path), text).with_context(|| path.to_owned())
    }

    pub async fn boot(&mut self) -> Result<()> {
        self.power_on().await?;
        self.booted().await
    }

    /// From here on it boots; what comes up first is up first.
    pub async fn power_on(&mut self) -> Result<()> {
        ensure!(self.running.is_none(), "it runs already");
        fs::create_dir_all(LOGS)?;
        let log = fs::File::options().create(true).append(true).open(format!("{LOGS}/machine.log"))?;
        let mut nspawn = command::bare("systemd-nspawn");
        nspawn.args([
            "--boot",
            "--private-network",
            "--register=no",
            "--keep-unit",
            "--quiet",
            "--resolv-conf=off",
        ]);
        nspawn.args(["--link-journal=no", "--timezone=off", "--console=pipe", "--machine", MACHINE]);
        nspawn.arg("--directory");
        nspawn
            .arg(self.path(""))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true);
        let mut nspawn = nspawn.spawn().context("systemd-nspawn (Debian package systemd-container)")?;
        let leader = eventually("the machine's first process is there", async || {
            if let Some(status) = nspawn.try_wait()? {
                bail!(
                    "systemd-nspawn ended with {status}: {}",
                    fs::read_to_string(format!("{LOGS}/machine.log"))?
                );
            }
            first_process(nspawn.id())
        })
        .await?;
        self.running = Some(Running { nspawn, leader });
        // The name of the network of the boot before is of no use any more.
        let _none = command::finish(GATEWAY, &["ip", "netns", "del", MACHINE], "").await?;
        command::ok(GATEWAY, &["ip", "netns", "attach", MACHINE, &leader.to_string()]).await?;
        net::gateway_cables(MACHINE).await
    }

    pub async fn booted(&mut self) -> Result<()> {
        let mut last = String::new();
        let booted = eventually("the machine has booted", async || {
            if let Some(Some(status)) = self.running.as_mut().map(|r| r.nspawn.try_wait()).transpose()? {
                bail!(
                    "systemd-nspawn ended with {status}: {}",
                    fs::read_to_string(format!("{LOGS}/machine.log"))?
                );
            }
            let told = self.finish_within(BOOT, &["systemctl", "is-system-running"], "").await?;
            last = format!("{}{}", told.stdout, told.stderr);
            Ok(matches!(last.trim(), "running" | "degraded").then_some(()))
        });
        booted.await.with_context(|| format!("systemd said {last:?}"))
    }

    fn leader(&self) -> Result<String> {
        Ok(self.running.as_ref().context("the machine is off")?.leader.to_string())
    }

    async fn finish_within(&self, limit: Duration, words: &[&str], input: &str) -> Result<Finished> {
        let leader = self.leader()?;
        let inside =
            ["nsenter", "--target", &leader, "--mount", "--net", "--pid", "--uts", "--ipc", "--root"];
        let usual = [
            "--",
            "/usr/bin/env",
            "--chdir=/",
            "-i",
            PATH,
            "LC_ALL=C",
            "HOME=/root",
            "DEBIAN_FRONTEND=noninteractive",
        ];
        command::finish_within(limit, &[&inside[..], &usual, words].concat(), input).await
    }

    /// Whatever end it comes to.
    pub async fn finish(&self, words: &[&str]) -> Result<Finished> {
        self.finish_within(LONGEST, words, "").await
    }

    /// To a good end; gives what it wrote.
    pub async fn run(&self, words: &[&str]) -> Result<String> {
        let done = self.finish(words).await?;
        ensure!(
            done.status.success(),
            "[machine] {} → {}\n{}{}",
            words.join(" "),
            done.status,
            done.stdout,
            done.stderr
        );
        Ok(done.stdout + &done.stderr)
    }

    /// A line for its shell.
    pub async fn shell(&self, line: &str) -> Result<String> {
        self.run(&["sh", "-ec", line]).await
    }

    pub async fn is(&self, state: &str, unit: &str) -> Result<bool> {
        Ok(self
            .finish(&["systemctl", "show", "--property=ActiveState", "--value", unit])
            .await?
            .stdout
            .trim()
            == state)
    }

    pub async fn wait(&self, unit: &str, state: &str) -> Result<()> {
        eventually(&format!("{unit} is {state}"), async || Ok(self.is(state, unit).await?.then_some(())))
            .await
    }

    /// What its journal has of this boot.
    pub async fn journal(&self, unit: &str) -> Result<String> {
        self.run(&["journalctl", "--boot", "--no-pager", "--output=cat", "--unit", unit]).await
    }

    /// `apt install` of a package that lies on its disk.
    pub async fn install(&self, package: &Path) -> Result<String> {
        fs::copy(package, self.path("root/package.deb"))?;
        self.run(&["apt-get", "install", "--yes", "--quiet", "/root/package.deb"]).await
    }

    /// As an operator does it.
    pub async fn power_off(&mut self) -> Result<()> {
        let _it_may_be_gone_before_it_answers = self.finish(&["systemctl", "--no-block", "poweroff"]).await?;
        self.is_off().await
    }

    /// As a power failure does it. The disk keeps what was written.
    pub async fn cut(&mut self) -> Result<()> {
        let leader = self.running.as_ref().context("the machine is off")?.leader;
        // Its network ends piece by piece, rules before cables; with the power all of it is gone at once.
        unplug().await?;
        crate::gateway::kill_pid(leader)?;
        self.is_off().await
    }

    async fn is_off(&mut self) -> Result<()> {
        let mut running = self.running.take().context("the machine is off")?;
        tokio::time::timeout(BOOT, running.nspawn.wait()).await.context("the machine does not go off")??;
        unplug().await
    }

    /// Whoever asks a port of the lab's own loopback is answered by that port of the machine's, as
    /// the operator of a gateway would be who has logged in there.
    pub async fn lend(&self, ports: &[u16]) -> Result<()> {
        for port in ports.iter().copied() {
            let listener = TcpListener::bind(("127.0.0.1", port)).await?;
            tokio::spawn(async move {
                while let Ok((mut visitor, _)) = listener.accept().await {
                    tokio::spawn(async move {
                        let socket = netns::inside(MACHINE, || Ok(TcpSocket::new_v4()?))?;
                        let mut inner = socket.connect(([127, 0, 0, 1], port).into()).await?;
                        copy_bidirectional(&mut visitor, &mut inner).await?;
                        anyhow::Ok(())
                    });
                }
            });
        }
        Ok(())
    }

    /// What the lab calls a process that its systemd knows by this number.
    pub fn outer_pid(&self, inner: u32) -> Result<u32> {
        let is_it = |pid: &u32| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
            let numbers: Vec<&str> = numbers.split_whitespace().collect();
            numbers.len() == 2 && numbers.last() == Some(&inner.to_string().as_str())
        };
        let pids = crate::gateway::command_lines()?.into_iter().map(|(pid, _)| pid);
        { pids }.find(is_it).with_context(|| format!("the machine has no process {inner}"))
    }

    /// For a test that failed.
    pub async fn keep_journal(&self) -> Result<()> {
        let all = self
            .finish(&[
                "journalctl",
                "--no-pager",
                "--lines=120",
                "--output=short-monotonic",
                "--grep=pgw-boot|nftables|networkd|shutdown|Stopping|forward",
                "--priority=info",
            ])
            .await?;
        Ok(fs::write(format!("{LOGS}/journal.log"), all.stdout)?)
    }
}

/// Takes the cables away, whatever is left of the network at their other end.
async fn unplug() -> Result<()> {
    for switch in ["lan", "wan"] {
        let _gone_already = command::finish(switch, &["ip", "link", "del", "gw"], "").await?;
    }
    Ok(())
}

/// Of a systemd-nspawn: the one below it that is a systemd.
fn first_process(nspawn: Option<u32>) -> Result<Option<u32>> {
    let nspawn = nspawn.context("systemd-nspawn has ended")?;
    let children = fs::read_to_string(format!("/proc/{nspawn}/task/{nspawn}/children"))?;
    let is_systemd = |pid: &u32| {
        fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "systemd")
    };
    Ok(children.split_whitespace().filter_map(|pid| pid.parse().ok()).find(is_systemd))
}

async fn outside(words: &[&str]) -> Result<String> {
    let done = command::finish_within(LONGEST, words, "").await?;
    ensure!(done.status.success(), "{} → {}\n{}{}", words.join(" "), done.status, done.stdout, done.stderr);
    Ok(done.stdout)
}

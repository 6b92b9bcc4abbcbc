//! `pgw-lab up`: a whole gateway to look at.

use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};

use anyhow::{Context as _, Result};
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::lab::admin_token;
use crate::net::{C1, C2, STRANGER};
use crate::sandbox::{FIX, Sandbox};
use crate::upstream::Kind;
use crate::{Lab, relay};

/// The API's and the UI's, as in the contract.
const PORTS: [u16; 2] = [8080, 8081];

/// The part on the machine: listens on loopback, waits for Ctrl-C.
pub async fn outside() -> Result<ExitCode> {
    let (mut interrupt, mut term) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let folder = Folder::new()?;
    let path = folder.0.to_str().context("a path that is no text")?;
    let ready = UnixListener::bind(folder.0.join("ready"))?;
    let mut sandbox = Sandbox::start(&["up".to_owned(), path.to_owned()], Stdio::inherit)?;
    say("building a LAN, a gateway, upstreams and an internet in private namespaces …");

    let token = tokio::select! {
        token = told(&ready) => token?,
        _ = interrupt.recv() => return Ok(ExitCode::SUCCESS),
        _ = term.recv() => return Ok(ExitCode::SUCCESS),
        () = ended(&mut sandbox) => {
            say(&format!("the lab could not be made. If namespaces were refused: {FIX}"));
            return Ok(ExitCode::FAILURE);
        }
    };
    let mut own = Vec::new();
    for port in PORTS {
        let got = relay::serve_outside(&folder.0, port).await?;
        if got != port {
            say(&format!("port {port} is taken on this machine; {got} is used instead"));
        }
        own.push(got);
    }
    explain(&token, &own, sandbox.first_process()?);
    tokio::select! {
        _ = interrupt.recv() => say("\nending; nothing is left behind"),
        _ = term.recv() => {}
        () = ended(&mut sandbox) => say("the lab has ended by itself"),
    }
    Ok(ExitCode::SUCCESS)
}

/// The part in the gateway's namespace.
pub async fn inside(folder: &Path) -> Result<()> {
    let mut lab = Lab::start().await?;
    say("starting pgw-api, pgw-agent, pgw-ui, squid (http), microsocks (socks5) …");
    let ready = lab.gateway().await?;
    for (device, kind) in [(C1, Kind::Squid), (C2, Kind::Microsocks)] {
        lab.mapped(&ready, device, &[kind]).await?;
    }
    for (device, way) in
        [(C1, "through squid"), (C2, "through microsocks"), (STRANGER, "not registered: directly")]
    {
        for url in ["http://origin/", "https://origin/"] {
            let seen = lab.seen_as(device, url).await?;
            say(&format!(
                "  {:<8} {}  curl {url:<15} → origin sees {seen:<13} ({way})",
                device.name, device.ip
            ));
        }
    }
    for port in PORTS {
        relay::serve_inside(folder, port)?;
    }
    let mut outside = tokio::net::UnixStream::connect(folder.join("ready")).await?;
    tokio::io::AsyncWriteExt::write_all(&mut outside, admin_token().await?.as_bytes()).await?;
    drop(outside);
    // Until the first process ends this one.
    std::future::pending().await
}

fn explain(token: &str, ports: &[u16], pid: u32) {
    let [api, ui] = ports else { return };
    let user = if rustix::process::geteuid().is_root() { "" } else { " -U --preserve-credentials" };
    let enter = format!("nsenter -t {pid}{user} -m -n -p");
    say(&format!(
        "
UI           http://127.0.0.1:{ui}/
API          http://127.0.0.1:{api}/docs   (any name, the token as the password)
admin token  {token}

Walk in      {enter} bash       (the gateway; then: nft list ruleset, ip netns list)
As a device  {enter} nsenter --net=/run/netns/c1 curl http://origin/
Try          curl -H 'Authorization: Bearer {token}' http://127.0.0.1:{api}/v1/mappings
             {enter} pkill -f microsocks
                 c2's mapping becomes FAILED, and its requests end nowhere
             {enter} pkill -9 pgw-api
                 c1 and c2 keep working
Ctrl-C ends it all."
    ));
}

async fn told(ready: &UnixListener) -> Result<String> {
    let (mut from, _) = ready.accept().await?;
    let mut token = String::new();
    from.read_to_string(&mut token).await?;
    Ok(token)
}

/// Returns when the lab has ended by itself.
async fn ended(sandbox: &mut Sandbox) {
    while sandbox.is_running() {
        tokio::time::sleep(crate::gateway::GLANCE).await;
    }
}

/// Where the two parts meet; gone with the demonstration.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("pgw-lab-{}", std::process::id()));
        std::os::unix::fs::DirBuilderExt::mode(&mut std::fs::DirBuilder::new(), 0o700).create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _left = std::fs::remove_dir_all(&self.0);
    }
}

#[expect(clippy::print_stdout, reason = "the demonstration talks to the person at the terminal")]
fn say(text: &str) {
    println!("{text}");
}

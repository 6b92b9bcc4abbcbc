//! `pgw-lab up`: a whole gateway to look at.

use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};

use anyhow::{Context as _, Result};
use serde_json::json;
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::gateway::Program;
use crate::home::{self, HOME, Home, SERVED};
use crate::lab::{Ready, admin_token, eventually};
use crate::net::{C1, C2, GATEWAY_WAN, STRANGER};
use crate::rest::{id, text};
use crate::sandbox::{FIX, Sandbox};
use crate::upstream::Kind;
use crate::{Lab, relay};

/// The API's and the UI's, as in the contract.
const PORTS: [u16; 2] = [8080, 8081];
/// The machine behind NAT has this one at the gateway.
const TUNNEL: u16 = 12_000;

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
    say("starting pgw-api, pgw-agent, pgw-ui, pgw-tunneld, squid (http), microsocks (socks5) …");
    let mut ready = lab.gateway_with(&[("PGW_TUNNEL_PUBLIC", &GATEWAY_WAN.to_string())]).await?;
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
    let _home = tunnel(&mut ready).await?;
    say(&format!(
        "  {HOME:<8} behind NAT  {GATEWAY_WAN}:{TUNNEL} → a visitor from the internet is answered (reverse tunnel)"
    ));
    for port in PORTS {
        relay::serve_inside(folder, port)?;
    }
    let mut outside = tokio::net::UnixStream::connect(folder.join("ready")).await?;
    tokio::io::AsyncWriteExt::write_all(&mut outside, admin_token().await?.as_bytes()).await?;
    drop(outside);
    // Until the first process ends this one.
    std::future::pending().await
}

/// The other direction: what a machine behind NAT serves is reached by a port of the gateway.
async fn tunnel(ready: &mut Ready) -> Result<Home> {
    ready.gateway.start(Program::Tunneld).await?;
    let client = ready.rest.post("/v1/tunnel-clients", json!({ "name": HOME })).await?;
    let mut home = Home::build().await?;
    home.connect(HOME, text(&client, "token"), "")?;
    let tunnel = json!({
        "name": "echo", "tunnel_client_id": id(&client)?, "protocol": "tcp", "public_port": TUNNEL,
        "local_host": "127.0.0.1", "local_port": SERVED, "verify": false,
    });
    ready.rest.post("/v1/tunnels", tunnel).await?;
    eventually("a visitor is answered", async || Ok(home::is_answered(TUNNEL).await.ok())).await?;
    Ok(home)
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
As a visitor {enter} nsenter --net=/run/netns/tls bash -c 'exec 3<>/dev/tcp/{GATEWAY_WAN}/{TUNNEL}; echo hello >&3; head -1 <&3'
                 says what the machine behind NAT says back
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

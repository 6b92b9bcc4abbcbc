//! How each is started: as its own documentation recommends for speed.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::json;
use tokio::process::Child;

use crate::bench::far;
use crate::bench::ground::{self, Ground, WAN};
use crate::gateway::{self, RUN, STATE};
use crate::{command, lab};

/// The public ports: one for connections, and one for datagrams.
pub(super) const PORT: u16 = 20_001;
pub(super) const UDP_PORT: u16 = 20_002;
pub(super) const RATHOLE: &str = "rathole";
pub(super) const BORE: &str = "bore";
/// Where what they say is written.
pub(super) const SERVER: &str = "tunnel-server";
pub(super) const CLIENT: &str = "tunnel-client";

const PEERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/bench/peers/bin");
const CONFIG: &str = "/run/lab/config";
/// Where clients of rathole and of pgw come in.
const DOOR: u16 = 8443;
/// More visitors than ever come at once.
const MOST: u32 = 5_000;
/// Of the client below, and its SHA-256.
const TOKEN: &str = "5555555555555555555555555555555555555555555555555555555555555555";
const TOKEN_HASH: &str = "911878b1ff94a6daecaba1d7ef6fda0b97116a16291389427b402a013a2ae79f";

/// Where `cargo xtask bench tunnel` has put it.
pub(super) fn peer(program: &str) -> String {
    format!("{PEERS}/{program}")
}

/// Of those that are there.
pub(super) async fn versions() -> Vec<(String, String)> {
    let mut versions = Vec::new();
    for program in [RATHOLE, BORE] {
        let asked = command::finish_within(command::LIMIT, &[&peer(program), "--version"], "").await;
        // rathole tells when it was built as well, and from what.
        let is_version = |word: &String| {
            word.contains('.') && word.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
        };
        let version =
            asked.ok().and_then(|said| said.stdout.split_whitespace().map(str::to_owned).find(is_version));
        versions.extend(version.map(|version| (program.to_owned(), version)));
    }
    versions
}

/// With what it was told last, and without an API.
pub(super) async fn pgw(ground: &Ground, carrier: &str) -> Result<(Child, Child)> {
    let id = |last: u16| format!("00000000-0000-7000-8000-{last:012}");
    let desired = json!({
        "version": 1, "revision": id(1), "tunnels": [],
        "clients": [{
            "id": id(2), "name": "far", "enabled": true, "token": TOKEN_HASH,
            "max_tunnels": 4, "max_connections": MOST,
        }],
    });
    fs::create_dir_all(format!("{STATE}/tunnel"))?;
    fs::create_dir_all(RUN)?;
    fs::write(format!("{STATE}/tunnel/desired.json"), desired.to_string())?;
    let door = format!("PGW_TUNNEL_LISTEN=0.0.0.0:{DOOR}");
    let settings = [format!("PGW_STATE_DIR={STATE}"), format!("PGW_RUN_DIR={RUN}"), door];
    let program = gateway::path("pgw-tunneld")?;
    let words: Vec<&str> = ["/usr/bin/env"].into_iter().chain(settings.iter().map(String::as_str)).collect();
    let mut server = ground.forwarder(&[&words[..], &[text(&program)?]].concat(), SERVER)?;
    ground::accepts((Ipv4Addr::LOCALHOST, DOOR).into(), Some(&mut server))
        .await
        .with_context(|| ground::last_words(SERVER))?;
    let port = |port: u16, protocol: &str| {
        format!(
            "    - {{ remote_port: {port}, protocol: {protocol}, local_host: 127.0.0.1, local_port: {} }}\n",
            far::ORIGIN
        )
    };
    let config = write(
        "pgw.yaml",
        &format!(
            "server: {WAN}:{DOOR}\ntoken: \"{TOKEN}\"\nca: {STATE}/tunnel/ca.pem\ncarrier: {carrier}\n\
             client:\n  id: far\n  open_ports:\n{}{}",
            port(PORT, "tcp"),
            port(UDP_PORT, "udp")
        ),
    )?;
    let program = gateway::path("pgw-connect")?;
    let client = ground.behind(&[text(&program)?, "--config", &config], CLIENT)?;
    Ok((server, client))
}

pub(super) async fn rathole(ground: &Ground, noise: bool) -> Result<(Child, Child)> {
    let program = peer(RATHOLE);
    let (server, client) = match noise {
        false => (String::new(), String::new()),
        true => {
            let said = command::finish_within(command::LIMIT, &[&program, "--genkey"], "").await?.stdout;
            let keys: Vec<&str> = said.lines().filter(|line| line.len() == 44).collect();
            let [private, public] = keys.as_slice() else { anyhow::bail!("no pair of keys: {said}") };
            let transport =
                |what: &str| format!("[{what}.transport]\ntype = \"noise\"\n[{what}.transport.noise]\n");
            (
                format!("{}local_private_key = \"{private}\"\n", transport("server")),
                format!("{}remote_public_key = \"{public}\"\n", transport("client")),
            )
        }
    };
    let server = write(
        "rathole-server.toml",
        &format!(
            "[server]\nbind_addr = \"0.0.0.0:{DOOR}\"\ndefault_token = \"bench\"\n{server}\
             [server.services.tcp]\nbind_addr = \"0.0.0.0:{PORT}\"\n\
             [server.services.udp]\ntype = \"udp\"\nbind_addr = \"0.0.0.0:{UDP_PORT}\"\n"
        ),
    )?;
    let origin = far::ORIGIN;
    let client = write(
        "rathole-client.toml",
        &format!(
            "[client]\nremote_addr = \"{WAN}:{DOOR}\"\ndefault_token = \"bench\"\n{client}\
             [client.services.tcp]\nlocal_addr = \"127.0.0.1:{origin}\"\n\
             [client.services.udp]\ntype = \"udp\"\nlocal_addr = \"127.0.0.1:{origin}\"\n"
        ),
    )?;
    let mut running = ground.forwarder(&[&program, "--server", &server], SERVER)?;
    ground::accepts((Ipv4Addr::LOCALHOST, DOOR).into(), Some(&mut running)).await?;
    Ok((running, ground.behind(&[&program, "--client", &client], CLIENT)?))
}

pub(super) async fn bore(ground: &Ground) -> Result<(Child, Child)> {
    /// There is no other.
    const CONTROL: u16 = 7835;
    let program = peer(BORE);
    let mut server = ground.forwarder(&[&program, "server", "--min-port", "20000"], SERVER)?;
    ground::accepts((Ipv4Addr::LOCALHOST, CONTROL).into(), Some(&mut server)).await?;
    let (origin, port, to) = (far::ORIGIN.to_string(), PORT.to_string(), WAN.to_string());
    let words = ["local", &origin, "--local-host", "127.0.0.1", "--to", &to, "--port", &port];
    let client = ground.behind(&[&[program.as_str()], &words[..]].concat(), CLIENT)?;
    Ok((server, client))
}

/// The tunnel that was measured before has left its ports when this returns.
pub(super) async fn ports_are_free() -> Result<()> {
    lab::eventually("the public port is free", async || {
        Ok(std::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).ok().map(drop))
    })
    .await
}

fn write(name: &str, text: &str) -> Result<String> {
    fs::create_dir_all(CONFIG)?;
    let path = format!("{CONFIG}/{name}");
    fs::write(&path, text)?;
    Ok(path)
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is no text")
}

//! How each is started: as its own documentation recommends for speed.

use std::fs;

use anyhow::{Context as _, Result};
use serde_json::json;
use tokio::process::Child;

use crate::bench::ground::{DEVICE, FAR, Ground};
use crate::gateway::{self, RUN, STATE};
use crate::pki;

const CONFIG: &str = "/run/lab/config";
/// More than are ever held at the same time; where descriptors are short, they are the limit.
const MOST: u32 = 20_000;
/// More than are ever in use at the same time.
const PIPES: usize = 64;

/// One of ours, with everything that it does by default: it looks for names, and writes its
/// line for every connection.
pub(super) fn forwarder(ground: &Ground, port: u16, scheme: &str, upstream: u16) -> Result<Child> {
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

pub(super) fn redsocks(ground: &Ground, port: u16, kind: &str, upstream: u16) -> Result<Child> {
    let path = config(
        &format!("redsocks.{port}"),
        &format!(
            "base {{ log_debug = off; log_info = off; log = stderr; daemon = off; redirector = iptables;\n\
             redsocks_conn_max = {MOST}; rlimit_nofile = {}; }}\n\
             redsocks {{ local_ip = 0.0.0.0; local_port = {port}; listenq = 4096; splice = true;\n\
             ip = {FAR}; port = {upstream}; type = {kind}; }}\n",
            ground.descriptors
        ),
    )?;
    ground.forwarder(&["redsocks", "-c", &path], "redsocks")
}

pub(super) fn haproxy(ground: &Ground, port: u16, server: &str) -> Result<Child> {
    let path = config(
        &format!("haproxy.{port}"),
        &format!(
            "global\n maxconn {}\n maxpipes {PIPES}\n nbthread 1\n\
             defaults\n mode tcp\n option splice-request\n option splice-response\n\
             timeout connect 5s\n timeout client 1h\n timeout server 1h\n\
             listen in\n bind :{port} backlog 4096\n server far {server}\n",
            ground.most_held() + PIPES
        ),
    )?;
    ground.forwarder(&["haproxy", "-db", "-f", &path], "haproxy")
}

pub(super) fn v2ray(ground: &Ground, port: u16, protocol: &str, upstream: u16) -> Result<Child> {
    let settings = json!({
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
    let path = config(&format!("v2ray.{port}.json"), &settings.to_string())?;
    ground.forwarder(&["v2ray", "-config", &path], "v2ray")
}

fn config(name: &str, text: &str) -> Result<String> {
    fs::create_dir_all(CONFIG)?;
    let path = format!("{CONFIG}/{name}");
    fs::write(&path, text)?;
    Ok(path)
}

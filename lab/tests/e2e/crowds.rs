//! The services under pressure: whoever says nothing takes nothing from those who ask.

use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use pgw_lab::gateway::Program;
use pgw_lab::lab::{Ready, eventually};
use pgw_lab::net::{C1, C2, GATEWAY, GATEWAY_LAN};
use pgw_lab::upstream::Kind;
use pgw_lab::{Lab, netns, rest};
use reqwest::Method;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::Value;

crate::tests![thousands_of_silent_connections_take_nothing_from_operators_and_devices];

const CROWD: usize = 2000;
/// Far fewer than the crowd would like to have.
const FILES: u32 = 512;

async fn thousands_of_silent_connections_take_nothing_from_operators_and_devices(mut lab: Lab) -> Result<()> {
    let ready = lab.gateway().await?;
    let mapped = &lab.mapped(&ready, C1, &[Kind::Squid]).await?.remove(0);
    let Ready { rest, mut gateway } = ready;
    gateway.limit_files(FILES);
    for program in Program::ALL {
        gateway.stop(program).await?;
        gateway.start(program).await?;
    }
    rest.wait_ready().await?;
    rest.wait_state(mapped, "APPLIED").await?;

    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?;
    let mut crowd = silent(C2.name, GATEWAY_LAN, 8080)?;
    for port in [8080, 9090, 8081] {
        crowd.extend(silent(GATEWAY, Ipv4Addr::LOCALHOST, port)?);
    }

    // Checked, and checked again, while they all hang on.
    for _ in 0..2 {
        let before = checked_at(&rest, mapped).await?;
        eventually("the upstream is checked", async || {
            Ok((checked_at(&rest, mapped).await? != before).then_some(()))
        })
        .await?;
    }
    let state = rest.mapping(mapped).await?;
    ensure!(rest::text(&state, "state") == "APPLIED", "nobody's upstream died, and yet: {state}");
    for url in [
        format!("{}/v1/proxies", rest::API),
        format!("{}/readyz", rest::API),
        format!("{}/agent/status", rest::AGENT),
        format!("{}/api/v1/proxies", rest::UI),
    ] {
        let answer = rest.send(Method::GET, &url, None).await?;
        ensure!(answer.status == 200, "{url}: {answer:?}");
    }
    for device in [C1, C2] {
        let url = format!("http://{GATEWAY_LAN}:8080/healthz");
        let answer = lab.curl(device.name, &["--max-time", "5", &url]).await?;
        ensure!(answer.contains("ok"), "{} is answered {answer:?}", device.name);
    }
    drop(crowd);
    Ok(())
}

async fn checked_at(rest: &rest::Rest, mapped: &rest::Mapped) -> Result<Value> {
    let proxy = rest.get(&format!("/v1/proxies/{}", mapped.proxy)).await?;
    proxy.pointer("/health/checked_at").cloned().context("a proxy without a time of its check")
}

/// Connections from a namespace that say nothing.
fn silent(ns: &str, to: Ipv4Addr, port: u16) -> Result<Vec<TcpStream>> {
    let to = SocketAddrV4::new(to, port).into();
    netns::inside(ns, || {
        let connect = |_| TcpStream::connect_timeout(&to, Duration::from_secs(5));
        (0..CROWD).map(connect).collect::<Result<_, _>>().with_context(|| format!("connecting to {to}"))
    })
}

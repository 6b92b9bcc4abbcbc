//! What a mapped device sees: the internet, from its upstream's address, byte for byte (G2, G10,
//! G11).

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use pgw_lab::canary::{self, LONG};
use pgw_lab::gateway::Program;
use pgw_lab::net::{C1, C2, GATEWAY, GREETER, LISTENER, STRANGER};
use pgw_lab::origin::{Tally, pattern};
use pgw_lab::rest::Rest;
use pgw_lab::upstream::Kind;
use pgw_lab::{Lab, command, lab, rest};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

crate::tests![
    http_and_socks5_devices_are_seen_as_their_upstreams_and_the_stranger_as_himself,
    tls_and_second_socks5_devices_are_seen_as_their_upstreams,
    when_the_first_upstream_refuses_the_same_connection_goes_by_the_second,
    half_close_arrives_at_the_other_end,
    a_server_that_speaks_first_is_heard_at_once,
    large_transfers_arrive_byte_for_byte_in_both_directions,
    the_ui_leads_to_api_and_agent,
];

const URLS: [&str; 2] = ["http://origin/", "https://origin/"];

async fn http_and_socks5_devices_are_seen_as_their_upstreams_and_the_stranger_as_himself(
    lab: Lab,
) -> Result<()> {
    seen_through(lab, [Kind::Squid, Kind::Microsocks]).await
}

async fn tls_and_second_socks5_devices_are_seen_as_their_upstreams(lab: Lab) -> Result<()> {
    seen_through(lab, [Kind::Tls, Kind::Dante]).await
}

async fn seen_through(mut lab: Lab, kinds: [Kind; 2]) -> Result<()> {
    let ready = lab.gateway().await?;
    for (device, kind) in [C1, C2].into_iter().zip(kinds) {
        lab.mapped(&ready, device, &[kind]).await?;
        for url in URLS {
            let seen = lab.seen_as(device, url).await?;
            ensure!(seen == kind.ip().to_string(), "{} is seen as {seen} at {url}", device.name);
        }
    }
    for url in URLS {
        let seen = lab.seen_as(STRANGER, url).await?;
        ensure!(seen == STRANGER.direct.to_string(), "the stranger is seen as {seen} at {url}");
    }
    for who in [C1.name, C2.name, "gw"] {
        let leaked = lab.leaks(who).await?;
        ensure!(leaked.total() == 0, "{who} went directly: {leaked:?}");
    }
    Ok(())
}

async fn when_the_first_upstream_refuses_the_same_connection_goes_by_the_second(mut lab: Lab) -> Result<()> {
    let ready = lab.gateway().await?;
    lab.mapped(&ready, C1, &[Kind::Squid, Kind::Microsocks]).await?;
    let before = lab.seen_as(C1, "http://origin/").await?;
    ensure!(before == Kind::Squid.ip().to_string(), "{before}");
    // With the control plane stopped nothing but the forwarder itself can move on.
    let mut gateway = ready.gateway;
    gateway.kill(Program::Api).await?;
    lab.kill_upstream(Kind::Squid).await?;
    for url in URLS {
        let after = lab.seen_as(C1, url).await?;
        ensure!(after == Kind::Microsocks.ip().to_string(), "{after}");
    }
    Ok(())
}

async fn half_close_arrives_at_the_other_end(mut lab: Lab) -> Result<()> {
    let ready = lab.gateway().await?;
    // Of the lab's upstreams only dante keeps the other half open; the others end both.
    lab.mapped(&ready, C1, &[Kind::Dante]).await?;
    for port in [80, 443] {
        let mut stream = canary::connect(C1.name, (LISTENER, port).into(), LONG).await?;
        stream.write_all(&pattern(0, 50_000)).await?;
        stream.shutdown().await?;
        let heard = canary::read(&mut stream, usize::MAX).await?;
        let want = format!("{} {}\n", Kind::Dante.ip(), Tally::of_pattern(50_000));
        ensure!(heard == want, "after its end the device heard {heard:?}, not {want:?}");
    }
    Ok(())
}

/// Who says nothing is served as fast as who speaks first, and does not pay for a look at what he
/// might have said. Each is the other's clock; the best of some has no waiting for a busy machine in it.
async fn a_server_that_speaks_first_is_heard_at_once(mut lab: Lab) -> Result<()> {
    let ready = lab.gateway().await?;
    lab.mapped(&ready, C1, &[Kind::Microsocks]).await?;
    for port in [80, 443] {
        let (mut silent, mut talking) = (Duration::MAX, Duration::MAX);
        for _ in 0..7 {
            silent = silent.min(greeted(port, "").await?);
            talking = talking.min(greeted(port, "SSH-2.0-lab\r\n").await?);
        }
        // Looking for a name takes up to 250 ms; a greeting takes one or two.
        ensure!(silent < 8 * talking, "port {port}: in silence {silent:?}, otherwise {talking:?}");
    }
    Ok(())
}

/// How long the greeting takes for a device that says `first` without being asked.
async fn greeted(port: u16, first: &str) -> Result<Duration> {
    let start = Instant::now();
    let mut stream = canary::connect(C1.name, (GREETER, port).into(), LONG).await?;
    stream.write_all(first.as_bytes()).await?;
    let want = format!("hello {}\r\n", Kind::Microsocks.ip());
    let mut hello = [0; 64];
    let heard = hello.get_mut(..want.len()).context("a greeting is short")?;
    timeout(LONG, stream.read_exact(heard)).await??;
    ensure!(heard == want.as_bytes(), "port {port}: {heard:?}");
    let taken = start.elapsed();
    stream.write_all(b"and now me").await?;
    let echo = canary::read(&mut stream, first.len() + 10).await?;
    ensure!(echo == format!("{first}and now me"), "port {port}: {echo:?}");
    Ok(taken)
}

async fn large_transfers_arrive_byte_for_byte_in_both_directions(mut lab: Lab) -> Result<()> {
    const LARGE: u64 = 24_000_000;
    let ready = lab.gateway().await?;
    for (device, kind) in [(C1, Kind::Squid), (C2, Kind::Microsocks)] {
        lab.mapped(&ready, device, &[kind]).await?;
        let file = format!("/run/lab/{}.bin", device.name);
        let url = format!("https://origin/down?bytes={LARGE}");
        lab.curl(device.name, &["--max-time", "60", "-o", &file, &url]).await?;
        let mut came = Tally::default();
        came.add(&std::fs::read(&file)?);
        ensure!(came == Tally::of_pattern(LARGE), "{} got {came}", device.name);
        let body = format!("@{file}");
        let url = "http://origin/up";
        let went = lab.curl(device.name, &["--max-time", "60", "--data-binary", &body, url]).await?;
        ensure!(went.trim() == came.to_string(), "{} sent {came}, and {went} arrived", device.name);
        let leaked = lab.leaks(device.name).await?;
        ensure!(leaked.total() == 0, "it went directly: {leaked:?}");
    }
    Ok(())
}

async fn the_ui_leads_to_api_and_agent(lab: Lab) -> Result<()> {
    let ready = lab.gateway().await?;
    for path in ["/", "/api/v1/mappings", "/api/readyz", "/agent/status"] {
        let url = format!("{}{path}", rest::UI);
        let answer = ready.rest.send(reqwest::Method::GET, &url, None).await?;
        ensure!(answer.status == 200, "{url}: {answer:?}");
    }
    let without_token = Rest::status(&format!("{}/api/v1/mappings", rest::UI)).await?;
    ensure!(without_token == 401, "without a token: {without_token}");
    ready.rest.post("/v1/tunnel-clients", json!({ "name": "home" })).await?;
    let token = lab::admin_token().await?;
    let told = websocket(&format!("Authorization: Bearer {token}")).await?;
    ensure!(told.contains(" 101 ") && told.contains("tunnel_client"), "{told}");
    let refused = websocket("Authorization: Bearer nobody").await?;
    ensure!(refused.contains(" 401 "), "{refused}");
    Ok(())
}

/// What comes of it within a moment; the stream itself has no end.
async fn websocket(who: &str) -> Result<String> {
    let url = format!("{}/api/v1/ws?after=0", rest::UI);
    let words = [
        "curl",
        "-siN",
        "--max-time",
        "3",
        "-H",
        who,
        "-H",
        "Connection: Upgrade",
        "-H",
        "Upgrade: websocket",
        "-H",
        "Sec-WebSocket-Version: 13",
        "-H",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        &url,
    ];
    Ok(command::finish(GATEWAY, &words, "").await?.stdout)
}

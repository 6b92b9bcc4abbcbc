//! What devices carry is seen: over time, now, and connection by connection; and numbers stay true
//! when forwarders and the API come and go.

use anyhow::{Context as _, Result, ensure};
use pgw_lab::canary::{LONG, connect, read};
use pgw_lab::gateway::{self, Program, forwarders, kill_pid};
use pgw_lab::lab::{Ready, eventually};
use pgw_lab::net::{C1, C2, GATEWAY, GREETER};
use pgw_lab::rest::{API, Rest, text};
use pgw_lab::upstream::Kind;
use pgw_lab::{Lab, command};
use reqwest::Method;
use serde_json::Value;
use tokio::io::AsyncReadExt as _;

crate::tests![
    what_a_device_carries_is_told_and_kills_take_nothing_of_it_away,
    an_open_connection_is_shown_and_ends_when_it_is_closed,
    metrics_are_what_prometheus_reads,
];

const MEGABYTE: u64 = 1_000_000;

async fn gateway(lab: &Lab) -> Result<Ready> {
    lab.gateway_with(&[("PGW_TELEMETRY_INTERVAL", "1s")]).await
}

async fn down(rest: &Rest, query: &str) -> Result<u64> {
    let told = rest.get(&format!("/v1/telemetry/traffic?{query}")).await?;
    let points = told.get("points").and_then(Value::as_array).context("no points")?;
    Ok(points.iter().filter_map(|point| point.get("bytes_down")?.as_u64()).sum())
}

/// Until so many megabytes are told, and no more than what goes along with them.
async fn megabytes(rest: &Rest, query: &str, many: u64) -> Result<()> {
    let what = format!("{many} megabytes are told for {query}");
    let told =
        eventually(
            &what,
            async || Ok(Some(down(rest, query).await?).filter(|told| *told >= many * MEGABYTE)),
        )
        .await?;
    ensure!(told < many * MEGABYTE + MEGABYTE / 10, "{told} bytes, where {what}");
    Ok(())
}

async fn fetch_one(lab: &Lab) -> Result<()> {
    let url = format!("http://origin/down?bytes={MEGABYTE}");
    lab.curl(C1.name, &["-o", "/dev/null", &url]).await.map(drop)
}

async fn kill_forwarder(port: u16) -> Result<()> {
    let pids = forwarders()?.remove(&port).context("no forwarder")?;
    pids.iter().copied().try_for_each(kill_pid)?;
    eventually("it is gone", async || {
        let now = forwarders()?.remove(&port).unwrap_or_default();
        Ok(now.is_disjoint(&pids).then_some(()))
    })
    .await
}

async fn what_a_device_carries_is_told_and_kills_take_nothing_of_it_away(mut lab: Lab) -> Result<()> {
    let mut ready = gateway(&lab).await?;
    let mapping = lab.mapped(&ready, C1, &[Kind::Squid]).await?.remove(0);
    let other = lab.mapped(&ready, C2, &[Kind::Microsocks]).await?.remove(0);
    let (client, proxy) = (format!("client_id={}", mapping.client), format!("proxy_id={}", mapping.proxy));
    fetch_one(&lab).await?;
    megabytes(&ready.rest, &client, 1).await?;

    // What this API had not written down, and what is carried while there is none, the
    // forwarder still knows.
    ready.gateway.kill(Program::Api).await?;
    fetch_one(&lab).await?;
    ready.gateway.start(Program::Api).await?;
    megabytes(&ready.rest, &client, 2).await?;

    kill_forwarder(mapping.port).await?;
    let told = down(&ready.rest, &client).await?;
    ensure!(told >= 2 * MEGABYTE, "{told} bytes are told after its forwarder was killed");
    eventually("the device gets out again", async || Ok(fetch_one(&lab).await.ok())).await?;
    megabytes(&ready.rest, &client, 3).await?;

    // Now nobody knows it but the database.
    ready.gateway.stop(Program::Api).await?;
    kill_forwarder(mapping.port).await?;
    ready.gateway.start(Program::Api).await?;
    for query in [client.clone(), proxy, format!("{client}&window=24h"), "window=30d".to_owned()] {
        megabytes(&ready.rest, &query, 3).await?;
    }
    let told = down(&ready.rest, &format!("client_id={}", other.client)).await?;
    ensure!(told == 0, "{told} bytes are told of a device that was silent");
    Ok(())
}

async fn an_open_connection_is_shown_and_ends_when_it_is_closed(mut lab: Lab) -> Result<()> {
    let ready = gateway(&lab).await?;
    let mapping = lab.mapped(&ready, C1, &[Kind::Squid]).await?.remove(0);
    let mut stream = connect(C1.name, (GREETER, 443).into(), LONG).await?;
    read(&mut stream, 1).await?;
    let list = format!("/v1/connections?client_id={}", mapping.client);
    let shown = ready.rest.get(&list).await?;
    let connection = shown.pointer("/items/0").context("it is not shown")?;
    for (field, want) in [
        ("client", C1.name),
        ("ip", &C1.ip.to_string()),
        ("mapping_id", &mapping.id),
        ("proxy", Kind::Squid.name()),
    ] {
        ensure!(text(connection, field) == want, "{field} of {connection}");
    }
    eventually("it is among what happens now", async || {
        let now = ready.rest.get("/v1/telemetry/now").await?;
        let client = now.pointer("/clients/0/client_id").and_then(Value::as_str);
        Ok((client == Some(mapping.client.as_str())).then_some(()))
    })
    .await?;
    let path = format!("/v1/connections/{}", text(connection, "id"));
    ready.rest.delete(&path).await?;
    let ended = tokio::time::timeout(LONG, stream.read(&mut [0; 16])).await?;
    ensure!(!matches!(ended, Ok(1..)), "it goes on: {ended:?}");
    eventually("it is no longer shown", async || {
        let left = ready.rest.get(&list).await?;
        Ok(left.pointer("/items/0").is_none().then_some(()))
    })
    .await?;
    let again = ready.rest.send(Method::DELETE, &format!("{API}{path}"), None).await?;
    ensure!(again.status == 404, "{}", again.text);
    Ok(())
}

async fn metrics_are_what_prometheus_reads(mut lab: Lab) -> Result<()> {
    let ready = gateway(&lab).await?;
    lab.mapped(&ready, C1, &[Kind::Squid]).await?;
    fetch_one(&lab).await?;
    let page = eventually("what was carried is on the page", async || {
        let page = ready.rest.send(Method::GET, &format!("{API}/metrics"), None).await?;
        ensure!(page.status == 200, "{}", page.text);
        let carried = |line: &str| {
            line.starts_with("pgw_proxy_traffic_bytes_total{")
                && line.rsplit_once(' ').and_then(|(_, value)| value.parse().ok()) >= Some(1e6)
        };
        Ok(page.text.lines().any(carried).then_some(page.text))
    })
    .await?;
    ensure!(page.contains("\npgw_agent_up 1"), "{page}");
    let promtool = gateway::path("promtool").context("`cargo xtask test` fetches it")?;
    let promtool = promtool.to_str().context("its path is no text")?;
    let checked = command::finish(GATEWAY, &[promtool, "check", "metrics"], &page).await?;
    let said = format!("{}{}", checked.stdout, checked.stderr);
    ensure!(checked.status.success() && said.trim().is_empty(), "promtool: {said}");
    Ok(())
}

//! Round trips between a TLS client and its server's first answer, by real upstreams that are
//! far away: counted in ratios, as the machine may be slow (G10).

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use pgw_lab::Lab;
use pgw_lab::far::{self, Far};
use pgw_lab::lab::Ready;
use pgw_lab::net::{C1, Device};
use pgw_lab::rest::id;
use pgw_lab::upstream::{Kind, USER};
use serde_json::json;

use crate::harness::MEASURED;

crate::tests![
    with_lines_made_ready_a_tls_client_waits_as_few_round_trips_as_its_upstream_bears,
    without_them_he_waits_for_the_login_where_words_at_once_would_be_lost,
    whatever_an_upstream_takes_before_its_answer_arrives_once_and_whole,
    a_first_packet_may_carry_the_request_where_the_kernels_agree,
];

/// Long, so that a busy machine adds little to it.
const ROUND_TRIP: Duration = Duration::from_millis(300);

/// The device, open by an upstream that is far away, and checked at the beginning only.
async fn far_away(lab: &mut Lab, ready: &Ready, device: Device, kind: Kind) -> Result<Arc<Far>> {
    lab.upstream(kind).await?;
    let far = Far::put_before(kind, ROUND_TRIP)?;
    let proxy = json!({
        "name": kind.name(), "scheme": kind.scheme(), "host": kind.name(), "port": far::PORT,
        "username": USER, "password": kind.password(),
    });
    let proxy = id(&ready.rest.post("/v1/proxies", proxy).await?)?;
    let client = ready.rest.add_client(device).await?;
    let mapping = ready.rest.add_mapping(&client, &proxy, 1).await?;
    // Connecting takes no time here, and a hello that waits for it would come too late to be
    // tried; by name, it is waited for.
    ready.rest.patch(&format!("/v1/mappings/{}", mapping.id), json!({ "target": "hostname" })).await?;
    ready.rest.wait_state(&mapping, "APPLIED").await?;
    far.quiet().await?;
    Ok(far)
}

/// From the client's first word to the end of the TLS handshake, in round trips to the upstream.
async fn round_trips(lab: &Lab, device: Device) -> Result<f64> {
    let times = "%{time_connect} %{time_appconnect}";
    let words =
        ["-o", "/dev/null", "--tls13-ciphers", "TLS_AES_128_GCM_SHA256", "-w", times, "https://origin/"];
    let told = lab.curl(device.name, &words).await?;
    let (connected, greeted) = told.split_once(' ').with_context(|| told.clone())?;
    Ok((greeted.trim().parse::<f64>()? - connected.parse::<f64>()?) / ROUND_TRIP.as_secs_f64())
}

/// Those of the last of several connections, one after the other.
async fn measured(lab: &mut Lab, ready: &Ready, kind: Kind) -> Result<f64> {
    let far = far_away(lab, ready, C1, kind).await?;
    let (mut all, mut last) = (Vec::new(), 0.0);
    for _connection in 0..4 {
        last = round_trips(lab, C1).await?;
        all.push(format!("{last:.1}"));
        far.quiet().await?;
    }
    eprintln!("{MEASURED} round trips by {:<10} {} (connecting not counted)", kind.name(), all.join(", "));
    Ok(last)
}

async fn expect(lab: &mut Lab, ready: &Ready, wanted: &[(Kind, f64)]) -> Result<()> {
    for (kind, trips) in wanted {
        let took = measured(lab, ready, *kind).await?;
        ensure!(took < trips + 0.8, "{}: {took:.1} round trips, where {trips} are enough", kind.name());
        let client = ready.rest.get("/v1/clients").await?;
        let client = client.pointer("/items/0/id").and_then(|id| id.as_str()).context("no client")?;
        ready.rest.delete(&format!("/v1/clients/{client}?cascade=true")).await?;
    }
    Ok(())
}

async fn with_lines_made_ready_a_tls_client_waits_as_few_round_trips_as_its_upstream_bears(
    mut lab: Lab,
) -> Result<()> {
    let ready = lab.gateway_with(&[("PGW_HEALTH_INTERVAL", "10m")]).await?;
    // Microsocks reads a packet for each message.
    let wanted = [(Kind::Squid, 1.0), (Kind::Tls, 1.0), (Kind::Dante, 1.0), (Kind::Microsocks, 2.0)];
    expect(&mut lab, &ready, &wanted).await
}

async fn without_them_he_waits_for_the_login_where_words_at_once_would_be_lost(mut lab: Lab) -> Result<()> {
    let ready = lab.gateway_with(&[("PGW_HEALTH_INTERVAL", "10m"), ("PGW_WARM", "off")]).await?;
    // TLS with the upstream is one more, and with microsocks each message is.
    let wanted = [(Kind::Squid, 1.0), (Kind::Tls, 2.0), (Kind::Dante, 1.0), (Kind::Microsocks, 4.0)];
    expect(&mut lab, &ready, &wanted).await
}

async fn whatever_an_upstream_takes_before_its_answer_arrives_once_and_whole(mut lab: Lab) -> Result<()> {
    let ready = lab.gateway().await?;
    for kind in Kind::ALL {
        let mapping = lab.mapped(&ready, C1, &[kind]).await?.remove(0);
        for _burst in 0..3 {
            let urls: Vec<String> = (0..6).map(|n| format!("https://origin/{n}")).collect();
            let mut words = vec!["--parallel", "--parallel-immediate", "--fail"];
            words.extend(urls.iter().map(String::as_str));
            let seen = lab.curl(C1.name, &words).await?;
            let mine = seen.lines().filter(|line| *line == kind.ip().to_string()).count();
            ensure!(mine == 6, "{}: {seen:?}", kind.name());
        }
        let seen = lab.seen_as(C1, "http://origin/").await?;
        ensure!(seen == kind.ip().to_string(), "{seen}");
        ready.rest.delete(&format!("/v1/clients/{}?cascade=true", mapping.client)).await?;
    }
    Ok(())
}

async fn a_first_packet_may_carry_the_request_where_the_kernels_agree(mut lab: Lab) -> Result<()> {
    // Every listener of that namespace takes such packets, whether its program asked for it or not.
    pgw_lab::netns::sysctl(Kind::Squid.name(), "net/ipv4/tcp_fastopen", "1027")?;
    let ready = lab.gateway_with(&[("PGW_WARM", "off")]).await?;
    lab.mapped(&ready, C1, &[Kind::Squid]).await?;
    for _connection in 0..4 {
        let seen = lab.seen_as(C1, "https://origin/").await?;
        ensure!(seen == Kind::Squid.ip().to_string(), "{seen}");
    }
    let counted = std::fs::read_to_string("/proc/self/net/netstat")?;
    let mut rows = counted.lines().filter(|line| line.starts_with("TcpExt:")).map(str::split_whitespace);
    let (names, counts) = rows.next().zip(rows.next()).context("no counters")?;
    let sent = names.zip(counts).find(|(name, _)| *name == "TCPFastOpenActive").context("no such counter")?;
    ensure!(sent.1.parse::<u64>()? > 0, "no first packet carried anything");
    Ok(())
}

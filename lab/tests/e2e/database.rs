//! The database goes away for a while, and several gateways share one (G18, G20).

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use pgw_lab::gateway::{self, Program, forwarders};
use pgw_lab::lab::eventually;
use pgw_lab::net::{C1, GATEWAY};
use pgw_lab::postgres::{Database, Postgres};
use pgw_lab::rest::{self, API};
use pgw_lab::upstream::Kind;
use pgw_lab::vigil::Vigil;
use pgw_lab::{Lab, command};
use reqwest::Method;
use serde_json::json;

use crate::harness::MEASURED;

crate::tests![
    g18_while_the_database_is_away_devices_stay_open_and_everything_heals_when_it_is_back,
    g20_a_client_is_mapped_by_way_of_another_gateway_which_may_die,
];

/// Everybody in the lab may go through it: the server is somebody without rights.
fn server() -> Result<Postgres> {
    Postgres::start_in(Path::new("/run/lab"))
}

async fn g18_while_the_database_is_away_devices_stay_open_and_everything_heals_when_it_is_back(
    mut lab: Lab,
) -> Result<()> {
    let mut server = server()?;
    let url = server.database().map(Database::keep)?;
    let ready = lab.gateway_with(&[("PGW_DATABASE_URL", &url)]).await?;
    let mappings = lab.mapped(&ready, C1, &[Kind::Squid, Kind::Microsocks]).await?;
    let mapping = mappings.first().context("two were made")?;
    let before = forwarders()?;
    let vigil = Vigil::begin(C1).await?;
    server.stop();

    let asked = Instant::now();
    let answer = ready.rest.send(Method::GET, &format!("{API}/v1/clients"), None).await?;
    ensure!(answer.status == 503 && answer.text.contains("database_unavailable"), "{}", answer.text);
    ensure!(asked.elapsed() < Duration::from_secs(10), "an operator waited {:?}", asked.elapsed());
    let path = format!("{API}/v1/mappings/{}", mapping.id);
    let answer = ready.rest.send(Method::PATCH, &path, Some(&json!({"enabled": false}))).await?;
    ensure!(answer.status == 503, "{}", answer.text);
    eventually("the API says what is missing", async || {
        let answer = ready.rest.send(Method::GET, &format!("{API}/readyz"), None).await?;
        let told = answer.body.pointer("/checks/0/name") == Some(&json!("database"));
        Ok((answer.status == 503 && told).then_some(()))
    })
    .await?;
    // Long enough that the agent has been refused more often than it is believed without an answer.
    tokio::time::sleep(Duration::from_secs(8)).await;
    let seen = lab.seen_as(C1, "http://origin/").await?;
    ensure!(seen == Kind::Squid.ip().to_string(), "while there is no database it is seen as {seen}");
    // An upstream that dies meanwhile is noticed: checks go on, and the forwarder's next one serves.
    lab.kill_upstream(Kind::Squid).await?;
    let seen = lab.seen_as(C1, "http://origin/").await?;
    ensure!(seen == Kind::Microsocks.ip().to_string(), "seen as {seen}");
    tokio::time::sleep(Duration::from_secs(4)).await;
    ensure!(forwarders()? == before, "a forwarder was touched");

    let back = Instant::now();
    server.again()?;
    ready.rest.wait_state(mapping, "FAILED").await?;
    eprintln!("{MEASURED} {:?} after the database was back its states were right", back.elapsed());
    ready.rest.wait_ready().await?;
    lab.upstream(Kind::Squid).await?;
    ready.rest.wait_state(mapping, "APPLIED").await?;
    ensure!(forwarders()? == before, "a forwarder was touched");
    vigil.end(&[Kind::Squid.ip(), Kind::Microsocks.ip()]).await
}

async fn g20_a_client_is_mapped_by_way_of_another_gateway_which_may_die(mut lab: Lab) -> Result<()> {
    let server = server()?;
    let url = server.database().map(Database::keep)?;
    // What is not told would be found by the next look at everything, which is far away.
    let slow =
        [("PGW_DATABASE_URL", url.as_str()), ("PGW_GATEWAY", "gw1"), ("PGW_RECONCILE_INTERVAL", "300s")];
    let ready = lab.gateway_with(&slow).await?;
    let client = ready.rest.add_client(C1).await?;
    lab.upstream(Kind::Squid).await?;

    let state = "/run/lab/second";
    std::fs::create_dir_all(state)?;
    std::fs::copy(Path::new(gateway::STATE).join("secret.key"), Path::new(state).join("secret.key"))?;
    let program = gateway::path("pgw-api")?;
    let mut second = command::program(GATEWAY, &[program.to_str().context("a path")?]);
    second.env_clear().envs(gateway::settings()).envs([
        ("PGW_STATE_DIR", state),
        ("PGW_RUN_DIR", state),
        ("PGW_DATABASE_URL", &url),
        ("PGW_GATEWAY", "gw2"),
        ("PGW_API_LISTEN", "127.0.0.1:8090"),
        ("PGW_AGENT_URL", "http://127.0.0.1:9"),
        ("PGW_FWD_BASE_PORT", "16001"),
        ("PGW_FWD_MAX_PORT", "16009"),
        ("PGW_ADMIN_TOKEN", TOKEN),
    ]);
    let mut second = second.kill_on_drop(true).spawn()?;
    let there = rest::Rest::new(TOKEN.to_owned())?;
    let at = "http://127.0.0.1:8090";
    eventually("the second gateway answers", async || {
        Ok(rest::Rest::status(&format!("{at}/healthz")).await.is_ok_and(|status| status == 200).then_some(()))
    })
    .await?;

    let proxy = json!({
        "name": Kind::Squid.name(), "scheme": Kind::Squid.scheme(), "host": Kind::Squid.name(),
        "port": Kind::Squid.port(), "username": pgw_lab::upstream::USER, "password": Kind::Squid.password(),
    });
    let asked = Instant::now();
    let proxy = there.send(Method::POST, &format!("{at}/v1/proxies"), Some(&proxy)).await?;
    ensure!(proxy.status == 201, "{}", proxy.text);
    let mapping = json!({"client_id": client, "proxy_id": rest::id(&proxy.body)?});
    let mapping = there.send(Method::POST, &format!("{at}/v1/mappings"), Some(&mapping)).await?;
    ensure!(mapping.status == 201 && rest::text(&mapping.body, "gateway") == "gw1", "{}", mapping.text);
    let id = rest::id(&mapping.body)?;
    let path = format!("/v1/mappings/{id}");
    eventually("the mapping is APPLIED where its client is", async || {
        Ok((rest::text(&ready.rest.get(&path).await?, "state") == "APPLIED").then_some(()))
    })
    .await?;
    eprintln!("{MEASURED} APPLIED {:?} after another gateway was asked", asked.elapsed());
    let seen = lab.seen_as(C1, "http://origin/").await?;
    ensure!(seen == Kind::Squid.ip().to_string(), "seen as {seen}");

    let gateways = ready.rest.get("/v1/gateways").await?;
    let online = |n: usize| gateways.pointer(&format!("/items/{n}/online")) == Some(&json!(true));
    ensure!(online(0) && online(1), "{gateways}");
    second.kill().await?;
    let seen = lab.seen_as(C1, "http://origin/").await?;
    ensure!(seen == Kind::Squid.ip().to_string(), "another gateway's death closed it: {seen}");
    ready.rest.patch(&path, json!({"priority": 7})).await?;
    ready.rest.wait_ready().await?;
    ensure!(ready.gateway.is_running(Program::Api));
    Ok(())
}

const TOKEN: &str = "a-token-of-the-second-gateway";

//! Where a device comes out is what its mapping expects, or it does not get out (G25, G26).

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use pgw_lab::lab::{Ready, eventually};
use pgw_lab::net::{C1, C2, Device, wan};
use pgw_lab::rest::{API, Mapped, Rest, id, text};
use pgw_lab::upstream::{Kind, go_out_by};
use pgw_lab::vigil::Vigil;
use pgw_lab::{Lab, mmdb};
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::MEASURED;

crate::tests![
    an_exit_that_moves_closes_its_device_and_opens_it_again_when_it_is_back,
    without_a_file_of_countries_who_expects_one_is_closed_and_told_why,
    an_exit_that_is_not_to_be_shared_is_left_by_one_device_at_a_time,
];

const COUNTRIES: &str = "/run/lab/country.mmdb";
/// The other address of an upstream that has two.
const ELSEWHERE: u8 = 31;

fn write_countries() -> Result<()> {
    let new = format!("{COUNTRIES}.new");
    std::fs::write(&new, mmdb::countries(&[(Kind::Squid.ip(), "DE"), (wan(ELSEWHERE), "NL")]))?;
    Ok(std::fs::rename(new, COUNTRIES)?)
}

/// A mapping that expects this from its first moment on.
async fn expecting(rest: &Rest, device: Device, proxy: &str, what: Value) -> Result<Mapped> {
    let client = rest.add_client(device).await?;
    let mut body = json!({ "client_id": client, "proxy_id": proxy });
    body.as_object_mut().context("an object")?.extend(what.as_object().cloned().unwrap_or_default());
    let mapping = rest.post("/v1/mappings", body).await?;
    let port = mapping.get("port").and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok());
    let port = port.with_context(|| format!("no port: {mapping}"))?;
    Ok(Mapped { id: id(&mapping)?, client, proxy: proxy.to_owned(), port })
}

async fn an_exit_that_moves_closes_its_device_and_opens_it_again_when_it_is_back(mut lab: Lab) -> Result<()> {
    write_countries()?;
    let ready = lab.gateway_with(&[("PGW_GEOIP_FILE", COUNTRIES)]).await?;
    let Ready { rest, gateway: _running } = &ready;
    lab.upstream(Kind::Squid).await?;
    lab.upstream(Kind::Microsocks).await?;
    let squid = rest.add_proxy(Kind::Squid).await?;
    let contract = json!({ "priority": 1, "expect": { "country": "DE", "stable": true } });
    let mapping = expecting(rest, C1, &squid, contract).await?;
    rest.wait_state(&mapping, "APPLIED").await?;
    let vigil = Vigil::begin(C1).await?;
    ensure!(lab.seen_as(C1, "https://origin/").await? == Kind::Squid.ip().to_string());

    let moved = Instant::now();
    go_out_by(Kind::Squid, ELSEWHERE).await?;
    let reason = rest.wait_state(&mapping, "FAILED").await?;
    eprintln!("{MEASURED} {:?} from an exit that moved until its device is closed", moved.elapsed());
    ensure!(reason == format!("exit is {} (NL), expected DE", wan(ELSEWHERE)), "{reason}");
    ensure!(lab.seen_as(C1, "http://origin/").await.is_err(), "FAILED, and the origin was reached");
    let explained = rest.get(&format!("/v1/explain?client={}", C1.ip)).await?;
    ensure!(
        text(&explained, "verdict") == "closed" && text(&explained, "summary").contains("expected DE"),
        "{explained}"
    );
    let exits = rest.get(&format!("/v1/journal?kind=client.exit&client_id={}", mapping.client)).await?;
    let last = exits.pointer("/items/0/data").context("nothing was told")?;
    ensure!(text(last, "client") == C1.name && text(last, "reason").contains("(NL), expected DE"), "{last}");

    // The next mapping takes its place; the broken one is not even in the forwarder's file.
    let microsocks = rest.add_proxy(Kind::Microsocks).await?;
    let second = rest.add_mapping(&mapping.client, &microsocks, 2).await?;
    rest.wait_state(&second, "APPLIED").await?;
    let seen = lab.seen_as(C1, "https://origin/").await?;
    ensure!(seen == Kind::Microsocks.ip().to_string(), "{seen}");
    rest.delete(&format!("/v1/mappings/{}", second.id)).await?;

    go_out_by(Kind::Squid, 21).await?;
    rest.wait_state(&mapping, "APPLIED").await?;
    ensure!(lab.seen_as(C1, "https://origin/").await? == Kind::Squid.ip().to_string());
    vigil.end(&[Kind::Squid.ip(), wan(ELSEWHERE), Kind::Microsocks.ip()]).await
}

async fn without_a_file_of_countries_who_expects_one_is_closed_and_told_why(mut lab: Lab) -> Result<()> {
    write_countries()?;
    let ready = lab.gateway_with(&[("PGW_GEOIP_FILE", COUNTRIES)]).await?;
    let Ready { rest, gateway: _running } = &ready;
    lab.upstream(Kind::Squid).await?;
    let squid = rest.add_proxy(Kind::Squid).await?;
    let mapping = expecting(rest, C1, &squid, json!({ "expect": { "country": "DE" } })).await?;
    let bystander = expecting(rest, C2, &squid, json!({})).await?;
    rest.wait_state(&mapping, "APPLIED").await?;
    rest.wait_state(&bystander, "APPLIED").await?;

    std::fs::write(COUNTRIES, "this is no such file")?;
    let reason = rest.wait_state(&mapping, "FAILED").await?;
    ensure!(reason.contains("country is not known") && reason.contains(COUNTRIES), "{reason}");
    let told = rest.send(Method::GET, &format!("{API}/readyz"), None).await?;
    ensure!(told.status == 503 && told.text.contains("PGW_GEOIP_FILE"), "{told:?}");
    ensure!(text(&rest.mapping(&bystander).await?, "state") == "APPLIED", "nothing was expected of this one");
    write_countries()?;
    rest.wait_state(&mapping, "APPLIED").await?;
    rest.wait_ready().await?;
    let proxy = rest.get(&format!("/v1/proxies/{squid}")).await?;
    ensure!(proxy.pointer("/health/country") == Some(&json!("DE")), "{proxy}");
    Ok(())
}

async fn an_exit_that_is_not_to_be_shared_is_left_by_one_device_at_a_time(mut lab: Lab) -> Result<()> {
    let ready = lab.gateway().await?;
    let rest = &ready.rest;
    lab.upstream(Kind::Squid).await?;
    let squid = rest.add_proxy(Kind::Squid).await?;
    let first = expecting(rest, C1, &squid, json!({ "exclusive": true })).await?;
    rest.wait_state(&first, "APPLIED").await?;
    let second = expecting(rest, C2, &squid, json!({})).await?;
    let reason = rest.wait_state(&second, "FAILED").await?;
    ensure!(reason.contains(&format!("used by {} ({}) already", C1.name, C1.ip)), "{reason}");
    ensure!(lab.seen_as(C2, "http://origin/").await.is_err(), "FAILED, and the origin was reached");
    ensure!(lab.seen_as(C1, "https://origin/").await? == Kind::Squid.ip().to_string());

    rest.delete(&format!("/v1/clients/{}?cascade=true", first.client)).await?;
    rest.wait_state(&second, "APPLIED").await?;
    eventually("the second device gets out", async || {
        Ok(lab.seen_as(C2, "https://origin/").await.ok().filter(|seen| *seen == Kind::Squid.ip().to_string()))
    })
    .await
    .map(drop)
}

//! What `/v1/explain` says is what a device meets, and what it says would have to change is
//! what opens (G3).

use anyhow::{Result, ensure};
use pgw_lab::Lab;
use pgw_lab::gateway::Program;
use pgw_lab::lab::eventually;
use pgw_lab::net::{C1, STRANGER};
use pgw_lab::rest::{Rest, text};
use pgw_lab::upstream::Kind;
use serde_json::{Value, json};

crate::tests![
    an_explanation_says_what_a_device_meets_and_what_would_open_it,
    without_an_agent_nobody_is_said_to_be_open_for_long,
];

async fn told(rest: &Rest, query: &str) -> Result<Value> {
    rest.get(&format!("/v1/explain?{query}")).await
}

/// Closed at this step, with this among what would have to change; and the origin is not reached.
async fn closed(lab: &Lab, rest: &Rest, step: &str, change: &str) -> Result<()> {
    let told = told(rest, "client=c1&host=origin&port=80").await?;
    ensure!(text(&told, "verdict") == "closed", "{told}");
    let steps = told.get("steps").and_then(Value::as_array).into_iter().flatten();
    let stops: Vec<&str> =
        steps.filter(|step| text(step, "passes") == "no").map(|found| text(found, "step")).collect();
    ensure!(stops == [step], "it stops at {stops:?}, not at {step}: {told}");
    let changes = told.get("what_would_have_to_change").map(ToString::to_string).unwrap_or_default();
    ensure!(changes.contains(change), "{changes} does not say {change:?}");
    ensure!(lab.seen_as(C1, "http://origin/").await.is_err(), "said to be closed, and open: {told}");
    Ok(())
}

async fn an_explanation_says_what_a_device_meets_and_what_would_open_it(mut lab: Lab) -> Result<()> {
    let ready = lab.gateway().await?;
    let rest = &ready.rest;
    let stranger = told(rest, &format!("client={}", STRANGER.ip)).await?;
    ensure!(text(&stranger, "verdict") == "not_registered", "{stranger}");

    let client = rest.add_client(C1).await?;
    closed(&lab, rest, "registered", "POST /v1/mappings").await?;
    lab.upstream(Kind::Squid).await?;
    let proxy = rest.add_proxy(Kind::Squid).await?;
    let mapping = rest.add_mapping(&client, &proxy, 1).await?;
    rest.wait_state(&mapping, "APPLIED").await?;

    let seen = lab.seen_as(C1, "http://origin/").await?;
    for who in [client.clone(), C1.ip.to_string(), C1.name.to_owned()] {
        let open = told(rest, &format!("client={who}&host=origin&port=80")).await?;
        ensure!(text(&open, "verdict") == "leaves_by", "{open}");
        let way = open.get("leaves_by").cloned().unwrap_or_default();
        ensure!(text(&way, "proxy") == "squid" && text(&way, "exit_ip") == seen, "seen as {seen}: {open}");
    }
    let ssh = told(rest, "client=c1&port=22").await?;
    ensure!(text(&ssh, "verdict") == "closed", "{ssh}");

    let path = format!("/v1/mappings/{}", mapping.id);
    rest.patch(&path, json!({ "enabled": false })).await?;
    closed(&lab, rest, "upstream", &format!("PATCH {path}")).await?;
    rest.patch(&path, json!({ "enabled": true })).await?;
    rest.wait_state(&mapping, "APPLIED").await?;

    lab.kill_upstream(Kind::Squid).await?;
    rest.wait_state(&mapping, "FAILED").await?;
    closed(&lab, rest, "upstream", "proxy squid must work again: the connection was refused").await
}

async fn without_an_agent_nobody_is_said_to_be_open_for_long(mut lab: Lab) -> Result<()> {
    let mut ready = lab.gateway().await?;
    lab.mapped(&ready, C1, &[Kind::Squid]).await?;
    ready.gateway.kill(Program::Agent).await?;
    eventually("the rule is not believed any more", async || {
        let told = told(&ready.rest, "client=c1&port=80").await?;
        match text(&told, "verdict") {
            "leaves_by" => Ok(None),
            "unconfirmed" => Ok(Some(())),
            _other => anyhow::bail!("{told}"),
        }
    })
    .await?;
    let seen = lab.seen_as(C1, "http://origin/").await?;
    ensure!(seen == Kind::Squid.ip().to_string(), "rules outlive their agent, and it is seen as {seen}");
    ready.gateway.start(Program::Agent).await?;
    eventually("the rule is confirmed again", async || {
        let told = told(&ready.rest, "client=c1&port=80").await?;
        Ok((text(&told, "verdict") == "leaves_by").then_some(()))
    })
    .await
}

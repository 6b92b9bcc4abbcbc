//! Reverse tunnels on a whole gateway: from the operator's word to a visitor's answer, with the firewall
//! that opens and closes, and with everything killed on the way (G30, G31, G32, G35, G37, G38).

use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Context as _, Result, ensure};
use pgw_lab::Lab;
use pgw_lab::command;
use pgw_lab::gateway::{self, Program};
use pgw_lab::home::{self, Home, SERVED};
use pgw_lab::lab::{Ready, eventually};
use pgw_lab::net::{C1, GATEWAY, GATEWAY_WAN};
use pgw_lab::rest::{API, Rest, id, text};
use pgw_lab::upstream::Kind;
use pgw_lab::vigil::Vigil;
use reqwest::Method;
use serde_json::{Value, json};

crate::tests![
    an_operators_tunnel_opens_when_it_is_verified_and_closes_at_a_word,
    what_a_client_asked_for_is_open_in_the_firewall_for_as_long_as_it_is_there,
    killed_one_after_the_other_the_programs_leave_tunnels_and_devices_as_they_were,
    a_machine_becomes_a_client_by_its_file_once,
    a_client_whose_cable_is_pulled_loses_its_port_and_gets_it_back,
    a_client_whose_address_changes_comes_back_by_itself,
    a_name_that_comes_to_mean_another_address_leads_nowhere_else,
    datagrams_of_any_length_come_through_whole_while_their_tunnel_is_open,
    a_document_opens_tunnels_and_the_gateways_filter_has_its_say,
    readiness_tells_of_a_daemon_that_somebody_needs,
];

const PORT: u16 = 12_345;
const DOWNLOADS: &str = "/run/lab/downloads";

async fn start(lab: &Lab) -> Result<(Ready, Home)> {
    let public = GATEWAY_WAN.to_string();
    let other = [("PGW_TUNNEL_PUBLIC", public.as_str()), ("PGW_TUNNEL_DOWNLOADS", DOWNLOADS)];
    let mut ready = lab.gateway_with(&other).await?;
    ready.gateway.start(Program::Tunneld).await?;
    Ok((ready, Home::build().await?))
}

/// A client that is known, and its token.
async fn add_client(rest: &Rest) -> Result<(String, String)> {
    let made = rest.post("/v1/tunnel-clients", json!({ "name": "home" })).await?;
    Ok((id(&made)?, text(&made, "token").to_owned()))
}

async fn online(rest: &Rest, client: &str, wanted: bool) -> Result<()> {
    let status = if wanted { "online" } else { "offline" };
    eventually(&format!("the client is {status}"), async || {
        // The API may be on its way back.
        let now = rest.get(&format!("/v1/tunnel-clients/{client}")).await.unwrap_or_default();
        Ok((text(&now, "status") == status).then_some(()))
    })
    .await
}

async fn state(rest: &Rest, tunnel: &str, wanted: &str) -> Result<Value> {
    let mut last = Value::Null;
    let waited = eventually(&format!("the tunnel is {wanted}"), async || {
        if let Ok(now) = rest.get(&format!("/v1/tunnels/{tunnel}")).await {
            last = now;
        }
        Ok((text(&last, "state") == wanted).then(|| last.clone()))
    })
    .await;
    waited.with_context(|| format!("it was last seen as {last}"))
}

/// An operator's, which needs no code.
async fn add_tunnel(rest: &Rest, client: &str) -> Result<String> {
    let tunnel = json!({
        "name": "ssh", "tunnel_client_id": client, "protocol": "tcp", "public_port": PORT,
        "local_host": "127.0.0.1", "local_port": SERVED, "verify": false,
    });
    id(&rest.post("/v1/tunnels", tunnel).await?)
}

/// What the kernel holds, as nft tells it.
async fn set_has(set: &str, port: u16) -> Result<bool> {
    let listed = command::ok(GATEWAY, &["nft", "list", "set", "inet", "pgw_filter", set]).await?;
    Ok(listed.contains(&port.to_string()))
}

async fn firewall_has(port: u16) -> Result<bool> {
    set_has("tunnel_tcp", port).await
}

async fn firewall(port: u16, open: bool) -> Result<()> {
    eventually(&format!("the firewall has {port}: {open}"), async || {
        Ok((firewall_has(port).await? == open).then_some(()))
    })
    .await
}

/// A visitor is answered; the firewall may be a moment behind the daemon.
async fn answered(port: u16) -> Result<()> {
    firewall(port, true).await?;
    eventually("a visitor is answered", async || Ok(home::is_answered(port).await.ok())).await
}

async fn an_operators_tunnel_opens_when_it_is_verified_and_closes_at_a_word(lab: Lab) -> Result<()> {
    let (ready, mut home) = start(&lab).await?;
    let rest = &ready.rest;
    let (client, token) = add_client(rest).await?;
    home.connect("home", &token, "")?;
    online(rest, &client, true).await?;
    let tunnel = json!({
        "name": "ssh", "tunnel_client_id": client, "protocol": "tcp", "public_port": PORT,
        "local_host": "127.0.0.1", "local_port": SERVED,
    });
    let made = rest.post("/v1/tunnels", tunnel).await?;
    let tunnel = id(&made)?;
    let code = made.pointer("/verification/code").and_then(Value::as_str).context("no code")?.to_owned();
    state(rest, &tunnel, "PENDING").await?;
    ensure!(!firewall_has(PORT).await?, "it is open before it was verified");
    // Whoever has the code needs no login; looking changes nothing.
    let page = format!("{API}/v1/verify/{code}");
    let stranger = Rest::new("nobody".to_owned())?;
    ensure!(stranger.send(Method::GET, &page, None).await?.status == 200);
    ensure!(text(&rest.get(&format!("/v1/tunnels/{tunnel}")).await?, "state") == "PENDING");
    let pressed = stranger.send(Method::POST, &page, None).await?;
    ensure!(pressed.status == 200, "{}", pressed.text);
    state(rest, &tunnel, "ACTIVE").await?;
    answered(PORT).await?;
    // Of the same range, and of no tunnel.
    ensure!(home::visitor(PORT + 1).await.is_err_and(|error| error.to_string().contains("nobody answered")));
    let mut guest = home::visitor(PORT).await?;
    home::say(&mut guest).await?;
    let closed = rest.send(Method::POST, &format!("{API}/v1/tunnels/{tunnel}/close"), None).await?;
    ensure!(closed.status == 200, "{}", closed.text);
    eventually("another program can have the port", async || {
        Ok(TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).ok().map(drop))
    })
    .await?;
    ensure!(home::say(&mut guest).await.is_err(), "a visitor is still there");
    firewall(PORT, false).await
}

async fn what_a_client_asked_for_is_open_in_the_firewall_for_as_long_as_it_is_there(lab: Lab) -> Result<()> {
    let (ready, mut home) = start(&lab).await?;
    let (client, token) = add_client(&ready.rest).await?;
    let port =
        format!("{{ remote_port: {PORT}, protocol: tcp, local_host: 127.0.0.1, local_port: {SERVED} }}");
    home.connect("home", &token, &port)?;
    answered(PORT).await?;
    home.kill().await?;
    online(&ready.rest, &client, false).await?;
    firewall(PORT, false).await?;
    home.connect("home", &token, &port)?;
    answered(PORT).await
}

async fn killed_one_after_the_other_the_programs_leave_tunnels_and_devices_as_they_were(
    mut lab: Lab,
) -> Result<()> {
    let (mut ready, mut home) = start(&lab).await?;
    let mapping = lab.mapped(&ready, C1, &[Kind::Squid]).await?.remove(0);
    let (client, token) = add_client(&ready.rest).await?;
    home.connect("home", &token, "")?;
    let tunnel = add_tunnel(&ready.rest, &client).await?;
    state(&ready.rest, &tunnel, "ACTIVE").await?;
    answered(PORT).await?;
    let vigil = Vigil::begin(C1).await?;
    // Without them a tunnel goes on, and new visitors come.
    for program in [Program::Api, Program::Agent] {
        ready.gateway.kill(program).await?;
        home::is_answered(PORT).await.with_context(|| format!("without {}", program.name()))?;
    }
    ready.gateway.start(Program::Agent).await?;
    ready.gateway.start(Program::Api).await?;
    ready.rest.wait_ready().await?;
    state(&ready.rest, &tunnel, "ACTIVE").await?;
    home::is_answered(PORT).await.context("after their return")?;
    // Without this one it does not, until it is back; the client was never touched.
    ready.gateway.kill(Program::Tunneld).await?;
    ensure!(home::is_answered(PORT).await.is_err());
    ready.gateway.start(Program::Tunneld).await?;
    online(&ready.rest, &client, true).await?;
    answered(PORT).await?;
    ensure!(home.is_connected_still()?, "the client has ended");
    ready.rest.wait_state(&mapping, "APPLIED").await?;
    vigil.end(&[Kind::Squid.ip()]).await
}

async fn a_machine_becomes_a_client_by_its_file_once(lab: Lab) -> Result<()> {
    let (ready, mut home) = start(&lab).await?;
    fs::create_dir_all(DOWNLOADS)?;
    let program = format!("{DOWNLOADS}/pgw-connect-linux-{}", std::env::consts::ARCH);
    fs::copy(gateway::path("pgw-connect")?, &program)?;
    let (client, token) = add_client(&ready.rest).await?;
    let tunnel = add_tunnel(&ready.rest, &client).await?;
    let path = format!("{API}/v1/tunnels/{tunnel}/client-file?os=linux");
    let file = ready.rest.send(Method::GET, &path, None).await?;
    ensure!(file.status == 200, "{}", file.text);
    ensure!(!file.text.contains(&token), "the token is in the file");
    let script = "/run/lab/home/connect.sh";
    fs::write(script, &file.text)?;
    home.run(&["sh", script])?;
    online(&ready.rest, &client, true).await?;
    state(&ready.rest, &tunnel, "ACTIVE").await?;
    answered(PORT).await?;
    // The same file on another machine: its code is used up.
    let words = ["env", "PGW_CONNECT_DIR=/run/lab/thief", "timeout", "8", "sh", script];
    let said = command::finish(home::HOME, &words, "").await?;
    ensure!(said.stderr.contains("enrol") || said.stdout.contains("enrol"), "{said:?}");
    home::is_answered(PORT).await.context("the one that came first")?;
    Ok(())
}

async fn a_client_whose_cable_is_pulled_loses_its_port_and_gets_it_back(lab: Lab) -> Result<()> {
    let (ready, mut home) = start(&lab).await?;
    let (client, token) = add_client(&ready.rest).await?;
    home.connect("home", &token, "")?;
    let tunnel = add_tunnel(&ready.rest, &client).await?;
    answered(PORT).await?;
    home.pull_cable().await?;
    // Nobody says so: it is the silence.
    state(&ready.rest, &tunnel, "OFFLINE").await?;
    firewall(PORT, false).await?;
    home.plug_in().await?;
    state(&ready.rest, &tunnel, "ACTIVE").await?;
    answered(PORT).await
}

/// G33.
async fn a_name_that_comes_to_mean_another_address_leads_nowhere_else(lab: Lab) -> Result<()> {
    let (ready, mut home) = start(&lab).await?;
    let (client, token) = add_client(&ready.rest).await?;
    let trap = home::trap()?;
    home::name_means("nas.home", Ipv4Addr::LOCALHOST)?;
    home.connect_with("home", &token, "allow: [127.0.0.1/32]")?;
    let tunnel = json!({
        "name": "nas", "tunnel_client_id": client, "protocol": "tcp", "public_port": PORT,
        "local_host": "nas.home", "local_port": SERVED, "verify": false,
    });
    let tunnel = id(&ready.rest.post("/v1/tunnels", tunnel).await?)?;
    state(&ready.rest, &tunnel, "ACTIVE").await?;
    answered(PORT).await?;
    home::name_means("nas.home", home::INSIDE)?;
    ensure!(home::is_answered(PORT).await.is_err(), "somebody else answers");
    ensure!(trap.accept().is_err_and(|error| error.kind() == ErrorKind::WouldBlock), "it was connected to");
    home::name_means("nas.home", Ipv4Addr::LOCALHOST)?;
    home::is_answered(PORT).await.context("it means what it meant before")
}

async fn datagrams_of_any_length_come_through_whole_while_their_tunnel_is_open(lab: Lab) -> Result<()> {
    let (ready, mut home) = start(&lab).await?;
    let rest = &ready.rest;
    let (client, token) = add_client(rest).await?;
    home.connect("home", &token, "")?;
    let tunnel = json!({
        "name": "voip", "tunnel_client_id": client, "protocol": "udp", "public_port": PORT,
        "local_host": "127.0.0.1", "local_port": SERVED, "verify": false,
    });
    let tunnel = id(&rest.post("/v1/tunnels", tunnel).await?)?;
    state(rest, &tunnel, "ACTIVE").await?;
    eventually("the firewall has it", async || Ok(set_has("tunnel_udp", PORT).await?.then_some(()))).await?;
    ensure!(!firewall_has(PORT).await?, "it is of UDP only");
    for length in [1, 1_200, 2_500, 9_000, 65_507] {
        home::is_echoed(PORT, length).await.with_context(|| format!("{length} bytes"))?;
    }
    let stats = rest.get(&format!("/v1/tunnels/{tunnel}/stats")).await?;
    ensure!(stats.pointer("/visitors/0/address").is_some(), "who is there is not told: {stats}");
    let closed = rest.send(Method::POST, &format!("{API}/v1/tunnels/{tunnel}/close"), None).await?;
    ensure!(closed.status == 200, "{}", closed.text);
    eventually(
        "the firewall has closed it",
        async || Ok((!set_has("tunnel_udp", PORT).await?).then_some(())),
    )
    .await?;
    ensure!(home::is_echoed(PORT, 1).await.is_err(), "it is still open");
    Ok(())
}

async fn a_document_opens_tunnels_and_the_gateways_filter_has_its_say(lab: Lab) -> Result<()> {
    let mut ready = lab.gateway_with(&[("PGW_TUNNEL_DENY", "172.31.0.0/24")]).await?;
    ready.gateway.start(Program::Tunneld).await?;
    let mut home = Home::build().await?;
    let rest = &ready.rest;
    let (client, token) = add_client(rest).await?;
    home.connect("home", &token, "")?;
    online(rest, &client, true).await?;
    let to = |name: &str, port: u16, host: &str| {
        json!({"name": name, "protocol": "tcp", "public_port": port, "local_host": host, "local_port": SERVED,
               "verify": false})
    };
    let tunnels = [to("echo", PORT, "127.0.0.1"), to("router", PORT + 1, "172.31.0.1")];
    let document = json!({"version": 1, "tunnel_clients": [{"name": "home", "tunnels": tunnels}]});
    let applied = apply(rest, document).await?;
    ensure!(
        applied.pointer("/plan/create").and_then(Value::as_array).is_some_and(|made| made.len() == 2),
        "{applied}"
    );
    answered(PORT).await?;
    let listed = rest.get("/v1/tunnels?sort=name").await?;
    let told =
        |at: usize, field: &str| listed.pointer(&format!("/items/{at}/{field}")).cloned().unwrap_or_default();
    ensure!(told(0, "state") == "ACTIVE" && told(1, "state") == "FAILED", "{listed}");
    ensure!(told(1, "reason").as_str().is_some_and(|reason| reason.contains("filter")), "{listed}");
    apply(rest, json!({"version": 1, "tunnel_clients": []})).await?;
    firewall(PORT, false).await?;
    let gone = rest.send(Method::GET, &format!("{API}/v1/tunnel-clients/{client}"), None).await?;
    ensure!(gone.status == 404, "{}", gone.text);
    Ok(())
}

async fn apply(rest: &Rest, document: Value) -> Result<Value> {
    let answer = rest.send(Method::POST, &format!("{API}/v1/apply"), Some(&document)).await?;
    ensure!(answer.status == 200, "{}", answer.text);
    Ok(answer.body)
}

async fn a_client_whose_address_changes_comes_back_by_itself(lab: Lab) -> Result<()> {
    let (ready, mut home) = start(&lab).await?;
    let (client, token) = add_client(&ready.rest).await?;
    home.connect("home", &token, "")?;
    let tunnel = add_tunnel(&ready.rest, &client).await?;
    state(&ready.rest, &tunnel, "ACTIVE").await?;
    answered(PORT).await?;
    let session = async || {
        let sessions = ready.rest.get(&format!("/v1/tunnel-clients/{client}/sessions")).await?;
        Ok::<_, anyhow::Error>(sessions.pointer("/items/0/id").cloned().unwrap_or_default())
    };
    let before = session().await?;
    home.change_address().await?;
    eventually("it has come in anew", async || Ok((session().await? != before).then_some(()))).await?;
    state(&ready.rest, &tunnel, "ACTIVE").await?;
    answered(PORT).await?;
    ensure!(home.is_connected_still()?, "the client has ended");
    Ok(())
}

async fn readiness_tells_of_a_daemon_that_somebody_needs(lab: Lab) -> Result<()> {
    let mut ready = lab.gateway().await?;
    let says = async |status: u16| {
        eventually(&format!("/readyz says {status}"), async || {
            let answer = ready.rest.send(Method::GET, &format!("{API}/readyz"), None).await?;
            Ok((answer.status == status).then_some(answer.text))
        })
        .await
    };
    says(200).await.context("nobody needs it")?;
    add_client(&ready.rest).await?;
    let told = says(503).await?;
    ensure!(told.contains("the tunnel daemon does not answer"), "{told}");
    ready.gateway.start(Program::Tunneld).await?;
    says(200).await.context("it is there").map(drop)
}

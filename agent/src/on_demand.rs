//! `pgw-agent drill`: the running agent is asked, so that its status knows. If none runs, the
//! rules are there all the same, and are tried from here.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use pgw_agent::api::{internal_token, internal_token_file};
use pgw_agent::drill::Range;
use pgw_agent::nft::kernel::Nft;
use pgw_core::drill::{Drill, Outcome};
use pgw_core::settings::AgentSettings;

const LEAKED: u8 = 1;
const NOT_RUN: u8 = 2;
/// Longer than a drill.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) async fn drill(settings: &AgentSettings) -> anyhow::Result<ExitCode> {
    let drill = match asked(settings).await {
        Ok(Some(drill)) => Ok(drill),
        Ok(None) => here(settings).await,
        Err(error) => Err(error),
    };
    let (text, code) = match drill {
        Ok(drill) => (in_words(&drill), exit_code(&drill)),
        Err(error) => (format!("the drill could not be run: {error:#}\n"), NOT_RUN),
    };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(ExitCode::from(code))
}

/// None: there is no agent to be asked.
async fn asked(settings: &AgentSettings) -> anyhow::Result<Option<Drill>> {
    let token = match &settings.admin_token {
        Some(token) => token.clone(),
        None => match internal_token(&internal_token_file(&settings.state_dir)).await {
            Ok(token) => token,
            Err(error) => {
                tracing::debug!(%error, "no running agent is asked");
                return Ok(None);
            }
        },
    };
    let url = format!("http://{}/agent/drill", reachable(settings.listen));
    let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build()?;
    let answer = match client.post(url).bearer_auth(token.expose()).send().await {
        Ok(answer) => answer,
        Err(error) if error.is_connect() => return Ok(None),
        Err(error) => return Err(error).context("the running agent does not answer"),
    };
    let status = answer.status();
    let body = answer.bytes().await.context("the running agent broke off")?;
    anyhow::ensure!(
        status.is_success(),
        "the running agent answered {status}: {}",
        String::from_utf8_lossy(&body)
    );
    serde_json::from_slice(&body).map(Some).context("the running agent's answer cannot be read")
}

async fn here(settings: &AgentSettings) -> anyhow::Result<Drill> {
    Ok(Range::new(settings, Arc::new(Nft::default())).drill().await?)
}

/// Who listens everywhere listens on the loopback interface, too.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

fn exit_code(drill: &Drill) -> u8 {
    match drill.outcome {
        Some(Outcome::Closed) => 0,
        Some(Outcome::Leaked) => LEAKED,
        Some(Outcome::NotRun) | None => NOT_RUN,
    }
}

fn in_words(drill: &Drill) -> String {
    let mut text = match (drill.outcome, drill.last_at) {
        (Some(Outcome::Closed), Some(at)) => format!("proven closed at {at}: {}\n", drill.detail),
        (Some(Outcome::Leaked), Some(at)) => format!("LEAKED at {at}: {}\n", drill.detail),
        _ => format!("{}\n", drill.detail),
    };
    for kind in &drill.kinds {
        let told = match &kind.not_tried {
            Some(why) => format!("not tried: {why}"),
            None => format!(
                "{} sent, {} met the rules, {} came out; of what nobody closes, {} came out",
                kind.sent, kind.met, kind.leaked, kind.control
            ),
        };
        // Writing to a String cannot fail.
        let _infallible = writeln!(text, "  {:<15} {told}", kind.kind);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_proven_closed_ends_well() {
        let with = |outcome| exit_code(&Drill { outcome, ..Drill::default() });
        let all = [Some(Outcome::Closed), Some(Outcome::Leaked), Some(Outcome::NotRun), None];
        assert_eq!(all.map(with), [0, 1, 2, 2]);
    }

    #[test]
    fn an_agent_that_listens_everywhere_is_reached_on_loopback() {
        for (listen, want) in
            [("0.0.0.0:9090", "127.0.0.1:9090"), ("[::]:9090", "[::1]:9090"), ("10.0.0.1:1", "10.0.0.1:1")]
        {
            assert_eq!(reachable(listen.parse().unwrap()).to_string(), want);
        }
    }
}

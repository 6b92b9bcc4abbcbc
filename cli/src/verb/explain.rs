//! `pgw explain tv shop.example:443`: why a device gets out, or does not.

use clap::Args;
use reqwest::Method;
use serde_json::Value;

use crate::desk::Desk;
use crate::error::Error;
use crate::gateway::{Gateway, field};
use crate::noun::client::CLIENT;
use crate::table::{Column, state, text};
use crate::words::plain;

const STEPS: &[Column] = &[text("STEP", "/step"), state("PASSES", "/passes"), text("DETAIL", "/detail")];
const UPSTREAMS: &[Column] = &[
    text("PROXY", "/proxy"),
    text("PRIORITY", "/priority"),
    state("STATE", "/state"),
    state("HEALTH", "/health/status"),
    text("WHY", "/why"),
];

#[derive(Args)]
pub(crate) struct Explain {
    /// Its name, its address or its id
    client: String,
    /// Where to, as shop.example or shop.example:443; without it, anywhere beyond the gateway
    destination: Option<String>,
    /// The port, if the destination does not say it
    #[arg(long)]
    port: Option<u16>,
}

impl Explain {
    pub(crate) async fn run(self, gateway: &Gateway, desk: &mut Desk) -> Result<(), Error> {
        let (host, port) = self.destination.as_deref().map(parted).unwrap_or_default();
        let port = port.or_else(|| self.port.map(|port| port.to_string()));
        let client = known_as(gateway, &self.client).await?;
        let call = gateway.call(Method::GET, "/v1/explain").query("client", Some(client));
        let told = call.query("host", host).query("port", port).value().await?;
        if desk.is_script() {
            return desk.value(&told);
        }
        let verdict = field(&told, "verdict");
        desk.line(&desk.colour(&plain(field(&told, "summary")), verdict))?;
        let listed = |name: &str| told.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
        for (name, columns) in [("steps", STEPS), ("upstreams", UPSTREAMS)] {
            let rows = listed(name);
            if !rows.is_empty() {
                desk.line("")?;
                desk.list(rows, columns)?;
            }
        }
        let changes = listed("what_would_have_to_change");
        if !changes.is_empty() {
            desk.line("\nWhat would have to change:")?;
        }
        for change in changes {
            desk.line(&format!("  - {}", plain(change.as_str().unwrap_or_default())))?;
        }
        Ok(())
    }
}

/// An address that nobody registered is asked for as it is: the answer is about strangers, too.
async fn known_as(gateway: &Gateway, word: &str) -> Result<String, Error> {
    match CLIENT.find(gateway, word).await {
        Ok(client) => Ok(field(&client, "id").to_owned()),
        Err(error) if error.is_not_found() && word.parse::<std::net::Ipv4Addr>().is_ok() => {
            Ok(word.to_owned())
        }
        Err(error) => Err(error),
    }
}

fn parted(text: &str) -> (Option<String>, Option<String>) {
    match text.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && !host.contains(':') && port.parse::<u16>().is_ok() => {
            (Some(host.to_owned()), Some(port.to_owned()))
        }
        _ => (Some(text.to_owned()), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_may_have_a_port_and_an_ipv6_address_is_not_taken_for_one() {
        for (text, host, port) in [
            ("shop.example", "shop.example", None),
            ("shop.example:8443", "shop.example", Some("8443")),
            ("203.0.113.1:80", "203.0.113.1", Some("80")),
            ("2001:db8::1", "2001:db8::1", None),
            ("shop:x", "shop:x", None),
        ] {
            assert_eq!(parted(text), (Some(host.to_owned()), port.map(str::to_owned)), "{text}");
        }
    }
}

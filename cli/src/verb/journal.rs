//! `pgw journal`: what happened, and where a device got out at a time.

use clap::Args;
use jiff::{Timestamp, ToSpan as _};
use pgw_core::settings::parse_duration;
use reqwest::Method;
use serde_json::Value;

use crate::desk::Desk;
use crate::error::Error;
use crate::gateway::{Gateway, field};
use crate::noun::client::CLIENT;
use crate::noun::proxy::PROXY;
use crate::words::plain;

#[derive(Args)]
pub(crate) struct Journal {
    /// Only what concerns this device
    #[arg(long)]
    client: Option<String>,
    /// Only what concerns this proxy
    #[arg(long)]
    proxy: Option<String>,
    /// Only these, such as change or drift; may be said several times
    #[arg(long = "kind", value_name = "KIND")]
    kinds: Vec<String>,
    /// Only what somebody wanted, such as "user alice"
    #[arg(long)]
    by: Option<String>,
    /// From then on: a time as 2026-11-21T14:03:00Z, or 2h for two hours ago
    #[arg(long, value_parser = moment)]
    from: Option<Timestamp>,
    /// Until then
    #[arg(long, value_parser = moment)]
    to: Option<Timestamp>,
    /// Where the device got out at that time, since when, and why
    #[arg(long, value_parser = moment, requires = "client", conflicts_with_all = ["proxy", "kinds", "by", "from", "to", "count"])]
    at: Option<Timestamp>,
    /// The last so many
    #[arg(short = 'n', long, value_name = "COUNT", default_value = "50", value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,
}

/// A time, or how long ago it was.
fn moment(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    let wrong = || "a time as 2026-11-21T14:03:00Z, or how long ago, as 30m or 2h".to_owned();
    let ago = parse_duration(text).and_then(|ago| i64::try_from(ago.as_millis()).ok()).ok_or_else(wrong)?;
    Timestamp::now().checked_sub(ago.milliseconds()).map_err(|_too_long_ago| wrong())
}

impl Journal {
    pub(crate) async fn run(self, gateway: &Gateway, desk: &mut Desk) -> Result<(), Error> {
        let client_id = match &self.client {
            Some(word) => Some(field(&CLIENT.find(gateway, word).await?, "id").to_owned()),
            None => None,
        };
        if let Some(at) = self.at {
            let call = gateway.call(Method::GET, "/v1/journal").query("client_id", client_id);
            let then = call.query("at", Some(at.to_string())).value().await?;
            return if desk.is_script() { desk.value(&then) } else { exit_then(desk, &then) };
        }
        let proxy_id = match &self.proxy {
            Some(word) => Some(field(&PROXY.find(gateway, word).await?, "id").to_owned()),
            None => None,
        };
        let query = [
            ("client_id", client_id),
            ("proxy_id", proxy_id),
            ("kind", (!self.kinds.is_empty()).then(|| self.kinds.join(","))),
            ("by", self.by),
            ("from", self.from.map(|time| time.to_string())),
            ("to", self.to.map(|time| time.to_string())),
        ];
        let most = usize::try_from(self.count).unwrap_or(usize::MAX);
        let mut events = gateway.all("/v1/journal", &query, most).await?;
        if desk.is_script() {
            return desk.value(&Value::Array(events));
        }
        // The newest last: there the eye is.
        events.reverse();
        for event in events {
            desk.line(&told(&event))?;
        }
        Ok(())
    }
}

fn exit_then(desk: &mut Desk, then: &Value) -> Result<(), Error> {
    let since = plain(field(then, "since"));
    let way = |name: &str| then.pointer(&format!("/exit/{name}")).and_then(Value::as_str).map(plain);
    let sentence = match (way("proxy"), way("exit_ip"), way("country")) {
        (Some(proxy), Some(ip), Some(country)) => {
            format!("open by {proxy}, seen as {ip} ({country}), since {since}")
        }
        (Some(proxy), Some(ip), None) => format!("open by {proxy}, seen as {ip}, since {since}"),
        (Some(proxy), None, _) => format!("open by {proxy}, since {since}"),
        (None, ..) => format!("closed, since {since}"),
    };
    desk.line(&sentence)?;
    if let Some(because) = then.get("because") {
        desk.line(&format!("because: {}", told(because)))?;
    }
    if let Some(before) = then.get("before").filter(|before| !before.is_null()) {
        desk.line(&format!("before:  {}", told(before)))?;
    }
    match then.get("unwatched").filter(|gap| !gap.is_null()) {
        Some(gap) => {
            let (from, to) = (plain(field(gap, "from")), plain(field(gap, "to")));
            desk.line(&format!("nobody watched from {from} to {to}: what happened then is not known"))
        }
        None => Ok(()),
    }
}

/// One event on one line.
pub(super) fn told(event: &Value) -> String {
    let data = event.get("data").unwrap_or(&Value::Null);
    let say = |name: &str| match data.get(name) {
        Some(Value::String(text)) => plain(text),
        Some(Value::Null) | None => String::new(),
        Some(Value::Array(words)) => {
            words.iter().filter_map(Value::as_str).map(plain).collect::<Vec<_>>().join(" ")
        }
        Some(other) => plain(&other.to_string()),
    };
    let because = |words: String| if words.is_empty() { words } else { format!(": {words}") };
    let what = match field(event, "kind") {
        "mapping.state" => {
            format!(
                "{} by {} {} → {}{}",
                say("client"),
                say("proxy"),
                say("from"),
                say("to"),
                because(say("reason"))
            )
        }
        "client.exit" if data.get("open") == Some(&Value::Bool(true)) => {
            format!("open by {}, seen as {}{}", say("proxy"), say("exit_ip"), because(say("reason")))
        }
        "client.exit" => format!("closed{}", because(say("reason"))),
        "proxy.health" => {
            format!("{} {} → {}{}", say("proxy"), say("from"), say("to"), because(say("error")))
        }
        "forwarder" => format!("port {} {}{}", say("port"), say("state"), because(say("detail"))),
        "agent" | "gateway" => format!("{}{}", say("state"), because(say("detail"))),
        "drill" => format!("{}{}", say("outcome"), because(say("detail"))),
        "change" => {
            format!("{} {} {}{}", say("what"), say("name"), say("action"), because(say("fields")))
        }
        "tunnel.state" => {
            format!(
                "{} of {} {} → {}{}",
                say("tunnel"),
                say("client"),
                say("from"),
                say("to"),
                because(say("reason"))
            )
        }
        "tunnel.client" => format!("{} {}{}", say("client"), say("state"), because(say("reason"))),
        _ => plain(&data.to_string()),
    };
    let by = match field(event, "by") {
        "" => String::new(),
        somebody => format!(" ({})", plain(somebody)),
    };
    format!("{:24}  {:13}  {what}{by}", plain(field(event, "at")), plain(field(event, "kind")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const AT: &str = "2026-11-21T14:03:00.123Z";

    #[test]
    fn an_event_is_one_line_whatever_it_holds() {
        let state = json!({"at": AT, "kind": "mapping.state", "by": "user alice", "data": {"client": "tv",
            "proxy": "de1", "from": "PENDING", "to": "APPLIED", "reason": "open\nthrough de1"}});
        assert_eq!(
            told(&state),
            "2026-11-21T14:03:00.123Z  mapping.state  tv by de1 PENDING → APPLIED: open\u{fffd}through de1 (user alice)"
        );
        let closed =
            json!({"at": AT, "kind": "client.exit", "data": {"open": false, "reason": "de1 is down"}});
        assert_eq!(told(&closed), "2026-11-21T14:03:00.123Z  client.exit    closed: de1 is down");
        let new = json!({"at": AT, "kind": "later", "data": {"a": 1}});
        assert_eq!(told(&new), "2026-11-21T14:03:00.123Z  later          {\"a\":1}");
        let change = json!({"at": AT, "kind": "change", "data": {"what": "proxy", "name": "de1", "action": "updated",
            "fields": ["port", "note"]}});
        assert!(told(&change).ends_with("change         proxy de1 updated: port note"), "{}", told(&change));
        assert!(!told(&json!({})).contains('\n'));
    }

    #[test]
    fn a_moment_is_a_time_or_how_long_ago_it_was() {
        assert_eq!(moment("2026-11-21T14:03:00Z").unwrap().to_string(), "2026-11-21T14:03:00Z");
        assert!(moment("2h").unwrap() < Timestamp::now());
        assert!(moment("yesterday").is_err());
    }
}

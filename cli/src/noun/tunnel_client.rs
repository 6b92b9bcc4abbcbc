//! `pgw tunnel-client`: machines elsewhere that offer what they have by this gateway's ports.

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use super::token::tell_once;
use super::{Fields, ListArgs, Switch, bound, only};
use crate::desk::Desk;
use crate::error::Error;
use crate::gateway::{Gateway, field};
use crate::named::{Noun, nothing_else};
use crate::table::{Column, list, millis, size, state, text, time, yes_no};
use crate::words::plain;

pub(crate) const TUNNEL_CLIENT: Noun = Noun {
    word: "tunnel-client",
    path: "/v1/tunnel-clients",
    searched: true,
    single: true,
    also: nothing_else,
};

const LIST: &[Column] = &[
    text("NAME", "/name"),
    state("STATUS", "/status"),
    text("ADDRESS", "/address"),
    millis("RTT", "/rtt_ms"),
    text("TUNNELS", "/tunnels"),
    list("PORTS", "/allowed_ports"),
    yes_no("ON", "/enabled"),
    time("SEEN", "/last_seen"),
    text("NOTE", "/note"),
];

const SHEET: &[Column] = &[
    text("NAME", "/name"),
    text("ID", "/id"),
    state("STATUS", "/status"),
    text("ADDRESS", "/address"),
    text("VERSION", "/version"),
    text("CARRIER", "/carrier"),
    millis("RTT", "/rtt_ms"),
    time("SEEN", "/last_seen"),
    yes_no("ENROLLED", "/enrolled"),
    yes_no("ON", "/enabled"),
    text("TUNNELS", "/tunnels"),
    list("PORTS", "/allowed_ports"),
    text("MOST TUNNELS", "/max_tunnels"),
    text("MOST CONNECTIONS", "/max_connections"),
    text("BANDWIDTH", "/bandwidth"),
    text("GATEWAY", "/gateway"),
    text("NOTE", "/note"),
    time("CREATED", "/created_at"),
];

pub(super) const SESSIONS: &[Column] = &[
    time("STARTED", "/started_at"),
    time("ENDED", "/ended_at"),
    text("ADDRESS", "/address"),
    text("CARRIER", "/carrier"),
    size("IN", "/bytes_in"),
    size("OUT", "/bytes_out"),
    text("CONNECTIONS", "/connections"),
    text("REASON", "/reason"),
];

#[derive(Subcommand)]
pub(crate) enum TunnelClient {
    /// Shows all of them
    #[command(visible_alias = "ls")]
    List(ListArgs),
    /// Shows one
    Show { client: String },
    /// Adds one and writes its token, once, to standard output
    Add {
        name: String,
        #[command(flatten)]
        about: About,
    },
    /// Changes one; what is not said stays
    Edit {
        client: String,
        /// Another name
        #[arg(long)]
        name: Option<String>,
        #[command(flatten)]
        about: About,
        #[command(flatten)]
        switch: Switch,
    },
    /// Removes some
    Rm {
        #[arg(required = true)]
        clients: Vec<String>,
        /// With their tunnels
        #[arg(long)]
        cascade: bool,
    },
    /// Makes another token; the old one ends at once
    Token { client: String },
    /// Makes a code for one use, and says what to type on the client's machine
    Enrol { client: String },
    /// Ends its session; it may come back
    Disconnect { client: String },
    /// Shows when it was there
    Sessions { client: String },
}

#[derive(Args)]
pub(crate) struct About {
    /// A public port that it may have, or several as 12010-12020, or all; may be said several times
    #[arg(long = "allow", value_name = "PORTS")]
    allowed: Vec<String>,
    /// A word about it
    #[arg(long)]
    note: Option<String>,
    /// Tunnels at most
    #[arg(long, value_name = "COUNT")]
    max_tunnels: Option<u32>,
    /// Connections at most
    #[arg(long, value_name = "COUNT")]
    max_connections: Option<u32>,
    /// Bytes per second at most, or none
    #[arg(long, value_name = "BYTES", value_parser = bound)]
    bandwidth: Option<Value>,
}

impl About {
    fn fields(self) -> Fields {
        let ports = only(self.allowed, |ports| match ports.parse::<u16>() {
            Ok(one) => json!(one),
            Err(_a_range) => json!(ports),
        });
        let mut fields = Fields::default();
        fields
            .set("allowed_ports", ports)
            .set("note", self.note)
            .set("max_tunnels", self.max_tunnels)
            .set("max_connections", self.max_connections)
            .set("bandwidth", self.bandwidth);
        fields
    }
}

impl TunnelClient {
    pub(crate) async fn run(self, gateway: &Gateway, desk: &mut Desk) -> Result<(), Error> {
        match self {
            Self::List(args) => TUNNEL_CLIENT.list(gateway, desk, &args, LIST).await,
            Self::Show { client } => TUNNEL_CLIENT.show(gateway, desk, &client, SHEET).await,
            Self::Add { name, about } => {
                let mut fields = about.fields();
                fields.set("name", Some(name));
                let made = gateway.post(TUNNEL_CLIENT.path, &fields.into_new()).await?;
                let sentence =
                    format!("{} is added; its token is shown this once:", TUNNEL_CLIENT.called(&made));
                tell_once(desk, &made, "token", &sentence)
            }
            Self::Edit { client, name, about, switch } => {
                let mut fields = about.fields();
                fields.set("name", name).set("enabled", switch.wanted());
                TUNNEL_CLIENT.change(gateway, desk, &client, fields).await
            }
            Self::Rm { clients, cascade } => TUNNEL_CLIENT.remove(gateway, desk, &clients, cascade).await,
            Self::Token { client } => {
                let (client, made) = post(gateway, &client, "token").await?;
                let sentence =
                    format!("the new token of {}, shown this once:", TUNNEL_CLIENT.called(&client));
                tell_once(desk, &made, "token", &sentence)
            }
            Self::Enrol { client } => {
                let (client, made) = post(gateway, &client, "enrolment").await?;
                let until = plain(field(&made, "expires_at"));
                let sentence = format!("on {}, once, before {until}:", TUNNEL_CLIENT.called(&client));
                tell_once(desk, &made, "command", &sentence)
            }
            Self::Disconnect { client } => {
                let (client, _nothing) = post(gateway, &client, "disconnect").await?;
                desk.done(&client, &format!("{} is disconnected", TUNNEL_CLIENT.called(&client)))
            }
            Self::Sessions { client } => {
                let client = TUNNEL_CLIENT.find(gateway, &client).await?;
                let path = TUNNEL_CLIENT.at(&client, "sessions");
                desk.list(gateway.all(&path, &[], usize::MAX).await?, SESSIONS)
            }
        }
    }
}

async fn post(gateway: &Gateway, word: &str, what: &str) -> Result<(Value, Value), Error> {
    let client = TUNNEL_CLIENT.find(gateway, word).await?;
    let answer = gateway.call(Method::POST, &TUNNEL_CLIENT.at(&client, what)).value().await?;
    Ok((client, answer))
}

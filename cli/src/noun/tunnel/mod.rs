//! `pgw tunnel`: what tunnel clients offer by this gateway's ports.

mod about;
mod client_file;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use super::tunnel_client::{SESSIONS, TUNNEL_CLIENT};
use super::{ListArgs, Switch};
use crate::desk::Desk;
use crate::error::Error;
use crate::gateway::{Gateway, field};
use crate::named::Noun;
use crate::table::{Column, list, size, state, text, time, yes_no};
use crate::words::plain;

use about::About;

const TUNNEL: Noun = Noun {
    word: "tunnel",
    path: "/v1/tunnels",
    searched: true,
    single: true,
    also: |tunnel| {
        tunnel.get("public_port").and_then(Value::as_u64).map(|port| port.to_string()).into_iter().collect()
    },
};

const LIST: &[Column] = &[
    text("NAME", "/name"),
    text("CLIENT", "/tunnel_client"),
    text("PROTOCOL", "/protocol"),
    text("PORT", "/public_port"),
    text("HOST", "/host"),
    text("TO", "/local_host"),
    text("LOCAL", "/local_port"),
    state("STATE", "/state"),
    text("ACTIVE", "/active"),
    size("IN", "/bytes_in"),
    size("OUT", "/bytes_out"),
    text("REASON", "/reason"),
];

const SHEET: &[Column] = &[
    text("NAME", "/name"),
    text("ID", "/id"),
    text("CLIENT", "/tunnel_client"),
    text("PROTOCOL", "/protocol"),
    text("PUBLIC PORT", "/public_port"),
    text("HOST", "/host"),
    text("PATH", "/path"),
    text("HEADER", "/header"),
    text("LOCAL HOST", "/local_host"),
    text("LOCAL PORT", "/local_port"),
    text("ORIGIN", "/origin"),
    yes_no("ON", "/enabled"),
    yes_no("VERIFIED", "/verified"),
    state("STATE", "/state"),
    text("REASON", "/reason"),
    text("BANDWIDTH", "/bandwidth"),
    text("MOST CONNECTIONS", "/max_connections"),
    text("MOST PER VISITOR", "/max_per_visitor"),
    text("REQUESTS A MINUTE", "/requests_per_minute"),
    list("VISITORS", "/visitor_allow"),
    list("LOGINS", "/basic_auth"),
    yes_no("COMPRESSION", "/compression"),
    yes_no("PROXY PROTOCOL", "/proxy_protocol"),
    text("UDP IDLE S", "/udp_idle_s"),
    size("IN", "/bytes_in"),
    size("OUT", "/bytes_out"),
    text("CONNECTIONS", "/connections"),
    text("ACTIVE", "/active"),
    time("CREATED", "/created_at"),
];

const VISITORS: &[Column] = &[
    text("VISITOR", "/address"),
    time("SINCE", "/since"),
    size("IN", "/bytes_in"),
    size("OUT", "/bytes_out"),
];

const STATS: &[Column] = &[
    size("IN", "/bytes_in"),
    size("OUT", "/bytes_out"),
    text("CONNECTIONS", "/connections"),
    text("ACTIVE", "/active"),
];

#[derive(Subcommand)]
pub(crate) enum Tunnel {
    /// Shows all of them
    #[command(visible_alias = "ls")]
    List {
        #[command(flatten)]
        list: ListArgs,
        /// Only PENDING, ACTIVE, OFFLINE or FAILED ones
        #[arg(long, ignore_case = true, value_parser = ["PENDING", "ACTIVE", "OFFLINE", "FAILED"])]
        state: Option<String>,
        /// Only those of this tunnel client
        #[arg(long)]
        client: Option<String>,
    },
    /// Shows one
    Show { tunnel: String },
    /// Adds one: it opens once it is verified
    Add(Add),
    /// Changes one; what is not said stays
    Edit {
        tunnel: String,
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
        tunnels: Vec<String>,
    },
    /// Closes one, and keeps it
    Close { tunnel: String },
    /// Shows what it carries, and who visits it
    Stats { tunnel: String },
    /// Shows when its client was there
    Sessions { tunnel: String },
    /// Opens one with its code; without one, makes another code
    Verify { tunnel: String, code: Option<String> },
    /// Writes a script that connects the tunnel's client, with a code for one use in it
    ClientFile {
        tunnel: String,
        /// windows, linux or macos
        #[arg(long, value_parser = ["windows", "linux", "macos"])]
        os: String,
        /// Where to; - is standard output
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
    },
}

#[derive(Args)]
#[command(mut_arg("to", |to| to.required(true)))]
pub(crate) struct Add {
    /// What it is to be called
    name: String,
    /// The tunnel client that offers it; --to says what
    client: String,
    /// tcp, udp, both or http
    #[arg(value_parser = ["tcp", "udp", "both", "http"])]
    protocol: String,
    #[command(flatten)]
    about: About,
    /// Opens it without verification; for admins
    #[arg(long)]
    no_verify: bool,
}

impl Tunnel {
    pub(crate) async fn run(self, gateway: &Gateway, desk: &mut Desk) -> Result<(), Error> {
        match self {
            Self::List { list, state, client } => {
                let mut query = list.query().to_vec();
                query.push(("state", state.map(|state| state.to_uppercase())));
                if let Some(word) = client {
                    let client = TUNNEL_CLIENT.find(gateway, &word).await?;
                    query.push(("tunnel_client_id", Some(field(&client, "id").to_owned())));
                }
                desk.list(gateway.all(TUNNEL.path, &query, list.most()).await?, LIST)
            }
            Self::Show { tunnel } => TUNNEL.show(gateway, desk, &tunnel, SHEET).await,
            Self::Add(add) => add.run(gateway, desk).await,
            Self::Edit { tunnel, name, about, switch } => {
                let mut fields = about.fields(desk)?;
                fields.set("name", name).set("enabled", switch.wanted());
                TUNNEL.change(gateway, desk, &tunnel, fields).await
            }
            Self::Rm { tunnels } => TUNNEL.remove(gateway, desk, &tunnels, false).await,
            Self::Close { tunnel } => {
                let tunnel = TUNNEL.find(gateway, &tunnel).await?;
                let now = gateway.call(Method::POST, &TUNNEL.at(&tunnel, "close")).value().await?;
                desk.done(&now, &format!("{} is closed", TUNNEL.called(&tunnel)))
            }
            Self::Stats { tunnel } => stats(gateway, desk, &tunnel).await,
            Self::Sessions { tunnel } => {
                let path = TUNNEL.at(&TUNNEL.find(gateway, &tunnel).await?, "sessions");
                desk.list(gateway.all(&path, &[], usize::MAX).await?, SESSIONS)
            }
            Self::Verify { tunnel, code } => verify(gateway, desk, &tunnel, code).await,
            Self::ClientFile { tunnel, os, to } => client_file::write(gateway, desk, &tunnel, os, &to).await,
        }
    }
}

impl Add {
    async fn run(self, gateway: &Gateway, desk: &mut Desk) -> Result<(), Error> {
        let client = TUNNEL_CLIENT.find(gateway, &self.client).await?;
        let mut fields = self.about.fields(desk)?;
        fields
            .set("name", Some(self.name))
            .set("tunnel_client_id", Some(field(&client, "id")))
            .set("protocol", Some(self.protocol))
            .set("verify", self.no_verify.then_some(false));
        let made = gateway.post(TUNNEL.path, &fields.into_new()).await?;
        let port = made.get("public_port").filter(|port| !port.is_null());
        let by = port.map(|port| format!(", by port {port}")).unwrap_or_default();
        desk.done(&made, &format!("{} is added{by}", TUNNEL.called(&made)))?;
        if let Some(verification) = made.get("verification").filter(|told| !told.is_null()) {
            tell_code(desk, field(&made, "id"), verification);
        }
        Ok(())
    }
}

/// Beside the answer: a script finds it in there.
fn tell_code(desk: &mut Desk, id: &str, verification: &Value) {
    if desk.is_script() {
        return;
    }
    let told = |name: &str| plain(field(verification, name));
    // By its id, which can be pasted: a name may have anything in it. Where the pages are is not known here:
    // they have another port than the API, and maybe another name.
    desk.note(&format!(
        "it opens once it is verified, before {}: pgw tunnel verify {} {}, or {} of the gateway's pages (usually port 8081)",
        told("expires_at"),
        plain(id),
        told("code"),
        told("url"),
    ));
}

async fn stats(gateway: &Gateway, desk: &mut Desk, word: &str) -> Result<(), Error> {
    let tunnel = TUNNEL.find(gateway, word).await?;
    let stats = gateway.get(&TUNNEL.at(&tunnel, "stats")).await?;
    desk.thing(&stats, STATS)?;
    match stats.get("visitors").and_then(Value::as_array) {
        Some(visitors) if !desk.is_script() && !visitors.is_empty() => {
            desk.line("")?;
            desk.list(visitors.clone(), VISITORS)
        }
        Some(_) | None => Ok(()),
    }
}

async fn verify(gateway: &Gateway, desk: &mut Desk, word: &str, code: Option<String>) -> Result<(), Error> {
    let tunnel = TUNNEL.find(gateway, word).await?;
    let path = TUNNEL.at(&tunnel, "verify");
    match code {
        Some(code) => {
            let now = gateway.post(&path, &json!({"code": code})).await?;
            desk.done(&now, &format!("{} is verified", TUNNEL.called(&tunnel)))
        }
        None => {
            let made = gateway.call(Method::POST, &path).value().await?;
            tell_code(desk, field(&tunnel, "id"), &made);
            if desk.is_script() { desk.value(&made) } else { Ok(()) }
        }
    }
}
